package jobs_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"stowage/portal"
	"stowage/pve/pvesim"
)

// note sets a copy's note, as the client does.
func (w *world) note(uid, text string) {
	w.t.Helper()
	w.must(w.db.SetNote(context.Background(), w.client, w.service.UID, uid, "client:test", text))
}

// written gives the second line of an archive's notes.
func (w *world) written(volid string) string {
	w.t.Helper()
	for _, a := range w.sim.Archives() {
		if a.Volid == volid {
			mark, note, _ := strings.Cut(a.Notes, "\n")
			if _, _, valid := portal.ReadMark(mark, w.db.MarkKey()); !valid {
				w.t.Errorf("the mark is gone: %q", a.Notes)
			}
			return note
		}
	}
	w.t.Errorf("no archive %s", volid)
	return ""
}

// TestNoteMirrored writes a note to its archive below the mark, keeps it at once, and takes it away again.
func TestNoteMirrored(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{})
	w.make(1)
	c := w.complete()[0]
	for _, text := range []string{"before the upgrade", `with {{vmid}} and \n and "quotes"`, "ünï ☃ 猫", ""} {
		w.note(c.UID, text)
		if got := w.complete()[0].Note; got != text {
			t.Errorf("kept %q, want %q at once", got, text)
		}
		w.run(time.Minute)
		if got := w.written(c.Volid); got != text {
			t.Errorf("written %q, want %q", got, text)
		}
	}
	for _, bad := range []string{"two\nlines", "a\rb", "a\u2028b", "\u202eevil", strings.Repeat("x", 201), "bad \xff byte", "tab\there"} {
		if err := w.db.SetNote(context.Background(), w.client, w.service.UID, c.UID, "client:test", bad); portal.CodeOf(err) != portal.CodeInvalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if err := w.db.SetNote(context.Background(), w.newClient("Bob"), w.service.UID, c.UID, "client:bob", "mine"); portal.CodeOf(err) != portal.CodeNotFound {
		t.Errorf("Bob's note on Ada's copy: %v", err)
	}
}

// TestNoteWhileRunning changes the note of a backup that is being made: what was said last stands at the end.
func TestNoteWhileRunning(t *testing.T) {
	t.Parallel()
	w := scene(t, slow())
	op := w.backupNow("first words", "")
	w.waitFor(5*time.Minute, "a running backup", func() bool { return w.operation(op.ID).Percent > 0 })
	w.note(w.copies()[0].UID, "second thoughts")
	w.settle(time.Hour)
	w.run(time.Minute)
	c := w.complete()[0]
	if c.Note != "second thoughts" || w.written(c.Volid) != "second thoughts" {
		t.Errorf("kept %q, written %q", c.Note, w.written(c.Volid))
	}
}

// TestNoteLost loses answers and requests, refuses for an hour, and has the host down: the note gets there.
func TestNoteLost(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]pvesim.Fault{
		"answer lost":  {Kind: pvesim.LostAnswer, Method: "PUT", Count: 1},
		"request lost": {Kind: pvesim.LostRequest, Method: "PUT", Count: 2},
		"refused":      {Kind: pvesim.Refuse, Method: "PUT", Count: 3, Status: 500, Reason: "unable to open file"},
		"host down":    {Kind: pvesim.NodeDown, Node: "pve1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := scene(t, worldOptions{})
			w.make(1)
			c := w.complete()[0]
			end := w.inject(f)
			w.note(c.UID, "a note")
			if name == "host down" {
				w.run(3 * time.Hour) // longer than all tries of the first hour
				end()
				w.run(7 * time.Hour)
			} else {
				w.run(30 * time.Minute)
			}
			if got := w.written(c.Volid); got != "a note" {
				t.Errorf("written %q", got)
			}
			if n := len(w.column(`SELECT id FROM backups WHERE note_due IS NOT NULL`)); n != 0 {
				t.Errorf("%d notes are still due", n)
			}
		})
	}
}

// TestNoteOfMissing doesn't take the answer 200 on an archive that isn't there for a written note.
func TestNoteOfMissing(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{})
	w.make(2)
	c := w.complete()[0]
	var archive pvesim.Archive
	for _, a := range w.sim.Archives() {
		if a.Volid == c.Volid {
			archive = a
		}
	}
	w.must(w.sim.RemoveArchive("", c.Volid))
	w.note(c.UID, "on what is gone")
	w.run(time.Hour)
	if n := len(w.changes("PUT", "")); n > 1 {
		t.Errorf("%d writes to an archive that isn't there", n)
	}
	w.must(w.sim.AddArchive(archive))
	w.run(time.Hour)
	if got := w.written(c.Volid); got != "on what is gone" {
		t.Errorf("it is back, and its note reads %q", got)
	}
}

