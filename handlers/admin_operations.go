package handlers

import (
	"github.com/labstack/echo/v4"

	"stowage/portal"
	"stowage/store"
	"stowage/templates"
)

// listAllOperations shows staff the live queue and the history of all services.
func (s *Site) listAllOperations(c echo.Context) error {
	ctx := c.Request().Context()
	f := store.OperationFilter{
		Query: searched(c), State: c.QueryParam("state"), Kind: c.QueryParam("kind"), Server: c.QueryParam("server"), Service: c.QueryParam("service"),
	}
	lines, turn, err := s.db.StaffOperations(ctx, f, wantedPage(c))
	if err != nil {
		return err
	}
	servers, err := s.serverFilter(ctx, f.Server)
	if err != nil {
		return err
	}
	kinds := templates.Filter{Name: "kind", Label: "Kind", Value: f.Kind, Options: []templates.Option{{Value: "", Text: "Any kind"}}}
	for _, k := range kindWords {
		kinds.Options = append(kinds.Options, templates.Option{Value: string(k.kind), Text: k.word})
	}
	v := templates.AdminOperationsPage{
		Frame: s.frame(c, "Operations", templates.AreaAdminOperations), Query: f.Query, Paging: keyed(c, turn, portal.Count(len(lines), "1 operation on this page", "%d operations on this page")),
		Filters: []templates.Filter{
			{Name: "state", Label: "State", Value: f.State, Options: []templates.Option{
				{Value: "", Text: "Any state"}, {Value: "open", Text: "Not ended"}, {Value: string(portal.StateQueued), Text: "Waiting"},
				{Value: string(portal.StateRunning), Text: "Running"}, {Value: string(portal.StateHeld), Text: "Held"}, {Value: string(portal.StateSucceeded), Text: "Done"},
				{Value: string(portal.StateFailed), Text: "Failed"}, {Value: string(portal.StateCancelled), Text: "Cancelled"},
			}},
			kinds,
			servers,
		},
	}
	t := teller{now: s.db.Now(), loc: zone(login(c)), staff: true}
	for _, line := range lines {
		v.Rows = append(v.Rows, t.row(line))
	}
	if len(lines) == 0 {
		v.Unknown = asReference(f.Query)
	}
	return show(c, v)
}
