package pvesim

import (
	"fmt"
	"strings"
)

// postMoveDisk copies a disk to another storage, or gives it to another machine.
func postMoveDisk(s *Sim, c *call) answer {
	p, key := c.params, c.params.get("disk")
	if p.has("target-vmid") {
		return s.reassign(c, key)
	}
	if !p.has("storage") {
		return wrongParam("storage", "both 'storage' and 'target-vmid' missing, either needs to be set")
	}
	if a := s.demand(c.who, "/storage/"+p.get("storage"), "Datastore.AllocateSpace"); a != nil {
		return *a
	}
	g, missing := s.here(c)
	if missing != nil {
		return *missing
	}
	if s.fileHeld(g.VMID, false) {
		return s.heldUp(g.VMID, lockWait)
	}
	if p.has("digest") && p.get("digest") != g.digest() {
		return fail(500, wrongDigest)
	}
	if msg := lockedBy(g); msg != "" {
		return fail(500, "%s", msg)
	}
	d := g.disk(key)
	st := s.storage(p.get("storage"))
	switch {
	case d == nil:
		return fail(500, "disk '%s' does not exist", key)
	case st == nil:
		return fail(500, "storage '%s' does not exist", p.get("storage"))
	case !st.has("images"):
		return fail(500, "storage '%s' does not support content type 'images'", st.Name)
	}
	format := d.format()
	if p.has("format") {
		format = p.get("format")
	}
	if !st.files() {
		format = "raw"
	}
	volid := d.volid(g.VMID)
	switch msg := s.activateError(st, g.Node); {
	case msg != "":
		return fail(500, "%s", msg)
	case st.Name == d.Storage && format == d.format():
		return fail(500, "you can't move to the same storage with same format")
	case g.inSnapshots(volid) && p.boolean("delete", false):
		return fail(500, "you can't move a disk with snapshots and delete the source")
	}
	rate := dataSpeed * s.speed
	if limit := p.integer("bwlimit", 0); limit > 0 {
		rate = min(rate, float64(limit*kib)/1000)
	}
	return s.startWork(c, "qmmove", &work{
		Kind: "move", VMID: g.VMID, Opt: c.options("disk", "delete"),
		Copy: &copying{Node: g.Node, To: g.VMID, Rate: rate, Parts: []part{{
			Key: key, From: volid, Storage: st.Name, Format: format,
			Size: d.Size, Used: d.Used, Ratio: d.Ratio, Content: d.Content, Line: g.get(key),
		}}},
	})
}

func beginMove(s *Sim, t *task, at int64) (int64, string) {
	g, missing := s.machine(t)
	if missing != "" {
		return 0, missing
	}
	if msg := lockedBy(g); msg != "" {
		return 0, msg
	}
	p := &t.Work.Copy.Parts[0]
	if d := g.disk(p.Key); d == nil || d.volid(g.VMID) != p.From {
		return 0, fmt.Sprintf("disk '%s' does not exist", p.Key)
	}
	if s.release.nine {
		from, _, _ := strings.Cut(p.From, ":")
		t.log("copying volume '%s' from current storage '%s' to target storage '%s'", p.From, from, p.Storage)
	}
	s.allocatePart(t, g, p, g.Running)
	takes := 100 + t.Work.Copy.takes()
	if g.Running {
		s.mirrorSteps(t.Work, at, takes)
	}
	return takes, ""
}

// endMove puts the copy in the disk's place; the source is unused, or gone.
func endMove(s *Sim, t *task, _ int64) string {
	g, missing := s.machine(t)
	if missing != "" {
		return missing
	}
	p := &t.Work.Copy.Parts[0]
	d := g.disk(p.Key)
	if d == nil {
		return fmt.Sprintf("disk '%s' does not exist", p.Key)
	}
	if g.Running {
		s.mirrorLines(t, g)
	}
	// What was written meanwhile is in the copy too.
	p.Used, p.Content = d.Used, d.Content
	s.fillParts(g, t.Work.Copy)
	_, options := driveParts(d.line(g.VMID))
	s.putLine(g, p.Key, joinPairs(p.Volid, options))
	if t.Work.Opt["delete"] == "1" {
		if s.release.nine {
			t.log("removing source volume '%s' after successful copy", p.From)
		}
		for _, unused := range g.unused() {
			if g.Config[unused] == p.From {
				delete(g.Config, unused)
			}
		}
		s.free(g, p.From)
	}
	s.images = nil
	return "OK"
}

