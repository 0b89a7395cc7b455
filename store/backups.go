package store

import (
	"context"
	"database/sql"
	"slices"
	"strings"
	"time"

	"stowage/portal"
)

const backupColumns = `b.id, b.uid, b.service_id, b.server_id, b.node, b.storage, b.volid, b.vmid, b.class, b.class_before, b.reason,
	b.origin, b.mode, b.started_at, b.ctime, b.ended_at, b.size, b.upid, b.operation_id, b.disks_in, b.disks_out, b.consistent,
	b.note, b.note_due, b.note_tries, b.protected, b.verification, b.encrypted, b.keep_until, b.seen_at, b.missing_since, b.missing_looks,
	b.removed_at, b.removed_how`

// pinColumns name the unfinished operation that names a copy, and whether it removes it.
const pinColumns = `COALESCE((SELECT o.uid FROM operations o WHERE o.service_id = b.service_id AND o.state IN ('queued', 'running', 'held')
		AND b.id IN (o.backup_id, o.victim_id, o.replace_id) ORDER BY o.id LIMIT 1), ''),
	EXISTS (SELECT 1 FROM operations o WHERE o.service_id = b.service_id AND o.state IN ('queued', 'running', 'held')
		AND (b.id = o.replace_id OR b.id = o.victim_id OR (b.id = o.backup_id AND o.kind = 'backup_delete')))`

// madeColumns name the operation of which a copy came that isn't whole: people ask about it by its reference.
const madeColumns = `CASE WHEN b.class IN ('failed', 'partial') THEN COALESCE((SELECT o.uid || ' ' || o.reference FROM operations o WHERE o.id = b.operation_id), '') ELSE '' END`

// diskReader reads columns of disks. Most copies of a machine have the same ones: what was read last is not read again.
type diskReader struct {
	text  string
	disks []portal.Disk
}

func (r *diskReader) read(text string) ([]portal.Disk, error) {
	if text == "[]" {
		return []portal.Disk{}, nil
	}
	if text != r.text {
		var disks []portal.Disk
		if err := unjson([]string{text}, &disks); err != nil {
			return nil, err
		}
		r.text, r.disks = text, disks
	}
	return slices.Clone(r.disks), nil
}

func scanBackupInto(v *portal.Backup, r *diskReader, in, out *string, extra ...any) ([]any, func() error) {
	var serviceID, operationID, started, ctime, ended, noteDue, keep, seen, missingSince, removed sql.NullInt64
	var volid sql.NullString
	dest := []any{&v.ID, &v.UID, &serviceID, &v.ServerID, &v.Node, &v.Storage, &volid, &v.VMID, &v.Class, &v.ClassBefore, &v.Reason,
		&v.Origin, &v.Mode, &started, &ctime, &ended, &v.Size, &v.UPID, &operationID, in, out, &v.Consistent,
		&v.Note, &noteDue, &v.NoteTries, &v.Protected, &v.Verification, &v.Encrypted, &keep, &seen, &missingSince, &v.MissingLooks,
		&removed, &v.RemovedHow}
	return append(dest, extra...), func() (err error) {
		v.ServiceID, v.OperationID, v.Volid = serviceID.Int64, operationID.Int64, volid.String
		v.StartedAt, v.CTime, v.EndedAt, v.NoteDue, v.KeepUntil = at(started), at(ctime), at(ended), at(noteDue), at(keep)
		v.SeenAt, v.MissingSince, v.RemovedAt = at(seen), at(missingSince), at(removed)
		if v.DisksIn, err = r.read(*in); err == nil {
			v.DisksOut, err = r.read(*out)
		}
		return err
	}
}

func scanBackup(s scanner) (v portal.Backup, err error) {
	var in, out string
	dest, finish := scanBackupInto(&v, &diskReader{}, &in, &out)
	if err := s.Scan(dest...); err != nil {
		return v, err
	}
	return v, finish()
}

func scanPinnedBackup(s scanner) (v portal.Backup, err error) {
	var in, out, made string
	dest, finish := scanBackupInto(&v, &diskReader{}, &in, &out, &v.PinnedBy, &v.Removing, &made)
	if err := s.Scan(dest...); err != nil {
		return v, err
	}
	v.MadeBy, v.Reference, _ = strings.Cut(made, " ")
	return v, finish()
}

