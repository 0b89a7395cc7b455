package jobs

import (
	"strings"
	"time"

	"stowage/portal"
	"stowage/pve"
	"stowage/store"
)

// cancel carries out a person's wish to end an operation. Done is true where the turn is over with that.
func (t *turn) cancel() (done bool, err error) {
	switch {
	case t.op.Step == portal.StepEvict && t.op.Timing == portal.TimingAfter:
		return false, nil // the copy is made; what remains is quick
	case t.op.Step == portal.StepEvict && (t.op.UPID != "" || !t.op.IntentAt.IsZero()):
		return false, nil // a deletion under way is seen to its end; the dump then doesn't begin
	case t.op.UPID == "" && t.op.IntentAt.IsZero():
		return true, t.cancelled()
	case t.op.UPID == "" || t.op.Step != portal.StepDump:
		return false, nil // look for the task first
	}
	task, grew, err := t.lookTask()
	if err != nil || task != portal.TaskRunning {
		return false, nil //nolint:nilerr // the ordinary turn looks again and says what is wrong
	}
	if t.op.CancelSent && t.now.Sub(t.op.ProgressAt) < 30*time.Second {
		return false, nil
	}
	_ = grew
	t.op.CancelSent, t.op.ProgressAt = true, t.now
	t.changes.Audit = append(t.changes.Audit, store.Entry{Actor: t.op.CancelBy, Action: "pve.stop_task", Entity: "operation", EntityUID: t.op.UID, ServiceID: t.op.ServiceID, After: t.op.UPID})
	t.note("note", "Your host is told to stop the backup.", t.op.UPID)
	t.op.RunAfter = t.now.Add(t.pace())
	if err := t.save("stop"); err != nil {
		return true, err
	}
	upid, err := pve.ParseUPID(t.op.UPID)
	if err != nil {
		return true, err
	}
	if err := t.link.client.StopTask(t, upid); err != nil {
		t.e.log.WarnContext(t, "stopping a task was not answered", "operation_id", t.op.ID, "upid", t.op.UPID, "error", err)
	}
	return true, nil
}

// cancelled ends the operation because a person wanted it to.
func (t *turn) cancelled() error {
	t.clearRequest()
	text := portal.Cancelled
	if t.op.Evicted && t.op.Timing == portal.TimingBefore {
		text = portal.CancelledEvicted
	}
	return t.end(portal.StateCancelled, text, "cancelled by "+t.op.CancelBy, portal.SlotSkipped)
}

// plain says in a client's words why Proxmox could not do it. Never Proxmox's own text: that is for staff.
func plain(failure string) portal.Text {
	for _, w := range []struct {
		part string
		text portal.Text
	}{
		{"No space left", "The backup storage is full."},
		{"Broken pipe", "The backup storage is full."},
		{"max backup limit", "The backup storage takes no more backups of this machine."},
		{"interrupted by signal", "The backup was stopped on your host."},
		{"unexpected status", "The backup was cut off on your host."},
		{"no longer knows", "Your host lost track of the backup, and it is not on the storage."},
		{"never arrived", "The request did not reach your host."},
		{"Permission check failed", "The portal lacks a right on your host."},
		{"does not exist", "Your machine or its storage was not found on the host."},
		{"could not activate storage", "The backup storage is offline."},
		{"not online", "The backup storage is offline."},
		{"not mounted", "The backup storage is offline."},
	} {
		if strings.Contains(failure, w.part) {
			return w.text
		}
	}
	return otherwise
}

// otherwise is what a client is told where nothing better is known.
const otherwise portal.Text = "Your host ended the backup with an error."

// reasonIn gives the reason for which Proxmox refused, from a failure's text.
func reasonIn(failure string) pve.Reason {
	if strings.Contains(failure, "cannot remove protected") {
		return pve.Protected
	}
	return ""
}
