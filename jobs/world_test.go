package jobs_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"stowage/jobs"
	"stowage/portal"
	"stowage/pve/pvesim"
	"stowage/store"
)

// clock is a clock that stands until it is moved.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = t
}

// world is a portal with its database and engine, beside a simulated Proxmox VE, under one clock.
type world struct {
	t       testing.TB
	clock   *clock
	sim     *pvesim.Sim
	dir     string
	keys    *store.Keyring
	db      *store.DB
	engine  *jobs.Engine
	server  portal.Server
	product portal.Product
	client  int64
	service portal.Service
	started time.Time
	// wrap, when set, stands between the engine and the simulator.
	wrap func(http.RoundTripper) http.RoundTripper
	// hook is set on every database that is opened.
	hook func(string)
	logs *bytes.Buffer

	// of crash tests
	sc      scenario
	began   time.Time
	synced  time.Time
	ticked  time.Time
	points  int
	recent  []portal.Operation // the newest operations, until something may have changed them
	moved   string             // how far they had come, see progress
	rest    time.Duration      // between two looks while nothing moves
	crashAt []int              // points at which the process dies
	died    string             // the point at which it did
	trouble error              // the first broken promise
	calls   []callSeen
	onCall  []func(n int) // told of every call before it is made
	onStep  []func()      // at every step
	cures   []func()      // end what was made to go wrong

	taken   string       // name of the snapshot that is there at the beginning
	content uint64       // and what is on its disk
	before  pvesim.Guest // the machine at the beginning

	// of two portals on one database
	atPoint   func(n int)
	overtaken func() bool
	manual    bool // the scenario began by hand, in the other portal
}

// callSeen is one request that the engine made.
type callSeen struct{ method, path string }

// worldOptions say what differs from the ordinary world.
type worldOptions struct {
	Release string
	Product func(*portal.Product)
	World   func(*pvesim.World)
	VMID    int
}

// template is a migrated empty database with its key, made once: copying a file is much quicker than migrating.
var template = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "stowage-template-")
	if err != nil {
		return "", err
	}
	if err := store.CreateKey(filepath.Join(dir, "key")); err != nil {
		return "", err
	}
	keys, err := store.ReadKey(filepath.Join(dir, "key"))
	if err != nil {
		return "", err
	}
	at := time.Date(2026, 11, 20, 11, 0, 0, 0, time.UTC)
	db, err := store.Open(store.Options{Path: filepath.Join(dir, "db"), Keys: keys, Now: func() time.Time { return at }, NoSync: true})
	if err != nil {
		return "", err
	}
	ctx := context.Background()
	if _, _, err := db.Migrate(ctx); err != nil {
		return "", err
	}
	if err := db.Ready(ctx); err != nil {
		return "", err
	}
	return dir, db.Close()
})

