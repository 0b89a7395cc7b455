package portal

import (
	"slices"
	"strings"
)

// role is what a disk is to its machine.
type role struct {
	name string // first part of the names of its changes
	said Text
}

var (
	systemRole = role{"system", "System disk"}
	dataRole   = role{"data", "Additional disk"}
)

// systemDisk is the size of the disk that the machine starts from, and its limits.
func (r *reapplier) systemDisk() {
	want := r.want.System
	if (want == Drive{}) {
		return
	}
	d, found := r.m.system(want.Device)
	if !found {
		r.blocked("system_missing", want.Device, "The machine has no disk that is plainly its system disk. Look at its boot order on the host.")
		return
	}
	r.disk(systemRole, d, want)
}

// disk holds one disk against what is sold.
func (r *reapplier) disk(as role, d MachineDrive, want Drive) {
	if d.Volid == "" || d.Size <= 0 && !r.fresh[d.Key] {
		r.blocked(as.name+"_unreadable", d.Key, Say("The line %s of the machine's config can't be read: %s. Mend it on the host.", d.Key, d.Raw))
		return
	}
	if want.Device != "" && want.Device != d.Key {
		r.report(as.name+"_device", d.Key, Say("A disk is sold as %s and is %s: it stays there, because its guest may not start from another.", want.Device, d.Key))
	}
	if want.Storage != "" && want.Storage != d.Storage {
		r.report(as.name+"_storage", d.Key, Say("The disk %s is on the storage %s and sold on %s: it stays where it is.", d.Key, d.Storage, want.Storage))
	}
	place, known := r.places[d.Storage]
	if known && place.Format() == "qcow2" && FileFormat(d.Volid) == "raw" {
		r.report(as.name+"_raw", d.Key, Say("The disk %s is a raw file, with which the machine can take no snapshots.", d.Key))
	}
	r.size(as, d, want, place, known)
	r.limits(as, d, want)
}

func (r *reapplier) size(as role, d MachineDrive, want Drive, place DiskPlace, known bool) {
	size := want.Bytes()
	switch {
	case size == 0 || d.Size <= 0 || size == d.Size:
	case size < d.Size:
		if want.SizeGiB > 0 && d.Size-size >= 1<<20 { // Proxmox rounds sizes up
			r.report(as.name+"_larger", d.Key, Say("The disk %s has %s, more than the %s that are sold: it stays so, because disks never shrink.", d.Key, Size(d.Size), Size(size)))
		}
	case !known || !place.Active:
		r.blocked(as.name+"_size", d.Key, Say("The disk %s can't grow: its storage %s is not available.", d.Key, storageSaid(d.Storage)))
	case place.NoGrow:
		r.blocked(as.name+"_size", d.Key, Say("The disk %s can't grow: its storage %s doesn't allow it.", d.Key, d.Storage))
	default:
		r.out = append(r.out, Change{Name: as.name + "_size", Kind: ChangeResize, Key: d.Key, Size: size, Storage: d.Storage, Live: true,
			What: Say("%s, size", as.said), Before: Say("%s", Size(d.Size)), After: Say("%s", Size(size))})
	}
}

// limits sets how much a disk may do. Limits on reading and writing can't stand beside one on both, nor a burst above
// a limit that isn't there: QEMU would not start.
func (r *reapplier) limits(as role, d MachineDrive, want Drive) {
	options := Options{}
	for k, v := range d.Options {
		options[k] = v
	}
	drop := func(option string) {
		if v := options[option]; v != "" {
			r.out = append(r.out, Change{Name: as.name + "_" + option, Kind: ChangeSet, Key: d.Key, Option: option, From: v, Live: true,
				What: Say("%s, old limit %s", as.said, option), Before: Verbatim(v), After: "none [limit]"})
			delete(options, option)
		}
	}
	for _, l := range []struct {
		want         float64
		name, option string
		unit         string
		what         Text
		clash        []string
	}{
		{want.ReadMB, "read_mb", "mbps_rd", "%s MB/s", Say("%s, reading", as.said), []string{"mbps", "mbps_max", "mbps_max_length", "bps", "bps_max_length", "bps_rd", "bps_rd_max_length"}},
		{want.WriteMB, "write_mb", "mbps_wr", "%s MB/s", Say("%s, writing", as.said), []string{"mbps", "mbps_max", "mbps_max_length", "bps", "bps_max_length", "bps_wr", "bps_wr_max_length"}},
		{float64(want.ReadIOPS), "read_iops", "iops_rd", "", Say("%s, read operations", as.said), []string{"iops", "iops_max", "iops_max_length"}},
		{float64(want.WriteIOPS), "write_iops", "iops_wr", "", Say("%s, write operations", as.said), []string{"iops", "iops_max", "iops_max_length"}},
	} {
		if l.want == 0 {
			continue
		}
		for _, option := range l.clash {
			drop(option)
		}
		if burst := limitOf(options[l.option+"_max"]); l.want == NoLimit || burst != NoLimit && burst <= l.want {
			drop(l.option + "_max")
			drop(l.option + "_max_length")
		}
		if have := limitOf(options[l.option]); have != l.want {
			r.out = append(r.out, Change{Name: as.name + "_" + l.name, Kind: ChangeSet, Key: d.Key, Option: l.option, From: options[l.option], To: limitWritten(l.want), Live: true,
				What: l.what, Before: limitSaid(have, l.unit), After: limitSaid(l.want, l.unit)})
		}
	}
}

