package handlers_test

import (
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/labstack/echo/v4"
	_ "github.com/mattn/go-sqlite3"

	"stowage/handlers"
	"stowage/jobs"
	"stowage/portal"
	"stowage/static"
	"stowage/store"
)

// These tests know the routes from the router itself: a route that is not in this table fails them.

// Who asks, in the order of the statuses in the table.
const (
	nobody = iota
	reader
	clientOperator
	owner
	stranger // owner of another client
	auditor
	operator
	admin
	suspended // owner, of a service that is suspended
	askers
)

var askerNames = [askers]string{"nobody", "reader", "a client's operator", "owner", "another client", "auditor", "staff operator", "admin", "owner of a suspended service"}

var askerEmails = [askers]string{
	"", "reader@demo.test", "second@demo.test", "ada@demo.test", "grace@demo.test", "auditor@demo.test", "operator@demo.test", "admin@demo.test", "ada@demo.test",
}

// toSignIn stands for 303 to the page to sign in, toStaff for 303 to the staff's first page.
const (
	toSignIn = -1
	toStaff  = -2
)

// What most routes answer.
var (
	clientLooks = [askers]int{toSignIn, 200, 200, 200, 404, 404, 404, 404, 200}
	clientActs  = [askers]int{toSignIn, 403, 303, 303, 404, 404, 404, 404, 403}
	clientBack  = [askers]int{toSignIn, 303, 303, 303, 303, 404, 404, 404, 303} // to a page that answers for itself
	staffLooks  = [askers]int{toSignIn, 404, 404, 404, 404, 200, 200, 200, 404}
	staffActs   = [askers]int{toSignIn, 404, 404, 404, 404, 403, 303, 303, 404}
	staffBack   = [askers]int{toSignIn, 404, 404, 404, 404, 303, 303, 303, 404}
	ownLooks    = [askers]int{toSignIn, 200, 200, 200, 200, 200, 200, 200, 200}
	ownActs     = [askers]int{toSignIn, 303, 303, 303, 303, 303, 303, 303, 303}
	everybody   = [askers]int{200, 200, 200, 200, 200, 200, 200, 200, 200}
	wanderers   = [askers]int{toSignIn, 404, 404, 404, 404, 404, 404, 404, 404}
	meddlers    = [askers]int{toSignIn, 403, 404, 404, 404, 404, 404, 404, 404} // who ask for a change of what can't be changed
)

// target is what a request is about: the values of a route's parameters, ":uid" of a client's route being the service.
type target struct{ service, name, backup, operation, server, storage, mail, snapshot string }

// attacked is one route: who gets which answer, what is sent, and what it is sent to.
type attacked struct {
	want   [askers]int
	fields string
	query  string
	about  func(*arena) target // nil: a service with a good copy
	late   int                 // the greater, the later: it leaves something that waits, and takes the place of what would be begun after it
	ready  func(*arena, target)
	fresh  bool // needs a session of its own, which it may end
}

