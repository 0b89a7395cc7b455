package main

import (
	"fmt"
	"strings"
	"time"

	"stowage/portal"
	"stowage/pve/pvesim"
)

// The two simulated Proxmox VEs of the demo, by the names that the portal gives them.
const (
	demoAlone   = "Frankfurt" // one node, fra1
	demoCluster = "Amsterdam" // nodes ams1, ams2 and ams3 with shared storage
)

// demoServer is one simulated Proxmox VE.
type demoServer struct {
	name, release string
	short         string // of its folder
	endpoints     []string
	world         pvesim.World // without machines
}

const (
	gib = int64(1) << 30
	mb  = int64(1_000_000)
	gb  = 1000 * mb
	tb  = 1000 * gb
)

// demoServers are built anew at each call.
func demoServers() []demoServer {
	alone := pvesim.World{
		Nodes: []pvesim.Node{{Name: "fra1", CPUs: 32, Memory: 256 * gib, Bridges: []string{"vmbr0"}}},
		Storages: []pvesim.Storage{
			{Name: "local", Type: "dir", Path: "/var/lib/vz", Content: []string{"iso", "vztmpl"}, Total: 90 * gb, Used: 14 * gb},
			{Name: "ssd", Type: "dir", Path: "/mnt/ssd", Content: []string{"images"}, Mountpoint: true, Total: 3840 * gb, Used: 4 * mb},
			// Rather full, as dashboards should know how to say.
			{Name: "backups", Type: "dir", Path: "/mnt/backups", Content: []string{"backup"}, Mountpoint: true, Total: 4 * tb, Used: 3150 * gb},
		},
	}
	cluster := pvesim.World{
		Cluster: "amsterdam",
		Storages: []pvesim.Storage{
			{Name: "local", Type: "dir", Path: "/var/lib/vz", Content: []string{"iso", "vztmpl"}, Total: 90 * gb, Used: 11 * gb},
			{Name: "flash", Type: "nfs", Content: []string{"images"}, Shared: true, Total: 24 * tb, Used: 3 * tb},
			{Name: "nas", Type: "nfs", Content: []string{"backup"}, Shared: true, Total: 60 * tb, Used: 21 * tb},
		},
	}
	for i := range 3 {
		cluster.Nodes = append(cluster.Nodes, pvesim.Node{Name: fmt.Sprintf("ams%d", i+1), CPUs: 48, Memory: 512 * gib, Bridges: []string{"vmbr0"}})
	}
	servers := []demoServer{
		{name: demoAlone, short: "fra", release: "8.4", endpoints: []string{"https://fra1.demo.test:8006"}, world: alone},
		{name: demoCluster, short: "ams", release: "9.2", endpoints: []string{"https://ams1.demo.test:8006", "https://ams2.demo.test:8006", "https://ams3.demo.test:8006"}, world: cluster},
	}
	for i := range servers {
		w := &servers[i].world
		w.Roles = map[string][]string{pvesim.PortalRole: pvesim.PortalPrivileges}
		w.Users = []pvesim.User{{ID: "portal@pve"}}
		w.Tokens = []pvesim.Token{{ID: pvesim.PortalToken, Secret: pvesim.Secret, PrivSep: true}}
		w.ACL = []pvesim.ACL{
			{Path: "/", Role: pvesim.PortalRole, Who: "portal@pve"},
			{Path: "/", Role: pvesim.PortalRole, Who: pvesim.PortalToken},
		}
	}
	// One product there limits its bandwidth, which takes a privilege more.
	role := append([]string{"Sys.Modify"}, pvesim.PortalPrivileges...)
	servers[1].world.Roles[pvesim.PortalRole] = role
	return servers
}

// demoTemplates are what machines are installed from: the same on every server.
var demoTemplates = []portal.Template{{Name: "Debian 13", VMID: 9000}, {Name: "Ubuntu 24.04 LTS", VMID: 9001}}

// template gives one as the simulator takes it.
func (s demoServer) template(t portal.Template) pvesim.Guest {
	images := map[string]string{demoAlone: "ssd", demoCluster: "flash"}[s.name]
	return pvesim.Guest{
		VMID: t.VMID, Node: s.world.Nodes[0].Name, Name: strings.ToLower(strings.ReplaceAll(t.Name, " ", "-")), Memory: 1024, Cores: 1, Agent: "1",
		Config: map[string]string{"template": "1", "ide2": images + ":cloudinit", "boot": "order=scsi0", "ostype": "l26", "scsihw": "virtio-scsi-single", "net0": fmt.Sprintf("virtio=BC:24:11:90:00:%02X,bridge=vmbr0", byte(t.VMID))},
		Disks:  []pvesim.Disk{{Key: "scsi0", Storage: images, Size: 3 * gib, Used: 1300 * mb, Ratio: 0.4}},
	}
}

