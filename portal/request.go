package portal

import (
	"strings"
	"time"
)

// Situation is all that a request needs to know of a service to be granted or refused. It is loaded inside the
// write transaction that would insert the operation, so that two requests at once can't both be granted.
type Situation struct {
	Service    Service
	Product    Product
	Server     Server
	Backups    []Backup             // not removed
	Snapshots  []Snapshot           // not gone
	Places     map[string]DiskPlace // storages of disks, by name; those that aren't known are absent
	NoSnapshot Text                 // why the machine can't take snapshots, as its host says; "" = nothing is known against it
	Operations []Operation          // unfinished ones of this service
	Location   *time.Location
	Now        time.Time
}

// Copies gives the backups in the form that the retention rules read.
func (s Situation) Copies() []Copy { return CopiesOf(s.Backups) }

// CopiesOf gives backups in the form that the retention rules read.
func CopiesOf(backups []Backup) []Copy {
	out := make([]Copy, 0, len(backups))
	for _, b := range backups {
		if !b.RemovedAt.IsZero() {
			continue
		}
		out = append(out, Copy{
			UID: b.UID, ID: b.ID, Volid: b.Volid, Class: b.Class, Origin: b.Origin,
			StartedAt: b.StartedAt, CTime: b.CTime, Size: b.Size, Protected: b.Protected,
			VerifyFailed: b.Verification == "failed", Verified: b.Verification == "ok",
			PinnedBy: b.PinnedBy, KeepUntil: b.KeepUntil,
			Leftover: (b.Class == ClassFailed || b.Class == ClassPartial) && b.ClassBefore == "", // what was whole once is no remains of a failure
			Listed:   b.Volid != "" && b.MissingSince.IsZero(), Removing: b.Removing,
		})
	}
	return out
}

// Request decides, from a service's situation, whether an operation may be queued. It gives the operation to
// insert, or an *Error with the way out.
type Request func(Situation) (Operation, error)

// ManualBackup asks for a backup now. replace, when not "", is the uid of the copy to remove after a good end.
func ManualBackup(actor, note, replace string) Request {
	return func(s Situation) (Operation, error) {
		clean, err := CleanNote(note)
		if err != nil {
			return Operation{}, err
		}
		if err := mayAct(s, "This service is suspended: you can look at everything, but not back up."); err != nil {
			return Operation{}, err
		}
		quota := s.Service.QuotaIn(s.Product)
		if quota == 0 {
			return Operation{}, Refuse(CodeQuota, "Your package includes no backups.")
		}
		for _, o := range s.Operations {
			if o.Kind == KindBackup && (o.State.Active() || !o.Scheduled()) {
				return Operation{}, busyWith(s, o)
			}
			if o.Kind.OnMachine() && o.State.Active() || o.Kind == KindRestore {
				return Operation{}, busyWith(s, o)
			}
		}
		if err := lockedByProxmox(s); err != nil {
			return Operation{}, err
		}
		op := Operation{
			Kind: KindBackup, Step: StepPreflight, Manual: true, Actor: actor, Note: clean,
			Mode: s.Service.ModeIn(s.Product), StartBy: s.Now.Add(s.Product.StartWindow), GiveUpAt: s.Now.Add(GiveUpAfter),
		}
		if replace != "" {
			victim, err := s.removable(replace)
			if err != nil {
				return Operation{}, err
			}
			op.ReplaceID, op.Timing = victim.ID, TimingAfter
			return op, nil
		}
		if room := RoomFor(s); room != nil {
			return Operation{}, room
		}
		return op, nil
	}
}

