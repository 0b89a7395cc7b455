package pvesim

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// How long things of a machine take, in milliseconds.
const (
	startTakes = 400
	stopTakes  = 150
	readsAfter = 3_000 // until a system that boots has read its disk
	bootTakes  = 5_000 // until a system hears the power button
	offTakes   = 900   // from the button to the end of its QEMU
	termTakes  = 1_000 // from the last warning to SIGTERM
	againAfter = 300   // from the end of a reboot's task to the start of the next
)

var noShutdown = "VM quit/powerdown failed - got timeout"

// postStart …/status/start. All that is wrong shows in the task.
func postStart(s *Sim, c *call) answer {
	if a := rootOptions(c, "skiplock", "stateuri", "migratedfrom", "migration_type", "migration_network", "force-cpu", "targetstorage", "nets-host-mtu", "with-conntrack-state"); a != nil {
		return *a
	}
	return s.startWork(c, "qmstart", &work{Kind: "start", VMID: c.vmid(), Opt: c.options("skiplock")})
}

func postStop(s *Sim, c *call) answer {
	if a := rootOptions(c, "skiplock", "migratedfrom", "keepActive"); a != nil {
		return *a
	}
	w := &work{Kind: "stop", VMID: c.vmid(), Opt: c.options("skiplock", "timeout")}
	if !c.params.boolean("overrule-shutdown", false) {
		return s.startWork(c, "qmstop", w)
	}
	var overruled []string
	for _, t := range s.doing(w.VMID, "shutdown") {
		overruled = append(overruled, t.UPID)
		s.stop(t, c.at)
	}
	if len(overruled) > 0 {
		w.Steps = []step{{At: c.at, Lines: []string{"overruled qmshutdown tasks: " + strings.Join(overruled, ", ")}}}
	}
	return s.startWork(c, "qmstop", w)
}

// doing are the running tasks of one kind on a machine.
func (s *Sim) doing(vmid int, kind string) []*task {
	var out []*task
	for _, t := range s.active {
		if t.Work != nil && t.Work.VMID == vmid && t.Work.Kind == kind {
			out = append(out, t)
		}
	}
	return out
}

func postShutdown(s *Sim, c *call) answer {
	if a := rootOptions(c, "skiplock", "keepActive"); a != nil {
		return *a
	}
	if g := s.guests[c.vmid()]; g != nil && g.Node == c.node && g.Running && g.Paused {
		return fail(500, "VM is paused - cannot shutdown")
	}
	return s.startWork(c, "qmshutdown", &work{Kind: "shutdown", VMID: c.vmid(), Opt: c.options("skiplock", "timeout", "forceStop")})
}

func postReboot(s *Sim, c *call) answer {
	if a := s.notRunning(c); a != nil {
		return *a
	}
	return s.startWork(c, "qmreboot", &work{Kind: "reboot", VMID: c.vmid(), Opt: c.options("timeout")})
}

func postReset(s *Sim, c *call) answer {
	if a := rootOptions(c, "skiplock"); a != nil {
		return *a
	}
	if a := s.notRunning(c); a != nil {
		return *a
	}
	return s.startWork(c, "qmreset", &work{Kind: "reset", VMID: c.vmid(), Opt: c.options("skiplock")})
}

func postSuspend(s *Sim, c *call) answer {
	if a := rootOptions(c, "skiplock"); a != nil {
		return *a
	}
	if a := s.notRunning(c); a != nil {
		return *a
	}
	w := &work{Kind: "pause", VMID: c.vmid(), Opt: c.options("skiplock", "statestorage")}
	if !c.params.boolean("todisk", false) {
		return s.startWork(c, "qmpause", w)
	}
	if a := s.demand(c.who, fmt.Sprintf("/vms/%d", w.VMID), "VM.Config.Disk"); a != nil {
		return *a
	}
	storage := s.stateStorage(s.guests[w.VMID], c.params.get("statestorage"))
	if a := s.demand(c.who, "/storage/"+storage, "Datastore.AllocateSpace"); a != nil {
		return *a
	}
	w.Kind = "hibernate"
	return s.startWork(c, "qmsuspend", w)
}

