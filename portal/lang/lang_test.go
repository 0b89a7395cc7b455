package lang_test

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stowage/portal"
	"stowage/portal/lang"
)

// A text keeps through the database and is said in each language.
func TestSay(t *testing.T) {
	t.Parallel()
	berlin, err := portal.Zone("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 3, 12, 3, 0, 0, 0, berlin)
	kept := portal.Say("Kept: %s since %s, %s, %s of %s", portal.Count(3, "1 backup", "%d backups"),
		portal.When{At: at, Layout: "Mon 2 Jan 15:04"}, portal.Size(1932735283), portal.Number(4210), "100 % 'ada' %s")
	for _, c := range []struct{ tag, want string }{
		{lang.English, "Kept: 3 backups since Thu 12 Mar 03:00, 1.8 GiB, 4,210 of 100 % 'ada' %s"},
		{lang.German, "Kept: 3 Backups since Do 12. März 03:00, 1,8 GiB, 4.210 of 100 % 'ada' %s"},
		{"xx", "Kept: 3 backups since Thu 12 Mar 03:00, 1.8 GiB, 4,210 of 100 % 'ada' %s"},
	} {
		if diff := cmp.Diff(c.want, lang.For(c.tag).Say(kept)); diff != "" {
			t.Errorf("%s: %s", c.tag, diff)
		}
	}
	if got, want := kept.String(), "Kept: 3 backups since Thu 12 Mar 03:00, 1.8 GiB, 4210 of 100 % 'ada' %s"; got != want {
		t.Errorf("String: %q, want %q", got, want)
	}
	if got := lang.For(lang.German).N(1, "1 backup", "%d backups"); got != "1 Backup" {
		t.Errorf("one: %q", got)
	}
	if got := lang.For(lang.English).N(1, "The backup of %s is gone.", "%d backups of %s are gone.", "h100"); got != "The backup of h100 is gone." {
		t.Errorf("one without its number: %q", got)
	}
	if got := lang.For(lang.English).T("63 % done"); got != "63 % done" {
		t.Errorf("no arguments: %q", got)
	}
	if got := lang.For(lang.Pseudo).T("Back up %s now", "h100"); got != "⟦Báçķ üp h100 ñöw"+"····⟧" {
		t.Errorf("pseudo: %q", got)
	}
	for tag, want := range map[string]string{"de-AT,de;q=0.9,en;q=0.8": "de", "fr": "en", "": "en", "nonsense;;": "en",
		"de" + strings.Repeat(",fr-x-"+strings.Repeat("a", 8), 2000): "de", strings.Repeat("x", 30000): "en"} {
		if got := lang.Match(tag); got != want {
			t.Errorf("Match(%q) = %q, want %q", tag, got, want)
		}
	}
}

// Numbers choose the form and are grouped where something is counted; others are written as they are.
func TestCounts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		n               int
		english, german string
	}{
		{0, "Your other 0 backups are untouched.", "Ihre anderen 0 Backups sind unberührt."},
		{1, "Your other backup is untouched.", "Ihr anderes Backup ist unberührt."},
		{2, "Your other 2 backups are untouched.", "Ihre anderen 2 Backups sind unberührt."},
		{21, "Your other 21 backups are untouched.", "Ihre anderen 21 Backups sind unberührt."},
		{4210, "Your other 4,210 backups are untouched.", "Ihre anderen 4.210 Backups sind unberührt."},
	} {
		text := portal.Count(c.n, "Your other backup is untouched.", "Your other %d backups are untouched.")
		if got := lang.For(lang.English).Say(text); got != c.english {
			t.Errorf("%d: %q, want %q", c.n, got, c.english)
		}
		if got := lang.For(lang.German).Say(text); got != c.german {
			t.Errorf("%d: %q, want %q", c.n, got, c.german)
		}
	}
	if got := lang.For(lang.German).Say(portal.Count(1, "%d day %d h", "%d days %d h", 5)); got != "1 Tag 5 h" {
		t.Errorf("one that names its number: %q", got)
	}
	if got := lang.For(lang.German).Say(portal.Say("Machine %d on that server belongs to a service already.", 10100)); got != "Die Maschine 10100 auf diesem Server gehört bereits zu einem Dienst." {
		t.Errorf("a number that counts nothing: %q", got)
	}
}

// Words from people and from older versions go through every language: a plain sentence is a key that says itself, and
// data is never taken for one.
func TestPlainWords(t *testing.T) {
	t.Parallel()
	german := lang.For(lang.German)
	for text, want := range map[portal.Text]string{
		"The backup is gone.": "Das Backup ist weg.",
		"The backup is in your list. Much smaller than the last one.": "The backup is in your list. Much smaller than the last one.",
		"63 % done, 5 %s":                                                 "63 % done, 5 %s",
		portal.Verbatim("The backup is gone."):                            "The backup is gone.",
		portal.Say("Waits: %s.", "maintenance"):                           "Wartet: maintenance.",
		portal.Say("Waits: %s.", portal.ReasonMaintenance):                "Wartet: Wartung.",
		portal.Say("Waits: %s.", "100 % of %d %s"):                        "Wartet: 100 % of %d %s.",
		portal.Say("A new sentence of %s that no catalogue has.", "h100"): "A new sentence of h100 that no catalogue has.",
		portal.StateHeld.Word():                                           "angehalten",
		"Open [nowhere]":                                                  "Open",
		"":                                                                "",
		"\x0199:damaged":                                                  "",
	} {
		if got := german.Say(text); got != want {
			t.Errorf("%q: %q, want %q", string(text), got, want)
		}
	}
}

// Languages are those that a login may have.
func TestLanguages(t *testing.T) {
	t.Parallel()
	var tags []string
	for _, l := range lang.Languages() {
		tags = append(tags, l.Tag)
		if l.Name == "" || lang.For(l.Tag).Tag() != l.Tag {
			t.Errorf("%+v", l)
		}
	}
	if diff := cmp.Diff(portal.LanguageTags, tags); diff != "" {
		t.Errorf("a login's and the catalogues': %s", diff)
	}
	if lang.Pseudo != portal.PseudoLanguage || slices.Contains(tags, lang.Pseudo) {
		t.Errorf("the made-up one is offered: %v", tags)
	}
}

// Many pages are said at once.
func TestSayAtOnce(t *testing.T) {
	t.Parallel()
	text := portal.Sentences(portal.Count(4210, "Your other backup is untouched.", "Your other %d backups are untouched."),
		portal.Say("Removed the backup of %s.", portal.When{At: time.Unix(0, 0).UTC(), Layout: "Mon 2 Jan 15:04"}), portal.Say("%s of %s", portal.Size(1<<30), portal.Number(12345)))
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			tag := []string{lang.English, lang.German, lang.Pseudo}[i%3]
			want := lang.For(tag).Say(text)
			for range 100 {
				if got := lang.For(tag).Say(text); got != want {
					t.Errorf("%s: %q, then %q", tag, want, got)
				}
			}
		})
	}
	all.Wait()
}
