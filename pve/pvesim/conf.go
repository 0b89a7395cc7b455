package pvesim

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A machine's configuration is a file of lines "key: value". Guest has fields
// for the most important ones; get, set and unset make lines of all of them.

var (
	diskKey   = regexp.MustCompile(`^(?:(?:ide|sata|scsi|virtio)\d+|efidisk0|tpmstate0)$`)
	unusedKey = regexp.MustCompile(`^unused\d+$`)
	netKey    = regexp.MustCompile(`^net\d+$`)
)

// get is a line of the configuration in effect.
func (g *guest) get(key string) string { return g.config()[key] }

// bare says whether a line is missing whose field has a default.
func (g *guest) bare(key string) bool { return slices.Contains(g.Bare, key) }

// clothe forgets that a line was missing.
func (g *guest) clothe(key string) {
	g.Bare = slices.DeleteFunc(g.Bare, func(k string) bool { return k == key })
}

// set puts a line in effect. A disk's volume must be among the machine's, or
// be another's.
func (g *guest) set(key, value string) {
	switch key {
	case "name":
		g.Name = value
	case "agent":
		g.Agent = value
	case "tags":
		g.Tags = value
	case "lock":
		g.Lock = value
	case "memory":
		g.Memory, _ = strconv.Atoi(strings.TrimPrefix(value, "current="))
		g.clothe(key)
	case "cores":
		g.Cores, _ = strconv.Atoi(value)
		g.clothe(key)
	case "smbios1":
		g.setIdentity(value)
		g.clothe(key)
	default:
		if diskKey.MatchString(key) && !isMedium(value) {
			g.setDisk(key, value)
			return
		}
		g.Config[key] = value
	}
}

// unset takes a line away. A disk of the machine's own then lies there without
// one that names it.
func (g *guest) unset(key string) {
	switch key {
	case "name":
		g.Name = ""
	case "agent":
		g.Agent = ""
	case "tags":
		g.Tags = ""
	case "lock":
		g.Lock = ""
	case "memory", "cores", "smbios1":
		if !g.bare(key) {
			g.Bare = append(g.Bare, key)
		}
		if key == "smbios1" {
			g.UUID = ""
		}
		delete(g.Config, key)
	default:
		delete(g.Config, key)
		g.loosen(key)
	}
}

// setIdentity takes the uuid out of an smbios1 line and keeps the rest.
func (g *guest) setIdentity(value string) {
	var rest []string
	g.UUID = ""
	for _, p := range pairs(value, "") {
		if p.name == "uuid" {
			g.UUID = p.value
		} else {
			rest = append(rest, p.name+"="+p.value)
		}
	}
	if delete(g.Config, "smbios1"); len(rest) > 0 {
		g.Config["smbios1"] = strings.Join(rest, ",")
	}
}

// identity is the smbios1 line.
func (g *guest) identity() string {
	var parts []string
	if g.UUID != "" {
		parts = append(parts, "uuid="+g.UUID)
	}
	if rest := g.Config["smbios1"]; rest != "" {
		parts = append(parts, rest)
	}
	return strings.Join(parts, ",")
}

// isMedium: a drive line that names no disk image: an empty drive, a CD.
func isMedium(value string) bool {
	file, options := driveParts(value)
	return options["media"] == "cdrom" && !isCloudinit(file)
}

func isCloudinit(volid string) bool {
	return strings.Contains(volid, "cloudinit")
}

// driveParts takes a drive line apart: the volume and its options.
func driveParts(value string) (file string, options map[string]string) {
	options = map[string]string{}
	for _, p := range pairs(value, "file") {
		switch name := cmp.Or(diskAlias[p.name], p.name); name {
		case "file":
			file = p.value
		default:
			options[name] = p.value
		}
	}
	return file, options
}

// setDisk gives a volume its place. What was there before lies loose.
func (g *guest) setDisk(key, value string) {
	volid, options := driveParts(value)
	size := options["size"]
	delete(options, "size")
	delete(options, "format")
	noBackup := options["backup"] == "0"
	if noBackup {
		delete(options, "backup")
	}
	if d := g.disk(key); d != nil && d.volid(g.VMID) != volid {
		g.loosen(key)
	}
	delete(g.Config, key)
	d := g.volume(volid)
	if d == nil {
		storage, name, _ := strings.Cut(volid, ":")
		g.Disks = append(g.Disks, Disk{Storage: storage, Volume: name})
		d = &g.Disks[len(g.Disks)-1]
		d.Size, _ = parseSize(size)
	}
	d.Key, d.Loose, d.NoBackup, d.Options = key, false, noBackup, joinPairs("", options)
	if d.SizeText = size; d.sizeText() == (Disk{Size: d.Size}).sizeText() && !isCloudinit(volid) {
		d.SizeText = ""
	}
}

// loosen takes a disk off its place; another machine's is forgotten.
func (g *guest) loosen(key string) {
	for i := range g.Disks {
		d := &g.Disks[i]
		if d.Key != key || d.Loose {
			continue
		}
		if d.owner(g.VMID) != g.VMID {
			g.Disks = slices.Delete(g.Disks, i, i+1)
			return
		}
		d.Key, d.Loose, d.Options, d.NoBackup, d.SizeText = "", true, "", false, ""
		return
	}
}

