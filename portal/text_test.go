package portal

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestDuration(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		d    time.Duration
		want string
	}{
		{-time.Hour, "less than a minute"},
		{0, "less than a minute"},
		{59 * time.Second, "less than a minute"},
		{time.Minute, "1 min"},
		{59*time.Minute + 59*time.Second, "59 min"},
		{time.Hour, "1 h"},
		{5*time.Hour + 12*time.Minute, "5 h 12 min"},
		{23*time.Hour + 4*time.Minute, "23 h 04 min"},
		{24 * time.Hour, "1 day"},
		{25*time.Hour + 59*time.Minute, "1 day 1 h"},
		{74 * time.Hour, "3 days 2 h"},
		{400 * 24 * time.Hour, "400 days"},
	} {
		if got := Duration(c.d).String(); got != c.want {
			t.Errorf("Duration(%s) = %q, want %q", c.d, got, c.want)
		}
	}
}

func TestHoursAndSpans(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		time.Minute: "1 h", 30*time.Hour + time.Minute: "31 h", 31 * time.Hour: "31 h", 79 * time.Hour: "79 h",
		100 * time.Hour: "4 days 4 h", 168 * time.Hour: "7 days",
	} {
		if got := hoursUp(d).String(); got != want {
			t.Errorf("hoursUp(%s) = %q, want %q", d, got, want)
		}
	}
	for _, c := range []struct {
		low, high time.Duration
		want      string
	}{
		{10 * time.Second, 30 * time.Second, "less than a minute"},
		{30 * time.Second, 200 * time.Second, "up to 4 minutes"},
		{4*time.Minute + 30*time.Second, 8*time.Minute + 10*time.Second, "4–9 minutes"},
		{6 * time.Minute, 6 * time.Minute, "about 6 minutes"},
		{65 * time.Minute, 170 * time.Minute, "1–3 hours"},
		{2 * time.Hour, 2 * time.Hour, "about 120 minutes"},
	} {
		if got := span(c.low, c.high).String(); got != c.want {
			t.Errorf("span(%s, %s) = %q, want %q", c.low, c.high, got, c.want)
		}
	}
	if got := Plural(1, "backup", "backups") + ", " + Plural(0, "backup", "backups"); got != "1 backup, 0 backups" {
		t.Error(got)
	}
}

func TestNear(t *testing.T) {
	t.Parallel()
	loc, err := Zone("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	at := func(s string) time.Time {
		when, err := time.ParseInLocation("2006-01-02 15:04", s, loc)
		if err != nil {
			t.Fatal(err)
		}
		return when
	}
	for _, now := range []string{"2026-11-20 02:00", "2026-11-20 10:00", "2026-11-20 22:00"} {
		for _, when := range []string{
			"2026-11-18 03:00", "2026-11-19 03:00", "2026-11-20 01:00", "2026-11-20 03:00", "2026-11-20 14:00", "2026-11-20 23:15",
			"2026-11-21 03:00", "2026-11-21 14:00", "2026-11-21 23:15", "2026-11-22 03:00", "2027-01-02 03:00",
		} {
			fmt.Fprintf(&out, "now %s, %s: %s\n", now, when, Near(at(when), at(now).UTC(), loc))
		}
	}
	golden(t, "near.txt", out.String())
}
