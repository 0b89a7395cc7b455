package jobs_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"stowage/portal"
	"stowage/pve/pvesim"
)

// state reads the service's state.
func (w *world) state() portal.ServiceState {
	w.t.Helper()
	s, err := w.db.Service(context.Background(), w.service.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	return s.State
}

// TestMachineGone destroys the machine: after three complete inventories over ten minutes the service says so,
// nothing is sent any more, and the copies stay.
func TestMachineGone(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{})
	w.make(2)
	sent, machine := len(w.sim.Calls()), w.sim.Guests()[0]
	w.must(w.sim.DestroyGuest(100))
	w.round()
	w.clock.set(w.clock.Now().Add(20 * time.Minute))
	w.round()
	if w.state() != portal.ServiceActive {
		t.Fatal("gone after two looks")
	}
	w.must(w.sim.AddGuest(machine))
	w.round() // back: the count begins anew
	w.must(w.sim.DestroyGuest(100))
	for range 5 {
		w.round()
	}
	if w.state() != portal.ServiceActive {
		t.Fatal("gone after five looks at one instant")
	}
	w.clock.set(w.clock.Now().Add(9 * time.Minute))
	w.round()
	if w.state() != portal.ServiceActive {
		t.Fatal("gone after nine minutes")
	}
	w.clock.set(w.clock.Now().Add(2 * time.Minute))
	w.round()
	if w.state() != portal.ServiceMachineGone {
		t.Fatalf("the service is %s after eleven minutes", w.state())
	}
	w.every("03:00")
	w.until("11-21 04:00")
	w.wantSlot("11-21", portal.SlotSkipped, "the machine no longer exists")
	w.wantCopies(2, 2)
	_, err := w.db.Enqueue(context.Background(), w.client, w.service.UID, portal.ManualBackup("client:test", "", ""))
	if portal.CodeOf(err) != portal.CodeConflict {
		t.Errorf("by hand: %v", err)
	}
	if n := w.told("staff", "service.machine_gone"); n != 1 {
		t.Errorf("staff were told %d times", n)
	}
	if got := len(w.sim.Calls()) - sent; got != 0 {
		t.Errorf("%d changes sent", got)
	}
}

// TestMachineGoneNotSeen doesn't take a machine for gone that merely can't be seen: a host down, a right missing.
func TestMachineGoneNotSeen(t *testing.T) {
	t.Parallel()
	for name, hide := range map[string]func(w *world){
		"host down": func(w *world) {
			w.inject(pvesim.Fault{Kind: pvesim.NodeDown, Node: "pve2"})
			w.inject(pvesim.Fault{Kind: pvesim.TruncatedListing, Path: `^/cluster/resources$`, Keep: 0})
		},
		"no right to see": func(w *world) {
			w.must(w.sim.SetPrivileges(pvesim.PortalToken, "/", without("VM.Audit")...))
		},
		"no right to see this one": func(w *world) {
			w.must(w.sim.SetPrivileges(pvesim.PortalToken, "/vms/100", "VM.Backup"))
		},
		"empty answer": func(w *world) {
			w.inject(pvesim.Fault{Kind: pvesim.EmptyListing, Path: `^/cluster/resources$`})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := scene(t, twoNodes(worldOptions{}))
			hide(w)
			w.pass(w.clock.Now().Add(2*time.Hour), func() bool { return false })
			if w.state() != portal.ServiceActive {
				t.Errorf("the service is %s", w.state())
			}
		})
	}
}

// TestMachineBack brings the destroyed machine back, and then another in its place: only its own counts.
func TestMachineBack(t *testing.T) {
	t.Parallel()
	for _, own := range []bool{true, false} {
		w := scene(t, worldOptions{})
		i := slices.IndexFunc(w.sim.Guests(), func(g pvesim.Guest) bool { return g.VMID == 100 })
		machine := w.sim.Guests()[i]
		w.must(w.sim.DestroyGuest(100))
		w.run(30 * time.Minute)
		if w.state() != portal.ServiceMachineGone {
			t.Fatalf("the service is %s", w.state())
		}
		if !own {
			machine.UUID = "12345678-0000-4000-8000-000000000000"
		}
		w.must(w.sim.AddGuest(machine))
		_, stop := w.db.Listen(w.service.ID) // somebody has the page open
		w.must(w.engine.Watch(context.Background()))
		w.run(30 * time.Minute)
		w.must(w.engine.Watch(context.Background()))
		stop()
		if got := w.state(); own && got != portal.ServiceActive || !own && got == portal.ServiceActive {
			t.Errorf("own %t: the service is %s", own, got)
		}
	}
}

