package pvesim

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Firewall is what a machine's firewall is set to, by the names of the API's schema. It was not recorded: texts of
// refusals are of the source (pve-firewall). Nothing here filters anything.
type Firewall struct {
	Options map[string]string              // "enable", "policy_in" …
	Rules   []map[string]string            // "type", "action", "source" …, in order
	Aliases []map[string]string            // "name", "cidr", "comment"
	Sets    map[string][]map[string]string // by the set's name: "cidr", "nomatch", "comment"
}

func (f Firewall) clone() Firewall {
	lists := func(in []map[string]string) []map[string]string {
		out := slices.Clone(in)
		for i := range out {
			out[i] = maps.Clone(out[i])
		}
		return out
	}
	f.Options, f.Rules, f.Aliases, f.Sets = maps.Clone(f.Options), lists(f.Rules), lists(f.Aliases), maps.Clone(f.Sets)
	for name, set := range f.Sets {
		f.Sets[name] = lists(set)
	}
	return f
}

// digest is of one part of it.
func fireDigest(part any) string {
	text, _ := json.Marshal(part) // maps of text always marshal
	return fileDigest(string(text))
}

// fireValue writes whole numbers as numbers, as Proxmox VE does with switches.
func fireValue(key, value string) any {
	if n, err := strconv.Atoi(value); err == nil && slices.Contains([]string{"enable", "dhcp", "ipfilter", "macfilter", "ndp", "radv", "nomatch"}, key) {
		return n
	}
	return value
}

func fireEntry(line map[string]string, digest string) map[string]any {
	out := map[string]any{"digest": digest}
	for key, value := range line {
		out[key] = fireValue(key, value)
	}
	return out
}

// firewallEndpoints only tell; nothing changes a firewall through them.
func firewallEndpoints() []endpoint {
	const base = "/nodes/{node}/qemu/{vmid}/firewall"
	of := []param{inNode, inVMID}
	return []endpoint{
		{method: "GET", path: base + "/options", need: seeGuest, params: of, run: withFirewall(func(f Firewall, _ *call) answer {
			return ok(fireEntry(f.Options, fireDigest(f.Options)))
		})},
		{method: "GET", path: base + "/rules", need: seeGuest, params: of, run: withFirewall(func(f Firewall, _ *call) answer {
			out := []map[string]any{}
			for i, rule := range f.Rules {
				entry := fireEntry(rule, fireDigest(f.Rules))
				entry["pos"] = i
				out = append(out, entry)
			}
			return ok(out)
		})},
		{method: "GET", path: base + "/aliases", need: seeGuest, params: of, run: withFirewall(func(f Firewall, _ *call) answer {
			out := []map[string]any{}
			for _, alias := range f.Aliases {
				out = append(out, fireEntry(alias, fireDigest(f.Aliases)))
			}
			return ok(out)
		})},
		{method: "GET", path: base + "/ipset", need: seeGuest, params: of, run: withFirewall(func(f Firewall, _ *call) answer {
			out := []map[string]any{}
			for _, name := range slices.Sorted(maps.Keys(f.Sets)) {
				out = append(out, map[string]any{"name": name, "digest": fireDigest(f.Sets[name])})
			}
			return ok(out)
		})},
		{method: "GET", path: base + "/ipset/{name}", need: seeGuest, params: append(slices.Clone(of), text("name").must().atLeastLong(2).upTo(64).like(`[A-Za-z][A-Za-z0-9\-\_]+`)), run: withFirewall(func(f Firewall, c *call) answer {
			set, found := f.Sets[strings.ToLower(c.params.get("name"))]
			if !found {
				return fail(500, "no such IPSet '%s'", c.params.get("name"))
			}
			out := []map[string]any{}
			for _, line := range set {
				out = append(out, fireEntry(line, fireDigest(set)))
			}
			return ok(out)
		})},
	}
}

// withFirewall finds the machine's firewall. One that was never set is empty, and so is that of a machine that is not
// there: the real one reads a file of its own, which may be missing.
func withFirewall(tell func(Firewall, *call) answer) func(*Sim, *call) answer {
	return func(s *Sim, c *call) answer {
		if g := s.guests[c.vmid()]; g != nil {
			return tell(g.Firewall, c)
		}
		return tell(Firewall{}, c)
	}
}

// SetFirewall gives a machine's firewall other settings.
func (s *Sim) SetFirewall(vmid int, f Firewall) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.guests[vmid]
	if g == nil {
		return fmt.Errorf("pvesim: no machine %d", vmid)
	}
	g.Firewall = f.clone()
	return nil
}
