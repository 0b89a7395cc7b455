package portal

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Contents is what an archive holds, as its own configuration says. Its disks are those whose data are inside.
type Contents struct {
	Hardware
	UUID string `json:"uuid,omitempty"` // of the machine that was backed up
}

// Proof is what was seen of a machine after it was restored.
type Proof struct {
	Since int64  `json:"since,omitempty"` // unix seconds; it runs since then, as far as was seen
	Agent string `json:"agent,omitempty"` // one of the Agent… words; "" = not looked yet
}

// What was seen of the guest agent.
const (
	AgentAnswered = "answered"
	AgentSilent   = "silent" // it is switched on and did not answer in time
	AgentOff      = "off"    // the machine has none, or the portal may not ask it
)

// ProofBy is how long a machine that was restored may take until its guest agent answers.
const ProofBy = 5 * time.Minute

// ConfirmName is what has to be typed to confirm that a machine is overwritten: the first label of its name.
func ConfirmName(machine string) string {
	label, _, _ := strings.Cut(strings.TrimSpace(machine), ".")
	return label
}

// Confirms tells whether the name was typed, in any case, with or without space around it.
func Confirms(typed, machine string) bool {
	typed = strings.TrimSpace(typed)
	return typed != "" && (strings.EqualFold(typed, ConfirmName(machine)) || strings.EqualFold(typed, strings.TrimSpace(machine)))
}

// RequestRestore asks for a copy to be put in the machine's place. typed is the machine's name, as a person has typed it
// to confirm; start asks for the machine to be started afterwards.
func RequestRestore(actor, uid, typed string, start bool) Request {
	return func(s Situation) (Operation, error) {
		if err := mayAct(s, "This service is suspended: you can look at everything, but not restore."); err != nil {
			return Operation{}, err
		}
		if _, err := s.backup(uid); err != nil {
			return Operation{}, err
		}
		if !Confirms(typed, s.Service.Name) {
			return Operation{}, Invalid("confirm", "Type %s to confirm.", ConfirmName(s.Service.Name))
		}
		return restoreOf(actor, uid, start)(s)
	}
}

// MayRestore asks for what RequestRestore asks, but for the typed name: pages tell by it whether a restore would be
// granted.
func MayRestore(actor, uid string) Request {
	return func(s Situation) (Operation, error) {
		if err := mayAct(s, "This service is suspended: you can look at everything, but not restore."); err != nil {
			return Operation{}, err
		}
		return restoreOf(actor, uid, true)(s)
	}
}

func restoreOf(actor, uid string, start bool) Request {
	return func(s Situation) (Operation, error) {
		b, err := s.restorable(uid)
		if err != nil {
			return Operation{}, err
		}
		if err := s.free(false); err != nil {
			return Operation{}, err
		}
		op := s.errand(KindRestore, actor)
		op.BackupID, op.Work.Start = b.ID, start
		op.Work.Archive = b.Node + "/" + b.Volid
		op.StartBy = s.Now.Add(s.Product.StartWindow)
		if s.SavesFirst() {
			op.StartBy = op.GiveUpAt // the safety copy has a time of its own to start, and one to be made
		}
		return op, nil
	}
}

// SavesFirst tells whether the present state is saved before a restore.
func (s Situation) SavesFirst() bool { return s.Product.SafetyCopy && s.Product.Storage != "" }

// SafetyCopy is the backup of the present state that goes before a restore. It stands outside the quota.
func SafetyCopy(actor string) Request {
	return func(s Situation) (Operation, error) {
		return Operation{
			Kind: KindBackup, Step: StepPreflight, Manual: true, Actor: actor, Mode: s.Service.ModeIn(s.Product), Work: Work{Safety: true},
			StartBy: s.Now.Add(s.Product.StartWindow), GiveUpAt: s.Now.Add(GiveUpAfter),
		}, nil
	}
}

// restorable gives the copy with this uid where it may be restored.
func (s Situation) restorable(uid string) (Backup, error) {
	b, err := s.backup(uid)
	switch {
	case err != nil:
		return Backup{}, err
	case b.Class == ClassRunning:
		return Backup{}, Refuse(CodeBusy, "This backup is being made right now.")
	case b.Class == ClassMissing:
		return Backup{}, Refuse(CodeConflict, "This backup was removed outside the portal.")
	case !b.Complete():
		return Backup{}, Refuse(CodeConflict, "This backup is not complete, so it can't be restored.")
	case b.Verification == "failed":
		return Backup{}, Refuse(CodeConflict, "The check of this backup has failed, so it can't be restored. Choose another one.")
	case b.Removing:
		return Backup{}, Refuse(CodeConflict, "This backup is being removed.")
	case b.Node != "" && b.Node != s.Service.Node:
		return Backup{}, Refuse(CodeConflict, "This backup is on another host than your machine is now. Our team can help.")
	}
	return b, nil
}

