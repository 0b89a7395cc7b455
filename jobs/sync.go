package jobs

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"stowage/portal"
	"stowage/pve"
	"stowage/store"
)

// Sync looks at every server: where machines are, what they do, which nodes and storages there are. One that
// can't be reached is noted as such; the others go on.
func (e *Engine) Sync(ctx context.Context) error {
	servers, err := e.db.Servers(ctx)
	if err != nil {
		return err
	}
	e.each(ctx, len(servers), func(i int) {
		l, err := e.link(ctx, servers[i].ID)
		if err == nil {
			err = e.syncServer(ctx, l)
		}
		if err != nil && ctx.Err() == nil {
			e.log.WarnContext(ctx, "server can't be looked at", "server_id", servers[i].UID, "error", err)
		}
	})
	return ctx.Err()
}

// each does something for 0 to n-1, as many at once as there are workers: one server that doesn't answer holds up none
// of the others.
func (e *Engine) each(ctx context.Context, n int, do func(i int)) {
	var wg sync.WaitGroup
	places := make(chan struct{}, e.opts.Workers)
	for i := range n {
		if ctx.Err() != nil {
			break
		}
		places <- struct{}{}
		if e.opts.Workers == 1 { // one after the other, in a run like the one before
			do(i)
			<-places
			continue
		}
		wg.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					e.log.ErrorContext(ctx, "panic", "error", p, "stack", string(debug.Stack()))
				}
				<-places
			}()
			do(i)
		})
	}
	wg.Wait()
}

// syncServer takes one complete look at a server.
func (e *Engine) syncServer(ctx context.Context, l *link) error {
	resources, err := l.client.Resources(ctx)
	if err != nil {
		return errors.Join(err, e.db.SaveUnreachable(ctx, l.server.ID, troubleText(err)))
	}
	in := store.Inventory{ServerID: l.server.ID}
	if l.release.Release == "" {
		if l.release, err = l.client.Version(ctx); err != nil {
			return errors.Join(err, e.db.SaveUnreachable(ctx, l.server.ID, troubleText(err)))
		}
	}
	in.Release = l.release.Release
	in.Skew, _ = l.client.Skew()
	foreign, err := e.foreignDumps(ctx, l)
	if err != nil {
		return errors.Join(err, e.db.SaveUnreachable(ctx, l.server.ID, troubleText(err)))
	}
	complete := len(resources.Nodes) > 0
	for _, n := range resources.Nodes {
		online := n.Status == "online"
		complete = complete && online
		in.Nodes = append(in.Nodes, portal.Node{Name: n.Node, Online: online, ForeignDump: foreign[n.Node]})
	}
	in.Storages = archiveStorages(resources.Storages)
	machines, err := e.db.MachinesOn(ctx, l.server.ID)
	if err != nil {
		return err
	}
	guests := make(map[int]pve.GuestResource, len(resources.Guests))
	for _, g := range resources.Guests {
		if g.Type == "qemu" {
			guests[g.VMID] = g
		}
	}
	var unseen []store.Machine
	for _, m := range machines {
		g, ok := guests[m.VMID]
		if !ok {
			unseen = append(unseen, m)
			continue
		}
		if m.State == portal.ServiceMachineGone && !e.sameMachine(ctx, l, m, g) {
			continue
		}
		status := g.Status
		if status == "" || status == "unknown" {
			status = "unknown"
		}
		if at, live := e.watch.seen(m.ServiceID); live && e.now().Sub(at).Abs() < syncEvery && m.Node == g.Node {
			status = m.Status // Watch has looked at the machine itself; this is what a daemon told up to ten seconds ago
		}
		same := m.Node == g.Node && m.Status == status && m.Lock == g.Lock && m.State != portal.ServiceMachineGone
		if same && e.now().Sub(m.SeenAt) < sightingAge && !m.SeenAt.After(e.now()) {
			continue // as it was: ten thousand machines are looked at every ten seconds
		}
		in.Sightings = append(in.Sightings, store.Sighting{ServiceID: m.ServiceID, Node: g.Node, Status: status, Lock: g.Lock, Uptime: g.Uptime, Same: same})
	}
	if err := e.db.SaveInventory(ctx, in); err != nil {
		return err
	}
	if err := e.db.SavePlaces(ctx, l.server.ID, placesOf(resources.Storages)); err != nil {
		return err
	}
	if err := e.findStaleLocks(ctx, l); err != nil {
		e.log.WarnContext(ctx, "locks can't be looked behind", "server_id", l.server.UID, "error", err)
	}
	if len(unseen) == 0 || !complete {
		return nil
	}
	rights, err := e.permissions(ctx, l)
	if err != nil {
		return err
	}
	var gone []int64
	for _, m := range unseen {
		if rights.Has(fmt.Sprintf("/vms/%d", m.VMID), "VM.Audit") {
			gone = append(gone, m.ServiceID)
		}
	}
	return e.db.SaveUnseen(ctx, gone)
}

