package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"stowage/portal"
)

// Archive is one entry of a storage's content listing.
type Archive struct {
	Volid        string
	VMID         int
	CTime        time.Time
	Size         int64
	FirstLine    string // of its notes
	Protected    bool
	Verification string // "", ok, failed
	Encrypted    string
}

// Listing is one content listing of a storage, of one machine or (VMID 0) of all, with what was seen of the
// storage around it.
type Listing struct {
	portal.Listing
	ServerID int64
	Node     string // "" when the storage is shared
	Storage  string
	VMID     int
	Archives []Archive
}

// Seen is what a listing came to.
type Seen struct {
	portal.ListingVerdict
	Adopted int
	Foreign int // archives that carry another installation's mark
}

// SaveListing brings the rows of a storage in step with a listing of it: what is there, what vanished, what
// carries our mark but has no row (adopted), what has no mark yet (to be written), and what isn't ours at all
// (external). Nothing is concluded from a listing that proves nothing.
func (db *DB) SaveListing(ctx context.Context, l Listing) (seen Seen, err error) {
	err = db.update(ctx, "save listing", func(t *tx) error {
		store, err := scanStorage(t.QueryRowContext(ctx, `SELECT `+storageColumns+` FROM storages WHERE server_id = $1 AND node = $2 AND name = $3`, l.ServerID, l.Node, l.Storage))
		if errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("storage %s/%s is not known yet", l.Node, l.Storage)
		}
		if err != nil {
			return err
		}
		rows, err := collect(ctx, t, scanPinnedBackup, `SELECT `+backupColumns+`, `+pinColumns+`, `+madeColumns+` FROM backups b
			WHERE b.server_id = $1 AND b.node = $2 AND b.storage = $3 AND b.volid IS NOT NULL AND b.removed_at IS NULL AND ($4 = 0 OR b.vmid = $4)`,
			l.ServerID, l.Node, l.Storage, l.VMID)
		if err != nil {
			return err
		}
		l.KnownTotal, l.Confirmed = store.KnownTotal, store.Confirmed
		l.Volids = l.Volids[:0:0]
		for _, a := range l.Archives {
			l.Volids = append(l.Volids, a.Volid)
		}
		byVolid := make(map[string]*portal.Backup, len(rows))
		var expected []portal.ExpectedCopy
		for i := range rows {
			b := &rows[i]
			byVolid[b.Volid] = b
			if b.Class != portal.ClassExternal && b.Class != portal.ClassRunning && b.Class != portal.ClassFailed {
				expected = append(expected, portal.ExpectedCopy{UID: b.UID, Volid: b.Volid, AbsentSince: b.MissingSince, AbsentLooks: b.MissingLooks, Believed: b.Class == portal.ClassMissing, Removing: b.Removing})
			}
		}
		seen.ListingVerdict = portal.JudgeListing(l.Listing, expected)
		if l.VMID != 0 {
			seen.Missing = nil // whether many vanished together shows only in the whole list
		}
		if !l.Answered {
			return t.saveStorageLook(store, l, seen)
		}
		for _, a := range l.Archives {
			if b := byVolid[a.Volid]; b != nil {
				if err := t.present(b, a); err != nil {
					return err
				}
				continue
			}
			if err := t.unknown(l, a, &seen); err != nil {
				return err
			}
		}
		if err := t.absent(rows, l, seen); err != nil {
			return err
		}
		return t.saveStorageLook(store, l, seen)
	})
	return seen, err
}

