package main

import (
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
		}},
		{"", []picture{{"login", "/login", false}}},
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
			}{{"", desktop}, {"-dark", desktopDark}, {"-phone-dark", phoneDark}, {"-phone", phone}} {
				if p.look(look.at); look.at == phoneDark {
					p.reload() // for some of it is made for the screen
				}
				p.shoot(page.name+look.name, true)
				taken++
			}
			p.look(desktop)
		}
	}
	// Those of the README: docs/backups.png and docs/backups-phone.png.
	p := d.as(t, "ada", screen{1140, 1190, false})
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

// picture is a page to take pictures of.
type picture struct {
	name, path string
	always     bool
}
