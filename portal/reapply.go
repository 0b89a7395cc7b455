package portal

import (
	"slices"
	"strconv"
	"strings"
)

// ChangeKind says what a change asks for.
type ChangeKind string

// The kinds of change. Those from set to card are to be sent to Proxmox; report and blocked are sentences for staff.
const (
	ChangeSet     ChangeKind = "set"     // a line of the config, or one option of it
	ChangeResize  ChangeKind = "resize"  // the disk at Key grows to Size
	ChangeAttach  ChangeKind = "attach"  // Volid, which hangs on the line From, becomes the disk at Key, with Options
	ChangeCreate  ChangeKind = "create"  // a new disk of Size at Key, on Storage, in Format
	ChangeCard    ChangeKind = "card"    // a new network card at Key with Options, which include model and macaddr
	ChangeReport  ChangeKind = "report"  // differs and stays so: the machine may start
	ChangeBlocked ChangeKind = "blocked" // differs and can't be mended by us: the machine must not start
)

// Change is one difference between what is sold and what a machine has.
type Change struct {
	Name   string     // stable: memory, system_size, data_attach, net_vlan …
	Kind   ChangeKind // what is to be done
	Key    string     // line of the config: cores, scsi0, net0
	Option string     // of a line that is a property string: iops_rd; "" = the whole line. The model and MAC of a card are "model" and "macaddr"
	From   string     // as Proxmox has it, "" = not there
	To     string     // as Proxmox shall have it, "" = take it away

	Size    int64 // bytes, absolute
	Volid   string
	Storage string
	Format  string // of a new disk, "" = the storage's own
	Options Options

	Live bool // it holds at once on a machine that runs; else from its next start

	What, Before, After Text // "Memory", "2048 MB", "4096 MB"
	Sentence            Text // of a report or of what is blocked: for staff
}

// Text says a change in one line: "Memory: 2048 MB → 4096 MB".
func (c Change) Text() Text {
	if c.Sentence != "" {
		return c.Sentence
	}
	return Say("%s: %s → %s", c.What, c.Before, c.After)
}

// Sent tells whether a change is to be sent to Proxmox.
func (c Change) Sent() bool { return c.Kind != ChangeReport && c.Kind != ChangeBlocked }

// Reapply gives what has to change for the machine got to be as sold, in the order in which it is to be done: CPU and
// memory, system disk, additional disk, network, addresses, name, boot order and start with the host. places are the
// storages for disks that the machine's host has, by name. What can't be done comes out as a change of kind blocked,
// what is left as it is on purpose as a report; nothing is passed over in silence.
//
// A disk that is attached has a size that nobody may know before. So it is called again after the changes, with the
// machine as it is then, until none is to be sent.
func Reapply(want Spec, got Machine, places map[string]DiskPlace) []Change {
	r := &reapplier{want: want, m: got.clone(), places: places, fresh: map[string]bool{}}
	r.processor()
	r.systemDisk()
	r.otherDisks()
	r.network()
	r.addresses()
	r.rest()
	return r.out
}

type reapplier struct {
	want   Spec
	m      Machine // as it will be after the changes so far
	places map[string]DiskPlace
	fresh  map[string]bool // keys of disks whose size isn't known yet because they are attached only now
	out    []Change
}

func (r *reapplier) report(name, key string, sentence Text) {
	r.out = append(r.out, Change{Name: name, Kind: ChangeReport, Key: key, Sentence: sentence})
}

func (r *reapplier) blocked(name, key string, sentence Text) {
	r.out = append(r.out, Change{Name: name, Kind: ChangeBlocked, Key: key, Sentence: sentence})
}

// line sets a whole line of the config.
func (r *reapplier) line(c Change) {
	c.Kind, c.From = ChangeSet, r.m.Values[c.Key]
	r.out = append(r.out, c)
	r.m.Values[c.Key] = c.To
}

