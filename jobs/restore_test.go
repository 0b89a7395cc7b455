package jobs_test

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"stowage/portal"
	"stowage/pve"
	"stowage/pve/pvesim"
)

// restore asks for a copy to be put in the machine's place.
func (w *world) restore(uid string, start bool) portal.Operation {
	w.t.Helper()
	return w.ask(portal.RequestRestore("client:test", uid, " H100 ", start))
}

// ended lets time pass until the operation has ended, or is held.
func (w *world) ended(op portal.Operation) portal.Operation {
	w.t.Helper()
	if !w.runUntil(w.clock.Now().Add(3*time.Hour), func() bool {
		op = w.operation(op.ID)
		return op.State.Final() || op.State == portal.StateHeld
	}) {
		w.t.Fatalf("the restore is %s at %s\n%s", op.State, op.Step, w.story())
	}
	return op
}

// newest gives the newest complete copy.
func (w *world) newest() portal.Backup { return w.complete()[0] }

// archived gives what is on a disk inside an archive.
func (w *world) archived(volid, key string) uint64 {
	w.t.Helper()
	for _, a := range w.sim.Archives() {
		for _, d := range a.Disks {
			if a.Volid == volid && d.Key == key {
				return d.Content
			}
		}
	}
	w.t.Fatalf("no disk %s in the archive %s", key, volid)
	return 0
}

// onDisk gives a disk of the machine by its key.
func (w *world) onDisk(key string) pvesim.Disk {
	w.t.Helper()
	g := w.machine()
	i := slices.IndexFunc(g.Disks, func(d pvesim.Disk) bool { return d.Key == key })
	if i < 0 {
		w.t.Fatalf("the machine has no disk %s: %+v\n%s", key, g.Disks, w.story())
	}
	return g.Disks[i]
}

// neverBroken watches that the machine is never started while it isn't whole.
func (w *world) neverBroken() {
	w.wrap = func(rt http.RoundTripper) http.RoundTripper {
		return watcher(func(r *http.Request) (*http.Response, error) {
			if strings.HasSuffix(r.URL.Path, "/status/start") {
				for _, op := range w.operations() {
					if op.Work.Broken {
						w.t.Errorf("a start is sent while the machine is not whole")
					}
				}
			}
			return rt.RoundTrip(r)
		})
	}
	w.engine.Close()
}

type watcher func(*http.Request) (*http.Response, error)

func (f watcher) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestRestore puts a backup in the place of a machine that runs, and of one that is off, on both releases.
func TestRestore(t *testing.T) {
	t.Parallel()
	for _, release := range []string{"8.4", "9.2"} {
		for _, off := range []bool{false, true} {
			t.Run(release+map[bool]string{true: " off", false: " running"}[off], func(t *testing.T) {
				t.Parallel()
				w := scene(t, worldOptions{Release: release, Product: func(p *portal.Product) { p.Quota = 1 }, World: func(sw *pvesim.World) { sw.Guests[0].Agent = "1" }})
				w.make(1)
				if off {
					w.ask(portal.Power("client:test", portal.PowerStop, false))
					w.settle(time.Hour)
				}
				w.neverBroken()
				b := w.newest()
				want := w.archived(b.Volid, "scsi0")
				w.anew(release, func(sw *pvesim.World) { sw.Guests[0].Agent, sw.Guests[0].Running = "1", !off })
				w.run(2 * time.Hour)
				if w.onDisk("scsi0").Content == want {
					t.Fatal("nothing was written since the backup: the test shows nothing")
				}
				op := w.ended(w.restore(b.UID, !off))
				if op.State != portal.StateSucceeded || op.Reason.String() != "Restored: your machine is as it was on Fri 20 Nov 12:00." {
					t.Fatalf("%s %q\n%s", op.State, op.Reason, w.story())
				}
				g := w.machine()
				if w.onDisk("scsi0").Origin != want {
					t.Errorf("the disk holds something else than the archive")
				}
				if g.Running == off || len(g.Disks) != 1 {
					t.Errorf("running %v, disks %+v", g.Running, g.Disks)
				}
				if !off && (op.Work.Proof == nil || op.Work.Proof.Agent != portal.AgentAnswered) {
					t.Errorf("proof: %+v", op.Work.Proof)
				}
				if op.Work.Broken || len(op.Work.Config) == 0 || len(op.Work.Firewall) == 0 || len(op.Work.Disks) != 1 {
					t.Errorf("kept with the operation: %+v", op.Work)
				}
				safety := w.newest()
				if safety.Origin != portal.OriginBeforeRestore || safety.KeepUntil.Sub(safety.StartedAt) != portal.SafetyKeep || len(w.complete()) != 2 {
					t.Errorf("safety copy: %+v\n%s", safety, w.story())
				}
				if n := len(portal.Counted(portal.CopiesOf(w.copies()))); n != 1 {
					t.Errorf("%d copies are counted, want 1: the safety copy stands outside the quota", n)
				}
				if n := len(restores(w)); n != 1 || w.told("mail", portal.TopicRestoreDone) != 1 || w.told("mail", portal.TopicRestoreFailed) != 0 {
					t.Errorf("%d restores sent, %d mails", n, w.told("mail", portal.TopicRestoreDone))
				}
				w.run(10 * time.Minute)
				if w.machine().Running == off {
					t.Error("the machine changed its state afterwards")
				}
			})
		}
	}
}

