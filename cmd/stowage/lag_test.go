package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// lag is the way between portal and Proxmox VE: it takes its time over every change, so that a kill finds requests
// that were not sent yet, and answers that did not arrive.
type lag struct {
	t       *testing.T
	url     string
	to      string
	changes atomic.Int64
	dropped atomic.Int64 // the portal was gone before the request went on
	unheard atomic.Int64 // it was gone before the answer came

	mu sync.Mutex
	r  *rand.Rand
}

// lagMost is the most that a change takes each way.
const lagMost = 500 * time.Millisecond

func newLag(t *testing.T, to string, r *rand.Rand) *lag {
	t.Helper()
	certPEM, keyPEM, err := newCertificate(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	g := &lag{t: t, url: "https://" + l.Addr().String(), to: to, r: r}
	var open sync.WaitGroup
	open.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed
			}
			open.Go(func() { g.carry(conn) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); open.Wait() })
	return g
}

// carry takes one request there and its answer back, as they are.
func (g *lag) carry(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	req, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return // the portal was killed
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	req.Body, req.Close = io.NopCloser(bytes.NewReader(body)), true
	change := req.Method != http.MethodGet
	if change {
		g.changes.Add(1)
		if g.dawdle(3); !alive(conn) {
			g.dropped.Add(1)
			return
		}
	}
	up, err := tls.Dial("tcp", g.to, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		return // the test is over
	}
	defer func() { _ = up.Close() }()
	_ = up.SetDeadline(time.Now().Add(time.Minute))
	if err := req.Write(up); err != nil {
		return
	}
	answer, err := io.ReadAll(up)
	if err != nil && len(answer) == 0 {
		return
	}
	if change {
		if g.dawdle(1); !alive(conn) {
			g.unheard.Add(1)
			return
		}
	}
	_, _ = conn.Write(answer)
}

// dawdle takes its time, once in so many times.
func (g *lag) dawdle(once int) {
	g.mu.Lock()
	d, now := time.Duration(g.r.Int64N(int64(lagMost))), g.r.IntN(once) == 0
	g.mu.Unlock()
	if now {
		time.Sleep(d)
	}
}

// alive tells whether the other side of a connection that has said all is still there.
func alive(conn net.Conn) bool {
	_ = conn.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := conn.Read(make([]byte, 1))
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}
