package portal

import (
	"slices"
	"time"
)

// Level is how urgent something is.
type Level string

// The levels.
const (
	LevelOK   Level = "ok"
	LevelWarn Level = "warn"
	LevelBad  Level = "bad"
)

// ProtectionInput is what the protection sentence is made from.
type ProtectionInput struct {
	Copies   []Copy
	Schedule Schedule
	Quota    int
	Running  bool            // a backup is being made
	Takes    time.Duration   // the longest of the latest backups; 0 = none measured
	Late     time.Duration   // how much later than due a backup may start, or was seen to start
	Restores []time.Duration // measured on this storage, or estimated from its backups; none = not said
	Next     time.Time       // next run; zero = none
	Now      time.Time
	Location *time.Location // in which Next is said; nil = Next's own
}

// Protection is the answer to "what if it broke now?".
type Protection struct {
	Level    Level
	Sentence Text
	Loss     time.Duration // work that would be lost now; negative = all of it
	AtMost   time.Duration // the longest loss that the schedule allows; 0 = no schedule
}

// ProtectionOf says how well a machine is protected: what would be lost if it broke now, what the schedule
// promises, and how long a restore takes. It is bad without a schedule or a good copy, and a warning where more
// would be lost than the schedule promises.
func ProtectionOf(s ProtectionInput) Protection {
	newest := Newest(s.Copies)
	scheduled := s.Schedule.Enabled() && s.Quota > 0
	out := Protection{Level: LevelOK, Loss: -1}
	var say []Text
	if newest != nil {
		out.Loss = max(s.Now.Sub(newest.Start()), 0)
		say = append(say, Say("If it broke now you would lose %s.", Duration(out.Loss)))
	}
	usual, longest, between := s.Schedule.gaps()
	if scheduled {
		late := min(s.Late, shortestGap(s.Schedule))
		out.AtMost = longest + late + s.Takes
		usual += late + s.Takes
	}
	switch {
	case newest == nil:
		out.Level = LevelBad
		say = append(say, noGoodCopy(s, scheduled))
	case s.Quota <= 0:
		out.Level = LevelBad
		say = append(say, "That grows every day: your package includes no new backups.")
	case !scheduled:
		out.Level = LevelBad
		say = append(say, "That grows every day: no automatic backup is scheduled.")
	case between == "":
		say = append(say, Say("With this schedule at most about %s.", hoursUp(out.AtMost)))
	default:
		say = append(say, Say("With this schedule at most about %s (%s: %s).", hoursUp(usual), between, hoursUp(out.AtMost)))
	}
	if newest != nil && scheduled && out.Loss > out.AtMost {
		out.Level = LevelWarn
		say = append(say, "The last scheduled backup is overdue.")
		if s.Running {
			say[len(say)-1] = "The last scheduled backup is overdue and is being made now."
		}
	}
	if newest != nil && len(s.Restores) > 0 {
		say = append(say, Say("A restore takes %s.", span(slices.Min(s.Restores), slices.Max(s.Restores))))
	}
	out.Sentence = Sentences(say...)
	return out
}

// noGoodCopy says that there is nothing to go back to, and what comes next.
func noGoodCopy(s ProtectionInput, scheduled bool) Text {
	text := Text("There is no backup yet. If it broke now you would lose everything.")
	if n := len(Counted(s.Copies)); n == 1 {
		text = "The one backup there is can't be relied on. If it broke now you might lose everything."
	} else if n > 1 {
		text = Say("None of the %d backups can be relied on. If it broke now you might lose everything.", n)
	}
	switch {
	case s.Running:
		return Sentences(text, "A backup is being made now.")
	case s.Quota <= 0:
		return Sentences(text, "Your package includes no new backups.")
	case !scheduled:
		return Sentences(text, "No automatic backup is scheduled.")
	case !s.Next.IsZero():
		loc := s.Location
		if loc == nil {
			loc = s.Next.Location()
		}
		return Sentences(text, Say("The next backup is due %s.", Near(s.Next, s.Now, loc)))
	}
	return text
}

// gaps gives the times between runs over a week, on the wall clock: the usual one and the longest. Where the
// usual one holds for most runs and another is clearly longer, between names that one: "Fri–Mon".
func (s Schedule) gaps() (usual, longest time.Duration, between Text) {
	runs, gaps := s.week()
	if len(runs) == 0 {
		return 0, 0, ""
	}
	at := 0
	for i, gap := range gaps {
		if gap > gaps[at] {
			at = i
		}
	}
	longest = gaps[at]
	for _, gap := range gaps {
		alike := 0
		for _, other := range gaps {
			if (other - gap).Abs() < time.Hour {
				alike++
			}
		}
		if 2*alike > len(gaps) {
			usual = max(usual, gap)
		}
	}
	if usual == 0 || longest-usual < time.Hour {
		return longest, longest, ""
	}
	day := func(i int) Text { return ShortDay(time.Weekday(runs[i%len(runs)] / minutesPerDay)) }
	return usual, longest, Say("%s–%s", day(at), day(at+1))
}

// week gives the runs of one week in minutes from Sunday 00:00, and the time from each to the next.
func (s Schedule) week() (runs []int, gaps []time.Duration) {
	for i, day := range s.Days {
		if day.Enabled {
			runs = append(runs, i*minutesPerDay+int(day.At))
		}
	}
	for i, run := range runs {
		next := runs[(i+1)%len(runs)]
		if next <= run {
			next += 7 * minutesPerDay
		}
		gaps = append(gaps, time.Duration(next-run)*time.Minute)
	}
	return runs, gaps
}

// shortestGap bounds how late a run may be: at the next one's due instant its own time is over.
func shortestGap(s Schedule) time.Duration {
	_, gaps := s.week()
	if len(gaps) == 0 {
		return 0
	}
	return slices.Min(gaps)
}
