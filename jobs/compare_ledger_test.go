package jobs_test

import (
	"path"
	"slices"
	"strings"
	"time"

	"stowage/pve/pvesim"
)

// ledger is what really happened in a walk, read from the simulator alone: which archives came and went, whose they
// were, and whether they were any good. Of the scheduler's own words it takes only what it told people.
type ledger struct {
	w       *walk
	tenants []*tenant
	known   map[string]*held
	taken   map[string]bool // archives that others removed
	broken  []interval
}

// tenant is one customer's machine in the books.
type tenant struct {
	booking
	from, to time.Time // to is zero while it lasts
	inBooks  time.Time // since when the scheduler knows of it
	told     []word
	news     []news
}

// word is what a scheduler told people about a machine.
type word struct {
	at   time.Time
	text string
}

// held is an archive that is there.
type held struct {
	pvesim.Archive
	tenant *tenant   // whose machine is in it; nil: nobody's in the books
	ours   bool      // this scheduler made it
	asked  time.Time // when its backup was asked for, true time
}

func (h *held) good() bool { return h.Size > emptyArchive }

// start is when its backup began, by true time where we know that.
func (h *held) start() time.Time {
	if h.asked.IsZero() {
		return h.Time
	}
	return h.asked
}

// emptyArchive is the size up to which an archive holds no disk.
const emptyArchive = 4096

// news is one archive's coming or going.
type news struct {
	at   time.Time
	what string // made, deleted, lost
	good bool
	slot time.Time // of what was made: the instant by which its slot is found
}

// The kinds of news.
const (
	newsMade    = "made"    // by this scheduler
	newsOther   = "other"   // made by staff, of the same machine
	newsDeleted = "deleted" // by this scheduler
	newsNewest  = "newest"  // deleted by this scheduler, being the newest good one
	newsForeign = "foreign" // deleted by this scheduler, which had not made it of this customer's machine
	newsTaken   = "taken"   // removed or spoiled by others
)

type interval struct {
	from, to time.Time
	vmid     int // 0: concerns all
}

func newLedger(w *walk) *ledger {
	l := &ledger{w: w, known: map[string]*held{}, taken: map[string]bool{}}
	for _, b := range w.machines {
		l.booked(b)
	}
	for _, s := range w.spells {
		if !s.harmless {
			l.broken = append(l.broken, interval{s.from, s.to, s.vmid})
		}
	}
	for _, a := range w.sim.Mounted() {
		l.known[keyOf(a)] = &held{Archive: a, tenant: l.tenant(a.VMID)}
	}
	return l
}

func keyOf(a pvesim.Archive) string { return a.Node + "/" + a.Volid }

// tenant gives whose machine has a number now, or nil.
func (l *ledger) tenant(vmid int) *tenant {
	for _, t := range l.tenants {
		if t.vmid == vmid && t.to.IsZero() {
			return t
		}
	}
	return nil
}

// booked begins a customer's contract, vacated ends it.
func (l *ledger) booked(b booking) {
	l.tenants = append(l.tenants, &tenant{booking: b, from: l.w.now()})
}

func (l *ledger) vacated(vmid int) {
	if t := l.tenant(vmid); t != nil {
		t.to = l.w.now()
	}
}

// breaks notes a time in which a machine could not be backed up, that no spell names.
func (l *ledger) breaks(vmid int, from, to time.Time) {
	l.broken = append(l.broken, interval{from, to, vmid})
}

// observe compares what is there with what was.
func (l *ledger) observe() {
	here := l.w.sim.Mounted()
	seen := make(map[string]bool, len(here))
	for _, a := range here {
		key := keyOf(a)
		seen[key] = true
		if h := l.known[key]; h == nil {
			l.came(a)
		} else {
			if h.ours && h.good() && a.Size <= emptyArchive {
				h.tenant.note(news{at: l.w.now(), what: newsTaken, good: true})
			}
			h.Archive = a
		}
	}
	if len(seen) == len(l.known) {
		return
	}
	for _, key := range sortedKeys(l.known) {
		if !seen[key] {
			h := l.known[key]
			delete(l.known, key)
			l.went(h)
		}
	}
}

func sortedKeys(m map[string]*held) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func (t *tenant) note(n news) { t.news = append(t.news, n) }

// came finds the task that made an archive.
func (l *ledger) came(a pvesim.Archive) {
	h := &held{Archive: a, tenant: l.tenant(a.VMID)}
	l.known[keyOf(a)] = h
	name := path.Base(a.Volid)
	for _, task := range l.w.sim.Tasks() {
		if task.Type != "vzdump" || a.Node != "" && task.Node != a.Node || !slices.ContainsFunc(task.Log, func(line string) bool { return strings.Contains(line, name+"'") }) {
			continue
		}
		h.asked, h.ours = task.Start, strings.HasPrefix(task.User, "portal@pve")
		what := newsOther
		if h.ours {
			what = newsMade
		}
		if h.tenant == nil {
			return
		}
		h.tenant.note(news{at: l.w.now(), what: what, good: h.good(), slot: l.w.slotTime(task.Start)})
		return
	}
	l.w.t.Fatalf("no task made %s\n%s", a.Volid, l.w.plan)
}

// slotTime is the instant by which a request's slot is found: true time, or, where the scheduler's clock was at most
// three hours ahead, what that showed, because its backup then came a little early and not for another night.
func (w *walk) slotTime(at time.Time) time.Time {
	for _, s := range w.spells {
		if s.ahead > 0 && s.ahead <= 3*time.Hour && !at.Before(s.from) && at.Before(s.to) {
			at = at.Add(s.ahead)
		}
	}
	return at
}

// went says what the end of an archive meant.
func (l *ledger) went(h *held) {
	now := l.w.now()
	if l.taken[keyOf(h.Archive)] {
		if h.tenant != nil && h.ours {
			h.tenant.note(news{at: now, what: newsTaken, good: h.good()})
		}
		return
	}
	if !l.w.asksToDelete(h.Volid) {
		l.w.t.Fatalf("%s went and nobody has asked for that\n%s", h.Volid, l.w.plan)
	}
	present := l.tenant(h.VMID)
	if !h.ours || h.tenant == nil || h.tenant != present {
		whose := present
		if whose == nil {
			whose = l.tenants[0]
		}
		whose.note(news{at: now, what: newsForeign, good: h.good()})
		return
	}
	what := newsNewest
	for _, o := range l.known {
		if o.tenant == h.tenant && o.good() && o.start().After(h.start()) {
			what = newsDeleted
		}
	}
	h.tenant.note(news{at: now, what: what, good: h.good()})
}
