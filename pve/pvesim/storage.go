package pvesim

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// shelfKey names one place where things lie: a storage on a node, or the one
// place of a shared storage.
type shelfKey struct {
	Storage string
	Node    string // "" when shared
	Below   bool   // what lies under the mount point while the mount is away
}

// shelf is what lies in one place.
type shelf struct {
	Key      shelfKey
	Archives []*archive // sorted by volid
	Used     int64      // bytes of the archives, in whole blocks
	Stray    int64      // bytes of unfinished files that nobody removes
}

type archive struct{ Archive }

// blocks rounds up to what a file takes on disk.
func blocks(n int64) int64 { return (n + 4095) / 4096 * 4096 }

func byVolid(a *archive, volid string) int { return strings.Compare(a.Volid, volid) }

func (sh *shelf) find(volid string) *archive {
	if i, found := slices.BinarySearchFunc(sh.Archives, volid, byVolid); found {
		return sh.Archives[i]
	}
	return nil
}

func (sh *shelf) put(a *archive) {
	i, found := slices.BinarySearchFunc(sh.Archives, a.Volid, byVolid)
	if found {
		sh.Used -= blocks(sh.Archives[i].Size)
		sh.Archives[i] = a
	} else {
		sh.Archives = slices.Insert(sh.Archives, i, a)
	}
	sh.Used += blocks(a.Size)
}

func (sh *shelf) remove(volid string) bool {
	i, found := slices.BinarySearchFunc(sh.Archives, volid, byVolid)
	if found {
		sh.Used -= blocks(sh.Archives[i].Size)
		sh.Archives = slices.Delete(sh.Archives, i, i+1)
	}
	return found
}

// of are the archives of one machine. Their names make them neighbours.
func (sh *shelf) of(vmid int) []*archive {
	prefix := fmt.Sprintf("%s:backup/vzdump-qemu-%d-", sh.Key.Storage, vmid)
	from, _ := slices.BinarySearchFunc(sh.Archives, prefix, byVolid)
	to := from
	for to < len(sh.Archives) && strings.HasPrefix(sh.Archives[to].Volid, prefix) {
		to++
	}
	return sh.Archives[from:to:to]
}

func (sh *shelf) sort() {
	slices.SortFunc(sh.Archives, func(a, b *archive) int { return strings.Compare(a.Volid, b.Volid) })
}

// keyOf is where a storage's things lie for a node, now.
func (s *Sim) keyOf(storage, node string) shelfKey {
	st := s.storage(storage)
	if st == nil {
		return shelfKey{Storage: storage, Node: node}
	}
	key := shelfKey{Storage: storage, Node: node, Below: s.gone(st, node) && s.activateError(st, node) == ""}
	if st.Shared && !key.Below {
		key.Node = ""
	}
	return key
}

func (s *Sim) shelfOf(key shelfKey) *shelf {
	sh := s.shelf[key]
	if sh == nil {
		sh = &shelf{Key: key}
		s.shelf[key] = sh
		s.st.Shelves = append(s.st.Shelves, sh)
	}
	return sh
}

// gone says whether a storage's mount is away on a node.
func (s *Sim) gone(st *Storage, node string) bool {
	return s.goneAt(st, node, math.MaxInt64)
}

// goneAt says whether it was away at a moment.
func (s *Sim) goneAt(st *Storage, node string, at int64) bool {
	if st.Gone && st.GoneSince <= at {
		return true
	}
	since := s.storageFault(StorageGone, st.Name, node)
	return since != 0 && since <= at
}

// activateError is why a storage cannot be used on a node; "" when it can.
// A plain directory whose mount went away can be used: it is empty.
func (s *Sim) activateError(st *Storage, node string) string {
	switch {
	case st == nil:
		return "storage does not exist"
	case st.Disabled:
		return fmt.Sprintf("storage '%s' is disabled", st.Name)
	case !st.on(node):
		return fmt.Sprintf("storage '%s' is not available on node '%s'", st.Name, node)
	case !s.gone(st, node):
		return ""
	case st.Mountpoint:
		return fmt.Sprintf("unable to activate storage '%s' - directory is expected to be a mount point but is not mounted: '%s'", st.Name, st.path())
	case st.Type != "dir":
		return fmt.Sprintf("storage '%s' is not online", st.Name)
	}
	return ""
}

