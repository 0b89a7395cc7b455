package main

import (
	"database/sql"
	"regexp"
	"strings"
	"testing"
)

// TestTerminalsOnlyShow puts terminal codes where Proxmox, a customer or the network could put them.
func TestTerminalsOnlyShow(t *testing.T) {
	t.Parallel()
	const codes = "a\x1b[2J\x1b]0;title\x07\x08\r\x7f\u009b31m\u202eb"
	b := newBench(t)
	b.connect(simulated(t))
	b.must("product", "add", "--name", "VPS", "--backups", "3", "--backup-storage", "local")
	b.must("client", "add", "--email", "ada@demo.test", "--name", "Ada", "--zone", "UTC")
	var s added
	b.answer(&s, "service", "add", "--client", "ada@demo.test", "--product", "VPS", "--server", "pve1", "--vmid", "100")
	b.askForBackup(s.UID)
	var list []operationJSON
	b.answer(&list, "operation", "list")
	raw, err := sql.Open("sqlite3", b.path("stowage.db"))
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{
		`UPDATE servers SET trouble = $1, unreachable_since = 1, release = $1`, `UPDATE services SET name = $1, node = $1`, `UPDATE clients SET name = $1`, `UPDATE products SET name = $1`,
		`UPDATE operations SET reason = $1, staff_reason = $1, warning = $1, node = $1, upid = '', note = $1`,
		`INSERT INTO task_logs (operation_id, upid, at, exit, log) SELECT id, $1, 1, $1, $1 FROM operations`,
		`INSERT INTO operation_steps (operation_id, at, step, what, text, staff) SELECT id, 1, 'dump', 'note', $1, $1 FROM operations`,
	} {
		if _, err := raw.Exec(statement, codes); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	if err := raw.Close(); err != nil {
		t.Fatal(err)
	}
	odd := regexp.MustCompile(`[\x00-\x09\x0b-\x1f\x7f\x{80}-\x{9f}\x{202a}-\x{202e}]`)
	for _, args := range [][]string{
		{"operation", "list"}, {"operation", "show", list[0].UID}, {"server", "list"}, {"service", "list"}, {"client", "list"}, {"product", "list"}, {"setting", "list"}, {"pause", "list"},
		{"operation", "show", codes}, {"server", "check", codes}, {"client", "passwd", codes}, {"setting", "set", "brand", codes}, {"service", "change-product", codes, "--product", codes},
		{codes}, {"serve", "--url", codes}, {"serve", "--trusted-proxies", codes}, {"doctor", "--offline"},
	} {
		r := b.run(args...)
		if found := odd.FindString(r.out + r.err); found != "" {
			t.Errorf("stowage %.60q prints %q: %.300q", args, found, r.out+r.err)
		}
		if args[0] == "operation" && args[1] == "list" && !strings.Contains(r.out, "a\ufffd[2J\ufffd]0;title") {
			t.Errorf("stowage %q shows something else: %q", args, r.out)
		}
	}
}
