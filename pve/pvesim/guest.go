package pvesim

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// guest is a machine with what it lives through.
type guest struct {
	Guest
	PID       int    // of its QEMU
	Up        int64  // unix milliseconds since when it runs
	Boot      int64  // unix milliseconds since when its system runs
	Prelaunch bool   // its QEMU was started for a backup alone
	Leftover  int64  // until when QEMU goes on with the backup of a dead worker
	Made      int64  // unix milliseconds of its creation
	Changes   []life // its statuses, the newest last

	Bare    []string          `json:",omitempty"` // lines that it has not, though their fields have a default: memory, cores, smbios1
	Pending map[string]string `json:",omitempty"` // lines that take effect when it starts next
	Doomed  map[string]bool   `json:",omitempty"` // lines that go then; true: with their volume
	Snaps   []*snapshot       `json:",omitempty"`
}

// life is what a machine was from a moment on.
type life struct {
	At     int64
	Status string
	Name   string
	Up     int64

	Memory, Disk int64 // bytes
	CPUs         int
}

var errUnknownNode = errors.New("unknown node")

func (s *Sim) addGuest(in Guest, at int64) error {
	if s.node(in.Node) == nil {
		return fmt.Errorf("pvesim: machine %d: %w %q", in.VMID, errUnknownNode, in.Node)
	}
	if s.guests[in.VMID] != nil {
		return fmt.Errorf("pvesim: machine %d twice", in.VMID)
	}
	g := &guest{Guest: in, Made: at}
	r := s.random("guest", strconv.Itoa(in.VMID))
	if g.UUID == "" {
		g.UUID = uuid(r)
	}
	if g.Config == nil {
		g.Config = map[string]string{}
	}
	if g.Config["vmgenid"] == "" {
		g.Config["vmgenid"] = uuid(r)
	}
	perStorage := map[string]int{}
	for i := range g.Disks {
		d := &g.Disks[i]
		if s.storage(d.Storage) == nil {
			return fmt.Errorf("pvesim: machine %d: unknown storage %q", in.VMID, d.Storage)
		}
		if d.Volume == "" {
			d.Volume = fmt.Sprintf("%d/vm-%d-disk-%d.qcow2", g.VMID, g.VMID, perStorage[d.Storage])
		}
		perStorage[d.Storage]++
	}
	s.adopt(g)
	if g.Running {
		g.PID, g.Up, g.Boot = 2000+int(r.Uint64()%15000), at, at
	}
	s.place(g)
	g.lived(at)
	return nil
}

// place puts a machine among the others.
func (s *Sim) place(g *guest) {
	s.guests[g.VMID] = g
	i, _ := slices.BinarySearchFunc(s.st.Guests, g.VMID, func(o *guest, vmid int) int { return o.VMID - vmid })
	s.st.Guests = slices.Insert(s.st.Guests, i, g)
	s.images = nil
}

// lived notes a change of status for pvestatd to tell later.
func (g *guest) lived(at int64) {
	now := life{At: at, Status: g.qmp(), Name: g.name(), Up: g.Up, Memory: g.memory(), Disk: g.boot(), CPUs: g.cpus()}
	if n := len(g.Changes); n > 0 {
		last := g.Changes[n-1]
		if last.At = at; last == now {
			return
		}
	}
	g.Changes = append(g.Changes, now)
	if n := len(g.Changes); n > 64 {
		g.Changes = slices.Clone(g.Changes[n-32:])
	}
}

// was is the machine's status at a moment.
func (g *guest) was(at int64) life {
	for _, l := range slices.Backward(g.Changes) {
		if l.At <= at {
			return l
		}
	}
	return life{Status: "stopped", Name: g.name(), Memory: g.memory(), Disk: g.boot(), CPUs: g.cpus()}
}

// qmp is what QEMU says: stopped, running, paused, prelaunch.
func (g *guest) qmp() string {
	switch {
	case !g.Running:
		return "stopped"
	case g.Prelaunch:
		return "prelaunch"
	case g.Paused:
		return "paused"
	}
	return "running"
}

func (s *Sim) setRunning(g *guest, at int64, on bool) {
	if on && !g.Running {
		r := s.random("start", fmt.Sprint(g.VMID, at))
		g.PID, g.Up, g.Boot = 2000+int(r.Uint64()%60000), at, at
	}
	if !on {
		g.PID, g.Up, g.Paused, g.Prelaunch = 0, 0, false, false
	}
	g.Running = on
	g.lived(at)
}

// wake has a machine's system boot whose QEMU was there for a backup alone.
func (g *guest) wake(at int64) {
	if g.Prelaunch && g.Running {
		g.Boot = at
	}
	g.Prelaunch = false
	g.lived(at)
}

