package jobs_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stowage/portal"
	"stowage/pve/pvesim"
)

// highWater counts archives at every request and gives the most there ever were.
func (w *world) highWater() func() int {
	most := 0
	w.wrap = func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			most = max(most, len(w.sim.Archives()))
			return next.RoundTrip(r)
		})
	}
	w.restart()
	return func() int { return most }
}

// order gives the changes that were sent, as "dump" and "delete" with what they cost.
func (w *world) order() string {
	var out []string
	for _, c := range w.sim.Calls() {
		switch {
		case c.Method == "POST" && strings.HasSuffix(c.Path, "/vzdump"):
			out = append(out, "dump")
		case c.Method == "DELETE" && strings.Contains(c.Path, "/content/"):
			out = append(out, "delete")
		}
	}
	return strings.Join(out, " ")
}

// TestEvictTimings holds each policy against what it promises: what is sent in which order, and how many archives
// there are at most.
func TestEvictTimings(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name        string
		policy      portal.Policy
		quota, most int
		nights      string
	}{
		{"before", portal.Policy{Eviction: portal.EvictBefore, LastCopy: portal.LastOverlap}, 2, 2, "delete dump delete dump"},
		{"after", portal.Policy{Eviction: portal.EvictAfter, LastCopy: portal.LastOverlap}, 2, 3, "dump delete dump delete"},
		{"overlap", portal.Policy{Eviction: portal.EvictBefore, LastCopy: portal.LastOverlap}, 1, 2, "dump delete dump delete"},
		{"after-one", portal.Policy{Eviction: portal.EvictAfter, LastCopy: portal.LastHold}, 1, 2, "dump delete dump delete"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := scene(t, worldOptions{Product: func(p *portal.Product) { p.Quota, p.Policy = c.quota, c.policy }})
			w.make(c.quota)
			before := w.order()
			most := w.highWater()
			w.every("03:00")
			w.until("11-22 12:00")
			w.wantSlot("11-21", portal.SlotDone, "")
			w.wantSlot("11-22", portal.SlotDone, "")
			w.wantCopies(c.quota, c.quota)
			if got := strings.TrimSpace(strings.TrimPrefix(w.order(), before)); got != c.nights {
				t.Errorf("sent %q, want %q", got, c.nights)
			}
			if got := most(); got != c.most {
				t.Errorf("there were %d archives at most, want %d", got, c.most)
			}
		})
	}
}

// TestEvictHold keeps the only copy and makes no new one.
func TestEvictHold(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{Product: func(p *portal.Product) {
		p.Quota, p.Policy = 1, portal.Policy{Eviction: portal.EvictBefore, LastCopy: portal.LastHold}
	}})
	w.make(1)
	sent := len(w.sim.Calls())
	w.every("03:00")
	w.until("11-21 03:00")
	w.wantSlot("11-21", portal.SlotSkipped, portal.ReasonHold.String())
	if got := len(w.sim.Calls()) - sent; got != 0 {
		t.Errorf("%d changes sent", got)
	}
	w.wantCopies(1, 1)
}

// TestEvictAllProtected skips the slot, tells the client, and goes on when a protection has ended.
func TestEvictAllProtected(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{Product: func(p *portal.Product) { p.Quota, p.Protect = 2, 2 }})
	w.make(2)
	for _, c := range w.complete() {
		w.protect(c.UID, true)
	}
	_, err := w.db.Enqueue(context.Background(), w.client, w.service.UID, portal.ManualBackup("client:test", "", ""))
	if portal.CodeOf(err) != portal.CodeQuota || !strings.Contains(err.Error(), "Every one of them is protected") {
		t.Errorf("by hand: %v", err)
	}
	w.every("03:00")
	w.until("11-21 03:00")
	w.wantSlot("11-21", portal.SlotSkipped, portal.ReasonAllProtected.String())
	w.wantCopies(2, 2)
	if n := w.told("mail", "backup.all_protected"); n != 1 {
		t.Errorf("%d mails", n)
	}
	if got := w.order(); got != "dump dump" {
		t.Errorf("sent %q", got)
	}
	free := w.oldest()
	w.protect(free.UID, false)
	w.until("11-22 03:00")
	w.wantSlot("11-22", portal.SlotDone, "")
	w.wantCopies(2, 2)
	for _, a := range w.sim.Archives() {
		if a.Volid == free.Volid {
			t.Error("the one that isn't protected is still there")
		}
	}
}

