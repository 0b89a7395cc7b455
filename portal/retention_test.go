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

var retentionNow = time.Date(2026, 11, 20, 3, 0, 0, 0, time.UTC)

// parseCopies reads copies as the tables below write them: the day of November it was made (lower is older), a
// letter for its class, and marks. "3g" is good; "s" suspect, "p" partial, "f" failed, "r" running, "m" missing,
// "x" external, "b" good and made before a restore. "!" protected, "@" pinned, "v" check failed, "l" of a failed
// operation, "?" not listed, "-" being removed.
func parseCopies(t *testing.T, text string) []Copy {
	t.Helper()
	classes := map[byte]Class{'g': ClassGood, 's': ClassSuspect, 'p': ClassPartial, 'f': ClassFailed, 'r': ClassRunning, 'm': ClassMissing, 'x': ClassExternal, 'b': ClassGood}
	var copies []Copy
	for i, field := range strings.Fields(text) {
		var day int
		var rest string
		if n, err := fmt.Sscanf(field, "%d%s", &day, &rest); n != 2 || err != nil {
			t.Fatalf("copy %q: %v", field, err)
		}
		c := Copy{
			UID: fmt.Sprintf("u%02d-%d", day, i), ID: int64(i + 1), Volid: fmt.Sprintf("local:backup/%02d-%c", day, rest[0]),
			Class: classes[rest[0]], Origin: OriginScheduled, Listed: true, Size: 1 << 30,
			StartedAt: time.Date(2026, 11, day, 3, 0, 0, 0, time.UTC),
		}
		switch rest[0] {
		case 'b':
			c.Origin, c.KeepUntil = OriginBeforeRestore, c.StartedAt.Add(SafetyKeep)
		case 'x':
			c.Origin = OriginExternal
		case 'f', 'p':
			c.Leftover = true
		}
		for _, mark := range rest[1:] {
			switch mark {
			case '!':
				c.Protected = true
			case '@':
				c.PinnedBy = "other"
			case 'v':
				c.VerifyFailed = true
			case 'l':
				c.Leftover = true
			case '?':
				c.Listed = false
			case '-':
				c.Removing = true
			default:
				t.Fatalf("mark %q in %q", mark, field)
			}
		}
		copies = append(copies, c)
	}
	return copies
}

func volids(copies []Copy) string {
	names := make([]string, len(copies))
	for i, c := range copies {
		names[i] = strings.TrimPrefix(c.Volid, "local:backup/")
	}
	return strings.Join(names, " ")
}

func volid(c *Copy) string {
	if c == nil {
		return "–"
	}
	return volids([]Copy{*c})
}