var attackedRoutes = map[string]attacked{
	"GET /healthz":  {want: everybody},
	"GET /readyz":   {want: everybody},
	"GET /static/*": {want: everybody},

	"GET /login":   {want: [askers]int{200, 303, 303, 303, 303, toStaff, toStaff, toStaff, 303}},
	"POST /login":  {want: [askers]int{422, 422, 422, 422, 422, 422, 422, 422, 422}, fresh: true},
	"POST /logout": {want: [askers]int{toSignIn, toSignIn, toSignIn, toSignIn, toSignIn, toSignIn, toSignIn, toSignIn, toSignIn}, fresh: true},
	"GET /":        {want: [askers]int{toSignIn, 303, 303, 303, 303, toStaff, toStaff, toStaff, 303}},

	"GET /forgot":        {want: everybody},
	"POST /forgot":       {want: [askers]int{303, 303, 303, 303, 303, 303, 303, 303, 303}, fields: "email=nobody%40demo.test", ready: (*arena).forget},
	"GET /reset/:token":  {want: [askers]int{404, 404, 404, 404, 404, 404, 404, 404, 404}},
	"POST /reset/:token": {want: [askers]int{404, 404, 404, 404, 404, 404, 404, 404, 404}, fields: "new=another+good+horse&again=another+good+horse"},

	"GET /account":                      {want: ownLooks},
	"POST /account/mail":                {want: ownActs, fields: "mail_failed=on"},
	"GET /account/*":                    {want: ownActs},
	"POST /account/zone":                {want: ownActs, fields: "zone=Europe%2FBerlin"},
	"POST /account/language":            {want: ownActs, fields: "language=de"},
	"POST /account/password":            {want: ownActs, fields: "old=" + url.QueryEscape(password) + "&new=another+good+horse&again=another+good+horse", fresh: true},
	"POST /account/sign-out-everywhere": {want: [askers]int{toSignIn, toSignIn, toSignIn, toSignIn, toSignIn, toSignIn, toSignIn, toSignIn, toSignIn}, fresh: true},

	"GET /services":                                       {want: [askers]int{toSignIn, 200, 200, 200, 200, toStaff, toStaff, toStaff, 200}},
	"GET /services/:uid":                                  {want: clientLooks},
	"GET /services/:uid/events":                           {want: [askers]int{401, 200, 200, 200, 404, 404, 404, 404, 200}},
	"GET /services/:uid/backups":                          {want: clientLooks},
	"GET /services/:uid/backups/replace":                  {want: clientLooks},
	"GET /services/:uid/operations":                       {want: clientLooks},
	"GET /services/:uid/snapshots":                        {want: clientLooks},
	"GET /services/:uid/snapshots/:snapshot/rollback":     {want: clientLooks},
	"GET /services/:uid/snapshots/:snapshot/delete":       {want: clientLooks},
	"GET /services/:uid/snapshots/:snapshot/description":  {want: clientBack},
	"POST /services/:uid/snapshots":                       {want: clientActs, fields: "description=x&memory=1", about: (*arena).idle},
	"POST /services/:uid/snapshots/:snapshot/rollback":    {want: clientActs, fields: "start=1", about: (*arena).idle},
	"POST /services/:uid/snapshots/:snapshot/delete":      {want: clientActs, about: (*arena).idle},
	"POST /services/:uid/snapshots/:snapshot/description": {want: clientActs, fields: "description=x", about: (*arena).idle},
	"GET /services/:uid/schedule":                         {want: clientBack},
	"POST /services/:uid/backups":                         {want: clientActs, fields: "note=x", about: (*arena).idle},
	"POST /services/:uid/schedule":                        {want: clientActs, fields: "zone=UTC&day_0=on&time_0=03%3A00"},
	"GET /services/:uid/operations/:operation":            {want: clientLooks},
	"GET /services/:uid/operations/:operation/cancel":     {want: clientBack},
	"GET /services/:uid/operations/:operation/retry":      {want: clientBack},
	"POST /services/:uid/operations/:operation/cancel":    {want: clientActs, about: (*arena).waits, late: 2},
	"POST /services/:uid/operations/:operation/retry":     {want: clientActs, about: (*arena).failed},
	"GET /services/:uid/backups/:backup/delete":           {want: clientLooks},
	"GET /services/:uid/backups/:backup/note":             {want: clientBack},
	"GET /services/:uid/backups/:backup/protect":          {want: clientBack},
	"GET /services/:uid/backups/:backup/fine":             {want: clientBack},
	"GET /services/:uid/backups/:backup/dismiss":          {want: clientBack},
	"POST /services/:uid/backups/:backup/delete":          {want: clientActs},
	"POST /services/:uid/backups/:backup/note":            {want: clientActs, fields: "note=x"},
	"POST /services/:uid/backups/:backup/protect":         {want: clientActs, fields: "protect=1"},
	"POST /services/:uid/backups/:backup/fine":            {want: clientActs, about: (*arena).suspect},
	"POST /services/:uid/backups/:backup/dismiss":         {want: clientActs, about: (*arena).gone},
	"GET /services/:uid/backups/:backup/restore":          {want: clientLooks},
	"POST /services/:uid/backups/:backup/restore":         {want: clientActs, fields: "confirm=NAME&start=1", late: 1},
	"GET /services/:uid/power":                            {want: clientLooks, query: "?action=stop"},
	"POST /services/:uid/power":                           {want: clientActs, fields: "action=shutdown", about: (*arena).idle},
	"GET /services/:uid/password":                         {want: clientLooks},
	"POST /services/:uid/password":                        {want: clientActs, about: (*arena).idle},
	"GET /services/:uid/reinstall":                        {want: clientLooks},
	"POST /services/:uid/reinstall":                       {want: clientActs, fields: "template=Debian+13&confirm=reinstall", about: (*arena).idle},

	"GET /admin":                                         {want: staffLooks},
	"GET /admin/audit":                                   {want: staffLooks},
	"GET /admin/services":                                {want: staffLooks},
	"GET /admin/services/:uid":                           {want: staffLooks},
	"GET /admin/operations":                              {want: staffLooks},
	"GET /admin/operations/:operation":                   {want: staffLooks},
	"GET /admin/operations/:operation/:action":           {want: staffBack},
	"GET /admin/servers":                                 {want: staffLooks},
	"GET /admin/servers/:uid":                            {want: staffLooks},
	"GET /admin/servers/:uid/check":                      {want: staffBack},
	"GET /admin/servers/:uid/storages/:storage/confirm":  {want: staffLooks},
	"GET /admin/servers/:uid/storages/:storage/unbrake":  {want: staffBack},
	"POST /admin/operations/:operation/retry":            {want: staffActs, about: (*arena).failed},
	"POST /admin/operations/:operation/resume":           {want: staffActs, about: (*arena).held},
	"POST /admin/operations/:operation/cancel":           {want: staffActs, about: (*arena).waits, late: 2},
	"POST /admin/operations/:operation/skip":             {want: staffActs, fields: "reason=x", about: (*arena).waitsForDate, late: 2},
	"POST /admin/operations/:operation/release":          {want: staffActs, fields: "reason=x", about: (*arena).held},
	"POST /admin/servers/:uid/check":                     {want: staffActs},
	"POST /admin/servers/:uid/storages/:storage/confirm": {want: staffActs, ready: (*arena).doubt},
	"POST /admin/servers/:uid/storages/:storage/unbrake": {want: staffActs, fields: "reason=x", ready: (*arena).brake},
	"GET /admin/mail":                                    {want: staffLooks},
	"GET /admin/mail/report":                             {want: staffLooks},
	"GET /admin/mail/report/html":                        {want: staffLooks},
	"GET /admin/mail/:uid":                               {want: staffLooks, about: (*arena).givenUp},
	"GET /admin/mail/:uid/html":                          {want: staffLooks, about: (*arena).givenUp},
	"GET /admin/mail/:uid/retry":                         {want: staffBack, about: (*arena).givenUp},
	"POST /admin/mail/:uid/retry":                        {want: staffActs, about: (*arena).givenUp},
	"GET /admin/demo":                                    {want: staffLooks},
	"GET /admin/demo/:action":                            {want: staffBack},
	"POST /admin/demo/break":                             {want: staffActs, fields: "kind=node&target=x"},
	"POST /admin/demo/heal":                              {want: staffActs, fields: "kind=node&target=x"},
	echo.RouteNotFound + " /account":                     {want: wanderers},
	echo.RouteNotFound + " /account/*":                   {want: wanderers},
	echo.RouteNotFound + " /services/:uid":               {want: meddlers},
	echo.RouteNotFound + " /services/:uid/*":             {want: wanderers},
	echo.RouteNotFound + " /admin":                       {want: [askers]int{toSignIn, 404, 404, 404, 404, 403, 404, 404, 404}},
	echo.RouteNotFound + " /admin/*":                     {want: wanderers},
}

