package pvetest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"stowage/pve"
)

// The chapters of this file change the machine, which the target has to allow. Before the first of them a backup is
// made, and whatever happens the machine is restored from it at the end: its snapshots and what was written meanwhile
// are lost.

// change is what the changing chapters share.
type change struct {
	safe    string // volid of the archive that the machine is put back from; "" before it is there
	clone   int    // machine that was made and has to go
	name    string // of snapshots and the like
	dirty   bool   // the machine is not as it was
	storage string // of the machine's first disk
	disk    string // key of that disk
}

// permitted: the target allows it, and the token may.
func permitted(r *run) bool {
	if !r.Destroy {
		r.say("left out: the target allows no changes")
		return false
	}
	disk := r.config.BackedUpDisks()[0]
	r.change = change{storage: disk.Storage, disk: disk.Key, name: "pvetest"}
	var networks []string
	for _, n := range r.config.Nets {
		if n.Bridge != "" {
			networks = append(networks, n.Bridge)
		}
	}
	scene := pve.Scene{VMID: r.VMID, NewID: r.unusedNumber(), Storages: []string{disk.Storage}, Backup: r.Storage, Networks: networks}
	for _, a := range []pve.Action{
		pve.See, pve.BackUp, pve.RestoreOver, pve.Power, pve.TakeSnapshot, pve.RollBack, pve.SetCPU, pve.SetDisks, pve.SetNetwork, pve.SetOptions, pve.SetCloudInit,
		pve.CopyMachine, pve.DestroyAll, pve.AskAgent, pve.UseAgent,
	} {
		for _, lack := range r.rights.Lacks(pve.Demands(a, r.release.Major, scene)) {
			r.differs("to %s the token lacks %s on %s", a, strings.Join(lack.Any, " or "), lack.Path)
		}
	}
	snapshots, err := r.pve.Snapshots(r.ctx, r.Node, r.VMID)
	r.fine("the machine's snapshots", err)
	r.holds(len(snapshots.List) == 0 && snapshots.Digest == r.config.Digest, "it has snapshots, which would be lost, or another digest: %+v", snapshots)
	pending, err := r.pve.Pending(r.ctx, r.Node, r.VMID)
	r.fine("its pending changes", err)
	r.holds(len(pending) == 0, "it has pending changes, which would be lost: %+v", pending)
	r.holds(len(r.config.Unused) == 0, "it has unused volumes: %v", r.config.Unused)
	return !slices.ContainsFunc(r.differ, func(d Difference) bool { return d.Chapter == r.chapter })
}

// work starts a task and gives how it ended. A held lock file is met again and again for a minute, as after a stop on
// 9.x: nothing was changed by it.
func (r *run) work(what string, start func() (pve.UPID, error)) pve.TaskStatus {
	var status pve.TaskStatus
	r.until(time.Minute, func() bool {
		upid, err := start()
		if pve.ReasonOf(err) == pve.LockFile {
			return false
		}
		if !r.fine(what, err) {
			return true
		}
		if upid.IsZero() {
			status = pve.TaskStatus{Known: true, Exit: "OK"}
			return true
		}
		r.own(upid)
		status, _ = r.ended(what, upid, longWork)
		_, reason := pve.Meaning(status.Exit)
		return reason != pve.LockFile
	})
	return status
}

// works is work that has to end well.
func (r *run) works(what string, start func() (pve.UPID, error)) bool {
	status := r.work(what, start)
	return r.holds(status.OK(), "%s: its task ended %q", what, status.Exit)
}

// fails is work that has to end in one way.
func (r *run) fails(what string, class pve.Class, reason pve.Reason, start func() (pve.UPID, error)) {
	status := r.work(what, start)
	gotClass, gotReason := pve.Meaning(status.Exit)
	r.holds(!status.OK() && gotClass == class && gotReason == reason, "%s: its task ended %q, expected %s %s", what, status.Exit, class, reason)
}

// becomes waits until the machine is running or stopped, and free.
func (r *run) becomes(status string) bool {
	var now pve.GuestStatus
	var err error
	so := r.until(shortWork, func() bool {
		now, err = r.pve.GuestStatus(r.ctx, r.Node, r.VMID)
		return err == nil && now.Status == status && now.Lock == ""
	})
	return r.holds(so, "the machine is %s with the lock %q, expected %s (%v)", now.Status, now.Lock, status, err)
}

