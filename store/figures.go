package store

import (
	"context"
	"database/sql"
	"time"
)

// Figures is the state of the work in numbers: for metrics.
type Figures struct {
	Operations []KindCount // unfinished ones
	Queue      map[string]int
	Outbox     map[string]int // messages that wait, by channel
	StaleLocks int
}

// KindCount counts operations of one kind in one state.
type KindCount struct {
	Kind, State string
	Count       int
}

type named struct {
	name  string
	count int
}

func scanNamed(s scanner) (n named, err error) { return n, s.Scan(&n.name, &n.count) }

// Figures counts what is unfinished. Its cost grows with that, not with what has ended.
func (db *DB) Figures(ctx context.Context) (f Figures, err error) {
	f.Operations, err = collect(ctx, db.read, func(s scanner) (c KindCount, err error) { return c, s.Scan(&c.Kind, &c.State, &c.Count) },
		`SELECT kind, state, COUNT(*) FROM operations WHERE state IN ('queued', 'running', 'held') GROUP BY kind, state`)
	if err != nil {
		return f, explain("figures", err)
	}
	if f.Queue, err = db.countBy(ctx, `SELECT node, COUNT(*) FROM operations WHERE state = 'queued' GROUP BY node`); err != nil {
		return f, err
	}
	if f.Outbox, err = db.countBy(ctx, `SELECT channel, COUNT(*) FROM outbox WHERE sent_at IS NULL GROUP BY channel`); err != nil {
		return f, err
	}
	err = db.read.QueryRowContext(ctx, `SELECT COUNT(*) FROM services s WHERE s.lock_stale_at IS NOT NULL`).Scan(&f.StaleLocks)
	if err != nil {
		return f, explain("figures", err)
	}
	return f, nil
}

func (db *DB) countBy(ctx context.Context, query string) (map[string]int, error) {
	rows, err := collect(ctx, db.read, scanNamed, query)
	if err != nil {
		return nil, explain("figures", err)
	}
	out := make(map[string]int, len(rows))
	for _, r := range rows {
		out[r.name] = r.count
	}
	return out, nil
}

// EndedSlot is a slot that has ended.
type EndedSlot struct {
	State    string
	Lateness time.Duration // from due to the start of its operation; below 0 where none began
}

// EndedSlots gives the slots that ended after from and not after to.
func (db *DB) EndedSlots(ctx context.Context, from, to time.Time) ([]EndedSlot, error) {
	out, err := collect(ctx, db.read, func(s scanner) (e EndedSlot, err error) {
		var late sql.NullInt64
		err = s.Scan(&e.State, &late)
		e.Lateness = -1
		if late.Valid {
			e.Lateness = time.Duration(max(0, late.Int64)) * time.Second
		}
		return e, err
	}, `SELECT l.state, o.started_at - l.due_at FROM slots l LEFT JOIN operations o ON o.id = l.operation_id
		WHERE l.due_at > $1 AND l.ended_at > $2 AND l.ended_at <= $3`,
		from.Add(-48*time.Hour).Unix(), from.Unix(), to.Unix())
	return out, explainNil("ended slots", err)
}

// EndedOperation is an operation that has ended.
type EndedOperation struct {
	Kind, State string
	Took        time.Duration // from its start, or from its request where it never began
}

// EndedOperations gives the operations that ended after from and not after to.
func (db *DB) EndedOperations(ctx context.Context, from, to time.Time) ([]EndedOperation, error) {
	out, err := collect(ctx, db.read, func(s scanner) (e EndedOperation, err error) {
		var seconds int64
		err = s.Scan(&e.Kind, &e.State, &seconds)
		e.Took = time.Duration(max(0, seconds)) * time.Second
		return e, err
	}, `SELECT kind, state, ended_at - COALESCE(started_at, created_at) FROM operations WHERE ended_at > $1 AND ended_at <= $2`, from.Unix(), to.Unix())
	return out, explainNil("ended operations", err)
}

// GoodAges gives, for each active service that is sold backups, how old its newest good copy is; below 0 where
// it has none. It reads every copy: for a look every few minutes.
func (db *DB) GoodAges(ctx context.Context) ([]time.Duration, error) {
	now := db.now()
	out, err := collect(ctx, db.read, func(s scanner) (time.Duration, error) {
		var newest sql.NullInt64
		if err := s.Scan(&newest); err != nil || !newest.Valid {
			return -1, err
		}
		return max(0, now.Sub(time.Unix(newest.Int64, 0))), nil
	}, `SELECT (SELECT MAX(b.started_at) FROM backups b WHERE b.service_id = s.id AND b.removed_at IS NULL AND b.class = 'good')
		FROM services s JOIN products p ON p.id = s.product_id
		WHERE s.state = 'active' AND COALESCE(s.quota, p.quota) > 0`)
	return out, explainNil("good ages", err)
}

func explainNil(name string, err error) error {
	if err == nil {
		return nil
	}
	return explain(name, err)
}

// Integrity has the database checked for damage. It gives "" when it is whole, else what is wrong.
func (db *DB) Integrity(ctx context.Context) (string, error) {
	lines, err := collect(ctx, db.read, func(s scanner) (v string, err error) { return v, s.Scan(&v) }, `PRAGMA quick_check(10)`)
	if err != nil {
		return "", explain("integrity", err)
	}
	if len(lines) == 1 && lines[0] == "ok" {
		return "", nil
	}
	text := ""
	for _, l := range lines {
		text += l + "; "
	}
	return text, nil
}
