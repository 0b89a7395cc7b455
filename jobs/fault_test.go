package jobs_test

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"stowage/portal"
	"stowage/pve/pvesim"
)

// trouble is one way in which the world goes wrong at one call, and for how long.
type trouble struct {
	name  string
	fault pvesim.Fault
	lasts time.Duration // faults of the world; 0: this one call only
}

const (
	mutation = `/vzdump$|/content/|/snapshot|/qemu$|/qemu/\d+/(?:config|resize|status/\w+)$`
	listings = `/storage/[^/]+/content$`
	tasks    = `/tasks$|/tasks/`
)

// troubles are all faults of the simulator. Those of one call hit the Nth that fits, Nth going over all of them.
func troubles() []trouble {
	return []trouble{
		{"refused 500", pvesim.Fault{Kind: pvesim.Refuse, Status: 500, Reason: "internal error"}, 0},
		{"refused 595", pvesim.Fault{Kind: pvesim.Refuse, Status: 595, Reason: "Connection refused"}, 0},
		{"lost answer", pvesim.Fault{Kind: pvesim.LostAnswer}, 0},
		{"lost request", pvesim.Fault{Kind: pvesim.LostRequest}, 0},
		{"late effect", pvesim.Fault{Kind: pvesim.LateEffect, Method: "POST", For: 2 * time.Minute}, 0},
		{"late deletion", pvesim.Fault{Kind: pvesim.LateEffect, Method: "DELETE", For: 2 * time.Minute}, 0},
		{"task fails at once", pvesim.Fault{Kind: pvesim.TaskFails, Path: mutation, Share: 0}, 0},
		{"task fails half-way", pvesim.Fault{Kind: pvesim.TaskFails, Path: mutation, Share: 0.5}, 0},
		{"task refused by a lock", pvesim.Fault{Kind: pvesim.TaskFails, Path: mutation, Share: 0, Line: "can't lock file '/var/lock/qemu-server/lock-100.conf' - got timeout"}, 0},
		{"task killed", pvesim.Fault{Kind: pvesim.TaskKilled, Path: mutation, Share: 0.5}, 0},
		{"unexpected status", pvesim.Fault{Kind: pvesim.UnexpectedStatus, Path: mutation}, 0},
		{"no worker upid", pvesim.Fault{Kind: pvesim.GotNoWorkerUPID, Path: mutation}, 0},
		{"no worker upid, works", pvesim.Fault{Kind: pvesim.GotNoWorkerUPID, Path: mutation, Works: true}, 0},
		{"OK without a task", pvesim.Fault{Kind: pvesim.OKInsteadOfUPID, Path: `/vzdump$`}, 0},
		{"empty listing", pvesim.Fault{Kind: pvesim.EmptyListing, Path: listings}, 0},
		{"truncated listing", pvesim.Fault{Kind: pvesim.TruncatedListing, Path: listings}, 0},
		{"empty task list", pvesim.Fault{Kind: pvesim.EmptyListing, Path: tasks}, 0},
		{"node down", pvesim.Fault{Kind: pvesim.NodeDown, Node: "pve1"}, 20 * time.Minute},
		{"daemon down", pvesim.Fault{Kind: pvesim.DaemonDown, Node: "pve1"}, 20 * time.Minute},
		{"storage full", pvesim.Fault{Kind: pvesim.StorageFull, Storage: "local"}, 20 * time.Minute},
		{"storage gone", pvesim.Fault{Kind: pvesim.StorageGone, Storage: "local"}, 20 * time.Minute},
		{"clock skew", pvesim.Fault{Kind: pvesim.ClockSkew, For: 10 * time.Minute}, 20 * time.Minute},
	}
}

// everyTrouble are those and what only work on a machine itself can meet.
func everyTrouble() []trouble {
	return append(troubles(), trouble{"hotplug fails", pvesim.Fault{Kind: pvesim.HotplugFails, Path: `/config$`}, 0})
}

// strike makes trouble at the nth call.
func (w *world) strike(tr trouble, nth int) {
	if tr.lasts == 0 {
		f := tr.fault
		f.Nth, f.Count = nth, 1
		w.sim.Inject(f)
		return
	}
	w.onCall = append(w.onCall, func(n int) {
		if n == nth {
			remove := w.sim.Inject(tr.fault)
			w.cures = append(w.cures, remove)
			until := w.clock.Now().Add(tr.lasts)
			w.onStep = append(w.onStep, func() {
				if remove != nil && !w.clock.Now().Before(until) {
					remove()
					remove = nil
				}
			})
		}
	})
}

