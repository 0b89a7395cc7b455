package templates

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"stowage/portal/lang"
	"stowage/static"
)

var shotsDir = flag.String("shots", "", "put a picture of every page into this folder, in the looks that -looks names")

var galleryOnly = flag.String("only", "", "show only the pages whose name starts with this")

// policy is the content security policy that every page of the portal carries.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'; font-src 'self'"

// look is a screen and a theme.
type look struct {
	name          string
	width, height int64
	scheme        string
	axe           string // what axe looks for, as its option runOnly; "" leaves it out, for it takes longer than all the rest
}

// What axe looks for. All of WCAG 2.2 AA and its best practice; then only what another theme, another screen or other
// words can change: words change no colours, and colours no room.
const (
	everything = `["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]`
	colours    = `{type: "rule", values: ["color-contrast"]}`
	room       = `{type: "rule", values: ["target-size", "scrollable-region-focusable"]}`
	both       = `{type: "rule", values: ["color-contrast", "target-size", "scrollable-region-focusable"]}`
)

// looks are those of each language, in an order in which little changes from one to the next: a page is loaded once.
// What is said in the made-up language is longer than in any, so that what has room there has room in all.
var looks = map[string][]look{
	lang.English: {
		{"wide-light", 1280, 900, "light", everything},
		{"wide-dark", 1280, 900, "dark", colours},
		{"small-dark", 320, 640, "dark", both},
		{"small-light", 320, 640, "light", colours},
	},
	lang.German: {{"wide-light-de", 1280, 900, "light", structure}, {"small-dark-de", 320, 640, "dark", room}},
	lang.Pseudo: {{"wide-pseudo", 1280, 900, "light", ""}, {"small-pseudo", 320, 640, "light", ""}},
}

// structure is everything but the colours, with which nearly all the time goes.
const structure = `{type: "tag", values: ` + everything + `}, rules: {"color-contrast": {enabled: false}}`

// TestBrowser shows every page of the gallery in a browser, wide and on a small phone, light and dark, in every
// language: nothing reaches beyond the screen, no words beyond their button, nothing breaks the content security
// policy, and axe finds nothing that shuts people out.
func TestBrowser(t *testing.T) {
	t.Parallel()
	axe, err := os.ReadFile("../static/node_modules/axe-core/axe.min.js")
	if err != nil {
		t.Fatalf("axe-core is needed: %v (run `npm ci --ignore-scripts` in static)", err)
	}
	pages := gallery()
	server := galleryServer(t, pages)
	browser := theBrowser(t)
	t.Run("pages", func(t *testing.T) { // ends with the last of them, and before the browser
		for _, tag := range []string{lang.English, lang.German, lang.Pseudo} {
			t.Run(tag, func(t *testing.T) {
				t.Parallel()
				limited, cancel := context.WithTimeout(browser, 8*time.Minute)
				defer cancel()
				b := openTab(t, limited, string(axe))
				for _, p := range pages {
					if strings.HasPrefix(p.name, *galleryOnly) {
						b.inspect(t, server.URL, tag, p.name)
					}
				}
			})
		}
	})
}

// browserTab is a tab in which pages are looked at, one after the other.
type browserTab struct {
	context.Context
	complaints complaints
	width      int64
	scheme     string
}

// openTab opens a tab. script runs in every page before its own.
func openTab(t *testing.T, browser context.Context, script string) *browserTab {
	t.Helper()
	tab, closeTab := chromedp.NewContext(browser)
	t.Cleanup(closeTab)
	b := &browserTab{Context: tab}
	check := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(nil, chromedp.Listen(tab, b.complaints.hear))
	check(chromedp.Call(tab, log.Enable, cdp.Empty{}))
	check(chromedp.Call(tab, runtime.Enable, cdp.Empty{}))
	check(chromedp.Call(tab, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: script}))
	return b
}

// take gives the tab the screen and the theme of a look.
func (b *browserTab) take(l look) (err error) {
	if l.width != b.width {
		_, err = chromedp.Call(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
			Width: l.width, Height: l.height, DeviceScaleFactor: 1, Mobile: l.width < 600,
		})
	}
	if l.scheme != b.scheme && err == nil {
		_, err = chromedp.Call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: l.scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
		}})
	}
	b.width, b.scheme = l.width, l.scheme
	return err
}

