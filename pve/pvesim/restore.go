package pvesim

import (
	"fmt"
	"slices"
	"strings"
)

// restore is what a restore knows of its archive and its way.
type restore struct {
	Archive string // volid
	Path    string
	Storage string // where all disks go; "" is where each was
	Limit   int64  // KiB/s of the archive's bytes; 0 is none
	Unique  bool
	Start   bool
	Live    bool
	New     bool              // the machine is made by it
	Set     map[string]string // lines that take the place of the archive's

	Streams  []stream
	Total    int64 // bytes of all disks
	Data     int64 // those that hold something
	DataRate float64
	HoleRate float64
	Damage   Damage
	Breaks   int64  // unix milliseconds when the damage is found; 0 never
	Failure  string // of an archive without a head
	Config   string // the archive's
	Blank    bool
	Deaf     bool
}

// stream is a disk on its way out of an archive.
type stream struct {
	ArchivedDisk
	Storage string
	Volid   string // of the new volume
}

// archivedDisks are a machine's disks as its archive has them.
func (s *Sim) archivedDisks(g *guest) []ArchivedDisk {
	var out []ArchivedDisk
	for _, d := range g.sorted() {
		if !d.NoBackup {
			out = append(out, ArchivedDisk{
				Key: d.Key, Format: d.format(), Size: d.Size, Used: s.data(&d), Ratio: d.Ratio, Content: d.Content,
			})
		}
	}
	return out
}

// fillArchive makes the disks of an archive of which only the configuration is
// known, and names their contents.
func (s *Sim) fillArchive(a *Archive) {
	a.Disks = slices.Clone(a.Disks)
	if a.Disks == nil {
		lines := parseConfig(a.Config)
		for line := range strings.SplitSeq(a.Config, "\n") {
			parts := strings.Split(line, ":")
			if len(parts) < 5 || parts[0] != "#qmdump#map" {
				continue
			}
			_, options := driveParts(lines[parts[1]])
			d := ArchivedDisk{Key: parts[1], Format: parts[4]}
			d.Size, _ = parseSize(options["size"])
			a.Disks = append(a.Disks, d)
		}
		for i := range a.Disks {
			a.Disks[i].Used = min(a.Size/int64(len(a.Disks)), a.Disks[i].Size)
		}
	}
	for i := range a.Disks {
		if a.Disks[i].Content == 0 {
			a.Disks[i].Content = s.content()
		}
	}
	if a.Size == 0 && a.Damage == "" {
		a.Damage = Headless
	}
}

var restoreKinds = map[string]workKind{
	"restore": {begin: beginRestore, end: endRestore, cut: cutRestore},
}

const notCleaned = "error before or during data restore, some or all disks were not completely restored. VM %d state is NOT cleaned up."

// headerWait is how long an archive without a header is waited for.
const headerWait = 60_000

// beginRestore makes the checks that touch nothing, and locks the machine.
func beginRestore(s *Sim, t *task, at int64) (int64, string) {
	w, r := t.Work, t.Work.Restore
	g, missing := s.machine(t)
	if missing != "" && !r.New {
		return 0, missing
	}
	no := func(why string) (int64, string) {
		t.log(notCleaned, w.VMID)
		return 0, why
	}
	if !r.New {
		switch {
		case r.Live:
			return no("live-restore is only compatible with backup images from a Proxmox Backup Server")
		case g.Config["protection"] == "1":
			return no(fmt.Sprintf("unable to restore VM %d - - protection mode enabled", w.VMID))
		case g.Running:
			return no(fmt.Sprintf("unable to restore VM %d - vm is running", w.VMID))
		}
		if msg := lockedBy(g); msg != "" {
			return no(msg)
		}
	}
	a := s.archiveOf(t.Node, r.Archive)
	if a == nil {
		return no(fmt.Sprintf("volume '%s' does not exist", r.Archive))
	}
	if why := s.mayUseBridges(s.whoIs(t.User), a.Config, r.Set); why != "" {
		return no(why)
	}
	if r.New {
		if g != nil {
			return no(fmt.Sprintf("unable to restore VM %d - VM %d already exists on node '%s'", w.VMID, w.VMID, t.Node))
		}
		g = s.bareGuest(w.VMID, t.Node, at)
		g.Stump = true
	}
	g.Lock = "create"
	w.Main = 1
	r.Path = s.archivePath(*a)
	if a.Damage == Headless {
		text := "unsupported format "
		if a.Size == 0 {
			text = "unexpected end of file "
		}
		t.log("Could not extract backed up config: Failed to extract config from VMA archive: %s: %s: %s", strings.Fields(unpacker(*a))[0], r.Path, text)
		t.log("")
		t.log("")
		t.log("Skipping early checks!")
		t.log("restore vma archive: %s", r.command(t, *a))
		r.Failure = "command 'set -o pipefail && " + r.command(t, *a) + "' failed: got timeout reading VMA header - corrupted?"
		w.Main = 2
		return headerWait, ""
	}
	t.log("restore vma archive: %s", r.command(t, *a))
	return 150, ""
}

