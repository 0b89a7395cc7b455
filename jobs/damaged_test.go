package jobs_test

import (
	"strings"
	"testing"

	"stowage/portal"
	"stowage/pve/pvesim"
)

// TestDamaged leaves a few bytes of the newest copy, as a storage does that lost its power before it had written
// all: it is no backup any more, both sides are told, and the older one doesn't go for the night's before that is
// made. When the rest is found again the copy counts again.
func TestDamaged(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{Product: func(p *portal.Product) { p.Quota = 2 }})
	w.make(2)
	damaged := w.sim.Archives()[1]
	resize := func(size int64) {
		w.must(w.sim.SetArchive("pve1", damaged.Volid, func(a *pvesim.Archive) { a.Size = size }))
	}
	resize(512)
	w.lists()
	w.wantCopies(1, 2)
	if c := w.copies()[0]; c.Class != portal.ClassPartial || !strings.HasPrefix(c.Reason.String(), "It was damaged on the storage: 512 B of ") {
		t.Errorf("%s: %q", c.Class, c.Reason)
	}
	w.every("03:00")
	w.until("11-21 03:00")
	w.wantCopies(2, 3)
	if n := len(w.changes("DELETE", "/content/")); n != 0 {
		t.Errorf("%d deletions although there was room", n)
	}
	for _, channel := range []string{"mail", "staff"} {
		if n := w.told(channel, "backup.damaged"); n != 1 {
			t.Errorf("%s: told %d times", channel, n)
		}
	}
	w.until("11-22 03:00")
	w.wantCopies(2, 3) // what is left of it is not cleared away: it was the customer's
	resize(damaged.Size)
	w.lists()
	w.wantCopies(3, 3)
}
