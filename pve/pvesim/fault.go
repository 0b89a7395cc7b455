package pvesim

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Kind is one way in which things go wrong.
type Kind string

// Faults of a call. They hit requests that match Method, Path and Node, from
// the Nth on, Count times.
const (
	// Refuse answers Status and Reason instead of doing anything. Any text of
	// the recordings may be given; 595 and 596 come without a body (12).
	Refuse Kind = "refuse"

	// Delay waits For before the call is handled, as when all three workers
	// are blocked (10: a plain status took 9.5 s). Nothing without Options.Sleep.
	Delay Kind = "delay"

	// LostAnswer lets the call do its work and cuts the connection before the
	// answer. pveproxy's restart does so; a GET may be lost too.
	LostAnswer Kind = "lost-answer"

	// LostRequest cuts the connection before the call did anything. A client
	// cannot tell it from LostAnswer.
	LostRequest Kind = "lost-request"

	// LateEffect answers 596 at once and does the work For later: a call that
	// takes longer than the proxy's 30 s goes on behind it (8.4 README, 4).
	LateEffect Kind = "late-effect"

	// TaskFails makes the started task fail with Line at Share of its work
	// (06: a full storage, an interrupted backup, a lock).
	TaskFails Kind = "task-fails"

	// TaskKilled kills the worker at Share of its work: the log stops, the
	// exit status is "unexpected status", and a backup's lock stays (06).
	TaskKilled Kind = "task-killed"

	// UnexpectedStatus lets the task do all its work, yet nobody learns how it
	// ended: exitstatus "unexpected status" means unknown, not failed (facts).
	UnexpectedStatus Kind = "unexpected-status"

	// OKInsteadOfUPID answers "OK" and does nothing, as vzdump does when the
	// machine has just moved to another node (facts, "Silent traps").
	OKInsteadOfUPID Kind = "ok-instead-of-upid"

	// GotNoWorkerUPID answers 500 "got no worker upid - start worker failed"
	// although the task is registered. As recorded (9.2, 01) it ends
	// "unexpected status" and did nothing; with Works it does its work.
	GotNoWorkerUPID Kind = "got-no-worker-upid"

	// EmptyListing answers a list with nothing in it: a mount that went away,
	// rights that were taken (facts: an empty list is no evidence).
	EmptyListing Kind = "empty-listing"

	// TruncatedListing answers only the first Keep entries, half of them when
	// Keep is 0: rights that cover some machines only.
	TruncatedListing Kind = "truncated-listing"

	// MigrateNow moves the machine of the call (or VMID) to the node To, or to
	// any other, just before the call is handled. Its archives on directories
	// stay where they are (facts).
	MigrateNow Kind = "migrate-now"
)

// Faults of the world. They last from Inject until they are removed.
const (
	// NodeDown cuts Node off: its calls answer 595, /nodes says offline, its
	// machines' statuses grow old and after 300 s are unknown (12). What runs
	// there goes on.
	NodeDown Kind = "node-down"

	// DaemonDown stops Node's pvedaemon: 595 Connection refused, except for
	// what the proxy answers itself (12: version, config, cluster/resources).
	DaemonDown Kind = "daemon-down"

	// StorageFull leaves no byte free on Storage, of Node or everywhere (06).
	StorageFull Kind = "storage-full"

	// StorageGone takes Storage's mount away, on Node or everywhere. A storage
	// with Mountpoint and an nfs one become inactive with total 0 (12); a plain
	// directory stays active, empty, with the total of the disk below.
	StorageGone Kind = "storage-gone"

	// ClockSkew sets the servers' clocks For ahead (or back): the Date header,
	// and the times of tasks and archives that begin meanwhile.
	ClockSkew Kind = "clock-skew"
)

// Fault is something to go wrong. Several may hit one call.
type Fault struct {
	Kind   Kind
	Method string // "" is any that fits the kind
	Path   string // regular expression on the path below /api2/json; "" is any
	Node   string // calls of this node only; for world faults the node itself
	Nth    int    // the first matching call that is hit, counted from 1; 0 is 1
	Count  int    // how many calls are hit; 0 is all

	Status  int           // Refuse
	Reason  string        // Refuse
	For     time.Duration // Delay, LateEffect, ClockSkew
	Share   float64       // TaskFails, TaskKilled: 0 … 1 of the work; TaskFails at 0 ends before it begins
	Line    string        // TaskFails: what the log says; "" is an I/O error
	Works   bool          // GotNoWorkerUPID
	Keep    int           // TruncatedListing
	Storage string        // StorageFull, StorageGone
	VMID    int           // MigrateNow; 0 is the call's own
	To      string        // MigrateNow; "" is any other node
}

