package main

import (
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/mattn/go-sqlite3"
)

func TestNewDatabaseGetsAKeyThatOnlyItsOwnerReads(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, name := range []string{"stowage.db", "stowage.key"} {
		info, err := os.Stat(b.path(name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode().Perm(), err)
		}
	}
	before, err := os.ReadFile(b.path("stowage.key"))
	if err != nil {
		t.Fatal(err)
	}
	if text := b.must("migrate"); !strings.Contains(text, "up to date") {
		t.Errorf("a second migrate: %s", text)
	}
	after, err := os.ReadFile(b.path("stowage.key"))
	if err != nil || string(before) != string(after) {
		t.Errorf("the key changed (%v)", err)
	}
}

func TestDatabaseAndKeyBelongTogether(t *testing.T) {
	t.Parallel()
	b, other := newBench(t), newBench(t)
	for _, command := range [][]string{{"client", "list"}, {"migrate"}, {"serve", "--listen", "127.0.0.1:0"}} {
		b.run(append(command, "--key-file", other.path("stowage.key"))...).want(t, strings.Join(command, " ")+" with a wrong key", exitFailed, "does not belong to this database")
		b.run(append(command, "--key-file", b.path("nowhere"))...).want(t, strings.Join(command, " ")+" without the key", exitFailed, "is missing")
		b.run(append(command, "--key-file", b.write("garbage", "garbage"))...).want(t, strings.Join(command, " ")+" with garbage", exitFailed, "is not a key file")
	}
	if _, err := os.Stat(b.path("nowhere")); err == nil {
		t.Error("a key was made for an existing database")
	}
}

func TestCommandsDontMakeADatabaseByAccident(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := &bench{t: t, dir: dir}
	b.run("client", "list").want(t, "no database", exitFailed, "there is no database")
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	r := stowage(t, "", "migrate", "--database", filepath.Join(dir, "no", "such", "folder", "x.db"))
	r.want(t, "no folder", exitFailed, "no such file or directory")
}

func TestNewerDatabaseIsRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	raw, err := sql.Open("sqlite3", b.path("stowage.db"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := raw.Exec(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)`); err != nil {
		t.Fatal(err)
	}
	if err := raw.Close(); err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{{"serve", "--listen", "127.0.0.1:0"}, {"migrate"}, {"client", "list"}} {
		b.run(command...).want(t, command[0]+" on a newer database", exitFailed, "newer version of stowage")
	}
}

func TestBackupDB(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.must("staff", "add", "--email", "admin@demo.test", "--role", "admin")
	var copied struct {
		File  string
		Bytes int64
	}
	b.answer(&copied, "backup-db", b.path("copy.db"))
	info, err := os.Stat(copied.File)
	if err != nil || info.Size() != copied.Bytes || info.Mode().Perm() != 0o600 {
		t.Errorf("copy: %+v, %v, %v", copied, info, err)
	}
	r := stowage(t, "", "staff", "list", "--database", copied.File, "--key-file", b.path("stowage.key"))
	if r.code != exitDone || !strings.Contains(r.out, "admin@demo.test") {
		t.Errorf("the copy with the key: %+v", r)
	}
	b.run("backup-db", copied.File).want(t, "onto a file that exists", exitFailed, "exists already")
}

func TestDoctorFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var findings []finding
	b.answer(&findings, "doctor")
	all := ""
	for _, f := range findings {
		all += f.Level + ": " + f.Text + "\n"
		if f.Level != "ok" && f.Mend == "" {
			t.Errorf("no word on how to mend: %s", f.Text)
		}
	}
	for _, want := range []string{"warning: Nobody can sign in", "warning: No server is connected", "warning: There is no product", "warning: The scheduler", "ok: The database is whole", "ok: The audit log's chain is unbroken", "ok: The key file"} {
		if !strings.Contains(all, want) {
			t.Errorf("doctor does not say %q:\n%s", want, all)
		}
	}
	if err := os.Chmod(b.path("stowage.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	r := b.run("doctor")
	if r.code != exitFailed || !strings.Contains(r.out, "chmod 600") || !strings.Contains(r.err, "1 thing to mend") {
		t.Errorf("a key that others may read: %+v", r)
	}
	if err := os.Remove(b.path("stowage.key")); err != nil {
		t.Fatal(err)
	}
	if r := b.run("doctor"); r.code != exitFailed || !strings.Contains(r.out, "Put the key file back") {
		t.Errorf("no key: %+v", r)
	}
}
