package pvesim

import "slices"

// vmOptions are all lines that a machine's configuration may have. Those with
// [n] stand for a numbered family: net0, net1 …
var vmOptions = []param{
	boolean("acpi"),
	text("affinity").as("pve-cpuset"),
	text("agent").shaped(agentShape),
	boolean("allow-ksm").onlyIn("9.2"),
	text("amd-sev").as("pve-qemu-sev-fmt"),
	text("arch").of("x86_64", "aarch64"),
	text("args"),
	text("audio0").shaped(audioShape),
	boolean("autostart"),
	number("balloon").atLeast(0),
	text("bios").of("seabios", "ovmf"),
	text("boot").as("pve-qm-boot"),
	text("bootdisk").as("pve-qm-bootdisk").like(`(ide|sata|scsi|virtio)\d+`),
	text("cdrom").as("pve-qm-ide"),
	text("cicustom").as("pve-qm-cicustom"),
	text("cipassword"),
	text("citype").of("configdrive2", "nocloud", "opennebula"),
	boolean("ciupgrade"),
	text("ciuser"),
	number("cores").atLeast(1),
	text("cpu").as("pve-vm-cpu-conf"),
	decimal("cpulimit").atLeast(0).atMost(128),
	number("cpuunits").atLeast(1).atMost(262144),
	text("description").upTo(8192),
	text("efidisk0").shaped(efidiskShape),
	boolean("freeze"),
	text("hookscript").as("pve-volume-id"),
	text("hostpci[n]").as("pve-qm-hostpci").times(16),
	text("hotplug").as("pve-hotplug-features"),
	text("hugepages").of("any", "2", "1024"),
	text("ide[n]").shaped(ideShape).times(4),
	text("intel-tdx").as("pve-qemu-tdx-fmt").onlyIn("9.2"),
	text("ipconfig[n]").as("pve-qm-ipconfig").times(32),
	text("ivshmem").shaped(ivshmemShape),
	boolean("keephugepages"),
	text("keyboard").of("de", "de-ch", "da", "en-gb", "en-us", "es", "fi", "fr", "fr-be", "fr-ca", "fr-ch", "hu", "is",
		"it", "ja", "lt", "mk", "nl", "no", "pl", "pt", "pt-br", "sv", "sl", "tr"),
	boolean("kvm"),
	boolean("localtime"),
	text("lock").of("backup", "clone", "create", "migrate", "rollback", "snapshot", "snapshot-delete", "suspending", "suspended"),
	text("machine").shaped(machineShape),
	text("memory").shaped(memoryShape),
	decimal("migrate_downtime").atLeast(0),
	number("migrate_speed").atLeast(0),
	text("name").as("dns-name"),
	text("nameserver").as("address-list"),
	text("net[n]").shaped(netShape).times(32),
	boolean("numa"),
	text("numa[n]").shaped(numaShape).times(8),
	boolean("onboot"),
	text("ostype").of("other", "wxp", "w2k", "w2k3", "w2k8", "wvista", "win7", "win8", "win10", "win11", "l24", "l26", "solaris"),
	text("parallel[n]").like(`/dev/parport\d+|/dev/usb/lp\d+`).times(3),
	boolean("protection"),
	boolean("reboot"),
	text("rng0").as("pve-qm-rng"),
	text("sata[n]").shaped(sataShape).times(6),
	text("scsi[n]").shaped(scsiShape).times(31),
	text("scsihw").of("lsi", "lsi53c810", "virtio-scsi-pci", "virtio-scsi-single", "megasas", "pvscsi"),
	text("searchdomain"),
	text("serial[n]").like(`(/dev/.+|socket)`).times(4).onlyIn("8.4"),
	text("serial[n]").like(`(/dev/[^,]+|socket)`).times(4).onlyIn("9.2"),
	number("shares").atLeast(0).atMost(50000),
	text("smbios1").as("pve-qm-smbios1").upTo(512),
	number("smp").atLeast(1),
	number("sockets").atLeast(1),
	text("spice_enhancements").shaped(spiceShape),
	text("sshkeys").as("urlencoded"),
	text("startdate").like(`(now|\d{4}-\d{1,2}-\d{1,2}(T\d{1,2}:\d{1,2}:\d{1,2})?)`),
	text("startup").as("pve-startup-order"),
	boolean("tablet"),
	text("tags").as("pve-tag-list"),
	boolean("tdf"),
	boolean("template"),
	text("tpmstate0").shaped(tpmShape),
	text("unused[n]").shaped(unusedShape).times(256),
	text("usb[n]").shaped(usbShape).times(14),
	number("vcpus").atLeast(1),
	text("vga").shaped(vgaShape),
	text("virtio[n]").shaped(virtioShape).times(16),
	text("virtiofs[n]").shaped(virtiofsShape).times(10),
	text("vmgenid").like(`(?:[a-fA-F0-9]{8}(?:-[a-fA-F0-9]{4}){3}-[a-fA-F0-9]{12}|[01])`),
	text("vmstatestorage").as("pve-storage-id"),
	text("watchdog").as("pve-qm-watchdog"),
}

