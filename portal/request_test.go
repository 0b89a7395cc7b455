package portal

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// situation is an active service with a quota of three and two good copies, at noon.
func situation(edit func(*Situation)) Situation {
	now := time.Date(2026, 11, 20, 11, 0, 0, 0, time.UTC)
	p := NewProduct("vps")
	p.Quota, p.Protect, p.Storage = 3, 1, "local"
	s := Situation{
		Now: now, Product: p, Service: Service{ID: 1, UID: "svc", State: ServiceActive}, Location: time.UTC,
		Backups: []Backup{
			{ID: 2, UID: "newer", Volid: "b", Class: ClassGood, Origin: OriginScheduled, StartedAt: now.Add(-8 * time.Hour), Size: 41 << 30},
			{ID: 1, UID: "older", Volid: "a", Class: ClassGood, Origin: OriginManual, StartedAt: now.Add(-32 * time.Hour), Size: 40 << 30},
		},
	}
	if edit != nil {
		edit(&s)
	}
	return s
}

func full(s *Situation) { s.Product.Quota = 2 }

// refusal is the code, a part of the sentence, and the actions offered with it.
type refusal struct {
	code    Code
	says    string
	actions string
}

func refusalOf(err error) (r refusal) {
	var e *Error
	if !errors.As(err, &e) {
		return r
	}
	var actions []string
	for _, w := range e.WayOuts {
		actions = append(actions, strings.TrimSuffix(w.Action+" "+w.UID, " "))
	}
	return refusal{e.Code, e.Sentence.String(), strings.Join(actions, ", ")}
}

func wantRefusal(t *testing.T, name string, err error, want refusal) {
	t.Helper()
	got := refusalOf(err)
	if got.code != want.code || want.code != "" && (!strings.Contains(got.says, want.says) || !strings.HasSuffix(got.says, ".") || got.actions != want.actions) {
		t.Errorf("%s: refused with %+v, want %+v", name, got, want)
	}
}

func TestManualBackup(t *testing.T) {
	t.Parallel()
	minutes := func(s *Situation, n int) time.Time { return s.Now.Add(-time.Duration(n) * time.Minute) }
	for name, c := range map[string]struct {
		edit    func(*Situation)
		note    string
		replace string
		want    refusal
	}{
		"free place":             {},
		"with a note":            {note: "  before the upgrade "},
		"bad note":               {note: "two\nlines", want: refusal{CodeInvalid, "one line", ""}},
		"full":                   {edit: full, want: refusal{CodeQuota, "Both places are used", "replace_oldest older, choose_other"}},
		"full, replacing":        {edit: full, replace: "older"},
		"full, replacing newest": {edit: full, replace: "newer"},
		"replacing with room":    {replace: "older"},
		"replacing nobody's":     {replace: "nobody", want: refusal{CodeNotFound, "can't find", ""}},
		"replacing a protected one": {edit: func(s *Situation) { s.Backups[1].Protected = true }, replace: "older",
			want: refusal{CodeConflict, "is protected", "unprotect older"}},
		"replacing one in use": {edit: func(s *Situation) { s.Backups[1].PinnedBy = "op" }, replace: "older",
			want: refusal{CodeBusy, "in use", "open_operation op"}},
		"replacing one being removed": {edit: func(s *Situation) { s.Backups[1].Removing = true }, replace: "older",
			want: refusal{CodeConflict, "being removed already", ""}},
		"replacing a missing one": {edit: func(s *Situation) { s.Backups[1].Class = ClassMissing }, replace: "older",
			want: refusal{CodeConflict, "removed outside the portal", ""}},
		"replacing a running one": {edit: func(s *Situation) { s.Backups[1].Class = ClassRunning }, replace: "older",
			want: refusal{CodeBusy, "being made right now", ""}},
		"replacing an external one": {edit: func(s *Situation) { s.Backups[1].Class = ClassExternal }, replace: "older",
			want: refusal{CodeNotFound, "can't find", ""}},
		"all protected": {edit: func(s *Situation) { full(s); s.Backups[0].Protected, s.Backups[1].Protected = true, true },
			want: refusal{CodeQuota, "Every one of them is protected", "choose_other"}},
		"no backups sold": {edit: func(s *Situation) { s.Product.Quota = 0 }, want: refusal{CodeQuota, "includes no backups", ""}},
		"own quota":       {edit: func(s *Situation) { n := 2; s.Service.Quota = &n }, want: refusal{CodeQuota, "Both places", "replace_oldest older, choose_other"}},
		"suspended":       {edit: func(s *Situation) { s.Service.State = ServiceSuspended }, want: refusal{CodeForbidden, "suspended", ""}},
		"machine gone":    {edit: func(s *Situation) { s.Service.State = ServiceMachineGone }, want: refusal{CodeConflict, "no longer exists", ""}},
		"replaced":        {edit: func(s *Situation) { s.Service.State = ServiceMachineReplaced }, want: refusal{CodeConflict, "Another machine", ""}},
		"terminating":     {edit: func(s *Situation) { s.Service.State = ServiceTerminating }, want: refusal{CodeConflict, "being closed", ""}},
		"locked": {edit: func(s *Situation) { s.Service.Lock, s.Service.LockSince = "snapshot", minutes(s, 12) },
			want: refusal{CodeBusy, `its host says "snapshot in progress" (began 12 min ago)`, ""}},
		"running": {edit: func(s *Situation) {
			s.Operations = []Operation{{UID: "op", Kind: KindBackup, State: StateRunning, StartedAt: minutes(s, 7), SlotDate: "2026-11-20"}}
		}, want: refusal{CodeBusy, "running already (began 7 min ago)", "open_operation op"}},
		"held": {edit: func(s *Situation) { s.Operations = []Operation{{UID: "op", Kind: KindBackup, State: StateHeld}} },
			want: refusal{CodeBusy, "Our team is looking at", "open_operation op"}},
		"waiting by hand": {edit: func(s *Situation) {
			s.Operations = []Operation{{UID: "op", Kind: KindBackup, State: StateQueued, CreatedAt: minutes(s, 3)}}
		}, want: refusal{CodeBusy, "waiting already (began 3 min ago)", "open_operation op"}},
		"overtakes the night's that waits": {edit: func(s *Situation) {
			s.Operations = []Operation{{UID: "op", Kind: KindBackup, State: StateQueued, SlotDate: "2026-11-20"}}
		}},
		"beside a removal": {edit: func(s *Situation) { s.Operations = []Operation{{UID: "op", Kind: KindDelete, State: StateRunning}} }},
	} {
		s := situation(c.edit)
		op, err := ManualBackup("client:x", c.note, c.replace)(s)
		wantRefusal(t, name, err, c.want)
		if c.want.code != "" {
			continue
		}
		want := Operation{Kind: KindBackup, Step: StepPreflight, Manual: true, Actor: "client:x", Note: strings.TrimSpace(c.note), Mode: "snapshot",
			StartBy: s.Now.Add(s.Product.StartWindow), GiveUpAt: s.Now.Add(GiveUpAfter)}
		if c.replace != "" {
			want.ReplaceID, want.Timing = map[string]int64{"older": 1, "newer": 2}[c.replace], TimingAfter
		}
		if diff := cmp.Diff(want, op); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
	}
}

