package portal

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Class says what a copy is worth.
type Class string

// The classes of a copy. Good and suspect ones are complete: they hold every disk that was to be in them.
const (
	ClassRunning  Class = "running"  // being made
	ClassGood     Class = "good"     // complete, and nothing speaks against it
	ClassSuspect  Class = "suspect"  // complete, but much smaller than the one before, or its check failed
	ClassPartial  Class = "partial"  // an archive without all that was to be in it
	ClassFailed   Class = "failed"   // no usable archive
	ClassMissing  Class = "missing"  // removed outside the portal
	ClassExternal Class = "external" // not ours
)

// Copy is an archive as the retention rules see it.
type Copy struct {
	UID          string
	ID           int64
	Volid        string
	Class        Class
	Origin       Origin
	StartedAt    time.Time // our own start of the vzdump; zero = not known
	UPIDStart    time.Time // the start that its task's UPID names; zero = not known
	CTime        time.Time // what the storage says
	Size         int64
	Protected    bool
	VerifyFailed bool
	Verified     bool
	PinnedBy     string    // uid of an unfinished operation that names it, or ""
	KeepUntil    time.Time // of a before-restore copy: SafetyKeep after it was made
	Leftover     bool      // of an operation of ours that failed
	Listed       bool      // stood in the last listing
	Removing     bool      // an operation is removing it
}

// SafetyKeep is how long a copy made before a restore is kept. It stands outside the quota.
const SafetyKeep = 7 * 24 * time.Hour

// leftoverAge is how old the remains of a failed backup have to be before they are cleared away. An operation
// whose outcome is unknown is looked for so long, and may still be writing.
const leftoverAge = 24 * time.Hour

// Start orders copies in time: our own start, or else the task's, or else what the storage says.
func (c Copy) Start() time.Time {
	switch {
	case !c.StartedAt.IsZero():
		return c.StartedAt
	case !c.UPIDStart.IsZero():
		return c.UPIDStart
	default:
		return c.CTime
	}
}

// Good tells whether the copy may be relied on: complete, in the last listing, not being removed, and no check
// of it has failed. A suspect copy is never good.
func (c Copy) Good() bool {
	return c.Class == ClassGood && c.Listed && !c.VerifyFailed && !c.Removing
}

// older orders by start, then volid.
func older(a, b Copy) int {
	return cmp.Or(a.Start().Compare(b.Start()), strings.Compare(a.Volid, b.Volid), strings.Compare(a.UID, b.UID))
}

// Counted gives the copies that the counter counts and the quota limits: complete ones of ours (good and
// suspect), protected ones, pinned ones, and those whose verification failed included. A copy stays counted
// until it is believed missing or its removal was seen. Not counted: copies made before a restore, remains of
// failed backups, running, missing and external ones.
func Counted(copies []Copy) []Copy {
	var counted []Copy
	for _, c := range copies {
		if (c.Class == ClassGood || c.Class == ClassSuspect) && c.Origin != OriginBeforeRestore && c.Origin != OriginExternal {
			counted = append(counted, c)
		}
	}
	return counted
}

// Newest gives the newest good copy, of any origin of ours, or nil.
func Newest(copies []Copy) *Copy {
	var newest *Copy
	for _, c := range copies {
		if c.Good() && c.Origin != OriginExternal && (newest == nil || older(c, *newest) > 0) {
			newest = &c
		}
	}
	return newest
}

// Unpin gives the copies as the operation itself sees them: what it alone pins or removes is free to it.
func Unpin(copies []Copy, operationUID string) []Copy {
	out := slices.Clone(copies)
	for i := range out {
		if operationUID != "" && out[i].PinnedBy == operationUID {
			out[i].PinnedBy, out[i].Removing = "", false
		}
	}
	return out
}

// EvictionMode says when a product makes room for a new copy.
type EvictionMode string

// LastCopyMode says what a product does when only the newest good copy could make room.
type LastCopyMode string

// The choices of a product.
const (
	EvictBefore EvictionMode = "before" // delete the oldest, then create: never above the quota
	EvictAfter  EvictionMode = "after"  // create, verify, then delete: one over while it runs, everywhere

	LastOverlap LastCopyMode = "overlap" // create, verify, then delete
	LastHold    LastCopyMode = "hold"    // make no new copy, and say so
)

