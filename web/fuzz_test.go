package web_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"stowage/portal"
	"stowage/web"
)

// FuzzReadForm reads whatever is sent as whatever it is said to be.
func FuzzReadForm(f *testing.F) {
	const form = "application/x-www-form-urlencoded"
	for _, body := range []string{"", "note=x", "note=a&note=b", "note=%ff", "note=%00", "note=%zz", "a=b;c=d", "note=a+b%C3%BC&replace=", "%6eote=x", "note", "=x", "&&&", "note=x&admin=1&role=owner", "note[]=x", "note.x=y", strings.Repeat("a=b&", 5000)} {
		f.Add(form, body)
	}
	for _, kind := range []string{"", "text/plain", form + "; charset=utf-8", form + "; charset=latin1", form + ", text/plain", "multipart/form-data; boundary=x", ";;;", form + ";", strings.ToUpper(form)} {
		f.Add(kind, "note=x")
	}
	e := echo.New()
	f.Fuzz(func(t *testing.T, kind, body string) {
		r := httptest.NewRequest(http.MethodPost, "/?note=from-the-query&replace=y", strings.NewReader(body))
		r.Header.Set("Content-Type", kind)
		got, err := web.ReadForm(e.NewContext(r, httptest.NewRecorder()), "note", "replace", "reason")
		if err != nil {
			if code := portal.CodeOf(err); code != portal.CodeInvalid && code != portal.CodeTooLarge || got != nil {
				t.Errorf("%q %q: %v, %v", kind, body, got, err)
			}
			return
		}
		values, err := url.ParseQuery(body)
		if err != nil && body != "" {
			t.Errorf("%q is read, and can't be: %v", body, err)
		}
		for _, field := range []string{"note", "replace", "reason"} {
			sent, ok := values[field]
			if got.Has(field) != ok || ok && (len(sent) != 1 || got[field] != sent[0] || !utf8.ValidString(got[field]) || strings.Contains(got[field], "\x00")) {
				t.Errorf("%q: the field %s is %q, sent %q", body, field, got[field], sent)
			}
		}
		if len(got) > 3 {
			t.Errorf("%q: fields that nobody asked for: %v", body, got)
		}
		if again, err := url.ParseQuery(got.Encode()); err != nil || len(again) != len(got) {
			t.Errorf("%v comes back as %v, %v", got, again, err)
		}
	})
}

// FuzzForwarded looks whose address is believed.
func FuzzForwarded(f *testing.F) {
	for _, header := range []string{"", "203.0.113.9", "1.2.3.4, 203.0.113.9", "203.0.113.9, 10.1.2.3", "unknown", "[2001:db8::7]", "::ffff:10.1.2.3", "fe80::1%eth0", ",,,", "203.0.113.9:443", "10.0.0.1"} {
		f.Add(header, "10.9.9.9:1")
		f.Add(header, "192.0.2.1:1")
	}
	f.Add("203.0.113.9", "[2001:db8::1]:1")
	f.Add("203.0.113.9", "@")
	trusted := netip.MustParsePrefix("10.0.0.0/8")
	extract := web.AddressOf([]netip.Prefix{trusted})
	f.Fuzz(func(t *testing.T, header, remote string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = remote
		r.Header["X-Forwarded-For"] = []string{header}
		got := extract(r)
		direct, err := netip.ParseAddrPort(remote)
		if err != nil {
			return // net/http always says a real one
		}
		if !trusted.Contains(direct.Addr().Unmap()) && got != direct.Addr().WithZone("").String() && got != direct.Addr().String() && got != direct.Addr().Unmap().String() {
			t.Errorf("%q from %s is believed: %s", header, remote, got)
		}
		if trusted.Contains(direct.Addr().Unmap()) {
			if ip, err := netip.ParseAddr(got); err != nil || ip.Zone() != "" && ip != direct.Addr() {
				t.Errorf("%q from %s gives %q", header, remote, got)
			}
		}
	})
}
