package jobs

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"stowage/portal"
	"stowage/pve"
)

// A machine of which a restore has left a stump is installed from scratch: nothing is destroyed any more. Its config is
// put back as far as the token may, from what the restore kept; then the template's disk comes into its place, and the
// rest is as in every reinstall. The operation is born running, with a broken machine in hand, and ends well or is held.
//
// VM.Config.HWType, without which neither smbios1 nor scsihw can be set, is a right that the portal doesn't ask for. Where
// the token lacks it, the disks hang on virtio, and the service remembers that its cards alone tell its machine.

// notPutBack are lines of the kept config that aren't sent, or left to later steps: what Reapply brings back, and what must
// not hold while the machine isn't whole.
var notPutBack = []string{"digest", "lock", "meta", "parent", "snapstate", "pending", "template", "vmstate", "cipassword", "boot", "bootdisk", "onboot", "autostart", "bios"}

// scratchPreflight looks at what stands in the machine's place before a system is installed there.
func (t *turn) scratchPreflight() error {
	if t.op.Kind != portal.KindReinstall {
		return t.hold("The portal met a kind of work that it does not know.", fmt.Sprintf("a broken machine at preflight of %q", t.op.Kind))
	}
	if s := t.sit.Service.State; s != portal.ServiceActive && s != portal.ServiceSuspended {
		return t.hold("The service is not active, so nothing was done.", "service "+string(s))
	}
	config, err := t.link.client.GuestConfig(t, t.op.Node, t.sit.Service.VMID)
	if pve.ClassOf(err) == pve.Gone {
		return t.followRemains()
	}
	if err != nil {
		return t.cannotLook(err)
	}
	status, err := t.status()
	if err != nil {
		return t.cannotLook(err)
	}
	if lock := status.Lock + config.Lock; lock != "" {
		return t.waitInHand(portal.LockedSentence(lock), "config lock: "+lock, time.Minute)
	}
	busy, err := t.link.client.Tasks(t, t.op.Node, pve.TaskFilter{Source: "active"})
	if err != nil {
		return t.cannotLook(err)
	}
	for _, task := range busy {
		if task.Running && task.ID == strconv.Itoa(t.sit.Service.VMID) && !strings.HasSuffix(task.Type, "proxy") {
			return t.waitInHand("Something else is being done with your machine on its host; it is waited for.", "task "+task.UPID.String(), 30*time.Second)
		}
	}
	t.op.Work.Was = status.Status
	switch {
	case config.Stump(), t.ours(config) && config.UUID == "":
		return t.stumpPreflight()
	case t.ours(config): // the archive came whole into its place, and something failed after that
		t.op.Work.Scratch = false
		return t.reinstallPreflight(config)
	}
	return t.foreignRemains(config)
}

func (t *turn) ours(config pve.GuestConfig) bool {
	return t.sit.Service.Identity.Same(identityOf(config))
}

// foreignRemains stops where somebody else's machine stands in the place.
func (t *turn) foreignRemains(config pve.GuestConfig) error {
	staff := fmt.Sprintf("machine replaced: uuid %s, expected %s", config.UUID, t.sit.Service.Identity.UUID)
	if err := t.e.db.SetServiceState(t, "engine", t.sit.Service, portal.ServiceMachineReplaced, staff); err != nil {
		return err
	}
	return t.hold("Another machine has taken the place of this service's, so nothing was touched. Our team has been told.", staff)
}

// followRemains follows what is left of the machine to another host.
func (t *turn) followRemains() error {
	resources, err := t.link.client.Resources(t)
	if err != nil {
		return t.cannotLook(err)
	}
	for _, g := range resources.Guests {
		if g.Type == "qemu" && g.VMID == t.sit.Service.VMID && g.Node != "" && g.Node != t.op.Node {
			t.op.Node = g.Node
			return t.waitInHand("The machine moved to another host; it is followed.", "now on "+g.Node, 0)
		}
	}
	return t.hold("The machine can't be found on its host. Our team has been told.", "no config of the vmid on "+t.op.Node+", and not in /cluster/resources")
}