// RoomFor tells why a manual backup has no place, with the two ways out, or nil where there is one. The page
// asks it too, so that the button and the refusal say the same.
func RoomFor(s Situation) *Error {
	room := ManualRoom(s.Copies(), s.Service.QuotaIn(s.Product), 0)
	if room.Allowed {
		return nil
	}
	refusal := &Error{Code: CodeQuota, Sentence: room.Reason}
	if room.Offer != nil {
		refusal.With(WayOut{
			Action: "replace_oldest", UID: room.Offer.UID,
			Label: Say("Back up now, then remove the oldest: %s", s.NameCopy(room.Offer.StartedAt, room.Offer.Size)),
		})
	}
	return refusal.With(WayOut{Action: "choose_other", Label: "Choose another to remove"})
}

// NameCopy names a copy as the pages do: "Thu 12 Nov 03:00, 41 GiB".
func (s Situation) NameCopy(started time.Time, size int64) Text {
	at := started
	if s.Location != nil {
		at = at.In(s.Location)
	}
	return Say("%s, %s", When{At: at, Layout: "Mon 2 Jan 15:04"}, Size(size))
}

// ScheduledBackup asks for the backup of a slot. It is granted whenever the service is active and sold backups:
// what stands in the way is waited for, until startBy.
func ScheduledBackup(scheduleID int64, date string, due, startBy time.Time, spread time.Duration) Request {
	return func(s Situation) (Operation, error) {
		op := Operation{
			Kind: KindBackup, Step: StepPreflight, Actor: "cron", ScheduleID: scheduleID, SlotDate: date,
			Mode: s.Service.ModeIn(s.Product), RunAfter: due.Add(spread), StartBy: startBy, GiveUpAt: due.Add(GiveUpAfter),
		}
		return op, nil
	}
}

// RemoveBackup asks for one copy to be removed because a person said so.
func RemoveBackup(actor, uid string) Request {
	return func(s Situation) (Operation, error) {
		if err := mayAct(s, "This service is suspended: you can look at everything, but not remove a backup."); err != nil {
			return Operation{}, err
		}
		b, err := s.removable(uid)
		if err != nil {
			return Operation{}, err
		}
		return Operation{
			Kind: KindDelete, Step: StepDelete, Manual: true, Actor: actor, BackupID: b.ID,
			StartBy: s.Now.Add(GiveUpAfter), GiveUpAt: s.Now.Add(GiveUpAfter),
		}, nil
	}
}

// ProtectBackup asks for a copy to be protected from every removal, or for that to end.
func ProtectBackup(actor, uid string, protect bool) Request {
	return func(s Situation) (Operation, error) {
		if err := mayAct(s, "This service is suspended: you can look at everything, but not protect a backup."); err != nil {
			return Operation{}, err
		}
		b, err := s.backup(uid)
		if err != nil {
			return Operation{}, err
		}
		if !b.Complete() {
			return Operation{}, Refuse(CodeConflict, "Only a complete backup can be protected.")
		}
		if b.Removing {
			return Operation{}, Refuse(CodeConflict, "This backup is being removed.")
		}
		protected := 0
		for _, other := range s.Backups {
			if other.Protected && other.Complete() && other.ID != b.ID {
				protected++
			}
		}
		for _, o := range s.Operations {
			if o.Kind == KindProtect && o.BackupID == b.ID {
				return Operation{}, Refuse(CodeConflict, "The protection of this backup is being changed already.")
			}
			if o.Kind == KindProtect && o.Protect {
				protected++
			}
		}
		if protect && s.Product.Protect == 0 {
			return Operation{}, Refuse(CodeForbidden, "Your package does not include protecting backups.")
		}
		if protect && protected >= s.Product.Protect {
			return Operation{}, &Error{Code: CodeQuota, Sentence: Count(s.Product.Protect,
				"You can protect 1 backup. End the protection of another one first.",
				"You can protect %d backups. End the protection of another one first.")}
		}
		if protect == b.Protected {
			if protect {
				return Operation{}, Refuse(CodeConflict, "This backup is protected already.")
			}
			return Operation{}, Refuse(CodeConflict, "This backup is not protected.")
		}
		return Operation{
			Kind: KindProtect, Step: StepProtect, Manual: true, Actor: actor, BackupID: b.ID, Protect: protect,
			StartBy: s.Now.Add(GiveUpAfter), GiveUpAt: s.Now.Add(GiveUpAfter),
		}, nil
	}
}

