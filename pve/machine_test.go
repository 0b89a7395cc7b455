package pve_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"stowage/pve"
	"stowage/pve/pvesim"

	"github.com/google/go-cmp/cmp"
)

// mighty is the world of a token that may everything: machine 100 runs, 101 doesn't.
func mighty(t *testing.T, release string) world {
	t.Helper()
	return mightyOver(t, newWorld(t, release, 1))
}

// well waits for a task that has to end well.
func (w world) well(t *testing.T, upid pve.UPID, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if end := w.until(t, upid); !end.OK() {
		t.Fatalf("%s: %s", upid, end.Exit)
	}
}

// badly waits for a task that has to fail in one way.
func (w world) badly(t *testing.T, upid pve.UPID, err error, class pve.Class, reason pve.Reason) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	end := w.until(t, upid)
	if gotClass, gotReason := pve.Meaning(end.Exit); end.OK() || gotClass != class || gotReason != reason {
		t.Errorf("%s: %q means %s %s, want %s %s", upid.Type, end.Exit, gotClass, gotReason, class, reason)
	}
}

func refused(t *testing.T, what string, err error, class pve.Class, reason pve.Reason) {
	t.Helper()
	if pve.ClassOf(err) != class || pve.ReasonOf(err) != reason {
		t.Errorf("%s: %v, want %s %s", what, err, class, reason)
	}
}

func (w world) config(t *testing.T, vmid int) pve.GuestConfig {
	t.Helper()
	return must(w.GuestConfig(ctx, "pve1", vmid))(t)
}

func TestChangingAMachine(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, release string) {
		w := mighty(t, release)
		before := w.config(t, 100)
		change := pve.ConfigChange{Digest: before.Digest, Set: map[string]string{"cores": "2", "name": "web", "description": "a\nb"}}
		if err := w.SetConfig(ctx, "pve1", 100, change); err != nil {
			t.Fatal(err)
		}
		refused(t, "an old digest", w.SetConfig(ctx, "pve1", 100, change), pve.Refused, pve.Digest)
		_, err := w.StartSetConfig(ctx, "pve1", 100, change)
		refused(t, "an old digest, asynchronously", err, pve.Refused, pve.Digest)
		if diff := cmp.Diff([]pve.PendingChange{{Key: "cores", Value: before.Raw["cores"], New: "2"}}, must(w.Pending(ctx, "pve1", 100))(t)); diff != "" {
			t.Errorf("pending (-want +got):\n%s", diff)
		}
		now := w.config(t, 100)
		if now.Name != "web" || now.Raw["description"] != "a\nb" || now.Raw["cores"] != "2" {
			t.Errorf("%+v", now.Raw)
		}
		if err := w.SetConfig(ctx, "pve1", 100, pve.ConfigChange{Revert: []string{"cores"}, Delete: []string{"description"}}); err != nil {
			t.Fatal(err)
		}
		if p := must(w.Pending(ctx, "pve1", 100))(t); len(p) != 0 || w.config(t, 100).Raw["description"] != "" {
			t.Errorf("%+v", p)
		}
		// Limits of the card and the disk, everything else as it was.
		now = w.config(t, 100)
		net := must(now.Nets[0].With(pve.Properties{{Key: "rate", Value: "12.5"}}))(t)
		disk := must(now.Disks[0].With(pve.Properties{{Key: "iops_wr", Value: "300"}}))(t)
		if err := w.SetConfig(ctx, "pve1", 100, pve.ConfigChange{Digest: now.Digest, Set: map[string]string{"net0": net, "scsi0": disk}}); err != nil {
			t.Fatal(err)
		}
		after := w.config(t, 100)
		if n := after.Nets[0]; n.Rate != 12.5 || n.MAC != now.Nets[0].MAC || n.Bridge != "vmbr0" || after.Disks[0].Option("iops_wr") != "300" || after.Disks[0].Volid != now.Disks[0].Volid {
			t.Errorf("%+v", after)
		}
		refused(t, "an unknown option", w.SetConfig(ctx, "pve1", 100, pve.ConfigChange{Set: map[string]string{"foo": "bar"}}), pve.Refused, pve.Parameter)
		refused(t, "a missing machine", w.SetConfig(ctx, "pve1", 999, change), pve.Gone, "")
		_, err = w.Pending(ctx, "pve1", 999)
		refused(t, "a missing machine's pending changes", err, pve.Gone, "")
		if err := w.sim.SetLock(100, "backup"); err != nil {
			t.Fatal(err)
		}
		refused(t, "a locked machine", w.SetConfig(ctx, "pve1", 100, pve.ConfigChange{Set: map[string]string{"cores": "1"}}), pve.Refused, pve.Locked)
	})
}

