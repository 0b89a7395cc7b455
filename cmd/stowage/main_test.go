package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// bench is a folder with a database, and the commands on it.
type bench struct {
	t   *testing.T
	dir string
	now func() time.Time // nil: the real one
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir()}
	b.must("migrate")
	return b
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

// write makes a file and gives its path.
func (b *bench) write(name, text string) string {
	b.t.Helper()
	if err := os.WriteFile(b.path(name), []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
	return b.path(name)
}

// result is how a command ended.
type result struct {
	code     int
	out, err string
}

// buffer takes what several goroutines write.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// stowage runs a command.
func stowage(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	return stowageAt(t, time.Now, stdin, args...)
}

// stowageAt runs a command with a clock of its own.
func stowageAt(t *testing.T, now func() time.Time, stdin string, args ...string) result {
	t.Helper()
	var out, err buffer
	code := run(t.Context(), args, &app{now: now, in: strings.NewReader(stdin), out: &out, err: &err})
	return result{code, out.String(), err.String()}
}

// noData are the commands that take no --database.
var noData = map[string]bool{"schedule": true, "version": true, "sim": true, "demo": true}

func (b *bench) run(args ...string) result {
	b.t.Helper()
	if !noData[args[0]] {
		args = append(args, "--database", b.path("stowage.db"))
	}
	now := b.now
	if now == nil {
		now = time.Now
	}
	return stowageAt(b.t, now, "", args...)
}

// must runs a command that has to succeed.
func (b *bench) must(args ...string) string {
	b.t.Helper()
	r := b.run(args...)
	if r.code != exitDone {
		b.t.Fatalf("stowage %s: %d %s", strings.Join(args, " "), r.code, r.err)
	}
	return r.out
}

// answer runs a command with --json that has to succeed, and reads its answer.
func (b *bench) answer(into any, args ...string) {
	b.t.Helper()
	out := b.must(append(args, "--json")...)
	if err := json.Unmarshal([]byte(out), into); err != nil {
		b.t.Fatalf("stowage %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

type added struct{ UID, Password, Role string }

// wantFailure wants an exit code and one line that says why.
func (r result) want(t *testing.T, what string, code int, why string) {
	t.Helper()
	if r.code != code || !strings.Contains(r.err, why) || strings.Count(r.err, "\n") != 1 || r.out != "" {
		t.Errorf("%s: exit code %d, %q %q; want %d and one line with %q", what, r.code, r.err, r.out, code, why)
	}
}

func TestWrongUse(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, c := range []struct {
		args []string
		why  string
	}{
		{[]string{"nonsense"}, "unexpected argument nonsense"},
		{[]string{"schedule"}, "expected"},
		{[]string{"client", "add", "--email", "a@demo.test"}, "missing flags"},
		{[]string{"client", "add", "--email", "a@demo.test", "--name", "A", "--zone", "Mars/Olympus"}, "no time zone"},
		{[]string{"client", "add", "--email", "a@demo.test", "--name", "A", "--zone", "Local"}, "no time zone"},
		{[]string{"staff", "add", "--email", "a@demo.test", "--role", "owner"}, "must be one of"},
		{[]string{"product", "add", "--name", "P", "--backups", "x"}, "expected a valid"},
		{[]string{"product", "add", "--name", "P", "--backups", "1", "--mode", "fast"}, "must be one of"},
		{[]string{"service", "add", "--client", "a", "--product", "p", "--server", "s", "--vmid", "7"}, "--vmid"},
		{[]string{"service", "accept-machine", "x"}, "--reason"},
		{[]string{"service", "accept-machine", "x", "--reason", " "}, "--reason"},
		{[]string{"pause", "add", "--scope", "client", "--for", "8h", "--reason", "r"}, "must be one of"},
		{[]string{"pause", "add", "--scope", "server", "--reason", "r"}, "missing flags"},
		{[]string{"pause", "add", "--scope", "server", "--for", "8h", "--until", "2026-11-21T06:00Z", "--reason", "r"}, "can't be used together"},
		{[]string{"pause", "add", "--scope", "server", "--until", "2026-11-21T06:00", "--reason", "r"}, "with its zone"},
		{[]string{"operation", "release", "x"}, "--reason"},
		{[]string{"operation", "release", "x", "--reason", " "}, "--reason"},
		{[]string{"serve", "--url", "backups.example"}, "--url"},
		{[]string{"serve", "--trusted-proxies", "everybody"}, "--trusted-proxies"},
		{[]string{"serve", "--log-format", "xml"}, "must be one of"},
		{[]string{"sim", "--listen", "0.0.0.0:0"}, "--public"},
		{[]string{"demo", "--listen", "0.0.0.0:0"}, "--public"},
		{[]string{"sim", "--release", "7.4"}, "must be one of"},
		{[]string{"schedule", "preview", "--zone", "UTC", "--grid", "sun=25:00", "--from", "2026-03-01", "--days", "1"}, "25:00"},
		{[]string{"schedule", "preview", "--zone", "UTC", "--grid", "sun=02:00", "--from", "1 March", "--days", "1"}, "no date"},
		{[]string{"schedule", "preview", "--zone", "UTC", "--grid", "sun=02:00", "--from", "2026-03-01", "--days", "0"}, "--days"},
	} {
		b.run(c.args...).want(t, strings.Join(c.args, " "), exitUsage, c.why)
	}
}

func TestHelpNamesEveryCommand(t *testing.T) {
	t.Parallel()
	r := stowage(t, "", "--help")
	if r.code != exitDone {
		t.Fatalf("--help: %d %s", r.code, r.err)
	}
	for _, command := range []string{
		"demo", "serve", "sim", "server add", "server list", "server check", "product add", "product list", "client add", "client passwd",
		"staff add", "staff passwd", "service add", "service list", "service change-product", "service accept-machine", "pause add", "pause list", "pause end", "operation list", "operation show",
		"operation retry", "operation cancel", "operation release", "setting list", "setting set", "migrate", "backup-db", "doctor",
		"schedule preview", "version",
	} {
		if !regexp.MustCompile(`(?m)^  ` + command + ` `).MatchString(r.out) {
			t.Errorf("--help does not name %s", command)
		}
	}
	if r := stowage(t, "", "serve", "--help"); !strings.Contains(r.out, "$STOWAGE_KEY_FILE") || !strings.Contains(r.out, "$STOWAGE_TRUSTED_PROXIES") {
		t.Errorf("serve --help does not name the environment variables: %s", r.out)
	}
}

func TestFlagsComeFromTheEnvironment(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("STOWAGE_DATABASE", filepath.Join(dir, "elsewhere.db"))
	t.Setenv("STOWAGE_KEY_FILE", filepath.Join(dir, "other.secret"))
	if r := stowage(t, "", "migrate"); r.code != exitDone {
		t.Fatalf("migrate: %s", r.err)
	}
	for _, name := range []string{"elsewhere.db", "other.secret"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	var v struct{ Version, Commit, Go string }
	newBench(t).answer(&v, "version")
	if v.Version == "" || v.Commit == "" || !strings.HasPrefix(v.Go, "go1.") {
		t.Errorf("version: %+v", v)
	}
}

func TestSchedulePreview(t *testing.T) {
	t.Parallel()
	var slots []struct{ Date, Time, Instant string }
	b := newBench(t)
	b.answer(&slots, "schedule", "preview", "--zone", "Europe/Berlin", "--grid", "sun=02:30,mon=23:15", "--from", "2026-03-29", "--days", "8")
	got, err := json.Marshal(slots)
	if err != nil {
		t.Fatal(err)
	}
	const want = `[{"Date":"2026-03-29","Time":"02:30","Instant":"2026-03-29T01:00:00Z"},` + // 02:30 is not on the wall that day
		`{"Date":"2026-03-30","Time":"23:15","Instant":"2026-03-30T21:15:00Z"},` +
		`{"Date":"2026-04-05","Time":"02:30","Instant":"2026-04-05T00:30:00Z"}]`
	if string(got) != want {
		t.Errorf("slots:\n%s\nwant\n%s", got, want)
	}
	if out := b.must("schedule", "preview", "--zone", "UTC", "--grid", "", "--from", "2026-03-29", "--days", "8", "--json"); strings.TrimSpace(out) != "[]" {
		t.Errorf("a schedule without days: %q", out)
	}
}

// start runs a command that goes on, until the test ends or stop is called; stop gives its exit code.
func start(t *testing.T, args ...string) (out, log *buffer, stop func() int) {
	t.Helper()
	out, log = &buffer{}, &buffer{}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, args, &app{now: time.Now, in: strings.NewReader(""), out: out, err: log}) }()
	code, once := 0, sync.Once{}
	stop = func() int {
		once.Do(func() {
			cancel()
			select {
			case code = <-ended:
			case <-time.After(10 * time.Second):
				t.Errorf("stowage %s does not stop within 10 s", args[0])
				code = -1
			}
		})
		return code
	}
	t.Cleanup(func() { stop() })
	return out, log, stop
}

// until waits for a condition that another goroutine brings about.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
