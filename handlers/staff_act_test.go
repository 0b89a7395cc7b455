package handlers_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"stowage/portal"
	"stowage/store"
)

// pressable tells whether the page has a button or link with this text that can be used.
func pressable(a answer, text string) bool {
	for n := range a.doc.Descendants() {
		if (n.Data == "button" || n.Data == "a") && read(n) == text && !has(n, "disabled") {
			return true
		}
	}
	return false
}

// audited gives the newest row of the audit log with the action.
func (s *site) audited(action string) store.Entry {
	s.t.Helper()
	entries, err := s.db.AuditLog(s.t.Context(), 0, 50)
	s.must(err)
	i := slices.IndexFunc(entries, func(e store.Entry) bool { return e.Action == action })
	if i < 0 {
		s.t.Errorf("the audit log has no %s", action)
		return store.Entry{}
	}
	return entries[i]
}

func TestStaffAskForACheck(t *testing.T) {
	t.Parallel()
	s := open(t)
	ctx := t.Context()
	server := "/admin/servers/" + s.pve.UID
	staff := s.as("operator@demo.test")
	staff.get(server).want(200, "Check asked for") // the engine checks a new server by itself
	s.must(s.db.SaveCheck(ctx, s.pve.ID, []portal.Finding{{Level: "ok", Text: "Proxmox VE 9.2 answers."}}))
	a := staff.get(server).want(200, "Proxmox VE 9.2 answers.")
	if strings.Contains(a.text(), "asked for") || !pressable(a, "Check now") {
		t.Error("a check that is done is still asked for, or no other can be")
	}
	staff.post(server + "/check").wantTo(server)
	staff.get(server).want(200, "The check is under way; its result appears here within seconds.", "Check asked for.", "Proxmox VE 9.2 answers.")
	v, err := s.db.Server(ctx, s.pve.ID)
	s.must(err)
	if !v.CheckedAt.IsZero() {
		t.Error("nothing tells the engine to check")
	}
	if e := s.audited("server.check"); e.EntityUID != s.pve.UID || !strings.HasPrefix(e.Actor, "staff:") {
		t.Errorf("audit: %+v", e)
	}
	staff.get(server + "/check").wantTo(server)
	staff.post("/admin/servers/nothing/check").want(404)
}

// lose makes a storage lose four archives of four at once.
func (s *site) lose() store.StorageRow {
	s.t.Helper()
	ctx := s.t.Context()
	for i := range 4 {
		s.addCopy([]portal.Service{s.h100, s.h200}[i%2], time.Duration(26+i)*time.Hour, "")
	}
	row, err := s.db.StorageAt(ctx, s.pve.ID, "pve1", "local")
	s.must(err)
	s.list(row)
	row, err = s.db.StorageOn(ctx, s.pve.UID, row.ID)
	s.must(err)
	if row.Doubt == "" {
		s.t.Fatal("the storage is not in doubt")
	}
	return row
}

// list is a listing of the storage that shows nothing, as the engine makes one.
func (s *site) list(row store.StorageRow) {
	s.t.Helper()
	l := store.Listing{ServerID: row.ServerID, Node: row.Node, Storage: row.Name}
	l.At, l.Answered, l.ActiveBefore, l.ActiveAfter, l.RightsSeen, l.TotalBefore, l.TotalAfter = s.db.Now(), true, true, true, true, row.Total, row.Total
	_, err := s.db.SaveListing(s.t.Context(), l)
	s.must(err)
}

func TestStaffConfirmWhatIsGone(t *testing.T) {
	t.Parallel()
	s := open(t)
	row := s.lose()
	server := "/admin/servers/" + s.pve.UID
	confirm := fmt.Sprintf("%s/storages/%d/confirm", server, row.ID)
	staff := s.as("admin@demo.test")
	staff.get("/admin").want(200, "Storages that lost many archives at once")
	if a := staff.get(server).want(200, "Waits for your word", "that is 4 of 4 together"); !pressable(a, "These archives are really gone") {
		t.Error("there is no way to confirm")
	}
	staff.get(confirm).want(200, "Are these archives really gone?", "local on pve1", "that is 4 of 4 together", "believed missing", "Clients are told", "this deletes nothing")
	if now, err := s.db.StorageOn(t.Context(), s.pve.UID, row.ID); err != nil || now.Confirmed {
		t.Errorf("to look at the question answered it: %v", err)
	}
	staff.post(confirm).wantTo(server)
	a := staff.get(server).want(200, "Confirmed. What the coming listings lack", "This was confirmed.")
	if pressable(a, "These archives are really gone") {
		t.Error("it can be confirmed twice")
	}
	if e := s.audited("storage.confirm"); e.EntityUID != "pve1/local" || !strings.HasPrefix(e.Actor, "staff:") {
		t.Errorf("audit: %+v", e)
	}
	for range 4 {
		s.clock.pass(5 * time.Minute)
		s.list(row)
	}
	s.must(s.db.Renew(t.Context(), true))
	if a := staff.get(server).want(200); strings.Contains(a.text(), "Waits for your word") {
		t.Error("the doubt stays")
	}
	if got := s.as("ada@demo.test").get(backups(s.h100)).want(200).mark("data-count", "backups"); got != "0/3" {
		t.Errorf("copies that are gone count: %s", got)
	}
	staff.post(confirm).want(409, "nothing to confirm")
	staff.get(confirm).want(200, "not in doubt any more")
}