// stumpPreflight sees to all that can be known before a machine is made of a stump.
func (t *turn) stumpPreflight() error {
	w := &t.op.Work
	w.Scratch = true
	kept := pve.ReadGuestConfig(w.Config)
	lines, left, err := t.settings()
	if err != nil {
		return t.cannotLook(err)
	}
	if hw := w.Config["scsihw"]; hw != "" && hw != "lsi" && lines["scsihw"] == "" {
		w.Virtio = true
	}
	if back := pve.ReadGuestConfig(lines); back.UUID == "" && identityOf(back).MACs == "" {
		return t.hold("Without a network card your machine could not be told from others afterwards. Our team installs it: tell them the reference.",
			"the config before had no card with an address, and the token lacks VM.Config.HWType for smbios1")
	}
	was := t.systemWas()
	storage := was.Storage
	if storage == "" {
		storage = portal.Wanted(t.sit.Product, t.sit.Service).System.Storage
	}
	source, goOn, err := t.templateDisk(storage)
	if err != nil || !goOn {
		return err
	}
	scene := pve.Scene{Source: w.From, Storages: []string{storage}}
	for _, n := range kept.Nets {
		if name := n.Bridge; name != "" {
			if n.Tag > 0 {
				name += "/" + strconv.Itoa(n.Tag)
			}
			scene.Networks = append(scene.Networks, name)
		}
	}
	actions := []pve.Action{pve.Power, pve.ImportDisk, pve.SetCPU, pve.SetMemory, pve.SetDisks, pve.SetNetwork, pve.SetOptions}
	w.Way, w.User = "", ""
	if cloudInitDrive(kept) {
		actions = append(actions, pve.SetCloudInit, pve.MakeCloudInit)
		w.Way, w.User = portal.WayCloudInit, administrator(kept)
	}
	if ok, err := t.mayDo(scene, actions...); !ok {
		return err
	}
	want := t.scratchSpec(portal.Wanted(t.sit.Product, t.sit.Service))
	loose, err := t.loose(want.Kept)
	if err != nil {
		return t.cannotLook(err)
	}
	for _, k := range want.Kept {
		if !slices.Contains(loose, k.Volid) {
			return t.hold("An additional disk of your machine can't be found on its storage. Our team has been told.", "not listed: "+k.Volid)
		}
	}
	w.Device, w.Storage, w.Source, w.Old = want.System.Device, storage, source, ""
	staff := fmt.Sprintf("node %s, %s becomes a copy of %s, template %d", t.op.Node, w.Device, source, w.From)
	if len(left) > 0 {
		staff += fmt.Sprintf("; lines that the token may not set: %v", left)
		t.tellStaff("machine.differs", fmt.Sprintf("installed from scratch without lines that the token may not set: %v", left))
	}
	t.note("done", "Checked what is left of your machine, the system to install and the space for it.", staff)
	if w.Was == "stopped" {
		return t.offForReinstall()
	}
	return t.onward(portal.StepPowerOff)
}

// settings gives the lines of the kept config that are to be put back and that the token may set, and the keys of those
// that it may not.
func (t *turn) settings() (lines map[string]string, left []string, err error) {
	rights, err := t.e.permissions(t, t.link)
	if err != nil {
		return nil, nil, err
	}
	kept := pve.ReadGuestConfig(t.op.Work.Config)
	lines = map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(kept.Raw)) {
		value := kept.Raw[key]
		drive := slices.ContainsFunc(kept.Disks, func(d pve.Disk) bool { return d.Key == key })
		if value == "" || drive || slices.Contains(notPutBack, key) || strings.HasPrefix(key, "unused") || strings.HasPrefix(key, "running") {
			continue
		}
		demand, known := pve.LineDemand(t.sit.Service.VMID, key, value)
		if !known || len(rights.Lacks([]pve.Demand{demand})) > 0 {
			left = append(left, key)
			continue
		}
		lines[key] = value
	}
	return lines, left, nil
}

// scratchSpec is what the machine is to be.
func (t *turn) scratchSpec(sold portal.Spec) portal.Spec {
	w := t.op.Work
	return portal.FromScratch(sold, machineOf(pve.ReadGuestConfig(w.Config), t.sit.Service.VMID, false), w.Inside, w.Virtio)
}

// loose gives those of the disks whose volumes are listed on their storages.
func (t *turn) loose(kept []portal.Kept) (there []string, err error) {
	seen := map[string]bool{}
	for _, k := range kept {
		storage := storageOf(k.Volid)
		if seen[storage] {
			continue
		}
		seen[storage] = true
		images, err := t.link.client.Images(t, t.op.Node, storage, t.sit.Service.VMID)
		if err != nil {
			return nil, err
		}
		for _, image := range images {
			there = append(there, image.Volid)
		}
	}
	return there, nil
}

// addLoose counts the disks that no archive took the place of among the unused ones: the stump doesn't name them, and
// still they are the machine's.
func (t *turn) addLoose(got *portal.Machine, kept []portal.Kept) error {
	named := func(volid string) bool {
		return slices.ContainsFunc(slices.Concat(got.Drives, got.Unused), func(d portal.MachineDrive) bool { return d.Volid == volid })
	}
	if !slices.ContainsFunc(kept, func(k portal.Kept) bool { return !named(k.Volid) }) {
		return nil
	}
	there, err := t.loose(kept)
	if err != nil {
		return err
	}
	for _, k := range kept {
		if !named(k.Volid) && slices.Contains(there, k.Volid) && got.Owns(k.Volid) {
			key := 0 // as Proxmox would name it
			for slices.ContainsFunc(got.Unused, func(d portal.MachineDrive) bool { return d.Key == fmt.Sprint("unused", key) }) {
				key++
			}
			got.Unused = append(got.Unused, portal.MachineDrive{Key: fmt.Sprint("unused", key), Volid: k.Volid, Storage: storageOf(k.Volid), Options: portal.Options{}})
		}
	}
	return nil
}

