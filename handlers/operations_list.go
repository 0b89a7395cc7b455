package handlers

import (
	"net/url"

	"github.com/labstack/echo/v4"

	"stowage/portal"
	"stowage/templates"
)

const operationsPerPage = 50

// listOperations shows the history of a service, newest first; before is the uid after which a page goes on.
func (s *Site) listOperations(c echo.Context) error {
	v, err := s.look(c, c.Param("uid"))
	if err != nil {
		return err
	}
	before := c.QueryParam("before")
	lines, older, err := s.db.ClientOperations(c.Request().Context(), v.Service.ID, before, operationsPerPage)
	if err != nil {
		return err
	}
	page := templates.OperationsPage{Frame: s.frame(c, portal.Say("History of %s", v.Service.Name), templates.AreaServices), Service: v.head(templates.TabOperations)}
	page.Crumbs, page.Frame.Zone = v.crumbs(templates.Crumb{Text: "History"}), v.Schedule.Zone
	for _, line := range lines {
		page.Rows = append(page.Rows, v.operationRow(line))
	}
	if before != "" {
		page.Paging.Prev = v.path("operations")
	}
	if older {
		page.Paging.Next = v.path("operations") + "?" + url.Values{"before": {lines[len(lines)-1].UID}}.Encode()
	}
	return show(c, page)
}
