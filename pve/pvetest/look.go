package pvetest

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"stowage/pve"
)

// What the portal looks at before it does anything.

// connection: who answers, whether the certificate and the token are the right ones and only they, and the clock.
func connection(r *run) bool {
	var err error
	if r.release, err = r.pve.Version(r.ctx); !r.fine("the version", err) {
		return false
	}
	r.say("Proxmox VE %s", r.release.Version)
	r.holds(r.release.Major == 8 || r.release.Major == 9, "Proxmox VE %q is neither 8 nor 9", r.release.Version)
	r.holds(strings.HasPrefix(r.release.Version, r.release.Release), "the version %q does not begin with the release %q", r.release.Version, r.release.Release)
	skew, known := r.pve.Skew()
	r.holds(known && skew.Abs() < 2*time.Minute, "its clock differs from ours by %s (known: %v)", skew, known)

	wrong := func(what string, change func(*pve.Config)) error {
		client, err := r.client(change)
		if !r.fine(what, err) {
			return nil
		}
		defer client.Close()
		_, err = client.Version(r.ctx)
		return err
	}
	user, name, _ := strings.Cut(r.TokenID, "!")
	r.refused("a wrong secret", wrong("a wrong secret", func(c *pve.Config) { c.Secret = "00000000-1111-4222-8333-444444444444" }), pve.Refused, pve.Auth)
	r.refused("an unknown token", wrong("an unknown token", func(c *pve.Config) { c.TokenID = user + "!" + name + "-not" }), pve.Refused, pve.Auth)
	r.refused("a token of an unknown user", wrong("a token of an unknown user", func(c *pve.Config) { c.TokenID = "nobody-" + user + "!" + name }), pve.Refused, pve.Auth)
	if r.Fingerprint == "" {
		return true
	}
	shown, _, notAfter, err := pve.FetchFingerprint(r.ctx, r.URL)
	if r.fine("the certificate", err) {
		want := strings.ToLower(strings.ReplaceAll(r.Fingerprint, ":", ""))
		r.holds(shown == want, "the certificate's fingerprint is %s, expected %s", shown, want)
		r.holds(notAfter.After(r.Now()), "the certificate ended %s", notAfter)
	}
	err = wrong("a wrong fingerprint", func(c *pve.Config) { c.Fingerprints = []string{strings.Repeat("ab", 32)} })
	r.refused("a wrong fingerprint", err, pve.Unreachable, "")
	r.holds(errors.Is(err, pve.ErrCertificate), "a wrong fingerprint: %v, expected a word about the certificate", err)
	return true
}

// rights: the privileges of the token, as the portal asks for them.
func rights(r *run) bool {
	var err error
	if r.rights, err = r.pve.Permissions(r.ctx); !r.fine("the token's permissions", err) {
		return false
	}
	r.holds(r.pve.TokenID() == r.TokenID, "the client takes itself for %s", r.pve.TokenID())
	all := true
	for _, need := range []struct{ privilege, path string }{
		{"VM.Audit", fmt.Sprintf("/vms/%d", r.VMID)}, {"VM.Backup", fmt.Sprintf("/vms/%d", r.VMID)},
		{"Datastore.Audit", "/storage/" + r.Storage}, {"Datastore.AllocateSpace", "/storage/" + r.Storage},
		{"Sys.Audit", "/nodes/" + r.Node}, {"Sys.Audit", "/"},
	} {
		all = r.holds(r.rights.Has(need.path, need.privilege), "the token lacks %s on %s", need.privilege, need.path) && all
		one, err := r.pve.PermissionsOn(r.ctx, need.path)
		r.fine("the permissions on "+need.path, err)
		r.holds(one.Has(need.path, need.privilege) == r.rights.Has(need.path, need.privilege), "%s on %s is %v by itself and %v among all permissions", need.privilege, need.path,
			one.Has(need.path, need.privilege), r.rights.Has(need.path, need.privilege))
	}
	return all
}

