package pvesim

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// hostingWorld has what a portal for machines meets: a template with a drive of cloud-init, an agent that takes its
// time, a pool of ZFS, a raw disk on a directory, a storage that both nodes see.
func hostingWorld() World {
	w := ContractWorld(2, 2)
	w.Storages = append(w.Storages,
		Storage{Name: "zfs", Type: "zfspool", Content: []string{"images"}, Total: 10 * gib},
		Storage{Name: "thin", Type: "zfspool", Pool: "tank", Sparse: true, Content: []string{"images"}, Total: 10 * gib},
	)
	w.Guests = append(w.Guests,
		Guest{
			VMID: 9000, Node: "pve1", Name: "debian12", Agent: "1", AgentAfter: 20 * time.Second, Logins: []string{"root"},
			Config: map[string]string{"template": "1", "ide2": "local:cloudinit", "boot": "order=scsi0", "net0": "virtio=BC:24:11:00:90:00,bridge=vmbr0"},
			Disks:  []Disk{{Key: "scsi0", Storage: "local", Size: 2 * gib, Used: 400 * mib}},
		},
		Guest{VMID: 200, Node: "pve1", Disks: []Disk{{Key: "scsi0", Storage: "zfs", Size: 2 * gib, Used: gib}}},
		Guest{VMID: 201, Node: "pve1", Disks: []Disk{{Key: "scsi0", Storage: "data", Format: "raw", Size: gib, Used: 10 * mib}}},
		Guest{VMID: 202, Node: "pve1", Disks: []Disk{{Key: "scsi0", Storage: "shared", Size: gib, Used: 10 * mib}}},
		Guest{VMID: 203, Node: "pve1", Config: map[string]string{"template": "1"}, Disks: []Disk{{Key: "scsi0", Storage: "thin", Size: gib, Used: 100 * mib}}},
	)
	return w
}

// do sends a call that starts a task and waits for its end.
func (l *lab) do(method, path string, pairs ...any) string {
	l.t.Helper()
	r := l.call(method, path, pairs...)
	upid, isText := r.data().(string)
	if !isText || !strings.HasPrefix(upid, "UPID:") {
		l.t.Fatalf("%s %s: %d %s %s", method, path, r.status, r.reason, r.raw)
	}
	return l.end(upid).Exit
}

func (l *lab) wants(what, have, want string) {
	l.t.Helper()
	if have != want {
		l.t.Errorf("%s: %q, expected %q", what, have, want)
	}
}

// used is what a storage says that it holds on pve1.
func (l *lab) used(storage string) int64 {
	l.t.Helper()
	n, _ := l.get("/nodes/pve1/storage/" + storage + "/status").object()["used"].(float64)
	return int64(n)
}

func both(t *testing.T, do func(t *testing.T, l *lab)) {
	for _, release := range recordedReleases {
		t.Run(release, func(t *testing.T) {
			t.Parallel()
			do(t, newLab(t, hostingWorld(), Options{Seed: 1, Release: release}))
		})
	}
}

