package jobs_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"stowage/jobs"
	"stowage/portal"
	"stowage/pve"
	"stowage/pve/pvesim"
)

// snapshots gives the service's snapshots, newest first.
func (w *world) snapshots() []portal.Snapshot {
	w.t.Helper()
	all, err := w.db.Snapshots(context.Background(), w.service.ID)
	w.must(err)
	return all
}

// snap takes a snapshot and gives it.
func (w *world) snap(description string, memory bool) portal.Snapshot {
	w.t.Helper()
	op := w.ask(portal.RequestSnapshot("client:test", description, memory))
	w.settle(time.Hour)
	if op = w.operation(op.ID); op.State != portal.StateSucceeded {
		w.t.Fatalf("snapshot: %s %q | %s\n%s", op.State, op.Reason, op.StaffReason, w.story())
	}
	return w.snapshots()[0]
}

// provider is what an administrator does on the host, past the portal.
func (w *world) provider() *pve.Client {
	w.t.Helper()
	c, err := pve.New(pve.Config{Endpoints: []string{"https://pve1.test:8006"}, TokenID: pvesim.SimToken, Secret: pvesim.Secret, Transport: w.sim, Now: w.clock.Now})
	w.must(err)
	return c
}

// plan gives what a rollback would do, as the page works it out.
func (w *world) plan(x portal.Snapshot) portal.RollbackPlan {
	w.t.Helper()
	l, err := w.provider().GuestConfig(context.Background(), w.machine().Node, w.service.VMID)
	w.must(err)
	sit, err := w.db.Situation(context.Background(), w.service.ID)
	w.must(err)
	return portal.PlanRollback(x, sit.Snapshots, portal.Wanted(sit.Product, sit.Service), *x.Then, jobs.MachineOf(l, w.service.VMID, w.machine().Running), sit.Places)
}

// TestSnapshotLife takes snapshots, sees them end at their very instant and no sooner, and leaves the provider's alone.
func TestSnapshotLife(t *testing.T) {
	t.Parallel()
	for _, release := range []string{"8.4", "9.2"} {
		t.Run(release, func(t *testing.T) {
			t.Parallel()
			w := scene(t, worldOptions{Release: release, Product: withSnapshots})
			_, err := w.provider().CreateSnapshot(t.Context(), "pve1", 100, "by-hand", "of the provider", false)
			w.must(err)
			w.run(10 * time.Second)
			asked := w.clock.Now()
			x := w.snap("before the update", true)
			if !x.Memory || x.State != portal.SnapshotThere || x.Then == nil || x.Growth != 0 || x.Name != "stw-"+x.UID {
				t.Errorf("taken: %+v", x)
			}
			if d := x.ExpiresAt.Sub(x.TakenAt); d != 24*time.Hour || x.TakenAt.Before(asked) || x.TakenAt.Sub(asked) > 20*time.Second {
				t.Errorf("taken %s, asked %s, lives %s", x.TakenAt, asked, d)
			}
			if g := w.machine(); len(g.Snapshots) != 2 || g.Lock != "" || !g.Running {
				t.Fatalf("the machine: %v %q", g.Snapshots, g.Lock)
			}
			if all := w.snapshots(); len(all) != 2 || !all[1].External || all[1].Name != "by-hand" || !all[1].ExpiresAt.IsZero() {
				t.Fatalf("rows %+v", all)
			}
			w.run(x.ExpiresAt.Sub(w.clock.Now()) - time.Second)
			if got := w.changes("DELETE", "/snapshot/"); len(got) != 0 || len(w.snapshots()) != 2 {
				t.Fatalf("a second before its end: %v", got)
			}
			w.clock.set(x.ExpiresAt)
			w.must(w.engine.Sync(t.Context()))
			w.must(w.engine.Tick(t.Context()))
			if op := w.last(); op.Kind != portal.KindSnapshotDelete || op.Manual || op.SnapshotID != x.ID {
				t.Fatalf("at its end: %s", op.Kind)
			}
			w.must(w.engine.Tick(t.Context()))
			w.settle(10 * time.Minute)
			if g := w.machine(); len(g.Snapshots) != 1 || g.Snapshots[0] != "by-hand" || len(w.snapshots()) != 1 {
				t.Fatalf("after its end: %v\n%s", g.Snapshots, w.story())
			}
			if got := w.column(`SELECT removed_how FROM snapshots WHERE removed_at IS NOT NULL`); len(got) != 1 || got[0] != "expired" {
				t.Errorf("removed %v", got)
			}
			if got := w.changes("DELETE", "/snapshot/"); len(got) != 1 {
				t.Errorf("%d removals", len(got))
			}
		})
	}
}

