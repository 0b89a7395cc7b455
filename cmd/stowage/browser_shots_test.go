package main

import (
	"fmt"
	"os"
	"slices"
	"testing"
)

// pictures takes pictures of pages, wide in light and dark and on a phone: of a few, or with SCREENSHOTS=DIR of all
// kinds of pages, into that folder. Nothing is compared: they are there to be looked at.
func (d *browserDemo) pictures(t *testing.T) {
	few := os.Getenv("SCREENSHOTS") == ""
	copyOf := func(name string) string { return d.shop.copies(name)[0].UID }
	taken := 0
	for _, who := range []struct {
		key   string
		pages []picture
	}{
		{"grace", []picture{
			{"backups", d.path(demoRunning, "backups"), true},
			{"services", "/services", false},
			{"service", d.path(demoRunning), false},
			{"operation-running", d.path(demoRunning, "operations", d.shop.line(demoRunning).Open[0].UID), false},
			{"history", d.path(demoZone, "operations"), false},
			{"backups-over-quota", d.path(demoOver, "backups"), false},
			{"backups-locked", d.path(demoLocked, "backups"), false},
			{"backups-gone", d.path(demoGone, "backups"), false},
		}},
		{"ada", []picture{
			{"backups-full", d.path(demoFull, "backups"), false},
			{"backups-failed", d.path(demoFailed, "backups"), false},
			{"backups-none", d.path(demoNone, "backups"), false},
			{"backups-never", d.path(demoNever, "backups"), false},
			{"backups-protected", d.path(demoProtected, "backups"), false},
			{"confirm", d.path(demoFailed, "backups", copyOf(demoFailed), "delete"), false},
			{"choose", d.path(demoFull, "backups", "replace"), false},
			{"account", "/account", false},
			{"snapshots", d.path(demoFull, "snapshots"), false},
			{"snapshots-none", d.path(demoFailed, "snapshots"), false},
			{"service-full", d.path(demoFull), false},
			{"restore", d.path(demoFull, "backups", copyOf(demoFull), "restore"), false},
			{"reinstall", d.path(demoFull, "reinstall"), false},
			{"power-stop", d.path(demoFull, "power") + "?action=stop", false},
			{"password", d.path(demoFull, "password"), false},
		}},
		{"linus", []picture{
			{"backups-suspect", d.path(demoSuspect, "backups"), false},
			{"backups-missing", d.path(demoMissing, "backups"), false},
			{"backups-suspended", d.path(demoSuspended, "backups"), false},
			{"backups-waiting", d.path(demoWaiting, "backups"), false},
		}},
		{"admin", []picture{
			{"admin", "/admin", true},
			{"admin-services", "/admin/services", false},
			{"admin-service", "/admin/services/" + d.shop.line(demoOver).UID, false},
			{"admin-operations", "/admin/operations", false},
			{"admin-operation", "/admin/operations/" + d.shop.line(demoRunning).Open[0].UID, false},
			{"admin-servers", "/admin/servers", false},
			{"admin-server", d.serverPath(t, demoCluster), false},
			{"admin-audit", "/admin/audit", false},
			{"admin-demo", "/admin/demo", false},
			{"admin-mail", "/admin/mail", false},
		}},
		{"", []picture{{"login", "/login", false}, {"forgot", "/forgot", false}, {"forgot-sent", "/forgot?sent=1", false}, {"not-found", "/nowhere", false}}},
	} {
		if few && !slices.ContainsFunc(who.pages, func(p picture) bool { return p.always }) {
			continue
		}
		p := d.tab(t, who.key, desktop)
		if who.key != "" {
			p.open("/login")
			p.signIn(who.key)
		}
		for _, page := range who.pages {
			if few && !page.always {
				continue
			}
			p.open(page.path)
			p.until("a live page to have its news", `!document.querySelector("[data-live]") || document.querySelector("[data-live-lost]").hidden`)
			for _, look := range []struct {
				name string
				at   screen
			}{{"", desktop}, {"-dark", desktopDark}, {"-phone-dark", phoneDark}, {"-phone", narrowPhone}} {
				if p.look(look.at); look.at == phoneDark {
					p.reload() // for some of it is made for the screen
				}
				p.shoot(page.name+look.name, true)
				taken++
			}
			p.look(desktop)
		}
	}
	if !few {
		taken += d.picturesOfARestore(t) + d.picturesInGerman(t)
	}
	// Those of the README: docs/backups.png and docs/backups-phone.png.
	p := d.as(t, "ada", screen{1140, 1420, false})
	p.zone("Europe/Berlin")
	p.open(d.path(demoFull, "backups"))
	p.shoot("readme-backups", false)
	p = d.as(t, "grace", screen{390, 880, true})
	p.zone("America/New_York")
	p.open(d.path(demoRunning, "backups"))
	p.until("the progress", running)
	p.shoot("readme-backups-phone", false)
	t.Logf("%d pictures are in %s", taken, d.shots)
}

