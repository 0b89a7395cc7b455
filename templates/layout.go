package templates

import (
	"context"

	"stowage/portal"
)

func (f Frame) brand() string {
	if f.Brand != "" {
		return f.Brand
	}
	return "Stowage"
}

func (f Frame) theme() string {
	if f.Theme == "light" || f.Theme == "dark" {
		return f.Theme
	}
	return "auto"
}

func tabTitle(ctx context.Context, f Frame) string {
	if f.Title == "" {
		return tell(ctx, portal.Verbatim(f.brand()))
	}
	return say(ctx, "%s · %s", f.Title, f.brand())
}

type menuEntry struct {
	area       string
	text       portal.Text
	href, icon string
}

func (f Frame) menu() []menuEntry {
	if f.User == nil {
		return nil
	}
	if f.User.Staff {
		menu := []menuEntry{
			{AreaAdmin, "Dashboard", "/admin", "shield"},
			{AreaAdminServices, "Services", "/admin/services", "server"},
			{AreaAdminOperations, "Operations", "/admin/operations", "list"},
			{AreaAdminServers, "Servers", "/admin/servers", "archive"},
			{AreaAdminMail, "Mail", "/admin/mail", "info"},
			{AreaAdminAudit, "Audit log", "/admin/audit", "clock"},
		}
		if f.Faults {
			menu = append(menu, menuEntry{AreaAdminDemo, "Demo faults", "/admin/demo", "alert"})
		}
		return menu
	}
	return []menuEntry{{AreaServices, "Services", "/services", "server"}}
}

func (f Frame) home() string {
	if f.User != nil && f.User.Staff {
		return "/admin"
	}
	return "/"
}

// eventsURL is the address of a service's stream for one page of it; "" connects to none.
func eventsURL(live bool, uid, page string) string {
	if !live {
		return ""
	}
	return "/services/" + uid + "/events?page=" + page
}

// zoneSentence is what the script says where the browser's zone is not the page's: it fills what stands in braces.
func zoneSentence(ctx context.Context) string {
	return say(ctx, "Your browser is in %s, where it is %s now; in %s it is %s.", "{here}", "{here-time}", "{zone}", "{zone-time}")
}

// RoleWord names what a login may do.
func RoleWord(role string) portal.Text {
	switch role {
	case "owner":
		return "owner"
	case "operator":
		return "operator"
	case "reader":
		return "reader"
	case "admin":
		return "admin"
	case "auditor":
		return "auditor"
	}
	return portal.Verbatim(role)
}