// sightingAge is how old a sighting that has not changed may become before it is written again.
const sightingAge = time.Minute

// archiveStorages gives the storages that take archives. A shared one is listed once for every node; it is active
// where any node can use it.
func archiveStorages(seen []pve.StorageResource) []portal.Storage {
	var out []portal.Storage
	shared := map[string]int{}
	for _, s := range seen {
		if !slices.Contains(s.Content, "backup") {
			continue
		}
		row := portal.Storage{Node: s.Node, Name: s.Storage, Type: s.Type, Content: strings.Join(s.Content, ","), Shared: s.Shared,
			Active: s.Status == "available", Total: s.Total, Used: s.Used}
		if !s.Shared {
			out = append(out, row)
			continue
		}
		row.Node = ""
		if i, ok := shared[s.Storage]; !ok {
			shared[s.Storage] = len(out)
			out = append(out, row)
		} else if row.Active && !out[i].Active {
			out[i] = row
		}
	}
	return out
}

// sameMachine tells whether a machine that has come back is the service's own.
func (e *Engine) sameMachine(ctx context.Context, l *link, m store.Machine, g pve.GuestResource) bool {
	s, err := e.db.Service(ctx, m.ServiceID)
	if err != nil {
		return false
	}
	config, err := l.client.GuestConfig(ctx, g.Node, m.VMID)
	return err == nil && s.Identity.Same(identityOf(config))
}

// foreignDumps gives, by node, a vzdump that runs there and isn't ours.
func (e *Engine) foreignDumps(ctx context.Context, l *link) (map[string]string, error) {
	tasks, err := l.client.ClusterRunning(ctx)
	if err != nil {
		return nil, err
	}
	ours, err := e.db.OurUPIDs(ctx, l.server.ID)
	if err != nil {
		return nil, err
	}
	foreign := map[string]string{}
	for _, t := range tasks {
		if t.Running && t.Type == "vzdump" && !ours[t.UPID.String()] && t.Owner != l.server.TokenID {
			foreign[t.Node] = t.UPID.String()
		}
	}
	return foreign, nil
}

// troubleText says exactly, for staff, why a server can't be looked at and what mends it.
func troubleText(err error) string {
	switch {
	case errors.Is(err, pve.ErrCertificate):
		return "The certificate is not the one that was pinned. If it was renewed, compare it on the host and pin the new fingerprint. (" + err.Error() + ")"
	case pve.ReasonOf(err) == pve.Auth:
		return "The API token was not accepted: revoked, expired, or its secret was changed. Make a new one and set it here. (" + err.Error() + ")"
	case pve.ReasonOf(err) == pve.Permission:
		return "The API token lacks a privilege. Check the server to see which. (" + err.Error() + ")"
	default:
		return err.Error()
	}
}

// listing reads the archives of one machine (vmid 0: of all) on a storage, with what is seen of the storage
// around it.
func (e *Engine) listing(ctx context.Context, l *link, row store.StorageRow, node string, vmid int) (store.Listing, error) {
	out := store.Listing{ServerID: row.ServerID, Node: row.Node, Storage: row.Name, VMID: vmid}
	out.At = e.now()
	before, err := l.client.StorageStatus(ctx, node, row.Name)
	if err != nil {
		return out, err
	}
	rights, err := e.permissions(ctx, l)
	if err != nil {
		return out, err
	}
	seesAll, err := e.seesArchives(ctx, rights, row.ServerID, vmid)
	if err != nil {
		return out, err
	}
	archives, err := l.client.Archives(ctx, node, row.Name, vmid)
	if err != nil {
		return out, err
	}
	after, err := l.client.StorageStatus(ctx, node, row.Name)
	if err != nil {
		return out, err
	}
	out.Answered = true
	out.ActiveBefore, out.TotalBefore = before.Active, before.Total
	out.ActiveAfter, out.TotalAfter = after.Active, after.Total
	out.RightsSeen = seesAll && rights.Has("/storage/"+row.Name, "Datastore.AllocateSpace")
	for _, a := range archives {
		out.Archives = append(out.Archives, store.Archive{Volid: a.Volid, VMID: a.VMID, CTime: a.CTime, Size: a.Size, FirstLine: a.NotesLine,
			Protected: a.Protected, Verification: a.Verification, Encrypted: a.Encrypted})
	}
	return out, nil
}

