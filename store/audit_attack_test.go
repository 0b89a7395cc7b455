package store

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// forger changes the audit log behind the portal's back, as somebody can who may write to the file of the database
// but has not got its key.
type forger struct {
	t  *testing.T
	db *DB
}

func (f forger) sql(statement string, args ...any) {
	f.t.Helper()
	if _, err := f.db.write.ExecContext(f.t.Context(), statement, args...); err != nil {
		f.t.Fatalf("%s: %v", statement, err)
	}
}

// anew computes the chain anew from a row on, over what the rows say now.
func (f forger) anew(from int64) {
	f.t.Helper()
	rows, err := collect(f.t.Context(), f.db.write, scanEntry, `SELECT `+entryColumns+` FROM audit ORDER BY id`)
	if err != nil {
		f.t.Fatal(err)
	}
	before := ""
	for _, e := range rows {
		if e.ID >= from {
			e.Hash = e.chained(before)
			f.sql(`UPDATE audit SET hash = $1 WHERE id = $2`, e.Hash, e.ID)
		}
		before = e.Hash
	}
}

// add puts a row with a proper hash at the end.
func (f forger) add() {
	f.t.Helper()
	rows, err := collect(f.t.Context(), f.db.write, scanEntry, `SELECT `+entryColumns+` FROM audit ORDER BY id DESC LIMIT 1`)
	if err != nil || len(rows) != 1 {
		f.t.Fatal(rows, err)
	}
	e := Entry{Actor: "engine", Action: "backup.evict", At: rows[0].At}
	f.sql(`INSERT INTO audit (id, at, actor, action, entity, entity_uid, hash) VALUES ($1, $2, $3, $4, '', '', $5)`,
		rows[0].ID+1, e.At.Unix(), e.Actor, e.Action, e.chained(rows[0].Hash))
}

// auditLength is how many rows the log has before it is tampered with.
const auditLength = 12

