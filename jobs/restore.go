package jobs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"stowage/portal"
	"stowage/pve"
	"stowage/store"
)

// A restore: preflight, power off, restore over the machine, re-apply, start, proof. Its safety copy is a backup of its
// own that goes before it.
//
// From the moment at which the restore is to be sent until the machine is in step with its package again, the operation
// calls the machine broken: it is not started, nobody else works on it, and what fails is held. Meanwhile Proxmox shows a
// stump in its place, without disks and without a lock.

// restoreErrand puts the archive in the machine's place.
var restoreErrand = errand{
	call: "pve.restore", types: []string{"qmrestore"},
	begun: func(*turn) portal.Text { return "The backup is put in the place of your machine." },
	done:  restoreDone,
	ready: restoreReady,
	send: func(t *turn) (pve.UPID, error) {
		b, ok := t.copyRow(t.op.BackupID)
		if !ok {
			return pve.UPID{}, fmt.Errorf("the copy has no row")
		}
		return t.link.client.Restore(t, t.op.Node, pve.RestoreRequest{VMID: t.sit.Service.VMID, Archive: b.Volid, Over: true})
	},
	tries: 2,
}

func restoreSteps() map[string]step {
	restore := restoreErrand.step()
	restore.look, restore.next, restore.failed = lookRestore, afterRestore, restoreFailed
	return map[string]step{
		portal.StepPowerOff: powerOff(func(t *turn) error { return t.onward(portal.StepRestore) }),
		portal.StepRestore:  restore,
		portal.StepReapply:  reapplyStep,
		portal.StepStart: powerOn(func(t *turn) error {
			if t.op.Work.Failed != "" {
				return t.fail(portal.Sentences(t.op.Work.Failed, "Your machine is as it was, and runs again."), t.op.StaffReason)
			}
			t.op.Work.Proof = &portal.Proof{Since: t.now.Unix()}
			return t.onward(portal.StepProof)
		}),
		portal.StepProof: {look: lookProof, next: (*turn).wellRestored},
		portal.StepTidy:  tidyStep,
	}
}

// restorePreflight looks at everything that can be known before the machine is touched.
func (t *turn) restorePreflight(config pve.GuestConfig) error {
	if config.Raw["protection"] == "1" {
		return t.fail("Your machine is protected against being overwritten on its host, so nothing was done. Our team can end that.", "protection: 1 in the config")
	}
	a, err := t.readArchive()
	if errors.Is(err, errDoubtful) {
		return t.later(unconfirmed, err.Error(), time.Minute)
	}
	if err != nil {
		return t.unanswered(err)
	}
	if a.wrong != "" {
		return t.fail(portal.Sentences(a.wrong, "Nothing was done; your machine is as it was."), a.staff)
	}
	vmid := t.sit.Service.VMID
	want, got, then := portal.Wanted(t.sit.Product, t.sit.Service), machineOf(config, vmid, false), machineOf(a.config.GuestConfig, vmid, false)
	all := got
	all.Drives = slices.Concat(got.Drives, then.Drives)
	places, err := t.diskPlaces(want, all)
	if err != nil {
		return t.unanswered(err)
	}
	for _, c := range portal.PlanRestore(want, then, a.config.Drives, got, places) {
		if c.Kind == portal.ChangeBlocked {
			return t.fail("After this restore your machine could not be brought back to what your package includes, so it was not begun. Our team can help.", c.Text().String())
		}
	}
	targets, text, staff, err := t.roomFor(a, got)
	if err != nil {
		return t.unanswered(err)
	}
	if text != "" {
		return t.fail(portal.Sentences(text, "Nothing was done; your machine is as it was."), staff)
	}
	scene := pve.Scene{Storages: targets, Backup: a.copy.Storage}
	for _, n := range slices.Concat(a.config.Nets, config.Nets) {
		if n.Bridge == "" {
			continue
		}
		name := n.Bridge
		if n.Tag > 0 {
			name += "/" + strconv.Itoa(n.Tag)
		}
		if !slices.Contains(scene.Networks, name) {
			scene.Networks = append(scene.Networks, name)
		}
	}
	if ok, err := t.mayDo(scene, pve.RestoreOver, pve.Power, pve.SetCPU, pve.SetMemory, pve.SetDisks, pve.SetNetwork, pve.SetOptions); !ok {
		return err
	}
	t.note("done", "Checked the backup, your machine and its storage.", fmt.Sprintf("node %s, archive %s", t.op.Node, a.copy.Volid))
	return t.onward(portal.StepPowerOff)
}

