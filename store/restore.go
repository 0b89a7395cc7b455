package store

import (
	"context"
	"time"

	"stowage/portal"
)

// saveFirst queues the backup of the present state that goes before a restore, in the transaction that queues the
// restore, and lets the restore wait for it.
func (t *tx) saveFirst(restore *portal.Operation, s portal.Situation) error {
	if restore.Kind != portal.KindRestore || !s.SavesFirst() {
		return nil
	}
	safety, err := portal.SafetyCopy(restore.Actor)(s)
	if err != nil {
		return err
	}
	if err := t.insertOperation(&safety, s); err != nil {
		return err
	}
	restore.AfterID = safety.ID
	return nil
}

// endUnsaved ends a restore whose safety copy was not made.
func (t *tx) endUnsaved(w waiting) error {
	if w.after == portal.StateCancelled {
		return t.endQueued(&w.op, portal.StateCancelled, "Cancelled before anything was overwritten. Your machine is as it was.", "", "")
	}
	const why portal.Text = "The present state of your machine could not be saved first, so nothing was done. Your machine is as it was."
	if err := t.endQueued(&w.op, portal.StateFailed, why, "", ""); err != nil || w.Kind != portal.KindRestore {
		return err
	}
	if _, err := t.exec(`INSERT INTO operation_steps (operation_id, at, step, what, text, staff) VALUES ($1, $2, $3, 'failed', $4, 'the safety copy failed')`,
		w.op.ID, t.now.Unix(), portal.StepDump, why); err != nil {
		return err
	}
	return t.post(Message{Channel: ToClient, ServiceID: w.op.ServiceID, Topic: portal.TopicRestoreFailed, Payload: map[string]any{
		"service": w.service.UID, "operation": w.op.UID, "text": string(why), "whole": true,
	}})
}

// cancelBefore ends the safety copy of a restore that was cancelled while it waited for it.
func (t *tx) cancelBefore(restore portal.Operation, actor string) error {
	if restore.Kind != portal.KindRestore || restore.AfterID == 0 {
		return nil
	}
	before, err := operation(t.ctx, t, `WHERE o.id = $1`, restore.AfterID)
	if err != nil || before.State.Final() || before.State == portal.StateHeld || !before.CancelAt.IsZero() {
		return err
	}
	if before.State == portal.StateQueued {
		return t.endQueued(&before, portal.StateCancelled, "Cancelled before it began.", "", "")
	}
	_, err = t.exec(`UPDATE operations SET cancel_at = $1, cancel_by = $2, run_after = $1, version = version + 1 WHERE id = $3 AND version = $4`,
		t.now.Unix(), actor, before.ID, before.Version)
	return err
}

// stopped gives an operation of a client's service with the service's situation. clientID 0 means staff, who need no
// service's uid.
func (t *tx) stopped(clientID int64, serviceUID, uid string) (op portal.Operation, s portal.Situation, err error) {
	where, args := `WHERE o.uid = $1`, []any{uid}
	if clientID != 0 {
		where, args = `JOIN services s ON s.id = o.service_id WHERE o.uid = $1 AND s.client_id = $2 AND s.uid = $3 AND s.state <> 'terminated'`, []any{uid, clientID, serviceUID}
	}
	if op, err = operation(t.ctx, t, where, args...); err != nil {
		return op, s, err
	}
	svc, err := service(t.ctx, t, op.ServiceID)
	if err != nil {
		return op, s, err
	}
	s, err = loadSituation(t.ctx, t, svc, t.now)
	return op, s, err
}

