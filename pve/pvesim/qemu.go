package pvesim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// here finds a machine on a node; elsewhere it does not exist, in the words of
// a missing file.
func (s *Sim) here(c *call) (*guest, *answer) {
	vmid := int(c.params.integer("vmid", 0))
	if g := s.guests[vmid]; g != nil && g.Node == c.node {
		return g, nil
	}
	a := fail(500, "Configuration file 'nodes/%s/qemu-server/%d.conf' does not exist", c.node, vmid)
	return nil, &a
}

// getGuests is GET /nodes/N/qemu: live, and only what may be seen.
func getGuests(s *Sim, c *call) answer {
	out := []map[string]any{}
	for _, g := range s.st.Guests {
		if g.Node == c.node && s.may(c.who, fmt.Sprintf("/vms/%d", g.VMID), "VM.Audit") {
			out = append(out, s.guestEntry(g, c.at, c.params.boolean("full", false)))
		}
	}
	return ok(out)
}

// getGuestStatus is …/status/current.
func getGuestStatus(s *Sim, c *call) answer {
	g, missing := s.here(c)
	if missing != nil {
		return *missing
	}
	e := s.guestEntry(g, c.at, true)
	e["ha"] = map[string]int{"managed": 0}
	return ok(e)
}

// guestEntry is a machine's live state; full has what QEMU itself tells.
func (s *Sim) guestEntry(g *guest, at int64, full bool) map[string]any {
	e := map[string]any{
		"vmid": g.VMID, "name": g.name(), "status": "stopped", "cpus": g.cpus(), "maxmem": g.memory(), "maxdisk": g.boot(),
		"cpu": 0, "mem": 0, "disk": 0, "netin": 0, "netout": 0, "uptime": 0,
	}
	if s.release.nine {
		e["memhost"] = 0
	}
	if g.Lock != "" {
		e["lock"] = g.Lock
	}
	if g.Tags != "" {
		e["tags"] = g.Tags
	}
	if g.Config["serial0"] != "" {
		e["serial"] = 1
	}
	if g.Agent != "" {
		e["agent"] = 1
	}
	if g.Config["template"] == "1" {
		e["template"] = 1
	}
	if full {
		e["qmpstatus"] = g.qmp()
	}
	if !g.Running {
		return e
	}
	// A machine that runs for its backup alone is running here all the same.
	e["status"], e["pid"], e["uptime"] = "running", g.PID, max(at-g.Up, 0)/1000
	if s.release.nine {
		for _, k := range []string{"pressurecpusome", "pressurecpufull", "pressureiosome", "pressureiofull", "pressurememorysome", "pressurememoryfull"} {
			e[k] = 0
		}
	}
	u := g.usage(at)
	e["cpu"], e["mem"], e["netin"], e["netout"] = u.cpu, u.mem, u.netin, u.netout
	if full {
		s.qemuFields(g, e, u)
	}
	return e
}

func (s *Sim) qemuFields(g *guest, e map[string]any, u usage) {
	e["diskread"], e["diskwrite"], e["balloon"] = u.diskread, u.diskwrite, g.memory()
	balloon := map[string]any{"actual": g.memory(), "max_mem": g.memory()}
	if u.alive {
		for _, k := range []string{"major_page_faults", "minor_page_faults", "mem_swapped_in", "mem_swapped_out"} {
			balloon[k] = 0
		}
		balloon["last_update"], balloon["total_mem"], balloon["free_mem"] = u.at/1000, g.memory()*9/10, g.memory()-u.mem
		e["freemem"] = g.memory() - u.mem
	}
	e["ballooninfo"] = balloon
	e["running-machine"], e["running-qemu"] = s.release.machineType(g), "10.0.2"
	e["proxmox-support"] = map[string]any{
		"backup-access-api": true, "backup-fleecing": true, "backup-max-workers": true, "pbs-dirty-bitmap": true,
		"pbs-dirty-bitmap-migration": true, "pbs-dirty-bitmap-savevm": true, "pbs-library-version": "1.5.1 (sim)",
		"pbs-masterkey": true, "query-bitmap-info": true,
	}
	nics := map[string]any{}
	for key := range g.Config {
		if netKey.MatchString(key) {
			nics[fmt.Sprintf("tap%di%s", g.VMID, key[3:])] = map[string]any{"netin": u.netin, "netout": u.netout}
		}
	}
	if len(nics) > 0 {
		e["nics"] = nics
	}
	stats := map[string]any{}
	for _, d := range g.sorted() {
		one := map[string]any{"account_failed": true, "account_invalid": true, "timed_stats": []any{}}
		for _, k := range blockCounters {
			one[k] = 0
		}
		if u.diskread > 0 {
			one["idle_time_ns"] = 1_000_000_000
		}
		one["rd_bytes"], one["wr_bytes"] = u.diskread, u.diskwrite
		stats[d.Key] = one
	}
	if len(stats) > 0 {
		e["blockstat"] = stats
	}
}

var blockCounters = []string{
	"failed_flush_operations", "failed_rd_operations", "failed_unmap_operations", "failed_wr_operations",
	"failed_zone_append_operations", "flush_operations", "flush_total_time_ns",
	"invalid_flush_operations", "invalid_rd_operations", "invalid_unmap_operations", "invalid_wr_operations",
	"invalid_zone_append_operations", "rd_bytes", "rd_merged", "rd_operations", "rd_total_time_ns", "unmap_bytes",
	"unmap_merged", "unmap_operations", "unmap_total_time_ns", "wr_bytes", "wr_highest_offset", "wr_merged",
	"wr_operations", "wr_total_time_ns", "zone_append_bytes", "zone_append_merged", "zone_append_operations",
	"zone_append_total_time_ns",
}