func TestDisksOfAMachine(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, release string) {
		w := mighty(t, release)
		g := w.config(t, 101)
		upid, err := w.Resize(ctx, "pve1", 101, g.Disks[0], 3<<29, g.Digest)
		w.well(t, upid, err)
		g = w.config(t, 101)
		if g.Disks[0].SizeBytes != 3<<29 {
			t.Errorf("%+v", g.Disks[0])
		}
		upid, err = w.Resize(ctx, "pve1", 101, g.Disks[0], 2<<30, strings.Repeat("0", 40))
		w.badly(t, upid, err, pve.Refused, pve.Digest)
		upid, err = w.Resize(ctx, "pve1", 101, pve.Disk{Key: "scsi7"}, 2<<30, "")
		w.badly(t, upid, err, pve.Gone, "")
		upid, err = w.Resize(ctx, "pve1", 101, pve.Disk{Key: "scsi0"}, 1<<20, "") // read too long ago to know better
		w.badly(t, upid, err, pve.Refused, pve.Feature)

		place := g.FreePlace("scsi")
		value := must(pve.NewDisk{Storage: "data", SizeBytes: 3 << 29, Format: "qcow2", Options: pve.Properties{{Key: "iops_wr", Value: "300"}}}.Value())(t)
		upid, err = w.StartSetConfig(ctx, "pve1", 101, pve.ConfigChange{Digest: g.Digest, Set: map[string]string{place: value}})
		w.well(t, upid, err)
		g = w.config(t, 101)
		made := g.Disks[1]
		if made.Key != "scsi1" || made.Storage != "data" || made.SizeBytes != 3<<29 || made.Option("iops_wr") != "300" || !strings.HasSuffix(made.Volid, ".qcow2") {
			t.Errorf("%+v", made)
		}
		if images := must(w.Images(ctx, "pve1", "data", 101))(t); len(images) != 1 || images[0].Volid != made.Volid || images[0].Size != 3<<29 || images[0].Format != "qcow2" {
			t.Errorf("%+v", images)
		}
		if err := w.DetachDisk(ctx, "pve1", 101, "scsi1", g.Digest); err != nil {
			t.Fatal(err)
		}
		g = w.config(t, 101)
		if diff := cmp.Diff([]string{made.Volid}, g.Unused); diff != "" || len(g.Disks) != 1 {
			t.Errorf("%+v", g)
		}
		again := must(pve.AttachDisk(g.Unused[0], 101, nil))(t)
		if err := w.SetConfig(ctx, "pve1", 101, pve.ConfigChange{Digest: g.Digest, Set: map[string]string{"scsi1": again}}); err != nil {
			t.Fatal(err)
		}
		if g = w.config(t, 101); len(g.Unused) != 0 || g.Disks[1].SizeBytes != 3<<29 {
			t.Errorf("%+v", g)
		}
		for _, step := range []error{w.DetachDisk(ctx, "pve1", 101, "scsi1", ""), w.DestroyUnused(ctx, "pve1", 101, "unused0", "")} {
			if step != nil {
				t.Fatal(step)
			}
		}
		if images := must(w.Images(ctx, "pve1", "data", 101))(t); len(images) != 0 || len(w.config(t, 101).Unused) != 0 {
			t.Errorf("%+v", images)
		}
		_, err = w.StartSetConfig(ctx, "pve1", 101, pve.ConfigChange{Set: map[string]string{"scsi1": "keep2:1"}})
		refused(t, "a disk on a storage without disks", err, pve.Refused, pve.Parameter)
	})
}

