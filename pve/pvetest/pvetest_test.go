package pvetest_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stowage/pve"
	"stowage/pve/pvesim"
	"stowage/pve/pvetest"
)

// clock is a hand-moved clock.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) sleep(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
	return ctx.Err()
}

// bench is a simulator behind HTTPS and a target that names it.
type bench struct {
	sim    *pvesim.Sim
	target pvetest.Target
}

func newBench(t *testing.T, release string, world pvesim.World, wrap func(http.Handler) http.Handler, plain bool) *bench {
	t.Helper()
	c := &clock{at: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)}
	sim, err := pvesim.New(world, pvesim.Options{Release: release, Now: c.now, Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	ts := httptest.NewUnstartedServer(sim)
	ts.Config = sim.Server()
	if wrap != nil {
		ts.Config.Handler = wrap(sim)
	}
	ts.Config.ErrorLog = log.New(io.Discard, "", 0) // that a certificate is refused is part of it
	b := &bench{sim, pvetest.Target{
		TokenID: pvesim.PortalToken, Secret: pvesim.Secret, Node: "pve1", Storage: "local", VMID: 100,
		Now: c.now, Sleep: c.sleep,
	}}
	if plain {
		ts.Start()
	} else {
		ts.StartTLS()
		b.target.Fingerprint = pve.WithColons(fmt.Sprintf("%x", sha256.Sum256(ts.Certificate().Raw)))
		b.target.Log = func(line string) { t.Log(line) }
	}
	b.target.URL = ts.URL
	t.Cleanup(ts.Close)
	return b
}

// run gives the differences as lines, and holds that everything is as it was.
func (b *bench) run(t *testing.T) []string {
	t.Helper()
	before := b.sim.Archives()
	guests := b.sim.Guests()
	differences, err := b.target.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, d := range differences {
		out = append(out, d.String())
	}
	if d := cmp.Diff(before, b.sim.Archives()); d != "" {
		t.Errorf("archives before and after: %s", d)
	}
	if d := cmp.Diff(guests, b.sim.Guests()); d != "" {
		t.Errorf("machines before and after: %s", d)
	}
	for _, task := range b.sim.Tasks() {
		if task.Running() {
			t.Errorf("%s still runs", task.UPID)
		}
	}
	return out
}

// TestSimulator: the simulator is as the portal expects, in both releases, for a machine that runs and one that
// doesn't, alone and in a cluster, with the least privilege and with more.
func TestSimulator(t *testing.T) {
	t.Parallel()
	for _, release := range []string{"8.4", "9.2"} {
		for name, change := range map[string]func(*bench){
			"running":        func(*bench) {},
			"stopped":        func(b *bench) { b.target.VMID = 101 },
			"more privilege": func(b *bench) { b.target.TokenID = pvesim.SimToken },
		} {
			t.Run(release+" "+name, func(t *testing.T) {
				t.Parallel()
				b := newBench(t, release, pvesim.ContractWorld(1, 2), nil, false)
				change(b)
				if got := b.run(t); len(got) != 0 {
					t.Errorf("differs:\n%s", strings.Join(got, "\n"))
				}
			})
		}
		t.Run(release+" cluster", func(t *testing.T) {
			t.Parallel()
			b := newBench(t, release, pvesim.ContractWorld(3, 6), nil, false)
			b.target.Node, b.target.VMID, b.target.Storage = "pve2", 102, "shared"
			if err := b.sim.AddArchive(pvesim.Archive{Storage: "shared", VMID: 102, Time: b.target.Now().Add(-time.Hour), Size: 1 << 20, Notes: "somebody's"}); err != nil {
				t.Fatal(err)
			}
			if got := b.run(t); len(got) != 0 {
				t.Errorf("differs:\n%s", strings.Join(got, "\n"))
			}
		})
	}
}

// TestChanges: the simulator is as the portal expects where the machine may be changed too, and that the machine is as
// it was afterwards, but for what a restore makes anew.
func TestChanges(t *testing.T) {
	t.Parallel()
	for _, release := range []string{"8.4", "9.2"} {
		for name, vmid := range map[string]int{"running": 100, "stopped": 101} {
			t.Run(release+" "+name, func(t *testing.T) {
				t.Parallel()
				world := pvesim.ContractWorld(1, 2)
				world.Guests[0].Agent = "1"
				b := newBench(t, release, world, nil, false)
				b.target.TokenID, b.target.VMID, b.target.Destroy = pvesim.SimToken, vmid, true
				if got := b.changed(t); len(got) != 0 {
					t.Errorf("differs:\n%s", strings.Join(got, "\n"))
				}
			})
		}
	}
}

// TestChangesAreUndone: also where something goes wrong half-way.
func TestChangesAreUndone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault pvesim.Fault
		want  string
	}{
		"a snapshot that fails":  {pvesim.Fault{Kind: pvesim.TaskFails, Method: "POST", Path: "/snapshot$", Nth: 1, Count: 1}, "snapshots: a snapshot: its task ended"},
		"a stop that is refused": {pvesim.Fault{Kind: pvesim.Refuse, Status: 500, Reason: "no", Path: "/status/stop$", Nth: 1, Count: 1}, "power: stopping: proxmox"},
		"a growth that fails":    {pvesim.Fault{Kind: pvesim.TaskFails, Path: "/resize$", Nth: 1, Count: 1}, "disks: growing: its task ended"},
		"a restore that fails":   {pvesim.Fault{Kind: pvesim.TaskFails, Method: "POST", Path: "/qemu$", Nth: 4, Count: 1}, "restore: the restore: its task ended"},
		"a clone that is lost":   {pvesim.Fault{Kind: pvesim.LostAnswer, Method: "POST", Path: "/clone$", Nth: 2, Count: 1}, "clone: a clone: proxmox"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, "9.2", pvesim.ContractWorld(1, 2), nil, false)
			b.target.TokenID, b.target.Destroy = pvesim.SimToken, true
			b.sim.Inject(c.fault)
			got := b.changed(t)
			if !slices.ContainsFunc(got, func(line string) bool { return strings.HasPrefix(line, c.want) }) {
				t.Errorf("no line begins %q:\n%s", c.want, strings.Join(got, "\n"))
			}
		})
	}
}