// Policy is how a product makes room.
type Policy struct {
	Eviction EvictionMode
	LastCopy LastCopyMode
}

// Why names the outcome of an eviction, for code that has to branch on it.
type Why string

// The outcomes.
const (
	WhyRoom         Why = "room"          // a place is free
	WhyReplace      Why = "replace"       // a copy makes room first
	WhyAfter        Why = "after"         // a copy is removed once the new one is good
	WhyAllProtected Why = "all_protected" // skipped: every copy is protected
	WhyInUse        Why = "in_use"        // skipped: the copies that are not protected are in use
	WhyHold         Why = "hold"          // skipped: only the newest good one could go, and the product holds it
	WhyNoBackups    Why = "no_backups"    // skipped: quota 0
	WhyNotNeeded    Why = "not_needed"    // after a backup: nothing has to go any more
	WhyNotGood      Why = "not_good"      // after a backup: it is not good, so nothing goes
)

// Eviction is what makes room for one new copy.
type Eviction struct {
	Victim     *Copy  // frees a place; nil where none is needed or none may go
	Timing     Timing // of the victim's removal; TimingNone without one
	Clear      []Copy // remains of failed backups that hold no place: removed first, before the victim
	Skip       bool   // no backup is made
	Why        Why
	Reason     Text // for the client; with Skip one of the ledger's reasons
	Staff      string
	Counted    int
	Newest     *Copy  // the good copy that must stay
	Candidates []Copy // all that may go, best victim first
}

// The classes of victims, in the order in which they go.
const (
	victimLeftover = iota + 1
	victimBad
	victimOldest
)

func victimClass(c Copy) int {
	switch {
	case c.Leftover:
		return victimLeftover
	case c.VerifyFailed:
		return victimBad
	default:
		return victimOldest
	}
}

// Evict decides what makes room for one scheduled backup. copies are all copies of the service, listing a
// fresh and authoritative one.
//
// The victim is the smallest by (class, start, volid) among the counted copies that are listed, unprotected,
// not pinned and not being removed; the classes are leftovers of failed operations, failed verification, all
// others. Kept back is the newest good copy, or, where no copy is good, the newest whose check has not failed.
// Where only the one kept back could go, the new copy is made and verified first (overlap) or not at all
// (hold); EvictAfter makes it first in every case. It is made first, too, where no copy is good (unless held), and
// where there are more copies than the quota: then one goes for the one that came, and nights on which backups
// fail don't shrink what the customer has.
func Evict(copies []Copy, quota int, policy Policy, now time.Time) Eviction {
	counted := Counted(copies)
	out := Eviction{Timing: TimingNone, Counted: len(counted), Newest: Newest(counted)}
	if quota <= 0 {
		out.Skip, out.Why, out.Reason = true, WhyNoBackups, ReasonNoBackups
		out.Staff = "quota 0"
		return out
	}
	out.Clear = clearable(copies, now)
	if len(counted) < quota {
		out.Why, out.Reason = WhyRoom, "A place is free, so nothing is removed."
		out.Staff = fmt.Sprintf("%d/%d counted, a place is free", len(counted), quota)
		return out
	}

	kept := keeper(counted)
	out.Candidates = candidates(counted)
	free := slices.DeleteFunc(slices.Clone(out.Candidates), func(c Copy) bool { return kept != nil && same(c, *kept) })
	switch {
	case len(free) > 0:
		out.Victim = &free[0]
		safe := out.Newest != nil || victimClass(free[0]) != victimOldest
		over := len(counted) > quota
		if policy.Eviction == EvictAfter || over || !safe && policy.LastCopy != LastHold {
			out.Timing, out.Why = TimingAfter, WhyAfter
		} else {
			out.Timing, out.Why = TimingBefore, WhyReplace
		}
	case len(out.Candidates) > 0 && (policy.Eviction == EvictAfter || policy.LastCopy != LastHold):
		out.Victim, out.Timing, out.Why = &out.Candidates[0], TimingAfter, WhyAfter
	case len(out.Candidates) > 0:
		out.Skip, out.Why, out.Reason = true, WhyHold, ReasonHold
	case !slices.ContainsFunc(counted, func(c Copy) bool { return !c.Protected }):
		out.Skip, out.Why, out.Reason = true, WhyAllProtected, ReasonAllProtected
	default:
		out.Skip, out.Why, out.Reason = true, WhyInUse, Text("the backups that could make room are in use")
	}
	if out.Skip {
		out.Clear = nil
	} else {
		out.Reason = evictionSentence(counted, quota, out)
	}
	out.Staff = evictionStaff(counted, quota, kept, out)
	return out
}

