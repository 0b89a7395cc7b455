package web_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/argon2id"
	"github.com/google/go-cmp/cmp"

	"stowage/portal"
	"stowage/web"
)

// watched counts the hashes of a site and what it asks of the database to sign somebody in.
type watched struct {
	web.Accounts
	mu     sync.Mutex
	asked  []string
	hashes []string
}

func (w *watched) note(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = append(w.asked, what)
}

func (w *watched) LoginByEmail(ctx context.Context, email string) (portal.Login, error) {
	w.note("by e-mail")
	return w.Accounts.LoginByEmail(ctx, email)
}

func (w *watched) LoginAllowed(ctx context.Context, email, address string) (time.Time, error) {
	w.note("allowed")
	return w.Accounts.LoginAllowed(ctx, email, address)
}

func (w *watched) LoginFailed(ctx context.Context, email, address string) (time.Time, error) {
	w.note("failed")
	return w.Accounts.LoginFailed(ctx, email, address)
}

func (w *watched) LoginSucceeded(ctx context.Context, email string) error {
	w.note("succeeded")
	return w.Accounts.LoginSucceeded(ctx, email)
}

// taken gives what was counted since the last time.
func (w *watched) taken() (asked, hashes []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	asked, hashes = w.asked, w.hashes
	w.asked, w.hashes = nil, nil
	return asked, hashes
}

func openWatched(t *testing.T) (*site, *watched) {
	t.Helper()
	w := &watched{}
	s := open(t, func(o *web.Options) {
		w.Accounts = o.Accounts
		o.Accounts = w
	})
	s.web.OnHash(func(stored string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.hashes = append(w.hashes, stored)
	})
	return s, w
}

// whole is all of an answer that could tell two of them apart.
func (a answer) whole() string {
	var headers []string
	for name, values := range a.Header {
		if name != "Date" && name != "X-Request-Id" {
			headers = append(headers, name+": "+strings.Join(values, ", "))
		}
	}
	slices.Sort(headers)
	return fmt.Sprintf("%d\n%s\n\n%s", a.StatusCode, strings.Join(headers, "\n"), a.body)
}

// TestNobodyLearnsWhichAccountsExist compares answers to the last byte, and the work behind them by counting it: the
// questions to the database, and the hashes with their cost. A clock would tell nothing on a busy machine.
func TestNobodyLearnsWhichAccountsExist(t *testing.T) {
	t.Parallel()
	s, w := openWatched(t)
	if _, err := s.db.SetDisabled(t.Context(), "cli", "reader@demo.test", true); err != nil {
		t.Fatal(err)
	}
	w.taken()
	cost := func(hash string) string {
		p, salt, key, err := argon2id.DecodeHash(hash)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%d KiB, %d passes, %d threads, salt %d, key %d", p.Memory, p.Iterations, p.Parallelism, len(salt), len(key))
	}
	_, known := s.signIn("ada@demo.test", "not the password")
	asked, hashes := w.taken()
	if len(hashes) != 1 || known.StatusCode != 422 {
		t.Fatalf("a wrong password: %d hashes, status %d", len(hashes), known.StatusCode)
	}
	wantCost := cost(hashes[0])
	if wantCost != "19456 KiB, 2 passes, 1 threads, salt 16, key 32" {
		t.Errorf("a hash costs %s", wantCost)
	}
	for name, who := range map[string][2]string{
		"unknown": {"nobody@demo.test", "not the password"}, "disabled, the right password": {"reader@demo.test", password}, "disabled, a wrong one": {"reader@demo.test", "x"},
		"no password": {"ada@demo.test", ""}, "no address": {"", password}, "nothing at all": {"", ""}, "too long a password": {"ada@demo.test", strings.Repeat("x", 5000)},
		"too long a password of nobody": {"nobody2@demo.test", strings.Repeat("x", 5000)}, "a name": {"Ada <ada@demo.test>", password}, "two addresses": {"ada@demo.test,x@demo.test", password},
		"SQL": {"' OR 1=1 --", password}, "a pattern": {"%", password}, "another script": {"аda@demo.test", password}, "a very long address": {strings.Repeat("a", 9000) + "@demo.test", password},
		"a password that is no text": {"ada@demo.test", "x\r\ny"},
	} {
		_, a := s.signIn(who[0], who[1])
		if diff := cmp.Diff(known.whole(), a.whole()); diff != "" {
			t.Errorf("%s is told apart: %s", name, diff)
		}
		askedNow, hashesNow := w.taken()
		if diff := cmp.Diff(asked, askedNow); diff != "" {
			t.Errorf("%s: the database is asked something else: %s", name, diff)
		}
		if len(hashesNow) != 1 || cost(hashesNow[0]) != wantCost {
			t.Errorf("%s: %d hashes (%v), want one that costs %s", name, len(hashesNow), hashesNow, wantCost)
		}
		s.pass(time.Hour) // forget the failures of the address
	}
	_, a := s.signIn("ada@demo.test", password)
	a.wantTo(t, "the right one", "/")
	if _, hashes := w.taken(); len(hashes) != 1 {
		t.Errorf("the right one: %d hashes", len(hashes))
	}
}

