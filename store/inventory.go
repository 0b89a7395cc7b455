package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"stowage/portal"
)

// Inventory is one complete look at a server: its nodes, its storages, and where its machines are.
type Inventory struct {
	ServerID  int64
	Release   string
	Skew      time.Duration
	Nodes     []portal.Node
	Storages  []portal.Storage // those that take archives
	Sightings []Sighting
}

// SaveInventory keeps what a look at a server showed, and that the server can be reached.
func (db *DB) SaveInventory(ctx context.Context, in Inventory) error {
	return db.update(ctx, "save inventory", func(t *tx) error {
		var down sql.NullInt64
		var release string
		var was int64
		if err := t.QueryRowContext(ctx, `SELECT unreachable_since, release, skew FROM servers WHERE id = $1`, in.ServerID).Scan(&down, &release, &was); err != nil {
			return missing(err)
		}
		if in.Release == "" {
			in.Release = release
		}
		if _, err := t.exec(`UPDATE servers SET seen_at = $1, unreachable_since = NULL, trouble = '', release = $2 WHERE id = $3`, t.now.Unix(), in.Release, in.ServerID); err != nil {
			return err
		}
		if err := t.saveSkew(in.ServerID, was, in.Skew); err != nil {
			return err
		}
		if down.Valid {
			if err := t.touchServer(in.ServerID); err != nil {
				return err
			}
		}
		for some := range slices.Chunk(in.Nodes, rowsAtOnce) {
			if err := t.saveNodes(in.ServerID, some); err != nil {
				return err
			}
		}
		for some := range slices.Chunk(in.Storages, rowsAtOnce) {
			if err := t.saveStorages(in.ServerID, some); err != nil {
				return err
			}
		}
		return t.sightings(in.Sightings)
	})
}

func (t *tx) saveNodes(serverID int64, nodes []portal.Node) error {
	args := []any{serverID, t.now.Unix()}
	for _, n := range nodes {
		args = append(args, n.Name, n.Online, downSince(n, t.now), n.ForeignDump)
	}
	_, err := t.exec(`INSERT INTO nodes (server_id, seen_at, name, online, down_since, foreign_dump) VALUES `+
		tuples(len(nodes), 2, 4, `($1, $2, $%d, $%d, $%d, $%d)`)+`
		ON CONFLICT (server_id, name) DO UPDATE SET online = excluded.online, seen_at = excluded.seen_at, foreign_dump = excluded.foreign_dump,
			down_since = CASE WHEN excluded.online = 1 THEN NULL ELSE COALESCE(nodes.down_since, excluded.down_since) END`, args...)
	return err
}

func (t *tx) saveStorages(serverID int64, storages []portal.Storage) error {
	args := []any{serverID, t.now.Unix()}
	for _, s := range storages {
		args = append(args, s.Node, s.Name, s.Type, s.Content, s.Shared, s.Active, s.Total, s.Used)
	}
	_, err := t.exec(`INSERT INTO storages (server_id, seen_at, node, name, type, content, shared, active, total, used) VALUES `+
		tuples(len(storages), 2, 8, `($1, $2, $%d, $%d, $%d, $%d, $%d, $%d, $%d, $%d)`)+`
		ON CONFLICT (server_id, node, name) DO UPDATE SET type = excluded.type, content = excluded.content, active = excluded.active,
			total = CASE WHEN excluded.total > 0 THEN excluded.total ELSE storages.total END,
			used = CASE WHEN excluded.total > 0 THEN excluded.used ELSE storages.used END, seen_at = excluded.seen_at`, args...)
	return err
}

func downSince(n portal.Node, now time.Time) any {
	if n.Online {
		return nil
	}
	return now.Unix()
}

