package portal

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"
)

// Kind says what an operation is for.
type Kind string

// The kinds of operation.
const (
	KindBackup         Kind = "backup"          // make a copy, and room for it
	KindDelete         Kind = "backup_delete"   // remove one copy because a person said so
	KindProtect        Kind = "backup_protect"  // protect a copy from removal, or end that
	KindSnapshot       Kind = "snapshot"        // take a snapshot
	KindSnapshotDelete Kind = "snapshot_delete" // remove one: a person said so, or its time is over
	KindRollback       Kind = "rollback"        // put the machine back to a snapshot, and re-apply the package
	KindRestore        Kind = "restore"         // put a copy in the machine's place, and re-apply the package
	KindReinstall      Kind = "reinstall"       // put a template's system in the machine's place
	KindPower          Kind = "power"           // start, shut down, stop or reboot
	KindPassword       Kind = "password"        // set the password of the machine's administrator
	KindReapply        Kind = "reapply"         // bring the machine in step with its package
)

// Exclusive tells whether an operation of the kind locks the machine while it runs or is held.
func (k Kind) Exclusive() bool { return k != KindDelete && k != KindProtect }

// OnMachine tells whether an operation of the kind changes the machine itself: it is an errand of a person who waits, or
// holds the machine from its first change to its last.
func (k Kind) OnMachine() bool { return k.Exclusive() && k != KindBackup }

// State is where an operation stands. Queued holds nothing; the last three are final, and final is final.
type State string

// The states of an operation.
const (
	StateQueued    State = "queued"
	StateRunning   State = "running"
	StateHeld      State = "held" // a person has to look
	StateSucceeded State = "succeeded"
	StateFailed    State = "failed"
	StateCancelled State = "cancelled"
)

// Final tells whether nothing more happens to an operation in this state.
func (s State) Final() bool {
	return s == StateSucceeded || s == StateFailed || s == StateCancelled
}

// Active tells whether an operation in this state holds what it works on.
func (s State) Active() bool { return s == StateRunning || s == StateHeld }

// The steps, stored by name.
const (
	StepPreflight = "preflight" // look, and decide what makes room
	StepEvict     = "evict"     // remove the copy that makes room, before or after the dump
	StepDump      = "dump"      // make the archive
	StepVerify    = "verify"    // see that it is there and whole
	StepDelete    = "delete"    // remove the copy
	StepProtect   = "protect"   // set the archive's protection

	StepSnapshot       = "snapshot"        // take the snapshot
	StepSnapshotDelete = "snapshot_delete" // remove it
	StepPowerOff       = "power_off"       // shut the machine down, and see that it is off
	StepRollback       = "rollback"        // let Proxmox put the machine back
	StepRestore        = "restore"         // let Proxmox put the archive in the machine's place
	StepReapply        = "reapply"         // bring the machine in step with its package, change by change
	StepStart          = "start"           // start the machine, and see that it runs
	StepProof          = "proof"           // wait until its guest agent answers
	StepPower          = "power"           // what the customer asked for
	StepPassword       = "password"        // set the password
	StepInstall        = "install"         // put the template's disk in the place of the machine's
	StepTidy           = "tidy"            // remove what the old system left
	StepDetach         = "detach"          // take the old system disk off the machine; its volume stays
	StepCloudInit      = "cloudinit"       // write the drive anew that tells the system its settings
	StepSettings       = "settings"        // put back what the machine's config said before it was restored over
	StepDrive          = "drive"           // make the drive that tells the system its settings
)

// Timing says when room is made for a new copy.
type Timing string

// The timings. TimingUnknown holds until preflight has decided.
const (
	TimingUnknown Timing = ""
	TimingNone    Timing = "none"   // there is a free place
	TimingBefore  Timing = "before" // remove, then create
	TimingAfter   Timing = "after"  // create, verify, then remove
)

