package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"stowage/jobs"
	"stowage/portal"
	"stowage/pve/pvesim"
	"stowage/store"
)

// stage is where the demo's past is played: the real engine on a real database beside the simulators, under a
// clock that leaps from one event to the next. What comes of it is what would have come of it in real time.
type stage struct {
	folder demoFolder
	clock  *leaping
	end    time.Time // the present, at which the past ends
	log    *slog.Logger

	db      *store.DB
	engine  *jobs.Engine
	servers map[string]portal.Server
	worlds  map[string]pvesim.World // without machines and archives
	sims    map[string]*pvesim.Sim

	logins   map[string]portal.Login
	products map[string]portal.Product
	services map[string]portal.Service // by name

	due     time.Time      // when a schedule next falls due; zero = none does
	look    time.Time      // when work that is kept waiting is next looked at
	failing map[int]string // the backups of these machines fail, with this line in their log
}

// leaping is a clock that stands until it is set.
type leaping struct {
	mu sync.Mutex
	t  time.Time
}

// Now gives the instant at which the clock stands.
func (c *leaping) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *leaping) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = t
}

// pastDays is how far back the demo's past begins.
const pastDays = 13

// fill makes the demo's data in the folder: a past that ends at end, with storages as fast as speed from then on.
// It is all or nothing: until it has returned without an error, what is in the folder is worth nothing.
func fill(ctx context.Context, folder demoFolder, end time.Time, speed float64, log *slog.Logger) (err error) {
	end = end.Truncate(time.Second)
	s := &stage{
		folder: folder, clock: &leaping{t: end.AddDate(0, 0, -pastDays)}, end: end, log: log,
		servers: map[string]portal.Server{}, worlds: map[string]pvesim.World{}, sims: map[string]*pvesim.Sim{},
		logins: map[string]portal.Login{}, products: map[string]portal.Product{}, services: map[string]portal.Service{}, failing: map[int]string{},
	}
	if err := s.open(ctx); err != nil {
		return err
	}
	defer func() {
		s.engine.Close()
		err = errors.Join(err, s.db.Close())
	}()
	if err := s.build(ctx); err != nil {
		return err
	}
	if err := s.play(ctx, s.past()); err != nil {
		return err
	}
	// From here on the worlds are journaled. Their tasks of the past are left behind, as after a rotation of
	// Proxmox's own list.
	for _, server := range demoServers() {
		w := s.worlds[server.name]
		w.Guests, w.Archives = s.sims[server.name].Guests(), s.sims[server.name].Archives()
		if s.sims[server.name], err = folder.simulator(server, w, s.clock.Now, nil, speed); err != nil {
			return err
		}
	}
	return s.play(ctx, s.present())
}

// open makes the database and the engine. Nothing of the database has to survive a power cut before it is whole.
func (s *stage) open(ctx context.Context) error {
	files := s.folder.data()
	if err := store.CreateKey(files.keyFile()); err != nil {
		return err
	}
	keys, err := store.ReadKey(files.keyFile())
	if err != nil {
		return err
	}
	if err := os.WriteFile(files.Database, nil, 0o600); err != nil { // nobody else's from the first byte on
		return err
	}
	if s.db, err = store.Open(store.Options{Path: files.Database, Keys: keys, Now: s.clock.Now, NoSync: true}); err != nil {
		return err
	}
	s.connect(s.log)
	if _, _, err = s.db.Migrate(ctx); err == nil {
		err = s.db.Ready(ctx)
	}
	if err == nil {
		err = s.db.RaiseEpoch(ctx, "demo")
	}
	if err != nil {
		return errors.Join(err, s.db.Close())
	}
	return nil
}

// connect makes an engine that reaches the simulators.
func (s *stage) connect(log *slog.Logger) {
	s.engine = jobs.New(jobs.Options{DB: s.db, Now: s.clock.Now, Log: log, Workers: 1, Transport: func(server portal.Server) http.RoundTripper {
		return onStage{s, server.Name}
	}})
}

// onStage carries requests to one simulator, and lets those backups fail that are to.
type onStage struct {
	s    *stage
	name string
}

