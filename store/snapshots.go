package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"stowage/portal"
)

// snapshotColumns read a snapshot; one that an unfinished operation removes is shown as being removed.
const snapshotColumns = `x.id, x.uid, x.service_id, x.name, x.description, x.memory, x.external,
	CASE WHEN x.removed_at IS NOT NULL THEN 'gone' WHEN x.state = 'there' AND EXISTS (SELECT 1 FROM operations o WHERE o.snapshot_id = x.id
		AND o.kind = 'snapshot_delete' AND o.state IN ('queued', 'running', 'held')) THEN 'removing' ELSE x.state END,
	x.parent, x.growth, x.taken_at, x.expires_at, x.seen_at, x.removed_at, COALESCE(f.machine, ''), COALESCE(f.used, -1)`

const snapshotTables = ` FROM snapshots x LEFT JOIN snapshot_configs f ON f.snapshot_id = x.id `

func scanSnapshot(s scanner) (v portal.Snapshot, err error) {
	var taken, expires, seen, gone sql.NullInt64
	var then string
	if err := s.Scan(&v.ID, &v.UID, &v.ServiceID, &v.Name, &v.Description, &v.Memory, &v.External, &v.State,
		&v.ParentName, &v.Growth, &taken, &expires, &seen, &gone, &then, &v.Used); err != nil {
		return v, err
	}
	v.TakenAt, v.ExpiresAt, v.SeenAt, v.GoneAt = at(taken), at(expires), at(seen), at(gone)
	if then != "" {
		v.Then = &portal.Machine{}
		return v, json.Unmarshal([]byte(then), v.Then)
	}
	return v, nil
}

func snapshots(ctx context.Context, q querier, where string, args ...any) ([]portal.Snapshot, error) {
	return collect(ctx, q, scanSnapshot, `SELECT `+snapshotColumns+snapshotTables+where, args...)
}

// snapshotsOf gives the snapshots of a service that are not gone, newest first.
func snapshotsOf(ctx context.Context, q querier, serviceID int64) ([]portal.Snapshot, error) {
	return snapshots(ctx, q, `WHERE x.service_id = $1 AND x.removed_at IS NULL ORDER BY x.taken_at DESC, x.id DESC`, serviceID)
}

// Snapshots gives the snapshots of a service that are not gone, newest first: for jobs.
func (db *DB) Snapshots(ctx context.Context, serviceID int64) ([]portal.Snapshot, error) {
	return snapshotsOf(ctx, db.read, serviceID)
}

// Snapshot gives a snapshot by id, gone or not: for jobs.
func (db *DB) Snapshot(ctx context.Context, id int64) (portal.Snapshot, error) {
	v, err := scanSnapshot(db.read.QueryRowContext(ctx, `SELECT `+snapshotColumns+snapshotTables+`WHERE x.id = $1`, id))
	return v, missing(err)
}

// ClientSnapshot gives one snapshot of a client's service by the uids of both. One that the portal has not taken is not
// found.
func (db *DB) ClientSnapshot(ctx context.Context, clientID int64, serviceUID, uid string) (portal.Snapshot, error) {
	v, err := scanSnapshot(db.read.QueryRowContext(ctx, `SELECT `+snapshotColumns+snapshotTables+`JOIN services s ON s.id = x.service_id
		WHERE s.client_id = $1 AND s.uid = $2 AND x.uid = $3 AND s.state <> 'terminated' AND x.removed_at IS NULL AND x.external = 0`, clientID, serviceUID, uid))
	return v, missing(err)
}

// vanishedFor is how long a page says that a snapshot was removed outside the portal.
const vanishedFor = 7 * 24 * time.Hour

// SnapshotsView is what the page of snapshots shows beside the service: when they were last read, what the machine is
// made of, and those that vanished lately.
type SnapshotsView struct {
	ReadAt   time.Time
	Present  *portal.Machine // nil = not read yet
	Vanished []portal.Snapshot
}

