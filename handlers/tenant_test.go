package handlers_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stowage/portal"
	"stowage/store"
)

// routesOf lists every route of a client's service with the method it takes.
func routesOf(svc, backup, operation string) [][2]string {
	base := "/services/" + svc
	routes := [][2]string{
		{"GET", base}, {"GET", base + "/backups"}, {"GET", base + "/backups/replace"}, {"GET", base + "/operations"},
		{"GET", base + "/events"}, {"GET", base + "/events?page=service"}, {"GET", base + "/events?page=operation&operation=" + operation},
		{"POST", base + "/backups"}, {"POST", base + "/schedule"},
		{"GET", base + "/backups/" + backup + "/delete"},
		{"GET", base + "/operations/" + operation}, {"POST", base + "/operations/" + operation + "/cancel"}, {"POST", base + "/operations/" + operation + "/retry"},
	}
	for _, action := range []string{"delete", "note", "protect", "fine", "dismiss"} {
		routes = append(routes, [2]string{"POST", base + "/backups/" + backup + "/" + action})
	}
	return routes
}

const form = "note=x&zone=UTC&day_0=on&time_0=03%3A00"

func TestForeignIsLikeMissing(t *testing.T) {
	t.Parallel()
	s := open(t)
	foreign := s.addCopy(s.h200, 5*time.Hour, "grace's secret")
	foreignOp := s.operationOf[foreign.UID]
	mine := s.addCopy(s.h100, 5*time.Hour, "mine")
	nowhere := "01m7wd7tg0bxjs1vcrm8fhpzzz"
	v := s.as("ada@demo.test")
	before := s.trace()

	missing := routesOf(nowhere, nowhere, nowhere)
	mixed := routesOf(s.h100.UID, nowhere, nowhere) // her own service, with what is in none
	for i, route := range routesOf(s.h200.UID, foreign.UID, foreignOp.UID) {
		got, want := v.do(route[0], route[1], body(route[0])), v.do(missing[i][0], missing[i][1], body(route[0]))
		if got.StatusCode != 404 || want.StatusCode != 404 {
			t.Errorf("%v: %d, missing %d, want 404 twice", route, got.StatusCode, want.StatusCode)
		}
		if diff := cmp.Diff(want.body, got.body); diff != "" {
			t.Errorf("%v is told apart from a missing one: %s", route, diff)
		}
	}
	for i, route := range routesOf(s.h100.UID, foreign.UID, foreignOp.UID) {
		if !strings.Contains(route[1], foreign.UID) && !strings.Contains(route[1], foreignOp.UID) {
			continue
		}
		got, want := v.do(route[0], route[1], body(route[0])), v.do(mixed[i][0], mixed[i][1], body(route[0]))
		if got.StatusCode != 404 || got.body != want.body {
			t.Errorf("her own service with a foreign thing in it, %v: %d, %s", route, got.StatusCode, cmp.Diff(want.body, got.body))
		}
	}
	v.post(backups(s.h100), "replace", foreign.UID).want(404)
	for _, page := range []string{"/admin", "/admin/services", "/admin/services/" + s.h100.UID, "/admin/operations", "/admin/audit"} {
		v.get(page).want(404)
	}
	if diff := cmp.Diff(before, s.trace()); diff != "" {
		t.Errorf("a refused request left something behind: %s", diff)
	}
	v.get("/services").want(200, "h100")
	if strings.Contains(v.get("/services").body, "h200") {
		t.Error("the list shows a foreign machine")
	}
	v.get(backups(s.h100, mine.UID, "delete")).want(200)
}

func body(method string) *strings.Reader {
	if method == "GET" {
		return strings.NewReader("")
	}
	return strings.NewReader(form)
}

// trace is all that a change leaves behind: the audit log tells of each.
func (s *site) trace() (out []string) {
	s.t.Helper()
	entries, err := s.db.AuditLog(s.t.Context(), 0, 1000)
	s.must(err)
	for _, e := range entries {
		if e.Action != "login.sign_in" {
			out = append(out, e.Action+" "+e.EntityUID)
		}
	}
	return out
}

