package pvesim

import (
	"fmt"
	"slices"
	"strings"
)

// copying is the way of disks to another place: a clone's, a move's.
type copying struct {
	Node  string // where to
	To    int    // the machine that gets them
	Parts []part
	Rate  float64 // bytes per millisecond
}

// part is one disk on its way.
type part struct {
	Key     string
	From    string // volid
	Storage string
	Format  string
	Volid   string // of the copy, once it is made
	Size    int64
	Used    int64
	Ratio   float64
	Content uint64
	Linked  bool
	Line    string // the source's drive line
}

// written is how much of a part is copied: they come one after the other.
func (c *copying) writtenTo(i int, from, at int64) int64 {
	n := int64(float64(at-from) * c.Rate)
	for _, p := range c.Parts[:i] {
		n -= p.Used
	}
	if c.Parts[i].Linked {
		return 0
	}
	return max(min(n, c.Parts[i].Used), 0)
}

func (c *copying) takes() int64 {
	var n int64
	for _, p := range c.Parts {
		if !p.Linked {
			n += p.Used
		}
	}
	return int64(float64(n) / c.Rate)
}

// postClone copies a machine. All that can be seen beforehand is checked here.
func postClone(s *Sim, c *call) answer {
	p, vmid, newid := c.params, c.vmid(), int(c.params.integer("newid", 0))
	if pool := p.get("pool"); pool != "" {
		if a := s.poolFor(c, pool); a != nil {
			return *a
		}
	}
	if a := s.demand(c.who, "/vms/"+itoa(newid), "VM.Allocate"); a != nil {
		return *a
	}
	g := s.guests[vmid]
	if g == nil || g.Node != c.node {
		return fail(500, "unable to find configuration file for VM %d on node '%s'", vmid, c.node)
	}
	full := p.boolean("full", g.get("template") != "1")
	if p.has("storage") && !full {
		return wrongParam("storage", "parameter 'storage' not allowed for linked clones")
	}
	if s.fileHeld(vmid, !g.Running) {
		return s.heldUp(vmid, lockWait)
	}
	if msg := lockedBy(g); msg != "" {
		return fail(500, "%s", msg)
	}
	lines, snapshot := g.config(), p.get("snapname")
	if snapshot != "" {
		sn := g.snapshot(snapshot)
		if sn == nil {
			return fail(500, "snapshot '%s' does not exist", snapshot)
		}
		lines = sn.lines()
	}
	if s.guests[newid] != nil {
		return fail(500, "unable to create VM %d: config file already exists", newid)
	}
	target := p.get("target")
	if target == "" {
		target = c.node
	}
	parts, a := s.cloneParts(c, g, lines, snapshot, target, full)
	if a != nil {
		return *a
	}
	for _, key := range sortedKeys(lines) {
		if a := s.mayUseBridge(c.who, key, lines[key]); a != nil {
			return *a
		}
	}
	w := &work{Kind: "clone", VMID: newid, Opt: c.options("name", "description", "snapname", "pool")}
	if g.Running {
		w.Opt["running"] = "1"
	}
	w.Read = vmid
	w.Opt["source"] = itoa(vmid)
	w.Copy = &copying{Node: target, To: newid, Parts: parts, Rate: dataSpeed * s.speed}
	t := s.newTask(c, c.node, "qmclone", itoa(vmid))
	t.Work = w
	if d := t.doomed(GotNoWorkerUPID); d != nil && !d.Works {
		s.close(t, c.at, unexpected)
		return ok(t.UPID)
	}
	s.tryWork(t, c.at)
	return ok(t.UPID)
}

