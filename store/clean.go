package store

import (
	"context"
	"time"
)

// Clean removes slots and ended operations older than history and task logs older than logs, a few thousand at
// a time. What a copy that still exists refers to stays; the audit log always stays.
func (db *DB) Clean(ctx context.Context, history, logs time.Time) error {
	return db.update(ctx, "clean", func(t *tx) error {
		for _, q := range []struct {
			text string
			when time.Time
		}{
			{`DELETE FROM task_logs WHERE at < $1`, logs},
			{`DELETE FROM slots WHERE ended_at IS NOT NULL AND due_at < $1`, history},
			{`DELETE FROM sessions WHERE expires_at < $1`, t.now},
			{`DELETE FROM login_failures WHERE first_at < $1 AND blocked_until < $1`, t.now.Add(-24 * time.Hour)},
			{`DELETE FROM outbox WHERE sent_at < $1`, logs},
			{`DELETE FROM mails WHERE ended_at < $1`, logs},
			{`DELETE FROM password_resets WHERE expires_at < $1`, logs},
			{`DELETE FROM devices WHERE seen_at < $1`, history},
		} {
			if _, err := t.exec(q.text, q.when.Unix()); err != nil {
				return err
			}
		}
		const old = `SELECT o.id FROM operations o WHERE o.ended_at < $1 AND o.watch_until IS NULL
			AND NOT EXISTS (SELECT 1 FROM backups b WHERE b.operation_id = o.id AND (b.removed_at IS NULL OR b.removed_at >= $1))
			AND NOT EXISTS (SELECT 1 FROM backups b WHERE b.removed_by = o.id AND b.removed_at >= $1)
			AND NOT EXISTS (SELECT 1 FROM slots l WHERE l.operation_id = o.id)
			AND NOT EXISTS (SELECT 1 FROM operations r WHERE r.retry_of = o.id) ORDER BY o.id LIMIT 2000`
		ids, err := collect(ctx, t, func(s scanner) (id int64, err error) { return id, s.Scan(&id) }, old, history.Unix())
		if err != nil {
			return err
		}
		for _, id := range ids {
			for _, q := range []string{
				`UPDATE operations SET backup_id = NULL, victim_id = NULL, replace_id = NULL WHERE id = $1`,
				`UPDATE backups SET removed_by = NULL WHERE removed_by = $1`,
				`DELETE FROM backups WHERE operation_id = $1 AND removed_at IS NOT NULL`,
				`UPDATE backups SET operation_id = NULL WHERE operation_id = $1`,
				`DELETE FROM task_logs WHERE operation_id = $1`,
				`DELETE FROM operation_steps WHERE operation_id = $1`,
				`DELETE FROM operations WHERE id = $1`,
			} {
				if _, err := t.exec(q, id); err != nil {
					return err
				}
			}
		}
		return nil
	})
}
