package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/alexedwards/argon2id"
	"github.com/google/go-cmp/cmp"

	"stowage/portal"
	"stowage/pve/pvesim"
	"stowage/store"
)

// A demo that is to be killed needs a process of its own: this test's binary, started anew.
func init() {
	if args := os.Getenv("STOWAGE_TEST_DEMO"); args != "" {
		os.Args = append([]string{"stowage"}, strings.Fields(args)...)
		main()
	}
}

// process is a demo in a process of its own.
type process struct {
	t   *testing.T
	cmd *exec.Cmd
	out *bufio.Reader
}

func demoProcess(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(append(os.Environ(), "STOWAGE_TEST_DEMO=demo --listen 127.0.0.1:0 "+strings.Join(args, " ")), env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return &process{t, cmd, bufio.NewReader(out)}
}

// listening waits for the demo's address, and reads what it says after it.
func (p *process) listening() (address string, said string) {
	p.t.Helper()
	for {
		line, err := p.out.ReadString('\n')
		if err != nil {
			p.t.Fatalf("the demo ended: %v", err)
		}
		said += line
		if _, at, found := strings.Cut(strings.TrimSpace(line), "Stowage demo: "); found {
			address = at
		}
		if strings.Contains(line, "Ctrl-C") {
			return address, said
		}
	}
}

// eventually waits for what another process brings about, with patience: it may be one of many.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(3 * time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func (p *process) kill() {
	p.t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		p.t.Fatal(err)
	}
	_ = p.cmd.Wait() // killed
}

// demoShop looks at a demo's database as the pages do.
type demoShop struct {
	t     *testing.T
	db    *store.DB
	lines map[string]store.ServiceLine
	owner map[string]string // of a service: ada, grace or linus
}

func (f demoFolder) look(t *testing.T, now func() time.Time) *demoShop {
	t.Helper()
	db, err := f.data().open(t.Context(), now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	d := &demoShop{t: t, db: db, lines: map[string]store.ServiceLine{}, owner: map[string]string{}}
	for _, c := range demoClients {
		login, err := db.LoginByEmail(t.Context(), demoEmail(c.key))
		if err != nil {
			t.Fatal(err)
		}
		lines, _, _, err := db.ClientServices(t.Context(), login.ClientID, "", 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range lines {
			d.lines[l.Name], d.owner[l.Name] = l, c.key
		}
	}
	return d
}

func (d *demoShop) line(name string) store.ServiceLine {
	d.t.Helper()
	l, ok := d.lines[name]
	if !ok {
		d.t.Fatalf("there is no service %s", name)
	}
	return l
}

func (d *demoShop) copies(name string) []portal.Backup {
	d.t.Helper()
	copies, err := d.db.Backups(d.t.Context(), d.line(name).ID)
	if err != nil {
		d.t.Fatal(err)
	}
	return copies
}

// slots gives the states of a service's slots, oldest first.
func (d *demoShop) slots(name string) (states []portal.SlotStatus) {
	for _, s := range d.line(name).Slots {
		states = append(states, s.State)
	}
	return states
}

// request tells how a button would answer; nothing is asked for.
func (d *demoShop) request(name string, r portal.Request) error {
	d.t.Helper()
	situation, err := d.db.Situation(d.t.Context(), d.line(name).ID)
	if err != nil {
		d.t.Fatal(err)
	}
	_, err = r(situation)
	return err
}

// TestDemoShowsEveryState fills a demo and looks for each state that a page can be in. It does so at the time of
// the test, and at instants that lie awkwardly: within the schedules' nights, and after a change of the clocks.
func TestDemoShowsEveryState(t *testing.T) {
	t.Parallel()
	for _, at := range []time.Time{
		time.Now(),
		time.Date(2026, 11, 3, 2, 10, 0, 0, time.UTC),
	} {
		t.Run(at.UTC().Format("2006-01-02T15:04"), func(t *testing.T) {
			t.Parallel()
			folder := demoFolder(t.TempDir())
			began := time.Now()
			if err := folder.ready(t.Context(), func() time.Time { return at }, 1, slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError}))); err != nil {
				t.Fatal(err)
			}
			t.Logf("filled within %s", time.Since(began).Round(10*time.Millisecond))
			folder.look(t, func() time.Time { return at }).promises(at)
		})
	}
}

