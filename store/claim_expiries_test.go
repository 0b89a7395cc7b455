package store

import (
	"fmt"
	"testing"
	"time"

	"stowage/portal"
)

// crowdOver gives a database in which the removal of so many snapshots waits on hosts of a hundred machines each, and
// nothing runs.
func crowdOver(t testing.TB, n int) (*DB, *handClock) {
	t.Helper()
	db, clock := openPeople(t)
	crowd(t, db, n, clock.now())
	if _, err := db.write.Exec(`UPDATE services SET node = 'pve' || (id % $1)`, max(n/100, 1)); err != nil {
		t.Fatal(err)
	}
	lease, err := db.TakeLease(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lease.Release() })
	if got, err := db.ExpireSnapshots(t.Context()); err != nil || got != n {
		t.Fatal(got, err)
	}
	return db, clock
}

// TestClaimExpiries begins two removals on each host and passes over machines that are locked, however many stand first;
// every one that waits says for what.
func TestClaimExpiries(t *testing.T) {
	t.Parallel()
	const machines = 300 // on three hosts
	db, clock := crowdOver(t, machines)
	change := func(query string, args ...any) {
		t.Helper()
		if _, err := db.write.Exec(query, args...); err != nil {
			t.Fatal(err)
		}
	}
	claim := func(want int) []int64 {
		t.Helper()
		clock.t = clock.t.Add(time.Second)
		started, err := db.Claim(t.Context(), portal.DefaultLimits)
		if err != nil || len(started) != want {
			t.Fatalf("%d began, %v; want %d", len(started), err, want)
		}
		return started
	}
	waits := func(why portal.Text) (n int) {
		t.Helper()
		if err := db.read.QueryRow(`SELECT count(*) FROM operations WHERE state = 'queued' AND waits_for = $1`, why).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	end := func(ids ...int64) {
		t.Helper()
		for _, id := range ids {
			change(`UPDATE operations SET state = 'succeeded', ended_at = 1 WHERE id = $1`, id)
		}
	}

	// The first sixty of host pve1 are locked, which is seen by the first look at all that wait.
	change(`UPDATE services SET lock = 'migrate' WHERE id IN (SELECT service_id FROM operations WHERE node = 'pve1' ORDER BY id LIMIT 60)`)
	first := claim(3 * ExpiriesPerNode)
	if free, locked := waits("other snapshots are being removed on your host"), waits(portal.LockedClause("migrate")); free != machines-60-6 || locked != 60 {
		t.Errorf("%d wait for others and %d for a lock", free, locked)
	}
	claim(0)
	end(first...)
	second := claim(2 * ExpiriesPerNode) // those that are locked stand first on pve1: the others there have their turn with the next whole look
	end(second...)
	change(`UPDATE services SET lock = ''`)
	third := claim(3 * ExpiriesPerNode)
	change(`UPDATE services SET lock = 'migrate' WHERE id IN (SELECT service_id FROM operations WHERE node = 'pve1' AND state = 'queued' ORDER BY id LIMIT 58)`)
	end(third...)
	fourth := claim(2 * ExpiriesPerNode)
	end(fourth...)
	clock.t = clock.t.Add(lookAgain)
	claim(3 * ExpiriesPerNode)

	// A host that is down begins none, and says so.
	change(`INSERT INTO nodes (server_id, name, online, seen_at) SELECT id, 'pve2', 0, 0 FROM servers WHERE true ON CONFLICT (server_id, name) DO UPDATE SET online = 0`)
	change(`UPDATE operations SET state = 'succeeded', ended_at = 1 WHERE state = 'running'`)
	clock.t = clock.t.Add(lookAgain)
	claim(2 * ExpiriesPerNode)
	var left int
	if err := db.read.QueryRow(`SELECT count(*) FROM operations WHERE state = 'queued' AND node = 'pve2'`).Scan(&left); err != nil {
		t.Fatal(err)
	}
	if n := waits("your host is down"); n != left || n == 0 {
		t.Errorf("%d of %d say that their host is down", n, left)
	}
}

// BenchmarkClaimExpiries asks every second what may begin, while ten thousand removals wait on a hundred hosts: with every
// place taken, and with ten that have become free.
func BenchmarkClaimExpiries(b *testing.B) {
	for _, free := range []int{0, 10} {
		b.Run(fmt.Sprintf("%d free", free), func(b *testing.B) {
			db, clock := crowdOver(b, 10_000)
			for began := 1; began > 0; {
				clock.t = clock.t.Add(time.Second)
				some, err := db.Claim(b.Context(), portal.DefaultLimits)
				if err != nil {
					b.Fatal(err)
				}
				began = len(some)
			}
			for b.Loop() {
				b.StopTimer()
				clock.t = clock.t.Add(time.Second)
				if _, err := db.write.Exec(`UPDATE operations SET state = 'succeeded', ended_at = 1 WHERE id IN (SELECT id FROM operations WHERE state = 'running' LIMIT $1)`, free); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				if some, err := db.Claim(b.Context(), portal.DefaultLimits); err != nil || len(some) != free {
					b.Fatal(len(some), err)
				}
			}
		})
	}
}
