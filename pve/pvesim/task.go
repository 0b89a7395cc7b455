package pvesim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// task is a worker of Proxmox VE. It lives in virtual time: taskDue says when
// it next does something, advance does it.
type task struct {
	UPID   string
	Node   string
	Type   string
	ID     string
	User   string // with the token's name
	PID    int
	PStart int64 // clock ticks since boot
	Begin  int64 // unix milliseconds
	Skew   int64 // how far the node's clock was ahead then, in milliseconds
	Seq    uint64
	Lines  []string

	End   int64  // unix milliseconds; 0 while it runs
	Exit  string // exitstatus
	Order uint64 // of its end among all ends

	Doom []doom `json:",omitempty"`
	Dump *dump  `json:",omitempty"`
	Wipe *wipe  `json:",omitempty"`
	Work *work  `json:",omitempty"`

	// Follows: another task's worker began it, so that nobody waits for its
	// end: the lists learn of that with the next task of the node, or when
	// pvestatd looks (08: a start after a rollback went on RUNNING there).
	Follows bool `json:",omitempty"`

	Foreign *foreign `json:",omitempty"`
}

const unexpected = "unexpected status"

// keptTasks is how many ended tasks are remembered; older ones are unknown, as
// after a rotation of the real index.
const keptTasks = 5000

// newTask registers a worker and gives the call its UPID.
func (s *Sim) newTask(c *call, node, kind, id string) *task {
	t := &task{Node: node, Type: kind, ID: id, User: c.who.Name, Begin: c.at, Skew: s.skew(), Doom: c.doom}
	s.register(t)
	c.upid = t.UPID
	return t
}

// register gives a task its number and, unless it has one, its name.
func (s *Sim) register(t *task) {
	s.st.Counter++
	t.Seq = s.st.Counter
	if t.UPID == "" {
		r := s.random("task", fmt.Sprint(t.Seq))
		t.PID = s.st.PIDs[t.Node] + 1 + int(r.Uint64()%24)
		if t.PID >= 4<<20 {
			t.PID = 300
		}
		s.st.PIDs[t.Node] = t.PID
		t.PStart = (t.Begin - s.st.Boots[t.Node]) / 10
		t.UPID = fmt.Sprintf("UPID:%s:%08X:%08X:%08X:%s:%s:%s:", t.Node, t.PID, t.PStart, t.start(), t.Type, t.ID, t.User)
	}
	s.st.Tasks = append(s.st.Tasks, t)
	s.tasks[t.UPID] = t
	s.active = append(s.active, t)
}

func (t *task) log(format string, args ...any) {
	if len(args) > 0 {
		format = fmt.Sprintf(format, args...)
	}
	t.Lines = append(t.Lines, format)
}

func (t *task) doomed(kind Kind) *doom {
	for i := range t.Doom {
		if t.Doom[i].Kind == kind {
			return &t.Doom[i]
		}
	}
	return nil
}

// taskDue is when a task next does something by itself.
func (s *Sim) taskDue(t *task) (int64, bool) {
	switch {
	case t.Dump != nil:
		return s.dumpDue(t)
	case t.Wipe != nil:
		return t.Wipe.At, true
	case t.Work != nil:
		return s.workDue(t)
	case t.Foreign != nil && t.Foreign.End >= 0:
		return t.Foreign.End, true
	}
	return 0, false
}

func (s *Sim) advance(t *task, at int64) {
	switch {
	case t.Dump != nil:
		s.dumpStep(t, at)
	case t.Wipe != nil:
		s.wipeStep(t, at)
	case t.Work != nil:
		s.workStep(t, at)
	case t.Foreign != nil:
		s.finish(t, at, t.Foreign.Exit)
	}
}

