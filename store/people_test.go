package store

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stowage/portal"
)

// handClock is a clock that a test sets.
type handClock struct{ t time.Time }

func (c *handClock) now() time.Time       { return c.t }
func (c *handClock) pass(d time.Duration) { c.t = c.t.Add(d) }

// openPeople gives a new database with a clock of its own.
func openPeople(t testing.TB) (*DB, *handClock) {
	t.Helper()
	dir := t.TempDir()
	key := filepath.Join(dir, "stowage.key")
	if err := CreateKey(key); err != nil {
		t.Fatal(err)
	}
	keys, err := ReadKey(key)
	if err != nil {
		t.Fatal(err)
	}
	c := &handClock{time.Date(2026, 11, 20, 2, 0, 0, 0, time.UTC)}
	db, err := Open(Options{Path: filepath.Join(dir, "stowage.db"), Keys: keys, Now: c.now, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, _, err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := db.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db, c
}

func ada() portal.Client {
	return portal.Client{Name: " Ada's machines ", Zone: "Europe/Berlin"}
}

func addAda(t *testing.T, db *DB) (portal.Client, portal.Login) {
	t.Helper()
	c, l, err := db.AddClient(t.Context(), "cli", ada(), "Ada@Demo.Test", "hash")
	if err != nil {
		t.Fatal(err)
	}
	return c, l
}

func TestAddClientGivesAnOwnerLogin(t *testing.T) {
	t.Parallel()
	db, clock := openPeople(t)
	c, l := addAda(t, db)

	want := portal.Client{ID: c.ID, UID: c.UID, Name: "Ada's machines", Zone: "Europe/Berlin", Language: "en", CreatedAt: clock.now()}
	got, err := db.Client(t.Context(), c.ID)
	if err != nil || cmp.Diff(want, got) != "" {
		t.Errorf("client: %v, %s", err, cmp.Diff(want, got))
	}
	for _, name := range []string{c.UID, "ADA@demo.test "} {
		if byName, err := db.ClientNamed(t.Context(), name); err != nil || byName.ID != c.ID {
			t.Errorf("client named %q: %v, %v", name, byName.ID, err)
		}
	}
	wantLogin := portal.Login{
		ID: l.ID, UID: l.UID, ClientID: c.ID, Email: "ada@demo.test", Name: "Ada's machines", Role: portal.RoleOwner,
		PasswordHash: "hash", Zone: "Europe/Berlin", Language: "en", Generation: 1,
	}
	for name, find := range map[string]func() (portal.Login, error){
		"added":    func() (portal.Login, error) { return l, nil },
		"by email": func() (portal.Login, error) { return db.LoginByEmail(t.Context(), " aDa@demo.test") },
		"by uid":   func() (portal.Login, error) { return db.Login(t.Context(), l.UID) },
	} {
		if got, err := find(); err != nil || cmp.Diff(wantLogin, got) != "" {
			t.Errorf("login %s: %v, %s", name, err, cmp.Diff(wantLogin, got))
		}
	}
	var actions []string
	entries, err := db.AuditLog(t.Context(), 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		actions = append(actions, e.Actor+" "+e.Action)
		if strings.Contains(e.After, "hash") {
			t.Errorf("the audit log holds a password hash: %s", e.After)
		}
	}
	if diff := cmp.Diff([]string{"cli login.add", "cli client.add"}, actions); diff != "" {
		t.Errorf("audit: %s", diff)
	}
}

func TestAddClientRefusesWhatCannotBeUsed(t *testing.T) {
	t.Parallel()
	db, _ := openPeople(t)
	addAda(t, db)
	for _, c := range []struct {
		name, field string
		client      portal.Client
		email, hash string
	}{
		{"no name", "name", portal.Client{Zone: "UTC"}, "x@demo.test", "h"},
		{"no zone", "zone", portal.Client{Name: "X"}, "x@demo.test", "h"},
		{"the machine's own zone", "zone", portal.Client{Name: "X", Zone: "Local"}, "x@demo.test", "h"},
		{"no e-mail", "email", portal.Client{Name: "X", Zone: "UTC"}, "Ada <x@demo.test>", "h"},
		{"an e-mail taken", "email", portal.Client{Name: "X", Zone: "UTC"}, "ADA@DEMO.TEST", "h"},
		{"no password", "password", portal.Client{Name: "X", Zone: "UTC"}, "x@demo.test", ""},
	} {
		_, _, err := db.AddClient(t.Context(), "cli", c.client, c.email, c.hash)
		var refusal *portal.Error
		if !asRefusal(err, &refusal) || refusal.Field != c.field {
			t.Errorf("%s: %v, want a refusal of %q", c.name, err, c.field)
		}
	}
	rows, err := db.Clients(t.Context(), "", 0, 10)
	if err != nil || len(rows) != 1 {
		t.Errorf("a refused client left something behind: %v, %v", rows, err)
	}
}

func asRefusal(err error, target **portal.Error) bool {
	e, ok := err.(*portal.Error)
	if ok {
		*target = e
	}
	return ok
}

func TestStaffAndRoles(t *testing.T) {
	t.Parallel()
	db, _ := openPeople(t)
	ctx := t.Context()
	if has, err := db.HasStaff(ctx); err != nil || has {
		t.Errorf("staff in a new database: %v, %v", has, err)
	}
	if _, err := db.AddStaff(ctx, "cli", "admin@demo.test", "", portal.RoleOwner, "h"); portal.CodeOf(err) != portal.CodeInvalid {
		t.Errorf("staff with a client's role: %v", err)
	}
	admin, err := db.AddStaff(ctx, "cli", "admin@demo.test", "", portal.RoleAdmin, "h")
	if err != nil {
		t.Fatal(err)
	}
	c, _ := addAda(t, db)
	if _, err := db.AddLogin(ctx, admin.Actor(), c.ID, "reader@demo.test", "", portal.RoleAdmin, "h"); portal.CodeOf(err) != portal.CodeInvalid {
		t.Errorf("a client's login with a staff role: %v", err)
	}
	reader, err := db.AddLogin(ctx, admin.Actor(), c.ID, "reader@demo.test", "Reader", portal.RoleReader, "h")
	if err != nil {
		t.Fatal(err)
	}
	if reader.MayAct() || reader.Staff() || !admin.Staff() {
		t.Errorf("roles mixed up: %+v %+v", reader, admin)
	}
	staff, err := db.Staff(ctx)
	if err != nil || len(staff) != 1 || staff[0].Zone != "UTC" {
		t.Errorf("staff: %+v, %v", staff, err)
	}
	logins, err := db.LoginsOf(ctx, c.ID)
	if err != nil || len(logins) != 2 {
		t.Errorf("logins of ada: %+v, %v", logins, err)
	}
	if has, err := db.HasStaff(ctx); err != nil || !has {
		t.Errorf("staff not seen: %v, %v", has, err)
	}
}

func TestPasswordAndZone(t *testing.T) {
	t.Parallel()
	db, _ := openPeople(t)
	ctx := t.Context()
	c, l := addAda(t, db)
	changed, err := db.SetPassword(ctx, "cli", "ADA@demo.test", "other")
	if err != nil || changed.PasswordHash != "other" || changed.Generation != l.Generation+1 {
		t.Errorf("after a new password: %+v, %v", changed, err)
	}
	if _, err := db.SetPassword(ctx, "cli", "nobody@demo.test", "x"); portal.CodeOf(err) != portal.CodeNotFound {
		t.Errorf("password of nobody: %v", err)
	}
	if off, err := db.SetDisabled(ctx, "cli", l.Email, true); err != nil || !off.Disabled || off.Generation != l.Generation+2 {
		t.Errorf("disabled: %+v, %v", off, err)
	}
	if err := db.SetZone(ctx, l.Actor(), l, "America/Nuuk"); err != nil {
		t.Fatal(err)
	}
	got, err := db.Login(ctx, l.UID)
	if err != nil || got.Zone != "America/Nuuk" {
		t.Errorf("zone of the login: %q, %v", got.Zone, err)
	}
	if c, err = db.Client(ctx, c.ID); err != nil || c.Zone != "America/Nuuk" {
		t.Errorf("an owner's zone is the client's: %q, %v", c.Zone, err)
	}
	if err := db.SetZone(ctx, l.Actor(), l, "Mars/Olympus"); portal.CodeOf(err) != portal.CodeInvalid {
		t.Errorf("no such zone: %v", err)
	}
	reader, err := db.AddLogin(ctx, "cli", c.ID, "reader@demo.test", "", portal.RoleReader, "h")
	if err != nil {
		t.Fatal(err)
	}
	if err := db.SetZone(ctx, reader.Actor(), reader, "Asia/Tokyo"); err != nil {
		t.Fatal(err)
	}
	if c, err = db.Client(ctx, c.ID); err != nil || c.Zone != "America/Nuuk" {
		t.Errorf("a reader's zone became the client's: %q, %v", c.Zone, err)
	}
	if broken, err := db.VerifyAudit(ctx); err != nil || broken != 0 {
		t.Errorf("audit chain: %d, %v", broken, err)
	}
}

func TestClientsAreFoundByWhatIsPasted(t *testing.T) {
	t.Parallel()
	db, _ := openPeople(t)
	ctx := t.Context()
	a, _ := addAda(t, db)
	if _, _, err := db.AddClient(ctx, "cli", portal.Client{Name: "100% Grace_Inc", Zone: "UTC"}, "grace@demo.test", "h"); err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string][]string{
		"": {"100% Grace_Inc", "Ada's machines"}, "ADA": {"Ada's machines"}, a.UID: {"Ada's machines"}, "grace@": {"100% Grace_Inc"},
		"%": {"100% Grace_Inc"}, "_": {"100% Grace_Inc"}, "demo.test": {"100% Grace_Inc", "Ada's machines"}, "nobody": nil, "!": nil,
	} {
		rows, err := db.Clients(ctx, query, 0, 10)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, r := range rows {
			names = append(names, r.Name)
		}
		if diff := cmp.Diff(want, names); diff != "" {
			t.Errorf("query %q: %s", query, diff)
		}
	}
	rows, err := db.Clients(ctx, "", 1, 10)
	if err != nil || len(rows) != 1 || cmp.Diff([]string{"ada@demo.test"}, rows[0].Emails) != "" {
		t.Errorf("second row: %+v, %v", rows, err)
	}
}

func TestSessionTokensAreNotInTheDatabase(t *testing.T) {
	t.Parallel()
	db, clock := openPeople(t)
	ctx, s := t.Context(), db.Sessions()
	const token = "kept-in-the-cookie-alone"
	if err := s.CommitCtx(ctx, token, []byte("data"), clock.now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(token, []byte("more"), clock.now().Add(2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if data, found, err := s.Find(token); err != nil || !found || string(data) != "more" {
		t.Errorf("found %q, %v, %v", data, found, err)
	}
	copied := filepath.Join(t.TempDir(), "copy.db")
	if err := db.CopyTo(ctx, copied); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(copied)
	if err != nil || bytes.Contains(raw, []byte(token)) {
		t.Errorf("a copy of the database holds the token (%v)", err)
	}
	clock.pass(2*time.Hour + time.Second)
	if _, found, err := s.Find(token); err != nil || found {
		t.Errorf("an expired session was found (%v)", err)
	}
	if err := db.Clean(ctx, clock.now(), clock.now()); err != nil {
		t.Fatal(err)
	}
	if n := countRows(t, db, "sessions"); n != 0 {
		t.Errorf("%d sessions left", n)
	}
	if err := s.Delete(token); err != nil {
		t.Errorf("deleting what isn't there: %v", err)
	}
}

func countRows(t *testing.T, db *DB, table string) (n int) {
	t.Helper()
	if err := db.read.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM `+table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestThrottleByAccount(t *testing.T) {
	t.Parallel()
	db, clock := openPeople(t)
	ctx := t.Context()
	allowed := func(email, address string) time.Duration {
		until, err := db.LoginAllowed(ctx, email, address)
		if err != nil {
			t.Fatal(err)
		}
		if until.IsZero() {
			return 0
		}
		return until.Sub(clock.now())
	}
	fail := func(email, address string) time.Duration {
		until, err := db.LoginFailed(ctx, email, address)
		if err != nil {
			t.Fatal(err)
		}
		if until.IsZero() {
			return 0
		}
		return until.Sub(clock.now())
	}
	var waits []time.Duration
	for i := range 13 {
		wait := fail("ada@demo.test", "192.0.2."+string(rune('0'+i%8)))
		waits = append(waits, wait)
		if got := allowed("ADA@demo.test", "198.51.100.1"); got != wait {
			t.Errorf("after failure %d: has to wait %v, was told %v", i+1, got, wait)
		}
		clock.pass(wait)
	}
	s, m := time.Second, time.Minute
	want := []time.Duration{0, 0, 0, 0, 30 * s, m, 2 * m, 4 * m, 8 * m, 15 * m, 15 * m, 15 * m, 15 * m}
	if diff := cmp.Diff(want, waits); diff != "" {
		t.Errorf("waits: %s", diff)
	}
	if wait := allowed("grace@demo.test", "198.51.100.1"); wait != 0 {
		t.Errorf("somebody else waits %v", wait)
	}
	if err := db.LoginSucceeded(ctx, "ada@demo.test"); err != nil {
		t.Fatal(err)
	}
	if wait := fail("ada@demo.test", "198.51.100.1"); wait != 0 {
		t.Errorf("after a success the first failure waits %v", wait)
	}
	clock.pass(failureWindow)
	for range 4 {
		if wait := fail("ada@demo.test", "198.51.100.2"); wait != 0 {
			t.Errorf("an old failure still counts: %v", wait)
		}
	}
	clock.pass(24*time.Hour + time.Second)
	if err := db.Clean(ctx, clock.now(), clock.now()); err != nil {
		t.Fatal(err)
	}
	if n := countRows(t, db, "login_failures"); n != 0 {
		t.Errorf("%d rows of failures left", n)
	}
}

func TestThrottleByAddress(t *testing.T) {
	t.Parallel()
	for name, addresses := range map[string][]string{
		"one address":         {"192.0.2.7", "::ffff:192.0.2.7"},
		"one network of IPv6": {"2001:db8::1", "2001:db8::2:3", "2001:db8:0:0:ffff::9"},
		"no address at all":   {"", "unix", "@"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, _ := openPeople(t)
			var until time.Time
			for i := range addressAllowed {
				if !until.IsZero() {
					t.Fatalf("has to wait after %d failures", i)
				}
				var err error
				until, err = db.LoginFailed(context.Background(), string(rune('a'+i))+"@demo.test", addresses[i%len(addresses)])
				if err != nil {
					t.Fatal(err)
				}
			}
			if until.IsZero() {
				t.Fatalf("no wait after %d failures", addressAllowed)
			}
			if got, err := db.LoginAllowed(context.Background(), "z@demo.test", addresses[0]); err != nil || !got.Equal(until) {
				t.Errorf("another account from there: %v, %v", got, err)
			}
			if got, err := db.LoginAllowed(context.Background(), "z@demo.test", "2001:db8:0:1::1"); err != nil || !got.IsZero() {
				t.Errorf("another network: %v, %v", got, err)
			}
		})
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	db, _ := openPeople(t)
	ctx := t.Context()
	if n, err := db.SettingInt(ctx, PerStorage); err != nil || n != 4 {
		t.Errorf("default: %d, %v", n, err)
	}
	if err := db.SetSetting(ctx, "cli", PerStorage, " 06 "); err != nil {
		t.Fatal(err)
	}
	if n, err := db.SettingInt(ctx, PerStorage); err != nil || n != 6 {
		t.Errorf("set: %d, %v", n, err)
	}
	for key, value := range map[string]string{
		PerStorage: "0", PerServer: "many", CatchUpHours: "25", Brand: "", Support: "javascript:alert(1)", "nonsense": "1",
	} {
		if err := db.SetSetting(ctx, "cli", key, value); portal.CodeOf(err) != portal.CodeInvalid {
			t.Errorf("%s = %q: %v", key, value, err)
		}
	}
	if err := db.SetSetting(ctx, "cli", Support, "mailto:help@demo.test"); err != nil {
		t.Error(err)
	}
	all, err := db.Settings(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.number() {
			if _, err := s.clean(s.Default); err != nil {
				t.Errorf("the default of %s: %v", s.Key, err)
			}
		}
		if s.Key == PerStorage && s.Value != "6" {
			t.Errorf("list: %+v", s)
		}
	}
	entries, err := db.AuditLog(ctx, 0, 10)
	if err != nil || len(entries) != 2 || entries[1].Before != "4" || entries[1].After != "6" {
		t.Errorf("audit: %+v, %v", entries, err)
	}
}
