package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"time"
)

// Sessions keeps the sessions of signed-in people, in the shape that scs asks for. A token stands in the
// database as its SHA-256 only, so that nobody who reads the database or a copy of it can take a session over.
type Sessions struct{ db *DB }

// Sessions gives the store of sessions.
func (db *DB) Sessions() *Sessions { return &Sessions{db} }

func tokenHash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// FindCtx gives the data of a session that has not expired.
func (s *Sessions) FindCtx(ctx context.Context, token string) (data []byte, found bool, err error) {
	err = s.db.read.QueryRowContext(ctx, `SELECT data FROM sessions WHERE token = $1 AND expires_at > $2`,
		tokenHash(token), s.db.now().Unix()).Scan(&data)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, explain("find session", err)
	}
	return data, true, nil
}

// CommitCtx adds a session or overwrites it.
func (s *Sessions) CommitCtx(ctx context.Context, token string, data []byte, expiry time.Time) error {
	return s.db.update(ctx, "commit session", func(t *tx) error {
		_, err := t.exec(`INSERT INTO sessions (token, data, expires_at) VALUES ($1, $2, $3)
			ON CONFLICT (token) DO UPDATE SET data = excluded.data, expires_at = excluded.expires_at`,
			tokenHash(token), data, expiry.Unix())
		return err
	})
}

// DeleteCtx removes a session; one that isn't there is no error.
func (s *Sessions) DeleteCtx(ctx context.Context, token string) error {
	return s.db.update(ctx, "delete session", func(t *tx) error {
		_, err := t.exec(`DELETE FROM sessions WHERE token = $1`, tokenHash(token))
		return err
	})
}

// Find is FindCtx without a context.
func (s *Sessions) Find(token string) ([]byte, bool, error) {
	return s.FindCtx(context.Background(), token)
}

// Commit is CommitCtx without a context.
func (s *Sessions) Commit(token string, data []byte, expiry time.Time) error {
	return s.CommitCtx(context.Background(), token, data, expiry)
}

// Delete is DeleteCtx without a context.
func (s *Sessions) Delete(token string) error { return s.DeleteCtx(context.Background(), token) }
