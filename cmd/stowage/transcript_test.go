package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// said is one command of a transcript and what it prints.
type said struct {
	command string
	prints  string
}

// transcript reads the fenced block of a console under a heading: commands after "$ ", below each what it prints.
func transcript(t *testing.T, text, heading string) (all []said) {
	t.Helper()
	_, text, found := strings.Cut(text, "\n## "+heading+"\n")
	_, text, fenced := strings.Cut(text, "\n```console\n")
	text, _, closed := strings.Cut(text, "\n```\n")
	if !found || !fenced || !closed {
		t.Fatalf("README.md has no transcript under %q", heading)
	}
	for line := range strings.Lines(text + "\n") {
		command, is := strings.CutPrefix(line, "$ ")
		switch {
		case is:
			all = append(all, said{command: command})
		case len(all) == 0:
			t.Fatalf("the transcript begins with %q", line)
		default:
			all[len(all)-1].prints += line
		}
	}
	return all
}

// differs is what is another one each time.
var differs = []struct {
	of *regexp.Regexp
	is string
}{
	{regexp.MustCompile(`\b[0-9a-z]{26}\b`), "UID"},
	{regexp.MustCompile(`\b[0-9A-F]{2}(:[0-9A-F]{2}){31}\b`), "FINGERPRINT"},
	{regexp.MustCompile(`\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`), "TIME"},
	{regexp.MustCompile(`(?m)^[0-9A-Z]{3}-[0-9A-Z]{3}\b`), "REFERENCE"},
	{regexp.MustCompile(`(?m)\b[0-9a-z]{4}(-[0-9a-z]{4}){3}$`), "PASSWORD"},
	{regexp.MustCompile(`\b[0-9.]+ [GT]iB are free`), "ROOM are free"},
	{regexp.MustCompile(` +`), " "}, // columns are as wide as what is in them
}

func alike(text string) string {
	for _, d := range differs {
		text = d.of.ReplaceAllString(text, d.is)
	}
	return strings.TrimSpace(text)
}

// TestReadmeTranscript does what the README shows, command by command, and wants what it shows.
func TestReadmeTranscript(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"bash", "curl", "awk"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("the README's transcript needs %s: %v", tool, err)
		}
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	ports := strings.NewReplacer("127.0.0.1:8006", freeAddress(t), "127.0.0.1:8080", freeAddress(t))
	commands := transcript(t, ports.Replace(string(readme)), "From nothing to a first backup")
	out := shell(t, commands)
	for i, c := range commands {
		printed, rest, ok := strings.Cut(out, fmt.Sprintf("\n--- %d: ", i))
		status, after, _ := strings.Cut(rest, "\n")
		out = after
		switch {
		case !ok:
			t.Fatalf("%sdoes not come to an end: %s", c.command, printed)
		case status != "0":
			t.Fatalf("%sends with %s: %s", c.command, status, printed)
		}
		if diff := cmp.Diff(alike(c.prints), alike(printed)); diff != "" {
			t.Errorf("%sprints something else (-README +here):\n%s", c.command, diff)
		}
	}
}

// shell runs the commands in one bash, each followed by a line with its number and how it ended. What they leave
// running ends with them.
func shell(t *testing.T, commands []said) string {
	t.Helper()
	var script strings.Builder
	for i, c := range commands {
		fmt.Fprintf(&script, "%sprintf '\\n--- %%d: %%d\\n' %d $?\n", c.command, i)
	}
	var out bytes.Buffer
	cmd := exec.Command("bash", "-u")
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(standInPath(t))+":"+os.Getenv("PATH"), newFast(10).variable())
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(script.String()), &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	group := -cmd.Process.Pid
	bound := time.AfterFunc(90*time.Second, func() { _ = syscall.Kill(group, syscall.SIGKILL) })
	defer bound.Stop()
	t.Cleanup(func() { _ = syscall.Kill(group, syscall.SIGKILL) })
	if err := cmd.Wait(); err != nil {
		t.Errorf("bash: %v", err)
	}
	return out.String()
}

// freeAddress gives an address that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
