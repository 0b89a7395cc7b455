package pve_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"stowage/pve"
	"stowage/pve/pvesim"

	"github.com/google/go-cmp/cmp"
)

// clock is the one that the client and the simulated servers share.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

type world struct {
	*pve.Client
	sim   *pvesim.Sim
	clock *clock
}

func newWorld(t *testing.T, release string, nodes int) world {
	t.Helper()
	k := &clock{t: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)}
	sim, err := pvesim.New(pvesim.ContractWorld(nodes, 4), pvesim.Options{Release: release, Now: k.now, Seed: 7})
	if err != nil {
		t.Fatal(err)
	}
	c, err := pve.New(pve.Config{
		Endpoints: []string{"https://pve1:8006"}, TokenID: pvesim.PortalToken, Secret: pvesim.Secret, Transport: sim, Now: k.now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return world{c, sim, k}
}

// on runs a test against both releases.
func on(t *testing.T, f func(t *testing.T, release string)) {
	for _, release := range []string{"8.4", "9.2"} {
		t.Run(release, func(t *testing.T) {
			t.Parallel()
			f(t, release)
		})
	}
}

var ctx = context.Background()

// until moves the clock on until a task has ended.
func (w world) until(t *testing.T, upid pve.UPID) pve.TaskStatus {
	t.Helper()
	for range 10000 {
		s, err := w.TaskStatus(ctx, upid)
		if err != nil {
			t.Fatal(err)
		}
		if !s.Running {
			return s
		}
		w.clock.advance(time.Second)
	}
	t.Fatalf("%s never ended", upid)
	return pve.TaskStatus{}
}

func (w world) log(t *testing.T, upid pve.UPID) pve.VzdumpLog {
	t.Helper()
	lines, total, err := w.TaskLog(ctx, upid, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if total != len(lines) {
		t.Errorf("%d lines of %d", len(lines), total)
	}
	return pve.ParseVzdumpLog(lines)
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// What a portal looks at first.
func TestInventory(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, release string) {
		w := newWorld(t, release, 3)
		v := must(w.Version(ctx))(t)
		if v.Release != release || v.Major != int(release[0]-'0') {
			t.Errorf("%+v", v)
		}
		p := must(w.Permissions(ctx))(t)
		for _, privilege := range pvesim.PortalPrivileges {
			if !p.Has("/vms/100", privilege) || !p.Has("/storage/local", privilege) {
				t.Errorf("%s is missing", privilege)
			}
		}
		if p.Has("/vms/100", "VM.Allocate") || p.Has("/", "Sys.Modify") {
			t.Error("more rights than granted")
		}
		r := must(w.Resources(ctx))(t)
		if len(r.Guests) != 4 || len(r.Nodes) != 3 || r.Guests[0].VMID != 100 || r.Guests[0].Name != "h100" || r.Guests[0].Status != "running" {
			t.Errorf("%+v", r)
		}
		if n := must(w.Nodes(ctx))(t); len(n) != 3 || n[0].Node != "pve1" || n[0].Status != "online" {
			t.Errorf("%+v", n)
		}
		s := must(w.StorageStatus(ctx, "pve1", "local"))(t)
		if !s.Active || !s.Enabled || s.Shared || s.Type != "dir" || !s.Holds("backup") || s.Total <= 0 || s.Avail <= 0 || s.Avail > s.Total {
			t.Errorf("%+v", s)
		}
		all := must(w.NodeStorages(ctx, "pve1"))(t)
		found := false
		for _, one := range all {
			found = found || cmp.Equal(one, s)
		}
		if !found {
			t.Errorf("local isn't among %+v", all)
		}
		for _, one := range must(w.StorageConfigs(ctx))(t) {
			if (one.Storage == "keep2") != (one.PruneBackups == "keep-last=2") {
				t.Errorf("%+v", one)
			}
		}
		if jobs := must(w.BackupJobs(ctx))(t); len(jobs) != 0 {
			t.Errorf("%+v", jobs)
		}
		g := must(w.GuestConfig(ctx, "pve1", 100))(t)
		if g.Name != "h100" || g.UUID == "" || g.Digest == "" || g.Stump() || len(g.BackedUpDisks()) != 1 || g.Disks[0].SizeBytes != 1<<30 || g.Nets[0].Bridge != "vmbr0" || g.MetaCTime.IsZero() {
			t.Errorf("%+v", g)
		}
		st := must(w.GuestStatus(ctx, "pve1", 100))(t)
		if st.Status != "running" || st.QMPStatus != "running" || st.PID == 0 || st.Lock != "" {
			t.Errorf("%+v", st)
		}
		if d, known := w.Skew(); !known || d.Abs() > time.Second {
			t.Errorf("skew %v %v", d, known)
		}
	})
}

// One backup from the click to its deletion.
func TestLifeOfABackup(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, release string) {
		w := newWorld(t, release, 1)
		const mark = "stowage:01JABC:svc:op:0123456789abcdef0123"
		upid := must(w.Vzdump(ctx, "pve1", pve.VzdumpRequest{VMID: 100, Storage: "local", Notes: mark, LockWait: 12 * time.Hour}))(t)
		if upid.Type != "vzdump" || upid.ID != "100" || upid.Owner() != pvesim.PortalToken || upid.Node != "pve1" {
			t.Errorf("%+v", upid)
		}

		// Half-way. The next one waits for it and says nothing but that.
		w.clock.advance(2 * time.Second)
		second := must(w.Vzdump(ctx, "pve1", pve.VzdumpRequest{VMID: 101, Storage: "local", Notes: mark, LockWait: time.Hour}))(t)
		w.clock.advance(500 * time.Millisecond)
		l := w.log(t, upid)
		if l.Mark != mark || l.VMID != 100 || l.Finished || l.Ended || l.ErrorText != "" || l.Mode != "snapshot" || l.GuestWasStopped || len(l.Disks) != 1 || !strings.HasPrefix(l.Archive, "local:backup/vzdump-qemu-100-2026_11_20-12_00_0") {
			t.Errorf("half-way: %+v", l)
		}
		if l := w.log(t, second); !l.Waiting || l.Mark != "" {
			t.Errorf("waiting: %+v", l)
		}
		if st := must(w.GuestStatus(ctx, "pve1", 100))(t); st.Lock != "backup" || st.Status != "running" {
			t.Errorf("%+v", st)
		}
		if as := must(w.Archives(ctx, "pve1", "local", 100))(t); len(as) != 0 {
			t.Errorf("listed before it is whole: %+v", as)
		}
		running := must(w.Tasks(ctx, "pve1", pve.TaskFilter{Type: "vzdump", VMID: 100}))(t)
		if len(running) != 1 || running[0].UPID != upid || !running[0].Running || running[0].Owner != pvesim.PortalToken {
			t.Errorf("%+v", running)
		}
		if ts := must(w.ClusterTasks(ctx))(t); len(ts) != 2 || !ts[0].Running || !ts[1].Running {
			t.Errorf("%+v", ts)
		}

		// Done.
		end := w.until(t, upid)
		if !end.OK() || end.Exit != "OK" || end.Warnings() {
			t.Errorf("%+v", end)
		}
		l = w.log(t, upid)
		if !l.Finished || !l.Ended || l.ErrorText != "" || l.Percent != 100 || l.SizeBytes == 0 || l.TotalBytes != 1<<30 || l.Consistent() || len(l.Warnings) != 0 {
			t.Errorf("ended: %+v", l)
		}
		ended := must(w.Tasks(ctx, "pve1", pve.TaskFilter{Type: "vzdump", VMID: 100}))(t)
		if len(ended) != 1 || ended[0].Owner != pvesim.PortalToken || ended[0].Failed() || ended[0].End.IsZero() {
			t.Errorf("%+v", ended)
		}
		as := must(w.Archives(ctx, "pve1", "local", 100))(t)
		if len(as) != 1 || as[0].Volid != l.Archive || as[0].NotesLine != mark || as[0].VMID != 100 || as[0].Size == 0 || as[0].Protected || as[0].CTime.IsZero() || as[0].Subtype != "qemu" {
			t.Fatalf("%+v", as)
		}
		volid := as[0].Volid

		// The stopped machine had its turn meanwhile, in mode stop.
		if end := w.until(t, second); !end.OK() {
			t.Errorf("%+v", end)
		}
		if l := w.log(t, second); !l.GuestWasStopped || l.Mode != "stop" || !l.Consistent() || l.Mark != mark || l.Waiting {
			t.Errorf("%+v", l)
		}

		// The customer's note, and protection.
		notes := mark + "\nbefore the update {{x}} ä"
		if err := w.SetArchiveNotes(ctx, "pve1", "local", volid, notes); err != nil {
			t.Fatal(err)
		}
		if err := w.SetArchiveProtected(ctx, "pve1", "local", volid, true); err != nil {
			t.Fatal(err)
		}
		a := must(w.Archive(ctx, "pve1", "local", volid))(t)
		if a.Notes != notes || a.NotesLine != mark || !a.Protected || a.VMID != 100 || a.Path != l.Path {
			t.Errorf("%+v", a)
		}
		if as := must(w.Archives(ctx, "pve1", "local", 0))(t); len(as) != 2 || as[0].NotesLine != mark || !as[0].Protected {
			t.Errorf("%+v", as)
		}
		del := must(w.DeleteArchive(ctx, "pve1", "local", volid))(t)
		if vmid, _ := del.VMID(); vmid != 100 || del.Type != "imgdel" {
			t.Errorf("%+v", del)
		}
		if end := w.until(t, del); end.OK() {
			t.Errorf("a protected copy was deleted: %+v", end)
		} else if class, reason := pve.Meaning(end.Exit); class != pve.Refused || reason != pve.Protected {
			t.Errorf("%s %s for %+v", class, reason, end)
		}
		if err := w.SetArchiveProtected(ctx, "pve1", "local", volid, false); err != nil {
			t.Fatal(err)
		}
		for range 2 { // a second time is no error
			if end := w.until(t, must(w.DeleteArchive(ctx, "pve1", "local", volid))(t)); !end.OK() {
				t.Errorf("%+v", end)
			}
		}
		if as := must(w.Archives(ctx, "pve1", "local", 100))(t); len(as) != 0 {
			t.Errorf("%+v", as)
		}
		if _, err := w.Archive(ctx, "pve1", "local", volid); pve.ClassOf(err) != pve.Gone {
			t.Errorf("%v", err)
		}
	})
}

