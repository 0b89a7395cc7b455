package handlers

import (
	"fmt"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"stowage/portal"
	"stowage/store"
	"stowage/templates"
)

// showDashboard shows staff what needs a person.
func (s *Site) showDashboard(c echo.Context) error {
	ctx := c.Request().Context()
	warn, err := s.db.SettingInt(ctx, store.WarnPercent)
	if err != nil {
		return err
	}
	n, err := s.db.Needs(ctx, warn)
	if err != nil {
		return err
	}
	d := desk{now: s.db.Now(), loc: zone(login(c))}
	v := templates.AdminPage{Frame: s.frame(c, "What needs a person", templates.AreaAdmin), Figures: figures(n)}
	if notice := standstill(n.Pulse.TickAt, d.now, d.loc); notice != nil {
		notice.Sentence = "No backups are planned or started. See that `stowage serve` runs, and what its log says."
		v.Notices = append(v.Notices, *notice)
	}
	if n.Pulse.Recovering {
		v.Notices = append(v.Notices, templates.Notice{
			Kind: "recovering", Tone: templates.ToneWarn, Title: "This database may be an older copy.",
			Sentence: "Nothing is removed automatically until every storage has been listed twice and its archives are recognised.",
		})
	}
	notice, err := s.mailNotice(ctx, d)
	if err != nil {
		return err
	}
	if notice != nil {
		v.Notices = append(v.Notices, *notice)
	}
	for _, need := range d.needs(n, warn) {
		if need.Count > 0 {
			v.Needs = append(v.Needs, need)
		}
	}
	return show(c, v)
}

func figures(n store.Needs) []templates.Figure {
	count := func(states ...portal.SlotStatus) (sum int) {
		for _, state := range states {
			sum += n.Day[state]
		}
		return sum
	}
	good, bad := count(portal.SlotDone, portal.SlotLate), count(portal.SlotFailed, portal.SlotMissed)
	night := templates.Figure{Name: "Scheduled backups in 24 h", Value: amount(good), Hint: portal.Say("%d failed or missed, %d skipped", bad, count(portal.SlotSkipped)), Tone: templates.ToneGood}
	if bad > 0 {
		night.Tone = templates.ToneBad
	}
	return []templates.Figure{
		night,
		{Name: "Running now", Value: amount(n.Running), Hint: portal.Say("%d waiting", n.Queued), Href: "/admin/operations?state=open"},
		{Name: "Services", Value: amount(n.Services), Href: "/admin/services"},
	}
}

// amount is a figure as it stands alone.
func amount(n int) portal.Text { return portal.Say("%d", n) }

// desk words things for staff, in their own zone.
type desk struct {
	now time.Time
	loc *time.Location
}

func (d desk) at(t time.Time) templates.Moment { return templates.At(t, d.now, d.loc) }

// needs lists what needs a person, the most urgent first. Kinds of which there is nothing are left to the caller.
func (d desk) needs(n store.Needs, warn int) []templates.Need {
	return []templates.Need{
		d.held(n.Held),
		d.servers(n.Servers),
		{Title: "Nodes offline", Why: "Backups of their machines wait.", Tone: templates.ToneBad, Count: n.Nodes.Count, Items: each(n.Nodes.First, func(v store.NodeLook) templates.NeedItem {
			return templates.NeedItem{Title: portal.Say("%s, node %s", v.Server, v.Name), When: d.at(v.DownSince), Href: "/admin/servers/" + v.ServerUID}
		})},
		{Title: "Machines gone or replaced", Why: "Nothing is sent to the host for them until somebody has looked.", Tone: templates.ToneBad, Count: n.Machines.Count, Items: d.services(n.Machines.First), More: "/admin/services?state=machine_gone"},
		d.failed(n.Failed),
		{Title: "Storages that lost many archives at once", Why: "Nothing on them is believed missing, and nothing is removed for room, until somebody confirms it.", Tone: templates.ToneBad, Count: n.Doubted.Count, Items: each(n.Doubted.First, func(v store.StorageLook) templates.NeedItem {
			return templates.NeedItem{Title: storageName(v), Detail: portal.Verbatim(v.Doubt), When: d.at(v.DoubtSince), Href: "/admin/servers/" + v.ServerUID}
		})},
		{Title: "Brakes", Why: "There were many more automatic removals than usual, so they stopped.", Tone: templates.ToneBad, Count: n.Braked.Count, Items: each(n.Braked.First, func(v store.StorageLook) templates.NeedItem {
			return templates.NeedItem{Title: storageName(v), When: d.at(v.BrakeSince), Href: "/admin/servers/" + v.ServerUID}
		})},
		{Title: "Storages getting full", Why: portal.Say("Fuller than %d %%: backups will soon be refused.", warn), Tone: templates.ToneWarn, Count: n.Full.Count, Items: each(n.Full.First, func(v store.StorageLook) templates.NeedItem {
			return templates.NeedItem{Title: storageName(v), Detail: portal.Say("%s used", templates.OfBytes(v.Used, v.Total)), When: d.at(v.SeenAt), Href: "/admin/servers/" + v.ServerUID}
		})},
		{Title: "Stale locks", Why: "The task behind the lock is dead, and Proxmox keeps the machine locked. The portal may not release it: the command does.", Tone: templates.ToneWarn, Count: n.Locked.Count, Items: each(n.Locked.First, func(v store.ServiceLook) templates.NeedItem {
			return templates.NeedItem{Title: portal.Verbatim(v.Name), Detail: portal.Say("%s, vmid %d on %s. Last task: %s. Release it with: %s", portal.LockWords(v.Lock), v.VMID, v.Server, v.LockTask, fmt.Sprintf("qm unlock %d", v.VMID)), When: d.at(v.LockSince), Href: "/admin/services/" + v.UID}
		}), More: "/admin/services?look=locked"},
		{Title: "Unprotected services", Why: "Active, sold backups, and without a schedule or a good copy.", Tone: templates.ToneWarn, Count: n.Unprotected.Count, Items: d.services(n.Unprotected.First), More: "/admin/services?look=unprotected"},
		{Title: "External archives", Why: "The portal did not make them: it counts none of them and removes none of them.", Tone: templates.ToneInfo, Count: n.External.Count, Items: each(n.External.First, func(v store.StorageLook) templates.NeedItem {
			return templates.NeedItem{Title: storageName(v), Detail: portal.Count(v.External, "1 archive", "%d archives"), When: d.at(v.ListedAt), Href: "/admin/servers/" + v.ServerUID}
		})},
	}
}

