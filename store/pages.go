package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"stowage/portal"
)

// The queries of this file are made for pages: each reads all that one page shows, at one instant, in a number of
// queries that does not grow with the rows on the page.

// LedgerDays is how many days the run ledger of a service goes back, today included.
const LedgerDays = 30

// ServiceView is all that the pages of one service show.
type ServiceView struct {
	portal.Situation
	Client   portal.Client
	Schedule Schedule
	Slots    []SlotView      // of the ledger's days, oldest first
	Measured []Measured      // the latest backups that ended well, newest first
	Recent   []OperationLine // the latest operations, newest first
	Pause    *portal.Pause   // that holds for the service now
	Pulse    Pulse
	NodeDown time.Time // since when its node is offline; zero = it isn't
}

// SlotView is a slot with what came of it.
type SlotView struct {
	Slot
	Began     time.Time // of its operation
	Ended     time.Time
	Size      int64 // of the copy that it led to
	Reference string
	Attempt   int
	RunAfter  time.Time // of an operation that waits
	WaitsFor  portal.Text
	Cancelled bool
}

// Measured is how one backup went: when its dump was due (zero for a manual one), began and ended.
type Measured struct {
	Due   time.Time
	Began time.Time
	Ended time.Time
	Size  int64
}

// OperationLine is an operation as lists show it.
type OperationLine struct {
	portal.Operation
	ServiceUID  string
	ServiceName string
	VMID        int
	ClientName  string
	ServerName  string
	Who         string    // e-mail address of the login that asked; "" for anything else
	CopyUID     string    // of the copy that it makes, removes or protects
	CopyBegan   time.Time // of that copy
	CopySize    int64
	CopyGone    bool // it was removed, or has vanished

	SnapshotUID    string // of the snapshot that it takes, removes or goes back to
	SnapshotTaken  time.Time
	SnapshotMemory bool
}

// view runs fn on one consistent picture of the database.
func (db *DB) view(ctx context.Context, name string, fn func(querier) error) error {
	t, err := db.read.BeginTx(ctx, nil)
	if err != nil {
		return explain(name, err)
	}
	defer func() { _ = t.Rollback() }() // nothing was written
	if err := fn(undisturbed{t}); err != nil {
		return explain(name, err)
	}
	return nil
}

// undisturbed runs queries to their end, whoever has gone meanwhile: each takes a moment, and a watch over the visitor
// costs every row more than the row itself.
type undisturbed struct{ q querier }

func (u undisturbed) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return u.q.QueryContext(context.WithoutCancel(ctx), query, args...)
}

func (u undisturbed) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	return u.q.QueryRowContext(context.WithoutCancel(ctx), query, args...)
}

// more adds columns to a row that a scan function reads.
type more struct {
	row   scanner
	extra []any
}

func (m more) Scan(dest ...any) error { return m.row.Scan(append(dest, m.extra...)...) }

// terms builds a query's conditions. Arguments have to be added in the order in which they first stand in the text:
// SQLite numbers them so.
type terms struct {
	where []string
	args  []any
}

// arg adds an argument and gives its number.
func (q *terms) arg(v any) string {
	q.args = append(q.args, v)
	return "$" + strconv.Itoa(len(q.args))
}

func (q *terms) and(condition string) { q.where = append(q.where, condition) }

func (q *terms) String() string {
	if len(q.where) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(q.where, " AND ")
}

// in gives "(…)" with an argument for each id.
func in(q *terms, ids []int64) string {
	marks := make([]string, len(ids))
	for i, id := range ids {
		marks[i] = q.arg(id)
	}
	return "(" + strings.Join(marks, ", ") + ")"
}

