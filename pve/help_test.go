package pve

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) {
	flag.Parse()
	goleak.VerifyTestMain(m)
}

// now is the instant of every test that doesn't need another.
var now = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// exchange recorded on a real Proxmox VE; origin names the recording and its line.
type recorded struct {
	Name   string          `json:"name"`
	Origin string          `json:"origin"`
	Method string          `json:"method"`
	Path   string          `json:"path"`
	Params map[string]any  `json:"params"`
	Status int             `json:"status"`
	Reason string          `json:"reason"`
	Body   json.RawMessage `json:"body"`
}

// bytes gives the body as the server sent it.
func (r recorded) bytes() []byte {
	var raw struct {
		Raw *string `json:"_raw"`
	}
	if json.Unmarshal(r.Body, &raw) == nil && raw.Raw != nil {
		return []byte(*raw.Raw)
	}
	if string(r.Body) == "null" {
		return nil
	}
	return r.Body
}

func loadLines[T any](t testing.TB, name string) []T {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	var out []T
	s := bufio.NewScanner(f)
	s.Buffer(nil, 64<<20)
	for s.Scan() {
		var v T
		if err := json.Unmarshal(s.Bytes(), &v); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out = append(out, v)
	}
	if s.Err() != nil {
		t.Fatal(s.Err())
	}
	return out
}

func exchanges(t testing.TB) map[string]recorded {
	out := map[string]recorded{}
	for _, r := range loadLines[recorded](t, "testdata/exchanges.jsonl") {
		out[r.Name] = r
	}
	return out
}

// answers is a network that gives what it is told to.
type answers func(*http.Request) (*http.Response, error)

func (f answers) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer func() { _ = r.Body.Close() }()
	}
	return f(r)
}

// answer makes a response as the network would.
func answer(status int, phrase string, body []byte) *http.Response {
	return &http.Response{
		Status: fmt.Sprintf("%d %s", status, phrase), StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json;charset=UTF-8"}, "Date": {now.Format(http.TimeFormat)}},
		Body:   io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}
}

func always(status int, phrase, body string) answers {
	return func(*http.Request) (*http.Response, error) { return answer(status, phrase, []byte(body)), nil }
}

func (r recorded) always() answers {
	return func(*http.Request) (*http.Response, error) { return answer(r.Status, r.Reason, r.bytes()), nil }
}

