package store

import (
	"context"
	"slices"
	"sync"
	"time"

	"stowage/portal"
)

// line is the line of one host: its queued backups.
type line struct {
	server int64
	node   string
}

// lines remembers which lines were looked at when. It is no more than a memory: a process that begins anew looks at
// all of them.
type lines struct {
	mu sync.Mutex
	at map[line]time.Time
}

const (
	// lookAgain is when a line that can't move is looked at all the same: what its operations wait for may be another
	// thing by now.
	lookAgain = 30 * time.Second
	// rowsToLookAt bounds what one call reads. What is left over is looked at first the next time.
	rowsToLookAt = 4000
)

// choose gives the lines that are worth a look, the ones that can move first.
func (l *lines) choose(ctx context.Context, q querier, now time.Time, running []portal.Running, limits portal.Limits) ([]line, error) {
	type standing struct {
		line
		rows   int
		newest int64 // when the latest of it came
		moves  bool
		at     time.Time
	}
	all, err := collect(ctx, q, func(s scanner) (v standing, err error) {
		return v, s.Scan(&v.server, &v.node, &v.rows, &v.newest)
	}, `SELECT o.server_id, o.node, count(*), max(o.run_after) FROM operations o
		WHERE o.state = 'queued' AND o.kind = 'backup' AND o.run_after <= $1 GROUP BY o.server_id, o.node`, now.Unix())
	if err != nil || len(all) == 0 {
		return nil, err
	}
	down, err := collect(ctx, q, func(s scanner) (v line, err error) { return v, s.Scan(&v.server, &v.node) },
		`SELECT server_id, name FROM nodes WHERE online = 0 UNION SELECT n.server_id, n.name FROM nodes n JOIN servers v ON v.id = n.server_id WHERE v.unreachable_since IS NOT NULL`)
	if err != nil {
		return nil, err
	}
	still := make(map[line]bool, len(down))
	for _, d := range down {
		still[d] = true
	}
	onNode, onServer := map[line]int{}, map[int64]int{}
	for _, r := range running {
		if r.Kind != portal.KindDelete {
			onNode[line{r.Server, r.Node}]++
			onServer[r.Server]++
		}
	}
	l.mu.Lock()
	for i := range all {
		v := &all[i]
		v.at = l.at[v.line]
		v.moves = !still[v.line] && onNode[v.line] < limits.PerNode && onServer[v.server] < limits.PerServer
	}
	l.mu.Unlock()
	all = slices.DeleteFunc(all, func(v standing) bool {
		return !v.moves && v.newest < v.at.Unix() && now.Sub(v.at).Abs() < lookAgain
	})
	slices.SortStableFunc(all, func(a, b standing) int {
		if a.moves != b.moves {
			if a.moves {
				return -1
			}
			return 1
		}
		return a.at.Compare(b.at)
	})
	var chosen []line
	rows := 0
	for _, v := range all {
		if rows > 0 && rows+v.rows > rowsToLookAt {
			break
		}
		rows += v.rows
		chosen = append(chosen, v.line)
	}
	return chosen, nil
}

// looked notes which lines were looked at now.
func (l *lines) looked(these []line, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.at == nil || len(l.at) > 100_000 {
		l.at = map[line]time.Time{}
	}
	for _, v := range these {
		l.at[v] = now
	}
}
