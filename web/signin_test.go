package web_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"stowage/portal"
	"stowage/web"
)

func TestSignInAndOut(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	b := s.browser()
	s.get(b, "/services?page=2").wantTo(t, "a page before signing in", "/login?next=%2Fservices%3Fpage%3D2")
	form := url.Values{"email": {" ADA@demo.test"}, "password": {password}, "next": {"/services?page=2"}}.Encode()
	a := s.do(b, "POST", "/login", form)
	a.wantTo(t, "signing in", "/services?page=2")
	cookie := a.Header.Get("Set-Cookie")
	if !regexp.MustCompile(`^stowage_session=[A-Za-z0-9_-]{43}; Path=/; HttpOnly; SameSite=Lax$`).MatchString(cookie) {
		t.Errorf("cookie: %s", cookie)
	}
	s.get(b, "/services").want(t, "signed in", 200, "services of ada@demo.test")

	a = s.do(b, "POST", "/login", form)
	if again := a.Header.Get("Set-Cookie"); again == cookie || again == "" {
		t.Error("a second sign-in keeps the token of the first")
	}
	s.do(s.browser(), "GET", "/services", "", "Cookie", strings.SplitN(cookie, ";", 2)[0]).
		wantTo(t, "the token from before the second sign-in", "/login?expired=1&next=%2Fservices")

	stolen := s.cookie(b)
	s.do(b, "POST", "/logout", "").wantTo(t, "signing out", "/login")
	s.get(b, "/services").wantTo(t, "after signing out", "/login?next=%2Fservices")
	s.do(s.browser(), "GET", "/services", "", "Cookie", stolen).wantTo(t, "a kept cookie after signing out", "/login?expired=1&next=%2Fservices")
}

func (s *site) cookie(b *http.Client) string {
	u, err := url.Parse(s.server.URL)
	if err != nil {
		s.t.Fatal(err)
	}
	cookies := b.Jar.Cookies(u)
	if len(cookies) != 1 {
		s.t.Fatalf("%d cookies", len(cookies))
	}
	return cookies[0].Name + "=" + cookies[0].Value
}

func TestCookieIsSecureExactlyOnHTTPS(t *testing.T) {
	t.Parallel()
	s := open(t, func(o *web.Options) { o.URL = &url.URL{Scheme: "https", Host: "portal.example"} })
	_, a := s.signIn("ada@demo.test", password)
	cookie := a.Header.Get("Set-Cookie")
	if !strings.HasPrefix(cookie, "__Host-stowage_session=") || !strings.Contains(cookie, "; Secure") || !strings.Contains(cookie, "; Path=/;") {
		t.Errorf("cookie: %s", cookie)
	}
	if a.Header.Get("Strict-Transport-Security") == "" {
		t.Error("no Strict-Transport-Security")
	}
}

func TestWrongAndUnknownGetTheSameAnswer(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	if _, err := s.db.SetDisabled(t.Context(), "cli", "reader@demo.test", true); err != nil {
		t.Fatal(err)
	}
	_, wrong := s.signIn("ada@demo.test", "not the password")
	wrong.want(t, "wrong password", 422, "sign in: That e-mail address or password is not right.")
	for _, who := range [][2]string{{"nobody@demo.test", "not the password"}, {"reader@demo.test", password}, {"ada@demo.test", ""}, {"", ""}, {"ada@demo.test", strings.Repeat("x", 5000)}} {
		_, a := s.signIn(who[0], who[1])
		if a.StatusCode != wrong.StatusCode || a.body != wrong.body || a.Header.Get("Set-Cookie") != "" {
			t.Errorf("%s with %.20q: %d %q", who[0], who[1], a.StatusCode, a.body)
		}
	}
	if log := s.log.String(); strings.Contains(log, "not the password") || strings.Contains(log, "nobody@demo.test") {
		t.Errorf("the log holds what was typed: %s", log)
	}
}

func TestGuessingIsSlowedDown(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	for range 5 {
		_, a := s.signIn("ada@demo.test", "guess guess")
		a.want(t, "a wrong guess", 422, "not right")
	}
	_, a := s.signIn("ada@demo.test", password)
	a.want(t, "the right password, too soon", 429, "Please wait 30 seconds")
	if a.Header.Get("Retry-After") != "30" {
		t.Errorf("Retry-After: %q", a.Header.Get("Retry-After"))
	}
	_, a = s.signIn("admin@demo.test", password)
	a.wantTo(t, "somebody else meanwhile", "/")
	s.pass(30 * time.Second)
	_, a = s.signIn("ada@demo.test", password)
	a.wantTo(t, "the right password, after the wait", "/")
}

func TestManyGuessesAtOnceDontOutrunTheCount(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	statuses := make(chan int, 12)
	for range cap(statuses) {
		go func() {
			resp, err := http.PostForm(s.server.URL+"/login", url.Values{"email": {"ada@demo.test"}, "password": {"guess guess"}})
			if err != nil {
				statuses <- 0
				return
			}
			_ = resp.Body.Close()
			statuses <- resp.StatusCode
		}()
	}
	tried := 0
	for range cap(statuses) {
		switch status := <-statuses; status {
		case 422:
			tried++
		case 429:
		default:
			t.Errorf("status %d", status)
		}
	}
	if tried > 6 { // five, and one that was hashed beside the fifth
		t.Errorf("%d of %d guesses were tried", tried, cap(statuses))
	}
}

