package pvesim

import (
	"fmt"
	"slices"
)

var (
	inSnapname = text("snapname").must().as("pve-configid").upTo(40)
	inDigest   = text("digest").upTo(40)
	vmNumber   = number("").as("pve-vmid").atLeast(100).atMost(999999999)
	resizeDisk = diskPlaces()
	moveDisk   = append(diskPlaces(), places("unused", 256)...)

	// 8.4 has one right to everything of the agent (differences, A2).
	askAgent = need{path: "/vms/{vmid}", any: []string{"VM.GuestAgent.Audit", "VM.GuestAgent.Unrestricted"}, old: []string{"VM.Monitor"}}
	useAgent = need{path: "/vms/{vmid}", any: []string{"VM.GuestAgent.Unrestricted"}, old: []string{"VM.Monitor"}}
)

func (p param) named(name string) param { p.name = name; return p }

// diskPlaces are the places that a disk may have, in the order of the schema.
func diskPlaces() []string {
	return slices.Concat(places("ide", 4), places("scsi", 31), places("virtio", 16), places("sata", 6), []string{"efidisk0", "tpmstate0"})
}

func places(bus string, n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("%s%d", bus, i))
	}
	return out
}

func onGuest(privileges ...string) need { return need{path: "/vms/{vmid}", any: privileges} }