// TestChangesGivenUp: whoever gives up in the midst of the changes gets the machine back too.
func TestChangesGivenUp(t *testing.T) {
	t.Parallel()
	for at := 4; at <= 24; at += 4 {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			t.Parallel()
			ctx, give := context.WithCancel(t.Context())
			defer give()
			var changes atomic.Int32
			var begun, leaving atomic.Bool
			b := newBench(t, "9.2", pvesim.ContractWorld(1, 2), func(inner http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if begun.Load() && !leaving.Load() && r.Method != http.MethodGet && changes.Add(1) == int32(at) {
						body, _ := io.ReadAll(r.Body)
						r.Body = io.NopCloser(bytes.NewReader(body))
						give()
						<-r.Context().Done()
					}
					inner.ServeHTTP(w, r)
				})
			}, true)
			b.target.TokenID, b.target.Destroy = pvesim.SimToken, true
			b.target.Log = func(line string) {
				begun.Store(begun.Load() || line == "configuration")
				leaving.Store(leaving.Load() || line == "afterwards")
			}
			before := same(b.sim.Guests())
			if _, err := b.target.Run(ctx); !errors.Is(err, context.Canceled) {
				t.Fatalf("not given up: %v", err)
			}
			if d := cmp.Diff(before, same(b.sim.Guests())); d != "" {
				t.Errorf("machines before and after: %s", d)
			}
			if left := b.sim.Archives(); len(left) != 0 {
				t.Errorf("it leaves %v", left)
			}
		})
	}
}

// TestChangesNeedRights: a token that may not do all of it changes nothing, and hears why.
func TestChangesNeedRights(t *testing.T) {
	t.Parallel()
	b := newBench(t, "9.2", pvesim.ContractWorld(1, 2), nil, false)
	b.target.Destroy = true
	if got := b.run(t); !slices.Contains(got, "changes: to destroy the token lacks VM.Allocate on /vms/100") {
		t.Errorf("%s", strings.Join(got, "\n"))
	}
}

