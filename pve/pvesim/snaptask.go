package pvesim

import (
	"fmt"
	"slices"
)

var snapshotKinds = map[string]workKind{
	"snapshot":    {begin: beginSnapshot, end: endSnapshot, cut: cutSnapshot},
	"delsnapshot": {begin: beginDelSnapshot, end: endDelSnapshot, cut: cutDelSnapshot},
	"rollback":    {begin: beginRollback, end: endRollback, cut: cutRollback},
}

// snapshots says whether all disks of a machine have them: qcow2 files, and
// storages that can by themselves.
func (s *Sim) snapshots(g *guest) bool {
	for _, d := range g.sorted() {
		if !s.canSnapshot(&d) {
			return false
		}
	}
	return true
}

func (s *Sim) canSnapshot(d *Disk) bool {
	st := s.storage(d.Storage)
	switch {
	case st == nil:
		return false
	case st.files():
		return d.format() == "qcow2"
	}
	return st.Type == "zfspool" || st.Type == "lvmthin" || st.Type == "rbd"
}

// beginSnapshot looks whether there can be one.
func beginSnapshot(s *Sim, t *task, at int64) (int64, string) {
	g, missing := s.machine(t)
	if missing != "" {
		return 0, missing
	}
	w := t.Work
	w.Main, w.Done = 1, at
	name := w.Opt["snapname"]
	if g.get("template") == "1" {
		return 0, "you can't take a snapshot if it's a template"
	}
	if msg := lockedBy(g); msg != "" {
		return 0, msg
	}
	switch {
	case g.snapshot(name) != nil:
		return 0, fmt.Sprintf("snapshot name '%s' already used", name)
	case !s.snapshots(g):
		return 0, "snapshot feature is not available"
	}
	for _, d := range g.sorted() {
		if msg := s.activateError(s.storage(d.Storage), g.Node); msg != "" {
			return 0, msg
		}
	}
	return prepareTakes, ""
}

// prepareTakes is until a snapshot's lock is seen, in milliseconds.
const prepareTakes = 70

// prepare sets the lock, the entry, and where the memory is to be saved, which
// lets the lock file go meanwhile.
func (s *Sim) prepare(t *task, g *guest, at int64) string {
	w := t.Work
	name := w.Opt["snapname"]
	sn := &snapshot{Name: name, Parent: g.Config["parent"], Description: w.Opt["description"], Time: (w.Done + t.Skew) / 1000, State: "prepare"}
	ram := w.Opt["vmstate"] == "1" && g.Running
	storage := s.stateStorage(g, "")
	if ram {
		if msg := s.activateError(s.storage(storage), g.Node); msg != "" {
			return msg
		}
		sn.VMState = s.saveMemory(t, g, name, storage)
	}
	g.Lock = "snapshot"
	g.Snaps = append(g.Snaps, sn)
	g.named()
	takes := 100 + 40*int64(len(g.sorted()))
	if !ram {
		w.Until = at + takes
		return ""
	}
	saved := g.volume(sn.VMState).Used
	t.log("saving VM state and RAM using storage '%s'", storage)
	speed := int64(float64(dataSpeed) * s.speed)
	saving := saved / speed
	for passed := int64(0); passed <= saving; passed += 1000 {
		w.Steps = append(w.Steps, step{At: at + 20 + passed, Lines: []string{
			fmt.Sprintf("%s in %s", size(min(saved/64+passed*speed, saved), 2), duration(passed/1000)),
		}})
	}
	takes += saving + 900
	w.Steps = append(w.Steps, step{At: at + takes, Lines: []string{
		fmt.Sprintf("completed saving the VM state in %s, saved %s", duration(saving/1000), size(saved, 2)),
	}})
	w.Open = true
	w.Until = at + takes
	return ""
}

