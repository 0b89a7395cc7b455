package pvesim

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

const labRoot = 270553174016

// recordedWorld is the state that a topic's recording starts from: storages
// and rights of the set-up, machines as the topic shows them.
func recordedWorld(release, topic string, xs []exchange) World {
	hosting := []string{
		"VM.Audit", "VM.PowerMgmt", "VM.Console", "VM.Snapshot", "VM.Snapshot.Rollback", "VM.Backup", "VM.Allocate", "VM.Clone",
		"VM.Config.Disk", "VM.Config.CPU", "VM.Config.Memory", "VM.Config.Network", "VM.Config.Options", "VM.Config.Cloudinit",
		"VM.Config.CDROM", "VM.Config.HWType", "Datastore.AllocateSpace", "Datastore.Audit", "Sys.Audit", "Pool.Audit", "SDN.Use",
	}
	if release == "8.4" {
		hosting = append(hosting, "VM.Monitor")
	} else {
		hosting = append(hosting, "VM.GuestAgent.Audit")
	}
	w := World{
		Nodes:  []Node{{Name: "pve1", Zone: map[string]string{"8.4": "Etc/UTC"}[release], CPUs: 2, Memory: 25276514304, Bridges: []string{"vmbr0"}}},
		Mounts: []Mount{{Path: "/", Total: labRoot, Used: 30 * gib}, {Path: "/srv/tiny", Total: 80 * mib, Used: 4096}},
		Storages: []Storage{
			{Name: "local", Type: "dir", Path: "/var/lib/vz", Content: []string{"iso", "backup", "rootdir", "images", "vztmpl", "snippets"}, Total: labRoot, Used: 30 * gib},
			{Name: "data", Type: "dir", Content: []string{"images"}, Total: labRoot, Used: 30 * gib},
			{Name: "bk2", Type: "dir", Content: []string{"backup"}, Total: labRoot, Used: 30 * gib},
			{Name: "keep2", Type: "dir", Content: []string{"backup"}, Total: labRoot, Used: 30 * gib, PruneBackups: "keep-last=2"},
			{Name: "off", Type: "dir", Content: []string{"backup", "images"}, Disabled: true},
		},
		Roles: map[string][]string{"HostingPortal": hosting, "Power": {"VM.Audit", "VM.PowerMgmt"}},
		Users: []User{
			{ID: "portal@pve", Password: portalPassword}, {ID: root, Password: rootPassword},
			{ID: "gone@pve", Password: portalPassword, Disabled: true}, {ID: "past@pve", Password: portalPassword, Expire: 1000000000},
		},
		Tokens: []Token{
			{ID: "root@pam!full", Secret: Secret},
			{ID: "portal@pve!api", Secret: Secret, PrivSep: true},
			{ID: "portal@pve!none", Secret: Secret, PrivSep: true},
			{ID: "portal@pve!ro", Secret: Secret, PrivSep: true},
			{ID: "portal@pve!power", Secret: Secret, PrivSep: true},
			{ID: "portal@pve!old", Secret: Secret, PrivSep: true, Expire: 1000000000},
		},
		ACL: []ACL{
			{Path: "/", Role: "HostingPortal", Who: "portal@pve"},
			{Path: "/", Role: "HostingPortal", Who: "portal@pve!api"},
			{Path: "/", Role: "HostingPortal", Who: "portal@pve!old"},
			{Path: "/", Role: "PVEAuditor", Who: "portal@pve!ro"},
			{Path: "/vms/100", Role: "Power", Who: "portal@pve!power"},
		},
	}
	if topic == "90-nine-only" {
		w.Storages = append(w.Storages, Storage{Name: "tinyimg", Type: "dir", Content: []string{"images"}, Total: 120 * mib})
	}
	if release == "9.2" && topic == "11-clone-template-cloudinit-destroy" {
		w.Roles["NoPower"] = slices.DeleteFunc(slices.Clone(hosting), func(p string) bool { return p == "VM.PowerMgmt" })
		w.Tokens = append(w.Tokens, Token{ID: "portal@pve!np", Secret: Secret, PrivSep: true})
		w.ACL = append(w.ACL, ACL{Path: "/", Role: "NoPower", Who: "portal@pve!np"})
	}
	if release == "9.2" && (topic == "00-setup" || topic == "06-backup" || topic == "08-tasks") {
		w.Storages[0].PruneBackups = "keep-all=1" // until a later topic changed the storage
	}
	if topic == "00-setup" {
		w.Storages, w.Users, w.Tokens, w.ACL = w.Storages[:1], []User{{ID: root, Password: rootPassword}}, nil, nil
		w.Roles = nil
		return w
	}
	tiny := Storage{Name: "tiny", Type: "dir", Content: []string{"backup"}, Total: 80 * mib, Used: 4096}
	if topic != "01-auth" && topic != "06-backup" && !(topic == "02-inventory" && release == "8.4") {
		w.Storages = append(w.Storages, tiny)
	}
	if topic == "12-failures-and-rights" {
		w.Users = w.Users[:2] // cust@pve comes in its course
		w.Storages = append(w.Storages, Storage{Name: "tinyimg", Type: "dir", Content: []string{"images"}, Total: 120 * mib})
		if release == "9.2" {
			w.Storages = append(w.Storages, Storage{Name: "chain", Type: "dir", Content: []string{"images"}, Total: labRoot, Used: 30 * gib, VolumeChain: true})
		}
	}
	if topic == "02-inventory" {
		inventory(&w, xs)
		return w
	}
	w.Guests = labGuests(release, topic)
	if onMachines[topic] {
		w.Guests = machinesOf(release, topic)
		if topic == "09-locks" {
			w.Archives = archivesOf(xs)
		}
		if topic == "03-config-resize" {
			w.Storages[1].Used = labRoot - map[string]int64{"8.4": 60_400_000_000, "9.2": 63_935_000_000}[release]
		}
	}
	for i := range w.Guests {
		takeIdentity(&w.Guests[i], xs, 0)
	}
	if topic == "07-restore" {
		as := Guest{VMID: 121, Config: map[string]string{}}
		takeIdentity(&as, xs, 101) // made of the archive of 111
		g := numbered(111, w.Guests)
		g.Config["args"], g.Config["meta"] = as.Config["args"], as.Config["meta"]
	}
	return w
}

