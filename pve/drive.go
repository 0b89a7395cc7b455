package pve

import (
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// EditProperties changes single options of a property string and keeps the rest as it is, byte for byte and in its
// order: also options that this package has never heard of. An option in set takes the place of the one of that name
// and comes last where there is none; those in remove go. The first part, which names the volume or the card, is not an
// option: no key is empty. Values hold neither commas nor line breaks, for the format has no quoting.
func EditProperties(raw string, set Properties, remove ...string) (string, error) {
	for _, p := range set {
		switch {
		case !optionName.MatchString(p.Key):
			return "", refusal(p.Key, "not an option's name")
		case p.Value == "" || strings.ContainsAny(p.Value, ",\r\n\x00") || strings.TrimSpace(p.Value) != p.Value:
			return "", refusal(p.Key, "not an option's value")
		case slices.Contains(remove, p.Key):
			return "", refusal(p.Key, "set and removed at the same time")
		}
	}
	done := map[string]bool{}
	var parts []string
	for _, part := range strings.Split(raw, ",") {
		key, _, hasValue := strings.Cut(part, "=")
		key = strings.TrimSpace(key)
		if hasValue && slices.Contains(remove, key) {
			continue
		}
		if value, ok := last(set, key); hasValue && ok {
			if done[key] {
				continue
			}
			done[key], part = true, key+"="+value
		}
		parts = append(parts, part)
	}
	for _, p := range set {
		if !done[p.Key] {
			value, _ := last(set, p.Key)
			done[p.Key], parts = true, append(parts, p.Key+"="+value)
		}
	}
	return strings.Join(parts, ","), nil
}

var optionName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]*$`)

// last gives what a list says last of a key.
func last(set Properties, key string) (string, bool) {
	for _, p := range slices.Backward(set) {
		if p.Key == key {
			return p.Value, true
		}
	}
	return "", false
}

// With gives the drive's property string with other options, such as limits ("mbps_rd" in MB/s, "iops_wr") or "backup";
// its volume and every other option stay. Limits hold at once on a running machine. A drive's size is Resize's.
func (d Disk) With(set Properties, remove ...string) (string, error) {
	if d.Volid == "" {
		return "", refusal(d.Key, "a drive without a volume")
	}
	for _, name := range []string{"file", "size", "media"} {
		if _, set := last(set, name); set || slices.Contains(remove, name) {
			return "", refusal(name, "not an option to change here")
		}
	}
	return EditProperties(d.Raw, set, remove...)
}

// With gives the card's property string with other options, such as "rate" (MB/s), "tag" or "link_down"; its model, its
// MAC and every other option stay. Without its MAC Proxmox would make a new one.
func (n Net) With(set Properties, remove ...string) (string, error) {
	if n.MAC == "" {
		return "", refusal(n.Key, "a card without an address")
	}
	for _, name := range []string{"model", "macaddr", n.Model} {
		if _, set := last(set, name); set || slices.Contains(remove, name) {
			return "", refusal(name, "not an option to change here")
		}
	}
	return EditProperties(n.Raw, set, remove...)
}

// NewDisk is a disk that is to be made.
type NewDisk struct {
	Storage   string
	SizeBytes int64      // whole MiB
	Format    string     // "qcow2" on directories: Proxmox' default there is raw, with which no snapshot works. "" where the storage has one format
	Options   Properties // further options
}

// Value gives what a disk's key is set to so that Proxmox makes it: "local:32,format=qcow2". The size is written in
// GiB, which may have a fraction; the configuration then shows it in units of its own.
func (d NewDisk) Value() (string, error) {
	switch {
	case !storageName.MatchString(d.Storage):
		return "", refusal("storage", "no storage named")
	case d.SizeBytes <= 0 || d.SizeBytes%(1<<20) != 0:
		return "", refusal("size", "a new disk has whole MiB")
	case d.Format != "" && !optionName.MatchString(d.Format):
		return "", refusal("format", "no format of disks")
	}
	gib := new(big.Rat).SetFrac64(d.SizeBytes, 1<<30).FloatString(10) // 1 MiB has ten digits
	gib = strings.TrimSuffix(strings.TrimRight(gib, "0"), ".")
	options := d.Options
	if d.Format != "" {
		options = append(Properties{{"format", d.Format}}, options...)
	}
	return EditProperties(d.Storage+":"+gib, options)
}

// DiskImport is a new disk with what stands on another machine's.
type DiskImport struct {
	Storage string     // for the new disk
	From    string     // volume of a machine on the same node that is off, such as a template's base volume
	Format  string     // as of NewDisk
	Options Properties // further options
}

// Value gives what a disk's key is set to so that Proxmox copies the volume into a new disk: "local:0,format=qcow2,
// import-from=local:900/base-900-disk-0.qcow2". It belongs into StartSetConfig, for the copy takes its time; the
// configuration names the disk when it is whole. The volume's machine has to have its configuration on the same node,
// also where the storage is shared (qemu-server, PVE/API2/Qemu.pm).
func (d DiskImport) Value() (string, error) {
	if _, ok := VolumeOwner(d.From); !ok || strings.ContainsAny(d.From, ", \r\n") {
		return "", refusal("volume", d.From+" is no machine's volume")
	}
	switch {
	case !storageName.MatchString(d.Storage):
		return "", refusal("storage", "no storage named")
	case d.Format != "" && !optionName.MatchString(d.Format):
		return "", refusal("format", "no format of disks")
	}
	options := Properties{{"import-from", d.From}}
	if d.Format != "" {
		options = append(Properties{{"format", d.Format}}, options...)
	}
	return EditProperties(d.Storage+":0", append(options, d.Options...))
}

// AttachDisk gives what a disk's key is set to so that a volume of GuestConfig.Unused hangs there again. A token with
// VM.Config.Disk may attach any machine's volume, so one that isn't named for this vmid is refused here.
func AttachDisk(volid string, vmid int, options Properties) (string, error) {
	if owner, ok := VolumeOwner(volid); !ok || owner != vmid || strings.ContainsAny(volid, ", \r\n") {
		return "", refusal("volume", volid+" is no volume of machine "+strconv.Itoa(vmid))
	}
	return EditProperties(volid, options)
}

var volumeName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._-]*:(?:.*/)?(?:vm|base|subvol)-(\d{1,9})-[^/]+$`)

// VolumeOwner gives the machine that a volume is named for: 102 for "local:102/vm-102-disk-0.qcow2", "lvm:vm-102-disk-0"
// and the linked clone "local:160/base-160-disk-0.qcow2/102/vm-102-disk-0.qcow2".
func VolumeOwner(volid string) (int, bool) {
	m := volumeName.FindStringSubmatch(volid)
	if m == nil {
		return 0, false
	}
	return atoi(m[1]), true
}

// FreePlace gives the first place on a bus ("scsi", "virtio", "sata", "ide") where the configuration has no drive, or ""
// where all are taken.
func (g GuestConfig) FreePlace(bus string) string {
	for i := range map[string]int{"scsi": 31, "virtio": 16, "sata": 6, "ide": 4}[bus] {
		if key := bus + strconv.Itoa(i); g.Raw[key] == "" {
			return key
		}
	}
	return ""
}
