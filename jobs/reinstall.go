package jobs

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"stowage/portal"
	"stowage/pve"
	"stowage/store"
)

// A machine is installed anew without being destroyed: it keeps its number, identity, cards, further disks and archives.
// Its snapshots are dropped one by one, its system disk is taken off (the volume stays), the template's is copied into its
// place, and the package is applied. Only when the new system was started is the old volume destroyed. From the moment
// when the old disk is off until the machine is as sold it is not whole: what fails then is held.

// reinstallPreflight sees to all that can be known before anything is touched.
func (t *turn) reinstallPreflight(config pve.GuestConfig) error {
	if config.Raw["protection"] == "1" { // Proxmox lets no disk go then (qemu-server, PVE/API2/Qemu.pm)
		return t.fail("Your machine is protected against being overwritten on its host, so nothing was done. Our team can end that.", "protection: 1 in the config")
	}
	got := machineOf(config, t.sit.Service.VMID, t.op.Work.Was == "running")
	system, found := got.SystemDisk(portal.Wanted(t.sit.Product, t.sit.Service).System.Device)
	if !found || system.Storage == "" || !got.Owns(system.Volid) {
		return t.fail(portal.Sentences("Your machine has no disk that is plainly its system disk, so nothing was done.", t.unharmed()), fmt.Sprintf("system disk: %q on %q", system.Volid, system.Key))
	}
	source, goOn, err := t.templateDisk(system.Storage)
	if err != nil || !goOn {
		return err
	}
	snapshots, err := t.link.client.Snapshots(t, t.op.Node, t.sit.Service.VMID)
	if err != nil {
		return t.unanswered(err)
	}
	actions := []pve.Action{pve.Power, pve.ImportDisk, pve.SetCPU, pve.SetMemory, pve.SetDisks, pve.SetNetwork, pve.SetOptions}
	if len(snapshots.List) > 0 {
		actions = append(actions, pve.TakeSnapshot)
	}
	if cloudInitDrive(config) {
		actions = append(actions, pve.SetCloudInit)
	}
	if ok, err := t.mayDo(pve.Scene{Source: t.op.Work.From, Storages: []string{system.Storage}}, actions...); !ok {
		return err
	}
	w := &t.op.Work
	if !w.Broken { // else what it was is kept already
		w.Config, w.Disks = config.Raw, hardwareOf(config).Disks
	}
	w.Device, w.Old, w.Storage, w.Source = system.Key, system.Volid, system.Storage, source
	if cloudInitDrive(config) {
		w.Way, w.User = portal.WayCloudInit, administrator(config)
	}
	t.note("done", "Checked your machine, the system to install and the space for it.", fmt.Sprintf("%s becomes a copy of %s, template %d", system.Key, source, w.From))
	if w.Was == "stopped" {
		return t.offForReinstall()
	}
	return t.onward(portal.StepPowerOff)
}

// offForReinstall goes on when the machine is off.
func (t *turn) offForReinstall() error {
	if t.op.Work.Scratch {
		return t.onward(portal.StepSettings)
	}
	return t.onward(portal.StepSnapshotDelete)
}