// takeIdentity gives a machine what the first configuration that was recorded from a line on says of its address,
// birth and kernel: one that was asked for, or the one inside an archive.
func takeIdentity(g *Guest, xs []exchange, from int) {
	for _, x := range xs {
		if x.Method != "GET" || x.Status != 200 || x.Line < from {
			continue
		}
		config := map[string]any{}
		var inside string
		switch volume, _ := x.Params["volume"].(string); {
		case x.Path == fmt.Sprintf("/nodes/pve1/qemu/%d/config", g.VMID):
			x.data(&config)
		case strings.HasSuffix(x.Path, "/extractconfig") && strings.Contains(volume, fmt.Sprintf("-%d-", g.VMID)) && x.data(&inside):
			for line := range strings.Lines(inside) {
				k, v, _ := strings.Cut(strings.TrimSpace(line), ": ")
				config[k] = v
			}
		}
		if len(config) < 5 {
			continue
		}
		for _, k := range []string{"args", "boot", "meta", "net0"} {
			if v, is := config[k].(string); is {
				g.Config[k] = v
			}
		}
		return
	}
}

// labGuest is a machine as the set-up made them.
func labGuest(vmid int, name string, used int64, more ...func(*Guest)) Guest {
	g := Guest{
		VMID: vmid, Node: "pve1", Name: name, Cores: 1, Memory: 128,
		Config: map[string]string{
			"boot": "order=scsi0", "meta": "creation-qemu=10.0.2,ctime=1795166796", "net0": "virtio=BC:24:11:72:11:51,bridge=vmbr0",
			"ostype": "l26", "scsihw": "virtio-scsi-single", "serial0": "socket",
		},
		Disks: []Disk{{Key: "scsi0", Storage: "local", Size: gib, Used: used}},
	}
	for _, do := range more {
		do(&g)
	}
	return g
}

func withArgs(g *Guest) { g.Config["args"] = "-kernel /opt/guest/vmlinuz" }
func running(g *Guest)  { g.Running = true }
func blank(g *Guest)    { g.Blank = true }

// resized gives the first disk another size.
func resized(n int64) func(*Guest) {
	return func(g *Guest) { g.Disks[0].Size, g.Disks[0].SizeText = n, "" }
}

