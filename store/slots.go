package store

import (
	"context"
	"database/sql"
	"slices"
	"time"

	"stowage/portal"
)

// Slot is one scheduled backup of a service: what became of one date.
type Slot struct {
	ServiceID  int64
	ScheduleID int64
	Date       string
	DueAt      time.Time
	StartBy    time.Time
	State      portal.SlotStatus
	Reason     portal.Text
	Operation  string // uid, "" = none
	EndedAt    time.Time
}

// batch is how many services one transaction plans: one transaction each would take minutes for a night's worth.
const batch = 500

// longestLookBack bounds how far back missed slots are written after a long standstill.
const longestLookBack = 30 * 24 * time.Hour

type dueSchedule struct {
	Schedule
	service portal.Service
	product portal.Product
	trusted bool // the server's clock agrees with ours, by a look made just now
}

// PlanDue writes the slots that fell due since each schedule was last planned and queues the operations of those
// that run. Its cost grows with what is due, not with what there is. Where a server's clock and ours disagree,
// only what fell due just now runs there; the rest waits until the clocks agree.
func (db *DB) PlanDue(ctx context.Context) (planned int, err error) {
	var afterDue, afterID int64 = -1, -1
	for {
		n, err := db.planBatch(ctx, &afterDue, &afterID)
		planned += n
		if err != nil || n == 0 {
			return planned, err
		}
	}
}