// RetryOperation asks for a failed or cancelled operation once more, as a new one.
func RetryOperation(actor string, old Operation, backupUID, replaceUID string) Request {
	return func(s Situation) (Operation, error) {
		if old.State != StateFailed && old.State != StateCancelled {
			return Operation{}, Refuse(CodeConflict, "Only an operation that failed can be tried again.")
		}
		var op Operation
		var err error
		switch old.Kind {
		case KindBackup:
			if old.Work.Safety {
				return Operation{}, Refuse(CodeConflict, "It saved the present state before a restore. Repeat the restore instead.")
			}
			op, err = ManualBackup(actor, old.Note, replaceUID)(s)
		case KindDelete:
			op, err = RemoveBackup(actor, backupUID)(s)
		case KindProtect:
			op, err = ProtectBackup(actor, backupUID, old.Protect)(s)
		case KindPower:
			op, err = Power(actor, old.Work.Action, false)(s)
		case KindPassword:
			if !strings.HasPrefix(actor, "client:") {
				return Operation{}, Refuse(CodeConflict, "A new password is shown to whoever asks for it, so only the customer can ask for one.")
			}
			op, err = RequestPassword(actor)(s)
		case KindReinstall:
			op, err = RequestReinstall(actor, old.Work.Template, ReinstallWord)(s)
		case KindReapply:
			op, err = ApplyPackage(actor)(s)
		case KindSnapshot:
			op, err = RequestSnapshot(actor, old.Note, old.Work.Memory)(s)
		case KindSnapshotDelete:
			op, err = RequestSnapshotRemoval(actor, s.snapshotByID(old.SnapshotID))(s)
		case KindRollback:
			return Operation{}, Refuse(CodeConflict, "A rollback is not repeated blindly: begin it again from the page of snapshots, which says what would happen.")
		case KindRestore:
			if op, err = MayRestore(actor, backupUID)(s); err == nil {
				op.Work.Start = old.Work.Start
			}
		default:
			return Operation{}, Refuse(CodeConflict, "This operation can't be tried again.")
		}
		op.RetryOf = old.ID
		return op, err
	}
}

// mayAct refuses where the service is not active; suspended is the sentence for one that is suspended.
func mayAct(s Situation, suspended Text) error {
	switch s.Service.State {
	case ServiceActive:
		return nil
	case ServiceSuspended:
		return &Error{Code: CodeForbidden, Sentence: suspended}
	case ServiceMachineGone:
		return Refuse(CodeConflict, "The machine of this service no longer exists on its host. Our team has been told.")
	case ServiceMachineReplaced:
		return Refuse(CodeConflict, "Another machine has taken the place of this service's. Nothing is touched until our team has looked.")
	default:
		return Refuse(CodeConflict, "This service is being closed.")
	}
}

func lockedByProxmox(s Situation) error {
	if s.Service.Lock == "" {
		return nil
	}
	refusal := &Error{Code: CodeBusy, Staff: "config lock: " + s.Service.Lock, Sentence: LockedSentence(s.Service.Lock)}
	if ago := since(s.Service.LockSince, s.Now); ago != "" {
		refusal.Sentence = Say(`Your machine is busy: its host says "%s" (began %s ago). Try again when that has ended.`, LockWords(s.Service.Lock), ago)
	}
	return refusal
}

// LockedSentence says that a machine can't be worked on because of a lock of Proxmox.
func LockedSentence(lock string) Text {
	return Say(`Your machine is busy: its host says "%s". Try again when that has ended.`, LockWords(lock))
}

// LockedClause is the same as what an operation waits for.
func LockedClause(lock string) Text { return Say("the machine is busy: %s", LockWords(lock)) }

