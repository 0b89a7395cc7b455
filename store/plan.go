package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"stowage/portal"
)

// planBatch is how many schedules one transaction plans. One each would take minutes for a night's worth, all at once
// would hold up whoever presses a button meanwhile.
const planBatch = 5000

// longestLookBack bounds how far back missed slots are written after a long standstill.
const longestLookBack = 30 * 24 * time.Hour

// dueSchedule is a schedule of which something fell due, with what planning has to know of its service.
type dueSchedule struct {
	Schedule
	service portal.Service // without its hardware and identity
	product *portal.Product
	trusted bool             // the server's clock agrees with ours, by a look made just now
	used    []portal.Date    // those that have a row already
	saved   int64            // when the schedule was saved, unix seconds
	upTo    time.Time        // when it was read: it is planned up to here
	slots   []portal.DueSlot // what fell due until then and has no row
	next    time.Time        // when it falls due again, zero = never
}

// from is the instant after which slots are still to be written.
func (d dueSchedule) from(now time.Time) time.Time {
	if now.Sub(d.Planned) > longestLookBack {
		return now.Add(-longestLookBack)
	}
	return d.Planned
}

// planCursor is how far one round of planning has come: those that stay due are not looked at again in it.
type planCursor struct{ due, id int64 }

// PlanDue writes the slots that fell due since each schedule was last planned and queues the operations of those
// that run. Its cost grows with what is due, not with what there is. Where a server's clock and ours disagree,
// only what fell due just now runs there; the rest waits until the clocks agree. A schedule that can't be planned
// holds up none of the others.
func (db *DB) PlanDue(ctx context.Context) (planned int, err error) {
	var failed error
	var ready *readAhead
	defer func() { ready.wait() }()
	for at := (planCursor{-1, -1}); ; {
		began := at
		n, next, err := db.planSome(ctx, &at, planBatch, ready)
		ready.wait()
		ready = next
		if errors.Is(err, errOvertaken) { // somebody saved a schedule in between: read this batch anew
			at = began
			continue
		}
		if err != nil && ctx.Err() == nil && portal.CodeOf(err) != portal.CodeUnavailable {
			at = began
			n, err = db.planEach(ctx, &at, planBatch)
			failed, err = errors.Join(failed, err), nil
		}
		planned += n
		if err != nil || at == began {
			return planned, errors.Join(failed, err)
		}
	}
}

// readAhead is the next batch, read while the one before it is written. What it says of a schedule counts only where the
// schedule is still as it was read.
type readAhead struct {
	done chan struct{}
	due  []dueSchedule
	err  error
}

// errOvertaken says that a schedule has changed since it was read.
var errOvertaken = errors.New("store: a schedule changed since it was read")

func (r *readAhead) wait() {
	if r != nil {
		<-r.done
	}
}

// readNext begins to read what comes after a full batch.
func (db *DB) readNext(ctx context.Context, due []dueSchedule, most int, now time.Time) *readAhead {
	if len(due) < most || most < planBatch {
		return nil
	}
	last := due[len(due)-1]
	at := planCursor{last.NextDue.Unix(), last.ID}
	r := &readAhead{done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.err = db.view(ctx, "plan", func(q querier) (err error) {
			r.due, err = dueSchedules(ctx, q, now, at, most)
			return err
		})
	}()
	return r
}

const (
	stillDue = `c.next_due_at <= $1 AND (c.next_due_at > $2 OR c.next_due_at = $2 AND c.id > $3)`
	inOrder  = ` ORDER BY c.next_due_at, c.id LIMIT +$4`
)

// planEach plans schedules one by one, and goes on after one that fails.
func (db *DB) planEach(ctx context.Context, at *planCursor, most int) (planned int, failed error) {
	for range most {
		next := *at
		err := db.read.QueryRowContext(ctx, `SELECT c.next_due_at, c.id FROM schedules c WHERE `+stillDue+inOrder, db.now().Unix(), at.due, at.id, 1).Scan(&next.due, &next.id)
		if errors.Is(err, sql.ErrNoRows) {
			return planned, failed
		}
		if err != nil {
			return planned, errors.Join(failed, explain("plan", err))
		}
		n, _, err := db.planSome(ctx, at, 1, nil)
		planned += n
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("schedule %d: %w", next.id, err))
		}
		*at = next
	}
	return planned, failed
}

