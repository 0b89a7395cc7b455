package pve

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var numbered = regexp.MustCompile(`^([a-z_-]+?)\d+$`)

// linePrivileges are the privileges by the lines of a configuration that need them; of families ("net0") without the
// number. Source: qemu-server, PVE/API2/Qemu.pm.
var linePrivileges = map[string][]string{
	"VM.Config.CPU":     {"affinity", "cores", "cpu", "cpulimit", "cpuunits", "numa", "sockets", "vcpus"},
	"VM.Config.Memory":  {"allow-ksm", "balloon", "hugepages", "keephugepages", "memory", "shares"},
	"VM.Config.Network": {"net"},
	"VM.Config.Options": {"agent", "autostart", "description", "freeze", "keyboard", "localtime", "migrate_downtime", "migrate_speed", "name", "onboot", "ostype", "protection", "reboot", "startdate", "startup", "tags"},
	"VM.Config.Disk":    {"boot", "bootdisk", "vmstatestorage"},
	"VM.Config.HWType":  {"acpi", "arch", "audio", "bios", "hotplug", "kvm", "machine", "rng", "scsihw", "smbios1", "spice_enhancements", "tablet", "tdf", "vga", "vmgenid", "watchdog"},
}

var cloudInitLines = []string{"cicustom", "citype", "ciuser", "ciupgrade", "nameserver", "searchdomain", "sshkeys", "ipconfig"}

// LineDemand gives what setting one line of a machine's configuration needs, drives left out; false for one that root
// alone may set, or of which nothing is known.
func LineDemand(vmid int, key, value string) (Demand, bool) {
	family := key
	if m := numbered.FindStringSubmatch(key); m != nil && key != "smbios1" {
		family = m[1]
	}
	path := "/vms/" + strconv.Itoa(vmid)
	if slices.Contains(cloudInitLines, family) {
		return Demand{path, []string{"VM.Config.Cloudinit", "VM.Config.Network"}}, true
	}
	if family == "serial" { // a device of the host is root's
		return Demand{path, []string{"VM.Config.HWType"}}, strings.TrimSpace(value) == "socket"
	}
	for privilege, families := range linePrivileges {
		if slices.Contains(families, family) {
			return Demand{path, []string{privilege}}, true
		}
	}
	return Demand{}, false
}
