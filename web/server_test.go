package web_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"stowage/portal"
	"stowage/web"
)

func TestErrorsBecomePages(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	b := s.browser()
	for code, status := range map[portal.Code]int{
		portal.CodeBusy: 409, portal.CodeQuota: 409, portal.CodeConflict: 409, portal.CodeInvalid: 422, portal.CodeForbidden: 403,
		portal.CodeNotFound: 404, portal.CodeTooLarge: 413, portal.CodeTooOften: 429, portal.CodeUnavailable: 503,
	} {
		s.get(b, "/fail/"+string(code)).want(t, string(code), status, "<p data-refusal>A sentence.</p>")
	}
	s.get(b, "/fail/again").want(t, "a refusal on its page", 409, "the page with: All places are used.")
	s.get(b, "/nowhere").want(t, "no such page", 404, "<p data-refusal>We can't find that page")
	s.get(b, "/static/nowhere").want(t, "no such asset", 404, "<p data-refusal>We can't find that page")
	s.do(b, "PUT", "/services", "").want(t, "no such method", 405, "can't be used that way")
	for _, how := range []string{"error", "panic", "half"} {
		a := s.get(b, "/fail/"+how+"?secret=hunter2")
		a.want(t, how, 500, "Something went wrong on our side")
		reference := regexp.MustCompile(`<b>(.*)</b>`).FindStringSubmatch(a.body)
		if len(reference) != 2 || reference[1] == "" || reference[1] != a.Header.Get("X-Request-Id") {
			t.Errorf("%s: reference %q", how, a.body)
			continue
		}
		if n := strings.Count(s.log.String(), `msg="request failed" reference=`+reference[1]); n != 1 {
			t.Errorf("%s: logged %d times", how, n)
		}
		if strings.Contains(a.body, "disk said no") || strings.Contains(a.body, "half a page") || strings.Contains(a.body, "goroutine") {
			t.Errorf("%s: the page tells what is not for visitors: %s", how, a.body)
		}
	}
	if log := s.log.String(); strings.Contains(log, "?secret") || !strings.Contains(log, "recoverPanics") {
		t.Error("the log holds the query, or lacks the stack of the panic")
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	for _, path := range []string{"/login", "/nowhere", "/fail/panic"} {
		h := s.get(s.browser(), path).Header
		for name, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
			"Cache-Control":           "no-store, private", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin",
			"X-Frame-Options": "DENY", "Strict-Transport-Security": "", "Server": "",
		} {
			if h.Get(name) != want {
				t.Errorf("%s: %s: %q", path, name, h.Get(name))
			}
		}
	}
	a := s.do(s.browser(), "HEAD", "/login", "")
	if a.StatusCode != 200 || a.body != "" {
		t.Errorf("HEAD: %d %q", a.StatusCode, a.body)
	}
}

func TestChangesFromOtherSitesAreRefused(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	b := s.signedIn("ada@demo.test")
	for _, headers := range [][]string{
		{"Origin", "https://evil.example"}, {"Origin", "null"}, {"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"},
		{"Origin", s.server.URL, "Sec-Fetch-Site", "cross-site"}, {"Origin", s.server.URL + ".evil.example"},
	} {
		s.do(b, "POST", "/services/flash", "", headers...).want(t, fmt.Sprint(headers), 403, "another web site")
	}
	for _, headers := range [][]string{nil, {"Origin", s.server.URL}, {"Sec-Fetch-Site", "same-origin"}, {"Origin", "http://localhost"}} {
		s.do(b, "POST", "/services/flash", "", headers...).wantTo(t, fmt.Sprint(headers), "/services")
	}
	s.get(b, "/services", "Sec-Fetch-Site", "cross-site").want(t, "a link from elsewhere", 200, "ada")
}