// LockWords says in plain words what a lock of Proxmox stands for.
func LockWords(lock string) Text {
	words := map[string]Text{
		"backup": "backup in progress", "snapshot": "snapshot in progress", "snapshot-delete": "snapshot being removed",
		"rollback": "rollback in progress", "migrate": "moving to another host", "create": "being created or restored",
		"clone": "being copied", "suspending": "going to sleep", "suspended": "asleep (suspended to disk)",
	}
	if w, ok := words[lock]; ok {
		return w
	}
	return Say("locked (%s)", lock)
}

// busyWith refuses because of an operation that has the machine, or waits for it: what is done, since when, where to look.
func busyWith(s Situation, o Operation) error {
	refusal := &Error{Code: CodeBusy, Staff: "operation " + o.UID}
	began := o.StartedAt
	if o.State == StateQueued {
		began = o.CreatedAt
	}
	switch ago := since(began, s.Now); {
	case o.Kind != KindBackup && o.State == StateHeld && ago == "":
		refusal.Sentence = Say("Our team is looking at your machine: %s.", o.Kind.Doing())
	case o.Kind != KindBackup && o.State == StateHeld:
		refusal.Sentence = Say("Our team is looking at your machine: %s (began %s ago).", o.Kind.Doing(), ago)
	case o.Kind != KindBackup && ago == "":
		refusal.Sentence = Say("Your machine is busy: %s.", o.Kind.Doing())
	case o.Kind != KindBackup:
		refusal.Sentence = Say("Your machine is busy: %s (began %s ago).", o.Kind.Doing(), ago)
	case o.State == StateQueued && ago == "":
		refusal.Sentence = "A backup of this machine is waiting already."
	case o.State == StateQueued:
		refusal.Sentence = Say("A backup of this machine is waiting already (began %s ago).", ago)
	case o.State == StateHeld && ago == "":
		refusal.Sentence = "Our team is looking at a backup of this machine."
	case o.State == StateHeld:
		refusal.Sentence = Say("Our team is looking at a backup of this machine (began %s ago).", ago)
	case ago == "":
		refusal.Sentence = "A backup of this machine is running already."
	default:
		refusal.Sentence = Say("A backup of this machine is running already (began %s ago).", ago)
	}
	refusal.With(WayOut{Action: "open_operation", Label: "See how it goes", UID: o.UID})
	return refusal
}

// since says for how long something has gone on; "" where that is not known, or less than a minute.
func since(at, now time.Time) Text {
	if at.IsZero() || now.Sub(at) < time.Minute {
		return ""
	}
	return Duration(now.Sub(at))
}

func (s Situation) backup(uid string) (Backup, error) {
	for _, b := range s.Backups {
		if b.UID == uid && b.Class != ClassExternal && b.RemovedAt.IsZero() {
			return b, nil
		}
	}
	return Backup{}, NotFound()
}

// removable gives the copy with this uid where a person may remove it now.
func (s Situation) removable(uid string) (Backup, error) {
	b, err := s.backup(uid)
	switch {
	case err != nil:
		return Backup{}, err
	case b.Class == ClassRunning:
		return Backup{}, Refuse(CodeBusy, "This backup is being made right now. Cancel it instead.")
	case b.Class == ClassMissing:
		return Backup{}, Refuse(CodeConflict, "This backup was removed outside the portal.")
	case b.Protected:
		return Backup{}, Refuse(CodeConflict, "This backup is protected. End its protection first.").
			With(WayOut{Action: "unprotect", Label: "End its protection", UID: b.UID})
	case b.Removing:
		return Backup{}, Refuse(CodeConflict, "This backup is being removed already.")
	case b.PinnedBy != "":
		return Backup{}, Refuse(CodeBusy, "This backup is in use by an operation that runs.").
			With(WayOut{Action: "open_operation", Label: "See how it goes", UID: b.PinnedBy})
	}
	return b, nil
}