// knownRoutes gives the router's routes, and fails the test where they are not those of the table.
func (s *site) knownRoutes() (keys []string) {
	s.t.Helper()
	have := map[string]bool{}
	for _, r := range s.web.Echo.Routes() {
		key := r.Method + " " + r.Path
		have[key] = true
		if _, ok := attackedRoutes[key]; !ok {
			s.t.Errorf("the route %s is new: say in attackedRoutes who may use it", key)
			continue
		}
		keys = append(keys, key)
	}
	for key := range attackedRoutes {
		if !have[key] {
			s.t.Errorf("the route %s is gone: take it out of attackedRoutes", key)
		}
	}
	slices.SortFunc(keys, func(x, y string) int { // what waits is made when nothing is claimed any more
		if lx, ly := attackedRoutes[x].late, attackedRoutes[y].late; lx != ly {
			return lx - ly
		}
		return strings.Compare(x, y)
	})
	return slices.Compact(keys)
}

// arena is a site whose database can be prepared behind the portal's back.
type arena struct {
	*site
	raw    *sql.DB
	store  store.StorageRow
	client portal.Client          // whose services are made
	fault  atomic.Pointer[string] // what the demo's panel says
	vmid   int
}

func newArena(t *testing.T) *arena {
	t.Helper()
	a := &arena{vmid: 1000}
	a.fault.Store(new("it is broken"))
	a.site = open(t, func(o *handlers.Options) { o.Demo, o.Faults = true, a.panel() })
	var err error
	a.raw, err = sql.Open("sqlite3", "file:"+a.db.Path()+"?_busy_timeout=5000")
	a.must(err)
	t.Cleanup(func() { a.must(a.raw.Close()) })
	a.sql(`UPDATE products SET snapshots = 2, snapshot_days = 3`)
	_, err = a.db.AddLogin(t.Context(), "cli", a.ada.ID, askerEmails[clientOperator], "Second", portal.RoleOperator, passwordHash())
	a.must(err)
	a.client = a.ada
	a.store, err = a.db.StorageAt(t.Context(), a.pve.ID, "pve1", "local")
	a.must(err)
	return a
}

