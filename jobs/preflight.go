package jobs

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"stowage/portal"
	"stowage/pve"
	"stowage/store"
)

// preflight looks at everything that can be known before anything is changed, and decides what makes room. It
// sends nothing that changes anything.
func (t *turn) preflight() error {
	if !t.op.CancelAt.IsZero() {
		return t.cancelled()
	}
	if !t.now.Before(t.op.StartBy) {
		return t.tooLate()
	}
	if t.sit.Service.State != portal.ServiceActive {
		return t.end(portal.StateFailed, "The service is not active, so nothing was done.", "service "+string(t.sit.Service.State), portal.SlotSkipped)
	}
	config, goOn, err := t.machine()
	if err != nil || !goOn {
		return err
	}
	row, goOn, err := t.storageReady()
	if err != nil || !goOn {
		return err
	}
	seen, elsewhere, err := t.listAll(row, t.op.Node)
	if err != nil {
		return t.later("the backup storage can't be read right now", err.Error(), time.Minute)
	}
	if !seen.Authoritative {
		return t.later(unconfirmed, "listing without authority: "+seen.Doubt, time.Minute)
	}
	if made, err := t.madeAfterAll(); made || err != nil {
		return err
	}
	return t.decide(config, row, elsewhere)
}

// madeAfterAll sees, before it is tried again, whether an attempt that counted as failed has made its archive after
// all: a listing may have hidden it then. The mark is only written when the archive is whole.
func (t *turn) madeAfterAll() (bool, error) {
	if t.op.Attempt == 0 || t.op.BackupID == 0 {
		return false, nil
	}
	made, err := t.lookArchive("")
	if !made || err != nil {
		return made, err
	}
	t.op.Step = portal.StepDump
	return true, afterDump(t)
}

// machine sees that the machine is the service's, on the node we think, idle, and worth backing up.
func (t *turn) machine() (pve.GuestConfig, bool, error) {
	config, err := t.link.client.GuestConfig(t, t.op.Node, t.sit.Service.VMID)
	if pve.ClassOf(err) == pve.Gone {
		return config, false, t.findMachine()
	}
	if err != nil {
		return config, false, t.unanswered(err)
	}
	if config.Stump() {
		return config, false, t.laterOrFail("Your machine is being restored, or a restore of it was cut off. Our team has been told.",
			"your machine is being restored, or a restore of it was cut off. Our team has been told", "the config is a stump: a restore runs or has failed", 5*time.Minute)
	}
	if !t.sit.Service.Identity.Same(identityOf(config)) {
		if err := t.e.db.SetServiceState(t, "engine", t.sit.Service, portal.ServiceMachineReplaced, "preflight saw uuid "+config.UUID); err != nil {
			return config, false, err
		}
		return config, false, t.end(portal.StateFailed, "Another machine has taken the place of this service's, so nothing was touched. Our team has been told.",
			fmt.Sprintf("machine replaced: uuid %s, expected %s", config.UUID, t.sit.Service.Identity.UUID), portal.SlotSkipped)
	}
	if err := t.e.db.SaveConfig(t, t.op.ServiceID, hardwareOf(config)); err != nil {
		return config, false, err
	}
	status, err := t.link.client.GuestStatus(t, t.op.Node, t.sit.Service.VMID)
	if err != nil {
		return config, false, t.unanswered(err)
	}
	lock := status.Lock
	if lock == "" {
		lock = config.Lock
	}
	if err := t.e.db.SaveSightings(t, []store.Sighting{{ServiceID: t.op.ServiceID, Node: t.op.Node, Status: coarse(status), Lock: lock, Uptime: status.Uptime}}); err != nil {
		return config, false, err
	}
	if lock != "" {
		return config, false, t.laterOrFail(portal.LockedSentence(lock), portal.LockedClause(lock), "config lock: "+lock, time.Minute)
	}
	if !t.op.Kind.OnMachine() && len(config.BackedUpDisks()) == 0 {
		return config, false, t.fail("Your machine has no disk that is included in backups, so there is nothing to back up.", "no disk with backup=1 in the config")
	}
	busy, err := t.link.client.Tasks(t, t.op.Node, pve.TaskFilter{Source: "active"})
	if err != nil {
		return config, false, t.unanswered(err)
	}
	for _, task := range busy {
		switch {
		case !task.Running || task.UPID.String() == t.op.UPID:
		case task.ID == strconv.Itoa(t.sit.Service.VMID) && task.Type != "vncproxy" && task.Type != "spiceproxy" && task.Type != "termproxy":
			if t.op.Manual && task.Type != "vzdump" {
				return config, false, t.fail("Something else is being done with your machine on its host. Try again in a few minutes.", "task "+task.UPID.String())
			}
			return config, false, t.later("something else is being done with the machine", "task "+task.UPID.String(), 30*time.Second)
		case task.Type == "vzdump" && !t.op.Kind.OnMachine():
			return config, false, t.later(portal.WaitForeign, "task "+task.UPID.String(), 30*time.Second)
		}
	}
	return config, true, nil
}

