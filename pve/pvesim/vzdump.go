package pvesim

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// dump is the part of a task that backs machines up. It first waits for its
// node's vzdump lock, then takes one machine after the other.
type dump struct {
	Options  dumpOptions
	VMIDs    []int
	Skipped  []int  // named, but on other nodes
	Command  string // the first line's
	GiveUp   int64  // when waiting for the lock ends
	Running  bool   // it has the lock
	Next     int    // the next of VMIDs
	Failures int
	Warnings int
	Turn     *turn // the machine whose backup runs
}

// dumpOptions are a request's parameters after the defaults.
type dumpOptions struct {
	Storage   string
	Mode      string
	Compress  string // 0, lzo, gzip, zstd
	Remove    bool
	Protected bool
	Notes     string // the template
	BWLimit   int64  // KiB/s; 0 is none
	Keep      keep   // retention in force
	Fleecing  string // the storage for fleecing images; "" is off
	All       bool
	Owner     identity
}

const vzdumpLock = "/var/run/vzdump.lock"

// rootOnly are parameters that root@pam's own ticket alone may use.
var rootOnly = []string{"dumpdir", "script", "tmpdir"}

// postVzdump is POST /nodes/N/vzdump. What is wrong with the storage or the
// machine shows in the task only; an answer with a UPID proves nothing.
func postVzdump(s *Sim, c *call) answer {
	p := c.params
	if a := s.vzdumpConflicts(c); a != nil {
		return *a
	}
	if a := s.vzdumpRights(c); a != nil {
		return *a
	}
	o, err := s.vzdumpOptions(c)
	if err != nil {
		return *err
	}
	local, elsewhere, wanted := s.selectGuests(c)
	if p.boolean("stop", false) {
		for _, t := range slices.Clone(s.active) {
			if t.Dump != nil && t.Node == c.node {
				s.stop(t, c.at)
			}
		}
	}
	// Done silently when the machines are all on other nodes (facts).
	if len(local) == 0 && !o.All {
		return ok("OK")
	}
	id := ""
	if len(wanted) == 1 && !o.All {
		id = strconv.Itoa(wanted[0])
	}
	t := s.newTask(c, c.node, "vzdump", id)
	t.Dump = &dump{Options: o, VMIDs: local, Skipped: elsewhere, Command: commandLine(c)}
	s.beginDump(t, p.integer("lockwait", 180))
	return ok(t.UPID)
}

// vzdumpConflicts are the checks that need several parameters.
func (s *Sim) vzdumpConflicts(c *call) *answer {
	p := c.params
	errs := map[string]string{}
	switch {
	case p.boolean("all", false) && p.has("vmid"):
		errs["all"] = "option conflicts with option 'vmid'"
	case p.has("exclude") && p.has("vmid"):
		errs["exclude"] = "option conflicts with option 'vmid'"
	case p.has("pool") && p.has("vmid"):
		errs["pool"] = "option conflicts with option 'vmid'"
	case p.has("prune-backups") && p.has("maxfiles"):
		errs["prune-backups"] = "option conflicts with option 'maxfiles'"
	case !p.boolean("all", false) && !p.has("vmid") && !p.has("pool"):
		errs["vmid"] = "property is missing"
	case p.boolean("stdout", false):
		errs["stdout"] = "option is only allowed on the command line interface."
	}
	if msg := checkTemplate(p.get("notes-template")); msg != "" {
		errs["notes-template"] = msg
	}
	if len(errs) > 0 {
		a := wrongParams(errs)
		return &a
	}
	return nil
}

// vzdumpRights are the checks before a task is started. VM.Backup is checked
// inside the task (recorded in 12).
func (s *Sim) vzdumpRights(c *call) *answer {
	p := c.params
	for _, name := range rootOnly {
		if p.has(name) {
			a := wrongParam(name, "Only root may set this option.")
			return &a
		}
	}
	for _, name := range []string{"bwlimit", "ionice", "performance"} {
		if p.has(name) {
			if a := s.demand(c.who, "/", "Sys.Modify"); a != nil {
				return a
			}
		}
	}
	if p.boolean("stop", false) {
		if a := s.demand(c.who, "/nodes/"+c.node, "Sys.Modify"); a != nil {
			return a
		}
	}
	if name := p.get("storage"); name != "" {
		if p.has("prune-backups") || p.has("maxfiles") {
			if a := s.demand(c.who, "/storage/"+name, "Datastore.Allocate"); a != nil {
				return a
			}
		}
		if a := s.demand(c.who, "/storage/"+name, "Datastore.AllocateSpace"); a != nil {
			return a
		}
	}
	if f, _ := parseFleecing(p.get("fleecing")); f["storage"] != "" {
		return s.demand(c.who, "/storage/"+f["storage"], "Datastore.AllocateSpace")
	}
	return nil
}

