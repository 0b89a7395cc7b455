package pvesim

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// replay is one topic on its way through a simulator, over plain HTTP.
type replay struct {
	t      *testing.T
	sim    *Sim
	clock  *clock
	server *httptest.Server
	names  map[string]string // recorded UPIDs and archive names to ours
	last   string            // our last UPID

	release string
	xs      []exchange // the whole topic
	undo    func()     // of a fault that lasts over some steps
	past    []pastTask // tasks of the lab that are not of the replay, by their ends
}

// pastTask is an entry of a recorded task list.
type pastTask struct {
	UPID, Node, Type, ID, User, TokenID, Status string
	PID, PStart, StartTime, EndTime             int64
}

func newReplay(t *testing.T, release, topic string, xs []exchange) *replay {
	t.Helper()
	begin := time.Unix(1795166000, 0)
	for _, x := range xs {
		if x.Time > 0 {
			begin = time.UnixMilli(int64(x.Time*1000) - 5000)
			break
		}
	}
	c := &clock{t: begin}
	// The lab's disks were the host's page cache: a GiB in a second. The seed
	// has pvestatd speak at about the moments when the lab's did.
	s, err := New(recordedWorld(release, topic, xs), Options{Release: release, Now: c.now, Speed: 5.5, Seed: 7})
	if err != nil {
		t.Fatal(err)
	}
	ts := httptest.NewUnstartedServer(s)
	ts.Config = s.Server()
	ts.Start()
	t.Cleanup(ts.Close)
	r := &replay{t: t, sim: s, clock: c, server: ts, names: map[string]string{}, release: release, past: pastTasks(xs), xs: xs}
	r.until(exchange{Time: float64(begin.UnixMilli()) / 1000})
	return r
}

