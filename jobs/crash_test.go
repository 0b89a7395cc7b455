package jobs_test

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"stowage/portal"
	"stowage/pve/pvesim"
	"stowage/store"
)

// scenario is one piece of work that is interrupted at every point.
type scenario struct {
	name     string
	copies   int // that exist at the beginning
	quota    int
	policy   portal.Policy
	do       func(*world) // what begins it; nil: the slot that falls due half a minute later
	end      func(*world) error
	troubled func(*world) error // the end where something went wrong on the way; nil: done, or failed with a reason
	always   func(*world) error // what holds in the end also where it could not be done; nil is nothing
	speed    float64            // of the storage; 0 is 1, some 200 MB/s
	faults   int                // faults strike at every so-manieth call; 0 is every one
	points   int                // the process dies at every so-manieth point; 0 is every one

	product func(*portal.Product)
	world   func(*pvesim.World)
	arrange func(*world)      // what is there at the beginning, beside copies
	again   func(*world)      // the same on the machine of every further run
	waits   func(*world) bool // it is not over yet, though no operation is unfinished
	unsafe  bool              // no copy is made before a restore
	person  bool              // somebody presses Retry where it is held
}

var (
	overlap = portal.Policy{Eviction: portal.EvictBefore, LastCopy: portal.LastOverlap}
	after   = portal.Policy{Eviction: portal.EvictAfter, LastCopy: portal.LastOverlap}
)

// scenarios are the workflows with both policies, quotas of one, two and three, and over quota.
func scenarios() []scenario {
	var all []scenario
	for _, p := range []portal.Policy{overlap, after} {
		for _, n := range []struct{ copies, quota int }{{0, 1}, {1, 1}, {2, 2}, {3, 3}, {4, 2}} {
			all = append(all, scenario{name: fmt.Sprintf("%s-%d-of-%d", p.Eviction, n.copies, n.quota), copies: n.copies, quota: n.quota, policy: p, end: oneNewCopy})
		}
	}
	all = append(all, snapshotScenarios()...)
	all = append(all, packageScenarios()...)
	all = append(all, reinstallScenario())
	return append(all,
		// A dump that outlasts the settle window: only its task tells that it was begun.
		scenario{name: "slow", copies: 1, quota: 2, policy: overlap, speed: 0.008, faults: 3, points: 2, end: oneNewCopy},
		scenario{name: "manual-replace", copies: 2, quota: 2, policy: overlap, do: func(w *world) {
			w.press(portal.ManualBackup("client:test", "by hand", w.oldest().UID))
		}, end: oneNewCopy},
		scenario{name: "delete", copies: 2, quota: 3, policy: overlap, do: func(w *world) {
			w.press(portal.RemoveBackup("client:test", w.oldest().UID))
		}, end: func(w *world) error {
			if got := len(w.complete()); got != 1 {
				return fmt.Errorf("%d copies after the removal, want 1", got)
			}
			return nil
		}},
		scenario{name: "protect", copies: 1, quota: 3, policy: overlap, do: func(w *world) {
			w.press(portal.ProtectBackup("client:test", w.oldest().UID, true))
		}, end: func(w *world) error {
			if a := w.sim.Mounted(); len(a) != 1 || !a[0].Protected || !w.complete()[0].Protected {
				return fmt.Errorf("the archive is not protected: %+v", a)
			}
			return nil
		}},
		scenario{name: "restore", copies: 1, quota: 2, policy: overlap, faults: 24, person: true, do: pressRestore, end: restored},
		scenario{name: "restore-without-safety", copies: 1, quota: 2, policy: overlap, faults: 12, unsafe: true, person: true, do: pressRestore, end: restored},
	)
}

func pressRestore(w *world) {
	w.press(portal.RequestRestore("client:test", w.oldest().UID, "h100", true))
}

// restored is the end that a restore must come to: the machine runs, with what the archive holds.
func restored(w *world) error {
	done, err := restoredOrWhole(w)
	if err == nil && !done {
		return fmt.Errorf("no restore has succeeded")
	}
	return err
}

