package store

import (
	"context"
	"maps"
	"sync"
	"time"
)

// fairWindow is the night over which clients are served in turn.
const fairWindow = 12 * time.Hour

// turns counts, by client, the backups begun that have ended within the window: who had more waits longer. It remembers
// what it has counted, because it is asked every second and a night has thousands of them.
type turns struct {
	mu    sync.Mutex
	upTo  time.Time
	ended []endedTurn // in order of their ends
	known map[int64]bool
	count map[int64]int
}

type endedTurn struct{ operation, client, at int64 }

// turnsOverlap is how far back ends are read anew: a transaction may commit some seconds after the instant it names.
const turnsOverlap = time.Minute

// served gives the counts.
func (c *turns) served(ctx context.Context, q querier, now time.Time) (map[int64]int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	since := c.upTo.Add(-turnsOverlap)
	if oldest := now.Add(-fairWindow); c.known == nil || now.Before(c.upTo) || since.Before(oldest) {
		since, c.ended, c.known, c.count = oldest, nil, map[int64]bool{}, map[int64]int{}
	}
	fresh, err := collect(ctx, q, func(s scanner) (v endedTurn, err error) { return v, s.Scan(&v.operation, &v.client, &v.at) },
		`SELECT o.id, s.client_id, o.ended_at FROM operations o JOIN services s ON s.id = o.service_id
		WHERE o.ended_at > $1 AND o.kind = 'backup' AND o.started_at IS NOT NULL ORDER BY o.ended_at`, since.Unix())
	if err != nil {
		c.known = nil
		return nil, err
	}
	for _, v := range fresh {
		if !c.known[v.operation] {
			c.known[v.operation] = true
			c.ended = append(c.ended, v)
			c.count[v.client]++
		}
	}
	past := 0
	for past < len(c.ended) && c.ended[past].at <= now.Add(-fairWindow).Unix() {
		v := c.ended[past]
		delete(c.known, v.operation)
		if c.count[v.client]--; c.count[v.client] == 0 {
			delete(c.count, v.client)
		}
		past++
	}
	c.ended, c.upTo = c.ended[past:], now
	return maps.Clone(c.count), nil
}