// ServiceView reads all that the pages of a client's service show. A foreign service and a missing one are the
// same not-found. clientID 0 means staff, who may look at every service.
func (db *DB) ServiceView(ctx context.Context, clientID int64, uid string) (v ServiceView, err error) {
	now := db.now()
	err = db.view(ctx, "service view", func(q querier) error {
		cond := terms{}
		cond.and("s.uid = " + cond.arg(uid))
		if clientID != 0 {
			cond.and("s.client_id = " + cond.arg(clientID) + " AND s.state <> 'terminated'")
		}
		svc, err := scanService(q.QueryRowContext(ctx, `SELECT `+serviceColumns+` FROM services s`+cond.String(), cond.args...))
		if err != nil {
			return missing(err)
		}
		if v.Situation, err = loadSituation(ctx, q, svc, now); err != nil {
			return err
		}
		if v.Client, err = client(ctx, q, svc.ClientID); err != nil {
			return err
		}
		if v.Schedule, err = scanSchedule(q.QueryRowContext(ctx, `SELECT `+scheduleColumns+` FROM schedules c WHERE c.service_id = $1`, svc.ID)); err != nil {
			return err
		}
		if v.Slots, err = slotViews(ctx, q, svc.ID, ledgerStart(now)); err != nil {
			return err
		}
		if v.Measured, err = measured(ctx, q, svc.ID); err != nil {
			return err
		}
		if v.Recent, err = operationLines(ctx, q, `WHERE o.service_id = $1 ORDER BY o.id DESC LIMIT 6`, svc.ID); err != nil {
			return err
		}
		pauses, err := pausesAt(ctx, q, now)
		if err != nil {
			return err
		}
		for _, p := range pauses {
			if pauseCovers(p, svc, v.Product) && (v.Pause == nil || p.EndsAt.After(v.Pause.EndsAt)) {
				v.Pause = &p
			}
		}
		if v.Pulse, err = pulse(ctx, q); err != nil {
			return err
		}
		v.NodeDown, err = nodeDown(ctx, q, svc.ServerID, svc.Node)
		return err
	})
	return v, err
}

// ledgerStart is the instant from which slots may stand in the ledger, whatever the schedule's zone.
func ledgerStart(now time.Time) time.Time { return now.Add(-(LedgerDays + 1) * 24 * time.Hour) }

func slotViews(ctx context.Context, q querier, serviceID int64, since time.Time) ([]SlotView, error) {
	return collect(ctx, q, func(s scanner) (v SlotView, err error) {
		var due, start, ended, began, done, run, size sql.NullInt64
		var op, reference, waits, state sql.NullString
		var attempt sql.NullInt64
		err = s.Scan(&v.ServiceID, &v.ScheduleID, &v.Date, &due, &start, &v.State, &v.Reason, &ended, &op, &reference, &began, &done, &run, &attempt, &waits, &state, &size)
		v.DueAt, v.StartBy, v.EndedAt, v.Operation = at(due), at(start), at(ended), op.String
		v.Reference = reference.String
		v.Began, v.Ended, v.Attempt, v.WaitsFor, v.Size = at(began), at(done), int(attempt.Int64), portal.Text(waits.String), size.Int64
		v.Cancelled = state.String == string(portal.StateCancelled)
		if state.String == string(portal.StateQueued) {
			v.RunAfter = at(run)
		}
		return v, err
	}, `SELECT l.service_id, l.schedule_id, l.local_date, l.due_at, l.start_by, l.state, l.reason, l.ended_at,
			o.uid, o.reference, COALESCE(b.started_at, o.started_at), COALESCE(b.ended_at, o.ended_at), o.run_after, o.attempt, o.waits_for, o.state, b.size
		FROM slots l LEFT JOIN operations o ON o.id = l.operation_id LEFT JOIN backups b ON b.id = l.backup_id
		WHERE l.service_id = $1 AND l.due_at >= $2 ORDER BY l.due_at`, serviceID, since.Unix())
}

func measured(ctx context.Context, q querier, serviceID int64) ([]Measured, error) {
	return collect(ctx, q, func(s scanner) (m Measured, err error) {
		var due, began, ended sql.NullInt64
		err = s.Scan(&due, &began, &ended, &m.Size)
		m.Due, m.Began, m.Ended = at(due), at(began), at(ended)
		return m, err
	}, `SELECT l.due_at, b.started_at, b.ended_at, b.size
		FROM operations o JOIN backups b ON b.id = o.backup_id
		LEFT JOIN slots l ON l.service_id = o.service_id AND l.schedule_id = o.schedule_id AND l.local_date = o.slot_date
		WHERE o.service_id = $1 AND o.kind = 'backup' AND o.state = 'succeeded' AND b.ended_at >= b.started_at
		ORDER BY o.id DESC LIMIT 10`, serviceID)
}

func pulse(ctx context.Context, q querier) (p Pulse, err error) {
	var tick, renewed sql.NullInt64
	err = q.QueryRowContext(ctx, `SELECT tick_at, renewed_at, recovering, zones FROM lease WHERE id = 1`).Scan(&tick, &renewed, &p.Recovering, &p.Zones)
	p.TickAt, p.RenewedAt = at(tick), at(renewed)
	return p, err
}

