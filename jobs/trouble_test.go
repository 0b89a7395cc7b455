package jobs_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"stowage/jobs"
	"stowage/portal"
	"stowage/pve"
	"stowage/pve/pvesim"
)

// TestNodeDownAtDue has the host down for an hour when the backup falls due: it is made when the host is back.
func TestNodeDownAtDue(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{})
	w.every("03:00")
	w.until("11-21 01:50")
	up := w.inject(pvesim.Fault{Kind: pvesim.NodeDown, Node: "pve1"})
	w.until("11-21 02:50")
	if op := w.last(); op.State != portal.StateQueued || op.WaitsFor.String() != "your host is down" {
		t.Fatalf("%s, waits for %q", op.State, op.WaitsFor)
	}
	up()
	w.until("11-21 03:30")
	w.wantSlot("11-21", portal.SlotLate, "began 50 min late")
	w.wantCopies(1, 1)
	if op := w.last(); op.Attempt != 0 || op.State != portal.StateSucceeded {
		t.Errorf("%s after %d attempts", op.State, op.Attempt)
	}
}

// TestNodeDownTooLong has it down until the backup may not start any more.
func TestNodeDownTooLong(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{})
	w.every("03:00")
	w.until("11-21 01:50")
	up := w.inject(pvesim.Fault{Kind: pvesim.NodeDown, Node: "pve1"})
	w.until("11-21 08:10")
	w.wantSlot("11-21", portal.SlotMissed, "your host is down")
	op := w.last()
	if op.State != portal.StateFailed || op.Reason.String() != "It could not start in time: your host is down." {
		t.Errorf("%s: %s", op.State, op.Reason)
	}
	if n := w.told("mail", "backup.missed"); n != 1 {
		t.Errorf("%d mails about the missed backup", n)
	}
	if len(w.sim.Calls()) != 0 {
		t.Errorf("something was sent: %+v", w.sim.Calls())
	}
	up()
	w.until("11-22 02:30")
	w.wantSlot("11-22", portal.SlotDone, "")
	w.wantCopies(1, 1)
}

// TestNodeDownWhileDumping loses sight of a running backup and finds it again, ended or still running.
func TestNodeDownWhileDumping(t *testing.T) {
	t.Parallel()
	for _, gone := range []time.Duration{time.Minute, time.Hour} {
		t.Run(gone.String(), func(t *testing.T) {
			t.Parallel()
			w := scene(t, slow())
			op := w.backupNow("", "")
			w.waitFor(time.Minute, "a running backup", func() bool { return w.operation(op.ID).Percent > 0 })
			upid := w.operation(op.ID).UPID
			up := w.inject(pvesim.Fault{Kind: pvesim.NodeDown, Node: "pve1"})
			w.run(gone)
			if got := w.operation(op.ID); got.State != portal.StateRunning || got.UPID != upid || got.WaitsFor.String() != "we can't reach your host" || got.StaffReason == "" {
				t.Fatalf("meanwhile: %s, waits for %q, staff %q\n%s", got.State, got.WaitsFor, got.StaffReason, w.story())
			}
			up()
			w.settle(2 * time.Hour)
			got := w.operation(op.ID)
			if got.State != portal.StateSucceeded || got.UPID != "" && got.UPID != upid {
				t.Fatalf("%s: %s\n%s", got.State, got.Reason, w.story())
			}
			if n := len(w.changes("POST", "/vzdump")); n != 1 {
				t.Errorf("%d requests for one backup", n)
			}
			w.wantCopies(1, 1)
		})
	}
}

// slow is a world in which a backup takes some twelve minutes.
func slow() worldOptions {
	return worldOptions{Product: func(p *portal.Product) { p.BWLimit = 1024 }, World: func(sw *pvesim.World) {
		sw.Roles[pvesim.PortalRole] = append(slices.Clone(pvesim.PortalPrivileges), "Sys.Modify")
	}}
}

// TestNodePowerCut cuts the host's power in the middle of a backup. Its lock goes with the boot, and the backup is
// made anew.
func TestNodePowerCut(t *testing.T) {
	t.Parallel()
	w := scene(t, slow())
	w.every("03:00")
	w.until("11-21 02:03")
	w.must(w.sim.SetNodeOnline("pve1", false))
	w.until("11-21 02:20")
	w.must(w.sim.SetNodeOnline("pve1", true))
	w.must(w.sim.SetGuestRunning(100, true))
	w.until("11-21 04:30")
	if s := w.slot("11-21"); s.State != portal.SlotDone && s.State != portal.SlotLate {
		t.Fatalf("slot %s: %s\n%s", s.State, s.Reason, w.story())
	}
	w.wantCopies(1, 1)
	if op := w.last(); op.Attempt != 1 {
		t.Errorf("%d attempts failed, want the one that was cut off\n%s", op.Attempt, w.story())
	}
}

