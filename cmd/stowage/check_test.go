package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stowage/pve"
	"stowage/pve/pvesim"
)

// within starts a simulator that the test can look into, behind HTTPS.
func within(t *testing.T, release string) (sim *pvesim.Sim, url, fingerprint string) {
	t.Helper()
	sim, err := pvesim.New(pvesim.ContractWorld(1, 2), pvesim.Options{Release: release, Now: time.Now, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	ts := httptest.NewUnstartedServer(sim)
	ts.Config = sim.Server()
	ts.Config.ErrorLog = log.New(io.Discard, "", 0)
	ts.StartTLS()
	t.Cleanup(ts.Close)
	return sim, ts.URL, pve.WithColons(fmt.Sprintf("%x", sha256.Sum256(ts.Certificate().Raw)))
}

// right is a privilege on a path.
type right struct{ privilege, path string }

// readmeRights are those that the README grants on narrow paths.
var readmeRights = []right{
	{"VM.Audit", "/vms"}, {"VM.Backup", "/vms"}, {"Datastore.Audit", "/storage/local"}, {"Datastore.AllocateSpace", "/storage/local"}, {"Sys.Audit", "/"},
}

// setRights grants the README's rights to the user and to the token, without one of each, and what customers can do with
// their machines beside backups.
func setRights(t *testing.T, sim *pvesim.Sim, release string, notUser, notToken right, more ...pvesim.ACL) {
	t.Helper()
	roles := map[string][]string{}
	var entries []pvesim.ACL
	for who, not := range map[string]right{"portal@pve": notUser, pvesim.PortalToken: notToken} {
		for _, r := range readmeRights {
			if r == not {
				continue
			}
			role := who + " on " + r.path
			if roles[role] == nil {
				entries = append(entries, pvesim.ACL{Path: r.path, Role: role, Who: who})
			}
			roles[role] = append(roles[role], r.privilege)
		}
		for _, path := range []string{"/vms", "/sdn"} {
			role := who + " beside on " + path
			entries = append(entries, pvesim.ACL{Path: path, Role: role, Who: who})
			roles[role] = append(slices.DeleteFunc(slices.Clone(pvesim.PortalPrivileges), func(p string) bool {
				return slices.ContainsFunc(readmeRights, func(r right) bool { return r.privilege == p })
			}), pvesim.AgentPrivileges(release)...)
		}
	}
	if err := sim.SetRights(roles, append(entries, more...)...); err != nil {
		t.Fatal(err)
	}
}

// TestServerCheckNamesPrivileges: over the command, each privilege taken in turn gives its own line with its path and
// the command that mends it, the exit code says that something is wrong, and nothing is sent that changes anything.
func TestServerCheckNamesPrivileges(t *testing.T) {
	t.Parallel()
	for _, release := range []string{"8.4", "9.2"} {
		t.Run(release, func(t *testing.T) {
			t.Parallel()
			sim, url, fingerprint := within(t, release)
			b := newBench(t)
			b.connect(url, fingerprint)
			b.must("product", "add", "--name", "VPS S", "--backups", "3", "--backup-storage", "local")
			b.must("client", "add", "--email", "ada@demo.test", "--name", "Ada", "--zone", "Europe/Berlin")
			b.must("service", "add", "--client", "ada@demo.test", "--product", "VPS S", "--server", "pve1", "--vmid", "100")
			if err := sim.AddArchive(pvesim.Archive{Node: "pve1", Storage: "local", VMID: 100, Time: time.Now(), Size: 1 << 20}); err != nil {
				t.Fatal(err)
			}
			archives := sim.Archives()
			check := func(what string, want ...string) {
				t.Helper()
				r := b.run("server", "check", "pve1", "--json")
				var findings []finding
				if err := json.Unmarshal([]byte(r.out), &findings); err != nil {
					t.Fatalf("%s: %v: %+v", what, err, r)
				}
				var lines []string
				n := 0
				for _, f := range findings {
					if f.Level != "ok" {
						n++
					}
					if f.Level == "error" { // what customers can't do beside comes with it, as warnings
						lines = append(lines, f.Text+" → "+strings.Split(f.Mend, ",")[0])
					}
				}
				if n > 0 && len(want) == 0 {
					t.Errorf("%s: %+v", what, findings)
				}
				if d := cmp.Diff(want, lines); d != "" {
					t.Errorf("%s: -want +got:\n%s", what, d)
				}
				code, says := exitDone, ""
				if n == 1 {
					code, says = exitFailed, "stowage: pve1: 1 thing to mend\n"
				} else if n > 1 {
					code, says = exitFailed, fmt.Sprintf("stowage: pve1: %d things to mend\n", n)
				}
				if r.code != code || r.err != says {
					t.Errorf("%s: exit code %d, %q; want %d, %q", what, r.code, r.err, code, says)
				}
				text := b.run("server", "check", "pve1")
				for _, line := range want {
					said, mend, _ := strings.Cut(line, " → ")
					if !strings.Contains(text.out, "error  "+said) || !strings.Contains(text.out, "→ "+mend) {
						t.Errorf("%s: in words it says %q, expected %q", what, text.out, line)
					}
				}
				if calls := sim.Calls(); len(calls) != 0 {
					t.Errorf("%s: it sent what changes things: %+v", what, calls)
				}
			}
			line := func(privilege, path, why string) string {
				return fmt.Sprintf("Missing privilege: %s on %s%s. → pveum acl modify %s --roles ROLE --users portal@pve --tokens 'portal@pve!api'", privilege, path, why, path)
			}
			setRights(t, sim, release, right{}, right{})
			check("all rights")
			for _, gone := range readmeRights {
				want := []string{line(gone.privilege, gone.path, "")}
				if gone.privilege == "Sys.Audit" {
					want = []string{line("Sys.Audit", "/", " (to see the cluster's own backup jobs)"), line("Sys.Audit", "/nodes/pve1", "")}
				}
				setRights(t, sim, release, right{}, gone)
				check("the token lacks "+gone.privilege, want...)
				setRights(t, sim, release, gone, right{})
				check("the user lacks "+gone.privilege, want...)
			}
			const taken = " (a more specific rule there takes it away)"
			setRights(t, sim, release, right{}, right{}, pvesim.ACL{Path: "/vms/100", Role: "PVEAuditor", Who: pvesim.PortalToken})
			check("a role on the machine's number", line("VM.Backup", "/vms/100", taken))
			setRights(t, sim, release, right{}, right{}, pvesim.ACL{Path: "/vms/100", Role: "NoAccess", Who: pvesim.PortalToken})
			check("no access to the machine's number", line("VM.Audit", "/vms/100", taken), line("VM.Backup", "/vms/100", taken))
			setRights(t, sim, release, right{}, right{})
			check("all rights again")
			if d := cmp.Diff(archives, sim.Archives()); d != "" {
				t.Errorf("archives before and after: %s", d)
			}
		})
	}
}

// TestServerCheckNamesForeignPruning: storages that prune by themselves and the cluster's own jobs, one line each.
func TestServerCheckNamesForeignPruning(t *testing.T) {
	t.Parallel()
	sim, url, fingerprint := within(t, "9.2")
	b := newBench(t)
	b.connect(url, fingerprint)
	b.must("product", "add", "--name", "VPS S", "--backups", "3", "--backup-storage", "local")
	b.must("product", "add", "--name", "Pruned", "--backups", "3", "--backup-storage", "keep2")
	if err := sim.SetBackupJobs(
		pvesim.BackupJob{ID: "nightly", Schedule: "03:00", Storage: "local", All: true, PruneBackups: "keep-daily=7,keep-last=3"},
		pvesim.BackupJob{ID: "harmless", Schedule: "04:00", Storage: "local", All: true, PruneBackups: "keep-all=1"},
		pvesim.BackupJob{ID: "off", Schedule: "05:00", Storage: "local", All: true, PruneBackups: "keep-last=1", Disabled: true},
		pvesim.BackupJob{ID: "elsewhere", Schedule: "06:00", Storage: "tiny", All: true, PruneBackups: "keep-last=1"},
	); err != nil {
		t.Fatal(err)
	}
	r := b.run("server", "check", "pve1")
	var lines []string
	for l := range strings.Lines(r.out) {
		if l = strings.TrimSpace(l); !strings.HasPrefix(l, "ok") {
			lines = append(lines, l)
		}
	}
	want := []string{
		"error  Storage keep2 prunes by itself (keep-last=2): Proxmox would delete copies that customers paid for, and refuse new ones at the limit.",
		"→ pvesm set keep2 --prune-backups keep-all=1",
		"error  Backup job nightly prunes storage local (keep-daily=7,keep-last=3): it deletes customers' copies of the machines it backs up.",
		"→ Give the job another storage, or keep-all=1.",
	}
	if d := cmp.Diff(want, lines); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if r.code != exitFailed || r.err != "stowage: pve1: 2 things to mend\n" {
		t.Errorf("exit code %d, %q", r.code, r.err)
	}
	if calls := sim.Calls(); len(calls) != 0 {
		t.Errorf("it sent what changes things: %+v", calls)
	}
}
