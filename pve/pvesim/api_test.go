package pvesim

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestContractWorld(t *testing.T) {
	t.Parallel()
	l := newLab(t, ContractWorld(1, 2), Options{})
	for vmid, want := range map[int]string{100: "h100 running", 101: "h101 stopped"} {
		e := l.get(fmt.Sprintf("/nodes/pve1/qemu/%d/status/current", vmid)).object()
		if got := fmt.Sprint(e["name"], " ", e["status"]); got != want || e["maxmem"] != 134217728.0 || e["cpus"] != 1.0 || e["maxdisk"] != 1073741824.0 {
			t.Errorf("%d: %v", vmid, e)
		}
	}
	var storages []string
	for _, e := range l.get("/nodes/pve1/storage").list() {
		storages = append(storages, fmt.Sprint(e["storage"], " ", e["content"]))
	}
	if d := cmp.Diff([]string{"data images", "keep2 backup", "local images,backup,iso", "tiny backup"}, storages); d != "" {
		t.Error(d)
	}
	if got := l.get("/version").object()["release"]; got != "9.2" {
		t.Errorf("release %v", got)
	}
	// The portal's token: the least privilege, and it is enough for a backup.
	portal := l.as(PortalToken)
	want := map[string]any{}
	for _, p := range slices.Concat(PortalPrivileges, AgentPrivileges("9.2")) {
		want[p] = 1.0
	}
	if d := cmp.Diff(want, portal.get("/access/permissions", "path", "/vms/100").object()["/vms/100"]); d != "" {
		t.Error(d)
	}
	if r := portal.get("/storage/local"); r.status != 403 || r.reason != "Permission check failed (/storage/local, Datastore.Allocate)" {
		t.Errorf("%d %q", r.status, r.reason)
	}
	task := l.end(portal.backup(101, "local"))
	if task.Exit != "OK" || task.User != PortalToken {
		t.Errorf("%q by %s", task.Exit, task.User)
	}

	large := newLab(t, ContractWorld(3, 10), Options{})
	seen := map[string]int{}
	for _, e := range large.get("/cluster/resources", "type", "vm").list() {
		seen[e["node"].(string)]++
	}
	if d := cmp.Diff(map[string]int{"pve1": 4, "pve2": 4, "pve3": 2}, seen); d != "" {
		t.Error(d)
	}
}

func TestRights(t *testing.T) {
	t.Parallel()
	l := newLab(t, ContractWorld(1, 2), Options{})
	l.end(l.backup(100, "local"))
	l.end(l.backup(101, "local"))
	portal := l.as(PortalToken)
	list := func() int { return len(portal.get("/nodes/pve1/storage/local/content", "content", "backup").list()) }
	if n := list(); n != 2 {
		t.Errorf("%d archives", n)
	}
	// Without VM.Backup on one machine its archives are left out, without a word.
	if err := l.SetPrivileges(PortalToken, "/vms/100", "VM.Audit"); err != nil {
		t.Fatal(err)
	}
	if n := list(); n != 1 {
		t.Errorf("%d archives without VM.Backup on 100", n)
	}
	task := l.end(portal.backup(100, "local"))
	if task.Exit != "403 Permission check failed (/vms/100, VM.Backup)" {
		t.Errorf("%q", task.Exit)
	}
	for _, c := range []struct{ method, path, reason string }{
		{"GET", "/nodes/pve1/storage/local/content/" + l.Archives()[0].Volid, "Permission check failed (/vms/100, VM.Backup)"},
		{"PUT", "/nodes/pve1/storage/local/content/" + l.Archives()[0].Volid, "Permission check failed (/vms/100, VM.Backup)"},
		{"DELETE", "/nodes/pve1/storage/local/content/" + l.Archives()[0].Volid, "Permission check failed (/vms/100, VM.Backup)"},
	} {
		if r := portal.call(c.method, c.path, map[string][]any{"PUT": {"notes", "x"}}[c.method]...); r.status != 403 || r.reason != c.reason {
			t.Errorf("%s: %d %q", c.method, r.status, r.reason)
		}
	}
	if err := l.RevokeToken(PortalToken); err != nil {
		t.Fatal(err)
	}
	if r := portal.get("/version"); r.status != 401 || r.reason != "Authentication failed!" {
		t.Errorf("%d %q", r.status, r.reason)
	}
}