func each[T any](list []T, item func(T) templates.NeedItem) []templates.NeedItem {
	out := make([]templates.NeedItem, len(list))
	for i, v := range list {
		out[i] = item(v)
	}
	return out
}

func storageName(v store.StorageLook) portal.Text {
	if v.Node == "" {
		return portal.Say("%s, storage %s", v.Server, v.Name)
	}
	return portal.Say("%s, storage %s on %s", v.Server, v.Name, v.Node)
}

func (d desk) held(f store.Few[store.OperationLine]) templates.Need {
	return templates.Need{
		Title: "Held operations", Why: "They lock their machine until they go on or are released.", Tone: templates.ToneBad, Count: f.Count, More: "/admin/operations?state=held",
		Items: each(f.First, func(o store.OperationLine) templates.NeedItem {
			return templates.NeedItem{
				Title: portal.Say("%s: %s", o.ServiceName, d.teller().title(o)), Detail: portal.Verbatim(o.StaffReason), When: d.at(o.StartedAt), Href: "/admin/operations/" + o.UID,
				Mark: o.UID, Kind: string(o.Kind), State: string(o.State),
			}
		}),
	}
}

func (d desk) teller() teller { return teller{now: d.now, loc: d.loc, staff: true} }

func (d desk) servers(list []portal.Server) templates.Need {
	return templates.Need{
		Title: "Servers in trouble", Why: "Unreachable, with a clock that differs from ours, or without a right that backups need.", Tone: templates.ToneBad, Count: len(list),
		Items: each(list[:min(len(list), 10)], func(v portal.Server) templates.NeedItem {
			item := templates.NeedItem{Title: portal.Verbatim(v.Name), Href: "/admin/servers/" + v.UID, When: d.at(v.UnreachableSince)}
			switch {
			case !v.UnreachableSince.IsZero():
				item.Detail = portal.Say("Unreachable: %s", v.Trouble)
			case !v.ClockTrusted():
				item.Detail = portal.Say("Its clock is %s off: nothing is removed or caught up there.", portal.Duration(v.Skew.Abs()))
			default:
				item.Detail = portal.Say("Missing: %s", strings.Join(v.RightsMissing, ", "))
			}
			return item
		}),
	}
}

func (d desk) failed(f store.Few[store.SlotLook]) templates.Need {
	return templates.Need{
		Title: "Failed and missed slots in 24 h", Why: "Scheduled backups that did not happen.", Tone: templates.ToneBad, Count: f.Count, More: "/admin/services?look=failed",
		Items: each(f.First, func(v store.SlotLook) templates.NeedItem {
			item := templates.NeedItem{Title: portal.Verbatim(v.Service), Detail: portal.Say("%s: %s, %s", v.Client, templates.SlotWord(string(v.State)), v.Reason), When: d.at(v.Due), Href: "/admin/services/" + v.ServiceUID}
			if v.Operation != "" {
				item.Href, item.Mark, item.Kind, item.State = "/admin/operations/"+v.Operation, v.Operation, v.Kind, v.OperationState
			}
			return item
		}),
	}
}

func (d desk) services(list []store.ServiceLook) []templates.NeedItem {
	return each(list, func(v store.ServiceLook) templates.NeedItem {
		why := portal.Text("no schedule")
		switch {
		case v.State == portal.ServiceMachineGone:
			why = "machine gone"
		case v.State == portal.ServiceMachineReplaced:
			why = "another machine in its place"
		case v.Scheduled:
			why = "no good copy"
		}
		return templates.NeedItem{Title: portal.Verbatim(v.Name), Detail: portal.Say("%s: %s (vmid %d on %s)", v.Client, why, v.VMID, v.Server), Href: "/admin/services/" + v.UID}
	})
}
