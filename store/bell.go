package store

import (
	"slices"
	"sync"
)

// bell tells open pages that something about a service changed. A ring is never lost and never waits: a
// listener that has not yet heard the last one hears both as one.
type bell struct {
	mu        sync.Mutex
	listeners map[int64]map[chan struct{}]struct{}
	snapshots map[int64]int // open pages that show snapshots, by service
}

func (b *bell) ring(serviceID int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.listeners[serviceID] {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// Listen registers a watch on a service: a channel that says "look again", and the end of it. While anybody
// listens, jobs look at the service every second.
func (db *DB) Listen(serviceID int64) (changed <-chan struct{}, stop func()) {
	b, c := &db.bell, make(chan struct{}, 1)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.listeners == nil {
		b.listeners = map[int64]map[chan struct{}]struct{}{}
	}
	if b.listeners[serviceID] == nil {
		b.listeners[serviceID] = map[chan struct{}]struct{}{}
	}
	b.listeners[serviceID][c] = struct{}{}
	return c, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.listeners[serviceID], c)
		if len(b.listeners[serviceID]) == 0 {
			delete(b.listeners, serviceID)
		}
	}
}

// Watched gives the services that somebody has open.
func (db *DB) Watched() []int64 {
	b := &db.bell
	b.mu.Lock()
	defer b.mu.Unlock()
	ids := make([]int64, 0, len(b.listeners))
	for id := range b.listeners {
		ids = append(ids, id)
	}
	return ids
}

// IsWatched tells whether somebody has the service open.
func (db *DB) IsWatched(serviceID int64) bool {
	b := &db.bell
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.listeners[serviceID]) > 0
}

// WatchSnapshots registers a page on which a service's snapshots are shown, and gives the end of that.
func (db *DB) WatchSnapshots(serviceID int64) (stop func()) {
	b := &db.bell
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.snapshots == nil {
		b.snapshots = map[int64]int{}
	}
	b.snapshots[serviceID]++
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.snapshots[serviceID]--; b.snapshots[serviceID] <= 0 {
			delete(b.snapshots, serviceID)
		}
	}
}

// SnapshotsWatched gives the services whose snapshots somebody looks at.
func (db *DB) SnapshotsWatched() []int64 {
	b := &db.bell
	b.mu.Lock()
	defer b.mu.Unlock()
	ids := make([]int64, 0, len(b.snapshots))
	for id := range b.snapshots {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}