// TestNoteReadBack has the archive away for the moment of the writing: Proxmox answers 200, and the note is written
// all the same when it is there again.
func TestNoteReadBack(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{})
	w.make(1)
	archive := w.sim.Archives()[0]
	away := false
	w.wrap = func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodPut && !away {
				away = true
				w.must(w.sim.RemoveArchive("", archive.Volid))
			}
			return next.RoundTrip(r)
		})
	}
	w.restart()
	w.note(w.complete()[0].UID, "a note")
	w.round()
	w.must(w.sim.AddArchive(archive))
	w.run(30 * time.Minute)
	if got := w.written(archive.Volid); !away || got != "a note" {
		t.Errorf("written %q", got)
	}
}

// TestProtect protects and ends that, within the product's limit, for its client only.
func TestProtect(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{Product: func(p *portal.Product) { p.Quota, p.Protect = 4, 2 }})
	w.make(3)
	ctx := context.Background()
	ask := func(client int64, uid string, on bool) error {
		_, err := w.db.Enqueue(ctx, client, w.service.UID, portal.ProtectBackup("client:test", uid, on))
		return err
	}
	all := w.complete()
	w.protect(all[0].UID, true)
	w.protect(all[1].UID, true)
	for i, c := range []struct {
		err  error
		code portal.Code
	}{
		{ask(w.client, all[2].UID, true), portal.CodeQuota},
		{ask(w.client, all[0].UID, true), portal.CodeConflict},
		{ask(w.client, all[2].UID, false), portal.CodeConflict},
		{ask(w.client, "01jnosuchcopy0000000000000", true), portal.CodeNotFound},
		{ask(w.newClient("Bob"), all[0].UID, false), portal.CodeNotFound},
	} {
		if portal.CodeOf(c.err) != c.code {
			t.Errorf("%d: %v, want %s", i, c.err, c.code)
		}
	}
	if _, err := w.db.Enqueue(ctx, w.client, w.service.UID, portal.RemoveBackup("client:test", all[0].UID)); portal.CodeOf(err) != portal.CodeConflict {
		t.Errorf("removing a protected one: %v", err)
	}
	protected := 0
	for _, a := range w.sim.Archives() {
		if a.Protected {
			protected++
		}
	}
	if protected != 2 {
		t.Errorf("%d archives are protected on the storage", protected)
	}
	w.protect(all[0].UID, false)
	w.protect(all[2].UID, true)
}

// TestProtectTrouble loses answers, and asks for more than the storage allows.
func TestProtectTrouble(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault pvesim.Fault
		state portal.State
	}{
		"answer lost":  {pvesim.Fault{Kind: pvesim.LostAnswer, Method: "PUT", Count: 1}, portal.StateSucceeded},
		"request lost": {pvesim.Fault{Kind: pvesim.LostRequest, Method: "PUT", Count: 2}, portal.StateSucceeded},
		"refused":      {pvesim.Fault{Kind: pvesim.Refuse, Method: "PUT", Status: 500, Reason: "The number of protected backups per guest is limited to 5 on storage 'local'"}, portal.StateFailed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := scene(t, worldOptions{})
			w.make(1)
			w.inject(c.fault)
			op, err := w.db.Enqueue(context.Background(), w.client, w.service.UID, portal.ProtectBackup("client:test", w.oldest().UID, true))
			if err != nil {
				t.Fatal(err)
			}
			w.settle(time.Hour)
			got := w.operation(op.ID)
			if got.State != c.state || w.complete()[0].Protected != (c.state == portal.StateSucceeded) || w.sim.Archives()[0].Protected != w.complete()[0].Protected {
				t.Errorf("%s: %q, staff %q, row %t", got.State, got.Reason, got.StaffReason, w.complete()[0].Protected)
			}
			if c.state == portal.StateFailed && (got.Reason.String() != "The protection of the backup could not be changed." || !strings.Contains(got.StaffReason, "limited to 5")) {
				t.Errorf("%q, staff %q", got.Reason, got.StaffReason)
			}
		})
	}
}

