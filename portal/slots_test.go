package portal

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func mustTime(t interface{ Fatal(...any) }, s string) time.Time {
	at, err := time.Parse("2006-01-02 15:04", s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// Slots, Next and Preview are three views of DueAt: whatever the window, each date shows up exactly once.
func TestSlotsAreExactlyTheDueDates(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := drawSchedule(t)
		base := rapid.SampledFrom([]string{"2026-03-28 00:00", "2026-10-24 12:00", "2011-12-29 00:00", "1993-08-20 00:00", "2010-11-06 00:00", "2024-03-30 00:00"}).Draw(t, "near")
		from := mustTime(t, base).Add(time.Duration(rapid.IntRange(-200, 200).Draw(t, "minutes")) * 17 * time.Minute)
		var cuts []time.Time
		for at := from; len(cuts) < 8; at = at.Add(time.Duration(rapid.IntRange(1, 3000).Draw(t, "step")) * time.Minute) {
			cuts = append(cuts, at)
		}
		last := cuts[len(cuts)-1]

		var ticks []DueSlot
		for i := range cuts[1:] {
			ticks = append(ticks, s.Slots(cuts[i], cuts[i+1])...)
		}
		var want []DueSlot
		for _, slot := range s.Preview(DateOf(from).AddDays(-3), 40) {
			if slot.Due.After(from) && !slot.Due.After(last) {
				want = append(want, slot)
			}
		}
		sortSlots(want)
		if diff := cmp.Diff(want, ticks); diff != "" {
			t.Fatalf("the ticks together miss or repeat slots (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(want, s.Slots(from, last)); diff != "" {
			t.Fatalf("one late tick misses or repeats slots:\n%s", diff)
		}
		if diff := cmp.Diff(want, s.Next(from, len(want))); diff != "" && len(want) > 0 {
			t.Fatalf("the next runs are others than the slots:\n%s", diff)
		}
		for _, slot := range want {
			if DateOf(slot.Due) != slot.Date {
				t.Fatalf("%v is due on another date", slot)
			}
		}
	})
}

func TestNext(t *testing.T) {
	t.Parallel()
	s := mustGrid(t, "Europe/Berlin", "fri=23:15")
	var got []string
	for _, slot := range s.Next(mustTime(t, "2026-11-20 22:14"), 3) {
		got = append(got, slot.Due.UTC().Format(time.RFC3339))
	}
	if diff := cmp.Diff([]string{"2026-11-20T22:15:00Z", "2026-11-27T22:15:00Z", "2026-12-04T22:15:00Z"}, got); diff != "" {
		t.Error(diff)
	}
	if first := s.Next(mustTime(t, "2026-11-20 22:15"), 1); first[0].Date != (Date{2026, 11, 27}) {
		t.Errorf("a slot due this very instant is next again: %v", first)
	}
	if got := s.NextExcept(mustTime(t, "2026-11-20 10:00"), 1, []Date{{2026, 11, 20}}); got[0].Date != (Date{2026, 11, 27}) {
		t.Errorf("a used date is next again: %v", got)
	}
	if got := (Schedule{Zone: "UTC"}).Next(mustTime(t, "2026-11-20 10:00"), 3); got != nil {
		t.Errorf("no schedule gives %v", got)
	}
	apia := mustGrid(t, "Pacific/Apia", "fri=03:00")
	if got := apia.Next(mustTime(t, "2011-12-26 00:00"), 1); len(got) != 1 || got[0].Date != (Date{2012, 1, 6}) {
		t.Errorf("past the skipped Friday comes %v", got)
	}
}

func TestStartBy(t *testing.T) {
	t.Parallel()
	due := mustTime(t, "2026-11-20 03:00")
	for _, c := range []struct {
		next string
		want string
	}{
		{"2026-11-21 03:00", "2026-11-20 09:00"},
		{"2026-11-20 05:00", "2026-11-20 05:00"},
		{"", "2026-11-20 09:00"},
	} {
		var next time.Time
		if c.next != "" {
			next = mustTime(t, c.next)
		}
		if got := StartBy(due, next, 6*time.Hour); !got.Equal(mustTime(t, c.want)) {
			t.Errorf("next %q: %s, want %s", c.next, got, c.want)
		}
	}
}

func TestAttempts(t *testing.T) {
	t.Parallel()
	first := mustTime(t, "2026-11-20 03:00")
	for _, c := range []struct {
		mode    string
		took    time.Duration // each attempt
		startBy string
		want    string
	}{
		{"snapshot", time.Second, "2026-11-20 09:00", "03:00 03:05 03:20 04:00"},
		{"stop", time.Second, "2026-11-20 09:00", "03:00 03:05"},
		{"snapshot", 90 * time.Minute, "2026-11-20 09:00", "03:00 04:31 06:02 07:33"},
		{"snapshot", 90 * time.Minute, "2026-11-20 06:00", "03:00 04:31"},
		{"snapshot", time.Second, "2026-11-20 03:20", "03:00 03:05"},
		{"snapshot", time.Second, "2026-11-20 03:00", ""},
	} {
		var got []string
		at, ok := NextAttempt(0, c.mode, first, time.Time{}, mustTime(t, c.startBy))
		for failed := 1; ok; failed++ {
			got = append(got, at.Format("15:04"))
			at, ok = NextAttempt(failed, c.mode, first, at.Add(c.took), mustTime(t, c.startBy))
		}
		if got := strings.Join(got, " "); got != c.want {
			t.Errorf("%s, %s each, until %s: %q, want %q", c.mode, c.took, c.startBy, got, c.want)
		}
	}
}

func TestDoneBy(t *testing.T) {
	t.Parallel()
	due := mustTime(t, "2026-11-20 03:00")
	at := func(uid string, start time.Duration, class Class, origin Origin) Copy {
		return Copy{UID: uid, Class: class, Origin: origin, StartedAt: due.Add(start), Listed: true}
	}
	copies := []Copy{
		at("earlier", -time.Hour, ClassGood, OriginManual),
		at("suspect", time.Minute, ClassSuspect, OriginScheduled),
		at("safety", time.Minute, ClassGood, OriginBeforeRestore),
		at("external", time.Minute, ClassExternal, OriginExternal),
		at("second", 2*time.Hour, ClassGood, OriginScheduled),
		at("first", 0, ClassGood, OriginManual),
	}
	if got := DoneBy(due, copies); got == nil || got.UID != "first" {
		t.Errorf("done by %v", got)
	}
	if got := DoneBy(due, copies[:4]); got != nil {
		t.Errorf("done by %v", got)
	}
}

func TestReplan(t *testing.T) {
	t.Parallel()
	nightly := EveryDay("Europe/Berlin", 3*60)
	late := EveryDay("Europe/Berlin", 23*60)
	early := EveryDay("Europe/Berlin", 60)
	noFriday := nightly
	noFriday.Days[5].Enabled = false
	apia := EveryDay("Pacific/Apia", 3*60)
	none := Schedule{Zone: "Europe/Berlin"}

	var out strings.Builder
	for _, c := range []struct {
		story    string
		old, new Schedule
		slots    string // date:status …
		written  string // how long ago the last tick was
		now      string // Friday 20 November 2026, UTC; Berlin is an hour ahead
	}{
		{"the night's slot is done; tonight's later time runs no second backup today", nightly, late, "11-20:done", "0m", "2026-11-20 10:00"},
		{"it failed: the date has ended all the same", nightly, late, "11-20:failed", "0m", "2026-11-20 10:00"},
		{"no slot yet today, the new time is still to come", late, EveryDay("Europe/Berlin", 12*60), "11-19:done", "0m", "2026-11-20 10:00"},
		{"no slot yet today, the new time is past: nothing today", late, early, "11-19:done", "0m", "2026-11-20 10:00"},
		{"the waiting slot's day is unticked: cancelled", nightly, noFriday, "11-19:done 11-20:due", "0m", "2026-11-20 02:10"},
		{"the running slot's day is unticked: left alone", nightly, noFriday, "11-19:done 11-20:running", "0m", "2026-11-20 02:10"},
		{"the waiting slot's day keeps its tick: it waits on, and the date's new time gives no second one", nightly, late, "11-20:due", "0m", "2026-11-20 02:10"},
		{"all days unticked", nightly, none, "11-19:done 11-20:due", "0m", "2026-11-20 02:10"},
		{"the slot fell due a moment before the save, and no tick was in between: written as if one had been", nightly, late, "11-19:done", "1m", "2026-11-20 02:00"},
		{"the same with its day unticked: nothing is written", nightly, noFriday, "11-19:done", "1m", "2026-11-20 02:00"},
		{"another zone, where the date began earlier: today is used", nightly, apia, "11-20:done", "0m", "2026-11-20 10:00"},
		{"the first schedule ever", none, nightly, "", "0m", "2026-11-20 10:00"},
	} {
		now := mustTime(t, c.now)
		ago, err := time.ParseDuration(c.written)
		if err != nil {
			t.Fatal(err)
		}
		var existing []SlotState
		for _, field := range strings.Fields(c.slots) {
			day, status, _ := strings.Cut(field, ":")
			date, err := ParseDate("2026-" + day)
			if err != nil {
				t.Fatal(err)
			}
			existing = append(existing, SlotState{date, SlotStatus(status)})
		}
		plan := Replan(c.old, c.new, existing, now.Add(-ago), now)
		fmt.Fprintf(&out, "# %s\n%s → %s, %s, rows: %s\n", c.story, c.old.Describe(), c.new.Describe(), now.Format("Mon 2 Jan 15:04 UTC"), c.slots)
		fmt.Fprintf(&out, "  write %v  cancel %v  queued %v  running %v  ended %v\n", dates(plan.Write), plan.Cancel, plan.Queued, plan.Running, plan.Ended)
		next := "none"
		if plan.Next != nil {
			next = plan.Next.Due.Format("Mon 2 Jan 15:04 -07")
		}
		fmt.Fprintf(&out, "  next %s\n", next)
	}
	golden(t, "replan.txt", out.String())
}

func dates(slots []DueSlot) []Date {
	var out []Date
	for _, s := range slots {
		out = append(out, s.Date)
	}
	return out
}

// However often a schedule is saved, and whenever ticks come, each date runs at most once, and what was queued
// ends only by an untick.
func TestSavingNeverRunsADateTwice(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		schedule := drawSchedule(t)
		now := mustTime(t, "2026-03-26 00:00")
		ticked, from := now, now
		rows := map[Date]SlotStatus{}
		runs := map[Date]int{}
		write := func(slots []DueSlot) {
			for _, slot := range slots {
				if _, there := rows[slot.Date]; !there {
					rows[slot.Date] = SlotDue
					runs[slot.Date]++
				}
			}
		}
		for range rapid.IntRange(1, 40).Draw(t, "events") {
			now = now.Add(time.Duration(rapid.IntRange(1, 900).Draw(t, "minutes")) * time.Minute)
			switch rapid.IntRange(0, 2).Draw(t, "what") {
			case 0:
				after := ticked
				if from.After(after) {
					after = from
				}
				write(schedule.Slots(after, now))
				ticked = now
			case 1:
				for date, status := range rows {
					if status == SlotDue {
						rows[date] = SlotDone
					}
				}
			case 2:
				next := drawSchedule(t)
				var existing []SlotState
				for date, status := range rows {
					existing = append(existing, SlotState{date, status})
				}
				after := ticked
				if from.After(after) {
					after = from
				}
				plan := Replan(schedule, next, existing, after, now)
				for _, slot := range plan.Write {
					if slot.Due.After(now) || !slot.Due.After(after) {
						t.Fatalf("%v was not due", slot)
					}
				}
				write(plan.Write)
				for _, date := range plan.Cancel {
					if rows[date] != SlotDue || next.Days[date.Weekday()].Enabled {
						t.Fatalf("%s is cancelled though it is %s", date, rows[date])
					}
					rows[date] = SlotSkipped
				}
				if plan.Next != nil {
					if _, used := rows[plan.Next.Date]; used || !plan.Next.Due.After(now) {
						t.Fatalf("the next run %v is on a used date, or past", plan.Next)
					}
				} else if next.Enabled() {
					t.Fatal("no next run")
				}
				schedule, from = next, plan.From
			}
		}
		for date, n := range runs {
			if n > 1 {
				t.Fatalf("%s ran %d times", date, n)
			}
		}
	})
}

