package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"stowage/static"
)

// patience is how long a condition may take: far more than it does, for the machine may have other work.
const patience = 90 * time.Second

// slowly is a speed at which the page sees every part of a backup; what is to be over soon is over by a leap.
const slowly = "0.5"

// shifting is a clock that goes as clocks do, and that a test moves ahead.
type shifting struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (s *shifting) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Add(s.ahead)
}

func (s *shifting) leap(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ahead += d
}

// browserDemo is a running `stowage demo` and a browser.
type browserDemo struct {
	clock   *shifting
	address string
	browser context.Context
	axe     string
	shots   string    // folder of the pictures
	shop    *demoShop // what the pages should know
}

// newBrowserDemo starts the demo as its command does, in this process so that its clock can be moved, and Chromium.
func newBrowserDemo(t *testing.T) *browserDemo {
	t.Helper()
	path := chromium(t)
	if err := static.Check(); err != nil {
		t.Fatal(err)
	}
	axe, err := os.ReadFile("../../static/node_modules/axe-core/axe.min.js")
	if err != nil {
		t.Fatalf("axe-core is needed: %v (run `npm ci --ignore-scripts` in static)", err)
	}
	d := &browserDemo{clock: &shifting{}, axe: string(axe), shots: os.Getenv("SCREENSHOTS")}
	if d.shots == "" {
		d.shots = filepath.Join(os.TempDir(), "stowage-screenshots")
	}
	if err := os.MkdirAll(d.shots, 0o755); err != nil {
		t.Fatal(err)
	}
	folder, out, log := demoFolder(filepath.Join(t.TempDir(), "demo")), &buffer{}, &buffer{}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"demo", "--listen", "127.0.0.1:0", "--data", string(folder), "--speed", slowly}, &app{now: d.clock.now, in: strings.NewReader(""), out: out, err: log})
	}()
	t.Cleanup(func() {
		stop()
		select {
		case code := <-ended:
			if code != exitDone {
				t.Errorf("the demo ended with %d: %s", code, log)
			}
		case <-time.After(20 * time.Second):
			t.Error("the demo does not end")
		}
		if t.Failed() {
			t.Logf("the demo's log:\n%s", log)
		}
	})
	d.browser = startChromium(t, path) // while the demo is being filled
	listening := regexp.MustCompile(`Stowage demo: (\S+)`)
	eventually(t, "the demo to listen", func() bool {
		select {
		case code := <-ended:
			t.Fatalf("the demo ended with %d: %s", code, log)
		default:
		}
		m := listening.FindStringSubmatch(out.String())
		if m != nil {
			d.address = m[1]
		}
		return m != nil
	})
	d.shop = folder.look(t, d.clock.now)
	return d
}

// chromium gives the browser's path, or skips.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("needs Chromium (Debian: apt-get install chromium)")
	return ""
}

// startChromium starts a browser with a fresh profile, which stops with the test.
func startChromium(t *testing.T, path string) context.Context {
	t.Helper()
	allocator, stop := chromedp.NewExecAllocator(context.Background(),
		chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true), chromedp.Flag("hide-scrollbars", true), chromedp.Flag("disable-dev-shm-usage", true),
		// Pages behind others go on as if somebody looked at them.
		chromedp.Flag("disable-background-timer-throttling", true), chromedp.Flag("disable-renderer-backgrounding", true),
		chromedp.Flag("disable-backgrounding-occluded-windows", true),
	)
	browser, end := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		_ = chromedp.Cancel(browser)
		end()
		stop()
	})
	if err := chromedp.Do(browser); err != nil {
		t.Fatal(err)
	}
	return browser
}

// screen is what somebody looks at.
type screen struct {
	width, height int64
	dark          bool
}

var (
	desktop     = screen{1280, 900, false}
	desktopDark = screen{1280, 900, true}
	phone       = screen{390, 844, false}
	phoneDark   = screen{390, 844, true}
	smallPhone  = screen{320, 640, false}
)

// tab is one tab of a browser of somebody's own: no cookie of another's is in it.
type tab struct {
	t    testing.TB
	d    *browserDemo
	who  string
	ctx  context.Context
	stop context.CancelFunc

	address string // of the demo, as this tab reaches it

	screen screen

	mu       sync.Mutex
	heard    []string
	expected map[string]bool // what is meant to be refused: "404 /path"
	deaf     bool            // the connection is meant to be lost
}

