package jobs_test

import (
	"testing"
	"time"

	"stowage/portal"
	"stowage/pve"
)

// TestPackageChange gives a service a larger package while its machine is backed up: it is applied afterwards, change by
// change, and the machine is as sold.
func TestPackageChange(t *testing.T) {
	t.Parallel()
	for _, release := range []string{"8.4", "9.2"} {
		t.Run(release, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, worldOptions{Release: release})
			big := portal.NewProduct("vps-l")
			big.Quota, big.Storage = 3, "local"
			big.Spec = portal.Spec{
				Cores: 2, MemoryMB: 512, System: portal.Drive{SizeGiB: 2, ReadMB: 100, WriteIOPS: 500},
				Data: portal.Drive{Device: "scsi1", Storage: "local", SizeGiB: 1, WriteMB: 50}, Net: portal.Card{VLAN: 7, RateMB: 12.5},
			}
			big, err := w.db.AddProduct(t.Context(), "cli", big)
			w.must(err)
			w.backupNow("", "")
			w.run(3 * time.Second)
			w.must(w.db.ChangeProduct(t.Context(), "cli", w.service, big))
			w.must(w.db.ChangeProduct(t.Context(), "cli", w.service, big))
			w.settle(time.Hour)
			op := w.last()
			if op.Kind != portal.KindReapply || op.State != portal.StateSucceeded || op.Reason != "Your package is applied. Some of it, such as CPU and memory, holds from the machine's next start." {
				t.Fatalf("%s %s %q\n%s", op.Kind, op.State, op.Reason, w.story())
			}
			got := w.config()
			if got.Raw["cores"] != "2" || got.Raw["memory"] != "512" {
				t.Errorf("cores %s, memory %s", got.Raw["cores"], got.Raw["memory"])
			}
			if n := got.Nets[0]; n.Tag != 7 || n.Rate != 12.5 {
				t.Errorf("network card %s", n.Raw)
			}
			disks := map[string]pve.Disk{}
			for _, d := range got.Disks {
				disks[d.Key] = d
			}
			if d := disks["scsi0"]; d.SizeBytes != 2<<30 || d.Option("mbps_rd") != "100" || d.Option("iops_wr") != "500" {
				t.Errorf("system disk %s", d.Raw)
			}
			if d := disks["scsi1"]; d.SizeBytes != 1<<30 || d.Option("mbps_wr") != "50" {
				t.Errorf("additional disk %s", d.Raw)
			}
			if len(op.Work.Changes) < 8 {
				t.Errorf("told: %+v", op.Work.Changes)
			}
			if len(w.complete()) != 1 {
				t.Errorf("%d copies", len(w.complete()))
			}
		})
	}
}
