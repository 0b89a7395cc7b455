package handlers_test

import (
	"database/sql"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stowage/handlers"
	"stowage/portal"
	"stowage/portal/lang"
	"stowage/store"
)

// mails answers what was asked for and gives all mails, newest first.
func (s *site) mails() []store.Mail {
	s.t.Helper()
	ctx := s.t.Context()
	s.must(s.db.AnswerForgotten(ctx))
	for {
		n, err := s.db.AddressMail(ctx)
		s.must(err)
		if n == 0 {
			break
		}
	}
	lines, _, err := s.db.MailLines(ctx, store.MailFilter{}, store.Page{Limit: 1000})
	s.must(err)
	return lines
}

var resetLink = regexp.MustCompile(`/reset/\S+`)

// link gives the link of the newest mail, as its reader gets it.
func (s *site) link() string {
	s.t.Helper()
	all := s.mails()
	if len(all) == 0 || all[0].Topic != portal.TopicPasswordReset {
		s.t.Fatalf("no mail with a link: %+v", all)
	}
	return resetLink.FindString(lang.For("en").Write(s.db.Letter(all[0], true), lang.Sheet{}).Text)
}

func TestForgottenPassword(t *testing.T) {
	t.Parallel()
	s := open(t)
	elsewhere := s.as("ada@demo.test")
	v := s.visitor()
	v.get("/login").want(200, "Forgot your password?")
	v.get("/forgot").want(200, "We send you a link")
	v.post("/forgot", "email", " ADA@demo.test ").wantTo("/forgot?sent=1")
	v.get("/forgot?sent=1").want(200, "a mail is on its way")
	link := s.link()
	v.get(link).want(200, "Choose a new password")
	v.post(link, "new", "a new long password", "again", "another").want(422, "not the same")
	v.post(link, "new", "short", "again", "short").want(422)
	elsewhere.get("/services").want(200)
	v.post(link, "new", "a new long password", "again", "a new long password").wantTo("/login")
	v.get("/login").want(200, "Your password is changed. Sign in with it now.")
	elsewhere.get("/services").wantTo("/login?expired=1&next=%2Fservices")
	v.post("/login", "email", "ada@demo.test", "password", password).want(422)
	v.post("/login", "email", "ada@demo.test", "password", "a new long password").wantTo("/services")
	var told []string
	for _, m := range s.mails() { // newest first
		told = append(told, m.Topic+" to "+m.Address)
	}
	if d := cmp.Diff([]string{"login.new_device to ada@demo.test", "login.password_changed to ada@demo.test", "login.password_reset to ada@demo.test"}, told); d != "" {
		t.Errorf("mails (-want +got):\n%s", d)
	}
	v.get(link).want(404, "This link does not work any more")
	v.post(link, "new", "one more long password", "again", "one more long password").want(404, "This link does not work any more")
	lines, _, err := s.db.AuditLines(t.Context(), store.AuditFilter{Action: "login"}, store.Page{Limit: 100})
	s.must(err)
	var did []string
	for _, l := range lines {
		did = append(did, l.Action)
	}
	for _, want := range []string{"login.forgot", "login.reset"} {
		if !slices.Contains(did, want) {
			t.Errorf("the audit log does not tell of %s: %q", want, did)
		}
	}
}

func TestResetLinksRunOut(t *testing.T) {
	t.Parallel()
	s := open(t)
	v := s.visitor()
	ask := func(email string) string {
		v.post("/forgot", "email", email).wantTo("/forgot?sent=1")
		return s.link()
	}
	first := ask("ada@demo.test")
	s.clock.pass(59 * time.Minute)
	v.get(first).want(200)
	s.clock.pass(2 * time.Minute)
	v.get(first).want(404)
	v.post(first, "new", "a new long password", "again", "a new long password").want(404)

	second, third, graces := ask("ada@demo.test"), ask("ada@demo.test"), ask("grace@demo.test")
	if second == third {
		t.Error("two requests have one token")
	}
	v.post(third, "new", "a new long password", "again", "a new long password").wantTo("/login")
	v.get(second).want(404) // the other link of the same login ends with it
	v.get(graces).want(200)
	for _, wrong := range []string{"/reset/x", "/reset/" + strings.Repeat("A", 43), strings.ToLower(graces), graces + "x", graces[:len(graces)-1], "/reset/%00", "/reset/..%2f"} {
		v.get(wrong).want(404)
	}
	s.must2(s.db.SetDisabled(t.Context(), "cli", "grace@demo.test", true))
	v.get(graces).want(404)
	v.post(graces, "new", "a new long password", "again", "a new long password").want(404)
}

func (s *site) must2(_ portal.Login, err error) {
	s.t.Helper()
	s.must(err)
}