// archiveSeen is the archive that is to be restored, as it was just looked at.
type archiveSeen struct {
	copy   portal.Backup
	config pve.ArchivedConfig
	wrong  portal.Text // why it can't be restored; "" = it can
	staff  string
}

// readArchive sees that the archive is there, ours, whole as far as is known, in reach of the machine's node, and of this
// very machine.
func (t *turn) readArchive() (a archiveSeen, err error) {
	not := func(wrong portal.Text, staff string) (archiveSeen, error) {
		a.wrong, a.staff = wrong, staff
		return a, nil
	}
	b, ok := t.copyRow(t.op.BackupID)
	switch {
	case !ok || !b.Complete() || b.ServiceID != t.op.ServiceID:
		return not("The backup is not there any more.", "no complete copy of the service")
	case b.Verification == "failed":
		return not("The check of this backup has failed.", "verification failed: "+b.Volid)
	case b.Node != "" && b.Node != t.op.Node:
		return not("This backup is on another host than your machine is now.", "archive on "+b.Node+", machine on "+t.op.Node)
	}
	row, err := t.place(b.Node, b.Storage)
	if err != nil {
		return a, err
	}
	seen, archives, err := t.list(row, t.op.Node)
	if err != nil {
		return a, err
	}
	if !slices.ContainsFunc(archives, func(x store.Archive) bool { return x.Volid == b.Volid }) {
		if !seen.Authoritative {
			return a, fmt.Errorf("%w: %s", errDoubtful, seen.Doubt)
		}
		return not("The backup is not on its storage any more.", "not listed: "+b.Volid)
	}
	if b, ok = t.copyRow(b.ID); !ok || !b.Complete() || b.Verification == "failed" {
		return not("The check of this backup has failed.", "verification failed, by a fresh listing")
	}
	a.copy = b
	a.config, err = t.link.client.ArchivedConfig(t, t.op.Node, b.Volid)
	switch {
	case pve.ClassOf(err) == pve.Gone:
		return not("The backup is not on its storage any more.", err.Error())
	case pve.ReasonOf(err) == pve.Permission:
		return not("The portal lacks a right on your host.", err.Error())
	case err != nil && pve.ClassOf(err) != pve.Unreachable && pve.ClassOf(err) != pve.Ambiguous:
		return not("The backup can't be read.", err.Error())
	case err != nil:
		return a, err
	case len(a.config.Drives) == 0:
		return not("The backup holds no disk.", "no drive in the archive's config")
	case !t.sit.Service.Identity.Same(portal.Identity{UUID: strings.ToLower(a.config.UUID), Made: identityOf(a.config.GuestConfig).Made, MACs: t.sit.Service.Identity.MACs}):
		return not("This backup is of another machine than yours is now.", "archived uuid "+a.config.UUID+", expected "+t.sit.Service.Identity.UUID)
	}
	return a, nil
}

// thick are the types of storage on which disks take their whole size at once.
var thick = []string{"lvm", "zfspool", "zfs", "iscsi", "iscsidirect"}

