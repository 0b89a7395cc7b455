package jobs_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"stowage/portal"
	"stowage/pve/pvesim"
)

// save saves a schedule from its grid, as the client does.
func (w *world) save(grid string) {
	w.t.Helper()
	s, err := portal.ParseGrid("Europe/Berlin", grid)
	if err != nil {
		w.t.Fatal(err)
	}
	w.must(w.db.SaveSchedule(context.Background(), w.client, w.service.UID, "client:test", s))
}

// dates gives the slots' dates with their states, oldest first.
func (w *world) dates() string {
	w.t.Helper()
	slots, err := w.db.Slots(context.Background(), w.service.ID, time.Time{})
	if err != nil {
		w.t.Fatal(err)
	}
	out := make([]string, len(slots))
	for i, s := range slots {
		out[i] = s.Date[5:] + " " + string(s.State)
	}
	return strings.Join(out, ", ")
}

// TestOutage has the portal off for three days: only the latest backup is made up for, if it still may start.
func TestOutage(t *testing.T) {
	t.Parallel()
	for back, want := range map[string]string{
		"11-24 04:00": "11-21 done, 11-22 missed, 11-23 missed, 11-24 late",
		"11-24 12:00": "11-21 done, 11-22 missed, 11-23 missed, 11-24 missed",
	} {
		t.Run(back, func(t *testing.T) {
			t.Parallel()
			w := scene(t, worldOptions{})
			w.every("03:00")
			w.until("11-21 12:00")
			at, _ := time.Parse("2006-01-02 15:04", "2026-"+back)
			w.clock.set(at)
			w.restart()
			w.pass(at.Add(2*time.Hour), func() bool { return false })
			if got := w.dates(); got != want {
				t.Errorf("slots %s, want %s\n%s", got, want, w.story())
			}
			w.wantSlot("11-22", portal.SlotMissed, portal.ReasonCaughtUp.String())
			copies, missed := 1, 3
			if strings.HasSuffix(want, "late") {
				copies, missed = 2, 2
			}
			w.wantCopies(copies, copies)
			if n := w.told("mail", "backup.missed"); n != missed {
				t.Errorf("%d mails about missed backups, want %d", n, missed)
			}
			w.until("11-25 12:00")
			w.wantSlot("11-25", portal.SlotDone, "")
		})
	}
}

// TestDaylightSaving runs the two nights of Berlin in which the clock changes: one backup each, at the hour said.
func TestDaylightSaving(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ at, from, date, due string }{
		{"02:30", "2026-03-28 11:00", "2026-03-29", "2026-03-29 01:00"}, // the gap's end
		{"03:00", "2026-03-28 11:00", "2026-03-29", "2026-03-29 01:00"},
		{"02:30", "2026-10-24 11:00", "2026-10-25", "2026-10-25 00:30"}, // the first of two
		{"03:00", "2026-10-24 11:00", "2026-10-25", "2026-10-25 02:00"},
	} {
		t.Run(c.date+" "+c.at, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, worldOptions{})
			from, _ := time.Parse("2006-01-02 15:04", c.from)
			due, _ := time.Parse("2006-01-02 15:04", c.due)
			w.clock.set(from)
			w.apart()                                  // with its own past
			w.write(`UPDATE lease SET recovering = 0`) // the database is of November: that is another test's
			w.every(c.at)
			w.pass(from.Add(36*time.Hour), func() bool { return false })
			slots, err := w.db.Slots(context.Background(), w.service.ID, time.Time{})
			if err != nil {
				t.Fatal(err)
			}
			if len(slots) != 1 || slots[0].Date != c.date || !slots[0].DueAt.Equal(due) || slots[0].State != portal.SlotDone {
				t.Errorf("slots %+v\n%s", slots, w.story())
			}
			if n := len(w.changes("POST", "/vzdump")); n != 1 {
				t.Errorf("%d backups in one night", n)
			}
		})
	}
}

// TestClockBack sets our clock back by an hour and by a day: nothing runs again that has run.
func TestClockBack(t *testing.T) {
	t.Parallel()
	for _, back := range []time.Duration{time.Hour, 26 * time.Hour} {
		t.Run(back.String(), func(t *testing.T) {
			t.Parallel()
			w := scene(t, worldOptions{})
			behind := w.apart()
			w.every("03:00")
			w.until("11-22 02:30")
			w.wantCopies(2, 2)
			*behind = -back
			w.clock.set(w.clock.Now().Add(-back))
			w.until("11-22 12:00")
			if got := w.dates(); got != "11-21 done, 11-22 done" {
				t.Errorf("slots %s", got)
			}
			w.wantCopies(2, 2)
			w.until("11-23 03:00")
			w.wantSlot("11-23", portal.SlotDone, "")
			w.wantCopies(3, 3)
		})
	}
}

