package jobs

import (
	"fmt"
	"time"

	"stowage/portal"
	"stowage/pve"
)

// snapshotErrand takes a snapshot. Its name carries the uid of its row, which is committed with the intent.
var snapshotErrand = errand{
	call:  "pve.snapshot",
	types: []string{"qmsnapshot"},
	begun: func(t *turn) portal.Text {
		if t.op.Work.Memory {
			return "A snapshot of your machine is taken, with its memory."
		}
		return "A snapshot of your machine is taken."
	},
	done:  snapshotDone,
	ready: readySnapshot,
	send: func(t *turn) (pve.UPID, error) {
		x, err := t.snapshot()
		if err != nil {
			return pve.UPID{}, err
		}
		return t.link.client.CreateSnapshot(t, t.op.Node, t.sit.Service.VMID, x.Name, t.op.Note, t.op.Work.Memory)
	},
	tries: 2,
	wrong: func(_ *turn, failure string) portal.Text { return plainSnapshot(failure) },
}

func snapshotStep() step {
	s := snapshotErrand.step()
	s.next, s.failed = afterSnapshot, func(t *turn) error { return t.snapshotFailed(snapshotErrand, "snapshot") }
	return s
}

// delSnapshotErrand removes one.
var delSnapshotErrand = errand{
	call:  "pve.delsnapshot",
	types: []string{"qmdelsnapshot"},
	begun: func(*turn) portal.Text { return "The snapshot is removed." },
	done: func(t *turn, _ portal.TaskSight) (bool, error) {
		x, err := t.snapshot()
		if err != nil {
			return false, err
		}
		list, lock, err := t.snapshots()
		if err != nil {
			return false, err
		}
		_, there := list.Get(x.Name)
		return !there && lock != "snapshot-delete", nil
	},
	send: func(t *turn) (pve.UPID, error) {
		x, err := t.snapshot()
		if err != nil {
			return pve.UPID{}, err
		}
		return t.link.client.DeleteSnapshot(t, t.op.Node, t.sit.Service.VMID, x.Name, false)
	},
	tries: 2,
	wrong: func(_ *turn, failure string) portal.Text { return plainSnapshot(failure) },
}

func delSnapshotStep() step {
	s := delSnapshotErrand.step()
	s.next, s.failed = afterDelSnapshot, func(t *turn) error { return t.snapshotFailed(delSnapshotErrand, "snapshot-delete") }
	return s
}

// snapshot gives the operation's own.
func (t *turn) snapshot() (portal.Snapshot, error) { return t.e.db.Snapshot(t, t.op.SnapshotID) }

// snapshots reads the machine's snapshots with its lock.
func (t *turn) snapshots() (list pve.Snapshots, lock string, err error) {
	if list, err = t.link.client.Snapshots(t, t.op.Node, t.sit.Service.VMID); err != nil {
		return list, "", err
	}
	status, err := t.status()
	return list, status.Lock, err
}

// refreshSnapshots reads the machine's snapshots, keeps what that shows, and reads what is known anew.
func (t *turn) refreshSnapshots(config pve.GuestConfig, full bool) (pve.Snapshots, error) {
	list, err := t.e.readSnapshots(t, t.link, t.sit.Service.ID, t.op.Node, t.sit.Service.VMID, &config, full)
	if err != nil {
		return list, err
	}
	t.sit, err = t.e.db.Situation(t, t.op.ServiceID)
	return list, err
}

// snapshotPreflight is all that a snapshot asks for beyond the machine itself: the right, a free place, and storages
// that know snapshots.
func (t *turn) snapshotPreflight(config pve.GuestConfig) error {
	if ok, err := t.mayDo(pve.Scene{}, pve.TakeSnapshot); !ok {
		return err
	}
	if _, err := t.refreshSnapshots(config, true); err != nil {
		return t.unanswered(err)
	}
	c := portal.SnapshotCounter(t.sit.Snapshots, t.sit.Product.Snapshots)
	if c.Count+c.Running >= c.Quota {
		return t.fail("All places for snapshots are used. Nothing was done.", fmt.Sprintf("%d of %d, %d being taken", c.Count, c.Quota, c.Running))
	}
	if why := t.sit.NoSnapshot; why != "" {
		return t.fail(why, "the host says that the machine can't take snapshots")
	}
	t.op.Work.Memory = t.op.Work.Memory && t.op.Work.Was == "running"
	return t.onward(portal.StepSnapshot)
}

// whyNoSnapshot says why a machine can't take snapshots; can is what its host says.
func (e *Engine) whyNoSnapshot(sit portal.Situation, can bool) portal.Text {
	if can {
		return ""
	}
	if a := portal.CanSnapshot(sit.Service.Hardware.Disks, sit.Places); a.Why != "" && !a.Can {
		return a.Why
	}
	return "This machine can't take snapshots: the storage of one of its disks knows none. Backups work."
}

// readySnapshot commits the row with the intent. Its end is fixed then.
func readySnapshot(t *turn) error {
	x := portal.Snapshot{UID: t.e.db.UID(), ServiceID: t.op.ServiceID, Description: t.op.Note, Growth: -1, Used: -1}
	x.Name = portal.SnapshotName(x.UID)
	if t.op.SnapshotID != 0 {
		var err error
		if x, err = t.snapshot(); err != nil {
			return err
		}
	}
	x.State, x.Memory, x.TakenAt, x.SeenAt = portal.SnapshotTaking, t.op.Work.Memory, t.now, t.now
	x.ExpiresAt = portal.SnapshotExpiry(t.now, t.sit.Product.SnapshotDays)
	t.changes.Snapshot = &x
	return nil
}

