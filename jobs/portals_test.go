package jobs_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestTwoPortals lets a second portal take over the database while the first is in the middle of something, at
// every second point (EVERYTHING=1: at each): the first goes on without knowing, as a process does that was only stopped for a while. Whatever
// it still sends or saves, nothing is made twice and nothing of the second's work is overwritten.
func TestTwoPortals(t *testing.T) {
	t.Parallel()
	for _, sc := range scenarios() {
		if sc.name != "before-2-of-2" && sc.name != "after-2-of-2" && sc.name != "delete" && sc.name != "restore-without-safety" {
			continue
		}
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			snap := sc.prepare(t)
			clean := snap.resume(t, sc)
			if err := clean.play(); err != nil {
				t.Fatal(err)
			}
			step := 2
			if everything() {
				step = 1
			}
			for at := 1; at <= clean.points; at += step {
				w := snap.resume(t, sc)
				second := w.second()
				w.atPoint = func(n int) {
					if n == at {
						w.atPoint = nil
						second.takeOver()
					}
				}
				w.overtaken = func() bool { return w.atPoint == nil }
				w.playUntilOvertaken()
				if err := second.play(); err != nil {
					t.Fatalf("taken over at point %d of %d: %v\n%s", at, clean.points, err, second.story())
				}
				second.close()
				w.close()
			}
		})
	}
}

// second is another portal on the same database and the same Proxmox VE.
func (w *world) second() *world {
	other := *w
	other.sc.do, other.calls, other.points = nil, nil, 0
	other.hook, other.wrap = nil, nil
	other.sc.end = w.sc.end
	other.manual = w.sc.do != nil
	return &other
}

// takeOver takes the lease and works for half a minute.
func (w *world) takeOver() {
	w.open()
	for range 5 {
		w.step()
		w.clock.set(w.clock.Now().Add(6 * time.Second))
	}
}

// playUntilOvertaken lets the first portal go on until the second has taken over and the turn in hand is done.
func (w *world) playUntilOvertaken() {
	if w.sc.do != nil {
		w.sc.do(w)
	}
	limit := w.clock.Now().Add(time.Hour)
	for !w.overtaken() && w.clock.Now().Before(limit) {
		_ = w.engine.Tick(context.Background())
		_, _ = w.engine.Drive(context.Background())
		_ = w.engine.MirrorNotes(context.Background())
		w.clock.set(nextTurn(w.operations(), w.clock.Now()))
	}
}

// TestOlderDatabase puts an older copy of the database back: what was made since is adopted by its marks, and
// nothing is deleted by itself until every storage was listed twice.
func TestOlderDatabase(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	w.every("03:00")
	w.run(3 * 24 * time.Hour)
	old := filepath.Join(w.dir, "old")
	if err := w.db.CopyTo(context.Background(), old); err != nil {
		t.Fatal(err)
	}
	w.run(2 * 24 * time.Hour)
	before := w.sim.Archives()
	if len(before) != 3 {
		t.Fatalf("%d archives, want 3\n%s", len(before), w.story())
	}
	if err := w.db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, end := range []string{"", "-wal", "-shm"} {
		_ = os.Remove(filepath.Join(w.dir, "db"+end))
	}
	copyFile(t, old, filepath.Join(w.dir, "db"))
	w.open()
	ctx := context.Background()
	if p, err := w.db.Pulse(ctx); err != nil || !p.Recovering {
		t.Fatalf("the portal does not know that its database is old: %+v, %v", p, err)
	}
	w.roundInRecovery()
	if err := w.engine.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	if err := w.engine.SyncArchives(ctx); err != nil {
		t.Fatal(err)
	}
	volids := map[string]bool{}
	for _, c := range w.complete() {
		volids[c.Volid] = true
	}
	for _, a := range before {
		if !volids[a.Volid] {
			t.Errorf("archive %s was not adopted\n%s", a.Volid, w.story())
		}
	}
	w.run(3 * 24 * time.Hour)
	if got := len(w.complete()); got != 3 {
		t.Errorf("%d copies three nights later, want 3\n%s", got, w.story())
	}
	if p, err := w.db.Pulse(ctx); err != nil || p.Recovering {
		t.Errorf("recovery has not ended: %+v, %v", p, err)
	}
	after := w.sim.Archives()
	if got := len(after); got != 3 {
		t.Errorf("%d archives three nights later, want 3", got)
	}
	for _, op := range w.operations() {
		if !op.State.Final() {
			t.Errorf("operation %s is %s", op.UID, op.State)
		}
	}
}

// roundInRecovery makes a round while recovery is on: it must delete nothing.
func (w *world) roundInRecovery() {
	n := len(w.sim.Archives())
	w.round()
	if got := len(w.sim.Archives()); got != n {
		w.t.Fatalf("%d archives after a round in recovery, there were %d", got, n)
	}
}
