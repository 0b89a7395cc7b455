package web

import (
	"github.com/labstack/echo/v4"

	"stowage/portal"
	"stowage/portal/lang"
)

// Words gives the words of the language in which a request is answered: the login's, or before somebody has signed in
// what the browser asks for. Components find it in their context as lang.From does.
func Words(c echo.Context) *lang.Words { return lang.From(c.Request().Context()) }

// hear notes what language the browser asks for. It stands early, so that every refusal is understood.
func hear(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		speak(c, lang.Match(c.Request().Header.Get("Accept-Language")))
		return next(c)
	}
}

// speakWith notes the language of who is signed in.
func speakWith(c echo.Context, l portal.Login) { speak(c, l.Language) }

func speak(c echo.Context, tag string) {
	c.SetRequest(c.Request().WithContext(lang.With(c.Request().Context(), lang.For(tag))))
}
