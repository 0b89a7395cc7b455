package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"strings"
	"time"

	"stowage/portal"
)

const serverColumns = `id, uid, name, endpoints, fingerprints, ca, token_id, release, seen_at, unreachable_since,
	trouble, skew, rights_at, rights_missing, checked_at, findings`

func scanServer(s scanner) (v portal.Server, err error) {
	var endpoints, prints, missingRights, findings string
	var seen, rights, checked, since sql.NullInt64
	var skew int64
	err = s.Scan(&v.ID, &v.UID, &v.Name, &endpoints, &prints, &v.CA, &v.TokenID, &v.Release, &seen, &since,
		&v.Trouble, &skew, &rights, &missingRights, &checked, &findings)
	if err != nil {
		return v, err
	}
	v.SeenAt, v.UnreachableSince, v.RightsAt, v.CheckedAt = at(seen), at(since), at(rights), at(checked)
	v.Skew = time.Duration(skew) * time.Second
	return v, unjson([]string{endpoints, prints, missingRights, findings},
		&v.Endpoints, &v.Fingerprints, &v.RightsMissing, &v.Findings)
}

// unjson reads JSON columns into their values.
func unjson(columns []string, values ...any) error {
	for i, c := range columns {
		if err := json.Unmarshal([]byte(c), values[i]); err != nil {
			return err
		}
	}
	return nil
}

// tojson writes a value for a JSON column; nil slices become [].
func tojson(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // only plain values are stored
	}
	if string(b) == "null" {
		return "[]"
	}
	return string(b)
}