func (db *DB) planBatch(ctx context.Context, afterDue, afterID *int64) (n int, err error) {
	now := db.now()
	var some bool
	if err := db.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM schedules WHERE next_due_at <= $1 AND (next_due_at > $2 OR next_due_at = $2 AND id > $3))`,
		now.Unix(), *afterDue, *afterID).Scan(&some); err != nil || !some {
		return 0, explain("plan", err)
	}
	err = db.update(ctx, "plan", func(t *tx) error {
		pauses, err := t.pauses()
		if err != nil {
			return err
		}
		products := map[int64]portal.Product{}
		due, err := collect(ctx, t, func(s scanner) (v dueSchedule, err error) {
			v.Schedule, err = scanSchedule(s)
			return v, err
		}, `SELECT `+scheduleColumns+` FROM schedules c WHERE c.next_due_at <= $1 AND (c.next_due_at > $2 OR c.next_due_at = $2 AND c.id > $3)
			ORDER BY c.next_due_at, c.id LIMIT $4`, t.now.Unix(), *afterDue, *afterID, batch)
		if err != nil {
			return err
		}
		for _, d := range due {
			*afterDue, *afterID = d.NextDue.Unix(), d.ID
			n++
			if d.service, err = service(ctx, t, d.ServiceID); err != nil {
				return err
			}
			if _, ok := products[d.service.ProductID]; !ok {
				if products[d.service.ProductID], err = product(ctx, t, d.service.ProductID); err != nil {
					return err
				}
			}
			d.product = products[d.service.ProductID]
			if d.trusted, err = t.clockTrusted(d.service.ServerID); err != nil {
				return err
			}
			if err := t.plan(d, pauses); err != nil {
				return err
			}
		}
		return nil
	})
	return n, err
}

// clockSeenFor is how old the look at a server may be by which its clock and ours agree. When our clock jumps, the
// last look is suddenly old: until the next one nobody knows which clock is right.
const clockSeenFor = 5 * time.Minute

func (t *tx) clockTrusted(serverID int64) (bool, error) {
	var skew, seen int64
	err := t.QueryRowContext(t.ctx, `SELECT skew, seen_at FROM servers WHERE id = $1`, serverID).Scan(&skew, &seen)
	agree := (time.Duration(skew) * time.Second).Abs() <= portal.SkewLimit
	return agree && t.now.Sub(time.Unix(seen, 0)).Abs() <= clockSeenFor, err
}

// plan writes what fell due of one schedule.
func (t *tx) plan(d dueSchedule, pauses []portal.Pause) error {
	from := d.Planned
	if t.now.Sub(from) > longestLookBack {
		from = t.now.Add(-longestLookBack)
	}
	slots := d.Slots(from, t.now)
	used, err := t.slotDates(d.ServiceID, d.ID, t.now)
	if err != nil {
		return err
	}
	slots = slices.DeleteFunc(slots, func(s portal.DueSlot) bool { return slices.Contains(used, s.Date) })
	if !d.trusted && slices.ContainsFunc(slots, func(s portal.DueSlot) bool { return t.now.Sub(s.Due) > portal.LateAfter }) {
		return nil // a catch-up by a clock that may be wrong: wait until the clocks agree
	}
	var reason portal.Text
	switch {
	case d.service.State == portal.ServiceSuspended:
		reason = portal.ReasonSuspended
	case d.service.State != portal.ServiceActive:
		reason = map[portal.ServiceState]portal.Text{
			portal.ServiceMachineGone: "the machine no longer exists", portal.ServiceMachineReplaced: "another machine is in its place",
		}[d.service.State]
		if reason == "" {
			reason = "the service is being closed"
		}
	default:
		for _, p := range pauses {
			if pauseCovers(p, d.service, d.product) {
				reason = portal.ReasonMaintenance
			}
		}
	}
	if d.service.QuotaIn(d.product) > 0 {
		if err := t.writeSlots(d.service, d.product, d.Schedule, slots, reason); err != nil {
			return err
		}
	}
	for _, s := range slots {
		used = append(used, s.Date)
	}
	var next any
	if coming := d.NextExcept(t.now, 1, used); len(coming) > 0 {
		next = coming[0].Due.Unix()
	}
	_, err = t.exec(`UPDATE schedules SET planned = $1, next_due_at = $2 WHERE id = $3`, t.now.Unix(), next, d.ID)
	return err
}

// writeSlots writes the rows of slots that fell due: all but the latest are missed, and the latest is queued
// where it may still start; with a reason, all are skipped for it.
func (t *tx) writeSlots(svc portal.Service, p portal.Product, s Schedule, slots []portal.DueSlot, skip portal.Text) error {
	if len(slots) == 0 {
		return nil
	}
	t.touch(svc.ID)
	ended := func(slot portal.DueSlot, state portal.SlotStatus, reason portal.Text) error {
		_, err := t.exec(`INSERT INTO slots (service_id, schedule_id, local_date, due_at, start_by, state, reason, ended_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
			ON CONFLICT DO NOTHING`, svc.ID, s.ID, slot.Date.String(), slot.Due.Unix(), slot.Due.Add(p.StartWindow).Unix(), state, reason, t.now.Unix())
		return err
	}
	if skip != "" {
		for _, slot := range slots {
			if err := ended(slot, portal.SlotSkipped, skip); err != nil {
				return err
			}
		}
		return nil
	}
	caught := s.CatchUp(slots, t.now, p.StartWindow)
	for _, m := range caught.Missed {
		if err := ended(m.DueSlot, portal.SlotMissed, m.Reason); err != nil {
			return err
		}
		if err := t.post(Message{Channel: "mail", ServiceID: svc.ID, Topic: "backup.missed", Payload: map[string]any{"service": svc.UID, "date": m.Date.String(), "reason": string(m.Reason)}}); err != nil {
			return err
		}
	}
	if caught.Run == nil {
		return nil
	}
	run := *caught.Run
	r, err := t.exec(`INSERT INTO slots (service_id, schedule_id, local_date, due_at, start_by, state) VALUES ($1, $2, $3, $4, $5, 'due') ON CONFLICT DO NOTHING`,
		svc.ID, s.ID, run.Date.String(), run.Due.Unix(), caught.StartBy.Unix())
	if err != nil {
		return err
	}
	if fresh, err := r.RowsAffected(); err != nil || fresh == 0 {
		return err
	}
	spread := portal.Spread(svc.UID, run.Date, p.Spread)
	situation := portal.Situation{Service: svc, Product: p, Now: t.now}
	op, err := portal.ScheduledBackup(s.ID, run.Date.String(), run.Due, caught.StartBy, spread)(situation)
	if err != nil {
		return err
	}
	if err := t.insertOperation(&op, situation); err != nil {
		return err
	}
	_, err = t.exec(`UPDATE slots SET operation_id = $1 WHERE service_id = $2 AND schedule_id = $3 AND local_date = $4`, op.ID, svc.ID, s.ID, run.Date.String())
	return err
}

// saveSlot keeps an operation's slot in step with it.
func (t *tx) saveSlot(op portal.Operation, c Changes) error {
	if !op.Scheduled() {
		return nil
	}
	if !op.State.Final() {
		state := portal.SlotDue
		if op.State.Active() {
			state = portal.SlotRunning
		}
		_, err := t.exec(`UPDATE slots SET state = $1, operation_id = $2 WHERE service_id = $3 AND schedule_id = $4 AND local_date = $5 AND ended_at IS NULL`,
			state, op.ID, op.ServiceID, op.ScheduleID, op.SlotDate)
		return err
	}
	_, err := t.exec(`UPDATE slots SET state = $1, reason = $2, operation_id = $3, backup_id = $4, ended_at = $5
		WHERE service_id = $6 AND schedule_id = $7 AND local_date = $8 AND ended_at IS NULL`,
		c.SlotState, c.SlotReason, op.ID, idOrNull(op.BackupID), t.now.Unix(), op.ServiceID, op.ScheduleID, op.SlotDate)
	return err
}

// ExpireQueued ends the queued operations that may not start any more: their slots are missed, or failed where
// attempts were made.
func (db *DB) ExpireQueued(ctx context.Context) (n int, err error) {
	now := db.now()
	var some bool
	if err := db.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM operations WHERE state = 'queued' AND start_by <= $1)`, now.Unix()).Scan(&some); err != nil || !some {
		return 0, explain("expire", err)
	}
	err = db.update(ctx, "expire", func(t *tx) error {
		late, err := operations(ctx, t, `WHERE o.state = 'queued' AND o.start_by <= $1 ORDER BY o.id LIMIT $2`, t.now.Unix(), batch)
		if err != nil {
			return err
		}
		for _, op := range late {
			if err := t.expire(op); err != nil {
				return err
			}
			n++
		}
		return nil
	})
	return n, err
}

