package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stowage/portal"
)

// hosting fills a database as a large hosting company's: services of one client in ten, each with a schedule, a
// month of slots with their operations for the newest hundred, and three copies.
func hosting(t testing.TB, db *DB, services int) {
	t.Helper()
	ctx := context.Background()
	p := portal.NewProduct("Small")
	p.Quota, p.Storage = 3, "local"
	p, err := db.AddProduct(ctx, "cli", p)
	if err != nil {
		t.Fatal(err)
	}
	v, err := db.AddServer(ctx, "cli", portal.Server{Name: "alone", Endpoints: []string{"https://127.0.0.1:1"}, TokenID: "portal@pve!api"}, "secret")
	if err != nil {
		t.Fatal(err)
	}
	now := db.now().Unix()
	days := tojson(portal.EveryDay("UTC", 180).Days)
	for _, fill := range []string{
		`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %[1]d / 10)
			INSERT INTO clients (id, uid, name, zone, created_at) SELECT i, printf('01client%%018d', i), 'Client ' || i, 'UTC', %[2]d FROM n`,
		`INSERT INTO logins (uid, client_id, email, role, password_hash, created_at) SELECT printf('01login0%%018d', id), id, 'c' || id || '@demo.test', 'owner', 'x', %[2]d FROM clients`,
		`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %[1]d)
			INSERT INTO services (id, uid, client_id, product_id, server_id, vmid, name, state, machine_uuid, machine_macs, node, status, created_at)
			SELECT i, printf('01service%%017d', i), 1 + i %% (%[1]d / 10), %[3]d, %[4]d, 99 + i, 'web' || i, 'active', printf('uuid-%%d', i), printf('BC:24:11:%%02X:%%02X:%%02X', i / 65536, i / 256 %% 256, i %% 256), 'pve1', 'running', %[2]d FROM n`,
		`INSERT INTO schedules (id, uid, service_id, zone, days, planned, next_due_at, saved_at)
			SELECT id, printf('01schedule%%016d', id), id, 'UTC', '%[5]s', %[2]d, CASE WHEN id %% 100 = 0 THEN NULL ELSE %[2]d + 3600 END, %[2]d FROM services`,
		`INSERT INTO backups (uid, service_id, server_id, node, storage, volid, vmid, class, origin, started_at, ended_at, size)
			SELECT printf('01b%%03d%%020d', d.i, s.id), s.id, s.server_id, 'pve1', 'local', 'local:backup/vzdump-qemu-' || s.vmid || '-' || d.i || '.vma.zst', s.vmid, 'good', 'scheduled', %[2]d - d.i * 86400, %[2]d - d.i * 86400 + 300, 4294967296
			FROM services s, (SELECT 1 AS i UNION SELECT 2 UNION SELECT 3) d`,
		`WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 29)
			INSERT INTO operations (uid, reference, service_id, server_id, kind, exclusive, state, step, schedule_id, slot_date, manual, run_after, start_by, give_up_at, actor, created_at, started_at, ended_at, backup_id)
			SELECT printf('01o%%03d%%020d', i, s.id), printf('%%d-%%d', s.id, i), s.id, s.server_id, 'backup', 1, 'succeeded', 'dump', s.id, date(%[2]d - i * 86400, 'unixepoch'), 0, 0, 0, 0, 'cron', %[2]d - i * 86400, %[2]d - i * 86400, %[2]d - i * 86400 + 300,
				(SELECT b.id FROM backups b WHERE b.service_id = s.id AND b.removed_at IS NULL LIMIT 1)
			FROM services s, n WHERE s.id > %[1]d - 100`,
		`WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 29)
			INSERT INTO slots (service_id, schedule_id, local_date, due_at, start_by, state, ended_at, operation_id)
			SELECT s.id, s.id, date(%[2]d - i * 86400, 'unixepoch'), %[2]d - i * 86400, %[2]d, 'done', %[2]d, (SELECT o.id FROM operations o WHERE o.service_id = s.id AND o.slot_date = date(%[2]d - i * 86400, 'unixepoch'))
			FROM services s, n WHERE s.id > %[1]d - 100`,
	} {
		if _, err := db.write.ExecContext(ctx, fmt.Sprintf(fill, services, now, p.ID, v.ID, days)); err != nil {
			t.Fatalf("%v in %s", err, fill)
		}
	}
}

