package jobs_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"stowage/portal"
	"stowage/pve/pvesim"
)

// TestMovedBeforePreflight moves the machine to the other host at the very moment in which preflight asks for it:
// it is followed, and nothing is counted against it.
func TestMovedBeforePreflight(t *testing.T) {
	t.Parallel()
	w := scene(t, twoNodes(worldOptions{}))
	w.every("03:00")
	w.until("11-21 01:59")
	w.inject(pvesim.Fault{Kind: pvesim.MigrateNow, Method: "GET", Path: `/qemu/100/config$`, Count: 1, To: "pve2"})
	w.until("11-21 02:30")
	w.wantSlot("11-21", portal.SlotDone, "")
	w.wantCopies(1, 1)
	if a := w.sim.Archives()[0]; a.Node != "pve2" || w.complete()[0].Node != "pve2" {
		t.Errorf("the archive lies on %s, its row says %s", a.Node, w.complete()[0].Node)
	}
	op := w.last()
	if op.Attempt != 0 || op.Node != "pve2" || len(w.changes("POST", "/vzdump")) != 1 {
		t.Errorf("attempts %d, node %s, %d requests", op.Attempt, op.Node, len(w.changes("POST", "/vzdump")))
	}
	if !strings.Contains(w.story(), "moved from pve1 to pve2") {
		t.Errorf("staff can't see the move:\n%s", w.story())
	}
}

// TestMovedBeforeDump moves the machine between preflight and the request: Proxmox answers OK and does nothing.
func TestMovedBeforeDump(t *testing.T) {
	t.Parallel()
	for _, manual := range []bool{false, true} {
		w := scene(t, twoNodes(worldOptions{}))
		w.inject(pvesim.Fault{Kind: pvesim.MigrateNow, Method: "POST", Path: `/vzdump$`, Count: 1, To: "pve2"})
		if manual {
			w.backupNow("", "")
			w.settle(time.Hour)
		} else {
			w.every("03:00")
			w.until("11-21 02:30")
			w.wantSlot("11-21", portal.SlotDone, "")
		}
		w.wantCopies(1, 1)
		calls := w.changes("POST", "/vzdump")
		if len(calls) != 2 || calls[0].UPID != "" || !strings.Contains(calls[1].Path, "/pve2/") {
			t.Errorf("requests %+v", calls)
		}
		if op := w.last(); op.State != portal.StateSucceeded || op.Attempt != 0 {
			t.Errorf("ended %s after %d attempts: %s", op.State, op.Attempt, op.Reason)
		}
	}
}

// TestMovedCopiesStay leaves the copies on the old host's own storage: they count, and one after the other makes
// room, asked for where it lies.
func TestMovedCopiesStay(t *testing.T) {
	t.Parallel()
	w := scene(t, twoNodes(worldOptions{}))
	w.make(3)
	old := volids(w.sim.Archives())
	w.must(w.sim.Migrate(100, "pve2"))
	w.every("03:00")
	for night, date := range []string{"11-21", "11-22", "11-23", "11-24"} {
		w.until(date + " 03:00")
		w.wantSlot(date, portal.SlotDone, "")
		w.wantCopies(3, 3)
		gone := w.changes("DELETE", "/content/")
		if len(gone) != night+1 {
			t.Fatalf("night %d: %d deletions\n%s", night+1, len(gone), w.story())
		}
		want := "/nodes/pve1/"
		if night == 3 {
			want = "/nodes/pve2/"
		}
		if path := gone[night].Path; !strings.HasPrefix(path, want) || night < 3 && !strings.HasSuffix(path, old[night]) {
			t.Fatalf("night %d deleted %s", night+1, path)
		}
	}
	for _, c := range w.complete() {
		if c.Node != "pve2" {
			t.Errorf("copy on %s", c.Node)
		}
	}
	for _, b := range w.copies() {
		if b.Class == portal.ClassMissing {
			t.Errorf("a copy is believed missing: %+v", b)
		}
	}
}

