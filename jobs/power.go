package jobs

import (
	"time"

	"stowage/portal"
	"stowage/pve"
)

// powerErrand starts, shuts down, stops or reboots the machine.
var powerErrand = errand{
	call:  "pve.power",
	types: []string{"qmstart", "qmshutdown", "qmstop", "qmreboot", "hastart", "hastop"},
	begun: func(t *turn) portal.Text {
		return map[string]portal.Text{
			portal.PowerStart: "Your machine is started.", portal.PowerShutdown: "Your machine is asked to shut down.",
			portal.PowerStop: "Your machine is switched off.", portal.PowerReboot: "Your machine is asked to start anew.",
		}[t.op.Work.Action]
	},
	done:  powerDone,
	send:  sendPower,
	tries: 2,
	wrong: func(t *turn, failure string) portal.Text {
		if class, reason := pve.Meaning(failure); t.op.Work.Action != portal.PowerStart && class == "" && reason == "" {
			return "The system inside your machine did not shut down in time. It still runs; Stop switches it off."
		}
		return plainMachine(failure)
	},
}

func init() {
	powerErrand.next = func(t *turn) error {
		if err := t.e.db.ReadConfigAgain(t, t.op.ServiceID); err != nil { // its addresses may be others
			return err
		}
		return t.end(portal.StateSucceeded, map[string]portal.Text{
			portal.PowerStart: "Your machine runs.", portal.PowerShutdown: "Your machine is off.", portal.PowerStop: "Your machine is off.",
			portal.PowerReboot: "Your machine has started anew.",
		}[t.op.Work.Action], "", portal.SlotDone)
	}
}

// shutdownWait is how long the system inside has to shut down.
const shutdownWait = 3 * time.Minute

// pausePreflight is how long a look that was not answered rests.
const pausePreflight = 15 * time.Second

func (t *turn) powerPreflight() error {
	if ok, err := t.mayDo(pve.Scene{}, pve.Power); !ok {
		return err
	}
	runs := t.op.Work.Was == "running"
	switch {
	case t.op.Work.Action == portal.PowerStart && runs:
		return t.end(portal.StateSucceeded, "Your machine runs already.", "", portal.SlotDone)
	case t.op.Work.Action != portal.PowerStart && !runs:
		if t.op.Work.Action == portal.PowerReboot {
			return t.fail("Your machine is off, so it was not started anew. Start it instead.", "status "+t.op.Work.Was)
		}
		return t.end(portal.StateSucceeded, "Your machine is off already.", "", portal.SlotDone)
	}
	return t.onward(portal.StepPower)
}

// powerDone sees whether the machine does what was asked for. One that has started anew has run for less time than has
// passed since it was asked.
func powerDone(t *turn, task portal.TaskSight) (bool, error) {
	s, err := t.status()
	if err != nil {
		return false, err
	}
	switch t.op.Work.Action {
	case portal.PowerStart:
		return s.Status == "running", nil
	case portal.PowerReboot:
		return !t.op.IntentAt.IsZero() && s.Status == "running" && s.Uptime < t.now.Sub(t.op.IntentAt) && task != portal.TaskFailed, nil
	default:
		return s.Status == "stopped", nil
	}
}

func sendPower(t *turn) (pve.UPID, error) {
	node, vmid, c := t.op.Node, t.sit.Service.VMID, t.link.client
	switch t.op.Work.Action {
	case portal.PowerStart:
		return c.Start(t, node, vmid)
	case portal.PowerShutdown:
		return c.Shutdown(t, node, vmid, shutdownWait, false)
	case portal.PowerReboot:
		return c.Reboot(t, node, vmid, shutdownWait)
	default:
		return c.Stop(t, node, vmid, t.op.Attempt > 0)
	}
}

// plainMachine says in a client's words why Proxmox could not do something with a machine.
func plainMachine(failure string) portal.Text {
	switch class, reason := pve.Meaning(failure); {
	case reason == pve.Locked || reason == pve.LockFile:
		return "Your host kept the machine locked."
	case reason == pve.Permission:
		return "The portal lacks a right on your host."
	case reason == pve.Feature:
		return "The machine's storage can't do that."
	case class == pve.Gone:
		return "Your machine or its storage was not found on the host."
	}
	if text := plain(failure); text != otherwise {
		return text
	}
	return "Your host ended the work with an error."
}