// restoredOrWhole is the end that it must come to when something went wrong: restored, or failed with a machine that
// runs as before. No archive is gone.
func restoredOrWhole(w *world) (done bool, err error) {
	if len(w.complete()) < w.sc.copies {
		return false, fmt.Errorf("%d copies, there were %d", len(w.complete()), w.sc.copies)
	}
	g := w.machine()
	// A restore that was killed leaves volumes that hang on nothing, in Proxmox VE as well.
	g.Disks = slices.DeleteFunc(g.Disks, func(d pvesim.Disk) bool { return d.Key == "" && d.Loose })
	if !g.Running || len(g.Disks) != 1 || g.Stump {
		return false, fmt.Errorf("running %v, disks %+v", g.Running, g.Disks)
	}
	for _, op := range w.operations() {
		if op.Work.Broken {
			return false, fmt.Errorf("the machine is called broken by an operation that is %s", op.State)
		}
		if op.Kind == portal.KindRestore && op.State == portal.StateSucceeded {
			if want := w.archived(w.oldest().Volid, "scsi0"); g.Disks[0].Origin != want {
				return false, fmt.Errorf("the disk holds something else than the archive")
			}
			done = true
		}
		if op.Kind == portal.KindRestore && op.State == portal.StateFailed && op.Reason == "" {
			return false, fmt.Errorf("failed without a reason")
		}
	}
	return done, nil
}

// resumeHeld is the person who sees that a restore has stopped, and presses Retry.
func (w *world) resumeHeld() {
	tries, next := 0, time.Time{}
	w.onStep = append(w.onStep, func() {
		for _, op := range w.last6() {
			if op.State == portal.StateHeld && op.Kind == portal.KindRestore && tries < 4 && !w.clock.Now().Before(next) {
				tries, next = tries+1, w.clock.Now().Add(10*time.Minute)
				if op.Reason == "" || op.StaffReason == "" {
					w.wrong("held without a reason")
				}
				w.alive(func() {
					if _, err := w.db.ResumeRestore(context.Background(), w.client, w.service.UID, op.UID, "", "client:test"); err != nil {
						w.wrong("resume: %v", err)
					}
				})
				w.recent = nil
			}
		}
	})
}

// oneNewCopy is the end that a backup must come to: done, exactly one new good copy, and as many copies as the
// quota allows or, over it, as there were.
func oneNewCopy(w *world) error {
	fresh := 0
	for _, c := range w.complete() {
		if c.StartedAt.After(w.began) {
			fresh++
			if c.Class != portal.ClassGood {
				return fmt.Errorf("the new copy is %s: %s", c.Class, c.Reason)
			}
		}
	}
	if fresh != 1 {
		return fmt.Errorf("%d new copies, want exactly one", fresh)
	}
	if got, most := len(w.complete()), max(w.sc.quota, w.sc.copies); got > most {
		return fmt.Errorf("%d copies, at most %d are allowed", got, most)
	}
	return nil
}

// snapshot is a world put aside: the database's file, the archives, and the time.
type snapshot struct {
	db       []byte
	archives []pvesim.Archive
	at       time.Time
	world    *world
}

// prepare makes the world in which a scenario begins, half a minute before 03:00.
func (sc scenario) prepare(t *testing.T) snapshot {
	w := newWorld(t, worldOptions{World: sc.world, Product: func(p *portal.Product) {
		p.Quota, p.Policy, p.SafetyCopy = max(sc.quota, sc.copies), sc.policy, !sc.unsafe
		if sc.product != nil {
			sc.product(p)
		}
	}})
	for range sc.copies {
		w.backupNow("", "")
		w.settle(time.Hour)
		w.run(time.Hour)
	}
	if sc.copies > sc.quota {
		if err := w.db.SetServiceQuota(context.Background(), "cli", w.service.UID, &sc.quota); err != nil {
			t.Fatal(err)
		}
	}
	if sc.arrange != nil {
		sc.arrange(w)
	}
	if sc.do == nil {
		w.every("03:00")
	}
	w.run(time.Date(2026, 11, 21, 1, 59, 30, 0, time.UTC).Sub(w.clock.Now()))
	if got := len(w.complete()); got != sc.copies {
		t.Fatalf("prepared %d copies, want %d\n%s", got, sc.copies, w.story())
	}
	path := filepath.Join(w.dir, "snapshot")
	if err := w.db.CopyTo(context.Background(), path); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return snapshot{db: raw, archives: w.sim.Archives(), at: w.clock.Now(), world: w}
}

