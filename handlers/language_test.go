package handlers_test

import (
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"golang.org/x/net/html"

	"stowage/portal"
	"stowage/portal/lang"
	"stowage/store"
)

// speaks asserts the language that a page says of itself.
func (a answer) speaks(tag string) answer {
	a.t.Helper()
	if got := a.Header.Get("Content-Language"); got != tag {
		a.t.Errorf("%s: Content-Language %q, want %q", a.what, got, tag)
	}
	for n := range a.doc.Descendants() {
		if n.Type == html.ElementNode && n.Data == "html" && attr(n, "lang") != tag {
			a.t.Errorf("%s: lang %q, want %q", a.what, attr(n, "lang"), tag)
		}
	}
	return a
}

// TestLanguage holds that before somebody has signed in the browser's language is spoken, and then their own.
func TestLanguage(t *testing.T) {
	t.Parallel()
	s := open(t)
	v := s.visitor()
	german := []string{"Accept-Language", "de-AT,de;q=0.9,en;q=0.5"}
	v.do("GET", "/login", nil, german...).want(200, "Anmelden", "Passwort").speaks("de")
	v.do("GET", "/login", nil, "Accept-Language", "fr").want(200, "Sign in").speaks("en")
	v.do("POST", "/login", strings.NewReader("email=ada@demo.test&password=wrong"), append(german, "Content-Type", "application/x-www-form-urlencoded")...).want(422).speaks("de")
	v.do("GET", "/nothing", nil, german...).want(404, "Das finden wir nicht").speaks("de")

	here := s.as("ada@demo.test")
	here.do("GET", "/services", nil, german...).want(200, "Services").speaks("en") // her own word counts
	here.post("/account/language", "language", "de").wantTo("/account")
	here.get("/account").want(200, "Gespeichert. Das Portal spricht ab jetzt Deutsch mit Ihnen.", "Konto").speaks("de")
	here.get("/account").speaks("de")
	s.addCopy(s.h100, 26*time.Hour, "")
	s.schedule(s.h100, "Europe/Berlin", "mon=03:00,tue=03:00,wed=03:00,thu=03:00,fri=03:00,sat=03:00,sun=03:00")
	here.get(backups(s.h100)).want(200, "Jetzt sichern", "Do 19. Nov 11:00", "vor 26 h", "4,0 GiB", "Zeitplan speichern", "Montag").speaks("de")
	if got := s.as("ada@demo.test").get("/services").want(200, "Nächster Lauf").mark("aria-current", "page"); got != "Dienste" {
		t.Errorf("another browser of hers: the menu says %q", got)
	}
	here.post("/account/language", "language", "tlh").want(422).speaks("de")
	here.post("/account/language").want(422)
	here.post("/account/language", "language", "en").wantTo("/account")
	here.get("/account").want(200, "Saved. From now on the portal speaks English with you.").speaks("en")
	s.as("grace@demo.test").get("/services").want(200, "Services").speaks("en")
}

// TestAccountKeepsWhatWasTyped holds that a refusal shows the account again with its field, at staff's as well.
func TestAccountKeepsWhatWasTyped(t *testing.T) {
	t.Parallel()
	s := open(t)
	for _, email := range []string{"ada@demo.test", "auditor@demo.test"} {
		v := s.as(email)
		v.get("/account").want(200, "Password", "Language", "English", "Deutsch", "Time zone", "Where you are signed in")
		a := v.post("/account/zone", "zone", "Mars/Olympus").want(422, "no time zone that we know")
		chosen := ""
		for _, n := range a.all("selected") {
			if p := within(n, "select"); p != nil && attr(p, "name") == "zone" {
				chosen = attr(n, "value")
			}
		}
		if chosen != "Mars/Olympus" {
			t.Errorf("%s: the field shows %q", email, chosen)
		}
		v.post("/account/zone", "zone", "Asia/Tokyo").wantTo("/account")
		v.get("/account").want(200, "Saved. Times are shown in Asia/Tokyo")
		v.post("/account/language", "language", "de").wantTo("/account")
		v.get("/account").want(200, "Zeitzone", "Asia/Tokyo").speaks("de")
		v.get("/account/language").wantTo("/account")
	}
}