// TestServerUnreachable answers nothing at all for two hours around the due time.
func TestServerUnreachable(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{})
	w.every("03:00")
	w.until("11-21 01:50")
	w.wrap = func(http.RoundTripper) http.RoundTripper { return broken{cut()} }
	w.restart()
	w.round()
	for _, later := range []time.Duration{10 * time.Minute, 110 * time.Minute} { // each look costs real time: the client asks more than once
		w.clock.set(w.clock.Now().Add(later))
		w.round()
	}
	if op := w.last(); op.WaitsFor.String() != "your host can't be reached" {
		t.Errorf("waits for %q", op.WaitsFor)
	}
	server, err := w.db.Server(context.Background(), w.server.ID)
	if err != nil {
		t.Fatal(err)
	}
	if since := server.UnreachableSince.Format("15:04"); since != "01:50" || !strings.Contains(server.Trouble, "no route to host") {
		t.Errorf("since %s: %q", since, server.Trouble)
	}
	if n := w.told("staff", "server.unreachable"); n != 1 {
		t.Errorf("staff were told %d times", n)
	}
	w.wrap = nil
	w.restart()
	w.until("11-21 04:10")
	w.wantSlot("11-21", portal.SlotLate, "")
	w.wantCopies(1, 1)
	if server, _ = w.db.Server(context.Background(), w.server.ID); !server.UnreachableSince.IsZero() || server.Trouble != "" {
		t.Errorf("still in trouble: %q", server.Trouble)
	}
}

// without gives the portal's privileges but one.
func without(privilege string) []string {
	return slices.DeleteFunc(slices.Concat(pvesim.PortalPrivileges, pvesim.AgentPrivileges("9.2")), func(p string) bool { return p == privilege })
}

// TestPrivilegeMissing takes each privilege in turn: nothing is sent, nothing is believed missing, both sentences
// say what is wrong, and the backup is made when the privilege is back.
func TestPrivilegeMissing(t *testing.T) {
	t.Parallel()
	for _, privilege := range pvesim.PortalPrivileges {
		t.Run(privilege, func(t *testing.T) {
			t.Parallel()
			w := scene(t, worldOptions{})
			if !slices.ContainsFunc(forBackups, func(g granted) bool { return g.privilege == privilege }) {
				w.lacksFor(privilege)
				return
			}
			w.make(3)
			w.every("03:00")
			w.until("11-21 01:30")
			before := len(w.sim.Calls())
			w.must(w.sim.SetPrivileges(pvesim.PortalToken, "/", without(privilege)...))
			w.until("11-21 02:45")
			op := w.last()
			if op.State != portal.StateQueued || op.WaitsFor.String() != "the portal lacks a right on your host. Our team has been told" || op.Attempt != 0 {
				t.Errorf("%s, waits for %q, %d attempts", op.State, op.WaitsFor, op.Attempt)
			}
			if !strings.Contains(op.StaffReason, privilege) {
				t.Errorf("staff read %q", op.StaffReason)
			}
			if n := w.told("staff", "server.rights"); n != 1 {
				t.Errorf("staff were told %d times", n)
			}
			manual, err := w.db.Enqueue(context.Background(), w.client, w.service.UID, portal.ManualBackup("client:test", "", w.oldest().UID))
			if err != nil {
				t.Fatal(err)
			}
			w.run(30 * time.Second)
			if got := w.operation(manual.ID); got.State != portal.StateFailed || got.Reason.String() != "The portal lacks a right on your host. Our team has been told." || !strings.Contains(got.StaffReason, privilege) {
				t.Errorf("manual: %s: %q, staff %q", got.State, got.Reason, got.StaffReason)
			}
			if got := w.sim.Calls()[before:]; len(got) != 0 {
				t.Errorf("sent meanwhile: %+v", got)
			}
			w.wantCopies(3, 3)
			w.must(w.sim.SetPrivileges(pvesim.PortalToken, "/", pvesim.PortalPrivileges...))
			w.until("11-21 03:30")
			w.wantSlot("11-21", portal.SlotLate, "")
			w.wantCopies(3, 3)
			if svc, _ := w.db.Service(context.Background(), w.service.ID); svc.State != portal.ServiceActive {
				t.Errorf("the service is %s", svc.State)
			}
		})
	}
}