const (
	cpuSets   = `\d+(?:-\d+)?(?:;\d+(?:-\d+)?)*`
	pveTypes  = `(pc|pc(-i440fx)?-\d+(\.\d+)+(\+pve\d+)?(\.pxe)?|q35|pc-q35-\d+(\.\d+)+(\+pve\d+)?(\.pxe)?|virt(?:-\d+(\.\d+)+)?(\+pve\d+)?)`
	usbDevice = `(?:(?:(0x)?([0-9A-Fa-f]{4}):(0x)?([0-9A-Fa-f]{4}))|(?:(\d+)\-(\d+(\.\d+)*))|[Ss][Pp][Ii][Cc][Ee])`
)

// netModels are the kinds of network cards.
var netModels = []string{
	"e1000", "e1000-82540em", "e1000-82544gc", "e1000-82545em", "e1000e", "i82551", "i82557b", "i82559er",
	"ne2k_isa", "ne2k_pci", "pcnet", "rtl8139", "virtio", "vmxnet3",
}

var (
	agentShape = &composite{first: "enabled", parts: []param{
		boolean("enabled").must(),
		boolean("freeze-fs").onlyIn("9.2"), boolean("freeze-fs-on-backup").onlyIn("8.4"),
		boolean("fstrim_cloned_disks"), text("type").of("virtio", "isa"),
	}, alias: map[string]string{"freeze-fs-on-backup": "freeze-fs", "guest-fsfreeze": "freeze-fs"}}

	audioShape = &composite{parts: []param{
		text("device").of("ich9-intel-hda", "intel-hda", "AC97").must(), text("driver").of("spice", "none"),
	}}
	ivshmemShape = &composite{parts: []param{
		text("name").like(`[a-zA-Z0-9\-]+`), number("size").atLeast(1).must(),
	}}
	machineShape = &composite{first: "type", parts: []param{
		decimal("aw-bits").atLeast(32).atMost(64).onlyIn("9.2"), boolean("enable-s3"), boolean("enable-s4"),
		text("type").upTo(40).like(pveTypes), text("viommu").of("intel", "virtio"),
	}}
	memoryShape = &composite{first: "current", parts: []param{number("current").atLeast(16).must()}}

	netShape = &composite{first: "model", keys: netModels, keyPart: "model", behindPart: "macaddr", parts: []param{
		text("bridge").as("pve-bridge-id"), boolean("firewall"), boolean("host-tunnel").onlyIn("9.2"), boolean("link_down"),
		text("macaddr").as("mac-addr"), text("model").of(netModels...).must(), number("mtu").atLeast(1).atMost(65520),
		number("queues").atLeast(0).atMost(64), decimal("rate").atLeast(0), number("tag").atLeast(1).atMost(4094),
		text("trunks").like(cpuSets),
	}}
	numaShape = &composite{parts: []param{
		text("cpus").like(cpuSets).must(), text("hostnodes").like(cpuSets), decimal("memory"),
		text("policy").of("preferred", "bind", "interleave"),
	}}
	spiceShape = &composite{parts: []param{
		boolean("foldersharing"), text("videostreaming").of("off", "all", "filter"),
	}}
	usbShape = &composite{first: "host", parts: []param{
		text("host").like(usbDevice), text("mapping").as("pve-configid"), boolean("usb3"),
	}}
	vgaShape = &composite{first: "type", parts: []param{
		text("clipboard").of("vnc"), number("memory").atLeast(4).atMost(512),
		text("type").of("cirrus", "qxl", "qxl2", "qxl3", "qxl4", "none", "serial0", "serial1", "serial2", "serial3", "std",
			"virtio", "virtio-gl", "vmware"),
	}}
	virtiofsShape = &composite{first: "dirid", parts: []param{
		text("cache").of("auto", "always", "metadata", "never"), boolean("direct-io"),
		text("dirid").as("pve-configid").must(), boolean("expose-acl"), boolean("expose-xattr"),
	}}
	ipconfigShape = &composite{parts: []param{
		text("gw").as("ipv4"), text("gw6").as("ipv6"), text("ip").as("pve-ipv4-config"), text("ip6").as("pve-ipv6-config"),
	}}
	smbiosShape = &composite{parts: []param{
		boolean("base64"), text("family"), text("manufacturer"), text("product"), text("serial"), text("sku"),
		text("uuid").like(`[a-fA-F0-9]{8}(?:-[a-fA-F0-9]{4}){3}-[a-fA-F0-9]{12}`), text("version"),
	}}
)