func line(key, value string) func(*Guest) { return func(g *Guest) { g.Config[key] = value } }

func diskSize(n int64, text string) func(*Guest) {
	return func(g *Guest) { g.Disks[0].Size, g.Disks[0].SizeText = n, text }
}

func volume1(name string) func(*Guest) { return func(g *Guest) { g.Disks[0].Volume = name } }

// labGuests are the machines of the topics on backups and tasks.
func labGuests(release, topic string) []Guest {
	const data = 300 * mib
	nine := release == "9.2"
	web := labGuest(100, "web1", 2*mib, withArgs, running)
	db := labGuest(101, "db1", 0, volume1("101/vm-101-disk-0.raw"))
	idle := labGuest(102, "idle1", 0, blank)
	idle.Snapshots = []string{"second"}
	d110 := labGuest(110, "data110", data, withArgs)
	d111 := labGuest(111, "data111", data, withArgs)
	d112 := labGuest(112, "data112", data, withArgs)
	switch {
	case topic == "01-auth":
		web.Running = false
	case nine:
		if topic == "06-backup" {
			db.Running = true
			db.Blank = true
		}
		if topic == "06-backup" || topic == "08-tasks" {
			d110.Running = true
		}
		if topic == "08-tasks" {
			idle.Disks = append(idle.Disks, Disk{Key: "scsi1", Storage: "data", Size: 67109 * kib})
		}
		if topic == "10-concurrency" {
			for _, do := range []func(*Guest){
				diskSize(5368710120, "5368710120"), line("sockets", "1"), line("parent", "poll1"),
				line("scsi1", "data:102/vm-102-disk-0.qcow2,size=67109K"),
			} {
				do(&idle)
			}
		}
	default:
		d110.Running = topic == "06-backup"
		db.Disks[0].Size = 1536 * mib
		web.Disks[0].Size = 1536 * mib
		for _, do := range []func(*Guest){
			diskSize(5368710120, "5368710120"), line("unused0", "data:102/vm-102-disk-0.qcow2"),
			line("sockets", "1"), line("parent", "second"), line("description", "desc later"),
		} {
			do(&idle)
		}
	}
	out := []Guest{web, db, idle, d110, d111, d112}
	if topic == "12-failures-and-rights" {
		out[0].Disks[0].Options, out[0].Config["parent"] = "iops_wr=300,mbps_rd=20", "noram"
		if nine {
			diskSize(1536*mib, "")(&out[0])
			out[0].Memory = 160
		} else {
			out[0].Running = false
		}
		out = append(out, labGuest(141, "cust141", 0, blank))
	}
	return out
}