// TestClockForward sets our clock three days ahead of the server's: nothing is deleted, and nothing is given up as
// missed before the clocks agree. Whether the schedule's job or the look at the server comes first must not matter.
func TestClockForward(t *testing.T) {
	t.Parallel()
	for _, tickFirst := range []bool{false, true} {
		t.Run(fmt.Sprintf("tick first=%t", tickFirst), func(t *testing.T) {
			t.Parallel()
			w := scene(t, worldOptions{})
			w.make(3)
			behind := w.apart()
			w.every("03:00")
			w.until("11-20 20:00")
			const jump = 3 * 24 * time.Hour
			*behind = jump
			w.clock.set(w.clock.Now().Add(jump))
			if tickFirst {
				w.must(w.engine.Tick(context.Background()))
			}
			w.pass(w.clock.Now().Add(2*time.Hour), func() bool { return false })
			if got := w.sim.Calls(); len(got) != 0 {
				t.Errorf("sent meanwhile: %+v", got)
			}
			if got := w.dates(); got != "" {
				t.Errorf("slots %s: the clock was wrong, and nights are lost by it", got)
			}
			*behind = 0
			w.clock.set(w.clock.Now().Add(-jump))
			w.until("11-22 12:00")
			if got := w.dates(); got != "11-21 done, 11-22 done" {
				t.Errorf("slots %s\n%s", got, w.story())
			}
			w.wantCopies(3, 3)
		})
	}
}

// TestServerClockCatchUp doesn't make up for a missed backup on a server whose clock is off, and does when it is
// right again.
func TestServerClockCatchUp(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{})
	w.every("03:00")
	agree := w.inject(pvesim.Fault{Kind: pvesim.ClockSkew, For: 10 * time.Minute})
	w.until("11-20 20:00")
	w.clock.set(time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)) // an hour late
	w.pass(w.clock.Now().Add(time.Hour), func() bool { return false })
	if got := w.dates(); got != "" {
		t.Errorf("slots %s", got)
	}
	agree()
	w.until("11-21 05:00")
	w.wantSlot("11-21", portal.SlotLate, "")
	w.wantCopies(1, 1)
}

// TestSaveWhileQueued saves the schedule while the night's backup waits: a day that stays ticked keeps it, whatever
// its new time; an unticked day ends it.
func TestSaveWhileQueued(t *testing.T) {
	t.Parallel()
	for grid, want := range map[string]portal.SlotStatus{
		"sat=05:00": portal.SlotLate, "sat=00:30": portal.SlotLate, "sun=03:00": portal.SlotSkipped, "": portal.SlotSkipped,
	} {
		t.Run(grid, func(t *testing.T) {
			t.Parallel()
			w := scene(t, worldOptions{})
			w.every("03:00")
			w.must(w.sim.SetLock(100, "snapshot"))
			w.until("11-21 02:20") // Saturday, 03:20
			w.wantSlot("11-21", portal.SlotDue, "")
			w.save(grid)
			w.must(w.sim.Unlock(100))
			w.until("11-21 06:00")
			w.wantSlot("11-21", want, "")
			if want == portal.SlotSkipped {
				w.wantSlot("11-21", want, portal.ReasonUnticked.String())
				w.wantCopies(0, 0)
			} else {
				w.wantCopies(1, 1)
			}
			w.until("11-21 20:00")
			if n := len(w.changes("POST", "/vzdump")); n > 1 {
				t.Errorf("%d backups of one date", n)
			}
		})
	}
}

// TestSaveWhileRunning leaves the running backup alone, and the date doesn't run again.
func TestSaveWhileRunning(t *testing.T) {
	t.Parallel()
	for _, grid := range []string{"sat=05:00", "sun=03:00"} {
		w := scene(t, slow())
		w.every("03:00")
		w.until("11-21 02:02")
		w.wantSlot("11-21", portal.SlotRunning, "")
		w.save(grid)
		w.until("11-21 20:00")
		w.wantSlot("11-21", portal.SlotDone, "")
		w.wantCopies(1, 1)
	}
}