func TestProtectionHasALimit(t *testing.T) {
	t.Parallel()
	w := ContractWorld(1, 2)
	for i := range 6 {
		w.Archives = append(w.Archives, Archive{Node: "pve1", Storage: "local", VMID: 100, Time: noon.Add(-time.Duration(i+1) * time.Hour), Size: 1000})
	}
	l := newLab(t, w, Options{})
	for i, a := range l.Archives() {
		r := l.as(PortalToken).call("PUT", "/nodes/pve1/storage/local/content/"+a.Volid, "protected", 1)
		if want := map[bool]int{true: 200, false: 500}[i < 5]; r.status != want {
			t.Errorf("protecting number %d: %d %q", i+1, r.status, r.reason)
		}
	}
	// Who may allocate the storage has none.
	if r := l.call("PUT", "/nodes/pve1/storage/local/content/"+l.Archives()[5].Volid, "protected", 1); r.status != 200 {
		t.Errorf("%d %q", r.status, r.reason)
	}
	r := l.call("DELETE", "/nodes/pve1/storage/local/content/"+l.Archives()[0].Volid)
	if task := l.end(r.data().(string)); !strings.HasPrefix(task.Exit, "cannot remove protected volume 'backup/vzdump-qemu-100-") {
		t.Errorf("%q", task.Exit)
	}
}

func TestLongListings(t *testing.T) {
	t.Parallel()
	w := ContractWorld(2, 4)
	for i := range 35_000 {
		w.Archives = append(w.Archives, Archive{Storage: "shared", VMID: 100 + i%50, Time: noon.Add(-time.Duration(i) * time.Minute), Size: 4096})
	}
	for i := range 500 {
		w.Archives = append(w.Archives, Archive{Node: "pve1", Storage: "local", VMID: 100, Time: noon.Add(-time.Duration(i) * time.Minute), Size: 4096})
	}
	c := &clock{t: noon}
	s, err := New(w, Options{Now: c.now, Sleep: c.sleep})
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{Sim: s, t: t, clock: c}
	took := func(path string, pairs ...any) (reply, time.Duration) {
		before := c.now()
		r := l.get(path, pairs...)
		return r, c.now().Sub(before)
	}
	if r, d := took("/nodes/pve1/storage/local/content", "content", "backup"); len(r.list()) != 500 || d < 40*time.Millisecond || d > 80*time.Millisecond {
		t.Errorf("500 entries: %d in %v", len(r.list()), d)
	}
	if r, d := took("/nodes/pve1/storage/shared/content", "content", "backup"); r.status != 596 || r.reason != "Connection timed out" || d != 30*time.Second {
		t.Errorf("35,000 entries: %d %q after %v", r.status, r.reason, d)
	}
	if r, d := took("/nodes/pve1/storage/shared/content", "content", "backup", "vmid", 100); len(r.list()) != 700 || d > time.Second {
		t.Errorf("those of one machine: %d in %v", len(r.list()), d)
	}
}

func TestDeletionsOnSharedStorageTakeTurns(t *testing.T) {
	t.Parallel()
	w := ContractWorld(2, 4)
	for i := range 3 {
		w.Archives = append(w.Archives, Archive{Storage: "shared", VMID: 100, Time: noon.Add(-time.Duration(i) * time.Hour), Size: 4096})
	}
	l := newLab(t, w, Options{})
	var ends []time.Time
	for i, a := range l.Archives() {
		r := l.call("DELETE", fmt.Sprintf("/nodes/pve%d/storage/shared/content/%s", 1+i%2, a.Volid))
		ends = append(ends, l.end(r.data().(string)).End)
		l.clock.add(-l.clock.now().Sub(noon))
	}
	if !ends[0].Before(ends[1]) || !ends[1].Before(ends[2]) {
		t.Errorf("%v", ends)
	}
}

