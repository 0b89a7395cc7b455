package store

import (
	"context"
	"database/sql"
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

// batch is how many queued operations one transaction ends.
const batch = 500

// saveSlot keeps an operation's slot in step with it.
func (t *tx) saveSlot(op portal.Operation, c Changes) error {
	if !op.Scheduled() || op.State == portal.StateRunning {
		return nil // its slot runs since Claim
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
		late, err := operations(ctx, t, `WHERE o.state = 'queued' AND o.start_by <= $1 ORDER BY o.id LIMIT +$2`, t.now.Unix(), batch)
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
	return t.post(Message{Channel: "mail", ServiceID: op.ServiceID, Topic: topic, Payload: map[string]any{"operation": op.UID, "reference": op.Reference, "date": op.SlotDate, "reason": string(why),
		"whole": op.Kind == portal.KindRestore}}) // it has touched nothing
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
