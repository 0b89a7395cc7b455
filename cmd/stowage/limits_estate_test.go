package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"stowage/portal"
	"stowage/store"
	"stowage/web"
)

// estate is the database of a large hosting company, made for measuring. Its rows are those that the portal would
// have written: every copy has the operation that made it and the slot that it was made for.
type estate struct {
	dir      string
	services int
	backups  int
	now      time.Time // to which the rows lead up

	installation string
	markKey      []byte
}

const (
	estateServers  = 40
	estateNodes    = 25 // of each server
	estatePassword = "correct horse battery"
	estateSecret   = "00000000-0000-4000-8000-000000000001"
	// Every twentieth service has the largest product, and thirty copies. Those are also the ones with a ledger of
	// thirty days in full; the others have a slot for each copy.
	estateLarge  = 20
	estateCopies = 30
)

// newEstate makes one with so many services, a fifth as many clients, and ten copies for each service on average.
func newEstate(t *testing.T, parent string, services int) *estate {
	t.Helper()
	dir, err := os.MkdirTemp(parent, "stowage-estate-")
	if err != nil {
		t.Fatal(err)
	}
	e := &estate{dir: dir, services: services, now: time.Now().Truncate(time.Second)}
	ctx := t.Context()
	if err := store.CreateKey(e.path("stowage.key")); err != nil {
		t.Fatal(err)
	}
	db := e.open(t, func() time.Time { return e.now })
	if _, err := db.TakeLease(ctx, "limits"); err != nil {
		t.Fatal(err)
	}
	if err := e.begin(ctx, db); err != nil {
		t.Fatal(err)
	}
	e.installation, e.markKey = db.Installation(), db.MarkKey()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := e.fill(ctx); err != nil {
		t.Fatal(err)
	}
	return e
}

func (e *estate) path(name string) string { return filepath.Join(e.dir, name) }

