package handlers_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"stowage/portal"
	"stowage/store"
)

// listed gives the services on a staff page.
func listed(a answer) (names []string) {
	for _, n := range a.all("data-service") {
		for d := range n.Descendants() {
			if d.Data == "a" && strings.HasPrefix(attr(d, "href"), "/admin/services/") {
				names = append(names, read(d))
			}
		}
	}
	return names
}

func TestStaffFindWhatIsPasted(t *testing.T) {
	t.Parallel()
	s := open(t)
	copied := s.addCopy(s.h100, 26*time.Hour, "")
	op := s.begin(s.h100, "")
	op.UPID = "UPID:pve1:0000C0DE:00A1B2C3:691F0000:vzdump:100:portal@pve!api:"
	s.must(s.db.Save(t.Context(), "upid", &op, store.Changes{TaskLog: &store.TaskLog{UPID: "UPID:pve1:0000BEEF:00A1B2C3:691E0000:vzdump:100:portal@pve!api:", Exit: "OK", Log: "INFO: one\nINFO: two\n"}}))
	staff := s.as("operator@demo.test")
	for _, query := range []string{
		"h100", "H10", "100", s.h100.UID, strings.ToUpper(s.h100.UID), "ada@demo.test", "ada@", "Lovelace", s.ada.UID, s.adaLogin.UID, op.UID, op.Reference, strings.ToLower(op.Reference),
		copied.UID, copied.Volid, strings.TrimPrefix(copied.Volid, "local:backup/"), op.UPID, "UPID:pve1:0000BEEF:00A1B2C3:691E0000:vzdump:100:portal@pve!api:", "bc:24:11:00:00:64", "BC:24:11:00:00:64",
	} {
		if got := listed(staff.get("/admin/services?q=" + url.QueryEscape(query)).want(200)); !slices.Equal(got, []string{"h100"}) {
			t.Errorf("%q finds %v", query, got)
		}
	}
	for _, query := range []string{"nothing like it", "%", "_", "UPID:pve1:0000C0DE:00A1B2C3:691F0000:vzdump:999:portal@pve!api:", "12345"} {
		if got := listed(staff.get("/admin/services?q=" + url.QueryEscape(query)).want(200)); len(got) != 0 {
			t.Errorf("%q finds %v", query, got)
		}
	}
	for _, query := range []string{op.UID, op.Reference, op.UPID, "UPID:pve1:0000BEEF:00A1B2C3:691E0000:vzdump:100:portal@pve!api:"} {
		if got := operationMarks(staff.get("/admin/operations?q=" + url.QueryEscape(query)).want(200)); !slices.Equal(got, []string{op.UID + " backup running"}) {
			t.Errorf("operations: %q finds %v", query, got)
		}
	}
	if got := operationMarks(staff.get("/admin/operations?q=h100&state=succeeded")); len(got) != 1 {
		t.Errorf("operations of h100 that ended well: %v", got)
	}
	if got := operationMarks(staff.get("/admin/operations?state=open&kind=backup")); len(got) != 1 {
		t.Errorf("the live queue: %v", got)
	}
	staff.get("/admin/operations/"+op.Reference).want(200, op.UPID, "UPID:pve1:0000BEEF", "INFO: two", "portal@pve!api")
	staff.get("/admin/operations/nothing").want(404)
	staff.get("/admin/services/"+s.h100.UID).want(200, "Ada Lovelace", "vmid 100", "00000000-0000-4000-8000-000000000100", "Fri 20 Nov 13:00")
	staff.get("/admin/services/nothing").want(404)
	staff.get("/admin/servers/nothing").want(404)
}

func TestStaffListsGoOn(t *testing.T) {
	t.Parallel()
	s := open(t)
	var names []string
	for i := range 120 {
		svc := s.addService(s.grace, 1000+i, "web"+strings.Repeat("x", i%3))
		names = append(names, svc.Name)
	}
	slices.Reverse(names)
	staff := s.as("auditor@demo.test")
	link := func(a answer, rel string) string {
		for _, n := range a.all("rel") {
			if attr(n, "rel") == rel {
				return attr(n, "href")
			}
		}
		return ""
	}
	first := staff.get("/admin/services?q=web&state=active").want(200)
	second := staff.get(link(first, "next")).want(200)
	third := staff.get(link(second, "next")).want(200)
	if got := slices.Concat(listed(first), listed(second), listed(third)); !slices.Equal(got, names) {
		t.Errorf("three pages give %d services, want %d in order", len(got), len(names))
	}
	if link(first, "prev") != "" || link(third, "next") != "" {
		t.Error("the ends lead on")
	}
	if got := listed(staff.get(link(third, "prev"))); !slices.Equal(got, listed(second)) {
		t.Errorf("back from the third: %d services", len(got))
	}
	back := staff.get(link(second, "prev"))
	if got := listed(back); !slices.Equal(got, listed(first)) || link(back, "prev") != "" {
		t.Errorf("back from the second: %d services, prev %q", len(got), link(back, "prev"))
	}
	grace := s.as("grace@demo.test")
	a := grace.get("/services").want(200, "1–50 of 121", "Search name or address")
	b := grace.get(link(a, "next")).want(200, "51–100 of 121")
	grace.get(link(b, "next")).want(200, "101–121 of 121")
	grace.get("/services?q=webxx").want(200, "webxx")
	grace.get("/services?q=h100").want(200, "Nothing fits")
}

