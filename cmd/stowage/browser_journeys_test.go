package main

import (
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"

	"stowage/portal"
)

// journey is somebody's way through the demo.
type journey struct {
	name string
	make func(*testing.T)
}

// journeys walks the ways one after the other.
func journeys(t *testing.T, list ...journey) {
	for _, j := range list {
		t.Run(j.name, func(t *testing.T) {
			began := time.Now()
			j.make(t)
			t.Logf("within %s", time.Since(began).Round(100*time.Millisecond))
		})
	}
}

// lanes are ways that people go at the same time. They share a clock: while somebody watches a backup, nobody else
// moves it, and no host is away.
func (d *browserDemo) lanes() []func(*testing.T) {
	before, watched := make(chan struct{}), make(chan struct{})
	return []func(*testing.T){
		func(t *testing.T) {
			defer sync.OnceFunc(func() { close(watched) })()
			<-before
			journeys(t,
				journey{"a schedule is set and read back in other zones", d.setSchedule},
				journey{"a backup is watched to its end", d.watchBackup},
				journey{"a running backup is cancelled", d.cancelBackup},
			)
		},
		func(t *testing.T) {
			defer sync.OnceFunc(func() { close(before) })()
			journeys(t,
				journey{"a copy is removed", d.removeCopy},
				journey{"a machine is locked", d.lockedMachine},
				journey{"the stream drops", d.dropStream},
				journey{"the host is out of reach", d.unreachable},
			)
		},
		func(t *testing.T) {
			<-watched
			journeys(t,
				journey{"all places are used", d.replaceOldest},
				journey{"by keyboard alone", d.byKeyboard},
				journey{"without scripts", d.withoutScripts},
				journey{"a snapshot, and back to it", d.snapshotAndBack},
				journey{"yesterday's machine", d.restoreYesterday},
				journey{"power during a backup", d.powerDuringABackup},
				journey{"a system is installed anew", d.installAnew},
				journey{"a machine without scripts", d.machineWithoutScripts},
				journey{"a restore stops half-way", d.restoreStops},
			)
		},
	}
}

const running = `document.querySelector(".run progress[value]")`

// copies gives what the page lists, newest first.
func (p *tab) copies() []string {
	p.t.Helper()
	return eval[[]string](p, `[...document.querySelectorAll(".copy[data-backup]")].map(row => row.dataset.backup)`)
}

func (p *tab) counter() string {
	p.t.Helper()
	return eval[string](p, `document.querySelector("[data-count=backups]").textContent`)
}

// quoted is a text as a script has it.
func quoted(text string) string { return fmt.Sprintf("%q", text) }

// setTime puts a time into a field for times: how one types there differs from language to language.
func (p *tab) setTime(name, at string) {
	p.t.Helper()
	eval[bool](p, fmt.Sprintf(`(() => {
		const field = document.querySelector("[name=%s]");
		field.value = %q;
		return field.dispatchEvent(new Event("input", {bubbles: true}));
	})()`, name, at))
}

// grid gives the schedule as its form shows it: the ticked days with their times, and the zone.
func (p *tab) grid() string {
	p.t.Helper()
	return eval[string](p, `[...Array(7).keys()].filter(i => document.querySelector("[name=day_" + i + "]").checked)
		.map(i => i + "=" + document.querySelector("[name=time_" + i + "]").value).join(" ") + " " + document.querySelector("#zone").value`)
}