// Operation is one durable piece of work on a service. It survives any crash because all that is needed to go
// on stands in its row, and because a request to Proxmox is sent only after the row says that it will be.
type Operation struct {
	ID         int64
	UID        string
	Reference  string // short, for people: K7Q-42M
	ServiceID  int64
	ServerID   int64
	Kind       Kind
	State      State
	Step       string
	ScheduleID int64  // with SlotDate: the slot it is for
	SlotDate   string // "2026-11-20"
	BackupID   int64
	SnapshotID int64
	VictimID   int64
	ReplaceID  int64
	AfterID    int64 // the operation that has to end well before this one starts
	Work       Work  // what only its kind needs
	Timing     Timing
	Evicted    bool
	Protect    bool
	Note       string
	Mode       string

	Node       string // where it works
	IntentAt   time.Time
	IntentNode string
	KnownUPIDs []string // vzdump tasks of this vmid that were there before we asked
	NoTask     bool     // Proxmox answered OK without a task
	CleanLooks int      // complete task lists that did not show our request
	UPID       string

	DumpPlace   string
	DeletePlace string

	Percent    int
	DoneBytes  int64
	TotalBytes int64
	Rate       int64
	LogLines   int
	ProgressAt time.Time
	WaitsFor   Text // a clause

	Manual     bool
	Attempt    int // requests that reached Proxmox and failed, so far
	Failures   int
	RunAfter   time.Time
	StartBy    time.Time
	GiveUpAt   time.Time
	WatchUntil time.Time

	Actor       string
	RetryOf     int64
	CancelAt    time.Time
	CancelBy    string
	CancelSent  bool
	Reason      Text
	StaffReason string // exact, in English
	Warning     Text
	CreatedAt   time.Time
	StartedAt   time.Time
	EndedAt     time.Time
	Version     int64
	Epoch       int64
}

// Work is what an operation on a machine keeps beside the columns that all have.
type Work struct {
	Action string `json:"action,omitempty"` // of power: start, shutdown, stop, reboot
	Start  bool   `json:"start,omitempty"`  // start the machine at the end
	Memory bool   `json:"memory,omitempty"` // of a snapshot: with the memory's content; of a rollback: back into it
	Was    string `json:"was,omitempty"`    // status of the machine before the first change: running, stopped

	// Broken says that the machine is not whole: from the first request that destroys something until it is in step with
	// its package again. It is never started meanwhile, nobody else works on it, and what fails is held.
	Broken bool `json:"broken,omitempty"`

	Config   map[string]string `json:"config,omitempty"`   // the machine's whole config before
	Firewall json.RawMessage   `json:"firewall,omitempty"` // and its firewall's
	Disks    []Disk            `json:"disks,omitempty"`    // its disks before, with their volumes

	Safety  bool   `json:"safety,omitempty"`  // of a backup: it saves the present state before a restore
	Archive string `json:"archive,omitempty"` // what is restored, for the story: node and volid
	Gone    bool   `json:"gone,omitempty"`    // of a restore: the old machine was seen to be no more
	// Inside are the drives that the archives hold which were sent so far: what the machine had there is gone.
	Inside []string `json:"inside,omitempty"`
	// Left are volumes that nobody needs any more and that no archive takes the place of: a system disk from elsewhere.
	// They are no additional disks, and are destroyed when the machine is in order.
	Left   []string `json:"left,omitempty"`
	Before string   `json:"before,omitempty"` // of a restore: fingerprint of the config when it was last sent
	Failed Text     `json:"failed,omitempty"` // of a restore that has touched nothing: why it fails once the machine runs again
	Proof  *Proof   `json:"proof,omitempty"`  // of a restore: what was seen of the machine afterwards

	Template string `json:"template,omitempty"` // of a reinstall: its name
	From     int    `json:"from,omitempty"`     // and its vmid
	User     string `json:"user,omitempty"`     // of a password
	Way      string `json:"way,omitempty"`      // of a password: agent, cloudinit
	Shown    bool   `json:"shown,omitempty"`    // of a password: it was shown, once
	Answered bool   `json:"answered,omitempty"` // the present step's request was answered well; for those whose effect nobody can see

	Old     string `json:"old,omitempty"`     // of a reinstall: the volume that was the system disk
	Device  string `json:"device,omitempty"`  // and where it hung: scsi0
	Storage string `json:"storage,omitempty"` // where the new one is made
	Source  string `json:"source,omitempty"`  // the template's volume
	Scratch bool   `json:"scratch,omitempty"` // a machine is made of what a restore has left in its place
	Virtio  bool   `json:"virtio,omitempty"`  // with its disks on virtio, because its controller can't be brought back

	Changes []Applied `json:"changes,omitempty"` // what was changed on the machine, in order
	Now     *Applied  `json:"now,omitempty"`     // the change that is under way
	StopAt  time.Time `json:"stop_at,omitzero"`  // when the machine was seen to have stopped

	Tries        int       `json:"tries,omitempty"`        // requests of the present step
	RefusedSince time.Time `json:"refused_since,omitzero"` // since when its requests meet a lock
}