func nodeDown(ctx context.Context, q querier, serverID int64, node string) (time.Time, error) {
	var down sql.NullInt64
	err := q.QueryRowContext(ctx, `SELECT COALESCE(down_since, seen_at) FROM nodes WHERE server_id = $1 AND name = $2 AND online = 0`, serverID, node).Scan(&down)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, nil
	}
	return at(down), err
}

const lineColumns = `, s.uid, s.name, s.vmid, c.name, v.name, COALESCE(l.email, ''), b.uid, b.started_at, b.size,
	COALESCE(b.removed_at IS NOT NULL OR b.class = 'missing', 0), COALESCE(x.uid, ''), x.taken_at, COALESCE(x.memory, 0)`

// lineTables are what an operation's line is joined from; the actor "client:<uid>" names a login.
const lineTables = ` FROM operations o JOIN services s ON s.id = o.service_id JOIN clients c ON c.id = s.client_id JOIN servers v ON v.id = o.server_id
	LEFT JOIN logins l ON l.uid = CASE WHEN o.actor LIKE 'client:%' THEN substr(o.actor, 8) WHEN o.actor LIKE 'staff:%' THEN substr(o.actor, 7) END
	LEFT JOIN backups b ON b.id = o.backup_id LEFT JOIN snapshots x ON x.id = o.snapshot_id `

func scanLine(s scanner) (v OperationLine, err error) {
	var began, size, taken sql.NullInt64
	var uid sql.NullString
	v.Operation, err = scanOperation(more{s, []any{&v.ServiceUID, &v.ServiceName, &v.VMID, &v.ClientName, &v.ServerName, &v.Who, &uid, &began, &size, &v.CopyGone,
		&v.SnapshotUID, &taken, &v.SnapshotMemory}})
	v.SnapshotTaken = at(taken)
	v.CopyUID, v.CopyBegan, v.CopySize = uid.String, at(began), size.Int64
	return v, err
}

func operationLines(ctx context.Context, q querier, where string, args ...any) ([]OperationLine, error) {
	return collect(ctx, q, scanLine, `SELECT `+operationColumns+lineColumns+lineTables+where, args...)
}

// ClientOperations gives a page of the history of a client's service, newest first: those before the operation
// with the uid before ("" = the newest). more tells whether there are older ones.
func (db *DB) ClientOperations(ctx context.Context, serviceID int64, before string, limit int) (lines []OperationLine, more bool, err error) {
	lines, err = operationLines(ctx, db.read, `WHERE o.service_id = $1
			AND o.id < COALESCE((SELECT x.id FROM operations x WHERE x.uid = $2 AND x.service_id = $1), 9223372036854775807)
		ORDER BY o.id DESC LIMIT +$3`, serviceID, before, limit+1)
	if len(lines) > limit {
		return lines[:limit], true, err
	}
	return lines, false, err
}

// OperationView is one operation with its story.
type OperationView struct {
	OperationLine
	Steps     []StepNote
	RetryOf   string // uid of the operation that it tries again
	RetriedBy string // uid of the operation that tries it again
	Replace   string // uid of the copy that is to be removed for it
	Victim    string // uid of the copy that was removed to make room

	BeforeBegan time.Time // when the operation began that goes before it; zero = there is none, or it waits
}

