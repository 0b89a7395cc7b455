package lang_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stowage/portal"
	"stowage/portal/lang"
)

// TestRules says what the rules say in German beside the English, for people to read, and in the language that shows
// what is in no catalogue.
func TestRules(t *testing.T) {
	t.Parallel()
	said, kinds := map[string]string{}, map[string]bool{}
	for _, text := range rules(t) {
		english, german := lang.For(lang.English).Say(text), lang.For(lang.German).Say(text)
		if kind := figures.ReplaceAllString(english, "1"); !kinds[kind] {
			kinds[kind], said[english] = true, german
		}
		if english != text.String() {
			t.Errorf("the catalogue says %q, and without one it is %q", english, text)
		}
		if left := unspoken(lang.For(lang.Pseudo).Say(text)); left != "" {
			t.Errorf("%q: %q is in no catalogue", english, left)
		}
	}
	var out strings.Builder
	delete(said, "")
	for _, english := range slices.Sorted(maps.Keys(said)) {
		fmt.Fprintf(&out, "%s\n    %s\n", english, said[english])
	}
	path := filepath.Join("testdata", "rules.txt")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(out.String(), "\n")); diff != "" {
		t.Errorf("%s differs (-want +got; -update writes it):\n%s", path, diff)
	}
}

// figures are what sentences of one kind differ in.
var figures = regexp.MustCompile(`\d+`)

// data is what stands in the rules' sentences as it is: instants, sizes, names.
var data = regexp.MustCompile(`(Mon|Tue|Wed|Thu|Fri|Sat|Sun) \d+ [A-Z][a-z]+( \d{4})? \d\d:\d\d|\d+(\.\d)? [KMGT]?i?B|"[^"]*"|\(disk\)`)

// unspoken gives what of a text in the pseudo language has the letters of English.
func unspoken(text string) string {
	return strings.Join(regexp.MustCompile(`\w*[aeiouAEIOU]\w*`).FindAllString(data.ReplaceAllString(text, ""), -1), " ")
}