// settingsStep puts the kept config back, by one request: it is there as a whole or not at all.
var settingsStep = step{look: lookSettings, intend: intendSettings, send: sendSettings, next: afterSettings, failed: func(t *turn) error {
	t.clearRequest()
	return t.errandFailed("The settings that your machine had could not be put back.", reapplyTries)
}}

// lookSettings sees which lines are missing.
func lookSettings(t *turn) (seen portal.Sight, err error) {
	if t.config, err = t.link.client.GuestConfig(t, t.op.Node, t.sit.Service.VMID); err != nil {
		return seen, err
	}
	missing, err := t.missingLines()
	if err != nil {
		return seen, err
	}
	return portal.Sight{Done: len(missing) == 0, Clean: true, Repeatable: true}, nil
}

func (t *turn) missingLines() (map[string]string, error) {
	lines, _, err := t.settings()
	for key, value := range lines {
		if there, ok := t.config.Raw[key]; ok && (key != "memory" || there == value) {
			delete(lines, key)
		}
	}
	return lines, err
}

func intendSettings(t *turn) error {
	if s, err := t.status(); err != nil {
		return t.over(t.cannotLook(err))
	} else if s.Status != "stopped" { // somebody has started what is left
		return t.over(t.onward(portal.StepPowerOff))
	}
	if !t.config.Stump() && !t.ours(t.config) {
		return t.over(t.foreignRemains(t.config))
	}
	missing, err := t.missingLines()
	if err != nil {
		return t.over(t.cannotLook(err))
	}
	if lines := pve.ReadGuestConfig(missing); t.config.Stump() && lines.UUID == "" {
		if err := t.e.db.BareMachine(t, t.op.ServiceID, identityOf(lines).MACs, t.op.UID); err != nil {
			return err
		}
	}
	keys := slices.Sorted(maps.Keys(missing))
	t.op.IntentNode = t.op.Node
	t.audit("pve.config", fmt.Sprintf("node %s vmid %d from scratch: %s", t.op.Node, t.sit.Service.VMID, strings.Join(keys, " ")))
	t.note("begun", "The settings that your machine had are put back.", strings.Join(keys, " "))
	return nil
}

func sendSettings(t *turn) (string, error) {
	missing, err := t.missingLines()
	if err != nil {
		return "", err
	}
	return "", t.link.client.SetConfig(t, t.op.Node, t.sit.Service.VMID, pve.ConfigChange{Set: missing, Digest: t.config.Digest})
}

func afterSettings(t *turn) error {
	t.note("done", "Your machine has its name, its processors, its memory and its network card again.", "")
	if t.op.Work.Way == portal.WayCloudInit {
		return t.onward(portal.StepDrive)
	}
	return t.onward(portal.StepInstall)
}

// driveErrand makes the drive that cloud-init reads, or attaches the one that is left.
var driveErrand = errand{
	call: "pve.drive", types: []string{"qmconfig"}, tries: 3, wrong: reinstallWrong,
	begun: func(*turn) portal.Text { return "The drive that tells the system its settings is made." },
	done: func(t *turn, _ portal.TaskSight) (bool, error) {
		config, err := t.link.client.GuestConfig(t, t.op.Node, t.sit.Service.VMID)
		if err != nil {
			return false, err
		}
		t.config = config
		return cloudInitDrive(config), nil
	},
	send: sendDrive,
	next: func(t *turn) error { return t.onward(portal.StepInstall) },
}

func sendDrive(t *turn) (pve.UPID, error) {
	i := slices.IndexFunc(pve.ReadGuestConfig(t.op.Work.Config).Disks, func(d pve.Disk) bool { return isCloudInit(d.Volid) })
	if i < 0 {
		return pve.UPID{}, errors.New("the config before had no such drive")
	}
	drive := pve.ReadGuestConfig(t.op.Work.Config).Disks[i]
	images, err := t.link.client.Images(t, t.op.Node, drive.Storage, t.sit.Service.VMID)
	if err != nil {
		return pve.UPID{}, err
	}
	value := drive.Storage + ":cloudinit"
	for _, image := range images {
		if owner, ok := pve.VolumeOwner(image.Volid); ok && owner == t.sit.Service.VMID && isCloudInit(image.Volid) {
			value = image.Volid + ",media=cdrom"
		}
	}
	return t.link.client.StartSetConfig(t, t.op.Node, t.sit.Service.VMID, pve.ConfigChange{Set: map[string]string{drive.Key: value}, Digest: t.config.Digest})
}
