package jobs

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"stowage/portal"
	"stowage/pve"
	"stowage/store"
)

// evictStep removes the copy that makes room, before the dump or after it. The victim is chosen from a listing
// made in the very turn that sends the deletion.
var evictStep = step{look: lookEvict, intend: intendEvict, send: sendRemoval, next: afterEvict, failed: evictFailed}

// afterTries is how often the removal after a good backup is tried before it is left to the next slot.
const afterTries = 3

func lookEvict(t *turn) (seen portal.Sight, err error) {
	if t.op.IntentAt.IsZero() && t.op.UPID == "" {
		return seen, t.chooseVictim()
	}
	return lookVictim(t, t.op.VictimID)
}

// lookVictim observes a removal that was asked for. Asking again is harmless, so nothing has to settle.
func lookVictim(t *turn, id int64) (seen portal.Sight, err error) {
	if seen.Task, seen.Grew, err = t.lookTask(); err != nil || seen.Task == portal.TaskRunning || seen.Task == portal.TaskUnreachable {
		return seen, err
	}
	b, ok := t.copyRow(id)
	if !ok {
		seen.Done = true // its row says removed
		return seen, nil
	}
	gone, clean, err := t.lookRemoval(b)
	if err != nil {
		return seen, err
	}
	seen.Done = gone && clean
	seen.Clean, seen.Repeatable = clean, true
	if !clean && t.op.UPID != "" {
		seen.Task = portal.TaskUnreachable // no verdict without authority: look again later
	}
	return seen, nil
}

// chooseVictim asks the rules which copy goes, on a listing made just now. It ends the step where none has to,
// or waits where none may.
func (t *turn) chooseVictim() error {
	node := t.op.Node
	row, err := t.place(node, t.sit.Product.Storage)
	if err != nil {
		return err
	}
	seen, elsewhere, err := t.listAll(row, node)
	if err != nil {
		return err
	}
	if elsewhere != "" {
		return t.evictLater("listing without authority: " + elsewhere)
	}
	if !seen.Authoritative {
		return t.evictLater("listing without authority: " + seen.Doubt)
	}
	byHand := t.op.ReplaceID != 0 && t.op.Timing == portal.TimingAfter
	if !byHand {
		if why, err := t.guard(row); err != nil {
			return err
		} else if why != "" {
			return t.evictLater(why)
		}
	}
	copies := t.asMine()
	quota := t.sit.Service.QuotaIn(t.sit.Product)
	var e portal.Eviction
	if t.op.Timing == portal.TimingAfter {
		made, ok := t.copyRow(t.op.BackupID)
		if !ok {
			return t.succeedWithWarning("the new copy's row is gone")
		}
		chosen := ""
		if t.op.ReplaceID != 0 {
			if b, ok := t.copyRow(t.op.ReplaceID); ok {
				chosen = b.UID
			} else {
				return t.succeed(nil) // the customer's choice is gone already
			}
		}
		limit := max(quota, len(portal.Counted(copies))-1)
		if t.op.Manual {
			limit = len(portal.Counted(copies)) // a manual backup removes nothing that wasn't chosen
		}
		e = portal.EvictAfterBackup(copies, limit, made.UID, chosen)
		if e.Victim == nil && e.Why == portal.WhyInUse {
			return t.succeedWithWarning(e.Reason.String())
		}
		if e.Victim == nil {
			return t.succeed(nil)
		}
	} else {
		e = portal.Evict(copies, quota, t.sit.Product.Policy, t.now)
		if e.Skip || e.Victim == nil || e.Timing != portal.TimingBefore {
			// The world changed since preflight: look at it as a whole again.
			t.op.Step, t.op.RunAfter = portal.StepPreflight, t.now
			t.op.State = portal.StateRunning
			return t.restart()
		}
	}
	if b, ok := t.copyRow(e.Victim.ID); ok && !byHand && b.Node+"/"+b.Storage != row.Place() {
		there, err := t.place(b.Node, b.Storage) // left behind on another host: what holds there counts
		if err != nil {
			return err
		}
		if why, err := t.guard(there); err != nil {
			return err
		} else if why != "" {
			return t.evictLater(why)
		}
	}
	t.victim = e.Victim
	return nil
}