// findMachine looks for a machine that is not where it was.
func (t *turn) findMachine() error {
	resources, err := t.link.client.Resources(t)
	if err != nil {
		return t.unanswered(err)
	}
	for _, g := range resources.Guests {
		if g.Type == "qemu" && g.VMID == t.sit.Service.VMID && g.Node != "" && g.Node != t.op.Node {
			if err := t.e.db.SaveSightings(t, []store.Sighting{{ServiceID: t.op.ServiceID, Node: g.Node, Status: g.Status, Lock: g.Lock}}); err != nil {
				return err
			}
			was := t.op.Node
			t.op.Node = g.Node
			return t.requeue("The machine moved to another host; it is followed.", "moved from "+was+" to "+g.Node, 0, true)
		}
	}
	if t.op.Manual {
		return t.fail("The machine can't be found on its host. Our team has been told.", "no config of the vmid on "+t.op.Node+", and not in /cluster/resources")
	}
	return t.later("the machine can't be found on its host", "no config of the vmid on "+t.op.Node+", and not in /cluster/resources", 5*time.Minute)
}

// storageReady sees that the backup storage can take an archive and that we may put one there.
func (t *turn) storageReady() (store.StorageRow, bool, error) {
	name := t.sit.Product.Storage
	row, err := t.place(t.op.Node, name)
	if portal.CodeOf(err) == portal.CodeNotFound {
		return row, false, t.laterOrFail("The backup storage is not there. Our team has been told.",
			"the backup storage is not there. Our team has been told", "storage "+name+" does not exist on node "+t.op.Node, 5*time.Minute)
	}
	if err != nil {
		return row, false, t.later(unreachable, err.Error(), time.Minute)
	}
	status, err := t.link.client.StorageStatus(t, t.op.Node, name)
	if err != nil && pve.ClassOf(err) == pve.Unreachable {
		return row, false, t.later(unreachable, err.Error(), time.Minute)
	}
	if err != nil || !status.Active || status.Total <= 0 {
		staff := "storage " + name + " is not active on node " + t.op.Node
		if err != nil {
			staff += ": " + err.Error()
		}
		return row, false, t.laterOrFail("The backup storage is offline. Our team has been told; your backups there are not touched.",
			"the backup storage is offline. Our team has been told; your backups there are not touched", staff, 2*time.Minute)
	}
	if !status.Holds("backup") {
		return row, false, t.laterOrFail("The backup storage takes no backups. Our team has been told.",
			"the backup storage takes no backups. Our team has been told", "storage "+name+" has no content type backup", 10*time.Minute)
	}
	rights, err := t.e.permissions(t, t.link)
	if err != nil {
		return row, false, t.later(unreachable, err.Error(), time.Minute)
	}
	if missing := MissingRights(rights, t.sit.Service.VMID, name, t.op.Node); len(missing) > 0 {
		return row, false, t.lacksRight(missing)
	}
	if portal.Jumped(row.KnownTotal, status.Total) {
		return row, false, t.later("the backup storage looks different from before", fmt.Sprintf("the size of storage %s was %s and is %s: is it mounted?", name, portal.Bytes(row.KnownTotal), portal.Bytes(status.Total)), 2*time.Minute)
	}
	row.Total, row.Used, row.Active = status.Total, status.Total-status.Avail, true
	return row, true, nil
}

