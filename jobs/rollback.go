package jobs

import (
	"fmt"
	"maps"
	"strings"

	"stowage/portal"
	"stowage/pve"
)

// A rollback brings the machine's old config back with its disks. What is done about that depends on the snapshot:
//
//	without memory | power off → roll back → re-apply → start, if it was asked for
//	with memory    | roll back: Proxmox leaves it running → re-apply live → off again, if it was off
//	memory lost    | roll back → stop at once → re-apply → start, if it was asked for
//
// From the request on until the package is re-applied the machine is not whole: it is not started, and what fails is held.

// rollbackErrand lets Proxmox put the machine back. That it was done shows in nothing but its task: the snapshot that the
// machine's state came from may have been that one before. To go back twice is harmless.
var rollbackErrand = errand{
	call:  "pve.rollback",
	types: []string{"qmrollback"},
	begun: func(*turn) portal.Text { return "Your machine is put back to the snapshot." },
	done: func(t *turn, task portal.TaskSight) (bool, error) {
		if task != portal.TaskEnded {
			return false, nil
		}
		x, err := t.snapshot()
		if err != nil {
			return false, err
		}
		list, lock, err := t.snapshots()
		return list.Current == x.Name && lock != "rollback", err
	},
	ready: func(t *turn) error {
		t.op.Work.Broken = true
		return nil
	},
	send: func(t *turn) (pve.UPID, error) {
		x, err := t.snapshot()
		if err != nil {
			return pve.UPID{}, err
		}
		upid, err := t.link.client.Rollback(t, t.op.Node, t.sit.Service.VMID, x.Name, false)
		if c := pve.ClassOf(err); (c == pve.Refused || c == pve.Gone || c == pve.Unreachable) && t.op.Attempt == 0 {
			t.op.Work.Broken = false // it never began
		}
		return upid, err
	},
	tries: 3,
	wrong: func(_ *turn, failure string) portal.Text {
		return portal.Sentences("Your machine could not be put back to the snapshot.", plainSnapshot(failure))
	},
}

func rollbackStep() step {
	s := rollbackErrand.step()
	look := s.look
	s.look = func(t *turn) (portal.Sight, error) {
		seen, err := look(t)
		if err == nil && seen.Task == portal.TaskRefused && t.op.Attempt == 0 {
			t.op.Work.Broken = false // something was locked: nothing was done
		}
		return seen, err
	}
	s.next, s.failed = afterRollback, rollbackFailed
	return s
}

// rollbackOff is the power off of a rollback: before it gently, and after it, where the machine runs on hardware that it
// is not sold any more, at once.
func rollbackOff() step {
	s := powerOff(afterRollbackOff)
	gently := s.send
	s.send = func(t *turn) (string, error) {
		if !t.op.Work.Broken {
			return gently(t)
		}
		upid, err := t.link.client.Stop(t, t.op.Node, t.sit.Service.VMID, true)
		return upid.String(), err
	}
	return s
}

// rollbackPreflight plans the rollback by what the machine and the snapshot are at this moment.
func (t *turn) rollbackPreflight(config pve.GuestConfig) error {
	x, err := t.snapshot()
	if err != nil {
		return err
	}
	list, err := t.refreshSnapshots(config, false)
	if err != nil {
		return t.unanswered(err)
	}
	seen, there := list.Get(x.Name)
	switch {
	case !there || x.External:
		return t.fail("The snapshot is not on the machine any more, so nothing was done.", "no snapshot "+x.Name)
	case seen.State != "":
		return t.fail("The snapshot is not whole, so nothing was done.", x.Name+" has snapstate "+seen.State)
	}
	vmid := t.sit.Service.VMID
	was, err := t.link.client.SnapshotConfig(t, t.op.Node, vmid, x.Name)
	if err != nil {
		return t.unanswered(err)
	}
	present, then := machineOf(config, vmid, t.op.Work.Was == "running"), machineOf(was, vmid, seen.RAM)
	sold := portal.Wanted(t.sit.Product, t.sit.Service)
	places, err := t.diskPlaces(sold.Keep(present), present)
	if err != nil {
		return t.unanswered(err)
	}
	x.Memory = seen.RAM
	plan := portal.PlanRollback(x, t.sit.Snapshots, sold, then, present, places)
	if plan.Refusal != nil {
		return t.fail(plan.Refusal.Sentence, plan.Refusal.Staff)
	}
	if plan.Memory != t.op.Work.Memory {
		return t.fail("What would happen to the machine's memory has changed since you confirmed, so nothing was done. Look at it again and repeat it.", fmt.Sprintf("memory kept: %v now, %v when confirmed", plan.Memory, t.op.Work.Memory))
	}
	if ok, err := t.mayDo(pve.Scene{}, pve.RollBack, pve.Power, pve.SetCPU, pve.SetMemory, pve.SetDisks, pve.SetNetwork, pve.SetOptions); !ok {
		return err
	}
	t.op.Work.Config = maps.Clone(config.Raw)
	t.note("done", "Checked your machine and the snapshot.", fmt.Sprintf("snapshot %s, memory kept %v, %d changes to re-apply", x.Name, plan.Memory, len(sent(plan.Changes))))
	if !seen.RAM && t.op.Work.Was == "running" {
		return t.onward(portal.StepPowerOff)
	}
	return t.onward(portal.StepRollback)
}