// TestRollbacks puts machines back in every way: with and without memory, from running and from stopped, with the
// hardware sold today and another one in the snapshot.
func TestRollbacks(t *testing.T) {
	t.Parallel()
	const (
		same = iota
		slower
		larger
		elsewhere
	)
	for _, c := range []struct {
		name   string
		memory bool
		off    bool // it is off when it is put back
		start  bool
		change int // of the package since
		runs   bool
		says   portal.Text
		steps  string
	}{
		{"disks of a running machine", false, false, true, same, true, "Your machine is back at the snapshot and runs.", "preflight power_off rollback reapply start"},
		{"disks, not started", false, false, false, larger, false, "Your machine is back at the snapshot. It is off.", "preflight power_off rollback reapply"},
		{"disks of a machine that is off", false, true, false, larger, false, "Your machine is back at the snapshot. It is off.", "preflight rollback reapply"},
		{"disks of a machine that is off, started", false, true, true, elsewhere, true, "Your machine is back at the snapshot and runs.", "preflight rollback reapply start"},
		{"memory", true, false, true, slower, true, "Your machine is back at the snapshot and goes on from there.", "preflight rollback reapply"},
		{"memory of a machine that is off", true, true, false, same, false, "Your machine is back at the snapshot. It is off.", "preflight rollback reapply power_off"},
		{"memory that is lost", true, false, true, larger, true, "Your machine is back at the snapshot and runs.", "preflight rollback power_off reapply start"},
	} {
		for _, release := range []string{"8.4", "9.2"} {
			t.Run(c.name+" on "+release, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, worldOptions{Release: release, Product: withSnapshots})
				w.must(w.sim.WriteDisk(100, "scsi0", 1<<20, 1<<20))
				x := w.snap("", c.memory)
				then := w.machine().Disks[0].Content
				own := portal.Spec{}
				switch c.change {
				case slower:
					own.Net.RateMB = 5
				case larger:
					own.Cores, own.MemoryMB = 2, 512
				case elsewhere:
					own.Net.VLAN = 9
				}
				w.must(w.db.SetServiceOwn(t.Context(), "cli", w.service.UID, own))
				w.ask(portal.ApplyPackage("cli"))
				w.settle(time.Hour)
				if c.off {
					w.ask(portal.Power("client:test", portal.PowerStop, false))
					w.settle(time.Hour)
				}
				w.must(w.sim.WriteDisk(100, "scsi0", 1<<20, 1<<20))
				w.run(time.Minute)
				before := w.machine()
				plan := w.plan(x)
				if plan.Refusal != nil || plan.Memory != (c.memory && c.change != larger) || plan.MemoryLost != (c.memory && c.change == larger) {
					t.Fatalf("plan %+v", plan)
				}
				op := w.ask(portal.RequestRollback("client:test", x.UID, c.start, plan))
				w.settle(time.Hour)
				if op = w.operation(op.ID); op.State != portal.StateSucceeded || op.Reason != c.says || op.Work.Broken {
					t.Fatalf("%s %q | %s\n%s", op.State, op.Reason, op.StaffReason, w.story())
				}
				g := w.machine()
				if g.Running != c.runs || g.Lock != "" {
					t.Errorf("it runs: %v, lock %q", g.Running, g.Lock)
				}
				if d := g.Disks[0]; d.Origin != then || before.Disks[0].Origin == then {
					t.Errorf("its disk comes from %x, before from %x; the snapshot's is %x", d.Origin, before.Disks[0].Origin, then)
				}
				config := w.config()
				switch c.change {
				case slower:
					if config.Nets[0].Rate != 5 {
						t.Errorf("card %s", config.Nets[0].Raw)
					}
				case larger:
					if config.Raw["cores"] != "2" || config.Raw["memory"] != "512" {
						t.Errorf("cores %s, memory %s", config.Raw["cores"], config.Raw["memory"])
					}
				case elsewhere:
					if config.Nets[0].Tag != 9 {
						t.Errorf("card %s", config.Nets[0].Raw)
					}
				}
				var steps []string
				notes, err := w.db.Steps(t.Context(), op.ID)
				w.must(err)
				for _, n := range notes {
					if len(steps) == 0 || steps[len(steps)-1] != n.Step {
						steps = append(steps, n.Step)
					}
				}
				if got := strings.Join(steps, " "); got != c.steps {
					t.Errorf("steps %q, want %q\n%s", got, c.steps, w.story())
				}
			})
		}
	}
}

