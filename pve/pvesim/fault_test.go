package pvesim

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

const vzdumpPath = `/vzdump$`

func TestRefuseAndCount(t *testing.T) {
	t.Parallel()
	l := newLab(t, ContractWorld(1, 2), Options{})
	remove := l.Inject(Fault{Kind: Refuse, Path: "^/version$", Nth: 2, Count: 1, Status: 595, Reason: "Connection refused"})
	for i, want := range []int{200, 595, 200} {
		r := l.get("/version")
		if r.status != want {
			t.Errorf("call %d: %d", i+1, r.status)
		}
		if want == 595 && (r.reason != "Connection refused" || r.raw != "") {
			t.Errorf("%q %q", r.reason, r.raw)
		}
	}
	remove()
	defer l.Inject(Fault{Kind: Refuse, Method: "POST", Status: 500, Reason: "can't lock file '/x' - got timeout"})()
	r := l.call("POST", "/nodes/pve1/vzdump", "vmid", 100, "storage", "local")
	if r.status != 500 || r.reason != "can't lock file '/x' - got timeout" || r.body["message"] != "can't lock file '/x' - got timeout\n" {
		t.Errorf("%d %q %q", r.status, r.reason, r.raw)
	}
	if len(l.Tasks()) != 0 {
		t.Error("it did something")
	}
	if c := l.Calls(); len(c) != 1 || c[0].Handled || c[0].Status != 500 || c[0].Params["vmid"] != "100" || c[0].Who != SimToken {
		t.Errorf("%+v", c)
	}
}

func TestDelayLetsTimePass(t *testing.T) {
	t.Parallel()
	c := &clock{t: noon}
	s, err := New(ContractWorld(1, 2), Options{Now: c.now, Sleep: c.sleep})
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{Sim: s, t: t, clock: c}
	defer l.Inject(Fault{Kind: Delay, Path: "status/current", For: 9500 * time.Millisecond})()
	if r := l.get("/nodes/pve1/qemu/100/status/current"); r.status != 200 || !c.now().Equal(noon.Add(9500*time.Millisecond)) {
		t.Errorf("%d at %v", r.status, c.now())
	}
	// A refused login costs three seconds.
	before := c.now()
	if r := l.as("root@pam!other").get("/version"); r.status != 401 || r.reason != "Authentication failed!" || r.raw != "" || c.now().Sub(before) != 3*time.Second {
		t.Errorf("%d %q after %v", r.status, r.reason, c.now().Sub(before))
	}
}

func TestLostAnswerAndLostRequest(t *testing.T) {
	t.Parallel()
	l := newLab(t, ContractWorld(1, 2), Options{})
	remove := l.Inject(Fault{Kind: LostAnswer, Path: vzdumpPath})
	if r := l.call("POST", "/nodes/pve1/vzdump", "vmid", 100, "storage", "local"); r.err == nil {
		t.Errorf("an answer came: %d", r.status)
	}
	remove()
	if n := len(l.Tasks()); n != 1 {
		t.Errorf("%d tasks after a lost answer", n)
	}
	remove = l.Inject(Fault{Kind: LostRequest, Path: vzdumpPath})
	if r := l.call("POST", "/nodes/pve1/vzdump", "vmid", 101, "storage", "local"); r.err == nil {
		t.Errorf("an answer came: %d", r.status)
	}
	remove()
	if n := len(l.Tasks()); n != 1 {
		t.Errorf("%d tasks after a lost request", n)
	}
	calls := l.Calls()
	if len(calls) != 2 || !calls[0].Handled || !calls[0].Lost || calls[0].UPID == "" || calls[1].Handled || calls[1].Lost {
		t.Errorf("%+v", calls)
	}
}

func TestLateEffect(t *testing.T) {
	t.Parallel()
	l := newLab(t, ContractWorld(1, 2), Options{})
	defer l.Inject(Fault{Kind: LateEffect, Path: vzdumpPath, Count: 1, For: 40 * time.Second})()
	r := l.call("POST", "/nodes/pve1/vzdump", "vmid", 100, "storage", "local")
	if r.status != 596 || r.reason != "Connection timed out" || len(l.Tasks()) != 0 {
		t.Errorf("%d %q, %d tasks", r.status, r.reason, len(l.Tasks()))
	}
	if at, any := l.NextEvent(); !any || !at.Equal(noon.Add(40*time.Second)) {
		t.Errorf("next event %v %v", at, any)
	}
	l.wait(time.Minute)
	tasks := l.Tasks()
	if len(tasks) != 1 || !tasks[0].Start.Equal(noon.Add(40*time.Second)) {
		t.Errorf("%+v", tasks)
	}
}

