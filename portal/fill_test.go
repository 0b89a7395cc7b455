package portal

import (
	"fmt"
	"testing"
)

// TestFillPlain says what package fmt says, or leaves it to that.
func TestFillPlain(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		wording string
		args    []any
		plain   bool
	}{
		{"%s of %s", []any{"a", "b"}, true},
		{"%d %% of %d copies", []any{-3, 1200}, true},
		{"%s: 100%%", []any{"%s"}, true},
		{"%s", []any{7}, false},
		{"%d", []any{"7"}, false},
		{"%d", []any{int64(7)}, false},
		{"%.1f %s", []any{1.5, "GiB"}, false},
		{"%02d", []any{7}, false},
		{"%s", nil, false},
		{"%s", []any{"a", "b"}, false},
		{"100%", nil, false},
	} {
		got, plain := fillPlain(c.wording, c.args)
		if want := fmt.Sprintf(c.wording, c.args...); plain != c.plain || plain && got != want {
			t.Errorf("%q: %q (%t), want %q (%t)", c.wording, got, plain, want, c.plain)
		}
	}
}
