package pve

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Version is what the server says it is.
type Version struct {
	Release string // "9.2"
	Version string // "9.2.11"
	Major   int    // 9
}

// Version asks who is there. It needs a token that is accepted and no privilege at all.
func (c *Client) Version(ctx context.Context) (Version, error) {
	var got struct{ Release, Version text }
	if err := c.read(ctx, at("/version"), nil, &got, false); err != nil {
		return Version{}, err
	}
	v := Version{Release: string(got.Release), Version: string(got.Version)}
	major, _, _ := strings.Cut(cmp.Or(v.Version, v.Release), ".")
	v.Major, _ = strconv.Atoi(major) // 0 where the server says something else
	return v, nil
}

// Permissions are what the token may do: path, privilege, and whether it reaches below that path.
type Permissions map[string]map[string]bool

// topPaths are those that Proxmox always answers about, unless nothing is granted there (recorded).
var topPaths = []string{"/", "/access", "/access/groups", "/nodes", "/pool", "/sdn", "/storage", "/vms"}

// Permissions asks for the token's own rights. Proxmox answers with the fixed top paths and every path that an ACL
// names, each with the rights that hold there, and leaves out those on which nothing is granted. The fixed ones that it
// left out are here without rights; another one can't be told from one that no ACL names: see PermissionsOn.
func (c *Client) Permissions(ctx context.Context) (Permissions, error) {
	p, err := c.permissions(ctx, "")
	if err != nil {
		return nil, err
	}
	for _, path := range topPaths {
		if p[path] == nil {
			p[path] = map[string]bool{}
		}
	}
	return p, nil
}

// PermissionsOn asks for the token's rights on one path alone. The whole answer leaves out a path on which nothing at
// all is granted, which then looks as if it inherited from above: this tells the one from the other.
func (c *Client) PermissionsOn(ctx context.Context, path string) (Permissions, error) {
	path = "/" + strings.Trim(path, "/")
	p, err := c.permissions(ctx, path)
	if err == nil && p[path] == nil {
		p[path] = map[string]bool{}
	}
	return p, err
}

func (c *Client) permissions(ctx context.Context, path string) (Permissions, error) {
	var got map[string]map[string]truth
	if err := c.read(ctx, at("/access/permissions"), query("path", path), &got, true); err != nil {
		return nil, err
	}
	p := make(Permissions, len(got))
	for path, privileges := range got {
		p[path] = make(map[string]bool, len(privileges))
		for name, propagates := range privileges {
			p[path][name] = bool(propagates)
		}
	}
	return p, nil
}

// Has tells whether the privilege holds on a path such as "/vms/100". As with Proxmox, the most specific path that
// is known decides alone: what it doesn't grant isn't inherited from above.
func (p Permissions) Has(path, privilege string) bool {
	path = "/" + strings.Trim(path, "/")
	if granted, known := p[path]; known {
		_, ok := granted[privilege]
		return ok
	}
	for path != "/" {
		path = path[:strings.LastIndexByte(path, '/')]
		if path == "" {
			path = "/"
		}
		if granted, known := p[path]; known {
			return granted[privilege]
		}
	}
	return false
}

// Resources is the whole cluster at a glance. Its states come from a daemon that looks every 10 s; places, locks and
// names are of this moment.
type Resources struct {
	Guests   []GuestResource
	Nodes    []NodeResource
	Storages []StorageResource
}

// GuestResource is one virtual machine or container.
type GuestResource struct {
	VMID     int
	Node     string
	Type     string // "qemu" or "lxc"
	Name     string // empty while the node's daemon is dead
	Status   string // running, stopped, unknown, and QEMU's own: prelaunch, paused …
	Lock     string // backup, create, snapshot …; empty when free
	Template bool
	Tags     []string
	Pool     string
	HAState  string
	CPU      float64 // share of MaxCPU
	MaxCPU   float64
	Mem      int64 // bytes; may exceed MaxMem on 9.x
	MaxMem   int64
	MaxDisk  int64
	Uptime   time.Duration
}

// NodeResource is one node of the cluster.
type NodeResource struct {
	Node   string
	Status string // online, offline, unknown
	CPU    float64
	MaxCPU float64
	Mem    int64
	MaxMem int64
	Uptime time.Duration
}