func postResume(s *Sim, c *call) answer {
	if a := rootOptions(c, "skiplock", "nocheck"); a != nil {
		return *a
	}
	if g := s.guests[c.vmid()]; g == nil || g.Node != c.node || g.Lock != "suspended" {
		if a := s.notRunning(c); a != nil {
			return *a
		}
	}
	return s.startWork(c, "qmresume", &work{Kind: "resume", VMID: c.vmid(), Opt: c.options("skiplock")})
}

// notRunning is the answer about a machine that doesn't run, or isn't there.
func (s *Sim) notRunning(c *call) *answer {
	g := s.guests[c.vmid()]
	if g != nil && g.Node == c.node && g.Running {
		return nil
	}
	a := fail(500, "VM %d not running", c.vmid())
	return &a
}

func (c *call) vmid() int { return int(c.params.integer("vmid", 0)) }

// options are the given ones of some parameters.
func (c *call) options(names ...string) map[string]string {
	out := map[string]string{}
	for _, name := range names {
		if c.params.has(name) {
			out[name] = c.params.get(name)
		}
	}
	return out
}

var powerKinds = map[string]workKind{
	"start":     {begin: beginStart, end: endStart, cut: cutStart},
	"stop":      {begin: beginStop, end: endStop},
	"shutdown":  {begin: beginShutdown, end: endShutdown},
	"reboot":    {begin: beginShutdown, end: endReboot},
	"reset":     {begin: beginReset, end: endQuick},
	"pause":     {begin: beginPause, end: endPause},
	"resume":    {begin: beginResume, end: endResume},
	"hibernate": {begin: beginHibernate, end: endHibernate, cut: cutHibernate},
}

// beginStart checks a machine as it would be started: with what is pending.
func beginStart(s *Sim, t *task, at int64) (int64, string) {
	g, missing := s.machine(t)
	if missing != "" {
		return 0, missing
	}
	skip := t.Work.Opt["skiplock"] == "1"
	switch {
	case g.get("template") == "1":
		return 0, "you can't start a vm if it's a template"
	case g.Lock == "suspended" && g.Running:
		return 0, fmt.Sprintf("VM %d already running", g.VMID)
	case g.Lock == "backup" && g.Running:
		return 60, "" // it runs for its backup, and goes on
	}
	if msg := lockedBy(g, "suspended"); msg != "" && !skip {
		return 0, msg
	}
	if g.Running {
		return 0, fmt.Sprintf("VM %d already running", g.VMID)
	}
	s.applyPending(g, at, false)
	return s.launch(t, g, at)
}

// launch is the start of a machine's QEMU, or why there is none.
func (s *Sim) launch(t *task, g *guest, _ int64) (int64, string) {
	n := s.node(g.Node)
	if g.cpus() > n.cpus() {
		return 0, fmt.Sprintf("MAX %d vcpus allowed per VM on this node", n.cpus())
	}
	for _, d := range g.Disks {
		if d.Loose {
			continue
		}
		if msg := s.activateError(s.storage(d.Storage), g.Node); msg != "" {
			return 0, msg
		}
		if d.owner(g.VMID) != g.VMID {
			if _, theirs := s.anyVolume(g.Node, d.volid(g.VMID)); theirs == nil {
				return 0, fmt.Sprintf("volume '%s' does not exist", d.volid(g.VMID))
			}
		}
	}
	for _, d := range g.Disks {
		if !d.Loose && d.medium() {
			t.log("generating cloud-init ISO")
		}
	}
	if bridge := s.missingBridge(g); bridge != "" {
		why := fmt.Sprintf("bridge '%s' does not exist", bridge)
		if s.release.nine {
			return 0, why
		}
		t.log("%s", why)
		t.log("kvm: -netdev type=tap,id=net0,ifname=tap%di0,script=/usr/libexec/qemu-server/pve-bridge,downscript=/usr/libexec/qemu-server/pve-bridgedown: network script /usr/libexec/qemu-server/pve-bridge failed with status 512", g.VMID)
		return 0, "start failed: QEMU exited with code 1"
	}
	if g.memory() > n.memory() {
		t.log("kvm: cannot set up guest memory 'pc.ram': Cannot allocate memory")
		return 0, "start failed: QEMU exited with code 1"
	}
	if state := g.Config["vmstate"]; g.Lock == "suspended" {
		t.log("Resuming suspended VM")
		if state == "" {
			return startTakes, "" // somebody set the lock
		}
		s.mtuLines(t, g, g.Config["running-nets-host-mtu"])
		t.log("activating and using '%s' as vmstate", state)
	}
	return startTakes, ""
}

