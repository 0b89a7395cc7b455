package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"stowage/portal"
)

// ErrStale says that the row changed since it was read, or that another process holds the lease by now. Nothing
// was written: read again, or stop.
var ErrStale = errors.New("store: the operation changed meanwhile")

const operationColumns = `o.id, o.uid, o.reference, o.service_id, o.server_id, o.kind, o.state, o.step, o.schedule_id, o.slot_date, o.backup_id,
	o.victim_id, o.replace_id, o.timing, o.evicted, o.protect, o.note, o.mode, o.node, o.intent_at, o.intent_node, o.known_upids, o.no_task,
	o.clean_looks, o.upid, o.dump_place, o.delete_place, o.percent, o.done_bytes, o.total_bytes, o.rate, o.log_lines, o.progress_at, o.waits_for,
	o.manual, o.attempt, o.failures, o.run_after, o.start_by, o.give_up_at, o.watch_until, o.actor, o.retry_of, o.cancel_at, o.cancel_by,
	o.cancel_sent, o.reason, o.staff_reason, o.warning, o.created_at, o.started_at, o.ended_at, o.version, o.epoch, o.snapshot_id, o.after_id, o.work`

func scanOperation(s scanner) (v portal.Operation, err error) {
	var schedule, backup, victim, replace, retry, snapshot, after sql.NullInt64
	var intent, progress, run, start, give, watch, cancel, created, started, ended sql.NullInt64
	var slot, dump, remove sql.NullString
	var known, work string
	err = s.Scan(&v.ID, &v.UID, &v.Reference, &v.ServiceID, &v.ServerID, &v.Kind, &v.State, &v.Step, &schedule, &slot, &backup,
		&victim, &replace, &v.Timing, &v.Evicted, &v.Protect, &v.Note, &v.Mode, &v.Node, &intent, &v.IntentNode, &known, &v.NoTask,
		&v.CleanLooks, &v.UPID, &dump, &remove, &v.Percent, &v.DoneBytes, &v.TotalBytes, &v.Rate, &v.LogLines, &progress, &v.WaitsFor,
		&v.Manual, &v.Attempt, &v.Failures, &run, &start, &give, &watch, &v.Actor, &retry, &cancel, &v.CancelBy,
		&v.CancelSent, &v.Reason, &v.StaffReason, &v.Warning, &created, &started, &ended, &v.Version, &v.Epoch, &snapshot, &after, &work)
	if err != nil {
		return v, err
	}
	v.ScheduleID, v.SlotDate, v.BackupID, v.VictimID = schedule.Int64, slot.String, backup.Int64, victim.Int64
	v.ReplaceID, v.RetryOf, v.DumpPlace, v.DeletePlace = replace.Int64, retry.Int64, dump.String, remove.String
	v.IntentAt, v.ProgressAt, v.RunAfter, v.StartBy, v.GiveUpAt = at(intent), at(progress), at(run), at(start), at(give)
	v.WatchUntil, v.CancelAt, v.CreatedAt, v.StartedAt, v.EndedAt = at(watch), at(cancel), at(created), at(started), at(ended)
	v.SnapshotID, v.AfterID = snapshot.Int64, after.Int64
	return v, unjson([]string{known, work}, &v.KnownUPIDs, &v.Work)
}

func operations(ctx context.Context, q querier, where string, args ...any) ([]portal.Operation, error) {
	return collect(ctx, q, scanOperation, `SELECT `+operationColumns+` FROM operations o `+where, args...)
}

func operation(ctx context.Context, q querier, where string, args ...any) (portal.Operation, error) {
	v, err := scanOperation(q.QueryRowContext(ctx, `SELECT `+operationColumns+` FROM operations o `+where, args...))
	return v, missing(err)
}

// Operation gives one operation by id: for jobs.
func (db *DB) Operation(ctx context.Context, id int64) (portal.Operation, error) {
	return operation(ctx, db.read, `WHERE o.id = $1`, id)
}

// OperationByUID gives any operation by uid or reference: for staff and commands.
func (db *DB) OperationByUID(ctx context.Context, uid string) (portal.Operation, error) {
	return operation(ctx, db.read, `WHERE o.uid = $1 OR o.reference = $2`, uid, uid)
}

