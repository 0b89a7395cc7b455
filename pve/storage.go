package pve

import (
	"cmp"
	"context"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// StorageStatus is one storage as one node sees it now.
type StorageStatus struct {
	Storage string
	Type    string // dir, nfs, pbs …
	Content []string
	Active  bool // mounted and answering
	Enabled bool
	Shared  bool
	Total   int64 // bytes
	Used    int64
	Avail   int64
}

// Holds tells whether the storage may keep content of a kind: "backup", "images" …
func (s StorageStatus) Holds(kind string) bool { return slices.Contains(s.Content, kind) }

type storageAnswer struct {
	Storage text  `json:"storage"`
	Type    text  `json:"type"`
	Content text  `json:"content"`
	Active  truth `json:"active"`
	Enabled truth `json:"enabled"`
	Shared  truth `json:"shared"`
	Total   whole `json:"total"`
	Used    whole `json:"used"`
	Avail   whole `json:"avail"`
}

func (a storageAnswer) status() StorageStatus {
	content := words(string(a.Content))
	slices.Sort(content) // Proxmox gives them in any order
	return StorageStatus{
		Storage: string(a.Storage), Type: string(a.Type), Content: content, Active: bool(a.Active), Enabled: bool(a.Enabled),
		Shared: bool(a.Shared), Total: int64(a.Total), Used: int64(a.Used), Avail: int64(a.Avail),
	}
}

// NodeStorages lists the storages of a node that the token may see. Proxmox probes each of them, up to 2 s (7 s for a
// Proxmox Backup Server).
func (c *Client) NodeStorages(ctx context.Context, node string) ([]StorageStatus, error) {
	var got []storageAnswer
	if err := c.read(ctx, at("/nodes/{node}/storage", node), nil, &got, true); err != nil {
		return nil, err
	}
	out := make([]StorageStatus, 0, len(got))
	for _, g := range got {
		out = append(out, g.status())
	}
	slices.SortFunc(out, func(a, b StorageStatus) int { return cmp.Compare(a.Storage, b.Storage) })
	return out, nil
}

// StorageStatus asks for one storage on one node. A storage that doesn't exist is Gone.
func (c *Client) StorageStatus(ctx context.Context, node, storage string) (StorageStatus, error) {
	var got storageAnswer
	if err := c.read(ctx, at("/nodes/{node}/storage/{storage}/status", node, storage), nil, &got, false); err != nil {
		return StorageStatus{}, err
	}
	s := got.status()
	s.Storage = storage
	return s, nil
}

// StorageConfig is a storage as the cluster defines it.
type StorageConfig struct {
	Storage      string
	Type         string
	Content      []string
	Path         string   // directory types only
	Nodes        []string // empty: all
	Shared       bool
	Disabled     bool
	PruneBackups string // "keep-all=1", "keep-last=2"…; empty where nothing is set, which keeps all
	MaxProtected string // protected copies per guest, as configured
}

// StorageConfigs lists the storages' definitions. Needs Datastore.Audit; what the token may not see is left out.
func (c *Client) StorageConfigs(ctx context.Context) ([]StorageConfig, error) {
	var got []struct {
		Storage      text  `json:"storage"`
		Type         text  `json:"type"`
		Content      text  `json:"content"`
		Path         text  `json:"path"`
		Nodes        text  `json:"nodes"`
		Shared       truth `json:"shared"`
		Disable      truth `json:"disable"`
		PruneBackups pairs `json:"prune-backups"`
		MaxProtected text  `json:"max-protected-backups"`
	}
	if err := c.read(ctx, at("/storage"), nil, &got, true); err != nil {
		return nil, err
	}
	out := make([]StorageConfig, 0, len(got))
	for _, g := range got {
		content := words(string(g.Content))
		slices.Sort(content)
		out = append(out, StorageConfig{
			Storage: string(g.Storage), Type: string(g.Type), Content: content, Path: string(g.Path), Nodes: words(string(g.Nodes)),
			Shared: bool(g.Shared), Disabled: bool(g.Disable), PruneBackups: string(g.PruneBackups), MaxProtected: string(g.MaxProtected),
		})
	}
	slices.SortFunc(out, func(a, b StorageConfig) int { return cmp.Compare(a.Storage, b.Storage) })
	return out, nil
}

// Archive is one copy of a machine on a backup storage.
type Archive struct {
	Volid        string
	VMID         int
	CTime        time.Time // when Proxmox says it was made; zero where the answer doesn't say
	Size         int64     // bytes; a Proxmox Backup Server shows 1 for an unfinished one
	Format       string    // vma.zst, vma.gz, vma, pbs-vm
	Subtype      string    // qemu, lxc
	NotesLine    string    // first line of the notes, which is all that a listing gives
	Notes        string    // all lines; only from Archive
	Path         string    // on the node; only from Archive
	Protected    bool
	Verification string // ok, failed, or "" for never verified (Proxmox Backup Server)
	Encrypted    string // the key's fingerprint, "" for not encrypted
}

// Archives lists the copies on a storage as a node sees it, of one machine or (vmid 0) of all, in order of volid.
//
// A listing is no proof of absence by itself: what the token may not see is left out without an error, and a directory
// whose mount went away lists empty. Numbers may be used again: a vmid's archives can be those of an earlier machine.
func (c *Client) Archives(ctx context.Context, node, storage string, vmid int) ([]Archive, error) {
	q := query("content", "backup")
	if vmid != 0 {
		if err := checkVMID(vmid); err != nil {
			return nil, err
		}
		q.Set("vmid", param(vmid))
	}
	const shape = "/nodes/{node}/storage/{storage}/content"
	var got []struct {
		Volid        text         `json:"volid"`
		VMID         whole        `json:"vmid"`
		CTime        whole        `json:"ctime"`
		Size         whole        `json:"size"`
		Format       text         `json:"format"`
		Subtype      text         `json:"subtype"`
		Content      text         `json:"content"`
		Notes        text         `json:"notes"`
		Protected    truth        `json:"protected"`
		Verification verification `json:"verification"`
		Encrypted    text         `json:"encrypted"`
	}
	if err := c.read(ctx, at(shape, node, storage), q, &got, true); err != nil {
		return nil, err
	}
	out := make([]Archive, 0, len(got))
	for _, g := range got {
		if g.Volid == "" {
			return nil, unreadable(shape, "a volume without an id")
		}
		if g.Content != "backup" && g.Content != "" {
			continue
		}
		line, _, _ := strings.Cut(string(g.Notes), "\n")
		a := Archive{
			Volid: string(g.Volid), VMID: int(g.VMID), CTime: g.CTime.time(), Size: int64(g.Size), Format: string(g.Format),
			Subtype: string(g.Subtype), NotesLine: strings.TrimRight(line, "\r"), Protected: bool(g.Protected),
			Verification: string(g.Verification), Encrypted: string(g.Encrypted),
		}
		a.fromVolid()
		out = append(out, a)
	}
	slices.SortFunc(out, func(a, b Archive) int { return cmp.Compare(a.Volid, b.Volid) })
	return out, nil
}

// Archive asks for one copy, with all of its notes. Proxmox gives neither time nor machine here: VMID and Subtype are
// read from the volid, and CTime too where it is of a Proxmox Backup Server (a directory's file name has the node's
// local time, which isn't an instant). Size is what the file takes, a little more than in the listing.
// A copy that isn't there is Gone; so is one whose directory isn't mounted just now.
func (c *Client) Archive(ctx context.Context, node, storage, volid string) (Archive, error) {
	var got struct {
		Size         whole        `json:"size"`
		Format       text         `json:"format"`
		Notes        text         `json:"notes"`
		Path         text         `json:"path"`
		Protected    truth        `json:"protected"`
		Verification verification `json:"verification"`
		Encrypted    text         `json:"encrypted"`
	}
	if err := c.read(ctx, contentPath(node, storage, volid), nil, &got, false); err != nil {
		return Archive{}, err
	}
	line, _, _ := strings.Cut(string(got.Notes), "\n")
	a := Archive{
		Volid: volid, Size: int64(got.Size), NotesLine: strings.TrimRight(line, "\r"), Notes: string(got.Notes),
		Path: string(got.Path), Protected: bool(got.Protected), Verification: string(got.Verification), Encrypted: string(got.Encrypted),
	}
	a.fromVolid()
	if a.Format == "" {
		a.Format = string(got.Format)
	}
	return a, nil
}

func contentPath(node, storage, volid string) path {
	return at("/nodes/{node}/storage/{storage}/content/{volume}", node, storage, volid)
}

// verification is {"state":"ok","upid":…}, of a Proxmox Backup Server.
type verification string

func (v *verification) UnmarshalJSON(b []byte) error {
	var object struct {
		State text `json:"state"`
	}
	*v = ""
	if decodeObject(b, &object) {
		*v = verification(object.State)
	}
	return nil
}

// SetArchiveNotes replaces the notes; the first line is what listings show. Proxmox answers 200 for a copy that isn't
// there as well: read it back with Archive.
func (c *Client) SetArchiveNotes(ctx context.Context, node, storage, volid, notes string) error {
	_, err := c.mutate(ctx, http.MethodPut, contentPath(node, storage, volid), map[string]string{"notes": notes})
	return err
}

// SetArchiveProtected protects a copy from every deletion and pruning, or lifts that. It answers 200 for a copy that
// isn't there as well. Without Datastore.Allocate a guest may have 5 protected copies.
func (c *Client) SetArchiveProtected(ctx context.Context, node, storage, volid string, protected bool) error {
	_, err := c.mutate(ctx, http.MethodPut, contentPath(node, storage, volid), map[string]string{"protected": strconv.Itoa(b2i(protected))})
	return err
}

// DeleteArchive starts the deletion of a copy. Its task succeeds for a file that is gone already and fails for a
// protected one. The zero UPID means that Proxmox did it at once.
func (c *Client) DeleteArchive(ctx context.Context, node, storage, volid string) (UPID, error) {
	p := contentPath(node, storage, volid)
	data, err := c.mutate(ctx, http.MethodDelete, p, nil)
	if err != nil {
		return UPID{}, err
	}
	return startedTask(http.MethodDelete, p.shape, data, true)
}

var (
	storageName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._-]*$`)

	dumpName = regexp.MustCompile(`(?:^|/)(vzdump-(qemu|lxc|openvz)-(\d{1,9})-\d{4}_\d\d_\d\d-\d\d_\d\d_\d\d\.([a-z0-9.]+))$`)
	pbsName  = regexp.MustCompile(`^(?:backup/)?((vm|ct)/(\d{1,9})/(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ))$`)
)

// VolidOfPath gives the volid that a task's log will have made: the log names a file of a directory storage by its path,
// and a copy on a Proxmox Backup Server as vm/100/2026-11-20T09:38:53Z.
func VolidOfPath(storage, path string) (string, bool) {
	if !storageName.MatchString(storage) {
		return "", false
	}
	if m := pbsName.FindStringSubmatch(path); m != nil {
		return storage + ":backup/" + m[1], true
	}
	if m := dumpName.FindStringSubmatch(path); m != nil {
		return storage + ":backup/" + m[1], true
	}
	return "", false
}

// fromVolid fills in what an archive's name says and the answer didn't.
func (a *Archive) fromVolid() {
	_, name, _ := strings.Cut(a.Volid, ":")
	if m := dumpName.FindStringSubmatch(name); m != nil {
		a.VMID = cmp.Or(a.VMID, atoi(m[3]))
		a.Subtype = cmp.Or(a.Subtype, strings.Replace(m[2], "openvz", "lxc", 1))
		a.Format = cmp.Or(a.Format, m[4])
	}
	if m := pbsName.FindStringSubmatch(name); m != nil {
		a.VMID = cmp.Or(a.VMID, atoi(m[3]))
		a.Subtype = cmp.Or(a.Subtype, map[string]string{"vm": "qemu", "ct": "lxc"}[m[2]])
		a.Format = cmp.Or(a.Format, "pbs-"+m[2])
		if t, err := time.Parse(time.RFC3339, m[4]); err == nil && t.Unix() > 0 && a.CTime.IsZero() {
			a.CTime = t.UTC()
		}
	}
}

func atoi(s string) int {
	n, _ := strconv.Atoi(s) // digits only, checked by the pattern
	return n
}
