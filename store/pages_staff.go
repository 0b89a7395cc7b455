package store

import (
	"context"
	"database/sql"
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"stowage/portal"
)

// Page says which rows of a long list are wanted: the Limit rows that follow those before, by key. Older and
// Newer are row ids; at most one is set, and without either the list begins with the newest.
type Page struct {
	Older int64 // rows with a smaller id
	Newer int64 // rows with a greater id
	Limit int
}

// Turn is where a page of a list leads on: the ids for Page.Newer and Page.Older, 0 where there is nothing more.
type Turn struct {
	Newer, Older int64
}

// key adds the page's bound on the id column and gives ORDER BY and LIMIT, with one row more than asked for.
func (p Page) key(q *terms, column string) string {
	order := " DESC"
	switch {
	case p.Older > 0:
		q.and(column + " < " + q.arg(p.Older))
	case p.Newer > 0:
		q.and(column + " > " + q.arg(p.Newer))
		order = " ASC"
	}
	return q.String() + " ORDER BY " + column + order + " LIMIT " + q.arg(p.Limit+1)
}

// turn cuts the row too many off, puts the rows newest first, and says where they lead on.
func turn[T any](p Page, rows []T, id func(T) int64) ([]T, Turn) {
	further := len(rows) > p.Limit
	if further {
		rows = rows[:p.Limit]
	}
	if p.Newer > 0 {
		slices.Reverse(rows)
	}
	var t Turn
	if len(rows) == 0 {
		return rows, t
	}
	if p.Newer > 0 && further || p.Older > 0 {
		t.Newer = id(rows[0])
	}
	if p.Newer > 0 || further {
		t.Older = id(rows[len(rows)-1])
	}
	return rows, t
}

// ServiceFilter narrows the staff's list of services.
type ServiceFilter struct {
	Query  string // anything pasted: a uid, name, e-mail address, vmid, MAC, reference, UPID or volid
	State  string // a portal.ServiceState, or "" for all that aren't terminated
	Server string // uid, "" = all
	Look   string // "", "unprotected" (no schedule or no good copy), "locked", "failed" (last slot failed or was missed)
}

var (
	uidShape       = regexp.MustCompile(`^[0-9a-z]{26}$`)
	referenceShape = regexp.MustCompile(`^[0-9A-Z]{3}-[0-9A-Z]{3}$`)
	macShape       = regexp.MustCompile(`^[0-9A-F]{2}(:[0-9A-F]{2}){2,5}$`)
	upidShape      = regexp.MustCompile(`^UPID:[^:]+:[0-9A-F]+:[0-9A-F]+:[0-9A-F]+:[a-z]+:(\d*):`)
	volidShape     = regexp.MustCompile(`(?:vzdump-qemu-|vm/)(\d+)[-/]`)
)

// StaffServices gives services of all clients, newest first.
func (db *DB) StaffServices(ctx context.Context, f ServiceFilter, p Page) (lines []ServiceLine, t Turn, err error) {
	err = db.view(ctx, "staff services", func(q querier) error {
		cond := terms{}
		if err := f.conditions(ctx, q, &cond); err != nil {
			return err
		}
		where := p.key(&cond, "s.id")
		rows, err := serviceLines(ctx, q, where, db.now(), cond.args...)
		lines, t = turn(p, rows, func(l ServiceLine) int64 { return l.ID })
		return err
	})
	return lines, t, err
}

func (f ServiceFilter) conditions(ctx context.Context, q querier, cond *terms) error {
	if f.State == "" {
		cond.and("s.state <> 'terminated'")
	} else {
		cond.and("s.state = " + cond.arg(f.State))
	}
	if f.Server != "" {
		cond.and("v.uid = " + cond.arg(f.Server))
	}
	switch f.Look {
	case "unprotected":
		cond.and(unprotected)
	case "locked":
		cond.and("s.lock <> ''")
	case "failed":
		cond.and(`(SELECT l.state FROM slots l WHERE l.service_id = s.id AND l.ended_at IS NOT NULL ORDER BY l.local_date DESC LIMIT 1) IN ('failed', 'missed')`)
	}
	if query := strings.TrimSpace(f.Query); query != "" {
		found, err := pasted(ctx, q, query, cond)
		if err != nil {
			return err
		}
		cond.and(found)
	}
	return nil
}

