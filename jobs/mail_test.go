package jobs_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/http/httptest"
	"net/mail"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stowage/jobs"
	"stowage/portal"
	"stowage/store"
)

// bureau is a portal that has something to say: two clients, staff, and a mail server.
type bureau struct {
	t                *testing.T
	clock            *clock
	path             string
	keys             *store.Keyring
	db               *store.DB
	engine           *jobs.Engine
	office           *postOffice
	ada, grace       portal.Client
	h100, h101, h200 portal.Service // two of ada's, one of grace's
}

var friday = time.Date(2026, 11, 20, 2, 14, 0, 0, time.UTC)

func newBureau(t *testing.T) *bureau {
	t.Helper()
	b := &bureau{t: t, clock: &clock{t: friday}, office: newPostOffice(t)}
	dir := t.TempDir()
	b.path = filepath.Join(dir, "db")
	from, err := template()
	b.must(err)
	for _, name := range []string{"db", "key"} {
		copyFile(t, filepath.Join(from, name), filepath.Join(dir, name))
	}
	b.keys, err = store.ReadKey(filepath.Join(dir, "key"))
	b.must(err)
	b.db = b.open()
	b.must(b.db.Ready(t.Context()))
	b.must(b.db.RaiseEpoch(t.Context(), "test"))
	b.people()
	b.engine = b.newEngine(b.db)
	return b
}

func (b *bureau) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bureau) open() *store.DB {
	b.t.Helper()
	db, err := store.Open(store.Options{Path: b.path, Keys: b.keys, Now: b.clock.Now, NoSync: true})
	b.must(err)
	b.t.Cleanup(func() { _ = db.Close() })
	return db
}

func (b *bureau) newEngine(db *store.DB) *jobs.Engine {
	e := jobs.New(jobs.Options{DB: db, Now: b.clock.Now, Mail: &jobs.Mail{
		URL: "https://backups.example", From: mail.Address{Address: "backups@stowage.example"}, Server: b.office.server(),
	}})
	b.t.Cleanup(e.Close)
	return e
}

func (b *bureau) people() {
	ctx := b.t.Context()
	var err error
	b.ada, _, err = b.db.AddClient(ctx, "cli", portal.Client{Name: "Ada", Zone: "Europe/Berlin", Language: "de"}, "ada@demo.test", "x")
	b.must(err)
	b.grace, _, err = b.db.AddClient(ctx, "cli", portal.Client{Name: "Grace", Zone: "America/New_York"}, "grace@demo.test", "x")
	b.must(err)
	_, err = b.db.AddLogin(ctx, "cli", b.ada.ID, "reader@demo.test", "Reader", portal.RoleReader, "x")
	b.must(err)
	_, err = b.db.AddStaff(ctx, "cli", "admin@demo.test", "Admin", portal.RoleAdmin, "x")
	b.must(err)
	_, err = b.db.AddStaff(ctx, "cli", "auditor@demo.test", "Auditor", portal.RoleAuditor, "x")
	b.must(err)
	server, err := b.db.AddServer(ctx, "cli", portal.Server{Name: "pve1", Endpoints: []string{"https://127.0.0.1:1"}, TokenID: "portal@pve!api"}, "secret")
	b.must(err)
	p := portal.NewProduct("Small")
	p.Quota, p.Storage = 3, "local"
	p, err = b.db.AddProduct(ctx, "cli", p)
	b.must(err)
	add := func(c portal.Client, vmid int) portal.Service {
		svc, err := b.db.AddService(ctx, "cli", portal.Service{
			ClientID: c.ID, ProductID: p.ID, ServerID: server.ID, VMID: vmid, Name: fmt.Sprint("h", vmid), Node: "pve1", Status: "running",
			Identity: portal.Identity{UUID: fmt.Sprintf("00000000-0000-4000-8000-%012d", vmid)},
		}, c.Zone)
		b.must(err)
		return svc
	}
	b.h100, b.h101, b.h200 = add(b.ada, 100), add(b.ada, 101), add(b.grace, 200)
}

// tell puts a message about a service into the outbox.
func (b *bureau) tell(channel string, svc portal.Service, topic string, n portal.Notice) {
	b.t.Helper()
	b.must(b.db.Post(b.t.Context(), store.Message{Channel: channel, ServiceID: svc.ID, Topic: topic, Payload: n}))
}

func (b *bureau) failed(svc portal.Service, why string) {
	b.tell(store.ToClient, svc, portal.TopicBackupFailed, portal.Notice{Text: string(portal.Verbatim(why)), Reference: "K7Q-42M"})
}

