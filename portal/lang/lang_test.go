package lang_test

import (
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
	for tag, want := range map[string]string{"de-AT,de;q=0.9,en;q=0.8": "de", "fr": "en", "": "en", "nonsense;;": "en"} {
		if got := lang.Match(tag); got != want {
			t.Errorf("Match(%q) = %q, want %q", tag, got, want)
		}
	}
}
