package pvesim

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// Options are how a simulator runs.
type Options struct {
	// Release is "8.4" or "9.2"; "" is "9.2".
	Release string

	// Now is the simulator's clock. Required.
	Now func() time.Time

	// Sleep waits where the real one makes a client wait: 3 s before a 401, a
	// listing of many archives, an unreachable node. nil does not wait at all.
	Sleep func(ctx context.Context, d time.Duration)

	// Speed multiplies the speed of storages; 1 (and 0) is about 200 MB/s.
	Speed float64

	// Seed decides everything random.
	Seed uint64

	// Journal is a folder that keeps the world: every change is on disk before
	// it is answered, and New goes on from there when it holds one. "" keeps
	// the world in memory only.
	Journal string

	// Log hears of requests and tasks at debug level; nil is silent.
	Log *slog.Logger
}

// Sim is one simulated Proxmox VE. Its methods may be called from many
// goroutines.
type Sim struct {
	release release
	now     func() time.Time
	sleeper func(context.Context, time.Duration)
	speed   float64
	seed    uint64
	log     *slog.Logger
	journal string

	mu     sync.Mutex
	st     state
	guests map[int]*guest
	shelf  map[shelfKey]*shelf // what lies on each storage, per node unless shared
	tasks  map[string]*task
	active []*task            // those without an end, in order of creation
	done   []*task            // those with one, in order of their ends
	images map[shelfKey]int64 // bytes of disk images, nil when to be counted again
	rights *rightsCache       // nil when to be looked up again
	faults []*activeFault
	late   []lateCall
	calls  []Call
	counts map[string]int

	numeric []string         // lines that the API gives as numbers, once looked up
	settled int64            // unix milliseconds of the last look
	phase   map[string]int64 // when in its round each pvestatd speaks
}

// state is all that the journal keeps.
type state struct {
	Release string
	World   World    // without Guests and Archives: they live below
	Guests  []*guest // by number
	Shelves []*shelf
	Tasks   []*task          // in order of creation
	Counter uint64           // tasks ever created: the source of their randomness
	Ended   uint64           // tasks ever ended: the order of the archive list
	PIDs    map[string]int   // the newest of each node
	Boots   map[string]int64 // unix milliseconds
	Free    map[string]int64 // when each node's vzdump lock was last let go
	Wiped   map[string]int64 // when each shared storage's lock is free again

	Strays   []stray       // images of machines that are not there
	Contents uint64        // contents of disks that ever were
	Freed    map[int]int64 // when each machine's lock file was last let go
	Cleanups []*cleanup    // what follows the end of a machine's QEMU
	Again    []again       // starts that follow other tasks
}

// release is what differs between the versions of Proxmox VE.
type release struct {
	name, version, repoid string
	nine                  bool
}

var releases = map[string]release{
	"8.4": {name: "8.4", version: "8.4.21", repoid: "2606ac850d46da29"},
	"9.2": {name: "9.2", version: "9.2.11", repoid: "14a22df35955d97d", nine: true},
}