// unpacker is the program that an archive is read with.
func unpacker(a Archive) string {
	switch a.Format {
	case "vma.zst":
		return "zstd -q -d -c"
	case "vma.gz":
		return "zcat"
	case "vma.lzo":
		return "lzop -d -c"
	}
	return ""
}

// command is the pipe that a restore runs.
func (r *restore) command(t *task, a Archive) string {
	tmp := fmt.Sprintf("/var/tmp/vzdumptmp%d", t.PID)
	if prog := unpacker(a); prog != "" {
		return fmt.Sprintf("%s %s | vma extract -v -r %s.fifo - %s", prog, r.Path, tmp, tmp)
	}
	return fmt.Sprintf("vma extract -v -r %s.fifo %s %s", tmp, r.Path, tmp)
}

// archiveOf finds an archive by its volid, or by its path.
func (s *Sim) archiveOf(node, volid string) *Archive {
	if strings.HasPrefix(volid, "/") {
		for _, sh := range s.st.Shelves {
			for _, a := range sh.Archives {
				if (sh.Key.Node == "" || sh.Key.Node == node) && !sh.Key.Below && s.archivePath(a.Archive) == volid {
					return &a.Archive
				}
			}
		}
		return nil
	}
	storage, _, _ := strings.Cut(volid, ":")
	if s.storage(storage) == nil {
		return nil
	}
	if a := s.shelfOf(s.keyOf(storage, node)).find(volid); a != nil {
		return &a.Archive
	}
	return nil
}

// mayUseBridges is the right to the bridges of the archived cards.
func (s *Sim) mayUseBridges(who identity, config string, set map[string]string) string {
	lines := parseConfig(config)
	for key, value := range set {
		lines[key] = value
	}
	for _, key := range sortedKeys(lines) {
		if a := s.mayUseBridge(who, key, lines[key]); a != nil {
			return "403 " + a.reason
		}
	}
	return ""
}

func (s *Sim) mayUseBridge(who identity, key, line string) *answer {
	if !netKey.MatchString(key) {
		return nil
	}
	parts, _ := netShape.parse(line, key, s.release)
	if parts["bridge"] == "" {
		return nil
	}
	path := "/sdn/zones/localnetwork/" + parts["bridge"]
	if parts["tag"] != "" {
		path += "/" + parts["tag"]
	}
	return s.demand(who, path, "SDN.Use")
}

// endRestore is the end of a stage: the header is read, the data is there.
func endRestore(s *Sim, t *task, at int64) string {
	w, r := t.Work, t.Work.Restore
	g, missing := s.machine(t)
	if missing != "" {
		return missing
	}
	switch {
	case r.Failure != "":
		if g.Lock == "create" {
			g.Lock = ""
		}
		t.log(notCleaned, w.VMID)
		return r.Failure
	case w.Stage == 0:
		if why := s.readHeader(t, g, at); why != "" {
			return why
		}
		return ""
	case r.Breaks != 0 && at >= r.Breaks:
		return cutRestore(s, t, at, cut{why: string(r.Damage)})
	}
	s.settleRestore(t, g, at)
	return "OK"
}