// same leaves out what a restore makes anew.
func same(guests []pvesim.Guest) []pvesim.Guest {
	for i := range guests {
		delete(guests[i].Config, "vmgenid")
		guests[i].Memory, guests[i].Cores = max(guests[i].Memory, 128), max(guests[i].Cores, 1) // the defaults, written out
		for j := range guests[i].Disks {
			d := &guests[i].Disks[j]
			d.Content, d.Origin, d.Used, d.SizeText, d.Volume = 0, 0, 0, "", ""
		}
	}
	return guests
}

// changed is run for a target that may be changed.
func (b *bench) changed(t *testing.T) []string {
	t.Helper()
	before, archives := same(b.sim.Guests()), b.sim.Archives()
	differences, err := b.target.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(before, same(b.sim.Guests())); d != "" {
		t.Errorf("machines before and after: %s", d)
	}
	if d := cmp.Diff(archives, b.sim.Archives()); d != "" {
		t.Errorf("archives before and after: %s", d)
	}
	for _, task := range b.sim.Tasks() {
		if task.Running() {
			t.Errorf("%s still runs", task.UPID)
		}
	}
	var out []string
	for _, d := range differences {
		out = append(out, d.String())
	}
	return out
}

// edited hands the API's answers on, changed where a test wants them changed.
func edited(method, path string, change func(string) string) func(http.Handler) http.Handler {
	return func(inner http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != method || !strings.HasSuffix(r.URL.Path, path) {
				inner.ServeHTTP(w, r)
				return
			}
			rec := httptest.NewRecorder()
			inner.ServeHTTP(rec, r)
			body := change(rec.Body.String())
			for k, v := range rec.Header() {
				if k != "Content-Length" {
					w.Header()[k] = v
				}
			}
			w.WriteHeader(rec.Code)
			_, _ = io.Copy(w, bytes.NewBufferString(body))
		})
	}
}

func replace(old, with string) func(string) string {
	return func(s string) string { return strings.ReplaceAll(s, old, with) }
}

// TestNotices: what is otherwise than the portal expects is said in a line of its own, and nothing stays behind.
func TestNotices(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		wrap   func(http.Handler) http.Handler
		injure func(*bench)
		want   string
	}{
		"the lock is not shown": {edited("GET", "/status/current", replace(`"lock":"backup",`, "")), nil, `backup: the machine's status has the lock "", expected backup`},
		"the mark is cut off":   {edited("GET", "/content", replace(`"notes":"pvetest:`, `"notes":"x`)), nil, "backup: its notes begin"},
		"a locked node says OK": {edited("GET", "/status", replace(`"unexpected status"`, `"OK"`)), nil, "backup: a second backup that does not wait: its task ended"},
		"a deletion that is refused": {nil, func(b *bench) {
			b.sim.Inject(pvesim.Fault{Kind: pvesim.TaskFails, Method: "DELETE", Path: "/content/", Nth: 2, Count: 1})
		}, `deletion: deleting ended "job failed with err -5 - Input/output error"`},
		"a backup that fails": {nil, func(b *bench) {
			b.sim.Inject(pvesim.Fault{Kind: pvesim.TaskFails, Path: "/vzdump$", Nth: 7, Count: 1, Share: 0.5})
		}, `backup: the backup ended "job errors"`},
		"a storage that prunes":       {nil, func(b *bench) { b.target.Storage = "keep2" }, "inventory: storage keep2 prunes by itself (keep-last=2)"},
		"a privilege that is missing": {nil, func(b *bench) { _ = b.sim.SetPrivileges(pvesim.PortalToken, "/", "VM.Audit") }, "rights: the token lacks VM.Backup on /vms/100"},
		"a machine that is locked":    {nil, func(b *bench) { _ = b.sim.SetLock(100, "snapshot") }, "machine: it is locked"},
		"a machine that is not there": {nil, func(b *bench) { b.target.VMID = 999 }, "machine: machine 999 is not among the resources"},
		"another certificate":         {nil, func(b *bench) { b.target.Fingerprint = strings.Repeat("cd", 32) }, "connection: the version: proxmox: GET /version: unreachable"},
		"a clock that is ahead":       {nil, func(b *bench) { b.sim.Inject(pvesim.Fault{Kind: pvesim.ClockSkew, For: time.Hour}) }, "connection: its clock differs from ours by 1h"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, "9.2", pvesim.ContractWorld(1, 2), c.wrap, false)
			if c.injure != nil {
				c.injure(b)
			}
			got := b.run(t)
			if !slices.ContainsFunc(got, func(line string) bool { return strings.HasPrefix(line, c.want) }) {
				t.Errorf("no line begins %q:\n%s", c.want, strings.Join(got, "\n"))
			}
			for _, line := range got {
				if strings.Contains(line, "\n") {
					t.Errorf("more than a line: %q", line)
				}
			}
		})
	}
}

