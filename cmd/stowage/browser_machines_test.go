package main

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// leaps moves the clock until a page shows something, or it has been moved too far.
func (d *browserDemo) leaps(p *tab, what, expression string) {
	p.t.Helper()
	for range 120 {
		if eval[bool](p, "Boolean("+expression+")") {
			return
		}
		d.clock.leap(3 * time.Second)
		time.Sleep(150 * time.Millisecond) // what the portal does between two looks is done in real time
	}
	p.t.Fatalf("waited in vain for %s\n%s", what, p.state())
}

// snapshotAndBack takes a snapshot on a phone, watches its countdown, goes back to it, and removes it.
func (d *browserDemo) snapshotAndBack(t *testing.T) {
	p := d.as(t, "linus", phone)
	path := d.path(demoIdleLinus, "snapshots")
	p.open(path)
	p.holds("it is said that snapshots are no backups", `document.querySelector("main").innerText.includes("Snapshots are no backups")`)
	p.write("#description", "before the kernel")
	p.follow("#take-snapshot")
	row := `document.querySelector("[data-snapshot][data-state=there]")`
	d.leaps(p, "the snapshot", row)
	p.holds("it carries its description", row+`.innerText.includes("before the kernel")`)
	p.holds("one of three places is used", `document.querySelector("[data-count=snapshots]").textContent === "1/3"`)
	left := row + `.querySelector("time[data-expires]").textContent`
	before := eval[string](p, left)
	p.until("the countdown goes on", fmt.Sprintf(`%s !== %q && /^\d+ days \d\d:\d\d:\d\d$/.test(%s)`, left, before, left))
	p.holds("it is never read aloud", row+`.querySelector("time[data-expires]").getAttribute("aria-hidden") === "true"`)
	p.accessible("snapshots", everyRule)
	p.fits("snapshots")
	uid := eval[string](p, row+`.dataset.snapshot`)

	p.follow("#rollback-" + uid)
	p.holds("it asks, naming machine and snapshot", fmt.Sprintf(`[%q, "before the kernel", "Lost", "Stays"].every(text => document.querySelector("main").innerText.includes(text))`, demoIdleLinus))
	p.accessible("rollback", everyRule)
	p.follow(".confirm-actions .btn-danger")
	p.open(d.path(demoIdleLinus, "operations"))
	d.leaps2(p, "the end of the rollback", `[data-kind=rollback][data-state=succeeded]`)

	p.open(path)
	p.follow("#delete-" + uid)
	p.follow(".confirm-actions .btn-danger")
	d.leaps(p, "the snapshot to be gone", fmt.Sprintf(`!document.querySelector("[data-snapshot='%s']")`, uid))
	p.clean("snapshots")
}

// leaps2 moves the clock and loads the page anew until an element is there.
func (d *browserDemo) leaps2(p *tab, what, selector string) {
	p.t.Helper()
	for range 60 {
		if eval[bool](p, fmt.Sprintf(`Boolean(document.querySelector(%q))`, selector)) {
			return
		}
		d.clock.leap(8 * time.Second)
		time.Sleep(400 * time.Millisecond)
		p.reload()
	}
	p.t.Fatalf("waited in vain for %s\n%s", what, p.state())
}

// restoreYesterday puts yesterday's machine back: asked with the name, refused with a wrong one, watched to its end.
func (d *browserDemo) restoreYesterday(t *testing.T) {
	p := d.as(t, "linus", desktop)
	p.open(d.path(demoIdleLinus, "backups"))
	link := eval[string](p, `document.querySelector(".copy a[href$='/restore']").getAttribute("href")`)
	p.open(link)
	if strings.Contains(eval[string](p, `document.querySelector("main").innerText`), "being read") {
		p.reload()
	}
	p.holds("it says what is lost and what stays", `["Lost", "Everything since", "Stays", "First we save"].every(text => document.querySelector("main").innerText.includes(text))`)
	p.accessible("restore", everyRule)
	word := eval[string](p, `document.querySelector("[data-confirm]").innerText`)
	p.write("#confirm", "something else")
	p.expect(422, link)
	p.follow(".confirm-actions .btn-danger")
	p.holds("what was typed is kept, with what is wrong", `document.querySelector("#confirm").value === "something else" && document.querySelector("#confirm-wrong")`)
	p.write("#confirm", strings.ToUpper(word))
	p.follow(".confirm-actions .btn-danger")
	p.open(d.path(demoIdleLinus, "operations"))
	operation := eval[string](p, `document.querySelector("[data-kind=restore]").dataset.operation`)
	p.open(d.path(demoIdleLinus, "operations", operation))
	p.holds("its steps are listed", `document.querySelector("main").innerText.includes("Restor")`)
	p.accessible("a restore under way", everyRule)
	d.leaps2(p, "the end of the restore", `[data-operation="`+operation+`"][data-state=succeeded]`)
	p.holds("it shows how to go back", `/go back|safety|before the restore/i.test(document.querySelector("main").innerText)`)
	p.look(smallPhone)
	p.fits("a restore that has ended")
	p.look(desktop)
	p.clean("restored")
}

// powerDuringABackup wants a restart while a backup runs: it is asked which of the two matters more.
func (d *browserDemo) powerDuringABackup(t *testing.T) {
	p := d.as(t, "linus", phone)
	p.open(d.path(demoIdleLinus, "backups"))
	p.write("#note", "in the way")
	p.follow("#backup-now")
	d.leaps(p, "the backup to run", `document.querySelector(".run[data-state=running]")`)
	p.open(d.path(demoIdleLinus, "power") + "?action=reboot")
	p.holds("it says what runs, and offers both ways", `["A backup of this machine", "Cancel it and restart", "Restart when it is done"].every(text => document.querySelector("main").innerText.includes(text))`)
	p.accessible("power during a backup", everyRule)
	p.fits("power during a backup")
	p.leave(func() {
		eval[bool](p, `([...document.querySelectorAll("main form")].find(f => f.innerText.includes("Cancel it and restart")).requestSubmit(), true)`)
	})
	p.open(d.path(demoIdleLinus, "operations"))
	d.leaps2(p, "the restart", `[data-kind=power][data-state=succeeded]`)
	p.holds("the backup was cancelled for it", `document.querySelector("[data-kind=backup]").dataset.state === "cancelled"`)
	p.clean("power")
}

// installAnew puts a fresh system on a machine, by a typed word.
func (d *browserDemo) installAnew(t *testing.T) {
	p := d.as(t, "ada", desktop)
	p.open(d.path(demoNone, "reinstall"))
	p.holds("it says what is lost and what stays", `["Lost", "Stays", "Debian 13", "Ubuntu 24.04 LTS"].every(text => document.querySelector("main").innerText.includes(text))`)
	p.accessible("reinstall", everyRule)
	p.click("[name=template]")
	p.write("#confirm", "reinstall")
	p.follow(".confirm-actions .btn-danger")
	d.passwordOnce(p)
	p.open(d.path(demoNone, "operations"))
	d.leaps2(p, "the new system", `[data-kind=reinstall][data-state=succeeded]`)
	p.clean("reinstall")
}
