package handlers

import (
	"slices"
	"time"

	"stowage/portal"
	"stowage/store"
	"stowage/templates"
)

// snapshotsPage lists a machine's snapshots. still leaves out what changes with every second, for pieces of a page that
// counts by itself.
func (v *shown) snapshotsPage(f templates.Frame, seen store.SnapshotsView, still bool) templates.SnapshotsPage {
	f.Crumbs, f.Zone = v.crumbs(templates.Crumb{Text: "Snapshots"}), v.Schedule.Zone
	p := templates.SnapshotsPage{
		Frame: f, Service: v.head(templates.TabSnapshots), Notices: v.notices(), Days: v.Product.SnapshotDays, Backups: !v.counter.Hidden,
		Counter: v.snapshotCounter(),
		Take:    v.takeSnapshot(), Running: v.runningCards(), Idle: v.idleSnapshots(), List: v.snapshotList(seen, still), Live: true, NowMilli: v.Now.UnixMilli(),
	}
	for _, line := range v.Recent {
		if snapshotWork(line.Kind) && len(p.Recent) < 3 {
			p.Recent = append(p.Recent, v.operationRow(line))
		}
	}
	return p
}

// snapshotCounter counts snapshots against their places.
func (v *shown) snapshotCounter() templates.Counter {
	return templates.Counter{Used: v.snaps.Count, Quota: v.snaps.Quota, Running: v.snaps.Running, Of: "snapshots"}
}

func snapshotWork(k portal.Kind) bool {
	return k == portal.KindSnapshot || k == portal.KindSnapshotDelete || k == portal.KindRollback
}

// takeSnapshot is the form of a new snapshot.
func (v *shown) takeSnapshot() templates.TakeSnapshot {
	runs := v.Service.Status == "running"
	return templates.TakeSnapshot{
		Act: v.may(portal.RequestSnapshot(v.login.Actor(), "", false)), ShowMemory: v.Product.SnapMemory && runs, Memory: true,
	}
}

func (v *shown) snapshotList(seen store.SnapshotsView, still bool) templates.SnapshotList {
	var list templates.SnapshotList
	for _, x := range slices.Concat(v.Snapshots, seen.Vanished) {
		if x.State == portal.SnapshotTaking && !x.External {
			continue // it stands above, with its progress
		}
		list.Rows = append(list.Rows, v.snapshotRow(x, seen, still))
	}
	ability := portal.CanSnapshot(v.Service.Hardware.Disks, v.Places)
	if ability.NewestOnly {
		list.Note = ability.Why
	}
	if v.Product.Snapshots == 0 {
		list.Empty = "Your package includes no snapshots."
	} else if !ability.Can || v.NoSnapshot != "" {
		list.Empty = "This machine can't take snapshots. Backups work."
	}
	return list
}

// snapshotRow is one snapshot.
func (v *shown) snapshotRow(x portal.Snapshot, seen store.SnapshotsView, still bool) templates.SnapshotRow {
	row := templates.SnapshotRow{
		UID: x.UID, State: string(x.State), Name: x.Name, Title: x.Title(), Description: x.Description, When: v.ago(x.TakenAt), Memory: x.Memory, External: x.External,
	}
	switch {
	case x.External:
		if x.Description == "" {
			row.Title = portal.Verbatim(x.Name)
		}
		row.Remark = "It is in no quota, does not end by itself, and only your provider can change it."
		return row
	case x.State == portal.SnapshotGone:
		row.Remark = portal.Say("It is not on the machine any more since %s. It was not removed by the portal; our team has been told.", v.since(x.GoneAt))
		return row
	case x.State == portal.SnapshotFailed:
		row.Remark = "It was not finished. Our team has been told."
		return row
	}
	row.Expires, row.Until = x.ExpiresAt.Unix(), v.at(x.ExpiresAt)
	if !still {
		row.Left = portal.Countdown(x.Left(v.Now))
	}
	row.LastHour = x.State == portal.SnapshotThere && x.Left(v.Now) <= portal.SnapshotLastHour && !v.counter.Hidden && v.onlyLooks() == "" && !v.off()
	row.BackUp = v.backupNow().Act
	if x.Left(v.Now) == 0 && x.State == portal.SnapshotThere {
		row.Remark = "Its time is over; it is removed as soon as the machine is free."
	}
	if x.Growth > 0 {
		row.Growth = templates.Bytes(x.Growth)
	}
	row.Actions = x.State == portal.SnapshotThere
	row.Edit = row.Actions && v.onlyLooks() == "" && !v.off()
	row.Remove = v.may(portal.RequestSnapshotRemoval(v.login.Actor(), x.UID))
	row.Rollback = v.mayRollBack(x, seen)
	return row
}