func (r *run) look() pve.GuestConfig {
	config, err := r.pve.GuestConfig(r.ctx, r.Node, r.VMID)
	r.fine("the machine's configuration", err)
	return config
}

// changes: one chapter that is left out as a whole, or goes through all that follows.
func changes(r *run) bool {
	if !permitted(r) {
		return true
	}
	for _, part := range []struct {
		name string
		try  func(*run) bool
	}{
		{"backup before the changes", safety}, {"firewall", firewall}, {"configuration", configuration}, {"disks", disks}, {"power", power},
		{"snapshots", snapshots}, {"guest agent", agent}, {"restore", restore}, {"clone", clone},
	} {
		r.chapter = part.name
		r.say("%s", r.chapter)
		if !part.try(r) || r.ctx.Err() != nil {
			return false
		}
	}
	return true
}

// safety: the archive that the machine is put back from, and the configuration inside it.
func safety(r *run) bool {
	upid, _, started := r.dump("the backup", 0)
	if !started {
		return false
	}
	status, log := r.ended("the backup", upid, longWork)
	if !r.holds(status.OK() && log.Archive != "", "it ended %q", status.Exit) {
		return false
	}
	kept, err := r.pve.ArchivedConfig(r.ctx, r.Node, log.Archive)
	if !r.fine("the archive's configuration", err) {
		return false
	}
	for key, value := range r.config.Raw {
		r.holds(slices.Contains([]string{"digest", "vmgenid", "description"}, key) || kept.Raw[key] == value, "the archive's configuration has %s %q, the machine %q", key, kept.Raw[key], value)
	}
	for _, d := range r.config.BackedUpDisks() {
		r.holds(slices.Contains(kept.Drives, d.Key), "the archive has no data of %s but of %v", d.Key, kept.Drives)
	}
	_, err = r.pve.ArchivedConfig(r.ctx, r.Node, r.ghost())
	r.refused("the configuration of an archive that is not there", err, pve.Gone, "")
	r.change.safe, r.change.dirty = log.Archive, true
	return true
}

// firewall: that it can be read whole.
func firewall(r *run) bool {
	_, err := r.pve.FirewallOptions(r.ctx, r.Node, r.VMID)
	r.fine("the firewall's options", err)
	rules, err := r.pve.FirewallRules(r.ctx, r.Node, r.VMID)
	r.fine("its rules", err)
	for i, rule := range rules {
		r.holds(rule["pos"] == fmt.Sprint(i) && rule["type"] != "", "rule %d is %v", i, rule)
	}
	_, err = r.pve.FirewallAliases(r.ctx, r.Node, r.VMID)
	r.fine("its aliases", err)
	sets, err := r.pve.FirewallIPSets(r.ctx, r.Node, r.VMID)
	r.fine("its sets", err)
	for _, set := range sets {
		_, err = r.pve.FirewallIPSet(r.ctx, r.Node, r.VMID, set["name"])
		r.fine("its set "+set["name"], err)
	}
	return true
}