// SaveUnreachable keeps that a server could not be looked at, and why (for staff).
func (db *DB) SaveUnreachable(ctx context.Context, serverID int64, trouble string) error {
	return db.update(ctx, "save unreachable", func(t *tx) error {
		var since sql.NullInt64
		var known string
		if err := t.QueryRowContext(ctx, `SELECT unreachable_since, trouble FROM servers WHERE id = $1`, serverID).Scan(&since, &known); err != nil {
			return missing(err)
		}
		if since.Valid && known == trouble {
			return nil
		}
		if _, err := t.exec(`UPDATE servers SET unreachable_since = COALESCE(unreachable_since, $1), trouble = $2 WHERE id = $3`, t.now.Unix(), trouble, serverID); err != nil {
			return err
		}
		if since.Valid {
			return nil
		}
		if err := t.touchServer(serverID); err != nil {
			return err
		}
		return t.post(Message{Channel: "staff", Topic: "server.unreachable", Payload: map[string]any{"server": serverID, "why": trouble}})
	})
}

// SaveSkew keeps how far a server's clock is from ours.
func (db *DB) SaveSkew(ctx context.Context, serverID int64, skew time.Duration) error {
	var known int64
	if err := db.read.QueryRowContext(ctx, `SELECT skew FROM servers WHERE id = $1`, serverID).Scan(&known); err != nil {
		return missing(err)
	}
	if known == int64(skew/time.Second) {
		return nil
	}
	return db.update(ctx, "save skew", func(t *tx) error {
		return t.saveSkew(serverID, known, skew)
	})
}

// saveSkew keeps how far a server's clock is from ours, and tells staff when they no longer agree. was is what is known,
// in seconds.
func (t *tx) saveSkew(serverID, was int64, skew time.Duration) error {
	if was == int64(skew/time.Second) {
		return nil
	}
	if _, err := t.exec(`UPDATE servers SET skew = $1 WHERE id = $2`, int64(skew/time.Second), serverID); err != nil {
		return err
	}
	before, now := portal.Server{Skew: time.Duration(was) * time.Second}, portal.Server{Skew: skew}
	if now.ClockTrusted() || !before.ClockTrusted() {
		return nil
	}
	return t.post(Message{Channel: ToStaff, Topic: portal.TopicClock, Payload: map[string]any{
		"server": serverID, "why": fmt.Sprintf("the server's clock and ours differ by %s; more than %s is not trusted", skew.Round(time.Second), portal.SkewLimit)}})
}

// touchServer touches the pages of all services of a server that somebody has open.
func (t *tx) touchServer(serverID int64) error {
	watched := t.db.Watched()
	if len(watched) == 0 {
		return nil
	}
	ids, err := collect(t.ctx, t, func(s scanner) (id int64, err error) { return id, s.Scan(&id) },
		`SELECT id FROM services WHERE server_id = $1`, serverID)
	for _, id := range ids {
		if slices.Contains(watched, id) {
			t.touch(id)
		}
	}
	return err
}

// Nodes gives the nodes of a server.
func (db *DB) Nodes(ctx context.Context, serverID int64) ([]portal.Node, error) {
	return collect(ctx, db.read, func(s scanner) (n portal.Node, err error) {
		var down, seen sql.NullInt64
		err = s.Scan(&n.ServerID, &n.Name, &n.Online, &down, &seen, &n.ForeignDump)
		n.DownSince, n.SeenAt = at(down), at(seen)
		return n, err
	}, `SELECT server_id, name, online, down_since, seen_at, foreign_dump FROM nodes WHERE server_id = $1 ORDER BY name`, serverID)
}

const storageColumns = `id, server_id, node, name, type, content, shared, active, total, used, seen_at, listed_at, listings, doubt, doubt_since, brake_since, external, known_total, confirmed, brake_free`

// StorageRow is a storage with what its listings are compared against.
type StorageRow struct {
	portal.Storage
	KnownTotal int64
	Confirmed  bool
	BrakeFree  time.Time // until then the brake stays off: staff have looked
}

