package handlers_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"stowage/portal"
	"stowage/store"
)

// rawSQL changes the database as only a test does.
func (s *site) rawSQL(statement string, args ...any) int64 {
	s.t.Helper()
	raw, err := sql.Open("sqlite3", "file:"+s.db.Path()+"?_busy_timeout=5000")
	s.must(err)
	defer func() { s.must(raw.Close()) }()
	r, err := raw.ExecContext(s.t.Context(), statement, args...)
	s.must(err)
	id, err := r.LastInsertId()
	s.must(err)
	return id
}

// sellSnapshots makes the package of all services include two snapshots that live for three days.
func (s *site) sellSnapshots() {
	s.t.Helper()
	s.rawSQL(`UPDATE products SET snapshots = 2, snapshot_days = 3`)
}

// anyMachine is a machine as its config says.
func anyMachine(vmid int) portal.Machine {
	volid := fmt.Sprintf("local:%d/vm-%d-disk-0.qcow2", vmid, vmid)
	return portal.Machine{VMID: vmid, Values: map[string]string{"cores": "1", "memory": "512", "boot": "order=scsi0"},
		Drives: []portal.MachineDrive{{Key: "scsi0", Volid: volid, Storage: "local", Size: 1 << 30, Raw: volid + ",size=1G"}}}
}

// addSnapshot puts a snapshot of a service into the database as the engine does.
func (s *site) addSnapshot(svc portal.Service, description string, ago, left time.Duration, change ...func(*portal.Snapshot)) portal.Snapshot {
	s.t.Helper()
	m := anyMachine(svc.VMID)
	x := portal.Snapshot{UID: s.db.UID(), ServiceID: svc.ID, Description: description, State: portal.SnapshotThere, TakenAt: s.clock.now().Add(-ago), ExpiresAt: s.clock.now().Add(left), Then: &m}
	x.Name = portal.SnapshotName(x.UID)
	for _, c := range change {
		c(&x)
	}
	x.ID = s.rawSQL(`INSERT INTO snapshots (uid, service_id, name, description, memory, external, state, growth, taken_at, expires_at, seen_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $9)`,
		x.UID, svc.ID, x.Name, x.Description, x.Memory, x.External, x.State, x.Growth, x.TakenAt.Unix(), x.ExpiresAt.Unix())
	then, err := json.Marshal(x.Then)
	s.must(err)
	present, err := json.Marshal(m)
	s.must(err)
	s.rawSQL(`INSERT INTO snapshot_configs (snapshot_id, machine) VALUES ($1, $2)`, x.ID, string(then))
	s.rawSQL(`INSERT INTO machine_configs (service_id, machine) VALUES ($1, $2) ON CONFLICT DO NOTHING`, svc.ID, string(present))
	return x
}

func snapshotsOf(svc portal.Service, rest ...string) string {
	return "/services/" + svc.UID + "/snapshots" + strings.Join(append([]string{""}, rest...), "/")
}

// TestSnapshotsPage shows snapshots as a client reads them, and takes one with the button.
func TestSnapshotsPage(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.sellSnapshots()
	v := s.as("ada@demo.test")
	v.get(snapshotsOf(s.h100)).want(200, "No snapshots yet", "Snapshots are no backups.", "A snapshot lives 3 days, on the same storage as the machine", "To the backups")
	x := s.addSnapshot(s.h100, "before the update", 2*time.Hour, 23*time.Hour+59*time.Minute+54*time.Second, func(x *portal.Snapshot) { x.Memory, x.Growth = true, 1300<<20 })
	s.addSnapshot(s.h100, "", 71*time.Hour, 40*time.Minute)
	s.addSnapshot(s.h100, "by the host", 200*time.Hour, time.Hour, func(x *portal.Snapshot) { x.External, x.Name = true, "maintenance" })
	a := v.get(snapshotsOf(s.h100)).want(200, "before the update", "With memory", "0 days 23:59:54", "grown by 1.3 GiB since", "Back up now instead", "Managed by your provider", "maintenance",
		"All 2 places for snapshots are used.", "Remove the oldest")
	if got := a.mark("data-count", "snapshots"); got != "2/2" {
		t.Errorf("counter %q", got)
	}
	if got := v.get("/services/"+s.h100.UID).want(200).mark("data-count", "snapshots"); got != "2/2" {
		t.Errorf("the service's page counts %q", got)
	}
	if rows := a.all("data-snapshot"); len(rows) != 3 || attr(rows[0], "data-snapshot") != x.UID {
		t.Errorf("%d rows, newest first", len(rows))
	}
	if times := a.all("data-expires"); len(times) != 2 || attr(times[0], "data-expires") != fmt.Sprint(x.ExpiresAt.Unix()) {
		t.Errorf("countdowns %d", len(times))
	}
	if strings.Count(a.body, "/rollback\"") != 2 {
		t.Errorf("%d ways to roll back", strings.Count(a.body, "/rollback\""))
	}
	v.post(snapshotsOf(s.h100), "description", "one more").solved(409)
	v.post(snapshotsOf(s.h100), "description", strings.Repeat("x", 201)).solved(422)
	v.post(snapshotsOf(s.h100, x.UID, "description"), "description", "two\nlines").solved(422)
	v.post(snapshotsOf(s.h100, x.UID, "description"), "description", "after all").wantTo(snapshotsOf(s.h100) + "#snapshot-" + x.UID)
	v.get(snapshotsOf(s.h100)).want(200, "after all", "The description is saved.")

	g := s.as("grace@demo.test")
	var wg sync.WaitGroup
	statuses := make([]int, 20)
	for i := range statuses {
		wg.Go(func() { statuses[i] = g.post(snapshotsOf(s.h200), "description", "of h200").StatusCode })
	}
	wg.Wait()
	granted := 0
	for _, status := range statuses {
		if status == 303 {
			granted++
		} else if status != 409 {
			t.Errorf("answered %d", status)
		}
	}
	if granted != 1 {
		t.Errorf("%d of 20 clicks granted", granted)
	}
	g.get(snapshotsOf(s.h200)).want(200, "A snapshot waits", "of h200")
	g.post(snapshotsOf(s.h100, x.UID, "delete")).want(404)
	g.post(snapshotsOf(s.h200, x.UID, "delete")).want(404)
	g.get(snapshotsOf(s.h200, x.UID, "rollback")).want(404)
}

