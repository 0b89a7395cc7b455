package portal

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestZone(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "Local", "local", "europe/berlin", "Europe", "Europe/", "../etc/passwd", "Mars/Olympus", "UTC+1", "Europe/Berlin "} {
		_, err := Zone(name)
		if e, ok := err.(*Error); !ok || e.Code != CodeInvalid || e.Field != "zone" || !strings.HasSuffix(e.Sentence.String(), ".") {
			t.Errorf("Zone(%q) gives %v, want a refusal of the field zone", name, err)
		}
	}
	loc, err := Zone("Europe/Berlin")
	if err != nil || loc.String() != "Europe/Berlin" {
		t.Fatalf("Zone(Europe/Berlin) = %v, %v", loc, err)
	}
	again, _ := Zone("Europe/Berlin")
	if loc != again {
		t.Error("a zone is read twice")
	}
}

func TestZoneFromManyGoroutines(t *testing.T) {
	t.Parallel()
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for _, name := range AllZones() {
				if loc, err := Zone(name); err != nil || loc.String() != name {
					t.Errorf("Zone(%s) = %v, %v", name, loc, err)
				}
			}
		})
	}
	wait.Wait()
}

func TestZonesForAPicker(t *testing.T) {
	t.Parallel()
	names := Zones()
	if !slices.IsSorted(names) {
		t.Error("not sorted")
	}
	for _, want := range []string{"UTC", "Europe/Berlin", "Asia/Kolkata", "America/Argentina/Buenos_Aires", "Europe/Kyiv", "Pacific/Apia", "America/Nuuk", "Antarctica/Troll", "Arctic/Longyearbyen"} {
		if !slices.Contains(names, want) {
			t.Errorf("%s is missing", want)
		}
	}
	for _, odd := range []string{"Asia/Calcutta", "EST", "Etc/GMT+5", "US/Pacific", "GB", "Factory", "Europe/Kiev", "Zulu"} {
		if slices.Contains(names, odd) {
			t.Errorf("%s should not be offered", odd)
		}
	}
	if n := len(names); n < 380 || n > 450 {
		t.Errorf("%d zones are offered", n)
	}
	if len(ZoneVersion()) != 12 {
		t.Errorf("version %q", ZoneVersion())
	}
	names[0] = "spoiled"
	if Zones()[0] == "spoiled" {
		t.Error("the list can be spoiled from outside")
	}
}

// Every old name has to mean the same as one that is offered, or somebody could not choose their zone.
func TestOldZoneNamesAreOnlySpellings(t *testing.T) {
	t.Parallel()
	offered := map[string]bool{}
	for _, name := range Zones() {
		offered[zoneData(t, name)] = true
	}
	for _, name := range oldNames {
		if zoneFiles()[name] == nil {
			continue // dropped by the zone database
		}
		if !offered[zoneData(t, name)] {
			t.Errorf("%s is hidden, and nothing offered means the same", name)
		}
	}
}

func zoneData(t *testing.T, name string) string {
	t.Helper()
	data, err := readZone(zoneFiles()[name])
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// distinctZones gives one name for each content in the archive, so that links aren't tested twice.
func distinctZones(t *testing.T) []string {
	seen := map[string]bool{}
	var names []string
	for _, name := range AllZones() {
		if data := zoneData(t, name); !seen[data] {
			seen[data] = true
			names = append(names, name)
		}
	}
	return names
}

// The years in which every zone is tried: what schedules will see, and the years in which zones skipped dates.
var triedYears = [][2]int{{1992, 1996}, {2010, 2012}, {2020, 2040}}

// TestEveryZoneEveryDate holds the due instants of every zone in the archive against a clock that is simply
// watched minute by minute around each change, and against plain wall times on all other days.
func TestEveryZoneEveryDate(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var skipped []string
	t.Run("zones", func(t *testing.T) {
		for _, name := range distinctZones(t) {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				loc, err := Zone(name)
				if err != nil {
					t.Fatal(err)
				}
				for _, years := range triedYears {
					from := time.Date(years[0], 1, 1, 0, 0, 0, 0, time.UTC).Unix()
					to := time.Date(years[1]+1, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
					near := tryChanges(t, loc, from, to)
					tryDates(t, loc, from, to, near)
				}
				mu.Lock()
				defer mu.Unlock()
				skipped = append(skipped, skippedDates(name, loc)...)
			})
		}
	})
	slices.Sort(skipped)
	golden(t, "skipped-dates.txt", strings.Join(skipped, "\n")+"\n")
}