func (t *tx) expire(op portal.Operation) error {
	state, why := portal.SlotMissed, op.WaitsFor
	var busy bool
	if err := t.QueryRowContext(t.ctx, `SELECT EXISTS (SELECT 1 FROM operations WHERE service_id = $1 AND kind = 'backup' AND state IN ('running', 'held'))`, op.ServiceID).Scan(&busy); err != nil {
		return err
	}
	switch {
	case busy:
		why = portal.ReasonPreviousRunning
	case op.Attempt > 0:
		state, why = portal.SlotFailed, op.Reason
	case why == portal.ReasonMaintenance:
		state = portal.SlotSkipped
	case why == "":
		why = portal.ReasonNoStart
	}
	sentence := portal.Say("It could not start in time: %s.", why)
	if op.Attempt > 0 {
		sentence = op.Reason
	}
	if op.Evicted && op.Timing == portal.TimingAfter {
		sentence = op.Reason
	}
	if err := t.endQueued(&op, portal.StateFailed, sentence, string(state), why); err != nil {
		return err
	}
	topic := "backup.missed"
	if state == portal.SlotFailed || !op.Scheduled() {
		topic = string(op.Kind) + ".failed"
	}
	if err := t.audit(Entry{Actor: "engine", Action: "operation.expire", Entity: "operation", EntityUID: op.UID, ServiceID: op.ServiceID, After: why.String()}); err != nil {
		return err
	}
	if state == portal.SlotSkipped {
		return nil // maintenance is announced, not mailed about each night
	}
	return t.post(Message{Channel: "mail", ServiceID: op.ServiceID, Topic: topic, Payload: map[string]any{"operation": op.UID, "reference": op.Reference, "date": op.SlotDate, "reason": string(why)}})
}

// Slots gives the slots of a service that fell due since an instant, oldest first.
func (db *DB) Slots(ctx context.Context, serviceID int64, since time.Time) ([]Slot, error) {
	return collect(ctx, db.read, scanSlot, `SELECT l.service_id, l.schedule_id, l.local_date, l.due_at, l.start_by, l.state, l.reason, o.uid, l.ended_at
		FROM slots l LEFT JOIN operations o ON o.id = l.operation_id WHERE l.service_id = $1 AND l.due_at >= $2 ORDER BY l.due_at`, serviceID, since.Unix())
}

func scanSlot(s scanner) (v Slot, err error) {
	var due, start, ended sql.NullInt64
	var op sql.NullString
	err = s.Scan(&v.ServiceID, &v.ScheduleID, &v.Date, &due, &start, &v.State, &v.Reason, &op, &ended)
	v.DueAt, v.StartBy, v.EndedAt, v.Operation = at(due), at(start), at(ended), op.String
	return v, err
}

// Slot gives one slot.
func (db *DB) Slot(ctx context.Context, serviceID, scheduleID int64, date string) (Slot, error) {
	v, err := scanSlot(db.read.QueryRowContext(ctx, `SELECT l.service_id, l.schedule_id, l.local_date, l.due_at, l.start_by, l.state, l.reason, o.uid, l.ended_at
		FROM slots l LEFT JOIN operations o ON o.id = l.operation_id WHERE l.service_id = $1 AND l.schedule_id = $2 AND l.local_date = $3`, serviceID, scheduleID, date))
	return v, missing(err)
}