// resume makes a new world from a snapshot.
func (s snapshot) resume(t testing.TB, sc scenario) *world {
	w := *s.world
	w.t, w.dir, w.sc, w.began, w.trouble, w.calls, w.onCall, w.onStep, w.points = t, scratch(t), sc, s.at, nil, nil, nil, nil, 0
	w.ticked, w.synced, w.crashAt, w.logs = time.Time{}, time.Time{}, nil, &bytes.Buffer{}
	w.recent, w.moved, w.rest, w.cures = nil, "", 0, nil
	w.clock = &clock{t: s.at}
	sw := pvesim.ContractWorld(1, 2)
	if sc.world != nil {
		sc.world(&sw)
	}
	sw.Archives = s.archives
	if sc.person {
		sw.Guests[0].Disks[0].Content = 4711 // written since
	}
	var err error
	if w.sim, err = pvesim.New(sw, pvesim.Options{Now: w.clock.Now, Speed: cmp.Or(sc.speed, 1), Seed: 1}); err != nil {
		t.Fatal(err)
	}
	if sc.again != nil {
		sc.again(&w)
	}
	if err := os.WriteFile(filepath.Join(w.dir, "db"), s.db, 0o600); err != nil {
		t.Fatal(err)
	}
	w.wrap = func(rt http.RoundTripper) http.RoundTripper { return &guarded{w: &w, next: rt} }
	w.hook = func(point string) { w.point("db " + point) }
	w.open()
	return &w
}

// point counts the places at which a process can die, and dies at the chosen ones. Goexit ends the goroutine
// through every recover, as the end of a process would.
func (w *world) point(name string) {
	w.points++
	if w.atPoint != nil {
		w.atPoint(w.points)
	}
	if slices.Contains(w.crashAt, w.points) {
		w.died = name
		runtime.Goexit()
	}
}

// press asks for an operation the way a handler does; a crash there is the crash of the process that serves it,
// and the customer presses again.
func (w *world) press(r portal.Request) {
	for range 3 {
		crashed := w.alive(func() {
			_, err := w.db.Enqueue(context.Background(), w.client, w.service.UID, r)
			if err != nil && portal.CodeOf(err) != portal.CodeBusy && portal.CodeOf(err) != portal.CodeConflict {
				w.t.Fatal(err)
			}
		})
		if !crashed {
			return
		}
	}
}

// alive runs f and, where the process dies in it, starts a new one.
func (w *world) alive(f func()) (crashed bool) {
	w.died = ""
	done, finished := make(chan struct{}), false
	go func() {
		defer close(done)
		f()
		finished = true
	}()
	<-done
	if w.died != "" {
		w.restart()
		return true
	}
	if !finished {
		w.t.FailNow() // f has said why
	}
	return false
}

func (w *world) oldest() portal.Backup {
	all := w.complete()
	return all[len(all)-1]
}

