package store

import (
	"context"
	"database/sql"
	"time"

	"stowage/portal"
)

// Schedule is a service's schedule as it is kept, with how far it has been planned.
type Schedule struct {
	portal.Schedule
	ID        int64
	UID       string
	ServiceID int64
	Planned   time.Time // slots are written for every due instant up to here
	NextDue   time.Time // zero = no day is ticked
	SavedAt   time.Time
}

const scheduleColumns = `c.id, c.uid, c.service_id, c.zone, c.days, c.planned, c.next_due_at, c.saved_at`

func scanSchedule(s scanner) (v Schedule, err error) {
	var days string
	var planned, next, saved sql.NullInt64
	if err = s.Scan(&v.ID, &v.UID, &v.ServiceID, &v.Zone, &days, &planned, &next, &saved); err != nil {
		return v, err
	}
	v.Planned, v.NextDue, v.SavedAt = at(planned), at(next), at(saved)
	return v, unjson([]string{days}, &v.Days)
}

// Schedule gives a service's schedule.
func (db *DB) Schedule(ctx context.Context, serviceID int64) (Schedule, error) {
	v, err := scanSchedule(db.read.QueryRowContext(ctx, `SELECT `+scheduleColumns+` FROM schedules c WHERE c.service_id = $1`, serviceID))
	return v, missing(err)
}

// SaveSchedule replaces a schedule by the rules of portal.Replan: no date runs again that has ended, none whose
// new instant is past gets a slot, a queued slot of an unticked day is cancelled, a running one is left alone.
// clientID 0 means staff or a command.
func (db *DB) SaveSchedule(ctx context.Context, clientID int64, serviceUID, actor string, next portal.Schedule) error {
	if err := next.Validate(); err != nil {
		return err
	}
	return db.update(ctx, "save schedule", func(t *tx) error {
		where, args := `WHERE s.uid = $1`, []any{serviceUID}
		if clientID != 0 {
			where, args = `WHERE s.uid = $1 AND s.client_id = $2 AND s.state <> 'terminated'`, []any{serviceUID, clientID}
		}
		svc, err := scanService(t.QueryRowContext(ctx, `SELECT `+serviceColumns+` FROM services s `+where, args...))
		if err != nil {
			return missing(err)
		}
		if svc.State == portal.ServiceSuspended && clientID != 0 {
			return portal.Refuse(portal.CodeForbidden, "This service is suspended: you can look at everything, but not change it.")
		}
		old, err := scanSchedule(t.QueryRowContext(ctx, `SELECT `+scheduleColumns+` FROM schedules c WHERE c.service_id = $1`, svc.ID))
		if err != nil {
			return err
		}
		p, err := product(ctx, t, svc.ProductID)
		if err != nil {
			return err
		}
		existing, err := collect(ctx, t, func(s scanner) (v portal.SlotState, err error) {
			var date string
			if err = s.Scan(&date, &v.Status); err != nil {
				return v, err
			}
			v.Date, err = portal.ParseDate(date)
			return v, err
		}, `SELECT local_date, state FROM slots WHERE service_id = $1 AND schedule_id = $2 AND due_at > $3`, svc.ID, old.ID, earlier(t.now, old.Planned).Add(-15*24*time.Hour).Unix())
		if err != nil {
			return err
		}
		plan := portal.Replan(old.Schedule, next, existing, old.Planned, t.now)
		if svc.QuotaIn(p) > 0 {
			if err := t.writeSlots(svc, p, old, plan.Write); err != nil {
				return err
			}
		}
		for _, date := range plan.Cancel {
			op, err := operation(ctx, t, `WHERE o.service_id = $1 AND o.schedule_id = $2 AND o.slot_date = $3 AND o.state = 'queued'`, svc.ID, old.ID, date.String())
			if portal.CodeOf(err) == portal.CodeNotFound {
				continue
			}
			if err != nil {
				return err
			}
			if err := t.endQueued(&op, portal.StateCancelled, "The day was taken off the schedule.", string(portal.SlotSkipped), portal.ReasonUnticked); err != nil {
				return err
			}
		}
		var due any
		if plan.Next != nil {
			due = plan.Next.Due.Unix()
		}
		if _, err := t.exec(`UPDATE schedules SET zone = $1, days = $2, planned = $3, next_due_at = $4, saved_at = $5 WHERE id = $6`,
			next.Zone, tojson(next.Days), plan.From.Unix(), due, t.now.Unix(), old.ID); err != nil {
			return err
		}
		t.touch(svc.ID)
		return t.audit(Entry{Actor: actor, Action: "schedule.save", Entity: "schedule", EntityUID: old.UID, ServiceID: svc.ID,
			Before: old.Zone + " " + old.Grid(), After: next.Zone + " " + next.Grid()})
	})
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// slotDates gives the local dates of a schedule that have a row already, of the last and the coming days.
func (t *tx) slotDates(serviceID, scheduleID int64, now time.Time) ([]portal.Date, error) {
	return collect(t.ctx, t, func(s scanner) (portal.Date, error) {
		var v string
		if err := s.Scan(&v); err != nil {
			return portal.Date{}, err
		}
		return portal.ParseDate(v)
	}, `SELECT local_date FROM slots WHERE service_id = $1 AND schedule_id = $2 AND due_at > $3`, serviceID, scheduleID, now.Add(-15*24*time.Hour).Unix())
}
