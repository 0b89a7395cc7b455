package lang

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"stowage/portal"
)

// FuzzSayAny says whatever stands in a column of texts, in every language.
func FuzzSayAny(f *testing.F) {
	for _, text := range []portal.Text{
		"", "plain", "100 %", portal.Say("%s of %d", "a", 3), portal.Count(1, "1 backup", "%d backups"), portal.Count(5, "1 backup", "%d backups"), portal.Verbatim("%s"), "{{.x}}", "%d backups",
		portal.Say("%s %s %s", portal.Number(4210), portal.Size(1<<40), portal.When{At: time.Unix(1795166797, 0).UTC(), Layout: "Mon 2 Jan 15:04"}), portal.Say("%s", portal.Say("%s", portal.Verbatim("deep"))),
	} {
		f.Add(string(text))
	}
	for _, raw := range []string{
		"\x01", "\x01" + "1", "\x01" + "1:", "\x01" + "-1:", "\x01" + "99:x", "\x01" + "9999999999999999999:x", "\x01" + "1:x", "\x01" + "1:x1:y", "\x01" + "10:%d backups8:1 backup", "\x01" + "2:%s4:1 %ss1:x", "\x01" + "2:%d0:i19:9223372036854775807", "\x01" + "2:%d0:i20:99999999999999999999", "\x01" + "2:%s0:t4:\x012:%", "\x01" + "2:%s0:w15:1:13:Mon4:../x", "\x01" + "2:%s0:w26:19:922337203685477580720060:", "\x01" + "2:%s0:z1:x", "\x01" + "2:%s0:n1:x", "\x01" + "0:0:", "\x01" + "6:%[9]*d0:i1:1", "\x01" + "1:%0:i1:1", "\x01" + "2:%d1:oi1:1s1:x",
	} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		for _, tag := range []string{English, German, Pseudo, "xx"} {
			w := For(tag)
			said := w.Say(portal.Text(raw))
			if !strings.HasPrefix(raw, "\x01") && tag == English && said != portal.Wording(raw) && !known(raw) {
				t.Errorf("plain words %q are said as %q", raw, said)
			}
			if len(said) > 10_000+64*len(raw)*(1+len(raw)) {
				t.Errorf("%s: %d bytes became %d", tag, len(raw), len(said))
			}
		}
	})
}

// known tells whether the English catalogue words a key differently.
func known(key string) bool { return For(English).find(key, "", 0) != portal.Wording(key) }

// FuzzWords says wordings with arguments of every kind.
func FuzzWords(f *testing.F) {
	f.Add("Backups kept until %s.", "x", 3)
	f.Add("%d backups", "", 1)
	f.Add("%s", "%s%d%!", -1)
	f.Add("Open [state]", "", 0)
	f.Fuzz(func(t *testing.T, key, word string, n int) {
		if !utf8.ValidString(key) || !utf8.ValidString(word) || strings.ContainsAny(key, "*0123456789") || strings.Contains(word, "\x00") {
			return
		}
		for _, tag := range []string{English, German, Pseudo} {
			w := For(tag)
			if said := w.T("%s", word); tag != Pseudo && said != word {
				t.Errorf("%s: %q is said as %q", tag, word, said)
			}
			if key != "" {
				_, _ = w.T(key, word, n), w.T(key)
				if a, b := w.N(n, key, key+"s", word), w.Say(portal.Count(n, key, key+"s", word)); a != b {
					t.Errorf("%s: %q and %q", tag, a, b)
				}
			}
			if a, b := w.T(key, word), w.Say(portal.Say(key, word)); a != b {
				t.Errorf("%s: %q and %q", tag, a, b)
			}
			_, _ = w.Number(int64(n)), w.Size(int64(n))
		}
	})
}

func FuzzMatch(f *testing.F) {
	for _, accept := range []string{"", "de", "de-AT,de;q=0.9,en;q=0.8", "fr;q=1,*;q=0.5", "en-XA", "de;q=2", ";;;", strings.Repeat("de,", 500), "x-klingon", "*", "en_US.UTF-8"} {
		f.Add(accept)
	}
	f.Fuzz(func(t *testing.T, accept string) {
		if tag := Match(accept); tag != English && tag != German {
			t.Errorf("%q gives %q", accept, tag)
		}
	})
}