// configuration: a change and back, an old digest, options that stay what they are.
func configuration(r *run) bool {
	set := func(what string, ch pve.ConfigChange) { r.fine(what, r.pve.SetConfig(r.ctx, r.Node, r.VMID, ch)) }
	before := r.look()
	set("a description", pve.ConfigChange{Digest: before.Digest, Set: map[string]string{"description": "pvetest — größer\nline two"}})
	now := r.look()
	r.holds(now.Raw["description"] == "pvetest — größer\nline two" && now.Digest != before.Digest, "the description reads back %q", now.Raw["description"])
	r.refused("an old digest", r.pve.SetConfig(r.ctx, r.Node, r.VMID, pve.ConfigChange{Digest: before.Digest, Set: map[string]string{"description": "x"}}), pve.Refused, pve.Digest)
	r.refused("an unknown option", r.pve.SetConfig(r.ctx, r.Node, r.VMID, pve.ConfigChange{Set: map[string]string{"pvetest": "x"}}), pve.Refused, pve.Parameter)
	set("no description", pve.ConfigChange{Delete: []string{"description"}})

	set("three cores", pve.ConfigChange{Set: map[string]string{"cores": "3"}})
	pending, err := r.pve.Pending(r.ctx, r.Node, r.VMID)
	r.fine("the pending changes", err)
	if r.status.Status == "running" {
		r.holds(slices.ContainsFunc(pending, func(p pve.PendingChange) bool { return p.Key == "cores" && p.New == "3" }), "cores of a running machine are not pending: %+v", pending)
		set("reverting the cores", pve.ConfigChange{Revert: []string{"cores"}})
	} else {
		r.holds(len(pending) == 0, "a machine that is off has pending changes: %+v", pending)
	}
	if len(now.Nets) > 0 {
		value, err := now.Nets[0].With(pve.Properties{{Key: "rate", Value: "12.5"}})
		r.fine("a card's limit", err)
		set("a card's limit", pve.ConfigChange{Set: map[string]string{now.Nets[0].Key: value}})
		var after pve.Net // stays empty where the configuration can't be read
		for _, n := range r.look().Nets {
			if n.Key == now.Nets[0].Key {
				after = n
			}
		}
		r.holds(after.Rate == 12.5 && after.MAC == now.Nets[0].MAC && after.Bridge == now.Nets[0].Bridge && after.Firewall == now.Nets[0].Firewall, "the card became %q from %q", after.Raw, now.Nets[0].Raw)
	}
	set("what cloud-init says", pve.ConfigChange{Set: pve.CloudInit{User: "pvetest"}.Set(), Password: "pvetest-" + pve.Secret(r.change.name)})
	now = r.look()
	r.holds(now.Raw["ciuser"] == "pvetest" && strings.Trim(now.Raw["cipassword"], "*") == "" && now.Raw["cipassword"] != "", "cloud-init's login is %q, its password %q", now.Raw["ciuser"], now.Raw["cipassword"])
	r.fine("writing the cloud-init drive", r.pve.RegenerateCloudInit(r.ctx, r.Node, r.VMID))
	set("nothing of cloud-init", pve.ConfigChange{Delete: []string{"ciuser", "cipassword"}})
	return true
}

func (r *run) drive(key string) (pve.Disk, bool) {
	config := r.look()
	i := slices.IndexFunc(config.Disks, func(d pve.Disk) bool { return d.Key == key })
	if i < 0 {
		return pve.Disk{}, false
	}
	return config.Disks[i], true
}

// disks: one grows, another is made, taken off, put back and destroyed.
func disks(r *run) bool {
	first, _ := r.drive(r.change.disk)
	larger := first.SizeBytes/(1<<20)*(1<<20) + 64<<20
	r.works("growing", func() (pve.UPID, error) { return r.pve.Resize(r.ctx, r.Node, r.VMID, first, larger, "") })
	first, _ = r.drive(first.Key)
	r.holds(first.SizeBytes == larger, "the disk has %d bytes, expected %d", first.SizeBytes, larger)
	r.fails("growing with an old digest", pve.Refused, pve.Digest, func() (pve.UPID, error) {
		return r.pve.Resize(r.ctx, r.Node, r.VMID, first, larger+1<<20, strings.Repeat("0", 40))
	})

	config := r.look()
	key := config.FreePlace("scsi")
	value, err := pve.NewDisk{Storage: r.change.storage, SizeBytes: 64 << 20, Format: formatOf(first)}.Value()
	r.fine("a new disk", err)
	if !r.works("making a disk", func() (pve.UPID, error) {
		return r.pve.StartSetConfig(r.ctx, r.Node, r.VMID, pve.ConfigChange{Set: map[string]string{key: value}})
	}) {
		return true
	}
	made, found := r.drive(key)
	r.holds(found && made.SizeBytes == 64<<20, "the new disk is %q", made.Raw)
	images, err := r.pve.Images(r.ctx, r.Node, r.change.storage, r.VMID)
	r.fine("the machine's volumes", err)
	r.holds(slices.ContainsFunc(images, func(i pve.Image) bool { return i.Volid == made.Volid }), "the new disk %s is not among its volumes", made.Volid)
	r.fine("taking it off", r.pve.DetachDisk(r.ctx, r.Node, r.VMID, key, ""))
	off := r.until(shortWork, func() bool { return slices.Contains(r.look().Unused, made.Volid) })
	if !r.holds(off, "taken off, it is not among the unused: %v", r.look().Unused) {
		return true
	}
	value, err = pve.AttachDisk(made.Volid, r.VMID, nil)
	r.fine("the volume's name", err)
	r.fine("putting it back", r.pve.SetConfig(r.ctx, r.Node, r.VMID, pve.ConfigChange{Set: map[string]string{key: value}}))
	back, _ := r.drive(key)
	r.holds(back.Volid == made.Volid && back.SizeBytes == made.SizeBytes, "put back, it is %q", back.Raw)
	r.fine("taking it off", r.pve.DetachDisk(r.ctx, r.Node, r.VMID, key, ""))
	r.until(shortWork, func() bool { return slices.Contains(r.look().Unused, made.Volid) })
	r.dropUnused()
	images, err = r.pve.Images(r.ctx, r.Node, r.change.storage, r.VMID)
	r.fine("the machine's volumes", err)
	r.holds(!slices.ContainsFunc(images, func(i pve.Image) bool { return i.Volid == made.Volid }), "destroyed, %s is still there", made.Volid)
	return true
}

