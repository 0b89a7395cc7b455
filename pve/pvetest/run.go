package pvetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"stowage/pve"
)

// Difference is one thing that is not as the portal expects.
type Difference struct {
	Chapter string
	Text    string // one line
}

func (d Difference) String() string { return d.Chapter + ": " + d.Text }

// chapters are what is tried, in order. One that says "no further" ends the run: what follows could only repeat it.
var chapters = []struct {
	name string
	try  func(*run) (goOn bool)
}{
	{"connection", connection},
	{"rights", rights},
	{"inventory", inventory},
	{"machine", machine},
	{"task lists", taskLists},
	{"refusals", refusals},
	{"backup", backup},
	{"notes", notes},
	{"protection", protection},
	{"deletion", deletion},
	{"cancelled backup", cancelled},
	{"changes", changes},
}

// Run tries everything and gives what differed from what the portal expects. The error says what kept it from trying.
func (t Target) Run(ctx context.Context) ([]Difference, error) {
	if t.Now == nil {
		return nil, errors.New("pvetest: no clock")
	}
	client, err := t.client(nil)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	r := &run{Target: t, ctx: ctx, pve: client}
	r.marks = fmt.Sprintf("pvetest:%x", t.Now().UnixNano())
	defer func() { r.differ = slices.Clip(r.differ) }()
	for _, c := range chapters {
		r.chapter = c.name
		r.say("%s", c.name)
		if goOn := c.try(r); !goOn || ctx.Err() != nil {
			break
		}
	}
	r.leave()
	return r.differ, ctx.Err()
}

// run is one pass over a target.
type run struct {
	Target
	ctx     context.Context
	pve     *pve.Client
	chapter string
	differ  []Difference

	// Found out on the way.
	release  pve.Version
	rights   pve.Permissions
	storage  pve.StorageStatus
	status   pve.GuestStatus // as the machine was at first
	config   pve.GuestConfig
	archives []pve.Archive // those that were there at first
	others   []pve.UPID    // and the machine's backups

	// Made on the way.
	marks   string // every backup's mark begins with it
	backups int
	made    pve.Archive // the one that later chapters look at
	tasks   []pve.UPID  // every task that was started
	owns    []string    // volids that the logs of those tasks named
	change  change      // of the chapters that change the machine
}

func (r *run) say(format string, args ...any) {
	if r.Log != nil {
		r.Log(fmt.Sprintf(format, args...))
	}
}

// differs notes a difference.
func (r *run) differs(format string, args ...any) {
	text := strings.Join(strings.Fields(fmt.Sprintf(format, args...)), " ")
	r.differ = append(r.differ, Difference{Chapter: r.chapter, Text: text})
	r.say("DIFFERS %s", text)
}

// holds notes a difference unless something is so.
func (r *run) holds(so bool, format string, args ...any) bool {
	if !so {
		r.differs(format, args...)
	}
	return so
}

// fine notes a difference where a call failed.
func (r *run) fine(what string, err error) bool {
	return r.holds(err == nil, "%s: %v", what, err)
}

// refused notes a difference unless a call failed in one way. An empty reason is any.
func (r *run) refused(what string, err error, class pve.Class, reason pve.Reason) bool {
	if err == nil {
		return r.holds(false, "%s was taken, expected %s %s", what, class, reason)
	}
	return r.holds(pve.ClassOf(err) == class && (reason == "" || pve.ReasonOf(err) == reason), "%s: %v, expected %s %s", what, err, class, reason)
}

// own notes a task that the run started, so that it never outlives it.
func (r *run) own(upid pve.UPID) { r.tasks = append(r.tasks, upid) }

// Limits of the waiting: for the end of a backup, and of anything else.
const (
	longWork  = 2 * time.Hour
	shortWork = 2 * time.Minute
)

// until looks again and again until something is so, or for too long.
func (r *run) until(limit time.Duration, so func() bool) bool {
	end := r.Now().Add(limit)
	for pause := 200 * time.Millisecond; !so(); pause = min(2*pause, 2*time.Second) {
		if !r.Now().Before(end) || r.sleep(r.ctx, pause) != nil {
			return false
		}
	}
	return true
}