func TestForms(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	b := s.signedIn("ada@demo.test")
	const kind = "application/x-www-form-urlencoded"
	for _, c := range []struct {
		name, kind, body string
		status           int
		want             string
	}{
		{"plain", kind, "note=a+b%C3%BC&replace=", 200, `"a bü" true`},
		{"with charset", kind + "; charset=UTF-8", "note=x", 200, `"x" false`},
		{"empty", "", "", 200, `"" false`},
		{"fields that nobody asked for", kind, "admin=1&note=x&role=admin&role=owner", 200, `"x" false`},
		{"a field twice", kind, "note=a&note=b", 422, "more than once"},
		{"not UTF-8", kind, "note=%ff%fe", 422, "not text"},
		{"a zero byte", kind, "note=a%00b", 422, "not text"},
		{"another charset", kind + "; charset=latin1", "note=x", 422, "UTF-8"},
		{"broken escapes", kind, "note=%zz", 422, "can't be read"},
		{"semicolons", kind, "note=a;replace=b", 422, "can't be read"},
		{"several parts", "multipart/form-data; boundary=x", "--x--", 422, "plain form"},
		{"JSON", "application/json", `{"note":"x"}`, 422, "plain form"},
		{"no type", "", "note=x", 422, "plain form"},
		{"the largest", kind, "note=" + strings.Repeat("x", web.BodyLimit-5), 200, "xxx"},
		{"too large", kind, "note=" + strings.Repeat("x", web.BodyLimit), 413, "more than the portal takes"},
	} {
		s.do(b, "POST", "/services/echo?note=from-the-query", c.body, "Content-Type", c.kind).want(t, c.name, c.status, c.want)
	}
	r, err := http.NewRequestWithContext(t.Context(), "POST", s.server.URL+"/services/echo", io.MultiReader(strings.NewReader("note="), io.LimitReader(zeros{}, 10<<20)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", kind)
	resp, err := b.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 413 {
		t.Errorf("too large without saying so: %d", resp.StatusCode)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func TestAddressesOfVisitors(t *testing.T) {
	t.Parallel()
	direct := open(t, nil)
	direct.get(direct.browser(), "/fail/address", "X-Forwarded-For", "203.0.113.9").want(t, "no proxy is trusted", 200, "127.0.0.1")
	behind := open(t, func(o *web.Options) {
		o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}
	})
	for sent, want := range map[string]string{
		"203.0.113.9": "203.0.113.9", "198.51.100.1, 203.0.113.9": "203.0.113.9", "203.0.113.9, 127.0.0.2": "203.0.113.9",
		"10.0.0.1, 2001:db8::7": "10.0.0.1", "": "127.0.0.1", "nonsense": "127.0.0.1",
	} {
		if a := behind.get(behind.browser(), "/fail/address", "X-Forwarded-For", sent); a.body != want {
			t.Errorf("%q: %s, want %s", sent, a.body, want)
		}
	}
}

func TestSlowVisitorsAreDropped(t *testing.T) {
	t.Parallel()
	s := open(t, func(o *web.Options) { o.HeaderTimeout, o.ReadTimeout = 100*time.Millisecond, 200*time.Millisecond })
	for name, begin := range map[string]string{
		"headers": "GET /login HTTP/1.1\r\nHost: x\r\nX-Slow: ",
		"body":    "POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000\r\n\r\nemail=",
	} {
		conn, err := net.Dial("tcp", s.server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, begin); err != nil {
			t.Fatal(err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, conn); err != nil {
			t.Errorf("slow %s: the connection stays open: %v", name, err)
		}
	}
}

func TestStreamsOutliveTheBoundsAndEndWithThePortal(t *testing.T) {
	t.Parallel()
	s := open(t, func(o *web.Options) { o.ReadTimeout, o.WriteTimeout = 150*time.Millisecond, 150*time.Millisecond })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	in := httptest.NewRequestWithContext(ctx, "POST", "/login", strings.NewReader(url.Values{"email": {"ada@demo.test"}, "password": {password}}.Encode()))
	in.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	out := httptest.NewRecorder() // hashing a password may take longer than the bounds of this test's server
	s.web.Echo.ServeHTTP(out, in)
	r, err := http.NewRequestWithContext(ctx, "GET", s.server.URL+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	r.Header.Set("Cookie", strings.SplitN(out.Header().Get("Set-Cookie"), ";", 2)[0])
	resp, err := s.browser().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got := resp.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("type: %s", got)
	}
	lines := bufio.NewScanner(resp.Body)
	var got []string
	for len(got) < 5 && lines.Scan() {
		got = append(got, lines.Text())
	}
	if want := "retry: 2000||event: hello|data: <p>|data: one</p>"; strings.Join(got, "|") != want {
		t.Errorf("stream: %q, want %q", strings.Join(got, "|"), want)
	}
	ended := make(chan error, 1)
	go func() {
		for lines.Scan() {
		}
		ended <- lines.Err()
	}()
	select {
	case err := <-ended:
		t.Fatalf("the stream ended by itself: %v", err)
	case <-time.After(500 * time.Millisecond): // longer than the bounds on other answers
	}
	if err := s.server.Config.Shutdown(ctx); err != nil {
		t.Errorf("shutdown waits for the stream: %v", err)
	}
	if err := <-ended; err != nil {
		t.Errorf("the stream broke: %v", err)
	}
}

func TestHealthAndMetrics(t *testing.T) {
	t.Parallel()
	ok := true
	s := open(t, func(o *web.Options) {
		o.MetricsToken = "let-me-see"
		o.Ready = func(context.Context) (bool, any) { return ok, map[string]string{"database": "ok"} }
	})
	b := s.browser()
	s.get(b, "/healthz").want(t, "healthz", 200, "ok")
	s.get(b, "/readyz").want(t, "readyz", 200, `"database":"ok"`)
	ok = false
	s.get(b, "/readyz").want(t, "readyz when not", 503, `"ready":false`)
	s.get(b, "/login")
	s.do(b, "BREW", "/login", "")
	s.get(b, "/metrics").want(t, "metrics without a token", 401, "token")
	s.get(b, "/metrics", "Authorization", "Bearer guess").want(t, "metrics with a wrong token", 401, "token")
	a := s.get(b, "/metrics", "Authorization", "Bearer let-me-see")
	a.want(t, "metrics", 200, `stowage_http_request_seconds_count{class="2xx",method="GET",route="/login"} 1`)
	if strings.Contains(a.body, "BREW") {
		t.Error("visitors can make up metrics")
	}
	closed := open(t, nil)
	closed.get(closed.browser(), "/metrics").want(t, "metrics nobody asked for", 404, "")
}

func TestLocalPath(t *testing.T) {
	t.Parallel()
	for wanted, want := range map[string]string{
		"/services": "/services", "/services/x?all=1": "/services/x?all=1", "/a%2Fb": "/a%2Fb", "/a#b": "/a",
		"": "/", "services": "/", "//evil.example": "/", "/\\evil.example": "/", "/%5cevil": "/", "https://evil.example": "/",
		"/\tx": "/", "/a\r\nb": "/", "/login?next=/x": "/", "/logout": "/", "javascript:alert(1)": "/", "/" + strings.Repeat("x", 2000): "/",
		"/a//b": "/a//b", "/%2f/evil.example": "/",
	} {
		if got := web.LocalPath(wanted); got != want {
			t.Errorf("%q: %q, want %q", wanted, got, want)
		}
	}
}

func FuzzLocalPath(f *testing.F) {
	for _, seed := range []string{"/services", "//evil", "/\\evil", "https://evil", "/%2f%2fevil", "/..//evil"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, wanted string) {
		got := web.LocalPath(wanted)
		if !strings.HasPrefix(got, "/") || strings.HasPrefix(got, "//") || strings.HasPrefix(got, "/\\") || strings.ContainsAny(got, "\r\n\t\\") {
			t.Errorf("%q leads to %q", wanted, got)
		}
	})
}
