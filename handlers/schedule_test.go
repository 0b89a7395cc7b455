package handlers_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stowage/portal"
)

func schedulePath(svc portal.Service) string { return "/services/" + svc.UID + "/schedule" }

// grid reads the schedule's form: the ticked days with their times, and the zone.
func grid(a answer) string {
	times, ticked, zone := map[string]string{}, []string{}, ""
	for _, n := range a.all("name") {
		name := attr(n, "name")
		switch {
		case strings.HasPrefix(name, "time_") && attr(n, "type") == "time":
			times[strings.TrimPrefix(name, "time_")] = attr(n, "value")
		case strings.HasPrefix(name, "day_") && attr(n, "type") == "checkbox" && has(n, "checked"):
			ticked = append(ticked, strings.TrimPrefix(name, "day_"))
		}
	}
	for _, n := range a.all("selected") {
		zone = attr(n, "value")
	}
	slices.Sort(ticked)
	for i, day := range ticked {
		ticked[i] = day + "=" + times[day]
	}
	return strings.Join(ticked, ",") + " " + zone
}

func TestScheduleIsSavedAndRead(t *testing.T) {
	t.Parallel()
	s := open(t)
	v := s.as("ada@demo.test")
	a := v.get(backups(s.h100)).want(200, "Protect every night at 03:40", "a quiet time on your host", "No automatic backups", "No automatic backup is scheduled.")
	if got := grid(a); got != " Europe/Berlin" {
		t.Errorf("before: %q", got)
	}
	v.post(schedulePath(s.h100), "day_0", "on", "time_0", "02:30", "day_1", "1", "time_1", "23:15", "time_2", "07:00", "zone", "Asia/Tokyo").wantTo(backups(s.h100))
	a = v.get(backups(s.h100)).want(200, "Saved: Mon 23:15; Sun 02:30 (Asia/Tokyo).", "Times are in Asia/Tokyo", "Next run: Sun 22 Nov 02:30 Sat 21 Nov 17:30 UTC")
	if got := grid(a); got != "0=02:30,1=23:15 Asia/Tokyo" {
		t.Errorf("after: %q", got)
	}
	if got := value(a, "time_2"); got != "07:00" {
		t.Errorf("the time of a day that is not ticked became %q", got)
	}
	// The order of the fields says nothing; a field that is sent twice is refused.
	v.do("POST", schedulePath(s.h100), strings.NewReader("zone=America%2FNew_York&time_6=05%3A00&day_6=on")).wantTo(backups(s.h100))
	if got := grid(v.get(backups(s.h100))); got != "6=05:00 America/New_York" {
		t.Errorf("in another order: %q", got)
	}
	v.do("POST", schedulePath(s.h100), strings.NewReader("day_1=on&time_1=05%3A00&time_1=06%3A00&zone=UTC")).want(422, "more than once")
	v.do("POST", schedulePath(s.h100), strings.NewReader("day_1=on&time_1=05%3A00&zone=UTC&zone=UTC")).want(422, "more than once")
	if got := grid(v.get(backups(s.h100))); got != "6=05:00 America/New_York" {
		t.Errorf("after refusals: %q", got)
	}
	v.post(schedulePath(s.h100), "day_1", "on", "day_2", "on", "same", "on", "time_all", "04:20", "time_1", "01:00", "zone", "UTC").wantTo(backups(s.h100))
	if got := grid(v.get(backups(s.h100))); got != "1=04:20,2=04:20 UTC" {
		t.Errorf("one time for all days: %q", got)
	}
}

