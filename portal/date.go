package portal

import (
	"cmp"
	"fmt"
	"time"
)

// Date is a day of the calendar without a place or a time: what a wall calendar shows. It is comparable and
// written "2026-11-20"; the zero value is no day.
type Date struct {
	Year  int
	Month time.Month
	Day   int
}

// DateOf gives the day that the wall clock of t's own location shows.
func DateOf(t time.Time) Date {
	year, month, day := t.Date()
	return Date{Year: year, Month: month, Day: day}
}

// ParseDate reads "2026-11-20" and nothing else.
func ParseDate(s string) (Date, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return Date{}, Invalid("date", "%s is no date. Write it as year, month and day, such as 2026-11-20.", quoted(s))
	}
	return DateOf(t), nil
}

// String gives "2026-11-20".
func (d Date) String() string { return fmt.Sprintf("%04d-%02d-%02d", d.Year, int(d.Month), d.Day) }

// IsZero tells whether d is no day.
func (d Date) IsZero() bool { return d == Date{} }

// AddDays gives the day n days later, or earlier where n is negative.
func (d Date) AddDays(n int) Date { return DateOf(d.midnight().AddDate(0, 0, n)) }

// Weekday gives the day of the week.
func (d Date) Weekday() time.Weekday { return d.midnight().Weekday() }

// Compare orders days by the calendar: negative where d is earlier.
func (d Date) Compare(other Date) int {
	return cmp.Or(cmp.Compare(d.Year, other.Year), cmp.Compare(d.Month, other.Month), cmp.Compare(d.Day, other.Day))
}

// MarshalText writes the day as String does.
func (d Date) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what ParseDate reads.
func (d *Date) UnmarshalText(text []byte) (err error) {
	*d, err = ParseDate(string(text))
	return err
}

// midnight is the day's beginning in UTC, where days have no gaps.
func (d Date) midnight() time.Time { return time.Date(d.Year, d.Month, d.Day, 0, 0, 0, 0, time.UTC) }

// TimeOfDay is a time on the wall clock in minutes since midnight, 0 to 1439, written "03:40".
type TimeOfDay int

const minutesPerDay = 24 * 60

// ParseTimeOfDay reads "HH:MM" from 00:00 to 23:59 and nothing else.
func ParseTimeOfDay(s string) (TimeOfDay, error) {
	digit := func(i int) int { return int(s[i]) - '0' }
	if len(s) == 5 && s[2] == ':' {
		ok := true
		for _, i := range []int{0, 1, 3, 4} {
			ok = ok && digit(i) >= 0 && digit(i) <= 9
		}
		hour, minute := 10*digit(0)+digit(1), 10*digit(3)+digit(4)
		if ok && hour < 24 && minute < 60 {
			return TimeOfDay(60*hour + minute), nil
		}
	}
	if s == "" {
		return 0, Invalid("time", "Enter a time from 00:00 to 23:59, such as 03:40.")
	}
	return 0, Invalid("time", "%s is not a time of day. Write hours and minutes from 00:00 to 23:59, such as 03:40.", quoted(s))
}

// String gives "03:40".
func (t TimeOfDay) String() string { return fmt.Sprintf("%02d:%02d", int(t)/60, int(t)%60) }

// Valid tells whether t lies within a day.
func (t TimeOfDay) Valid() bool { return t >= 0 && t < minutesPerDay }

// MarshalText writes the time as String does.
func (t TimeOfDay) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads what ParseTimeOfDay reads.
func (t *TimeOfDay) UnmarshalText(text []byte) (err error) {
	*t, err = ParseTimeOfDay(string(text))
	return err
}

// quoted repeats in a refusal what somebody sent, cut to a length that leaves the sentence readable.
func quoted(s string) string {
	if runes := []rune(s); len(runes) > 40 {
		s = string(runes[:40]) + "…"
	}
	return fmt.Sprintf("%q", s)
}