func (g *guest) created() int64 { return g.Made }

func (g *guest) memory() int64 {
	if g.bare("memory") {
		return 512 * mib
	}
	return int64(cmp.Or(g.Memory, 128)) * mib
}

func (g *guest) cpus() int {
	sockets, _ := strconv.Atoi(g.Config["sockets"])
	return max(sockets, 1) * cmp.Or(g.Cores, 1)
}

func (g *guest) name() string {
	return cmp.Or(g.Name, fmt.Sprintf("VM %d", g.VMID))
}

// sorted are the disks of the configuration by key, without what a machine's
// backup leaves out by itself: the drive of cloud-init.
func (g *guest) sorted() []Disk {
	out := slices.DeleteFunc(slices.Clone(g.Disks), func(d Disk) bool { return d.Loose || d.medium() })
	slices.SortFunc(out, func(a, b Disk) int { return strings.Compare(a.Key, b.Key) })
	return out
}

// boot is the size of the disk that it boots from.
func (g *guest) boot() int64 {
	order, _ := strings.CutPrefix(g.Config["boot"], "order=")
	for key := range strings.SplitSeq(order, ";") {
		for _, d := range g.Disks {
			if d.Key == key && !d.Loose {
				return d.Size
			}
		}
	}
	if disks := g.sorted(); len(disks) > 0 {
		return disks[0].Size
	}
	return 0
}

func (d Disk) volid(vmid int) string {
	return d.Storage + ":" + cmp.Or(d.Volume, fmt.Sprintf("%d/vm-%d-disk-0.qcow2", vmid, vmid))
}

// sizeText is a size as the config has it.
func (d Disk) sizeText() string {
	switch {
	case d.SizeText != "":
		return d.SizeText
	case d.Size%(gib*1024) == 0:
		return fmt.Sprintf("%dT", d.Size/gib/1024)
	case d.Size%gib == 0:
		return fmt.Sprintf("%dG", d.Size/gib)
	case d.Size%mib == 0:
		return fmt.Sprintf("%dM", d.Size/mib)
	case d.Size%kib == 0:
		return fmt.Sprintf("%dK", d.Size/kib)
	}
	return strconv.FormatInt(d.Size, 10)
}

// medium: a drive that holds no disk, as cloud-init's.
func (d Disk) medium() bool { return isCloudinit(d.Volume) }

func (d Disk) line(vmid int) string {
	parts := map[string]string{}
	for _, p := range pairs(d.Options, "") {
		parts[p.name] = p.value
	}
	if d.NoBackup {
		parts["backup"] = "0"
	}
	if !d.medium() || d.SizeText != "" {
		parts["size"] = d.sizeText()
	}
	return joinPairs(d.volid(vmid), parts)
}

// config is the whole configuration in effect by key, without the lock.
func (g *guest) config() map[string]string {
	out := maps.Clone(g.Config)
	delete(out, "smbios1")
	if !g.bare("memory") {
		out["memory"] = strconv.FormatInt(g.memory()/mib, 10)
	}
	if !g.bare("cores") {
		out["cores"] = strconv.Itoa(cmp.Or(g.Cores, 1))
	}
	if line := g.identity(); line != "" {
		out["smbios1"] = line
	}
	for k, v := range map[string]string{"name": g.Name, "agent": g.Agent, "tags": g.Tags} {
		if v != "" {
			out[k] = v
		}
	}
	for _, d := range g.Disks {
		if !d.Loose {
			out[d.Key] = d.line(g.VMID)
		}
	}
	return out
}

// archived is the configuration as an archive holds it: without what belongs
// to the place and the moment, and with the map of its streams.
func (g *guest) archived() string {
	var b strings.Builder
	c := g.config()
	for k := range c {
		if unusedKey.MatchString(k) || slices.Contains(momentary, k) {
			delete(c, k)
		}
	}
	section(&b, c)
	if len(g.Snaps) > 0 {
		b.WriteString("\n") // all up to the first snapshot's section is copied
	}
	for _, d := range g.sorted() {
		if !d.NoBackup {
			fmt.Fprintf(&b, "#qmdump#map:%s:drive-%s:%s:%s:\n", d.Key, d.Key, d.Storage, d.format())
		}
	}
	return b.String()
}

// momentary are lines that tell of a moment: of a snapshot, a suspension.
var momentary = []string{"parent", "vmstate", "runningmachine", "runningcpu", "running-nets-host-mtu", "snaptime"}

// digest changes with every change of the configuration: the lock, what is
// pending and the snapshots too.
func (g *guest) digest() string { return fileDigest(g.file()) }

// fileDigest has the length of the real one, 40 digits.
func fileDigest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return fmt.Sprintf("%x", sum[:20])
}
