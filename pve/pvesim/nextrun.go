package pvesim

import (
	"regexp"
	"strconv"
	"strings"
	"time"
)

// A calendar event as backup jobs have them: the days of a week, a time of
// day, and names for the usual ones. Others are understood by Proxmox, not
// here: such a job has no next run.
var calendarEvent = regexp.MustCompile(`^(?:([a-z.,]+)\s+)?(\d{1,2}):(\d{2})$`)

var eventNames = map[string]string{"daily": "00:00", "weekly": "mon 00:00"}

var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// nextRun is when a schedule is due next after a moment.
func nextRun(schedule string, after time.Time) (time.Time, bool) {
	if full, known := eventNames[schedule]; known {
		schedule = full
	}
	m := calendarEvent.FindStringSubmatch(strings.ToLower(schedule))
	if m == nil {
		return time.Time{}, false
	}
	hour, _ := strconv.Atoi(m[2])
	minute, _ := strconv.Atoi(m[3])
	days, known := weekdaysOf(m[1])
	if !known || hour > 23 || minute > 59 {
		return time.Time{}, false
	}
	for i := range 8 {
		day := after.AddDate(0, 0, i)
		at := time.Date(day.Year(), day.Month(), day.Day(), hour, minute, 0, 0, after.Location())
		if days[at.Weekday()] && at.After(after) {
			return at, true
		}
	}
	return time.Time{}, false
}

// weekdaysOf reads "mon..fri" and "sat,sun"; "" is every day.
func weekdaysOf(text string) (days [7]bool, known bool) {
	number := func(name string) int {
		for i, d := range weekdays {
			if strings.HasPrefix(name, d) {
				return i
			}
		}
		return -1
	}
	if text == "" {
		return [7]bool{true, true, true, true, true, true, true}, true
	}
	for part := range strings.SplitSeq(text, ",") {
		from, to, span := strings.Cut(part, "..")
		a := number(from)
		b := a
		if span {
			b = number(to)
		}
		if a < 0 || b < 0 {
			return days, false
		}
		for i := a; ; i = (i + 1) % 7 {
			days[i] = true
			if i == b {
				break
			}
		}
	}
	return days, true
}