// ClientOperation gives one operation of a client's service.
func (db *DB) ClientOperation(ctx context.Context, clientID int64, serviceUID, uid string) (portal.Operation, error) {
	return operation(ctx, db.read, `JOIN services s ON s.id = o.service_id
		WHERE s.client_id = $1 AND s.uid = $2 AND o.uid = $3 AND s.state <> 'terminated'`, clientID, serviceUID, uid)
}

// DueTurns gives the running operations that are to be looked at now, the one that waits longest first. Queued ones
// wait for Claim.
func (db *DB) DueTurns(ctx context.Context, now time.Time, limit int) ([]int64, error) {
	return collect(ctx, db.read, func(s scanner) (id int64, err error) { return id, s.Scan(&id) },
		`SELECT id FROM operations WHERE state = 'running' AND run_after <= $1 ORDER BY run_after LIMIT +$2`, now.Unix(), limit)
}

// WatchedOperations gives ended operations of unknown outcome that are still looked for.
func (db *DB) WatchedOperations(ctx context.Context, limit int) ([]portal.Operation, error) {
	return operations(ctx, db.read, `WHERE o.watch_until IS NOT NULL ORDER BY o.run_after LIMIT +$1`, limit)
}

// Enqueue is the one door: it loads the service's situation inside the write transaction, asks the request, and
// inserts the operation it grants with its audit row. clientID 0 means any client's (staff, cron, commands);
// otherwise a foreign service is not found.
func (db *DB) Enqueue(ctx context.Context, clientID int64, serviceUID string, request portal.Request) (op portal.Operation, err error) {
	err = db.update(ctx, "enqueue", func(t *tx) error {
		where, args := `WHERE s.uid = $1`, []any{serviceUID}
		if clientID != 0 {
			where, args = `WHERE s.uid = $1 AND s.client_id = $2 AND s.state <> 'terminated'`, []any{serviceUID, clientID}
		}
		svc, err := scanService(t.QueryRowContext(ctx, `SELECT `+serviceColumns+` FROM services s `+where, args...))
		if err != nil {
			return missing(err)
		}
		situation, err := loadSituation(ctx, t, svc, t.now)
		if err != nil {
			return err
		}
		if op, err = request(situation); err != nil {
			return err
		}
		if err := t.saveFirst(&op, situation); err != nil {
			return err
		}
		return t.insertOperation(&op, situation)
	})
	return op, err
}

// referenceTries is how often another reference is taken where one is another operation's already. With forty
// million operations that is so for one in twenty.
const referenceTries = 10

// prepare fills in what every new operation has.
func (t *tx) prepare(op *portal.Operation, svc portal.Service) {
	op.UID = t.db.UID()
	op.ServiceID, op.ServerID, op.State, op.CreatedAt, op.Version = svc.ID, svc.ServerID, portal.StateQueued, t.now, 1
	op.Node = svc.Node
	if op.RunAfter.IsZero() {
		op.RunAfter = t.now
	}
}

// insertOperation adds a granted operation. What the schema refuses has become busy meanwhile.
func (t *tx) insertOperation(op *portal.Operation, s portal.Situation) error {
	t.prepare(op, s.Service)
	var err error
	for range referenceTries {
		op.Reference = t.db.reference()
		op.ID, err = t.insert(`INSERT INTO operations (uid, reference, service_id, server_id, kind, exclusive, state, step, schedule_id, slot_date,
				backup_id, replace_id, timing, protect, note, mode, node, manual, run_after, start_by, give_up_at, actor, retry_of, created_at,
				snapshot_id, after_id, work)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27)`,
			op.UID, op.Reference, op.ServiceID, op.ServerID, op.Kind, op.Kind.Exclusive(), op.State, op.Step, idOrNull(op.ScheduleID), textOrNull(op.SlotDate),
			idOrNull(op.BackupID), idOrNull(op.ReplaceID), op.Timing, op.Protect, op.Note, op.Mode, op.Node, op.Manual, unix(op.RunAfter), unix(op.StartBy),
			unix(op.GiveUpAt), op.Actor, idOrNull(op.RetryOf), t.now.Unix(), idOrNull(op.SnapshotID), idOrNull(op.AfterID), tojson(op.Work))
		if !unique(err, "operations.reference") {
			break
		}
	}
	if unique(err, "operations.") || unique(err, "operations_queued") {
		return portal.Refuse(portal.CodeBusy, "The same is waiting to be done already.")
	}
	if err != nil {
		return err
	}
	if err := t.giveSecret(op); err != nil {
		return err
	}
	t.touch(op.ServiceID)
	return t.audit(requested(op))
}

