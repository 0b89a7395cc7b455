package jobs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"stowage/portal"
	"stowage/pve"
)

// Need is a privilege that something special wants, beside what every backup needs.
type Need struct {
	Privilege string
	Path      string
	Why       portal.Text // a clause: "for the bandwidth limit of VPS S"
}

// Used is what the machines of a server's services stand on: storages of their disks, and their networks ("vmbr0",
// "vmbr0/7").
type Used struct{ Disks, Networks []string }

// CheckServer looks at everything about a server that a set-up can get wrong: whether it is reached, its clock,
// each privilege that is missing, and every pruning that isn't ours but reaches storages where customers' copies
// are. storages are the backup storages of the products sold on it, vmids its services' machines, used what those stand
// on, more what single products need besides. It changes nothing on the server.
func CheckServer(ctx context.Context, client *pve.Client, storages []string, vmids []int, used Used, more ...Need) []portal.Finding {
	var out []portal.Finding
	add := func(level string, text, mend portal.Text) {
		out = append(out, portal.Finding{Level: level, Text: text, Mend: mend})
	}
	version, err := client.Version(ctx)
	if err != nil {
		add("error", portal.Say("The server can't be reached: %s", troubleText(err)), "Compare the endpoint, the fingerprint and the token with those on the host.")
		return out
	}
	if version.Major < 8 {
		add("error", portal.Say("Proxmox VE %s is too old.", version.Version), "Upgrade to 8.4 or 9.")
	} else {
		add("ok", portal.Say("Proxmox VE %s answers.", version.Version), "")
	}
	if skew, known := client.Skew(); known && skew.Abs() > portal.SkewLimit {
		add("error", portal.Say("Its clock and ours differ by %s; nothing is deleted by age until they agree.", skew), "Set up time synchronisation (chrony) on both.")
	}
	rights, err := client.Permissions(ctx)
	if err != nil {
		add("error", portal.Say("The token's permissions can't be read: %s", troubleText(err)), "")
		return out
	}
	resources, err := client.Resources(ctx)
	if err != nil {
		add("error", portal.Say("The cluster's resources can't be read: %s", troubleText(err)), "")
		return out
	}
	missing, err := missingPrivileges(ctx, client, rights, resources, storages, vmids, more)
	if err != nil {
		add("error", portal.Say("The token's permissions can't be read: %s", troubleText(err)), "")
		return out
	}
	out = append(out, rightFindings(client.TokenID(), missing)...)
	lacking, err := featureFindings(ctx, client, version.Major, rights, missing, used)
	if err != nil {
		add("error", portal.Say("The token's permissions can't be read: %s", troubleText(err)), "")
		return out
	}
	out = append(out, lacking...)
	out = append(out, storageFindings(ctx, client, resources, storages, missing)...)
	out = append(out, jobFindings(ctx, client, storages)...)
	return out
}

// noMachine is a path like a machine's that no rule names: what holds there holds for every machine.
const noMachine = "/vms/999999999"

// lack is one privilege that is missing on a path.
type lack struct {
	privilege, path string
	why             portal.Text // what stands in brackets behind it
	propagate       bool        // it is granted there, and doesn't reach below
}

