package handlers

import (
	"context"
	"errors"

	"github.com/labstack/echo/v4"

	"stowage/portal"
	"stowage/store"
	"stowage/templates"
	"stowage/web"
)

// confirmPower asks before the machine is shut down, stopped or started anew.
func (s *Site) confirmPower(c echo.Context) error {
	page, err := s.powerPage(c, c.QueryParam("action"))
	if err != nil {
		return err
	}
	return show(c, page)
}

// power switches the machine. how says what becomes of a backup that is in the way: "cancel" ends it, "after" waits for
// its end.
func (s *Site) power(c echo.Context) error {
	uid := c.Param("uid")
	clientID, err := clientOf(c)
	if err != nil {
		return err
	}
	form, err := web.ReadForm(c, "action", "how")
	if err == nil {
		_, err = s.db.Enqueue(c.Request().Context(), clientID, uid, portal.Power(login(c).Actor(), form["action"], form["how"] != ""))
	}
	if err == nil && form["how"] == "cancel" {
		err = s.cancelBackup(c.Request().Context(), clientID, uid, login(c).Actor())
	}
	if err != nil {
		return web.Again(err, func(refusal *portal.Error) (web.Component, error) {
			page, err := s.powerPage(c, form["action"])
			if portal.CodeOf(err) == portal.CodeNotFound && refusal.Code == portal.CodeInvalid {
				page, err = s.powerPage(c, portal.PowerReboot)
			}
			if err != nil {
				return nil, err
			}
			v, err := s.look(c, uid)
			if err != nil {
				return nil, err
			}
			page.Refusal, page.Ways = refused(refusal, v.powerWays(refusal, form["action"]), v.backToMachine()), nil
			return page.View(), nil
		})
	}
	return s.done(c, powerSaid(form["action"], form["how"]), path(uid))
}

func powerSaid(action, how string) portal.Text {
	switch {
	case how == "after":
		return "It is done as soon as the backup has ended. You can close this page."
	case how == "cancel":
		return "The backup is being cancelled; then it is done. You can close this page."
	case action == portal.PowerStart:
		return "Your machine is being started."
	case action == portal.PowerReboot:
		return "Your machine is being started anew."
	}
	return "Your machine is being switched off."
}

// cancelBackup ends the backup that runs. One that is over by now is in nobody's way.
func (s *Site) cancelBackup(ctx context.Context, clientID int64, uid, actor string) error {
	view, err := s.db.ServiceView(ctx, clientID, uid)
	if err != nil {
		return err
	}
	for _, o := range view.Operations {
		if o.Kind != portal.KindBackup || o.State != portal.StateRunning {
			continue
		}
		_, err := s.db.RequestCancel(ctx, clientID, uid, o.UID, actor)
		if err != nil && !errors.Is(err, store.ErrStale) && portal.CodeOf(err) != portal.CodeConflict {
			return err
		}
	}
	return nil
}

func (s *Site) powerPage(c echo.Context, action string) (templates.ConfirmPage, error) {
	v, err := s.look(c, c.Param("uid"))
	if err != nil {
		return templates.ConfirmPage{}, err
	}
	page, ok := v.powerPage(action)
	if !ok {
		return page, portal.NotFound()
	}
	page.Frame = s.frame(c, page.Title, templates.AreaServices)
	page.Crumbs, page.Zone = v.crumbs(templates.Crumb{Text: page.Button}), v.Schedule.Zone
	return page, nil
}

// confirmPassword asks before a new password is made.
func (s *Site) confirmPassword(c echo.Context) error {
	page, err := s.passwordPage(c)
	if err != nil {
		return err
	}
	return show(c, page)
}

// resetPassword asks for a new password. It is shown on the page of its operation, once.
func (s *Site) resetPassword(c echo.Context) error {
	uid := c.Param("uid")
	clientID, err := clientOf(c)
	if err != nil {
		return err
	}
	var op portal.Operation
	if _, err = web.ReadForm(c); err == nil {
		op, err = s.db.Enqueue(c.Request().Context(), clientID, uid, portal.RequestPassword(login(c).Actor()))
	}
	if err != nil {
		return web.Again(err, func(refusal *portal.Error) (web.Component, error) {
			page, err := s.passwordPage(c)
			if err != nil {
				return nil, err
			}
			v, err := s.look(c, uid)
			if err != nil {
				return nil, err
			}
			page.Refusal = refused(refusal, v.ways(refusal, ""), v.backToMachine())
			return page.View(), nil
		})
	}
	return web.See(c, path(uid, "operations", op.UID))
}