// SnapshotsView reads what the page of a client's service shows beside the service. clientID 0 means staff.
func (db *DB) SnapshotsView(ctx context.Context, clientID int64, serviceUID string) (v SnapshotsView, err error) {
	now := db.now()
	err = db.view(ctx, "snapshots view", func(q querier) error {
		var id int64
		var read sql.NullInt64
		var present string
		err := q.QueryRowContext(ctx, `SELECT s.id, s.snapshots_at, COALESCE(m.machine, '') FROM services s LEFT JOIN machine_configs m ON m.service_id = s.id
			WHERE s.uid = $1 AND ($2 = 0 OR s.client_id = $2 AND s.state <> 'terminated')`, serviceUID, clientID).Scan(&id, &read, &present)
		if err != nil {
			return missing(err)
		}
		v.ReadAt = at(read)
		if present != "" {
			v.Present = &portal.Machine{}
			if err := json.Unmarshal([]byte(present), v.Present); err != nil {
				return err
			}
		}
		v.Vanished, err = snapshots(ctx, q, `WHERE x.service_id = $1 AND x.removed_how = 'outside' AND x.external = 0 AND x.removed_at > $2 ORDER BY x.removed_at DESC LIMIT 10`,
			id, now.Add(-vanishedFor).Unix())
		return err
	})
	return v, err
}

// saveSnapshot inserts or updates a snapshot of ours within the transaction.
func (t *tx) saveSnapshot(x *portal.Snapshot, operationID int64) (err error) {
	t.touch(x.ServiceID)
	if x.ID == 0 {
		x.ID, err = t.insert(`INSERT INTO snapshots (uid, service_id, name, description, memory, external, state, parent, growth, taken_at, expires_at, seen_at, made_by)
			VALUES ($1, $2, $3, $4, $5, 0, $6, $7, $8, $9, $10, $11, $12)`, x.UID, x.ServiceID, x.Name, x.Description, x.Memory, x.State, x.ParentName, x.Growth,
			x.TakenAt.Unix(), x.ExpiresAt.Unix(), unix(x.SeenAt), operationID)
	} else {
		_, err = t.exec(`UPDATE snapshots SET memory = $1, state = $2, parent = $3, growth = $4, taken_at = $5, expires_at = $6, seen_at = $7 WHERE id = $8`,
			x.Memory, x.State, x.ParentName, x.Growth, x.TakenAt.Unix(), x.ExpiresAt.Unix(), unix(x.SeenAt), x.ID)
	}
	if err != nil || x.Then == nil {
		return err
	}
	return t.keepThen(*x)
}

// keepThen keeps what the machine was when a snapshot was taken.
func (t *tx) keepThen(x portal.Snapshot) error {
	_, err := t.exec(`INSERT INTO snapshot_configs (snapshot_id, machine, used) VALUES ($1, $2, $3)
		ON CONFLICT (snapshot_id) DO UPDATE SET machine = excluded.machine, used = CASE WHEN excluded.used >= 0 THEN excluded.used ELSE used END`, x.ID, tojson(x.Then), x.Used)
	return err
}

// closeSnapshot notes that a snapshot is no more.
func (t *tx) closeSnapshot(id, operationID int64, how string) error {
	_, err := t.exec(`UPDATE snapshots SET removed_at = $1, removed_by = $2, removed_how = $3 WHERE id = $4 AND removed_at IS NULL`,
		t.now.Unix(), idOrNull(operationID), how, id)
	return err
}

// SetDescription keeps a customer's words for a snapshot.
func (db *DB) SetDescription(ctx context.Context, clientID int64, serviceUID, uid, actor, description string) error {
	description, err := portal.CleanDescription(description)
	if err != nil {
		return err
	}
	return db.update(ctx, "set description", func(t *tx) error {
		var id, serviceID int64
		var before string
		err := t.QueryRowContext(ctx, `SELECT x.id, s.id, x.description FROM snapshots x JOIN services s ON s.id = x.service_id
			WHERE s.client_id = $1 AND s.uid = $2 AND x.uid = $3 AND s.state <> 'terminated' AND x.removed_at IS NULL AND x.external = 0`,
			clientID, serviceUID, uid).Scan(&id, &serviceID, &before)
		if err != nil {
			return missing(err)
		}
		if err := t.notSuspended(serviceID); err != nil {
			return err
		}
		if before == description {
			return nil
		}
		if _, err := t.exec(`UPDATE snapshots SET description = $1 WHERE id = $2`, description, id); err != nil {
			return err
		}
		t.touch(serviceID)
		return t.audit(Entry{Actor: actor, Action: "snapshot.description", Entity: "snapshot", EntityUID: uid, ServiceID: serviceID, Before: before, After: description})
	})
}