// TestSaveAfterEnd moves a date's time that has run already to later the same day: it doesn't run again; and one
// whose new time is past gives no slot.
func TestSaveAfterEnd(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{})
	w.every("03:00")
	w.until("11-21 12:00")
	w.save("sat=20:00,sun=03:00")
	w.until("11-21 23:00")
	if got := w.dates(); got != "11-21 done" {
		t.Errorf("slots %s", got)
	}
	w.save("mon=03:00,sun=00:05")
	w.until("11-22 02:00") // Sunday 00:05 in Berlin was 23:05 UTC: still to come when it was saved
	w.save("mon=03:00,sun=01:00")
	w.until("11-22 20:00")
	if got := w.dates(); got != "11-21 done, 11-22 done" {
		t.Errorf("slots %s", got)
	}
	w.save("sun=03:00,mon=03:00")
	w.until("11-23 12:00")
	if got := w.dates(); got != "11-21 done, 11-22 done, 11-23 done" {
		t.Errorf("slots %s", got)
	}
	w.wantCopies(3, 3)
}

// TestUnticked makes no slot for a day that isn't ticked, and none at all without days.
func TestUnticked(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{})
	w.save("sat=03:00,mon=03:00")
	w.until("11-24 12:00")
	if got := w.dates(); got != "11-21 done, 11-23 done" {
		t.Errorf("slots %s", got)
	}
	w.save("")
	w.until("11-30 12:00")
	if got := w.dates(); got != "11-21 done, 11-23 done" {
		t.Errorf("slots %s", got)
	}
}

// TestSuspended skips the slots of a suspended service, keeps its copies, refuses its client, and goes on after it.
func TestSuspended(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{})
	w.make(3)
	ctx := context.Background()
	w.every("03:00")
	w.must(w.sim.SetLock(100, "snapshot"))
	w.until("11-21 02:10")
	w.wantSlot("11-21", portal.SlotDue, "")
	w.must(w.db.SetServiceState(ctx, "staff:test", w.service, portal.ServiceSuspended, "unpaid"))
	w.must(w.sim.Unlock(100))
	w.until("11-21 03:00")
	w.wantSlot("11-21", portal.SlotSkipped, portal.ReasonSuspended.String())
	w.until("11-22 03:00")
	w.wantSlot("11-22", portal.SlotSkipped, portal.ReasonSuspended.String())
	w.wantCopies(3, 3)
	if got := w.order(); got != "dump dump dump" {
		t.Errorf("sent %q", got)
	}
	for name, err := range map[string]error{
		"backup": func() error {
			_, err := w.db.Enqueue(ctx, w.client, w.service.UID, portal.ManualBackup("client:test", "", ""))
			return err
		}(),
		"remove": func() error {
			_, err := w.db.Enqueue(ctx, w.client, w.service.UID, portal.RemoveBackup("client:test", w.oldest().UID))
			return err
		}(),
		"protect": func() error {
			_, err := w.db.Enqueue(ctx, w.client, w.service.UID, portal.ProtectBackup("client:test", w.oldest().UID, true))
			return err
		}(),
		"note":     w.db.SetNote(ctx, w.client, w.service.UID, w.oldest().UID, "client:test", "hello"),
		"schedule": w.db.SaveSchedule(ctx, w.client, w.service.UID, "client:test", portal.EveryDay("Europe/Berlin", 120)),
	} {
		if portal.CodeOf(err) != portal.CodeForbidden {
			t.Errorf("%s while suspended: %v", name, err)
		}
	}
	w.must(w.db.SetServiceState(ctx, "staff:test", w.service, portal.ServiceActive, "paid"))
	w.until("11-23 03:00")
	w.wantSlot("11-23", portal.SlotDone, "")
}

// TestSuspendedMachineGone keeps a suspended service suspended through its machine's absence: its client must not
// be let in by a machine that comes back.
func TestSuspendedMachineGone(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{})
	w.must(w.db.SetServiceState(context.Background(), "staff:test", w.service, portal.ServiceSuspended, "unpaid"))
	guests := w.sim.Guests()
	w.must(w.sim.DestroyGuest(100))
	w.run(30 * time.Minute)
	if w.told("staff", "service.machine_gone") != 1 {
		t.Errorf("staff weren't told that the machine is gone")
	}
	w.must(w.sim.AddGuest(guests[0]))
	w.run(30 * time.Minute)
	if got := w.state(); got != portal.ServiceSuspended {
		t.Errorf("the service is %s", got)
	}
}

