package pve

import (
	"context"
	"net/http"
	"regexp"
	"slices"
	"strconv"
)

// Templates gives the machines that are templates.
func (r Resources) Templates() []GuestResource {
	return slices.DeleteFunc(slices.Clone(r.Guests), func(g GuestResource) bool { return !g.Template || g.Type != "qemu" })
}

// CloneRequest asks for a copy of a machine or a template.
type CloneRequest struct {
	VMID    int // what is copied
	NewID   int
	Name    string // a DNS name; "" takes "Copy-of-…"
	Full    bool   // copies the data. Without it a template's clone is linked to its disks, and any other machine's is refused (Feature)
	Storage string // for the disks of a full clone; "" for each disk's own
	Format  string // of a full clone's disks: "qcow2" where Storage is a directory; "" for the source's or the storage's own
	Target  string // node, with shared storages only; "" for the same
	Pool    string
}

var dnsName = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*$`)

// Clone starts a clone (qmclone). The copy has a MAC and an identity of its own and is off. A number that is taken is
// refused with Exists: see NextID.
func (c *Client) Clone(ctx context.Context, node string, r CloneRequest) (UPID, error) {
	if bad := checkVMID(r.NewID); bad != nil {
		return UPID{}, bad
	}
	if r.Name != "" && (!dnsName.MatchString(r.Name) || len(r.Name) > 253) {
		return UPID{}, refusal("name", "not a DNS name")
	}
	if !r.Full && (r.Storage != "" || r.Format != "") {
		return UPID{}, refusal("storage", "a linked clone stays where its template is")
	}
	form := map[string]string{"newid": param(r.NewID), "full": strconv.Itoa(b2i(r.Full))}
	for name, value := range map[string]string{"name": r.Name, "storage": r.Storage, "format": r.Format, "target": r.Target, "pool": r.Pool} {
		if value != "" {
			form[name] = value
		}
	}
	return c.guestTask(ctx, http.MethodPost, "/clone", node, r.VMID, form)
}

// NextID asks for a number that is free just now. Nothing reserves it: whoever makes a machine with it may meet Exists.
func (c *Client) NextID(ctx context.Context) (int, error) {
	var got whole
	if err := c.read(ctx, at("/cluster/nextid"), nil, &got, false); err != nil {
		return 0, err
	}
	if checkVMID(int(got)) != nil {
		return 0, unreadable("/cluster/nextid", "no number of a machine")
	}
	return int(got), nil
}

// Destroy starts a machine's destruction: its disks and snapshots go, its archives stay. Only volumes that its
// configuration names go, others that bear its number stay. ACLs of its path always go; purge takes it out of backup
// jobs and the like as well. Refused by the answer: a running machine (Running) and a protected one (Protected); by the
// task's end: a locked one, and a template that linked clones stand on.
func (c *Client) Destroy(ctx context.Context, node string, vmid int, purge bool) (UPID, error) {
	if bad := checkVMID(vmid); bad != nil {
		return UPID{}, bad
	}
	p := guestPath("", node, vmid)
	p.query = "?destroy-unreferenced-disks=0"
	if purge {
		p.query += "&purge=1"
	}
	data, err := c.mutate(ctx, http.MethodDelete, p, nil)
	if err != nil {
		return UPID{}, err
	}
	return startedTask(http.MethodDelete, p.shape, data, false)
}
