package templates

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"stowage/static"
)

// TestCountdown shows a page of snapshots in a browser whose clock is years off: the countdown goes by the server's, is
// right when the page is exchanged and after the computer has slept, and is never read aloud.
func TestCountdown(t *testing.T) {
	t.Parallel()
	browser := theBrowser(t)
	row := snapRow("before the update", time.Hour, 26*time.Hour+5*time.Second)
	view := snapshotsPage(row)
	view.Live = false
	var ahead atomic.Int64 // of the server's clock, in ms, beyond the page's first instant
	began := time.Now()
	mux := http.NewServeMux()
	mux.Handle(static.Prefix, static.Handler())
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		v := view
		v.NowMilli = galleryNow.UnixMilli() + time.Since(began).Milliseconds() + ahead.Load()
		_, _ = fmt.Fprint(w, render(t, v.View()))
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	tab := newTab(t, browser, time.Minute)
	if _, err := chromedp.Call(tab, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{
		Source: `{ const real = Date.now.bind(Date); window.off = -3 * 365 * 86400e3; Date.now = () => real() + window.off; }`}); err != nil {
		t.Fatal(err)
	}
	began = time.Now()
	if err := chromedp.Do(tab, chromedp.Navigate(server.URL+"/")); err != nil {
		t.Fatal(err)
	}
	shows := func(what, pattern string) {
		t.Helper()
		if _, err := chromedp.Run(tab, chromedp.Poll[bool](`/`+pattern+`/.test(document.querySelector("time[data-expires]").textContent)`)); err != nil {
			got, _ := chromedp.Run(tab, chromedp.Evaluate[string](`document.querySelector("time[data-expires]").textContent`))
			t.Fatalf("%s: it shows %q, want %s (%v)", what, got, pattern, err)
		}
	}
	holds := func(what, expression string) {
		t.Helper()
		if ok, err := chromedp.Run(tab, chromedp.Evaluate[bool](expression)); err != nil || !ok {
			t.Fatalf("%s: not so (%v)", what, err)
		}
	}
	shows("a clock that is years off", `^1 day 0(2:00:0[0-5]|1:59:5\d)$`)
	shows("it runs", `^1 day 01:59:5\d$`)
	holds("a piece comes anew", `(() => {
		const list = document.querySelector("#list");
		list.innerHTML = list.innerHTML.replace(/(<time[^>]*data-expires[^>]*>)[^<]*/, "$1");
		return document.querySelector("time[data-expires]").textContent === "";
	})()`)
	shows("and is filled", `^1 day 01:59:5\d$`)
	// The computer sleeps for two hours: its steady counter stands, its clock goes on.
	ahead.Store((2 * time.Hour).Milliseconds())
	holds("asleep", `(() => { window.off += 2 * 3600e3; return true; })()`)
	shows("after sleep", `^0 days 23:59:\d\d$`)
	// Somebody sets the clock by a year: the server is asked, and its word stands.
	holds("the clock is set", `(() => { window.off += 365 * 86400e3; return true; })()`)
	shows("after the clock was set", `^0 days 23:5\d:\d\d$`)
	holds("it is not read aloud", `!document.querySelector("time[data-expires]").closest("[aria-live], [role=status], [role=timer]") && document.querySelector("time[data-expires]").getAttribute("aria-hidden") === "true"`)
}