func (d *browserDemo) setSchedule(t *testing.T) {
	p := d.tab(t, "ada", desktop)
	p.zone("Asia/Tokyo")
	p.open(d.path(demoIdleAda, "backups"))
	p.signIn("ada")
	p.holds("the zones differ, and the page says so", `!document.querySelector("[data-zone-differs]").hidden && /Tokyo.*Berlin/.test(document.querySelector("[data-zone-differs]").textContent)`)
	loc, err := portal.Zone("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	at := d.clock.now().In(loc).Add(-time.Hour).Format("15:04") // past today, so that nothing falls due meanwhile
	for i := range 7 {
		if eval[bool](p, fmt.Sprintf(`document.querySelector("[name=day_%d]").checked`, i)) != (i == 2 || i == 5) {
			p.click(fmt.Sprintf("[name=day_%d]", i))
		}
	}
	p.setTime("time_2", at)
	p.setTime("time_5", at)
	p.follow(".schedule-save .btn")
	p.clean("after the schedule was saved")
	want := fmt.Sprintf("2=%s 5=%s Europe/Berlin", at, at)
	for zone, differs := range map[string]bool{"Asia/Tokyo": true, "America/New_York": true, "Europe/Berlin": false} {
		p.zone(zone)
		p.reload()
		if got := p.grid(); got != want {
			t.Errorf("in %s the schedule reads %q, want %q", zone, got, want)
		}
		p.holds("the hint is there exactly where the zones differ", fmt.Sprintf(`document.querySelector("[data-zone-differs]").hidden === !%v`, differs))
		p.holds("the next run is said in the schedule's zone and in UTC", fmt.Sprintf(`document.querySelector(".next").innerText.includes(%q) && document.querySelector(".next").innerText.includes("UTC")`, at))
	}
	p.clean("read back")
}

func (d *browserDemo) watchBackup(t *testing.T) {
	p := d.as(t, "ada", desktop)
	p.open(d.path(demoIdleAda, "backups"))
	title, before, count := eval[string](p, `document.title`), p.copies(), p.counter()
	p.write("#note", "watched to its end")
	p.follow("#backup-now")
	eval[bool](p, `window.kept = true`)
	p.until("the progress", running)
	eval[bool](p, `seen.shift = 0, seen.shifts = [], true`)
	p.until("the tab's title", `/^\(\d+ %\) shop\.ada\.example · /.test(document.title)`)
	p.holds("one is in progress beside the counter", `document.querySelector(".counter-running").innerText === "1 in progress" && document.querySelector("[data-count=backups]").textContent === `+quoted(count))
	// All leaps together stay below two minutes: after that the page would say that the scheduler stands still.
	d.clock.leap(24 * time.Second) // what is on its disk is the slow part
	for _, quarter := range []int{25, 50, 75} {
		for began := time.Now(); ; {
			shown := eval[float64](p, running+`?.value ?? -1`)
			if shown >= float64(quarter) {
				break
			}
			if time.Since(began) > patience || shown < 0 { // without figures no leap is followed by news: all clocks would run away
				t.Fatalf("the backup does not come to %d percent\n%s", quarter, p.state())
			}
			d.clock.leap(4 * time.Second)
			p.until("news of it", fmt.Sprintf(`%s?.value !== %v`, running, shown))
		}
		p.until("the words of it", fmt.Sprintf(`seen.said.some(text => text.startsWith("Backing up shop.ada.example: ") && parseInt(text.match(/(\d+) percent/)?.[1]) >= %d)`, quarter))
		p.holds("figures are said", `/^Writing the copy/.test(document.querySelector(".run-figures").innerText) && /left/.test(document.querySelector(".run-numbers").innerText)`)
	}
	d.clock.leap(20 * time.Second)
	p.until("the end", `!document.querySelector(".run") && document.querySelectorAll(".copy[data-backup]").length === `+fmt.Sprint(len(before)+1))
	p.until("the end is spoken", `seen.said.at(-1) === "Backing up shop.ada.example has ended. The page is up to date."`)
	p.holds("nothing was loaded anew", `window.kept`)
	p.holds("the title is its own again", `document.title === `+quoted(title))
	p.holds("the new copy is on top, with its note", `(row => row.dataset.state === "good" && row.dataset.origin === "manual" && row.innerText.includes("watched to its end"))(document.querySelector(".copy"))`)
	var used, quota int
	if _, err := fmt.Sscanf(count, "%d/%d", &used, &quota); err != nil {
		t.Fatal(err)
	}
	p.until("the counter", fmt.Sprintf(`document.querySelector("[data-count=backups]").textContent === "%d/%d" && !document.querySelector(".counter-running")`, used+1, quota))
	// The row comes where the card was.
	if shift := eval[float64](p, `seen.shift`); shift >= 0.01 {
		t.Errorf("things jumped by %.4f: %s\n%s", shift, strings.Join(eval[[]string](p, `seen.shifts`), "\n"), p.state())
	}
	said := eval[[]string](p, `seen.said.filter(text => text.includes("percent"))`)
	if len(said) != 3 {
		t.Errorf("spoken: %q, want once at each quarter", said)
	}
	p.clean("watched")
}

func (d *browserDemo) replaceOldest(t *testing.T) {
	p, path := d.as(t, "ada", phone), d.path(demoFull, "backups")
	p.open(path)
	p.holds("the button says what will be asked", `!document.querySelector("#backup-now").disabled && document.querySelector(".backup-do .form-warning").innerText.includes("which one goes")`)
	before := p.copies()
	p.write("#note", "in the place of the oldest")
	p.expect(409, path)
	p.follow("#backup-now")
	p.holds("it is refused with the way out, which names the copy", `/^Back up now, then remove the oldest: \w+ \d+ \w+ \d\d:\d\d, /.test(document.querySelector("[data-refusal] .btn-primary").innerText)`)
	p.holds("the note is still there", `document.querySelector("#note").value === "in the place of the oldest"`)
	victim := eval[string](p, `document.querySelector("[data-refusal] [name=replace]").value`)
	if !slices.Contains(before, victim) {
		t.Fatalf("offered to remove %s, which is not listed", victim)
	}
	p.follow("[data-refusal] .btn-primary")
	p.until("the progress", running)
	p.holds("nothing goes before the new one is there", fmt.Sprintf(`document.querySelector("#backup-%s")`, victim))
	d.clock.leap(15 * time.Minute)
	p.until("the new copy in the place of the oldest", fmt.Sprintf(`!document.querySelector("#backup-%s") && !document.querySelector(".run") && document.querySelector(".copy").innerText.includes("in the place of the oldest")`, victim))
	p.until("the counter as it was", `document.querySelector("[data-count=backups]").textContent === "5/5"`)
	if after := p.copies(); len(after) != len(before) {
		t.Errorf("%d copies are listed, %d before", len(after), len(before))
	}
	p.clean("replaced")
}

func (d *browserDemo) cancelBackup(t *testing.T) {
	p := d.as(t, "linus", desktop)
	p.open(d.path(demoIdleLinus, "backups"))
	before, count := p.copies(), p.counter()
	p.follow("#backup-now")
	p.until("the progress", running)
	p.follow(".run-cancel button")
	p.until("the end", `!document.querySelector(".run")`)
	if after := p.copies(); !slices.Equal(after, before) || p.counter() != count {
		t.Errorf("copies %v, %s after the cancelled backup, before %v, %s", after, p.counter(), before, count)
	}
	p.open(d.path(demoIdleLinus, "operations"))
	p.holds("the history says so", `document.querySelector(".operation").dataset.state === "cancelled" && document.querySelector(".operation").innerText.includes("Cancelled")`)
	p.clean("cancelled")
}

func (d *browserDemo) removeCopy(t *testing.T) {
	p := d.as(t, "ada", desktop)
	p.open(d.path(demoFailed, "backups"))
	before, count := p.copies(), p.counter()
	going := before[len(before)-1]
	taken := eval[string](p, fmt.Sprintf(`document.querySelector("#backup-%s time").innerText`, going))
	p.follow("#remove-" + going)
	p.holds("it asks, naming machine and time, what is lost and what stays", fmt.Sprintf(`[%q, %q, "Lost", "Stays", "Your other "].every(text => document.querySelector("main").innerText.includes(text))`, demoFailed, taken))
	p.follow(".confirm-actions a")
	if !slices.Equal(p.copies(), before) {
		t.Errorf("to look at the question has changed something")
	}
	p.follow("#remove-" + going)
	p.follow(".confirm-actions .btn-danger")
	p.until("the copy to be gone", fmt.Sprintf(`!document.querySelector("#backup-%s") && !document.querySelector(".run")`, going))
	if after := p.copies(); !slices.Equal(after, before[:len(before)-1]) || after == nil {
		t.Errorf("copies %v, before %v", after, before)
	}
	var used, quota int
	if _, err := fmt.Sscanf(count, "%d/%d", &used, &quota); err != nil {
		t.Fatal(err)
	}
	p.until("the counter", fmt.Sprintf(`document.querySelector("[data-count=backups]").textContent === "%d/%d"`, used-1, quota))
	p.clean("removed")
}

func (d *browserDemo) lockedMachine(t *testing.T) {
	p, path := d.as(t, "grace", phone), d.path(demoLocked, "backups")
	p.open(path)
	p.holds("the button is there, disabled, with the reason", `(button => button.disabled && /began .* ago/.test(document.getElementById(button.getAttribute("aria-describedby")).innerText))(document.querySelector("#backup-now"))`)
	p.holds("the banner says so too", `document.querySelector("[data-notice=locked]").innerText.includes("locked on its host")`)
	const ageless = `.innerText.replace(/began .* ago/, "began … ago")` // a minute may pass between two pages
	reason := eval[string](p, `document.querySelector("#backup-why-not")`+ageless)
	// A page of an hour ago has a button that still works.
	p.expect(409, path)
	p.leave(func() { eval[bool](p, `(document.querySelector("#note").form.submit(), true)`) })
	p.holds("it is refused with the same sentence", fmt.Sprintf(`document.querySelector("[data-refusal]")`+ageless+`.includes(%q)`, reason))
	got := eval[int](p, fmt.Sprintf(`fetch(%q, {method: "POST", body: new URLSearchParams({note: ""})}).then(answer => answer.status)`, path))
	if got != 409 {
		t.Errorf("a backup of a locked machine is answered %d", got)
	}
	p.clean("locked")
}

func (d *browserDemo) dropStream(t *testing.T) {
	wire := newPlug(t, strings.TrimPrefix(d.address, "http://"))
	p := d.tab(t, "grace", phone)
	p.address = wire.address()
	p.open(d.path(demoRunning, "backups"))
	p.signIn("grace")
	p.until("the progress", running+` && /%/.test(document.title)`)
	eval[bool](p, `window.kept = true`)
	lost := `document.querySelector("[data-live-lost]")`
	p.holds("no connection is lost", lost+`.hidden`)
	p.offline(true)
	wire.pull()
	p.until("the page to say that the connection is lost", `!`+lost+`.hidden && `+lost+`.innerText.includes("Connection lost")`)
	p.holds("no figure stands still", `!`+running+` && !/\d/.test(document.querySelector(".run-percent").innerText + document.querySelector(".run-numbers").innerText) && !/%/.test(document.title)`)
	wire.put()
	p.until("the page to be live again", lost+`.hidden && `+running+` && /%/.test(document.title)`)
	p.offline(false)
	p.holds("nothing was loaded anew", `window.kept`)
	p.clean("dropped")
}

// plug is a wire to the demo that can be pulled: what is open breaks, and nothing new comes through.
type plug struct {
	to     string
	listen net.Listener

	mu     sync.Mutex
	pulled bool
	open   map[net.Conn]bool
}

func newPlug(t *testing.T, to string) *plug {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &plug{to: to, listen: l, open: map[net.Conn]bool{}}
	t.Cleanup(func() { _ = l.Close(); w.pull() })
	go func() {
		for {
			here, err := l.Accept()
			if err != nil {
				return
			}
			go w.carry(here)
		}
	}()
	return w
}

func (w *plug) address() string { return "http://" + w.listen.Addr().String() }

func (w *plug) carry(here net.Conn) {
	there, err := net.Dial("tcp", w.to)
	if err != nil {
		_ = here.Close()
		return
	}
	w.mu.Lock()
	w.open[here], w.open[there] = true, true
	if w.pulled {
		w.cut()
	}
	w.mu.Unlock()
	go func() { _, _ = io.Copy(there, here); _ = there.Close() }()
	_, _ = io.Copy(here, there)
	_ = here.Close()
}

// cut breaks what is open. Its caller has the lock.
func (w *plug) cut() {
	for c := range w.open {
		_ = c.Close()
		delete(w.open, c)
	}
}

func (w *plug) pull() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pulled = true
	w.cut()
}

