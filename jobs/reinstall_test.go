package jobs_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"stowage/portal"
	"stowage/pve/pvesim"
)

const templateID = 900

// withTemplate is a world whose machine has snapshots, an additional disk, cloud-init and an agent, beside a template.
func withTemplate(o worldOptions) worldOptions {
	o.World = func(sw *pvesim.World) {
		g := &sw.Guests[0]
		g.Agent, g.Config["ide2"], g.Config["ciuser"] = "1", "local:cloudinit", "debian"
		g.Disks[0].Options = "mbps_rd=50"
		g.Disks = append(g.Disks, pvesim.Disk{Key: "scsi1", Storage: "data", Size: 2 << 30, Used: 300_000_000})
		g.Snapshots = []string{"first", "second"}
		sw.Guests = append(sw.Guests, pvesim.Guest{VMID: templateID, Node: g.Node, Name: "debian-13", Config: map[string]string{
			"template": "1", "boot": "order=scsi0", "net0": "virtio=BC:24:11:09:00:00,bridge=vmbr0", "ostype": "l26", "scsihw": "virtio-scsi-single",
		}, Disks: []pvesim.Disk{{Key: "scsi0", Storage: "local", Size: 512 << 20, Used: 200_000_000}}})
	}
	o.Product = func(p *portal.Product) {
		p.Spec.Templates = []portal.Template{{Name: "Debian 13", VMID: templateID}}
		p.Spec.System.SizeGiB = 2
	}
	return o
}

func requestDebian() portal.Request {
	return portal.RequestReinstall("client:test", "Debian 13", "reinstall ")
}

// wantAnew holds that the machine is another inside and the same outside.
func (w *world) wantAnew(before pvesim.Guest) {
	w.t.Helper()
	if err := w.installed(before); err != nil {
		w.t.Error(err)
	}
}

// installed gives what is wrong with a machine that was installed anew.
func (w *world) installed(before pvesim.Guest) error {
	var template pvesim.Guest
	for _, g := range w.sim.Guests() {
		if g.VMID == templateID {
			template = g
		}
	}
	now, config := w.machine(), w.config()
	if now.UUID != before.UUID || config.Raw["net0"] != before.Config["net0"] {
		return fmt.Errorf("its identity or its card is another: %s %s", now.UUID, config.Raw["net0"])
	}
	disks := map[string]pvesim.Disk{}
	for _, d := range now.Disks {
		disks[d.Key] = d
		if d.Key == "" {
			return fmt.Errorf("left over: %s", d.Volume)
		}
	}
	was := map[string]pvesim.Disk{}
	for _, d := range before.Disks {
		was[d.Key] = d
	}
	if d := disks["scsi0"]; d.Origin != template.Disks[0].Content || d.Volume == was["scsi0"].Volume || d.Size != 2<<30 || !strings.Contains(d.Options, "mbps_rd=50") {
		return fmt.Errorf("the system disk is %+v", d)
	}
	if d := disks["scsi1"]; d.Origin != was["scsi1"].Origin || d.Volume != was["scsi1"].Volume {
		return fmt.Errorf("the additional disk is %+v, was %+v", d, was["scsi1"])
	}
	if len(now.Snapshots) != 0 || len(config.Unused) != 0 || config.Raw["boot"] != before.Config["boot"] {
		return fmt.Errorf("snapshots %v, unused %v, boot %q", now.Snapshots, config.Unused, config.Raw["boot"])
	}
	if !now.Running || config.Raw["cipassword"] == "" {
		return fmt.Errorf("it runs: %v; its password %q", now.Running, config.Raw["cipassword"])
	}
	return nil
}

// TestReinstall installs a machine anew, on both releases.
func TestReinstall(t *testing.T) {
	t.Parallel()
	for _, release := range []string{"8.4", "9.2"} {
		t.Run(release, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, withTemplate(worldOptions{Release: release}))
			w.backupNow("", "")
			w.settle(time.Hour)
			before := w.machine()
			op := w.ask(requestDebian())
			w.run(time.Second)
			password := w.show(op)
			w.settle(2 * time.Hour)
			if op = w.operation(op.ID); op.State != portal.StateSucceeded || op.Reason.String() != "Your machine runs with Debian 13. Sign in as debian." {
				t.Fatalf("%s %q %s\n%s", op.State, op.Reason, op.StaffReason, w.story())
			}
			w.wantAnew(before)
			if n := w.told("mail", portal.TopicMachineReady); n != 1 {
				t.Errorf("%d mails", n)
			}
			if len(w.complete()) != 1 {
				t.Error("the backup is gone")
			}
			w.nowhere(password)
		})
	}
}

