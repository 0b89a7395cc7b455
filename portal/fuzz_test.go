package portal

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// recordedNotes are notes of archives as a real Proxmox VE gave them; their origins stand beside them.
func recordedNotes(f *testing.F) (texts []string) {
	f.Helper()
	file, err := os.Open("testdata/notes.jsonl")
	if err != nil {
		f.Fatal(err)
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var n struct{ Origin, Text string }
		if err := json.Unmarshal(lines.Bytes(), &n); err != nil {
			f.Fatal(err)
		}
		texts = append(texts, n.Text)
	}
	return texts
}

func FuzzReadMark(f *testing.F) {
	key := []byte("0123456789abcdef0123456789abcdef")
	good := Mark{"01m7wd7tg0bxjs1vcrm8fhp111", "01m7wd7tg0bxjs1vcrm8fhp222", "01m7wd7tg0bxjs1vcrm8fhp333"}.Sign(key)
	for _, notes := range append(recordedNotes(f), good, good+"\nthe customer's note", " "+good+"\r\nx", good+"x", good[:len(good)-1], strings.ToUpper(good), "stowage:::::", "stowage:a:b:c:d:e", "stowage:", good+"\n"+good) {
		f.Add(notes, "", "", "")
	}
	f.Add("", "a", "b", "c")
	f.Fuzz(func(t *testing.T, notes, installation, service, operation string) {
		m, marked, valid := ReadMark(notes, key)
		line, _, _ := strings.Cut(notes, "\n")
		if valid && (!marked || m.Sign(key) != strings.TrimSpace(line)) {
			t.Errorf("%q passes for %+v", notes, m)
		}
		if !marked && (m != Mark{} || valid) {
			t.Errorf("%q: %+v", notes, m)
		}
		if _, _, other := ReadMark(notes, []byte("another key")); other {
			t.Errorf("%q passes under another key", notes)
		}
		if strings.ContainsAny(installation+service+operation, ":\n") || strings.TrimSpace(operation) != operation {
			return // uids are letters and digits
		}
		want := Mark{installation, service, operation}
		signed := want.Sign(key)
		for _, text := range []string{signed, signed + "\n" + notes, "  " + signed + "\r\n" + notes} {
			if got, marked, valid := ReadMark(text, key); !marked || !valid || got != want {
				t.Errorf("%q reads as %+v, %v, %v", text, got, marked, valid)
			}
		}
		if _, marked, valid := ReadMark(want.Sign([]byte("another key")), key); !marked || valid {
			t.Error("a mark under another key passes")
		}
	})
}

func FuzzParseGrid(f *testing.F) {
	for _, grid := range []string{"", "sun=02:30,mon=23:15", " SUN=00:00 , sat=23:59", "sun=24:00", "sun=02:30,sun=02:30", "sun", "=02:30", ",", "sun=02:30,", "sun=2:3", "mon=-1:00"} {
		f.Add("Europe/Berlin", grid)
	}
	f.Add("", "sun=02:30")
	f.Add("Local", "")
	f.Add("America/Nuuk", "sat=22:00")
	f.Fuzz(func(t *testing.T, zone, grid string) {
		s, err := ParseGrid(zone, grid)
		if err != nil {
			if CodeOf(err) != CodeInvalid || s != (Schedule{}) {
				t.Errorf("%q %q: %+v, %v", zone, grid, s, err)
			}
			return
		}
		if err := s.Validate(); err != nil {
			t.Errorf("%q %q: %v", zone, grid, err)
		}
		again, err := ParseGrid(s.Zone, s.Grid())
		if err != nil || !again.Equal(s) || again.Grid() != s.Grid() {
			t.Errorf("%q %q comes back as %q, %v", zone, grid, again.Grid(), err)
		}
		if s.Describe() == "" || s.Enabled() != (s.Grid() != "") {
			t.Errorf("%q: %q", grid, s.Describe())
		}
	})
}