// finish ends a task. exit is OK, WARNINGS: n, unexpected status or an error.
func (s *Sim) finish(t *task, at int64, exit string) {
	if t.doomed(UnexpectedStatus) != nil {
		exit = unexpected
	}
	switch {
	case exit == "OK":
		t.log("TASK OK")
	case strings.HasPrefix(exit, "WARNINGS: "):
		t.log("TASK %s", exit)
	case exit != unexpected:
		t.log("TASK ERROR: %s", exit)
	}
	s.close(t, at, exit)
}

// close ends a task without a last line.
func (s *Sim) close(t *task, at int64, exit string) {
	s.st.Ended++
	t.End, t.Exit, t.Order = max(at, t.Begin), exit, s.st.Ended
	s.active = slices.DeleteFunc(s.active, func(o *task) bool { return o == t })
	s.done = append(s.done, t)
	if t.Dump != nil && t.Dump.Running {
		s.st.Free[t.Node] = at
		t.Dump.Running = false
	}
	s.log.Debug("task ended", "upid", t.UPID, "exit", exit)
	s.forgetOld()
}

// forgetOld drops the oldest ended tasks beyond what is kept.
func (s *Sim) forgetOld() {
	if drop := len(s.done) - keptTasks; drop > keptTasks/4 {
		s.forget(s.done[:drop]...)
	}
}

func (s *Sim) forget(old ...*task) {
	gone := make(map[*task]bool, len(old))
	for _, t := range old {
		gone[t] = true
		delete(s.tasks, t.UPID)
	}
	isGone := func(t *task) bool { return gone[t] }
	s.st.Tasks = slices.DeleteFunc(s.st.Tasks, isGone)
	s.done = slices.DeleteFunc(slices.Clone(s.done), isGone)
	s.active = slices.DeleteFunc(s.active, isGone)
}

// user is the owner without the token's name, and the token's name.
func (t *task) owner() (user, token string) {
	user, token, _ = strings.Cut(t.User, "!")
	return user, token
}

// start is the start time in unix seconds, as the UPID holds it.
func (t *task) start() int64 { return (t.Begin + t.Skew) / 1000 }

// end is the end time in unix seconds.
func (t *task) end() int64 { return (t.End + t.Skew) / 1000 }

// stop is what DELETE does to a running task: a signal that it may answer.
func (s *Sim) stop(t *task, at int64) {
	switch {
	case t.Dump != nil:
		s.stopDump(t, at)
	case t.Work != nil:
		s.stopWork(t, at)
	default:
		s.finish(t, at, "received interrupt")
	}
}

// kill ends a worker without a word: the log stops, what it locked stays.
func (s *Sim) kill(t *task, at int64) {
	if t.Dump != nil {
		s.killDump(t, at)
	}
	if t.Work != nil {
		s.killWork(t, at)
	}
	s.close(t, at, unexpected)
}

// read takes a task's name apart.
func (t *task) read(upid string) bool {
	if !parseUPID(upid) {
		return false
	}
	parts := strings.Split(upid, ":")
	var numbers [3]int64
	for i := range numbers {
		numbers[i], _ = strconv.ParseInt(parts[2+i], 16, 64) // digits only, as parseUPID saw
	}
	t.UPID, t.Node, t.Type, t.ID, t.User = upid, parts[1], parts[5], parts[6], parts[7]
	t.PID, t.PStart, t.Begin = int(numbers[0]), numbers[1], numbers[2]*1000
	return true
}

// parseUPID says whether a text has the shape of a UPID.
func parseUPID(upid string) bool {
	parts := strings.Split(upid, ":")
	if len(parts) != 9 || parts[0] != "UPID" || parts[8] != "" || !nodeName.MatchString(parts[1]) {
		return false
	}
	for i, n := range []int{8, 8, 8} {
		if len(parts[2+i]) < n || strings.Trim(parts[2+i], "0123456789ABCDEFabcdef") != "" {
			return false
		}
	}
	return parts[5] != "" && parts[7] != ""
}

const minute = int64(time.Minute / time.Millisecond)
