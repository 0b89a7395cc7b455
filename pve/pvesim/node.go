package pvesim

import "cmp"

func (n Node) cpus() int     { return cmp.Or(n.CPUs, 8) }
func (n Node) memory() int64 { return cmp.Or(n.Memory, 64*gib) }

// getNodes is GET /nodes: everybody sees that a node is there, its figures
// need Sys.Audit.
func getNodes(s *Sim, c *call) answer {
	out := s.nodeEntries(c)
	for i, e := range out {
		e["ssl_fingerprint"] = s.st.World.Nodes[i].Fingerprint
	}
	return ok(out)
}

// nodeEntries are the nodes as the cluster sees them: offline at once when one
// is cut off, unknown when its pvestatd has been silent for too long.
func (s *Sim) nodeEntries(c *call) []map[string]any {
	loads, disk := s.loads(c.at), s.st.World.mountOf("/")
	out := []map[string]any{}
	for _, n := range s.st.World.Nodes {
		e := map[string]any{"id": "node/" + n.Name, "type": "node", "node": n.Name, "status": "online"}
		out = append(out, e)
		told, counts := s.lastTold(n.Name, c.at)
		switch {
		case n.Offline || s.cutOff(n.Name):
			e["status"] = "offline"
		case !counts:
			e["status"] = "unknown"
			continue
		}
		e["level"] = ""
		if e["status"] == "offline" || !s.may(c.who, "/nodes/"+n.Name, "Sys.Audit") {
			continue
		}
		e["maxcpu"], e["maxmem"], e["maxdisk"] = n.cpus(), n.memory(), disk.Total
		e["cpu"], e["mem"], e["disk"] = loads[n.Name].cpu, loads[n.Name].mem, disk.Used
		e["uptime"] = (told - s.st.Boots[n.Name]) / 1000
	}
	return out
}

// load is a node's use of memory and processors.
type load struct {
	mem int64
	cpu float64
}

// loads are those of all nodes, as each last told.
func (s *Sim) loads(at int64) map[string]load {
	out, told := map[string]load{}, map[string]int64{}
	for _, n := range s.st.World.Nodes {
		told[n.Name], _ = s.lastTold(n.Name, at)
		out[n.Name] = load{2 * gib, 0.01}
	}
	for _, g := range s.st.Guests {
		if g.Running {
			l, u := out[g.Node], g.usage(told[g.Node])
			l.mem += u.mem
			l.cpu += u.cpu * float64(g.cpus())
			out[g.Node] = l
		}
	}
	for _, n := range s.st.World.Nodes {
		l := out[n.Name]
		out[n.Name] = load{min(l.mem, n.memory()), min(l.cpu/float64(n.cpus()), 1)}
	}
	return out
}

func getNodeStatus(s *Sim, c *call) answer {
	n := *s.node(c.node)
	now := s.loads(c.at)[n.Name]
	mem, cpu := now.mem, now.cpu
	disk := s.st.World.mountOf("/")
	memory := map[string]any{"total": n.memory(), "used": mem, "free": n.memory() - mem}
	cpuinfo := map[string]any{
		"cpus": n.cpus(), "cores": n.cpus(), "sockets": 1, "model": "Simulated CPU", "mhz": "2600.000",
		"flags": "fpu sse2 aes avx2 hypervisor", "hvm": "1", "user_hz": 100,
	}
	if s.release.nine {
		memory["available"] = n.memory() - mem
		cpuinfo["vendor"], cpuinfo["family"] = "AuthenticAMD", "25"
	}
	return ok(map[string]any{
		"uptime": (c.at - s.st.Boots[n.Name]) / 1000, "cpu": cpu, "wait": 0, "idle": 0,
		"loadavg": []string{"0.20", "0.15", "0.10"}, "memory": memory, "cpuinfo": cpuinfo,
		"swap":           map[string]any{"total": 0, "used": 0, "free": 0},
		"ksm":            map[string]any{"shared": 0},
		"rootfs":         map[string]any{"total": disk.Total, "used": disk.Used, "free": disk.Total - disk.Used, "avail": disk.Total - disk.Used},
		"boot-info":      map[string]any{"mode": "efi"},
		"current-kernel": map[string]any{"sysname": "Linux", "release": "6.14.0-pve", "version": "#1 SMP PREEMPT_DYNAMIC", "machine": "x86_64"},
		"kversion":       "Linux 6.14.0-pve #1 SMP PREEMPT_DYNAMIC",
		"pveversion":     "pve-manager/" + s.release.version + "/" + s.release.repoid,
	})
}

func getNodeTime(s *Sim, c *call) answer {
	wall := s.local(c.node, c.at)
	_, offset := wall.Zone()
	name := s.node(c.node).Zone
	return ok(map[string]any{"time": c.at / 1000, "localtime": c.at/1000 + int64(offset), "timezone": cmp.Or(name, "UTC")})
}
