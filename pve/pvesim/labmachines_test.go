package pvesim

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The machines of the topics on what is done with machines, and what happens to them between the recorded steps.

var onMachines = map[string]bool{
	"03-config-resize": true, "04-power": true, "05-snapshots": true, "07-restore": true, "09-locks": true,
	"11-clone-template-cloudinit-destroy": true, "90-nine-only": true,
}

func numbered(vmid int, xs []Guest) *Guest {
	for i := range xs {
		if xs[i].VMID == vmid {
			return &xs[i]
		}
	}
	return nil
}

const odd = 5368710120 // bytes of a disk that was resized by 1000

// oddIdle is machine 102 after topic 03.
func oddIdle(g *Guest) {
	for _, do := range []func(*Guest){diskSize(odd, ""), line("sockets", "1"), line("boot", "order=scsi0;net0"), line("scsi1", "data:102/vm-102-disk-0.qcow2,size=67109K")} {
		do(g)
	}
}

func options(text string) func(*Guest) { return func(g *Guest) { g.Disks[0].Options = text } }

func snapshots(names ...string) func(*Guest) { return func(g *Guest) { g.Snapshots = names } }

// machinesOf are the machines that a topic on machines begins with.
func machinesOf(release, topic string) []Guest {
	const data = 300 * mib
	nine := release == "9.2"
	web := labGuest(100, "web1", 344064, withArgs)
	db := labGuest(101, "db1", 0, volume1("101/vm-101-disk-0.raw"), blank)
	idle := labGuest(102, "idle1", 331776, blank)
	out := []Guest{web, db, idle, labGuest(110, "data110", data, withArgs), labGuest(111, "data111", data, withArgs), labGuest(112, "data112", data, withArgs)}
	g := func(vmid int) *Guest { return numbered(vmid, out) }
	grown := func() {
		g(100).Disks[0].Size, g(101).Disks[0].Size = 1536*mib, 1536*mib
		options("iops_wr=300,mbps_rd=20")(g(100))
	}
	switch topic {
	case "03-config-resize":
		g(101).Running = true
		g(100).Running = !nine
		if nine {
			snapshots("noram")(g(100))
			snapshots("second")(g(102))
			line("description", "desc later")(g(102))
		}
	case "04-power":
		grown()
		g(100).Running, g(101).Running = true, true
		oddIdle(g(102))
		if nine {
			g(100).Cores, g(100).Memory = 2, 160
			snapshots("noram")(g(100))
			g(100).Disks = append(g(100).Disks, Disk{Storage: "local", Volume: "100/vm-100-state-withram.raw", Size: 96768000, Used: 96768000, Loose: true})
		}
	case "05-snapshots":
		g(100).Running = true
		if nine {
			g(101).Running = true
			break
		}
		grown()
		oddIdle(g(102))
	case "07-restore":
		if nine {
			g(101).Running = true
			snapshots("second")(g(102))
		} else {
			grown()
			oddIdle(g(102))
		}
		out = append(out, labGuest(120, "cust120", data, blank))
	case "09-locks":
		grown()
		oddIdle(g(102))
		snapshots("second")(g(102))
		if nine {
			g(102).Memory = 256
		} else {
			line("description", "desc later")(g(102))
			delete(g(102).Config, "scsi1")
			line("unused0", "data:102/vm-102-disk-0.qcow2")(g(102))
		}
	case "11-clone-template-cloudinit-destroy":
		grown()
		oddIdle(g(102))
		snapshots("second")(g(102))
		g(100).Running = nine
		if nine {
			g(100).Memory = 160
		} else {
			delete(g(102).Config, "scsi1")
			line("unused0", "data:102/vm-102-disk-0.qcow2")(g(102))
		}
	case "90-nine-only":
		oddIdle(g(102))
		out = append(out, labGuest(180, "nine180", 331776), labGuest(182, "chain182", 331776))
		g(182).Disks[0].Storage = "local"
	}
	return out
}

// effects are what tasks of the lab did that no recorded call started: machines that its scripts started and stopped
// between two steps.
func (r *replay) effect(t labTask) {
	var named task
	named.read(t.UPID)
	vmid, err := strconv.Atoi(named.ID)
	if err != nil || t.Exit != "OK" || !onMachines[r.topic] {
		return
	}
	switch named.Type {
	case "qmstart":
		_ = r.sim.SetGuestRunning(vmid, true)
	case "qmstop", "qmshutdown":
		_ = r.sim.SetGuestRunning(vmid, false)
	}
}

// machineEvents are the steps of the topics on machines between the recorded ones.
var machineEvents = map[string]func(*replay){
	"04-power: reboot 100 (guest reacts to ACPI)": func(r *replay) {
		// In the 9.2 lab it was not up yet, the first time.
		r.times["reboot"]++
		_ = r.sim.SetGuest(100, func(g *Guest) { g.Deaf = r.release == "9.2" && r.times["reboot"] == 1 })
	},
	"04-power: stop with timeout=1":                slowQuit(100, "8.4"),
	"05-snapshots: rollback to noram with start=1": slowQuit(100),
	"04-power: start missing VM":                   func(r *replay) { _ = r.sim.SetGuest(100, func(g *Guest) { g.Quits = 0 }) },
	"04-power: stop / task end status": func(r *replay) { // the second part was recorded later
		_ = r.sim.SetGuest(100, func(g *Guest) { g.Cores = 1 })
	},
	"04-power: status right after reboot task": func(r *replay) {
		_ = r.sim.SetGuest(100, func(g *Guest) { g.Deaf = false })
		if r.release == "8.4" { // the program that starts it again was not installed well
			r.sim.st.Again = nil
			_ = r.sim.SetGuestRunning(100, false)
		}
	},
}

// byItself says whether the simulator makes such a task too, by itself: the start after a reboot.
func (r *replay) byItself(t labTask) bool {
	var named task
	named.read(t.UPID)
	return onMachines[r.topic] && named.Type == "qmstart" && named.User == root && t.own == 0
}

// pairOthers pairs the tasks that both sides began by themselves, as a list shows them.
func (r *replay) pairOthers(x, answered exchange) {
	var theirs, ours []pastTask
	if !onMachines[r.topic] || !strings.HasSuffix(x.Path, "/tasks") || !x.data(&theirs) || !answered.data(&ours) {
		return
	}
	for _, a := range theirs {
		if !strings.HasSuffix(a.UPID, ":"+root+":") || r.names[a.UPID] != "" || !strings.Contains(a.UPID, ":qmstart:") {
			continue
		}
		for _, b := range ours {
			var t, o task
			if t.read(a.UPID) && o.read(b.UPID) && o.User == root && o.Type == t.Type && o.ID == t.ID && r.toTheirs.Replace(b.UPID) == b.UPID {
				r.pair(a.UPID, b.UPID)
				break
			}
		}
	}
}

// slowQuit lets a machine's QEMU take a second to end.
func slowQuit(vmid int, releases ...string) func(*replay) {
	return func(r *replay) {
		if len(releases) == 0 || slices.Contains(releases, r.release) {
			_ = r.sim.SetGuest(vmid, func(g *Guest) { g.Quits = time.Second })
		}
	}
}

func init() { maps.Copy(worldEvents, machineEvents) }