// pastTasks are the ended tasks of all recorded lists that the replay does not
// start itself: with them every list has the same first entries as the lab's.
func pastTasks(xs []exchange) []pastTask {
	ours := map[string]bool{}
	for _, x := range xs {
		var body struct{ Data string }
		if x.asks() && x.Method != "GET" && json.Unmarshal(x.Body, &body) == nil {
			ours[body.Data] = true
		}
	}
	seen := map[string]bool{}
	var out []pastTask
	for _, x := range xs {
		if x.Path != "/nodes/pve1/tasks" && x.Path != "/cluster/tasks" {
			continue
		}
		var body struct{ Data []pastTask }
		if json.Unmarshal(x.Body, &body) != nil {
			continue
		}
		for _, e := range slices.Backward(body.Data) {
			if e.EndTime != 0 && !ours[e.UPID] && !seen[e.UPID] {
				seen[e.UPID] = true
				out = append(out, e)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b pastTask) int { return int(a.EndTime - b.EndTime) })
	return out
}

// remember puts the lab's past into the simulator's.
func (r *replay) remember() {
	r.sim.Settle()
	r.sim.mu.Lock()
	defer r.sim.mu.Unlock()
	for len(r.past) > 0 && r.past[0].EndTime <= r.clock.now().Unix() {
		e := r.past[0]
		r.past = r.past[1:]
		user := e.User
		if e.TokenID != "" {
			user += "!" + e.TokenID
		}
		r.sim.st.Ended++
		task := &task{
			UPID: e.UPID, Node: "pve1", Type: e.Type, ID: e.ID, User: user, PID: int(e.PID), PStart: e.PStart,
			Begin: e.StartTime * 1000, End: e.EndTime * 1000, Exit: e.Status, Order: r.sim.st.Ended,
		}
		r.sim.st.Tasks = append(r.sim.st.Tasks, task)
		r.sim.tasks[task.UPID] = task
		r.sim.done = append(r.sim.done, task)
	}
}

// until lets the recorded time come.
func (r *replay) until(x exchange) {
	if at := time.UnixMilli(int64(x.Time * 1000)); x.Time > 0 && at.After(r.clock.now()) {
		r.clock.add(at.Sub(r.clock.now()))
	}
	r.remember()
}

// event lets the world follow what is not simulated.
func (r *replay) event(x exchange) {
	r.until(x)
	if do := worldEvents[x.Topic+": "+x.Step]; do != nil {
		do(r)
	}
	r.configured(x)
	if strings.HasSuffix(x.Step, "/ task log") {
		for _, m := range removedBy.FindAllStringSubmatch(string(x.Body), -1) {
			_ = r.sim.RemoveArchive("", r.ours(m[1]))
		}
	}
}

var removedBy = regexp.MustCompile(`removing backup '([^']+)'`)

// ours puts our names in place of the recorded ones, theirs the other way.
func (r *replay) ours(s string) string {
	for theirs, ours := range r.names {
		s = strings.ReplaceAll(s, theirs, ours)
	}
	return s
}

func (r *replay) theirs(s string) string {
	for theirs, ours := range r.names {
		s = strings.ReplaceAll(s, ours, theirs)
	}
	return s
}

// step sends one request and says how the answer differs.
func (r *replay) step(x exchange) string {
	r.until(x)
	if do := worldEvents[x.Topic+": "+x.Step]; do != nil {
		do(r)
	}
	if strings.HasSuffix(x.Step, "/ task end status") {
		p, _ := url.PathUnescape(x.Path)
		r.waitFor(r.ours(strings.TrimSuffix(p[strings.Index(p, "UPID"):], "/status")))
	}
	got, err := r.send(x)
	if err != nil {
		return err.Error()
	}
	return r.compare(x, got)
}

func (r *replay) waitFor(upid string) {
	for range 10_000 {
		for _, task := range r.sim.Tasks() {
			if task.UPID == upid && !task.Running() {
				return
			}
		}
		at, any := r.sim.NextEvent()
		if !any {
			return
		}
		r.clock.add(max(at.Sub(r.clock.now()), time.Millisecond))
	}
}

func (r *replay) send(x exchange) (reply, error) {
	form := url.Values{}
	for k, v := range x.Params {
		text := fmt.Sprint(v)
		if f, isNumber := v.(float64); isNumber {
			text = fmt.Sprint(int64(f))
		}
		form.Set(k, r.ours(unfill(text)))
	}
	base := "/api2/json"
	if x.FullPath {
		base = ""
	}
	p := x.Path
	if strings.Contains(p, "UPID%3A") {
		p, _ = url.PathUnescape(p)
		p = r.ours(p)
		at := strings.Index(p, "UPID")
		upid, rest, more := strings.Cut(p[at:], "/")
		p = p[:at] + url.PathEscape(upid)
		if more {
			p += "/" + rest
		}
	} else {
		p = r.ours(p)
	}
	target := r.server.URL + base + p
	var body io.Reader
	ctype := ""
	switch {
	case x.Sent != "":
		body = strings.NewReader(x.Sent)
		ctype = map[byte]string{'{': "application/json", '[': "application/json", 'h': "text/plain"}[x.Sent[0]]
		if ctype == "" {
			ctype = "application/x-www-form-urlencoded"
		}
	case (x.Method == "POST" || x.Method == "PUT") && len(form) > 0:
		body, ctype = strings.NewReader(form.Encode()), "application/x-www-form-urlencoded"
	case len(form) > 0:
		target += "?" + form.Encode()
	}
	req, err := http.NewRequestWithContext(r.t.Context(), x.Method, target, body)
	if err != nil {
		return reply{}, err
	}
	if token := tokenOf[x.Auth]; token != "" {
		req.Header.Set("Authorization", token)
	}
	if slices.Contains(badTickets, x.Auth) {
		req.AddCookie(&http.Cookie{Name: "PVEAuthCookie", Value: "PVE:portal@pve:0::bad"})
	}
	if ctype != "" {
		req.Header.Set("Content-Type", ctype)
	}
	got := read(r.server.Client().Do(req))
	return got, got.err
}

var filler = regexp.MustCompile(`^<(\d+) x (.)>$`)

// unfill writes out what the recording shortened.
func unfill(s string) string {
	if m := filler.FindStringSubmatch(s); m != nil {
		n := 0
		_, _ = fmt.Sscan(m[1], &n)
		return strings.Repeat(m[2], n)
	}
	return s
}

// compare says how an answer differs from the recorded one: status line,
// texts, errors, the keys and types of the body, values that mean something.
func (r *replay) compare(x exchange, got reply) string {
	var diffs []string
	say := func(format string, args ...any) { diffs = append(diffs, fmt.Sprintf(format, args...)) }
	if got.status != x.Status {
		say("status %d, recorded %d", got.status, x.Status)
	}
	if have, want := normal(r.theirs(got.reason)), normal(x.Reason); have != want {
		say("reason %q, recorded %q", have, want)
	}
	if have := got.header.Get("Content-Type"); x.Type != "" && have != x.Type && !strings.Contains(string(x.Body), "_raw") {
		say("content type %q, recorded %q", have, x.Type)
	}
	var want any
	if len(x.Body) > 0 {
		if err := json.Unmarshal(x.Body, &want); err != nil {
			return err.Error()
		}
	}
	if m, isMap := want.(map[string]any); isMap && m["_raw"] != nil {
		if have := normal(r.theirs(got.raw)); !sameText(have, normal(m["_raw"].(string))) {
			say("text %q, recorded %q", have, m["_raw"])
		}
		return strings.Join(diffs, "\n")
	}
	if want == nil {
		if want := x.Text; normal(got.raw) != normal(want) {
			say("body %q, recorded %q", got.raw, want)
		}
		return strings.Join(diffs, "\n")
	}
	body := strings.ReplaceAll(r.theirs(got.raw), "root@pam!full", "root@pam")
	var have any
	if err := json.Unmarshal([]byte(body), &have); err != nil {
		return fmt.Sprintf("no JSON: %q", got.raw)
	}
	r.learn(x, want, have)
	dropRootToken(have)
	switch {
	case strings.HasSuffix(x.Path, "/log") && x.Status == 200 && x.Params["download"] == nil:
		diffs = append(diffs, r.compareLog(x, want, have)...)
	case x.Path == "/nodes/pve1/tasks" || x.Path == "/cluster/tasks":
		diffs = append(diffs, compareTasks(want, have)...)
	default:
		compareValue("", want, have, say)
	}
	return strings.Join(diffs, "\n")
}

// learn pairs the names that both sides gave to the same thing.
func (r *replay) learn(x exchange, want, have any) {
	w, _ := want.(map[string]any)
	h, _ := have.(map[string]any)
	if a, isText := w["data"].(string); isText && strings.HasPrefix(a, "UPID:") {
		if b, isText := h["data"].(string); isText && strings.HasPrefix(b, "UPID:") {
			if x.Auth == "root" {
				b = strings.Replace(b, ":root@pam:", ":root@pam!full:", 1)
			}
			r.names[a], r.last = b, b
			h["data"] = a
		}
	}
	if strings.HasSuffix(x.Path, "/log") {
		a, b := archiveName.FindAllStringSubmatch(string(x.Body), -1), archiveName.FindAllStringSubmatch(fmt.Sprint(have), -1)
		for i := range min(len(a), len(b)) {
			r.names[a[i][1]] = b[i][1]
		}
	}
}

var archiveName = regexp.MustCompile(`creating vzdump archive '[^']*/(vzdump-qemu-\d+-[\d_-]+)\.`)

// dropRootToken: root's ticket has no token name.
func dropRootToken(v any) {
	switch v := v.(type) {
	case map[string]any:
		if v["tokenid"] == "full" {
			delete(v, "tokenid")
		}
		for _, e := range v {
			dropRootToken(e)
		}
	case []any:
		for _, e := range v {
			dropRootToken(e)
		}
	}
}

// told are keys whose values must agree, not only their types.
var told = []string{
	"active", "content", "cpus", "enabled", "exitstatus", "format", "id", "level", "lock", "maxcpu", "message", "name",
	"node", "notes", "parent", "plugintype", "protected", "prune-backups", "qmpstatus", "release", "repoid", "shared",
	"status", "storage", "subtype", "template", "type", "version", "vmid", "memory", "cores", "scsi0", "path", "t", "n",
	"subdir", "managed", "lockwait", "mode", "compress", "remove", "tokenid",
}

func compareValue(at string, want, have any, say func(string, ...any)) {
	key := at[strings.LastIndex(at, ".")+1:]
	switch w := want.(type) {
	case map[string]any:
		h, same := have.(map[string]any)
		if !same {
			say("%s: %T, recorded an object", at, have)
			return
		}
		if strings.HasSuffix(at, "errors") {
			if d := cmp.Diff(w, h); d != "" {
				say("errors (-recorded +ours):\n%s", d)
			}
			return
		}
		for _, k := range slices.Sorted(maps.Keys(w)) {
			if _, there := h[k]; !there {
				say("%s.%s is missing, recorded %v", at, k, w[k])
				continue
			}
			compareValue(at+"."+k, w[k], h[k], say)
		}
		for _, k := range slices.Sorted(maps.Keys(h)) {
			if _, there := w[k]; !there {
				say("%s.%s = %v was not recorded", at, k, h[k])
			}
		}
	case []any:
		h, same := have.([]any)
		if !same {
			say("%s: %T, recorded a list", at, have)
			return
		}
		compareList(at, w, h, say)
	default:
		if kindOf(want) != kindOf(have) {
			say("%s: %s %v, recorded %s %v", at, kindOf(have), have, kindOf(want), want)
			return
		}
		if !slices.Contains(told, key) || strings.Contains(at, ".current-kernel") || strings.Contains(at, ".boot-info") {
			return
		}
		a, b := normal(fmt.Sprint(want)), normal(fmt.Sprint(have))
		if key == "content" {
			a, b = sortedList(a), sortedList(b)
		}
		if filler.MatchString(a) {
			a = normal(unfill(a))
		}
		if a != b {
			say("%s: %v, recorded %v", at, have, want)
		}
	}
}

// compareList pairs the elements by what names them; the order of most lists
// of the real one is random.
func compareList(at string, want, have []any, say func(string, ...any)) {
	w, h := byIdentity(want), byIdentity(have)
	for _, id := range slices.Sorted(maps.Keys(w)) {
		if e, there := h[id]; there {
			compareValue(at+"["+id+"]", w[id], e, say)
		} else {
			say("%s[%s] is missing", at, id)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(h)) {
		if _, there := w[id]; !there {
			say("%s[%s] was not recorded", at, id)
		}
	}
}

func byIdentity(list []any) map[string]any {
	out := map[string]any{}
	for i, e := range list {
		id := fmt.Sprint(i)
		if m, isMap := e.(map[string]any); isMap {
			for _, k := range []string{"volid", "upid", "id", "storage", "vmid", "n", "node", "subdir", "name"} {
				if v, has := m[k]; has {
					id = fmt.Sprint(v)
					break
				}
			}
		}
		out[id] = e
	}
	return out
}

func kindOf(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case float64:
		return "number"
	case string:
		return "string"
	case []any:
		return "list"
	}
	return "object"
}

func sortedList(s string) string {
	parts := strings.Split(s, ",")
	slices.Sort(parts)
	return strings.Join(parts, ",")
}

// compareTasks compares the entries' keys by kind of entry: the lab had a
// longer past than the simulator.
func compareTasks(want, have any) (diffs []string) {
	w, h := want.(map[string]any), have.(map[string]any)
	if w["errors"] != nil || h["errors"] != nil {
		say := func(format string, args ...any) { diffs = append(diffs, fmt.Sprintf(format, args...)) }
		compareValue("", want, have, say)
		return diffs
	}
	if (w["total"] == nil) != (h["total"] == nil) {
		diffs = append(diffs, fmt.Sprintf("total %v, recorded %v", h["total"], w["total"]))
	}
	kinds := func(v any) map[string]string {
		out := map[string]string{}
		list, _ := v.([]any)
		for _, e := range list {
			m := e.(map[string]any)
			kind := "running"
			if m["endtime"] != nil {
				kind = "ended"
			}
			for k, v := range m {
				if k != "tokenid" && !(k == "saved" && kind == "ended") {
					out[kind+"."+k] = kindOf(v)
				}
			}
		}
		return out
	}
	// A running task that is not simulated leaves its place to one more.
	wanted, listed := endedUPIDs(w["data"]), endedUPIDs(h["data"])
	if all, _ := w["data"].([]any); len(all) > len(wanted) && len(listed) > len(wanted) {
		listed = listed[:len(wanted)]
	}
	if d := cmp.Diff(wanted, listed); d != "" {
		diffs = append(diffs, "entries (-recorded +ours):\n"+d)
	}
	a, b := kinds(w["data"]), kinds(h["data"])
	for _, kind := range []string{"running", "ended"} {
		there := func(m map[string]string) bool { return m[kind+".upid"] != "" }
		if there(a) && there(b) {
			for _, m := range []map[string]string{a, b} {
				for k := range m {
					if strings.HasPrefix(k, kind) && a[k] != b[k] {
						diffs = append(diffs, fmt.Sprintf("%s: %q, recorded %q", k, b[k], a[k]))
					}
				}
			}
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(diffs)))
}

// endedUPIDs are the ended tasks of a list, in its order.
func endedUPIDs(data any) []string {
	var out []string
	list, _ := data.([]any)
	for _, e := range list {
		if m := e.(map[string]any); m["endtime"] != nil {
			out = append(out, m["upid"].(string))
		}
	}
	return out
}

// compareLog compares lines without what differs from run to run. A running
// task's may be ahead of or behind the recorded ones.
func (r *replay) compareLog(x exchange, want, have any) (diffs []string) {
	w, h := want.(map[string]any), have.(map[string]any)
	if kindOf(w["data"]) != kindOf(h["data"]) {
		return []string{fmt.Sprintf("data is a %s, recorded a %s", kindOf(h["data"]), kindOf(w["data"]))}
	}
	if kindOf(w["data"]) != "list" {
		say := func(format string, args ...any) { diffs = append(diffs, fmt.Sprintf(format, args...)) }
		compareValue("", want, have, say)
		return diffs
	}
	a, b := logLines(w["data"]), logLines(h["data"])
	if n := min(len(a), len(b)); strings.HasPrefix(x.Step, "log ") && !strings.Contains(x.Step, "after the end") {
		a, b = a[:n], b[:n]
	}
	if d := cmp.Diff(a, b); d != "" {
		diffs = append(diffs, "log (-recorded +ours):\n"+d)
	}
	if kindOf(w["total"]) != kindOf(h["total"]) {
		diffs = append(diffs, fmt.Sprintf("total %v, recorded %v", h["total"], w["total"]))
	}
	return diffs
}

func logLines(data any) []string {
	var out []string
	list, _ := data.([]any)
	for _, e := range list {
		line := normal(e.(map[string]any)["t"].(string))
		// Waiting for the lock file of "qm cleanup" is a race of the real one.
		if line == "trying to acquire lock..." || line == " OK" || progressLine.MatchString(line) {
			continue
		}
		if strings.HasPrefix(line, "Formatting '") {
			continue // QEMU's own words about a fleecing image
		}
		out = append(out, line)
	}
	return out
}

var progressLine = regexp.MustCompile(`^INFO: +\d+% \(`)

var normalizers = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`), "<time>"},
	{regexp.MustCompile(`\d{4}_\d\d_\d\d-\d\d_\d\d_\d\d`), "<stamp>"},
	{regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`), "<uuid>"},
	{regexp.MustCompile(`\(\d\d:\d\d:\d\d\)`), "(<span>)"},
	{regexp.MustCompile(`in (<?\d+) seconds( \([^)]*\))?`), "in <n> seconds"},
	{regexp.MustCompile(`archive file size: [\d.]+`), "archive file size: <n>"},
	{regexp.MustCompile(`tmp\.\d+`), "tmp.<n>"},
	{regexp.MustCompile(` at /usr/share/perl5/\S+ line \d+\.`), ""},
	{regexp.MustCompile(`UPID:[^:]+:[0-9A-F]+:[0-9A-F]+:[0-9A-F]+:`), "UPID:<n>:"},
}

// normal takes times, sizes and identifiers out of a text, and puts the
// options of a backup's first line in order.
func normal(s string) string {
	s = strings.TrimRight(s, "\n")
	for _, n := range normalizers {
		s = n.pattern.ReplaceAllString(s, n.with)
	}
	const job = "INFO: starting new backup job: vzdump"
	if rest, isJob := strings.CutPrefix(s, job); isJob {
		parts := regexp.MustCompile(` --`).Split(rest, -1)
		slices.Sort(parts[1:])
		s = job + strings.Join(parts, " --")
	}
	return s
}

// sameText compares raw texts; a downloaded log may be at another line.
func sameText(a, b string) bool {
	return a == b || strings.HasPrefix(b, "INFO: starting new backup job") && strings.HasPrefix(a, "INFO: starting new backup job")
}