// requested is the audit row of a new operation.
func requested(op *portal.Operation) Entry {
	return Entry{Actor: op.Actor, Action: string(op.Kind) + ".request", Entity: "operation", EntityUID: op.UID, ServiceID: op.ServiceID,
		After: tojson(struct {
			Backup  int64  `json:"backup"`
			Note    string `json:"note"`
			Protect bool   `json:"protect"`
			Replace int64  `json:"replace"`
			Slot    string `json:"slot"`
			Action  string `json:"action,omitempty"`
			System  string `json:"system,omitempty"`
		}{op.BackupID, op.Note, op.Protect, op.ReplaceID, op.SlotDate, op.Work.Action, op.Work.Template})}
}

// loadSituation reads all that a request needs to know.
func loadSituation(ctx context.Context, q querier, svc portal.Service, now time.Time) (s portal.Situation, err error) {
	s.Service, s.Now = svc, now
	if s.Product, err = product(ctx, q, svc.ProductID); err != nil {
		return s, err
	}
	if s.Server, err = scanServer(q.QueryRowContext(ctx, `SELECT `+serverColumns+` FROM servers WHERE id = $1`, svc.ServerID)); err != nil {
		return s, err
	}
	if s.Operations, err = openOperations(ctx, q, svc.ID); err != nil {
		return s, err
	}
	if s.Backups, err = backupsOf(ctx, q, svc.ID, s.Operations); err != nil {
		return s, err
	}
	var zone string
	if err = q.QueryRowContext(ctx, `SELECT c.zone, s.snapshots_why FROM schedules c JOIN services s ON s.id = c.service_id WHERE c.service_id = $1`, svc.ID).Scan(&zone, &s.NoSnapshot); err != nil {
		return s, err
	}
	if s.Snapshots, err = snapshotsOf(ctx, q, svc.ID); err != nil {
		return s, err
	}
	if s.Product.Snapshots > 0 || len(s.Snapshots) > 0 {
		if s.Places, err = diskPlaces(ctx, q, svc.ServerID, svc.Node); err != nil {
			return s, err
		}
	}
	s.Location, err = portal.Zone(zone)
	return s, err
}

// Situation reads a service's situation as it stands: for jobs and pages.
func (db *DB) Situation(ctx context.Context, serviceID int64) (portal.Situation, error) {
	svc, err := service(ctx, db.read, serviceID)
	if err != nil {
		return portal.Situation{}, err
	}
	return loadSituation(ctx, db.read, svc, db.now())
}

// StepNote is one line of an operation's story.
type StepNote struct {
	At    time.Time
	Step  string
	What  string      // begun, done, waits, retry, failed, note
	Text  portal.Text // for the client
	Staff string      // exact, for staff
}

// TaskLog is the log of an ended task, kept because Proxmox forgets it within days.
type TaskLog struct {
	UPID string
	Exit string
	Log  string
	At   time.Time
}

// Changes is what a save writes beside the operation's row, in the same transaction.
type Changes struct {
	Steps      []StepNote
	Backup     *portal.Backup    // inserted when its ID is 0, and then named by the operation
	Snapshot   *portal.Snapshot  // inserted when its ID is 0, and then named by the operation
	NoSnapshot string            // the operation's snapshot is no more: how it went
	NoneLeft   string            // none of the machine's snapshots is any more: how they went
	NoteDue    bool              // a note that the copy has is to be written to its archive
	Follow     *portal.Operation // queued with it: what is left to be done
	RemovedID  int64             // a copy that is no more
	RemovedHow string
	Protected  *bool  // what is now seen of the operation's copy
	SlotState  string // of the operation's slot, when it ends: done, late, skipped, failed, missed
	SlotReason portal.Text
	Audit      []Entry
	Messages   []Message
	TaskLog    *TaskLog
}