// tryChanges watches the clock around each change of offset and checks the dates that it touches. It gives
// those dates.
func tryChanges(t *testing.T, loc *time.Location, from, to int64) map[Date]bool {
	near := map[Date]bool{}
	const step = 3 * 3600
	for at := from; at < to; at += step {
		if offsetAt(loc, at) == offsetAt(loc, at+step) {
			continue
		}
		low, high := at, at+step
		for high-low > 1 {
			if middle := (low + high) / 2; offsetAt(loc, middle) == offsetAt(loc, low) {
				low = middle
			} else {
				high = middle
			}
		}
		before := dayNumber(high + offsetAt(loc, low))
		after := dayNumber(high + offsetAt(loc, high))
		first, last := min(before, after)-1, max(before, after)+1
		clock := watchClock(loc, first, last)
		for day := first; day <= last; day++ {
			near[dateOfDay(day)] = true
			tryDay(t, loc, dateOfDay(day), clock[day-first])
		}
	}
	return near
}

// tryDay checks the minutes of one date against the instants at which the watched clock first showed them.
func tryDay(t *testing.T, loc *time.Location, date Date, clock *[minutesPerDay]int64) {
	t.Helper()
	want := func(minute int) int64 {
		for m := minute; m < minutesPerDay; m++ {
			if clock[m] != 0 {
				return clock[m]
			}
		}
		for m := minute; m >= 0; m-- {
			if clock[m] != 0 {
				return clock[m]
			}
		}
		return 0
	}
	for minute := range minutesPerDay {
		exists := clock[minute] != 0
		edge := minute > 0 && (clock[minute-1] != 0) != exists || minute+1 < minutesPerDay && (clock[minute+1] != 0) != exists
		jump := minute > 0 && exists && clock[minute-1] != 0 && clock[minute]-clock[minute-1] != 60
		if exists && !edge && !jump && minute%11 != 0 && minute != minutesPerDay-1 {
			continue
		}
		got, ok := instant(loc, date, TimeOfDay(minute))
		switch wanted := want(minute); {
		case wanted == 0 && ok:
			t.Fatalf("%s %s: the zone skips the date, but its slot is due %s", date, TimeOfDay(minute), got)
		case wanted != 0 && (!ok || got.Unix() != wanted):
			t.Fatalf("%s %s: due %s (%v), want %s", date, TimeOfDay(minute), got, ok, time.Unix(wanted, 0).In(loc))
		}
	}
}

// tryDates checks all dates for a few times: one slot on the date itself, at the wall time asked for away from
// changes, and later than that of the date before.
func tryDates(t *testing.T, loc *time.Location, from, to int64, near map[Date]bool) {
	t.Helper()
	times := []TimeOfDay{0, 2*60 + 30, 23*60 + 59, 0}
	var previous [4]int64
	for day := dayNumber(from); day < dayNumber(to); day++ {
		date := dateOfDay(day)
		times[3] = TimeOfDay(day * 7919 % minutesPerDay)
		for i, at := range times {
			due, ok := instant(loc, date, at)
			if !ok {
				if near[date] {
					continue // tryDay has looked
				}
				t.Fatalf("%s %s has no slot", date, at)
			}
			if DateOf(due) != date {
				t.Fatalf("%s %s is due on another date: %s", date, at, due)
			}
			if hour, minute, second := due.Clock(); !near[date] && (60*hour+minute != int(at) || second != 0) {
				t.Fatalf("%s %s is due at another time: %s", date, at, due)
			}
			if i < 3 {
				if due.Unix() <= previous[i] {
					t.Fatalf("%s %s is due %s, not after the date before", date, at, due)
				}
				previous[i] = due.Unix()
			}
		}
	}
}

func skippedDates(name string, loc *time.Location) []string {
	var skipped []string
	for _, years := range triedYears {
		for date := (Date{years[0], 1, 1}); date.Year <= years[1]; date = date.AddDays(1) {
			if _, ok := instant(loc, date, 12*60); !ok {
				skipped = append(skipped, fmt.Sprintf("%s %s", date, name))
			}
		}
	}
	return skipped
}

// watchClock notes for each minute of the days first to last the instant at which the clock first showed it; 0
// where it never did.
func watchClock(loc *time.Location, first, last int64) []*[minutesPerDay]int64 {
	days := make([]*[minutesPerDay]int64, last-first+1)
	for i := range days {
		days[i] = new([minutesPerDay]int64)
	}
	for at := first*86400 - 16*3600; at < (last+1)*86400+16*3600; at += 60 {
		wall := at + offsetAt(loc, at)
		if day := dayNumber(wall); day >= first && day <= last {
			if cell := &days[day-first][(wall-day*86400)/60]; *cell == 0 {
				*cell = at
			}
		}
	}
	return days
}