// protect sets or ends a protection and waits for it.
func (w *world) protect(uid string, on bool) {
	w.t.Helper()
	op, err := w.db.Enqueue(context.Background(), w.client, w.service.UID, portal.ProtectBackup("client:test", uid, on))
	if err != nil {
		w.t.Fatal(err)
	}
	w.settle(time.Hour)
	if got := w.operation(op.ID); got.State != portal.StateSucceeded {
		w.t.Fatalf("protection: %s: %s\n%s", got.State, got.Reason, w.story())
	}
}

// TestEvictOverQuota replaces one for one where there are more copies than the quota, the new one first.
func TestEvictOverQuota(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{Product: func(p *portal.Product) { p.Quota = 4 }})
	w.make(4)
	quota := 2
	w.must(w.db.SetServiceQuota(context.Background(), "cli", w.service.UID, &quota))
	w.every("03:00")
	w.until("11-22 12:00")
	w.wantSlot("11-22", portal.SlotDone, "")
	w.wantCopies(4, 4)
	if got := w.order(); got != "dump dump dump dump dump delete dump delete" {
		t.Errorf("sent %q", got)
	}
}

// TestEvictPinned leaves alone what another operation names: the next oldest goes.
func TestEvictPinned(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{})
	w.make(3)
	all := w.complete() // newest first
	w.every("03:00")
	w.until("11-21 01:59")
	w.inject(pvesim.Fault{Kind: pvesim.LostRequest, Method: "PUT", Count: 2})
	op, err := w.db.Enqueue(context.Background(), w.client, w.service.UID, portal.ProtectBackup("client:test", all[2].UID, true))
	if err != nil {
		t.Fatal(err)
	}
	w.until("11-21 03:00")
	if got := w.operation(op.ID); got.State != portal.StateSucceeded {
		t.Fatalf("protection: %s: %s\n%s", got.State, got.StaffReason, w.story())
	}
	w.wantSlot("11-21", portal.SlotDone, "")
	w.wantCopies(3, 3)
	gone := w.changes("DELETE", "/content/")
	if len(gone) != 1 || !strings.HasSuffix(gone[0].Path, all[1].Volid) {
		t.Errorf("deleted %+v, want %s", gone, all[1].Volid)
	}
}

// verdicts puts verifications into listings, as a Proxmox Backup Server gives them.
type verdicts struct {
	next  http.RoundTripper
	state map[string]string // by volid
}

func (v verdicts) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := v.next.RoundTrip(r)
	if err != nil || r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, "/content") {
		return resp, err
	}
	var body map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
		return nil, err
	}
	list, _ := body["data"].([]any)
	for _, e := range list {
		entry := e.(map[string]any)
		if s := v.state[entry["volid"].(string)]; s != "" {
			entry["verification"] = map[string]string{"state": s}
		}
	}
	raw, err := json.Marshal(body)
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(raw)), int64(len(raw))
	return resp, err
}

// TestEvictFailedVerification removes the copy whose check failed before any older one that is sound.
func TestEvictFailedVerification(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{})
	w.make(3)
	bad := w.complete()[0] // the newest
	w.wrap = func(next http.RoundTripper) http.RoundTripper {
		return verdicts{next, map[string]string{bad.Volid: "failed"}}
	}
	w.restart()
	w.run(15 * time.Minute)
	if c := w.complete()[0]; c.Verification != "failed" {
		t.Fatalf("verification %q", c.Verification)
	}
	w.every("03:00")
	w.until("11-21 03:00")
	w.wantSlot("11-21", portal.SlotDone, "")
	w.wantCopies(3, 3)
	if gone := w.changes("DELETE", "/content/"); len(gone) != 1 || !strings.HasSuffix(gone[0].Path, bad.Volid) {
		t.Errorf("deleted %+v, want %s", gone, bad.Volid)
	}
}

