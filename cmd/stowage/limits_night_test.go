package main

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"stowage/jobs"
	"stowage/portal"
	"stowage/pve"
	"stowage/pve/pvesim"
	"stowage/store"
)

// nightPlan is how large a night is, and what happens in it.
type nightPlan struct {
	seed     uint64
	clusters int
	nodes    int // of each cluster
	machines int // of each cluster
	failing  int // nodes, over all clusters, that fail during the night
	presses  int // of "Back up now"
	workers  int
	stage    bool  // for real processes: around the present hour, on disk, and without schedules
	still    bool  // nobody has a schedule
	bare     bool  // no copies are there yet, and none goes to shared storage
	used     int64 // what every machine holds; 0 = log-normal
	copies   int   // every machine has so many, all on shared storage
}

// night is one night of a hosting company in virtual time: the real engine on the real store, before simulated
// clusters. Every machine has a copy or more, half of them as many as they may have; each is due once.
type night struct {
	t    *testing.T
	plan nightPlan
	r    *rand.Rand
	dir  string

	say    func(string, ...any) // how far it is
	date   time.Time            // midnight
	start  time.Time
	clock  *nightClock
	db     *store.DB
	raw    *sql.DB
	engine *jobs.Engine
	sims   []*pvesim.Sim

	hosts  []nightHost // by cluster and node
	guests []nightMachine
	failed []nightFailure
	manual []nightPress
	counts map[string]int // requests to Proxmox, by method and shape
	mu     sync.Mutex     // over counts
}

type nightClock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *nightClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *nightClock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = t
}

type nightHost struct {
	cluster int
	name    string
}

// nightMachine is a machine with what is known of it beforehand.
type nightMachine struct {
	host    int // of hosts
	vmid    int
	client  int64
	service portal.Service
	due     time.Time
	takes   time.Duration // its dump alone
	shared  bool          // goes to the cluster's shared storage
	copies  int
	quota   int
}

// nightFailure is a node that fails for a while.
type nightFailure struct {
	host     int
	from, to time.Time
	power    bool // it loses power, and what runs there; else only the way to it is cut
	down     bool
	mend     func()
}

// nightPress is a click on "Back up now".
type nightPress struct {
	machine int
	at      time.Time
	op      int64
	refused portal.Text
}

const (
	nightSpeed  = 200_000_000 // bytes a second, of the simulated storages at speed 1
	nightHoles  = 5 * nightSpeed
	nightShared = "shared"
)

// nightDate is midnight in Berlin, of Friday on Saturday; the night begins five minutes before.
var nightDate = time.Date(2026, 11, 20, 23, 0, 0, 0, time.UTC)

func newNight(t *testing.T, plan nightPlan) *night {
	t.Helper()
	n := &night{t: t, plan: plan, r: rand.New(rand.NewPCG(plan.seed, 1)), date: nightDate, clock: &nightClock{}, counts: map[string]int{}}
	parent := ""
	if s, err := os.Stat("/dev/shm"); err == nil && s.IsDir() {
		parent = "/dev/shm"
	}
	if plan.stage {
		parent, n.date = "", time.Now().UTC().Truncate(time.Minute).Add(30*time.Minute)
	}
	if n.start = n.date.Add(-5 * time.Minute); plan.stage {
		n.start = n.date.Add(-30 * time.Minute)
	}
	n.clock.set(n.start)
	var err error
	if n.dir, err = os.MkdirTemp(parent, "stowage-night-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(n.dir) })
	n.must(store.CreateKey(filepath.Join(n.dir, "key")))
	keys, err := store.ReadKey(filepath.Join(n.dir, "key"))
	n.must(err)
	n.db, err = store.Open(store.Options{Path: filepath.Join(n.dir, "db"), Keys: keys, Now: n.clock.now, NoSync: true})
	n.must(err)
	t.Cleanup(func() { _ = n.db.Close() })
	_, _, err = n.db.Migrate(t.Context())
	n.must(err)
	n.must(n.db.Ready(t.Context()))
	n.must(n.db.RaiseEpoch(t.Context(), "night"))
	file := url.URL{Scheme: "file", Path: filepath.Join(n.dir, "db")}
	n.raw, err = sql.Open("sqlite3", file.String()+"?_busy_timeout=10000&_synchronous=OFF&_foreign_keys=1")
	n.must(err)
	t.Cleanup(func() { _ = n.raw.Close() })
	n.engine = jobs.New(jobs.Options{
		DB: n.db, Now: n.clock.now, Workers: plan.workers, RetryPause: time.Microsecond, Log: slog.New(slog.DiscardHandler),
		Transport: func(s portal.Server) http.RoundTripper { return n.sims[clusterOf(s.Name)] },
		Observe:   n.count,
	})
	t.Cleanup(n.engine.Close)
	n.populate()
	n.chooseFailures()
	n.choosePresses()
	return n
}

func (n *night) must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}