// ResumeRestore lets a restore that has stopped go on: at its step, or (uid is not "") with another copy. It gives the
// operation as it goes on.
func ResumeRestore(held Operation, uid string) Request {
	return func(s Situation) (Operation, error) {
		if err := mayAct(s, "This service is suspended: you can look at everything, but not restore."); err != nil {
			return Operation{}, err
		}
		if held.Kind != KindRestore || held.State != StateHeld {
			return Operation{}, Refuse(CodeConflict, "Only a restore that has stopped can go on.")
		}
		if uid != "" {
			b, err := s.restorable(uid)
			switch {
			case err != nil:
				return Operation{}, err
			case held.UPID != "" || !held.IntentAt.IsZero():
				return Operation{}, Refuse(CodeBusy, "The restore may still run on your host. Try it again first, to see how it stands.")
			case !held.Work.Broken:
				return Operation{}, Refuse(CodeConflict, "Nothing of your machine is overwritten yet. Try the restore again.")
			}
			held.BackupID, held.Step = b.ID, StepRestore
			held.Work.Archive, held.Work.Now, held.Work.Changes = b.Node+"/"+b.Volid, nil, nil
		}
		held.State, held.Reason, held.StaffReason = StateRunning, "", ""
		held.Attempt, held.Failures, held.Work.Tries, held.Work.RefusedSince = 0, 0, 0, time.Time{}
		held.RunAfter, held.ProgressAt, held.GiveUpAt = s.Now, s.Now, s.Now.Add(GiveUpAfter)
		return held, nil
	}
}

// HeldRestore gives the operation of the service that has stopped and waits for a person, and from which a backup leads
// on: a restore, or a system being installed on a machine that isn't whole; or nil.
func (s Situation) HeldRestore() *Operation {
	for i, o := range s.Operations {
		if o.State == StateHeld && (o.Kind == KindRestore || o.Kind == KindReinstall && o.Work.Broken) {
			return &s.Operations[i]
		}
	}
	return nil
}

// RestoreSteps are the steps of a restore in their order. Where the present state is saved first, that is the first of
// them: a backup of its own.
func (o Operation) RestoreSteps() []string {
	var list []string
	if o.AfterID != 0 {
		list = append(list, StepDump)
	}
	list = append(list, StepPreflight, StepPowerOff, StepRestore, StepReapply)
	if o.Work.Start {
		list = append(list, StepStart, StepProof)
	}
	if len(o.Work.Left) > 0 {
		list = append(list, StepTidy)
	}
	return list
}

// StepOf gives at which of its steps a restore is, from 1, and how many there are.
func (o Operation) StepOf() (step, steps int) {
	list := o.RestoreSteps()
	return slices.Index(list, o.Step) + 1, len(list)
}

// RestoreFacts is what there is to know before a machine is overwritten.
type RestoreFacts struct {
	Since     time.Duration // what was done since is lost
	Snapshots int           // lost as well
	Saves     bool          // the present state is saved first
	SavesIn   Text          // how long that takes; "" = not known
	Off       Text          // how long the machine is off; "" = not known
	Inside    []Disk        // in the archive
	Kept      []Disk        // added since: kept, and attached again
	Hardware  []Compared    // nil where the archive was not read yet
	Doubt     Text          // a warning about the copy
}

// Compared is a value as the archive has it, and as the machine has it now and afterwards.
type Compared struct {
	What, Then, Now Text
	Same            bool
}

// FactsOfRestore gathers what the confirmation of a restore says. contents is nil while the archive was not read; took
// are how long the latest backups, or restores, have taken.
func FactsOfRestore(s Situation, b Backup, contents *Contents, took []time.Duration) RestoreFacts {
	f := RestoreFacts{Saves: s.SavesFirst() && s.HeldRestore() == nil, Inside: b.DisksIn}
	if !b.StartedAt.IsZero() {
		f.Since = max(s.Now.Sub(b.StartedAt), 0)
	}
	for _, v := range s.Snapshots {
		if v.State == SnapshotThere || v.State == SnapshotTaking {
			f.Snapshots++
		}
	}
	if len(took) > 0 {
		f.Off = span(slices.Min(took), slices.Max(took)+time.Minute) // it shuts down and starts as well
		f.SavesIn = span(took[0], took[0])
	}
	if b.Class == ClassSuspect {
		f.Doubt = Sentences("This backup is not known to be good.", b.Reason)
	}
	if contents == nil {
		return f
	}
	f.Inside = contents.Disks
	if s.Service.Identity.Bare && len(s.Service.Hardware.Disks) <= len(contents.Disks) {
		f.Hardware = compareHardware(contents.Hardware, s.Service.Hardware)
		return f // the same disks, on another bus
	}
	for _, d := range s.Service.Hardware.Disks {
		if !slices.ContainsFunc(contents.Disks, func(o Disk) bool { return o.Key == d.Key }) {
			f.Kept = append(f.Kept, d)
		}
	}
	f.Hardware = compareHardware(contents.Hardware, s.Service.Hardware)
	return f
}

