package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"stowage/portal"
)

// waiting is one queued operation as admission sees it.
type waiting struct {
	portal.Candidate
	op        portal.Operation // as much of it as ending it needs
	waitsFor  portal.Text
	startBy   time.Time
	service   portal.Service // its uid, place, state and lock
	product   portal.Product // its uid and storage
	occupied  portal.Kind    // of the exclusive operation of the service that is running or held; "" = there is none
	reachable bool
	online    bool
	maybeDone bool         // a good copy began at or after it fell due
	after     portal.State // of the operation that has to end well first, "" for none
}

func (w waiting) scheduled() bool { return w.op.SlotDate != "" }

const waitingQuery = `SELECT o.id, o.uid, o.service_id, s.client_id, o.server_id, s.node, o.kind, o.manual, o.schedule_id, o.slot_date, o.version,
		o.waits_for, o.created_at, COALESCE(l.due_at, o.created_at), o.start_by, s.uid, s.state, s.lock, p.uid, p.storage,
		CASE WHEN b.id IS NOT NULL AND o.kind IN ('backup_delete', 'backup_protect') THEN b.node || '/' || b.storage
			ELSE COALESCE((SELECT t.node FROM storages t WHERE t.server_id = o.server_id AND t.name = p.storage AND t.node IN ('', s.node) ORDER BY t.node LIMIT 1), s.node) || '/' || p.storage END,
		COALESCE((SELECT r.kind FROM operations r WHERE r.service_id = o.service_id AND r.state IN ('running', 'held') AND r.exclusive = 1), ''),
		v.unreachable_since IS NULL,
		COALESCE((SELECT n.online FROM nodes n WHERE n.server_id = o.server_id
			AND n.name = CASE WHEN o.kind IN ('backup_delete', 'backup_protect') AND b.node <> '' THEN b.node ELSE s.node END), 1), -- a copy may lie on another host
		EXISTS (SELECT 1 FROM backups c WHERE c.service_id = o.service_id AND c.removed_at IS NULL AND c.started_at >= l.due_at AND c.class = 'good'),
		COALESCE((SELECT f.state FROM operations f WHERE f.id = o.after_id), '')
	FROM operations o JOIN services s ON s.id = o.service_id JOIN products p ON p.id = s.product_id JOIN servers v ON v.id = o.server_id
	LEFT JOIN slots l ON l.service_id = o.service_id AND l.schedule_id = o.schedule_id AND l.local_date = o.slot_date
	LEFT JOIN backups b ON b.id = o.backup_id`

func scanWaiting(s scanner) (w waiting, err error) {
	var schedule, created, due, start sql.NullInt64
	var slot sql.NullString
	err = s.Scan(&w.OperationID, &w.op.UID, &w.op.ServiceID, &w.Client, &w.Server, &w.Node, &w.Kind, &w.Manual, &schedule, &slot, &w.op.Version,
		&w.waitsFor, &created, &due, &start, &w.service.UID, &w.service.State, &w.service.Lock, &w.product.UID, &w.product.Storage,
		&w.Storage, &w.occupied, &w.reachable, &w.online, &w.maybeDone, &w.after)
	w.op.ID, w.op.ScheduleID, w.op.SlotDate = w.OperationID, schedule.Int64, slot.String
	w.service.ID, w.service.ServerID, w.service.Node = w.op.ServiceID, w.Server, w.Node
	w.Enqueued, w.Due, w.startBy = at(created), at(due), at(start)
	return w, err
}