func (d *demoShop) promises(now time.Time) {
	t := d.t
	if len(d.lines) < 12 {
		t.Errorf("%d services, at least 12 are promised", len(d.lines))
	}
	for name, want := range map[string]string{
		demoFull: "5/5", demoNever: "0/3", demoOver: "10/3, remove 7", demoRunning: "2/4, 1 in progress", demoProtected: "2/2",
	} {
		if got := d.line(name).Backups().String(); got != want {
			t.Errorf("%s counts %s, want %s", name, got, want)
		}
	}
	// Quota full: the refusal carries the choice.
	var refusal *portal.Error
	if err := d.request(demoFull, portal.ManualBackup("test", "", "")); !errors.As(err, &refusal) || refusal.Code != portal.CodeQuota || len(refusal.WayOuts) == 0 {
		t.Errorf("a backup of %s: %v", demoFull, err)
	}
	if l := d.line(demoNone); l.Schedule.Enabled() || !l.NextDue.IsZero() {
		t.Errorf("%s has a schedule", demoNone)
	}
	if l := d.line(demoNever); !l.Schedule.Enabled() || len(d.copies(demoNever)) != 0 || len(l.Slots) != 0 {
		t.Errorf("%s was backed up, or has no schedule", demoNever)
	}

	// A running backup that goes on for a long time yet, and one that waits for it.
	if open := d.line(demoRunning).Open; len(open) != 1 || open[0].State != portal.StateRunning || open[0].Percent < 1 || open[0].Percent > 50 {
		t.Errorf("%s: open operations %+v, want a running one", demoRunning, open)
	}
	if open := d.line(demoWaiting).Open; len(open) != 1 || open[0].State != portal.StateQueued || open[0].WaitsFor.String() != "another backup runs on your host" {
		t.Errorf("%s: open operations %+v, want one that waits for its host", demoWaiting, open)
	}
	if l := d.line(demoLocked); l.Lock != "snapshot-delete" || l.LockSince.IsZero() || len(l.Open) != 0 {
		t.Errorf("%s: lock %q since %s", demoLocked, l.Lock, l.LockSince)
	}
	if err := d.request(demoLocked, portal.ManualBackup("test", "", "")); portal.CodeOf(err) != portal.CodeBusy {
		t.Errorf("a backup of %s: %v", demoLocked, err)
	}

	// Slots.
	last := d.line(demoFailed).Slots[len(d.line(demoFailed).Slots)-1]
	if last.State != portal.SlotFailed || now.Sub(last.DueAt) > 24*time.Hour {
		t.Errorf("%s: its last slot is %s, of %s", demoFailed, last.State, last.DueAt)
	}
	for name, want := range map[string]portal.SlotStatus{
		demoFull: portal.SlotMissed, demoProtected: portal.SlotSkipped, demoSuspended: portal.SlotSkipped, demoGone: portal.SlotSkipped,
		demoFailed: portal.SlotLate, demoZone: portal.SlotLate, demoIdleLinus: portal.SlotDone,
	} {
		if !slices.Contains(d.slots(name), want) {
			t.Errorf("%s has no %s slot: %v", name, want, d.slots(name))
		}
	}
	for name, l := range d.lines {
		if !l.NextDue.IsZero() && l.State == portal.ServiceActive && l.NextDue.Sub(now) < clearOfNow-time.Hour {
			t.Errorf("%s falls due at %s, too soon after %s", name, l.NextDue, now)
		}
		for _, s := range l.Slots {
			if s.State == portal.SlotDue || s.State == portal.SlotRunning {
				t.Errorf("%s: the slot of %s is still %s", name, s.Date, s.State)
			}
		}
	}

	// States of services, other zones, other modes.
	for name, want := range map[string]portal.ServiceState{demoGone: portal.ServiceMachineGone, demoSuspended: portal.ServiceSuspended, demoFull: portal.ServiceActive} {
		if got := d.line(name).State; got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	for name, want := range map[string]string{demoZone: "America/New_York", demoSuspect: "Asia/Kathmandu"} {
		if got := d.line(name).Schedule.Zone; got != want {
			t.Errorf("the schedule of %s is in %s, want %s", name, got, want)
		}
	}
	if l := d.line(demoStop); l.ModeIn(l.Product) != "stop" {
		t.Errorf("%s has mode %s", demoStop, l.ModeIn(l.Product))
	}
	if l := d.line(demoZero); l.QuotaIn(l.Product) != 0 || !l.Backups().ReadOnly {
		t.Errorf("%s: %s", demoZero, l.Backups())
	}

	// Copies.
	if newest := d.copies(demoSuspect)[0]; newest.Class != portal.ClassSuspect {
		t.Errorf("the newest copy of %s is %s", demoSuspect, newest.Class)
	}
	classes, protected := map[portal.Class]int{}, map[string]int{}
	for name := range d.lines {
		for _, b := range d.copies(name) {
			classes[b.Class]++
			if b.Protected {
				protected[name]++
			}
		}
	}
	if classes[portal.ClassMissing] != 1 || classes[portal.ClassSuspect] != 1 || classes[portal.ClassRunning] != 1 {
		t.Errorf("classes of copies: %v", classes)
	}
	if diff := cmp.Diff(map[string]int{demoFull: 1, demoProtected: 2}, protected); diff != "" {
		t.Errorf("protected copies (-want +got):\n%s", diff)
	}
	if err := d.request(demoIdleAda, portal.ProtectBackup("test", d.copies(demoIdleAda)[0].UID, true)); err != nil {
		t.Errorf("protecting a copy of %s: %v", demoIdleAda, err)
	}
	if err := d.request(demoStop, portal.ProtectBackup("test", d.copies(demoStop)[0].UID, true)); portal.CodeOf(err) != portal.CodeForbidden {
		t.Errorf("protecting a copy of %s: %v", demoStop, err)
	}
	sit, err := d.db.Situation(t.Context(), d.line(demoFull).ID)
	if err != nil {
		t.Fatal(err)
	}
	var soon, later int
	for _, v := range sit.Snapshots {
		if left := v.Left(now); v.State == portal.SnapshotThere && left > 0 && left < portal.SnapshotLastHour {
			soon++
		} else if v.State == portal.SnapshotThere {
			later++
		}
	}
	if soon != 1 || later != 1 {
		t.Errorf("%s has %d snapshots in their last hour and %d others, want one of each: %+v", demoFull, soon, later, sit.Snapshots)
	}
	d.idle()
	d.servers()
}

// idle looks for a service of each client that can be backed up at once: nothing is in its way, nor in its node's.
func (d *demoShop) idle() {
	busy := map[string]bool{}
	for _, l := range d.lines {
		for _, o := range l.Open {
			busy[l.ServerName+l.Node] = busy[l.ServerName+l.Node] || o.State == portal.StateRunning
		}
	}
	found := map[string]int{}
	for name, l := range d.lines {
		if len(l.Open) == 0 && !busy[l.ServerName+l.Node] && d.request(name, portal.ManualBackup("test", "", "")) == nil {
			found[d.owner[name]]++
		}
	}
	for _, c := range demoClients {
		if found[c.key] == 0 {
			d.t.Errorf("%s has no idle service with a free place", c.key)
		}
	}
}

func (d *demoShop) servers() {
	t := d.t
	servers, err := d.db.Servers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	nodes := map[string]int{}
	for _, s := range servers {
		list, err := d.db.Nodes(t.Context(), s.ID)
		if err != nil {
			t.Fatal(err)
		}
		nodes[s.Name+" "+s.Release] = len(list)
		for _, f := range s.Findings {
			if f.Level == "error" {
				t.Errorf("%s: %s", s.Name, f.Text)
			}
		}
	}
	if diff := cmp.Diff(map[string]int{demoAlone + " 8.4": 1, demoCluster + " 9.2": 3}, nodes); diff != "" {
		t.Errorf("nodes of the servers (-want +got):\n%s", diff)
	}
	if broken, err := d.db.VerifyAudit(t.Context()); err != nil || broken != 0 {
		t.Errorf("audit chain: row %d, %v", broken, err)
	}
	if pulse, err := d.db.Pulse(t.Context()); err != nil || pulse.Recovering {
		t.Errorf("recovering: %v %v", pulse.Recovering, err)
	}
	for _, who := range []string{"ada", "grace", "linus", "admin", "operator", "auditor"} {
		login, err := d.db.LoginByEmail(t.Context(), who+"@demo.test")
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := argon2id.ComparePasswordAndHash("stowage-demo", login.PasswordHash); err != nil || !ok {
			t.Errorf("%s can't sign in: %v", login.Email, err)
		}
		if staff := !slices.ContainsFunc(demoClients, func(c demoClient) bool { return c.key == who }); login.Staff() != staff {
			t.Errorf("%s: staff is %v", login.Email, login.Staff())
		}
	}
}

// TestDemoSurvivesKills kills a demo in the middle of its filling, and again after a note and a backup were made:
// neither is lost, in the portal or in the simulated world.
func TestDemoSurvivesKills(t *testing.T) {
	t.Parallel()
	folder := demoFolder(filepath.Join(t.TempDir(), "demo"))
	p := demoProcess(t, nil, "--speed", "500", "--data", string(folder))
	eventually(t, "the filling to be under way", func() bool {
		info, err := os.Stat(folder.data().Database + "-wal")
		return err == nil && info.Size() > 200_000
	})
	p.kill()
	if mark, err := folder.read(); err != nil || mark.Filled {
		t.Fatalf("the kill came too late, or the mark is wrong: %+v %v", mark, err)
	}

	p = demoProcess(t, nil, "--speed", "500", "--data", string(folder))
	address, said := p.listening()
	for _, want := range []string{"ada@demo.test", "auditor@demo.test", "stowage-demo", string(folder)} {
		if !strings.Contains(said, want) {
			t.Errorf("the demo does not say %s: %s", want, said)
		}
	}
	answer, err := http.Get(address + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, answer.Body)
	_ = answer.Body.Close()
	if r := stowage(t, "", "demo", "--listen", "127.0.0.1:0", "--data", string(folder)); r.code != exitFailed || !strings.Contains(r.err, "another demo runs") {
		t.Errorf("a second demo on the same folder: %d %s", r.code, r.err)
	}

	d := folder.look(t, time.Now)
	d.promises(time.Now())
	shop := d.line(demoIdleAda)
	old := d.copies(demoIdleAda)[0]
	if err := d.db.SetNote(t.Context(), shop.ClientID, shop.UID, old.UID, "test", "keep this one"); err != nil {
		t.Fatal(err)
	}
	op, err := d.db.Enqueue(t.Context(), shop.ClientID, shop.UID, portal.ManualBackup("test", "made by hand", ""))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the backup", func() bool {
		op, err = d.db.Operation(t.Context(), op.ID)
		return err == nil && op.State.Final()
	})
	if op.State != portal.StateSucceeded {
		t.Fatalf("the backup %s: %s (%s)", op.State, op.Reason, op.StaffReason)
	}
	made, err := d.db.Backup(t.Context(), op.BackupID)
	if err != nil {
		t.Fatal(err)
	}
	p.kill()

	db, sims, err := folder.open(t.Context(), time.Now, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	copies := folder.look(t, time.Now).copies(demoIdleAda)
	if len(copies) != 6 || copies[0].UID != made.UID || copies[0].Note != "made by hand" || copies[1].UID != old.UID || copies[1].Note != "keep this one" {
		t.Errorf("after the kill: %+v", copies)
	}
	if !slices.ContainsFunc(sims[demoCluster].Archives(), func(a pvesim.Archive) bool { return a.Volid == made.Volid && strings.HasPrefix(a.Notes, "stowage:") }) {
		t.Errorf("the simulated world has lost %s", made.Volid)
	}

	// And once more: what ran goes on, and the end is quick.
	p = demoProcess(t, nil, "--speed", "500", "--data", string(folder))
	p.listening()
	eventually(t, "the long backup to be seen", func() bool {
		line := folder.look(t, time.Now).line(demoRunning)
		return len(line.Open) == 1 && line.Open[0].State == portal.StateRunning
	})
	p.terminate()
}

