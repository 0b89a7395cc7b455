package handlers

import (
	"github.com/labstack/echo/v4"

	"stowage/portal"
	"stowage/templates"
	"stowage/web"
)

// confirmRestore asks before a machine is overwritten.
func (s *Site) confirmRestore(c echo.Context) error {
	page, err := s.restorePage(c)
	if err != nil {
		return err
	}
	return show(c, page)
}

// restoreBackup asks for a copy to be put in the machine's place. Where a restore of the machine has stopped, that one
// goes on with this copy; where an installation has, a restore takes over.
func (s *Site) restoreBackup(c echo.Context) error {
	uid, backup := c.Param("uid"), c.Param("backup")
	clientID, err := clientOf(c)
	if err != nil {
		return err
	}
	form, err := web.ReadForm(c, "confirm", "start")
	var op portal.Operation
	if err == nil {
		op, err = s.restore(c, clientID, uid, backup, form)
	}
	if err != nil {
		return web.Again(unstale(err), func(refusal *portal.Error) (web.Component, error) {
			page, err := s.restorePage(c)
			if err != nil {
				return nil, err
			}
			v, err := s.look(c, uid)
			if err != nil {
				return nil, err
			}
			page.Typed, page.Start = form["confirm"], form.Has("start")
			if refusal.Field == "confirm" {
				page.Wrong = refusal.Sentence
			}
			page.Refusal = refused(refusal, v.ways(refusal, ""), v.backToBackups())
			return page.View(), nil
		})
	}
	return s.done(c, "The restore is under way. You can close this page; we write to you when it has ended.", path(uid, "operations", op.UID))
}

func (s *Site) restore(c echo.Context, clientID int64, uid, backup string, form web.Form) (portal.Operation, error) {
	ctx, actor := c.Request().Context(), login(c).Actor()
	v, err := s.look(c, uid)
	if err != nil {
		return portal.Operation{}, err
	}
	if held := v.HeldRestore(); held != nil {
		if _, err := v.named(backup); err != nil {
			return portal.Operation{}, err
		}
		if !portal.Confirms(form["confirm"], v.Service.Name) {
			return portal.Operation{}, portal.Invalid("confirm", "Type %s to confirm.", portal.ConfirmName(v.Service.Name))
		}
		if held.Kind == portal.KindRestore {
			return s.db.ResumeRestore(ctx, clientID, uid, held.UID, backup, actor)
		}
		return s.db.Instead(ctx, clientID, uid, held.UID, actor, func(held portal.Operation) portal.Request {
			return portal.RestoreInstead(held, actor, backup)
		})
	}
	return s.db.Enqueue(ctx, clientID, uid, portal.RequestRestore(actor, backup, form["confirm"], form.Has("start")))
}

func (s *Site) restorePage(c echo.Context) (templates.RestorePage, error) {
	ctx := c.Request().Context()
	v, err := s.look(c, c.Param("uid"))
	if err != nil {
		return templates.RestorePage{}, err
	}
	b, err := v.named(c.Param("backup"))
	if err != nil {
		return templates.RestorePage{}, err
	}
	contents, err := s.db.Contents(ctx, b.ID)
	if err != nil {
		return templates.RestorePage{}, err
	}
	restores, err := s.db.Restores(ctx, v.Service.ID, 5)
	if err != nil {
		return templates.RestorePage{}, err
	}
	return v.restorePage(s.frame(c, "Restore a copy", templates.AreaServices), b, contents, restores), nil
}