func TestCatchUp(t *testing.T) {
	t.Parallel()
	s := EveryDay("UTC", 3*60)
	for _, c := range []struct {
		story   string
		last    string
		now     string
		window  time.Duration
		run     string
		startBy string
		missed  string
	}{
		{"an ordinary tick", "2026-11-20 02:59", "2026-11-20 03:00", 6 * time.Hour, "2026-11-20", "2026-11-20 09:00", ""},
		{"nothing is due", "2026-11-20 03:00", "2026-11-20 03:01", 6 * time.Hour, "", "", ""},
		{"down for three nights", "2026-11-17 12:00", "2026-11-20 05:00", 6 * time.Hour, "2026-11-20", "2026-11-20 09:00", "2026-11-18 2026-11-19"},
		{"down until it was too late", "2026-11-18 12:00", "2026-11-20 09:00", 6 * time.Hour, "", "", "2026-11-19 2026-11-20"},
		{"a wider window", "2026-11-18 12:00", "2026-11-20 09:00", 24 * time.Hour, "2026-11-20", "2026-11-21 03:00", "2026-11-19"},
	} {
		got := s.CatchUp(s.Slots(mustTime(t, c.last), mustTime(t, c.now)), mustTime(t, c.now), c.window)
		run, startBy := "", ""
		if got.Run != nil {
			run, startBy = got.Run.Date.String(), got.StartBy.Format("2006-01-02 15:04")
		}
		var missed []string
		for _, m := range got.Missed {
			if m.Reason == "" {
				t.Errorf("%s: %s is missed without a reason", c.story, m.Date)
			}
			missed = append(missed, m.Date.String())
		}
		if diff := cmp.Diff([]string{c.run, c.startBy, c.missed}, []string{run, startBy, strings.Join(missed, " ")}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.story, diff)
		}
	}
}

func BenchmarkNext(b *testing.B) {
	s := mustGrid(b, "Europe/Berlin", "sun=02:30,wed=23:15")
	after := mustTime(b, "2026-03-27 12:00")
	for b.Loop() {
		if len(s.Next(after, 1)) != 1 {
			b.Fatal("no next")
		}
	}
}

func BenchmarkTickOfOneDueService(b *testing.B) {
	s := EveryDay("America/New_York", 3*60)
	now := mustTime(b, "2026-11-20 08:00")
	for b.Loop() {
		got := s.CatchUp(s.Slots(now.Add(-time.Minute), now), now, 6*time.Hour)
		if got.Run == nil || !slices.Equal(got.Missed, nil) {
			b.Fatal("not due")
		}
	}
}