// snapshotDone sees whether the snapshot is on the machine, whole and with the machine free again.
func snapshotDone(t *turn, _ portal.TaskSight) (bool, error) {
	if t.op.SnapshotID == 0 {
		return false, nil
	}
	x, err := t.snapshot()
	if err != nil {
		return false, err
	}
	list, lock, err := t.snapshots()
	if err != nil {
		return false, err
	}
	seen, there := list.Get(x.Name)
	return there && seen.State == "" && lock != "snapshot", nil
}

// afterSnapshot keeps the snapshot as it was seen, and what the machine was.
func afterSnapshot(t *turn) error {
	x, err := t.snapshot()
	if err != nil {
		return err
	}
	node, vmid := t.op.Node, t.sit.Service.VMID
	list, err := t.link.client.Snapshots(t, node, vmid)
	if err != nil {
		return t.cannotLook(err)
	}
	then, err := t.link.client.SnapshotConfig(t, node, vmid, x.Name)
	if err != nil {
		return t.cannotLook(err)
	}
	seen, _ := list.Get(x.Name)
	m := machineOf(then, vmid, seen.RAM)
	x.State, x.Memory, x.ParentName, x.Then, x.SeenAt = portal.SnapshotThere, seen.RAM, seen.Parent, &m, t.now
	x.Used, x.Growth = t.e.diskUse(t, t.link, node, vmid, hardwareOf(then).Disks), -1
	if x.Used >= 0 {
		x.Growth = 0
	}
	t.changes.Snapshot = &x
	until := x.ExpiresAt
	if t.sit.Location != nil {
		until = until.In(t.sit.Location)
	}
	return t.end(portal.StateSucceeded, portal.Say("The snapshot is taken. It lives until %s.", portal.When{At: until, Layout: "Mon 2 Jan 15:04"}), x.Name, portal.SlotDone)
}

// delSnapshotPreflight sees that the snapshot may go: one whose time is over not before its instant, and by no clock that
// may be wrong.
func (t *turn) delSnapshotPreflight() error {
	x, err := t.snapshot()
	if err != nil {
		return err
	}
	if x.External {
		return t.fail("This snapshot is your provider's, so it was left alone.", "external snapshot "+x.Name)
	}
	if !t.op.Manual {
		if t.now.Before(x.ExpiresAt) {
			return t.end(portal.StateCancelled, "The time of this snapshot is not over.", "before its instant", portal.SlotSkipped)
		}
		if skew, known := t.link.client.Skew(); known && skew.Abs() > portal.SkewLimit {
			if err := t.e.db.SaveSkew(t, t.op.ServerID, skew); err != nil {
				return err
			}
			return t.later("its host's clock and ours differ", "clock skew "+skew.String(), time.Minute)
		}
	}
	if ok, err := t.mayDo(pve.Scene{}, pve.TakeSnapshot); !ok {
		return err
	}
	return t.onward(portal.StepSnapshotDelete)
}

func afterDelSnapshot(t *turn) error {
	t.changes.NoSnapshot = "asked"
	if !t.op.Manual {
		t.changes.NoSnapshot = "expired"
	}
	text := portal.Text("The snapshot is gone.")
	if !t.op.Manual {
		text = "The time of the snapshot was over; it is removed."
	}
	return t.end(portal.StateSucceeded, text, "", portal.SlotDone)
}

// snapshotFailed counts a failed attempt. Where Proxmox has left its lock nothing can be tried again: staff are told the
// command that releases it.
func (t *turn) snapshotFailed(e errand, lock string) error {
	status, err := t.status()
	if err != nil {
		return t.cannotLook(err)
	}
	if status.Lock != lock {
		return t.errandFailed(plainSnapshot(t.failure), e.tries)
	}
	x, err := t.snapshot()
	if err != nil {
		return err
	}
	t.staleLock(lock, fmt.Sprintf("qm unlock %d && qm delsnapshot %d %s --force", t.sit.Service.VMID, t.sit.Service.VMID, x.Name))
	return t.stop(portal.Sentences(plainSnapshot(t.failure), "Your machine stays locked on its host until our team has released it."), t.failure)
}

// staleLock tells staff of a lock that a dead task has left, with what releases it: the API can't.
func (t *turn) staleLock(lock, command string) {
	t.tellStaff(portal.TopicStaleLock, fmt.Sprintf("machine %d on node %s keeps the lock %q after: %s. On that node: %s", t.sit.Service.VMID, t.op.Node, lock, t.failure, command))
}

// closeTakingRow ends the row of a snapshot of which nothing came, as far as anybody knows: should it appear after all,
// the next reading takes it up.
func (t *turn) closeTakingRow() error {
	if t.op.SnapshotID == 0 {
		return nil
	}
	x, err := t.snapshot()
	if err != nil || x.State != portal.SnapshotTaking {
		return err
	}
	x.State = portal.SnapshotFailed
	t.changes.Snapshot = &x
	return nil
}

// plainSnapshot says in a client's words why Proxmox could not do something with a snapshot.
func plainSnapshot(failure string) portal.Text {
	if _, reason := pve.Meaning(failure); reason == pve.Feature {
		return "The storage of one of your machine's disks can't do that with snapshots."
	}
	return plainMachine(failure)
}