// ended waits for a task's end and reads its whole log.
func (r *run) ended(what string, upid pve.UPID, limit time.Duration) (pve.TaskStatus, pve.VzdumpLog) {
	var status pve.TaskStatus
	if upid.IsZero() {
		return status, pve.VzdumpLog{}
	}
	var failure error
	over := r.until(limit, func() bool {
		status, failure = r.pve.TaskStatus(r.ctx, upid)
		return failure == nil && !status.Running
	})
	r.holds(over, "%s: its task %s has not ended after %s (%v)", what, upid, limit, failure)
	return status, r.log(upid)
}

// log reads a task's whole log and keeps the archive that it names: from then on it is the run's to remove.
func (r *run) log(upid pve.UPID) pve.VzdumpLog {
	lines, _, err := r.pve.TaskLog(r.ctx, upid, 0, 20000)
	if err != nil {
		r.differs("the log of %s can't be read: %v", upid, err)
		return pve.VzdumpLog{}
	}
	parsed := pve.ParseVzdumpLog(lines)
	if parsed.Archive != "" && strings.HasPrefix(parsed.Mark, r.marks) && !slices.Contains(r.owns, parsed.Archive) {
		r.owns = append(r.owns, parsed.Archive)
	}
	return parsed
}

// lost finds what was started and never answered: backups of our token whose log has our mark or waits still, and
// deletions of this machine's archives that still run.
func (r *run) lost() {
	if r.backups == 0 {
		return
	}
	list, err := r.pve.Tasks(r.ctx, r.Node, pve.TaskFilter{Type: "vzdump", VMID: r.VMID})
	if !r.fine("the machine's backups", err) {
		return
	}
	active, err := r.pve.Tasks(r.ctx, r.Node, pve.TaskFilter{Source: "active", Type: "imgdel"})
	r.fine("the active deletions", err)
	for _, t := range active {
		if t.Owner == r.TokenID && t.ID == fmt.Sprintf("%d@%s", r.VMID, r.Storage) && !slices.Contains(r.tasks, t.UPID) {
			r.own(t.UPID)
			r.ended("a deletion", t.UPID, shortWork)
		}
	}
	for _, t := range list {
		if t.Owner != r.TokenID || slices.Contains(r.tasks, t.UPID) || slices.Contains(r.others, t.UPID) {
			continue
		}
		if log := r.log(t.UPID); strings.HasPrefix(log.Mark, r.marks) || log.Mark == "" && t.Running {
			r.own(t.UPID)
		}
	}
}

// leave takes away what the run made: tasks that still run, archives that its own logs named and that carry its mark.
func (r *run) leave() {
	r.chapter = "afterwards"
	r.say("%s", r.chapter)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), 10*time.Minute)
	defer cancel()
	r.ctx = ctx
	r.lost()
	for _, upid := range r.tasks {
		if status, err := r.pve.TaskStatus(ctx, upid); err == nil && status.Running {
			r.fine("stopping "+upid.String(), r.pve.StopTask(ctx, upid))
			r.ended("stopping", upid, shortWork)
		} else if upid.Type == "vzdump" {
			r.log(upid)
		}
	}
	if len(r.tasks) == 0 {
		return
	}
	r.undo()
	left, err := r.pve.Archives(ctx, r.Node, r.Storage, r.VMID)
	if !r.fine("the list of archives", err) {
		return
	}
	for _, a := range left {
		if !slices.Contains(r.owns, a.Volid) {
			continue
		}
		if a.Protected {
			r.fine("unprotecting "+a.Volid, r.pve.SetArchiveProtected(ctx, r.Node, r.Storage, a.Volid, false))
		}
		upid, err := r.pve.DeleteArchive(ctx, r.Node, r.Storage, a.Volid)
		if r.fine("removing "+a.Volid, err) {
			r.ended("removing "+a.Volid, upid, shortWork)
		}
	}
	left, err = r.pve.Archives(ctx, r.Node, r.Storage, r.VMID)
	if !r.fine("the list of archives", err) {
		return
	}
	for _, a := range left {
		r.holds(!slices.Contains(r.owns, a.Volid), "%s is still there: remove it by hand", a.Volid)
	}
	for _, a := range r.archives {
		r.holds(slices.ContainsFunc(left, func(b pve.Archive) bool { return b.Volid == a.Volid }),
			"%s was there at first and is gone: something pruned it", a.Volid)
	}
}
