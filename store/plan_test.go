package store

import (
	"fmt"
	"testing"
	"time"

	"stowage/portal"
)

// TestManyFallDue lets more schedules fall due at once than one transaction plans, with some among them that can't be
// planned: these hold up none of the others, and each slot has its own operation.
func TestManyFallDue(t *testing.T) {
	t.Parallel()
	db, clock := openPeople(t)
	const services = planBatch + planBatch/2 + 7
	hosting(t, db, services)
	ctx := t.Context()
	clock.t = clock.t.Truncate(24 * time.Hour).Add(24*time.Hour + 3*time.Hour)
	due := clock.t.Add(-time.Minute)
	broken := []int{5, planBatch, planBatch + 1}
	for _, q := range []string{
		fmt.Sprintf(`UPDATE schedules SET next_due_at = %d, planned = %d, days = replace(days, '"At":"03:00"', '"At":"%s"')`, due.Unix(), due.Add(-time.Hour).Unix(), due.Format("15:04")),
		fmt.Sprintf(`UPDATE schedules SET days = 'broken' WHERE id IN (%d, %d, %d)`, broken[0], broken[1], broken[2]),
		fmt.Sprintf(`UPDATE servers SET seen_at = %d`, clock.t.Unix()),
		`UPDATE services SET state = 'suspended' WHERE id = 8`,
	} {
		if _, err := db.write.ExecContext(ctx, q); err != nil {
			t.Fatal(err)
		}
	}
	for round := range 2 { // what could not be planned is still due the next time, and nothing is planned twice
		planned, err := db.PlanDue(ctx)
		if want := map[int]int{0: services - len(broken)}[round]; planned != want || err == nil {
			t.Errorf("round %d: %d were planned, want %d, and an error: %v", round, planned, want, err)
		}
	}
	var slots, ops, alike, pairs, audits int
	for query, into := range map[string]*int{
		fmt.Sprintf(`SELECT count(*) FROM slots WHERE due_at = %d`, due.Unix()):   &slots,
		`SELECT count(*) FROM operations WHERE state = 'queued'`:                  &ops,
		`SELECT count(DISTINCT reference) FROM operations WHERE state = 'queued'`: &alike,
		`SELECT count(*) FROM slots l JOIN operations o ON o.id = l.operation_id AND o.service_id = l.service_id AND o.schedule_id = l.schedule_id AND o.slot_date = l.local_date WHERE l.state = 'due' AND o.state = 'queued'`: &pairs,
		`SELECT COALESCE(sum(json_extract(a.after, '$.queued')), 0) FROM audit a JOIN operations o ON o.uid = a.entity_uid WHERE a.action = 'backup.plan'`:                                                                      &audits,
	} {
		if err := db.read.QueryRowContext(ctx, query).Scan(into); err != nil {
			t.Fatal(err)
		}
	}
	want := services - len(broken)
	if slots != want || ops != want-1 || alike != want-1 || pairs != want-1 || audits != want-1 {
		t.Errorf("%d slots, %d operations with %d references, %d that belong together, %d in the audit log; want %d and, one being suspended, %d", slots, ops, alike, pairs, audits, want, want-1)
	}
	s, err := db.Slot(ctx, 8, 8, portal.DateOf(due).String())
	if err != nil || s.State != portal.SlotSkipped || s.Operation != "" {
		t.Errorf("the suspended one: %+v, %v", s, err)
	}
	if c, err := db.Schedule(ctx, 1); err != nil || !c.Planned.Equal(clock.t) || !c.NextDue.Equal(due.AddDate(0, 0, 1)) {
		t.Errorf("planned up to %s, next %s, %v", c.Planned, c.NextDue, err)
	}
	if found, err := db.FindAuditBreak(ctx); found != nil || err != nil {
		t.Errorf("the audit log: %v, %v", found, err)
	}
}
