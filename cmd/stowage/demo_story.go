package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"stowage/portal"
	"stowage/pve/pvesim"
	"stowage/store"
)

// past is what happened in the days before, in the order of time. It ends half an hour before the present, with
// nothing under way. What people do, they do at the demo's own time of day, which is clear of all schedules.
func (s *stage) past() []act {
	ago := func(days int, later time.Duration) time.Time {
		return s.end.Add(later - time.Duration(days)*24*time.Hour)
	}
	acts := []act{
		{ago(11, 0), s.manual(demoZero, "before the contract ends")},
		{ago(11, 10*time.Minute), s.manual(demoFull, "before PHP 8.4")},
		{ago(11, 20*time.Minute), s.protect(demoFull, 1)},
		{ago(11, 30*time.Minute), s.protect(demoProtected, 2)},
		{ago(9, 0), s.manual(demoNone, "clean install, nothing configured yet")},
		{ago(8, 0), s.sell(demoZero, "vps-bare")},
		{s.before(demoFull, ago(6, 0)).Add(-10 * time.Minute), s.outage(7*time.Hour + 10*time.Minute)},
		{ago(5, 0), s.foreignBackup(demoOver)},
		{ago(3, 0), s.suspend(demoSuspended)},
		{ago(2, 0), s.destroy(demoGone)},
		{ago(2, 40*time.Minute), s.manual(demoIdleAda, "before the plugin update")},
		{ago(3, 50*time.Minute), s.snapshot(demoFull, "before the theme change")}, // has less than an hour to live
		{ago(1, 90*time.Minute), s.snapshot(demoFull, "before the new shop page")},
		{ago(2, 60*time.Minute), s.cancelled(demoIdleAda, "oops, wrong machine")},
		{ago(1, 0), s.removeOutside(demoMissing)},
		{ago(1, 40*time.Minute), s.sell(demoOver, "cloud-s")},
		{ago(0, -150*time.Minute), s.lock(demoLocked, "snapshot-delete")},
		{ago(0, -130*time.Minute), s.deliver(demoNever)},
		{ago(0, -35*time.Minute), s.nothingRuns},
	}
	for day := range pastDays - 1 {
		acts = append(acts, act{ago(day+1, -20*time.Minute), s.grow(day)})
	}
	// One night a node was down, another the backup storage was offline for a while, and last night two backups
	// went wrong.
	acts = append(acts, s.while(s.before(demoFailed, ago(3, 0)), 10*time.Minute, 2*time.Hour+10*time.Minute, func() (func() error, error) {
		return s.fault(demoCluster, pvesim.Fault{Kind: pvesim.NodeDown, Node: "ams2"}), nil
	})...)
	acts = append(acts, s.while(s.before(demoZone, ago(2, 0)), 5*time.Minute, 40*time.Minute, func() (func() error, error) {
		return s.fault(demoAlone, pvesim.Fault{Kind: pvesim.StorageGone, Storage: "backups"}), nil
	})...)
	acts = append(acts, s.while(s.before(demoFailed, s.end), time.Minute, 90*time.Minute, func() (func() error, error) {
		vmid := s.services[demoFailed].VMID
		s.failing[vmid] = "job failed with err -5 - Input/output error"
		return func() error { delete(s.failing, vmid); return nil }, nil
	})...)
	acts = append(acts, s.while(s.before(demoSuspect, s.end), 20*time.Minute, 30*time.Minute, func() (func() error, error) {
		used := int64(0)
		err := s.disk(demoSuspect, func(d *pvesim.Disk) { used, d.Used = d.Used, d.Used/25 })
		return func() error { return s.disk(demoSuspect, func(d *pvesim.Disk) { d.Used = used }) }, err
	})...)
	slices.SortStableFunc(acts, func(a, b act) int { return a.at.Compare(b.at) })
	return acts
}

// present is the last half hour: a long backup runs, and another waits for it.
func (s *stage) present() []act {
	return []act{
		{s.end.Add(-25 * time.Minute), s.begin(demoRunning, "before the move to the new file server")},
		{s.end.Add(-9 * time.Minute), s.begin(demoWaiting, "before the kernel update")},
		{s.end, s.settleIn},
	}
}

// before gives when a machine's schedule last fell due before an instant.
func (s *stage) before(name string, t time.Time) time.Time {
	machines := demoMachines()
	i := slices.IndexFunc(machines, func(m demoMachine) bool { return m.name == name })
	schedule, err := machines[i].schedule(s.end)
	if err != nil {
		panic(err) // the table of machines is part of the program
	}
	slots := schedule.Slots(t.AddDate(0, 0, -8), t)
	return slots[len(slots)-1].Due
}

