package pvesim

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// putGuestConfig changes a configuration at once.
func putGuestConfig(s *Sim, c *call) answer {
	ch, refused := s.readChange(c)
	if refused != nil {
		return *refused
	}
	return s.changeNow(c, ch)
}

// changeNow makes a change while the caller waits.
func (s *Sim) changeNow(c *call, ch *change) answer {
	g, missing := s.here(c)
	if missing != nil {
		return *missing
	}
	if s.fileHeld(g.VMID, false) {
		return s.heldUp(g.VMID, lockWait)
	}
	if msg := ch.refused(g); msg != "" {
		return fail(500, "%s", msg)
	}
	took, a := s.formatTime(ch, g.Node)
	if a != nil {
		return s.tooLong(g, took, *a)
	}
	if a := s.makeChange(g, ch, c.at, c.doom, nil); a != nil {
		return *a
	}
	return ok(nil)
}

// postGuestConfig changes a configuration by a task. 9.1.19 and later take the
// lock file in the task, 8.4 before it (differences, A5).
func postGuestConfig(s *Sim, c *call) answer {
	ch, refused := s.readChange(c)
	if refused != nil {
		return *refused
	}
	g, missing := s.here(c)
	if missing != nil {
		return *missing
	}
	if !s.release.nine && s.fileHeld(g.VMID, false) {
		return s.heldUp(g.VMID, lockWait)
	}
	if msg := ch.refused(g); msg != "" {
		return fail(500, "%s", msg)
	}
	return s.startWork(c, "qmconfig", &work{Kind: "config", VMID: g.VMID, Change: ch})
}

// putUnlink takes disks off a machine.
func putUnlink(s *Sim, c *call) answer {
	c.params["delete"] = c.params["idlist"]
	delete(c.params, "idlist")
	return putGuestConfig(s, c)
}

// refused is why a machine's state forbids a change.
func (ch *change) refused(g *guest) string {
	if ch.Digest != "" && ch.Digest != g.digest() {
		return wrongDigest
	}
	if !ch.SkipLock {
		return lockedBy(g)
	}
	return ""
}

const wrongDigest = "checksum mismatch (file change by other user?)"

var configKinds = map[string]workKind{
	"config": {begin: beginConfig, end: endConfig},
	"resize": {begin: beginResize, end: endResize},
}

func beginConfig(s *Sim, t *task, _ int64) (int64, string) {
	g, missing := s.machine(t)
	if missing != "" {
		return 0, missing
	}
	if msg := t.Work.Change.refused(g); msg != "" {
		return 0, msg
	}
	t.log("update VM %d: %s", g.VMID, t.Work.Change)
	took, refused := s.formatTime(t.Work.Change, g.Node)
	if refused != nil {
		return 0, refused.reason
	}
	return 60 + took, ""
}

func endConfig(s *Sim, t *task, at int64) string {
	g, missing := s.machine(t)
	if missing != "" {
		return missing
	}
	if a := s.makeChange(g, t.Work.Change, at, t.Doom, t); a != nil {
		for _, msg := range asMap(a.more["errors"]) {
			return msg
		}
		return a.reason
	}
	return "OK"
}

func asMap(v any) map[string]string {
	m, _ := v.(map[string]string)
	return m
}

// String is a change as its task's log shows it.
func (ch *change) String() string {
	var out []string
	for _, key := range sortedKeys(ch.Set) {
		value := ch.Set[key]
		if key == "cipassword" {
			value = "<hidden>"
		}
		out = append(out, "-"+key+" "+value)
	}
	if len(ch.Delete) > 0 {
		out = append(out, "-delete "+strings.Join(ch.Delete, ","))
	}
	if len(ch.Revert) > 0 {
		out = append(out, "-revert "+strings.Join(ch.Revert, ","))
	}
	return strings.Join(out, " ")
}