func TestListsOfALargeHost(t *testing.T) {
	t.Parallel()
	db, _ := openPeople(t)
	const services = 5000
	hosting(t, db, services)
	ctx := t.Context()

	lines, turn, err := db.StaffServices(ctx, ServiceFilter{}, Page{Limit: 50})
	if err != nil || len(lines) != 50 || turn != (Turn{Older: services - 49}) {
		t.Fatalf("first page: %d, %v, %v", len(lines), turn, err)
	}
	newest := lines[0]
	if newest.Name != "web5000" || newest.ClientName != "Client 1" || newest.Backups().Text() != "3/3" || len(newest.Slots) != 30 || newest.Product.Name != "Small" {
		t.Errorf("the first line: %s of %s, %s, %d slots", newest.Name, newest.ClientName, newest.Backups().Text(), len(newest.Slots))
	}
	if n := portal.Newest(newest.Copies); n == nil || !n.Start().Equal(db.now().Add(-24*time.Hour)) {
		t.Errorf("its newest copy: %v", n)
	}
	var seen []int64
	for p := (Page{Limit: 700}); ; {
		lines, turn, err := db.StaffServices(ctx, ServiceFilter{}, p)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range lines {
			seen = append(seen, l.ID)
		}
		if turn.Older == 0 {
			break
		}
		p.Older = turn.Older
	}
	if len(seen) != services || !slices.IsSortedFunc(seen, func(a, b int64) int { return int(b - a) }) {
		t.Errorf("all pages together: %d services", len(seen))
	}
	if lines, _, err := db.StaffServices(ctx, ServiceFilter{Look: "unprotected"}, Page{Limit: 100}); err != nil || len(lines) != services/100 {
		t.Errorf("unprotected: %d, %v", len(lines), err)
	}
	mine, found, all, err := db.ClientServices(ctx, 1, "", 0, 50)
	if err != nil || len(mine) != 10 || found != 10 || all != 10 {
		t.Errorf("a client's: %d of %d of %d, %v", len(mine), found, all, err)
	}
	view, err := db.ServiceView(ctx, 1, newest.UID)
	if err != nil {
		t.Fatal(err)
	}
	if len(view.Slots) != 30 || len(view.Recent) != 6 || len(view.Backups) != 3 || len(view.Measured) != 10 || view.Recent[0].ServiceName != "web5000" {
		t.Errorf("view: %d slots, %d recent, %d copies, %d measured", len(view.Slots), len(view.Recent), len(view.Backups), len(view.Measured))
	}
	if diff := cmp.Diff(portal.CounterOf(view.Copies(), 3, 0), newest.Backups()); diff != "" {
		t.Errorf("page and list count differently: %s", diff)
	}
	if _, err := db.ServiceView(ctx, 2, newest.UID); portal.CodeOf(err) != portal.CodeNotFound {
		t.Errorf("a foreign service: %v", err)
	}
	needs, err := db.Needs(ctx, 85)
	if err != nil || needs.Unprotected.Count != services/100 || len(needs.Unprotected.First) != 10 || needs.Services != services {
		t.Errorf("needs: %d unprotected, %d shown, %v", needs.Unprotected.Count, len(needs.Unprotected.First), err)
	}
}

// TestPagesReadNoWholeTable explains the queries of the pages that are opened most: none of them may walk a table
// that grows with the installation.
func TestPagesReadNoWholeTable(t *testing.T) {
	t.Parallel()
	db, _ := openPeople(t)
	hosting(t, db, 1000)
	cond := terms{}
	ids := in(&cond, []int64{1, 2, 3})
	for name, q := range map[string]string{
		"slots of a service":      `SELECT l.due_at FROM slots l LEFT JOIN operations o ON o.id = l.operation_id LEFT JOIN backups b ON b.id = l.backup_id WHERE l.service_id = 1 AND l.due_at >= 5 ORDER BY l.due_at`,
		"measured":                `SELECT b.size FROM operations o JOIN backups b ON b.id = o.backup_id LEFT JOIN slots l ON l.service_id = o.service_id AND l.schedule_id = o.schedule_id AND l.local_date = o.slot_date WHERE o.service_id = 1 AND o.kind = 'backup' AND o.state = 'succeeded' ORDER BY o.id DESC LIMIT 10`,
		"operations of a service": `SELECT ` + operationColumns + lineColumns + lineTables + `WHERE o.service_id = 1 ORDER BY o.id DESC LIMIT 6`,
		"operations of all":       `SELECT ` + operationColumns + lineColumns + lineTables + `WHERE o.id < 500 ORDER BY o.id DESC LIMIT 50`,
		"what isn't ended":        `SELECT ` + operationColumns + lineColumns + lineTables + `WHERE o.state IN ('queued', 'running', 'held') ORDER BY o.id DESC LIMIT 50`,
		"copies":                  `SELECT b.id, ` + pinColumns + ` FROM backups b WHERE b.service_id IN ` + strings.NewReplacer("$1", "1", "$2", "2", "$3", "3").Replace(ids) + ` AND b.removed_at IS NULL AND b.class IN ('running', 'good', 'suspect')`,
		"services of a client":    `SELECT s.id FROM services s JOIN schedules c ON c.service_id = s.id WHERE s.client_id = 1 AND s.state <> 'terminated' ORDER BY s.name, s.id LIMIT 50`,
	} {
		plan, err := collect(t.Context(), db.read, func(s scanner) (v string, err error) {
			var a, b, c int
			return v, s.Scan(&a, &b, &c, &v)
		}, `EXPLAIN QUERY PLAN `+q)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, step := range plan {
			// o alone, read backwards by its key and cut off by LIMIT, is no walk.
			if strings.HasPrefix(step, "SCAN") && !strings.HasPrefix(step, "SCAN v") && !strings.HasPrefix(step, "SCAN l ") {
				t.Errorf("%s: %s", name, strings.Join(plan, "; "))
			}
		}
	}
}

