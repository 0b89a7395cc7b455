package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/labstack/echo/v4"

	"stowage/portal"
)

// How long a session lasts. Its clock is Options.Now: scs is told every deadline.
const (
	IdleTimeout = 2 * time.Hour      // without a page asked for
	Lifetime    = 7 * 24 * time.Hour // since the sign-in
	refresh     = 5 * time.Minute    // how often the last use is written down
)

// The values of a session.
const (
	loginValue      = "login"      // uid
	generationValue = "generation" // of the login, at the sign-in
	beganValue      = "began"      // unix seconds
	usedValue       = "used"       // unix seconds
	flashValue      = "flash"      // JSON of []Flash
)

// What a request's context holds.
const (
	loginKey   = "web.login"
	expiredKey = "web.expired"
	sessionKey = "web.session" // set where the request has a session
)

func newSessions(o Options) *scs.SessionManager {
	m := scs.New()
	m.Store = o.Sessions
	m.Lifetime = Lifetime
	m.Cookie.Name = "stowage_session"
	m.Cookie.HttpOnly = true
	m.Cookie.SameSite = http.SameSiteLaxMode
	m.Cookie.Path = "/"
	m.Cookie.Persist = false // the database ends sessions; the browser forgets them when it closes
	if o.URL.Scheme == "https" {
		m.Cookie.Secure, m.Cookie.Name = true, "__Host-stowage_session"
	}
	return m
}

// CurrentLogin gives who is signed in.
func CurrentLogin(c echo.Context) (portal.Login, bool) {
	l, ok := c.Get(loginKey).(portal.Login)
	return l, ok
}

// loadSession finds the session of a request and who is signed in by it.
func (s *Server) loadSession(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		if !hasSessions(r.URL.Path) {
			return next(c)
		}
		token := ""
		if cookie, err := r.Cookie(s.sessions.Cookie.Name); err == nil {
			token = cookie.Value
		}
		ctx, err := s.sessions.Load(r.Context(), token)
		if err != nil {
			return fmt.Errorf("session: %w", err)
		}
		c.SetRequest(r.WithContext(ctx))
		c.Set(sessionKey, true)
		c.Response().Before(func() { s.keepSession(c) })
		if token != "" {
			if err := s.recognise(c); err != nil {
				return err
			}
			_, signedIn := CurrentLogin(c)
			c.Set(expiredKey, !signedIn)
		}
		return next(c)
	}
}

// hasSessions tells which paths are for people who sign in.
func hasSessions(path string) bool {
	switch path {
	case "/healthz", "/readyz", "/metrics":
		return false
	}
	for _, prefix := range []string{"/static/", "/api/", "/webhooks/"} {
		if strings.HasPrefix(path, prefix) {
			return false
		}
	}
	return true
}

// recognise finds the login of a session, unless the session has ended: by time, because the password changed, or
// because the login was disabled.
func (s *Server) recognise(c echo.Context) error {
	ctx := c.Request().Context()
	uid := s.sessions.GetString(ctx, loginValue)
	if uid == "" {
		return nil
	}
	l, err := s.loginOf(ctx, uid)
	if err != nil {
		return err
	}
	if l == nil {
		if err := s.sessions.Destroy(ctx); err != nil {
			return fmt.Errorf("session: %w", err)
		}
		return nil
	}
	c.Set(loginKey, *l)
	speakWith(c, *l)
	if used := s.sessions.GetInt64(ctx, usedValue); s.now().Sub(time.Unix(used, 0)) >= refresh && !eventStream(c.Request()) {
		s.use(ctx)
	}
	return nil
}

// loginOf gives the login that a session stands for now, nil where the session has ended.
func (s *Server) loginOf(ctx context.Context, uid string) (*portal.Login, error) {
	now := s.now()
	began, used := time.Unix(s.sessions.GetInt64(ctx, beganValue), 0), time.Unix(s.sessions.GetInt64(ctx, usedValue), 0)
	if now.Sub(began) >= Lifetime || now.Sub(used) >= IdleTimeout {
		return nil, nil
	}
	l, err := s.o.Accounts.Login(ctx, uid)
	switch {
	case portal.CodeOf(err) == portal.CodeNotFound:
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("session: %w", err)
	case l.Disabled || l.Generation != s.sessions.GetInt64(ctx, generationValue):
		return nil, nil
	}
	return &l, nil
}

// use notes that the session was used now, and moves its end.
func (s *Server) use(ctx context.Context) {
	now := s.now()
	s.sessions.Put(ctx, usedValue, now.Unix())
	end := now.Add(IdleTimeout)
	if began := s.sessions.GetInt64(ctx, beganValue); began != 0 {
		if last := time.Unix(began, 0).Add(Lifetime); last.Before(end) {
			end = last
		}
	}
	s.sessions.SetDeadline(ctx, end.UTC())
}