// dropUnused destroys every volume that hangs on no drive: there was none at first.
func (r *run) dropUnused() {
	config := r.look()
	for key := range config.Raw {
		if strings.HasPrefix(key, "unused") {
			r.fine("destroying "+key, r.pve.DestroyUnused(r.ctx, r.Node, r.VMID, key, ""))
		}
	}
}

// formatOf is how a disk's file is written; "" on storages without files.
func formatOf(d pve.Disk) string {
	for _, format := range []string{"qcow2", "raw", "vmdk"} {
		if strings.HasSuffix(d.Volid, "."+format) {
			return format
		}
	}
	return ""
}

// off takes the machine's power away.
func (r *run) off() bool {
	r.works("stopping", func() (pve.UPID, error) { return r.pve.Stop(r.ctx, r.Node, r.VMID, true) })
	return r.becomes("stopped")
}

func (r *run) on() bool {
	if now, err := r.pve.GuestStatus(r.ctx, r.Node, r.VMID); err == nil && now.Status == "running" {
		return true
	}
	r.works("starting", func() (pve.UPID, error) { return r.pve.Start(r.ctx, r.Node, r.VMID) })
	return r.becomes("running")
}

// power: on, off, and what can't be done to a machine that is off or on already.
func power(r *run) bool {
	if !r.off() {
		return false
	}
	r.works("stopping what is off", func() (pve.UPID, error) { return r.pve.Stop(r.ctx, r.Node, r.VMID, false) })
	_, err := r.pve.Reset(r.ctx, r.Node, r.VMID)
	r.refused("resetting what is off", err, pve.Refused, pve.NotRunning)
	_, err = r.pve.Reboot(r.ctx, r.Node, r.VMID, time.Minute)
	r.refused("rebooting what is off", err, pve.Refused, pve.NotRunning)
	if !r.on() {
		return false
	}
	r.fails("starting what runs", pve.Refused, pve.Running, func() (pve.UPID, error) { return r.pve.Start(r.ctx, r.Node, r.VMID) })
	r.works("resetting", func() (pve.UPID, error) { return r.pve.Reset(r.ctx, r.Node, r.VMID) })
	r.works("shutting down, with force", func() (pve.UPID, error) { return r.pve.Shutdown(r.ctx, r.Node, r.VMID, 5*time.Second, true) })
	return r.becomes("stopped")
}

