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

// What axe looks for: all of WCAG 2.2 AA and its best practice; or only what another theme and another screen change.
const (
	everything = `["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]`
	colours    = `{type: "rule", values: ["color-contrast", "target-size", "scrollable-region-focusable"]}`
)

var looks = []look{
	{"wide-light", 1280, 900, "light", everything},
	{"wide-dark", 1280, 900, "dark", ""},
	{"phone-light", 390, 844, "light", ""},
	{"small-dark", 320, 640, "dark", colours},
}

// TestBrowser shows every page of the gallery in a browser, wide and on phones, light and dark: nothing reaches
// beyond the screen, nothing breaks the content security policy, and axe finds nothing that shuts people out.
func TestBrowser(t *testing.T) {
	chromium := findChromium(t)
	if err := static.Check(); err != nil {
		t.Fatal(err)
	}
	axe, err := os.ReadFile("../static/node_modules/axe-core/axe.min.js")
	if err != nil {
		t.Fatalf("axe-core is needed: %v (run `npm ci --ignore-scripts` in static)", err)
	}
	pages := gallery()
	server := galleryServer(t, pages)

	browser := startBrowser(t, chromium)
	for _, l := range looks {
		t.Run(l.name, func(t *testing.T) {
			limited, cancel := context.WithTimeout(browser, 5*time.Minute)
			defer cancel()
			tab, closeTab := chromedp.NewContext(limited)
			defer closeTab()
			var complaints complaints
			check := func(_ any, err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			check(nil, chromedp.Listen(tab, complaints.hear))
			check(chromedp.Call(tab, log.Enable, cdp.Empty{}))
			check(chromedp.Call(tab, runtime.Enable, cdp.Empty{}))
			check(chromedp.Call(tab, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
				Width: l.width, Height: l.height, DeviceScaleFactor: 1, Mobile: l.width < 600,
			}))
			check(chromedp.Call(tab, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
				{Name: "prefers-color-scheme", Value: l.scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
			}}))
			check(chromedp.Call(tab, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: string(axe)}))
			for _, p := range pages {
				if !strings.HasPrefix(p.name, *galleryOnly) {
					continue
				}
				inspect(t, tab, server.URL, p.name, l, &complaints)
			}
		})
	}
}

// startBrowser starts a browser with a fresh profile, which stops with the test.
func startBrowser(t *testing.T, path string) context.Context {
	t.Helper()
	allocator, stop := chromedp.NewExecAllocator(context.Background(),
		chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.NoFirstRun, chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true), chromedp.Flag("hide-scrollbars", true),
	)
	browser, closeBrowser := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		_ = chromedp.Cancel(browser)
		closeBrowser()
		stop()
	})
	if err := chromedp.Do(browser); err != nil {
		t.Fatal(err)
	}
	return browser
}

// inspect opens one page and reports what is wrong with it.
func inspect(t *testing.T, tab context.Context, base, name string, l look, complaints *complaints) {
	t.Helper()
	complaints.clear()
	if err := chromedp.Do(tab, chromedp.Navigate(base+"/"+name)); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	overflow, err := chromedp.Run(tab, chromedp.Evaluate[[]string](overflowing))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	for _, e := range overflow {
		t.Errorf("%s: reaches beyond the screen: %s", name, e)
	}
	if l.axe != "" {
		found, err := chromedp.Run(tab, chromedp.Evaluate[[]violation](fmt.Sprintf(runAxe, l.axe), chromedp.EvalAwaitPromise))
		if err != nil {
			t.Fatalf("%s: axe: %v", name, err)
		}
		for _, v := range found {
			t.Errorf("%s: %s: %s\n\t%s", name, v.ID, v.Help, strings.Join(v.Nodes, "\n\t"))
		}
	}
	for _, c := range complaints.all() {
		t.Errorf("%s: the browser says: %s", name, c)
	}
	if *shotsDir != "" {
		shoot(t, tab, name, l)
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

const runAxe = `axe.run(document, {runOnly: %s}).then(r =>
	r.violations.map(v => ({id: v.id, help: v.help, nodes: v.nodes.map(n => n.html.slice(0, 160) + " — " + (n.any[0]?.message || n.all[0]?.message || n.none[0]?.message || ""))})))`

const overflowing = `(() => {
	const wide = document.documentElement.clientWidth;
	if (document.documentElement.scrollWidth <= wide) return [];
	return [...document.querySelectorAll("body *")]
		.filter(e => e.getBoundingClientRect().right > wide + 1 && !e.closest(".tabs ul, .menu ul"))
		.slice(0, 5).map(e => e.outerHTML.slice(0, 120));
})()`

// galleryServer serves the pages of the gallery with the headers of the portal.
func galleryServer(t *testing.T, pages []picture) *httptest.Server {
	mux := http.NewServeMux()
	mux.Handle(static.Prefix, static.Handler())
	for _, p := range pages {
		html := render(t, p.page.View())
		mux.HandleFunc("GET /"+p.name, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.Header().Set("Content-Security-Policy", policy)
			fmt.Fprint(w, html)
		})
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