// keepSession writes a changed session and its cookie, right before the first byte of the answer. A failure here
// costs a refreshed deadline or a message, so the answer goes out all the same; a sign-in has written its own.
func (s *Server) keepSession(c echo.Context) {
	ctx := c.Request().Context()
	switch s.sessions.Status(ctx) {
	case scs.Modified:
		token, end, err := s.sessions.Commit(ctx)
		if err != nil {
			s.log.Error("session not saved", "reference", Reference(c), "error", err)
			return
		}
		s.setCookie(c, token, end)
	case scs.Destroyed:
		s.setCookie(c, "", time.Time{})
	}
}

func (s *Server) setCookie(c echo.Context, token string, end time.Time) {
	keep := c.Response().Header().Get("Cache-Control")
	s.sessions.WriteSessionCookie(c.Request().Context(), c.Response().Writer, token, end)
	c.Response().Header().Set("Cache-Control", keep)
}

// begin starts a signed-in session under a new token, whatever the browser had before.
func (s *Server) begin(c echo.Context, l portal.Login) error {
	ctx := c.Request().Context()
	if err := errors.Join(s.sessions.Clear(ctx), s.sessions.RenewToken(ctx)); err != nil {
		return fmt.Errorf("session: %w", err)
	}
	s.sessions.Put(ctx, loginValue, l.UID)
	s.sessions.Put(ctx, generationValue, l.Generation)
	s.sessions.Put(ctx, beganValue, s.now().Unix())
	s.use(ctx)
	if _, _, err := s.sessions.Commit(ctx); err != nil {
		return fmt.Errorf("session: %w", err)
	}
	c.Set(loginKey, l)
	speakWith(c, l)
	return nil
}

// Continue keeps the present session after all sessions of its login were ended, as a changed password does. l is
// the login as it is now.
func (s *Server) Continue(c echo.Context, l portal.Login) error { return s.begin(c, l) }

// SignOut ends the session.
func (s *Server) SignOut(c echo.Context) error {
	c.Set(loginKey, nil)
	if err := s.sessions.Destroy(c.Request().Context()); err != nil {
		return fmt.Errorf("session: %w", err)
	}
	return nil
}

// StillSignedIn looks again whether the session of a request that lasts (an event stream) has ended meanwhile.
func (s *Server) StillSignedIn(c echo.Context) (bool, error) {
	ctx := c.Request().Context()
	cookie, missing := c.Cookie(s.sessions.Cookie.Name)
	if missing != nil {
		return false, nil //nolint:nilerr // without a cookie nobody is signed in
	}
	_, found, err := s.o.Sessions.FindCtx(ctx, cookie.Value)
	if err != nil || !found {
		return false, err
	}
	known, ok := CurrentLogin(c)
	if !ok {
		return false, nil
	}
	l, err := s.o.Accounts.Login(ctx, known.UID)
	if portal.CodeOf(err) == portal.CodeNotFound {
		return false, nil
	}
	return err == nil && !l.Disabled && l.Generation == known.Generation, err
}

// Flash is a message about what has just been done, for the next page, which says it in its language.
type Flash struct {
	Tone     string // good, info, warn, bad
	Sentence portal.Text
}

// keptFlash is a flash as the session holds it: with the text as it is, not as English.
type keptFlash struct {
	Tone     string `json:"tone"`
	Sentence string `json:"sentence"`
}

// AddFlash keeps a message for the next page that the visitor opens.
func (s *Server) AddFlash(c echo.Context, tone string, sentence portal.Text) {
	ctx := c.Request().Context()
	flashes := append(s.flashes(ctx), keptFlash{tone, string(sentence)})
	text, err := json.Marshal(flashes[max(0, len(flashes)-5):])
	if err != nil {
		return // strings always marshal
	}
	s.sessions.Put(ctx, flashValue, string(text))
	if s.sessions.GetString(ctx, loginValue) == "" {
		s.sessions.SetDeadline(ctx, s.now().Add(IdleTimeout).UTC())
	}
}

// Flashes gives the messages kept for this page, once. A request that was refused before its session was looked
// at has none.
func (s *Server) Flashes(c echo.Context) []Flash {
	if c.Get(sessionKey) == nil {
		return nil
	}
	ctx := c.Request().Context()
	var flashes []Flash
	for _, f := range s.flashes(ctx) {
		flashes = append(flashes, Flash{f.Tone, portal.Text(f.Sentence)})
	}
	if len(flashes) > 0 {
		s.sessions.Remove(ctx, flashValue)
	}
	return flashes
}

func (s *Server) flashes(ctx context.Context) (flashes []keptFlash) {
	if text := s.sessions.GetString(ctx, flashValue); text != "" {
		_ = json.Unmarshal([]byte(text), &flashes) // our own text; a broken one is no message
	}
	return flashes
}
