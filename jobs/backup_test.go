package jobs_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"stowage/portal"
)

// TestBackupNow presses the button, lets time pass, and finds the copy in the list and on the storage.
func TestBackupNow(t *testing.T) {
	t.Parallel()
	for _, release := range []string{"8.4", "9.2"} {
		t.Run(release, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, worldOptions{Release: release})
			op := w.backupNow("before the upgrade", "")
			w.settle(time.Hour)
			if got := w.operation(op.ID); got.State != portal.StateSucceeded {
				t.Fatalf("the backup ended %s: %s\n%s", got.State, got.Reason, w.story())
			}
			copies := w.complete()
			if len(copies) != 1 {
				t.Fatalf("%d copies, want 1\n%s", len(copies), w.story())
			}
			c := copies[0]
			if c.Class != portal.ClassGood || c.Origin != portal.OriginManual || c.Note != "before the upgrade" || len(c.DisksIn) != 1 || c.Size == 0 {
				t.Errorf("copy: %+v", c)
			}
			archives := w.sim.Archives()
			if len(archives) != 1 || archives[0].Volid != c.Volid {
				t.Fatalf("archives %+v, want %s", archives, c.Volid)
			}
			w.run(time.Minute)
			if notes := w.sim.Archives()[0].Notes; !strings.Contains(notes, "stowage:"+w.db.Installation()+":"+w.service.UID+":"+op.UID+":") || !strings.Contains(notes, "\nbefore the upgrade") {
				t.Errorf("notes %q", notes)
			}
			if broken, err := w.db.VerifyAudit(context.Background()); err != nil || broken != 0 {
				t.Errorf("audit chain: row %d, %v", broken, err)
			}
		})
	}
}

// TestNights lets ten nights pass with a quota of three: each makes one copy, and the oldest goes first.
func TestNights(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	w.every("03:00")
	w.run(10 * 24 * time.Hour)
	copies := w.complete()
	if len(copies) != 3 {
		t.Fatalf("%d copies after ten nights, want 3\n%s", len(copies), w.story())
	}
	if got := len(w.sim.Archives()); got != 3 {
		t.Errorf("%d archives on the storage, want 3", got)
	}
	slots, err := w.db.Slots(context.Background(), w.service.ID, w.started)
	if err != nil {
		t.Fatal(err)
	}
	if len(slots) != 10 {
		t.Errorf("%d slots, want 10", len(slots))
	}
	for _, s := range slots {
		if s.State != portal.SlotDone {
			t.Errorf("slot %s is %s: %s", s.Date, s.State, s.Reason)
		}
	}
	newest := copies[0].StartedAt.In(time.FixedZone("CET", 3600))
	if newest.Format("2006-01-02 15:04") != "2026-11-30 03:00" {
		t.Errorf("the newest copy is of %s", newest)
	}
}
