package main

import (
	"context"
	"fmt"
	"time"

	"stowage/portal"
	"stowage/store"
)

// tickQuiet is how long the scheduler may be silent before it counts as not running.
const tickQuiet = 2 * time.Minute

// checks is what /readyz tells. Each is "ok" or says what is wrong.
type checks struct {
	Database  string            `json:"database"`
	Scheduler string            `json:"scheduler"`
	Recovery  string            `json:"recovery"`
	Servers   map[string]string `json:"servers"`
	Clocks    map[string]string `json:"clocks"`
}

const fine = "ok"

// readiness gives the answer of /readyz. The portal is ready when its database answers and its scheduler ticks;
// a server that can't be reached, or whose clock is off, is said but makes no portal unready: its pages work.
func readiness(db *store.DB) func(context.Context) (bool, any) {
	return func(ctx context.Context) (bool, any) {
		c := checks{Database: fine, Scheduler: fine, Recovery: fine, Servers: map[string]string{}, Clocks: map[string]string{}}
		pulse, err := db.Pulse(ctx)
		if err != nil {
			c.Database, c.Scheduler, c.Recovery = "not readable", "unknown", "unknown"
			return false, c
		}
		c.Scheduler = schedulerState(pulse, db.Now())
		if pulse.Recovering {
			c.Recovery = "automatic deletions wait until every storage was listed twice"
		}
		servers, err := db.Servers(ctx)
		if err != nil {
			c.Database = "not readable"
			return false, c
		}
		for _, s := range servers {
			c.Servers[s.Name], c.Clocks[s.Name] = serverState(s), clockState(s)
		}
		return c.Scheduler == fine, c
	}
}

func schedulerState(p store.Pulse, now time.Time) string {
	switch {
	case p.TickAt.IsZero():
		return "has not ticked yet"
	case now.Sub(p.TickAt) > tickQuiet:
		return "no tick since " + stamp(p.TickAt)
	}
	return fine
}

func serverState(s portal.Server) string {
	switch {
	case !s.UnreachableSince.IsZero():
		return "unreachable since " + stamp(s.UnreachableSince)
	case s.SeenAt.IsZero():
		return "never reached yet"
	}
	return fine
}

func clockState(s portal.Server) string {
	switch {
	case s.SeenAt.IsZero():
		return "not known yet"
	case s.ClockTrusted():
		return fine
	}
	return fmt.Sprintf("differs from ours by %s: nothing is deleted by age and nothing is caught up there", s.Skew.Abs().Round(time.Second))
}
