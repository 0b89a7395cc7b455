package pve

import (
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// GuestStatus is a machine's state at this moment.
type GuestStatus struct {
	VMID      int
	Name      string
	Status    string // "running" or "stopped". A stopped machine runs while it is backed up.
	QMPStatus string // QEMU's own word: running, paused, prelaunch (a stopped machine during its backup) …
	Lock      string // backup, create, snapshot …; empty when free
	Uptime    time.Duration
	PID       int // 0 when stopped
	Template  bool
	CPUs      float64
	CPU       float64 // share of CPUs
	Mem       int64   // bytes; may exceed MaxMem on 9.x
	MaxMem    int64
	HAManaged bool
	Agent     bool // the guest agent is switched on in the configuration
}

// GuestStatus asks the machine's node. A machine that isn't there is Gone, also when it lives on another node.
func (c *Client) GuestStatus(ctx context.Context, node string, vmid int) (GuestStatus, error) {
	if err := checkVMID(vmid); err != nil {
		return GuestStatus{}, err
	}
	var got struct {
		Name      text            `json:"name"`
		Status    text            `json:"status"`
		QMPStatus text            `json:"qmpstatus"`
		Lock      text            `json:"lock"`
		Uptime    whole           `json:"uptime"`
		PID       whole           `json:"pid"`
		Template  truth           `json:"template"`
		CPUs      fraction        `json:"cpus"`
		CPU       fraction        `json:"cpu"`
		Mem       whole           `json:"mem"`
		MaxMem    whole           `json:"maxmem"`
		HA        json.RawMessage `json:"ha"`
		Agent     truth           `json:"agent"`
	}
	if err := c.read(ctx, at("/nodes/{node}/qemu/{vmid}/status/current", node, param(vmid)), nil, &got, false); err != nil {
		return GuestStatus{}, err
	}
	var ha struct {
		Managed truth `json:"managed"`
	}
	_ = json.Unmarshal(got.HA, &ha) // absent or odd: not managed
	return GuestStatus{
		VMID: vmid, Name: string(got.Name), Status: string(got.Status), QMPStatus: string(got.QMPStatus),
		Lock: string(got.Lock), Uptime: seconds(got.Uptime), PID: int(got.PID), Template: bool(got.Template),
		CPUs: float64(got.CPUs), CPU: float64(got.CPU), Mem: int64(got.Mem), MaxMem: int64(got.MaxMem),
		HAManaged: bool(ha.Managed), Agent: bool(got.Agent),
	}, nil
}

// GuestConfig is a machine's configuration, pending changes included.
type GuestConfig struct {
	Name      string
	Digest    string // for compare-and-swap on changes
	Lock      string
	UUID      string    // smbios1: the machine's identity; a restore keeps it, a restore with unique=1 doesn't
	MetaCTime time.Time // when the machine was first created
	Disks     []Disk    // in order of key, CD drives included
	Nets      []Net
	Unused    []string // volids that belong to the machine and hang on no drive
	Template  bool
	Raw       map[string]string
}

// GuestConfig asks for a machine's configuration.
func (c *Client) GuestConfig(ctx context.Context, node string, vmid int) (GuestConfig, error) {
	if err := checkVMID(vmid); err != nil {
		return GuestConfig{}, err
	}
	return c.config(ctx, guestPath("/config", node, vmid))
}

// config asks for a configuration, a machine's or a snapshot's.
func (c *Client) config(ctx context.Context, p path) (GuestConfig, error) {
	var got map[string]text
	if err := c.read(ctx, p, nil, &got, false); err != nil {
		return GuestConfig{}, err
	}
	raw := make(map[string]string, len(got))
	for k, v := range got {
		raw[k] = string(v)
	}
	return ReadGuestConfig(raw), nil
}

var (
	diskKey   = regexp.MustCompile(`^(?:ide|sata|scsi|virtio|efidisk|tpmstate)\d{1,2}$`)
	netKey    = regexp.MustCompile(`^net\d{1,2}$`)
	unusedKey = regexp.MustCompile(`^unused\d{1,3}$`)
)

// ReadGuestConfig reads a configuration's keys and values.
func ReadGuestConfig(raw map[string]string) GuestConfig {
	g := GuestConfig{Name: raw["name"], Digest: raw["digest"], Lock: raw["lock"], Template: isOn(raw["template"]), Raw: raw}
	g.UUID, _ = ParseProperties(raw["smbios1"]).Get("uuid")
	if s, ok := ParseProperties(raw["meta"]).Get("ctime"); ok {
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			g.MetaCTime = whole(n).time()
		}
	}
	keys := sortedKeys(raw)
	slices.SortStableFunc(keys, byKeyNumber)
	for _, key := range keys {
		switch {
		case diskKey.MatchString(key):
			g.Disks = append(g.Disks, parseDisk(key, raw[key]))
		case netKey.MatchString(key):
			g.Nets = append(g.Nets, parseNet(key, raw[key]))
		case unusedKey.MatchString(key):
			volid, _ := ParseProperties(raw[key]).Get("")
			g.Unused = append(g.Unused, volid)
		}
	}
	return g
}

// byKeyNumber sorts scsi2 before scsi10.
func byKeyNumber(a, b string) int {
	an, bn := strings.TrimRight(a, "0123456789"), strings.TrimRight(b, "0123456789")
	if an != bn {
		return strings.Compare(an, bn)
	}
	ai, _ := strconv.Atoi(a[len(an):])
	bi, _ := strconv.Atoi(b[len(bn):])
	return ai - bi
}

// Stump tells whether this is what stands in a machine's place while a restore runs and after one that failed: no
// disk, no network card, no identity, hardly more than its memory. It has no lock, and a start of it succeeds with an
// empty machine.
func (g GuestConfig) Stump() bool {
	for key := range g.Raw {
		switch key {
		case "memory", "digest", "lock":
		default:
			return false
		}
	}
	return true
}

// BackedUpDisks gives the drives whose data goes into a backup: all but CD drives and those with backup=0.
func (g GuestConfig) BackedUpDisks() []Disk {
	var out []Disk
	for _, d := range g.Disks {
		if d.Backup && !d.CDROM {
			out = append(out, d)
		}
	}
	return out
}