// runningPlaces gives the work that holds places, ours and foreign.
func runningPlaces(ctx context.Context, q querier) ([]portal.Running, error) {
	ours, err := collect(ctx, q, func(s scanner) (r portal.Running, err error) {
		var node, storage sql.NullString
		err = s.Scan(&r.Client, &r.Server, &node, &storage, &r.Manual, &r.Kind)
		r.Node, r.Storage = node.String, storage.String
		return r, err
	}, `SELECT s.client_id, o.server_id, o.dump_place, COALESCE(o.delete_place, CASE WHEN b.id IS NOT NULL THEN b.node || '/' || b.storage END), o.manual, o.kind
		FROM operations o JOIN services s ON s.id = o.service_id LEFT JOIN backups b ON b.id = o.backup_id
		WHERE o.state IN ('running', 'held') AND (o.dump_place IS NOT NULL OR o.kind = 'backup_delete')`)
	if err != nil {
		return nil, err
	}
	foreign, err := collect(ctx, q, func(s scanner) (r portal.Running, err error) {
		r.Foreign, r.Kind = true, portal.KindBackup
		return r, s.Scan(&r.Server, &r.Node)
	}, `SELECT server_id, name FROM nodes WHERE foreign_dump <> ''`)
	return append(ours, foreign...), err
}

// claim is what one call of Claim found.
type claim struct {
	start    []waiting
	needless []waiting // may have to end without having begun
	reasons  map[int64]portal.Text
	byID     map[int64]waiting
}