type activeFault struct {
	Fault
	path  *regexp.Regexp
	seen  int
	hit   int
	since int64
}

// doom is what a fault has in store for a task.
type doom struct {
	Kind  Kind
	Share float64
	Line  string
	Works bool
}

func (d *doom) line() string {
	if d.Line != "" {
		return d.Line
	}
	return "job failed with err -5 - Input/output error"
}

type lateCall struct {
	at    int64
	call  *call
	tries int // how often it found a lock file held
}

// runLate is a call whose caller has gone. It waits for a lock file as others do.
func (s *Sim) runLate(l lateCall) {
	l.call.at = l.at
	a := s.dispatch(l.call)
	if a.again && time.Duration(l.tries)*patience < a.wait {
		l.at, l.tries = l.at+patience.Milliseconds(), l.tries+1
		s.late = append(s.late, l)
		return
	}
	s.note(l.call, a, true)
}

// Inject makes a fault happen until it is removed. A Path that is no regular
// expression panics: it is the test's own mistake.
func (s *Sim) Inject(f Fault) (remove func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	a := &activeFault{Fault: f, path: regexp.MustCompile(f.Path), since: s.nowMS()}
	s.faults = append(s.faults, a)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.settle()
		s.faults = slices.DeleteFunc(s.faults, func(o *activeFault) bool { return o == a })
	}
}

// hits is all that goes wrong with one call.
type hits struct {
	delay       time.Duration
	lostRequest bool
	refuse      *answer
	lateEffect  time.Duration
	migrate     []Fault
	doom        []doom
	after       []Fault
}

// match finds the faults of a call and counts them.
func (s *Sim) match(c *call) hits {
	var h hits
	for _, f := range s.faults {
		if !f.fits(c) {
			continue
		}
		f.seen++
		if f.seen < max(f.Nth, 1) || f.Count > 0 && f.hit >= f.Count {
			continue
		}
		f.hit++
		switch f.Kind {
		case Delay:
			h.delay += f.For
		case LostRequest:
			h.lostRequest = true
		case Refuse:
			a := fail(f.Status, "%s", f.Reason)
			if f.Status == 401 || f.Status >= 595 {
				a = bare(f.Status, f.Reason)
			}
			h.refuse = &a
		case OKInsteadOfUPID:
			a := ok("OK")
			h.refuse = &a
		case LateEffect:
			h.lateEffect = max(f.For, time.Millisecond)
		case MigrateNow:
			h.migrate = append(h.migrate, f.Fault)
		case TaskFails, TaskKilled, UnexpectedStatus:
			h.doom = append(h.doom, doom{Kind: f.Kind, Share: f.Share, Line: f.Line})
		case GotNoWorkerUPID:
			h.doom = append(h.doom, doom{Kind: f.Kind, Works: f.Works})
			h.after = append(h.after, f.Fault)
		case LostAnswer, EmptyListing, TruncatedListing:
			h.after = append(h.after, f.Fault)
		}
	}
	return h
}

func (f *activeFault) fits(c *call) bool {
	reads := c.method == "GET"
	switch f.Kind {
	case NodeDown, DaemonDown, StorageFull, StorageGone, ClockSkew:
		return false
	case EmptyListing, TruncatedListing:
		if !reads {
			return false
		}
	case LateEffect, TaskFails, TaskKilled, UnexpectedStatus, OKInsteadOfUPID, GotNoWorkerUPID:
		if reads {
			return false
		}
	}
	return (f.Method == "" || f.Method == c.method) && f.path.MatchString(c.path) &&
		(f.Node == "" || strings.HasPrefix(c.path+"/", "/nodes/"+f.Node+"/"))
}

