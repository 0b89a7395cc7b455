package pvesim

import (
	"slices"
	"strings"
)

// endpoint is one method on one path, as the API's schema describes it.
type endpoint struct {
	method    string
	path      string // {name} stands for one part of the path; {volume} for all the rest
	protected bool   // answered by the node's daemon (pvedaemon) behind the proxy
	world     bool   // for everybody, without credentials
	need      need
	params    []param
	run       func(*Sim, *call) answer

	parts []string // of the path
}

// Parameters that stand in many paths.
var (
	inNode    = text("node").must().as("pve-node")
	inVMID    = number("vmid").must().as("pve-vmid").atLeast(100).atMost(999999999)
	inStorage = text("storage").must().as("pve-storage-id")
	inVolume  = text("volume").must()
	inUPID    = text("upid").must()
)

var (
	seeStorage = need{path: "/storage/{storage}", any: []string{"Datastore.Audit", "Datastore.AllocateSpace"}}
	seeNode    = need{path: "/nodes/{node}", any: []string{"Sys.Audit"}}
	seeGuest   = need{path: "/vms/{vmid}", any: []string{"VM.Audit"}}
)

// endpoints is everything that is answered. What is not here is answered 501,
// as Proxmox VE answers what it does not know.
var endpoints []endpoint

// The table refers to handlers that refer to it.
func init() {
	endpoints = []endpoint{
		{method: "GET", path: "/", run: getIndex},
		{method: "GET", path: "/version", run: getVersion},
		{method: "GET", path: "/access/permissions", run: getPermissions, params: []param{
			text("path"),
			text("userid").like(`^(?:[^\s:/]+)@(?:[A-Za-z][A-Za-z0-9\.\-_]+)(?:!(?:[A-Za-z][A-Za-z0-9\.\-_]+))?$`),
		}},

		{method: "GET", path: "/cluster/resources", run: getResources, params: []param{
			text("type").of("vm", "storage", "node", "sdn"),
		}},
		{method: "GET", path: "/cluster/tasks", run: getClusterTasks},
		{method: "GET", path: "/cluster/backup", run: getBackupJobs, need: need{path: "/", any: []string{"Sys.Audit"}}},
		{method: "GET", path: "/cluster/backup-info/not-backed-up", run: getNotBackedUp, protected: true, need: need{path: "/", any: []string{"Sys.Audit"}}},
		{method: "GET", path: "/cluster/ha/resources", run: getHAResources, need: need{path: "/", any: []string{"Sys.Audit"}}, params: []param{
			text("type").of("ct", "vm"),
		}},
		{method: "GET", path: "/cluster/nextid", run: getNextID, params: []param{
			number("vmid").as("pve-vmid").atLeast(100).atMost(999999999),
		}},
		{method: "GET", path: "/cluster/status", run: getClusterStatus, protected: true, need: need{path: "/", any: []string{"Sys.Audit"}}},

		{method: "GET", path: "/nodes", run: getNodes},
		{method: "GET", path: "/nodes/{node}/status", run: getNodeStatus, need: seeNode, params: []param{inNode}},
		{method: "GET", path: "/nodes/{node}/version", run: getVersion, params: []param{inNode}},
		{method: "GET", path: "/nodes/{node}/time", run: getNodeTime, need: seeNode, params: []param{inNode}},

		{method: "GET", path: "/storage", run: getStorageConfigs, params: []param{
			text("type").of("btrfs", "cephfs", "cifs", "dir", "esxi", "glusterfs", "iscsi", "iscsidirect", "lvm", "lvmthin", "nfs", "pbs", "rbd", "zfs", "zfspool").onlyIn("8.4"),
			text("type").of("btrfs", "cephfs", "cifs", "dir", "esxi", "iscsi", "iscsidirect", "lvm", "lvmthin", "nfs", "pbs", "rbd", "zfs", "zfspool").onlyIn("9.2"),
		}},
		{method: "POST", path: "/storage", run: postStorage, protected: true,
			need: need{path: "/storage", any: []string{"Datastore.Allocate"}}, params: storageParams},
		{method: "GET", path: "/storage/{storage}", run: getStorageConfig,
			need: need{path: "/storage/{storage}", any: []string{"Datastore.Allocate"}}, params: []param{inStorage}},
		{method: "DELETE", path: "/storage/{storage}", run: deleteStorage, protected: true,
			need: need{path: "/storage", any: []string{"Datastore.Allocate"}}, params: []param{inStorage}},
		{method: "GET", path: "/nodes/{node}/storage", run: getStorages, protected: true, params: []param{
			inNode, text("content").as("pve-storage-content-list"), boolean("enabled"), boolean("format"),
			text("storage").as("pve-storage-id"), text("target").as("pve-node"),
		}},
		{method: "GET", path: "/nodes/{node}/storage/{storage}/status", run: getStorageStatus, protected: true,
			need: seeStorage, params: []param{inNode, inStorage}},
		{method: "GET", path: "/nodes/{node}/storage/{storage}/content", run: getContent, protected: true,
			need: seeStorage, params: []param{
				inNode, inStorage, text("content").as("pve-storage-content"),
				number("vmid").as("pve-vmid").atLeast(100).atMost(999999999),
			}},
		{method: "GET", path: "/nodes/{node}/storage/{storage}/prunebackups", run: getPrune, protected: true,
			need: seeStorage, params: pruneParams},
		{method: "DELETE", path: "/nodes/{node}/storage/{storage}/prunebackups", run: deletePrune, protected: true, params: pruneParams},
		{method: "GET", path: "/nodes/{node}/storage/{storage}/content/{volume}", run: getVolume, protected: true,
			params: []param{inNode, optional(inStorage), inVolume}},
		{method: "PUT", path: "/nodes/{node}/storage/{storage}/content/{volume}", run: putVolume, protected: true,
			params: []param{inNode, optional(inStorage), inVolume, text("notes"), boolean("protected")}},
		{method: "DELETE", path: "/nodes/{node}/storage/{storage}/content/{volume}", run: deleteVolume, protected: true,
			params: []param{inNode, optional(inStorage), inVolume, number("delay").atLeast(1).atMost(30)}},

		{method: "GET", path: "/nodes/{node}/qemu", run: getGuests, protected: true, params: []param{inNode, boolean("full")}},
		{method: "GET", path: "/nodes/{node}/qemu/{vmid}", run: getGuestIndex, params: []param{inNode, inVMID}},
		{method: "GET", path: "/nodes/{node}/qemu/{vmid}/status/current", run: getGuestStatus, protected: true,
			need: seeGuest, params: []param{inNode, inVMID}},
		{method: "GET", path: "/nodes/{node}/qemu/{vmid}/config", run: getGuestConfig,
			need: seeGuest, params: []param{inNode, inVMID, boolean("current"), text("snapshot").as("pve-configid").upTo(40)}},

		{method: "GET", path: "/nodes/{node}/qemu/{vmid}/feature", run: getGuestFeature, protected: true, need: seeGuest, params: []param{
			inNode, inVMID, text("feature").must().of("snapshot", "clone", "copy"), text("snapname").as("pve-configid").upTo(40),
		}},

		{method: "POST", path: "/nodes/{node}/vzdump", run: postVzdump, protected: true, params: vzdumpParams},
		{method: "GET", path: "/nodes/{node}/vzdump/defaults", run: getVzdumpDefaults,
			params: []param{inNode, text("storage").as("pve-storage-id")}},
		{method: "GET", path: "/nodes/{node}/vzdump/extractconfig", run: getExtractConfig, protected: true,
			params: []param{inNode, inVolume}},

		{method: "GET", path: "/nodes/{node}/tasks", run: getTasks, params: []param{
			inNode, boolean("errors"), number("limit").atLeast(0), number("since"),
			text("source").of("archive", "active", "all"), number("start").atLeast(0),
			text("statusfilter").as("pve-task-status-type-list"), text("typefilter"), number("until"),
			text("userfilter"), number("vmid").as("pve-vmid").atLeast(100).atMost(999999999),
		}},
		{method: "GET", path: "/nodes/{node}/tasks/{upid}", run: getTaskIndex, params: []param{inNode, inUPID}},
		{method: "DELETE", path: "/nodes/{node}/tasks/{upid}", run: deleteTask, protected: true, params: []param{inNode, inUPID}},
		{method: "GET", path: "/nodes/{node}/tasks/{upid}/status", run: getTaskStatus, protected: true, params: []param{inNode, inUPID}},
		{method: "GET", path: "/nodes/{node}/tasks/{upid}/log", run: getTaskLog, protected: true, params: []param{
			inNode, inUPID, boolean("download"), number("limit").atLeast(0), number("start").atLeast(0),
		}},
	}
	endpoints = append(endpoints, slices.Concat(machineEndpoints(), firewallEndpoints(), poolEndpoints())...)
	endpoints = append(endpoints, accessEndpoints...)
	for i := range endpoints {
		endpoints[i].parts = strings.Split(strings.Trim(endpoints[i].path, "/"), "/")
	}
}