// open opens the database as the portal does.
func (e *estate) open(t *testing.T, now func() time.Time) *store.DB {
	t.Helper()
	keys, err := store.ReadKey(e.path("stowage.key"))
	if err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(store.Options{Path: e.path("stowage.db"), Keys: keys, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := db.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db
}

// copy makes a second one of the same content.
func (e *estate) copy(t *testing.T) *estate {
	t.Helper()
	other := *e
	var err error
	if other.dir, err = os.MkdirTemp(filepath.Dir(e.dir), "stowage-estate-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(other.dir) })
	for _, name := range []string{"stowage.key", "stowage.db"} {
		if err := copyOf(e.path(name), other.path(name)); err != nil {
			t.Fatal(err)
		}
	}
	return &other
}

func copyOf(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close()) // what follows shall not wait for the disk on our account
}

// begin adds servers and products through the portal's own door: their rows hold what only the store knows to seal.
func (e *estate) begin(ctx context.Context, db *store.DB) error {
	for i := range estateServers {
		s, err := db.AddServer(ctx, "cli", portal.Server{
			Name: fmt.Sprintf("cluster%02d", i+1), Endpoints: []string{fmt.Sprintf("https://127.0.0.1:%d", 1+i)}, TokenID: "portal@pve!api",
		}, estateSecret)
		if err != nil {
			return err
		}
		in := store.Inventory{ServerID: s.ID, Release: "9.2"}
		for n := range estateNodes {
			in.Nodes = append(in.Nodes, portal.Node{Name: fmt.Sprintf("pve%d", n+1), Online: true})
			in.Storages = append(in.Storages, portal.Storage{
				Name: "local", Node: fmt.Sprintf("pve%d", n+1), Type: "dir", Content: "backup,images", Active: true, Total: 64 << 40, Used: 20 << 40,
			})
		}
		if err := db.SaveInventory(ctx, in); err != nil {
			return err
		}
	}
	for i, name := range []string{"VPS S", "VPS M", "VPS L"} {
		p := portal.NewProduct(name)
		p.Quota, p.Storage, p.Protect = []int{8, 9, estateCopies}[i], "local", 2
		if _, err := db.AddProduct(ctx, "cli", p); err != nil {
			return err
		}
	}
	return nil
}

// bulk opens a connection that writes much at once and survives no power cut.
func (e *estate) bulk() (*sql.DB, error) {
	file := url.URL{Scheme: "file", Path: e.path("stowage.db")}
	db, err := sql.Open("sqlite3", file.String()+"?_synchronous=OFF&_journal_mode=OFF&_cache_size=-1000000&_busy_timeout=10000&_stmt_cache_size=8")
	if err == nil {
		db.SetMaxOpenConns(1)
		_, err = db.Exec(`PRAGMA temp_store = MEMORY`)
	}
	return db, err
}

// fill writes the rest: clients, logins, services, schedules, copies, operations, slots and the audit log.
func (e *estate) fill(ctx context.Context) error {
	db, err := e.bulk()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	hash, err := web.HashPassword(estatePassword)
	if err != nil {
		return err
	}
	rebuild, err := dropIndexes(ctx, db, "operations", "backups", "slots", "services", "schedules", "audit")
	if err != nil {
		return err
	}
	zone, err := portal.Zone("Europe/Berlin")
	if err != nil {
		return err
	}
	midnight := time.Date(e.now.In(zone).Year(), e.now.In(zone).Month(), e.now.In(zone).Day(), 0, 0, 0, 0, zone)
	for _, fill := range []struct {
		text string
		args []any
	}{
		{`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1)
			INSERT INTO clients (id, uid, name, zone, created_at) SELECT i, printf('01client%018d', i), 'Client ' || i, 'Europe/Berlin', $2 FROM n`,
			[]any{e.services / 5, e.now.AddDate(-1, 0, 0).Unix()}},
		{`INSERT INTO logins (uid, client_id, email, name, role, password_hash, created_at)
			SELECT printf('01login0%018d', id), id, 'c' || id || '@example.test', name, 'owner', $1, created_at FROM clients`, []any{hash}},
		// Five services in a row are one client's; every twentieth service is large.
		{`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1)
			INSERT INTO services (id, uid, client_id, product_id, server_id, vmid, name, state, machine_uuid, machine_made, machine_macs, node, status, uptime, hardware, seen_at, config_at, created_at)
			SELECT i, printf('01service%017d', i), (i + 4) / 5, CASE WHEN i % 20 = 0 THEN 3 WHEN i % 20 = 19 THEN 1 ELSE 2 END, 1 + i % 40, 100 + i, 'h' || (100 + i), 'active',
				printf('%08x-0000-4000-8000-%012x', i, i), $2, printf('BC:24:11:%02X:%02X:%02X', i / 65536, i / 256 % 256, i % 256), 'pve' || (1 + i / 40 % 25), 'running', 86400,
				'{"sockets":1,"cores":2,"memory_mb":4096,"disks":[{"key":"scsi0","size":34359738368,"storage":"local","backup":true}],"nets":[{"key":"net0","mac":"BC:24:11:00:00:00","bridge":"vmbr0"}]}',
				$3, $3, $2 FROM n`, []any{e.services, e.now.AddDate(-1, 0, 0).Unix(), e.now.Unix()}},
		// From midnight to 05:59, six of ten from 02:00 to 02:59.
		{`INSERT INTO schedules (id, uid, service_id, zone, days, planned, next_due_at, saved_at)
			SELECT id, printf('01schedule%016d', id), id, 'Europe/Berlin',
				replace(replace('[?,?,?,?,?,?,?]', '?', '{"Enabled":true,"At":"#"}'), '#', printf('%02d:%02d', m / 60, m % 60)),
				$1, $2 + m * 60, $1
			FROM (SELECT id, CASE WHEN id % 10 < 6 THEN 120 + id / 10 % 60 ELSE (180 + id / 10 % 300) % 360 END AS m FROM services)`,
			[]any{e.now.Unix(), midnight.AddDate(0, 0, 1).Unix()}},
		// The copies of the last nights, the newest last night's.
		{`WITH RECURSIVE d(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM d WHERE i < 29)
			INSERT INTO backups (uid, service_id, server_id, node, storage, volid, vmid, class, origin, mode, started_at, ctime, ended_at, size, disks_in, consistent, seen_at, note)
			SELECT printf('01b%02d%021d', 29 - d.i, s.id), s.id, s.server_id, s.node, 'local',
				'local:backup/vzdump-qemu-' || s.vmid || strftime('-%Y_%m_%d-%H_%M_%S', $1 - d.i * 86400 + s.id % 3600, 'unixepoch') || '.vma.zst', s.vmid, 'good', 'scheduled', 'snapshot',
				$1 - d.i * 86400 + s.id % 3600, $1 - d.i * 86400 + s.id % 3600, $1 - d.i * 86400 + s.id % 3600 + 240, 9000000000 + s.id * 7919 % 4000000000,
				'[{"key":"scsi0","size":34359738368,"storage":"local","backup":true}]', 1, $2, CASE WHEN d.i % 7 = 3 THEN 'before the update of week ' || (d.i / 7) ELSE '' END
			FROM d, services s JOIN products p ON p.id = s.product_id WHERE d.i < p.quota ORDER BY d.i DESC, s.id`,
			[]any{midnight.Add(2 * time.Hour).Unix(), e.now.Unix()}},
		{`INSERT INTO operations (uid, reference, service_id, server_id, kind, exclusive, state, step, schedule_id, slot_date, backup_id, timing, mode, node, manual,
				percent, progress_at, run_after, start_by, give_up_at, actor, reason, created_at, started_at, ended_at, version, epoch)
			SELECT replace(b.uid, '01b', '01o'), ` + referenceSQL("b.id") + `, b.service_id, b.server_id, 'backup', 1, 'succeeded', 'dump', b.service_id, date(b.started_at, 'unixepoch'), b.id, 'none', 'snapshot', b.node, 0,
				100, b.ended_at, b.started_at, b.started_at + 21600, b.started_at + 86400, 'cron', 'The backup is in your list.', b.started_at - 20, b.started_at - 10, b.ended_at, 20, 1
			FROM backups b ORDER BY b.id`, nil},
		{`UPDATE backups SET operation_id = id`, nil}, // both tables were filled from empty, in the same order
		{`INSERT INTO slots (service_id, schedule_id, local_date, due_at, start_by, state, operation_id, backup_id, ended_at)
			SELECT service_id, schedule_id, slot_date, started_at - 15, start_by, 'done', id, backup_id, ended_at FROM operations ORDER BY service_id, slot_date`, nil},
		{`INSERT INTO operation_steps (operation_id, at, step, what, text, staff)
			SELECT o.id, o.started_at + k.i, CASE WHEN k.i = 0 THEN 'preflight' ELSE 'dump' END, CASE k.i WHEN 1 THEN 'begun' ELSE 'done' END, k.text, 'node ' || o.node
			FROM operations o, (SELECT 0 AS i, 'Checked your machine, the storage and the free places.' AS text UNION SELECT 1, 'The backup begins.' UNION SELECT 2, 'The backup is made: 8.4 GiB.' UNION SELECT 3, 'The backup is in your list.') k
			WHERE o.service_id % 20 = 0`, nil},
		{`UPDATE servers SET seen_at = $1`, []any{e.now.Unix()}},
		{`UPDATE lease SET zones = $1`, []any{portal.ZoneVersion()}},
	} {
		if _, err := db.ExecContext(ctx, fill.text, fill.args...); err != nil {
			return fmt.Errorf("%w in %s", err, fill.text)
		}
	}
	if err := e.audit(ctx, db); err != nil {
		return err
	}
	for _, text := range rebuild {
		if _, err := db.ExecContext(ctx, text); err != nil {
			return fmt.Errorf("%w in %s", err, text)
		}
	}
	return db.QueryRowContext(ctx, `SELECT count(*) FROM backups`).Scan(&e.backups)
}

// referenceSQL makes a reference out of a number: no two alike, and in no order.
func referenceSQL(id string) string {
	const letters = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
	mixed := "((" + id + " * 2654435761) % 729000000)" // 30^6, and a prime that doesn't divide it
	var digits []string
	for _, place := range []string{"1", "30", "900", "27000", "810000", "24300000"} {
		digits = append(digits, fmt.Sprintf("substr('%s', 1 + %s / %s %% 30, 1)", letters, mixed, place))
	}
	return strings.Join(digits[:3], " || ") + " || '-' || " + strings.Join(digits[3:], " || ")
}

// dropIndexes takes the indexes off tables that are about to be filled, and gives the statements that make them anew.
func dropIndexes(ctx context.Context, db *sql.DB, tables ...string) (rebuild []string, err error) {
	for _, table := range tables {
		var drop []string
		err := each(ctx, db, func(rows *sql.Rows) error {
			var name, text string
			err := rows.Scan(&name, &text)
			drop, rebuild = append(drop, "DROP INDEX "+name), append(rebuild, text)
			return err
		}, `SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = $1 AND sql IS NOT NULL`, table)
		if err != nil {
			return nil, err
		}
		for _, text := range drop {
			if _, err := db.ExecContext(ctx, text); err != nil {
				return nil, err
			}
		}
	}
	return rebuild, nil
}

// audit writes the row of each operation's request, chained and sealed as the store does it.
func (e *estate) audit(ctx context.Context, db *sql.DB) error {
	var before string
	var last int64
	if err := db.QueryRowContext(ctx, `SELECT row_id, hash FROM audit_head`).Scan(&last, &before); err != nil {
		return err
	}
	type request struct {
		uid, date   string
		service, at int64
	}
	var all []request
	err := each(ctx, db, func(rows *sql.Rows) error {
		var r request
		err := rows.Scan(&r.uid, &r.service, &r.date, &r.at)
		all = append(all, r)
		return err
	}, `SELECT uid, service_id, slot_date, created_at FROM operations ORDER BY created_at, id`)
	if err != nil {
		return err
	}
	t, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = t.Rollback() }()
	for some := range slices.Chunk(all, 100) {
		values, args := make([]string, 0, len(some)), make([]any, 0, 6*len(some))
		for _, r := range some {
			after := `{"backup":0,"note":"","protect":false,"replace":0,"slot":"` + r.date + `"}`
			text, err := json.Marshal([]any{before, r.at, "cron", "", "backup.request", "operation", r.uid, r.service, "", after})
			if err != nil {
				return err
			}
			sum := sha256.Sum256(text)
			before = hex.EncodeToString(sum[:])
			last++
			values = append(values, "(?, ?, 'cron', 'backup.request', 'operation', ?, ?, ?, ?)")
			args = append(args, last, r.at, r.uid, r.service, after, before)
		}
		if _, err := t.ExecContext(ctx, `INSERT INTO audit (id, at, actor, action, entity, entity_uid, service_id, after, hash) VALUES `+strings.Join(values, ", "), args...); err != nil {
			return err
		}
	}
	mac := hmac.New(sha256.New, e.markKey)
	fmt.Fprintf(mac, "audit head:%s:%d:%s", e.installation, last, before)
	if _, err := t.ExecContext(ctx, `UPDATE audit_head SET row_id = ?, hash = ?, seal = ?`, last, before, hex.EncodeToString(mac.Sum(nil))); err != nil {
		return err
	}
	return t.Commit()
}

// large gives the estate that several measures share: 100,000 services and a million copies.
func (l *limits) large(t *testing.T) *estate {
	t.Helper()
	if l.estate == nil {
		began := time.Now()
		if dir := os.Getenv("STOWAGE_ESTATE"); dir != "" {
			l.estate = &estate{dir: dir, services: 100_000, backups: 1_000_000}
			if s, err := os.Stat(dir + "/stowage.key"); err == nil {
				l.estate.now = s.ModTime()
				return l.estate
			}
		}
		l.estate = newEstate(t, "", 100_000)
		size := int64(0)
		if s, err := os.Stat(l.estate.path("stowage.db")); err == nil {
			size = s.Size()
		}
		if dir := os.Getenv("STOWAGE_ESTATE"); dir != "" {
			_ = os.Rename(l.estate.dir, dir)
			l.estate.dir = dir
		}
		l.say("made a database of %d services and %d copies, %s, within %s", l.estate.services, l.estate.backups, portal.Bytes(size), time.Since(began).Round(100*time.Millisecond))
	}
	return l.estate
}

// each calls read for every row of a query.
func each(ctx context.Context, db *sql.DB, read func(*sql.Rows) error, query string, args ...any) error {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := read(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
