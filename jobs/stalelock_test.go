package jobs_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"stowage/pve/pvesim"
)

// TestStaleLock: a lock behind which no task stands any more is found after ten minutes, told to staff once with the
// command that releases it, and forgotten when it goes; one whose task runs is none.
func TestStaleLock(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	stale := func() bool {
		s, err := w.db.Service(context.Background(), w.service.ID)
		w.must(err)
		return !s.LockStaleAt.IsZero()
	}
	sync := func(d time.Duration) {
		for range int(d / time.Minute) {
			w.clock.set(w.clock.Now().Add(time.Minute))
			w.must(w.engine.Sync(context.Background()))
		}
	}
	upid, err := w.sim.StartForeignBackup("pve1", 100, "local", nil)
	w.must(err)
	w.clock.set(w.clock.Now().Add(time.Second))
	w.must(w.sim.KillTask(upid))
	w.must(w.sim.SetLock(100, "backup"))
	sync(9 * time.Minute)
	if stale() || w.told("staff", "lock.stale") != 0 {
		t.Fatal("told too early")
	}
	sync(14 * time.Minute)
	s, err := w.db.Service(context.Background(), w.service.ID)
	w.must(err)
	if s.LockStaleAt.IsZero() || !strings.Contains(s.LockTask, upid) {
		t.Fatalf("since %s, last task %q", s.LockStaleAt, s.LockTask)
	}
	sync(40 * time.Minute)
	if n := w.told("staff", "lock.stale"); n != 1 {
		t.Errorf("staff were told %d times", n)
	}
	if told := strings.Join(w.column(`SELECT payload FROM outbox WHERE topic = 'lock.stale'`), ""); !strings.Contains(told, "qm unlock 100") || !strings.Contains(told, upid) {
		t.Errorf("staff read %s", told)
	}
	w.must(w.sim.Unlock(100))
	sync(2 * time.Minute)
	if stale() {
		t.Error("a lock that is gone is still called stale")
	}
	w.must(w.sim.SetLock(100, "backup"))
	_, err = w.sim.StartForeignTask(pvesim.ForeignTask{Node: "pve1", Type: "qmigrate", ID: "100", For: 2 * time.Hour})
	w.must(err)
	sync(50 * time.Minute)
	if stale() {
		t.Error("a lock whose task runs is called stale")
	}
}
