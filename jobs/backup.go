package jobs

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"stowage/portal"
	"stowage/pve"
	"stowage/store"
)

// dumpStep makes the archive.
var dumpStep = step{look: lookDump, intend: intendDump, send: sendDump, next: afterDump, failed: dumpFailed}

// lookDump observes the vzdump: by its UPID, or by looking whether an earlier life of ours started one.
func lookDump(t *turn) (seen portal.Sight, err error) {
	if t.op.UPID == "" && t.op.IntentAt.IsZero() {
		return seen, nil
	}
	seen.Task, seen.Grew, err = t.lookTask()
	if err != nil {
		return seen, err
	}
	if t.op.UPID == "" {
		if t.op.NoTask {
			return seen, nil
		}
		if seen.Found, seen.Clean, err = t.find(); err != nil {
			return seen, err
		}
		if seen.Found != "" {
			return seen, nil
		}
		// The task list may have forgotten a request that had its effect long ago: the archive carries our mark.
		seen.Done, err = t.lookArchive("")
		if err != nil {
			seen.Clean = false
			return seen, err
		}
		return seen, nil
	}
	if seen.Task == portal.TaskRunning {
		t.progress()
		seen.Grew = seen.Grew || t.parsed.Waiting // in the host's line, which lockwait bounds, silence is no standstill
		return seen, nil
	}
	if err := t.load(); err != nil {
		return seen, err
	}
	switch seen.Task {
	case portal.TaskUnreachable, portal.TaskRefused:
		return seen, nil
	}
	seen.Done, err = t.lookArchive(t.parsed.Archive)
	if seen.Done && seen.Task == portal.TaskFailed && !t.parsed.Finished {
		seen.Done = false // an archive of that name without a good end is a torso
	}
	if (seen.Task == portal.TaskEnded || t.parsed.Finished) && !seen.Done && err == nil {
		// The task says that it is made, and the listing doesn't show it. One of both is wrong: look again.
		if t.now.Sub(t.op.ProgressAt) < unlistedFor || t.now.Before(t.op.StartBy) && (t.doubted || t.there(t.parsed.Archive)) {
			seen.Task = portal.TaskUnreachable
		}
	}
	if seen.Done && seen.Task == portal.TaskEnded && !t.parsed.Ended && t.now.Sub(t.op.ProgressAt) < unlistedFor {
		seen.Task, seen.Done = portal.TaskUnreachable, false // an ended task's log has a last line: this one wasn't read whole
	}
	return seen, err
}

// unlistedFor is how long an archive may stay unlisted that its task says was made, before that counts as a
// failed attempt: a storage may be away meanwhile, and a second backup for one slot is worse than a late word.
const unlistedFor = 30 * time.Minute

// lookArchive sees whether the archive of this operation is listed: the one that the log names, or one with our
// mark.
func (t *turn) lookArchive(volid string) (bool, error) {
	row, err := t.place(cmp.Or(t.op.IntentNode, t.op.Node), t.sit.Product.Storage)
	if err != nil {
		return false, err
	}
	seen, archives, err := t.list(row, cmp.Or(t.op.IntentNode, t.op.Node))
	if err != nil {
		return false, err
	}
	t.doubted = !seen.Authoritative || t.lacks(row)
	if seen.Jumped {
		return false, nil // something else may be mounted there: what lies on it now may be gone with it
	}
	for _, a := range archives {
		if t.known(row, a.Volid) {
			continue // of an earlier attempt
		}
		m, _, valid := portal.ReadMark(a.FirstLine, t.e.db.MarkKey())
		if a.Volid == volid && volid != "" || valid && m.Operation == t.op.UID && m.Installation == t.e.db.Installation() {
			t.archive = &a
			return true, nil
		}
	}
	return false, nil
}

// there asks the storage for an archive by its name, which no listing that was cut short can hide. Only a storage that
// says that it hasn't got it has not.
func (t *turn) there(volid string) bool {
	if volid == "" {
		return false
	}
	_, err := t.link.client.Archive(t, cmp.Or(t.op.IntentNode, t.op.Node), t.sit.Product.Storage, volid)
	return pve.ClassOf(err) != pve.Gone
}

// lacks tells whether a copy on the storage is absent since this operation was there, believed missing or not: then
// the storage shows less than it has, or loses what it had.
func (t *turn) lacks(row store.StorageRow) bool {
	return slices.ContainsFunc(t.sit.Backups, func(b portal.Backup) bool {
		return b.Node+"/"+b.Storage == row.Place() && !b.MissingSince.Before(t.op.CreatedAt.Add(-missingBefore))
	})
}

