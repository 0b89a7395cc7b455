package pve

import "strconv"

// Action is something that a token needs privileges for.
type Action string

// The actions, with the calls that they stand for.
const (
	See           Action = "see"            // GuestStatus, GuestConfig, Pending, Snapshots, CanSnapshot, Firewall…
	BackUp        Action = "back up"        // Vzdump, and what Archives lists and changes
	RestoreOver   Action = "restore over"   // Restore with Over, ArchivedConfig
	RestoreNew    Action = "restore new"    // Restore to a free number
	Power         Action = "power"          // Start, Shutdown, Stop, Reboot, Reset
	TakeSnapshot  Action = "take snapshot"  // CreateSnapshot, DeleteSnapshot, SetSnapshotDescription
	RollBack      Action = "roll back"      // Rollback
	SetCPU        Action = "set cpu"        // SetConfig of cores, sockets …
	SetMemory     Action = "set memory"     // SetConfig of memory, balloon
	SetDisks      Action = "set disks"      // SetConfig and StartSetConfig of drives, DetachDisk, DestroyUnused, Resize
	SetNetwork    Action = "set network"    // SetConfig of net0 …
	SetOptions    Action = "set options"    // SetConfig of name, description, tags, onboot, protection …
	SetCloudInit  Action = "set cloudinit"  // SetConfig of what CloudInit has, RegenerateCloudInit
	MakeCloudInit Action = "make cloudinit" // StartSetConfig of a cloud-init drive, new or left over
	CopyMachine   Action = "clone"          // Clone
	ImportDisk    Action = "import disk"    // StartSetConfig of a drive with ImportDisk.Value
	DestroyAll    Action = "destroy"        // Destroy
	AskAgent      Action = "ask agent"      // AgentPing, AgentInterfaces
	UseAgent      Action = "use agent"      // SetUserPassword
)

// Scene is what an action is about.
type Scene struct {
	VMID     int
	NewID    int      // of CopyMachine
	Storages []string // of disks that are made or grow
	Backup   string   // the storage of the archive
	Networks []string // "vmbr0", or "vmbr0/7" with a VLAN: those that cards are put on
	Start    bool     // of RestoreOver, RestoreNew, RollBack
	Pool     string   // of CopyMachine; "" for none
	Source   int      // of ImportDisk: the machine whose disk is copied
}

// Demand is one thing that must hold for an action: any of the privileges, on the path.
type Demand struct {
	Path string
	Any  []string
}

// Demands gives what an action needs on a Proxmox VE of a major version (8 or 9). Sources: the rights' recordings, the
// API's schema of both releases, and qemu-server for those of single options. SDN.Use is looked for on bridges of the
// node itself (zone localnetwork).
func Demands(a Action, major int, on Scene) []Demand {
	var out []Demand
	want := func(path string, privileges ...string) { out = append(out, Demand{path, privileges}) }
	machine := "/vms/" + strconv.Itoa(on.VMID)
	space := func() {
		for _, s := range on.Storages {
			want("/storage/"+s, "Datastore.AllocateSpace")
		}
	}
	networks := func() {
		for _, n := range on.Networks {
			want("/sdn/zones/localnetwork/"+n, "SDN.Use")
		}
	}
	start := func() {
		if on.Start && major >= 9 {
			want(machine, "VM.PowerMgmt")
		}
	}
	archive := func() {
		want(machine, "VM.Backup")
		if on.Backup != "" {
			want("/storage/"+on.Backup, "Datastore.AllocateSpace")
		}
	}
	agent := func(privileges ...string) {
		if major < 9 {
			privileges = []string{"VM.Monitor"}
		}
		want(machine, privileges...)
	}
	switch a {
	case See:
		want(machine, "VM.Audit")
	case BackUp:
		archive()
	case RestoreOver, RestoreNew:
		archive()
		if a == RestoreNew {
			want(machine, "VM.Allocate")
		}
		space()
		networks()
		start()
	case Power:
		want(machine, "VM.PowerMgmt")
	case TakeSnapshot:
		want(machine, "VM.Snapshot")
	case RollBack:
		want(machine, "VM.Snapshot", "VM.Snapshot.Rollback")
		start()
	case SetCPU:
		want(machine, "VM.Config.CPU")
	case SetMemory:
		want(machine, "VM.Config.Memory")
	case SetDisks:
		want(machine, "VM.Config.Disk")
		space()
	case SetNetwork:
		want(machine, "VM.Config.Network")
		networks()
	case SetOptions:
		want(machine, "VM.Config.Options")
	case SetCloudInit:
		want(machine, "VM.Config.Cloudinit") // VM.Config.Network would do for the options alone
	case MakeCloudInit: // qemu-server, PVE/API2/Qemu.pm: both, unlike the options
		want(machine, "VM.Config.Cloudinit")
		want(machine, "VM.Config.CDROM")
		space()
	case CopyMachine:
		want(machine, "VM.Clone")
		if on.Pool != "" {
			want("/pool/"+on.Pool, "VM.Allocate")
		} else {
			want("/vms/"+strconv.Itoa(on.NewID), "VM.Allocate")
		}
		space()
		networks()
	case ImportDisk: // qemu-server, PVE/API2/Qemu.pm: the right to the volume's machine stands for the right to the volume
		want(machine, "VM.Config.Disk")
		want("/vms/"+strconv.Itoa(on.Source), "VM.Clone")
		space()
	case DestroyAll:
		want(machine, "VM.Allocate")
	case AskAgent:
		agent("VM.GuestAgent.Audit", "VM.GuestAgent.Unrestricted")
	case UseAgent:
		agent("VM.GuestAgent.Unrestricted")
	}
	return out
}

// Lacks gives those demands that the token's rights don't meet. See PermissionsOn for paths that an answer to
// Permissions may have left out.
func (p Permissions) Lacks(demands []Demand) []Demand {
	var out []Demand
	for _, d := range demands {
		met := false
		for _, privilege := range d.Any {
			met = met || p.Has(d.Path, privilege)
		}
		if !met {
			out = append(out, d)
		}
	}
	return out
}