// missingPrivileges lists each missing privilege once, on the path on which it should be granted.
//
// The whole list doesn't tell everything: a path on which nothing at all is granted is left out of it, as if it
// inherited from above; and whether a token's user passes on to machines what he has, doesn't show. Where that matters
// a path is asked for by itself: storages, nodes, a number that no machine has, and the machines that the token doesn't
// see. There are few of each.
func missingPrivileges(ctx context.Context, client *pve.Client, rights pve.Permissions, resources pve.Resources, storages []string, vmids []int, more []Need) ([]lack, error) {
	var out []lack
	var failure error
	on := func(path string) pve.Permissions {
		if _, told := rights[path]; told || failure != nil {
			return rights
		}
		exact, err := client.PermissionsOn(ctx, path)
		if err != nil {
			failure = err
			return rights
		}
		return exact
	}
	ofMachines := []string{"VM.Audit", "VM.Backup"}
	reach := map[string]bool{}
	below := on(noMachine)
	for _, p := range ofMachines {
		switch {
		case !rights.Has("/vms", p):
			out = append(out, lack{privilege: p, path: "/vms"})
		case !below.Has(noMachine, p):
			out = append(out, lack{privilege: p, path: "/vms", why: "it is granted there without propagation, so no machine has it", propagate: true})
		default:
			reach[p] = true
		}
	}
	for _, vmid := range vmids {
		path := fmt.Sprintf("/vms/%d", vmid)
		held := rights
		if !slices.ContainsFunc(resources.Guests, func(g pve.GuestResource) bool { return g.VMID == vmid }) {
			held = on(path)
		}
		for _, p := range ofMachines {
			if reach[p] && !held.Has(path, p) {
				out = append(out, lack{privilege: p, path: path, why: "a more specific rule there takes it away"})
			}
		}
	}
	for _, s := range storages {
		path := "/storage/" + s
		for _, p := range []string{"Datastore.Audit", "Datastore.AllocateSpace"} {
			if !on(path).Has(path, p) {
				out = append(out, lack{privilege: p, path: path})
			}
		}
	}
	for _, n := range resources.Nodes {
		if path := "/nodes/" + n.Node; !on(path).Has(path, "Sys.Audit") {
			out = append(out, lack{privilege: "Sys.Audit", path: path})
		}
	}
	if !rights.Has("/", "Sys.Audit") {
		out = append(out, lack{privilege: "Sys.Audit", path: "/", why: "to see the cluster's own backup jobs"})
	}
	for _, n := range more {
		if !on(n.Path).Has(n.Path, n.Privilege) && !slices.ContainsFunc(out, func(l lack) bool { return l.privilege == n.Privilege && l.path == n.Path }) {
			out = append(out, lack{privilege: n.Privilege, path: n.Path, why: n.Why})
		}
	}
	return out, failure
}

// feature is something that customers do with their machines, and what it needs.
type feature struct {
	cannot  func(missing string) portal.Text // the sentence where it lacks something
	actions []pve.Action
}

// features are all but the backups themselves, without which nothing works.
var features = []feature{
	{func(m string) portal.Text {
		return portal.Say("Customers can't start, stop or reboot their machines: missing %s.", m)
	}, []pve.Action{pve.Power}},
	{func(m string) portal.Text {
		return portal.Say("Customers can't take or remove snapshots: missing %s.", m)
	}, []pve.Action{pve.TakeSnapshot}},
	{func(m string) portal.Text {
		return portal.Say("Customers can't roll back to a snapshot: missing %s.", m)
	}, []pve.Action{pve.RollBack, pve.Power}},
	{func(m string) portal.Text { return portal.Say("Customers can't restore a backup: missing %s.", m) }, []pve.Action{pve.RestoreOver, pve.Power, pve.SetDisks}},
	{func(m string) portal.Text {
		return portal.Say("A changed package can't be applied, nor put right after a restore or a rollback: missing %s.", m)
	}, []pve.Action{pve.SetCPU, pve.SetMemory, pve.SetDisks, pve.SetNetwork, pve.SetOptions}},
	{func(m string) portal.Text {
		return portal.Say("Customers can't reset their machine's password: missing %s.", m)
	}, []pve.Action{pve.UseAgent, pve.SetCloudInit}},
	{func(m string) portal.Text {
		return portal.Say("Customers can't reinstall their machine: missing %s.", m)
	}, []pve.Action{pve.ImportDisk, pve.TakeSnapshot, pve.Power, pve.SetCPU, pve.SetMemory, pve.SetNetwork, pve.SetOptions, pve.SetCloudInit}},
	{func(m string) portal.Text {
		return portal.Say("Customers can't reinstall from scratch after a restore that failed: missing %s.", m)
	}, []pve.Action{pve.MakeCloudInit}},
}

// featureFindings gives a line for each thing that customers can't do because the token lacks a privilege for it. What is
// said as missing for backups isn't said again.
func featureFindings(ctx context.Context, client *pve.Client, major int, rights pve.Permissions, said []lack, used Used) ([]portal.Finding, error) {
	const any = 999999999 // the number of noMachine
	scene := pve.Scene{VMID: any, Source: any, Storages: used.Disks, Networks: used.Networks, Start: true}
	held := map[string]pve.Permissions{}
	var out []portal.Finding
	user, _, _ := strings.Cut(client.TokenID(), "!")
	for _, f := range features {
		var missing, paths []string
		for _, action := range f.actions {
			for _, demand := range pve.Demands(action, major, scene) {
				if held[demand.Path] == nil {
					held[demand.Path] = rights
					if _, told := rights[demand.Path]; !told {
						exact, err := client.PermissionsOn(ctx, demand.Path)
						if err != nil {
							return nil, err
						}
						held[demand.Path] = exact
					}
				}
				path := demand.Path
				if path == noMachine {
					path = "/vms"
				}
				known := slices.ContainsFunc(said, func(l lack) bool { return l.path == path && slices.Contains(demand.Any, l.privilege) })
				if known || len(held[demand.Path].Lacks([]pve.Demand{demand})) == 0 {
					continue
				}
				if m := strings.Join(demand.Any, " or ") + " on " + path; !slices.Contains(missing, m) {
					missing = append(missing, m)
				}
				if !slices.Contains(paths, path) {
					paths = append(paths, path)
				}
			}
		}
		if len(missing) == 0 {
			continue
		}
		var mend []string
		for _, path := range paths {
			mend = append(mend, fmt.Sprintf("pveum acl modify %s --roles ROLE --users %s --tokens '%s'", path, user, client.TokenID()))
		}
		out = append(out, portal.Finding{Level: "warning", Text: f.cannot(strings.Join(missing, ", ")), Mend: portal.Verbatim(strings.Join(mend, "; "))})
	}
	return out, nil
}

