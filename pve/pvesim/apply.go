package pvesim

import (
	"slices"
	"strings"
	"time"
)

// fastLines take effect at once, whether the machine runs or not.
var fastLines = []string{
	"cpulimit", "cpuunits", "description", "hookscript", "hotplug", "lock", "migrate_downtime", "migrate_speed", "name", "onboot",
	"protection", "shares", "startup", "tablet", "tags", "vmstatestorage",
	"cicustom", "cipassword", "citype", "ciuser", "ciupgrade", "nameserver", "searchdomain", "sshkeys",
}

// fixedOptions are those of a disk that a running machine keeps.
var fixedOptions = []string{"aio", "cache", "discard", "iothread", "product", "queues", "ro", "ssd", "vendor"}

// applyPending puts in effect what can be. A running machine takes some lines
// at once and keeps the others for its next start.
func (s *Sim) applyPending(g *guest, _ int64, running bool) {
	for _, key := range sortedKeys(g.Doomed) {
		if running && !s.unpluggable(g, key) {
			continue
		}
		force := g.Doomed[key]
		delete(g.Doomed, key)
		s.dropLine(g, key, force)
	}
	for _, key := range sortedKeys(g.Pending) {
		value := g.Pending[key]
		if running && !s.pluggable(g, key, value) {
			continue
		}
		delete(g.Pending, key)
		s.putLine(g, key, value)
	}
	// What is as it was is not pending.
	now := g.config()
	for _, key := range sortedKeys(g.Pending) {
		if now[key] == g.Pending[key] {
			delete(g.Pending, key)
		}
	}
	s.images = nil
}

// dropLine takes a line away; a disk becomes unused, or goes with its volume.
func (s *Sim) dropLine(g *guest, key string, force bool) {
	d := g.disk(key)
	if d == nil {
		g.unset(key)
		return
	}
	volid, own := d.volid(g.VMID), d.owner(g.VMID) == g.VMID
	g.unset(key)
	switch {
	case !own:
	case force && !g.inSnapshots(volid):
		s.free(g, volid)
	default:
		s.putAside(g, volid)
	}
}

// putLine puts a line in effect. A volume that was unused no longer is; one
// that another takes the place of now is.
func (s *Sim) putLine(g *guest, key, value string) {
	if !diskKey.MatchString(key) {
		g.set(key, value)
		return
	}
	was := ""
	if d := g.disk(key); d != nil {
		was = d.volid(g.VMID)
	}
	volid, _ := driveParts(value)
	if was != "" && was != volid {
		s.dropLine(g, key, false)
	}
	for _, unused := range g.unused() {
		if g.Config[unused] == volid {
			delete(g.Config, unused)
		}
	}
	if isMedium(value) {
		g.loosen(key)
	}
	g.set(key, value)
	if d := g.volume(volid); d != nil && d.owner(g.VMID) != g.VMID {
		if _, theirs := s.anyVolume(g.Node, volid); theirs != nil {
			d.Size, d.Used, d.Content, d.Ratio = theirs.Size, theirs.Used, theirs.Content, theirs.Ratio
		}
	}
}

// hot says whether a kind of device may be changed while the machine runs.
func (g *guest) hot(feature string) bool {
	switch value := g.Config["hotplug"]; value {
	case "", "1":
		return feature == "network" || feature == "disk" || feature == "usb"
	default:
		return slices.Contains(splitList(value), feature)
	}
}

func hotBus(key string) bool {
	return strings.HasPrefix(key, "scsi") || strings.HasPrefix(key, "virtio")
}

// pluggable says whether a running machine takes a line at once.
func (s *Sim) pluggable(g *guest, key, value string) bool {
	switch {
	case slices.Contains(fastLines, key) || strings.HasPrefix(key, "ipconfig") || unusedKey.MatchString(key):
		return true
	case netKey.MatchString(key):
		return g.hot("network")
	case key == "balloon":
		return value != "0" && g.get("balloon") != "0"
	case key == "memory":
		return g.hot("memory") && g.get("numa") == "1"
	case key == "vcpus":
		return g.hot("cpu")
	case key == "boot":
		return false
	case diskKey.MatchString(key):
		return s.pluggableDisk(g, key, value)
	}
	return false
}

func (s *Sim) pluggableDisk(g *guest, key, value string) bool {
	now := g.get(key)
	if isMedium(value) && isMedium(now) {
		return true // another medium in the same drive
	}
	d := g.disk(key)
	volid, options := driveParts(value)
	if d == nil || d.volid(g.VMID) != volid {
		return hotBus(key) && g.hot("disk") && now == ""
	}
	_, before := driveParts(now)
	return !slices.ContainsFunc(fixedOptions, func(name string) bool { return options[name] != before[name] })
}

// unpluggable says whether a running machine lets a line go at once.
func (s *Sim) unpluggable(g *guest, key string) bool {
	switch {
	case slices.Contains(fastLines, key):
		return true
	case netKey.MatchString(key):
		return g.hot("network")
	case diskKey.MatchString(key):
		return hotBus(key) && g.hot("disk") && !slices.Contains(bootDevices(g.get("boot")), key)
	}
	return false
}

// heldUp is a caller's wait for a lock file. The call is tried again until the
// time is over, where the simulator waits at all; without Options.Sleep it is
// over at once.
func (s *Sim) heldUp(vmid int, wait int64) answer {
	a := fail(500, "%s", lockTimeout(vmid))
	a.wait, a.again = time.Duration(wait)*time.Millisecond, true
	return a
}

// Speeds of making images: a qcow2's map is written beforehand.
const mapSpeed = 490_000 // bytes per millisecond

// formatTime is how long the new disks of a change take to be made, and why
// they cannot: a qcow2 image's map is an 8192nd of its size, and huge ones
// find no room for that (recorded in 03).
func (s *Sim) formatTime(ch *change, node string) (ms int64, refused *answer) {
	for _, value := range ch.Set {
		file, options := driveParts(value)
		m := newDisk.FindStringSubmatch(file)
		if m == nil || options["format"] != "qcow2" || s.storage(m[1]) == nil {
			continue
		}
		size, _ := parseSize(m[2] + "G")
		copied := int64(0)
		if _, source := s.anyVolume(node, options["import-from"]); source != nil {
			size, copied = source.Size, source.Used
		}
		room := int64(0)
		if s.activateError(s.storage(m[1]), node) == "" {
			total, used := s.space(s.keyOf(m[1], node), s.nowMS())
			room = max(total-used, 0)
		}
		ms += min(size/8192, room)/mapSpeed + min(copied, room)/importSpeed
		switch {
		case size/8192 > room:
			a := fail(500, "unable to create image: exit code 1")
			return ms, &a
		case copied > room:
			a := fail(500, "copy failed: command '/usr/bin/qemu-img convert -p -n -f qcow2 -O qcow2' failed: exit code 1")
			return ms, &a
		}
	}
	return ms, nil
}

// importSpeed is how many bytes of another disk are copied in a millisecond.
const importSpeed = 200 * mib / 1000

// tooLong is the answer to a change that fails after a while, with the lock
// file in its hand all the time: after 30 s the proxy gives up.
func (s *Sim) tooLong(g *guest, ms int64, failure answer) answer {
	at := s.nowMS()
	s.st.Cleanups = append(s.st.Cleanups, &cleanup{VMID: g.VMID, Arrive: at, Until: at + ms})
	failure.wait = time.Duration(ms) * time.Millisecond
	if failure.wait > proxyTime {
		failure = bare(596, "Connection timed out")
		failure.wait = proxyTime
	}
	return failure
}
