package templates

import (
	"context"
	"fmt"
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
		if (!entry.hadRecentInput) window.shifts.push(entry.value.toFixed(4) + " " + entry.sources.map(s => {
			const e = s.node?.nodeType === 1 ? s.node : s.node?.parentElement;
			return (e?.tagName + "." + e?.className).slice(0, 60) + " " + Math.round(s.previousRect.y) + "→" + Math.round(s.currentRect.y) + " " + Math.round(s.previousRect.height) + "→" + Math.round(s.currentRect.height);
		}).join("; "));
}).observe({type: "layout-shift", buffered: true});`

// TestNothingShifts plays the life of a backup on an open page: figures, words and dots change, and nothing moves.
func TestNothingShifts(t *testing.T) {
	t.Parallel()
	browser := theBrowser(t)
	for name, screen := range map[string]emulation.SetDeviceMetricsOverrideParams{
		"wide":  {Width: 1280, Height: 2600, DeviceScaleFactor: 1},
		"phone": {Width: 390, Height: 2600, DeviceScaleFactor: 1, Mobile: true},
	} {
		t.Run(name, func(t *testing.T) {
			run := runningBackup()
			run.Percent, run.Version = 0, 1
			view := backupsPage()
			view.Running = []Running{run}
			view.Counter.Running = 1
			view.Service.Status = Status{State: "busy", Text: "Busy", Detail: portal.Say("Backing up since %s", "02:01")}
			view.BackupNow.Act = Denied("A backup of this machine is running already.")
			s := newStage(t, view)
			tab := newTab(t, browser, time.Minute)
			must := func(_ any, err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			must(chromedp.Call(tab, emulation.SetDeviceMetricsOverride, screen))
			must(chromedp.Call(tab, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: watchShifts}))
			must(nil, chromedp.Do(tab, chromedp.Navigate(s.URL+view.Service.path("/backups"))))
			settle(t, tab)
			must(chromedp.Run(tab, chromedp.Evaluate[int](`window.shifts.length = 0`)))

			n := 0
			step := func(what string, change func()) {
				t.Helper()
				n++
				run.Version++
				view.Running = []Running{run}
				change()
				if len(view.Running) == 1 {
					view.Running[0] = run
				}
				for _, f := range view.Fragments() {
					s.send(t, f)
				}
				mark := fmt.Sprintf("step-%d", n)
				s.send(t, Fragment{"status", status(Status{State: mark, Text: view.Service.Status.Text, Detail: view.Service.Status.Detail})})
				limited, cancel := context.WithTimeout(tab, 20*time.Second)
				defer cancel()
				must(chromedp.Run(limited, chromedp.Poll[bool](`!!document.querySelector('[data-status="`+mark+`"]')`)))
				settle(t, tab)
				moved, err := chromedp.Run(tab, chromedp.Evaluate[[]string](`window.shifts.splice(0)`))
				must(nil, err)
				for _, m := range moved {
					t.Errorf("%s: %s", what, m)
				}
			}
			for _, percent := range []int{1, 9, 10, 42, 99, 100} {
				step(fmt.Sprintf("%d %%", percent), func() {
					run.Percent = percent
					run.Bytes, run.Speed = OfBytes(int64(percent)<<30/3, 32<<30), Speed(int64(percent)<<22)
					run.Left = portal.Say("about %s left", Duration(time.Duration(101-percent)*time.Minute))
				})
			}
			step("out of reach", func() {
				run.Stale = portal.Say("We can't reach your host since %s. A backup that has begun goes on there without us.", "02:02")
			})
			step("in reach again", func() { run.Stale = "" })
			step("checking", func() {
				run.Percent, run.Bytes, run.Speed, run.Left, run.Step = -1, "", "", "", "Checking the copy"
			})
			step("an hour later", func() {
				view.Protection.Sentence = portal.Sentences(portal.Say("If it broke now you would lose %s.", portal.Duration(24*time.Hour+11*time.Minute)), portal.Say("With this schedule at most about %s.", portal.Say("%d h", 24)), portal.Say("A restore takes %s.", portal.Say("%d–%d minutes", 4, 9)))
				view.Ledger.Dots[29].State, view.Ledger.Dots[29].Reason = "running", "Waits for its turn."
			})
			step("the row comes where the card was", func() {
				view.Running, view.Counter = nil, Counter{Used: 4, Quota: 10}
				view.Service.Status, view.BackupNow.Act = Status{State: "running", Text: "Running"}, Allowed()
				row := view.List.Rows[0]
				row.UID, row.Origin, row.Note = "01k8newcopy", "manual", run.Note
				view.List.Rows = append([]BackupRow{row}, view.List.Rows...)
			})
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