// TestEvictBrake stops automatic deletions where there were far more than usual, tells staff once, and goes on
// when they say so.
func TestEvictBrake(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{})
	w.make(3)
	w.every("03:00")
	w.until("11-21 01:50")
	for i := range 10 {
		w.write(`INSERT INTO backups (uid, service_id, server_id, node, storage, volid, vmid, class, origin, started_at, removed_at, removed_how)
			VALUES (?, ?, ?, 'pve1', 'local', ?, 100, 'good', 'scheduled', 1, ?, 'evicted')`,
			fmt.Sprintf("gone%d", i), w.service.ID, w.server.ID, fmt.Sprintf("local:backup/gone%d", i), w.clock.Now().Unix())
	}
	w.until("11-21 02:30")
	op := w.last()
	if op.State != portal.StateQueued || op.WaitsFor.String() != "there is no free place, and nothing is removed by itself right now" || !strings.Contains(op.StaffReason, "brake") {
		t.Errorf("%s, waits for %q, staff %q", op.State, op.WaitsFor, op.StaffReason)
	}
	if got := w.order(); got != "dump dump dump" {
		t.Errorf("sent %q", got)
	}
	if n := w.told("staff", "storage.brake"); n != 1 {
		t.Errorf("staff were told %d times", n)
	}
	w.until("11-21 03:30") // an hour later it is still on: only a person lets it go
	row, err := w.db.StorageAt(context.Background(), w.server.ID, "pve1", "local")
	if err != nil || row.BrakeSince.IsZero() {
		t.Fatalf("the brake is off by itself: %v", err)
	}
	w.must(w.db.SetBrake(context.Background(), "staff:test", row.Storage, false, "a move of machines"))
	w.until("11-21 04:00")
	w.wantSlot("11-21", portal.SlotLate, "")
	w.wantCopies(3, 3)
}

// putBack puts an earlier copy of the database in the place of the present one, and starts a new process on it.
func (w *world) putBack(from string) {
	w.t.Helper()
	w.dropRaw()
	w.must(w.db.Close())
	for _, end := range []string{"-wal", "-shm"} {
		_ = os.Remove(filepath.Join(w.dir, "db"+end))
	}
	w.must(os.Remove(filepath.Join(w.dir, "db")))
	copyFile(w.t, from, filepath.Join(w.dir, "db"))
	w.open()
}

// TestEvictRecovery puts an older database back: nothing is deleted until every storage was listed twice, what the
// newer life made is adopted by its marks, and the oldest goes as if nothing had happened.
func TestEvictRecovery(t *testing.T) {
	t.Parallel()
	for _, age := range []time.Duration{5 * time.Minute, 48 * time.Hour} {
		t.Run(age.String(), func(t *testing.T) {
			t.Parallel()
			w := scene(t, worldOptions{Product: func(p *portal.Product) { p.Quota = 4 }})
			w.make(2)
			w.every("03:00")
			w.until("11-21 01:59")
			old := filepath.Join(w.dir, "older")
			w.must(w.db.CopyTo(context.Background(), old))
			w.pass(w.clock.Now().Add(age), func() bool { return false })
			archives := w.sim.Archives()
			w.putBack(old)
			sent := len(w.sim.Calls())
			if age > 10*time.Minute {
				if p, err := w.db.Pulse(context.Background()); err != nil || !p.Recovering {
					t.Fatalf("not recovering from a lease of %s ago: %v", age, err)
				}
				if n := w.told("staff", "recovery.begin"); n != 1 {
					t.Errorf("staff were told %d times", n)
				}
			}
			w.lists()
			p, err := w.db.Pulse(context.Background())
			if err != nil || !p.Recovering {
				t.Fatalf("one listing, recovering %t, %v", p.Recovering, err)
			}
			for range 30 { // after two days: over the instant at which a backup falls due that needs room
				w.round()
				w.clock.set(w.clock.Now().Add(10 * time.Second))
			}
			if op := w.last(); age > time.Hour && (op.State != portal.StateQueued || !strings.Contains(op.StaffReason, "recovery")) {
				t.Errorf("%s, staff read %q", op.State, op.StaffReason)
			}
			for _, c := range w.sim.Calls()[sent:] {
				if c.Method == "DELETE" {
					t.Errorf("deleted while recovering: %s", c.Path)
				}
			}
			w.pass(w.clock.Now().Add(24*time.Hour), func() bool { return false })
			if p, err = w.db.Pulse(context.Background()); err != nil || p.Recovering {
				t.Errorf("still recovering: %v", err)
			}
			for _, a := range archives {
				m, _, valid := portal.ReadMark(a.Notes, w.db.MarkKey())
				if !valid || m.Service != w.service.UID {
					t.Errorf("archive %s has the mark %+v", a.Volid, m)
				}
			}
			for _, b := range w.copies() {
				if b.Class == portal.ClassExternal {
					t.Errorf("%s isn't ours any more", b.Volid)
				}
			}
			w.wantCopies(4, 4)
		})
	}
}

