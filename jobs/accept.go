package jobs

import (
	"context"
	"slices"

	"stowage/portal"
	"stowage/pve"
)

// AcceptMachine takes the machine that now has a service's vmid for the service's own, because a person says so. It
// reads who that machine is, and changes nothing on it.
func (e *Engine) AcceptMachine(ctx context.Context, actor string, s portal.Service, reason string) (portal.Service, error) {
	l, err := e.link(ctx, s.ServerID)
	if err != nil {
		return s, err
	}
	unread := func(sentence string, err error) error {
		return &portal.Error{Code: portal.CodeUnavailable, Sentence: sentence, Staff: troubleText(err), Err: err}
	}
	resources, err := l.client.Resources(ctx)
	if err != nil {
		return s, unread("The server "+l.server.Name+" can't be reached.", err)
	}
	i := slices.IndexFunc(resources.Guests, func(g pve.GuestResource) bool { return g.VMID == s.VMID })
	if i < 0 {
		return s, portal.Invalid("vmid", "There is no machine %d on %s that the token may see.", s.VMID, l.server.Name)
	}
	g := resources.Guests[i]
	if g.Type != "qemu" || g.Template {
		return s, portal.Invalid("vmid", "%d on %s is not a virtual machine (KVM).", s.VMID, l.server.Name)
	}
	config, err := l.client.GuestConfig(ctx, g.Node, s.VMID)
	if err != nil {
		return s, unread("The machine's configuration can't be read.", err)
	}
	if config.Stump() {
		return s, portal.Refuse(portal.CodeConflict, "The machine %d is being restored, or a restore of it was cut off. Repeat this when the restore has ended.", s.VMID)
	}
	s.Node, s.Status, s.Identity, s.Hardware = g.Node, g.Status, identityOf(config), hardwareOf(config)
	return e.db.AcceptMachine(ctx, actor, s, reason)
}
