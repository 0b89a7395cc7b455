package jobs_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"stowage/portal"
	"stowage/pve/pvesim"
)

// The size of a walk.
const (
	walkDays     = 10 // from noon to noon; nothing goes wrong in the last two nights, so that everybody can settle
	quietNights  = 2
	walkMachines = 8
	walkZone     = "Europe/Berlin"
)

// plan is what one walk is: the world it begins in and all that happens to that world, drawn from a seed before
// anybody acts. The same seed gives every scheduler the same plan.
type plan struct {
	seed       uint64
	begin, end time.Time
	world      pvesim.World
	machines   []booking
	spells     []spell
}

// booking is what a customer has bought for a machine.
type booking struct {
	vmid     int
	quota    int
	storage  string
	eviction portal.EvictionMode // of our product; the others know one way
	schedule portal.Schedule
}

// spell is a time in which something is wrong, or an instant at which somebody does something.
//
// All spells are bound to virtual time, never to a scheduler's nth call, because each scheduler calls differently:
//
//   - A spell of the world or of a machine lasts from one instant to another.
//   - A spell of calls hits a share of those that fit while it lasts. Whether it hits is a number made of the seed,
//     the spell, the second, and the question (or its repetition within the second): whoever asks the same at the
//     same second gets the same.
//   - A process dies at the first change that it sends within a spell of dying, right before or right after it, and
//     is back at the spell's end.
type spell struct {
	name     string
	from, to time.Time

	fault pvesim.Fault
	share float64 // of the calls that fit; 0: the fault is one of the world

	dies     string        // "before" or "after" the first change
	down     bool          // the scheduler's host is off
	ahead    time.Duration // the scheduler's clock is wrong by
	vmid     int           // it is this machine's alone; 0: it may concern all
	begin    func(*walk) bool
	finish   func(*walk)
	harmless bool // nothing is broken by it: a backup can be made
}

// draw makes the plan of a seed.
func draw(seed uint64) *plan {
	d := &drawer{r: rand.New(rand.NewPCG(seed, 0x570a6e)), plan: &plan{seed: seed}}
	d.begin = time.Date(2026, 11, 20, 11, 0, 0, 0, time.UTC)
	d.end = d.begin.AddDate(0, 0, walkDays)
	d.machinesAndStorages()
	for night := range walkDays - quietNights {
		for range 1 + d.r.IntN(3) {
			d.trouble(night)
		}
		if d.chance(0.5) {
			d.machineTrouble(night)
		}
		if d.chance(0.35) {
			d.processTrouble(night)
		}
	}
	d.deeds()
	return d.plan
}

type drawer struct {
	*plan
	r *rand.Rand
}

func (d *drawer) chance(p float64) bool { return d.r.Float64() < p }

// between draws a duration in whole seconds.
func (d *drawer) between(from, to time.Duration) time.Duration {
	return from + time.Duration(d.r.Int64N(int64((to-from)/time.Second)+1))*time.Second
}

func pick[T any](d *drawer, from ...T) T { return from[d.r.IntN(len(from))] }

// machinesAndStorages makes a cluster of two hosts with a backup storage of each host's own and one in the network.
// On both lie archives that are no scheduler's: of a machine that nobody sold, and copies that the provider's staff
// made by hand before the customer had booked any backups.
func (d *drawer) machinesAndStorages() {
	w := pvesim.ContractWorld(2, walkMachines)
	w.Storages = append(w.Storages, pvesim.Storage{
		Name: "vault", Type: "dir", Content: []string{"backup"}, Total: 200 << 30, Used: 4096, Mountpoint: d.chance(0.5),
	})
	for i := range w.Guests {
		g := &w.Guests[i]
		g.Disks[0].Size = 4 << 30
		g.Disks[0].Used = int64(pick(d, 100+d.r.IntN(500), 100+d.r.IntN(500), 1000+d.r.IntN(2500))) * 1000 * 1000
		at := portal.TimeOfDay(60 + 5*d.r.IntN(40))
		if d.chance(0.2) {
			at = portal.TimeOfDay(22*60 + 30 + 5*d.r.IntN(17))
		}
		b := booking{
			vmid: g.VMID, quota: pick(d, 2, 2, 3, 3, 4, 5), storage: pick(d, "vault", "shared"),
			eviction: pick(d, portal.EvictBefore, portal.EvictBefore, portal.EvictAfter), schedule: portal.EveryDay(walkZone, at),
		}
		if d.chance(1.0 / 12) {
			b.quota = 1
		}
		if d.chance(0.25) {
			for day := range b.schedule.Days {
				b.schedule.Days[day].Enabled = d.chance(0.8)
			}
		}
		d.machines = append(d.machines, b)
		if d.chance(1.0 / 3) {
			w.Archives = append(w.Archives, pvesim.Archive{
				Node: g.Node, Storage: b.storage, VMID: g.VMID, Time: d.begin.Add(-d.between(24*time.Hour, 60*24*time.Hour)),
				Size: 300 << 20, Notes: "before the move to the new rack",
			})
		}
	}
	for i, storage := range []string{"vault", "shared"} {
		w.Archives = append(w.Archives, pvesim.Archive{
			Node: "pve1", Storage: storage, VMID: 900 + i, Time: d.begin.Add(-d.between(time.Hour, 90*24*time.Hour)), Size: 1 << 30, Notes: "our mail server",
		})
	}
	d.world = w
}