func TestEvict(t *testing.T) {
	t.Parallel()
	standard := Policy{EvictBefore, LastOverlap}
	hold := Policy{EvictBefore, LastHold}
	after := Policy{EvictAfter, LastOverlap}
	var out strings.Builder
	for _, c := range []struct {
		story  string
		copies string
		quota  int
		policy Policy
	}{
		{"none yet", "", 3, standard},
		{"a place is free", "10g 11g", 3, standard},
		{"full: the oldest goes first", "12g 10g 11g", 3, standard},
		{"full, the product creates first", "10g 11g 12g", 3, after},
		{"over the quota: one goes once one has come, no more", "10g 11g 12g 13g 14g", 3, standard},
		{"the oldest is protected", "10g! 11g 12g", 3, standard},
		{"the oldest is pinned", "10g@ 11g 12g", 3, standard},
		{"all are protected", "10g! 11g! 12g!", 3, standard},
		{"protected or in use", "10g! 11g@ 12g-", 3, standard},
		{"only the newest is free: made first", "10g! 11g! 12g", 3, standard},
		{"only the newest is free: held", "10g! 11g! 12g", 3, hold},
		{"quota 1", "12g", 1, standard},
		{"quota 1, held", "12g", 1, hold},
		{"quota 1, created first in any case", "12g", 1, Policy{EvictAfter, LastHold}},
		{"a failed check goes before an older good one", "10g 11gv 12g", 3, standard},
		{"a leftover goes before a failed check", "10g 11gv 12gl 13g", 4, standard},
		{"a suspect copy goes by its age", "10g 11s 12g", 3, standard},
		{"a suspect copy is the oldest", "10s 11g 12g", 3, standard},
		{"the newest is suspect: the good one before it stays", "10g 11s", 2, standard},
		{"only one is good, the rest suspect", "10g 11s 12s", 3, standard},
		{"only one is good and the rest can't go", "10g 11s! 12s!", 3, standard},
		{"none is good: made first", "10s 11s 12s", 3, standard},
		{"none is good, held: the newest stays", "10s 11s 12s", 3, hold},
		{"none is good, only one", "10s", 1, standard},
		{"none is good, only one, held", "10s", 1, hold},
		{"all checks failed", "10gv 11gv", 2, standard},
		{"a bad one and a suspect one", "10gv 11s", 2, standard},
		{"a copy made before a restore counts nothing and stays", "09b 10g 11g", 2, standard},
		{"it is the newest, and still the newest regular one is kept back", "10g! 11g 12b", 2, standard},
		{"external, missing and running ones count nothing", "08x 09m 10g 11g 12r", 2, standard},
		{"remains of failed backups hold no place, and are cleared", "08f 09p 10g 11g", 2, standard},
		{"remains are cleared where a place is free too", "08f 10g", 2, standard},
		{"fresh remains are left alone: they may still be written", "10g 20f 20p", 2, standard},
		{"without a good copy even a torso stays", "08p 10s", 1, standard},
		{"one that the listing lacks is no victim and nothing to rely on", "10g? 11g 12g?", 3, standard},
		{"one being removed is no victim", "10g- 11g 12g", 3, standard},
		{"quota 0", "10g", 0, standard},
	} {
		copies := parseCopies(t, c.copies)
		e := Evict(copies, c.quota, c.policy, retentionNow)
		fmt.Fprintf(&out, "# %s\n%s, quota %d, %s/%s\n", c.story, c.copies, c.quota, c.policy.Eviction, c.policy.LastCopy)
		fmt.Fprintf(&out, "  %s: victim %s %s, clear [%s], skip %v, counted %d, newest %s, candidates [%s]\n",
			e.Why, volid(e.Victim), e.Timing, volids(e.Clear), e.Skip, e.Counted, volid(e.Newest), volids(e.Candidates))
		fmt.Fprintf(&out, "  %s\n  (%s)\n", e.Reason, e.Staff)
	}
	golden(t, "evict.txt", out.String())
}

func TestEvictAfterBackup(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	for _, c := range []struct {
		story  string
		copies string // the last is the new one
		limit  int
		chosen int // place of the chosen copy, from 1; 0 = none
	}{
		{"the new one is good: the oldest goes", "10g 11g 12g 20g", 3, 0},
		{"asked again after it went", "11g 12g 20g", 3, 0},
		{"quota 1: the one before goes", "12g 20g", 1, 0},
		{"the new one is suspect: nothing goes", "12g 20s", 1, 0},
		{"the new one is not listed: nothing goes", "12g 20g?", 1, 0},
		{"all others protected meanwhile", "12g! 20g", 1, 0},
		{"over the quota before: still one for one", "10g 11g 12g 13g 20g", 4, 0},
		{"the client chose one in the middle", "10g 11g 12g 20g", 3, 2},
		{"the chosen one was protected meanwhile", "10g 11g! 12g 20g", 3, 2},
		{"the chosen one went already", "10g 12g 20g", 3, 9},
		{"the client chose, and a place is free by now", "10g 20g", 3, 1},
		{"another is newer than the new one", "10g 25g 20g", 2, 0},
	} {
		copies := parseCopies(t, c.copies)
		made, chosen := copies[len(copies)-1].UID, ""
		if c.chosen > len(copies) {
			chosen = "gone"
		} else if c.chosen > 0 {
			chosen = copies[c.chosen-1].UID
		}
		e := EvictAfterBackup(copies, c.limit, made, chosen)
		fmt.Fprintf(&out, "# %s\n%s, %d may stay, chosen %q\n  %s: victim %s %s, skip %v\n  %s\n  (%s)\n",
			c.story, c.copies, c.limit, chosen, e.Why, volid(e.Victim), e.Timing, e.Skip, e.Reason, e.Staff)
	}
	golden(t, "evict-after.txt", out.String())
}

