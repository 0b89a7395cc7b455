package handlers

import (
	"github.com/labstack/echo/v4"

	"stowage/portal"
	"stowage/templates"
	"stowage/web"
)

// confirmSnapshotRemoval asks before a snapshot is removed.
func (s *Site) confirmSnapshotRemoval(c echo.Context) error {
	page, _, err := s.removeSnapshotPage(c)
	if err != nil {
		return err
	}
	return show(c, page)
}

// removeSnapshot asks for one snapshot to be removed.
func (s *Site) removeSnapshot(c echo.Context) error {
	uid := c.Param("uid")
	clientID, err := clientOf(c)
	if err != nil {
		return err
	}
	if _, err = web.ReadForm(c); err == nil {
		_, err = s.db.Enqueue(c.Request().Context(), clientID, uid, portal.RequestSnapshotRemoval(login(c).Actor(), c.Param("snapshot")))
	}
	if err != nil {
		return web.Again(err, func(refusal *portal.Error) (web.Component, error) {
			page, v, err := s.removeSnapshotPage(c)
			if err != nil {
				return nil, err
			}
			page.Refusal = refused(refusal, v.ways(refusal, ""), v.backToSnapshots())
			return page.View(), nil
		})
	}
	return s.done(c, "The snapshot is being removed.", path(uid, "snapshots"))
}

func (s *Site) removeSnapshotPage(c echo.Context) (templates.RemoveSnapshotPage, *shown, error) {
	v, err := s.look(c, c.Param("uid"))
	if err != nil {
		return templates.RemoveSnapshotPage{}, nil, err
	}
	x, err := v.snapshotNamed(c.Param("snapshot"))
	if err != nil {
		return templates.RemoveSnapshotPage{}, nil, err
	}
	return v.removeSnapshotPage(s.frame(c, "Remove a snapshot", templates.AreaServices), x), v, nil
}

// confirmRollback asks before a machine is put back to a snapshot.
func (s *Site) confirmRollback(c echo.Context) error {
	page, _, err := s.rollbackPage(c)
	if err != nil {
		return err
	}
	return show(c, page)
}

// rollBack asks for a machine to be put back to a snapshot.
func (s *Site) rollBack(c echo.Context) error {
	uid, snapshot := c.Param("uid"), c.Param("snapshot")
	clientID, err := clientOf(c)
	if err != nil {
		return err
	}
	form, err := web.ReadForm(c, "start", "plan")
	if err == nil {
		err = readable(form, "start")
	}
	if err == nil {
		err = s.enqueueRollback(c, clientID, uid, snapshot, form)
	}
	if err != nil {
		return web.Again(err, func(refusal *portal.Error) (web.Component, error) {
			page, v, err := s.rollbackPage(c)
			if err != nil {
				return nil, err
			}
			page.Start = ticked(form["start"])
			page.Refusal = refused(refusal, v.ways(refusal, ""), v.backToSnapshots())
			return page.View(), nil
		})
	}
	return s.done(c, "The machine is being put back. You can close this page.", path(uid, "snapshots"))
}

func (s *Site) enqueueRollback(c echo.Context, clientID int64, uid, snapshot string, form web.Form) error {
	v, seen, err := s.lookSnapshots(c)
	if err != nil {
		return err
	}
	x, err := v.snapshotNamed(snapshot)
	if err != nil {
		return err
	}
	plan, known := v.plan(x, seen)
	switch {
	case !known && v.off():
	case !known:
		return portal.Refuse(portal.CodeConflict, notReadYet)
	case form["plan"] != "" && plan.Refusal == nil && form["plan"] != planWord(plan):
		return portal.Refuse(portal.CodeConflict, "What would happen to the machine's memory has changed since you confirmed, so nothing was done. Look at it again and repeat it.")
	}
	_, err = s.db.Enqueue(c.Request().Context(), clientID, uid, portal.RequestRollback(login(c).Actor(), snapshot, ticked(form["start"]), plan))
	return err
}

func (s *Site) rollbackPage(c echo.Context) (templates.RollbackPage, *shown, error) {
	v, seen, err := s.lookSnapshots(c)
	if err != nil {
		return templates.RollbackPage{}, nil, err
	}
	x, err := v.snapshotNamed(c.Param("snapshot"))
	if err != nil {
		return templates.RollbackPage{}, nil, err
	}
	return v.rollbackPage(s.frame(c, "Roll back", templates.AreaServices), x, seen), v, nil
}