// inventory builds the world of topic 02 out of its own lists: what they show
// together is what there was.
func inventory(w *World, xs []exchange) {
	find := func(step string) []map[string]any {
		for _, x := range xs {
			if x.Step == step {
				var body struct {
					Data json.RawMessage `json:"data"`
				}
				var list []map[string]any
				_ = json.Unmarshal(x.Body, &body)
				if json.Unmarshal(body.Data, &list) != nil {
					var one map[string]any
					_ = json.Unmarshal(body.Data, &one)
					list = []map[string]any{one}
				}
				return list
			}
		}
		return nil
	}
	text := func(m map[string]any, k string) string { s, _ := m[k].(string); return s }
	num := func(m map[string]any, k string) int64 { f, _ := m[k].(float64); return int64(f) }

	w.Storages = nil
	for _, e := range find("storage config list") {
		st := Storage{
			Name: text(e, "storage"), Type: text(e, "type"), Path: text(e, "path"), Content: strings.Split(text(e, "content"), ","),
			Disabled: e["disable"] != nil, PruneBackups: text(e, "prune-backups"), Total: labRoot, Used: 30 * gib,
		}
		switch {
		case st.Name == "tiny":
			st.Total, st.Used = 80*mib, 4096
		case st.Name == "tinyimg":
			st.Total, st.Used = 120*mib, 0
		}
		st.VolumeChain = e["snapshot-as-volume-chain"] != nil
		w.Storages = append(w.Storages, st)
	}
	serial := map[int64]bool{}
	for _, e := range find("VM list") {
		serial[num(e, "vmid")] = e["serial"] != nil
	}
	for _, e := range find("cluster resources") {
		if text(e, "type") != "qemu" {
			continue
		}
		vmid := int(num(e, "vmid"))
		g := Guest{
			VMID: vmid, Node: "pve1", Name: text(e, "name"), Memory: int(num(e, "maxmem") / mib), Cores: int(num(e, "maxcpu")),
			Running: text(e, "status") != "stopped", Config: map[string]string{"boot": "order=scsi0", "net0": "virtio=BC:24:11:72:11:51,bridge=vmbr0", "meta": "creation-qemu=10.0.2,ctime=1795166796"},
		}
		if g.Name == fmt.Sprintf("VM %d", vmid) {
			g.Name = ""
		}
		g.Blank = vmid == 101
		if serial[num(e, "vmid")] {
			g.Config["serial0"] = "socket"
		}
		if n := num(e, "maxdisk"); n > 0 {
			g.Disks = []Disk{{Key: "scsi0", Storage: "data", Volume: fmt.Sprintf("%d/boot.qcow2", vmid), Size: n}}
		}
		for step, of := range map[string]int{"VM config: locked": 102, "VM config: running": 100} {
			if of == vmid {
				takeConfig(&g, find(step)[0])
			}
		}
		w.Guests = append(w.Guests, g)
	}
	// Images lie on local; the machines' own are theirs, others only lie there.
	for _, e := range find("storage content images") {
		i := slices.IndexFunc(w.Guests, func(g Guest) bool { return int64(g.VMID) == num(e, "vmid") })
		if i < 0 {
			continue
		}
		g := &w.Guests[i]
		_, name, _ := strings.Cut(text(e, "volid"), ":")
		if at := slices.IndexFunc(g.Disks, func(d Disk) bool {
			return d.Storage == "local" && d.Volume == name || strings.HasSuffix(d.Volume, "/boot.qcow2")
		}); at >= 0 {
			d := &g.Disks[at]
			d.Storage, d.Volume, d.Used = "local", name, num(e, "used")
			continue
		}
		g.Disks = append(g.Disks, Disk{Loose: true, Storage: "local", Volume: name, Size: num(e, "size"), Used: num(e, "used")})
	}
	for _, e := range find("storage content backup, none there") {
		w.Archives = append(w.Archives, Archive{
			Node: "pve1", Storage: "local", Volid: text(e, "volid"), VMID: int(num(e, "vmid")), Time: time.Unix(num(e, "ctime"), 0),
			Size: num(e, "size"), Format: text(e, "format"), Notes: text(e, "notes"), Protected: e["protected"] != nil,
		})
	}
}

// adopt takes the machines of a recorded list: those that other topics made
// or removed meanwhile.
func (r *replay) adopt(step string, status bool) {
	for _, x := range r.xs {
		if x.Step != step {
			continue
		}
		var body struct {
			Data []struct {
				VMID, MaxMem, MaxDisk int64
				MaxCPU, Template      int
				Name, Status, Lock    string
			}
		}
		if err := json.Unmarshal(x.Body, &body); err != nil {
			r.t.Fatal(err)
		}
		listed := map[int]bool{}
		for _, e := range body.Data {
			vmid := int(e.VMID)
			listed[vmid] = true
			g := labGuest(vmid, e.Name, 0)
			g.Cores, g.Memory, g.Disks[0].Size = e.MaxCPU, int(e.MaxMem/mib), e.MaxDisk
			if e.Name == fmt.Sprintf("VM %d", vmid) {
				g.Name = ""
			}
			_ = r.sim.AddGuest(g) // refused while it is there
			_ = r.sim.SetGuest(vmid, func(g *Guest) {
				if e.MaxDisk > 0 {
					g.Disks[0].Size, g.Disks[0].SizeText = e.MaxDisk, ""
				}
				if e.Template == 1 {
					g.Config["template"] = "1"
				}
				if !status {
					g.Lock = e.Lock
				}
			})
			if status && e.Status != "prelaunch" {
				_ = r.sim.SetGuestRunning(vmid, e.Status == "running")
			}
		}
		for _, g := range r.sim.Guests() {
			if !listed[g.VMID] {
				_ = r.sim.DestroyGuest(g.VMID)
			}
		}
	}
}

