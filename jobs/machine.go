package jobs

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"stowage/portal"
	"stowage/pve"
)

// machinePreflight looks at everything that can be known before a machine is touched. It changes nothing.
func (t *turn) machinePreflight() error {
	if t.op.Work.Broken {
		return t.scratchPreflight()
	}
	if !t.op.CancelAt.IsZero() {
		return t.cancelled()
	}
	if !t.now.Before(t.op.StartBy) {
		return t.tooLate()
	}
	if t.sit.Service.State != portal.ServiceActive && !t.mayWhileSuspended() {
		return t.end(portal.StateFailed, "The service is not active, so nothing was done.", "service "+string(t.sit.Service.State), portal.SlotSkipped)
	}
	config, goOn, err := t.machine()
	if err != nil || !goOn {
		return err
	}
	status, err := t.status()
	if err != nil {
		return t.unanswered(err)
	}
	t.op.Work.Was = status.Status
	return t.kindPreflight(config)
}

// mayWhileSuspended tells whether the operation goes on though the service is suspended: what runs out, runs out.
func (t *turn) mayWhileSuspended() bool {
	return t.sit.Service.State == portal.ServiceSuspended && (t.op.Kind == portal.KindSnapshotDelete && !t.op.Manual || t.op.Kind == portal.KindReapply)
}

// kindPreflight is what the kind of operation asks for beyond the machine itself, and its first step.
func (t *turn) kindPreflight(config pve.GuestConfig) error {
	switch t.op.Kind {
	case portal.KindPower:
		return t.powerPreflight()
	case portal.KindReapply:
		return t.reapplyPreflight()
	case portal.KindPassword:
		return t.passwordPreflight(config)
	case portal.KindReinstall:
		return t.reinstallPreflight(config)
	case portal.KindSnapshot:
		return t.snapshotPreflight(config)
	case portal.KindSnapshotDelete:
		return t.delSnapshotPreflight()
	case portal.KindRollback:
		return t.rollbackPreflight(config)
	case portal.KindRestore:
		return t.restorePreflight(config)
	}
	return t.hold("The portal met a kind of work that it does not know.", fmt.Sprintf("unknown kind %q: written by a newer version?", t.op.Kind))
}

// mayDo sees that the token has the rights for some actions. Where it lacks one, the turn is over.
func (t *turn) mayDo(scene pve.Scene, actions ...pve.Action) (bool, error) {
	rights, err := t.e.permissions(t, t.link)
	if err != nil {
		return false, t.later(unreachable, err.Error(), pausePreflight)
	}
	scene.VMID = t.sit.Service.VMID
	var missing []string
	for _, a := range actions {
		for _, d := range rights.Lacks(pve.Demands(a, t.link.major(), scene)) {
			if m := strings.Join(d.Any, " or ") + " on " + d.Path; !slices.Contains(missing, m) {
				missing = append(missing, m)
			}
		}
	}
	if len(missing) > 0 {
		return false, t.lacksRight(missing)
	}
	return true, nil
}

// finishMachine goes on when the machine is in step with its package.
func finishMachine(t *turn) error {
	switch t.op.Kind {
	case portal.KindReapply:
		text := portal.Text("Your machine is in step with your package.")
		if t.running && slices.ContainsFunc(t.op.Work.Changes, func(c portal.Applied) bool { return !c.Live }) {
			text = "Your package is applied. Some of it, such as CPU and memory, holds from the machine's next start."
		}
		return t.end(portal.StateSucceeded, text, "", portal.SlotDone)
	case portal.KindReinstall:
		return t.reinstalled()
	case portal.KindRollback:
		return t.afterRollbackReapply()
	case portal.KindRestore:
		if err := t.e.db.SaveConfig(t, t.op.ServiceID, hardwareOf(t.config)); err != nil {
			return err
		}
		if t.op.Work.Start {
			return t.onward(portal.StepStart)
		}
		return t.wellRestored()
	default:
		return t.hold("The portal met a kind of work that it does not know.", fmt.Sprintf("nothing follows on re-applying in %q", t.op.Kind))
	}
}

// reapplyPreflight is all that applying a package asks for beyond the machine itself.
func (t *turn) reapplyPreflight() error {
	if ok, err := t.mayDo(pve.Scene{}, pve.SetCPU, pve.SetMemory, pve.SetDisks, pve.SetNetwork, pve.SetOptions); !ok {
		return err
	}
	return t.onward(portal.StepReapply)
}

// powerOff shuts the machine down, and takes its power away where the system inside doesn't follow. It is a step of
// whatever needs the machine off; next says what follows.
func powerOff(next func(*turn) error) step {
	return errand{
		call: "pve.shutdown", types: []string{"qmshutdown", "qmstop", "hastop"},
		begun: func(*turn) portal.Text { return "Your machine is shut down." },
		done: func(t *turn, _ portal.TaskSight) (bool, error) {
			s, err := t.status()
			if err == nil && s.Status == "stopped" && t.op.Work.StopAt.IsZero() {
				t.op.Work.StopAt = t.now
			}
			return s.Status == "stopped" && s.Lock == "", err
		},
		send: func(t *turn) (pve.UPID, error) {
			if t.op.Attempt > 0 { // it was asked, and didn't follow
				return t.link.client.Stop(t, t.op.Node, t.sit.Service.VMID, true)
			}
			return t.link.client.Shutdown(t, t.op.Node, t.sit.Service.VMID, shutdownWait, true)
		},
		next: func(t *turn) error {
			t.note("done", "Your machine is off.", "")
			return next(t)
		},
		tries: 3,
		wrong: func(_ *turn, failure string) portal.Text {
			return portal.Sentences("Your machine could not be shut down.", plainMachine(failure))
		},
	}.step()
}

// afterStop is how long a machine rests between its stop and its next start: on 9.x a start right behind a stop leaves
// its lock file held for half a minute (pve/differences: A1).
const afterStop = 2 * time.Second

// powerOn starts the machine and sees that it runs. It is a step of whatever has put the machine in order.
func powerOn(next func(*turn) error) step {
	return errand{
		call: "pve.start", types: []string{"qmstart", "hastart"},
		begun: func(*turn) portal.Text { return "Your machine is started." },
		done: func(t *turn, _ portal.TaskSight) (bool, error) {
			s, err := t.status()
			return s.Status == "running", err
		},
		ready: func(t *turn) error {
			if t.op.Work.Broken {
				return t.over(t.hold("Your machine is not in order, so it is not started. Our team has been told.", "a start was due while the machine is broken"))
			}
			if rest := t.op.Work.StopAt.Add(afterStop).Sub(t.now); rest > 0 && !t.op.Work.StopAt.IsZero() {
				t.op.RunAfter = t.now.Add(rest)
				return t.over(t.save("rest"))
			}
			return nil
		},
		send: func(t *turn) (pve.UPID, error) { return t.link.client.Start(t, t.op.Node, t.sit.Service.VMID) },
		next: func(t *turn) error {
			t.note("done", "Your machine runs.", "")
			return next(t)
		},
		tries: 3,
		wrong: func(_ *turn, failure string) portal.Text {
			return portal.Sentences("Your machine could not be started.", plainMachine(failure))
		},
	}.step()
}
