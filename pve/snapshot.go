package pve

import (
	"cmp"
	"context"
	"net/http"
	"regexp"
	"slices"
	"time"
)

// Snapshot is one snapshot of a machine. How large it is or has grown no listing says: on a directory the disk's file
// holds all of them together (Image.Used of it, and of the file that keeps a snapshot's memory).
type Snapshot struct {
	Name        string
	Description string
	Time        time.Time // when it was begun
	RAM         bool      // has the memory as well
	Parent      string    // "" for a root; there may be several once snapshots were deleted
	State       string    // "prepare" while it is made, "delete" while it goes; stays when that was interrupted
}

// Snapshots is all of a machine's.
type Snapshots struct {
	List    []Snapshot // in order of time, then name
	Current string     // the snapshot that the machine's state came from; "" for none
	Running bool
	Digest  string
}

// Get gives a snapshot by name.
func (s Snapshots) Get(name string) (Snapshot, bool) {
	i := slices.IndexFunc(s.List, func(one Snapshot) bool { return one.Name == name })
	if i < 0 {
		return Snapshot{}, false
	}
	return s.List[i], true
}

// Snapshots lists a machine's snapshots.
func (c *Client) Snapshots(ctx context.Context, node string, vmid int) (Snapshots, error) {
	if err := checkVMID(vmid); err != nil {
		return Snapshots{}, err
	}
	const tail = "/snapshot"
	var got []struct {
		Name        text  `json:"name"`
		Description text  `json:"description"`
		Time        whole `json:"snaptime"`
		RAM         truth `json:"vmstate"`
		Parent      text  `json:"parent"`
		State       text  `json:"snapstate"`
		Running     truth `json:"running"`
		Digest      text  `json:"digest"`
	}
	p := guestPath(tail, node, vmid)
	if err := c.read(ctx, p, nil, &got, false); err != nil {
		return Snapshots{}, err
	}
	var out Snapshots
	whole := false
	for _, g := range got {
		switch g.Name {
		case "":
			return Snapshots{}, unreadable(p.shape, "a snapshot without a name")
		case "current": // not a snapshot: the machine as it is
			out.Current, out.Running, out.Digest, whole = string(g.Parent), bool(g.Running), string(g.Digest), true
		default:
			out.List = append(out.List, Snapshot{
				Name: string(g.Name), Description: string(g.Description), Time: g.Time.time(), RAM: bool(g.RAM),
				Parent: string(g.Parent), State: string(g.State),
			})
		}
	}
	if !whole {
		return Snapshots{}, unreadable(p.shape, "the machine's present state is not in it")
	}
	slices.SortFunc(out.List, func(a, b Snapshot) int { return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Name, b.Name)) })
	return out, nil
}

