package store

import (
	"context"
	"database/sql"
	"errors"
	"net/netip"
	"strings"
	"time"
)

// Guessing passwords is slowed down by account, and by address so that one visitor can't try one password on
// every account. The address's allowance is larger: an office shares one.
const (
	failureWindow  = 15 * time.Minute // failures count together for so long, and for so long after a wait
	accountAllowed = 5
	addressAllowed = 20
	firstWait      = 30 * time.Second // doubled by each further failure
	longestWait    = 15 * time.Minute
)

// LoginAllowed tells whether a sign-in may be tried now: the zero time, or until when it has to wait.
func (db *DB) LoginAllowed(ctx context.Context, email, address string) (time.Time, error) {
	var until sql.NullInt64
	err := db.read.QueryRowContext(ctx, `SELECT max(blocked_until) FROM login_failures WHERE key IN ($1, $2) AND blocked_until > $3`,
		accountKey(email), addressKeyOf(address), db.now().Unix()).Scan(&until)
	if err != nil {
		return time.Time{}, explain("login allowed", err)
	}
	return at(until), nil
}

// LoginFailed counts a failed sign-in. It gives until when the next has to wait, the zero time for not at all.
func (db *DB) LoginFailed(ctx context.Context, email, address string) (until time.Time, err error) {
	err = db.update(ctx, "login failed", func(t *tx) error {
		byAccount, err := t.countFailure(accountKey(email), accountAllowed)
		if err != nil {
			return err
		}
		byAddress, err := t.countFailure(addressKeyOf(address), addressAllowed)
		if err != nil {
			return err
		}
		until = byAccount
		if byAddress.After(until) {
			until = byAddress
		}
		return nil
	})
	return until, err
}

func (t *tx) countFailure(key string, allowed int) (time.Time, error) {
	var failures, firstAt, blocked int64
	err := t.QueryRowContext(t.ctx, `SELECT failures, first_at, blocked_until FROM login_failures WHERE key = $1`, key).Scan(&failures, &firstAt, &blocked)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, err
	}
	now := t.now.Unix()
	if max(firstAt, blocked) <= t.now.Add(-failureWindow).Unix() {
		failures, firstAt = 0, now
	}
	failures++
	until := int64(0)
	if beyond := failures - int64(allowed); beyond >= 0 {
		wait := longestWait
		if beyond < 5 {
			wait = min(firstWait<<beyond, longestWait)
		}
		until = now + int64(wait/time.Second)
	}
	_, err = t.exec(`INSERT INTO login_failures (key, failures, first_at, blocked_until) VALUES ($1, $2, $3, $4)
		ON CONFLICT (key) DO UPDATE SET failures = excluded.failures, first_at = excluded.first_at, blocked_until = excluded.blocked_until`,
		key, failures, firstAt, until)
	return at(sql.NullInt64{Int64: until, Valid: true}), err
}

// LoginSucceeded forgets the failures of the account. Those of the address stay: an attacker with one account of
// their own must not be able to wipe them.
func (db *DB) LoginSucceeded(ctx context.Context, email string) error {
	return db.update(ctx, "login succeeded", func(t *tx) error {
		_, err := t.exec(`DELETE FROM login_failures WHERE key = $1`, accountKey(email))
		return err
	})
}

// accountKey names an account without keeping what was typed, which may be a password in the wrong field.
func accountKey(email string) string {
	return "account:" + tokenHash(strings.ToLower(strings.TrimSpace(email)))
}

// addressKeyOf names where a sign-in came from. One customer of an IPv6 provider has a /64 at least.
func addressKeyOf(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return "address:unknown"
	}
	ip = ip.Unmap().WithZone("")
	if ip.Is4() {
		return "address:" + ip.String()
	}
	prefix, err := ip.Prefix(64)
	if err != nil {
		return "address:" + ip.String()
	}
	return "address:" + prefix.String()
}