func (b *bureau) send() {
	b.t.Helper()
	b.must(b.engine.SendMail(b.t.Context()))
}

// pass moves the clock in steps and sends in each.
func (b *bureau) pass(d, step time.Duration) {
	b.t.Helper()
	for end := b.clock.Now().Add(d); b.clock.Now().Before(end); {
		b.clock.set(b.clock.Now().Add(step))
		b.send()
	}
}

func (b *bureau) mails(f store.MailFilter) []store.Mail {
	b.t.Helper()
	lines, _, err := b.db.MailLines(b.t.Context(), f, store.Page{Limit: 1000})
	b.must(err)
	return lines
}

// parts gives what a mail says: decoded headers, text and HTML.
func (l letter) parts(t *testing.T) (subject, text, html string) {
	t.Helper()
	subject, err := new(mime.WordDecoder).DecodeHeader(l.header("Subject"))
	if err != nil {
		t.Fatal(err)
	}
	kind, params, err := mime.ParseMediaType(l.header("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		t.Fatalf("%s, %v", kind, err)
	}
	for r := multipart.NewReader(l.message.Body, params["boundary"]); ; {
		p, err := r.NextRawPart()
		if err == io.EOF {
			return subject, text, html
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(quotedprintable.NewReader(p))
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(p.Header.Get("Content-Type"), "text/html") {
			html = string(body)
		} else {
			text = strings.ReplaceAll(string(body), "\r\n", "\n")
		}
	}
}

func TestMailReachesWhomItIsFor(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	b.failed(b.h100, "The storage is full.")
	b.tell(store.ToStaff, b.h100, portal.TopicBackupFailed, portal.Notice{Why: "no space left on device /mnt/pve/local"})
	b.send()
	b.send()
	var got []string
	for _, l := range b.office.letters() {
		subject, _, _ := l.parts(t)
		got = append(got, l.to+": "+subject)
	}
	want := []string{"ada@demo.test: h100: Ein Backup ist fehlgeschlagen", "admin@demo.test: h100: a backup failed"}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("mails (-want +got):\n%s", d)
	}
	first := b.office.letters()[0]
	_, text, html := letterAgain(t, first).parts(t)
	for _, words := range []string{"The storage is full.", "K7Q-42M", "https://backups.example/services/" + b.h100.UID + "/backups", "Fr 20. Nov 03:14", "Europe/Berlin"} {
		if !strings.Contains(text, words) || !strings.Contains(html, words) {
			t.Errorf("%q is not in both parts:\n%s", words, text)
		}
	}
	if strings.Contains(first.raw, "/mnt/pve") {
		t.Errorf("a client reads what is for staff:\n%s", first.raw)
	}
	for name, want := range map[string]string{"Auto-Submitted": "auto-generated", "From": `"Stowage" <backups@stowage.example>`, "To": "<ada@demo.test>"} {
		if got := first.header(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if got := b.mails(store.MailFilter{State: "sent"}); len(got) != 2 {
		t.Errorf("the log has %d sent mails, want 2", len(got))
	}
}

// letterAgain reads a mail anew, whose body was read.
func letterAgain(t *testing.T, l letter) letter {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(l.raw))
	if err != nil {
		t.Fatal(err)
	}
	l.message = m
	return l
}

func TestMailIsSwitchedOff(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	ctx := t.Context()
	ada, err := b.db.LoginByEmail(ctx, "ada@demo.test")
	b.must(err)
	reader, err := b.db.LoginByEmail(ctx, "reader@demo.test")
	b.must(err)
	b.must(b.db.SetMailSwitches(ctx, ada.Actor(), ada, map[string]bool{"missed": true}))
	b.must(b.db.SetMailSwitches(ctx, reader.Actor(), reader, map[string]bool{"failed": true}))
	b.failed(b.h100, "x")
	b.must(b.db.Post(ctx, store.Message{Channel: store.ToClient, Topic: portal.TopicNewDevice, Payload: portal.Notice{Login: ada.UID, Address: "203.0.113.7"}}))
	b.send()
	var got []string
	for _, l := range b.office.letters() {
		got = append(got, l.to)
	}
	if d := cmp.Diff([]string{"reader@demo.test", "ada@demo.test"}, got); d != "" {
		t.Errorf("recipients (-want +got): what is about security can't be switched off:\n%s", d)
	}
}

func TestMailWaitsBehindItsOwnServiceOnly(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	b.office.failing(func(command, argument string) string {
		if command == "RCPT" && strings.Contains(argument, "ada") {
			return "451 come back later"
		}
		return ""
	})
	for i := range 3 {
		b.failed(b.h100, fmt.Sprint("ada ", i))
	}
	b.failed(b.h200, "grace")
	b.send()
	if got := b.office.letters(); len(got) != 1 || got[0].to != "grace@demo.test" {
		t.Fatalf("%d letters, want grace's alone", len(got))
	}
	tried := func() (n int) {
		for _, m := range b.mails(store.MailFilter{State: "waiting"}) {
			n += m.Attempts
		}
		return n
	}
	if n := tried(); n != 1 {
		t.Errorf("%d attempts, want 1: later mails wait behind the first", n)
	}
	b.pass(50*time.Second, 5*time.Second)
	if n := tried(); n != 1 {
		t.Errorf("%d attempts within a minute, want 1", n)
	}
	b.pass(10*time.Minute, 30*time.Second)
	if n := tried(); n != 4 {
		t.Errorf("%d attempts after ten minutes, want 4: after 0, 1, 3 and 7", n)
	}
	b.office.failing(nil)
	b.pass(10*time.Minute, 30*time.Second)
	var got []string
	for _, l := range b.office.letters()[1:] {
		_, text, _ := l.parts(t)
		got = append(got, strings.SplitN(text, "\n", 2)[0])
	}
	if d := cmp.Diff([]string{"Ada 0.", "Ada 1.", "Ada 2."}, got); d != "" {
		t.Errorf("order (-want +got):\n%s", d)
	}
}

func TestMailIsGivenUp(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		command, answer string
		within          time.Duration // given up by then
		after           time.Duration // and not before
	}{
		"a recipient that there is not": {"RCPT", "550 no such user", time.Second, 0},
		"a mail that is refused":        {".", "554 not wanted", time.Second, 0},
		"a full mailbox for days":       {"RCPT", "452 full", 73 * time.Hour, 70 * time.Hour},
		"a sender that is refused":      {"MAIL", "553 not you", 73 * time.Hour, 70 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBureau(t)
			b.failed(b.h100, "x")
			b.office.failing(func(command, argument string) string {
				if command == c.command && (command == "MAIL" || strings.Contains(argument, "ada")) {
					return c.answer
				}
				return ""
			})
			b.send()
			if c.after > 0 {
				b.pass(c.after, 20*time.Minute)
				if got := b.mails(store.MailFilter{State: "failed"}); len(got) != 0 {
					t.Fatalf("given up too early: %+v", got)
				}
				b.pass(c.within-c.after, 20*time.Minute)
			}
			got := b.mails(store.MailFilter{State: "failed"})
			if len(got) != 1 || !strings.Contains(got[0].Trouble, c.answer[4:]) {
				t.Fatalf("given up: %+v", got)
			}
			b.office.failing(nil)
			b.pass(time.Hour, 20*time.Minute)
			var alert string
			for _, l := range b.office.letters() {
				if _, text, _ := letterAgain(t, l).parts(t); l.to == "admin@demo.test" && strings.Contains(text, "ada@demo.test") {
					alert = text
				}
			}
			if !strings.Contains(alert, c.answer[4:]) || !strings.Contains(alert, "/admin/mail") {
				t.Errorf("staff are told:\n%s", alert)
			}
			b.must(b.db.RetryMail(t.Context(), "cli", got[0].UID))
			b.send()
			if m, err := b.db.MailByUID(t.Context(), got[0].UID); err != nil || m.State != "sent" {
				t.Errorf("sent again by hand it is %s, %v", m.State, err)
			}
		})
	}
}