// cloneParts are the disks of a clone, with the checks of their storages.
func (s *Sim) cloneParts(c *call, g *guest, lines map[string]string, snapshot, target string, full bool) ([]part, *answer) {
	no := func(a answer) ([]part, *answer) { return nil, &a }
	var out []part
	for _, key := range sortedKeys(lines) {
		volid, _ := driveParts(lines[key])
		if !diskKey.MatchString(key) || isMedium(lines[key]) {
			continue
		}
		d := g.volume(volid)
		if d == nil {
			return no(fail(500, "volume '%s' does not exist", volid))
		}
		p := part{Key: key, From: volid, Storage: d.Storage, Format: d.format(), Size: d.Size, Used: d.Used, Ratio: d.Ratio, Content: d.Content, Line: lines[key]}
		if sn := g.snapshot(snapshot); sn != nil {
			if h := sn.hold(volid); h != nil {
				p.Size, p.Used, p.Content = h.Size, h.Used, h.Content
			}
		}
		if !full && !d.medium() {
			if g.get("template") != "1" || !strings.Contains(d.Volume, "base-") {
				return no(fail(500, "Linked clone feature is not supported for '%s' (%s)", volid, key))
			}
			p.Linked, p.Used = true, 0
		}
		if full && c.params.has("storage") {
			p.Storage = c.params.get("storage")
		}
		if full && c.params.has("format") {
			p.Format = c.params.get("format")
		}
		if d.medium() {
			p.Size, p.Used = 4*mib, d.Used
		}
		if a := s.demand(c.who, "/storage/"+p.Storage, "Datastore.AllocateSpace"); a != nil {
			return nil, a
		}
		st := s.storage(p.Storage)
		switch {
		case st == nil:
			return no(fail(500, "storage '%s' does not exist", p.Storage))
		case !st.has("images"):
			return no(wrongParam("storage", fmt.Sprintf("storage '%s' does not support vm images", p.Storage)))
		case target != c.node && !s.storage(d.Storage).Shared:
			return no(fail(500, "can't clone VM to node '%s' (VM uses local storage)", target))
		case !st.files():
			p.Format = "raw"
		}
		if msg := s.activateError(st, target); msg != "" {
			return no(fail(500, "%s", msg))
		}
		out = append(out, p)
	}
	if s.node(target) == nil {
		return no(wrongParam("target", fmt.Sprintf("target node '%s' does not exist", target)))
	}
	return out, nil
}

func beginClone(s *Sim, t *task, at int64) (int64, string) {
	w := t.Work
	newid := w.VMID
	if s.guests[newid] != nil {
		return 0, fmt.Sprintf("unable to create VM %d: config file already exists", newid)
	}
	src, failure := s.cloneSource(t)
	if failure != "" {
		return 0, failure
	}
	g := s.bareGuest(newid, w.Copy.Node, at)
	g.Lock = "clone"
	if s.release.nine {
		t.log("creating a clone of VM %d with ID %d", src.VMID, newid)
	}
	for i := range w.Copy.Parts {
		s.allocatePart(t, g, &w.Copy.Parts[i], w.Opt["running"] == "1")
	}
	takes := 100 + w.Copy.takes()
	if w.Opt["running"] == "1" {
		s.mirrorSteps(w, at, takes)
	}
	return takes, ""
}

// mirrorSteps are what a copy of a running machine's disks says once a second.
func (s *Sim) mirrorSteps(w *work, at, takes int64) {
	for passed := int64(0); passed <= takes; passed += 1000 {
		var lines []string
		for _, p := range w.Copy.Parts {
			n := p.Size
			if takes > 0 && passed+1000 <= takes {
				n = int64(float64(p.Size) * float64(passed) / float64(takes))
			}
			line := fmt.Sprintf("%s-%s: transferred %s of %s (%.2f%%) in %s", s.mirrorName(), p.Key, size(n, 1), size(p.Size, 1), float64(n)*100/float64(max(p.Size, 1)), duration(passed/1000))
			if n == p.Size {
				line += ", ready"
			}
			lines = append(lines, line)
		}
		w.Steps = append(w.Steps, step{At: at + passed, Lines: lines})
	}
}

// mirrorName is how the jobs that copy disks of running machines are called.
func (s *Sim) mirrorName() string {
	if s.release.nine {
		return "mirror"
	}
	return "drive"
}

func (s *Sim) cloneSource(t *task) (*guest, string) {
	for vmid, g := range s.guests {
		if itoa(vmid) == t.Work.Opt["source"] && g.Node == t.Node {
			return g, ""
		}
	}
	return nil, "clone failed: unable to find the source"
}