// Whether there is a login can't be told: not by the answer, and not by what is done meanwhile, which is the same
// writes to the same tables.
func TestForgottenTellsNobodyWhoIsThere(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.must2(s.db.SetDisabled(t.Context(), "cli", "grace@demo.test", true))
	raw, err := sql.Open("sqlite3", "file:"+s.db.Path()+"?_busy_timeout=5000")
	s.must(err)
	defer func() { _ = raw.Close() }()
	type trace struct {
		Status  int
		Header  http.Header
		Body    string
		Writes  []string
		Waiting int
	}
	ask := func(email string) trace {
		var writes []string
		s.db.Hook = func(point string) { writes = append(writes, point) }
		a := s.visitor().post("/forgot", "email", email)
		s.db.Hook = nil
		h := a.Header.Clone()
		for _, own := range []string{"Date", "X-Request-Id"} {
			h.Del(own)
		}
		var n int
		s.must(raw.QueryRow(`SELECT COUNT(*) FROM forgotten`).Scan(&n))
		if _, err := raw.Exec(`DELETE FROM forgotten`); err != nil {
			t.Fatal(err)
		}
		return trace{a.StatusCode, h, a.body, writes, n}
	}
	known := ask("ada@demo.test")
	for _, other := range []string{"nobody@demo.test", "grace@demo.test", "admin@demo.test", "no address", "", strings.Repeat("x", 5000), "a\r\nb@demo.test"} {
		if d := cmp.Diff(known, ask(other)); d != "" {
			t.Errorf("%.30q is answered otherwise than a known one:\n%s", other, d)
		}
	}
	if known.Waiting != 1 {
		t.Errorf("%d requests wait, want 1", known.Waiting)
	}
}

func TestForgottenIsThrottled(t *testing.T) {
	t.Parallel()
	for _, email := range []string{"ada@demo.test", "nobody@demo.test"} {
		s := open(t)
		v := s.visitor()
		for range 3 {
			v.post("/forgot", "email", email).wantTo("/forgot?sent=1")
		}
		v.post("/forgot", "email", email).want(429, "too many requests")
		v.post("/forgot", "email", "other"+email).wantTo("/forgot?sent=1")
		v.post("/login", "email", "ada@demo.test", "password", password).wantTo("/services") // the sign-in is another matter
		s.clock.pass(31 * time.Second)
		v.post("/forgot", "email", email).wantTo("/forgot?sent=1")
		for i := range 20 {
			if a := v.post("/forgot", "email", email+strings.Repeat("x", i+1)); a.StatusCode == 429 {
				return
			}
		}
		t.Error("one address may ask for as many as it likes")
	}
}

// A mail goes to nobody that has no login, and its token is shown to no staff.
func TestForgottenMailIsForItsReaderAlone(t *testing.T) {
	t.Parallel()
	s := open(t)
	v := s.visitor()
	for _, email := range []string{"nobody@demo.test", "ada@demo.test"} {
		v.post("/forgot", "email", email)
	}
	link := s.link()
	all := s.mails()
	if len(all) != 1 {
		t.Fatalf("%d mails, want 1", len(all))
	}
	token := strings.TrimPrefix(link, "/reset/")
	admin := s.as("admin@demo.test")
	for _, page := range []string{"/admin/mail", "/admin/mail/" + all[0].UID, "/admin/mail/" + all[0].UID + "/html", "/admin/audit"} {
		if a := admin.get(page).want(200); strings.Contains(a.body, token) {
			t.Errorf("%s shows the token", page)
		}
	}
	raw, err := sql.Open("sqlite3", "file:"+s.db.Path()+"?_busy_timeout=5000")
	s.must(err)
	defer func() { _ = raw.Close() }()
	var found int
	s.must(raw.QueryRow(`SELECT (SELECT COUNT(*) FROM mails WHERE notice LIKE '%' || $1 || '%') + (SELECT COUNT(*) FROM outbox WHERE payload LIKE '%' || $1 || '%')
		+ (SELECT COUNT(*) FROM password_resets WHERE token_hash LIKE '%' || $1 || '%')`, token).Scan(&found))
	if found != 0 {
		t.Error("the database holds the token")
	}
}

