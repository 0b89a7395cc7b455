package jobs_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"stowage/portal"
	"stowage/pve/pvesim"
)

// cancel wants an operation to end, as the client does.
func (w *world) cancel(op portal.Operation) error {
	_, err := w.db.RequestCancel(context.Background(), w.client, w.service.UID, op.UID, "client:test")
	return err
}

// wantCancelled holds the end of a cancelled backup: the sentence, the machine free, nothing shown as being made.
func (w *world) wantCancelled(id int64, sentence string) {
	w.t.Helper()
	op := w.operation(id)
	if op.State != portal.StateCancelled || op.Reason.String() != sentence {
		w.t.Fatalf("%s: %q, want %q\n%s", op.State, op.Reason, sentence, w.story())
	}
	if lock := w.sim.Guests()[0].Lock; lock != "" {
		w.t.Errorf("the machine is locked: %s", lock)
	}
	if n := len(w.column(`SELECT id FROM backups WHERE class = 'running'`)); n != 0 {
		w.t.Errorf("%d copies are shown as being made", n)
	}
	if err := w.cancel(op); portal.CodeOf(err) != portal.CodeConflict {
		w.t.Errorf("cancelled twice: %v", err)
	}
}

// TestCancelQueued ends what waits at once; others' operations can't be found.
func TestCancelQueued(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{})
	w.must(w.sim.SetLock(100, "snapshot"))
	w.every("03:00")
	w.until("11-21 02:10")
	op := w.last()
	if _, err := w.db.RequestCancel(context.Background(), w.newClient("Bob"), w.service.UID, op.UID, "client:bob"); portal.CodeOf(err) != portal.CodeNotFound {
		t.Errorf("Bob cancels Ada's: %v", err)
	}
	w.must(w.cancel(op))
	w.must(w.sim.Unlock(100))
	w.wantCancelled(op.ID, "Cancelled before it began.")
	w.wantSlot("11-21", portal.SlotSkipped, "cancelled")
	w.until("11-21 12:00")
	if len(w.sim.Calls()) != 0 {
		t.Errorf("sent: %+v", w.sim.Calls())
	}
}

// TestCancelBetweenAttempts ends what waits for its next attempt.
func TestCancelBetweenAttempts(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{})
	w.inject(pvesim.Fault{Kind: pvesim.TaskFails, Method: "POST", Path: `/vzdump$`, Share: 0.5})
	op := w.backupNow("", "")
	w.waitFor(5*time.Minute, "a failed attempt", func() bool { o := w.operation(op.ID); return o.Attempt == 1 && o.State == portal.StateQueued })
	w.must(w.cancel(op))
	w.run(time.Hour)
	if got := w.operation(op.ID); got.State != portal.StateCancelled {
		t.Fatalf("%s", got.State)
	}
	if n := len(w.column(`SELECT id FROM backups WHERE class = 'running'`)); n != 0 {
		t.Errorf("%d copies are shown as being made", n)
	}
	if n := len(w.changes("POST", "/vzdump")); n != 1 {
		t.Errorf("%d attempts", n)
	}
	w.wantCopies(0, 0)
}

// TestCancelRunning stops the running backup on the host, once; its lock and its torso go, the others stay.
func TestCancelRunning(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]*pvesim.Fault{
		"answered":     nil,
		"answer lost":  {Kind: pvesim.LostAnswer, Method: "DELETE", Path: `/tasks/`, Count: 1},
		"request lost": {Kind: pvesim.LostRequest, Method: "DELETE", Path: `/tasks/`, Count: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := scene(t, slow())
			w.make(1)
			op := w.backupNow("", "")
			w.waitFor(5*time.Minute, "a running backup", func() bool { return w.operation(op.ID).Percent > 0 })
			if f != nil {
				w.inject(*f)
			}
			w.must(w.cancel(op))
			w.settle(5 * time.Minute)
			w.wantCancelled(op.ID, "Cancelled. Your other backups are untouched.")
			w.wantCopies(1, 1)
			want := 1
			if name == "request lost" {
				want = 2
			}
			if n := len(w.changes("DELETE", "/tasks/")); n != want {
				t.Errorf("told to stop %d times, want %d", n, want)
			}
			if n := len(w.column(`SELECT id FROM audit WHERE action = 'pve.stop_task' AND actor = 'client:test'`)); n != want {
				t.Errorf("%d audit rows about it", n)
			}
		})
	}
}

