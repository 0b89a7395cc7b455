package pvesim

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// lastLine is how a log ends.
func lastLine(t Task) string {
	if len(t.Log) == 0 {
		return ""
	}
	return t.Log[len(t.Log)-1]
}

func has(t *testing.T, task Task, line string) {
	t.Helper()
	if !slices.Contains(task.Log, line) {
		t.Errorf("the log lacks %q:\n%s", line, strings.Join(task.Log, "\n"))
	}
}

// wait lets time pass.
func (l *lab) wait(d time.Duration) { l.clock.add(d) }

func (l *lab) volids(storage string) []string {
	l.t.Helper()
	var out []string
	for _, e := range l.get("/nodes/pve1/storage/"+storage+"/content", "content", "backup").list() {
		out = append(out, e["volid"].(string))
	}
	return out
}

func TestBackupTakesTimeAndLocksItsMachine(t *testing.T) {
	t.Parallel()
	l := newLab(t, ContractWorld(1, 2), Options{})
	upid := l.backup(100, "local", "bwlimit", 20000, "notes-template", `{{guestname}} {{vmid}}@{{node}}, {{cluster}}\nsecond \\ line`)

	if got := l.guest(100).Lock; got != "backup" {
		t.Errorf("lock %q during the backup", got)
	}
	if got := l.get("/nodes/pve1/qemu/100/config").object()["lock"]; got != "backup" {
		t.Errorf("config shows lock %v", got)
	}
	if got := l.volids("local"); len(got) != 0 {
		t.Errorf("the unfinished archive is listed: %v", got)
	}
	before := len(l.taskOf(upid).Log)
	l.wait(10 * time.Second)
	if after := len(l.taskOf(upid).Log); after != before+7 {
		t.Errorf("the log grew from %d to %d lines in 10 s", before, after)
	}
	has(t, l.taskOf(upid), "INFO: bandwidth limit: 20000 KiB/s")
	has(t, l.taskOf(upid), "INFO:   5% (58.6 MiB of 1.0 GiB) in 3s, read: 19.5 MiB/s, write: 19.5 MiB/s")

	task := l.end(upid)
	if took := task.End.Sub(task.Start); took < 53*time.Second || took > 55*time.Second {
		t.Errorf("1 GiB at 20000 KiB/s took %v", took)
	}
	if task.Exit != "OK" || lastLine(task) != "TASK OK" {
		t.Errorf("ended %q, %q", task.Exit, lastLine(task))
	}
	if l.guest(100).Lock != "" {
		t.Error("the lock stayed")
	}
	volid := l.volids("local")[0]
	if want := "local:backup/vzdump-qemu-100-2026_11_20-12_00_00.vma.zst"; volid != want {
		t.Errorf("volid %s, want %s", volid, want)
	}
	if got := l.get("/nodes/pve1/storage/local/content", "content", "backup").list()[0]["notes"]; got != "h100 100@pve1, standalone node" {
		t.Errorf("notes in the list: %q", got)
	}
	if got := l.get("/nodes/pve1/storage/local/content/" + volid).object()["notes"]; got != "h100 100@pve1, standalone node\nsecond \\ line" {
		t.Errorf("whole notes: %q", got)
	}
	config := l.get("/nodes/pve1/vzdump/extractconfig", "volume", volid).data()
	if text, _ := config.(string); !strings.Contains(text, "name: h100\n") || !strings.Contains(text, "#qmdump#map:scsi0:drive-scsi0:local:qcow2:") {
		t.Errorf("config in the archive: %q", config)
	}
}

func TestStoppedMachineRunsForItsBackup(t *testing.T) {
	t.Parallel()
	l := newLab(t, ContractWorld(1, 2), Options{Release: "8.4"})
	upid := l.backup(101, "local", "bwlimit", 20000)
	l.wait(12 * time.Second)
	now := l.get("/nodes/pve1/qemu/101/status/current").object()
	if now["status"] != "running" || now["qmpstatus"] != "prelaunch" || now["lock"] != "backup" {
		t.Errorf("status %v, qmpstatus %v, lock %v", now["status"], now["qmpstatus"], now["lock"])
	}
	for _, e := range l.get("/cluster/resources", "type", "vm").list() {
		if e["vmid"] == 101.0 && e["status"] != "prelaunch" {
			t.Errorf("cluster resources say %v", e["status"])
		}
	}
	has(t, l.end(upid), "INFO: stopping kvm after backup task")
	if l.guest(101).Running {
		t.Error("it runs on after its backup")
	}

	// Started meanwhile, it stays running.
	upid = l.backup(101, "local", "bwlimit", 20000)
	l.wait(5 * time.Second)
	if err := l.SetGuestRunning(101, true); err != nil {
		t.Fatal(err)
	}
	has(t, l.end(upid), "INFO: kvm status changed after backup ('running') - keep VM running")
	if !l.guest(101).Running {
		t.Error("it was stopped although it had been started")
	}
}