// TestTemplateWithAgent makes a machine of a template: its cloud-init drive comes along, its agent answers a while
// after the start, and sets the passwords of those whom its system knows.
func TestTemplateWithAgent(t *testing.T) {
	t.Parallel()
	both(t, func(_ *testing.T, l *lab) {
		l.wants("the template's disk", l.guest(9000).Disks[0].Volume, "9000/base-9000-disk-0.qcow2")
		l.wants("its cloud-init drive", l.get("/nodes/pve1/qemu/9000/config").object()["ide2"].(string), "local:9000/vm-9000-cloudinit.qcow2,media=cdrom")
		l.wants("starting it", l.do("POST", "/nodes/pve1/qemu/9000/status/start"), "you can't start a vm if it's a template")
		l.wants("a full clone", l.do("POST", "/nodes/pve1/qemu/9000/clone", "newid", 300, "name", "web", "full", 1), "OK")
		l.wants("a linked clone", l.do("POST", "/nodes/pve1/qemu/9000/clone", "newid", 301), "OK")
		c := l.get("/nodes/pve1/qemu/300/config").object()
		l.wants("the clone's drive", c["ide2"].(string), "local:300/vm-300-cloudinit.qcow2,media=cdrom,size=4M")
		l.wants("the linked clone's disk", l.get("/nodes/pve1/qemu/301/config").object()["scsi0"].(string), "local:9000/base-9000-disk-0.qcow2/301/vm-301-disk-0.qcow2,size=2G")
		if a := l.call("PUT", "/nodes/pve1/qemu/300/config", "ciuser", "root", "cipassword", "geheim", "ipconfig0", "ip=192.0.2.7/24,gw=192.0.2.1"); a.status != 200 {
			l.t.Fatalf("cloud-init: %s", a.raw)
		}
		l.wants("destroying the template", l.do("DELETE", "/nodes/pve1/qemu/9000"), "base volume 'local:9000/base-9000-disk-0.qcow2' is still in use by linked cloned")
		l.wants("starting the clone", l.do("POST", "/nodes/pve1/qemu/300/status/start"), "OK")
		l.wants("its agent at once", l.call("POST", "/nodes/pve1/qemu/300/agent/ping").reason, "QEMU guest agent is not running")
		l.wait(15 * time.Second)
		l.wants("its agent after 15 s", l.call("POST", "/nodes/pve1/qemu/300/agent/ping").reason, "QEMU guest agent is not running")
		l.wait(6 * time.Second)
		l.wants("its agent after 21 s", l.call("POST", "/nodes/pve1/qemu/300/agent/ping").reason, "OK")
		set := func(login string) string {
			return l.call("POST", "/nodes/pve1/qemu/300/agent/set-user-password", "username", login, "password", "geheim1").reason
		}
		l.wants("root's password", set("root"), "OK")
		l.wants("another's password", set("nobody"), "Agent error: child process has failed to set user password")
	})
}

