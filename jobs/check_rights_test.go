package jobs_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stowage/jobs"
	"stowage/portal"
	"stowage/pve"
	"stowage/pve/pvesim"
)

// granted is one privilege on one path, as the README grants them.
type granted struct{ privilege, path string }

// onRoot and narrow are the two ways in which the README grants what the portal needs.
var (
	forBackups = []granted{{"VM.Audit", "/"}, {"VM.Backup", "/"}, {"Datastore.Audit", "/"}, {"Datastore.AllocateSpace", "/"}, {"Sys.Audit", "/"}}
	onRoot     = append(slices.Clone(forBackups), ofCustomers("/", "/")...)
	narrowed   = []granted{
		{"VM.Audit", "/vms"}, {"VM.Backup", "/vms"}, {"Datastore.Audit", "/storage/local"}, {"Datastore.AllocateSpace", "/storage/local"},
		{"Sys.Audit", "/"},
	}
	narrow = append(slices.Clone(narrowed), ofCustomers("/vms", "/sdn/zones/localnetwork")...)
)

// ofCustomers is what customers need to do things with their machines, beside backing up, on both releases.
func ofCustomers(machines, networks string) (list []granted) {
	for _, p := range pvesim.PortalPrivileges {
		switch {
		case p == "SDN.Use":
			list = append(list, granted{p, networks})
		case !slices.ContainsFunc(forBackups, func(g granted) bool { return g.privilege == p }):
			list = append(list, granted{p, machines})
		}
	}
	return append(list, granted{agentPrivilege, machines})
}

// agentPrivilege stands for those by which the guest agent is used: each release has its own.
const agentPrivilege = "agent"

const portalUser = "portal@pve"

// whole is a list of rights being put together.
type whole struct {
	roles   map[string][]string
	entries []pvesim.ACL
}

// grant gives somebody these privileges, each path by a role of its own.
func (r *whole) grant(who string, list []granted) {
	if r.roles == nil {
		r.roles = map[string][]string{}
	}
	for _, g := range list {
		role := "R" + strings.ReplaceAll(g.path, "/", "-") + ":" + who
		if r.roles[role] == nil {
			r.entries = append(r.entries, pvesim.ACL{Path: g.path, Role: role, Who: who})
		}
		if g.privilege == agentPrivilege {
			r.roles[role] = append(r.roles[role], "VM.Monitor", "VM.GuestAgent.Audit", "VM.GuestAgent.Unrestricted")
			continue
		}
		r.roles[role] = append(r.roles[role], g.privilege)
	}
}

// rule adds an entry with just these privileges, which takes the place of what is inherited. None is NoAccess.
func (r *whole) rule(who, path string, privileges ...string) {
	role := "rule" + path + ":" + who
	r.roles[role] = privileges
	if len(privileges) == 0 {
		role = "NoAccess"
	}
	r.entries = append(r.entries, pvesim.ACL{Path: path, Role: role, Who: who})
}

func minus(list []granted, one granted) []granted {
	return slices.DeleteFunc(slices.Clone(list), func(g granted) bool { return g == one })
}

// missingLines are the lines for a privilege that is missing where it was granted.
func missingLines(g granted) []string {
	switch {
	case strings.HasPrefix(g.privilege, "VM."):
		return []string{"error: Missing privilege: " + g.privilege + " on /vms."}
	case strings.HasPrefix(g.privilege, "Datastore."):
		return []string{"error: Missing privilege: " + g.privilege + " on /storage/local."}
	default:
		return []string{
			"error: Missing privilege: Sys.Audit on / (to see the cluster's own backup jobs).",
			"error: Missing privilege: Sys.Audit on /nodes/pve1.",
		}
	}
}

