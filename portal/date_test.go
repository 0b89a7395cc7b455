package portal

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseTimeOfDay(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]TimeOfDay{"00:00": 0, "03:40": 220, "23:59": 1439} {
		if got, err := ParseTimeOfDay(text); err != nil || got != want || got.String() != text {
			t.Errorf("ParseTimeOfDay(%q) = %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "25:99", " 3:00", "3:00", "03:00 ", "24:00", "12:60", "03.00", "0300", "-1:00", "03:00:00", "٠٣:٠٠", "+3:00", "03:0a", strings.Repeat("9", 5000)} {
		_, err := ParseTimeOfDay(text)
		e, ok := err.(*Error)
		if !ok || e.Code != CodeInvalid || !strings.HasSuffix(e.Sentence.String(), ".") || len(e.Sentence.String()) > 200 {
			t.Errorf("ParseTimeOfDay(%.20q) gives %v, want a refusal", text, err)
		}
	}
}

func TestDate(t *testing.T) {
	t.Parallel()
	d, err := ParseDate("2024-02-29")
	if err != nil || d != (Date{2024, time.February, 29}) || d.String() != "2024-02-29" || d.Weekday() != time.Thursday {
		t.Errorf("%v, %v", d, err)
	}
	if got := d.AddDays(1); got != (Date{2024, time.March, 1}) {
		t.Errorf("the day after: %v", got)
	}
	for _, text := range []string{"", "2023-02-29", "2024-2-9", "24-02-29", "2024-02-29T00:00:00Z", "29.02.2024"} {
		if _, err := ParseDate(text); CodeOf(err) != CodeInvalid {
			t.Errorf("ParseDate(%q) gives %v, want a refusal", text, err)
		}
	}
	out, err := json.Marshal(map[string]any{"date": d, "time": TimeOfDay(220)})
	if err != nil || string(out) != `{"date":"2024-02-29","time":"03:40"}` {
		t.Errorf("JSON %s, %v", out, err)
	}
	var back struct {
		Date Date      `json:"date"`
		Time TimeOfDay `json:"time"`
	}
	if err := json.Unmarshal(out, &back); err != nil || back.Date != d || back.Time != 220 {
		t.Errorf("%+v, %v", back, err)
	}
}

func TestDatesAreOrdered(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d := Date{1970, 1, 1}.AddDays(rapid.IntRange(-100000, 100000).Draw(t, "day"))
		n := rapid.IntRange(-1000, 1000).Draw(t, "n")
		later := d.AddDays(n)
		if (n > 0) != (later.Compare(d) > 0) || (n == 0) != (later == d) || later.AddDays(-n) != d {
			t.Fatalf("%s and %d days: %s", d, n, later)
		}
		if again, err := ParseDate(d.String()); err != nil || again != d {
			t.Fatalf("%s is read as %s, %v", d, again, err)
		}
		if (int(d.Weekday())+n%7+7)%7 != int(later.Weekday()) {
			t.Fatalf("weekdays of %s and %s", d, later)
		}
	})
}
