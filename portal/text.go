package portal

import (
	"fmt"
	"time"
)

// Duration says a length of time with its two largest units, cut, not rounded: "3 days 2 h", "5 h 12 min",
// "12 min", "less than a minute". A negative length reads as none.
func Duration(d time.Duration) string {
	minutes := int64(d / time.Minute)
	if minutes < 1 {
		return "less than a minute"
	}
	return units(minutes)
}

// units says whole minutes, at least one.
func units(minutes int64) string {
	days, hours, rest := minutes/(24*60), minutes/60%24, minutes%60
	switch {
	case days > 0 && hours > 0:
		return fmt.Sprintf("%s %d h", Plural(int(days), "day", "days"), hours)
	case days > 0:
		return Plural(int(days), "day", "days")
	case hours > 0 && rest > 0:
		return fmt.Sprintf("%d h %02d min", hours, rest)
	case hours > 0:
		return fmt.Sprintf("%d h", hours)
	default:
		return fmt.Sprintf("%d min", rest)
	}
}

// hoursUp says a length of time in hours, rounded up, and from 100 hours on in days and hours: "31 h",
// "5 days 7 h". It is for promises of the kind "at most about".
func hoursUp(d time.Duration) string {
	hours := int64((d + time.Hour - 1) / time.Hour)
	if hours >= 100 {
		return units(hours * 60)
	}
	return fmt.Sprintf("%d h", max(hours, 1))
}

// span says how long something takes, from the shortest to the longest measured time: "4–9 minutes",
// "about 6 minutes", "1–3 hours", "less than a minute". The shortest is rounded down and the longest up.
func span(shortest, longest time.Duration) string {
	unit, one, many := time.Minute, "minute", "minutes"
	if longest > 2*time.Hour {
		unit, one, many = time.Hour, "hour", "hours"
	}
	low, high := int(shortest/unit), int((longest+unit-1)/unit)
	switch {
	case longest < time.Minute:
		return "less than a minute"
	case low == 0:
		return fmt.Sprintf("up to %s", Plural(high, one, many))
	case low == high:
		return "about " + Plural(low, one, many)
	default:
		return fmt.Sprintf("%d–%d %s", low, high, many)
	}
}

// Plural counts things: "1 backup", "3 backups".
func Plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// Near names an instant as a person nearby would, in the zone of loc: "tonight 03:00", "today 14:00",
// "tomorrow 03:00", "Sat 21 Nov 03:00". Tonight is the night that it is now or that comes next, from
// eight in the evening to seven in the morning.
func Near(t, now time.Time, loc *time.Location) string {
	t, now = t.In(loc), now.In(loc)
	clock := t.Format("15:04")
	day, today := DateOf(t), DateOf(now)
	ahead := t.After(now)
	switch {
	case ahead && day == today && t.Hour() >= 20:
		return "tonight " + clock
	case ahead && t.Hour() < 7 && (day == today && now.Hour() < 7 || day == today.AddDays(1) && now.Hour() >= 7):
		return "tonight " + clock
	case day == today:
		return "today " + clock
	case day == today.AddDays(1):
		return "tomorrow " + clock
	case day == today.AddDays(-1):
		return "yesterday " + clock
	case day.Year != today.Year:
		return t.Format("Mon 2 Jan 2006 15:04")
	default:
		return t.Format("Mon 2 Jan 15:04")
	}
}
