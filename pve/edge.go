package pve

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
)

type exchangeKey struct{}

var errTooLarge = errors.New("the answer is larger than allowed")

// edge is the last of our code before the network. It sends each request once, keeps the real answer in the exchange
// that the context carries, and gives the library a well-formed one, whatever came: an error would make it sleep and
// ask again, and an odd body would make it panic.
type edge struct {
	reads, changes http.RoundTripper
	traced         bool // the transports are ours and report each connection
	client         *Client
	secret         string // of the token
}

// RoundTrip never fails.
func (e *edge) RoundTrip(req *http.Request) (*http.Response, error) {
	x, ok := req.Context().Value(exchangeKey{}).(*exchange)
	if !ok || x.tried {
		// Either nobody asked for this request, or the library tries to send it a second time.
		closeBody(req)
		return nil, errors.New("pve: a request that nobody asked for")
	}
	x.tried = true
	ctx, cancel := context.WithTimeout(req.Context(), x.timeout)
	defer cancel()
	connected := false
	if e.traced {
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected = true }})
	}
	transport := e.reads
	if x.mutation {
		transport = e.changes
	}
	resp, err := transport.RoundTrip(req.WithContext(ctx))
	if err != nil {
		x.failure = e.discreet(x, err)
		x.unsent = (e.traced && !connected) || noConnection(err)
		return x.harmless(req), nil
	}
	e.client.noteDate(resp.Header.Get("Date"))
	x.status, x.phrase = resp.StatusCode, e.hide(reasonPhrase(resp))
	x.body, x.failure = readLimited(resp.Body, resp.ContentLength, x.limit)
	if bytes.Contains(x.body, []byte(e.secret)) {
		x.body = []byte(e.hide(string(x.body)))
	}
	x.failure = e.discreet(x, x.failure)
	return x.harmless(req), nil
}

// hide takes the token's secret out of what came back. Proxmox never repeats it, but a proxy in front that shows the
// request in its error page does, and errors are logged and shown to staff.
func (e *edge) hide(said string) string { return strings.ReplaceAll(said, e.secret, "***") }

// discreet hides the secret, and the passwords of the call, in an error that repeats what came back.
func (e *edge) discreet(x *exchange, err error) error {
	if err == nil {
		return nil
	}
	if hidden := x.hide(e.hide(err.Error())); hidden != err.Error() {
		return errors.New(hidden)
	}
	return err
}

// harmless is what the library gets to see: the status, and a body that it can always read.
func (x *exchange) harmless(req *http.Request) *http.Response {
	status, body := http.StatusOK, []byte(`{"data":null}`)
	if x.failure != nil || x.status < 200 || x.status > 299 {
		status = 599
		body, _ = json.Marshal(map[string]string{"message": x.phrase})
	}
	return &http.Response{
		Status: fmt.Sprintf("%d", status), StatusCode: status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}}, Request: req,
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}
}

// noteDate remembers how far the server's clock is from ours.
func (c *Client) noteDate(header string) {
	at, err := http.ParseTime(header)
	if err != nil {
		return
	}
	d := at.Sub(c.now())
	c.skew.Store(&d)
}

// reasonPhrase gives the words behind the status code, where Proxmox puts its error text. Header values are bytes:
// what is no UTF-8 is replaced.
func reasonPhrase(resp *http.Response) string {
	_, phrase, _ := strings.Cut(resp.Status, " ")
	return oneLine(phrase)
}

// readLimited reads an answer that announced its length, or none (-1).
func readLimited(body io.ReadCloser, length, limit int64) ([]byte, error) {
	defer func() { _ = body.Close() }() // nothing to save: the answer was read or is lost
	var b bytes.Buffer
	if length > 0 && length <= limit {
		b.Grow(int(length) + bytes.MinRead)
	}
	if _, err := b.ReadFrom(io.LimitReader(body, limit+1)); err != nil {
		return b.Bytes(), err
	}
	if int64(b.Len()) > limit {
		return nil, fmt.Errorf("%w: more than %d bytes", errTooLarge, limit)
	}
	return b.Bytes(), nil
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close() // not sent, nothing to lose
	}
}

// noConnection tells whether the error proves that no byte of the request was sent.
func noConnection(err error) bool {
	var op *net.OpError
	var dns *net.DNSError
	return errors.Is(err, ErrCertificate) || errors.As(err, &dns) || (errors.As(err, &op) && op.Op == "dial")
}

// explain says in one line, for staff, why there was no answer.
func explain(err error) string {
	var dns *net.DNSError
	var op *net.OpError
	var record tls.RecordHeaderError
	switch {
	case errors.Is(err, ErrCertificate):
		return oneLine(certificateWords(err))
	case errors.Is(err, context.Canceled):
		return "given up while waiting for the answer"
	case errors.Is(err, errTooLarge):
		return err.Error()
	case errors.As(err, &dns):
		return "the name " + dns.Name + " does not resolve"
	case errors.As(err, &record):
		return "the server does not speak TLS on this port"
	case errors.As(err, &op) && op.Op == "dial":
		if timedOut(err) {
			return "no connection in time"
		}
		return "no connection: " + clip(oneLine(op.Err.Error()), 300)
	case timedOut(err):
		return "no answer in time"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the server closed the connection without a whole answer"
	}
	return clip(oneLine(err.Error()), 300)
}

// certificateWords gives what was said about the certificate, without the "dial tcp …" around it.
func certificateWords(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err.Error()
	}
	return err.Error()
}
