package templates

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestZoneOptions shows the same whether the list was written before or is written now.
func TestZoneOptions(t *testing.T) {
	t.Parallel()
	long, short := []string{"Europe/Berlin", "Europe/Berlin_West", "America/New_York", "UTC"}, []string{"UTC", "Asia/Tokyo"}
	for _, zones := range [][]string{long, short, long, nil} {
		for _, value := range []string{"", "UTC", "Europe/Berlin", "Europe/Berlin_West", "America/New_York", "Mars/Here", `"><b>`} {
			var got, want strings.Builder
			if err := zoneOptions(zones, value).Render(t.Context(), &got); err != nil {
				t.Fatal(err)
			}
			if err := eachZone(zones, value).Render(t.Context(), &want); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want.String(), got.String()); diff != "" {
				t.Errorf("%q of %q: %s", value, zones, diff)
			}
		}
	}
}
