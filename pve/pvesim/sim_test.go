package pvesim

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// clock is a hand-moved clock.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func (c *clock) sleep(_ context.Context, d time.Duration) { c.add(d) }

// lab is a simulator with a clock and a client.
type lab struct {
	*Sim
	t     *testing.T
	clock *clock
	token string // Authorization; "" is SimToken's
}

func newLab(t *testing.T, w World, o Options) *lab {
	t.Helper()
	c := &clock{t: noon}
	o.Now = c.now
	s, err := New(w, o)
	if err != nil {
		t.Fatal(err)
	}
	return &lab{Sim: s, t: t, clock: c}
}

// reply is an answer as a client reads it.
type reply struct {
	err    error
	status int
	reason string
	body   map[string]any
	raw    string
	header http.Header
}

func (r reply) data() any { return r.body["data"] }

func (r reply) list() []map[string]any {
	var out []map[string]any
	items, _ := r.body["data"].([]any)
	for _, e := range items {
		out = append(out, e.(map[string]any))
	}
	return out
}

func (r reply) object() map[string]any {
	m, _ := r.body["data"].(map[string]any)
	return m
}

func (r reply) errors() map[string]any {
	m, _ := r.body["errors"].(map[string]any)
	return m
}

func (l *lab) as(token string) *lab {
	other := *l
	other.token = token
	return &other
}

// call sends a request; parameters come as name, value pairs.
func (l *lab) call(method, path string, pairs ...any) reply {
	l.t.Helper()
	form := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		form.Add(fmt.Sprint(pairs[i]), fmt.Sprint(pairs[i+1]))
	}
	target := "https://pve1:8006/api2/json" + path
	var body io.Reader
	if method == "POST" || method == "PUT" {
		body = strings.NewReader(form.Encode())
	} else if len(form) > 0 {
		target += "?" + form.Encode()
	}
	req, err := http.NewRequestWithContext(l.t.Context(), method, target, body)
	if err != nil {
		l.t.Fatal(err)
	}
	token := l.token
	if token == "" {
		token = SimToken
	}
	req.Header.Set("Authorization", "PVEAPIToken="+token+"="+Secret)
	if body != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return read(l.RoundTrip(req))
}

func read(res *http.Response, err error) reply {
	if err != nil {
		return reply{err: err}
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(res.Body)
	out := reply{err: err, status: res.StatusCode, raw: string(raw), header: res.Header}
	_, out.reason, _ = strings.Cut(res.Status, " ")
	_ = json.Unmarshal(raw, &out.body)
	return out
}

func (l *lab) get(path string, pairs ...any) reply {
	l.t.Helper()
	return l.call("GET", path, pairs...)
}

// backup starts one and gives its UPID.
func (l *lab) backup(vmid int, storage string, pairs ...any) string {
	l.t.Helper()
	r := l.call("POST", "/nodes/"+l.nodeOf(vmid)+"/vzdump", append([]any{"vmid", vmid, "storage", storage, "compress", "zstd", "remove", 0}, pairs...)...)
	upid, isText := r.data().(string)
	if r.status != 200 || !isText || !strings.HasPrefix(upid, "UPID:") {
		l.t.Fatalf("backup of %d: %d %s %s", vmid, r.status, r.reason, r.raw)
	}
	return upid
}

func (l *lab) nodeOf(vmid int) string {
	for _, g := range l.Guests() {
		if g.VMID == vmid {
			return g.Node
		}
	}
	return "pve1"
}

// end lets time pass until a task has ended.
func (l *lab) end(upid string) Task {
	l.t.Helper()
	for range 100_000 {
		task := l.taskOf(upid)
		if !task.Running() {
			return task
		}
		at, any := l.NextEvent()
		if !any {
			l.t.Fatalf("nothing will happen any more, yet it runs: %s", upid)
		}
		l.clock.add(max(at.Sub(l.clock.now()), time.Millisecond))
	}
	l.t.Fatalf("no end: %s", upid)
	return Task{}
}

func (l *lab) taskOf(upid string) Task {
	l.t.Helper()
	for _, t := range l.Tasks() {
		if t.UPID == upid {
			return t
		}
	}
	l.t.Fatalf("no task %s", upid)
	return Task{}
}

func (l *lab) guest(vmid int) Guest {
	l.t.Helper()
	for _, g := range l.Guests() {
		if g.VMID == vmid {
			return g
		}
	}
	l.t.Fatalf("no machine %d", vmid)
	return Guest{}
}