// ResumeRestore lets a restore that has stopped go on where it stands, or (backupUID is not "") with another copy.
// clientID 0 means staff.
func (db *DB) ResumeRestore(ctx context.Context, clientID int64, serviceUID, uid, backupUID, actor string) (op portal.Operation, err error) {
	err = db.update(ctx, "resume restore", func(t *tx) error {
		held, situation, err := t.stopped(clientID, serviceUID, uid)
		if err != nil {
			return err
		}
		if op, err = portal.ResumeRestore(held, backupUID)(situation); err != nil {
			return err
		}
		if err := t.one(ErrStale, `UPDATE operations SET state = 'running', step = $1, backup_id = $2, work = $3, attempt = 0, failures = 0, reason = '', staff_reason = '',
				progress_at = $4, run_after = $4, give_up_at = $5, version = version + 1 WHERE id = $6 AND version = $7 AND state = 'held'`,
			op.Step, idOrNull(op.BackupID), tojson(op.Work), t.now.Unix(), op.GiveUpAt.Unix(), op.ID, held.Version); err != nil {
			return err
		}
		op.Version = held.Version + 1
		if _, err := t.exec(`INSERT INTO operation_steps (operation_id, at, step, what, text, staff) VALUES ($1, $2, $3, 'note', $4, $5)`,
			op.ID, t.now.Unix(), op.Step, goesOn(held, op), "resumed by "+actor); err != nil {
			return err
		}
		t.touch(op.ServiceID)
		return t.audit(Entry{Actor: actor, Action: "operation.resume", Entity: "operation", EntityUID: op.UID, ServiceID: op.ServiceID, Before: held.Work.Archive, After: op.Work.Archive})
	})
	return op, err
}

func goesOn(held, op portal.Operation) portal.Text {
	if held.BackupID != op.BackupID {
		return "The restore goes on with another backup."
	}
	return "The restore is tried again."
}

// Instead ends an operation that has stopped with a machine in pieces, and lets another go on with that machine, which is
// nobody's at no time: both in one transaction. request is asked what takes over. clientID 0 means staff.
func (db *DB) Instead(ctx context.Context, clientID int64, serviceUID, uid, actor string, request func(held portal.Operation) portal.Request) (op portal.Operation, err error) {
	err = db.update(ctx, "instead", func(t *tx) error {
		held, situation, err := t.stopped(clientID, serviceUID, uid)
		if err != nil {
			return err
		}
		if op, err = request(held)(situation); err != nil {
			return err
		}
		if err := t.one(ErrStale, `UPDATE operations SET state = 'failed', secret = NULL, dump_place = NULL, delete_place = NULL, ended_at = $1, reason = $2,
				work = $3, version = version + 1 WHERE id = $4 AND version = $5 AND state = 'held'`,
			t.now.Unix(), portal.InsteadOf(op.Kind), tojson(givenAway(held.Work)), held.ID, held.Version); err != nil {
			return err
		}
		if _, err := t.exec(`INSERT INTO operation_steps (operation_id, at, step, what, text, staff) VALUES ($1, $2, $3, 'note', $4, $5)`,
			held.ID, t.now.Unix(), held.Step, portal.InsteadOf(op.Kind), "taken over by "+actor); err != nil {
			return err
		}
		if err := t.audit(Entry{Actor: actor, Action: string(held.Kind) + ".failed", Entity: "operation", EntityUID: held.UID, ServiceID: held.ServiceID,
			Before: held.StaffReason, After: "another operation takes over: " + string(op.Kind)}); err != nil {
			return err
		}
		if err := t.insertOperation(&op, situation); err != nil {
			return err
		}
		op.State, op.Node, op.StartedAt, op.ProgressAt, op.Version = portal.StateRunning, held.Node, t.now, t.now, op.Version+1
		return t.one(ErrStale, `UPDATE operations SET state = 'running', node = $1, started_at = $2, progress_at = $2, run_after = $2, version = version + 1
			WHERE id = $3`, op.Node, t.now.Unix(), op.ID)
	})
	return op, err
}

// givenAway is the work of an operation whose machine another has taken over: it is not broken in its hands any more.
func givenAway(w portal.Work) portal.Work {
	w.Broken = false
	return w
}

// UnreadArchive is a copy of whose archive nobody has read yet what it holds.
type UnreadArchive struct {
	ID      int64
	Tries   int
	Server  int64
	Node    string // that is asked
	Storage string
	Volid   string
}

