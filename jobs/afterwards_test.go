package jobs_test

import (
	"testing"
	"time"

	"stowage/portal"
	"stowage/pve/pvesim"
)

// TestRemovalAfterDoubt shortens the listings right after the new copy was made, for longer than the backup waits
// with its removal: the removal goes on by itself when the listings are whole again, and the number of copies comes
// down to the quota.
func TestRemovalAfterDoubt(t *testing.T) {
	t.Parallel()
	for _, kind := range []pvesim.Kind{pvesim.EmptyListing, pvesim.TruncatedListing} {
		w := scene(t, worldOptions{Product: func(p *portal.Product) { p.Quota = 1 }})
		w.make(1)
		w.every("03:00")
		w.until("11-21 01:59")
		w.waitFor(time.Hour, "the new copy", func() bool { return w.last().Step == portal.StepEvict })
		whole := w.inject(pvesim.Fault{Kind: kind, Method: "GET", Path: `/content$`})
		w.waitFor(time.Hour, "the backup's end", func() bool {
			return w.operations()[len(w.operations())-1].State.Final() && w.slot("11-21").State == portal.SlotDone
		})
		w.wantCopies(2, 2)
		whole()
		w.until("11-21 04:00")
		w.wantCopies(1, 1)
	}
}