// lacksFor takes a privilege that backups don't need: they go on, what needs it is refused before anything is sent, and
// staff are told which one it is.
func (w *world) lacksFor(privilege string) {
	w.t.Helper()
	w.must(w.sim.SetPrivileges(pvesim.PortalToken, "/", without(privilege)...))
	w.backupNow("", "")
	w.settle(time.Hour)
	if op := w.last(); op.State != portal.StateSucceeded {
		w.t.Errorf("a backup: %s %q", op.State, op.StaffReason)
	}
	before := len(w.sim.Calls())
	asks := map[string]portal.Request{
		"VM.PowerMgmt": portal.Power("client:test", portal.PowerStop, false), "VM.Config.CPU": portal.ApplyPackage("cli"), "VM.Config.Memory": portal.ApplyPackage("cli"),
		"VM.Config.Disk": portal.ApplyPackage("cli"), "VM.Config.Network": portal.ApplyPackage("cli"), "VM.Config.Options": portal.ApplyPackage("cli"),
	}
	if ask, ok := asks[privilege]; ok {
		op := w.ask(ask)
		w.run(time.Minute)
		if op = w.operation(op.ID); op.State == portal.StateSucceeded || !strings.Contains(op.StaffReason, privilege) {
			w.t.Errorf("without %s: %s, staff read %q", privilege, op.State, op.StaffReason)
		}
		if got := w.sim.Calls()[before:]; len(got) != 0 {
			w.t.Errorf("sent meanwhile: %+v", got)
		}
		if n := w.told("staff", "server.rights"); n != 1 {
			w.t.Errorf("staff were told %d times", n)
		}
	}
	if said := w.check(); privilege != "VM.Snapshot.Rollback" && !strings.Contains(strings.Join(said, " "), privilege) {
		w.t.Errorf("the check says %v", said)
	}
}

// TestPrivilegeOfOneMachine takes the right to one machine's archives by a rule on its own path: the storage's
// listing leaves them out without a word, and they are not believed gone.
func TestPrivilegeOfOneMachine(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{})
	w.make(2)
	w.must(w.sim.SetPrivileges(pvesim.PortalToken, "/vms/100", "VM.Audit"))
	w.run(2 * time.Hour)
	w.wantCopies(2, 2)
	if n := w.told("mail", "backup.vanished"); n != 0 {
		t.Errorf("%d mails about copies that are there", n)
	}
}

// TestStorageOffline takes the backup storage's mount away, in the two ways in which Proxmox shows that.
func TestStorageOffline(t *testing.T) {
	t.Parallel()
	for _, mountpoint := range []bool{true, false} {
		t.Run(fmt.Sprintf("mountpoint=%t", mountpoint), func(t *testing.T) {
			t.Parallel()
			w := scene(t, vault(func(st *pvesim.Storage) { st.Mountpoint = mountpoint }))
			w.make(3)
			w.every("03:00")
			w.until("11-21 01:30")
			before := len(w.sim.Calls())
			w.must(w.sim.SetStorage("vault", func(st *pvesim.Storage) { st.Gone = true }))
			w.until("11-21 04:00")
			if got := w.sim.Calls()[before:]; len(got) != 0 {
				t.Errorf("sent meanwhile: %+v", got)
			}
			w.wantCopies(3, 3)
			for _, c := range w.copies() {
				if c.Class != portal.ClassGood {
					t.Errorf("copy %s is %s", c.Volid, c.Class)
				}
			}
			op := w.last()
			want, staff := "the backup storage is offline. Our team has been told; your backups there are not touched", "not active"
			if !mountpoint {
				want, staff = "the backup storage looks different from before", "is it mounted?"
				if w.told("staff", "storage.doubt") != 1 {
					t.Error("staff weren't told of the doubt")
				}
			}
			if op.WaitsFor.String() != want || !strings.Contains(op.StaffReason, staff) || op.Attempt != 0 {
				t.Errorf("waits for %q, staff %q", op.WaitsFor, op.StaffReason)
			}
			if n := w.told("mail", "backup.vanished"); n != 0 {
				t.Errorf("%d mails about copies that are there", n)
			}
			w.must(w.sim.SetStorage("vault", func(st *pvesim.Storage) { st.Gone = false }))
			w.until("11-21 05:00")
			w.wantSlot("11-21", portal.SlotLate, "")
			w.wantCopies(3, 3)
		})
	}
}

// TestStorageOfflineByHand answers a person at once.
func TestStorageOfflineByHand(t *testing.T) {
	t.Parallel()
	w := scene(t, vault(func(st *pvesim.Storage) { st.Mountpoint = true }))
	w.must(w.sim.SetStorage("vault", func(st *pvesim.Storage) { st.Gone = true }))
	op := w.backupNow("", "")
	w.run(30 * time.Second)
	got := w.operation(op.ID)
	if got.State != portal.StateFailed || !strings.HasPrefix(got.Reason.String(), "The backup storage is offline.") || !strings.Contains(got.StaffReason, "vault") {
		t.Errorf("%s: %q, staff %q", got.State, got.Reason, got.StaffReason)
	}
	if len(w.sim.Calls()) != 0 {
		t.Errorf("sent: %+v", w.sim.Calls())
	}
}