// AddServer connects a Proxmox VE. The token's secret is sealed before it is written.
func (db *DB) AddServer(ctx context.Context, actor string, s portal.Server, secret string) (portal.Server, error) {
	name, err := portal.CleanName("name", s.Name)
	if err != nil {
		return s, err
	}
	s.Name, s.UID = name, db.UID()
	sealed, err := db.keys.seal("servers/secret/"+s.UID, []byte(secret))
	if err != nil {
		return s, explain("add server", err)
	}
	err = db.update(ctx, "add server", func(t *tx) error {
		s.ID, err = t.insert(`INSERT INTO servers (uid, name, endpoints, fingerprints, ca, token_id, secret, created_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
			s.UID, s.Name, tojson(s.Endpoints), tojson(s.Fingerprints), s.CA, s.TokenID, sealed, t.now.Unix())
		if unique(err, "servers.name") {
			return portal.Invalid("name", "There is a server named %q already.", s.Name)
		}
		if err != nil {
			return err
		}
		return t.audit(Entry{Actor: actor, Action: "server.add", Entity: "server", EntityUID: s.UID,
			After: tojson(map[string]any{"name": s.Name, "endpoints": s.Endpoints, "token": s.TokenID})})
	})
	return s, err
}

// Servers gives all servers by name.
func (db *DB) Servers(ctx context.Context) ([]portal.Server, error) {
	return collect(ctx, db.read, scanServer, `SELECT `+serverColumns+` FROM servers ORDER BY name`)
}

// Server gives one server by id.
func (db *DB) Server(ctx context.Context, id int64) (portal.Server, error) {
	v, err := scanServer(db.read.QueryRowContext(ctx, `SELECT `+serverColumns+` FROM servers WHERE id = $1`, id))
	return v, missing(err)
}

// ServerNamed gives one server by name or uid.
func (db *DB) ServerNamed(ctx context.Context, name string) (portal.Server, error) {
	v, err := scanServer(db.read.QueryRowContext(ctx, `SELECT `+serverColumns+` FROM servers WHERE name = $1 OR uid = $2`, name, strings.ToLower(name)))
	return v, missing(err)
}

// ServerSecret opens the token's secret of a server.
func (db *DB) ServerSecret(ctx context.Context, id int64) (string, error) {
	var uid string
	var sealed []byte
	err := db.read.QueryRowContext(ctx, `SELECT uid, secret FROM servers WHERE id = $1`, id).Scan(&uid, &sealed)
	if err != nil {
		return "", missing(err)
	}
	plain, err := db.keys.open("servers/secret/"+uid, sealed)
	if err != nil {
		return "", ErrWrongKey
	}
	return string(plain), nil
}

// SaveRights keeps what a look at a server's permissions found.
func (db *DB) SaveRights(ctx context.Context, serverID int64, missingRights []string) error {
	return db.update(ctx, "save rights", func(t *tx) error {
		_, err := t.exec(`UPDATE servers SET rights_at = $1, rights_missing = $2 WHERE id = $3`, t.now.Unix(), tojson(missingRights), serverID)
		return err
	})
}

// SaveCheck keeps what a check of a server found.
func (db *DB) SaveCheck(ctx context.Context, serverID int64, findings []portal.Finding) error {
	return db.update(ctx, "save check", func(t *tx) error {
		_, err := t.exec(`UPDATE servers SET checked_at = $1, findings = $2 WHERE id = $3`, t.now.Unix(), tojson(kept(findings)), serverID)
		return err
	})
}

// RequestCheck asks for a server to be checked soon.
func (db *DB) RequestCheck(ctx context.Context, actor, serverUID string) error {
	return db.update(ctx, "request check", func(t *tx) error {
		if err := t.one(portal.NotFound(), `UPDATE servers SET checked_at = 0 WHERE uid = $1`, serverUID); err != nil {
			return err
		}
		return t.audit(Entry{Actor: actor, Action: "server.check", Entity: "server", EntityUID: serverUID})
	})
}

const productColumns = `id, uid, name, quota, storage, mode, mode_choice, compress, bwlimit, fleecing, eviction, last_copy,
	spread, start_hours, protect, safety_copy, hardware, snapshots, snapshot_days, snapshot_memory`

func scanProduct(s scanner) (v portal.Product, err error) {
	var spread, hours int64
	var hardware string
	err = s.Scan(&v.ID, &v.UID, &v.Name, &v.Quota, &v.Storage, &v.Mode, &v.ModeChoice, &v.Compress, &v.BWLimit, &v.Fleecing,
		&v.Policy.Eviction, &v.Policy.LastCopy, &spread, &hours, &v.Protect, &v.SafetyCopy, &hardware,
		&v.Snapshots, &v.SnapshotDays, &v.SnapMemory)
	if err != nil {
		return v, err
	}
	v.Spread, v.StartWindow = time.Duration(spread)*time.Minute, time.Duration(hours)*time.Hour
	return v, json.Unmarshal([]byte(hardware), &v.Spec)
}

// AddProduct adds what is sold.
func (db *DB) AddProduct(ctx context.Context, actor string, p portal.Product) (portal.Product, error) {
	if err := p.Validate(); err != nil {
		return p, err
	}
	p.UID = db.UID()
	err := db.update(ctx, "add product", func(t *tx) (err error) {
		p.ID, err = t.insert(`INSERT INTO products (uid, name, quota, storage, mode, mode_choice, compress, bwlimit, fleecing, eviction,
				last_copy, spread, start_hours, protect, safety_copy, hardware, snapshots, snapshot_days, snapshot_memory, created_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)`,
			p.UID, p.Name, p.Quota, p.Storage, p.Mode, p.ModeChoice, p.Compress, p.BWLimit, p.Fleecing, p.Policy.Eviction,
			p.Policy.LastCopy, int64(p.Spread/time.Minute), int64(p.StartWindow/time.Hour), p.Protect, p.SafetyCopy, tojson(p.Spec),
			p.Snapshots, p.SnapshotDays, p.SnapMemory, t.now.Unix())
		if unique(err, "products.name") {
			return portal.Invalid("name", "There is a product named %q already.", p.Name)
		}
		if err != nil {
			return err
		}
		return t.audit(Entry{Actor: actor, Action: "product.add", Entity: "product", EntityUID: p.UID, After: tojson(p)})
	})
	return p, err
}

// SetProduct changes what is sold. Machines, and copies above a lower quota, stay as they are until the service's package
// is changed or staff apply it.
func (db *DB) SetProduct(ctx context.Context, actor string, p portal.Product) error {
	if err := p.Validate(); err != nil {
		return err
	}
	return db.update(ctx, "set product", func(t *tx) error {
		before, err := product(ctx, t, p.ID)
		if err != nil {
			return err
		}
		_, err = t.exec(`UPDATE products SET name = $1, quota = $2, storage = $3, mode = $4, mode_choice = $5, compress = $6, bwlimit = $7,
				fleecing = $8, eviction = $9, last_copy = $10, spread = $11, start_hours = $12, protect = $13, safety_copy = $14, hardware = $15,
				snapshots = $16, snapshot_days = $17, snapshot_memory = $18 WHERE id = $19`,
			p.Name, p.Quota, p.Storage, p.Mode, p.ModeChoice, p.Compress, p.BWLimit, p.Fleecing, p.Policy.Eviction, p.Policy.LastCopy,
			int64(p.Spread/time.Minute), int64(p.StartWindow/time.Hour), p.Protect, p.SafetyCopy, tojson(p.Spec), p.Snapshots, p.SnapshotDays, p.SnapMemory, p.ID)
		if unique(err, "products.name") {
			return portal.Invalid("name", "There is a product named %q already.", p.Name)
		}
		if err != nil {
			return err
		}
		return t.audit(Entry{Actor: actor, Action: "product.set", Entity: "product", EntityUID: before.UID, Before: tojson(before), After: tojson(p)})
	})
}

// Products gives all products by name.
func (db *DB) Products(ctx context.Context) ([]portal.Product, error) {
	return collect(ctx, db.read, scanProduct, `SELECT `+productColumns+` FROM products ORDER BY name`)
}

// ProductNamed gives one product by name or uid.
func (db *DB) ProductNamed(ctx context.Context, name string) (portal.Product, error) {
	v, err := scanProduct(db.read.QueryRowContext(ctx, `SELECT `+productColumns+` FROM products WHERE name = $1 OR uid = $2`, name, strings.ToLower(name)))
	return v, missing(err)
}

// Product gives one product by id.
func (db *DB) Product(ctx context.Context, id int64) (portal.Product, error) {
	return product(ctx, db.read, id)
}

func product(ctx context.Context, q querier, id int64) (portal.Product, error) {
	v, err := scanProduct(q.QueryRowContext(ctx, `SELECT `+productColumns+` FROM products WHERE id = $1`, id))
	return v, missing(err)
}

// keptFinding is a finding as its column holds it: with the texts as they are, not as English.
type keptFinding struct{ Level, Text, Mend string }

func kept(findings []portal.Finding) []keptFinding {
	out := make([]keptFinding, len(findings))
	for i, f := range findings {
		out[i] = keptFinding{f.Level, string(f.Text), string(f.Mend)}
	}
	return out
}