// TestRollbackThatMayNotBe refuses what would start a machine in a network that isn't its own any more, and what changed
// between the question and the answer.
func TestRollbackThatMayNotBe(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{Product: withSnapshots})
	x := w.snap("", true)
	early := w.plan(x)
	w.must(w.db.SetServiceOwn(t.Context(), "cli", w.service.UID, portal.Spec{MemoryMB: 1024}))
	w.ask(portal.ApplyPackage("cli"))
	w.settle(time.Hour)
	op := w.ask(portal.RequestRollback("client:test", x.UID, true, early))
	w.settle(time.Hour)
	if op = w.operation(op.ID); op.State != portal.StateFailed || !strings.Contains(op.Reason.String(), "has changed since you confirmed") {
		t.Fatalf("%s %q\n%s", op.State, op.Reason, w.story())
	}
	w.must(w.db.SetServiceOwn(t.Context(), "cli", w.service.UID, portal.Spec{Net: portal.Card{VLAN: 9}}))
	w.ask(portal.ApplyPackage("cli"))
	w.settle(time.Hour)
	plan := w.plan(x)
	if plan.Refusal == nil || len(plan.Refusal.WayOuts) != 1 || plan.Refusal.WayOuts[0].Action != "open_backups" {
		t.Fatalf("plan %+v", plan)
	}
	op = w.ask(portal.RequestRollback("client:test", x.UID, true, early)) // the page knew better; so does preflight
	w.settle(time.Hour)
	if op = w.operation(op.ID); op.State != portal.StateFailed || !strings.Contains(op.Reason.String(), "network of this machine has changed") {
		t.Fatalf("%s %q\n%s", op.State, op.Reason, w.story())
	}
	if got := w.changes("POST", "/rollback"); len(got) != 0 {
		t.Errorf("sent %v", got)
	}
}