// rules gives what the rules say in very many situations.
func rules(t *testing.T) (texts []portal.Text) {
	t.Helper()
	berlin, err := portal.Zone("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 20, 8, 12, 0, 0, berlin)
	copies := func(classes string) (out []portal.Copy) {
		for i, c := range classes {
			v := portal.Copy{UID: fmt.Sprint("u", i), ID: int64(i + 1), Volid: fmt.Sprint("v", i), Class: portal.ClassGood, Origin: portal.OriginScheduled, Listed: true,
				StartedAt: now.Add(-time.Duration(24*(len(classes)-i)) * time.Hour), Size: 41 << 30}
			switch c {
			case 's':
				v.Class = portal.ClassSuspect
			case 'p':
				v.Protected = true
			case 'v':
				v.VerifyFailed = true
			case 'u':
				v.PinnedBy = "other"
			case 'l':
				v.Leftover = true
			}
			out = append(out, v)
		}
		return out
	}
	grids := map[string]portal.Schedule{}
	for _, grid := range []string{"", "sun=02:30", "mon=03:00,tue=03:00,wed=03:00,thu=03:00,fri=03:00", "mon=23:15,wed=23:15,fri=23:15", "mon=12:00,tue=12:00,wed=12:00,thu=12:00,fri=12:00,sat=12:00,sun=12:00",
		"mon=01:00,tue=02:00,wed=03:00,thu=04:00", "mon=01:00,tue=02:00,wed=03:00,thu=04:00,fri=05:00,sat=06:00,sun=07:00", "mon=03:00,tue=03:00,wed=03:00,thu=03:00,fri=03:00,sat=03:00,sun=03:00", "sat=03:00,sun=04:00"} {
		s, err := portal.ParseGrid("Europe/Berlin", grid)
		if err != nil {
			t.Fatal(err)
		}
		grids[grid] = s
		texts = append(texts, s.Describe())
	}
	for _, classes := range []string{"", "g", "s", "ss", "gg", "ggg", "gggg", "pp", "ppp", "gp", "pg", "sg", "gs", "vg", "gv", "uu", "ug", "lg", "pgg"} {
		for _, grid := range slices.Sorted(maps.Keys(grids)) {
			for _, in := range []portal.ProtectionInput{{Quota: 0}, {Quota: 3}, {Quota: 3, Running: true}, {Quota: 3, Takes: 6 * time.Minute, Restores: []time.Duration{5 * time.Minute, 8 * time.Minute}},
				{Quota: 3, Restores: []time.Duration{2 * time.Hour, 5 * time.Hour}}, {Quota: 3, Restores: []time.Duration{time.Minute}}, {Quota: 3, Restores: []time.Duration{3 * time.Second}}} {
				in.Copies, in.Schedule, in.Now, in.Location = copies(classes), grids[grid], now, berlin
				if next := in.Schedule.Next(now, 1); len(next) > 0 {
					in.Next = next[0].Due
				}
				texts = append(texts, portal.ProtectionOf(in).Sentence)
			}
		}
		for quota := range 4 {
			c := copies(classes)
			for _, p := range []portal.Policy{{Eviction: portal.EvictBefore, LastCopy: portal.LastOverlap}, {Eviction: portal.EvictBefore, LastCopy: portal.LastHold}, {Eviction: portal.EvictAfter, LastCopy: portal.LastHold}} {
				texts = append(texts, portal.Evict(c, quota, p, now).Reason)
			}
			for _, made := range []string{"u0", "u1", "nobody"} {
				texts = append(texts, portal.EvictAfterBackup(c, quota, made, "").Reason, portal.EvictAfterBackup(c, quota, made, "u0").Reason, portal.RemovalWarning(c, made))
			}
			texts = append(texts, portal.ManualRoom(c, quota, 0).Reason, portal.ManualRoom(c, quota, 1).Reason, portal.CounterOf(c, quota, 1).Words())
		}
		_, sentence := portal.QuotaZero(copies(classes))
		texts = append(texts, sentence)
	}
	for _, r := range []portal.BackupResult{
		{}, {TaskOK: true}, {TaskOK: true, Listed: true}, {TaskOK: true, Listed: true, DisksTotal: 1}, {TaskOK: true, Listed: true, DisksTotal: 9, Size: 1 << 30},
		{TaskOK: true, Listed: true, DisksTotal: 9 << 30, LogTotal: 5 << 30, Size: 1 << 30}, {TaskOK: true, Listed: true, DisksTotal: 9, LogTotal: 9, Size: 1 << 30, VerifyFailed: true},
		{TaskOK: true, Listed: true, DisksTotal: 9, LogTotal: 9, Size: 1 << 30, PreviousComplete: 41 << 30}, {TaskOK: true, Listed: true, DisksTotal: 9, LogTotal: 9, Size: 1 << 30, Warnings: 1},
		{TaskOK: true, Listed: true, DisksTotal: 9, LogTotal: 9, Size: 1 << 30, Warnings: 2},
	} {
		_, reason := portal.Judge(r)
		texts = append(texts, reason)
	}
	for _, hours := range []int{-400 * 24, -24, -12, -4, 1, 6, 13, 20, 30, 60, 400 * 24} {
		texts = append(texts, portal.Near(now.Add(time.Duration(hours)*time.Hour), now, berlin), portal.Duration(time.Duration(hours)*time.Hour+12*time.Minute), portal.Duration(time.Duration(hours)*time.Hour))
	}
	for _, lock := range []string{"backup", "snapshot", "snapshot-delete", "rollback", "migrate", "create", "clone", "suspending", "suspended", "disk"} {
		texts = append(texts, portal.LockedSentence(lock), portal.LockedClause(lock))
	}
	return append(texts, refusals(now, berlin)...)
}

// refusals gives what is answered to requests that can't be granted, with the labels of their ways out.
func refusals(now time.Time, zone *time.Location) (texts []portal.Text) {
	product := portal.NewProduct("Small")
	product.Quota, product.Storage, product.Protect = 2, "local", 1
	base := portal.Situation{Product: product, Service: portal.Service{State: portal.ServiceActive}, Location: zone, Now: now}
	for i := range 2 {
		base.Backups = append(base.Backups, portal.Backup{UID: fmt.Sprint("u", i), ID: int64(i + 1), Volid: fmt.Sprint("v", i), Class: portal.ClassGood, Origin: portal.OriginManual, StartedAt: now.Add(-time.Duration(i+1) * 24 * time.Hour), Size: 41 << 30})
	}
	for _, edit := range []func(*portal.Situation){
		func(*portal.Situation) {},
		func(s *portal.Situation) { s.Service.State = portal.ServiceSuspended },
		func(s *portal.Situation) { s.Service.State = portal.ServiceMachineGone },
		func(s *portal.Situation) { s.Service.State = portal.ServiceMachineReplaced },
		func(s *portal.Situation) { s.Service.State = portal.ServiceTerminating },
		func(s *portal.Situation) { s.Product.Quota = 0 },
		func(s *portal.Situation) { s.Service.Lock = "snapshot" },
		func(s *portal.Situation) { s.Service.Lock, s.Service.LockSince = "snapshot", now.Add(-3*time.Hour) },
		func(s *portal.Situation) { s.Backups[0].Protected, s.Backups[1].Protected = true, true },
		func(s *portal.Situation) { s.Backups[0].Removing, s.Backups[1].PinnedBy = true, "op" },
		func(s *portal.Situation) {
			s.Backups[0].Class, s.Backups[1].Class = portal.ClassRunning, portal.ClassMissing
		},
		func(s *portal.Situation) {
			s.Operations = []portal.Operation{{UID: "op", Kind: portal.KindBackup, State: portal.StateRunning, StartedAt: now.Add(-time.Second)}}
		},
		func(s *portal.Situation) {
			s.Operations = []portal.Operation{{UID: "op", Kind: portal.KindBackup, State: portal.StateRunning, StartedAt: now.Add(-7 * time.Minute)}}
		},
		func(s *portal.Situation) {
			s.Operations = []portal.Operation{{UID: "op", Kind: portal.KindBackup, State: portal.StateQueued, CreatedAt: now.Add(-time.Second)}}
		},
		func(s *portal.Situation) {
			s.Operations = []portal.Operation{{UID: "op", Kind: portal.KindBackup, State: portal.StateQueued, CreatedAt: now.Add(-7 * time.Minute)}}
		},
		func(s *portal.Situation) {
			s.Operations = []portal.Operation{{UID: "op", Kind: portal.KindBackup, State: portal.StateHeld, StartedAt: now.Add(-75 * time.Hour)}}
		},
		func(s *portal.Situation) {
			s.Operations = []portal.Operation{{UID: "op", Kind: portal.KindProtect, BackupID: 1, Protect: true, State: portal.StateQueued}}
		},
		func(s *portal.Situation) { s.Product.Protect = 0 },
	} {
		s := base
		s.Backups = slices.Clone(base.Backups)
		edit(&s)
		for _, request := range []portal.Request{
			portal.ManualBackup("x", "", ""), portal.ManualBackup("x", "two\nlines", ""), portal.ManualBackup("x", strings.Repeat("x", 201), ""), portal.ManualBackup("x", "", "u1"),
			portal.RemoveBackup("x", "u0"), portal.RemoveBackup("x", "u1"), portal.RemoveBackup("x", "nobody"), portal.ProtectBackup("x", "u0", true), portal.ProtectBackup("x", "u0", false),
			portal.ProtectBackup("x", "u1", true), portal.RetryOperation("x", portal.Operation{State: portal.StateRunning}, "", ""),
		} {
			_, err := request(s)
			var refusal *portal.Error
			if !errors.As(err, &refusal) {
				continue
			}
			texts = append(texts, refusal.Sentence)
			for _, w := range refusal.WayOuts {
				texts = append(texts, w.Label)
			}
		}
	}
	return texts
}