// New starts a simulator with a copy of the world, or, when the journal's
// folder holds one already, with what is there.
func New(world World, o Options) (*Sim, error) {
	if o.Now == nil {
		return nil, errors.New("pvesim: Options.Now is missing")
	}
	if o.Release == "" {
		o.Release = "9.2"
	}
	rel, ok := releases[o.Release]
	if !ok {
		return nil, fmt.Errorf("pvesim: unknown release %q", o.Release)
	}
	if o.Speed <= 0 {
		o.Speed = 1
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Sim{
		release: rel, now: o.Now, sleeper: o.Sleep, speed: o.Speed, seed: o.Seed, log: o.Log,
		journal: o.Journal,
		guests:  map[int]*guest{},
		shelf:   map[shelfKey]*shelf{},
		tasks:   map[string]*task{},
		counts:  map[string]int{},
		phase:   map[string]int64{},
	}
	if s.journal != "" {
		switch found, err := s.load(); {
		case err != nil:
			return nil, err
		case found:
			return s, nil
		}
	}
	world = world.clone()
	if role, ok := world.Roles[PortalRole]; ok {
		world.Roles[PortalRole] = append(slices.Clone(role), AgentPrivileges(o.Release)...)
	}
	if err := s.build(world); err != nil {
		return nil, err
	}
	if s.journal != "" {
		if err := s.save(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// build makes the state out of a world.
func (s *Sim) build(w World) error {
	if len(w.Nodes) == 0 {
		return errors.New("pvesim: a world without nodes")
	}
	guests, archives := w.Guests, w.Archives
	w.Guests, w.Archives = nil, nil
	s.st = state{
		Release: s.release.name, World: w,
		PIDs: map[string]int{}, Boots: map[string]int64{}, Free: map[string]int64{}, Wiped: map[string]int64{},
		Freed: map[int]int64{},
	}
	ms := s.nowMS()
	for i := range w.Nodes {
		n := &w.Nodes[i]
		if _, err := zone(n.Zone); err != nil {
			return fmt.Errorf("pvesim: node %s: %w", n.Name, err)
		}
		r := s.random("node", n.Name)
		s.st.PIDs[n.Name] = 18000 + int(r.Uint64()%4000)
		s.st.Boots[n.Name] = ms - int64(10+r.Uint64()%80)*24*3600*1000 - int64(r.Uint64()%86_400_000)
		if n.Fingerprint == "" {
			n.Fingerprint = fingerprint(r)
		}
	}
	for i := range guests {
		if err := s.addGuest(guests[i], s.st.Boots[guests[i].Node]); err != nil {
			return err
		}
	}
	for _, a := range archives {
		if err := s.addArchive(a, false); err != nil {
			return err
		}
	}
	for _, sh := range s.st.Shelves {
		sh.sort()
	}
	return nil
}

// Settle applies everything that is due by now. Every request does so first.
func (s *Sim) Settle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
}

// settle applies what is due, the earliest first.
func (s *Sim) settle() {
	now := s.nowMS()
	for {
		at, apply := s.next()
		if apply == nil || at > now {
			break
		}
		apply()
	}
	s.settled = max(s.settled, now)
}

// next is the next thing that time alone will do, and how to do it.
func (s *Sim) next() (at int64, apply func()) {
	for _, t := range s.active {
		when, ok := s.taskDue(t)
		// What was not due at the last look was caused after it.
		when = max(when, s.settled)
		if ok && (apply == nil || when < at) {
			at, apply = when, func() { s.advance(t, when) }
		}
	}
	for _, c := range s.st.Cleanups {
		when, due := s.cleanupDue(c)
		if when = max(when, s.settled); due && (apply == nil || when < at) {
			at, apply = when, func() { s.cleanupStep(c, when) }
		}
	}
	for i, a := range s.st.Again {
		if when := max(a.At, s.settled); apply == nil || when < at {
			at, apply = when, func() {
				s.st.Again = slices.Delete(s.st.Again, i, i+1)
				a.At = when
				s.startAgain(a)
			}
		}
	}
	for i, l := range s.late {
		if apply == nil || l.at < at {
			at, apply = l.at, func() {
				s.late = slices.Delete(s.late, i, i+1)
				s.runLate(l)
			}
		}
	}
	return at, apply
}

// NextEvent is when time alone will next change the world; false when nothing
// is under way. The refreshes of pvestatd every 10 s are not counted.
func (s *Sim) NextEvent() (time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	at, apply := s.next()
	return fromMS(at), apply != nil
}

func (s *Sim) nowMS() int64 { return s.now().UnixMilli() }

func fromMS(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// sleep waits as the real one would make a client wait. Never with the lock.
func (s *Sim) sleep(ctx context.Context, d time.Duration) {
	if s.sleeper != nil && d > 0 {
		s.sleeper(ctx, d)
	}
}

// chance is a stream of numbers that its beginning decides (SplitMix64).
type chance uint64

func (c *chance) Uint64() uint64 {
	*c += 0x9e3779b97f4a7c15
	z := uint64(*c)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// random is a stream of its own for each purpose, so that one decision never
// shifts another.
func (s *Sim) random(purpose, key string) *chance {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d\x00%s\x00%s", s.seed, purpose, key))
	c := chance(binary.LittleEndian.Uint64(sum[:]))
	return &c
}

func uuid(r *chance) string {
	a, b := r.Uint64(), r.Uint64()
	return fmt.Sprintf("%08x-%04x-4%03x-%04x-%012x", a>>32, a>>16&0xffff, a&0xfff, b>>48&0x3fff|0x8000, b&0xffff_ffff_ffff)
}

func fingerprint(r *chance) string {
	out := make([]byte, 0, 95)
	for i := range 32 {
		if i > 0 {
			out = append(out, ':')
		}
		out = fmt.Appendf(out, "%02X", byte(r.Uint64()))
	}
	return string(out)
}

func zone(name string) (*time.Location, error) {
	if name == "" {
		return time.UTC, nil
	}
	return time.LoadLocation(name)
}

// local is a moment on the wall clock of a node.
func (s *Sim) local(node string, ms int64) time.Time {
	if n := s.node(node); n != nil && n.Zone != "" {
		if z, err := zone(n.Zone); err == nil {
			return fromMS(ms).In(z)
		}
	}
	return fromMS(ms)
}

func (s *Sim) node(name string) *Node {
	for i := range s.st.World.Nodes {
		if s.st.World.Nodes[i].Name == name {
			return &s.st.World.Nodes[i]
		}
	}
	return nil
}

func (s *Sim) storage(name string) *Storage {
	for i := range s.st.World.Storages {
		if s.st.World.Storages[i].Name == name {
			return &s.st.World.Storages[i]
		}
	}
	return nil
}