// TestRollbackComesApart holds the machine where a rollback dies on the way, tells staff what releases it, and goes on
// where it stands; what never began leaves the machine as it was, started again.
func TestRollbackComesApart(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{Product: withSnapshots})
	x := w.snap("", false)
	remove := w.inject(pvesim.Fault{Kind: pvesim.TaskKilled, Path: `/rollback$`, Share: 0.5})
	op := w.ask(portal.RequestRollback("client:test", x.UID, true, w.plan(x)))
	w.run(10 * time.Minute)
	if op = w.operation(op.ID); op.State != portal.StateHeld || !op.Work.Broken || w.told("staff", portal.TopicStaleLock) != 1 || w.machine().Running {
		t.Fatalf("%s broken %v | %s\n%s", op.State, op.Work.Broken, op.StaffReason, w.story())
	}
	if _, err := w.db.Enqueue(t.Context(), w.client, w.service.UID, portal.Power("client:test", portal.PowerStart, false)); portal.CodeOf(err) != portal.CodeBusy {
		t.Errorf("a start of a broken machine: %v", err)
	}
	remove()
	w.must(w.sim.Unlock(100))
	_, err := w.db.Resume(t.Context(), op.UID, "staff:test")
	w.must(err)
	w.settle(time.Hour)
	if op = w.operation(op.ID); op.State != portal.StateSucceeded || !w.machine().Running {
		t.Fatalf("%s %q\n%s", op.State, op.Reason, w.story())
	}

	remove = w.inject(pvesim.Fault{Kind: pvesim.TaskFails, Path: `/rollback$`, Share: 0, Line: "can't rollback, 'x' is not most recent snapshot on 'local:100/vm-100-disk-0.qcow2'"})
	op = w.ask(portal.RequestRollback("client:test", x.UID, false, w.plan(x)))
	w.settle(time.Hour)
	remove()
	w.settle(time.Hour)
	if op = w.operation(op.ID); op.State != portal.StateFailed || op.Work.Broken || !strings.Contains(op.Reason.String(), "started again") || !w.machine().Running {
		t.Fatalf("%s %q broken %v, runs %v\n%s", op.State, op.Reason, op.Work.Broken, w.machine().Running, w.story())
	}
}

// TestSnapshotsAreCounted presses the button many times at once: no more snapshots are taken than are sold, and the
// refusal names the oldest to remove.
func TestSnapshotsAreCounted(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{Product: withSnapshots})
	first := w.snap("the first", false)
	w.run(time.Minute)
	var wg sync.WaitGroup
	var mu sync.Mutex
	granted := 0
	for range 20 {
		wg.Go(func() {
			_, err := w.db.Enqueue(context.Background(), w.client, w.service.UID, portal.RequestSnapshot("client:test", "", false))
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				granted++
			} else if portal.CodeOf(err) != portal.CodeBusy {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	w.settle(time.Hour)
	if granted != 1 || len(w.machine().Snapshots) != 2 {
		t.Fatalf("%d granted, on the machine %v", granted, w.machine().Snapshots)
	}
	_, err := w.db.Enqueue(t.Context(), w.client, w.service.UID, portal.RequestSnapshot("client:test", "", false))
	e, ok := err.(*portal.Error)
	if !ok || e.Code != portal.CodeQuota || len(e.WayOuts) != 1 || e.WayOuts[0].Action != "remove_snapshot" || e.WayOuts[0].UID != first.UID {
		t.Fatalf("all places used: %v", err)
	}
	op := w.ask(portal.RequestSnapshotRemoval("client:test", first.UID))
	w.settle(time.Hour)
	if op = w.operation(op.ID); op.State != portal.StateSucceeded || len(w.machine().Snapshots) != 1 || len(w.snapshots()) != 1 {
		t.Fatalf("%s %q\n%s", op.State, op.Reason, w.story())
	}
}

// TestSnapshotsThatCannotBe: a raw disk on a directory is refused before anything is sent, and storages of which only the
// newest can be gone back to say so.
func TestSnapshotsThatCannotBe(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{Product: withSnapshots, World: func(sw *pvesim.World) { sw.Guests[0].Disks[0].Format = "raw" }})
	w.must(w.engine.CheckConfigs(t.Context(), 10))
	_, err := w.db.Enqueue(t.Context(), w.client, w.service.UID, portal.RequestSnapshot("client:test", "", false))
	if portal.CodeOf(err) != portal.CodeConflict || !strings.Contains(err.Error(), "plain file") {
		t.Fatalf("a raw disk: %v", err)
	}
	if got := w.changes("POST", "/snapshot"); len(got) != 0 {
		t.Errorf("sent %v", got)
	}

	z := scene(t, worldOptions{Product: withSnapshots, World: func(sw *pvesim.World) {
		sw.Storages = append(sw.Storages, pvesim.Storage{Name: "tank", Type: "zfspool", Content: []string{"images"}, Total: 100 << 30})
		sw.Guests[0].Disks[0].Storage = "tank"
	}})
	older := z.snap("", false)
	z.run(time.Minute)
	newer := z.snap("", false)
	if plan := z.plan(older); plan.Refusal == nil || plan.Refusal.WayOuts[0].Action != "remove_snapshot" || plan.Refusal.WayOuts[0].UID != newer.UID {
		t.Errorf("the older one: %+v", plan)
	}
	if plan := z.plan(newer); plan.Refusal != nil {
		t.Errorf("the newest: %v", plan.Refusal)
	}
}

// TestSnapshotLeavesALock tells staff of the command that releases what a killed snapshot has left.
func TestSnapshotLeavesALock(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{Product: withSnapshots})
	remove := w.inject(pvesim.Fault{Kind: pvesim.TaskKilled, Path: `/snapshot$`, Share: 0.8})
	op := w.ask(portal.RequestSnapshot("client:test", "", false))
	w.settle(time.Hour)
	remove()
	if op = w.operation(op.ID); op.State != portal.StateFailed || !strings.Contains(op.Reason.String(), "stays locked") {
		t.Fatalf("%s %q\n%s", op.State, op.Reason, w.story())
	}
	if got := w.column(`SELECT payload FROM outbox WHERE topic = 'lock.stale'`); len(got) != 1 || !strings.Contains(got[0], "qm unlock 100") {
		t.Errorf("staff are told %v", got)
	}
	w.run(10 * time.Second)
	if got := w.snapshots(); len(got) != 1 || got[0].State != portal.SnapshotFailed {
		t.Errorf("rows %+v", got)
	}
	w.must(w.sim.Unlock(100))
	_, err := w.provider().DeleteSnapshot(t.Context(), "pve1", 100, w.machine().Snapshots[0], true)
	w.must(err)
	w.clock.set(w.clock.Now().Add(2 * time.Hour))
	w.must(w.engine.Sync(t.Context()))
	w.must(w.engine.CheckConfigs(t.Context(), 10))
	if got := w.snapshots(); len(got) != 0 {
		t.Errorf("after the release: %+v", got)
	}
}

