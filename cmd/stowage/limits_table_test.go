package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestLimitsTable: the table takes the place of the one before, and the rest of the file stays.
func TestLimitsTable(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "README.md")
	if err := os.WriteFile(file, []byte("before\n<!-- limits -->\nold\n<!-- /limits -->\nafter\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, measured := range []string{"7 s", "8 s"} {
		l := &limits{out: io.Discard}
		l.row("How long it takes until everything is done", "≤ 7 s", measured, measured == "7 s", "the ground")
		if err := l.publish(file); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	got := string(text)
	if !strings.HasPrefix(got, "before\n<!-- limits -->\n```\nLimits, measured on ") || !strings.HasSuffix(got, "\n```\n<!-- /limits -->\nafter\n") {
		t.Errorf("the file is now\n%s", got)
	}
	if strings.Contains(got, "7 s  ") && !strings.Contains(got, "8 s") || strings.Contains(got, "old") || strings.Count(got, "How long it takes") != 1 || !strings.Contains(got, "missed") {
		t.Errorf("the table is\n%s", got)
	}
	if err := os.WriteFile(file, []byte("nothing\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := new(limits).publish(file); err == nil {
		t.Error("a file without a place for the table takes it")
	}
}
