package store

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"stowage/portal"
)

// A forgotten password.
const (
	resetFor        = time.Hour
	forgottenOfOne  = 3  // requests for one account, before it is asked to wait
	forgottenOfHere = 10 // requests from one address
	forgottenAtOnce = 50
)

// DeviceKey is the key with which the portal signs what a browser keeps to be known again.
func (db *DB) DeviceKey() []byte { return db.derived("device") }

func (db *DB) derived(what string) []byte {
	h := hmac.New(sha256.New, db.markKey)
	h.Write([]byte("stowage/" + what))
	return h.Sum(nil)
}

// resetToken gives the token of a password reset. It is made from the key and kept nowhere: a mail that is sent again
// carries the same one, and who reads the database learns none.
func (db *DB) resetToken(uid string) string {
	h := hmac.New(sha256.New, db.derived("password reset"))
	h.Write([]byte(uid))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// ForgotAllowed counts a request for a new password: the zero time, or until when the next has to wait. Accounts that
// there are not are counted like others.
func (db *DB) ForgotAllowed(ctx context.Context, email, address string) (until time.Time, err error) {
	err = db.update(ctx, "forgot allowed", func(t *tx) error {
		account, place := "forgot-"+accountKey(email), "forgot-"+addressKeyOf(address)
		var blocked sql.NullInt64
		if err := t.QueryRowContext(t.ctx, `SELECT max(blocked_until) FROM login_failures WHERE key IN ($1, $2) AND blocked_until > $3`,
			account, place, t.now.Unix()).Scan(&blocked); err != nil {
			return err
		}
		if until = at(blocked); !until.IsZero() {
			return nil
		}
		// The request that is one too many is the one that waits.
		if _, err := t.countFailure(account, forgottenOfOne); err != nil {
			return err
		}
		_, err := t.countFailure(place, forgottenOfHere)
		return err
	})
	return until, err
}

// Forgotten writes down that somebody asks for a new password. Whether there is such a login is looked up later, by
// AnswerForgotten: so this costs the same for every address.
func (db *DB) Forgotten(ctx context.Context, email, address string) error {
	email = strings.ToLower(strings.TrimSpace(email))
	if len(email) > 254 {
		email = email[:254]
	}
	return db.update(ctx, "forgotten", func(t *tx) error {
		_, err := t.exec(`INSERT INTO forgotten (email, address, at) VALUES ($1, $2, $3)`, strings.ToValidUTF8(email, ""), address, t.now.Unix())
		return err
	})
}

// AnswerForgotten makes a reset and its mail for each request that names a login which may sign in; the others are
// forgotten in turn.
func (db *DB) AnswerForgotten(ctx context.Context) error {
	type request struct {
		id, at         int64
		email, address string
	}
	rows, err := collect(ctx, db.read, func(s scanner) (r request, err error) { return r, s.Scan(&r.id, &r.email, &r.address, &r.at) },
		`SELECT id, email, address, at FROM forgotten ORDER BY id LIMIT +$1`, forgottenAtOnce)
	if err != nil || len(rows) == 0 {
		return explain("answer forgotten", err)
	}
	return db.update(ctx, "answer forgotten", func(t *tx) error {
		for _, r := range rows {
			if err := t.one(errStaleRow, `DELETE FROM forgotten WHERE id = $1`, r.id); errors.Is(err, errStaleRow) {
				continue // another portal has answered it
			} else if err != nil {
				return err
			}
			l, err := scanLogin(t.QueryRowContext(t.ctx, `SELECT `+loginColumns+loginTables+`WHERE l.email = $1`, r.email))
			if errors.Is(err, sql.ErrNoRows) || err == nil && l.Disabled || t.now.Unix()-r.at > int64(resetFor/time.Second) {
				continue
			}
			if err != nil {
				return err
			}
			uid := t.db.UID()
			if _, err := t.exec(`INSERT INTO password_resets (uid, login_id, token_hash, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)`,
				uid, l.ID, tokenHash(t.db.resetToken(uid)), t.now.Unix(), t.now.Add(resetFor).Unix()); err != nil {
				return err
			}
			if err := t.audit(Entry{Actor: l.Actor(), Address: r.address, Action: "login.forgot", Entity: "login", EntityUID: l.UID}); err != nil {
				return err
			}
			if err := t.post(Message{Channel: ToClient, Topic: portal.TopicPasswordReset, Payload: portal.Notice{Login: l.UID, Reset: uid, Address: r.address, At: t.now.Unix()}}); err != nil {
				return err
			}
		}
		return nil
	})
}

var errStaleRow = errors.New("store: the row is gone")

// resetSpent is the one refusal of a token that is wrong, was used, or has run out.
func resetSpent() error {
	return portal.Refuse(portal.CodeNotFound, "This link does not work any more: it was used, or more than an hour has passed. Ask for a new one.")
}

const resetOpen = ` FROM password_resets r JOIN logins l ON l.id = r.login_id LEFT JOIN clients c ON c.id = l.client_id
	WHERE r.token_hash = $1 AND r.used_at IS NULL AND r.expires_at > $2 AND l.disabled = 0`

// ResetLogin gives the login whose password a token may set, or the refusal of one that may not.
func (db *DB) ResetLogin(ctx context.Context, token string) (portal.Login, error) {
	l, err := scanLogin(db.read.QueryRowContext(ctx, `SELECT `+loginColumns+resetOpen, tokenHash(token), db.now().Unix()))
	if errors.Is(err, sql.ErrNoRows) {
		return l, resetSpent()
	}
	return l, explain("reset login", err)
}

// ResetPassword sets the password that a token may set, once: all sessions of the login end, its other resets too, and
// its reader is told.
func (db *DB) ResetPassword(ctx context.Context, token, passwordHash, address string) (l portal.Login, err error) {
	if passwordHash == "" {
		return l, portal.Invalid("password", "A password is missing.")
	}
	err = db.update(ctx, "reset password", func(t *tx) error {
		l, err = scanLogin(t.QueryRowContext(t.ctx, `SELECT `+loginColumns+resetOpen, tokenHash(token), t.now.Unix()))
		if errors.Is(err, sql.ErrNoRows) {
			return resetSpent()
		}
		if err != nil {
			return err
		}
		if _, err := t.exec(`UPDATE password_resets SET used_at = $1 WHERE login_id = $2 AND used_at IS NULL`, t.now.Unix(), l.ID); err != nil {
			return err
		}
		if err := t.one(portal.NotFound(), `UPDATE logins SET password_hash = $1, generation = generation + 1 WHERE id = $2`, passwordHash, l.ID); err != nil {
			return err
		}
		for _, key := range []string{accountKey(l.Email), "forgot-" + accountKey(l.Email)} {
			if _, err := t.exec(`DELETE FROM login_failures WHERE key = $1`, key); err != nil {
				return err
			}
		}
		if err := t.audit(Entry{Actor: l.Actor(), Action: "login.reset", Entity: "login", EntityUID: l.UID}); err != nil {
			return err
		}
		return t.passwordChanged(l, address)
	})
	return l, err
}

// passwordChanged tells the login that its password was changed.
func (t *tx) passwordChanged(l portal.Login, address string) error {
	return t.post(Message{Channel: ToClient, Topic: portal.TopicPasswordChanged, Payload: portal.Notice{Login: l.UID, Address: address, At: t.now.Unix()}})
}

// SeenDevice notes that a login has signed in from a browser, which is known by its token. From one that was not seen
// before the login's reader is told, unless it is the first that we know of.
func (db *DB) SeenDevice(ctx context.Context, l portal.Login, token, address, browser string) error {
	return db.update(ctx, "seen device", func(t *tx) error {
		var known int
		var seen bool
		if err := t.QueryRowContext(t.ctx, `SELECT COUNT(*), COALESCE(max(token_hash = $1), 0) FROM devices WHERE login_id = $2`, tokenHash(token), l.ID).Scan(&known, &seen); err != nil {
			return err
		}
		if _, err := t.exec(`INSERT INTO devices (login_id, token_hash, first_at, seen_at) VALUES ($1, $2, $3, $4)
			ON CONFLICT (login_id, token_hash) DO UPDATE SET seen_at = excluded.seen_at`, l.ID, tokenHash(token), t.now.Unix(), t.now.Unix()); err != nil {
			return err
		}
		if seen || known == 0 {
			return nil
		}
		return t.post(Message{Channel: ToClient, Topic: portal.TopicNewDevice, Payload: portal.Notice{Login: l.UID, Address: address, Browser: browser, At: t.now.Unix()}})
	})
}
