package jobs

import (
	"fmt"
	"sort"
	"strconv"
	"strings"

	"stowage/portal"
	"stowage/pve"
)

// MissingRights lists what the token lacks to back up a machine to a storage and to see its archives: each as
// "privilege on path". The least role is in the facts about Proxmox VE: VM.Audit, VM.Backup, Datastore.Audit,
// Datastore.AllocateSpace, Sys.Audit.
func MissingRights(p pve.Permissions, vmid int, storage, node string) []string {
	vm, st := fmt.Sprintf("/vms/%d", vmid), "/storage/"+storage
	var missing []string
	for _, need := range []struct{ path, privilege string }{
		{vm, "VM.Audit"}, {vm, "VM.Backup"}, {st, "Datastore.Audit"}, {st, "Datastore.AllocateSpace"},
	} {
		if !p.Has(need.path, need.privilege) {
			missing = append(missing, need.privilege+" on "+need.path)
		}
	}
	if node != "" && !p.Has("/nodes/"+node, "Sys.Audit") {
		missing = append(missing, "Sys.Audit on /nodes/"+node)
	}
	return missing
}

// identityOf reads a machine's identity from its config.
func identityOf(c pve.GuestConfig) portal.Identity {
	id := portal.Identity{UUID: strings.ToLower(c.UUID)}
	if !c.MetaCTime.IsZero() {
		id.Made = c.MetaCTime.Unix()
	}
	var macs []string
	for _, n := range c.Nets {
		macs = append(macs, strings.ToUpper(n.MAC))
	}
	sort.Strings(macs)
	id.MACs = strings.Join(macs, ",")
	return id
}

// hardwareOf reads a machine's hardware from its config.
func hardwareOf(c pve.GuestConfig) portal.Hardware {
	h := portal.Hardware{Sockets: number(c.Raw["sockets"]), Cores: number(c.Raw["cores"]), MemoryMB: number(c.Raw["memory"])}
	for _, d := range c.Disks {
		if d.CDROM {
			continue
		}
		h.Disks = append(h.Disks, portal.Disk{Key: d.Key, Size: d.SizeBytes, Storage: d.Storage, Volid: d.Volid, Backup: d.Backup})
	}
	for _, n := range c.Nets {
		h.Nets = append(h.Nets, portal.Net{Key: n.Key, MAC: n.MAC, Bridge: n.Bridge, Tag: n.Tag})
	}
	return h
}

// number reads a whole number of a config line; 0 where there is none. memory may carry options behind a comma.
func number(s string) int {
	s, _, _ = strings.Cut(s, ",")
	n, err := strconv.Atoi(strings.TrimPrefix(s, "current="))
	if err != nil {
		return 0
	}
	return n
}
