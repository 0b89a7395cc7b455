package jobs_test

import (
	"testing"
	"time"

	"stowage/portal"
	"stowage/pve/pvesim"
)

// hide lets the storage show less than it has.
func (w *world) hide(kind pvesim.Kind, keep int) (whole func()) {
	return w.inject(pvesim.Fault{Kind: kind, Method: "GET", Path: `/content$`, Keep: keep})
}

// wantRequests holds how many backups were asked for against a number.
func (w *world) wantRequests(n int) {
	w.t.Helper()
	if got := len(w.changes("POST", "/vzdump")); got != n {
		w.t.Errorf("%d backups asked for, want %d\n%s", got, n, w.story())
	}
}

// TestHiddenForLong has the storage show nothing for more than an hour after the dump: by such a listing, which lacks
// the older copy too, the backup hasn't failed, and no second one is made.
func TestHiddenForLong(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{})
	w.make(1)
	w.every("03:00")
	w.until("11-21 01:59")
	w.waitFor(time.Hour, "the request", func() bool { return len(w.changes("POST", "/vzdump")) == 2 })
	whole := w.hide(pvesim.EmptyListing, 0)
	w.run(80 * time.Minute)
	whole()
	w.until("11-21 04:00")
	w.wantSlot("11-21", portal.SlotDone, "")
	w.wantRequests(2)
	w.wantCopies(2, 2)
}

// TestHiddenFirst hides the machine's first backup, which no other copy vouches for: asked for by its name, it is
// there.
func TestHiddenFirst(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{})
	w.every("03:00")
	w.until("11-21 01:59")
	w.waitFor(time.Hour, "the request", func() bool { return len(w.changes("POST", "/vzdump")) == 1 })
	whole := w.hide(pvesim.EmptyListing, 0)
	w.run(80 * time.Minute)
	whole()
	w.until("11-21 04:00")
	w.wantSlot("11-21", portal.SlotDone, "")
	w.wantRequests(1)
	w.wantCopies(1, 1)
}

// TestHiddenAlone hides the new copy alone, from the listing and by its name, until that counts as a failed attempt:
// before another is made the archive is found by its mark.
func TestHiddenAlone(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{})
	w.make(2)
	w.every("03:00")
	w.until("11-21 01:59")
	w.waitFor(time.Hour, "the request", func() bool { return len(w.changes("POST", "/vzdump")) == 3 })
	whole := w.hide(pvesim.TruncatedListing, 2)
	named := w.inject(pvesim.Fault{Kind: pvesim.Refuse, Method: "GET", Path: `/content/.`, Status: 500, Reason: "volume_size_info on 'it' failed - no format"})
	w.waitFor(time.Hour, "a failed attempt", func() bool { return w.last().Attempt == 1 })
	whole()
	named()
	w.until("11-21 04:00")
	w.wantSlot("11-21", portal.SlotDone, "")
	w.wantRequests(3)
	w.wantCopies(3, 3)
}

// TestHiddenBefore has it show nothing from before the due time on, until the copies are believed missing and their
// places free. They are back when the new one is made, and then one goes for it as in any night.
func TestHiddenBefore(t *testing.T) {
	t.Parallel()
	for _, policy := range []portal.Policy{overlap, after} {
		w := scene(t, worldOptions{Product: func(p *portal.Product) { p.Policy = policy }})
		w.make(3)
		oldest := w.oldest().Volid
		w.every("03:00")
		w.until("11-21 01:10")
		whole := w.hide(pvesim.EmptyListing, 0)
		w.until("11-21 02:10")
		whole()
		w.until("11-21 04:00")
		w.wantSlot("11-21", portal.SlotDone, "")
		w.wantCopies(3, 3)
		for _, a := range w.sim.Archives() {
			if a.Volid == oldest {
				t.Errorf("the oldest is still there, and another one went")
			}
		}
	}
}
