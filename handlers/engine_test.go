package handlers_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"stowage/jobs"
	"stowage/portal"
	"stowage/pve/pvesim"
)

// TestFromButtonToList presses the buttons over HTTP and lets the engine work on a simulated Proxmox VE, under one
// clock that the test moves. It is the story that a newcomer can run.
func TestFromButtonToList(t *testing.T) {
	t.Parallel()
	s := open(t)
	ctx := t.Context()
	sim, err := pvesim.New(pvesim.ContractWorld(1, 2), pvesim.Options{Now: s.clock.now, Speed: 1, Seed: 1})
	s.must(err)
	engine := jobs.New(jobs.Options{DB: s.db, Now: s.clock.now, Workers: 1, Transport: func(portal.Server) http.RoundTripper { return sim }})
	t.Cleanup(engine.Close)
	server, err := s.db.AddServer(ctx, "cli", portal.Server{
		Name: "sim", Endpoints: []string{"https://pve1.test:8006"}, TokenID: pvesim.PortalToken, Fingerprints: []string{strings.Repeat("ab", 32)},
	}, pvesim.Secret)
	s.must(err)
	svc, err := engine.AdoptMachine(ctx, "cli", server, portal.Service{ClientID: s.ada.ID, ProductID: s.product.ID, VMID: 100}, "Europe/Berlin")
	s.must(err)
	s.must(s.db.SaveUnreachable(ctx, s.pve.ID, "there is none in this test"))
	rounds := func(d time.Duration) {
		for end := s.clock.now().Add(d); s.clock.now().Before(end); s.clock.pass(time.Second) {
			_ = engine.Sync(ctx) // the other server can't be reached
			s.must(engine.Tick(ctx))
			_, err := engine.Drive(ctx)
			s.must(err)
		}
	}
	rounds(2 * time.Second)

	v := s.as("ada@demo.test")
	v.get(backups(svc)).want(200, "0/3", "There is no backup yet. If it broke now you would lose everything.")
	live := v.listen("/services/" + svc.UID + "/events?page=backups")
	live.until("ledger", "")
	v.post(backups(svc), "note", "before the upgrade").wantTo(backups(svc))
	live.until("running", "before the upgrade")
	rounds(3 * time.Second)
	live.until("status", "Backing up since 13:00")
	live.until("running", "Writing the copy")
	v.post(backups(svc)).want(409, "A backup of this machine is running already")
	rounds(30 * time.Second)
	live.until("counter", "1/3")
	a := v.get(backups(svc)).want(200, "If it broke now you would lose", "before the upgrade", "scsi0 1.0 GiB")
	rows := a.all("data-backup")
	if len(rows) != 1 || attr(rows[0], "data-state") != "good" || attr(rows[0], "data-origin") != "manual" {
		t.Fatalf("rows: %s", a.text())
	}
	uid := attr(rows[0], "data-backup")
	b, err := s.db.ClientBackup(ctx, s.ada.ID, svc.UID, uid)
	s.must(err)
	if !strings.Contains(archives(t, sim), b.Volid) {
		t.Errorf("the page shows %s, which Proxmox does not hold: %s", b.Volid, archives(t, sim))
	}
	operation := regexp.MustCompile(`/services/` + svc.UID + `/operations/[0-9a-z]{26}`).FindString(v.get("/services/" + svc.UID + "/operations").body)
	v.get(operation).want(200, "The backup is in your list.", "Checked your machine, the storage and the free places.", "The backup begins.")
	if body := v.get(operation).body; strings.Contains(body, "UPID:") || strings.Contains(body, "local:backup") {
		t.Error("a client reads Proxmox's names")
	}

	v.post(backups(svc, uid, "delete")).wantTo(backups(svc))
	rounds(30 * time.Second)
	live.until("counter", "0/3")
	if strings.Contains(archives(t, sim), b.Volid) {
		t.Error("the removed copy is still there")
	}
	v.get(operation).want(200, "The backup was made, and has been removed since.")
	v.get("/services/"+svc.UID+"/operations").want(200, "Removal of the copy of Fri 20 Nov 13:00", "Done")
}

// archives lists what the simulated storage holds, as Proxmox answers it.
func archives(t *testing.T, sim *pvesim.Sim) string {
	t.Helper()
	r := httptest.NewRequest("GET", "/api2/json/nodes/pve1/storage/local/content?content=backup", nil)
	r.Header.Set("Authorization", "PVEAPIToken="+pvesim.SimToken+"="+pvesim.Secret)
	w := httptest.NewRecorder()
	sim.ServeHTTP(w, r)
	body, err := io.ReadAll(w.Body)
	if err != nil || w.Code != http.StatusOK {
		t.Fatalf("listing: %d %v %s", w.Code, err, body)
	}
	return string(body)
}
