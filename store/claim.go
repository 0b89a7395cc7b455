package store

import (
	"context"
	"database/sql"
	"time"

	"stowage/portal"
)

// waiting is one queued operation as admission sees it.
type waiting struct {
	portal.Candidate
	uid       string
	service   int64
	schedule  int64
	slot      string
	version   int64
	waitsFor  portal.Text
	startBy   time.Time
	state     portal.ServiceState
	lock      string
	occupied  bool // an exclusive operation of the service is running or held
	reachable bool
	online    bool
}

const waitingQuery = `SELECT o.id, o.uid, o.service_id, s.client_id, o.server_id, s.node, o.kind, o.manual, o.schedule_id, o.slot_date, o.version,
		o.waits_for, o.created_at, COALESCE((SELECT l.due_at FROM slots l WHERE l.service_id = o.service_id AND l.schedule_id = o.schedule_id AND l.local_date = o.slot_date), o.created_at),
		o.start_by, s.state, s.lock,
		CASE WHEN b.id IS NOT NULL AND o.kind <> 'backup' THEN b.node || '/' || b.storage
			ELSE COALESCE((SELECT t.node FROM storages t WHERE t.server_id = o.server_id AND t.name = p.storage AND t.node IN ('', s.node) ORDER BY t.node LIMIT 1), s.node) || '/' || p.storage END,
		EXISTS (SELECT 1 FROM operations r WHERE r.service_id = o.service_id AND r.state IN ('running', 'held') AND r.exclusive = 1),
		v.unreachable_since IS NULL,
		COALESCE((SELECT n.online FROM nodes n WHERE n.server_id = o.server_id
			AND n.name = CASE WHEN o.kind <> 'backup' AND b.node <> '' THEN b.node ELSE s.node END), 1) -- a copy may lie on another host
	FROM operations o JOIN services s ON s.id = o.service_id JOIN products p ON p.id = s.product_id JOIN servers v ON v.id = o.server_id
	LEFT JOIN backups b ON b.id = o.backup_id`