// wantRights sets the rights, checks, and holds that the lines are these and that nothing happened.
func (w *world) wantRights(r whole, want ...string) {
	w.t.Helper()
	w.must(w.sim.SetRights(r.roles, r.entries...))
	before, machines := w.sim.Archives(), w.sim.Guests()
	got := w.check()
	if len(want) > 0 { // what customers can't do then is TestCheckFeatures
		got = slices.DeleteFunc(got, func(s string) bool { return strings.HasPrefix(s, "warning: ") })
	}
	if d := cmp.Diff(want, got); d != "" {
		w.t.Errorf("-want +got:\n%s", d)
	}
	if calls := w.sim.Calls(); len(calls) != 0 {
		w.t.Errorf("a check sent what changes things: %+v", calls)
	}
	if d := cmp.Diff(before, w.sim.Archives()); d != "" {
		w.t.Errorf("archives before and after: %s", d)
	}
	if d := cmp.Diff(machines, w.sim.Guests()); d != "" {
		w.t.Errorf("machines before and after: %s", d)
	}
}

// withCopies is a scene in which there is something to destroy: archives of the machine and of another.
func withCopies(t *testing.T, o worldOptions) *world {
	t.Helper()
	w := scene(t, o)
	for vmid := 100; vmid <= 101; vmid++ {
		w.must(w.sim.AddArchive(pvesim.Archive{Node: "pve1", Storage: "local", VMID: vmid, Time: w.clock.Now(), Size: 1 << 20}))
	}
	return w
}

// TestCheckEachPrivilege takes each privilege in turn, granted in both ways, from the token, from its user, and from
// both, in both releases: a token with privilege separation has only what both have.
func TestCheckEachPrivilege(t *testing.T) {
	t.Parallel()
	for name, all := range map[string][]granted{"on /": onRoot, "narrow": narrow} {
		for _, gone := range all[:len(forBackups)] {
			t.Run(name+" "+gone.privilege, func(t *testing.T) {
				t.Parallel()
				for _, release := range []string{"8.4", "9.2"} {
					w := withCopies(t, worldOptions{Release: release})
					var full, token, user, both whole
					full.grant(portalUser, all)
					full.grant(pvesim.PortalToken, all)
					w.wantRights(full)
					token.grant(portalUser, all)
					token.grant(pvesim.PortalToken, minus(all, gone))
					w.wantRights(token, missingLines(gone)...)
					user.grant(portalUser, minus(all, gone))
					user.grant(pvesim.PortalToken, all)
					w.wantRights(user, missingLines(gone)...)
					both.grant(portalUser, minus(all, gone))
					both.grant(pvesim.PortalToken, minus(all, gone))
					w.wantRights(both, missingLines(gone)...)
				}
			})
		}
	}
}

// TestCheckRulesThatReplace: a rule on a narrower path takes the place of what is inherited there, for machine, storage
// and node, of the token and of its user.
func TestCheckRulesThatReplace(t *testing.T) {
	t.Parallel()
	const taken = " (a more specific rule there takes it away)."
	for _, who := range []string{portalUser, pvesim.PortalToken} {
		for _, c := range []struct {
			name, path string
			left       []string
			want       []string
		}{
			{"the machine may only be seen", "/vms/100", []string{"VM.Audit"}, []string{"error: Missing privilege: VM.Backup on /vms/100" + taken}},
			{"the machine may only be backed up", "/vms/100", []string{"VM.Backup"}, []string{"error: Missing privilege: VM.Audit on /vms/100" + taken}},
			{"nothing on the machine", "/vms/100", nil, []string{
				"error: Missing privilege: VM.Audit on /vms/100" + taken, "error: Missing privilege: VM.Backup on /vms/100" + taken,
			}},
			{"nothing on a machine of nobody", "/vms/101", nil, nil},
			{"all on the machine", "/vms/100", []string{"VM.Audit", "VM.Backup"}, nil},
			{"nothing on all machines", "/vms", nil, []string{"error: Missing privilege: VM.Audit on /vms.", "error: Missing privilege: VM.Backup on /vms."}},
			{"the storage may only be seen", "/storage/local", []string{"Datastore.Audit"}, []string{"error: Missing privilege: Datastore.AllocateSpace on /storage/local."}},
			{"the storage may only be filled", "/storage/local", []string{"Datastore.AllocateSpace"}, []string{"error: Missing privilege: Datastore.Audit on /storage/local."}},
			{"nothing on the storage", "/storage/local", nil, []string{
				"error: Missing privilege: Datastore.AllocateSpace on /storage/local.", "error: Missing privilege: Datastore.Audit on /storage/local.",
			}},
			{"nothing on all storages", "/storage", nil, []string{
				"error: Missing privilege: Datastore.AllocateSpace on /storage/local.", "error: Missing privilege: Datastore.Audit on /storage/local.",
			}},
			{"nothing on a storage that isn't ours", "/storage/tiny", nil, nil},
			{"nothing on the node", "/nodes/pve1", nil, []string{"error: Missing privilege: Sys.Audit on /nodes/pve1."}},
			{"another privilege on all nodes", "/nodes", []string{"Sys.Syslog"}, []string{"error: Missing privilege: Sys.Audit on /nodes/pve1."}},
		} {
			t.Run(c.name+" for "+who, func(t *testing.T) {
				t.Parallel()
				w := withCopies(t, worldOptions{})
				var r whole
				r.grant(portalUser, onRoot)
				r.grant(pvesim.PortalToken, onRoot)
				r.rule(who, c.path, c.left...)
				w.wantRights(r, c.want...)
			})
		}
	}
}