func TestStaffLetRemovalsGoOn(t *testing.T) {
	t.Parallel()
	s := open(t)
	ctx := t.Context()
	row, err := s.db.StorageAt(ctx, s.pve.ID, "pve1", "local")
	s.must(err)
	s.must(s.db.SetBrake(ctx, "engine", row.Storage, true, "10 automatic deletions within an hour, 2 are usual"))
	server := "/admin/servers/" + s.pve.UID
	unbrake := fmt.Sprintf("%s/storages/%d/unbrake", server, row.ID)
	staff := s.as("operator@demo.test")
	staff.get(server).want(200, "Waits for your word", "Automatic removals stopped at 12:00", "Let removals go on")
	staff.post(unbrake).want(422, "Say why, in a few words.")
	staff.post(unbrake, "reason", "  ").want(422, "Say why, in a few words.")
	long := staff.post(unbrake, "reason", strings.Repeat("x", 501)).want(422, "at most 500 characters")
	if !strings.Contains(long.body, strings.Repeat("x", 501)) {
		t.Error("what was typed is lost")
	}
	if now, err := s.db.StorageOn(ctx, s.pve.UID, row.ID); err != nil || now.BrakeSince.IsZero() {
		t.Fatalf("the brake is off without a reason: %v", err)
	}
	staff.post(unbrake, "reason", "a move of machines").wantTo(server)
	a := staff.get(server).want(200, "Automatic removals go on there.")
	if strings.Contains(a.text(), "Waits for your word") {
		t.Error("the brake is still on")
	}
	if e := s.audited("storage.unbrake"); e.After != "a move of machines" || e.EntityUID != "pve1/local" || !strings.HasPrefix(e.Actor, "staff:") {
		t.Errorf("audit: %+v", e)
	}
	staff.post(unbrake, "reason", "once more").want(409, "Removals go on there already.")
	staff.get(unbrake).wantTo(server)
}

// TestStoragesOfOthers names a storage below another server, lets an auditor and a client press the buttons, and
// wants nothing to happen.
func TestStoragesOfOthers(t *testing.T) {
	t.Parallel()
	s := open(t)
	ctx := t.Context()
	row := s.lose()
	s.must(s.db.SetBrake(ctx, "engine", row.Storage, true, "test"))
	s.must(s.db.SaveCheck(ctx, s.pve.ID, nil))
	other, err := s.db.AddServer(ctx, "cli", portal.Server{Name: "other", Endpoints: []string{"https://127.0.0.1:2"}, TokenID: "portal@pve!api"}, "secret")
	s.must(err)
	before := s.trace()
	admin, auditor, client := s.as("admin@demo.test"), s.as("auditor@demo.test"), s.as("ada@demo.test")
	for _, action := range []string{"confirm", "unbrake"} {
		for _, id := range []string{fmt.Sprint(row.ID), "0", "x", "99999999999999999999"} {
			admin.post("/admin/servers/"+other.UID+"/storages/"+id+"/"+action, "reason", "because").want(404)
		}
		path := fmt.Sprintf("/admin/servers/%s/storages/%d/%s", s.pve.UID, row.ID, action)
		auditor.post(path, "reason", "because").want(403, "change nothing")
		client.post(path, "reason", "because").want(404)
	}
	admin.get(fmt.Sprintf("/admin/servers/%s/storages/%d/confirm", other.UID, row.ID)).want(404)
	client.get(fmt.Sprintf("/admin/servers/%s/storages/%d/confirm", s.pve.UID, row.ID)).want(404)
	auditor.post("/admin/servers/"+s.pve.UID+"/check").want(403, "change nothing")
	client.post("/admin/servers/" + s.pve.UID + "/check").want(404)
	a := auditor.get("/admin/servers/"+s.pve.UID).want(200, "Waits for your word", "Your login may look at everything, but change nothing.")
	for _, text := range []string{"Check now", "These archives are really gone", "Let removals go on"} {
		if pressable(a, text) {
			t.Errorf("an auditor can press %q", text)
		}
	}
	if b := auditor.get(fmt.Sprintf("/admin/servers/%s/storages/%d/confirm", s.pve.UID, row.ID)).want(200); pressable(b, "They are really gone") {
		t.Error("an auditor can confirm")
	}
	if got := s.trace(); !slices.Equal(got, before) {
		t.Errorf("something was done: %v", got)
	}
	if now, err := s.db.StorageOn(ctx, s.pve.UID, row.ID); err != nil || now.Confirmed || now.BrakeSince.IsZero() {
		t.Errorf("something changed: %+v, %v", now, err)
	}
}

