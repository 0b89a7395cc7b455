package jobs_test

import (
	"slices"
	"time"

	"stowage/portal"
)

// figures is what a walk came to.
type figures struct {
	newest, foreign, unmade int // good copies lost, by kind
	only                    int // of the newest: those of machines with one place
	missed                  int
	duplicates              int
	breaches                int
	nights, done            int // nights that could be done, and those that were
}

func (f figures) lost() int { return f.newest + f.foreign + f.unmade }

func (f *figures) add(o figures) {
	f.newest += o.newest
	f.foreign += o.foreign
	f.unmade += o.unmade
	f.only += o.only
	f.missed += o.missed
	f.duplicates += o.duplicates
	f.breaches += o.breaches
	f.nights += o.nights
	f.done += o.done
}

// window is how long after its due instant a slot may begin.
const window = 6 * time.Hour

// judge counts over the whole walk. whys, where it is given, hears of everything that is counted.
func (l *ledger) judge(whys func(format string, args ...any)) (f figures) {
	for _, t := range l.tenants {
		f.add(l.judgeTenant(t, func(format string, args ...any) {
			whys("machine %d: "+format, append([]any{t.vmid}, args...)...)
		}))
	}
	return f
}

func (l *ledger) judgeTenant(t *tenant, whys func(format string, args ...any)) (f figures) {
	for _, n := range t.news {
		switch {
		case n.what == newsForeign && n.good:
			f.foreign++
			whys("%s deleted an archive that was not its own", n.at.Format("02 15:04"))
		case n.what == newsNewest && n.good:
			f.newest++
			if t.quota == 1 {
				f.only++
			}
			whys("%s deleted the newest good copy", n.at.Format("02 15:04"))
		}
	}
	to := t.to
	if to.IsZero() {
		to = l.w.end
	}
	if t.inBooks.IsZero() {
		return f
	}
	slots := t.schedule.Slots(t.inBooks, to)
	owing := 0
	for i, slot := range slots {
		end := to
		if i+1 < len(slots) {
			end = slots[i+1].Due
		}
		last := slot.Due.Add(window)
		if last.After(end) {
			last = end
		}
		made, done := 0, false
		for _, n := range t.news {
			if n.slot.Before(slot.Due) || !n.slot.Before(end) {
				continue
			}
			if n.what == newsMade && n.good {
				made++
			}
			done = done || n.good && (n.what == newsMade || n.what == newsOther)
		}
		if made > 1 {
			f.duplicates += made - 1
			whys("%s made %d backups for one slot", slot.Date, made)
		}
		if !l.able(t.vmid, slot.Due, last) {
			continue
		}
		f.nights++
		if done {
			f.done++
		} else if why := t.heard(slot.Due, end); why == "" {
			f.missed++
			whys("%s missed, and nobody was told", slot.Date)
		} else {
			whys("(%s not done: %s)", slot.Date, why)
		}
		if n := t.has(end); n > t.quota {
			f.breaches++
			whys("%s ended with %d copies for %d places", slot.Date, n, t.quota)
		}
		if n := t.unmade(slots, slot.Due, end); n > owing {
			f.unmade += n - owing
			whys("%s %d good copies went earlier and none came in their stead", slot.Date, n)
			owing = n
		} else {
			owing = n
		}
	}
	return f
}

// heard gives what people were told about a machine within a span, or "".
func (t *tenant) heard(from, to time.Time) string {
	for _, w := range t.told {
		if !w.at.Before(from) && w.at.Before(to) {
			return w.text
		}
	}
	return ""
}

// has gives how many good copies of its own making a machine has at an instant.
func (t *tenant) has(at time.Time) (n int) {
	for _, e := range t.news {
		if !e.good || !e.at.Before(at) {
			continue
		}
		switch e.what {
		case newsMade:
			n++
		case newsDeleted, newsNewest, newsTaken:
			n--
		}
	}
	return n
}

// unmade gives how many good copies that were deleted before a slot had no good one made in their stead by the
// slot's end, so that places are empty then. A good copy that is made stands in for the last one deleted, in its own
// night before others; where it was made first, the deletion that follows in its night is covered. Those that count
// as newest or foreign are not counted again.
func (t *tenant) unmade(slots []portal.DueSlot, due, end time.Time) int {
	var owed []time.Time
	covered, night := 0, 0
	for _, n := range t.news {
		if !n.good || !n.at.Before(end) {
			continue
		}
		for night < len(slots) && !n.at.Before(slots[night].Due) {
			covered, night = 0, night+1
		}
		switch n.what {
		case newsMade:
			if len(owed) > 0 {
				owed = owed[:len(owed)-1]
			} else {
				covered++
			}
		case newsDeleted:
			if covered > 0 {
				covered--
			} else {
				owed = append(owed, n.at)
			}
		case newsNewest:
			covered = max(covered-1, 0)
		}
	}
	before := 0
	for _, at := range owed {
		if at.Before(due) {
			before++
		}
	}
	return max(min(before, t.quota-t.has(end)), 0)
}

// able tells whether there was an hour without anything broken for a machine within a span.
func (l *ledger) able(vmid int, from, to time.Time) bool {
	var spans []interval
	for _, b := range l.broken {
		if (b.vmid == 0 || b.vmid == vmid) && b.from.Before(to) && b.to.After(from) {
			spans = append(spans, b)
		}
	}
	slices.SortFunc(spans, func(a, b interval) int { return a.from.Compare(b.from) })
	free := from
	for _, b := range spans {
		if b.from.Sub(free) >= time.Hour {
			return true
		}
		if b.to.After(free) {
			free = b.to
		}
	}
	return to.Sub(free) >= time.Hour
}
