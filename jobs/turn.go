package jobs

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"stowage/portal"
	"stowage/pve"
	"stowage/store"
)

// step is one change to the outside world. look observes it, intend prepares the row for the one request, send
// sends it, next goes on when the effect is there, and failed decides what a failed attempt means.
type step struct {
	look   func(*turn) (portal.Sight, error)
	intend func(*turn) error
	send   func(*turn) (string, error) // UPID, or "" where Proxmox gives none
	next   func(*turn) error
	failed func(*turn) error
}

// steps lists what each kind of operation does, by the name that is stored. Preflight is no change and has a
// turn of its own.
var steps map[portal.Kind]map[string]step

func init() {
	steps = map[portal.Kind]map[string]step{
		portal.KindBackup:  {portal.StepEvict: evictStep, portal.StepDump: dumpStep},
		portal.KindDelete:  {portal.StepDelete: deleteStep},
		portal.KindProtect: {portal.StepProtect: protectStep},
		portal.KindPower:   {portal.StepPower: powerErrand.step()},
		portal.KindReapply: {portal.StepReapply: reapplyStep},
		portal.KindPassword: {
			portal.StepPassword: passwordStroke.step(), portal.StepCloudInit: cloudInitStroke.step(),
		},
		portal.KindReinstall: {
			portal.StepPowerOff: powerOff((*turn).offForReinstall), portal.StepSettings: settingsStep, portal.StepDrive: driveErrand.step(), portal.StepSnapshotDelete: dropSnapshots.step(), portal.StepDetach: detachStep,
			portal.StepInstall: installErrand.step(), portal.StepReapply: reapplyStep, portal.StepPassword: passwordStroke.step(),
			portal.StepCloudInit: cloudInitStroke.step(), portal.StepStart: powerOn(startedAnew), portal.StepProof: {look: lookAgent}, portal.StepTidy: tidyStep,
		},

		portal.KindSnapshot:       {portal.StepSnapshot: snapshotStep()},
		portal.KindSnapshotDelete: {portal.StepSnapshotDelete: delSnapshotStep()},
		portal.KindRollback: {
			portal.StepPowerOff: rollbackOff(), portal.StepRollback: rollbackStep(), portal.StepReapply: reapplyStep, portal.StepStart: powerOn((*turn).rolledBack),
		},
		portal.KindRestore: restoreSteps(),
	}
}

// turn is one turn at one operation: the row, what is known of its service, and what will be saved with it.
type turn struct {
	context.Context
	e       *Engine
	op      portal.Operation
	sit     portal.Situation // see load
	link    *link
	now     time.Time
	changes store.Changes

	taskExit string         // of the operation's task, once it has ended
	taskLog  []pve.LogLine  // its whole log
	parsed   pve.VzdumpLog  // what the log of a vzdump says
	failure  string         // why the attempt failed, exact
	archive  *store.Archive // the archive that the dump made
	doubted  bool           // the listing in which it was looked for proves nothing
	victim   *portal.Copy   // chosen by look for intend
	more     bool           // a step is over: the next turn needn't wait

	config  pve.GuestConfig // of the machine, as compare read it
	running bool            // whether it ran then
	differs []portal.Change // what compare found
}

func (e *Engine) begin(ctx context.Context, op portal.Operation) (*turn, error) {
	l, err := e.link(ctx, op.ServerID)
	if err != nil {
		return nil, err
	}
	t := &turn{Context: ctx, e: e, op: op, link: l, now: e.now()}
	if op.Step == portal.StepDump && op.UPID != "" && op.CancelAt.IsZero() {
		return t, nil // most turns see that a dump goes on: lookDump loads the rest where there is more to it
	}
	return t, t.load()
}

// load reads what is known of the operation's service.
func (t *turn) load() (err error) {
	if t.sit.Service.ID == 0 {
		t.sit, err = t.e.db.Situation(t, t.op.ServiceID)
	}
	return err
}

