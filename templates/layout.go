package templates

import "strings"

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

func (f Frame) tabTitle() string {
	if f.Title == "" {
		return f.brand()
	}
	return f.Title + " · " + f.brand()
}

type menuEntry struct {
	area, text, href, icon string
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

func joinNonEmpty(sep string, parts ...string) string {
	var kept []string
	for _, p := range parts {
		if p != "" {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, sep)
}
