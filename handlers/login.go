package handlers

import (
	"strings"

	"github.com/labstack/echo/v4"

	"stowage/portal"
	"stowage/templates"
	"stowage/web"
)

// showLogin shows the page to sign in. Whoever is signed in goes on to the page that was wanted.
func (s *Site) showLogin(c echo.Context) error {
	next := web.LocalPath(c.QueryParam("next"))
	if l, ok := web.CurrentLogin(c); ok {
		return web.See(c, landing(l, next))
	}
	v := s.loginPage(c, "", next)
	v.Expired = c.QueryParam("expired") == "1"
	return show(c, v)
}

// signIn checks e-mail address and password, begins a session, and goes back to the page that was wanted.
func (s *Site) signIn(c echo.Context) error {
	form, err := web.ReadForm(c, "email", "password", "next")
	var l portal.Login
	if err == nil {
		l, err = s.web.SignIn(c, form["email"], form["password"])
	}
	next := web.LocalPath(form["next"])
	if err != nil {
		return web.Again(err, func(refusal *portal.Error) (web.Component, error) {
			v := s.loginPage(c, form["email"], next)
			if refusal.Code == portal.CodeTooOften {
				v.Throttled = refusal.Sentence
			} else {
				v.Error = refusal.Sentence
			}
			return v.View(), nil
		})
	}
	// That a mail about it can't be written keeps nobody out.
	if err := s.db.SeenDevice(c.Request().Context(), l, s.web.Device(c), c.RealIP(), web.Browser(c)); err != nil {
		s.log.ErrorContext(c.Request().Context(), "device not noted", "error", err)
	}
	return web.See(c, landing(l, next))
}

// signOut ends the session. Whoever has none is signed out already.
func (s *Site) signOut(c echo.Context) error {
	if err := s.web.SignOut(c); err != nil {
		return err
	}
	return web.See(c, "/login")
}

func (s *Site) loginPage(c echo.Context, email, next string) templates.LoginPage {
	v := templates.LoginPage{Frame: s.frame(c, "Sign in", ""), Email: email, Next: next}
	if next == "/" {
		v.Next = ""
	}
	if s.o.Demo {
		v.Demo, v.DemoWord = s.o.DemoLogins, s.o.DemoPassword
	}
	return v
}

// landing is where a login goes on to: the wanted page, or its own first one where that is on the other side.
func landing(l portal.Login, next string) string {
	staffs := next == "/admin" || strings.HasPrefix(next, "/admin/") || strings.HasPrefix(next, "/admin?")
	clients := next == "/services" || strings.HasPrefix(next, "/services/") || strings.HasPrefix(next, "/services?")
	switch {
	case l.Staff() && (clients || next == "/"):
		return "/admin"
	case !l.Staff() && (staffs || next == "/"):
		return "/services"
	}
	return next
}

// home sends everybody to their first page.
func (s *Site) home(c echo.Context) error { return web.See(c, landing(login(c), "/")) }
