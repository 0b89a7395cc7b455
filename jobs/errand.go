package jobs

import (
	"fmt"
	"slices"
	"time"

	"stowage/portal"
	"stowage/pve"
	"stowage/store"
)

// errand is a step on a machine itself: one request that Proxmox answers with a task, and an effect that can be seen.
type errand struct {
	call  string                                      // for the audit log: "pve.start"
	types []string                                    // of the tasks that it starts: "qmstart"
	begun func(*turn) portal.Text                     // said when the request is about to be sent
	done  func(*turn, portal.TaskSight) (bool, error) // whether the effect is there: seen, not believed
	ready func(*turn) error                           // may put the request off, and gives errRestarted then
	send  func(*turn) (pve.UPID, error)               // the one request
	next  func(*turn) error                           // goes on when the effect is there
	tries int                                         // attempts that may fail
	wrong func(t *turn, failure string) portal.Text   // why it failed, for people
}

// step makes an errand a step of the engine.
func (e errand) step() step {
	return step{look: e.look, intend: e.intend, send: e.dispatch, next: e.next, failed: e.failed}
}

// look observes the machine, and the task of the request where one is known or may be under way.
func (e errand) look(t *turn) (seen portal.Sight, err error) {
	seen.Task, seen.Grew, err = t.lookTask()
	if err != nil || seen.Task == portal.TaskRunning || seen.Task == portal.TaskUnreachable {
		return seen, err
	}
	if seen.Done, err = e.done(t, seen.Task); err != nil || seen.Done || t.op.UPID != "" || t.op.IntentAt.IsZero() {
		return seen, err
	}
	seen.Found, seen.Clean, err = t.findErrand(e.types)
	return seen, err
}

// intend writes down which tasks of the machine are there already.
func (e errand) intend(t *turn) error {
	if e.ready != nil {
		if err := e.ready(t); err != nil {
			return err
		}
	}
	tasks, err := t.link.client.Tasks(t, t.op.Node, pve.TaskFilter{Source: "all", VMID: t.sit.Service.VMID, Limit: 500})
	if err != nil {
		return t.over(t.cannotLook(err))
	}
	t.op.KnownUPIDs = nil
	for _, task := range tasks {
		t.op.KnownUPIDs = append(t.op.KnownUPIDs, task.UPID.String())
	}
	t.op.IntentNode, t.op.LogLines = t.op.Node, 0
	t.audit(e.call, fmt.Sprintf("node %s vmid %d", t.op.Node, t.sit.Service.VMID))
	if t.op.Work.Tries == 0 {
		t.note("begun", e.begun(t), e.call+" on "+t.op.Node)
	}
	t.op.Work.Tries++
	return nil
}

func (e errand) dispatch(t *turn) (string, error) {
	upid, err := e.send(t)
	return upid.String(), err
}

// failed counts an attempt. The machine is in hand: it is tried again in place, and what is broken is held.
func (e errand) failed(t *turn) error {
	return t.errandFailed(e.wrong(t, t.failure), e.tries)
}

// errandPause is how long an errand that failed or was refused rests. On 9.x a machine's lock file may stay held for
// half a minute after a stop (pve/differences: A1).
const errandPause = 10 * time.Second

// refusedFor is how long an errand may be refused by locks before that counts as its failure.
const refusedFor = 10 * time.Minute

func (t *turn) errandFailed(text portal.Text, tries int) error {
	if !t.op.CancelAt.IsZero() && !t.op.Work.Broken {
		return t.cancelled()
	}
	t.op.Attempt++
	if t.op.Attempt < max(tries, 1) {
		t.note("retry", portal.Sentences(text, "It is tried again."), t.failure)
		t.op.RunAfter = t.now.Add(errandPause)
		return t.save("retry")
	}
	return t.stop(text, t.failure)
}

