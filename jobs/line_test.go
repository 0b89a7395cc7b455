package jobs_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"stowage/portal"
	"stowage/pve/pvesim"
	"stowage/store"
)

// crowd is a world of so many hosts and machines; each machine from 100 on belongs to the client that owners names
// for it.
func crowd(t *testing.T, nodes int, o worldOptions, owners ...string) []*world {
	t.Helper()
	edit := o.World
	o.World = func(sw *pvesim.World) {
		*sw = pvesim.ContractWorld(nodes, max(len(owners), 2))
		if edit != nil {
			edit(sw)
		}
	}
	w := scene(t, o)
	clients := map[string]int64{"Ada": w.client}
	all := []*world{w}
	for i, owner := range owners[1:] {
		if clients[owner] == 0 {
			clients[owner] = w.newClient(owner)
		}
		all = append(all, w.another(clients[owner], 101+i))
	}
	return all
}

// dumps gives the machines whose backups began, in order, and the most that ran at once on one host and at all.
func (w *world) dumps() (order []string, perNode, total int) {
	var tasks []pvesim.Task
	for _, task := range w.sim.Tasks() {
		if task.Type == "vzdump" {
			tasks = append(tasks, task)
			order = append(order, task.ID)
		}
	}
	for _, a := range tasks {
		node, all := 0, 0
		for _, b := range tasks {
			if !b.Start.After(a.Start) && (b.Running() || b.End.After(a.Start)) {
				all++
				if b.Node == a.Node {
					node++
				}
			}
		}
		perNode, total = max(perNode, node), max(total, all)
	}
	return order, perNode, total
}

// TestOneAtATime has five machines of one host due at the same minute: they are backed up one after the other.
func TestOneAtATime(t *testing.T) {
	t.Parallel()
	all := crowd(t, 1, worldOptions{}, "Ada", "Bob", "Cy", "Dee", "Eve")
	for _, w := range all {
		w.every("03:00")
	}
	all[0].until("11-21 02:00")
	waiting := 0
	for _, w := range all {
		if w.last().WaitsFor.String() == "another backup runs on your host" {
			waiting++
			if at, why, err := w.db.InLine(context.Background(), w.last(), portal.DefaultLimits); err != nil || at < 1 || at > 4 || why == "" {
				t.Errorf("in line %d, %q, %v", at, why, err)
			}
		}
	}
	if waiting != 4 {
		t.Errorf("%d wait, want 4", waiting)
	}
	all[0].until("11-21 04:00")
	for _, w := range all {
		if s := w.slot("11-21"); s.State != portal.SlotDone && s.State != portal.SlotLate {
			t.Errorf("slot of %d: %s %s", w.service.VMID, s.State, s.Reason)
		}
		if n := len(w.complete()); n != 1 {
			t.Errorf("%d copies of %d", n, w.service.VMID)
		}
	}
	if order, perNode, _ := all[0].dumps(); perNode != 1 || len(order) != 5 {
		t.Errorf("%d at once, %v", perNode, order)
	}
}

// TestManualFirst lets a backup by hand overtake the night's that wait.
func TestManualFirst(t *testing.T) {
	t.Parallel()
	all := crowd(t, 1, worldOptions{}, "Ada", "Bob", "Cy", "Dee", "Eve")
	for _, w := range all[:4] {
		w.every("03:00")
	}
	all[0].until("11-21 02:00")
	op := all[4].backupNow("", "")
	all[0].until("11-21 04:00")
	order, perNode, _ := all[0].dumps()
	if perNode != 1 || len(order) != 5 || order[1] != "104" {
		t.Errorf("%d at once, order %v, want 104 second", perNode, order)
	}
	if got := all[4].operation(op.ID); got.State != portal.StateSucceeded {
		t.Errorf("%s", got.State)
	}
}

// TestFair shares a host's night between a client with four machines and one with one.
func TestFair(t *testing.T) {
	t.Parallel()
	all := crowd(t, 1, worldOptions{}, "Ada", "Ada", "Ada", "Ada", "Bob")
	for _, w := range all {
		w.every("03:00")
	}
	all[0].until("11-21 04:00")
	order, _, _ := all[0].dumps()
	if i := slices.Index(order, "104"); len(order) != 5 || i < 0 || i > 1 {
		t.Errorf("order %v: Bob's one machine waits for more than one of Ada's", order)
	}
}

// TestLimits keeps within what a storage and a server bear.
func TestLimits(t *testing.T) {
	t.Parallel()
	for key, storage := range map[string]string{store.PerStorage: "shared", store.PerServer: "local"} {
		t.Run(key, func(t *testing.T) {
			t.Parallel()
			owners := make([]string, 8)
			for i := range owners {
				owners[i] = []string{"Ada", "Bob"}[i%2]
			}
			all := crowd(t, 4, worldOptions{Product: func(p *portal.Product) { p.Storage = storage }}, owners...)
			all[0].must(all[0].db.SetSetting(context.Background(), "cli", key, "2"))
			for _, w := range all {
				w.every("03:00")
			}
			all[0].until("11-21 05:00")
			order, perNode, total := all[0].dumps()
			if len(order) != 8 || perNode != 1 || total != 2 {
				t.Errorf("%d backups, %d at once on a host, %d at once at all", len(order), perNode, total)
			}
		})
	}
}

// TestRemovalsOneAtATime never has two deletions under way on one storage, whoever asked for them; another storage
// isn't held up.
func TestRemovalsOneAtATime(t *testing.T) {
	t.Parallel()
	all := crowd(t, 1, worldOptions{}, "Ada", "Bob", "Cy")
	var ops []portal.Operation
	for _, w := range all {
		w.make(1)
		op, err := w.db.Enqueue(context.Background(), w.client, w.service.UID, portal.RemoveBackup("client:test", w.oldest().UID))
		if err != nil {
			t.Fatal(err)
		}
		ops = append(ops, op)
	}
	w := all[0]
	for range 40 {
		w.round()
		if n := len(w.column(`SELECT id FROM operations WHERE delete_place IS NOT NULL`)); n > 1 {
			t.Fatalf("%d deletions under way", n)
		}
		w.clock.set(w.clock.Now().Add(5 * time.Second))
	}
	for _, op := range ops {
		if got := w.operation(op.ID); got.State != portal.StateSucceeded {
			t.Errorf("%s, waits for %s", got.State, got.WaitsFor)
		}
	}
	if n := len(w.sim.Archives()); n != 0 {
		t.Errorf("%d archives are left", n)
	}
}

// TestParallelClicks presses the button ten times at once with one free place: one backup is made.
func TestParallelClicks(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{Product: func(p *portal.Product) { p.Quota = 1 }})
	errs := make(chan error)
	for i := range 10 {
		go func() {
			_, err := w.db.Enqueue(context.Background(), w.client, w.service.UID, portal.ManualBackup(fmt.Sprintf("client:%d", i), "", ""))
			errs <- err
		}()
	}
	granted := 0
	for range 10 {
		switch err := <-errs; portal.CodeOf(err) {
		case portal.CodeBusy:
		case "":
			if err != nil {
				t.Error(err)
			}
			granted++
		default:
			t.Error(err)
		}
	}
	w.settle(time.Hour)
	if granted != 1 {
		t.Errorf("%d were granted", granted)
	}
	w.wantCopies(1, 1)
}