// play lets a scenario run to its end, whatever is thrown at it, and gives what is wrong with the outcome.
func (w *world) play() error {
	if w.sc.person {
		w.resumeHeld()
	}
	if w.sc.do != nil {
		w.sc.do(w)
	}
	limit := w.clock.Now().Add(26 * time.Hour)
	idle := 0
	for idle < 3 {
		now := w.clock.Now()
		if now.After(limit) {
			return fmt.Errorf("still unfinished after %s", limit.Sub(w.began))
		}
		for _, f := range w.onStep {
			f()
		}
		w.alive(func() { w.step() })
		w.recent = nil
		ops := w.last6()
		w.watchQuota(ops)
		if w.trouble != nil {
			return w.trouble
		}
		unfinished := slices.ContainsFunc(ops, func(o portal.Operation) bool { return !o.State.Final() })
		unfinished = unfinished || w.sc.waits != nil && w.sc.waits(w)
		if !unfinished && now.After(w.began.Add(time.Minute)) {
			idle++
			w.clock.set(now.Add(20 * time.Second))
			continue
		}
		idle = 0
		if moved := progress(ops); moved != w.moved {
			w.moved, w.rest = moved, 0
		} else {
			w.rest = min(w.rest*3/2+time.Second, time.Minute)
		}
		w.clock.set(later(nextTurn(ops, now), now.Add(w.rest)))
	}
	w.crashAt = nil
	if err := w.engine.SyncArchives(context.Background()); err != nil {
		return err
	}
	return w.judge()
}

// step is a round without what a scenario doesn't need at every instant.
func (w *world) step() {
	ctx := context.Background()
	now := w.clock.Now()
	if now.Sub(w.ticked) >= 15*time.Second {
		w.ticked = now
		if err := w.engine.Tick(ctx); err != nil {
			w.t.Fatal(err)
		}
	}
	if _, err := w.engine.Drive(ctx); err != nil {
		w.t.Fatal(err)
	}
	if err := w.engine.MirrorNotes(ctx); err != nil {
		w.t.Fatal(err)
	}
	if now.Sub(w.synced) >= time.Minute {
		w.synced = now
		if err := w.engine.Sync(ctx); err != nil {
			w.t.Fatal(err)
		}
	}
}

// nextTurn gives the next instant at which an operation is to be looked at, at most a minute away.
func nextTurn(ops []portal.Operation, now time.Time) time.Time {
	next := now.Add(time.Minute)
	for _, op := range ops {
		if !op.State.Final() && op.RunAfter.Before(next) {
			next = op.RunAfter
		}
	}
	if soonest := now.Add(2 * time.Second); next.Before(soonest) {
		return soonest
	}
	return next
}

// later gives the later of two instants.
func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// progress tells apart where the operations stand. While it stays the same, nothing but time passes: such looks come
// further and further apart, up to a minute.
func progress(ops []portal.Operation) string {
	var b strings.Builder
	for _, op := range ops {
		fmt.Fprintln(&b, op.ID, op.State, op.Step, op.UPID, op.IntentAt.Unix(), op.NoTask, op.CleanLooks, op.Attempt, op.Work.Tries, op.VictimID, op.BackupID, op.SnapshotID)
	}
	return b.String()
}

// last6 gives the newest operations of the service as the last step left them.
func (w *world) last6() []portal.Operation {
	if w.recent == nil {
		var err error
		if w.recent, err = w.db.ServiceOperations(context.Background(), w.service.ID, 0, 6); err != nil {
			w.t.Fatal(err)
		}
	}
	return w.recent
}

// wrong notes the first broken promise.
func (w *world) wrong(format string, args ...any) {
	if w.trouble == nil {
		w.trouble = fmt.Errorf(format, args...)
	}
}

// watchQuota holds invariant 3: copies never exceed the quota, or what there was, but for one while an operation
// that removes afterwards is unfinished.
func (w *world) watchQuota(ops []portal.Operation) {
	most := max(w.sc.quota, w.sc.copies)
	for _, op := range ops {
		if !op.State.Final() && (op.Timing == portal.TimingAfter || op.Kind == portal.KindDelete) {
			most++
		}
	}
	for _, op := range ops {
		if op.Work.Safety {
			most++ // outside the quota
		}
	}
	if got := len(w.sim.Mounted()); got > most {
		w.wrong("%d archives exist, at most %d are allowed", got, most)
	}
}

