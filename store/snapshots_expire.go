package store

import (
	"context"
	"database/sql"
	"slices"
	"time"

	"stowage/portal"
)

// expireBatch is how many snapshots one transaction queues for removal: whoever presses a button waits no longer than
// for one of them.
const expireBatch = 500

// expiryRest is how long a snapshot whose removal has failed is left alone.
const expiryRest = time.Hour

// expiring is a snapshot whose time is over, with what the request asks about its service.
type expiring struct {
	snapshot  portal.Snapshot
	situation portal.Situation
}

// ExpireSnapshots queues the removal of the snapshots whose time is over, of machines that nothing holds and on servers
// whose clock agrees with ours. It gives how many.
func (db *DB) ExpireSnapshots(ctx context.Context) (queued int, err error) {
	for expires, id := int64(-1), int64(-1); ; {
		seen, n, err := db.expireSome(ctx, &expires, &id)
		queued += n
		if err != nil || seen < expireBatch {
			return queued, err
		}
	}
}

const overAndFree = ` FROM snapshots x JOIN services s ON s.id = x.service_id JOIN servers v ON v.id = s.server_id
	WHERE x.expires_at <= $1 AND (x.expires_at > $2 OR x.expires_at = $2 AND x.id > $3) AND x.removed_at IS NULL AND x.external = 0 AND x.state = 'there'
		AND s.lock = '' AND s.state IN ('active', 'suspended') AND abs($1 - v.seen_at) <= $4
		AND NOT EXISTS (SELECT 1 FROM operations o WHERE o.service_id = s.id AND o.state IN ('running', 'held') AND o.exclusive = 1)
		AND NOT EXISTS (SELECT 1 FROM operations o WHERE o.snapshot_id = x.id AND o.kind = 'snapshot_delete'
			AND (o.state IN ('queued', 'running', 'held') OR o.state = 'failed' AND o.ended_at > $5))`

