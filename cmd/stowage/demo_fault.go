package main

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"stowage/handlers"
	"stowage/portal"
	"stowage/pve/pvesim"
)

// demoFaults is what staff of the demo may break: its simulated worlds, and the portal's own engine.
//
// What is broken is read from the worlds themselves, so that the panel shows what is so and not what somebody once
// pressed: a lost answer is over when it has been lost, an unlocked machine is healed whoever unlocked it. Faults that
// were injected end with the process; a machine that was moved, and a lock that stayed, are in the world's journal.
type demoFaults struct {
	now    func() time.Time
	sims   map[string]*pvesim.Sim // by the server's name
	engine *engineSwitch

	mu       sync.Mutex
	injected map[injection]func() // how each is removed
	moved    map[string]time.Time // targets of moves of this process
}

// injection is a fault of one server's simulator.
type injection struct {
	server string
	fault  pvesim.Fault
}

func newDemoFaults(now func() time.Time, sims map[string]*pvesim.Sim) *demoFaults {
	return &demoFaults{now: now, sims: sims, engine: &engineSwitch{now: now}, injected: map[injection]func(){}, moved: map[string]time.Time{}}
}

// mischief is one way to break things.
type mischief struct {
	handlers.FaultKind
	targets func() []handlers.FaultTarget // what it can be done to, broken already or not
	broken  func() []handlers.Fault
	begin   func(target string) error // of one of targets that is not broken
	end     func(target string) error // of one that is
}

// panel gives the handlers their side of it.
func (d *demoFaults) panel() *handlers.FaultPanel {
	all := []mischief{d.nodeDown(), d.lostAnswer(), d.fullStorage(), d.killedTask(), d.brokenRestore(), d.wrongClock(), d.movedMachine(), d.stoppedEngine()}
	named := func(kind string) (mischief, error) {
		if i := slices.IndexFunc(all, func(m mischief) bool { return m.Kind == kind }); i >= 0 {
			return all[i], nil
		}
		return mischief{}, portal.Invalid("kind", "There is no fault of that name.")
	}
	return &handlers.FaultPanel{
		Kinds: func() []handlers.FaultKind {
			d.mu.Lock()
			defer d.mu.Unlock()
			kinds := make([]handlers.FaultKind, len(all))
			for i, m := range all {
				kinds[i] = m.FaultKind
				broken := m.broken()
				for _, t := range m.targets() {
					if !slices.ContainsFunc(broken, func(f handlers.Fault) bool { return f.Target == t.Target }) {
						kinds[i].Targets = append(kinds[i].Targets, t)
					}
				}
			}
			return kinds
		},
		Broken: func() []handlers.Fault {
			d.mu.Lock()
			defer d.mu.Unlock()
			var list []handlers.Fault
			for _, m := range all {
				list = append(list, m.broken()...)
			}
			slices.SortStableFunc(list, func(a, b handlers.Fault) int { return a.Since.Compare(b.Since) })
			return list
		},
		Break: func(kind, target string) (f handlers.Fault, err error) {
			d.mu.Lock()
			defer d.mu.Unlock()
			m, err := named(kind)
			if err != nil {
				return f, err
			}
			if f, broken := m.find(target); broken {
				return f, portal.Refuse(portal.CodeConflict, "That is so already: %s", f.Text)
			}
			if !slices.ContainsFunc(m.targets(), func(t handlers.FaultTarget) bool { return t.Target == target }) {
				return f, portal.Refuse(portal.CodeConflict, "That can't be done now. See what there is to choose from.")
			}
			if err := m.begin(target); err != nil {
				return f, err
			}
			if f, broken := m.find(target); broken {
				return f, nil
			}
			return handlers.Fault{Kind: kind, Target: target, Text: portal.Say("%s: done, and over already.", m.Title)}, nil
		},
		Heal: func(kind, target string) (f handlers.Fault, err error) {
			d.mu.Lock()
			defer d.mu.Unlock()
			m, err := named(kind)
			if err != nil {
				return f, err
			}
			f, broken := m.find(target)
			if !broken {
				return f, portal.Refuse(portal.CodeConflict, "That is not broken any more.")
			}
			return f, m.end(target)
		},
	}
}

func (m mischief) find(target string) (handlers.Fault, bool) {
	for _, f := range m.broken() {
		if f.Target == target {
			return f, true
		}
	}
	return handlers.Fault{}, false
}