func (s *Site) passwordPage(c echo.Context) (templates.ConfirmPage, error) {
	v, err := s.look(c, c.Param("uid"))
	if err != nil {
		return templates.ConfirmPage{}, err
	}
	page := v.passwordPage()
	page.Frame = s.frame(c, page.Title, templates.AreaServices)
	page.Crumbs, page.Zone = v.crumbs(templates.Crumb{Text: page.Button}), v.Schedule.Zone
	return page, nil
}

// confirmReinstall asks which system is to be installed, and for the word.
func (s *Site) confirmReinstall(c echo.Context) error {
	page, err := s.reinstallPage(c, "", "")
	if err != nil {
		return err
	}
	return show(c, page)
}

// reinstall asks for the machine to be installed anew.
func (s *Site) reinstall(c echo.Context) error {
	uid := c.Param("uid")
	clientID, err := clientOf(c)
	if err != nil {
		return err
	}
	form, err := web.ReadForm(c, "template", "confirm")
	var op portal.Operation
	if err == nil {
		op, err = s.install(c, clientID, uid, form)
	}
	if err != nil {
		return web.Again(unstale(err), func(refusal *portal.Error) (web.Component, error) {
			page, err := s.reinstallPage(c, form["template"], form["confirm"])
			if err != nil {
				return nil, err
			}
			v, err := s.look(c, uid)
			if err != nil {
				return nil, err
			}
			page.Refusal = refused(refusal, v.ways(refusal, ""), v.backToMachine())
			switch refusal.Field {
			case "template":
				page.Wrong = refusal.Sentence
			case "confirm":
				page.Mistype = refusal.Sentence
			}
			return page.View(), nil
		})
	}
	return s.done(c, "Your machine is being installed anew.", path(uid, "operations", op.UID))
}

// install asks for a system: anew, or from scratch where a restore that has stopped left the machine in pieces.
func (s *Site) install(c echo.Context, clientID int64, uid string, form web.Form) (portal.Operation, error) {
	ctx, actor := c.Request().Context(), login(c).Actor()
	v, err := s.look(c, uid)
	if err != nil {
		return portal.Operation{}, err
	}
	if held := v.HeldRestore(); held != nil {
		return s.db.Instead(ctx, clientID, uid, held.UID, actor, func(held portal.Operation) portal.Request {
			return portal.RequestScratch(held, actor, form["template"], form["confirm"])
		})
	}
	return s.db.Enqueue(ctx, clientID, uid, portal.RequestReinstall(actor, form["template"], form["confirm"]))
}

func (s *Site) reinstallPage(c echo.Context, chosen, typed string) (templates.ConfirmPage, error) {
	v, err := s.look(c, c.Param("uid"))
	if err != nil {
		return templates.ConfirmPage{}, err
	}
	if len(v.TemplatesHere()) == 0 {
		return templates.ConfirmPage{}, portal.NotFound()
	}
	page := v.reinstallPage(chosen, typed)
	page.Frame = s.frame(c, page.Title, templates.AreaServices)
	page.Crumbs, page.Zone = v.crumbs(templates.Crumb{Text: page.Button}), v.Schedule.Zone
	return page, nil
}

// showSecret gives the password of an operation to whoever asked for it, the first time that they look.
func (s *Site) showSecret(c echo.Context, o store.OperationView) (*templates.Secret, error) {
	l := login(c)
	waits := o.Kind == portal.KindPassword || o.Kind == portal.KindReinstall && o.Work.Way != ""
	if !waits || o.State.Final() || o.Work.Shown || o.Actor != l.Actor() || !l.MayAct() {
		return nil, nil
	}
	text, err := s.db.ShowSecret(c.Request().Context(), l.ClientID, c.Param("uid"), o.UID, l.Actor())
	if errors.Is(err, store.ErrNoSecret) || errors.Is(err, store.ErrStale) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	secret := &templates.Secret{User: o.Work.User, Text: text, Soon: "It is being set now. Below you see when it holds."}
	if o.Kind == portal.KindReinstall {
		secret.Soon = "It holds when the new system has started."
	}
	return secret, nil
}
