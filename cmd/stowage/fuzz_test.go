package main

import (
	"net/url"
	"strings"
	"testing"
)

// FuzzFlags reads the flags that are parsed by hand.
func FuzzFlags(f *testing.F) {
	f.Add("https://backups.example", "10.0.0.0/8")
	f.Add("http://127.0.0.1:8080/", "2001:db8::/32")
	f.Add("https://user@x/", "127.0.0.1")
	f.Add("javascript:alert(1)", "fe80::1%eth0")
	f.Add("https://x/path?q", "10.0.0.1/33")
	f.Add("https://[::1]", "::ffff:10.0.0.0/104")
	f.Fuzz(func(t *testing.T, address, network string) {
		if u, err := publicURL(address); err == nil && u != nil {
			if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Path != "" || u.User != nil {
				t.Errorf("%q: %+v", address, u)
			}
			if again, err := url.Parse(u.String()); err != nil || again.Host != u.Host || again.Scheme != u.Scheme {
				t.Errorf("%q comes back as %v, %v", address, again, err)
			}
		}
		found, err := networks([]string{network, network})
		if err != nil {
			return
		}
		if len(found) != 2 || found[0] != found[0].Masked() || !found[0].IsValid() {
			t.Errorf("%q: %v", network, found)
		}
		if again, err := networks([]string{found[0].String()}); err != nil || again[0] != found[0] {
			t.Errorf("%q comes back as %v, %v", network, again, err)
		}
	})
}

// FuzzPrinted prints whatever came from elsewhere.
func FuzzPrinted(f *testing.F) {
	f.Add("plain")
	f.Add("\x1b[2J\x07\u202e\u009b\xff\x00\r")
	f.Fuzz(func(t *testing.T, text string) {
		if got := oneLine(text); strings.ContainsAny(got, "\n\r\t\x1b\x00\x07\u009b\u202e") || harmless(got) != got || oneLine(got) != got {
			t.Errorf("%q is printed as %q", text, got)
		}
	})
}
