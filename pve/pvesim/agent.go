package pvesim

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

// agentTakes is how long after its start a machine's agent answers.
const agentTakes = 5_000

// agentEnabled says whether the configuration has an agent.
func (g *guest) agentEnabled() bool {
	parts, _ := agentShape.parse(g.Agent, "agent", releases["9.2"])
	return parts["enabled"] == "1"
}

// agentRuns: something in the machine answers.
func (g *guest) agentRuns(at int64) bool {
	return g.agentEnabled() && g.Running && !g.Prelaunch && !g.Paused && !g.AgentSilent && !g.Blank && at-g.Boot >= agentTakes
}

// withAgent is a call to the agent of a machine.
func withAgent(do func(*Sim, *call, *guest) any) func(*Sim, *call) answer {
	return func(s *Sim, c *call) answer {
		g, missing := s.here(c)
		switch {
		case missing != nil:
			return *missing
		case !g.agentEnabled():
			return fail(500, "No QEMU guest agent configured")
		case !g.Running:
			return fail(500, "VM %d is not running", g.VMID)
		case !g.agentRuns(c.at):
			a := fail(500, "QEMU guest agent is not running")
			a.wait = 3 * time.Second
			return a
		}
		return ok(map[string]any{"result": do(s, c, g)})
	}
}

func agentPing(*Sim, *call, *guest) any { return map[string]any{} }

func agentOSInfo(_ *Sim, _ *call, g *guest) any {
	if strings.HasPrefix(g.Config["ostype"], "win") {
		return map[string]any{
			"id": "mswindows", "name": "Microsoft Windows", "pretty-name": "Windows Server 2022 Standard", "version": "Microsoft Windows Server 2022",
			"version-id": "2022", "kernel-release": "20348", "kernel-version": "10.0", "machine": "x86_64", "variant": "server", "variant-id": "server",
		}
	}
	return map[string]any{
		"id": "debian", "name": "Debian GNU/Linux", "pretty-name": "Debian GNU/Linux 12 (bookworm)", "version": "12 (bookworm)",
		"version-id": "12", "kernel-release": "6.1.0-40-amd64", "kernel-version": "#1 SMP PREEMPT_DYNAMIC Debian 6.1.153-1", "machine": "x86_64",
	}
}

func agentHostName(_ *Sim, _ *call, g *guest) any { return map[string]any{"host-name": g.name()} }

// agentInterfaces are the cards with the addresses that cloud-init gave them,
// or that a DHCP server would.
func agentInterfaces(s *Sim, _ *call, g *guest) any {
	address := func(kind, ip string, prefix int) map[string]any {
		return map[string]any{"ip-address-type": kind, "ip-address": ip, "prefix": prefix}
	}
	out := []map[string]any{{
		"name": "lo", "hardware-address": "00:00:00:00:00:00",
		"ip-addresses": []map[string]any{address("ipv4", "127.0.0.1", 8), address("ipv6", "::1", 128)},
	}}
	n := 0
	for i := range 32 {
		key := "net" + itoa(i)
		line := g.get(key)
		if line == "" {
			continue
		}
		card, _ := netShape.parse(line, key, s.release)
		ip := fmt.Sprintf("192.0.2.%d", 10+(g.VMID+i)%240)
		bits := 24
		if set, _ := ipconfigShape.parse(g.get("ipconfig"+itoa(i)), "ipconfig", s.release); set["ip"] != "" && set["ip"] != "dhcp" {
			var mask string
			ip, mask, _ = strings.Cut(set["ip"], "/")
			_, _ = fmt.Sscan(mask, &bits)
		}
		u := g.usage(s.nowMS())
		out = append(out, map[string]any{
			"name": fmt.Sprintf("eth%d", n), "hardware-address": strings.ToLower(card["macaddr"]),
			"ip-addresses": []map[string]any{address("ipv4", ip, bits)},
			"statistics": map[string]any{
				"rx-bytes": u.netin, "tx-bytes": u.netout, "rx-packets": u.netin / 500, "tx-packets": u.netout / 500,
				"rx-errs": 0, "tx-errs": 0, "rx-dropped": 0, "tx-dropped": 0,
			},
		})
		n++
	}
	return out
}

func agentFilesystems(_ *Sim, _ *call, g *guest) any {
	out := []map[string]any{}
	for i, d := range g.sorted() {
		out = append(out, map[string]any{
			"name": fmt.Sprintf("sd%c1", 'a'+i), "mountpoint": cmp.Or(map[int]string{0: "/"}[i], fmt.Sprintf("/mnt/%s", d.Key)), "type": "ext4",
			"total-bytes": d.Size, "used-bytes": min(d.Used, d.Size), "disk": []any{},
		})
	}
	return out
}

// agentPassword sets a login's password: the system writes it down.
func agentPassword(s *Sim, _ *call, g *guest) any {
	s.touch(g)
	return map[string]any{}
}
