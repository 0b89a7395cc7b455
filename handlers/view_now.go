package handlers

import (
	"time"

	"stowage/portal"
	"stowage/store"
	"stowage/templates"
)

// What the panel of the present shows while nothing runs.

// idleBackups are the last backup and the next run.
func (v *shown) idleBackups() templates.Idle {
	next := templates.IdleFact{Name: "Next run", None: "none planned"}
	if runs := v.nextRuns(1); len(runs) > 0 {
		next.At = v.ago(runs[0].Due)
		next.Hint = next.At.Ago
	}
	return templates.Idle{Facts: []templates.IdleFact{v.lastBackup(), next}}
}

// lastBackup is how the latest backup ended. Where many other things were done since, it is the newest copy.
func (v *shown) lastBackup() templates.IdleFact {
	if line := v.lastEnded(func(k portal.Kind) bool { return k == portal.KindBackup }); line != nil {
		f := v.ended(*line, "Last backup")
		if b, ok := v.backup(line.BackupID); ok && line.State == portal.StateSucceeded && b.Size > 0 {
			f.Hint = templates.Listed(f.Hint, templates.Bytes(b.Size))
		}
		return f
	}
	f := templates.IdleFact{Name: "Last backup", None: "none yet"}
	if newest := v.newest(); newest != nil {
		f.At, f.Hint = v.at(newest.Start()), templates.Bytes(newest.Size)
	}
	return f
}

// idleSnapshots are what was last done with snapshots, and the snapshot that ends next.
func (v *shown) idleSnapshots() templates.Idle {
	last := templates.IdleFact{Name: "Last done", None: "nothing yet"}
	if line := v.lastEnded(snapshotWork); line != nil {
		last = v.ended(*line, v.teller().title(*line))
	}
	next := templates.IdleFact{Name: "Ends next", None: "none [snapshot]"}
	var ends time.Time
	for _, x := range v.Snapshots {
		if x.State == portal.SnapshotThere && !x.External && (ends.IsZero() || x.ExpiresAt.Before(ends)) {
			ends, next.Hint = x.ExpiresAt, x.Title()
		}
	}
	next.At = v.at(ends)
	return templates.Idle{Facts: []templates.IdleFact{last, next}}
}

// idleMachine is what was last done with the machine, whatever it was.
func (v *shown) idleMachine() templates.Idle {
	last := templates.IdleFact{Name: "Last done", None: "nothing yet"}
	if line := v.lastEnded(func(portal.Kind) bool { return true }); line != nil {
		last = v.ended(*line, v.teller().title(*line))
	}
	return templates.Idle{Facts: []templates.IdleFact{last}}
}

// lastEnded gives the latest of the recent operations of some kinds that has ended, or nil.
func (v *shown) lastEnded(of func(portal.Kind) bool) *store.OperationLine {
	var last *store.OperationLine
	for i, line := range v.Recent {
		if line.State.Final() && of(line.Kind) && (last == nil || line.EndedAt.After(last.EndedAt)) {
			last = &v.Recent[i]
		}
	}
	return last
}

// ended says when an operation ended, and how.
func (v *shown) ended(line store.OperationLine, name portal.Text) templates.IdleFact {
	f := templates.IdleFact{Name: name, At: v.at(line.EndedAt), Href: v.path("operations", line.UID)}
	switch took := took(line.Operation); {
	case line.State == portal.StateFailed:
		f.Hint, f.Tone = "failed", templates.ToneBad
	case line.State == portal.StateCancelled:
		f.Hint = "cancelled"
	case took != "":
		f.Hint = portal.Say("done in %s", took)
	default:
		f.Hint = "done"
	}
	return f
}