// restores gives the restores that were sent.
func restores(w *world) []pvesim.Call {
	return slices.DeleteFunc(w.changes("POST", "/qemu"), func(c pvesim.Call) bool { return !strings.HasSuffix(c.Path, "/qemu") })
}

// TestRestoreOfAnOlderMachine restores an archive from before a larger package, another address and an additional disk:
// the client's data go back, what is sold does not, and the disk that came since keeps its data.
func TestRestoreOfAnOlderMachine(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	w.make(1)
	old := w.newest()
	big := portal.NewProduct("vps-l")
	big.Quota, big.Storage = 3, "local"
	big.Spec = portal.Spec{Cores: 2, MemoryMB: 512, System: portal.Drive{SizeGiB: 2, WriteIOPS: 500},
		Data: portal.Drive{Device: "scsi1", Storage: "local", SizeGiB: 1, WriteMB: 50}, Net: portal.Card{VLAN: 7}}
	big, err := w.db.AddProduct(t.Context(), "cli", big)
	w.must(err)
	w.must(w.db.SetServiceOwn(t.Context(), "cli", w.service.UID, portal.Spec{Net: portal.Card{MAC: "BC:24:11:AA:BB:CC"}}))
	w.must(w.db.ChangeProduct(t.Context(), "cli", w.service, big))
	w.settle(time.Hour)
	w.run(time.Hour)
	data := w.onDisk("scsi1")
	w.neverBroken()
	want := w.archived(old.Volid, "scsi0")
	op := w.ended(w.restore(old.UID, true))
	if op.State != portal.StateSucceeded {
		t.Fatalf("%s %q %s\n%s", op.State, op.Reason, op.StaffReason, w.story())
	}
	if w.onDisk("scsi0").Origin != want {
		t.Error("the system disk holds something else than the archive")
	}
	after := w.onDisk("scsi1")
	if after.Volume != data.Volume || after.Origin != data.Origin || len(w.machine().Disks) != 2 {
		t.Errorf("the additional disk: %+v, was %+v; all: %+v", after, data, w.machine().Disks)
	}
	got := w.config()
	if got.Raw["cores"] != "2" || got.Raw["memory"] != "512" || got.Nets[0].MAC != "BC:24:11:AA:BB:CC" || got.Nets[0].Tag != 7 {
		t.Errorf("cores %s, memory %s, card %s", got.Raw["cores"], got.Raw["memory"], got.Nets[0].Raw)
	}
	for _, d := range got.Disks {
		if d.Key == "scsi0" && (d.SizeBytes != 2<<30 || d.Option("iops_wr") != "500") || d.Key == "scsi1" && (d.Option("mbps_wr") != "50" || d.SizeBytes != 1<<30) {
			t.Errorf("disk %s", d.Raw)
		}
	}
	if len(w.config().Unused) != 0 || len(op.Work.Changes) < 6 {
		t.Errorf("unused %v, told %+v", w.config().Unused, op.Work.Changes)
	}
	if len(w.changes("POST", "/config")) > 2 { // made once, when the package was changed
		t.Errorf("new disks: %v", w.changes("POST", "/config"))
	}
}