// tab opens one. Whatever the browser complains of in it fails the test at the next look.
func (d *browserDemo) tab(t testing.TB, who string, at screen) *tab {
	t.Helper()
	p := &tab{t: t, d: d, who: who, address: d.address, expected: map[string]bool{}}
	p.ctx, p.stop = chromedp.NewContext(d.browser, chromedp.WithNewBrowserContext())
	t.Cleanup(p.stop)
	if err := chromedp.Listen(p.ctx, p.hear); err != nil {
		t.Fatal(err)
	}
	call(p, log.Enable, cdp.Empty{})
	call(p, runtime.Enable, cdp.Empty{})
	call(p, network.Enable, network.EnableParams{})
	call(p, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
	call(p, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: watchPage})
	p.look(at)
	return p
}

// watchPage notes breaches of the content security policy, what is read aloud, and by how much things jump.
const watchPage = `
window.seen = {csp: [], said: [], shift: 0, shifts: []};
document.addEventListener("securitypolicyviolation", e => seen.csp.push(e.violatedDirective + " " + e.blockedURI + " " + (e.sample || "")));
new PerformanceObserver(list => {
	for (const e of list.getEntries()) {
		if (e.hadRecentInput) continue;
		seen.shift += e.value;
		seen.shifts.push(e.value.toFixed(4) + " at " + Math.round(e.startTime) + ": " + e.sources.map(s => [s.previousRect, s.currentRect].map(r => [r.x, r.y, r.width, r.height].map(Math.round).join(" ")).join(" > ") + " " + (s.node?.outerHTML || s.node?.textContent || "?").slice(0, 90)).join(" | "));
	}
}).observe({type: "layout-shift", buffered: true});
document.addEventListener("DOMContentLoaded", () => {
	const say = document.querySelector("[data-live-say]");
	if (say) new MutationObserver(() => say.textContent && seen.said.push(say.textContent)).observe(say, {childList: true, characterData: true, subtree: true});
});`

// call sends a command of the DevTools protocol.
func call[P, R any](p *tab, cmd cdp.Command[P, R], params P) R {
	p.t.Helper()
	r, err := chromedp.Call(p.ctx, cmd, params)
	if err != nil {
		p.t.Fatalf("%s: %s: %v", p.who, cmd.Method, err)
	}
	return r
}

// eval gives the value of an expression.
func eval[T any](p *tab, expression string) T {
	p.t.Helper()
	v, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		p.t.Fatalf("%s: %s: %v", p.who, expression, err)
	}
	return v
}

// look changes the screen and its colours.
func (p *tab) look(at screen) {
	p.t.Helper()
	call(p, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: at.width, Height: at.height, DeviceScaleFactor: 1, Mobile: at.width < 600})
	was := p.screen
	if p.screen = at; was.dark == at.dark && was.width != 0 {
		return
	}
	scheme := "light"
	if at.dark {
		scheme = "dark"
	}
	call(p, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}})
	// Colours that fade into each other are none that anybody reads.
	eval[bool](p, `Promise.all(document.getAnimations().filter(a => a instanceof CSSTransition).map(a => a.finished.catch(() => 0))).then(() => true)`)
}

// zone moves the browser to another time zone.
func (p *tab) zone(name string) {
	p.t.Helper()
	call(p, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: name})
}

// hear notes what the browser complains of.
func (p *tab) hear(event any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := event.(type) {
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError && !p.deaf && !p.meant(e.Entry.Text, e.Entry.URL) {
			p.heard = append(p.heard, e.Entry.Text+" "+e.Entry.URL)
		}
	case *runtime.EventExceptionThrown:
		text := e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			text += " " + e.ExceptionDetails.Exception.Description
		}
		p.heard = append(p.heard, text)
	case *runtime.EventConsoleAPICalled:
		if p.deaf {
			return
		}
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeAssert {
			text, _ := json.Marshal(e.Args)
			p.heard = append(p.heard, "console: "+string(text))
		}
	case *network.EventRequestWillBeSent:
		if u, err := url.Parse(e.Request.URL); err != nil || u.Scheme != "data" && u.Scheme+"://"+u.Host != p.address {
			p.heard = append(p.heard, "a request goes to "+e.Request.URL)
		}
	}
}

var refusedWith = regexp.MustCompile(`responded with a status of (\d+)`)

