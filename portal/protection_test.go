package portal

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestProtectionSentence(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 20, 8, 12, 0, 0, time.UTC)
	restores := []time.Duration{5 * time.Minute, 8*time.Minute + 20*time.Second, 4*time.Minute + 40*time.Second}
	weekdays := "mon=03:00,tue=03:00,wed=03:00,thu=03:00,fri=03:00"
	nightly := EveryDay("UTC", 180).Grid()
	var out strings.Builder
	for _, c := range []struct {
		story  string
		grid   string
		copies string
		change func(*ProtectionInput)
		want   Level
	}{
		{"every night", nightly, "18g 19g 20g", nil, LevelOK},
		{"weekdays", weekdays, "20g", nil, LevelOK},
		{"weekdays, nothing measured", weekdays, "20g", func(in *ProtectionInput) { in.Restores, in.Takes = nil, 0 }, LevelOK},
		{"Mondays, Wednesdays, Fridays", "mon=23:15,wed=23:15,fri=23:15", "20g", nil, LevelOK},
		{"once a week", "sun=02:30", "15g", nil, LevelOK},
		{"two days of uneven times", "sun=02:30,mon=23:15", "17g", nil, LevelOK},
		{"the newest copy is suspect: the one before it counts", nightly, "18g 20s", nil, LevelWarn},
		{"a copy made before a restore counts while it is there", nightly, "18g 20b", nil, LevelOK},
		{"overdue", nightly, "17g", nil, LevelWarn},
		{"overdue, and running", nightly, "17g", func(in *ProtectionInput) { in.Running = true }, LevelWarn},
		{"no schedule", "", "17g", nil, LevelBad},
		{"no schedule and no backup", "", "", nil, LevelBad},
		{"never backed up", nightly, "", nil, LevelBad},
		{"never backed up, running", nightly, "", func(in *ProtectionInput) { in.Running = true }, LevelBad},
		{"only suspect ones", nightly, "19s 20s", nil, LevelBad},
		{"one suspect one, no schedule", "", "20s", nil, LevelBad},
		{"quota 0 with copies", nightly, "17g", func(in *ProtectionInput) { in.Quota = 0 }, LevelBad},
		{"quota 0 without copies", nightly, "", func(in *ProtectionInput) { in.Quota = 0 }, LevelBad},
		{"a moment ago", nightly, "20g", func(in *ProtectionInput) { in.Now = in.Copies[0].StartedAt.Add(20 * time.Second) }, LevelOK},
	} {
		schedule := mustGrid(t, "UTC", c.grid)
		in := ProtectionInput{
			Copies: parseCopies(t, c.copies), Schedule: schedule, Quota: 3, Takes: 6 * time.Minute, Late: 6 * time.Hour,
			Restores: restores, Now: now, Location: time.UTC,
		}
		if c.change != nil {
			c.change(&in)
		}
		if next := schedule.Next(in.Now, 1); len(next) > 0 {
			in.Next = next[0].Due
		}
		p := ProtectionOf(in)
		if p.Level != c.want {
			t.Errorf("%s: %s, want %s", c.story, p.Level, c.want)
		}
		fmt.Fprintf(&out, "# %s\n%s: %s\n", c.story, p.Level, p.Sentence)
	}
	golden(t, "protection.txt", out.String())
}

// What the schedule promises is never less than the longest time between two of its runs.
func TestTheProtectionPromiseHolds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := drawSchedule(t)
		s.Zone = "UTC"
		takes := time.Duration(rapid.IntRange(0, 300).Draw(t, "takes")) * time.Minute
		in := ProtectionInput{
			Copies: []Copy{{UID: "a", Class: ClassGood, Listed: true, StartedAt: retentionNow}}, Schedule: s, Quota: 1,
			Takes: takes, Now: retentionNow, Location: time.UTC,
		}
		p := ProtectionOf(in)
		runs := s.Next(retentionNow, 15)
		for i := range runs {
			if i > 0 && runs[i].Due.Sub(runs[i-1].Due)+takes > p.AtMost {
				t.Fatalf("%s promises %s, but from %s to %s is longer", s.Grid(), p.AtMost, runs[i-1].Due, runs[i].Due)
			}
		}
		if (p.Level == LevelBad) != !s.Enabled() || !strings.HasSuffix(p.Sentence.String(), ".") {
			t.Fatalf("%s: %+v", s.Grid(), p)
		}
	})
}