// demoClient is one customer, with a login named after it.
type demoClient struct{ key, name, zone string }

var demoClients = []demoClient{
	{"ada", "Ada's Analytics", "Europe/Berlin"},
	{"grace", "Grace & Sons Freight", "America/New_York"},
	{"linus", "Linus Media", "Europe/Helsinki"},
}

// demoStaff are the hosting company's logins.
var demoStaff = []struct {
	key, name string
	role      portal.Role
}{
	{"admin", "Demo Admin", portal.RoleAdmin},
	{"operator", "Demo Operator", portal.RoleOperator},
	{"auditor", "Demo Auditor", portal.RoleAuditor},
}

func demoEmail(key string) string { return key + "@demo.test" }

// demoPassword is the password of every login.
const demoPassword = "stowage-demo"

// demoProduct is one product, by the name that the machines below give it.
type demoProduct struct {
	key string
	portal.Product
}

// demoProducts are what is sold. A product belongs to the server that has its storage.
func demoProducts() []demoProduct {
	sold := func(key, name, storage string, quota int, more func(*portal.Product)) demoProduct {
		p := portal.NewProduct(name)
		p.Quota, p.Storage = quota, storage
		p.Snapshots, p.SnapshotDays, p.Spec.Templates = 3, 3, demoTemplates
		more(&p)
		return demoProduct{key, p}
	}
	return []demoProduct{
		sold("vps", "VPS", "backups", 5, func(p *portal.Product) { p.Protect, p.ModeChoice = 1, true }),
		sold("vps-bare", "VPS without backups", "backups", 0, func(*portal.Product) {}),
		sold("cloud-s", "Cloud S", "nas", 3, func(p *portal.Product) {
			p.Policy.LastCopy, p.Snapshots, p.SnapshotDays, p.SnapMemory = portal.LastHold, 1, 1, false
		}),
		sold("cloud-m", "Cloud M", "nas", 10, func(p *portal.Product) { p.Protect, p.ModeChoice = 2, true }),
		sold("cloud-db", "Cloud Database", "nas", 7, func(p *portal.Product) { p.Mode, p.Policy.Eviction = "stop", portal.EvictAfter }),
		// The limit makes a backup of a large machine take hours, whatever --speed says.
		sold("storage", "Storage Server", "nas", 4, func(p *portal.Product) { p.BWLimit = 100 << 10 }),
	}
}

// demoMachine is one service with its machine.
type demoMachine struct {
	vmid          int
	name          string
	client        string
	server, node  string
	product       string
	quota         int    // of its own; 0 = the product's
	mode          string // of its own; "" = the product's
	cores, memory int
	disks         []demoDisk
	agent         bool
	stopped       bool

	zone string // of its schedule
	grid string // as "stowage schedule preview" takes it, but with "all" for every day; "" = no schedule
}

// demoDisk is one disk: its size in GiB, the GB in use, and what compression leaves of those.
type demoDisk struct {
	size     int64
	used     float64
	ratio    float64
	noBackup bool
}

// The machines that the story is about, by name.
const (
	demoFull      = "web1.ada.example"      // every place is used, one copy is protected, slots were missed in an outage
	demoIdleAda   = "shop.ada.example"      // idle, with free places
	demoNone      = "test.ada.example"      // no schedule
	demoFailed    = "db1.ada.example"       // failed last night
	demoProtected = "mail.ada.example"      // all copies protected: slots are skipped
	demoNever     = "intranet.ada.example"  // never backed up
	demoZone      = "erp.grace.example"     // a schedule in another zone
	demoRunning   = "files.grace.example"   // a backup runs, for hours
	demoLocked    = "app.grace.example"     // locked by Proxmox
	demoOver      = "archive.grace.example" // 10/3
	demoGone      = "old.grace.example"     // its machine is gone
	demoStop      = "h205"                  // mode stop; idle, with free places
	demoSuspect   = "git.linus.example"     // the newest copy is much smaller; a zone with odd minutes
	demoMissing   = "build.linus.example"   // a copy was removed outside the portal
	demoSuspended = "cache.linus.example"   // suspended
	demoZero      = "legacy.linus.example"  // quota 0, with copies
	demoIdleLinus = "vpn.linus.example"     // idle, with free places
	demoWaiting   = "h305"                  // waits behind the long backup
)