func TestTasksThatFail(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		fault Fault
		exit  string
		line  string
		lock  string
		kept  int
	}{
		{Fault{Kind: TaskFails, Share: 0.5}, "job errors", "ERROR: Backup of VM 100 failed - job failed with err -5 - Input/output error", "", 0},
		{Fault{Kind: TaskFails, Line: "VM is locked (snapshot)"}, "job errors", "ERROR: Backup of VM 100 failed - VM is locked (snapshot)", "", 0},
		{Fault{Kind: TaskKilled, Share: 0.5}, unexpected, "INFO: resuming VM again", "backup", 0},
		{Fault{Kind: UnexpectedStatus}, unexpected, "INFO: Backup job finished successfully", "", 1},
	} {
		t.Run(c.fault.String(), func(t *testing.T) {
			t.Parallel()
			l := newLab(t, ContractWorld(1, 2), Options{})
			c.fault.Path = vzdumpPath
			defer l.Inject(c.fault)()
			task := l.end(l.backup(100, "local", "bwlimit", 20000))
			if task.Exit != c.exit {
				t.Errorf("exit %q", task.Exit)
			}
			has(t, task, c.line)
			if l.guest(100).Lock != c.lock || len(l.Archives()) != c.kept {
				t.Errorf("lock %q, %d archives", l.guest(100).Lock, len(l.Archives()))
			}
			if took := task.End.Sub(task.Start); c.fault.Share == 0.5 && (took < 25*time.Second || took > 28*time.Second) {
				t.Errorf("half-way after %v", took)
			}
			// The next job has the node's lock at once.
			if next := l.end(l.backup(101, "local")); next.Exit == "" {
				t.Error("the lock was not let go")
			}
		})
	}
}

func TestDeletionsThatFail(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		fault Fault
		exit  string
		left  int
	}{
		{Fault{Kind: TaskFails, Line: "unlink failed - Input/output error"}, "unlink failed - Input/output error", 1},
		{Fault{Kind: TaskKilled}, unexpected, 1},
		{Fault{Kind: UnexpectedStatus}, unexpected, 0},
		{Fault{Kind: GotNoWorkerUPID}, unexpected, 1},
		{Fault{Kind: GotNoWorkerUPID, Works: true}, "OK", 0},
	} {
		l := newLab(t, ContractWorld(1, 2), Options{})
		l.end(l.backup(101, "local"))
		c.fault.Method = "DELETE"
		remove := l.Inject(c.fault)
		l.call("DELETE", "/nodes/pve1/storage/local/content/"+l.volids("local")[0])
		remove()
		task := l.end(l.Tasks()[1].UPID)
		if task.Type != "imgdel" || task.ID != "101@local" || task.Exit != c.exit || len(l.volids("local")) != c.left {
			t.Errorf("%v: %s %s %q, %d left", c.fault, task.Type, task.ID, task.Exit, len(l.volids("local")))
		}
	}
}

func TestOddAnswersToABackup(t *testing.T) {
	t.Parallel()
	l := newLab(t, ContractWorld(2, 4), Options{})
	remove := l.Inject(Fault{Kind: OKInsteadOfUPID, Path: vzdumpPath})
	if r := l.call("POST", "/nodes/pve1/vzdump", "vmid", 100, "storage", "local"); r.status != 200 || r.data() != "OK" || len(l.Tasks()) != 0 {
		t.Errorf("%d %v", r.status, r.data())
	}
	remove()
	for _, works := range []bool{false, true} {
		remove = l.Inject(Fault{Kind: GotNoWorkerUPID, Path: vzdumpPath, Works: works})
		r := l.call("POST", "/nodes/pve1/vzdump", "vmid", 100, "storage", "local")
		remove()
		if r.status != 500 || r.reason != "got no worker upid - start worker failed" {
			t.Errorf("%d %q", r.status, r.reason)
		}
		tasks := l.Tasks()
		task := l.end(tasks[len(tasks)-1].UPID)
		if want := map[bool]string{false: unexpected, true: "OK"}[works]; task.Exit != want {
			t.Errorf("works %v: exit %q", works, task.Exit)
		}
	}
	// The machine moves just before the call.
	remove = l.Inject(Fault{Kind: MigrateNow, Path: vzdumpPath})
	before := len(l.Tasks())
	r := l.call("POST", "/nodes/pve1/vzdump", "vmid", 101, "storage", "local")
	remove()
	if r.data() != "OK" || l.guest(101).Node != "pve2" || len(l.Tasks()) != before {
		t.Errorf("%v, on %s", r.data(), l.guest(101).Node)
	}
}

