package pvesim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"
)

// walkWorld has a bit of everything: two nodes, files, a shared storage, pools of ZFS, a template.
func walkWorld() World {
	w := ContractWorld(2, 4)
	w.Storages = append(w.Storages,
		Storage{Name: "zfs", Type: "zfspool", Content: []string{"images"}, Total: 12 * gib},
		Storage{Name: "chain", Type: "dir", Content: []string{"images"}, Total: 100 * gib, VolumeChain: true},
	)
	w.Guests[1].Disks = append(w.Guests[1].Disks, Disk{Key: "scsi1", Storage: "zfs", Size: gib, Used: 100 * mib})
	w.Guests[2].Disks = append(w.Guests[2].Disks, Disk{Key: "scsi1", Storage: "shared", Size: gib, Used: 50 * mib})
	w.Guests[0].Agent = "1"
	w.Guests = append(w.Guests, Guest{
		VMID: 104, Node: "pve1", Config: map[string]string{"template": "1", "ide2": "local:cloudinit", "boot": "order=scsi0"},
		Disks: []Disk{{Key: "scsi0", Storage: "chain", Size: gib, Used: 300 * mib}},
	})
	return w
}

// free: nothing works on a machine, so that somebody might move it.
func (l *lab) free(vmid int) bool {
	l.Settle()
	l.mu.Lock()
	defer l.mu.Unlock()
	g := l.guests[vmid]
	return g != nil && g.Lock == "" && !l.fileHeld(vmid, false)
}

// handle does one of the things that people do with machines.
func (l *lab) handle(r *rand.Rand) {
	all := l.Guests()
	g := all[r.IntN(len(all))]
	if g.Lock != "" { // rather one with which something can be done
		g = all[r.IntN(len(all))]
	}
	do := r.IntN(16)
	if do == 9 || do == 10 { // about a snapshot: of one that has some
		if i := slices.IndexFunc(all, func(g Guest) bool { return len(g.Snapshots) > 0 && g.Lock == "" }); i >= 0 {
			g = all[i]
		}
	}
	vm := fmt.Sprintf("/nodes/%s/qemu/%d", g.Node, g.VMID)
	storage := []string{"local", "data", "shared", "zfs", "chain"}[r.IntN(5)]
	newid := 105 + r.IntN(5)
	snap := fmt.Sprintf("snap%d", r.IntN(3))
	if n := len(g.Snapshots); n > 0 && (do == 9 || do == 10) && r.IntN(8) > 0 {
		snap = g.Snapshots[n-1-r.IntN(min(n, 2))]
	}
	switch do {
	case 0, 1, 2:
		pairs := [][]any{
			{"description", fmt.Sprint("as of ", r.IntN(100))}, {"cores", 1 + r.IntN(4)}, {"memory", 128 << r.IntN(3)}, {"name", fmt.Sprint("n", r.IntN(9))},
			{fmt.Sprint("scsi", 1+r.IntN(3)), storage + ":1,format=qcow2"}, {"scsi3", storage + ":1,format=raw"}, {"net0", "virtio,bridge=vmbr0"},
			{"delete", fmt.Sprint("scsi", r.IntN(4))}, {"delete", "unused0"}, {"delete", "net0"}, {"delete", "scsi1", "force", 1}, {"revert", "memory"},
			{"description", "late", "digest", strings.Repeat("0", 40)}, {"onboot", 1}, {"tags", "a;b"}, {"cipassword", "geheim", "ciuser", "me"},
		}[r.IntN(16)]
		if unused := l.get(vm+"/config", "current", 1).object()["unused0"]; unused != nil && r.IntN(3) == 0 {
			pairs = []any{fmt.Sprint("scsi", 1+r.IntN(3)), unused}
		}
		l.call([]string{"PUT", "POST"}[r.IntN(2)], vm+"/config", pairs...)
	case 3:
		l.call("PUT", vm+"/resize", "disk", fmt.Sprint("scsi", r.IntN(2)), "size", []string{"+100M", "+1G", "2G", "512M"}[r.IntN(4)])
	case 4, 5:
		l.call("POST", vm+"/status/"+[]string{"start", "start", "stop", "shutdown", "reboot", "reset", "suspend", "resume"}[r.IntN(8)])
	case 6:
		l.call("POST", vm+"/status/suspend", "todisk", 1)
	case 7, 8:
		l.call("POST", vm+"/snapshot", "snapname", snap, "vmstate", r.IntN(2))
	case 9:
		l.call("DELETE", vm+"/snapshot/"+snap, "force", r.IntN(2))
	case 10:
		l.call("POST", vm+"/snapshot/"+snap+"/rollback", "start", r.IntN(2))
	case 11, 12:
		archives := l.Archives()
		if len(archives) == 0 {
			return
		}
		a := archives[r.IntN(len(archives))]
		vmid, node := a.VMID, l.nodeOf(a.VMID)
		if r.IntN(4) == 0 {
			vmid = newid
		}
		pairs := []any{"vmid", vmid, "archive", a.Volid, "force", 1, "start", r.IntN(2), "unique", r.IntN(2)}
		if r.IntN(2) == 0 {
			pairs = append(pairs, "storage", storage)
		}
		if r.IntN(3) == 0 { // some are broken
			_ = l.SetArchive(a.Node, a.Volid, func(a *Archive) {
				a.Damage, a.At = []Damage{Truncated, Corrupt, Headless}[r.IntN(3)], r.Float64()
			})
		}
		if r.IntN(4) > 0 {
			l.call("POST", fmt.Sprintf("/nodes/%s/qemu/%d/status/stop", node, vmid))
			l.wait(time.Second)
		}
		l.call("POST", "/nodes/"+node+"/qemu", pairs...)
	case 13:
		pairs := []any{"newid", newid}
		if r.IntN(2) == 0 {
			pairs = append(pairs, "full", 1, "storage", storage)
		}
		l.call("POST", vm+"/clone", pairs...)
		if r.IntN(4) == 0 {
			l.call("POST", fmt.Sprintf("/nodes/%s/qemu/%d/template", l.nodeOf(newid), newid))
		}
	case 14:
		l.call("DELETE", fmt.Sprintf("/nodes/%s/qemu/%d", l.nodeOf(newid), newid), "purge", r.IntN(2), "destroy-unreferenced-disks", r.IntN(2))
	case 15:
		switch r.IntN(4) {
		case 0:
			l.call("POST", vm+"/move_disk", "disk", fmt.Sprint("scsi", r.IntN(2)), "storage", storage, "delete", r.IntN(2))
		case 1:
			l.call("PUT", vm+"/cloudinit")
		case 2:
			l.call("POST", vm+"/agent/set-user-password", "username", "root", "password", "geheim1")
		case 3:
			_ = l.WriteDisk(g.VMID, "scsi0", int64(r.IntN(200))*mib, int64(r.IntN(50))*mib)
		}
	}
}

