package jobs

import (
	"context"
	"slices"
	"time"

	"stowage/portal"
	"stowage/pve"
	"stowage/store"
)

// The paces at which snapshots are read of machines whose snapshots somebody looks at, and the sizes of their disks, which
// a host works longer for.
const (
	snapshotsPace  = 5 * time.Second
	diskUsePace    = time.Minute
	snapshotsAtOne = 10 // machines that are read in one second, of all servers
)

// placesOf gives the storages of disks. One that nodes share counts as there where any node can use it.
func placesOf(seen []pve.StorageResource) map[store.PlaceKey]portal.DiskPlace {
	out := map[store.PlaceKey]portal.DiskPlace{}
	for _, s := range seen {
		if !slices.Contains(s.Content, "images") || s.Type == "" {
			continue
		}
		key := store.PlaceKey{Node: s.Node, Name: s.Storage}
		if s.Shared {
			key.Node = ""
		}
		out[key] = portal.DiskPlace{Type: s.Type, Active: s.Status == "available" || out[key].Active}
	}
	return out
}

// watchSnapshots reads the snapshots of the machines whose snapshots somebody has open.
func (e *Engine) watchSnapshots(ctx context.Context) error {
	watched := e.db.SnapshotsWatched()
	now := e.now()
	e.watch.mu.Lock()
	for id := range e.watch.read {
		if !slices.Contains(watched, id) {
			delete(e.watch.read, id)
		}
	}
	due := slices.DeleteFunc(watched, func(id int64) bool {
		r := e.watch.read[id]
		return now.Sub(r.at).Abs() < snapshotsPace
	})
	due = due[:min(len(due), snapshotsAtOne)]
	full := map[int64]bool{}
	for _, id := range due {
		r := e.watch.read[id]
		r.at = now
		if now.Sub(r.sized).Abs() >= diskUsePace {
			r.sized, full[id] = now, true
		}
		e.watch.read[id] = r
	}
	e.watch.mu.Unlock()
	e.each(ctx, len(due), func(i int) {
		s, err := e.db.Service(ctx, due[i])
		if err != nil || s.Node == "" || s.State != portal.ServiceActive && s.State != portal.ServiceSuspended {
			return
		}
		l, err := e.link(ctx, s.ServerID)
		if err != nil {
			return
		}
		config, err := l.client.GuestConfig(ctx, s.Node, s.VMID)
		if err != nil || config.Stump() || !s.Identity.Same(identityOf(config)) {
			return // Sync says what is wrong
		}
		if _, err := e.readSnapshots(ctx, l, s.ID, s.Node, s.VMID, &config, full[s.ID]); err != nil && ctx.Err() == nil {
			e.log.DebugContext(ctx, "snapshots can't be read", "service_id", s.UID, "error", err)
		}
	})
	return ctx.Err()
}

// checkSnapshots reads a machine's snapshots where its package sells some or it has some.
func (e *Engine) checkSnapshots(ctx context.Context, l *link, s portal.Service, config pve.GuestConfig) error {
	if needs, err := e.db.NeedsSnapshotsRead(ctx, s.ID); err != nil || !needs && config.Raw["parent"] == "" {
		return err
	}
	_, err := e.readSnapshots(ctx, l, s.ID, s.Node, s.VMID, &config, true)
	if pve.ClassOf(err) != "" {
		return nil // the next hour looks again
	}
	return err
}

// readSnapshots reads a machine's snapshots and keeps what that shows. full asks as well whether the machine can take
// any, and for the sizes of its disks.
func (e *Engine) readSnapshots(ctx context.Context, l *link, serviceID int64, node string, vmid int, config *pve.GuestConfig, full bool) (pve.Snapshots, error) {
	sight := store.SnapshotSight{ServiceID: serviceID, At: e.now(), Used: -1}
	list, err := l.client.Snapshots(ctx, node, vmid)
	if err != nil {
		return list, err
	}
	known, err := e.db.Snapshots(ctx, serviceID)
	if err != nil {
		return list, err
	}
	if config != nil {
		m := machineOf(*config, vmid, list.Running)
		sight.Machine = &m
	}
	for _, s := range list.List {
		seen := store.SeenSnapshot{Name: s.Name, Description: s.Description, Parent: s.Parent, At: s.Time, Memory: s.RAM, Whole: s.State == ""}
		i := slices.IndexFunc(known, func(x portal.Snapshot) bool { return x.Name == s.Name })
		if i >= 0 && known[i].Then == nil && !known[i].External && seen.Whole {
			then, err := l.client.SnapshotConfig(ctx, node, vmid, s.Name)
			if err != nil {
				return list, err
			}
			m := machineOf(then, vmid, s.RAM)
			seen.Then = &m
		}
		sight.List = append(sight.List, seen)
	}
	if full && config != nil {
		if err := e.readAbility(ctx, l, node, vmid, serviceID, &sight); err != nil {
			return list, err
		}
		if len(list.List) > 0 {
			sight.Used = e.diskUse(ctx, l, node, vmid, hardwareOf(*config).Disks)
		}
	}
	return list, e.db.SaveSnapshots(ctx, sight)
}

// readAbility asks whether a machine can take snapshots.
func (e *Engine) readAbility(ctx context.Context, l *link, node string, vmid int, serviceID int64, sight *store.SnapshotSight) error {
	can, err := l.client.CanSnapshot(ctx, node, vmid)
	if err != nil {
		return err
	}
	sit, err := e.db.Situation(ctx, serviceID)
	if err != nil {
		return err
	}
	why := e.whyNoSnapshot(sit, can)
	sight.Why = &why
	return nil
}

// diskUse gives the bytes that a machine's disks take on their storages, with what they keep for snapshots; -1 where any
// storage doesn't tell.
func (e *Engine) diskUse(ctx context.Context, l *link, node string, vmid int, disks []portal.Disk) int64 {
	var used int64
	listed := map[string][]pve.Image{}
	for _, d := range disks {
		images, ok := listed[d.Storage]
		if !ok {
			var err error
			if images, err = l.client.Images(ctx, node, d.Storage, vmid); err != nil {
				return -1
			}
			listed[d.Storage] = images
		}
		i := slices.IndexFunc(images, func(o pve.Image) bool { return o.Volid == d.Volid })
		if i < 0 || images[i].Used <= 0 {
			return -1
		}
		used += images[i].Used
	}
	return used
}
