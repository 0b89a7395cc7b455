package portal

import (
	"slices"
	"time"
)

// SlotStatus is where a slot stands. Due and running are open; the others are ends, and a date that has ended
// never runs again.
type SlotStatus string

// The states of a slot.
const (
	SlotDue     SlotStatus = "due" // its operation is queued
	SlotRunning SlotStatus = "running"
	SlotDone    SlotStatus = "done"
	SlotLate    SlotStatus = "late" // done, but started more than LateAfter past due
	SlotSkipped SlotStatus = "skipped"
	SlotFailed  SlotStatus = "failed"
	SlotMissed  SlotStatus = "missed"
)

// Ended tells whether nothing more happens to a slot in this state.
func (s SlotStatus) Ended() bool { return s != SlotDue && s != SlotRunning }

// The reasons that the run ledger shows, where the words are always the same. Each is a clause: small at its beginning
// and without a full stop, so that it fits into sentences.
const (
	ReasonSuspended       Text = "service suspended"
	ReasonMaintenance     Text = "maintenance"
	ReasonUnticked        Text = "the day was taken off the schedule"
	ReasonPreviousRunning Text = "previous backup still running"
	ReasonAllProtected    Text = "all backups are protected"
	ReasonHold            Text = "only the newest backup could make room, and it is kept"
	ReasonNoBackups       Text = "the package includes no backups"
	ReasonCaughtUp        Text = "the portal was not running; only the latest missed backup is made up for"
	ReasonTooLate         Text = "the portal was not running until it was too late to start"
	ReasonNoStart         Text = "no free turn on the host in time"
)

// DueSlot is one run that a schedule asks for.
type DueSlot struct {
	Date Date      // the local date, by which the slot is known
	At   TimeOfDay // the wall time asked for
	Due  time.Time // when it falls due, in the schedule's zone
}

// SlotState is a slot that has a row already.
type SlotState struct {
	Date   Date
	Status SlotStatus
}

// Slots gives the slots that fall due after after and not later than through, in the order of their instants.
// Its cost grows with the days between.
func (s Schedule) Slots(after, through time.Time) []DueSlot {
	loc, err := Zone(s.Zone)
	if err != nil || !s.Enabled() || !through.After(after) {
		return nil
	}
	var slots []DueSlot
	// A day more on both ends: where a clock goes back over midnight, a date begins before the one it follows ends.
	last := DateOf(through.In(loc)).AddDays(1)
	for date := DateOf(after.In(loc)).AddDays(-1); date.Compare(last) <= 0; date = date.AddDays(1) {
		if slot, ok := s.slot(loc, date); ok && slot.Due.After(after) && !slot.Due.After(through) {
			slots = append(slots, slot)
		}
	}
	sortSlots(slots)
	return slots
}

// Next gives the next n slots that fall due after after; fewer only where no day is ticked.
func (s Schedule) Next(after time.Time, n int) []DueSlot { return s.NextExcept(after, n, nil) }

// NextExcept gives the next n slots after after whose dates are not among used: a date that has a row runs
// once, whatever the schedule now says about it.
func (s Schedule) NextExcept(after time.Time, n int, used []Date) []DueSlot {
	loc, err := Zone(s.Zone)
	if err != nil || !s.Enabled() || n < 1 {
		return nil
	}
	var slots []DueSlot
	more := 1 // a day more than needed, for the same reason as in Slots
	for date := DateOf(after.In(loc)).AddDays(-1); more >= 0 && date.Year < 9999; date = date.AddDays(1) {
		if slot, ok := s.slot(loc, date); ok && slot.Due.After(after) && !slices.Contains(used, date) {
			slots = append(slots, slot)
		}
		if len(slots) >= n {
			more--
		}
	}
	sortSlots(slots)
	return slots[:min(n, len(slots))]
}

// Preview gives the slots of days dates from the date on, in the order of the dates.
func (s Schedule) Preview(from Date, days int) []DueSlot {
	loc, err := Zone(s.Zone)
	if err != nil {
		return nil
	}
	var slots []DueSlot
	for i := range days {
		if slot, ok := s.slot(loc, from.AddDays(i)); ok {
			slots = append(slots, slot)
		}
	}
	return slots
}

func (s Schedule) slot(loc *time.Location, date Date) (DueSlot, bool) {
	day := s.Days[date.Weekday()]
	if !day.Enabled {
		return DueSlot{}, false
	}
	due, ok := instant(loc, date, day.At)
	return DueSlot{Date: date, At: day.At, Due: due}, ok
}

func sortSlots(slots []DueSlot) {
	slices.SortFunc(slots, func(a, b DueSlot) int { return a.Due.Compare(b.Due) })
}

// StartBy gives the instant from which a slot may not start any more: window after due, or when the next slot
// of the service falls due, whichever is earlier. A zero next means that there is none.
func StartBy(due, next time.Time, window time.Duration) time.Time {
	by := due.Add(window)
	if !next.IsZero() && next.Before(by) {
		return next
	}
	return by
}

