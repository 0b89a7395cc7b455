package handlers_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"stowage/portal"
	"stowage/store"
)

// TestConfirmRestore reads the page that asks before a machine is overwritten, and answers it.
func TestConfirmRestore(t *testing.T) {
	t.Parallel()
	s := open(t)
	b := s.addCopy(s.h100, 23*time.Hour+4*time.Minute, "before the upgrade")
	v := s.as("ada@demo.test")
	to := backups(s.h100) + "/" + b.UID + "/restore"
	a := v.get(backups(s.h100)).want(200)
	if !pressable(a, "Restore the copy of Thu 19 Nov 13:56") && !strings.Contains(a.body, to) {
		t.Error("the list has no button that restores")
	}
	a = v.get(to).want(200, "Everything since (23 h 04 min).", "First we save the present state", "All your backups, this one too.", "being read from its storage", "before the upgrade")
	if got := read(a.all("data-confirm")[0]); got != "h100" {
		t.Errorf("what is to be typed: %q", got)
	}
	s.must(s.db.SaveContents(t.Context(), b.ID, &portal.Contents{Hardware: portal.Hardware{
		Cores: 1, MemoryMB: 2048, Disks: []portal.Disk{{Key: "scsi0", Size: 16 << 30}}, Nets: []portal.Net{{Key: "net0", MAC: "BC:24:11:00:00:01"}},
	}}, time.Time{}))
	a = v.get(to).want(200, "in the copy: 1 core; it stays as it is now", "2 cores", "in the copy: 2.0 GiB", "scsi0 16 GiB", "BC:24:11:00:00:01")
	if strings.Contains(a.text(), "being read") {
		t.Error("what was read is still being read")
	}

	a = v.post(to, "confirm", "h10").want(422, "Type h100 to confirm.")
	if value(a, "confirm") != "h10" || strings.Contains(a.body, "checked") {
		t.Error("what was typed and unticked is lost")
	}
	v.post(to).want(422)
	if ops := unfinished(s); len(ops) != 0 {
		t.Fatalf("a refusal queued %+v", ops)
	}
	answer := v.post(to, "confirm", " H100", "start", "1")
	ops := unfinished(s)
	if len(ops) != 2 || ops[0].Kind != portal.KindRestore || ops[1].Kind != portal.KindBackup || !ops[1].Work.Safety || ops[0].AfterID != ops[1].ID || !ops[0].Work.Start {
		t.Fatalf("queued: %+v", ops)
	}
	answer.wantTo("/services/" + s.h100.UID + "/operations/" + ops[0].UID)
	page := v.get("/services/"+s.h100.UID+"/operations/"+ops[0].UID).want(200, "Restore of the copy of", "Save the present state", "Put the backup in the machine's place", "See that the machine answers")
	if n := len(page.all("data-step")); n != 7 {
		t.Errorf("%d steps", n)
	}
	list := v.get(backups(s.h100)).want(200)
	if got := operationMarks(list); !slices.Equal(got, []string{ops[0].UID + " restore queued"}) {
		t.Errorf("the two are shown as one: %v", got)
	}
	v.post(to, "confirm", "h100", "start", "1").want(409, "Your machine is busy: it is restored.")
	v.post(backups(s.h100)).want(409)
	s.as("grace@demo.test").get(to).want(404)
	s.as("grace@demo.test").post(to, "confirm", "h100").want(404)
	v.get(backups(s.h100) + "/nothing/restore").want(404)
	v.post(backups(s.h100)+"/nothing/restore", "confirm", "h100").want(404)
}

// unfinished gives the operations of ada's machine that have not ended, newest first.
func unfinished(s *site) []portal.Operation {
	s.t.Helper()
	ops, err := s.db.ServiceOperations(s.t.Context(), s.h100.ID, 0, 50)
	s.must(err)
	return slices.DeleteFunc(ops, func(o portal.Operation) bool { return o.State.Final() })
}

// stop makes the newest restore of ada's machine one that has stopped after the machine was overwritten. Its safety copy
// is there.
func (s *site) stop(op portal.Operation) portal.Operation {
	s.t.Helper()
	ctx := s.t.Context()
	before, err := s.db.Operation(ctx, op.AfterID)
	s.must(err)
	if !before.State.Final() {
		before.State, before.EndedAt = portal.StateSucceeded, s.clock.now()
		s.must(s.db.Save(ctx, "test", &before, store.Changes{Backup: &portal.Backup{
			ServiceID: s.h100.ID, ServerID: s.pve.ID, Node: "pve1", Storage: "local", VMID: 100, Class: portal.ClassGood, Origin: portal.OriginBeforeRestore, Mode: "snapshot",
			Volid: "local:backup/safety", StartedAt: s.clock.now(), CTime: s.clock.now(), EndedAt: s.clock.now(), Size: 1 << 30, OperationID: before.ID, KeepUntil: s.clock.now().Add(portal.SafetyKeep),
		}}))
		_, err = s.db.Claim(ctx, portal.DefaultLimits)
		s.must(err)
	}
	op, err = s.db.Operation(ctx, op.ID)
	s.must(err)
	op.State, op.Step, op.Work.Broken, op.Work.Gone = portal.StateHeld, portal.StepRestore, true, true
	op.Work.Config, op.Work.Firewall = map[string]string{"net0": "virtio=BC:24:11:03:1D:44,bridge=vmbr0", "cores": "2"}, json.RawMessage(`{"rules":[{"action":"ACCEPT"}]}`)
	op.Reason, op.StaffReason = portal.Say("Stopped at step %d of %d: %s", 4, 7, portal.Text("The backup can't be read: it is damaged.")), "exit code 133"
	s.must(s.db.Save(ctx, "test", &op, store.Changes{Steps: []store.StepNote{{Step: op.Step, What: "failed", Text: op.Reason}}}))
	return op
}