// TestEvictRecoveryEnds doesn't wait for storages that nobody's archives go to: one of a product that isn't sold yet,
// and one of the same name on a server without services.
func TestEvictRecoveryEnds(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{})
	ctx := context.Background()
	p := portal.NewProduct("not sold yet")
	p.Storage = "keep2"
	_, err := w.db.AddProduct(ctx, "cli", p)
	w.must(err)
	_, err = w.db.AddServer(ctx, "cli", portal.Server{Name: "empty", Endpoints: []string{"https://pve9.test:8006"}, TokenID: pvesim.PortalToken, Fingerprints: w.server.Fingerprints}, pvesim.Secret)
	w.must(err)
	w.make(1)
	w.clock.set(w.clock.Now().Add(time.Hour))
	w.restart()
	if pulse, err := w.db.Pulse(ctx); err != nil || !pulse.Recovering {
		t.Fatalf("not recovering: %v", err)
	}
	w.run(time.Hour)
	if pulse, err := w.db.Pulse(ctx); err != nil || pulse.Recovering {
		t.Errorf("still recovering after an hour of listings: %v", err)
	}
}

// TestEvictClockOff sets the server's clock apart: a server whose clock is ten minutes off sees no deletion, but a
// backup with a free place.
func TestEvictClockOff(t *testing.T) {
	t.Parallel()
	for _, skew := range []time.Duration{10 * time.Minute, -10 * time.Minute} {
		t.Run(skew.String(), func(t *testing.T) {
			t.Parallel()
			w := scene(t, worldOptions{})
			w.make(2)
			agree := w.inject(pvesim.Fault{Kind: pvesim.ClockSkew, For: skew})
			w.every("03:00")
			w.until("11-21 03:00")
			w.wantSlot("11-21", portal.SlotDone, "") // a free place needs no clock
			w.wantCopies(3, 3)
			w.until("11-22 03:00")
			op := w.last()
			if op.State != portal.StateQueued || !strings.Contains(op.StaffReason, "clock") || op.WaitsFor.String() != "there is no free place, and nothing is removed by itself right now" {
				t.Errorf("%s, waits for %q, staff %q", op.State, op.WaitsFor, op.StaffReason)
			}
			if n := len(w.changes("DELETE", "")); n != 0 {
				t.Errorf("%d deletions", n)
			}
			agree()
			w.until("11-22 04:00")
			w.wantSlot("11-22", portal.SlotLate, "")
			w.wantCopies(3, 3)
		})
	}
}

// TestEvictFailingNights shows what five failing nights leave: at most one copy went for them.
func TestEvictFailingNights(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{})
	w.make(3)
	w.every("03:00")
	w.inject(pvesim.Fault{Kind: pvesim.TaskFails, Method: "POST", Path: `/vzdump$`, Share: 0.5})
	w.until("11-25 12:00")
	for _, date := range []string{"11-21", "11-22", "11-23", "11-24", "11-25"} {
		w.wantSlot(date, portal.SlotFailed, "")
	}
	if n := len(w.changes("DELETE", "/content/")); n > 1 {
		t.Errorf("%d copies were removed for backups that failed", n)
	}
	if n := len(w.complete()); n < 2 {
		t.Errorf("%d copies are left of 3", n)
	}
	if n := w.told("mail", "backup.failed"); n != 5 {
		t.Errorf("%d mails about five failed nights", n)
	}
}