// mayRollBack tells whether a machine could be put back to a snapshot now.
func (v *shown) mayRollBack(x portal.Snapshot, seen store.SnapshotsView) templates.Act {
	plan, known := v.plan(x, seen)
	if !known {
		return templates.Denied(notReadYet)
	}
	return v.may(portal.RequestRollback(v.login.Actor(), x.UID, false, plan))
}

const notReadYet = "What the snapshot holds has not been looked at yet. That is done within a minute."

// plan tells what a rollback would do, by what was last seen of the machine; known is false where that isn't enough.
func (v *shown) plan(x portal.Snapshot, seen store.SnapshotsView) (plan portal.RollbackPlan, known bool) {
	if x.Then == nil || seen.Present == nil {
		return plan, false
	}
	return portal.PlanRollback(x, v.Snapshots, portal.Wanted(v.Product, v.Service), *x.Then, *seen.Present, v.Places), true
}

// snapshotNamed gives one of the service's own snapshots by uid.
func (v *shown) snapshotNamed(uid string) (portal.Snapshot, error) {
	i := slices.IndexFunc(v.Snapshots, func(x portal.Snapshot) bool { return x.UID == uid && !x.External })
	if i < 0 {
		return portal.Snapshot{}, portal.NotFound()
	}
	return v.Snapshots[i], nil
}

// backToSnapshots leads to what holds now.
func (v *shown) backToSnapshots() templates.WayOut {
	return templates.WayOut{Label: "Back to the snapshots", Href: v.path("snapshots")}
}

// kept are the sentences about what a change of a snapshot leaves alone.
func (v *shown) kept() []portal.Text {
	if n := len(portal.Counted(v.copies)); n > 0 {
		return []portal.Text{portal.Count(n, "Your backup.", "Your %d backups.")}
	}
	return nil
}

// removeSnapshotPage asks before a snapshot is removed.
func (v *shown) removeSnapshotPage(f templates.Frame, x portal.Snapshot) templates.RemoveSnapshotPage {
	f.Crumbs, f.Zone = v.crumbs(templates.Crumb{Text: "Snapshots", Href: v.path("snapshots")}, templates.Crumb{Text: "Remove"}), v.Schedule.Zone
	return templates.RemoveSnapshotPage{
		Frame: f, Service: v.head(templates.TabSnapshots), Snapshot: x.UID, Title: x.Title(), When: v.ago(x.TakenAt), Until: v.ago(x.ExpiresAt),
		Lost:   []portal.Text{portal.Say("The way back to %s. It can't be brought back.", v.at(x.TakenAt).When)},
		Stays:  append([]portal.Text{"The machine itself, with everything on it.", "Your other snapshots."}, v.kept()...),
		Remove: v.may(portal.RequestSnapshotRemoval(v.login.Actor(), x.UID)),
	}
}

// rollbackPage asks before a machine is put back.
func (v *shown) rollbackPage(f templates.Frame, x portal.Snapshot, seen store.SnapshotsView) templates.RollbackPage {
	f.Crumbs, f.Zone = v.crumbs(templates.Crumb{Text: "Snapshots", Href: v.path("snapshots")}, templates.Crumb{Text: "Rollback"}), v.Schedule.Zone
	p := templates.RollbackPage{
		Frame: f, Service: v.head(templates.TabSnapshots), Snapshot: x.UID, Title: x.Title(), When: templates.AtAgo(x.TakenAt, v.Now, v.loc),
		Lost:     []portal.Text{portal.Say("Everything that was changed on the machine since (%s).", portal.Duration(v.Now.Sub(x.TakenAt).Truncate(time.Minute)))},
		Stays:    append([]portal.Text{"Your snapshots, this one included."}, v.kept()...),
		Rollback: v.mayRollBack(x, seen),
	}
	runs := v.Service.Status == "running"
	if runs {
		p.Lost = append(p.Lost, "What runs on it now: it is interrupted.")
	}
	plan, known := v.plan(x, seen)
	if !known || plan.Refusal != nil {
		return p
	}
	p.Plan = planWord(plan)
	p.Sentence, p.Start, p.StartText = plan.Sentence, runs, "Start the machine afterwards"
	switch {
	case plan.Memory && runs:
		p.StartText = ""
	case plan.Memory:
		p.StartText = "Leave the machine running (it is off now)"
	case plan.MemoryLost:
		p.Sentence, p.Warning = "", plan.Sentence
	}
	for _, c := range plan.Changes {
		if c.Sent() {
			p.Changes = append(p.Changes, templates.Fact{Name: c.What, Value: portal.Say("%s → %s", c.Before, c.After)})
		}
	}
	return p
}