// seesArchives tells whether the token may see the archives of a machine (vmid 0: of every service's). A rule on one
// machine's path hides that one's archives.
func (e *Engine) seesArchives(ctx context.Context, rights pve.Permissions, serverID int64, vmid int) (bool, error) {
	if vmid != 0 {
		return rights.Has("/vms/"+strconv.Itoa(vmid), "VM.Backup"), nil
	}
	if !rights.Has("/vms", "VM.Backup") {
		return false, nil
	}
	hidden := map[string]bool{}
	for path := range rights {
		if number, ok := strings.CutPrefix(path, "/vms/"); ok && !rights.Has(path, "VM.Backup") {
			hidden[number] = true
		}
	}
	if len(hidden) == 0 {
		return true, nil
	}
	machines, err := e.db.MachinesOn(ctx, serverID)
	return !slices.ContainsFunc(machines, func(m store.Machine) bool { return hidden[strconv.Itoa(m.VMID)] }), err
}

// SyncArchives lists every storage that archives go to, and keeps what that proves. A storage that can't be read
// proves nothing.
func (e *Engine) SyncArchives(ctx context.Context) error {
	servers, err := e.db.Servers(ctx)
	if err != nil {
		return err
	}
	for _, s := range servers {
		l, err := e.link(ctx, s.ID)
		if err != nil {
			return err
		}
		if err := e.syncServerArchives(ctx, l); err != nil {
			e.log.WarnContext(ctx, "archives can't be listed", "server_id", s.UID, "error", err)
		}
	}
	return e.db.Recovered(ctx)
}

func (e *Engine) syncServerArchives(ctx context.Context, l *link) error {
	wanted, err := e.db.WantedStorages(ctx, l.server.ID)
	if err != nil {
		return err
	}
	rows, err := e.db.Storages(ctx, l.server.ID)
	if err != nil {
		return err
	}
	nodes, err := e.db.Nodes(ctx, l.server.ID)
	if err != nil {
		return err
	}
	var failed error
	for _, row := range rows {
		if !wanted[row.Name] {
			continue
		}
		node := row.Node
		for _, n := range nodes {
			if node == "" && n.Online {
				node = n.Name
			}
		}
		if node == "" {
			continue
		}
		listing, err := e.listing(ctx, l, row, node, 0)
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		seen, err := e.db.SaveListing(ctx, listing)
		if err != nil {
			return err
		}
		if seen.Doubt != "" {
			e.log.WarnContext(ctx, "a listing proves nothing or not all", "server_id", l.server.UID, "storage", row.Place(), "doubt", seen.Doubt)
		}
	}
	return failed
}

// CheckConfigs reads the configs of machines that weren't read for an hour: their hardware, and whether they are
// still the machines of their services. It reads at most limit of each server, in turn over all of its machines:
// Proxmox is asked no more often the more machines there are. What is about to be backed up is looked at anyway.
func (e *Engine) CheckConfigs(ctx context.Context, limit int) error {
	servers, err := e.db.Servers(ctx)
	if err != nil {
		return err
	}
	for _, server := range servers {
		if !server.UnreachableSince.IsZero() {
			continue
		}
		stale, err := e.db.StaleConfigs(ctx, server.ID, e.configAt[server.ID], e.now().Add(-time.Hour), limit)
		if err != nil {
			return err
		}
		e.configAt[server.ID] = 0
		if len(stale) == limit {
			e.configAt[server.ID] = stale[limit-1].VMID
		}
		for _, s := range stale {
			if err := e.checkConfig(ctx, s); err != nil {
				e.log.WarnContext(ctx, "config can't be checked", "server_id", server.UID, "service_id", s.UID, "error", err)
				break // the other servers have their turn all the same
			}
		}
	}
	return ctx.Err()
}

func (e *Engine) checkConfig(ctx context.Context, s portal.Service) error {
	l, err := e.link(ctx, s.ServerID)
	if err != nil {
		return err
	}
	config, err := l.client.GuestConfig(ctx, s.Node, s.VMID)
	if err != nil {
		return nil //nolint:nilerr // Sync says what is wrong; gone is believed from whole inventories only
	}
	if config.Stump() {
		return e.db.SaveConfig(ctx, s.ID, s.Hardware) // what stands in the machine's place says nothing of it
	}
	if s.Identity.Same(identityOf(config)) {
		return errors.Join(e.db.SaveConfig(ctx, s.ID, hardwareOf(config)), e.checkSnapshots(ctx, l, s, config), e.db.SaveAddresses(ctx, s.ID, e.addresses(ctx, l, s, config)))
	}
	sit, err := e.db.Situation(ctx, s.ID)
	if err != nil || slices.ContainsFunc(sit.Operations, func(o portal.Operation) bool { return o.Kind.OnMachine() && o.State.Active() }) {
		return err // it is in our own hands, perhaps in pieces: whoever puts it together looks at what it is
	}
	return e.db.SetServiceState(ctx, "engine", s, portal.ServiceMachineReplaced, "its config has uuid "+config.UUID)
}