// demoMachines lists all services. The large backup has node ams3 for hours, so none of the idle ones is there.
// Times are those of an ordinary day; keepClear moves them where the demo begins close to one.
func demoMachines() []demoMachine {
	return []demoMachine{
		{vmid: 100, name: demoFull, client: "ada", server: demoAlone, node: "fra1", product: "vps", cores: 2, memory: 4096, agent: true,
			disks: []demoDisk{{40, 22.4, 0.54, false}}, zone: "Europe/Berlin", grid: "all=03:00"},
		{vmid: 101, name: demoIdleAda, client: "ada", server: demoCluster, node: "ams1", product: "cloud-m", cores: 2, memory: 4096, agent: true,
			disks: []demoDisk{{20, 2.9, 0.61, false}}, zone: "Europe/Berlin", grid: "sun=23:30,wed=23:30"},
		{vmid: 102, name: demoFailed, client: "ada", server: demoCluster, node: "ams2", product: "cloud-m", quota: 7, cores: 8, memory: 32768, agent: true,
			disks: []demoDisk{{40, 9.2, 0.5, false}, {200, 96.5, 0.42, false}, {64, 31, 1, true}}, zone: "Europe/Berlin", grid: "all=02:00"},
		{vmid: 103, name: demoProtected, client: "ada", server: demoCluster, node: "ams1", product: "cloud-m", quota: 2, cores: 4, memory: 8192,
			disks: []demoDisk{{120, 71.3, 0.68, false}}, zone: "Europe/Berlin", grid: "all=03:20"},
		{vmid: 104, name: demoNone, client: "ada", server: demoAlone, node: "fra1", product: "vps", cores: 1, memory: 2048, stopped: true,
			disks: []demoDisk{{20, 2.2, 0.5, false}}, zone: "Europe/Berlin"},
		{vmid: 105, name: demoNever, client: "ada", server: demoCluster, node: "ams1", product: "cloud-s", cores: 1, memory: 2048, agent: true,
			disks: []demoDisk{{20, 2.4, 0.57, false}}, zone: "Europe/Berlin", grid: "all=03:40"},

		{vmid: 200, name: demoZone, client: "grace", server: demoAlone, node: "fra1", product: "vps", cores: 6, memory: 16384, agent: true,
			disks: []demoDisk{{120, 63.8, 0.49, false}}, zone: "America/New_York", grid: "all=02:30"},
		{vmid: 201, name: demoRunning, client: "grace", server: demoCluster, node: "ams3", product: "storage", cores: 8, memory: 16384, agent: true,
			disks: []demoDisk{{400, 391.5, 0.93, false}, {400, 372.2, 0.95, false}}, zone: "America/New_York", grid: "sun=00:30"},
		{vmid: 202, name: demoLocked, client: "grace", server: demoCluster, node: "ams2", product: "cloud-m", cores: 4, memory: 8192, agent: true,
			disks: []demoDisk{{80, 37.9, 0.55, false}}, zone: "America/New_York", grid: "all=22:00"},
		{vmid: 203, name: demoOver, client: "grace", server: demoCluster, node: "ams2", product: "cloud-m", cores: 2, memory: 4096, agent: true,
			disks: []demoDisk{{60, 31.6, 0.83, false}}, zone: "America/New_York", grid: "all=00:15"},
		{vmid: 204, name: demoGone, client: "grace", server: demoAlone, node: "fra1", product: "vps", cores: 1, memory: 2048,
			disks: []demoDisk{{40, 12.7, 0.6, false}}, zone: "America/New_York", grid: "all=23:10"},
		{vmid: 205, name: demoStop, client: "grace", server: demoCluster, node: "ams1", product: "cloud-db", cores: 2, memory: 8192, agent: true,
			disks: []demoDisk{{20, 2.3, 0.44, false}}, zone: "America/New_York", grid: "mon=01:40,thu=01:40"},

		{vmid: 300, name: demoSuspect, client: "linus", server: demoAlone, node: "fra1", product: "vps", cores: 4, memory: 8192, agent: true,
			disks: []demoDisk{{60, 35.1, 0.71, false}}, zone: "Asia/Kathmandu", grid: "all=01:15"},
		{vmid: 301, name: demoMissing, client: "linus", server: demoCluster, node: "ams1", product: "cloud-m", quota: 8, cores: 16, memory: 32768, agent: true,
			disks: []demoDisk{{160, 84.4, 0.52, false}}, zone: "Europe/Helsinki", grid: "all=02:00"},
		{vmid: 302, name: demoSuspended, client: "linus", server: demoCluster, node: "ams3", product: "cloud-s", cores: 2, memory: 4096,
			disks: []demoDisk{{40, 8.8, 0.4, false}}, zone: "Europe/Helsinki", grid: "all=02:30"},
		{vmid: 303, name: demoZero, client: "linus", server: demoAlone, node: "fra1", product: "vps", cores: 1, memory: 1024,
			disks: []demoDisk{{30, 11.2, 0.6, false}}, zone: "Europe/Helsinki", grid: "all=04:00"},
		{vmid: 304, name: demoIdleLinus, client: "linus", server: demoCluster, node: "ams2", product: "cloud-m", cores: 1, memory: 1024, agent: true,
			disks: []demoDisk{{20, 2.6, 0.5, false}}, zone: "Europe/Helsinki", grid: "mon=04:30,wed=04:30,fri=04:30"},
		{vmid: 305, name: demoWaiting, client: "linus", server: demoCluster, node: "ams3", product: "cloud-m", cores: 2, memory: 4096, agent: true,
			disks: []demoDisk{{40, 13.9, 0.58, false}}, zone: "Europe/Helsinki", grid: "sat=03:00,tue=03:00"},
	}
}