func TestOthersChangeTheWorld(t *testing.T) {
	t.Parallel()
	l := newLab(t, ContractWorld(2, 4), Options{})
	upid, err := l.StartForeignBackup("pve1", 100, "local", map[string]string{"compress": "zstd", "bwlimit": "20000"})
	if err != nil || !strings.Contains(upid, ":vzdump:100:root@pam:") {
		t.Fatal(upid, err)
	}
	for _, e := range l.get("/nodes/pve1/tasks", "source", "active").list() {
		if e["user"] != "root@pam" || e["status"] != "RUNNING" {
			t.Errorf("%v", e)
		}
	}
	if len(l.Calls()) != 0 {
		t.Error("others' work is among the calls")
	}
	if err := l.ForgetTask(upid); err == nil {
		t.Error("a running task was forgotten")
	}
	l.end(upid)
	if err := l.ForgetTask(upid); err != nil {
		t.Fatal(err)
	}
	if r := l.get("/nodes/pve1/tasks/" + upid + "/status"); r.status != 400 || r.errors()["upid"] != "no such task" {
		t.Errorf("%d %v", r.status, r.errors())
	}
	before := l.get("/nodes/pve1/qemu/100/config").object()
	if err := l.ReplaceGuest(100); err != nil {
		t.Fatal(err)
	}
	after := l.get("/nodes/pve1/qemu/100/config").object()
	for _, k := range []string{"smbios1", "net0", "meta", "digest", "vmgenid"} {
		if before[k] == after[k] {
			t.Errorf("%s is the same in another machine: %v", k, after[k])
		}
	}
	if before["name"] != after["name"] || before["scsi0"] != after["scsi0"] {
		t.Errorf("%v %v", before, after)
	}
	volid := l.Archives()[0].Volid
	if err := l.DestroyGuest(100); err != nil {
		t.Fatal(err)
	}
	if n := len(l.volids("local")); n != 1 {
		t.Errorf("%d archives outlive their machine", n)
	}
	if err := l.RemoveArchive("pve1", volid); err != nil || len(l.volids("local")) != 0 {
		t.Errorf("%v %v", err, l.volids("local"))
	}
	for _, err := range []error{l.RemoveArchive("", volid), l.Migrate(100, "pve2"), l.SetLock(999, "x"), l.KillTask(upid), l.SetNodeOnline("pve9", true)} {
		if err == nil {
			t.Error("done to something that is not there")
		}
	}
}

// The digest changes with the lock and comes back with it, as recorded.
func TestDigestFollowsLock(t *testing.T) {
	t.Parallel()
	l := newLab(t, ContractWorld(1, 2), Options{})
	digest := func() any { return l.get("/nodes/pve1/qemu/100/config").object()["digest"] }
	free := digest()
	_ = l.SetLock(100, "snapshot")
	locked := digest()
	_ = l.Unlock(100)
	if free == locked || free != digest() {
		t.Errorf("%v %v %v", free, locked, digest())
	}
}