// roomFor sees that the storages of the archived disks can take them.
func (t *turn) roomFor(a archiveSeen, got portal.Machine) (targets []string, text portal.Text, staff string, err error) {
	sizes := map[string]int64{}
	for _, d := range a.config.Disks {
		if slices.Contains(a.config.Drives, d.Key) {
			sizes[d.Storage] += d.SizeBytes
		}
	}
	targets = slices.Sorted(maps.Keys(sizes))
	for _, name := range targets {
		s, err := t.link.client.StorageStatus(t, t.op.Node, name)
		switch {
		case pve.ClassOf(err) == pve.Gone || pve.ClassOf(err) == pve.Refused:
			return nil, "A storage of the machine's disks is not there.", name + ": " + err.Error(), nil
		case err != nil:
			return nil, "", "", err
		case !s.Active || !s.Enabled || s.Total <= 0:
			return nil, "A storage of the machine's disks is offline.", "storage " + name + " is not active", nil
		case !s.Holds("images"):
			return nil, "A storage of the machine's disks takes no disks.", "storage " + name + " has no content type images", nil
		}
		space := portal.RestoreSpace{Thick: slices.Contains(thick, s.Type), Free: s.Avail, Disks: sizes[name], Archive: a.copy.Size}
		for _, d := range got.Drives {
			if d.Storage == name && slices.Contains(a.config.Drives, d.Key) {
				space.Replaced += d.Size
			}
		}
		if ok, why := portal.RestoreFits(space); !ok {
			return nil, "There is not enough space for the machine's disks.", "storage " + name + ": " + why, nil
		}
	}
	return targets, "", "", nil
}

// restoreReady sees, right before the restore is sent, that the archive can be restored and the machine is off, and keeps
// with the operation what the machine is now.
func restoreReady(t *turn) error {
	a, err := t.readArchive()
	if err != nil {
		return t.over(t.cannotLook(err))
	}
	if a.wrong != "" {
		return t.over(t.stopRestore(a.wrong, a.staff))
	}
	s, err := t.status()
	if err != nil {
		return t.over(t.cannotLook(err))
	}
	if s.Status != "stopped" {
		return t.over(t.onward(portal.StepPowerOff)) // somebody has started it
	}
	if _, text, staff, err := t.roomFor(a, machineOf(t.config, t.sit.Service.VMID, false)); err != nil {
		return t.over(t.cannotLook(err))
	} else if text != "" {
		return t.over(t.stopRestore(text, staff))
	}
	t.op.Work.Before = fingerprint(t.config.Raw)
	if t.op.Work.Broken { // what it was is kept already
		if !t.config.Stump() && !t.sit.Service.Identity.Same(identityOf(t.config)) {
			return t.over(t.hold("Another machine has taken the place of yours. Our team has been told.", "uuid "+t.config.UUID+", expected "+t.sit.Service.Identity.UUID))
		}
		t.overwrites(a, true)
		return nil
	}
	if !t.sit.Service.Identity.Same(identityOf(t.config)) {
		return t.over(t.stopRestore("Another machine has taken the place of yours.", "uuid "+t.config.UUID+", expected "+t.sit.Service.Identity.UUID))
	}
	firewall, err := t.firewall()
	if err != nil {
		return t.over(t.cannotLook(err))
	}
	t.op.Work.Config, t.op.Work.Firewall, t.op.Work.Disks = maps.Clone(t.config.Raw), firewall, hardwareOf(t.config).Disks
	t.op.Work.Broken = true
	t.overwrites(a, false)
	return nil
}