// TestRestoreKeepsWhatNobodySold: where the product says nothing, the machine stays as it was before: its processors,
// and a disk that came since with its data.
func TestRestoreKeepsWhatNobodySold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	w.make(1)
	b := w.newest()
	w.anew("", func(sw *pvesim.World) {
		sw.Guests[0].Cores = 4
		sw.Guests[0].Disks = append(sw.Guests[0].Disks, pvesim.Disk{Key: "scsi2", Storage: "data", Size: 1 << 30, Used: 1 << 20, Content: 815, Options: "iops_wr=300"})
	})
	w.neverBroken()
	before := w.onDisk("scsi2")
	op := w.ended(w.restore(b.UID, true))
	if op.State != portal.StateSucceeded || len(w.machine().Disks) != 2 {
		t.Fatalf("%s %q %s\n%s", op.State, op.Reason, op.StaffReason, w.story())
	}
	if d := w.onDisk("scsi2"); d.Volume != before.Volume || d.Origin != before.Origin {
		t.Errorf("the disk that came since: %+v, was %+v", d, before)
	}
	got := w.config()
	i := slices.IndexFunc(got.Disks, func(d pve.Disk) bool { return d.Key == "scsi2" })
	if got.Raw["cores"] != "4" || i < 0 || got.Disks[i].Option("iops_wr") != "300" {
		t.Errorf("cores %s, disks %+v", got.Raw["cores"], got.Disks)
	}
	if w.onDisk("scsi0").Origin != w.archived(b.Volid, "scsi0") {
		t.Error("the system disk holds something else than the archive")
	}
}

// anew puts a simulated world in the place of the present one: with its archives, all else as at its beginning, and
// something else on the machine's disk.
func (w *world) anew(release string, change func(*pvesim.World)) {
	w.t.Helper()
	sw := pvesim.ContractWorld(1, 2)
	sw.Archives = w.sim.Archives()
	sw.Guests[0].Disks[0].Content = 4711
	change(&sw)
	var err error
	w.sim, err = pvesim.New(sw, pvesim.Options{Release: release, Now: w.clock.Now, Speed: 1, Seed: 1})
	w.must(err)
	w.engine.Close()
}

// damage breaks an archive.
func (w *world) damage(volid string, how pvesim.Damage, at float64) {
	w.t.Helper()
	w.anew("", func(sw *pvesim.World) {
		for i, a := range sw.Archives {
			if a.Volid == volid {
				sw.Archives[i].Damage, sw.Archives[i].At = how, at
			}
		}
	})
}