// TestGivenUp: whoever gives up half-way leaves nothing behind either, wherever that is: at each request, whose answer
// is lost then, also the one that has started a backup.
func TestGivenUp(t *testing.T) {
	t.Parallel()
	for at := 1; ; at++ {
		ctx, give := context.WithCancel(t.Context())
		var requests atomic.Int32
		var leaving atomic.Bool
		b := newBench(t, "9.2", pvesim.ContractWorld(1, 2), func(inner http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if !leaving.Load() && requests.Add(1) == int32(at) {
					body, _ := io.ReadAll(r.Body) // a client that goes away is noticed once its request is read
					r.Body = io.NopCloser(bytes.NewReader(body))
					give()
					<-r.Context().Done()
				}
				inner.ServeHTTP(w, r)
			})
		}, true)
		b.target.Log = func(line string) { leaving.Store(leaving.Load() || line == "afterwards") }
		_, err := b.target.Run(ctx)
		give()
		if int(requests.Load()) < at {
			if at < 50 {
				t.Errorf("a whole run has only %d requests", at)
			}
			return
		}
		if !errors.Is(err, context.Canceled) {
			t.Errorf("given up at request %d: %v", at, err)
		}
		if left := b.sim.Archives(); len(left) != 0 {
			t.Errorf("given up at request %d, it leaves %v", at, left)
		}
		for _, task := range b.sim.Tasks() {
			if task.Running() {
				t.Errorf("given up at request %d, %s still runs", at, task.UPID)
			}
		}
	}
}

// TestWholeRepertoire: no call of the client is left out.
func TestWholeRepertoire(t *testing.T) {
	t.Parallel()
	var source strings.Builder
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		source.Write(text)
	}
	client := reflect.TypeFor[*pve.Client]()
	for i := range client.NumMethod() {
		name := client.Method(i).Name
		if !strings.Contains(source.String(), "r.pve."+name+"(") && name != "Close" {
			t.Errorf("pve.Client.%s is not tried", name)
		}
	}
}

// TestReal tries the Proxmox VE that the environment names.
func TestReal(t *testing.T) {
	target, err := pvetest.FromEnv(os.Getenv)
	if errors.Is(err, pvetest.ErrNoTarget) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	target.Now = time.Now
	target.Log = func(line string) { t.Log(line) }
	differences, err := target.Run(t.Context())
	if err != nil {
		t.Error(err)
	}
	for _, d := range differences {
		t.Error(d)
	}
}

// TestFromEnv: what is missing is named.
func TestFromEnv(t *testing.T) {
	t.Parallel()
	full := map[string]string{
		pvetest.EnvURL: "https://pve1:8006", pvetest.EnvToken: "portal@pve!stowage=0000", pvetest.EnvFingerprint: "AB:CD",
		pvetest.EnvNode: "pve1", pvetest.EnvStorage: "local", pvetest.EnvVMID: "100",
	}
	env := func(without string) func(string) string {
		return func(name string) string {
			if name == without {
				return ""
			}
			return full[name]
		}
	}
	got, err := pvetest.FromEnv(env(""))
	if err != nil || got.TokenID != "portal@pve!stowage" || got.Secret != "0000" || got.VMID != 100 {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := pvetest.FromEnv(env(pvetest.EnvURL)); !errors.Is(err, pvetest.ErrNoTarget) {
		t.Error(err)
	}
	for name := range full {
		if _, err := pvetest.FromEnv(env(name)); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %v", name, err)
		}
	}
}