// compareHardware holds what an archive says against what the machine is.
func compareHardware(then, now Hardware) []Compared {
	cores := func(h Hardware) Text {
		return Count(max(h.Sockets, 1)*max(h.Cores, 1), "1 core", "%d cores")
	}
	memory := func(h Hardware) Text {
		if h.MemoryMB == 0 {
			h.MemoryMB = defaults["memory"]
		}
		return Say("%s", Size(int64(h.MemoryMB)<<20))
	}
	mac := func(h Hardware) Text {
		for _, n := range h.Nets {
			if n.Key == "net0" {
				return orNone(strings.ToUpper(n.MAC))
			}
		}
		return orNone("")
	}
	var out []Compared
	for _, v := range []struct {
		what Text
		of   func(Hardware) Text
	}{{"Processor", cores}, {"Memory", memory}, {"MAC address", mac}} {
		c := Compared{What: v.what, Then: v.of(then), Now: v.of(now)}
		c.Same = c.Then == c.Now
		out = append(out, c)
	}
	for _, d := range then.Disks {
		for _, o := range now.Disks {
			if o.Key == d.Key && o.Size != d.Size && d.Size > 0 && o.Size > 0 {
				out = append(out, Compared{What: Say("Disk %s", d.Key), Then: Say("%s", Size(d.Size)), Now: Say("%s", Size(max(d.Size, o.Size)))})
			}
		}
	}
	return out
}

// PlanRestore gives what has to change once an archive has taken the machine's place, for the machine to be as sold.
// then is the archive's config, inside are the drives whose data it holds, present is the config that the machine has.
func PlanRestore(sold Spec, then Machine, inside []string, present Machine, places map[string]DiskPlace) []Change {
	then = then.clone()
	then.VMID = present.VMID
	then.Drives = slices.DeleteFunc(then.Drives, func(d MachineDrive) bool {
		return !d.CDROM && !special.MatchString(d.Key) && !slices.Contains(inside, d.Key) // without its data its line is dropped
	})
	then.Unused = nil
	replaced := present.Replaced(sold.System.Device, inside)
	for i, d := range append(present.disks(), present.Unused...) {
		if !slices.Contains(inside, d.Key) && d.Volid != replaced {
			then.Unused = append(then.Unused, MachineDrive{Key: fmt.Sprint("unused", i), Volid: d.Volid, Storage: d.Storage, Size: d.Size})
		}
	}
	// The archive's disks get volumes of their own: what they were called then may be another disk's by now.
	for i, d := range then.Drives {
		if slices.Contains(inside, d.Key) {
			then.Drives[i].Volid = fmt.Sprintf("%s:vm-%d-disk-restored-%d%s", d.Storage, present.VMID, i, ending(d.Volid))
		}
	}
	return Reapply(sold.Keep(present), then, places)
}

func ending(volid string) string {
	if f := FileFormat(volid); f != "" {
		return "." + f
	}
	return ""
}

// RestoreSpace is what a storage has for the disks of an archive.
type RestoreSpace struct {
	Thick    bool  // disks take their whole size at once
	Free     int64 // bytes
	Disks    int64 // sizes of the archived disks that go there
	Replaced int64 // sizes of the disks there that are removed for them
	Archive  int64 // size of the archive
}

// RestoreFits tells whether the disks of an archive fit on a storage. Where disks take their whole size at once, it needs
// that, with what the disks give back that are removed. Elsewhere it needs what the data may take: twice the archive,
// which may be compressed, and no more than the disks are large; what the old disks give back there nobody knows, and it
// is not counted on.
func RestoreFits(s RestoreSpace) (bool, string) {
	need, free := min(s.Disks, 2*s.Archive), s.Free
	if s.Thick {
		need, free = s.Disks, s.Free+s.Replaced
	}
	return free >= need, fmt.Sprintf("%s free, %s needed", Bytes(free), Bytes(need))
}

// RequestSafetyRemoval asks for a copy made before a restore to be removed, because its time is over or a newer one is
// there.
func RequestSafetyRemoval() Request {
	return func(s Situation) (Operation, error) {
		if s.Service.State == ServiceTerminated {
			return Operation{}, NotFound()
		}
		gone := SafetyExpired(s.Copies(), s.Now)
		if len(gone) == 0 || s.HeldRestore() != nil {
			return Operation{}, Refuse(CodeConflict, "No backup from before a restore is to be removed.")
		}
		return Operation{
			Kind: KindDelete, Step: StepDelete, Actor: "engine", BackupID: gone[0].ID,
			StartBy: s.Now.Add(GiveUpAfter), GiveUpAt: s.Now.Add(GiveUpAfter),
		}, nil
	}
}