// endSnapshot is the snapshot itself.
func endSnapshot(s *Sim, t *task, at int64) string {
	g, missing := s.machine(t)
	if missing != "" {
		return missing
	}
	if t.Work.Stage == 0 {
		return s.prepare(t, g, at)
	}
	sn := g.snapshot(t.Work.Opt["snapname"])
	if sn == nil {
		return fmt.Sprintf("snapshot '%s' does not exist", t.Work.Opt["snapname"])
	}
	if g.Running && sn.VMState == "" {
		s.freezeLine(t, g)
	}
	for _, d := range g.sorted() {
		volid := d.volid(g.VMID)
		t.log("snapshotting 'drive-%s' (%s)", d.Key, volid)
		s.chainLines(t, g, &d, sn.Name)
		if g.Running && s.release.nine && !s.chained(&d) {
			t.log("internal qemu snapshot")
		}
	}
	sn.take(g)
	if sn.VMState != "" {
		sn.Config["runningmachine"], sn.Config["runningcpu"] = s.release.machineType(g), runningCPU
		if nets := g.netsMTU(); s.release.nine && nets != "" {
			sn.Config["running-nets-host-mtu"] = nets
		}
	}
	sn.State = ""
	g.Config["parent"] = sn.Name
	g.Lock = ""
	g.named()
	return "OK"
}

// freezeLine tells about the guest's file systems, which 9 does for snapshots
// too (differences, C2).
func (s *Sim) freezeLine(t *task, g *guest) {
	if s.release.nine {
		s.freezeLines(g, func(format string, args ...any) { t.log(format, args...) })
	}
}

// chainLines are those of a storage whose snapshots are a chain of images.
func (s *Sim) chainLines(t *task, g *guest, d *Disk, name string) {
	if !s.chained(d) {
		return
	}
	path := s.imagePath(d.Storage, d.Volume)
	dir, file := path[:len(path)-len(baseName(path))], baseName(path)
	under := "snap-" + name + "-" + file
	if g.Running {
		t.log("external qemu snapshot")
		t.log("Creating a new current volume with %s as backing snap", name)
	}
	t.log("rename %s to %s%s", path, dir, under)
	t.log("%s", chainFormat(path, d.Size, under))
	if g.Running {
		t.log("blockdev replace current by %s", name)
		t.log("blockdev-snapshot: reopen current with %s backing image", name)
	}
}

func chainFormat(path string, size int64, under string) string {
	return fmt.Sprintf("Formatting '%s', fmt=qcow2 cluster_size=131072 extended_l2=on preallocation=metadata compression_type=zlib size=%d backing_file=%s backing_fmt=qcow2 lazy_refcounts=off refcount_bits=16", path, size, under)
}

func baseName(path string) string {
	for i := len(path) - 1; i >= 0; i-- {
		if path[i] == '/' {
			return path[i+1:]
		}
	}
	return path
}

// cutSnapshot tidies up after a snapshot that came to nothing. A killed one
// leaves the lock and its entry in state prepare.
func cutSnapshot(s *Sim, t *task, _ int64, c cut) string {
	g, missing := s.machine(t)
	if missing != "" || c.killed || t.Work.Stage == 0 {
		return c.why
	}
	t.log("snapshot create failed: starting cleanup")
	exit := c.why
	if sn := g.snapshot(t.Work.Opt["snapname"]); sn != nil {
		if sn.VMState != "" {
			s.free(g, sn.VMState)
			if c.signal {
				exit += " " // as recorded
			}
		}
		g.Snaps = slices.DeleteFunc(g.Snaps, func(o *snapshot) bool { return o == sn })
		g.named()
	}
	if g.Lock == "snapshot" {
		g.Lock = ""
	}
	return exit
}

func beginDelSnapshot(s *Sim, t *task, _ int64) (int64, string) {
	g, missing := s.machine(t)
	if missing != "" {
		return 0, missing
	}
	name := t.Work.Opt["snapname"]
	if msg := lockedBy(g); msg != "" {
		return 0, msg
	}
	sn := g.snapshot(name)
	if sn == nil {
		return 0, fmt.Sprintf("snapshot '%s' does not exist", name)
	}
	g.Lock, sn.State = "snapshot-delete", "delete"
	for _, h := range sn.Held {
		if d := g.volume(h.Volid); d != nil {
			if msg := s.activateError(s.storage(d.Storage), g.Node); msg != "" && t.Work.Opt["force"] != "1" {
				return 0, msg // and the lock stays
			}
			s.chainDelete(t, g, d, name)
		}
	}
	return 80 + 40*int64(len(sn.Held)), ""
}