// templateDisk gives the volume of the template's system disk, where it is fit to be copied to a storage.
func (t *turn) templateDisk(storage string) (volid string, goOn bool, err error) {
	const sorry = "The system that you chose can't be installed on this machine's host just now. Our team has been told."
	refuse := func(staff string) (string, bool, error) {
		return "", false, t.fail(portal.Sentences(sorry, t.unharmed()), fmt.Sprintf("template %q (%d): %s", t.op.Work.Template, t.op.Work.From, staff))
	}
	resources, err := t.link.client.Resources(t)
	if err != nil {
		return "", false, t.unanswered(err)
	}
	i := slices.IndexFunc(resources.Guests, func(g pve.GuestResource) bool { return g.VMID == t.op.Work.From && g.Type == "qemu" })
	switch {
	case i < 0:
		return refuse("no such machine")
	case !resources.Guests[i].Template:
		return refuse("the machine is no template")
	case resources.Guests[i].Node != t.op.Node:
		return refuse(fmt.Sprintf("it is on node %s, the machine on %s: Proxmox copies a disk only from a machine on the same node. Put a template of that number's content on each node", resources.Guests[i].Node, t.op.Node))
	}
	config, err := t.link.client.GuestConfig(t, t.op.Node, t.op.Work.From)
	if err != nil {
		return "", false, t.unanswered(err)
	}
	if t.op.Work.Scratch && config.Raw["bios"] == "ovmf" {
		return "", false, t.fail("The system that you chose needs a firmware that the portal can't set up on what is left of your machine. Our team does that: tell them the reference, or choose another system.",
			fmt.Sprintf("template %q (%d) has bios: ovmf, which needs an EFI disk and VM.Config.HWType", t.op.Work.Template, t.op.Work.From))
	}
	disk, found := machineOf(config, t.op.Work.From, false).SystemDisk("")
	if owner, ok := pve.VolumeOwner(disk.Volid); !found || !ok || owner != t.op.Work.From {
		return refuse(fmt.Sprintf("its system disk is not plain: %q", disk.Volid))
	}
	place, err := t.link.client.StorageStatus(t, t.op.Node, storage)
	if err != nil {
		return "", false, t.unanswered(err)
	}
	need := disk.Size
	if images, err := t.link.client.Images(t, t.op.Node, disk.Storage, t.op.Work.From); err == nil {
		for _, image := range images {
			if image.Volid == disk.Volid && image.Used > 0 {
				need = image.Used
			}
		}
	}
	switch {
	case !place.Active || !place.Enabled:
		return refuse("the storage " + storage + " is not active")
	case place.Avail < need:
		return refuse(fmt.Sprintf("the storage %s has %s left, the template takes %s", storage, portal.Bytes(place.Avail), portal.Bytes(need)))
	}
	return disk.Volid, true, nil
}

// reinstallWrong says why a step of it failed. A machine that is whole and was switched off for it can be started.
func reinstallWrong(t *turn, failure string) portal.Text {
	text := plainMachine(failure)
	if !t.op.Work.Broken && t.op.Work.Was == "running" {
		text = portal.Sentences(text, "Your machine is as it was, but off: start it again.")
	}
	return text
}

// dropSnapshots removes the machine's snapshots, the newest first, each by a request of its own.
var dropSnapshots = errand{
	call: "pve.snapshot_delete", types: []string{"qmdelsnapshot"}, tries: 3, wrong: reinstallWrong,
	begun: func(*turn) portal.Text { return "The snapshots are removed, one after the other." },
	done: func(t *turn, _ portal.TaskSight) (bool, error) {
		s, err := t.link.client.Snapshots(t, t.op.Node, t.sit.Service.VMID)
		if err != nil {
			return false, err
		}
		if now := t.op.Work.Now; now != nil && !t.op.IntentAt.IsZero() {
			_, there := s.Get(now.Key)
			return !there, nil
		}
		return len(s.List) == 0, nil
	},
	ready: func(t *turn) error {
		s, err := t.link.client.Snapshots(t, t.op.Node, t.sit.Service.VMID)
		if err != nil {
			return t.over(t.cannotLook(err))
		}
		if len(s.List) == 0 {
			return t.over(t.onward(portal.StepDetach))
		}
		t.op.Work.Now = &portal.Applied{Name: "snapshot", Key: s.List[len(s.List)-1].Name}
		return nil
	},
	send: func(t *turn) (pve.UPID, error) {
		return t.link.client.DeleteSnapshot(t, t.op.Node, t.sit.Service.VMID, t.op.Work.Now.Key, false)
	},
}

