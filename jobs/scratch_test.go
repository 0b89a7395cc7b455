package jobs_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"stowage/portal"
	"stowage/pve/pvesim"
)

// inPieces is a world whose machine a restore of a damaged archive has left in pieces: a stump, and an additional disk
// that no line names. It gives the restore, which is held, and the machine as it was.
func inPieces(t testing.TB, o worldOptions, rights ...string) (w *world, held portal.Operation, before pvesim.Guest) {
	t.Helper()
	world := o.World
	o.World = nil
	w = newWorld(t, o)
	w.backupNow("", "")
	w.settle(time.Hour)
	w.run(time.Minute)
	b := w.newest()
	w.anew(o.Release, func(sw *pvesim.World) {
		for i := range sw.Archives {
			if sw.Archives[i].Volid == b.Volid {
				sw.Archives[i].Damage, sw.Archives[i].At = pvesim.Corrupt, 0.5
			}
		}
		sw.Roles[pvesim.PortalRole] = slices.Concat(pvesim.PortalPrivileges, rights)
		world(sw)
	})
	before = w.machine()
	w.neverBroken()
	held = w.ended(w.restore(b.UID, true))
	if held.State != portal.StateHeld || !w.config().Stump() {
		t.Fatalf("%s %q %v\n%s", held.State, held.Reason, w.config().Raw, w.story())
	}
	return w, held, before
}

// fromScratch is the world of those tests: what withTemplate has, without snapshots, and lines that are only root's.
func fromScratch(release string) worldOptions {
	o := withTemplate(worldOptions{Release: release})
	world := o.World
	o.World = func(sw *pvesim.World) {
		world(sw)
		g := &sw.Guests[0]
		g.Snapshots = nil
		g.Disks[1].Options = "iops_wr=300"
		g.Config["description"], g.Config["onboot"], g.Config["ostype"] = "Ada's\nfirst", "1", "l26"
		g.Config["ipconfig0"] = "ip=192.0.2.50/24,gw=192.0.2.1"
		g.Config["args"], g.Config["affinity"], g.Config["startup"] = "-device something", "0-1", "order=2" // root's, and a right on the whole
	}
	return o
}

func (w *world) scratch(held portal.Operation) portal.Operation {
	w.t.Helper()
	op, err := w.db.Instead(context.Background(), w.client, w.service.UID, held.UID, "client:test", func(held portal.Operation) portal.Request {
		return portal.RequestScratch(held, "client:test", "Debian 13", " reinstall")
	})
	w.must(err)
	return op
}