// Over a real connection: the status line carries the text, errors close the
// connection, a lost answer cuts it.
func TestOverTCP(t *testing.T) {
	t.Parallel()
	s, err := New(ContractWorld(1, 2), Options{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	ts := httptest.NewUnstartedServer(s)
	ts.Config = s.Server()
	ts.Start()
	defer ts.Close()
	ask := func(conn net.Conn, in *bufio.Reader, method, path string) (*http.Response, string, error) {
		_, _ = fmt.Fprintf(conn, "%s /api2/json%s HTTP/1.1\r\nHost: x\r\nAuthorization: PVEAPIToken=%s=%s\r\nContent-Length: 0\r\n\r\n", method, path, SimToken, Secret)
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			return nil, "", err
		}
		body, err := io.ReadAll(res.Body)
		return res, string(body), errors.Join(err, res.Body.Close())
	}
	dial := func() (net.Conn, *bufio.Reader) {
		conn, err := net.Dial("tcp", ts.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn, bufio.NewReader(conn)
	}
	conn, in := dial()
	for range 3 {
		res, body, err := ask(conn, in, "GET", "/version")
		if err != nil || res.Status != "200 OK" || !strings.Contains(body, `"release":"9.2"`) || res.Header.Get("Server") != "pve-api-daemon/3.0" {
			t.Fatal(res, body, err)
		}
	}
	res, body, err := ask(conn, in, "GET", "/nodes/pve1/qemu/999/config")
	if err != nil || res.Status != "500 Configuration file 'nodes/pve1/qemu-server/999.conf' does not exist" || !res.Close || !strings.HasPrefix(body, `{"data":null,"message":"Conf`) {
		t.Errorf("%v %q %v", res, body, err)
	}
	if _, _, err := ask(conn, in, "GET", "/version"); err == nil {
		t.Error("the connection is open after an error")
	}
	conn, in = dial()
	res, body, err = ask(conn, in, "HEAD", "/version")
	if err != nil || res.Status != "501 method 'HEAD' not available" || body != "" {
		t.Errorf("%v %q %v", res, body, err)
	}
	defer s.Inject(Fault{Kind: LostAnswer, Path: "/nodes$"})()
	conn, in = dial()
	if res, _, err := ask(conn, in, "GET", "/nodes"); err == nil {
		t.Errorf("an answer came: %v", res)
	}
	conn, in = dial()
	for i := range 100 {
		res, _, err := ask(conn, in, "GET", "/version")
		if err != nil || res.Close != (i == 99) {
			t.Fatalf("request %d: close %v, %v", i+1, res.Close, err)
		}
	}
	res2, err := http.Post(ts.URL+"/api2/json/nodes/pve1/vzdump", "application/x-www-form-urlencoded", strings.NewReader("x="+strings.Repeat("y", 600_000)))
	if err != nil || res2.Status != "501 for data too large" {
		t.Errorf("%v %v", res2, err)
	}
}

// Inside a bubble time moves by itself, and a client waits as it would.
func TestInsideABubble(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, err := New(ContractWorld(1, 2), Options{Now: time.Now, Sleep: func(ctx context.Context, d time.Duration) {
			select {
			case <-ctx.Done():
			case <-time.After(d):
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		client := &http.Client{Transport: s, Timeout: time.Second}
		began := time.Now()
		_, err = client.Get("https://pve1:8006/api2/json/version")
		if err == nil || time.Since(began) != time.Second {
			t.Errorf("a 401 takes 3 s and the client waits 1 s: %v after %v", err, time.Since(began))
		}
		client.Timeout = 10 * time.Second
		res, err := client.Get("https://pve1:8006/api2/json/version")
		if err != nil || res.Status != "401 No ticket" || time.Since(began) != 4*time.Second {
			t.Fatalf("%v %v after %v", res, err, time.Since(began))
		}
		_ = res.Body.Close()
		upid, err := s.StartForeignBackup("pve1", 100, "local", nil)
		if err != nil {
			t.Fatal(err)
		}
		for s.Tasks()[0].Running() {
			time.Sleep(time.Second)
		}
		if task := s.Tasks()[0]; task.UPID != upid || task.Exit != "OK" || time.Since(task.Start) > 6*time.Second {
			t.Errorf("%+v", task)
		}
	})
}

func BenchmarkNew(b *testing.B) {
	w := ContractWorld(1, 2)
	for b.Loop() {
		if _, err := New(w, Options{Now: time.Now}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCalls(b *testing.B) {
	for _, n := range []int{2, 10_000} {
		s, err := New(ContractWorld(10, n), Options{Now: time.Now})
		if err != nil {
			b.Fatal(err)
		}
		for _, path := range []string{"/nodes/pve1/qemu/100/status/current", "/cluster/resources", "/nodes/pve1/storage"} {
			b.Run(fmt.Sprintf("%d guests%s", n, path), func(b *testing.B) {
				for b.Loop() {
					req := httptest.NewRequest("GET", "/api2/json"+path, nil)
					req.Header.Set("Authorization", "PVEAPIToken="+PortalToken+"="+Secret)
					res, err := s.RoundTrip(req)
					if err != nil || res.StatusCode != 200 {
						b.Fatal(res, err)
					}
				}
			})
		}
	}
}
