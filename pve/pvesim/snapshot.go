package pvesim

import (
	"maps"
	"slices"
	"strconv"
)

// snapshot is a state of a machine to come back to.
type snapshot struct {
	Name        string
	Parent      string
	Description string
	Time        int64  // unix seconds
	State       string // prepare while it is made, delete while it goes
	VMState     string // volid of the machine's memory; "" is none
	Config      map[string]string
	Held        []held
}

// held is a disk as a snapshot knows it.
type held struct {
	Volid    string
	Size     int64 // bytes
	SizeText string
	Used     int64 // bytes that held data
	Kept     int64 // bytes overwritten since, which the image keeps for the snapshot
	Content  uint64
}

// take notes a machine's configuration and its disks.
func (sn *snapshot) take(g *guest) {
	sn.Config = g.config()
	for key := range sn.Config {
		if key == "description" || unusedKey.MatchString(key) || slices.Contains(momentary, key) {
			delete(sn.Config, key)
		}
	}
	sn.Held = nil
	for _, d := range g.sorted() {
		sn.Held = append(sn.Held, held{
			Volid: d.volid(g.VMID), Size: d.Size, SizeText: d.SizeText, Used: d.Used, Content: d.Content,
		})
	}
}

// lines are a snapshot's section of the configuration.
func (sn *snapshot) lines() map[string]string {
	c := maps.Clone(sn.Config)
	if c == nil {
		c = map[string]string{}
	}
	c["snaptime"] = strconv.FormatInt(sn.Time, 10)
	for key, value := range map[string]string{"description": sn.Description, "parent": sn.Parent, "vmstate": sn.VMState} {
		if value != "" {
			c[key] = value
		}
	}
	return c
}

// getSnapshots lists them, in no order; the last entry is the machine as it is.
func getSnapshots(s *Sim, c *call) answer {
	g, missing := s.here(c)
	if missing != nil {
		return *missing
	}
	out := []map[string]any{}
	for _, sn := range g.Snaps {
		e := map[string]any{"name": sn.Name, "snaptime": sn.Time, "description": sn.Description, "vmstate": bit(sn.VMState != "")}
		if sn.Parent != "" {
			e["parent"] = sn.Parent
		}
		if sn.State != "" {
			e["snapstate"] = sn.State
		}
		out = append(out, e)
	}
	now := map[string]any{"name": "current", "description": "You are here!", "digest": g.digest(), "running": bit(g.Running)}
	if parent := g.Config["parent"]; parent != "" {
		now["parent"] = parent
	}
	return ok(append(out, now))
}

func getSnapshotIndex(*Sim, *call) answer {
	return ok([]map[string]string{{"cmd": "rollback"}, {"cmd": "config"}})
}

// getSnapshotConfig is a snapshot's section, without the digest that GET
// config with snapshot has.
func getSnapshotConfig(s *Sim, c *call) answer {
	g, missing := s.here(c)
	if missing != nil {
		return *missing
	}
	sn := g.snapshot(c.params.get("snapname"))
	if sn == nil {
		return fail(500, "snapshot '%s' does not exist", c.params.get("snapname"))
	}
	return ok(s.values(sn.lines()))
}

// putSnapshotConfig changes a snapshot's description.
func putSnapshotConfig(s *Sim, c *call) answer {
	g, missing := s.here(c)
	if missing != nil {
		return *missing
	}
	if s.fileHeld(g.VMID, false) {
		return s.heldUp(g.VMID, lockWait)
	}
	if msg := lockedBy(g); msg != "" {
		return fail(500, "%s", msg)
	}
	sn := g.snapshot(c.params.get("snapname"))
	if sn == nil {
		return fail(500, "snapshot '%s' does not exist", c.params.get("snapname"))
	}
	if c.params.has("description") {
		sn.Description = c.params.get("description")
	}
	return ok(nil)
}

func postSnapshot(s *Sim, c *call) answer {
	name := c.params.get("snapname")
	if name == "current" || name == "pending" {
		return fail(500, "unable to use snapshot name '%s' (reserved name)", name)
	}
	if _, missing := s.here(c); missing != nil {
		return *missing
	}
	return s.startWork(c, "qmsnapshot", &work{Kind: "snapshot", VMID: c.vmid(), Opt: c.options("snapname", "description", "vmstate")})
}

func deleteSnapshot(s *Sim, c *call) answer {
	return s.startWork(c, "qmdelsnapshot", &work{Kind: "delsnapshot", VMID: c.vmid(), Opt: c.options("snapname", "force")})
}

// postRollback: 9.1.10 and later want the right to start as well, when the
// machine is to be started (differences, A3).
func postRollback(s *Sim, c *call) answer {
	if s.release.nine && c.params.boolean("start", false) {
		if a := s.demand(c.who, "/vms/"+itoa(c.vmid()), "VM.PowerMgmt"); a != nil {
			return *a
		}
	}
	return s.startWork(c, "qmrollback", &work{Kind: "rollback", VMID: c.vmid(), Opt: c.options("snapname", "start")})
}
