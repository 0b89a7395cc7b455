package pve

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/Telmate/proxmox-api-go/proxmox"
)

// Config says how to reach one Proxmox VE server: a single node or a cluster.
type Config struct {
	// Endpoints are "https://host:8006", any nodes of the cluster. A question goes to the one that last answered and
	// then to the others in order; a change goes to the one that last answered, exactly once.
	Endpoints []string

	TokenID string // user@realm!name
	Secret  string

	// Fingerprints are SHA-256 of acceptable leaf certificates, hexadecimal with or without colons. CAs are acceptable
	// roots. With both, either is enough; with neither, the system's roots decide.
	Fingerprints []string
	CAs          *x509.CertPool

	// Transport replaces the network, for tests. nil means TLS transports of our own: one kept alive for questions, one
	// with a fresh connection per change (Proxmox closes idle connections after 5 s, and a change that dies on a stale
	// connection would be ambiguous without need).
	Transport http.RoundTripper

	// RetryPause is how long a question waits before it is asked again after a broken connection, and the second time
	// up to four times as long. 0 means 100 ms.
	RetryPause time.Duration

	Now     func() time.Time
	Observe func(Call) // one per request; may be nil; called from many goroutines
}

// Call is one request as metrics see it.
type Call struct {
	Method   string
	Path     string // without ids: "/nodes/{node}/tasks"
	Status   int    // 0 without an answer
	Class    Class  // "" for a success
	Duration time.Duration
	Mutation bool
}

// Client talks to one Proxmox VE server. It is safe for concurrent use.
type Client struct {
	endpoints []*proxmox.Client
	last      atomic.Int32 // index of the endpoint that last answered
	edge      *edge
	token     string
	now       func() time.Time
	observe   func(Call)
	pause     time.Duration
	skew      atomic.Pointer[time.Duration]
}

// New checks the configuration and makes a client. It sends nothing.
func New(cfg Config) (*Client, error) {
	if len(cfg.Endpoints) == 0 {
		return nil, errors.New("pve: no endpoint")
	}
	if cfg.Now == nil {
		return nil, errors.New("pve: no clock")
	}
	var token proxmox.ApiTokenID
	if err := token.Parse(cfg.TokenID); err != nil || strings.ContainsAny(cfg.TokenID, " \t\r\n=:") {
		return nil, errors.New("pve: the token id must read user@realm!name")
	}
	if cfg.Secret == "" || strings.ContainsAny(cfg.Secret, " \t\r\n") {
		return nil, errors.New("pve: the token's secret is missing or has spaces in it")
	}
	pins, err := readFingerprints(cfg.Fingerprints)
	if err != nil {
		return nil, err
	}
	e := &edge{reads: cfg.Transport, changes: cfg.Transport, secret: cfg.Secret}
	if cfg.Transport == nil {
		trust := trust{pins: pins, roots: cfg.CAs, now: cfg.Now}
		e.reads, e.changes, e.traced = trust.transport(true), trust.transport(false), true
	}
	c := &Client{edge: e, token: cfg.TokenID, now: cfg.Now, observe: cfg.Observe, pause: cmp.Or(cfg.RetryPause, 100*time.Millisecond)}
	e.client = c
	hc := &http.Client{
		Transport:     e,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	for _, endpoint := range cfg.Endpoints {
		base, err := readEndpoint(endpoint, cfg.Transport != nil)
		if err != nil {
			return nil, err
		}
		lib, err := proxmox.NewClient(base.String()+"/api2/json", hc, "", nil, "", 0, false)
		if err != nil {
			return nil, fmt.Errorf("pve: endpoint %s: %w", endpoint, err)
		}
		lib.SetAPIToken(token, proxmox.ApiTokenSecret(cfg.Secret))
		c.endpoints = append(c.endpoints, lib)
	}
	return c, nil
}

// readEndpoint takes https://host[:port], the port being 8006 unless said. Plain http is for loopback and tests only.
func readEndpoint(s string, anyScheme bool) (*url.URL, error) {
	u, err := url.Parse(strings.TrimRight(strings.TrimSpace(s), "/"))
	if err != nil || u.Hostname() == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("pve: endpoint %q must read https://host:8006", s)
	}
	switch u.Scheme {
	case "https":
	case "http":
		addr, err := netip.ParseAddr(u.Hostname())
		if !anyScheme && (err != nil || !addr.IsLoopback()) {
			return nil, fmt.Errorf("pve: endpoint %q must use https", s)
		}
	default:
		return nil, fmt.Errorf("pve: endpoint %q must use https", s)
	}
	if u.Port() == "" {
		u.Host = net.JoinHostPort(u.Hostname(), "8006")
	}
	return u, nil
}

// TokenID gives the token that the client uses, as user@realm!name.
func (c *Client) TokenID() string { return c.token }

// Skew gives how far the server's clock was ahead of ours in the last answer (its Date header has whole seconds), and
// whether any answer has been seen.
func (c *Client) Skew() (d time.Duration, known bool) {
	if p := c.skew.Load(); p != nil {
		return *p, true
	}
	return 0, false
}

// Close drops idle connections. The client stays usable.
func (c *Client) Close() {
	for _, rt := range []http.RoundTripper{c.edge.reads, c.edge.changes} {
		if t, ok := rt.(*http.Transport); ok && c.edge.traced {
			t.CloseIdleConnections()
		}
	}
}
