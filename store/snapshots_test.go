package store

import (
	"fmt"
	"testing"
	"time"

	"stowage/portal"
)

// crowd makes n services, each with one snapshot that ends at an instant.
func crowd(t testing.TB, db *DB, n int, ends time.Time) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx := t.Context()
	must(db.RaiseEpoch(ctx, "test"))
	must(db.Renew(ctx, true))
	c, _, err := db.AddClient(ctx, "cli", ada(), "ada@demo.test", "hash")
	must(err)
	server, err := db.AddServer(ctx, "cli", portal.Server{Name: "pve", Endpoints: []string{"https://127.0.0.1:1"}, TokenID: "portal@pve!api"}, "secret")
	must(err)
	p := portal.NewProduct("Small")
	p.Snapshots, p.SnapshotDays = 1, 1
	p, err = db.AddProduct(ctx, "cli", p)
	must(err)
	must(db.update(ctx, "crowd", func(x *tx) error {
		if _, err := x.exec(`UPDATE servers SET seen_at = $1`, ends.Unix()); err != nil {
			return err
		}
		for i := range n {
			id, err := x.insert(`INSERT INTO services (uid, client_id, product_id, server_id, vmid, name, state, machine_uuid, node, status, created_at, seen_at) VALUES ($1, $2, $3, $4, $5, $6, 'active', $7, 'pve1', 'running', 1, 1)`,
				db.UID(), c.ID, p.ID, server.ID, 100+i, fmt.Sprint("h", i), fmt.Sprint("uuid-", i))
			if err != nil {
				return err
			}
			if _, err := x.exec(`INSERT INTO schedules (uid, service_id, zone, days, planned, saved_at) VALUES ($1, $2, 'UTC', $3, 1, 1)`, db.UID(), id, tojson(portal.Schedule{}.Days)); err != nil {
				return err
			}
			uid := db.UID()
			if _, err := x.exec(`INSERT INTO snapshots (uid, service_id, name, state, taken_at, expires_at) VALUES ($1, $2, $3, 'there', $4, $5)`,
				uid, id, portal.SnapshotName(uid), ends.Add(-24*time.Hour).Unix(), ends.Unix()); err != nil {
				return err
			}
		}
		return nil
	}))
}

// TestExpireSnapshots queues what is over once, in batches, at its instant and not before.
func TestExpireSnapshots(t *testing.T) {
	t.Parallel()
	db, clock := openPeople(t)
	ends := clock.now().Add(time.Hour)
	crowd(t, db, expireBatch+20, ends)
	expire := func(want int) {
		t.Helper()
		if got, err := db.ExpireSnapshots(t.Context()); err != nil || got != want {
			t.Fatalf("at %s: %d, %v; want %d", clock.now(), got, err, want)
		}
	}
	clock.t = ends.Add(-time.Second)
	expire(0)
	clock.t = ends
	if _, err := db.write.Exec(`UPDATE services SET lock = 'migrate' WHERE vmid = 100; UPDATE services SET state = 'machine_gone' WHERE vmid = 101; UPDATE services SET state = 'suspended' WHERE vmid = 102`); err != nil {
		t.Fatal(err)
	}
	expire(expireBatch + 18)
	expire(0)
	if _, err := db.write.Exec(`UPDATE services SET lock = ''; UPDATE servers SET skew = 600`); err != nil {
		t.Fatal(err)
	}
	expire(0)
	clock.t = ends.Add(time.Hour) // a jump of our clock: nobody has looked at the server since
	if _, err := db.write.Exec(`UPDATE servers SET skew = 0`); err != nil {
		t.Fatal(err)
	}
	expire(0)
	clock.t = ends.Add(time.Minute)
	expire(1)
	broken, err := db.VerifyAudit(t.Context())
	if err != nil || broken != 0 {
		t.Errorf("audit: %d, %v", broken, err)
	}
	ops, err := operations(t.Context(), db.read, `WHERE o.kind = 'snapshot_delete'`)
	if err != nil || len(ops) != expireBatch+19 {
		t.Fatalf("%d operations, %v", len(ops), err)
	}
	for _, o := range ops {
		if o.Manual || o.Actor != "cron" || o.SnapshotID == 0 || o.State != portal.StateQueued || o.Reference == "" {
			t.Fatalf("%+v", o)
		}
	}
	all, err := db.Snapshots(t.Context(), ops[0].ServiceID)
	if err != nil || len(all) != 1 || all[0].State != portal.SnapshotRemoving {
		t.Errorf("%+v, %v", all, err)
	}
}

// BenchmarkExpireSnapshots ends ten thousand snapshots in one tick.
func BenchmarkExpireSnapshots(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		db, clock := openPeople(b)
		crowd(b, db, 10_000, clock.now())
		b.StartTimer()
		if n, err := db.ExpireSnapshots(b.Context()); err != nil || n != 10_000 {
			b.Fatal(n, err)
		}
	}
}
