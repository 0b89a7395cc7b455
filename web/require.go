package web

import (
	"net/http"
	"net/url"
	"slices"

	"github.com/labstack/echo/v4"

	"stowage/portal"
)

// RequireClient lets only logins of clients through. Staff who come to the front page are sent to theirs.
func (s *Server) RequireClient(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		l, ok := CurrentLogin(c)
		if !ok {
			return s.toSignIn(c)
		}
		if l.Staff() {
			if path := c.Request().URL.Path; c.Request().Method == http.MethodGet && (path == "/" || path == "/services") {
				return See(c, "/admin")
			}
			return portal.NotFound()
		}
		return next(c)
	}
}

// RequireStaff lets only staff with one of the roles through; with no role named, all staff. To clients the pages
// do not exist.
func (s *Server) RequireStaff(roles ...portal.Role) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			l, ok := CurrentLogin(c)
			switch {
			case !ok:
				return s.toSignIn(c)
			case !l.Staff():
				return portal.NotFound()
			case len(roles) > 0 && !slices.Contains(roles, l.Role):
				return portal.Refuse(portal.CodeForbidden, "Your role (%s) may not do this.", l.Role)
			}
			return next(c)
		}
	}
}

// RequireLogin lets everybody through who is signed in.
func (s *Server) RequireLogin(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if _, ok := CurrentLogin(c); !ok {
			return s.toSignIn(c)
		}
		return next(c)
	}
}

// RequireAct refuses changes by logins that may only look. It stands after RequireClient or RequireStaff. To look is
// no change: an address that there is not is not found, for them as for others.
func (s *Server) RequireAct(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		l, ok := CurrentLogin(c)
		if !ok {
			return s.toSignIn(c)
		}
		if !l.MayAct() && c.Request().Method != http.MethodGet {
			return portal.Refuse(portal.CodeForbidden, "Your login may look at everything, but change nothing.")
		}
		return next(c)
	}
}

// toSignIn sends a visitor to the sign-in page and, from there, back to what was wanted. What asks for a piece of
// a page can't follow: it is told where the whole page has to go.
func (s *Server) toSignIn(c echo.Context) error {
	query := url.Values{}
	if next := wantedPath(c.Request()); next != "/" {
		query.Set("next", next)
	}
	if expired, _ := c.Get(expiredKey).(bool); expired {
		query.Set("expired", "1")
	}
	target := "/login"
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	if partial(c.Request()) {
		c.Response().Header().Set("HX-Redirect", target)
		return c.NoContent(http.StatusUnauthorized)
	}
	return See(c, target)
}