// UnreadArchives gives copies whose contents are to be read now. Those on hosts that are down, or of servers that can't be
// reached, are left out.
func (db *DB) UnreadArchives(ctx context.Context, limit int) ([]UnreadArchive, error) {
	return collect(ctx, db.read, func(s scanner) (v UnreadArchive, err error) {
		return v, s.Scan(&v.ID, &v.Tries, &v.Server, &v.Node, &v.Storage, &v.Volid)
	}, `SELECT b.id, b.contents_tries, b.server_id, CASE WHEN b.node <> '' THEN b.node ELSE s.node END, b.storage, b.volid
		FROM backups b JOIN services s ON s.id = b.service_id JOIN servers v ON v.id = b.server_id
		WHERE b.contents = '' AND b.removed_at IS NULL AND b.class IN ('good', 'suspect') AND b.contents_due <= $1 AND b.volid IS NOT NULL
			AND v.unreachable_since IS NULL AND NOT EXISTS (SELECT 1 FROM nodes n WHERE n.server_id = b.server_id AND n.online = 0
				AND n.name = CASE WHEN b.node <> '' THEN b.node ELSE s.node END)
		ORDER BY b.contents_due LIMIT +$2`, db.now().Unix(), limit)
}

// SaveContents keeps what an archive holds, or (nil) that it is to be asked for again at an instant.
func (db *DB) SaveContents(ctx context.Context, id int64, c *portal.Contents, again time.Time) error {
	return db.update(ctx, "save contents", func(t *tx) error {
		if c == nil {
			_, err := t.exec(`UPDATE backups SET contents_due = $1, contents_tries = contents_tries + 1 WHERE id = $2`, again.Unix(), id)
			return err
		}
		_, err := t.exec(`UPDATE backups SET contents = $1 WHERE id = $2`, tojson(c), id)
		return err
	})
}

// Contents gives what a copy's archive holds, or nil where that was not read yet.
func (db *DB) Contents(ctx context.Context, backupID int64) (*portal.Contents, error) {
	var raw string
	if err := db.read.QueryRowContext(ctx, `SELECT contents FROM backups WHERE id = $1`, backupID).Scan(&raw); err != nil {
		return nil, missing(err)
	}
	if raw == "" {
		return nil, nil
	}
	var c portal.Contents
	return &c, unjson([]string{raw}, &c)
}

// OverdueSafety gives the uids of services with a copy from before a restore whose time is over.
func (db *DB) OverdueSafety(ctx context.Context, limit int) ([]string, error) {
	return collect(ctx, db.read, func(s scanner) (uid string, err error) { return uid, s.Scan(&uid) },
		`SELECT DISTINCT s.uid FROM backups b JOIN services s ON s.id = b.service_id
		WHERE b.keep_until IS NOT NULL AND b.removed_at IS NULL AND b.keep_until <= $1 AND b.origin = 'before-restore' AND b.class IN ('good', 'suspect')
			AND s.state IN ('active', 'suspended')
			AND NOT EXISTS (SELECT 1 FROM operations o WHERE o.backup_id = b.id AND o.kind = 'backup_delete' AND o.state IN ('queued', 'running'))
		LIMIT +$2`, db.now().Unix(), limit)
}

// Restores gives how long the latest restores on a server have kept their machines off, newest first.
func (db *DB) Restores(ctx context.Context, serviceID int64, limit int) ([]time.Duration, error) {
	return collect(ctx, db.read, func(s scanner) (time.Duration, error) {
		var seconds int64
		err := s.Scan(&seconds)
		return time.Duration(seconds) * time.Second, err
	}, `SELECT o.ended_at - o.started_at FROM operations o WHERE o.service_id = $1 AND o.kind = 'restore' AND o.state = 'succeeded' AND o.ended_at >= o.started_at
		ORDER BY o.id DESC LIMIT +$2`, serviceID, limit)
}
