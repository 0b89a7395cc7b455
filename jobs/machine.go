package jobs

import (
	"fmt"
	"slices"
	"strings"

	"stowage/portal"
	"stowage/pve"
)

// machinePreflight looks at everything that can be known before a machine is touched. It changes nothing.
func (t *turn) machinePreflight() error {
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
