package pvesim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	maxBody     = 512 << 10 // recorded in 10: 501 for data too large
	idleTimeout = 5 * time.Second
	apiPrefix   = "/api2/json"
	extPrefix   = "/api2/extjs" // the same, in the envelope that Proxmox' own pages read
)

// Server is an http.Server that speaks as pveproxy does: HTTP/1.1 only, idle
// connections closed after 5 s, any connection after 100 requests (recorded
// in 10).
func (s *Sim) Server() *http.Server {
	srv := &http.Server{Handler: s, IdleTimeout: idleTimeout, ReadHeaderTimeout: 30 * time.Second}
	srv.Protocols = new(http.Protocols)
	srv.Protocols.SetHTTP1(true)
	srv.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
		return context.WithValue(ctx, servedKey{}, new(int))
	}
	return srv
}

// servedKey finds a connection's count of requests.
type servedKey struct{}

const perConnection = 100

// ServeHTTP answers over a real connection. The phrase of the status line is
// the error's text, and after an error the connection is closed.
func (s *Sim) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a := s.request(r)
	if a.cut {
		if conn := hijack(w); conn != nil {
			_ = conn.Close()
		}
		return
	}
	header, body := s.encode(a)
	a = a.enveloped()
	if a.status != http.StatusOK || a.reason != "OK" {
		header.Set("Connection", "close")
		if conn := hijack(w); conn != nil {
			defer func() { _ = conn.Close() }()
			var out bytes.Buffer
			fmt.Fprintf(&out, "HTTP/1.1 %03d %s\r\n", a.status, a.reason)
			_ = header.Write(&out)
			out.WriteString("\r\n")
			out.Write(body)
			_, _ = conn.Write(out.Bytes())
			return
		}
	}
	if served, counted := r.Context().Value(servedKey{}).(*int); counted {
		if *served++; *served >= perConnection {
			header.Set("Connection", "close")
		}
	}
	for k, v := range header {
		w.Header()[k] = v
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(body) //nolint:gosec // JSON or plain text, for a program
}

func hijack(w http.ResponseWriter) net.Conn {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil
	}
	return conn
}

// RoundTrip answers without a connection, for http.Client.Transport. The
// response's Status holds code and text as the status line would.
func (s *Sim) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		closeBody(r)
		return nil, err
	}
	a := s.request(r)
	closeBody(r)
	// A client that gave up while it waited never sees the answer.
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	if a.cut {
		return nil, errConnectionCut
	}
	header, body := s.encode(a)
	a = a.enveloped()
	return &http.Response{
		Status:        strconv.Itoa(a.status) + " " + a.reason,
		StatusCode:    a.status,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        header,
		Body:          io.NopCloser(bytes.NewReader(body)),
		ContentLength: int64(len(body)),
		Close:         a.status >= 400,
		Request:       r,
	}, nil
}

var errConnectionCut = &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}

func closeBody(r *http.Request) {
	if r.Body != nil {
		_ = r.Body.Close()
	}
}

// request makes a call of an HTTP request and handles it.
func (s *Sim) request(r *http.Request) answer {
	p := path.Clean("/" + r.URL.Path)
	for _, prefix := range []string{apiPrefix, extPrefix} {
		if rest, below := strings.CutPrefix(p+"/", prefix+"/"); below {
			a := s.asked(r, path.Clean("/"+rest))
			a.ext = prefix == extPrefix
			return a
		}
	}
	return outside(p)
}

// asked is a call of the API.
func (s *Sim) asked(r *http.Request, path string) answer {
	c := &call{
		method: r.Method,
		path:   path,
		auth:   r.Header.Get("Authorization"),
		ctype:  r.Header.Get("Content-Type"),
		query:  r.URL.Query(),
		csrf:   r.Header.Get("CSRFPreventionToken"),
	}
	if ticket, err := r.Cookie("PVEAuthCookie"); err == nil {
		c.cookie, _ = url.QueryUnescape(strings.ReplaceAll(ticket.Value, "+", "%2B"))
	}
	if r.Body != nil {
		body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
		if err != nil && !errors.Is(err, io.EOF) {
			return answer{cut: true}
		}
		if len(body) > maxBody {
			// Read to its end, or the caller never sees the answer.
			_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, 16*maxBody))
			return plainText(501, "for data too large")
		}
		c.body = body
	}
	return s.handle(r.Context(), c)
}

// outside is a path that is not of the API.
func outside(p string) answer {
	parts := strings.Split(strings.TrimPrefix(p, "/"), "/")
	if parts[0] != "api2" {
		return plainText(500, fmt.Sprintf("no such file '%s'\n", p))
	}
	formatter, rest := "", "/"
	if len(parts) > 1 {
		formatter, rest = parts[1], "/"+strings.Join(parts[2:], "/")
	}
	return plainText(501, fmt.Sprintf("no formatter for uri %s, %s", rest, formatter))
}

// enveloped is an answer whose error is told inside: the status line says that all is well (recorded in 01).
func (a answer) enveloped() answer {
	if a.ext && !a.plain {
		a.status, a.reason = http.StatusOK, "OK"
	}
	return a
}

// encode gives the headers and the body as recorded.
func (s *Sim) encode(a answer) (http.Header, []byte) {
	date := s.wallClock().UTC().Format(http.TimeFormat)
	h := http.Header{
		"Cache-Control": {"max-age=0"},
		"Connection":    {"Keep-Alive"},
		"Date":          {date},
		"Pragma":        {"no-cache"},
		"Server":        {"pve-api-daemon/3.0"},
		"Expires":       {date},
	}
	var body []byte
	if a.plain {
		body = []byte(a.text)
	} else {
		out := map[string]any{"data": a.data}
		for k, v := range a.more {
			out[k] = v
		}
		if a.ext {
			out["success"] = bit(!a.failed())
			if a.failed() {
				out["status"] = strconv.Itoa(a.status)
			}
		}
		var err error
		if body, err = appendJSON(nil, out); err != nil {
			s.log.Error("encode", "error", err)
		}
		h.Set("Content-Type", "application/json;charset=UTF-8")
	}
	if a.status == http.StatusOK && a.plain {
		h.Set("Content-Type", "text/plain") // a downloaded log
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	return h, body
}