// guest gives the machine as the simulator takes it.
func (m demoMachine) guest(made time.Time) pvesim.Guest {
	images := map[string]string{demoAlone: "ssd", demoCluster: "flash"}[m.server]
	g := pvesim.Guest{
		VMID: m.vmid, Node: m.node, Name: m.name, Memory: m.memory, Cores: m.cores, Running: !m.stopped,
		Config: map[string]string{
			"boot": "order=scsi0",
			"meta": fmt.Sprintf("creation-qemu=10.0.2,ctime=%d", made.Unix()),
			"net0": fmt.Sprintf("virtio=BC:24:11:5D:%02X:%02X,bridge=vmbr0,firewall=1", byte(m.vmid>>8), byte(m.vmid)),
			"ide2": images + ":cloudinit",

			"ipconfig0": fmt.Sprintf("ip=203.0.113.%d/24,gw=203.0.113.1", m.vmid%100+100*(m.vmid/200)+10),
			"onboot":    "1",
			"ostype":    "l26",
			"scsihw":    "virtio-scsi-single",
		},
	}
	if m.agent {
		g.Agent = "1"
	}
	for i, d := range m.disks {
		g.Disks = append(g.Disks, pvesim.Disk{
			Key: fmt.Sprintf("scsi%d", i), Storage: images, Size: d.size * gib, Used: int64(d.used * float64(gb)), Ratio: d.ratio, NoBackup: d.noBackup,
			Options: "iothread=1",
		})
	}
	return g
}

// schedule gives the machine's schedule, its times kept clear of now.
func (m demoMachine) schedule(now time.Time) (portal.Schedule, error) {
	grid := m.grid
	if at, all := strings.CutPrefix(grid, "all="); all {
		var days []string
		for _, day := range []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"} {
			days = append(days, day+"="+at)
		}
		grid = strings.Join(days, ",")
	}
	s, err := portal.ParseGrid(m.zone, grid)
	if err != nil {
		return s, err
	}
	loc, err := portal.Zone(m.zone)
	if err != nil {
		return s, err
	}
	for i := range s.Days {
		s.Days[i].At = keepClear(s.Days[i].At, now.In(loc))
	}
	return s, nil
}

// clearOfNow is how far from the start of the demo no slot falls due, on either side: what happened last night
// has ended, and nothing of itself disturbs whoever looks around.
const clearOfNow = 3 * time.Hour

// keepClear moves a time of day by six hours where it is too close to the clock on the wall.
func keepClear(at portal.TimeOfDay, wall time.Time) portal.TimeOfDay {
	const day = 24 * 60
	off := (int(at) - wall.Hour()*60 - wall.Minute() + 2*day) % day // minutes until it is next due
	if near := int(clearOfNow / time.Minute); off > near && off < day-near {
		return at
	}
	return portal.TimeOfDay((int(at) + 6*60) % day)
}