// meant tells whether a refusal is what the test asked for.
func (p *tab) meant(text, address string) bool {
	m := refusedWith.FindStringSubmatch(text)
	u, err := url.Parse(address)
	return m != nil && err == nil && p.expected[m[1]+" "+u.Path]
}

// expect says that a path will be refused: the browser's word about it is no complaint.
func (p *tab) expect(status int, path string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expected[fmt.Sprint(status)+" "+path] = true
}

// offline says that the tab's connection is lost for a while: what can't be loaded then is no complaint.
func (p *tab) offline(lost bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deaf = lost
}

// clean wants nothing to have been complained of since the last look.
func (p *tab) clean(where string) {
	p.t.Helper()
	p.mu.Lock()
	heard := p.heard
	p.heard = nil
	p.mu.Unlock()
	for _, h := range heard {
		p.t.Errorf("%s, %s: the browser says: %s", p.who, where, h)
	}
	if eval[bool](p, `typeof seen === "object"`) {
		for _, v := range eval[[]string](p, `seen.csp.splice(0)`) {
			p.t.Errorf("%s, %s: against the content security policy: %s", p.who, where, v)
		}
	}
}

// open goes to a page.
func (p *tab) open(path string) {
	p.t.Helper()
	limited, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if err := chromedp.Do(limited, chromedp.Navigate(p.address+path)); err != nil {
		p.t.Fatalf("%s: %s: %v", p.who, path, err)
	}
}

func (p *tab) reload() { p.t.Helper(); p.open(p.here()) }

// here is the path of the page that is open.
func (p *tab) here() string {
	p.t.Helper()
	return eval[string](p, `location.pathname + location.search`)
}

// until waits for an expression to hold, and prints what it waited for where it never does.
func (p *tab) until(what, expression string) {
	p.t.Helper()
	var last error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(40 * time.Millisecond) {
		ok, err := chromedp.Run(p.ctx, chromedp.Evaluate[bool]("Boolean("+expression+")", chromedp.EvalAwaitPromise))
		if ok && err == nil {
			return
		}
		if last = err; p.ctx.Err() != nil {
			break // between two pages expressions fail; without a browser all do
		}
	}
	p.t.Fatalf("%s waited in vain for %s: %s (%v)\n%s", p.who, what, expression, last, p.state())
}

// holds wants an expression to hold now.
func (p *tab) holds(what, expression string) {
	p.t.Helper()
	if !eval[bool](p, "Boolean("+expression+")") {
		p.t.Fatalf("%s: not so: %s: %s\n%s", p.who, what, expression, p.state())
	}
}

// state is what the page shows, and the name of a picture of it.
func (p *tab) state() string {
	limited, cancel := context.WithTimeout(p.ctx, 20*time.Second)
	defer cancel()
	text, err := chromedp.Run(limited, chromedp.Evaluate[string](`location.pathname + " · " + document.title + "\n" + (document.querySelector("main") || document.body).innerText.slice(0, 3000)`))
	if err != nil {
		return err.Error()
	}
	if picture, err := chromedp.Run(limited, chromedp.CaptureScreenshot()); err == nil {
		path := filepath.Join(p.d.shots, "failed-"+p.who+".png")
		if os.WriteFile(path, picture, 0o644) == nil {
			text += "\npicture: " + path
		}
	}
	return text
}

