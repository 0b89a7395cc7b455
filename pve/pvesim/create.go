package pvesim

import (
	"fmt"
	"slices"
	"strings"
)

// createParams are the parameters of POST …/qemu that are no lines.
var createParams = []string{
	"node", "vmid", "archive", "bwlimit", "force", "ha-managed", "import-working-storage", "live-restore", "pool", "start", "storage", "unique",
}

// postGuest makes a machine, or with an archive restores one. 9.1.10 and later
// want the right to start beside, when it is to be started (differences, A3).
func postGuest(s *Sim, c *call) answer {
	p := c.params
	if pool := p.get("pool"); pool != "" {
		if a := s.poolFor(c, pool); a != nil {
			return *a
		}
	}
	vmid := c.vmid()
	g := s.guests[vmid]
	path := "/vms/" + itoa(vmid)
	again := p.has("archive") && p.boolean("force", false) && g != nil && s.may(c.who, path, "VM.Backup")
	if !s.may(c.who, path, "VM.Allocate") && !again {
		return fail(403, "Permission check failed")
	}
	if name := p.get("storage"); name != "" {
		if a := s.demand(c.who, "/storage/"+name, "Datastore.AllocateSpace"); a != nil {
			return *a
		}
	}
	ch := &change{Set: map[string]string{}}
	for name := range p {
		if !slices.Contains(createParams, name) {
			ch.Set[name] = p.get(name)
		}
	}
	if p.has("archive") {
		for _, key := range sortedKeys(ch.Set) {
			if diskKey.MatchString(key) {
				return wrongParam(key, "option conflicts with option 'archive'")
			}
		}
		if a := s.mayRead(c, p.get("archive")); a != nil {
			return *a
		}
	}
	for _, key := range sortedKeys(ch.Set) {
		if a := s.readLine(ch, key); a != nil {
			return *a
		}
	}
	if a := s.mayChange(c.who, vmid, ch); a != nil {
		return *a
	}
	if a := s.mayStore(c, vmid, ch); a != nil {
		return *a
	}
	if p.boolean("start", false) && s.release.nine {
		if a := s.demand(c.who, path, "VM.PowerMgmt"); a != nil {
			return *a
		}
	}
	if p.has("archive") {
		return s.postRestore(c, g, ch)
	}
	return s.postCreate(c, g, ch)
}

// mayRead checks an archive that somebody wants to restore.
func (s *Sim) mayRead(c *call, volid string) *answer {
	no := func(a answer) *answer { return &a }
	if strings.HasPrefix(volid, "/") || volid == "-" {
		if !c.who.isRoot() {
			return no(fail(500, "Only root can pass arbitrary filesystem paths."))
		}
		if s.archiveOf(c.node, volid) == nil {
			return no(fail(500, "can't find archive file '%s'", volid))
		}
		return nil
	}
	probe := &call{params: params{"volume": {volid}}, node: c.node, who: c.who}
	v, refused := s.volume(probe)
	if refused != nil {
		return refused
	}
	if !v.backup {
		return no(fail(500, "unable to use volume %s - content type needs to be 'backup'", volid))
	}
	if a := s.archiveRight(c.who, v.storage.Name, v.vmid); a != nil {
		return a
	}
	if msg := s.activateError(v.storage, c.node); msg != "" {
		return no(fail(500, "%s", msg))
	}
	if v.archive == nil {
		return no(fail(500, "volume '%s' does not exist", volid))
	}
	return nil
}

// postRestore looks at the machine that is to be restored over, and waits 5 s
// for its lock file.
func (s *Sim) postRestore(c *call, g *guest, ch *change) answer {
	p, vmid := c.params, c.vmid()
	no := func(why string) answer { return fail(500, "unable to restore VM %d - %s", vmid, why) }
	if g != nil && (!p.boolean("force", false) || g.Node != c.node) && !s.restoring(vmid) {
		return no(fmt.Sprintf("VM %d already exists on node '%s'", vmid, g.Node))
	}
	if s.fileHeld(vmid, false) {
		a := no(lockTimeout(vmid))
		a.wait, a.again = s.heldUp(vmid, restoreWait).wait, true
		return a
	}
	if g != nil {
		if msg := lockedBy(g); msg != "" {
			return no(msg)
		}
	}
	return s.startWork(c, "qmrestore", &work{Kind: "restore", VMID: vmid, Opt: c.options("pool"), Restore: &restore{
		Archive: p.get("archive"), Storage: p.get("storage"), Limit: p.integer("bwlimit", 0), Unique: p.boolean("unique", false),
		Start: p.boolean("start", false), Live: p.boolean("live-restore", false), New: g == nil, Set: ch.Set,
	}})
}

