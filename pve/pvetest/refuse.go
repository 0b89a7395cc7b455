package pvetest

import (
	"fmt"
	"slices"
	"strings"

	"stowage/pve"
)

// Names that nothing has.
const (
	noStorage = "pvetest-no-such-storage"
	noNode    = "pvetest-no-such-node"
)

// refusals: what is not there, what is wrong, what the token may not. Nothing may come of any of it.
func refusals(r *run) bool {
	before, err := r.pve.Tasks(r.ctx, r.Node, pve.TaskFilter{Type: "vzdump"})
	r.fine("the node's backups", err)
	unused := r.unusedNumber()
	missing(r, unused)
	wrong(r)
	after, err := r.pve.Tasks(r.ctx, r.Node, pve.TaskFilter{Type: "vzdump"})
	r.fine("the node's backups", err)
	for _, t := range after {
		fresh := !slices.ContainsFunc(before, func(o pve.Task) bool { return o.UPID == t.UPID })
		r.holds(!fresh || t.Owner != r.TokenID || slices.Contains(r.tasks, t.UPID), "%s was started by a call that was refused", t.UPID)
	}
	return true
}

// unusedNumber is a number that no machine has.
func (r *run) unusedNumber() int {
	resources, err := r.pve.Resources(r.ctx)
	r.fine("the cluster's resources", err)
	vmid := 987654321
	for slices.ContainsFunc(resources.Guests, func(g pve.GuestResource) bool { return g.VMID == vmid }) {
		vmid--
	}
	return vmid
}

func missing(r *run, vmid int) {
	what := fmt.Sprintf("machine %d", vmid)
	_, err := r.pve.GuestStatus(r.ctx, r.Node, vmid)
	r.notThere("the status of "+what, err, fmt.Sprintf("/vms/%d", vmid), "VM.Audit")
	_, err = r.pve.GuestConfig(r.ctx, r.Node, vmid)
	r.notThere("the configuration of "+what, err, fmt.Sprintf("/vms/%d", vmid), "VM.Audit")
	if upid, err := r.pve.Vzdump(r.ctx, r.Node, pve.VzdumpRequest{VMID: vmid, Storage: r.Storage}); r.fine("the backup of "+what, err) {
		r.own(upid)
		status, log := r.ended("the backup of "+what, upid, shortWork)
		class, _ := pve.Meaning(log.ErrorText)
		if r.rights.Has(fmt.Sprintf("/vms/%d", vmid), "VM.Backup") {
			r.holds(!status.OK() && class == pve.Gone, "the backup of %s ended %q: %q, expected that it is gone", what, status.Exit, log.ErrorText)
		} else {
			r.holds(!status.OK(), "the backup of %s ended %q", what, status.Exit)
		}
	}

	_, err = r.pve.StorageStatus(r.ctx, r.Node, noStorage)
	r.notThere("the status of an unknown storage", err, "/storage/"+noStorage, "Datastore.Audit")
	_, err = r.pve.Archives(r.ctx, r.Node, noStorage, r.VMID)
	r.notThere("the archives of an unknown storage", err, "/storage/"+noStorage, "Datastore.Audit")
	upid, err := r.pve.Vzdump(r.ctx, r.Node, pve.VzdumpRequest{VMID: r.VMID, Storage: noStorage})
	if !r.rights.Has("/storage/"+noStorage, "Datastore.AllocateSpace") {
		r.refused("a backup to an unknown storage", err, pve.Refused, pve.Permission)
	} else if r.fine("a backup to an unknown storage", err) {
		r.own(upid)
		status, _ := r.ended("a backup to an unknown storage", upid, shortWork)
		class, _ := pve.Meaning(status.Exit)
		r.holds(class == pve.Gone, "a backup to an unknown storage ended %q, expected that it does not exist", status.Exit)
	}

	_, err = r.pve.GuestStatus(r.ctx, noNode, r.VMID)
	r.refused("a machine on an unknown node", err, pve.Unreachable, "")

	unknown, err := pve.ParseUPID(fmt.Sprintf("UPID:%s:0000ABCD:0000ABCD:5F000000:vzdump:%d:%s:", r.Node, r.VMID, r.TokenID))
	if r.fine("an unknown task", err) {
		_, err = r.pve.TaskStatus(r.ctx, unknown)
		r.refused("the status of an unknown task", err, pve.Gone, "")
		_, _, err = r.pve.TaskLog(r.ctx, unknown, 0, 0)
		r.refused("the log of an unknown task", err, pve.Gone, "")
	}
	ghost := r.ghost()
	_, err = r.pve.Archive(r.ctx, r.Node, r.Storage, ghost)
	r.refused("an archive that is not there", err, pve.Gone, "")
}

// notThere expects what does not exist to be gone, or refused where the token's rights don't reach it.
func (r *run) notThere(what string, err error, path, privilege string) {
	if r.rights.Has(path, privilege) {
		r.refused(what, err, pve.Gone, "")
	} else {
		r.refused(what, err, pve.Refused, pve.Permission)
	}
}

// ghost is the volid of an archive of the machine that is not there.
func (r *run) ghost() string {
	if r.storage.Type == "pbs" {
		return fmt.Sprintf("%s:backup/vm/%d/2001-01-01T00:00:00Z", r.Storage, r.VMID)
	}
	return fmt.Sprintf("%s:backup/vzdump-qemu-%d-2001_01_01-00_00_00.vma.zst", r.Storage, r.VMID)
}

func wrong(r *run) {
	for _, c := range []struct {
		parameter string
		request   pve.VzdumpRequest
	}{
		{"mode", pve.VzdumpRequest{Mode: "fast"}},
		{"compress", pve.VzdumpRequest{Compress: "arj"}},
		{"fleecing", pve.VzdumpRequest{Fleecing: "enabled=perhaps"}},
	} {
		c.request.VMID, c.request.Storage = r.VMID, r.Storage
		_, err := r.pve.Vzdump(r.ctx, r.Node, c.request)
		if r.refused("a backup with a wrong "+c.parameter, err, pve.Refused, pve.Parameter) {
			r.holds(strings.Contains(err.Error(), c.parameter+": "), "a backup with a wrong %s: %v does not name the parameter", c.parameter, err)
		}
	}
	if !r.rights.Has("/", "Sys.Modify") {
		_, err := r.pve.Vzdump(r.ctx, r.Node, pve.VzdumpRequest{VMID: r.VMID, Storage: r.Storage, BandwidthKiB: 1024})
		r.refused("a bandwidth limit without Sys.Modify on /", err, pve.Refused, pve.Permission)
	}
}