// processor is CPU and memory.
func (r *reapplier) processor() {
	for _, v := range []struct {
		key  string
		want int
		what Text
		say  func(int) Text
	}{
		{"sockets", r.want.Sockets, "CPU sockets", plainFigure}, {"cores", r.want.Cores, "CPU cores", plainFigure}, {"memory", r.want.MemoryMB, "Memory", megabytes},
	} {
		have := r.m.count(v.key)
		if v.want == 0 || v.want == have {
			continue
		}
		if v.key == "memory" {
			r.balloon()
		}
		before := Verbatim(r.m.Values[v.key])
		if have > 0 {
			before = v.say(have)
		}
		r.line(Change{Name: v.key, Key: v.key, To: strconv.Itoa(v.want), What: v.what, Before: before, After: v.say(v.want)})
	}
	// Fewer CPUs than sold would be switched on, or more than there are, with which the machine doesn't start.
	if v, ok := r.m.Values["vcpus"]; ok && v != "" && (r.want.Sockets > 0 || r.want.Cores > 0) && v != strconv.Itoa(r.m.count("sockets")*r.m.count("cores")) {
		r.line(Change{Name: "vcpus", Key: "vcpus", What: "CPUs switched on", Before: Verbatim(v), After: "all [CPUs]"})
	}
	if have := limitOf(r.m.Values["cpulimit"]); r.want.CPULimit != 0 && r.want.CPULimit != have {
		r.line(Change{Name: "cpu_limit", Key: "cpulimit", To: limitWritten(r.want.CPULimit), Live: true, What: "CPU limit", Before: limitSaid(have, "%s CPUs"), After: limitSaid(r.want.CPULimit, "%s CPUs")})
	}
}

// balloon takes away a lower bound of the memory that is above what is sold: Proxmox refuses the two together.
func (r *reapplier) balloon() {
	v := r.m.Values["balloon"]
	if n, err := strconv.Atoi(v); err == nil && n > r.want.MemoryMB {
		r.line(Change{Name: "balloon", Key: "balloon", What: "Least memory", Before: megabytes(n), After: megabytes(r.want.MemoryMB)})
	}
}

func plainFigure(n int) Text { return Say("%d", n) }
func megabytes(n int) Text   { return Say("%d MB", n) }

func limitWritten(v float64) string {
	if v == NoLimit {
		return ""
	}
	return figure(v)
}

func limitSaid(v float64, unit string) Text {
	switch v {
	case NoLimit:
		return "none [limit]"
	case 0:
		return "unreadable [limit]"
	}
	switch unit {
	case "%s CPUs":
		return Say("%s CPUs", figure(v))
	case "%s MB/s":
		return Say("%s MB/s", figure(v))
	}
	return Say("%s operations per second", figure(v))
}

// network is the card net0.
func (r *reapplier) network() {
	want := r.want.Net
	i := slices.IndexFunc(r.m.Nets, func(n MachineNet) bool { return n.Key == "net0" })
	if i < 0 {
		r.newCard()
		return
	}
	n := r.m.Nets[i]
	if n.Model == "" {
		if (want != Card{}) {
			r.blocked("net_unreadable", "net0", Say("The line net0 of the machine's config can't be read: %s. Mend it on the host.", n.Raw))
		}
		return
	}
	set := func(name, option, from, to string, live bool, what, before, after Text) {
		r.out = append(r.out, Change{Name: name, Kind: ChangeSet, Key: "net0", Option: option, From: from, To: to, Live: live, What: what, Before: before, After: after})
	}
	if want.Model != "" && want.Model != n.Model {
		set("net_model", "model", n.Model, want.Model, false, "Network card", Verbatim(n.Model), Verbatim(want.Model))
	}
	if have := n.Options["bridge"]; want.Bridge != "" && want.Bridge != have {
		set("net_bridge", "bridge", have, want.Bridge, true, "Network", orNone(have), Verbatim(want.Bridge))
	}
	if have := limitOf(n.Options["tag"]); want.VLAN != 0 && float64(want.VLAN) != have {
		set("net_vlan", "tag", n.Options["tag"], limitWritten(float64(want.VLAN)), true, "VLAN", orNone(n.Options["tag"]), orNone(limitWritten(float64(want.VLAN))))
	}
	if have := limitOf(n.Options["rate"]); want.RateMB != 0 && want.RateMB != have {
		set("net_rate", "rate", n.Options["rate"], limitWritten(want.RateMB), true, "Network limit", limitSaid(have, "%s MB/s"), limitSaid(want.RateMB, "%s MB/s"))
	}
	if want.MAC != "" && !strings.EqualFold(want.MAC, n.MAC) {
		set("net_mac", "macaddr", n.MAC, strings.ToUpper(want.MAC), false, "MAC address", orNone(n.MAC), Verbatim(strings.ToUpper(want.MAC)))
	}
	if have := *truth(n.Options["firewall"]); want.Firewall != nil && *want.Firewall != have {
		set("net_firewall", "firewall", n.Options["firewall"], switchWritten(*want.Firewall), true, "Firewall", switchSaid(have), switchSaid(*want.Firewall))
	}
}

