package templates

import (
	"math"
	"strings"
	"time"

	"stowage/portal"
)

// Bytes writes a size as people say it: "41 GiB", "1.8 TiB", "512 B".
func Bytes(n int64) portal.Text {
	if n < 0 {
		return ""
	}
	return portal.Say("%s", portal.Size(n))
}

// Speed writes bytes a second: "210 MiB/s".
func Speed(bytesPerSecond int64) portal.Text {
	if bytesPerSecond <= 0 {
		return ""
	}
	return portal.Say("%s/s", portal.Size(bytesPerSecond))
}

// OfBytes writes how much of a total is done: "20.1 of 32 GiB" in the unit of the total.
func OfBytes(done, total int64) portal.Text {
	if total <= 0 {
		return Bytes(done)
	}
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	size, unit := float64(total), 0
	for size >= 1024 && unit < len(units)-1 {
		size, unit = size/1024, unit+1
	}
	part := float64(min(done, total)) / float64(total) * size
	return portal.Say("%s of %s %s", figure(part), figure(size), units[unit])
}

// figure writes one decimal below ten, unless it is zero, and none above.
func figure(f float64) portal.Text {
	if tenths := int(math.Round(f * 10)); f < 9.95 && tenths%10 != 0 {
		return portal.Say("%d.%d", tenths/10, tenths%10)
	}
	return portal.Say("%d", int(math.Round(f)))
}

// At gives the moment as it reads in zone: "Thu 12 Nov 03:00", with the year where it is not the year of now.
func At(t, now time.Time, zone *time.Location) Moment {
	if t.IsZero() {
		return Moment{}
	}
	local := t.In(zone)
	if local.Year() != now.In(zone).Year() {
		return Moment{When: portal.When{At: local, Layout: "Mon 2 Jan 2006 15:04"}}
	}
	return Moment{When: portal.When{At: local, Layout: "Mon 2 Jan 15:04"}}
}

// title is the exact instant, for who points at a moment: "Thursday 12 November 2026, 03:00:00 CET, 02:00 UTC".
func (m Moment) title() portal.Text {
	exact := portal.When{At: m.At, Layout: "Monday 2 January 2006, 15:04:05"}
	return portal.Say("%s %s, %s UTC", exact, zoneName(m.At), m.At.UTC().Format("15:04"))
}

// AtAgo is At with the distance from now beside it.
func AtAgo(t, now time.Time, zone *time.Location) Moment {
	m := At(t, now, zone)
	if !m.IsZero() {
		m.Ago = Ago(t, now)
	}
	return m
}

// RunAt gives a coming run in the schedule's zone and in UTC.
func RunAt(t, now time.Time, zone *time.Location) Run {
	if t.IsZero() {
		return Run{}
	}
	utc := portal.When{At: t.UTC(), Layout: "15:04"}
	if t.UTC().Day() != t.In(zone).Day() {
		utc.Layout = "Mon 2 Jan 15:04"
	}
	return Run{At: AtAgo(t, now, zone), UTC: portal.Say("%s UTC", utc)}
}

// zoneName is the zone's short name, or its offset where it has none.
func zoneName(t time.Time) string {
	name, _ := t.Zone()
	if strings.HasPrefix(name, "+") || strings.HasPrefix(name, "-") {
		return "UTC" + name
	}
	return name
}

// Ago says how long ago t was, or in how long it will be: "just now", "5 h 12 min ago", "in 3 days".
func Ago(t, now time.Time) portal.Text {
	d := now.Sub(t)
	switch {
	case d >= 48*time.Hour:
		return portal.Count(int(d/(24*time.Hour)), "%d day ago", "%d days ago")
	case d >= time.Minute:
		return portal.Say("%s ago", Duration(d))
	case d <= -48*time.Hour:
		return portal.Count(int(-d/(24*time.Hour)), "in %d day", "in %d days")
	case d <= -time.Minute:
		return portal.Say("in %s", Duration(-d))
	}
	return "just now"
}

// Duration writes a length of time in one or two units: "40 s", "6 min", "5 h 12 min", "31 h", "3 days".
// It never says more than has passed; less than a second counts as one.
func Duration(d time.Duration) portal.Text {
	d = max(d, -d)
	h, m := int(d/time.Hour), int(d%time.Hour/time.Minute)
	switch {
	case d > 0 && d < time.Second:
		return portal.Say("%d s", 1)
	case d < time.Minute:
		return portal.Say("%d s", int(d/time.Second))
	case d < time.Hour:
		return portal.Say("%d min", m)
	case d < 24*time.Hour && m > 0:
		return portal.Say("%d h %d min", h, m)
	case d < 72*time.Hour:
		return portal.Say("%d h", h)
	}
	return portal.Count(int(d/(24*time.Hour)), "%d day", "%d days")
}

// InLine says a place in a queue: "1st in line", "4th in line", "11th in line".
func InLine(n int) portal.Text {
	switch {
	case n%100 >= 11 && n%100 <= 13:
	case n%10 == 1:
		return portal.Say("%dst in line", n)
	case n%10 == 2:
		return portal.Say("%dnd in line", n)
	case n%10 == 3:
		return portal.Say("%drd in line", n)
	}
	return portal.Say("%dth in line", n)
}

// Range is the text of a Paging: "1–50 of 4,210".
func Range(first, last, total int) portal.Text {
	if total == 0 {
		return "none"
	}
	return portal.Say("%s–%s of %s", portal.Number(first), portal.Number(last), portal.Number(total))
}
