package portal

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A restore that has stopped leaves a machine in pieces with its operation. That one ends only when another takes the
// machine over, in the same transaction and with all that was kept of it, so that it is nobody's at no time: a system is
// installed from scratch, or from there a backup is restored after all.

// InsteadOf is what the operation says that another took the place of.
func InsteadOf(next Kind) Text {
	if next == KindReinstall {
		return "It was not gone on with: a system is installed from scratch instead."
	}
	return "It was not gone on with: a backup is restored instead."
}

// RequestScratch asks for a system to be installed on what a held restore has left in the machine's place. template and
// confirm are as of RequestReinstall. It may also choose another system where the one chosen before could not be begun.
func RequestScratch(held Operation, actor, template, confirm string) Request {
	return func(s Situation) (Operation, error) {
		if err := mayAct(s, "This service is suspended: you can look at everything, but not install it anew."); err != nil {
			return Operation{}, err
		}
		op, err := s.installation(actor, template, confirm)
		if err != nil {
			return Operation{}, err
		}
		switch first := held.Kind == KindRestore; {
		case held.State != StateHeld || !first && (held.Kind != KindReinstall || held.Step != StepPreflight):
			return Operation{}, Refuse(CodeConflict, "Only a restore that has stopped leaves something to install from scratch.")
		case held.UPID != "" || !held.IntentAt.IsZero():
			return Operation{}, Refuse(CodeBusy, "The restore may still run on your host. Try it again first, to see how it stands.")
		case !held.Work.Broken:
			return Operation{}, Refuse(CodeConflict, "Nothing of your machine is overwritten yet. Try the restore again.")
		case len(held.Work.Inside) == 0: // begun by a version that kept less: which disks are gone nobody knows
			return Operation{}, Refuse(CodeConflict, scratchByTeam)
		}
		op.Work.Scratch = held.Step == StepRestore || held.Work.Scratch // as far as is known before it was looked at
		return s.takeOver(held, op), nil
	}
}

const scratchByTeam = "Installing from scratch is done by our team: tell them the reference."

// MayReinstall tells whether a machine that a held restore has left in pieces may be installed from scratch, and why not.
func MayReinstall(s Situation, held Operation) (bool, Text) {
	here := s.TemplatesHere()
	if len(here) == 0 {
		return false, scratchByTeam
	}
	_, err := RequestScratch(held, "", here[0].Name, ReinstallWord)(s)
	if e := (*Error)(nil); errors.As(err, &e) {
		return false, e.Sentence
	}
	return err == nil, ""
}

// RestoreInstead lets what has stopped with a machine in pieces end with a copy put in its place: a restore goes on with
// it, and where a system was being installed a restore takes over.
func RestoreInstead(held Operation, actor, uid string) Request {
	if held.Kind == KindRestore {
		return ResumeRestore(held, uid)
	}
	return func(s Situation) (Operation, error) {
		if err := mayAct(s, "This service is suspended: you can look at everything, but not restore."); err != nil {
			return Operation{}, err
		}
		b, err := s.restorable(uid)
		switch {
		case err != nil:
			return Operation{}, err
		case held.State != StateHeld || held.Kind != KindReinstall || !held.Work.Broken:
			return Operation{}, Refuse(CodeConflict, "Only a restore that has stopped can go on.")
		case held.UPID != "" || !held.IntentAt.IsZero():
			return Operation{}, Refuse(CodeBusy, "The installation may still run on your host. Try it again first, to see how it stands.")
		}
		op := s.errand(KindRestore, actor)
		op.Step, op.BackupID = StepRestore, b.ID
		op.Work.Start, op.Work.Archive = held.Work.Start, b.Node+"/"+b.Volid
		return s.takeOver(held, op), nil
	}
}