// missingBefore is how long before an operation a copy may have vanished for that to cast doubt on the storage.
const missingBefore = 6 * time.Hour

// known tells whether an archive has a row other than that of the copy being made.
func (t *turn) known(row store.StorageRow, volid string) bool {
	return slices.ContainsFunc(t.sit.Backups, func(b portal.Backup) bool {
		return b.Volid == volid && b.Node+"/"+b.Storage == row.Place() && b.ID != t.op.BackupID
	})
}

// progress keeps how far the log says the dump is.
func (t *turn) progress() {
	p := t.parsed
	t.op.Percent = min(max(p.Percent, 0), 100)
	t.op.DoneBytes, t.op.TotalBytes, t.op.Rate = p.TransferredBytes, p.TotalBytes, p.ReadRate
	t.op.WaitsFor = ""
	if p.Waiting {
		t.op.WaitsFor = portal.WaitNode
	}
}

// find looks for a vzdump that this operation started without learning of it. Clean is false where a task list
// could not be read whole.
func (t *turn) find() (found string, clean bool, err error) {
	nodes := []string{t.op.IntentNode}
	if t.sit.Service.Node != "" && t.sit.Service.Node != t.op.IntentNode {
		nodes = append(nodes, t.sit.Service.Node)
	}
	clean = true
	for _, node := range nodes {
		tasks, err := t.link.client.Tasks(t, node, pve.TaskFilter{Source: "all", Type: "vzdump", VMID: t.sit.Service.VMID, Limit: 500})
		if err != nil {
			if pve.ClassOf(err) == "" {
				return "", false, err
			}
			t.op.StaffReason = err.Error()
			clean = false
			continue
		}
		for _, task := range tasks {
			if slices.Contains(t.op.KnownUPIDs, task.UPID.String()) || task.UPID.Owner() != t.link.server.TokenID {
				continue
			}
			mine, sure, err := t.mine(task)
			if err != nil {
				return "", false, err
			}
			if mine {
				return task.UPID.String(), true, nil
			}
			clean = clean && sure
		}
	}
	return "", clean, nil
}

// mine tells whether a vzdump of our token is this operation's: its log's first line carries the mark before any
// archive exists. One that still waits for the host's lock has no such line; it was not there before we asked,
// and nobody else uses our token, so it is ours.
func (t *turn) mine(task pve.Task) (mine, sure bool, err error) {
	lines, _, err := t.link.client.TaskLog(t, task.UPID, 0, 10)
	if err != nil {
		if pve.ClassOf(err) == "" {
			return false, false, err
		}
		return false, false, nil
	}
	parsed := pve.ParseVzdumpLog(lines)
	if parsed.Mark == "" {
		return parsed.Waiting || task.Running, !task.Running, nil
	}
	m, _, valid := portal.ReadMark(parsed.Mark, t.e.db.MarkKey())
	return valid && m.Operation == t.op.UID, true, nil
}

// mark is what the archive's notes begin with.
func (t *turn) mark() string {
	return portal.Mark{Installation: t.e.db.Installation(), Service: t.sit.Service.UID, Operation: t.op.UID}.Sign(t.e.db.MarkKey())
}