// take makes the turn.
func (t *turn) take() error {
	if t.op.Step == portal.StepPreflight && t.op.Kind.OnMachine() {
		return t.machinePreflight()
	}
	if t.op.Step == portal.StepPreflight {
		return t.preflight()
	}
	s, ok := steps[t.op.Kind][t.op.Step]
	if !ok {
		return t.hold("The portal met a step that it does not know.", fmt.Sprintf("unknown step %q: written by a newer version?", t.op.Step))
	}
	if !t.op.CancelAt.IsZero() {
		if done, err := t.cancel(); done || err != nil {
			return err
		}
	}
	seen, err := s.look(t)
	if errors.Is(err, errRestarted) {
		return nil // look has made a move of its own
	}
	if t.op.State.Final() || t.op.State == portal.StateQueued {
		return err
	}
	if err != nil {
		return t.cannotLook(err)
	}
	do := portal.Decide(t.op, seen, t.now)
	if do != portal.DoWait {
		if err := t.load(); err != nil {
			return err
		}
	}
	switch do {
	case portal.DoWait:
		return t.wait(seen)
	case portal.DoNext:
		t.keepLog()
		t.clearRequest()
		return s.next(t)
	case portal.DoQueue:
		t.keepLog()
		return t.back(s, "Your host was busy with this machine; it is tried again.", "refused: "+t.failure)
	case portal.DoRetry:
		t.keepLog()
		t.clearRequest()
		return s.failed(t)
	case portal.DoIntend:
		return t.request(s)
	case portal.DoAdopt:
		return t.adopt(seen.Found)
	case portal.DoForget:
		return t.forget(s)
	case portal.DoAgain:
		t.clearRequest()
		return t.requeue("The machine moved to another host; it is followed.", "POST vzdump answered OK without a task", 5*time.Second, true)
	case portal.DoHold:
		return t.hold("This takes much longer than usual. Our team has been told and looks at it.", "no line in the task's log for "+portal.Duration(portal.StuckAfter).String())
	case portal.DoGiveUp:
		return t.giveUp()
	}
	return fmt.Errorf("no such move: %s", do)
}

// request commits the intent, sends the one request, and commits what the answer said.
func (t *turn) request(s step) error {
	if !t.now.Before(t.op.GiveUpAt) {
		t.failure = "past its time before anything was sent"
		return t.fail("It could not be done in time.", t.failure)
	}
	if err := s.intend(t); errors.Is(err, errRestarted) {
		return nil // intend has made a move of its own
	} else if err != nil {
		return err
	}
	t.op.IntentAt, t.op.UPID, t.op.NoTask, t.op.CleanLooks = t.now, "", false, 0
	t.op.RunAfter = t.now
	if err := t.save("intent"); err != nil {
		if store.Taken(err) {
			return t.e.postpone(t.Context, t.op.ID, 10*time.Second)
		}
		return err
	}
	upid, err := s.send(t)
	switch {
	case err == nil && upid == "" && t.op.Kind.OnMachine():
		t.op.ProgressAt = t.now // it is done with the answer: what is seen now counts
		t.more = true
	case err == nil:
		t.op.UPID, t.op.ProgressAt = upid, t.now
		t.op.RunAfter = t.now.Add(t.pace())
	case errors.Is(err, pve.ErrNothingStarted):
		t.op.NoTask, t.op.RunAfter = true, t.now
	case pve.ClassOf(err) == pve.Refused || pve.ClassOf(err) == pve.Gone || pve.ClassOf(err) == pve.Unreachable:
		// Proxmox said no, or the request never left: nothing happened.
		t.failure = err.Error()
		t.clearRequest()
		if reason := pve.ReasonOf(err); reason == pve.Locked || reason == pve.LockFile || pve.ClassOf(err) == pve.Unreachable {
			return t.back(s, "Your host could not take the request; it is tried again.", t.failure)
		}
		return s.failed(t)
	default:
		// The answer is lost: the intent stays, and the next turns look for its effect.
		t.note("note", "The answer of your host was lost; we look whether it began.", err.Error())
		t.op.RunAfter = t.now.Add(2 * time.Second)
	}
	return t.save("answer")
}

// wait saves progress and says when to look again.
func (t *turn) wait(seen portal.Sight) error {
	if seen.Clean {
		t.op.CleanLooks++
	}
	if seen.Grew {
		t.op.ProgressAt = t.now
	}
	t.op.RunAfter = t.now.Add(t.pace())
	if seen.Task == portal.TaskUnreachable && t.failure != "" {
		t.op.WaitsFor, t.op.StaffReason = unreachable, t.failure
		t.op.RunAfter = t.now.Add(max(t.pace(), unreachablePace))
	}
	return t.save("progress")
}

// The paces at which a task is looked at.
const (
	watchedPace  = time.Second // somebody has the page open
	ordinaryPace = 10 * time.Second
	closePace    = time.Second            // it ends within seconds: its host stands idle until that is seen
	awaitedPace  = 2 * time.Second        // somebody waits for their machine
	restorePace  = 500 * time.Millisecond // what takes no longer is seen as soon as the engine wakes

	unreachablePace = 5 * time.Second // at least, where a host doesn't answer: each question takes its time
)