// readHeader goes on once the archive's head is read: where the disks go, the
// end of the old ones, the new ones, the plan of the rest.
func (s *Sim) readHeader(t *task, g *guest, at int64) (failure string) {
	w, r := t.Work, t.Work.Restore
	a := s.archiveOf(t.Node, r.Archive)
	no := func(why string) string {
		t.log(notCleaned, w.VMID)
		return fmt.Sprintf("command 'set -o pipefail && %s' failed: %s", r.command(t, Archive{Format: archiveFormat(r.Path)}), why)
	}
	if a == nil {
		g.Lock = ""
		return no("exit code 1")
	}
	r.Config, r.Blank, r.Deaf = a.Config, a.Blank, a.Deaf
	t.log("CFG: size: %d name: qemu-server.conf", len(a.Config))
	lines := parseConfig(a.Config)
	var limited []string
	for i, d := range a.Disks {
		t.log("DEV: dev_id=%d size: %d devname: drive-%s", i+1, d.Size, d.Key)
	}
	t.log("CTIME: %s", s.local(t.Node, a.Time.UnixMilli()).Format("Mon Jan _2 15:04:05 2006"))
	for _, d := range a.Disks {
		volid, _ := driveParts(lines[d.Key])
		storage, _, _ := strings.Cut(volid, ":")
		if r.Storage != "" {
			storage = r.Storage
		}
		st := s.storage(storage)
		switch {
		case st == nil:
			g.Lock = ""
			return no(fmt.Sprintf("storage '%s' does not exist", storage))
		case !st.has("images"):
			g.Lock = ""
			return no(fmt.Sprintf("Content type 'images' is not available on storage '%s'", storage))
		}
		if !slices.Contains(limited, storage) && r.Limit > 0 {
			limited = append(limited, storage)
			t.log("rate limit for storage %s: %d KiB/s", storage, r.Limit)
		}
		r.Streams = append(r.Streams, stream{ArchivedDisk: d, Storage: storage})
	}
	// From here on the old machine is gone.
	s.makeStump(g, a)
	g.lived(at)
	for _, st := range r.Streams {
		if msg := s.activateError(s.storage(st.Storage), t.Node); msg != "" {
			t.log("no lock found trying to remove 'create'  lock")
			return no(msg)
		}
	}
	s.allocateStreams(t, g, lines)
	s.planRestore(t, a, at)
	return ""
}

func archiveFormat(path string) string {
	for _, f := range []string{"vma.zst", "vma.gz", "vma.lzo"} {
		if strings.HasSuffix(path, "."+f) {
			return f
		}
	}
	return "vma"
}

// makeStump takes away what the archive brings: its disks, all snapshots, the
// saved memories. What is left is a machine with the memory line alone.
func (s *Sim) makeStump(g *guest, a *Archive) {
	for _, d := range g.sorted() {
		if slices.ContainsFunc(a.Disks, func(o ArchivedDisk) bool { return o.Key == d.Key }) {
			s.free(g, d.volid(g.VMID))
		}
	}
	for _, sn := range g.Snaps {
		if sn.VMState != "" {
			s.free(g, sn.VMState)
		}
	}
	for i := range g.Disks {
		if d := &g.Disks[i]; !d.Loose && d.medium() && d.owner(g.VMID) == g.VMID {
			s.free(g, d.volid(g.VMID))
			break
		}
	}
	g.Snaps = nil
	g.named()
	s.reset(g, map[string]string{"memory": "128"})
	g.Stump = true
	g.Lock, g.Pending, g.Doomed = "", nil, nil
	s.images = nil
}

// allocateStreams makes the new volumes.
func (s *Sim) allocateStreams(t *task, g *guest, lines map[string]string) {
	r := t.Work.Restore
	for _, key := range sortedKeys(lines) {
		volid, _ := driveParts(lines[key])
		if !diskKey.MatchString(key) || !isCloudinit(volid) {
			continue
		}
		storage, _, _ := strings.Cut(volid, ":")
		if r.Storage != "" {
			storage = r.Storage
		}
		if s.storage(storage) == nil {
			continue
		}
		d := s.allocate(g, storage, s.formatOn(storage, volumeFormat(volid)), "cloudinit", 4*mib)
		d.Used = 260 * kib
		t.log("%s", s.formatting(storage, d.Volume, d.format(), d.Size))
		t.log("new volume ID is '%s'", d.volid(g.VMID))
	}
	for i := range r.Streams {
		st := &r.Streams[i]
		d := s.allocate(g, st.Storage, s.formatOn(st.Storage, st.Format), "", st.Size)
		st.Volid = d.volid(g.VMID)
		if line := s.formatting(st.Storage, d.Volume, d.format(), st.Size); line != "" {
			t.log("%s", line)
		}
		t.log("new volume ID is '%s'", st.Volid)
	}
	for _, st := range r.Streams {
		_, name, _ := strings.Cut(st.Volid, ":")
		zeros := 0
		if volumeFormat(name) == "raw" && !s.storage(st.Storage).files() && s.storage(st.Storage).Type == "lvm" {
			zeros = 1
		}
		t.log("map 'drive-%s' to '%s' (write zeros = %d)", st.Key, s.imagePath(st.Storage, name), zeros)
	}
}

// formatOn is the format that an image of another has on a storage.
func (s *Sim) formatOn(storage, format string) string {
	if st := s.storage(storage); !st.files() || format == "" {
		return "raw"
	}
	return format
}