func TestTamperedAuditLogIsFound(t *testing.T) {
	t.Parallel()
	type tamper struct {
		name string
		row  int64  // where the break is named
		why  string // and how
		do   func(forger)
	}
	cases := []tamper{
		{"the first row removed", 1, "missing", func(f forger) { f.sql(`DELETE FROM audit WHERE id = 1`) }},
		{"a row in the middle removed", 6, "missing", func(f forger) { f.sql(`DELETE FROM audit WHERE id = 6`) }},
		{"several rows removed", 6, "the rows from there to 8", func(f forger) { f.sql(`DELETE FROM audit WHERE id BETWEEN 6 AND 8`) }},
		{"a row removed and the others moved up", 6, "changed, moved", func(f forger) {
			f.sql(`DELETE FROM audit WHERE id = 6`)
			for id := 7; id <= auditLength; id++ {
				f.sql(`UPDATE audit SET id = $1 WHERE id = $2`, id-1, id)
			}
		}},
		{"the last row removed", 12, "goes on to row 12", func(f forger) { f.sql(`DELETE FROM audit WHERE id = 12`) }},
		{"the last rows removed", 9, "goes on to row 12", func(f forger) { f.sql(`DELETE FROM audit WHERE id > 8`) }},
		{"all rows removed", 1, "goes on to row 12", func(f forger) { f.sql(`DELETE FROM audit`) }},
		{"the last rows removed, and the end set to fit", 8, "seal of its end is not ours", func(f forger) {
			f.sql(`DELETE FROM audit WHERE id > 8`)
			f.sql(`UPDATE audit_head SET row_id = 8, hash = (SELECT hash FROM audit WHERE id = 8)`)
		}},
		{"the last rows removed, and the end too", 8, "seal of its end is missing", func(f forger) {
			f.sql(`DELETE FROM audit WHERE id > 8`)
			f.sql(`DELETE FROM audit_head`)
		}},
		{"the last rows removed, and the end as if it were never sealed", 8, "seal of its end is not ours", func(f forger) {
			f.sql(`DELETE FROM audit WHERE id > 8`)
			f.sql(`UPDATE audit_head SET row_id = 8, hash = (SELECT hash FROM audit WHERE id = 8), seal = ''`)
		}},
		{"two rows swapped", 4, "changed, moved", func(f forger) {
			f.sql(`UPDATE audit SET id = 0 WHERE id = 4`)
			f.sql(`UPDATE audit SET id = 4 WHERE id = 5`)
			f.sql(`UPDATE audit SET id = 5 WHERE id = 0`)
		}},
		{"a row put in", 6, "changed, moved", func(f forger) {
			for id := auditLength; id >= 6; id-- {
				f.sql(`UPDATE audit SET id = $1 WHERE id = $2`, id+1, id)
			}
			f.sql(`INSERT INTO audit (id, at, actor, action, entity, entity_uid, hash) VALUES (6, 0, 'cli', 'x', '', '', 'x')`)
		}},
		{"a row added at the end", 13, "added by somebody else", forger.add},
		{"a row changed and the chain made anew", 12, "written anew", func(f forger) {
			f.sql(`UPDATE audit SET actor = 'engine' WHERE id = 5`)
			f.anew(5)
		}},
		{"a row removed and the chain made anew", 12, "goes on to row 12", func(f forger) {
			f.sql(`DELETE FROM audit WHERE id = 6`)
			for id := 7; id <= auditLength; id++ {
				f.sql(`UPDATE audit SET id = $1 WHERE id = $2`, id-1, id)
			}
			f.anew(6)
		}},
	}
	for _, column := range []string{"at", "actor", "address", "action", "entity", "entity_uid", "service_id", "before", "after", "hash"} {
		cases = append(cases, tamper{column + " of a row changed", 5, "changed", func(f forger) { f.sql(`UPDATE audit SET ` + column + ` = '7' WHERE id = 5`) }})
	}
	for _, k := range cases {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			db, _ := openPeople(t)
			ctx := t.Context()
			_, login := addAda(t, db)
			change := func() {
				zone := []string{"Asia/Tokyo", "Europe/Berlin"}
				for i := range auditLength - 2 {
					if err := db.SetZone(ctx, login.Actor(), login, zone[i%2]); err != nil {
						t.Fatal(err)
					}
				}
			}
			change()
			if found, err := db.FindAuditBreak(ctx); found != nil || err != nil {
				t.Fatalf("before: %+v, %v", found, err)
			}
			f := forger{t, db}
			f.sql(`DROP TRIGGER audit_no_update`)
			f.sql(`DROP TRIGGER audit_no_delete`)
			k.do(f)
			found, err := db.FindAuditBreak(ctx)
			if err != nil || found == nil || found.Row != k.row || !strings.Contains(found.Why, k.why) {
				t.Errorf("found %+v, %v; want row %d, %q", found, err, k.row, k.why)
			}
			if broken, err := db.VerifyAudit(ctx); err != nil || broken != k.row {
				t.Errorf("named row %d, %v; want %d", broken, err, k.row)
			}
			if _, broken, err := db.AuditTail(ctx, 500); err != nil || broken != k.row {
				t.Errorf("the page says row %d, %v; want %d", broken, err, k.row)
			}
			change() // who writes on must not cover it up
			if found, err = db.FindAuditBreak(ctx); err != nil || found == nil {
				t.Errorf("after the portal wrote on: %+v, %v", found, err)
			}
		})
	}
}