// unanswered waits where the host can't be asked, and says so where it is a right that is missing.
func (t *turn) unanswered(err error) error {
	if pve.ReasonOf(err) == pve.Permission {
		if rights, unread := t.e.permissions(t, t.link); unread == nil {
			missing := MissingRights(rights, t.sit.Service.VMID, t.sit.Product.Storage, t.op.Node)
			if len(missing) == 0 {
				missing = []string{err.Error()} // a rule that takes everything away doesn't show among the rights
			}
			return t.lacksRight(missing)
		}
	}
	return t.later(unreachable, err.Error(), time.Minute)
}

// lacksRight waits for a right to be granted, or ends manual work. Staff are told once of each operation.
func (t *turn) lacksRight(missing []string) error {
	staff := "missing: " + strings.Join(missing, ", ")
	if t.op.StaffReason != staff {
		t.tellStaff("server.rights", staff)
	}
	return t.laterOrFail("The portal lacks a right on your host. Our team has been told.",
		"the portal lacks a right on your host. Our team has been told", staff, 10*time.Minute)
}

// decide chooses what makes room, checks the space, and moves on to the first change.
func (t *turn) decide(config pve.GuestConfig, row store.StorageRow, elsewhere string) error {
	copies := t.asMine()
	quota := t.sit.Service.QuotaIn(t.sit.Product)
	if t.op.Scheduled() {
		if done := t.slotDone(copies); done != nil {
			t.op.BackupID = done.ID
			return t.end(portal.StateCancelled, "Not needed: another backup was made after it fell due.", "slot done by "+done.Volid, portal.SlotDone)
		}
	}
	var victim *portal.Copy
	timing := portal.TimingNone
	switch {
	case t.op.Work.Safety: // it stands outside the quota
	case t.op.ReplaceID != 0:
		timing = portal.TimingAfter
		if _, ok := t.copyRow(t.op.ReplaceID); !ok && len(portal.Counted(copies)) >= quota {
			return t.fail("The backup that was to be removed afterwards is gone, and there is still no free place. Nothing was made and nothing removed.", "the chosen copy is gone")
		}
	case t.op.Evicted:
		timing = portal.TimingBefore
	case t.op.Manual:
		if room := portal.ManualRoom(copies, quota, 0); !room.Allowed {
			return t.fail(portal.Sentences(room.Reason, "Nothing was made and nothing removed."), "no room at preflight")
		}
	default:
		e := portal.Evict(copies, quota, t.sit.Product.Policy, t.now)
		if e.Skip {
			return t.skip(e)
		}
		victim, timing = e.Victim, e.Timing
	}
	if timing != portal.TimingNone && !t.op.Evicted && t.op.ReplaceID == 0 {
		why, err := t.guard(row)
		if why == "" && elsewhere != "" {
			why = "listing without authority: " + elsewhere
		}
		if err != nil || why != "" {
			if err != nil {
				return err
			}
			return t.later(noPlace, why, 2*time.Minute)
		}
	}
	var victimSize int64
	if victim != nil && timing == portal.TimingBefore {
		if b, ok := t.copyRow(victim.ID); ok && b.Node == row.Node && b.Storage == row.Name {
			victimSize = victim.Size // one that lies elsewhere frees nothing here
		}
	}
	if ok, why, err := t.space(config, row, copies, victimSize); err != nil || !ok {
		if err != nil {
			return err
		}
		return t.laterOrFail("There is not enough space on the backup storage. Our team has been told; your backups are untouched.",
			"there is not enough space on the backup storage. Our team has been told; your backups are untouched", why, 10*time.Minute)
	}
	t.op.Timing, t.op.WaitsFor = timing, ""
	t.op.Mode = t.sit.Service.ModeIn(t.sit.Product)
	t.note("done", "Checked your machine, the storage and the free places.", fmt.Sprintf("node %s, storage %s, timing %s", t.op.Node, row.Place(), timing))
	t.op.Step = portal.StepDump
	if timing == portal.TimingBefore && !t.op.Evicted {
		t.op.Step = portal.StepEvict
	}
	t.op.RunAfter, t.more = t.now, t.op.Work.Safety
	return t.save("preflight")
}