// allocatePart makes the new volume of a disk that is copied.
func (s *Sim) allocatePart(t *task, g *guest, p *part, running bool) {
	suffix := ""
	if isCloudinit(p.From) {
		suffix = "cloudinit"
	}
	if p.Linked {
		t.log("create linked clone of drive %s (%s)", p.Key, p.From)
		_, base, _ := strings.Cut(p.From, ":")
		st := s.storage(p.Storage)
		name := s.freeName(g, st, p.Format, "")
		g.Disks = append(g.Disks, Disk{Storage: p.Storage, Volume: base + "/" + name, Size: p.Size, Loose: true})
		p.Volid = p.Storage + ":" + base + "/" + name
		t.log("clone %s: images, %s, %d to %s (base=../%s)", base, baseName(name), g.VMID, baseName(name), base)
		how := "cluster_size=65536 extended_l2=off"
		if s.release.nine {
			how = "cluster_size=131072 extended_l2=on preallocation=metadata"
		}
		if st.files() {
			t.log("Formatting '%s', fmt=qcow2 %s compression_type=zlib size=%d backing_file=../%s backing_fmt=qcow2 lazy_refcounts=off refcount_bits=16", s.imagePath(p.Storage, name), how, p.Size, base)
		}
		return
	}
	t.log("create full clone of drive %s (%s)", p.Key, p.From)
	d := s.allocate(g, p.Storage, p.Format, suffix, p.Size)
	p.Volid = d.volid(g.VMID)
	if line := s.formatting(p.Storage, d.Volume, p.Format, p.Size); line != "" {
		t.log("%s", line)
	}
	if s.release.nine {
		t.log("allocated target volume '%s'", p.Volid)
	}
	switch {
	case suffix != "":
	case running:
		t.log("drive mirror is starting for drive-%s", p.Key)
	default:
		t.log("transferred 0.0 B of %s (0.00%%)", size(p.Size, 1))
		t.log("transferred %s of %s (100.00%%)", size(p.Size, 1), size(p.Size, 1))
	}
}

func endClone(s *Sim, t *task, at int64) string {
	w := t.Work
	src, failure := s.cloneSource(t)
	g := s.guests[w.VMID]
	if failure != "" || g == nil {
		return "clone failed: " + noConfig(t.Node, w.VMID)
	}
	lines := src.config()
	if sn := src.snapshot(w.Opt["snapname"]); sn != nil {
		lines = sn.lines()
	}
	if w.Opt["running"] == "1" {
		s.mirrorLines(t, src)
	}
	s.fillParts(g, w.Copy)
	for _, key := range sortedKeys(lines) {
		value := lines[key]
		switch {
		case key == "template" || key == "snaptime" || slices.Contains(momentary, key) || unusedKey.MatchString(key):
			continue
		case diskKey.MatchString(key):
			if i := slices.IndexFunc(w.Copy.Parts, func(p part) bool { return p.Key == key }); i >= 0 {
				_, options := driveParts(value)
				options["size"] = (Disk{Size: w.Copy.Parts[i].Size}).sizeText()
				value = joinPairs(w.Copy.Parts[i].Volid, options)
			}
		case netKey.MatchString(key):
			parts, _ := netShape.parse(value, key, s.release)
			lead := parts["model"] + "=" + s.newMAC()
			delete(parts, "model")
			delete(parts, "macaddr")
			value = joinPairs(lead, parts)
		case key == "vmgenid":
			value = uuid(s.random("vmgenid", fmt.Sprint(s.content())))
		case key == "smbios1":
			fresh := guest{Guest: Guest{Config: map[string]string{}}}
			fresh.setIdentity(value)
			fresh.UUID = uuid(s.random("smbios", fmt.Sprint(s.content())))
			value = fresh.identity()
		case key == "name":
			value = "Copy-of-VM-" + value
		}
		g.set(key, value)
	}
	if g.Name == "" {
		g.Name = "Copy-of-VM-" + itoa(src.VMID)
	}
	if name := w.Opt["name"]; name != "" {
		g.Name = name
	}
	if text := w.Opt["description"]; text != "" {
		g.Config["description"] = text
	}
	g.Blank, g.Deaf, g.AgentSilent = src.Blank, src.Deaf, src.AgentSilent
	g.Lock = ""
	s.joinPool(g.VMID, w.Opt["pool"])
	g.lived(at)
	s.images = nil
	return "OK"
}