// TestListingShort answers an empty or a shortened list of an active storage for a quarter of an hour: no verdict
// and no deletion before three listings over ten minutes, and with many at once not even then.
func TestListingShort(t *testing.T) {
	t.Parallel()
	for _, kind := range []pvesim.Kind{pvesim.EmptyListing, pvesim.TruncatedListing} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			w := scene(t, vault(nil))
			w.make(3)
			w.every("03:00")
			w.until("11-21 01:55")
			whole := w.inject(pvesim.Fault{Kind: kind, Method: "GET", Path: `/storage/vault/content$`})
			w.until("11-21 02:04")
			if op := w.last(); op.WaitsFor == "" || op.Attempt != 0 || !strings.Contains(op.StaffReason, "expected on the storage") {
				t.Errorf("waits for %q, staff %q", op.WaitsFor, op.StaffReason)
			}
			if n := len(w.changes("DELETE", "")); n != 0 {
				t.Errorf("%d deletions on a list that lacks archives", n)
			}
			w.wantCopies(3, 3)
			whole()
			w.until("11-21 03:00")
			w.wantSlot("11-21", portal.SlotDone, "")
			w.wantCopies(3, 3)
			if n := w.told("mail", "backup.vanished"); n != 0 {
				t.Errorf("%d mails", n)
			}
		})
	}
}

// TestListingShortLate shortens the list after preflight was content with it: nothing is deleted on it.
func TestListingShortLate(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{})
	w.make(3)
	w.every("03:00")
	w.until("11-21 01:59")
	w.waitFor(5*time.Minute, "the step", func() bool { return w.last().Step == portal.StepEvict })
	whole := w.inject(pvesim.Fault{Kind: pvesim.TruncatedListing, Method: "GET", Path: `/content$`, Keep: 2})
	w.run(8 * time.Minute)
	if n := len(w.changes("DELETE", "")); n != 0 {
		t.Errorf("%d deletions on a list that lacks an archive\n%s", n, w.story())
	}
	whole()
	w.until("11-21 03:00")
	w.wantSlot("11-21", portal.SlotDone, "")
	w.wantCopies(3, 3)
}

// TestVanishedElsewhere has another customer's archives vanish together: on a storage in doubt nothing is deleted by
// itself, not even where one's own list is whole.
func TestVanishedElsewhere(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{Product: func(p *portal.Product) { p.Quota = 4 }})
	bob := w.another(w.newClient("Bob"), 101)
	bob.make(4)
	for _, a := range w.sim.Archives() {
		w.must(w.sim.RemoveArchive("", a.Volid))
	}
	quota := 2
	w.must(w.db.SetServiceQuota(context.Background(), "cli", w.service.UID, &quota))
	w.make(2)
	w.every("03:00")
	w.until("11-21 03:00")
	op := w.last()
	if op.WaitsFor.String() != "there is no free place, and nothing is removed by itself right now" || !strings.Contains(op.StaffReason, "4 of 4 together") {
		t.Errorf("%s, waits for %q, staff %q", op.State, op.WaitsFor, op.StaffReason)
	}
	if n := len(w.changes("DELETE", "")); n != 0 {
		t.Errorf("%d deletions", n)
	}
	w.wantCopies(2, 2)
	if got := len(bob.complete()); got != 4 {
		t.Errorf("%d of Bob's 4 copies are believed there", got)
	}
}

// TestVanishedOne removes one archive outside the portal: after three listings its row says so, the counter falls,
// the client and staff are told once, and it comes back when the archive does.
func TestVanishedOne(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{})
	w.make(3)
	gone := w.sim.Archives()[1]
	w.must(w.sim.RemoveArchive("", gone.Volid))
	began := w.clock.Now()
	missing := func() bool {
		return slices.ContainsFunc(w.copies(), func(b portal.Backup) bool { return b.Class == portal.ClassMissing })
	}
	w.lists()
	w.lists()
	w.lists()
	if missing() {
		t.Fatal("believed missing after three listings at one instant")
	}
	w.waitFor(time.Hour, "a missing copy", missing)
	if took := w.clock.Now().Sub(began); took < 10*time.Minute {
		t.Errorf("believed after %s", took)
	}
	w.wantCopies(2, 2)
	for _, channel := range []string{"mail", "staff"} {
		if n := w.told(channel, "backup.vanished"); n != 1 {
			t.Errorf("%s: told %d times", channel, n)
		}
	}
	w.run(2 * time.Hour)
	if n := w.told("mail", "backup.vanished"); n != 1 {
		t.Errorf("told %d times", n)
	}
	w.must(w.sim.AddArchive(gone))
	w.run(15 * time.Minute)
	w.wantCopies(3, 3)
	if missing() {
		t.Error("still missing although it is there again")
	}
}

