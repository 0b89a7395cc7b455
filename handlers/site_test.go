package handlers_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/html"

	"stowage/handlers"
	"stowage/portal"
	"stowage/store"
	"stowage/web"
)

const password = "correct horse battery"

var passwordHash = sync.OnceValue(func() string {
	hash, err := web.HashPassword(password)
	if err != nil {
		panic(err)
	}
	return hash
})

// hand is a clock that a test sets.
type hand struct {
	mu sync.Mutex
	t  time.Time
}

func (h *hand) now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.t
}

func (h *hand) pass(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.t = h.t.Add(d)
}

// site is a whole portal without an engine: two clients with a machine each, staff, and real HTTP.
type site struct {
	t      *testing.T
	db     *store.DB
	clock  *hand
	web    *web.Server
	server *httptest.Server

	pve         portal.Server
	product     portal.Product
	ada, grace  portal.Client
	h100, h200  portal.Service // ada's and grace's
	adaLogin    portal.Login
	operationOf map[string]portal.Operation // of copies, by the copy's uid
}

// start is a Friday, 13:00 in Berlin.
var start = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func open(t *testing.T, change ...func(*handlers.Options)) *site {
	t.Helper()
	dir := t.TempDir()
	if err := store.CreateKey(filepath.Join(dir, "k")); err != nil {
		t.Fatal(err)
	}
	keys, err := store.ReadKey(filepath.Join(dir, "k"))
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, clock: &hand{t: start}, operationOf: map[string]portal.Operation{}}
	s.db, err = store.Open(store.Options{Path: filepath.Join(dir, "stowage.db"), Keys: keys, Now: s.clock.now, NoSync: true, Pseudo: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.db.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, _, err := s.db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.db.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.must(s.db.RaiseEpoch(t.Context(), "test"))
	s.must(s.db.Renew(t.Context(), true))
	s.people()

	log := slog.New(slog.NewTextHandler(testLog{t}, &slog.HandlerOptions{Level: slog.LevelError}))
	options := handlers.Options{DB: s.db, Log: log, Version: "1.2.3", Recheck: 50 * time.Millisecond, Mail: true, URL: "http://backups.test"}
	for _, c := range change {
		c(&options)
	}
	pages := handlers.New(options)
	w, err := web.New(web.Options{
		Now: s.clock.now, Log: log, Accounts: s.db, Sessions: s.db.Sessions(), ErrorPage: pages.ErrorPage, WithAddress: store.WithAddress,
	})
	if err != nil {
		t.Fatal(err)
	}
	pages.Register(w)
	s.web = w
	s.server = httptest.NewUnstartedServer(nil)
	s.server.Config = w.HTTP()
	s.server.Start()
	t.Cleanup(func() {
		w.StopStreams()
		s.server.Close()
	})
	return s
}

// testLog fails the test at an error: none of these tests expects one on our side.
type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Errorf("logged: %s", p)
	return len(p), nil
}

func (s *site) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) people() {
	s.t.Helper()
	ctx := s.t.Context()
	var err error
	s.ada, s.adaLogin, err = s.db.AddClient(ctx, "cli", portal.Client{Name: "Ada Lovelace", Zone: "Europe/Berlin"}, "ada@demo.test", passwordHash())
	s.must(err)
	s.grace, _, err = s.db.AddClient(ctx, "cli", portal.Client{Name: "Grace Hopper", Zone: "America/New_York"}, "grace@demo.test", passwordHash())
	s.must(err)
	_, err = s.db.AddLogin(ctx, "cli", s.ada.ID, "reader@demo.test", "Reader", portal.RoleReader, passwordHash())
	s.must(err)
	for email, role := range map[string]portal.Role{"admin@demo.test": portal.RoleAdmin, "operator@demo.test": portal.RoleOperator, "auditor@demo.test": portal.RoleAuditor} {
		_, err = s.db.AddStaff(ctx, "cli", email, "", role, passwordHash())
		s.must(err)
	}
	s.pve, err = s.db.AddServer(ctx, "cli", portal.Server{Name: "alone", Endpoints: []string{"https://127.0.0.1:1"}, TokenID: "portal@pve!api"}, "secret")
	s.must(err)
	p := portal.NewProduct("Small")
	p.Quota, p.Storage, p.Protect = 3, "local", 1
	p.Spec.Templates = []portal.Template{{Name: "Debian 13", VMID: 900}}
	s.product, err = s.db.AddProduct(ctx, "cli", p)
	s.must(err)
	s.must(s.db.SaveInventory(ctx, store.Inventory{
		ServerID: s.pve.ID, Release: "9.2", Nodes: []portal.Node{{Name: "pve1", Online: true}},
		Storages: []portal.Storage{{Name: "local", Node: "pve1", Type: "dir", Content: "backup", Active: true, Total: 1 << 40, Used: 1 << 39}},
	}))
	s.h100 = s.addService(s.ada, 100, "h100")
	s.h200 = s.addService(s.grace, 200, "h200")
}