// snapshots: without memory and with it, and the ways back.
func snapshots(r *run) bool {
	can, err := r.pve.CanSnapshot(r.ctx, r.Node, r.VMID)
	r.fine("whether it can have snapshots", err)
	plain, ram := r.change.name, r.change.name+"-ram"
	take := func(name string, memory bool) func() (pve.UPID, error) {
		return func() (pve.UPID, error) {
			return r.pve.CreateSnapshot(r.ctx, r.Node, r.VMID, name, "before\nthe upgrade", memory)
		}
	}
	if !can {
		r.fails("a snapshot of what can have none", pve.Refused, pve.Feature, take(plain, false))
		return true
	}
	r.works("a snapshot", take(plain, false))
	r.fails("the same again", pve.Refused, pve.Exists, take(plain, false))
	if !r.on() {
		return false
	}
	r.works("a snapshot with memory", take(ram, true))
	list, err := r.pve.Snapshots(r.ctx, r.Node, r.VMID)
	r.fine("the snapshots", err)
	one, _ := list.Get(plain)
	two, _ := list.Get(ram)
	r.holds(len(list.List) == 2 && list.Current == ram && two.Parent == plain && two.RAM && !one.RAM && one.Description == "before\nthe upgrade" && list.Running, "the snapshots are %+v", list)
	r.fine("another description", r.pve.SetSnapshotDescription(r.ctx, r.Node, r.VMID, plain, "after"))
	kept, err := r.pve.SnapshotConfig(r.ctx, r.Node, r.VMID, plain)
	r.fine("the snapshot's configuration", err)
	r.holds(kept.Raw["description"] == "after" && kept.UUID == r.config.UUID, "the snapshot keeps %+v", kept.Raw)
	r.works("going back to the first", func() (pve.UPID, error) { return r.pve.Rollback(r.ctx, r.Node, r.VMID, plain, false) })
	r.becomes("stopped")
	r.fails("going back to what isn't there", pve.Gone, "", func() (pve.UPID, error) { return r.pve.Rollback(r.ctx, r.Node, r.VMID, "pvetest-nope", false) })
	r.works("going back to the one with memory", func() (pve.UPID, error) { return r.pve.Rollback(r.ctx, r.Node, r.VMID, ram, false) })
	r.becomes("running")
	for _, name := range []string{plain, ram} {
		r.works("deleting "+name, func() (pve.UPID, error) { return r.pve.DeleteSnapshot(r.ctx, r.Node, r.VMID, name, false) })
	}
	list, err = r.pve.Snapshots(r.ctx, r.Node, r.VMID)
	r.fine("the snapshots", err)
	r.holds(len(list.List) == 0, "deleted, there are %+v", list.List)
	return true
}

// agent: it answers where one is configured and has started, and is missed in words that the portal knows.
func agent(r *run) bool {
	if !r.status.Agent {
		r.refused("an agent that is not configured", r.pve.AgentPing(r.ctx, r.Node, r.VMID), pve.Refused, pve.Agent)
		_, err := r.pve.AgentInterfaces(r.ctx, r.Node, r.VMID)
		r.refused("its interfaces", err, pve.Refused, pve.Agent)
		r.refused("a password by it", r.pve.SetUserPassword(r.ctx, r.Node, r.VMID, "pvetest", "pvetest-1"), pve.Refused, pve.Agent)
		return true
	}
	up := r.until(shortWork, func() bool { return r.pve.AgentPing(r.ctx, r.Node, r.VMID) == nil })
	if !r.holds(up, "the agent is configured and does not answer") {
		return true
	}
	cards, err := r.pve.AgentInterfaces(r.ctx, r.Node, r.VMID)
	r.fine("the system's interfaces", err)
	for _, n := range r.config.Nets {
		r.holds(slices.ContainsFunc(cards, func(i pve.Interface) bool { return i.MAC == n.MAC }), "the system has no interface with the address %s: %+v", n.MAC, cards)
	}
	// A login that the system doesn't have is refused by the system.
	if err := r.pve.SetUserPassword(r.ctx, r.Node, r.VMID, "pvetest", "pvetest-1"); err != nil {
		r.refused("the password of an unknown login", err, pve.Refused, "")
	}
	return true
}