// due gives an instant near which a night's trouble lies: when one of the machines falls due.
func (d *drawer) due(night int) time.Time {
	noon := d.begin.AddDate(0, 0, night)
	m := d.machines[d.r.IntN(len(d.machines))]
	if slots := m.schedule.Slots(noon, noon.AddDate(0, 0, 1)); len(slots) > 0 {
		return slots[0].Due.UTC()
	}
	return noon.Add(14 * time.Hour)
}

func (d *drawer) add(s spell) {
	last := d.begin.AddDate(0, 0, walkDays-quietNights)
	if s.to.After(last) {
		s.to = last
	}
	if s.from.Before(s.to) || s.begin != nil && s.from.Before(last) {
		d.spells = append(d.spells, s)
	}
}

// trouble draws what goes wrong on the hosts in a night: a fault of calls for some minutes, or one of the world for
// minutes up to most of a night. Every kind of the simulator's faults is among them but Delay: nobody waits in virtual
// time, and a call that takes too long is a late effect.
func (d *drawer) trouble(night int) {
	from := d.due(night).Add(d.between(-25*time.Minute, 35*time.Minute))
	all := troubles()
	all = append(all,
		trouble{"empty inventory", pvesim.Fault{Kind: pvesim.EmptyListing, Path: `^/cluster/resources$`}, 0},
		trouble{"moves under the request", pvesim.Fault{Kind: pvesim.MigrateNow, Path: `/vzdump$`}, 0},
		trouble{"power cut", pvesim.Fault{Node: "pve1"}, time.Hour},
	)
	tr := all[d.r.IntN(len(all))]
	s := spell{name: tr.name, from: from, fault: tr.fault}
	node := pick(d, "pve1", "pve2")
	if tr.fault.Node != "" {
		s.fault.Node = node
	}
	if tr.fault.Storage != "" {
		s.fault.Storage = pick(d, "vault", "shared")
	}
	switch {
	case tr.name == "power cut":
		s.to = from.Add(d.between(5*time.Minute, 40*time.Minute))
		powerCut(&s, node)
	case tr.lasts == 0:
		s.share = pick(d, 0.3, 0.7, 1)
		s.to = from.Add(pick(d, d.between(time.Minute, 10*time.Minute), d.between(5*time.Minute, 90*time.Minute)))
	case tr.fault.Kind == pvesim.ClockSkew:
		if s.fault.For = d.between(5*time.Minute, 3*time.Hour); d.chance(0.5) {
			s.fault.For = -s.fault.For
		}
		s.to = from.Add(d.between(30*time.Minute, 5*time.Hour))
	default:
		s.to = from.Add(pick(d, d.between(5*time.Minute, 40*time.Minute), d.between(time.Hour, 7*time.Hour)))
	}
	d.add(s)
}

func powerCut(s *spell, node string) {
	var ran []int
	s.begin = func(w *walk) bool {
		ran = nil
		for _, g := range w.sim.Guests() {
			if g.Node == node && g.Running {
				ran = append(ran, g.VMID)
			}
		}
		w.must(w.sim.SetNodeOnline(node, false))
		return true
	}
	s.finish = func(w *walk) {
		w.must(w.sim.SetNodeOnline(node, true))
		for _, vmid := range ran {
			w.must(w.sim.SetGuestRunning(vmid, true))
		}
	}
}

// machineTrouble draws what goes wrong with one machine in a night.
func (d *drawer) machineTrouble(night int) {
	vmid := d.machines[d.r.IntN(len(d.machines))].vmid
	from := d.due(night).Add(d.between(-25*time.Minute, 35*time.Minute))
	s := spell{vmid: vmid, from: from}
	if d.chance(0.75) {
		lock := pick(d, "snapshot", "migrate", "snapshot-delete", "rollback", "disk")
		s.name, s.to = "locked: "+lock, from.Add(pick(d, d.between(2*time.Minute, 20*time.Minute), d.between(time.Hour, 7*time.Hour)))
		s.begin = func(w *walk) bool { return w.idle(vmid) && w.can(w.sim.SetLock(vmid, lock)) }
		s.finish = func(w *walk) {
			if w.guest(vmid).Lock == lock {
				w.must(w.sim.Unlock(vmid))
			}
		}
	} else {
		// A slip in the machine's settings: its disk is left out of backups until somebody sees it. Proxmox makes an
		// archive of half a kilobyte then and calls that OK.
		s.name, s.from, s.to = "disk left out", from.Add(-time.Hour), from.Add(d.between(10*time.Hour, 70*time.Hour))
		s.begin = func(w *walk) bool { return w.idle(vmid) && w.can(w.leaveOut(vmid, true)) }
		s.finish = func(w *walk) { w.must(w.leaveOut(vmid, false)) }
	}
	d.add(s)
}

