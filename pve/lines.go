package pve

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var numbered = regexp.MustCompile(`^([a-z_-]+?)\d+$`)

// linePrivileges are the privileges by the lines of a configuration that need them; of families ("net0") without the
// number. What is missing is root's (affinity, arch, args, hugepages, vmgenid …), or wants rights elsewhere as well: startup
// Sys.Modify on /, cicustom the storage of its snippets. Source: qemu-server, PVE/API2/Qemu.pm.
var linePrivileges = map[string][]string{
	"VM.Config.CPU":     {"cores", "cpu", "cpulimit", "cpuunits", "numa", "sockets", "vcpus"},
	"VM.Config.Memory":  {"allow-ksm", "balloon", "memory", "shares"},
	"VM.Config.Network": {"net"},
	"VM.Config.Options": {"agent", "autostart", "bios", "description", "keyboard", "localtime", "migrate_downtime", "migrate_speed", "name", "onboot", "ostype", "protection", "reboot", "startdate", "tags", "tdf"},
	"VM.Config.Disk":    {"boot", "bootdisk", "vmstatestorage"},
	"VM.Config.HWType":  {"acpi", "audio", "hotplug", "kvm", "machine", "rng", "scsihw", "smbios1", "tablet", "vga", "watchdog"},
}

var cloudInitLines = []string{"citype", "ciuser", "ciupgrade", "nameserver", "searchdomain", "sshkeys", "ipconfig"}

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
	if family == "rng" && strings.Contains(value, "hwrng") { // a mapped device
		return Demand{}, false
	}
	for privilege, families := range linePrivileges {
		if slices.Contains(families, family) {
			return Demand{path, []string{privilege}}, true
		}
	}
	return Demand{}, false
}
