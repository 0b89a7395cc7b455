package portal

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Schedule says on which days of the week, at which time on the wall, a machine is backed up. The wall is that
// of the schedule's own zone; the client's zone is only where a new schedule starts from. A schedule without
// any day is valid and means: no automatic backups.
type Schedule struct {
	Zone string // IANA name
	Days [7]Day // 0 = Sunday, as time.Weekday
}

// Day is one weekday of a schedule. A day that is not ticked keeps its time for when it is ticked again.
type Day struct {
	Enabled bool
	At      TimeOfDay
}

// EveryDay gives the schedule with the same time on all days.
func EveryDay(zone string, at TimeOfDay) Schedule {
	s := Schedule{Zone: zone}
	for i := range s.Days {
		s.Days[i] = Day{Enabled: true, At: at}
	}
	return s
}

// ParseDay reads one day tile of the schedule form: weekday 0 to 6, the checkbox, and the time field. A time
// may be missing only where the day is not ticked. The refusal names the form's field (time_0 … time_6).
func ParseDay(weekday int, enabled bool, at string) (Day, error) {
	if at == "" && !enabled {
		return Day{}, nil
	}
	t, err := ParseTimeOfDay(at)
	if err != nil {
		name := DayName(time.Weekday(weekday))
		if at == "" {
			return Day{}, Invalid(fmt.Sprintf("time_%d", weekday), "%s has no time. Enter one from 00:00 to 23:59, or untick the day.", name)
		}
		return Day{}, Invalid(fmt.Sprintf("time_%d", weekday), "%s: %s is not a time of day. Write hours and minutes from 00:00 to 23:59, such as 03:40.", name, quoted(at))
	}
	return Day{Enabled: enabled, At: t}, nil
}

// ParseGrid reads a schedule as the command line takes it: "sun=02:30,mon=23:15". Days that are not named are
// not ticked; "" is a schedule without days.
func ParseGrid(zone, grid string) (Schedule, error) {
	s := Schedule{Zone: zone}
	if _, err := Zone(zone); err != nil {
		return Schedule{}, err
	}
	if strings.TrimSpace(grid) == "" {
		return s, nil
	}
	for entry := range strings.SplitSeq(grid, ",") {
		name, at, _ := strings.Cut(strings.TrimSpace(entry), "=")
		weekday := slices.Index(gridNames, strings.ToLower(name))
		if weekday < 0 {
			return Schedule{}, Invalid("grid", "%s is no day. Write days as sun, mon, tue, wed, thu, fri, sat with a time, such as sun=02:30,mon=23:15.", quoted(name))
		}
		if s.Days[weekday].Enabled {
			return Schedule{}, Invalid("grid", "%s stands in the grid twice. A day has one time.", gridNames[weekday])
		}
		t, err := ParseTimeOfDay(at)
		if err != nil {
			return Schedule{}, Invalid("grid", "%s: %s is not a time of day. Write hours and minutes from 00:00 to 23:59, such as 03:40.", gridNames[weekday], quoted(at))
		}
		s.Days[weekday] = Day{Enabled: true, At: t}
	}
	return s, nil
}

var gridNames = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// Grid writes the ticked days as ParseGrid reads them.
func (s Schedule) Grid() string {
	var entries []string
	for i, day := range s.Days {
		if day.Enabled {
			entries = append(entries, gridNames[i]+"="+day.At.String())
		}
	}
	return strings.Join(entries, ",")
}

// Validate gives the first thing that is wrong: a zone that we don't know, or a time outside a day.
func (s Schedule) Validate() error {
	if _, err := Zone(s.Zone); err != nil {
		return err
	}
	for i, day := range s.Days {
		if !day.At.Valid() {
			return Invalid(fmt.Sprintf("time_%d", i), "%s: the time lies outside the day. Enter one from 00:00 to 23:59.", DayName(time.Weekday(i)))
		}
	}
	return nil
}

// Enabled tells whether any day is ticked.
func (s Schedule) Enabled() bool {
	return slices.ContainsFunc(s.Days[:], func(d Day) bool { return d.Enabled })
}

// Equal tells whether both schedules give the same slots: the same zone and the same ticked days and times.
// The times that unticked days keep make no difference.
func (s Schedule) Equal(other Schedule) bool {
	return s.Zone == other.Zone && s.Grid() == other.Grid()
}

// DueAt gives the instant at which the slot of this date falls due, in the schedule's zone; false where the
// date's weekday is not ticked or the zone skips the date.
//
// It is the wall time of that weekday. A time inside a spring gap runs at the first instant after the gap on
// the same date, or, where none is left, at the last whole minute before it; a time that occurs twice runs at
// the first.
func (s Schedule) DueAt(date Date) (time.Time, bool) {
	day := s.Days[date.Weekday()]
	if !day.Enabled {
		return time.Time{}, false
	}
	loc, err := Zone(s.Zone)
	if err != nil {
		return time.Time{}, false
	}
	return instant(loc, date, day.At)
}

// Describe says the schedule in one short line, without its zone: "Every night 03:00", "Mon, Wed, Fri 23:15",
// "Mon–Fri 23:15; Sun 02:30", "No schedule".
func (s Schedule) Describe() Text {
	groups := s.groups()
	switch {
	case len(groups) == 0:
		return "No schedule"
	case len(groups) == 1 && len(groups[0].days) == 7:
		at := groups[0].at
		if at >= 20*60 || at < 7*60 {
			return Say("Every night %s", at)
		}
		return Say("Every day %s", at)
	case len(groups) > 3:
		days := 0
		for _, g := range groups {
			days += len(g.days)
		}
		if days == 7 {
			return "Every day, at different times"
		}
		return Say("%d days a week, at different times", days)
	}
	lines := make([]Text, len(groups))
	for i, g := range groups {
		lines[i] = Say("%s %s", weekdays(g.days), g.at)
	}
	return join("; ", lines)
}

// dayGroup is the days, counted from Monday = 0, that share one time.
type dayGroup struct {
	at   TimeOfDay
	days []int
}

// groups gathers the ticked days by their time, in the order of the week from Monday.
func (s Schedule) groups() []dayGroup {
	var groups []dayGroup
	for i := range 7 {
		day := s.Days[(i+1)%7]
		if !day.Enabled {
			continue
		}
		at := slices.IndexFunc(groups, func(g dayGroup) bool { return g.at == day.At })
		if at < 0 {
			groups, at = append(groups, dayGroup{at: day.At}), len(groups)
		}
		groups[at].days = append(groups[at].days, i)
	}
	return groups
}

// weekdays names days that are counted from Monday = 0, three or more in a row as a range: "Mon–Wed, Sat".
func weekdays(days []int) Text {
	short := func(day int) Text { return ShortDay(time.Weekday(day + 1)) }
	var names []Text
	for i := 0; i < len(days); {
		j := i
		for j+1 < len(days) && days[j+1] == days[j]+1 {
			j++
		}
		if j-i >= 2 {
			names = append(names, Say("%s–%s", short(days[i]), short(days[j])))
		} else {
			j = i
			names = append(names, short(days[i]))
		}
		i = j + 1
	}
	return join(", ", names)
}
