package jobs

import (
	"context"
	"sync"
	"time"

	"stowage/pve"
	"stowage/store"
)

// watchAtOnce is how many machines of one server are asked about themselves in one second. Where more have their pages
// open, each has its turn, and one question to the cluster shows the locks and places of all: Proxmox has three workers.
const watchAtOnce = 40

// watch remembers which machines were looked at themselves, and who is next.
type watch struct {
	mu   sync.Mutex
	live map[int64]time.Time // by service, of those that are watched
	next map[int64]int       // by server: the number of the machine that was asked last
	read map[int64]readAt    // by service: when its snapshots were read, of those that somebody looks at
}

// readAt is when a machine's snapshots were read, and when the sizes of its disks.
type readAt struct{ at, sized time.Time }

func (w *watch) seen(serviceID int64) (time.Time, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at, ok := w.live[serviceID]
	return at, ok
}

// turn gives those of a server's machines, in order of their numbers, that are asked now.
func (w *watch) turn(serverID int64, machines []store.Machine) []store.Machine {
	if len(machines) <= watchAtOnce {
		return machines
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	from := 0
	for from < len(machines) && machines[from].VMID <= w.next[serverID] {
		from++
	}
	out := make([]store.Machine, watchAtOnce)
	for i := range out {
		out[i] = machines[(from+i)%len(machines)]
	}
	w.next[serverID] = out[watchAtOnce-1].VMID
	return out
}

// Watch looks at the machines that somebody has open, so that their pages are right within two seconds. It writes only
// what has changed.
func (e *Engine) Watch(ctx context.Context) error {
	watched := e.db.Watched()
	if len(watched) == 0 {
		return nil
	}
	machines, err := e.db.Machines(ctx, watched)
	if err != nil {
		return err
	}
	var servers []int64
	of := map[int64][]store.Machine{}
	for _, m := range machines {
		if of[m.ServerID] == nil {
			servers = append(servers, m.ServerID)
		}
		of[m.ServerID] = append(of[m.ServerID], m)
	}
	live := map[int64]time.Time{}
	e.watch.mu.Lock()
	for _, m := range machines {
		if at, ok := e.watch.live[m.ServiceID]; ok {
			live[m.ServiceID] = at
		}
	}
	e.watch.live = live
	e.watch.mu.Unlock()
	errs := make([]error, len(servers))
	e.each(ctx, len(servers), func(i int) { errs[i] = e.watchServer(ctx, servers[i], of[servers[i]]) })
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return e.watchSnapshots(ctx)
}

func (e *Engine) watchServer(ctx context.Context, serverID int64, machines []store.Machine) error {
	l, err := e.link(ctx, serverID)
	if err != nil {
		return err
	}
	seen := make(map[int64]store.Sighting, len(machines))
	if len(machines) > watchAtOnce {
		e.watchPlaces(ctx, l, machines, seen)
	}
	var mu sync.Mutex
	now := e.now()
	turn := e.watch.turn(serverID, machines)
	e.each(ctx, len(turn), func(i int) {
		m := turn[i]
		status, err := l.client.GuestStatus(ctx, m.Node, m.VMID)
		if err != nil {
			return // the next Sync says what is wrong
		}
		mu.Lock()
		defer mu.Unlock()
		seen[m.ServiceID] = store.Sighting{ServiceID: m.ServiceID, Node: m.Node, Status: coarse(status), Lock: status.Lock, Uptime: status.Uptime}
	})
	e.watch.mu.Lock()
	for id := range seen {
		e.watch.live[id] = now
	}
	e.watch.mu.Unlock()
	var changed []store.Sighting
	for _, m := range machines {
		s, ok := seen[m.ServiceID]
		if ok && (s.Node != m.Node || s.Status != m.Status || s.Lock != m.Lock || now.Sub(m.SeenAt).Abs() >= sightingAge) {
			changed = append(changed, s)
		}
	}
	return e.db.SaveSightings(ctx, changed)
}

// watchPlaces fills in where all machines are and how they are locked, at this moment. Whether they run is told up to
// ten seconds late there, so that stays as it is.
func (e *Engine) watchPlaces(ctx context.Context, l *link, machines []store.Machine, seen map[int64]store.Sighting) {
	resources, err := l.client.Resources(ctx)
	if err != nil {
		return
	}
	guests := make(map[int]pve.GuestResource, len(resources.Guests))
	for _, g := range resources.Guests {
		if g.Type == "qemu" {
			guests[g.VMID] = g
		}
	}
	for _, m := range machines {
		if g, ok := guests[m.VMID]; ok {
			seen[m.ServiceID] = store.Sighting{ServiceID: m.ServiceID, Node: g.Node, Status: m.Status, Lock: g.Lock, Uptime: g.Uptime}
		}
	}
}
