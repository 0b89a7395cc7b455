package main

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"

	"stowage/portal"
)

// crawl walks over the pages of one login: every address that a page links to, of each kind of operation and copy
// one. Each page has to fit on phones and to please the browser; axe looks, light and dark, at each page that has
// something in it which it has not seen.
type crawl struct {
	p     *tab
	wait  []wanted
	met   map[string]bool // what was wanted already
	parts *seenParts
	pages int
	axed  int
}

// seenParts are the parts of pages that axe has seen.
type seenParts struct {
	mu  sync.Mutex
	met map[string]bool
}

// fresh tells whether any of these parts has not been seen; now they have.
func (s *seenParts) fresh(parts []string) (fresh bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, part := range parts {
		fresh = fresh || !s.met[part]
		s.met[part] = true
	}
	return fresh
}

// wanted is a page to go to. about tells pages of one kind apart.
type wanted struct {
	Path  string `json:"path"`
	About string `json:"about"`
}

func (d *browserDemo) crawl(t *testing.T, parts *seenParts, key string, from ...string) *crawl {
	c := &crawl{p: d.as(t, key, smallPhone), met: map[string]bool{}, parts: parts}
	for _, path := range from {
		c.want(wanted{Path: path, About: path})
	}
	for len(c.wait) > 0 {
		next := c.wait[0]
		c.wait = c.wait[1:]
		c.p.open(next.Path)
		c.page(next.Path)
		for _, w := range eval[[]wanted](c.p, links) {
			c.want(w)
		}
	}
	return c
}

// links lists what a page leads to. What tells an operation or a copy from others of its kind is how it stands.
const links = `[...document.querySelectorAll("a[href]")].filter(a => a.origin === location.origin).map(a => {
	const row = a.closest("[data-operation], [data-backup]");
	return {path: a.pathname + a.search, about: row ? [row.dataset.kind, row.dataset.state, row.dataset.origin].join(" ") : ""};
})`

var (
	uidInPath = regexp.MustCompile(`/[0-9a-z]{26}`)
	ofOne     = regexp.MustCompile(`/(operations|backups)/[0-9a-z]{26}`)
)

// want adds a page to those to go to, unless one like it was wanted.
func (c *crawl) want(w wanted) {
	u, err := url.Parse(w.Path)
	if err != nil || u.Path == "/" {
		return
	}
	like := u.Path
	if strings.HasSuffix(like, "/operations") && strings.HasPrefix(like, "/services/") {
		like = "/services/-/operations" // histories are alike
	}
	if ofOne.MatchString(like) { // of any machine
		if w.About == "" {
			return
		}
		like = uidInPath.ReplaceAllString(like, "/-") + " " + w.About
	}
	for name := range u.Query() {
		like += " ?" + name
	}
	if !c.met[like] {
		c.met[like] = true
		c.wait = append(c.wait, w)
	}
}

// page looks at the page that is open.
func (c *crawl) page(path string) {
	c.pages++
	c.p.fits(path + " at 320")
	c.p.look(phone)
	c.p.fits(path + " at 390")
	if c.parts.fresh(eval[[]string](c.p, parts)) {
		c.axed++
		c.p.look(desktop)
		c.p.accessible(path, everyRule)
		c.p.look(desktopDark)
		c.p.accessible(path+" (dark)", colours)
	}
	c.p.worded(path)
	c.p.clean(path)
	c.p.look(smallPhone)
}

// parts is what a page is made of, and how it stands.
const parts = `[...new Set([...document.querySelectorAll("body *:not(svg *)")].map(e =>
	e.localName + "." + [...e.classList].sort().join(".") + " " + (e.getAttribute("role") || "") + " " + (e.dataset.notice || e.dataset.status || "") +
	(e.disabled ? " disabled" : "") + (e.ariaCurrent || "")))]`

// TestBrowser looks at the whole demo in Chromium and goes the ways of its people through it.
func TestBrowser(t *testing.T) {
	d := newBrowserDemo(t)
	t.Run("at once", func(t *testing.T) {
		var all sync.WaitGroup
		for _, lane := range append(d.lanes(), d.everyPage(t)...) {
			all.Go(func() { lane(t) })
		}
		all.Wait()
	})
	if t.Failed() {
		return
	}
	journeys(t, journey{"pictures", d.pictures}, journey{"the engine stands still", d.stoppedEngine}, journey{"a session expires", d.expiredSession})
}