// Save writes one move of the engine: the operation's row, on the condition that it is as it was read and that
// this process still holds the lease, and all that goes with it. On success op carries its new version. It
// gives ErrStale where the condition fails.
func (db *DB) Save(ctx context.Context, name string, op *portal.Operation, c Changes) error {
	next := *op
	next.Version++
	err := db.update(ctx, name, func(t *tx) error {
		if c.Backup != nil {
			if err := t.saveBackup(c.Backup); err != nil {
				return err
			}
			if next.BackupID == 0 {
				next.BackupID = c.Backup.ID
			}
		}
		if c.Snapshot != nil {
			if err := t.saveSnapshot(c.Snapshot, op.ID); err != nil {
				return err
			}
			next.SnapshotID = c.Snapshot.ID
		}
		if c.NoteDue && c.Backup != nil {
			if _, err := t.exec(`UPDATE backups SET note_due = $1 WHERE id = $2 AND note <> ''`, t.now.Unix(), c.Backup.ID); err != nil {
				return err
			}
		}
		if err := t.saveOperation(&next, op.Version); err != nil {
			return err
		}
		if c.RemovedID != 0 {
			if err := t.removeBackup(c.RemovedID, op.ID, c.RemovedHow); err != nil {
				return err
			}
		}
		if c.NoSnapshot != "" {
			if err := t.closeSnapshot(next.SnapshotID, op.ID, c.NoSnapshot); err != nil {
				return err
			}
		}
		if c.NoneLeft != "" {
			if _, err := t.exec(`UPDATE snapshots SET removed_at = $1, removed_by = $2, removed_how = $3 WHERE service_id = $4 AND removed_at IS NULL`,
				t.now.Unix(), op.ID, c.NoneLeft, op.ServiceID); err != nil {
				return err
			}
		}
		if c.Protected != nil {
			if _, err := t.exec(`UPDATE backups SET protected = $1 WHERE id = $2`, *c.Protected, next.BackupID); err != nil {
				return err
			}
		}
		if err := t.saveSlot(next, c); err != nil {
			return err
		}
		if c.Follow != nil {
			svc, err := service(ctx, t, op.ServiceID)
			if err != nil {
				return err
			}
			if err := t.insertOperation(c.Follow, portal.Situation{Service: svc}); err != nil && portal.CodeOf(err) != portal.CodeBusy {
				return err
			}
		}
		for _, n := range c.Steps {
			if _, err := t.exec(`INSERT INTO operation_steps (operation_id, at, step, what, text, staff) VALUES ($1, $2, $3, $4, $5, $6)`,
				op.ID, t.now.Unix(), n.Step, n.What, n.Text, n.Staff); err != nil {
				return err
			}
		}
		for _, e := range c.Audit {
			if err := t.audit(e); err != nil {
				return err
			}
		}
		for _, m := range c.Messages {
			if err := t.post(m); err != nil {
				return err
			}
		}
		if l := c.TaskLog; l != nil {
			if _, err := t.exec(`INSERT INTO task_logs (operation_id, upid, at, exit, log) VALUES ($1, $2, $3, $4, $5)
				ON CONFLICT (operation_id, upid) DO UPDATE SET exit = excluded.exit, log = excluded.log`, op.ID, l.UPID, t.now.Unix(), l.Exit, l.Log); err != nil {
				return err
			}
		}
		t.touch(op.ServiceID)
		return nil
	})
	if err == nil {
		*op = next
	}
	return err
}