func (db *DB) planSome(ctx context.Context, at *planCursor, most int, ready *readAhead) (n int, next *readAhead, err error) {
	if ready.wait(); ready == nil || ready.err != nil {
		ready = nil
		var some bool
		if err := db.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM schedules c WHERE `+stillDue+`)`, db.now().Unix(), at.due, at.id).Scan(&some); err != nil || !some {
			return 0, nil, explain("plan", err)
		}
	}
	err = db.update(ctx, "plan", func(t *tx) error {
		pauses, err := t.pauses()
		if err != nil {
			return err
		}
		var due []dueSchedule
		if ready != nil {
			due = ready.due
		} else if due, err = dueSchedules(t.ctx, t, t.now, *at, most); err != nil {
			return err
		}
		next = db.readNext(ctx, due, most, t.now)
		w := slotWriter{tx: t}
		for i := range due {
			d := &due[i]
			at.due, at.id = d.NextDue.Unix(), d.ID
			n++
			if err := w.plan(d, pauses); err != nil {
				return err
			}
		}
		err = w.write()
		if ready != nil && err != nil {
			return errOvertaken // a slot that is there by now, perhaps: what was read ahead is no ground to say more
		}
		return err
	})
	if err != nil {
		next.wait()
		n, next = 0, nil
	}
	return n, next, err
}

// dueSchedules reads the next ones that are due, in the order of their instants, and works out what fell due.
func dueSchedules(ctx context.Context, q querier, now time.Time, at planCursor, most int) ([]dueSchedule, error) {
	products := map[int64]*portal.Product{}
	grids := map[string][7]portal.Day{} // most schedules are like many others
	due, err := collect(ctx, q, func(s scanner) (dueSchedule, error) { return scanDue(s, now, grids) }, `SELECT c.id, c.service_id, c.zone, c.days, c.planned, c.saved_at, c.next_due_at, s.uid, s.product_id, s.server_id, s.state, s.node, s.quota, s.mode, v.skew, v.seen_at
		FROM schedules c JOIN services s ON s.id = c.service_id JOIN servers v ON v.id = s.server_id
		WHERE `+stillDue+inOrder, now.Unix(), at.due, at.id, most)
	if err != nil || len(due) == 0 {
		return nil, err
	}
	index := make(map[int64]*dueSchedule, len(due))
	oldest := now
	for i := range due {
		d := &due[i]
		index[d.ID] = d
		if from := d.from(now); from.Before(oldest) {
			oldest = from
		}
		p, known := products[d.service.ProductID]
		if !known {
			sold, err := product(ctx, q, d.service.ProductID)
			if err != nil {
				return nil, err
			}
			p = &sold
			products[d.service.ProductID] = p
		}
		d.product = p
	}
	// Slots of older dates than two days before can't fall due any more, wherever on earth.
	rows, err := q.QueryContext(ctx, `SELECT l.schedule_id, l.local_date
		FROM (SELECT c.id, c.service_id FROM schedules c WHERE `+stillDue+inOrder+`) d
		JOIN slots l ON l.service_id = d.service_id AND l.schedule_id = d.id AND l.local_date >= $5`,
		now.Unix(), at.due, at.id, most, portal.DateOf(oldest.UTC()).AddDays(-3).String())
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var id int64
		var text string
		if err := rows.Scan(&id, &text); err != nil {
			return nil, err
		}
		date, err := portal.ParseDate(text)
		if err != nil {
			return nil, err
		}
		index[id].used = append(index[id].used, date)
	}
	for i := range due {
		due[i].reckon(now)
	}
	return due, rows.Err()
}

// reckon works out what fell due up to now, and when something does next.
func (d *dueSchedule) reckon(now time.Time) {
	d.upTo = now
	d.slots = slices.DeleteFunc(d.Slots(d.from(now), now), func(s portal.DueSlot) bool { return slices.Contains(d.used, s.Date) })
	used := d.used
	for _, s := range d.slots {
		used = append(used, s.Date)
	}
	if coming := d.NextExcept(now, 1, used); len(coming) > 0 {
		d.next = coming[0].Due
	}
}

func scanDue(s scanner, now time.Time, grids map[string][7]portal.Day) (d dueSchedule, err error) {
	var quota, next sql.NullInt64
	var days string
	var planned, skew, seen int64
	v := &d.service
	if err := s.Scan(&d.ID, &d.ServiceID, &d.Zone, &days, &planned, &d.saved, &next, &v.UID, &v.ProductID, &v.ServerID, &v.State, &v.Node, &quota, &v.Mode, &skew, &seen); err != nil {
		return d, err
	}
	grid, known := grids[days]
	if !known {
		if err := unjson([]string{days}, &grid); err != nil {
			return d, fmt.Errorf("schedule %d: %w", d.ID, err)
		}
		grids[days] = grid
	}
	d.Days, d.Planned, d.NextDue, v.ID = grid, time.Unix(planned, 0).UTC(), at(next), d.ServiceID
	if quota.Valid {
		q := int(quota.Int64)
		v.Quota = &q
	}
	agree := (time.Duration(skew) * time.Second).Abs() <= portal.SkewLimit
	d.trusted = agree && now.Sub(time.Unix(seen, 0)).Abs() <= clockSeenFor
	return d, nil
}

// clockSeenFor is how old the look at a server may be by which its clock and ours agree. When our clock jumps, the
// last look is suddenly old: until the next one nobody knows which clock is right.
const clockSeenFor = 5 * time.Minute

// plan decides what becomes of what fell due of one schedule.
func (w *slotWriter) plan(d *dueSchedule, pauses []portal.Pause) error {
	if !d.trusted && slices.ContainsFunc(d.slots, func(s portal.DueSlot) bool { return w.now.Sub(s.Due) > portal.LateAfter }) {
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
			if pauseCovers(p, d.service, *d.product) {
				reason = portal.ReasonMaintenance
			}
		}
	}
	if d.service.QuotaIn(*d.product) > 0 {
		if err := w.add(&d.service, d.product, &d.Schedule, d.slots, reason); err != nil {
			return err
		}
	}
	w.planned = append(w.planned, planned{schedule: d.ID, upTo: d.upTo, due: d.next, was: d.Planned.Unix(), saved: d.saved})
	return nil
}

// writeSlots writes the rows of one schedule's slots that fell due.
func (t *tx) writeSlots(svc portal.Service, p portal.Product, s Schedule, slots []portal.DueSlot) error {
	w := slotWriter{tx: t}
	if err := w.add(&svc, &p, &s, slots, ""); err != nil {
		return err
	}
	return w.write()
}