var snapshotName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{1,39}$`)

// SnapshotName tells whether Proxmox takes a name: 2 to 40 letters, digits, "_" and "-", a letter first, and neither
// "current" nor "pending".
func SnapshotName(name string) bool {
	return snapshotName.MatchString(name) && name != "current" && name != "pending"
}

func checkSnapshot(name string) *Error {
	if !SnapshotName(name) {
		return refusal("snapname", "not a snapshot's name")
	}
	return nil
}

// CreateSnapshot starts a snapshot; ram keeps the memory of a running machine as well (of one that is off there is none,
// and Proxmox doesn't complain). A name that is taken, a raw disk on a directory and a lock show in the task's end:
// Exists, Feature, Locked.
func (c *Client) CreateSnapshot(ctx context.Context, node string, vmid int, name, description string, ram bool) (UPID, error) {
	if bad := checkSnapshot(name); bad != nil {
		return UPID{}, bad
	}
	form := map[string]string{"snapname": name}
	if description != "" {
		form["description"] = description
	}
	if ram {
		form["vmstate"] = "1"
	}
	return c.guestTask(ctx, http.MethodPost, "/snapshot", node, vmid, form)
}

// DeleteSnapshot starts a snapshot's deletion; those that came from it stay. One that isn't there shows in the task's
// end. With force the entry goes even when a volume's snapshot can't be deleted, which may leave it behind on the
// storage.
func (c *Client) DeleteSnapshot(ctx context.Context, node string, vmid int, name string, force bool) (UPID, error) {
	if bad := checkSnapshot(name); bad != nil {
		return UPID{}, bad
	}
	if bad := checkVMID(vmid); bad != nil {
		return UPID{}, bad
	}
	p := guestPath("/snapshot/{snapname}", node, vmid, name)
	if force {
		p.query = "?force=1"
	}
	data, err := c.mutate(ctx, http.MethodDelete, p, nil)
	if err != nil {
		return UPID{}, err
	}
	return startedTask(http.MethodDelete, p.shape, data, false)
}

// Rollback starts the way back to a snapshot: what was written since is lost. It also brings the configuration of then
// back, the machine's description stays. A running machine is stopped for it and stays off, unless the snapshot has its
// memory or start is set; the start is a task of its own, a moment after this one's end, and on 9.x wants VM.PowerMgmt.
// Some storages go back to the newest snapshot only: the task ends Feature, and nothing is changed.
func (c *Client) Rollback(ctx context.Context, node string, vmid int, name string, start bool) (UPID, error) {
	if bad := checkSnapshot(name); bad != nil {
		return UPID{}, bad
	}
	var form map[string]string
	if start {
		form = map[string]string{"start": "1"}
	}
	return c.guestTask(ctx, http.MethodPost, "/snapshot/{snapname}/rollback", node, vmid, form, name)
}

// SnapshotConfig asks for the configuration that a snapshot keeps. It has no digest. A snapshot that isn't there is Gone.
func (c *Client) SnapshotConfig(ctx context.Context, node string, vmid int, name string) (GuestConfig, error) {
	if err := checkVMID(vmid); err != nil {
		return GuestConfig{}, err
	}
	if err := checkSnapshot(name); err != nil {
		return GuestConfig{}, err
	}
	return c.config(ctx, guestPath("/snapshot/{snapname}/config", node, vmid, name))
}

// SetSnapshotDescription replaces a snapshot's description, at once. A snapshot that isn't there is Gone.
func (c *Client) SetSnapshotDescription(ctx context.Context, node string, vmid int, name, description string) error {
	if bad := checkVMID(vmid); bad != nil {
		return bad
	}
	if bad := checkSnapshot(name); bad != nil {
		return bad
	}
	_, err := c.mutate(ctx, http.MethodPut, guestPath("/snapshot/{snapname}/config", node, vmid, name), map[string]string{"description": description})
	return err
}

// CanSnapshot asks whether every disk of a machine is of a kind that snapshots work with. A raw disk on a directory
// isn't. No permission but VM.Audit is looked at.
func (c *Client) CanSnapshot(ctx context.Context, node string, vmid int) (bool, error) {
	if err := checkVMID(vmid); err != nil {
		return false, err
	}
	var got struct {
		Has truth `json:"hasFeature"`
	}
	err := c.read(ctx, guestPath("/feature", node, vmid), query("feature", "snapshot"), &got, false)
	return bool(got.Has), err
}

// Image is a machine's volume on a storage: a disk, the memory of a snapshot, a cloud-init drive.
type Image struct {
	Volid  string
	VMID   int
	Format string // qcow2, raw …
	Size   int64  // bytes, as the machine sees it; 0 where a storage doesn't say (9.x, LVM that is not active)
	Used   int64  // bytes that it takes, its snapshots included; 0 where the storage doesn't say
	Parent string // what a linked clone stands on
	CTime  time.Time
}

// Images lists a machine's volumes on a storage as a node sees it, in order of volid. As with Archives, an empty list
// is no proof.
func (c *Client) Images(ctx context.Context, node, storage string, vmid int) ([]Image, error) {
	if err := checkVMID(vmid); err != nil {
		return nil, err
	}
	const shape = "/nodes/{node}/storage/{storage}/content"
	var got []struct {
		Volid  text  `json:"volid"`
		VMID   whole `json:"vmid"`
		Format text  `json:"format"`
		Size   whole `json:"size"`
		Used   whole `json:"used"`
		Parent text  `json:"parent"`
		CTime  whole `json:"ctime"`
	}
	if err := c.read(ctx, at(shape, node, storage), query("content", "images", "vmid", param(vmid)), &got, true); err != nil {
		return nil, err
	}
	out := make([]Image, 0, len(got))
	for _, g := range got {
		if g.Volid == "" {
			return nil, unreadable(shape, "a volume without an id")
		}
		out = append(out, Image{
			Volid: string(g.Volid), VMID: int(g.VMID), Format: string(g.Format), Size: int64(g.Size), Used: int64(g.Used),
			Parent: string(g.Parent), CTime: g.CTime.time(),
		})
	}
	slices.SortFunc(out, func(a, b Image) int { return cmp.Compare(a.Volid, b.Volid) })
	return out, nil
}