// TestProtectedOutside sees a protection that was set on the host, and removes nothing that carries one, even
// where it came after the click.
func TestProtectedOutside(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{})
	w.make(2)
	c := w.oldest()
	protect := func(on bool) {
		w.must(w.sim.SetArchive("pve1", c.Volid, func(a *pvesim.Archive) { a.Protected = on }))
	}
	op, err := w.db.Enqueue(context.Background(), w.client, w.service.UID, portal.RemoveBackup("client:test", c.UID))
	if err != nil {
		t.Fatal(err)
	}
	protect(true)
	w.settle(time.Hour)
	if got := w.operation(op.ID); got.State != portal.StateFailed || got.Reason.String() != "The backup is protected, so it was not removed." {
		t.Errorf("%s: %q", got.State, got.Reason)
	}
	w.wantCopies(2, 2)
	if !w.oldest().Protected {
		t.Error("the list doesn't show the protection")
	}
	protect(false)
	w.run(15 * time.Minute)
	if w.oldest().Protected {
		t.Error("the list still shows the protection")
	}
	// Between the look and the deletion: the task says no, and the copy stays.
	sent := len(w.changes("DELETE", ""))
	if op, err = w.db.Enqueue(context.Background(), w.client, w.service.UID, portal.RemoveBackup("client:test", c.UID)); err != nil {
		t.Fatal(err)
	}
	w.waitFor(time.Minute, "the deletion", func() bool {
		if len(w.changes("DELETE", "")) > sent {
			protect(true)
			return true
		}
		return false
	})
	w.settle(4 * time.Hour)
	got := w.operation(op.ID)
	if got.State != portal.StateFailed || !strings.Contains(got.Reason.String(), "protected") && !strings.Contains(got.Reason.String(), "still there") {
		t.Errorf("%s: %q, staff %q", got.State, got.Reason, got.StaffReason)
	}
	w.wantCopies(2, 2)
}

// TestRemove removes a copy by hand, and one that is gone already; refuses what can't be removed; and survives lost
// answers.
func TestRemove(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]*pvesim.Fault{
		"plain":        nil,
		"answer lost":  {Kind: pvesim.LostAnswer, Method: "DELETE", Count: 1},
		"request lost": {Kind: pvesim.LostRequest, Method: "DELETE", Count: 1},
		"task fails":   {Kind: pvesim.TaskFails, Method: "DELETE", Count: 1},
		"late":         {Kind: pvesim.LateEffect, Method: "DELETE", Count: 1, For: time.Minute},
		"gone already": nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := scene(t, worldOptions{})
			w.make(2)
			c := w.oldest()
			if f != nil {
				w.inject(*f)
			}
			if name == "gone already" {
				w.must(w.sim.RemoveArchive("", c.Volid))
			}
			op, err := w.db.Enqueue(context.Background(), w.client, w.service.UID, portal.RemoveBackup("client:test", c.UID))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.db.Enqueue(context.Background(), w.client, w.service.UID, portal.RemoveBackup("client:test", c.UID)); portal.CodeOf(err) != portal.CodeConflict {
				t.Errorf("twice: %v", err)
			}
			w.settle(4 * time.Hour)
			if got := w.operation(op.ID); got.State != portal.StateSucceeded || got.Reason.String() != "The backup is removed." {
				t.Errorf("%s: %q, staff %q\n%s", got.State, got.Reason, got.StaffReason, w.story())
			}
			w.run(time.Hour)
			w.wantCopies(1, 1)
			if how := w.column(`SELECT removed_how FROM backups WHERE id = ?`, c.ID); how[0] != "by client" {
				t.Errorf("removed %s", how[0])
			}
			if n := w.told("mail", "backup.vanished"); n != 0 {
				t.Errorf("%d mails about a copy that its owner removed", n)
			}
		})
	}
}

// TestRemoveLast lets the client remove even the only copy: it is theirs.
func TestRemoveLast(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{})
	w.make(1)
	op, err := w.db.Enqueue(context.Background(), w.client, w.service.UID, portal.RemoveBackup("client:test", w.oldest().UID))
	if err != nil {
		t.Fatal(err)
	}
	w.settle(time.Hour)
	if got := w.operation(op.ID); got.State != portal.StateSucceeded {
		t.Errorf("%s: %s", got.State, got.StaffReason)
	}
	w.wantCopies(0, 0)
}

// TestRemoveDoubtful waits where the list can't be confirmed, says that rather than that the host is away, and
// removes when it can.
func TestRemoveDoubtful(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{})
	w.make(3)
	c := w.oldest()
	whole := w.inject(pvesim.Fault{Kind: pvesim.EmptyListing, Method: "GET", Path: `/content$`})
	op, err := w.db.Enqueue(context.Background(), w.client, w.service.UID, portal.RemoveBackup("client:test", c.UID))
	if err != nil {
		t.Fatal(err)
	}
	w.run(5 * time.Minute)
	if got := w.operation(op.ID); got.State.Final() || got.WaitsFor.String() != "the list of your backups could not be confirmed" || !strings.Contains(got.StaffReason, "expected on the storage") {
		t.Errorf("%s, waits for %q, staff %q", got.State, got.WaitsFor, got.StaffReason)
	}
	whole()
	w.settle(time.Hour)
	if got := w.operation(op.ID); got.State != portal.StateSucceeded {
		t.Errorf("%s: %s", got.State, got.StaffReason)
	}
	w.wantCopies(2, 2)
}