// The node's lock: one backup after the other, whoever's machine it is.
func TestOneBackupPerNode(t *testing.T) {
	t.Parallel()
	l := newLab(t, ContractWorld(2, 4), Options{})
	first := l.backup(100, "local", "bwlimit", 20000)
	second := l.backup(101, "local")
	third := l.backup(100, "local")
	other := l.backup(102, "local") // on pve2
	if got := l.taskOf(second).Log; !slices.Equal(got, []string{"INFO: trying to get global lock - waiting..."}) {
		t.Errorf("the waiting one says %q", got)
	}
	if l.guest(101).Lock != "" {
		t.Error("a machine is locked while its backup waits")
	}
	none := l.backup(101, "local", "lockwait", 0)
	if task := l.taskOf(none); task.Exit != unexpected || lastLine(task) != "ERROR: can't acquire lock '/var/run/vzdump.lock' (wait = 0)" {
		t.Errorf("lockwait=0: %q, %q", task.Exit, task.Log)
	}
	patient := l.backup(101, "local", "lockwait", 2)
	if o := l.end(other); o.Exit != "OK" || l.taskOf(first).Exit != "" {
		t.Errorf("the other node's backup waited: %q", o.Exit)
	}
	a, b, c := l.end(first), l.end(second), l.end(third)
	if b.Exit != "OK" || c.Exit != "OK" || b.End.Before(a.End) || c.End.Before(b.End) {
		t.Errorf("ends: %v %v %v", a.End, b.End, c.End)
	}
	has(t, b, "INFO: got global lock")
	if task := l.end(patient); task.Exit != "OK" {
		t.Errorf("two minutes were enough, yet %q: %q", task.Exit, task.Log)
	}

	// A wait that is too short.
	long := l.backup(100, "local", "bwlimit", 5000)
	late := l.backup(101, "local", "lockwait", 1)
	if task := l.end(late); task.Exit != unexpected || lastLine(task) != "ERROR: can't acquire lock '/var/run/vzdump.lock' - got timeout" ||
		task.End.Sub(task.Start) != time.Minute {
		t.Errorf("lockwait=1: %q after %v, %q", task.Exit, task.End.Sub(task.Start), task.Log)
	}
	if l.taskOf(long).Exit != "" {
		t.Error("the holder ended")
	}
}

func TestStoppingAndKilling(t *testing.T) {
	t.Parallel()
	l := newLab(t, ContractWorld(1, 2), Options{})
	holder := l.backup(100, "local", "bwlimit", 20000)
	waiting := l.backup(101, "local")
	l.wait(10 * time.Second)
	if r := l.call("DELETE", "/nodes/pve1/tasks/"+waiting); r.status != 200 {
		t.Fatal(r)
	}
	if task := l.taskOf(waiting); task.Exit != unexpected || lastLine(task) != "ERROR: can't acquire lock '/var/run/vzdump.lock' - interrupted by signal" {
		t.Errorf("stopped while waiting: %q %q", task.Exit, task.Log)
	}
	used := l.Storage("local")[0].Used
	l.call("DELETE", "/nodes/pve1/tasks/"+holder)
	task := l.taskOf(holder)
	if task.Exit != "interrupted by signal" || lastLine(task) != "TASK ERROR: interrupted by signal" {
		t.Errorf("stopped while running: %q %q", task.Exit, lastLine(task))
	}
	if l.guest(100).Lock != "" || l.Storage("local")[0].Used >= used {
		t.Error("a stopped backup left its lock or its file")
	}

	// A killed worker says nothing, and its lock stays until somebody takes it off.
	killed := l.backup(100, "local", "bwlimit", 20000)
	l.wait(10 * time.Second)
	if err := l.KillTask(killed); err != nil {
		t.Fatal(err)
	}
	if task := l.taskOf(killed); task.Exit != unexpected || strings.HasPrefix(lastLine(task), "TASK") {
		t.Errorf("killed: %q %q", task.Exit, lastLine(task))
	}
	if l.guest(100).Lock != "backup" {
		t.Error("the killed worker's lock went")
	}
	refused := l.end(l.backup(100, "local"))
	if refused.Exit != "job errors" {
		t.Errorf("exit %q", refused.Exit)
	}
	has(t, refused, "ERROR: Backup of VM 100 failed - VM is locked (backup)")
	if err := l.Unlock(100); err != nil {
		t.Fatal(err)
	}
	next := l.end(l.backup(100, "local"))
	if next.Exit != "WARNINGS: 1" || lastLine(next) != "TASK WARNINGS: 1" {
		t.Errorf("the next one: %q %q", next.Exit, lastLine(next))
	}
	has(t, next, "WARN: left-over backup job still running inside QEMU - canceling now")
}

