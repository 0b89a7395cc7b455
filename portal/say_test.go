package portal

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
)

// A Text reads in English without any catalogue, and says the same after it was taken apart.
func TestTextInEnglish(t *testing.T) {
	t.Parallel()
	berlin, err := Zone("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 12, 3, 0, 0, 0, berlin)
	for want, text := range map[string]Text{
		"":                               "",
		"The backup is gone.":            "The backup is gone.",
		"63 % done, 5 %s":                "63 % done, 5 %s",
		"Open":                           "Open [state]",
		"Kept [here]: 3":                 Say("Kept [here]: %d", 3),
		"Kept: 3":                        Say("Kept: %d [state]", 3),
		"1 backup":                       Count(1, "1 backup", "%d backups"),
		"0 backups":                      Count(0, "1 backup", "%d backups"),
		"1 day 5 h":                      Count(1, "1 day %d h", "%d days %d h", 5),
		"The backup of h100 is gone.":    Count(1, "The backup of %s is gone.", "%d backups of %s are gone.", "h100"),
		"4000 backups of h100 are gone.": Count(4000, "The backup of %s is gone.", "%d backups of %s are gone.", "h100"),
		"The next one":                   Count(1, "The next one", "The next %s", "seven"),
		"The next seven":                 Count(7, "The next one", "The next %s", "seven"),
		"All 100 % of it":                Count(1, "All 100 %% of it", "%d of %s", "it"),
		"100 % %s 'ada'":                 Verbatim("100 % %s 'ada'"),
		"1.0 GiB of 41 GiB":              Say("%s of %s", Size(1<<30), Size(41<<30)),
		"4210 services":                  Say("%s services", Number(4210)),
		"Thu 12 Nov 03:00":               When{At: at, Layout: "Mon 2 Jan 15:04"}.Text(),
		"03:40, 2026-11-20":              Say("%s, %s", TimeOfDay(220), Date{2026, 11, 20}),
		"80 % of local are used":         Say("%d %% of %s are used", 80, "local"),
		"One. Two. Three.":               Sentences("One.", "", Sentences("Two.", "Three."), ""),
		"h100 of Ada":                    Say("%[2]s of %[1]s", "Ada", "h100"),
	} {
		if got := text.String(); got != want {
			t.Errorf("%q says %q, want %q", string(text), got, want)
		}
		raw, err := json.Marshal(map[string]Text{"text": text})
		if err != nil {
			t.Fatal(err)
		}
		var sent map[string]string
		if err := json.Unmarshal(raw, &sent); err != nil || sent["text"] != want {
			t.Errorf("programs read %s, want %q", raw, want)
		}
		key, one, args := text.Parts()
		if again := rebuilt(key, one, args); again != text {
			t.Errorf("%q taken apart and put together is %q", string(text), string(again))
		}
	}
}

func rebuilt(key, one string, args []any) Text {
	if len(args) == 0 {
		return Text(key)
	}
	return pack(key, one, args)
}

// An instant keeps its zone, whatever that is called.
func TestWhenKeepsItsZone(t *testing.T) {
	t.Parallel()
	nuuk, err := Zone("America/Nuuk")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 12, 3, 4, 5, 0, time.UTC)
	for _, zone := range []*time.Location{time.UTC, nuuk, time.FixedZone("nowhere", 5*3600+1800), time.FixedZone("", -3600), time.FixedZone("UTC-ish", 0)} {
		_, _, args := When{At: at.In(zone), Layout: time.RFC3339}.Text().Parts()
		got, ok := args[0].(When)
		if want := at.In(zone).Format(time.RFC3339); !ok || got.At.Format(time.RFC3339) != want || got.Layout != time.RFC3339 {
			t.Errorf("%s: %v, want %s", zone, args, want)
		}
	}
}

// Two Texts are equal where they say the same of the same.
func TestTextsAreEqual(t *testing.T) {
	t.Parallel()
	first, second := Say("%s: %d", "a", 1), Say("%s: %d", "a", 1)
	if first != second || Say("%s: %d", "a", 1) == Say("%s: %d", "a", 2) || Say("%s", Size(1)) == Say("%s", Number(1)) {
		t.Error("equality")
	}
	if Sentences("One.", "Two.").Without("Two.") != "One." || Sentences("One.", Say("Two %d.", 2), "Three.").Without(Say("Two %d.", 2)) != Sentences("One.", "Three.") {
		t.Error("a sentence that is left out")
	}
	for _, c := range []struct{ kept, want Text }{
		{"One.", ""}, {"One. Two.", "Two."}, {"Two.", "Two."}, {"", ""}, {Say("One %d.", 1), Say("One %d.", 1)},
	} {
		if got := c.kept.Without("One."); got != c.want {
			t.Errorf("%q without its first: %q, want %q", c.kept, got, c.want)
		}
	}
}

// Data in a Text stays data: it is never taken for a key, a place, or the end of itself.
func TestDataInTexts(t *testing.T) {
	t.Parallel()
	for _, data := range []string{"%s", "%!d(MISSING)", "5:abc", "\x01", "\x015:abc0:", "ä½\u2028", "Open [state]", "", " ", "a\nb"} {
		text := Say("Note: %s (%s)", data, Verbatim(data))
		if got := text.String(); got != "Note: "+data+" ("+data+")" {
			t.Errorf("%q reads %q", data, got)
		}
	}
	// A column of text takes neither broken characters nor zeroes.
	kept := Say("%s", "broken \xff and \x00 zero")
	if got := kept.String(); got != "broken \ufffd and \ufffd zero" || strings.ContainsAny(string(kept), "\x00") {
		t.Errorf("kept as %q", got)
	}
}

// What is damaged in the database says nothing, or less, and harms nobody.
func FuzzTextParts(f *testing.F) {
	f.Add(string(Say("%s of %d, %s", "a", 3, Count(1, "1 day", "%d days"))))
	f.Add(string(When{At: time.Unix(1, 0), Layout: "15:04"}.Text()))
	for _, damaged := range []string{mark, mark + "3:ab", mark + "-1:a0:", mark + "1:a0:s", mark + "1:a0:i3:abc", mark + "2:%s0:w5:1:x0:", mark + "99999999999999999999:a"} {
		f.Add(damaged)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		text := Text(raw)
		_ = text.String()
		_ = text.Without("One.")
		_ = Sentences(text, text).String()
		key, _, args := text.Parts()
		if !strings.HasPrefix(raw, mark) && (key != raw || len(args) > 0) {
			t.Errorf("plain words became %q with %v", key, args)
		}
	})
}

// Every word that stands for a state, a day or a lock reads without the signs that only catalogues are told.
func TestWords(t *testing.T) {
	t.Parallel()
	var got []string
	for _, s := range []State{StateQueued, StateRunning, StateHeld, StateSucceeded, StateFailed, StateCancelled} {
		got = append(got, s.Word().String())
	}
	for _, s := range []ServiceState{ServiceActive, ServiceSuspended, ServiceTerminating, ServiceTerminated, ServiceMachineGone} {
		got = append(got, s.Word().String())
	}
	for d := range time.Weekday(7) {
		got = append(got, ShortDay(d).String())
		if DayName(d).String() != d.String() {
			t.Errorf("%s is called %s", d, DayName(d))
		}
	}
	want := strings.Fields("queued running held succeeded failed cancelled active suspended being.closed closed machine_gone Sun Mon Tue Wed Thu Fri Sat")
	for i := range want {
		want[i] = strings.ReplaceAll(want[i], ".", " ")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if strings.ContainsFunc(strings.Join(got, ""), unicode.IsControl) {
		t.Error("a control character")
	}
}
