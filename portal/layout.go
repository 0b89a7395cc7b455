package portal

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Machine is a machine's config as it was read, taken apart: what Reapply holds against what is sold. Values are Proxmox's
// own words; a line that is not there is absent here, too.
type Machine struct {
	VMID    int
	Running bool
	Values  map[string]string // lines that are no property strings: name, cores, memory, boot, onboot …
	Drives  []MachineDrive
	Nets    []MachineNet
	Unused  []MachineDrive     // key unused0 …; Size is 0 where nobody knows it, as the config doesn't say
	IPs     map[string]Options // ipconfig0 …
}

// Options are the options of one property string by name: iops_wr, tag, firewall. A disk's size, which is no setting, is
// not among them.
type Options map[string]string

// MachineDrive is one drive of a machine's config. One whose line can't be read has no Volid, or no Size.
type MachineDrive struct {
	Key     string
	Volid   string // storage:name, or an absolute path
	Storage string // "" for a path
	Size    int64  // bytes
	CDROM   bool
	Options Options
	Raw     string // the line, for staff
}

// MachineNet is one network card of a machine's config. One whose line can't be read has no Model.
type MachineNet struct {
	Key     string
	Model   string
	MAC     string
	Options Options // bridge, tag, rate, firewall …
	Raw     string
}

// DiskPlace is what Reapply has to know of a storage for disks.
type DiskPlace struct {
	Type   string // Proxmox's word: dir, nfs, lvmthin, zfspool, rbd …
	Active bool
	NoGrow bool // disks on it can't be made larger
}

// folders are the types of storage that keep disks as files. There only qcow2 can take snapshots (seen on a real one).
var folders = []string{"dir", "nfs", "cifs", "glusterfs"}

// Format gives the format in which a new disk can take snapshots: qcow2 where disks are files, else "", for the
// storage's own.
func (p DiskPlace) Format() string {
	if slices.Contains(folders, p.Type) {
		return "qcow2"
	}
	return ""
}

// FileFormat gives the format that a volume's name tells: qcow2, raw, vmdk; "" where disks are no files.
func FileFormat(volid string) string {
	_, name, _ := strings.Cut(volid, ":")
	_, ending, found := strings.Cut(name[strings.LastIndex(name, "/")+1:], ".")
	if !found {
		return ""
	}
	return ending
}

var volumeName = regexp.MustCompile(`^vm-(\d+)-disk-\d+(?:\.[a-z0-9]+)?$`)

// Owns tells whether a volume is a disk of this very machine, by its name: a token that may change disks may attach any
// machine's (pve/facts: Silent traps).
func (m Machine) Owns(volid string) bool {
	_, name, ok := strings.Cut(volid, ":")
	found := volumeName.FindStringSubmatch(name[strings.LastIndex(name, "/")+1:])
	return ok && found != nil && found[1] == strconv.Itoa(m.VMID)
}

// special are drives that hold no data of the client's.
var special = regexp.MustCompile(`^(?:efidisk|tpmstate)\d`)

// disks gives the drives that hold data, in order of key.
func (m Machine) disks() []MachineDrive {
	return slices.DeleteFunc(slices.Clone(m.Drives), func(d MachineDrive) bool {
		return d.CDROM || d.Volid == "none" || special.MatchString(d.Key)
	})
}

// drive gives the drive with a key.
func (m Machine) drive(key string) (MachineDrive, bool) {
	i := slices.IndexFunc(m.Drives, func(d MachineDrive) bool { return d.Key == key })
	if i < 0 {
		return MachineDrive{}, false
	}
	return m.Drives[i], true
}

// system gives the disk that the machine starts from: the one on the device sold, else the first one in the boot
// order, else the only one.
func (m Machine) system(device string) (MachineDrive, bool) {
	disks := m.disks()
	named := func(key string) int {
		return slices.IndexFunc(disks, func(d MachineDrive) bool { return d.Key == key })
	}
	if i := named(device); i >= 0 {
		return disks[i], true
	}
	for _, key := range strings.FieldsFunc(m.Values["boot"], func(r rune) bool { return strings.ContainsRune("=;,", r) }) {
		if i := named(key); i >= 0 {
			return disks[i], true
		}
	}
	if i := named(m.Values["bootdisk"]); i >= 0 {
		return disks[i], true
	}
	if len(disks) == 1 {
		return disks[0], true
	}
	return MachineDrive{}, false
}

// Replaced gives the volume of the system disk where drives of these keys take its place though it hangs elsewhere, as
// after an archive from before it was on another bus; "" where there is none. Only a volume that is plainly the system
// disk, by what is sold and by the boot order, and the machine's own.
func (m Machine) Replaced(device string, inside []string) string {
	sold, found := m.system(device)
	booted, plain := m.system("")
	if !found || !plain || sold.Key != booted.Key || slices.Contains(inside, sold.Key) || !m.Owns(sold.Volid) {
		return ""
	}
	return sold.Volid
}

