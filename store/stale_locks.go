package store

import (
	"context"
	"fmt"
	"time"

	"stowage/portal"
)

// LongLocked gives machines of a server that have been locked since before an instant without work of ours, and whose
// lock was not looked behind since then: those that were not for the longest time first.
func (db *DB) LongLocked(ctx context.Context, serverID int64, before time.Time, limit int) ([]Machine, error) {
	return machines(ctx, db.read, `WHERE server_id = $1 AND lock <> '' AND lock_since <= $2 AND lock_looked_at <= $2 AND node <> '' AND state <> 'terminated'
		AND NOT EXISTS (SELECT 1 FROM operations o WHERE o.service_id = services.id AND o.state IN ('running', 'held') AND o.exclusive = 1)
		ORDER BY lock_looked_at, id LIMIT +$3`, serverID, before.Unix(), limit)
}

// SaveLockLook keeps what stands behind a lock: the last task, exact, where none runs any more ("" where one does). The
// first time that a lock proves stale staff are told.
func (db *DB) SaveLockLook(ctx context.Context, m Machine, last string) error {
	return db.update(ctx, "save lock look", func(t *tx) error {
		svc, err := service(ctx, t, m.ServiceID)
		if err != nil || svc.Lock != m.Lock {
			return err // it is another by now
		}
		told := !svc.LockStaleAt.IsZero()
		var stale any
		switch {
		case last != "" && told:
			stale = svc.LockStaleAt.Unix()
		case last != "":
			stale = t.now.Unix()
		}
		if _, err := t.exec(`UPDATE services SET lock_looked_at = $1, lock_stale_at = $2, lock_task = $3 WHERE id = $4`, t.now.Unix(), stale, last, m.ServiceID); err != nil {
			return err
		}
		if told == (last != "") {
			return nil
		}
		t.touch(m.ServiceID)
		if told {
			return nil
		}
		return t.post(Message{Channel: "staff", ServiceID: m.ServiceID, Topic: portal.TopicStaleLock, Payload: portal.Notice{
			Why: fmt.Sprintf("locked (%s) since %s; last task: %s; release it on %s with: qm unlock %d", svc.Lock, svc.LockSince.UTC().Format("2006-01-02 15:04 UTC"), last, svc.Node, svc.VMID),
		}})
	})
}
