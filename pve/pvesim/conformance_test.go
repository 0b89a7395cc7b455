package pvesim

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var condense = flag.Bool("condense", false, "write testdata/records-*.jsonl.gz from ../shared")

// recordsDir is where the recordings lie beside a checkout.
const recordsDir = "../../../shared/pve"

// exchange is one line of a recording.
type exchange struct {
	Topic    string          `json:"topic,omitempty"`
	Line     int             `json:"line,omitempty"`
	Step     string          `json:"step"`
	Auth     string          `json:"auth,omitempty"`
	Method   string          `json:"method,omitempty"`
	Path     string          `json:"path,omitempty"`
	Params   map[string]any  `json:"params,omitempty"`
	Status   int             `json:"http_status,omitempty"`
	Reason   string          `json:"http_reason,omitempty"`
	Body     json.RawMessage `json:"response_body,omitempty"`
	Type     string          `json:"content_type,omitempty"`
	Time     float64         `json:"t,omitempty"`
	FullPath bool            `json:"full_path,omitempty"`
	Sent     string          `json:"request_body,omitempty"`
	Text     string          `json:"response_text,omitempty"`
}

var conformTopics = []string{"01-auth", "02-inventory", "06-backup", "08-tasks", "10-concurrency", "12-failures-and-rights"}

