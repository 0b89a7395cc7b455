package handlers_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stowage/web"
)

// TestMalformedFormsAreRefused sends every form that there is in every shape that no browser sends. Nothing is
// changed, and nothing is an error of ours: the log of these tests takes none.
func TestMalformedFormsAreRefused(t *testing.T) {
	t.Parallel()
	a := newArena(t)
	x, held := a.copied(), a.held()
	visitors := []*visitor{a.as("ada@demo.test"), a.as("admin@demo.test"), a.visitor()}
	before := a.state()
	const form = "application/x-www-form-urlencoded"
	many := strings.Repeat("x=y&", web.BodyLimit/4-10)
	n := 0
	for _, key := range a.knownRoutes() {
		method, path, _ := strings.Cut(key, " ")
		if method != "POST" {
			continue
		}
		r, about := attackedRoutes[key], x
		if strings.HasPrefix(path, "/admin/operations/") {
			about.operation = held.operation
		}
		fields, err := url.ParseQuery(r.fields)
		a.must(err)
		if path == "/login" {
			fields = url.Values{"email": {"x@demo.test"}, "password": {"x"}, "next": {"/"}}
		}
		kinds := []struct{ name, kind, body string }{
			{"JSON", "application/json", `{"note":"x"}`}, {"no type", "", "note=x"}, {"text", "text/plain", "note=x"}, {"several parts", "multipart/form-data; boundary=x", "--x--"},
			{"another character set", form + "; charset=utf-7", "note=x"}, {"a type that is none", ";;;=", "note=x"}, {"two types", form + ", text/plain", "note=x"},
			{"broken escapes", form, "note=%zz"}, {"semicolons", form, "a=b;c=d"}, {"too large", form, "note=" + strings.Repeat("x", web.BodyLimit)},
		}
		for field := range fields {
			kinds = append(kinds, []struct{ name, kind, body string }{
				{field + " twice", form, field + "=a&" + r.fields + "&" + field + "=b"},
				{field + " very often", form, many + strings.Repeat("&"+field+"=a", 2)},
				{field + " in two spellings", form, url.QueryEscape(field) + "=a&%" + fmt.Sprintf("%x", field[0]) + field[1:] + "=b"},
				{field + " is no text", form, field + "=%ff%fe"},
				{field + " holds a zero", form, field + "=a%00b"},
				{field + " in overlong bytes", form, field + "=%c0%af"},
				{field + " as half a character", form, field + "=%ed%a0%80"},
			}...)
		}
		for _, k := range kinds {
			for who, v := range visitors {
				if strings.HasPrefix(path, "/logout") || strings.HasPrefix(path, "/account/sign-out") || path == "/account/password" {
					continue // sign out whatever is sent, or count a wrong password
				}
				got := v.do("POST", about.address(path), strings.NewReader(k.body), "Content-Type", k.kind)
				n++
				granted := who == 1 == strings.HasPrefix(path, "/admin") && who < 2 || path == "/login"
				switch {
				case got.StatusCode >= 500:
					t.Errorf("%s, %s: %d", key, k.name, got.StatusCode)
				case granted && (got.StatusCode < 400 || got.StatusCode == 404):
					if len(fields) == 0 && k.kind == form && k.name != "broken escapes" && k.name != "semicolons" && k.name != "too large" {
						continue // a form without fields is read no further
					}
					t.Errorf("%s, %s: %d to %s, want a refusal", key, k.name, got.StatusCode, got.Header.Get("Location"))
				case k.name == "too large" && granted && got.StatusCode != 413:
					t.Errorf("%s, %s: %d", key, k.name, got.StatusCode)
				}
			}
			a.sql(`DELETE FROM login_failures`)
		}
	}
	if n < 500 {
		t.Errorf("only %d forms were sent", n)
	}
	if diff := cmp.Diff(before, a.state()); diff != "" {
		t.Errorf("a malformed form changed something: %s", diff)
	}
}

