package store

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stowage/portal"
)

// texts are of every kind that columns hold: plain, with what fills them, nested, and with what could be taken for a
// sign of ours.
func texts(t *testing.T) map[string]portal.Text {
	t.Helper()
	berlin, err := portal.Zone("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	at := portal.When{At: time.Date(2026, 11, 12, 3, 0, 0, 0, berlin), Layout: "Mon 2 Jan 15:04"}
	return map[string]portal.Text{
		"plain":   "The backup is in your list.",
		"percent": "100 % of 5 %s are %d",
		"filled":  portal.Say("Removed the backup of %s.", at),
		"nested":  portal.Sentences("The backup is in your list.", portal.Say("Much smaller than the last one: %s instead of %s.", portal.Size(1<<30), portal.Size(41<<30))),
		"counted": portal.Count(3, "Your other backup is untouched.", "Your other %d backups are untouched."),
		"data":    portal.Verbatim("100 % 'ada' %s {{.}} \x00\x01\u2028 ½ \"<b>\""),
		"empty":   "",
	}
}

// Texts keep through every column that holds one, whatever they hold.
func TestTextsKeep(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	for name, text := range texts(t) {
		db, _ := openPeople(t)
		hosting(t, db, 20)
		if _, err := db.TakeLease(ctx, "test"); err != nil {
			t.Fatal(err)
		}
		svc, err := db.Service(ctx, 20)
		if err != nil {
			t.Fatal(err)
		}
		op, err := db.Enqueue(ctx, 0, svc.UID, func(s portal.Situation) (portal.Operation, error) {
			return portal.Operation{Kind: portal.KindBackup, Step: portal.StepDump, Manual: true, Actor: "cli", StartBy: s.Now.Add(time.Hour), GiveUpAt: s.Now.Add(time.Hour)}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		op.Reason, op.WaitsFor, op.Warning = text, text, text
		b := portal.Backup{ServiceID: svc.ID, ServerID: svc.ServerID, Storage: "local", VMID: svc.VMID, Class: portal.ClassFailed, Origin: portal.OriginManual, Reason: text}
		err = db.Save(ctx, "texts", &op, Changes{Backup: &b, Steps: []StepNote{{Step: op.Step, What: "note", Text: text}}})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := db.SaveCheck(ctx, svc.ServerID, []portal.Finding{{Level: "ok", Text: text, Mend: text}}); err != nil {
			t.Fatal(err)
		}
		if _, err := db.write.ExecContext(ctx, `UPDATE slots SET reason = $1 WHERE service_id = $2`, text, svc.ID); err != nil {
			t.Fatal(err)
		}
		if op, err = db.Operation(ctx, op.ID); err != nil {
			t.Fatal(err)
		}
		if b, err = db.Backup(ctx, b.ID); err != nil {
			t.Fatal(err)
		}
		steps, err := db.Steps(ctx, op.ID)
		if err != nil {
			t.Fatal(err)
		}
		v, err := db.ServiceView(ctx, 0, svc.UID)
		if err != nil {
			t.Fatal(err)
		}
		got := []portal.Text{op.Reason, op.WaitsFor, op.Warning, b.Reason, steps[0].Text, v.Server.Findings[0].Text, v.Server.Findings[0].Mend, v.Slots[0].Reason}
		for i, g := range got {
			if g != text || g.String() != text.String() {
				t.Errorf("%s: column %d gives %q, want %q", name, i, g, text)
			}
		}
	}
}

// What older versions wrote down as plain English reads as it stands.
func TestPlainRows(t *testing.T) {
	t.Parallel()
	db, _ := openPeople(t)
	hosting(t, db, 20)
	ctx := t.Context()
	for _, text := range []string{"It could not start in time: your host is down.", "63 % done, 5 %s", "{\"k\":\"x\"}", " ", "It's \"odd\"."} {
		if _, err := db.write.ExecContext(ctx, `UPDATE operations SET reason = $1`, text); err != nil {
			t.Fatal(err)
		}
		if _, err := db.write.ExecContext(ctx, `UPDATE servers SET findings = $1`, tojson([]map[string]string{{"Level": "ok", "Text": text, "Mend": ""}})); err != nil {
			t.Fatal(err)
		}
		op, err := db.Operation(ctx, 1)
		if err != nil {
			t.Fatal(err)
		}
		servers, err := db.Servers(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if got := []string{op.Reason.String(), servers[0].Findings[0].Text.String()}; !cmp.Equal(got, []string{text, text}) {
			t.Errorf("%q reads %q", text, got)
		}
	}
}

// A mail is written later, in its reader's language: the outbox holds the text as it is.
func TestOutboxKeepsTexts(t *testing.T) {
	t.Parallel()
	db, c := openPeople(t)
	hosting(t, db, 20)
	ctx := t.Context()
	svc, err := db.Service(ctx, 20)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Enqueue(ctx, 0, svc.UID, func(s portal.Situation) (portal.Operation, error) {
		return portal.Operation{Kind: portal.KindBackup, Step: portal.StepPreflight, Manual: true, Actor: "cli", StartBy: s.Now.Add(time.Hour), GiveUpAt: s.Now.Add(time.Hour)}, nil
	}); err != nil {
		t.Fatal(err)
	}
	waits := portal.LockedClause("snapshot")
	if _, err := db.write.ExecContext(ctx, `UPDATE operations SET waits_for = $1 WHERE state = 'queued'`, waits); err != nil {
		t.Fatal(err)
	}
	c.pass(2 * time.Hour)
	if n, err := db.ExpireQueued(ctx); err != nil || n != 1 {
		t.Fatalf("%d expired, %v", n, err)
	}
	var payload string
	if err := db.read.QueryRowContext(ctx, `SELECT payload FROM outbox WHERE channel = 'mail'`).Scan(&payload); err != nil {
		t.Fatal(err)
	}
	var mail struct{ Reason portal.Text }
	if err := json.Unmarshal([]byte(payload), &mail); err != nil {
		t.Fatal(err)
	}
	if mail.Reason != waits {
		t.Errorf("the outbox holds %q, want %q", mail.Reason, waits)
	}
	log, err := db.AuditLog(ctx, 0, 1)
	if err != nil || log[0].After != "the machine is busy: snapshot in progress" {
		t.Errorf("the audit log says %q (%v), want English", log[0].After, err)
	}
}

// A login has a language of its own, and an owner's is the client's.
func TestSetLanguage(t *testing.T) {
	t.Parallel()
	db, _ := openPeople(t)
	ctx := t.Context()
	c, owner := addAda(t, db)
	if owner.Language != "en" || c.Language != "en" {
		t.Errorf("at first: %q, %q", owner.Language, c.Language)
	}
	reader, err := db.AddLogin(ctx, "cli", c.ID, "reader@demo.test", "", portal.RoleReader, "h")
	if err != nil {
		t.Fatal(err)
	}
	staff, err := db.AddStaff(ctx, "cli", "admin@demo.test", "", portal.RoleAdmin, "h")
	if err != nil {
		t.Fatal(err)
	}
	want := func(story string, languages ...string) {
		t.Helper()
		var got []string
		for _, uid := range []string{owner.UID, reader.UID, staff.UID} {
			l, err := db.Login(ctx, uid)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, l.Language)
		}
		c, err := db.Client(ctx, c.ID)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(languages, append(got, c.Language)); diff != "" {
			t.Errorf("%s: %s", story, diff)
		}
	}
	for _, step := range []struct {
		story string
		login portal.Login
		tag   string
		want  []string
	}{
		{"a reader's is their own", reader, "de", []string{"en", "de", "en", "en"}},
		{"an owner's is the client's too", owner, "de", []string{"de", "de", "en", "de"}},
		{"staff have one", staff, "de", []string{"de", "de", "de", "de"}},
		{"none is English", reader, "", []string{"de", "en", "de", "de"}},
	} {
		if err := db.SetLanguage(ctx, step.login.Actor(), step.login, step.tag); err != nil {
			t.Fatal(err)
		}
		want(step.story, step.want...)
	}
	log, err := db.AuditLog(ctx, 0, 1)
	if err != nil || log[0].Action != "login.language" || log[0].Actor != reader.Actor() || log[0].Before != "en" || log[0].After != "en" {
		t.Errorf("audit: %+v, %v", log, err)
	}
	for _, tag := range []string{"fr", "DE", "de-AT", portal.PseudoLanguage, "en\x00", "deutsch"} {
		if err := db.SetLanguage(ctx, "cli", owner, tag); portal.CodeOf(err) != portal.CodeInvalid {
			t.Errorf("%q: %v", tag, err)
		}
		if _, _, err := db.AddClient(ctx, "cli", portal.Client{Name: "B", Zone: "UTC", Language: tag}, "b@demo.test", "h"); portal.CodeOf(err) != portal.CodeInvalid {
			t.Errorf("a client with %q: %v", tag, err)
		}
	}
	next, err := db.AddLogin(ctx, "cli", c.ID, "next@demo.test", "", portal.RoleReader, "h")
	if err != nil || next.Language != "de" {
		t.Errorf("a further login reads %q, %v", next.Language, err)
	}
	db.pseudo = true
	if err := db.SetLanguage(ctx, "cli", owner, portal.PseudoLanguage); err != nil {
		t.Errorf("the pseudo language where it is let in: %v", err)
	}
	if broken, err := db.VerifyAudit(ctx); err != nil || broken != 0 {
		t.Errorf("audit chain: %d, %v", broken, err)
	}
}