// detachStep takes the old system disk off. From its request on the machine is not whole.
var detachStep = step{
	look: func(t *turn) (seen portal.Sight, err error) {
		config, err := t.link.client.GuestConfig(t, t.op.Node, t.sit.Service.VMID)
		if err != nil {
			return seen, err
		}
		t.config = config
		d, there := t.disk(t.op.Work.Device)
		return portal.Sight{Done: !there || d.Volid != t.op.Work.Old, Clean: true, Repeatable: true}, nil
	},
	intend: func(t *turn) error {
		if s, err := t.status(); err != nil {
			return t.over(t.cannotLook(err))
		} else if s.Status != "stopped" { // somebody started it meanwhile
			return t.over(t.onward(portal.StepPowerOff))
		}
		t.op.IntentNode, t.op.Work.Broken = t.op.Node, true
		t.audit("pve.detach", fmt.Sprintf("node %s vmid %d %s: %s", t.op.Node, t.sit.Service.VMID, t.op.Work.Device, t.op.Work.Old))
		t.note("begun", "The old system disk is taken off; it is kept until the new system runs.", t.op.Work.Old)
		return nil
	},
	send: func(t *turn) (string, error) {
		return "", t.link.client.DetachDisk(t, t.op.Node, t.sit.Service.VMID, t.op.Work.Device, t.config.Digest)
	},
	next:   func(t *turn) error { return t.onward(portal.StepInstall) },
	failed: func(t *turn) error { return t.errandFailed(reinstallWrong(t, t.failure), 3) },
}

// installErrand copies the template's disk into the place of the old one.
var installErrand = errand{
	call: "pve.install", types: []string{"qmconfig"}, tries: 3, wrong: reinstallWrong,
	begun: func(t *turn) portal.Text { return portal.Say("%s is copied onto a new disk.", t.op.Work.Template) },
	done: func(t *turn, _ portal.TaskSight) (bool, error) {
		config, err := t.link.client.GuestConfig(t, t.op.Node, t.sit.Service.VMID)
		if err != nil {
			return false, err
		}
		t.config = config
		d, there := t.disk(t.op.Work.Device)
		return there && d.Volid != t.op.Work.Old && d.SizeBytes > 0, nil
	},
	send: sendInstall,
	next: func(t *turn) error {
		d, _ := t.disk(t.op.Work.Device)
		t.note("done", "The new system disk is in place.", d.Volid)
		return t.onward(portal.StepReapply)
	},
}

// systemWas is the drive that was the machine's system disk before.
func (t *turn) systemWas() portal.MachineDrive {
	device := t.op.Work.Device
	if t.op.Work.Scratch {
		device = portal.Wanted(t.sit.Product, t.sit.Service).System.Device
	}
	return machineOf(pve.ReadGuestConfig(t.op.Work.Config), t.sit.Service.VMID, false).SystemWas(device)
}

func sendInstall(t *turn) (pve.UPID, error) {
	w := t.op.Work
	place, err := t.link.client.StorageStatus(t, t.op.Node, w.Storage)
	if err != nil {
		return pve.UPID{}, err
	}
	options := t.systemWas().Options
	if w.Virtio {
		options = options.OnVirtio()
	}
	delete(options, "format")
	value, err := pve.DiskImport{Storage: w.Storage, From: w.Source, Format: portal.DiskPlace{Type: place.Type}.Format(), Options: propertiesOf(options)}.Value()
	if err != nil {
		return pve.UPID{}, err
	}
	return t.link.client.StartSetConfig(t, t.op.Node, t.sit.Service.VMID, pve.ConfigChange{Set: map[string]string{w.Device: value}, Digest: t.config.Digest})
}

// reinstalled goes on when the machine is as sold: the password, the start, the proof.
func (t *turn) reinstalled() error {
	if t.op.Work.Way == portal.WayCloudInit {
		return t.onward(portal.StepPassword)
	}
	return t.reinstallStart()
}

func (t *turn) reinstallStart() error { return t.onward(portal.StepStart) }

// startedAnew goes on when the new system was started.
func startedAnew(t *turn) error {
	t.op.ProgressAt = t.now
	return t.onward(portal.StepProof)
}

// proofFor is how long the new system may take until its guest agent answers.
const proofFor = 5 * time.Minute

