package pvesim

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// addArchive puts a finished archive where it belongs.
func (s *Sim) addArchive(a Archive, sorted bool) error {
	st := s.storage(a.Storage)
	if st == nil {
		return fmt.Errorf("pvesim: archive of %d on unknown storage %q", a.VMID, a.Storage)
	}
	switch {
	case st.Shared:
		a.Node = ""
	case s.node(a.Node) == nil:
		return fmt.Errorf("pvesim: archive of %d on unknown node %q", a.VMID, a.Node)
	}
	if a.Format == "" {
		a.Format = "vma.zst"
	}
	a.Time = a.Time.Truncate(time.Second).UTC()
	if a.Volid == "" {
		a.Volid = archiveVolid(a, s.local(a.Node, a.Time.UnixMilli()))
	}
	if a.Config == "" {
		if g := s.guests[a.VMID]; g != nil {
			a.Config, a.Disks, a.Blank, a.Deaf = g.archived(), s.archivedDisks(g), g.Blank, g.Deaf
		}
	}
	s.fillArchive(&a)
	sh := s.shelfOf(shelfKey{Storage: a.Storage, Node: a.Node})
	if sorted {
		sh.put(&archive{a})
	} else {
		sh.Archives = append(sh.Archives, &archive{a})
		sh.Used += blocks(a.Size)
	}
	return nil
}

// archivePath is the file of an archive.
func (s *Sim) archivePath(a Archive) string {
	_, volume, _ := strings.Cut(a.Volid, ":")
	dir := "/var/lib/vz/dump"
	if st := s.storage(a.Storage); st != nil {
		dir = st.dumpDir()
	}
	return dir + "/" + strings.TrimPrefix(volume, "backup/")
}

// getContent lists a storage. What the caller may not see is left out without
// a word, notes are cut to their first line, unfinished archives never show.
func getContent(s *Sim, c *call) answer {
	name := c.params.get("storage")
	st := s.storage(name)
	if st == nil {
		return fail(500, "storage '%s' does not exist", name)
	}
	if msg := s.activateError(st, c.node); msg != "" {
		return fail(500, "%s", msg)
	}
	vmid := int(c.params.integer("vmid", 0))
	content := c.params.get("content")
	key := s.keyOf(name, c.node)
	out := []map[string]any{}
	var cost time.Duration
	if (content == "" || content == "backup") && st.has("backup") {
		list := s.shelfOf(key).Archives
		cost = time.Duration(len(list)) * 2 * time.Microsecond // the names alone
		if vmid != 0 {
			list = s.shelfOf(key).of(vmid)
		}
		cost += time.Duration(len(list)) * st.entryCost()
		if cost >= proxyTime {
			a := bare(596, "Connection timed out")
			a.wait = proxyTime
			return a
		}
		seen := map[int]bool{}
		for _, a := range list {
			may, known := seen[a.VMID]
			if !known {
				may = s.archiveRight(c.who, name, a.VMID) == nil
				seen[a.VMID] = may
			}
			if may {
				out = append(out, a.entry())
			}
		}
	}
	if (content == "" || content == "images") && st.has("images") && !key.Below {
		out = append(out, s.imageEntries(c, st, vmid)...)
	}
	slices.SortStableFunc(out, func(a, b map[string]any) int {
		return strings.Compare(a["volid"].(string), b["volid"].(string))
	})
	a := ok(out)
	a.wait = cost
	return a
}

func (st Storage) entryCost() time.Duration {
	switch {
	case st.EntryCost > 0:
		return st.EntryCost
	case st.Type == "dir":
		return 100 * time.Microsecond
	default:
		return time.Millisecond
	}
}

func (a *archive) entry() map[string]any {
	e := map[string]any{
		"volid": a.Volid, "ctime": a.Time.Unix(), "size": a.Size, "format": a.Format,
		"vmid": a.VMID, "content": "backup", "subtype": "qemu",
	}
	if a.Notes != "" {
		e["notes"], _, _ = strings.Cut(a.Notes, "\n")
	}
	if a.Protected {
		e["protected"] = 1
	}
	return e
}