// TestCheckPropagation: a role that is granted without propagation holds on its path alone.
func TestCheckPropagation(t *testing.T) {
	t.Parallel()
	const halfway = " on /vms (it is granted there without propagation, so no machine has it)."
	everywhere := append(slices.Clone(narrow), granted{"Datastore.Audit", "/storage"}, granted{"Datastore.AllocateSpace", "/storage"})
	for _, who := range []string{portalUser, pvesim.PortalToken} {
		for _, c := range []struct {
			name, path string
			all        []granted
			want       []string
		}{
			{"on /", "/", onRoot, []string{
				"error: Missing privilege: Datastore.AllocateSpace on /storage/local.", "error: Missing privilege: Datastore.Audit on /storage/local.",
				"error: Missing privilege: Sys.Audit on /nodes/pve1.", "error: Missing privilege: VM.Audit on /vms.", "error: Missing privilege: VM.Backup on /vms.",
			}},
			{"on /vms", "/vms", narrow, []string{"error: Missing privilege: VM.Audit" + halfway, "error: Missing privilege: VM.Backup" + halfway}},
			{"on /storage/local, below which nothing is", "/storage/local", narrow, nil},
			{"on / for Sys.Audit", "/", narrow, []string{"error: Missing privilege: Sys.Audit on /nodes/pve1."}},
			{"on /storage", "/storage", minus(minus(everywhere, granted{"Datastore.Audit", "/storage/local"}), granted{"Datastore.AllocateSpace", "/storage/local"}), []string{
				"error: Missing privilege: Datastore.AllocateSpace on /storage/local.", "error: Missing privilege: Datastore.Audit on /storage/local.",
			}},
		} {
			t.Run(c.name+" for "+who, func(t *testing.T) {
				t.Parallel()
				w := withCopies(t, worldOptions{})
				var r whole
				r.grant(portalUser, c.all)
				r.grant(pvesim.PortalToken, c.all)
				for i := range r.entries {
					r.entries[i].NoPropagate = r.entries[i].Path == c.path && r.entries[i].Who == who
				}
				w.wantRights(r, c.want...)
				for _, f := range mustFind(t, w) {
					if strings.Contains(f.Text.String(), "without propagation") && !strings.Contains(f.Mend.String(), " --propagate 1") {
						t.Errorf("%q is mended by %q", f.Text, f.Mend)
					}
				}
			})
		}
	}
}

func mustFind(t *testing.T, w *world) []portal.Finding {
	t.Helper()
	findings, err := w.engine.Check(context.Background(), w.server)
	if err != nil {
		t.Fatal(err)
	}
	return findings
}

