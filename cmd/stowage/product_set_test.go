package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"stowage/portal"
	"stowage/store"
)

// Each flag of a product and of a service's own values ends where it belongs, changes nothing else, and can be taken
// back.
func TestProductAndServiceSet(t *testing.T) {
	t.Parallel()
	b, _, service := hosting(t)
	read := func() (p portal.Product, s portal.Service) {
		t.Helper()
		b.on(func(db *store.DB) (err error) {
			if s, err = db.ServiceByUID(t.Context(), service); err != nil {
				return err
			}
			p, err = db.Product(t.Context(), s.ProductID)
			return err
		})
		return p, s
	}
	before, adopted := read()
	mac := adopted.Hardware.Nets[0].MAC
	if diff := cmp.Diff(portal.Spec{Net: portal.Card{MAC: mac}}, adopted.Own); diff != "" || mac == "" {
		t.Errorf("an adopted machine's own is its MAC:\n%s", diff)
	}
	b.must("product", "set", "VPS", "--sockets", "1", "--cores", "4", "--cpu-limit", "2.5", "--memory", "4096",
		"--disk", "40", "--disk-storage", "local", "--disk-device", "scsi0", "--disk-read-mb", "100", "--disk-write-mb", "50", "--disk-read-iops", "300", "--disk-write-iops", "none",
		"--data-disk", "20", "--data-storage", "data", "--data-read-mb", "10", "--data-write-mb", "11", "--data-read-iops", "12", "--data-write-iops", "13",
		"--net-model", "virtio", "--bridge", "vmbr0", "--vlan", "7", "--net-rate", "12.5", "--firewall", "--ip4", "dhcp", "--ip6", "auto",
		"--template", "Debian 13=9000", "--template", "Alpine=9001@pve1", "--clone", "linked",
		"--snapshots", "3", "--snapshot-days", "2", "--no-snapshot-memory", "--no-safety-copy", "--protect", "2", "--spread", "15")
	on := true
	want := before
	want.Spec = portal.Spec{
		Templates: []portal.Template{{Name: "Debian 13", VMID: 9000}, {Name: "Alpine", VMID: 9001, Server: "pve1"}}, Clone: "linked",
		Sockets: 1, Cores: 4, CPULimit: 2.5, MemoryMB: 4096,
		System: portal.Drive{Device: "scsi0", Storage: "local", SizeGiB: 40, ReadMB: 100, WriteMB: 50, ReadIOPS: 300, WriteIOPS: portal.NoLimit},
		Data:   portal.Drive{Device: "scsi1", Storage: "data", SizeGiB: 20, ReadMB: 10, WriteMB: 11, ReadIOPS: 12, WriteIOPS: 13},
		Net:    portal.Card{Model: "virtio", Bridge: "vmbr0", VLAN: 7, RateMB: 12.5, Firewall: &on, IP4: "dhcp", IP6: "auto"},
	}
	want.Snapshots, want.SnapshotDays, want.SnapMemory, want.SafetyCopy, want.Protect, want.Spread = 3, 2, false, false, 2, 15*60e9
	got, _ := read()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("product set (-want +got):\n%s", diff)
	}
	b.must("product", "set", "VPS", "--cores", "0", "--data-disk", "0")
	want.Spec.Cores, want.Spec.Data = 0, portal.Drive{}
	if got, _ = read(); !cmp.Equal(want, got) {
		t.Errorf("taken back (-want +got):\n%s", cmp.Diff(want, got))
	}
	b.run("product", "set", "VPS", "--cores", "513").want(t, "too many cores", exitFailed, "1 to 512")
	b.run("product", "set", "VPS", "--template", "Debian").want(t, "a template without a number", exitUsage, "Debian 13=9000")
	b.run("product", "set", "VPS", "--vlan", "1.5").want(t, "half a VLAN", exitFailed, "from 1 to 4094")
	b.run("product", "set", "VPS", "--net-rate", "fast").want(t, "a limit in words", exitUsage, "neither a number nor none")
	b.run("product", "set", "nobody", "--cores", "1").want(t, "no such product", exitFailed, "no product")

	b.must("service", "set", service, "--cores", "8", "--vlan", "9", "--mac", "BC:24:11:00:00:99", "--ip4", "192.0.2.7/24", "--gateway4", "192.0.2.1", "--disk-write-mb", "none", "--data-disk", "30")
	own := portal.Spec{Cores: 8, System: portal.Drive{WriteMB: portal.NoLimit}, Data: portal.Drive{SizeGiB: 30}, Net: portal.Card{MAC: "BC:24:11:00:00:99", VLAN: 9, IP4: "192.0.2.7/24", Gateway4: "192.0.2.1"}}
	if _, s := read(); !cmp.Equal(own, s.Own) {
		t.Errorf("service set (-want +got):\n%s", cmp.Diff(own, s.Own))
	}
	b.run("service", "set", service, "--ip4", "192.0.2.7").want(t, "an address without its length", exitFailed, "with its length")
	b.must("service", "set", service, "--cores", "0", "--vlan", "0")
	own.Cores, own.Net.VLAN = 0, 0
	if _, s := read(); !cmp.Equal(own, s.Own) {
		t.Errorf("taken back (-want +got):\n%s", cmp.Diff(own, s.Own))
	}
}
