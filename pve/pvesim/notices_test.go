package pvesim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestConformanceNoticesBreaks breaks the simulator's answers in ways that a client would notice, one at a time, and
// replays a topic: each has to show.
func TestConformanceNoticesBreaks(t *testing.T) {
	t.Parallel()
	const release = "9.2"
	all := readCondensed(t, release)
	for _, b := range []struct {
		name, topic string
		status      func(int) int
		body        func(string) string
		header      func(http.Header)
		fewest      int // exchanges that have to show it
	}{
		{name: "status: what is missing is answered 404", topic: "02-inventory", status: func(n int) int {
			return map[int]int{500: 404}[n] + n*btoi(n != 500)
		}, fewest: 5},
		{name: "message: a word is another", topic: "12-failures-and-rights", body: swap(`"Permission check failed`, `"permission check failed`), fewest: 5},
		{name: "type: numbers of machines are texts", topic: "06-backup", body: sub(`"vmid":(\d+)`, `"vmid":"$1"`), fewest: 30},
		{name: "type: a flag is a boolean", topic: "06-backup", body: swap(`"protected":1`, `"protected":true`), fewest: 3},
		{name: "a field is missing: subtype", topic: "06-backup", body: swap(`"subtype":"qemu",`, ``), fewest: 20},
		{name: "a field is missing: tokenid", topic: "08-tasks", body: sub(`"tokenid":"\w+",`, ``), fewest: 20},
		{name: "a field is missing: total", topic: "08-tasks", body: sub(`,"total":\d+`, ``), fewest: 20},
		{name: "a field is new", topic: "01-auth", body: swap(`{"data":{`, `{"data":{"news":1,`), fewest: 3},
		{name: "a value: the lock is not shown", topic: "06-backup", body: swap(`"lock":"backup",`, ``), fewest: 3},
		{name: "a value: an exit status", topic: "08-tasks", body: swap(`"exitstatus":"interrupted by signal"`, `"exitstatus":"received interrupt"`), fewest: 1},
		{name: "a value: whose task it is", topic: "10-concurrency", body: sub(`!api:"`, `!apj:"`), fewest: 3},
		{name: "a line of a log", topic: "06-backup", body: swap(`INFO: adding notes to backup`, `INFO: adding the notes to backup`), fewest: 1},
		{name: "an empty list is null", topic: "02-inventory", body: swap(`{"data":[]}`, `{"data":null}`), fewest: 2},
		{name: "the content type", topic: "00-setup", header: func(h http.Header) { h.Set("Content-Type", "application/json") }, fewest: 30},
		{name: "no answer to a login", topic: "01-auth", body: sub(`"ticket":"[^"]*"`, `"ticket":""`), fewest: 3},
	} {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			r := newReplay(t, release, b.topic, ofTopic(all, b.topic), func(inner http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
					rec := httptest.NewRecorder()
					body, _ := io.ReadAll(q.Body)
					q.Body = io.NopCloser(bytes.NewReader(body))
					a := inner.(*Sim).request(q)
					header, answer := inner.(*Sim).encode(a)
					if b.status != nil {
						a.status = b.status(a.status)
					}
					if b.body != nil {
						answer = []byte(b.body(string(answer)))
					}
					if b.header != nil {
						b.header(header)
					}
					header.Del("Content-Length")
					rec.Body.Write(answer)
					writeRaw(w, a.status, a.reason, header, answer)
				})
			})
			shown := 0
			for _, x := range r.xs {
				if !x.asked() {
					r.event(x)
				} else if diff := r.step(x); diff != "" && deviations[outcome{exchange: x}.name(release)] == "" {
					shown++
				}
			}
			if shown < b.fewest {
				t.Errorf("only %d exchanges show it", shown)
			}
			t.Logf("%d exchanges show it", shown)
		})
	}
}

func swap(old, with string) func(string) string {
	return func(s string) string { return strings.ReplaceAll(s, old, with) }
}

