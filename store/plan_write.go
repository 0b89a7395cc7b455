package store

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"stowage/portal"
)

// slotWriter collects the rows of many schedules and writes them with few statements: seventy thousand slots may fall
// due in one minute.
type slotWriter struct {
	*tx
	slots   []newSlot
	planned []planned
	names   shortNames
	last    int64 // id of the operation that was added last
}

// newSlot is a slot's row to be: with an operation that waits, or ended already.
type newSlot struct {
	service, schedule int64
	date              string
	due, startBy      time.Time
	state             portal.SlotStatus
	reason            portal.Text
	op                *portal.Operation
}

// planned is how far a schedule is planned: up to an instant, and from due on. A zero due means never again. It holds for
// the schedule as it was read: planned up to was, and saved then.
type planned struct {
	schedule   int64
	upTo, due  time.Time
	was, saved int64
}

// add takes up slots that fell due and have no row: all but the latest are missed, and the latest is queued where it
// may still start; with a reason, all are skipped for it.
func (w *slotWriter) add(svc *portal.Service, p *portal.Product, s *Schedule, slots []portal.DueSlot, skip portal.Text) error {
	if len(slots) == 0 {
		return nil
	}
	w.touch(svc.ID)
	ended := func(slot portal.DueSlot, state portal.SlotStatus, reason portal.Text) {
		w.slots = append(w.slots, newSlot{service: svc.ID, schedule: s.ID, date: slot.Date.String(), due: slot.Due, startBy: slot.Due.Add(p.StartWindow), state: state, reason: reason})
	}
	if skip != "" {
		for _, slot := range slots {
			ended(slot, portal.SlotSkipped, skip)
		}
		return nil
	}
	caught := s.CatchUp(slots, w.now, p.StartWindow)
	for _, m := range caught.Missed {
		ended(m.DueSlot, portal.SlotMissed, m.Reason)
		if err := w.post(Message{Channel: "mail", ServiceID: svc.ID, Topic: "backup.missed", Payload: map[string]any{"service": svc.UID, "date": m.Date.String(), "reason": string(m.Reason)}}); err != nil {
			return err
		}
	}
	if caught.Run == nil {
		return nil
	}
	run := *caught.Run
	spread := portal.Spread(svc.UID, run.Date, p.Spread)
	situation := portal.Situation{Service: *svc, Product: *p, Now: w.now}
	op, err := portal.ScheduledBackup(s.ID, run.Date.String(), run.Due, caught.StartBy, spread)(situation)
	if err != nil {
		return err
	}
	w.prepare(&op, *svc)
	w.slots = append(w.slots, newSlot{service: svc.ID, schedule: s.ID, date: op.SlotDate, due: run.Due, startBy: caught.StartBy, state: portal.SlotDue, op: &op})
	return nil
}

// rowsAtOnce is how many rows one statement adds. More gain little, and each number of rows is a statement to prepare.
const rowsAtOnce = 40

