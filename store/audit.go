package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"slices"
	"time"
)

// Entry is one row of the audit log: who did what to which thing, from where, and how it looked before and
// after. Rows are only ever added; each carries a hash over the one before, so that a changed or missing row
// shows, and the end of the log is sealed.
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
func (t *tx) audit(e Entry) error { return t.auditAll([]Entry{e}) }

// auditAll adds rows, in their order.
func (t *tx) auditAll(entries []Entry) error {
	if t.head == nil {
		head, err := t.db.nextHead(t.ctx, t)
		if err != nil {
			return err
		}
		t.head = &head
	}
	const each = 11
	for some := range slices.Chunk(entries, rowsAtOnce) {
		args := make([]any, 0, len(some)*each)
		for _, e := range some {
			e.At = t.now
			if a, ok := t.ctx.Value(addressKey{}).(string); ok && e.Address == "" {
				e.Address = a
			}
			e.ID, e.Hash = t.head.row+1, e.chained(t.head.hash)
			args = append(args, e.ID, e.At.Unix(), e.Actor, e.Address, e.Action, e.Entity, e.EntityUID, idOrNull(e.ServiceID), e.Before, e.After, e.Hash)
			t.head = &auditHead{row: e.ID, hash: e.Hash, moved: true}
		}
		if _, err := t.exec(`INSERT INTO audit (id, at, actor, address, action, entity, entity_uid, service_id, before, after, hash) VALUES `+
			tuples(len(some), 0, each, `($%d, $%d, $%d, $%d, $%d, $%d, $%d, $%d, $%d, $%d, $%d)`), args...); err != nil {
			return err
		}
	}
	return nil
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
	return collect(ctx, db.read, scanEntry, `SELECT `+entryColumns+` FROM audit WHERE id < $1 ORDER BY id DESC LIMIT +$2`, before, limit)
}