// The disk below every node's directories.
const (
	rootTotal = 100_861_726_720
	rootUsed  = 6_442_450_944
)

// space gives the bytes of a place and those in use at a moment.
func (s *Sim) space(key shelfKey, at int64) (total, used int64) {
	st := s.storage(key.Storage)
	total, used = st.Total, st.Used
	if key.Below {
		total, used = rootTotal, rootUsed
	} else {
		used += s.imagesOn(key)
	}
	if sh := s.shelf[key]; sh != nil {
		used += sh.Used + sh.Stray
	}
	for _, t := range s.active {
		if t.Dump != nil && t.Dump.Turn != nil && t.Dump.Turn.Shelf == key {
			used += t.Dump.Turn.occupied(at)
		}
		used += s.copiedTo(t, key, at)
	}
	if st.Full || s.storageFault(StorageFull, st.Name, key.Node) != 0 {
		used = max(used, total)
	}
	return total, used
}

// imagesOn counts the disk images in a place.
func (s *Sim) imagesOn(key shelfKey) int64 {
	if s.images == nil {
		s.images = map[shelfKey]int64{}
		for _, g := range s.guests {
			for i := range g.Disks {
				if d := &g.Disks[i]; d.owner(g.VMID) == g.VMID {
					s.images[s.imageKey(d.Storage, g.Node)] += g.occupies(d)
				}
			}
		}
		for _, o := range s.st.Strays {
			s.images[s.imageKey(o.Disk.Storage, o.Node)] += blocks(o.Disk.Used)
		}
	}
	return s.images[key]
}

// imageKey is the place of images of a node's machines.
func (s *Sim) imageKey(storage, node string) shelfKey {
	if st := s.storage(storage); st != nil && st.Shared {
		node = ""
	}
	return shelfKey{Storage: storage, Node: node}
}

// fullAt is when a running backup finds no byte left, if before until.
func (s *Sim) fullAt(tu *turn, until int64) int64 {
	if tu.Diskless || s.storage(tu.Shelf.Storage) == nil {
		return math.MaxInt64
	}
	over := func(at int64) bool {
		total, used := s.space(tu.Shelf, at)
		return tu.occupied(at) > 0 && used > total
	}
	if st := s.storage(tu.Shelf.Storage); st.Full || s.storageFault(StorageFull, st.Name, tu.Shelf.Node) != 0 {
		over = func(at int64) bool { return tu.occupied(at) > 0 }
	}
	if !over(until) {
		return math.MaxInt64
	}
	lo, hi := tu.ReadAt, until
	for lo+1 < hi {
		if mid := (lo + hi) / 2; over(mid) {
			hi = mid
		} else {
			lo = mid
		}
	}
	return hi
}