// narrowPhone is as wide as the narrowest phones that many people have.
var narrowPhone = screen{360, 780, false}

// both takes a page's picture, wide and on a phone.
func (d *browserDemo) both(p *tab, name string) int {
	p.shoot(name, true)
	p.look(narrowPhone)
	p.shoot(name+"-phone", true)
	p.look(desktop)
	return 2
}

// picturesOfARestore goes through one: asked, refused, under way, done.
func (d *browserDemo) picturesOfARestore(t *testing.T) (taken int) {
	p := d.as(t, "linus", desktop)
	p.open(d.path(demoIdleLinus, "backups"))
	link := eval[string](p, `document.querySelector(".copy a[href$='/restore']").getAttribute("href")`)
	p.open(link)
	p.write("#confirm", "something else")
	p.expect(422, link)
	p.follow(".confirm-actions .btn-danger")
	taken += d.both(p, "restore-refused")
	p.write("#confirm", eval[string](p, `document.querySelector("[data-confirm]").innerText`))
	p.follow(".confirm-actions .btn-danger")
	taken += d.both(p, "restore-asked")
	p.open(d.path(demoIdleLinus, "operations"))
	operation := eval[string](p, `document.querySelector("[data-kind=restore]").dataset.operation`)
	p.open(d.path(demoIdleLinus, "operations", operation))
	d.leaps(p, "the restore to go on", `document.querySelector("[data-step=running]")`)
	taken += d.both(p, "operation-restore")
	d.leaps2(p, "the end of the restore", `[data-operation="`+operation+`"][data-state=succeeded]`)
	taken += d.both(p, "operation-restored")
	p.open(d.path(demoIdleLinus))
	return taken + d.both(p, "service-restored")
}

// picturesInGerman takes pictures of the main pages in German, which has longer words.
func (d *browserDemo) picturesInGerman(t *testing.T) (taken int) {
	p := d.as(t, "linus", desktop)
	speak := func(language string) {
		p.open("/account")
		p.leave(func() {
			eval[bool](p, fmt.Sprintf(`(() => { const f = document.querySelector("[name=language]"); f.value = %q; f.form.requestSubmit(); return true; })()`, language))
		})
	}
	speak("de")
	for _, page := range []picture{
		{"services", "/services", false}, {"service", d.path(demoIdleLinus), false}, {"backups", d.path(demoIdleLinus, "backups"), false},
		{"snapshots", d.path(demoIdleLinus, "snapshots"), false}, {"history", d.path(demoIdleLinus, "operations"), false}, {"waiting", d.path(demoWaiting, "backups"), false},
		{"suspended", d.path(demoSuspended, "backups"), false}, {"reinstall", d.path(demoIdleLinus, "reinstall"), false}, {"account", "/account", false},
	} {
		p.open(page.path)
		taken += d.both(p, "german-"+page.name)
	}
	speak("en")
	return taken
}

// picture is a page to take pictures of.
type picture struct {
	name, path string
	always     bool
}
