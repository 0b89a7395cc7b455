package jobs_test

import (
	"context"
	"database/sql"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"stowage/portal"
	"stowage/portal/lang"
	"stowage/pve"
	"stowage/pve/pvesim"
	"stowage/store"
)

// internalWords is what no sentence for a customer may hold: names of nodes, storages and volumes, Proxmox's own
// terms, statuses and paths.
var internalWords = regexp.MustCompile(`(?i)upid|vzdump|qemu|/|\bpve\d|proxmox|\b(401|403|500|595|596|599)\b|vm\.|datastore|sys\.|config lock|lock file|token|\blocal\b|\bshared\b|\bvault\b|uuid|http|listing|authority|epoch`)

// scene is a world whose every sentence for customers is read at the end of the test, in every language: none may hold
// internal words.
func scene(t *testing.T, o worldOptions) *world {
	t.Helper()
	w := newWorld(t, o)
	t.Cleanup(func() {
		if t.Failed() {
			return
		}
		for _, q := range []string{
			`SELECT reason FROM operations UNION SELECT waits_for FROM operations UNION SELECT warning FROM operations`,
			`SELECT text FROM operation_steps`, `SELECT reason FROM slots`, `SELECT reason FROM backups`,
		} {
			for _, kept := range w.column(q) {
				for _, l := range lang.Languages() {
					text := lang.For(l.Tag).Say(portal.Text(kept))
					if hit := internalWords.FindString(text); hit != "" || strings.ContainsFunc(text, unicode.IsControl) {
						t.Errorf("a customer reads %q: %s", hit, text)
					}
				}
			}
		}
	})
	return w
}

// handles are connections of the tests' own to the worlds' databases, by folder.
var handles sync.Map

// raw gives a connection of the test's own to the world's database.
func (w *world) raw() *sql.DB {
	w.t.Helper()
	if db, ok := handles.Load(w.dir); ok {
		return db.(*sql.DB)
	}
	file := url.URL{Scheme: "file", Path: filepath.Join(w.dir, "db")}
	db, err := sql.Open("sqlite3", file.String()+"?_busy_timeout=5000")
	if err != nil {
		w.t.Fatal(err)
	}
	handles.Store(w.dir, db)
	w.t.Cleanup(w.dropRaw)
	return db
}

func (w *world) dropRaw() {
	if db, ok := handles.LoadAndDelete(w.dir); ok {
		_ = db.(*sql.DB).Close()
	}
}

// column gives the first column of a query.
func (w *world) column(query string, args ...any) (out []string) {
	w.t.Helper()
	rows, err := w.raw().QueryContext(context.Background(), query, args...)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var v sql.NullString
		if err := rows.Scan(&v); err != nil {
			w.t.Fatal(err)
		}
		out = append(out, v.String)
	}
	if err := rows.Err(); err != nil {
		w.t.Fatal(err)
	}
	return out
}

// write runs one statement on the database, as nobody but a test does.
func (w *world) write(query string, args ...any) {
	w.t.Helper()
	if _, err := w.raw().ExecContext(context.Background(), query, args...); err != nil {
		w.t.Fatal(err)
	}
}

// told counts the messages of a channel on a topic.
func (w *world) told(channel, topic string) int {
	w.t.Helper()
	return len(w.column(`SELECT uid FROM outbox WHERE channel = ? AND topic = ?`, channel, topic))
}

// until lets time pass up to an instant of 2026, in UTC: "11-21 01:55".
func (w *world) until(when string) {
	w.t.Helper()
	at, err := time.Parse("2006-01-02 15:04", "2026-"+when)
	if err != nil {
		w.t.Fatal(err)
	}
	w.passBy(at, 10*time.Second, time.Minute, time.Hour, func() bool { return false })
}

// pass lets time pass until done says so or the instant is reached: a round every ten seconds while an operation
// runs, every minute while one waits, and with leaps while there is nothing to do. It gives whether done said so.
func (w *world) pass(end time.Time, done func() bool) bool {
	w.t.Helper()
	return w.passBy(end, 10*time.Second, time.Minute, 10*time.Minute, done)
}