func TestStaffReadHowToAcceptAMachine(t *testing.T) {
	t.Parallel()
	s := open(t)
	staff := s.as("operator@demo.test")
	page, command := "/admin/services/"+s.h100.UID, "stowage service accept-machine "+s.h100.UID+" --reason"
	if strings.Contains(staff.get(page).want(200).text(), "accept-machine") {
		t.Error("a machine that nobody questions is to be accepted")
	}
	for _, state := range []portal.ServiceState{portal.ServiceMachineReplaced, portal.ServiceMachineGone} {
		svc, err := s.db.ServiceByUID(t.Context(), s.h100.UID)
		s.must(err)
		s.must(s.db.SetServiceState(t.Context(), "engine", svc, state, "test"))
		staff.get(page).want(200, "Is this the right machine?", command)
	}
	if a := s.as("ada@demo.test").get("/services/" + s.h100.UID); a.StatusCode != http.StatusOK || strings.Contains(a.text(), "accept-machine") {
		t.Error("a client reads the command")
	}
}

func TestPausedService(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]portal.Pause{
		"server": {Scope: "server"}, "node": {Scope: "node", Target: "pve1"}, "storage": {Scope: "storage", Target: "local"}, "product": {Scope: "product"}, "service": {Scope: "service"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			ctx := t.Context()
			s.schedule(s.h100, "Europe/Berlin", "fri=14:00")
			switch p.Scope {
			case "product":
				p.Target = s.product.UID
			case "service":
				p.Target = s.h100.UID
			default:
				p.ServerID = s.pve.ID
			}
			p.Reason, p.EndsAt = "new disks.", s.clock.now().Add(2*time.Hour)
			p, err := s.db.AddPause(ctx, "cli", p)
			s.must(err)
			ada, grace := s.as("ada@demo.test"), s.as("grace@demo.test")
			if got := notices(ada.get(backups(s.h100)).want(200, "Automatic backups pause until Fri 20 Nov 15:00: new disks.")); !slices.Equal(got, []string{"paused"}) {
				t.Errorf("banners: %v", got)
			}
			s.as("admin@demo.test").get("/admin/services/"+s.h100.UID).want(200, "Automatic backups pause until")
			if got := notices(grace.get(backups(s.h200)).want(200)); slices.Contains(got, "paused") != (p.Scope != "service") {
				t.Errorf("banners of another service: %v", got)
			}

			s.clock.pass(61 * time.Minute)
			s.must(s.db.Renew(ctx, true))
			_, err = s.db.PlanDue(ctx)
			s.must(err)
			slots, err := s.db.Slots(ctx, s.h100.ID, start)
			s.must(err)
			if len(slots) != 1 || slots[0].State != portal.SlotSkipped || slots[0].Reason != portal.ReasonMaintenance || slots[0].Operation != "" {
				t.Fatalf("slots: %+v", slots)
			}
			if got := ada.get(backups(s.h100)).want(200).mark("data-slot", "2026-11-20"); !strings.Contains(strings.ToLower(got), "skipped maintenance.") {
				t.Errorf("the ledger says %q", got)
			}
			ada.post(backups(s.h100)).wantTo(backups(s.h100)) // by hand it still works

			_, err = s.db.EndPause(ctx, "cli", p.UID)
			s.must(err)
			if got := notices(ada.get(backups(s.h100)).want(200)); len(got) != 0 {
				t.Errorf("banners after its end: %v", got)
			}
			if s.audited("pause.add").EntityUID != p.UID || s.audited("pause.end").EntityUID != p.UID {
				t.Error("the audit log tells of another pause")
			}
			if _, err := s.db.EndPause(ctx, "cli", p.UID); portal.CodeOf(err) != portal.CodeConflict {
				t.Errorf("ending it twice: %v", err)
			}
		})
	}
}

// TestStaffSkipADate ends a scheduled backup that waits, with a reason: the date is skipped, and the next stays.
func TestStaffSkipADate(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.clock.pass(-50 * time.Hour) // Wednesday 11:00
	s.schedule(s.h100, "Europe/Berlin", "thu=03:00,fri=03:00")
	s.clock.pass(16 * time.Hour) // Thursday 03:00
	if _, err := s.db.PlanDue(t.Context()); err != nil {
		t.Fatal(err)
	}
	sit, err := s.db.Situation(t.Context(), s.h100.ID)
	s.must(err)
	page := "/admin/operations/" + sit.Operations[0].UID
	v := s.as("operator@demo.test")
	v.get(page).want(200, "Skip this date")
	v.post(page+"/skip").want(422, "Say why")
	v.post(page+"/skip", "reason", "the storage is being replaced").wantTo(page)
	v.get(page).want(200, "Skipped by our team.")
	v.post(page+"/skip", "reason", "again").want(409, "Only a scheduled backup that waits can be skipped.")
	slots, err := s.db.Slots(t.Context(), s.h100.ID, s.clock.now().Add(-time.Hour))
	s.must(err)
	if len(slots) != 1 || slots[0].State != portal.SlotSkipped || slots[0].Reason.String() != "skipped by our team" {
		t.Errorf("slots: %+v", slots)
	}
	schedule, err := s.db.Schedule(t.Context(), s.h100.ID)
	s.must(err)
	if schedule.NextDue.IsZero() {
		t.Error("the next date is gone")
	}
}