func TestOneTapProtectsEveryNight(t *testing.T) {
	t.Parallel()
	s := open(t)
	for i := range 3 {
		busy := s.addService(s.grace, 300+i, fmt.Sprintf("busy%d", i))
		s.schedule(busy, "UTC", "sun=02:40,mon=02:40,tue=02:40") // 03:40 in Berlin
	}
	v := s.as("ada@demo.test")
	a := v.get(backups(s.h100)).want(200)
	var fields []string
	for _, n := range a.all("name") {
		if f := within(n, "form"); f != nil && attr(f, "class") == "suggestion" {
			fields = append(fields, attr(n, "name"), attr(n, "value"))
		}
	}
	v.post(schedulePath(s.h100), fields...).wantTo(backups(s.h100))
	saved, err := s.db.Schedule(t.Context(), s.h100.ID)
	s.must(err)
	at := saved.Days[0].At
	if saved.Schedule != portal.EveryDay("Europe/Berlin", at) {
		t.Errorf("saved: %s %s", saved.Zone, saved.Grid())
	}
	if at < 60 || at > 300 || at >= 3*60+10 && at <= 4*60+10 {
		t.Errorf("%s is not a quiet time: three others run at 03:40", at)
	}
	v.get(backups(s.h100)).want(200, "Every night "+at.String()+", next tonight "+at.String(), "The next backup is due tonight")
}

func TestTimesAndZonesThatAreNone(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.schedule(s.h100, "Europe/Berlin", "mon=03:00")
	v := s.as("ada@demo.test")
	for _, at := range []string{"25:99", "24:00", "3:00", "03:60", "03:00:00", " 03:00", "noon", "-1:00", "٠٣:٠٠", ""} {
		a := v.post(schedulePath(s.h100), "day_1", "on", "time_1", at, "day_4", "on", "time_4", "05:00", "zone", "Asia/Tokyo").want(422)
		if a.refusal() == "" || !strings.Contains(a.refusal(), "Monday") {
			t.Errorf("%q: refusal %q", at, a.refusal())
		}
		if got := grid(a); got != "1="+at+",4=05:00 Asia/Tokyo" {
			t.Errorf("%q: what was typed is lost: %q", at, got)
		}
		if a.mark("id", "time_1-wrong") == "" {
			t.Errorf("%q: nothing is said beside the field", at)
		}
	}
	a := v.post(schedulePath(s.h100), "day_1", "on", "time_1", "99:00", "day_2", "on", "time_2", "xx", "zone", "UTC").want(422)
	if a.mark("id", "time_1-wrong") == "" || a.mark("id", "time_2-wrong") == "" {
		t.Error("only one of two wrong times is marked")
	}
	for _, zone := range []string{"Mars/Olympus", "", "Local", "../etc/passwd", "europe/berlin"} {
		a := v.post(schedulePath(s.h100), "day_1", "on", "time_1", "03:00", "zone", zone).want(422)
		if a.mark("id", "zone-wrong") == "" {
			t.Errorf("zone %q: nothing is said beside the field", zone)
		}
	}
	saved, err := s.db.Schedule(t.Context(), s.h100.ID)
	s.must(err)
	if got := saved.Zone + " " + saved.Grid(); got != "Europe/Berlin mon=03:00" {
		t.Errorf("a refused schedule was saved: %s", got)
	}
}

func TestTheLastDayIsAskedAbout(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.schedule(s.h100, "Europe/Berlin", "mon=03:00")
	s.addCopy(s.h100, 10*time.Hour, "")
	v := s.as("ada@demo.test")
	a := v.post(schedulePath(s.h100), "time_1", "03:00", "zone", "Europe/Berlin").want(200, "No automatic backups from now on?", "Fri 20 Nov 03:00")
	saved, err := s.db.Schedule(t.Context(), s.h100.ID)
	s.must(err)
	if !saved.Enabled() {
		t.Fatal("it was not asked about")
	}
	var fields []string
	for _, n := range a.all("name") {
		if f := within(n, "form"); f != nil && attr(f, "action") == schedulePath(s.h100) {
			fields = append(fields, attr(n, "name"), attr(n, "value"))
		}
	}
	v.post(schedulePath(s.h100), fields...).wantTo(backups(s.h100))
	b := v.get(backups(s.h100)).want(200, "There are no automatic backups from now on.", "That grows every day: no automatic backup is scheduled.")
	if got := value(b, "time_1"); got != "03:00" {
		t.Errorf("Monday forgot its time: %q", got)
	}
	v.post(schedulePath(s.h100), "zone", "Europe/Berlin").wantTo(backups(s.h100)) // empty already: nothing to ask
	s.schedule(s.h100, "Europe/Berlin", "mon=03:00")
	v.post(schedulePath(s.h100), "zone", "Europe/Berlin", "confirm", "1").wantTo(backups(s.h100))
}