func diskPlaces(ctx context.Context, q querier, serverID int64, node string) (map[string]portal.DiskPlace, error) {
	rows, err := q.QueryContext(ctx, `SELECT name, type, active FROM disk_places WHERE server_id = $1 AND node IN ('', $2)`, serverID, node)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	out := map[string]portal.DiskPlace{}
	for rows.Next() {
		var name string
		var p portal.DiskPlace
		if err := rows.Scan(&name, &p.Type, &p.Active); err != nil {
			return nil, err
		}
		out[name] = p
	}
	return out, rows.Err()
}

// PlaceKey names a storage as a node sees it; node "" for one that all share.
type PlaceKey struct{ Node, Name string }

// SavePlaces keeps the storages of disks that a complete look at a server showed. It writes only what is new.
func (db *DB) SavePlaces(ctx context.Context, serverID int64, seen map[PlaceKey]portal.DiskPlace) error {
	type row struct {
		key PlaceKey
		portal.DiskPlace
	}
	known, err := collect(ctx, db.read, func(s scanner) (r row, err error) { return r, s.Scan(&r.key.Node, &r.key.Name, &r.Type, &r.Active) },
		`SELECT node, name, type, active FROM disk_places WHERE server_id = $1`, serverID)
	if err != nil {
		return err
	}
	same := len(known) == len(seen)
	for _, r := range known {
		same = same && seen[r.key] == r.DiskPlace
	}
	if same {
		return nil
	}
	return db.update(ctx, "save places", func(t *tx) error {
		if _, err := t.exec(`DELETE FROM disk_places WHERE server_id = $1`, serverID); err != nil {
			return err
		}
		for key, p := range seen {
			if _, err := t.exec(`INSERT INTO disk_places (server_id, node, name, type, active) VALUES ($1, $2, $3, $4, $5)`, serverID, key.Node, key.Name, p.Type, p.Active); err != nil {
				return err
			}
		}
		return nil
	})
}

// SnapshotSight is one reading of a machine's snapshots.
type SnapshotSight struct {
	ServiceID int64
	At        time.Time       // right before it was read
	Machine   *portal.Machine // as it is now; nil = not read
	List      []SeenSnapshot
	Why       *portal.Text // why it can't take snapshots, "" = it can; nil = not asked
	Used      int64        // bytes that its disks take now; -1 = the storage doesn't tell
}

// SeenSnapshot is a snapshot as Proxmox lists it.
type SeenSnapshot struct {
	Name        string
	Description string
	Parent      string
	At          time.Time
	Memory      bool
	Whole       bool            // not being made or removed
	Then        *portal.Machine // what the machine was; nil = not read
}

// snapshotsAge is how old the note of a reading may become that changed nothing.
const snapshotsAge = time.Minute