// panel breaks nothing: it is there so that the demo's pages are attacked as well.
func (a *arena) panel() *handlers.FaultPanel {
	fault := func() handlers.Fault {
		said := *a.fault.Load()
		return handlers.Fault{Kind: said, Target: said, Text: portal.Verbatim(said), Heal: portal.Verbatim(said)}
	}
	do := func(kind, target string) (handlers.Fault, error) {
		if kind == "node" && target == "x" {
			return fault(), nil
		}
		return handlers.Fault{}, portal.Refuse(portal.CodeInvalid, "There is no %s to break like that.", target)
	}
	return &handlers.FaultPanel{
		Kinds: func() []handlers.FaultKind {
			f := fault()
			return []handlers.FaultKind{{Kind: f.Kind, Title: f.Text, What: f.Text, Watch: f.Text, Button: f.Text, Targets: []handlers.FaultTarget{{Target: f.Target, Name: f.Text}}}}
		},
		Broken: func() []handlers.Fault { return []handlers.Fault{fault()} }, Break: do, Heal: do,
	}
}

func (a *arena) sql(statement string, args ...any) {
	a.t.Helper()
	_, err := a.raw.ExecContext(a.t.Context(), statement, args...)
	a.must(err)
}

// service gives a new service of the client's, and the target that names it.
func (a *arena) service() (portal.Service, target) {
	a.t.Helper()
	a.vmid++
	svc := a.addService(a.client, a.vmid, fmt.Sprintf("h%d", a.vmid))
	return svc, target{service: svc.UID, name: svc.Name, server: a.pve.UID, storage: fmt.Sprint(a.store.ID), snapshot: a.addSnapshot(svc, "a description", time.Hour, 71*time.Hour).UID}
}

func (a *arena) idle() target {
	_, x := a.service()
	return x
}

func (a *arena) copied() target { return a.with(func(*portal.Backup) {}) }

func (a *arena) suspect() target {
	return a.with(func(b *portal.Backup) { b.Class = portal.ClassSuspect })
}

func (a *arena) gone() target {
	return a.with(func(b *portal.Backup) { b.Class, b.MissingSince = portal.ClassMissing, b.StartedAt })
}

