package main

import (
	"fmt"
	"io"
	"strings"

	"stowage/portal"
	"stowage/store"
)

type operationCmd struct {
	List    operationListCmd    `cmd:"" help:"List operations, newest first."`
	Show    operationShowCmd    `cmd:"" help:"Show one operation: its steps, reasons and task logs."`
	Retry   operationRetryCmd   `cmd:"" help:"Try a failed operation again, or let a held one go on."`
	Cancel  operationCancelCmd  `cmd:"" help:"End an operation that waits or runs."`
	Release operationReleaseCmd `cmd:"" help:"End a held operation by hand."`
}

// operationJSON is an operation as commands print it.
type operationJSON struct {
	UID         string `json:"uid"`
	Reference   string `json:"reference"`
	Kind        string `json:"kind"`
	State       string `json:"state"`
	Step        string `json:"step"`
	Service     string `json:"service"` // uid
	ServiceName string `json:"service_name,omitempty"`
	Server      string `json:"server,omitempty"`
	Node        string `json:"node"`
	UPID        string `json:"upid"`
	Slot        string `json:"slot"`
	Actor       string `json:"actor"`
	Percent     int    `json:"percent"`
	Attempt     int    `json:"attempt"`
	Reason      string `json:"reason"`
	StaffReason string `json:"staff_reason"`
	Warning     string `json:"warning"`
	CreatedAt   string `json:"created_at"`
	StartedAt   string `json:"started_at"`
	EndedAt     string `json:"ended_at"`
	GiveUpAt    string `json:"give_up_at"`
	Action      string `json:"action,omitempty"`    // of power: start, shutdown, stop, reboot
	System      string `json:"system,omitempty"`    // of a reinstall: what is installed
	WaitsFor    string `json:"waits_for,omitempty"` // while it is queued
}

func operationOf(o portal.Operation, service, name, server string) operationJSON {
	return operationJSON{
		o.UID, o.Reference, string(o.Kind), string(o.State), o.Step, service, name, server, o.Node, o.UPID, o.SlotDate, o.Actor,
		o.Percent, o.Attempt, o.Reason.String(), o.StaffReason, o.Warning.String(), stamp(o.CreatedAt), stamp(o.StartedAt), stamp(o.EndedAt), stamp(o.GiveUpAt), o.Work.Action, o.Work.Template, o.WaitsFor.String(),
	}
}

type operationListCmd struct {
	data
	output
	State   string `enum:",queued,running,held,succeeded,failed,cancelled" default:"" help:"Only those in this state: queued, running, held, succeeded, failed, cancelled."`
	Service string `placeholder:"UID" help:"Only those of this service."`
	Limit   int    `default:"50" help:"At most so many (${default})."`
}

// Run lists operations.
func (c *operationListCmd) Run(a *app) error {
	if c.Limit < 1 {
		return wrongUse("--limit is a number from 1 on")
	}
	return c.with(a, func(db *store.DB) error {
		if c.Service != "" {
			if _, err := serviceNamed(a, db, c.Service); err != nil {
				return err
			}
		}
		rows, err := db.ListOperations(a.ctx, store.OperationQuery{State: portal.State(c.State), Service: strings.ToLower(c.Service), Limit: c.Limit})
		if err != nil {
			return err
		}
		out := make([]operationJSON, len(rows))
		for i, r := range rows {
			out[i] = operationOf(r.Operation, r.ServiceUID, r.ServiceName, r.ServerName)
		}
		return c.print(a, out, func(w io.Writer) {
			row(w, "REFERENCE", "UID", "KIND", "STATE", "STEP", "SERVICE", "SERVER", "CREATED", "REASON")
			for _, o := range out {
				row(w, o.Reference, o.UID, o.Kind, o.State, o.Step, o.ServiceName, o.Server, o.CreatedAt, oneLine(o.Reason))
			}
		})
	})
}

// one is the argument of commands about one operation.
type one struct {
	Operation string `arg:"" help:"Its uid or reference."`
}

// find gives the operation and its service.
func (o one) find(a *app, db *store.DB) (portal.Operation, portal.Service, error) {
	op, err := db.OperationByUID(a.ctx, o.Operation)
	if portal.CodeOf(err) == portal.CodeNotFound {
		op, err = db.OperationByUID(a.ctx, strings.ToUpper(o.Operation)) // a reference as somebody typed it
	}
	if portal.CodeOf(err) == portal.CodeNotFound {
		return op, portal.Service{}, fmt.Errorf("there is no operation %q; stowage operation list shows them", o.Operation)
	}
	if err != nil {
		return op, portal.Service{}, err
	}
	s, err := db.Service(a.ctx, op.ServiceID)
	return op, s, err
}

type operationShowCmd struct {
	data
	output
	one
	Log  bool `help:"With the logs of its Proxmox tasks."`
	Kept bool `help:"With the machine's configuration and firewall as they were before it was overwritten."`
}

