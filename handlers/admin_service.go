package handlers

import (
	"fmt"

	"github.com/labstack/echo/v4"

	"stowage/portal"
	"stowage/templates"
)

// showAnyService shows staff one service of any client.
func (s *Site) showAnyService(c echo.Context) error {
	ctx := c.Request().Context()
	v, err := s.lookAt(ctx, 0, c.Param("uid"), login(c))
	if err != nil {
		return err
	}
	external, err := s.db.External(ctx, v.Service, 50)
	if err != nil {
		return err
	}
	v.page = pageNumber(c)
	f := s.frame(c, portal.Verbatim(v.Service.Name), templates.AreaAdminServices)
	f.Zone = v.Schedule.Zone
	f.Crumbs = []templates.Crumb{{Text: "Services", Href: "/admin/services"}, {Text: portal.Verbatim(v.Service.Name)}}
	head := v.head("")
	head.Client, head.Staff = v.Client.Name, true
	page := templates.AdminServicePage{
		Frame: f, Service: head, Notices: v.notices(), Facts: v.staffFacts(), Counter: v.counterView(), Ledger: v.ledger(), List: v.list("/admin/services/" + v.Service.UID),
	}
	if v.Schedule.Enabled() {
		page.Schedule = portal.Say("%s (%s)", v.Schedule.Describe(), v.Schedule.Zone)
	}
	if next := v.nextRuns(1); len(next) > 0 {
		page.NextRun = v.run(next[0].Due)
	}
	for _, b := range external {
		page.External = append(page.External, templates.ExternalRow{
			Volid: b.Volid, When: v.at(startOf(b)), Size: templates.Bytes(b.Size), Reason: "It carries no mark of this installation.",
		})
	}
	if state := v.Service.State; state == portal.ServiceMachineGone || state == portal.ServiceMachineReplaced {
		page.Accept = `stowage service accept-machine ` + v.Service.UID + ` --reason "…"`
	}
	t := v.teller()
	t.staff = true
	for _, line := range v.Recent {
		page.Recent = append(page.Recent, t.row(line))
	}
	return show(c, page)
}

// staffFacts are what staff need to find a machine.
func (v *shown) staffFacts() []templates.Fact {
	seen := v.ago(v.Service.SeenAt)
	list := []templates.Fact{
		{Name: "Client", Value: portal.Verbatim(v.Client.Name)},
		{Name: "Server", Value: portal.Verbatim(v.Server.Name), Hint: portal.Say("node %s", v.Service.Node)},
		{Name: "vmid", Value: amount(v.Service.VMID)},
		{Name: "Product", Value: portal.Verbatim(v.Product.Name), Hint: portal.Say("storage %s, mode %s", v.Product.Storage, v.Service.ModeIn(v.Product))},
		{Name: "State", Value: v.Service.State.Word()},
		v.lockFact(),
		{Name: "Machine", Value: orNone(v.Service.Identity.UUID), Hint: portal.Verbatim(v.Service.Identity.MACs)},
		{Name: "Last seen", Value: seen.Text(), Hint: seen.Ago},
		{Name: "Protection", Value: v.protection().Sentence},
	}
	if !v.snaps.Hidden {
		list = append(list, templates.Fact{Name: "Snapshots", Value: portal.Verbatim(v.snapshotCounter().Text())})
	}
	return list
}

// lockFact is the lock that Proxmox shows, and where it is stale what releases it.
func (v *shown) lockFact() templates.Fact {
	f := templates.Fact{Name: "Lock", Value: orNone(v.Service.Lock)}
	if v.Service.Lock != "" {
		f.Hint = portal.Say("since %s", v.since(v.Service.LockSince))
	}
	if !v.Service.LockStaleAt.IsZero() {
		f.Hint = portal.Say("stale, since %s. Last task: %s. Release it on %s with: %s", v.since(v.Service.LockSince), v.Service.LockTask, v.Service.Node, fmt.Sprintf("qm unlock %d", v.Service.VMID))
	}
	return f
}

func orNone(s string) portal.Text {
	if s == "" {
		return "none"
	}
	return portal.Verbatim(s)
}