// makeChange is the change itself: deletions, then lines, all pending at
// first; then what can take effect does.
func (s *Sim) makeChange(g *guest, ch *change, at int64, fate []doom, t *task) *answer {
	no := func(format string, args ...any) *answer { a := fail(500, format, args...); return &a }
	say := func(line string) {
		if t != nil && line != "" {
			t.log("%s", line)
		}
	}
	for _, key := range ch.Revert {
		s.revert(g, key)
	}
	boot := g.bootOrder()
	if slices.Contains(ch.Delete, "boot") {
		boot = nil
	}
	for _, key := range ch.Delete {
		current, there := g.config()[key]
		if _, pending := g.Pending[key]; !there && !pending && key != "lock" {
			continue
		}
		if g.Pending != nil {
			s.dropPending(g, key)
		}
		boot = slices.DeleteFunc(boot, func(k string) bool { return k == key })
		switch {
		case unusedKey.MatchString(key):
			if g.Config["protection"] == "1" {
				return no("can't remove unused disk '%s' - protection mode enabled", key)
			}
			if g.inSnapshots(current) {
				return no("unable to delete '%s' - volume is still in use (snapshot?)", current)
			}
			s.free(g, current)
			delete(g.Config, key)
		case diskKey.MatchString(key) && there:
			if g.Config["protection"] == "1" {
				return no("can't remove drive '%s' - protection mode enabled", key)
			}
			g.doom(key, ch.Force)
		case key == "lock":
			g.Lock = ""
		case there:
			g.doom(key, ch.Force)
		}
	}
	for _, key := range sortedKeys(ch.Set) {
		value := ch.Set[key]
		if diskKey.MatchString(key) {
			line, a := s.volumeFor(g, key, value, say)
			if a != nil {
				return a
			}
			value = line
			if isMedium(value) && len(boot) > 0 && !slices.Contains(boot, key) {
				boot = append(boot, key)
			}
		}
		if key == "boot" {
			if missing := g.missingDevice(value, ch); missing != "" {
				return no("invalid bootorder: device '%s' does not exist'", missing)
			}
			boot = bootDevices(value)
		}
		if key == "lock" {
			g.Lock = value
			continue
		}
		g.pend(key, value)
	}
	if order := printOrder(boot); order != g.afterStart()["boot"] && len(boot) > 0 {
		g.pend("boot", order)
	} else if len(boot) == 0 && len(g.bootOrder()) > 0 {
		g.doom("boot", false)
	}
	if a := g.unplugged(fate); a != nil {
		return a
	}
	s.applyPending(g, at, g.Running)
	g.Stump = false // somebody makes a machine of it again
	g.lived(at)
	return nil
}

// unplugged is the answer of a running machine that takes nothing at once.
func (g *guest) unplugged(fate []doom) *answer {
	i := slices.IndexFunc(fate, func(d doom) bool { return d.Kind == HotplugFails })
	errs := map[string]string{}
	for _, key := range append(sortedKeys(g.Doomed), sortedKeys(g.Pending)...) {
		if i >= 0 && g.Running && !slices.Contains(fastLines, key) {
			errs[key] = "hotplug problem - " + fate[i].line() + "\n"
		}
	}
	if len(errs) == 0 {
		return nil
	}
	a := wrongParams(errs)
	return &a
}

// volumeFor makes or finds the volume of a drive line and completes the line.
func (s *Sim) volumeFor(g *guest, key, value string, say func(string)) (string, *answer) {
	no := func(format string, args ...any) (string, *answer) { a := fail(500, format, args...); return "", &a }
	file, options := driveParts(value)
	if file == "none" || strings.HasPrefix(file, "/") {
		return value, nil
	}
	storage, name, _ := strings.Cut(file, ":")
	if msg := s.activateError(s.storage(storage), g.Node); msg != "" {
		return no("%s", msg)
	}
	format := options["format"]
	if st := s.storage(storage); format == "" || !st.files() {
		format = "raw"
	}
	from := options["import-from"]
	delete(options, "format")
	delete(options, "import-from")
	switch m := newDisk.FindStringSubmatch(file); {
	case name == "cloudinit":
		if options["media"] == "" {
			options["media"] = "cdrom"
		}
		if s.storage(storage).files() {
			format = "qcow2"
		}
		if d := g.volume(storage + ":" + s.freeName(g, s.storage(storage), format, "cloudinit")); d != nil {
			return no("cloud-init disk already exists: %s", d.volid(g.VMID))
		}
		d := s.allocate(g, storage, format, "cloudinit", 4*mib)
		d.Used = 360 * kib
		say(s.formatting(storage, d.Volume, format, d.Size))
		return joinPairs(d.volid(g.VMID), options), nil
	case m != nil:
		gibs, _ := strconv.ParseFloat(m[2], 64)
		size := (int64(gibs*float64(gib)) + kib - 1) / kib * kib
		owner, source := s.anyVolume(g.Node, from)
		if source != nil {
			if owner.Node != g.Node {
				return no("owner VM %d not on local node", owner.VMID)
			}
			size = source.Size
		}
		d := s.allocate(g, storage, format, "", size)
		d.Used = s.fresh(d)
		if _, source := s.anyVolume(g.Node, from); source != nil { // allocate may have moved it
			d.Used, d.Content, d.Origin = max(source.Used, d.Used), source.Content, source.Origin
		}
		volid := d.volid(g.VMID)
		options["size"] = d.sizeText()
		line := joinPairs(volid, options)
		say(s.formatting(storage, d.Volume, format, size))
		say(fmt.Sprintf("%s: successfully created disk '%s'", key, line))
		return line, nil
	case isoVolume.MatchString(name):
		return no("volume '%s' does not exist", file) // no ISO images are kept here
	}
	_, d := s.anyVolume(g.Node, file)
	if d == nil {
		return no("volume '%s' does not exist", file)
	}
	if !isCloudinit(file) {
		options["size"] = (Disk{Size: d.Size}).sizeText()
		if cur := g.disk(key); cur != nil && cur.volid(g.VMID) == file {
			options["size"] = cur.sizeText()
		}
	}
	return joinPairs(file, options), nil
}