// mtuLines tell of each card's MTU when a memory of 9 is loaded (differences, C2).
func (s *Sim) mtuLines(t *task, _ *guest, nets string) {
	if !s.release.nine {
		return
	}
	for _, p := range pairs(nets, "") {
		t.log("netdev %s: using 'host_mtu=%s' for migration compat", p.name, p.value)
	}
}

// netsMTU is what a snapshot of the memory notes of the machine's cards.
func (g *guest) netsMTU() string {
	var out []string
	for _, key := range sortedKeys(g.Config) {
		if netKey.MatchString(key) {
			out = append(out, key+"=1500")
		}
	}
	return strings.Join(out, ",")
}

func (s *Sim) missingBridge(g *guest) string {
	known := map[string]bool{}
	for _, b := range s.node(g.Node).Bridges {
		known[b] = true
	}
	for _, key := range sortedKeys(g.Config) {
		if !netKey.MatchString(key) {
			continue
		}
		if parts, _ := netShape.parse(g.Config[key], key, s.release); parts["bridge"] != "" && !known[parts["bridge"]] && len(known) > 0 {
			return parts["bridge"]
		}
	}
	return ""
}

func endStart(s *Sim, t *task, at int64) string {
	g, missing := s.machine(t)
	if missing != "" {
		return missing
	}
	if g.Running {
		// Started for a backup only: it goes on running.
		g.Paused = false
		g.wake(at)
		return "OK"
	}
	s.powerOn(g, at)
	if g.Lock == "suspended" {
		s.wakeUp(t, g)
	}
	return "OK"
}

// wakeUp ends a suspension to disk: its memory is in use again.
func (s *Sim) wakeUp(t *task, g *guest) {
	t.log("Resumed VM, removing state")
	if state := g.Config["vmstate"]; state != "" {
		s.free(g, state)
		g.Boot -= bootTakes // its system was up
	}
	g.Lock = ""
	for _, key := range []string{"vmstate", "runningmachine", "runningcpu", "running-nets-host-mtu"} {
		delete(g.Config, key)
	}
}

func cutStart(_ *Sim, _ *task, _ int64, c cut) string { return c.why }

// powerOn starts a machine: what boots in it writes to its disks.
func (s *Sim) powerOn(g *guest, at int64) {
	s.setRunning(g, at, true)
	s.touch(g)
}

// powerOff ends a machine's QEMU, which has ended some milliseconds before
// its task sees that: it looks once a second.
func (s *Sim) powerOff(g *guest, at, before int64) {
	s.setRunning(g, at, false)
	s.quit(g, at-before)
}

func beginStop(s *Sim, t *task, _ int64) (int64, string) {
	g, missing := s.machine(t)
	if missing != "" {
		return 0, fmt.Sprintf("unable to find configuration file for VM %d on node '%s'", t.Work.VMID, t.Node)
	}
	if g.Running && t.Work.Opt["skiplock"] != "1" {
		if msg := lockedBy(g); msg != "" {
			return 0, msg
		}
	}
	if seconds := timeout(t.Work); g.Quits >= time.Duration(seconds)*time.Second {
		t.Work.Done = 1
		return seconds * 1000, ""
	}
	return max(g.Quits.Milliseconds(), stopTakes), ""
}

