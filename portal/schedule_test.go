package portal

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func mustGrid(t interface{ Fatal(...any) }, zone, grid string) Schedule {
	s, err := ParseGrid(zone, grid)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	for grid, want := range map[string]string{
		"": "No schedule",
		"sun=03:00,mon=03:00,tue=03:00,wed=03:00,thu=03:00,fri=03:00,sat=03:00": "Every night 03:00",
		"sun=23:15,mon=23:15,tue=23:15,wed=23:15,thu=23:15,fri=23:15,sat=23:15": "Every night 23:15",
		"sun=14:00,mon=14:00,tue=14:00,wed=14:00,thu=14:00,fri=14:00,sat=14:00": "Every day 14:00",
		"mon=23:15,wed=23:15,fri=23:15":                                         "Mon, Wed, Fri 23:15",
		"mon=23:15,tue=23:15,wed=23:15,thu=23:15,fri=23:15":                     "Mon–Fri 23:15",
		"mon=23:15,tue=23:15,wed=23:15,thu=23:15,fri=23:15,sun=02:30":           "Mon–Fri 23:15; Sun 02:30",
		"sat=01:00,sun=01:00":                     "Sat, Sun 01:00",
		"sun=02:30,mon=23:15":                     "Mon 23:15; Sun 02:30",
		"mon=01:00,tue=02:00,wed=03:00,thu=04:00": "4 days a week, at different times",
		"sun=00:00,mon=01:00,tue=02:00,wed=03:00,thu=04:00,fri=05:00,sat=06:00": "Every day, at different times",
	} {
		if got := mustGrid(t, "UTC", grid).Describe().String(); got != want {
			t.Errorf("%q reads %q, want %q", grid, got, want)
		}
	}
}

func TestParseGrid(t *testing.T) {
	t.Parallel()
	want := Schedule{Zone: "Europe/Berlin"}
	want.Days[0] = Day{true, 150}
	want.Days[1] = Day{true, 23*60 + 15}
	if diff := cmp.Diff(want, mustGrid(t, "Europe/Berlin", " SUN=02:30, mon=23:15")); diff != "" {
		t.Error(diff)
	}
	for _, grid := range []string{"sun", "sun=", "sunday=02:30", "sun=2:30", "sun=25:00", "sun=02:30,", "sun=02:30,sun=03:30", "=02:30", "sun:02:30"} {
		if _, err := ParseGrid("UTC", grid); CodeOf(err) != CodeInvalid {
			t.Errorf("ParseGrid(%q) gives %v, want a refusal", grid, err)
		}
	}
	if _, err := ParseGrid("Local", "sun=02:30"); CodeOf(err) != CodeInvalid {
		t.Errorf("the zone Local gives %v, want a refusal", err)
	}
}

func TestGridIsReadAsWritten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := drawSchedule(t)
		again := mustGrid(t, s.Zone, s.Grid())
		if !again.Equal(s) || s.Enabled() != (s.Grid() != "") {
			t.Fatalf("%s in %s is read as %s", s.Grid(), s.Zone, again.Grid())
		}
		other := s
		other.Days[3].Enabled = !other.Days[3].Enabled
		if other.Equal(s) {
			t.Fatal("a schedule with another day is equal")
		}
	})
}

func TestScheduleForm(t *testing.T) {
	t.Parallel()
	if day, err := ParseDay(3, true, "03:00"); err != nil || day != (Day{true, 180}) {
		t.Errorf("%v, %v", day, err)
	}
	if day, err := ParseDay(3, false, ""); err != nil || day != (Day{}) {
		t.Errorf("an unticked day without a time: %v, %v", day, err)
	}
	if day, err := ParseDay(3, false, "03:00"); err != nil || day != (Day{false, 180}) {
		t.Errorf("an unticked day keeps its time: %v, %v", day, err)
	}
	for _, at := range []string{"", "25:99", " 3:00"} {
		_, err := ParseDay(3, true, at)
		if e, ok := err.(*Error); !ok || e.Field != "time_3" || e.Code != CodeInvalid {
			t.Errorf("ParseDay(%q) gives %v, want a refusal of time_3", at, err)
		}
	}
	s := EveryDay("Europe/Berlin", 180)
	if err := s.Validate(); err != nil {
		t.Error(err)
	}
	s.Days[2].At = 1440
	if e, ok := s.Validate().(*Error); !ok || e.Field != "time_2" {
		t.Errorf("a time outside the day: %v", s.Validate())
	}
	if e, ok := (Schedule{}).Validate().(*Error); !ok || e.Field != "zone" {
		t.Error("a schedule without a zone is valid")
	}
}

var someZones = []string{
	"UTC", "Europe/Berlin", "America/New_York", "America/Nuuk", "Pacific/Apia", "Pacific/Kwajalein", "Australia/Lord_Howe",
	"Antarctica/Troll", "America/Santiago", "Africa/Cairo", "America/St_Johns", "Asia/Kathmandu", "Pacific/Kiritimati",
}

func drawSchedule(t *rapid.T) Schedule {
	s := Schedule{Zone: rapid.SampledFrom(someZones).Draw(t, "zone")}
	for i := range s.Days {
		s.Days[i] = Day{rapid.Bool().Draw(t, "ticked"), TimeOfDay(rapid.IntRange(0, 1439).Draw(t, "time"))}
	}
	return s
}