// fresh is what an empty image takes: the map of a qcow2's clusters.
// data is how much of a disk holds something: more than a new image's map.
func (s *Sim) data(d *Disk) int64 {
	if d.Used <= s.fresh(d) {
		return 0
	}
	return min(d.Used, d.Size)
}

func (s *Sim) fresh(d *Disk) int64 {
	if d.format() != "qcow2" {
		return 0
	}
	return 200704 + d.Size/8192
}

// pend puts a line among those of the next start.
func (g *guest) pend(key, value string) {
	if g.Pending == nil {
		g.Pending = map[string]string{}
	}
	delete(g.Doomed, key)
	g.Pending[key] = value
}

// doom puts a line among those that go at the next start.
func (g *guest) doom(key string, force bool) {
	if g.Doomed == nil {
		g.Doomed = map[string]bool{}
	}
	delete(g.Pending, key)
	g.Doomed[key] = force
}

// revert forgets what is pending of a line.
func (s *Sim) revert(g *guest, key string) {
	s.dropPending(g, key)
	delete(g.Doomed, key)
}

// dropPending forgets a pending line; a volume that was made for it is unused.
func (s *Sim) dropPending(g *guest, key string) {
	line, pending := g.Pending[key]
	if !pending {
		return
	}
	delete(g.Pending, key)
	if diskKey.MatchString(key) && !isMedium(line) {
		volid, _ := driveParts(line)
		if d := g.volume(volid); d != nil && d.Loose {
			s.putAside(g, volid)
		}
	}
}

// putAside lists a volume of the machine that no drive names as unused.
func (s *Sim) putAside(g *guest, volid string) {
	d := g.volume(volid)
	if d == nil || d.owner(g.VMID) != g.VMID {
		return
	}
	if d.medium() {
		s.free(g, volid)
		return
	}
	n := 0
	for {
		key := "unused" + itoa(n)
		switch g.Config[key] {
		case volid:
			return
		case "":
			g.Config[key] = volid
			return
		}
		n++
	}
}

// inSnapshots says whether a snapshot still needs a volume.
func (g *guest) inSnapshots(volid string) bool {
	return slices.ContainsFunc(g.Snaps, func(sn *snapshot) bool { return sn.hold(volid) != nil })
}

// bootOrder are the devices of the boot line as it will be.
func (g *guest) bootOrder() []string { return bootDevices(g.afterStart()["boot"]) }

func bootDevices(line string) []string {
	order, is := strings.CutPrefix(line, "order=")
	if !is || order == "" {
		return nil
	}
	return strings.Split(order, ";")
}

func printOrder(devices []string) string {
	if len(devices) == 0 {
		return ""
	}
	return "order=" + strings.Join(devices, ";")
}

// missingDevice is a device of a boot order that the machine has not.
func (g *guest) missingDevice(line string, ch *change) string {
	will := g.afterStart()
	maps.Copy(will, ch.Set)
	for _, device := range bootDevices(line) {
		if _, there := will[device]; !there {
			return device
		}
	}
	return ""
}