// TestLockFileAfterAStop waits while a machine's lock file is held (9.x, half a minute after a stop) and does what was
// asked for all the same.
func TestLockFileAfterAStop(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{Product: withSnapshots})
	x := w.snap("", false)
	w.must(w.sim.HoldLockFile(100, 30*time.Second))
	op := w.ask(portal.RequestRollback("client:test", x.UID, true, w.plan(x)))
	w.settle(time.Hour)
	if op = w.operation(op.ID); op.State != portal.StateSucceeded || !w.machine().Running {
		t.Fatalf("%s %q | %s\n%s", op.State, op.Reason, op.StaffReason, w.story())
	}
	w.must(w.sim.HoldLockFile(100, 30*time.Second))
	w.snap("", false)
	w.must(w.sim.HoldLockFile(100, 30*time.Second))
	op = w.ask(portal.RequestSnapshotRemoval("client:test", x.UID))
	w.settle(time.Hour)
	if op = w.operation(op.ID); op.State != portal.StateSucceeded || op.Attempt != 0 {
		t.Fatalf("%s %q\n%s", op.State, op.Reason, w.story())
	}
}

// TestExpiryWaits: nothing ends while the machine is locked, the clocks disagree, or its service's work goes on; a
// suspended service's ends as all do.
func TestExpiryWaits(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{Product: withSnapshots})
	x := w.snap("", false)
	w.clock.set(x.ExpiresAt.Add(-5 * time.Minute))
	w.must(w.sim.SetLock(100, "migrate"))
	w.run(10 * time.Minute)
	if got := w.changes("DELETE", "/snapshot/"); len(got) != 0 {
		t.Fatalf("under a lock: %v", got)
	}
	remove := w.inject(pvesim.Fault{Kind: pvesim.ClockSkew, For: 10 * time.Minute})
	w.must(w.sim.Unlock(100))
	w.run(10 * time.Minute)
	if got := w.changes("DELETE", "/snapshot/"); len(got) != 0 || w.busy() {
		t.Fatalf("with clocks that disagree: %v", got)
	}
	if got := w.column(`SELECT payload FROM outbox WHERE topic = 'server.clock'`); len(got) != 1 || !strings.Contains(got[0], "differ by 10m0s") {
		t.Fatalf("staff are told %v, want once that the clocks differ", got)
	}
	remove()
	w.must(w.db.SetServiceState(t.Context(), "cli", w.service, portal.ServiceSuspended, "unpaid"))
	w.run(2 * time.Minute)
	if len(w.snapshots()) != 0 || len(w.machine().Snapshots) != 0 {
		t.Fatalf("when all is well: %+v\n%s", w.snapshots(), w.story())
	}
}