func TestSignInFromANewDeviceIsTold(t *testing.T) {
	t.Parallel()
	s := open(t)
	told := func() (n int) {
		for _, m := range s.mails() {
			if m.Topic == portal.TopicNewDevice && m.Address == "ada@demo.test" {
				n++
			}
		}
		return n
	}
	home := s.visitor()
	in := func(v *visitor) answer {
		return v.post("/login", "email", "ada@demo.test", "password", password).wantTo("/services")
	}
	var kept *http.Cookie
	for _, c := range in(home).Cookies() {
		if strings.HasSuffix(c.Name, "stowage_device") {
			kept = c
		}
	}
	if kept == nil || !kept.HttpOnly || kept.SameSite != http.SameSiteLaxMode || kept.MaxAge < 86400*300 {
		t.Fatalf("the browser keeps %+v", kept)
	}
	if n := told(); n != 0 {
		t.Fatalf("%d mails at the first sign-in", n)
	}
	home.post("/logout")
	in(home)
	if n := told(); n != 0 {
		t.Errorf("%d mails at the same browser's second sign-in", n)
	}
	other := s.visitor()
	in(other)
	if n := told(); n != 1 {
		t.Errorf("%d mails after another browser's sign-in, want 1", n)
	}
	in(other)
	forger := s.visitor()
	forger.cookie("stowage_device", strings.SplitN(kept.Value, ".", 2)[0]+".x")
	in(forger)
	if n := told(); n != 2 {
		t.Errorf("%d mails after one that forged its cookie, want 2", n)
	}
}

func TestAccountMail(t *testing.T) {
	t.Parallel()
	s := open(t)
	ada := s.as("ada@demo.test")
	ada.get("/account").want(200, "A restore failed", "Always on")
	ada.post("/account/mail", "mail_missed", "on", "mail_alerts", "on", "mail_security", "on").wantTo("/account#mail")
	l, err := s.db.LoginByEmail(t.Context(), "ada@demo.test")
	s.must(err)
	var on []string
	for _, k := range portal.MailKinds() {
		if l.Wants(k) {
			on = append(on, k.Key)
		}
	}
	if d := cmp.Diff([]string{"missed", "security"}, on); d != "" {
		t.Errorf("what is on (-want +got): staff's is none of hers:\n%s", d)
	}
	page := s.as("admin@demo.test").get("/account").want(200, "The morning report")
	if strings.Contains(page.body, "mail_restored") {
		t.Error("staff may choose a client's mails")
	}
}

func TestMailLog(t *testing.T) {
	t.Parallel()
	s := open(t)
	ctx := t.Context()
	for _, svc := range []portal.Service{s.h100, s.h200} {
		s.must(s.db.Post(ctx, store.Message{Channel: store.ToClient, ServiceID: svc.ID, Topic: portal.TopicBackupFailed, Payload: portal.Notice{Text: "The storage is full.", Reference: "K7Q-42M"}}))
	}
	all := s.mails()
	m, _, err := s.db.ClaimMail(ctx)
	s.must(err)
	s.must(s.db.MailFailed(ctx, m, "550 no such user", true))
	admin, auditor := s.as("admin@demo.test"), s.as("auditor@demo.test")
	admin.get("/admin/mail").want(200, "ada@demo.test", "grace@demo.test", "Given up", "Waiting")
	if a := admin.get("/admin/mail?q=h200").want(200, "grace@demo.test"); strings.Contains(a.body, ">ada@demo.test") {
		t.Error("the search finds others")
	}
	admin.get("/admin/mail?state=sent").want(200, "No mail fits")
	one := admin.get("/admin/mail/"+m.UID).want(200, "550 no such user", "Send it again", "The storage is full.")
	if policy := one.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "frame-src 'self'") || !strings.Contains(one.body, `sandbox=""`) {
		t.Errorf("the frame: %s", policy)
	}
	html := auditor.get("/admin/mail/"+m.UID+"/html").want(200, "The storage is full.")
	if policy := html.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "sandbox") {
		t.Errorf("within the frame: %s", policy)
	}
	if a := auditor.get("/admin/mail/" + m.UID).want(200); strings.Contains(a.body, "Send it again") {
		t.Error("an auditor is offered to send")
	}
	admin.post("/admin/mail/" + m.UID + "/retry").wantTo("/admin/mail/" + m.UID)
	admin.post("/admin/mail/"+m.UID+"/retry").want(409, "was not given up")
	admin.get("/admin/mail/report").want(200, "Morning report")
	s.clock.pass(time.Hour)
	if len(all) != 2 {
		t.Errorf("%d mails, want 2", len(all))
	}
}

func TestWithoutMail(t *testing.T) {
	t.Parallel()
	s := open(t, func(o *handlers.Options) { o.Mail = false })
	s.visitor().get("/forgot").want(200, "sends no mail")
	s.visitor().post("/forgot", "email", "ada@demo.test").want(409, "sends no mail")
	s.must(s.db.Post(t.Context(), store.Message{Channel: store.ToClient, ServiceID: s.h100.ID, Topic: portal.TopicBackupFailed, Payload: portal.Notice{}}))
	s.as("admin@demo.test").get("/admin").want(200, "No mail is sent.", "1 message waits.")
}

// cookie has the visitor's browser keep a cookie of its own.
func (v *visitor) cookie(name, value string) {
	v.s.t.Helper()
	at, err := url.Parse(v.s.server.URL)
	v.s.must(err)
	v.Jar.SetCookies(at, []*http.Cookie{{Name: name, Value: value, Path: "/"}})
}