func offsetAt(loc *time.Location, at int64) int64 {
	_, offset := time.Unix(at, 0).In(loc).Zone()
	return int64(offset)
}

func dayNumber(wall int64) int64 {
	day := wall / 86400
	if wall%86400 < 0 {
		day--
	}
	return day
}

func dateOfDay(day int64) Date { return DateOf(time.Unix(day*86400, 0).UTC()) }

func TestFamousChanges(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	for _, c := range []struct {
		story string
		zone  string
		dates string
		times string
	}{
		{"an hour before midnight is cut out: nothing is left on the date", "America/Nuuk", "2024-03-30 2024-03-31 2024-10-26 2024-10-27", "22:00 22:30 22:59 23:00 23:30 23:59"},
		{"the date line moved: a date is skipped", "Pacific/Apia", "2011-12-29 2011-12-30 2011-12-31", "00:00 03:00 23:59"},
		{"the same, on another island", "Pacific/Fakaofo", "2011-12-29 2011-12-30 2011-12-31", "03:00"},
		{"the same, earlier", "Pacific/Kwajalein", "1993-08-20 1993-08-21 1993-08-22", "00:00 03:00 23:59"},
		{"changes of half an hour", "Australia/Lord_Howe", "2026-04-05 2026-10-04", "01:30 01:45 02:00 02:15 02:29 02:30"},
		{"changes of two hours", "Antarctica/Troll", "2026-03-29 2026-10-25", "00:30 01:00 02:30 03:00"},
		{"midnight itself is cut out", "America/Santiago", "2026-09-05 2026-09-06 2026-04-04 2026-04-05", "00:00 00:30 01:00 23:00 23:30"},
		{"midnight itself is cut out", "Africa/Cairo", "2026-04-23 2026-04-24 2026-10-29 2026-10-30", "00:00 00:30 01:00 23:30"},
		{"midnight itself is cut out", "Asia/Beirut", "2026-03-28 2026-03-29 2026-10-24 2026-10-25", "00:00 00:30 01:00 23:30"},
		{"midnight itself is cut out, for the last time", "America/Asuncion", "2023-10-01 2024-10-06 2025-10-05", "00:00 00:30 01:00"},
		{"midnight itself is cut out, for the last time", "America/Sao_Paulo", "2018-11-03 2018-11-04 2019-02-16 2019-02-17", "00:00 00:30 01:00 23:30"},
		{"clocks go back for Ramadan", "Africa/Casablanca", "2026-02-15 2026-03-22", "01:30 02:00 02:30 03:00"},
		{"winter is the exception", "Europe/Dublin", "2026-03-29 2026-10-25", "00:59 01:00 01:30 02:00"},
		{"the usual", "America/New_York", "2026-03-08 2026-11-01", "01:00 01:30 02:00 02:30 03:00"},
		{"the usual", "Europe/Berlin", "2026-03-29 2026-10-25", "01:59 02:00 02:30 02:59 03:00 03:30"},
		{"years that only the zone's rule covers, a leap year's last day among them", "Europe/Berlin", "2040-03-25 2040-10-28 2040-12-31 2041-01-01", "02:30 23:59"},
		{"clocks go back over midnight: a minute of the new date comes first", "America/St_Johns", "2010-11-06 2010-11-07", "00:00 00:01 23:01 23:30"},
		{"no changes", "UTC", "2026-03-29", "02:30"},
	} {
		fmt.Fprintf(&out, "# %s: %s\n", c.zone, c.story)
		loc, err := Zone(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		for _, day := range strings.Fields(c.dates) {
			for _, at := range strings.Fields(c.times) {
				date, err := ParseDate(day)
				if err != nil {
					t.Fatal(err)
				}
				clock, err := ParseTimeOfDay(at)
				if err != nil {
					t.Fatal(err)
				}
				due, ok := EveryDay(c.zone, clock).DueAt(date)
				if !ok {
					fmt.Fprintf(&out, "%s %s  no slot\n", date, clock)
					continue
				}
				fmt.Fprintf(&out, "%s %s  %s  %s\n", date, clock, due.UTC().Format(time.RFC3339), due.In(loc).Format("2006-01-02 15:04:05 -0700"))
			}
		}
	}
	golden(t, "famous-changes.txt", out.String())
}