// restore: over the machine, which comes back as it was.
func restore(r *run) bool {
	over := pve.RestoreRequest{VMID: r.VMID, Archive: r.change.safe, Over: true}
	if r.on() {
		r.fails("a restore over a running machine", pve.Refused, pve.Running, func() (pve.UPID, error) { return r.pve.Restore(r.ctx, r.Node, over) })
	}
	missing := over
	missing.Archive = r.ghost()
	_, err := r.pve.Restore(r.ctx, r.Node, missing)
	r.refused("a restore from nothing", err, pve.Gone, "")
	missing = over
	missing.Over = false
	_, err = r.pve.Restore(r.ctx, r.Node, missing)
	r.refused("a restore to a number in use", err, pve.Refused, pve.Exists)
	return r.putBack()
}

// putBack restores the machine from the backup that was made first, and says what is otherwise than it was.
func (r *run) putBack() bool {
	if !r.off() {
		return false
	}
	if !r.works("the restore", func() (pve.UPID, error) {
		return r.pve.Restore(r.ctx, r.Node, pve.RestoreRequest{VMID: r.VMID, Archive: r.change.safe, Over: true})
	}) {
		return false
	}
	r.change.dirty = false
	r.dropUnused()
	now := r.look()
	for _, list := range []map[string]string{now.Raw, r.config.Raw} {
		for key := range list {
			same := now.Raw[key] == r.config.Raw[key] || slices.Contains([]string{"digest", "vmgenid"}, key)
			r.holds(same || slices.ContainsFunc(r.config.Disks, func(d pve.Disk) bool { return d.Key == key }), "restored, the configuration's line %s is %q, it was %q", key, now.Raw[key], r.config.Raw[key])
		}
	}
	for i, d := range r.config.BackedUpDisks() {
		back := now.BackedUpDisks()
		r.holds(i < len(back) && back[i].Key == d.Key && back[i].SizeBytes == d.SizeBytes && back[i].Storage == d.Storage, "restored, disk %s is not as it was: %+v", d.Key, back)
	}
	if r.status.Status == "running" {
		return r.on()
	}
	return true
}

// clone: a machine of its own, and its end. The machine may run meanwhile.
func clone(r *run) bool {
	id, err := r.pve.NextID(r.ctx)
	if !r.fine("a free number", err) {
		return true
	}
	_, err = r.pve.Clone(r.ctx, r.Node, pve.CloneRequest{VMID: r.VMID, NewID: r.VMID, Full: true})
	r.refused("a clone to a number in use", err, pve.Refused, pve.Exists)
	r.change.clone = id
	if !r.works("a clone", func() (pve.UPID, error) {
		return r.pve.Clone(r.ctx, r.Node, pve.CloneRequest{VMID: r.VMID, NewID: id, Name: "pvetest-clone", Full: true})
	}) {
		return true
	}
	made, err := r.pve.GuestConfig(r.ctx, r.Node, id)
	r.fine("the clone's configuration", err)
	r.holds(made.Name == "pvetest-clone" && made.UUID != r.config.UUID && made.UUID != "", "the clone is %q with the identity %q", made.Name, made.UUID)
	r.dropClone()
	_, err = r.pve.GuestConfig(r.ctx, r.Node, id)
	r.refused("a clone that was destroyed", err, pve.Gone, "")
	return true
}

// dropClone destroys the clone, where this run has made one: by its number and its name.
func (r *run) dropClone() {
	if r.change.clone == 0 {
		return
	}
	made, err := r.pve.GuestConfig(r.ctx, r.Node, r.change.clone)
	if err == nil && made.Name == "pvetest-clone" {
		r.works("destroying the clone", func() (pve.UPID, error) { return r.pve.Destroy(r.ctx, r.Node, r.change.clone, false) })
	}
	r.change.clone = 0
}

// undo brings back what the changing chapters left, where they were given up half-way.
func (r *run) undo() {
	if r.change.safe == "" {
		return
	}
	// What was started and never answered comes to its end first.
	active, err := r.pve.Tasks(r.ctx, r.Node, pve.TaskFilter{Source: "active", VMID: r.VMID})
	r.fine("the machine's active tasks", err)
	for _, t := range active {
		if t.Running && t.Owner == r.TokenID {
			r.own(t.UPID)
			r.ended("what was lost", t.UPID, longWork)
		}
	}
	r.dropClone()
	if r.change.dirty {
		r.putBack()
	}
}