// saveOperation writes the row on the condition that it still has the version that was read and that the lease
// is ours.
func (t *tx) saveOperation(o *portal.Operation, read int64) error {
	if o.Percent < 0 || o.Percent > 100 {
		return fmt.Errorf("percent %d", o.Percent)
	}
	o.Epoch = t.db.epoch.Load()
	return t.one(ErrStale, `UPDATE operations SET state = $1, step = $2, backup_id = $3, victim_id = $4, timing = $5, evicted = $6,
			node = CASE WHEN $1 = 'queued' THEN (SELECT s.node FROM services s WHERE s.id = service_id) ELSE $7 END,
			intent_at = $8, intent_node = $9, known_upids = $10, no_task = $11, clean_looks = $12, upid = $13, dump_place = $14, delete_place = $15,
			percent = $16, done_bytes = $17, total_bytes = $18, rate = $19, log_lines = $20, progress_at = $21, waits_for = $22, attempt = $23,
			failures = $24, run_after = $25, watch_until = $26, cancel_sent = $27, reason = $28, staff_reason = $29, warning = $30, started_at = $31,
			ended_at = $32, version = $33, epoch = $34, mode = $35, snapshot_id = $36, work = $37,
			secret = CASE WHEN $1 IN ('succeeded', 'failed', 'cancelled') THEN NULL ELSE secret END
		WHERE id = $38 AND version = $39 AND (SELECT epoch FROM lease WHERE id = 1) = $34`,
		o.State, o.Step, idOrNull(o.BackupID), idOrNull(o.VictimID), o.Timing, o.Evicted, o.Node,
		orNull(o.IntentAt), o.IntentNode, tojson(o.KnownUPIDs), o.NoTask, o.CleanLooks, o.UPID, textOrNull(o.DumpPlace), textOrNull(o.DeletePlace),
		o.Percent, o.DoneBytes, o.TotalBytes, o.Rate, o.LogLines, unix(o.ProgressAt), o.WaitsFor, o.Attempt,
		o.Failures, unix(o.RunAfter), orNull(o.WatchUntil), o.CancelSent, o.Reason, o.StaffReason, o.Warning, orNull(o.StartedAt),
		orNull(o.EndedAt), o.Version, o.Epoch, o.Mode, idOrNull(o.SnapshotID), tojson(o.Work), o.ID, read)
}

// Taken tells whether a save failed because the schema refused a place or the machine: somebody else was first.
func Taken(err error) bool {
	return unique(err, "operations.server_id") || unique(err, "operations.service_id") || unique(err, "operations_")
}

// RequestCancel records that a person wants an operation to end. One that waits ends at once; one that runs is
// stopped by the engine. clientID 0 means staff or a command.
func (db *DB) RequestCancel(ctx context.Context, clientID int64, serviceUID, uid, actor string) (op portal.Operation, err error) {
	err = db.update(ctx, "request cancel", func(t *tx) error {
		where, args := `WHERE o.uid = $1`, []any{uid}
		if clientID != 0 {
			where, args = `JOIN services s ON s.id = o.service_id WHERE o.uid = $1 AND s.client_id = $2 AND s.uid = $3 AND s.state <> 'terminated'`, []any{uid, clientID, serviceUID}
		}
		if op, err = operation(ctx, t, where, args...); err != nil {
			return err
		}
		if clientID != 0 {
			if err := t.notSuspended(op.ServiceID); err != nil {
				return err
			}
		}
		switch {
		case op.State.Final():
			return portal.Refuse(portal.CodeConflict, "This has ended already.")
		case op.State == portal.StateHeld:
			return portal.Refuse(portal.CodeBusy, "Our team is looking at this operation. It can't be cancelled now.")
		case !op.CancelAt.IsZero():
			return portal.Refuse(portal.CodeConflict, "It is being cancelled already.")
		case op.State == portal.StateRunning && op.Kind != portal.KindBackup:
			return portal.Refuse(portal.CodeConflict, "This is nearly done and can't be stopped any more.")
		case op.State == portal.StateRunning && (op.Step == portal.StepVerify || op.Step == portal.StepEvict && op.Timing == portal.TimingAfter):
			return portal.Refuse(portal.CodeConflict, "The backup is made already; it is only being checked.")
		}
		if op.State == portal.StateQueued {
			text, why := portal.Text("Cancelled before it began."), portal.Text("cancelled before it began")
			if op.Evicted && op.Timing == portal.TimingBefore {
				text = portal.CancelledEvicted
				why = text
			} else if op.Attempt > 0 {
				text, why = portal.Cancelled, "cancelled"
			}
			if err := t.endQueued(&op, portal.StateCancelled, text, "skipped", why); err != nil {
				return err
			}
			if err := t.cancelBefore(op, actor); err != nil {
				return err
			}
		} else if err := t.one(ErrStale, `UPDATE operations SET cancel_at = $1, cancel_by = $2, run_after = $3, version = version + 1 WHERE id = $4 AND version = $5`,
			t.now.Unix(), actor, t.now.Unix(), op.ID, op.Version); err != nil {
			return err
		}
		t.touch(op.ServiceID)
		return t.audit(Entry{Actor: actor, Action: "operation.cancel", Entity: "operation", EntityUID: op.UID, ServiceID: op.ServiceID, Before: string(op.State)})
	})
	return op, err
}

