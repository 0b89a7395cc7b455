package templates

import (
	"context"
	"html"
	"io"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/a-h/templ"
)

// zoneOptions shows the zones to choose from. There are some four hundred of them on every page with a schedule, and they
// are the same for everybody but for the one that is chosen: they are written once, and that one is marked.
func zoneOptions(zones []string, value string) templ.Component {
	return templ.ComponentFunc(func(ctx context.Context, w io.Writer) error {
		list := zoneLists.Load()
		if list == nil || !slices.Equal(list.zones, zones) {
			var text strings.Builder
			if err := eachZone(zones, "").Render(ctx, &text); err != nil {
				return err
			}
			list = &zoneList{slices.Clone(zones), text.String()}
			zoneLists.Store(list)
		}
		if value == "" {
			_, err := io.WriteString(w, list.text)
			return err
		}
		mark := `<option value="` + html.EscapeString(value) + `"`
		before, after, known := strings.Cut(list.text, mark)
		if !known {
			return eachZone(zones, value).Render(ctx, w)
		}
		for _, part := range []string{before, mark, " selected", after} {
			if _, err := io.WriteString(w, part); err != nil {
				return err
			}
		}
		return nil
	})
}

// zoneList is the options of a list of zones, none of them chosen.
type zoneList struct {
	zones []string
	text  string
}

var zoneLists atomic.Pointer[zoneList]