// restoring: a machine that a running restore makes is not there yet.
func (s *Sim) restoring(vmid int) bool { return len(s.doing(vmid, "restore")) > 0 }

func (s *Sim) postCreate(c *call, g *guest, ch *change) answer {
	vmid := c.vmid()
	if g != nil {
		return fail(500, "unable to create VM %d - VM %d already exists on node '%s'", vmid, vmid, g.Node)
	}
	if s.fileHeld(vmid, false) {
		a := fail(500, "unable to create VM %d - %s", vmid, lockTimeout(vmid))
		a.wait, a.again = s.heldUp(vmid, restoreWait).wait, true
		return a
	}
	return s.startWork(c, "qmcreate", &work{Kind: "create", VMID: vmid, Change: ch, Opt: c.options("start", "pool")})
}

// bareGuest is a machine without a single line.
func (s *Sim) bareGuest(vmid int, node string, at int64) *guest {
	g := &guest{
		Guest: Guest{VMID: vmid, Node: node, Config: map[string]string{}, Blank: true}, Made: at,
		Bare: []string{"memory", "cores", "smbios1"},
	}
	s.adopt(g)
	s.place(g)
	g.lived(at)
	return g
}

var machineKinds = map[string]workKind{
	"create":   {begin: beginCreate, end: endCreate, cut: cutCreate},
	"destroy":  {begin: beginDestroy, end: endDestroy, cut: cutDestroy},
	"clone":    {begin: beginClone, end: endClone, cut: cutClone},
	"template": {begin: beginTemplate, end: endTemplate},
	"move":     {begin: beginMove, end: endMove, cut: cutMove},
}

func beginCreate(s *Sim, t *task, at int64) (int64, string) {
	w := t.Work
	if g := s.guests[w.VMID]; g != nil {
		return 0, fmt.Sprintf("unable to create VM %d - VM %d already exists on node '%s'", w.VMID, w.VMID, g.Node)
	}
	took, refused := s.formatTime(w.Change, t.Node)
	if refused != nil {
		return 0, fmt.Sprintf("unable to create VM %d - %s", w.VMID, refused.reason)
	}
	s.bareGuest(w.VMID, t.Node, at).Lock = "create"
	return 120 + took, ""
}

func endCreate(s *Sim, t *task, at int64) string {
	w := t.Work
	g, missing := s.machine(t)
	if missing != "" {
		return missing
	}
	lines := w.Change.Set
	for _, key := range sortedKeys(lines) {
		value := lines[key]
		if diskKey.MatchString(key) {
			line, a := s.volumeFor(g, key, value, func(line string) {
				if line != "" {
					t.log("%s", line)
				}
			})
			if a != nil {
				s.removeGuest(g)
				return fmt.Sprintf("unable to create VM %d - %s", w.VMID, a.reason)
			}
			value = line
		}
		g.set(key, value)
	}
	if g.Config["boot"] == "" {
		if order := g.defaultBoot(); order != "" {
			g.Config["boot"] = order
		}
	}
	r := s.random("machine", fmt.Sprint(w.VMID, " ", s.content()))
	if lines["smbios1"] == "" {
		g.set("smbios1", "uuid="+uuid(r))
	}
	switch lines["vmgenid"] {
	case "":
		g.Config["vmgenid"] = uuid(r)
	case "0":
		delete(g.Config, "vmgenid")
	}
	g.Config["meta"] = fmt.Sprintf("creation-qemu=10.0.2,ctime=%d", at/1000)
	g.Lock = ""
	g.lived(at)
	s.joinPool(g.VMID, w.Opt["pool"])
	if w.Opt["start"] == "1" {
		t.log("Execute autostart")
		s.st.Again = append(s.st.Again, again{Node: t.Node, User: t.User, VMID: w.VMID, At: at + 60})
	}
	return "OK"
}

// defaultBoot is the boot order of a machine that was made without one: its
// first disk, its first CD drive, its first card.
func (g *guest) defaultBoot() string {
	var disk, cd, net string
	for _, key := range sortedKeys(g.config()) {
		value := g.get(key)
		switch {
		case diskKey.MatchString(key) && isMedium(value):
			if cd == "" {
				cd = key
			}
		case diskKey.MatchString(key) && !isCloudinit(value) && key != "efidisk0" && key != "tpmstate0":
			if disk == "" {
				disk = key
			}
		case netKey.MatchString(key) && net == "":
			net = key
		}
	}
	return printOrder(slices.DeleteFunc([]string{disk, cd, net}, func(k string) bool { return k == "" }))
}

