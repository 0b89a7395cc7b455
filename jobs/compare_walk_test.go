package jobs_test

import (
	"fmt"
	"hash/fnv"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"stowage/pve/pvesim"
)

// walk is one plan as one scheduler lives it: the hosts under true time, the scheduler under a clock of its own, and
// the ledger that sees everything.
type walk struct {
	*plan
	t      testing.TB
	clock  *clock // true time, by which the hosts live
	own    *clock // the scheduler's own, which may be wrong
	sim    *pvesim.Sim
	ledger *ledger
	state  []spellState
	locked map[int]time.Time // since when a machine has the lock of a backup, by vmid

	die    func() // ends the scheduler's process, and doesn't return
	asked  map[string]int
	second int64
}

// spellState is how far a spell has come.
type spellState struct {
	begun, over bool
	dead        bool // the process has died in it
	remove      func()
}

// staffSee is how long a lock lies there whose worker is dead before staff release it on the host.
const staffSee = 45 * time.Minute

func (p *plan) walk(t testing.TB) *walk {
	w := &walk{plan: p, t: t, clock: &clock{t: p.begin}, own: &clock{t: p.begin}, state: make([]spellState, len(p.spells)), locked: map[int]time.Time{}, asked: map[string]int{}}
	var err error
	w.sim, err = pvesim.New(p.world, pvesim.Options{Now: w.clock.Now, Speed: 0.05, Seed: p.seed})
	w.must(err)
	w.ledger = newLedger(w)
	return w
}

func (w *walk) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("%v\n%s", err, w.plan)
	}
}

// can tells whether something could be done; what could not is tried again later.
func (w *walk) can(err error) bool { return err == nil }

// now is true time.
func (w *walk) now() time.Time { return w.clock.Now() }

// up tells whether the scheduler's process runs.
func (w *walk) up() bool {
	for i, s := range w.spells {
		if s.down && w.within(s) || s.dies != "" && w.state[i].dead && !w.state[i].over {
			return false
		}
	}
	return true
}

func (w *walk) within(s spell) bool {
	now := w.now()
	return !now.Before(s.from) && now.Before(s.to)
}

// inSpell tells whether anything is wrong now, or was a little ago, that is not one machine's alone.
func (w *walk) inSpell() bool {
	return slices.ContainsFunc(w.spells, func(s spell) bool {
		return s.vmid == 0 && !w.now().Before(s.from) && w.now().Before(s.to.Add(30*time.Minute))
	})
}

// advance lets time pass up to an instant, and everything happen on the way at its own time.
func (w *walk) advance(to time.Time) {
	for w.now().Before(to) {
		next := to
		for i, s := range w.spells {
			for _, at := range []time.Time{s.from, s.to} {
				if !w.state[i].over && at.After(w.now()) && at.Before(next) {
					next = at
				}
			}
		}
		if at, ok := w.sim.NextEvent(); ok && at.Before(next) {
			next = at.Add(time.Millisecond)
			if soonest := w.now().Add(time.Second); next.Before(soonest) {
				next = soonest
			}
		}
		if next.After(to) {
			next = to
		}
		w.clock.set(next)
		w.happen()
		w.own.set(next.Add(w.wrongBy()))
		w.staff()
		w.ledger.observe()
	}
}

// wrongBy is how far the scheduler's clock is ahead of true time.
func (w *walk) wrongBy() (by time.Duration) {
	for _, s := range w.spells {
		if s.ahead != 0 && w.within(s) {
			by += s.ahead
		}
	}
	return by
}

// happen begins and ends the spells whose time has come.
func (w *walk) happen() {
	for i, s := range w.spells {
		st := &w.state[i]
		if st.over || w.now().Before(s.from) {
			continue
		}
		past := !w.now().Before(s.to)
		if !st.begun && (!past || s.finish == nil && s.begin != nil) {
			switch {
			case s.begin != nil:
				st.begun = s.begin(w)
			case s.fault.Kind != "" && s.share == 0:
				st.remove = w.sim.Inject(s.fault)
				st.begun = true
			default:
				st.begun = true
			}
		}
		if !past || !st.begun && s.finish == nil && s.begin != nil {
			continue
		}
		st.over = true
		if !st.begun {
			continue
		}
		if st.remove != nil {
			st.remove()
		}
		if s.finish != nil {
			s.finish(w)
		}
	}
}

// staff release locks whose worker is dead, as soon as somebody sees them.
func (w *walk) staff() {
	for _, g := range w.sim.Guests() {
		since, known := w.locked[g.VMID]
		switch {
		case g.Lock != "backup":
			delete(w.locked, g.VMID)
		case !known:
			w.locked[g.VMID] = w.now()
		case w.now().Sub(since) >= staffSee:
			w.locked[g.VMID] = w.now()
			if !w.dumping(g.VMID) {
				w.ledger.breaks(g.VMID, since, w.now())
				w.must(w.sim.Unlock(g.VMID))
			}
		}
	}
}

func (w *walk) dumping(vmid int) bool {
	return slices.ContainsFunc(w.sim.Tasks(), func(t pvesim.Task) bool {
		return t.Running() && t.Type == "vzdump" && t.ID == fmt.Sprint(vmid)
	})
}

// guest gives a machine, or one without a number where there is none.
func (w *walk) guest(vmid int) pvesim.Guest {
	for _, g := range w.sim.Guests() {
		if g.VMID == vmid {
			return g
		}
	}
	return pvesim.Guest{}
}