// OperationView reads an operation of a client's service by the uids of both. clientID 0 means staff, who need
// no service's uid and may name the operation by its reference as well.
func (db *DB) OperationView(ctx context.Context, clientID int64, serviceUID, uid string) (v OperationView, err error) {
	err = db.view(ctx, "operation view", func(q querier) error {
		cond := terms{}
		if clientID == 0 {
			cond.and("(o.uid = " + cond.arg(uid) + " OR o.reference = " + cond.arg(strings.ToUpper(uid)) + ")")
		} else {
			cond.and("o.uid = " + cond.arg(uid))
			cond.and("s.uid = " + cond.arg(serviceUID))
			cond.and("s.client_id = " + cond.arg(clientID) + " AND s.state <> 'terminated'")
		}
		line, err := scanLine(q.QueryRowContext(ctx, `SELECT `+operationColumns+lineColumns+lineTables+cond.String(), cond.args...))
		if err != nil {
			return missing(err)
		}
		v.OperationLine = line
		if v.Steps, err = stepNotes(ctx, q, line.ID); err != nil {
			return err
		}
		var began sql.NullInt64
		err = q.QueryRowContext(ctx, `SELECT
				COALESCE((SELECT p.uid FROM operations p WHERE p.id = $1), ''),
				COALESCE((SELECT r.uid FROM operations r WHERE r.service_id = $2 AND r.id > $3 AND r.retry_of = $3 ORDER BY r.id LIMIT 1), ''),
				COALESCE((SELECT b.uid FROM backups b WHERE b.id = $4 AND b.removed_at IS NULL), ''),
				COALESCE((SELECT w.uid FROM backups w WHERE w.id = $5), ''),
				(SELECT a.started_at FROM operations a WHERE a.id = $6)`,
			line.RetryOf, line.ServiceID, line.ID, line.ReplaceID, line.VictimID, line.AfterID).Scan(&v.RetryOf, &v.RetriedBy, &v.Replace, &v.Victim, &began)
		v.BeforeBegan = at(began)
		return err
	})
	return v, err
}

func stepNotes(ctx context.Context, q querier, operationID int64) ([]StepNote, error) {
	return collect(ctx, q, func(s scanner) (n StepNote, err error) {
		var when int64
		err = s.Scan(&when, &n.Step, &n.What, &n.Text, &n.Staff)
		n.At = time.Unix(when, 0).UTC()
		return n, err
	}, `SELECT at, step, what, text, staff FROM operation_steps WHERE operation_id = $1 ORDER BY id`, operationID)
}

// DueOnNode gives the next due instants of the active services on a node: what a suggested time keeps clear of.
func (db *DB) DueOnNode(ctx context.Context, serverID int64, node string) ([]time.Time, error) {
	return collect(ctx, db.read, func(s scanner) (time.Time, error) {
		var due sql.NullInt64
		err := s.Scan(&due)
		return at(due), err
	}, `SELECT c.next_due_at FROM services s JOIN schedules c ON c.service_id = s.id
		WHERE s.server_id = $1 AND s.node = $2 AND s.state = 'active' AND c.next_due_at IS NOT NULL`, serverID, node)
}

// ServiceLine is a service as lists show it.
type ServiceLine struct {
	portal.Service
	Product     portal.Product
	ClientName  string
	ServerName  string
	Unreachable time.Time // since when its server can't be reached
	Schedule    portal.Schedule
	NextDue     time.Time
	Copies      []portal.Copy // complete or being made
	Slots       []Slot        // of the ledger's days, oldest first; only date, due, state and reason
	Open        []portal.Operation
}

// Backups gives the quota counter of the line.
func (l ServiceLine) Backups() portal.Counter {
	running := 0
	for _, o := range l.Open {
		if o.Kind == portal.KindBackup && o.State.Active() {
			running++
		}
	}
	return portal.CounterOf(l.Copies, l.QuotaIn(l.Product), running)
}

// ClientServices gives services of a client by name, from the offset on, whose name contains the query ("" = all),
// and how many there are of those and altogether.
func (db *DB) ClientServices(ctx context.Context, clientID int64, query string, offset, limit int) (lines []ServiceLine, found, all int, err error) {
	err = db.view(ctx, "client services", func(q querier) error {
		like := "%" + escapeLike(strings.ToLower(strings.TrimSpace(query))) + "%"
		if err := q.QueryRowContext(ctx, `SELECT count(*), COALESCE(sum(CASE WHEN lower(name) LIKE $1 ESCAPE '!' THEN 1 ELSE 0 END), 0)
			FROM services WHERE client_id = $2 AND state <> 'terminated'`, like, clientID).Scan(&all, &found); err != nil {
			return err
		}
		lines, err = serviceLines(ctx, q, `WHERE s.client_id = $1 AND s.state <> 'terminated' AND lower(s.name) LIKE $2 ESCAPE '!'
			ORDER BY s.name, s.id LIMIT +$3 OFFSET +$4`, db.now(), clientID, like, limit, offset)
		return err
	})
	return lines, found, all, err
}