// count counts a request to Proxmox.
func (n *night) count(_ string, c pve.Call) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.counts[c.Method+" "+c.Path]++
}

// counted gives what was asked of Proxmox since the last time.
func (n *night) counted() map[string]int {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := n.counts
	n.counts = map[string]int{}
	return out
}

func clusterName(i int) string { return fmt.Sprintf("cluster%02d", i) }

func clusterOf(name string) (i int) {
	if _, err := fmt.Sscanf(name, "cluster%d", &i); err != nil {
		panic(err)
	}
	return i
}

// at is a time of day of the night.
func (n *night) at(hour, minute int) time.Time {
	return n.date.Add(time.Duration(60*hour+minute) * time.Minute)
}

// sharesOfANode is how many machines clients have on one node: some have many there, more have one or two.
var sharesOfANode = []int{8, 4, 4, 4, 2, 2, 2, 2, 1, 1, 1}

// populate makes clusters, clients and machines, on both sides alike.
func (n *night) populate() {
	ctx := n.t.Context()
	n.must(n.db.SetSetting(ctx, "cli", store.PerServer, fmt.Sprint(n.plan.nodes))) // a node's own limit is what counts
	local, shared := portal.NewProduct("VPS"), portal.NewProduct("VPS on shared storage")
	local.Quota, local.Storage = 3, "local"
	shared.Quota, shared.Storage = max(3, n.plan.copies), nightShared
	local, err := n.db.AddProduct(ctx, "cli", local)
	n.must(err)
	shared, err = n.db.AddProduct(ctx, "cli", shared)
	n.must(err)
	// A few clients have one machine on many nodes.
	var fleets []int64
	for i := range max(1, n.plan.clusters*n.plan.nodes/30) {
		fleets = append(fleets, n.client(fmt.Sprintf("Fleet %d", i)))
	}
	for c := range n.plan.clusters {
		w := n.world(c)
		sim, err := pvesim.New(w, pvesim.Options{Now: n.clock.now, Speed: 1, Seed: n.plan.seed + uint64(c)})
		n.must(err)
		n.sims = append(n.sims, sim)
		server, err := n.db.AddServer(ctx, "cli", portal.Server{Name: clusterName(c), Endpoints: []string{"https://" + clusterName(c) + ".test:8006"},
			TokenID: pvesim.PortalToken, Fingerprints: []string{strings.Repeat("ab", 32)}}, pvesim.Secret)
		n.must(err)
		owners := map[string][]int64{}
		for _, node := range w.Nodes {
			n.hosts = append(n.hosts, nightHost{c, node.Name})
			list := []int64{fleets[n.r.IntN(len(fleets))]}
			for len(list) < (n.plan.machines+n.plan.nodes-1)/n.plan.nodes {
				for i, share := range sharesOfANode {
					client := n.client(fmt.Sprintf("%d of %s on %s %d", i, node.Name, clusterName(c), len(list)))
					for range share {
						list = append(list, client)
					}
				}
			}
			owners[node.Name] = list
		}
		for _, g := range sim.Guests() {
			m := nightMachine{vmid: g.VMID, client: owners[g.Node][0], quota: 3, due: n.due(), shared: n.r.IntN(10) == 0 && !n.plan.bare}
			owners[g.Node] = owners[g.Node][1:]
			for i, h := range n.hosts {
				if h.cluster == c && h.name == g.Node {
					m.host = i
				}
			}
			d := g.Disks[0]
			m.takes = 300*time.Millisecond + (time.Duration(float64(d.Used)/nightSpeed*1e9+float64(d.Size-d.Used)/nightHoles*1e9) + time.Second - 1).Truncate(time.Second)
			m.copies = 3
			if n.r.IntN(2) == 0 {
				m.copies = 1 + n.r.IntN(2)
			}
			if n.plan.copies > 0 {
				m.copies, m.quota, m.shared = n.plan.copies, n.plan.copies, true
			}
			product := local
			if m.shared {
				product = shared
			}
			m.service, err = n.db.AddService(ctx, "cli", portal.Service{
				ClientID: m.client, ProductID: product.ID, ServerID: server.ID, VMID: g.VMID, Name: g.Name, Node: g.Node, Status: "running",
				Identity: portal.Identity{UUID: g.UUID, MACs: "x"}, Hardware: portal.Hardware{Disks: []portal.Disk{{Key: "scsi0", Size: d.Size, Backup: true}}},
			}, "Europe/Berlin")
			n.must(err)
			if !n.plan.stage && !n.plan.still {
				of := m.due.Sub(n.date) / time.Minute
				n.must(n.db.SaveSchedule(ctx, 0, m.service.UID, "cli", portal.EveryDay("Europe/Berlin", portal.TimeOfDay(of))))
			}
			n.guests = append(n.guests, m)
		}
	}
	n.history()
	_, err = n.raw.Exec(`UPDATE services SET config_at = ? - id * 7919 % 3600`, n.start.Unix()) // read in turn, as in every hour
	n.must(err)
	n.must(n.engine.Sync(ctx))
	n.must(n.engine.SyncArchives(ctx))
}

