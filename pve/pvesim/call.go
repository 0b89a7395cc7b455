package pvesim

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"strings"
	"time"
)

// call is one request on its way through.
type call struct {
	method string
	path   string // below /api2/json, decoded, one leading slash and none at the end
	auth   string // the Authorization header
	cookie string // the ticket that it came with instead
	csrf   string // the token that a change with a ticket needs as well
	body   []byte
	ctype  string
	query  url.Values

	who    identity
	ep     *endpoint
	params params // from path, query and body
	at     int64  // unix milliseconds when it is handled
	node   string // the node that it is about, once known

	doom []doom // what faults have in store for the task that it starts

	counted bool   // among Counts
	upid    string // the task that it started
}

// answer is what comes back.
type answer struct {
	status int
	reason string         // the status line's phrase
	data   any            // under "data"
	more   map[string]any // beside it: total, message, errors
	text   string         // instead of JSON, when plain or empty
	plain  bool
	wait   time.Duration // before it is sent
	cut    bool          // nothing is sent: the connection breaks
	again  bool          // somebody has the lock file: the call is tried again until the wait is over
}

func ok(data any) answer { return answer{status: 200, reason: "OK", data: data} }

// fail is an error with its text, as the status line and the body carry it.
func fail(status int, format string, args ...any) answer {
	text := fmt.Sprintf(format, args...)
	return answer{status: status, reason: oneLine(text), more: map[string]any{"message": text + "\n"}}
}

// bare is an error without a body: 401, 595, 596, unknown methods.
func bare(status int, reason string) answer {
	return answer{status: status, reason: reason, plain: true}
}

// plainText is an error that the HTTP layer itself words.
func plainText(status int, text string) answer {
	return answer{status: status, reason: oneLine(strings.TrimRight(text, "\n")), plain: true, text: text}
}

func wrongParams(errs map[string]string) answer {
	return answer{status: 400, reason: "Parameter verification failed.", more: map[string]any{
		"message": "Parameter verification failed.\n", "errors": errs,
	}}
}

func wrongParam(name, text string) answer { return wrongParams(map[string]string{name: text}) }

func forbidden(format string, args ...any) answer {
	return fail(403, "Permission check failed ("+format+")", args...)
}

func notImplemented(method, path string) answer {
	text := fmt.Sprintf("Method '%s %s' not implemented", method, path)
	return answer{status: 501, reason: text, more: map[string]any{"message": text}}
}

// oneLine is what fits into a status line: the real one cuts at the first line feed (recorded in 01).
func oneLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

func (a answer) failed() bool { return a.status >= 400 || a.cut }

const (
	wait401   = 3 * time.Second  // each of them, recorded in 01
	proxyTime = 30 * time.Second // between the API's front and its worker
)

// handle takes a call through faults, the world and the journal. It returns
// when the real one would answer.
func (s *Sim) handle(ctx context.Context, c *call) answer {
	s.mu.Lock()
	s.settle()
	hit := s.match(c)
	if d := hit.delay; d > 0 && s.sleeper != nil {
		s.mu.Unlock()
		s.sleep(ctx, d)
		s.mu.Lock()
		s.settle()
	}
	a := s.through(ctx, c, hit)
	if c.method != "GET" && s.journal != "" {
		if err := s.save(); err != nil {
			s.log.Error("journal", "error", err)
			a = fail(500, "unable to write the simulator's journal - %v", err)
		}
	}
	s.mu.Unlock()
	s.sleep(ctx, a.wait)
	s.log.Debug("request", "method", c.method, "path", c.path, "status", a.status, "reason", a.reason, "upid", c.upid)
	return a
}

// through is one call with the faults that hit it.
func (s *Sim) through(ctx context.Context, c *call, hit hits) answer {
	var a answer
	c.doom = hit.doom
	switch {
	case hit.lostRequest:
		a = answer{cut: true}
		s.note(c, a, false)
		return a
	case hit.refuse != nil:
		a = *hit.refuse
		s.note(c, a, false)
		return a
	case hit.lateEffect > 0:
		s.late = append(s.late, lateCall{at: s.nowMS() + hit.lateEffect.Milliseconds(), call: c})
		return bare(596, "Connection timed out")
	}
	s.migrateNow(c, hit)
	a = s.run(ctx, c, s.nowMS())
	return s.after(c, a, hit)
}

// patience is how often a call looks whether a lock file is free.
const patience = 250 * time.Millisecond

// run is the call as the world takes it at a moment, and the note of it. One
// that waits for a lock file is tried again and again; others go on meanwhile.
func (s *Sim) run(ctx context.Context, c *call, at int64) answer {
	c.at = at
	a := s.dispatch(c)
	for waited := time.Duration(0); a.again && ctx != nil && s.sleeper != nil; waited += patience {
		if waited >= a.wait {
			a.wait = 0
			break
		}
		s.mu.Unlock()
		s.sleep(ctx, patience)
		s.mu.Lock()
		s.settle()
		c.at = s.nowMS()
		if next := s.dispatch(c); !next.again {
			a = next
		}
	}
	s.note(c, a, true)
	return a
}

