package templates

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"stowage/static"
)

// stage is a live page, most often the backups page, with an event stream that the test holds in its hands.
type stage struct {
	*httptest.Server
	sync.Mutex
	page   BackupsPage
	events chan string
	drop   chan struct{} // closed: the streams end and new ones are refused
	over   chan struct{} // closed when the test ends
}

func newStage(t *testing.T, page BackupsPage) *stage {
	s := &stage{page: page}
	s.open(t, page.Service.path(""), "/backups", func() View { return s.page })
	return s
}

// open begins to serve what view gives at that time.
func (s *stage) open(t *testing.T, base, rest string, view func() View) {
	s.events, s.drop, s.over = make(chan string, 16), make(chan struct{}), make(chan struct{})
	mux := http.NewServeMux()
	mux.Handle(static.Prefix, static.Handler())
	mux.HandleFunc("GET "+base+rest, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Security-Policy", policy)
		s.Lock()
		defer s.Unlock()
		fmt.Fprint(w, render(t, view().View()))
	})
	mux.HandleFunc("GET "+base+"/events", func(w http.ResponseWriter, r *http.Request) {
		s.Lock()
		drop := s.drop
		s.Unlock()
		select {
		case <-drop:
			w.WriteHeader(http.StatusBadGateway)
			return
		default:
		}
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "event: ping\ndata:\n\n")
		for {
			w.(http.Flusher).Flush()
			select {
			case text := <-s.events:
				fmt.Fprint(w, text)
			case <-drop:
				return
			case <-s.over:
				return
			case <-r.Context().Done():
				return
			}
		}
	})
	s.Server = httptest.NewServer(mux)
	t.Cleanup(func() {
		close(s.over)
		s.CloseClientConnections()
		s.Close()
	})
}

// send sends one fragment as an event.
func (s *stage) send(t *testing.T, f Fragment) {
	t.Helper()
	var b bytes.Buffer
	fmt.Fprintf(&b, "event: %s\n", f.Event)
	for line := range strings.SplitSeq(render(t, f.Body), "\n") {
		fmt.Fprintf(&b, "data: %s\n", line)
	}
	b.WriteString("\n")
	s.events <- b.String()
}

func (s *stage) set(change func(*stage)) {
	s.Lock()
	defer s.Unlock()
	change(s)
}

// newTab opens a tab that closes with the test.
func newTab(t *testing.T, browser context.Context, limit time.Duration) context.Context {
	t.Helper()
	limited, cancel := context.WithTimeout(browser, limit)
	tab, closeTab := chromedp.NewContext(limited)
	t.Cleanup(func() {
		closeTab()
		cancel()
	})
	return tab
}