func (n *night) client(name string) int64 {
	c, _, err := n.db.AddClient(n.t.Context(), "cli", portal.Client{Name: name, Zone: "Europe/Berlin"}, strings.ReplaceAll(strings.ToLower(name), " ", "-")+"@example.test", "x")
	n.must(err)
	return c.ID
}

// due is when a machine's backup falls due: six of ten from 02:00 to 02:59, the others from 00:00 to 05:00.
func (n *night) due() time.Time {
	if n.r.IntN(10) < 6 {
		return n.at(2, n.r.IntN(60))
	}
	minute := n.r.IntN(240) // of 00:00 to 02:00 and 03:00 to 05:00
	if minute >= 120 {
		minute += 60
	}
	return n.at(minute/60, minute%60)
}

// world is one cluster. Sizes are log-normal: half of the machines hold less than 20 GB, one in a hundred more than
// 130.
func (n *night) world(c int) pvesim.World {
	w := pvesim.ContractWorld(n.plan.nodes, 2)
	w.Guests = nil
	w.Storages = []pvesim.Storage{{Name: "local", Type: "dir", Path: "/var/lib/vz", Content: []string{"images", "backup"}, Total: 400 << 40, Used: 4 << 30}}
	if n.plan.nodes > 1 {
		w.Storages = append(w.Storages, pvesim.Storage{Name: nightShared, Type: "nfs", Content: []string{"backup"}, Shared: true, Total: 4000 << 40, Used: 4096, EntryCost: 100 * time.Microsecond})
	}
	for i := range n.plan.machines {
		used := int64(20e9 * math.Exp(0.8*n.r.NormFloat64()))
		used = cmp.Or(n.plan.used, min(max(used, 200e6), 2e12))
		vmid := 100 + i
		w.Guests = append(w.Guests, pvesim.Guest{
			VMID: vmid, Node: w.Nodes[i%n.plan.nodes].Name, Name: fmt.Sprintf("h%d", vmid), Running: true,
			Config: map[string]string{
				"boot": "order=scsi0", "meta": "creation-qemu=10.0.2,ctime=1767600000", "ostype": "l26",
				"net0": fmt.Sprintf("virtio=BC:24:%02X:%02X:%02X:%02X,bridge=vmbr0", c, byte(vmid>>16), byte(vmid>>8), byte(vmid)),
			},
			Disks: []pvesim.Disk{{Key: "scsi0", Storage: "local", Size: (used*3/2/(1<<30) + 1) << 30, Used: used, Ratio: 0.5}},
		})
	}
	return w
}