func (s *Sim) imageEntries(c *call, st *Storage, vmid int) []map[string]any {
	var out []map[string]any
	for _, g := range s.guests {
		if vmid != 0 && g.VMID != vmid || !st.Shared && g.Node != c.node || s.imageRight(c.who, st.Name, g.VMID) != nil {
			continue
		}
		for i := range g.Disks {
			if d := &g.Disks[i]; d.Storage == st.Name && d.owner(g.VMID) == g.VMID {
				out = append(out, imageEntry(d, g.VMID, g.occupies(d)+s.filled(g.VMID, d, c.at), g.created(), s.backing(g, d)))
			}
		}
	}
	for _, o := range s.st.Strays {
		if o.Disk.Storage == st.Name && (vmid == 0 || o.VMID == vmid) && (st.Shared || o.Node == c.node) && s.imageRight(c.who, st.Name, o.VMID) == nil {
			out = append(out, imageEntry(&o.Disk, o.VMID, blocks(o.Disk.Used), c.at, nil))
		}
	}
	return out
}

func imageEntry(d *Disk, vmid int, used, made int64, parent any) map[string]any {
	return map[string]any{
		"volid": d.volid(vmid), "format": d.format(), "size": whole(d.Size), "used": used,
		"vmid": vmid, "content": "images", "parent": parent, "ctime": made / 1000,
	}
}

// backing is what an image lies on top of: its template's, or its newest
// snapshot's where snapshots are a chain of images.
func (s *Sim) backing(g *guest, d *Disk) any {
	if parts := strings.Split(d.Volume, "/"); len(parts) == 4 {
		return "../" + parts[0] + "/" + parts[1]
	}
	if sn := g.newest(d.volid(g.VMID)); sn != nil && s.chained(d) {
		return fmt.Sprintf("snap-%s-%s", sn.Name, path.Base(d.Volume))
	}
	return nil
}

// archiveRight is the right to a machine's archives on a storage.
func (s *Sim) archiveRight(who identity, storage string, vmid int) *answer {
	if s.may(who, "/storage/"+storage, "Datastore.Allocate") {
		return nil
	}
	if a := s.demand(who, "/storage/"+storage, "Datastore.AllocateSpace"); a != nil {
		return a
	}
	return s.demand(who, fmt.Sprintf("/vms/%d", vmid), "VM.Backup")
}

func (s *Sim) imageRight(who identity, storage string, vmid int) *answer {
	if s.may(who, "/storage/"+storage, "Datastore.Allocate") {
		return nil
	}
	if a := s.demand(who, "/storage/"+storage, "Datastore.Audit"); a != nil {
		return a
	}
	return s.demand(who, fmt.Sprintf("/vms/%d", vmid), "VM.Config.Disk")
}

var (
	backupVolume = regexp.MustCompile(`^backup/(vzdump-(?:qemu|lxc)-(\d+)-[^/\s]*\.(?:vma|tar)(?:\.(?:gz|lzo|zst))?)$`)
	imageVolume  = regexp.MustCompile(`^(?:\d+/base-[^/\s]+/)?(\d+)/([^/\s]+\.(?:raw|qcow2|vmdk))$`)
	blockVolume  = regexp.MustCompile(`^(?:base-[^/\s]+/)?(?:vm|base|subvol)-(\d+)-[^/\s]+$`)
)

// volume is what a path under …/content/ names.
type volume struct {
	storage *Storage
	volid   string
	name    string // below the storage: backup/…, 110/…
	vmid    int
	backup  bool
	archive *archive // nil when it is not there
}

// named finds the volume of a call. The storage may stand in it or not.
func (s *Sim) volume(c *call) (v volume, refused *answer) {
	storage, name, found := strings.Cut(c.params.get("volume"), ":")
	if !found {
		storage, name = c.params.get("storage"), c.params.get("volume")
	}
	no := func(a answer) (volume, *answer) { return v, &a }
	if given := c.params.get("storage"); given != "" && given != storage {
		return no(wrongParam("volume", fmt.Sprintf("storage ID mismatch (%s != %s)\n", storage, given)))
	}
	v = volume{storage: s.storage(storage), volid: storage + ":" + name, name: name}
	if v.storage == nil {
		return no(fail(500, "storage '%s' does not exist", storage))
	}
	if m := backupVolume.FindStringSubmatch(name); m != nil {
		v.backup = true
		v.vmid, _ = strconv.Atoi(m[2])
	} else if m := imageVolume.FindStringSubmatch(name); m != nil && v.storage.files() {
		v.vmid, _ = strconv.Atoi(m[1])
	} else if m := blockVolume.FindStringSubmatch(name); m != nil && !v.storage.files() {
		v.vmid, _ = strconv.Atoi(m[1])
	} else {
		return no(fail(500, "unable to parse directory volume name '%s'", name))
	}
	v.archive = s.shelfOf(s.keyOf(storage, c.node)).find(v.volid)
	return v, nil
}