// TestFromScratch installs a system on what a restore has left, on both releases, with and without the right to set
// controllers and identity; then a backup of it is made, an archive from before is restored, and one from after.
func TestFromScratch(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, release, hw string }{{"8.4", "8.4", ""}, {"9.2", "9.2", ""}, {"with HWType", "9.2", "VM.Config.HWType"}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var rights []string
			if c.hw != "" {
				rights = []string{c.hw}
			}
			w, held, before := inPieces(t, fromScratch(c.release), rights...)
			safety := w.newest()
			op := w.scratch(held)
			if got := w.operation(held.ID); got.State != portal.StateFailed || got.Work.Broken || op.State != portal.StateRunning || !op.Work.Broken {
				t.Fatalf("the restore is %s, the installation %s %+v", got.State, op.State, op.Work)
			}
			w.run(time.Second)
			password := w.show(op)
			if op = w.ended(op); op.State != portal.StateSucceeded || op.Reason.String() != "Your machine runs with Debian 13. Sign in as debian." {
				t.Fatalf("%s %q %s\n%s", op.State, op.Reason, op.StaffReason, w.story())
			}
			w.wantScratched(before, c.hw != "")
			w.nowhere(password)
			if w.told("mail", portal.TopicMachineReady) != 1 || w.told("staff", "machine.differs") != 1 { // args and affinity are root's
				t.Errorf("%d mails, %d words to staff", w.told("mail", portal.TopicMachineReady), w.told("staff", "machine.differs"))
			}
			w.must(w.db.ReadConfigAgain(t.Context(), w.service.ID))
			w.must(w.engine.CheckConfigs(t.Context(), 10))
			if s := w.serviceNow(); s.State != portal.ServiceActive || (s.Identity.Bare == (c.hw != "")) {
				t.Fatalf("%s %+v", s.State, s.Identity)
			}
			// A backup of it is made, and restored; and so is one from before, with the uuid of that time.
			w.backupNow("", "")
			w.settle(time.Hour)
			w.run(time.Minute)
			fresh := w.newest()
			if fresh.UID == safety.UID {
				t.Fatalf("no backup was made\n%s", w.story())
			}
			for _, b := range []portal.Backup{safety, fresh} {
				op := w.ended(w.restore(b.UID, true))
				if op.State != portal.StateSucceeded {
					t.Fatalf("%s: %s %q %s\n%s", b.Volid, op.State, op.Reason, op.StaffReason, w.story())
				}
				w.must(w.db.ReadConfigAgain(t.Context(), w.service.ID))
				w.must(w.engine.CheckConfigs(t.Context(), 10))
				if s := w.serviceNow(); s.State != portal.ServiceActive || !w.machine().Running {
					t.Errorf("%s, running %v", s.State, w.machine().Running)
				}
				if got := w.machine(); len(got.Disks) != 3 || len(w.config().Unused) != 0 { // system, data, cloud-init
					t.Errorf("disks %+v, unused %v", got.Disks, w.config().Unused)
				}
				if b.UID == safety.UID && w.machine().UUID != before.UUID {
					t.Errorf("its identity is %q, was %q", w.machine().UUID, before.UUID)
				}
			}
		})
	}
}

// wantScratched holds that the machine is as it was outside, with another system and its data.
func (w *world) wantScratched(before pvesim.Guest, hardware bool) {
	w.t.Helper()
	now, config := w.machine(), w.config()
	if !now.Running || config.Raw["cipassword"] == "" || config.Name != before.Name {
		w.t.Errorf("running %v, password %q, name %q", now.Running, config.Raw["cipassword"], config.Name)
	}
	for _, key := range []string{"net0", "memory", "cores", "ciuser", "ipconfig0", "agent", "description", "onboot", "ostype"} {
		if was := w.wasRaw(before)[key]; was == "" || config.Raw[key] != was {
			w.t.Errorf("%s is %q, was %q", key, config.Raw[key], was)
		}
	}
	if config.Raw["args"] != "" {
		w.t.Error("a line was set that is root's")
	}
	system, data := "virtio0", "virtio1"
	if hardware {
		system, data = "scsi0", "scsi1"
		if config.Raw["scsihw"] != w.wasRaw(before)["scsihw"] || now.UUID != before.UUID {
			w.t.Errorf("controller %q, identity %q", config.Raw["scsihw"], now.UUID)
		}
	} else if now.UUID != "" || config.Raw["scsihw"] != "" {
		w.t.Errorf("controller %q, identity %q without the right to set them", config.Raw["scsihw"], now.UUID)
	}
	if !strings.HasPrefix(config.Raw["boot"], "order="+system) {
		w.t.Errorf("boot is %q", config.Raw["boot"])
	}
	var template pvesim.Guest
	for _, g := range w.sim.Guests() {
		if g.VMID == templateID {
			template = g
		}
	}
	if d := w.onDisk(system); d.Origin != template.Disks[0].Content || d.Size != 2<<30 || !strings.Contains(d.Options, "mbps_rd=50") {
		w.t.Errorf("the system disk is %+v", d)
	}
	was := before.Disks[slices.IndexFunc(before.Disks, func(d pvesim.Disk) bool { return d.Key == "scsi1" })]
	if d := w.onDisk(data); d.Volume != was.Volume || d.Origin != was.Origin || !strings.Contains(d.Options, "iops_wr=300") {
		w.t.Errorf("the additional disk is %+v, was %+v", d, was)
	}
	if len(config.Unused) != 0 || len(now.Disks) != 3 {
		w.t.Errorf("unused %v, disks %+v", config.Unused, now.Disks)
	}
}