// dispatch authenticates, routes, verifies, checks rights and answers, in the
// order of the real one (seen in the recordings of topic 01).
func (s *Sim) dispatch(c *call) answer {
	switch c.method {
	case "GET", "POST", "PUT", "DELETE":
	default:
		return bare(501, fmt.Sprintf("method '%s' not available", c.method))
	}
	inPath := map[string]string{}
	c.ep = route(c.method, c.path, inPath)
	if c.ep == nil || !c.ep.world {
		if a := s.authenticate(c); a != nil {
			a.wait = wait401
			return *a
		}
	}
	if c.ep == nil {
		return notImplemented(c.method, c.path)
	}
	if !c.counted {
		s.counts[c.method+" "+c.ep.path]++
		c.counted = true
	}
	c.params = params{}
	if a := c.parse(); a != nil {
		return *a
	}
	for name, v := range inPath {
		c.params[name] = []string{v}
	}
	c.node = inPath["node"]
	if a := s.reach(c, c.node); a != nil {
		return *a
	}
	if a := s.allowed(c, inPath); a != nil {
		return *a
	}
	if errs := c.params.verify(c.ep.params, s.release); len(errs) > 0 {
		return wrongParams(errs)
	}
	return c.ep.run(s, c)
}

// parse reads query and body into params.
func (c *call) parse() *answer {
	for k, v := range c.query {
		c.params[k] = append(c.params[k], v...)
	}
	if len(c.body) == 0 || c.method == "GET" {
		return nil
	}
	switch ctype, _, _ := strings.Cut(c.ctype, ";"); strings.TrimSpace(ctype) {
	case "", "application/x-www-form-urlencoded":
		form, err := url.ParseQuery(string(c.body))
		if err != nil {
			a := plainText(400, "bad request\n")
			return &a
		}
		for k, v := range form {
			c.params[k] = append(c.params[k], v...)
		}
		return nil
	case "application/json":
		return c.parseJSON()
	default:
		// With one quote only, as recorded.
		a := plainText(506, fmt.Sprintf("upload 'Content-Type '%s' not implemented", ctype))
		return &a
	}
}

func (c *call) parseJSON() *answer {
	var body any
	dec := json.NewDecoder(strings.NewReader(string(c.body)))
	dec.UseNumber()
	if err := dec.Decode(&body); err != nil {
		a := plainText(500, fmt.Sprintf("malformed JSON string, neither tag, array, object, number, string or atom, at character offset %d (before \"(end of string)\")\n", len(c.body)))
		return &a
	}
	object, isObject := body.(map[string]any)
	if !isObject {
		a := plainText(500, "Not a HASH reference\n")
		return &a
	}
	for k, v := range object {
		switch v := v.(type) {
		case nil:
		case []any:
			for _, e := range v {
				c.params[k] = append(c.params[k], scalar(e))
			}
		default:
			c.params[k] = append(c.params[k], scalar(v))
		}
	}
	return nil
}

func scalar(v any) string {
	switch v := v.(type) {
	case bool:
		if v {
			return "1"
		}
		return "0"
	default:
		return fmt.Sprint(v)
	}
}

// reach is the way to a node: nil when it can be reached. A call that names no
// node is answered by the first that runs.
func (s *Sim) reach(c *call, node string) *answer {
	if node == "" {
		for _, n := range s.st.World.Nodes {
			if !n.Offline && !s.cutOff(n.Name) {
				node = n.Name
				break
			}
		}
		if node == "" {
			return nil
		}
	}
	n := s.node(node)
	if n == nil {
		why := "Name or service not known"
		if s.release.nine {
			// What the lab's resolver said; another resolver says other words.
			why = "Temporary failure in name resolution"
		}
		a := fail(500, "hostname lookup '%s' failed - failed to get address info for: %s: %s", node, node, why)
		return &a
	}
	if n.Offline || s.cutOff(node) {
		a := bare(595, "No route to host")
		a.wait = 3 * time.Second
		return &a
	}
	if c.ep.protected && s.daemonDown(node) {
		a := bare(595, "Connection refused")
		return &a
	}
	return nil
}

// Call is a request that changes things, or tried to.
type Call struct {
	Time    time.Time
	Who     string // user@realm!token; "" when it was not let in
	Method  string
	Path    string // below /api2/json
	Params  map[string]string
	Handled bool // false: a fault kept it from the world
	Lost    bool // it was handled, but the answer was cut off
	Status  int  // 0: the request was cut off
	Reason  string
	UPID    string // the task that it started
}

// note keeps a mutating call for Calls.
func (s *Sim) note(c *call, a answer, handled bool) {
	if c.method == "GET" {
		return
	}
	who, given := c.who.Name, maps.Clone(c.params)
	if !handled {
		// Not even read: look at what was sent all the same.
		probe := &call{method: c.method, query: c.query, body: c.body, ctype: c.ctype, params: params{}}
		_ = probe.parse()
		given = probe.params
		who = claimed(c.auth)
	}
	sent := make(map[string]string, len(given))
	for k, v := range given {
		sent[k] = strings.Join(v, ",")
	}
	s.calls = append(s.calls, Call{
		Time: s.now().UTC(), Who: who, Method: c.method, Path: c.path, Params: sent,
		Handled: handled, Status: a.status, Reason: a.reason, UPID: c.upid,
	})
}
