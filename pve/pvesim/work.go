package pvesim

import (
	"math"
	"slices"
	"strconv"
)

func itoa(n int) string { return strconv.Itoa(n) }

// work is the part of a task that changes a machine. It waits for the
// machine's lock file, begins, takes its time, and ends; a fault, a signal or
// the end of its worker may cut it.
type work struct {
	Kind string // of workKinds
	VMID int
	Opt  map[string]string `json:",omitempty"` // what the request said

	Free bool // it needs no lock file
	Read int  `json:",omitempty"` // a machine whose file it holds for reading beside

	Started bool
	Waited  bool  // it had to wait for the file
	GiveUp  int64 // when waiting ends
	Open    bool  // the file is let go while the work goes on

	Stage   int
	Main    int    // the stage that faults cut
	From    int64  // of this stage, unix milliseconds
	Until   int64  // when it is done
	Steps   []step `json:",omitempty"` // what the log will say meanwhile
	Said    int
	Done    int64    // bytes, milliseconds or whatever the kind counts
	Change  *change  `json:",omitempty"`
	Copy    *copying `json:",omitempty"`
	Restore *restore `json:",omitempty"`
}

// workKind is what one kind of work does. begin runs when the work has the
// lock file: it checks, begins, and says how long the work takes, or why it
// fails. end runs when that time is over and gives the exit status; with ""
// the work goes on for another stage until w.Until. cut is what is left when
// it ends half-way; it gives the exit status.
type workKind struct {
	begin func(s *Sim, t *task, at int64) (ms int64, failure string)
	end   func(s *Sim, t *task, at int64) string
	cut   func(s *Sim, t *task, at int64, c cut) string
}

// cut is how work ends half-way.
type cut struct {
	why    string // what the log says; of a killed one nobody hears
	killed bool   // the worker is gone: nothing is tidied up
	signal bool   // somebody stopped the task
}

// workKinds refers to functions that start work themselves.
var workKinds map[string]workKind

func init() {
	workKinds = map[string]workKind{}
	for _, table := range []map[string]workKind{configKinds, powerKinds, snapshotKinds, restoreKinds, machineKinds} {
		for name, kind := range table {
			workKinds[name] = kind
		}
	}
}

func (w *work) holds(vmid int, reading bool) bool {
	if !w.Started || w.Free || w.Open {
		return false
	}
	return w.VMID == vmid || w.Read == vmid && !reading
}

// startWork registers a task on a machine and begins it, unless it has to wait.
func (s *Sim) startWork(c *call, kind string, w *work) answer {
	t := s.newTask(c, c.node, kind, itoa(w.VMID))
	t.Work = w
	if d := t.doomed(GotNoWorkerUPID); d != nil && !d.Works {
		s.close(t, c.at, unexpected)
		return ok(t.UPID)
	}
	s.tryWork(t, c.at)
	return ok(t.UPID)
}

// follow starts a task that another caused, such as the start after a restore.
func (s *Sim) follow(node, user, kind string, w *work, at int64) *task {
	c := &call{at: at, node: node, who: identity{Name: user}}
	s.startWork(c, kind, w)
	return s.tasks[c.upid]
}

// tryWork begins, or waits for the lock file.
func (s *Sim) tryWork(t *task, at int64) {
	w := t.Work
	if !s.workFree(t) {
		t.log("trying to acquire lock...")
		w.Waited, w.GiveUp = true, at+lockWait
		return
	}
	s.beginWork(t, at)
}

// workFree says whether all files that a task wants are free, and nobody
// waits for them longer.
func (s *Sim) workFree(t *task) bool {
	w := t.Work
	if w.Free {
		return true
	}
	if s.fileHeld(w.VMID, false) || w.Read != 0 && s.fileHeld(w.Read, true) {
		return false
	}
	for _, o := range s.active {
		if o == t {
			break
		}
		if ow := o.Work; ow != nil && !ow.Started && !ow.Free && (ow.VMID == w.VMID || ow.VMID == w.Read) {
			return false
		}
	}
	return true
}

func (s *Sim) beginWork(t *task, at int64) {
	w := t.Work
	if w.Waited {
		t.log(" OK")
	}
	w.Started, w.From = true, at
	if d := t.doomed(TaskFails); d != nil && d.Share <= 0 {
		s.finishWork(t, at, d.line())
		return
	}
	ms, failure := workKinds[w.Kind].begin(s, t, at)
	if t.End != 0 {
		return
	}
	if failure != "" {
		s.finishWork(t, at, failure)
		return
	}
	if w.Until == 0 {
		w.Until = at + ms
	}
}