// otherDisks attaches again what the machine had, then sees to the additional disk that is sold. A new one is made only
// where no volume of the machine's own hangs on nothing.
func (r *reapplier) otherDisks() {
	for _, u := range r.m.Unused {
		if !r.m.Owns(u.Volid) {
			r.report("foreign_volume", u.Key, Say("The line %s of the machine's config names %s, which is no disk of this machine: it is left alone.", u.Key, u.Volid))
		}
	}
	for _, k := range r.want.Kept {
		r.keep(k)
	}
	want := r.want.Data
	if want.Device == "" || want.Bytes() == 0 {
		return
	}
	system, _ := r.m.system(r.want.System.Device)
	d, taken := r.m.drive(want.Device)
	isDisk := slices.ContainsFunc(r.m.disks(), func(o MachineDrive) bool { return o.Key == d.Key })
	if taken && (!isDisk || d.Key == system.Key) {
		r.blocked("data_taken", want.Device, Say("The additional disk can't be at %s: something else of the machine is there.", want.Device))
		return
	}
	if !taken {
		if d, taken = r.findData(system); !taken {
			return
		}
	}
	r.disk(dataRole, d, want)
}

// keep attaches a disk that the machine had, where it hangs on nothing.
func (r *reapplier) keep(k Kept) {
	if slices.ContainsFunc(r.m.Drives, func(d MachineDrive) bool { return d.Volid == k.Volid }) {
		return
	}
	_, taken := r.m.drive(k.Key)
	i := slices.IndexFunc(r.m.Unused, func(u MachineDrive) bool { return u.Volid == k.Volid })
	switch {
	case i < 0 && taken: // the archive had it, and it is restored
	case i < 0:
		r.blocked("disk_lost", k.Key, Say("The machine had the disk %s as %s, and its config doesn't name it any more. Look for the volume on its storage.", k.Volid, k.Key))
	case !r.m.Owns(k.Volid): // reported above
	default:
		r.attach("disk_attach", "Disk", k.Key, r.m.Unused[i], k.Options)
	}
}

// attach makes an unused volume of the machine's a drive again, at the key or at the next free one.
func (r *reapplier) attach(name string, said Text, key string, u MachineDrive, options Options) (MachineDrive, bool) {
	if _, taken := r.m.drive(key); taken {
		key = r.m.freeKey(key)
	}
	if key == "" {
		r.blocked(name, u.Key, Say("The disk %s can't be attached again: the machine has no free place for it.", u.Volid))
		return MachineDrive{}, false
	}
	r.out = append(r.out, Change{Name: name, Kind: ChangeAttach, Key: key, From: u.Key, To: u.Volid, Volid: u.Volid, Storage: u.Storage, Options: options, Live: hotplugged(key),
		What: Say("%s %s", said, key), Before: "not attached", After: "attached again"}) // clients read it: no name of a volume
	r.m.Unused = slices.DeleteFunc(r.m.Unused, func(o MachineDrive) bool { return o.Key == u.Key })
	d := MachineDrive{Key: key, Volid: u.Volid, Storage: u.Storage, Size: u.Size, Options: options}
	r.m.Drives = append(r.m.Drives, d)
	r.fresh[key] = true
	return d, true
}

// findData gives the additional disk of a machine that has none at its place: a volume of its own, another disk that
// it has, or a new one.
func (r *reapplier) findData(system MachineDrive) (MachineDrive, bool) {
	want := r.want.Data
	var own []MachineDrive
	var names []string
	for _, u := range r.m.Unused {
		if r.m.Owns(u.Volid) {
			own, names = append(own, u), append(names, u.Volid)
		}
	}
	switch len(own) {
	case 0:
	case 1:
		return r.attach("data_attach", dataRole.said, want.Device, own[0], nil)
	default:
		r.blocked("data_attach", want.Device, Say("Several volumes of this machine hang on nothing: %s. Attach the right one as %s on the host, or remove those that are not needed.", strings.Join(names, ", "), want.Device))
		return MachineDrive{}, false
	}
	kept := func(d MachineDrive) bool {
		return slices.ContainsFunc(r.want.Kept, func(k Kept) bool { return k.Key == d.Key })
	}
	for _, d := range r.m.disks() {
		if d.Key != system.Key && !kept(d) {
			return d, true
		}
	}
	storage := want.Storage
	if storage == "" {
		storage = system.Storage
	}
	place, known := r.places[storage]
	if !known || !place.Active {
		r.blocked("data_create", want.Device, Say("The additional disk can't be made: the storage %s is not available.", storageSaid(storage)))
		return MachineDrive{}, false
	}
	r.out = append(r.out, Change{Name: "data_create", Kind: ChangeCreate, Key: want.Device, Storage: storage, Size: want.Bytes(), Format: place.Format(), Live: hotplugged(want.Device),
		What: Say("%s %s", dataRole.said, want.Device), Before: "none [thing]", After: Say("%s, new and empty", Size(want.Bytes()))})
	name := "vm-0-disk-0"
	if place.Format() != "" {
		name += "." + place.Format()
	}
	d := MachineDrive{Key: want.Device, Volid: storage + ":" + name, Storage: storage, Size: want.Bytes()}
	r.m.Drives = append(r.m.Drives, d)
	return d, true
}

// hotplugged tells whether a disk may be attached at a key while the machine runs.
func hotplugged(key string) bool {
	return strings.HasPrefix(key, "scsi") || strings.HasPrefix(key, "virtio")
}

func storageSaid(name string) Text {
	if name == "" {
		return "(not named)"
	}
	return Verbatim(name)
}
