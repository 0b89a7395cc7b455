package main

import (
	"context"
	"errors"
	"fmt"
	"html"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"stowage/jobs"
	"stowage/portal"
	"stowage/pve/pvesim"
	"stowage/store"
	"stowage/web"
)

// faultDemo is a demo whose engine the test turns, under a clock that the test sets.
type faultDemo struct {
	t       *testing.T
	clock   *leaping
	shop    *demoShop
	sims    map[string]*pvesim.Sim
	engine  *jobs.Engine
	address string

	admin, operator, auditor *http.Client
	clients                  map[string]*http.Client
}

func newFaultDemo(t *testing.T) *faultDemo {
	t.Helper()
	d := &faultDemo{t: t, clock: &leaping{t: time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)}, sims: map[string]*pvesim.Sim{}, clients: map[string]*http.Client{}}
	folder, log := demoFolder(t.TempDir()), slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError}))
	if err := folder.ready(t.Context(), d.clock.Now, 1, log); err != nil {
		t.Fatal(err)
	}
	for _, server := range demoServers() {
		sim, err := folder.simulator(server, pvesim.World{}, d.clock.Now, nil, 1)
		if err != nil {
			t.Fatal(err)
		}
		d.sims[server.name] = sim
	}
	d.shop = folder.look(t, d.clock.Now)
	if err := d.shop.db.RaiseEpoch(t.Context(), "test"); err != nil {
		t.Fatal(err)
	}
	d.engine = jobs.New(jobs.Options{DB: d.shop.db, Now: d.clock.Now, Log: log, Transport: demoNetwork(d.sims), Workers: 1, RetryPause: time.Millisecond})
	t.Cleanup(d.engine.Close)
	d.address = d.site(newDemoFaults(d.clock.Now, d.sims))
	d.admin, d.operator, d.auditor = d.signIn("admin"), d.signIn("operator"), d.signIn("auditor")
	for _, c := range demoClients {
		d.clients[c.key] = d.signIn(c.key)
	}
	return d
}

// site serves the portal's pages, without a fault panel where faults is nil.
func (d *faultDemo) site(faults *demoFaults) (address string) {
	d.t.Helper()
	site := newSite(portalOptions{DB: d.shop.db, Now: d.clock.Now, Log: slog.New(slog.DiscardHandler), Demo: faults != nil, Faults: faults})
	w, err := web.New(web.Options{
		Now: d.clock.Now, Log: slog.New(slog.DiscardHandler), Accounts: d.shop.db, Sessions: d.shop.db.Sessions(),
		ErrorPage: site.ErrorPage, WithAddress: store.WithAddress, Ready: readiness(d.shop.db),
	})
	if err != nil {
		d.t.Fatal(err)
	}
	site.Register(w)
	server := httptest.NewServer(w.HTTP().Handler)
	d.t.Cleanup(server.Close)
	return server.URL
}

func (d *faultDemo) signIn(key string) *http.Client {
	d.t.Helper()
	return signIn(d.t, d.address, demoEmail(key), demoPassword)
}

// page gives a page as text: what a reader reads, with the marks of the HTML.
func (d *faultDemo) page(c *http.Client, path string) string {
	d.t.Helper()
	status, body, err := ask(c, d.address+path, nil)
	if err != nil || status != http.StatusOK && status != http.StatusServiceUnavailable {
		d.t.Fatalf("%s answers %d, %v", path, status, err)
	}
	return html.UnescapeString(body)
}

// says wants a page to say something, or to have something in its HTML.
func (d *faultDemo) says(c *http.Client, path, what string) {
	d.t.Helper()
	if text := d.page(c, path); !strings.Contains(text, what) && !strings.Contains(readable(text), what) {
		d.t.Errorf("%s does not say %q:\n%s", path, what, readable(text))
	}
}

// offers tells whether the panel would do something to a target.
func (d *faultDemo) offers(kind, target string) bool {
	d.t.Helper()
	_, form, _ := strings.Cut(d.page(d.admin, "/admin/demo"), `name="kind" value="`+kind+`"`)
	form, _, _ = strings.Cut(form, "</form>")
	return strings.Contains(form, `value="`+target+`"`)
}

func (d *faultDemo) saysNot(c *http.Client, path, what string) {
	d.t.Helper()
	if text := d.page(c, path); strings.Contains(text, what) {
		d.t.Errorf("%s still says %q:\n%s", path, what, readable(text))
	}
}

