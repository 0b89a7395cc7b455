package handlers_test

import (
	"strings"
	"testing"

	"stowage/portal"
	"stowage/store"
)

// sees sets how the machine was last seen.
func (s *site) sees(svc portal.Service, status, lock string) {
	s.t.Helper()
	s.must(s.db.SaveSightings(s.t.Context(), []store.Sighting{{ServiceID: svc.ID, Node: "pve1", Status: status, Lock: lock}}))
}

// TestPowerPages: a machine that runs offers what ends that, one that is off its start; what hurts asks first; each asks
// for one operation.
func TestPowerPages(t *testing.T) {
	t.Parallel()
	s := open(t)
	ada, service := s.as("ada@demo.test"), "/services/"+s.h100.UID
	a := ada.get(service).want(200, "Reboot", "Shut down", "Stop", "Reset password", "Reinstall")
	if strings.Contains(a.body, `id="power-start"`) {
		t.Error("a machine that runs is to be started")
	}
	ada.get(service+"/power?action=stop").want(200, "Stop h100?", "like pulling the plug", "What it has not written yet is lost")
	ada.get(service+"/power?action=reboot").want(200, "Reboot h100?")
	ada.get(service+"/power?action=shutdown").want(200, "Shut down h100?")
	ada.get(service + "/power?action=explode").want(404)
	ada.get(service + "/power").want(404)
	ada.post(service+"/power", "action", "explode").want(422, "The action is start, shutdown, stop or reboot.")
	ada.post(service+"/power", "action", "start").solved(409)
	ada.post(service+"/power", "action", "reboot").wantTo(service)
	if got := s.open(s.h100); len(got) != 1 || got[0].Kind != portal.KindPower || got[0].Work.Action != "reboot" {
		t.Fatalf("asked for %+v", got)
	}
	if a := ada.get(service).want(200, "Reboot"); !strings.Contains(a.body, `data-kind="power"`) {
		t.Error("what was asked for is not shown")
	}
	ada.post(service+"/power", "action", "stop").solved(409) // one thing at a time
	s.sees(s.h200, "stopped", "")
	grace := s.as("grace@demo.test")
	off := "/services/" + s.h200.UID
	a = grace.get(off).want(200, "Start")
	if strings.Contains(a.body, `id="power-stop"`) {
		t.Error("a machine that is off is to be stopped")
	}
	grace.post(off+"/power", "action", "stop").solved(409)
	grace.post(off+"/power", "action", "start").wantTo(off)
}

// open gives the service's unfinished operations.
func (s *site) open(svc portal.Service) []portal.Operation {
	s.t.Helper()
	situation, err := s.db.Situation(s.t.Context(), svc.ID)
	s.must(err)
	return situation.Operations
}

// TestPowerDuringABackup: the refusal offers to end the backup, or to wait for it; either way the work is queued behind.
func TestPowerDuringABackup(t *testing.T) {
	t.Parallel()
	for how, label := range map[string]string{"cancel": "Cancel it and restart", "after": "Restart when it is done"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			ada, service := s.as("ada@demo.test"), "/services/"+s.h100.UID
			backup := s.begin(s.h100, "")
			ada.get(service+"/power?action=reboot").want(200, "A backup of this machine is running already", label)
			ada.post(service+"/power", "action", "reboot").solved(409).want(409, label)
			if got := s.open(s.h100); len(got) != 1 {
				t.Fatalf("a refusal asked for %+v", got)
			}
			ada.post(service+"/power", "action", "reboot", "how", how).wantTo(service)
			got := s.open(s.h100)
			if len(got) != 2 || got[1].Kind != portal.KindPower || got[1].State != portal.StateQueued {
				t.Fatalf("asked for %+v", got)
			}
			now, err := s.db.Operation(t.Context(), backup.ID)
			s.must(err)
			if cancelled := !now.CancelAt.IsZero(); cancelled != (how == "cancel") {
				t.Errorf("the backup is cancelled: %v", cancelled)
			}
		})
	}
}

// secretOn gives the password on a page, or "".
func secretOn(a answer) string {
	a.t.Helper()
	for _, n := range a.all("id") {
		if attr(n, "id") == "secret" {
			return read(n)
		}
	}
	return ""
}

