package portal

import (
	"errors"
	"slices"
	"time"
)

// What a power operation does.
const (
	PowerStart    = "start"
	PowerShutdown = "shutdown" // the system inside shuts down
	PowerStop     = "stop"     // the power is taken away
	PowerReboot   = "reboot"   // the system inside starts anew
)

// MachineBy is how long an errand on a machine may wait for its turn.
const MachineBy = time.Hour

// Power asks for a machine to be started, shut down, stopped or rebooted. queue says that it may wait behind what runs;
// otherwise a busy machine refuses, with the ways out.
func Power(actor, action string, queue bool) Request {
	return func(s Situation) (Operation, error) {
		switch action {
		case PowerStart, PowerShutdown, PowerStop, PowerReboot:
		default:
			return Operation{}, Invalid("action", "The action is start, shutdown, stop or reboot.")
		}
		if err := mayAct(s, "This service is suspended: you can look at everything, but not switch its machine."); err != nil {
			return Operation{}, err
		}
		if err := s.free(queue); err != nil {
			if e := (*Error)(nil); errors.As(err, &e) && e.Code == CodeBusy {
				return Operation{}, s.waysToPower(e, action)
			}
			return Operation{}, err
		}
		switch off := s.Service.Status == "stopped"; {
		case off && action == PowerReboot:
			return Operation{}, Refuse(CodeConflict, "Your machine is off. Start it instead.")
		case off && action != PowerStart:
			return Operation{}, Refuse(CodeConflict, "Your machine is off already.")
		case action == PowerStart && s.Service.Status == "running":
			return Operation{}, Refuse(CodeConflict, "Your machine runs already.")
		}
		op := s.errand(KindPower, actor)
		op.Work.Action = action
		return op, nil
	}
}

// errand is a new operation on the machine itself.
func (s Situation) errand(kind Kind, actor string) Operation {
	return Operation{
		Kind: kind, Step: StepPreflight, Manual: true, Actor: actor, StartBy: s.Now.Add(MachineBy), GiveUpAt: s.Now.Add(GiveUpAfter),
	}
}

// waysToPower offers what can be done about a backup that is in the way.
func (s Situation) waysToPower(e *Error, action string) *Error {
	for _, o := range s.Operations {
		if o.Kind != KindBackup || o.State != StateRunning {
			continue
		}
		if action == PowerReboot {
			return e.With(WayOut{Action: "power_cancel", UID: o.UID, Label: "Cancel it and restart"}).With(WayOut{Action: "power_after", UID: o.UID, Label: "Restart when it is done"})
		}
		return e.With(WayOut{Action: "power_cancel", UID: o.UID, Label: "Cancel it and go on"}).With(WayOut{Action: "power_after", UID: o.UID, Label: "Do it when it is done"})
	}
	return e
}

// free tells why the machine can't be worked on now: an operation of ours runs, is held or waits, or Proxmox shows a lock.
// behind lets work that runs or waits be: the new one waits its turn. What waits and is of a kind in overtakes, or queued by
// the tick, doesn't matter: the new one goes first.
func (s Situation) free(behind bool, overtakes ...Kind) error {
	var saving error
	for _, o := range s.Operations {
		if !o.Kind.Exclusive() || o.State == StateQueued && (!o.Manual || slices.Contains(overtakes, o.Kind) && !o.Work.Safety) {
			continue
		}
		switch held := o.State == StateHeld || !behind; {
		case held && o.Work.Safety:
			saving = busyWith(s, o) // the restore that it is for says more
		case held:
			return busyWith(s, o)
		}
	}
	if saving != nil {
		return saving
	}
	if behind {
		return nil
	}
	return lockedByProxmox(s)
}

// ApplyPackage asks for a machine to be brought in step with its package: whatever is in the way is waited for.
func ApplyPackage(actor string) Request {
	return func(s Situation) (Operation, error) {
		if s.Service.State != ServiceSuspended {
			if err := mayAct(s, ""); err != nil {
				return Operation{}, err
			}
		}
		op := s.errand(KindReapply, actor)
		op.Manual, op.StartBy, op.GiveUpAt = false, s.Now.Add(ReapplyBy), s.Now.Add(ReapplyBy)
		return op, nil
	}
}