// present notes what a listing shows of an archive that has a row.
func (t *tx) present(b *portal.Backup, a Archive) error {
	back := b.Class == portal.ClassMissing
	changed := back || b.Size != a.Size || b.Protected != a.Protected || b.Verification != a.Verification || b.Encrypted != a.Encrypted || !b.MissingSince.IsZero()
	if b.Class != portal.ClassExternal && b.Complete() && b.NoteDue.IsZero() {
		if m, marked, valid := portal.ReadMark(a.FirstLine, t.db.markKey); !marked || (valid && m.Installation != t.db.installation) {
			if _, err := t.exec(`UPDATE backups SET note_due = $1 WHERE id = $2`, t.now.Unix(), b.ID); err != nil {
				return err
			}
		}
	}
	if !changed && t.now.Sub(b.SeenAt) < 5*time.Minute {
		return nil
	}
	if back {
		b.Class, b.ClassBefore = b.ClassBefore, ""
	}
	if err := t.weigh(b, a.Size); err != nil {
		return err
	}
	b.Size, b.Protected, b.Verification, b.Encrypted = a.Size, a.Protected, a.Verification, a.Encrypted
	b.SeenAt, b.MissingSince, b.MissingLooks = t.now, time.Time{}, 0
	if b.CTime.IsZero() {
		b.CTime = a.CTime
	}
	if !changed {
		_, err := t.exec(`UPDATE backups SET seen_at = $1 WHERE id = $2`, t.now.Unix(), b.ID)
		return err
	}
	if back {
		if err := t.audit(Entry{Actor: "engine", Action: "backup.back", Entity: "backup", EntityUID: b.UID, ServiceID: b.ServiceID, After: b.Volid}); err != nil {
			return err
		}
	}
	return t.saveBackup(b)
}

// weigh sees whether anything is left of a copy that was complete. One of which a storage has kept but a few bytes is
// no backup any more, and no better one may go for it; the client and staff are told. Its row says what it was, in
// case the storage finds the rest again.
func (t *tx) weigh(b *portal.Backup, size int64) error {
	switch {
	case b.Complete() && b.Class != portal.ClassExternal && portal.Empty(size):
		b.ClassBefore, b.Class = b.Class, portal.ClassPartial
		b.Reason = portal.Say("It was damaged on the storage: %s of %s are left.", portal.Size(size), portal.Size(b.Size))
		for _, channel := range []string{"mail", "staff"} {
			if err := t.post(Message{Channel: channel, ServiceID: b.ServiceID, Topic: "backup.damaged", Payload: map[string]any{"backup": b.UID, "volid": b.Volid, "started": b.StartedAt.Unix(), "text": b.Reason}}); err != nil {
				return err
			}
		}
		return t.audit(Entry{Actor: "engine", Action: "backup.damaged", Entity: "backup", EntityUID: b.UID, ServiceID: b.ServiceID, Before: string(b.ClassBefore), After: b.Volid})
	case b.Class == portal.ClassPartial && b.ClassBefore != "" && !portal.Empty(size):
		b.Class, b.ClassBefore, b.Reason = b.ClassBefore, "", ""
		return t.audit(Entry{Actor: "engine", Action: "backup.back", Entity: "backup", EntityUID: b.UID, ServiceID: b.ServiceID, After: b.Volid})
	}
	return nil
}

// unknown deals with an archive that has no row: adopted where it carries our valid mark, else external.
func (t *tx) unknown(l Listing, a Archive, seen *Seen) error {
	m, marked, valid := portal.ReadMark(a.FirstLine, t.db.markKey)
	if valid && m.Installation == t.db.installation {
		done, err := t.adopt(l, a, m)
		if err != nil || done {
			if done {
				seen.Adopted++
			}
			return err
		}
	}
	if marked && !valid {
		seen.Foreign++
	}
	var removed bool
	if err := t.QueryRowContext(t.ctx, `SELECT EXISTS (SELECT 1 FROM backups WHERE server_id = $1 AND node = $2 AND storage = $3 AND volid = $4 AND removed_at > $5 AND service_id IS NOT NULL)`,
		l.ServerID, l.Node, l.Storage, a.Volid, t.now.Add(-removalSettles).Unix()).Scan(&removed); err != nil {
		return err
	}
	var running bool
	if err := t.QueryRowContext(t.ctx, `SELECT EXISTS (SELECT 1 FROM backups b WHERE b.server_id = $1 AND b.storage = $2 AND b.vmid = $3 AND b.class = 'running')`,
		l.ServerID, l.Storage, a.VMID).Scan(&running); err != nil {
		return err
	}
	if running || removed {
		return nil // its operation will name it; or its removal was just seen elsewhere
	}
	b := portal.Backup{ServerID: l.ServerID, Node: l.Node, Storage: l.Storage, Volid: a.Volid, VMID: a.VMID, Class: portal.ClassExternal, Origin: portal.OriginExternal,
		StartedAt: a.CTime, CTime: a.CTime, Size: a.Size, Protected: a.Protected, Verification: a.Verification, Encrypted: a.Encrypted, SeenAt: t.now}
	return t.saveBackup(&b)
}

