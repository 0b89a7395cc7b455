package handlers

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"stowage/portal"
	"stowage/templates"
	"stowage/web"
)

// showForgot asks for the address of a login whose password was forgotten, and says that a mail is on its way.
func (s *Site) showForgot(c echo.Context) error {
	v := s.forgotPage(c)
	v.Sent = c.QueryParam("sent") == "1"
	return show(c, v)
}

func (s *Site) forgotPage(c echo.Context) templates.ForgotPage {
	return templates.ForgotPage{Frame: s.frame(c, "Forgot your password?", ""), Off: !s.o.Mail}
}

// forgot takes the address. What is done, and the answer, are the same whether there is such a login or not: that is
// looked up later, elsewhere.
func (s *Site) forgot(c echo.Context) error {
	ctx := c.Request().Context()
	form, err := web.ReadForm(c, "email")
	if err == nil && !s.o.Mail {
		err = portal.Refuse(portal.CodeConflict, "This portal sends no mail, so it can't send you a link. Please ask for help.")
	}
	if err == nil {
		if until, failed := s.db.ForgotAllowed(ctx, form["email"], c.RealIP()); failed != nil {
			return failed
		} else if !until.IsZero() {
			err = s.web.TooOften(until)
		}
	}
	if err == nil {
		err = s.db.Forgotten(ctx, form["email"], c.RealIP())
	}
	if err != nil {
		return web.Again(err, func(refusal *portal.Error) (web.Component, error) {
			v := s.forgotPage(c)
			v.Email = form["email"]
			if !v.Off {
				v.Throttled = refusal.Sentence
			}
			return v.View(), nil
		})
	}
	return web.See(c, "/forgot?sent=1")
}

// showReset asks whoever has the link of a mail for a new password.
func (s *Site) showReset(c echo.Context) error {
	if _, err := s.db.ResetLogin(c.Request().Context(), c.Param("token")); err != nil {
		return s.resetSpent(c, err)
	}
	return show(c, s.resetPage(c))
}

func (s *Site) resetPage(c echo.Context) templates.ResetPage {
	return templates.ResetPage{Frame: s.frame(c, "Choose a new password", ""), Token: c.Param("token")}
}

// resetSpent answers with the page on which a new link is asked for.
func (s *Site) resetSpent(c echo.Context, err error) error {
	refusal, ok := asRefusal(err)
	if !ok || refusal.Code != portal.CodeNotFound {
		return err
	}
	v := s.forgotPage(c)
	v.Refusal = refused(refusal, nil, templates.WayOut{Label: "Back to the sign-in", Href: "/login"})
	return web.Page(c, http.StatusNotFound, v.View())
}

// reset sets the new password, once, and ends every session of the login.
func (s *Site) reset(c echo.Context) error {
	ctx := c.Request().Context()
	form, err := web.ReadForm(c, "new", "again")
	var wrong templates.AccountErrors
	if err == nil {
		if _, err := s.db.ResetLogin(ctx, c.Param("token")); err != nil {
			return s.resetSpent(c, err)
		}
	}
	var hash string
	if err == nil {
		hash, wrong, err = chosenPassword(form)
	}
	if err == nil {
		if _, err := s.db.ResetPassword(ctx, c.Param("token"), hash, c.RealIP()); err != nil {
			return s.resetSpent(c, err) // another was faster
		}
		return s.done(c, "Your password is changed. Sign in with it now.", "/login")
	}
	return web.Again(err, func(refusal *portal.Error) (web.Component, error) {
		v := s.resetPage(c)
		v.Errors, v.Refusal = wrong, refused(refusal, nil, templates.WayOut{Label: "Back to the sign-in", Href: "/login"})
		return v.View(), nil
	})
}

// chosenPassword checks a password that was typed twice and gives its hash, or what is wrong beside its field.
func chosenPassword(form web.Form) (hash string, wrong templates.AccountErrors, err error) {
	if form["new"] != form["again"] {
		wrong.Again = "This is not the same as the new password above."
		return "", wrong, portal.Invalid("again", "The new password was not typed the same twice. Nothing was changed.")
	}
	hash, err = web.HashPassword(form["new"])
	if refusal, ok := asRefusal(err); ok {
		wrong.New = refusal.Sentence
	}
	return hash, wrong, err
}