// lookAgent waits until the guest agent of the new system answers, where the machine has one. A system without one is
// proof enough by running.
func lookAgent(t *turn) (seen portal.Sight, err error) {
	s, err := t.status()
	if err != nil {
		return seen, err
	}
	if s.Status != "running" {
		t.failure = "the machine stopped again by itself: " + s.Status
		return seen, t.over(t.stop("Your machine stopped again by itself. The old system disk is still there.", t.failure))
	}
	config, err := t.link.client.GuestConfig(t, t.op.Node, t.sit.Service.VMID)
	if err != nil {
		return seen, err
	}
	silent := error(nil)
	if agentOn(config) {
		_, silent = t.link.client.AgentInterfaces(t, t.op.Node, t.sit.Service.VMID)
	}
	switch {
	case silent == nil && agentOn(config):
		t.note("done", "The new system runs and answers.", "")
	case silent == nil:
		t.note("done", "The new system runs.", "")
	case t.now.Sub(t.op.ProgressAt) < proofFor:
		t.op.RunAfter = t.now.Add(errandPause)
		return seen, t.over(t.save("waits for the agent"))
	default:
		t.note("note", "The new system runs. Its guest agent has not answered yet; it may have none.", silent.Error())
	}
	if t.op.Work.Scratch { // it leaves nothing
		return seen, t.over(t.installedAnew())
	}
	return seen, t.over(t.onward(portal.StepTidy))
}

// tidyStep destroys the volumes that the old system has left. Where it can't, the machine is fine all the same.
var tidyStep = step{
	look: func(t *turn) (seen portal.Sight, err error) {
		if t.config, err = t.link.client.GuestConfig(t, t.op.Node, t.sit.Service.VMID); err != nil {
			return seen, err
		}
		return portal.Sight{Done: t.unusedKey() == "", Clean: true, Repeatable: true}, nil
	},
	intend: func(t *turn) error {
		t.op.IntentNode = t.op.Node
		t.audit("pve.destroy_unused", fmt.Sprintf("node %s vmid %d %s: %s", t.op.Node, t.sit.Service.VMID, t.unusedKey(), t.config.Raw[t.unusedKey()]))
		return nil
	},
	send: func(t *turn) (string, error) {
		return "", t.link.client.DestroyUnused(t, t.op.Node, t.sit.Service.VMID, t.unusedKey(), t.config.Digest)
	},
	next: func(t *turn) error { return t.tidied() },
	failed: func(t *turn) error {
		if t.op.Attempt++; t.op.Attempt < 3 {
			t.op.RunAfter = t.now.Add(errandPause)
			return t.save("tidy again")
		}
		t.tellStaff("reinstall.left", "the old system volume "+t.config.Raw[t.unusedKey()]+" could not be destroyed: "+t.failure)
		t.op.Warning = "The old system disk could not be removed; our team does that."
		return t.tidied()
	},
}

// tidied ends it well.
func (t *turn) tidied() error {
	if t.op.Kind == portal.KindRestore {
		return t.restored()
	}
	return t.installedAnew()
}

// discarded tells whether a volume is one that the old system has left: no additional disk, and to be destroyed.
func (t *turn) discarded(volid string) bool {
	return volid != "" && (volid == t.op.Work.Old || slices.Contains(t.op.Work.Left, volid))
}

// unusedKey is the first line that names a volume that the old system has left, or "".
func (t *turn) unusedKey() string {
	for _, key := range slices.Sorted(maps.Keys(t.config.Raw)) {
		if volid, _ := pve.ParseProperties(t.config.Raw[key]).Get(""); strings.HasPrefix(key, "unused") && t.discarded(volid) {
			return key
		}
	}
	return ""
}

// installedAnew ends it well.
func (t *turn) installedAnew() error {
	if err := t.e.db.ReadConfigAgain(t, t.op.ServiceID); err != nil {
		return err
	}
	t.changes.Messages = append(t.changes.Messages, store.Message{Channel: store.ToClient, ServiceID: t.op.ServiceID, Topic: portal.TopicMachineReady,
		Payload: portal.Notice{Operation: t.op.UID, Reference: t.op.Reference}})
	text := portal.Say("Your machine runs with %s.", t.op.Work.Template)
	if t.op.Work.User != "" {
		text = portal.Say("Your machine runs with %s. Sign in as %s.", t.op.Work.Template, t.op.Work.User)
	}
	return t.end(portal.StateSucceeded, text, "", portal.SlotDone)
}

func init() {
	dropSnapshots.next = func(t *turn) error {
		if t.op.Work.Now == nil { // there is none left
			return t.onward(portal.StepDetach)
		}
		t.op.Work.Now = nil
		return t.onward(portal.StepSnapshotDelete)
	}
}