// takeOver gives an operation the machine of one that has stopped, and what was kept of it.
func (s Situation) takeOver(held, op Operation) Operation {
	was := held.Work
	op.AfterID, op.RetryOf, op.StartBy = held.AfterID, held.ID, op.GiveUpAt
	op.Work.Broken, op.Work.Gone, op.Work.Was = true, true, "stopped"
	op.Work.Config, op.Work.Firewall, op.Work.Disks = maps.Clone(was.Config), was.Firewall, slices.Clone(was.Disks)
	op.Work.Inside, op.Work.Left = slices.Clone(was.Inside), slices.Clone(was.Left)
	return op
}

// FromScratch gives what a machine is to be that is made anew of what a restore has left: as sold, and else as it was
// before. inside are the keys of drives whose volumes are gone. virtio puts every disk of a SCSI controller on virtio,
// where that controller can't be brought back: the default one is nothing that today's systems start from.
func FromScratch(sold Spec, before Machine, inside []string, virtio bool) Spec {
	want := sold.Keep(before)
	want.Kept = slices.DeleteFunc(slices.Clone(want.Kept), func(k Kept) bool { return slices.Contains(inside, k.Key) })
	want.System.Device = before.systemKey(sold.System.Device)
	move := map[string]string{}
	if virtio {
		taken := map[string]bool{}
		for _, k := range want.Kept {
			taken[k.Key] = true
		}
		place := func(key string) {
			if _, done := move[key]; done || !strings.HasPrefix(key, "scsi") {
				return
			}
			for i := range 16 {
				if to := fmt.Sprint("virtio", i); !taken[to] {
					taken[to], move[key] = true, to
					return
				}
			}
		}
		place(want.System.Device)
		for _, k := range want.Kept {
			place(k.Key)
		}
		place(want.Data.Device)
	}
	moved := func(key string) string {
		if to := move[key]; to != "" {
			return to
		}
		return key
	}
	for i, k := range want.Kept {
		if to := moved(k.Key); to != k.Key {
			want.Kept[i].Key, want.Kept[i].Options = to, k.Options.OnVirtio()
		}
	}
	want.System.Device, want.Data.Device = moved(want.System.Device), moved(want.Data.Device)
	order := []string{want.System.Device}
	if said, ok := strings.CutPrefix(want.Boot, "order="); ok {
		for _, key := range strings.Split(said, ";") {
			if key = moved(key); key != "" && !slices.Contains(order, key) {
				order = append(order, key)
			}
		}
	}
	want.Boot = "order=" + strings.Join(order, ";")
	return want
}

// systemKey gives where the machine's system disk hangs; device is where one is sold.
func (m Machine) systemKey(device string) string {
	if d, found := m.system(device); found {
		return d.Key
	}
	if device != "" {
		return device
	}
	return "scsi0"
}

// SystemWas gives the drive that was the machine's system disk, for a new one in its place; device is where one is sold.
func (m Machine) SystemWas(device string) MachineDrive {
	if d, found := m.system(device); found {
		return d
	}
	return MachineDrive{Key: m.systemKey(device)}
}

// OnVirtio gives the options of a disk that are left when it moves from a SCSI controller to virtio.
func (o Options) OnVirtio() Options {
	out := maps.Clone(o)
	for _, name := range []string{"ssd", "scsiblock", "product", "vendor", "queues", "wwn"} {
		delete(out, name)
	}
	return out
}

// Overwritten are the additional disks that archives have taken the place of: no new system brings them back.
func (w Work) Overwritten() []Disk {
	boot := strings.FieldsFunc(w.Config["boot"], func(r rune) bool { return strings.ContainsRune("=;,", r) })
	system := slices.IndexFunc(boot, func(key string) bool { return slices.Contains(w.Inside, key) })
	return slices.DeleteFunc(slices.Clone(w.Disks), func(d Disk) bool {
		return !slices.Contains(w.Inside, d.Key) || system >= 0 && d.Key == boot[system] || system < 0 && d.Key == w.Inside[0]
	})
}