func FuzzParseDay(f *testing.F) {
	f.Add(0, true, "03:40")
	f.Add(6, false, "")
	f.Add(3, true, "")
	f.Add(1, true, "24:00")
	f.Add(2, true, "٠٣:٤٠")
	f.Fuzz(func(t *testing.T, weekday int, enabled bool, at string) {
		weekday = (weekday%7 + 7) % 7
		d, err := ParseDay(weekday, enabled, at)
		if err != nil {
			if d != (Day{}) || CodeOf(err) != CodeInvalid || strings.ContainsAny(err.Error(), "\n") {
				t.Errorf("%q: %+v, %q", at, d, err)
			}
			return
		}
		if !d.At.Valid() || d.Enabled != enabled {
			t.Errorf("%q: %+v", at, d)
		}
		if again, err := ParseTimeOfDay(d.At.String()); err != nil || again != d.At || at != "" && len(d.At.String()) != 5 {
			t.Errorf("%q comes back as %q, %v", at, again, err)
		}
	})
}

func FuzzParseDate(f *testing.F) {
	for _, s := range []string{"2026-11-20", "2024-02-29", "2023-02-29", "0000-00-00", "9999-12-31", "2026-1-2", "2026-11-20T00:00:00Z", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDate(s)
		if err != nil {
			return
		}
		if d.String() != s || d.AddDays(1).AddDays(-1) != d || d.AddDays(7).Weekday() != d.Weekday() {
			t.Errorf("%q: %v", s, d)
		}
	})
}

func FuzzClean(f *testing.F) {
	for _, s := range append(recordedNotes(f), "before the upgrade", "  trimmed ", "a\u202eb", "a\nb", "\xff", "x@demo.test", "Ada <x@demo.test>", strings.Repeat("ü", NoteLimit), "\x01{\"k\":\"x\"}", "\u2028") {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		plain := func(text string) bool {
			return utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }) && strings.TrimSpace(text) == text
		}
		if n, err := CleanNote(s); err == nil {
			again, err := CleanNote(n)
			if !plain(n) || utf8.RuneCountInString(n) > NoteLimit || err != nil || again != n || n != strings.TrimSpace(s) {
				t.Errorf("note %q is kept as %q, again %q, %v", s, n, again, err)
			}
			if key, one, args := Text(n).Parts(); key != n || one != "" || args != nil {
				t.Errorf("note %q reads as words with arguments", n)
			}
		}
		if n, err := CleanName("name", s); err == nil && (!plain(n) || n == "" || utf8.RuneCountInString(n) > 100) {
			t.Errorf("name %q is kept as %q", s, n)
		}
		if e, err := CleanEmail(s); err == nil {
			again, err := CleanEmail(e)
			if err != nil || again != e || e != strings.ToLower(e) || strings.ContainsAny(e, "\r\n\x00") || len(e) > 254 {
				t.Errorf("e-mail %q is kept as %q, again %q, %v", s, e, again, err)
			}
		}
	})
}

func FuzzZone(f *testing.F) {
	for _, s := range []string{"Europe/Berlin", "UTC", "", "Local", "../../etc/passwd", "Europe/../UTC", "europe/berlin", "Etc/GMT+1", "posixrules", "Europe/Berlin\x00", "zone.tab"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		loc, err := Zone(name)
		if err != nil {
			return
		}
		if name == "" || name == "Local" || strings.Contains(name, "..") || loc.String() != name {
			t.Errorf("%q is %q", name, loc)
		}
	})
}

// wide matches a verb with a width that makes a small wording a large text.
var wide = regexp.MustCompile(`%[^a-zA-Z%]*(\d{4}|\*)`)

