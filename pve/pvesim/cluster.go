package pvesim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// pvestatd tells the cluster every 10 s how machines and nodes are; what it
// told counts for 300 s (recorded in 12).
const (
	statEvery = 10_000
	statKeeps = 300_000
)

// lastTold is when a node's pvestatd last spoke, and whether that still counts.
func (s *Sim) lastTold(node string, at int64) (int64, bool) {
	offset, known := s.phase[node]
	if !known {
		offset = int64(s.random("pvestatd", node).Uint64() % statEvery)
		s.phase[node] = offset
	}
	until := at
	if dead := s.silentSince(node); dead != 0 && dead < at {
		until = dead
	}
	told := (until-offset)/statEvery*statEvery + offset
	return told, at-told <= statKeeps
}

// getResources is GET /cluster/resources. Where a machine is and its lock are
// as of now; its status is what pvestatd last told, in QEMU's words.
func getResources(s *Sim, c *call) answer {
	kind := c.params.get("type")
	out := []map[string]any{}
	if kind == "" || kind == "vm" {
		for _, g := range s.st.Guests {
			if s.may(c.who, fmt.Sprintf("/vms/%d", g.VMID), "VM.Audit") {
				out = append(out, s.guestResource(g, c.at))
			}
		}
	}
	if kind == "" || kind == "node" {
		for _, e := range s.nodeEntries(c) {
			e["cgroup-mode"] = 1
			out = append(out, e)
		}
	}
	if kind == "" || kind == "storage" {
		for _, n := range s.st.World.Nodes {
			for _, st := range s.st.World.Storages {
				if !st.Disabled && st.on(n.Name) && s.demand(c.who, "/storage/"+st.Name, "Datastore.Audit", "Datastore.AllocateSpace") == nil {
					out = append(out, s.storageResource(&st, n.Name, c.at))
				}
			}
		}
	}
	if kind == "" || kind == "sdn" {
		for _, n := range s.st.World.Nodes {
			if s.demand(c.who, "/sdn/zones/localnetwork", "SDN.Audit") != nil || s.silentSince(n.Name) != 0 {
				continue
			}
			switch {
			case !s.release.nine:
				out = append(out, map[string]any{
					"id": "sdn/" + n.Name + "/localnetwork", "type": "sdn", "sdn": "localnetwork", "node": n.Name, "status": "ok",
				})
			case kind == "":
				out = append(out, map[string]any{
					"id": "network/" + n.Name + "/zone/localnetwork", "type": "network", "network-type": "zone",
					"network": "localnetwork", "node": n.Name, "status": "ok",
				})
			}
		}
	}
	return ok(out)
}

func (s *Sim) guestResource(g *guest, at int64) map[string]any {
	e := make(map[string]any, 24) // of all it gets: a cluster has thousands of these
	e["id"], e["type"], e["vmid"], e["node"], e["status"] = fmt.Sprintf("qemu/%d", g.VMID), "qemu", g.VMID, g.Node, "unknown"
	if g.Lock != "" {
		e["lock"] = g.Lock
	}
	if g.Tags != "" {
		e["tags"] = g.Tags
	}
	if p := s.poolOf(g.VMID); p != nil {
		e["pool"] = p.ID
	}
	told, counts := s.lastTold(g.Node, at)
	if !counts {
		return e
	}
	was := g.was(told)
	then := guest{Guest: g.Guest, Up: was.Up, Boot: was.Up, Prelaunch: was.Status == "prelaunch"}
	then.Running = was.Status != "stopped"
	var u usage
	if then.Running {
		u = then.usage(told)
		e["uptime"] = max(told-was.Up, 0) / 1000
	} else {
		e["uptime"] = 0
	}
	e["name"], e["status"], e["template"] = was.Name, was.Status, 0
	if g.Config["template"] == "1" {
		e["template"] = 1
	}
	e["maxmem"], e["maxdisk"], e["maxcpu"] = was.Memory, was.Disk, was.CPUs
	e["cpu"], e["mem"], e["disk"] = u.cpu, u.mem, 0
	e["netin"], e["netout"], e["diskread"], e["diskwrite"] = u.netin, u.netout, u.diskread, u.diskwrite
	if s.release.nine {
		e["memhost"] = 0
	}
	return e
}

