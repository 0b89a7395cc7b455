package main

import (
	"database/sql"
	"strings"
	"testing"
)

// TestDoctorNamesATamperedAuditLog lets somebody with the file of the database, and without its key, cover up.
func TestDoctorNamesATamperedAuditLog(t *testing.T) {
	t.Parallel()
	for name, k := range map[string]struct{ sql, says string }{
		"changed":   {`UPDATE audit SET after = 'reader' WHERE id = 3`, "breaks at row 3: it was changed"},
		"removed":   {`DELETE FROM audit WHERE id = 2`, "breaks at row 2: it is missing"},
		"put in":    {`UPDATE audit SET id = id + 100 WHERE id > 2; UPDATE audit SET id = id - 99 WHERE id > 100; INSERT INTO audit (id, at, actor, action, entity, entity_uid, hash) VALUES (3, 0, 'cli', 'x', '', '', 'x')`, "breaks at row 3: it was changed, moved or put in"},
		"reordered": {`UPDATE audit SET id = 0 WHERE id = 2; UPDATE audit SET id = 2 WHERE id = 3; UPDATE audit SET id = 3 WHERE id = 0`, "breaks at row 2: it was changed, moved"},
		"cut off":   {`DELETE FROM audit WHERE id > 3`, "breaks at row 4: the log goes on to row"},
		"emptied":   {`DELETE FROM audit; DELETE FROM audit_head; INSERT INTO audit_head (id, row_id, hash, seal) VALUES (1, 0, '', '')`, "breaks at row 0: the log ends here, but the seal"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			for _, email := range []string{"a@demo.test", "b@demo.test", "c@demo.test"} {
				b.must("client", "add", "--email", email, "--name", "A", "--zone", "UTC", "--password-file", b.write("password", "a password from a file\n"))
			}
			if out := b.must("doctor"); !strings.Contains(out, "The audit log's chain is unbroken.") {
				t.Fatalf("before: %s", out)
			}
			raw, err := sql.Open("sqlite3", b.path("stowage.db"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := raw.Exec(`DROP TRIGGER audit_no_update; DROP TRIGGER audit_no_delete; ` + k.sql); err != nil {
				t.Fatal(err)
			}
			if err := raw.Close(); err != nil {
				t.Fatal(err)
			}
			r := b.run("doctor")
			if r.code != exitFailed || !strings.Contains(r.out, k.says) || !strings.Contains(r.out, "Compare with an older copy") {
				t.Errorf("doctor: %d, %s", r.code, r.out)
			}
			b.must("client", "passwd", "a@demo.test", "--password-file", b.write("password", "another one from a file\n"))
			if r := b.run("doctor"); r.code != exitFailed || !strings.Contains(r.out, "chain breaks at row") {
				t.Errorf("doctor, after somebody went on: %d, %s", r.code, r.out)
			}
		})
	}
}
