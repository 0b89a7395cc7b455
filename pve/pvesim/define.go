package pvesim

import (
	"slices"
	"strings"
)

// Storages can be defined and taken away through the API: those of the types that are simulated.

var (
	storageTypes = []string{"btrfs", "cephfs", "cifs", "dir", "esxi", "glusterfs", "iscsi", "iscsidirect", "lvm", "lvmthin", "nfs", "pbs", "rbd", "zfs", "zfspool"}
	withoutGFS   = slices.DeleteFunc(slices.Clone(storageTypes), func(s string) bool { return s == "glusterfs" })
)

// storageParams is all that POST /storage takes. What belonged to GlusterFS went with 9.
var storageParams = []param{
	inStorage,
	text("type").must().of(storageTypes...).onlyIn("8.4"),
	text("type").must().of(withoutGFS...).onlyIn("9.2"),
	text("authsupported"),
	text("base").as("pve-volume-id"),
	text("blocksize").onlyIn("8.4"),
	text("blocksize").as("pve-storage-zfs-blocksize").onlyIn("9.2"),
	text("bwlimit").made(map[string]string{
		"clone": "number", "default": "number", "migration": "number", "move": "number", "restore": "number",
	}),
	text("comstar_hg"),
	text("comstar_tg"),
	text("content").as("pve-storage-content-list"),
	text("content-dirs").as("pve-dir-override-list"),
	boolean("create-base-path"),
	boolean("create-subdirs"),
	text("data-pool"),
	text("datastore"),
	boolean("disable"),
	text("domain").upTo(256),
	text("encryption-key"),
	text("export").as("pve-storage-path"),
	text("fingerprint").like(`([A-Fa-f0-9]{2}:){31}[A-Fa-f0-9]{2}`),
	text("format").of("raw", "qcow2", "subvol", "vmdk"),
	text("fs-name").as("pve-configid"),
	boolean("fuse"),
	text("is_mountpoint"),
	text("iscsiprovider"),
	text("keyring"),
	boolean("krbd"),
	text("lio_tpg"),
	text("master-pubkey"),
	number("max-protected-backups").atLeast(-1),
	number("maxfiles").atLeast(0).onlyIn("8.4"),
	boolean("mkdir"),
	text("monhost").as("pve-storage-portal-dns-list"),
	text("mountpoint").as("pve-storage-path"),
	text("namespace"),
	boolean("nocow"),
	text("nodes").as("pve-node-list"),
	boolean("nowritecache"),
	text("options").as("pve-storage-options"),
	text("password").upTo(256),
	text("path").as("pve-storage-path"),
	text("pool"),
	number("port").atLeast(1).atMost(65535),
	text("portal").as("pve-storage-portal-dns"),
	text("preallocation").of("off", "metadata", "falloc", "full"),
	text("prune-backups").as("prune-backups"),
	boolean("saferemove"),
	number("saferemove-stepsize").of("1", "2", "4", "8", "16", "32").onlyIn("9.2"),
	text("saferemove_throughput"),
	text("server").as("pve-storage-server"),
	text("server2").as("pve-storage-server").with("server").onlyIn("8.4"),
	text("share"),
	boolean("shared"),
	boolean("skip-cert-verification"),
	text("smbversion").of("default", "2.0", "2.1", "3", "3.0", "3.11"),
	boolean("snapshot-as-volume-chain").onlyIn("9.2"),
	boolean("sparse"),
	text("subdir").as("pve-storage-path"),
	boolean("tagged_only"),
	text("target"),
	text("thinpool").as("pve-storage-vgname"),
	text("transport").of("tcp", "rdma", "unix").onlyIn("8.4"),
	text("username"),
	text("vgname").as("pve-storage-vgname"),
	text("volume").onlyIn("8.4"),
	text("zfs-base-path").as("pve-storage-path"),
}

// storageOptions are what a type knows; the first of them it needs.
var storageOptions = map[string]struct{ needs, knows []string }{
	"dir": {[]string{"path"}, []string{"shared", "is_mountpoint", "snapshot-as-volume-chain"}},
	"nfs": {[]string{"server", "export"}, []string{"path", "options", "snapshot-as-volume-chain"}},
}

// ofBoth are known to directories and to NFS.
var ofBoth = []string{
	"storage", "type", "content", "content-dirs", "disable", "nodes", "format", "mkdir", "create-base-path", "create-subdirs",
	"preallocation", "prune-backups", "max-protected-backups", "maxfiles", "bwlimit",
}

func postStorage(s *Sim, c *call) answer {
	p := c.params
	name, kind := p.get("storage"), p.get("type")
	options, simulated := storageOptions[kind]
	if !simulated {
		return fail(500, "create storage failed: storages of type '%s' are not simulated", kind)
	}
	for given := range p {
		if !slices.Contains(ofBoth, given) && !slices.Contains(options.needs, given) && !slices.Contains(options.knows, given) {
			return fail(500, "unexpected property '%s'", given)
		}
	}
	for _, needed := range options.needs {
		if !p.has(needed) {
			return fail(500, "missing value for required option '%s'", needed)
		}
	}
	if s.storage(name) != nil {
		return fail(500, "create storage failed: storage ID '%s' already defined", name)
	}
	content := splitList(p.get("content"))
	if len(content) == 0 {
		content = []string{"images", "rootdir"}
	}
	mount := s.st.World.mountOf(p.get("path"))
	if kind == "nfs" {
		mount = Mount{Total: 8 * rootTotal}
	}
	st := Storage{
		Name: name, Type: kind, Path: p.get("path"), Content: content, Shared: kind == "nfs" || p.boolean("shared", false),
		Mountpoint: !slices.Contains([]string{"", "0", "no"}, p.get("is_mountpoint")), Disabled: p.boolean("disable", false), Nodes: splitList(p.get("nodes")),
		PruneBackups: p.get("prune-backups"), MaxProtected: int(p.integer("max-protected-backups", 0)),
		VolumeChain: p.boolean("snapshot-as-volume-chain", false), Total: mount.Total, Used: mount.Used,
	}
	if st.Mountpoint && mount.Path != st.Path {
		return fail(500, "create storage failed: unable to activate storage '%s' - directory is expected to be a mount point but is not mounted: '%s'", name, st.Path)
	}
	s.st.World.Storages = append(s.st.World.Storages, st)
	return ok(map[string]string{"storage": name, "type": kind})
}

// deleteStorage takes a storage's definition away. What lies on it stays there.
func deleteStorage(s *Sim, c *call) answer {
	name := c.params.get("storage")
	if s.storage(name) == nil {
		return fail(500, "delete storage failed: storage '%s' does not exist", name)
	}
	s.st.World.Storages = slices.DeleteFunc(s.st.World.Storages, func(st Storage) bool { return st.Name == name })
	return ok(nil)
}

// mountOf is the file system that a path lies on: the mount with the longest part of it, or the nodes' own disk.
func (w World) mountOf(path string) Mount {
	best := Mount{Path: "/", Total: rootTotal, Used: rootUsed}
	for _, m := range w.Mounts {
		if (m.Path == "/" || path == m.Path || strings.HasPrefix(path, m.Path+"/")) && len(m.Path) >= len(best.Path) {
			best = m
		}
	}
	return best
}