// TestZFS: a zvol goes back to its newest snapshot alone, and its snapshots take the room that the pool keeps.
func TestZFS(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, l *lab) {
		vm := "/nodes/pve1/qemu/200"
		l.wants("its disk", l.get(vm + "/config").object()["scsi0"].(string), "zfs:vm-200-disk-0,size=2G")
		if n := l.used("zfs"); n != 2*gib {
			t.Errorf("a disk of 2 GiB takes %d", n)
		}
		l.wants("the first", l.do("POST", vm+"/snapshot", "snapname", "one"), "OK")
		if n := l.used("zfs"); n != 3*gib {
			t.Errorf("with a snapshot of 1 GiB it takes %d", n)
		}
		if err := l.WriteDisk(200, "scsi0", gib, gib/2); err != nil {
			t.Fatal(err)
		}
		l.wants("the second", l.do("POST", vm+"/snapshot", "snapname", "two"), "OK")
		if n := l.used("zfs"); n != 4*gib {
			t.Errorf("with two snapshots, 512 MiB being the first's alone, it takes %d", n)
		}
		l.wants("back to the first", l.do("POST", vm+"/snapshot/one/rollback"), "can't rollback, 'one' is not most recent snapshot on 'zfs:vm-200-disk-0'")
		l.wants("its lock", l.guest(200).Lock, "")
		l.wants("back to the second", l.do("POST", vm+"/snapshot/two/rollback"), "OK")
		l.wants("the second away", l.do("DELETE", vm+"/snapshot/two"), "OK")
		l.wants("back to the first", l.do("POST", vm+"/snapshot/one/rollback"), "OK")
		l.wants("more disk", l.do("PUT", vm+"/resize", "disk", "scsi0", "size", "+5G"), "OK")
		l.wants("odd size", l.do("PUT", vm+"/resize", "disk", "scsi0", "size", "7168001K"), "shrinking disks is not supported")
		l.wants("its size", l.get(vm + "/config").object()["scsi0"].(string), "zfs:vm-200-disk-0,size=7G")
		if err := l.WriteDisk(200, "scsi0", 5*gib, 5*gib); err != nil {
			t.Fatal(err)
		}
		l.wants("too much for the pool", l.do("POST", vm+"/snapshot", "snapname", "three"), "zfs error: cannot create snapshot 'rpool/data/vm-200-disk-0@three': out of space")
		if g := l.guest(200); g.Lock != "" || !cmp.Equal(g.Snapshots, []string{"one"}) {
			t.Errorf("it has the lock %q and the snapshots %q", g.Lock, g.Snapshots)
		}

		l.wants("a linked clone", l.do("POST", "/nodes/pve1/qemu/203/clone", "newid", 302), "OK")
		list := l.get("/nodes/pve1/storage/thin/content").list()
		var volids []string
		for _, e := range list {
			volids = append(volids, e["volid"].(string))
		}
		if diff := cmp.Diff([]string{"thin:base-203-disk-0", "thin:base-203-disk-0/vm-302-disk-0"}, volids); diff != "" {
			t.Error(diff)
		}
		if n := l.used("thin"); n != 100*mib {
			t.Errorf("a thin one takes %d", n)
		}
		l.wants("a disk of odd size", l.call("PUT", "/nodes/pve1/qemu/302/config", "scsi1", "thin:0.3").reason, "OK")
		l.wants("its size", l.get("/nodes/pve1/qemu/302/config").object()["scsi1"].(string), "thin:vm-302-disk-1,size=308M")
		if err := l.SetStorage("thin", func(st *Storage) { st.Gone = true }); err != nil {
			t.Fatal(err)
		}
		l.wants("without its pool", l.do("POST", "/nodes/pve1/qemu/302/snapshot", "snapname", "before"), "could not activate storage 'thin', zfs error: cannot import 'tank': no such pool available")
	})
}

// TestRawOnDirectory: one raw file, and the machine has no snapshots; moved to qcow2 it has.
func TestRawOnDirectory(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, l *lab) {
		vm := "/nodes/pve1/qemu/201"
		l.wants("its disk", l.get(vm + "/config").object()["scsi0"].(string), "data:201/vm-201-disk-0.raw,size=1G")
		l.wants("a snapshot", l.do("POST", vm+"/snapshot", "snapname", "before"), "snapshot feature is not available")
		if has := l.get(vm+"/feature", "feature", "snapshot").object()["hasFeature"]; has != 0.0 {
			t.Errorf("it has snapshots: %v", has)
		}
		l.wants("moving it", l.do("POST", vm+"/move_disk", "disk", "scsi0", "storage", "data", "format", "qcow2", "delete", 1), "OK")
		l.wants("a snapshot then", l.do("POST", vm+"/snapshot", "snapname", "before"), "OK")
	})
}

// TestSharedStorage: what lies there is the same from both nodes, and stays where it is when its machine goes.
func TestSharedStorage(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, l *lab) {
		images := func(node string) string {
			var out []string
			for _, e := range l.get("/nodes/"+node+"/storage/shared/content", "vmid", 202, "content", "images").list() {
				out = append(out, e["volid"].(string))
			}
			return strings.Join(out, " ")
		}
		l.wants("seen from its node", images("pve1"), "shared:202/vm-202-disk-0.qcow2")
		l.wants("seen from the other", images("pve2"), images("pve1"))
		l.wants("its backup", l.end(l.backup(202, "shared")).Exit, "OK")
		if err := l.Migrate(202, "pve2"); err != nil {
			t.Fatal(err)
		}
		l.wants("a snapshot there", l.do("POST", "/nodes/pve2/qemu/202/snapshot", "snapname", "before"), "OK")
		l.wants("a clone to the first", l.do("POST", "/nodes/pve2/qemu/202/clone", "newid", 303, "target", "pve1"), "OK")
		l.wants("where it is", l.guest(303).Node, "pve1")
		if a := l.call("POST", "/nodes/pve1/qemu/201/clone", "newid", 304, "target", "pve2"); a.reason != "can't clone VM to node 'pve2' (VM uses local storage)" {
			t.Errorf("a clone of a local one: %s", a.reason)
		}
		l.wants("restoring its backup", l.do("POST", "/nodes/pve2/qemu", "vmid", 202, "archive", l.Archives()[0].Volid, "force", 1), "OK")
		if g := l.guest(202); len(g.Snapshots) != 0 || len(g.Disks) != 1 || g.Disks[0].Storage != "shared" {
			t.Errorf("after the restore it is %+v", g)
		}
	})
}

