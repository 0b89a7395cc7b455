package pvesim

import (
	"maps"
	"slices"
	"time"
)

// Task is a task as it is inside, for tests.
type Task struct {
	UPID  string
	Node  string
	Type  string
	ID    string
	User  string // with the token's name
	Start time.Time
	End   time.Time // zero while it runs
	Exit  string    // exitstatus; "" while it runs
	Log   []string
}

// Running says whether the task has no end yet.
func (t Task) Running() bool { return t.End.IsZero() }

// Space is what a storage holds in one place.
type Space struct {
	Node   string // "" when shared
	Total  int64
	Used   int64
	Avail  int64
	Active bool
}

// Archives are all finished archives, by place and volid.
func (s *Sim) Archives() []Archive {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	out := []Archive{}
	for _, sh := range s.st.Shelves {
		for _, a := range sh.Archives {
			out = append(out, a.Archive)
		}
	}
	slices.SortStableFunc(out, func(a, b Archive) int { return a.Time.Compare(b.Time) })
	return out
}

// Mounted are the finished archives without those that were written below a
// mount point while its mount was away: when it is back, nobody sees them.
func (s *Sim) Mounted() []Archive {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	out := []Archive{}
	for _, sh := range s.st.Shelves {
		for _, a := range sh.Archives {
			if !sh.Key.Below {
				out = append(out, a.Archive)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b Archive) int { return a.Time.Compare(b.Time) })
	return out
}

// Guests are all machines, by number, with their lock and whether they run.
func (s *Sim) Guests() []Guest {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	out := []Guest{}
	for _, g := range s.st.Guests {
		out = append(out, g.Guest.clone())
	}
	return out
}

// Tasks are all tasks in the order in which they were started.
func (s *Sim) Tasks() []Task {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	out := []Task{}
	for _, t := range s.st.Tasks {
		v := Task{
			UPID: t.UPID, Node: t.Node, Type: t.Type, ID: t.ID, User: t.User,
			Start: fromMS(t.Begin), Exit: t.Exit, Log: slices.Clone(t.Lines),
		}
		if t.End != 0 {
			v.End = fromMS(t.End)
		}
		out = append(out, v)
	}
	return out
}

// Storage is the space of a storage, place by place.
func (s *Sim) Storage(name string) []Space {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	st := s.storage(name)
	out := []Space{}
	if st == nil {
		return out
	}
	for _, n := range s.st.World.Nodes {
		if !st.on(n.Name) {
			continue
		}
		key := s.keyOf(name, n.Name)
		p := Space{Node: key.Node, Active: s.activateError(st, n.Name) == ""}
		if p.Active {
			p.Total, p.Used = s.space(key, s.nowMS())
			p.Avail = max(p.Total-p.Used, 0)
		}
		out = append(out, p)
		if st.Shared {
			break
		}
	}
	return out
}

// Calls are the mutating requests in the order in which they came, those that
// a fault kept from the world among them.
func (s *Sim) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := slices.Clone(s.calls)
	for i := range out {
		out[i].Params = maps.Clone(out[i].Params)
	}
	return out
}

// Counts says how often each endpoint was called, as "GET /nodes/{node}/qemu".
func (s *Sim) Counts() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.counts)
}

// Injected is a fault that was injected and not removed.
type Injected struct {
	Fault
	Since time.Time
	Hits  int // calls that it has hit
}

// Injected are the faults that hold or wait for their call, in the order in
// which they were injected.
func (s *Sim) Injected() []Injected {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []Injected{}
	for _, f := range s.faults {
		out = append(out, Injected{Fault: f.Fault, Since: fromMS(f.since), Hits: f.hit})
	}
	return out
}

// Reachable says whether a node answers at its own address: it has power and
// nothing cuts it off. Other nodes of its cluster answer for themselves.
func (s *Sim) Reachable(node string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.node(node)
	return n != nil && !n.Offline && !s.cutOff(node)
}