// idle tells whether Proxmox would let a machine be moved, destroyed or locked.
func (w *walk) idle(vmid int) bool {
	g := w.guest(vmid)
	return g.VMID != 0 && g.Lock == "" && !w.dumping(vmid)
}

func (w *walk) leaveOut(vmid int, out bool) error {
	if w.guest(vmid).VMID == 0 {
		return nil
	}
	return w.sim.SetGuest(vmid, func(g *pvesim.Guest) {
		for i := range g.Disks {
			g.Disks[i].NoBackup = out
		}
	})
}

// copiesOf gives the archives of a machine number, oldest first, whoever made them.
func (w *walk) copiesOf(vmid int) []pvesim.Archive {
	return slices.DeleteFunc(w.sim.Mounted(), func(a pvesim.Archive) bool { return a.VMID != vmid })
}

// protect lets the customer protect the newest copy, or all, as the simulator's storage keeps that.
func (w *walk) protect(vmid int, all, on bool) {
	copies := w.copiesOf(vmid)
	if !all && len(copies) > 1 {
		copies = copies[len(copies)-1:]
	}
	for _, a := range copies {
		w.must(w.sim.SetArchive(a.Node, a.Volid, func(a *pvesim.Archive) { a.Protected = on }))
	}
}

// take removes the newest or the oldest copy of a machine from its storage, as "rm" would.
func (w *walk) take(vmid int, newest bool) {
	copies := w.copiesOf(vmid)
	if len(copies) == 0 {
		return
	}
	a := copies[0]
	if newest {
		a = copies[len(copies)-1]
	}
	w.ledger.taken[keyOf(a)] = true
	w.must(w.sim.RemoveArchive(a.Node, a.Volid))
}

// cutShort leaves a few bytes of the newest copy, as a storage does that lost its power before it had written all.
func (w *walk) cutShort(vmid int) {
	if copies := w.copiesOf(vmid); len(copies) > 0 {
		a := copies[len(copies)-1]
		w.must(w.sim.SetArchive(a.Node, a.Volid, func(a *pvesim.Archive) { a.Size = 512 }))
	}
}

// vacate destroys a machine whose customer has cancelled. The customer's copies are kept for their time.
func (w *walk) vacate(vmid int) bool {
	w.ledger.vacated(vmid)
	w.must(w.sim.DestroyGuest(vmid))
	return true
}

// settleIn gives the number to another customer's machine, once the old one is gone.
func (w *walk) settleIn(b booking) bool {
	if w.guest(b.vmid).VMID != 0 {
		return false
	}
	i := slices.IndexFunc(w.world.Guests, func(g pvesim.Guest) bool { return g.VMID == b.vmid })
	g := w.world.Guests[i]
	g.UUID = fmt.Sprintf("aaaaaaaa-0000-4000-8000-%012d", b.vmid)
	g.Name = fmt.Sprintf("new%d", b.vmid)
	g.Disks = slices.Clone(g.Disks)
	g.Config = map[string]string{"boot": "order=scsi0", "net0": fmt.Sprintf("virtio=BC:24:12:00:00:%02X,bridge=vmbr0", b.vmid), "scsihw": "virtio-scsi-single",
		"meta": fmt.Sprintf("creation-qemu=10.0.2,ctime=%d", w.now().Unix())}
	w.must(w.sim.AddGuest(g))
	w.ledger.booked(b)
	return true
}

// door is the scheduler's way to the hosts. Faults of calls strike here, and here a process dies in the middle of
// a change.
type door struct{ w *walk }

func (d door) RoundTrip(r *http.Request) (*http.Response, error) {
	w := d.w
	change := r.Method != http.MethodGet
	dying := -1
	for i, s := range w.spells {
		if s.dies != "" && w.within(s) && !w.state[i].dead && change {
			dying = i
		}
	}
	if dying >= 0 && w.spells[dying].dies == "before" {
		w.state[dying].dead = true
		w.die()
	}
	for i, s := range w.spells {
		if s.share > 0 && w.within(s) && w.strikes(i, s, r) {
			f := s.fault
			f.Count = 1
			defer w.sim.Inject(f)()
		}
	}
	resp, err := w.sim.RoundTrip(r)
	if dying >= 0 {
		w.state[dying].dead = true
		w.die()
	}
	return resp, err
}

// strikes draws whether a spell hits a call.
func (w *walk) strikes(i int, s spell, r *http.Request) bool {
	if now := w.now().Unix(); now != w.second {
		w.second = now
		clear(w.asked)
	}
	question := fmt.Sprintf("%d %d %d %s %s?%s", w.seed, i, w.second, r.Method, r.URL.Path, r.URL.RawQuery)
	w.asked[question]++
	h := fnv.New64a()
	fmt.Fprintf(h, "%s %d", question, w.asked[question])
	x := h.Sum64()
	x ^= x >> 32
	x *= 0x9e3779b97f4a7c15 // FNV alone leaves the high bits of like questions alike
	x ^= x >> 29
	return float64(x>>11)/(1<<53) < s.share
}

// asksToDelete tells whether the scheduler has asked for an archive's deletion.
func (w *walk) asksToDelete(volid string) bool {
	return slices.ContainsFunc(w.sim.Calls(), func(c pvesim.Call) bool {
		return c.Method == http.MethodDelete && strings.HasSuffix(c.Path, volid)
	})
}
