package jobs

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"stowage/portal"
	"stowage/pve"
)

// addressesAtMost bounds what a machine's own word can put on a page.
const addressesAtMost = 16

// addresses gives where a machine can be reached: what cloud-init gives it, and what its guest agent tells of the cards
// that the machine has. What the agent says is the customer's word, and only ever shown.
func (e *Engine) addresses(ctx context.Context, l *link, s portal.Service, config pve.GuestConfig) []string {
	var all []netip.Addr
	for n := range 32 {
		props := pve.ParseProperties(config.Raw[fmt.Sprint("ipconfig", n)])
		for _, key := range []string{"ip", "ip6"} {
			value, _ := props.Get(key)
			if prefix, err := netip.ParsePrefix(value); err == nil {
				all = append(all, prefix.Addr())
			}
		}
	}
	if agentOn(config) && s.Status == "running" && e.mayAskAgent(ctx, l, s.VMID) {
		interfaces, err := l.client.AgentInterfaces(ctx, s.Node, s.VMID)
		if err != nil {
			e.log.DebugContext(ctx, "the guest agent did not tell its addresses", "service_id", s.UID, "error", err)
		}
		for _, i := range interfaces {
			own := slices.ContainsFunc(config.Nets, func(n pve.Net) bool { return n.MAC == i.MAC && n.MAC != "" })
			for _, a := range i.Addresses {
				if own {
					all = append(all, a.Addr())
				}
			}
		}
	}
	all = slices.DeleteFunc(all, func(a netip.Addr) bool {
		return a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsUnspecified() || a.IsMulticast() || a.Zone() != ""
	})
	slices.SortFunc(all, netip.Addr.Compare) // those of version 4 first
	out := []string{}
	for _, a := range slices.Compact(all) {
		if len(out) < addressesAtMost {
			out = append(out, a.String())
		}
	}
	return out
}

func (e *Engine) mayAskAgent(ctx context.Context, l *link, vmid int) bool {
	rights, err := e.permissions(ctx, l)
	return err == nil && len(rights.Lacks(pve.Demands(pve.AskAgent, l.major(), pve.Scene{VMID: vmid}))) == 0
}
