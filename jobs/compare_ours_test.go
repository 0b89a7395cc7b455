package jobs_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"stowage/portal"
	"stowage/store"
)

// ours is the portal in a walk.
type ours struct {
	*world
	walk     *walk
	products map[string]portal.Product // by storage and eviction
	services map[*tenant]portal.Service
	listed   time.Time
	synced   time.Time
	wasUp    bool
	quiet    bool // nothing goes on and nothing is wrong
}

func (p *plan) ours(t testing.TB, w *walk) *ours {
	o := &ours{walk: w, products: map[string]portal.Product{}, services: map[*tenant]portal.Service{}, wasUp: true}
	o.world = &world{t: t, started: p.begin, dir: scratch(t), logs: &bytes.Buffer{}, clock: w.own, sim: w.sim}
	o.wrap = func(http.RoundTripper) http.RoundTripper { return door{w} }
	from, err := template()
	w.must(err)
	for _, name := range []string{"db", "key"} {
		copyFile(t, filepath.Join(from, name), filepath.Join(o.dir, name))
	}
	o.keys, err = store.ReadKey(filepath.Join(o.dir, "key"))
	w.must(err)
	o.open()
	ctx := context.Background()
	o.server, err = o.db.AddServer(ctx, "cli", portal.Server{Name: "sim", Endpoints: []string{"https://pve1.test:8006"}, TokenID: "portal@pve!api",
		Fingerprints: []string{strings.Repeat("ab", 32)}}, "00000000-0000-4000-8000-000000000001")
	w.must(err)
	for _, storage := range []string{"vault", "shared"} {
		for _, eviction := range []portal.EvictionMode{portal.EvictBefore, portal.EvictAfter} {
			pr := portal.NewProduct(storage + " " + string(eviction))
			pr.Quota, pr.Storage, pr.Policy.Eviction = 3, storage, eviction
			o.products[pr.Name], err = o.db.AddProduct(ctx, "cli", pr)
			w.must(err)
		}
	}
	return o
}

// live is the portal's life through a walk.
func (o *ours) live() {
	w := o.walk
	w.die = func() { o.point("killed") }
	o.crashAt = []int{1}
	for w.now().Before(w.end) {
		if up := w.up(); up && !o.wasUp {
			o.restart()
			o.wasUp = true
		} else if !up {
			o.wasUp = false
		}
		if o.wasUp {
			o.points = 0
			crashed := o.alive(func() { o.books(); o.work() })
			if crashed {
				o.wasUp = false
				continue
			}
		}
		w.advance(o.next())
		if o.logs.Len() > 1<<20 {
			o.logs.Reset()
		}
	}
	o.tellings()
	o.close()
	o.dropRaw()
}

// books keeps the portal's services in step with what customers have bought, as staff do.
func (o *ours) books() {
	ctx := context.Background()
	for _, t := range o.walk.ledger.tenants {
		s, known := o.services[t]
		switch {
		case known && !t.to.IsZero() && s.State != portal.ServiceTerminated:
			o.must(o.db.SetServiceState(ctx, "staff:test", s, portal.ServiceTerminated, "cancelled by the client"))
			s.State = portal.ServiceTerminated
			o.services[t] = s
		case !known && t.to.IsZero():
			o.adopt(t)
		}
	}
}

func (o *ours) adopt(t *tenant) {
	ctx := context.Background()
	name := fmt.Sprintf("client%d", len(o.services))
	c, _, err := o.db.AddClient(ctx, "cli", portal.Client{Name: name, Zone: walkZone}, fmt.Sprintf("%s-%d@example.test", name, o.walk.now().Unix()), "x")
	o.must(err)
	s, err := o.engine.AdoptMachine(ctx, "cli", o.server, portal.Service{ClientID: c.ID, ProductID: o.products[t.storage+" "+string(t.eviction)].ID, VMID: t.vmid}, walkZone)
	if err != nil {
		return // the host can't be asked right now: staff do it again
	}
	quota := t.quota
	o.must(o.db.SetServiceQuota(ctx, "cli", s.UID, &quota))
	o.must(o.db.SaveSchedule(ctx, 0, s.UID, "cli", t.schedule))
	o.services[t], t.inBooks = s, o.walk.now()
}

// work is one waking of everything whose time has come. The paces are those of Run while anything goes on or is
// wrong, but coarser: what waits there for a second waits here for some more.
func (o *ours) work() {
	ctx := context.Background()
	now := o.clock.Now()
	if now.Sub(o.synced).Abs() >= 2*time.Minute {
		o.synced = now
		o.must(o.engine.Sync(ctx))
	}
	pulse, err := o.db.Pulse(ctx)
	o.must(err)
	pace := 10 * time.Minute
	if pulse.Recovering {
		pace = time.Minute
	} else if o.quiet {
		pace = time.Hour
	}
	if now.Sub(o.listed).Abs() >= pace {
		o.listed = now
		o.must(o.engine.SyncArchives(ctx))
		o.must(o.engine.CheckConfigs(ctx, 200))
		o.must(o.engine.CloseWatches(ctx))
	}
	o.must(o.engine.Tick(ctx))
	_, err = o.engine.Drive(ctx)
	o.must(err)
	o.must(o.engine.MirrorNotes(ctx))
}

// next is when to wake again: soon while an operation is unfinished, in some minutes while a spell lasts, and else
// in an hour or when a backup falls due.
func (o *ours) next() time.Time {
	now := o.clock.Now()
	pause := time.Hour
	if o.walk.inSpell() {
		pause = 10 * time.Minute
	}
	o.quiet = pause == time.Hour
	if !o.wasUp {
		return o.walk.now().Add(pause)
	}
	soonest := func(seconds string, least, most time.Duration) {
		at, err := strconv.ParseInt(seconds, 10, 64)
		if err != nil {
			return // NULL: there is none
		}
		wait := min(most, time.Unix(at, 0).Sub(now))
		if wait > 0 {
			wait = max(least, wait) // a look at what runs, or a try again: not urgent
		}
		pause = min(pause, max(wait, 2*time.Second))
	}
	soonest(o.column(`SELECT min(next_due_at) FROM schedules WHERE next_due_at > ?`, now.Unix())[0], time.Second, time.Hour)
	busy := o.column(`SELECT min(run_after) FROM operations WHERE state = 'running' UNION ALL SELECT max(min(run_after), ?) FROM operations WHERE state = 'queued'`, now.Unix()+1)
	soonest(busy[0], 45*time.Second, time.Minute)
	soonest(busy[1], time.Minute, 5*time.Minute)
	o.quiet = o.quiet && busy[0] == "" && busy[1] == ""
	return o.walk.now().Add(pause)
}

// tellings reads what the run ledger tells people of each slot that was not done.
func (o *ours) tellings() {
	for t, s := range o.services {
		slots, err := o.db.Slots(context.Background(), s.ID, time.Time{})
		o.must(err)
		for _, slot := range slots {
			switch slot.State {
			case portal.SlotSkipped, portal.SlotFailed, portal.SlotMissed:
				if slot.Reason != "" {
					t.told = append(t.told, word{slot.DueAt, string(slot.State) + ": " + slot.Reason.String()})
				}
			}
		}
	}
}