// serviceLines reads services and, in one query each, the copies, slots and open operations of all of them.
func serviceLines(ctx context.Context, q querier, where string, now time.Time, args ...any) ([]ServiceLine, error) {
	lines, err := collect(ctx, q, func(s scanner) (v ServiceLine, err error) {
		var days string
		var next, down sql.NullInt64
		v.Service, err = scanService(more{s, []any{&v.Product.ID, &v.Product.Name, &v.Product.Quota, &v.Product.Mode, &v.Product.ModeChoice,
			&v.ClientName, &v.ServerName, &down, &v.Schedule.Zone, &days, &next}})
		if err != nil {
			return v, err
		}
		v.Unreachable, v.NextDue = at(down), at(next)
		return v, unjson([]string{days}, &v.Schedule.Days)
	}, `SELECT `+serviceColumns+`, p.id, p.name, p.quota, p.mode, p.mode_choice, k.name, v.name, v.unreachable_since, c.zone, c.days, c.next_due_at
		FROM services s JOIN products p ON p.id = s.product_id JOIN clients k ON k.id = s.client_id JOIN servers v ON v.id = s.server_id
		JOIN schedules c ON c.service_id = s.id `+where, args...)
	if err != nil || len(lines) == 0 {
		return lines, err
	}
	index := make(map[int64]*ServiceLine, len(lines))
	ids := make([]int64, len(lines))
	for i := range lines {
		index[lines[i].ID], ids[i] = &lines[i], lines[i].ID
	}
	if err := fillCopies(ctx, q, ids, index); err != nil {
		return nil, err
	}
	if err := fillOpen(ctx, q, ids, index); err != nil {
		return nil, err
	}
	return lines, fillSlots(ctx, q, ids, index, ledgerStart(now))
}

func fillCopies(ctx context.Context, q querier, ids []int64, index map[int64]*ServiceLine) error {
	cond := terms{}
	these := in(&cond, ids)
	found, err := collect(ctx, q, func(s scanner) (b portal.Backup, err error) {
		var volid sql.NullString
		var started, ctime, gone sql.NullInt64
		err = s.Scan(&b.ID, &b.UID, &b.ServiceID, &volid, &b.Class, &b.Origin, &started, &ctime, &b.Size, &b.Protected, &b.Verification, &gone, &b.PinnedBy, &b.Removing)
		b.Volid, b.StartedAt, b.CTime, b.MissingSince = volid.String, at(started), at(ctime), at(gone)
		return b, err
	}, `SELECT b.id, b.uid, b.service_id, b.volid, b.class, b.origin, b.started_at, b.ctime, b.size, b.protected, b.verification, b.missing_since, `+pinColumns+`
		FROM backups b WHERE b.service_id IN `+these+` AND b.removed_at IS NULL AND b.class IN ('running', 'good', 'suspect')`, cond.args...)
	if err != nil {
		return err
	}
	of := map[int64][]portal.Backup{}
	for _, b := range found {
		of[b.ServiceID] = append(of[b.ServiceID], b)
	}
	for id, list := range of {
		index[id].Copies = portal.CopiesOf(list)
	}
	return nil
}

func fillOpen(ctx context.Context, q querier, ids []int64, index map[int64]*ServiceLine) error {
	cond := terms{}
	these := in(&cond, ids)
	open, err := operations(ctx, q, `WHERE o.service_id IN `+these+` AND o.state IN ('queued', 'running', 'held') ORDER BY o.id`, cond.args...)
	for _, o := range open {
		index[o.ServiceID].Open = append(index[o.ServiceID].Open, o)
	}
	return err
}

func fillSlots(ctx context.Context, q querier, ids []int64, index map[int64]*ServiceLine, since time.Time) error {
	cond := terms{}
	from, these := cond.arg(since.Unix()), in(&cond, ids)
	slots, err := collect(ctx, q, func(s scanner) (v Slot, err error) {
		var due sql.NullInt64
		err = s.Scan(&v.ServiceID, &v.Date, &due, &v.State, &v.Reason)
		v.DueAt = at(due)
		return v, err
	}, `SELECT l.service_id, l.local_date, l.due_at, l.state, l.reason FROM slots l WHERE l.due_at >= `+from+` AND l.service_id IN `+these, cond.args...)
	if err != nil {
		return err
	}
	slices.SortFunc(slots, func(a, b Slot) int { return cmp.Compare(a.DueAt.Unix(), b.DueAt.Unix()) })
	for _, s := range slots {
		index[s.ServiceID].Slots = append(index[s.ServiceID].Slots, s)
	}
	return nil
}
