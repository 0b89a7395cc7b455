package pve

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/Telmate/proxmox-api-go/proxmox"
	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
)

// Limits of one request. Proxmox gives a call to another node 30 s, and the listing of a Proxmox Backup Server 120 s.
const (
	readTimeout    = 35 * time.Second
	listingTimeout = 130 * time.Second
	changeTimeout  = 60 * time.Second

	plainAnswer   = 1 << 20  // bytes
	listingAnswer = 64 << 20 // bytes
)

// exchange is one request on its way through the library to the edge and back. It travels in the context.
type exchange struct {
	method   string
	shape    string
	mutation bool
	timeout  time.Duration
	limit    int64
	hidden   []string // what no error may repeat: the forms of the passwords that the call carries

	// Filled by the edge.
	tried   bool   // the request came as far as the edge
	unsent  bool   // provably not a byte of it left
	status  int    // 0 without an answer
	phrase  string // reason phrase
	body    []byte
	failure error // why there is no (whole) answer
}

// read asks one question and decodes the answer's "data" into out. Only network failures are asked again, at most
// twice (or once per endpoint, where there are more), with a short pause; a slow server isn't asked twice, for it has
// three workers in all.
func (c *Client) read(ctx context.Context, p path, query url.Values, out any, big bool) error {
	_, err := c.readTotal(ctx, p, query, out, big)
	return err
}

// readTotal is read, with the answer's "total" of a cut listing (0 where there is none).
func (c *Client) readTotal(ctx context.Context, p path, query url.Values, out any, big bool) (int, error) {
	if p.err != nil {
		return 0, p.err
	}
	target := p.text
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	x := exchange{method: http.MethodGet, shape: p.shape, timeout: readTimeout, limit: plainAnswer}
	if big {
		x.timeout, x.limit = listingTimeout, listingAnswer
	}
	first, n := int(c.last.Load()), len(c.endpoints)
	again := max(2, n-1)
	policy := retrypolicy.NewBuilder[[]byte]().
		HandleIf(func(_ []byte, err error) bool { return worthAgain(err, n) }).
		WithMaxRetries(again).WithBackoff(c.pause, 4*c.pause).
		ReturnLastFailure().Build()
	turn := 0
	body, err := failsafe.With(policy).WithContext(ctx).Get(func() ([]byte, error) {
		i := (first + turn) % n
		turn++
		return c.send(ctx, i, x, func(ctx context.Context, lib *proxmox.Client) error {
			var ignored map[string]any
			return lib.GetJsonRetryable(ctx, target, &ignored, 1)
		})
	})
	if err != nil {
		return 0, c.asError(ctx, err, x)
	}
	total, err := decode(body, out)
	if err != nil {
		return 0, &Error{Class: Unreachable, Status: http.StatusOK, Call: x.call(),
			Message: "the answer could not be read: " + clip(err.Error(), 200), cause: err}
	}
	return total, nil
}

// mutate sends one change, exactly once, and gives the answer's "data". form is nil for DELETE. Passwords that are in
// the form are named in secrets.
func (c *Client) mutate(ctx context.Context, method string, p path, form map[string]string, secrets ...Secret) (json.RawMessage, error) {
	if p.err != nil {
		return nil, p.err
	}
	x := exchange{method: method, shape: p.shape, mutation: true, timeout: changeTimeout, limit: plainAnswer}
	for _, s := range secrets {
		x.hidden = append(x.hidden, s.forms()...)
	}
	params := make(map[string]any, len(form))
	for k, v := range form {
		params[k] = v
	}
	body, err := c.send(ctx, int(c.last.Load()), x, func(ctx context.Context, lib *proxmox.Client) error {
		switch method {
		case http.MethodPost:
			return lib.Post(ctx, params, p.text)
		case http.MethodPut:
			return lib.Put(ctx, params, p.text)
		default:
			return lib.Delete(ctx, p.text+p.query)
		}
	})
	if err != nil {
		return nil, c.asError(ctx, err, x)
	}
	var answer struct {
		Data json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, &Error{Class: Ambiguous, Status: http.StatusOK, Call: x.call(),
			Message: "the answer could not be read: " + clip(err.Error(), 200), cause: err}
	}
	return answer.Data, nil
}