// unprotected is the condition on services that would lose everything, or whose loss grows every day.
const unprotected = `s.state = 'active' AND COALESCE(s.quota, (SELECT p.quota FROM products p WHERE p.id = s.product_id)) > 0
	AND ((SELECT c.next_due_at FROM schedules c WHERE c.service_id = s.id) IS NULL
		OR NOT EXISTS (SELECT 1 FROM backups b WHERE b.service_id = s.id AND b.removed_at IS NULL AND b.class = 'good' AND b.verification <> 'failed'))`

// pasted gives the condition on services that a text names. What has the shape of a name that is given once is
// looked up as such; the rest is looked for in names and addresses.
func pasted(ctx context.Context, q querier, text string, cond *terms) (string, error) {
	lower, upper := strings.ToLower(text), strings.ToUpper(text)
	switch {
	case uidShape.MatchString(lower):
		uid := cond.arg(lower)
		return `(s.uid = ` + uid + ` OR s.client_id IN (SELECT id FROM clients WHERE uid = ` + uid + `)
			OR s.client_id IN (SELECT client_id FROM logins WHERE uid = ` + uid + `)
			OR s.id IN (SELECT service_id FROM operations WHERE uid = ` + uid + `)
			OR s.id IN (SELECT service_id FROM backups WHERE uid = ` + uid + `))`, nil
	case referenceShape.MatchString(upper):
		like := cond.arg("%" + escapeLike(lower) + "%") // three letters, a dash and three letters may be a name too
		return `(lower(s.name) LIKE ` + like + ` ESCAPE '!' OR s.id IN (SELECT service_id FROM operations WHERE reference = ` + cond.arg(upper) + `))`, nil
	case upidShape.MatchString(text):
		return ofTask(ctx, q, text, upidShape.FindStringSubmatch(text)[1], cond)
	case volidShape.MatchString(text):
		return ofVolume(ctx, q, text, volidShape.FindStringSubmatch(text)[1], cond)
	case macShape.MatchString(upper):
		return `s.machine_macs LIKE ` + cond.arg("%"+upper+"%"), nil
	}
	if vmid, err := strconv.Atoi(text); err == nil && vmid >= 100 {
		id := cond.arg(vmid)
		return `(s.vmid = ` + id + ` OR lower(s.name) LIKE ` + cond.arg("%"+escapeLike(lower)+"%") + ` ESCAPE '!')`, nil
	}
	like := cond.arg("%" + escapeLike(lower) + "%")
	return `(lower(s.name) LIKE ` + like + ` ESCAPE '!' OR lower(k.name) LIKE ` + like + ` ESCAPE '!'
		OR s.client_id IN (SELECT client_id FROM logins WHERE email LIKE ` + like + ` ESCAPE '!'))`, nil
}

// ofTask finds the service of a task: the one whose operation it belongs to, or else all with the task's vmid.
func ofTask(ctx context.Context, q querier, upid, vmid string, cond *terms) (string, error) {
	ids, err := idsOf(ctx, q, `SELECT DISTINCT s.id FROM services s JOIN operations o ON o.service_id = s.id LEFT JOIN task_logs g ON g.operation_id = o.id
		WHERE s.vmid = $1 AND (o.upid = $2 OR g.upid = $2)`, number(vmid), upid)
	return oneOf(ids, vmid, cond), err
}