// restart goes back to preflight within the same run.
func (t *turn) restart() error {
	err := t.save("restart")
	if err == nil {
		err = errRestarted
	}
	return err
}

// errRestarted says that look has saved a move of its own and the turn is over.
var errRestarted = errors.New("jobs: the turn is over")

// evictLater waits with a deletion that may not be made now: before the dump the whole operation goes back to the
// queue; after it the machine is not held up for long.
func (t *turn) evictLater(why string) error {
	if t.op.Timing == portal.TimingBefore {
		return t.over(t.later(noPlace, why, time.Minute))
	}
	t.op.Attempt++
	if t.op.Attempt >= afterTries {
		return t.succeedWithWarning(why)
	}
	t.op.RunAfter, t.op.StaffReason = t.now.Add(time.Minute), why
	return t.over(t.save("evict later"))
}

// over tells take that the turn is over where err is nil.
func (t *turn) over(err error) error {
	if err == nil {
		return errRestarted
	}
	return err
}

func intendEvict(t *turn) error {
	if t.victim == nil {
		return fmt.Errorf("no victim chosen")
	}
	b, ok := t.copyRow(t.victim.ID)
	if !ok {
		return fmt.Errorf("the victim %s has no row", t.victim.UID)
	}
	t.op.VictimID = b.ID
	return t.intendRemoval(b, "evict", portal.Say("Makes room: removes the backup of %s.", t.when(b)))
}

// intendRemoval writes down which archive is about to be deleted, and takes the storage's one place for it.
func (t *turn) intendRemoval(b portal.Backup, action string, text portal.Text) error {
	t.op.IntentNode, t.op.DeletePlace = t.askNode(b), b.Node+"/"+b.Storage
	t.changes.Audit = append(t.changes.Audit, store.Entry{Actor: "engine", Action: "pve.delete", Entity: "backup", EntityUID: b.UID, ServiceID: t.op.ServiceID, Before: b.Volid, After: action + " by " + t.op.UID})
	t.note("begun", text, b.Volid)
	return nil
}

// sendRemoval deletes the archive that the intent names.
func sendRemoval(t *turn) (string, error) {
	id := t.op.VictimID
	if t.op.Kind == portal.KindDelete {
		id = t.op.BackupID
	}
	b, err := t.e.db.Backup(t, id)
	if err != nil {
		return "", err
	}
	upid, err := t.link.client.DeleteArchive(t, t.op.IntentNode, b.Storage, b.Volid)
	return upid.String(), err
}

func afterEvict(t *turn) error {
	how := "evicted"
	if t.op.ReplaceID == t.op.VictimID {
		how = "by client"
	}
	t.changes.RemovedID, t.changes.RemovedHow = t.op.VictimID, how
	t.op.Evicted, t.op.DeletePlace = true, ""
	if b, ok := t.copyRow(t.op.VictimID); ok {
		t.note("done", portal.Say("Removed the backup of %s.", t.when(b)), b.Volid)
	}
	if t.op.Timing == portal.TimingAfter {
		return t.succeed(nil)
	}
	if !t.op.CancelAt.IsZero() {
		return t.cancelled()
	}
	t.op.Step, t.op.RunAfter = portal.StepDump, t.now
	return t.save("evicted")
}

// evictFailed decides what a removal that failed means: before the dump a failed attempt, after it a few more
// tries and then a warning, because the new copy is there.
func evictFailed(t *turn) error {
	t.op.DeletePlace = ""
	if t.op.Timing == portal.TimingBefore {
		return t.attemptFailed("The oldest backup could not be removed to make room.")
	}
	t.op.Attempt++
	if t.op.Attempt >= afterTries {
		return t.succeedWithWarning(t.failure)
	}
	t.op.RunAfter = t.now.Add(30 * time.Second)
	t.note("retry", "The oldest backup could not be removed yet; it is tried again.", t.failure)
	return t.save("evict again")
}

// succeedWithWarning ends a backup well whose removal did not work. The removal becomes an operation of its own,
// which does not hold up the machine and goes on trying for a day.
func (t *turn) succeedWithWarning(why string) error {
	t.op.Warning = "The new backup is made; the one that is to be removed for it is still there and will be removed as soon as possible."
	t.note("note", t.op.Warning, why)
	t.tellStaff("backup.not_evicted", why)
	t.clearRequest()
	t.changes.Follow = t.removeLater()
	return t.succeed(nil)
}

