package pvesim

import (
	"cmp"
	"strings"
)

// Pools of ZFS (pve-storage, PVE/Storage/ZFSPoolPlugin.pm): a disk is a zvol in
// whole MiB, without a file and always raw. It goes back to its newest snapshot
// and no other. Unless the storage is sparse, the pool keeps room for all of a
// zvol from its first day, and once more for what its newest snapshot holds
// (zfsprops(7), refreservation): with too little of it there is no snapshot.

func (st *Storage) pool() string { return cmp.Or(st.Pool, "rpool/data") }

// sizeOn is the size that a new or grown image has on a storage.
func (st *Storage) sizeOn(n int64) int64 {
	if st.Type == "zfspool" {
		return (n + mib - 1) / mib * mib
	}
	return n
}

// thick: the pool keeps room for all of it. A linked clone's is never kept.
func (s *Sim) thick(d *Disk) bool {
	st := s.storage(d.Storage)
	return st != nil && st.Type == "zfspool" && !st.Sparse && !strings.Contains(d.Volume, "/")
}

// keepsRoom: new disks on a storage take all their room at once.
func (s *Sim) keepsRoom(storage string) bool { return s.thick(&Disk{Storage: storage}) }

// occupies is what a disk takes of its storage.
func (s *Sim) occupies(g *guest, d *Disk) int64 {
	if !s.thick(d) {
		return g.occupies(d)
	}
	n, newest := d.Size, g.newest(d.volid(g.VMID))
	for _, sn := range g.Snaps {
		h := sn.hold(d.volid(g.VMID))
		switch {
		case h == nil:
		case sn == newest:
			n += h.Used
		default:
			n += h.Kept
		}
	}
	return blocks(n)
}

// noRoomToHold is why a pool takes no snapshot of a disk; "" is it does.
func (s *Sim) noRoomToHold(g *guest, d *Disk, name string) string {
	st := s.storage(d.Storage)
	if st == nil || st.Type != "zfspool" {
		return ""
	}
	key := s.imageKey(d.Storage, g.Node)
	total, used := s.space(key, s.nowMS())
	needs := int64(0)
	if s.thick(d) {
		needs = d.Used
		if sn := g.newest(d.volid(g.VMID)); sn != nil {
			h := sn.hold(d.volid(g.VMID))
			needs -= h.Used - h.Kept // what the two have in common is kept already
		}
	}
	if used+max(needs, 0) <= total && used < total {
		return ""
	}
	return "zfs error: cannot create snapshot '" + st.pool() + "/" + baseName(d.Volume) + "@" + name + "': out of space"
}