// vzdumpParams is all that POST …/vzdump takes. Three of them went with 9.
var vzdumpParams = []param{
	text("node").as("pve-node"),
	boolean("all"),
	number("bwlimit").atLeast(0),
	text("compress").of("0", "1", "gzip", "lzo", "zstd"),
	text("dumpdir"),
	text("exclude").as("pve-vmid-list"),
	list("exclude-path"),
	text("fleecing").as("backup-fleecing"),
	number("ionice").atLeast(0).atMost(8),
	text("job-id").like(`\S+`).upTo(50),
	number("lockwait").atLeast(0),
	text("mailnotification").of("always", "failure"),
	text("mailto").as("email-or-username-list"),
	number("maxfiles").atLeast(1).onlyIn("8.4"),
	text("mode").of("snapshot", "suspend", "stop"),
	text("notes-template").upTo(1024).with("storage"),
	text("notification-mode").of("auto", "legacy-sendmail", "notification-system"),
	text("notification-policy").of("always", "failure", "never").onlyIn("8.4"),
	text("notification-target").as("pve-configid").onlyIn("8.4"),
	text("pbs-change-detection-mode").of("legacy", "data", "metadata"),
	text("performance").as("backup-performance"),
	number("pigz"),
	text("pool"),
	boolean("protected").with("storage"),
	text("prune-backups").as("prune-backups"),
	boolean("quiet"),
	boolean("remove"),
	text("script"),
	boolean("stdexcludes"),
	boolean("stdout"),
	boolean("stop"),
	number("stopwait").atLeast(0),
	text("storage").as("pve-storage-id"),
	text("tmpdir"),
	text("vmid").as("pve-vmid-list"),
	number("zstd"),
}