func TestCopiesAreOrderedByStartThenVolid(t *testing.T) {
	t.Parallel()
	at := func(day int) time.Time { return time.Date(2026, 11, day, 0, 0, 0, 0, time.UTC) }
	// The storage's time lies (the repeated hour); our own start decides, else the task's, else the storage's.
	copies := []Copy{
		{UID: "e", Class: ClassGood, Listed: true, Volid: "v5", StartedAt: at(5), CTime: at(1)},
		{UID: "d", Class: ClassGood, Listed: true, Volid: "v4", UPIDStart: at(4), CTime: at(2)},
		{UID: "c", Class: ClassGood, Listed: true, Volid: "v3", CTime: at(3)},
		{UID: "b", Class: ClassGood, Listed: true, Volid: "v2", StartedAt: at(2), UPIDStart: at(9), CTime: at(9)},
		{UID: "a", Class: ClassGood, Listed: true, Volid: "v1", StartedAt: at(2), CTime: at(9)},
	}
	e := Evict(copies, 5, Policy{EvictBefore, LastOverlap}, retentionNow)
	var order []string
	for _, c := range e.Candidates {
		order = append(order, c.UID)
	}
	if diff := cmp.Diff([]string{"a", "b", "c", "d", "e"}, order); diff != "" {
		t.Error(diff)
	}
	if e.Newest.UID != "e" || e.Victim.UID != "a" {
		t.Errorf("newest %s, victim %s", e.Newest.UID, e.Victim.UID)
	}
}

func TestManualRoom(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	for _, c := range []struct {
		story   string
		copies  string
		quota   int
		running int
	}{
		{"a place is free", "10g 11g", 3, 0},
		{"the last place is taken by the running one", "10g 11g", 3, 1},
		{"full", "10g 11g 12g", 3, 0},
		{"one place, and it may be given: the new one comes first", "10g", 1, 0},
		{"over the quota", "10g 11g 12g 13g", 2, 0},
		{"all protected", "10g! 11g!", 2, 0},
		{"protected or in use", "10g! 11g@", 2, 0},
		{"a failed check is offered first", "10g 11gv 12g", 3, 0},
		{"copies made before a restore take no place", "09b 10g", 2, 0},
		{"quota 0", "10g", 0, 0},
	} {
		room := ManualRoom(parseCopies(t, c.copies), c.quota, c.running)
		fmt.Fprintf(&out, "# %s\n%s, quota %d, running %d\n  allowed %v, offer %s, choices [%s]\n  %s\n",
			c.story, c.copies, c.quota, c.running, room.Allowed, volid(room.Offer), volids(room.Choices), room.Reason)
	}
	golden(t, "manual-room.txt", out.String())
}

func TestSafetyExpired(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		story, copies, want string
	}{
		{"within its week", "15b 19g", ""},
		{"after its week", "10b 19g", "10-b"},
		{"after its week, but the newest good one", "09g 10b", ""},
		{"after its week, but the only one", "10b", ""},
		{"followed by another: one is kept", "17b 18b 19g", "17-b"},
		{"pinned, protected, not listed", "08b@ 09b! 10b? 19g", ""},
		{"an ordinary copy never", "01g 19g", ""},
	} {
		if got := volids(SafetyExpired(parseCopies(t, c.copies), retentionNow)); got != c.want {
			t.Errorf("%s: [%s] may go, want [%s]", c.story, got, c.want)
		}
	}
}

func TestRemovalWarning(t *testing.T) {
	t.Parallel()
	copies := parseCopies(t, "10g 12g 13s")
	if got := RemovalWarning(copies, copies[1].UID).String(); got != "This is your newest good backup. The one before it is 2 days older." {
		t.Error(got)
	}
	if got := RemovalWarning(copies, copies[0].UID) + RemovalWarning(copies, copies[2].UID) + RemovalWarning(copies, "nobody"); got != "" {
		t.Error(got)
	}
	if got := RemovalWarning(copies[1:], copies[1].UID); !strings.HasPrefix(got.String(), "This is your only good backup.") {
		t.Error(got)
	}
}

