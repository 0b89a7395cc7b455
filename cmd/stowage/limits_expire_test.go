package main

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"stowage/portal"
	"stowage/pve/pvesim"
	"stowage/store"
)

// measureExpire lets the time of ten thousand snapshots be over between two ticks, on a thousand nodes, and lets people press
// “Back up now” meanwhile.
func measureExpire(t *testing.T, l *limits) {
	const clusters, nodes, machines, presses = 25, 40, 401, 25 // the last one of each cluster has no snapshot
	n := newNight(t, nightPlan{seed: 7, clusters: clusters, nodes: nodes, machines: machines, workers: 2, still: true, bare: true, used: 1 << 30})
	defer n.engine.Close()
	ctx := context.Background()
	over := n.start.Add(10 * time.Minute).Truncate(time.Minute)
	expires := n.snapshots(over, machines)
	l.say("  made %d snapshots", len(expires))
	n.clock.set(over.Add(-time.Minute))
	n.must(n.engine.Sync(ctx))

	var tick, drive time.Duration // the longest, on the wall
	var pressed []int64
	asked := map[int64]time.Time{}
	left := len(expires)
	var last time.Time
	began, cpu := time.Now(), cpuTime()
	for at := over; left > 0 && at.Before(over.Add(time.Hour)); at = at.Add(time.Second / 2) {
		n.clock.set(at)
		passed := int(at.Sub(over) / time.Second)
		if whole := at.Equal(at.Truncate(time.Second)); whole && passed%15 == 14 { // all of them at one go
			began := time.Now()
			n.must(n.engine.Tick(ctx))
			tick = max(tick, time.Since(began))
		} else if whole && passed%30 == 0 {
			n.must(n.engine.Sync(ctx))
		}
		if passed > 14 && len(pressed) < presses {
			m := n.guests[(len(pressed)+1)*machines-1]
			op, err := n.db.Enqueue(ctx, m.client, m.service.UID, byHand())
			n.must(err)
			pressed = append(pressed, op.ID)
			asked[op.ID] = at
		}
		began := time.Now()
		_, err := n.engine.Drive(ctx)
		n.must(err)
		drive = max(drive, time.Since(began))
		before := left
		n.must(n.raw.QueryRow(`SELECT count(*) FROM snapshots WHERE removed_at IS NULL AND external = 0`).Scan(&left))
		if left < before {
			last = at
		}
	}
	took, used := time.Since(began), cpuTime()-cpu

	early, twice := 0, 0
	var longest time.Duration
	perNode := map[string]time.Duration{}
	gone := map[string]int{}
	for c, sim := range n.sims {
		for _, task := range sim.Tasks() {
			if task.Type != "qmdelsnapshot" {
				continue
			}
			key := fmt.Sprintf("%d/%s", c, task.ID)
			if gone[key]++; gone[key] > 1 {
				twice++
			}
			if task.Start.Before(expires[key]) {
				early++
			}
			d := task.End.Sub(task.Start)
			perNode[fmt.Sprint(c, task.Node)] += d
			longest = max(longest, perNode[fmt.Sprint(c, task.Node)]/store.ExpiriesPerNode)
		}
		for _, g := range sim.Guests() {
			left += len(g.Snapshots)
		}
	}
	late, worst := 0, time.Duration(0)
	for _, id := range pressed {
		var began sql.NullInt64
		n.must(n.raw.QueryRow(`SELECT started_at FROM operations WHERE id = ?`, id).Scan(&began))
		wait := time.Hour
		if began.Valid {
			wait = time.Unix(began.Int64, 0).Sub(asked[id])
		}
		if worst = max(worst, wait); wait > time.Second {
			late++
		}
	}
	virtual := last.Sub(over.Add(14 * time.Second))
	what := fmt.Sprintf("%d snapshots end within 15 s on %d nodes", len(expires), clusters*nodes)
	l.row(what+": the longest tick", "≤ 3 s", fmt.Sprintf("%.2f s; the longest round of turns %.2f s", tick.Seconds(), drive.Seconds()), tick <= 3*time.Second,
		"rows: five hundred removals are queued in one transaction")
	l.row(what+": until all are removed", "none early, twice or left",
		fmt.Sprintf("%s after the last one was over; by admission alone %s; %d removed too early, %d twice, %d left over\n%s here (%s of processor, the simulated clusters included)",
			minutes(virtual), minutes(longest), early, twice, left, short(took), short(used)),
		early == 0 && twice == 0 && left == 0, fmt.Sprintf("%d at a time on each node, and how soon the end of each is seen: after a second, or as long as it has taken", store.ExpiriesPerNode))
	l.row(what+": “Back up now” meanwhile", "begins at once", fmt.Sprintf("%d of %d within a second, at most %s", len(pressed)-late, len(pressed), minutes(worst)), late == 0 && len(pressed) == presses,
		"a removal takes no backup's place; a click waits for the round of turns under way, of 250 at most")
}

// snapshots takes one of every machine, on both sides alike, and gives when each one's time is over: within 15 seconds
// from an instant on. The last of so many machines of each cluster has none.
func (n *night) snapshots(from time.Time, machines int) map[string]time.Time {
	out := map[string]time.Time{}
	tx, err := n.raw.BeginTx(n.t.Context(), nil)
	n.must(err)
	defer func() { _ = tx.Rollback() }()
	for i, m := range n.guests {
		if i%machines == machines-1 {
			continue
		}
		uid := n.db.UID()
		name := portal.SnapshotName(uid)
		h := n.hosts[m.host]
		n.must(n.sims[h.cluster].SetGuest(m.vmid, func(g *pvesim.Guest) { g.Snapshots = append(g.Snapshots, name) }))
		over := from.Add(time.Duration(i*7919%15) * time.Second)
		out[fmt.Sprintf("%d/%d", h.cluster, m.vmid)] = over
		_, err := tx.Exec(`INSERT INTO snapshots (uid, service_id, name, state, taken_at, expires_at, seen_at) VALUES (?, ?, ?, 'there', ?, ?, ?)`,
			uid, m.service.ID, name, over.AddDate(0, 0, -1).Unix(), over.Unix(), n.start.Unix())
		n.must(err)
	}
	n.must(tx.Commit())
	return out
}