// TestRollbackIsAskedAbout says what a rollback does before it is confirmed: what is lost, what happens to the memory, and
// what is brought in step afterwards; and refuses what may not be.
func TestRollbackIsAskedAbout(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.sellSnapshots()
	s.addCopy(s.h100, 50*time.Hour, "")
	s.must(s.db.SaveSightings(t.Context(), []store.Sighting{{ServiceID: s.h100.ID, Node: "pve1", Status: "running"}}))
	plain := s.addSnapshot(s.h100, "disks alone", 3*time.Hour, time.Hour*60)
	memory := s.addSnapshot(s.h100, "with all", 2*time.Hour, time.Hour*60, func(x *portal.Snapshot) { x.Memory = true })
	v := s.as("ada@demo.test")
	a := v.get(snapshotsOf(s.h100, plain.UID, "rollback")).want(200, "Roll back to the snapshot of", "disks alone", "Everything that was changed on the machine since (3 h).", "What runs on it now: it is interrupted.",
		"Your backup.", "The machine is switched off and put back to the snapshot.", "Start the machine afterwards")
	if !strings.Contains(a.body, `name="start" value="1" checked`) {
		t.Error("a machine that runs is to be started again")
	}
	v.get(snapshotsOf(s.h100, memory.UID, "rollback")).want(200, "The machine goes on running from the instant of the snapshot.")

	s.must(s.db.SetServiceOwn(t.Context(), "cli", s.h100.UID, portal.Spec{Cores: 2, MemoryMB: 1024}))
	v.get(snapshotsOf(s.h100, memory.UID, "rollback")).want(200, "what was in its memory is lost", "512 MB → 1024 MB", "1 → 2")
	v.post(snapshotsOf(s.h100, memory.UID, "rollback"), "start", "1", "plan", "memory").solved(409) // confirmed before the package changed
	s.must(s.db.SetServiceOwn(t.Context(), "cli", s.h100.UID, portal.Spec{Net: portal.Card{Model: "virtio", Bridge: "vmbr1"}}))
	a = v.get(snapshotsOf(s.h100, memory.UID, "rollback")).want(200, "The network of this machine has changed since the snapshot", "Restore a backup instead")
	if !strings.Contains(a.body, "disabled") {
		t.Error("the button is not disabled")
	}
	v.post(snapshotsOf(s.h100, memory.UID, "rollback"), "start", "1").solved(409)
	s.must(s.db.SetServiceOwn(t.Context(), "cli", s.h100.UID, portal.Spec{}))
	v.post(snapshotsOf(s.h100, plain.UID, "rollback"), "start", "1").wantTo(snapshotsOf(s.h100))
	v.get(snapshotsOf(s.h100)).want(200, "Rolling back to the snapshot of")
	v.post(snapshotsOf(s.h100, memory.UID, "delete")).solved(409)
	ops, err := s.db.ServiceOperations(t.Context(), s.h100.ID, 0, 1)
	s.must(err)
	if op := ops[0]; op.Kind != portal.KindRollback || op.SnapshotID != plain.ID || !op.Work.Start || op.Work.Memory {
		t.Errorf("asked for %+v", op)
	}
	v.get("/services/"+s.h100.UID+"/operations").want(200, "Rollback to the snapshot of")
}

// TestSnapshotsInGerman reads the page in German, with a live piece whose countdown is left to the script.
func TestSnapshotsInGerman(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.sellSnapshots()
	s.addSnapshot(s.h100, "vor dem Update", 2*time.Hour, 49*time.Hour)
	v := s.as("ada@demo.test")
	stream := v.listen("/services/" + s.h100.UID + "/events?page=snapshots")
	for e := range stream.events {
		if e.name == "list" {
			if !strings.Contains(e.data, "data-expires") || strings.Contains(e.data, "2 days") {
				t.Errorf("the live list: %s", e.data)
			}
			break
		}
	}
	if got := s.db.SnapshotsWatched(); len(got) != 1 || got[0] != s.h100.ID {
		t.Errorf("read for the page: %v", got)
	}
	stream.stop()
	v.post("/account/language", "language", "de")
	v.get(snapshotsOf(s.h100)).want(200, "Snapshots sind keine Backups.", "2 Tage 01:00:00", "Zurücksetzen", "Snapshot erstellen")
}