// TestCheckSeveral: each storage, node and machine has lines of its own.
func TestCheckSeveral(t *testing.T) {
	t.Parallel()
	w := scene(t, twoNodes(worldOptions{}))
	shared := portal.NewProduct("on shared")
	shared.Quota, shared.Storage = 1, "shared"
	product, err := w.db.AddProduct(context.Background(), "cli", shared)
	w.must(err)
	_, err = w.engine.AdoptMachine(context.Background(), "cli", w.server, portal.Service{ClientID: w.client, ProductID: product.ID, VMID: 102}, "Europe/Berlin")
	w.must(err)
	all := append(slices.Clone(narrow), granted{"Datastore.Audit", "/storage/shared"}, granted{"Datastore.AllocateSpace", "/storage/shared"})
	var full whole
	full.grant(portalUser, all)
	full.grant(pvesim.PortalToken, all)
	w.wantRights(full)
	for _, c := range []struct{ path, want string }{
		{"/vms/102", "error: Missing privilege: VM.Audit on /vms/102 (a more specific rule there takes it away)."},
		{"/storage/shared", "error: Missing privilege: Datastore.Audit on /storage/shared."},
		{"/nodes/pve2", "error: Missing privilege: Sys.Audit on /nodes/pve2."},
	} {
		r := whole{roles: map[string][]string{}}
		r.grant(portalUser, all)
		r.grant(pvesim.PortalToken, all)
		// All but the one privilege, in place of what is there.
		r.entries = slices.DeleteFunc(r.entries, func(a pvesim.ACL) bool { return a.Path == c.path && a.Who == pvesim.PortalToken })
		r.rule(pvesim.PortalToken, c.path, "VM.Backup", "Datastore.AllocateSpace", "Sys.Syslog")
		w.wantRights(r, c.want)
	}
}

// TestCheckSpecialNeeds: a bandwidth limit and fleecing want more, each for its product only.
func TestCheckSpecialNeeds(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{Product: func(p *portal.Product) { p.BWLimit, p.Fleecing = 50_000, "data" }})
	var plain, more whole
	for _, who := range []string{portalUser, pvesim.PortalToken} {
		plain.grant(who, narrow)
		more.grant(who, append(slices.Clone(narrow), granted{"Sys.Modify", "/"}, granted{"Datastore.AllocateSpace", "/storage/data"}))
	}
	w.wantRights(plain,
		"error: Missing privilege: Datastore.AllocateSpace on /storage/data (for the fleecing images of product vps).",
		"error: Missing privilege: Sys.Modify on / (for the bandwidth limit of product vps).")
	w.wantRights(more)
}

// TestCheckWithoutSeparation: a token without privilege separation has what its user has.
func TestCheckWithoutSeparation(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{World: func(sw *pvesim.World) {
		for i := range sw.Tokens {
			sw.Tokens[i].PrivSep = false
		}
	}})
	var r whole
	r.grant(portalUser, narrow)
	w.wantRights(r)
	for _, gone := range narrowed {
		var r whole
		r.grant(portalUser, minus(narrow, gone))
		r.grant(pvesim.PortalToken, narrow) // which counts for nothing
		w.wantRights(r, missingLines(gone)...)
	}
}

// TestCheckServerMends: each line says with which command it is mended, for this very token and user; the check of a
// server without a service on it says the same.
func TestCheckServerMends(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{})
	client, err := pve.New(pve.Config{
		Endpoints: []string{"https://pve1.test:8006"}, TokenID: pvesim.PortalToken, Secret: pvesim.Secret, Transport: w.sim, Now: w.clock.Now,
	})
	w.must(err)
	for _, gone := range narrowed {
		var r whole
		r.grant(portalUser, narrow)
		r.grant(pvesim.PortalToken, minus(narrow, gone))
		w.must(w.sim.SetRights(r.roles, r.entries...))
		for _, vmids := range [][]int{nil, {100}} {
			var lines []string
			for _, f := range jobs.CheckServer(context.Background(), client, []string{"local"}, vmids, jobs.Used{}) {
				if f.Level != "error" {
					continue
				}
				lines = append(lines, f.Level+": "+f.Text.String())
				_, path, _ := strings.Cut(strings.TrimSuffix(f.Text.String(), "."), " on ")
				path, _, _ = strings.Cut(path, " (")
				want := fmt.Sprintf("pveum acl modify %s --roles ROLE --users portal@pve --tokens 'portal@pve!api'", path)
				if !strings.HasPrefix(f.Mend.String(), want) {
					t.Errorf("%q is mended by %q, expected %q", f.Text, f.Mend, want)
				}
			}
			if d := cmp.Diff(missingLines(gone), lines); d != "" {
				t.Errorf("machines %v: -want +got:\n%s", vmids, d)
			}
		}
	}
	if calls := w.sim.Calls(); len(calls) != 0 {
		t.Errorf("a check sent what changes things: %+v", calls)
	}
}

