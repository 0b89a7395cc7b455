package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What is to be killed needs a process of its own. This test's binary, started under the name stowage, is stowage.
func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case "stowage":
		os.Exit(standIn())
	case "hello":
		os.Exit(sayHello())
	case "worlds":
		os.Exit(playWorlds())
	}
	moreAtOnce()
	os.Exit(m.Run())
}

// moreAtOnce lets more tests run side by side than there are processors, unless -parallel says how many: most of the time
// they wait for processes that start, that are killed, or whose clocks go on.
func moreAtOnce() {
	flag.Parse()
	said := false
	flag.Visit(func(f *flag.Flag) { said = said || f.Name == "test.parallel" })
	if !said {
		_ = flag.Set("test.parallel", strconv.Itoa(2*runtime.GOMAXPROCS(0)))
	}
}

// standInLasts bounds a process that its test has lost.
const standInLasts = 10 * time.Minute

// clockVariable holds the clock of stand-ins: when it began and how fast it goes.
const clockVariable = "STOWAGE_TEST_CLOCK"

// standIn does what main does, with the clock that the environment names.
func standIn() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, standInLasts)
	defer cancel()
	go endWithParent()
	now := time.Now
	if text := os.Getenv(clockVariable); text != "" {
		c, err := readFast(text)
		if err != nil {
			fmt.Fprintln(os.Stderr, "stowage:", err)
			return exitUsage
		}
		now = c.now
	}
	return run(ctx, os.Args[1:], &app{ctx: ctx, now: now, in: os.Stdin, out: os.Stdout, err: os.Stderr})
}

// endWithParent ends a stand-in whose test, or whose shell, has gone without ending it.
func endWithParent() {
	for parent := os.Getppid(); os.Getppid() == parent; {
		time.Sleep(time.Second)
	}
	os.Exit(exitFailed)
}

// fast is a clock that goes faster, the same in all processes: what the portal waits for takes minutes.
type fast struct {
	began time.Time
	rate  int
}

func (c fast) now() time.Time {
	return c.began.Add(time.Since(c.began) * time.Duration(c.rate))
}

// variable gives the clock to a process.
func (c fast) variable() string {
	return fmt.Sprintf("%s=%d x%d", clockVariable, c.began.UnixNano(), c.rate)
}

func readFast(text string) (fast, error) {
	var nano int64
	var rate int
	if _, err := fmt.Sscanf(text, "%d x%d", &nano, &rate); err != nil {
		return fast{}, fmt.Errorf("%s: %w", clockVariable, err)
	}
	return fast{time.Unix(0, nano), rate}, nil
}

// newFast begins a clock. It carries no monotonic reading, so that it reads alike in every process.
func newFast(rate int) fast { return fast{time.Unix(0, time.Now().UnixNano()), rate} }

// standInPath gives the path at which this test's binary is called stowage.
func standInPath(t *testing.T) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "stowage")
	if err := os.Symlink(exe, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// program is a stowage in a process of its own.
type program struct {
	t        *testing.T
	cmd      *exec.Cmd
	out, log buffer
	began    time.Time
	gone     bool
}

func launch(t *testing.T, path string, clock fast, args ...string) *program {
	t.Helper()
	p := &program{t: t, cmd: exec.Command(path, args...), began: time.Now()}
	p.cmd.Env = append(os.Environ(), clock.variable())
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	return p
}

// kill is kill -9, of this process alone.
func (p *program) kill() {
	if p.gone {
		return
	}
	p.gone = true
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait() // killed
}

// end asks the process to stop, and wants it to do so well.
func (p *program) end() {
	p.t.Helper()
	p.gone = true
	began := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	killer := time.AfterFunc(15*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer killer.Stop()
	if err := p.cmd.Wait(); err != nil || time.Since(began) > 10*time.Second {
		p.t.Errorf("%s ended after %s: %v\n%s", p.cmd.Args[1], time.Since(began), err, p.log.String())
	}
}

// says waits for a line that the pattern matches, and gives its first group.
func (p *program) says(from *buffer, pattern string) (found string) {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	until(p.t, p.cmd.Args[1]+" to say "+pattern, func() bool {
		if text := p.log.String(); strings.Contains(text, "stowage: ") {
			p.t.Fatalf("%s has ended: %s", p.cmd.Args[1], text)
		}
		m := re.FindStringSubmatch(from.String())
		if m != nil {
			found = m[1]
		}
		return m != nil
	})
	return found
}
