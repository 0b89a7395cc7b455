package templates

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"

	"stowage/portal/lang"
	"stowage/static"
)

// TestSpeech holds what an open page reads aloud by itself: each quarter of a backup and its end, and what is new, in
// one place, and never a time that runs down.
func TestSpeech(t *testing.T) {
	t.Parallel()
	browser := theBrowser(t)
	view := backupsPage()
	run := runningBackup()
	run.Percent, run.Version = 3, 1
	view.Running = []Running{run}
	s := newStage(t, view)
	tab := newTab(t, browser, time.Minute)
	if err := chromedp.Do(tab, chromedp.Navigate(s.URL+view.Service.path("/backups"))); err != nil {
		t.Fatal(err)
	}
	places, err := chromedp.Run(tab, chromedp.Evaluate[int](`(() => {
		window.said = [];
		const say = document.querySelector("[data-live-say]");
		new MutationObserver(() => say.textContent && window.said.push(say.textContent)).observe(say, {childList: true, characterData: true, subtree: true});
		return document.querySelectorAll("[aria-live], [role=status], [role=alert], [role=log], [role=timer], output").length;
	})()`))
	if err != nil {
		t.Fatal(err)
	}
	if places != 1 {
		t.Errorf("%d live regions", places)
	}
	wait := func(expression string) {
		t.Helper()
		if _, err := chromedp.Run(tab, chromedp.Poll[bool](expression)); err != nil {
			t.Fatal(err)
		}
	}
	for _, percent := range []int{5, 24, 25, 26, 49, 50, 63, 74, 75, 76, 99, 100} {
		run.Percent = percent
		run.Version++
		s.send(t, Fragment{EventRunning, rightNow(view.Service, []Running{run}, Idle{})})
		wait(fmt.Sprintf(`document.querySelector(".run progress")?.value === %d && document.title.startsWith("(%d %%) h100 · ")`, percent, percent))
	}
	s.send(t, Fragment{EventRunning, rightNow(view.Service, nil, Idle{})})
	wait(`!document.querySelector(".run")`)
	s.send(t, Fragment{EventNotices, notices([]Notice{NoticeSuspended()})})
	wait(`!!document.querySelector("[data-notice]")`)
	settle(t, tab)
	said, err := chromedp.Run(tab, chromedp.Evaluate[[]string](`window.said`))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"Backing up h100: 25 percent", "Backing up h100: 50 percent", "Backing up h100: 75 percent", "Backing up h100: 100 percent",
		"Backing up h100 has ended. The page is up to date.",
		"This service is suspended. You can look, but nothing can be changed and no backups are taken. Your copies are kept.",
	}
	if diff := cmp.Diff(want, said); diff != "" {
		t.Errorf("read aloud: %s", diff)
	}
}

// TestFocusStays holds that whoever goes by keyboard stays where they are when a piece of the page is exchanged, also on
// what has no id, and near it where it has gone or can't be pressed any more.
func TestFocusStays(t *testing.T) {
	t.Parallel()
	view, run := backupsPage(), runningBackup()
	view.Running = []Running{run}
	s := newStage(t, view)
	tab := newTab(t, theBrowser(t), time.Minute)
	if err := chromedp.Do(tab, chromedp.Navigate(s.URL+view.Service.path("/backups"))); err != nil {
		t.Fatal(err)
	}
	holds := func(what, expression string) {
		t.Helper()
		limited, cancel := context.WithTimeout(tab, 20*time.Second)
		defer cancel()
		if _, err := chromedp.Run(limited, chromedp.Poll[bool](expression)); err != nil {
			had, _ := chromedp.Run(tab, chromedp.Evaluate[string](`document.activeElement.outerHTML.slice(0, 200)`))
			t.Errorf("%s: %v; the focus is on %s", what, err, had)
		}
	}
	focus := func(selector string) { holds("focus", `(document.querySelector("`+selector+`").focus(), true)`) }
	progress := func(percent int) {
		run.Percent, run.Version = percent, run.Version+1
		s.send(t, Fragment{EventRunning, rightNow(view.Service, []Running{run}, Idle{})})
	}
	focus(".run-head a")
	progress(70)
	holds("a link without an id", `document.querySelector(".run progress").value === 70 && document.activeElement.matches(".run-head a")`)
	focus(".copy:nth-child(2) .copy-log")
	s.send(t, Fragment{EventList, copies(view.Service, view.List)})
	view.List.Rows = append([]BackupRow{goodRow(0)}, view.List.Rows...)
	s.send(t, Fragment{EventList, copies(view.Service, view.List)})
	holds("a link in the list", `document.querySelectorAll(".copy").length === 4 && document.activeElement.matches(".copy .copy-log")`)
	focus("#backup-now")
	s.send(t, Fragment{EventBackupNow, backupButton(BackupNow{Act: Denied("A backup of this machine is running already.")})})
	holds("a button that is disabled", `document.querySelector("#backup-now").disabled && document.activeElement.id === "backups"`)
	focus(".run-cancel button")
	s.send(t, Fragment{EventRunning, rightNow(view.Service, nil, idleBackups())})
	holds("a button that has gone", `!document.querySelector(".run") && document.activeElement.matches(".now")`)
}