func scanWaiting(s scanner) (w waiting, err error) {
	var schedule, created, due, start sql.NullInt64
	var slot sql.NullString
	err = s.Scan(&w.OperationID, &w.uid, &w.service, &w.Client, &w.Server, &w.Node, &w.Kind, &w.Manual, &schedule, &slot, &w.version,
		&w.waitsFor, &created, &due, &start, &w.state, &w.lock, &w.Storage, &w.occupied, &w.reachable, &w.online)
	w.schedule, w.slot, w.Enqueued, w.Due, w.startBy = schedule.Int64, slot.String, at(created), at(due), at(start)
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

// served counts, by client, the backups begun within the last hours: who had more waits longer.
func served(ctx context.Context, q querier, since time.Time) (map[int64]int, error) {
	type count struct {
		client int64
		n      int
	}
	counts, err := collect(ctx, q, func(s scanner) (c count, err error) { return c, s.Scan(&c.client, &c.n) },
		`SELECT s.client_id, count(*) FROM operations o JOIN services s ON s.id = o.service_id
		WHERE o.kind = 'backup' AND o.ended_at > $1 AND o.started_at IS NOT NULL GROUP BY s.client_id`, since.Unix())
	out := make(map[int64]int, len(counts))
	for _, c := range counts {
		out[c.client] = c.n
	}
	return out, err
}

// fairWindow is the night over which clients are served in turn.
const fairWindow = 12 * time.Hour

// Claim starts what may start: it moves queued operations to running and gives each its place, in one
// transaction. What has become needless meanwhile (the slot was done by another backup, the service was
// suspended) ends here. The rest keeps what it waits for.
func (db *DB) Claim(ctx context.Context, limits portal.Limits) (started []int64, err error) {
	now := db.now()
	var some bool
	if err := db.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM operations WHERE state = 'queued' AND run_after <= $1)`, now.Unix()).Scan(&some); err != nil || !some {
		return nil, explain("claim", err)
	}
	err = db.update(ctx, "claim", func(t *tx) error {
		started = nil
		all, err := collect(ctx, t, scanWaiting, waitingQuery+` WHERE o.state = 'queued' AND o.run_after <= $1 AND o.start_by > $1`, t.now.Unix())
		if err != nil || len(all) == 0 {
			return err
		}
		pauses, err := t.pauses()
		if err != nil {
			return err
		}
		var candidates []portal.Candidate
		byID := make(map[int64]waiting, len(all))
		reasons := map[int64]portal.Text{}
		for _, w := range all {
			byID[w.OperationID] = w
			why, ended, err := t.obstacle(w, pauses)
			switch {
			case err != nil:
				return err
			case ended:
			case why != "":
				reasons[w.OperationID] = why
			case w.Kind == portal.KindProtect:
				started = append(started, w.OperationID)
			default:
				candidates = append(candidates, w.Candidate)
			}
		}
		running, err := runningPlaces(ctx, t)
		if err != nil {
			return err
		}
		turns, err := served(ctx, t, t.now.Add(-fairWindow))
		if err != nil {
			return err
		}
		admitted := portal.Admit(candidates, running, limits, turns)
		begun := map[int64]bool{} // services whose exclusive operation starts in this very call
		for _, id := range append(started, admitted.Start...) {
			w := byID[id]
			if w.Kind.Exclusive() && begun[w.service] {
				continue
			}
			var dump any
			if w.Kind == portal.KindBackup {
				dump, begun[w.service] = w.Node, true
			}
			if _, err := t.exec(`UPDATE operations SET state = 'running', node = $1, dump_place = $2, waits_for = '', started_at = COALESCE(started_at, $3),
					progress_at = $3, run_after = $3, version = version + 1, epoch = $4
				WHERE id = $5 AND version = $6 AND (SELECT epoch FROM lease WHERE id = 1) = $4`, w.Node, dump, t.now.Unix(), db.epoch.Load(), id, w.version); err != nil {
				return err
			}
			if w.slot != "" {
				if _, err := t.exec(`UPDATE slots SET state = 'running' WHERE service_id = $1 AND schedule_id = $2 AND local_date = $3 AND ended_at IS NULL`, w.service, w.schedule, w.slot); err != nil {
					return err
				}
			}
			t.touch(w.service)
		}
		started = append(started, admitted.Start...)
		for id, why := range admitted.Why {
			reasons[id] = why
		}
		for id, why := range reasons {
			if w := byID[id]; w.waitsFor != why {
				if _, err := t.exec(`UPDATE operations SET waits_for = $1 WHERE id = $2`, why, id); err != nil {
					return err
				}
				t.touch(w.service)
			}
		}
		return nil
	})
	return started, err
}

// obstacle tells what keeps an operation from being a candidate at all, or ends it where it is needless.
func (t *tx) obstacle(w waiting, pauses []portal.Pause) (why portal.Text, ended bool, err error) {
	op := portal.Operation{ID: w.OperationID, UID: w.uid, Version: w.version, ServiceID: w.service, ScheduleID: w.schedule, SlotDate: w.slot}
	scheduled := w.slot != ""
	if scheduled && w.state != portal.ServiceActive {
		reason := portal.ReasonSuspended
		if w.state != portal.ServiceSuspended {
			reason = "the service is not active"
		}
		return "", true, t.endQueued(&op, portal.StateCancelled, portal.Say("Skipped: %s.", reason), string(portal.SlotSkipped), reason)
	}
	if scheduled {
		copies, err := backupsOf(t.ctx, t, w.service)
		if err != nil {
			return "", false, err
		}
		if done := portal.DoneBy(w.Due, portal.CopiesOf(copies)); done != nil {
			op.BackupID = done.ID
			return "", true, t.endQueued(&op, portal.StateCancelled, "Not needed: another backup was made after it fell due.", string(portal.SlotDone), "done by another backup")
		}
		svc, err := service(t.ctx, t, w.service)
		if err != nil {
			return "", false, err
		}
		p, err := product(t.ctx, t, svc.ProductID)
		if err != nil {
			return "", false, err
		}
		for _, pause := range pauses {
			if pauseCovers(pause, svc, p) {
				return portal.ReasonMaintenance, false, nil
			}
		}
	}
	switch {
	case !w.reachable:
		return "your host can't be reached", false, nil
	case !w.online:
		return "your host is down", false, nil
	case w.Kind.Exclusive() && w.occupied && scheduled:
		return portal.ReasonPreviousRunning, false, nil
	case w.Kind.Exclusive() && w.occupied:
		return "a backup of this machine is running", false, nil
	case w.Kind.Exclusive() && w.lock != "" && scheduled:
		return portal.LockedClause(w.lock), false, nil
	}
	return "", false, nil
}

// InLine tells a queued operation's place in the line of its host, from 1, and what it waits for.
func (db *DB) InLine(ctx context.Context, op portal.Operation, limits portal.Limits) (position int, why portal.Text, err error) {
	all, err := collect(ctx, db.read, scanWaiting, waitingQuery+` WHERE o.state = 'queued' AND o.server_id = $1 AND s.node = (SELECT node FROM services WHERE id = $2) AND o.kind = $3`,
		op.ServerID, op.ServiceID, op.Kind)
	if err != nil {
		return 0, "", err
	}
	candidates := make([]portal.Candidate, 0, len(all))
	for _, w := range all {
		candidates = append(candidates, w.Candidate)
	}
	running, err := runningPlaces(ctx, db.read)
	if err != nil {
		return 0, "", err
	}
	turns, err := served(ctx, db.read, db.now().Add(-fairWindow))
	if err != nil {
		return 0, "", err
	}
	a := portal.Admit(candidates, running, limits, turns)
	why = op.WaitsFor
	if why == "" {
		why = a.Why[op.ID]
	}
	return max(a.Position[op.ID], 1), why, nil
}
