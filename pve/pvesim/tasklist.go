package pvesim

import (
	"cmp"
	"slices"
	"strings"
)

// getTasks is GET /nodes/N/tasks: ended ones, the last to end first; running
// ones only where source asks for them, before the others (recorded in 08).
func getTasks(s *Sim, c *call) answer {
	source := c.params.get("source")
	if source == "" {
		source = "archive"
	}
	statuses := splitList(c.params.get("statusfilter"))
	out := []map[string]any{}
	keep := func(t *task) bool {
		if t.Node != c.node || !s.seesTask(c.who, t) {
			return false
		}
		user, _ := t.owner()
		if t.End == 0 {
			user = t.User
		}
		status := statusType(t.Exit)
		return (!c.params.has("typefilter") || t.Type == c.params.get("typefilter")) &&
			(!c.params.has("vmid") || t.ID == c.params.get("vmid")) &&
			(!c.params.has("since") || t.start() >= c.params.integer("since", 0)) &&
			(!c.params.has("until") || t.start() <= c.params.integer("until", 0)) &&
			(!c.params.has("userfilter") || strings.Contains(strings.ToLower(user), strings.ToLower(c.params.get("userfilter")))) &&
			(!c.params.boolean("errors", false) || status != "ok") &&
			(len(statuses) == 0 || slices.Contains(statuses, status))
	}
	if source != "archive" {
		running := slices.Clone(s.active)
		for _, t := range s.done {
			if !s.noticed(t, c.at) {
				running = append(running, t)
			}
		}
		slices.SortFunc(running, func(a, b *task) int { return cmp.Compare(a.Seq, b.Seq) })
		for _, t := range slices.Backward(running) {
			if keep(t) {
				out = append(out, map[string]any{
					"upid": t.UPID, "node": t.Node, "pid": t.PID, "pstart": t.PStart, "starttime": t.start(),
					"type": t.Type, "id": t.ID, "user": t.User, "status": "RUNNING", "saved": "0",
				})
			}
		}
		if source == "active" {
			slices.Reverse(out)
		}
	}
	if source != "active" {
		for _, t := range slices.Backward(s.done) {
			if s.noticed(t, c.at) && keep(t) {
				out = append(out, endedEntry(t, true))
			}
		}
	}
	total := len(out)
	start := min(c.params.integer("start", 0), int64(total))
	limit := min(c.params.integer("limit", 50), int64(total)-start)
	a := ok(out[start : start+limit])
	if total > 0 { // without any there is no total (recorded in 08)
		a.more = map[string]any{"total": total}
	}
	return a
}

// noticed says whether the lists know of a task's end.
func (s *Sim) noticed(t *task, at int64) bool {
	if !t.Follows {
		return true
	}
	if told, _ := s.lastTold(t.Node, at); told > t.End {
		return true
	}
	for _, o := range slices.Backward(s.st.Tasks) {
		if o.Seq == t.Seq || o.Begin < t.End {
			break
		}
		if o.Node == t.Node && !o.Follows {
			return true
		}
	}
	return false
}

// endedEntry is an ended task as the lists show it. A node's list has the
// process as well; the cluster's says that the entry is saved.
func endedEntry(t *task, ofNode bool) map[string]any {
	user, token := t.owner()
	e := map[string]any{
		"upid": t.UPID, "node": t.Node, "starttime": t.start(), "endtime": t.end(),
		"type": t.Type, "id": t.ID, "user": user, "status": t.Exit,
	}
	if token != "" {
		e["tokenid"] = token
	}
	if ofNode {
		e["pid"], e["pstart"] = t.PID, t.PStart
	} else {
		e["saved"] = "1"
	}
	return e
}

// statusType sorts an exitstatus into the kinds that statusfilter knows.
func statusType(exit string) string {
	switch {
	case exit == "OK":
		return "ok"
	case strings.HasPrefix(exit, "WARNINGS: "):
		return "warning"
	case exit == "" || exit == unexpected:
		return "unknown"
	default:
		return "error"
	}
}

// seesTask: one's own tasks, and with Sys.Audit everybody's.
func (s *Sim) seesTask(who identity, t *task) bool {
	return s.ownsTask(who, t) || s.may(who, "/nodes/"+t.Node, "Sys.Audit")
}

func (s *Sim) ownsTask(who identity, t *task) bool {
	user, _ := t.owner()
	return t.User == who.Name || user == who.Name
}

// justEnded is how long a task counts as just ended, in milliseconds.
const justEnded = 1000