// write writes what was collected: operations first, because slots refer to them.
func (w *slotWriter) write() error {
	var ops []*portal.Operation
	for _, s := range w.slots {
		if s.op != nil {
			ops = append(ops, s.op)
		}
	}
	if err := w.QueryRowContext(w.ctx, `SELECT COALESCE(max(id), 0) FROM operations`).Scan(&w.last); err != nil {
		return err
	}
	for some := range slices.Chunk(ops, rowsAtOnce) {
		if err := w.writeOperations(some); err != nil {
			return err
		}
	}
	if err := w.noted(ops); err != nil {
		return err
	}
	for rest := w.slots; len(rest) > 0; {
		n, write := sameInstant(rest), w.writeQueuedSlots
		if n < rowsAtOnce {
			n, write = min(rowsAtOnce, len(rest)), w.writeSlotRows
		}
		if err := write(rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	for some := range slices.Chunk(w.planned, rowsAtOnce) {
		if err := w.writePlanned(some); err != nil {
			return err
		}
	}
	return nil
}

// tuples gives "(…), (…)" for so many rows, where row names the arguments of one and so many stand before the first.
func tuples(rows, before, each int, row string) string {
	key := tupleKey{rows, before, row}
	if text, known := tupleTexts.Load(key); known {
		return text.(string)
	}
	var b strings.Builder
	for i := range rows {
		if i > 0 {
			b.WriteString(", ")
		}
		args := make([]any, each)
		for j := range args {
			args[j] = before + i*each + j + 1
		}
		fmt.Fprintf(&b, row, args...)
	}
	tupleTexts.Store(key, b.String())
	return b.String()
}

type tupleKey struct {
	rows, before int
	row          string
}

// tupleTexts holds what tuples gave: no more than rowsAtOnce texts for each statement.
var tupleTexts sync.Map

// shortNames draws the references of one transaction's operations. They begin alike and differ in their last four signs:
// in the tree that keeps references unique they stand side by side. Drawn from all there are, each would change another
// page of it, which was a fourth of what planning a night had to write.
type shortNames struct {
	begin string
	drawn map[string]bool
}

// draw gives one that this transaction hasn't drawn yet. It may be an earlier operation's all the same.
func (n *shortNames) draw(reference func() string) string {
	const alike = 2
	if n.drawn == nil {
		n.begin, n.drawn = reference()[:alike], map[string]bool{}
	}
	text := n.begin + reference()[alike:]
	for range referenceTries {
		if !n.drawn[text] {
			break
		}
		text = n.begin + reference()[alike:]
	}
	n.drawn[text] = true
	return text
}

// writeOperations adds operations of slots.
func (w *slotWriter) writeOperations(ops []*portal.Operation) error {
	for _, o := range ops {
		w.last++
		o.ID, o.Reference = w.last, w.names.draw(w.db.reference)
	}
	err := w.insertOperations(ops)
	if unique(err, "operations.reference") {
		if err = w.freeReferences(ops); err == nil {
			err = w.insertOperations(ops)
		}
	}
	return err
}

// noted is the audit row of all that one transaction has queued because its time had come. Each operation says for
// itself of which schedule and date it is, and has its own row when it first asks something of Proxmox.
func (w *slotWriter) noted(ops []*portal.Operation) error {
	if len(ops) == 0 {
		return nil
	}
	first, last := ops[0], ops[len(ops)-1]
	return w.audit(Entry{Actor: first.Actor, Action: "backup.plan", Entity: "operation", EntityUID: first.UID,
		After: tojson(struct {
			Queued int    `json:"queued"`
			To     string `json:"to"`
		}{len(ops), last.UID})})
}

// insertOperations adds rows under the ids that the operations have: this transaction alone writes, so the ids after the
// last one are free.
func (w *slotWriter) insertOperations(ops []*portal.Operation) error {
	first := ops[0]
	args := []any{first.Kind, first.Kind.Exclusive(), first.State, first.Step, first.Actor, w.now.Unix(), first.Timing, first.Note}
	const each = 12
	for _, o := range ops {
		if o.Kind != first.Kind || o.State != first.State || o.Step != first.Step || o.Actor != first.Actor || o.Timing != first.Timing || o.Note != first.Note || o.Manual {
			return errors.New("operations of slots that aren't alike")
		}
		args = append(args, o.ID, o.UID, o.Reference, o.ServiceID, o.ServerID, o.ScheduleID, o.SlotDate, o.Mode, o.Node, unix(o.RunAfter), unix(o.StartBy), unix(o.GiveUpAt))
	}
	_, err := w.exec(`INSERT INTO operations (kind, exclusive, state, step, actor, created_at, timing, note, manual, id, uid, reference, service_id, server_id, schedule_id, slot_date, mode, node,
			run_after, start_by, give_up_at) VALUES `+
		tuples(len(ops), 8, each, `($1, $2, $3, $4, $5, $6, $7, $8, 0, $%d, $%d, $%d, $%d, $%d, $%d, $%d, $%d, $%d, $%d, $%d, $%d)`), args...)
	return err
}

// freeReferences gives those operations another reference whose own is taken, or was drawn twice.
func (w *slotWriter) freeReferences(ops []*portal.Operation) error {
	for range referenceTries {
		args := make([]any, len(ops))
		for i, o := range ops {
			args[i] = o.Reference
		}
		taken, err := collect(w.ctx, w, func(s scanner) (v string, err error) { return v, s.Scan(&v) },
			`SELECT reference FROM operations WHERE reference IN (`+tuples(len(args), 0, 1, `$%d`)+`)`, args...)
		if err != nil {
			return err
		}
		clashes := 0
		for _, o := range ops {
			if slices.Contains(taken, o.Reference) {
				clashes++
				o.Reference = w.db.reference()
			}
			taken = append(taken, o.Reference)
		}
		if clashes == 0 {
			return nil
		}
	}
	return errors.New("no free reference was found")
}

// sameInstant counts the slots at the beginning that fell due together and have an operation each.
func sameInstant(slots []newSlot) (n int) {
	for n < len(slots) && slots[n].op != nil && slots[n].due.Equal(slots[0].due) {
		n++
	}
	return n
}

// writeQueuedSlots adds the slots of operations that were added in a row, and fell due together: all but the instant stands
// in the operations.
func (w *slotWriter) writeQueuedSlots(slots []newSlot) error {
	first, last := slots[0], slots[len(slots)-1]
	done, err := w.exec(`INSERT INTO slots (service_id, schedule_id, local_date, due_at, start_by, state, operation_id)
		SELECT service_id, schedule_id, slot_date, $1, start_by, $2, id FROM operations WHERE id BETWEEN $3 AND $4`, first.due.Unix(), portal.SlotDue, first.op.ID, last.op.ID)
	if err != nil {
		return err
	}
	if n, err := done.RowsAffected(); err != nil || n != int64(len(slots)) {
		return errors.Join(fmt.Errorf("%d slots were added for %d operations", n, len(slots)), err)
	}
	return nil
}

// writeSlotRows adds slots. One that is there already is a contradiction: its schedule's dates were read just now.
func (w *slotWriter) writeSlotRows(slots []newSlot) error {
	const each = 9
	args := make([]any, 0, len(slots)*each)
	for _, s := range slots {
		var op, ended any
		if s.op != nil {
			op = s.op.ID
		} else {
			ended = w.now.Unix()
		}
		args = append(args, s.service, s.schedule, s.date, s.due.Unix(), s.startBy.Unix(), s.state, s.reason, op, ended)
	}
	_, err := w.exec(`INSERT INTO slots (service_id, schedule_id, local_date, due_at, start_by, state, reason, operation_id, ended_at) VALUES `+
		tuples(len(slots), 0, each, `($%d, $%d, $%d, $%d, $%d, $%d, $%d, $%d, $%d)`), args...)
	return err
}

// writePlanned keeps how far schedules are planned.
func (w *slotWriter) writePlanned(some []planned) error {
	const each = 5
	args := make([]any, 0, each*len(some))
	for _, p := range some {
		args = append(args, p.schedule, p.upTo.Unix(), orNull(p.due), p.was, p.saved)
	}
	done, err := w.exec(`UPDATE schedules SET planned = d.up_to, next_due_at = d.due
		FROM (SELECT column1 AS id, column2 AS up_to, column3 AS due, column4 AS was, column5 AS saved FROM (VALUES `+tuples(len(some), 0, each, `($%d, $%d, $%d, $%d, $%d)`)+`)) AS d
		WHERE schedules.id = d.id AND schedules.planned = d.was AND schedules.saved_at = d.saved`, args...)
	if err != nil {
		return err
	}
	if n, err := done.RowsAffected(); err != nil || n != int64(len(some)) {
		return errors.Join(errOvertaken, err)
	}
	return nil
}
