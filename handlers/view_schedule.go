package handlers

import (
	"fmt"
	"time"

	"stowage/portal"
	"stowage/store"
	"stowage/templates"
)

// schedule is the form of the schedule with what it leads to.
func (v *shown) schedule() templates.Schedule {
	s := v.Schedule.Schedule
	quota := v.Service.QuotaIn(v.Product)
	out := templates.Schedule{
		Exists: s.Enabled(), Zone: s.Zone, Zones: portal.Zones(), Days: days(s), SameTime: sameTime(s), Save: v.maySave(),
		Info: scheduleInfo(quota), Warning: v.modeWarning(), Open: !s.Enabled(),
	}
	next := v.nextRuns(8)
	if len(next) > 0 {
		out.Next = v.run(next[0].Due)
		for _, slot := range next[1:] {
			out.Later = append(out.Later, v.run(slot.Due))
		}
		out.Replaces = v.replaces()
		out.Summary = s.Describe().String() + ", next " + portal.Near(next[0].Due, v.Now, v.loc).String()
	} else if s.Enabled() {
		out.Summary = s.Describe().String()
	}
	return out
}

func scheduleInfo(quota int) string {
	switch quota {
	case 0:
		return "Your package includes no new backups, so nothing runs on these days."
	case 1:
		return "Your package has one place: a scheduled backup takes the place of the one before, which goes only once the new one is good."
	}
	if quota == 2 {
		return "Scheduled backups replace the oldest when both places are used."
	}
	return fmt.Sprintf("Scheduled backups replace the oldest when all %d places are used.", quota)
}

func days(s portal.Schedule) (out [7]templates.Day) {
	for i, d := range s.Days {
		out[i] = templates.Day{Name: time.Weekday(i).String(), Enabled: d.Enabled, Time: d.At.String()}
	}
	return out
}

// sameTime gives the time that all ticked days share, or "".
func sameTime(s portal.Schedule) string {
	text := ""
	for _, d := range s.Days {
		switch {
		case !d.Enabled:
		case text == "":
			text = d.At.String()
		case text != d.At.String():
			return ""
		}
	}
	return text
}

// modeWarning says what the backup mode does to the machine, and when.
func (v *shown) modeWarning() string {
	what := map[string]string{"stop": "shuts down briefly", "suspend": "stands still briefly"}[v.Service.ModeIn(v.Product)]
	if what == "" || !v.Schedule.Enabled() {
		return ""
	}
	when := "at these times"
	if same := sameTime(v.Schedule.Schedule); same != "" {
		when = "at " + same
	}
	return "Your machine " + what + " " + when + "."
}

// maySave tells whether the schedule may be changed.
func (v *shown) maySave() templates.Act {
	switch {
	case v.onlyLooks() != "":
		return templates.Denied(v.onlyLooks())
	case v.Service.State == portal.ServiceSuspended:
		return templates.Denied("This service is suspended: you can look at everything, but not change it.")
	case v.Service.State == portal.ServiceTerminating || v.Service.State == portal.ServiceTerminated:
		return templates.Denied("This service is being closed.")
	case v.Service.QuotaIn(v.Product) == 0 && !v.Schedule.Enabled():
		return templates.Denied("Your package includes no new backups.")
	}
	return templates.Allowed()
}

// coming says what the next scheduled run would do to the copies: as they are, with what is under way done.
func (v *shown) coming() portal.Eviction {
	if len(v.nextRuns(1)) == 0 {
		return portal.Eviction{}
	}
	var copies []portal.Copy
	for _, c := range v.copies {
		if c.Class == portal.ClassRunning {
			c.Class, c.Listed = portal.ClassGood, true
		}
		if !c.Removing {
			copies = append(copies, c)
		}
	}
	return portal.Evict(copies, v.Service.QuotaIn(v.Product), v.Product.Policy, v.Now)
}

// replaces says which copy the next run would replace.
func (v *shown) replaces() string {
	e := v.coming()
	switch {
	case e.Skip:
		return "It would be skipped: " + e.Reason.String() + "."
	case e.Victim == nil:
		return ""
	case e.Timing == portal.TimingAfter:
		return "Once it is good, " + v.NameCopy(e.Victim.Start(), e.Victim.Size).String() + " is removed."
	}
	return "It will replace " + v.NameCopy(e.Victim.Start(), e.Victim.Size).String() + "."
}