// planWord names what happens to the memory, so that a confirmation is of what was read.
func planWord(plan portal.RollbackPlan) string {
	switch {
	case plan.Memory:
		return "memory"
	case plan.MemoryLost:
		return "lost"
	}
	return "off"
}

// snapshotTitle names an operation on a snapshot: "Rollback to the snapshot of Thu 12 Nov 03:00".
func (t teller) snapshotTitle(line store.OperationLine) portal.Text {
	of := templates.At(line.SnapshotTaken, t.now, t.loc)
	switch {
	case line.Kind == portal.KindSnapshot:
		return "Snapshot [operation]"
	case of.IsZero() && line.Kind == portal.KindRollback:
		return "Rollback to a snapshot"
	case of.IsZero():
		return "Removal of a snapshot"
	case line.Kind == portal.KindRollback:
		return portal.Say("Rollback to the snapshot of %s", of.When)
	case !line.Manual:
		return portal.Say("End of the snapshot of %s", of.When)
	}
	return portal.Say("Removal of the snapshot of %s", of.When)
}

// snapshotCard names an operation on a snapshot while it runs or waits.
func (v *shown) snapshotCard(o portal.Operation) portal.Text {
	i := slices.IndexFunc(v.Snapshots, func(x portal.Snapshot) bool { return x.ID == o.SnapshotID })
	switch {
	case o.Kind == portal.KindSnapshot && o.State == portal.StateQueued:
		return "A snapshot waits"
	case o.Kind == portal.KindSnapshot:
		return portal.Say("Taking a snapshot of %s", v.Service.Name)
	case i < 0 && o.Kind == portal.KindRollback:
		return "Rolling back to a snapshot"
	case i < 0:
		return "Removing a snapshot"
	case o.Kind == portal.KindRollback:
		return portal.Say("Rolling back to the snapshot of %s", v.at(v.Snapshots[i].TakenAt).When)
	}
	return portal.Say("Removing the snapshot of %s", v.at(v.Snapshots[i].TakenAt).When)
}

// snapshotSteps lists the steps of an operation on a snapshot in their order.
func snapshotSteps(line store.OperationLine) []string {
	w, list := line.Work, []string{portal.StepPreflight}
	switch {
	case line.Kind == portal.KindSnapshot:
		return append(list, portal.StepSnapshot)
	case line.Kind == portal.KindSnapshotDelete:
		return append(list, portal.StepSnapshotDelete)
	case w.Memory:
		list = append(list, portal.StepRollback, portal.StepReapply)
		if w.Was != "running" && w.Was != "" && !w.Start {
			list = append(list, portal.StepPowerOff)
		}
		return list
	case line.SnapshotMemory:
		list = append(list, portal.StepRollback, portal.StepPowerOff, portal.StepReapply)
	case w.Was == "running":
		list = append(list, portal.StepPowerOff, portal.StepRollback, portal.StepReapply)
	default:
		list = append(list, portal.StepRollback, portal.StepReapply)
	}
	if w.Start {
		list = append(list, portal.StepStart)
	}
	return list
}

// snapshotStepTitles name the steps of operations on snapshots.
var snapshotStepTitles = map[string]portal.Text{
	portal.StepPreflight:      "Look at the machine and its snapshots",
	portal.StepSnapshot:       "Take the snapshot",
	portal.StepSnapshotDelete: "Remove the snapshot",
	portal.StepPowerOff:       "Switch the machine off",
	portal.StepRollback:       "Put the machine back to the snapshot",
	portal.StepReapply:        "Bring the machine in step with your package",
	portal.StepStart:          "Start the machine",
}

// snapshotDoing says what an operation on a snapshot does now.
func snapshotDoing(step string) portal.Text {
	return map[string]portal.Text{
		portal.StepPreflight: "Looking at the machine and its snapshots", portal.StepSnapshot: "Taking the snapshot",
		portal.StepSnapshotDelete: "Removing the snapshot", portal.StepPowerOff: "Switching the machine off",
		portal.StepRollback: "Putting the machine back", portal.StepReapply: "Bringing the machine in step with your package",
		portal.StepStart: "Starting the machine",
	}[step]
}

// snapshotBusy says in a few words what a machine is busy with.
func snapshotBusy(o portal.Operation) portal.Text {
	lock := map[portal.Kind]string{portal.KindSnapshot: "snapshot", portal.KindSnapshotDelete: "snapshot-delete", portal.KindRollback: "rollback"}[o.Kind]
	return portal.LockWords(lock)
}
