package templates

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

// Bytes writes a size as people say it: "41 GiB", "1.8 TiB", "512 B".
func Bytes(n int64) string {
	if n < 0 {
		return ""
	}
	return humanize.IBytes(uint64(n))
}

// Speed writes bytes a second: "210 MiB/s".
func Speed(bytesPerSecond int64) string {
	if bytesPerSecond <= 0 {
		return ""
	}
	return Bytes(bytesPerSecond) + "/s"
}

// OfBytes writes how much of a total is done: "20.1 of 32 GiB" in the unit of the total.
func OfBytes(done, total int64) string {
	if total <= 0 {
		return Bytes(done)
	}
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	size, unit := float64(total), 0
	for size >= 1024 && unit < len(units)-1 {
		size, unit = size/1024, unit+1
	}
	part := float64(min(done, total)) / float64(total) * size
	return fmt.Sprintf("%s of %s %s", figure(part), figure(size), units[unit])
}

// figure writes one decimal below ten, unless it is zero, and none above.
func figure(f float64) string {
	if f < 9.95 {
		return strings.TrimSuffix(strconv.FormatFloat(f, 'f', 1, 64), ".0")
	}
	return strconv.FormatFloat(f, 'f', 0, 64)
}

// At gives the moment as it reads in zone: "Thu 12 Nov 03:00", with the year where it is not the year of now.
func At(t, now time.Time, zone *time.Location) Moment {
	if t.IsZero() {
		return Moment{}
	}
	local := t.In(zone)
	layout := "Mon 2 Jan 15:04"
	if local.Year() != now.In(zone).Year() {
		layout = "Mon 2 Jan 2006 15:04"
	}
	return Moment{
		Text:    local.Format(layout),
		RFC3339: t.UTC().Format(time.RFC3339),
		Title:   local.Format("Monday 2 January 2006, 15:04:05") + " " + zoneName(local) + ", " + t.UTC().Format("15:04") + " UTC",
	}
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
	utc := "15:04 UTC"
	if t.UTC().Day() != t.In(zone).Day() {
		utc = "Mon 2 Jan 15:04 UTC"
	}
	return Run{At: AtAgo(t, now, zone), UTC: t.UTC().Format(utc)}
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
func Ago(t, now time.Time) string {
	d := now.Sub(t)
	switch {
	case d >= time.Minute:
		return Duration(d) + " ago"
	case d <= -time.Minute:
		return "in " + Duration(-d)
	}
	return "just now"
}

// Duration writes a length of time in one or two units: "40 s", "6 min", "5 h 12 min", "31 h", "3 days".
// It never says more than has passed; less than a second counts as one.
func Duration(d time.Duration) string {
	d = max(d, -d)
	switch {
	case d > 0 && d < time.Second:
		return "1 s"
	case d < time.Minute:
		return strconv.Itoa(int(d/time.Second)) + " s"
	case d < time.Hour:
		return strconv.Itoa(int(d/time.Minute)) + " min"
	case d < 24*time.Hour:
		h, m := int(d/time.Hour), int(d%time.Hour/time.Minute)
		if m == 0 {
			return strconv.Itoa(h) + " h"
		}
		return strconv.Itoa(h) + " h " + strconv.Itoa(m) + " min"
	case d < 72*time.Hour:
		return strconv.Itoa(int(d/time.Hour)) + " h"
	}
	return strconv.Itoa(int(d/(24*time.Hour))) + " days"
}

// Plural writes a count with its word: "1 disk", "2 disks", "4,210 services".
func Plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return humanize.Comma(int64(n)) + " " + word + "s"
}

// Ordinal writes a place in a queue: "1st", "4th", "11th".
func Ordinal(n int) string { return humanize.Ordinal(n) }

// Range is the text of a Paging: "1–50 of 4,210".
func Range(first, last, total int) string {
	if total == 0 {
		return "none"
	}
	return humanize.Comma(int64(first)) + "–" + humanize.Comma(int64(last)) + " of " + humanize.Comma(int64(total))
}