// unlockLater is the member of staff who sees a lock whose task is dead and releases it on the host.
func (w *world) unlockLater() {
	var since time.Time
	w.onStep = append(w.onStep, func() {
		w.goOnLater()
		locked := false
		for _, g := range w.sim.Guests() {
			locked = locked || g.VMID == 100 && g.Lock != ""
		}
		running := false
		for _, task := range w.sim.Tasks() {
			running = running || task.Running()
		}
		switch now := w.clock.Now(); {
		case !locked || running:
			since = time.Time{}
		case since.IsZero():
			since = now
		case now.Sub(since) > 10*time.Minute:
			if err := w.sim.Unlock(100); err != nil {
				w.t.Fatal(err)
			}
		}
	})
}

// strikesAt gives the numbers of the calls at which trouble is made, of all that it fits, as the simulator counts them: each
// of them, or every so-manieth, beginning with another one for each first.
func (tr trouble) strikesAt(sc scenario, first int, calls []callSeen) (at []int) {
	path := regexp.MustCompile(tr.fault.Path)
	n := 0
	for _, c := range calls {
		reads := c.method == http.MethodGet
		switch tr.fault.Kind {
		case pvesim.EmptyListing, pvesim.TruncatedListing:
			if !reads {
				continue
			}
		case pvesim.LateEffect, pvesim.TaskFails, pvesim.TaskKilled, pvesim.UnexpectedStatus, pvesim.OKInsteadOfUPID, pvesim.GotNoWorkerUPID, pvesim.HotplugFails:
			if reads {
				continue
			}
		}
		if (tr.fault.Method == "" || tr.fault.Method == c.method) && path.MatchString(strings.TrimPrefix(c.path, "/api2/json")) {
			n++
		}
	}
	step := sc.faults
	if everything() {
		step = 1
	}
	step = min(max(step, 1), max(n, 1))
	for nth := 1 + first%step; nth <= n; nth += step {
		at = append(at, nth)
	}
	return at
}

// everything tells whether no sample is enough: EVERYTHING=1 strikes at each call, write and point of every scenario.
func everything() bool { return os.Getenv("EVERYTHING") != "" }

// afterTrouble is the end that a scenario must come to when something went wrong on the way: a slot is always
// done; what a person asked for is done, or has failed without any damage.
func (sc scenario) afterTrouble() scenario {
	strict := sc.end
	if sc.troubled != nil {
		sc.end = sc.troubled
		return sc
	}
	if sc.person {
		sc.end = func(w *world) error {
			_, err := restoredOrWhole(w)
			return err
		}
		return sc
	}
	if sc.do != nil {
		sc.end = func(w *world) error {
			err := strict(w)
			if err == nil {
				return nil
			}
			if got := len(w.complete()); got < w.sc.copies {
				return fmt.Errorf("%d copies, there were %d (%w)", got, w.sc.copies, err)
			}
			for _, op := range w.operations() {
				if op.State == portal.StateFailed && op.Reason != "" {
					return nil
				}
			}
			return err
		}
	}
	return sc
}

// TestFaultEverywhere lets every fault strike once at every call of every workflow; where that is much, at a sample of the
// calls that is another one for each fault and workflow, unless EVERYTHING=1.
func TestFaultEverywhere(t *testing.T) {
	t.Parallel()
	for k, sc := range scenarios() {
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			snap := sc.prepare(t)
			sc := sc.afterTrouble()
			clean := snap.resume(t, sc)
			if err := clean.play(); err != nil {
				t.Fatalf("without any fault: %v\n%s", err, clean.story())
			}
			runs := 0
			for i, tr := range everyTrouble() {
				for _, nth := range tr.strikesAt(sc, i+k, clean.calls) {
					w := snap.resume(t, sc)
					w.unlockLater()
					w.strike(tr, nth)
					err := w.play()
					if err != nil {
						t.Errorf("%s at call %d of %d: %v\n%s", tr.name, nth, len(clean.calls), err, w.story())
					}
					w.close()
					if runs++; err != nil {
						break
					}
				}
			}
			t.Logf("%d runs, %d calls", runs, len(clean.calls))
		})
	}
}