func optional(p param) param { p.required = false; return p }

// route finds the endpoint of a method and path and fills in the path's values.
func route(method, path string, values map[string]string) *endpoint {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	for i := range endpoints {
		ep := &endpoints[i]
		if ep.method == method && matchPath(ep.parts, parts, values) {
			return ep
		}
		clear(values)
	}
	return nil
}

func matchPath(pattern, parts []string, values map[string]string) bool {
	for i, want := range pattern {
		if want == "{volume}" {
			if i >= len(parts) {
				return false
			}
			values["volume"] = strings.Join(parts[i:], "/")
			return true
		}
		if i >= len(parts) {
			return false
		}
		if strings.HasPrefix(want, "{") {
			if strings.ContainsAny(parts[i], " \t\n") || parts[i] == "" {
				return false
			}
			values[strings.Trim(want, "{}")] = parts[i]
		} else if want != parts[i] {
			return false
		}
	}
	return len(parts) == len(pattern)
}

func getIndex(*Sim, *call) answer {
	var out []map[string]string
	for _, name := range []string{"version", "cluster", "nodes", "storage", "access", "pools"} {
		out = append(out, map[string]string{"subdir": name})
	}
	return ok(out)
}

func getVersion(s *Sim, _ *call) answer {
	return ok(map[string]string{"version": s.release.version, "release": s.release.name, "repoid": s.release.repoid})
}
