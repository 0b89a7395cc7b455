package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Entry is one row of the audit log: who did what to which thing, from where, and how it looked before and
// after. Rows are only ever added; each carries a hash over the one before, so that a changed or missing row
// shows.
type Entry struct {
	ID        int64
	At        time.Time
	Actor     string
	Address   string
	Action    string
	Entity    string
	EntityUID string
	ServiceID int64
	Before    string
	After     string
	Hash      string
}

type addressKey struct{}

// WithAddress notes in a context from which address the request came, for the audit rows it causes.
func WithAddress(ctx context.Context, address string) context.Context {
	return context.WithValue(ctx, addressKey{}, address)
}

func (e Entry) chained(before string) string {
	fields, err := json.Marshal([]any{before, e.At.Unix(), e.Actor, e.Address, e.Action, e.Entity, e.EntityUID, e.ServiceID, e.Before, e.After})
	if err != nil {
		panic(err) // strings and numbers always marshal
	}
	sum := sha256.Sum256(fields)
	return hex.EncodeToString(sum[:])
}

// audit adds a row within the transaction whose change it tells of.
func (t *tx) audit(e Entry) error {
	var before string
	err := t.QueryRowContext(t.ctx, `SELECT hash FROM audit ORDER BY id DESC LIMIT 1`).Scan(&before)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	e.At = t.now
	if a, ok := t.ctx.Value(addressKey{}).(string); ok && e.Address == "" {
		e.Address = a
	}
	_, err = t.exec(`INSERT INTO audit (at, actor, address, action, entity, entity_uid, service_id, before, after, hash)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
		e.At.Unix(), e.Actor, e.Address, e.Action, e.Entity, e.EntityUID, idOrNull(e.ServiceID), e.Before, e.After, e.chained(before))
	return err
}

func scanEntry(s scanner) (e Entry, err error) {
	var when int64
	var service sql.NullInt64
	err = s.Scan(&e.ID, &when, &e.Actor, &e.Address, &e.Action, &e.Entity, &e.EntityUID, &service, &e.Before, &e.After, &e.Hash)
	e.At, e.ServiceID = time.Unix(when, 0).UTC(), service.Int64
	return e, err
}

const entryColumns = `id, at, actor, address, action, entity, entity_uid, service_id, before, after, hash`

// AuditLog gives rows older than the id before (0 = the newest), newest first.
func (db *DB) AuditLog(ctx context.Context, before int64, limit int) ([]Entry, error) {
	if before == 0 {
		before = 1 << 62
	}
	return collect(ctx, db.read, scanEntry, `SELECT `+entryColumns+` FROM audit WHERE id < $1 ORDER BY id DESC LIMIT $2`, before, limit)
}

// VerifyAudit walks the whole chain. It gives the id of the first row that does not fit, 0 when all do.
func (db *DB) VerifyAudit(ctx context.Context) (broken int64, err error) {
	before, last := "", int64(0)
	for {
		entries, err := collect(ctx, db.read, scanEntry, `SELECT `+entryColumns+` FROM audit WHERE id > $1 ORDER BY id LIMIT 1000`, last)
		if err != nil {
			return 0, fmt.Errorf("store: verify audit: %w", err)
		}
		if len(entries) == 0 {
			return 0, nil
		}
		for _, e := range entries {
			if e.chained(before) != e.Hash {
				return e.ID, nil
			}
			before, last = e.Hash, e.ID
		}
	}
}
