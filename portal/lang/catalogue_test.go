package lang_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"stowage/portal"
	"stowage/portal/lang"
)

var update = flag.Bool("update", false, "write en.json anew, and tidy the other catalogues: sorted, without what nothing says any more")

// entry is a message as a catalogue holds it.
type entry struct {
	ID    string `json:"id"`
	One   string `json:"one,omitempty"`
	Other string `json:"other"`
}

// TestCatalogues holds the catalogues against the source: each key that is said stands in each of them, nothing else
// does, and what fills it finds its place.
func TestCatalogues(t *testing.T) {
	t.Parallel()
	src := read(t)
	for _, w := range src.wrong {
		t.Error(w)
	}
	english := src.english(t)
	if *update {
		write(t, lang.English, english)
	}
	if diff := cmp.Diff(english, load(t, lang.English)); diff != "" {
		t.Errorf("en.json is not what the source says (-source +file; -update writes it):\n%s", diff)
	}
	for _, l := range lang.Languages() {
		if l.Tag == lang.English {
			continue
		}
		entries := load(t, l.Tag)
		if *update {
			entries = src.tidy(t, entries)
			write(t, l.Tag, entries)
		}
		src.hold(t, l.Tag, entries)
	}
}

// english gives the English catalogue: the keys themselves, without what only the catalogue is told.
func (s *source) english(t *testing.T) (entries []entry) {
	t.Helper()
	for key, m := range s.messages {
		if same(key) {
			continue
		}
		if strings.ContainsFunc(key+m.one, unicode.IsControl) || strings.TrimSpace(key) != key {
			t.Errorf("%s: %q holds a control character, or begins or ends with a space", m.where, key)
		}
		entries = append(entries, entry{ID: key, One: portal.Wording(m.one), Other: portal.Wording(key)})
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.ID, b.ID) })
	return entries
}

// same tells whether a wording is the same in every language: it has no letters.
func same(key string) bool {
	return !strings.ContainsFunc(verb.ReplaceAllString(key, ""), unicode.IsLetter)
}

// hold holds the catalogue of a language against the source.
func (s *source) hold(t *testing.T, tag string, entries []entry) {
	t.Helper()
	has := map[string]entry{}
	for i, e := range entries {
		m, said := s.messages[e.ID]
		has[e.ID] = e
		switch {
		case i > 0 && entries[i-1].ID >= e.ID:
			t.Errorf("%s.json: %q stands twice or in the wrong order (-update sorts)", tag, e.ID)
		case !said:
			t.Errorf("%s.json: nothing says %q (-update drops it)", tag, e.ID)
		case e.Other == "" || (m.one != "") != (e.One != ""):
			t.Errorf("%s.json: %q has the wrong forms: it counts, or it doesn't", tag, e.ID)
		case strings.ContainsFunc(e.One+e.Other, unicode.IsControl) || strings.TrimSpace(e.Other) != e.Other:
			t.Errorf("%s.json: %q holds a control character, or begins or ends with a space", tag, e.Other)
		default:
			want := places(e.ID, 0, false)
			for form, wording := range map[string]string{"other": e.Other, "one": e.One} {
				got := places(wording, len(want), m.one != "")
				if words := form == "one" && len(got) == 0; wording != "" && !words && !slices.Equal(got, want) {
					t.Errorf("%s.json: %q (%s) has the places %q, and its key %q", tag, wording, form, got, want)
				}
			}
		}
	}
	for _, e := range s.english(t) {
		if _, ok := has[e.ID]; !ok {
			t.Errorf("%s.json lacks %q (%s)", tag, e.ID, s.messages[e.ID].where)
		}
	}
}

// tidy sorts a catalogue, and drops from it what nothing says any more and what stands twice, as after a merge: of two
// translations of one key the first stays.
func (s *source) tidy(t *testing.T, entries []entry) []entry {
	t.Helper()
	slices.SortStableFunc(entries, func(a, b entry) int { return strings.Compare(a.ID, b.ID) })
	var out []entry
	for _, e := range entries {
		if s.messages[e.ID].key == "" {
			continue
		}
		if last := len(out) - 1; last >= 0 && out[last].ID == e.ID {
			if out[last] != e {
				t.Logf("two translations of one key: kept %q, dropped %q", out[last], e)
			}
			continue
		}
		out = append(out, e)
	}
	return out
}

// verb is a place in a wording.
var verb = regexp.MustCompile(`%(?:\[(\d+)\])?[-+#0]*\d*([a-zA-Z%])`)

// places gives what fills the places of a wording, in the order of the arguments: d for numbers, s for all else, - for
// an argument that has none. Where counts is set, a wording with one place less than all may leave the number out.
func places(wording string, all int, counts bool) []byte {
	found := map[int]byte{}
	next, highest := 1, 0
	for _, m := range verb.FindAllStringSubmatch(wording, -1) {
		if m[2] == "%" {
			continue
		}
		if m[1] != "" {
			next, _ = strconv.Atoi(m[1])
		}
		kind := byte('s')
		if m[2] == "d" {
			kind = 'd'
		}
		found[next] = kind
		highest = max(highest, next)
		next++
	}
	if counts && len(found) > 0 && len(found) == all-1 && !strings.Contains(wording, "%[") {
		shifted := map[int]byte{1: 'd'}
		for i, kind := range found {
			shifted[i+1] = kind
		}
		found, highest = shifted, highest+1
	}
	out := make([]byte, highest)
	for i := range out {
		if out[i] = found[i+1]; out[i] == 0 {
			out[i] = '-'
		}
	}
	return out
}

// load reads a catalogue. Under -update it reads each message by its line, so that one that a merge has left with
// conflicts is mended by the update.
func load(t *testing.T, tag string) (entries []entry) {
	t.Helper()
	raw, err := os.ReadFile(tag + ".json")
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		for line := range strings.Lines(string(raw)) {
			line = strings.TrimSuffix(strings.TrimSpace(line), ",")
			if !strings.HasPrefix(line, "{") {
				continue
			}
			var e entry
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatalf("%s.json: %v in %s", tag, err, line)
			}
			entries = append(entries, e)
		}
		return entries
	}
	if err := json.Unmarshal(raw, &entries); err != nil {
		t.Fatalf("%s.json: %v", tag, err)
	}
	return entries
}

// write writes a catalogue, one message in a line, in the order of the keys.
func write(t *testing.T, tag string, entries []entry) {
	t.Helper()
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.ID, b.ID) })
	var out bytes.Buffer
	out.WriteString("[")
	for i, e := range entries {
		if i > 0 {
			out.WriteByte(',')
		}
		out.WriteString("\n  {\"id\": " + quote(t, e.ID))
		if e.One != "" {
			out.WriteString(", \"one\": " + quote(t, e.One))
		}
		out.WriteString(", \"other\": " + quote(t, e.Other) + "}")
	}
	out.WriteString("\n]\n")
	if err := os.WriteFile(tag+".json", out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// quote writes a text as JSON does, and leaves signs that JSON need not escape readable.
func quote(t *testing.T, text string) string {
	t.Helper()
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(text); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out.String())
}
