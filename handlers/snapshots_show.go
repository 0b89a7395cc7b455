package handlers

import (
	"github.com/labstack/echo/v4"

	"stowage/portal"
	"stowage/store"
	"stowage/templates"
	"stowage/web"
)

// showSnapshots shows the snapshots of one service.
func (s *Site) showSnapshots(c echo.Context) error {
	v, seen, err := s.lookSnapshots(c)
	if err != nil {
		return err
	}
	if v.snaps.Hidden {
		return web.See(c, v.path())
	}
	return show(c, v.snapshotsPage(s.frame(c, portal.Say("Snapshots of %s", v.Service.Name), templates.AreaServices), seen, false))
}

// lookSnapshots reads a service with what its pages of snapshots show beside it.
func (s *Site) lookSnapshots(c echo.Context) (*shown, store.SnapshotsView, error) {
	v, err := s.look(c, c.Param("uid"))
	if err != nil {
		return nil, store.SnapshotsView{}, err
	}
	seen, err := s.db.SnapshotsView(c.Request().Context(), v.Service.ClientID, v.Service.UID)
	return v, seen, err
}

// snapshotsAgain answers a refusal with the page of snapshots, changed by change where something typed has to stay.
func (s *Site) snapshotsAgain(c echo.Context, err error, change func(*templates.SnapshotsPage, *portal.Error)) error {
	return web.Again(err, func(refusal *portal.Error) (web.Component, error) {
		v, seen, err := s.lookSnapshots(c)
		if err != nil {
			return nil, err
		}
		page := v.snapshotsPage(s.frame(c, portal.Say("Snapshots of %s", v.Service.Name), templates.AreaServices), seen, false)
		page.Refusal = refused(refusal, v.ways(refusal, ""), v.backToSnapshots())
		if change != nil {
			change(&page, refusal)
		}
		return page.View(), nil
	})
}

func (s *Site) backToSnapshots(c echo.Context) error {
	return web.See(c, path(c.Param("uid"), "snapshots"))
}