// Disks share most of their parts; each bus has some of its own.
var (
	diskFilePart   = text("file").as("pve-volume-id-or-qm-path").must()
	diskFormatPart = text("format").of("raw", "qcow", "qed", "qcow2", "vmdk", "cloop")
	diskSizePart   = text("size").as("disk-size")
	importFrom     = text("import-from").as("pve-volume-id-or-absolute-path")
	fileAlias      = map[string]string{"volume": "file"}

	diskParts = []param{
		diskFilePart, diskFormatPart, diskSizePart, importFrom,
		text("aio").of("native", "threads", "io_uring"), boolean("backup"),
		number("bps"), number("bps_max_length").atLeast(1), number("bps_rd"), number("bps_rd_max_length").atLeast(1),
		number("bps_wr"), number("bps_wr_max_length").atLeast(1),
		text("cache").of("none", "writethrough", "writeback", "unsafe", "directsync"),
		number("cyls").onlyIn("8.4"), boolean("detect_zeroes"), text("discard").of("ignore", "on"), number("heads").onlyIn("8.4"),
		number("iops"), number("iops_max"), number("iops_max_length").atLeast(1),
		number("iops_rd"), number("iops_rd_max"), number("iops_rd_max_length").atLeast(1),
		number("iops_wr"), number("iops_wr_max"), number("iops_wr_max_length").atLeast(1),
		decimal("mbps"), decimal("mbps_max"), decimal("mbps_rd"), decimal("mbps_rd_max"), decimal("mbps_wr"), decimal("mbps_wr_max"),
		text("media").of("cdrom", "disk"), boolean("replicate"), text("rerror").of("ignore", "report", "stop"),
		number("secs").onlyIn("8.4"), text("serial").as("urlencoded").upTo(60), boolean("shared"), boolean("snapshot"),
		text("trans").of("none", "lba", "auto").onlyIn("8.4"), text("werror").of("enospc", "ignore", "report", "stop"),
	}
	diskAlias = map[string]string{
		"volume": "file", "bps_rd_length": "bps_rd_max_length", "bps_wr_length": "bps_wr_max_length",
		"iops_rd_length": "iops_rd_max_length", "iops_wr_length": "iops_wr_max_length",
	}
	diskSSD  = boolean("ssd")
	diskWWN  = text("wwn").like(`(0x)[0-9a-fA-F]{16}`)
	ideShape = busShape(text("model").as("urlencoded").upTo(120), diskSSD, diskWWN)

	sataShape = busShape(diskSSD, diskWWN)
	scsiShape = busShape(diskSSD, diskWWN, boolean("iothread"), boolean("ro"), boolean("scsiblock"), number("queues").atLeast(2),
		text("product").like(`[A-Za-z0-9\-_\s]{0,16}`), text("vendor").like(`[A-Za-z0-9\-_\s]{0,8}`))
	virtioShape = busShape(boolean("iothread"), boolean("ro"))

	efidiskShape = &composite{first: "file", alias: fileAlias, parts: []param{
		diskFilePart, diskFormatPart, diskSizePart, importFrom, text("efitype").of("2m", "4m"),
		text("ms-cert").of("2011", "2023", "2023w", "2023k"), boolean("pre-enrolled-keys"),
	}}
	tpmShape = &composite{first: "file", alias: fileAlias, parts: []param{
		diskFilePart, diskSizePart, importFrom, text("format").of("raw", "qcow2", "vmdk").onlyIn("9.2"), text("version").of("v1.2", "v2.0"),
	}}
	unusedShape = &composite{first: "file", alias: fileAlias, parts: []param{text("file").as("pve-volume-id").must()}}
)

func busShape(more ...param) *composite {
	return &composite{first: "file", alias: diskAlias, parts: append(slices.Clone(diskParts), more...)}
}