// Claim starts what may start: it moves queued operations to running and gives each its place, in one
// transaction. What has become needless meanwhile (the slot was done by another backup, the service was
// suspended) ends here. The rest keeps what it waits for.
//
// It looks at the lines of hosts that have a free place, and at the others where something new stands in them or half a
// minute has passed: its cost grows with what can start. What only waits is counted, by host.
func (db *DB) Claim(ctx context.Context, limits portal.Limits) (started []int64, err error) {
	now := db.now()
	var some bool
	if err := db.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM operations WHERE state = 'queued' AND run_after <= $1)`, now.Unix()).Scan(&some); err != nil || !some {
		return nil, explain("claim", err)
	}
	c := claim{reasons: map[int64]portal.Text{}, byID: map[int64]waiting{}}
	var backups, over []standing
	err = db.view(ctx, "claim", func(q querier) error {
		running, err := runningPlaces(ctx, q)
		if err != nil {
			return err
		}
		if backups, err = db.lines.choose(ctx, q, now, waitingBackups, freeForBackups(running, limits)); err != nil {
			return err
		}
		expiring, err := expiriesRunning(ctx, q)
		if err != nil {
			return err
		}
		if over, err = db.overLines.choose(ctx, q, now, waitingExpiries, func(l line) bool { return expiring[l] < ExpiriesPerNode }); err != nil {
			return err
		}
		all, err := waitingIn(ctx, q, now, backups, over)
		if err != nil || len(all) == 0 {
			return err
		}
		return c.look(ctx, q, db, now, all, running, expiring, limits)
	})
	if err != nil {
		return nil, err
	}
	if len(c.start)+len(c.needless)+len(c.reasons) > 0 {
		err = db.update(ctx, "claim", func(t *tx) error {
			started, err = c.write(t)
			return err
		})
	}
	if err == nil {
		db.lines.looked(backups, now)
		db.overLines.looked(over, now)
	}
	return started, err
}

// waitingIn reads what stands in the lines, and all that stands in none.
func waitingIn(ctx context.Context, q querier, now time.Time, backups, over []standing) ([]waiting, error) {
	const due = ` WHERE o.run_after <= $1 AND o.start_by > $1 AND `
	all, err := collect(ctx, q, scanWaiting, waitingQuery+due+`o.state = 'queued' AND o.kind <> 'backup' AND NOT (o.kind = 'snapshot_delete' AND o.manual = 0)`, now.Unix())
	if err != nil {
		return nil, err
	}
	removals, err := expiries(ctx, q, now, over)
	if err != nil {
		return nil, err
	}
	all = append(all, removals...)
	for _, l := range backups {
		there, err := collect(ctx, q, scanWaiting, waitingQuery+due+waitingBackups+` AND o.server_id = $2 AND o.node = $3`, now.Unix(), l.server, l.node)
		if err != nil {
			return nil, err
		}
		all = append(all, there...)
	}
	return all, nil
}

// look asks who may start.
func (c *claim) look(ctx context.Context, q querier, db *DB, now time.Time, all []waiting, running []portal.Running, expiring map[line]int, limits portal.Limits) error {
	pauses, err := pausesAt(ctx, q, now)
	if err != nil {
		return err
	}
	var candidates []portal.Candidate
	for _, w := range all {
		c.byID[w.OperationID] = w
		why := w.obstacle(pauses)
		switch {
		case w.needless():
			c.needless = append(c.needless, w)
		case why != "":
			c.reasons[w.OperationID] = why
		case w.Kind == portal.KindProtect:
			c.start = append(c.start, w)
		case w.Kind.OnMachine():
			if at := (line{w.Server, w.Node}); w.Manual || expiring[at] < ExpiriesPerNode {
				c.start = append(c.start, w)
				if !w.Manual {
					expiring[at]++
				}
			} else {
				c.reasons[w.OperationID] = "other snapshots are being removed on your host"
			}
		default:
			candidates = append(candidates, w.Candidate)
		}
	}
	turns, err := db.turns.served(ctx, q, now)
	if err != nil {
		return err
	}
	admitted := portal.Admit(candidates, running, limits, turns)
	for _, id := range admitted.Start {
		c.start = append(c.start, c.byID[id])
	}
	for id, why := range admitted.Why {
		c.reasons[id] = why
	}
	for id, why := range c.reasons {
		if c.byID[id].waitsFor == why {
			delete(c.reasons, id) // said already
		}
	}
	return nil
}

// ExpiriesPerNode is how many machines of a host are worked on at once because something's time is over. What people ask
// for doesn't wait for that.
const ExpiriesPerNode = 2

// expiriesRunning counts, by host, the machines that are worked on though nobody asked.
func expiriesRunning(ctx context.Context, q querier) (map[line]int, error) {
	type count struct {
		line
		n int
	}
	all, err := collect(ctx, q, func(s scanner) (v count, err error) { return v, s.Scan(&v.server, &v.node, &v.n) },
		`SELECT server_id, node, count(*) FROM operations WHERE state IN ('running', 'held') AND manual = 0 AND kind = 'snapshot_delete' GROUP BY server_id, node`)
	out := make(map[line]int, len(all))
	for _, v := range all {
		out[v.line] = v.n
	}
	return out, err
}

// write keeps what was decided, each on the condition that the operation is as it was seen.
func (c *claim) write(t *tx) (started []int64, err error) {
	for _, w := range c.needless {
		if err := t.endNeedless(w); err != nil && !errors.Is(err, ErrStale) {
			return nil, err
		}
	}
	begun := map[int64]bool{} // services whose exclusive operation starts in this very call
	for _, w := range c.start {
		if w.Kind.Exclusive() && begun[w.op.ServiceID] {
			continue
		}
		err := t.start(w)
		if errors.Is(err, ErrStale) {
			continue
		}
		if err != nil {
			return nil, err
		}
		begun[w.op.ServiceID] = begun[w.op.ServiceID] || w.Kind.Exclusive()
		started = append(started, w.OperationID)
	}
	for id, why := range c.reasons {
		if _, err := t.exec(`UPDATE operations SET waits_for = $1 WHERE id = $2 AND state = 'queued'`, why, id); err != nil {
			return nil, err
		}
		t.touch(c.byID[id].op.ServiceID)
	}
	return started, nil
}

// start gives an operation its place. It gives ErrStale where that isn't free any more, or the operation has changed.
func (t *tx) start(w waiting) error {
	var dump any
	if w.Kind == portal.KindBackup {
		dump = w.Node
	}
	err := t.one(ErrStale, `UPDATE operations SET state = 'running', node = $1, dump_place = $2, waits_for = '', started_at = COALESCE(started_at, $3),
			progress_at = $3, run_after = $3, version = version + 1, epoch = $4
		WHERE id = $5 AND version = $6 AND state = 'queued' AND (SELECT epoch FROM lease WHERE id = 1) = $4`, w.Node, dump, t.now.Unix(), t.db.epoch.Load(), w.OperationID, w.op.Version)
	if Taken(err) {
		return ErrStale
	}
	if err != nil {
		return err
	}
	t.touch(w.op.ServiceID)
	if !w.scheduled() {
		return nil
	}
	_, err = t.exec(`UPDATE slots SET state = 'running' WHERE service_id = $1 AND schedule_id = $2 AND local_date = $3 AND ended_at IS NULL`, w.op.ServiceID, w.op.ScheduleID, w.op.SlotDate)
	return err
}

// needless tells whether the operation may have to end without having begun.
func (w waiting) needless() bool {
	if w.after == portal.StateFailed || w.after == portal.StateCancelled {
		return true
	}
	return w.scheduled() && (w.service.State != portal.ServiceActive || w.maybeDone)
}

// endNeedless ends a scheduled operation whose service isn't active, or whose slot another backup has done.
func (t *tx) endNeedless(w waiting) error {
	if w.after == portal.StateFailed || w.after == portal.StateCancelled {
		return t.endUnsaved(w)
	}
	if w.service.State != portal.ServiceActive {
		reason := portal.ReasonSuspended
		if w.service.State != portal.ServiceSuspended {
			reason = "the service is not active"
		}
		return t.endQueued(&w.op, portal.StateCancelled, portal.Say("Skipped: %s.", reason), string(portal.SlotSkipped), reason)
	}
	copies, err := backupsOf(t.ctx, t, w.op.ServiceID, nil)
	if err != nil {
		return err
	}
	done := portal.DoneBy(w.Due, portal.CopiesOf(copies))
	if done == nil {
		return nil
	}
	w.op.BackupID = done.ID
	return t.endQueued(&w.op, portal.StateCancelled, "Not needed: another backup was made after it fell due.", string(portal.SlotDone), "done by another backup")
}

// obstacle tells what keeps an operation from being a candidate at all.
func (w waiting) obstacle(pauses []portal.Pause) portal.Text {
	if w.scheduled() {
		for _, pause := range pauses {
			if pauseCovers(pause, w.service, w.product) {
				return portal.ReasonMaintenance
			}
		}
	}
	switch {
	case w.after != "" && w.after != portal.StateSucceeded:
		return "the present state is saved first"
	case !w.reachable:
		return "your host can't be reached"
	case !w.online:
		return "your host is down"
	case w.Kind.Exclusive() && w.occupied == portal.KindBackup && w.scheduled():
		return portal.ReasonPreviousRunning
	case w.Kind.Exclusive() && w.occupied != "":
		return "other work on this machine goes on"
	case w.Kind.Exclusive() && w.service.Lock != "" && (w.scheduled() || !w.Manual):
		return portal.LockedClause(w.service.Lock)
	}
	return ""
}

// InLine tells a queued operation's place in the line of its host, from 1, and what it waits for.
func (db *DB) InLine(ctx context.Context, op portal.Operation, limits portal.Limits) (position int, why portal.Text, err error) {
	err = db.view(ctx, "in line", func(q querier) error {
		all, err := collect(ctx, q, scanWaiting, waitingQuery+` WHERE o.state = 'queued' AND o.kind = $1 AND o.server_id = $2 AND o.node = (SELECT node FROM services WHERE id = $3)`,
			op.Kind, op.ServerID, op.ServiceID)
		if err != nil {
			return err
		}
		candidates := make([]portal.Candidate, 0, len(all))
		for _, w := range all {
			candidates = append(candidates, w.Candidate)
		}
		running, err := runningPlaces(ctx, q)
		if err != nil {
			return err
		}
		turns, err := db.turns.served(ctx, q, db.now())
		if err != nil {
			return err
		}
		a := portal.Admit(candidates, running, limits, turns)
		position, why = a.Position[op.ID], op.WaitsFor
		if why == "" {
			why = a.Why[op.ID]
		}
		return nil
	})
	return max(position, 1), why, err
}