// intendDump writes down which vzdumps of the machine are there already, and the row of the copy to come.
func intendDump(t *turn) error {
	if !t.now.Before(t.op.StartBy) {
		return t.over(t.tooLate())
	}
	tasks, err := t.link.client.Tasks(t, t.op.Node, pve.TaskFilter{Source: "all", Type: "vzdump", VMID: t.sit.Service.VMID, Limit: 500})
	if err != nil {
		return t.over(t.cannotLook(err))
	}
	t.op.KnownUPIDs = nil
	for _, task := range tasks {
		t.op.KnownUPIDs = append(t.op.KnownUPIDs, task.UPID.String())
	}
	t.op.IntentNode = t.op.Node
	row, err := t.place(t.op.Node, t.sit.Product.Storage)
	if err != nil {
		return t.over(t.cannotLook(err))
	}
	b := portal.Backup{Class: portal.ClassRunning}
	if t.op.BackupID != 0 {
		if old, ok := t.copyRow(t.op.BackupID); ok && old.Class == portal.ClassRunning && old.Volid == "" {
			b = old
		} else {
			t.op.BackupID = 0
		}
	}
	b.ServiceID, b.ServerID, b.Node, b.Storage, b.VMID = t.op.ServiceID, t.op.ServerID, row.Node, row.Name, t.sit.Service.VMID
	b.Origin, b.Mode, b.StartedAt, b.OperationID, b.Note = portal.OriginScheduled, t.op.Mode, t.now, t.op.ID, t.op.Note
	if t.op.Manual {
		b.Origin = portal.OriginManual
	}
	if t.op.Work.Safety {
		b.Origin, b.KeepUntil = portal.OriginBeforeRestore, t.now.Add(portal.SafetyKeep)
	}
	t.changes.Backup = &b
	t.changes.Audit = append(t.changes.Audit, store.Entry{Actor: "engine", Action: "pve.vzdump", Entity: "operation", EntityUID: t.op.UID, ServiceID: t.op.ServiceID,
		After: fmt.Sprintf("node %s vmid %d storage %s", t.op.Node, t.sit.Service.VMID, row.Place())})
	t.note("begun", "The backup begins.", "vzdump on "+t.op.Node)
	t.op.Percent, t.op.DoneBytes, t.op.TotalBytes, t.op.Rate, t.op.LogLines = 0, 0, 0, 0, 0
	return nil
}

func sendDump(t *turn) (string, error) {
	p := t.sit.Product
	fleecing := ""
	if p.Fleecing != "" {
		fleecing = "enabled=1,storage=" + p.Fleecing
	}
	upid, err := t.link.client.Vzdump(t, t.op.Node, pve.VzdumpRequest{
		VMID: t.sit.Service.VMID, Storage: p.Storage, Mode: t.op.Mode, Compress: p.Compress, Notes: t.mark(),
		BandwidthKiB: p.BWLimit, LockWait: t.lockWait(), Fleecing: fleecing,
	})
	return upid.String(), err
}

// afterDump judges the archive that is there now. Only a complete one ends the work; a torso is a failed attempt.
func afterDump(t *turn) error {
	b, err := t.e.db.Backup(t, t.op.BackupID)
	if err != nil {
		return err
	}
	t.describe(&b)
	result := portal.BackupResult{
		TaskOK: t.taskExit == "" || t.taskExit == "OK" || strings.HasPrefix(t.taskExit, "WARNINGS") || t.parsed.Finished, Warnings: len(t.parsed.Warnings),
		Listed: true, Size: t.archive.Size, VerifyFailed: t.archive.Verification == "failed", PreviousComplete: previousSize(t.sit.Backups, b.ID),
	}
	for _, d := range b.DisksIn {
		result.LogTotal += d.Size
	}
	result.DisksTotal = t.expectedBytes(result.LogTotal)
	if t.taskExit == "" || !t.parsed.Ended && !t.parsed.Finished {
		// The task or its log is forgotten. The mark is only written when the archive is whole.
		result.LogTotal, result.DisksTotal = 1, 1
	}
	b.Class, b.Reason = portal.Judge(result)
	b.EndedAt = t.now
	t.changes.Backup, t.changes.NoteDue = &b, true
	if b.Class != portal.ClassGood && b.Class != portal.ClassSuspect {
		t.failure = b.Reason.String()
		t.op.BackupID = 0 // the torso keeps its row; the next attempt gets its own
		return t.attemptFailed(b.Reason)
	}
	t.note("done", portal.Say("The backup is made: %s.", portal.Size(b.Size)), b.Volid)
	t.op.Percent, t.op.DumpPlace = 100, ""
	if t.op.Scheduled() && t.op.Timing == portal.TimingNone && len(portal.Counted(t.asMine())) >= t.sit.Service.QuotaIn(t.sit.Product) {
		t.op.Timing = portal.TimingAfter // copies that were believed missing are back: the place wasn't free
	}
	if t.op.Timing == portal.TimingAfter {
		t.op.Step, t.op.RunAfter, t.op.Attempt = portal.StepEvict, t.now, 0
		return t.save("dumped")
	}
	return t.succeed(&b)
}