// TestStoppedRestore reads the page of a restore that has stopped, and goes on from there in each way.
func TestStoppedRestore(t *testing.T) {
	t.Parallel()
	s := open(t)
	b := s.addCopy(s.h100, 23*time.Hour, "")
	other := s.addCopy(s.h100, 50*time.Hour, "")
	v := s.as("ada@demo.test")
	v.post(backups(s.h100)+"/"+b.UID+"/restore", "confirm", "h100", "start", "1").want(303)
	op := s.stop(unfinished(s)[0])
	page := "/services/" + s.h100.UID + "/operations/" + op.UID
	a := v.get(page).want(200, "Stopped at step 4 of 7: The backup can't be read: it is damaged.", "Your machine is off. Your other 2 backups are untouched.", "the reference is "+op.Reference,
		"Restore the state from before", "Restore another backup", "Reinstall from scratch", "Installing from scratch is done by our team")
	if !pressable(a, "Retry") || pressable(a, "Reinstall from scratch") || pressable(a, "Cancel") {
		t.Error("the buttons are not those that can be pressed")
	}
	v.get("/services/"+s.h100.UID).want(200, "A restore has stopped; the machine is not whole")
	s.as("admin@demo.test").get("/admin/operations/"+op.UID).want(200, "exit code 133", "Stopped at step 4 of 7", "The machine before: its configuration and firewall", "net0: virtio=BC:24:11:03:1D:44", `"action": "ACCEPT"`)
	if strings.Contains(a.text(), "BC:24:11") {
		t.Error("a client reads the machine's raw configuration")
	}
	s.as("reader@demo.test").post(page + "/retry").want(403)
	s.as("grace@demo.test").post(page + "/retry").want(404)

	v.post(page + "/retry").wantTo(page)
	op, err := s.db.Operation(t.Context(), op.ID)
	s.must(err)
	if op.State != portal.StateRunning || op.BackupID != b.ID || !op.Work.Broken {
		t.Fatalf("after Retry: %+v", op)
	}
	v.post(page + "/retry").want(409)

	op = s.stop(op)
	to := backups(s.h100) + "/" + other.UID + "/restore"
	a = v.get(to).want(200, "Nothing more: the machine was overwritten already", "Restore this copy")
	if strings.Contains(a.text(), "First we save the present state") {
		t.Error("what is no machine is saved first")
	}
	v.post(to, "confirm", "h1000").want(422)
	s.as("grace@demo.test").post(to, "confirm", "h100").want(404)
	v.post(to, "confirm", "h100").wantTo(page)
	op, err = s.db.Operation(t.Context(), op.ID)
	s.must(err)
	if op.State != portal.StateRunning || op.BackupID != other.ID || len(unfinished(s)) != 1 {
		t.Fatalf("after another backup: %+v", op)
	}
	if e := s.audited("operation.resume"); e.EntityUID != op.UID || !strings.HasPrefix(e.Actor, "client:") {
		t.Errorf("audit: %+v", e)
	}
}

// TestRestoreIsRefused: what can't be restored says why, and external archives are not there.
func TestRestoreIsRefused(t *testing.T) {
	t.Parallel()
	s := open(t)
	torso := s.addCopy(s.h100, 20*time.Hour, "", func(b *portal.Backup) {
		b.Class, b.Reason = portal.ClassPartial, "The backup is empty: it holds no disk."
	})
	bad := s.addCopy(s.h100, 22*time.Hour, "", func(b *portal.Backup) { b.Verification = "failed" })
	good := s.addCopy(s.h100, 30*time.Hour, "")
	v := s.as("ada@demo.test")
	v.post(backups(s.h100)+"/"+torso.UID+"/restore", "confirm", "h100").want(409, "not complete")
	v.post(backups(s.h100)+"/"+bad.UID+"/restore", "confirm", "h100").want(409, "The check of this backup has failed")
	s.as("reader@demo.test").post(backups(s.h100)+"/"+good.UID+"/restore", "confirm", "h100").want(403)
	a := s.as("reader@demo.test").get(backups(s.h100)+"/"+good.UID+"/restore").want(200, "Your login may look at everything, but change nothing.")
	if pressable(a, "Restore this copy") {
		t.Error("a reader may press the button")
	}
	s.must(s.db.SetServiceState(t.Context(), "test", s.h100, portal.ServiceSuspended, "unpaid"))
	v.post(backups(s.h100)+"/"+good.UID+"/restore", "confirm", "h100").want(http.StatusForbidden, "suspended")
	if ops := unfinished(s); len(ops) != 0 {
		t.Errorf("queued: %+v", ops)
	}
}

