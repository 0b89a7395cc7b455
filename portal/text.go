package portal

import (
	"fmt"
	"time"
)

// Duration says a length of time with its two largest units, cut, not rounded: "3 days 2 h", "5 h 12 min",
// "12 min", "less than a minute". A negative length reads as none.
func Duration(d time.Duration) Text {
	minutes := int64(d / time.Minute)
	if minutes < 1 {
		return "less than a minute"
	}
	return units(minutes)
}

// units says whole minutes, at least one.
func units(minutes int64) Text {
	days, hours, rest := minutes/(24*60), minutes/60%24, minutes%60
	switch {
	case days > 0 && hours > 0:
		return Count(int(days), "%d day %d h", "%d days %d h", hours)
	case days > 0:
		return Count(int(days), "%d day", "%d days")
	case hours > 0 && rest > 0:
		return Say("%d h %02d min", hours, rest)
	case hours > 0:
		return Say("%d h", hours)
	default:
		return Say("%d min", rest)
	}
}

// hoursUp says a length of time in hours, rounded up, and from 100 hours on in days and hours: "31 h",
// "5 days 7 h". It is for promises of the kind "at most about".
func hoursUp(d time.Duration) Text {
	hours := int64((d + time.Hour - 1) / time.Hour)
	if hours >= 100 {
		return units(hours * 60)
	}
	return Say("%d h", max(hours, 1))
}

// span says how long something takes, from the shortest to the longest measured time: "4–9 minutes",
// "about 6 minutes", "1–3 hours", "less than a minute". The shortest is rounded down and the longest up.
func span(shortest, longest time.Duration) Text {
	unit := time.Minute
	if longest > 2*time.Hour {
		unit = time.Hour
	}
	low, high := int(shortest/unit), int((longest+unit-1)/unit)
	switch {
	case longest < time.Minute:
		return "less than a minute"
	case low == 0 && unit == time.Hour:
		return Count(high, "up to 1 hour", "up to %d hours")
	case low == 0:
		return Count(high, "up to 1 minute", "up to %d minutes")
	case low == high && unit == time.Hour:
		return Count(low, "about 1 hour", "about %d hours")
	case low == high:
		return Count(low, "about 1 minute", "about %d minutes")
	case unit == time.Hour:
		return Say("%d–%d hours", low, high)
	default:
		return Say("%d–%d minutes", low, high)
	}
}

// Plural counts things in plain English, for logs and staff's exact reasons: "1 archive", "3 archives". What a person
// reads on a page is counted by Count.
func Plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// Near names an instant as a person nearby would, in the zone of loc: "tonight 03:00", "today 14:00",
// "tomorrow 03:00", "Sat 21 Nov 03:00". Tonight is the night that it is now or that comes next, from
// eight in the evening to seven in the morning.
func Near(t, now time.Time, loc *time.Location) Text {
	t, now = t.In(loc), now.In(loc)
	clock := When{At: t, Layout: "15:04"}
	day, today := DateOf(t), DateOf(now)
	ahead := t.After(now)
	switch {
	case ahead && day == today && t.Hour() >= 20:
		return Say("tonight %s", clock)
	case ahead && t.Hour() < 7 && (day == today && now.Hour() < 7 || day == today.AddDays(1) && now.Hour() >= 7):
		return Say("tonight %s", clock)
	case day == today:
		return Say("today %s", clock)
	case day == today.AddDays(1):
		return Say("tomorrow %s", clock)
	case day == today.AddDays(-1):
		return Say("yesterday %s", clock)
	case day.Year != today.Year:
		return When{At: t, Layout: "Mon 2 Jan 2006 15:04"}.Text()
	default:
		return When{At: t, Layout: "Mon 2 Jan 15:04"}.Text()
	}
}

// DayName is a day of the week: "Sunday".
func DayName(d time.Weekday) Text {
	return [...]Text{"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"}[d%7]
}

// ShortDay is a day of the week in little room: "Sun".
func ShortDay(d time.Weekday) Text {
	return [...]Text{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"}[d%7]
}
