package pvesim

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// change is a request to change a machine's configuration.
type change struct {
	Digest   string
	Delete   []string
	Force    bool // with their volumes
	Revert   []string
	SkipLock bool
	Set      map[string]string
}

// changeParams are the parameters of a change that are no lines.
var changeParams = []string{"node", "vmid", "digest", "delete", "force", "revert", "skiplock", "background_delay", "import-working-storage"}

const onlyRoot = "Only root may use this option."

// isRoot: root@pam himself, with a ticket. His tokens are not he.
func (who identity) isRoot() bool { return who.Name == root }

// rootOptions refuses options that root@pam alone may use.
func rootOptions(c *call, names ...string) *answer {
	for _, name := range names {
		if c.params.has(name) && !c.who.isRoot() {
			a := wrongParam(name, onlyRoot)
			return &a
		}
	}
	return nil
}

// readChange takes a request apart and makes the checks that need no look at
// the machine, in the order of the real one.
func (s *Sim) readChange(c *call) (*change, *answer) {
	no := func(a answer) (*change, *answer) { return nil, &a }
	if a := rootOptions(c, "skiplock"); a != nil {
		return nil, a
	}
	p := c.params
	ch := &change{
		Digest: p.get("digest"), Force: p.boolean("force", false), SkipLock: p.boolean("skiplock", false),
		Revert: splitList(p.get("revert")), Set: map[string]string{},
	}
	for name := range p {
		if !slices.Contains(changeParams, name) {
			ch.Set[name] = p.get(name)
		}
	}
	if !p.has("delete") && !p.has("revert") && len(ch.Set) == 0 {
		return no(fail(500, "no options specified"))
	}
	if cd, given := ch.Set["cdrom"]; given {
		delete(ch.Set, "cdrom")
		if !strings.Contains(cd, "media=") {
			cd += ",media=cdrom"
		}
		ch.Set["ide2"] = cd
	}
	for _, key := range splitList(p.get("delete")) {
		if key == "cdrom" {
			key = "ide2"
		}
		if _, both := ch.Set[key]; both {
			return no(wrongParam("delete", fmt.Sprintf("you can't use '-%s' and -delete %s' at the same time", key, key)))
		}
		if slices.Contains(ch.Revert, key) {
			return no(wrongParam("revert", fmt.Sprintf("you can't use '-revert %s' and -delete %s' at the same time", key, key)))
		}
		if !s.knownOption(key) {
			return no(wrongParam("delete", fmt.Sprintf("unknown option '%s'", key)))
		}
		ch.Delete = append(ch.Delete, key)
	}
	for _, key := range ch.Revert {
		if !s.knownOption(key) {
			return no(wrongParam("revert", fmt.Sprintf("unknown option '%s'", key)))
		}
		if _, both := ch.Set[key]; both {
			return no(wrongParam("revert", fmt.Sprintf("you can't use '-%s' and '-revert %s' at the same time", key, key)))
		}
	}
	for _, key := range sortedKeys(ch.Set) {
		if a := s.readLine(ch, key); a != nil {
			return nil, a
		}
	}
	vmid := int(p.integer("vmid", 0))
	if a := s.mayChange(c.who, vmid, ch); a != nil {
		return nil, a
	}
	if a := s.mayStore(c, vmid, ch); a != nil {
		return nil, a
	}
	return ch, nil
}

var optionNumber = regexp.MustCompile(`^(\D+?)(\d+)$`)

// knownOption says whether a configuration may have a line of this name.
func (s *Sim) knownOption(key string) bool {
	if key == "vmstate" || key == "parent" {
		return true
	}
	for _, o := range vmOptions {
		switch {
		case o.only != "" && o.only != s.release.name:
		case o.count == 0 && o.name == key:
			return true
		case o.count > 0:
			if m := optionNumber.FindStringSubmatch(key); m != nil && m[1]+"[n]" == o.name {
				n, err := strconv.Atoi(m[2])
				return err == nil && n < o.count && m[2] == strconv.Itoa(n)
			}
		}
	}
	return false
}

