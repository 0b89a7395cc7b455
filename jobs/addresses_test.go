package jobs_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"stowage/portal"
	"stowage/pve/pvesim"
)

// TestAddresses: a machine's page knows where it can be reached, from cloud-init and from the guest agent's word about
// the machine's own card; what it says of itself alone isn't told, and a start has them read anew.
func TestAddresses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		edit   func(*pvesim.Guest)
		rights []string
		want   []string
	}{
		"nothing":               {func(*pvesim.Guest) {}, nil, nil},
		"cloud-init":            {func(g *pvesim.Guest) { g.Config["ipconfig0"] = "ip=203.0.113.7/24,gw=203.0.113.1,ip6=2001:db8::7/64" }, nil, []string{"203.0.113.7", "2001:db8::7"}},
		"dhcp":                  {func(g *pvesim.Guest) { g.Config["ipconfig0"] = "ip=dhcp" }, nil, nil},
		"the agent":             {func(g *pvesim.Guest) { g.Agent = "1" }, nil, []string{"192.0.2.110"}},
		"the agent, off":        {func(g *pvesim.Guest) { g.Agent, g.Running = "1", false }, nil, nil},
		"the agent, silent":     {func(g *pvesim.Guest) { g.Agent, g.AgentSilent = "1", true }, nil, nil},
		"the agent, not for us": {func(g *pvesim.Guest) { g.Agent = "1" }, pvesim.PortalPrivileges, nil},
		"both, the same":        {func(g *pvesim.Guest) { g.Agent, g.Config["ipconfig0"] = "1", "ip=203.0.113.7/24" }, nil, []string{"203.0.113.7"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, worldOptions{World: withGuest(c.edit)})
			if c.rights != nil {
				w.must(w.sim.SetPrivileges(pvesim.PortalToken, "/", c.rights...))
			}
			w.clock.set(w.clock.Now().Add(61 * time.Minute))
			w.must(w.engine.CheckConfigs(context.Background(), 10))
			got, err := w.db.Service(context.Background(), w.service.ID)
			w.must(err)
			if !slices.Equal(got.Addresses, c.want) {
				t.Errorf("addresses %v, want %v", got.Addresses, c.want)
			}
		})
	}
	w := newWorld(t, worldOptions{World: withGuest(func(g *pvesim.Guest) { g.Running, g.Agent = false, "1" })})
	w.ask(portal.Power("client:test", portal.PowerStart, false))
	w.settle(time.Hour)
	w.clock.set(w.clock.Now().Add(time.Minute))
	w.must(w.engine.CheckConfigs(context.Background(), 10))
	if got, err := w.db.Service(context.Background(), w.service.ID); err != nil || !slices.Equal(got.Addresses, []string{"192.0.2.110"}) {
		t.Errorf("after a start: %v, %v", got.Addresses, err)
	}
}