// coarsely lets time pass up to an instant with a round every ten minutes.
func (w *world) coarsely(when string) {
	w.t.Helper()
	at, err := time.Parse("2006-01-02 15:04", "2026-"+when)
	if err != nil {
		w.t.Fatal(err)
	}
	w.passBy(at, 10*time.Minute, 10*time.Minute, time.Hour, func() bool { return false })
}

func (w *world) passBy(end time.Time, running, queued, idle time.Duration, done func() bool) bool {
	w.t.Helper()
	listed := time.Time{}
	for {
		now := w.clock.Now()
		if now.Sub(listed) >= 10*time.Minute {
			listed = now
			w.lists()
		}
		w.round()
		if done() {
			return true
		}
		if now = w.clock.Now(); !now.Before(end) {
			return false
		}
		next := now.Add(idle)
		for _, due := range w.column(`SELECT next_due_at FROM schedules WHERE next_due_at IS NOT NULL`) {
			if s, err := strconv.ParseInt(due, 10, 64); err == nil && s > now.Unix() && s < next.Unix() {
				next = time.Unix(s, 0).UTC()
			}
		}
		for _, state := range w.column(`SELECT DISTINCT state FROM operations WHERE state IN ('queued', 'running')`) {
			pause := queued
			if state == "running" {
				pause = running
			}
			if at := now.Add(pause); at.Before(next) {
				next = at
			}
		}
		if next.After(end) {
			next = end
		}
		w.clock.set(next)
	}
}

// waitFor lets time pass until done says so, at most limit.
func (w *world) waitFor(limit time.Duration, what string, done func() bool) {
	w.t.Helper()
	if !w.pass(w.clock.Now().Add(limit), done) {
		w.t.Fatalf("%s did not come about within %s\n%s", what, limit, w.story())
	}
}

// last gives the newest operation of the service.
func (w *world) last() portal.Operation {
	w.t.Helper()
	ops := w.operations()
	if len(ops) == 0 {
		w.t.Fatal("no operation")
	}
	return ops[0]
}

// slot gives the slot of a date of 2026: "11-21".
func (w *world) slot(date string) store.Slot {
	w.t.Helper()
	slots, err := w.db.Slots(context.Background(), w.service.ID, time.Time{})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, s := range slots {
		if s.Date == "2026-"+date {
			return s
		}
	}
	return store.Slot{}
}

// wantSlot holds a slot against a state and a part of its reason ("" for none).
func (w *world) wantSlot(date string, state portal.SlotStatus, reason string) {
	w.t.Helper()
	s := w.slot(date)
	if s.State != state || !strings.Contains(s.Reason.String(), reason) {
		w.t.Fatalf("slot %s is %q (%q), want %q with %q\n%s", date, s.State, s.Reason, state, reason, w.story())
	}
}

// wantCopies holds both the counter and the storage against a number.
func (w *world) wantCopies(rows, archives int) {
	w.t.Helper()
	if got := len(portal.Counted(portal.CopiesOf(w.copies()))); got != rows {
		w.t.Fatalf("the counter shows %d copies, want %d\n%s", got, rows, w.story())
	}
	if got := len(w.sim.Archives()); got != archives {
		w.t.Fatalf("%d archives on the storages, want %d\n%s", got, archives, w.story())
	}
}

// make makes n copies by hand, an hour apart.
func (w *world) make(n int) {
	w.t.Helper()
	for range n {
		op := w.backupNow("", "")
		w.settle(time.Hour)
		if got := w.operation(op.ID); got.State != portal.StateSucceeded {
			w.t.Fatalf("preparing a copy ended %s\n%s", got.State, w.story())
		}
		w.run(time.Hour)
	}
}

// changes gives the changing requests that reached Proxmox or were sent to it, of a method and with a part of the
// path; "" stands for all.
func (w *world) changes(method, part string) (out []pvesim.Call) {
	for _, c := range w.sim.Calls() {
		if (method == "" || c.Method == method) && strings.Contains(c.Path, part) {
			out = append(out, c)
		}
	}
	return out
}

// inject makes a fault happen until it is removed or the test ends.
func (w *world) inject(f pvesim.Fault) (remove func()) { return w.sim.Inject(f) }

