package store

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
)

// auditHead is the end of the audit log as the last writer left it. A chain shows what was changed within it, but
// neither that its last rows were cut off nor that all of it was made anew. So the end stands in a row of its own,
// with a seal that only the key file can make, and each new row is chained to that end, not to whatever row happens
// to be the last: a log that was cut and written on shows the cut for ever.
//
// It does not help against a whole database put back to an older copy, which is consistent in itself: only a copy
// kept elsewhere shows that.
type auditHead struct {
	row   int64
	hash  string
	seal  string
	moved bool // to be saved with the transaction
}

// auditHeadSince is the version of the schema that brought it.
const auditHeadSince = 2

// lostEnd stands in the chain where the true end could not be known: no row's hash reads like it.
const lostEnd = "lost"

func (db *DB) sealOf(h auditHead) string {
	mac := hmac.New(sha256.New, db.markKey)
	fmt.Fprintf(mac, "audit head:%s:%d:%s", db.installation, h.row, h.hash)
	return hex.EncodeToString(mac.Sum(nil))
}

func (db *DB) sealed(h auditHead) bool { return hmac.Equal([]byte(h.seal), []byte(db.sealOf(h))) }

// readHead gives nil where there is no head: in a log without rows.
func readHead(ctx context.Context, q querier) (*auditHead, error) {
	var h auditHead
	err := q.QueryRowContext(ctx, `SELECT row_id, hash, seal FROM audit_head WHERE id = 1`).Scan(&h.row, &h.hash, &h.seal)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return &h, nil
}

// nextHead gives the end to which the next row is put. Numbers of rows that were cut off are not used again.
func (db *DB) nextHead(ctx context.Context, q querier) (auditHead, error) {
	var last int64
	if err := q.QueryRowContext(ctx, `SELECT COALESCE(max(id), 0) FROM audit`).Scan(&last); err != nil {
		return auditHead{}, err
	}
	head, err := readHead(ctx, q)
	switch {
	case err != nil:
		return auditHead{}, err
	case head == nil && last == 0:
		return auditHead{}, nil
	case head == nil:
		return auditHead{row: last, hash: lostEnd}, nil
	case !db.sealed(*head):
		head.hash = lostEnd
	}
	head.row = max(head.row, last)
	return *head, nil
}

// saveHead notes the new end of the log at the end of a transaction that added rows.
func (t *tx) saveHead() error {
	if t.head == nil || !t.head.moved {
		return nil
	}
	_, err := t.exec(`INSERT INTO audit_head (id, row_id, hash, seal) VALUES (1, $1, $2, $3)
		ON CONFLICT (id) DO UPDATE SET row_id = excluded.row_id, hash = excluded.hash, seal = excluded.seal`,
		t.head.row, t.head.hash, t.db.sealOf(*t.head))
	return err
}

// adoptHead seals the end of a log that was written before there were seals. It is called right after the upgrade
// and never else.
func (db *DB) adoptHead(ctx context.Context) error {
	return db.update(ctx, "adopt audit head", func(t *tx) error {
		h, err := readHead(t.ctx, t)
		if err != nil || h == nil || h.seal != "" {
			return err
		}
		t.head, h.moved = h, true
		return nil
	})
}

// AuditBreak is the first place where the audit log is not as it was written.
type AuditBreak struct {
	Row int64  // the row there, or the first one that is missing
	Why string // a clause: "it was changed, moved or put in afterwards"
}

// VerifyAudit walks the whole chain. It gives the id of the first row that does not fit, 0 when all do.
func (db *DB) VerifyAudit(ctx context.Context) (broken int64, err error) {
	found, err := db.FindAuditBreak(ctx)
	if found != nil {
		broken = found.Row
	}
	return broken, err
}

// FindAuditBreak walks the whole chain and looks whether it ends where it should. It gives nil when all is as it was
// written.
func (db *DB) FindAuditBreak(ctx context.Context) (found *AuditBreak, err error) {
	err = db.view(ctx, "verify audit", func(q querier) error {
		before, last := "", int64(0)
		for {
			entries, err := collect(ctx, q, scanEntry, `SELECT `+entryColumns+` FROM audit WHERE id > $1 ORDER BY id LIMIT 1000`, last)
			if err != nil {
				return err
			}
			if len(entries) == 0 {
				found, err = db.breakAtEnd(ctx, q, last, before)
				return err
			}
			if found = breakIn(entries, last, before); found != nil {
				return nil
			}
			last, before = entries[len(entries)-1].ID, entries[len(entries)-1].Hash
		}
	})
	return found, err
}

// breakIn looks for a break in rows that follow the one with the id last and the hash before.
func breakIn(entries []Entry, last int64, before string) *AuditBreak {
	for _, e := range entries {
		switch {
		case e.ID != last+1 && last+2 == e.ID:
			return &AuditBreak{last + 1, "it is missing"}
		case e.ID != last+1:
			return &AuditBreak{last + 1, fmt.Sprintf("the rows from there to %d are missing", e.ID-1)}
		case e.chained(before) == e.Hash:
		case e.chained(lostEnd) == e.Hash:
			return &AuditBreak{e.ID, "when it was written, the end of the log before it was not known for certain: rows had been removed or the seal of the end was not ours"}
		default:
			return &AuditBreak{e.ID, "it was changed, moved or put in afterwards, or the row before it was"}
		}
		before, last = e.Hash, e.ID
	}
	return nil
}

// breakAtEnd looks whether the log ends at the row with the id last and the hash given.
func (db *DB) breakAtEnd(ctx context.Context, q querier, last int64, hash string) (*AuditBreak, error) {
	head, err := readHead(ctx, q)
	switch {
	case err != nil:
		return nil, err
	case head == nil && last == 0:
		return nil, nil
	case head == nil:
		return &AuditBreak{last, "the log ends here, but nothing says that it should: the seal of its end is missing"}, nil
	case !db.sealed(*head):
		return &AuditBreak{last, "the log ends here, but the seal of its end is not ours"}, nil
	case head.row > last:
		return &AuditBreak{last + 1, fmt.Sprintf("the log goes on to row %d, and the rows from there are missing", head.row)}, nil
	case head.row < last:
		return &AuditBreak{head.row + 1, "the log ended before it: it was added by somebody else"}, nil
	case head.hash != hash:
		return &AuditBreak{last, "the log was written anew"}, nil
	}
	return nil, nil
}
