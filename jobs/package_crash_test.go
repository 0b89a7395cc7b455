package jobs_test

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"stowage/portal"
	"stowage/pve/pvesim"
)

// packageScenarios give a service a larger package, while its machine runs and while it is off.
func packageScenarios() []scenario {
	var all []scenario
	for _, off := range []bool{false, true} {
		sc := scenario{name: "package", quota: 1, policy: overlap, faults: 3, do: changePackage, arrange: func(w *world) {
			large := portal.NewProduct("vps-l")
			large.Quota, large.Storage, large.Policy = 1, "local", overlap
			large.Spec = portal.Spec{Cores: 2, System: portal.Drive{SizeGiB: 2, ReadMB: 100}, Data: portal.Drive{Device: "scsi1", Storage: "local", SizeGiB: 1}}
			_, err := w.db.AddProduct(context.Background(), "cli", large)
			w.must(err)
		}, end: asSold, always: unharmed}
		sc.again = func(w *world) { w.before = w.machine() }
		if off {
			sc.name, sc.points, sc.faults = "package-off", 2, 9
			sc.world = func(sw *pvesim.World) { sw.Guests[0].Running = false }
		}
		all = append(all, sc)
	}
	return all
}

// changePackage is the member of staff who sells a larger package, and does it again where the portal died meanwhile.
func changePackage(w *world) {
	ctx := context.Background()
	products, err := w.db.Products(ctx)
	w.must(err)
	large := products[slices.IndexFunc(products, func(p portal.Product) bool { return p.Name == "vps-l" })]
	for range 3 {
		if !w.alive(func() {
			if err := w.db.ChangeProduct(ctx, "cli", w.service, large); err != nil {
				w.wrong("change of the product: %v", err)
			}
		}) {
			return
		}
	}
}

// asSold is the end that a package change must come to: the machine is as sold, once, and runs as before.
func asSold(w *world) error {
	op := w.last()
	if op.Kind != portal.KindReapply || op.State != portal.StateSucceeded {
		return fmt.Errorf("the last operation is %s %s %q", op.Kind, op.State, op.StaffReason)
	}
	g, config := w.machine(), w.config()
	if config.Raw["cores"] != "2" || len(g.Disks) != 2 {
		return fmt.Errorf("cores %s, disks %+v", config.Raw["cores"], g.Disks)
	}
	for _, d := range config.Disks {
		switch {
		case d.Key == "scsi0" && d.SizeBytes == 2<<30 && d.Option("mbps_rd") == "100":
		case d.Key == "scsi1" && d.SizeBytes == 1<<30:
		default:
			return fmt.Errorf("disk %s", d.Raw)
		}
	}
	names := map[string]int{}
	for _, c := range op.Work.Changes {
		if names[c.Name]++; names[c.Name] > 1 {
			return fmt.Errorf("%s is told twice: %+v", c.Name, op.Work.Changes)
		}
	}
	if len(names) != 4 {
		return fmt.Errorf("told: %+v", op.Work.Changes)
	}
	return nil
}

// unharmed holds whatever became of a package change: the machine was not switched, its disk holds what it held and has not
// shrunk, there is no second additional disk, and what Proxmox took was not sent again.
func unharmed(w *world) error {
	g := w.machine()
	if g.Running != w.before.Running || g.Lock != "" || len(w.changes("", "/status/")) > 0 {
		return fmt.Errorf("it runs: %v, lock %q, switched %d times", g.Running, g.Lock, len(w.changes("", "/status/")))
	}
	was := w.before.Disks[0]
	if d := g.Disks[0]; d.Key != was.Key || d.Volume != was.Volume || d.Origin != was.Origin || d.Size < was.Size {
		return fmt.Errorf("the system disk is %+v, was %+v", d, was)
	}
	if len(g.Disks) > 2 || len(g.Disks) == 2 && g.Disks[1].Key != "scsi1" && !g.Disks[1].Loose { // a loose one waits for the next start
		return fmt.Errorf("disks %+v", g.Disks)
	}
	if done := w.done(); done["resize"] > 1 || done["qmconfig"] > 1 {
		return fmt.Errorf("done: %v", done)
	}
	return nil
}

// done counts the tasks that did their work, by their types.
func (w *world) done() map[string]int {
	out := map[string]int{}
	for _, task := range w.sim.Tasks() {
		if task.Exit == "OK" {
			out[task.Type]++
		}
	}
	return out
}

// looked holds a request that changes the configuration against what was looked at: it is sent on the condition that
// nothing has changed since, and grows a disk at most.
func (g *guarded) looked(path string, form url.Values) {
	if form.Get("digest") == "" {
		g.w.wrong("%s is sent whatever the configuration is by now: %v", path, form)
	}
	if !strings.HasSuffix(path, "/resize") {
		return
	}
	for _, d := range g.w.machine().Disks {
		if size, err := strconv.ParseInt(form.Get("size"), 10, 64); d.Key == form.Get("disk") && (err != nil || size < d.Size) {
			g.w.wrong("%s has %d bytes and is resized to %q", d.Key, d.Size, form.Get("size"))
		}
	}
}

// reinstallScenario installs a machine anew.
func reinstallScenario() scenario {
	o := withTemplate(worldOptions{})
	return scenario{name: "reinstall", quota: 1, policy: overlap, faults: 15, points: 4, world: o.World, product: o.Product,
		again: func(w *world) { w.before = w.machine() },
		do:    func(w *world) { w.press(requestDebian()) },
		end: func(w *world) error {
			if n := w.done()["qmdelsnapshot"]; n > len(w.before.Snapshots) {
				return fmt.Errorf("%d snapshots were removed", n)
			}
			return w.installed(w.before)
		},
		troubled: func(w *world) error {
			switch op := w.last(); {
			case op.State == portal.StateFailed && op.Reason != "":
				return nil
			case op.Warning != "": // our team removes the old disk
				w.must(w.sim.SetGuest(w.service.VMID, func(g *pvesim.Guest) {
					g.Disks = slices.DeleteFunc(g.Disks, func(d pvesim.Disk) bool { return d.Key == "" && d.Volume == w.before.Disks[0].Volume })
					delete(g.Config, "unused0")
				}))
			}
			return w.installed(w.before)
		},
		always: func(w *world) error {
			op := w.last()
			if op.State == portal.StateFailed && !containsVolume(w.machine(), w.before.Disks[0].Volume) {
				return fmt.Errorf("failed, and the old system disk is gone: %q", op.StaffReason)
			}
			if !containsVolume(w.machine(), w.before.Disks[1].Volume) {
				return fmt.Errorf("the additional disk is gone")
			}
			return nil
		}}
}