// after changes an answer that is otherwise ready.
func (s *Sim) after(c *call, a answer, h hits) answer {
	for _, f := range h.after {
		if a.failed() && f.Kind != LostAnswer {
			continue
		}
		switch f.Kind {
		case GotNoWorkerUPID:
			if c.upid != "" {
				a = fail(500, "got no worker upid - start worker failed")
			}
		case EmptyListing, TruncatedListing:
			a = shorten(a, f)
		case LostAnswer:
			a.cut = true
			if c.method != "GET" {
				s.calls[len(s.calls)-1].Lost = true
			}
		}
	}
	return a
}

// shorten takes entries off a list.
func shorten(a answer, f Fault) answer {
	list, isList := a.data.([]map[string]any)
	if !isList {
		return a
	}
	n := 0
	if f.Kind == TruncatedListing {
		n = f.Keep
		if n == 0 {
			n = len(list) / 2
		}
	}
	n = min(n, len(list))
	a.data = list[:n]
	if _, counted := a.more["total"]; counted {
		a.more = map[string]any{"total": n}
	}
	return a
}

var vmidInPath = regexp.MustCompile(`/qemu/(\d+)(?:/|$)`)

// migrateNow moves machines just before a call.
func (s *Sim) migrateNow(c *call, h hits) {
	for _, f := range h.migrate {
		ids := []int{f.VMID}
		if f.VMID == 0 {
			probe := &call{method: c.method, query: c.query, body: c.body, ctype: c.ctype, params: params{}}
			_ = probe.parse()
			ids = vmids(probe.params.get("vmid"))
			if m := vmidInPath.FindStringSubmatch(c.path); m != nil {
				n, _ := strconv.Atoi(m[1])
				ids = append(ids, n)
			}
		}
		for _, vmid := range ids {
			if g := s.guests[vmid]; g != nil {
				s.moveGuest(g, s.otherNode(g.Node, f.To))
			}
		}
	}
}

func (s *Sim) otherNode(not, wanted string) string {
	if wanted != "" {
		return wanted
	}
	for _, n := range s.st.World.Nodes {
		if n.Name != not && !n.Offline {
			return n.Name
		}
	}
	return not
}

// storageFault is since when a fault of the world holds for a storage on a
// node, in unix milliseconds; 0 is not.
func (s *Sim) storageFault(kind Kind, storage, node string) int64 {
	for _, f := range s.faults {
		if f.Kind == kind && f.Storage == storage && (f.Node == "" || f.Node == node || node == "") {
			return max(f.since, 1)
		}
	}
	return 0
}

// cutOff says whether a node cannot be reached.
func (s *Sim) cutOff(node string) bool { return s.nodeFault(NodeDown, node) != 0 }

func (s *Sim) daemonDown(node string) bool { return s.nodeFault(DaemonDown, node) != 0 }

// nodeFault is since when a fault holds for a node; 0 is not.
func (s *Sim) nodeFault(kind Kind, node string) int64 {
	for _, f := range s.faults {
		if f.Kind == kind && f.Node == node {
			return max(f.since, 1)
		}
	}
	return 0
}

// silentSince is since when a node tells nothing about itself; 0 is not.
func (s *Sim) silentSince(node string) int64 {
	since := int64(math.MaxInt64)
	if n := s.node(node); n != nil && n.StatDead != 0 {
		since = n.StatDead
	}
	if cut := s.nodeFault(NodeDown, node); cut != 0 {
		since = min(since, cut)
	}
	if since == math.MaxInt64 {
		return 0
	}
	return since
}

// skew is how far the servers' clocks are ahead, in milliseconds.
func (s *Sim) skew() int64 {
	var sum time.Duration
	for _, f := range s.faults {
		if f.Kind == ClockSkew {
			sum += f.For
		}
	}
	return sum.Milliseconds()
}

// wallClock is the time that the servers believe it is.
func (s *Sim) wallClock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now().Add(time.Duration(s.skew()) * time.Millisecond)
}

// String names a fault for a test's log.
func (f Fault) String() string {
	out := string(f.Kind)
	for _, part := range []string{f.Method, f.Path, f.Node, f.Storage} {
		if part != "" {
			out += " " + part
		}
	}
	if f.Nth > 0 {
		out += fmt.Sprintf(" #%d", f.Nth)
	}
	if f.Share > 0 {
		out += fmt.Sprintf(" at %.0f%%", f.Share*100)
	}
	return out
}