// TestEveryWordIsInTheCatalogue goes through the portal in the language in which the catalogue's words stand in
// brackets. Words outside them were put together without it.
func TestEveryWordIsInTheCatalogue(t *testing.T) {
	t.Parallel()
	s := open(t)
	ctx := t.Context()
	s.inPseudo("ada@demo.test", "admin@demo.test", "auditor@demo.test", "reader@demo.test")
	ada, admin := s.as("ada@demo.test"), s.as("admin@demo.test")
	client := func(paths ...string) {
		t.Helper()
		for _, p := range paths {
			ada.get(p).want(200).inBrackets()
		}
	}
	staff := func(paths ...string) {
		t.Helper()
		for _, p := range paths {
			admin.get(p).want(200).inBrackets()
		}
	}
	service, page := "/services/"+s.h100.UID, backups(s.h100)

	// Nothing yet, and what is refused.
	client("/services", service, page, service+"/operations", "/account", "/services?q=nothing")
	staff("/admin", "/admin/services", "/admin/services?q=nothing", "/admin/services/"+s.h100.UID, "/admin/operations", "/admin/servers", "/admin/servers/"+s.pve.UID, "/admin/audit", "/account")
	ada.get("/nothing").want(404).inBrackets()
	ada.do("PUT", page, nil).inBrackets()
	ada.post(page, "note", strings.Repeat("x", 300)).want(422).inBrackets()
	ada.post(page+"/none/note", "note", "x").want(404).inBrackets()
	ada.post(service+"/schedule", "day_1", "on", "time_1", "25:00").want(422).inBrackets()
	ada.post("/account/zone", "zone", "Mars/Olympus").want(422).inBrackets()
	ada.post("/account/language", "language", "tlh").want(422).inBrackets()
	ada.post("/account/password", "old", "wrong", "new", "another one", "again", "another one").want(422).inBrackets()
	ada.post("/account/password", "old", password, "new", "another one", "again", "another").want(422).inBrackets()
	ada.post("/account/password", "old", password, "new", "short", "again", "short").want(422).inBrackets()
	reader := s.as("reader@demo.test")
	reader.get(page).want(200).inBrackets()
	reader.post(page).want(403).inBrackets()

	// Copies of all kinds, a schedule, work of all kinds.
	first := s.addCopy(s.h100, 50*time.Hour, "before the upgrade")
	s.addCopy(s.h100, 49*time.Hour, "", func(b *portal.Backup) { b.Class = portal.ClassSuspect })
	s.addCopy(s.h100, 48*time.Hour, "", func(b *portal.Backup) { b.Class, b.MissingSince = portal.ClassMissing, start })
	protected := s.addCopy(s.h100, 47*time.Hour, "", func(b *portal.Backup) {
		b.Protected, b.Verification, b.Encrypted, b.Consistent = true, "ok", "on", true
		b.DisksOut = []portal.Disk{{Key: "scsi1", Size: 3 << 40}}
	})
	client(service, page, service+"/operations")
	ada.post(page).want(409).inBrackets() // all places are used
	client(page+"/replace", backups(s.h100, first.UID, "delete"), backups(s.h100, protected.UID, "delete"))
	ada.post(backups(s.h100, protected.UID, "delete")).want(409).inBrackets()
	ada.post(service+"/schedule", "same", "on", "time_all", "03:00", "day_0", "on", "day_1", "on", "day_3", "on", "zone", "Europe/Berlin").wantTo(page)
	client(page, "/services")
	ada.post(service+"/schedule", "zone", "Europe/Berlin").want(200).inBrackets() // asks before the last day is unticked
	failed := s.fail(s.h100, "The storage was full. Your other backups are untouched.")
	client(service+"/operations/"+failed.UID, service+"/operations")
	running := s.begin(s.h100, "a note")
	running.Percent, running.DoneBytes, running.TotalBytes, running.Rate = 63, 20<<30, 32<<30, 200<<20
	s.must(s.db.Save(ctx, "progress", &running, store.Changes{}))
	ada.post(page).want(409).inBrackets()
	client(page, service, "/services", service+"/operations/"+running.UID)
	ada.post(service + "/operations/" + running.UID + "/cancel").wantTo(page)
	client(page, service+"/operations/"+running.UID)
	ada.post(service + "/operations/" + running.UID + "/cancel").want(409).inBrackets()
	staff("/admin/services", "/admin/services/"+s.h100.UID, "/admin/operations", "/admin/operations/"+failed.UID, "/admin/operations/"+running.UID, "/admin/audit")
	admin.post("/admin/operations/"+failed.UID+"/release", "reason", "x").want(409).inBrackets()

	// Trouble.
	s.clock.pass(5 * time.Minute)
	s.must(s.db.SaveUnreachable(ctx, s.pve.ID, "connection refused"))
	s.must(s.db.SaveRights(ctx, s.pve.ID, []string{"VM.Backup on /vms"}))
	client(page, service, "/services", service+"/operations/"+running.UID)
	staff("/admin", "/admin/servers", "/admin/servers/"+s.pve.UID)
	for _, state := range []portal.ServiceState{portal.ServiceMachineGone, portal.ServiceMachineReplaced, portal.ServiceSuspended, portal.ServiceTerminating} {
		svc, err := s.db.ServiceByUID(ctx, s.h100.UID)
		s.must(err)
		s.must(s.db.SetServiceState(ctx, "cli", svc, state, "test"))
		client(page, service, "/services")
		staff("/admin", "/admin/services/"+s.h100.UID)
	}
}

// inPseudo makes logins speak the language in which the catalogue's words stand in brackets.
func (s *site) inPseudo(emails ...string) {
	s.t.Helper()
	for _, email := range emails {
		l, err := s.db.LoginByEmail(s.t.Context(), email)
		s.must(err)
		s.must(s.db.SetLanguage(s.t.Context(), "cli", l, lang.Pseudo))
	}
}

// inBrackets asserts that every word of the page is of the catalogue, or data.
func (a answer) inBrackets() {
	a.t.Helper()
	depth := 0
	outside := func(text string, depth *int) string {
		var out strings.Builder
		for _, c := range text {
			switch {
			case c == '⟦':
				*depth++
			case c == '⟧':
				*depth--
			case *depth == 0 && unicode.IsLetter(c):
				out.WriteRune(c)
			}
		}
		return out.String()
	}
	var walk func(n *html.Node)
	walk = func(n *html.Node) {
		if n.Type == html.TextNode {
			if out := outside(n.Data, &depth); out != "" {
				a.t.Errorf("%s: %q is in no catalogue: %q", a.what, out, strings.TrimSpace(n.Data))
			}
			return
		}
		if n.Type == html.ElementNode {
			if attr(n, "translate") == "no" || attr(n, "lang") == lang.English || slices.Contains([]string{"time", "code", "script"}, n.Data) {
				return
			}
			for _, name := range []string{"aria-label", "title", "placeholder", "data-label", "data-say", "data-ended", "data-sentence"} {
				alone := 0
				if out := outside(attr(n, name), &alone); out != "" {
					a.t.Errorf("%s: %s=%q is in no catalogue", a.what, name, attr(n, name))
				}
			}
		}
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			walk(c)
		}
	}
	walk(a.doc)
	if depth != 0 {
		a.t.Errorf("%s: a bracket stays open", a.what)
	}
}
