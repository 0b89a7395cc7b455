package pvesim

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// How an answer is compared with the recorded one: everything has to be equal that is not named here.
//
// Status code, reason phrase, Content-Type (also its absence), and the body: its keys (none missing, none more), the
// type of every value, every value, the length of every list. Lists keep their order where the real one has an order
// (volumes by volid, tasks by time, log lines by number); other lists come in no order (Perl's hashes) and their
// elements are paired by id.
//
// What cannot be equal, because the machine under the lab was another or because it is random, is compared more
// loosely, each by the rule that fits it (see rules): a time within seconds, a size or a load by being zero or not,
// an identifier by its form. Names that both sides gave to the same thing are put in each other's place first (see
// learn), so that a UPID, a volid or a ticket has to be the right one everywhere it appears.
//
// In texts (messages, log lines, exit statuses) times, durations, rates, uuids, process numbers and the place in
// Proxmox' own source are taken out (see normalizers), each by its form, and nothing else.

// rule is a looser comparison for values under some keys.
type rule struct {
	keys []string
	at   *regexp.Regexp // where; nil is everywhere
	fits func(want, have any) bool
	why  string
}

func near(seconds float64) func(want, have any) bool {
	return func(want, have any) bool {
		a, isA := want.(float64)
		b, isB := have.(float64)
		return isA && isB && math.Abs(a-b) <= seconds
	}
}

// alikeZero is true for two numbers that are both zero or both not, with the same sign.
func alikeZero(want, have any) bool {
	a, isA := want.(float64)
	b, isB := have.(float64)
	return isA && isB && (a == 0) == (b == 0) && (a < 0) == (b < 0)
}

func memory(want, have any) bool {
	return want == 0.0 && notNegative(want, have) || alikeZero(want, have)
}

func either(a, b func(want, have any) bool) func(want, have any) bool {
	return func(want, have any) bool { return a(want, have) || b(want, have) }
}

func notNegative(_, have any) bool {
	n, is := have.(float64)
	return is && n >= 0
}

func bothTexts(want, have any) bool { return kindOf(want) == "string" && kindOf(have) == "string" }

// formed is true for two texts of one form.
func formed(pattern string) func(want, have any) bool {
	re := regexp.MustCompile("^(?:" + pattern + ")$")
	return func(want, have any) bool {
		a, isA := want.(string)
		b, isB := have.(string)
		return isA && isB && re.MatchString(a) && re.MatchString(b)
	}
}

var rules = []rule{
	{keys: []string{"starttime", "snaptime", "ctime", "time", "localtime"}, fits: near(2), why: "the clock is set to the recorded time of the answer, which came a moment after"},
	{keys: []string{"endtime"}, fits: near(10), why: "a backup takes about as long as in the lab"},
	{keys: []string{"meta"}, fits: sameBut(`ctime=(\d+)$`, 2), why: "when a machine was made: a task of the lab began a moment later"},
	{keys: []string{"next-run"}, fits: alikeZero, why: "what stood in for the calendar in the lab took the next full hour"},
	{keys: []string{"pid", "pstart"}, fits: alikeZero, why: "process numbers; that they are the UPID's is looked at apart"},
	{keys: []string{"freemem", "free_mem", "total_mem", "last_update", "used", "free", "avail", "available"}, fits: alikeZero, why: "what a machine uses"},
	{keys: []string{"mem"}, fits: memory, why: "what a machine uses; the 9.2 lab had no cgroups and told 0 of running machines"},
	{keys: []string{"uptime"}, fits: either(alikeZero, near(10)), why: "when the lab's machines were started; pvestatd looks every 10 s"},
	{keys: []string{"cpu", "netin", "netout", "diskread", "diskwrite", "minor_page_faults"}, fits: notNegative, why: "what it uses, which may be nothing just now"},
	{at: regexp.MustCompile(`\.blockstat\.`), fits: notNegative, why: "QEMU's counters"},
	{at: regexp.MustCompile(`^/nodes/pve1/status\.data\.(?:loadavg|cpuinfo\.(?:model|mhz|flags|hvm)|boot-info\.mode|kversion|current-kernel\.(?:release|version))`), fits: bothTexts, why: "the lab's processor and kernel"},
	{at: regexp.MustCompile(`\[digest\]\.value$`), fits: formed(`[0-9a-f]{40}`), why: "over the files of the lab"},
	{keys: []string{"ctime"}, at: regexp.MustCompile(`\[\d+ \w+:\d+/`), fits: alikeZero, why: "when a disk's file was last written"},
	{keys: []string{"size"}, fits: about(3), at: regexp.MustCompile(`/content`), why: "how well an archive packs"},
	{keys: []string{"used", "avail", "used_fraction", "disk"}, fits: alikeZero, why: "what else lies on the lab's disk"},
	{keys: []string{"total"}, at: regexp.MustCompile(`^/nodes/pve1/tasks\.total`), fits: alikeZero, why: "the lab had a longer past"},
	{keys: []string{"digest"}, fits: formed(`[0-9a-f]{40}`), why: "over the files of the lab"},
	{keys: []string{"ssl_fingerprint"}, fits: formed(`(?:[0-9A-F]{2}:){31}[0-9A-F]{2}`), why: "of the lab's certificate"},
	{keys: []string{"value"}, at: regexp.MustCompile(`/token/`), fits: secret, why: "a token's secret, which the recording leaves out"},
	{keys: []string{"CSRFPreventionToken"}, fits: sameBeforeColon, why: "the recording leaves the hash out; the time in it has to be equal"},
	{keys: []string{"pbs-library-version"}, fits: formed(`1\.5\.1 \(\w+\)`), why: "no library is here"},
}