// ofVolume finds the service of an archive: the one whose copy it is, or else all with the vmid in its name.
func ofVolume(ctx context.Context, q querier, volid, vmid string, cond *terms) (string, error) {
	ids, err := idsOf(ctx, q, `SELECT DISTINCT b.service_id FROM services s JOIN backups b ON b.service_id = s.id
		WHERE s.vmid = $1 AND b.removed_at IS NULL AND (b.volid = $2 OR b.volid LIKE $3 ESCAPE '!')`, number(vmid), volid, "%"+escapeLike(volid)+"%")
	return oneOf(ids, vmid, cond), err
}

func oneOf(ids []int64, vmid string, cond *terms) string {
	if len(ids) > 0 {
		return "s.id IN " + in(cond, ids)
	}
	return "s.vmid = " + cond.arg(number(vmid))
}

func number(digits string) int64 {
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func idsOf(ctx context.Context, q querier, query string, args ...any) ([]int64, error) {
	return collect(ctx, q, func(s scanner) (id int64, err error) { return id, s.Scan(&id) }, query, args...)
}

// OperationFilter narrows the staff's list of operations.
type OperationFilter struct {
	Query   string // a uid, reference, UPID, vmid, or part of a service's or client's name or e-mail address
	State   string // a portal.State, "open" for queued, running and held, "" = all
	Kind    string // a portal.Kind, "" = all
	Server  string // uid, "" = all
	Service string // uid, "" = all
}

// StaffOperations gives operations of all services, newest first.
func (db *DB) StaffOperations(ctx context.Context, f OperationFilter, p Page) (lines []OperationLine, t Turn, err error) {
	err = db.view(ctx, "staff operations", func(q querier) error {
		cond := terms{}
		switch f.State {
		case "":
		case "open":
			cond.and("o.state IN ('queued', 'running', 'held')")
		default:
			cond.and("o.state = " + cond.arg(f.State))
		}
		if f.Kind != "" {
			cond.and("o.kind = " + cond.arg(f.Kind))
		}
		if f.Server != "" {
			cond.and("v.uid = " + cond.arg(f.Server))
		}
		if f.Service != "" {
			cond.and("o.service_id = (SELECT x.id FROM services x WHERE x.uid = " + cond.arg(f.Service) + ")")
		}
		if text := strings.TrimSpace(f.Query); text != "" {
			if err := namedOperation(ctx, q, text, &cond); err != nil {
				return err
			}
		}
		where := p.key(&cond, "o.id")
		rows, err := operationLines(ctx, q, where, cond.args...)
		lines, t = turn(p, rows, func(l OperationLine) int64 { return l.ID })
		return err
	})
	return lines, t, err
}

// namedOperation narrows to what a text names: one operation by uid, reference or UPID, or those of services.
func namedOperation(ctx context.Context, q querier, text string, cond *terms) error {
	ids, err := idsOf(ctx, q, `SELECT id FROM operations WHERE uid = $1 OR reference = $2`, strings.ToLower(text), strings.ToUpper(text))
	if err == nil && len(ids) == 0 && upidShape.MatchString(text) {
		ids, err = idsOf(ctx, q, `SELECT DISTINCT o.id FROM services s JOIN operations o ON o.service_id = s.id LEFT JOIN task_logs g ON g.operation_id = o.id
			WHERE s.vmid = $1 AND (o.upid = $2 OR g.upid = $2)`, number(upidShape.FindStringSubmatch(text)[1]), text)
	}
	if err != nil {
		return err
	}
	if len(ids) > 0 {
		cond.and("o.id IN " + in(cond, ids))
		return nil
	}
	found, err := pasted(ctx, q, text, cond)
	cond.and("o.service_id IN (SELECT s.id FROM services s JOIN clients k ON k.id = s.client_id WHERE " + found + ")")
	return err
}

// ServerLine is a server with what the staff's pages show beside it.
type ServerLine struct {
	portal.Server
	Nodes    []portal.Node
	Storages []StorageRow // that hold archives or take them for products of its services
	Services int
	Running  int
	Queued   int
}

// ServerLines gives all servers by name.
func (db *DB) ServerLines(ctx context.Context) (lines []ServerLine, err error) {
	err = db.view(ctx, "server lines", func(q querier) error {
		servers, err := collect(ctx, q, scanServer, `SELECT `+serverColumns+` FROM servers ORDER BY name`)
		if err != nil {
			return err
		}
		index := map[int64]*ServerLine{}
		lines = make([]ServerLine, len(servers))
		for i, s := range servers {
			lines[i].Server = s
			index[s.ID] = &lines[i]
		}
		nodes, err := collect(ctx, q, func(s scanner) (n portal.Node, err error) {
			var down, seen sql.NullInt64
			err = s.Scan(&n.ServerID, &n.Name, &n.Online, &down, &seen, &n.ForeignDump)
			n.DownSince, n.SeenAt = at(down), at(seen)
			return n, err
		}, `SELECT server_id, name, online, down_since, seen_at, foreign_dump FROM nodes ORDER BY name`)
		if err != nil {
			return err
		}
		for _, n := range nodes {
			index[n.ServerID].Nodes = append(index[n.ServerID].Nodes, n)
		}
		storages, err := collect(ctx, q, scanStorage, `SELECT `+storageColumns+` FROM storages WHERE `+wantedStorage+` ORDER BY name, node`)
		if err != nil {
			return err
		}
		for _, s := range storages {
			index[s.ServerID].Storages = append(index[s.ServerID].Storages, s)
		}
		return countServices(ctx, q, index)
	})
	return lines, err
}

// wantedStorage is the condition on storages that products put archives on.
const wantedStorage = `name IN (SELECT storage FROM products WHERE quota > 0)`

func countServices(ctx context.Context, q querier, index map[int64]*ServerLine) error {
	type count struct {
		server                    int64
		services, running, queued int
	}
	counts, err := collect(ctx, q, func(s scanner) (c count, err error) { return c, s.Scan(&c.server, &c.services, &c.running, &c.queued) },
		`SELECT v.id, (SELECT count(*) FROM services s WHERE s.server_id = v.id AND s.state <> 'terminated'),
			(SELECT count(*) FROM operations o WHERE o.server_id = v.id AND o.state IN ('running', 'held')),
			(SELECT count(*) FROM operations w WHERE w.server_id = v.id AND w.state = 'queued') FROM servers v`)
	for _, c := range counts {
		if l := index[c.server]; l != nil {
			l.Services, l.Running, l.Queued = c.services, c.running, c.queued
		}
	}
	return err
}

// ServerLine gives one server by uid.
func (db *DB) ServerLine(ctx context.Context, uid string) (ServerLine, error) {
	lines, err := db.ServerLines(ctx)
	if err != nil {
		return ServerLine{}, err
	}
	for _, l := range lines {
		if l.UID == uid {
			return l, nil
		}
	}
	return ServerLine{}, portal.NotFound()
}

// External gives the archives with a service's vmid, on its server, that aren't ours, newest first: for staff.
func (db *DB) External(ctx context.Context, s portal.Service, limit int) ([]portal.Backup, error) {
	return collect(ctx, db.read, scanBackup, `SELECT `+backupColumns+` FROM backups b
		WHERE b.server_id = $1 AND b.vmid = $2 AND b.class = 'external' AND b.removed_at IS NULL ORDER BY b.started_at DESC LIMIT +$3`, s.ServerID, s.VMID, limit)
}

// AuditFilter narrows the audit log.
type AuditFilter struct {
	Query  string // part of an e-mail address, action, uid or address
	Action string // the part before the dot: "backup", "login", …; "" = all
}

// AuditLine is an audit row with the names behind its uids.
type AuditLine struct {
	Entry
	Who        string // e-mail address of the login that acted; "" for cron, engine and commands
	ServiceUID string
	Service    string // name, "" where it concerns none
}

// AuditLines gives rows of the audit log, newest first.
func (db *DB) AuditLines(ctx context.Context, f AuditFilter, p Page) (lines []AuditLine, t Turn, err error) {
	cond := terms{}
	if f.Action != "" {
		cond.and("a.action LIKE " + cond.arg(escapeLike(f.Action)+".%") + " ESCAPE '!'")
	}
	if text := strings.ToLower(strings.TrimSpace(f.Query)); text != "" {
		like := cond.arg("%" + escapeLike(text) + "%")
		cond.and(`(a.action LIKE ` + like + ` ESCAPE '!' OR a.entity_uid LIKE ` + like + ` ESCAPE '!' OR a.address LIKE ` + like + ` ESCAPE '!'
			OR a.actor LIKE ` + like + ` ESCAPE '!' OR l.email LIKE ` + like + ` ESCAPE '!' OR lower(s.name) LIKE ` + like + ` ESCAPE '!')`)
	}
	where := p.key(&cond, "a.id")
	rows, err := collect(ctx, db.read, func(s scanner) (v AuditLine, err error) {
		v.Entry, err = scanEntry(more{s, []any{&v.Who, &v.ServiceUID, &v.Service}})
		return v, err
	}, `SELECT a.id, a.at, a.actor, a.address, a.action, a.entity, a.entity_uid, a.service_id, a.before, a.after, a.hash,
			COALESCE(l.email, ''), COALESCE(s.uid, ''), COALESCE(s.name, '')
		FROM audit a LEFT JOIN services s ON s.id = a.service_id
		LEFT JOIN logins l ON l.uid = CASE WHEN a.actor LIKE 'client:%' THEN substr(a.actor, 8) WHEN a.actor LIKE 'staff:%' THEN substr(a.actor, 7) END`+where, cond.args...)
	lines, t = turn(p, rows, func(l AuditLine) int64 { return l.ID })
	return lines, t, explain("audit lines", err)
}

// AuditTail checks the chain of the newest n rows and that it ends where it should. It gives how many were checked
// and the id of the first row that does not fit, 0 when all do.
func (db *DB) AuditTail(ctx context.Context, n int) (checked int, broken int64, err error) {
	err = db.view(ctx, "audit tail", func(q querier) error {
		rows, err := collect(ctx, q, scanEntry, `SELECT `+entryColumns+` FROM audit ORDER BY id DESC LIMIT +$1`, n+1)
		if err != nil {
			return err
		}
		slices.Reverse(rows)
		last, before := int64(0), ""
		if len(rows) > n {
			last, before, rows = rows[0].ID, rows[0].Hash, rows[1:]
		}
		checked = len(rows)
		found := breakIn(rows, last, before)
		if found == nil {
			if len(rows) > 0 {
				last, before = rows[len(rows)-1].ID, rows[len(rows)-1].Hash
			}
			found, err = db.breakAtEnd(ctx, q, last, before)
		}
		if found != nil {
			broken = found.Row
		}
		return err
	})
	return checked, broken, err
}

// Needs is what needs a person: of each kind how many there are, and the first few.
type Needs struct {
	Pulse       Pulse
	Held        Few[OperationLine]
	Locked      Few[ServiceLook] // with a lock of Proxmox that no task stands behind any more
	Failed      Few[SlotLook]    // slots of the last day that failed or were missed
	Full        Few[StorageLook] // storages fuller than the setting warns at
	Doubted     Few[StorageLook] // listings that wait for a person's word
	Braked      Few[StorageLook]
	External    Few[StorageLook] // with archives that aren't ours
	Servers     []portal.Server  // unreachable, with wrong clocks or missing rights
	Nodes       Few[NodeLook]    // offline
	Machines    Few[ServiceLook] // gone or replaced
	Unprotected Few[ServiceLook]
	Day         map[portal.SlotStatus]int // slots of the last day by state
	Services    int
	Running     int
	Queued      int
}

// Few is how many there are, and the first of them.
type Few[T any] struct {
	Count int
	First []T
}

// ServiceLook names a service on the dashboard.
type ServiceLook struct {
	UID, Name, Client, Server string
	VMID                      int
	Lock                      string
	LockSince                 time.Time
	LockTask                  string // the last task behind it, exact
	State                     portal.ServiceState
	Scheduled                 bool
}

// SlotLook is a slot on the dashboard.
type SlotLook struct {
	ServiceUID, Service, Client string
	Date                        string
	Due                         time.Time
	State                       portal.SlotStatus
	Reason                      portal.Text
	Operation                   string // uid, "" = none
	OperationState              string
	Kind                        string
}

// StorageLook is a storage on the dashboard.
type StorageLook struct {
	StorageRow
	Server, ServerUID string
}

// NodeLook is a node on the dashboard.
type NodeLook struct {
	portal.Node
	Server, ServerUID string
}

// few is how many items of each kind the dashboard shows.
const few = 10

// Needs reads the dashboard. warnPercent is how full a storage may be.
func (db *DB) Needs(ctx context.Context, warnPercent int) (n Needs, err error) {
	now := db.now()
	err = db.view(ctx, "needs", func(q querier) error {
		for _, read := range []func() error{
			func() (err error) { n.Pulse, err = pulse(ctx, q); return err },
			func() error { return n.operations(ctx, q) },
			func() error { return n.slots(ctx, q, now.Add(-24*time.Hour)) },
			func() error { return n.storages(ctx, q, warnPercent) },
			func() error { return n.servers(ctx, q) },
			func() (err error) {
				n.Locked, err = lookFor(ctx, q, `s.lock_stale_at IS NOT NULL AND s.id > $1`, 0)
				return err
			},
			func() (err error) {
				n.Machines, err = lookFor(ctx, q, `s.state IN ('machine_gone', 'machine_replaced') AND s.id > $1`, 0)
				return err
			},
			func() (err error) {
				n.Unprotected, err = lookFor(ctx, q, unprotected+` AND s.id > $1`, 0)
				return err
			},
		} {
			if err := read(); err != nil {
				return err
			}
		}
		return nil
	})
	return n, err
}

func (n *Needs) operations(ctx context.Context, q querier) (err error) {
	if err := q.QueryRowContext(ctx, `SELECT count(*) FILTER (WHERE state = 'held'), count(*) FILTER (WHERE state = 'running'), count(*) FILTER (WHERE state = 'queued')
		FROM operations WHERE state IN ('queued', 'running', 'held')`).Scan(&n.Held.Count, &n.Running, &n.Queued); err != nil {
		return err
	}
	if err := q.QueryRowContext(ctx, `SELECT count(*) FROM services WHERE state <> 'terminated'`).Scan(&n.Services); err != nil {
		return err
	}
	n.Held.First, err = operationLines(ctx, q, `WHERE o.state = 'held' ORDER BY o.id LIMIT +$1`, few)
	return err
}

func (n *Needs) slots(ctx context.Context, q querier, since time.Time) error {
	type count struct {
		state portal.SlotStatus
		n     int
	}
	counts, err := collect(ctx, q, func(s scanner) (c count, err error) { return c, s.Scan(&c.state, &c.n) },
		`SELECT state, count(*) FROM slots WHERE due_at >= $1 GROUP BY state`, since.Unix())
	if err != nil {
		return err
	}
	n.Day = map[portal.SlotStatus]int{}
	for _, c := range counts {
		n.Day[c.state] = c.n
	}
	n.Failed.Count = n.Day[portal.SlotFailed] + n.Day[portal.SlotMissed]
	if n.Failed.Count == 0 {
		return nil
	}
	n.Failed.First, err = collect(ctx, q, func(s scanner) (v SlotLook, err error) {
		var due sql.NullInt64
		err = s.Scan(&v.ServiceUID, &v.Service, &v.Client, &v.Date, &due, &v.State, &v.Reason, &v.Operation, &v.OperationState, &v.Kind)
		v.Due = at(due)
		return v, err
	}, `SELECT s.uid, s.name, c.name, l.local_date, l.due_at, l.state, l.reason, COALESCE(o.uid, ''), COALESCE(o.state, ''), COALESCE(o.kind, '')
		FROM slots l JOIN services s ON s.id = l.service_id JOIN clients c ON c.id = s.client_id LEFT JOIN operations o ON o.id = l.operation_id
		WHERE l.due_at >= $1 AND l.state IN ('failed', 'missed') ORDER BY l.due_at DESC LIMIT +$2`, since.Unix(), few)
	return err
}

func (n *Needs) storages(ctx context.Context, q querier, warnPercent int) error {
	all, err := collect(ctx, q, func(s scanner) (v StorageLook, err error) {
		v.StorageRow, err = scanStorage(more{s, []any{&v.Server, &v.ServerUID}})
		return v, err
	}, `SELECT t.`+strings.ReplaceAll(storageColumns, ", ", ", t.")+`, v.name, v.uid FROM storages t JOIN servers v ON v.id = t.server_id ORDER BY v.name, t.name, t.node`)
	add := func(f *Few[StorageLook], s StorageLook) {
		if f.Count++; f.Count <= few {
			f.First = append(f.First, s)
		}
	}
	wanted, err2 := collect(ctx, q, func(s scanner) (v string, err error) { return v, s.Scan(&v) }, `SELECT DISTINCT storage FROM products WHERE quota > 0`)
	for _, s := range all {
		if slices.Contains(wanted, s.Name) && s.Total > 0 && s.Used*100 > s.Total*int64(warnPercent) {
			add(&n.Full, s)
		}
		if s.Doubt != "" {
			add(&n.Doubted, s)
		}
		if !s.BrakeSince.IsZero() {
			add(&n.Braked, s)
		}
		if s.External > 0 {
			add(&n.External, s)
		}
	}
	return errors.Join(err, err2)
}

func (n *Needs) servers(ctx context.Context, q querier) error {
	servers, err := collect(ctx, q, scanServer, `SELECT `+serverColumns+` FROM servers ORDER BY name`)
	if err != nil {
		return err
	}
	for _, s := range servers {
		if !s.UnreachableSince.IsZero() || !s.ClockTrusted() || len(s.RightsMissing) > 0 {
			n.Servers = append(n.Servers, s)
		}
	}
	down, err := collect(ctx, q, func(s scanner) (v NodeLook, err error) {
		var since, seen sql.NullInt64
		err = s.Scan(&v.ServerID, &v.Name, &since, &seen, &v.Server, &v.ServerUID)
		v.DownSince, v.SeenAt = at(since), at(seen)
		return v, err
	}, `SELECT n.server_id, n.name, n.down_since, n.seen_at, v.name, v.uid FROM nodes n JOIN servers v ON v.id = n.server_id
		WHERE n.online = 0 AND v.unreachable_since IS NULL ORDER BY v.name, n.name`)
	n.Nodes = Few[NodeLook]{len(down), down[:min(len(down), few)]}
	return err
}

// lookFor counts the services that meet a condition with one argument, and reads the first of them.
func lookFor(ctx context.Context, q querier, condition string, arg any) (f Few[ServiceLook], err error) {
	if err := q.QueryRowContext(ctx, `SELECT count(*) FROM services s WHERE `+condition, arg).Scan(&f.Count); err != nil || f.Count == 0 {
		return f, err
	}
	f.First, err = collect(ctx, q, func(s scanner) (v ServiceLook, err error) {
		var since sql.NullInt64
		err = s.Scan(&v.UID, &v.Name, &v.Client, &v.Server, &v.VMID, &v.Lock, &since, &v.State, &v.Scheduled, &v.LockTask)
		v.LockSince = at(since)
		return v, err
	}, `SELECT s.uid, s.name, k.name, v.name, s.vmid, s.lock, s.lock_since, s.state,
			EXISTS (SELECT 1 FROM schedules d WHERE d.service_id = s.id AND d.next_due_at IS NOT NULL), s.lock_task
		FROM services s JOIN clients k ON k.id = s.client_id JOIN servers v ON v.id = s.server_id WHERE `+condition+` ORDER BY s.id LIMIT 10`, arg)
	return f, err
}
