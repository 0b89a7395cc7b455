package pve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Every kind of answer, as recorded on 8.4 and 9.2, read into our types.
func TestRecordedAnswers(t *testing.T) {
	t.Parallel()
	by := map[string]string{
		"version": "Version", "resources": "Resources", "paused": "Resources", "cluster tasks": "ClusterTasks", "nodes": "Nodes",
		"node storages": "NodeStorages", "storage status": "StorageStatus", "storage off": "StorageStatus",
		"storage configs": "StorageConfigs", "status running": "GuestStatus", "status locked": "GuestStatus",
		"status prelaunch": "GuestStatus", "config locked": "GuestConfig", "config running": "GuestConfig",
		"config stump": "GuestConfig", "config unused": "GuestConfig", "archives": "Archives", "archives none": "Archives",
		"archive": "Archive", "archive missing": "Archive", "tasks": "Tasks", "tasks running": "Tasks", "task running": "TaskStatus",
		"task ended": "TaskStatus", "task killed": "TaskStatus", "task unknown": "TaskStatus", "log": "TaskLog",
		"log unknown": "TaskLog", "vzdump": "Vzdump", "notes": "SetArchiveNotes", "delete": "DeleteArchive",
		"delete at once": "DeleteArchive", "backup jobs": "BackupJobs", "permissions": "Permissions", "no permissions": "Permissions",
		"pending": "Pending", "snapshots": "Snapshots", "no snapshots": "Snapshots", "snapshot config": "SnapshotConfig",
		"snapshot config missing": "SnapshotConfig", "images": "Images", "archived config": "ArchivedConfig",
		"archived config missing": "ArchivedConfig", "nextid": "NextID", "feature": "CanSnapshot", "set config": "SetConfig",
		"set config digest": "SetConfig", "start config": "StartSetConfig", "resize": "Resize", "start": "Start", "reset stopped": "Reset",
		"create snapshot": "CreateSnapshot", "restore": "Restore", "restore locked": "Restore", "restore in use": "Restore", "clone": "Clone",
		"clone in use": "Clone", "destroy running": "Destroy", "destroy protected": "Destroy", "agent off": "AgentPing",
	}
	var b strings.Builder
	for _, r := range loadLines[recorded](t, "testdata/exchanges.jsonl") {
		kind, release, _ := cutLast(r.Name, " ")
		name, ok := by[kind]
		if !ok {
			t.Fatalf("%s: no call for %q", r.Origin, kind)
		}
		got, err := call(t, name, clientOver(t, r.always()))
		fmt.Fprintf(&b, "== %s on %s: %s\n", kind, release, name)
		if err != nil {
			fmt.Fprintf(&b, "%v\n", err)
			continue
		}
		b.WriteString(oneElementPerLine(t, got))
	}
	golden(t, "answers.golden", b.String())
}

