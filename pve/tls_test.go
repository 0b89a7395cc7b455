package pve

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// certificate makes one for 127.0.0.1, signed by a CA of its own.
func certificate(t testing.TB) (leaf tls.Certificate, ca *x509.Certificate) {
	t.Helper()
	issue := func(template, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if parent == nil {
			parent, signer = template, key
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return cert, key
	}
	ca, caKey := issue(&x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Proxmox Virtual Environment"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}, nil, nil)
	cert, key := issue(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "pve1.example"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(30 * time.Minute).Truncate(time.Second), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, ca, caKey)
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}, ca
}

func serveTLS(t testing.TB, cert tls.Certificate, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL
}

func TestCertificates(t *testing.T) {
	t.Parallel()
	cert, ca := certificate(t)
	_, otherCA := certificate(t)
	sum := sha256.Sum256(cert.Certificate[0])
	pin, wrong := hex.EncodeToString(sum[:]), strings.Repeat("00", 32)
	roots, others := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(ca)
	others.AddCert(otherCA)
	var s seen
	url := serveTLS(t, cert, func(w http.ResponseWriter, r *http.Request) {
		s.add(r)
		_, _ = io.WriteString(w, `{"data":{"version":"9.2.11"}}`)
	})
	for name, k := range map[string]struct {
		pins  []string
		roots *x509.CertPool
		good  bool
	}{
		"pinned":                     {pins: []string{pin}, good: true},
		"pinned, as Proxmox prints":  {pins: []string{wrong, WithColons(pin)}, good: true},
		"another one pinned":         {pins: []string{wrong}},
		"signed by the CA":           {roots: roots, good: true},
		"signed by another CA":       {roots: others},
		"no pin, CA unknown":         {},
		"pin wrong, CA right":        {pins: []string{wrong}, roots: roots, good: true},
		"pin right, CA wrong":        {pins: []string{pin}, roots: others, good: true},
		"pin wrong, CA wrong either": {pins: []string{wrong}, roots: others},
	} {
		before := s.count()
		c := overNetwork(t, func(cfg *Config) { cfg.Fingerprints, cfg.CAs = k.pins, k.roots }, url)
		_, err := c.Version(context.Background())
		change := c.StopTask(context.Background(), upid)
		if k.good {
			if err != nil || change != nil {
				t.Errorf("%s: %v, %v", name, err, change)
			}
			continue
		}
		for _, err := range []error{err, change} {
			if ClassOf(err) != Unreachable || !errors.Is(err, ErrCertificate) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if s.count() != before {
			t.Errorf("%s: the server got to see a request, and with it the token", name)
		}
		if len(k.pins) > 0 && k.roots == nil && (!strings.Contains(err.Error(), WithColons(pin)) || !strings.Contains(err.Error(), "pvenode cert info")) {
			t.Errorf("%s: staff can't act on this: %v", name, err)
		}
	}
}

// A certificate for another name is fine when pinned, and not when only its CA is known.
func TestTheNameCountsForAChainOnly(t *testing.T) {
	t.Parallel()
	cert, ca := certificate(t)
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	url := strings.Replace(serveTLS(t, cert, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"data":{"version":"9.2.11"}}`)
	}), "127.0.0.1", "localhost", 1)
	c := overNetwork(t, func(cfg *Config) { cfg.Fingerprints = []string{fingerprint(cert.Leaf)} }, url)
	if _, err := c.Version(context.Background()); err != nil {
		t.Error(err)
	}
	c = overNetwork(t, func(cfg *Config) { cfg.CAs = roots }, url)
	if _, err := c.Version(context.Background()); !errors.Is(err, ErrCertificate) {
		t.Errorf("%v", err)
	}
}

func TestFetchFingerprint(t *testing.T) {
	t.Parallel()
	cert, _ := certificate(t)
	var s seen
	url := serveTLS(t, cert, func(_ http.ResponseWriter, r *http.Request) { s.add(r) })
	sum, subject, end, err := FetchFingerprint(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]any{fingerprint(cert.Leaf), "CN=pve1.example", cert.Leaf.NotAfter.UTC(), 0}, []any{sum, subject, end, s.count()}); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for name, endpoint := range map[string]string{"nobody there": "https://" + freePort(t), "no TLS": strings.Replace(serve(t, nil), "http:", "https:", 1)} {
		if _, _, _, err := FetchFingerprint(context.Background(), endpoint); ClassOf(err) != Unreachable {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, _, err := FetchFingerprint(context.Background(), "pve1"); err == nil {
		t.Error("no address, no error")
	}
}