func sub(pattern, with string) func(string) string {
	re := regexp.MustCompile(pattern)
	return func(s string) string { return re.ReplaceAllString(s, with) }
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// writeRaw answers with a reason phrase of its own.
func writeRaw(w http.ResponseWriter, status int, reason string, header http.Header, body []byte) {
	header.Set("Connection", "close")
	conn := hijack(w)
	defer func() { _ = conn.Close() }()
	_, _ = fmt.Fprintf(conn, "HTTP/1.1 %03d %s\r\n", status, reason)
	_ = header.Write(conn)
	_, _ = fmt.Fprintf(conn, "\r\n%s", body)
}

// TestComparisonNotices spoils answers that match, each in every way: its status line, its type, each of its keys, the
// type and the value of each, the length and order of its lists. What the comparison doesn't notice has to be one of
// the values that it compares loosely; they are listed here in full.
func TestComparisonNotices(t *testing.T) {
	t.Parallel()
	unseen := map[string]bool{}
	spoilt, noticed := 0, 0
	looked := map[string]map[string]bool{}
	all := readCondensed(t, "9.2")
	for _, topic := range conformTopics {
		r := newReplay(t, "9.2", topic, ofTopic(all, topic), nil)
		for _, x := range r.xs {
			if !x.asked() {
				r.event(x)
				continue
			}
			got := r.answer(x)
			if r.compare(x, got) != "" {
				continue
			}
			of := kindOfCall(x)
			if looked[of] == nil {
				looked[of] = map[string]bool{}
			}
			for _, s := range spoil(x, got, looked[of]) {
				spoilt++
				if r.compare(x, s.reply) != "" {
					noticed++
				} else {
					unseen[s.what] = true
				}
			}
		}
	}
	want := []string{
		"value of CSRFPreventionToken", "value of avail", "value of available", "value of blockstat counters", "value of cpu", "value of ctime", "value of disk", "value of diskread", "value of diskwrite",
		"value of free", "value of free_mem", "value of freemem", "value of last_update", "value of mem", "value of minor_page_faults",
		"value of netin", "value of netout", "value of next-run", "value of pid", "value of size", "value of the node's hardware", "value of total", "value of total_mem", "value of uptime", "value of used",
		"value of used_fraction",
	}
	if d := cmp.Diff(want, slices.Sorted(maps.Keys(unseen))); d != "" {
		t.Errorf("what is not noticed (-expected +is):\n%s", d)
	}
	t.Logf("%d of %d spoilt answers are noticed", noticed, spoilt)
	if spoilt < 3000 {
		t.Errorf("only %d answers were spoilt", spoilt)
	}
}

var (
	numbersInPath = regexp.MustCompile(`\d+`)
	upidInPath    = regexp.MustCompile(`UPID[^/]*?(?:%3A|:)([a-z]+)(?:%3A|:)[^/]*`)
	volidInPath   = regexp.MustCompile(`/content/.*`)
)

// kindOfCall puts calls together that are answered alike.
func kindOfCall(x exchange) string {
	p := volidInPath.ReplaceAllString(x.Path, "/content/V")
	p = numbersInPath.ReplaceAllString(upidInPath.ReplaceAllString(p, "$1"), "N")
	return fmt.Sprint(x.Method, p, x.Status, len(x.Params))
}

type spoiling struct {
	what  string
	reply reply
}

// spoil gives an answer in every way in which it can be wrong, but for places that were spoilt already in another
// answer to such a call.
func spoil(x exchange, got reply, seen map[string]bool) []spoiling {
	var out []spoiling
	add := func(what string, change func(*reply)) {
		other := got
		other.header = got.header.Clone()
		change(&other)
		out = append(out, spoiling{what, other})
	}
	if !seen["status line"] {
		seen["status line"] = true
		add("status", func(r *reply) { r.status++ })
		add("reason", func(r *reply) { r.reason += "x" })
		if x.Type != "" {
			add("content type", func(r *reply) { r.header.Set("Content-Type", "text/html") })
			add("content type", func(r *reply) { r.header.Del("Content-Type") })
		}
	}
	var body any
	if json.Unmarshal([]byte(got.raw), &body) != nil {
		if got.raw != "" {
			add("text", func(r *reply) { r.raw = "x" + r.raw })
		}
		return out
	}
	with := func(what string, change func(root any)) {
		var fresh any
		_ = json.Unmarshal([]byte(got.raw), &fresh) // it did before
		change(fresh)
		text, _ := json.Marshal(fresh)
		add(what, func(r *reply) { r.raw = string(text) })
	}
	var walk func(at []any, v any)
	walk = func(at []any, v any) {
		generic := genericPath(at)
		fresh := !seen[generic]
		seen[generic] = true
		switch v := v.(type) {
		case map[string]any:
			if fresh {
				with("a new key", func(root any) { find(root, at).(map[string]any)["news"] = 1 })
			}
			for _, k := range slices.Sorted(maps.Keys(v)) {
				if !seen[generic+"."+k] {
					with("a missing key", func(root any) { delete(find(root, at).(map[string]any), k) })
				}
				walk(append(slices.Clone(at), k), v[k])
			}
		case []any:
			if len(v) == 0 {
				return
			}
			running := strings.HasSuffix(x.Path, "/log") && !strings.Contains(got.raw, `"TASK `)
			if !running && fresh { // its length is not compared
				with("a shorter list", func(root any) { put(root, at, v[:len(v)-1]) })
				with("a longer list", func(root any) { put(root, at, append(slices.Clone(v), v[0])) })
			}
			if len(v) > 1 && ordered.MatchString(x.Path) && !seen[generic+" order"] {
				seen[generic+" order"] = true
				with("another order", func(root any) { put(root, at, append([]any{v[1], v[0]}, v[2:]...)) })
			}
			for i := range v {
				walk(append(slices.Clone(at), i), v[i])
			}
		default:
			if len(at) == 0 || !fresh {
				return
			}
			other := any("x")
			if kindOf(v) == "string" {
				other = 7
			}
			with("type", func(root any) { put(root, at, other) })
			switch v := v.(type) {
			case string:
				other = v + "x"
			case float64:
				other = v + 1_000_003
			case bool:
				other = !v
			default:
				return
			}
			with("value of "+valueName(x, at), func(root any) { put(root, at, other) })
		}
	}
	walk(nil, body)
	return out
}

func genericPath(at []any) string {
	var b strings.Builder
	for _, p := range at {
		if k, is := p.(string); is {
			b.WriteString("." + k)
		} else {
			b.WriteString("[]")
		}
	}
	return b.String()
}

func valueName(x exchange, at []any) string {
	path := genericPath(at)
	switch {
	case strings.Contains(path, ".blockstat."):
		return "blockstat counters"
	case strings.HasSuffix(x.Path, "/status") && regexp.MustCompile(`loadavg|cpuinfo|kversion|current-kernel|boot-info`).MatchString(path):
		return "the node's hardware"
	}
	return strings.TrimSuffix(path[strings.LastIndex(path, ".")+1:], "[]")
}

func find(v any, at []any) any {
	for _, p := range at {
		switch k := p.(type) {
		case string:
			v = v.(map[string]any)[k]
		case int:
			v = v.([]any)[k]
		}
	}
	return v
}

func put(root any, at []any, value any) {
	parent := find(root, at[:len(at)-1])
	switch k := at[len(at)-1].(type) {
	case string:
		parent.(map[string]any)[k] = value
	case int:
		parent.([]any)[k] = value
	}
}