// judge holds the invariants against the end of a scenario.
func (w *world) judge() error {
	ctx := context.Background()
	for _, cure := range w.cures {
		cure()
	}
	ops, err := w.db.ServiceOperations(ctx, w.service.ID, 0, 100)
	if err != nil {
		return err
	}
	for _, op := range ops {
		if op.State == portal.StateHeld {
			return fmt.Errorf("operation held: %s", op.StaffReason)
		}
	}
	archives := w.sim.Mounted()
	rows := map[string]portal.Backup{}
	for _, c := range w.copies() {
		if c.Volid != "" {
			rows[c.Volid] = c
		}
	}
	perOperation := map[string]int{}
	for _, a := range archives {
		if _, ok := rows[a.Volid]; !ok {
			return fmt.Errorf("archive %s has no row", a.Volid)
		}
		m, _, valid := portal.ReadMark(a.Notes, w.db.MarkKey())
		if !valid {
			return fmt.Errorf("archive %s carries no valid mark: %q", a.Volid, a.Notes)
		}
		perOperation[m.Operation]++
	}
	for op, n := range perOperation {
		if n > 1 {
			return fmt.Errorf("operation %s made %d archives", op, n)
		}
	}
	for _, c := range w.complete() {
		if !slices.ContainsFunc(archives, func(a pvesim.Archive) bool { return a.Volid == c.Volid }) {
			return fmt.Errorf("row %s has no archive", c.Volid)
		}
	}
	if broken, err := w.db.VerifyAudit(ctx); err != nil || broken != 0 {
		return fmt.Errorf("audit chain broken at %d: %w", broken, err)
	}
	if w.sc.do == nil && !w.manual {
		slots, err := w.db.Slots(ctx, w.service.ID, w.began)
		if err != nil {
			return err
		}
		if len(slots) != 1 || slots[0].State != portal.SlotDone && slots[0].State != portal.SlotLate {
			return fmt.Errorf("slots: %+v", slots)
		}
	}
	if w.sc.always != nil {
		if err := w.sc.always(w); err != nil {
			return err
		}
	}
	return w.sc.end(w)
}

// guarded stands between engine and simulator: a point before and after each change, a point before each
// question, and the promises that hold for every change.
type guarded struct {
	w    *world
	next http.RoundTripper
}

func (g *guarded) RoundTrip(r *http.Request) (*http.Response, error) {
	name := r.Method + " " + r.URL.Path
	g.w.calls = append(g.w.calls, callSeen{r.Method, r.URL.Path})
	for _, f := range g.w.onCall {
		f(len(g.w.calls))
	}
	g.w.point("before " + name)
	if r.Method != http.MethodGet {
		g.promise(r)
	}
	resp, err := g.next.RoundTrip(r)
	if r.Method != http.MethodGet {
		g.w.point("after " + name)
	}
	return resp, err
}