func TestUnpin(t *testing.T) {
	t.Parallel()
	copies := []Copy{{UID: "a", PinnedBy: "me", Removing: true}, {UID: "b", PinnedBy: "other", Removing: true}}
	got := Unpin(copies, "me")
	if got[0].PinnedBy != "" || got[0].Removing || got[1].PinnedBy != "other" || !got[1].Removing || copies[0].PinnedBy != "me" {
		t.Errorf("%+v from %+v", got, copies)
	}
}

func drawCopies(t *rapid.T) []Copy {
	n := rapid.IntRange(0, 9).Draw(t, "copies")
	copies := make([]Copy, n)
	for i := range copies {
		day := rapid.IntRange(1, 19).Draw(t, "day")
		c := Copy{
			UID: fmt.Sprintf("u%d", i), ID: int64(i + 1), Listed: rapid.IntRange(0, 9).Draw(t, "listed") > 0,
			Volid:        fmt.Sprintf("v%02d-%d", rapid.IntRange(0, 3).Draw(t, "volid"), i),
			Class:        rapid.SampledFrom([]Class{ClassGood, ClassGood, ClassGood, ClassSuspect, ClassPartial, ClassFailed, ClassMissing, ClassExternal, ClassRunning}).Draw(t, "class"),
			Origin:       rapid.SampledFrom([]Origin{OriginScheduled, OriginScheduled, OriginManual, OriginBeforeRestore}).Draw(t, "origin"),
			StartedAt:    time.Date(2026, 11, day, 3, 0, 0, 0, time.UTC),
			Protected:    rapid.IntRange(0, 4).Draw(t, "protected") == 0,
			VerifyFailed: rapid.IntRange(0, 5).Draw(t, "bad") == 0,
			Leftover:     rapid.IntRange(0, 6).Draw(t, "leftover") == 0,
			Removing:     rapid.IntRange(0, 9).Draw(t, "removing") == 0,
		}
		if rapid.IntRange(0, 6).Draw(t, "pinned") == 0 {
			c.PinnedBy = "other"
		}
		if c.Class == ClassExternal {
			c.Origin = OriginExternal
		}
		if c.Origin == OriginBeforeRestore {
			c.KeepUntil = c.StartedAt.Add(SafetyKeep)
		}
		copies[i] = c
	}
	return copies
}

// What may never be deleted automatically, whatever the copies look like; and that the victim is the smallest.
func TestEvictNeverTakesWhatMustStay(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		copies := drawCopies(t)
		quota := rapid.IntRange(0, 6).Draw(t, "quota")
		policy := Policy{
			rapid.SampledFrom([]EvictionMode{EvictBefore, EvictAfter}).Draw(t, "eviction"),
			rapid.SampledFrom([]LastCopyMode{LastOverlap, LastHold}).Draw(t, "last copy"),
		}
		given := slices.Clone(copies)
		e := Evict(copies, quota, policy, retentionNow)
		if diff := cmp.Diff(given, copies); diff != "" {
			t.Fatalf("the copies were changed:\n%s", diff)
		}
		counted := len(Counted(copies))
		if e.Reason == "" || e.Staff == "" || e.Why == "" {
			t.Fatalf("no reason: %+v", e)
		}
		if (e.Victim == nil) != (e.Timing == TimingNone) || e.Skip && (e.Victim != nil || e.Clear != nil) {
			t.Fatalf("contradiction: %+v", e)
		}
		if !e.Skip && counted >= quota && e.Victim == nil {
			t.Fatalf("%d/%d, and nothing makes room", counted, quota)
		}
		if counted < quota && (e.Victim != nil || e.Skip) {
			t.Fatalf("%d/%d, and yet %+v", counted, quota, e)
		}
		deletions := slices.Clone(e.Clear)
		if e.Victim != nil {
			deletions = append(deletions, *e.Victim)
		}
		for _, c := range deletions {
			if c.Protected || c.PinnedBy != "" || c.Removing || !c.Listed || c.Origin == OriginBeforeRestore && c.Class == ClassGood || c.Class == ClassExternal || c.Class == ClassMissing || c.Class == ClassRunning {
				t.Fatalf("%+v may not go", c)
			}
		}
		for _, c := range e.Clear {
			if c.Good() || c.Class == ClassSuspect {
				t.Fatalf("%+v is cleared like rubbish", c)
			}
		}
		if e.Timing == TimingBefore {
			left := slices.DeleteFunc(slices.Clone(copies), func(c Copy) bool { return c.UID == e.Victim.UID })
			newest := Newest(Counted(copies))
			if newest != nil && newest.UID == e.Victim.UID {
				t.Fatal("the newest good copy goes before the new one is made")
			}
			if e.Victim.Good() && Newest(Counted(left)) == nil {
				t.Fatal("the only good copy goes before the new one is made")
			}
		}
		if e.Victim != nil {
			kept := keeper(Counted(copies))
			for _, c := range Counted(copies) {
				free := c.Listed && !c.Protected && c.PinnedBy == "" && !c.Removing && (kept == nil || c.UID != kept.UID)
				smaller := victimClass(c) < victimClass(*e.Victim) || victimClass(c) == victimClass(*e.Victim) && older(c, *e.Victim) < 0
				if free && smaller {
					t.Fatalf("%s goes, though %s is smaller", e.Victim.Volid, c.Volid)
				}
			}
		}
	})
}

