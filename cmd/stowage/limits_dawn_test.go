package main

import (
	"cmp"
	"database/sql"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"stowage/portal"
)

// nightResult is what came of a night.
type nightResult struct {
	slots  map[string]int // by state
	silent int            // neither done nor explained
	why    map[string]int // by the reason that the ledger gives for what was not done
	late   []time.Duration
	waits  map[int]time.Duration // by machine, of those that were done
}

func (n *night) result() nightResult {
	res := nightResult{slots: map[string]int{}, why: map[string]int{}, waits: map[int]time.Duration{}}
	index := make(map[int64]int, len(n.guests))
	for i, m := range n.guests {
		index[m.service.ID] = i
	}
	n.must(each(n.t.Context(), n.raw, func(rows *sql.Rows) error {
		var state, reason string
		var service, due, began int64
		err := rows.Scan(&service, &state, &reason, &due, &began)
		res.slots[state]++
		switch state {
		case "done", "late":
			wait := time.Duration(max(0, began-due)) * time.Second
			res.late = append(res.late, wait)
			res.waits[index[service]] = wait
		case "due", "running":
			res.silent++
		default:
			if reason == "" {
				res.silent++
				break
			}
			res.why[portal.Text(reason).String()]++
		}
		return err
	}, `SELECT l.service_id, l.state, l.reason, l.due_at, COALESCE(b.started_at, 0) FROM slots l LEFT JOIN backups b ON b.id = l.backup_id WHERE l.due_at >= ?`, n.start.Unix()))
	return res
}

// least gives how late each machine's backup begins at best: on every node one dump follows the other without a gap, in
// the order in which they fall due, each as long as it takes alone. Nothing begins on a node that has failed, and what
// loses its power begins anew.
func (n *night) least() map[int]time.Duration {
	of := make([][]int, len(n.hosts))
	for i, m := range n.guests {
		of[m.host] = append(of[m.host], i)
	}
	failed := map[int]nightFailure{}
	for _, f := range n.failed {
		failed[f.host] = f
	}
	out := map[int]time.Duration{}
	for host, machines := range of {
		slices.SortFunc(machines, func(a, b int) int { return n.guests[a].due.Compare(n.guests[b].due) })
		f, fails := failed[host]
		down := func(at time.Time) bool { return fails && !at.Before(f.from) && at.Before(f.to) }
		var free time.Time
		for _, i := range machines {
			m := n.guests[i]
			begin := m.due
			if free.After(begin) {
				begin = free
			}
			if down(begin) {
				begin = f.to
			}
			free = begin.Add(m.takes)
			if down(free) && f.power {
				begin, free = f.to, f.to.Add(m.takes)
			}
			out[i] = begin.Sub(m.due)
		}
	}
	return out
}

// lateness writes the row about how late backups begin.
func (n *night) lateness(l *limits, r nightResult) {
	least := n.least()
	var low []time.Duration
	ours, best := make([][]time.Duration, len(n.hosts)), make([][]time.Duration, len(n.hosts))
	for i, wait := range r.waits {
		low = append(low, least[i])
		h := n.guests[i].host
		ours[h], best[h] = append(ours[h], wait), append(best[h], least[i])
	}
	within, slow := 0, 0
	for h := range ours {
		p, q := quantile(ours[h], .95), quantile(best[h], .95)
		switch {
		case p <= 30*time.Minute:
			within++
		case float64(p) <= 1.1*float64(q)+60e9:
			slow++
		}
	}
	p95 := quantile(r.late, .95)
	l.row("The night: how late backups begin", "p95 ≤ 30 min, or what the node can do at best",
		fmt.Sprintf("p50 %s, p95 %s, p99 %s; at best, with no gap between two dumps on a node: p50 %s, p95 %s, p99 %s\n%d of %d nodes keep 30 min by themselves, %d more are within a tenth of what they can do at best",
			minutes(quantile(r.late, .5)), minutes(p95), minutes(quantile(r.late, .99)), minutes(quantile(low, .5)), minutes(quantile(low, .95)), minutes(quantile(low, .99)), within, len(n.hosts), slow),
		p95 <= 30*time.Minute || float64(p95) <= 1.1*float64(quantile(low, .95)),
		"one dump at a time on each node, and disks that are read at 200 MB/s")
}