// TestMain closes the browser after the last test.
func TestMain(m *testing.M) {
	flag.Parse()
	m.Run()
	if shared.stop != nil {
		shared.stop()
	}
}

// shared is the one browser that all tests open their tabs in. It starts with the first of them.
var shared struct {
	sync.Mutex
	context.Context
	stop func()
	err  error
}

// theBrowser gives the browser, or skips where there is none.
func theBrowser(t *testing.T) context.Context {
	t.Helper()
	path := findChromium(t)
	if err := static.Check(); err != nil {
		t.Fatal(err)
	}
	shared.Lock()
	defer shared.Unlock()
	if shared.Context == nil && shared.err == nil {
		startBrowser(path)
	}
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.Context
}

// startBrowser starts the browser with a fresh profile.
func startBrowser(path string) {
	profile, err := os.MkdirTemp("", "stowage-browser")
	if err != nil {
		shared.err = err
		return
	}
	allocator, stop := chromedp.NewExecAllocator(context.Background(),
		chromedp.ExecPath(path), chromedp.UserDataDir(profile), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.NoFirstRun, chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true), chromedp.Flag("hide-scrollbars", true),
	)
	browser, closeBrowser := chromedp.NewContext(allocator)
	shared.Context, shared.stop = browser, func() {
		_ = chromedp.Cancel(browser)
		closeBrowser()
		stop()
		_ = os.RemoveAll(profile)
	}
	shared.err = chromedp.Do(browser)
}