// overwrites notes which drives an archive that is to be sent takes the place of, and which volumes of the machine are
// needed by nobody once it has: its system disk where that hangs elsewhere, and what was made since it is in pieces.
func (t *turn) overwrites(a archiveSeen, again bool) {
	w, vmid, inside := &t.op.Work, t.sit.Service.VMID, a.config.Drives
	for _, key := range inside {
		if !slices.Contains(w.Inside, key) {
			w.Inside = append(w.Inside, key)
		}
	}
	before, now := machineOf(pve.ReadGuestConfig(w.Config), vmid, false), machineOf(t.config, vmid, false)
	if again { // an earlier archive has left a disk alone that this one holds: Proxmox removes only what the config names so
		for _, d := range before.Drives {
			here := slices.ContainsFunc(now.Drives, func(o portal.MachineDrive) bool { return o.Key == d.Key && o.Volid == d.Volid })
			if !d.CDROM && !here && slices.Contains(inside, d.Key) && before.Owns(d.Volid) && !slices.Contains(w.Left, d.Volid) {
				w.Left = append(w.Left, d.Volid)
			}
		}
	}
	sold := portal.Wanted(t.sit.Product, t.sit.Service).System.Device
	replaced := []string{before.Replaced(sold, inside)}
	if t.sit.Service.Identity.Bare && t.op.AfterID != 0 { // its disks were moved to another bus; what is on them was just saved
		replaced = append(replaced, before.Counterparts(machineOf(a.config.GuestConfig, vmid, false), sold, inside)...)
	}
	for _, d := range slices.Concat(now.Drives, now.Unused) {
		known := slices.ContainsFunc(slices.Concat(before.Drives, before.Unused), func(o portal.MachineDrive) bool {
			return o.Volid == d.Volid && !slices.Contains(w.Inside, o.Key) // else it is gone, and its name may be a new one's
		})
		if d.CDROM || slices.Contains(inside, d.Key) || !now.Owns(d.Volid) || known && !slices.Contains(replaced, d.Volid) || slices.Contains(w.Left, d.Volid) {
			continue
		}
		w.Left = append(w.Left, d.Volid)
	}
}

// wellRestored clears up, where there is something, before the restore ends.
func (t *turn) wellRestored() error {
	if len(t.op.Work.Left) > 0 {
		return t.onward(portal.StepTidy)
	}
	return t.restored()
}