func (w *world) wasRaw(before pvesim.Guest) map[string]string {
	for _, op := range w.operations() {
		if op.Kind == portal.KindReinstall {
			return op.Work.Config
		}
	}
	return before.Config
}

func (w *world) serviceNow() portal.Service {
	w.t.Helper()
	s, err := w.db.Service(context.Background(), w.service.ID)
	w.must(err)
	return s
}

// TestFromScratchFails lets each of its requests fail for good: it is held there, the machine is never started, nothing is
// lost, Retry leads to the end, and so does restoring a backup after all.
func TestFromScratchFails(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		method, path string
		step         string
	}{
		"settings": {"PUT", "/100/config$", portal.StepSettings},
		"disks":    {"POST", "/100/config$", portal.StepDrive},
		"resize":   {"PUT", "/resize$", portal.StepReapply},
	} {
		for _, way := range []string{"retry", "restore"} {
			if way == "restore" && name == "settings" || way == "retry" && name == "disks" {
				continue // the same as the others, and dear
			}
			t.Run(name+" "+way, func(t *testing.T) {
				t.Parallel()
				w, held, before := inPieces(t, fromScratch(""))
				safety := w.newest()
				mend := w.inject(pvesim.Fault{Kind: pvesim.Refuse, Method: c.method, Path: c.path, Status: 500, Reason: "something else went wrong"})
				op := w.ended(w.scratch(held))
				if op.State != portal.StateHeld || op.Step != c.step || !op.Work.Broken || op.Reason == "" || w.machine().Running {
					t.Fatalf("%s at %s: %q\n%s", op.State, op.Step, op.Reason, w.story())
				}
				w.must(w.db.ReadConfigAgain(t.Context(), w.service.ID))
				w.must(w.engine.CheckConfigs(t.Context(), 10))
				if s := w.serviceNow(); s.State != portal.ServiceActive {
					t.Fatalf("the service is %s while the machine is in pieces", s.State)
				}
				if _, err := w.db.Enqueue(t.Context(), w.client, w.service.UID, portal.Power("client:test", portal.PowerStart, true)); portal.CodeOf(err) != portal.CodeBusy {
					t.Errorf("a start meanwhile: %v", err)
				}
				mend()
				if way == "retry" {
					_, err := w.db.Resume(t.Context(), op.UID, "client:test")
					w.must(err)
					if op = w.ended(op); op.State != portal.StateSucceeded {
						t.Fatalf("%s %q %s\n%s", op.State, op.Reason, op.StaffReason, w.story())
					}
					w.wantScratched(before, false)
					return
				}
				want := w.archived(safety.Volid, "scsi0")
				next, err := w.db.Instead(t.Context(), w.client, w.service.UID, op.UID, "client:test", func(held portal.Operation) portal.Request {
					return portal.RestoreInstead(held, "client:test", safety.UID)
				})
				w.must(err)
				if next = w.ended(next); next.State != portal.StateSucceeded || !w.machine().Running || w.machine().UUID != before.UUID {
					t.Fatalf("%s %q %s\n%s", next.State, next.Reason, next.StaffReason, w.story())
				}
				if d := w.onDisk("scsi0"); d.Origin != want || len(w.machine().Disks) != 3 || len(w.config().Unused) != 0 {
					t.Errorf("disks %+v, unused %v\n%s", w.machine().Disks, w.config().Unused, w.story())
				}
			})
		}
	}
}

// TestFromScratchElsewhere: where somebody else's machine has come into the place meanwhile, nothing is touched.
func TestFromScratchElsewhere(t *testing.T) {
	t.Parallel()
	for name, uuid := range map[string]string{"another identity": "11111111-2222-4333-8444-555555555555", "none, and other cards": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, held, _ := inPieces(t, fromScratch(""))
			sw := pvesim.ContractWorld(1, 2)
			w.anew("", func(now *pvesim.World) { *now = foreignAt100(sw, uuid) })
			op := w.ended(w.scratch(held))
			if op.State != portal.StateHeld || w.serviceNow().State != portal.ServiceMachineReplaced || !strings.Contains(op.StaffReason, "replaced") {
				t.Errorf("%s %q %s", op.State, op.StaffReason, w.serviceNow().State)
			}
			if n := len(w.sim.Calls()); n != 0 {
				t.Errorf("%d changes to somebody else's machine: %v", n, w.sim.Calls())
			}
		})
	}
}

