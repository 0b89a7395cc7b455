package main

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"stowage/portal"
	"stowage/pve/pvesim"
)

// restored is one restore, from the click to its end.
type restored struct {
	total time.Duration
	own   time.Duration // in which no task of Proxmox's ran and the machine didn't boot
}

// measureRestore presses Restore on many machines, and takes off what Proxmox and the machines took.
func measureRestore(t *testing.T, l *limits) {
	const machines = 40
	for _, c := range []struct {
		what   string
		used   int64
		safety bool
	}{
		{"1 GiB", 1 << 30, false},
		{"20 GiB", 20 << 30, false},
		{"1 GiB, the present state saved before", 1 << 30, true},
		{"20 GiB, the present state saved before", 20 << 30, true},
	} {
		all, calls := restoreMany(t, machines, c.used, c.safety)
		var total, own []time.Duration
		share, worst := 0.0, 0.0
		for _, r := range all {
			total, own = append(total, r.total), append(own, r.own)
			share += r.own.Seconds() / r.total.Seconds() / float64(len(all))
			worst = max(worst, r.own.Seconds()/r.total.Seconds())
		}
		most := quantile(own, 1)
		l.row(fmt.Sprintf("A restore of %s: what it takes beyond Proxmox's tasks and the machine's boot", c.what), "≤ 3 s",
			fmt.Sprintf("median %.1f s, at most %.1f s of %d; of %s in all that is %.1f %%, at most %.1f %%; %.0f requests to Proxmox, whose answers take no time here",
				quantile(own, .5).Seconds(), most.Seconds(), len(all), minutes(quantile(total, .5)), 100*share, 100*worst, float64(calls)/float64(len(all))),
			most <= 3*time.Second, "how soon the end of each task is seen: within a second")
	}
}

// restoreMany lets each machine of a cluster be restored once, in virtual time, each pressed at an instant of its own
// and with nobody watching. Half of them differ from what they are to be afterwards; each boots for 5 to 30 seconds.
func restoreMany(t *testing.T, machines int, used int64, safety bool) (out []restored, calls int) {
	ctx := context.Background()
	n := &pulse{newNight(t, nightPlan{seed: 9, clusters: 1, nodes: machines, machines: machines, workers: 1, still: true, bare: true, used: used}), map[int64]time.Time{}}
	defer n.engine.Close()
	if !safety {
		_, err := n.raw.Exec(`UPDATE products SET safety_copy = 0`)
		n.must(err)
	}
	r := rand.New(rand.NewPCG(9, uint64(used)))
	sim := n.sims[0]
	boots := map[int]time.Duration{}
	for _, m := range n.guests {
		boots[m.vmid] = 5*time.Second + time.Duration(r.Int64N(int64(25*time.Second)))
		n.must(sim.SetGuest(m.vmid, func(g *pvesim.Guest) { g.Agent, g.AgentAfter = "1", boots[m.vmid] }))
		_, err := n.db.Enqueue(ctx, m.client, m.service.UID, byHand())
		n.must(err)
	}
	n.finish(ctx)
	n.counted()

	type press struct {
		nightMachine
		copy string
		at   time.Time
		op   int64
	}
	presses := make([]press, len(n.guests))
	for i, m := range n.guests {
		copies, err := n.db.Backups(ctx, m.service.ID)
		n.must(err)
		presses[i] = press{nightMachine: m, copy: copies[0].UID, at: n.clock.now().Add(time.Minute + time.Duration(r.Int64N(int64(5*time.Minute))).Truncate(time.Millisecond))}
		if i%2 == 0 {
			n.must(sim.SetGuest(m.vmid, func(g *pvesim.Guest) { g.Cores, g.Memory = 2, 512 }))
		}
	}
	slices.SortFunc(presses, func(a, b press) int { return a.at.Compare(b.at) })
	for i := range presses {
		p := &presses[i]
		n.until(ctx, p.at)
		op, err := n.db.Enqueue(ctx, p.client, p.service.UID, portal.RequestRestore("client:limits", p.copy, p.service.Name, true))
		n.must(err)
		p.op = op.ID
	}
	n.finish(ctx)
	for _, c := range n.counted() {
		calls += c
	}
	tasks := map[int][]pvesim.Task{}
	for _, task := range sim.Tasks() {
		if vmid, err := strconv.Atoi(task.ID); err == nil {
			tasks[vmid] = append(tasks[vmid], task)
		}
	}
	for _, p := range presses {
		op, err := n.db.Operation(ctx, p.op)
		n.must(err)
		if op.State != portal.StateSucceeded || op.Work.Proof == nil || op.Work.Proof.Agent != portal.AgentAnswered {
			t.Fatalf("machine %d: %s %q %+v", p.vmid, op.State, op.Reason, op.Work.Proof)
		}
		var theirs []stretch
		for _, task := range tasks[p.vmid] {
			if task.Start.Before(p.at) {
				continue
			}
			theirs = append(theirs, stretch{task.Start, task.End})
			if task.Type == "qmstart" {
				theirs = append(theirs, stretch{task.End, task.End.Add(boots[p.vmid])})
			}
		}
		total := n.ended[p.op].Sub(p.at)
		out = append(out, restored{total, total - covered(theirs, n.ended[p.op])})
	}
	return out, calls
}

type stretch struct{ from, to time.Time }

// covered gives how much time until an instant lies within one stretch or another.
func covered(all []stretch, until time.Time) (sum time.Duration) {
	slices.SortFunc(all, func(a, b stretch) int { return a.from.Compare(b.from) })
	var at time.Time
	for _, s := range all {
		if s.from.Before(at) {
			s.from = at
		}
		if s.to.After(until) {
			s.to = until
		}
		if s.to.After(s.from) {
			sum, at = sum+s.to.Sub(s.from), s.to
		}
	}
	return sum
}

// pulse wakes the engine every half second, as Run does, and keeps when each operation was seen to have ended.
type pulse struct {
	*night
	ended map[int64]time.Time
}

// until lets time pass until an instant.
func (p *pulse) until(ctx context.Context, end time.Time) {
	p.t.Helper()
	for p.next().Before(end) {
		p.beat(ctx)
	}
	p.clock.set(end)
}

// next is when the engine is woken next: at a third of a second, and at five sixths.
func (p *pulse) next() time.Time {
	const every = 500 * time.Millisecond
	at := p.clock.now().Truncate(every).Add(every / 3 * 2)
	if !at.After(p.clock.now()) {
		at = at.Add(every)
	}
	return at
}

// beat wakes it, and gives how many operations are left.
func (p *pulse) beat(ctx context.Context) (open int) {
	p.t.Helper()
	p.clock.set(p.next())
	if p.clock.now().Unix()%10 == 0 {
		p.must(p.engine.Sync(ctx))
	}
	_, err := p.engine.Drive(ctx)
	p.must(err)
	p.must(each(ctx, p.raw, func(rows *sql.Rows) error {
		var id int64
		var going bool
		err := rows.Scan(&id, &going)
		if going {
			open++
		} else if p.ended[id].IsZero() {
			p.ended[id] = p.clock.now()
		}
		return err
	}, `SELECT id, state IN ('queued', 'running', 'held') FROM operations`))
	return open
}

// finish lets time pass until nothing is left to do.
func (p *pulse) finish(ctx context.Context) {
	p.t.Helper()
	for limit := p.clock.now().Add(6 * time.Hour); p.beat(ctx) > 0; {
		if p.clock.now().After(limit) {
			p.t.Fatal("something is unfinished after six hours")
		}
	}
}