// readRecords gives the lines of the topics from beside the checkout.
func readRecords(t *testing.T, release string) []exchange {
	t.Helper()
	var out []exchange
	for _, topic := range conformTopics {
		data, err := os.ReadFile(filepath.Join(recordsDir, "records-"+release, topic+".jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, readLines(t, bytes.NewReader(data), topic)...)
	}
	return out
}

func haveRecords() bool {
	_, err := os.Stat(recordsDir)
	return err == nil
}

func condensedFile(release string) string {
	return filepath.Join("testdata", "records-"+release+".jsonl.gz")
}

func readCondensed(t *testing.T, release string) []exchange {
	t.Helper()
	f, err := os.Open(condensedFile(release))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	return readLines(t, z, "")
}

func readLines(t *testing.T, r io.Reader, topic string) []exchange {
	t.Helper()
	var out []exchange
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 16<<20)
	for n := 1; lines.Scan(); n++ {
		if bytes.HasPrefix(lines.Bytes(), []byte("#")) {
			continue
		}
		var x exchange
		if err := json.Unmarshal(lines.Bytes(), &x); err != nil {
			t.Fatalf("%s line %d: %v", topic, n, err)
		}
		if topic != "" {
			x.Topic, x.Line = topic, n
		}
		out = append(out, x)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// tokenOf maps who sent a recorded request to an Authorization header here.
// The root@pam ticket becomes a token with all rights: tickets are not
// simulated.
var tokenOf = map[string]string{
	"root":          "PVEAPIToken=root@pam!full=" + Secret,
	"rootfull":      "PVEAPIToken=root@pam!full=" + Secret,
	"api":           "PVEAPIToken=portal@pve!api=" + Secret,
	"none_tok":      "PVEAPIToken=portal@pve!none=" + Secret,
	"ro":            "PVEAPIToken=portal@pve!ro=" + Secret,
	"cust":          "PVEAPIToken=cust@pve!tok=" + Secret,
	"power":         "PVEAPIToken=portal@pve!power=" + Secret,
	"old":           "PVEAPIToken=portal@pve!old=" + Secret,
	"tok_badsecret": "PVEAPIToken=portal@pve!api=11111111-0000-4000-8000-000000000001",
	"tok_unknown":   "PVEAPIToken=portal@pve!nope=" + Secret,
	"tok_unkuser":   "PVEAPIToken=nobody@pve!api=" + Secret,
	"tok_malformed": "PVEAPIToken=garbage",
	"tok_bearer":    "Bearer abc",
	"none":          "",
}

// badTickets are sent as a cookie.
var badTickets = []string{"badticket", "forged", "expired_ticket"}

// asks says whether an exchange is about what is simulated: a request with a
// token (or root's ticket, or a bad ticket) to one of the endpoints, or to a
// path that Proxmox VE does not know either.
func (x exchange) asks() bool {
	if x.Method == "" || x.Status == 0 {
		return false
	}
	if _, known := tokenOf[x.Auth]; !known && !slices.Contains(badTickets, x.Auth) {
		return false
	}
	if x.FullPath {
		return !strings.Contains(x.Path, "/extjs/")
	}
	if x.Status == 501 || x.Status == 401 {
		return !strings.Contains(x.Path, "/access/ticket")
	}
	if strings.Contains(x.Path, "/tasks/UPID") && !x.ofOurTask() {
		return false
	}
	p, err := url.PathUnescape(x.Path)
	if err != nil {
		return false
	}
	return route(x.Method, strings.ReplaceAll(p, "//", "/"), map[string]string{}) != nil
}

// ofOurTask: a task that an endpoint of ours starts, or one that never was.
func (x exchange) ofOurTask() bool {
	p, _ := url.PathUnescape(x.Path)
	return strings.Contains(p, ":vzdump:") || strings.Contains(p, ":imgdel:") ||
		strings.Contains(x.Step, "unknown UPID") || strings.Contains(x.Step, "UPID of") || !strings.Contains(p, "UPID:pve")
}

// TestConformance replays what real nodes answered: the recordings beside the
// checkout where they are, and the condensed copy always.
func TestConformance(t *testing.T) {
	t.Parallel()
	for _, release := range []string{"8.4", "9.2"} {
		t.Run(release, func(t *testing.T) {
			t.Parallel()
			if haveRecords() {
				all := readRecords(t, release)
				if *condense {
					writeCondensed(t, release, all)
				}
				conform(t, release, "recordings", all)
			}
			conform(t, release, "condensed copy", readCondensed(t, release))
		})
	}
}

func conform(t *testing.T, release, source string, all []exchange) {
	t.Helper()
	matched, asked, excused := 0, 0, 0
	used := map[string]bool{}
	for _, topic := range conformTopics {
		var xs []exchange
		for _, x := range all {
			if x.Topic == topic {
				xs = append(xs, x)
			}
		}
		r := newReplay(t, release, topic, xs)
		for _, x := range xs {
			if !x.asks() {
				r.event(x)
				continue
			}
			asked++
			diff := r.step(x)
			name := fmt.Sprintf("%s %s %d", release, topic, x.Line)
			why, known := deviations[name]
			used[name] = true
			switch {
			case diff == "" && known:
				t.Errorf("%s [%s] matches now: remove its excuse", name, x.Step)
			case diff == "":
				matched++
			case known:
				excused++
				t.Logf("%s [%s]: %s", name, x.Step, why)
			default:
				t.Errorf("%s [%s] %s %s:\n%s", name, x.Step, x.Method, x.Path, diff)
			}
		}
	}
	for name := range deviations {
		if strings.HasPrefix(name, release) && !used[name] {
			t.Errorf("excuse for %q names no exchange", name)
		}
	}
	if asked < 500 {
		t.Errorf("only %d exchanges were replayed", asked)
	}
	t.Logf("%s, %s: %d of %d exchanges match, %d differ with a reason", release, source, matched, asked, excused)
	fmt.Printf("conformance %s (%s): %d of %d\n", release, source, matched, asked)
}

// TestCondensedRecords holds the copy against the recordings.
func TestCondensedRecords(t *testing.T) {
	t.Parallel()
	if !haveRecords() {
		t.Skip("needs the recordings beside the checkout: ../shared/pve")
	}
	for _, release := range []string{"8.4", "9.2"} {
		want, have := condensed(readRecords(t, release)), readCondensed(t, release)
		if len(want) != len(have) {
			t.Errorf("%s has %d lines of %d", condensedFile(release), len(have), len(want))
			continue
		}
		for i := range want {
			a, _ := json.Marshal(want[i])
			b, _ := json.Marshal(have[i])
			if !bytes.Equal(a, b) {
				t.Errorf("%s: %s line %d differs from the recordings: go test -run TestConformance -condense writes it anew",
					condensedFile(release), want[i].Topic, want[i].Line)
			}
		}
	}
}

// condensed leaves out what neither is replayed nor moves the world.
func condensed(all []exchange) []exchange {
	var out []exchange
	for _, x := range all {
		_, moves := worldEvents[x.Topic+": "+x.Step]
		prunes := strings.HasSuffix(x.Step, "/ task log") && bytes.Contains(x.Body, []byte("removing backup '"))
		if x.asks() || moves || prunes || x.configures() {
			out = append(out, x)
		}
	}
	return out
}

func writeCondensed(t *testing.T, release string, all []exchange) {
	t.Helper()
	var buf bytes.Buffer
	z, err := gzip.NewWriterLevel(&buf, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = fmt.Fprintf(z, "# Answers of a real Proxmox VE %s, recorded over HTTPS; topic and line name the place in the recording.\n", release)
	enc := json.NewEncoder(z)
	for _, x := range condensed(all) {
		if err := enc.Encode(x); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll("testdata", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(condensedFile(release), buf.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}