// usedBy gives what machines stand on, as it was last read.
func usedBy(services []portal.Service) (used Used) {
	add := func(list *[]string, name string) {
		if name != "" && !slices.Contains(*list, name) {
			*list = append(*list, name)
		}
	}
	for _, s := range services {
		for _, d := range s.Hardware.Disks {
			add(&used.Disks, d.Storage)
		}
		for _, n := range s.Hardware.Nets {
			if n.Tag > 0 && n.Bridge != "" {
				add(&used.Networks, fmt.Sprintf("%s/%d", n.Bridge, n.Tag))
			} else {
				add(&used.Networks, n.Bridge)
			}
		}
	}
	slices.Sort(used.Disks)
	slices.Sort(used.Networks)
	return used
}

// rightFindings words what is missing, or that nothing is.
func rightFindings(token string, missing []lack) []portal.Finding {
	if len(missing) == 0 {
		return []portal.Finding{{Level: "ok", Text: "The token has every privilege that backups need."}}
	}
	var out []portal.Finding
	user, _, _ := strings.Cut(token, "!")
	for _, m := range missing {
		text := portal.Say("Missing privilege: %s on %s.", m.privilege, m.path)
		if m.why != "" {
			text = portal.Say("Missing privilege: %s on %s (%s).", m.privilege, m.path, m.why)
		}
		propagate := ""
		if m.propagate {
			propagate = " --propagate 1"
		}
		out = append(out, portal.Finding{Level: "error", Text: text,
			Mend: portal.Say("pveum acl modify %s --roles ROLE --users %s --tokens '%s'%s, with a role that holds it; a token with privilege separation has only what its user has as well.",
				m.path, user, token, propagate)})
	}
	slices.SortStableFunc(out, func(a, b portal.Finding) int { return strings.Compare(a.Text.String(), b.Text.String()) })
	return out
}

// storageFindings looks at the backup storages: there, active, for backups, without pruning of their own, with room.
func storageFindings(ctx context.Context, client *pve.Client, resources pve.Resources, storages []string, missing []lack) []portal.Finding {
	var out []portal.Finding
	configs, err := client.StorageConfigs(ctx)
	if err != nil {
		return []portal.Finding{{Level: "error", Text: portal.Say("The storages' settings can't be read: %s", troubleText(err))}}
	}
	for _, name := range storages {
		i := slices.IndexFunc(configs, func(c pve.StorageConfig) bool { return c.Storage == name })
		hidden := 0
		for _, m := range missing {
			if m.path == "/storage/"+name {
				hidden++
			}
		}
		if i < 0 && hidden >= 2 {
			continue // neither of the privileges that show it: said already
		}
		if i < 0 {
			out = append(out, portal.Finding{Level: "error", Text: portal.Say("Backup storage %s does not exist, or the token may not see it.", name), Mend: portal.Say("Create it, or grant Datastore.Audit on /storage/%s.", name)})
			continue
		}
		c := configs[i]
		if !slices.Contains(c.Content, "backup") {
			out = append(out, portal.Finding{Level: "error", Text: portal.Say("Storage %s takes no backups.", name), Mend: portal.Verbatim("pvesm set " + name + " --content " + strings.Join(append(slices.Clone(c.Content), "backup"), ","))})
		}
		if keeps := c.PruneBackups; keeps != "" && !strings.Contains(keeps, "keep-all=1") {
			out = append(out, portal.Finding{Level: "error", Text: portal.Say("Storage %s prunes by itself (%s): Proxmox would delete copies that customers paid for, and refuse new ones at the limit.", name, keeps),
				Mend: portal.Verbatim("pvesm set " + name + " --prune-backups keep-all=1")})
		}
		seen := 0
		for _, s := range resources.Storages {
			if s.Storage != name {
				continue
			}
			seen++
			if s.Status != "available" {
				out = append(out, portal.Finding{Level: "warning", Text: portal.Say("Storage %s is not available on node %s.", name, s.Node), Mend: "Look at its mount on that node."})
			}
			if s.Total > 0 && s.Used*100/s.Total >= 85 {
				out = append(out, portal.Finding{Level: "warning", Text: portal.Say("Storage %s on node %s is %d %% full.", name, s.Node, s.Used*100/s.Total), Mend: "Make room, or sell less of it."})
			}
		}
		if seen > 0 {
			out = append(out, portal.Finding{Level: "ok", Text: portal.Say("Storage %s (%s) is there.", name, c.Type)})
		}
	}
	return out
}

