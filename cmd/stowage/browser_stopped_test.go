package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
)

// says tells whether the page says all of these.
func says(texts ...string) string {
	quoted := make([]string, len(texts))
	for i, text := range texts {
		quoted[i] = fmt.Sprintf("%q", text)
	}
	return `[` + strings.Join(quoted, ", ") + `].every(text => document.querySelector("main").innerText.includes(text))`
}

// restoreBreaks lets the next restore break half-way, asks for one, and stands before its page when it has stopped.
func (d *browserDemo) restoreBreaks(p, admin *tab, machine string) (operation string) {
	admin.open("/admin/demo")
	eval[bool](admin, fmt.Sprintf(`(document.querySelector("#break-restore").form.target.value = %q, true)`, demoAlone))
	admin.follow("#break-restore")
	p.open(d.path(machine, "backups"))
	p.open(eval[string](p, `[...document.querySelectorAll(".copy a[href$='/restore']")].at(-1).getAttribute("href")`))
	p.write("#confirm", eval[string](p, `document.querySelector("[data-confirm]").innerText`))
	p.follow(".confirm-actions .btn-danger")
	p.open(d.path(machine, "operations"))
	page := d.path(machine, "operations", eval[string](p, `document.querySelector("[data-kind=restore]").dataset.operation`))
	p.open(page)
	d.leaps2(p, "the restore to stop", `[data-kind=restore][data-state=held]`)
	return page
}

// wayOut gives a selector for the link that leads on.
func wayOut(p *tab, label string) string {
	p.t.Helper()
	href := eval[string](p, fmt.Sprintf(`[...document.querySelectorAll("main a.btn")].find(a => a.innerText.includes(%q))?.getAttribute("href") ?? ""`, label))
	if href == "" {
		p.t.Fatalf("nothing leads to %q\n%s", label, p.state())
	}
	return fmt.Sprintf("main a.btn[href=%q]", href)
}

// restoreStops lets a restore break half-way: its page says so, the state from before is one click away, and when it
// breaks once more a fresh system is installed from scratch.
func (d *browserDemo) restoreStops(t *testing.T) {
	p, admin := d.as(t, "ada", desktop), d.as(t, "admin", desktop)
	page := d.restoreBreaks(p, admin, demoNone)
	p.holds("it says where it stopped, what is unharmed, who knows, and how to go on", says("Stopped at step 4 of 7: The backup can't be read", "Your machine is off.", "the reference is",
		"Restore the state from before", "Restore another backup", "Reinstall from scratch", "Retry"))
	for _, at := range []screen{desktop, desktopDark, {360, 740, false}, {360, 740, true}} {
		p.look(at)
		p.accessible("a restore that has stopped", everyRule)
		p.fits("a restore that has stopped")
		p.shoot(fmt.Sprintf("stopped-%d-%v", at.width, at.dark), true)
	}

	plain := d.tab(t, "ada", phone)
	call(plain, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	plain.open("/")
	plain.signIn("ada")
	plain.open(page)
	plain.follow(wayOut(plain, "Reinstall from scratch"))
	plain.holds("without scripts it leads there as well", says("from scratch?", "Debian 13"))
	plain.clean("a stopped restore without scripts")

	p.look(phone)
	p.follow(wayOut(p, "Restore the state from before"))
	p.holds("nothing more is lost", says("Nothing more: the machine was overwritten already"))
	p.write("#confirm", eval[string](p, `document.querySelector("[data-confirm]").innerText`))
	p.follow(".confirm-actions .btn-danger")
	d.leaps2(p, "the state from before", `[data-kind=restore][data-state=succeeded]`)

	d.restoreBreaks(p, admin, demoNone)
	p.follow(wayOut(p, "Reinstall from scratch"))
	for _, at := range []screen{desktop, desktopDark, {360, 740, false}, {360, 740, true}} {
		p.look(at)
		p.accessible("an installation from scratch", everyRule)
		p.fits("an installation from scratch")
		p.shoot(fmt.Sprintf("scratch-%d-%v", at.width, at.dark), true)
	}
	p.write("#confirm", "reinstall")
	p.follow(".confirm-actions .btn-danger")
	p.holds("its steps are those of a machine in pieces", says("Give the machine its settings back"))
	d.passwordOnce(p)
	p.shoot("scratch-running", true)
	d.leaps2(p, "the new system", `[data-kind=reinstall][data-state=succeeded]`)
	p.accessible("installed from scratch", everyRule)
	p.clean("from scratch")
}

// passwordOnce waits for the password of an installation, which comes by itself, and sees that it comes once.
func (d *browserDemo) passwordOnce(p *tab) {
	p.t.Helper()
	const secret = `document.querySelector("[data-secret=password]")`
	eval[bool](p, `window.kept = true`)
	d.leaps(p, "its password", secret)
	p.holds("nothing was loaded anew for it", `window.kept`)
	word := eval[string](p, secret+`.querySelector("#secret").textContent.trim()`)
	if len(word) < 16 {
		p.t.Errorf("a password of %d characters", len(word))
	}
	p.accessible("a password that is shown", everyRule)
	p.reload()
	p.holds("and not again", fmt.Sprintf(`!document.documentElement.outerHTML.includes(%q)`, word))
}

// machineWithoutScripts does to a machine what there is to do, by plain forms on a phone.
func (d *browserDemo) machineWithoutScripts(t *testing.T) {
	p := d.tab(t, "linus", phone)
	call(p, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	p.open("/")
	p.signIn("linus")
	path := d.path(demoIdleLinus, "snapshots")
	p.open(path)
	p.write("#description", "by a plain form")
	p.follow("#take-snapshot")
	d.leaps2(p, "the snapshot", "[data-snapshot][data-state=there]")
	p.holds("the time that is left is said without a script", `document.querySelector("[data-snapshot] time[data-expires]").textContent.trim() !== ""`)
	p.fits("snapshots without scripts")
	uid := eval[string](p, `document.querySelector("[data-snapshot][data-state=there]").dataset.snapshot`)
	p.follow("#rollback-" + uid)
	p.follow(".confirm-actions .btn-danger")
	p.open(d.path(demoIdleLinus, "operations"))
	d.leaps2(p, "the rollback", `.operation:first-child[data-kind=rollback][data-state=succeeded]`)

	p.open(d.path(demoIdleLinus))
	p.follow("#power-reboot")
	p.follow("#confirm-do")
	p.open(d.path(demoIdleLinus, "operations"))
	d.leaps2(p, "the restart", `.operation:first-child[data-kind=power][data-state=succeeded]`)

	p.open(d.path(demoIdleLinus, "backups"))
	p.follow(".copy a[href$='/restore']")
	restore := eval[string](p, `location.pathname`)
	p.write("#confirm", "something else")
	p.expect(422, restore)
	p.follow(".confirm-actions .btn-danger")
	p.holds("a restore is refused with words, and what was typed stays", `document.querySelector("#confirm").value === "something else" && document.querySelector("#confirm-wrong")`)
	p.fits("a restore without scripts")
	p.open(d.path(demoIdleLinus, "reinstall"))
	p.write("#confirm", "yes")
	p.expect(422, d.path(demoIdleLinus, "reinstall"))
	p.follow(".confirm-actions .btn-danger")
	p.holds("so is a fresh system", `document.querySelector("#confirm").value === "yes" && document.querySelector("#confirm-wrong")`)
	p.fits("a reinstall without scripts")
	p.open(path)
	p.follow("#delete-" + uid)
	p.follow(".confirm-actions .btn-danger")
	p.clean("a machine without scripts")
}