// pace is how soon to look again: every second while somebody watches, and sooner than every ten seconds where a task is
// about to end. A deletion takes a moment only; when a dump ends, its log tells beforehand.
func (t *turn) pace() time.Duration {
	if t.e.db.IsWatched(t.op.ServiceID) {
		return watchedPace
	}
	if t.op.Kind.OnMachine() || t.op.Work.Safety {
		return t.machinePace()
	}
	if t.op.UPID == "" || t.now.Sub(t.op.ProgressAt) >= ordinaryPace {
		return ordinaryPace // nothing that could be foreseen, or it came otherwise
	}
	if t.op.DeletePlace != "" {
		return closePace
	}
	if left := t.op.TotalBytes - t.op.DoneBytes; t.op.Rate > 0 && left >= 0 {
		seconds := time.Duration(min(left/t.op.Rate, 60)) * time.Second
		return min(max(seconds, closePace), ordinaryPace)
	}
	return ordinaryPace
}

// machinePace is how soon to look again at work on a machine. What a person has asked for is seen to end within a second
// or two, however little it tells of how far it is: the machine is down meanwhile. What nobody asked for may be seen as
// late as it has taken already.
func (t *turn) machinePace() time.Duration {
	age := t.now.Sub(t.op.IntentAt)
	switch {
	case t.op.UPID == "":
		return ordinaryPace // it isn't known whether anything began
	case !t.op.Manual:
		return min(max(age, closePace), ordinaryPace)
	}
	if t.op.Kind == portal.KindRestore || t.op.Work.Safety { // several tasks behind each other, with the machine down
		return min(max(age/300, restorePace), closePace)
	}
	return min(max(age/300, closePace), awaitedPace)
}

// refusedPause is how long work that was refused waits before it asks again.
const refusedPause = time.Minute

// back puts work that was refused back into the queue. A backup that is made already doesn't go back: only its
// clearing-up failed.
func (t *turn) back(s step, text portal.Text, staff string) error {
	if t.dumped() {
		t.clearRequest()
		t.failure = staff
		return s.failed(t)
	}
	if t.op.Kind.OnMachine() {
		return t.refusedInPlace(text, staff)
	}
	return t.requeue(text, staff, refusedPause, false)
}

// dumped tells whether the copy is made, and only room is to be made after it.
func (t *turn) dumped() bool {
	return t.op.Kind == portal.KindBackup && t.op.Step == portal.StepEvict && t.op.Timing == portal.TimingAfter
}

// adopt takes over the task that an earlier life of ours started.
func (t *turn) adopt(upid string) error {
	t.op.UPID, t.op.ProgressAt, t.op.RunAfter = upid, t.now, t.now
	t.note("note", "The portal was interrupted and has found its work again.", "adopted "+upid)
	return t.save("adopt")
}

// forget clears the intent of a request that never arrived.
func (t *turn) forget(s step) error {
	t.failure = neverArrived
	t.clearRequest()
	t.note("retry", "The request did not reach your host; it is sent again.", t.failure)
	return s.failed(t)
}

// neverArrived is the failure of a request of which nothing was found.
const neverArrived = "the request never arrived"

// clearRequest forgets the request that was under way: it is over, whichever way.
func (t *turn) clearRequest() {
	t.op.IntentAt, t.op.IntentNode, t.op.KnownUPIDs, t.op.NoTask = time.Time{}, "", nil, false
	t.op.CleanLooks, t.op.UPID = 0, ""
}

// cannotLook waits where the world could not be looked at, and gives up at the end of its time.
func (t *turn) cannotLook(err error) error {
	if errors.Is(err, store.ErrStale) || t.Err() != nil {
		return err
	}
	if err := t.load(); err != nil {
		return err
	}
	waits, text := unreachable, portal.Text("Your host could not be reached in time.")
	if errors.Is(err, errDoubtful) {
		waits, text = unconfirmed, "The list of your backups could not be confirmed in time, so nothing was done."
	} else if pve.ClassOf(err) == "" && portal.CodeOf(err) == "" {
		t.e.log.ErrorContext(t, "look failed", "operation_id", t.op.ID, "error", err)
	}
	t.op.StaffReason = err.Error()
	if !t.now.Before(t.op.GiveUpAt) {
		if t.op.IntentAt.IsZero() {
			return t.fail(text, err.Error())
		}
		return t.giveUp()
	}
	t.op.WaitsFor = waits
	t.op.RunAfter = t.now.Add(max(t.pace(), unreachablePace))
	return t.save("cannot look")
}

