package handlers

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"stowage/portal"
	"stowage/store"
	"stowage/templates"
	"stowage/web"
)

// Options are what a Site is made of.
type Options struct {
	DB      *store.DB // required
	Log     *slog.Logger
	Version string // of the portal, shown to staff

	// Mail says that mail is sent, MailKept that it is only kept to be looked at. URL is where the links of mails lead.
	Mail, MailKept bool
	URL            string

	// Demo says on every page that nothing is real; DemoLogins, which share DemoPassword, are offered to sign in.
	Demo         bool
	DemoLogins   []templates.DemoLogin
	DemoPassword string
	Faults       *FaultPanel // of the demo; nil: there is none

	// Recheck is how often an open page is looked at without being told of a change, Heartbeat how often its
	// stream says that it lives; 0 means 5 s and 15 s. Streams bounds the open pages of one login; 0 means 10.
	Recheck, Heartbeat time.Duration
	Streams            int
}

// Site is the portal's pages.
type Site struct {
	o   Options
	db  *store.DB
	log *slog.Logger
	web *web.Server

	mu      sync.Mutex
	streams map[string]int // open event streams by login uid
}

// New makes the pages. Its ErrorPage goes into the options of the web server on which Register then puts them.
func New(o Options) *Site {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Recheck == 0 {
		o.Recheck = 5 * time.Second
	}
	if o.Heartbeat == 0 {
		o.Heartbeat = 15 * time.Second
	}
	if o.Streams == 0 {
		o.Streams = 10
	}
	return &Site{o: o, db: o.DB, log: o.Log, streams: map[string]int{}}
}

// login gives who is signed in; the routes see to it that somebody is.
func login(c echo.Context) portal.Login {
	l, _ := web.CurrentLogin(c)
	return l
}

// clientOf gives the id that goes into every query of a client's page. It is never 0, which would mean staff.
func clientOf(c echo.Context) (int64, error) {
	if l := login(c); l.ClientID > 0 {
		return l.ClientID, nil
	}
	return 0, portal.NotFound()
}

// frame gives what surrounds a page. Messages about what was just done are shown once, so it is asked for once for
// each page.
func (s *Site) frame(c echo.Context, title portal.Text, area string) templates.Frame {
	f := templates.Frame{Title: title, Area: area, Theme: theme(c), Demo: s.o.Demo, Faults: s.o.Faults != nil}
	f.Brand, f.Support = s.brand(c.Request().Context())
	if l, ok := web.CurrentLogin(c); ok {
		f.User = &templates.User{Name: l.Name, Email: l.Email, Role: string(l.Role), Staff: l.Staff()}
		f.Zone = l.Zone
		if l.Staff() {
			f.Version = s.o.Version
		}
	}
	if s.web != nil {
		for _, m := range s.web.Flashes(c) {
			f.Flash = append(f.Flash, templates.Flash{Tone: templates.Tone(m.Tone), Sentence: m.Sentence})
		}
	}
	return f
}

// brand gives the portal's name and where help is. A page does without them when they can't be read.
func (s *Site) brand(ctx context.Context) (name, support string) {
	settings, err := s.db.Settings(ctx)
	if err != nil {
		s.log.ErrorContext(ctx, "settings not read", "error", err)
		return "", ""
	}
	for _, v := range settings {
		switch v.Key {
		case store.Brand:
			name = v.Value
		case store.Support:
			support = v.Value
		}
	}
	return name, support
}

func theme(c echo.Context) string {
	cookie, err := c.Cookie("theme")
	if err != nil {
		return ""
	}
	return cookie.Value
}

// zone gives the login's own zone: that of lists over several services, and of staff's pages.
func zone(l portal.Login) *time.Location {
	loc, err := portal.Zone(l.Zone)
	if err != nil {
		return time.UTC
	}
	return loc
}

// show answers with a page.
func show(c echo.Context, v templates.View) error { return web.Page(c, http.StatusOK, v.View()) }

// done says what was done and goes on to a page, which says it in its own language.
func (s *Site) done(c echo.Context, sentence portal.Text, path string) error {
	s.web.AddFlash(c, string(templates.ToneGood), sentence)
	return web.See(c, path)
}

// limits gives how much may run at once, by the settings.
func (s *Site) limits(ctx context.Context) portal.Limits {
	l := portal.DefaultLimits
	if n, err := s.db.SettingInt(ctx, store.PerStorage); err == nil && n > 0 {
		l.PerStorage = n
	}
	if n, err := s.db.SettingInt(ctx, store.PerServer); err == nil && n > 0 {
		l.PerServer = n
	}
	return l
}

// path makes an address of a service's pages.
func path(uid string, rest ...string) string {
	steps := append([]string{uid}, rest...)
	for i, step := range steps {
		steps[i] = url.PathEscape(step)
	}
	return "/services/" + strings.Join(steps, "/")
}