// scratch makes a folder for one short-lived world, in memory where the machine offers that.
func scratch(t testing.TB) string {
	t.Helper()
	parent := ""
	if s, err := os.Stat("/dev/shm"); err == nil && s.IsDir() {
		parent = "/dev/shm"
	}
	dir, err := os.MkdirTemp(parent, "stowage-world-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func TestMain(m *testing.M) {
	debug.SetGCPercent(400) // thousands of short-lived worlds: time is worth more than memory here
	code := m.Run()
	if dir, err := template(); err == nil {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

// newWorld makes a world with one client and one service: machine 100 of the contract's world, a quota of 3 and
// a schedule of every night at 03:00 in Berlin. It is noon on Friday, 20 November 2026.
func newWorld(t testing.TB, o worldOptions) *world {
	t.Helper()
	w := &world{t: t, started: time.Date(2026, 11, 20, 11, 0, 0, 0, time.UTC), dir: t.TempDir(), logs: &bytes.Buffer{}}
	w.clock = &clock{t: w.started}
	sw := pvesim.ContractWorld(1, 2)
	if o.World != nil {
		o.World(&sw)
	}
	var err error
	if w.sim, err = pvesim.New(sw, pvesim.Options{Release: o.Release, Now: w.clock.Now, Speed: 1, Seed: 1}); err != nil {
		t.Fatal(err)
	}
	from, err := template()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"db", "key"} {
		copyFile(t, filepath.Join(from, name), filepath.Join(w.dir, name))
	}
	if w.keys, err = store.ReadKey(filepath.Join(w.dir, "key")); err != nil {
		t.Fatal(err)
	}
	w.open()
	ctx := context.Background()
	w.server, err = w.db.AddServer(ctx, "cli", portal.Server{Name: "sim", Endpoints: []string{"https://pve1.test:8006"}, TokenID: "portal@pve!api",
		Fingerprints: []string{strings.Repeat("ab", 32)}}, "00000000-0000-4000-8000-000000000001")
	if err != nil {
		t.Fatal(err)
	}
	p := portal.NewProduct("vps")
	p.Quota, p.Storage, p.Protect = 3, "local", 2
	if o.Product != nil {
		o.Product(&p)
	}
	if w.product, err = w.db.AddProduct(ctx, "cli", p); err != nil {
		t.Fatal(err)
	}
	ada, _, err := w.db.AddClient(ctx, "cli", portal.Client{Name: "Ada", Zone: "Europe/Berlin"}, "ada@example.test", "x")
	if err != nil {
		t.Fatal(err)
	}
	w.client = ada.ID
	vmid := o.VMID
	if vmid == 0 {
		vmid = 100
	}
	if w.service, err = w.engine.AdoptMachine(ctx, "cli", w.server, portal.Service{ClientID: w.client, ProductID: w.product.ID, VMID: vmid}, "Europe/Berlin"); err != nil {
		t.Fatal(err)
	}
	if err := w.engine.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	return w
}

// open opens the database and makes an engine, as a process does that starts.
func (w *world) open() {
	w.t.Helper()
	var err error
	if w.db, err = store.Open(store.Options{Path: filepath.Join(w.dir, "db"), Keys: w.keys, Now: w.clock.Now, NoSync: true}); err != nil {
		w.t.Fatal(err)
	}
	db := w.db
	w.t.Cleanup(func() { _ = db.Close() })
	ctx := context.Background()
	if err := w.db.Ready(ctx); err != nil {
		w.t.Fatal(err)
	}
	if err := w.db.RaiseEpoch(ctx, "test"); err != nil {
		w.t.Fatal(err)
	}
	w.db.Hook = w.hook
	w.engine = jobs.New(jobs.Options{
		DB: w.db, Now: w.clock.Now, Workers: 1, RetryPause: time.Microsecond, Log: slog.New(slog.NewTextHandler(w.logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Transport: func(portal.Server) http.RoundTripper {
			var rt http.RoundTripper = w.sim
			if w.wrap != nil {
				rt = w.wrap(rt)
			}
			return rt
		},
	})
}

// restart is what a new process finds after the old one died: only the database.
func (w *world) restart() {
	w.t.Helper()
	hook := w.db.Hook
	w.db.Hook = nil
	if err := w.db.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.hook = hook
	w.open()
}

// close ends the world before its test ends: thousands are made in one test.
func (w *world) close() {
	w.db.Hook = nil
	w.engine.Close()
	_ = w.db.Close()
	_ = os.RemoveAll(w.dir)
}

// round does one of everything at the present instant.
func (w *world) round() {
	w.t.Helper()
	if err := w.engine.Round(context.Background()); err != nil {
		w.t.Fatal(err)
	}
}

// run lets time pass, in steps of at most 10 s, with a round at each.
func (w *world) run(d time.Duration) {
	w.t.Helper()
	w.runUntil(w.clock.Now().Add(d), func() bool { return false })
}

// runUntil lets time pass until done says so or the instant is reached. It gives whether done said so. While
// nothing is going on it leaps to the next instant at which anything can happen.
func (w *world) runUntil(end time.Time, done func() bool) bool {
	w.t.Helper()
	lists := time.Time{}
	for {
		if now := w.clock.Now(); now.Sub(lists) >= 10*time.Minute {
			lists = now
			if err := w.engine.SyncArchives(context.Background()); err != nil {
				w.t.Fatal(err)
			}
		}
		w.round()
		if done() {
			return true
		}
		now := w.clock.Now()
		if !now.Before(end) {
			return false
		}
		next := now.Add(10 * time.Second)
		if !w.busy() {
			next = now.Add(10 * time.Minute)
			if s, err := w.db.Schedule(context.Background(), w.service.ID); err == nil && s.NextDue.After(now) && s.NextDue.Before(next) {
				next = s.NextDue
			}
		}
		if next.After(end) {
			next = end
		}
		w.clock.set(next)
	}
}

// operations gives the service's operations, newest first.
func (w *world) operations() []portal.Operation {
	w.t.Helper()
	ops, err := w.db.ServiceOperations(context.Background(), w.service.ID, 0, 100)
	if err != nil {
		w.t.Fatal(err)
	}
	return ops
}

// busy tells whether any operation is unfinished.
func (w *world) busy() bool {
	ops, err := w.db.ServiceOperations(context.Background(), w.service.ID, 0, 20)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, op := range ops {
		if !op.State.Final() {
			return true
		}
	}
	return false
}

// settle lets time pass until no operation is unfinished.
func (w *world) settle(limit time.Duration) {
	w.t.Helper()
	if !w.runUntil(w.clock.Now().Add(limit), func() bool { return !w.busy() }) {
		w.t.Fatalf("operations are unfinished after %s:\n%s", limit, w.story())
	}
}

// backupNow presses the button.
func (w *world) backupNow(note, replace string) portal.Operation {
	w.t.Helper()
	op, err := w.db.Enqueue(context.Background(), w.client, w.service.UID, portal.ManualBackup("client:test", note, replace))
	if err != nil {
		w.t.Fatal(err)
	}
	return op
}

// every sets the schedule to every night at the time.
func (w *world) every(at string) {
	w.t.Helper()
	s, err := portal.ParseTimeOfDay(at)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.db.SaveSchedule(context.Background(), w.client, w.service.UID, "client:test", portal.EveryDay("Europe/Berlin", s)); err != nil {
		w.t.Fatal(err)
	}
}

// copies gives the service's copies that weren't removed, newest first.
func (w *world) copies() []portal.Backup {
	w.t.Helper()
	b, err := w.db.Backups(context.Background(), w.service.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

// complete gives the complete ones.
func (w *world) complete() []portal.Backup {
	var out []portal.Backup
	for _, b := range w.copies() {
		if b.Complete() {
			out = append(out, b)
		}
	}
	return out
}

// operation reads an operation anew.
func (w *world) operation(id int64) portal.Operation {
	w.t.Helper()
	op, err := w.db.Operation(context.Background(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return op
}

// story tells all that happened, for a failing test.
func (w *world) story() string {
	var b strings.Builder
	ctx := context.Background()
	ops, err := w.db.ServiceOperations(ctx, w.service.ID, 0, 50)
	if err != nil {
		return err.Error()
	}
	for _, op := range ops {
		b.WriteString(string(op.Kind) + " " + string(op.State) + " step " + op.Step + " slot " + op.SlotDate + ": " + op.Reason.String() + " | " + op.StaffReason + " | waits " + op.WaitsFor.String() + "\n")
		steps, _ := w.db.Steps(ctx, op.ID)
		for _, s := range steps {
			b.WriteString("    " + s.At.Format("02 15:04:05") + " " + s.Step + " " + s.What + ": " + s.Text.String() + " | " + s.Staff + "\n")
		}
	}
	for _, c := range w.copies() {
		b.WriteString("copy " + c.Volid + " " + string(c.Class) + " " + c.Reason.String() + "\n")
	}
	for _, a := range w.sim.Archives() {
		b.WriteString("archive " + a.Volid + "\n")
	}
	return b.String() + w.logs.String()
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}