// scanMade reads one of many copies of a machine.
func (r *diskReader) scanMade(s scanner) (v portal.Backup, err error) {
	var in, out, made string
	dest, finish := scanBackupInto(&v, r, &in, &out, &made)
	if err := s.Scan(dest...); err != nil {
		return v, err
	}
	v.MadeBy, v.Reference, _ = strings.Cut(made, " ")
	return v, finish()
}

// backupsOf gives the copies of a service that weren't removed, newest first, with who names them: one of open, which
// are the service's unfinished operations. What pinColumns ask for each row is worked out here for all at once.
func backupsOf(ctx context.Context, q querier, serviceID int64, open []portal.Operation) ([]portal.Backup, error) {
	all, err := collect(ctx, q, new(diskReader).scanMade, `SELECT `+backupColumns+`, `+madeColumns+` FROM backups b
		WHERE b.service_id = $1 AND b.removed_at IS NULL ORDER BY b.started_at DESC, b.id DESC`, serviceID)
	for i := range all {
		b := &all[i]
		for _, o := range open {
			if b.ID != o.BackupID && b.ID != o.VictimID && b.ID != o.ReplaceID {
				continue
			}
			if b.PinnedBy == "" {
				b.PinnedBy = o.UID
			}
			b.Removing = b.Removing || b.ID == o.ReplaceID || b.ID == o.VictimID || o.Kind == portal.KindDelete
		}
	}
	return all, err
}

// openOperations gives a service's unfinished operations, the oldest first.
func openOperations(ctx context.Context, q querier, serviceID int64) ([]portal.Operation, error) {
	return operations(ctx, q, `WHERE o.service_id = $1 AND o.state IN ('queued', 'running', 'held') ORDER BY o.id`, serviceID)
}

// Backups gives the copies of a service that weren't removed, newest first: for jobs.
func (db *DB) Backups(ctx context.Context, serviceID int64) (all []portal.Backup, err error) {
	err = db.view(ctx, "backups", func(q querier) error {
		open, err := openOperations(ctx, q, serviceID)
		if err == nil {
			all, err = backupsOf(ctx, q, serviceID, open)
		}
		return err
	})
	return all, err
}

// Backup gives one copy by id: for jobs.
func (db *DB) Backup(ctx context.Context, id int64) (portal.Backup, error) {
	v, err := scanPinnedBackup(db.read.QueryRowContext(ctx, `SELECT `+backupColumns+`, `+pinColumns+`, `+madeColumns+` FROM backups b WHERE b.id = $1`, id))
	return v, missing(err)
}

// ClientBackup gives one copy of a client's service by the uids of both.
func (db *DB) ClientBackup(ctx context.Context, clientID int64, serviceUID, uid string) (portal.Backup, error) {
	v, err := scanPinnedBackup(db.read.QueryRowContext(ctx, `SELECT `+backupColumns+`, `+pinColumns+`, `+madeColumns+` FROM backups b
		JOIN services s ON s.id = b.service_id
		WHERE s.client_id = $1 AND s.uid = $2 AND b.uid = $3 AND s.state <> 'terminated' AND b.removed_at IS NULL`, clientID, serviceUID, uid))
	return v, missing(err)
}

// saveBackup inserts or updates a copy within the transaction.
func (t *tx) saveBackup(b *portal.Backup) error {
	if b.ServiceID != 0 {
		t.touch(b.ServiceID)
	}
	if b.ID == 0 {
		if b.UID == "" {
			b.UID = t.db.UID()
		}
		var err error
		b.ID, err = t.insert(`INSERT INTO backups (uid, service_id, server_id, node, storage, volid, vmid, class, reason, origin, mode, started_at,
				ctime, ended_at, size, upid, operation_id, disks_in, disks_out, consistent, note, note_due, protected, verification, encrypted, keep_until, seen_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27)`,
			b.UID, idOrNull(b.ServiceID), b.ServerID, b.Node, b.Storage, textOrNull(b.Volid), b.VMID, b.Class, b.Reason, b.Origin, b.Mode, unix(b.StartedAt),
			unix(b.CTime), orNull(b.EndedAt), b.Size, b.UPID, idOrNull(b.OperationID), tojson(b.DisksIn), tojson(b.DisksOut), b.Consistent, b.Note,
			orNull(b.NoteDue), b.Protected, b.Verification, b.Encrypted, orNull(b.KeepUntil), unix(b.SeenAt))
		return err
	}
	_, err := t.exec(`UPDATE backups SET service_id = $1, node = $2, storage = $3, volid = $4, class = $5, class_before = $6, reason = $7, mode = $8,
			started_at = $9, ctime = $10, ended_at = $11, size = $12, upid = $13, disks_in = $14, disks_out = $15, consistent = $16,
			protected = $17, verification = $18, encrypted = $19, keep_until = $20, seen_at = $21, missing_since = $22, missing_looks = $23
		WHERE id = $24`,
		idOrNull(b.ServiceID), b.Node, b.Storage, textOrNull(b.Volid), b.Class, b.ClassBefore, b.Reason, b.Mode,
		unix(b.StartedAt), unix(b.CTime), orNull(b.EndedAt), b.Size, b.UPID, tojson(b.DisksIn), tojson(b.DisksOut), b.Consistent,
		b.Protected, b.Verification, b.Encrypted, orNull(b.KeepUntil), unix(b.SeenAt), orNull(b.MissingSince), b.MissingLooks, b.ID)
	return err
}