// afterRollbackOff goes on when the machine is off: before the rollback, after it where the memory is lost, or at the end.
func afterRollbackOff(t *turn) error {
	switch {
	case t.op.Work.Broken:
		return t.onward(portal.StepReapply)
	case t.op.Work.Memory:
		return t.rolledBack()
	}
	return t.onward(portal.StepRollback)
}

// afterRollback goes on when the machine is as it was: where Proxmox has started it though its memory can't be kept, it is
// stopped first.
func afterRollback(t *turn) error {
	t.note("done", "Your machine is as it was when the snapshot was taken.", "")
	x, err := t.snapshot()
	if err != nil {
		return err
	}
	if x.Memory && !t.op.Work.Memory {
		return t.onward(portal.StepPowerOff)
	}
	return t.onward(portal.StepReapply)
}

// afterRollbackReapply goes on when the machine is in step with its package.
func (t *turn) afterRollbackReapply() error {
	switch {
	case t.op.Work.Memory && t.op.Work.Was != "running" && !t.op.Work.Start:
		return t.onward(portal.StepPowerOff) // it was off, and Proxmox has started it
	case !t.op.Work.Memory && t.op.Work.Start:
		return t.onward(portal.StepStart)
	}
	return t.rolledBack()
}

// rolledBack ends a rollback well.
func (t *turn) rolledBack() error {
	status, err := t.status()
	if err != nil {
		return t.cannotLook(err)
	}
	text := portal.Text("Your machine is back at the snapshot. It is off.")
	switch {
	case status.Status == "running" && t.op.Work.Memory:
		text = "Your machine is back at the snapshot and goes on from there."
	case status.Status == "running":
		text = "Your machine is back at the snapshot and runs."
	}
	return t.end(portal.StateSucceeded, text, "", portal.SlotDone)
}

// rollbackFailed counts a failed attempt. A rollback that came apart leaves Proxmox's lock behind, and a machine that only
// staff can go on with; without that lock nothing was begun.
func rollbackFailed(t *turn) error {
	status, err := t.status()
	if err != nil {
		return t.cannotLook(err)
	}
	text := rollbackErrand.wrong(t, t.failure)
	if status.Lock == "rollback" {
		t.staleLock("rollback", fmt.Sprintf("qm unlock %d; then let the operation go on here, which rolls back once more", t.sit.Service.VMID))
		return t.stop(portal.Sentences(text, "Your machine is off and stays locked until our team has looked. Your backups are untouched."), t.failure)
	}
	// Of a request whose end nobody knows, nobody knows what it did either.
	known := t.taskExit != "" && !strings.Contains(t.taskExit, "unexpected status") || !t.op.Work.Broken
	if t.op.Attempt == 0 && (known || t.failure == neverArrived) {
		t.op.Work.Broken = false
	}
	if t.op.Work.Broken || !known {
		return t.errandFailed(text, rollbackErrand.tries)
	}
	if t.op.Work.Was == "running" && status.Status == "stopped" {
		t.changes.Follow = &portal.Operation{Kind: portal.KindPower, Step: portal.StepPreflight, Manual: true, Actor: t.op.Actor,
			Work: portal.Work{Action: portal.PowerStart}, StartBy: t.now.Add(portal.MachineBy), GiveUpAt: t.now.Add(portal.GiveUpAfter)}
		text = portal.Sentences(text, "Your machine was shut down for it and is started again.")
	}
	return t.stop(text, t.failure)
}
