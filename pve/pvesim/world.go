package pvesim

import (
	"maps"
	"slices"
	"time"
)

// World describes everything there is before the first request. It is plain
// data: New copies it, so one value can start many simulators.
type World struct {
	Cluster    string // the cluster's name; "" is a stand-alone node
	Nodes      []Node
	Storages   []Storage
	Guests     []Guest
	Archives   []Archive
	Roles      map[string][]string // role name to privileges, beside the built-in ones
	Users      []User
	Tokens     []Token
	ACL        []ACL
	BackupJobs []BackupJob
	Pools      []Pool
	Mounts     []Mount // file systems of every node, for storages that are defined later
}

// Mount is a file system at a path, "/" being the nodes' own disk.
type Mount struct {
	Path        string
	Total, Used int64 // bytes
}

// Node is one host.
type Node struct {
	Name        string
	Zone        string // IANA zone of its clock on the wall (archive names, log lines); "" is UTC
	CPUs        int    // 0 means 8
	Memory      int64  // bytes; 0 means 64 GiB
	Bridges     []string
	Fingerprint string // of its certificate, as GET /nodes shows it

	Offline  bool  // powered off
	StatDead int64 // unix milliseconds since when its pvestatd is dead; 0 is alive
}

// Storage is one entry of the storage configuration. What lies on it exists
// once when it is shared, else once on every node under the same names.
type Storage struct {
	Name         string
	Type         string // dir, nfs
	Path         string // "" is /srv/NAME, /mnt/pve/NAME for nfs
	Content      []string
	Shared       bool
	Mountpoint   bool // is_mountpoint: refuses to work when nothing is mounted
	Disabled     bool
	Nodes        []string // only there; empty is everywhere
	Total        int64    // bytes
	Used         int64    // bytes taken by anything but disk images and archives
	PruneBackups string   // as in the storage's configuration, such as "keep-last=2"
	MaxProtected int      // max-protected-backups; 0 is Proxmox's default (5 without Datastore.Allocate), -1 unlimited
	VolumeChain  bool     // snapshot-as-volume-chain (9 only), as its definition shows it

	// EntryCost is what one archive adds to the time of a listing; 0 is 0.1 ms
	// for a directory (62 ms for 500 entries, records 12) and 1 ms for nfs.
	EntryCost time.Duration

	Gone      bool  // its mount went away, on every node
	GoneSince int64 // unix milliseconds; 0 is from the beginning
	Full      bool  // no byte is free
}

// Guest is one virtual machine.
type Guest struct {
	VMID   int
	Node   string
	Name   string
	UUID   string // of smbios1; "" is made from the seed and the vmid
	Memory int    // MiB; 0 means 128
	Cores  int    // 0 means 1
	Agent  string // the config's agent line, such as "1"; "" is none
	Tags   string
	Config map[string]string // every other line of the config: net0, ostype, onboot, unused0 …
	Disks  []Disk

	Firewall Firewall

	Running     bool
	Paused      bool          // running, but QEMU says paused
	AgentSilent bool          // the agent is configured but does not answer
	Blank       bool          // nothing runs in it that would tell QEMU of its memory
	Deaf        bool          // it ignores the power button, as a Blank one does
	Quits       time.Duration // how long its QEMU takes to end when it is stopped
	Lock        string
	Snapshots   []string // names; a backup's log mentions that there are some

	// Stump is what a failed restore leaves in a machine's place: no disk, no
	// card, no identity, no lock; the memory alone, and with Memory 0 nothing.
	Stump bool
}

// Disk is one disk of a machine.
type Disk struct {
	Key      string // scsi0, virtio1 …
	Storage  string
	Volume   string // "" is VMID/vm-VMID-disk-N.qcow2
	Size     int64  // bytes
	SizeText string // as the config has it; "" is the shortest exact one (1G, 1536M)
	Used     int64  // bytes that hold data
	NoBackup bool   // backup=0
	Options  string // further options, such as "iops_wr=300,mbps_rd=20"
	Loose    bool   // lies there, but no line of the configuration names it: a snapshot's memory

	// Ratio is what compression leaves of the data; 0 is 1: not compressible,
	// as the recorded machines were.
	Ratio float64

	// Content names what is on it. It changes whenever something is written,
	// and comes back with a restore or a rollback; 0 gets a new one.
	Content uint64

	// Origin is the content that was last put there as a whole: by creation,
	// restore, rollback or clone.
	Origin uint64
}