// removalSettles is how long after a removal a listing from before it may still arrive.
const removalSettles = 10 * time.Minute

// adopt makes an archive that carries our valid mark a copy of its service. The mark is written when the archive
// is complete, so it is one. False where the operation that makes it will name it by itself, or its service is
// not known.
func (t *tx) adopt(l Listing, a Archive, m portal.Mark) (bool, error) {
	svc, err := scanService(t.QueryRowContext(t.ctx, `SELECT `+serviceColumns+` FROM services s WHERE s.uid = $1 AND s.server_id = $2`, m.Service, l.ServerID))
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	op, err := operation(t.ctx, t, `WHERE o.uid = $1`, m.Operation)
	known := err == nil
	if err != nil && portal.CodeOf(err) != portal.CodeNotFound {
		return false, err
	}
	if known && !op.State.Final() {
		return true, nil
	}
	b := portal.Backup{Origin: portal.OriginScheduled, StartedAt: a.CTime}
	if known {
		if op.Manual {
			b.Origin = portal.OriginManual
		}
		if op.BackupID != 0 && op.Kind == portal.KindBackup {
			row, err := scanBackup(t.QueryRowContext(t.ctx, `SELECT `+backupColumns+` FROM backups b WHERE b.id = $1`, op.BackupID))
			if err != nil {
				return false, err
			}
			switch {
			case !row.RemovedAt.IsZero() && row.Volid == a.Volid && t.now.Sub(row.RemovedAt) < removalSettles:
				return true, nil // removed by us; a listing from just before
			case !row.RemovedAt.IsZero() && row.Volid == a.Volid:
				// Believed removed, and there all the same: it is the customer's, so it comes back.
				if _, err := t.exec(`UPDATE backups SET removed_at = NULL, removed_how = '', removed_by = NULL WHERE id = $1`, row.ID); err != nil {
					return false, err
				}
				b = row
			case row.RemovedAt.IsZero() && row.Volid == "":
				b = row
			}
		}
	} else if err := t.recover("an archive carries the mark of an operation that this database does not know: " + m.Operation); err != nil {
		return false, err
	}
	if b.ID == 0 {
		b.OperationID = op.ID
	}
	b.ServiceID, b.ServerID, b.Node, b.Storage, b.Volid, b.VMID = svc.ID, l.ServerID, l.Node, l.Storage, a.Volid, a.VMID
	b.CTime, b.Size, b.Protected, b.Verification, b.Encrypted, b.SeenAt = a.CTime, a.Size, a.Protected, a.Verification, a.Encrypted, t.now
	b.Class, b.Reason = portal.ClassGood, ""
	if portal.Empty(a.Size) {
		b.Class, b.Reason = portal.ClassPartial, "The backup is empty: it holds no disk."
	}
	if b.EndedAt.IsZero() {
		b.EndedAt = t.now
	}
	if err := t.saveBackup(&b); err != nil {
		return false, err
	}
	if known {
		if _, err := t.exec(`UPDATE operations SET watch_until = NULL WHERE id = $1`, op.ID); err != nil {
			return false, err
		}
	}
	return true, t.audit(Entry{Actor: "engine", Action: "backup.adopt", Entity: "backup", EntityUID: b.UID, ServiceID: svc.ID, After: a.Volid})
}