// disk is the one in a place; nil is none.
func (g *guest) disk(key string) *Disk {
	for i := range g.Disks {
		if d := &g.Disks[i]; d.Key == key && !d.Loose {
			return d
		}
	}
	return nil
}

// volume is a disk by its volid, in use or not; nil is none.
func (g *guest) volume(volid string) *Disk {
	for i := range g.Disks {
		if d := &g.Disks[i]; d.volid(g.VMID) == volid {
			return d
		}
	}
	return nil
}

// owner is the machine whose number a volume's name has.
func (d Disk) owner(vmid int) int {
	if n := volumeOwner(d.Volume); n != 0 {
		return n
	}
	return vmid
}

var ownerInName = regexp.MustCompile(`(?:^|/)(?:vm|base|subvol)-(\d+)-[^/]*$`)

// volumeOwner is the number in a volume's name; 0 is none. A linked clone's
// name ends in its own.
func volumeOwner(volume string) int {
	m := ownerInName.FindStringSubmatch(volume)
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(m[1])
	return n
}

// format is a volume's: what its name ends in, or raw.
func (d Disk) format() string { return volumeFormat(d.Volume) }

func volumeFormat(volume string) string {
	for _, f := range []string{"qcow2", "vmdk"} {
		if strings.HasSuffix(volume, "."+f) {
			return f
		}
	}
	return "raw"
}

// parseSize reads 1G, 1536M, 67109K, 5368710120.
func parseSize(text string) (int64, bool) {
	m := sizeForm.FindStringSubmatch(text)
	if m == nil {
		return 0, false
	}
	unit := map[string]float64{"": 1, "K": float64(kib), "M": float64(mib), "G": float64(gib), "T": float64(gib * 1024)}[m[2]]
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil || n*unit > 1<<62 {
		return 0, false
	}
	return int64(n * unit), true
}

// whole rounds a size up to what an image has, in sectors of 512 bytes.
func whole(n int64) int64 { return (n + 511) / 512 * 512 }

// afterStart is the configuration that the machine will have when it starts
// next: what GET config shows.
func (g *guest) afterStart() map[string]string {
	out := g.config()
	for key := range g.Doomed {
		delete(out, key)
	}
	maps.Copy(out, g.Pending)
	return out
}

// file is the whole configuration file: what the digest is made of.
func (g *guest) file() string {
	var b strings.Builder
	c := g.config()
	if g.Lock != "" {
		c["lock"] = g.Lock
	}
	section(&b, c)
	if len(g.Pending)+len(g.Doomed) > 0 {
		b.WriteString("\n[PENDING]\n")
		p := maps.Clone(g.Pending)
		if p == nil {
			p = map[string]string{}
		}
		for _, key := range sortedKeys(g.Doomed) {
			force := ""
			if g.Doomed[key] {
				force = "!"
			}
			p["delete"] += "," + force + key
		}
		p["delete"] = strings.TrimPrefix(p["delete"], ",")
		section(&b, p)
	}
	snaps := slices.Clone(g.Snaps)
	slices.SortFunc(snaps, func(a, b *snapshot) int { return strings.Compare(a.Name, b.Name) })
	for _, sn := range snaps {
		fmt.Fprintf(&b, "\n[%s]\n", sn.Name)
		c := sn.lines()
		if sn.State != "" {
			c["snapstate"] = sn.State
		}
		section(&b, c)
	}
	return b.String()
}

// section writes lines: the description as comments, then the rest by name.
func section(b *strings.Builder, c map[string]string) {
	if text := c["description"]; text != "" {
		for line := range strings.SplitSeq(text, "\n") {
			b.WriteString("#" + encodeComment(line) + "\n")
		}
	}
	for _, key := range sortedKeys(c) {
		if key != "description" && !(key == "delete" && c[key] == "") {
			fmt.Fprintf(b, "%s: %s\n", key, c[key])
		}
	}
}

func encodeComment(line string) string {
	var b strings.Builder
	for i := range len(line) {
		if ch := line[i]; ch < 0x20 || ch > 0x7e || ch == '%' {
			fmt.Fprintf(&b, "%%%02X", ch)
		} else {
			b.WriteByte(ch)
		}
	}
	return b.String()
}

func decodeComment(line string) string {
	var b strings.Builder
	for i := 0; i < len(line); i++ {
		if line[i] == '%' && i+2 < len(line) {
			if n, err := strconv.ParseUint(line[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		b.WriteByte(line[i])
	}
	return b.String()
}

// parseConfig reads a configuration's first section. Lines that are none are
// skipped, as the real parser does with a warning.
func parseConfig(text string) map[string]string {
	out := map[string]string{}
	var comments []string
	for line := range strings.SplitSeq(text, "\n") {
		if strings.HasPrefix(line, "[") {
			break
		}
		if note, isComment := strings.CutPrefix(line, "#"); isComment {
			if !strings.HasPrefix(note, "qmdump#") && !strings.HasPrefix(note, "vzdump#") {
				comments = append(comments, decodeComment(note))
			}
			continue
		}
		key, value, found := strings.Cut(line, ":")
		if found && key != "" && !strings.ContainsAny(key, " \t") {
			out[key] = strings.TrimSpace(value)
		}
	}
	if len(comments) > 0 {
		out["description"] = strings.Join(comments, "\n")
	}
	return out
}