// readable is what is between the marks of the middle of a page.
func readable(text string) string {
	if _, after, found := strings.Cut(text, "<main"); found {
		text = after
	}
	text = regexp.MustCompile(`<option[^<]*</option>|<[^>]*>`).ReplaceAllString(text, " ")
	return regexp.MustCompile(`\s+`).ReplaceAllString(text, " ")
}

// send posts a form and wants a status.
func (d *faultDemo) send(c *http.Client, path string, form url.Values, want int) string {
	d.t.Helper()
	if form == nil {
		form = url.Values{}
	}
	status, body, err := ask(c, d.address+path, form)
	if err != nil || status != want {
		d.t.Fatalf("POST %s %v answers %d, %v, want %d: %s", path, form, status, err, want, readable(body))
	}
	return html.UnescapeString(body)
}

func (d *faultDemo) damage(kind, target string) {
	d.t.Helper()
	d.send(d.operator, "/admin/demo/break", url.Values{"kind": {kind}, "target": {target}}, http.StatusSeeOther)
}

func (d *faultDemo) heal(kind, target string) {
	d.t.Helper()
	d.send(d.admin, "/admin/demo/heal", url.Values{"kind": {kind}, "target": {target}}, http.StatusSeeOther)
}

// broken wants exactly these to be shown as broken.
func (d *faultDemo) broken(want ...string) {
	d.t.Helper()
	var got []string
	for _, m := range regexp.MustCompile(`data-fault="([^"]+)" data-target="([^"]+)"`).FindAllStringSubmatch(d.page(d.admin, "/admin/demo"), -1) {
		got = append(got, m[1]+" "+m[2])
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		d.t.Errorf("broken: %q, want %q", got, want)
	}
}

// pass lets time pass in steps, with everything done in it that the engine does.
func (d *faultDemo) pass(steps int, step time.Duration) {
	d.t.Helper()
	for range steps {
		d.clock.set(d.clock.Now().Add(step))
		if err := errors.Join(d.engine.Sync(d.t.Context()), d.engine.Tick(d.t.Context())); err != nil {
			d.t.Fatal(err)
		}
		for range 50 {
			turns, err := d.engine.Drive(d.t.Context())
			if err != nil {
				d.t.Fatal(err)
			}
			if turns == 0 {
				break
			}
		}
		if err := d.engine.MirrorNotes(d.t.Context()); err != nil {
			d.t.Fatal(err)
		}
	}
}

// until lets time pass until something is so.
func (d *faultDemo) until(what string, ok func() bool) {
	d.t.Helper()
	for range 400 {
		if ok() {
			return
		}
		d.pass(1, 5*time.Second)
	}
	d.t.Fatalf("waited in vain for %s", what)
}

func (d *faultDemo) backups(name string) string {
	return "/services/" + d.shop.line(name).UID + "/backups"
}

// backUp presses Backup now and gives the operation.
func (d *faultDemo) backUp(name string, more url.Values) portal.Operation {
	d.t.Helper()
	form := url.Values{"note": {"pressed"}}
	for k, v := range more {
		form[k] = v
	}
	d.send(d.clients[d.shop.owner[name]], d.backups(name), form, http.StatusSeeOther)
	ops, err := d.shop.db.ServiceOperations(d.t.Context(), d.shop.line(name).ID, 0, 1)
	if err != nil || len(ops) != 1 {
		d.t.Fatal(ops, err)
	}
	return ops[0]
}

// ends waits for an operation's end, and wants it to be this one.
func (d *faultDemo) ends(op portal.Operation, want portal.State) portal.Operation {
	d.t.Helper()
	d.until("the end of "+string(op.Kind), func() bool {
		var err error
		if op, err = d.shop.db.Operation(d.t.Context(), op.ID); err != nil {
			d.t.Fatal(err)
		}
		return op.State.Final()
	})
	if op.State != want {
		d.t.Errorf("the %s %s, want %s: %s (%s)", op.Kind, op.State, want, op.Reason, op.StaffReason)
	}
	return op
}

// good counts a machine's good copies, in the database and, by the marks of their notes, in the simulated world.
func (d *faultDemo) good(name string) int {
	d.t.Helper()
	n, line := 0, d.shop.line(name)
	for _, b := range d.shop.copies(name) {
		if b.Class == portal.ClassGood {
			n++
		}
	}
	there := 0
	for _, a := range d.sims[line.ServerName].Archives() {
		if a.VMID == line.VMID && strings.HasPrefix(a.Notes, "stowage:") {
			there++
		}
	}
	if n != there {
		d.t.Errorf("%s has %d good copies, and its storage %d", name, n, there)
	}
	return n
}