func TestDashboard(t *testing.T) {
	t.Parallel()
	s := open(t)
	ctx := t.Context()
	s.addCopy(s.h100, 26*time.Hour, "")
	s.schedule(s.h100, "Europe/Berlin", "mon=03:00")
	staff := s.as("admin@demo.test")
	a := staff.get("/admin").want(200, "Unprotected services", "h200", "no schedule")
	if strings.Contains(a.text(), "h100") {
		t.Error("a protected service needs a person")
	}
	op := s.hold(s.h100)
	s.must(s.db.SaveSightings(ctx, []store.Sighting{{ServiceID: s.h200.ID, Node: "pve1", Status: "running", Lock: "backup"}}))
	s.must(s.db.SaveRights(ctx, s.pve.ID, []string{"VM.Backup on /vms"}))
	s.must(s.db.SaveCheck(ctx, s.pve.ID, []portal.Finding{{Level: "warning", Text: "Storage local prunes by itself.", Mend: "Set keep-all=1."}}))
	s.must(s.db.SaveInventory(ctx, store.Inventory{ServerID: s.pve.ID, Nodes: []portal.Node{{Name: "pve1", Online: true}, {Name: "pve2"}},
		Storages: []portal.Storage{{Name: "local", Node: "pve1", Type: "dir", Content: "backup", Active: true, Total: 100 << 30, Used: 96 << 30}}}))
	s.clock.pass(61 * time.Minute)
	s.must(s.db.Renew(ctx, true))
	if text := staff.get("/admin").want(200).text(); strings.Contains(text, "Stale locks") {
		t.Error("a lock is called stale before anybody has looked behind it")
	}
	s.must(s.db.SaveLockLook(ctx, store.Machine{ServiceID: s.h200.ID, ServerID: s.pve.ID, VMID: 200, Node: "pve1", Lock: "backup"}, "UPID:pve1:last: interrupted by signal"))
	staff.get("/admin/services/"+s.h200.UID).want(200, "UPID:pve1:last: interrupted by signal", "qm unlock 200")
	s.as("grace@demo.test").get("/services/"+s.h200.UID).want(200, "the lock was left behind")
	a = staff.get("/admin").want(200, "Held operations", "no line for 2 h", "Stale locks", "UPID:pve1:last", "qm unlock 200", "Servers in trouble", "VM.Backup on /vms", "Nodes offline", "node pve2",
		"Storages getting full", "96 of 100 GiB used")
	if got := operationMarks(a); !slices.Contains(got, op.UID+" backup held") {
		t.Errorf("operations: %v", got)
	}
	staff.get("/admin/servers").want(200, "1 privilege missing", "1 node offline", "96 %")
	staff.get("/admin/servers/"+s.pve.UID).want(200, "Storage local prunes by itself.", "Set keep-all=1.", "VM.Backup on /vms", "Check now")
	staff.get("/admin/services?look=locked").want(200, "h200")
	staff.post("/admin/operations/" + op.UID + "/retry").wantTo("/admin/operations/" + op.UID)
	staff.get("/admin/operations/"+op.UID).want(200, "It goes on.", "Running")
	staff.post("/admin/operations/" + op.UID + "/cancel").wantTo("/admin/operations/" + op.UID)
	staff.get("/admin/audit?q=operation.cancel").want(200, "Chain whole", "admin@demo.test", "127.0.0.1", "h100")
	staff.get("/admin/audit?action=login").want(200, "login.sign_in")
	staff.get("/admin/audit?q=no+such+thing").want(200, "No entry fits")
}

func TestStaffNeverActsOnClientsPages(t *testing.T) {
	t.Parallel()
	s := open(t)
	copied := s.addCopy(s.h100, 5*time.Hour, "")
	before := s.trace()
	for _, email := range []string{"admin@demo.test", "operator@demo.test", "auditor@demo.test"} {
		v := s.as(email)
		for _, route := range routesOf(s.h100.UID, copied.UID, s.operationOf[copied.UID].UID) {
			if a := v.do(route[0], route[1], body(route[0])); a.StatusCode != 404 {
				t.Errorf("%s: %v: %d", email, route, a.StatusCode)
			}
		}
	}
	if got := s.trace(); !slices.Equal(got, before) {
		t.Errorf("something was done: %v", got)
	}
}