// Kept is the machine as it was before the operation began to overwrite it, for whoever has to put it right by hand: the
// lines of its config in order, then those of its firewall as JSON. Nothing was kept where nothing was overwritten.
func (w Work) Kept() []string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(w.Config)) {
		if key != "digest" {
			out = append(out, key+": "+strings.ReplaceAll(w.Config[key], "\n", `\n`))
		}
	}
	var firewall bytes.Buffer
	if len(w.Firewall) > 0 && json.Indent(&firewall, w.Firewall, "", "  ") == nil {
		out = append(out, strings.Split("firewall: "+firewall.String(), "\n")...)
	}
	return out
}

// Applied is one change that was made on a machine, before and after, for people.
type Applied struct {
	Name   string `json:"name"` // as in Change
	Key    string `json:"key,omitempty"`
	To     string `json:"to,omitempty"`
	Task   bool   `json:"task,omitempty"` // Proxmox makes a task of it
	Live   bool   `json:"live,omitempty"` // it holds at once on a machine that runs
	What   Text   `json:"what"`
	Before Text   `json:"before"`
	After  Text   `json:"after"`
}

// Scheduled tells whether the operation is for a slot.
func (o Operation) Scheduled() bool { return o.SlotDate != "" }

// The limits of waiting.
const (
	SettleWindow = 5 * time.Minute    // a request whose answer was lost may still show up for so long
	StuckAfter   = 2 * time.Hour      // a task whose log does not grow for so long is held
	GiveUpAfter  = 24 * time.Hour     // bounds every operation but the one below
	ReapplyBy    = 7 * 24 * time.Hour // a package that was changed is applied when the machine can be worked on
	WatchFor     = 24 * time.Hour     // an unknown outcome is looked for so much longer
	LateAfter    = 15 * time.Minute   // a slot that starts later than this is late
	CleanNeeded  = 2                  // clean looks before a request counts as never arrived
	MaxFailures  = 5                  // panics in a row before an operation is parked
)

// What an operation says at its end in more than one place.
const (
	InYourList       Text = "The backup is in your list." // a good end of a backup: it holds as long as the copy is there
	Cancelled        Text = "Cancelled. Your other backups are untouched."
	CancelledEvicted Text = "Cancelled. The oldest backup had been removed already to make room; your others are untouched."
)

// TaskSight is what we saw of an operation's task.
type TaskSight string

// What a task can look like.
const (
	TaskNone        TaskSight = ""            // the row names none
	TaskRunning     TaskSight = "running"     // it works, or waits for a lock of Proxmox
	TaskEnded       TaskSight = "ended"       // it ended well, as far as its status says
	TaskRefused     TaskSight = "refused"     // it ended because something was locked: nothing was done
	TaskFailed      TaskSight = "failed"      // it ended badly
	TaskLost        TaskSight = "lost"        // Proxmox does not know it any more
	TaskUnreachable TaskSight = "unreachable" // we could not look
)

// Sight is one observation of the world for one step.
type Sight struct {
	Task       TaskSight
	Done       bool   // the step's effect is there
	Grew       bool   // the task's log grew since the last look
	Found      string // UPID of our request, recognised in the task list
	Clean      bool   // the look was complete, and showed no trace of our request
	Repeatable bool   // asking again is harmless: nothing has to settle first
	NodeDown   bool   // the node we asked can't be looked at
}