func TestStoppedBackup(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, release string) {
		w := newWorld(t, release, 1)
		upid := must(w.Vzdump(ctx, "pve1", pve.VzdumpRequest{VMID: 100, Storage: "local", LockWait: time.Hour}))(t)
		w.clock.advance(2 * time.Second)
		if err := w.StopTask(ctx, upid); err != nil {
			t.Fatal(err)
		}
		if end := w.until(t, upid); end.OK() {
			t.Errorf("%+v", end)
		}
		l := w.log(t, upid)
		if !strings.Contains(l.ErrorText, "interrupted by signal") || l.Finished {
			t.Errorf("%+v", l)
		}
		if _, refused := pve.Refusal("job errors", l); refused {
			t.Error("stopped by somebody is no refusal")
		}
		if st := must(w.GuestStatus(ctx, "pve1", 100))(t); st.Lock != "" {
			t.Errorf("left the lock %q", st.Lock)
		}
		if err := w.StopTask(ctx, upid); err != nil {
			t.Errorf("stopping it again: %v", err)
		}
	})
}

// Refusals come as tasks that fail: only their log says that nothing was done.
func TestRefusedBackups(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, release string) {
		w := newWorld(t, release, 1)
		if err := w.sim.SetLock(101, "snapshot"); err != nil {
			t.Fatal(err)
		}
		upid := must(w.Vzdump(ctx, "pve1", pve.VzdumpRequest{VMID: 101, Storage: "local", LockWait: time.Hour}))(t)
		end := w.until(t, upid)
		if reason, ok := pve.Refusal(end.Exit, w.log(t, upid)); !ok || reason != pve.Locked {
			t.Errorf("%+v: %s %v", end, reason, ok)
		}

		first := must(w.Vzdump(ctx, "pve1", pve.VzdumpRequest{VMID: 100, Storage: "local"}))(t)
		w.clock.advance(time.Second)
		upid = must(w.Vzdump(ctx, "pve1", pve.VzdumpRequest{VMID: 101, Storage: "local"}))(t)
		end = w.until(t, upid)
		if reason, ok := pve.Refusal(end.Exit, w.log(t, upid)); !ok || reason != pve.LockFile || end.Known {
			t.Errorf("%+v: %s %v", end, reason, ok)
		}
		w.until(t, first)

		upid = must(w.Vzdump(ctx, "pve1", pve.VzdumpRequest{VMID: 100, Storage: "tiny", LockWait: time.Hour}))(t)
		end = w.until(t, upid)
		l := w.log(t, upid)
		if _, ok := pve.Refusal(end.Exit, l); ok || end.OK() || !l.StorageFull || l.ErrorText == "" || l.Archive == "" {
			t.Errorf("full: %+v %+v", end, l)
		}
	})
}

