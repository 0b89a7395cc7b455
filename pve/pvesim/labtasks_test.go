package pvesim

import (
	"strings"
	"time"
)

// labTask is a task of the lab that no replayed call starts: of another topic, of another script, or of a call that is
// not simulated. The simulator is told of it, under its recorded name, with its recorded words and end. What is
// compared then is how a list shows it, and its status and log.
type labTask struct {
	ForeignTask
	tell int64 // unix milliseconds: when the simulator hears of it
	line int   // or the line of the call that started it
	told bool
	own  int   // the line of its own status: it was over just before
	end  int64 // when it ended; 0 is not known
	seen int64 // when it was last seen running
}

// pastTask is an entry of a recorded task list.
type pastTask struct {
	UPID, Status string
	EndTime      int64
}

// labTasks gathers them from everything that a topic shows: lists, answers with a UPID, status and log.
func labTasks(xs []exchange) []labTask {
	own, starts := map[string]bool{}, map[string]exchange{}
	for _, x := range xs {
		var upid string
		if x.Method == "GET" || x.Status != 200 || !x.data(&upid) || !strings.HasPrefix(upid, "UPID:") {
			continue
		}
		own[upid] = x.asked()
		starts[upid] = x
	}
	found := map[string]*labTask{}
	var order []string
	see := func(upid string) *labTask {
		var t task
		if own[upid] || !t.read(upid) {
			return nil
		}
		if found[upid] == nil {
			found[upid] = &labTask{ForeignTask: ForeignTask{UPID: upid}, tell: t.Begin}
			if x, is := starts[upid]; is {
				found[upid].tell, found[upid].line = int64(x.Time*1000), x.Line
			}
			order = append(order, upid)
		}
		return found[upid]
	}
	for _, x := range xs {
		if x.Path == "/nodes/pve1/tasks" || x.Path == "/cluster/tasks" {
			var list []pastTask
			x.data(&list)
			for i := len(list) - 1; i >= 0; i-- { // the last to end comes first
				switch t := see(list[i].UPID); {
				case t == nil:
				case list[i].EndTime == 0:
					t.seen = int64(x.Time * 1000)
				case t.end == 0:
					t.end, t.Exit = list[i].EndTime*1000, list[i].Status
				}
			}
		}
		upid := x.upid()
		if upid == "" || x.Status != 200 {
			continue
		}
		var status struct{ Status, ExitStatus string }
		var lines []struct{ T string }
		switch {
		case strings.HasSuffix(x.Path, "/status") && x.data(&status) && status.Status == "stopped":
			if t := see(upid); t != nil {
				t.Exit = status.ExitStatus
				if t.own == 0 {
					t.own = x.Line
				}
				if t.end == 0 {
					t.end = int64(x.Time*1000) - 5
				}
				t.end = min(t.end, int64(x.Time*1000)-5)
			}
		case strings.HasSuffix(x.Path, "/log") && x.data(&lines) && len(lines) > 0 && !strings.HasPrefix(lines[0].T, "unable to open file"):
			if t := see(upid); t != nil && len(lines) > len(t.Lines) {
				t.Lines = nil
				for _, l := range lines {
					t.Lines = append(t.Lines, l.T)
				}
			}
		case x.Method == "DELETE":
			// Whoever stopped it had to come before its end, unless it says that it was not stopped.
			if t := see(upid); t != nil && t.end == 0 {
				t.end = int64(x.Time*1000) - 5
			}
		}
	}
	var out []labTask
	for _, upid := range order {
		t := found[upid]
		if n := len(t.Lines); n > 0 && (strings.HasPrefix(t.Lines[n-1], "TASK ") || t.Lines[n-1] == "no content") {
			t.Lines = t.Lines[:n-1]
		}
		// Nobody saw the end of some: soon after they were last seen.
		var named task
		named.read(upid)
		if t.end == 0 {
			t.end = max(t.seen, t.tell) + 500
		}
		t.For = max(time.Duration(t.end-named.Begin)*time.Millisecond, 0)
		out = append(out, *t)
	}
	return sortedByTime(out, func(t labTask) int64 {
		// Those that are over when they are told of are told in the order of their ends.
		return max(t.tell, t.end)
	})
}

// tell lets the simulator know of the lab's tasks that there are by now.
func (r *replay) tell(line int) {
	now := r.clock.now().UnixMilli()
	var later []labTask
	for _, t := range r.lab {
		if t.tell > now || t.line > line {
			later = append(later, t)
			continue
		}
		if r.byItself(t) {
			continue
		}
		if !t.told {
			if _, err := r.sim.StartForeignTask(t.ForeignTask); err != nil {
				r.t.Fatal(err)
			}
		}
		t.told = true
		if t.own > line {
			later = append(later, t)
			continue
		}
		r.effect(t)
	}
	r.lab = later
}

// toldTask says whether an exchange shows a task that the simulator was told of, because the call that started it is
// not simulated.
func (r *replay) toldTask(x exchange) bool {
	upid := x.upid()
	if upid == "" || r.names[upid] != "" {
		return false
	}
	for _, t := range r.sim.Tasks() {
		if t.UPID == upid {
			return true
		}
	}
	return false
}