// SkipQueued ends a scheduled backup that waits, by staff's word: its date is skipped, and the next one on the
// schedule runs as usual.
func (db *DB) SkipQueued(ctx context.Context, uid, actor, reason string) (op portal.Operation, err error) {
	if reason == "" {
		return op, portal.Invalid("reason", "Say why: the reason goes into the audit log.")
	}
	err = db.update(ctx, "skip", func(t *tx) error {
		if op, err = operation(ctx, t, `WHERE o.uid = $1 OR o.reference = $2`, uid, uid); err != nil {
			return err
		}
		if op.State != portal.StateQueued || !op.Scheduled() {
			return portal.Refuse(portal.CodeConflict, "Only a scheduled backup that waits can be skipped.")
		}
		if err := t.endQueued(&op, portal.StateCancelled, "Skipped by our team.", string(portal.SlotSkipped), "skipped by our team"); err != nil {
			return err
		}
		return t.audit(Entry{Actor: actor, Action: "operation.skip", Entity: "operation", EntityUID: op.UID, ServiceID: op.ServiceID, After: reason})
	})
	return op, err
}

// endQueued ends an operation that waits, with its slot.
func (t *tx) endQueued(op *portal.Operation, state portal.State, reason portal.Text, slotState string, slotReason portal.Text) error {
	if err := t.one(ErrStale, `UPDATE operations SET state = $1, reason = $2, secret = NULL, ended_at = $3, version = version + 1 WHERE id = $4 AND version = $5 AND state = 'queued'`,
		state, reason, t.now.Unix(), op.ID, op.Version); err != nil {
		return err
	}
	op.State, op.Reason, op.EndedAt, op.Version = state, reason, t.now, op.Version+1
	t.touch(op.ServiceID)
	// Attempts may have been made: nothing came of the copy that they were to make.
	if _, err := t.exec(`UPDATE backups SET class = 'failed', reason = $1, ended_at = $2, removed_at = $2, removed_how = 'never made', removed_by = $3
		WHERE operation_id = $3 AND class = 'running' AND volid IS NULL`, reason, t.now.Unix(), op.ID); err != nil {
		return err
	}
	return t.saveSlot(*op, Changes{SlotState: slotState, SlotReason: slotReason})
}

// Release ends a held operation by a person's word, with the reason they gave.
func (db *DB) Release(ctx context.Context, uid, actor, reason string) (op portal.Operation, err error) {
	if reason == "" {
		return op, portal.Invalid("reason", "Say why: the reason goes into the audit log.")
	}
	err = db.update(ctx, "release", func(t *tx) error {
		if op, err = operation(ctx, t, `WHERE o.uid = $1 OR o.reference = $2`, uid, uid); err != nil {
			return err
		}
		if op.State != portal.StateHeld {
			return portal.Refuse(portal.CodeConflict, "Only a held operation is released; this one is %s.", op.State.Word())
		}
		if err := t.one(ErrStale, `UPDATE operations SET state = 'failed', secret = NULL, dump_place = NULL, delete_place = NULL, ended_at = $1,
				reason = $2, staff_reason = $3, version = version + 1 WHERE id = $4 AND version = $5`,
			t.now.Unix(), portal.Text("Our team ended it by hand."), "released: "+reason, op.ID, op.Version); err != nil {
			return err
		}
		op.State, op.EndedAt = portal.StateFailed, t.now
		if err := t.saveSlot(op, Changes{SlotState: "failed", SlotReason: "ended by our team"}); err != nil {
			return err
		}
		if _, err := t.exec(`UPDATE backups SET class = 'failed', ended_at = $1 WHERE operation_id = $2 AND class = 'running'`, t.now.Unix(), op.ID); err != nil {
			return err
		}
		if _, err := t.exec(`UPDATE snapshots SET state = 'failed' WHERE made_by = $1 AND state = 'taking'`, op.ID); err != nil {
			return err
		}
		t.touch(op.ServiceID)
		return t.audit(Entry{Actor: actor, Action: "operation.release", Entity: "operation", EntityUID: op.UID, ServiceID: op.ServiceID, After: reason})
	})
	return op, err
}

