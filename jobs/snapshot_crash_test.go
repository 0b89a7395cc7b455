package jobs_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"time"

	"stowage/portal"
	"stowage/pve"
	"stowage/pve/pvesim"
)

// machineCalls are the audit actions of requests to a machine, by the last part of their paths.
var machineCalls = map[string]string{"snapshot": "pve.snapshot", "rollback": "pve.rollback", "config": "pve.config", "resize": "pve.config"}

// configCalls are those of requests that change the configuration in a step of their own.
var configCalls = map[string]string{
	portal.StepDetach: "pve.detach", portal.StepInstall: "pve.install", portal.StepPassword: "pve.password", portal.StepCloudInit: "pve.cloudinit", portal.StepTidy: "pve.destroy_unused",
}

// withSnapshots sells two snapshots that live for a day.
func withSnapshots(p *portal.Product) {
	p.Snapshots, p.SnapshotDays, p.SnapMemory = 2, 1, true
	p.Spec.Cores = 1
}

// snapshotScenarios are the workflows with snapshots.
func snapshotScenarios() []scenario {
	there := func(w *world) []portal.Snapshot {
		all, err := w.db.Snapshots(context.Background(), w.service.ID)
		if err != nil {
			w.t.Fatal(err)
		}
		return all
	}
	take := func(memory bool) func(*world) {
		return func(w *world) {
			w.ask(portal.RequestSnapshot("client:test", "before", memory))
			w.settle(time.Hour)
			if got := there(w); len(got) != 1 || got[0].State != portal.SnapshotThere || got[0].Memory != memory {
				w.t.Fatalf("prepared %+v\n%s", got, w.story())
			}
		}
	}
	again := func(memory bool) func(*world) {
		return func(w *world) {
			c, err := pve.New(pve.Config{Endpoints: []string{"https://pve1.test:8006"}, TokenID: pvesim.PortalToken, Secret: pvesim.Secret, Transport: w.sim, Now: w.clock.Now})
			if err != nil {
				w.t.Fatal(err)
			}
			if err := w.sim.WriteDisk(100, "scsi0", 1<<20, 1<<20); err != nil {
				w.t.Fatal(err)
			}
			w.content = w.machine().Disks[0].Content
			if _, err := c.CreateSnapshot(context.Background(), "pve1", 100, w.taken, "before", memory); err != nil {
				w.t.Fatal(err)
			}
			w.clock.set(w.clock.Now().Add(30 * time.Second))
			if err := w.sim.WriteDisk(100, "scsi0", 1<<20, 1<<20); err != nil {
				w.t.Fatal(err)
			}
			w.began = w.clock.Now()
		}
	}
	keep := func(f func(*world)) func(*world) {
		return func(w *world) { f(w); w.taken = there(w)[0].Name }
	}
	back := func(w *world) {
		x := there(w)[0]
		plan := portal.RollbackPlan{Memory: x.Memory}
		w.press(portal.RequestRollback("client:test", x.UID, true, plan))
	}
	rolledBack := func(w *world) error {
		g := w.machine()
		for _, op := range w.operations() {
			if op.Kind == portal.KindRollback && op.State == portal.StateFailed && strings.Contains(op.Reason.String(), "untouched") && g.Disks[0].Origin == w.content {
				w.t.Errorf("it was put back, and %q is said", op.Reason)
			}
		}
		switch {
		case !g.Running || g.Lock != "":
			return fmt.Errorf("the machine runs: %v, lock %q", g.Running, g.Lock)
		case g.Disks[0].Origin != w.content:
			return fmt.Errorf("the disk is not as the snapshot has it")
		case g.Cores > 1:
			return fmt.Errorf("%d cores", g.Cores)
		}
		return nil
	}
	return []scenario{
		{name: "snapshot", quota: 1, policy: overlap, product: withSnapshots, do: func(w *world) {
			w.press(portal.RequestSnapshot("client:test", "before", true))
		}, end: func(w *world) error {
			rows := there(w)
			if len(rows) != 1 || rows[0].State != portal.SnapshotThere || rows[0].Then == nil {
				return fmt.Errorf("snapshots: %+v", rows)
			}
			if g := w.machine(); len(g.Snapshots) != 1 || g.Snapshots[0] != rows[0].Name || g.Lock != "" {
				return fmt.Errorf("on the machine: %v, lock %q", g.Snapshots, g.Lock)
			}
			return nil
		}},
		{name: "expiry", quota: 1, policy: overlap, product: withSnapshots, arrange: func(w *world) {
			keep(take(false))(w)
			w.write(`UPDATE snapshots SET expires_at = ?`, time.Date(2026, 11, 21, 2, 0, 20, 0, time.UTC).Unix())
		}, again: again(false), do: func(*world) {}, waits: func(w *world) bool { return len(there(w)) > 0 }, end: func(w *world) error {
			if g := w.machine(); len(there(w)) != 0 || len(g.Snapshots) != 0 {
				return fmt.Errorf("after its time: %+v, on the machine %v", there(w), g.Snapshots)
			}
			return nil
		}},
		{name: "rollback", quota: 1, policy: overlap, product: withSnapshots, arrange: keep(take(false)), again: again(false), do: back, end: rolledBack},
		{name: "rollback-memory", quota: 1, policy: overlap, product: withSnapshots, arrange: keep(take(true)), again: again(true), do: back, end: rolledBack},
	}
}

// goOnLater is the member of staff who lets held work on a machine go on once its lock is released.
func (w *world) goOnLater() {
	ctx := context.Background()
	for _, op := range w.last6() {
		if op.State != portal.StateHeld || !op.Kind.OnMachine() || w.machine().Lock != "" {
			continue
		}
		w.alive(func() {
			if _, err := w.db.Resume(ctx, op.UID, "staff:test"); err != nil {
				w.t.Error(err)
				runtime.Goexit()
			}
		})
		w.recent = nil
	}
}