// inventory: the cluster, its nodes and storages, seen in several ways that have to agree.
func inventory(r *run) bool {
	resources, err := r.pve.Resources(r.ctx)
	if !r.fine("the cluster's resources", err) {
		return false
	}
	nodes, err := r.pve.Nodes(r.ctx)
	r.fine("the nodes", err)
	online := slices.ContainsFunc(nodes, func(n pve.Node) bool { return n.Node == r.Node && n.Status == "online" })
	r.holds(online, "node %s is not online among the nodes", r.Node)
	for _, n := range nodes {
		r.holds(len(n.Fingerprint) == 64, "node %s shows the fingerprint %q", n.Node, n.Fingerprint)
	}
	online = slices.ContainsFunc(resources.Nodes, func(n pve.NodeResource) bool { return n.Node == r.Node && n.Status == "online" })
	r.holds(online, "node %s is not online among the resources", r.Node)

	if r.storage, err = r.pve.StorageStatus(r.ctx, r.Node, r.Storage); !r.fine("the storage", err) {
		return false
	}
	r.holds(r.storage.Active && r.storage.Enabled, "storage %s is not active", r.Storage)
	r.holds(r.storage.Holds("backup"), "storage %s takes no backups but %v", r.Storage, r.storage.Content)
	r.holds(r.storage.Total > 0 && r.storage.Avail > 0, "storage %s has %d bytes, %d free", r.Storage, r.storage.Total, r.storage.Avail)
	all, err := r.pve.NodeStorages(r.ctx, r.Node)
	r.fine("the node's storages", err)
	i := slices.IndexFunc(all, func(s pve.StorageStatus) bool { return s.Storage == r.Storage })
	if r.holds(i >= 0, "storage %s is not among the node's", r.Storage) {
		listed := all[i]
		r.holds(listed.Active == r.storage.Active && alike(listed.Total, r.storage.Total, 0.1) && listed.Type == r.storage.Type && slices.Equal(listed.Content, r.storage.Content),
			"storage %s is %+v in the node's list and %+v by itself", r.Storage, listed, r.storage)
	}
	r.holds(slices.ContainsFunc(resources.Storages, func(s pve.StorageResource) bool {
		return s.Storage == r.Storage && s.Node == r.Node && s.Status == "available" && s.Type == r.storage.Type && s.Shared == r.storage.Shared
	}), "storage %s is not available among the resources, as %s", r.Storage, r.storage.Type)

	configs, err := r.pve.StorageConfigs(r.ctx)
	r.fine("the storages' definitions", err)
	i = slices.IndexFunc(configs, func(c pve.StorageConfig) bool { return c.Storage == r.Storage })
	if r.holds(i >= 0, "storage %s is not among the definitions", r.Storage) {
		r.holds(keepsAll(configs[i].PruneBackups), "storage %s prunes by itself (%s)", r.Storage, configs[i].PruneBackups)
	}
	jobs, err := r.pve.BackupJobs(r.ctx)
	r.fine("the cluster's backup jobs", err)
	for _, j := range jobs {
		r.holds(!j.Enabled || !j.Remove || j.Storage != r.Storage || keepsAll(j.PruneBackups), "backup job %s prunes storage %s (%s)", j.ID, r.Storage, j.PruneBackups)
	}
	return true
}

// alike allows for a share between two numbers: a pool's total moves with what is written to it.
func alike(a, b int64, share float64) bool {
	return math.Abs(float64(a-b)) <= share*math.Max(float64(a), float64(b))
}

func keepsAll(prune string) bool { return prune == "" || strings.Contains(prune, "keep-all=1") }

var digest = regexp.MustCompile(`^[0-9a-f]{40}$`)