// removeLater is the operation that removes what this one could not, or nil where nothing has to go.
func (t *turn) removeLater() *portal.Operation {
	victim, actor := t.op.VictimID, "engine"
	if t.op.ReplaceID != 0 {
		victim, actor = t.op.ReplaceID, t.op.Actor
	} else if victim == 0 {
		made, ok := t.copyRow(t.op.BackupID)
		if !ok {
			return nil
		}
		copies := t.asMine()
		for i, c := range copies {
			copies[i].Listed = c.Volid != "" // a listing that proves nothing says nothing of what is there; the removal asks again
		}
		e := portal.EvictAfterBackup(copies, max(t.sit.Service.QuotaIn(t.sit.Product), len(portal.Counted(copies))-1), made.UID, "")
		if e.Victim == nil {
			return nil
		}
		victim = e.Victim.ID
	}
	if _, ok := t.copyRow(victim); !ok {
		return nil
	}
	return t.removal(victim, actor)
}

// removal is an operation that removes one copy, a minute from now.
func (t *turn) removal(backupID int64, actor string) *portal.Operation {
	return &portal.Operation{Kind: portal.KindDelete, Step: portal.StepDelete, Actor: actor, BackupID: backupID, Manual: actor != "engine",
		RunAfter: t.now.Add(time.Minute), StartBy: t.now.Add(portal.GiveUpAfter), GiveUpAt: t.now.Add(portal.GiveUpAfter)}
}

// when names a copy by its time in the schedule's zone.
func (t *turn) when(b portal.Backup) portal.When {
	at := b.StartedAt
	if t.sit.Location != nil {
		at = at.In(t.sit.Location)
	}
	return portal.When{At: at, Layout: "Mon 2 Jan 15:04"}
}

// brake stops automatic deletions on a storage where they are far more than usual.
func (e *Engine) brake(t *turn, row store.StorageRow) (string, error) {
	if t.now.Before(row.BrakeFree) {
		return "", nil
	}
	last, err := e.db.DeletionsSince(t, row.ServerID, row.Name, t.now.Add(-time.Hour))
	if err != nil {
		return "", err
	}
	usual, err := e.db.UsualDeletions(t, row.ServerID, row.Name, t.now)
	if err != nil {
		return "", err
	}
	if !portal.Brake(last+1, usual) {
		return "", nil
	}
	why := fmt.Sprintf("%d automatic deletions within an hour, %d are usual", last, usual)
	return "the brake: " + why, e.db.SetBrake(t, "engine", row.Storage, true, why)
}

// deleteStep removes one copy because a person said so.
var deleteStep = step{
	look: func(t *turn) (portal.Sight, error) {
		if t.op.IntentAt.IsZero() && t.op.UPID == "" {
			return lookBeforeDelete(t)
		}
		return lookVictim(t, t.op.BackupID)
	},
	intend: func(t *turn) error {
		b, ok := t.copyRow(t.op.BackupID)
		if !ok {
			return fmt.Errorf("the copy has no row")
		}
		return t.intendRemoval(b, "removed by "+t.op.Actor, portal.Say("Removes the backup of %s.", t.when(b)))
	},
	send: sendRemoval,
	next: func(t *turn) error {
		how := "by client"
		switch {
		case t.op.Actor == "engine":
			how = "evicted"
		case strings.HasPrefix(t.op.Actor, "staff:"):
			how = "by staff"
		}
		t.changes.RemovedID, t.changes.RemovedHow = t.op.BackupID, how
		return t.end(portal.StateSucceeded, "The backup is removed.", "", portal.SlotDone)
	},
	failed: func(t *turn) error {
		t.op.DeletePlace = ""
		t.op.Attempt++
		if t.op.Attempt >= 5 && t.op.Actor != "engine" || pve.Protected == reasonIn(t.failure) {
			return t.fail("The backup could not be removed. It is still there.", t.failure)
		}
		return t.requeue("The backup could not be removed yet; it is tried again.", t.failure, time.Duration(t.op.Attempt)*time.Minute, false)
	},
}

