package pvesim

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

var walkSeed = flag.Uint64("walk-seed", 0, "the seed of TestRandomWalk's first walk; 0 is any")

// TestRandomWalk lets clients, others and faults do anything for a while and
// looks at what must hold all the time.
func TestRandomWalk(t *testing.T) {
	t.Parallel()
	seed := cmp.Or(*walkSeed, uint64(time.Now().UnixNano()))
	for run := range uint64(40) {
		walk(t, seed+run)
		if t.Failed() {
			t.Fatalf("seed %d", seed+run)
		}
	}
}

func walk(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	o := Options{Seed: seed, Release: []string{"8.4", "9.2"}[r.IntN(2)]}
	if r.IntN(4) == 0 {
		o.Journal = t.TempDir()
	}
	l := newLab(t, walkWorld(), o)
	digests := map[string]string{}
	var undo []func()
	kinds := []Kind{
		LostAnswer, LostRequest, LateEffect, TaskFails, TaskKilled, UnexpectedStatus, HotplugFails, OKInsteadOfUPID, GotNoWorkerUPID,
		EmptyListing, TruncatedListing, MigrateNow, NodeDown, DaemonDown, StorageFull, StorageGone, ClockSkew,
	}
	storages := []string{"local", "tiny", "keep2", "shared"}
	for step := range 160 {
		if t.Failed() {
			return
		}
		if o.Journal != "" && step == 80 {
			l.sameAgain(seed, o)
		}
		vmid, storage, node := 100+r.IntN(4), storages[r.IntN(4)], fmt.Sprintf("pve%d", 1+r.IntN(2))
		if r.IntN(2) == 0 {
			l.handle(r)
			l.hold(seed)
			continue
		}
		switch r.IntN(14) {
		case 0, 1, 2:
			l.call("POST", "/nodes/"+node+"/vzdump", "vmid", vmid, "storage", storage, "compress", "zstd", "remove", r.IntN(2), "lockwait", r.IntN(3), "bwlimit", []int{0, 20000}[r.IntN(2)])
		case 3:
			if all := l.Archives(); len(all) > 0 {
				a := all[r.IntN(len(all))]
				l.call("DELETE", "/nodes/"+node+"/storage/"+a.Storage+"/content/"+a.Volid)
			}
		case 4:
			if all := l.Archives(); len(all) > 0 {
				a := all[r.IntN(len(all))]
				l.call("PUT", "/nodes/"+node+"/storage/"+a.Storage+"/content/"+a.Volid, "protected", r.IntN(2), "notes", "x")
			}
		case 5:
			if all := l.Tasks(); len(all) > 0 {
				l.call("DELETE", "/nodes/"+node+"/tasks/"+all[r.IntN(len(all))].UPID)
			}
		case 6:
			if all := l.Tasks(); len(all) > 0 {
				_ = l.KillTask(all[r.IntN(len(all))].UPID)
			}
		case 7:
			_ = l.Unlock(vmid)
			_ = l.SetGuestRunning(vmid, r.IntN(2) == 0)
		case 8:
			if l.free(vmid) {
				_ = l.Migrate(vmid, node)
			}
		case 9:
			f := Fault{
				Kind: kinds[r.IntN(len(kinds))], Node: node, Storage: storage, Share: r.Float64(),
				For: time.Duration(r.IntN(90)) * time.Second, Count: r.IntN(3),
			}
			undo = append(undo, l.Inject(f))
		case 10:
			for _, do := range undo {
				do()
			}
			undo = nil
		case 11:
			_ = l.SetNodeOnline(node, r.IntN(3) > 0)
		default:
			l.wait(time.Duration(r.IntN(20_000)) * time.Millisecond)
		}
		for _, p := range []string{"/cluster/resources", "/nodes/" + node + "/tasks?source=all", "/nodes/" + node + "/storage/" + storage + "/content"} {
			if r.IntN(8) == 0 {
				l.get(p)
			}
		}
		l.hold(seed)
		if len(undo) == 0 {
			l.holdDigests(seed, digests)
		}
	}
	// Everything under way comes to an end once nothing goes wrong any more.
	for _, do := range undo {
		do()
	}
	l.wait(5 * time.Hour)
	for _, task := range l.Tasks() {
		if task.Running() {
			t.Errorf("seed %d: runs for ever: %s %q", seed, task.UPID, task.Log)
		}
	}
	l.hold(seed)
	if o.Journal != "" {
		l.sameAgain(seed, o)
	}
}

// hold checks what must hold at any moment.
func (l *lab) hold(seed uint64) {
	l.t.Helper()
	l.Settle()
	s := l.Sim
	s.mu.Lock()
	defer s.mu.Unlock()
	busy := map[string]int{}
	locked := map[int]bool{}
	for _, t := range s.active {
		if t.End != 0 {
			l.t.Errorf("seed %d: an ended task is active", seed)
		}
		if t.Dump != nil && t.Dump.Running {
			busy[t.Node]++
			if t.Dump.Waits != 0 {
				continue
			}
			if t.Dump.Turn == nil {
				l.t.Errorf("seed %d: a job without a machine", seed)
				continue
			}
			locked[t.Dump.Turn.VMID] = true
		}
	}
	for node, n := range busy {
		if n > 1 {
			l.t.Errorf("seed %d: %d backups at once on %s", seed, n, node)
		}
	}
	for _, g := range s.st.Guests {
		if g.Prelaunch && (!g.Running || g.Lock == "" && locked[g.VMID]) {
			l.t.Errorf("seed %d: machine %d waits for a backup that is not there", seed, g.VMID)
		}
	}
	for _, sh := range s.st.Shelves {
		var sum int64
		for _, a := range sh.Archives {
			sum += blocks(a.Size)
		}
		if sum != sh.Used {
			l.t.Errorf("seed %d: %v: counted %d, holds %d", seed, sh.Key, sh.Used, sum)
		}
		if !slices.IsSortedFunc(sh.Archives, func(a, b *archive) int { return byVolid(a, b.Volid) }) {
			l.t.Errorf("seed %d: %v is out of order", seed, sh.Key)
		}
		total, used := s.space(sh.Key, s.nowMS())
		if used > total && s.storage(sh.Key.Storage).Total > 0 && !sh.Key.Below {
			l.t.Errorf("seed %d: %v: %d used of %d", seed, sh.Key, used, total)
		}
	}
	l.holdMachines(seed)
	if len(s.done)+len(s.active) != len(s.st.Tasks) {
		l.t.Errorf("seed %d: %d + %d tasks of %d", seed, len(s.done), len(s.active), len(s.st.Tasks))
	}
}