// machineEndpoints are those on one machine, and the one that makes them.
func machineEndpoints() []endpoint {
	const guest = "/nodes/{node}/qemu/{vmid}"
	of := func(more ...param) []param { return append([]param{inNode, inVMID}, more...) }
	change := onGuest("VM.Config.Disk", "VM.Config.CDROM", "VM.Config.CPU", "VM.Config.Memory", "VM.Config.Network", "VM.Config.HWType", "VM.Config.Options", "VM.Config.Cloudinit")
	changing := append(of(inDigest, text("delete").as("pve-configid-list"), text("revert").as("pve-configid-list"),
		boolean("force").with("delete"), boolean("skiplock")), vmOptions...)
	power := onGuest("VM.PowerMgmt")
	out := []endpoint{
		{method: "POST", path: "/nodes/{node}/qemu", run: postGuest, params: slices.Concat(of(
			text("archive").upTo(255), number("bwlimit").atLeast(0), boolean("force").with("archive"), boolean("ha-managed").onlyIn("9.2"),
			text("import-working-storage").as("pve-storage-id"), boolean("live-restore"), text("pool").as("pve-poolid"), boolean("start"),
			text("storage").as("pve-storage-id"), boolean("unique").with("archive"),
		), vmOptions)},
		{method: "DELETE", path: guest, run: deleteGuest, need: onGuest("VM.Allocate"), params: of(
			boolean("destroy-unreferenced-disks"), boolean("purge"), boolean("skiplock"),
		)},

		{method: "PUT", path: guest + "/config", run: putGuestConfig, need: change, params: changing},
		{method: "POST", path: guest + "/config", run: postGuestConfig, need: change, params: slices.Concat(changing, []param{
			number("background_delay").atLeast(1).atMost(30), text("import-working-storage").as("pve-storage-id"),
		})},
		{method: "PUT", path: guest + "/unlink", run: putUnlink, need: onGuest("VM.Config.Disk"), params: of(
			text("idlist").must().as("pve-configid-list"), boolean("force"),
		)},
		{method: "PUT", path: guest + "/resize", run: putResize, need: onGuest("VM.Config.Disk"), params: of(
			inDigest, text("disk").must().of(resizeDisk...), text("size").must().like(`\+?\d+(\.\d+)?[KMGT]?`), boolean("skiplock"),
		)},
		{method: "POST", path: guest + "/move_disk", run: postMoveDisk, need: onGuest("VM.Config.Disk"), params: of(
			number("bwlimit").atLeast(0), boolean("delete"), inDigest, text("disk").must().of(moveDisk...), text("format").of("raw", "qcow2", "vmdk"),
			text("storage").as("pve-storage-id"), text("target-digest").upTo(40), text("target-disk").of(moveDisk...), vmNumber.named("target-vmid"),
		)},

		{method: "POST", path: guest + "/status/start", run: postStart, need: power, params: of(
			text("force-cpu"), text("machine").shaped(machineShape), text("migratedfrom").as("pve-node"), text("migration_network").as("CIDR"),
			text("migration_type").of("secure", "insecure"), text("nets-host-mtu").like(`net\d+=\d+(,net\d+=\d+)*`), boolean("skiplock"),
			text("stateuri").upTo(128), text("targetstorage").as("storage-pair-list"), number("timeout").atLeast(0),
			boolean("with-conntrack-state").onlyIn("9.2"),
		)},
		{method: "POST", path: guest + "/status/stop", run: postStop, need: power, params: of(
			boolean("keepActive"), text("migratedfrom").as("pve-node"), boolean("overrule-shutdown"), boolean("skiplock"), number("timeout").atLeast(0),
		)},
		{method: "POST", path: guest + "/status/shutdown", run: postShutdown, need: power, params: of(
			boolean("forceStop"), boolean("keepActive"), boolean("skiplock"), number("timeout").atLeast(0),
		)},
		{method: "POST", path: guest + "/status/reboot", run: postReboot, need: power, params: of(number("timeout").atLeast(0))},
		{method: "POST", path: guest + "/status/reset", run: postReset, need: power, params: of(boolean("skiplock"))},
		{method: "POST", path: guest + "/status/suspend", run: postSuspend, need: power, params: of(
			boolean("skiplock"), text("statestorage").as("pve-storage-id").with("todisk"), boolean("todisk"),
		)},
		{method: "POST", path: guest + "/status/resume", run: postResume, need: power, params: of(boolean("nocheck"), boolean("skiplock"))},

		{method: "GET", path: guest + "/snapshot", run: getSnapshots, need: seeGuest, params: of()},
		{method: "POST", path: guest + "/snapshot", run: postSnapshot, need: onGuest("VM.Snapshot"), params: of(
			inSnapname, text("description"), boolean("vmstate"),
		)},
		{method: "DELETE", path: guest + "/snapshot/{snapname}", run: deleteSnapshot, need: onGuest("VM.Snapshot"), params: of(inSnapname, boolean("force"))},
		{method: "PUT", path: guest + "/snapshot/{snapname}/config", run: putSnapshotConfig, need: onGuest("VM.Snapshot"), params: of(
			inSnapname, text("description"),
		)},
		{method: "POST", path: guest + "/snapshot/{snapname}/rollback", run: postRollback,
			need: onGuest("VM.Snapshot", "VM.Snapshot.Rollback"), params: of(inSnapname, boolean("start"))},

		{method: "POST", path: guest + "/clone", run: postClone, need: onGuest("VM.Clone"), params: of(
			vmNumber.named("newid").must(), number("bwlimit").atLeast(0), text("description"), text("format").of("raw", "qcow2", "vmdk"), boolean("full"),
			text("name").as("dns-name"), text("pool").as("pve-poolid"), text("snapname").as("pve-configid").upTo(40),
			text("storage").as("pve-storage-id"), text("target").as("pve-node"),
		)},
		{method: "POST", path: guest + "/template", run: postTemplate, need: onGuest("VM.Allocate"), params: of(text("disk").of(resizeDisk...))},
		{method: "PUT", path: guest + "/cloudinit", run: putCloudinit, need: onGuest("VM.Config.Cloudinit"), params: of()},

		{method: "POST", path: guest + "/agent/ping", run: withAgent(agentPing), need: askAgent, params: of()},
		{method: "GET", path: guest + "/agent/get-osinfo", run: withAgent(agentOSInfo), need: askAgent, params: of()},
		{method: "GET", path: guest + "/agent/get-host-name", run: withAgent(agentHostName), need: askAgent, params: of()},
		{method: "GET", path: guest + "/agent/get-fsinfo", run: withAgent(agentFilesystems), need: askAgent, params: of()},
		{method: "GET", path: guest + "/agent/network-get-interfaces", run: withAgent(agentInterfaces), need: askAgent, params: of()},
		{method: "POST", path: guest + "/agent/set-user-password", run: withAgent(agentPassword), need: useAgent, params: of(
			boolean("crypted"), text("password").must().atLeastLong(5).upTo(1024), text("username").must(),
		)},
	}
	for i := range out {
		out[i].protected = true
	}
	return append(out,
		endpoint{method: "GET", path: guest + "/pending", run: getGuestPending, need: seeGuest, params: of()},
		endpoint{method: "GET", path: guest + "/snapshot/{snapname}", run: getSnapshotIndex, params: of(inSnapname)},
		endpoint{method: "GET", path: guest + "/snapshot/{snapname}/config", run: getSnapshotConfig,
			need: onGuest("VM.Snapshot", "VM.Snapshot.Rollback", "VM.Audit"), params: of(inSnapname)},
		endpoint{method: "GET", path: guest + "/cloudinit", run: getCloudinit, need: seeGuest, params: of()},
		endpoint{method: "GET", path: guest + "/cloudinit/dump", run: getCloudinitDump, need: seeGuest, params: of(
			text("type").must().of("user", "network", "meta"),
		)},
	)
}