// terminate sends SIGTERM and wants a good end within ten seconds.
func (p *process) terminate() {
	p.t.Helper()
	began := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("the demo ended with %v", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		p.t.Errorf("the demo took %s to end", took)
	}
}

// TestDemoLeavesNothingBehind stops demos without a folder of their own, during the filling and after it.
func TestDemoLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	temp := t.TempDir()
	for _, early := range []bool{true, false} {
		p := demoProcess(t, []string{"TMPDIR=" + temp})
		if early {
			eventually(t, "the filling to begin", func() bool {
				found, err := filepath.Glob(filepath.Join(temp, "stowage-demo-*", "stowage.db"))
				return err == nil && len(found) == 1
			})
		} else {
			p.listening()
		}
		p.terminate()
		left, err := os.ReadDir(temp)
		if err != nil || len(left) != 0 {
			t.Errorf("left behind: %v %v", left, err)
		}
	}
}

func TestDemoRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "thesis.txt"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		code int
		why  string
		args []string
	}{
		{exitUsage, "--public", []string{"--listen", "0.0.0.0:0"}},
		{exitUsage, "--public", []string{"--listen", ":0"}},
		{exitUsage, "--speed", []string{"--speed", "0"}},
		{exitFailed, "thesis.txt", []string{"--listen", "127.0.0.1:0", "--data", dir}},
	} {
		stowage(t, "", append([]string{"demo"}, c.args...)...).want(t, fmt.Sprint(c.args), c.code, c.why)
	}
}