func TestAuditLines(t *testing.T) {
	t.Parallel()
	db, _ := openPeople(t)
	ctx := t.Context()
	_, login := addAda(t, db)
	if err := db.SetZone(WithAddress(ctx, "203.0.113.7"), login.Actor(), login, "Asia/Tokyo"); err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]int{"": 3, "ada@": 1, "login.zone": 1, "203.0.113": 1, login.UID: 2, "%": 0} {
		lines, _, err := db.AuditLines(ctx, AuditFilter{Query: query}, Page{Limit: 10})
		if err != nil || len(lines) != want {
			t.Errorf("%q: %d, %v, want %d", query, len(lines), err, want)
		}
	}
	lines, turn, err := db.AuditLines(ctx, AuditFilter{Action: "login"}, Page{Limit: 1})
	if err != nil || len(lines) != 1 || lines[0].Who != "ada@demo.test" || lines[0].Action != "login.zone" || turn.Older != lines[0].ID {
		t.Errorf("the newest of logins: %+v, %v, %v", lines, turn, err)
	}
	if checked, broken, err := db.AuditTail(ctx, 2); checked != 2 || broken != 0 || err != nil {
		t.Errorf("tail: %d, %d, %v", checked, broken, err)
	}
	if _, err := db.write.ExecContext(ctx, `DROP TRIGGER audit_no_update`); err != nil {
		t.Fatal(err)
	}
	if _, err := db.write.ExecContext(ctx, `UPDATE audit SET after = 'UTC' WHERE id = 3`); err != nil {
		t.Fatal(err)
	}
	if _, broken, err := db.AuditTail(ctx, 100); broken != 3 || err != nil {
		t.Errorf("a changed row: %d, %v", broken, err)
	}
}

func BenchmarkStaffServices(b *testing.B) {
	db := benchHost(b)
	for _, c := range []struct {
		name string
		f    ServiceFilter
		p    Page
	}{
		{"first", ServiceFilter{}, Page{Limit: 50}}, {"deep", ServiceFilter{}, Page{Limit: 50, Older: 50_000}}, {"text", ServiceFilter{Query: "web4242"}, Page{Limit: 50}},
		{"e-mail", ServiceFilter{Query: "c77@demo.test"}, Page{Limit: 50}}, {"volid", ServiceFilter{Query: "local:backup/vzdump-qemu-4242-1.vma.zst"}, Page{Limit: 50}},
		{"unprotected", ServiceFilter{Look: "unprotected"}, Page{Limit: 50}},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				if _, _, err := db.StaffServices(b.Context(), c.f, c.p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("dashboard", func(b *testing.B) {
		for b.Loop() {
			if _, err := db.Needs(b.Context(), 85); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("service view", func(b *testing.B) {
		for b.Loop() {
			if _, err := db.ServiceView(b.Context(), 1, fmt.Sprintf("01service%017d", 100_000)); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func benchHost(b *testing.B) *DB {
	b.Helper()
	dir := b.TempDir()
	if err := CreateKey(dir + "/k"); err != nil {
		b.Fatal(err)
	}
	keys, err := ReadKey(dir + "/k")
	if err != nil {
		b.Fatal(err)
	}
	now := time.Date(2026, 11, 20, 2, 0, 0, 0, time.UTC)
	db, err := Open(Options{Path: dir + "/db", Keys: keys, Now: func() time.Time { return now }, NoSync: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	if _, _, err := db.Migrate(b.Context()); err != nil {
		b.Fatal(err)
	}
	if err := db.Ready(b.Context()); err != nil {
		b.Fatal(err)
	}
	hosting(b, db, 100_000)
	return db
}
