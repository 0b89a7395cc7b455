package pvesim

import (
	"fmt"
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
		out = append(out, labGuest(180, "nine180", 331776, blank))
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
	"07-restore: backup of 111":                    settled,
	"07-restore: config of 110 before":             settled,
	"07-restore: running VM, force=1":              switched(110, true),
	"07-restore: changes after the backup":         settled,
	"07-restore: snapshot s1":                      switched(120, true),
	"07-restore: snapshot ram1":                    settled,
	"07-restore: snapshots before":                 func(r *replay) { settled(r); switched(120, false)(r) },
	"07-restore: description set":                  switched(110, false),
	"07-restore: storage tinyimg (120 MB)": func(r *replay) {
		_ = r.sim.change(func(int64) error {
			r.sim.st.World.Mounts = append(r.sim.st.World.Mounts, Mount{Path: "/srv/tinyimg", Total: 120 * mib})
			return nil
		})
	},
	"07-restore: restore again: heals":            switched(120, false),
	"07-restore: restore again":                   switched(120, false),
	"07-restore: content with broken archives":    broken,
	"07-restore: status after kill":               func(r *replay) { _ = r.sim.KillTask(r.last) },
	"09-locks: lock=suspended, stopped: shutdown": suspendedAnew,
	"09-locks: lock=suspended, stopped: rollback": suspendedAnew,
	"09-locks: lock=suspended, stopped: backup": func(r *replay) {
		if r.release == "9.2" { // another script's backup held the node's lock
			if _, err := r.sim.StartForeignBackup("pve1", 102, "bk2", nil); err != nil {
				r.t.Fatal(err)
			}
		}
	},
	"11-clone-template-cloudinit-destroy: images incl. two stray disks": strayDisks,
	"11-clone-template-cloudinit-destroy: backup job with 161": func(r *replay) {
		r.times["job"]++
		if r.release == "9.2" || r.times["job"] == 2 { // the first time, the 8.4 lab lacked a folder
			_ = r.sim.SetBackupJobs(BackupJob{ID: "job161", VMIDs: "161,100", Storage: "local", Schedule: "daily", Disabled: true})
		}
	},
	"11-clone-template-cloudinit-destroy: create VM with start=1": func(r *replay) { // the lab's pvestatd spoke later
		r.sim.phase["pve1"] = (r.clock.now().UnixMilli() + 5000) % statEvery
	},
	"11-clone-template-cloudinit-destroy: remove the acl": func(r *replay) {
		if r.release == "9.2" {
			_ = r.sim.SetGuestRunning(100, false)
		}
	},
	"11-clone-template-cloudinit-destroy: create pool": func(r *replay) {
		if r.release == "9.2" { // other scripts had made machines
			r.adopt("VM in the pool: resources", true)
		}
	},
	"11-clone-template-cloudinit-destroy: delete the job": func(r *replay) { _ = r.sim.SetBackupJobs() },
	"90-nine-only: snapshot": func(r *replay) {
		_ = r.sim.change(func(int64) error {
			r.sim.st.World.Tokens = append(r.sim.st.World.Tokens, Token{ID: "portal@pve!np", Secret: Secret, PrivSep: true})
			r.sim.st.World.ACL = append(r.sim.st.World.ACL, ACL{Path: "/", Role: "NoPower", Who: "portal@pve!np"})
			r.sim.rightsChanged()
			return nil
		})
	},
	"90-nine-only: POST config while the lock FILE is held (8.4: 500 after 10 s)": func(r *replay) {
		_ = r.sim.HoldLockFile(180, 26300*time.Millisecond)
	},
	"90-nine-only: stop 180 (2)": func(r *replay) {
		_ = r.sim.SetGuest(180, func(g *Guest) { g.Quits = 600 * time.Millisecond })
	},
	"90-nine-only: chain: snapshot c1": func(r *replay) {
		g := labGuest(182, "chain182", 331776)
		g.Disks[0].Storage = "chain"
		takeIdentity(&g, r.xs, 100)
		if err := r.sim.AddGuest(g); err != nil {
			r.t.Fatal(err)
		}
	},
	"07-restore: live-restore=1": switched(120, false),
	"04-power: start missing VM": func(r *replay) { _ = r.sim.SetGuest(100, func(g *Guest) { g.Quits = 0 }) },
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

// broken lays damaged copies of the archive of 120 beside it.
func broken(r *replay) {
	var of Archive
	for _, a := range r.sim.Archives() {
		if a.VMID == 120 && strings.HasSuffix(a.Volid, ".vma.zst") {
			of = a
		}
	}
	for i, one := range []struct {
		damage Damage
		size   int64
		at     float64
	}{{Truncated, 157325248, 0.14}, {Corrupt, of.Size, 0.8}, {Headless, 0, 0}, {Headless, 100000, 0}} {
		a := of
		a.Time = time.Unix(1767225601+int64(i), 0)
		a.Volid, a.Damage, a.Size, a.At = "", one.damage, one.size, one.at
		if err := r.sim.AddArchive(a); err != nil {
			r.t.Fatal(err)
		}
	}
}

// strayDisks puts two images beside those of machine 161, which the lab's script made by hand: the second time only,
// when the machine could be destroyed.
func strayDisks(r *replay) {
	if r.times["strays"]++; r.times["strays"] < 2 {
		return
	}
	_ = r.sim.change(func(int64) error {
		for storage, n := range map[string]int{"local": 9, "data": 8} {
			d := Disk{Storage: storage, Volume: fmt.Sprintf("161/vm-161-disk-%d.qcow2", n), Size: 64 * mib, Used: 200704, Loose: true}
			r.sim.st.Strays = append(r.sim.st.Strays, stray{VMID: 161, Node: "pve1", Disk: d})
		}
		r.sim.images = nil
		return nil
	})
}

// meanArchive pairs the name of an archive that a restore takes with that of the newest one here, when nothing told it
// before: the log of the backup was not fetched.
func (r *replay) meanArchive(x exchange) {
	theirs := archiveName.FindString(fmt.Sprint(x.Params["archive"]))
	if !onMachines[r.topic] || theirs == "" || x.Status != 200 || r.names[theirs] != "" {
		return
	}
	var newest Archive
	for _, a := range r.sim.Archives() {
		if strings.Contains(a.Volid, theirs) {
			return
		}
		if strings.HasPrefix(theirs, fmt.Sprintf("vzdump-qemu-%d-", a.VMID)) && a.Time.After(newest.Time) {
			newest = a
		}
	}
	r.pair(theirs, archiveName.FindString(newest.Volid))
}

// settled lets the last task end: the lab's script did so, without recording it.
func settled(r *replay) { r.waitFor(r.last) }

// switched starts or stops a machine, as a task did that nothing shows.
func switched(vmid int, on bool) func(*replay) {
	return func(r *replay) { _ = r.sim.SetGuestRunning(vmid, on) }
}

func init() {
	for _, lock := range []string{"backup", "clone", "create", "migrate", "rollback", "snapshot", "snapshot-delete", "suspending", "suspended"} {
		machineEvents["09-locks: set lock="+lock+" (stopped VM 130)"] = anew(lockable(130))
		machineEvents["09-locks: set lock="+lock+" (running VM 131)"] = anew(lockable(131, running))
	}
	maps.Copy(worldEvents, machineEvents)
}

// lockable is a machine that topic 09 makes anew for each lock.
func lockable(vmid int, more ...func(*Guest)) Guest {
	g := labGuest(vmid, fmt.Sprintf("lock%d", vmid), 0, append(more, snapshots("s1"))...)
	g.Memory = 64
	delete(g.Config, "serial0")
	return g
}

// suspendedAnew stops machine 130 and sets its lock again, as the lab's script did when a call had taken it off.
func suspendedAnew(r *replay) {
	anew(lockable(130))(r)
	_ = r.sim.SetLock(130, "suspended")
}

// anew makes a machine anew, as the lab's script did between two steps.
func anew(g Guest) func(*replay) {
	return func(r *replay) {
		_ = r.sim.SetGuestRunning(g.VMID, false)
		_ = r.sim.SetLock(g.VMID, "")
		_ = r.sim.DestroyGuest(g.VMID)
		if err := r.sim.AddGuest(g); err != nil {
			r.t.Fatal(err)
		}
	}
}

// archivesOf are archives that a topic restores and doesn't make.
func archivesOf(xs []exchange) []Archive {
	var out []Archive
	seen := map[string]bool{}
	for _, x := range xs {
		volid, _ := x.Params["archive"].(string)
		name := archiveName.FindString(volid)
		var vmid, y, mo, d, h, mi, sec int
		if n, _ := fmt.Sscanf(name, "vzdump-qemu-%d-%d_%d_%d-%d_%d_%d", &vmid, &y, &mo, &d, &h, &mi, &sec); n < 7 || seen[volid] {
			continue
		}
		seen[volid] = true
		out = append(out, Archive{
			Node: "pve1", Storage: "local", Volid: volid, VMID: vmid, Time: time.Date(y, time.Month(mo), d, h, mi, sec, 0, time.UTC),
			Size: 20_000, Config: "memory: 128\n",
		})
	}
	return out
}
