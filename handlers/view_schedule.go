package handlers

import (
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
		out.Summary = portal.Say("%s, next %s", s.Describe(), portal.Near(next[0].Due, v.Now, v.loc))
	} else if s.Enabled() {
		out.Summary = s.Describe()
	}
	return out
}

func scheduleInfo(quota int) portal.Text {
	switch quota {
	case 0:
		return "Your package includes no new backups, so nothing runs on these days."
	case 1:
		return "Your package has one place: a scheduled backup takes the place of the one before, which goes only once the new one is good."
	}
	if quota == 2 {
		return "Scheduled backups replace the oldest when both places are used."
	}
	return portal.Say("Scheduled backups replace the oldest when all %d places are used.", quota)
}

func days(s portal.Schedule) (out [7]templates.Day) {
	for i, d := range s.Days {
		out[i] = templates.Day{Name: portal.DayName(time.Weekday(i)), Enabled: d.Enabled, Time: d.At.String()}
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
func (v *shown) modeWarning() portal.Text {
	if !v.Schedule.Enabled() {
		return ""
	}
	at := sameTime(v.Schedule.Schedule)
	switch mode := v.Service.ModeIn(v.Product); {
	case mode == "stop" && at == "":
		return "Your machine shuts down briefly at these times."
	case mode == "stop":
		return portal.Say("Your machine shuts down briefly at %s.", at)
	case mode == "suspend" && at == "":
		return "Your machine stands still briefly at these times."
	case mode == "suspend":
		return portal.Say("Your machine stands still briefly at %s.", at)
	}
	return ""
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

// coming says what the next scheduled run would do to the copies: as they are, with what is under way done. Several parts
// of a page ask for it.
func (v *shown) coming() portal.Eviction {
	if v.evicts == nil {
		e := v.nextEviction()
		v.evicts = &e
	}
	return *v.evicts
}

func (v *shown) nextEviction() portal.Eviction {
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
func (v *shown) replaces() portal.Text {
	e := v.coming()
	switch {
	case e.Skip:
		return portal.Say("It would be skipped: %s.", e.Reason)
	case e.Victim == nil:
		return ""
	case e.Timing == portal.TimingAfter:
		return portal.Say("Once it is good, %s is removed.", v.NameCopy(e.Victim.Start(), e.Victim.Size))
	}
	return portal.Say("It will replace %s.", v.NameCopy(e.Victim.Start(), e.Victim.Size))
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
	dot.State, dot.Reason, dot.Operation = string(s.State), s.Reason, s.Operation
	switch {
	case s.State == portal.SlotDue && s.WaitsFor != "":
		dot.Reason = portal.Say("Waits: %s.", s.WaitsFor)
	case s.State == portal.SlotDue:
		dot.Reason = "Waits for its turn."
	case s.State == portal.SlotDone:
		dot.Reason = s.Reason.Without(portal.InYourList) // whether it still is, the list says
	}
	evidence := []portal.Text{portal.Say("Due %s", v.clock(s.DueAt, s.DueAt))}
	if !s.Began.IsZero() {
		evidence = append(evidence, portal.Say("began %s", v.clock(s.Began, s.DueAt)))
	}
	if !s.Began.IsZero() && !s.Ended.IsZero() && s.State.Ended() {
		evidence = append(evidence, portal.Say("ended %s", v.clock(s.Ended, s.DueAt)))
	}
	if s.Size > 0 {
		evidence = append(evidence, templates.Bytes(s.Size))
	}
	if s.Attempt > 1 {
		evidence = append(evidence, portal.Count(s.Attempt, "1 attempt", "%d attempts"))
	}
	dot.Evidence = portal.Say("%s.", templates.Listed(evidence...))
	switch s.State {
	case portal.SlotDue:
		if s.RunAfter.After(v.Now) {
			dot.NextTry = portal.Say("Tried %s, until %s.", portal.Near(s.RunAfter, v.Now, v.loc), v.clock(s.StartBy, s.DueAt))
		} else {
			dot.NextTry = portal.Say("It may start until %s.", v.clock(s.StartBy, s.DueAt))
		}
	case portal.SlotFailed, portal.SlotMissed, portal.SlotSkipped:
		if s.State != portal.SlotSkipped {
			dot.Reference = s.Reference
		}
		if next := v.nextRuns(1); len(next) > 0 && i == len(v.Slots)-1 {
			dot.NextTry = portal.Say("The next run is %s.", portal.Near(next[0].Due, v.Now, v.loc))
		}
	}
}

// clock says the time of an instant, with its day where that is not the day of the slot.
func (v *shown) clock(t, slot time.Time) portal.When {
	if portal.DateOf(t.In(v.loc)) == portal.DateOf(slot.In(v.loc)) {
		return portal.When{At: t.In(v.loc), Layout: "15:04"}
	}
	return portal.When{At: t.In(v.loc), Layout: "Mon 2 Jan 15:04"}
}

func dayName(d portal.Date) portal.When {
	return portal.When{At: time.Date(d.Year, d.Month, d.Day, 0, 0, 0, 0, time.UTC), Layout: "Mon 2 Jan"}
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