// TestRoomFor words the choice as the page shows it, in the schedule's zone.
func TestRoomFor(t *testing.T) {
	t.Parallel()
	s := situation(full)
	s.Location = time.FixedZone("CET", 3600)
	refused := RoomFor(s)
	if refused == nil || refused.WayOuts[0].Label.String() != "Back up now, then remove the oldest: Thu 19 Nov 04:00, 40 GiB" || refused.WayOuts[1].Label != "Choose another to remove" {
		t.Errorf("%+v", refused)
	}
	if RoomFor(situation(nil)) != nil {
		t.Error("refused with a free place")
	}
}

func TestScheduledBackup(t *testing.T) {
	t.Parallel()
	s := situation(full)
	due := s.Now
	got, err := ScheduledBackup(7, "2026-11-20", due, due.Add(6*time.Hour), 20*time.Minute)(s)
	want := Operation{Kind: KindBackup, Step: StepPreflight, Actor: "cron", ScheduleID: 7, SlotDate: "2026-11-20", Mode: "snapshot",
		RunAfter: due.Add(20 * time.Minute), StartBy: due.Add(6 * time.Hour), GiveUpAt: due.Add(GiveUpAfter)}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
}

func TestRemoveBackup(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		edit func(*Situation)
		uid  string
		want refusal
	}{
		"the older":     {uid: "older"},
		"the newest":    {uid: "newer"},
		"unknown":       {uid: "x", want: refusal{CodeNotFound, "can't find", ""}},
		"a torso":       {uid: "older", edit: func(s *Situation) { s.Backups[1].Class = ClassPartial }},
		"locked":        {uid: "older", edit: func(s *Situation) { s.Service.Lock = "backup" }},
		"while running": {uid: "older", edit: func(s *Situation) { s.Operations = []Operation{{Kind: KindBackup, State: StateRunning}} }},
		"protected":     {uid: "older", edit: func(s *Situation) { s.Backups[1].Protected = true }, want: refusal{CodeConflict, "End its protection first", "unprotect older"}},
		"suspended":     {uid: "older", edit: func(s *Situation) { s.Service.State = ServiceSuspended }, want: refusal{CodeForbidden, "not remove a backup", ""}},
		"removed":       {uid: "older", edit: func(s *Situation) { s.Backups[1].RemovedAt = s.Now }, want: refusal{CodeNotFound, "can't find", ""}},
	} {
		s := situation(c.edit)
		op, err := RemoveBackup("client:x", c.uid)(s)
		wantRefusal(t, name, err, c.want)
		if c.want.code == "" && (op.Kind != KindDelete || op.Step != StepDelete || !op.Manual || op.BackupID != map[string]int64{"older": 1, "newer": 2}[c.uid] || !op.GiveUpAt.Equal(s.Now.Add(GiveUpAfter))) {
			t.Errorf("%s: %+v", name, op)
		}
	}
}

