package templates

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestBytes(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "0 B", 700: "700 B", 41 << 30: "41 GiB", 1<<30 + 200<<20: "1.2 GiB", 1800 << 30: "1.8 TiB", -1: ""} {
		if got := Bytes(n).String(); got != want {
			t.Errorf("Bytes(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestOfBytes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		done, total int64
		want        string
	}{
		{0, 32 << 30, "0 of 32 GiB"},
		{20<<30 + 100<<20, 32 << 30, "20 of 32 GiB"},
		{3 << 29, 3 << 30, "1.5 of 3 GiB"},
		{40 << 30, 32 << 30, "32 of 32 GiB"},
		{5 << 20, 0, "5.0 MiB"},
	} {
		if got := OfBytes(c.done, c.total).String(); got != c.want {
			t.Errorf("OfBytes(%d, %d) = %q, want %q", c.done, c.total, got, c.want)
		}
	}
}

func TestDuration(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0 s", 40 * time.Second: "40 s", 6*time.Minute + 59*time.Second: "6 min", 5*time.Hour + 12*time.Minute: "5 h 12 min",
		5 * time.Hour: "5 h", 31 * time.Hour: "31 h", 79 * time.Hour: "3 days", -5 * time.Minute: "5 min",
		59*time.Second + 900*time.Millisecond: "59 s", 200 * time.Millisecond: "1 s",
	} {
		if got := Duration(d).String(); got != want {
			t.Errorf("Duration(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestAt(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 20, 2, 4, 0, 0, time.UTC)
	night := time.Date(2026, 11, 12, 2, 0, 0, 0, time.UTC)
	got := AtAgo(night, now, berlin)
	said := []string{got.Text().String(), got.RFC3339(), got.title().String(), got.Ago.String()}
	want := []string{"Thu 12 Nov 03:00", "2026-11-12T02:00:00Z", "Thursday 12 November 2026, 03:00:00 CET, 02:00 UTC", "8 days ago"}
	if diff := cmp.Diff(want, said); diff != "" {
		t.Error(diff)
	}
	if got := At(night.AddDate(-1, 0, 0), now, berlin).Text().String(); got != "Wed 12 Nov 2025 03:00" {
		t.Errorf("another year: %q", got)
	}
	if !At(time.Time{}, now, berlin).IsZero() {
		t.Error("no time is no moment")
	}
	// A zone without a short name shows its offset.
	if got := At(night, now, mustZone("Asia/Kathmandu")).title().String(); got != "Thursday 12 November 2026, 07:45:00 UTC+0545, 02:00 UTC" {
		t.Error(got)
	}
}

func TestRunAt(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 20, 0, 4, 0, 0, time.UTC)
	if got := RunAt(time.Date(2026, 11, 20, 2, 0, 0, 0, time.UTC), now, berlin).UTC.String(); got != "02:00 UTC" {
		t.Error(got)
	}
	// The date is said where it is another one in UTC.
	if got := RunAt(time.Date(2026, 11, 20, 23, 30, 0, 0, time.UTC), now, berlin).UTC.String(); got != "Fri 20 Nov 23:30 UTC" {
		t.Error(got)
	}
	if !RunAt(time.Time{}, now, berlin).IsZero() {
		t.Error("no run")
	}
}

func TestAgo(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 20, 2, 4, 0, 0, time.UTC)
	for d, want := range map[time.Duration]string{-30 * time.Second: "just now", -5 * time.Minute: "5 min ago", 11 * time.Hour: "in 11 h", -47 * time.Hour: "47 h ago", -71 * time.Hour: "2 days ago"} {
		if got := Ago(now.Add(d), now).String(); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}