// TestClientsAreWarned writes one mail a day before the end of a snapshot that lives for longer than two days.
func TestClientsAreWarned(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{Product: func(p *portal.Product) { withSnapshots(p); p.SnapshotDays = 3 }})
	x := w.snap("before the update", false)
	w.run(x.ExpiresAt.Add(-24*time.Hour - time.Second).Sub(w.clock.Now()))
	if w.told("mail", portal.TopicSnapshotExpiring) != 0 {
		t.Fatal("too early")
	}
	w.run(time.Hour)
	got := w.column(`SELECT payload FROM outbox WHERE topic = 'snapshot.expiring'`)
	if len(got) != 1 || !strings.Contains(got[0], "before the update") {
		t.Fatalf("told %v", got)
	}
	short := scene(t, worldOptions{Product: withSnapshots})
	short.snap("", false)
	short.run(20 * time.Hour)
	if short.told("mail", portal.TopicSnapshotExpiring) != 0 {
		t.Error("one that lives a day")
	}
}

// TestSnapshotsSeen keeps pages in step with what others do on the host.
func TestSnapshotsSeen(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{Product: withSnapshots})
	x := w.snap("mine", false)
	stop := w.db.WatchSnapshots(w.service.ID)
	defer stop()
	_, unlisten := w.db.Listen(w.service.ID)
	defer unlisten()
	_, err := w.provider().DeleteSnapshot(t.Context(), "pve1", 100, x.Name, false)
	w.must(err)
	w.clock.set(w.clock.Now().Add(10 * time.Second))
	_, err = w.provider().CreateSnapshot(t.Context(), "pve1", 100, "by-hand", "", false)
	w.must(err)
	w.clock.set(w.clock.Now().Add(10 * time.Second))
	w.must(w.engine.Watch(t.Context()))
	all := w.snapshots()
	if len(all) != 1 || !all[0].External || all[0].Name != "by-hand" {
		t.Fatalf("rows %+v", all)
	}
	v, err := w.db.SnapshotsView(t.Context(), w.client, w.service.UID)
	w.must(err)
	if len(v.Vanished) != 1 || v.Vanished[0].UID != x.UID || v.Vanished[0].State != portal.SnapshotGone || v.Present == nil {
		t.Errorf("vanished %+v", v)
	}
	calls := len(w.sim.Calls())
	for range 4 {
		w.clock.set(w.clock.Now().Add(time.Second))
		w.must(w.engine.Watch(t.Context()))
	}
	n := 0
	for _, c := range w.sim.Calls()[calls:] {
		if strings.HasSuffix(c.Path, "/snapshot") {
			n++
		}
	}
	if n > 1 {
		t.Errorf("read %d times in four seconds", n)
	}
	if _, err := w.db.Enqueue(t.Context(), w.client, w.service.UID, portal.RequestSnapshotRemoval("client:test", all[0].UID)); portal.CodeOf(err) != portal.CodeNotFound {
		t.Errorf("the provider's: %v", err)
	}
}