// chainDelete tells how an image in the middle of a chain goes.
func (s *Sim) chainDelete(t *task, g *guest, d *Disk, name string) {
	if !s.chained(d) {
		return
	}
	volid := d.volid(g.VMID)
	var before, after *snapshot
	found := false
	for _, sn := range g.Snaps {
		switch {
		case sn.hold(volid) == nil:
		case sn.Name == name:
			found = true
		case !found:
			before = sn
		case after == nil:
			after = sn
		}
	}
	path := s.imagePath(d.Storage, d.Volume)
	dir, file := path[:len(path)-len(baseName(path))], baseName(path)
	image := func(sn *snapshot) string { return "snap-" + sn.Name + "-" + file }
	switch {
	case before != nil && after != nil && !g.Running:
		t.log("%s: deleting snapshot '%s' by rebasing '%s' on top of '%s'", shortVolume(d.Volume), name, after.Name, before.Name)
		t.log("running '/usr/bin/qemu-img rebase -b %s -F qcow2 -f qcow2 %s%s'", image(before), dir, image(after))
	case before == nil && after != nil && g.Running:
		t.log("delete qemu external snapshot")
		t.log("delete first snapshot %s", name)
		t.log("block-commit %s to base:%s", after.Name, name)
		t.log("commit-drive-%s: transferred 0.0 B of %s (0.00%%) in 0s", d.Key, size(d.Size, 1))
		t.log("commit-drive-%s: commit-job finished", d.Key)
		t.log("delete old %s%s", dir, image(after))
		t.log("rename %ssnap-%s-%s to %s%s", dir, name, file, dir, image(after))
		t.log("blockdev replace %s by %s", name, after.Name)
	}
}

func endDelSnapshot(s *Sim, t *task, _ int64) string {
	g, missing := s.machine(t)
	if missing != "" {
		return missing
	}
	if sn := g.snapshot(t.Work.Opt["snapname"]); sn != nil {
		s.dropSnapshot(g, sn)
	}
	g.Lock = ""
	return "OK"
}

// dropSnapshot forgets a snapshot; its children become its parent's.
func (s *Sim) dropSnapshot(g *guest, sn *snapshot) {
	if sn.VMState != "" {
		s.free(g, sn.VMState)
	}
	for _, o := range g.Snaps {
		if o.Parent == sn.Name {
			o.Parent = sn.Parent
		}
	}
	if g.Config["parent"] == sn.Name {
		if delete(g.Config, "parent"); sn.Parent != "" {
			g.Config["parent"] = sn.Parent
		}
	}
	g.Snaps = slices.DeleteFunc(g.Snaps, func(o *snapshot) bool { return o == sn })
	g.named()
	s.images = nil
}

// cutDelSnapshot: after any error the lock stays (facts, "Locks").
func cutDelSnapshot(_ *Sim, _ *task, _ int64, c cut) string { return c.why }

func beginRollback(s *Sim, t *task, at int64) (int64, string) {
	g, missing := s.machine(t)
	if missing != "" {
		return 0, missing
	}
	name := t.Work.Opt["snapname"]
	sn := g.snapshot(name)
	switch {
	case sn == nil:
		return 0, fmt.Sprintf("snapshot '%s' does not exist", name)
	case sn.State != "":
		return 0, fmt.Sprintf("unable to rollback to incomplete snapshot (snapstate = %s)", sn.State)
	case g.get("template") == "1":
		return 0, "you can't rollback if vm is a template"
	}
	if msg := lockedBy(g); msg != "" {
		return 0, msg
	}
	for _, h := range sn.Held {
		d := g.volume(h.Volid)
		if d == nil {
			return 0, fmt.Sprintf("volume '%s' does not exist", h.Volid)
		}
		if msg := s.activateError(s.storage(d.Storage), g.Node); msg != "" {
			return 0, msg
		}
		if s.newestOnly(d) && g.newest(h.Volid) != sn {
			return 0, fmt.Sprintf("can't rollback, '%s' is not most recent snapshot on '%s'", name, shortVolume(d.Volume))
		}
	}
	g.Lock = "rollback"
	takes := 160 + 40*int64(len(sn.Held))
	if g.Running {
		s.powerOff(g, at, 0)
		takes += g.Quits.Milliseconds()
	}
	return takes, ""
}