func TestFullStorage(t *testing.T) {
	t.Parallel()
	l := newLab(t, ContractWorld(1, 2), Options{})
	before := l.Storage("tiny")[0]
	failed := l.end(l.backup(100, "tiny"))
	if failed.Exit != "job errors" {
		t.Errorf("exit %q", failed.Exit)
	}
	has(t, failed, "ERROR: Backup of VM 100 failed - vma_queue_write: write error - Broken pipe")
	if after := l.Storage("tiny")[0]; after != before {
		t.Errorf("space %+v, before %+v", after, before)
	}
	if l.guest(100).Lock != "" || !l.guest(100).Running {
		t.Error("the machine suffered")
	}
	// 60 MB fit once.
	if first := l.end(l.backup(101, "tiny")); first.Exit != "OK" {
		t.Errorf("first: %q", first.Log)
	}
	if second := l.end(l.backup(101, "tiny")); second.Exit != "job errors" {
		t.Errorf("second: %q", second.Exit)
	}
	if n := len(l.volids("tiny")); n != 1 {
		t.Errorf("%d archives", n)
	}
}

// Two nodes fill one storage together; the first to need the last byte fails
// and the other goes on with what it left.
func TestSharedStorageFillsUpBetweenNodes(t *testing.T) {
	t.Parallel()
	w := ContractWorld(2, 4)
	l := newLab(t, w, Options{})
	free := int64(900 * 1000 * 1000)
	if err := l.SetStorage("shared", func(st *Storage) { st.Total = st.Used + free }); err != nil {
		t.Fatal(err)
	}
	a, b := l.backup(100, "shared"), l.backup(102, "shared")
	first, second := l.end(a), l.end(b)
	if first.Exit != "job errors" || second.Exit != "OK" {
		t.Errorf("%q %q", first.Exit, second.Exit)
	}
	if n := len(l.Archives()); n != 1 {
		t.Errorf("%d archives", n)
	}
}

func TestSpaceIsExact(t *testing.T) {
	t.Parallel()
	l := newLab(t, ContractWorld(1, 2), Options{})
	check := func(when string) {
		t.Helper()
		sp := l.Storage("local")[0]
		want := 4*gib + blocks(700_000_000) + blocks(60_000_000)
		for _, a := range l.Archives() {
			want += blocks(a.Size)
		}
		if sp.Used != want || sp.Avail != sp.Total-want {
			t.Errorf("%s: used %d, want %d; avail %d of %d", when, sp.Used, want, sp.Avail, sp.Total)
		}
		r := l.get("/nodes/pve1/storage/local/status").object()
		if int64(r["used"].(float64)) != sp.Used || int64(r["avail"].(float64)) != sp.Avail || int64(r["total"].(float64)) != sp.Total {
			t.Errorf("%s: the API says %v", when, r)
		}
	}
	check("at first")
	l.end(l.backup(100, "local"))
	check("after one")
	running := l.backup(101, "local", "bwlimit", 10000)
	l.wait(3 * time.Second)
	if sp := l.Storage("local")[0]; sp.Used <= 4*gib+blocks(700_000_000)*2 {
		t.Errorf("the unfinished archive takes no space: %d", sp.Used)
	}
	l.end(running)
	check("after two")
	r := l.call("DELETE", "/nodes/pve1/storage/local/content/"+l.volids("local")[0])
	l.end(r.data().(string))
	check("after a deletion")
	if n := len(l.Archives()); n != 1 {
		t.Errorf("%d archives", n)
	}
}

