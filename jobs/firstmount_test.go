package jobs_test

import (
	"testing"
	"time"

	"stowage/portal"
	"stowage/pve/pvesim"
)

// TestEmptyStorageOffline takes the mount of a plain directory away, on which no copy lies yet: no archive says that
// the disk below is not the storage, only its size does. Nothing is written there however long that lasts, staff are
// asked, and the backup is made when the mount is back.
func TestEmptyStorageOffline(t *testing.T) {
	t.Parallel()
	w := scene(t, vault(nil))
	w.lists()
	w.every("03:00")
	w.until("11-21 01:30")
	w.must(w.sim.SetStorage("vault", func(st *pvesim.Storage) { st.Gone = true }))
	w.until("11-21 05:00")
	if n := len(w.sim.Calls()); n != 0 {
		t.Errorf("%d changes sent to a storage that is away\n%s", n, w.story())
	}
	if n := w.told("staff", "storage.doubt"); n != 1 {
		t.Errorf("staff were told %d times", n)
	}
	w.must(w.sim.SetStorage("vault", func(st *pvesim.Storage) { st.Gone = false }))
	w.run(30 * time.Minute)
	w.wantSlot("11-21", portal.SlotLate, "")
	w.wantCopies(1, 1)
}