// slotDone gives the good copy that makes this slot's own backup needless.
func (t *turn) slotDone(copies []portal.Copy) *portal.Copy {
	slot, err := t.e.db.Slot(t, t.op.ServiceID, t.op.ScheduleID, t.op.SlotDate)
	if err != nil {
		return nil
	}
	return portal.DoneBy(slot.DueAt, copies)
}

// space works out whether the archive fits.
func (t *turn) space(config pve.GuestConfig, row store.StorageRow, copies []portal.Copy, victim int64) (bool, string, error) {
	var disks, last int64
	for _, d := range config.BackedUpDisks() {
		disks += d.SizeBytes
	}
	if newest := portal.Newest(copies); newest != nil {
		last = newest.Size
	}
	writing, err := t.e.db.BeingWritten(t, row.ServerID, row.Name, t.op.ID)
	if err != nil {
		return false, "", err
	}
	ok, why := portal.FreeSpace(portal.Space{
		PBS: row.Type == "pbs", Total: row.Total, Free: row.Total - row.Used, Victim: victim, BeingWritten: writing, LastSize: last, DisksTotal: disks,
	})
	return ok, why, nil
}

// skip ends a slot without a backup because the rules say so.
func (t *turn) skip(e portal.Eviction) error {
	if e.Why == portal.WhyAllProtected {
		t.tell("backup.all_protected", e.Reason)
	}
	if e.Why == portal.WhyInUse {
		return t.later(e.Reason, e.Staff, time.Minute)
	}
	return t.end(portal.StateCancelled, portal.Say("Skipped: %s.", e.Reason), e.Staff, portal.SlotSkipped)
}

// later puts the operation back into the queue: what is in the way may pass. why is a clause.
func (t *turn) later(why portal.Text, staff string, after time.Duration) error {
	t.op.WaitsFor = why
	if !t.now.Add(after).Before(t.op.StartBy) {
		if !t.now.Add(time.Second).Before(t.op.StartBy) {
			return t.tooLate()
		}
		after = t.op.StartBy.Sub(t.now)
	}
	text := portal.Say("Waits: %s.", why)
	if t.op.StaffReason == staff {
		text = "" // said already: a night of waiting is no story of 300 lines
	}
	return t.requeue(text, staff, after, false)
}

// laterOrFail waits for a scheduled backup and ends a manual one: a person wants an answer. The answer is a sentence,
// and why says the same as a clause.
func (t *turn) laterOrFail(answer, why portal.Text, staff string, after time.Duration) error {
	if t.op.Manual {
		return t.fail(answer, staff)
	}
	return t.later(why, staff, after)
}

// tooLate ends an operation that may not start any more.
func (t *turn) tooLate() error {
	slot, why := portal.SlotMissed, t.op.WaitsFor
	if t.op.Attempt > 0 {
		slot = portal.SlotFailed
	}
	if why == "" {
		why = portal.ReasonNoStart
	}
	if t.op.Work.Broken {
		return t.hold(portal.Say("It could not start in time: %s.", why), t.op.StaffReason)
	}
	return t.end(portal.StateFailed, portal.Say("It could not start in time: %s.", why), t.op.StaffReason, slot)
}

// coarse gives the word for a machine's status that pages show.
func coarse(s pve.GuestStatus) string {
	if s.QMPStatus != "" && s.QMPStatus != "running" && s.QMPStatus != "stopped" {
		return s.QMPStatus
	}
	return s.Status
}