// TestMachineReplaced puts another machine in the place: preflight sees it before anything is sent.
func TestMachineReplaced(t *testing.T) {
	t.Parallel()
	for _, manual := range []bool{true, false} {
		w := scene(t, worldOptions{})
		w.make(3)
		sent := len(w.sim.Calls())
		w.must(w.sim.ReplaceGuest(100))
		if manual {
			op, err := w.db.Enqueue(context.Background(), w.client, w.service.UID, portal.ManualBackup("client:test", "", w.oldest().UID))
			if err != nil {
				t.Fatal(err)
			}
			w.settle(time.Hour)
			got := w.operation(op.ID)
			if got.State != portal.StateFailed || !strings.HasPrefix(got.Reason.String(), "Another machine has taken the place") || !strings.Contains(got.StaffReason, w.service.Identity.UUID) {
				t.Errorf("%s: %q, staff %q", got.State, got.Reason, got.StaffReason)
			}
		} else {
			w.every("03:00")
			w.until("11-21 03:00")
			w.wantSlot("11-21", portal.SlotSkipped, "Another machine")
			w.until("11-22 03:00")
			w.wantSlot("11-22", portal.SlotSkipped, "another machine is in its place")
		}
		if w.state() != portal.ServiceMachineReplaced {
			t.Errorf("the service is %s", w.state())
		}
		if n := w.told("staff", "service.machine_replaced"); n != 1 {
			t.Errorf("staff were told %d times", n)
		}
		if got := len(w.sim.Calls()) - sent; got != 0 {
			t.Errorf("%d changes sent", got)
		}
		w.wantCopies(3, 3)
	}
}

// TestMachineReplacedUnasked notices it without any backup, from the hourly reading of configs; a restore's stump
// is no other machine.
func TestMachineReplacedUnasked(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{})
	w.run(2 * time.Hour)
	w.must(w.engine.CheckConfigs(context.Background(), 10))
	if w.state() != portal.ServiceActive {
		t.Fatalf("the service is %s", w.state())
	}
	w.must(w.sim.ReplaceGuest(100))
	w.run(2 * time.Hour)
	w.must(w.engine.CheckConfigs(context.Background(), 10))
	if w.state() != portal.ServiceMachineReplaced {
		t.Errorf("the service is %s", w.state())
	}
}

// TestStump takes the remains of a restore for no machine worth backing up, and not for another one's.
func TestStump(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{})
	w.wrap = func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			if strings.HasSuffix(r.URL.Path, "/qemu/100/config") {
				return answer(r, `{"data":{"memory":"128","digest":"0123456789012345678901234567890123456789"}}`), nil
			}
			return next.RoundTrip(r)
		})
	}
	w.restart()
	op := w.backupNow("", "")
	w.run(5 * time.Minute)
	if w.state() == portal.ServiceMachineReplaced {
		t.Errorf("a stump was taken for another machine: %s", w.operation(op.ID).StaffReason)
	}
	if got := w.operation(op.ID); got.State == portal.StateSucceeded || len(w.sim.Calls()) != 0 {
		t.Errorf("%s: %s", got.State, got.Reason)
	}
}

// answer makes a good answer of Proxmox.
func answer(r *http.Request, body string) *http.Response {
	rec := newRecorder()
	_, _ = rec.WriteString(body)
	resp := rec.Result()
	resp.Request = r
	return resp
}