// Do names the one thing to do next.
type Do string

// The moves.
const (
	DoWait   Do = "wait"   // look again later
	DoNext   Do = "next"   // the step is done
	DoQueue  Do = "queue"  // back to the queue; nothing was done, no attempt counted
	DoRetry  Do = "retry"  // count an attempt; again after a pause, or fail
	DoIntend Do = "intend" // commit the intent, then send the one request
	DoAdopt  Do = "adopt"  // take over the task that an earlier life of ours started
	DoForget Do = "forget" // the request never arrived: clear the intent, try again
	DoAgain  Do = "again"  // Proxmox did nothing (the machine moved): clear the intent, find the node again
	DoHold   Do = "hold"   // a person has to look
	DoGiveUp Do = "giveup" // fail with an unknown outcome, release the service, keep watching
)

// HasSecret tells whether a password is made for the operation when it is asked for.
func (o Operation) HasSecret() bool { return o.Kind == KindPassword || o.Kind == KindReinstall }

// Decide is the engine's table. The first row that matches wins:
//
//	the row says          | the world shows                         | move
//	UPID                  | task running                            | wait; without progress for 2 h hold
//	anything              | the effect is there                     | next
//	UPID                  | task refused                            | queue
//	UPID                  | task failed, without effect, or unknown | retry
//	UPID                  | can't look                              | wait, until give-up
//	no intent             | anything                                | intend
//	intent, OK, no task   | –                                       | again
//	intent                | our request is in the task list         | adopt
//	intent, repeatable    | a clean look shows no effect            | forget
//	intent within settle  | nothing found                           | wait
//	intent older          | two clean looks show nothing            | forget
//	intent older          | no clean look                           | wait; at give-up fail and keep watching
//
// seen.Done must never be set from a call's answer, only from looking again.
func Decide(o Operation, seen Sight, now time.Time) Do {
	late := !now.Before(o.GiveUpAt)
	switch {
	case o.UPID != "" && seen.Task == TaskRunning:
		if !seen.Grew && now.Sub(o.ProgressAt) >= StuckAfter {
			return DoHold
		}
		return DoWait
	case seen.Done:
		return DoNext
	case o.UPID != "" && seen.Task == TaskRefused:
		return DoQueue
	case o.UPID != "" && seen.Task == TaskUnreachable:
		if late {
			return DoGiveUp
		}
		return DoWait
	case o.UPID != "":
		return DoRetry
	case o.IntentAt.IsZero():
		return DoIntend
	case o.NoTask:
		return DoAgain
	case seen.Found != "":
		return DoAdopt
	case seen.Repeatable && seen.Clean:
		return DoForget
	case now.Sub(o.IntentAt) < SettleWindow:
		return DoWait
	case seen.Clean && o.CleanLooks+1 >= CleanNeeded:
		return DoForget
	case late:
		return DoGiveUp
	default:
		return DoWait
	}
}

// Word says the state in the middle of a sentence.
func (s State) Word() Text {
	return map[State]Text{
		StateQueued: "queued [operation]", StateRunning: "running [operation]", StateHeld: "held [operation]",
		StateSucceeded: "succeeded [operation]", StateFailed: "failed [operation]", StateCancelled: "cancelled [operation]",
	}[s]
}

// Doing says what goes on while an operation of the kind runs or waits: a clause.
func (k Kind) Doing() Text {
	return map[Kind]Text{
		KindBackup: "it is backed up", KindDelete: "a backup is removed", KindProtect: "a backup's protection is changed",
		KindSnapshot: "a snapshot is taken", KindSnapshotDelete: "a snapshot is removed", KindRollback: "it is rolled back to a snapshot",
		KindRestore: "it is restored", KindReinstall: "it is installed anew", KindPower: "it is switched", KindPassword: "its password is set",
		KindReapply: "its package is applied",
	}[k]
}
