package pvesim

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// reopen starts another simulator on the same folder, as after a crash.
func (l *lab) reopen(o Options) *lab {
	l.t.Helper()
	o.Now = l.clock.now
	s, err := New(World{}, o)
	if err != nil {
		l.t.Fatal(err)
	}
	return &lab{Sim: s, t: l.t, clock: l.clock}
}

func TestJournal(t *testing.T) {
	t.Parallel()
	o := Options{Journal: t.TempDir(), Seed: 3, Release: "8.4"}
	l := newLab(t, ContractWorld(2, 4), o)
	done := l.backup(101, "local", "notes-template", "kept")
	l.end(done)
	running, waiting := l.backup(100, "local", "bwlimit", 20000), l.backup(101, "local")
	l.wait(7 * time.Second)
	volid := l.Archives()[0].Volid
	l.call("PUT", "/nodes/pve1/storage/local/content/"+volid, "protected", 1)
	for _, err := range []error{
		l.Migrate(102, "pve1"), l.SetLock(103, "migrate"), l.SetPrivileges(PortalToken, "/", "VM.Audit"),
		l.SetBackupJobs(BackupJob{ID: "backup-1", Schedule: "daily", Storage: "local", All: true, PruneBackups: "keep-last=3"}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}

	// What time alone does is not written, and happens again.
	l.wait(20 * time.Second)
	again := l.reopen(o)
	same := func() {
		t.Helper()
		for name, pair := range map[string][2]any{
			"tasks":    {l.Tasks(), again.Tasks()},
			"archives": {l.Archives(), again.Archives()},
			"guests":   {l.Guests(), again.Guests()},
			"space":    {l.Storage("local"), again.Storage("local")},
			"tasks over the API": {
				l.get("/nodes/pve1/tasks", "source", "all").raw, again.get("/nodes/pve1/tasks", "source", "all").raw},
			"resources": {l.get("/cluster/resources").raw, again.get("/cluster/resources").raw},
			"rights":    {l.as(PortalToken).get("/access/permissions").raw, again.as(PortalToken).get("/access/permissions").raw},
			"jobs":      {l.get("/cluster/backup").raw, again.get("/cluster/backup").raw},
			"version":   {l.get("/version").raw, again.get("/version").raw},
		} {
			if d := cmp.Diff(pair[0], pair[1]); d != "" {
				t.Errorf("%s (-before +after):\n%s", name, d)
			}
		}
	}
	same()
	l.wait(2 * time.Minute)
	same()
	if a, b := again.taskOf(running), again.taskOf(waiting); a.Exit != "OK" || b.Exit != "OK" {
		t.Errorf("%q %q", a.Exit, b.Exit)
	}
	// A new task goes on where the old ones were.
	if upid := again.backup(100, "local"); upid == done || upid == running {
		t.Error("the same UPID twice")
	}
}

func TestJournalIsWrittenBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	o := Options{Journal: t.TempDir()}
	l := newLab(t, ContractWorld(1, 2), o)
	upid := l.backup(100, "local")
	if n := len(l.reopen(o).Tasks()); n != 1 {
		t.Fatalf("%d tasks on disk", n)
	}
	remove := l.Inject(Fault{Kind: LostAnswer, Method: "DELETE"})
	l.call("DELETE", "/nodes/pve1/tasks/"+upid)
	remove()
	if task := l.reopen(o).taskOf(upid); task.Exit != "interrupted by signal" {
		t.Errorf("an effect whose answer was lost is not on disk: %q", task.Exit)
	}
	files, err := os.ReadDir(o.Journal)
	if err != nil || len(files) != 1 {
		t.Errorf("%v %v", files, err)
	}

	// Nothing is answered that could not be written.
	if err := os.RemoveAll(o.Journal); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(o.Journal, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r := l.call("POST", "/nodes/pve1/vzdump", "vmid", 101, "storage", "local")
	if r.status != 500 || !strings.Contains(r.reason, "journal") {
		t.Errorf("%d %q", r.status, r.reason)
	}
}

func TestBrokenJournalIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, journalFile), []byte(`{"World":`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(ContractWorld(1, 2), Options{Now: time.Now, Journal: dir}); err == nil {
		t.Error("a torn file was taken for a world")
	}
}