// stop ends work on a machine at the step where it is. A machine that isn't whole stays with the operation until a
// person goes on.
func (t *turn) stop(text portal.Text, staff string) error {
	t.clearRequest()
	if t.op.Work.Broken {
		return t.hold(text, staff)
	}
	return t.fail(portal.Sentences(text, t.unharmed()), staff)
}

// unharmed says what a failure has left as it was.
func (t *turn) unharmed() portal.Text {
	switch n := len(portal.Counted(t.sit.Copies())); {
	case t.op.Work.Broken:
		return ""
	case n == 0:
		return "Your machine's data is untouched."
	default:
		return portal.Count(n, "Your machine's data and your backup are untouched.", "Your machine's data and your %d backups are untouched.")
	}
}

// refusedInPlace waits with the machine in hand where something on the host is locked.
func (t *turn) refusedInPlace(text portal.Text, staff string) error {
	t.clearRequest()
	if t.op.Work.RefusedSince.IsZero() {
		t.op.Work.RefusedSince = t.now
		t.note("waits", text, staff)
	}
	if t.now.Sub(t.op.Work.RefusedSince) >= refusedFor && t.op.Step == portal.StepRestore && !t.op.Work.Gone {
		return t.stopRestore("Your host kept the machine locked.", staff)
	}
	if t.now.Sub(t.op.Work.RefusedSince) >= refusedFor && !t.op.Work.Broken || !t.now.Before(t.op.GiveUpAt) {
		t.failure = staff
		return t.stop("Your host kept the machine locked.", staff)
	}
	t.op.RunAfter = t.now.Add(errandPause)
	return t.save("refused")
}

// findErrand looks for a task that this operation started without learning of it. Clean is false where a task list
// could not be read whole.
func (t *turn) findErrand(types []string) (found string, clean bool, err error) {
	nodes := []string{t.op.IntentNode}
	if t.sit.Service.Node != "" && t.sit.Service.Node != t.op.IntentNode {
		nodes = append(nodes, t.sit.Service.Node)
	}
	clean = true
	for _, node := range nodes {
		tasks, err := t.link.client.Tasks(t, node, pve.TaskFilter{Source: "all", VMID: t.sit.Service.VMID, Limit: 500})
		if err != nil {
			if pve.ClassOf(err) == "" {
				return "", false, err
			}
			t.op.StaffReason = err.Error()
			clean = false
			continue
		}
		for _, task := range tasks { // newest first
			if slices.Contains(types, task.Type) && task.UPID.Owner() == t.link.server.TokenID && !slices.Contains(t.op.KnownUPIDs, task.UPID.String()) {
				return task.UPID.String(), true, nil
			}
		}
	}
	return "", clean, nil
}

// onward goes on to another step.
func (t *turn) onward(step string) error {
	t.op.Step, t.op.Attempt, t.op.RunAfter = step, 0, t.now
	t.op.Work.Tries, t.op.Work.RefusedSince = 0, time.Time{}
	t.op.Percent, t.op.DoneBytes, t.op.TotalBytes, t.op.Rate, t.op.LogLines, t.op.WaitsFor = 0, 0, 0, 0, 0, ""
	t.more = true
	return t.save("to " + step)
}

// audit adds an audit row of the engine with the next save.
func (t *turn) audit(action, after string) {
	t.changes.Audit = append(t.changes.Audit, store.Entry{Actor: "engine", Action: action, Entity: "operation", EntityUID: t.op.UID, ServiceID: t.op.ServiceID, After: after})
}

// status reads what the machine does now, and keeps it for the pages.
func (t *turn) status() (pve.GuestStatus, error) {
	s, err := t.link.client.GuestStatus(t, t.op.Node, t.sit.Service.VMID)
	if err != nil {
		return s, err
	}
	return s, t.e.db.SaveSightings(t, []store.Sighting{{ServiceID: t.op.ServiceID, Node: t.op.Node, Status: coarse(s), Lock: s.Lock, Uptime: s.Uptime}})
}
