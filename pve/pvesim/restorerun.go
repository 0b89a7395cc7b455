package pvesim

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// planRestore decides how long the data takes and what the log will say.
func (s *Sim) planRestore(t *task, a *Archive, at int64) {
	w, r := t.Work, t.Work.Restore
	for _, st := range r.Streams {
		r.Total += st.Size
		r.Data += st.Used
	}
	r.DataRate, r.HoleRate = dataSpeed*s.speed, 4*holeSpeed*s.speed
	if r.Limit > 0 && r.Data > 0 && a.Size > 0 {
		// The limit is on the archive's bytes; holes are hardly any.
		limited := float64(r.Limit*kib) / 1000 * float64(r.Data) / float64(a.Size)
		r.DataRate = min(r.DataRate, limited)
	}
	w.Until = at + int64(math.Ceil(float64(r.Data)/r.DataRate+float64(r.Total-r.Data)/r.HoleRate))
	w.From = at
	if a.Damage == Truncated || a.Damage == Corrupt {
		r.Damage, r.Breaks = a.Damage, at+int64(a.At*float64(w.Until-at))
		w.Until = r.Breaks
	}
	// What unpacks finds it long before vma knows what it lacks.
	found := at + (r.Breaks-at)/3
	for p := int64(1); p <= 100 && r.Total > 0; p++ {
		read := min((r.Total*p/100+65535)/65536*65536, r.Total)
		when := at + r.timeOf(read)
		if r.Breaks != 0 && when > r.Breaks {
			break
		}
		if r.Damage == Corrupt && when > found {
			w.Steps = append(w.Steps, step{At: found, Lines: []string{tail17(r.Path) + " : Decoding error (36) : Restored data doesn't match checksum "}})
			found = math.MaxInt64
		}
		w.Steps = append(w.Steps, step{At: when, Lines: []string{
			fmt.Sprintf("progress %d%% (read %d bytes, duration %d sec)", p, read, (when-at)/1000),
		}})
	}
}

// timeOf is how long it takes until so many bytes of the disks are read: data
// first, then holes.
func (r *restore) timeOf(read int64) int64 {
	if read <= r.Data {
		return int64(float64(read) / r.DataRate)
	}
	return int64(float64(r.Data)/r.DataRate + float64(read-r.Data)/r.HoleRate)
}

// written is how much of the data is on the new disks at a moment.
func (r *restore) written(from, at int64) int64 {
	return max(min(int64(float64(at-from)*r.DataRate), r.Data), 0)
}

// writtenTo is how much of that is on one stream's disk: they come one after
// the other.
func (r *restore) writtenTo(i int, from, at int64) int64 {
	n := r.written(from, at)
	for _, st := range r.Streams[:i] {
		n -= st.Used
	}
	return max(min(n, r.Streams[i].Used), 0)
}

// copiedTo is what running restores, clones and moves have put in a place.
func (s *Sim) copiedTo(t *task, key shelfKey, at int64) int64 {
	w := t.Work
	if w == nil || !w.Started || w.Stage != w.Main {
		return 0
	}
	var n int64
	if r := w.Restore; r != nil {
		for i, st := range r.Streams {
			if st.Volid != "" && s.imageKey(st.Storage, t.Node) == key {
				n += blocks(r.writtenTo(i, w.From, at))
			}
		}
	}
	if c := w.Copy; c != nil {
		for i, p := range c.Parts {
			if s.imageKey(p.Storage, c.Node) == key {
				n += blocks(c.writtenTo(i, w.From, at))
			}
		}
	}
	return n
}

// filled is how much of that is on one volume.
func (s *Sim) filled(vmid int, d *Disk, at int64) int64 {
	volid := d.volid(vmid)
	var n int64
	for _, t := range s.active {
		w := t.Work
		if w == nil || !w.Started || w.Stage != w.Main {
			continue
		}
		if r := w.Restore; r != nil {
			for i, st := range r.Streams {
				if st.Volid == volid {
					n += blocks(r.writtenTo(i, w.From, at))
				}
			}
		}
		if c := w.Copy; c != nil {
			for i, p := range c.Parts {
				if p.Volid == volid {
					n += blocks(c.writtenTo(i, w.From, at))
				}
			}
		}
	}
	return n
}