func TestSessionsEnd(t *testing.T) {
	t.Parallel()
	t.Run("when idle", func(t *testing.T) {
		t.Parallel()
		s := open(t, nil)
		b := s.signedIn("ada@demo.test")
		for range 3 {
			s.pass(web.IdleTimeout - time.Minute)
			s.get(b, "/services").want(t, "in use", 200, "ada")
		}
		s.pass(web.IdleTimeout + time.Minute)
		s.get(b, "/services").wantTo(t, "idle", "/login?expired=1&next=%2Fservices")
	})
	t.Run("when old", func(t *testing.T) {
		t.Parallel()
		s := open(t, nil)
		b := s.signedIn("ada@demo.test")
		for used := time.Duration(0); used < web.Lifetime-time.Hour; used += time.Hour {
			s.get(b, "/services").want(t, "in use", 200, "ada")
			s.pass(time.Hour)
		}
		s.pass(time.Hour)
		s.get(b, "/services").wantTo(t, "old", "/login?expired=1&next=%2Fservices")
	})
	t.Run("with a new password, but not where it was set", func(t *testing.T) {
		t.Parallel()
		s := open(t, nil)
		here, there := s.signedIn("ada@demo.test"), s.signedIn("ada@demo.test")
		s.do(here, "POST", "/services/password", "").wantTo(t, "changing the password", "/services")
		s.get(here, "/services").want(t, "here", 200, "ada")
		s.get(there, "/services").wantTo(t, "there", "/login?expired=1&next=%2Fservices")
	})
	t.Run("when the login is disabled", func(t *testing.T) {
		t.Parallel()
		s := open(t, nil)
		b := s.signedIn("ada@demo.test")
		if _, err := s.db.SetDisabled(t.Context(), "cli", "ada@demo.test", true); err != nil {
			t.Fatal(err)
		}
		s.get(b, "/services").wantTo(t, "disabled", "/login?expired=1&next=%2Fservices")
	})
}

func TestExpiredSessionComesBackToThePage(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	host := strings.TrimPrefix(s.server.URL, "http://")
	page := "http://" + host + "/services/x/backups?all=1"
	b := s.browser()
	s.do(b, "POST", "/services/echo", "note=x", "Referer", page).wantTo(t, "a form", "/login?next=%2Fservices%2Fx%2Fbackups%3Fall%3D1")
	s.do(b, "POST", "/services/echo", "note=x", "Referer", "http://elsewhere.example/services").wantTo(t, "a form from elsewhere", "/login")
	a := s.get(b, "/services", "HX-Request", "true", "HX-Current-URL", page)
	if a.StatusCode != 401 || a.Header.Get("HX-Redirect") != "/login?next=%2Fservices%2Fx%2Fbackups%3Fall%3D1" {
		t.Errorf("a piece of a page: %d %q", a.StatusCode, a.Header.Get("HX-Redirect"))
	}
	if a := s.get(b, "/events", "Accept", "text/event-stream"); a.StatusCode != 401 {
		t.Errorf("the event stream: %d", a.StatusCode)
	}
}

func TestRolesSeeTheirOwnSide(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	ada, reader := s.signedIn("ada@demo.test"), s.signedIn("reader@demo.test")
	admin, auditor := s.signedIn("admin@demo.test"), s.signedIn("auditor@demo.test")
	s.get(ada, "/admin").want(t, "a client at the staff pages", 404, "can't find that page")
	s.get(admin, "/admin").want(t, "staff", 200, "staff")
	s.get(admin, "/services").wantTo(t, "staff at the front page", "/admin")
	s.get(admin, "/events").want(t, "staff at a client's page", 404, "")
	s.do(auditor, "POST", "/admin/staff", "").want(t, "an auditor's change", 403, "auditor")
	s.do(admin, "POST", "/admin/staff", "").want(t, "an admin's change", 200, "done")
	s.do(reader, "POST", "/services/flash", "").want(t, "a reader's change", 403, "change nothing")
	s.do(ada, "POST", "/services/flash", "").wantTo(t, "an owner's change", "/services")
	s.get(ada, "/services").want(t, "the message", 200, "good: It is done.")
	if a := s.get(ada, "/services"); strings.Contains(a.body, "It is done.") {
		t.Error("the message shows twice")
	}
}

func TestPasswords(t *testing.T) {
	t.Parallel()
	for bad, why := range map[string]string{"seven77": "at least", strings.Repeat("x", 257): "at most", "line\nbreak": "one line", "\xff\xff\xff\xff\xff\xff\xff\xff": "text"} {
		if _, err := web.HashPassword(bad); portal.CodeOf(err) != portal.CodeInvalid || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	seen := map[string]bool{}
	for range 100 {
		p := web.NewPassword()
		if !regexp.MustCompile(`^([2-9a-hjkmnp-z]{4}-){3}[2-9a-hjkmnp-z]{4}$`).MatchString(p) || seen[p] {
			t.Fatalf("made up %q", p)
		}
		seen[p] = true
	}
}

func TestPasswordTypedInAnotherForm(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	composed, decomposed := "pässword-ö-long", "pa\u0308ssword-o\u0308-long"
	hash, err := web.HashPassword(composed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.db.SetPassword(t.Context(), "cli", "ada@demo.test", hash); err != nil {
		t.Fatal(err)
	}
	_, a := s.signIn("ada@demo.test", decomposed)
	a.wantTo(t, "the same letters from another keyboard", "/")
}