// TestFromScratchPages: a restore that has stopped leads to a fresh system, asked for on the page of every reinstall; and
// an installation that has stopped leads to a backup.
func TestFromScratchPages(t *testing.T) {
	t.Parallel()
	s := open(t)
	b := s.addCopy(s.h100, 23*time.Hour, "")
	v, service := s.as("ada@demo.test"), "/services/"+s.h100.UID
	v.post(backups(s.h100)+"/"+b.UID+"/restore", "confirm", "h100", "start", "1").want(303)
	op := s.stop(unfinished(s)[0])
	op.Work.Inside, op.Work.Config = []string{"scsi0", "scsi1"}, map[string]string{"boot": "order=scsi0", "net0": "virtio=BC:24:11:00:00:01,bridge=vmbr0"}
	op.Work.Disks = []portal.Disk{{Key: "scsi0", Size: 16 << 30}, {Key: "scsi1", Size: 8 << 30}}
	s.must(s.db.Save(t.Context(), "stop", &op, store.Changes{}))
	page := service + "/operations/" + op.UID
	if a := v.get(page).want(200, "Restore another backup", "Reinstall from scratch", "Retry"); strings.Contains(a.text(), "Installing from scratch is done by our team") || !strings.Contains(a.body, service+`/reinstall"`) {
		t.Error("nothing leads to the installation")
	}
	a := v.get(service+"/reinstall").want(200, "Install h100 from scratch?", "was overwritten already", "Debian 13", "scsi1 8.0 GiB", "Additional disks that the backup didn't hold")
	if pressed := pressable(a, "Install from scratch"); !pressed || strings.Contains(a.text(), "All snapshots of this machine") {
		t.Errorf("pressable %v", pressed)
	}
	v.post(service+"/reinstall", "template", "Debian 13", "confirm", "yes").solved(422)
	s.as("reader@demo.test").post(service+"/reinstall", "template", "Debian 13", "confirm", "REINSTALL").want(403)
	s.as("grace@demo.test").get(service + "/reinstall").want(404)
	s.as("grace@demo.test").post(service+"/reinstall", "template", "Debian 13", "confirm", "REINSTALL").want(404)
	if got := unfinished(s); len(got) != 1 || got[0].UID != op.UID || got[0].State != portal.StateHeld {
		t.Fatalf("a refusal changed something: %+v", got)
	}
	v.post(service+"/reinstall", "template", "Debian 13", "confirm", " reinstall").want(303)
	next := unfinished(s)
	if len(next) != 1 || next[0].Kind != portal.KindReinstall || next[0].State != portal.StateRunning || !next[0].Work.Broken || next[0].RetryOf != op.ID || len(next[0].Work.Config) == 0 {
		t.Fatalf("goes on: %+v", next)
	}
	v.get(page).want(200, "a system is installed from scratch instead")
	v.post(service+"/reinstall", "template", "Debian 13", "confirm", "REINSTALL").solved(409)
	v.post(service+"/power", "action", "start").want(409)

	held := next[0]
	held.State, held.Step, held.Reason, held.StaffReason = portal.StateHeld, portal.StepInstall, "Your host ended the work with an error.", "no space"
	held.Work.Scratch = true
	s.must(s.db.Save(t.Context(), "stop", &held, store.Changes{}))
	a = v.get(service+"/operations/"+held.UID).want(200, "Your host ended the work with an error.", "Restore another backup", "Give the machine its settings back")
	if !pressable(a, "Retry") || strings.Contains(a.text(), "Choose another system") || strings.Contains(a.text(), "Take the old system disk off") {
		t.Error("the ways out are not those that there are")
	}
	v.get(service).want(200, "An installation has stopped; the machine is not whole")
	v.get(backups(s.h100)+"/"+b.UID+"/restore").want(200, "Nothing more: the machine was overwritten already")
	s.as("grace@demo.test").post(backups(s.h100)+"/"+b.UID+"/restore", "confirm", "h100").want(404)
	v.post(backups(s.h100)+"/"+b.UID+"/restore", "confirm", "h100").want(303)
	if got := unfinished(s); len(got) != 1 || got[0].Kind != portal.KindRestore || got[0].Step != portal.StepRestore || got[0].State != portal.StateRunning || !got[0].Work.Broken || got[0].BackupID != b.ID {
		t.Fatalf("goes on: %+v", got)
	}
}
