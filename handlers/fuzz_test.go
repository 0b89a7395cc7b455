package handlers

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"stowage/portal"
	"stowage/store"
	"stowage/templates"
	"stowage/web"
)

// FuzzReadSchedule reads the form of a schedule as it comes over HTTP.
func FuzzReadSchedule(f *testing.F) {
	for _, body := range []string{
		"", "zone=UTC&day_0=on&time_0=03%3A00", "day_0=on", "day_0=on&time_0=", "time_0=03%3A00", "zone=", "zone=Mars%2FOlympus&day_3=1&time_3=24%3A00", "same=on&time_all=01%3A00&day_1=on&day_2=on&time_2=nonsense",
		"same=&time_all=", "day_7=on&time_7=03%3A00", "day_-1=on", "zone=Local&confirm=1", "day_0=on&day_0=on", "time_6=%d9%a0%d9%a3%3a%d9%a4%d9%a0&day_6=on",
	} {
		f.Add(body)
	}
	e := echo.New()
	old := portal.EveryDay("Europe/Berlin", 220)
	f.Fuzz(func(t *testing.T, body string) {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		r.Header.Set("Content-Type", echo.MIMEApplicationForm)
		form, err := web.ReadForm(e.NewContext(r, httptest.NewRecorder()), scheduleFields...)
		if err != nil {
			return
		}
		next, wrong, err := readSchedule(form, old)
		if err != nil {
			refusal, ok := asRefusal(err)
			if !ok || refusal.Code != portal.CodeInvalid || refusal.Field == "" || !utf8.ValidString(refusal.Sentence.String()) {
				t.Fatalf("%q: %v", body, err)
			}
			s := templates.Schedule{}
			typed(&s, form, wrong, refusal)
			for i, d := range s.Days {
				if d.Enabled != form.Has(dayField(i)) || (d.Wrong != "") != (wrong[i] != "") {
					t.Errorf("%q: day %d is shown as %+v", body, i, d)
				}
			}
			return
		}
		if err := next.Validate(); err != nil || wrong != [7]portal.Text{} {
			t.Errorf("%q is taken: %v, %v", body, err, wrong)
		}
		for i, d := range next.Days {
			if d.Enabled != form.Has(dayField(i)) {
				t.Errorf("%q: day %d is %+v", body, i, d)
			}
		}
		values := url.Values{"zone": {next.Zone}}
		for i, d := range next.Days {
			if values.Set(timeField(i), d.At.String()); d.Enabled {
				values.Set(dayField(i), "on")
			}
		}
		again := web.Form{}
		for field := range values {
			again[field] = values.Get(field)
		}
		if came, _, err := readSchedule(again, old); err != nil || !came.Equal(next) {
			t.Errorf("%q comes back as %+v, %v", body, came, err)
		}
	})
}

// FuzzAddresses reads what lists are asked for.
func FuzzAddresses(f *testing.F) {
	for _, query := range []string{"", "q=x&page=2", "page=-1", "page=99999999999999999999", "older=1&newer=2", "older=-5", "newer=x", "q=%ff%fe", "q=" + strings.Repeat("%C3%BC", 400), "q=a&q=b", "%zz", "a;b", "page=2&x=%0d%0a"} {
		f.Add(query)
	}
	e := echo.New()
	f.Fuzz(func(t *testing.T, query string) {
		r := httptest.NewRequest(http.MethodGet, "/admin/services", nil)
		r.URL.RawQuery = query
		c := e.NewContext(r, httptest.NewRecorder())
		q, n, p := searched(c), pageNumber(c), wantedPage(c)
		if !utf8.ValidString(q) || len(q) > 300 || q != strings.TrimSpace(q) && len(q) < 290 || n < 1 || n > 1_000_000 || p.Older < 0 || p.Newer < 0 || p.Limit != rowsPerPage {
			t.Errorf("%q: %q, %d, %+v", query, q, n, p)
		}
		for _, paging := range []templates.Paging{numbered("/services", q, n, 50, 50, 5000), keyed(c, store.Turn{Newer: 9, Older: 1}, "50 services on this page")} {
			for _, to := range []string{paging.Prev, paging.Next} {
				if to == "" {
					continue
				}
				u, err := url.Parse(to)
				if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(to, "/") || strings.ContainsAny(to, "\r\n\"<>") {
					t.Errorf("%q leads to %q, %v", query, to, err)
				}
			}
		}
	})
}