// while makes something hold from a while before an instant to a while after it.
func (s *stage) while(at time.Time, lead, rest time.Duration, begin func() (end func() error, err error)) []act {
	var end func() error
	return []act{
		{at.Add(-lead), func(ctx context.Context) (err error) {
			if end, err = begin(); err != nil {
				return err
			}
			return s.engine.Sync(ctx)
		}},
		{at.Add(rest), func(ctx context.Context) error {
			if err := end(); err != nil {
				return err
			}
			return s.engine.Sync(ctx)
		}},
	}
}

// fault makes something go wrong with a server, and gives how to mend it.
func (s *stage) fault(server string, f pvesim.Fault) (mend func() error) {
	remove := s.sims[server].Inject(f)
	return func() error { remove(); return nil }
}

// begin presses the button of a machine's client.
func (s *stage) begin(name, note string) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := s.press(ctx, name, note)
		return err
	}
}

// snapshot takes one of a machine, as its client.
func (s *stage) snapshot(name, description string) func(context.Context) error {
	return func(ctx context.Context) error {
		op, err := s.ask(ctx, name, func(actor string) portal.Request { return portal.RequestSnapshot(actor, description, true) })
		if err != nil {
			return err
		}
		if op, err = s.settle(ctx, op); err == nil && op.State != portal.StateSucceeded {
			err = fmt.Errorf("the snapshot of %s %s: %s", name, op.State, op.Reason)
		}
		return err
	}
}

func (s *stage) press(ctx context.Context, name, note string) (portal.Operation, error) {
	if err := s.engine.Sync(ctx); err != nil {
		return portal.Operation{}, err
	}
	return s.ask(ctx, name, func(actor string) portal.Request { return portal.ManualBackup(actor, note, "") })
}

// ask puts a request of a machine's client.
func (s *stage) ask(ctx context.Context, name string, request func(actor string) portal.Request) (portal.Operation, error) {
	service := s.services[name]
	op, err := s.db.Enqueue(ctx, service.ClientID, service.UID, request(s.clientOf(name).Actor()))
	if err != nil {
		return op, fmt.Errorf("%s: %w", name, err)
	}
	return op, nil
}

func (s *stage) clientOf(name string) portal.Login {
	for _, l := range s.logins {
		if l.ClientID == s.services[name].ClientID {
			return l
		}
	}
	return portal.Login{}
}

// settle lets time pass until an operation has ended, and gives how.
func (s *stage) settle(ctx context.Context, op portal.Operation) (ended portal.Operation, err error) {
	done, err := s.untilDone(ctx, s.clock.Now().Add(12*time.Hour), func() (bool, error) {
		ended, err = s.db.Operation(ctx, op.ID)
		return ended.State.Final(), err
	})
	if err == nil && !done {
		err = fmt.Errorf("operation %s is %s after twelve hours", ended.Reference, ended.State)
	}
	return ended, err
}

// manual makes a backup by hand and sees it end well.
func (s *stage) manual(name, note string) func(context.Context) error {
	return func(ctx context.Context) error {
		op, err := s.press(ctx, name, note)
		if err != nil {
			return err
		}
		if op, err = s.settle(ctx, op); err == nil && op.State != portal.StateSucceeded {
			err = fmt.Errorf("the backup of %s %s: %s", name, op.State, op.Reason)
		}
		return err
	}
}

// cancelled begins a backup by hand and cancels it while it runs.
func (s *stage) cancelled(name, note string) func(context.Context) error {
	return func(ctx context.Context) error {
		op, err := s.press(ctx, name, note)
		if err != nil {
			return err
		}
		if err := s.until(ctx, s.clock.Now().Add(15*time.Second)); err != nil {
			return err
		}
		service := s.services[name]
		if _, err := s.db.RequestCancel(ctx, service.ClientID, service.UID, op.UID, s.clientOf(name).Actor()); err != nil {
			return err
		}
		_, err = s.settle(ctx, op)
		return err
	}
}

// protect protects the newest copies of a machine.
func (s *stage) protect(name string, count int) func(context.Context) error {
	return func(ctx context.Context) error {
		copies, err := s.db.Backups(ctx, s.services[name].ID)
		if err != nil {
			return err
		}
		if len(copies) < count {
			return fmt.Errorf("%s has %d copies, and %d are to be protected", name, len(copies), count)
		}
		for _, b := range copies[:count] {
			op, err := s.ask(ctx, name, func(actor string) portal.Request { return portal.ProtectBackup(actor, b.UID, true) })
			if err != nil {
				return err
			}
			if _, err := s.settle(ctx, op); err != nil {
				return err
			}
		}
		return nil
	}
}

// sell gives a service another product.
func (s *stage) sell(name, product string) func(context.Context) error {
	return func(ctx context.Context) error {
		return s.db.ChangeProduct(ctx, s.logins["admin"].Actor(), s.services[name], s.products[product])
	}
}