func TestPowerOfAMachine(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, release string) {
		w := mighty(t, release)
		_, err := w.Reset(ctx, "pve1", 101)
		refused(t, "resetting what is off", err, pve.Refused, pve.NotRunning)
		_, err = w.Reboot(ctx, "pve1", 101, time.Minute)
		refused(t, "rebooting what is off", err, pve.Refused, pve.NotRunning)
		runs := func(want bool) {
			t.Helper()
			w.clock.advance(5 * time.Second)
			if st := must(w.GuestStatus(ctx, "pve1", 101))(t); (st.Status == "running") != want {
				t.Errorf("%+v", st)
			}
		}
		upid, err := w.Start(ctx, "pve1", 101)
		w.well(t, upid, err)
		runs(true)
		upid, err = w.Start(ctx, "pve1", 101)
		w.badly(t, upid, err, pve.Refused, pve.Running)
		w.clock.advance(time.Minute)
		upid, err = w.Reset(ctx, "pve1", 101)
		w.well(t, upid, err)
		w.clock.advance(time.Minute)
		upid, err = w.Reboot(ctx, "pve1", 101, time.Minute)
		w.well(t, upid, err)
		w.clock.advance(time.Minute)
		runs(true)
		upid, err = w.Shutdown(ctx, "pve1", 101, time.Minute, false)
		w.well(t, upid, err)
		runs(false)
		if err := w.sim.SetGuest(101, func(g *pvesim.Guest) { g.Deaf = true }); err != nil {
			t.Fatal(err)
		}
		upid, err = w.Start(ctx, "pve1", 101)
		w.well(t, upid, err)
		w.clock.advance(time.Minute)
		upid, err = w.Shutdown(ctx, "pve1", 101, 2*time.Second, false)
		if err != nil {
			t.Fatal(err)
		}
		if end := w.until(t, upid); end.OK() || !strings.Contains(end.Exit, "got timeout") {
			t.Errorf("%+v", end)
		}
		waits := must(w.Shutdown(ctx, "pve1", 101, 10*time.Minute, false))(t)
		w.clock.advance(time.Second)
		upid, err = w.Stop(ctx, "pve1", 101, true)
		w.well(t, upid, err)
		if end := w.until(t, waits); end.OK() {
			t.Errorf("a shutdown that was overruled: %+v", end)
		}
		runs(false)
		upid, err = w.Stop(ctx, "pve1", 101, false)
		w.well(t, upid, err)
		upid, err = w.Start(ctx, "pve1", 999)
		w.badly(t, upid, err, pve.Gone, "")
		upid, err = w.Stop(ctx, "pve1", 999, false)
		w.badly(t, upid, err, pve.Gone, "")
	})
}

func TestSnapshotsOfAMachine(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, release string) {
		w := mighty(t, release)
		if s := must(w.Snapshots(ctx, "pve1", 100))(t); len(s.List) != 0 || s.Current != "" || !s.Running || s.Digest == "" {
			t.Errorf("%+v", s)
		}
		if !must(w.CanSnapshot(ctx, "pve1", 100))(t) {
			t.Error("qcow2 can")
		}
		upid, err := w.CreateSnapshot(ctx, "pve1", 100, "first", "before\nthe upgrade", false)
		w.well(t, upid, err)
		w.clock.advance(time.Minute)
		upid, err = w.CreateSnapshot(ctx, "pve1", 100, "withram", "", true)
		w.well(t, upid, err)
		upid, err = w.CreateSnapshot(ctx, "pve1", 100, "first", "", false)
		w.badly(t, upid, err, pve.Refused, pve.Exists)
		s := must(w.Snapshots(ctx, "pve1", 100))(t)
		first, found := s.Get("first")
		if !found || len(s.List) != 2 || s.List[0] != first || first.Description != "before\nthe upgrade" || first.RAM || first.Time.IsZero() || s.Current != "withram" {
			t.Errorf("%+v", s)
		}
		if s.List[1].Parent != "first" || !s.List[1].RAM {
			t.Errorf("%+v", s.List[1])
		}
		if images := must(w.Images(ctx, "pve1", "local", 100))(t); !slices.ContainsFunc(images, func(i pve.Image) bool { return strings.Contains(i.Volid, "state-withram") && i.Used > 0 }) {
			t.Errorf("the memory's file is not among %+v", images)
		}
		if err := w.SetSnapshotDescription(ctx, "pve1", 100, "first", "else"); err != nil {
			t.Fatal(err)
		}
		if g := must(w.SnapshotConfig(ctx, "pve1", 100, "first"))(t); g.Raw["description"] != "else" || g.Name != "h100" || len(g.Disks) != 1 || g.Digest != "" {
			t.Errorf("%+v", g)
		}
		if err := w.SetConfig(ctx, "pve1", 100, pve.ConfigChange{Set: map[string]string{"name": "later"}}); err != nil {
			t.Fatal(err)
		}
		upid, err = w.Rollback(ctx, "pve1", 100, "first", false)
		w.well(t, upid, err)
		w.clock.advance(time.Minute)
		if st := must(w.GuestStatus(ctx, "pve1", 100))(t); st.Status != "stopped" || st.Name != "h100" {
			t.Errorf("%+v", st)
		}
		upid, err = w.Rollback(ctx, "pve1", 100, "withram", false)
		w.well(t, upid, err)
		if st := must(w.GuestStatus(ctx, "pve1", 100))(t); st.Status != "running" {
			t.Errorf("with its memory it runs: %+v", st)
		}
		w.clock.advance(time.Minute)
		upid, err = w.Rollback(ctx, "pve1", 100, "nope", false)
		w.badly(t, upid, err, pve.Gone, "")
		_, err = w.SnapshotConfig(ctx, "pve1", 100, "nope")
		refused(t, "a missing snapshot's configuration", err, pve.Gone, "")
		refused(t, "a missing snapshot's description", w.SetSnapshotDescription(ctx, "pve1", 100, "nope", "x"), pve.Gone, "")
		for _, name := range []string{"first", "withram"} {
			upid, err = w.DeleteSnapshot(ctx, "pve1", 100, name, false)
			w.well(t, upid, err)
		}
		if s := must(w.Snapshots(ctx, "pve1", 100))(t); len(s.List) != 0 {
			t.Errorf("%+v", s)
		}

		upid, err = w.StartSetConfig(ctx, "pve1", 101, pve.ConfigChange{Set: map[string]string{"scsi1": "local:1,format=raw"}})
		w.well(t, upid, err)
		if must(w.CanSnapshot(ctx, "pve1", 101))(t) {
			t.Error("raw on a directory can't")
		}
		upid, err = w.CreateSnapshot(ctx, "pve1", 101, "raw", "", false)
		w.badly(t, upid, err, pve.Refused, pve.Feature)
		if err := w.sim.SetLock(100, "backup"); err != nil {
			t.Fatal(err)
		}
		upid, err = w.CreateSnapshot(ctx, "pve1", 100, "locked", "", false)
		w.badly(t, upid, err, pve.Refused, pve.Locked)
	})
}