// What work waits for in more than one place: clauses.
const (
	unreachable portal.Text = "we can't reach your host"
	unconfirmed portal.Text = "the list of your backups could not be confirmed"
	noPlace     portal.Text = "there is no free place, and nothing is removed by itself right now"
)

// errDoubtful says that a listing answered and proves nothing.
var errDoubtful = errors.New("the listing has no authority")

// requeue puts the operation back: nothing was done, it holds nothing, and it starts over with preflight.
func (t *turn) requeue(text portal.Text, staff string, after time.Duration, quiet bool) error {
	if t.op.Work.Broken {
		return t.waitInHand(text, staff, after)
	}
	t.clearRequest()
	t.op.State, t.op.DumpPlace, t.op.DeletePlace = portal.StateQueued, "", ""
	t.op.RunAfter, t.op.StaffReason = t.now.Add(after), staff
	t.op.Percent, t.op.DoneBytes, t.op.TotalBytes, t.op.Rate, t.op.LogLines = 0, 0, 0, 0, 0
	if t.op.Kind.Exclusive() {
		t.op.Step = portal.StepPreflight
	}
	if !t.op.CancelAt.IsZero() {
		return t.cancelled()
	}
	what := "waits"
	if quiet {
		what = "note"
	}
	if text != "" {
		t.note(what, text, staff)
	}
	return t.save("requeue")
}

// waitInHand waits without giving the machine back: one that isn't whole is nobody's to work on.
func (t *turn) waitInHand(text portal.Text, staff string, after time.Duration) error {
	t.clearRequest()
	if !t.now.Before(t.op.GiveUpAt) {
		return t.hold("It could not be done in time.", staff)
	}
	t.op.RunAfter, t.op.StaffReason = t.now.Add(after), staff
	if text != "" {
		t.note("waits", text, staff)
	}
	return t.save("waits")
}

// hold stops until a person has looked.
func (t *turn) hold(text portal.Text, staff string) error {
	if err := t.load(); err != nil {
		return err
	}
	if t.op.Kind == portal.KindRestore && t.op.Work.Broken {
		t.tellRestoreFailed(text)
		text = t.stoppedAt(text)
	}
	t.op.State, t.op.Reason, t.op.StaffReason = portal.StateHeld, text, staff
	t.note("failed", text, staff)
	t.tellStaff("operation.held", staff)
	return t.save("hold")
}

// fail ends the operation badly. What is unharmed is said with it.
func (t *turn) fail(text portal.Text, staff string) error {
	if t.op.Work.Broken {
		return t.hold(text, staff) // nobody may start what stands in the machine's place
	}
	if t.dumped() {
		return t.succeedWithWarning(staff)
	}
	return t.end(portal.StateFailed, text, staff, portal.SlotFailed)
}

// giveUp ends an operation whose request may still show an effect; what appears within a day is adopted.
func (t *turn) giveUp() error {
	if t.dumped() {
		return t.succeedWithWarning("gave up: " + t.op.StaffReason)
	}
	if t.op.Work.Broken {
		return t.hold("Your host can't be reached, so we don't know how it ended. Our team has been told.", "gave up with an open intent: "+t.op.StaffReason)
	}
	if t.op.Kind.OnMachine() {
		return t.end(portal.StateFailed, "Your host could not be reached, so we don't know how it ended. Look at your machine before you try again.", "gave up with an open intent: "+t.op.StaffReason, portal.SlotFailed)
	}
	t.op.WatchUntil = t.now.Add(portal.WatchFor)
	return t.end(portal.StateFailed, "Your host could not be reached, so we don't know how it ended. If the backup appears, you will find it in the list.", "gave up with an open intent: "+t.op.StaffReason, portal.SlotFailed)
}

// end writes the final state with all that belongs to it, in one transaction.
func (t *turn) end(state portal.State, text portal.Text, staff string, slot portal.SlotStatus) error {
	t.lookAtLock()
	t.op.State, t.op.Reason, t.op.StaffReason = state, text, staff
	t.op.EndedAt, t.op.DumpPlace, t.op.DeletePlace, t.op.WaitsFor = t.now, "", "", ""
	t.changes.SlotState = string(slot)
	if t.changes.SlotReason == "" {
		t.changes.SlotReason = text
	}
	what := "done"
	if state != portal.StateSucceeded {
		what = "failed"
	}
	t.note(what, text, staff)
	t.changes.Audit = append(t.changes.Audit, store.Entry{Actor: "engine", Action: string(t.op.Kind) + "." + string(state), Entity: "operation",
		EntityUID: t.op.UID, ServiceID: t.op.ServiceID, After: staff})
	if state == portal.StateFailed {
		topic := string(t.op.Kind) + ".failed"
		if slot == portal.SlotMissed && t.op.Scheduled() {
			topic = "backup.missed"
		}
		if t.op.Kind == portal.KindRestore {
			t.tellRestoreFailed(text)
		} else {
			t.tell(topic, text)
		}
		t.tellStaff(string(t.op.Kind)+".failed", staff)
	}
	if t.changes.Backup == nil {
		if err := t.closeRunningRow(); err != nil {
			return err
		}
	}
	if t.op.Kind == portal.KindSnapshot && state != portal.StateSucceeded && t.changes.Snapshot == nil {
		if err := t.closeTakingRow(); err != nil {
			return err
		}
	}
	return t.save("end")
}

