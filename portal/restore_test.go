package portal

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestConfirms(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		typed, machine string
		want           bool
	}{
		{"h100", "h100", true}, {" H100 ", "h100", true}, {"h100", "h100.example.com", true}, {"h100.example.com", "h100.example.com", true},
		{"", "h100", false}, {"", "", false}, {" ", " ", false}, {"h10", "h100", false}, {"example", "h100.example.com", false}, {"h100.", "h100.example.com", false},
	} {
		if got := Confirms(c.typed, c.machine); got != c.want {
			t.Errorf("%q for %q: %v", c.typed, c.machine, got)
		}
	}
}

func TestRestoreFits(t *testing.T) {
	t.Parallel()
	const gib = int64(1) << 30
	for name, c := range map[string]struct {
		space RestoreSpace
		want  bool
	}{
		"thick, free":                       {RestoreSpace{Thick: true, Free: 10 * gib, Disks: 10 * gib, Archive: gib}, true},
		"thick, the old disks give it back": {RestoreSpace{Thick: true, Free: 0, Disks: 10 * gib, Replaced: 10 * gib, Archive: gib}, true},
		"thick, too little":                 {RestoreSpace{Thick: true, Free: gib, Disks: 10 * gib, Replaced: 8 * gib, Archive: gib}, false},
		"thin, twice the archive":           {RestoreSpace{Free: 2 * gib, Disks: 10 * gib, Archive: gib}, true},
		"thin, less":                        {RestoreSpace{Free: 2*gib - 1, Disks: 10 * gib, Replaced: 10 * gib, Archive: gib}, false},
		"thin, never more than the disks":   {RestoreSpace{Free: 10 * gib, Disks: 10 * gib, Archive: 9 * gib}, true},
		"full":                              {RestoreSpace{Disks: 10 * gib, Archive: gib}, false},
	} {
		if ok, why := RestoreFits(c.space); ok != c.want || why == "" {
			t.Errorf("%s: %v (%s)", name, ok, why)
		}
	}
}

func TestFactsOfRestore(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 20, 2, 4, 0, 0, time.UTC)
	s := Situation{Now: now, Product: Product{SafetyCopy: true, Storage: "local"}, Snapshots: []Snapshot{{State: SnapshotThere}, {State: SnapshotGone}, {State: SnapshotThere}},
		Service: Service{Hardware: Hardware{Sockets: 1, Cores: 2, MemoryMB: 4096, Nets: []Net{{Key: "net0", MAC: "BC:24:11:00:00:02"}},
			Disks: []Disk{{Key: "scsi0", Size: 32 << 30}, {Key: "scsi1", Size: 100 << 30}}}}}
	b := Backup{StartedAt: now.Add(-23*time.Hour - 4*time.Minute), DisksIn: []Disk{{Key: "scsi0", Size: 16 << 30}}, Class: ClassGood}
	took := []time.Duration{6 * time.Minute, 4*time.Minute + time.Second, 8 * time.Minute}

	unread := FactsOfRestore(s, b, nil, took)
	if unread.Since != 23*time.Hour+4*time.Minute || unread.Snapshots != 2 || !unread.Saves || unread.SavesIn.String() != "about 6 minutes" || unread.Off.String() != "4–9 minutes" ||
		unread.Hardware != nil || len(unread.Inside) != 1 || unread.Kept != nil {
		t.Errorf("an archive that was not read: %+v", unread)
	}
	read := FactsOfRestore(s, b, &Contents{Hardware: Hardware{Cores: 1, Nets: []Net{{Key: "net0", MAC: "bc:24:11:00:00:02"}}, Disks: []Disk{{Key: "scsi0", Size: 16 << 30}}}}, took)
	if diff := cmp.Diff([]Disk{{Key: "scsi1", Size: 100 << 30}}, read.Kept); diff != "" {
		t.Errorf("disks that came since: %s", diff)
	}
	var said []string
	for _, h := range read.Hardware {
		same := ""
		if h.Same {
			same = " (same)"
		}
		said = append(said, h.What.String()+": "+h.Then.String()+" → "+h.Now.String()+same)
	}
	want := []string{"Processor: 1 core → 2 cores", "Memory: 512 MiB → 4.0 GiB", "MAC address: BC:24:11:00:00:02 → BC:24:11:00:00:02 (same)", "Disk scsi0: 16 GiB → 32 GiB"}
	if diff := cmp.Diff(want, said); diff != "" {
		t.Error(diff)
	}
	held := s
	held.Operations = []Operation{{Kind: KindRestore, State: StateHeld}}
	if FactsOfRestore(held, b, nil, took).Saves {
		t.Error("what is no machine is saved first")
	}
	suspect := b
	suspect.Class, suspect.Reason = ClassSuspect, "Much smaller than the last one."
	if FactsOfRestore(s, suspect, nil, nil).Doubt == "" {
		t.Error("nothing warns of a suspect copy")
	}
}

// TestResumeRestore: what has stopped goes on with the same copy or another, and never with another while its request may
// still be under way, or where nothing is overwritten.
func TestResumeRestore(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 20, 2, 4, 0, 0, time.UTC)
	s := Situation{Now: now, Service: Service{State: ServiceActive, Node: "pve1"}, Backups: []Backup{
		{ID: 1, UID: "a", Class: ClassGood}, {ID: 2, UID: "b", Class: ClassGood, Node: "pve1", Volid: "local:x"}, {ID: 3, UID: "away", Class: ClassGood, Node: "pve2"},
		{ID: 4, UID: "bad", Class: ClassGood, Verification: "failed"}, {ID: 5, UID: "torso", Class: ClassPartial},
	}}
	held := Operation{Kind: KindRestore, State: StateHeld, Step: StepReapply, BackupID: 1, Reason: "Stopped.", Attempt: 2, Work: Work{Broken: true, Tries: 3, Changes: []Applied{{Name: "cores"}}}}

	op, err := ResumeRestore(held, "")(s)
	if err != nil || op.State != StateRunning || op.Step != StepReapply || op.BackupID != 1 || op.Attempt != 0 || op.Work.Tries != 0 || op.Reason != "" || len(op.Work.Changes) != 1 || !op.GiveUpAt.Equal(now.Add(GiveUpAfter)) {
		t.Errorf("the same: %+v, %v", op, err)
	}
	op, err = ResumeRestore(held, "b")(s)
	if err != nil || op.Step != StepRestore || op.BackupID != 2 || op.Work.Changes != nil || op.Work.Archive != "pve1/local:x" || !op.Work.Broken {
		t.Errorf("another: %+v, %v", op, err)
	}
	open, whole, running, suspended := held, held, held, s
	open.UPID, whole.Work.Broken, running.State, suspended.Service.State = "UPID:x", false, StateRunning, ServiceSuspended
	for name, c := range map[string]struct {
		op   Operation
		uid  string
		s    Situation
		want Code
	}{
		"its task may still run": {open, "b", s, CodeBusy}, "nothing is overwritten": {whole, "b", s, CodeConflict}, "it runs": {running, "", s, CodeConflict},
		"suspended": {held, "", suspended, CodeForbidden}, "not there": {held, "z", s, CodeNotFound}, "elsewhere": {held, "away", s, CodeConflict},
		"damaged": {held, "bad", s, CodeConflict}, "not whole": {held, "torso", s, CodeConflict},
	} {
		if _, err := ResumeRestore(c.op, c.uid)(c.s); CodeOf(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}