// suggestion is the one tap for a service without a schedule: a time at which its host has little to do.
func suggestion(due []time.Time, loc *time.Location) *templates.Suggestion {
	at := portal.QuietTime(portal.LoadByMinute(due, loc))
	return &templates.Suggestion{Time: at.String(), Why: "a quiet time on your host"}
}

// suggest fills an empty schedule's tiles with the suggested time.
func suggest(s *templates.Schedule, due []time.Time, loc *time.Location) {
	s.Suggest = suggestion(due, loc)
	for i := range s.Days {
		if s.Days[i].Time == "00:00" {
			s.Days[i].Time = s.Suggest.Time
		}
	}
}

// ledger is the last 30 days of slots, oldest first.
func (v *shown) ledger() templates.Ledger {
	byDate := make(map[string]int, len(v.Slots))
	for i, s := range v.Slots {
		byDate[s.Date] = i
	}
	var l templates.Ledger
	for _, date := range lastDays(v.Now, v.loc) {
		i, ok := byDate[date.String()]
		dot := templates.Dot{Date: date.String(), Day: dayName(date), State: "none"}
		if ok {
			v.slot(&dot, i)
		}
		l.Dots = append(l.Dots, dot)
	}
	return l
}

// slot fills in what became of one slot.
func (v *shown) slot(dot *templates.Dot, i int) {
	s := v.Slots[i]
	dot.State, dot.Reason, dot.Operation = string(s.State), sentence(s.Reason.String()), s.Operation
	switch {
	case s.State == portal.SlotDue && s.WaitsFor != "":
		dot.Reason = "Waits: " + s.WaitsFor.String() + "."
	case s.State == portal.SlotDue:
		dot.Reason = "Waits for its turn."
	case s.State == portal.SlotDone:
		dot.Reason = sentence(s.Reason.Without(portal.InYourList).String()) // whether it still is, the list says
	}
	dot.Evidence = "Due " + v.clock(s.DueAt, s.DueAt)
	if !s.Began.IsZero() {
		dot.Evidence += ", began " + v.clock(s.Began, s.DueAt)
	}
	if !s.Began.IsZero() && !s.Ended.IsZero() && s.State.Ended() {
		dot.Evidence += ", ended " + v.clock(s.Ended, s.DueAt)
	}
	if s.Size > 0 {
		dot.Evidence += ", " + templates.Bytes(s.Size)
	}
	if s.Attempt > 1 {
		dot.Evidence += ", " + templates.Plural(s.Attempt, "attempt")
	}
	dot.Evidence += "."
	switch s.State {
	case portal.SlotDue:
		if s.RunAfter.After(v.Now) {
			dot.NextTry = "Tried " + portal.Near(s.RunAfter, v.Now, v.loc).String() + ", until " + v.clock(s.StartBy, s.DueAt) + "."
		} else {
			dot.NextTry = "It may start until " + v.clock(s.StartBy, s.DueAt) + "."
		}
	case portal.SlotFailed, portal.SlotMissed, portal.SlotSkipped:
		if next := v.nextRuns(1); len(next) > 0 && i == len(v.Slots)-1 {
			dot.NextTry = "The next run is " + portal.Near(next[0].Due, v.Now, v.loc).String() + "."
		}
	}
}

// clock says the time of an instant, with its day where that is not the day of the slot.
func (v *shown) clock(t, slot time.Time) string {
	if portal.DateOf(t.In(v.loc)) == portal.DateOf(slot.In(v.loc)) {
		return t.In(v.loc).Format("15:04")
	}
	return t.In(v.loc).Format("Mon 2 Jan 15:04")
}

func dayName(d portal.Date) string {
	return time.Date(d.Year, d.Month, d.Day, 0, 0, 0, 0, time.UTC).Format("Mon 2 Jan")
}

// lastDays gives the ledger's days in a zone, oldest first.
func lastDays(now time.Time, loc *time.Location) []portal.Date {
	today := portal.DateOf(now.In(loc))
	out := make([]portal.Date, store.LedgerDays)
	for i := range out {
		out[i] = today.AddDays(i - store.LedgerDays + 1)
	}
	return out
}