// Many nights with backups of every outcome: never above max(quota, before), but for one while an overlap runs;
// never without a good copy where there was one; good copies deleted ≤ complete backups made + 1.
func TestManyNights(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		copies := drawCopies(t)
		for i := range copies {
			copies[i].Listed, copies[i].Removing = true, false
		}
		policy := Policy{
			rapid.SampledFrom([]EvictionMode{EvictBefore, EvictAfter}).Draw(t, "eviction"),
			rapid.SampledFrom([]LastCopyMode{LastOverlap, LastHold}).Draw(t, "last copy"),
		}
		quota := rapid.IntRange(1, 5).Draw(t, "quota")
		start := len(Counted(copies))
		now := retentionNow
		complete, deleted := 0, 0
		remove := func(uid string) {
			i := slices.IndexFunc(copies, func(c Copy) bool { return c.UID == uid })
			if copies[i].Good() {
				deleted++
			}
			copies = slices.Delete(copies, i, i+1)
		}
		for night := range rapid.IntRange(1, 12).Draw(t, "nights") {
			now = now.Add(24 * time.Hour)
			before := len(Counted(copies))
			if start >= quota && before < min(start, quota-1) || start > quota && before < start {
				t.Fatalf("night %d: shrunk from %d to %d copies, quota %d", night, start, before, quota)
			}
			hadGood := Newest(Counted(copies)) != nil
			limit := max(quota, before)
			e := Evict(copies, quota, policy, now)
			if e.Skip {
				continue
			}
			for _, c := range e.Clear {
				remove(c.UID)
			}
			if e.Timing == TimingBefore {
				remove(e.Victim.UID)
			}
			made := fmt.Sprintf("n%d", night)
			class := rapid.SampledFrom([]Class{ClassGood, ClassGood, ClassGood, ClassSuspect, ClassPartial, ClassFailed}).Draw(t, "outcome")
			copies = append(copies, Copy{
				UID: made, Volid: "n" + now.Format(time.DateOnly), Class: class, Origin: OriginScheduled, StartedAt: now, Listed: true,
				Leftover: class == ClassFailed || class == ClassPartial,
			})
			if class == ClassGood || class == ClassSuspect {
				complete++
			}
			over := 0
			if e.Timing == TimingAfter {
				over = 1
			}
			if n := len(Counted(copies)); n > limit+over {
				t.Fatalf("night %d: %d copies, %d allowed", night, n, limit+over)
			}
			if e.Timing == TimingAfter {
				for range 2 { // the second time there is nothing left to do
					if last := EvictAfterBackup(copies, limit, made, ""); last.Victim != nil {
						if last.Victim.UID == made || last.Victim.Protected || last.Victim.PinnedBy != "" {
							t.Fatalf("%+v may not go", last.Victim)
						}
						remove(last.Victim.UID)
					}
				}
			}
			if n := len(Counted(copies)); class == ClassGood && n > limit {
				t.Fatalf("night %d ended with %d copies, %d allowed", night, n, limit)
			}
			if hadGood && Newest(Counted(copies)) == nil {
				t.Fatalf("night %d left no good copy", night)
			}
		}
		if deleted > complete+1 {
			t.Fatalf("%d good copies deleted for %d complete backups", deleted, complete)
		}
	})
}