func TestRetention(t *testing.T) {
	t.Parallel()
	l := newLab(t, ContractWorld(1, 2), Options{})
	run := func(remove int) Task {
		t.Helper()
		r := l.call("POST", "/nodes/pve1/vzdump", "vmid", 101, "storage", "keep2", "compress", "zstd", "remove", remove)
		task := l.end(r.data().(string))
		l.wait(2 * time.Second)
		return task
	}
	run(1)
	run(1)
	two := l.volids("keep2")
	has(t, run(1), "INFO: removing backup '"+two[0]+"'")
	if got := l.volids("keep2"); len(got) != 2 || got[0] != two[1] {
		t.Errorf("left: %v of %v", got, two)
	}
	refused := run(0)
	has(t, refused, "ERROR: Backup of VM 101 failed - There is a max backup limit of 2 enforced by the target storage or the vzdump parameters. Either increase the limit or delete old backups.")
	if refused.Exit != "job errors" || len(l.volids("keep2")) != 2 {
		t.Errorf("remove=0 at the limit: %q, %v", refused.Exit, l.volids("keep2"))
	}
	// Protected ones neither count nor go.
	l.call("PUT", "/nodes/pve1/storage/keep2/content/"+l.volids("keep2")[0], "protected", 1)
	if task := run(0); task.Exit != "OK" {
		t.Errorf("%q", task.Log)
	}
	if n := len(l.volids("keep2")); n != 3 {
		t.Errorf("%d archives", n)
	}
}

func TestDisksInAndOutOfABackup(t *testing.T) {
	t.Parallel()
	w := ContractWorld(1, 2)
	w.Guests[1].Disks = append(w.Guests[1].Disks,
		Disk{Key: "scsi1", Storage: "data", Size: 2 * gib, Used: 10 * mib},
		Disk{Key: "virtio0", Storage: "data", Size: gib, NoBackup: true})
	w.Guests[1].Snapshots = []string{"before"}
	w.Guests[1].Config["unused0"] = "data:101/vm-101-disk-9.qcow2"
	l := newLab(t, w, Options{})
	task := l.end(l.backup(101, "local"))
	for _, line := range []string{
		"INFO: include disk 'scsi0' 'local:101/vm-101-disk-0.qcow2' 1G",
		"INFO: include disk 'scsi1' 'data:101/vm-101-disk-0.qcow2' 2G",
		"INFO: exclude disk 'virtio0' 'data:101/vm-101-disk-1.qcow2' (backup=no)",
		"INFO: skip unused drive 'data:101/vm-101-disk-9.qcow2' (not included into backup)",
		"INFO: snapshots found (not included into backup)",
	} {
		has(t, task, line)
	}
	if !slices.ContainsFunc(task.Log, func(s string) bool { return strings.HasPrefix(s, "INFO: transferred 3.00 GiB in ") }) {
		t.Errorf("%q", task.Log)
	}

	// Nothing but excluded disks: OK, and next to nothing.
	if err := l.SetGuest(101, func(g *Guest) {
		for i := range g.Disks {
			g.Disks[i].NoBackup = true
		}
	}); err != nil {
		t.Fatal(err)
	}
	l.wait(2 * time.Second)
	task = l.end(l.backup(101, "local"))
	has(t, task, "INFO: backup contains no disks")
	if a := l.Archives()[1]; task.Exit != "OK" || a.Size < 490 || a.Size > 500 {
		t.Errorf("%q, %d bytes", task.Exit, a.Size)
	}
}