func (w *plug) put() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pulled = false
}

// fault breaks something by the fault panel.
func (p *tab) fault(kind, target string) {
	p.t.Helper()
	p.open("/admin/demo")
	if target != "" {
		eval[bool](p, fmt.Sprintf(`(document.querySelector("#break-%s").form.target.value = %q, true)`, kind, target))
	}
	p.follow("#break-" + kind)
	p.holds("the panel says what is broken", fmt.Sprintf(`document.querySelector("[data-fault=%s]") && document.querySelector("[data-broken]").innerText === "1"`, kind))
}

func (p *tab) healEverything() {
	p.t.Helper()
	p.open("/admin/demo")
	p.follow(".card-way .btn-primary")
	p.holds("nothing is broken any more", `document.querySelector("[data-broken]").innerText === "0"`)
}

func (d *browserDemo) unreachable(t *testing.T) {
	p, admin := d.as(t, "grace", desktop), d.as(t, "admin", desktop)
	p.open(d.path(demoRunning, "backups"))
	p.until("the progress", running)
	eval[bool](p, `window.kept = true`)
	admin.fault("node", "Amsterdam/ams3")
	admin.clean("the fault panel")
	p.until("the banner", `document.querySelector("[data-notice=unreachable]")?.innerText.startsWith("We can't reach your host since")`)
	p.until("figures to go", `!`+running+` && document.querySelector(".run").innerText.includes("We can't reach your host since") && !/\d ?%/.test(document.querySelector(".run").innerText + document.title)`)
	p.holds("the state is unknown, and since when", `document.querySelector(".head-status").innerText.includes("Last seen")`)
	admin.healEverything()
	p.until("the host to be back", `!document.querySelector("[data-notice=unreachable]") && `+running+` && /%/.test(document.title)`)
	p.holds("nothing was loaded anew", `window.kept`)
	p.clean("unreachable")
}