func (a *arena) with(change func(*portal.Backup)) target {
	a.t.Helper()
	svc, x := a.service()
	b := a.addCopy(svc, 5*time.Hour, "", change)
	x.backup, x.operation = b.UID, a.operationOf[b.UID].UID
	return x
}

func (a *arena) failed() target {
	svc, x := a.service()
	x.operation = a.fail(svc, "The backup storage is full.").UID
	return x
}

func (a *arena) held() target {
	a.t.Helper()
	svc, x := a.service()
	op := a.begin(svc, "")
	op.State, op.Reason, op.DumpPlace = portal.StateHeld, "It takes much longer than usual.", ""
	a.must(a.db.Save(a.t.Context(), "hold", &op, store.Changes{}))
	x.operation = op.UID
	return x
}

func (a *arena) waits() target {
	a.t.Helper()
	_, x := a.service()
	op, err := a.db.Enqueue(a.t.Context(), a.client.ID, x.service, portal.ManualBackup("cli", "", ""))
	a.must(err)
	x.operation = op.UID
	return x
}

// waitsForDate is an operation that waits as a scheduled one does.
func (a *arena) waitsForDate() target {
	a.t.Helper()
	x := a.waits()
	svc, err := a.db.ServiceByUID(a.t.Context(), x.service)
	a.must(err)
	schedule, err := a.db.Schedule(a.t.Context(), svc.ID)
	a.must(err)
	a.sql(`UPDATE operations SET schedule_id = $1, slot_date = '2026-11-20', manual = 0 WHERE uid = $2`, schedule.ID, x.operation)
	return x
}

// givenUp is a mail that could not be delivered.
func (a *arena) givenUp() target {
	a.t.Helper()
	svc, x := a.service()
	ctx := a.t.Context()
	a.must(a.db.Post(ctx, store.Message{Channel: store.ToClient, ServiceID: svc.ID, Topic: portal.TopicBackupFailed, Payload: portal.Notice{Text: "The storage is full."}}))
	_, err := a.db.AddressMail(ctx)
	a.must(err)
	for {
		m, found, err := a.db.ClaimMail(ctx)
		a.must(err)
		if !found {
			return x
		}
		a.must(a.db.MailFailed(ctx, m, "550 no such user", true))
		if m.ServiceID == svc.ID {
			x.mail = m.UID
		}
	}
}

// forget lets everybody ask again who asked too often.
func (a *arena) forget(target) { a.sql(`DELETE FROM login_failures`) }

// nameIt gives the machine the name that is typed to confirm.
func (a *arena) nameIt(x target) {
	a.sql(`UPDATE services SET name = 'h100' WHERE uid = $1`, x.service)
}

func (a *arena) doubt(target) {
	a.sql(`UPDATE storages SET doubt = '4 of 4 together', doubt_since = 1, confirmed = 0 WHERE id = $1`, a.store.ID)
}

func (a *arena) brake(target) {
	a.sql(`UPDATE storages SET brake_since = 1 WHERE id = $1`, a.store.ID)
}

func (a *arena) suspend(x target) target {
	a.sql(`UPDATE services SET state = 'suspended' WHERE uid = $1`, x.service)
	return x
}

// address puts the target into a route's path.
func (x target) address(path string) string {
	uid := x.service
	if strings.HasPrefix(path, "/admin/servers/") {
		uid = x.server
	}
	if strings.HasPrefix(path, "/admin/mail/") {
		uid = x.mail
	}
	path = strings.NewReplacer(":token", "nothing", ":uid", uid, ":backup", x.backup, ":operation", x.operation, ":storage", x.storage, ":snapshot", x.snapshot, ":action", "retry").Replace(path)
	if strings.HasPrefix(path, "/static/") {
		return static.Path("app.css")
	}
	return strings.Replace(path, "*", "nothing", 1)
}