func TestWaitingTellsNothingEither(t *testing.T) {
	t.Parallel()
	s, w := openWatched(t)
	var story []string
	for _, email := range []string{"ada@demo.test", "nobody@demo.test"} {
		var all []string
		for range 7 {
			_, a := s.signIn(email, "guess guess")
			all = append(all, a.whole())
		}
		w.taken()
		_, a := s.signIn(email, password) // right for one of them
		if _, hashes := w.taken(); len(hashes) != 0 || a.StatusCode != 429 {
			t.Errorf("%s while waiting: %d, %d hashes", email, a.StatusCode, len(hashes))
		}
		story = append(story, strings.Join(append(all, a.whole()), "\n---\n"))
		s.pass(time.Hour)
	}
	if diff := cmp.Diff(story[0], story[1]); diff != "" {
		t.Errorf("an account that exists is told apart: %s", diff)
	}
}

func TestSessionsCantBePlanted(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	name := "stowage_session"
	made := name + "=" + strings.Repeat("A", 43)
	form := url.Values{"email": {"ada@demo.test"}, "password": {password}}.Encode()

	a := s.do(s.browser(), "POST", "/login", form, "Cookie", made)
	a.wantTo(t, "signing in with a session made up before", "/")
	if got := a.Header.Get("Set-Cookie"); got == "" || strings.Contains(got, strings.Repeat("A", 43)) {
		t.Errorf("the session is %q", got)
	}
	s.do(s.browser(), "GET", "/services", "", "Cookie", made).wantTo(t, "the session made up", "/login?expired=1&next=%2Fservices")

	// An attacker signs in with an account of their own, leaves a message there, and plants that session.
	attacker := s.signedIn("ada@demo.test")
	s.do(attacker, "POST", "/services/flash", "").wantTo(t, "a message", "/services")
	planted := s.cookie(attacker)
	victim := s.browser()
	a = s.do(victim, "POST", "/login", url.Values{"email": {"reader@demo.test"}, "password": {password}}.Encode(), "Cookie", planted)
	a.wantTo(t, "signing in over a planted session", "/")
	if strings.Contains(a.Header.Get("Set-Cookie"), strings.TrimPrefix(planted, name+"=")) {
		t.Error("the planted session is kept")
	}
	if a := s.get(victim, "/services"); a.StatusCode != 200 || strings.Contains(a.body, "It is done.") || !strings.Contains(a.body, "reader@demo.test") {
		t.Errorf("the victim's page: %d %s", a.StatusCode, a.body)
	}
	s.do(s.browser(), "GET", "/services", "", "Cookie", planted).wantTo(t, "the planted session afterwards", "/login?expired=1&next=%2Fservices")

	// Whoever knew the token before a change of password knows nothing afterwards, here neither.
	ada := s.signedIn("ada@demo.test")
	before := s.cookie(ada)
	s.do(ada, "POST", "/services/password", "").wantTo(t, "a new password", "/services")
	if s.cookie(ada) == before {
		t.Error("the token outlives a change of password")
	}
	s.do(s.browser(), "GET", "/services", "", "Cookie", before).wantTo(t, "the token from before", "/login?expired=1&next=%2Fservices")
	s.get(ada, "/services").want(t, "the new token", 200, "ada")
}

