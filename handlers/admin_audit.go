package handlers

import (
	"github.com/labstack/echo/v4"

	"stowage/portal"
	"stowage/store"
	"stowage/templates"
)

// chainChecked is how many of the newest audit rows are checked each time the log is opened; `stowage doctor`
// checks them all.
const chainChecked = 500

// listAudit shows who did what, from where, and what it changed.
func (s *Site) listAudit(c echo.Context) error {
	ctx := c.Request().Context()
	f := store.AuditFilter{Query: searched(c), Action: c.QueryParam("action")}
	lines, turn, err := s.db.AuditLines(ctx, f, wantedPage(c))
	if err != nil {
		return err
	}
	checked, broken, err := s.db.AuditTail(ctx, chainChecked)
	if err != nil {
		return err
	}
	options := []templates.Option{{Value: "", Text: "Everything"}}
	for _, action := range []string{"backup", "backup_delete", "backup_protect", "snapshot", "snapshot_delete", "rollback", "restore", "reinstall", "power", "password", "reapply", "schedule", "operation", "login", "client", "service", "server", "product", "setting", "storage", "pve", "recovery"} {
		options = append(options, templates.Option{Value: action, Text: portal.Verbatim(action)})
	}
	if s.o.Faults != nil {
		options = append(options, templates.Option{Value: "demo", Text: "demo"})
	}
	v := templates.AdminAuditPage{
		Frame: s.frame(c, "Audit log", templates.AreaAdminAudit), Query: f.Query, Paging: keyed(c, turn, portal.Count(len(lines), "1 entry on this page", "%d entries on this page")),
		Filters: []templates.Filter{{Name: "action", Label: "What", Value: f.Action, Options: options}}, Chain: chain(checked, broken),
	}
	d := desk{now: s.db.Now(), loc: zone(login(c))}
	for _, line := range lines {
		v.Rows = append(v.Rows, d.auditRow(line))
	}
	return show(c, v)
}

func chain(checked int, broken int64) templates.Badge {
	if broken != 0 {
		return templates.Badge{Text: portal.Say("The chain breaks at entry %d", broken), Tone: templates.ToneBad, Title: "An entry was changed or removed after it was written."}
	}
	return templates.Badge{Text: "Chain whole", Tone: templates.ToneGood, Title: portal.Say("Checked: the newest %d entries. stowage doctor checks all.", checked)}
}

func (d desk) auditRow(line store.AuditLine) templates.AuditRow {
	r := templates.AuditRow{
		When: d.at(line.At), Who: line.Who, What: line.Action, Subject: line.Entity + " " + line.EntityUID, From: line.Address, Before: line.Before, After: line.After,
	}
	r.When.Layout = "2 Jan 15:04:05"
	if r.Who == "" {
		r.Who = line.Actor
	}
	switch {
	case line.Entity == "operation":
		r.Href = "/admin/operations/" + line.EntityUID
	case line.Entity == "server":
		r.Href = "/admin/servers/" + line.EntityUID
	case line.ServiceUID != "":
		r.Href = "/admin/services/" + line.ServiceUID
	}
	if line.Service != "" {
		r.Subject = line.Service + ": " + r.Subject
	}
	return r
}
