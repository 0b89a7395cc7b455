package main

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"stowage/pve/pvesim"
)

// measureCalls counts what the portal asks of Proxmox VE in forty minutes in which no backup is due and no page is open.
func measureCalls(t *testing.T, l *limits) {
	for _, size := range []nightPlan{
		{clusters: 1, nodes: 3, machines: 100},
		{clusters: 1, nodes: 30, machines: 1000},
		{clusters: 10, nodes: 30, machines: 1000},
	} {
		size.seed, size.workers, size.still = 5, 2, true
		n := newNight(t, size)
		n.live(n.start.Add(10 * time.Minute)) // what a beginning asks once
		n.counted()
		began := n.clock.now()
		n.live(began.Add(40 * time.Minute))
		over := n.clock.now().Sub(began).Minutes()
		type kind struct {
			path  string
			calls float64
		}
		var kinds []kind
		sum := 0.0
		for path, calls := range n.counted() {
			kinds = append(kinds, kind{strings.TrimPrefix(path, "GET "), float64(calls) / over})
			sum += float64(calls) / over
		}
		slices.SortFunc(kinds, func(a, b kind) int { return int(1000 * (b.calls - a.calls)) })
		var parts []string
		for _, k := range kinds {
			parts = append(parts, fmt.Sprintf("%s %.3g", k.path, k.calls))
		}
		l.figure(fmt.Sprintf("Requests to Proxmox VE in a minute at rest: %d machines on %d nodes, %d server(s)", len(n.guests), len(n.hosts), size.clusters),
			fmt.Sprintf("%.1f in all, %.1f for each server: %s", sum, sum/float64(size.clusters), strings.Join(parts, ", ")),
			"the number of servers and of their storages, not of machines")
		n.engine.Close()
	}
}

// measureListing lists a storage with a hundred thousand archives.
func measureListing(t *testing.T, l *limits) {
	const machines, copies = 5000, 20
	n := newNight(t, nightPlan{seed: 6, clusters: 1, nodes: 5, machines: machines, copies: copies, workers: 2})
	var whole, answered []time.Duration
	size := int64(0)
	for range 3 {
		began := time.Now()
		n.must(n.engine.SyncArchives(t.Context()))
		whole = append(whole, time.Since(began))
		began = time.Now()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://cluster00.test:8006/api2/json/nodes/pve1/storage/"+nightShared+"/content?content=backup", nil)
		n.must(err)
		r.Header.Set("Authorization", "PVEAPIToken="+pvesim.PortalToken+"="+pvesim.Secret)
		answer, err := n.sims[0].RoundTrip(r)
		n.must(err)
		size, err = io.Copy(io.Discard, answer.Body)
		n.must(err)
		answered = append(answered, time.Since(began))
	}
	var listed int
	n.must(n.raw.QueryRow(`SELECT count(*) FROM backups WHERE removed_at IS NULL AND missing_since IS NULL`).Scan(&listed))
	if listed != machines*copies {
		t.Errorf("%d copies are listed, want %d", listed, machines*copies)
	}
	both, sim := quantile(whole, .5), quantile(answered, .5)
	l.figure(fmt.Sprintf("Listing a storage with %d archives, every one compared with its row", machines*copies),
		fmt.Sprintf("%s (median of three), of which the simulated server takes %s for its answer of %.1f MB", short(both), short(sim), float64(size)/1e6),
		"reading the answer and the rows; on a real storage its own stat of each file, which has 30 s")
}