// timeout is how many seconds a machine is given to end.
func timeout(w *work) int64 {
	seconds, err := strconv.ParseInt(w.Opt["timeout"], 10, 64)
	if err != nil {
		return 60
	}
	return seconds
}

func endStop(s *Sim, t *task, at int64) string {
	g, missing := s.machine(t)
	if missing != "" || !g.Running {
		return "OK"
	}
	if t.Work.Done == 1 && t.Work.Stage == 0 {
		return t.terminate(at)
	}
	s.powerOff(g, at, 0)
	s.applyPending(g, at, false)
	return "OK"
}

// terminate has QEMU ended by a signal, when it has not ended by itself.
func (t *task) terminate(at int64) string {
	t.log("VM still running - terminating now with SIGTERM")
	t.Work.Until = at + termTakes
	return ""
}

// beginShutdown presses the power button. A system that is up switches off;
// others let the time run out.
func beginShutdown(s *Sim, t *task, at int64) (int64, string) {
	g, missing := s.machine(t)
	if missing != "" {
		return 0, fmt.Sprintf("unable to find configuration file for VM %d on node '%s'", t.Work.VMID, t.Node)
	}
	if !g.Running {
		if t.Work.Kind == "reboot" {
			return 0, fmt.Sprintf("VM %d not running", g.VMID)
		}
		return stopTakes, ""
	}
	if msg := lockedBy(g); msg != "" && t.Work.Opt["skiplock"] != "1" {
		return 0, msg
	}
	if g.hears(at) {
		t.Work.Done = 1
		return offTakes, ""
	}
	return timeout(t.Work) * 1000, ""
}

// hears: a system is up that acts on the power button.
func (g *guest) hears(at int64) bool {
	return !g.deaf() && !g.Paused && !g.Prelaunch && at-g.Boot >= bootTakes
}

func endShutdown(s *Sim, t *task, at int64) string {
	w := t.Work
	g, missing := s.machine(t)
	switch {
	case missing != "" || !g.Running:
		return "OK"
	case w.Done == 1 || w.Stage == 1:
		s.powerOff(g, at, offTakes)
		s.applyPending(g, at, false)
		return "OK"
	case w.Opt["forceStop"] == "1":
		return t.terminate(at)
	}
	return noShutdown
}

// endReboot ends when the system has switched off; the machine is started
// again by another task, of root@pam, a moment later (recorded in 04).
func endReboot(s *Sim, t *task, at int64) string {
	g, missing := s.machine(t)
	switch {
	case missing != "" || !g.Running:
		return "OK"
	case t.Work.Done == 0:
		return noShutdown
	}
	s.setRunning(g, at, false)
	s.applyPending(g, at, false)
	s.st.Again = append(s.st.Again, again{Node: t.Node, User: root, VMID: g.VMID, At: at + againAfter})
	return "OK"
}

// again is a start that follows another task.
type again struct {
	Node, User string
	VMID       int
	At         int64 // unix milliseconds
}

func (s *Sim) startAgain(a again) {
	if n := s.node(a.Node); n != nil && !n.Offline {
		t := s.follow(a.Node, a.User, "qmstart", &work{Kind: "start", VMID: a.VMID, Opt: map[string]string{}}, a.At)
		t.Follows = a.User != root // qm's own process waits for what it began
	}
}

func beginReset(s *Sim, t *task, at int64) (int64, string) {
	g, missing := s.machine(t)
	if missing != "" {
		return 0, missing
	}
	if msg := lockedBy(g); msg != "" && t.Work.Opt["skiplock"] != "1" {
		return 0, msg
	}
	if g.Running {
		s.touch(g)
		g.Boot = at // its system boots again
	}
	return stopTakes, ""
}

func endQuick(*Sim, *task, int64) string { return "OK" }

func beginPause(s *Sim, t *task, _ int64) (int64, string) {
	g, missing := s.machine(t)
	if missing != "" {
		return 0, missing
	}
	if msg := lockedBy(g, "backup"); msg != "" && t.Work.Opt["skiplock"] != "1" {
		return 0, msg
	}
	return stopTakes, ""
}