// takeConfig gives a machine the lines that its recorded config has.
func takeConfig(g *Guest, config map[string]any) {
	g.Disks = nil
	for k, v := range config {
		s := fmt.Sprint(v)
		switch k {
		case "digest", "lock", "name", "cores", "memory":
		case "smbios1":
			g.UUID = strings.TrimPrefix(s, "uuid=")
		case "scsi0":
			storage, rest, _ := strings.Cut(s, ":")
			parts := strings.Split(rest, ",")
			d := Disk{Key: k, Storage: storage, Volume: parts[0]}
			var options []string
			for _, p := range parts[1:] {
				if size, isSize := strings.CutPrefix(p, "size="); isSize {
					d.SizeText = size
				} else {
					options = append(options, p)
				}
			}
			d.Options = strings.Join(options, ",")
			d.Size = map[string]int64{"1G": gib, "1536M": 1536 * mib, "5368710120": 5368710120}[d.SizeText]
			g.Disks = append(g.Disks, d)
		default:
			g.Config[k] = s
		}
	}
}

// worldEvents are steps of others that the world follows: either not replayed
// at all, or something that happens just before a replayed one.
var worldEvents = map[string]func(*replay){
	"02-inventory: cluster resources type=vm right after start (pvestatd updates every 10 s)": func(r *replay) {
		_ = r.sim.SetGuestRunning(100, true)
		_ = r.sim.SetGuestRunning(101, true)
	},
	"02-inventory: cluster resources type=vm 11 s later": func(r *replay) {
		if r.release == "9.2" { // another script had made it anew
			_ = r.sim.DestroyGuest(141)
			_ = r.sim.AddGuest(labGuest(141, "cust141", 331776))
		}
	},
	"02-inventory: set a lock by hand (root only)":            func(r *replay) { _ = r.sim.SetLock(102, "backup") },
	"02-inventory: unlock: PUT delete=lock skiplock=1 (root)": func(r *replay) { _ = r.sim.Unlock(102) },
	"02-inventory: suspend 100": func(r *replay) {
		_ = r.sim.SetGuest(100, func(g *Guest) { g.Paused = true })
		if r.release == "8.4" { // recorded later than the rest
			_ = r.sim.SetGuestRunning(101, false)
			for vmid, size := range map[int]int64{100: 1536 * mib, 101: 1536 * mib, 102: 5368710144} {
				_ = r.sim.SetGuest(vmid, resized(size))
			}
			for vmid := 110; vmid <= 112; vmid++ {
				_ = r.sim.AddGuest(labGuest(vmid, fmt.Sprintf("data%d", vmid), 0))
			}
		}
	},

	"01-auth: JSON body with number and boolean": func(r *replay) {
		if r.release == "9.2" {
			r.sim.Inject(Fault{Kind: GotNoWorkerUPID, Path: "/vzdump$", Count: 1})
		}
	},

	"06-backup: start VM 111 during its backup (it was stopped)": func(r *replay) { _ = r.sim.SetGuestRunning(111, true) },
	"06-backup: status after kill":                               func(r *replay) { _ = r.sim.KillTask(r.last) },
	"06-backup: unlock by root":                                  func(r *replay) { _ = r.sim.Unlock(110) },
	"06-backup: scsi0 backup=0":                                  func(r *replay) { _ = r.sim.SetGuest(112, func(g *Guest) { g.Disks[0].NoBackup = true }) },
	"06-backup: scsi0 backup=1":                                  func(r *replay) { _ = r.sim.SetGuest(112, func(g *Guest) { g.Disks[0].NoBackup = false }) },
	// The last part was recorded later.
	"06-backup: slow backup of the stopped VM 111": func(r *replay) {
		for _, vmid := range []int{101, 110, 111} {
			_ = r.sim.SetGuestRunning(vmid, false)
		}
		_ = r.sim.SetGuest(102, resized(5368710144))
		if r.release == "9.2" {
			_ = r.sim.SetGuest(100, resized(1536*mib))
			_ = r.sim.SetGuest(100, func(g *Guest) { g.Memory = 160 })
			_ = r.sim.SetGuest(101, resized(1536*mib))
			for vmid, name := range map[int]string{120: "", 180: "nine180", 200: "h200", 201: "h201"} {
				g := labGuest(vmid, name, 0)
				switch vmid {
				case 120:
					g.Disks = nil
				case 201:
					g.Cores = 2
				}
				if vmid != 180 {
					delete(g.Config, "serial0")
				}
				_ = r.sim.AddGuest(g)
			}
		}
	},

	"08-tasks: VM 102 0.00 s after the rollback task ended": func(r *replay) {
		_ = r.sim.SetGuestRunning(102, false)
		if r.release == "9.2" { // this part was recorded later
			_ = r.sim.SetGuest(102, func(g *Guest) { diskSize(5368710120, "5368710120")(g) })
		}
	},
	"08-tasks: VM 102 0.20 s after the rollback task ended":        func(r *replay) { _ = r.sim.SetGuestRunning(102, true) },
	"08-tasks: VM 102 0.00 s after the second rollback task ended": func(r *replay) { _ = r.sim.SetGuestRunning(102, false) },
	"08-tasks: VM 102 0.20 s after the second rollback task ended": func(r *replay) { _ = r.sim.SetGuestRunning(102, true) },
	"08-tasks: VM 102 0.00 s after the restore task ended": func(r *replay) {
		_ = r.sim.SetGuestRunning(102, false)
		_ = r.sim.SetGuest(102, resized(5368710144))
	},
	"08-tasks: VM 102 0.20 s after the restore task ended": func(r *replay) { _ = r.sim.SetGuestRunning(102, true) },

	// The second part begins with a user and a machine made anew.
	"12-failures-and-rights: acl /vms/141 RBackup": func(r *replay) {
		if r.sim.user("cust@pve") == nil {
			g := labGuest(141, "cust141", 0, blank)
			takeIdentity(&g, r.xs, 60)
			_ = r.sim.AddGuest(g)
			_ = r.sim.change(func(int64) error {
				r.sim.st.World.Users = append(r.sim.st.World.Users, User{ID: "cust@pve"})
				r.sim.st.World.Tokens = append(r.sim.st.World.Tokens, Token{ID: "cust@pve!tok", Secret: r.secret})
				r.sim.st.World.Roles["RSdn"] = []string{"SDN.Use"}
				return nil
			})
		}
	},
	"12-failures-and-rights: destroy 141": func(r *replay) { _ = r.sim.DestroyGuest(141) },
	"12-failures-and-rights: destroy it":  func(r *replay) { _ = r.sim.DestroyGuest(141) },
	"12-failures-and-rights: restore to it": func(r *replay) {
		// What a failed restore leaves: at first nothing, the second time the memory.
		memory := 0
		if r.sim.storage("nomount") != nil {
			memory = 128
		}
		_ = r.sim.AddGuest(Guest{VMID: 148, Node: "pve1", Memory: memory, Stump: true})
	},
	"12-failures-and-rights: 148 away": func(r *replay) { _ = r.sim.DestroyGuest(148) },
	"12-failures-and-rights: storage that must be a mount point (mounted)": func(r *replay) {
		_ = r.sim.change(func(int64) error {
			r.sim.st.World.Mounts = append(r.sim.st.World.Mounts, Mount{Path: "/srv/nomount", Total: 300 * mib})
			return nil
		})
	},
	"12-failures-and-rights: not mounted any more: status": func(r *replay) {
		_ = r.sim.SetStorage("nomount", func(st *Storage) { st.Gone = true })
		if r.release == "8.4" { // its round took longer there: the storage was still available 11 s later
			_ = r.sim.SetPvestatd("pve1", false)
		}
	},
	"12-failures-and-rights: restore from it": func(r *replay) {
		if r.release == "8.4" {
			_ = r.sim.SetPvestatd("pve1", true)
		}
	},
	"12-failures-and-rights: backup": func(r *replay) {
		if r.release == "9.2" { // another script's backup held the node's lock
			if _, err := r.sim.StartForeignBackup("pve1", 102, "bk2", nil); err != nil {
				r.t.Fatal(err)
			}
		}
	},
	"12-failures-and-rights: a disk on it": func(r *replay) {
		_ = r.sim.SetGuest(141, func(g *Guest) {
			g.Disks = append(g.Disks, Disk{Key: "scsi3", Storage: "nomount", Volume: "141/vm-141-disk-0.raw", Size: 52429 * kib})
		})
	},
	"12-failures-and-rights: restore over it": func(r *replay) {
		_ = r.sim.SetGuest(141, func(g *Guest) { g.Disks, g.Disks[0].Used = g.Disks[:1], 331776 })
	},
	"12-failures-and-rights: slow backup, then pvedaemon is restarted": func(r *replay) {
		r.adopt("pvedaemon is down: cluster resources", true)
	},
	"12-failures-and-rights: storage away": func(r *replay) {
		r.adopt("pvestatd dead for 15 s: cluster resources", true)
		_ = r.sim.SetGuestRunning(100, r.release == "8.4")
	},
	"12-failures-and-rights: pvedaemon is down: GET status/current": func(r *replay) {
		r.undo = r.sim.Inject(Fault{Kind: DaemonDown, Node: "pve1"})
	},
	"12-failures-and-rights: pvedaemon is up again: task goes on": func(r *replay) { r.undo() },
	"12-failures-and-rights: stop 100 meanwhile": func(r *replay) {
		_ = r.sim.SetPvestatd("pve1", false)
		_ = r.sim.SetGuestRunning(100, false)
	},
	"12-failures-and-rights: pvestatd dead for 180 s: cluster resources": func(r *replay) {
		r.adopt("pvestatd dead for 180 s: cluster resources", false)
	},
	"12-failures-and-rights: pvestatd dead for 240 s: cluster resources": func(r *replay) {
		r.adopt("pvestatd dead for 240 s: cluster resources", false)
	},
	"12-failures-and-rights: pvestatd dead for 290 s: cluster resources": func(r *replay) {
		r.adopt("pvestatd dead for 290 s: cluster resources", false)
		_ = r.sim.SetGuestRunning(100, r.release == "9.2") // another script's doing
	},
	"12-failures-and-rights: pvestatd back": func(r *replay) {
		if r.release == "9.2" {
			return // it had not spoken yet
		}
		_ = r.sim.SetPvestatd("pve1", true)
		r.clock.add(11 * time.Second)
	},

	"10-concurrency: while the restore holds the lock file: backup": func(r *replay) {
		_ = r.sim.AddGuest(labGuest(140, "data111", 300*mib))
	},
}