// EvictAfterBackup decides what goes once a new copy was made and verified. limit is how many counted copies
// may stay: the quota, or the number before the backup where that was higher. made is the new copy's uid.
// chosen is the uid of the copy that the client chose to give for it, or "" for the rules' own choice.
//
// Nothing goes where the new copy is not good, and never the new copy itself. A second call, after the victim
// went, asks for nothing more.
func EvictAfterBackup(copies []Copy, limit int, made, chosen string) Eviction {
	counted := Counted(copies)
	out := Eviction{Timing: TimingNone, Counted: len(counted), Newest: Newest(counted)}
	notMade := func(c Copy) bool { return c.UID == made }
	fresh := slices.IndexFunc(counted, notMade)
	if fresh >= 0 {
		out.Candidates = slices.DeleteFunc(candidates(counted), notMade)
	}
	if fresh < 0 || !counted[fresh].Good() {
		// Nothing good goes for what isn't. But a machine that shrank gives such a copy every night, and an older one
		// like it may go, or they would pile up.
		i := slices.IndexFunc(out.Candidates, func(c Copy) bool { return !c.Good() })
		if fresh < 0 || chosen != "" || len(counted) <= limit || i < 0 {
			out.Why, out.Reason = WhyNotGood, "The new backup is not known to be good, so nothing was removed for it."
			out.Staff = "the new copy " + made + " is not good; nothing is evicted"
			return out
		}
		out.Victim, out.Timing, out.Why = &out.Candidates[i], TimingAfter, WhyAfter
		out.Reason = "The new backup is not known to be good, so no good one is removed for it, but an older one that isn't good either."
		out.Staff = fmt.Sprintf("victim %s, not good as the new copy %s isn't; %d counted, %d may stay", out.Victim.Volid, made, len(counted), limit)
		return out
	}
	if chosen != "" {
		if i := slices.IndexFunc(out.Candidates, func(c Copy) bool { return c.UID == chosen }); i >= 0 {
			out.Victim = &out.Candidates[i]
		} else if slices.ContainsFunc(counted, func(c Copy) bool { return c.UID == chosen }) {
			out.Why, out.Reason = WhyInUse, "The backup that you chose to remove can't be removed now, so it was kept."
			out.Staff = "the chosen copy " + chosen + " is protected, pinned, not listed or being removed"
			return out
		}
	} else if len(counted) > limit {
		// The new copy may be older by its start than another that was made meanwhile: the newest stays all the same.
		i := slices.IndexFunc(out.Candidates, func(c Copy) bool { return out.Newest == nil || !same(c, *out.Newest) })
		if i >= 0 {
			out.Victim = &out.Candidates[i]
		} else {
			out.Why, out.Reason = WhyInUse, "No backup could be removed for the new one, so there is one more than your places."
			out.Staff = fmt.Sprintf("%d counted, %d may stay, and every other one is protected, pinned or not listed", len(counted), limit)
			return out
		}
	}
	if out.Victim == nil {
		out.Why, out.Reason = WhyNotNeeded, "Nothing has to be removed."
		out.Staff = fmt.Sprintf("%d counted, %d may stay", len(counted), limit)
		return out
	}
	out.Timing, out.Why = TimingAfter, WhyAfter
	out.Reason = Say("The new backup is good, so %s is removed.", victimWords(*out.Victim, slices.DeleteFunc(counted, notMade)))
	out.Staff = fmt.Sprintf("victim %s, %d counted, %d may stay, new copy %s", out.Victim.Volid, len(counted), limit, made)
	return out
}

// candidates gives the counted copies that may go at all, best victim first.
func candidates(counted []Copy) []Copy {
	var out []Copy
	for _, c := range counted {
		if c.Listed && !c.Protected && c.PinnedBy == "" && !c.Removing {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b Copy) int {
		return cmp.Or(cmp.Compare(victimClass(a), victimClass(b)), older(a, b))
	})
	return out
}