// TestCheckFeatures takes each privilege that customers need for more than backups, in both releases: a line names what
// they can't do without it and what is missing where, and backups go on.
func TestCheckFeatures(t *testing.T) {
	t.Parallel()
	const (
		power     = "Customers can't start, stop or reboot their machines"
		snapshot  = "Customers can't take or remove snapshots"
		rollback  = "Customers can't roll back to a snapshot"
		restore   = "Customers can't restore a backup"
		change    = "A changed package can't be applied, nor put right after a restore or a rollback"
		password  = "Customers can't reset their machine's password"
		reinstall = "Customers can't reinstall their machine"
		scratch   = "Customers can't reinstall from scratch after a restore that failed"
	)
	cannot := map[string][]string{
		"VM.PowerMgmt": {power, rollback, restore, reinstall}, "VM.Snapshot": {snapshot, reinstall}, "VM.Snapshot.Rollback": nil, // VM.Snapshot does as well
		"VM.Config.CPU": {change, reinstall}, "VM.Config.Memory": {change, reinstall}, "VM.Config.Disk": {restore, change, reinstall},
		"VM.Config.Network": {change, reinstall}, "VM.Config.Cloudinit": {password, reinstall, scratch}, "VM.Config.CDROM": {scratch}, "VM.Config.Options": {change, reinstall},
		"VM.Clone": {reinstall}, "SDN.Use": {restore, change, reinstall}, agentPrivilege: {password},
	}
	for _, gone := range narrow[len(narrowed):] {
		t.Run(gone.privilege, func(t *testing.T) {
			t.Parallel()
			for _, release := range []string{"8.4", "9.2"} {
				w := scene(t, worldOptions{Release: release})
				what := gone.privilege + " on " + gone.path
				switch {
				case gone.privilege == agentPrivilege && release == "8.4":
					what = "VM.Monitor on /vms"
				case gone.privilege == agentPrivilege:
					what = "VM.GuestAgent.Unrestricted on /vms"
				case gone.privilege == "SDN.Use":
					what += "/vmbr0"
				}
				var want []string
				for _, sentence := range cannot[gone.privilege] {
					want = append(want, "warning: "+sentence+": missing "+what+".")
				}
				var r whole
				r.grant(portalUser, narrow)
				r.grant(pvesim.PortalToken, minus(narrow, gone))
				w.must(w.sim.SetRights(r.roles, r.entries...))
				if d := cmp.Diff(want, w.check()); d != "" {
					t.Errorf("%s: -want +got:\n%s", release, d)
				}
			}
		})
	}
}

// TestRuleThatTakesAll: a rule on a machine that leaves nothing doesn't show among the rights; a backup of it is refused
// all the same with the sentence about rights, and nothing is sent.
func TestRuleThatTakesAll(t *testing.T) {
	t.Parallel()
	w := scene(t, worldOptions{})
	var r whole
	r.grant(portalUser, onRoot)
	r.grant(pvesim.PortalToken, onRoot)
	r.rule(pvesim.PortalToken, "/vms/100")
	w.must(w.sim.SetRights(r.roles, r.entries...))
	w.backupNow("", "")
	w.run(2 * time.Minute)
	op := w.last()
	if op.State != portal.StateFailed || op.Reason != "The portal lacks a right on your host. Our team has been told." || !strings.Contains(op.StaffReason, "/vms/100") {
		t.Errorf("%s: %q, staff read %q", op.State, op.Reason, op.StaffReason)
	}
	if calls := w.sim.Calls(); len(calls) != 0 {
		t.Errorf("something was sent: %+v", calls)
	}
}