// posts is a portal of a few pages that notes what is sent to it.
type posts struct {
	*httptest.Server
	sync.Mutex
	sent []string
}

func newPosts(t *testing.T, pages map[string]View) *posts {
	p := &posts{}
	mux := http.NewServeMux()
	mux.Handle("GET "+static.Prefix, static.Handler())
	for path, view := range pages {
		html := renderIn(t, lang.English, view.View())
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Security-Policy", policy)
			fmt.Fprint(w, html)
		})
	}
	mux.HandleFunc("POST /", func(w http.ResponseWriter, r *http.Request) {
		p.Lock()
		defer p.Unlock()
		_ = r.ParseForm()
		p.sent = append(p.sent, r.URL.Path+"?"+r.PostForm.Encode())
		http.Redirect(w, r, "/done", http.StatusSeeOther)
	})
	mux.HandleFunc("GET /done", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<title>done</title><p id=done>done") })
	p.Server = httptest.NewServer(mux)
	t.Cleanup(func() {
		p.CloseClientConnections()
		p.Close()
	})
	return p
}

// TestWithoutScripts does with a browser that runs no scripts what a client does most.
func TestWithoutScripts(t *testing.T) {
	t.Parallel()
	browser := theBrowser(t)
	fresh := backupsPage()
	fresh.List.Rows, fresh.Schedule, fresh.Counter = nil, noSchedule(), Counter{Quota: 5}
	usual := backupsPage()
	base := usual.Service.path("")
	s := newPosts(t, map[string]View{"/fresh": fresh, "/usual": usual})
	tab := newTab(t, browser, time.Minute)
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	do := func(steps ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		must(nil, chromedp.Do(tab, steps...))
	}
	must(chromedp.Call(tab, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}))
	must(chromedp.Call(tab, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: 390, Height: 844, DeviceScaleFactor: 1, Mobile: true}))
	do(chromedp.Navigate(s.URL+"/fresh"), chromedp.Click(".suggestion button"), chromedp.WaitVisible("#done"))
	do(chromedp.Navigate(s.URL+"/usual"), chromedp.SendKeys("#note", "before"), chromedp.Click("#backup-now"), chromedp.WaitVisible("#done"))
	do(chromedp.Navigate(s.URL+"/usual"), chromedp.Click(".schedule > summary"), chromedp.Click(".schedule-save button"), chromedp.WaitVisible("#done"))
	do(chromedp.Navigate(s.URL+"/usual"), chromedp.Click(".account > summary"), chromedp.Click(`.account form[action="/logout"] button`), chromedp.WaitVisible("#done"))
	s.Lock()
	defer s.Unlock()
	for i, want := range []string{base + "/schedule?day_0=on&", base + "/backups?note=before", base + "/schedule?day_0=on&", "/logout?"} {
		if i >= len(s.sent) || !strings.HasPrefix(s.sent[i], want) {
			t.Errorf("sent %q, want %q in its place", s.sent, want)
		}
	}
}