// attemptsAt holds when the attempts are made, counted from the first.
var attemptsAt = [...]time.Duration{0, 5 * time.Minute, 20 * time.Minute, 60 * time.Minute}

// MaxAttempts gives how often a backup of this mode is tried. Mode stop takes the machine down each time, so
// it is tried twice.
func MaxAttempts(mode string) int {
	if mode == "stop" {
		return 2
	}
	return len(attemptsAt)
}

// NextAttempt gives when to try again after failed attempts, the first of which began at first and the last
// ended at ended; false where no attempt is left, or it would not begin before startBy. Attempts are made 0,
// 5, 20 and 60 minutes after the first, or a minute after a failure that came later than that.
func NextAttempt(failed int, mode string, first, ended, startBy time.Time) (time.Time, bool) {
	if failed < 1 {
		return first, first.Before(startBy)
	}
	if failed >= MaxAttempts(mode) {
		return time.Time{}, false
	}
	at := first.Add(attemptsAt[failed])
	if pause := ended.Add(time.Minute); at.Before(pause) {
		at = pause
	}
	return at, at.Before(startBy)
}

// DoneBy gives the oldest good copy, scheduled or manual, whose vzdump started at or after due: a slot that has
// one needs no run of its own. An earlier manual backup of the same day does not count.
func DoneBy(due time.Time, copies []Copy) *Copy {
	var done *Copy
	for _, c := range copies {
		ours := c.Origin == OriginScheduled || c.Origin == OriginManual
		if ours && c.Good() && !c.Start().Before(due) && (done == nil || older(c, *done) < 0) {
			done = &c
		}
	}
	return done
}

// Plan is what saving a schedule does to slots.
type Plan struct {
	Write   []DueSlot // fell due under the old schedule, but no tick has written them yet: to be written first
	Cancel  []Date    // queued, and their day is no longer ticked: skipped with ReasonUnticked
	Queued  []Date    // queued, and left in the queue
	Running []Date    // left alone
	Ended   []Date    // never run again
	From    time.Time // the new schedule's instants count only after this one
	Next    *DueSlot  // the first that counts; nil where no day is ticked
}

// Replan works out what saving next in the place of old does, given the rows of the last days and the instant
// up to which ticks have written rows (zero: up to now). Each date has one slot and keeps it: what has ended
// stays ended, what runs is left alone, what waits is cancelled only where its day was unticked, and an instant
// that is past already gives no slot. The outcome is the same whether the last tick was a second or an hour
// ago: what had fallen due before the save is still written.
func Replan(old, next Schedule, existing []SlotState, written, now time.Time) Plan {
	plan := Plan{From: now}
	used := make([]Date, 0, len(existing))
	for _, slot := range existing {
		used = append(used, slot.Date)
		switch {
		case slot.Status == SlotRunning:
			plan.Running = append(plan.Running, slot.Date)
		case slot.Status.Ended():
			plan.Ended = append(plan.Ended, slot.Date)
		case next.Days[slot.Date.Weekday()].Enabled:
			plan.Queued = append(plan.Queued, slot.Date)
		default:
			plan.Cancel = append(plan.Cancel, slot.Date)
		}
	}
	if !written.IsZero() {
		for _, slot := range old.Slots(written, now) {
			if !slices.Contains(used, slot.Date) && next.Days[slot.Date.Weekday()].Enabled {
				plan.Write, used = append(plan.Write, slot), append(used, slot.Date)
			}
		}
	}
	if coming := next.NextExcept(now, 1, used); len(coming) > 0 {
		plan.Next = &coming[0]
	}
	return plan
}

// CaughtUp is what becomes of the slots that fell due since the last tick.
type CaughtUp struct {
	Run     *DueSlot  // to be queued; nil where none still may start
	StartBy time.Time // of Run
	Missed  []MissedSlot
}

// MissedSlot is a slot that will not run, and why.
type MissedSlot struct {
	DueSlot
	Reason Text
}

// CatchUp sorts the slots of one service that fell due since the last tick and have no row: the latest runs, if
// it may still start, and all others are missed. After an ordinary tick that is just the one slot.
func (s Schedule) CatchUp(slots []DueSlot, now time.Time, window time.Duration) CaughtUp {
	var out CaughtUp
	slots = slices.Clone(slots)
	sortSlots(slots)
	for i, slot := range slots {
		if i < len(slots)-1 {
			out.Missed = append(out.Missed, MissedSlot{DueSlot: slot, Reason: ReasonCaughtUp})
			continue
		}
		var next time.Time
		if coming := s.Next(slot.Due, 1); len(coming) > 0 {
			next = coming[0].Due
		}
		out.StartBy = StartBy(slot.Due, next, window)
		if now.Before(out.StartBy) {
			out.Run = &slot
			continue
		}
		out.Missed = append(out.Missed, MissedSlot{DueSlot: slot, Reason: ReasonTooLate})
		out.StartBy = time.Time{}
	}
	return out
}