// removeBackup notes that a copy is no more.
func (t *tx) removeBackup(id, operationID int64, how string) error {
	var serviceID sql.NullInt64
	if err := t.QueryRowContext(t.ctx, `SELECT service_id FROM backups WHERE id = $1`, id).Scan(&serviceID); err != nil {
		return missing(err)
	}
	if serviceID.Valid {
		t.touch(serviceID.Int64)
	}
	_, err := t.exec(`UPDATE backups SET removed_at = $1, removed_how = $2, removed_by = $3, note_due = NULL WHERE id = $4 AND removed_at IS NULL`,
		t.now.Unix(), how, idOrNull(operationID), id)
	return err
}

// SetNote keeps a customer's note with a copy. It is mirrored to the archive later; the row is what pages show.
func (db *DB) SetNote(ctx context.Context, clientID int64, serviceUID, uid, actor, note string) error {
	note, err := portal.CleanNote(note)
	if err != nil {
		return err
	}
	return db.update(ctx, "set note", func(t *tx) error {
		var id, serviceID int64
		var before string
		err := t.QueryRowContext(ctx, `SELECT b.id, s.id, b.note FROM backups b JOIN services s ON s.id = b.service_id
			WHERE s.client_id = $1 AND s.uid = $2 AND b.uid = $3 AND s.state <> 'terminated' AND b.removed_at IS NULL AND b.class <> 'external'`,
			clientID, serviceUID, uid).Scan(&id, &serviceID, &before)
		if err != nil {
			return missing(err)
		}
		if err := t.notSuspended(serviceID); err != nil {
			return err
		}
		if before == note {
			return nil
		}
		if _, err := t.exec(`UPDATE backups SET note = $1, note_due = CASE WHEN class IN ('good', 'suspect') THEN $2 ELSE note_due END, note_tries = 0 WHERE id = $3`,
			note, t.now.Unix(), id); err != nil {
			return err
		}
		t.touch(serviceID)
		return t.audit(Entry{Actor: actor, Action: "backup.note", Entity: "backup", EntityUID: uid, ServiceID: serviceID, Before: before, After: note})
	})
}

// AcceptSuspect records that a person finds a much smaller copy fine: it counts as good from then on.
func (db *DB) AcceptSuspect(ctx context.Context, clientID int64, serviceUID, uid, actor string) error {
	return db.update(ctx, "accept suspect", func(t *tx) error {
		var id, serviceID int64
		var class string
		err := t.QueryRowContext(ctx, `SELECT b.id, s.id, b.class FROM backups b JOIN services s ON s.id = b.service_id
			WHERE s.client_id = $1 AND s.uid = $2 AND b.uid = $3 AND s.state <> 'terminated' AND b.removed_at IS NULL`,
			clientID, serviceUID, uid).Scan(&id, &serviceID, &class)
		if err != nil {
			return missing(err)
		}
		if err := t.notSuspended(serviceID); err != nil {
			return err
		}
		if class != string(portal.ClassSuspect) {
			return portal.Refuse(portal.CodeConflict, "This backup is not in doubt.")
		}
		if _, err := t.exec(`UPDATE backups SET class = 'good', reason = '' WHERE id = $1`, id); err != nil {
			return err
		}
		t.touch(serviceID)
		return t.audit(Entry{Actor: actor, Action: "backup.accept", Entity: "backup", EntityUID: uid, ServiceID: serviceID, Before: class, After: "good"})
	})
}

