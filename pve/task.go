package pve

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Task is one entry of a task list.
type Task struct {
	UPID    UPID
	Node    string
	Type    string
	ID      string // exact: "110", "110@local", "" for jobs over several machines
	Owner   string // user@realm, with !token where a token started it
	Running bool
	Status  string // how it ended: OK, WARNINGS: 1, job errors, unexpected status …; "" while it runs
	Start   time.Time
	End     time.Time // zero while it runs
}

// Failed tells whether the task ended and neither OK nor with warnings only. "unexpected status" counts as failed here:
// ask TaskStatus whether Proxmox knows.
func (t Task) Failed() bool { return !t.Running && !succeeded(t.Status) }

func succeeded(exit string) bool { return exit == "OK" || strings.HasPrefix(exit, "WARNINGS: ") }

type taskAnswer struct {
	UPID    text  `json:"upid"`
	Status  text  `json:"status"`
	EndTime whole `json:"endtime"`
}

// runs tells whether the task has not ended: a running one says RUNNING in a node's list and nothing at all in the
// cluster's.
func (g taskAnswer) runs() bool {
	return g.EndTime.time().IsZero() && (g.Status == "" || g.Status == "RUNNING")
}

// tasks reads a list. The owner comes out of the UPID, because the list itself writes him in two ways. An entry without
// a readable UPID can be nobody's we look for and is left out.
func tasks(got []taskAnswer) []Task {
	out := make([]Task, 0, len(got))
	for _, g := range got {
		upid, err := ParseUPID(string(g.UPID))
		if err != nil {
			continue
		}
		t := Task{
			UPID: upid, Node: upid.Node, Type: upid.Type, ID: upid.ID, Owner: upid.Owner(),
			Status: string(g.Status), Start: upid.Start, End: g.EndTime.time(),
		}
		if g.runs() {
			t.Running, t.Status = true, ""
		}
		out = append(out, t)
	}
	return out
}

// ClusterTasks lists each node's last 25 tasks, running ones first. It says that something goes on, not how it ends.
func (c *Client) ClusterTasks(ctx context.Context) ([]Task, error) {
	got, err := c.clusterTasks(ctx)
	return tasks(got), err
}

// ClusterRunning is ClusterTasks without those that have ended.
func (c *Client) ClusterRunning(ctx context.Context) ([]Task, error) {
	got, err := c.clusterTasks(ctx)
	return tasks(slices.DeleteFunc(got, func(g taskAnswer) bool { return !g.runs() })), err
}

func (c *Client) clusterTasks(ctx context.Context) (got []taskAnswer, err error) {
	return got, c.read(ctx, at("/cluster/tasks"), nil, &got, true)
}

// TaskFilter narrows a node's task list.
type TaskFilter struct {
	Source string // archive (Proxmox' default), active, all; "" here means all
	Type   string // "vzdump"
	VMID   int    // exact: deletions ("110@local") and jobs over several machines don't match
	Limit  int    // 0 here means 500; Proxmox' own default is 50
	Start  int    // skip so many
	Since  time.Time
	Until  time.Time
	Errors bool // failed ones only
}

// Tasks lists a node's tasks, newest first. Without Sys.Audit on the node only the token's own are listed.
func (c *Client) Tasks(ctx context.Context, node string, f TaskFilter) ([]Task, error) {
	q := query("source", "all", "limit", "500", "typefilter", f.Type)
	if f.Source != "" {
		q.Set("source", f.Source)
	}
	if f.Limit > 0 {
		q.Set("limit", param(f.Limit))
	}
	if f.VMID != 0 {
		q.Set("vmid", param(f.VMID))
	}
	if f.Start > 0 {
		q.Set("start", param(f.Start))
	}
	if !f.Since.IsZero() {
		q.Set("since", strconv.FormatInt(f.Since.Unix(), 10))
	}
	if !f.Until.IsZero() {
		q.Set("until", strconv.FormatInt(f.Until.Unix(), 10))
	}
	if f.Errors {
		q.Set("errors", "1")
	}
	var got []taskAnswer
	if err := c.read(ctx, at("/nodes/{node}/tasks", node), q, &got, true); err != nil {
		return nil, err
	}
	return tasks(got), nil
}

