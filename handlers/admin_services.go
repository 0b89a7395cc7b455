package handlers

import (
	"context"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"stowage/portal"
	"stowage/store"
	"stowage/templates"
)

const rowsPerPage = 50

// listAllServices searches the services of all clients.
func (s *Site) listAllServices(c echo.Context) error {
	ctx := c.Request().Context()
	f := store.ServiceFilter{Query: searched(c), State: c.QueryParam("state"), Server: c.QueryParam("server"), Look: c.QueryParam("look")}
	lines, turn, err := s.db.StaffServices(ctx, f, wantedPage(c))
	if err != nil {
		return err
	}
	servers, err := s.serverFilter(ctx, f.Server)
	if err != nil {
		return err
	}
	now, loc := s.db.Now(), zone(login(c))
	v := templates.AdminServicesPage{
		Frame: s.frame(c, "Services", templates.AreaAdminServices), Query: f.Query, Paging: keyed(c, turn, portal.Count(len(lines), "1 service on this page", "%d services on this page")),
		Filters: []templates.Filter{
			{Name: "look", Label: "What needs a look", Value: f.Look, Options: []templates.Option{
				{Value: "", Text: "All"}, {Value: "unprotected", Text: "Unprotected"}, {Value: "failed", Text: "Last backup failed"}, {Value: "locked", Text: "Locked"},
			}},
			{Name: "state", Label: "State", Value: f.State, Options: []templates.Option{
				{Value: "", Text: "Any state"}, {Value: "active", Text: "Active"}, {Value: "suspended", Text: "Suspended"}, {Value: "machine_gone", Text: "Machine gone"},
				{Value: "machine_replaced", Text: "Machine replaced"}, {Value: "terminating", Text: "Terminating"}, {Value: "terminated", Text: "Terminated"},
			}},
			servers,
		},
	}
	for _, line := range lines {
		row := templates.AdminServiceRow{
			ServiceRow: serviceRow(line, now, loc), VMID: line.VMID, Server: line.ServerName, Node: line.Node, Product: line.Product.Name, State: string(line.State),
		}
		row.Client = line.ClientName
		v.Rows = append(v.Rows, row)
	}
	if len(lines) == 0 {
		v.Unknown = asReference(f.Query)
	}
	return show(c, v)
}

var referenceShape = regexp.MustCompile(`^[0-9A-Z]{3}-[0-9A-Z]{3}$`)

// asReference gives what was searched for as a reference, where it looks like one.
func asReference(query string) string {
	if query = strings.ToUpper(query); referenceShape.MatchString(query) {
		return query
	}
	return ""
}

func (s *Site) serverFilter(ctx context.Context, chosen string) (templates.Filter, error) {
	f := templates.Filter{Name: "server", Label: "Server", Value: chosen, Options: []templates.Option{{Value: "", Text: "All servers"}}}
	servers, err := s.db.Servers(ctx)
	for _, v := range servers {
		f.Options = append(f.Options, templates.Option{Value: v.UID, Text: portal.Verbatim(v.Name)})
	}
	return f, err
}

// wantedPage reads which rows of a long list are asked for.
func wantedPage(c echo.Context) store.Page {
	p := store.Page{Limit: rowsPerPage}
	if id, err := strconv.ParseInt(c.QueryParam("older"), 10, 64); err == nil && id > 0 {
		p.Older = id
	} else if id, err := strconv.ParseInt(c.QueryParam("newer"), 10, 64); err == nil && id > 0 {
		p.Newer = id
	}
	return p
}

// keyed is the way through a list that is too long to be counted: the same address with other ends.
func keyed(c echo.Context, t store.Turn, text portal.Text) templates.Paging {
	at := func(end string, id int64) string {
		values := url.Values{}
		for name, v := range c.QueryParams() {
			if name != "older" && name != "newer" && len(v) > 0 && v[0] != "" {
				values.Set(name, v[0])
			}
		}
		values.Set(end, strconv.FormatInt(id, 10))
		return c.Request().URL.Path + "?" + values.Encode()
	}
	p := templates.Paging{Text: text}
	if t.Newer > 0 {
		p.Prev = at("newer", t.Newer)
	}
	if t.Older > 0 {
		p.Next = at("older", t.Older)
	}
	return p
}