func TestRestoringAMachine(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, release string) {
		w := mighty(t, release)
		if err := w.SetConfig(ctx, "pve1", 100, pve.ConfigChange{Set: map[string]string{"description": "state A — ü"}}); err != nil {
			t.Fatal(err)
		}
		w.well(t, must(w.Vzdump(ctx, "pve1", pve.VzdumpRequest{VMID: 100, Storage: "local"}))(t), nil)
		archive := must(w.Archives(ctx, "pve1", "local", 100))(t)[0].Volid
		kept := must(w.ArchivedConfig(ctx, "pve1", archive))(t)
		before := w.config(t, 100)
		if kept.Name != "h100" || kept.UUID != before.UUID || kept.Raw["description"] != "state A — ü" || kept.Nets[0].MAC != before.Nets[0].MAC || !slices.Equal(kept.Drives, []string{"scsi0"}) {
			t.Errorf("%+v", kept)
		}
		_, err := w.ArchivedConfig(ctx, "pve1", "local:backup/vzdump-qemu-100-2001_01_01-00_00_00.vma.zst")
		refused(t, "a missing archive's configuration", err, pve.Gone, "")

		upid, err := w.StartSetConfig(ctx, "pve1", 100, pve.ConfigChange{Set: map[string]string{"name": "changed", "scsi1": "local:1,format=qcow2"}})
		w.well(t, upid, err)
		over := pve.RestoreRequest{VMID: 100, Archive: archive, Over: true}
		_, err = w.Restore(ctx, "pve1", pve.RestoreRequest{VMID: 100, Archive: archive})
		refused(t, "a number in use", err, pve.Refused, pve.Exists)
		_, err = w.Restore(ctx, "pve1", pve.RestoreRequest{VMID: 100, Over: true, Archive: "local:backup/vzdump-qemu-100-2001_01_01-00_00_00.vma.zst"})
		refused(t, "a missing archive", err, pve.Gone, "")
		upid, err = w.Restore(ctx, "pve1", over)
		w.badly(t, upid, err, pve.Refused, pve.Running)
		if now := w.config(t, 100); now.Name != "changed" {
			t.Errorf("a running machine was touched: %+v", now)
		}
		w.well(t, must(w.Stop(ctx, "pve1", 100, false))(t), nil)
		w.clock.advance(time.Minute)
		if err := w.sim.SetLock(100, "backup"); err != nil {
			t.Fatal(err)
		}
		_, err = w.Restore(ctx, "pve1", over)
		refused(t, "a locked machine", err, pve.Refused, pve.Locked)
		if err := w.sim.Unlock(100); err != nil {
			t.Fatal(err)
		}
		upid, err = w.Restore(ctx, "pve1", over)
		if err != nil || upid.Type != "qmrestore" {
			t.Fatal(upid, err)
		}
		w.well(t, upid, err)
		after := w.config(t, 100)
		if after.Name != "h100" || after.UUID != before.UUID || after.Nets[0].MAC != before.Nets[0].MAC || len(after.Disks) != 1 || len(after.Unused) != 1 || after.Stump() {
			t.Errorf("%+v", after)
		}
		// Beside it, as another machine.
		id := must(w.NextID(ctx))(t)
		upid, err = w.Restore(ctx, "pve1", pve.RestoreRequest{VMID: id, Archive: archive, Unique: true, Storage: "data"})
		w.well(t, upid, err)
		if other := w.config(t, id); other.UUID == before.UUID || other.Nets[0].MAC == before.Nets[0].MAC || other.Disks[0].Storage != "data" {
			t.Errorf("%+v", other)
		}
	})
}