// SaveSnapshots keeps what a reading of a machine's snapshots showed: what the provider took gets a row that is only
// shown, what is not there any more is closed, and what was given up and has come about after all is taken up. It
// writes only what has changed.
func (db *DB) SaveSnapshots(ctx context.Context, sight SnapshotSight) error {
	rows, err := snapshotsOf(ctx, db.read, sight.ServiceID)
	if err != nil {
		return err
	}
	var read sql.NullInt64
	var why portal.Text
	var machine string
	err = db.read.QueryRowContext(ctx, `SELECT s.snapshots_at, s.snapshots_why, COALESCE(m.machine, '') FROM services s LEFT JOIN machine_configs m ON m.service_id = s.id
		WHERE s.id = $1`, sight.ServiceID).Scan(&read, &why, &machine)
	if err != nil {
		return missing(err)
	}
	stale := db.now().Sub(at(read)).Abs() >= snapshotsAge
	same := (sight.Why == nil || *sight.Why == why) && (sight.Machine == nil || tojson(sight.Machine) == machine)
	if same && !stale && !sight.differs(rows) {
		return nil
	}
	return db.update(ctx, "save snapshots", func(t *tx) error {
		rows, err := snapshotsOf(ctx, t, sight.ServiceID)
		if err != nil {
			return err
		}
		if !same || sight.differs(rows) {
			t.touch(sight.ServiceID)
		}
		if _, err := t.exec(`UPDATE services SET snapshots_at = $1, snapshots_why = COALESCE($2, snapshots_why) WHERE id = $3`, t.now.Unix(), sight.Why, sight.ServiceID); err != nil {
			return err
		}
		if sight.Machine != nil {
			if _, err := t.exec(`INSERT INTO machine_configs (service_id, machine) VALUES ($1, $2) ON CONFLICT (service_id) DO UPDATE SET machine = excluded.machine`,
				sight.ServiceID, tojson(sight.Machine)); err != nil {
				return err
			}
		}
		return t.reconcile(sight, rows)
	})
}

// differs tells whether a reading shows anything that the rows don't say.
func (s SnapshotSight) differs(rows []portal.Snapshot) bool {
	if len(rows) != len(s.List) {
		return true
	}
	for _, seen := range s.List {
		x := byName(rows, seen.Name)
		if x == nil || s.news(*x, seen) {
			return true
		}
	}
	return false
}

// news tells whether a snapshot is seen otherwise than its row says.
func (s SnapshotSight) news(x portal.Snapshot, seen SeenSnapshot) bool {
	return x.ParentName != seen.Parent || x.External && x.Description != seen.Description ||
		seen.Whole && x.State != portal.SnapshotThere && x.State != portal.SnapshotRemoving ||
		seen.Then != nil && x.Then == nil || s.growth(x) != x.Growth
}

// growth gives by how much the machine's disks have grown since a snapshot was taken; -1 where nobody knows.
func (s SnapshotSight) growth(x portal.Snapshot) int64 {
	if x.External || x.Used < 0 || s.Used < 0 {
		return x.Growth
	}
	return max(s.Used-x.Used, 0)
}

func byName(rows []portal.Snapshot, name string) *portal.Snapshot {
	for i := range rows {
		if rows[i].Name == name {
			return &rows[i]
		}
	}
	return nil
}

// reconcile brings the rows of a machine's snapshots in step with a reading. What an unfinished operation has in hand
// is left to it.
func (t *tx) reconcile(sight SnapshotSight, rows []portal.Snapshot) error {
	hand, err := t.inHand(sight.ServiceID)
	if err != nil {
		return err
	}
	for _, seen := range sight.List {
		x := byName(rows, seen.Name)
		if x == nil {
			if err := t.newlySeen(sight, seen); err != nil {
				return err
			}
			continue
		}
		if !sight.news(*x, seen) || hand.making[x.ID] {
			continue
		}
		state := string(portal.SnapshotThere)
		if !seen.Whole && (x.State == portal.SnapshotTaking || x.State == portal.SnapshotFailed) {
			state = string(portal.SnapshotFailed)
		}
		if x.External {
			x.Description = seen.Description
		}
		if _, err := t.exec(`UPDATE snapshots SET state = $1, parent = $2, description = $3, growth = $4, memory = $5, seen_at = $6 WHERE id = $7`,
			state, seen.Parent, x.Description, sight.growth(*x), seen.Memory, t.now.Unix(), x.ID); err != nil {
			return err
		}
		if seen.Then != nil && x.Then == nil && !x.External {
			x.Then = seen.Then
			if err := t.keepThen(*x); err != nil {
				return err
			}
		}
	}
	for _, x := range rows {
		if hand.making[x.ID] || hand.removing[x.ID] || hand.all || x.SeenAt.Unix() >= sight.At.Unix() || sight.shows(x.Name) {
			continue
		}
		if err := t.vanished(x); err != nil {
			return err
		}
	}
	return nil
}

