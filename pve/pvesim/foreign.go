package pvesim

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// ForeignTask is a task of somebody else, of any type: a machine started in the web interface, a migration, what a
// scheduler did last night. It changes nothing by itself; what it did is told with the other methods. The API shows
// it, and stops it, as it does every task.
type ForeignTask struct {
	// UPID names it, for a task whose name is known beforehand; the fields down to Start are read from it then.
	UPID string

	Node  string
	Type  string    // qmstart, qmigrate …
	ID    string    // what it works on: a number, "110@local" …
	User  string    // with the token's name
	Start time.Time // zero is now

	For   time.Duration // how long it runs; a negative one never ends by itself
	Lines []string      // its log without the last line; a running one has them already
	Exit  string        // exitstatus; "" is OK
}

// StartForeignTask adds one, running or, when its time is over, ended.
func (s *Sim) StartForeignTask(f ForeignTask) (upid string, err error) {
	err = s.change(func(at int64) error {
		t, err := s.foreign(f, at)
		if err != nil {
			return err
		}
		upid = t.UPID
		return nil
	})
	return upid, err
}

func (s *Sim) foreign(f ForeignTask, at int64) (*task, error) {
	t := &task{Node: f.Node, Type: f.Type, ID: f.ID, User: cmp.Or(f.User, root), Begin: at, Lines: slices.Clone(f.Lines)}
	if !f.Start.IsZero() {
		t.Begin = f.Start.UnixMilli()
	}
	if f.UPID != "" && !t.read(f.UPID) {
		return nil, fmt.Errorf("pvesim: %q is no UPID", f.UPID)
	}
	switch {
	case s.node(t.Node) == nil:
		return nil, fmt.Errorf("pvesim: no node %q", t.Node)
	case s.tasks[f.UPID] != nil:
		return nil, fmt.Errorf("pvesim: task %s twice", f.UPID)
	}
	t.Foreign = &foreign{Exit: cmp.Or(f.Exit, "OK"), End: -1}
	if f.For >= 0 {
		t.Foreign.End = t.Begin + f.For.Milliseconds()
	}
	s.register(t)
	if end := t.Foreign.End; end >= 0 && end <= at {
		s.finish(t, end, t.Foreign.Exit)
	}
	return t, nil
}

// foreign is how somebody else's task ends.
type foreign struct {
	Exit string
	End  int64 // unix milliseconds; -1 never
}