// TestVanishedTogether lets most archives of a storage vanish at once: nobody believes it before staff say so.
func TestVanishedTogether(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{Product: func(p *portal.Product) { p.Quota = 2 }})
	w.make(2)
	other := w.another(w.newClient("Bob"), 101)
	other.make(2)
	for _, a := range w.sim.Archives() {
		w.must(w.sim.RemoveArchive("", a.Volid))
	}
	w.every("03:00")
	w.until("11-21 04:00")
	if got, of := len(w.complete()), len(other.complete()); got != 2 || of != 2 {
		t.Fatalf("%d and %d copies are believed there, want 2 and 2: nobody confirmed anything\n%s", got, of, w.story())
	}
	if n := w.told("staff", "storage.doubt"); n != 1 {
		t.Errorf("staff were told %d times", n)
	}
	if n := w.told("mail", "backup.vanished"); n != 0 {
		t.Errorf("%d mails", n)
	}
	row, err := w.db.StorageAt(context.Background(), w.server.ID, "pve1", "local")
	if err != nil || !strings.Contains(row.Doubt, "4 of 4 together") {
		t.Fatalf("doubt %q, %v", row.Doubt, err)
	}
	if op := w.last(); !strings.Contains(op.StaffReason, "without authority") && !strings.Contains(op.StaffReason, "doubt") {
		t.Errorf("staff read %q", op.StaffReason)
	}
	w.must(w.db.ConfirmDoubt(context.Background(), "staff:test", row.ID))
	w.pass(w.clock.Now().Add(time.Hour), func() bool { return false })
	w.wantSlot("11-21", portal.SlotLate, "")
	if got, of := len(w.complete()), len(other.complete()); got != 1 || of != 0 {
		t.Errorf("%d and %d copies after staff confirmed, want 1 and 0\n%s", got, of, w.story())
	}
	if n := w.told("mail", "backup.vanished"); n != 4 {
		t.Errorf("%d mails, want one for each copy", n)
	}
	if row, _ = w.db.StorageAt(context.Background(), w.server.ID, "pve1", "local"); row.Doubt != "" || row.Confirmed {
		t.Errorf("the doubt stays: %q, confirmed %t", row.Doubt, row.Confirmed)
	}
}

// TestTokenRevoked refuses the token while a backup waits and while one runs.
func TestTokenRevoked(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{})
	w.every("03:00")
	w.until("11-21 01:50")
	w.must(w.sim.RevokeToken(pvesim.PortalToken))
	w.until("11-21 02:30")
	server, err := w.db.Server(context.Background(), w.server.ID)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(server.Trouble, "The API token was not accepted") {
		t.Errorf("staff read %q", server.Trouble)
	}
	if op := w.last(); op.WaitsFor.String() != "your host can't be reached" || op.Attempt != 0 {
		t.Errorf("waits for %q, %d attempts", op.WaitsFor, op.Attempt)
	}
	if n := w.told("staff", "server.unreachable"); n != 1 {
		t.Errorf("staff were told %d times", n)
	}
}

// TestTokenRevokedWhileDumping doesn't take a refused look for the end of a backup.
func TestTokenRevokedWhileDumping(t *testing.T) {
	t.Parallel()
	w := scene(t, slow())
	op := w.backupNow("", "")
	w.waitFor(time.Minute, "a running backup", func() bool { return w.operation(op.ID).Percent > 0 })
	again := w.inject(pvesim.Fault{Kind: pvesim.Refuse, Status: 401, Reason: "permission denied - invalid token value!"})
	w.run(time.Hour)
	if got := w.operation(op.ID); got.State != portal.StateRunning || got.WaitsFor.String() != "we can't reach your host" || !strings.Contains(got.StaffReason, "auth") {
		t.Errorf("%s, waits for %q, staff %q", got.State, got.WaitsFor, got.StaffReason)
	}
	again()
	w.settle(time.Hour)
	if got := w.operation(op.ID); got.State != portal.StateSucceeded {
		t.Errorf("%s: %s", got.State, got.Reason)
	}
	w.wantCopies(1, 1)
}

// TestCertificateChanged shows another certificate than the pinned one, over real TLS.
func TestCertificateChanged(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{})
	tls := httptest.NewUnstartedServer(w.sim)
	tls.Config.ErrorLog = log.New(io.Discard, "", 0) // says that we hung up, which is the point
	tls.StartTLS()
	defer tls.Close()
	ctx := context.Background()
	sum := sha256.Sum256(tls.Certificate().Raw)
	pinned := hex.EncodeToString(sum[:])
	for _, fingerprint := range []string{strings.Repeat("cd", 32), pinned} {
		s, err := w.db.AddServer(ctx, "cli", portal.Server{Name: fingerprint[:4], Endpoints: []string{tls.URL}, TokenID: pvesim.PortalToken, Fingerprints: []string{fingerprint}}, pvesim.Secret)
		if err != nil {
			t.Fatal(err)
		}
		engine := jobs.New(jobs.Options{DB: w.db, Now: w.clock.Now, Transport: func(s portal.Server) http.RoundTripper {
			if s.ID == w.server.ID {
				return w.sim
			}
			return nil
		}})
		defer engine.Close()
		if err := engine.Sync(ctx); err != nil {
			t.Fatal(err)
		}
		if s, err = w.db.Server(ctx, s.ID); err != nil {
			t.Fatal(err)
		}
		if fingerprint == pinned {
			if s.Trouble != "" || !s.UnreachableSince.IsZero() || s.Release == "" {
				t.Errorf("the pinned certificate: %q", s.Trouble)
			}
			continue
		}
		if !strings.HasPrefix(s.Trouble, "The certificate is not the one that was pinned") || !strings.Contains(s.Trouble, pve.WithColons(pinned)) || s.UnreachableSince.IsZero() {
			t.Errorf("staff read %q", s.Trouble)
		}
		if n := w.told("staff", "server.unreachable"); n != 1 {
			t.Errorf("staff were told %d times", n)
		}
		findings, err := engine.Check(ctx, s)
		if err != nil || len(findings) != 1 || findings[0].Level != "error" || !strings.Contains(findings[0].Text.String(), "certificate") {
			t.Errorf("check: %+v, %v", findings, err)
		}
	}
}