func cutMove(s *Sim, t *task, at int64, c cut) string {
	g, missing := s.machine(t)
	switch {
	case missing != "":
	case c.killed:
		s.leaveParts(t, g, at)
	default:
		s.free(g, t.Work.Copy.Parts[0].Volid)
	}
	return "storage migration failed: " + c.why
}

// reassign gives a disk to another machine of the node, at once: only names
// change.
func (s *Sim) reassign(c *call, key string) answer {
	p := c.params
	vmid := int(p.integer("target-vmid", 0))
	if a := s.demand(c.who, "/vms/"+itoa(vmid), "VM.Config.Disk"); a != nil {
		return *a
	}
	g, missing := s.here(c)
	if missing != nil {
		return *missing
	}
	to := s.guests[vmid]
	place := p.get("target-disk")
	if place == "" {
		place = key
	}
	unused := g.Config[key]
	d := g.disk(key)
	if unusedKey.MatchString(key) && unused != "" {
		d = g.volume(unused)
	}
	switch {
	case p.has("storage"):
		return wrongParam("target-vmid", "either set 'storage' or 'target-vmid', but not both")
	case vmid == g.VMID:
		return wrongParam("target-vmid", "must be different than source VMID to reassign disk")
	case to == nil || to.Node != c.node:
		return fail(500, "%s", noConfig(c.node, vmid))
	case s.fileHeld(g.VMID, false):
		return s.heldUp(g.VMID, lockWait)
	case s.fileHeld(vmid, false):
		return s.heldUp(vmid, lockWait)
	case lockedBy(g) != "":
		return fail(500, "%s", lockedBy(g))
	case lockedBy(to) != "":
		return fail(500, "%s", lockedBy(to))
	case d == nil:
		return fail(500, "Source disk '%s' does not exist", key)
	case to.get(place) != "":
		return fail(500, "Target disk key '%s' is already in use for VM '%d'", place, vmid)
	case g.Running && unused == "":
		return fail(500, "cannot move disk from running VM '%d'", g.VMID)
	case g.inSnapshots(d.volid(g.VMID)):
		return fail(500, "Can't reassign disk used by a snapshot")
	}
	moved := *d
	s.newTask(c, c.node, "qmmove", itoa(g.VMID)+"-"+itoa(vmid))
	t := s.tasks[c.upid]
	t.Work = &work{Kind: "move", VMID: g.VMID}
	if doom := t.doomed(GotNoWorkerUPID); doom != nil && !doom.Works {
		s.close(t, c.at, unexpected)
		return ok(t.UPID)
	}
	if doom := t.doomed(TaskFails); doom != nil {
		s.finish(t, c.at, doom.line())
		return ok(t.UPID)
	}
	if t.doomed(TaskKilled) != nil {
		s.close(t, c.at, unexpected)
		return ok(t.UPID)
	}
	from := d.volid(g.VMID)
	delete(g.Config, key)
	s.free(g, from)
	moved.Key, moved.Loose = "", true
	moved.Volume = s.freeName(to, s.storage(moved.Storage), moved.format(), "")
	to.Disks = append(to.Disks, moved)
	volid := moved.volid(vmid)
	t.log("moving disk '%s' from VM '%d' to '%d'", key, g.VMID, vmid)
	if unusedKey.MatchString(place) {
		to.Config[place] = volid
	} else {
		to.pend(place, volid)
		s.applyPending(to, c.at, to.Running)
	}
	t.log("removing disk '%s' from VM '%d' config", key, g.VMID)
	s.finish(t, c.at, "OK")
	return ok(t.UPID)
}
