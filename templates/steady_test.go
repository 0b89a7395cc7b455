package templates

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"stowage/portal"
)

// watchShifts notes everything on a page that moves without anybody having touched it.
const watchShifts = `window.shifts = [];
new PerformanceObserver((list) => {
	for (const entry of list.getEntries())
		if (!entry.hadRecentInput) window.shifts.push(...entry.sources.map(s => {
			const e = s.node?.nodeType === 1 ? s.node : s.node?.parentElement;
			const list = document.querySelector("#list");
			const below = list && e && (list.contains(e) || list.compareDocumentPosition(e) & Node.DOCUMENT_POSITION_FOLLOWING && s.previousRect.y >= list.getBoundingClientRect().y);
			return (below ? "below " : "above ") + (e?.tagName + "." + e?.className).slice(0, 60) + " " + Math.round(s.previousRect.y) + "→" + Math.round(s.currentRect.y) + " " + Math.round(s.previousRect.height) + "→" + Math.round(s.currentRect.height);
		}));
}).observe({type: "layout-shift", buffered: true});`

// screens are what people look at, high enough for the whole page to be seen.
var screens = map[string]emulation.SetDeviceMetricsOverrideParams{
	"wide":  {Width: 1280, Height: 2600, DeviceScaleFactor: 1},
	"phone": {Width: 390, Height: 2600, DeviceScaleFactor: 1, Mobile: true},
}

// steady is an open page on which nothing may move.
type steady struct {
	t     *testing.T
	stage *stage
	tab   context.Context
	steps int
}

func (s *steady) must(_ any, err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func openSteady(t *testing.T, browser context.Context, s *stage, path string, screen emulation.SetDeviceMetricsOverrideParams) *steady {
	p := &steady{t: t, stage: s, tab: newTab(t, browser, time.Minute)}
	p.must(chromedp.Call(p.tab, emulation.SetDeviceMetricsOverride, screen))
	p.must(chromedp.Call(p.tab, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: watchShifts}))
	p.must(nil, chromedp.Do(p.tab, chromedp.Navigate(s.URL+path)))
	settle(t, p.tab)
	p.must(chromedp.Run(p.tab, chromedp.Evaluate[int](`window.shifts.length = 0`)))
	return p
}

// step sends the pieces of a page and wants nothing to have moved, or only what stands below the list where that has
// become longer.
func (s *steady) step(what string, pieces []Fragment, now Status, longer bool) {
	s.t.Helper()
	s.steps++
	for _, f := range pieces {
		s.stage.send(s.t, f)
	}
	mark := fmt.Sprintf("step-%d", s.steps)
	now.State = mark
	s.stage.send(s.t, Fragment{EventStatus, status(now)})
	limited, cancel := context.WithTimeout(s.tab, 20*time.Second)
	defer cancel()
	s.must(chromedp.Run(limited, chromedp.Poll[bool](`!!document.querySelector('[data-status="`+mark+`"]')`)))
	settle(s.t, s.tab)
	moved, err := chromedp.Run(s.tab, chromedp.Evaluate[[]string](`window.shifts.splice(0)`))
	s.must(nil, err)
	for _, m := range moved {
		if !longer || !strings.HasPrefix(m, "below ") {
			s.t.Errorf("%s: %s", what, m)
		}
	}
}