func TestCloningAndDestroying(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, release string) {
		w := mighty(t, release)
		_, err := w.Clone(ctx, "pve1", pve.CloneRequest{VMID: 101, NewID: 300})
		refused(t, "a linked clone of no template", err, pve.Refused, pve.Feature)
		_, err = w.Clone(ctx, "pve1", pve.CloneRequest{VMID: 101, NewID: 100, Full: true})
		refused(t, "a number in use", err, pve.Refused, pve.Exists)
		upid, err := w.Clone(ctx, "pve1", pve.CloneRequest{VMID: 101, NewID: 300, Name: "copy", Full: true, Storage: "data"})
		w.well(t, upid, err)
		source, made := w.config(t, 101), w.config(t, 300)
		if made.Name != "copy" || made.UUID == source.UUID || made.Nets[0].MAC == source.Nets[0].MAC || made.Disks[0].Storage != "data" {
			t.Errorf("%+v", made)
		}
		if got := must(w.Resources(ctx))(t).Templates(); len(got) != 0 {
			t.Errorf("%+v", got)
		}
		if err := w.sim.SetGuest(300, func(g *pvesim.Guest) { g.Config["template"] = "1" }); err != nil {
			t.Fatal(err)
		}
		if got := must(w.Resources(ctx))(t).Templates(); len(got) != 1 || got[0].VMID != 300 {
			t.Errorf("%+v", got)
		}

		_, err = w.Destroy(ctx, "pve1", 100, false)
		refused(t, "a running machine", err, pve.Refused, pve.Running)
		if err := w.SetConfig(ctx, "pve1", 101, pve.ConfigChange{Set: map[string]string{"protection": "1"}}); err != nil {
			t.Fatal(err)
		}
		_, err = w.Destroy(ctx, "pve1", 101, false)
		refused(t, "a protected machine", err, pve.Refused, pve.Protected)
		if err := w.SetConfig(ctx, "pve1", 101, pve.ConfigChange{Delete: []string{"protection"}}); err != nil {
			t.Fatal(err)
		}
		upid, err = w.Destroy(ctx, "pve1", 101, true)
		w.well(t, upid, err)
		_, err = w.GuestConfig(ctx, "pve1", 101)
		refused(t, "what was destroyed", err, pve.Gone, "")
		_, err = w.Destroy(ctx, "pve1", 101, true)
		refused(t, "what isn't there", err, pve.Gone, "")
		if id := must(w.NextID(ctx))(t); id != 101 {
			t.Errorf("the next number is %d", id)
		}
	})
}