func (s SnapshotSight) shows(name string) bool {
	for _, seen := range s.List {
		if seen.Name == name {
			return true
		}
	}
	return false
}

// inHand is what unfinished operations of a service have in hand of its snapshots.
type inHand struct {
	making, removing map[int64]bool
	all              bool // the machine is being replaced
}

func (t *tx) inHand(serviceID int64) (h inHand, err error) {
	h = inHand{making: map[int64]bool{}, removing: map[int64]bool{}}
	open, err := operations(t.ctx, t, `WHERE o.service_id = $1 AND o.state IN ('queued', 'running', 'held')`, serviceID)
	for _, o := range open {
		switch o.Kind {
		case portal.KindSnapshot:
			h.making[o.SnapshotID] = true
		case portal.KindSnapshotDelete:
			h.removing[o.SnapshotID] = true
		case portal.KindRestore, portal.KindReinstall:
			h.all = h.all || o.State != portal.StateQueued
		}
	}
	return h, err
}

// newlySeen takes up a snapshot that has no open row: one of ours that was closed too early, or the provider's.
func (t *tx) newlySeen(sight SnapshotSight, seen SeenSnapshot) error {
	if !seen.Whole {
		return nil
	}
	if uid, ours := portal.SnapshotUID(seen.Name); ours {
		r, err := t.exec(`UPDATE snapshots SET removed_at = NULL, removed_by = NULL, removed_how = '', state = 'there', parent = $1, seen_at = $2
			WHERE uid = $3 AND service_id = $4 AND external = 0 AND removed_at < $5`, seen.Parent, t.now.Unix(), uid, sight.ServiceID, sight.At.Unix())
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil || n > 0 {
			return err
		}
		var known bool
		if err := t.QueryRowContext(t.ctx, `SELECT EXISTS (SELECT 1 FROM snapshots WHERE uid = $1)`, uid).Scan(&known); err != nil || known {
			return err // removed in this very moment
		}
	}
	_, err := t.exec(`INSERT INTO snapshots (uid, service_id, name, description, memory, external, state, parent, taken_at, seen_at) VALUES ($1, $2, $3, $4, $5, 1, 'there', $6, $7, $8)`,
		t.db.UID(), sight.ServiceID, seen.Name, seen.Description, seen.Memory, seen.Parent, unix(seen.At), t.now.Unix())
	return err
}

// vanished closes a snapshot that is not on the machine. One of ours that was there has been removed by somebody else.
func (t *tx) vanished(x portal.Snapshot) error {
	if x.External || x.State == portal.SnapshotTaking || x.State == portal.SnapshotFailed {
		how := "never made"
		if x.External {
			how = "outside"
		}
		return t.closeSnapshot(x.ID, 0, how)
	}
	if err := t.closeSnapshot(x.ID, 0, "outside"); err != nil {
		return err
	}
	if err := t.audit(Entry{Actor: "engine", Action: "snapshot.vanished", Entity: "snapshot", EntityUID: x.UID, ServiceID: x.ServiceID, After: x.Name}); err != nil {
		return err
	}
	return t.post(Message{Channel: ToStaff, ServiceID: x.ServiceID, Topic: "snapshot.vanished", Payload: map[string]any{"why": "snapshot " + x.Name + " is not on the machine any more, and the portal did not remove it"}})
}

// NeedsSnapshotsRead tells whether a machine's snapshots are to be looked at from time to time: its product sells some,
// or it has some.
func (db *DB) NeedsSnapshotsRead(ctx context.Context, serviceID int64) (needs bool, err error) {
	err = db.read.QueryRowContext(ctx, `SELECT p.snapshots > 0 OR EXISTS (SELECT 1 FROM snapshots x WHERE x.service_id = s.id AND x.removed_at IS NULL)
		FROM services s JOIN products p ON p.id = s.product_id WHERE s.id = $1`, serviceID).Scan(&needs)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return needs, err
}
