package portal

import (
	"strings"
	"time"
)

// Server is one Proxmox VE cluster or stand-alone node, reached with one API token used by this installation
// alone. The token's secret is not part of the value: it stays sealed in the database until a client is made.
type Server struct {
	ID               int64
	UID              string
	Name             string
	Endpoints        []string // https URLs
	Fingerprints     []string // SHA-256 of the leaf certificate, or
	CA               string   // PEM
	TokenID          string   // user@realm!name
	Release          string   // "9.2", "" = never reached
	SeenAt           time.Time
	UnreachableSince time.Time // zero = reachable
	Trouble          string    // exact, for staff
	Skew             time.Duration
	RightsAt         time.Time
	RightsMissing    []string // "VM.Backup on /vms"
	CheckedAt        time.Time
	Findings         []Finding
}

// SkewLimit is how far our clock and a server's may be apart before deletion, expiry and catch-up stop there.
const SkewLimit = 2 * time.Minute

// ClockTrusted tells whether the server's clock and ours agree well enough to delete by age.
func (s Server) ClockTrusted() bool { return s.Skew.Abs() <= SkewLimit }

// Finding is one line of a server's check: what is wrong, and how to mend it.
type Finding struct {
	Level string // "ok", "warning", "error"
	Text  Text
	Mend  Text
}

// Node is one host of a server.
type Node struct {
	ServerID    int64
	Name        string
	Online      bool
	DownSince   time.Time
	SeenAt      time.Time
	ForeignDump string // UPID of a vzdump that isn't ours, "" = none
}

// Storage is a place for archives as last seen: once per server when shared (Node ""), else once per node.
type Storage struct {
	ID         int64
	ServerID   int64
	Node       string
	Name       string
	Type       string
	Content    string
	Shared     bool
	Active     bool
	Total      int64
	Used       int64
	SeenAt     time.Time
	ListedAt   time.Time
	Listings   int
	Doubt      string
	DoubtSince time.Time
	BrakeSince time.Time
	External   int
}

// Place is the key of a storage as a place for archives: "node/storage", or "/storage" when shared.
func (s Storage) Place() string { return s.Node + "/" + s.Name }

// Hardware is what a machine is made of, in the units that people are sold: MiB of memory, bytes of disk.
type Hardware struct {
	Sockets  int    `json:"sockets,omitempty"`
	Cores    int    `json:"cores,omitempty"`
	MemoryMB int    `json:"memory_mb,omitempty"`
	Disks    []Disk `json:"disks,omitempty"`
	Nets     []Net  `json:"nets,omitempty"`
}

// Disk is one virtual disk: its key on the machine ("scsi0") and its size in bytes. Backup is false for disks
// that vzdump leaves out.
type Disk struct {
	Key     string `json:"key"`
	Size    int64  `json:"size,omitempty"`
	Storage string `json:"storage,omitempty"`
	Volid   string `json:"volid,omitempty"`
	Backup  bool   `json:"backup"`
}

// Net is one network card.
type Net struct {
	Key    string `json:"key"`
	MAC    string `json:"mac,omitempty"`
	Bridge string `json:"bridge,omitempty"`
	Tag    int    `json:"tag,omitempty"`
}

// Identity tells one machine from another that took over its vmid. UUID is the smbios1 uuid: kept by a
// restore, new after clone, create and unique restore. Where it is absent, the config's creation time with
// the MAC addresses stands in.
//
// A machine that the portal has installed from scratch may be without both, for a token can't set them: see Bare.
type Identity struct {
	UUID string
	Made int64  // ctime of the meta line, unix seconds
	MACs string // sorted, comma-separated, upper case

	// Bare says that work of the portal's own has left the machine without a uuid and a creation time. Without them its
	// cards alone tell it: Proxmox gives both to every machine that it makes or clones. UUID and Made are what it had
	// before, by which a restore of an older archive brings it back.
	Bare bool
}

// Same tells whether the machine seen is the one remembered. Nothing to compare is not the same: when in
// doubt, a machine isn't touched.
func (remembered Identity) Same(seen Identity) bool {
	if remembered.Bare && seen.UUID == "" && seen.Made == 0 {
		return remembered.MACs == seen.MACs && seen.MACs != ""
	}
	if remembered.UUID != "" || seen.UUID != "" {
		return strings.EqualFold(remembered.UUID, seen.UUID)
	}
	return remembered.Made != 0 && remembered.Made == seen.Made && remembered.MACs == seen.MACs && seen.MACs != ""
}