// copyFull is when running work finds no byte left where it writes to.
func (s *Sim) copyFull(t *task, until int64) int64 {
	w := t.Work
	if !w.Started || w.Stage != w.Main {
		return math.MaxInt64
	}
	places := map[shelfKey]bool{}
	if w.Restore != nil {
		for _, st := range w.Restore.Streams {
			places[s.imageKey(st.Storage, t.Node)] = true
		}
	}
	if w.Copy != nil {
		for _, p := range w.Copy.Parts {
			places[s.imageKey(p.Storage, w.Copy.Node)] = true
		}
	}
	over := func(at int64) bool {
		for key := range places {
			if s.storage(key.Storage) == nil || s.copiedTo(t, key, at) == 0 {
				continue
			}
			st := s.storage(key.Storage)
			total, used := s.space(key, at)
			if used > total || st.Full || s.storageFault(StorageFull, st.Name, key.Node) != 0 {
				return true
			}
		}
		return false
	}
	if !over(until) {
		return math.MaxInt64
	}
	lo, hi := w.From, until
	for lo+1 < hi {
		if mid := (lo + hi) / 2; over(mid) {
			hi = mid
		} else {
			lo = mid
		}
	}
	return hi
}

// settleRestore makes the machine what the archive says.
func (s *Sim) settleRestore(t *task, g *guest, at int64) {
	w, r := t.Work, t.Work.Restore
	t.log("total bytes read %d, sparse bytes %d (%s%%)", r.Total, r.Total-r.Data, threeDigits(r.Total-r.Data, r.Total))
	if r.Data > 0 {
		t.log("space reduction due to 4K zero blocks 0%s", "%")
	}
	t.log("rescan volumes...")
	g.Blank, g.Deaf = r.Blank, r.Deaf
	lines := s.restoredLines(g, r, r.Config)
	for i, st := range r.Streams {
		if d := g.volume(st.Volid); d != nil {
			d.Size, d.Ratio, d.Content, d.Origin = st.Size, st.Ratio, st.Content, st.Content
			d.Used = max(r.Streams[i].Used, s.fresh(d))
		}
	}
	s.reset(g, lines)
	g.Stump = false
	for _, key := range sortedKeys(r.Set) {
		g.set(key, r.Set[key])
	}
	s.rescan(t, g)
	g.Lock = ""
	s.images = nil
	g.lived(at)
	s.joinPool(g.VMID, w.Opt["pool"])
	if r.Start {
		t.log("Execute autostart")
		s.st.Again = append(s.st.Again, again{Node: t.Node, User: t.User, VMID: w.VMID, At: at + 60})
	}
}

// restoredLines are the archive's lines for the machine that is made of it:
// new volumes, a new generation and, where it is to be unique, new identities.
func (s *Sim) restoredLines(g *guest, r *restore, config string) map[string]string {
	lines := parseConfig(config)
	comments := lines["description"]
	for _, key := range sortedKeys(lines) {
		value := lines[key]
		switch {
		case slices.Contains(momentary, key) || key == "lock" || unusedKey.MatchString(key):
			delete(lines, key)
		case netKey.MatchString(key) && r.Unique:
			parts, _ := netShape.parse(value, key, s.release)
			lead := parts["model"] + "=" + s.newMAC()
			delete(parts, "model")
			delete(parts, "macaddr")
			lines[key] = joinPairs(lead, parts)
		case key == "vmgenid":
			lines[key] = uuid(s.random("vmgenid", fmt.Sprint(s.content())))
		case key == "smbios1" && r.Unique:
			fresh := guest{Guest: Guest{Config: map[string]string{}}}
			fresh.setIdentity(value)
			fresh.UUID = uuid(s.random("smbios", fmt.Sprint(s.content())))
			lines[key] = fresh.identity()
		case diskKey.MatchString(key):
			volid, options := driveParts(value)
			if i := slices.IndexFunc(r.Streams, func(st stream) bool { return st.Key == key }); i >= 0 {
				delete(options, "format")
				lines[key] = joinPairs(r.Streams[i].Volid, options)
			} else if isCloudinit(volid) {
				for _, d := range g.Disks {
					if d.medium() && d.Loose {
						lines[key] = joinPairs(d.volid(g.VMID), options)
					}
				}
			} else if options["backup"] == "0" {
				// It is a comment from now on; the volume, if it is there, unused.
				delete(lines, key)
				comments = strings.TrimPrefix(comments+"\n"+key+": "+value, "\n")
			}
		}
	}
	if comments != "" {
		lines["description"] = comments
	}
	return lines
}