// TestSnapshotGrows: what is overwritten under a snapshot is kept by the image, what is new grows it, and both show in
// the listing and on the storage; the memory of a running machine is an image of its own.
func TestSnapshotGrows(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, l *lab) {
		vm := "/nodes/pve1/qemu/100"
		size := func() (n int64) {
			for _, e := range l.get("/nodes/pve1/storage/local/content", "vmid", 100, "content", "images").list() {
				n += int64(e["used"].(float64))
			}
			return n
		}
		before, storage := size(), l.used("local")
		l.wants("a snapshot", l.do("POST", vm+"/snapshot", "snapname", "before"), "OK")
		if n := size(); n != before {
			t.Errorf("by itself it takes %d", n-before)
		}
		if err := l.WriteDisk(100, "scsi0", 100*mib, 40*mib); err != nil {
			t.Fatal(err)
		}
		if n, m := size()-before, l.used("local")-storage; n != 100*mib || m != n {
			t.Errorf("100 MiB written, 40 of them new, take %d, on the storage %d", n, m)
		}
		l.wants("back", l.do("POST", vm+"/snapshot/before/rollback"), "OK")
		if n := size(); n != before {
			t.Errorf("gone back, it takes %d more than before", n-before)
		}
		l.wants("starting it", l.do("POST", vm+"/status/start"), "OK")
		l.wait(time.Minute)
		l.wants("one with memory", l.do("POST", vm+"/snapshot", "snapname", "ram", "vmstate", 1), "OK")
		if n := size(); n <= before {
			t.Errorf("with the memory it takes %d", n-before)
		}
		for _, name := range []string{"ram", "before"} {
			l.wants(name+" away", l.do("DELETE", vm+"/snapshot/"+name), "OK")
		}
		if n := size(); n != before {
			t.Errorf("without snapshots it takes %d more than before", n-before)
		}
	})
}

// TestHotplugFails: a running machine that takes no change keeps what was asked for its next start.
func TestHotplugFails(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, l *lab) {
		vm := "/nodes/pve1/qemu/100"
		l.Inject(Fault{Kind: HotplugFails, Path: "/config$", Line: "no room on the bus", Count: 2})
		a := l.call("PUT", vm+"/config", "scsi1", "local:1,format=qcow2")
		if a.status != 400 || a.errors()["scsi1"] != "hotplug problem - no room on the bus\n" {
			t.Errorf("%d %s", a.status, a.raw)
		}
		if l.get(vm+"/config", "current", 1).object()["scsi1"] != nil || l.get(vm + "/config").object()["scsi1"] == nil {
			t.Error("it is not pending")
		}
		l.wants("by a task", l.do("POST", vm+"/config", "net1", "virtio,bridge=vmbr0"), "hotplug problem - no room on the bus\n")
		l.wants("stopping it", l.do("POST", vm+"/status/stop"), "OK")
		l.wants("starting it", l.do("POST", vm+"/status/start"), "OK")
		if l.get(vm+"/config", "current", 1).object()["scsi1"] == nil {
			t.Error("after a start it is not there")
		}
	})
}