// pressed writes the row about "Back up now".
func (n *night) pressed(l *limits) {
	type span struct{ from, to int64 }
	dumps := map[int64][]span{} // by service
	n.must(each(n.t.Context(), n.raw, func(rows *sql.Rows) error {
		var service int64
		var s span
		err := rows.Scan(&service, &s.from, &s.to)
		dumps[service] = append(dumps[service], s)
		return err
	}, `SELECT service_id, started_at, ended_at FROM backups WHERE ended_at IS NOT NULL AND started_at >= ?`, n.start.Unix()))
	onHost := make([][]span, len(n.hosts))
	for _, m := range n.guests {
		onHost[m.host] = append(onHost[m.host], dumps[m.service.ID]...)
	}
	var waits []time.Duration
	over, done, refused := 0, 0, map[portal.Text]int{}
	for _, p := range n.manual {
		if p.refused != "" {
			refused[p.refused]++
			continue
		}
		var began sql.NullInt64
		n.must(n.raw.QueryRow(`SELECT b.started_at FROM operations o LEFT JOIN backups b ON b.id = o.backup_id WHERE o.id = ?`, p.op).Scan(&began))
		if !began.Valid {
			continue
		}
		done++
		wait := time.Duration(began.Int64-p.at.Unix()) * time.Second
		waits = append(waits, wait)
		under := 10 * time.Second // where nothing runs
		for _, s := range onHost[n.guests[p.machine].host] {
			if s.from <= p.at.Unix() && p.at.Unix() < s.to {
				under = max(under, time.Duration(s.to-s.from)*time.Second)
			}
		}
		if wait > under {
			over++
		}
	}
	within := float64(done-over) / float64(max(done, 1))
	measured := fmt.Sprintf("%.0f %% of %d; waits: p50 %s, p95 %s", 100*within, done, minutes(quantile(waits, .5)), minutes(quantile(waits, .95)))
	if len(refused) > 0 {
		measured += fmt.Sprintf("; %d refused, a backup of the machine being under way", len(n.manual)-done)
	}
	l.row("The night: “Back up now” begins within the length of the backup under way on its node", "p95",
		measured, within >= .95 && done > 0, "the one dump that is under way on the node is not cut short")
}

// fair writes the row about who waits: on each node, clients with equally many machines.
func (n *night) fair(l *limits, r nightResult) {
	unfair := func(waits map[int]time.Duration) (share, worst float64) {
		type whose struct {
			host   int
			client int64
		}
		sum, count := map[whose]time.Duration{}, map[whose]int{}
		for i, wait := range waits {
			k := whose{n.guests[i].host, n.guests[i].client}
			sum[k] += wait
			count[k]++
		}
		mean, members := map[int]float64{}, map[int]int{}
		for k, d := range sum {
			mean[count[k]] += d.Seconds() / float64(count[k])
			members[count[k]]++
		}
		over := 0
		for k, d := range sum {
			ratio := d.Seconds() / float64(count[k]) / max(mean[count[k]]/float64(members[count[k]]), 1)
			worst = max(worst, ratio)
			if ratio > 1.5 {
				over++
			}
		}
		return float64(over) / float64(len(sum)), worst
	}
	ours, _ := unfair(r.waits)
	least := n.least()
	for i := range least {
		if _, ok := r.waits[i]; !ok {
			delete(least, i)
		}
	}
	first, _ := unfair(least)
	l.figure("The night: clients that wait more than 1.5 × the mean over those with equally many machines on a node",
		fmt.Sprintf("%.0f %% of clients in this one night; %.0f %% where whoever is due first goes first", 100*ours, 100*first),
		"when each one's machines fall due: at the beginning of the busy hour nobody waits")
}

// measureNight lets ten thousand machines be backed up in one night of virtual time.
func measureNight(t *testing.T, l *limits) {
	plan := nightPlan{seed: 1, clusters: 10, nodes: 30, machines: 1000, failing: 15, presses: 200, workers: 2}
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // ten clusters live in this process
	n := newNight(t, plan)
	n.say = l.say
	l.say("  made %d machines", len(n.guests))
	n.counted()
	began, cpu := time.Now(), cpuTime()
	n.live(n.at(21, 0)) // the hosts that stay away longest are back by then
	took, used := time.Since(began), cpuTime()-cpu
	l.say("  it is %s in Berlin", n.clock.now().Add(time.Hour).Format("15:04"))
	r := n.result()
	total := 0
	var states []string
	for state, count := range r.slots {
		total += count
		states = append(states, fmt.Sprintf("%d %s", count, state))
	}
	slices.SortFunc(states, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	explained := ""
	for _, why := range slices.Sorted(maps.Keys(r.why)) {
		explained += fmt.Sprintf("\n%d of those not done: “%s”", r.why[why], strings.TrimSuffix(why, "."))
	}
	l.row(fmt.Sprintf("The night: %d machines on %d nodes, 60 %% due from 02:00 to 02:59, %d nodes fail", len(n.guests), len(n.hosts), plan.failing), "100 % done or explained",
		fmt.Sprintf("%d slots: %s; %d without a word%s\nthe whole night in %s here (%s of processor, the simulated clusters included)", total, strings.Join(states, ", "), r.silent, explained, short(took), short(used)),
		r.silent == 0 && total == len(n.guests), "what is not done is on hosts that were away until their time was over")
	n.lateness(l, r)
	n.pressed(l)
	n.fair(l, r)
	calls := 0
	for _, c := range n.counted() {
		calls += c
	}
	l.figure("The night: requests to Proxmox VE", fmt.Sprintf("%d for each backup (%d in all, those of the present state among them)", calls/max(total, 1), calls),
		"a dump under way is asked after every ten seconds, near its end and with its page open every second")
}

// minutes says how late something is.
func minutes(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%.0f s", d.Seconds())
	}
	return fmt.Sprintf("%.1f min", d.Minutes())
}