// Resume lets a held operation go on where it stands.
func (db *DB) Resume(ctx context.Context, uid, actor string) (op portal.Operation, err error) {
	err = db.update(ctx, "resume", func(t *tx) error {
		if op, err = operation(ctx, t, `WHERE o.uid = $1 OR o.reference = $2`, uid, uid); err != nil {
			return err
		}
		if op.State != portal.StateHeld {
			return portal.Refuse(portal.CodeConflict, "Only a held operation can go on; this one is %s.", op.State.Word())
		}
		if err := t.one(ErrStale, `UPDATE operations SET state = 'running', failures = 0, progress_at = $1, run_after = $1, reason = '', version = version + 1,
				attempt = CASE WHEN $2 THEN 0 ELSE attempt END, give_up_at = CASE WHEN $2 THEN max(give_up_at, $3) ELSE give_up_at END
			WHERE id = $4 AND version = $5`, t.now.Unix(), op.Work.Broken, t.now.Add(portal.GiveUpAfter).Unix(), op.ID, op.Version); err != nil {
			return err
		}
		t.touch(op.ServiceID)
		return t.audit(Entry{Actor: actor, Action: "operation.resume", Entity: "operation", EntityUID: op.UID, ServiceID: op.ServiceID})
	})
	return op, err
}

// Steps gives an operation's story, oldest first.
func (db *DB) Steps(ctx context.Context, operationID int64) ([]StepNote, error) {
	return collect(ctx, db.read, func(s scanner) (n StepNote, err error) {
		var when int64
		err = s.Scan(&when, &n.Step, &n.What, &n.Text, &n.Staff)
		n.At = time.Unix(when, 0).UTC()
		return n, err
	}, `SELECT at, step, what, text, staff FROM operation_steps WHERE operation_id = $1 ORDER BY id`, operationID)
}

// TaskLogs gives the kept logs of an operation's tasks, oldest first: for staff.
func (db *DB) TaskLogs(ctx context.Context, operationID int64) ([]TaskLog, error) {
	return collect(ctx, db.read, func(s scanner) (l TaskLog, err error) {
		var when int64
		err = s.Scan(&l.UPID, &when, &l.Exit, &l.Log)
		l.At = time.Unix(when, 0).UTC()
		return l, err
	}, `SELECT upid, at, exit, log FROM task_logs WHERE operation_id = $1 ORDER BY at, upid`, operationID)
}

// OurUPIDs gives the UPIDs of an operation family's tasks that are known: those of every operation of a service.
func (db *DB) OurUPIDs(ctx context.Context, serverID int64) (map[string]bool, error) {
	upids, err := collect(ctx, db.read, func(s scanner) (v string, err error) { return v, s.Scan(&v) },
		`SELECT upid FROM operations WHERE server_id = $1 AND upid <> '' AND state IN ('running', 'held')`, serverID)
	out := make(map[string]bool, len(upids))
	for _, u := range upids {
		out[u] = true
	}
	return out, err
}

// EndWatch ends the watch over an operation of unknown outcome: nothing came of it.
func (db *DB) EndWatch(ctx context.Context, op portal.Operation) error {
	return db.update(ctx, "end watch", func(t *tx) error {
		if _, err := t.exec(`UPDATE operations SET watch_until = NULL WHERE id = $1`, op.ID); err != nil {
			return err
		}
		if op.BackupID == 0 {
			return nil
		}
		var lost bool
		err := t.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM backups WHERE id = $1 AND volid IS NULL AND removed_at IS NULL)`, op.BackupID).Scan(&lost)
		if err != nil || !lost {
			return err
		}
		return t.removeBackup(op.BackupID, op.ID, "never made")
	})
}

// ServiceOperations gives the operations of a service before the id before (0 = the newest), newest first.
func (db *DB) ServiceOperations(ctx context.Context, serviceID, before int64, limit int) ([]portal.Operation, error) {
	if before == 0 {
		before = 1 << 62
	}
	return operations(ctx, db.read, `WHERE o.service_id = $1 AND o.id < $2 ORDER BY o.id DESC LIMIT +$3`, serviceID, before, limit)
}