// TestSameNumberNewCustomer gives the number of a machine that is no more to a new customer: the old one's archives
// are neither shown nor counted nor deleted, whoever looks.
func TestSameNumberNewCustomer(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{Product: func(p *portal.Product) { p.Quota = 2 }})
	w.make(2)
	old := volids(w.sim.Archives())
	w.must(w.sim.ReplaceGuest(100))
	w.write(`UPDATE services SET state = 'terminated' WHERE id = ?`, w.service.ID)
	bob := w.another(w.newClient("Bob"), 100)
	bob.every("03:00")
	bob.until("11-25 12:00")
	if got := len(bob.complete()); got != 2 {
		t.Errorf("Bob has %d copies, want 2\n%s", got, bob.story())
	}
	for _, b := range bob.copies() {
		if slices.Contains(old, b.Volid) {
			t.Errorf("Bob sees %s of Ada's", b.Volid)
		}
	}
	for _, v := range old {
		if !slices.Contains(volids(w.sim.Archives()), v) {
			t.Errorf("Ada's %s was deleted", v)
		}
	}
	if got := len(w.complete()); got != 2 {
		t.Errorf("Ada's rows: %d, want 2", got)
	}
	for _, b := range bob.copies() {
		if _, err := w.db.ClientBackup(context.Background(), w.client, bob.service.UID, b.UID); portal.CodeOf(err) != portal.CodeNotFound {
			t.Errorf("Ada can open Bob's copy: %v", err)
		}
	}
}

// TestExternalArchives leaves alone what isn't ours: archives without a mark, with a forged one, and with another
// installation's, all of the same machine.
func TestExternalArchives(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{Product: func(p *portal.Product) { p.Quota = 2 }})
	w.make(1)
	ours := w.sim.Archives()[0]
	mark := portal.Mark{Installation: w.db.Installation(), Service: w.service.UID, Operation: w.last().UID}
	for i, notes := range []string{
		"",
		"a friend's copy",
		portal.Mark{Installation: "01jother000000000000000000", Service: w.service.UID, Operation: "01j"}.Sign([]byte("another key")),
		mark.Sign([]byte("guessed key")),
		strings.Replace(ours.Notes, w.service.UID, "01jsomebodyelse00000000000", 1),
	} {
		w.must(w.sim.AddArchive(pvesim.Archive{Node: "pve1", Storage: "local", VMID: 100, Size: 700 << 20,
			Time: time.Date(2026, 10, 1+i, 3, 0, 0, 0, time.UTC), Notes: notes}))
	}
	w.run(15 * time.Minute)
	if got := len(w.column(`SELECT id FROM backups WHERE class = 'external' AND service_id IS NULL`)); got != 5 {
		t.Errorf("%d archives are external, want 5", got)
	}
	w.every("03:00")
	w.until("11-24 12:00")
	w.wantCopies(2, 7)
	for _, a := range w.sim.Archives()[:5] {
		if a.Time.Month() != time.October {
			t.Errorf("an external archive is gone; %s is among the oldest", a.Volid)
		}
	}
	for _, b := range w.copies() {
		if b.Class == portal.ClassExternal {
			t.Errorf("the client sees %+v", b)
		}
	}
}

// TestAdoptLostRow loses the row of an archive: its mark brings it back to its service, and to no other.
func TestAdoptLostRow(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{})
	w.make(2)
	gone := w.oldest()
	w.write(`UPDATE operations SET backup_id = NULL WHERE backup_id = ?`, gone.ID)
	w.write(`DELETE FROM backups WHERE id = ?`, gone.ID)
	if got := len(w.complete()); got != 1 {
		t.Fatalf("%d rows", got)
	}
	w.run(15 * time.Minute)
	w.wantCopies(2, 2)
	back := w.oldest()
	if back.Volid != gone.Volid || back.Origin != portal.OriginManual || !back.StartedAt.Truncate(time.Second).Equal(gone.CTime) && back.StartedAt.Sub(gone.StartedAt).Abs() > time.Minute {
		t.Errorf("back as %+v", back)
	}
}

// TestMarkWrittenAgain writes the mark where somebody wiped the notes, once, and asks for no archive's notes as long
// as nothing changed.
func TestMarkWrittenAgain(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{})
	w.make(3)
	a := w.sim.Archives()[0]
	w.must(w.sim.SetArchive("pve1", a.Volid, func(x *pvesim.Archive) { x.Notes = "cleaned up by the provider" }))
	w.run(30 * time.Minute)
	if got := w.sim.Archives()[0].Notes; got != a.Notes {
		t.Errorf("notes %q, want %q", got, a.Notes)
	}
	if n := len(w.changes("PUT", "")); n != 1 {
		t.Errorf("%d writes of notes", n)
	}
	looks := func() int { return w.sim.Counts()["GET /nodes/{node}/storage/{storage}/content/{volume}"] }
	before := looks()
	w.run(6 * time.Hour)
	if got := looks() - before; got != 0 {
		t.Errorf("%d questions about single archives in six idle hours: they would grow with the archives", got)
	}
}
