package pvesim

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// stray is a disk image of a machine that is not there (any more).
type stray struct {
	Node string
	VMID int
	Disk Disk
}

// content is a name that no disk's content had before.
func (s *Sim) content() uint64 {
	s.st.Contents++
	return s.st.Contents
}

// write changes what is on a disk: n bytes that snapshots have to keep, and as
// many that are new as it grows.
func (s *Sim) write(g *guest, d *Disk, n, grows int64) {
	volid := d.volid(g.VMID)
	if sn := g.newest(volid); sn != nil {
		h := sn.hold(volid)
		h.Kept = min(h.Kept+n, h.Used)
	}
	d.Used = max(min(d.Used+grows, d.Size), 0)
	d.Content = s.content()
	s.images = nil
}

// touch is what a system writes by itself when it boots. What it writes later
// is told with WriteDisk.
func (s *Sim) touch(g *guest) {
	if g.deaf() || !g.Running || g.Prelaunch || g.Paused {
		return
	}
	for i := range g.Disks {
		if d := &g.Disks[i]; !d.Loose && !d.medium() && d.Used > 0 {
			s.write(g, d, 0, 0)
		}
	}
}

// newest is the latest snapshot that holds a volume.
func (g *guest) newest(volid string) *snapshot {
	var out *snapshot
	for _, sn := range g.Snaps {
		if sn.hold(volid) != nil && (out == nil || sn.Time >= out.Time) {
			out = sn
		}
	}
	return out
}

func (sn *snapshot) hold(volid string) *held {
	for i := range sn.Held {
		if sn.Held[i].Volid == volid {
			return &sn.Held[i]
		}
	}
	return nil
}

// occupies is what a disk image takes: its data and what snapshots keep of it.
func (g *guest) occupies(d *Disk) int64 {
	n := d.Used
	volid := d.volid(g.VMID)
	for _, sn := range g.Snaps {
		if h := sn.hold(volid); h != nil {
			n += h.Kept
		}
	}
	return blocks(n)
}

// allocate makes a new volume of a machine, not yet in any place. Room is not
// asked for: images grow as they are written.
func (s *Sim) allocate(g *guest, storage, format, suffix string, size int64) *Disk {
	st := s.storage(storage)
	d := Disk{Storage: storage, Volume: s.freeName(g, st, format, suffix), Size: size, Loose: true, Content: s.content()}
	d.Origin = d.Content
	g.Disks = append(g.Disks, d)
	s.images = nil
	return &g.Disks[len(g.Disks)-1]
}

// freeName is the first disk name that no image of the machine has. suffix is
// a name of its own, such as cloudinit.
func (s *Sim) freeName(g *guest, st *Storage, format, suffix string) string {
	dir, ext := "", ""
	if st.files() {
		dir, ext = fmt.Sprintf("%d/", g.VMID), "."+format
	}
	if suffix != "" {
		return fmt.Sprintf("%svm-%d-%s%s", dir, g.VMID, suffix, ext)
	}
	taken := regexp.MustCompile(fmt.Sprintf(`(?:vm|base)-%d-disk-(\d+)(?:\.|$)`, g.VMID))
	used := map[string]bool{}
	note := func(storage, volume string) {
		if m := taken.FindStringSubmatch(volume); m != nil && storage == st.Name {
			used[m[1]] = true
		}
	}
	for _, d := range g.Disks {
		note(d.Storage, d.Volume)
	}
	for _, o := range s.st.Strays {
		note(o.Disk.Storage, o.Disk.Volume)
	}
	n := 0
	for used[fmt.Sprint(n)] {
		n++
	}
	return fmt.Sprintf("%svm-%d-disk-%d%s", dir, g.VMID, n, ext)
}

// files: a storage whose images are files, in formats of their own.
func (st *Storage) files() bool {
	switch st.Type {
	case "zfspool", "lvmthin", "lvm", "rbd", "zfs", "iscsi":
		return false
	}
	return true
}

// free removes a volume of a machine from its storage.
func (s *Sim) free(g *guest, volid string) {
	g.Disks = slices.DeleteFunc(g.Disks, func(d Disk) bool { return d.volid(g.VMID) == volid && d.owner(g.VMID) == g.VMID })
	s.images = nil
}

// anyVolume finds a volume on a node, whosever it is.
func (s *Sim) anyVolume(node, volid string) (*guest, *Disk) {
	storage, name, _ := strings.Cut(volid, ":")
	st := s.storage(storage)
	if st == nil {
		return nil, nil
	}
	g := s.guests[volumeOwner(name)]
	if g == nil || !st.Shared && g.Node != node {
		return nil, nil
	}
	if d := g.volume(volid); d != nil && d.owner(g.VMID) == g.VMID {
		return g, d
	}
	return nil, nil
}