func TestOddCookies(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	ada := s.cookie(s.signedIn("ada@demo.test"))
	token := strings.TrimPrefix(ada, "stowage_session=")
	for _, cookie := range []string{
		"stowage_session=", "stowage_session", "=", ";;;", `stowage_session="` + token[1:] + `"`, "stowage_session=" + strings.Repeat("x", 20_000), "stowage_session=" + token + "x", "stowage_session=%00",
		"stowage_session=x; " + ada, "__Host-stowage_session=" + token, "stowage_session=" + strings.ToUpper(token), "STOWAGE_SESSION=" + token, "stowage_session=" + token[:42], "theme=" + token,
		"stowage_session=../../etc/passwd", "stowage_session=' OR 1=1 --",
	} {
		a := s.do(s.browser(), "GET", "/services", "", "Cookie", cookie)
		if a.StatusCode != 303 || !strings.HasPrefix(a.Header.Get("Location"), "/login?") {
			t.Errorf("%.80q: %d %s", cookie, a.StatusCode, a.body)
		}
	}
	s.do(s.browser(), "GET", "/services", "", "Cookie", ada).want(t, "the real one", 200, "ada")
	if log := s.log.String(); strings.Contains(log, token) {
		t.Error("the log holds a token")
	}
}

// TestEveryCookieCarriesItsFlags walks through all that sets a cookie.
func TestEveryCookieCarriesItsFlags(t *testing.T) {
	t.Parallel()
	for scheme, want := range map[string]string{
		"http":  `^stowage_session=[A-Za-z0-9_-]{43}; Path=/; HttpOnly; SameSite=Lax$`,
		"https": `^__Host-stowage_session=[A-Za-z0-9_-]{43}; Path=/; HttpOnly; Secure; SameSite=Lax$`,
	} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			s := open(t, func(o *web.Options) { o.URL = &url.URL{Scheme: scheme, Host: "portal.example"} })
			begun := regexp.MustCompile(want)
			ended := regexp.MustCompile(strings.Replace(want, "[A-Za-z0-9_-]{43}; Path=/", "; Path=/; Expires=Thu, 01 Jan 1970 00:00:01 GMT; Max-Age=0", 1))
			cookie := ""
			send := func(what, method, path, body string, shape *regexp.Regexp) {
				t.Helper()
				a := s.do(s.browser(), method, path, body, "Cookie", cookie)
				set := a.Header.Values("Set-Cookie")
				switch {
				case shape == nil && len(set) > 0:
					t.Errorf("%s sets %v", what, set)
				case shape != nil && (len(set) != 1 || !shape.MatchString(set[0])):
					t.Errorf("%s: %v, want %v", what, set, shape)
				case shape == begun:
					cookie = strings.SplitN(set[0], ";", 2)[0]
				}
				if (a.Header.Get("Strict-Transport-Security") != "") != (scheme == "https") {
					t.Errorf("%s: Strict-Transport-Security %q", what, a.Header.Get("Strict-Transport-Security"))
				}
			}
			send("the page to sign in", "GET", "/login", "", nil)
			send("a wrong password", "POST", "/login", "email=ada@demo.test&password=x", nil)
			send("signing in", "POST", "/login", url.Values{"email": {"ada@demo.test"}, "password": {password}}.Encode(), begun)
			send("a page", "GET", "/services", "", nil)
			send("a message", "POST", "/services/flash", "", begun)
			send("its page", "GET", "/services", "", begun)
			s.pass(6 * time.Minute)
			send("a page after some minutes", "GET", "/services", "", begun)
			send("a new password", "POST", "/services/password", "", begun)
			send("an asset", "GET", "/static/nothing", "", nil)
			send("no page", "GET", "/nowhere", "", nil)
			send("signing out", "POST", "/logout", "", ended)
			send("a page after signing out", "GET", "/services", "", nil)
		})
	}
}

