package main

import (
	"fmt"
	"testing"
	"time"
)

// nightResult is what came of a night.
type nightResult struct {
	slots  map[string]int // by state
	silent int            // neither done nor explained
	late   []time.Duration
}

func (n *night) result() nightResult {
	res := nightResult{slots: map[string]int{}}
	rows, err := n.raw.Query(`SELECT l.state, l.reason, l.due_at, COALESCE(b.started_at, 0) FROM slots l LEFT JOIN backups b ON b.id = l.backup_id WHERE l.due_at >= ?`, n.start.Unix())
	n.must(err)
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var state, reason string
		var due, began int64
		n.must(rows.Scan(&state, &reason, &due, &began))
		res.slots[state]++
		switch state {
		case "done", "late":
			res.late = append(res.late, time.Duration(max(0, began-due))*time.Second)
		case "due", "running":
			res.silent++
		default:
			if reason == "" {
				res.silent++
			}
		}
	}
	n.must(rows.Err())
	return res
}

func measureNight(t *testing.T, l *limits) {
	plan := nightPlan{seed: 1, clusters: 10, nodes: 30, machines: 1000, failing: 15, presses: 200, workers: 2}
	began := time.Now()
	n := newNight(t, plan)
	l.say("  made %d machines within %s", len(n.guests), time.Since(began).Round(time.Millisecond))
	began = time.Now()
	cpu := cpuTime()
	n.live(n.at(12, 0))
	l.say("  the night took %s, %s of processor", time.Since(began).Round(time.Second), (cpuTime() - cpu).Round(time.Second))
	r := n.result()
	fmt.Println(r.slots, r.silent, quantile(r.late, .5), quantile(r.late, .95), quantile(r.late, .99))
}

func TestNightSmall(t *testing.T) {
	plan := nightPlan{seed: 1, clusters: 1, nodes: 5, machines: 100, failing: 1, presses: 5, workers: 1}
	began := time.Now()
	n := newNight(t, plan)
	t.Logf("made %s", time.Since(began))
	n.live(n.at(12, 0))
	r := n.result()
	t.Log(r.slots, r.silent, quantile(r.late, .5), quantile(r.late, .95), quantile(r.late, .99), time.Since(began))
}
