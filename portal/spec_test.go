package portal

import (
	"errors"
	"testing"
)

// What can't be sold is refused with the field that is wrong, and what belongs to one machine can't be sold at all.
func TestSpecValidate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		spec         Spec
		product, own string // fields refused, "" = fine
	}{
		{Spec{}, "", ""},
		{Spec{Cores: 4, Sockets: 2, MemoryMB: 4096, CPULimit: 1.5, Clone: "linked", Templates: []Template{{Name: "Debian 13", VMID: 9000}}}, "", ""},
		{Spec{Cores: -1}, "cores", "cores"}, {Spec{Cores: 513}, "cores", "cores"}, {Spec{Sockets: -1}, "sockets", "sockets"},
		{Spec{CPULimit: NoLimit}, "", ""}, {Spec{CPULimit: -2}, "cpu-limit", "cpu-limit"}, {Spec{CPULimit: nan()}, "cpu-limit", "cpu-limit"},
		{Spec{MemoryMB: 15}, "memory", "memory"}, {Spec{Clone: "half"}, "clone", "clone"}, {Spec{Templates: []Template{{Name: "x", VMID: 5}}}, "template", "template"},
		{Spec{System: Drive{Device: "scsi31"}}, "disk-device", "disk-device"}, {Spec{System: Drive{Device: "sata6"}}, "disk-device", "disk-device"}, {Spec{System: Drive{Device: "efidisk0"}}, "disk-device", "disk-device"},
		{Spec{System: Drive{Storage: "lo cal"}}, "disk-storage", "disk-storage"}, {Spec{System: Drive{Storage: "local,size=1"}}, "disk-storage", "disk-storage"}, {Spec{System: Drive{SizeGiB: -1}}, "disk", "disk"},
		{Spec{System: Drive{ReadMB: 0.5}}, "disk-read-mb", "disk-read-mb"}, {Spec{System: Drive{WriteIOPS: -2}}, "disk-read-iops", "disk-read-iops"},
		{Spec{Data: Drive{SizeGiB: 1}}, "data-device", ""}, {Spec{Data: Drive{Device: "scsi1"}}, "data-disk", ""}, {Spec{System: Drive{Device: "scsi0"}, Data: Drive{Device: "scsi0", SizeGiB: 1}}, "data-device", "data-device"},
		{Spec{Net: Card{Model: "virtio", Bridge: "vmbr0", VLAN: 4094, RateMB: 12.5}}, "", ""}, {Spec{Net: Card{VLAN: 4095}}, "vlan", "vlan"}, {Spec{Net: Card{Bridge: "vmbr0,tag=1"}}, "bridge", "bridge"}, {Spec{Net: Card{Model: "ne2k"}}, "net-model", "net-model"},
		{Spec{Net: Card{MAC: "BC:24:11:00:00:01"}}, "mac", ""}, {Spec{Net: Card{MAC: "BD:24:11:00:00:01"}}, "mac", "mac"}, {Spec{Net: Card{MAC: "BC24.1100.0001"}}, "mac", "mac"},
		{Spec{Net: Card{IP4: "dhcp", IP6: "auto"}}, "", ""}, {Spec{Net: Card{IP4: "192.0.2.7/24", Gateway4: "192.0.2.1"}}, "ip4", ""}, {Spec{Net: Card{IP4: "192.0.2.7"}}, "ip4", "ip4"}, {Spec{Net: Card{IP4: "2001:db8::7/64"}}, "ip4", "ip4"},
		{Spec{Net: Card{IP6: "2001:db8::7/64", Gateway6: "2001:db8::1"}}, "ip6", ""}, {Spec{Net: Card{IP6: "192.0.2.7/24"}}, "ip6", "ip6"}, {Spec{Net: Card{Gateway4: "192.0.2.1"}}, "gateway4", "gateway4"}, {Spec{Net: Card{IP4: "dhcp", Gateway4: "192.0.2.1"}}, "gateway4", "gateway4"},
		{Spec{Net: Card{IP6: "2001:db8::7/64", Gateway6: "192.0.2.1"}}, "ip6", "gateway6"},
	} {
		for own, want := range map[bool]string{false: c.product, true: c.own} {
			var refusal *Error
			got := ""
			if errors.As(c.spec.Validate(own), &refusal) {
				got = refusal.Field
			}
			if got != want {
				t.Errorf("%+v (own %v): refused for %q, want %q", c.spec, own, got, want)
			}
		}
	}
}

func nan() float64 {
	zero := 0.0
	return zero / zero
}
