package web

import (
	"net/http"
	"net/url"
	"strings"
)

// LocalPath gives a path of this portal that was asked for as the place to go on to, or "/". Only a path on this
// host passes: whoever makes a link to the sign-in page must not be able to send people elsewhere.
func LocalPath(wanted string) string {
	if len(wanted) > 1000 || !strings.HasPrefix(wanted, "/") || strings.HasPrefix(wanted, "//") {
		return "/"
	}
	for _, r := range wanted {
		if r < ' ' || r == 0x7f || r == '\\' {
			return "/"
		}
	}
	u, err := url.Parse(wanted)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || strings.HasPrefix(u.Path, "//") || strings.Contains(u.Path, `\`) {
		return "/"
	}
	if u.Path == "/login" || u.Path == "/logout" {
		return "/"
	}
	u.Fragment = ""
	return u.String()
}

// wantedPath gives the page to come back to after the sign-in: the one asked for, or, where what was asked for is
// not a page (a change, a piece of a page, an event stream), the page that it was asked from.
func wantedPath(r *http.Request) string {
	if r.Method == http.MethodGet && !partial(r) {
		return LocalPath(r.URL.RequestURI())
	}
	for _, from := range []string{r.Header.Get("HX-Current-URL"), r.Referer()} {
		if u, err := url.Parse(from); err == nil && u.Host == r.Host && u.Path != "" {
			return LocalPath((&url.URL{Path: u.Path, RawPath: u.RawPath, RawQuery: u.RawQuery}).String())
		}
	}
	return "/"
}

// partial tells whether a script asks: for a piece of a page, or for the event stream.
func partial(r *http.Request) bool {
	return (r.Header.Get("HX-Request") == "true" && r.Header.Get("HX-Boosted") != "true") || eventStream(r)
}

func eventStream(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), "text/event-stream")
}