// TestPasswordIsShownOnce: whoever asked sees it on the first look, and nobody ever again.
func TestPasswordIsShownOnce(t *testing.T) {
	t.Parallel()
	s := open(t)
	_, err := s.db.AddLogin(t.Context(), "cli", s.ada.ID, "second@demo.test", "Second", portal.RoleOperator, passwordHash())
	s.must(err)
	ada, service := s.as("ada@demo.test"), "/services/"+s.h100.UID
	ada.get(service+"/password").want(200, "A new password for h100?")
	a := ada.post(service + "/password").want(303)
	page := a.Header.Get("Location")
	if !strings.HasPrefix(page, service+"/operations/") {
		t.Fatalf("goes to %s", page)
	}
	uid := page[strings.LastIndex(page, "/")+1:]
	for _, who := range []string{"reader@demo.test", "second@demo.test"} {
		if got := secretOn(s.as(who).get(page).want(200)); got != "" {
			t.Errorf("%s is shown the password", who)
		}
	}
	s.as("grace@demo.test").get(page).want(404)
	if got := secretOn(s.as("admin@demo.test").get("/admin/operations/" + uid).want(200)); got != "" {
		t.Error("staff are shown the password")
	}
	first := ada.get(page).want(200, "It is shown only this once")
	password := secretOn(first)
	if len(password) != portal.PasswordLength || first.Header.Get("Cache-Control") != "no-store, private" {
		t.Fatalf("shown %q, %s", password, first.Header.Get("Cache-Control"))
	}
	for _, p := range []string{page, service, service + "/operations", service + "/backups"} {
		if again := ada.get(p).want(200); strings.Contains(again.body, password) {
			t.Errorf("%s shows it again", p)
		}
	}
	admin := s.as("admin@demo.test")
	for _, p := range []string{"/admin", "/admin/audit", "/admin/operations", "/admin/operations/" + uid, "/admin/services/" + s.h100.UID} {
		if again := admin.get(p).want(200); strings.Contains(again.body, password) {
			t.Errorf("%s shows it", p)
		}
	}
}

// TestReinstallPages: the word is to be typed and the system to be chosen; nothing typed is lost on a refusal. Without
// systems in the product there is no such page.
func TestReinstallPages(t *testing.T) {
	t.Parallel()
	s := open(t)
	ada, service := s.as("ada@demo.test"), "/services/"+s.h100.UID
	a := ada.get(service+"/reinstall").want(200, "Install h100 anew?", "Debian 13", "All snapshots of this machine.", "There is no good backup of this machine")
	if words := a.all("data-confirm"); len(words) != 1 || attr(words[0], "data-confirm") != "REINSTALL" {
		t.Errorf("%d words to type", len(words))
	}
	a = ada.post(service+"/reinstall", "template", "Debian 13", "confirm", "REINSTAL").solved(422)
	if !strings.Contains(a.body, `value="REINSTAL"`) {
		t.Error("what was typed is lost")
	}
	ada.post(service+"/reinstall", "template", "BeOS", "confirm", "REINSTALL").solved(422)
	s.as("reader@demo.test").post(service+"/reinstall", "template", "Debian 13", "confirm", "REINSTALL").want(403)
	if got := s.open(s.h100); len(got) != 0 {
		t.Fatalf("asked for %+v", got)
	}
	ada.post(service+"/reinstall", "template", "Debian 13", "confirm", " reinstall").want(303)
	got := s.open(s.h100)
	if len(got) != 1 || got[0].Kind != portal.KindReinstall || got[0].Work.From != 900 {
		t.Fatalf("asked for %+v", got)
	}
	if shown := secretOn(ada.get(service + "/operations/" + got[0].UID).want(200)); shown != "" {
		t.Error("a password is shown before it is known whether it can be set")
	}
	ada.post(service+"/reinstall", "template", "Debian 13", "confirm", "REINSTALL").solved(409)

	bare := s.product
	bare.Name, bare.Spec.Templates = "Bare", nil
	bare, err := s.db.AddProduct(t.Context(), "cli", bare)
	s.must(err)
	s.must(s.db.ChangeProduct(t.Context(), "cli", s.h200, bare))
	grace, other := s.as("grace@demo.test"), "/services/"+s.h200.UID
	if a := grace.get(other).want(200); strings.Contains(a.body, "machine-reinstall") {
		t.Error("a package without systems offers to install one")
	}
	grace.get(other + "/reinstall").want(404)
}