// Things that aren't there, and things the token may not.
func TestGoneAndForbidden(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, release string) {
		w := newWorld(t, release, 1)
		unknown, err := pve.ParseUPID("UPID:pve1:00001234:0001ABCD:65000000:vzdump:100:portal@pve!api:")
		if err != nil {
			t.Fatal(err)
		}
		for name, f := range map[string]func() error{
			"machine":         func() error { _, err := w.GuestConfig(ctx, "pve1", 999); return err },
			"machine's state": func() error { _, err := w.GuestStatus(ctx, "pve1", 999); return err },
			"storage":         func() error { _, err := w.Archives(ctx, "pve1", "nope", 100); return err },
			"storage's state": func() error { _, err := w.StorageStatus(ctx, "pve1", "nope"); return err },
			"task":            func() error { _, err := w.TaskStatus(ctx, unknown); return err },
			"task's log":      func() error { _, _, err := w.TaskLog(ctx, unknown, 0, 10); return err },
		} {
			if err := f(); pve.ClassOf(err) != pve.Gone {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := w.GuestStatus(ctx, "nope", 100); pve.ClassOf(err) != pve.Unreachable {
			t.Errorf("node: %v", err)
		}
		_, err = w.Vzdump(ctx, "pve1", pve.VzdumpRequest{VMID: 100, Storage: "local", BandwidthKiB: 1000})
		if pve.ReasonOf(err) != pve.Permission {
			t.Errorf("bandwidth needs Sys.Modify: %v", err)
		}
		if err := w.sim.RevokeToken(pvesim.PortalToken); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Version(ctx); pve.ReasonOf(err) != pve.Auth {
			t.Errorf("revoked: %v", err)
		}
	})
}