func TestMailServerIsAway(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func(string, string) string{
		"drops at once":  func(string, string) string { return "drop" },
		"not now":        func(c, _ string) string { return map[string]string{"EHLO": "421 closing", "HELO": "421 closing"}[c] },
		"drops the data": func(c, _ string) string { return map[string]string{".": "drop"}[c] },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBureau(t)
			b.office.failing(answer)
			for i := range 5 {
				b.failed(b.h100, fmt.Sprint(i))
				b.failed(b.h200, fmt.Sprint(i))
			}
			b.send()
			b.send()
			if b.office.talks != 1 {
				t.Errorf("%d connections, want 1: a server that is away is left alone for a while", b.office.talks)
			}
			b.office.failing(nil)
			b.pass(5*time.Minute, 15*time.Second)
			if got := b.office.letters(); len(got) != 10 {
				t.Errorf("%d letters, want 10", len(got))
			}
		})
	}
}

// A mail whose answer was lost was taken perhaps: it is sent again, and has the same Message-ID.
func TestMailIsSentAgainUnderItsName(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	b.failed(b.h100, "x")
	b.office.failing(func(command, _ string) string {
		if command == "." {
			return "taken and drop"
		}
		return ""
	})
	b.send()
	b.office.failing(nil)
	b.pass(2*time.Minute, 10*time.Second)
	ids := b.office.ids()
	if len(ids) != 2 || ids[0] != ids[1] || !strings.HasSuffix(ids[0], "@stowage.example>") {
		t.Errorf("Message-IDs %q, want the same twice", ids)
	}
}