// TestReinstallWithoutItsDataDisk: where the package sells an additional disk that the machine hasn't got, a new one is
// made; the old system disk is never taken for it.
func TestReinstallWithoutItsDataDisk(t *testing.T) {
	t.Parallel()
	o := withTemplate(worldOptions{})
	world, product := o.World, o.Product
	o.World = func(sw *pvesim.World) {
		world(sw)
		sw.Guests[0].Disks = sw.Guests[0].Disks[:1]
	}
	o.Product = func(p *portal.Product) {
		product(p)
		p.Spec.Data = portal.Drive{Device: "scsi1", Storage: "data", SizeGiB: 1}
	}
	w := newWorld(t, o)
	before := w.machine()
	op := w.ask(requestDebian())
	w.settle(2 * time.Hour)
	if op = w.operation(op.ID); op.State != portal.StateSucceeded {
		t.Fatalf("%s %q %s\n%s", op.State, op.Reason, op.StaffReason, w.story())
	}
	for _, d := range w.machine().Disks {
		if d.Key == "scsi1" && (d.Origin == before.Disks[0].Origin || d.Storage != "data") {
			t.Errorf("the additional disk is %+v", d)
		}
		if d.Volume == before.Disks[0].Volume && d.Storage == before.Disks[0].Storage {
			t.Errorf("the old system disk is still there as %q", d.Key)
		}
	}
}

// TestReinstallFails lets each of its requests fail for good: before the old disk is off the machine is whole and the
// reinstall ends; from then on it is held, never started meanwhile, and goes on where it stood.
func TestReinstallFails(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		method, path string
		held         bool
	}{
		"snapshots": {"DELETE", "/snapshot/second", false},
		"install":   {"POST", "/config", true},
		"resize":    {"PUT", "/resize", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, withTemplate(worldOptions{}))
			before := w.machine()
			mend := w.inject(pvesim.Fault{Kind: pvesim.Refuse, Method: c.method, Path: c.path, Status: 500, Reason: "something else went wrong"})
			op := w.ask(requestDebian())
			w.run(30 * time.Minute)
			op = w.operation(op.ID)
			if c.held != (op.State == portal.StateHeld) || !c.held && op.State != portal.StateFailed {
				t.Fatalf("%s %q\n%s", op.State, op.Reason, w.story())
			}
			if got := w.machine(); got.Running {
				t.Error("it runs")
			}
			if !c.held {
				if got := w.machine(); got.Disks[0].Volume != before.Disks[0].Volume || !strings.Contains(op.Reason.String(), "start it again") {
					t.Errorf("%q, the system disk is %s", op.Reason, got.Disks[0].Volume)
				}
				return
			}
			if _, err := w.db.Enqueue(context.Background(), w.client, w.service.UID, portal.Power("client:test", portal.PowerStart, true)); portal.CodeOf(err) != portal.CodeBusy {
				t.Errorf("a start meanwhile: %v", err)
			}
			if got := w.machine(); !containsVolume(got, before.Disks[0].Volume) {
				t.Error("the old system disk is gone")
			}
			mend()
			_, err := w.db.Resume(context.Background(), op.UID, "client:test")
			w.must(err)
			w.settle(2 * time.Hour)
			if op = w.operation(op.ID); op.State != portal.StateSucceeded {
				t.Fatalf("%s %q\n%s", op.State, op.Reason, w.story())
			}
			w.wantAnew(before)
		})
	}
}

func containsVolume(g pvesim.Guest, volume string) bool {
	for _, d := range g.Disks {
		if d.Volume == volume {
			return true
		}
	}
	return false
}

// TestReinstallRefused: what can't be installed is refused before anything is touched.
func TestReinstallRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withTemplate(worldOptions{}))
	for field, r := range map[string]portal.Request{
		"template": portal.RequestReinstall("client:test", "BeOS", "REINSTALL"), "confirm": portal.RequestReinstall("client:test", "Debian 13", "yes"),
	} {
		if _, err := w.db.Enqueue(context.Background(), w.client, w.service.UID, r); portal.CodeOf(err) != portal.CodeInvalid {
			t.Errorf("%s: %v", field, err)
		}
	}
	w.must(w.sim.DestroyGuest(templateID))
	op := w.ask(requestDebian())
	w.settle(time.Hour)
	if op = w.operation(op.ID); op.State != portal.StateFailed || !strings.Contains(op.StaffReason, "no such machine") || len(w.sim.Calls()) != 0 {
		t.Errorf("%s %q, staff %q, sent %d", op.State, op.Reason, op.StaffReason, len(w.sim.Calls()))
	}
	if !w.machine().Running {
		t.Error("the machine was switched off for nothing")
	}
}

// TestReinstallProtected: of a machine that its host protects nothing is touched.
func TestReinstallProtected(t *testing.T) {
	t.Parallel()
	o := withTemplate(worldOptions{})
	world := o.World
	o.World = func(sw *pvesim.World) {
		world(sw)
		sw.Guests[0].Config["protection"] = "1"
	}
	w := newWorld(t, o)
	op := w.ask(requestDebian())
	w.settle(time.Hour)
	if op = w.operation(op.ID); op.State != portal.StateFailed || !strings.Contains(op.Reason.String(), "protected against being overwritten") || len(w.sim.Calls()) != 0 {
		t.Errorf("%s %q, sent %d", op.State, op.Reason, len(w.sim.Calls()))
	}
	if g := w.machine(); !g.Running || len(g.Snapshots) != 2 {
		t.Errorf("the machine was touched: %+v", g)
	}
}

// crashes lets the process die at the point of that number from here on.
func (w *world) crashes(at int) {
	w.wrap = func(rt http.RoundTripper) http.RoundTripper { return &guarded{w: w, next: rt} }
	w.db.Hook = func(point string) { w.point("db " + point) }
	w.restart()
	w.crashAt, w.points = []int{at}, 0
}