// outage stops the portal for a while: nothing is planned, nothing is done. Then it starts again, and as after
// every standstill looks at all storages twice before it removes anything by itself.
func (s *stage) outage(d time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		s.clock.set(s.clock.Now().Add(d))
		if err := s.db.RaiseEpoch(ctx, "demo"); err != nil {
			return err
		}
		if err := s.lookAround(ctx); err != nil {
			return err
		}
		if err := s.until(ctx, s.clock.Now().Add(time.Minute)); err != nil {
			return err
		}
		return s.lookAround(ctx)
	}
}

// foreignBackup has an administrator back a machine up without the portal: the archive isn't ours.
func (s *stage) foreignBackup(name string) func(context.Context) error {
	return func(ctx context.Context) error {
		service, err := s.db.Service(ctx, s.services[name].ID)
		if err != nil {
			return err
		}
		if _, err := s.sims[demoCluster].StartForeignBackup(service.Node, service.VMID, "nas", map[string]string{"compress": "zstd", "remove": "0"}); err != nil {
			return err
		}
		if err := s.until(ctx, s.clock.Now().Add(time.Hour)); err != nil {
			return err
		}
		return s.lookAround(ctx)
	}
}

func (s *stage) suspend(name string) func(context.Context) error {
	return func(ctx context.Context) error {
		return s.db.SetServiceState(ctx, s.logins["operator"].Actor(), s.services[name], portal.ServiceSuspended, "invoice overdue")
	}
}

// destroy removes a machine behind the portal's back, and looks often enough to believe it.
func (s *stage) destroy(name string) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := s.simOf(name).DestroyGuest(s.services[name].VMID); err != nil {
			return err
		}
		return s.lookThrice(ctx)
	}
}

// removeOutside removes an archive behind the portal's back, and looks often enough to believe it.
func (s *stage) removeOutside(name string) func(context.Context) error {
	return func(ctx context.Context) error {
		copies, err := s.db.Backups(ctx, s.services[name].ID)
		if err != nil {
			return err
		}
		if len(copies) < 4 {
			return fmt.Errorf("%s has only %d copies", name, len(copies))
		}
		if err := s.simOf(name).RemoveArchive(copies[2].Node, copies[2].Volid); err != nil {
			return err
		}
		return s.lookThrice(ctx)
	}
}

func (s *stage) lookThrice(ctx context.Context) error {
	for range 3 {
		if err := s.lookAround(ctx); err != nil {
			return err
		}
		if err := s.until(ctx, s.clock.Now().Add(10*time.Minute)); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) lock(name, lock string) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := s.simOf(name).SetLock(s.services[name].VMID, lock); err != nil {
			return err
		}
		return s.engine.Sync(ctx)
	}
}

// deliver makes a machine and the service that it is for.
func (s *stage) deliver(name string) func(context.Context) error {
	return func(ctx context.Context) error {
		machines := demoMachines()
		m := machines[slices.IndexFunc(machines, func(m demoMachine) bool { return m.name == name })]
		if err := s.sims[m.server].AddGuest(m.guest(s.clock.Now())); err != nil {
			return err
		}
		return s.adopt(ctx, m)
	}
}

// grow lets what is on the disks become more, as it does.
func (s *stage) grow(day int) func(context.Context) error {
	return func(context.Context) error {
		for name, service := range s.services {
			if name == demoGone {
				continue
			}
			permille := int64((service.VMID*7 + day*13) % 16)
			if err := s.disk(name, func(d *pvesim.Disk) { d.Used = min(d.Used+d.Used/1000*permille, d.Size) }); err != nil {
				return err
			}
		}
		return nil
	}
}

// disk changes what is on a machine's first disk.
func (s *stage) disk(name string, edit func(*pvesim.Disk)) error {
	return s.simOf(name).SetGuest(s.services[name].VMID, func(g *pvesim.Guest) { edit(&g.Disks[0]) })
}

func (s *stage) simOf(name string) *pvesim.Sim {
	for server, added := range s.servers {
		if added.ID == s.services[name].ServerID {
			return s.sims[server]
		}
	}
	return nil
}

// nothingRuns sees that the past has come to its end: the worlds are about to be moved.
func (s *stage) nothingRuns(ctx context.Context) error {
	running, err := s.db.ListOperations(ctx, store.OperationQuery{State: portal.StateRunning, Limit: 10})
	if err != nil {
		return err
	}
	for _, op := range running {
		err = errors.Join(err, fmt.Errorf("%s of %s still runs", op.Kind, op.ServiceName))
	}
	return err
}

// settleIn looks at everything once more, so that the first page shows the present.
func (s *stage) settleIn(ctx context.Context) error {
	if err := s.lookAround(ctx); err != nil {
		return err
	}
	if err := s.engine.CheckConfigs(ctx, 1000); err != nil {
		return err
	}
	for _, server := range s.servers {
		if _, err := s.engine.Check(ctx, server); err != nil {
			return err
		}
	}
	if err := s.engine.Tick(ctx); err != nil {
		return err
	}
	_, err := s.engine.Drive(ctx)
	return err
}