// TestForeignBackup has a backup of the provider's on the host, of another machine and of this one: ours waits its
// turn, and no attempt is counted.
func TestForeignBackup(t *testing.T) {
	t.Parallel()
	for _, vmid := range []int{100, 101} {
		t.Run(fmt.Sprint(vmid), func(t *testing.T) {
			t.Parallel()
			w := scene(t, worldOptions{})
			w.every("03:00")
			w.until("11-21 01:59")
			_, err := w.sim.StartForeignBackup("pve1", vmid, "local", map[string]string{"remove": "0", "bwlimit": "1024"})
			w.must(err)
			w.until("11-21 02:01")
			op := w.last()
			if op.State != portal.StateQueued || op.WaitsFor == "" || op.Attempt != 0 {
				t.Errorf("%s, waits for %q", op.State, op.WaitsFor)
			}
			if n := len(w.changes("POST", "/vzdump")); n != 0 {
				t.Errorf("%d requests beside the provider's backup", n)
			}
			w.until("11-21 03:30")
			if s := w.slot("11-21"); s.State != portal.SlotDone && s.State != portal.SlotLate {
				t.Errorf("slot %s: %s\n%s", s.State, s.Reason, w.story())
			}
			if op := w.last(); op.Attempt != 0 {
				t.Errorf("%d attempts", op.Attempt)
			}
			w.wantCopies(1, 2)
		})
	}
}

// TestForeignBackupBetween starts the provider's backup after the last look at the whole server: preflight looks at
// the host itself.
func TestForeignBackupBetween(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{})
	started := false
	w.wrap = func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			if strings.HasSuffix(r.URL.Path, "/qemu/100/status/current") && !started {
				started = true
				_, err := w.sim.StartForeignBackup("pve1", 101, "local", map[string]string{"remove": "0", "bwlimit": "1024"})
				w.must(err)
			}
			return next.RoundTrip(r)
		})
	}
	w.restart()
	op := w.backupNow("", "")
	w.round()
	if got := w.operation(op.ID); got.State != portal.StateQueued || got.WaitsFor.String() != "a backup of your provider's runs on your host" || len(w.sim.Calls()) != 0 {
		t.Errorf("%s, waits for %q, sent %d", got.State, got.WaitsFor, len(w.sim.Calls()))
	}
	w.settle(time.Hour)
	if got := w.operation(op.ID); got.State != portal.StateSucceeded {
		t.Errorf("%s: %s", got.State, got.Reason)
	}
}

// TestForeignBackupUnseen starts the provider's backup right before our request: ours waits for the host's lock in
// its own task, within the time that is left, and goes back into the queue when that is over.
func TestForeignBackupUnseen(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{Product: func(p *portal.Product) { p.StartWindow = time.Hour }})
	w.every("03:00")
	w.until("11-21 01:59")
	started := false
	w.wrap = func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodPost && !started {
				started = true
				_, err := w.sim.StartForeignBackup("pve1", 101, "local", map[string]string{"remove": "0", "bwlimit": "8"})
				w.must(err)
			}
			return next.RoundTrip(r)
		})
	}
	w.restart()
	w.until("11-21 02:10")
	if op := w.last(); op.State != portal.StateRunning || op.WaitsFor.String() != "another backup runs on your host" {
		t.Errorf("%s, waits for %q\n%s", op.State, op.WaitsFor, w.story())
	}
	calls := w.changes("POST", "/vzdump")
	if len(calls) != 1 || calls[0].Params["lockwait"] != "59" && calls[0].Params["lockwait"] != "60" {
		t.Errorf("requests %+v", calls)
	}
	w.until("11-21 04:00")
	w.wantSlot("11-21", portal.SlotMissed, "another backup runs on your host")
	if op := w.last(); op.Attempt != 0 || op.State != portal.StateFailed {
		t.Errorf("%s after %d attempts: %s", op.State, op.Attempt, op.StaffReason)
	}
	w.wantCopies(0, 0)
	if n := len(w.column(`SELECT id FROM backups WHERE class = 'running'`)); n != 0 {
		t.Errorf("%d copies are shown as being made", n)
	}
}