// TestMovedOldHostDown takes the old host away, on which all copies lie. While there is no free place the backup
// waits, holds up nobody else on the new host, and is made when the old host is back.
func TestMovedOldHostDown(t *testing.T) {
	t.Parallel()
	w := scene(t, twoNodes(worldOptions{}))
	w.make(3)
	w.must(w.sim.Migrate(100, "pve2"))
	other := w.another(w.newClient("Bob"), 102)
	w.every("03:00")
	w.until("11-21 01:30")
	up := w.inject(pvesim.Fault{Kind: pvesim.NodeDown, Node: "pve1"})
	w.until("11-21 02:05")
	op := w.last()
	if op.WaitsFor == "" || op.Attempt != 0 || op.StaffReason == "" {
		t.Errorf("waits for %q, staff %q, attempts %d\n%s", op.WaitsFor, op.StaffReason, op.Attempt, w.story())
	}
	if n := len(w.changes("DELETE", "")); n != 0 {
		t.Errorf("%d deletions sent to a host that is down", n)
	}
	made := other.backupNow("", "")
	other.settle(time.Hour)
	if got := other.operation(made.ID); got.State != portal.StateSucceeded {
		t.Fatalf("another machine's backup on the new host: %s, waits for %s\n%s", got.State, got.WaitsFor, other.story())
	}
	w.until("11-21 04:00")
	w.wantCopies(3, 4)
	up()
	w.until("11-21 05:00")
	w.wantSlot("11-21", portal.SlotLate, "")
	w.wantCopies(3, 4)
}

// TestMovedOldHostDownLate takes the old host away after preflight was content.
func TestMovedOldHostDownLate(t *testing.T) {
	t.Parallel()
	w := scene(t, twoNodes(worldOptions{}))
	w.make(3)
	w.must(w.sim.Migrate(100, "pve2"))
	w.every("03:00")
	w.until("11-21 01:59")
	w.waitFor(5*time.Minute, "the step", func() bool { return w.last().Step == portal.StepEvict })
	up := w.inject(pvesim.Fault{Kind: pvesim.NodeDown, Node: "pve1"})
	w.until("11-21 02:30")
	if n := len(w.changes("DELETE", "")); n != 0 {
		t.Errorf("%d deletions sent to a host that is down", n)
	}
	if op := w.last(); op.State != portal.StateQueued || op.Attempt != 0 {
		t.Errorf("%s after %d attempts", op.State, op.Attempt)
	}
	up()
	w.until("11-21 03:30")
	w.wantSlot("11-21", portal.SlotLate, "")
	w.wantCopies(3, 3)
}

// TestMovedOldHostDownFreePlace needs nothing of the old host: there is a free place.
func TestMovedOldHostDownFreePlace(t *testing.T) {
	t.Parallel()
	w := scene(t, twoNodes(worldOptions{}))
	w.make(2)
	w.must(w.sim.Migrate(100, "pve2"))
	w.every("03:00")
	w.run(time.Minute)
	w.inject(pvesim.Fault{Kind: pvesim.NodeDown, Node: "pve1"})
	w.until("11-21 03:00")
	w.wantSlot("11-21", portal.SlotDone, "")
	w.wantCopies(3, 3)
}

// TestMovedShared finds the copies of a shared storage through any host, the old one being down.
func TestMovedShared(t *testing.T) {
	t.Parallel()
	w := scene(t, twoNodes(worldOptions{Product: func(p *portal.Product) { p.Storage = "shared" }}))
	w.make(3)
	w.must(w.sim.Migrate(100, "pve2"))
	w.every("03:00")
	w.run(time.Minute)
	w.inject(pvesim.Fault{Kind: pvesim.NodeDown, Node: "pve1"})
	w.until("11-21 03:00")
	w.wantSlot("11-21", portal.SlotDone, "")
	w.wantCopies(3, 3)
	if gone := w.changes("DELETE", "/content/"); len(gone) != 1 || !strings.HasPrefix(gone[0].Path, "/nodes/pve2/") {
		t.Errorf("deletions %+v", gone)
	}
}

// TestMovedRemoveByHand removes a copy that lies on the old host, and one whose machine's host is down.
func TestMovedRemoveByHand(t *testing.T) {
	t.Parallel()
	w := scene(t, twoNodes(worldOptions{}))
	w.make(2)
	w.must(w.sim.Migrate(100, "pve2"))
	w.run(time.Minute)
	remove := func() portal.Operation {
		op, err := w.db.Enqueue(context.Background(), w.client, w.service.UID, portal.RemoveBackup("client:test", w.oldest().UID))
		if err != nil {
			t.Fatal(err)
		}
		w.settle(time.Hour)
		return w.operation(op.ID)
	}
	if op := remove(); op.State != portal.StateSucceeded {
		t.Fatalf("%s: %s\n%s", op.State, op.Reason, w.story())
	}
	w.wantCopies(1, 1)
	w.inject(pvesim.Fault{Kind: pvesim.NodeDown, Node: "pve2"})
	w.run(time.Minute)
	if op := remove(); op.State != portal.StateSucceeded {
		t.Fatalf("with the machine's host down: %s: %s, waits for %s\n%s", op.State, op.Reason, op.WaitsFor, w.story())
	}
	w.wantCopies(0, 0)
}