func TestProtectBackup(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		edit func(*Situation)
		end  bool
		want refusal
	}{
		"protect":     {},
		"end":         {end: true, edit: func(s *Situation) { s.Backups[1].Protected = true }},
		"twice":       {edit: func(s *Situation) { s.Product.Protect, s.Backups[1].Protected = 2, true }, want: refusal{CodeConflict, "is protected already", ""}},
		"end of none": {end: true, want: refusal{CodeConflict, "is not protected", ""}},
		"not included": {edit: func(s *Situation) { s.Product.Protect = 0 },
			want: refusal{CodeForbidden, "does not include protecting", ""}},
		"end, not included any more": {end: true, edit: func(s *Situation) { s.Product.Protect, s.Backups[1].Protected = 0, true }},
		"limit":                      {edit: func(s *Situation) { s.Backups[0].Protected = true }, want: refusal{CodeQuota, "You can protect 1 backup. End", ""}},
		"limit, a removed one doesn't count": {edit: func(s *Situation) {
			s.Backups[0].Protected, s.Backups[0].Class = true, ClassMissing
		}},
		"limit, one under way": {edit: func(s *Situation) {
			s.Operations = []Operation{{Kind: KindProtect, BackupID: 2, Protect: true, State: StateQueued}}
		}, want: refusal{CodeQuota, "You can protect 1 backup", ""}},
		"being changed": {edit: func(s *Situation) {
			s.Operations = []Operation{{Kind: KindProtect, BackupID: 1, Protect: true, State: StateRunning}}
		}, want: refusal{CodeConflict, "being changed already", ""}},
		"being removed": {edit: func(s *Situation) { s.Backups[1].Removing = true }, want: refusal{CodeConflict, "being removed", ""}},
		"a torso":       {edit: func(s *Situation) { s.Backups[1].Class = ClassPartial }, want: refusal{CodeConflict, "Only a complete backup", ""}},
		"suspect":       {edit: func(s *Situation) { s.Backups[1].Class = ClassSuspect }},
		"suspended":     {edit: func(s *Situation) { s.Service.State = ServiceSuspended }, want: refusal{CodeForbidden, "not protect a backup", ""}},
	} {
		op, err := ProtectBackup("client:x", "older", !c.end)(situation(c.edit))
		wantRefusal(t, name, err, c.want)
		if c.want.code == "" && (op.Kind != KindProtect || op.Step != StepProtect || op.BackupID != 1 || op.Protect == c.end) {
			t.Errorf("%s: %+v", name, op)
		}
	}
}

func TestRetryOperation(t *testing.T) {
	t.Parallel()
	s := situation(nil)
	for name, c := range map[string]struct {
		old  Operation
		want refusal
		kind Kind
	}{
		"failed backup":     {old: Operation{ID: 9, Kind: KindBackup, State: StateFailed, Note: "n"}, kind: KindBackup},
		"cancelled backup":  {old: Operation{ID: 9, Kind: KindBackup, State: StateCancelled}, kind: KindBackup},
		"failed removal":    {old: Operation{ID: 9, Kind: KindDelete, State: StateFailed}, kind: KindDelete},
		"failed protection": {old: Operation{ID: 9, Kind: KindProtect, State: StateFailed, Protect: true}, kind: KindProtect},
		"done":              {old: Operation{ID: 9, Kind: KindBackup, State: StateSucceeded}, want: refusal{CodeConflict, "Only an operation that failed", ""}},
		"running":           {old: Operation{ID: 9, Kind: KindBackup, State: StateRunning}, want: refusal{CodeConflict, "Only an operation that failed", ""}},
		"unknown":           {old: Operation{ID: 9, Kind: "later", State: StateFailed}, want: refusal{CodeConflict, "can't be tried again", ""}},
	} {
		op, err := RetryOperation("client:x", c.old, "older", "")(s)
		wantRefusal(t, name, err, c.want)
		if c.want.code == "" && (op.RetryOf != 9 || op.Kind != c.kind || op.Note != c.old.Note || op.Protect != c.old.Protect || op.Scheduled()) {
			t.Errorf("%s: %+v", name, op)
		}
	}
}

// TestLockWords knows a plain word for each of Proxmox's locks, and shows one it doesn't know.
func TestLockWords(t *testing.T) {
	t.Parallel()
	for _, lock := range []string{"backup", "snapshot", "snapshot-delete", "rollback", "migrate", "create", "clone", "suspending", "suspended"} {
		if w := LockWords(lock); strings.Contains(w.String(), "locked (") || w == "" {
			t.Errorf("%s: %q", lock, w)
		}
	}
	if w := LockWords("disk").String(); w != "locked (disk)" {
		t.Errorf("%q", w)
	}
}
