package store

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"stowage/portal"
)

// line is the line of one host: its queued backups, or its snapshots whose time is over.
type line struct {
	server int64
	node   string
}

// lines remembers which lines were looked at when, as a whole. It is no more than a memory: a process that begins anew looks at
// all of them.
type lines struct {
	mu   sync.Mutex
	at   map[line]time.Time
	head int // how many are read of a line that has a free place and nothing new in it; 0 = all
}

// standing is a line as it stands.
type standing struct {
	line
	rows   int
	newest int64 // when the latest of it came
	moves  bool  // it has a free place
	whole  bool  // something new stands in it, or nobody has looked at all of it for a while
	at     time.Time
}

const (
	// waitingBackups and waitingExpiries are what stands in lines.
	waitingBackups  = `o.state = 'queued' AND o.kind = 'backup'`
	waitingExpiries = `o.state = 'queued' AND o.kind <> 'backup' AND o.kind = 'snapshot_delete' AND o.manual = 0`

	// lookAgain is when a line that can't move is looked at all the same: what its operations wait for may be another
	// thing by now.
	lookAgain = 30 * time.Second
	// rowsToLookAt bounds what one call reads. What is left over is looked at first the next time.
	rowsToLookAt = 4000
)

// choose gives the lines of what waits that are worth a look, the ones with a free place first.
func (l *lines) choose(ctx context.Context, q querier, now time.Time, waits string, free func(line) bool) ([]standing, error) {
	all, err := collect(ctx, q, func(s scanner) (v standing, err error) {
		return v, s.Scan(&v.server, &v.node, &v.rows, &v.newest)
	}, `SELECT o.server_id, o.node, count(*), max(o.run_after) FROM operations o
		WHERE `+waits+` AND o.run_after <= $1 GROUP BY o.server_id, o.node`, now.Unix())
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
	l.mu.Lock()
	for i := range all {
		v := &all[i]
		v.at = l.at[v.line]
		v.moves = !still[v.line] && free(v.line)
		v.whole = v.newest >= v.at.Unix() || now.Sub(v.at).Abs() >= lookAgain
		if !v.whole && v.moves {
			v.whole = l.head == 0
			v.rows = min(v.rows, cmp.Or(l.head, v.rows))
		}
	}
	l.mu.Unlock()
	all = slices.DeleteFunc(all, func(v standing) bool { return !v.moves && !v.whole })
	slices.SortStableFunc(all, func(a, b standing) int {
		if a.moves != b.moves {
			if a.moves {
				return -1
			}
			return 1
		}
		return a.at.Compare(b.at)
	})
	rows := 0
	for i, v := range all {
		if rows > 0 && rows+v.rows > rowsToLookAt {
			return all[:i], nil
		}
		rows += v.rows
	}
	return all, nil
}

// freeForBackups tells which lines of backups have a free place beside what runs.
func freeForBackups(running []portal.Running, limits portal.Limits) func(line) bool {
	onNode, onServer := map[line]int{}, map[int64]int{}
	for _, r := range running {
		if r.Kind != portal.KindDelete {
			onNode[line{r.Server, r.Node}]++
			onServer[r.Server]++
		}
	}
	return func(l line) bool { return onNode[l] < limits.PerNode && onServer[l.server] < limits.PerServer }
}

// headOfLine is how many expiries are read of a host that has a free place, between two looks at all that stand there:
// those of machines that are locked stay where they are.
const headOfLine = 20

// expiries reads those of chosen lines that may be begun, or have to be told what they wait for.
func expiries(ctx context.Context, q querier, now time.Time, chosen []standing) (all []waiting, err error) {
	var whole, heads [][2]any
	for _, v := range chosen {
		if at := [2]any{v.server, v.node}; v.whole {
			whole = append(whole, at)
		} else {
			heads = append(heads, at)
		}
	}
	for _, some := range []struct {
		lines [][2]any
		most  int
	}{{whole, rowsToLookAt}, {heads, headOfLine}} {
		if len(some.lines) == 0 {
			continue
		}
		there, err := collect(ctx, q, scanWaiting, waitingQuery+` WHERE o.id IN (SELECT id FROM (
			SELECT o.id, row_number() OVER (PARTITION BY o.server_id, o.node ORDER BY o.run_after, o.id) AS place FROM operations o
			WHERE `+waitingExpiries+` AND o.run_after <= $1 AND o.start_by > $1 AND (o.server_id, o.node) IN (SELECT value ->> 0, value ->> 1 FROM json_each($2))) WHERE place <= $3)
			ORDER BY o.run_after, o.id`, now.Unix(), tojson(some.lines), some.most)
		if err != nil {
			return nil, err
		}
		all = append(all, there...)
	}
	return all, nil
}

// looked notes which lines were looked at now.
func (l *lines) looked(these []standing, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.at == nil || len(l.at) > 100_000 {
		l.at = map[line]time.Time{}
	}
	for _, v := range these {
		if v.whole {
			l.at[v.line] = now
		}
	}
}