// dumps counts the backups of a machine that Proxmox was asked for.
func (d *faultDemo) dumps(name string) (n int) {
	line := d.shop.line(name)
	for _, c := range d.sims[line.ServerName].Calls() {
		if strings.HasSuffix(c.Path, "/vzdump") && c.Params["vmid"] == fmt.Sprint(line.VMID) {
			n++
		}
	}
	return n
}

// TestDemoFaults breaks the demo's world in every way that its panel offers, looks at what the pages say, heals it,
// and sees everything that was asked for end well: once, with nothing lost.
func TestDemoFaults(t *testing.T) {
	t.Parallel()
	d := newFaultDemo(t)
	ada := d.clients["ada"]
	d.pass(2, 10*time.Second)

	t.Run("whose it is", func(t *testing.T) {
		d.t = t
		for path, form := range map[string]url.Values{"/admin/demo": nil, "/admin/demo/break": {"kind": {"node"}, "target": {"Amsterdam/ams1"}}, "/admin/demo/heal": {}} {
			if status, _, err := ask(ada, d.address+path, form); err != nil || status != http.StatusNotFound {
				t.Errorf("%s answers a client %d, %v", path, status, err)
			}
			if form == nil {
				d.says(d.auditor, path, "change nothing")
			} else {
				d.send(d.auditor, path, form, http.StatusForbidden)
			}
			anybody := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
			if status, _, err := ask(anybody, d.address+path, form); err != nil || status != http.StatusSeeOther {
				t.Errorf("%s answers somebody who is not signed in %d, %v", path, status, err)
			}
		}
		d.broken()
		d.says(d.operator, "/admin", `href="/admin/demo"`)

		// What serve has.
		demo := d.address
		d.address = d.site(nil)
		defer func() { d.address = demo }()
		admin := d.signIn("admin")
		d.saysNot(admin, "/admin", "/admin/demo")
		for path, form := range map[string]url.Values{"/admin/demo": nil, "/admin/demo/break": {"kind": {"engine"}, "target": {"engine"}}} {
			if status, _, err := ask(admin, d.address+path, form); err != nil || status != http.StatusNotFound {
				t.Errorf("%s of serve answers an admin %d, %v", path, status, err)
			}
		}
	})

	t.Run("wrong wishes", func(t *testing.T) {
		d.t = t
		for want, form := range map[int]url.Values{
			http.StatusUnprocessableEntity: {"kind": {"earthquake"}, "target": {"Amsterdam"}},
			http.StatusConflict:            {"kind": {"node"}, "target": {"Amsterdam/ams9"}},
		} {
			if text := d.send(d.admin, "/admin/demo/break", form, want); !strings.Contains(text, "data-refusal") {
				t.Errorf("%v is refused without a word", form)
			}
		}
		d.send(d.admin, "/admin/demo/heal", url.Values{"kind": {"node"}, "target": {"Amsterdam/ams1"}}, http.StatusConflict)
		d.send(d.admin, "/admin/demo/heal", nil, http.StatusSeeOther)
		d.says(d.admin, "/admin/demo", "Nothing was broken.")
	})

	t.Run("node down", func(t *testing.T) {
		d.t = t
		copies, dumps := d.good(demoIdleAda), d.dumps(demoIdleAda)
		d.damage("node", "Amsterdam/ams1")
		d.broken("node Amsterdam/ams1")
		d.send(d.admin, "/admin/demo/break", url.Values{"kind": {"node"}, "target": {"Amsterdam/ams1"}}, http.StatusConflict)
		d.pass(2, 10*time.Second)
		d.says(ada, d.backups(demoIdleAda), "We can't reach your host since")
		d.says(d.admin, "/admin", "Nodes offline")
		op := d.backUp(demoIdleAda, nil)
		d.pass(9, 10*time.Second)
		d.says(ada, d.backups(demoIdleAda), `data-operation="`+op.UID+`"`)
		if op, err := d.shop.db.Operation(t.Context(), op.ID); err != nil || op.State.Final() {
			t.Fatalf("with its host out of reach the backup %s, %v", op.State, err)
		}
		d.heal("node", "Amsterdam/ams1")
		d.broken()
		d.ends(op, portal.StateSucceeded)
		d.saysNot(ada, d.backups(demoIdleAda), "We can't reach your host")
		if got := d.good(demoIdleAda); got != copies+1 || d.dumps(demoIdleAda) != dumps+1 {
			t.Errorf("%d new copies of %d requests, want one of one", got-copies, d.dumps(demoIdleAda)-dumps)
		}
	})

	t.Run("the only node down", func(t *testing.T) {
		d.t = t
		d.damage("node", "Frankfurt/fra1")
		d.pass(2, 10*time.Second)
		d.says(ada, d.backups(demoFull), "We can't reach your host since")
		d.says(d.admin, "/admin/servers", "Unreachable since")
		d.heal("node", "Frankfurt/fra1")
		d.pass(2, 10*time.Second)
		d.saysNot(ada, d.backups(demoFull), "We can't reach your host")
	})

	t.Run("a lost answer", func(t *testing.T) {
		d.t = t
		copies, dumps := d.good(demoIdleAda), d.dumps(demoIdleAda)
		d.damage("answer", "Amsterdam")
		d.broken("answer Amsterdam")
		d.ends(d.backUp(demoIdleAda, nil), portal.StateSucceeded)
		d.broken() // it was lost, and that was that
		calls := d.sims[demoCluster].Calls()
		if !slices.ContainsFunc(calls, func(c pvesim.Call) bool { return c.Lost && strings.HasSuffix(c.Path, "/vzdump") }) {
			t.Error("no answer was lost")
		}
		if got := d.good(demoIdleAda); got != copies+1 || d.dumps(demoIdleAda) != dumps+1 {
			t.Errorf("%d new copies of %d requests, want one of one", got-copies, d.dumps(demoIdleAda)-dumps)
		}
		d.damage("answer", "Amsterdam") // and can be again
		d.broken("answer Amsterdam")
		d.heal("answer", "Amsterdam")
		d.broken()
	})

	t.Run("a full storage", func(t *testing.T) {
		d.t = t
		copies, dumps := d.good(demoIdleAda), d.dumps(demoIdleAda)
		d.damage("storage", "Amsterdam/nas")
		d.pass(1, 10*time.Second)
		op := d.ends(d.backUp(demoIdleAda, nil), portal.StateFailed)
		d.says(ada, "/services/"+d.shop.line(demoIdleAda).UID+"/operations/"+op.UID, "There is not enough space on the backup storage.")
		if d.good(demoIdleAda) != copies || d.dumps(demoIdleAda) != dumps {
			t.Error("something was made, or removed, without space")
		}
		d.heal("storage", "Amsterdam/nas")
		d.pass(2, 10*time.Second)
		d.send(ada, "/services/"+d.shop.line(demoIdleAda).UID+"/operations/"+op.UID+"/retry", nil, http.StatusSeeOther)
		ops, err := d.shop.db.ServiceOperations(t.Context(), d.shop.line(demoIdleAda).ID, 0, 1)
		if err != nil {
			t.Fatal(err)
		}
		d.ends(ops[0], portal.StateSucceeded)
		if got := d.good(demoIdleAda); got != copies+1 || d.dumps(demoIdleAda) != dumps+1 {
			t.Errorf("%d new copies of %d requests, want one of one", got-copies, d.dumps(demoIdleAda)-dumps)
		}
	})

	t.Run("a killed task", func(t *testing.T) {
		d.t = t
		copies := d.good(demoStop)
		grace, page := d.clients["grace"], "/services/"+d.shop.line(demoStop).UID
		target := fmt.Sprintf("Amsterdam/%d", d.shop.line(demoStop).VMID)
		op := d.backUp(demoStop, nil)
		d.until("the backup to run", func() bool { return d.offers("task", target) })
		d.damage("task", target)
		d.broken("task " + target)
		d.until("a word that it is tried again", func() bool { return strings.Contains(d.page(grace, page+"/backups"), "Tried again at") })
		if d.good(demoStop) != copies {
			t.Error("what the killed backup wrote is taken for a copy")
		}
		d.heal("task", target)
		d.broken()
		d.ends(op, portal.StateSucceeded)
		if got := d.good(demoStop); got != copies+1 {
			t.Errorf("%d new copies, want one", got-copies)
		}
	})

	t.Run("a machine that moves", func(t *testing.T) {
		d.t = t
		line := d.shop.line(demoIdleAda)
		copies, target := d.good(demoIdleAda), fmt.Sprintf("Amsterdam/%d", line.VMID)
		d.damage("move", target)
		d.broken("move " + target)
		d.pass(2, 10*time.Second)
		d.says(ada, "/services/"+line.UID, "Host ams2")
		d.ends(d.backUp(demoIdleAda, nil), portal.StateSucceeded)
		if got := d.good(demoIdleAda); got != copies+1 {
			t.Errorf("%d new copies, want one", got-copies)
		}
		calls := d.sims[demoCluster].Calls()
		i := len(calls) - 1
		for ; i > 0 && !strings.HasSuffix(calls[i].Path, "/vzdump"); i-- {
		}
		if calls[i].Path != "/nodes/ams2/vzdump" {
			t.Errorf("the backup was asked of %s", calls[i].Path)
		}
		d.heal("move", target)
		d.pass(2, 10*time.Second)
		d.says(ada, "/services/"+line.UID, "Host ams1")
	})

	t.Run("a wrong clock", func(t *testing.T) {
		d.t = t
		d.damage("clock", "Frankfurt")
		d.pass(2, 10*time.Second)
		d.says(d.admin, "/admin/servers", "Its clock is 10 min off")
		d.says(ada, "/readyz", "differs from ours by 10m0s")
		// All its places are used, so the scheduled backup has to remove one by itself: not now.
		copies, dumps := d.good(demoFull), d.dumps(demoFull)
		d.clock.set(d.shop.line(demoFull).NextDue.Add(-time.Second)) // tonight
		d.pass(2, 10*time.Second)
		ada, d.admin, d.operator, d.auditor = d.signIn("ada"), d.signIn("admin"), d.signIn("operator"), d.signIn("auditor")
		d.until("the scheduled backup to wait", func() bool {
			return strings.Contains(d.page(ada, d.backups(demoFull)), "nothing is removed by itself right now")
		})
		if d.good(demoFull) != copies || d.dumps(demoFull) != dumps {
			t.Error("something was made, or removed, under a wrong clock")
		}
		ops, err := d.shop.db.ServiceOperations(t.Context(), d.shop.line(demoFull).ID, 0, 1)
		if err != nil {
			t.Fatal(err)
		}
		d.heal("clock", "Frankfurt")
		d.ends(ops[0], portal.StateSucceeded)
		d.says(d.admin, "/admin/servers", "Reachable")
		if d.good(demoFull) != copies || d.dumps(demoFull) != dumps+1 {
			t.Errorf("%d copies after one replacement, %d before; %d requests", d.good(demoFull), copies, d.dumps(demoFull)-dumps)
		}
	})

	t.Run("heal everything", func(t *testing.T) {
		d.t = t
		d.damage("node", "Amsterdam/ams3")
		d.damage("storage", "Frankfurt/backups")
		d.damage("clock", "Amsterdam")
		d.damage("engine", "engine")
		d.broken("node Amsterdam/ams3", "storage Frankfurt/backups", "clock Amsterdam", "engine engine")
		d.says(d.admin, "/admin/demo", "Heal everything")
		d.send(d.operator, "/admin/demo/heal", nil, http.StatusSeeOther)
		d.broken()
		d.says(d.auditor, "/admin/audit?action=demo", "Node ams3 of Amsterdam is cut off.")
		d.says(d.auditor, "/admin/audit?action=demo", "no longer: The clock of Amsterdam runs 10 min ahead.")
		d.says(d.auditor, "/admin/audit?action=demo", "operator@demo.test")
	})

	if broken, err := d.shop.db.VerifyAudit(t.Context()); err != nil || broken != 0 {
		t.Errorf("audit chain: row %d, %v", broken, err)
	}
}

// TestEngineSwitch stops and starts an engine under a portal that goes on, and ends with the portal in either state.
func TestEngineSwitch(t *testing.T) {
	t.Parallel()
	s := &engineSwitch{now: time.Now}
	ctx, cancel := context.WithCancel(t.Context())
	begun, ended := make(chan bool, 10), make(chan error, 1)
	go func() {
		ended <- s.around(func(ctx context.Context) error {
			begun <- true
			<-ctx.Done()
			return ctx.Err()
		})(ctx)
	}()
	<-begun
	for range 3 {
		s.set(false)
		s.set(false)
		if s.stoppedSince().IsZero() {
			t.Fatal("not stopped")
		}
		s.set(true)
		<-begun
	}
	s.set(false)
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
	lost := errors.New("lost")
	if err := (&engineSwitch{now: time.Now}).around(func(context.Context) error { return lost })(t.Context()); !errors.Is(err, lost) {
		t.Errorf("what ends an engine by itself comes out as %v", err)
	}
}
