package web

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"github.com/alexedwards/argon2id"
	"github.com/alexedwards/scs/v2"
	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"

	"stowage/portal"
)

// Accounts is what the sign-in needs of the database.
type Accounts interface {
	// Login and LoginByEmail give disabled logins too, and a not-found where there is none.
	Login(ctx context.Context, uid string) (portal.Login, error)
	LoginByEmail(ctx context.Context, email string) (portal.Login, error)
	// LoginAllowed and LoginFailed give until when the next try has to wait; the zero time is not at all.
	LoginAllowed(ctx context.Context, email, address string) (time.Time, error)
	LoginFailed(ctx context.Context, email, address string) (time.Time, error)
	LoginSucceeded(ctx context.Context, email string) error
	SignedIn(ctx context.Context, l portal.Login) error
}

// Options are what a Server is made of.
type Options struct {
	Now func() time.Time // required
	Log *slog.Logger     // nil: slog.Default()

	// URL is the address that people type. Cookies are Secure exactly when it is https.
	URL *url.URL
	// TrustedProxies are the networks whose X-Forwarded-For is believed; without any, none is.
	TrustedProxies []netip.Prefix

	Accounts Accounts     // required
	Sessions scs.CtxStore // required; it compares expiries with the same clock as Now

	// DeviceKey signs what a browser keeps to be known again; without it, no browser is after a restart.
	DeviceKey []byte

	// ErrorPage makes the page of an error. Without it, errors are plain.
	ErrorPage func(c echo.Context, p Problem) Component
	// WithAddress notes the visitor's address in the request's context, for the audit log.
	WithAddress func(ctx context.Context, address string) context.Context

	// Ready answers /readyz: whether the portal can do its work, and what is looked at.
	Ready func(ctx context.Context) (ok bool, details any)
	// Metrics are what /metrics shows to whoever has MetricsToken, or to all where MetricsOpen is set. Without
	// either, the route does not exist: they may be served by a listener of their own (MetricsHandler).
	Metrics      *prometheus.Registry
	MetricsToken string
	MetricsOpen  bool

	// HeaderTimeout, ReadTimeout and WriteTimeout bound slow visitors; zero means 5 s, 15 s and 30 s.
	HeaderTimeout, ReadTimeout, WriteTimeout time.Duration
}

// Server is the portal's HTTP side. Routes are added to Echo.
type Server struct {
	Echo *echo.Echo

	o        Options
	now      func() time.Time
	log      *slog.Logger
	sessions *scs.SessionManager
	hashing  chan struct{} // a place for each password that is being hashed
	compare  func(password, hash string) (bool, error)
	seconds  *prometheus.HistogramVec

	stopping chan struct{}
	stopOnce sync.Once
}

// New sets a server up: middleware, sessions, error handler, and the routes /healthz, /readyz and /metrics.
func New(o Options) (*Server, error) {
	if o.Now == nil || o.Accounts == nil || o.Sessions == nil {
		return nil, errors.New("web: Options.Now, Accounts and Sessions are required")
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.URL == nil {
		o.URL = &url.URL{Scheme: "http", Host: "localhost"}
	}
	if (o.URL.Scheme != "http" && o.URL.Scheme != "https") || o.URL.Host == "" {
		return nil, fmt.Errorf("web: %q is not the address of a web site", o.URL)
	}
	if len(o.DeviceKey) == 0 {
		o.DeviceKey = []byte(rand.Text())
	}
	s := &Server{
		Echo: echo.New(), o: o, now: o.Now, log: o.Log, sessions: newSessions(o), hashing: make(chan struct{}, hashAtOnce),
		compare: argon2id.ComparePasswordAndHash, stopping: make(chan struct{}),
	}
	if err := s.measure(); err != nil {
		return nil, err
	}
	cross := http.NewCrossOriginProtection()
	if err := cross.AddTrustedOrigin(o.URL.Scheme + "://" + o.URL.Host); err != nil {
		return nil, fmt.Errorf("web: %w", err)
	}
	e := s.Echo
	e.HideBanner, e.HidePort = true, true
	e.IPExtractor = addressOf(o.TrustedProxies)
	e.HTTPErrorHandler = s.handleError
	e.Use(s.accessLog, hear, recoverPanics, s.headers, sameSite(cross), limitBody, s.loadSession)
	e.GET("/healthz", func(c echo.Context) error { return c.String(http.StatusOK, "ok\n") })
	e.GET("/readyz", s.ready)
	if o.Metrics != nil && (o.MetricsToken != "" || o.MetricsOpen) {
		e.GET("/metrics", s.metrics)
	}
	return s, nil
}

// secure tells whether people reach the portal over https.
func (s *Server) secure() bool { return s.o.URL.Scheme == "https" }

// addressOf finds a visitor's address: the connection's own, or what trusted proxies say of it.
func addressOf(trusted []netip.Prefix) echo.IPExtractor {
	if len(trusted) == 0 {
		return echo.ExtractIPDirect()
	}
	options := []echo.TrustOption{echo.TrustLoopback(false), echo.TrustLinkLocal(false), echo.TrustPrivateNet(false)}
	for _, p := range trusted {
		bits := 32
		if p.Addr().Is6() {
			bits = 128
		}
		options = append(options, echo.TrustIPRange(&net.IPNet{IP: p.Masked().Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), bits)}))
	}
	return echo.ExtractIPFromXFFHeader(options...)
}

// HTTP gives the http.Server for the routes, with bounds on slow visitors. Its Shutdown ends event streams.
func (s *Server) HTTP() *http.Server {
	or := func(d, otherwise time.Duration) time.Duration {
		if d == 0 {
			return otherwise
		}
		return d
	}
	server := &http.Server{
		Handler:           endAfterChunks(headAsGet(s.Echo)),
		ReadHeaderTimeout: or(s.o.HeaderTimeout, 5*time.Second),
		ReadTimeout:       or(s.o.ReadTimeout, 15*time.Second),
		WriteTimeout:      or(s.o.WriteTimeout, 30*time.Second),
		IdleTimeout:       75 * time.Second,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),

		DisableGeneralOptionsHandler: true, // "OPTIONS *" is a page that there is not
	}
	server.RegisterOnShutdown(s.StopStreams)
	return server
}

// StopStreams ends every event stream; browsers come back by themselves.
func (s *Server) StopStreams() { s.stopOnce.Do(func() { close(s.stopping) }) }