func (s *Sim) vzdumpOptions(c *call) (dumpOptions, *answer) {
	p := c.params
	o := dumpOptions{
		Storage:   p.get("storage"),
		Mode:      p.get("mode"),
		Compress:  p.get("compress"),
		Remove:    p.boolean("remove", true),
		Protected: p.boolean("protected", false),
		Notes:     p.get("notes-template"),
		BWLimit:   p.integer("bwlimit", 0),
		All:       p.boolean("all", false),
		Owner:     c.who,
	}
	if o.Mode == "" {
		o.Mode = "snapshot"
	}
	switch o.Compress {
	case "":
		o.Compress = "0"
	case "1":
		o.Compress = "lzo"
	}
	switch {
	case p.has("prune-backups"):
		o.Keep, _ = parseKeep(p.get("prune-backups"))
	case p.has("maxfiles"):
		o.Keep = keep{"keep-last": p.integer("maxfiles", 1)}
	default:
		if st := s.storage(o.Storage); st != nil {
			o.Keep, _ = parseKeep(st.PruneBackups)
		}
	}
	if f, _ := parseFleecing(p.get("fleecing")); f["enabled"] == "1" {
		if f["storage"] == "" {
			a := wrongParam("fleecing", "required parameter is missing: storage")
			return o, &a
		}
		o.Fleecing = f["storage"]
	}
	if o.Storage == "" {
		// Without a storage the dump folder is /var/lib/vz/dump.
		for _, st := range s.st.World.Storages {
			if st.path() == "/var/lib/vz" {
				o.Storage, o.Keep = st.Name, nil
			}
		}
	}
	return o, nil
}

// selectGuests are the machines to back up here, those that are elsewhere,
// and all that were named. Unknown ones are taken and fail visibly.
func (s *Sim) selectGuests(c *call) (local, elsewhere, wanted []int) {
	if c.params.boolean("all", false) {
		excluded := vmids(c.params.get("exclude"))
		for vmid, g := range s.guests {
			switch {
			case slices.Contains(excluded, vmid):
			case g.Node != c.node:
			default:
				local = append(local, vmid)
			}
		}
		slices.Sort(local)
		return local, nil, local
	}
	wanted = vmids(c.params.get("vmid"))
	if p := s.pool(c.params.get("pool")); p != nil {
		wanted = p.VMIDs
	}
	for _, vmid := range wanted {
		if g := s.guests[vmid]; g != nil && g.Node != c.node {
			elsewhere = append(elsewhere, vmid)
		} else {
			local = append(local, vmid)
		}
	}
	return local, elsewhere, wanted
}