func TestReadersOnlyLook(t *testing.T) {
	t.Parallel()
	s := open(t)
	copied := s.addCopy(s.h100, 5*time.Hour, "")
	op := s.fail(s.h100, "The backup storage is full. Your other backup is untouched.")
	v := s.as("reader@demo.test")
	before := s.trace()
	for _, route := range routesOf(s.h100.UID, copied.UID, op.UID) {
		switch {
		case route[0] == "POST":
			v.do(route[0], route[1], strings.NewReader(form)).want(403, "change nothing")
		case !strings.Contains(route[1], "events"):
			a := v.get(route[1]).want(200)
			for _, n := range a.all("type") {
				if n.Data == "button" && attr(n, "type") == "submit" && !has(n, "disabled") && within(n, "main") != nil {
					t.Errorf("%s: the button %q can be pressed by a reader", route[1], read(n))
				}
			}
		}
	}
	v.get(backups(s.h100)).want(200, "Your login may look at everything, but change nothing.")
	if diff := cmp.Diff(before, s.trace()); diff != "" {
		t.Error(diff)
	}
}

func TestAuditorsOnlyLook(t *testing.T) {
	t.Parallel()
	s := open(t)
	op := s.hold(s.h100)
	auditor, operator := s.as("auditor@demo.test"), s.as("operator@demo.test")
	auditor.get("/admin/operations/"+op.UID).want(200, "It takes much longer than usual.")
	for _, action := range []string{"retry", "resume", "cancel", "skip", "release"} {
		auditor.post("/admin/operations/"+op.UID+"/"+action, "reason", "x").want(403, "change nothing")
	}
	operator.post("/admin/operations/"+op.UID+"/release").want(422, "Say why")
	operator.post("/admin/operations/"+op.UID+"/release", "reason", "the task is dead").wantTo("/admin/operations/" + op.UID)
	operator.get("/admin/operations/"+op.UID).want(200, "released: the task is dead", "Our team ended it by hand.")
	s.as("ada@demo.test").get("/services/"+s.h100.UID+"/operations/"+op.UID).want(200, "Our team ended it by hand.")
	operator.post("/admin/operations/"+op.UID+"/release", "reason", "again").want(409, "Only a held operation is released")
}

func TestChangesFromOtherSitesAreRefused(t *testing.T) {
	t.Parallel()
	s := open(t)
	copied := s.addCopy(s.h100, 5*time.Hour, "")
	v := s.as("ada@demo.test")
	before := s.trace()
	for _, headers := range [][]string{{"Origin", "https://evil.example"}, {"Origin", "null"}, {"Sec-Fetch-Site", "cross-site"}} {
		for _, route := range routesOf(s.h100.UID, copied.UID, s.operationOf[copied.UID].UID) {
			if route[0] == "POST" {
				v.do("POST", route[1], strings.NewReader(form), headers...).want(403, "another web site")
			}
		}
		v.do("POST", "/logout", nil, headers...).want(403)
		v.do("POST", "/account/sign-out-everywhere", nil, headers...).want(403)
	}
	if diff := cmp.Diff(before, s.trace()); diff != "" {
		t.Error(diff)
	}
	v.do("POST", backups(s.h100), strings.NewReader(""), "Origin", s.server.URL, "Sec-Fetch-Site", "same-origin").wantTo(backups(s.h100))
}

func TestMethodsAndUnknownPages(t *testing.T) {
	t.Parallel()
	s := open(t)
	v := s.as("ada@demo.test")
	v.get("/nowhere").want(404, "can't find that page")
	v.get("/services/" + s.h100.UID + "/restore").want(404)                           // not there yet
	v.get("/services/" + s.h100.UID + "/snapshots").wantTo("/services/" + s.h100.UID) // its package includes none
	v.do("PUT", backups(s.h100), nil).want(404)
	v.get("/services/" + s.h100.UID + "/schedule").wantTo(backups(s.h100)) // where a refusal was shown, loaded again
	v.get("/account/zone").wantTo("/account")
	a := v.do("HEAD", backups(s.h100), nil)
	if a.StatusCode != http.StatusOK || a.body != "" {
		t.Errorf("HEAD: %d, %d bytes", a.StatusCode, len(a.body))
	}
}

// hold makes a backup that a person has to look at.
func (s *site) hold(svc portal.Service) portal.Operation {
	s.t.Helper()
	op := s.begin(svc, "")
	op.State, op.Reason, op.StaffReason = portal.StateHeld, "It takes much longer than usual.", "no line for 2 h"
	s.must(s.db.Save(s.t.Context(), "hold", &op, store.Changes{Steps: []store.StepNote{{Step: portal.StepDump, What: "failed", Text: op.Reason, Staff: op.StaffReason}}}))
	return op
}
