package jobs_test

import (
	"strings"
	"testing"
	"time"

	"stowage/portal"
)

// TestPower switches a machine by the engine, on both releases, and looks at the machine.
func TestPower(t *testing.T) {
	t.Parallel()
	for _, release := range []string{"8.4", "9.2"} {
		t.Run(release, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, worldOptions{Release: release})
			for _, s := range []struct {
				action string
				runs   bool
				says   portal.Text
			}{
				{portal.PowerReboot, true, "Your machine has started anew."},
				{portal.PowerStop, false, "Your machine is off."},
				{portal.PowerStart, true, "Your machine runs."},
				{portal.PowerShutdown, false, "Your machine is off."},
				{portal.PowerStart, true, "Your machine runs."},
			} {
				op := w.ask(portal.Power("client:test", s.action, false))
				w.settle(10 * time.Minute)
				if op = w.operation(op.ID); op.State != portal.StateSucceeded || op.Reason != s.says {
					t.Fatalf("%s: %s %q\n%s", s.action, op.State, op.Reason, w.story())
				}
				if g := w.machine(); g.Running != s.runs {
					t.Fatalf("%s: the machine runs: %v", s.action, g.Running)
				}
			}
			if got := len(w.changes("POST", "/status/")); got != 5 {
				t.Errorf("%d requests for five wishes", got)
			}
		})
	}
}

// TestPowerDuringABackup: a busy machine refuses and says what helps; what was told to wait is done afterwards.
func TestPowerDuringABackup(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	w.backupNow("", "")
	w.run(3 * time.Second)
	_, err := w.db.Enqueue(t.Context(), 0, w.service.UID, portal.Power("client:test", portal.PowerReboot, false))
	e, ok := err.(*portal.Error)
	if !ok || e.Code != portal.CodeBusy || len(e.WayOuts) < 2 || !strings.Contains(e.Sentence.String(), "A backup of this machine is running already") {
		t.Fatalf("a busy machine: %v", err)
	}
	if got := w.changes("POST", "/status/"); len(got) != 0 {
		t.Fatalf("sent %v", got)
	}
	op := w.ask(portal.Power("client:test", portal.PowerReboot, true))
	w.settle(time.Hour)
	if op = w.operation(op.ID); op.State != portal.StateSucceeded || len(w.complete()) != 1 {
		t.Fatalf("%s %q, %d copies\n%s", op.State, op.Reason, len(w.complete()), w.story())
	}
}
