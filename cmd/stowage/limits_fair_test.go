package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"stowage/portal"
)

// measureFair lets all machines of a node fall due at the same instant, night after night, and lets the portal's own
// rule say who is next. What clients wait is then nothing but that rule.
func measureFair(_ *testing.T, l *limits) {
	const nodes, nights, machines = 100, 60, 33
	r := rand.New(rand.NewPCG(1, 8))
	within, all, worst, operation := 0, 0, 0.0, int64(0)
	for range nodes {
		var owner []int64
		for client := int64(0); len(owner) < machines; client++ {
			for range sharesOfANode[int(client)%len(sharesOfANode)] {
				owner = append(owner, client)
			}
		}
		owner = owner[:machines]
		waited, count := map[int64]time.Duration{}, map[int64]int{}
		for _, client := range owner {
			count[client]++
		}
		for range nights {
			for i, wait := range hostsLine(r, &operation, owner) {
				waited[owner[i]] += wait
			}
		}
		sum, members := map[int]time.Duration{}, map[int]int{}
		for client, d := range waited {
			sum[count[client]] += d
			members[count[client]]++
		}
		for client, d := range waited {
			ratio := d.Seconds() * float64(members[count[client]]) / sum[count[client]].Seconds()
			worst = max(worst, ratio)
			all++
			if ratio <= 1.5 {
				within++
			}
		}
	}
	l.row(fmt.Sprintf("Fair turns: what a client waits on a node whose %d machines are all due at once, mean of %d nights", machines, nights), "≤ 1.5 × the mean over clients with equally many",
		fmt.Sprintf("at most %.2f × (%d of %d clients within)", worst, within, all), within == all,
		"in one night one client of a round is the last: it is another one the next night")
}

// hostsLine gives how long each machine of a node waits in one night, from the instant at which all are due.
func hostsLine(r *rand.Rand, operation *int64, owner []int64) []time.Duration {
	due := nightDate.Add(2 * time.Hour)
	left, of := make([]portal.Candidate, len(owner)), map[int64]int{}
	for i, client := range owner {
		*operation++
		of[*operation] = i
		left[i] = portal.Candidate{OperationID: *operation, Client: client, Server: 1, Node: "pve1", Storage: "pve1/local", Kind: portal.KindBackup, Due: due, Enqueued: due}
	}
	waits, served := make([]time.Duration, len(owner)), map[int64]int{}
	for now := due; len(left) > 0; {
		id := portal.Admit(left, nil, portal.DefaultLimits, served).Start[0]
		waits[of[id]] = now.Sub(due)
		served[owner[of[id]]]++
		left = slices.DeleteFunc(left, func(c portal.Candidate) bool { return c.OperationID == id })
		now = now.Add(time.Duration(100 * math.Exp(0.8*r.NormFloat64()) * float64(time.Second)))
	}
	return waits
}