// TestCancelWaiting stops a backup whose task still waits for the host's lock.
func TestCancelWaiting(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{})
	op := w.backupNow("", "")
	w.waitFor(time.Minute, "preflight", func() bool { return w.operation(op.ID).Step == portal.StepDump })
	foreign, err := w.sim.StartForeignBackup("pve1", 101, "local", map[string]string{"remove": "0", "bwlimit": "8"})
	w.must(err)
	w.waitFor(time.Minute, "a waiting task", func() bool { return w.operation(op.ID).WaitsFor.String() == "another backup runs on your host" })
	w.must(w.cancel(op))
	w.settle(5 * time.Minute)
	w.wantCancelled(op.ID, "Cancelled. Your other backups are untouched.")
	for _, task := range w.sim.Tasks() {
		if task.UPID == foreign && !task.Running() {
			t.Error("the provider's backup was stopped")
		}
	}
}

// TestCancelUnanswered cancels while it isn't known yet whether the request arrived: it is found, and stopped.
func TestCancelUnanswered(t *testing.T) {
	t.Parallel()
	w := scene(t, slow())
	w.inject(pvesim.Fault{Kind: pvesim.LostAnswer, Method: "POST", Path: `/vzdump$`, Count: 1})
	op := w.backupNow("", "")
	w.waitFor(time.Minute, "the request", func() bool { return len(w.changes("POST", "/vzdump")) == 1 })
	w.must(w.cancel(op))
	w.settle(10 * time.Minute)
	w.wantCancelled(op.ID, "Cancelled. Your other backups are untouched.")
	w.wantCopies(0, 0)
}

// TestCancelAfterEvict says that the oldest is gone already.
func TestCancelAfterEvict(t *testing.T) {
	t.Parallel()
	const sentence = "Cancelled. The oldest backup had been removed already to make room; your others are untouched."
	w := scene(t, slow())
	w.make(3)
	w.every("03:00")
	w.until("11-21 01:59")
	w.waitFor(10*time.Minute, "a running backup", func() bool { return w.last().State == portal.StateRunning && w.last().Percent > 0 })
	op := w.last()
	w.must(w.cancel(op))
	w.settle(5 * time.Minute)
	w.wantCancelled(op.ID, sentence)
	w.wantSlot("11-21", portal.SlotSkipped, "Cancelled")
	w.wantCopies(2, 2)
}

// TestCancelWhileEvicting sees the removal to its end and begins no backup.
func TestCancelWhileEvicting(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{})
	w.make(3)
	w.every("03:00")
	w.until("11-21 01:59")
	w.clock.set(w.clock.Now().Add(time.Minute))
	for range 5 { // without any time passing the deletion's task is under way
		w.round()
	}
	op := w.last()
	if op.Step != portal.StepEvict || op.UPID == "" {
		t.Fatalf("step %s, task %q\n%s", op.Step, op.UPID, w.story())
	}
	w.must(w.cancel(op))
	w.settle(5 * time.Minute)
	w.wantCancelled(op.ID, "Cancelled. The oldest backup had been removed already to make room; your others are untouched.")
	w.wantCopies(2, 2)
	if got := w.order(); got != "dump dump dump delete" {
		t.Errorf("sent %q", got)
	}
}

// TestCancelQueuedAfterEvict says so as well where the backup went back into the queue after the removal.
func TestCancelQueuedAfterEvict(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{})
	w.make(3)
	w.every("03:00")
	w.until("11-21 01:59")
	w.inject(pvesim.Fault{Kind: pvesim.TaskFails, Method: "POST", Path: `/vzdump$`, Share: 0.5})
	w.waitFor(5*time.Minute, "a failed attempt", func() bool { return w.last().Attempt == 1 && w.last().State == portal.StateQueued })
	op := w.last()
	w.must(w.cancel(op))
	if got := w.operation(op.ID); !strings.Contains(got.Reason.String(), "had been removed already") {
		t.Errorf("%s: %q", got.State, got.Reason)
	}
	w.wantCopies(2, 2)
}

// TestCancelTooLate refuses where the copy is made and only the room after it is left.
func TestCancelTooLate(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{Product: func(p *portal.Product) { p.Quota, p.Policy.Eviction = 1, portal.EvictAfter }})
	w.make(1)
	op := w.backupNow("", w.oldest().UID)
	w.waitFor(5*time.Minute, "the copy", func() bool { return w.operation(op.ID).Step == portal.StepEvict })
	if err := w.cancel(op); portal.CodeOf(err) != portal.CodeConflict || !strings.Contains(err.Error(), "made already") {
		t.Errorf("refused with %v", err)
	}
	w.settle(5 * time.Minute)
	w.wantCopies(1, 1)
}