// injecting is a mischief that is one fault of a simulator as long as it lasts.
func (d *demoFaults) injecting(kind handlers.FaultKind, heal portal.Text, targets func() []handlers.FaultTarget, fault func(at place) pvesim.Fault, text func(at place) portal.Text) mischief {
	return mischief{
		FaultKind: kind, targets: targets,
		broken: func() []handlers.Fault {
			var list []handlers.Fault
			for _, t := range targets() {
				at := placeOf(t.Target)
				for _, f := range d.sims[at.server].Injected() {
					if f.Fault == fault(at) && (f.Count == 0 || f.Hits < f.Count) {
						list = append(list, handlers.Fault{Kind: kind.Kind, Target: t.Target, Text: text(at), Heal: heal, Since: f.Since})
					}
				}
			}
			return list
		},
		begin: func(target string) error {
			at := placeOf(target)
			i := injection{at.server, fault(at)}
			d.remove(i) // the one before it, which has hit what it was for
			d.injected[i] = d.sims[at.server].Inject(i.fault)
			return nil
		},
		end: func(target string) error {
			at := placeOf(target)
			d.remove(injection{at.server, fault(at)})
			return nil
		},
	}
}

func (d *demoFaults) remove(i injection) {
	if remove := d.injected[i]; remove != nil {
		remove()
		delete(d.injected, i)
	}
}

// place is what a fault is done to: a server, and a node, a storage or the like of it.
type place struct{ server, thing string }

func placeOf(target string) place {
	server, thing, _ := strings.Cut(target, "/")
	return place{server, thing}
}

func (p place) target() string { return strings.TrimSuffix(p.server+"/"+p.thing, "/") }

// servers gives the servers by name.
func (d *demoFaults) servers() []string { return slices.Sorted(maps.Keys(d.sims)) }

func (d *demoFaults) wholeServers() (list []handlers.FaultTarget) {
	for _, server := range d.servers() {
		list = append(list, handlers.FaultTarget{Target: server, Name: portal.Verbatim(server)})
	}
	return list
}

func (d *demoFaults) nodeDown() mischief {
	return d.injecting(handlers.FaultKind{
		Kind: "node", Title: "Take a node down", Button: "Take it down",
		What:  "Its network is cut. What runs there goes on; nobody can ask it how.",
		Watch: "Within seconds the pages of machines there say “We can't reach your host since …” and show no percentage. A backup that you ask for waits. When the node is back it is made, once.",
	}, "Bring it back", func() (list []handlers.FaultTarget) {
		for _, server := range demoServers() {
			for _, n := range server.world.Nodes {
				list = append(list, handlers.FaultTarget{Target: place{server.name, n.Name}.target(), Name: portal.Say("%s of %s", n.Name, server.name)})
			}
		}
		return list
	}, func(at place) pvesim.Fault {
		return pvesim.Fault{Kind: pvesim.NodeDown, Node: at.thing}
	}, func(at place) portal.Text {
		return portal.Say("Node %s of %s is cut off.", at.thing, at.server)
	})
}

func (d *demoFaults) lostAnswer() mischief {
	return d.injecting(handlers.FaultKind{
		Kind: "answer", Title: "Lose the next answer", Button: "Lose it",
		What:  "The next backup that is asked of this Proxmox VE begins there, but the connection breaks before the answer.",
		Watch: "Press Backup now for a machine there. The portal does not ask again: it finds the task that began, goes on with it, and there is one new copy, not two.",
	}, "Let it through", d.wholeServers, func(at place) pvesim.Fault {
		return pvesim.Fault{Kind: pvesim.LostAnswer, Method: "POST", Count: 1}
	}, func(at place) portal.Text {
		return portal.Say("The answer to the next backup asked of %s will be lost.", at.server)
	})
}

// brokenArchive is what the host says of an archive that ends in the middle.
const brokenArchive = "command 'vma extract' failed: restore failed - short vma extent (1482752 < 3797504)"

func (d *demoFaults) brokenRestore() mischief {
	return d.injecting(handlers.FaultKind{
		Kind: "restore", Title: "Break the next restore", Button: "Break it",
		What:  "The backup that is restored next on this Proxmox VE can't be read to its end. By then the machine is overwritten.",
		Watch: "Restore a backup of a machine there. Its page says at which step it has stopped, that the machine is off, and three ways to go on: another backup, the same once more, or a fresh system. Nobody can start what is left meanwhile.",
	}, "Let it through", d.wholeServers, func(at place) pvesim.Fault {
		return pvesim.Fault{Kind: pvesim.TaskFails, Method: "POST", Path: `/qemu$`, Count: 1, Share: 0.5, Line: brokenArchive}
	}, func(at place) portal.Text {
		return portal.Say("The next restore on %s will break half-way.", at.server)
	})
}

