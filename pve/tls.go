package pve

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// trust says which certificates a server may show.
type trust struct {
	pins  []string // SHA-256 of the leaf, lower-case hexadecimal
	roots *x509.CertPool
	now   func() time.Time
}

// FetchFingerprint connects to an endpoint, trusting whatever certificate it shows, and gives that certificate's
// SHA-256 in hexadecimal, its subject and its end. For trust on first use: a person compares it with what
// `pvenode cert info` prints on the node. No credentials are sent.
func FetchFingerprint(ctx context.Context, endpoint string) (sha256hex, subject string, notAfter time.Time, err error) {
	u, err := readEndpoint(endpoint, false)
	if err != nil {
		return "", "", time.Time{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	// #nosec G402 -- the certificate is what is being asked for; nothing is sent over this connection.
	d := &tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}}
	conn, err := d.DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return "", "", time.Time{}, &Error{Class: Unreachable, Message: explain(err), Call: "CONNECT", cause: err}
	}
	defer func() { _ = conn.Close() }() // nothing was written
	tc, ok := conn.(*tls.Conn)
	if !ok || len(tc.ConnectionState().PeerCertificates) == 0 {
		return "", "", time.Time{}, &Error{Class: Unreachable, Message: "the server showed no certificate", Call: "CONNECT"}
	}
	leaf := tc.ConnectionState().PeerCertificates[0]
	return fingerprint(leaf), leaf.Subject.String(), leaf.NotAfter.UTC(), nil
}

// Time for a connection, its TLS handshake included.
const connectTimeout = 10 * time.Second

// transport gives connections that trust allows. Ones that are kept alive are dropped after 4 s, before Proxmox drops
// them after 5; at most 8 run at once, for a node has three workers and three more in front.
func (t trust) transport(keepAlive bool) *http.Transport {
	return &http.Transport{
		DialContext:            (&net.Dialer{Timeout: connectTimeout}).DialContext,
		DialTLSContext:         t.dial,
		DisableKeepAlives:      !keepAlive,
		IdleConnTimeout:        4 * time.Second,
		MaxIdleConnsPerHost:    4,
		MaxConnsPerHost:        8,
		ExpectContinueTimeout:  0,
		DisableCompression:     !keepAlive,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// dial connects and shakes hands. All its failures are "dial" errors: they prove that no request was sent.
func (t trust) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	raw, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, t.config(host))
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close() // the handshake's error is the one to tell
		return nil, &net.OpError{Op: "dial", Net: network, Addr: raw.RemoteAddr(), Err: err}
	}
	return conn, nil
}

// config verifies by itself, because a pinned certificate needs neither a known root nor the right name.
func (t trust) config(host string) *tls.Config {
	// #nosec G402 -- VerifyConnection below does the verification, by pin or by chain.
	return &tls.Config{
		ServerName:         host,
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true,
		VerifyConnection:   func(cs tls.ConnectionState) error { return t.verify(host, cs) },
	}
}

func (t trust) verify(host string, cs tls.ConnectionState) error {
	if len(cs.PeerCertificates) == 0 {
		return fmt.Errorf("%w: %s showed none", ErrCertificate, host)
	}
	leaf := cs.PeerCertificates[0]
	shown := fingerprint(leaf)
	if slices.Contains(t.pins, shown) {
		return nil
	}
	if len(t.pins) > 0 && t.roots == nil {
		return fmt.Errorf("%w: %s showed a certificate with the fingerprint %s, which is not among the stored ones. "+
			"If it was renewed, compare with `pvenode cert info` on the node and store the new fingerprint",
			ErrCertificate, host, WithColons(shown))
	}
	between := x509.NewCertPool()
	for _, c := range cs.PeerCertificates[1:] {
		between.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: t.roots, Intermediates: between, CurrentTime: t.now()})
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrCertificate, host, err)
	}
	return nil
}

// WithColons writes a fingerprint as Proxmox prints it: AB:CD:…
func WithColons(sha256hex string) string {
	s := strings.ToUpper(sha256hex)
	var parts []string
	for len(s) > 2 {
		parts, s = append(parts, s[:2]), s[2:]
	}
	return strings.Join(append(parts, s), ":")
}

func fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

func readFingerprints(in []string) ([]string, error) {
	var out []string
	for _, f := range in {
		s := strings.ToLower(strings.NewReplacer(":", "", " ", "").Replace(f))
		if b, err := hex.DecodeString(s); err != nil || len(b) != sha256.Size {
			return nil, fmt.Errorf("pve: %q is not a SHA-256 fingerprint", f)
		}
		out = append(out, s)
	}
	return out, nil
}