// must ends the test on an error.
func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// another adopts a further machine for a client (0: the world's own) of the world's product.
func (w *world) another(client int64, vmid int) *world {
	w.t.Helper()
	if client == 0 {
		client = w.client
	}
	s, err := w.engine.AdoptMachine(context.Background(), "cli", w.server, portal.Service{ClientID: client, ProductID: w.product.ID, VMID: vmid}, "Europe/Berlin")
	if err != nil {
		w.t.Fatal(err)
	}
	other := *w
	other.service, other.client = s, client
	return &other
}

// newClient adds a client.
func (w *world) newClient(name string) int64 {
	w.t.Helper()
	c, _, err := w.db.AddClient(context.Background(), "cli", portal.Client{Name: name, Zone: "Europe/Berlin"}, strings.ToLower(name)+"@example.test", "x")
	if err != nil {
		w.t.Fatal(err)
	}
	return c.ID
}

// lists makes one full listing of every storage, at this instant.
func (w *world) lists() {
	w.t.Helper()
	if err := w.engine.SyncArchives(context.Background()); err != nil {
		w.t.Fatal(err)
	}
}

// vault is a backup storage of its own, so that its troubles aren't those of the machines' disks.
func vault(edit func(*pvesim.Storage)) worldOptions {
	return worldOptions{
		Product: func(p *portal.Product) { p.Storage = "vault" },
		World: func(sw *pvesim.World) {
			st := pvesim.Storage{Name: "vault", Type: "dir", Content: []string{"backup"}, Total: 250 << 30, Used: 4096}
			if edit != nil {
				edit(&st)
			}
			sw.Storages = append(sw.Storages, st)
		},
	}
}

// twoNodes is a cluster of two hosts with two machines each: 100 and 101 on pve1, 102 and 103 on pve2.
func twoNodes(o worldOptions) worldOptions {
	edit := o.World
	o.World = func(sw *pvesim.World) {
		*sw = pvesim.ContractWorld(2, 4)
		if edit != nil {
			edit(sw)
		}
	}
	return o
}

// broken answers every request with an error of the transport.
type broken struct{ err error }

func (b broken) RoundTrip(*http.Request) (*http.Response, error) { return nil, b.err }

// cut is what a host gives that is not there at all.
func cut() error {
	return &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connect: no route to host")}
}

// apart gives Proxmox a clock of its own, which goes on as if nothing were, whatever ours does: the returned value
// is how far it lies behind ours. The machines and archives stay.
func (w *world) apart() *time.Duration {
	w.t.Helper()
	behind := new(time.Duration)
	sw := pvesim.ContractWorld(1, 2)
	sw.Archives = w.sim.Archives()
	var err error
	w.sim, err = pvesim.New(sw, pvesim.Options{Now: func() time.Time { return w.clock.Now().Add(-*behind) }, Speed: 1, Seed: 1})
	w.must(err)
	w.restart()
	return behind
}

// volids gives the volids of archives, in order of time.
func volids(archives []pvesim.Archive) []string {
	out := make([]string, len(archives))
	for i, a := range archives {
		out[i] = a.Volid
	}
	return out
}

// newRecorder takes down an answer in JSON.
func newRecorder() *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	rec.Header().Set("Content-Type", "application/json")
	return rec
}

// ask presses a button and gives what it queued.
func (w *world) ask(r portal.Request) portal.Operation {
	w.t.Helper()
	op, err := w.db.Enqueue(context.Background(), w.client, w.service.UID, r)
	if err != nil {
		w.t.Fatal(err)
	}
	return op
}

// machine gives the service's machine as it stands on its host.
func (w *world) machine() pvesim.Guest {
	w.t.Helper()
	for _, g := range w.sim.Guests() {
		if g.VMID == w.service.VMID {
			return g
		}
	}
	w.t.Fatal("no machine")
	return pvesim.Guest{}
}

// config reads the machine's config as an administrator does.
func (w *world) config() pve.GuestConfig {
	w.t.Helper()
	c, err := pve.New(pve.Config{Endpoints: []string{"https://pve1.test:8006"}, TokenID: pvesim.SimToken, Secret: pvesim.Secret, Transport: w.sim, Now: w.clock.Now})
	if err != nil {
		w.t.Fatal(err)
	}
	for tries := 0; ; tries++ { // a fault that waits for some call may strike this one
		config, err := c.GuestConfig(context.Background(), w.machine().Node, w.service.VMID)
		if err == nil {
			return config
		}
		if tries == 5 {
			w.t.Fatal(err)
		}
	}
}
