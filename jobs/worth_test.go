package jobs_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"stowage/portal"
	"stowage/pve/pvesim"
)

// used sets how much data the machine's disk holds.
func (w *world) used(bytes int64) {
	w.t.Helper()
	w.must(w.sim.SetGuest(100, func(g *pvesim.Guest) { g.Disks[0].Used = bytes }))
}

// TestSuspect makes a copy of less than a tenth of the last: it counts, says so, is no good one to build on, and is
// one when a person finds it fine.
func TestSuspect(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{Product: func(p *portal.Product) { p.Quota = 2 }})
	w.make(1)
	good := w.complete()[0]
	w.used(20 << 20)
	op := w.backupNow("", "")
	w.settle(time.Hour)
	if got := w.operation(op.ID); got.State != portal.StateSucceeded || !strings.Contains(got.Reason.String(), "Much smaller than the last one") {
		t.Errorf("%s: %q", got.State, got.Reason)
	}
	w.wantCopies(2, 2)
	small := w.complete()[0]
	if small.Class != portal.ClassSuspect || !strings.HasPrefix(small.Reason.String(), "Much smaller than the last one") {
		t.Fatalf("%s: %q", small.Class, small.Reason)
	}
	if n := portal.Newest(portal.CopiesOf(w.copies())); n == nil || n.UID != good.UID {
		t.Errorf("the newest good copy is %+v", n)
	}
	// The night must not delete the only good one for it: the new one is made first, and the suspect one goes by age.
	w.every("03:00")
	w.until("11-21 03:00")
	if n := portal.Newest(portal.CopiesOf(w.copies())); n == nil || n.UID != good.UID {
		t.Errorf("after a night the newest good copy is %+v\n%s", n, w.story())
	}
	w.must(w.db.AcceptSuspect(context.Background(), w.client, w.service.UID, w.complete()[0].UID, "client:test"))
	if c := w.complete()[0]; c.Class != portal.ClassGood || c.Reason != "" {
		t.Errorf("accepted: %s %q", c.Class, c.Reason)
	}
}

// TestPartial backs up a machine whose disk is left out meanwhile: an archive without a disk is no backup.
func TestPartial(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{})
	w.make(2)
	op := w.backupNow("", "")
	w.waitFor(time.Minute, "the request", func() bool {
		if w.operation(op.ID).Step == portal.StepDump && len(w.changes("POST", "/vzdump")) == 2 {
			return true
		}
		return false
	})
	w.settle(time.Hour)
	w.must(w.sim.SetGuest(100, func(g *pvesim.Guest) { g.Disks[0].NoBackup = true }))
	op = w.backupNow("", w.oldest().UID)
	w.settle(time.Hour)
	got := w.operation(op.ID)
	if got.State != portal.StateFailed || got.Reason.String() != "Your machine has no disk that is included in backups, so there is nothing to back up." {
		t.Errorf("%s: %q", got.State, got.Reason)
	}
	w.wantCopies(3, 3)
}

// TestPartialAfterPreflight leaves the disk out between preflight and the request.
func TestPartialAfterPreflight(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{})
	w.make(3)
	w.every("03:00")
	w.until("11-21 01:59")
	w.clock.set(w.clock.Now().Add(time.Minute))
	w.round() // plans and checks
	w.waitFor(time.Minute, "the eviction", func() bool { return len(w.changes("DELETE", "/content/")) == 1 })
	w.must(w.sim.SetGuest(100, func(g *pvesim.Guest) { g.Disks[0].NoBackup = true }))
	w.until("11-21 03:30")
	w.wantSlot("11-21", portal.SlotFailed, "no disk")
	w.wantCopies(2, 3) // the torso isn't counted, and lies there
	partial := 0
	for _, c := range w.copies() {
		if c.Class == portal.ClassPartial {
			partial++
		}
	}
	if partial != 1 {
		t.Errorf("%d torsos\n%s", partial, w.story())
	}
	if n := len(w.changes("DELETE", "/content/")); n != 1 {
		t.Errorf("%d deletions for one night", n)
	}
}

// TestWarnings takes a backup with warnings for a good one, and says how many there were.
func TestWarnings(t *testing.T) {
	t.Parallel()
	w := scene(t, slow())
	w.inject(pvesim.Fault{Kind: pvesim.TaskKilled, Method: "POST", Path: `/vzdump$`, Count: 1, Share: 0.1})
	op := w.backupNow("", "")
	w.run(3 * time.Minute)
	w.must(w.sim.Unlock(100)) // the job inside the machine still runs, which the next one complains about
	op = w.operation(op.ID)
	w.settle(2 * time.Hour)
	if op.State == portal.StateFailed {
		op = w.backupNow("", "")
		w.settle(2 * time.Hour)
	}
	if got := w.operation(op.ID); got.State != portal.StateSucceeded {
		t.Fatalf("%s: %s\n%s", got.State, got.Reason, w.story())
	}
	c := w.complete()[0]
	if c.Class != portal.ClassGood || c.Reason.String() != "Complete, with 1 warning from your host." {
		t.Errorf("%s: %q", c.Class, c.Reason)
	}
}