// StorageResource is one storage as one node sees it. A shared one appears once per node.
type StorageResource struct {
	Storage string
	Node    string
	Status  string // available, unknown
	Type    string // dir, nfs, pbs …
	Shared  bool
	Content []string
	Used    int64
	Total   int64
}

// Resources lists machines, nodes and storages that the token may see, in order of id. Entries of other kinds are
// left out.
func (c *Client) Resources(ctx context.Context) (Resources, error) {
	var got []struct {
		Type       text     `json:"type"`
		Node       text     `json:"node"`
		Status     text     `json:"status"`
		VMID       whole    `json:"vmid"`
		Name       text     `json:"name"`
		Lock       text     `json:"lock"`
		Template   truth    `json:"template"`
		Tags       text     `json:"tags"`
		Pool       text     `json:"pool"`
		HAState    text     `json:"hastate"`
		CPU        fraction `json:"cpu"`
		MaxCPU     fraction `json:"maxcpu"`
		Mem        whole    `json:"mem"`
		MaxMem     whole    `json:"maxmem"`
		Disk       whole    `json:"disk"`
		MaxDisk    whole    `json:"maxdisk"`
		Uptime     whole    `json:"uptime"`
		Storage    text     `json:"storage"`
		PluginType text     `json:"plugintype"`
		Shared     truth    `json:"shared"`
		Content    text     `json:"content"`
	}
	if err := c.read(ctx, at("/cluster/resources"), nil, &got, true); err != nil {
		return Resources{}, err
	}
	var r Resources
	for _, g := range got {
		switch g.Type {
		case "qemu", "lxc":
			if g.VMID <= 0 || g.Node == "" {
				return Resources{}, unreadable("/cluster/resources", "a machine without number or node")
			}
			r.Guests = append(r.Guests, GuestResource{
				VMID: int(g.VMID), Node: string(g.Node), Type: string(g.Type), Name: string(g.Name), Status: string(g.Status),
				Lock: string(g.Lock), Template: bool(g.Template), Tags: words(string(g.Tags)), Pool: string(g.Pool),
				HAState: string(g.HAState), CPU: float64(g.CPU), MaxCPU: float64(g.MaxCPU), Mem: int64(g.Mem),
				MaxMem: int64(g.MaxMem), MaxDisk: int64(g.MaxDisk), Uptime: seconds(g.Uptime),
			})
		case "node":
			r.Nodes = append(r.Nodes, NodeResource{
				Node: string(g.Node), Status: string(g.Status), CPU: float64(g.CPU), MaxCPU: float64(g.MaxCPU),
				Mem: int64(g.Mem), MaxMem: int64(g.MaxMem), Uptime: seconds(g.Uptime),
			})
		case "storage":
			content := words(string(g.Content))
			slices.Sort(content) // Proxmox gives them in any order
			r.Storages = append(r.Storages, StorageResource{
				Storage: string(g.Storage), Node: string(g.Node), Status: string(g.Status), Type: string(g.PluginType),
				Shared: bool(g.Shared), Content: content, Used: int64(g.Disk), Total: int64(g.MaxDisk),
			})
		}
	}
	slices.SortFunc(r.Guests, func(a, b GuestResource) int { return cmp.Compare(a.VMID, b.VMID) })
	slices.SortFunc(r.Nodes, func(a, b NodeResource) int { return cmp.Compare(a.Node, b.Node) })
	slices.SortFunc(r.Storages, func(a, b StorageResource) int {
		return cmp.Or(cmp.Compare(a.Storage, b.Storage), cmp.Compare(a.Node, b.Node))
	})
	return r, nil
}

// Node is one node with its certificate, as the cluster knows it.
type Node struct {
	Node        string
	Status      string // online, offline, unknown
	Fingerprint string // SHA-256 of its certificate, hexadecimal; empty where Proxmox doesn't say
	Uptime      time.Duration
}

