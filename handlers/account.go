package handlers

import (
	"github.com/labstack/echo/v4"

	"stowage/portal"
	"stowage/templates"
	"stowage/web"
)

// showAccount shows a login's own settings.
func (s *Site) showAccount(c echo.Context) error { return show(c, s.accountPage(c)) }

func (s *Site) accountPage(c echo.Context) templates.AccountPage {
	l := login(c)
	return templates.AccountPage{Frame: s.frame(c, "Account", templates.AreaAccount), Zone: l.Zone, Zones: portal.Zones(), Language: l.Language, Sessions: -1, Mail: mailSwitches(l)}
}

var backToAccount = templates.WayOut{Label: "Back to the account", Href: "/account"}

// changePassword gives the login a new password and ends its sessions everywhere else.
func (s *Site) changePassword(c echo.Context) error {
	l := login(c)
	form, err := web.ReadForm(c, "old", "new", "again", "username")
	var wrong templates.AccountErrors
	var hash string
	if err == nil {
		hash, wrong, err = s.newPassword(c, l, form)
	}
	if err != nil {
		return web.Again(err, func(refusal *portal.Error) (web.Component, error) {
			v := s.accountPage(c)
			v.Errors, v.Refusal = wrong, refused(refusal, nil, backToAccount)
			return v.View(), nil
		})
	}
	if l, err = s.db.SetPassword(c.Request().Context(), l.Actor(), l.Email, hash); err != nil {
		return err
	}
	if err := s.web.Continue(c, l); err != nil {
		return err
	}
	return s.done(c, "Your password is changed. Everywhere else you are signed out.", "/account")
}

// newPassword checks the form and gives the hash of the new password, or what is wrong beside its field.
func (s *Site) newPassword(c echo.Context, l portal.Login, form web.Form) (hash string, wrong templates.AccountErrors, err error) {
	if err := s.web.CheckPassword(c, l, form["old"]); err != nil {
		if portal.CodeOf(err) == portal.CodeInvalid {
			err = portal.Invalid("old", "That is not your present password.")
			wrong.Old = "That is not your present password."
		}
		return "", wrong, err
	}
	if form["new"] == form["old"] && form["new"] == form["again"] {
		wrong.New = "This is the password you have."
		return "", wrong, portal.Invalid("new", "The new password is the one you have. Nothing was changed.")
	}
	return chosenPassword(form)
}

// changeZone sets the zone in which a login reads times.
func (s *Site) changeZone(c echo.Context) error {
	l := login(c)
	form, err := web.ReadForm(c, "zone")
	if err == nil {
		err = s.db.SetZone(c.Request().Context(), l.Actor(), l, form["zone"])
	}
	if err != nil {
		return web.Again(err, func(refusal *portal.Error) (web.Component, error) {
			v := s.accountPage(c)
			v.ZoneWrong, v.Refusal = refusal.Sentence, refused(refusal, nil, backToAccount)
			if form.Has("zone") {
				v.Zone = form["zone"]
			}
			return v.View(), nil
		})
	}
	return s.done(c, portal.Say("Saved. Times are shown in %s; schedules keep their own zone.", form["zone"]), "/account")
}

// changeLanguage sets the language in which a login reads.
func (s *Site) changeLanguage(c echo.Context) error {
	l := login(c)
	form, err := web.ReadForm(c, "language")
	if err == nil && !form.Has("language") {
		err = portal.Invalid("language", "Choose a language.")
	}
	if err == nil {
		err = s.db.SetLanguage(c.Request().Context(), l.Actor(), l, form["language"])
	}
	if err != nil {
		return web.Again(err, func(refusal *portal.Error) (web.Component, error) {
			v := s.accountPage(c)
			v.LanguageWrong, v.Refusal = refusal.Sentence, refused(refusal, nil, backToAccount)
			return v.View(), nil
		})
	}
	return s.done(c, "Saved. From now on the portal speaks English with you.", "/account")
}

// signOutEverywhere ends all sessions of a login, this one included.
func (s *Site) signOutEverywhere(c echo.Context) error {
	l := login(c)
	if _, err := s.db.EndSessions(c.Request().Context(), l.Actor(), l.Email); err != nil {
		return err
	}
	if err := s.web.SignOut(c); err != nil {
		return err
	}
	return web.See(c, "/login")
}
