package main

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"syscall"
	"testing"
	"time"

	"stowage/jobs"
	"stowage/store"
)

// measureTick holds the tick that has nothing to do at 100,000 services against the one at 1,000.
func measureTick(t *testing.T, l *limits) {
	small, large := newEstate(t, t.TempDir(), 1000), l.large(t).copy(t)
	of := func(e *estate) (tick func() time.Duration) {
		e.nothingDue(t)
		now := e.now
		db := e.open(t, func() time.Time { return now })
		t.Cleanup(func() { _ = db.Close() })
		if _, err := db.TakeLease(t.Context(), "limits"); err != nil {
			t.Fatal(err)
		}
		engine := jobs.New(jobs.Options{DB: db, Now: time.Now})
		return func() time.Duration {
			now = now.Add(15 * time.Second)
			began := time.Now()
			if err := engine.Tick(t.Context()); err != nil {
				t.Fatal(err)
			}
			return time.Since(began)
		}
	}
	tickSmall, tickLarge := of(small), of(large)
	var tookSmall, tookLarge []time.Duration
	const ticks, warm = 4000, 200
	for i := range ticks + warm {
		s, b := tickSmall(), tickLarge() // side by side, so that whatever else goes on here hits both
		if i >= warm {
			tookSmall, tookLarge = append(tookSmall, s), append(tookLarge, b)
		}
	}
	s, b := quantile(tookSmall, 0.5), quantile(tookLarge, 0.5)
	ratio := float64(b) / float64(s)
	l.row("A tick with nothing due, at 100,000 services compared with 1,000", "ratio ≤ 1.2",
		fmt.Sprintf("%.2f (%s and %s, medians of %d)", ratio, short(b), short(s), ticks), ratio <= 1.2,
		"the commit of the heartbeat; what is due is found by an index")
}

// nothingDue puts everything that falls due off by a week.
func (e *estate) nothingDue(t *testing.T) {
	t.Helper()
	e.write(t, `UPDATE schedules SET next_due_at = next_due_at + 604800`)
}

// measurePlan lets 70,000 schedules fall due in one minute.
func measurePlan(t *testing.T, l *limits) {
	const slots = 70_000
	took, used := planOnce(t, l.large(t).copy(t), slots)
	l.row("70,000 slots due in one minute, planned and enqueued", "≤ 3 s",
		fmt.Sprintf("%.2f s (%.2f s of processor)", took.Seconds(), used.Seconds()), took <= 3*time.Second,
		"rows and index entries: a slot is two rows in thirteen trees, written by one connection")
}

// planOnce gives how long the planning of so many slots takes. It is the second night that counts: in a database made at
// one go every page is full, and the first row that comes to one splits it.
func planOnce(t *testing.T, e *estate, slots int) (took, used time.Duration) {
	t.Helper()
	ctx := context.Background()
	defer debug.SetGCPercent(debug.SetGCPercent(gcPercent)) // as in the portal itself
	for night := range 2 {
		due := e.now.AddDate(0, 0, 2+night).Truncate(time.Minute) // today's slots are done, and in some zone today is tomorrow
		e.write(t, `UPDATE schedules SET next_due_at = NULL`,
			`UPDATE operations SET state = 'succeeded', ended_at = run_after WHERE state = 'queued'`,
			`UPDATE slots SET state = 'done', ended_at = due_at WHERE state = 'due'`,
			fmt.Sprintf(`UPDATE schedules SET next_due_at = %d, planned = %d, zone = 'UTC', days = replace('[?,?,?,?,?,?,?]', '?', '{"Enabled":true,"At":"%s"}') WHERE id <= %d`,
				due.Unix(), due.Add(-time.Hour).Unix(), due.UTC().Format("15:04"), slots))
		db := e.open(t, func() time.Time { return due.Add(20 * time.Second) })
		lease, err := db.TakeLease(ctx, "limits")
		if err != nil {
			t.Fatal(err)
		}
		if err := seeServers(ctx, db); err != nil {
			t.Fatal(err)
		}
		began, before := time.Now(), cpuTime()
		planned, err := db.PlanDue(ctx)
		took, used = time.Since(began), cpuTime()-before
		if err != nil || planned != slots {
			t.Fatalf("%d were planned, %v", planned, err)
		}
		if f, err := db.Figures(ctx); err != nil || len(f.Operations) != 1 || f.Operations[0].Count != slots {
			t.Fatalf("enqueued: %+v, %v", f.Operations, err)
		}
		if err := errors.Join(lease.Release(), db.Close()); err != nil {
			t.Fatal(err)
		}
	}
	return took, used
}

// write changes the database behind the portal's back.
func (e *estate) write(t *testing.T, statements ...string) {
	t.Helper()
	db, err := e.bulk()
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range statements {
		if _, err := db.ExecContext(t.Context(), q); err != nil {
			t.Fatalf("%v in %s", err, q)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// seeServers makes every server seen just now: by a clock that wasn't compared nothing is caught up.
func seeServers(ctx context.Context, db *store.DB) error {
	servers, err := db.Servers(ctx)
	if err != nil {
		return err
	}
	for _, s := range servers {
		if err := db.SaveInventory(ctx, store.Inventory{ServerID: s.ID}); err != nil {
			return err
		}
	}
	return nil
}

// short says a duration with three digits.
func short(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return d.Round(time.Microsecond / 10).String()
	case d < time.Second:
		return d.Round(10 * time.Microsecond).String()
	}
	return d.Round(10 * time.Millisecond).String()
}

// cpuTime is what this process has used of the processors so far.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