// TestMailCrashes dies before and after every write, restarts, and wants every mail at least once and in order.
func TestMailCrashes(t *testing.T) {
	t.Parallel()
	for stop := 0; ; stop++ {
		b := newBureau(t)
		for i := range 2 {
			b.failed(b.h100, fmt.Sprint("number ", i))
		}
		b.tell(store.ToStaff, b.h101, portal.TopicHeld, portal.Notice{Why: "x"})
		at := 0
		b.db.Hook = func(string) {
			if at++; at == stop+1 {
				panic("crash")
			}
		}
		crashed := func() (died bool) {
			defer func() { died = recover() != nil }()
			b.send()
			return false
		}()
		b.db.Hook = nil
		if !crashed {
			if stop < 12 {
				t.Errorf("there are %d places to crash at, which is too few", stop)
			}
			return
		}
		b.db = b.open()
		b.must(b.db.Ready(t.Context()))
		b.engine = b.newEngine(b.db)
		b.pass(12*time.Minute, time.Minute)
		seen := map[string]bool{}
		var order []string
		for _, l := range b.office.letters() {
			if _, text, _ := l.parts(t); !seen[l.header("Message-Id")] {
				seen[l.header("Message-Id")] = true
				order = append(order, l.to+" "+strings.SplitN(text, "\n", 2)[0])
			}
		}
		var client []string
		for _, o := range order {
			if strings.HasPrefix(o, "ada") {
				client = append(client, o)
			}
		}
		if d := cmp.Diff([]string{"ada@demo.test Number 0.", "ada@demo.test Number 1."}, client); d != "" || len(order) != 3 {
			t.Errorf("crash at %d: %q\n%s", stop, order, d)
		}
		if n := len(b.office.letters()); n > 4 {
			t.Errorf("crash at %d: %d letters for 3 mails", stop, n)
		}
	}
}

// Two portals on one database send each mail once.
func TestMailOfTwoPortals(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	for i := range 20 {
		b.failed([]portal.Service{b.h100, b.h101, b.h200}[i%3], fmt.Sprint(i))
	}
	other := b.open()
	b.must(other.Ready(t.Context()))
	engines := []*jobs.Engine{b.engine, b.newEngine(other)}
	done := make(chan error, len(engines))
	for _, e := range engines {
		go func() { done <- e.SendMail(context.Background()) }()
	}
	for range engines {
		b.must(<-done)
	}
	b.send()
	seen := map[string]int{}
	for _, id := range b.office.ids() {
		seen[id]++
	}
	if len(seen) != 20 || len(b.office.letters()) != 20 {
		t.Errorf("%d letters, %d different, want 20", len(b.office.letters()), len(seen))
	}
}

func TestStaffAlertsAreGathered(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	alert := func() { b.tell(store.ToStaff, b.h100, portal.TopicHeld, portal.Notice{Why: "stuck"}) }
	alert()
	b.tell(store.ToStaff, b.h101, portal.TopicHeld, portal.Notice{Why: "other"})
	b.send()
	for range 4 {
		alert()
		b.pass(time.Minute, time.Minute)
	}
	if n := len(b.office.letters()); n != 2 {
		t.Fatalf("%d letters, want 2: one about each machine", n)
	}
	b.pass(20*time.Minute, time.Minute)
	all := b.office.letters()
	if len(all) != 3 {
		t.Fatalf("%d letters, want 3", len(all))
	}
	if _, text, _ := all[2].parts(t); !strings.Contains(text, "This happened 4 times since Fri 20 Nov 02:14") {
		t.Errorf("what was gathered is not said:\n%s", text)
	}
}