func TestCloudInitAndAgent(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, release string) {
		w := mighty(t, release)
		refused(t, "no agent", w.AgentPing(ctx, "pve1", 100), pve.Refused, pve.Agent)
		if err := w.SetConfig(ctx, "pve1", 101, pve.ConfigChange{Set: map[string]string{"ide2": "local:cloudinit", "agent": "1"}}); err != nil {
			t.Fatal(err)
		}
		refused(t, "an agent in a machine that is off", w.AgentPing(ctx, "pve1", 101), pve.Refused, pve.NotRunning)
		set := pve.CloudInit{
			User: "debian", SSHKeys: []string{"ssh-ed25519 AAAA x@y"}, Nameservers: []netip.Addr{netip.MustParseAddr("192.0.2.53")},
			IP: map[int]pve.CardIP{0: {IPv4: netip.MustParsePrefix("192.0.2.50/24"), Gateway4: netip.MustParseAddr("192.0.2.1")}},
		}.Set()
		if err := w.SetConfig(ctx, "pve1", 101, pve.ConfigChange{Set: set, Password: "geheim123"}); err != nil {
			t.Fatal(err)
		}
		g := w.config(t, 101)
		if g.Raw["ciuser"] != "debian" || g.Raw["cipassword"] != "**********" || g.Raw["ipconfig0"] != "ip=192.0.2.50/24,gw=192.0.2.1" || len(g.BackedUpDisks()) != 1 {
			t.Errorf("%+v", g.Raw)
		}
		if err := w.RegenerateCloudInit(ctx, "pve1", 101); err != nil {
			t.Fatal(err)
		}
		upid, err := w.Start(ctx, "pve1", 101)
		w.well(t, upid, err)
		refused(t, "an agent that isn't up yet", w.AgentPing(ctx, "pve1", 101), pve.Refused, pve.Agent)
		w.clock.advance(time.Minute)
		if err := w.AgentPing(ctx, "pve1", 101); err != nil {
			t.Fatal(err)
		}
		if err := w.SetUserPassword(ctx, "pve1", 101, "root", "geheim123"); err != nil {
			t.Fatal(err)
		}
		cards := must(w.AgentInterfaces(ctx, "pve1", 101))(t)
		if len(cards) != 2 || cards[1].MAC != g.Nets[0].MAC || !slices.Contains(cards[1].Addresses, netip.MustParsePrefix("192.0.2.50/24")) {
			t.Errorf("%+v", cards)
		}
		// The archive's configuration doesn't show the password either.
		w.well(t, must(w.Vzdump(ctx, "pve1", pve.VzdumpRequest{VMID: 101, Storage: "local"}))(t), nil)
		kept := must(w.ArchivedConfig(ctx, "pve1", must(w.Archives(ctx, "pve1", "local", 101))(t)[0].Volid))(t)
		if kept.Raw["cipassword"] != "**********" || kept.Raw["ciuser"] != "debian" {
			t.Errorf("%+v", kept.Raw)
		}
	})
}

func TestFirewallOfAMachine(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, release string) {
		w := newWorld(t, release, 1) // VM.Audit is enough
		if o := must(w.FirewallOptions(ctx, "pve1", 100))(t); o["enable"] != "" {
			t.Errorf("%+v", o)
		}
		err := w.sim.SetGuest(100, func(g *pvesim.Guest) {
			g.Firewall = pvesim.Firewall{
				Options: map[string]string{"enable": "1", "policy_in": "DROP"},
				Rules: []map[string]string{
					{"type": "in", "action": "ACCEPT", "enable": "1", "proto": "tcp", "dport": "22", "source": "+admins"}, {"type": "in", "action": "REJECT", "enable": "0"},
				},
				Aliases: []map[string]string{{"name": "office", "cidr": "192.0.2.0/24"}},
				Sets:    map[string][]map[string]string{"admins": {{"cidr": "192.0.2.7"}, {"cidr": "192.0.2.8", "nomatch": "1"}}},
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if o := must(w.FirewallOptions(ctx, "pve1", 100))(t); o["enable"] != "1" || o["policy_in"] != "DROP" {
			t.Errorf("%+v", o)
		}
		if r := must(w.FirewallRules(ctx, "pve1", 100))(t); len(r) != 2 || r[0]["dport"] != "22" || r[0]["pos"] != "0" || r[1]["action"] != "REJECT" || r[1]["enable"] != "0" {
			t.Errorf("%+v", r)
		}
		if a := must(w.FirewallAliases(ctx, "pve1", 100))(t); len(a) != 1 || a[0]["cidr"] != "192.0.2.0/24" {
			t.Errorf("%+v", a)
		}
		if s := must(w.FirewallIPSets(ctx, "pve1", 100))(t); len(s) != 1 || s[0]["name"] != "admins" {
			t.Errorf("%+v", s)
		}
		if s := must(w.FirewallIPSet(ctx, "pve1", 100, "admins"))(t); len(s) != 2 || s[1]["nomatch"] != "1" {
			t.Errorf("%+v", s)
		}
	})
}

// What is sent once and lost: nobody knows, and it happened at most once.
func TestFaultyMachineCalls(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, release string) {
		for name, k := range map[string]struct {
			do   func(world) error
			path string
			did  func(world) bool
		}{
			"config": {func(w world) error {
				return w.SetConfig(ctx, "pve1", 101, pve.ConfigChange{Set: map[string]string{"name": "other"}})
			}, "/config$", func(w world) bool { return w.config(t, 101).Name == "other" }},
			"snapshot": {func(w world) error { _, err := w.CreateSnapshot(ctx, "pve1", 101, "first", "", false); return err }, "/snapshot$",
				func(w world) bool { return len(must(w.Snapshots(ctx, "pve1", 101))(t).List) == 1 }},
			"start": {func(w world) error { _, err := w.Start(ctx, "pve1", 101); return err }, "/start$",
				func(w world) bool { return must(w.GuestStatus(ctx, "pve1", 101))(t).Status == "running" }},
			"destroy": {func(w world) error { _, err := w.Destroy(ctx, "pve1", 101, false); return err }, "/101$",
				func(w world) bool { _, err := w.GuestConfig(ctx, "pve1", 101); return pve.ClassOf(err) == pve.Gone }},
		} {
			for kind, happens := range map[pvesim.Kind]bool{pvesim.LostAnswer: true, pvesim.LostRequest: false, pvesim.LateEffect: true} {
				w := mighty(t, release)
				w.sim.Inject(pvesim.Fault{Kind: kind, Path: k.path, Count: 1, For: time.Minute})
				if err := k.do(w); pve.ClassOf(err) != pve.Ambiguous {
					t.Errorf("%s, %s: %v", name, kind, err)
				}
				w.clock.advance(5 * time.Minute)
				w.sim.Settle()
				if k.did(w) != happens {
					t.Errorf("%s, %s: happened %v", name, kind, !happens)
				}
				if n := len(w.sim.Calls()); n != 1 {
					t.Errorf("%s, %s: %d calls", name, kind, n)
				}
			}
		}
		w := mighty(t, release)
		w.sim.Inject(pvesim.Fault{Kind: pvesim.Refuse, Status: 595, Reason: "No route to host", Method: "POST", Count: 1})
		_, err := w.Start(ctx, "pve1", 101)
		refused(t, "595", err, pve.Ambiguous, "")
		if err := w.sim.HoldLockFile(101, time.Hour); err != nil {
			t.Fatal(err)
		}
		refused(t, "a held lock file", w.SetConfig(ctx, "pve1", 101, pve.ConfigChange{Set: map[string]string{"name": "x"}}), pve.Refused, pve.LockFile)
		upid, err := w.CreateSnapshot(ctx, "pve1", 101, "first", "", false)
		w.badly(t, upid, err, pve.Refused, pve.LockFile)
		_, err = w.Restore(ctx, "pve1", pve.RestoreRequest{VMID: 101, Over: true, Archive: "local:backup/vzdump-qemu-101-2001_01_01-00_00_00.vma.zst"})
		refused(t, "a restore meanwhile, of nothing", err, pve.Gone, "")
	})
}