// Archive is one finished backup.
type Archive struct {
	Node      string // where it lies; "" on a shared storage
	Storage   string
	Volid     string // "" is made from VMID, Time and Format
	VMID      int
	Time      time.Time // start of the backup: its ctime
	Size      int64     // bytes
	Format    string    // vma, vma.gz, vma.lzo, vma.zst; "" is vma.zst
	Notes     string
	Protected bool
	Config    string // the machine's configuration inside

	Disks  []ArchivedDisk // nil: made from Config
	Blank  bool           // the machine's
	Deaf   bool           // the machine's
	Damage Damage         // what a restore finds
	At     float64        // share of the data after which the damage is found
}

// ArchivedDisk is a disk inside an archive, at the moment of the backup.
type ArchivedDisk struct {
	Key     string // scsi0 …
	Format  string // of the image: qcow2, raw
	Size    int64  // bytes
	Used    int64  // bytes that hold data
	Ratio   float64
	Content uint64 // what was on it: a restore brings exactly this back
}

// Damage is how an archive is broken.
type Damage string

// The ways of the recordings (07). An archive of size 0 is Headless as well.
const (
	Truncated Damage = "truncated" // it ends too early
	Corrupt   Damage = "corrupt"   // bytes in the middle were changed
	Headless  Damage = "headless"  // no archive at all: nothing is touched
)

// User is somebody who may have rights. root@pam needs no entry, unless he is
// to log in.
type User struct {
	ID       string // name@realm
	Password string // "" cannot log in
	Disabled bool
	Expire   int64 // unix seconds; 0 is never
}

// Token is an API token. With PrivSep its rights are those which both it and
// its user have; without, its user's.
type Token struct {
	ID      string // user@realm!name
	Secret  string
	PrivSep bool
	Expire  int64 // unix seconds; 0 is never
}

// ACL gives a role to a user or token on a path.
type ACL struct {
	Path        string
	Role        string
	Who         string // user@realm or user@realm!token
	NoPropagate bool
}

// BackupJob is one of the cluster's own backup jobs; the simulator shows it
// and never runs it.
type BackupJob struct {
	ID           string
	Schedule     string
	Storage      string
	VMIDs        string // "" with All
	All          bool
	Mode         string
	PruneBackups string
	Disabled     bool
}

func (w World) clone() World {
	w.Nodes = slices.Clone(w.Nodes)
	for i := range w.Nodes {
		w.Nodes[i].Bridges = slices.Clone(w.Nodes[i].Bridges)
	}
	w.Storages = slices.Clone(w.Storages)
	for i := range w.Storages {
		w.Storages[i] = w.Storages[i].clone()
	}
	w.Guests = slices.Clone(w.Guests)
	for i := range w.Guests {
		w.Guests[i] = w.Guests[i].clone()
	}
	w.Archives = slices.Clone(w.Archives)
	w.Users = slices.Clone(w.Users)
	w.Tokens = slices.Clone(w.Tokens)
	w.ACL = slices.Clone(w.ACL)
	w.BackupJobs = slices.Clone(w.BackupJobs)
	w.Pools = slices.Clone(w.Pools)
	w.Mounts = slices.Clone(w.Mounts)
	roles := make(map[string][]string, len(w.Roles))
	for name, privs := range w.Roles {
		roles[name] = slices.Clone(privs)
	}
	w.Roles = roles
	return w
}

func (st Storage) clone() Storage {
	st.Content = slices.Clone(st.Content)
	st.Nodes = slices.Clone(st.Nodes)
	return st
}

func (g Guest) clone() Guest {
	g.Config = maps.Clone(g.Config)
	g.Disks = slices.Clone(g.Disks)
	g.Snapshots = slices.Clone(g.Snapshots)
	g.Firewall = g.Firewall.clone()
	return g
}

func (st Storage) has(content string) bool { return slices.Contains(st.Content, content) }

func (st Storage) on(node string) bool {
	return len(st.Nodes) == 0 || slices.Contains(st.Nodes, node)
}

// dumpDir is the folder of its archives on a node.
func (st Storage) dumpDir() string { return st.path() + "/dump" }

func (st Storage) path() string {
	switch {
	case st.Path != "":
		return st.Path
	case st.Type == "nfs":
		return "/mnt/pve/" + st.Name
	default:
		return "/srv/" + st.Name
	}
}