// history puts the copies of the nights before on the storages and into the database, with the removals that made room
// for them.
func (n *night) history() {
	if n.plan.bare {
		return
	}
	tx, err := n.raw.BeginTx(n.t.Context(), nil)
	n.must(err)
	defer func() { _ = tx.Rollback() }()
	add, err := tx.Prepare(`INSERT INTO backups (uid, service_id, server_id, node, storage, volid, vmid, class, origin, mode, started_at, ctime, ended_at, size, disks_in, consistent, seen_at, removed_at, removed_how)
		VALUES (?, ?, ?, ?, ?, ?, ?, 'good', 'scheduled', 'snapshot', ?, ?, ?, ?, ?, 1, ?, ?, ?)`)
	n.must(err)
	defer func() { _ = add.Close() }()
	for _, m := range n.guests {
		h := n.hosts[m.host]
		storage, node := "local", h.name
		if m.shared {
			storage, node = nightShared, ""
		}
		for i := range cmp.Or(n.plan.copies, 6) {
			at := m.due.AddDate(0, 0, -1-i)
			removed, how := any(nil), ""
			if i >= m.copies {
				if m.copies < m.quota {
					break
				}
				removed, how = m.due.AddDate(0, 0, m.copies-1-i).Add(time.Minute).Unix(), "evicted"
			}
			uid := n.db.UID()
			volid := fmt.Sprintf("%s:backup/vzdump-qemu-%d-%s.vma.zst", storage, m.vmid, at.Format("2006_01_02-15_04_05"))
			size := int64(m.takes.Seconds() * nightSpeed / 2)
			_, err := add.Exec(uid, m.service.ID, m.service.ServerID, node, storage, volid, m.vmid, at.Unix(), at.Unix(), at.Add(m.takes).Unix(), size,
				fmt.Sprintf(`[{"key":"scsi0","size":%d,"backup":true}]`, m.service.Hardware.Disks[0].Size), n.start.Unix(), removed, how)
			n.must(err)
			if how == "" {
				n.must(n.sims[h.cluster].AddArchive(pvesim.Archive{
					Node: node, Storage: storage, Volid: volid, VMID: m.vmid, Time: at, Size: size, Config: "x",
					Notes: portal.Mark{Installation: n.db.Installation(), Service: m.service.UID, Operation: uid}.Sign(n.db.MarkKey()),
				}))
			}
		}
	}
	n.must(tx.Commit())
}

// chooseFailures lets nodes fail between 01:30 and 03:30. One in three loses its power; for one in five it is for the
// rest of the night.
func (n *night) chooseFailures() {
	for i, host := range n.r.Perm(len(n.hosts))[:n.plan.failing] {
		from := n.at(1, 30).Add(time.Duration(n.r.Int64N(int64(2 * time.Hour))))
		to := from.Add(15*time.Minute + time.Duration(n.r.Int64N(int64(75*time.Minute))))
		if i%5 == 4 {
			to = n.at(20, 0)
		}
		n.failed = append(n.failed, nightFailure{host: host, from: from, to: to, power: i%3 == 2})
	}
}

// choosePresses lets people press the button between 01:00 and 05:00, on machines with a free place.
func (n *night) choosePresses() {
	for _, i := range n.r.Perm(len(n.guests)) {
		if len(n.manual) == n.plan.presses {
			return
		}
		if m := n.guests[i]; m.copies == 1 && !n.failsEver(m.host) {
			n.manual = append(n.manual, nightPress{machine: i, at: n.at(1, 0).Add(time.Duration(n.r.Int64N(int64(4 * time.Hour)))).Truncate(time.Second)})
		}
	}
}

func (n *night) failsEver(host int) bool {
	for _, f := range n.failed {
		if f.host == host {
			return true
		}
	}
	return false
}

// happen lets fail, mend and press what is due by now.
func (n *night) happen(now time.Time) {
	for i := range n.failed {
		f := &n.failed[i]
		h := n.hosts[f.host]
		sim := n.sims[h.cluster]
		switch {
		case !f.down && !now.Before(f.from) && now.Before(f.to):
			f.down = true
			if f.power {
				n.must(sim.SetNodeOnline(h.name, false))
				f.mend = func() {
					n.must(sim.SetNodeOnline(h.name, true))
					for _, m := range n.guests {
						if m.host == f.host {
							n.must(sim.SetGuestRunning(m.vmid, true))
						}
					}
				}
			} else {
				f.mend = sim.Inject(pvesim.Fault{Kind: pvesim.NodeDown, Node: h.name})
			}
		case f.down && !now.Before(f.to):
			f.down = false
			f.mend()
		}
	}
	for i := range n.manual {
		p := &n.manual[i]
		if p.op != 0 || p.refused != "" || now.Before(p.at) {
			continue
		}
		m := n.guests[p.machine]
		op, err := n.db.Enqueue(n.t.Context(), m.client, m.service.UID, portal.ManualBackup("client:night", "by hand", ""))
		var refusal *portal.Error
		if errors.As(err, &refusal) {
			p.refused = refusal.Sentence
			continue
		}
		n.must(err)
		p.op = op.ID
	}
}

