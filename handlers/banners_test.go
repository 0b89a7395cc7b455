package handlers_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"stowage/portal"
	"stowage/store"
)

// notices gives the kinds of the banners on a page.
func notices(a answer) (kinds []string) {
	for _, n := range a.all("data-notice") {
		kinds = append(kinds, attr(n, "data-notice"))
	}
	return kinds
}

func TestBanners(t *testing.T) {
	t.Parallel()
	s := open(t)
	ctx := t.Context()
	v := s.as("ada@demo.test")
	page := func() answer { return v.get(backups(s.h100)).want(200) }
	if got := notices(page()); len(got) != 0 {
		t.Errorf("banners without a reason: %v", got)
	}

	s.clock.pass(121 * time.Second)
	page().want(200, "standing still since 13:00")
	if got := notices(page()); !slices.Equal(got, []string{"tick"}) {
		t.Errorf("tick: %v", got)
	}
	s.must(s.db.Renew(ctx, true))

	s.must(s.db.SaveUnreachable(ctx, s.pve.ID, "connection refused"))
	a := page().want(200, "We can't reach your host since 13:02.", "You see its state from then. Scheduled backups will be caught up.")
	if strings.Contains(a.text(), "connection refused") {
		t.Error("a client reads the exact trouble")
	}
	v.get("/services").want(200, "Last seen 13:00")
	s.as("admin@demo.test").get("/admin/servers").want(200, "Unreachable since 12:02: connection refused")
	s.must(s.db.SaveInventory(ctx, store.Inventory{ServerID: s.pve.ID, Nodes: []portal.Node{{Name: "pve1", Online: false}}}))
	page().want(200, "We can't reach your host since 13:02.")
	s.must(s.db.SaveInventory(ctx, store.Inventory{ServerID: s.pve.ID, Nodes: []portal.Node{{Name: "pve1", Online: true}}}))

	s.must(s.db.SaveSightings(ctx, []store.Sighting{{ServiceID: s.h100.ID, Node: "pve1", Status: "running", Lock: "migrate"}}))
	page().want(200, "Your machine is locked on its host (moving to another host) since 13:02.", "Your machine is busy: its host says")
	v.post(backups(s.h100)).want(409, "Your machine is busy")
	s.must(s.db.SaveSightings(ctx, []store.Sighting{{ServiceID: s.h100.ID, Node: "pve1", Status: "running"}}))

	for state, want := range map[portal.ServiceState]string{
		portal.ServiceMachineGone: "gone", portal.ServiceMachineReplaced: "replaced", portal.ServiceSuspended: "suspended", portal.ServiceTerminating: "closing",
	} {
		svc, err := s.db.ServiceByUID(ctx, s.h100.UID)
		s.must(err)
		s.must(s.db.SetServiceState(ctx, "cli", svc, state, "test"))
		if got := notices(page()); !slices.Contains(got, want) {
			t.Errorf("%s: %v", state, got)
		}
		if a := v.post(backups(s.h100)); a.StatusCode != 409 && a.StatusCode != 403 {
			t.Errorf("%s: Backup now answers %d", state, a.StatusCode)
		}
		if n := button(page(), "backup-now"); n == nil || !has(n, "disabled") {
			t.Errorf("%s: the button is not disabled", state)
		}
	}
}

func TestNeverAFrozenFigure(t *testing.T) {
	t.Parallel()
	s := open(t)
	ctx := t.Context()
	op := s.begin(s.h100, "")
	op.Percent, op.DoneBytes, op.TotalBytes, op.Rate = 63, 20<<30, 32<<30, 200<<20
	s.must(s.db.Save(ctx, "progress", &op, store.Changes{}))
	v := s.as("ada@demo.test")
	v.get(backups(s.h100)).want(200, "63 %", "20 of 32 GiB", "200 MiB/s", "about 1 min left", "Busy Backing up since 13:00")
	s.must(s.db.SaveUnreachable(ctx, s.pve.ID, "timeout"))
	a := v.get(backups(s.h100)).want(200, "We can't reach your host since 13:00.")
	if strings.Contains(a.text(), "63 %") || strings.Contains(a.text(), "200 MiB/s") {
		t.Error("63 % stands still while the host can't be reached")
	}
	s.must(s.db.SaveInventory(ctx, store.Inventory{ServerID: s.pve.ID}))
	s.clock.pass(10 * time.Minute)
	a = v.get(backups(s.h100)).want(200, "has not looked at your host since 13:00")
	if strings.Contains(a.text(), "63 %") {
		t.Error("63 % stands still while the scheduler does")
	}
}

func TestQuotas(t *testing.T) {
	t.Parallel()
	s := open(t)
	ctx := t.Context()
	v := s.as("ada@demo.test")
	for i := range 3 {
		s.addCopy(s.h100, time.Duration(26+i)*time.Hour, "")
	}
	one, none := 1, 0
	s.must(s.db.SetServiceQuota(ctx, "cli", s.h100.UID, &one))
	a := v.get(backups(s.h100)).want(200, "3/1", ", remove 2")
	if got := a.mark("data-count", "backups"); got != "3/1" {
		t.Errorf("the counter's mark: %q", got)
	}
	s.must(s.db.SetServiceQuota(ctx, "cli", s.h100.UID, &none))
	v.get(backups(s.h100)).want(200, "3/0", "Your package includes no new backups. Those you have stay")
	v.post(backups(s.h100)).want(409, "Your package includes no backups.")
	s.must(s.db.SetServiceQuota(ctx, "cli", s.h200.UID, &none))
	g := s.as("grace@demo.test")
	g.get(backups(s.h200)).wantTo("/services/" + s.h200.UID)
	if strings.Contains(g.get("/services/"+s.h200.UID).want(200).body, "/backups") {
		t.Error("a service without backups leads to the hidden page")
	}
	g.get("/services").want(200, "not included")
}