// TestRestoreOfADamagedArchive: half-way it can't be read. The machine is gone, so the operation is held, and nobody
// starts what stands in its place; then the safety copy brings the machine back.
func TestRestoreOfADamagedArchive(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{})
	w.make(1)
	b := w.newest()
	w.damage(b.Volid, pvesim.Corrupt, 0.5)
	w.neverBroken()
	op := w.ended(w.restore(b.UID, true))
	if op.State != portal.StateHeld || op.Reason.String() != "Stopped at step 4 of 7: The backup can't be read: it is damaged." {
		t.Fatalf("%s %q %s\n%s", op.State, op.Reason, op.StaffReason, w.story())
	}
	if g := w.machine(); g.Running || !w.config().Stump() {
		t.Fatalf("running %v, config %v", g.Running, w.config().Raw)
	}
	before := len(w.sim.Calls())
	_, err := w.db.Enqueue(t.Context(), 0, w.service.UID, portal.Power("client:test", portal.PowerStart, false))
	if portal.CodeOf(err) != portal.CodeBusy {
		t.Errorf("starting what stands in the machine's place: %v", err)
	}
	for name, r := range map[string]portal.Request{"a second restore": portal.RequestRestore("client:test", b.UID, "h100", true), "a backup": portal.ManualBackup("client:test", "", "")} {
		if _, err := w.db.Enqueue(t.Context(), 0, w.service.UID, r); portal.CodeOf(err) != portal.CodeBusy {
			t.Errorf("%s while the machine isn't whole: %v", name, err)
		}
	}
	if w.told("mail", portal.TopicRestoreFailed) != 1 || w.told("staff", portal.TopicHeld) != 1 {
		t.Error("who has been told?")
	}
	w.run(time.Hour)
	if got := len(w.sim.Calls()); got != before {
		t.Errorf("%d changes while it is held", got-before)
	}
	if len(w.complete()) != 2 {
		t.Fatalf("%d copies\n%s", len(w.complete()), w.story())
	}
	safety := w.newest()
	want := w.archived(safety.Volid, "scsi0")
	if _, err := w.db.ResumeRestore(t.Context(), w.client+1, w.service.UID, op.UID, safety.UID, "client:other"); portal.CodeOf(err) != portal.CodeNotFound {
		t.Errorf("somebody else's: %v", err)
	}
	_, err = w.db.ResumeRestore(t.Context(), w.client, w.service.UID, op.UID, safety.UID, "client:test")
	w.must(err)
	if op = w.ended(op); op.State != portal.StateSucceeded || w.onDisk("scsi0").Origin != want || !w.machine().Running {
		t.Fatalf("%s %q %s\n%s", op.State, op.Reason, op.StaffReason, w.story())
	}
	if w.told("mail", portal.TopicRestoreDone) != 1 {
		t.Error("no mail about the good end")
	}
}

// TestRestoreThatTouchesNothing: what fails before the machine is destroyed leaves it as it was, and running.
func TestRestoreThatTouchesNothing(t *testing.T) {
	t.Parallel()
	noSafety := func(p *portal.Product) { p.SafetyCopy = false }
	for _, c := range []struct {
		name   string
		spoil  func(*world, portal.Backup)
		says   string
		wasOff bool // the machine was shut down on the way
	}{
		{"an archive without a head", func(w *world, b portal.Backup) { w.damage(b.Volid, pvesim.Headless, 0) }, "The backup can't be read.", true},
		{"a full storage", func(w *world, _ portal.Backup) {
			w.inject(pvesim.Fault{Kind: pvesim.StorageFull, Storage: "local"})
		}, "There is not enough space for the machine's disks.", false},
		{"a missing archive", func(w *world, b portal.Backup) {
			w.inject(pvesim.Fault{Kind: pvesim.Refuse, Method: "GET", Path: `/extractconfig$`, Status: 500, Reason: "no such volume"})
		}, "", false},
		{"no right to the bridge", func(w *world, _ portal.Backup) {
			w.inject(pvesim.Fault{Kind: pvesim.Refuse, Method: "POST", Path: `/qemu$`, Status: 403, Reason: "Permission check failed (/sdn/zones/localnetwork/vmbr0, SDN.Use)"})
		}, "The portal lacks a right on your host.", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, worldOptions{Product: noSafety})
			w.make(1)
			b := w.newest()
			c.spoil(w, b)
			w.neverBroken()
			disk := w.onDisk("scsi0")
			op := w.ended(w.restore(b.UID, true))
			if op.State != portal.StateFailed || !strings.Contains(op.Reason.String(), c.says) || op.Work.Broken {
				t.Fatalf("%s %q %s\n%s", op.State, op.Reason, op.StaffReason, w.story())
			}
			if !strings.Contains(op.Reason.String(), "as it was") {
				t.Errorf("it doesn't say that the machine is as it was: %q", op.Reason)
			}
			if !w.machine().Running || w.onDisk("scsi0").Volume != disk.Volume || w.onDisk("scsi0").Origin != disk.Origin {
				t.Errorf("running %v, disk %+v, was %+v\n%s", w.machine().Running, w.onDisk("scsi0"), disk, w.story())
			}
			if stops := len(w.changes("POST", "/status/shutdown")); (stops > 0) != c.wasOff {
				t.Errorf("%d shutdowns", stops)
			}
			if len(w.complete()) != 1 {
				t.Errorf("%d copies", len(w.complete()))
			}
		})
	}
}