func (s *site) addService(client portal.Client, vmid int, name string) portal.Service {
	s.t.Helper()
	svc, err := s.db.AddService(s.t.Context(), "cli", portal.Service{
		ClientID: client.ID, ProductID: s.product.ID, ServerID: s.pve.ID, VMID: vmid, Name: name, Node: "pve1", Status: "running",
		Identity: portal.Identity{UUID: fmt.Sprintf("00000000-0000-4000-8000-%012d", vmid), MACs: fmt.Sprintf("BC:24:11:00:00:%02X", vmid%256)},
		Hardware: portal.Hardware{Sockets: 1, Cores: 2, MemoryMB: 4096, Disks: []portal.Disk{{Key: "scsi0", Size: 32 << 30, Backup: true}}},
	}, client.Zone)
	s.must(err)
	return svc
}

// begin queues a backup of the service, whatever its quota, and starts it.
func (s *site) begin(svc portal.Service, note string) portal.Operation {
	s.t.Helper()
	ctx := s.t.Context()
	op, err := s.db.Enqueue(ctx, 0, svc.UID, func(situation portal.Situation) (portal.Operation, error) {
		return portal.Operation{
			Kind: portal.KindBackup, Step: portal.StepPreflight, Manual: true, Actor: "client:" + s.adaLogin.UID, Note: note, Mode: "snapshot",
			StartBy: situation.Now.Add(time.Hour), GiveUpAt: situation.Now.Add(24 * time.Hour),
		}, nil
	})
	s.must(err)
	_, err = s.db.Claim(ctx, portal.Limits{PerNode: 100, PerStorage: 100, PerServer: 100})
	s.must(err)
	op, err = s.db.Operation(ctx, op.ID)
	s.must(err)
	if op.State != portal.StateRunning {
		s.t.Fatalf("the backup is %s: %s", op.State, op.WaitsFor)
	}
	b := portal.Backup{
		ServiceID: svc.ID, ServerID: s.pve.ID, Node: "pve1", Storage: "local", VMID: svc.VMID, Class: portal.ClassRunning, Origin: portal.OriginManual,
		Mode: "snapshot", StartedAt: s.db.Now(), OperationID: op.ID, Note: note,
	}
	op.Step = portal.StepDump
	s.must(s.db.Save(ctx, "begin", &op, store.Changes{Backup: &b, Steps: []store.StepNote{
		{Step: portal.StepPreflight, What: "done", Text: "Checked your machine."}, {Step: portal.StepDump, What: "begun", Text: "The backup begins.", Staff: "vzdump on pve1"},
	}}))
	return op
}

// addCopy makes a copy that began ago before now and took five minutes.
func (s *site) addCopy(svc portal.Service, ago time.Duration, note string, change ...func(*portal.Backup)) portal.Backup {
	s.t.Helper()
	ctx := s.t.Context()
	op := s.begin(svc, note)
	b, err := s.db.Backup(ctx, op.BackupID)
	s.must(err)
	b.Class, b.Size, b.StartedAt = portal.ClassGood, 4<<30, s.db.Now().Add(-ago)
	b.EndedAt, b.CTime = b.StartedAt.Add(5*time.Minute), b.StartedAt
	b.Volid = fmt.Sprintf("local:backup/vzdump-qemu-%d-%s.vma.zst", svc.VMID, b.StartedAt.UTC().Format("2006_01_02-15_04_05"))
	b.DisksIn = []portal.Disk{{Key: "scsi0", Size: 32 << 30, Backup: true}}
	for _, c := range change {
		c(&b)
	}
	op.State, op.EndedAt, op.Reason, op.DumpPlace = portal.StateSucceeded, s.db.Now(), "The backup is in your list.", ""
	s.must(s.db.Save(ctx, "end", &op, store.Changes{Backup: &b, Steps: []store.StepNote{{Step: portal.StepDump, What: "done", Text: op.Reason}}}))
	b, err = s.db.Backup(ctx, b.ID)
	s.must(err)
	s.operationOf[b.UID] = op
	return b
}

// fail makes a backup that ended badly.
func (s *site) fail(svc portal.Service, reason portal.Text) portal.Operation {
	s.t.Helper()
	op := s.begin(svc, "")
	b, err := s.db.Backup(s.t.Context(), op.BackupID)
	s.must(err)
	b.Class, b.EndedAt = portal.ClassFailed, s.db.Now()
	op.State, op.EndedAt, op.Reason, op.StaffReason, op.DumpPlace = portal.StateFailed, s.db.Now(), reason, "exact: exit code 255", ""
	s.must(s.db.Save(s.t.Context(), "end", &op, store.Changes{
		Backup: &b, RemovedID: b.ID, RemovedHow: "never made", Steps: []store.StepNote{{Step: portal.StepDump, What: "failed", Text: reason, Staff: op.StaffReason}},
	}))
	return op
}

