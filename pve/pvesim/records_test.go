package pvesim

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var condense = flag.Bool("condense", false, "write testdata/records-*.jsonl.gz from ../shared")

// recordsDir is where the recordings lie beside a checkout.
const recordsDir = "../../../shared/pve"

var recordedReleases = []string{"8.4", "9.2"}

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
	Took     float64         `json:"ms,omitempty"`
	FullPath bool            `json:"full_path,omitempty"`
	Sent     string          `json:"request_body,omitempty"`
	Text     string          `json:"response_text,omitempty"`
}

// data is the answer's "data", where it is what the caller wants.
func (x exchange) data(into any) bool {
	var body struct {
		Data json.RawMessage `json:"data"`
	}
	return json.Unmarshal(x.Body, &body) == nil && json.Unmarshal(body.Data, into) == nil
}

// readRecords gives the lines of the topics from beside the checkout.
func readRecords(t *testing.T, release string) []exchange {
	t.Helper()
	var out []exchange
	for _, topic := range conformTopics {
		data, err := os.ReadFile(filepath.Join(recordsDir, "records-"+release, topic+".jsonl"))
		if topic == "90-nine-only" && release == "8.4" {
			continue
		}
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

// TestCondensedRecords holds the copy against the recordings.
func TestCondensedRecords(t *testing.T) {
	t.Parallel()
	if !haveRecords() {
		t.Skip("needs the recordings beside the checkout: ../shared/pve")
	}
	for _, release := range recordedReleases {
		want, have := condensed(readRecords(t, release)), readCondensed(t, release)
		if len(want) != len(have) {
			t.Errorf("%s has %d lines of %d: go test -run TestConformance -condense writes it anew", condensedFile(release), len(have), len(want))
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
		if x.asked() || moves || x.startsForeign() {
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
	enc.SetEscapeHTML(false)
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

// startsForeign is the answer to a call that is not simulated, with the task that it started.
func (x exchange) startsForeign() bool {
	var upid string
	return !x.asked() && x.Status == 200 && x.data(&upid) && strings.HasPrefix(upid, "UPID:")
}