// TestRestoreThroughTrouble: a host that goes down, lost answers and killed tasks don't keep a restore from its end.
func TestRestoreThroughTrouble(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		fault  pvesim.Fault
		lasts  time.Duration
		resume bool
		sent   int
	}{
		{"lost answer", pvesim.Fault{Kind: pvesim.LostAnswer, Method: "POST", Path: `/qemu$`, Count: 1}, 0, false, 1},
		{"lost request", pvesim.Fault{Kind: pvesim.LostRequest, Method: "POST", Path: `/qemu$`, Count: 1}, 0, false, 2},
		{"late effect", pvesim.Fault{Kind: pvesim.LateEffect, Method: "POST", Path: `/qemu$`, Count: 1, For: 2 * time.Minute}, 0, false, 1},
		{"unexpected status", pvesim.Fault{Kind: pvesim.UnexpectedStatus, Method: "POST", Path: `/qemu$`, Count: 1}, 0, false, 1},
		{"killed half-way", pvesim.Fault{Kind: pvesim.TaskKilled, Method: "POST", Path: `/qemu$`, Count: 1, Share: 0.5}, 0, false, 2},
		{"fails half-way", pvesim.Fault{Kind: pvesim.TaskFails, Method: "POST", Path: `/qemu$`, Count: 1, Share: 0.5}, 0, true, 2},
		{"host down", pvesim.Fault{Kind: pvesim.NodeDown, Node: "pve1"}, 30 * time.Minute, false, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, worldOptions{Product: func(p *portal.Product) { p.SafetyCopy = false }})
			w.make(1)
			b := w.newest()
			want := w.archived(b.Volid, "scsi0")
			w.neverBroken()
			op := w.restore(b.UID, true)
			if c.lasts == 0 {
				w.inject(c.fault)
			} else {
				w.waitFor(time.Hour, "the restore is sent", func() bool { return len(restores(w)) == 1 })
				end := w.inject(c.fault)
				w.run(c.lasts)
				end()
			}
			op = w.ended(op)
			if c.resume {
				if op.State != portal.StateHeld {
					t.Fatalf("%s %q\n%s", op.State, op.Reason, w.story())
				}
				_, err := w.db.ResumeRestore(t.Context(), w.client, w.service.UID, op.UID, "", "client:test")
				w.must(err)
				op = w.ended(op)
			}
			if op.State != portal.StateSucceeded || w.onDisk("scsi0").Origin != want || !w.machine().Running {
				t.Fatalf("%s %q %s\n%s", op.State, op.Reason, op.StaffReason, w.story())
			}
			if got := len(restores(w)); got != c.sent {
				t.Errorf("%d restores sent, want %d\n%s", got, c.sent, w.story())
			}
		})
	}
}