// FuzzKeptText reads whatever stands in a column of texts.
func FuzzKeptText(f *testing.F) {
	for _, text := range []Text{
		"", "plain", "100 %", Say("%s of %d", "a", 3), Count(1, "1 backup", "%d backups"), Count(5, "1 backup of %[2]s", "%d backups of %s", "x"), Verbatim("%s"),
		Sentences("A.", Say("B %s.", "x"), Count(2, "1 c.", "%d c.")), Say("%s %s %s", Number(4210), Size(1<<40), When{time.Unix(1795166797, 0).UTC(), "Mon 2 Jan 15:04"}), Say("%s", Say("%s", Say("%s", "deep"))),
	} {
		f.Add(string(text))
	}
	for _, raw := range []string{
		mark, mark + "1", mark + "1:", mark + "-1:", mark + "99:x", mark + "9999999999999999999:x", mark + "1:x", mark + "1:x1:y", mark + "10:%d backups8:1 backup", mark + "2:%s4:1 %ss1:x", mark + "2:%d0:i19:9223372036854775807", mark + "2:%d0:i20:99999999999999999999", mark + "2:%s0:t4:\x012:%", mark + "2:%s0:w15:1:13:Mon4:../x", mark + "2:%s0:w26:19:922337203685477580720060:", mark + "2:%s0:z1:x", mark + "2:%s0:n1:x", mark + "0:0:", mark + "6:%[9]*d0:i1:1", mark + "1:%0:i1:1", mark + "2:%d1:oi1:1s1:x",
	} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if wide.MatchString(raw) {
			return
		}
		text := Text(raw)
		key, one, args := text.Parts()
		said := text.String()
		if !strings.HasPrefix(raw, mark) && (said != Wording(raw) || key != raw || one != "" || args != nil) {
			t.Errorf("plain words %q are said as %q", raw, said)
		}
		if len(said) > 1000+64*len(raw)*(1+len(raw)) {
			t.Errorf("%d bytes became %d", len(raw), len(said))
		}
		if b, err := text.MarshalText(); err != nil || string(b) != said {
			t.Errorf("%q marshals as %q, %v", raw, b, err)
		}
	})
}

// FuzzSay writes texts down and takes them apart again.
func FuzzSay(f *testing.F) {
	f.Add("Backups kept until %s.", "x", 3, int64(1795166797), "1 backup")
	f.Add("%d of %s", "\x01{\"k\":\"x\"}", -1, int64(0), "")
	f.Add("100 %", "%d%s%!", 1<<40, int64(-1), "one")
	f.Fuzz(func(t *testing.T, key, word string, n int, unix int64, one string) {
		if word = clean(word); !utf8.ValidString(key+one) || wide.MatchString(key+one) {
			return // keys are literals
		}
		unix %= 1 << 38
		when := When{At: time.Unix(unix, 0).UTC(), Layout: "Mon 2 Jan 15:04"}
		given := []any{word, n, Number(n), Size(n), Say("inner %s", word), when}
		gotKey, gotOne, got := Say(key, given...).Parts()
		if diff := cmp.Diff(given, got); diff != "" || gotKey != key || gotOne != "" {
			t.Errorf("%q comes back as %q, %q: %s", key, gotKey, gotOne, diff)
		}
		if want, said := fmt.Sprintf("%s/%d", word, n), Say("%s/%d", word, n).String(); said != want {
			t.Errorf("said %q, want %q", said, want)
		}
		if said := Verbatim(word).String(); said != word {
			t.Errorf("verbatim %q is said as %q", word, said)
		}
		if key != "" && one != "" {
			gotKey, gotOne, got = Count(n, one, key, word).Parts()
			if diff := cmp.Diff([]any{n, word}, got); diff != "" || gotKey != key || gotOne != one {
				t.Errorf("%q, %q comes back as %q, %q: %s", one, key, gotOne, gotKey, diff)
			}
		}
		all := Sentences("", Verbatim(word), Say("x %s", word), "").String()
		if want := strings.TrimPrefix(word+" x "+word, map[bool]string{true: " "}[word == ""]); all != want {
			t.Errorf("sentences %q, want %q", all, want)
		}
	})
}