func (s *site) schedule(svc portal.Service, zone, grid string) {
	s.t.Helper()
	next, err := portal.ParseGrid(zone, grid)
	s.must(err)
	s.must(s.db.SaveSchedule(s.t.Context(), 0, svc.UID, "cli", next))
}

// visitor is a browser.
type visitor struct {
	s *site
	http.Client
}

func (s *site) visitor() *visitor {
	jar, err := cookiejar.New(nil)
	s.must(err)
	return &visitor{s, http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// as gives a browser that is signed in.
func (s *site) as(email string) *visitor {
	s.t.Helper()
	v := s.visitor()
	if a := v.post("/login", "email", email, "password", password); a.StatusCode != http.StatusSeeOther {
		s.t.Fatalf("signing in as %s: %d %s", email, a.StatusCode, a.refusal())
	}
	return v
}

// answer is what came back, read and parsed.
type answer struct {
	*http.Response
	t    *testing.T
	what string
	body string
	doc  *html.Node
}

func (v *visitor) get(path string) answer { return v.do("GET", path, nil) }

func (v *visitor) post(path string, fields ...string) answer {
	form := url.Values{}
	for i := 0; i+1 < len(fields); i += 2 {
		form.Add(fields[i], fields[i+1])
	}
	return v.do("POST", path, strings.NewReader(form.Encode()))
}

func (v *visitor) do(method, path string, body io.Reader, headers ...string) answer {
	v.s.t.Helper()
	r, err := http.NewRequestWithContext(context.WithoutCancel(v.s.t.Context()), method, v.s.server.URL+path, body)
	v.s.must(err)
	if body != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := v.Do(r)
	v.s.must(err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	v.s.must(err)
	doc, err := html.Parse(strings.NewReader(string(text)))
	v.s.must(err)
	return answer{resp, v.s.t, method + " " + path, string(text), doc}
}

// want asserts the status and that the texts stand on the page.
func (a answer) want(status int, texts ...string) answer {
	a.t.Helper()
	if a.StatusCode != status {
		a.t.Errorf("%s: status %d, want %d: %s", a.what, a.StatusCode, status, a.refusal())
	}
	read := a.text()
	for _, text := range texts {
		if !strings.Contains(read, text) {
			a.t.Errorf("%s: the page does not say %q", a.what, text)
		}
	}
	return a
}

// wantTo asserts that a change went well and leads on to a page.
func (a answer) wantTo(path string) answer {
	a.t.Helper()
	if a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != path {
		a.t.Errorf("%s: %d to %q, want 303 to %q: %s", a.what, a.StatusCode, a.Header.Get("Location"), path, a.refusal())
	}
	return a
}

// all gives the elements that have the attribute.
func (a answer) all(attribute string) []*html.Node {
	var found []*html.Node
	for n := range a.doc.Descendants() {
		if n.Type == html.ElementNode && has(n, attribute) {
			found = append(found, n)
		}
	}
	return found
}

// mark gives the text of the one element with the attribute's value.
func (a answer) mark(attribute, value string) string {
	for _, n := range a.all(attribute) {
		if attr(n, attribute) == value {
			return read(n)
		}
	}
	return ""
}

func (a answer) refusal() string {
	if found := a.all("data-refusal"); len(found) > 0 {
		return read(found[0])
	}
	return ""
}

func (a answer) text() string { return read(a.doc) }

func has(n *html.Node, attribute string) bool {
	for _, x := range n.Attr {
		if x.Key == attribute {
			return true
		}
	}
	return false
}

func attr(n *html.Node, attribute string) string {
	for _, x := range n.Attr {
		if x.Key == attribute {
			return x.Val
		}
	}
	return ""
}

// read gives the text of an element as a person reads it.
func read(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode && (d.Parent == nil || d.Parent.Data != "script") {
			b.WriteString(d.Data)
			b.WriteByte(' ')
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

func backups(svc portal.Service, rest ...string) string {
	return "/services/" + svc.UID + "/backups" + strings.Join(append([]string{""}, rest...), "/")
}

// within gives the element of the name around n, or nil.
func within(n *html.Node, name string) *html.Node {
	for p := n.Parent; p != nil; p = p.Parent {
		if p.Type == html.ElementNode && p.Data == name {
			return p
		}
	}
	return nil
}

// second opens the same database once more, as another process would: it has no bell in common with the first.
func (s *site) second() *store.DB {
	s.t.Helper()
	keys, err := store.ReadKey(filepath.Join(filepath.Dir(s.db.Path()), "k"))
	s.must(err)
	db, err := store.Open(store.Options{Path: s.db.Path(), Keys: keys, Now: s.clock.now, NoSync: true})
	s.must(err)
	s.t.Cleanup(func() { s.must(db.Close()) })
	s.must(db.Ready(s.t.Context()))
	return db
}