// Counterparts gives the volumes of additional disks that an archive holds under other keys, because they were moved to
// another bus: as many as it has, on the same storages, none smaller. Else none: what is in doubt stays.
func (m Machine) Counterparts(then Machine, device string, inside []string) []string {
	other := func(of Machine, wanted func(MachineDrive) bool) []MachineDrive {
		system, _ := of.system(device)
		return slices.DeleteFunc(of.disks(), func(d MachineDrive) bool { return d.Key == system.Key || !wanted(d) })
	}
	mine := other(m, func(d MachineDrive) bool { return !slices.Contains(inside, d.Key) && m.Owns(d.Volid) })
	theirs := other(then, func(d MachineDrive) bool {
		_, there := m.drive(d.Key)
		return slices.Contains(inside, d.Key) && !there
	})
	var out []string
	for i, d := range mine {
		if len(mine) != len(theirs) || d.Storage != theirs[i].Storage || d.Size < theirs[i].Size {
			return nil
		}
		out = append(out, d.Volid)
	}
	return out
}

// SystemDisk gives the disk that the machine starts from; device is where one is sold.
func (m Machine) SystemDisk(device string) (MachineDrive, bool) { return m.system(device) }

// Keep fills what a spec does not say with how the machine was before its config was replaced, by a restore or a
// rollback: the client's data go back in time, the hardware that they use today doesn't. Disks that the machine had
// are kept in mind, so that they are attached again.
func (s Spec) Keep(before Machine) Spec {
	then := Spec{
		Sockets: before.count("sockets"), Cores: before.count("cores"), MemoryMB: before.count("memory"),
		CPULimit: limitOf(before.Values["cpulimit"]), Name: before.Values["name"], Boot: before.Values["boot"], OnBoot: truth(before.Values["onboot"]),
	}
	system, found := before.system(s.System.Device)
	if found {
		then.System = driveAs(system)
	}
	for _, d := range before.disks() {
		if d.Key == s.Data.Device && s.Data != (Drive{}) {
			then.Data = driveAs(d)
		}
		if d.Key != system.Key && before.Owns(d.Volid) {
			then.Kept = append(then.Kept, Kept{Key: d.Key, Volid: d.Volid, Options: d.Options})
		}
	}
	if i := slices.IndexFunc(before.Nets, func(n MachineNet) bool { return n.Key == "net0" }); i >= 0 && before.Nets[i].Model != "" {
		n := before.Nets[i]
		then.Net = Card{Model: n.Model, MAC: n.MAC, Bridge: n.Options["bridge"], VLAN: int(limitOf(n.Options["tag"])), RateMB: limitOf(n.Options["rate"]), Firewall: truth(n.Options["firewall"])}
	}
	ip := before.IPs["ipconfig0"]
	then.Net.IP4, then.Net.Gateway4, then.Net.IP6, then.Net.Gateway6 = ip["ip"], ip["gw"], ip["ip6"], ip["gw6"]
	return then.With(s)
}

func driveAs(d MachineDrive) Drive {
	return Drive{Device: d.Key, Storage: d.Storage, Least: d.Size,
		ReadMB: limitOf(d.Options["mbps_rd"]), WriteMB: limitOf(d.Options["mbps_wr"]),
		ReadIOPS: int(limitOf(d.Options["iops_rd"])), WriteIOPS: int(limitOf(d.Options["iops_wr"]))}
}

// limitOf reads a limit of the config: what isn't there, or 0, is NoLimit; what can't be read is not said.
func limitOf(s string) float64 {
	if s == "" {
		return NoLimit
	}
	v, err := strconv.ParseFloat(s, 64)
	switch {
	case err != nil || v < 0 || v > 1e9:
		return 0
	case v == 0:
		return NoLimit
	}
	return v
}

func truth(s string) *bool {
	on := s == "1" || s == "yes" || s == "true" || s == "on"
	return &on
}

// defaults are what Proxmox takes where the config has no line.
var defaults = map[string]int{"sockets": 1, "cores": 1, "memory": 512}

// count reads a whole number of the config, with Proxmox's default where there is no line; 0 where it can't be read.
func (m Machine) count(key string) int {
	s, ok := m.Values[key]
	if !ok {
		return defaults[key]
	}
	s, _, _ = strings.Cut(s, ",")
	n, err := strconv.Atoi(strings.TrimPrefix(s, "current="))
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// clone gives a copy whose parts can be changed.
func (m Machine) clone() Machine {
	m.Values, m.IPs = maps.Clone(m.Values), maps.Clone(m.IPs)
	if m.Values == nil {
		m.Values = map[string]string{}
	}
	if m.IPs == nil {
		m.IPs = map[string]Options{}
	}
	m.Drives, m.Nets, m.Unused = slices.Clone(m.Drives), slices.Clone(m.Nets), slices.Clone(m.Unused)
	return m
}

// figure writes a number as Proxmox's config has it.
func figure(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// freeKey gives the first key of a bus, as "scsi", that no drive has; "" where all are taken.
func (m Machine) freeKey(like string) string {
	bus := strings.TrimRight(like, "0123456789")
	for i := range 31 {
		key := fmt.Sprint(bus, i)
		if _, taken := m.drive(key); !taken && deviceName.MatchString(key) {
			return key
		}
	}
	return ""
}