func TestAuditEndOutlivesRestartsAndCopies(t *testing.T) {
	t.Parallel()
	db, clock := openPeople(t)
	ctx := t.Context()
	_, login := addAda(t, db)
	copied := filepath.Join(t.TempDir(), "copy.db")
	if err := db.CopyTo(ctx, copied); err != nil {
		t.Fatal(err)
	}
	if err := db.SetZone(ctx, login.Actor(), login, "Asia/Tokyo"); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{db.Path(), copied} {
		again, err := Open(Options{Path: path, Keys: db.keys, Now: clock.now, NoSync: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := again.Ready(ctx); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if found, err := again.FindAuditBreak(ctx); found != nil || err != nil {
				t.Errorf("%s: %+v, %v", path, found, err)
			}
			if err := again.SetZone(ctx, login.Actor(), login, "Europe/Berlin"); err != nil {
				t.Fatal(err)
			}
		}
		if err := again.Close(); err != nil {
			t.Error(err)
		}
	}
	if found, err := db.FindAuditBreak(ctx); found != nil || err != nil {
		t.Errorf("with two writers: %+v, %v", found, err)
	}
}

// undo takes away what migrations since the seal have added and can't add twice.
var undo = []string{
	`DROP TABLE audit_head`,
	`ALTER TABLE services DROP COLUMN own`, `ALTER TABLE products DROP COLUMN safety_copy`, `ALTER TABLE products DROP COLUMN snapshot_memory`,
	`ALTER TABLE services DROP COLUMN addresses`, `ALTER TABLE services DROP COLUMN snapshots_at`, `ALTER TABLE services DROP COLUMN snapshots_why`,
	`ALTER TABLE services DROP COLUMN lock_looked_at`, `ALTER TABLE services DROP COLUMN lock_stale_at`, `ALTER TABLE services DROP COLUMN lock_task`,
	`DROP INDEX outbox_bundle`, `ALTER TABLE outbox DROP COLUMN bundle`, `ALTER TABLE logins DROP COLUMN mail_switches`,
	`DROP INDEX backups_unread`, `DROP INDEX backups_safety`, `ALTER TABLE backups DROP COLUMN contents`, `ALTER TABLE backups DROP COLUMN contents_due`, `ALTER TABLE backups DROP COLUMN contents_tries`,
	`DROP TABLE mails`, `DROP TABLE mail_reports`, `DROP TABLE forgotten`, `DROP TABLE password_resets`, `DROP TABLE devices`,
}

// TestUpgradeSealsTheAuditLog puts the schema back to the version before the seal, and brings it up again.
func TestUpgradeSealsTheAuditLog(t *testing.T) {
	t.Parallel()
	for _, rows := range []int{0, 5} {
		t.Run(fmt.Sprint(rows, " rows"), func(t *testing.T) {
			t.Parallel()
			old, clock := openPeople(t)
			ctx := t.Context()
			if rows > 0 {
				_, login := addAda(t, old)
				for range rows {
					if err := old.SetZone(ctx, login.Actor(), login, "Asia/Tokyo"); err != nil {
						t.Fatal(err)
					}
				}
			}
			f := forger{t, old}
			for _, statement := range undo {
				f.sql(statement)
			}
			f.sql(`DELETE FROM goose_db_version WHERE version_id >= $1`, auditHeadSince)
			db, err := Open(Options{Path: old.Path(), Keys: old.keys, Now: clock.now, NoSync: true})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := db.Close(); err != nil {
					t.Error(err)
				}
			}()
			if from, _, err := db.Migrate(ctx); err != nil || from != auditHeadSince-1 {
				t.Fatalf("from version %d, %v", from, err)
			}
			for range 2 {
				if err := db.Ready(ctx); err != nil {
					t.Fatal(err)
				}
			}
			if found, err := db.FindAuditBreak(ctx); found != nil || err != nil {
				t.Errorf("after the upgrade: %+v, %v", found, err)
			}
			var astray int
			if err := db.read.QueryRowContext(ctx, `SELECT count(*) FROM pragma_foreign_key_check`).Scan(&astray); err != nil || astray > 0 {
				t.Errorf("after the upgrade %d rows refer to nothing: %v", astray, err)
			}
			if _, err := db.AddStaff(ctx, "cli", "admin@demo.test", "", "admin", "hash"); err != nil {
				t.Fatal(err)
			}
			if found, err := db.FindAuditBreak(ctx); found != nil || err != nil {
				t.Errorf("after the first row: %+v, %v", found, err)
			}
		})
	}
}