func (db *DB) expireSome(ctx context.Context, expires, id *int64) (seen, queued int, err error) {
	args := func() []any {
		now := db.now()
		return []any{now.Unix(), *expires, *id, int64(clockSeenFor / time.Second), now.Add(-expiryRest).Unix()}
	}
	var some bool
	if err := db.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1`+overAndFree+`)`, args()...).Scan(&some); err != nil || !some {
		return 0, 0, explain("expire", err)
	}
	err = db.update(ctx, "expire", func(t *tx) error {
		var recovering bool
		if err := t.QueryRowContext(ctx, `SELECT recovering FROM lease WHERE id = 1`).Scan(&recovering); err != nil || recovering {
			return err
		}
		all, err := collect(ctx, t, func(s scanner) (e expiring, err error) {
			var over sql.NullInt64
			var skew int64
			v := &e.situation.Service
			err = s.Scan(&e.snapshot.ID, &e.snapshot.UID, &over, &v.ID, &v.UID, &v.ServerID, &v.State, &v.Node, &v.Lock, &skew)
			e.snapshot.ServiceID, e.snapshot.State, e.snapshot.ExpiresAt = v.ID, portal.SnapshotThere, at(over)
			e.situation.Server.Skew, e.situation.Now = time.Duration(skew)*time.Second, t.now
			e.situation.Snapshots = []portal.Snapshot{e.snapshot}
			return e, err
		}, `SELECT x.id, x.uid, x.expires_at, s.id, s.uid, s.server_id, s.state, s.node, s.lock, v.skew`+overAndFree+` ORDER BY x.expires_at, x.id LIMIT +$6`,
			append(args(), expireBatch)...)
		if err != nil || len(all) == 0 {
			return err
		}
		seen = len(all)
		*expires, *id = all[seen-1].snapshot.ExpiresAt.Unix(), all[seen-1].snapshot.ID
		if err := t.openOf(all); err != nil {
			return err
		}
		var ops []*portal.Operation
		for _, e := range all {
			op, err := portal.ExpireSnapshot(e.snapshot.UID)(e.situation)
			if err != nil {
				continue // something holds the machine, or the clocks disagree: the next tick asks again
			}
			t.prepare(&op, e.situation.Service)
			t.touch(op.ServiceID)
			ops = append(ops, &op)
		}
		queued = len(ops)
		return t.insertExpiries(ops)
	})
	if err != nil {
		return 0, 0, err
	}
	return seen, queued, nil
}

// openOf reads the unfinished operations of the services of many snapshots at once.
func (t *tx) openOf(all []expiring) error {
	cond, ids := terms{}, make([]int64, 0, len(all))
	for _, e := range all {
		ids = append(ids, e.situation.Service.ID)
	}
	open, err := operations(t.ctx, t, `WHERE o.service_id IN `+in(&cond, ids)+` AND o.state IN ('queued', 'running', 'held') ORDER BY o.id`, cond.args...)
	if err != nil {
		return err
	}
	of := map[int64][]portal.Operation{}
	for _, o := range open {
		of[o.ServiceID] = append(of[o.ServiceID], o)
	}
	for i := range all {
		all[i].situation.Operations = of[all[i].situation.Service.ID]
	}
	return nil
}

// insertExpiries adds operations that remove snapshots, with the audit row of each.
func (t *tx) insertExpiries(ops []*portal.Operation) error {
	w := slotWriter{tx: t}
	for some := range slices.Chunk(ops, rowsAtOnce) {
		for _, o := range some {
			o.Reference = w.names.draw(t.db.reference)
		}
		err := t.insertSome(some)
		if unique(err, "operations.reference") {
			if err = w.freeReferences(some); err == nil {
				err = t.insertSome(some)
			}
		}
		if err != nil {
			return err
		}
		entries := make([]Entry, len(some))
		for i, o := range some {
			entries[i] = requested(o)
		}
		if err := t.auditAll(entries); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) insertSome(ops []*portal.Operation) error {
	first := ops[0]
	args := []any{first.Kind, first.State, first.Step, first.Actor, t.now.Unix()}
	const each = 9
	for _, o := range ops {
		args = append(args, o.UID, o.Reference, o.ServiceID, o.ServerID, o.Node, o.SnapshotID, unix(o.RunAfter), unix(o.StartBy), unix(o.GiveUpAt))
	}
	_, err := t.exec(`INSERT INTO operations (kind, state, step, actor, created_at, exclusive, manual, uid, reference, service_id, server_id, node, snapshot_id, run_after, start_by, give_up_at) VALUES `+
		tuples(len(ops), 5, each, `($1, $2, $3, $4, $5, 1, 0, $%d, $%d, $%d, $%d, $%d, $%d, $%d, $%d, $%d)`), args...)
	return err
}

// warnBefore is how long before its end a client is told of a snapshot that lives longer than warnOver.
const (
	warnBefore = 24 * time.Hour
	warnOver   = 48 * time.Hour
)

// WarnOfExpiry tells clients, once each, of snapshots that end within a day. It gives how many.
func (db *DB) WarnOfExpiry(ctx context.Context) (told int, err error) {
	const due = ` FROM snapshots x JOIN services s ON s.id = x.service_id WHERE x.expires_at > $1 AND x.expires_at <= $2 AND x.warned_at IS NULL
		AND x.removed_at IS NULL AND x.external = 0 AND x.state = 'there' AND x.expires_at - x.taken_at > $3 AND s.state IN ('active', 'suspended')`
	args := func() []any {
		now := db.now()
		return []any{now.Unix(), now.Add(warnBefore).Unix(), int64(warnOver / time.Second)}
	}
	for {
		var some bool
		if err := db.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1`+due+`)`, args()...).Scan(&some); err != nil || !some {
			return told, explain("warn", err)
		}
		n := 0
		err = db.update(ctx, "warn", func(t *tx) error {
			type warning struct {
				portal.Notice
				id, service int64
			}
			all, err := collect(ctx, t, func(s scanner) (w warning, err error) {
				return w, s.Scan(&w.id, &w.service, &w.SnapshotExpiring.Description, &w.SnapshotExpiring.Expires)
			}, `SELECT x.id, s.id, x.description, x.expires_at`+due+` ORDER BY x.expires_at LIMIT +$4`, append(args(), expireBatch)...)
			if err != nil {
				return err
			}
			for _, w := range all {
				if _, err := t.exec(`UPDATE snapshots SET warned_at = $1 WHERE id = $2`, t.now.Unix(), w.id); err != nil {
					return err
				}
				if err := t.post(Message{Channel: ToClient, ServiceID: w.service, Topic: portal.TopicSnapshotExpiring, Payload: w.Notice}); err != nil {
					return err
				}
			}
			n = len(all)
			return nil
		})
		if err != nil {
			return told, err
		}
		if told += n; n < expireBatch {
			return told, nil
		}
	}
}