// right is the right to a volume.
func (s *Sim) right(who identity, v volume) *answer {
	if v.backup {
		return s.archiveRight(who, v.storage.Name, v.vmid)
	}
	return s.imageRight(who, v.storage.Name, v.vmid)
}

func (v volume) path() string {
	if v.backup {
		return v.storage.dumpDir() + "/" + strings.TrimPrefix(v.name, "backup/")
	}
	return v.storage.path() + "/images/" + v.name
}

// getVolume shows one volume with its whole notes. The format says raw.
func getVolume(s *Sim, c *call) answer {
	v, refused := s.volume(c)
	if refused == nil {
		refused = s.right(c.who, v)
	}
	if refused != nil {
		return *refused
	}
	if v.archive == nil {
		if g := s.guests[v.vmid]; !v.backup && g != nil {
			for _, d := range g.Disks {
				if d.volid(g.VMID) == v.volid && (v.storage.Shared || g.Node == c.node) {
					return ok(map[string]any{
						"path": v.path(), "size": whole(d.Size), "used": blocks(d.Used), "format": d.format(),
					})
				}
			}
		}
		return fail(500, "volume_size_info on '%s' failed - no format", v.volid)
	}
	e := map[string]any{
		"path": v.path(), "size": (v.archive.Size + 511) / 512 * 512, "used": blocks(v.archive.Size), "format": "raw",
	}
	if v.archive.Notes != "" {
		e["notes"] = v.archive.Notes
	}
	if v.archive.Protected {
		e["protected"] = 1
	}
	return ok(e)
}

// putVolume sets notes and protection. It answers 200 on a volume that is not
// there and does nothing (recorded in 06).
func putVolume(s *Sim, c *call) answer {
	v, refused := s.volume(c)
	if refused == nil {
		refused = s.right(c.who, v)
	}
	if refused != nil {
		return *refused
	}
	st := v.storage
	if s.gone(st, c.node) && c.params.has("notes") {
		return fail(500, "unable to open file '%s.notes.tmp.%d' - No such file or directory", v.path(), 1000+c.at%30000)
	}
	if c.params.has("notes") {
		if !v.backup {
			return fail(500, "only backups can have notes")
		}
		if v.archive != nil {
			v.archive.Notes = c.params.get("notes")
		}
	}
	if c.params.has("protected") {
		if !v.backup {
			return fail(500, "only backups support attribute 'protected'")
		}
		if v.archive != nil {
			on := c.params.boolean("protected", false)
			if limit := s.protectedLimit(c.who, st); on && !v.archive.Protected && limit >= 0 {
				n := 0
				for _, a := range s.shelfOf(s.keyOf(st.Name, c.node)).of(v.vmid) {
					n += bit(a.Protected)
				}
				if n >= limit {
					return fail(500, "The number of protected backups per guest is limited to %d on storage '%s'", limit, st.Name)
				}
			}
			v.archive.Protected = on
		}
	}
	return ok(nil)
}

// protectedLimit is how many archives of a machine may be protected; -1 is any.
func (s *Sim) protectedLimit(who identity, st *Storage) int {
	switch {
	case st.MaxProtected != 0:
		return st.MaxProtected
	case s.may(who, "/storage/"+st.Name, "Datastore.Allocate"):
		return -1
	}
	return 5
}

// getExtractConfig is the configuration inside an archive.
func getExtractConfig(s *Sim, c *call) answer {
	v, refused := s.volume(c)
	if refused == nil {
		refused = s.right(c.who, v)
	}
	if refused != nil {
		return *refused
	}
	if !v.backup {
		return fail(500, "unable to use volume %s - content type needs to be 'backup'", v.volid)
	}
	if msg := s.activateError(v.storage, c.node); msg != "" {
		return fail(500, "%s", msg)
	}
	if v.archive == nil {
		return fail(500, "volume '%s' does not exist", v.volid)
	}
	return ok(v.archive.Config)
}