// TestRestoreOutOfTime: a host that stays away for a day leaves a machine that isn't whole with its operation, until a
// person lets it go on.
func TestRestoreOutOfTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{Product: func(p *portal.Product) { p.SafetyCopy = false }})
	w.make(1)
	b := w.newest()
	w.neverBroken()
	op := w.restore(b.UID, true)
	var end func()
	w.db.Hook = func(point string) {
		if point == "after restore to reapply" {
			end = w.inject(pvesim.Fault{Kind: pvesim.NodeDown, Node: "pve1"})
		}
	}
	w.waitFor(time.Hour, "the package is to be applied", func() bool { return w.operation(op.ID).Step == portal.StepReapply })
	w.db.Hook = nil
	w.run(time.Minute)
	w.clock.set(w.clock.Now().Add(25 * time.Hour))
	w.run(20 * time.Minute)
	if op = w.operation(op.ID); op.State != portal.StateHeld || !op.Work.Broken || !strings.HasPrefix(op.Reason.String(), "Stopped at step 4 of 6: ") {
		t.Fatalf("%s %q\n%s", op.State, op.Reason, w.story())
	}
	end()
	w.run(time.Hour)
	_, err := w.db.Resume(t.Context(), op.UID, "staff:test")
	w.must(err)
	if op = w.ended(op); op.State != portal.StateSucceeded || !w.machine().Running {
		t.Fatalf("%s %q\n%s", op.State, op.Reason, w.story())
	}
}

// TestRestoreIsAskedForOnce: many clicks at once ask for one restore with one safety copy.
func TestRestoreIsAskedForOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	w.make(1)
	b := w.newest()
	var wg sync.WaitGroup
	granted := make([]bool, 20)
	for i := range granted {
		wg.Go(func() {
			_, err := w.db.Enqueue(t.Context(), w.client, w.service.UID, portal.RequestRestore("client:test", b.UID, "h100", true))
			granted[i] = err == nil
		})
	}
	wg.Wait()
	n := 0
	for _, g := range granted {
		if g {
			n++
		}
	}
	open := slices.DeleteFunc(w.operations(), func(o portal.Operation) bool { return o.State.Final() })
	if n != 1 || len(open) != 2 {
		t.Fatalf("%d granted, %d operations\n%s", n, len(open), w.story())
	}
	for _, typed := range []string{"", "h101", "h10"} {
		if _, err := w.db.Enqueue(t.Context(), w.client, w.service.UID, portal.RequestRestore("client:test", b.UID, typed, true)); portal.CodeOf(err) != portal.CodeInvalid {
			t.Errorf("typed %q: %v", typed, err)
		}
	}
	if _, err := w.db.RequestCancel(t.Context(), w.client, w.service.UID, w.operations()[0].UID, "client:test"); err != nil {
		t.Fatal(err)
	}
	w.run(10 * time.Minute)
	for _, op := range w.operations()[:2] {
		if op.State != portal.StateCancelled {
			t.Errorf("%s is %s: %s\n%s", op.Kind, op.State, op.Reason, w.story())
		}
	}
	if len(restores(w)) != 0 || !w.machine().Running {
		t.Error("something was done all the same")
	}
}

// TestRestoreWithoutSafetyCopyEnds: where the present state can't be saved, nothing is overwritten.
func TestRestoreWhoseSafetyCopyFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	w.make(1)
	b := w.newest()
	w.inject(pvesim.Fault{Kind: pvesim.TaskFails, Method: "POST", Path: `/vzdump$`, Share: 0.5})
	op := w.ended(w.restore(b.UID, true))
	if op.State != portal.StateFailed || !strings.Contains(op.Reason.String(), "could not be saved first") || len(restores(w)) != 0 || !w.machine().Running {
		t.Fatalf("%s %q\n%s", op.State, op.Reason, w.story())
	}
	if w.told("mail", portal.TopicRestoreFailed) != 1 {
		t.Error("nobody was told")
	}
}