// What the network and the cluster do to a change, and that it is sent once all the same.
func TestFaultyChanges(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, release string) {
		for _, k := range []struct {
			kind  pvesim.Kind
			class pve.Class
			tasks int
		}{
			{pvesim.LostAnswer, pve.Ambiguous, 1}, {pvesim.LostRequest, pve.Ambiguous, 0}, {pvesim.GotNoWorkerUPID, pve.Ambiguous, 1},
			{pvesim.OKInsteadOfUPID, pve.Gone, 0}, {pvesim.LateEffect, pve.Ambiguous, 1},
		} {
			w := newWorld(t, release, 2)
			w.sim.Inject(pvesim.Fault{Kind: k.kind, Method: "POST", Path: "/vzdump$", For: time.Minute})
			_, err := w.Vzdump(ctx, "pve1", pve.VzdumpRequest{VMID: 100, Storage: "local"})
			if pve.ClassOf(err) != k.class || errors.Is(err, pve.ErrNothingStarted) != (k.class == pve.Gone) {
				t.Errorf("%s: %v", k.kind, err)
			}
			w.clock.advance(2 * time.Minute)
			w.sim.Settle()
			if n := len(w.sim.Tasks()); n != k.tasks {
				t.Errorf("%s: %d tasks", k.kind, n)
			}
			if n := len(w.sim.Calls()); n != 1 {
				t.Errorf("%s: %d calls", k.kind, n)
			}
		}
		w := newWorld(t, release, 2)
		if err := w.sim.SetNodeOnline("pve2", false); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Vzdump(ctx, "pve2", pve.VzdumpRequest{VMID: 102, Storage: "local"}); pve.ClassOf(err) != pve.Ambiguous {
			t.Errorf("%v", err)
		}
		if _, err := w.GuestStatus(ctx, "pve2", 102); pve.ClassOf(err) != pve.Unreachable {
			t.Errorf("%v", err)
		}
		w.sim.Inject(pvesim.Fault{Kind: pvesim.ClockSkew, For: 5 * time.Minute})
		must(w.Version(ctx))(t)
		if d, _ := w.Skew(); d < 4*time.Minute || d > 6*time.Minute {
			t.Errorf("skew %s", d)
		}
	})
}

// The engine's tests run in bubbles of virtual time: pauses between tries must not hold them up.
func TestInABubble(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sim, err := pvesim.New(pvesim.ContractWorld(1, 2), pvesim.Options{Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		sim.Inject(pvesim.Fault{Kind: pvesim.LostAnswer, Method: "GET", Count: 2})
		c, err := pve.New(pve.Config{Endpoints: []string{"https://pve1:8006"}, TokenID: pvesim.PortalToken, Secret: pvesim.Secret, Transport: sim, Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Version(ctx); err != nil {
			t.Errorf("the third try: %v", err)
		}
		sim.Inject(pvesim.Fault{Kind: pvesim.LostAnswer, Method: "GET"})
		short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		if _, err := c.Version(short); !errors.Is(err, context.DeadlineExceeded) || pve.ClassOf(err) != pve.Unreachable {
			t.Errorf("given up during the pause: %v", err)
		}
	})
}