// send lets the library make one request to one endpoint and judges what the edge saw of it.
func (c *Client) send(ctx context.Context, endpoint int, x exchange, do func(context.Context, *proxmox.Client) error) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, &Error{Class: Unreachable, Call: x.call(), Message: "given up before it was sent", cause: err}
	}
	began := c.now()
	libErr := guarded(func() error { return do(context.WithValue(ctx, exchangeKey{}, &x), c.endpoints[endpoint]) })
	err := x.discreet(x.verdict(libErr))
	if x.status != 0 && (x.status < 595 || x.status > 599) {
		c.last.Store(int32(endpoint)) // #nosec G115 -- an index into a short list
	}
	if c.observe != nil {
		call := Call{Method: x.method, Path: x.shape, Status: x.status, Duration: c.now().Sub(began), Mutation: x.mutation}
		if err != nil {
			call.Class = err.Class
		}
		c.observe(call)
	}
	if err != nil {
		return nil, err
	}
	return x.body, nil
}

// verdict turns what the edge saw into an error, or nil for a whole 2xx answer.
func (x *exchange) verdict(libErr error) *Error {
	switch {
	case !x.tried:
		// The library gave up before sending.
		e := &Error{Class: Unreachable, Message: "the request could not be built", cause: libErr}
		if libErr != nil {
			e.Message += ": " + clip(oneLine(libErr.Error()), 300)
		}
		return x.named(e)
	case x.status >= 200 && x.status <= 299 && x.failure == nil:
		return nil
	case x.status >= 300:
		return x.named(answerError(x.status, x.phrase, x.body, x.mutation))
	}
	cause := x.failure
	if cause == nil {
		cause = cmp.Or(libErr, errLibrary)
	}
	e := &Error{Class: Unreachable, Status: x.status, Message: explain(cause), cause: cause}
	if x.mutation && !x.unsent {
		e.Class = Ambiguous
	}
	return x.named(e)
}

func (x *exchange) call() string { return x.method + " " + x.shape }

func (x *exchange) named(e *Error) *Error {
	e.Call = x.call()
	return e
}

// asError brings what the retry policy gives back into the one error type.
func (c *Client) asError(ctx context.Context, err error, x exchange) error {
	var e *Error
	given := ctx.Err() // it may have ended during the pause between two tries
	if errors.As(err, &e) && (given == nil || x.mutation || errors.Is(e, given)) {
		return e
	}
	if given != nil {
		err = given
	}
	return &Error{Class: Unreachable, Call: x.call(), Message: explain(err), cause: err}
}

var errLibrary = errors.New("the proxmox library failed")

// guarded keeps a panic of the library from spreading. With the edge beneath none is known; should there be one, the
// edge's record of the exchange still says what happened.
func guarded(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errLibrary, r)
		}
	}()
	return f()
}

// worthAgain tells a broken connection, which another try or endpoint may mend, from a slow or unwilling server.
func worthAgain(err error, endpoints int) bool {
	var e *Error
	if !errors.As(err, &e) || e.Class != Unreachable {
		return false
	}
	if e.Status >= 300 {
		// This endpoint has no way to the node, or its own daemon is down: another one may do better.
		return e.Status == 595 && endpoints > 1
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, errTooLarge) || errors.Is(err, errLibrary) {
		return false
	}
	if noConnection(err) {
		return true // a timeout of the connect too: nothing was asked yet
	}
	return !timedOut(err)
}

func timedOut(err error) bool {
	var t interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || (errors.As(err, &t) && t.Timeout())
}

// path is an address below /api2/json with its ids escaped, and the same without ids for metrics and errors.
type path struct {
	text  string
	shape string
	query string // of a DELETE: "?purge=1"
	err   *Error
}

// at fills a shape such as "/nodes/{node}/tasks/{upid}" in order.
func at(shape string, ids ...string) path {
	p := path{shape: shape}
	var b strings.Builder
	rest := shape
	for _, id := range ids {
		before, after, ok := strings.Cut(rest, "{")
		name, after, closed := strings.Cut(after, "}")
		if !ok || !closed {
			p.err = refusal("path", "more ids than places in "+shape)
			return p
		}
		// An id of dots would climb up the path instead of naming something.
		if id == "" || id == "." || id == ".." {
			p.err = refusal(name, fmt.Sprintf("%q is no %s", id, name))
			p.err.Call = shape
			return p
		}
		b.WriteString(before + url.PathEscape(id))
		rest = after
	}
	p.text = b.String() + rest
	return p
}