// ofLock are the kinds of tasks that set a lock.
var ofLock = map[string][]string{
	"backup": {"vzdump"}, "snapshot": {"qmsnapshot"}, "snapshot-delete": {"qmdelsnapshot"}, "rollback": {"qmrollback"},
	"create": {"qmcreate", "qmrestore"}, "clone": {"qmclone"}, "suspending": {"qmsuspend"}, "suspended": {"qmsuspend"}, "destroyed": {"qmdestroy"},
	"disk": {"qmmove"},
}

// concerns says whether a task works or worked on a machine.
func (t *task) concerns(vmid int) bool {
	switch {
	case t.Work != nil:
		return t.Work.VMID == vmid
	case t.Dump != nil:
		return slices.Contains(t.Dump.VMIDs, vmid)
	}
	return t.ID == itoa(vmid)
}

// holdMachines checks every machine: what it owns, what locks it, what its snapshots need.
func (l *lab) holdMachines(seed uint64) {
	s := l.Sim
	wrong := func(g *guest, format string, args ...any) {
		l.t.Helper()
		l.t.Errorf("seed %d: machine %d: %s", seed, g.VMID, fmt.Sprintf(format, args...))
	}
	owners := map[string]string{}
	own := func(storage, node, volume, who string) {
		place := fmt.Sprint(s.imageKey(storage, node), volume)
		if other, taken := owners[place]; taken {
			l.t.Errorf("seed %d: %s:%s on %s is of %s and of %s", seed, storage, volume, node, other, who)
		}
		owners[place] = who
	}
	for _, o := range s.st.Strays {
		own(o.Disk.Storage, o.Node, o.Disk.Volume, "nobody")
	}
	for _, g := range s.st.Guests {
		if g.Lock != "" && !s.lockHasCause(g) {
			wrong(g, "no task explains the lock %q", g.Lock)
		}
		named := map[string]bool{}
		for i := range g.Disks {
			d := &g.Disks[i]
			if d.owner(g.VMID) == g.VMID {
				own(d.Storage, g.Node, d.Volume, itoa(g.VMID))
			}
			if !d.Loose && named[d.Key] {
				wrong(g, "%s twice", d.Key)
			}
			named[d.Key] = true
			if d.Size <= 0 || d.Used < 0 || d.Used > d.Size+s.fresh(d) {
				wrong(g, "%s has %d bytes of %d in use", d.Volume, d.Used, d.Size)
			}
		}
		for _, key := range g.unused() {
			d := g.volume(g.Config[key])
			if d == nil || !d.Loose {
				wrong(g, "%s is %s, which is not there or in use", key, g.Config[key])
			}
		}
		l.holdSnapshots(g, wrong)
		if g.Stump && (slices.ContainsFunc(g.Disks, func(d Disk) bool { return !d.Loose }) || g.UUID != "") && !s.underRestore(g.VMID) {
			wrong(g, "a stump with %d disks, identity %q", len(g.sorted()), g.UUID)
		}
		if !g.Running && (g.Paused || g.Prelaunch || g.PID != 0) || g.Running && g.PID == 0 {
			wrong(g, "runs %t, paused %t, prelaunch %t, process %d", g.Running, g.Paused, g.Prelaunch, g.PID)
		}
	}
}