// clientOver makes a client whose network is rt.
func clientOver(t testing.TB, rt http.RoundTripper, more ...func(*Config)) *Client {
	t.Helper()
	cfg := Config{
		Endpoints: []string{"https://pve1.example:8006"}, TokenID: "portal@pve!api", Secret: "00000000-0000-4000-8000-000000000000",
		Transport: rt, Now: func() time.Time { return now },
	}
	for _, f := range more {
		f(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// calls is every call of the client once, by name. Each gives its result for printing.
var calls = []struct {
	name     string
	mutation bool
	do       func(context.Context, *Client) (any, error)
}{
	{"Version", false, func(ctx context.Context, c *Client) (any, error) { return c.Version(ctx) }},
	{"Permissions", false, func(ctx context.Context, c *Client) (any, error) { return c.Permissions(ctx) }},
	{"PermissionsOn", false, func(ctx context.Context, c *Client) (any, error) { return c.PermissionsOn(ctx, "/vms/100") }},
	{"Resources", false, func(ctx context.Context, c *Client) (any, error) { return c.Resources(ctx) }},
	{"ClusterTasks", false, func(ctx context.Context, c *Client) (any, error) { return c.ClusterTasks(ctx) }},
	{"ClusterRunning", false, func(ctx context.Context, c *Client) (any, error) { return c.ClusterRunning(ctx) }},
	{"Nodes", false, func(ctx context.Context, c *Client) (any, error) { return c.Nodes(ctx) }},
	{"NodeStorages", false, func(ctx context.Context, c *Client) (any, error) { return c.NodeStorages(ctx, "pve1") }},
	{"StorageStatus", false, func(ctx context.Context, c *Client) (any, error) { return c.StorageStatus(ctx, "pve1", "local") }},
	{"StorageConfigs", false, func(ctx context.Context, c *Client) (any, error) { return c.StorageConfigs(ctx) }},
	{"BackupJobs", false, func(ctx context.Context, c *Client) (any, error) { return c.BackupJobs(ctx) }},
	{"GuestStatus", false, func(ctx context.Context, c *Client) (any, error) { return c.GuestStatus(ctx, "pve1", 100) }},
	{"GuestConfig", false, func(ctx context.Context, c *Client) (any, error) { return c.GuestConfig(ctx, "pve1", 100) }},
	{"Archives", false, func(ctx context.Context, c *Client) (any, error) { return c.Archives(ctx, "pve1", "local", 110) }},
	{"Archive", false, func(ctx context.Context, c *Client) (any, error) { return c.Archive(ctx, "pve1", "local", volid) }},
	{"Tasks", false, func(ctx context.Context, c *Client) (any, error) { return c.Tasks(ctx, "pve1", TaskFilter{VMID: 110}) }},
	{"TaskStatus", false, func(ctx context.Context, c *Client) (any, error) { return c.TaskStatus(ctx, upid) }},
	{"TaskLog", false, func(ctx context.Context, c *Client) (any, error) {
		lines, total, err := c.TaskLog(ctx, upid, 0, 100)
		return map[string]any{"lines": lines, "total": total}, err
	}},
	{"Vzdump", true, func(ctx context.Context, c *Client) (any, error) {
		return c.Vzdump(ctx, "pve1", VzdumpRequest{VMID: 110, Storage: "local", Notes: "mark:1"})
	}},
	{"SetArchiveNotes", true, func(ctx context.Context, c *Client) (any, error) {
		return nil, c.SetArchiveNotes(ctx, "pve1", "local", volid, "first\nsecond")
	}},
	{"SetArchiveProtected", true, func(ctx context.Context, c *Client) (any, error) {
		return nil, c.SetArchiveProtected(ctx, "pve1", "local", volid, true)
	}},
	{"DeleteArchive", true, func(ctx context.Context, c *Client) (any, error) { return c.DeleteArchive(ctx, "pve1", "local", volid) }},
	{"Pending", false, func(ctx context.Context, c *Client) (any, error) { return c.Pending(ctx, "pve1", 100) }},
	{"Snapshots", false, func(ctx context.Context, c *Client) (any, error) { return c.Snapshots(ctx, "pve1", 100) }},
	{"SnapshotConfig", false, func(ctx context.Context, c *Client) (any, error) { return c.SnapshotConfig(ctx, "pve1", 100, "first") }},
	{"CanSnapshot", false, func(ctx context.Context, c *Client) (any, error) { return c.CanSnapshot(ctx, "pve1", 100) }},
	{"Images", false, func(ctx context.Context, c *Client) (any, error) { return c.Images(ctx, "pve1", "local", 100) }},
	{"ArchivedConfig", false, func(ctx context.Context, c *Client) (any, error) { return c.ArchivedConfig(ctx, "pve1", volid) }},
	{"NextID", false, func(ctx context.Context, c *Client) (any, error) { return c.NextID(ctx) }},
	{"AgentInterfaces", false, func(ctx context.Context, c *Client) (any, error) { return c.AgentInterfaces(ctx, "pve1", 100) }},
	{"FirewallOptions", false, func(ctx context.Context, c *Client) (any, error) { return c.FirewallOptions(ctx, "pve1", 100) }},
	{"FirewallRules", false, func(ctx context.Context, c *Client) (any, error) { return c.FirewallRules(ctx, "pve1", 100) }},
	{"FirewallAliases", false, func(ctx context.Context, c *Client) (any, error) { return c.FirewallAliases(ctx, "pve1", 100) }},
	{"FirewallIPSets", false, func(ctx context.Context, c *Client) (any, error) { return c.FirewallIPSets(ctx, "pve1", 100) }},
	{"FirewallIPSet", false, func(ctx context.Context, c *Client) (any, error) { return c.FirewallIPSet(ctx, "pve1", 100, "web") }},
	{"SetConfig", true, func(ctx context.Context, c *Client) (any, error) {
		return nil, c.SetConfig(ctx, "pve1", 100, ConfigChange{Set: map[string]string{"cores": "2"}, Password: password})
	}},
	{"StartSetConfig", true, func(ctx context.Context, c *Client) (any, error) {
		return c.StartSetConfig(ctx, "pve1", 100, ConfigChange{Set: map[string]string{"scsi1": "local:1"}, Password: password})
	}},
	{"DetachDisk", true, func(ctx context.Context, c *Client) (any, error) {
		return nil, c.DetachDisk(ctx, "pve1", 100, "scsi1", "")
	}},
	{"DestroyUnused", true, func(ctx context.Context, c *Client) (any, error) {
		return nil, c.DestroyUnused(ctx, "pve1", 100, "unused0", "")
	}},
	{"Resize", true, func(ctx context.Context, c *Client) (any, error) {
		return c.Resize(ctx, "pve1", 100, Disk{Key: "scsi0", SizeBytes: 1 << 30}, 2<<30, "")
	}},
	{"Start", true, func(ctx context.Context, c *Client) (any, error) { return c.Start(ctx, "pve1", 100) }},
	{"Shutdown", true, func(ctx context.Context, c *Client) (any, error) {
		return c.Shutdown(ctx, "pve1", 100, time.Minute, true)
	}},
	{"Stop", true, func(ctx context.Context, c *Client) (any, error) { return c.Stop(ctx, "pve1", 100, true) }},
	{"Reboot", true, func(ctx context.Context, c *Client) (any, error) { return c.Reboot(ctx, "pve1", 100, time.Minute) }},
	{"Reset", true, func(ctx context.Context, c *Client) (any, error) { return c.Reset(ctx, "pve1", 100) }},
	{"CreateSnapshot", true, func(ctx context.Context, c *Client) (any, error) {
		return c.CreateSnapshot(ctx, "pve1", 100, "first", "before the upgrade", true)
	}},
	{"DeleteSnapshot", true, func(ctx context.Context, c *Client) (any, error) {
		return c.DeleteSnapshot(ctx, "pve1", 100, "first", true)
	}},
	{"Rollback", true, func(ctx context.Context, c *Client) (any, error) { return c.Rollback(ctx, "pve1", 100, "first", true) }},
	{"SetSnapshotDescription", true, func(ctx context.Context, c *Client) (any, error) {
		return nil, c.SetSnapshotDescription(ctx, "pve1", 100, "first", "")
	}},
	{"Restore", true, func(ctx context.Context, c *Client) (any, error) {
		return c.Restore(ctx, "pve1", RestoreRequest{VMID: 110, Archive: volid, Over: true})
	}},
	{"Clone", true, func(ctx context.Context, c *Client) (any, error) {
		return c.Clone(ctx, "pve1", CloneRequest{VMID: 100, NewID: 200, Full: true})
	}},
	{"Destroy", true, func(ctx context.Context, c *Client) (any, error) { return c.Destroy(ctx, "pve1", 100, true) }},
	{"RegenerateCloudInit", true, func(ctx context.Context, c *Client) (any, error) { return nil, c.RegenerateCloudInit(ctx, "pve1", 100) }},
	{"AgentPing", true, func(ctx context.Context, c *Client) (any, error) { return nil, c.AgentPing(ctx, "pve1", 100) }},
	{"SetUserPassword", true, func(ctx context.Context, c *Client) (any, error) {
		return nil, c.SetUserPassword(ctx, "pve1", 100, "root", password)
	}},
	{"StopTask", true, func(ctx context.Context, c *Client) (any, error) { return nil, c.StopTask(ctx, upid) }},
}

const password Secret = "gE heim  %+&/<>ä\"\\123 and so on until an error that is cut would be cut within it, so that a part of it might be left over"

const (
	volid    = "local:backup/vzdump-qemu-110-2026_11_20-11_01_40.vma"
	upidText = "UPID:pve1:00005B10:000B4F79:6B002894:vzdump:110:portal@pve!api:"
)

var upid = mustUPID(upidText)

func mustUPID(s string) UPID {
	u, err := ParseUPID(s)
	if err != nil {
		panic(err)
	}
	return u
}

func call(t testing.TB, name string, c *Client) (any, error) {
	t.Helper()
	for _, k := range calls {
		if k.name == name {
			return k.do(context.Background(), c)
		}
	}
	t.Fatalf("no call named %s", name)
	return nil, nil
}

// golden compares a text with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file) // #nosec G304 -- a name of this test
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", name, diff)
	}
}

// seen counts what reached a server.
type seen struct {
	mu   sync.Mutex
	list []string
}

func (s *seen) add(r *http.Request) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, r.Method+" "+strings.TrimPrefix(r.URL.EscapedPath(), "/api2/json"))
	return len(s.list)
}

func (s *seen) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.list)
}

func (s *seen) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.list...)
}