// keeper gives the copy that stands between the customer and having nothing.
func keeper(counted []Copy) *Copy {
	if newest := Newest(counted); newest != nil {
		return newest
	}
	var best *Copy
	for _, c := range counted {
		if c.Listed && !c.VerifyFailed && !c.Removing && (best == nil || older(c, *best) > 0) {
			best = &c
		}
	}
	return best
}

// clearable gives the remains of failed backups that hold no place, oldest first. While there is no good copy
// even a torso may be worth something, so then they stay.
func clearable(copies []Copy, now time.Time) []Copy {
	if Newest(Counted(copies)) == nil {
		return nil
	}
	var out []Copy
	for _, c := range copies {
		torso := c.Class == ClassFailed || c.Class == ClassPartial
		if torso && c.Leftover && c.Origin != OriginExternal && c.Volid != "" && c.Listed && !c.Protected &&
			c.PinnedBy == "" && !c.Removing && !now.Before(c.KeepUntil) && now.Sub(c.Start()) >= leftoverAge {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, older)
	return out
}

// SafetyExpired gives the copies made before a restore that may go now: past their time, or followed by a newer
// good one of the same kind (one per service is kept). The newest good copy of all, of whatever kind, stays.
func SafetyExpired(copies []Copy, now time.Time) []Copy {
	newest := Newest(copies)
	var safety []Copy
	for _, c := range copies {
		if c.Origin == OriginBeforeRestore && (c.Class == ClassGood || c.Class == ClassSuspect) {
			safety = append(safety, c)
		}
	}
	latest := Newest(safety)
	var out []Copy
	for _, c := range safety {
		followed := latest != nil && older(c, *latest) < 0
		free := c.Listed && !c.Protected && c.PinnedBy == "" && !c.Removing
		if free && newest != nil && !same(c, *newest) && (followed || !now.Before(c.KeepUntil)) {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, older)
	return out
}

func same(a, b Copy) bool { return a.UID == b.UID && a.ID == b.ID && a.Volid == b.Volid }

// victimWords names the victim among the other counted copies.
func victimWords(victim Copy, others []Copy) Text {
	switch {
	case victimClass(victim) == victimLeftover:
		return "what a failed backup left behind"
	case victimClass(victim) == victimBad:
		return "the backup whose check failed"
	case len(others) == 1:
		return "the one before it"
	case !slices.ContainsFunc(others, func(c Copy) bool { return older(c, victim) < 0 }):
		return "the oldest backup"
	default:
		return "the oldest backup that may go"
	}
}

// placesUsed says how full it is: "All 3 places are used".
func placesUsed(counted, quota int) Text {
	switch {
	case counted > quota:
		return Say("There are %s for %s", Count(counted, "1 backup", "%d backups"), Count(quota, "1 place", "%d places"))
	case quota == 1:
		return "Your one place is used"
	case quota == 2:
		return "Both places are used"
	default:
		return Say("All %d places are used", quota)
	}
}

func evictionSentence(counted []Copy, quota int, e Eviction) Text {
	used, victim := placesUsed(len(counted), quota), victimWords(*e.Victim, counted)
	if e.Timing == TimingAfter {
		return Say("%s: the new backup is made first, and once it is good, %s is removed.", used, victim)
	}
	return Say("%s: %s makes room for the new backup.", used, victim)
}

func evictionStaff(counted []Copy, quota int, kept *Copy, e Eviction) string {
	var protected, pinned, unlisted, removing int
	for _, c := range counted {
		switch {
		case c.Protected:
			protected++
		case c.PinnedBy != "":
			pinned++
		case c.Removing:
			removing++
		case !c.Listed:
			unlisted++
		}
	}
	text := fmt.Sprintf("%d/%d counted, %d protected, %d pinned, %d being removed, %d not listed", len(counted), quota, protected, pinned, removing, unlisted)
	if kept != nil {
		text += ", keeping " + kept.Volid
	}
	if e.Victim != nil {
		text += fmt.Sprintf(", victim %s (class %d) %s the dump", e.Victim.Volid, victimClass(*e.Victim), e.Timing)
	}
	return text
}