// TestForeignBackupLong waits in the host's own line for longer than a task may stand still: that is no reason to
// call a person.
func TestForeignBackupLong(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{})
	op := w.backupNow("", "")
	w.waitFor(time.Minute, "preflight", func() bool { return w.operation(op.ID).Step == portal.StepDump })
	foreign, err := w.sim.StartForeignBackup("pve1", 101, "local", map[string]string{"remove": "0", "bwlimit": "8"})
	w.must(err)
	w.coarsely("11-20 15:30")
	if got := w.operation(op.ID); got.State != portal.StateRunning || got.WaitsFor.String() != "another backup runs on your host" {
		t.Fatalf("after four hours: %s, waits for %q, staff %q", got.State, got.WaitsFor, got.StaffReason)
	}
	w.must(w.sim.KillTask(foreign))
	w.settle(time.Hour)
	if got := w.operation(op.ID); got.State != portal.StateSucceeded {
		t.Errorf("%s: %s", got.State, got.Reason)
	}
}

// TestStuck holds a backup of which nothing was heard for two hours, and goes on when staff say so.
func TestStuck(t *testing.T) {
	t.Parallel()
	w := scene(t, slow())
	op := w.backupNow("", "")
	w.waitFor(5*time.Minute, "a running backup", func() bool { return w.operation(op.ID).Percent > 0 })
	end := w.inject(pvesim.Fault{Kind: pvesim.TruncatedListing, Method: "GET", Path: `/log$`, Keep: 20})
	w.wrap = func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			if strings.HasSuffix(r.URL.Path, "/status") && strings.Contains(r.URL.Path, "/tasks/") {
				return answer(r, `{"data":{"status":"running"}}`), nil
			}
			return next.RoundTrip(r)
		})
	}
	w.restart()
	w.coarsely("11-20 13:30")
	got := w.operation(op.ID)
	if got.State != portal.StateHeld || got.Reason.String() != "This takes much longer than usual. Our team has been told and looks at it." || !strings.Contains(got.StaffReason, "2 h") {
		t.Fatalf("%s: %q, staff %q", got.State, got.Reason, got.StaffReason)
	}
	if n := w.told("staff", "operation.held"); n != 1 {
		t.Errorf("staff were told %d times", n)
	}
	if _, err := w.db.Enqueue(context.Background(), w.client, w.service.UID, portal.ManualBackup("client:test", "", "")); portal.CodeOf(err) != portal.CodeBusy {
		t.Errorf("another backup meanwhile: %v", err)
	}
	w.wrap = nil
	w.restart()
	end()
	_, err := w.db.Resume(context.Background(), op.UID, "staff:test")
	w.must(err)
	w.settle(time.Hour)
	if got := w.operation(op.ID); got.State != portal.StateSucceeded {
		t.Errorf("%s: %s\n%s", got.State, got.Reason, w.story())
	}
	w.wantCopies(1, 1)
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestPreviousStillRunning lets a backup take longer than until the next one's last moment.
func TestPreviousStillRunning(t *testing.T) {
	t.Parallel()
	o := slow()
	limit := o.Product
	o.Product = func(p *portal.Product) { limit(p); p.BWLimit = 8 }
	w := scene(t, o)
	w.every("03:00")
	w.coarsely("11-22 02:30")
	ops := w.operations()
	if len(ops) != 2 || ops[0].WaitsFor != portal.ReasonPreviousRunning || ops[0].State != portal.StateQueued {
		t.Fatalf("the second night: %+v\n%s", ops, w.story())
	}
	w.coarsely("11-22 08:30")
	w.wantSlot("11-22", portal.SlotMissed, portal.ReasonPreviousRunning.String())
	if n := w.told("mail", "backup.missed"); n != 1 {
		t.Errorf("%d mails", n)
	}
	if got := w.operations()[1]; got.State != portal.StateRunning {
		t.Errorf("the first night's is %s: %s", got.State, got.Reason)
	}
}

// TestLockKnown refuses by hand what a known lock forbids, without any change being sent; the night's waits.
func TestLockKnown(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{})
	w.must(w.sim.SetLock(100, "snapshot"))
	w.run(5 * time.Minute)
	_, err := w.db.Enqueue(context.Background(), w.client, w.service.UID, portal.ManualBackup("client:test", "", ""))
	if portal.CodeOf(err) != portal.CodeBusy || !strings.Contains(err.Error(), "snapshot in progress") {
		t.Fatalf("refused with %v", err)
	}
	w.every("03:00")
	w.until("11-21 02:30")
	if op := w.last(); op.WaitsFor.String() != "the machine is busy: snapshot in progress" || op.Attempt != 0 {
		t.Errorf("waits for %q", op.WaitsFor)
	}
	if len(w.sim.Calls()) != 0 {
		t.Errorf("sent: %+v", w.sim.Calls())
	}
	w.must(w.sim.Unlock(100))
	w.until("11-21 03:00")
	w.wantSlot("11-21", portal.SlotLate, "")
}

