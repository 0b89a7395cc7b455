package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"stowage/portal"
)

// ErrLeaseHeld says that another process on this machine drives the operations of this database.
var ErrLeaseHeld = errors.New("store: another process drives this database")

// recoverAfter is how old the last sign of life of a scheduler must be for the database to count as possibly
// put back from an older copy.
const recoverAfter = 10 * time.Minute

// Lease is the right to drive operations. A lock on a file beside the database ends with the process, whatever
// ends it; the epoch fences off a holder that lost the lock without noticing.
type Lease struct {
	db   *DB
	file *os.File
}

// TakeLease takes the lease or gives ErrLeaseHeld. Each taking raises the epoch: a save that carries an earlier
// one writes nothing. Where the last holder's sign of life is old, the database may be an older copy put back:
// automatic deletions stay off until every storage was listed again.
func (db *DB) TakeLease(ctx context.Context, holder string) (*Lease, error) {
	f, err := os.OpenFile(db.path+".lease", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("store: lease: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, ErrLeaseHeld
		}
		return nil, fmt.Errorf("store: lease: %w", err)
	}
	if err := db.RaiseEpoch(ctx, holder); err != nil {
		_ = f.Close()
		return nil, err
	}
	return &Lease{db: db, file: f}, nil
}

// RaiseEpoch makes this DB the one whose saves count, without the lock on the file: what a test does for the
// second of two portals on one database.
func (db *DB) RaiseEpoch(ctx context.Context, holder string) error {
	return db.update(ctx, "take lease", func(t *tx) error {
		var epoch, renewed int64
		if err := t.QueryRowContext(ctx, `SELECT epoch, renewed_at FROM lease WHERE id = 1`).Scan(&epoch, &renewed); err != nil {
			return err
		}
		old := renewed != 0 && t.now.Sub(time.Unix(renewed, 0)).Abs() > recoverAfter
		if old {
			if err := t.recover("the last sign of life of the scheduler is of " + time.Unix(renewed, 0).UTC().Format(time.RFC3339)); err != nil {
				return err
			}
		}
		if _, err := t.exec(`UPDATE lease SET epoch = $1, holder = $2, renewed_at = $3 WHERE id = 1`, epoch+1, holder, t.now.Unix()); err != nil {
			return err
		}
		db.epoch.Store(epoch + 1)
		return nil
	})
}

// Renew is the holder's sign of life. It gives ErrStale when another process has taken the lease.
func (db *DB) Renew(ctx context.Context, ticked bool) error {
	return db.update(ctx, "renew lease", func(t *tx) error {
		return t.one(ErrStale, `UPDATE lease SET renewed_at = $1, tick_at = CASE WHEN $2 THEN $1 ELSE tick_at END WHERE id = 1 AND epoch = $3`,
			t.now.Unix(), ticked, db.epoch.Load())
	})
}

// Release gives the lease back.
func (l *Lease) Release() error { return l.file.Close() }

// recover begins recovery: no automatic deletion anywhere until every storage was listed twice.
func (t *tx) recover(why string) error {
	var already bool
	if err := t.QueryRowContext(t.ctx, `SELECT recovering FROM lease WHERE id = 1`).Scan(&already); err != nil {
		return err
	}
	var storages int
	if err := t.QueryRowContext(t.ctx, `SELECT count(*) FROM storages`).Scan(&storages); err != nil {
		return err
	}
	if storages == 0 {
		return nil // nothing was ever looked at: there is nothing to be behind of
	}
	if _, err := t.exec(`UPDATE storages SET listings = 0`); err != nil {
		return err
	}
	if _, err := t.exec(`UPDATE lease SET recovering = 1 WHERE id = 1`); err != nil {
		return err
	}
	if already {
		return nil
	}
	if err := t.audit(Entry{Actor: "engine", Action: "recovery.begin", Entity: "installation", EntityUID: t.db.installation, After: why}); err != nil {
		return err
	}
	return t.post(Message{Channel: "staff", Topic: "recovery.begin", Payload: map[string]any{"why": why}})
}

// Pulse says how the scheduler is: when it last ticked, whether it recovers, and the zone data of its plans.
type Pulse struct {
	TickAt     time.Time
	RenewedAt  time.Time
	Recovering bool
	Zones      string
}

// Pulse reads it.
func (db *DB) Pulse(ctx context.Context) (p Pulse, err error) {
	var tick, renewed sql.NullInt64
	err = db.read.QueryRowContext(ctx, `SELECT tick_at, renewed_at, recovering, zones FROM lease WHERE id = 1`).Scan(&tick, &renewed, &p.Recovering, &p.Zones)
	p.TickAt, p.RenewedAt = at(tick), at(renewed)
	return p, err
}

// Recovered ends recovery where every storage that archives go to was listed cleanly twice. One that is away
// doesn't hold up the others: when it is back, it is listed before anything is deleted there, and a mark of an
// operation that is not known begins recovery anew.
func (db *DB) Recovered(ctx context.Context) error {
	p, err := db.Pulse(ctx)
	if err != nil || !p.Recovering {
		return err
	}
	return db.update(ctx, "recovered", func(t *tx) error {
		var left int
		if err := t.QueryRowContext(ctx, `SELECT count(*) FROM storages t WHERE t.listings < 2 AND t.active = 1 AND ( -- those that are listed: see WantedStorages
			t.name IN (SELECT p.storage FROM services s JOIN products p ON p.id = s.product_id WHERE s.server_id = t.server_id AND s.state <> 'terminated')
			OR t.name IN (SELECT b.storage FROM backups b WHERE b.server_id = t.server_id AND b.service_id IS NOT NULL AND b.removed_at IS NULL))`).Scan(&left); err != nil {
			return err
		}
		if left > 0 {
			return nil
		}
		if _, err := t.exec(`UPDATE lease SET recovering = 0 WHERE id = 1`); err != nil {
			return err
		}
		return t.audit(Entry{Actor: "engine", Action: "recovery.end", Entity: "installation", EntityUID: db.installation})
	})
}

// ReplanZones recomputes every schedule's next due instant when the zone data changed since they were computed.
// Instants that are past stay past.
func (db *DB) ReplanZones(ctx context.Context) (changed bool, err error) {
	p, err := db.Pulse(ctx)
	if err != nil || p.Zones == portal.ZoneVersion() {
		return false, err
	}
	return true, db.update(ctx, "replan zones", func(t *tx) error {
		all, err := collect(ctx, t, scanSchedule, `SELECT `+scheduleColumns+` FROM schedules c WHERE c.next_due_at IS NOT NULL`)
		if err != nil {
			return err
		}
		for _, s := range all {
			used, err := t.slotDates(s.ServiceID, s.ID, t.now)
			if err != nil {
				return err
			}
			from := t.now
			if !s.NextDue.After(from) {
				continue // due already: the tick takes it as it was
			}
			var next any
			if coming := s.NextExcept(from, 1, used); len(coming) > 0 {
				next = coming[0].Due.Unix()
			}
			if _, err := t.exec(`UPDATE schedules SET next_due_at = $1 WHERE id = $2`, next, s.ID); err != nil {
				return err
			}
		}
		_, err = t.exec(`UPDATE lease SET zones = $1 WHERE id = 1`, portal.ZoneVersion())
		return err
	})
}