// TestNothingShifts plays the life of a backup that begins by itself on an open page: figures, words and dots change,
// and nothing moves. Only when the new copy comes to stand in the list, that is longer by a row.
func TestNothingShifts(t *testing.T) {
	t.Parallel()
	browser := theBrowser(t)
	for name, screen := range screens {
		t.Run(name, func(t *testing.T) {
			view := backupsPage()
			p := openSteady(t, browser, newStage(t, view), view.Service.path("/backups"), screen)
			run := runningBackup()
			run.Percent, run.Version, run.Origin, run.Note = -1, 1, "scheduled", ""
			send := func(what string, change func()) {
				t.Helper()
				run.Version++
				change()
				if run.State != "" {
					view.Running = []Running{run}
				}
				p.step(what, view.Fragments(), view.Service.Status, len(view.List.Rows) > 3)
			}
			send("nothing runs", func() { run.State = "" })
			send("it waits for its turn", func() {
				run.State, run.Title, run.Bytes, run.Speed, run.Left = "queued", "The scheduled backup waits", "", "", ""
				run.Step = portal.Say("%s. You can close this page.", portal.Say("%s: %s", InLine(4), "another backup runs on this host"))
				view.Counter.Running = 1
				view.BackupNow.Act = Denied("A backup of this machine is waiting already.")
			})
			send("it begins", func() {
				run.State, run.Title, run.Step = "running", portal.Say("Backing up %s", "h100"), "Looking at the machine and its storage"
				view.Service.Status = Status{Text: "Busy", Detail: portal.Say("Backing up since %s", "02:01")}
				view.BackupNow.Act = Denied(portal.Say("A backup of this machine is running already (began %s ago).", Duration(time.Minute)))
				for i := range view.List.Rows {
					view.List.Rows[i].Restore = view.BackupNow.Act.With(WayOut{Label: "See how it goes", Href: "/x"})
				}
			})
			for _, percent := range []int{1, 9, 10, 42, 99, 100} {
				send(fmt.Sprintf("%d %%", percent), func() {
					run.Percent, run.Step = percent, "Writing the copy"
					run.Bytes, run.Speed = OfBytes(int64(percent)<<30/3, 32<<30), Speed(int64(percent)<<22)
					run.Left = portal.Say("about %s left", Duration(time.Duration(101-percent)*time.Minute))
				})
			}
			send("out of reach", func() {
				run.Stale = portal.Say("We can't reach your host since %s. A backup that has begun goes on there without us.", "02:02")
			})
			send("in reach again", func() { run.Stale = "" })
			send("checking", func() {
				run.Percent, run.Bytes, run.Speed, run.Left, run.Step = -1, "", "", "", "Checking the copy"
				run.Cancel = Denied("The backup is made already; it is only being checked.")
			})
			send("an hour later", func() {
				view.Protection.Sentence = portal.Sentences(portal.Say("If it broke now you would lose %s.", portal.Duration(24*time.Hour+11*time.Minute)), portal.Say("With this schedule at most about %s.", portal.Say("%d h", 24)), portal.Say("A restore takes %s.", portal.Say("%d–%d minutes", 4, 9)))
				view.Ledger.Dots[29].State, view.Ledger.Dots[29].Reason = "running", "Waits for its turn."
			})
			send("it ends, and the copy comes into the list", func() {
				run.State, view.Running, view.Counter = "", nil, Counter{Used: 4, Quota: 10}
				view.Service.Status, view.BackupNow.Act = Status{Text: "Running"}, Allowed()
				for i := range view.List.Rows {
					view.List.Rows[i].Restore = Allowed()
				}
				row := view.List.Rows[0]
				row.UID = "01k8newcopy"
				view.List.Rows = append([]BackupRow{row}, view.List.Rows...)
			})
		})
	}
}

// TestNothingShiftsAroundSnapshots plays one that is taken by somebody else on an open page, and one that ends by itself.
func TestNothingShiftsAroundSnapshots(t *testing.T) {
	t.Parallel()
	browser := theBrowser(t)
	for name, screen := range screens {
		t.Run(name, func(t *testing.T) {
			view := snapshotsPage(snapRow("01k8one", 2*time.Hour, 70*time.Hour), snapRow("01k8two", 30*time.Hour, 42*time.Hour))
			view.Live, view.Recent = true, operationRows()[:3]
			s := &stage{}
			s.open(t, view.Service.path(""), "/snapshots", func() View { return view })
			p := openSteady(t, browser, s, view.Service.path("/snapshots"), screen)
			act := func(a Act) {
				view.Take.Act = a
				for i := range view.List.Rows {
					view.List.Rows[i].Rollback, view.List.Rows[i].Remove = a, a
				}
			}
			run := Running{Operation: "01k8running", Kind: "snapshot", State: "running", Version: 2, Machine: "h100", Title: portal.Say("Taking a snapshot of %s", "h100"), Step: "Taking the snapshot", Percent: -1, HideStop: true}
			p.step("nothing runs", view.Fragments(), Status{Text: "Running"}, false)
			view.Running, view.Counter.Running = []Running{run}, 1
			act(Denied("A snapshot of this machine is being taken."))
			p.step("one is being taken", view.Fragments(), Status{Text: "Busy", Detail: portal.Say("Taking a snapshot since %s", "02:01")}, false)
			view.Running, view.Counter = nil, Counter{Used: 3, Quota: 3, Of: "snapshots"}
			view.List.Rows = append([]SnapshotRow{snapRow("01k8new", time.Minute, 71*time.Hour)}, view.List.Rows...)
			act(Allowed())
			p.step("it is taken", view.Fragments(), Status{Text: "Running"}, true)
			run.Kind, run.Title, run.Step = "snapshot-delete", portal.Say("Removing the snapshot of %s", on(30*time.Hour).When), "Removing the snapshot"
			view.Running = []Running{run}
			act(Denied("A snapshot of this machine is being removed."))
			p.step("the oldest ends", view.Fragments(), Status{Text: "Busy", Detail: portal.Say("Removing a snapshot since %s", "02:01")}, false)
			view.Running, view.List.Rows = nil, view.List.Rows[:2]
			act(Allowed())
			p.step("it is gone", view.Fragments(), Status{Text: "Running"}, true)
		})
	}
}

// settle waits until what was changed is drawn.
func settle(t *testing.T, tab context.Context) {
	t.Helper()
	if _, err := chromedp.Run(tab, chromedp.Evaluate[bool](`new Promise(r => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(() => r(true), 50))))`, chromedp.EvalAwaitPromise)); err != nil {
		t.Fatal(err)
	}
}
