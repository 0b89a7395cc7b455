package jobs

import (
	"context"

	"stowage/portal"
)

// AdoptMachine makes an existing machine a service: it reads where it is and who it is, and changes nothing on
// it. A name that is "" becomes the machine's own.
func (e *Engine) AdoptMachine(ctx context.Context, actor string, server portal.Server, s portal.Service, zone string) (portal.Service, error) {
	l, err := e.link(ctx, server.ID)
	if err != nil {
		return s, err
	}
	resources, err := l.client.Resources(ctx)
	if err != nil {
		return s, &portal.Error{Code: portal.CodeUnavailable, Sentence: "The server " + server.Name + " can't be reached.", Staff: troubleText(err), Err: err}
	}
	for _, g := range resources.Guests {
		if g.VMID != s.VMID {
			continue
		}
		if g.Type != "qemu" || g.Template {
			return s, portal.Invalid("vmid", "%d on %s is not a virtual machine (KVM).", s.VMID, server.Name)
		}
		config, err := l.client.GuestConfig(ctx, g.Node, s.VMID)
		if err != nil {
			return s, &portal.Error{Code: portal.CodeUnavailable, Sentence: "The machine's configuration can't be read.", Staff: troubleText(err), Err: err}
		}
		s.ServerID, s.Node, s.Status = server.ID, g.Node, g.Status
		s.Identity, s.Hardware = identityOf(config), hardwareOf(config)
		if s.Name == "" {
			s.Name = config.Name
		}
		return e.db.AddService(ctx, actor, s, zone)
	}
	return s, portal.Invalid("vmid", "There is no machine %d on %s that the token may see.", s.VMID, server.Name)
}