// TestPause skips what falls due in a pause, lets what waited start after it, and ends at its end.
func TestPause(t *testing.T) {
	t.Parallel()
	for _, scope := range []struct{ scope, target string }{
		{"server", ""}, {"node", "pve1"}, {"storage", "local"}, {"product", "product"}, {"service", "service"}, {"node", "pve9"},
	} {
		t.Run(scope.scope+" "+scope.target, func(t *testing.T) {
			t.Parallel()
			w := scene(t, worldOptions{})
			w.make(1)
			target := map[string]string{"product": w.product.UID, "service": w.service.UID}[scope.target]
			if target == "" {
				target = scope.target
			}
			w.write(`INSERT INTO pauses (uid, scope, server_id, target, reason, starts_at, ends_at, created_by) VALUES ('p', ?, ?, ?, 'new disks', ?, ?, 'staff:test')`,
				scope.scope, w.server.ID, target, time.Date(2026, 11, 21, 1, 0, 0, 0, time.UTC).Unix(), time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC).Unix())
			w.every("03:00")
			w.until("11-21 05:00")
			if scope.target == "pve9" {
				w.wantSlot("11-21", portal.SlotDone, "")
				return
			}
			w.wantSlot("11-21", portal.SlotSkipped, portal.ReasonMaintenance.String())
			w.wantCopies(1, 1)
			if got := w.order(); got != "dump" {
				t.Errorf("sent %q", got)
			}
			w.until("11-22 03:00")
			w.wantSlot("11-22", portal.SlotDone, "")
		})
	}
}

// TestPauseOverQueued begins while the backup waits: it starts when the pause ends in time, else it is skipped.
func TestPauseOverQueued(t *testing.T) {
	t.Parallel()
	for lasts, want := range map[time.Duration]portal.SlotStatus{2 * time.Hour: portal.SlotLate, 12 * time.Hour: portal.SlotSkipped} {
		w := scene(t, worldOptions{})
		w.every("03:00")
		w.must(w.sim.SetLock(100, "snapshot"))
		w.until("11-21 02:10")
		w.write(`INSERT INTO pauses (uid, scope, server_id, target, reason, starts_at, ends_at, created_by) VALUES ('p', 'server', ?, '', 'new disks', ?, ?, 'staff:test')`,
			w.server.ID, w.clock.Now().Unix(), w.clock.Now().Add(lasts).Unix())
		w.must(w.sim.Unlock(100))
		w.until("11-21 03:00")
		if op := w.last(); op.WaitsFor != portal.ReasonMaintenance {
			t.Errorf("waits for %q", op.WaitsFor)
		}
		w.until("11-21 09:00")
		w.wantSlot("11-21", want, "")
		if want == portal.SlotSkipped {
			w.wantSlot("11-21", want, portal.ReasonMaintenance.String())
			if n := w.told("mail", "backup.missed"); n != 0 {
				t.Errorf("%d mails about maintenance", n)
			}
		}
	}
}

// TestDoneByHand counts a backup that was made by hand after the due instant for the slot, and none from before it.
func TestDoneByHand(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{})
	w.every("03:00")
	w.until("11-21 01:58")
	w.backupNow("", "")
	w.until("11-21 02:30")
	w.wantCopies(2, 2) // the one from two minutes before the due instant doesn't count

	w = scene(t, worldOptions{})
	w.every("03:00")
	w.must(w.sim.SetLock(100, "snapshot"))
	w.until("11-21 02:10")
	w.must(w.sim.Unlock(100))
	w.write(`UPDATE services SET lock = ''`)
	op := w.backupNow("by hand", "")
	w.until("11-21 04:00")
	if got := w.operation(op.ID); got.State != portal.StateSucceeded {
		t.Fatalf("by hand: %s\n%s", got.State, w.story())
	}
	w.wantSlot("11-21", portal.SlotDone, "")
	w.wantCopies(1, 1)
	if n := len(w.changes("POST", "/vzdump")); n != 1 {
		t.Errorf("%d backups", n)
	}
}

// TestQuotaZero makes neither slots nor backups.
func TestQuotaZero(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{Product: func(p *portal.Product) { p.Quota = 0 }})
	w.every("03:00")
	w.until("11-23 12:00")
	if got := w.dates(); got != "" || len(w.sim.Calls()) != 0 {
		t.Errorf("slots %s, %d changes", got, len(w.sim.Calls()))
	}
	if _, err := w.db.Enqueue(context.Background(), w.client, w.service.UID, portal.ManualBackup("client:test", "", "")); portal.CodeOf(err) != portal.CodeQuota {
		t.Errorf("by hand: %v", err)
	}
}