// DismissMissing clears the row of a copy that was removed outside the portal: the client has seen it.
func (db *DB) DismissMissing(ctx context.Context, clientID int64, serviceUID, uid, actor string) error {
	return db.update(ctx, "dismiss missing", func(t *tx) error {
		var id, serviceID int64
		err := t.QueryRowContext(ctx, `SELECT b.id, s.id FROM backups b JOIN services s ON s.id = b.service_id
			WHERE s.client_id = $1 AND s.uid = $2 AND b.uid = $3 AND s.state <> 'terminated' AND b.class IN ('missing', 'failed') AND b.removed_at IS NULL`,
			clientID, serviceUID, uid).Scan(&id, &serviceID)
		if err != nil {
			return missing(err)
		}
		if err := t.notSuspended(serviceID); err != nil {
			return err
		}
		if err := t.removeBackup(id, 0, "outside"); err != nil {
			return err
		}
		return t.audit(Entry{Actor: actor, Action: "backup.dismiss", Entity: "backup", EntityUID: uid, ServiceID: serviceID})
	})
}

// DueNotes gives copies whose mark and note are still to be written to the archive.
func (db *DB) DueNotes(ctx context.Context, now time.Time, limit int) ([]portal.Backup, error) {
	return collect(ctx, db.read, scanBackup, `SELECT `+backupColumns+` FROM backups b
		WHERE b.note_due <= $1 AND b.removed_at IS NULL AND b.volid IS NOT NULL AND b.class IN ('good', 'suspect') ORDER BY b.note_due LIMIT +$2`, now.Unix(), limit)
}

// SaveNoteWritten records that the archive carries this note, unless a newer note is wanted by now; next, when
// not zero, is when to try again because it doesn't.
func (db *DB) SaveNoteWritten(ctx context.Context, b portal.Backup, next time.Time) error {
	return db.update(ctx, "save note written", func(t *tx) error {
		_, err := t.exec(`UPDATE backups SET note_due = $1, note_tries = CASE WHEN $1 IS NULL THEN 0 ELSE note_tries + 1 END WHERE id = $2 AND note = $3`,
			orNull(next), b.ID, b.Note)
		return err
	})
}

// DeletionsSince counts archives that the engine removed by itself from a storage since an instant.
func (db *DB) DeletionsSince(ctx context.Context, serverID int64, storage string, from time.Time) (n int, err error) {
	err = db.read.QueryRowContext(ctx, `SELECT count(*) FROM backups WHERE server_id = $1 AND storage = $2 AND removed_how = 'evicted' AND removed_at > $3`,
		serverID, storage, from.Unix()).Scan(&n)
	return n, err
}

// UsualDeletions gives the highest number of automatic deletions within one clock hour on a storage, over the two
// weeks before today: what is usual there.
func (db *DB) UsualDeletions(ctx context.Context, serverID int64, storage string, now time.Time) (n int, err error) {
	err = db.read.QueryRowContext(ctx, `SELECT COALESCE(max(n), 0) FROM (SELECT count(*) AS n FROM backups
		WHERE server_id = $1 AND storage = $2 AND removed_how = 'evicted' AND removed_at BETWEEN $3 AND $4 GROUP BY removed_at / 3600) AS hours`,
		serverID, storage, now.Add(-14*24*time.Hour).Unix(), now.Add(-time.Hour).Unix()).Scan(&n)
	return n, err
}

// BeingWritten gives the bytes that running backups to a storage, other than that of an operation, are still
// expected to write there: what their machines' last complete copies weigh.
func (db *DB) BeingWritten(ctx context.Context, serverID int64, storage string, except int64) (n int64, err error) {
	err = db.read.QueryRowContext(ctx, `SELECT COALESCE(sum((SELECT c.size FROM backups c WHERE c.service_id = o.service_id AND c.class = 'good' AND c.removed_at IS NULL
			ORDER BY c.started_at DESC LIMIT 1) * (100 - o.percent) / 100), 0)
		FROM operations o JOIN backups b ON b.id = o.backup_id
		WHERE o.state = 'running' AND o.kind = 'backup' AND b.class = 'running' AND o.server_id = $1 AND b.storage = $2 AND o.id <> $3`, serverID, storage, except).Scan(&n)
	return n, err
}