// cutCreate takes back what was made so far; a killed worker leaves the lock.
func cutCreate(s *Sim, t *task, _ int64, c cut) string {
	if g := s.guests[t.Work.VMID]; g != nil && !c.killed {
		s.removeGuest(g)
	}
	return fmt.Sprintf("unable to create VM %d - %s", t.Work.VMID, c.why)
}

// deleteGuest destroys a machine by a task.
func deleteGuest(s *Sim, c *call) answer {
	if a := rootOptions(c, "skiplock"); a != nil {
		return *a
	}
	g, missing := s.here(c)
	switch {
	case missing != nil:
		return *missing
	case g.Config["protection"] == "1":
		return fail(500, "can't remove VM %d - protection mode enabled", g.VMID)
	case g.Running:
		return fail(500, "VM %d is running - destroy failed", g.VMID)
	}
	return s.startWork(c, "qmdestroy", &work{Kind: "destroy", VMID: g.VMID, Opt: c.options("skiplock", "purge", "destroy-unreferenced-disks")})
}

func beginDestroy(s *Sim, t *task, _ int64) (int64, string) {
	g, missing := s.machine(t)
	if missing != "" {
		return 0, missing
	}
	if msg := lockedBy(g, "suspended"); msg != "" && t.Work.Opt["skiplock"] != "1" {
		return 0, msg
	}
	if g.Running {
		return 0, fmt.Sprintf("VM %d is running - destroy failed", g.VMID)
	}
	for _, d := range g.Disks {
		if s.basedOn(d.Storage, d.Volume) {
			return 0, fmt.Sprintf("base volume '%s' is still in use by linked cloned", d.volid(g.VMID))
		}
	}
	return 60 + 30*int64(len(g.Disks)), ""
}

// basedOn says whether linked clones lie on a volume.
func (s *Sim) basedOn(storage, volume string) bool {
	for _, g := range s.guests {
		for _, d := range g.Disks {
			if d.Storage == storage && strings.HasPrefix(d.Volume, volume+"/") {
				return true
			}
		}
	}
	return false
}

func endDestroy(s *Sim, t *task, _ int64) string {
	g, missing := s.machine(t)
	if missing != "" {
		return missing
	}
	s.dissolve(g, t.Work.Opt["destroy-unreferenced-disks"] == "1")
	path := "/vms/" + itoa(g.VMID)
	s.st.World.ACL = slices.DeleteFunc(s.st.World.ACL, func(a ACL) bool { return a.Path == path })
	s.leavePools(g.VMID)
	s.rightsChanged()
	if t.Work.Opt["purge"] == "1" {
		t.log("purging VM %d from related configurations..", g.VMID)
		for i := range s.st.World.BackupJobs {
			j := &s.st.World.BackupJobs[i]
			ids := slices.DeleteFunc(splitList(j.VMIDs), func(id string) bool { return id == itoa(g.VMID) })
			j.VMIDs = strings.Join(ids, ",")
		}
	}
	return "OK"
}

// dissolve removes a machine with all volumes that its configuration knows,
// and, where asked, those that nobody names; else they stay.
func (s *Sim) dissolve(g *guest, all bool) {
	named := map[string]bool{}
	for _, key := range g.unused() {
		named[g.Config[key]] = true
	}
	for _, sn := range g.Snaps {
		named[sn.VMState] = true
	}
	named[g.Config["vmstate"]] = true
	for _, d := range g.Disks {
		if d.Loose && !named[d.volid(g.VMID)] && !all && d.owner(g.VMID) == g.VMID {
			s.st.Strays = append(s.st.Strays, stray{Node: g.Node, VMID: g.VMID, Disk: d})
		}
	}
	if all {
		s.st.Strays = slices.DeleteFunc(s.st.Strays, func(o stray) bool { return o.VMID == g.VMID })
	}
	s.removeGuest(g)
}

// cutDestroy: the disks are gone, the configuration says so by its lock.
func cutDestroy(s *Sim, t *task, _ int64, c cut) string {
	if g, missing := s.machine(t); missing == "" {
		g.Disks, g.Snaps = nil, nil
		g.named()
		s.reset(g, nil)
		g.Lock = "destroyed"
		s.images = nil
	}
	return c.why
}