// oneElementPerLine writes a value as JSON, lists with a line for each element and structures with one for each field.
func oneElementPerLine(t *testing.T, v any) string {
	t.Helper()
	whole, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var list []json.RawMessage
	if json.Unmarshal(whole, &list) == nil {
		var b strings.Builder
		for _, e := range list {
			b.Write(append(e, '\n'))
		}
		return b.String()
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(whole, &fields) != nil {
		return string(whole) + "\n"
	}
	var b strings.Builder
	for _, name := range sortedKeys(fields) {
		fmt.Fprintf(&b, "%s: %s\n", name, fields[name])
	}
	return b.String()
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

func TestVersionSaysWhichRelease(t *testing.T) {
	t.Parallel()
	for release, want := range map[string]Version{
		"8.4": {Release: "8.4", Version: "8.4.21", Major: 8},
		"9.2": {Release: "9.2", Version: "9.2.11", Major: 9},
	} {
		got, err := clientOver(t, exchanges(t)["version "+release].always()).Version(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

func TestAStumpIsNoMachine(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{"config stump 8.4": true, "config stump 9.2": true, "config running 9.2": false, "config locked 8.4": false} {
		got, err := clientOver(t, exchanges(t)[name].always()).GuestConfig(context.Background(), "pve1", 120)
		if err != nil {
			t.Fatal(err)
		}
		if got.Stump() != want {
			t.Errorf("%s: Stump() = %v", name, got.Stump())
		}
	}
}

// A machine whose only drive says backup=0 has nothing to back up, and a CD drive is never backed up.
func TestBackedUpDisks(t *testing.T) {
	t.Parallel()
	g := ReadGuestConfig(map[string]string{
		"scsi10": "data:100/vm-100-disk-2.raw,size=2T", "scsi2": "data:100/vm-100-disk-1.raw,backup=0,size=10G",
		"ide2": "local:iso/debian.iso,media=cdrom,size=600M", "sata1": "none,media=cdrom",
		"virtio0":  "file=ceph:vm-100-disk-0,cache=writeback,size=5368710120",
		"efidisk0": "data:100/vm-100-disk-3.qcow2,efitype=4m,size=528K", "scsihw": "virtio-scsi-single",
		"unused0": "data:100/vm-100-disk-9.raw", "net10": "e1000,bridge=vmbr1", "net2": "virtio=bc:24:11:00:00:01,bridge=vmbr0,tag=7,rate=2.5,link_down=1",
		"smbios1": "uuid=5b9f1e9e-0000-4000-8000-000000000000,base64=1", "meta": "creation-qemu=10.0.2,ctime=1795172276",
	})
	var keys []string
	for _, d := range g.BackedUpDisks() {
		keys = append(keys, fmt.Sprintf("%s %s %d", d.Key, d.Storage, d.SizeBytes))
	}
	want := []string{"efidisk0 data 540672", "scsi10 data 2199023255552", "virtio0 ceph 5368710120"}
	if diff := cmp.Diff(want, keys); diff != "" {
		t.Errorf("backed up (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"data:100/vm-100-disk-9.raw"}, g.Unused); diff != "" {
		t.Errorf("unused (-want +got):\n%s", diff)
	}
	nets := []Net{
		{Key: "net2", Model: "virtio", MAC: "BC:24:11:00:00:01", Bridge: "vmbr0", Tag: 7, Rate: 2.5, LinkDown: true, Raw: g.Raw["net2"]},
		{Key: "net10", Model: "e1000", Bridge: "vmbr1", Raw: g.Raw["net10"]},
	}
	if diff := cmp.Diff(nets, g.Nets); diff != "" {
		t.Errorf("nets (-want +got):\n%s", diff)
	}
	if g.UUID != "5b9f1e9e-0000-4000-8000-000000000000" || !g.MetaCTime.Equal(time.Unix(1795172276, 0)) {
		t.Errorf("identity: %s %s", g.UUID, g.MetaCTime)
	}
}

// Copies on a Proxmox Backup Server weren't recorded; this is the shape the API's schema gives them.
func TestArchivesOfABackupServer(t *testing.T) {
	t.Parallel()
	c := clientOver(t, always(200, "OK", `{"data":[{"volid":"pbs:backup/vm/110/2026-11-20T09:38:53Z","content":"backup","ctime":1795167533,
		"format":"pbs-vm","size":"1","vmid":"110","encrypted":"ab:cd","notes":"stowage:a:b:c:d\nmine","protected":true,
		"verification":{"state":"ok","upid":"UPID:x"}},
		{"volid":"pbs:backup/ct/111/2026-11-20T10:00:00Z","content":"backup","size":2.5e10,"verification":null},
		{"volid":"pbs:iso/x.iso","content":"iso"}]}`))
	got, err := c.Archives(context.Background(), "pve1", "pbs", 0)
	if err != nil {
		t.Fatal(err)
	}
	want := []Archive{
		{Volid: "pbs:backup/ct/111/2026-11-20T10:00:00Z", VMID: 111, CTime: time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC), Size: 25000000000, Format: "pbs-ct", Subtype: "lxc"},
		{Volid: "pbs:backup/vm/110/2026-11-20T09:38:53Z", VMID: 110, CTime: time.Unix(1795167533, 0).UTC(), Size: 1, Format: "pbs-vm", Subtype: "qemu",
			NotesLine: "stowage:a:b:c:d", Protected: true, Verification: "ok", Encrypted: "ab:cd"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What is missing from a list may be acted upon, so a list that can't be read whole is no list.
func TestAnUnreadableListIsNoEmptyList(t *testing.T) {
	t.Parallel()
	bodies := []string{`{"data":null}`, `{}`, ``, `null`, `[]`, `{"data":{}}`, `{"data":[1]}`, `{"data":[{"size":1}]}`, `{"data":[{"volid":nul`, `{"data":"x"}`, "<html>"}
	for _, body := range bodies {
		got, err := clientOver(t, always(200, "OK", body)).Archives(context.Background(), "pve1", "local", 110)
		if ClassOf(err) != Unreachable {
			t.Errorf("%s: %v, %v", body, got, err)
		}
	}
	got, err := clientOver(t, always(200, "OK", `{"data":[]}`)).Archives(context.Background(), "pve1", "local", 110)
	if err != nil || len(got) != 0 {
		t.Errorf("an empty list: %v, %v", got, err)
	}
}

// Ids are names, not paths: they are escaped, and dots alone are refused without a request.
func TestIDsAreEscaped(t *testing.T) {
	t.Parallel()
	var s seen
	c := clientOver(t, answers(func(r *http.Request) (*http.Response, error) {
		s.add(r)
		return answer(200, "OK", []byte(`{"data":{}}`)), nil
	}))
	ctx := context.Background()
	_, _ = c.Archive(ctx, "pve1", "local", volid)
	_, _ = c.StorageStatus(ctx, "a/../b", "x?y#z %")
	_, err := c.StorageStatus(ctx, "..", "local")
	if ReasonOf(err) != Parameter {
		t.Errorf("dots: %v", err)
	}
	if _, err := c.Archives(ctx, "pve1", "", 0); ReasonOf(err) != Parameter {
		t.Errorf("an empty name: %v", err)
	}
	want := []string{
		"GET /nodes/pve1/storage/local/content/local:backup%2Fvzdump-qemu-110-2026_11_20-11_01_40.vma",
		"GET /nodes/a%2F..%2Fb/storage/x%3Fy%23z%20%25/status",
	}
	if diff := cmp.Diff(want, s.all()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestVzdumpSendsItsForm(t *testing.T) {
	t.Parallel()
	var form url.Values
	var auth string
	c := clientOver(t, answers(func(r *http.Request) (*http.Response, error) {
		if err := r.ParseForm(); err != nil {
			return nil, err
		}
		form, auth = r.PostForm, r.Header.Get("Authorization")
		return answer(200, "OK", []byte(`{"data":"`+upidText+`"}`)), nil
	}))
	got, err := c.Vzdump(context.Background(), "pve1", VzdumpRequest{
		VMID: 110, Storage: "local", Mode: "stop", Compress: "0", Notes: "stowage:01J:svc:op:abc", Protected: true, BandwidthKiB: 30000,
		LockWait: 61 * time.Second, Fleecing: "enabled=1,storage=data",
	})
	if err != nil || got != upid {
		t.Fatalf("%v, %v", got, err)
	}
	want := url.Values{
		"vmid": {"110"}, "storage": {"local"}, "mode": {"stop"}, "compress": {"0"}, "remove": {"0"}, "lockwait": {"2"},
		"notes-template": {"stowage:01J:svc:op:abc"}, "protected": {"1"}, "bwlimit": {"30000"}, "fleecing": {"enabled=1,storage=data"},
	}
	if diff := cmp.Diff(want, form); diff != "" {
		t.Errorf("form (-want +got):\n%s", diff)
	}
	if auth != "PVEAPIToken=portal@pve!api=00000000-0000-4000-8000-000000000000" {
		t.Errorf("login: %s", auth)
	}
}

func TestVzdumpDefaultsNeverPrune(t *testing.T) {
	t.Parallel()
	form, err := VzdumpRequest{VMID: 110, Storage: "local"}.form()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"vmid": "110", "storage": "local", "mode": "snapshot", "compress": "zstd", "remove": "0", "lockwait": "0"}
	if diff := cmp.Diff(want, form); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Proxmox interprets braces and backslashes in a notes template; nothing of that kind may leave.
func TestVzdumpRefusesWhatProxmoxWouldInterpret(t *testing.T) {
	t.Parallel()
	var s seen
	c := clientOver(t, answers(func(r *http.Request) (*http.Response, error) { s.add(r); return answer(200, "OK", nil), nil }))
	bad := []VzdumpRequest{
		{VMID: 110, Storage: "local", Notes: "{{guestname}}"}, {VMID: 110, Storage: "local", Notes: `a\nb`},
		{VMID: 110, Storage: "local", Notes: "a b"}, {VMID: 110, Storage: "local", Notes: strings.Repeat("x", 1025)},
		{VMID: 99, Storage: "local"}, {VMID: -1, Storage: "local"}, {VMID: 110}, {VMID: 110, Storage: "local", BandwidthKiB: -1},
	}
	for _, r := range bad {
		if _, err := c.Vzdump(context.Background(), "pve1", r); ReasonOf(err) != Parameter {
			t.Errorf("%+v: %v", r, err)
		}
	}
	if s.count() != 0 {
		t.Errorf("sent: %v", s.all())
	}
}

// The answer OK instead of a task: the machine has moved, and nothing was started.
func TestVzdumpThatStartsNothing(t *testing.T) {
	t.Parallel()
	_, err := clientOver(t, always(200, "OK", `{"data":"OK"}`)).Vzdump(context.Background(), "pve1", VzdumpRequest{VMID: 110, Storage: "local"})
	if !errors.Is(err, ErrNothingStarted) || ClassOf(err) != Gone {
		t.Errorf("%v", err)
	}
	for _, body := range []string{`{"data":null}`, `{"data":"UPID:x"}`, `{"data":{}}`, `{"data":7}`, `{}`, ``, `nonsense`} {
		_, err := clientOver(t, always(200, "OK", body)).Vzdump(context.Background(), "pve1", VzdumpRequest{VMID: 110, Storage: "local"})
		if ClassOf(err) != Ambiguous {
			t.Errorf("%s: a task may run, but: %v", body, err)
		}
	}
}

func TestPermissionsFollowTheMostSpecificPath(t *testing.T) {
	t.Parallel()
	p := Permissions{
		"/":                {"Sys.Audit": true, "VM.Audit": true},
		"/vms":             {"VM.Audit": true, "VM.Backup": true, "VM.PowerMgmt": false},
		"/vms/100":         {"VM.Audit": true},
		"/vms/101":         {},
		"/storage/local":   {"Datastore.Audit": true},
		"/access/realm/pa": {"User.Modify": true},
	}
	for _, k := range []struct {
		path, privilege string
		want            bool
	}{
		{"/", "Sys.Audit", true}, {"/nodes/pve1", "Sys.Audit", true}, {"/vms", "VM.Backup", true}, {"/vms/", "VM.Backup", true},
		{"/vms/102", "VM.Backup", true}, {"/vms/102", "VM.PowerMgmt", false}, {"/vms", "VM.PowerMgmt", true},
		{"/vms/100", "VM.Audit", true}, {"/vms/100", "VM.Backup", false}, {"/vms/101", "VM.Audit", false},
		{"/storage/local", "VM.Audit", false}, {"/storage/other", "VM.Audit", true}, {"vms/102", "VM.Backup", true}, {"", "Sys.Audit", true},
	} {
		if got := p.Has(k.path, k.privilege); got != k.want {
			t.Errorf("Has(%q, %q) = %v", k.path, k.privilege, got)
		}
	}
	if (Permissions{}).Has("/vms/100", "VM.Audit") {
		t.Error("nothing granted, yet allowed")
	}
}

func TestSkewIsTheServersLead(t *testing.T) {
	t.Parallel()
	ahead := now.Add(3 * time.Minute)
	c := clientOver(t, answers(func(*http.Request) (*http.Response, error) {
		r := answer(403, "no", nil)
		r.Header.Set("Date", ahead.Format(http.TimeFormat))
		return r, nil
	}))
	if _, known := c.Skew(); known {
		t.Error("known before any answer")
	}
	_, _ = c.Version(context.Background())
	if d, known := c.Skew(); !known || d != 3*time.Minute {
		t.Errorf("%v %v", d, known)
	}
}

// Metrics see each request with its kind of path, never an id.
func TestObserveSeesEachRequest(t *testing.T) {
	t.Parallel()
	clock := now
	var got []Call
	c := clientOver(t, answers(func(r *http.Request) (*http.Response, error) {
		clock = clock.Add(250 * time.Millisecond)
		if r.Method == http.MethodGet {
			return answer(500, "VM is locked (backup)", nil), nil
		}
		return answer(200, "OK", []byte(`{"data":null}`)), nil
	}), func(cfg *Config) {
		cfg.Now = func() time.Time { return clock }
		cfg.Observe = func(k Call) { got = append(got, k) }
	})
	_, _ = c.GuestStatus(context.Background(), "pve1", 100)
	_, _ = c.DeleteArchive(context.Background(), "pve1", "local", volid)
	want := []Call{
		{Method: "GET", Path: "/nodes/{node}/qemu/{vmid}/status/current", Status: 500, Class: Refused, Duration: 250 * time.Millisecond},
		{Method: "DELETE", Path: "/nodes/{node}/storage/{storage}/content/{volume}", Status: 200, Duration: 250 * time.Millisecond, Mutation: true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTaskFilterAsksForAllTasks(t *testing.T) {
	t.Parallel()
	var got url.Values
	c := clientOver(t, answers(func(r *http.Request) (*http.Response, error) {
		got = r.URL.Query()
		return answer(200, "OK", []byte(`{"data":[{"upid":"nonsense"},{"upid":"`+upidText+`","status":"RUNNING","user":"portal@pve!api"}]}`)), nil
	}))
	tasks, err := c.Tasks(context.Background(), "pve1", TaskFilter{Type: "vzdump", VMID: 110, Since: now, Until: now.Add(time.Hour), Errors: true, Start: 5})
	if err != nil {
		t.Fatal(err)
	}
	want := url.Values{"source": {"all"}, "limit": {"500"}, "typefilter": {"vzdump"}, "vmid": {"110"}, "since": {"1795176000"}, "until": {"1795179600"}, "errors": {"1"}, "start": {"5"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("query (-want +got):\n%s", diff)
	}
	if len(tasks) != 1 || !tasks[0].Running || tasks[0].Owner != "portal@pve!api" || tasks[0].Failed() {
		t.Errorf("tasks: %+v", tasks)
	}
}
