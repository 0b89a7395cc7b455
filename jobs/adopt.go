package jobs

import (
	"context"
	"slices"

	"stowage/portal"
	"stowage/pve"
)

// AdoptMachine makes an existing machine a service: it reads where it is and who it is, and changes nothing on
// it. A name that is "" becomes the machine's own.
func (e *Engine) AdoptMachine(ctx context.Context, actor string, server portal.Server, s portal.Service, zone string) (portal.Service, error) {
	s.ServerID = server.ID
	config, err := e.readMachine(ctx, &s)
	if err != nil {
		return s, err
	}
	if s.Name == "" {
		s.Name = config.Name
	}
	return e.db.AddService(ctx, actor, s, zone)
}

// AcceptMachine takes the machine that now has a service's vmid for the service's own, because a person says so. It
// reads who that machine is, and changes nothing on it.
func (e *Engine) AcceptMachine(ctx context.Context, actor string, s portal.Service, reason string) (portal.Service, error) {
	if _, err := e.readMachine(ctx, &s); err != nil {
		return s, err
	}
	return e.db.AcceptMachine(ctx, actor, s, reason)
}

// readMachine reads where the machine with the service's vmid is, who it is, and what it is made of. What a restore
// in progress leaves in a machine's place is nobody, so it is refused.
func (e *Engine) readMachine(ctx context.Context, s *portal.Service) (pve.GuestConfig, error) {
	l, err := e.link(ctx, s.ServerID)
	if err != nil {
		return pve.GuestConfig{}, err
	}
	unread := func(sentence portal.Text, err error) error {
		return &portal.Error{Code: portal.CodeUnavailable, Sentence: sentence, Staff: troubleText(err), Err: err}
	}
	resources, err := l.client.Resources(ctx)
	if err != nil {
		return pve.GuestConfig{}, unread(portal.Say("The server %s can't be reached.", l.server.Name), err)
	}
	i := slices.IndexFunc(resources.Guests, func(g pve.GuestResource) bool { return g.VMID == s.VMID })
	if i < 0 {
		return pve.GuestConfig{}, portal.Invalid("vmid", "There is no machine %d on %s that the token may see.", s.VMID, l.server.Name)
	}
	g := resources.Guests[i]
	if g.Type != "qemu" || g.Template {
		return pve.GuestConfig{}, portal.Invalid("vmid", "%d on %s is not a virtual machine (KVM).", s.VMID, l.server.Name)
	}
	config, err := l.client.GuestConfig(ctx, g.Node, s.VMID)
	if err != nil {
		return config, unread("The machine's configuration can't be read.", err)
	}
	if config.Stump() {
		return config, portal.Refuse(portal.CodeConflict, "The machine %d is being restored, or a restore of it was cut off. Repeat this when the restore has ended.", s.VMID)
	}
	s.Node, s.Status, s.Identity, s.Hardware = g.Node, g.Status, identityOf(config), hardwareOf(config)
	if i := slices.IndexFunc(s.Hardware.Nets, func(n portal.Net) bool { return n.Key == "net0" }); i >= 0 && s.Own.Net.MAC == "" {
		s.Own.Net.MAC = s.Hardware.Nets[i].MAC // the card's address is the machine's own, whatever is sold
	}
	return config, nil
}
