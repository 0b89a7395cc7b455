package portal

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCounter(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		copies         string
		quota, running int
		want           Counter
		text           string
	}{
		{"", 10, 0, Counter{Quota: 10}, "0/10"},
		{"10g 11s 12gv", 10, 1, Counter{Count: 3, Quota: 10, Running: 1}, "3/10, 1 in progress"},
		{"10g 11g 12g", 3, 0, Counter{Count: 3, Quota: 3, Full: true}, "3/3"},
		{"1g 2g 3g 4g 5g 6g 7g 8g 9g 10g", 3, 0, Counter{Count: 10, Quota: 3, Over: 7, Full: true}, "10/3, remove 7"},
		{"9b 8x 7m 6p 5f 4r 10g!", 3, 0, Counter{Count: 1, Quota: 3}, "1/3"},
		{"10g", 0, 0, Counter{Count: 1, ReadOnly: true}, "1/0"},
		{"10b", 0, 0, Counter{ReadOnly: true}, "0/0"},
		{"10m 11x", 0, 0, Counter{Hidden: true}, "0/0"},
	} {
		got := CounterOf(parseCopies(t, c.copies), c.quota, c.running)
		if diff := cmp.Diff(c.want, got); diff != "" || got.String() != c.text {
			t.Errorf("%q, quota %d: %q, want %q\n%s", c.copies, c.quota, got, c.text, diff)
		}
	}
}

func TestQuotaZero(t *testing.T) {
	t.Parallel()
	if show, sentence := QuotaZero(parseCopies(t, "10g")); !show || sentence != "Your package includes no new backups. Those you have stay, and you can restore them." {
		t.Error(show, sentence)
	}
	if show, _ := QuotaZero(parseCopies(t, "10x")); show {
		t.Error("shown, with nothing of the client's to see")
	}
}