// TestLockUnknown sets a lock that no look has seen yet: preflight sees it, and the operation ends within seconds.
func TestLockUnknown(t *testing.T) {
	t.Parallel()
	for _, lock := range []string{"backup", "snapshot", "snapshot-delete", "rollback", "migrate", "create", "clone", "suspended", "disk"} {
		t.Run(lock, func(t *testing.T) {
			t.Parallel()
			w := scene(t, worldOptions{})
			op := w.backupNow("", "")
			w.must(w.sim.SetLock(100, lock))
			began := w.clock.Now()
			for range 5 {
				if _, err := w.engine.Drive(context.Background()); err != nil {
					t.Fatal(err)
				}
				w.clock.set(w.clock.Now().Add(time.Second))
			}
			got := w.operation(op.ID)
			if got.State != portal.StateFailed || got.EndedAt.Sub(began) > 5*time.Second || !strings.HasPrefix(got.Reason.String(), "Your machine is busy: its host says") {
				t.Errorf("%s: %q", got.State, got.Reason)
			}
			if !strings.Contains(got.StaffReason, lock) {
				t.Errorf("staff read %q", got.StaffReason)
			}
			if len(w.sim.Calls()) != 0 {
				t.Errorf("sent: %+v", w.sim.Calls())
			}
		})
	}
}

// TestLockLate sets the lock between preflight and the request: the task refuses, no attempt is counted.
func TestLockLate(t *testing.T) {
	t.Parallel()
	for _, manual := range []bool{true, false} {
		t.Run(fmt.Sprintf("manual=%t", manual), func(t *testing.T) {
			t.Parallel()
			w := scene(t, worldOptions{})
			locked := false
			w.wrap = func(next http.RoundTripper) http.RoundTripper {
				return roundTrip(func(r *http.Request) (*http.Response, error) {
					if r.Method == http.MethodPost && !locked {
						locked = true
						w.must(w.sim.SetLock(100, "snapshot"))
					}
					return next.RoundTrip(r)
				})
			}
			w.restart()
			if manual {
				op := w.backupNow("", "")
				w.run(3 * time.Minute)
				if got := w.operation(op.ID); got.State != portal.StateFailed || !strings.Contains(got.Reason.String(), "snapshot in progress") || got.Attempt != 0 {
					t.Errorf("%s after %d attempts: %q\n%s", got.State, got.Attempt, got.Reason, w.story())
				}
			} else {
				w.every("03:00")
				w.until("11-21 02:30")
				if op := w.last(); op.State != portal.StateQueued || op.Attempt != 0 || !strings.Contains(op.WaitsFor.String(), "snapshot in progress") {
					t.Errorf("%s after %d attempts, waits for %q\n%s", op.State, op.Attempt, op.WaitsFor, w.story())
				}
				w.must(w.sim.Unlock(100))
				w.until("11-21 03:00")
				w.wantSlot("11-21", portal.SlotLate, "")
			}
			if n := len(w.column(`SELECT id FROM backups WHERE class = 'running'`)); n != 0 {
				t.Errorf("%d copies are shown as being made", n)
			}
		})
	}
}

// TestKilledDump kills vzdump without a word; the lock it leaves is root's to release, and the night waits for that.
func TestKilledDump(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{})
	w.make(1)
	w.every("03:00")
	w.until("11-21 01:30")
	w.inject(pvesim.Fault{Kind: pvesim.TaskKilled, Method: "POST", Path: `/vzdump$`, Count: 1, Share: 0.5})
	w.until("11-21 02:30")
	op := w.last()
	if op.State != portal.StateQueued || op.Attempt != 1 || op.WaitsFor.String() != "the machine is busy: backup in progress" {
		t.Fatalf("%s after %d attempts, waits for %q\n%s", op.State, op.Attempt, op.WaitsFor, w.story())
	}
	if !strings.Contains(w.story(), "unexpected status") {
		t.Errorf("staff can't see how the task ended:\n%s", w.story())
	}
	w.must(w.sim.Unlock(100))
	w.until("11-21 03:30")
	w.wantSlot("11-21", portal.SlotLate, "")
	w.wantCopies(2, 2)
}

// TestKilledDumpNeverUnlocked leaves the lock there until the backup may not start any more.
func TestKilledDumpNeverUnlocked(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{})
	w.every("03:00")
	w.until("11-21 01:30")
	w.inject(pvesim.Fault{Kind: pvesim.TaskKilled, Method: "POST", Path: `/vzdump$`, Count: 1, Share: 0.5})
	w.until("11-21 08:30")
	if s := w.slot("11-21"); s.State != portal.SlotFailed {
		t.Errorf("slot %s: %s\n%s", s.State, s.Reason, w.story())
	}
	if n := len(w.column(`SELECT id FROM backups WHERE class = 'running'`)); n != 0 {
		t.Errorf("%d copies are shown as being made", n)
	}
	if n := w.told("mail", "backup.failed"); n != 1 {
		t.Errorf("%d mails", n)
	}
}