func TestListingsThatLie(t *testing.T) {
	t.Parallel()
	l := newLab(t, ContractWorld(1, 2), Options{})
	for range 4 {
		l.end(l.backup(101, "local"))
		l.wait(time.Second)
	}
	for _, c := range []struct {
		fault Fault
		want  int
	}{
		{Fault{Kind: EmptyListing}, 0},
		{Fault{Kind: TruncatedListing}, 2},
		{Fault{Kind: TruncatedListing, Keep: 3}, 3},
	} {
		c.fault.Path = "/content$"
		remove := l.Inject(c.fault)
		r := l.get("/nodes/pve1/storage/local/content", "content", "backup")
		remove()
		if r.status != 200 || len(r.list()) != c.want {
			t.Errorf("%v: %d, %d entries", c.fault, r.status, len(r.list()))
		}
	}
	if n := len(l.volids("local")); n != 4 {
		t.Errorf("%d archives in truth", n)
	}
}

func TestNodeDown(t *testing.T) {
	t.Parallel()
	l := newLab(t, ContractWorld(2, 4), Options{})
	upid := l.backup(102, "local", "bwlimit", 20000) // on pve2
	l.wait(11 * time.Second)
	remove := l.Inject(Fault{Kind: NodeDown, Node: "pve2"})
	if r := l.get("/nodes/pve2/qemu"); r.status != 595 || r.reason != "No route to host" {
		t.Errorf("%d %q", r.status, r.reason)
	}
	if r := l.get("/nodes/pve1/qemu"); r.status != 200 {
		t.Errorf("the other node: %d", r.status)
	}
	status := func(path, id string) any {
		for _, e := range l.get(path).list() {
			if e["id"] == id {
				return e["status"]
			}
		}
		return nil
	}
	if got := status("/nodes", "node/pve2"); got != "offline" {
		t.Errorf("/nodes says %v", got)
	}
	if got := status("/cluster/resources", "qemu/102"); got != "running" {
		t.Errorf("a machine's status at once: %v", got)
	}
	l.wait(5 * time.Minute)
	if got := status("/cluster/resources", "qemu/102"); got != "unknown" {
		t.Errorf("after five minutes: %v", got)
	}
	remove()
	if task := l.taskOf(upid); task.Exit != "OK" {
		t.Errorf("its backup did not go on: %q", task.Exit)
	}
	if got := status("/cluster/resources", "qemu/102"); got != "running" {
		t.Errorf("back again: %v", got)
	}

	// Without power everything on it ends; a boot takes locks named backup off.
	upid = l.backup(102, "local", "bwlimit", 20000)
	if err := l.SetLock(103, "snapshot"); err != nil {
		t.Fatal(err)
	}
	l.wait(5 * time.Second)
	if err := l.SetNodeOnline("pve2", false); err != nil {
		t.Fatal(err)
	}
	if task := l.taskOf(upid); task.Exit != unexpected || l.guest(102).Running || l.guest(102).Lock != "backup" {
		t.Errorf("%q, running %v, lock %q", task.Exit, l.guest(102).Running, l.guest(102).Lock)
	}
	if r := l.get("/nodes/pve2/tasks/" + upid + "/status"); r.status != 595 {
		t.Errorf("%d", r.status)
	}
	if err := l.SetNodeOnline("pve2", true); err != nil {
		t.Fatal(err)
	}
	if l.guest(102).Lock != "" || l.guest(103).Lock != "snapshot" {
		t.Errorf("locks %q %q", l.guest(102).Lock, l.guest(103).Lock)
	}
}