// TestLive plays the life of an open backups page: pieces come in, somebody types, the stream drops and comes back.
func TestLive(t *testing.T) {
	t.Parallel()
	browser := theBrowser(t)
	page := backupsPage()
	page.Schedule.Days[3].Time = "04:30"
	s := newStage(t, page)
	tab := newTab(t, browser, 2*time.Minute)
	do := func(steps ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		if err := chromedp.Do(tab, steps...); err != nil {
			t.Fatal(err)
		}
	}
	// until waits for an expression to hold.
	until := func(what, expression string) {
		t.Helper()
		limited, cancel := context.WithTimeout(tab, 20*time.Second)
		defer cancel()
		if _, err := chromedp.Run(limited, chromedp.Poll[bool](expression)); err != nil {
			state, _ := chromedp.Run(tab, chromedp.Evaluate[string](`document.title + " | " + document.querySelector("main").innerText.slice(0, 900)`))
			t.Fatalf("%s: %v\n%s", what, err, state)
		}
	}
	holds := func(what, expression string) {
		t.Helper()
		if ok, err := chromedp.Run(tab, chromedp.Evaluate[bool](expression)); err != nil || !ok {
			t.Fatalf("%s: not so (%v)", what, err)
		}
	}
	do(chromedp.Navigate(s.URL + page.Service.path("/backups")))
	holds("no connection is lost at first", `document.querySelector("[data-live-lost]").hidden`)

	// The schedule is open on a wide screen, and one time spreads to all days.
	holds("schedule to be seen", `document.querySelector("#time_3").checkVisibility({contentVisibilityAuto: true}) && document.querySelector("#time_3").getBoundingClientRect().height > 10`)
	holds("one time for all days", `(() => {
		const all = document.querySelector("#time_all");
		all.value = "05:15";
		all.dispatchEvent(new Event("input", {bubbles: true}));
		return [...document.querySelectorAll("[data-day-time]")].every(time => time.value === "05:15");
	})()`)

	// A backup begins: bar, tab title and spoken words follow.
	run := runningBackup()
	run.Percent, run.Version = 10, 2
	s.send(t, Fragment{EventRunning, rightNow(page.Service, []Running{run}, Idle{})})
	until("progress", `document.querySelector(".run progress")?.value === 10`)
	until("tab title", `document.title.startsWith("(10 %) h100")`)
	run.Percent, run.Version = 55, 5
	s.send(t, Fragment{EventRunning, rightNow(page.Service, []Running{run}, Idle{})})
	until("spoken words", `document.querySelector("[data-live-say]").textContent === "Backing up h100: 55 percent"`)

	// What is older never comes back; and the event after it shows that it was seen.
	run.Percent, run.Version = 30, 4
	s.send(t, Fragment{EventRunning, rightNow(page.Service, []Running{run}, Idle{})})
	s.send(t, Fragment{EventCounter, counter(Counter{Used: 4, Quota: 10, Running: 1})})
	until("counter", `document.querySelector("[data-count=backups]").textContent === "4/10"`)
	holds("the older progress stayed out", `document.querySelector(".run progress").value === 55`)

	// Somebody writes a note while the list changes: what they write stays, and the list comes when they are done.
	uid := page.List.Rows[0].UID
	do(
		chromedp.Click("#note-of-"+uid+" summary"),
		chromedp.Click("#note-"+uid),
		chromedp.SendKeys("#note-"+uid, "half a wo"),
	)
	list := BackupList{Rows: append([]BackupRow{goodRow(0)}, page.List.Rows...)}
	s.send(t, Fragment{EventList, copies(page.Service, list)})
	s.send(t, Fragment{EventCounter, counter(Counter{Used: 5, Quota: 10})})
	until("counter again", `document.querySelector("[data-count=backups]").textContent === "5/10"`)
	holds("what is being written stays", `document.querySelector("#note-`+uid+`").value === "half a wo" && document.querySelectorAll(".copy").length === 3`)
	do(chromedp.Blur("#note-" + uid))
	until("the list came after", `document.querySelectorAll(".copy").length === 4`)
	holds("the draft is still there", `document.querySelector("#note-of-`+uid+`").open && document.querySelector("#note-`+uid+`").value === "half a wo"`)

	// The stream drops: no figure stands still, and the page says so.
	s.set(func(s *stage) { close(s.drop) })
	until("lost", `!document.querySelector("[data-live-lost]").hidden`)
	holds("no figure while it is lost", `!document.querySelector(".run progress").hasAttribute("value") && !/\d/.test(document.querySelector(".run-percent").textContent + document.querySelector(".run-numbers").textContent)`)
	holds("tab title without a figure", `!document.title.includes("%")`)

	// Where no stream gets through, the page asks by itself.
	s.set(func(s *stage) {
		run.Percent, run.Version = 80, 9
		s.page.Running, s.page.Counter = []Running{run}, Counter{Used: 6, Quota: 10}
	})
	until("news without a stream", `document.querySelector("[data-count=backups]").textContent === "6/10" && document.querySelector(".run progress").value === 80`)

	// And it comes back.
	s.set(func(s *stage) { s.drop = make(chan struct{}) })
	until("back", `document.querySelector("[data-live-lost]").hidden`)
	s.send(t, Fragment{EventRunning, rightNow(page.Service, nil, Idle{})})
	until("the end", `!document.querySelector(".run") && document.title === "Backups of h100 · Stowage"`)
	until("the end is spoken", `document.querySelector("[data-live-say]").textContent.startsWith("Backing up h100 has ended")`)

	// Two taps send one form.
	holds("two taps", `(() => {
		let sent = 0;
		addEventListener("submit", event => { if (!event.defaultPrevented) sent++; event.preventDefault(); });
		const button = document.querySelector("#backup-now");
		button.click();
		button.click();
		return sent === 1 && button.getAttribute("aria-busy") === "true";
	})()`)
}

// TestTheme holds that the choice of colours is kept in a cookie, and that without one the page follows the system.
func TestTheme(t *testing.T) {
	t.Parallel()
	s := newStage(t, backupsPage())
	tab := newTab(t, theBrowser(t), time.Minute)
	for _, step := range []chromedp.Action[chromedp.Void]{
		chromedp.Navigate(s.URL + s.page.Service.path("/backups")),
		chromedp.Click(".account summary"),
		chromedp.Click(`.account button[value="dark"]`),
	} {
		if err := chromedp.Do(tab, step); err != nil {
			t.Fatal(err)
		}
	}
	got, err := chromedp.Run(tab, chromedp.Evaluate[[]string](`[document.cookie, document.documentElement.dataset.bsTheme, getComputedStyle(document.body).colorScheme, document.querySelector('.account button[value="dark"]').getAttribute("aria-pressed")]`))
	if err != nil {
		t.Fatal(err)
	}
	if want := "theme=dark dark dark true"; strings.Join(got, " ") != want {
		t.Errorf("%q, want %q", got, want)
	}
}
