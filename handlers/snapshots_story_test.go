package handlers_test

import (
	"strings"
	"testing"
	"time"

	"stowage/portal"
	"stowage/store"
)

// TestRollbackStory reads the page of a rollback that failed: its steps in the order of its kind, what is unharmed, and
// the way on.
func TestRollbackStory(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.sellSnapshots()
	x := s.addSnapshot(s.h100, "before the update", 3*time.Hour, 60*time.Hour)
	v := s.as("ada@demo.test")
	v.post(snapshotsOf(s.h100, x.UID, "rollback"), "start", "1").wantTo(snapshotsOf(s.h100))
	_, err := s.db.Claim(t.Context(), portal.DefaultLimits)
	s.must(err)
	ops, err := s.db.ServiceOperations(t.Context(), s.h100.ID, 0, 1)
	s.must(err)
	op := ops[0]
	if op.State != portal.StateRunning {
		t.Fatalf("the rollback is %s", op.State)
	}
	op.Step, op.Work.Was = portal.StepRollback, "running"
	s.must(s.db.Save(t.Context(), "begun", &op, store.Changes{Steps: []store.StepNote{{Step: portal.StepRollback, What: "begun", Text: "Your machine is put back to the snapshot."}}}))
	v.get(snapshotsOf(s.h100)).want(200, "Putting the machine back", "rollback in progress")
	page := "/services/" + s.h100.UID + "/operations/" + op.UID
	a := v.get(page).want(200, "Rollback to the snapshot of", "Look at the machine and its snapshots", "Switch the machine off", "Put the machine back to the snapshot", "Bring the machine in step with your package", "Start the machine")
	if off, back := strings.Index(a.body, "Switch the machine off"), strings.Index(a.body, "Put the machine back to the snapshot"); off < 0 || off > back {
		t.Error("the steps are not in their order")
	}
	op.State, op.EndedAt, op.Reason = portal.StateFailed, s.clock.now(), "Your host kept the machine locked. Your machine's data is untouched."
	s.must(s.db.Save(t.Context(), "end", &op, store.Changes{}))
	v.get(page).want(200, "Your host kept the machine locked.", op.Reference)
	v.post(page + "/retry").solved(409)
}