func TestStorageFaults(t *testing.T) {
	t.Parallel()
	w := ContractWorld(1, 2)
	w.Storages = append(w.Storages, Storage{Name: "mnt", Type: "dir", Content: []string{"backup"}, Mountpoint: true, Total: 100 * gib})
	l := newLab(t, w, Options{})
	for _, st := range []string{"local", "mnt"} {
		l.end(l.backup(101, st))
		l.wait(time.Second)
	}
	full := l.Inject(Fault{Kind: StorageFull, Storage: "local"})
	if sp := l.Storage("local")[0]; sp.Avail != 0 {
		t.Errorf("%+v", sp)
	}
	task := l.end(l.backup(101, "local"))
	full()
	if task.Exit != "job errors" || l.Storage("local")[0].Avail == 0 {
		t.Errorf("%q", task.Exit)
	}

	// A plain directory is empty, and as large as the disk below.
	before := l.Storage("local")[0].Total
	gone := l.Inject(Fault{Kind: StorageGone, Storage: "local"})
	if got := l.volids("local"); len(got) != 0 {
		t.Errorf("still there: %v", got)
	}
	if st := l.get("/nodes/pve1/storage/local/status").object(); st["active"] != 1.0 || int64(st["total"].(float64)) == before {
		t.Errorf("%v", st)
	}
	below := l.end(l.backup(101, "local")) // goes below the mount point
	if below.Exit != "OK" || len(l.volids("local")) != 1 {
		t.Errorf("%q, %v", below.Exit, l.volids("local"))
	}
	gone()
	if got := l.volids("local"); len(got) != 1 || strings.Contains(strings.Join(below.Log, "\n"), got[0]) {
		t.Errorf("mounted again: %v", got)
	}

	// One that must be a mount point refuses.
	gone = l.Inject(Fault{Kind: StorageGone, Storage: "mnt"})
	why := "unable to activate storage 'mnt' - directory is expected to be a mount point but is not mounted: '/srv/mnt'"
	if r := l.get("/nodes/pve1/storage/mnt/content"); r.status != 500 || r.reason != why {
		t.Errorf("%d %q", r.status, r.reason)
	}
	if st := l.get("/nodes/pve1/storage/mnt/status").object(); st["active"] != 0.0 || st["total"] != 0.0 {
		t.Errorf("%v", st)
	}
	r := l.call("DELETE", "/nodes/pve1/storage/mnt/content/"+l.Archives()[1].Volid)
	if task := l.end(r.data().(string)); task.Exit != why {
		t.Errorf("%q", task.Exit)
	}
	gone()
	if n := len(l.volids("mnt")); n != 1 {
		t.Errorf("%d archives on mnt", n)
	}
}

func TestClockSkew(t *testing.T) {
	t.Parallel()
	l := newLab(t, ContractWorld(1, 2), Options{})
	remove := l.Inject(Fault{Kind: ClockSkew, For: 10 * time.Minute})
	if got := l.get("/version").header.Get("Date"); got != noon.Add(10*time.Minute).Format(http.TimeFormat) {
		t.Errorf("Date %s", got)
	}
	upid := l.backup(100, "local")
	remove()
	l.end(upid)
	if got := l.Archives()[0].Volid; !strings.Contains(got, "-12_10_00") {
		t.Errorf("archive %s", got)
	}
	e := l.get("/nodes/pve1/tasks").list()[0]
	if int64(e["starttime"].(float64)) != noon.Unix()+600 {
		t.Errorf("start %v", e["starttime"])
	}
}

func TestFaultsCombine(t *testing.T) {
	t.Parallel()
	l := newLab(t, ContractWorld(1, 2), Options{})
	defer l.Inject(Fault{Kind: TaskKilled, Path: vzdumpPath, Share: 0.2})()
	defer l.Inject(Fault{Kind: LostAnswer, Path: vzdumpPath})()
	defer l.Inject(Fault{Kind: ClockSkew, For: -time.Minute})()
	if r := l.call("POST", "/nodes/pve1/vzdump", "vmid", 100, "storage", "local"); r.err == nil {
		t.Error("an answer came")
	}
	task := l.end(l.Tasks()[0].UPID)
	if task.Exit != unexpected || l.guest(100).Lock != "backup" || !strings.Contains(task.UPID, ":6B003604:") {
		t.Errorf("%q %q %s", task.Exit, l.guest(100).Lock, task.UPID)
	}
}