func scanStorage(s scanner) (v StorageRow, err error) {
	var seen, listed, doubt, brake, free sql.NullInt64
	err = s.Scan(&v.ID, &v.ServerID, &v.Node, &v.Name, &v.Type, &v.Content, &v.Shared, &v.Active, &v.Total, &v.Used, &seen, &listed, &v.Listings,
		&v.Doubt, &doubt, &brake, &v.External, &v.KnownTotal, &v.Confirmed, &free)
	v.SeenAt, v.ListedAt, v.DoubtSince, v.BrakeSince, v.BrakeFree = at(seen), at(listed), at(doubt), at(brake), at(free)
	return v, err
}

// Storages gives the storages of a server that take archives.
func (db *DB) Storages(ctx context.Context, serverID int64) ([]StorageRow, error) {
	return collect(ctx, db.read, scanStorage, `SELECT `+storageColumns+` FROM storages WHERE server_id = $1 ORDER BY name, node`, serverID)
}

// StorageAt gives the storage that archives of a node go to: the shared one, or the node's own.
func (db *DB) StorageAt(ctx context.Context, serverID int64, node, name string) (StorageRow, error) {
	v, err := scanStorage(db.read.QueryRowContext(ctx, `SELECT `+storageColumns+` FROM storages WHERE server_id = $1 AND name = $2 AND node IN ('', $3)
		ORDER BY node LIMIT 1`, serverID, name, node))
	return v, missing(err)
}

// StorageOn gives a storage by id if it belongs to the server with the uid.
func (db *DB) StorageOn(ctx context.Context, serverUID string, id int64) (StorageRow, error) {
	v, err := scanStorage(db.read.QueryRowContext(ctx, `SELECT `+storageColumns+` FROM storages
		WHERE id = $1 AND server_id = (SELECT id FROM servers WHERE uid = $2)`, id, serverUID))
	return v, missing(err)
}

// brakeRest is how long the brake stays off once staff have let removals go on: what pulled it is over by then.
const brakeRest = time.Hour

// SetBrake stops automatic deletions on a storage, or lets them go on.
func (db *DB) SetBrake(ctx context.Context, actor string, s portal.Storage, on bool, why string) error {
	return db.update(ctx, "set brake", func(t *tx) error {
		var since any
		free := t.now.Add(brakeRest).Unix()
		if on {
			since, free = t.now.Unix(), 0
		}
		settled := portal.Refuse(portal.CodeConflict, "Removals go on there already.")
		if err := t.one(settled, `UPDATE storages SET brake_since = $1, brake_free = $2 WHERE id = $3 AND ($1 IS NOT NULL OR brake_since IS NOT NULL)`, since, free, s.ID); err != nil {
			return err
		}
		action := "storage.brake"
		if !on {
			action = "storage.unbrake"
		}
		if err := t.audit(Entry{Actor: actor, Action: action, Entity: "storage", EntityUID: s.Place(), After: why}); err != nil {
			return err
		}
		if !on {
			return nil
		}
		return t.post(Message{Channel: "staff", Topic: "storage.brake", Payload: map[string]any{"server": s.ServerID, "storage": s.Place(), "why": why}})
	})
}

// ConfirmDoubt is a person's word that what is absent from a storage is really gone.
func (db *DB) ConfirmDoubt(ctx context.Context, actor string, storageID int64) error {
	return db.update(ctx, "confirm doubt", func(t *tx) error {
		settled := portal.Refuse(portal.CodeConflict, "That storage is not in doubt any more: there is nothing to confirm.")
		if err := t.one(settled, `UPDATE storages SET confirmed = 1 WHERE id = $1 AND doubt <> ''`, storageID); err != nil {
			return err
		}
		var place string
		if err := t.QueryRowContext(ctx, `SELECT node || '/' || name FROM storages WHERE id = $1`, storageID).Scan(&place); err != nil {
			return err
		}
		return t.audit(Entry{Actor: actor, Action: "storage.confirm", Entity: "storage", EntityUID: place})
	})
}