func (d *browserDemo) withoutScripts(t *testing.T) {
	p := d.tab(t, "linus", phone)
	call(p, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	machine := demoIdleLinus
	p.open("/")
	p.signIn("linus")
	p.holds("no script runs", `typeof htmx === "undefined"`)
	p.follow(fmt.Sprintf(`[data-service=%q] a`, d.shop.line(machine).UID))
	p.follow(`.tabs a[href$="/backups"]`)
	before := p.copies()

	p.write("#note", "by a plain form")
	p.follow("#backup-now")
	p.holds("it says what was done", `document.querySelector("[data-flash]").innerText.includes("under way")`)
	p.reloadUntil("the progress", `document.querySelector(".run[data-state=running] progress")`)
	p.follow(".run-head a")
	p.holds("the page of the operation shows its steps", `document.querySelectorAll("[data-step]").length > 1`)
	d.clock.leap(3 * time.Minute)
	p.reloadUntil("the end", `document.querySelector("[data-operation]").dataset.state === "succeeded"`)
	p.follow(`.tabs a[href$="/backups"]`)
	made := p.copies()
	if len(made) != len(before)+1 {
		t.Fatalf("copies %v, before %v", made, before)
	}

	p.click("#note-of-" + made[0] + " summary")
	p.write("#note-"+made[0], "a better note")
	p.follow("#note-of-" + made[0] + " button")
	p.holds("the note is there", fmt.Sprintf(`document.querySelector("#backup-%s").innerText.includes("a better note")`, made[0]))

	p.click(".schedule summary")
	grid := p.grid()
	for i := range 7 {
		if eval[bool](p, fmt.Sprintf(`document.querySelector("[name=day_%d]").checked`, i)) {
			p.click(fmt.Sprintf("[name=day_%d]", i))
		}
	}
	p.follow(".schedule-save .btn")
	p.holds("the last day is asked about", `document.querySelector("main").innerText.includes("No automatic backups from now on?")`)
	p.follow(".confirm-actions a")
	if got := p.grid(); got != grid {
		t.Errorf("the schedule reads %q, want %q as before", got, grid)
	}

	p.follow("#remove-" + made[0])
	p.follow(".confirm-actions .btn-danger")
	p.reloadUntil("the copy to be gone", fmt.Sprintf(`!document.querySelector("#backup-%s") && !document.querySelector(".run")`, made[0]))
	p.click(".account summary")
	p.follow(`.account form[action="/logout"] button`)
	p.holds("signed out", `location.pathname === "/login"`)
	p.clean("without scripts")
}

// reloadUntil loads the page again until something is so. Without an open stream the engine looks every ten seconds
// only, so the clock is moved.
func (p *tab) reloadUntil(what, expression string) {
	p.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(time.Second) {
		if eval[bool](p, "Boolean("+expression+")") {
			return
		}
		p.d.clock.leap(4 * time.Second)
		if time.Now().After(end) {
			p.t.Fatalf("%s waited in vain for %s: %s\n%s", p.who, what, expression, p.state())
		}
		p.reload()
	}
}

func (d *browserDemo) byKeyboard(t *testing.T) {
	p := d.tab(t, "ada", desktop)
	p.open("/login")
	p.holds("one can write at once", `document.activeElement.id === "email"`)
	p.keys(demoEmail("ada") + "\t" + demoPassword)
	p.enter("main form .btn-primary")
	p.enter(fmt.Sprintf(`[data-service=%q] a`, d.shop.line(demoNever).UID))
	p.enter(`.tabs a[href$="/backups"]`)
	p.tabTo("#note")
	p.keys("by keyboard")
	p.enter("#backup-now")
	p.until("the progress", running)
	d.clock.leap(3 * time.Minute)
	p.until("the end", `!document.querySelector(".run") && document.querySelector(".copy")`)
	made := p.copies()[0]
	p.enter("#remove-" + made)
	p.holds("it warns of removing the only copy", `document.querySelector(".form-warning-strong")`)
	p.enter(".confirm-actions .btn-danger")
	p.until("the copy to be gone", `!document.querySelector(".copy") && !document.querySelector(".run")`)
	p.clean("by keyboard")
}

// tabTo presses Tab until the focus is on something, and wants to see the focus all the way.
func (p *tab) tabTo(selector string) {
	p.t.Helper()
	for range 200 {
		if eval[bool](p, fmt.Sprintf(`document.activeElement.matches(%q)`, selector)) {
			return
		}
		p.keys("\t")
		if hidden := eval[string](p, unseenFocus); hidden != "" {
			p.t.Errorf("%s, %s: nobody sees the focus on %s", p.who, p.here(), hidden)
		}
	}
	p.t.Fatalf("%s can't reach %s by Tab\n%s", p.who, selector, p.state())
}

// enter goes to something by Tab and presses Enter on it, which leads to another page.
func (p *tab) enter(selector string) {
	p.t.Helper()
	p.tabTo(selector)
	p.leave(func() { p.keys("\r") })
}

// unseenFocus is what has the focus without a ring of two pixels around it, or out of sight; or "".
const unseenFocus = `(() => {
	const e = document.activeElement;
	if (!e || e === document.body) return "";
	const style = getComputedStyle(e), box = e.getBoundingClientRect();
	const ring = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2 || / 0px 0px 0px ([2-9]|\d\d)[\d.]*px/.test(style.boxShadow);
	const inView = box.width > 1 && box.height > 1 && box.bottom > 0 && box.right > 0 && box.top < innerHeight && box.left < innerWidth && e.checkVisibility({opacityProperty: true, visibilityProperty: true});
	return ring && inView ? "" : e.outerHTML.slice(0, 120) + " at " + JSON.stringify(box) + ", outline " + style.outline + ", shadow " + style.boxShadow;
})()`

func (d *browserDemo) stoppedEngine(t *testing.T) {
	p, admin := d.as(t, "grace", desktop), d.as(t, "admin", desktop)
	p.open(d.path(demoRunning, "backups"))
	p.until("the progress", running)
	admin.fault("engine", "")
	d.clock.leap(3 * time.Minute)
	p.until("the banner", `document.querySelector("[data-notice=tick]")?.innerText.startsWith("Automatic backups have been standing still since")`)
	p.until("figures to go", `!`+running+` && document.querySelector(".run").innerText.includes("The portal has not looked at your host since")`)
	ready := eval[int](p, `fetch("/healthz").then(answer => answer.status)`)
	if ready != 200 {
		t.Errorf("with its engine stopped the process is %d", ready)
	}
	admin.healEverything()
	p.until("the engine to be back", `!document.querySelector("[data-notice=tick]") && `+running)
	p.clean("engine stopped")
}

func (d *browserDemo) expiredSession(t *testing.T) {
	p := d.as(t, "ada", desktop)
	p.open(d.path(demoFailed, "backups"))
	going := p.copies()[1]
	p.follow("#remove-" + going)
	question := p.here()
	d.clock.leap(2*time.Hour + time.Minute)
	p.follow(".confirm-actions .btn-danger")
	p.holds("it says that the session has ended", `location.pathname === "/login" && document.querySelector("main").innerText.includes("You were signed out after a while without use.")`)
	if next := eval[string](p, `new URLSearchParams(location.search).get("next")`); next != question {
		t.Errorf("from there one comes to %q, want %q", next, question)
	}
	p.signIn("ada")
	p.holds("one is back at the question", fmt.Sprintf(`location.pathname === %q && !document.querySelector(".confirm-actions .btn-danger").disabled`, question))
	p.open(d.path(demoFailed, "backups"))
	if !slices.Contains(p.copies(), going) {
		t.Error("the copy was removed although nobody was signed in")
	}
	p.clean("signed in again")

	// A page that only stands there notices it by itself.
	p.open(d.path(demoFailed, "backups"))
	d.clock.leap(2*time.Hour + time.Minute)
	p.until("the page to ask for a sign-in", `location.pathname === "/login"`)
	if next, err := url.Parse(p.here()); err != nil || next.Query().Get("next") != d.path(demoFailed, "backups") {
		t.Errorf("from there one comes to %v, %v", next, err)
	}
}