// Run shows the operation.
func (c *operationShowCmd) Run(a *app) error {
	type step struct {
		At    string `json:"at"`
		Step  string `json:"step"`
		What  string `json:"what"`
		Text  string `json:"text"`
		Staff string `json:"staff"`
	}
	type taskLog struct {
		UPID string `json:"upid"`
		Exit string `json:"exit"`
		Log  string `json:"log"`
	}
	type details struct {
		operationJSON
		Steps []step    `json:"steps"`
		Logs  []taskLog `json:"logs,omitempty"`
		Kept  []string  `json:"kept,omitempty"`
	}
	return c.with(a, func(db *store.DB) error {
		op, s, err := c.find(a, db)
		if err != nil {
			return err
		}
		notes, err := db.Steps(a.ctx, op.ID)
		if err != nil {
			return err
		}
		out := details{operationJSON: operationOf(op, s.UID, s.Name, ""), Steps: []step{}}
		for _, n := range notes {
			out.Steps = append(out.Steps, step{stamp(n.At), n.Step, n.What, n.Text.String(), n.Staff})
		}
		if c.Log {
			logs, err := db.TaskLogs(a.ctx, op.ID)
			if err != nil {
				return err
			}
			for _, l := range logs {
				out.Logs = append(out.Logs, taskLog{l.UPID, l.Exit, l.Log})
			}
		}
		if c.Kept {
			out.Kept = op.Work.Kept()
		}
		return c.print(a, out, func(w io.Writer) {
			for _, line := range [][2]string{
				{"reference", op.Reference}, {"uid", op.UID}, {"kind", string(op.Kind)}, {"state", string(op.State)}, {"step", op.Step},
				{"service", s.Name + " (" + s.UID + ")"}, {"node", op.Node}, {"task", op.UPID}, {"slot", op.SlotDate}, {"by", op.Actor},
				{"action", op.Work.Action}, {"system", op.Work.Template}, {"waits for", oneLine(op.WaitsFor.String())},
				{"reason", oneLine(op.Reason.String())}, {"exact reason", oneLine(op.StaffReason)}, {"warning", oneLine(op.Warning.String())},
				{"created", out.CreatedAt}, {"started", out.StartedAt}, {"ended", out.EndedAt},
			} {
				if line[1] != "" {
					row(w, line[0], line[1])
				}
			}
			for _, n := range out.Steps {
				row(w, n.At, n.Step, n.What, oneLine(n.Text+" "+n.Staff))
			}
			for _, l := range out.Logs {
				fmt.Fprintf(w, "\n%s: %s\n%s\n", l.UPID, l.Exit, l.Log)
			}
			if len(out.Kept) > 0 {
				fmt.Fprintf(w, "\n%s\n", strings.Join(out.Kept, "\n"))
			}
		})
	})
}

// answer prints the operation that came of a command.
func (o output) answer(a *app, op portal.Operation, s portal.Service) error {
	return o.print(a, operationOf(op, s.UID, s.Name, ""), func(w io.Writer) {
		row(w, "uid", op.UID)
		row(w, "reference", op.Reference)
		row(w, "state", op.State)
	})
}

type operationRetryCmd struct {
	data
	output
	one
}

// Run resumes a held operation; a failed or cancelled one is asked for again, as a new one.
func (c *operationRetryCmd) Run(a *app) error {
	return c.with(a, func(db *store.DB) error {
		op, s, err := c.find(a, db)
		if err != nil {
			return err
		}
		if op.State == portal.StateHeld {
			op, err = db.Resume(a.ctx, op.UID, actor)
		} else {
			op, err = retry(a, db, op, s)
		}
		if err != nil {
			return err
		}
		return c.answer(a, op, s)
	})
}

func retry(a *app, db *store.DB, op portal.Operation, s portal.Service) (portal.Operation, error) {
	uid := func(id int64) (string, error) {
		if id == 0 {
			return "", nil
		}
		b, err := db.Backup(a.ctx, id)
		return b.UID, err
	}
	backup, err := uid(op.BackupID)
	if err != nil {
		return op, err
	}
	replace, err := uid(op.ReplaceID)
	if err != nil {
		return op, err
	}
	return db.Enqueue(a.ctx, 0, s.UID, portal.RetryOperation(actor, op, backup, replace))
}

type operationCancelCmd struct {
	data
	output
	one
}

// Run asks for the operation to end. One that waits has ended when this returns.
func (c *operationCancelCmd) Run(a *app) error {
	return c.with(a, func(db *store.DB) error {
		op, s, err := c.find(a, db)
		if err != nil {
			return err
		}
		if op, err = db.RequestCancel(a.ctx, 0, s.UID, op.UID, actor); err != nil {
			return err
		}
		return c.answer(a, op, s)
	})
}

type operationReleaseCmd struct {
	data
	output
	one
	Reason string `required:"" help:"Why; it goes into the audit log."`
}

// Run ends the held operation.
func (c *operationReleaseCmd) Run(a *app) error {
	if strings.TrimSpace(c.Reason) == "" {
		return wrongUse("--reason says why")
	}
	return c.with(a, func(db *store.DB) error {
		op, s, err := c.find(a, db)
		if err != nil {
			return err
		}
		if op, err = db.Release(a.ctx, op.UID, actor, strings.TrimSpace(c.Reason)); err != nil {
			return err
		}
		return c.answer(a, op, s)
	})
}