func endPause(s *Sim, t *task, at int64) string {
	if g, missing := s.machine(t); missing == "" && g.Running {
		g.Paused = true
		g.lived(at)
	}
	return "OK"
}

func beginResume(s *Sim, t *task, at int64) (int64, string) {
	g, missing := s.machine(t)
	switch {
	case missing != "":
		return 0, missing
	case g.Lock == "suspended" && g.Running:
		return 0, fmt.Sprintf("VM %d already running", g.VMID)
	case g.Lock == "suspended":
		return s.launch(t, g, at)
	}
	return stopTakes, ""
}

func endResume(s *Sim, t *task, at int64) string {
	g, missing := s.machine(t)
	switch {
	case missing != "":
		return missing
	case g.Lock == "suspended":
		return endStart(s, t, at)
	}
	g.Paused = false
	g.lived(at)
	return "OK"
}

func beginHibernate(s *Sim, t *task, at int64) (int64, string) {
	g, missing := s.machine(t)
	if missing != "" {
		return 0, missing
	}
	if msg := lockedBy(g); msg != "" && t.Work.Opt["skiplock"] != "1" {
		return 0, msg
	}
	day := s.local(t.Node, at).Format(time.DateOnly)
	g.Lock = "suspending"
	g.Config["vmstate"] = s.saveMemory(t, g, "suspend-"+day, s.stateStorage(g, t.Work.Opt["statestorage"]))
	g.noteRunning(s.release)
	return 300 + g.memory()/dataSpeed, ""
}

func endHibernate(s *Sim, t *task, at int64) string {
	g, missing := s.machine(t)
	if missing != "" {
		return missing
	}
	t.log("State saved, quitting")
	g.Lock = "suspended"
	s.powerOff(g, at, 0)
	return "OK"
}

// cutHibernate puts a machine back that was about to be suspended; a killed
// worker leaves the lock and the half state.
func cutHibernate(s *Sim, t *task, _ int64, c cut) string {
	g, missing := s.machine(t)
	if missing == "" && !c.killed {
		g.Lock = ""
		s.free(g, g.Config["vmstate"])
		for _, key := range momentary[1:] {
			delete(g.Config, key)
		}
	}
	return c.why
}

// noteRunning adds what a saved memory fits to.
func (g *guest) noteRunning(rel release) {
	g.Config["runningmachine"] = rel.machineType(g)
	g.Config["runningcpu"] = runningCPU
	if rel.nine && g.netsMTU() != "" {
		g.Config["running-nets-host-mtu"] = g.netsMTU()
	}
}

const runningCPU = "kvm64,+kvm_pv_eoi,+kvm_pv_unhalt,+lahf_lm,+sep"

// machineType is the newest one, whose last variant is for cards alone
// (07, a stump that was started; 11, a machine without a card).
func (r release) machineType(g *guest) string {
	if r.nine && g.netsMTU() != "" {
		return "pc-i440fx-10.0+pve1"
	}
	return "pc-i440fx-10.0+pve0"
}

// stateStorage is where a machine's memory is saved: as asked, as configured,
// or where its first disk lies.
func (s *Sim) stateStorage(g *guest, asked string) string {
	switch {
	case asked != "":
		return asked
	case g == nil:
		return "local"
	case g.Config["vmstatestorage"] != "":
		return g.Config["vmstatestorage"]
	}
	for _, d := range g.sorted() {
		return d.Storage
	}
	return "local"
}

// saveMemory makes the volume for a machine's memory and begins to fill it.
func (s *Sim) saveMemory(t *task, g *guest, name, storage string) (volid string) {
	format := "raw"
	d := s.allocate(g, storage, format, "state-"+name, g.memory()*2+500*mib)
	t.log("%s", s.formatting(storage, d.Volume, format, d.Size))
	u := g.usage(t.Begin)
	d.Used = max(u.mem*3/4, 2*mib)
	d.Size = d.Used // a file that was never filled
	s.images = nil
	return d.volid(g.VMID)
}