// deviations are the exchanges that cannot match, by release, topic and line,
// with the reason.
var deviations = map[string]string{
	"8.4 02-inventory 60": noHistory,
	"8.4 02-inventory 61": noHistory,
	"8.4 02-inventory 62": noHistory,
	"9.2 02-inventory 60": noHistory,
	"9.2 02-inventory 61": noHistory,
	"9.2 02-inventory 62": noHistory,

	"8.4 03-config-resize 145": noTraffic,

	"8.4 11-clone-template-cloudinit-destroy 109": noJobs,
	"8.4 11-clone-template-cloudinit-destroy 148": noJobs,
	"8.4 11-clone-template-cloudinit-destroy 180": noJobs,
	"9.2 11-clone-template-cloudinit-destroy 109": noJobs,
	"9.2 11-clone-template-cloudinit-destroy 148": noJobs,
	"9.2 11-clone-template-cloudinit-destroy 180": noJobs,

	"9.2 90-nine-only 7":   noIdentity,
	"9.2 90-nine-only 10":  noRoleList,
	"9.2 90-nine-only 11":  noTokenChange,
	"9.2 90-nine-only 12":  noTokenChange,
	"9.2 90-nine-only 104": noStorageChange,

	"8.4 12-failures-and-rights 61": noSnapshots,
	"9.2 12-failures-and-rights 59": noSnapshots,
}

const (
	noHistory       = "the data of the graphs (rrddata) are not simulated: nothing asks for them"
	noSnapshots     = "the list of a machine's snapshots comes with snapshots"
	noIdentity      = "a storage's identity is not simulated: nothing asks for it"
	noRoleList      = "the list of all roles with their privileges is not simulated"
	noTokenChange   = "a token is made and removed over the API, not changed"
	noStorageChange = "a storage is changed with SetStorage, not over the API"
	noJobs          = "the cluster's own backup jobs are made with SetBackupJobs, not over the API"
	noTraffic       = "the 8.4 lab's kernel could not limit a card's rate"
)
