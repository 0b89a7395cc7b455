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

// CheckServer looks at everything about a server that a set-up can get wrong: whether it is reached, its clock,
// each privilege that is missing, and every pruning that isn't ours but reaches storages where customers' copies
// are. storages are the backup storages of the products sold on it, vmids its services' machines. It changes
// nothing on the server.
func CheckServer(ctx context.Context, client *pve.Client, storages []string, vmids []int) []portal.Finding {
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
	out = append(out, rightFindings(rights, resources, storages, vmids)...)
	out = append(out, storageFindings(ctx, client, resources, storages)...)
	out = append(out, jobFindings(ctx, client, storages)...)
	return out
}

// rightFindings lists each missing privilege once, on the path on which it should be granted.
func rightFindings(rights pve.Permissions, resources pve.Resources, storages []string, vmids []int) []portal.Finding {
	missing := map[string]bool{}
	for _, p := range []string{"VM.Audit", "VM.Backup"} {
		if !rights.Has("/vms", p) {
			missing[p+" on /vms"] = true
		}
	}
	for _, vmid := range vmids {
		for _, p := range []string{"VM.Audit", "VM.Backup"} {
			if rights.Has("/vms", p) && !rights.Has(fmt.Sprintf("/vms/%d", vmid), p) {
				missing[fmt.Sprintf("%s on /vms/%d (a more specific rule there takes it away)", p, vmid)] = true
			}
		}
	}
	for _, s := range storages {
		for _, p := range []string{"Datastore.Audit", "Datastore.AllocateSpace"} {
			if !rights.Has("/storage/"+s, p) {
				missing[p+" on /storage/"+s] = true
			}
		}
	}
	for _, n := range resources.Nodes {
		if !rights.Has("/nodes/"+n.Node, "Sys.Audit") {
			missing["Sys.Audit on /nodes/"+n.Node] = true
		}
	}
	if !rights.Has("/", "Sys.Audit") {
		missing["Sys.Audit on / (to see the cluster's own backup jobs)"] = true
	}
	if len(missing) == 0 {
		return []portal.Finding{{Level: "ok", Text: "The token has every privilege that backups need."}}
	}
	names := make([]string, 0, len(missing))
	for m := range missing {
		names = append(names, m)
	}
	sort.Strings(names)
	var out []portal.Finding
	for _, m := range names {
		path, _, _ := strings.Cut(m[strings.Index(m, " on ")+4:], " ")
		out = append(out, portal.Finding{Level: "error", Text: portal.Say("Missing privilege: %s.", m),
			Mend: portal.Say("pveum acl modify %s --tokens 'USER@REALM!TOKEN' --roles ROLE, with a role that holds it; for tokens with privilege separation the user needs it as well.", path)})
	}
	return out
}

// storageFindings looks at the backup storages: there, active, for backups, without pruning of their own, with room.
func storageFindings(ctx context.Context, client *pve.Client, resources pve.Resources, storages []string) []portal.Finding {
	var out []portal.Finding
	configs, err := client.StorageConfigs(ctx)
	if err != nil {
		return []portal.Finding{{Level: "error", Text: portal.Say("The storages' settings can't be read: %s", troubleText(err))}}
	}
	for _, name := range storages {
		i := slices.IndexFunc(configs, func(c pve.StorageConfig) bool { return c.Storage == name })
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
	for _, s := range services {
		vmids = append(vmids, s.VMID)
	}
	findings := CheckServer(ctx, l.client, storages, vmids)
	return findings, errors.Join(e.db.SaveCheck(ctx, server.ID, findings))
}