// fillParts puts the copied contents on the new volumes.
func (s *Sim) fillParts(g *guest, c *copying) {
	for _, p := range c.Parts {
		if d := g.volume(p.Volid); d != nil {
			d.Size, d.Used, d.Ratio, d.Content, d.Origin = p.Size, p.Used, p.Ratio, p.Content, p.Content
		}
	}
	s.images = nil
}

// mirrorLines tell how the copy of a running machine's disks ends.
func (s *Sim) mirrorLines(t *task, src *guest) {
	t.log("all 'mirror' jobs are ready")
	s.freezeLine(t, src)
	t.log("suspend vm")
	for _, p := range t.Work.Copy.Parts {
		t.log("%s-%s: Cancelling block job", s.mirrorName(), p.Key)
		t.log("%s-%s: Done.", s.mirrorName(), p.Key)
	}
	t.log("resume vm")
}

// cutClone takes back what was made; a killed worker leaves the lock.
func cutClone(s *Sim, t *task, at int64, c cut) string {
	g := s.guests[t.Work.VMID]
	switch {
	case g == nil || g.Lock != "clone":
	case c.killed:
		s.leaveParts(t, g, at)
	default:
		s.removeGuest(g)
	}
	return "clone failed: " + c.why
}

// postTemplate makes a template of a machine.
func postTemplate(s *Sim, c *call) answer {
	g, missing := s.here(c)
	if missing != nil {
		return *missing
	}
	if s.fileHeld(g.VMID, false) {
		return s.heldUp(g.VMID, lockWait)
	}
	if msg := lockedBy(g); msg != "" {
		return fail(500, "%s", msg)
	}
	if disk := c.params.get("disk"); disk != "" && g.disk(disk) == nil {
		return fail(500, "unable to find disk '%s'", disk)
	}
	if msg := g.noTemplate(); msg != "" {
		return fail(500, "%s", msg)
	}
	return s.startWork(c, "qmtemplate", &work{Kind: "template", VMID: g.VMID, Opt: c.options("disk")})
}

func (g *guest) noTemplate() string {
	switch {
	case len(g.Snaps) > 0:
		return "unable to create template, because VM contains snapshots"
	case g.get("template") == "1":
		return "you can't convert a template to a template"
	case g.Running:
		return "you can't convert a VM to template if VM is running"
	}
	return ""
}

func beginTemplate(s *Sim, t *task, _ int64) (int64, string) {
	g, missing := s.machine(t)
	if missing != "" {
		return 0, missing
	}
	if msg := lockedBy(g); msg != "" {
		return 0, msg
	}
	return 120, g.noTemplate()
}

// endTemplate gives the volumes their names as bases of linked clones.
func endTemplate(s *Sim, t *task, at int64) string {
	g, missing := s.machine(t)
	if missing != "" {
		return missing
	}
	for i := range g.Disks {
		d := &g.Disks[i]
		only := t.Work.Opt["disk"]
		if !d.Loose && !d.medium() && d.owner(g.VMID) == g.VMID && (only == "" || only == d.Key) {
			d.Volume = strings.Replace(d.Volume, "vm-"+itoa(g.VMID)+"-", "base-"+itoa(g.VMID)+"-", 1)
		}
	}
	g.Config["template"] = "1"
	g.lived(at)
	return "OK"
}

// leaveParts is what a dead worker has copied.
func (s *Sim) leaveParts(t *task, g *guest, at int64) {
	for i, p := range t.Work.Copy.Parts {
		if d := g.volume(p.Volid); d != nil {
			d.Used, d.Content = t.Work.Copy.writtenTo(i, t.Work.From, at), s.content()
		}
	}
	s.images = nil
}
