package store

import (
	"context"
	"crypto/rand"
	"errors"

	"stowage/portal"
)

// secretPlace is what a sealed password of an operation is bound to.
func secretPlace(uid string) string { return "operations/secret/" + uid }

// giveSecret makes the password of a new operation and keeps it sealed. Nobody but ShowSecret and OperationSecret opens
// it, and it goes with the operation's end.
func (t *tx) giveSecret(op *portal.Operation) error {
	if !op.HasSecret() {
		return nil
	}
	var buffer []byte
	password := portal.NewPassword(func() byte {
		if len(buffer) == 0 {
			buffer = make([]byte, 64)
			_, _ = rand.Read(buffer) // never fails
		}
		one := buffer[0]
		buffer = buffer[1:]
		return one
	})
	sealed, err := t.db.keys.seal(secretPlace(op.UID), []byte(password))
	if err != nil {
		return err
	}
	_, err = t.exec(`UPDATE operations SET secret = $1 WHERE id = $2`, sealed, op.ID)
	return err
}

// ErrNoSecret says that an operation has no password, or none any more.
var ErrNoSecret = errors.New("store: the operation has no secret")

// OperationSecret opens the password of an operation: for the engine, which hands it to the machine.
func (db *DB) OperationSecret(ctx context.Context, id int64) (string, error) {
	return db.openSecret(ctx, db.read, id)
}

func (db *DB) openSecret(ctx context.Context, q querier, id int64) (string, error) {
	var uid string
	var sealed []byte
	if err := q.QueryRowContext(ctx, `SELECT uid, secret FROM operations WHERE id = $1`, id).Scan(&uid, &sealed); err != nil {
		return "", missing(err)
	}
	if len(sealed) == 0 {
		return "", ErrNoSecret
	}
	open, err := db.keys.open(secretPlace(uid), sealed)
	return string(open), err
}

// ShowSecret gives the password of an operation to the login that asked for it, once: whoever comes second gets
// ErrNoSecret. An operation that waits for that may begin. A foreign operation has none.
func (db *DB) ShowSecret(ctx context.Context, clientID int64, serviceUID, uid, actor string) (secret string, err error) {
	err = db.update(ctx, "show secret", func(t *tx) error {
		op, err := operation(ctx, t, `JOIN services s ON s.id = o.service_id
			WHERE o.uid = $1 AND s.uid = $2 AND s.client_id = $3 AND s.state = 'active'`, uid, serviceUID, clientID)
		if portal.CodeOf(err) == portal.CodeNotFound || err == nil && (op.Actor != actor || op.Work.Shown || op.State.Final()) {
			return ErrNoSecret
		}
		if err != nil {
			return err
		}
		if secret, err = db.openSecret(ctx, t, op.ID); err != nil {
			return err
		}
		op.Work.Shown = true
		if err := t.one(ErrStale, `UPDATE operations SET work = $1, run_after = CASE WHEN state = 'queued' THEN $2 ELSE run_after END, version = version + 1
			WHERE id = $3 AND version = $4`, tojson(op.Work), t.now.Unix(), op.ID, op.Version); err != nil {
			return err
		}
		t.touch(op.ServiceID)
		return t.audit(Entry{Actor: actor, Action: string(op.Kind) + ".shown", Entity: "operation", EntityUID: op.UID, ServiceID: op.ServiceID})
	})
	if err != nil {
		return "", err
	}
	return secret, nil
}