// newCard is for a machine that has lost its card, as an archive from before it does.
func (r *reapplier) newCard() {
	want := r.want.Net
	if want.Bridge == "" {
		if want.MAC != "" || want.VLAN > 0 {
			r.blocked("net_card", "net0", "The machine has no network card net0, and neither its product nor the service says on which bridge one belongs.")
		}
		return
	}
	options := Options{"model": "virtio", "bridge": want.Bridge}
	if want.Model != "" {
		options["model"] = want.Model
	}
	if want.MAC != "" {
		options["macaddr"] = strings.ToUpper(want.MAC)
	}
	if want.VLAN > 0 {
		options["tag"] = strconv.Itoa(want.VLAN)
	}
	if want.RateMB > 0 {
		options["rate"] = figure(want.RateMB)
	}
	if want.Firewall != nil && *want.Firewall {
		options["firewall"] = "1"
	}
	r.out = append(r.out, Change{Name: "net_card", Kind: ChangeCard, Key: "net0", Options: options, What: "Network card", Before: "none [thing]", After: Say("%s on %s", options["model"], want.Bridge)})
}

// addresses is what cloud-init tells the guest at its next start.
func (r *reapplier) addresses() {
	have, want := r.m.IPs["ipconfig0"], r.want.Net
	for _, v := range []struct {
		said               string // "" = leave it
		name, option, want string
		what               Text
	}{
		{want.IP4, "net_ip4", "ip", want.IP4, "IPv4 address"}, {want.IP4, "net_gateway4", "gw", want.Gateway4, "IPv4 gateway"},
		{want.IP6, "net_ip6", "ip6", want.IP6, "IPv6 address"}, {want.IP6, "net_gateway6", "gw6", want.Gateway6, "IPv6 gateway"},
	} {
		if v.said == "" || strings.EqualFold(have[v.option], v.want) {
			continue
		}
		r.out = append(r.out, Change{Name: v.name, Kind: ChangeSet, Key: "ipconfig0", Option: v.option, From: have[v.option], To: v.want, What: v.what, Before: orNone(have[v.option]), After: orNone(v.want)})
	}
}

// rest is the machine's name, its boot order, and whether it starts with its host.
func (r *reapplier) rest() {
	if have := r.m.Values["name"]; r.want.Name != "" && r.want.Name != have {
		r.line(Change{Name: "name", Key: "name", To: r.want.Name, Live: true, What: "Name", Before: orNone(have), After: Verbatim(r.want.Name)})
	}
	if have, boot := r.m.Values["boot"], r.boot(); boot != "" && boot != have {
		r.line(Change{Name: "boot", Key: "boot", To: boot, What: "Boot order", Before: orNone(have), After: Verbatim(boot)})
	}
	if have := *truth(r.m.Values["onboot"]); r.want.OnBoot != nil && *r.want.OnBoot != have {
		r.line(Change{Name: "onboot", Key: "onboot", To: switchWritten(*r.want.OnBoot), Live: true, What: "Starts with its host", Before: switchSaid(have), After: switchSaid(*r.want.OnBoot)})
	}
}

// boot gives the boot order that is wanted without devices that the machine hasn't got, which Proxmox would refuse. One
// without the system disk is left as the machine has it.
func (r *reapplier) boot() string {
	order, ok := strings.CutPrefix(r.want.Boot, "order=")
	if !ok {
		return r.want.Boot
	}
	var there, gone []string
	for _, key := range strings.Split(order, ";") {
		_, value := r.m.Values[key]
		_, drive := r.m.drive(key)
		card := slices.ContainsFunc(r.m.Nets, func(n MachineNet) bool { return n.Key == key }) ||
			slices.ContainsFunc(r.out, func(c Change) bool { return c.Kind == ChangeCard && c.Key == key })
		if value || drive || card {
			there = append(there, key)
		} else {
			gone = append(gone, key)
		}
	}
	if system, found := r.m.system(r.want.System.Device); len(there) == 0 || found && !slices.Contains(there, system.Key) {
		if r.want.Boot != r.m.Values["boot"] {
			r.report("boot_kept", "boot", Say("The boot order was %s, without a disk that the machine has now: it stays as it is.", r.want.Boot))
		}
		return ""
	}
	if len(gone) > 0 {
		r.report("boot_gone", "boot", Say("The boot order named what the machine has no more: %s.", strings.Join(gone, ", ")))
	}
	return "order=" + strings.Join(there, ";")
}

func orNone(s string) Text {
	if s == "" {
		return "none [thing]"
	}
	return Verbatim(s)
}

func switchWritten(on bool) string {
	if on {
		return "1"
	}
	return "0"
}

func switchSaid(on bool) Text {
	if on {
		return "on [switch]"
	}
	return "off [switch]"
}