func (s *Sim) storageResource(st *Storage, node string, at int64) map[string]any {
	e := map[string]any{
		"id": "storage/" + node + "/" + st.Name, "type": "storage", "node": node, "storage": st.Name,
		"plugintype": st.Type, "content": strings.Join(st.Content, ","), "shared": bit(st.Shared), "status": "unknown",
	}
	if told, counts := s.lastTold(node, at); counts && (s.activateError(st, node) == "" || !s.goneAt(st, node, told)) {
		total, used := s.space(s.keyOf(st.Name, node), told)
		e["status"], e["maxdisk"], e["disk"] = "available", total, used
	}
	return e
}

// getNextID is the lowest free machine number, or whether a given one is free.
func getNextID(s *Sim, c *call) answer {
	if c.params.has("vmid") {
		vmid := int(c.params.integer("vmid", 0))
		if s.guests[vmid] != nil {
			return wrongParam("vmid", fmt.Sprintf("VM %d already exists", vmid))
		}
		return ok(strconv.Itoa(vmid))
	}
	vmid := 100
	for s.guests[vmid] != nil {
		vmid++
	}
	return ok(strconv.Itoa(vmid))
}

func getClusterStatus(s *Sim, _ *call) answer {
	out := []map[string]any{}
	if name := s.st.World.Cluster; name != "" {
		out = append(out, map[string]any{
			"type": "cluster", "id": "cluster", "name": name, "nodes": len(s.st.World.Nodes), "quorate": 1, "version": len(s.st.World.Nodes),
		})
	}
	for i, n := range s.st.World.Nodes {
		id := i + 1
		if s.st.World.Cluster == "" {
			id = 0
		}
		out = append(out, map[string]any{
			"type": "node", "id": "node/" + n.Name, "name": n.Name, "nodeid": id, "local": bit(i == 0), "level": "",
			"online": bit(!n.Offline && !s.cutOff(n.Name)), "ip": fmt.Sprintf("192.0.2.%d", 2+i%250),
		})
	}
	return ok(out)
}

// getBackupJobs are the cluster's own backup jobs. 9.1.8 and later no longer
// give starttime and dow.
func getBackupJobs(s *Sim, c *call) answer {
	out := []map[string]any{}
	for _, j := range s.st.World.BackupJobs {
		e := map[string]any{
			"id": j.ID, "type": "vzdump", "schedule": j.Schedule, "storage": j.Storage, "enabled": bit(!j.Disabled),
		}
		if j.Mode != "" {
			e["mode"] = j.Mode
		}
		if at, known := nextRun(j.Schedule, s.local(s.st.World.Nodes[0].Name, c.at)); known {
			e["next-run"] = at.Unix()
		}
		if j.All {
			e["all"] = 1
		} else {
			e["vmid"] = j.VMIDs
		}
		if k, _ := parseKeep(j.PruneBackups); len(k) > 0 {
			prune := map[string]string{}
			for name, n := range k {
				prune[name] = strconv.FormatInt(n, 10)
			}
			e["prune-backups"] = prune
		}
		out = append(out, e)
	}
	return ok(out)
}

// getNotBackedUp are the machines that no backup job of the cluster names.
func getNotBackedUp(s *Sim, c *call) answer {
	out := []map[string]any{}
	for _, g := range s.st.Guests {
		named := slices.ContainsFunc(s.st.World.BackupJobs, func(j BackupJob) bool {
			return j.All || slices.Contains(vmids(j.VMIDs), g.VMID)
		})
		if !named && s.may(c.who, fmt.Sprintf("/vms/%d", g.VMID), "VM.Audit") {
			out = append(out, map[string]any{"vmid": g.VMID, "name": g.name(), "type": "qemu"})
		}
	}
	return ok(out)
}

// getHAResources: no machine here is under high availability.
func getHAResources(*Sim, *call) answer { return ok([]map[string]any{}) }