// A token with exactly what Demands says may do it, and one with any of that less may not.
func TestDemandsAreWhatProxmoxDemands(t *testing.T) {
	t.Parallel()
	type deed struct {
		action pve.Action
		scene  pve.Scene
		do     func(world) (pve.UPID, error)
	}
	quick := func(err error) (pve.UPID, error) { return pve.UPID{}, err }
	const archive = "local:backup/vzdump-qemu-101-2026_11_20-11_00_00.vma.zst"
	set := func(options map[string]string) func(world) (pve.UPID, error) {
		return func(w world) (pve.UPID, error) {
			return w.StartSetConfig(ctx, "pve1", 101, pve.ConfigChange{Set: options})
		}
	}
	deeds := []deed{
		{pve.See, pve.Scene{VMID: 101}, func(w world) (pve.UPID, error) { _, err := w.GuestConfig(ctx, "pve1", 101); return quick(err) }},
		{pve.Power, pve.Scene{VMID: 101}, func(w world) (pve.UPID, error) { return w.Start(ctx, "pve1", 101) }},
		{pve.TakeSnapshot, pve.Scene{VMID: 101}, func(w world) (pve.UPID, error) { return w.CreateSnapshot(ctx, "pve1", 101, "more", "", false) }},
		{pve.RollBack, pve.Scene{VMID: 101}, func(w world) (pve.UPID, error) { return w.Rollback(ctx, "pve1", 101, "first", false) }},
		{pve.RollBack, pve.Scene{VMID: 101, Start: true}, func(w world) (pve.UPID, error) { return w.Rollback(ctx, "pve1", 101, "first", true) }},
		{pve.SetCPU, pve.Scene{VMID: 101}, set(map[string]string{"cores": "2"})},
		{pve.SetMemory, pve.Scene{VMID: 101}, set(map[string]string{"memory": "256"})},
		{pve.SetDisks, pve.Scene{VMID: 101, Storages: []string{"data"}}, set(map[string]string{"scsi1": "data:1"})},
		{pve.SetNetwork, pve.Scene{VMID: 101, Networks: []string{"vmbr0/7"}}, set(map[string]string{"net1": "virtio,bridge=vmbr0,tag=7"})},
		{pve.SetOptions, pve.Scene{VMID: 101}, set(map[string]string{"description": "x"})},
		{pve.SetCloudInit, pve.Scene{VMID: 101}, set(map[string]string{"ciuser": "x"})},
		{pve.SetCloudInit, pve.Scene{VMID: 101}, func(w world) (pve.UPID, error) { return quick(w.RegenerateCloudInit(ctx, "pve1", 101)) }},
		{pve.CopyMachine, pve.Scene{VMID: 101, NewID: 300, Storages: []string{"data"}, Networks: []string{"vmbr0"}}, func(w world) (pve.UPID, error) {
			return w.Clone(ctx, "pve1", pve.CloneRequest{VMID: 101, NewID: 300, Full: true, Storage: "data"})
		}},
		{pve.DestroyAll, pve.Scene{VMID: 101}, func(w world) (pve.UPID, error) { return w.Destroy(ctx, "pve1", 101, true) }},
		{pve.AskAgent, pve.Scene{VMID: 100}, func(w world) (pve.UPID, error) { return quick(w.AgentPing(ctx, "pve1", 100)) }},
		{pve.UseAgent, pve.Scene{VMID: 100}, func(w world) (pve.UPID, error) {
			return quick(w.SetUserPassword(ctx, "pve1", 100, "root", "geheim"))
		}},
		{pve.RestoreOver, pve.Scene{VMID: 101, Backup: "local", Storages: []string{"data"}, Networks: []string{"vmbr0"}, Start: true}, func(w world) (pve.UPID, error) {
			return w.Restore(ctx, "pve1", pve.RestoreRequest{VMID: 101, Archive: archive, Over: true, Storage: "data", Start: true})
		}},
	}
	on(t, func(t *testing.T, release string) {
		for _, d := range deeds {
			demands := pve.Demands(d.action, int(release[0]-'0'), d.scene)
			for without := -1; without < len(demands); without++ {
				w := newWorld(t, release, 1)
				for _, vmid := range []int{100, 101} {
					err := w.sim.SetGuest(vmid, func(g *pvesim.Guest) { g.Agent = "1" })
					if err != nil {
						t.Fatal(err)
					}
				}
				if err := w.sim.AddArchive(pvesim.Archive{Node: "pve1", Storage: "local", Volid: archive, VMID: 101, Time: w.clock.now().Add(-time.Hour), Size: 1 << 20}); err != nil {
					t.Fatal(err)
				}
				m := mightyOver(t, w)
				m.well(t, must(m.CreateSnapshot(ctx, "pve1", 101, "first", "", false))(t), nil)
				if err := w.sim.SetRights(nil); err != nil {
					t.Fatal(err)
				}
				w.clock.advance(time.Minute)
				byPath := map[string][]string{}
				for i, one := range demands {
					byPath[one.Path] = append(byPath[one.Path], nil...)
					if i != without {
						byPath[one.Path] = append(byPath[one.Path], one.Any[0])
					}
				}
				for path, privileges := range byPath {
					for _, who := range []string{"portal@pve", pvesim.PortalToken} {
						if err := w.sim.SetPrivileges(who, path, privileges...); err != nil {
							t.Fatal(err)
						}
					}
				}
				upid, err := d.do(w)
				denied := pve.ReasonOf(err) == pve.Permission
				if err == nil && !upid.IsZero() {
					end := m.until(t, upid)
					_, reason := pve.Meaning(end.Exit)
					denied = reason == pve.Permission
					if !end.OK() && !denied {
						t.Errorf("%s, without %d of %v: %s", d.action, without, demands, end.Exit)
					}
				} else if err != nil && !denied {
					t.Errorf("%s, without %d of %v: %v", d.action, without, demands, err)
				}
				if denied != (without >= 0) {
					t.Errorf("%s, without %d of %v: denied %v (%v)", d.action, without, demands, denied, err)
				}
			}
		}
	})
}

// mightyOver is another look at the same world, by a token that may everything.
func mightyOver(t *testing.T, w world) world {
	t.Helper()
	c, err := pve.New(pve.Config{
		Endpoints: []string{"https://pve1:8006"}, TokenID: pvesim.SimToken, Secret: pvesim.Secret, Transport: w.sim, Now: w.clock.now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return world{c, w.sim, w.clock}
}
