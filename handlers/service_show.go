package handlers

import (
	"github.com/labstack/echo/v4"

	"stowage/portal"
	"stowage/templates"
)

// showService shows one service at a glance.
func (s *Site) showService(c echo.Context) error {
	v, err := s.look(c, c.Param("uid"))
	if err != nil {
		return err
	}
	return show(c, v.servicePage(s.frame(c, portal.Verbatim(v.Service.Name), templates.AreaServices)))
}