// readLine brings one line into the form that the configuration has.
func (s *Sim) readLine(ch *change, key string) *answer {
	value := ch.Set[key]
	switch {
	case diskKey.MatchString(key):
		line, fits := tidyDrive(value)
		file, options := driveParts(value)
		if m := newDisk.FindStringSubmatch(file); options["import-from"] != "" && (m == nil || strings.Trim(m[2], "0.") != "") {
			a := wrongParam(key, "'import-from' requires special syntax - use <storage ID>:0,import-from=<source>")
			return &a
		}
		if !fits {
			a := wrongParam(key, "unable to parse drive options")
			return &a
		}
		ch.Set[key] = line
	case netKey.MatchString(key):
		parts, _ := netShape.parse(value, key, s.release)
		lead := parts["model"]
		mac := parts["macaddr"]
		if mac == "" {
			mac = s.newMAC()
		}
		lead += "=" + strings.ToUpper(mac)
		delete(parts, "model")
		delete(parts, "macaddr")
		ch.Set[key] = joinPairs(lead, parts)
	case key == "vmgenid" && value == "1":
		ch.Set[key] = uuid(s.random("vmgenid", fmt.Sprint(s.content())))
	case key == "cipassword":
		ch.Set[key] = crypted(s.random("salt", value), value) // it is kept so
	case key == "tags":
		tags := splitList(value)
		slices.Sort(tags)
		ch.Set[key] = strings.Join(slices.Compact(tags), ";")
	}
	return nil
}

// newMAC is a card's address out of Proxmox's own range.
func (s *Sim) newMAC() string {
	r := s.random("mac", fmt.Sprint(s.content()))
	n := r.Uint64()
	return fmt.Sprintf("BC:24:11:%02X:%02X:%02X", byte(n), byte(n>>8), byte(n>>16))
}

// limits that exclude one another: a total and its halves, bytes and megabytes.
var exclusive = [][2]string{
	{"mbps", "mbps_rd"}, {"mbps", "mbps_wr"}, {"iops", "iops_rd"}, {"iops", "iops_wr"},
	{"mbps_max", "mbps_rd_max"}, {"mbps_max", "mbps_wr_max"}, {"iops_max", "iops_rd_max"}, {"iops_max", "iops_wr_max"},
}

// tidyDrive puts a drive line's options in order. It does not fit when its
// limits contradict each other (recorded in 90).
func tidyDrive(value string) (string, bool) {
	file, options := driveParts(value)
	for _, name := range []string{"", "_rd", "_wr"} {
		bytes, given := options["bps"+name]
		if !given {
			continue
		}
		if _, twice := options["mbps"+name]; twice {
			return "", false
		}
		n, _ := strconv.ParseFloat(bytes, 64)
		options["mbps"+name] = strconv.FormatFloat(n/float64(mib), 'f', -1, 64)
		delete(options, "bps"+name)
	}
	for _, pair := range exclusive {
		if options[pair[0]] != "" && options[pair[1]] != "" {
			return "", false
		}
	}
	if file == "cdrom" {
		options["media"] = "cdrom"
	}
	return joinPairs(file, options), true
}

// privileges of lines, by their names; families without the number. What is
// not here belongs to root@pam.
var linePrivileges = map[string]string{}

func init() {
	for privilege, names := range map[string]string{
		"VM.Config.CPU":                         "cores cpu cpulimit cpuunits numa smp sockets vcpus",
		"VM.Config.Disk":                        "boot bootdisk vmstatestorage ide sata scsi virtio efidisk tpmstate unused",
		"VM.Config.HWType":                      "acpi audio hotplug kvm machine rng scsihw smbios1 tablet vga watchdog serial",
		"VM.Config.Memory":                      "allow-ksm balloon memory shares",
		"VM.Config.Network":                     "net",
		"VM.Config.Options":                     "agent autostart bios description keyboard localtime migrate_downtime migrate_speed name onboot ostype protection reboot startdate startup tags tdf template",
		"VM.Config.Cloudinit|VM.Config.Network": "cicustom cipassword citype ciuser ciupgrade nameserver searchdomain sshkeys ipconfig",
		"VM.PowerMgmt":                          "vmstate freeze",
	} {
		for _, name := range strings.Fields(names) {
			linePrivileges[name] = privilege
		}
	}
}

