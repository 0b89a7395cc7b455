package handlers

import (
	"github.com/labstack/echo/v4"

	"stowage/portal"
	"stowage/templates"
	"stowage/web"
)

// ErrorPage makes the page of an error that has no page of its own.
func (s *Site) ErrorPage(c echo.Context, p web.Problem) web.Component {
	v := templates.ProblemPage{Frame: s.frame(c, "", ""), Status: p.Status, Sentence: portal.Verbatim(p.Sentence), Reference: p.Reference}
	v.Zone = ""
	for _, w := range p.WayOuts {
		if w.Action == "sign_in" {
			v.Ways = append(v.Ways, templates.WayOut{Label: portal.Verbatim(w.Label), Href: "/login", Primary: true})
		}
	}
	if v.User == nil && len(v.Ways) == 0 {
		v.Ways = []templates.WayOut{{Label: "Sign in", Href: "/login", Primary: true}}
	}
	return v.View()
}

// refused is a refusal as the page shows it, with the buttons that help. Where there is none for it, and nothing to
// put right on the page, back leads to what holds now.
func refused(e *portal.Error, ways []templates.WayOut, back templates.WayOut) *templates.Refusal {
	if len(ways) == 0 && e.Code != portal.CodeInvalid {
		ways = []templates.WayOut{back}
	}
	return &templates.Refusal{Sentence: e.Sentence, Ways: ways}
}