// about is true for two numbers of which neither is more than so many times the other.
func about(times float64) func(want, have any) bool {
	return func(want, have any) bool {
		a, isA := want.(float64)
		b, isB := have.(float64)
		return isA && isB && a > 0 && b > 0 && a <= times*b && b <= times*a
	}
}

// sameBut is true for two texts that differ in a number alone, by no more than so much.
func sameBut(pattern string, by float64) func(want, have any) bool {
	re := regexp.MustCompile(pattern)
	return func(want, have any) bool {
		a, _ := want.(string)
		b, _ := have.(string)
		m, n := re.FindStringSubmatch(a), re.FindStringSubmatch(b)
		if m == nil || n == nil || re.ReplaceAllString(a, "") != re.ReplaceAllString(b, "") {
			return false
		}
		x, _ := strconv.ParseFloat(m[1], 64)
		y, _ := strconv.ParseFloat(n[1], 64)
		return math.Abs(x-y) <= by
	}
}

func secret(want, have any) bool {
	b, is := have.(string)
	return want == "<token-secret>" && is && regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`).MatchString(b)
}

func sameBeforeColon(want, have any) bool {
	a, isA := want.(string)
	b, isB := have.(string)
	before, _, _ := strings.Cut(a, ":")
	return isA && isB && strings.HasPrefix(b, before+":") && len(b) > len(before)+20
}

// loosely says whether a rule lets two values pass.
func loosely(at, key string, want, have any) bool {
	for _, r := range rules {
		if (r.keys == nil || slices.Contains(r.keys, key)) && (r.at == nil || r.at.MatchString(at)) && r.fits(want, have) {
			return true
		}
	}
	return false
}

// ordered are the paths whose lists have an order.
var ordered = regexp.MustCompile(`/content$|/prunebackups$|/tasks$|/log$|^/$|/qemu/\d+$`)

// comparison gathers how two answers differ.
type comparison struct {
	path  string
	diffs []string
}

func (c *comparison) say(format string, args ...any) {
	c.diffs = append(c.diffs, fmt.Sprintf(format, args...))
}

// compare says how an answer differs from the recorded one; "" is not at all.
func (r *replay) compare(x exchange, got reply) string {
	c := &comparison{path: x.Path}
	if got.status != x.Status {
		c.say("status %d, recorded %d", got.status, x.Status)
	}
	if have, want := normal(r.theirs(got.reason)), normal(x.Reason); have != want {
		c.say("reason %q, recorded %q", have, want)
	}
	var want any
	if len(x.Body) > 0 {
		if err := json.Unmarshal(x.Body, &want); err != nil {
			return err.Error()
		}
	}
	text, isText := x.Text, false
	switch body := want.(type) {
	case nil:
		isText = true
	case map[string]any:
		if raw, is := body["_raw"]; is {
			text, isText = raw.(string), true
		}
	}
	if have := got.header.Get("Content-Type"); have != x.Type && !(isText && x.Type == "") {
		c.say("content type %q, recorded %q", have, x.Type)
	}
	if isText {
		text, have := text, r.theirs(got.raw)
		if strings.HasSuffix(x.Path, "/log") && x.Status == 200 {
			text, have = downloads(text, have)
		}
		c.texts(text, have)
		return strings.Join(c.diffs, "\n")
	}
	var have any
	if err := json.Unmarshal([]byte(r.theirs(got.raw)), &have); err != nil {
		return fmt.Sprintf("no JSON: %q", got.raw)
	}
	c.named(got.raw)
	if strings.HasSuffix(x.Path, "/log") && x.Status == 200 {
		want, have = logsOf(want, have)
	}
	c.values("", want, have)
	return strings.Join(c.diffs, "\n")
}

// texts compares bodies that are no JSON: a downloaded log line by line.
func (c *comparison) texts(want, have string) {
	a, b := strings.Split(want, "\n"), strings.Split(have, "\n")
	for i := range max(len(a), len(b)) {
		switch {
		case i >= len(b):
			c.say("the body lacks %q", a[i])
		case i >= len(a):
			c.say("the body has %q, which was not recorded", b[i])
		case normal(a[i]) != normal(b[i]):
			c.say("body %q, recorded %q", b[i], a[i])
		}
	}
}

func (c *comparison) values(at string, want, have any) {
	switch w := want.(type) {
	case map[string]any:
		h, same := have.(map[string]any)
		if !same {
			c.say("%s: %s, recorded an object", at, kindOf(have))
			return
		}
		for _, k := range slices.Sorted(maps.Keys(w)) {
			if _, there := h[k]; !there {
				c.say("%s.%s is missing, recorded %v", at, k, w[k])
				continue
			}
			c.values(at+"."+k, w[k], h[k])
		}
		for _, k := range slices.Sorted(maps.Keys(h)) {
			if _, there := w[k]; !there {
				c.say("%s.%s = %v was not recorded", at, k, h[k])
			}
		}
	case []any:
		h, same := have.([]any)
		if !same {
			c.say("%s: %s, recorded a list", at, kindOf(have))
			return
		}
		c.lists(at, w, h)
	default:
		c.value(at, want, have)
	}
}

func (c *comparison) value(at string, want, have any) {
	if kindOf(want) != kindOf(have) {
		c.say("%s: %s %v, recorded %s %v", at, kindOf(have), have, kindOf(want), want)
		return
	}
	key := at[strings.LastIndex(at, ".")+1:]
	a, isText := want.(string)
	if isText {
		b := have.(string)
		if filler.MatchString(a) {
			a = unfill(a)
		}
		if key == "content" {
			a, b = sortedList(a), sortedList(b) // a set, in no order
		}
		if normal(a) == normal(b) {
			return
		}
	} else if want == have {
		return
	}
	if loosely(c.path+at, key, want, have) {
		return
	}
	c.say("%s: %v, recorded %v", at, have, want)
}

func (c *comparison) lists(at string, want, have []any) {
	if ordered.MatchString(c.path) || len(want) > 0 && kindOf(want[0]) != "object" {
		for i := range max(len(want), len(have)) {
			switch {
			case i >= len(have):
				c.say("%s lacks %v", at, want[i])
			case i >= len(want):
				c.say("%s has %v, which was not recorded", at, have[i])
			default:
				c.values(fmt.Sprintf("%s[%s]", at, strings.TrimSpace(fmt.Sprint(i, " ", nameOf(want[i])))), want[i], have[i])
			}
		}
		return
	}
	w, h := byIdentity(want), byIdentity(have)
	if len(w) != len(want) || len(h) != len(have) {
		c.say("%s: two elements of one name", at)
	}
	for _, id := range slices.Sorted(maps.Keys(w)) {
		if e, there := h[id]; there {
			c.values(at+"["+id+"]", w[id], e)
		} else {
			c.say("%s[%s] is missing", at, id)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(h)) {
		if _, there := w[id]; !there {
			c.say("%s[%s] was not recorded", at, id)
		}
	}
}

func byIdentity(list []any) map[string]any {
	out := map[string]any{}
	for i, e := range list {
		id := nameOf(e)
		if id == "" {
			id = fmt.Sprint(i)
		}
		out[id] = e
	}
	return out
}

// nameOf is what names an element of a list.
func nameOf(e any) string {
	m, _ := e.(map[string]any)
	if m["ugid"] != nil && m["path"] != nil {
		return fmt.Sprint(m["path"], " ", m["ugid"], " ", m["roleid"])
	}
	for _, k := range []string{"volid", "upid", "id", "ugid", "storage", "vmid", "key", "node", "subdir", "name"} {
		if v, has := m[k]; has {
			return fmt.Sprint(v)
		}
	}
	return ""
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

// named looks whether every UPID in our answer agrees with what stands beside it.
func (c *comparison) named(raw string) {
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			var t task
			if upid, is := v["upid"].(string); is && v["pid"] != nil && t.read(upid) {
				user, _, _ := strings.Cut(t.User, "!")
				for k, want := range map[string]any{"node": t.Node, "pid": t.PID, "pstart": t.PStart, "starttime": t.Begin / 1000, "type": t.Type, "id": t.ID} {
					if have, there := v[k]; there && fmt.Sprint(have) != fmt.Sprint(want) {
						c.say("%s is %v beside %s", k, have, upid)
					}
				}
				if have := fmt.Sprint(v["user"]); have != user && have != t.User {
					c.say("user is %s beside %s", have, upid)
				}
			}
			for _, e := range v {
				walk(e)
			}
		case []any:
			for _, e := range v {
				walk(e)
			}
		}
	}
	var body any
	dec := json.NewDecoder(strings.NewReader(raw))
	dec.UseNumber()
	if dec.Decode(&body) == nil {
		walk(body)
	}
}

var (
	progressLine = regexp.MustCompile(`^INFO: +\d{1,3}% \(\d+(?:\.\d+)? (?:[KMGT]i)?B of \d+(?:\.\d+)? (?:[KMGT]i)?B\) in (?:\d+h )?(?:\d+m )?(?:\d+s)?, read: \d+(?:\.\d+)? (?:[KMGT]i)?B/s, write: \d+(?:\.\d+)? (?:[KMGT]i)?B/s$`)
	copyLine     = regexp.MustCompile(`^(?:(?:mirror|drive|commit-drive)-\w+: )?transferred [\d.]+ (?:[KMGT]i)?B of [\d.]+ (?:[KMGT]i)?B \([\d.]+%\)(?: in [\dhms ]+(?:, ready)?)?$`)
	endLine      = regexp.MustCompile(`^TASK (?:OK$|ERROR: |WARNINGS: \d)`)
)

// logsOf are two logs without what depends on how fast a machine is. How often a backup or a copy speaks of its progress is
// not compared, that it does so in the right words and place is; the lines of a lock file that another process held for a
// moment, and QEMU's own about a fleecing image, are left out. The log of a task that was running is compared as far
// as both go. That the lines are numbered in turn, and their total, is looked at on each side alone.
func logsOf(want, have any) (any, any) {
	a, numberedA := logOf(want)
	b, numberedB := logOf(have)
	if a == nil || b == nil || !numberedA || !numberedB {
		return want, have
	}
	if len(a) > 0 && len(b) > 0 && a[len(a)-1] != "TASK OK" {
		a, b = restoring(a), restoring(b)
	}
	if n := len(a); n > 0 && !endLine.MatchString(a[n-1].(string)) {
		n = min(n, len(b))
		a, b = a[:n], b[:n]
	}
	return a, b
}

var restoreLine = regexp.MustCompile(`^progress \d+% \(read \d+ bytes, duration \d+ sec\)$`)

// restoring is the log of a restore that came to nothing: how far it had come is not compared.
func restoring(lines []any) []any {
	var out []any
	for _, line := range lines {
		if restoreLine.MatchString(line.(string)) {
			line = "<progress>"
		}
		if n := len(out); n == 0 || line != "<progress>" || out[n-1] != line {
			out = append(out, line)
		}
	}
	return out
}

// downloads are two downloaded logs, treated alike.
func downloads(want, have string) (string, string) {
	lines := func(text string) any {
		list := []any{}
		for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
			list = append(list, map[string]any{"n": float64(i + 1), "t": line})
		}
		return map[string]any{"data": list, "total": float64(len(list))}
	}
	text := func(log any) string {
		var out []string
		for _, line := range log.([]any) {
			out = append(out, line.(string))
		}
		return strings.Join(out, "\n") + "\n"
	}
	a, b := logsOf(lines(want), lines(have))
	return text(a), text(b)
}

func logOf(body any) (lines []any, numbered bool) {
	answer, _ := body.(map[string]any)
	list, isList := answer["data"].([]any)
	total, counted := answer["total"].(float64)
	if !isList || !counted || len(answer) != 2 {
		return nil, false
	}
	numbered = true
	lines = []any{}
	first := 0.0
	for i, e := range list {
		line, _ := e.(map[string]any)
		n, isNumber := line["n"].(float64)
		text, isText := line["t"].(string)
		if i == 0 {
			first = n
		}
		numbered = numbered && isNumber && isText && len(line) == 2 && n == first+float64(i) && n <= total
		switch {
		case progressLine.MatchString(text), copyLine.MatchString(text):
			if k := len(lines); k == 0 || lines[k-1] != "<progress>" {
				lines = append(lines, "<progress>")
			}
		case text == "trying to acquire lock...", text == " OK", strings.HasPrefix(text, "Formatting '") && strings.Contains(text, "-fleece-"):
		default:
			lines = append(lines, text)
		}
	}
	return lines, numbered
}

var normalizers = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`), "<time>"},
	{regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`), "<uuid>"},
	{regexp.MustCompile(`\(\d\d:\d\d:\d\d\)`), "(<span>)"},
	{regexp.MustCompile(`in (<?\d+) seconds( \([^)]*\))?`), "in <n> seconds"},
	{regexp.MustCompile(`archive file size: [\d.]+`), "archive file size: <n>"},
	{regexp.MustCompile(`tmp\.\d+`), "tmp.<n>"},
	{regexp.MustCompile(`\$5\$[./0-9A-Za-z]{8}\$[./0-9A-Za-z]{43}`), "<password hash>"},
	{regexp.MustCompile(`vzdumptmp\d+`), "vzdumptmp<n>"},
	{regexp.MustCompile(`^/bin/bash: line 1: \d+ `), "/bin/bash: line 1: <pid> "},
	{regexp.MustCompile(`^     +\d+ ([A-Z])`), "     <pid> $1"},
	{regexp.MustCompile(`^vma: restore failed - short vma extent \(\d+ < 3801600\)$`), "vma: restore failed - short vma extent"},
	{regexp.MustCompile(`^vma: restore failed - detected missing cluster \d+ for`), "vma: restore failed - detected missing cluster <n> for"},
	{regexp.MustCompile(`^CTIME: \w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}$`), "CTIME: <time>"},
	{regexp.MustCompile(`^(progress \d+% \(read \d+ bytes, duration) \d+ sec\)$`), "$1 <n> sec)"},
	{regexp.MustCompile(`, sparse bytes \d+ \([\d.]+%\)$`), ", sparse bytes <n>"},
	{regexp.MustCompile(`^space reduction due to 4K zero blocks [\d.]+%$`), "space reduction <n>"},
	{regexp.MustCompile(`^[\d.]+ (?:B|KiB|MiB) in \d+s$`), "<memory> in <n>s"},
	{regexp.MustCompile(`(saving the VM state in) \d+s, saved [\d.]+ MiB$`), "$1 <n>s, saved <memory>"},
	{regexp.MustCompile(` at /usr/share/perl5/\S+ line \d+\.`), ""},
}

// normal takes times, sizes and identifiers out of a text, and puts the
// options of a backup's first line in order.
func normal(s string) string {
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