// firewall reads what the machine's firewall is set to. Where the portal may not see it, there is nothing to keep.
func (t *turn) firewall() (json.RawMessage, error) {
	var out struct {
		Options map[string]string              `json:"options"`
		Rules   []pve.FirewallEntry            `json:"rules"`
		Aliases []pve.FirewallEntry            `json:"aliases"`
		Sets    map[string][]pve.FirewallEntry `json:"sets"`
	}
	c, node, vmid := t.link.client, t.op.Node, t.sit.Service.VMID
	var err error
	if out.Options, err = c.FirewallOptions(t, node, vmid); err == nil {
		out.Rules, err = c.FirewallRules(t, node, vmid)
	}
	if err == nil {
		out.Aliases, err = c.FirewallAliases(t, node, vmid)
	}
	var sets []pve.FirewallEntry
	if err == nil {
		sets, err = c.FirewallIPSets(t, node, vmid)
	}
	for _, set := range sets {
		if err == nil {
			if out.Sets == nil {
				out.Sets = map[string][]pve.FirewallEntry{}
			}
			out.Sets[set["name"]], err = c.FirewallIPSet(t, node, vmid, set["name"])
		}
	}
	if pve.ReasonOf(err) == pve.Permission {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return json.Marshal(out)
}

// lookRestore observes the restore, and keeps how far its log says that it is.
func lookRestore(t *turn) (portal.Sight, error) {
	seen, err := restoreErrand.look(t)
	t.restoreLog()
	return seen, err
}

var restoreLine = regexp.MustCompile(`^progress (\d+)% \(read (\d+) bytes, duration (\d+) sec\)$`)

// restoreLog reads the log of a restore: whether the old disks are gone, and how far the new ones are.
func (t *turn) restoreLog() {
	var total, read, seconds int64
	for _, l := range t.taskLog {
		if strings.HasPrefix(l.Text, "new volume ID is ") {
			t.op.Work.Gone = true
		}
		if rest, ok := strings.CutPrefix(l.Text, "DEV: "); ok {
			for _, field := range pairs(rest) {
				if field[0] == "size" {
					size, _ := strconv.ParseInt(field[1], 10, 64)
					total += size
				}
			}
		}
		if m := restoreLine.FindStringSubmatch(l.Text); m != nil {
			percent, _ := strconv.Atoi(m[1])
			t.op.Percent = min(max(percent, 0), 100)
			read, _ = strconv.ParseInt(m[2], 10, 64)
			seconds, _ = strconv.ParseInt(m[3], 10, 64)
		}
	}
	if total > 0 {
		t.op.DoneBytes, t.op.TotalBytes = min(read, total), total
	}
	if seconds > 0 {
		t.op.Rate = read / seconds
	}
}

// pairs takes "dev_id=1 size: 1073741824 devname: drive-scsi0" apart.
func pairs(s string) (out [][2]string) {
	words := strings.Fields(s)
	for i, w := range words {
		if name, ok := strings.CutSuffix(w, ":"); ok && i+1 < len(words) {
			out = append(out, [2]string{name, words[i+1]})
		}
	}
	return out
}

// restoreDone sees whether the restored machine stands in the old one's place: whole, of the same identity, and
// unlocked. Where its task can't be asked, that it isn't as it was tells.
func restoreDone(t *turn, task portal.TaskSight) (bool, error) {
	config, err := t.link.client.GuestConfig(t, t.op.Node, t.sit.Service.VMID)
	if err != nil {
		return false, err
	}
	t.config = config
	t.restoreLog()
	asked := t.op.UPID != "" || !t.op.IntentAt.IsZero()
	if config.Stump() {
		t.op.Work.Gone = t.op.Work.Gone || t.op.Work.Broken
		return false, nil
	}
	seen := identityOf(config)
	seen.MACs = t.sit.Service.Identity.MACs // the archive's, until the package is applied
	if !asked || config.Lock != "" || !t.sit.Service.Identity.Same(seen) {
		return false, nil
	}
	return task == portal.TaskEnded || fingerprint(config.Raw) != t.op.Work.Before, nil
}

// fingerprint tells one config from another, whatever lock they have.
func fingerprint(raw map[string]string) string {
	sum := sha256.New()
	for _, key := range slices.Sorted(maps.Keys(raw)) {
		if key != "digest" && key != "lock" {
			fmt.Fprintf(sum, "%q=%q\n", key, raw[key])
		}
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// asBefore tells whether the machine is the one that it was before the first restore was sent.
func (t *turn) asBefore() bool {
	return !t.op.Work.Gone && fingerprint(t.config.Raw) == fingerprint(t.op.Work.Config)
}

func afterRestore(t *turn) error {
	t.op.Work.Gone = true
	t.note("done", "The backup is in the place of your machine.", t.op.Work.Archive)
	return t.onward(portal.StepReapply)
}

// passing are the ends of a restore after which the same may well work at once.
var passing = []string{neverArrived, "no longer knows", "unexpected status", "interrupted by signal", "got no worker upid"}

// restoreFailed decides what a failed restore means: what has touched nothing lets the machine run again and fails; what
// has destroyed the machine is tried once more where that may help, and is held.
func restoreFailed(t *turn) error {
	text, staff := t.plainRestore(), t.failure
	if n := len(t.taskLog); n > 0 {
		staff += " | " + t.taskLog[max(n-2, 0)].Text
	}
	again := slices.ContainsFunc(passing, func(part string) bool { return strings.Contains(t.failure, part) })
	t.failure = staff
	if again && t.op.Attempt+1 < restoreErrand.tries {
		return t.errandFailed(text, restoreErrand.tries)
	}
	return t.stopRestore(text, staff)
}

// stopRestore ends a restore at the step where it is. A machine that is as it was is started again where it ran.
func (t *turn) stopRestore(text portal.Text, staff string) error {
	t.clearRequest()
	if t.op.Work.Broken && !t.asBefore() {
		return t.hold(text, staff)
	}
	t.op.Work.Broken = false
	t.op.StaffReason = staff
	if t.op.Work.Was != "running" {
		return t.fail(portal.Sentences(text, "Your machine is as it was."), staff)
	}
	t.note("failed", portal.Sentences(text, "Nothing was overwritten; your machine is started again."), staff)
	t.op.Work.Failed = text
	return t.onward(portal.StepStart)
}

// plainRestore says in a client's words why a restore failed.
func (t *turn) plainRestore() portal.Text {
	said := t.failure
	for _, l := range t.taskLog {
		said += "\n" + l.Text
	}
	for _, w := range []struct {
		part string
		text portal.Text
	}{
		{"No space left", "There is not enough space for the machine's disks."},
		{"(-28)", "There is not enough space for the machine's disks."},
		{"reading VMA header", "The backup can't be read."},
		{"short vma extent", "The backup can't be read: it is damaged."},
		{"missing cluster", "The backup can't be read: it is damaged."},
		{"Decoding error", "The backup can't be read: it is damaged."},
		{"protection mode", "Your machine is protected against being overwritten on its host."},
		{"vm is running", "Your machine was started meanwhile."},
		{"interrupted by signal", "The restore was stopped on your host."},
		{"unexpected status", "The restore was cut off on your host."},
		{"no longer knows", "Your host lost track of the restore."},
		{"never arrived", "The request did not reach your host."},
		{"Permission check failed", "The portal lacks a right on your host."},
		{"SDN.Use", "The portal lacks a right on your host."},
		{"does not exist", "A storage of the machine's disks, or the backup, is not there."},
		{"could not activate storage", "A storage of the machine's disks is offline."},
		{"not online", "A storage of the machine's disks is offline."},
		{"not mounted", "A storage of the machine's disks is offline."},
	} {
		if strings.Contains(said, w.part) {
			return w.text
		}
	}
	return "Your host ended the restore with an error."
}

// The guest agent rests between two questions for a thirtieth of the time that it has been silent, within these: a question
// that it doesn't answer holds one of its host's workers for seconds.
const (
	proofPauseMin = time.Second
	proofPauseMax = 5 * time.Second
)

// lookProof waits until the machine runs and its guest agent answers. That it doesn't is told, and is no failure.
func lookProof(t *turn) (seen portal.Sight, err error) {
	p := t.op.Work.Proof
	if p == nil {
		p = &portal.Proof{Since: t.now.Unix()}
		t.op.Work.Proof = p
	}
	silent := t.now.Sub(time.Unix(p.Since, 0))
	over := silent >= portal.ProofBy
	s, err := t.status()
	if err == nil && s.Status == "running" {
		if !s.Agent || !t.mayAsk() {
			p.Agent, seen.Done = portal.AgentOff, true
			return seen, nil
		}
		if _, err = t.link.client.AgentInterfaces(t, t.op.Node, t.sit.Service.VMID); err == nil {
			p.Agent, seen.Done = portal.AgentAnswered, true
			return seen, nil
		}
	}
	if over {
		p.Agent, seen.Done = portal.AgentSilent, true
		return seen, nil
	}
	t.op.RunAfter = t.now.Add(min(max(silent/30, proofPauseMin), proofPauseMax))
	return seen, t.over(t.save("proof"))
}

// mayAsk tells whether the token may ask the guest agent.
func (t *turn) mayAsk() bool {
	rights, err := t.e.permissions(t, t.link)
	return err == nil && len(rights.Lacks(pve.Demands(pve.AskAgent, t.link.major(), pve.Scene{VMID: t.sit.Service.VMID}))) == 0
}

// restored ends a restore well.
func (t *turn) restored() error {
	n := portal.Notice{Service: t.sit.Service.UID, Machine: t.sit.Service.Name, Operation: t.op.UID, Reference: t.op.Reference}
	text := portal.Text("Your backup is restored.")
	if b, ok := t.copyRow(t.op.BackupID); ok {
		text = portal.Say("Restored: your machine is as it was on %s.", t.when(b))
		n.CopyAt = b.StartedAt.Unix()
	}
	n.Running = t.op.Work.Start
	if p := t.op.Work.Proof; p != nil && p.Agent == portal.AgentSilent {
		t.op.Warning = "It runs, but the system inside has not answered within five minutes. Look whether it has started."
	}
	copies := t.asMine()
	if slices.ContainsFunc(copies, func(c portal.Copy) bool { return c.Origin == portal.OriginBeforeRestore && c.Good() }) && t.op.AfterID != 0 {
		n.SafetyDays = int(portal.SafetyKeep / (24 * time.Hour))
	}
	if gone := portal.SafetyExpired(copies, t.now); len(gone) > 0 {
		t.changes.Follow = t.removal(gone[0].ID, "engine") // one for each service
	}
	t.changes.Messages = append(t.changes.Messages, store.Message{Channel: store.ToClient, ServiceID: t.op.ServiceID, Topic: portal.TopicRestoreDone, Payload: n})
	return t.end(portal.StateSucceeded, text, "", portal.SlotDone)
}

// tellRestoreFailed tells the client that a restore has stopped, or has failed.
func (t *turn) tellRestoreFailed(text portal.Text) {
	n := map[string]any{"service": t.sit.Service.UID, "name": t.sit.Service.Name, "operation": t.op.UID, "reference": t.op.Reference, "text": text,
		"off": t.op.Work.Gone, "whole": !t.op.Work.Gone}
	if t.op.Work.Broken {
		n["step"], n["steps"] = t.op.StepOf()
		n["off"], n["whole"] = true, false
	}
	t.changes.Messages = append(t.changes.Messages, store.Message{Channel: store.ToClient, ServiceID: t.op.ServiceID, Topic: portal.TopicRestoreFailed, Payload: n})
}

// stoppedAt says at which of its steps a restore has stopped.
func (t *turn) stoppedAt(text portal.Text) portal.Text {
	step, steps := t.op.StepOf()
	return portal.Say("Stopped at step %d of %d: %s", step, steps, text)
}

// ReadArchives reads what archives hold that nobody has read yet, so that pages know it without asking.
func (e *Engine) ReadArchives(ctx context.Context) error {
	list, err := e.db.UnreadArchives(ctx, 20)
	if err != nil {
		return err
	}
	for _, a := range list {
		l, err := e.link(ctx, a.Server)
		if err != nil {
			return err
		}
		archived, err := l.client.ArchivedConfig(ctx, a.Node, a.Volid)
		if err != nil {
			e.log.DebugContext(ctx, "an archive's configuration was not read", "volid", a.Volid, "error", err)
			pause := min(time.Duration(a.Tries+1)*time.Minute, 6*time.Hour)
			if err := e.db.SaveContents(ctx, a.ID, nil, e.now().Add(pause)); err != nil {
				return err
			}
			continue
		}
		c := portal.Contents{Hardware: hardwareOf(archived.GuestConfig), UUID: strings.ToLower(archived.UUID)}
		c.Disks = slices.DeleteFunc(c.Disks, func(d portal.Disk) bool { return !slices.Contains(archived.Drives, d.Key) })
		if err := e.db.SaveContents(ctx, a.ID, &c, time.Time{}); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// expireSafety asks for the removal of copies from before a restore whose time is over.
func (e *Engine) expireSafety(ctx context.Context) error {
	services, err := e.db.OverdueSafety(ctx, 500)
	if err != nil {
		return err
	}
	for _, uid := range services {
		if _, err := e.db.Enqueue(ctx, 0, uid, portal.RequestSafetyRemoval()); err != nil && portal.CodeOf(err) == "" {
			return err
		}
	}
	return nil
}