// rescan lists the machine's volumes that no line names.
func (s *Sim) rescan(t *task, g *guest) {
	for _, d := range slices.Clone(g.Disks) {
		volid := d.volid(g.VMID)
		if !d.Loose || d.medium() || strings.Contains(d.Volume, "-state-") {
			continue
		}
		listed := slices.ContainsFunc(g.unused(), func(k string) bool { return g.Config[k] == volid })
		if listed {
			continue
		}
		s.putAside(g, volid)
		for _, k := range g.unused() {
			if g.Config[k] == volid {
				t.log("VM %d add unreferenced volume '%s' as '%s' to config", g.VMID, volid, k)
			}
		}
	}
}

// cutRestore is a restore that ends half-way. The new volumes go, the old ones
// are gone: a stump is left, without a lock. A killed one leaves what it wrote.
func cutRestore(s *Sim, t *task, at int64, c cut) string {
	w, r := t.Work, t.Work.Restore
	g, missing := s.machine(t)
	command := "command 'set -o pipefail && " + r.command(t, Archive{Format: archiveFormat(r.Path)}) + "' failed: "
	if missing != "" {
		return missing
	}
	if c.killed {
		if w.Stage == w.Main {
			for i, st := range r.Streams {
				if d := g.volume(st.Volid); d != nil {
					d.Used, d.Content = r.writtenTo(i, w.From, at), s.content()
				}
			}
			s.images = nil
		}
		return c.why
	}
	exit := command + c.why
	switch {
	case c.signal:
		exit = command + "interrupted by signal"
	case c.why == noSpace:
		t.log("vma: restore failed - blk_pwrite to  failed (-28)")
		s.shellLines(t, "Broken pipe            ")
		exit = command + "exit code 133"
	case c.why == string(Truncated):
		t.log("%s : Read error (39) : premature end ", tail17(r.Path))
		t.log("vma: restore failed - short vma extent (3027578 < 3801600)")
		s.shellLines(t, "Exit 1                 ")
		exit = command + "exit code 133"
	case c.why == string(Corrupt):
		t.log("vma: restore failed - detected missing cluster %d for stream drive-%s", r.written(w.From, at)/65536, firstKey(r))
		s.shellLines(t, "Exit 1                 ")
		exit = command + "exit code 133"
	}
	if w.Stage < w.Main {
		// Nothing was touched yet.
		g.Lock = ""
		t.log(notCleaned, w.VMID)
		return exit
	}
	for _, st := range r.Streams {
		s.free(g, st.Volid)
		t.log("temporary volume '%s' successfully removed", st.Volid)
	}
	for _, d := range slices.Clone(g.Disks) {
		if d.medium() && d.Loose {
			s.free(g, d.volid(g.VMID))
		}
	}
	t.log("no lock found trying to remove 'create'  lock")
	t.log(notCleaned, w.VMID)
	g.lived(at)
	return exit
}

func firstKey(r *restore) string {
	if len(r.Streams) > 0 {
		return r.Streams[0].Key
	}
	return "scsi0"
}

// shellLines are bash's words about the two programs of the pipe.
func (s *Sim) shellLines(t *task, how string) {
	r := t.Work.Restore
	reader, writer, _ := strings.Cut(r.command(t, Archive{Format: archiveFormat(r.Path)}), " | ")
	t.log("/bin/bash: line 1: %d %s %s", t.PID+9, how, reader)
	t.log("     %d Trace/breakpoint trap   | %s", t.PID+10, writer)
}

// tail17 is as much of a path as fits where zstd names it.
func tail17(path string) string { return path[max(len(path)-20, 0):] }

// threeDigits is a share in percent as C's %.3g has it.
func threeDigits(part, whole int64) string {
	if whole == 0 {
		return "0"
	}
	return strconv.FormatFloat(float64(part)*100/float64(whole), 'g', 3, 64)
}