// RoundTrip implements http.RoundTripper.
func (o onStage) RoundTrip(r *http.Request) (*http.Response, error) {
	sim := o.s.sims[o.name]
	if r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, "/vzdump") || len(o.s.failing) == 0 {
		return sim.RoundTrip(r)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, err
	}
	for vmid, line := range o.s.failing {
		if form.Get("vmid") == fmt.Sprint(vmid) {
			defer sim.Inject(pvesim.Fault{Kind: pvesim.TaskFails, Path: "/vzdump$", Share: 0.37, Line: line})()
		}
	}
	return sim.RoundTrip(r)
}

// build sets everything up, as a provider does on the first day.
func (s *stage) build(ctx context.Context) error {
	machines := demoMachines()
	for _, server := range demoServers() {
		w := server.world
		for _, m := range machines {
			if m.server == server.name && m.name != demoNever {
				w.Guests = append(w.Guests, m.guest(s.clock.Now().AddDate(0, 0, -m.vmid)))
			}
		}
		for _, t := range demoTemplates {
			w.Guests = append(w.Guests, server.template(t))
		}
		sim, err := pvesim.New(w, pvesim.Options{Release: server.release, Now: s.clock.Now, Seed: demoSeed})
		if err != nil {
			return err
		}
		s.sims[server.name], s.worlds[server.name] = sim, server.world
		added, err := s.db.AddServer(ctx, actor, portal.Server{
			Name: server.name, Endpoints: server.endpoints, TokenID: pvesim.PortalToken, Fingerprints: []string{strings.Repeat("5a", 32)},
		}, pvesim.Secret)
		if err != nil {
			return err
		}
		s.servers[server.name] = added
	}
	if err := s.people(ctx); err != nil {
		return err
	}
	for _, p := range demoProducts() {
		added, err := s.db.AddProduct(ctx, actor, p.Product)
		if err != nil {
			return err
		}
		s.products[p.key] = added
	}
	for _, m := range machines {
		if m.name == demoNever {
			continue
		}
		if err := s.adopt(ctx, m); err != nil {
			return err
		}
	}
	if err := s.lookAround(ctx); err != nil {
		return err
	}
	return s.engine.Tick(ctx)
}

// people adds everybody who signs in.
func (s *stage) people(ctx context.Context) error {
	hash, err := demoHash()
	if err != nil {
		return err
	}
	for _, c := range demoClients {
		_, login, err := s.db.AddClient(ctx, actor, portal.Client{Name: c.name, Zone: c.zone}, demoEmail(c.key), hash)
		if err != nil {
			return err
		}
		s.logins[c.key] = login
	}
	for _, p := range demoStaff {
		if s.logins[p.key], err = s.db.AddStaff(ctx, actor, demoEmail(p.key), p.name, p.role, hash); err != nil {
			return err
		}
	}
	return nil
}

// adopt makes a machine a service and gives it its schedule.
func (s *stage) adopt(ctx context.Context, m demoMachine) error {
	service := portal.Service{ClientID: s.logins[m.client].ClientID, ProductID: s.products[m.product].ID, VMID: m.vmid, Mode: m.mode}
	if m.quota > 0 {
		service.Quota = &m.quota
	}
	added, err := s.engine.AdoptMachine(ctx, actor, s.servers[m.server], service, m.zone)
	if err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	s.services[m.name] = added
	if m.grid == "" {
		return nil
	}
	schedule, err := m.schedule(s.end)
	if err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	defer func() { s.due = time.Time{} }()
	return s.db.SaveSchedule(ctx, added.ClientID, added.UID, s.logins[m.client].Actor(), schedule)
}

// act is one event of the story.
type act struct {
	at time.Time
	do func(context.Context) error
}

// play lets time pass from one act to the next.
func (s *stage) play(ctx context.Context, acts []act) error {
	for _, a := range acts {
		if err := s.until(ctx, a.at); err != nil {
			return err
		}
		if err := a.do(ctx); err != nil {
			return fmt.Errorf("demo data, %s: %w", s.clock.Now().Format(time.RFC3339), err)
		}
	}
	return nil
}

// until lets time pass, and whatever is due be done in it.
func (s *stage) until(ctx context.Context, end time.Time) error {
	_, err := s.untilDone(ctx, end, func() (bool, error) { return false, nil })
	return err
}