// jobFindings looks for backup jobs of the cluster itself that prune where customers' copies are.
func jobFindings(ctx context.Context, client *pve.Client, storages []string) []portal.Finding {
	jobs, err := client.BackupJobs(ctx)
	if err != nil {
		if pve.ReasonOf(err) == pve.Permission {
			return nil // said as a missing Sys.Audit already
		}
		return []portal.Finding{{Level: "warning", Text: portal.Say("The cluster's backup jobs can't be read: %s", troubleText(err))}}
	}
	var out []portal.Finding
	for _, j := range jobs {
		if !j.Enabled || !slices.Contains(storages, j.Storage) || !j.Remove {
			continue
		}
		if j.PruneBackups != "" && !strings.Contains(j.PruneBackups, "keep-all=1") {
			out = append(out, portal.Finding{Level: "error", Text: portal.Say("Backup job %s prunes storage %s (%s): it deletes customers' copies of the machines it backs up.", j.ID, j.Storage, j.PruneBackups),
				Mend: "Give the job another storage, or keep-all=1."})
		}
	}
	return out
}

// checkAge is how old a server's check may become.
const checkAge = time.Hour

// CheckAll checks the servers whose check is an hour old or was asked for, so that staff see what is wrong with
// one before a customer does.
func (e *Engine) CheckAll(ctx context.Context) error {
	servers, err := e.db.Servers(ctx)
	if err != nil {
		return err
	}
	for _, s := range servers {
		if e.now().Sub(s.CheckedAt) < checkAge && !s.CheckedAt.After(e.now()) {
			continue
		}
		if _, err := e.Check(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// Check checks one server and keeps what was found.
func (e *Engine) Check(ctx context.Context, server portal.Server) ([]portal.Finding, error) {
	l, err := e.link(ctx, server.ID)
	if err != nil {
		return nil, err
	}
	wanted, err := e.db.WantedStorages(ctx, server.ID)
	if err != nil {
		return nil, err
	}
	products, err := e.db.Products(ctx)
	if err != nil {
		return nil, err
	}
	services, err := e.db.ServicesOn(ctx, server.ID)
	if err != nil {
		return nil, err
	}
	if len(services) == 0 {
		for _, p := range products {
			wanted[p.Storage] = true
		}
	}
	var storages []string
	for name := range wanted {
		if name != "" {
			storages = append(storages, name)
		}
	}
	sort.Strings(storages)
	var vmids []int
	sold := map[int64]bool{}
	for _, s := range services {
		vmids = append(vmids, s.VMID)
		sold[s.ProductID] = true
	}
	findings := CheckServer(ctx, l.client, storages, vmids, usedBy(services), needsOf(products, func(p portal.Product) bool { return len(services) == 0 || sold[p.ID] })...)
	return findings, errors.Join(e.db.SaveCheck(ctx, server.ID, findings))
}

// needsOf are the privileges that single products want.
func needsOf(products []portal.Product, sold func(portal.Product) bool) []Need {
	var out []Need
	for _, p := range products {
		if !sold(p) {
			continue
		}
		if p.BWLimit > 0 {
			out = append(out, Need{"Sys.Modify", "/", portal.Say("for the bandwidth limit of product %s", p.Name)})
		}
		if p.Snapshots > 0 {
			out = append(out, Need{"VM.Snapshot", "/vms", portal.Say("for the snapshots of product %s", p.Name)})
		}
		if p.Fleecing != "" {
			out = append(out, Need{"Datastore.AllocateSpace", "/storage/" + p.Fleecing, portal.Say("for the fleecing images of product %s", p.Name)})
		}
	}
	return out
}