// getStorages is GET /nodes/N/storage. The order of the real one is random;
// here it is by name.
func getStorages(s *Sim, c *call) answer {
	if name := c.params.get("storage"); name != "" && s.storage(name) == nil {
		return wrongParam("storage", "No such storage.")
	}
	wanted := splitList(c.params.get("content"))
	out := []map[string]any{}
	var probe time.Duration
	for i := range s.st.World.Storages {
		st := &s.st.World.Storages[i]
		// Asked for a kind of content, disabled ones are left out.
		fits := len(wanted) == 0 || !st.Disabled && slices.ContainsFunc(wanted, st.has)
		if !fits || !st.on(c.node) || c.params.boolean("enabled", false) && st.Disabled ||
			c.params.has("storage") && c.params.get("storage") != st.Name ||
			s.demand(c.who, "/storage/"+st.Name, "Datastore.Audit", "Datastore.AllocateSpace") != nil {
			continue
		}
		e := s.storageEntry(st, c.node, c.at)
		e["storage"] = st.Name
		if st.Type != "dir" && !st.Disabled && s.gone(st, c.node) {
			probe += probeWait
		}
		if total, _ := e["total"].(int64); total > 0 {
			e["used_fraction"] = float64(e["used"].(int64)) / float64(total)
		}
		if c.params.boolean("format", false) {
			e["format"] = []any{map[string]int{"qcow2": 1, "raw": 1, "vmdk": 1, "subvol": 1}, "raw"}
			if s.release.nine {
				e["formats"] = map[string]any{"supported": []string{"qcow2", "raw", "subvol", "vmdk"}, "default": "raw"}
			}
		}
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b map[string]any) int {
		return cmp.Compare(a["storage"].(string), b["storage"].(string))
	})
	a := ok(out)
	a.wait = probe
	return a
}

// probeWait is how long a storage in the network that does not answer holds
// up a list (facts, "HTTP").
const probeWait = 2 * time.Second

// storageEntry is a storage's state on a node.
func (s *Sim) storageEntry(st *Storage, node string, at int64) map[string]any {
	e := map[string]any{
		"type": st.Type, "content": strings.Join(st.Content, ","), "shared": bit(st.Shared), "enabled": bit(!st.Disabled),
		"active": 0, "total": int64(0), "used": int64(0), "avail": int64(0),
	}
	if s.activateError(st, node) == "" {
		total, used := s.space(s.keyOf(st.Name, node), at)
		e["active"], e["total"], e["used"], e["avail"] = 1, total, used, max(total-used, 0)
	}
	return e
}

func getStorageStatus(s *Sim, c *call) answer {
	st := s.storage(c.params.get("storage"))
	if st == nil || !st.on(c.node) {
		return wrongParam("storage", "No such storage.")
	}
	return ok(s.storageEntry(st, c.node, c.at))
}

// getStorageConfigs is GET /storage: those of which something may be seen.
func getStorageConfigs(s *Sim, c *call) answer {
	out := []map[string]any{}
	for _, st := range s.st.World.Storages {
		if c.params.has("type") && c.params.get("type") != st.Type {
			continue
		}
		if s.demand(c.who, "/storage/"+st.Name, "Datastore.Audit", "Datastore.AllocateSpace") == nil {
			out = append(out, s.storageConfig(st))
		}
	}
	return ok(out)
}

func getStorageConfig(s *Sim, c *call) answer {
	st := s.storage(c.params.get("storage"))
	if st == nil {
		return fail(500, "storage '%s' does not exist", c.params.get("storage"))
	}
	return ok(s.storageConfig(*st))
}

func (s *Sim) storageConfig(st Storage) map[string]any {
	e := map[string]any{
		"storage": st.Name, "type": st.Type, "path": st.path(), "content": strings.Join(st.Content, ","),
		"digest": s.storagesDigest(),
	}
	if st.Shared && st.Type == "dir" {
		e["shared"] = 1
	}
	if st.Type == "nfs" {
		e["server"], e["export"] = "192.0.2.10", "/export/"+st.Name
	}
	if st.Mountpoint {
		e["is_mountpoint"] = "1"
	}
	if st.Disabled {
		e["disable"] = 1
	}
	if st.VolumeChain && s.release.nine {
		e["snapshot-as-volume-chain"] = 1
	}
	if st.PruneBackups != "" {
		e["prune-backups"] = st.PruneBackups
	}
	if st.MaxProtected != 0 {
		e["max-protected-backups"] = st.MaxProtected
	}
	if len(st.Nodes) > 0 {
		e["nodes"] = strings.Join(st.Nodes, ",")
	}
	return e
}

func (s *Sim) storagesDigest() string {
	return fileDigest(fmt.Sprintf("%+v", s.st.World.Storages))
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}