func TestAddressesAreBelievedFromTrustedProxiesOnly(t *testing.T) {
	t.Parallel()
	prefixes := func(texts ...string) (all []netip.Prefix) {
		for _, text := range texts {
			all = append(all, netip.MustParsePrefix(text))
		}
		return all
	}
	for _, k := range []struct {
		name    string
		trusted []netip.Prefix
		headers []string // X-Forwarded-For, in the order sent
		want    string
	}{
		{"nobody trusted", nil, []string{"203.0.113.9"}, "127.0.0.1"},
		{"somebody else trusted", prefixes("10.0.0.0/8"), []string{"203.0.113.9"}, "127.0.0.1"},
		{"a neighbour of the proxy trusted", prefixes("127.0.0.2/32"), []string{"203.0.113.9"}, "127.0.0.1"},
		{"one hop", prefixes("127.0.0.1/32"), []string{"203.0.113.9"}, "203.0.113.9"},
		{"what the visitor made up comes first", prefixes("127.0.0.1/32"), []string{"1.2.3.4, 203.0.113.9"}, "203.0.113.9"},
		{"made up in a header of its own", prefixes("127.0.0.1/32"), []string{"1.2.3.4", "203.0.113.9"}, "203.0.113.9"},
		{"made up as a trusted one", prefixes("127.0.0.0/8"), []string{"127.0.0.9, 203.0.113.9"}, "203.0.113.9"},
		{"two proxies", prefixes("127.0.0.1/32", "10.0.0.0/8"), []string{"203.0.113.9, 10.1.2.3"}, "203.0.113.9"},
		{"two proxies in two headers", prefixes("127.0.0.1/32", "10.0.0.0/8"), []string{"1.2.3.4, 203.0.113.9", "10.1.2.3"}, "203.0.113.9"},
		{"an untrusted one between", prefixes("127.0.0.1/32", "10.0.0.0/8"), []string{"203.0.113.9, 192.0.2.1, 10.1.2.3"}, "192.0.2.1"},
		{"IPv6", prefixes("127.0.0.1/32"), []string{"2001:db8::7"}, "2001:db8::7"},
		{"IPv6 in brackets", prefixes("127.0.0.1/32"), []string{"[2001:db8::7]"}, "2001:db8::7"},
		{"a proxy with IPv6", prefixes("127.0.0.1/32", "2001:db8::/32"), []string{"203.0.113.9, 2001:db8:1::1"}, "203.0.113.9"},
		{"a proxy that says IPv4 as IPv6", prefixes("127.0.0.1/32", "10.0.0.0/8"), []string{"203.0.113.9, ::ffff:10.1.2.3"}, "203.0.113.9"},
		{"IPv4 as IPv6", prefixes("127.0.0.1/32"), []string{"::ffff:203.0.113.9"}, "203.0.113.9"},
		{"all trusted", prefixes("0.0.0.0/0"), []string{"203.0.113.9, 198.51.100.1"}, "203.0.113.9"},
		{"empty", prefixes("127.0.0.1/32"), []string{""}, "127.0.0.1"},
		{"commas", prefixes("127.0.0.1/32"), []string{",,,"}, "127.0.0.1"},
		{"garbage", prefixes("127.0.0.1/32"), []string{"<script>"}, "127.0.0.1"},
		{"garbage last", prefixes("127.0.0.1/32"), []string{"203.0.113.9, unknown"}, "127.0.0.1"},
		{"garbage first", prefixes("127.0.0.1/32"), []string{"unknown, 203.0.113.9"}, "203.0.113.9"},
		{"a name", prefixes("127.0.0.1/32"), []string{"localhost"}, "127.0.0.1"},
		{"a number", prefixes("127.0.0.1/32"), []string{"3405803785"}, "127.0.0.1"},
		{"octal", prefixes("127.0.0.1/32"), []string{"0313.0.113.9"}, "127.0.0.1"},
		{"a port", prefixes("127.0.0.1/32"), []string{"203.0.113.9:443"}, "127.0.0.1"},
		{"a zone", prefixes("127.0.0.1/32"), []string{"fe80::1%eth0"}, "127.0.0.1"},
		{"a network", prefixes("127.0.0.1/32"), []string{"203.0.113.0/24"}, "127.0.0.1"},
		{"very long", prefixes("127.0.0.1/32"), []string{strings.Repeat("1.2.3.4, ", 2000) + "203.0.113.9"}, "203.0.113.9"},
	} {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			s := open(t, func(o *web.Options) { o.TrustedProxies = k.trusted })
			r, err := http.NewRequestWithContext(t.Context(), "GET", s.server.URL+"/fail/address", nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, h := range k.headers {
				r.Header.Add("X-Forwarded-For", h)
			}
			for _, name := range []string{"X-Real-Ip", "Forwarded", "X-Client-Ip", "True-Client-Ip", "Cf-Connecting-Ip", "X-Cluster-Client-Ip", "X-Originating-Ip", "X-Forwarded-Host", "X-Forwarded-Proto"} {
				r.Header.Set(name, "198.51.100.77")
			}
			if a := s.send(r); a.body != k.want {
				t.Errorf("%q, want %q", a.body, k.want)
			}
			if log := s.log.String(); !strings.Contains(log, " address="+k.want+" ") {
				t.Errorf("the log names another address: %s", log)
			}
		})
	}
}