// live lets the night pass, each part of the engine woken at its own pace as Run wakes it. Instants at which nothing is
// due are leapt over.
func (n *night) live(until time.Time) {
	ctx := context.Background()
	next, told := map[string]time.Time{}, n.clock.now()
	wake := func(name string, every time.Duration, do func() error) {
		now := n.clock.now()
		if at, known := next[name]; known && now.Before(at) {
			return
		}
		next[name] = now.Add(every)
		if err := do(); err != nil {
			n.t.Fatalf("%s at %s: %v", name, now, err)
		}
	}
	for {
		now := n.clock.now()
		if hour := now.Truncate(time.Hour); hour.After(told) {
			told = hour
			if n.say != nil {
				n.say("  it is %s", hour.In(time.FixedZone("", 3600)).Format("15:04"))
			}
		}
		n.happen(now)
		wake("sync", nightSync, func() error { return n.engine.Sync(ctx) })
		wake("list", 10*time.Minute, func() error { return errors.Join(n.engine.SyncArchives(ctx), n.engine.CloseWatches(ctx)) })
		wake("tick", 15*time.Second, func() error { return n.engine.Tick(ctx) })
		turns := 0
		wake("drive", time.Second, func() (err error) { turns, err = n.engine.Drive(ctx); return err })
		wake("notes", 5*time.Second, func() error { return n.engine.MirrorNotes(ctx) })
		wake("configs", time.Minute, func() error { return n.engine.CheckConfigs(ctx, 10) })
		wake("check", time.Minute, func() error { return n.engine.CheckAll(ctx) })
		if !now.Before(until) || n.over(now) {
			return
		}
		// The next second at which anything is due. Notes and the tick have nothing of their own between.
		at := next["sync"]
		if turns > 0 {
			at = now.Add(time.Second)
		} else if due := n.nextDue(now); due.Before(at) {
			at = due
		}
		for _, p := range n.manual {
			if p.at.After(now) && p.at.Before(at) {
				at = p.at
			}
		}
		if n.idle(now) {
			at = now.Add(10 * time.Minute) // only what is on dead nodes is left, and waits for its time to run out
		}
		n.clock.set(at)
	}
}

// nightSync is how often the servers are looked at: three times as seldom as in life, which costs most of the time that
// the measure takes. What a host does shows that much later, and so the figures are no better for it.
const nightSync = 30 * time.Second

// nextDue is when the next operation wants a turn.
func (n *night) nextDue(now time.Time) time.Time {
	var at sql.NullInt64
	n.must(n.raw.QueryRow(`SELECT min(run_after) FROM operations WHERE state IN ('queued', 'running') AND run_after > ?`, now.Unix()).Scan(&at))
	if !at.Valid {
		return now.Add(time.Hour)
	}
	return time.Unix(at.Int64, 0).UTC()
}

// over tells whether everything that was to be has ended.
func (n *night) over(now time.Time) bool {
	if now.Before(n.at(5, 1)) {
		return false
	}
	var open int
	n.must(n.raw.QueryRow(`SELECT (SELECT count(*) FROM operations WHERE state IN ('queued', 'running', 'held')) + (SELECT count(*) FROM slots WHERE ended_at IS NULL)`).Scan(&open))
	return open == 0
}

// idle tells whether nothing moves any more but clocks.
func (n *night) idle(now time.Time) bool {
	if now.Before(n.at(5, 1)) {
		return false
	}
	for _, f := range n.failed {
		if now.Before(f.to) && f.to.Before(n.at(12, 0)) {
			return false
		}
	}
	var moving int
	n.must(n.raw.QueryRow(`SELECT count(*) FROM operations o JOIN services s ON s.id = o.service_id JOIN nodes h ON h.server_id = o.server_id AND h.name = s.node
		WHERE o.state IN ('queued', 'running') AND h.online = 1`).Scan(&moving))
	return moving == 0
}
