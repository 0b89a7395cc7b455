package handlers_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"stowage/portal"
)

// solved asserts that a refusal carries what solves it: a button beside its sentence, or the field that has to be put
// right, named as wrong and still holding what was typed.
func (a answer) solved(status int) answer {
	a.t.Helper()
	a.want(status)
	refusals := a.all("data-refusal")
	if len(refusals) == 0 || read(refusals[0]) == "" {
		a.t.Errorf("%s: no sentence says why", a.what)
		return a
	}
	for d := range a.doc.Descendants() {
		if d.Type == html.ElementNode && attr(d, "aria-invalid") == "true" {
			return a
		}
	}
	around := refusals[0]
	if within(around, "form") == nil && !strings.Contains(attr(around, "class"), "alert") {
		around = around.Parent // an error as a page
	}
	for d := range around.Descendants() {
		if d.Type == html.ElementNode && slices.Contains(strings.Fields(attr(d, "class")), "btn") {
			return a
		}
	}
	a.t.Errorf("%s: the refusal %q has no button", a.what, a.refusal())
	return a
}

// TestEveryRefusalHasItsButton holds that whoever is refused something reads why and has a button that helps.
func TestEveryRefusalHasItsButton(t *testing.T) {
	t.Parallel()
	s := open(t)
	ada, reader, admin, auditor := s.as("ada@demo.test"), s.as("reader@demo.test"), s.as("admin@demo.test"), s.as("auditor@demo.test")
	service, page := "/services/"+s.h100.UID, backups(s.h100)
	s.schedule(s.h100, "Europe/Berlin", "mon=03:00")

	ada.get("/nothing").solved(404)
	ada.post(page + "/none/delete").solved(404)
	ada.do("PUT", page, nil).solved(404)
	ada.do("POST", page, strings.NewReader("note="+strings.Repeat("x", 70_000)), "Content-Type", "application/x-www-form-urlencoded").solved(413)
	ada.get("/admin").solved(404)
	reader.post(page).solved(403)
	auditor.post("/admin/servers/" + s.pve.UID + "/check").solved(403)
	ada.post(page, "note", strings.Repeat("x", 201)).solved(422)
	ada.post(service+"/schedule", "day_1", "on", "time_1", "25:00", "zone", "Europe/Berlin").solved(422)
	ada.post(service+"/schedule", "day_1", "on", "time_1", "03:00", "zone", "Mars/Olympus").solved(422)
	ada.post("/account/zone", "zone", "Mars/Olympus").solved(422)
	ada.post("/account/language", "language", "tlh").solved(422)
	ada.post("/account/password", "old", "wrong", "new", "another password", "again", "another password").solved(422)
	ada.post("/account/password", "old", password, "new", "another password", "again", "another").solved(422)
	ada.post("/account/password", "old", password, "new", password, "again", password).solved(422)

	first := s.addCopy(s.h100, 50*time.Hour, "")
	protected := s.addCopy(s.h100, 49*time.Hour, "", func(b *portal.Backup) { b.Protected = true })
	last := s.addCopy(s.h100, 48*time.Hour, "")
	ada.post(page).solved(409) // all places are used
	ada.post(page, "replace", protected.UID).solved(409)
	ada.post(backups(s.h100, first.UID, "note"), "note", strings.Repeat("x", 201)).solved(422)
	ada.post(backups(s.h100, first.UID, "fine")).solved(409)
	ada.post(backups(s.h100, first.UID, "dismiss")).solved(409)
	ada.post(backups(s.h100, protected.UID, "delete")).solved(409)
	ada.post(backups(s.h100, protected.UID, "protect"), "protected", "1").solved(409)
	ada.post(backups(s.h100, last.UID, "protect"), "protected", "1").solved(409) // the one that may be is used
	ended := s.operationOf[first.UID]
	ada.post(service + "/operations/" + ended.UID + "/cancel").solved(409)
	ada.post(service + "/operations/" + ended.UID + "/retry").solved(409)
	admin.post("/admin/operations/"+ended.UID+"/release", "reason", "x").solved(409)
	admin.post("/admin/operations/"+ended.UID+"/skip", "reason", "x").solved(409)
	admin.post("/admin/operations/"+ended.UID+"/retry", "reason", strings.Repeat("x", 501)).solved(422)

	running := s.begin(s.h100, "")
	ada.post(page, "replace", first.UID).solved(409)
	admin.post("/admin/operations/"+running.UID+"/retry", "reason", "x").solved(409)
	ada.post(service + "/operations/" + running.UID + "/cancel").wantTo(page)
	ada.post(service + "/operations/" + running.UID + "/cancel").solved(409)

	for _, state := range []portal.ServiceState{portal.ServiceMachineGone, portal.ServiceMachineReplaced, portal.ServiceSuspended, portal.ServiceTerminating} {
		svc, err := s.db.ServiceByUID(t.Context(), s.h100.UID)
		s.must(err)
		s.must(s.db.SetServiceState(t.Context(), "cli", svc, state, "test"))
		if a := ada.post(page); a.StatusCode != 409 && a.StatusCode != 403 {
			t.Errorf("%s: Backup now answers %d", state, a.StatusCode)
		} else {
			a.solved(a.StatusCode)
		}
	}
}

// TestEveryFailureHasItsReference holds that what failed names a reference wherever it is told, and that staff find it
// by pasting it, in capitals or not.
func TestEveryFailureHasItsReference(t *testing.T) {
	t.Parallel()
	s := open(t)
	ada, staff := s.as("ada@demo.test"), s.as("auditor@demo.test")
	failed := s.fail(s.h100, "Your host ended the backup with an error.")
	service := "/services/" + s.h100.UID
	for _, path := range []string{service, service + "/operations", service + "/operations/" + failed.UID} {
		ada.get(path).want(200, failed.Reference)
	}
	torso := s.addCopy(s.h100, time.Hour, "", func(b *portal.Backup) {
		b.Class, b.Reason = portal.ClassPartial, "The backup was cut off on your host."
	})
	cut := s.operationOf[torso.UID]
	ada.get(service+"/backups").want(200, "The reference is "+cut.Reference+".")
	if a := ada.get(service + "/backups").want(200); !strings.Contains(a.body, "/operations/"+cut.UID+`"`) {
		t.Error("the row of a copy that isn't whole doesn't lead to its steps")
	}
	for _, query := range []string{failed.Reference, strings.ToLower(failed.Reference), " " + failed.Reference + " "} {
		if got := listed(staff.get("/admin/services?q=" + url.QueryEscape(query)).want(200)); !slices.Equal(got, []string{"h100"}) {
			t.Errorf("services: %q finds %v", query, got)
		}
		if got := operationMarks(staff.get("/admin/operations?q=" + url.QueryEscape(query)).want(200)); !slices.Equal(got, []string{failed.UID + " backup failed"}) {
			t.Errorf("operations: %q finds %v", query, got)
		}
	}
	for _, list := range []string{"/admin/services", "/admin/operations"} {
		staff.get(list+"?q=zzz-222").want(200, "No operation has the reference ZZZ-222", "the portal's log has it")
		if text := staff.get(list + "?q=nobody").want(200).text(); strings.Contains(text, "No operation has") {
			t.Errorf("%s: %q is taken for a reference", list, "nobody")
		}
	}
}
