package jobs_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stowage/portal"
	"stowage/pve/pvesim"
)

// check checks the world's server and gives what is wrong, as "level: text".
func (w *world) check() []string {
	w.t.Helper()
	findings, err := w.engine.Check(context.Background(), w.server)
	if err != nil {
		w.t.Fatal(err)
	}
	kept, err := w.db.Server(context.Background(), w.server.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	if diff := cmp.Diff(findings, kept.Findings); diff != "" {
		w.t.Errorf("kept other findings than given: %s", diff)
	}
	var out []string
	for _, f := range findings {
		if f.Level != "ok" {
			out = append(out, f.Level+": "+f.Text.String())
			if f.Mend == "" {
				w.t.Errorf("%q says not how to mend it", f.Text)
			}
		}
	}
	return out
}

// TestCheckClean finds nothing to complain about in a server that is set up right, in both releases.
func TestCheckClean(t *testing.T) {
	t.Parallel()
	for _, release := range []string{"8.4", "9.2"} {
		w := scene(t, worldOptions{Release: release})
		if got := w.check(); len(got) != 0 {
			t.Errorf("%s: %v", release, got)
		}
		if len(w.sim.Calls()) != 0 {
			t.Errorf("a check changes nothing: %+v", w.sim.Calls())
		}
	}
}

// TestCheckPrivileges takes each privilege in turn: its line names it and the path to grant it on.
func TestCheckPrivileges(t *testing.T) {
	t.Parallel()
	for privilege, want := range map[string][]string{
		"VM.Audit":                {"error: Missing privilege: VM.Audit on /vms."},
		"VM.Backup":               {"error: Missing privilege: VM.Backup on /vms."},
		"Datastore.Audit":         {"error: Missing privilege: Datastore.Audit on /storage/local."},
		"Datastore.AllocateSpace": {"error: Missing privilege: Datastore.AllocateSpace on /storage/local."},
		"Sys.Audit": {
			"error: Missing privilege: Sys.Audit on / (to see the cluster's own backup jobs).",
			"error: Missing privilege: Sys.Audit on /nodes/pve1.",
		},
	} {
		t.Run(privilege, func(t *testing.T) {
			t.Parallel()
			w := scene(t, worldOptions{})
			w.must(w.sim.SetPrivileges(pvesim.PortalToken, "/", without(privilege)...))
			if diff := cmp.Diff(want, w.check()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			// Where only the user lacks it, the token with privilege separation lacks it too.
			w.must(w.sim.SetPrivileges(pvesim.PortalToken, "/", without("")...))
			w.must(w.sim.SetPrivileges("portal@pve", "/", without(privilege)...))
			if diff := cmp.Diff(want, w.check()); diff != "" {
				t.Errorf("of the user: -want +got:\n%s", diff)
			}
		})
	}
}

// TestCheckPrivilegesAll takes them all, and one by a rule on a machine's own path.
func TestCheckPrivilegesAll(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{})
	w.must(w.sim.SetPrivileges(pvesim.PortalToken, "/vms/100", "VM.Audit"))
	want := []string{"error: Missing privilege: VM.Backup on /vms/100 (a more specific rule there takes it away)."}
	if diff := cmp.Diff(want, w.check()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	w.must(w.sim.SetPrivileges(pvesim.PortalToken, "/"))
	w.must(w.sim.SetPrivileges(pvesim.PortalToken, "/vms/100"))
	got := w.check()
	for _, p := range []string{"VM.Audit on /vms.", "VM.Backup on /vms.", "Datastore.Audit on /storage/local.", "Datastore.AllocateSpace on /storage/local.", "Sys.Audit on /"} {
		if !slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, "Missing privilege: "+p) }) {
			t.Errorf("no line for %s among %v", p, got)
		}
	}
}

