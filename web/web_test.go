package web_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"

	"stowage/portal"
	"stowage/store"
	"stowage/web"
)

const password = "correct horse battery"

// text is a page for tests.
type text string

func (t text) Render(_ context.Context, w io.Writer) error {
	if t == "broken" {
		_, _ = io.WriteString(w, "half a page")
		return fmt.Errorf("the page is broken")
	}
	_, err := io.WriteString(w, string(t))
	return err
}

// site is a portal of a few test pages on the real database, reached over loopback.
type site struct {
	t      *testing.T
	db     *store.DB
	web    *web.Server
	server *httptest.Server
	log    *lockedBuffer

	mu  sync.Mutex
	now time.Time
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (s *site) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *site) pass(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

// hashed is the hash of password, made once: hashing is slow on purpose.
var hashed = sync.OnceValues(func() (string, error) { return web.HashPassword(password) })

// open starts a site with ada (client), grace (client, reader) and admin and auditor (staff).
func open(t *testing.T, change func(*web.Options)) *site {
	t.Helper()
	s := &site{t: t, now: time.Date(2026, 11, 20, 2, 0, 0, 0, time.UTC), log: &lockedBuffer{}}
	dir := t.TempDir()
	key := filepath.Join(dir, "stowage.key")
	if err := store.CreateKey(key); err != nil {
		t.Fatal(err)
	}
	keys, err := store.ReadKey(key)
	if err != nil {
		t.Fatal(err)
	}
	s.db, err = store.Open(store.Options{Path: filepath.Join(dir, "stowage.db"), Keys: keys, Now: s.clock, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.db.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, _, err := s.db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.db.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.people()
	o := web.Options{
		Now: s.clock, Log: slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Accounts: s.db, Sessions: s.db.Sessions(), WithAddress: store.WithAddress, Metrics: prometheus.NewRegistry(),
		ErrorPage: func(c echo.Context, p web.Problem) web.Component {
			s.web.Flashes(c)
			return text(fmt.Sprintf("<h1>%d</h1><p data-refusal>%s</p><b>%s</b>", p.Status, p.Sentence, p.Reference))
		},
	}
	if change != nil {
		change(&o)
	}
	if s.web, err = web.New(o); err != nil {
		t.Fatal(err)
	}
	s.routes()
	s.server = httptest.NewUnstartedServer(nil)
	s.server.Config = s.web.HTTP()
	s.server.Start()
	t.Cleanup(s.server.Close)
	return s
}

func (s *site) people() {
	s.t.Helper()
	hash, err := hashed()
	if err != nil {
		s.t.Fatal(err)
	}
	ctx := s.t.Context()
	c, _, err := s.db.AddClient(ctx, "cli", portal.Client{Name: "Ada", Zone: "Europe/Berlin"}, "ada@demo.test", hash)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.db.AddLogin(ctx, "cli", c.ID, "reader@demo.test", "", portal.RoleReader, hash); err != nil {
		s.t.Fatal(err)
	}
	for email, role := range map[string]portal.Role{"admin@demo.test": portal.RoleAdmin, "auditor@demo.test": portal.RoleAuditor} {
		if _, err := s.db.AddStaff(ctx, "cli", email, "", role, hash); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *site) routes() {
	w, e := s.web, s.web.Echo
	e.GET("/login", func(c echo.Context) error { return web.Page(c, 200, text("sign in")) })
	e.POST("/login", func(c echo.Context) error {
		f, err := web.ReadForm(c, "email", "password", "next")
		if err != nil {
			return err
		}
		if _, err := w.SignIn(c, f["email"], f["password"]); err != nil {
			return web.Again(err, func(r *portal.Error) (web.Component, error) { return text("sign in: " + r.Sentence.String()), nil })
		}
		return web.See(c, web.LocalPath(f["next"]))
	})
	e.POST("/logout", func(c echo.Context) error {
		if err := w.SignOut(c); err != nil {
			return err
		}
		return web.See(c, "/login")
	})
	client := routes{e, w.RequireClient}
	client.GET("/", func(c echo.Context) error { return web.See(c, "/services") })
	client.GET("/services", func(c echo.Context) error {
		l, _ := web.CurrentLogin(c)
		out := "services of " + l.Email
		for _, f := range w.Flashes(c) {
			out += "; " + f.Tone + ": " + f.Sentence.String()
		}
		return web.Page(c, 200, text(out))
	})
	client.POST("/services/flash", func(c echo.Context) error {
		w.AddFlash(c, "good", "It is done.")
		return web.See(c, "/services")
	}, w.RequireAct)
	client.POST("/services/echo", func(c echo.Context) error {
		f, err := web.ReadForm(c, "note", "replace")
		if err != nil {
			return err
		}
		return c.String(200, fmt.Sprintf("%q %v", f["note"], f.Has("replace")))
	})
	client.POST("/services/password", func(c echo.Context) error {
		l, _ := web.CurrentLogin(c)
		hash, err := hashed()
		if err != nil {
			return err
		}
		changed, err := s.db.SetPassword(c.Request().Context(), l.Actor(), l.Email, hash)
		if err != nil {
			return err
		}
		if err := w.Continue(c, changed); err != nil {
			return err
		}
		return web.See(c, "/services")
	})
	client.GET("/events", func(c echo.Context) error {
		st, err := w.OpenStream(c)
		if err != nil {
			return err
		}
		defer st.Close()
		if err := st.Send("hello", text("<p>\none</p>")); err != nil {
			return err
		}
		<-st.Context().Done()
		return nil
	})
	e.GET("/admin", func(c echo.Context) error { return web.Page(c, 200, text("staff")) }, w.RequireStaff())
	e.POST("/admin/staff", func(c echo.Context) error { return web.Page(c, 200, text("done")) }, w.RequireStaff(portal.RoleAdmin))
	e.GET("/fail/:how", func(c echo.Context) error {
		switch c.Param("how") {
		case "panic":
			panic("a bug: " + c.QueryParam("secret"))
		case "error":
			return fmt.Errorf("the disk said no")
		case "half":
			return web.Page(c, 200, text("broken"))
		case "again":
			return web.Again(portal.Refuse(portal.CodeQuota, "All places are used."), func(r *portal.Error) (web.Component, error) {
				return text("the page with: " + r.Sentence.String()), nil
			})
		case "address":
			return c.String(200, c.RealIP())
		}
		return portal.Refuse(portal.Code(c.Param("how")), "A sentence.")
	})
}

// routes puts one middleware before each of several routes. (A group without a prefix would answer for every path.)
type routes struct {
	*echo.Echo
	first echo.MiddlewareFunc
}

func (r routes) GET(path string, h echo.HandlerFunc) { r.Echo.GET(path, h, r.first) }

func (r routes) POST(path string, h echo.HandlerFunc, then ...echo.MiddlewareFunc) {
	r.Echo.POST(path, h, append([]echo.MiddlewareFunc{r.first}, then...)...)
}

// browser keeps cookies and follows nothing by itself.
func (s *site) browser() *http.Client {
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	c := s.server.Client()
	return &http.Client{Jar: jar, Transport: c.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

type answer struct {
	*http.Response
	body string
}

func (s *site) do(b *http.Client, method, path, body string, headers ...string) answer {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.server.URL+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := b.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{resp, string(raw)}
}

func (s *site) get(b *http.Client, path string, headers ...string) answer {
	s.t.Helper()
	return s.do(b, http.MethodGet, path, "", headers...)
}

func (s *site) signIn(email, pass string) (*http.Client, answer) {
	s.t.Helper()
	b := s.browser()
	return b, s.do(b, http.MethodPost, "/login", url.Values{"email": {email}, "password": {pass}}.Encode())
}

func (s *site) signedIn(email string) *http.Client {
	s.t.Helper()
	b, a := s.signIn(email, password)
	if a.StatusCode != http.StatusSeeOther {
		s.t.Fatalf("sign-in of %s: %d %s", email, a.StatusCode, a.body)
	}
	return b
}

func (a answer) want(t *testing.T, what string, status int, body string) {
	t.Helper()
	if a.StatusCode != status || !strings.Contains(a.body, body) {
		t.Errorf("%s: %d %q, want %d with %q", what, a.StatusCode, a.body, status, body)
	}
}

func (a answer) wantTo(t *testing.T, what, location string) {
	t.Helper()
	if a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != location {
		t.Errorf("%s: %d to %q, want 303 to %q", what, a.StatusCode, a.Header.Get("Location"), location)
	}
}