// newestOnly: a storage that goes back to the newest snapshot and no other.
func (s *Sim) newestOnly(d *Disk) bool {
	return s.chained(d) || s.storage(d.Storage).Type == "zfspool"
}

// endRollback puts disks and configuration back; with a saved memory the
// machine runs again, in a second stage.
func endRollback(s *Sim, t *task, at int64) string {
	g, missing := s.machine(t)
	if missing != "" {
		return missing
	}
	w := t.Work
	sn := g.snapshot(w.Opt["snapname"])
	if sn == nil {
		return fmt.Sprintf("snapshot '%s' does not exist", w.Opt["snapname"])
	}
	if w.Stage == 1 {
		s.setRunning(g, at, true)
		g.Boot -= bootTakes // its system was up
		g.Lock = ""
		return "OK"
	}
	for _, h := range sn.Held {
		if d := g.volume(h.Volid); s.chained(d) {
			path := s.imagePath(d.Storage, d.Volume)
			t.log("%s", chainFormat(path, h.Size, "snap-"+sn.Name+"-"+baseName(path)))
		}
	}
	s.goBack(g, sn)
	if sn.VMState != "" {
		s.mtuLines(t, g, sn.Config["running-nets-host-mtu"])
		w.Until = at + startTakes + 200
		return ""
	}
	g.Lock = ""
	if w.Opt["start"] == "1" {
		s.st.Again = append(s.st.Again, again{Node: t.Node, User: t.User, VMID: g.VMID, At: at + 40})
	}
	return "OK"
}

// goBack makes a machine what a snapshot says: disks, and all lines but the
// description and the unused disks.
func (s *Sim) goBack(g *guest, sn *snapshot) {
	for _, h := range sn.Held {
		d := g.volume(h.Volid)
		if newest := g.newest(h.Volid); newest != sn {
			// What was written between the two is now the newer one's alone.
			n, o := newest.hold(h.Volid), sn.hold(h.Volid)
			n.Kept = min(n.Kept+o.Kept, n.Used)
		}
		sn.hold(h.Volid).Kept = 0
		d.Size, d.SizeText, d.Used, d.Content, d.Origin = h.Size, h.SizeText, h.Used, h.Content, h.Content
	}
	keep := map[string]string{}
	for key, value := range g.Config {
		if key == "description" || unusedKey.MatchString(key) {
			keep[key] = value
		}
	}
	var before []string
	for _, d := range g.Disks {
		if !d.Loose && !d.medium() && d.owner(g.VMID) == g.VMID {
			before = append(before, d.volid(g.VMID))
		}
	}
	s.reset(g, sn.Config)
	for key, value := range keep {
		if d := g.volume(value); d == nil || d.Loose || key == "description" {
			g.Config[key] = value
		}
	}
	for _, volid := range before {
		if d := g.volume(volid); d != nil && d.Loose {
			s.putAside(g, volid)
		}
	}
	g.Config["parent"] = sn.Name
	if g.Config["vmgenid"] != "" {
		g.Config["vmgenid"] = uuid(s.random("vmgenid", fmt.Sprint(s.content())))
	}
	g.Pending, g.Doomed = nil, nil
	s.images = nil
}

// reset gives a machine exactly these lines; its volumes stay.
func (s *Sim) reset(g *guest, lines map[string]string) {
	for i := 0; i < len(g.Disks); i++ {
		d := &g.Disks[i]
		switch {
		case d.Loose:
		case d.owner(g.VMID) != g.VMID:
			g.Disks = slices.Delete(g.Disks, i, i+1)
			i--
		default:
			d.Key, d.Loose, d.Options, d.NoBackup = "", true, "", false
		}
	}
	g.Config = map[string]string{}
	g.Name, g.Agent, g.Tags, g.UUID = "", "", "", ""
	g.Bare = []string{"memory", "cores", "smbios1"}
	for _, key := range sortedKeys(lines) {
		if !slices.Contains(momentary, key) {
			g.set(key, lines[key])
		}
	}
}

// cutRollback: the machine is stopped and the lock stays (facts, "Locks").
func cutRollback(_ *Sim, _ *task, _ int64, c cut) string { return c.why }