// lookBeforeDelete sees that the copy may go: listed, unprotected, and of a storage that is there.
func lookBeforeDelete(t *turn) (seen portal.Sight, err error) {
	b, ok := t.copyRow(t.op.BackupID)
	if !ok {
		return seen, t.over(t.end(portal.StateSucceeded, "The backup was gone already.", "no row", portal.SlotDone))
	}
	row, err := t.place(b.Node, b.Storage)
	if err != nil {
		return seen, err
	}
	listed, archives, err := t.list(row, t.askNode(b))
	if err != nil {
		return seen, err
	}
	i := slices.IndexFunc(archives, func(a store.Archive) bool { return a.Volid == b.Volid })
	switch {
	case i < 0 && !listed.Authoritative:
		return seen, fmt.Errorf("%w: %s", errDoubtful, listed.Doubt)
	case i >= 0 && archives[i].Protected:
		return seen, t.over(t.fail("The backup is protected, so it was not removed.", "protected on the storage"))
	case t.op.Actor != "engine":
		return seen, nil
	}
	// Removed by itself, later than its backup: what held then must hold now.
	if why, err := t.guard(row); err != nil {
		return seen, err
	} else if why != "" {
		return seen, t.over(t.requeue("Waits: nothing is removed by itself right now.", why, 5*time.Minute, t.op.StaffReason == why))
	}
	if b.Origin == portal.OriginBeforeRestore && !slices.ContainsFunc(portal.SafetyExpired(t.asMine(), t.now), func(c portal.Copy) bool { return c.ID == b.ID }) {
		return seen, t.over(t.end(portal.StateCancelled, "The backup is still needed, so it is kept.", "a safety copy whose time is not over", portal.SlotDone))
	}
	if newest := portal.Newest(t.asMine()); newest == nil || newest.ID == b.ID {
		return seen, t.over(t.end(portal.StateCancelled, "It became the newest good backup, so it is kept.", "never the newest good one", portal.SlotDone))
	}
	return seen, nil
}

// protectStep sets or ends an archive's protection. Proxmox gives no task for it; what the listing shows decides.
var protectStep = step{
	look: func(t *turn) (seen portal.Sight, err error) {
		b, ok := t.copyRow(t.op.BackupID)
		if !ok {
			return seen, t.over(t.fail("The backup is gone.", "no row"))
		}
		row, err := t.place(b.Node, b.Storage)
		if err != nil {
			return seen, err
		}
		_, archives, err := t.list(row, t.askNode(b))
		if err != nil {
			return seen, err
		}
		i := slices.IndexFunc(archives, func(a store.Archive) bool { return a.Volid == b.Volid })
		if i < 0 {
			return seen, t.over(t.fail("The backup is not on its storage any more.", "not listed"))
		}
		seen.Done = archives[i].Protected == t.op.Protect
		seen.Clean, seen.Repeatable = true, true
		return seen, nil
	},
	intend: func(t *turn) error {
		b, _ := t.copyRow(t.op.BackupID)
		t.op.IntentNode = t.askNode(b)
		t.changes.Audit = append(t.changes.Audit, store.Entry{Actor: "engine", Action: "pve.protect", Entity: "backup", EntityUID: b.UID, ServiceID: t.op.ServiceID, After: fmt.Sprint(t.op.Protect)})
		t.note("begun", "Changes the protection of the backup.", b.Volid)
		return nil
	},
	send: func(t *turn) (string, error) {
		b, err := t.e.db.Backup(t, t.op.BackupID)
		if err != nil {
			return "", err
		}
		return "", t.link.client.SetArchiveProtected(t, t.op.IntentNode, b.Storage, b.Volid, t.op.Protect)
	},
	next: func(t *turn) error {
		t.changes.Protected = &t.op.Protect
		text := portal.Text("The backup is protected.")
		if !t.op.Protect {
			text = "The backup is no longer protected."
		}
		return t.end(portal.StateSucceeded, text, "", portal.SlotDone)
	},
	failed: func(t *turn) error {
		t.op.Attempt++
		if t.op.Attempt >= 3 {
			return t.fail("The protection of the backup could not be changed.", t.failure)
		}
		return t.requeue("The protection could not be changed yet; it is tried again.", t.failure, 30*time.Second, false)
	},
}