// TestLongBackupIsBegunAnew ends the long backup, as it has where a demo is started again after some days.
func TestLongBackupIsBegunAnew(t *testing.T) {
	t.Parallel()
	folder := demoFolder(t.TempDir())
	now := time.Now()
	clock := &leaping{t: now}
	if err := folder.ready(t.Context(), clock.Now, 1, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	clock.set(now.Add(24 * time.Hour)) // its task has long ended when the demo starts again
	db, sims, err := folder.open(t.Context(), clock.Now, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	begun := make(chan error, 1)
	go func() { begun <- keepOneRunning(ctx, db, sims[demoCluster]) }()
	s := &stage{folder: folder, clock: clock, db: db, sims: sims}
	s.connect(slog.New(slog.DiscardHandler))
	defer s.engine.Close()
	if err := db.RaiseEpoch(t.Context(), "test"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the long backup to be begun", func() bool {
		if err := s.engine.Round(t.Context()); err != nil {
			t.Fatal(err)
		}
		clock.set(clock.Now().Add(10 * time.Second))
		return folder.look(t, clock.Now).line(demoRunning).Backups().String() == "3/4, 1 in progress"
	})
	if err := <-begun; err != nil {
		t.Error(err)
	}
}

func TestKeepClear(t *testing.T) {
	t.Parallel()
	for now := range 24 * 60 {
		wall := time.Date(2026, 5, 1, now/60, now%60, 0, 0, time.UTC)
		for at := portal.TimeOfDay(0); at < 24*60; at += 7 {
			got := keepClear(at, wall)
			off := (int(got) - now + 48*60) % (24 * 60)
			if !got.Valid() || min(off, 24*60-off) < 180 {
				t.Fatalf("%s at %s becomes %s", at, wall.Format("15:04"), got)
			}
		}
	}
}