// TestOddAddresses asks every page for what it can't know: numbers beyond numbers, bytes that are no text, fields
// that belong elsewhere, and ways around the router.
func TestOddAddresses(t *testing.T) {
	t.Parallel()
	a := newArena(t)
	x := a.copied()
	visitors := map[string]*visitor{"ada": a.as("ada@demo.test"), "auditor": a.as("auditor@demo.test"), "nobody": a.visitor()}
	before := a.state()
	values := []string{
		"-1", "0", "99999999999999999999", "9223372036854775807", "-9223372036854775808", "1e9", "0x10", "NaN", "%00", "%ff%fe", "%c0%af", "%", "%zz", "a;b", "a&b", "'", "%27%20OR%201=1--",
		"%25", "_", "%21", "!", "%5c", "[]", "%0d%0aX-A:%20b", "%e2%80%ae", strings.Repeat("x", 9000), strings.Repeat("%20", 2000), "null", "undefined", "true", "../../..", "*", "%F0%9F%92%A9",
	}
	for _, key := range a.knownRoutes() {
		path, ok := strings.CutPrefix(key, "GET ")
		if !ok || strings.HasSuffix(path, "/events") {
			continue
		}
		for _, value := range values {
			var query strings.Builder
			for _, name := range typedIn {
				fmt.Fprintf(&query, "&%s=%s&%s[]=x", name, value, name)
			}
			v := visitors["ada"]
			if strings.HasPrefix(path, "/admin") {
				v = visitors["auditor"]
			}
			if got := v.do("GET", x.address(path)+"?"+query.String(), nil); got.StatusCode >= 500 {
				t.Errorf("%s with %.40q: %d", key, value, got.StatusCode)
			}
		}
	}

	// Whatever way an address is written, who may not see a page does not see it.
	for _, page := range []string{"admin", "admin/audit", "admin/services/" + a.h200.UID, "services/" + a.h200.UID, "services/" + a.h200.UID + "/backups"} {
		first, rest, _ := strings.Cut(page, "/")
		for _, path := range []string{
			"/" + page, "//" + page, "///" + page, "/./" + page, "/x/../" + page, "/%2e/" + page, "/x/%2e%2e/" + page, "/" + page + "/", "/" + page + "//", "/" + page + "/.", "/" + page + "%2f", "/" + page + "%00", "/" + page + "%20",
			"/" + page + ";x", "/" + page + ";/", "/" + page + "?", "/" + page + "#", "/" + page + "%3f", "/" + page + ".html", "/" + page + "%23", "/" + strings.ToUpper(page), "/%" + fmt.Sprintf("%x", page[0]) + page[1:],
			"/" + first + "%2f" + rest, "/" + first + "//" + rest, "/" + first + "/./" + rest, "/" + first + "/x/../" + rest, "/static/../" + page, "/static/..%2f" + page, "/login/../" + page, "/healthz/../" + page, "/static/%2e%2e/" + page,
			"/account/../" + page, "/services/" + x.service + "/../../" + page, "/services/" + x.service + "%2f..%2f..%2f" + page, "/" + page + "%E2%80%8B", "/\\" + page, "/" + strings.ReplaceAll(page, "/", "%5c"),
		} {
			for _, who := range []string{"ada", "nobody"} {
				got := visitors[who].get(path)
				if got.StatusCode == 200 || got.StatusCode >= 500 {
					t.Errorf("%s at %s: %d", who, path, got.StatusCode)
				}
				if strings.Contains(got.body, "h200") || strings.Contains(got.body, "Grace") {
					t.Errorf("%s at %s reads what is not theirs", who, path)
				}
			}
		}
	}
	for _, path := range []string{
		"/static/", "/static", "/static/..", "/static/../go.mod", "/static/..%2f..%2fgo.mod", "/static/%2e%2e/%2e%2e/etc/passwd", "/static/....//....//etc/passwd", "/static/..\\..\\go.mod", "/static//etc/passwd",
		"/static/manifest.json", "/static/src/app.js", "/static/%00", "/static/app.css%00.js", "/static/" + strings.Repeat("a/", 2000), "/static/.gitignore", "/static/dist/", "/static/CON",
	} {
		got := visitors["nobody"].get(path)
		if got.StatusCode != 404 && got.StatusCode != 400 && got.StatusCode != 303 || strings.Contains(got.body, "module stowage") || strings.Contains(got.body, "root:") {
			t.Errorf("%s: %d", path, got.StatusCode)
		}
	}
	if diff := cmp.Diff(before, a.state()); diff != "" {
		t.Errorf("an odd address changed something: %s", diff)
	}
}