// everyPage walks over all pages as each kind of login: the clients' and the staff's.
func (d *browserDemo) everyPage(t *testing.T) []func(*testing.T) {
	reader, err := d.shop.db.AddLogin(t.Context(), "test", d.shop.line(demoFull).ClientID, demoEmail("reader"), "Reader", portal.RoleReader, d.hash(t))
	if err != nil {
		t.Fatal(err)
	}
	work := d.shop.line(demoRunning).Open[0].UID
	seen := &seenParts{met: map[string]bool{}}
	walk := func(t *testing.T, key string, atLeast int, from ...string) {
		t.Run("pages of "+key, func(t *testing.T) {
			c := d.crawl(t, seen, key, from...)
			if t.Logf("%d pages, %d of them to axe", c.pages, c.axed); c.pages < atLeast {
				t.Errorf("only %d pages lead on from %v, at least %d are there", c.pages, from, atLeast)
			}
		})
	}
	return []func(*testing.T){
		func(t *testing.T) {
			walk(t, "ada", 18, "/services", "/account", d.path(demoFull, "backups", "replace"))
			walk(t, "grace", 16, "/services", d.path(demoRunning, "operations", work))
			walk(t, "linus", 16, "/services")
		},
		func(t *testing.T) {
			walk(t, "admin", 30, "/admin", "/admin/operations/"+work)
			t.Run("pages of others", func(t *testing.T) {
				for key, paths := range map[string][]string{
					"auditor":  {"/admin", "/admin/demo", "/admin/operations/" + work, d.serverPath(t, demoCluster), "/account"},
					"operator": {"/admin", "/admin/demo", "/admin/operations/" + work, d.serverPath(t, demoAlone)},
					"reader":   {"/services", d.path(demoFull), d.path(demoFull, "backups"), "/account"},
				} {
					c := &crawl{p: d.as(t, key, smallPhone), parts: seen}
					for _, path := range paths {
						c.p.open(path)
						c.p.holds("it is the page", fmt.Sprintf("location.pathname === %q && !document.querySelector('.problem')", path))
						c.page(path)
					}
				}
			})
			t.Run("refusals", func(t *testing.T) { d.refusals(t, seen, reader.Email) })
		},
	}
}

// refusals are the pages of what is not there, not allowed, or not right.
func (d *browserDemo) refusals(t *testing.T, seen *seenParts, reader string) {
	p := d.tab(t, "nobody", smallPhone)
	c := &crawl{p: p, parts: seen}
	p.open("/login")
	c.page("/login")
	p.open(d.path(demoFull, "backups") + "?from=mail")
	p.holds("whoever is not signed in is asked to be, and comes back", `location.pathname === "/login" && document.querySelector("[name=next]").value.endsWith("/backups?from=mail")`)
	c.page("/login?next=…")
	p.expect(422, "/login")
	p.write("#email", reader)
	p.write("#password", "not the password")
	p.follow("main form .btn-primary")
	p.holds("a wrong password is refused with words, and the address stays", `document.querySelector("[data-refusal]").innerText.length > 10 && document.querySelector("#email").value === "`+reader+`"`)
	c.page("a wrong password")
	p.write("#password", demoPassword)
	p.follow("main form .btn-primary")
	p.holds("and then one is where one wanted to be", `location.search === "?from=mail"`)

	for _, path := range []string{"/nowhere", d.path(demoIdleLinus, "backups"), "/services/" + strings.Repeat("0", 26), "/admin", "/admin/demo"} {
		p.expect(404, path)
		p.open(path)
		p.holds("it is not found", `document.querySelector("[data-refusal]").innerText.startsWith("We can't find that page.")`)
		c.page(path + " (404)")
	}
	// A reader has no button that works: somebody who sends the form all the same is told no.
	p.open(d.path(demoFull, "backups"))
	p.holds("the buttons say why they don't work", `document.querySelector("#backup-now").disabled && document.querySelector("#backup-why-not").innerText.includes("change nothing")`)
	p.expect(403, d.path(demoFull, "backups"))
	p.leave(func() {
		eval[bool](p, `(document.querySelector("#backup-now").form.submit(), true)`)
	})
	p.holds("it is forbidden", `document.querySelector("[data-refusal]").innerText.includes("change nothing")`)
	c.page("403")
}

func (d *browserDemo) hash(t *testing.T) string {
	t.Helper()
	hash, err := demoHash()
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

func (d *browserDemo) serverPath(t *testing.T, name string) string {
	t.Helper()
	s, err := d.shop.db.ServerNamed(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return "/admin/servers/" + s.UID
}