// state is all that the database holds but sessions and counted failures, to see that nothing changed.
func (a *arena) state() map[string]string {
	a.t.Helper()
	out := map[string]string{}
	names, err := a.raw.QueryContext(a.t.Context(), `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT IN ('sessions', 'login_failures') ORDER BY name`)
	a.must(err)
	defer names.Close()
	for names.Next() {
		var name string
		a.must(names.Scan(&name))
		out[name] = ""
	}
	a.must(names.Err())
	for name := range out {
		out[name] = a.rows(name)
	}
	return out
}

func (a *arena) rows(table string) string {
	a.t.Helper()
	rows, err := a.raw.QueryContext(a.t.Context(), `SELECT * FROM `+table+` ORDER BY 1`)
	a.must(err)
	defer rows.Close()
	columns, err := rows.Columns()
	a.must(err)
	sum, n := sha256.New(), 0
	for rows.Next() {
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		a.must(rows.Scan(into...))
		fmt.Fprintf(sum, "%q\n", values)
		n++
	}
	a.must(rows.Err())
	return fmt.Sprintf("%d rows, %s", n, hex.EncodeToString(sum.Sum(nil)[:6]))
}

// ask sends the request of a route and gives the answer; of an event stream only its beginning.
func (v *visitor) ask(key string, r attacked, x target) answer {
	v.s.t.Helper()
	method, path, _ := strings.Cut(key, " ")
	address := x.address(path) + r.query
	switch {
	case method == echo.RouteNotFound && strings.HasSuffix(path, "*") && path != "/account/*":
		return v.do("GET", address, nil)
	case method == echo.RouteNotFound:
		return v.do("PUT", address, nil)
	case strings.Contains(path, "/events"):
		st := v.listen(address)
		st.stop()
		return answer{&http.Response{StatusCode: st.status, Header: http.Header{}}, v.s.t, key, "", nil}
	case method == "POST":
		return v.do(method, address, strings.NewReader(strings.ReplaceAll(r.fields, "NAME", x.name)))
	}
	return v.do(method, address, nil)
}

// check compares an answer with the table.
func (a answer) check(t *testing.T, what string, want int) {
	t.Helper()
	to := a.Header.Get("Location")
	switch want {
	case toSignIn:
		if a.StatusCode != 303 || to != "/login" && !strings.HasPrefix(to, "/login?") {
			t.Errorf("%s: %d to %q, want the page to sign in", what, a.StatusCode, to)
		}
		return
	case toStaff:
		if a.StatusCode != 303 || to != "/admin" {
			t.Errorf("%s: %d to %q, want the staff's first page", what, a.StatusCode, to)
		}
		return
	}
	if a.StatusCode != want || want == 303 && (to == "" || strings.HasPrefix(to, "/login")) {
		reason := ""
		if a.doc != nil {
			reason = a.refusal()
		}
		t.Errorf("%s: %d to %q, want %d: %s", what, a.StatusCode, to, want, reason)
	}
}