// describe fills in what log and listing tell of the archive.
func (t *turn) describe(b *portal.Backup) {
	a, p := t.archive, t.parsed
	b.Volid, b.CTime, b.Size, b.SeenAt = a.Volid, a.CTime, a.Size, t.now
	b.Protected, b.Verification, b.Encrypted, b.UPID = a.Protected, a.Verification, a.Encrypted, t.op.UPID
	if p.Mode != "" {
		b.Mode = p.Mode
	}
	b.Consistent = p.Consistent()
	b.DisksIn, b.DisksOut = nil, nil
	for _, d := range p.Disks {
		disk := portal.Disk{Key: d.Key, Size: d.SizeBytes, Backup: d.Included}
		if d.Included {
			b.DisksIn = append(b.DisksIn, disk)
		} else {
			b.DisksOut = append(b.DisksOut, disk)
		}
	}
}

// expectedBytes gives how many bytes of disks were to be in the archive: those of the machine's config, or where
// it has none at hand what the log says.
func (t *turn) expectedBytes(logged int64) int64 {
	var sum int64
	for _, d := range t.sit.Service.Hardware.Disks {
		if d.Backup {
			sum += d.Size
		}
	}
	if sum == 0 {
		return logged
	}
	return sum
}

func previousSize(backups []portal.Backup, except int64) int64 {
	for _, b := range backups { // newest first
		if b.ID != except && b.Complete() && b.Class == portal.ClassGood {
			return b.Size
		}
	}
	return 0
}

// succeed ends a backup well.
func (t *turn) succeed(b *portal.Backup) error {
	if b == nil {
		row, err := t.e.db.Backup(t, t.op.BackupID)
		if err != nil {
			return err
		}
		b = &row
	}
	slot := portal.SlotDone
	if t.op.Scheduled() {
		if s, err := t.e.db.Slot(t, t.op.ServiceID, t.op.ScheduleID, t.op.SlotDate); err == nil && b.StartedAt.Sub(s.DueAt) > portal.LateAfter {
			slot = portal.SlotLate
			t.changes.SlotReason = portal.Say("began %s late", portal.Duration(b.StartedAt.Sub(s.DueAt)))
		}
	}
	text := portal.InYourList
	if b.Class == portal.ClassSuspect {
		text = portal.Sentences(text, b.Reason)
	}
	if t.changes.Follow == nil {
		t.changes.Follow = t.clearUp()
	}
	if !t.hasOther(b.ID) {
		t.tell("backup.first_good", text)
	}
	return t.end(portal.StateSucceeded, text, b.Volid, slot)
}

// clearUp is the operation that removes what a failed backup of an earlier day left behind, or nil.
func (t *turn) clearUp() *portal.Operation {
	left := portal.Evict(t.asMine(), t.sit.Service.QuotaIn(t.sit.Product), t.sit.Product.Policy, t.now).Clear
	if len(left) == 0 {
		return nil
	}
	return t.removal(left[0].ID, "engine")
}

// hasOther tells whether the service has another complete copy than this one.
func (t *turn) hasOther(id int64) bool {
	return slices.ContainsFunc(t.sit.Backups, func(b portal.Backup) bool { return b.ID != id && b.Complete() })
}

func dumpFailed(t *turn) error {
	// A killed or stopped vzdump may leave an archive behind that was complete before its task ended badly.
	return t.attemptFailed(plain(t.failure))
}

// attemptFailed counts a failed attempt: again after a pause, or the end.
func (t *turn) attemptFailed(text portal.Text) error {
	if !t.op.CancelAt.IsZero() {
		return t.cancelled()
	}
	t.op.Attempt++
	others := len(portal.Counted(t.sit.Copies()))
	if t.op.BackupID != 0 {
		if b, ok := t.copyRow(t.op.BackupID); ok && b.Complete() {
			others--
		}
	}
	untouched := portal.Text("You have no other backup yet.")
	if others > 0 {
		untouched = portal.Count(others, "Your other backup is untouched.", "Your other %d backups are untouched.")
	}
	at, more := portal.NextAttempt(t.op.Attempt, t.op.Mode, t.op.StartedAt, t.now, t.op.StartBy)
	if t.op.Manual && t.op.Attempt >= 2 {
		more = false
	}
	t.op.Reason = text
	if !more {
		return t.end(portal.StateFailed, portal.Sentences(text, untouched), t.failure, portal.SlotFailed)
	}
	t.note("retry", portal.Sentences(text, "It is tried again."), t.failure)
	again := portal.Say("It is tried again in %s.", portal.Duration(at.Sub(t.now)))
	return t.requeue(portal.Sentences(text, again), t.failure, at.Sub(t.now), true)
}
