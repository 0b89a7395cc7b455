package handlers

import (
	"context"
	"strconv"

	"github.com/labstack/echo/v4"

	"stowage/portal"
	"stowage/templates"
	"stowage/web"
)

// showBackups shows schedule and copies of one service.
func (s *Site) showBackups(c echo.Context) error {
	v, err := s.look(c, c.Param("uid"))
	if err != nil {
		return err
	}
	if v.counter.Hidden {
		return web.See(c, v.path())
	}
	v.page = pageNumber(c)
	page, err := s.backupsPage(c, v)
	if err != nil {
		return err
	}
	return show(c, page)
}

func (s *Site) backupsPage(c echo.Context, v *shown) (templates.BackupsPage, error) {
	page := v.backupsPage(s.frame(c, portal.Say("Backups of %s", v.Service.Name), templates.AreaServices))
	return page, s.suggest(c.Request().Context(), v, &page.Schedule)
}

// suggest offers a quiet time where there is no schedule.
func (s *Site) suggest(ctx context.Context, v *shown, form *templates.Schedule) error {
	if v.Schedule.Enabled() || v.Service.QuotaIn(v.Product) == 0 {
		return nil
	}
	due, err := s.db.DueOnNode(ctx, v.Service.ServerID, v.Service.Node)
	if err != nil {
		return err
	}
	suggest(form, due, v.loc)
	return nil
}

// backupsAgain answers a refusal with the backups page, changed by change where something typed has to stay.
func (s *Site) backupsAgain(c echo.Context, err error, note string, change func(*templates.BackupsPage, *portal.Error)) error {
	return web.Again(err, func(refusal *portal.Error) (web.Component, error) {
		v, err := s.look(c, c.Param("uid"))
		if err != nil {
			return nil, err
		}
		v.page = pageNumber(c)
		page, err := s.backupsPage(c, v)
		if err != nil {
			return nil, err
		}
		page.Refusal = refused(refusal, v.ways(refusal, note), v.backToBackups())
		if change != nil {
			change(&page, refusal)
		}
		return page.View(), nil
	})
}

// backToCopy is the address of a copy in the list: the page that the form was on, and the row there.
func backToCopy(c echo.Context) string {
	address := path(c.Param("uid"), "backups")
	if page := pageNumber(c); page > 1 {
		address += "?page=" + strconv.Itoa(page)
	}
	return address + "#backup-" + c.Param("backup")
}
