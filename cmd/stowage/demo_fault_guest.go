package main

import (
	"slices"
	"strconv"
	"time"

	"stowage/handlers"
	"stowage/portal"
	"stowage/pve/pvesim"
)

// The faults of single machines: what was done to them lies in the world itself.

func (d *demoFaults) killedTask() mischief {
	return mischief{
		FaultKind: handlers.FaultKind{
			Kind: "task", Title: "Kill a running backup", Button: "Kill it",
			What:  "Its process on the host dies without a word, and the lock of the machine stays.",
			Watch: "What was written does not count as a backup. The operation says that it is tried again, and when. Unlock the machine before that and the next try makes the one copy; otherwise it ends and says that the machine is locked.",
		},
		targets: func() (list []handlers.FaultTarget) {
			for _, server := range d.servers() {
				running := d.running(server)
				for _, g := range d.sims[server].Guests() {
					i := slices.IndexFunc(running, func(t pvesim.Task) bool { return t.ID == strconv.Itoa(g.VMID) })
					if g.Lock == "backup" && i >= 0 {
						list = append(list, handlers.FaultTarget{Target: place{server, running[i].ID}.target(), Name: portal.Say("%s on %s", g.Name, running[i].Node)})
					}
				}
			}
			return list
		},
		broken: func() (list []handlers.Fault) {
			for _, server := range d.servers() {
				for _, g := range d.sims[server].Guests() {
					if since, dead := d.deadLock(server, g); dead {
						list = append(list, handlers.Fault{
							Kind: "task", Target: place{server, strconv.Itoa(g.VMID)}.target(), Since: since, Heal: "Unlock it",
							Text: portal.Say("The backup of %s was killed, and its lock stayed.", g.Name),
						})
					}
				}
			}
			return list
		},
		begin: func(target string) error {
			at := placeOf(target)
			running := d.running(at.server)
			i := slices.IndexFunc(running, func(t pvesim.Task) bool { return t.ID == at.thing })
			if i < 0 {
				return portal.Refuse(portal.CodeConflict, "That backup has ended meanwhile.")
			}
			return d.sims[at.server].KillTask(running[i].UPID)
		},
		end: func(target string) error {
			at := placeOf(target)
			vmid, err := strconv.Atoi(at.thing)
			if err != nil {
				return portal.NotFound()
			}
			return d.sims[at.server].Unlock(vmid)
		},
	}
}

// running gives the backups that have begun and not ended.
func (d *demoFaults) running(server string) []pvesim.Task {
	return slices.DeleteFunc(d.sims[server].Tasks(), func(t pvesim.Task) bool { return !t.Running() || t.Type != "vzdump" })
}

// deadLock tells whether a machine is locked for a backup that has ended, and since when.
func (d *demoFaults) deadLock(server string, g pvesim.Guest) (since time.Time, dead bool) {
	if g.Lock != "backup" {
		return since, false
	}
	for _, t := range d.sims[server].Tasks() {
		switch {
		case t.Type != "vzdump" || t.ID != strconv.Itoa(g.VMID):
		case t.Running():
			return since, false
		case t.End.After(since):
			since = t.End
		}
	}
	return since, true
}

func (d *demoFaults) movedMachine() mischief {
	return mischief{
		FaultKind: handlers.FaultKind{
			Kind: "move", Title: "Move a machine to another node", Button: "Move it",
			What:  "An administrator moves it to the next node of its cluster while the portal doesn't look.",
			Watch: "Within seconds its page names the new host. Its backups are all still there, and the next one is made on the new host.",
		},
		targets: func() (list []handlers.FaultTarget) {
			for _, server := range d.servers() {
				for _, g := range d.sims[server].Guests() {
					if g.Lock == "" && homeOf(server, g.VMID) != "" && nextNode(server, g.Node) != "" {
						list = append(list, handlers.FaultTarget{Target: place{server, strconv.Itoa(g.VMID)}.target(), Name: portal.Say("%s, now on %s", g.Name, g.Node)})
					}
				}
			}
			return list
		},
		broken: func() (list []handlers.Fault) {
			for _, server := range d.servers() {
				for _, g := range d.sims[server].Guests() {
					home := homeOf(server, g.VMID)
					if home == "" || home == g.Node {
						continue
					}
					target := place{server, strconv.Itoa(g.VMID)}.target()
					list = append(list, handlers.Fault{
						Kind: "move", Target: target, Since: d.moved[target], Heal: "Move it back",
						Text: portal.Say("%s is on %s; it belongs on %s.", g.Name, g.Node, home),
					})
				}
			}
			return list
		},
		begin: func(target string) error {
			g, err := d.guest(target)
			if err != nil {
				return err
			}
			d.moved[target] = d.now()
			server := placeOf(target).server
			return d.sims[server].Migrate(g.VMID, nextNode(server, g.Node))
		},
		end: func(target string) error {
			g, err := d.guest(target)
			if err != nil {
				return err
			}
			if g.Lock != "" {
				return portal.Refuse(portal.CodeBusy, "%s can't be moved back now: %s. Try again when that has ended.", g.Name, portal.LockWords(g.Lock))
			}
			server := placeOf(target).server
			delete(d.moved, target)
			return d.sims[server].Migrate(g.VMID, homeOf(server, g.VMID))
		},
	}
}

func (d *demoFaults) guest(target string) (pvesim.Guest, error) {
	at := placeOf(target)
	for _, g := range d.sims[at.server].Guests() {
		if strconv.Itoa(g.VMID) == at.thing {
			return g, nil
		}
	}
	return pvesim.Guest{}, portal.NotFound()
}

// homeOf gives the node on which the demo puts a machine, or "".
func homeOf(server string, vmid int) string {
	for _, m := range demoMachines() {
		if m.server == server && m.vmid == vmid {
			return m.node
		}
	}
	return ""
}

// nextNode gives the node after one in its cluster, or "" where there is no other.
func nextNode(server, node string) string {
	for _, s := range demoServers() {
		nodes := s.world.Nodes
		i := slices.IndexFunc(nodes, func(n pvesim.Node) bool { return n.Name == node })
		if s.name == server && i >= 0 && len(nodes) > 1 {
			return nodes[(i+1)%len(nodes)].Name
		}
	}
	return ""
}