// TaskStatus is how one task stands.
type TaskStatus struct {
	UPID    UPID
	Running bool
	Known   bool   // ended, and Proxmox knows how. False with Running false: "unexpected status", it may have done anything
	Exit    string // OK, WARNINGS: 1, or what went wrong; "" while it runs
}

// OK tells whether the task ended well, warnings allowed.
func (s TaskStatus) OK() bool { return s.Known && succeeded(s.Exit) }

// Warnings tells whether it ended well but not without warnings.
func (s TaskStatus) Warnings() bool { return s.OK() && s.Exit != "OK" }

// TaskStatus asks the task's own node. A task that the node doesn't remember is Gone, which means unknown: it may have
// run long ago.
func (c *Client) TaskStatus(ctx context.Context, upid UPID) (TaskStatus, error) {
	var got struct {
		Status text `json:"status"`
		Exit   text `json:"exitstatus"`
	}
	const shape = "/nodes/{node}/tasks/{upid}/status"
	if err := c.read(ctx, at(shape, upid.Node, upid.String()), nil, &got, false); err != nil {
		return TaskStatus{}, err
	}
	if got.Status != "running" && got.Status != "stopped" {
		return TaskStatus{}, unreadable(shape, "a task neither running nor stopped")
	}
	s := TaskStatus{UPID: upid, Running: got.Status == "running"}
	if !s.Running {
		s.Exit = string(got.Exit)
		s.Known = s.Exit != "" && s.Exit != "unexpected status"
	}
	return s, nil
}

// LogLine is one line of a task's log. N counts from 1.
type LogLine struct {
	N    int
	Text string
}

// TaskLog reads up to limit lines from start (counted from 0; a limit of 0 means 500) and tells how many there are by
// now. An empty log has no lines. A task that the node doesn't remember is Gone.
func (c *Client) TaskLog(ctx context.Context, upid UPID, start, limit int) ([]LogLine, int, error) {
	if limit <= 0 {
		limit = 500
	}
	const shape = "/nodes/{node}/tasks/{upid}/log"
	var raw json.RawMessage
	q := query("start", param(max(start, 0)), "limit", param(limit))
	total, err := c.readTotal(ctx, at(shape, upid.Node, upid.String()), q, &raw, true)
	if err != nil {
		return nil, 0, err
	}
	type line struct {
		N whole `json:"n"`
		T text  `json:"t"`
	}
	var got []line
	if raw = bytes.TrimSpace(raw); len(raw) > 0 && raw[0] == '{' {
		// 8.4 gives the one line about an unknown task as an object.
		got = make([]line, 1)
		err = json.Unmarshal(raw, &got[0])
	} else {
		err = json.Unmarshal(raw, &got)
	}
	if err != nil {
		return nil, 0, unreadable(shape, clip(err.Error(), 200))
	}
	if len(got) == 1 && strings.HasPrefix(string(got[0].T), "unable to open file - ") {
		return nil, 0, &Error{Class: Gone, Status: http.StatusOK, Call: "GET " + shape, Message: "no such task"}
	}
	if len(got) == 1 && got[0].T == "no content" {
		return nil, 0, nil
	}
	lines := make([]LogLine, 0, len(got))
	for _, g := range got {
		lines = append(lines, LogLine{N: int(g.N), Text: string(g.T)})
	}
	return lines, total, nil
}

// StopTask asks a task to stop, which takes it a moment. Stopping one that has ended is no error. A backup that is
// stopped leaves neither lock nor file; a restore that is stopped leaves a stump.
func (c *Client) StopTask(ctx context.Context, upid UPID) error {
	_, err := c.mutate(ctx, http.MethodDelete, at("/nodes/{node}/tasks/{upid}", upid.Node, upid.String()), nil)
	return err
}
