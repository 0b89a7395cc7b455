package pvesim

import (
	"fmt"
	"strings"
	"time"
)

// Secret is the secret of both tokens in ContractWorld.
const Secret = "00000000-0000-4000-8000-000000000001"

// The tokens of ContractWorld.
const (
	SimToken    = "root@pam!sim"   // everything a token may
	PortalToken = "portal@pve!api" // PortalRole on /
	PortalRole  = "StowagePortal"
)

// PortalPrivileges is the least that the portal needs on either release, for all that its customers do. What asking the
// guest agent needs has another name on each: PortalRole gets AgentPrivileges beside them in every world.
var PortalPrivileges = []string{
	"VM.Audit", "VM.Backup", "Datastore.Audit", "Datastore.AllocateSpace", "Sys.Audit",
	"VM.PowerMgmt", "VM.Snapshot", "VM.Snapshot.Rollback", "VM.Config.CPU", "VM.Config.Memory", "VM.Config.Disk", "VM.Config.Network",
	"VM.Config.Cloudinit", "VM.Config.CDROM", "VM.Config.Options", "VM.Clone", "SDN.Use",
}

// AgentPrivileges gives what asking a guest agent, and setting a password by it, needs (differences 8.4-9.2: A2).
func AgentPrivileges(release string) []string {
	if strings.HasPrefix(release, "8.") {
		return []string{"VM.Monitor"}
	}
	return []string{"VM.GuestAgent.Audit", "VM.GuestAgent.Unrestricted"}
}

const (
	kib = int64(1) << 10
	mib = int64(1) << 20
	gib = int64(1) << 30
)

// ContractWorld is the world that "stowage sim" shows: node pve1, the
// storages local, tiny, keep2 and data, machines 100 (running, 700 MB in use)
// and 101 (stopped, 60 MB), named h100 and h101. With more nodes or guests
// everything is larger and named alike: nodes pve2, pve3 …, machines h102,
// h103 … spread over the nodes in turn, and a storage "shared" (nfs) that all
// nodes see. Counts below 1 and 2 are taken as these.
func ContractWorld(nodes, guests int) World {
	nodes, guests = max(nodes, 1), max(guests, 2)
	w := World{
		Roles:  map[string][]string{PortalRole: PortalPrivileges},
		Users:  []User{{ID: "portal@pve"}},
		Tokens: []Token{{ID: SimToken, Secret: Secret}, {ID: PortalToken, Secret: Secret, PrivSep: true}},
		ACL: []ACL{
			{Path: "/", Role: PortalRole, Who: "portal@pve"},
			{Path: "/", Role: PortalRole, Who: PortalToken},
		},
	}
	// Room for thirty archives of each machine, so that only tiny runs full.
	perNode := int64((guests + nodes - 1) / nodes)
	large := max(250*gib, perNode*30*gib)
	w.Storages = []Storage{
		{Name: "local", Type: "dir", Path: "/var/lib/vz", Content: []string{"images", "backup", "iso"}, Total: large, Used: 4 * gib},
		{Name: "tiny", Type: "dir", Content: []string{"backup"}, Total: 80 * mib, Used: 4 * kib},
		{Name: "keep2", Type: "dir", Content: []string{"backup"}, PruneBackups: "keep-last=2", Total: large, Used: 4 * kib},
		{Name: "data", Type: "dir", Content: []string{"images"}, Total: large, Used: 4 * kib},
	}
	if nodes > 1 {
		w.Cluster = "sim"
		w.Storages = append(w.Storages, Storage{
			Name: "shared", Type: "nfs", Content: []string{"images", "backup"}, Shared: true,
			Total: large * int64(nodes), Used: 4 * kib,
		})
	}
	for i := 1; i <= nodes; i++ {
		w.Nodes = append(w.Nodes, Node{Name: fmt.Sprintf("pve%d", i), Bridges: []string{"vmbr0"}})
	}
	for i := range guests {
		vmid := 100 + i
		g := Guest{
			VMID: vmid,
			Node: w.Nodes[i/2%nodes].Name,
			Name: fmt.Sprintf("h%d", vmid),
			Config: map[string]string{
				"boot":   "order=scsi0",
				"meta":   "creation-qemu=10.0.2,ctime=" + fmt.Sprint(time.Date(2026, 1, 5, 8, 0, i, 0, time.UTC).Unix()),
				"net0":   fmt.Sprintf("virtio=BC:24:11:%02X:%02X:%02X,bridge=vmbr0", byte(vmid>>16), byte(vmid>>8), byte(vmid)),
				"ostype": "l26",
				"scsihw": "virtio-scsi-single",
			},
			Disks: []Disk{{Key: "scsi0", Storage: "local", Size: gib}},
		}
		if i%2 == 0 {
			g.Running, g.Disks[0].Used = true, 700*1000*1000
		} else {
			g.Disks[0].Used = 60 * 1000 * 1000
		}
		w.Guests = append(w.Guests, g)
	}
	return w
}