func TestVzdumpAnswers(t *testing.T) {
	t.Parallel()
	l := newLab(t, ContractWorld(2, 4), Options{})
	for _, c := range []struct {
		name   string
		pairs  []any
		status int
		errs   map[string]any
	}{
		{"unknown parameter", []any{"vmid", 100, "color", "red"}, 400, map[string]any{"color": notDefined}},
		{"two at once", []any{"vmid", "x", "mode", "fast", "storage", "local"}, 400, map[string]any{
			"vmid": "invalid format - value does not look like a valid VM ID\n",
			"mode": "value 'fast' does not have a value in the enumeration 'snapshot, suspend, stop'",
		}},
		{"no machine", []any{"storage", "local"}, 400, map[string]any{"vmid": "property is missing"}},
		{"negative", []any{"vmid", 100, "lockwait", -1}, 400, map[string]any{"lockwait": "value must have a minimum value of 0"}},
		{"gone in 9", []any{"vmid", 100, "storage", "local", "maxfiles", 2}, 400, map[string]any{"maxfiles": notDefined}},
		{"template", []any{"vmid", 100, "storage", "local", "notes-template", `a\q {{foo}}`}, 400, map[string]any{
			"notes-template": "found unknown: escape sequence '\\q' at char 1, variable 'foo' at char 8\n",
		}},
		{"needs storage", []any{"vmid", 100, "protected", 1}, 400, map[string]any{"storage": "missing property required by 'protected'"}},
	} {
		r := l.call("POST", "/nodes/pve1/vzdump", c.pairs...)
		if d := cmp.Diff(c.errs, r.errors()); r.status != c.status || d != "" {
			t.Errorf("%s: %d %s\n%s", c.name, r.status, r.reason, d)
		}
	}
	// A machine that lives elsewhere: OK, and nothing is done.
	r := l.call("POST", "/nodes/pve1/vzdump", "vmid", 102, "storage", "local")
	if r.status != 200 || r.data() != "OK" || len(l.Tasks()) != 0 {
		t.Errorf("%d %v, %d tasks", r.status, r.data(), len(l.Tasks()))
	}
	// One of two elsewhere: a task for the one, and its id is empty.
	r = l.call("POST", "/nodes/pve1/vzdump", "vmid", "100,102", "storage", "local")
	task := l.end(r.data().(string))
	if task.ID != "" || task.Exit != "OK" {
		t.Errorf("id %q, exit %q", task.ID, task.Exit)
	}
	has(t, task, "INFO: skip external VMs: 102")
	// The storage is looked at before the lock is waited for.
	holder := l.backup(100, "local", "bwlimit", 5000)
	bad := l.taskOf(l.backup(101, "nope"))
	if want := "could not activate storage 'nope': storage 'nope' does not exist could not get storage information for 'nope': storage 'nope' does not exist"; bad.Exit != want {
		t.Errorf("exit %q", bad.Exit)
	}
	if l.taskOf(holder).Exit != "" {
		t.Error("the holder ended")
	}
}

// After a migration the archives of a directory stay on the old node, under
// names that the new one has too.
func TestArchivesStayBehind(t *testing.T) {
	t.Parallel()
	l := newLab(t, ContractWorld(2, 4), Options{})
	l.end(l.backup(100, "local"))
	l.wait(2 * time.Second)
	l.end(l.backup(100, "shared"))
	if err := l.Migrate(100, "pve2"); err != nil {
		t.Fatal(err)
	}
	if r := l.get("/nodes/pve1/qemu/100/config"); r.status != 500 || r.reason != "Configuration file 'nodes/pve1/qemu-server/100.conf' does not exist" {
		t.Errorf("%d %s", r.status, r.reason)
	}
	count := func(node, storage string) int {
		return len(l.get("/nodes/"+node+"/storage/"+storage+"/content", "content", "backup", "vmid", 100).list())
	}
	got := fmt.Sprint(count("pve1", "local"), count("pve2", "local"), count("pve1", "shared"), count("pve2", "shared"))
	if got != "1 0 1 1" {
		t.Errorf("archives seen: %s", got)
	}
	if err := l.AddArchive(Archive{Node: "pve2", Storage: "local", VMID: 100, Time: l.Archives()[0].Time, Size: 5000}); err != nil {
		t.Fatal(err)
	}
	r := l.call("DELETE", "/nodes/pve2/storage/local/content/"+l.Archives()[0].Volid, "delay", 5)
	if r.status != 200 || r.data() != nil || count("pve1", "local") != 1 || count("pve2", "local") != 0 {
		t.Errorf("deleting pve2's: %d %v; pve1 has %d", r.status, r.data(), count("pve1", "local"))
	}
}

// A node's wall clock names its archives; in the repeated hour they look alike.
func TestArchiveNamesAreLocalTime(t *testing.T) {
	t.Parallel()
	w := ContractWorld(1, 2)
	w.Nodes[0].Zone = "Europe/Berlin"
	l := newLab(t, w, Options{})
	task := l.end(l.backup(100, "local"))
	has(t, task, "INFO: Backup started at 2026-11-20 13:00:00")
	if a := l.Archives()[0]; !strings.Contains(a.Volid, "2026_11_20-13_00_00") || !a.Time.Equal(noon) {
		t.Errorf("%s at %v", a.Volid, a.Time)
	}
}

func TestSameSeedSameLife(t *testing.T) {
	t.Parallel()
	live := func(seed uint64) string {
		l := newLab(t, ContractWorld(2, 4), Options{Seed: seed})
		a, b := l.backup(100, "local"), l.backup(102, "shared")
		l.end(a)
		l.end(b)
		return fmt.Sprint(l.Tasks(), l.Archives(), l.get("/cluster/resources").raw)
	}
	if a, b := live(5), live(5); a != b {
		t.Error("two lives from one seed differ")
	}
	if a, b := live(5), live(6); a == b {
		t.Error("two seeds, one life")
	}
}