// TestKeyboardAlone goes through pages with the Tab key: the way around the menu comes first, what has the focus is
// seen and shows that it has it, and the order is that of the page.
func TestKeyboardAlone(t *testing.T) {
	t.Parallel()
	browser := theBrowser(t)
	varied := backupsPage()
	varied.List, varied.Running, varied.Live = BackupList{Rows: variedRows()[:3]}, []Running{runningBackup()}, false
	pages := map[string]View{"/backups": varied}
	for _, p := range gallery() {
		switch p.name {
		case "admin-operation-held", "delete", "account", "login":
			pages["/"+p.name] = p.page
		}
	}
	s := newPosts(t, pages)
	tab := newTab(t, browser, 2*time.Minute)
	if _, err := chromedp.Call(tab, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-reduced-motion", Value: "reduce"}}}); err != nil {
		t.Fatal(err)
	}
	for path := range pages {
		if err := chromedp.Do(tab, chromedp.Navigate(s.URL+path)); err != nil {
			t.Fatal(err)
		}
		begin, last, stops := 0, 0, 0
		for ; stops < 200; stops++ {
			if err := chromedp.Do(tab, chromedp.KeyEvent("\t")); err != nil {
				t.Fatal(err)
			}
			at, err := chromedp.Run(tab, chromedp.Evaluate[stop](focused))
			if err != nil {
				t.Fatal(err)
			}
			if at.Place < 0 || stops > 0 && at.Place == begin { // out of the page, or around it
				break
			}
			if stops == 0 {
				begin = at.Place
				if path != "/login" && !strings.Contains(at.What, "Skip to the content") {
					t.Errorf("%s: the first stop is %s", path, at.What)
				}
			}
			if at.Lack != "" {
				t.Errorf("%s: %s %s", path, at.What, at.Lack)
			}
			if at.Place < last { // a field of time has several stops
				t.Errorf("%s: %s comes out of order", path, at.What)
			}
			last = at.Place
		}
		if stops < 3 || stops == 200 {
			t.Errorf("%s: %d stops", path, stops)
		}
	}
	// The way around the menu leads into the content.
	if err := chromedp.Do(tab, chromedp.Navigate(s.URL+"/backups"), chromedp.KeyEvent("\t"), chromedp.KeyEvent("\r"), chromedp.KeyEvent("\t")); err != nil {
		t.Fatal(err)
	}
	if inside, err := chromedp.Run(tab, chromedp.Evaluate[bool](`document.querySelector("main").contains(document.activeElement)`)); err != nil || !inside {
		t.Errorf("after the way around the menu the focus is elsewhere (%v)", err)
	}
}

// stop is where the focus is on its way through a page.
type stop struct {
	Place      int // in the document; -1 out of the page
	What, Lack string
}

// focused says where in the page the focus is, and what it lacks: to be seen, and to be seen to have it.
const focused = `(() => {
	const e = document.activeElement;
	if (!e || e === document.body || e === document.documentElement) return {Place: -1, What: "", Lack: ""};
	const place = [...document.querySelectorAll("*")].indexOf(e);
	const what = e.tagName.toLowerCase() + "#" + e.id + " " + (e.innerText || e.value || e.className || "").slice(0, 40);
	const box = e.getBoundingClientRect();
	const lack = [];
	if (!e.checkVisibility() || box.width < 8 || box.height < 8 || box.bottom < 0 || box.top > innerHeight) lack.push("is not seen");
	const ring = (x, part) => {
		const s = getComputedStyle(x, part);
		return s.outlineStyle !== "none" && parseFloat(s.outlineWidth) > 0 || s.boxShadow !== "none";
	};
	if (!ring(e) && !ring(e, "::after") && !ring(e, "::before") && !ring(e.closest("label, .dot, li") ?? e)) lack.push("does not show that it has the focus");
	return {Place: place, What: what, Lack: lack.join(", ")};
})()`