// absent counts the archives that a listing lacks, and believes those missing that the verdict names.
func (t *tx) absent(rows []portal.Backup, l Listing, seen Seen) error {
	byUID := make(map[string]*portal.Backup, len(rows))
	here := make(map[string]bool, len(l.Volids))
	for _, v := range l.Volids {
		here[v] = true
	}
	for i := range rows {
		b := &rows[i]
		byUID[b.UID] = b
		if b.Class == portal.ClassExternal && !here[b.Volid] && seen.Doubt == "" {
			if _, err := t.exec(`DELETE FROM backups WHERE id = $1 AND class = 'external'`, b.ID); err != nil {
				return err
			}
		}
	}
	for _, a := range seen.Absent {
		b := byUID[a.UID]
		if _, err := t.exec(`UPDATE backups SET missing_since = $1, missing_looks = $2 WHERE id = $3`, a.Since.Unix(), a.Looks, b.ID); err != nil {
			return err
		}
	}
	for _, uid := range seen.Missing {
		b := byUID[uid]
		if ours, err := t.removedByUs(b.ID); err != nil || ours {
			if err != nil {
				return err
			}
			continue
		}
		if _, err := t.exec(`UPDATE backups SET class_before = class, class = 'missing' WHERE id = $1 AND class <> 'missing'`, b.ID); err != nil {
			return err
		}
		t.touch(b.ServiceID)
		if err := t.audit(Entry{Actor: "engine", Action: "backup.missing", Entity: "backup", EntityUID: b.UID, ServiceID: b.ServiceID, Before: string(b.Class), After: b.Volid}); err != nil {
			return err
		}
		for _, channel := range []string{"mail", "staff"} {
			if err := t.post(Message{Channel: channel, ServiceID: b.ServiceID, Topic: "backup.vanished", Payload: map[string]any{"backup": b.UID, "volid": b.Volid, "started": b.StartedAt.Unix()}}); err != nil {
				return err
			}
		}
	}
	return nil
}

// removedByUs notes the removal of a copy that an operation of ours asked for within the last day, and whose
// effect came later than the operation waited for it.
func (t *tx) removedByUs(id int64) (bool, error) {
	var op int64
	err := t.QueryRowContext(t.ctx, `SELECT o.id FROM operations o JOIN backups b ON b.id = $1 AND b.service_id = o.service_id
		WHERE (o.victim_id = b.id OR o.kind = 'backup_delete' AND o.backup_id = b.id) AND o.started_at > $2 ORDER BY o.id DESC LIMIT 1`,
		id, t.now.Add(-portal.WatchFor).Unix()).Scan(&op)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, t.removeBackup(id, op, "evicted")
}

// saveStorageLook keeps what a full listing says of its storage.
func (t *tx) saveStorageLook(s StorageRow, l Listing, seen Seen) error {
	if l.VMID != 0 {
		return nil
	}
	clean := l.Answered && l.ActiveBefore && l.ActiveAfter && l.RightsSeen && l.TotalAfter > 0
	doubt, since := s.Doubt, s.DoubtSince
	switch {
	case seen.Confirm && doubt == "":
		doubt, since = seen.Doubt, t.now
		if err := t.post(Message{Channel: "staff", Topic: "storage.doubt", Payload: map[string]any{"server": s.ServerID, "storage": s.Place(), "why": doubt}}); err != nil {
			return err
		}
	case clean && !seen.Confirm:
		doubt, since = "", time.Time{}
	}
	total := s.KnownTotal
	if seen.TrustTotal {
		total = l.TotalAfter
	}
	var external int
	if err := t.QueryRowContext(t.ctx, `SELECT count(*) FROM backups WHERE server_id = $1 AND node = $2 AND storage = $3 AND class = 'external' AND removed_at IS NULL`,
		l.ServerID, l.Node, l.Storage).Scan(&external); err != nil {
		return err
	}
	_, err := t.exec(`UPDATE storages SET doubt = $1, doubt_since = $2, known_total = $3, external = $4, listings = listings + $5,
			listed_at = CASE WHEN $5 = 1 THEN $6 ELSE listed_at END, confirmed = CASE WHEN $7 THEN 0 ELSE confirmed END WHERE id = $8`,
		doubt, orNull(since), total, external, clean, t.now.Unix(), seen.Authoritative, s.ID)
	return err
}