func foreignAt100(sw pvesim.World, uuid string) pvesim.World {
	g := &sw.Guests[0]
	g.UUID, g.Config["net0"] = uuid, "virtio=BC:24:11:FE:ED:01,bridge=vmbr0"
	if uuid == "" {
		*g = pvesim.Guest{VMID: 100, Node: g.Node, Name: g.Name, Memory: 512, Stump: true, Config: map[string]string{"net0": g.Config["net0"]}}
	}
	return sw
}

// TestFromScratchRefused: a system that can't start on what is left is refused before anything is done, another may be
// chosen then; and a restore that has overwritten nothing, or may still run, is not given up.
func TestFromScratchRefused(t *testing.T) {
	t.Parallel()
	o := fromScratch("")
	world, product := o.World, o.Product
	o.World = func(sw *pvesim.World) {
		world(sw)
		windows := sw.Guests[len(sw.Guests)-1]
		windows.VMID, windows.Name = 901, "windows"
		windows.Config = map[string]string{"template": "1", "boot": "order=scsi0", "bios": "ovmf", "ostype": "win11"}
		windows.Disks = slices.Clone(windows.Disks)
		sw.Guests = append(sw.Guests, windows)
	}
	o.Product = func(p *portal.Product) {
		product(p)
		p.Spec.Templates = append(p.Spec.Templates, portal.Template{Name: "Windows", VMID: 901})
	}
	w, held, before := inPieces(t, o)
	calls := len(w.sim.Calls())
	choose := func(held portal.Operation, template string) (portal.Operation, error) {
		return w.db.Instead(t.Context(), w.client, w.service.UID, held.UID, "client:test", func(held portal.Operation) portal.Request {
			return portal.RequestScratch(held, "client:test", template, "REINSTALL")
		})
	}
	if _, err := w.db.Instead(t.Context(), w.client+1, w.service.UID, held.UID, "client:other", func(held portal.Operation) portal.Request {
		return portal.RequestScratch(held, "client:other", "Debian 13", "REINSTALL")
	}); portal.CodeOf(err) != portal.CodeNotFound {
		t.Errorf("somebody else's: %v", err)
	}
	op, err := choose(held, "Windows")
	w.must(err)
	if op = w.ended(op); op.State != portal.StateHeld || !strings.Contains(op.Reason.String(), "Our team does that") || len(w.sim.Calls()) != calls {
		t.Fatalf("%s %q, %d calls", op.State, op.Reason, len(w.sim.Calls())-calls)
	}
	op, err = choose(op, "Debian 13")
	w.must(err)
	if op = w.ended(op); op.State != portal.StateSucceeded {
		t.Fatalf("%s %q %s\n%s", op.State, op.Reason, op.StaffReason, w.story())
	}
	w.wantScratched(before, false)
}

// TestFromScratchWithCrashes kills the process at some of the calls and writes: the machine is whole in the end.
func TestFromScratchWithCrashes(t *testing.T) {
	t.Parallel()
	for at := 1; at < 190; at += 43 {
		w, held, before := inPieces(t, fromScratch(""))
		op := w.scratch(held)
		w.crashes(at)
		for range 400 {
			w.alive(func() { w.step() })
			if w.operation(op.ID).State.Final() {
				break
			}
			w.clock.set(nextTurn(w.operations(), w.clock.Now()))
		}
		w.crashAt = nil
		if op = w.operation(op.ID); op.State != portal.StateSucceeded || w.trouble != nil {
			t.Fatalf("crash at point %d: %s %q %v\n%s", at, op.State, op.Reason, w.trouble, w.story())
		}
		w.wantScratched(before, false)
		w.close()
	}
}