// TestUnexpectedStatus takes the end that Proxmox doesn't know for what it was: the archive decides.
func TestUnexpectedStatus(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{})
	w.make(1)
	w.inject(pvesim.Fault{Kind: pvesim.UnexpectedStatus, Method: "POST", Path: `/vzdump$`, Count: 1})
	op := w.backupNow("", "")
	w.settle(time.Hour)
	if got := w.operation(op.ID); got.State != portal.StateSucceeded || got.Attempt != 0 {
		t.Errorf("%s after %d attempts: %s\n%s", got.State, got.Attempt, got.Reason, w.story())
	}
	w.wantCopies(2, 2)
	if c := w.complete()[0]; c.Class != portal.ClassGood {
		t.Errorf("%s: %s", c.Class, c.Reason)
	}
}

// TestFullStorage runs out of space in the middle: the attempts fail, what was there stays, and both sentences say
// why.
func TestFullStorage(t *testing.T) {
	t.Parallel()
	w := scene(t, vault(nil))
	w.make(2)
	w.every("03:00")
	w.until("11-21 01:59")
	w.clock.set(w.clock.Now().Add(time.Minute))
	w.round()
	w.waitFor(time.Minute, "preflight", func() bool { return w.last().Step == portal.StepDump })
	w.inject(pvesim.Fault{Kind: pvesim.StorageFull, Storage: "vault"})
	w.until("11-21 03:00")
	op := w.last()
	if op.State != portal.StateQueued || op.Attempt != 1 || !strings.Contains(w.story(), "The backup storage is full. It is tried again") {
		t.Errorf("%s after %d attempts, waits for %q\n%s", op.State, op.Attempt, op.WaitsFor, w.story())
	}
	if op.WaitsFor.String() != "there is not enough space on the backup storage. Our team has been told; your backups are untouched" {
		t.Errorf("waits for %q", op.WaitsFor)
	}
	w.wantCopies(2, 2)
	w.coarsely("11-21 08:30")
	w.wantSlot("11-21", portal.SlotFailed, "")
}

// TestAttempts fails four times and says after the last what is unharmed; mode stop fails twice.
func TestAttempts(t *testing.T) {
	t.Parallel()
	for mode, attempts := range map[string]int{"snapshot": 4, "stop": 2} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			w := scene(t, worldOptions{Product: func(p *portal.Product) { p.Mode = mode }})
			w.make(2)
			w.every("03:00")
			w.until("11-21 01:59")
			w.inject(pvesim.Fault{Kind: pvesim.TaskFails, Method: "POST", Path: `/vzdump$`, Share: 0.5, Line: "job failed with err -5 - Input/output error"})
			w.until("11-21 05:00")
			w.wantSlot("11-21", portal.SlotFailed, "Your host ended the backup with an error. Your other 2 backups are untouched.")
			if got := len(w.changes("POST", "/vzdump")) - 2; got != attempts {
				t.Errorf("%d attempts, want %d", got, attempts)
			}
			op := w.last()
			if op.State != portal.StateFailed || !strings.Contains(op.StaffReason, "Input/output error") {
				t.Errorf("%s: staff read %q", op.State, op.StaffReason)
			}
			for _, channel := range []string{"mail", "staff"} {
				if n := w.told(channel, "backup.failed"); n != 1 {
					t.Errorf("%s: told %d times", channel, n)
				}
			}
			w.wantCopies(2, 2)
			if n := len(w.column(`SELECT id FROM backups WHERE class = 'running'`)); n != 0 {
				t.Errorf("%d copies are shown as being made", n)
			}
		})
	}
}

// TestSuspectNights lets a machine shrink for good: each night's copy is much smaller than the last good one. None
// of the good ones needed goes, and they don't pile up.
func TestSuspectNights(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		policy      portal.Policy
		quota, most int
	}{{overlap, 1, 2}, {after, 3, 4}, {overlap, 3, 3}} {
		w := scene(t, worldOptions{Product: func(p *portal.Product) { p.Quota, p.Policy = c.quota, c.policy }})
		w.make(c.quota)
		good := w.complete()[0]
		w.used(20 << 20)
		w.every("03:00")
		w.until("11-27 12:00")
		if got := len(w.sim.Archives()); got != c.most {
			t.Errorf("%+v: %d archives after a week, want %d", c, got, c.most)
		}
		if n := portal.Newest(portal.CopiesOf(w.copies())); n == nil || n.UID != good.UID {
			t.Errorf("%+v: the newest good copy is %+v", c, n)
		}
	}
}