// getClusterTasks is GET /cluster/tasks: the 25 newest of each node, by start.
func getClusterTasks(s *Sim, c *call) answer {
	var shown []*task
	perNode := map[string]int{}
	take := func(t *task) {
		if perNode[t.Node] < 25 {
			perNode[t.Node]++
			if s.seesTask(c.who, t) {
				shown = append(shown, t)
			}
		}
	}
	for _, t := range s.active {
		take(t)
	}
	for _, t := range slices.Backward(s.done) {
		take(t)
	}
	slices.SortStableFunc(shown, func(a, b *task) int {
		if a.start() != b.start() {
			return int(b.start() - a.start())
		}
		return int(b.Seq) - int(a.Seq)
	})
	out := []map[string]any{}
	for _, t := range shown {
		if n := s.node(t.Node); n == nil || n.Offline || s.cutOff(t.Node) {
			continue
		}
		if t.End != 0 && s.noticed(t, c.at) {
			e := endedEntry(t, false)
			if c.at-t.End < justEnded {
				e["saved"] = 1 // not read back from the index yet (recorded in 08)
			}
			out = append(out, e)
			continue
		}
		out = append(out, map[string]any{
			"upid": t.UPID, "node": t.Node, "pid": t.PID, "starttime": t.start(),
			"type": t.Type, "id": t.ID, "user": t.User, "saved": "0",
		})
	}
	return ok(out)
}

// named finds the task that a path names, or gives the refusal.
func (s *Sim) named(c *call) (*task, *answer) {
	upid := c.params.get("upid")
	if !parseUPID(upid) {
		a := wrongParam("upid", "unable to parse worker upid")
		return nil, &a
	}
	if t := s.tasks[upid]; t != nil && t.Node == c.node {
		return t, nil
	}
	a := wrongParam("upid", "no such task")
	return nil, &a
}

// mine checks the right to another's task by the UPID alone: the task need
// not exist.
func (s *Sim) mine(c *call, privilege string) *answer {
	parts := strings.Split(c.params.get("upid"), ":")
	if len(parts) == 9 {
		user, _, _ := strings.Cut(parts[7], "!")
		if parts[7] == c.who.Name || user == c.who.Name {
			return nil
		}
	}
	return s.demand(c.who, "/nodes/"+c.node, privilege)
}

func getTaskIndex(_ *Sim, c *call) answer {
	if !parseUPID(c.params.get("upid")) {
		return wrongParam("upid", "unable to parse worker upid")
	}
	return ok([]map[string]string{{"name": "log"}, {"name": "status"}})
}

func getTaskStatus(s *Sim, c *call) answer {
	if !parseUPID(c.params.get("upid")) {
		return wrongParam("upid", "unable to parse worker upid")
	}
	if a := s.mine(c, "Sys.Audit"); a != nil {
		return *a
	}
	t, a := s.named(c)
	if a != nil {
		return *a
	}
	user, token := t.owner()
	e := map[string]any{
		"upid": t.UPID, "node": t.Node, "pid": t.PID, "pstart": t.PStart, "starttime": t.start(),
		"type": t.Type, "id": t.ID, "user": user, "status": "running",
	}
	if token != "" {
		e["tokenid"] = token
	}
	if t.End != 0 {
		e["status"], e["exitstatus"] = "stopped", t.Exit
	}
	return ok(e)
}

// getTaskLog is the log by lines. An unknown task's is one line about the
// missing file: an object in 8.4, a list in 9 (differences, A4).
func getTaskLog(s *Sim, c *call) answer {
	if !parseUPID(c.params.get("upid")) {
		return wrongParam("upid", "unable to parse worker upid")
	}
	if a := s.mine(c, "Sys.Audit"); a != nil {
		return *a
	}
	t, _ := s.named(c)
	if t == nil {
		line := map[string]any{"n": 1, "t": "unable to open file - No such file or directory"}
		a := ok(line)
		if s.release.nine {
			a = ok([]any{line})
		}
		a.more = map[string]any{"total": 1}
		return a
	}
	if c.params.boolean("download", false) {
		return answer{status: 200, reason: "OK", plain: true, text: strings.Join(t.Lines, "\n") + "\n"}
	}
	lines := t.Lines
	if len(lines) == 0 {
		lines = []string{"no content"}
	}
	start := min(c.params.integer("start", 0), int64(len(lines)))
	limit := c.params.integer("limit", 50)
	if limit == 0 {
		limit = int64(len(lines))
	}
	out := []map[string]any{}
	for i := start; i < min(start+limit, int64(len(lines))); i++ {
		out = append(out, map[string]any{"n": i + 1, "t": lines[i]})
	}
	a := ok(out)
	a.more = map[string]any{"total": len(lines)}
	return a
}

// deleteTask stops a task; one that has ended is left as it is.
func deleteTask(s *Sim, c *call) answer {
	if !parseUPID(c.params.get("upid")) {
		return wrongParam("upid", "unable to parse worker upid")
	}
	t, a := s.named(c)
	if a != nil {
		return *a
	}
	if a := s.mine(c, "Sys.Modify"); a != nil {
		return *a
	}
	if t.End == 0 {
		s.stop(t, c.at)
	}
	return ok(nil)
}