// finishWork ends a task and lets its files go.
func (s *Sim) finishWork(t *task, at int64, exit string) {
	w := t.Work
	if w.Started && !w.Free {
		s.letGo(w.VMID, at)
		if w.Read != 0 {
			s.letGo(w.Read, at)
		}
	}
	if g := s.guests[w.VMID]; g != nil {
		g.lived(at)
	}
	s.finish(t, at, exit)
}

// workDue is when work does something next.
func (s *Sim) workDue(t *task) (int64, bool) {
	w := t.Work
	if !w.Started {
		if s.workFree(t) {
			return max(t.Begin, s.st.Freed[w.VMID], s.st.Freed[w.Read]), true
		}
		return w.GiveUp, true
	}
	due := w.Until
	if w.Said < len(w.Steps) {
		due = min(due, w.Steps[w.Said].At)
	}
	if at, _ := s.workDoom(t); at < due {
		due = at
	}
	if w.Restore != nil || w.Copy != nil {
		due = min(due, s.copyFull(t, due))
	}
	return due, true
}

// workDoom is when a fault ends running work, and which.
func (s *Sim) workDoom(t *task) (int64, *doom) {
	at, which := int64(math.MaxInt64), (*doom)(nil)
	w := t.Work
	if w.Stage != w.Main {
		return at, nil
	}
	for i := range t.Doom {
		d := &t.Doom[i]
		if d.Kind != TaskFails && d.Kind != TaskKilled {
			continue
		}
		share := min(max(d.Share, 0), 1)
		if when := w.From + int64(share*float64(w.Until-w.From)); when < at {
			at, which = when, d
		}
	}
	return at, which
}

// workStep is one event of work.
func (s *Sim) workStep(t *task, at int64) {
	w := t.Work
	if !w.Started {
		if s.workFree(t) {
			s.beginWork(t, at)
		} else {
			s.finishWork(t, at, lockTimeout(w.VMID))
		}
		return
	}
	for w.Said < len(w.Steps) && w.Steps[w.Said].At <= at {
		t.Lines = append(t.Lines, w.Steps[w.Said].Lines...)
		w.Said++
	}
	if when, d := s.workDoom(t); d != nil && when <= at {
		if d.Kind == TaskKilled {
			s.kill(t, at)
			return
		}
		s.cutWork(t, at, cut{why: d.line()})
		return
	}
	if (w.Restore != nil || w.Copy != nil) && s.copyFull(t, at) <= at {
		s.cutWork(t, at, cut{why: noSpace})
		return
	}
	if at < w.Until {
		return
	}
	if exit := workKinds[w.Kind].end(s, t, at); exit != "" {
		s.finishWork(t, at, exit)
		return
	}
	w.Stage, w.From = w.Stage+1, at
}

const noSpace = "No space left on device"

// cutWork ends work half-way.
func (s *Sim) cutWork(t *task, at int64, c cut) {
	exit := c.why
	if cutting := workKinds[t.Work.Kind].cut; cutting != nil {
		exit = cutting(s, t, at, c)
	}
	s.finishWork(t, at, exit)
}

// stopWork answers a signal.
func (s *Sim) stopWork(t *task, at int64) {
	const interrupted = "received interrupt"
	if !t.Work.Started {
		s.finishWork(t, at, interrupted)
		return
	}
	s.cutWork(t, at, cut{why: interrupted, signal: true})
}

// killWork is what a worker leaves that dies without a word: locks in the
// configuration, half a change. Its lock file goes with it.
func (s *Sim) killWork(t *task, at int64) {
	w := t.Work
	if !w.Started {
		return
	}
	if cutting := workKinds[w.Kind].cut; cutting != nil {
		cutting(s, t, at, cut{killed: true})
	}
	s.letGo(w.VMID, at)
	if w.Read != 0 {
		s.letGo(w.Read, at)
	}
}

// machine finds the machine that a task is about on its node, in the words of
// a missing file.
func (s *Sim) machine(t *task) (*guest, string) {
	if g := s.guests[t.Work.VMID]; g != nil && g.Node == t.Node {
		return g, ""
	}
	return nil, noConfig(t.Node, t.Work.VMID)
}

func noConfig(node string, vmid int) string {
	return "Configuration file 'nodes/" + node + "/qemu-server/" + itoa(vmid) + ".conf' does not exist"
}

// lockedBy is why a machine's lock forbids something; "" is none, or one of
// those that allow it.
func lockedBy(g *guest, but ...string) string {
	if g.Lock == "" || slices.Contains(but, g.Lock) {
		return ""
	}
	return "VM is locked (" + g.Lock + ")"
}