// promise checks what must be true before any change is sent: the intent is committed with its audit row, and a
// deletion names neither the newest nor a protected archive, nor any but the oldest.
func (g *guarded) promise(r *http.Request) {
	w, ctx := g.w, context.Background()
	path, _ := url.PathUnescape(r.URL.EscapedPath())
	ops, err := w.db.ServiceOperations(ctx, w.service.ID, 0, 100)
	if err != nil {
		w.t.Fatal(err)
	}
	i := slices.IndexFunc(ops, func(o portal.Operation) bool { return o.State == portal.StateRunning && !o.IntentAt.IsZero() })
	switch {
	case strings.HasSuffix(path, "/vzdump") && r.Method == http.MethodPost:
		if i < 0 {
			w.wrong("vzdump sent without a committed intent")
			return
		}
		g.audited("pve.vzdump", ops[i].UID)
		form := formOf(r)
		if form.Get("remove") != "0" || form.Get("vmid") != "100" || form.Get("lockwait") == "" {
			w.wrong("vzdump sent with %v", form)
		}
	case strings.Contains(path, "/snapshot") || strings.Contains(path, "/status/") || strings.HasSuffix(path, "/config") || strings.HasSuffix(path, "/resize"):
		if i < 0 {
			w.wrong("%s %s sent without a committed intent", r.Method, path)
			return
		}
		if action := machineCalls[path[strings.LastIndex(path, "/")+1:]]; action != "" {
			g.audited(cmp.Or(configCalls[ops[i].Step], action), ops[i].UID)
		}
		if ops[i].Step == portal.StepReapply {
			g.looked(path, formOf(r))
		}
	case r.Method == http.MethodDelete && strings.Contains(path, "/content/"):
		if i < 0 {
			w.wrong("deletion sent without a committed intent")
			return
		}
		g.deletion(path, ops[i])
	case strings.HasSuffix(path, "/qemu") && r.Method == http.MethodPost:
		if i < 0 || !ops[i].Work.Broken || len(ops[i].Work.Config) == 0 {
			w.wrong("a restore is sent without a committed intent, or without the machine's config kept")
			return
		}
		g.audited("pve.restore", ops[i].UID)
	case strings.HasSuffix(path, "/status/start"):
		if slices.ContainsFunc(ops, func(o portal.Operation) bool { return o.Work.Broken }) || w.machine().Stump {
			w.wrong("a start is sent while the machine is not whole")
		}
	}
}

// formOf reads what a request carries, and leaves it as it was.
func formOf(r *http.Request) url.Values {
	if r.Body == nil {
		return r.URL.Query()
	}
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	form, _ := url.ParseQuery(string(body))
	return form
}

func (g *guarded) audited(action, uid string) {
	entries, err := g.w.db.AuditLog(context.Background(), 0, 50)
	if err != nil {
		g.w.t.Fatal(err)
	}
	if !slices.ContainsFunc(entries, func(e store.Entry) bool { return e.Action == action && e.EntityUID == uid }) {
		g.w.wrong("%s of %s sent without an audit row", action, uid)
	}
}

func (g *guarded) deletion(path string, op portal.Operation) {
	w := g.w
	volid := path[strings.Index(path, "/content/")+len("/content/"):]
	all := w.sim.Archives() // oldest first
	i := slices.IndexFunc(all, func(a pvesim.Archive) bool { return a.Volid == volid })
	if i < 0 {
		return // gone already: asked again
	}
	if all[i].Protected {
		w.wrong("deletes protected %s", volid)
	}
	if op.Kind == portal.KindBackup {
		if i == len(all)-1 {
			w.wrong("deletes the newest archive %s", volid)
		}
		if i != 0 {
			w.wrong("deletes %s although %s is older", volid, all[0].Volid)
		}
	}
	for _, c := range w.copies() {
		if c.Volid == volid {
			g.audited("pve.delete", c.UID)
			return
		}
	}
	w.wrong("deletes %s, which has no row", volid)
}

// TestCrashEverywhere kills the process at every single point of every workflow, one point a run, and starts a
// new one with only the database: nothing is made twice, nothing is lost, nothing stays stuck. Of three long workflows whose
// like is struck everywhere it takes a sample, unless EVERYTHING=1.
func TestCrashEverywhere(t *testing.T) {
	t.Parallel()
	for _, sc := range scenarios() {
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			snap := sc.prepare(t)
			clean := snap.resume(t, sc)
			if err := clean.play(); err != nil {
				t.Fatalf("without any crash: %v\n%s", err, clean.story())
			}
			t.Logf("%d points", clean.points)
			step := max(sc.points, 1)
			if everything() {
				step = 1
			}
			for at := 1; at <= clean.points; at += step {
				w := snap.resume(t, sc)
				w.crashAt = []int{at}
				if err := w.play(); err != nil {
					t.Fatalf("crash at point %d of %d: %v\n%s", at, clean.points, err, w.story())
				}
				w.close()
			}
		})
	}
}