func (d *demoFaults) fullStorage() mischief {
	return d.injecting(handlers.FaultKind{
		Kind: "storage", Title: "Fill a storage", Button: "Fill it",
		What:  "Somebody else's files take the last byte of it. A backup that is being written there fails.",
		Watch: "Backup now says that there is not enough space, and removes nothing for it. Scheduled backups wait and are caught up when there is room again.",
	}, "Empty it", func() (list []handlers.FaultTarget) {
		for _, server := range demoServers() {
			for _, s := range server.world.Storages {
				if slices.Contains(s.Content, "backup") {
					list = append(list, handlers.FaultTarget{Target: place{server.name, s.Name}.target(), Name: portal.Say("%s of %s", s.Name, server.name)})
				}
			}
		}
		return list
	}, func(at place) pvesim.Fault {
		return pvesim.Fault{Kind: pvesim.StorageFull, Storage: at.thing}
	}, func(at place) portal.Text {
		return portal.Say("Storage %s of %s is full.", at.thing, at.server)
	})
}

// wrongBy is far beyond what clocks may differ by.
const wrongBy = 10 * time.Minute

func (d *demoFaults) wrongClock() mischief {
	return d.injecting(handlers.FaultKind{
		Kind: "clock", Title: "Set a server's clock wrong", Button: "Set it wrong",
		What:  portal.Say("Its clock runs %s ahead of the portal's.", portal.Duration(wrongBy)),
		Watch: "Servers says by how much. Until the clocks agree nothing is removed there by itself: a backup that needs a place for itself waits.",
	}, "Set it right", d.wholeServers, func(at place) pvesim.Fault {
		return pvesim.Fault{Kind: pvesim.ClockSkew, For: wrongBy}
	}, func(at place) portal.Text {
		return portal.Say("The clock of %s runs %s ahead.", at.server, portal.Duration(wrongBy))
	})
}

func (d *demoFaults) stoppedEngine() mischief {
	return mischief{
		FaultKind: handlers.FaultKind{
			Kind: "engine", Title: "Stop the portal's engine", Button: "Stop it",
			What:  "The part of the portal that looks, plans and sends stands still. The pages go on, and so does what runs on the hosts.",
			Watch: "After two minutes all pages say since when automatic backups stand still. When it is started it takes up its work where it lies, and does nothing a second time.",
		},
		targets: func() []handlers.FaultTarget {
			return []handlers.FaultTarget{{Target: "engine"}}
		},
		broken: func() []handlers.Fault {
			since := d.engine.stoppedSince()
			if since.IsZero() {
				return nil
			}
			return []handlers.Fault{{Kind: "engine", Target: "engine", Text: "The portal's engine is stopped.", Heal: "Start it", Since: since}}
		},
		begin: func(string) error { d.engine.set(false); return nil },
		end:   func(string) error { d.engine.set(true); return nil },
	}
}

// engineSwitch stops and starts the engine of a portal that goes on running.
type engineSwitch struct {
	now func() time.Time

	mu      sync.Mutex
	stopped time.Time
	stop    context.CancelFunc // of the engine that runs
	started chan struct{}      // closed when the engine may run again
}

func (e *engineSwitch) stoppedSince() time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.stopped
}

func (e *engineSwitch) set(on bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case on && !e.stopped.IsZero():
		e.stopped = time.Time{}
		close(e.started)
	case !on && e.stopped.IsZero():
		e.stopped, e.started = e.now(), make(chan struct{})
		if e.stop != nil {
			e.stop()
		}
	}
}

// around gives a run that the switch interrupts.
func (e *engineSwitch) around(run func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		for {
			inner, started := e.enter(ctx)
			if started == nil {
				err := run(inner)
				if ctx.Err() != nil || inner.Err() == nil || err != nil && !errors.Is(err, context.Canceled) {
					return err
				}
				continue // it was switched off
			}
			select {
			case <-started:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

// enter gives the context of the next run, or, while the switch is off, what to wait for.
func (e *engineSwitch) enter(ctx context.Context) (inner context.Context, started <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.stopped.IsZero() {
		return nil, e.started
	}
	inner, e.stop = context.WithCancel(ctx)
	return inner, nil
}