func TestMorningReport(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	b.must(b.db.SetSetting(t.Context(), "cli", store.ReportZone, "Europe/Berlin"))
	b.send() // the first day is noted
	b.pass(4*time.Hour, 10*time.Minute)
	b.pass(20*time.Hour, time.Hour)
	if n := len(b.office.letters()); n != 0 {
		t.Fatalf("%d reports before the second day's", n)
	}
	b.clock.set(time.Date(2026, 11, 21, 5, 59, 0, 0, time.UTC))
	b.send()
	if n := len(b.office.letters()); n != 0 {
		t.Fatalf("a report at 06:59")
	}
	b.clock.set(time.Date(2026, 11, 21, 6, 0, 0, 0, time.UTC))
	b.send()
	b.pass(12*time.Hour, time.Hour)
	all := b.office.letters()
	if len(all) != 1 || all[0].to != "admin@demo.test" {
		t.Fatalf("%d reports, want one to the admin", len(all))
	}
	if subject, text, _ := all[0].parts(t); !strings.HasPrefix(subject, "Morning report") || !strings.Contains(text, "Unprotected services: 3") {
		t.Errorf("%s\n%s", subject, text)
	}
}

// What lay in the outbox while there was no mail is not poured out over people when there is.
func TestOldMessagesAreLeftOut(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	for range 5 {
		b.failed(b.h100, "x")
	}
	b.clock.set(friday.AddDate(0, 0, 4))
	b.pass(time.Minute, 10*time.Second)
	for _, l := range b.office.letters() {
		if l.to != "admin@demo.test" {
			t.Errorf("a mail to %s about what was four days ago", l.to)
		}
	}
	if s, err := b.db.MailState(t.Context()); err != nil || s.Messages > 1 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestNoMailServerLeavesTheOutbox(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	b.failed(b.h100, "x")
	e := jobs.New(jobs.Options{DB: b.db, Now: b.clock.Now})
	defer e.Close()
	b.must(e.SendMail(t.Context()))
	if s, err := b.db.MailState(t.Context()); err != nil || s.Messages != 1 || s.Waiting != 0 {
		t.Errorf("%+v, %v: want one message that waits", s, err)
	}
}

// No name, text or brand becomes a header of its own, or a line of the conversation.
func TestMailInjection(t *testing.T) {
	t.Parallel()
	b := newBureau(t)
	raw, err := sql.Open("sqlite3", "file:"+b.path+"?_busy_timeout=5000")
	b.must(err)
	defer func() { _ = raw.Close() }()
	evil := []string{
		"x\r\nBcc: victim@demo.test", "x\nSubject: y", "x\r\n.\r\nMAIL FROM:<a@b>", "=?utf-8?q?x=0D=0ABcc:_v@w?=", "\"><script>alert(1)</script>",
		"<img src=http://evil.example/x.png>", "Zürich \u202e\u2028 東京 🚀", strings.Repeat("lang ", 300), "\x00\x01\x07", "{{.}}%s%d%!", "http://evil.example\r\n\r\n<a href=x>",
	}
	for _, text := range evil {
		if _, err := raw.Exec(`UPDATE services SET name = $1 WHERE id = $2`, text, b.h200.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := raw.Exec(`INSERT INTO settings (key, value) VALUES ('brand', $1) ON CONFLICT (key) DO UPDATE SET value = excluded.value`, text); err != nil {
			t.Fatal(err)
		}
		before := len(b.office.letters())
		b.tell(store.ToClient, b.h200, portal.TopicSnapshotExpiring, portal.Notice{
			Text: string(portal.Verbatim(text)), Reference: text, SnapshotExpiring: portal.SnapshotExpiring{Description: text, Expires: friday.Unix()},
		})
		b.tell(store.ToStaff, b.h200, portal.TopicNotEvicted+text, portal.Notice{Why: text, Operation: text})
		b.send()
		for _, l := range b.office.letters()[before:] {
			for name := range l.message.Header {
				switch name {
				case "Auto-Submitted", "Content-Language", "Content-Type", "Date", "From", "Message-Id", "Mime-Version", "Subject", "To", "User-Agent", "X-Mailer", "X-Auto-Response-Suppress":
				default:
					t.Errorf("%q became the header %s", text, name)
				}
			}
			if l.to != "grace@demo.test" && l.to != "admin@demo.test" {
				t.Errorf("%q: a letter to %s", text, l.to)
			}
			_, _, html := l.parts(t)
			for _, tag := range []string{"<script", "<img", "<a href=x"} {
				if strings.Contains(html, tag) {
					t.Errorf("%q became %s", text, tag)
				}
			}
		}
		if got := len(b.office.letters()) - before; got != 2 {
			t.Errorf("%q: %d letters, want 2", text, got)
		}
	}
}

// What doctor asks: it connects, says hello and signs in, and sends nothing.
func TestSMTPCheck(t *testing.T) {
	t.Parallel()
	office := newPostOffice(t)
	server := office.server()
	server.User, server.Password = "portal", "a secret"
	if err := server.Check(t.Context()); err != nil {
		t.Error(err)
	}
	office.failing(func(command, _ string) string { return map[string]string{"AUTH": "535 wrong password"}[command] })
	if err := server.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "535") || strings.Contains(err.Error(), "secret") {
		t.Errorf("a wrong password: %v", err)
	}
	server.TLS = true
	if err := server.Check(t.Context()); err == nil {
		t.Error("a server without TLS is taken for one with")
	}
	for _, line := range office.lines {
		if strings.HasPrefix(line, "MAIL") || strings.HasPrefix(line, "RCPT") {
			t.Errorf("a check sends mail: %s", line)
		}
	}
}

// TestSMTPEncrypted speaks with a server that encrypts from the first byte, and with one that does so when asked; with none
// whose certificate it doesn't know, and never in clear with one that isn't on this machine.
func TestSMTPEncrypted(t *testing.T) {
	t.Parallel()
	issuer := httptest.NewUnstartedServer(nil)
	issuer.StartTLS()
	defer issuer.Close()
	known := x509.NewCertPool()
	known.AddCert(issuer.Certificate())
	ours := &tls.Config{Certificates: issuer.TLS.Certificates, MinVersion: tls.VersionTLS12}
	told := func(office *postOffice) string { return strings.Join(office.lines, "\n") }
	for _, scheme := range []string{"smtps", "smtp"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			b := newBureau(t)
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			b.must(err)
			if scheme == "smtps" {
				listener = tls.NewListener(listener, ours)
			}
			b.office = openPostOffice(t, listener)
			server := b.office.server()
			server.User, server.Password, server.TLS = "portal", "a secret", scheme == "smtps"
			if scheme == "smtp" {
				b.office.starttls, server.Host = ours, "0.0.0.0" // leads here on Linux, and isn't known to be this machine
			}
			if err := server.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate") || strings.Contains(told(b.office), "AUTH") {
				t.Errorf("a certificate that nobody knows: %v\n%s", err, told(b.office))
			}
			server.Config = &tls.Config{RootCAs: known, ServerName: "example.com", MinVersion: tls.VersionTLS12}
			e := jobs.New(jobs.Options{DB: b.db, Now: b.clock.Now, Mail: &jobs.Mail{URL: "https://backups.example", From: mail.Address{Address: "backups@stowage.example"}, Server: server}})
			t.Cleanup(e.Close)
			b.failed(b.h100, "the disk is full")
			b.must(e.SendMail(t.Context()))
			if got := b.office.letters(); len(got) == 0 || !strings.Contains(told(b.office), "AUTH") {
				t.Errorf("%d letters\n%s", len(got), told(b.office))
			}
		})
	}
	office := newPostOffice(t)
	server := office.server()
	server.Host, server.User, server.Password = "0.0.0.0", "portal", "a secret"
	if err := server.Check(t.Context()); err == nil || strings.Contains(told(office), "AUTH") {
		t.Errorf("a server elsewhere that can't encrypt: %v\n%s", err, told(office))
	}
}

func TestParseSMTP(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"smtp://user@mail.example:2525?from=a@b.example": "mail.example 2525 false user a@b.example",
		"smtp://mail.example":                            "mail.example 587 false  ",
		"smtps://user%40x@mail.example":                  "mail.example 465 true user@x ",
		"smtp://user:secret@mail.example":                "the password comes from a file (--smtp-password-file), never from an argument",
		"smtp://mail.example?to=x":                       `"to" is no part of it`,
		"http://mail.example":                            "it reads like smtp://user@mail.example:587 (STARTTLS) or smtps://user@mail.example:465",
		"mail.example":                                   "it reads like smtp://user@mail.example:587 (STARTTLS) or smtps://user@mail.example:465",
	} {
		s, from, err := jobs.ParseSMTP(text)
		got := fmt.Sprint(s.Host, " ", s.Port, " ", s.TLS, " ", s.User, " ", from)
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}