// untilDone lets time pass until done says so, or to the end. It gives whether done said so.
func (s *stage) untilDone(ctx context.Context, end time.Time, done func() (bool, error)) (bool, error) {
	for {
		if err := s.work(ctx); err != nil {
			return false, err
		}
		if ok, err := done(); ok || err != nil {
			return ok, err
		}
		if now := s.clock.Now(); !now.Before(end) {
			return false, nil
		}
		next, err := s.next(ctx, end)
		if err != nil {
			return false, err
		}
		s.clock.set(next)
	}
}

// work does all that is due at this instant.
func (s *stage) work(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	now := s.clock.Now()
	if s.due.IsZero() {
		if err := s.plan(ctx); err != nil {
			return err
		}
	}
	planned := !s.due.After(now)
	if planned || !s.look.IsZero() && !s.look.After(now) {
		s.look = time.Time{}
		if err := s.engine.Sync(ctx); err != nil {
			return err
		}
	}
	if planned {
		if err := s.engine.Tick(ctx); err != nil {
			return err
		}
		if err := s.plan(ctx); err != nil {
			return err
		}
	}
	for range 100 {
		if turns, err := s.engine.Drive(ctx); err != nil || turns == 0 {
			if err != nil {
				return err
			}
			return s.engine.MirrorNotes(ctx)
		}
	}
	return errors.New("the engine does not come to rest")
}

// plan finds out when a schedule next falls due.
func (s *stage) plan(ctx context.Context) error {
	s.due = s.end.AddDate(1, 0, 0)
	for _, service := range s.services {
		schedule, err := s.db.Schedule(ctx, service.ID)
		if err != nil {
			return err
		}
		if !schedule.NextDue.IsZero() && schedule.NextDue.Before(s.due) {
			s.due = schedule.NextDue
		}
	}
	return nil
}

const (
	waitStep = 10 * time.Minute // how often work that is kept waiting is looked at
	taskStep = 10 * time.Second // how exactly the end of a backup is noticed
)

// next gives the next instant at which there is something to do, at the latest end.
func (s *stage) next(ctx context.Context, end time.Time) (time.Time, error) {
	now := s.clock.Now()
	next := end
	earlier := func(t time.Time) {
		if t.After(now) && t.Before(next) {
			next = t
		}
	}
	earlier(s.due)
	var dumps []portal.Operation
	for _, state := range []portal.State{portal.StateRunning, portal.StateQueued} {
		open, err := s.db.ListOperations(ctx, store.OperationQuery{State: state, Limit: 1000})
		if err != nil {
			return next, err
		}
		for _, op := range open {
			switch {
			case op.State == portal.StateRunning && op.Step == portal.StepDump && op.UPID != "":
				dumps = append(dumps, op.Operation)
			case op.RunAfter.After(now):
				earlier(op.RunAfter)
			default: // it waits for a place, a host or a machine
				if s.look.IsZero() {
					s.look = now.Add(waitStep)
				}
				earlier(s.look)
				earlier(op.StartBy)
			}
		}
	}
	if len(dumps) == 0 {
		return next, nil
	}
	// The machines that are being backed up are locked: see when the first is let go.
	for at := now.Add(taskStep); at.Before(next); at = at.Add(taskStep) {
		s.clock.set(at)
		if s.ended(dumps) {
			return at, nil
		}
	}
	return next, nil
}

// ended tells whether the machine of any of these backups is locked no more.
func (s *stage) ended(dumps []portal.Operation) bool {
	locked := map[int]bool{}
	for _, sim := range s.sims {
		for _, g := range sim.Guests() {
			locked[g.VMID] = g.Lock == "backup"
		}
	}
	for _, service := range s.services {
		for _, op := range dumps {
			if op.ServiceID == service.ID && !locked[service.VMID] {
				return true
			}
		}
	}
	return false
}

// lookAround brings the database in step with the worlds as they are now.
func (s *stage) lookAround(ctx context.Context) error {
	return errors.Join(s.engine.Sync(ctx), s.engine.SyncArchives(ctx))
}

// demoSeed decides everything random in the simulated worlds.
const demoSeed = 1815