func TestWhatTheNextRunReplaces(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.schedule(s.h100, "Europe/Berlin", "sun=03:00,mon=03:00,tue=03:00,wed=03:00,thu=03:00,fri=03:00,sat=03:00")
	v := s.as("ada@demo.test")
	oldest := s.addCopy(s.h100, 58*time.Hour, "")
	s.addCopy(s.h100, 34*time.Hour, "")
	if strings.Contains(v.get(backups(s.h100)).text(), "It will replace") {
		t.Error("a place is free, and still something is said to be replaced")
	}
	s.addCopy(s.h100, 10*time.Hour, "")
	a := v.get(backups(s.h100)).want(200, "It will replace Wed 18 Nov 03:00, 4.0 GiB.", "Every night 03:00, next tonight 03:00",
		"If it broke now you would lose 10 h.", "With this schedule at most about 25 h.", "A restore takes about 5 minutes.")
	if got := a.mark("data-backup", oldest.UID); !strings.Contains(got, "The next run replaces it") {
		t.Errorf("the oldest row says %q", got)
	}
	s.must(setProtected(s, oldest, true))
	v.get(backups(s.h100)).want(200, "It will replace Thu 19 Nov 03:00, 4.0 GiB.")
}

func TestLedger(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.clock.pass(-50 * time.Hour) // Wednesday 11:00
	s.schedule(s.h100, "Europe/Berlin", "thu=03:00,fri=03:00")
	s.clock.pass(16 * time.Hour) // Thursday 03:00
	if _, err := s.db.PlanDue(t.Context()); err != nil {
		t.Fatal(err)
	}
	sit, err := s.db.Situation(t.Context(), s.h100.ID)
	s.must(err)
	if len(sit.Operations) != 1 {
		t.Fatalf("operations: %v", sit.Operations)
	}
	v := s.as("ada@demo.test")
	slot := func() (string, string) {
		s.must(s.db.Renew(t.Context(), true))
		for _, n := range v.get(backups(s.h100)).want(200).all("data-slot") {
			if attr(n, "data-date") == "2026-11-19" {
				return attr(n, "data-state"), read(n)
			}
		}
		return "", ""
	}
	if state, text := slot(); state != "due" || !strings.Contains(text, "It may start until 09:00") {
		t.Errorf("due: %s, %s", state, text)
	}
	s.clock.pass(7 * time.Hour)
	v = s.as("ada@demo.test")
	if _, err := s.db.ExpireQueued(t.Context()); err != nil {
		t.Fatal(err)
	}
	state, text := slot()
	if state != "missed" || !strings.Contains(text, "No free turn on the host in time.") || !strings.Contains(text, "The next run is tomorrow 03:00.") && !strings.Contains(text, "The next run is tonight 03:00.") {
		t.Errorf("missed: %s, %s", state, text)
	}
	a := v.get("/services").want(200)
	var dots []string
	for _, n := range a.all("data-slot") {
		dots = append(dots, attr(n, "data-date")+" "+attr(n, "data-state"))
	}
	if diff := cmp.Diff([]string{"2026-11-19 missed"}, dots); diff != "" {
		t.Errorf("dots of the list: %s", diff)
	}
	s.addCopy(s.h100, time.Hour, "")
	v.get("/services").want(200, "Last backup missed")
	s.as("admin@demo.test").get("/admin").want(200, "Failed and missed slots", "missed, no free turn on the host in time")
}