// usage is what a running machine uses: made of its number and uptime, so that
// it moves and yet is the same for the same moment.
type usage struct {
	at    int64
	alive bool // the guest itself tells: a while after its start, if ever
	cpu   float64

	mem, netin, netout, diskread, diskwrite int64
}

func (g *guest) usage(at int64) usage {
	u := usage{at: at, mem: g.memory() / 32}
	switch {
	case !g.Running || g.Prelaunch || at-g.Boot < readsAfter:
		return u
	case at-g.Boot < bootTakes:
		u.diskread = 512
		return u
	case g.Blank:
		u.diskread = 2048
		return u
	}
	seconds := max(at-g.Up, 0) / 1000
	wave := (seconds/10 + int64(g.VMID)*7) % 20
	u.alive, u.cpu, u.mem = true, 0.005+float64(wave)*0.004, g.memory()*(40+wave)/100
	u.netin, u.netout = seconds*220, seconds*180
	if g.Boot >= g.Up { // its QEMU saw it boot
		u.diskread, u.diskwrite = 8704+seconds*512, 4096+seconds*1024
	}
	return u
}

// getGuestConfig is the configuration, with the lock among its keys: as it will
// be when the machine starts next or, with current, as it is.
func getGuestConfig(s *Sim, c *call) answer {
	g, missing := s.here(c)
	if missing != nil {
		return *missing
	}
	name := c.params.get("snapshot")
	if name != "" && c.params.boolean("current", false) {
		return wrongParam("snapshot", "cannot use 'snapshot' parameter with 'current'")
	}
	if name != "" {
		sn := g.snapshot(name)
		if sn == nil {
			return fail(500, "snapshot '%s' does not exist", name)
		}
		out := s.values(sn.lines())
		out["digest"] = g.digest()
		return ok(out)
	}
	lines := g.afterStart()
	if c.params.boolean("current", false) {
		lines = g.config()
	}
	return ok(s.configValues(g, lines))
}

// configValues are lines of a configuration with its digest and lock.
func (s *Sim) configValues(g *guest, lines map[string]string) map[string]any {
	out := s.values(lines)
	out["digest"] = g.digest()
	if g.Lock != "" {
		out["lock"] = g.Lock
	}
	return out
}

// values are lines as the API gives them.
func (s *Sim) values(lines map[string]string) map[string]any {
	out := map[string]any{}
	for key, value := range lines {
		out[key] = s.value(key, value)
	}
	return out
}

// getGuestPending lists each line with what it will be.
func getGuestPending(s *Sim, c *call) answer {
	g, missing := s.here(c)
	if missing != nil {
		return *missing
	}
	now := g.config()
	if g.Lock != "" {
		now["lock"] = g.Lock
	}
	out := []map[string]any{{"key": "digest", "value": g.digest()}}
	for _, key := range sortedKeys(now) {
		e := map[string]any{"key": key, "value": s.value(key, now[key])}
		if will, changes := g.Pending[key]; changes {
			e["pending"] = s.value(key, will)
		} else if force, goes := g.Doomed[key]; goes {
			e["delete"] = 1 + bit(force)
		}
		out = append(out, e)
	}
	for _, key := range sortedKeys(g.Pending) {
		if _, there := now[key]; !there {
			out = append(out, map[string]any{"key": key, "pending": s.value(key, g.Pending[key])})
		}
	}
	return ok(out)
}

// guestIndex are the parts that a machine's path has, in the order of the real one.
var guestIndex = []string{
	"config", "cloudinit", "pending", "status", "unlink", "vncproxy", "termproxy", "migrate", "resize", "move", "rrd", "rrddata",
	"monitor", "agent", "snapshot", "spiceproxy", "sendkey", "firewall", "mtunnel", "remote_migrate",
}

// getGuestIndex lists them, for a machine that is not there as well.
func getGuestIndex(*Sim, *call) answer {
	out := []map[string]string{}
	for _, name := range guestIndex {
		out = append(out, map[string]string{"subdir": name})
	}
	return ok(out)
}

// numbers are the lines that the API gives as numbers; memory is not among them.
func (s *Sim) numbers() []string {
	if s.numeric == nil {
		s.numeric = []string{"snaptime"}
		for _, o := range vmOptions {
			if o.kind != "string" && (o.only == "" || o.only == s.release.name) {
				s.numeric = append(s.numeric, o.name)
			}
		}
	}
	return s.numeric
}

func asNumber(value string) any {
	if n, err := strconv.ParseInt(value, 10, 64); err == nil {
		return n
	}
	if f, err := strconv.ParseFloat(value, 64); err == nil {
		return f
	}
	return value
}

// getGuestFeature says whether all of a machine's disks are of a kind that can be snapshot or cloned: on a
// directory only qcow2 is.
func getGuestFeature(s *Sim, c *call) answer {
	g, missing := s.here(c)
	if missing != nil {
		return *missing
	}
	if name := c.params.get("snapname"); name != "" && !slices.Contains(g.Snapshots, name) {
		return fail(500, "snapshot '%s' does not exist", name)
	}
	has := true
	for _, d := range g.sorted() {
		switch c.params.get("feature") {
		case "snapshot":
			has = has && s.canSnapshot(&d)
		case "clone":
			has = has && strings.HasSuffix(d.volid(g.VMID), ".qcow2")
		}
	}
	nodes := []string{}
	for _, n := range s.st.World.Nodes {
		if n.Name == g.Node || !slices.ContainsFunc(g.sorted(), func(d Disk) bool { return !s.shared(d.Storage) }) {
			nodes = append(nodes, n.Name)
		}
	}
	return ok(map[string]any{"hasFeature": bit(has), "nodes": nodes})
}

func (s *Sim) shared(storage string) bool {
	st := s.storage(storage)
	return st != nil && st.Shared
}