// TestCheckPruning finds what else would delete customers' copies.
func TestCheckPruning(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{Product: func(p *portal.Product) { p.Storage = "keep2" }})
	want := []string{"error: Storage keep2 prunes by itself (keep-last=2): Proxmox would delete copies that customers paid for, and refuse new ones at the limit."}
	if diff := cmp.Diff(want, w.check()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	w.must(w.sim.SetStorage("keep2", func(st *pvesim.Storage) { st.PruneBackups = "keep-all=1" }))
	w.must(w.sim.SetBackupJobs(
		pvesim.BackupJob{ID: "backup-prunes", Schedule: "03:00", Storage: "keep2", All: true, PruneBackups: "keep-last=3"},
		pvesim.BackupJob{ID: "backup-keeps", Schedule: "03:00", Storage: "keep2", All: true, PruneBackups: "keep-all=1"},
		pvesim.BackupJob{ID: "backup-elsewhere", Schedule: "03:00", Storage: "tiny", All: true, PruneBackups: "keep-last=1"},
		pvesim.BackupJob{ID: "backup-off", Schedule: "03:00", Storage: "keep2", All: true, PruneBackups: "keep-last=1", Disabled: true},
		pvesim.BackupJob{ID: "backup-plain", Schedule: "03:00", Storage: "keep2", All: true},
	))
	want = []string{"error: Backup job backup-prunes prunes storage keep2 (keep-last=3): it deletes customers' copies of the machines it backs up."}
	if diff := cmp.Diff(want, w.check()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestCheckStorages finds storages that are full, away, of the wrong kind, or not there.
func TestCheckStorages(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		edit func(*pvesim.Storage)
		want string
	}{
		"full":      {func(st *pvesim.Storage) { st.Used = st.Total * 9 / 10 }, "warning: Storage vault on node pve1 is 90 % full."},
		"away":      {func(st *pvesim.Storage) { st.Mountpoint, st.Gone = true, true }, "warning: Storage vault is not available on node pve1."},
		"no backup": {func(st *pvesim.Storage) { st.Content = []string{"iso"} }, "error: Storage vault takes no backups."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := scene(t, vault(nil))
			w.must(w.sim.SetStorage("vault", c.edit))
			w.clock.set(w.clock.Now().Add(time.Minute))
			if got := w.check(); !slices.Contains(got, c.want) {
				t.Errorf("%v, want %q", got, c.want)
			}
		})
	}
	w := scene(t, worldOptions{Product: func(p *portal.Product) { p.Storage = "nowhere" }})
	if got := w.check(); !slices.Contains(got, "error: Backup storage nowhere does not exist, or the token may not see it.") {
		t.Errorf("%v", got)
	}
}

// TestCheckServerTrouble says what is wrong where the server itself can't be used.
func TestCheckServerTrouble(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{})
	w.inject(pvesim.Fault{Kind: pvesim.ClockSkew, For: 10 * time.Minute})
	if got := w.check(); len(got) != 1 || !strings.HasPrefix(got[0], "error: Its clock and ours differ by 10m") {
		t.Errorf("%v", got)
	}
	w = scene(t, worldOptions{})
	w.must(w.sim.RevokeToken(pvesim.PortalToken))
	if got := w.check(); len(got) != 1 || !strings.HasPrefix(got[0], "error: The server can't be reached: The API token was not accepted") {
		t.Errorf("%v", got)
	}
	w = scene(t, worldOptions{})
	w.inject(pvesim.Fault{Kind: pvesim.Refuse, Path: `^/version$`, Status: 595, Reason: "No route to host"})
	if got := w.check(); len(got) != 1 || !strings.Contains(got[0], "No route to host") {
		t.Errorf("%v", got)
	}
}

// TestCheckChangedServer takes a server's new privileges for what they are within a minute.
func TestCheckFresh(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{})
	for i := range 3 {
		w.must(w.sim.SetPrivileges(pvesim.PortalToken, "/", without("VM.Backup")...))
		if got := w.check(); len(got) != 1 {
			t.Error(fmt.Sprint(i, got))
		}
		w.must(w.sim.SetPrivileges(pvesim.PortalToken, "/", without("")...))
		if got := w.check(); len(got) != 0 {
			t.Error(fmt.Sprint(i, got))
		}
	}
}