// processTrouble draws what goes wrong with the scheduler's own process, host or clock.
func (d *drawer) processTrouble(night int) {
	from := d.due(night).Add(d.between(-25*time.Minute, 25*time.Minute))
	s := spell{from: from}
	switch d.r.IntN(5) {
	case 0, 1:
		s.name, s.dies, s.to = "killed", pick(d, "before", "after"), from.Add(d.between(10*time.Minute, 40*time.Minute))
		s.name += " " + s.dies + " a change"
	case 2:
		s.name, s.down, s.to = "off for a while", true, from.Add(d.between(20*time.Minute, 6*time.Hour))
	case 3:
		s.name, s.down, s.from, s.to = "off for long", true, from.Add(-2*time.Hour), from.Add(d.between(6*time.Hour, 34*time.Hour))
	case 4:
		s.name, s.ahead = "its clock is wrong", pick(d, d.between(5*time.Minute, 3*time.Hour), -d.between(5*time.Minute, 3*time.Hour), 26*time.Hour)
		s.to = from.Add(d.between(10*time.Minute, 2*time.Hour))
	}
	d.add(s)
}

// deeds draws what people do during the walk.
func (d *drawer) deeds() {
	at := func() time.Time { return d.begin.Add(d.between(12*time.Hour, (walkDays-quietNights-1)*24*time.Hour)) }
	machine := func() int { return d.machines[d.r.IntN(len(d.machines))].vmid }
	deed := func(name string, vmid int, do func(*walk) bool) {
		from := at()
		d.add(spell{name: name, vmid: vmid, from: from, to: from.Add(time.Second), begin: do, harmless: true})
	}
	for range 1 + d.r.IntN(3) {
		vmid := machine()
		deed("staff back up by hand", vmid, func(w *walk) bool {
			g := w.guest(vmid)
			_, err := w.sim.StartForeignBackup(g.Node, vmid, w.bookingOf(vmid).storage, map[string]string{"remove": "0", "compress": "zstd", "notes-template": "before the kernel upgrade"})
			return w.can(err)
		})
	}
	if d.chance(0.6) {
		vmid := machine()
		deed("moved", vmid, func(w *walk) bool {
			to := map[string]string{"pve1": "pve2", "pve2": "pve1"}
			return w.idle(vmid) && w.can(w.sim.Migrate(vmid, to[w.guest(vmid).Node]))
		})
	}
	if d.chance(0.6) {
		vmid, all := machine(), d.chance(0.3)
		deed("copies protected", vmid, func(w *walk) bool { w.protect(vmid, all, true); return true })
		d.add(spell{name: "protection ended", vmid: vmid, from: d.end.AddDate(0, 0, -quietNights-1), to: d.end, harmless: true,
			begin: func(w *walk) bool { w.protect(vmid, true, false); return true }})
	}
	if d.chance(0.5) {
		vmid, newest := machine(), d.chance(0.5)
		deed("a copy vanishes", vmid, func(w *walk) bool { w.take(vmid, newest); return true })
	}
	if d.chance(0.5) {
		vmid := machine()
		deed("a copy is cut short", vmid, func(w *walk) bool { w.cutShort(vmid); return true })
	}
	if d.chance(0.5) {
		vmid := machine()
		from := at()
		later := from.Add(d.between(time.Hour, 20*time.Hour))
		next := d.bookingOf(vmid)
		next.quota, next.schedule = pick(d, 2, 3, 4), portal.EveryDay(walkZone, portal.TimeOfDay(60+5*d.r.IntN(40)))
		d.add(spell{name: "cancelled and destroyed", vmid: vmid, from: from, to: from.Add(time.Second), harmless: true,
			begin: func(w *walk) bool { return w.idle(vmid) && w.vacate(vmid) }})
		d.add(spell{name: "its number given to a new customer", vmid: vmid, from: later, to: later.Add(time.Second), harmless: true,
			begin: func(w *walk) bool { return w.settleIn(next) }})
	}
	slices.SortStableFunc(d.spells, func(a, b spell) int { return a.from.Compare(b.from) })
}

func (p *plan) bookingOf(vmid int) booking {
	i := slices.IndexFunc(p.machines, func(b booking) bool { return b.vmid == vmid })
	return p.machines[i]
}

// String tells the plan, for whoever looks why a walk went as it did.
func (p *plan) String() string {
	out := fmt.Sprintf("seed %d\n", p.seed)
	for _, m := range p.machines {
		out += fmt.Sprintf("  machine %d: %d copies on %s, %s, %s\n", m.vmid, m.quota, m.storage, m.eviction, m.schedule.Grid())
	}
	for _, s := range p.spells {
		out += fmt.Sprintf("  %s – %s  %s", s.from.Format("02 15:04:05"), s.to.Format("02 15:04:05"), s.name)
		if s.vmid != 0 {
			out += fmt.Sprintf(" %d", s.vmid)
		}
		if s.share > 0 {
			out += fmt.Sprintf(" at %.0f %%", 100*s.share)
		}
		out += fmt.Sprintf(" %s %s\n", s.fault.Node+s.fault.Storage, s.ahead)
	}
	return out
}