func TestEveryRouteForEveryRole(t *testing.T) {
	t.Parallel()
	a := newArena(t)
	keys := a.knownRoutes()
	type cell struct {
		key    string
		asker  int
		target target
	}
	var refused, done []cell
	shared, sharedSuspended := a.copied(), a.suspend(a.copied())
	shared.mail = a.givenUp().mail
	for _, key := range keys {
		r := attackedRoutes[key]
		changes := strings.HasPrefix(key, "POST ") && !r.fresh
		normal, off := shared, sharedSuspended
		if changes && r.about != nil {
			normal, off = r.about(a), a.suspend(r.about(a))
		}
		for asker := range askers {
			c := cell{key, asker, normal}
			if asker == suspended {
				c.target = off
			}
			if changes && r.want[asker] == 303 {
				about := r.about
				if about == nil {
					about = (*arena).copied
				}
				c.target = about(a)
				if asker == suspended { // an account's own settings have nothing to do with a service
					c.target = off
				}
				done = append(done, c)
			} else {
				refused = append(refused, c)
			}
		}
	}
	var visitors [askers]*visitor
	for asker, email := range askerEmails {
		if visitors[asker] = a.visitor(); email != "" {
			visitors[asker] = a.as(email)
		}
	}
	a.doubt(target{})
	a.brake(target{})
	ask := func(c cell) {
		t.Helper()
		r, v := attackedRoutes[c.key], visitors[c.asker]
		if r.fresh {
			if v = a.visitor(); askerEmails[c.asker] != "" {
				v = a.as(askerEmails[c.asker])
			}
			if c.key == "POST /login" {
				r.fields = fmt.Sprintf("email=nobody%d%%40demo.test&password=wrong", c.asker)
			}
		}
		v.ask(c.key, r, c.target).check(t, c.key+" by "+askerNames[c.asker], r.want[c.asker])
		if c.key == "POST /account/password" && askerEmails[c.asker] != "" { // the next one signs in as before
			a.sql(`UPDATE logins SET password_hash = $1 WHERE email = $2`, passwordHash(), askerEmails[c.asker])
		}
	}
	before := a.state()
	for _, c := range refused {
		if !attackedRoutes[c.key].fresh {
			ask(c)
		}
	}
	if diff := cmp.Diff(before, a.state()); diff != "" {
		t.Errorf("looking, or what was refused, changed something: %s", diff)
	}
	for _, c := range done {
		trace := len(a.trace())
		if ready := attackedRoutes[c.key].ready; ready != nil {
			ready(a, c.target)
		}
		ask(c)
		if len(a.trace()) == trace && c.key != "POST /account/zone" && c.key != "POST /forgot" { // which is told of when it is answered
			t.Errorf("%s by %s: the audit log does not tell of it", c.key, askerNames[c.asker])
		}
	}
	for _, c := range refused {
		if attackedRoutes[c.key].fresh {
			ask(c)
		}
	}
}

// counted is a network to Proxmox VE that counts.
type counted struct{ calls atomic.Int64 }

func (c *counted) RoundTrip(*http.Request) (*http.Response, error) {
	c.calls.Add(1)
	return nil, io.ErrUnexpectedEOF
}

// withUIDs are requests that name things elsewhere than in the path. FOREIGN stands for what is asked for.
func withUIDs() map[string][]attacked {
	return map[string][]attacked{
		"POST /services/:uid/backups": {{fields: "note=x&replace=FOREIGNBACKUP"}},
		"GET /services/:uid/events":   {{query: "?page=backups"}, {query: "?page=service"}, {query: "?page=snapshots"}, {query: "?page=operation&operation=FOREIGNOPERATION"}, {query: "?page=nothing"}},
	}
}

