package store

import (
	"context"
	"database/sql"
	"time"

	"stowage/portal"
)

// PauseLine is a pause with what commands show beside it.
type PauseLine struct {
	portal.Pause
	Server     string // name, "" where it holds on all
	TargetName string // of a product or service by its name, of others the target itself
	CreatedBy  string
}

// AddPause stops automatic backups for a while. What it is over has to be there: a misspelt name would pause nothing.
func (db *DB) AddPause(ctx context.Context, actor string, p portal.Pause) (portal.Pause, error) {
	p, err := p.Clean(db.now())
	if err != nil {
		return p, err
	}
	p.UID = db.UID()
	err = db.update(ctx, "add pause", func(t *tx) error {
		if err := t.pauseTarget(p); err != nil {
			return err
		}
		if p.ID, err = t.insert(`INSERT INTO pauses (uid, scope, server_id, target, reason, starts_at, ends_at, created_by) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
			p.UID, p.Scope, idOrNull(p.ServerID), p.Target, p.Reason, p.StartsAt.Unix(), p.EndsAt.Unix(), actor); err != nil {
			return err
		}
		t.touchWatched()
		return t.audit(Entry{Actor: actor, Action: "pause.add", Entity: "pause", EntityUID: p.UID, After: tojson(pauseWords(p))})
	})
	return p, err
}

// pauseTarget sees that what the pause is over is there.
func (t *tx) pauseTarget(p portal.Pause) error {
	question, args := map[string]string{
		portal.PauseServer:  `SELECT EXISTS (SELECT 1 FROM servers WHERE id = $1)`,
		portal.PauseNode:    `SELECT EXISTS (SELECT 1 FROM nodes WHERE server_id = $1 AND name = $2)`,
		portal.PauseStorage: `SELECT EXISTS (SELECT 1 FROM storages WHERE server_id = $1 AND name = $2)`,
		portal.PauseProduct: `SELECT EXISTS (SELECT 1 FROM products WHERE uid = $1)`,
		portal.PauseService: `SELECT EXISTS (SELECT 1 FROM services WHERE uid = $1 AND state <> 'terminated')`,
	}[p.Scope], []any{p.ServerID, p.Target}
	switch {
	case p.Scope == portal.PauseServer:
		args = args[:1]
	case !p.OnServer():
		args = args[1:]
	}
	var there bool
	if err := t.QueryRowContext(t.ctx, question, args...).Scan(&there); err != nil {
		return err
	}
	if !there {
		return portal.Invalid("target", "There is no %s %q there that the portal knows.", p.Scope, p.Target)
	}
	return nil
}

func pauseWords(p portal.Pause) map[string]any {
	return map[string]any{"scope": p.Scope, "server": p.ServerID, "target": p.Target, "reason": p.Reason,
		"starts": p.StartsAt.UTC().Format(time.RFC3339), "ends": p.EndsAt.UTC().Format(time.RFC3339)}
}

// touchWatched touches all pages that somebody has open: a pause may cover any of them.
func (t *tx) touchWatched() {
	for _, id := range t.db.Watched() {
		t.touch(id)
	}
}

// EndPause ends a pause now; one that has not begun is taken back altogether. What fell due while it held stays
// skipped.
func (db *DB) EndPause(ctx context.Context, actor, uid string) (p portal.Pause, err error) {
	err = db.update(ctx, "end pause", func(t *tx) error {
		if p, err = scanPause(t.QueryRowContext(ctx, `SELECT `+pauseColumns+` FROM pauses p WHERE p.uid = $1`, uid)); err != nil {
			return missing(err)
		}
		if !p.EndsAt.After(t.now) {
			return portal.Refuse(portal.CodeConflict, "That pause has ended already.")
		}
		before := p
		if p.StartsAt.Before(t.now) {
			p.EndsAt = t.now
			_, err = t.exec(`UPDATE pauses SET ends_at = $1 WHERE id = $2`, t.now.Unix(), p.ID)
		} else {
			p.EndsAt = p.StartsAt
			_, err = t.exec(`DELETE FROM pauses WHERE id = $1`, p.ID)
		}
		if err != nil {
			return err
		}
		t.touchWatched()
		return t.audit(Entry{Actor: actor, Action: "pause.end", Entity: "pause", EntityUID: p.UID, Before: tojson(pauseWords(before))})
	})
	return p, err
}

// Pauses gives the pauses that hold or are to come, the one that starts first on top.
func (db *DB) Pauses(ctx context.Context) ([]PauseLine, error) {
	return collect(ctx, db.read, func(s scanner) (v PauseLine, err error) {
		v.Pause, err = scanPause(more{s, []any{&v.Server, &v.TargetName, &v.CreatedBy}})
		return v, err
	}, `SELECT `+pauseColumns+`, COALESCE(v.name, ''), COALESCE(d.name, s.name, p.target), p.created_by
		FROM pauses p LEFT JOIN servers v ON v.id = p.server_id LEFT JOIN products d ON p.scope = 'product' AND d.uid = p.target
		LEFT JOIN services s ON p.scope = 'service' AND s.uid = p.target WHERE p.ends_at > $1 ORDER BY p.starts_at, p.id`, db.now().Unix())
}

const pauseColumns = `p.id, p.uid, p.scope, p.server_id, p.target, p.reason, p.starts_at, p.ends_at`

func scanPause(s scanner) (p portal.Pause, err error) {
	var server, starts, ends sql.NullInt64
	err = s.Scan(&p.ID, &p.UID, &p.Scope, &server, &p.Target, &p.Reason, &starts, &ends)
	p.ServerID, p.StartsAt, p.EndsAt = server.Int64, at(starts), at(ends)
	return p, err
}

// pauses gives the pauses that hold now.
func (t *tx) pauses() ([]portal.Pause, error) {
	return pausesAt(t.ctx, t, t.now)
}

func pausesAt(ctx context.Context, q querier, now time.Time) ([]portal.Pause, error) {
	return collect(ctx, q, scanPause, `SELECT `+pauseColumns+` FROM pauses p WHERE p.starts_at <= $1 AND p.ends_at > $1`, now.Unix())
}

func pauseCovers(p portal.Pause, s portal.Service, prod portal.Product) bool {
	switch p.Scope {
	case "server":
		return p.ServerID == s.ServerID
	case "node":
		return p.ServerID == s.ServerID && p.Target == s.Node
	case "storage":
		return p.ServerID == s.ServerID && p.Target == prod.Storage
	case "product":
		return p.Target == prod.UID
	default:
		return p.Target == s.UID
	}
}

// PauseOf gives the pause that holds for a service now, if any.
func (db *DB) PauseOf(ctx context.Context, s portal.Service, p portal.Product) (*portal.Pause, error) {
	all, err := pausesAt(ctx, db.read, db.now())
	for _, pause := range all {
		if pauseCovers(pause, s, p) {
			return &pause, err
		}
	}
	return nil, err
}