// lookAtLock looks whether the lock that was last seen is still there, at the end of work that may have set it: else the
// page would call a machine locked that no longer is. Where that can't be seen, the next Sync says how it is.
func (t *turn) lookAtLock() {
	if t.op.Kind.Exclusive() && t.op.Node != "" && !t.op.StartedAt.IsZero() && (t.sit.Service.Lock != "" || t.e.db.IsWatched(t.op.ServiceID)) {
		_, _ = t.status()
	}
}

// closeRunningRow ends the row of a copy that was being made and of which nothing came.
func (t *turn) closeRunningRow() error {
	if t.op.Kind != portal.KindBackup || t.op.BackupID == 0 {
		return nil
	}
	b, err := t.e.db.Backup(t, t.op.BackupID)
	if err != nil || b.Class != portal.ClassRunning {
		return err
	}
	b.Class, b.EndedAt, b.Reason = portal.ClassFailed, t.now, t.op.Reason
	t.changes.Backup = &b
	if t.op.WatchUntil.IsZero() && b.Volid == "" {
		t.changes.RemovedID, t.changes.RemovedHow = b.ID, "never made"
	}
	return nil
}

// note adds a line to the operation's story.
func (t *turn) note(what string, text portal.Text, staff string) {
	t.changes.Steps = append(t.changes.Steps, store.StepNote{At: t.now, Step: t.op.Step, What: what, Text: text, Staff: staff})
}

// tell puts a mail to the client into the outbox with the next save. Its text is kept as it is, to be said in the
// language of whoever reads it.
func (t *turn) tell(topic string, text portal.Text) { t.post("mail", topic, string(text)) }

// tellStaff puts a message to staff into the outbox with the next save: the exact words.
func (t *turn) tellStaff(topic, exact string) { t.post("staff", topic, exact) }

func (t *turn) post(channel, topic, text string) {
	t.changes.Messages = append(t.changes.Messages, store.Message{Channel: channel, ServiceID: t.op.ServiceID, Topic: topic, Payload: map[string]any{
		"service": t.sit.Service.UID, "name": t.sit.Service.Name, "operation": t.op.UID, "reference": t.op.Reference, "slot": t.op.SlotDate, "text": text,
	}})
}

// save writes the move and begins a new set of changes.
func (t *turn) save(name string) error {
	err := t.e.db.Save(t.Context, string(t.op.Kind)+" "+name, &t.op, t.changes)
	if err == nil {
		t.changes = store.Changes{}
	}
	return err
}

// postpone lets an operation wait a little, whose place was taken by another.
func (e *Engine) postpone(ctx context.Context, id int64, d time.Duration) error {
	op, err := e.db.Operation(ctx, id)
	if err != nil {
		return err
	}
	op.RunAfter = e.now().Add(d)
	return e.db.Save(ctx, "postpone", &op, store.Changes{})
}

// keepLog keeps the log of the task that has ended.
func (t *turn) keepLog() {
	if t.op.UPID == "" || t.taskExit == "" {
		return
	}
	var text []byte
	for _, l := range t.taskLog {
		text = append(append(text, l.Text...), '\n')
	}
	t.changes.TaskLog = &store.TaskLog{UPID: t.op.UPID, Exit: t.taskExit, Log: string(text)}
}

func sameEndpoint(a, b portal.Server) bool {
	return a.TokenID == b.TokenID && a.CA == b.CA && slices.Equal(a.Endpoints, b.Endpoints) && slices.Equal(a.Fingerprints, b.Fingerprints)
}

func caPool(pem string) (*x509.CertPool, error) {
	if pem == "" {
		return nil, nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(pem)) {
		return nil, portal.Invalid("ca-file", "The CA file holds no certificate.")
	}
	return pool, nil
}