// TestForeignIsLikeMissingEverywhere puts the uids of another client, and uids that nobody has, into every place of
// every route: the answers are the same to the last byte, nothing is changed, and Proxmox is not asked.
func TestForeignIsLikeMissingEverywhere(t *testing.T) {
	t.Parallel()
	a := newArena(t)
	ctx := t.Context()
	type pair struct{ own, foreign target } // on both the request would be granted
	pairs := map[string]pair{}
	common := pair{own: a.copied()}
	a.client = a.grace
	common.foreign = a.copied()
	keys := a.knownRoutes()
	for _, key := range keys {
		r := attackedRoutes[key]
		if pairs[key] = common; r.about != nil {
			p := pair{foreign: r.about(a)}
			a.client = a.ada
			p.own = r.about(a)
			a.client = a.grace
			if p.own.backup == "" {
				p.own.backup, p.foreign.backup = common.own.backup, common.foreign.backup
			}
			pairs[key] = p
		}
	}
	a.doubt(target{})
	a.brake(target{})
	const nowhere = "01m7wd7tg0bxjs1vcrm8fhpz"
	missing := target{nowhere + "aa", "nobody", nowhere + "bb", nowhere + "cc", nowhere + "dd", "999999", nowhere + "ee", nowhere + "ff"}

	visitors := []*visitor{a.as("ada@demo.test"), a.as("reader@demo.test")}
	network := &counted{}
	engine := jobs.New(jobs.Options{DB: a.db, Now: a.clock.now, Workers: 1, Transport: func(portal.Server) http.RoundTripper { return network }})
	t.Cleanup(engine.Close)
	drive := func() {
		t.Helper()
		if _, err := engine.Drive(ctx); err != nil {
			t.Fatal(err)
		}
	}
	a.sql(`UPDATE operations SET run_after = $1 WHERE state IN ('queued', 'running', 'held')`, a.clock.now().Add(time.Hour).Unix())
	calls, before := network.calls.Load(), a.state()
	parameter := regexp.MustCompile(`:[a-z]+`)
	tried := 0
	for i, email := range []string{"ada@demo.test", "reader@demo.test"} {
		v := visitors[i]
		for _, key := range keys {
			own, foreign := pairs[key].own, pairs[key].foreign
			names := parameter.FindAllString(key, -1)
			if len(names) == 0 || strings.HasPrefix(key, echo.RouteNotFound) {
				continue
			}
			r := attackedRoutes[key]
			for _, r := range append([]attacked{r}, withUIDs()[key]...) {
				elsewhere := strings.Contains(r.fields+r.query, "FOREIGN")
				for mask := range 1 << len(names) {
					if mask == 0 && !elsewhere {
						continue
					}
					x, y := pick(own, foreign, names, mask), pick(own, missing, names, mask)
					got, want := v.ask(key, r.naming(foreign), x), v.ask(key, r.naming(missing), y)
					what := fmt.Sprintf("%s?%s of %s, foreign %b", key, r.fields+r.query, email, mask)
					if diff := cmp.Diff(comparable(want, y), comparable(got, x)); diff != "" {
						t.Errorf("%s is told apart from a missing one: %s", what, diff)
					}
					tried++
					if got.StatusCode == 303 && strings.HasPrefix(key, "GET ") {
						if next := v.get(got.Header.Get("Location")); next.StatusCode != 404 && mask&1 == 1 {
							t.Errorf("%s leads to a page with %d", what, next.StatusCode)
						}
						continue
					}
					if got.StatusCode != 404 && (email != "reader@demo.test" || got.StatusCode != 403) {
						t.Errorf("%s: %d, want 404", what, got.StatusCode)
					}
				}
			}
		}
	}
	if tried < 80 {
		t.Errorf("only %d requests were tried", tried)
	}
	if diff := cmp.Diff(before, a.state()); diff != "" {
		t.Errorf("something was changed: %s", diff)
	}
	if watched := a.db.Watched(); len(watched) > 0 {
		t.Errorf("machines are watched: %v", watched)
	}
	drive()
	if n := network.calls.Load(); n != calls {
		t.Errorf("%d calls to Proxmox", n-calls)
	}
}

// naming puts a target's uids into fields and query.
func (r attacked) naming(x target) attacked {
	put := strings.NewReplacer("FOREIGNBACKUP", x.backup, "FOREIGNOPERATION", x.operation)
	r.fields, r.query = put.Replace(r.fields), put.Replace(r.query)
	return r
}

// pick takes the parameters named in the mask from the second target, the others from the first.
func pick(from, other target, names []string, mask int) target {
	for i, name := range names {
		if mask&(1<<i) == 0 {
			continue
		}
		switch name {
		case ":uid":
			from.service, from.server = other.service, other.server
		case ":backup":
			from.backup = other.backup
		case ":operation":
			from.operation = other.operation
		case ":snapshot":
			from.snapshot = other.snapshot
		case ":storage":
			from.storage = other.storage
		}
	}
	return from
}

// comparable is an answer without what differs in any two: the date, the request's reference, and the uids that were
// asked for, which a redirection repeats.
func comparable(a answer, x target) string {
	var headers []string
	for name, values := range a.Header {
		if name != "Date" && name != "X-Request-Id" {
			headers = append(headers, name+": "+strings.Join(values, ", "))
		}
	}
	slices.Sort(headers)
	text := fmt.Sprintf("%d\n%s\n\n%s", a.StatusCode, strings.Join(headers, "\n"), a.body)
	for name, uid := range map[string]string{"SERVICE": x.service, "BACKUP": x.backup, "OPERATION": x.operation, "SERVER": x.server, "SNAPSHOT": x.snapshot} {
		if uid != "" {
			text = strings.ReplaceAll(text, uid, name)
		}
	}
	return text
}