// TestSafetyCopies: one for each service is kept, and for seven days.
func TestSafetyCopies(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	w.make(1)
	b := w.newest()
	w.ended(w.restore(b.UID, true))
	first := w.newest()
	w.run(time.Hour)
	w.ended(w.restore(b.UID, true))
	second := w.newest()
	w.run(time.Hour)
	safety := func() (out []string) {
		for _, c := range w.complete() {
			if c.Origin == portal.OriginBeforeRestore {
				out = append(out, c.UID)
			}
		}
		return out
	}
	if got := safety(); len(got) != 1 || got[0] != second.UID || first.UID == second.UID {
		t.Fatalf("safety copies %v, want %s alone\n%s", got, second.UID, w.story())
	}
	w.make(1) // else the safety copy is the newest good one
	w.clock.set(w.clock.Now().Add(6 * 24 * time.Hour))
	w.must(w.engine.Clean(t.Context()))
	w.run(time.Hour)
	if got := safety(); len(got) != 1 {
		t.Fatalf("after six days: %v\n%s", got, w.story())
	}
	w.clock.set(w.clock.Now().Add(2 * 24 * time.Hour))
	w.must(w.engine.Clean(t.Context()))
	w.run(time.Hour)
	if got := safety(); len(got) != 0 {
		t.Errorf("after eight days: %v\n%s", got, w.story())
	}
	if len(w.complete()) != 2 {
		t.Errorf("%d copies are left", len(w.complete()))
	}
}

// TestArchivesAreRead: what a new copy contains is read from its archive once, and again where that failed.
func TestArchivesAreRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	w.make(1)
	heal := w.inject(pvesim.Fault{Kind: pvesim.Refuse, Method: "GET", Path: `/extractconfig$`, Status: 500, Reason: "no"})
	w.must(w.engine.ReadArchives(t.Context()))
	if c, err := w.db.Contents(t.Context(), w.newest().ID); c != nil || err != nil {
		t.Fatalf("%+v, %v", c, err)
	}
	heal()
	w.run(10 * time.Minute)
	for range 3 {
		w.must(w.engine.ReadArchives(t.Context()))
	}
	c, err := w.db.Contents(t.Context(), w.newest().ID)
	w.must(err)
	if c == nil || len(c.Disks) != 1 || c.Disks[0].Key != "scsi0" || c.Disks[0].Size != 1<<30 || c.Nets[0].MAC != "BC:24:11:00:00:64" || c.UUID == "" {
		t.Errorf("contents: %+v", c)
	}
	if n := w.sim.Counts()["GET /nodes/{node}/vzdump/extractconfig"]; n != 1 {
		t.Errorf("asked %d times, want once", n)
	}
}

// TestRestoreStepsAtOnce: nobody watches, and yet no step waits for anything but the task before it, the system inside
// and the next look a second later.
func TestRestoreStepsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{Product: func(p *portal.Product) { p.SafetyCopy = false }, World: func(sw *pvesim.World) { sw.Guests[0].Agent = "1" }})
	w.make(1)
	w.must(w.sim.SetGuest(w.service.VMID, func(g *pvesim.Guest) { g.Cores, g.Memory = 2, 256 }))
	asked := w.clock.Now()
	op := w.restore(w.newest().UID, true)
	for !op.State.Final() && w.clock.Now().Before(asked.Add(5*time.Minute)) {
		w.clock.set(w.clock.Now().Add(time.Second))
		_, err := w.engine.Drive(t.Context())
		w.must(err)
		op = w.operation(op.ID)
	}
	if op.State != portal.StateSucceeded || len(op.Work.Changes) == 0 {
		t.Fatalf("%s, changed %+v\n%s", op.State, op.Work.Changes, w.story())
	}
	busy := op.EndedAt.Sub(asked)
	var booted time.Time
	for _, task := range w.sim.Tasks() {
		if task.Start.Before(asked) {
			continue
		}
		busy -= task.End.Sub(task.Start)
		booted = task.End.Add(5 * time.Second)
	}
	if busy -= 5 * time.Second; busy > 6*time.Second || op.EndedAt.Sub(booted) > 2*time.Second {
		t.Errorf("%s besides tasks and boot, ended %s after the boot\n%s", busy, op.EndedAt.Sub(booted), w.story())
	}
}