func vmids(text string) []int {
	var out []int
	for _, one := range splitList(text) {
		if n, err := strconv.Atoi(one); err == nil {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

var needsQuotes = regexp.MustCompile(`[^\w!%+,\-./:@^]`)

// commandLine is the request as the log's first line shows it. The real one
// has its options in no order; here they are sorted.
func commandLine(c *call) string {
	out := []string{"vzdump"}
	for _, vmid := range vmids(c.params.get("vmid")) {
		out = append(out, strconv.Itoa(vmid))
	}
	given := maps.Clone(c.params)
	given["node"] = []string{c.node}
	delete(given, "vmid")
	for _, name := range slices.Sorted(maps.Keys(given)) {
		for _, v := range given[name] {
			if name == "fleecing" {
				v = strings.TrimPrefix(v, "enabled=")
			}
			if v == "" || needsQuotes.MatchString(v) {
				v = "'" + strings.ReplaceAll(v, "'", `'\''`) + "'"
			}
			out = append(out, "--"+name, v)
		}
	}
	return strings.Join(out, " ")
}

// beginDump starts a backup task: the storage is looked at first, then the
// node's lock is taken or waited for.
func (s *Sim) beginDump(t *task, lockwait int64) {
	d, at := t.Dump, t.Begin
	if t.doomed(GotNoWorkerUPID) != nil && !t.doomed(GotNoWorkerUPID).Works {
		s.close(t, at, unexpected)
		return
	}
	if msg := s.dumpStorageError(d.Options.Storage, t.Node); msg != "" {
		s.finish(t, at, msg)
		return
	}
	d.GiveUp = at + lockwait*minute
	if s.dumpHolder(t.Node) == nil && s.firstWaiting(t.Node) == t {
		s.startDump(t, at)
		return
	}
	if lockwait == 0 {
		t.log("ERROR: can't acquire lock '%s' (wait = 0)", vzdumpLock)
		s.close(t, at, unexpected)
		return
	}
	t.log("INFO: trying to get global lock - waiting...")
}

// dumpStorageError is what ends a backup before it has begun.
func (s *Sim) dumpStorageError(name, node string) string {
	st := s.storage(name)
	if st == nil {
		why := fmt.Sprintf("storage '%s' does not exist", name)
		return fmt.Sprintf("could not activate storage '%s': %s could not get storage information for '%s': %s", name, why, name, why)
	}
	if msg := s.activateError(st, node); msg != "" {
		return fmt.Sprintf("could not activate storage '%s': %s", name, msg)
	}
	if !st.has("backup") {
		return fmt.Sprintf("could not get storage information for '%s': can't use storage '%s' for backups - wrong content type", name, name)
	}
	return ""
}

// dumpHolder is the task that has a node's vzdump lock.
func (s *Sim) dumpHolder(node string) *task {
	for _, t := range s.active {
		if t.Dump != nil && t.Node == node && t.Dump.Running {
			return t
		}
	}
	return nil
}

// firstWaiting is the task that gets the lock next.
func (s *Sim) firstWaiting(node string) *task {
	for _, t := range s.active {
		if t.Dump != nil && t.Node == node && !t.Dump.Running {
			return t
		}
	}
	return nil
}

// dumpDue is when a backup task next does something.
func (s *Sim) dumpDue(t *task) (int64, bool) {
	d := t.Dump
	switch {
	case d.Running:
		return s.turnDue(t), true
	case s.dumpHolder(t.Node) == nil && s.firstWaiting(t.Node) == t:
		return max(s.st.Free[t.Node], t.Begin), true
	default:
		return d.GiveUp, true
	}
}

func (s *Sim) dumpStep(t *task, at int64) {
	switch d := t.Dump; {
	case d.Running:
		s.turnStep(t, at)
	case s.dumpHolder(t.Node) == nil && s.firstWaiting(t.Node) == t:
		t.log("INFO: got global lock")
		s.startDump(t, at)
	default:
		t.log("ERROR: can't acquire lock '%s' - got timeout", vzdumpLock)
		s.close(t, at, unexpected)
	}
}

// stopDump answers a signal: a waiting task ends at once and cannot say how,
// a running one gives up its machine and the rest.
func (s *Sim) stopDump(t *task, at int64) {
	const why = "interrupted by signal"
	if !t.Dump.Running {
		t.log("ERROR: can't acquire lock '%s' - %s", vzdumpLock, why)
		s.close(t, at, unexpected)
		return
	}
	s.abortTurn(t, at, why, false)
	t.log("ERROR: Backup job failed - %s", why)
	s.finish(t, at, why)
}

func getVzdumpDefaults(s *Sim, c *call) answer {
	out := map[string]any{
		"all": 0, "bwlimit": 0, "compress": "0", "fleecing": map[string]any{"enabled": 0}, "ionice": 7,
		"lockwait": 180, "mailnotification": "always", "mode": "snapshot", "notification-mode": "auto",
		"performance": map[string]any{"max-workers": 16, "pbs-entries-max": 1048576},
		"pigz":        0, "prune-backups": "keep-all=1", "quiet": 0, "remove": 1, "stdexcludes": 1, "stop": 0,
		"stopwait": 10, "zstd": 1,
	}
	if !s.release.nine {
		out["notification-policy"] = "always"
	}
	if name := c.params.get("storage"); name != "" {
		if a := s.demand(c.who, "/storage/"+name, "Datastore.Audit", "Datastore.AllocateSpace"); a != nil {
			return *a
		}
		if msg := s.dumpStorageError(name, c.node); msg != "" {
			return fail(500, "%s", msg)
		}
		st := s.storage(name)
		out["storage"], out["dumpdir"] = name, st.dumpDir()
		if st.PruneBackups != "" {
			out["prune-backups"] = st.PruneBackups
		}
	}
	return ok(out)
}