// Nodes lists the cluster's nodes.
func (c *Client) Nodes(ctx context.Context) ([]Node, error) {
	var got []struct {
		Node        text  `json:"node"`
		Status      text  `json:"status"`
		Fingerprint text  `json:"ssl_fingerprint"`
		Uptime      whole `json:"uptime"`
	}
	if err := c.read(ctx, at("/nodes"), nil, &got, false); err != nil {
		return nil, err
	}
	nodes := make([]Node, 0, len(got))
	for _, g := range got {
		nodes = append(nodes, Node{
			Node: string(g.Node), Status: string(g.Status), Uptime: seconds(g.Uptime),
			Fingerprint: strings.ToLower(strings.ReplaceAll(string(g.Fingerprint), ":", "")),
		})
	}
	slices.SortFunc(nodes, func(a, b Node) int { return cmp.Compare(a.Node, b.Node) })
	return nodes, nil
}

// BackupJob is one of the cluster's own backup jobs.
type BackupJob struct {
	ID           string
	Enabled      bool
	All          bool
	VMIDs        []int
	Exclude      []int
	Pool         string
	Node         string
	Storage      string
	Schedule     string // calendar event; 8.4 may give StartTime and days instead
	StartTime    string
	Days         string
	Mode         string
	PruneBackups string
	Remove       bool // false only where the job says remove=0
	Comment      string
	NextRun      time.Time
}

// BackupJobs lists the cluster's own backup jobs. Needs Sys.Audit on /.
func (c *Client) BackupJobs(ctx context.Context) ([]BackupJob, error) {
	var got []struct {
		ID        text   `json:"id"`
		Enabled   *truth `json:"enabled"`
		All       truth  `json:"all"`
		VMID      text   `json:"vmid"`
		Exclude   text   `json:"exclude"`
		Pool      text   `json:"pool"`
		Node      text   `json:"node"`
		Storage   text   `json:"storage"`
		Schedule  text   `json:"schedule"`
		StartTime text   `json:"starttime"`
		Days      text   `json:"dow"`
		Mode      text   `json:"mode"`
		Prune     pairs  `json:"prune-backups"`
		Remove    *truth `json:"remove"`
		Comment   text   `json:"comment"`
		NextRun   whole  `json:"next-run"`
	}
	if err := c.read(ctx, at("/cluster/backup"), nil, &got, true); err != nil {
		return nil, err
	}
	jobs := make([]BackupJob, 0, len(got))
	for _, g := range got {
		jobs = append(jobs, BackupJob{
			ID: string(g.ID), Enabled: g.Enabled == nil || bool(*g.Enabled), All: bool(g.All), VMIDs: numbers(string(g.VMID)),
			Exclude: numbers(string(g.Exclude)), Pool: string(g.Pool), Node: string(g.Node), Storage: string(g.Storage),
			Schedule: string(g.Schedule), StartTime: string(g.StartTime), Days: string(g.Days), Mode: string(g.Mode),
			PruneBackups: string(g.Prune), Remove: g.Remove == nil || bool(*g.Remove), Comment: string(g.Comment),
			NextRun: g.NextRun.time(),
		})
	}
	slices.SortFunc(jobs, func(a, b BackupJob) int { return cmp.Compare(a.ID, b.ID) })
	return jobs, nil
}

func unreadable(shape, what string) *Error {
	return &Error{Class: Unreachable, Status: 200, Call: "GET " + shape, Message: "the answer could not be read: " + what}
}

func seconds(n whole) time.Duration {
	if n < 0 || n > 1<<32 {
		return 0
	}
	return time.Duration(n) * time.Second
}

// words splits Proxmox' lists: commas, semicolons, spaces.
func words(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ';' || r == ' ' || r == '\t' })
}

func numbers(s string) []int {
	var out []int
	for _, w := range words(s) {
		if n, err := strconv.Atoi(w); err == nil {
			out = append(out, n)
		}
	}
	return out
}

func param(n int) string { return strconv.Itoa(n) }

func query(pairs ...string) url.Values {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return q
}

// checkVMID keeps numbers that Proxmox doesn't take from being sent.
func checkVMID(vmid int) *Error {
	if vmid < 100 || vmid > 999999999 {
		return refusal("vmid", fmt.Sprintf("%d is no number of a machine", vmid))
	}
	return nil
}