// mayChange checks the rights to every line that a request changes, and to the
// bridges that cards are put on (facts, "Least privilege").
func (s *Sim) mayChange(who identity, vmid int, ch *change) *answer {
	if who.isRoot() {
		return nil
	}
	check := func(key, value string) *answer {
		family := key
		if m := optionNumber.FindStringSubmatch(key); m != nil && linePrivileges[key] == "" {
			family = m[1]
		}
		privilege := linePrivileges[family]
		switch {
		case privilege == "" || family == "serial" && value != "" && value != "socket":
			a := fail(500, "only root can set '%s' config", key)
			return &a
		case diskKey.MatchString(key) && isMedium(value):
			privilege = "VM.Config.CDROM"
		case diskKey.MatchString(key) && isCloudinit(value): // wants both
			if a := s.demand(who, fmt.Sprintf("/vms/%d", vmid), "VM.Config.Cloudinit"); a != nil {
				return a
			}
			privilege = "VM.Config.CDROM"
		case key == "startup":
			if a := s.demand(who, "/", "Sys.Modify"); a != nil {
				return a
			}
		}
		return s.demand(who, fmt.Sprintf("/vms/%d", vmid), strings.Split(privilege, "|")...)
	}
	g := s.guests[vmid]
	for _, key := range slices.Concat(ch.Delete, ch.Revert) {
		value := ""
		if g != nil && diskKey.MatchString(key) {
			value = g.get(key)
		}
		if a := check(key, value); a != nil {
			return a
		}
	}
	for _, key := range sortedKeys(ch.Set) {
		if a := check(key, ch.Set[key]); a != nil {
			return a
		}
		if a := s.mayUseBridge(who, key, ch.Set[key]); a != nil {
			return a
		}
	}
	return nil
}

var newDisk = regexp.MustCompile(`^([^/:\s]+):(\d+(?:\.\d+)?)$`)

// mayStore checks the storages of new disks and the rights to volumes.
func (s *Sim) mayStore(c *call, vmid int, ch *change) *answer {
	no := func(a answer) *answer { return &a }
	for _, key := range sortedKeys(ch.Set) {
		if !diskKey.MatchString(key) && !unusedKey.MatchString(key) {
			continue
		}
		file, options := driveParts(ch.Set[key])
		if from := options["import-from"]; from != "" {
			if a := s.mayImport(c, from); a != nil {
				return a
			}
		}
		if file == "none" || file == "cdrom" {
			continue
		}
		if strings.HasPrefix(file, "/") {
			if !c.who.isRoot() {
				return no(fail(500, "Only root can pass arbitrary filesystem paths."))
			}
			continue
		}
		storage, name, _ := strings.Cut(file, ":")
		st := s.storage(storage)
		switch {
		case st == nil:
			return no(fail(500, "storage '%s' does not exist", storage))
		case newDisk.MatchString(file) || name == "cloudinit":
			if a := s.demand(c.who, "/storage/"+storage, "Datastore.AllocateSpace"); a != nil {
				return a
			}
			if !st.has("images") {
				return no(wrongParam("storage", fmt.Sprintf("storage '%s' does not support vm images", storage)))
			}
		default:
			if a := s.mayAttach(c.who, st, file, vmid); a != nil {
				return a
			}
		}
	}
	return nil
}

var isoVolume = regexp.MustCompile(`^iso/[^/]+\.(?:iso|img)$`)

// mayAttach: a machine's own volumes need no more; another machine's need the
// right to its disks, which a token often has everywhere (recorded in 03).
func (s *Sim) mayAttach(who identity, st *Storage, volid string, vmid int) *answer {
	_, name, _ := strings.Cut(volid, ":")
	if isoVolume.MatchString(name) {
		return s.demand(who, "/storage/"+st.Name, "Datastore.Audit", "Datastore.AllocateSpace")
	}
	re := imageVolume
	if !st.files() {
		re = blockVolume
	}
	if !re.MatchString(name) {
		a := fail(500, "unable to parse directory volume name '%s'", name)
		return &a
	}
	if owner := volumeOwner(name); owner != vmid {
		return s.imageRight(who, st.Name, owner)
	}
	return nil
}

// mayImport refuses what is not a volume that is there.
func (s *Sim) mayImport(c *call, from string) *answer {
	storage, _, _ := strings.Cut(from, ":")
	var a answer
	switch {
	case strings.HasPrefix(from, "/"):
		if c.who.isRoot() {
			return nil
		}
		a = fail(500, "Only root can pass arbitrary filesystem paths.")
	case s.storage(storage) == nil:
		a = fail(500, "storage '%s' does not exist", storage)
	default:
		if _, name, _ := strings.Cut(from, ":"); volumeOwner(name) != 0 {
			if a := s.demand(c.who, fmt.Sprintf("/vms/%d", volumeOwner(name)), "VM.Clone"); a != nil {
				return a
			}
		}
		if _, d := s.anyVolume(c.node, from); d != nil {
			return nil
		}
		a = fail(500, "volume '%s' does not exist", from)
	}
	return &a
}
