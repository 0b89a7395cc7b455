package web_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"

	"stowage/portal"
	"stowage/portal/lang"
	"stowage/web"
)

// Whoever has not signed in is answered in the language that the browser asks for, whatever it is that goes wrong.
func TestRefusalsAreUnderstood(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	b := s.browser()
	for _, c := range []struct {
		what, accept string
		ask          func(accept string) answer
		status       int
		tag, body    string
	}{
		{"not there", "de-AT,de;q=0.9,en;q=0.5", func(a string) answer { return s.get(b, "/nowhere", "Accept-Language", a) }, 404, "de", "Wir finden diese Seite nicht."},
		{"not there", "fr, en;q=0.5", func(a string) answer { return s.get(b, "/nowhere", "Accept-Language", a) }, 404, "en", "We can&#39;t find that page."},
		{"not there", "*;;nonsense", func(a string) answer { return s.get(b, "/nowhere", "Accept-Language", a) }, 404, "en", "find that page"},
		{"another site's", "de", func(a string) answer {
			return s.do(b, "POST", "/login", "", "Accept-Language", a, "Sec-Fetch-Site", "cross-site")
		}, 403, "de", "von einer anderen Website"},
		{"too large", "de", func(a string) answer {
			return s.do(b, "POST", "/login", strings.Repeat("x", web.BodyLimit+1), "Accept-Language", a)
		}, 413, "de", "mehr, als das Portal auf einmal annimmt"},
		{"not that way", "de", func(a string) answer { return s.do(b, "PUT", "/login", "", "Accept-Language", a) }, 405, "de", "So lässt sich diese Seite nicht benutzen."},
		{"a panic", "de", func(a string) answer { return s.get(b, "/fail/panic", "Accept-Language", a) }, 500, "de", "Bei uns ging etwas schief."},
		{"no page for it", "de", func(a string) answer { return s.get(b, "/fail/half", "Accept-Language", a) }, 500, "de", "Bei uns ging etwas schief."},
		{"a page", "de", func(a string) answer { return s.get(b, "/login", "Accept-Language", a) }, 200, "de", ""},
	} {
		a := c.ask(c.accept)
		if a.StatusCode != c.status || !strings.Contains(strings.ReplaceAll(a.body, "'", "&#39;"), c.body) || a.Header.Get("Content-Language") != c.tag {
			t.Errorf("%s for %q: %d %q in %q, want %d with %q in %q", c.what, c.accept, a.StatusCode, a.body, a.Header.Get("Content-Language"), c.status, c.body, c.tag)
		}
	}
}

// Whoever has signed in is answered in their own language, from the next request on when they change it.
func TestSignedInLanguage(t *testing.T) {
	t.Parallel()
	s := open(t, func(o *web.Options) {
		o.ErrorPage = func(_ echo.Context, p web.Problem) web.Component {
			labels := ""
			for _, w := range p.WayOuts {
				labels += fmt.Sprintf("[%s %s %s]", w.Action, w.Label, w.UID)
			}
			return text(p.Sentence + labels)
		}
	})
	s.web.Echo.GET("/test/busy", func(echo.Context) error {
		return portal.Refuse(portal.CodeBusy, "A backup of this machine is running already (began %s ago).", portal.Duration(3e12)).
			With(portal.WayOut{Action: "open_operation", Label: "See how it goes", UID: "op"})
	})
	s.web.Echo.GET("/test/words", func(c echo.Context) error {
		return c.String(http.StatusOK, web.Words(c).Tag()+" "+lang.From(c.Request().Context()).Tag())
	})
	s.web.Echo.GET("/test/flash", func(c echo.Context) error {
		var said []string
		for _, f := range s.web.Flashes(c) {
			said = append(said, web.Words(c).Say(f.Sentence))
		}
		return c.String(http.StatusOK, strings.Join(said, "|"))
	})
	s.web.Echo.GET("/test/done", func(c echo.Context) error {
		s.web.AddFlash(c, "good", portal.Say("Removed the backup of %s.", portal.When{At: s.clock(), Layout: "Mon 2 Jan 15:04"}))
		return c.NoContent(http.StatusNoContent)
	})
	b := s.signedIn("ada@demo.test")
	ada, err := s.db.LoginByEmail(t.Context(), "ada@demo.test")
	if err != nil {
		t.Fatal(err)
	}
	s.get(b, "/test/words", "Accept-Language", "de").want(t, "her language is English", 200, "en en")
	s.get(b, "/test/done")
	if err := s.db.SetLanguage(t.Context(), ada.Actor(), ada, "de"); err != nil {
		t.Fatal(err)
	}
	s.get(b, "/test/words", "Accept-Language", "en").want(t, "from the next request on", 200, "de de")
	s.get(b, "/test/flash").want(t, "what was done is said by the page that shows it", 200, "Das Backup vom Fr 20. Nov 02:00 ist gelöscht.")
	a := s.get(b, "/test/busy", "Accept-Language", "en")
	a.want(t, "a refusal with its way out", 409, "Für diese Maschine läuft bereits ein Backup (seit Beginn: 50 min).[open_operation Ansehen, wie es läuft op]")
	if got := a.Header.Get("Content-Language"); got != "de" {
		t.Errorf("says that it speaks %q", got)
	}
	again, in := s.signIn("ada@demo.test", password)
	if in.StatusCode != http.StatusSeeOther {
		t.Fatal(in.Status)
	}
	s.get(again, "/test/words", "Accept-Language", "en").want(t, "another browser", 200, "de de")
	s.do(again, "POST", "/logout", "")
	s.get(again, "/test/words", "Accept-Language", "en").want(t, "signed out, it is the browser's again", 200, "en en")
}
