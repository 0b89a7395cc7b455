package portal

import "slices"

// RollbackPlan is what a rollback would do, as its confirmation says it.
type RollbackPlan struct {
	Refusal    *Error   // why it can't be done, with the way out; nil where it can
	Memory     bool     // the machine goes on from the snapshot's memory
	MemoryLost bool     // the snapshot holds memory, and it can't be kept
	Sentence   Text     // what happens, in words
	Changes    []Change // what has to change afterwards for the machine to be as sold
}

// exposing are the changes of a network card that must be made before the machine runs: on the old ones it would answer
// for addresses, or stand in networks, that are others' now.
var exposing = []string{"net_bridge", "net_vlan", "net_mac", "net_card"}

// late are changes that hold from the next start and for which nothing has to be stopped.
var late = []string{"net_ip4", "net_gateway4", "net_ip6", "net_gateway6", "boot"}

// PlanRollback decides how the machine goes back to a snapshot. then is the machine's config in the snapshot, present the one it
// has; all are the machine's snapshots. Proxmox itself starts a machine whose snapshot holds memory, on the old config: what can be
// put right live is, where CPU or memory differ the memory is given up, and where the network differs it is refused.
func PlanRollback(target Snapshot, all []Snapshot, sold Spec, then, present Machine, places map[string]DiskPlace) RollbackPlan {
	then = then.clone()
	for _, d := range present.disks() { // a disk that the snapshot lacks hangs on nothing after the rollback
		if !slices.ContainsFunc(append(then.Drives, then.Unused...), func(o MachineDrive) bool { return o.Volid == d.Volid }) {
			then.Unused = append(then.Unused, MachineDrive{Key: "unused", Volid: d.Volid, Storage: d.Storage, Size: d.Size})
		}
	}
	plan := RollbackPlan{Changes: Reapply(sold.Keep(present), then, places)}
	if plan.Refusal = notNewest(target, all, present, places); plan.Refusal != nil {
		return plan
	}
	if i := slices.IndexFunc(plan.Changes, func(c Change) bool { return c.Kind == ChangeBlocked }); i >= 0 {
		plan.Refusal = Refuse(CodeConflict, "After a rollback this machine could not be brought back to what your package includes, so it is not begun. Our team can help.")
		plan.Refusal.Staff = plan.Changes[i].Text().String()
		return plan
	}
	if !target.Memory {
		plan.Sentence = "The machine is switched off and put back to the snapshot."
		return plan
	}
	has := func(which func(Change) bool) bool {
		return slices.ContainsFunc(plan.Changes, func(c Change) bool { return c.Sent() && which(c) })
	}
	switch {
	case has(func(c Change) bool { return slices.Contains(exposing, c.Name) }):
		plan.Refusal = Refuse(CodeConflict, "The network of this machine has changed since the snapshot, and the snapshot would start it in the old one.").
			With(WayOut{Action: "open_backups", Label: "Restore a backup instead"})
	case has(func(c Change) bool { return !c.Live && !slices.Contains(late, c.Name) }):
		plan.MemoryLost = true
		plan.Sentence = "The hardware of this machine, such as CPU or memory, has changed since the snapshot. Its disks are put back, but what was in its memory is lost: the machine starts anew."
	default:
		plan.Memory = true
		plan.Sentence = "The machine goes on running from the instant of the snapshot."
	}
	return plan
}

// notNewest refuses an older snapshot where the storage can go back to the newest one only.
func notNewest(target Snapshot, all []Snapshot, present Machine, places map[string]DiskPlace) *Error {
	var disks []Disk
	for _, d := range present.disks() {
		disks = append(disks, Disk{Key: d.Key, Storage: d.Storage, Volid: d.Volid})
	}
	if !CanSnapshot(disks, places).NewestOnly {
		return nil
	}
	var newest *Snapshot
	count := 0
	for i, o := range all {
		if o.UID == target.UID && o.Name == target.Name || o.State == SnapshotGone || o.State == SnapshotFailed || !o.TakenAt.After(target.TakenAt) {
			continue
		}
		count++
		if o.External {
			return Refuse(CodeConflict, "The storage of this machine can go back to the newest snapshot only, and your provider took a newer one. Our team can help.")
		}
		if newest == nil || o.TakenAt.After(newest.TakenAt) {
			newest = &all[i]
		}
	}
	if newest == nil {
		return nil
	}
	return (&Error{Code: CodeConflict, Sentence: Count(count,
		"The storage of this machine can go back to the newest snapshot only: remove the newer one first.",
		"The storage of this machine can go back to the newest snapshot only: remove the %d newer ones first.")}).
		With(WayOut{Action: "remove_snapshot", UID: newest.UID, Label: Say("Remove %s", newest.Title())})
}

// RequestRollback asks for the machine to be put back to a snapshot, as planned. start asks for it to be started
// afterwards where it doesn't go on from the snapshot's memory.
func RequestRollback(actor, uid string, start bool, plan RollbackPlan) Request {
	return func(s Situation) (Operation, error) {
		if err := mayAct(s, "This service is suspended: you can look at everything, but not roll back."); err != nil {
			return Operation{}, err
		}
		v, err := s.snapshot(uid)
		if err != nil {
			return Operation{}, err
		}
		if err := s.free(false); err != nil {
			return Operation{}, err
		}
		if plan.Refusal != nil {
			return Operation{}, plan.Refusal
		}
		return Operation{
			Kind: KindRollback, Step: StepPreflight, Manual: true, Actor: actor, SnapshotID: v.ID,
			Work:    Work{Start: start, Memory: plan.Memory},
			StartBy: s.Now.Add(s.Product.StartWindow), GiveUpAt: s.Now.Add(GiveUpAfter),
		}, nil
	}
}