// holdSnapshots: their volumes are there, their parents too, and nothing keeps the memory of one that is gone.
func (l *lab) holdSnapshots(g *guest, wrong func(*guest, string, ...any)) {
	memories := map[string]bool{g.Config["vmstate"]: true}
	parents := map[string]string{"itself": g.Config["parent"]}
	names := map[string]bool{"": true}
	for _, sn := range g.Snaps {
		if names[sn.Name] {
			wrong(g, "two snapshots %s", sn.Name)
		}
		names[sn.Name], parents[sn.Name], memories[sn.VMState] = true, sn.Parent, true
		if sn.VMState != "" && g.volume(sn.VMState) == nil {
			wrong(g, "the memory of %s is gone", sn.Name)
		}
		for _, h := range sn.Held {
			if g.volume(h.Volid) == nil {
				wrong(g, "%s holds %s, which is gone", sn.Name, h.Volid)
			}
			if h.Kept < 0 || h.Kept > h.Used {
				wrong(g, "%s keeps %d of %d bytes", sn.Name, h.Kept, h.Used)
			}
		}
	}
	for of, parent := range parents {
		if !names[parent] {
			wrong(g, "%s stands on %s, which is gone", of, parent)
		}
	}
	for _, d := range g.Disks {
		if strings.Contains(d.Volume, "-state-") && !strings.Contains(d.Volume, "-suspend-") && !memories[d.volid(g.VMID)] {
			wrong(g, "%s is nobody's", d.Volume)
		}
	}
	if len(g.Snapshots) != len(g.Snaps) {
		wrong(g, "%d snapshots, %d names", len(g.Snaps), len(g.Snapshots))
	}
}

// lockHasCause: a task that sets such a lock works, or the last one that did so ended badly; a machine that was
// suspended stays so.
func (s *Sim) lockHasCause(g *guest) bool {
	for _, t := range slices.Backward(s.st.Tasks) {
		if t.concerns(g.VMID) && slices.Contains(ofLock[g.Lock], t.Type) && (t.Work == nil || t.Work.Started) {
			return t.End == 0 || t.Exit != "OK" || g.Lock == "suspended"
		}
	}
	return false
}

func (s *Sim) underRestore(vmid int) bool {
	return slices.ContainsFunc(s.active, func(t *task) bool { return t.Work != nil && t.Work.Restore != nil && t.Work.VMID == vmid })
}

// holdDigests looks over HTTP whether a configuration's digest changes with what it says, and with nothing else.
func (l *lab) holdDigests(seed uint64, seen map[string]string) {
	l.t.Helper()
	for _, g := range l.Guests() {
		vm := fmt.Sprintf("/nodes/%s/qemu/%d", g.Node, g.VMID)
		now := l.get(vm+"/config", "current", 1)
		digest, _ := now.object()["digest"].(string)
		if digest == "" {
			continue // its node is down
		}
		delete(now.object(), "digest")
		var lines []string
		for _, e := range l.get(vm + "/pending").list() {
			if e["key"] != "digest" {
				lines = append(lines, fmt.Sprint(e))
			}
		}
		slices.Sort(lines)
		said := fmt.Sprint(now.object(), lines)
		for _, sn := range l.get(vm + "/snapshot").list() {
			if sn["name"] != "current" {
				said += fmt.Sprint(sn, l.get(vm+"/snapshot/"+sn["name"].(string)+"/config").object())
			}
		}
		if before, known := seen[digest]; known && before != said {
			l.t.Errorf("seed %d: machine %d has one digest for\n%s\nand\n%s", seed, g.VMID, before, said)
		}
		if before, known := seen[said]; known && before != digest {
			l.t.Errorf("seed %d: machine %d has two digests for\n%s", seed, g.VMID, said)
		}
		seen[digest], seen[said] = said, digest
	}
}

// sameAgain: one that is loaded from the journal, as the last change left it, is the same.
func (l *lab) sameAgain(seed uint64, o Options) {
	l.t.Helper()
	if err := l.SetBackupJobs(); err != nil {
		l.t.Error(err)
	}
	again := l.reopen(o)
	if d := cmp.Diff([]any{l.Guests(), l.Archives(), l.Tasks()}, []any{again.Guests(), again.Archives(), again.Tasks()}); d != "" {
		l.t.Errorf("seed %d: loaded from its journal it is another: %s", seed, d)
	}
}