// TestGuessingIsSlowedDownByAddress lets one visitor try one password on many accounts.
func TestGuessingIsSlowedDownByAddress(t *testing.T) {
	t.Parallel()
	s := open(t, func(o *web.Options) { o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	tries := 0
	guess := func(address string) answer {
		t.Helper()
		tries++
		return s.do(s.browser(), "POST", "/login", url.Values{"email": {fmt.Sprintf("somebody%d@demo.test", tries)}, "password": {"x"}}.Encode(), "X-Forwarded-For", address)
	}
	for _, k := range []struct{ from, near, far string }{
		{"203.0.113.9", "203.0.113.9", "203.0.113.10"},
		{"2001:db8:1:2::7", "2001:db8:1:2:ffff::1", "2001:db8:1:3::7"},
	} {
		for range 19 {
			if _, err := s.db.LoginFailed(t.Context(), fmt.Sprintf("other%d@demo.test", tries), k.from); err != nil {
				t.Fatal(err)
			}
			tries++
		}
		guess(k.from).want(t, "the 20th account", 422, "not right")
		guess(k.near).want(t, "the 21st", 429, "too many tries")
		guess("1.2.3.4, "+k.near).want(t, "the 21st with another name for the visitor", 429, "too many tries")
		guess(k.far).want(t, "somebody else", 422, "not right")
		r := s.do(s.browser(), "POST", "/login", url.Values{"email": {"ada@demo.test"}, "password": {password}}.Encode(), "X-Forwarded-For", k.near)
		r.want(t, "the owner from that address", 429, "too many tries")
		r = s.do(s.browser(), "POST", "/login", url.Values{"email": {"ada@demo.test"}, "password": {password}}.Encode(), "X-Forwarded-For", k.far)
		r.wantTo(t, "the owner from another", "/")
		s.pass(31 * time.Second)
		guess(k.from).want(t, "after the wait", 422, "not right")
		guess(k.from).want(t, "right after", 429, "too many tries")
		s.pass(31 * time.Second)
		guess(k.from).want(t, "the next wait is longer", 429, "too many tries")
		s.pass(time.Hour)
		guess(k.from).want(t, "an hour later", 422, "not right")
	}

	direct := open(t, nil)
	for i := range 20 {
		if _, err := direct.db.LoginFailed(t.Context(), fmt.Sprintf("other%d@demo.test", i), "127.0.0.1"); err != nil {
			t.Fatal(err)
		}
	}
	a := direct.do(direct.browser(), "POST", "/login", "email=x@demo.test&password=x", "X-Forwarded-For", "203.0.113.44")
	a.want(t, "an address that nobody vouches for", 429, "too many tries")
}

// TestForgedOrigins tries every origin with every Sec-Fetch-Site. A browser can't be made to lie about the second; of
// browsers that don't send it the first counts; who sends neither is a script with a cookie of its own.
func TestForgedOrigins(t *testing.T) {
	t.Parallel()
	const public = "https://portal.example"
	s := open(t, func(o *web.Options) { o.URL = &url.URL{Scheme: "https", Host: "portal.example"} })
	_, signed := s.signIn("ada@demo.test", password)
	cookie := strings.SplitN(signed.Header.Get("Set-Cookie"), ";", 2)[0]
	const host = "portal.example:8443" // as the proxy passes it on, with a port that people don't type
	origins := []struct {
		value string // "-" for none
		ours  bool   // by its host, where Sec-Fetch-Site says nothing
	}{
		{"-", true}, {"", true}, {public, true}, {"https://" + host, true}, {"http://" + host, true},
		{"http://portal.example", false}, {"https://portal.example:444", false}, {"https://www.portal.example", false}, {"https://example", false},
		{"https://portal.example.evil.example", false}, {"https://evilportal.example", false}, {"https://portal.example@evil.example", false}, {"https://evil.example#portal.example:8443", false},
		{"https://evil.example/portal.example:8443", false}, {"https://evil.example?portal.example:8443", false}, {"null", false}, {"https://", false}, {"https", false}, {"//evil.example", false},
		{"portal.example:8443", false}, {"file://", false}, {"chrome-extension://abcdef", false}, {"https://evil.example https://portal.example", false}, {"https://portal.example:8443.evil.example", false},
		{"https://[::1]:8443", false}, {"https://portal.example.:8443", false}, {"%zz", false}, {"https://pоrtal.example", false},
	}
	sites := []string{"-", "same-origin", "none", "same-site", "cross-site", "", "Same-Origin", "same-origin, cross-site", "x"}
	n := 0
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "BREW", "GET", "OPTIONS"} {
		for _, o := range origins {
			for _, site := range sites {
				var allowed bool
				switch {
				case method == "GET" || method == "OPTIONS" || site == "same-origin" || site == "none":
					allowed = true
				case site == "-" || site == "":
					allowed = o.ours
				default:
					allowed = o.value == public
				}
				headers := []string{"Cookie", cookie, "Host", host}
				if o.value != "-" {
					headers = append(headers, "Origin", o.value)
				}
				if site != "-" {
					headers = append(headers, "Sec-Fetch-Site", site)
				}
				path := "/services/flash"
				if method == "GET" {
					path = "/services"
				}
				a := s.doHost(method, path, headers...)
				n++
				if refused := a.StatusCode == 403 && strings.Contains(a.body, "another web site"); refused == allowed || a.StatusCode >= 500 {
					t.Errorf("%s, Origin %s, Sec-Fetch-Site %s: %d, want allowed %v", method, o.value, site, a.StatusCode, allowed)
				}
				if !allowed && a.Header.Get("Set-Cookie") != "" {
					t.Errorf("%s, Origin %s, Sec-Fetch-Site %s: sets a cookie", method, o.value, site)
				}
			}
		}
	}
	for _, path := range []string{"/login", "/logout"} {
		a := s.doHost("POST", path, "Cookie", cookie, "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site")
		a.want(t, path+" from elsewhere", 403, "another web site")
	}
	s.do(s.browser(), "GET", "/services", "", "Cookie", cookie).want(t, "the session afterwards", 200, "ada")
	if n != 7*len(origins)*len(sites) {
		t.Errorf("%d combinations", n)
	}
}

// doHost sends a request with headers as they are, the Host among them.
func (s *site) doHost(method, path string, headers ...string) answer {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.server.URL+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
			continue
		}
		r.Header[http.CanonicalHeaderKey(headers[i])] = []string{headers[i+1]}
	}
	return s.send(r)
}

// send sends a request as it is, with no cookies of its own.
func (s *site) send(r *http.Request) answer {
	s.t.Helper()
	resp, err := s.browser().Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{resp, string(raw)}
}