// machine: the one that is used, its identity and disks, and the archives that there are of it already.
func machine(r *run) bool {
	resources, err := r.pve.Resources(r.ctx)
	if !r.fine("the cluster's resources", err) {
		return false
	}
	i := slices.IndexFunc(resources.Guests, func(g pve.GuestResource) bool { return g.VMID == r.VMID })
	if !r.holds(i >= 0, "machine %d is not among the resources", r.VMID) {
		return false
	}
	seen := resources.Guests[i]
	if !r.holds(seen.Node == r.Node && seen.Type == "qemu" && !seen.Template, "machine %d is %+v, expected a virtual machine on %s", r.VMID, seen, r.Node) {
		return false
	}
	if r.status, err = r.pve.GuestStatus(r.ctx, r.Node, r.VMID); !r.fine("the machine's status", err) {
		return false
	}
	r.holds(r.status.Status == "running" || r.status.Status == "stopped", "its status is %q", r.status.Status)
	r.holds(r.status.Name == seen.Name, "its name is %q by itself and %q among the resources", r.status.Name, seen.Name)
	r.holds((r.status.Status == "running") == (r.status.PID > 0), "it is %s with the process %d", r.status.Status, r.status.PID)
	if r.config, err = r.pve.GuestConfig(r.ctx, r.Node, r.VMID); !r.fine("the machine's configuration", err) {
		return false
	}
	r.holds(!r.config.Stump(), "its configuration is that of a failed restore")
	r.holds(r.config.UUID != "", "its configuration has no smbios1 uuid")
	r.holds(digest.MatchString(r.config.Digest), "its digest is %q", r.config.Digest)
	if !r.holds(r.config.Lock == "" && r.status.Lock == "" && seen.Lock == "", "it is locked (%s): free it before", r.config.Lock+r.status.Lock) {
		return false
	}
	disks := r.config.BackedUpDisks()
	for _, d := range disks {
		r.holds(d.SizeBytes > 0 && d.Storage != "", "disk %s reads %q", d.Key, d.Raw)
	}
	r.archives, err = r.pve.Archives(r.ctx, r.Node, r.Storage, r.VMID)
	r.fine("the machine's archives", err)
	everybodys, err := r.pve.Archives(r.ctx, r.Node, r.Storage, 0)
	r.fine("all archives", err)
	for _, a := range r.archives {
		r.holds(a.VMID == r.VMID, "the archives of %d have %s of %d among them", r.VMID, a.Volid, a.VMID)
		r.holds(slices.ContainsFunc(everybodys, func(b pve.Archive) bool { return a.Volid == b.Volid }), "%s is not in the list of all archives", a.Volid)
	}
	return r.holds(len(disks) > 0, "it has no disk that goes into a backup")
}

// taskLists: that lists can be narrowed, and that the cluster's can be read.
func taskLists(r *run) bool {
	all, err := r.pve.Tasks(r.ctx, r.Node, pve.TaskFilter{})
	if !r.fine("the node's tasks", err) {
		return false
	}
	for _, t := range all {
		r.holds(t.Node == r.Node && t.UPID.Node == r.Node, "the tasks of %s have %s among them", r.Node, t.UPID)
		r.holds(t.Running || !t.End.Before(t.Start), "%s ended before it began", t.UPID)
	}
	earlier, err := r.pve.Tasks(r.ctx, r.Node, pve.TaskFilter{Type: "vzdump", VMID: r.VMID})
	if !r.fine("the machine's backups", err) {
		return false
	}
	for _, t := range earlier {
		r.holds(t.Type == "vzdump" && t.ID == strconv.Itoa(r.VMID), "the backups of %d have %s among them", r.VMID, t.UPID)
		r.others = append(r.others, t.UPID)
	}
	one, err := r.pve.Tasks(r.ctx, r.Node, pve.TaskFilter{Limit: 1})
	r.fine("one task", err)
	r.holds(len(one) <= 1, "a list of one task has %d", len(one))
	none, err := r.pve.Tasks(r.ctx, r.Node, pve.TaskFilter{Source: "archive", Since: r.Now().Add(time.Hour)})
	r.fine("tasks of the future", err)
	r.holds(len(none) == 0, "%d tasks begin in an hour", len(none))
	failed, err := r.pve.Tasks(r.ctx, r.Node, pve.TaskFilter{Source: "archive", Errors: true})
	r.fine("failed tasks", err)
	for _, t := range failed {
		r.holds(t.Status != "OK", "%s ended well and is among the failed", t.UPID)
	}
	_, err = r.pve.ClusterTasks(r.ctx)
	r.fine("the cluster's tasks", err)
	return true
}