// shoot takes a picture, of the screen or of the whole page.
func (p *tab) shoot(name string, whole bool) {
	p.t.Helper()
	take := chromedp.CaptureScreenshot()
	if whole {
		take = chromedp.FullScreenshot(100)
	}
	picture, err := chromedp.Run(p.ctx, take)
	if err == nil {
		err = os.WriteFile(filepath.Join(p.d.shots, name+".png"), picture, 0o644)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// click presses the mouse in the middle of an element, where nothing covers it.
func (p *tab) click(selector string) {
	p.t.Helper()
	quoted, _ := json.Marshal(selector)
	found := fmt.Sprintf(`(() => {
		const e = document.querySelector(%s);
		if (!e || e.disabled || !e.checkVisibility()) return null;
		e.scrollIntoView({block: "center", behavior: "instant"});
		const box = e.getBoundingClientRect(), x = box.x + box.width / 2, y = box.y + box.height / 2;
		const top = document.elementFromPoint(x, y);
		return top && (e === top || e.contains(top) || top.contains(e)) ? [x, y] : null;
	})()`, quoted)
	p.until("something to press: "+selector, found)
	at := eval[[]float64](p, found)
	if err := chromedp.Do(p.ctx, chromedp.MouseClickXY(at[0], at[1])); err != nil {
		p.t.Fatal(err)
	}
}

// follow presses something that leads to another page, and waits for that page.
func (p *tab) follow(selector string) {
	p.t.Helper()
	p.leave(func() { p.click(selector) })
}

// leave waits for the page that comes of an act.
func (p *tab) leave(act func()) {
	p.t.Helper()
	eval[bool](p, `window.before = true`)
	act()
	p.until("another page", `!window.before && document.readyState === "complete"`)
}

// write types into a field, in place of what is in it.
func (p *tab) write(selector, text string) {
	p.t.Helper()
	p.click(selector)
	quoted, _ := json.Marshal(selector)
	eval[bool](p, fmt.Sprintf(`(document.querySelector(%s).select(), true)`, quoted))
	p.keys(text)
}

func (p *tab) keys(text string) {
	p.t.Helper()
	if err := chromedp.Do(p.ctx, chromedp.KeyEvent(text)); err != nil {
		p.t.Fatal(err)
	}
}

// signIn signs in where the page asks for it.
func (p *tab) signIn(key string) {
	p.t.Helper()
	p.write("#email", demoEmail(key))
	p.write("#password", demoPassword)
	p.follow(`main form .btn-primary`)
}

// as opens a tab in which somebody is signed in.
func (d *browserDemo) as(t testing.TB, key string, at screen) *tab {
	t.Helper()
	p := d.tab(t, key, at)
	p.open("/login")
	p.signIn(key)
	return p
}

// path is an address of a service's pages.
func (d *browserDemo) path(name string, rest ...string) string {
	return strings.Join(append([]string{"/services", d.shop.line(name).UID}, rest...), "/")
}

// violation is what axe found.
type violation struct {
	ID    string   `json:"id"`
	Help  string   `json:"help"`
	Nodes []string `json:"nodes"`
}

// What axe looks for: all of WCAG 2.2 AA and its best practice, or what other colours change.
const (
	everyRule = `["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]`
	colours   = `{type: "rule", values: ["color-contrast", "link-in-text-block"]}`
)

// accessible wants axe to find nothing that shuts people out.
func (p *tab) accessible(where, rules string) {
	p.t.Helper()
	if !eval[bool](p, `typeof axe === "object"`) {
		eval[bool](p, p.d.axe+"; true")
	}
	for _, v := range eval[[]violation](p, `axe.run(document, {runOnly: `+rules+`, resultTypes: ["violations"], preload: false}).then(r =>
		r.violations.map(v => ({id: v.id, help: v.help, nodes: v.nodes.map(n => n.html.slice(0, 160) + " — " + (n.any[0]?.message || n.all[0]?.message || n.none[0]?.message || ""))})))`) {
		p.t.Errorf("%s, %s: %s: %s\n\t%s", p.who, where, v.ID, v.Help, strings.Join(v.Nodes, "\n\t"))
	}
}

// fits wants nothing to reach beyond the screen.
func (p *tab) fits(where string) {
	p.t.Helper()
	for _, e := range eval[[]string](p, `(() => {
		const wide = document.documentElement.clientWidth;
		if (document.documentElement.scrollWidth <= wide) return [];
		return [...document.querySelectorAll("body *")]
			.filter(e => e.getBoundingClientRect().right > wide + 1 && !e.closest(".tabs ul, .menu ul"))
			.slice(0, 5).map(e => e.outerHTML.slice(0, 120));
	})()`) {
		p.t.Errorf("%s, %s: reaches beyond the screen: %s", p.who, where, e)
	}
}

// worded wants every text to be said: none shows where something was to be filled in, or how it is written down.
func (p *tab) worded(where string) {
	p.t.Helper()
	for _, text := range eval[[]string](p, `[document.title, ...document.querySelectorAll("body *")]
		.flatMap(e => e.localName ? [...e.childNodes].filter(n => n.nodeType === 3).map(n => n.data).concat([...e.attributes].filter(a => /^(title|aria-label|placeholder|data-say|value)$/.test(a.name)).map(a => a.value)) : e)
		.filter(text => /[\u0000-\u0008]|%[sd!]|\[object/.test(text)).map(text => JSON.stringify(text.slice(0, 120)))`) {
		p.t.Errorf("%s, %s: not worded: %s", p.who, where, text)
	}
}
