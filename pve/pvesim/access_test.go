package pvesim

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// withTicket sends a request with a login's ticket.
func (l *lab) withTicket(method, path, ticket, csrf string) reply {
	l.t.Helper()
	req, err := http.NewRequestWithContext(l.t.Context(), method, "https://pve1:8006/api2/json"+path, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	req.AddCookie(&http.Cookie{Name: "PVEAuthCookie", Value: url.QueryEscape(ticket)})
	if csrf != "" {
		req.Header.Set("CSRFPreventionToken", csrf)
	}
	return read(l.RoundTrip(req))
}

// TestLogin: a ticket is good for two hours, for its user only, and as long as he may; changes need the second token,
// which is his too.
func TestLogin(t *testing.T) {
	t.Parallel()
	w := ContractWorld(1, 2)
	w.Users = append(w.Users, User{ID: root, Password: "secret-of-root"}, User{ID: "ada@pve", Password: "secret-of-ada"}, User{ID: "mute@pve"})
	l := newLab(t, w, Options{})
	logIn := func(user, password string) (string, string) {
		got := l.call("POST", "/access/ticket", "username", user, "password", password)
		if got.status != 403 || !strings.Contains(got.reason, "need proper ticket") {
			t.Errorf("with a token beside it: %d %s", got.status, got.reason)
		}
		body := strings.NewReader(url.Values{"username": {user}, "password": {password}}.Encode())
		req, _ := http.NewRequestWithContext(t.Context(), "POST", "https://pve1:8006/api2/json/access/ticket", body)
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		got = read(l.RoundTrip(req))
		ticket, _ := got.object()["ticket"].(string)
		csrf, _ := got.object()["CSRFPreventionToken"].(string)
		return ticket, csrf
	}
	if ticket, _ := logIn("mute@pve", ""); ticket != "" {
		t.Error("a user without a password logs in")
	}
	ticket, csrf := logIn(root, "secret-of-root")
	adas, adasCSRF := logIn("ada@pve", "secret-of-ada")
	for _, c := range []struct {
		what, method, ticket, csrf string
		status                     int
	}{
		{"to look", "GET", ticket, "", 200},
		{"to change", "DELETE", ticket, csrf, 200},
		{"to change without the second token", "DELETE", ticket, "", 401},
		{"to change with another's", "DELETE", ticket, adasCSRF, 401},
		{"to look with a changed ticket", "GET", strings.Replace(adas, "ada@pve", root, 1), "", 401},
	} {
		path := "/storage"
		if c.method == "DELETE" {
			path = "/storage/tiny"
			if l.storage("tiny") == nil {
				t.Fatalf("%s: the storage is gone already", c.what)
			}
		}
		if got := l.withTicket(c.method, path, c.ticket, c.csrf); got.status != c.status {
			t.Errorf("%s: %d %s", c.what, got.status, got.reason)
		}
		if c.method == "DELETE" && c.status == 200 {
			_ = l.change(func(int64) error {
				l.st.World.Storages = append(l.st.World.Storages, Storage{Name: "tiny", Type: "dir", Total: mib})
				return nil
			})
		}
	}
	// His rights are those of the user, without any token's.
	if got := l.withTicket("GET", "/nodes/pve1/status", adas, ""); got.status != 403 {
		t.Errorf("ada sees the node: %d", got.status)
	}
	l.clock.add(2*time.Hour + time.Minute)
	if got := l.withTicket("GET", "/version", ticket, ""); got.status != 401 {
		t.Errorf("after two hours: %d", got.status)
	}
	ticket, csrf = logIn("ada@pve", "secret-of-ada")
	if got := l.call("DELETE", "/access/users/ada@pve"); got.status != 200 {
		t.Fatalf("%d %s", got.status, got.reason)
	}
	if got := l.withTicket("GET", "/version", ticket, csrf); got.status != 401 {
		t.Errorf("of a user who is gone: %d", got.status)
	}
}

// TestGrants: roles, users, tokens and entries that are made over the API hold at once, and go with their user.
func TestGrants(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := newLab(t, ContractWorld(1, 2), Options{Journal: dir})
	must := func(r reply) reply {
		t.Helper()
		if r.status != 200 {
			t.Fatalf("%d %s %s", r.status, r.reason, r.raw)
		}
		return r
	}
	must(l.call("POST", "/access/roles", "roleid", "Looker", "privs", "VM.Audit"))
	must(l.call("POST", "/access/users", "userid", "eve@pve", "password", "long enough"))
	secret := must(l.call("POST", "/access/users/eve@pve/token/look", "privsep", 0)).object()["value"]
	sees := func() int {
		t.Helper()
		req, _ := http.NewRequestWithContext(t.Context(), "GET", "https://pve1:8006/api2/json/nodes/pve1/qemu", nil)
		req.Header.Set("Authorization", fmt.Sprintf("%seve@pve!look=%v", tokenScheme, secret))
		return len(must(read(l.RoundTrip(req))).list())
	}
	if n := sees(); n != 0 {
		t.Errorf("without a grant it sees %d machines", n)
	}
	must(l.call("PUT", "/access/acl", "path", "/vms/101", "roles", "Looker", "users", "eve@pve"))
	if n := sees(); n != 1 {
		t.Errorf("with one on a machine it sees %d", n)
	}
	must(l.call("PUT", "/access/acl", "path", "/vms", "roles", "Looker", "users", "eve@pve", "propagate", 0))
	must(l.call("PUT", "/access/acl", "path", "/vms/101", "roles", "Looker", "users", "eve@pve", "delete", 1))
	if n := sees(); n != 0 {
		t.Errorf("with one that does not reach below it sees %d", n)
	}
	if got := l.as(PortalToken).call("PUT", "/access/acl", "path", "/vms", "roles", "Looker", "users", "eve@pve"); got.status != 403 {
		t.Errorf("the portal's token grants: %d", got.status)
	}
	// A simulator that is loaded from its journal knows all of it.
	again, err := New(World{}, Options{Now: l.clock.now, Journal: dir})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(l.st.World.ACL, again.st.World.ACL); d != "" || len(again.st.World.Roles["Looker"]) != 1 || again.user("eve@pve") == nil {
		t.Errorf("after a restart: %s", d)
	}
	must(l.call("DELETE", "/access/users/eve@pve"))
	if slices.ContainsFunc(l.st.World.ACL, func(a ACL) bool { return strings.HasPrefix(a.Who, "eve@pve") }) {
		t.Error("the entries of a user who is gone are there")
	}
}

// TestForeignTask: somebody else's task is listed, read and stopped as any other, and survives the process.
func TestForeignTask(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := newLab(t, ContractWorld(1, 2), Options{Journal: dir})
	upid, err := l.StartForeignTask(ForeignTask{Node: "pve1", Type: "qmigrate", ID: "100", User: "admin@pam", For: time.Hour, Lines: []string{"copying"}})
	if err != nil {
		t.Fatal(err)
	}
	active := func(of *lab) []string {
		var out []string
		for _, e := range of.get("/nodes/pve1/tasks", "source", "active").list() {
			out = append(out, fmt.Sprint(e["upid"]))
		}
		return out
	}
	if d := cmp.Diff([]string{upid}, active(l)); d != "" {
		t.Error(d)
	}
	sim, err := New(World{}, Options{Now: l.clock.now, Journal: dir})
	if err != nil {
		t.Fatal(err)
	}
	again := &lab{Sim: sim, t: t, clock: l.clock}
	if d := cmp.Diff([]string{upid}, active(again)); d != "" {
		t.Error(d)
	}
	l.clock.add(61 * time.Minute)
	if task := again.taskOf(upid); task.Exit != "OK" || len(again.active) != 0 || len(task.Log) != 2 || task.End.Sub(task.Start) != time.Hour {
		t.Errorf("after its time: %+v", task)
	}
	endless, err := again.StartForeignTask(ForeignTask{Node: "pve1", Type: "qmclone", ID: "101", For: -1})
	if err != nil {
		t.Fatal(err)
	}
	l.clock.add(24 * time.Hour)
	if task := again.taskOf(endless); !task.Running() {
		t.Errorf("one without an end: %+v", task)
	}
	if r := again.call("DELETE", "/nodes/pve1/tasks/"+url.PathEscape(endless)); r.status != 200 || again.taskOf(endless).Exit != "received interrupt" {
		t.Errorf("stopped: %d %+v", r.status, again.taskOf(endless))
	}
	for _, wrong := range []ForeignTask{{Node: "nope"}, {UPID: "UPID:x"}, {UPID: endless}} {
		if _, err := again.StartForeignTask(wrong); err == nil {
			t.Errorf("%+v was taken", wrong)
		}
	}
}