// inspect opens one page in a language and reports what is wrong with it in each of its looks.
func (b *browserTab) inspect(t *testing.T, base, tag, name string) {
	t.Helper()
	b.complaints.clear()
	for i, l := range looks[tag] {
		if err := b.take(l); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if i == 0 {
			if err := chromedp.Do(b, chromedp.Navigate(base+"/"+tag+"/"+name)); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		beyond, err := chromedp.Run(b, chromedp.Evaluate[[]string](overflowing))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, e := range beyond {
			t.Errorf("%s, %s: %s", name, l.name, e)
		}
		if l.axe != "" {
			found, err := chromedp.Run(b, chromedp.Evaluate[[]violation](fmt.Sprintf(runAxe, l.axe, l.name), chromedp.EvalAwaitPromise))
			if err != nil {
				t.Fatalf("%s: axe: %v", name, err)
			}
			for _, v := range found {
				t.Errorf("%s, %s: %s: %s\n\t%s", name, l.name, v.ID, v.Help, strings.Join(v.Nodes, "\n\t"))
			}
		}
		for _, c := range b.complaints.all() {
			t.Errorf("%s, %s: the browser says: %s", name, l.name, c)
		}
		if *shotsDir != "" {
			shoot(t, b, name, l)
		}
	}
}

// shoot puts a picture of the whole page into the folder of the flag.
func shoot(t *testing.T, tab context.Context, name string, l look) {
	picture, err := chromedp.Run(tab, chromedp.FullScreenshot(100))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if err := os.MkdirAll(*shotsDir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(*shotsDir, name+"-"+l.name+".png"), picture, 0o644); err != nil {
		t.Fatal(err)
	}
}

type violation struct {
	ID    string   `json:"id"`
	Help  string   `json:"help"`
	Nodes []string `json:"nodes"`
}

// runAxe looks at a page, but not again at pieces that it has seen in this look on an earlier page: they are the same
// letter by letter, in the same place.
const runAxe = `(() => {
	const seen = new Set(JSON.parse(sessionStorage.getItem("seen-%[2]s") ?? "[]"));
	const pieces = [...document.querySelectorAll("header, footer, main section, main form, main li, main details")];
	const key = (e) => {
		let text = e.outerHTML;
		for (let up = e.parentElement; up; up = up.parentElement) text += "<" + up.tagName + "." + up.className;
		let hash = 5381, other = 52711;
		for (let i = 0; i < text.length; i++) {
			hash = (hash * 33) ^ text.charCodeAt(i);
			other = (other * 31) ^ text.charCodeAt(i);
		}
		return hash + ":" + other;
	};
	const keys = pieces.map(key);
	for (const a of document.getAnimations()) try { a.finish(); } catch { a.cancel(); } // a change of colours takes a moment
	const exclude = pieces.filter((e, i) => seen.has(keys[i]));
	for (const k of keys) seen.add(k);
	sessionStorage.setItem("seen-%[2]s", JSON.stringify([...seen]));
	return axe.run({include: [document], exclude}, {runOnly: %[1]s, resultTypes: ["violations"]}).then(r =>
		r.violations.map(v => ({id: v.id, help: v.help, nodes: v.nodes.map(n => n.html.slice(0, 160) + " — " + (n.any[0]?.message || n.all[0]?.message || n.none[0]?.message || ""))})));
})()`

// overflowing names what reaches beyond the screen, and words that reach beyond their button or badge.
const overflowing = `(() => {
	const wide = document.documentElement.clientWidth;
	const found = [];
	if (document.documentElement.scrollWidth > wide)
		for (const e of document.querySelectorAll("body *"))
			if (e.getBoundingClientRect().right > wide + 1 && e.checkVisibility() && !e.closest(".tabs ul, .menu ul")) found.push("reaches beyond the screen: " + e.outerHTML.slice(0, 120));
	const hidden = (e) => {
		for (; e; e = e.parentElement) {
			const style = getComputedStyle(e);
			if (style.clipPath !== "none" || style.clip !== "auto" || style.visibility === "hidden") return true;
			if (e.parentElement?.matches("details:not([open])") && e.tagName !== "SUMMARY" && !e.checkVisibility()) return true;
		}
		return false;
	};
	const range = document.createRange();
	for (const button of document.querySelectorAll("button, .btn, .badge, .status, label.day-name, summary, .tabs a, .menu a")) {
		const box = button.getBoundingClientRect();
		if (!box.width) continue;
		const walker = document.createTreeWalker(button, NodeFilter.SHOW_TEXT);
		for (let text = walker.nextNode(); text; text = walker.nextNode()) {
			if (!text.data.trim()) continue;
			range.selectNodeContents(text);
			for (const r of range.getClientRects())
				if (r.width && (r.left < box.left - 1 || r.right > box.right + 1 || r.top < box.top - 3 || r.bottom > box.bottom + 3) && !hidden(text.parentElement)) found.push("words beyond their button: " + text.data.trim() + " in " + button.outerHTML.slice(0, 100));
		}
		for (const e of [button, ...button.querySelectorAll("*")])
			if (e.scrollWidth > e.clientWidth + 1 && e.clientWidth && getComputedStyle(e).overflowX !== "visible" && !hidden(e)) found.push("clipped: " + e.outerHTML.slice(0, 120));
	}
	return found.slice(0, 5);
})()`

// galleryServer serves the pages of the gallery with the headers of the portal.
func galleryServer(t *testing.T, pages []picture) *httptest.Server {
	mux := http.NewServeMux()
	mux.Handle(static.Prefix, static.Handler())
	for _, tag := range []string{lang.English, lang.German, lang.Pseudo} {
		for _, p := range pages {
			html := renderIn(t, tag, p.page.View())
			mux.HandleFunc("GET /"+tag+"/"+p.name, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/html; charset=utf-8")
				w.Header().Set("Content-Security-Policy", policy)
				fmt.Fprint(w, html)
			})
		}
	}
	mux.HandleFunc("GET /services/{uid}/events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "event: ping\ndata:\n\n")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	server := httptest.NewServer(mux)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server
}

// complaints gathers what the browser writes to its console as errors, breaches of the policy among them.
type complaints struct {
	sync.Mutex
	list []string
}

func (c *complaints) hear(event any) {
	c.Lock()
	defer c.Unlock()
	switch e := event.(type) {
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError && !strings.Contains(e.Entry.URL, "favicon.ico") {
			c.list = append(c.list, e.Entry.Text+" "+e.Entry.URL)
		}
	case *runtime.EventExceptionThrown:
		c.list = append(c.list, e.ExceptionDetails.Text)
	}
}

func (c *complaints) clear() {
	c.Lock()
	defer c.Unlock()
	c.list = nil
}

func (c *complaints) all() []string {
	c.Lock()
	defer c.Unlock()
	return append([]string(nil), c.list...)
}

// findChromium gives the browser's path, or skips.
func findChromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("needs Chromium (Debian: apt-get install chromium)")
	return ""
}