// imagePath is a volume's file or device.
func (s *Sim) imagePath(storage, volume string) string {
	st := s.storage(storage)
	switch {
	case st == nil:
		return volume
	case st.files():
		// Of a linked clone the last two parts are its own.
		if parts := strings.Split(volume, "/"); len(parts) > 2 {
			volume = strings.Join(parts[len(parts)-2:], "/")
		}
		return st.path() + "/images/" + volume
	case st.Type == "zfspool":
		return "/dev/zvol/rpool/data/" + volume
	default:
		return "/dev/" + st.Name + "/" + volume
	}
}

// formatting is what qemu-img says when it makes an image; "" where storages
// make volumes without a word.
func (s *Sim) formatting(storage, volume, format string, size int64) string {
	if st := s.storage(storage); st == nil || !st.files() {
		return ""
	}
	path := s.imagePath(storage, volume)
	if format == "qcow2" {
		return fmt.Sprintf("Formatting '%s', fmt=qcow2 cluster_size=65536 extended_l2=off preallocation=metadata compression_type=zlib size=%d lazy_refcounts=off refcount_bits=16", path, size)
	}
	return fmt.Sprintf("Formatting '%s', fmt=%s size=%d preallocation=off", path, format, size)
}

// adopt gives a machine what every machine has: disks for the lines that name
// some, contents, snapshots behind their names.
func (s *Sim) adopt(g *guest) {
	if g.Stump && len(g.Bare) == 0 {
		g.Bare = []string{"cores", "smbios1"}
		if g.Memory == 0 {
			g.Bare = append(g.Bare, "memory")
		}
		g.UUID = ""
		delete(g.Config, "vmgenid")
	}
	for _, key := range sortedKeys(g.Config) {
		value := g.Config[key]
		switch {
		case diskKey.MatchString(key) && !isMedium(value):
			delete(g.Config, key)
			g.setDisk(key, value)
		case unusedKey.MatchString(key) && g.volume(value) == nil && volumeOwner(value) == g.VMID:
			storage, name, _ := strings.Cut(value, ":")
			g.Disks = append(g.Disks, Disk{Storage: storage, Volume: name, Size: gib, Loose: true})
		}
	}
	for i := range g.Disks {
		d := &g.Disks[i]
		if d.Content == 0 {
			d.Content = s.content()
		}
		if d.Origin == 0 {
			d.Origin = d.Content
		}
	}
	g.Snaps = slices.DeleteFunc(g.Snaps, func(sn *snapshot) bool { return !slices.Contains(g.Snapshots, sn.Name) })
	for _, name := range g.Snapshots {
		if g.snapshot(name) == nil {
			sn := &snapshot{Name: name, Time: g.Made / 1000}
			if n := len(g.Snaps); n > 0 {
				sn.Parent = g.Snaps[n-1].Name
			}
			sn.take(g)
			g.Snaps = append(g.Snaps, sn)
			if g.Config["parent"] == "" {
				g.Config["parent"] = name
			}
		}
	}
	strays := s.st.Strays
	s.st.Strays = nil
	for _, o := range strays {
		st := s.storage(o.Disk.Storage)
		if o.VMID == g.VMID && (o.Node == g.Node || st != nil && st.Shared) && g.volume(o.Disk.volid(g.VMID)) == nil {
			g.Disks = append(g.Disks, o.Disk)
			continue
		}
		s.st.Strays = append(s.st.Strays, o)
	}
	s.images = nil
}

func (g *guest) snapshot(name string) *snapshot {
	for _, sn := range g.Snaps {
		if sn.Name == name {
			return sn
		}
	}
	return nil
}

// named keeps the names in step with the snapshots.
func (g *guest) named() {
	g.Snapshots = nil
	for _, sn := range g.Snaps {
		g.Snapshots = append(g.Snapshots, sn.Name)
	}
}

// deaf: nothing in it hears the power button.
func (g *guest) deaf() bool { return g.Blank || g.Deaf }

// chained: a disk whose snapshots are images of their own, one on the other.
func (s *Sim) chained(d *Disk) bool {
	st := s.storage(d.Storage)
	return st != nil && st.VolumeChain && s.release.nine && d.format() == "qcow2"
}

// edited follows a change that somebody made to a machine's fields.
func (s *Sim) edited(g *guest, was Guest) {
	if g.Memory != was.Memory {
		g.clothe("memory")
	}
	if g.Cores != was.Cores {
		g.clothe("cores")
	}
	if g.UUID != was.UUID {
		g.clothe("smbios1")
	}
	for i := range g.Disks {
		d := &g.Disks[i]
		for _, o := range was.Disks {
			if o.Storage == d.Storage && o.Volume == d.Volume && o.Content == d.Content && (o.Used != d.Used || o.Size != d.Size) {
				d.Content = s.content()
			}
		}
		if d.Volume == "" {
			d.Volume = s.freeName(g, s.storage(d.Storage), "qcow2", "")
		}
	}
	s.adopt(g)
}
