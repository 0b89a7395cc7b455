package jobs

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"stowage/portal"
	"stowage/pve"
)

// reapplyStep brings a machine in step with its package: one change after the other, each its own request, until none is
// left. Proxmox answers most of them at once; growing and making a disk are tasks.
var reapplyStep = step{look: lookReapply, intend: intendReapply, send: sendReapply, next: afterReapply, failed: reapplyFailed}

// reapplyTasks are the types of the tasks that changes start.
var reapplyTasks = []string{"resize", "qmconfig"}

// lookReapply reads the machine, and holds it against its package.
func lookReapply(t *turn) (seen portal.Sight, err error) {
	seen.Task, seen.Grew, err = t.lookTask()
	if err != nil || seen.Task == portal.TaskRunning || seen.Task == portal.TaskUnreachable {
		return seen, err
	}
	if err := t.compare(); err != nil {
		return seen, err
	}
	now := t.op.Work.Now
	if now == nil {
		seen.Done = len(sent(t.differs)) == 0
		return seen, nil
	}
	open := slices.ContainsFunc(t.differs, func(c portal.Change) bool {
		return c.Sent() && c.Name == now.Name && c.Key == now.Key && c.To == now.To
	})
	switch {
	case t.op.IntentAt.IsZero():
		if !open { // refused, and written down all the same: "hotplug problem", it waits for the next start (pve: 03)
			now.Live = false
			t.applied(*now)
		}
		seen.Done = len(sent(t.differs)) == 0
	case !open: // it is in force
		t.keepLog()
		t.applied(*now)
		seen.Done = len(sent(t.differs)) == 0
	case t.op.UPID != "": // its task has ended, and it isn't
	case now.Task:
		seen.Found, seen.Clean, err = t.findErrand(reapplyTasks)
	case t.now.Sub(t.op.IntentAt) < time.Second: // just sent: it has a moment to show
	case t.op.Work.Tries >= reapplyTries:
		t.failure = "it was accepted and is not in the configuration: " + now.Name
		return seen, t.over(reapplyFailed(t))
	default: // an absolute value: to send it again is harmless
		t.clearRequest()
	}
	return seen, err
}

// reapplyTries is how often one change is sent.
const reapplyTries = 3

// applied notes a change that is in force.
func (t *turn) applied(c portal.Applied) {
	t.note("done", portal.Say("%s: %s → %s", c.What, c.Before, c.After), c.Name)
	t.op.Work.Changes = append(t.op.Work.Changes, c)
	t.op.Work.Now, t.op.Work.Tries, t.op.Attempt = nil, 0, 0
	t.clearRequest()
	t.taskExit = ""
}

func sent(changes []portal.Change) []portal.Change {
	return slices.DeleteFunc(slices.Clone(changes), func(c portal.Change) bool { return !c.Sent() })
}

// compare reads the machine's config and works out what differs from what is sold.
func (t *turn) compare() error {
	config, err := t.link.client.GuestConfig(t, t.op.Node, t.sit.Service.VMID)
	if err != nil {
		return err
	}
	status, err := t.status()
	if err != nil {
		return err
	}
	got := machineOf(config, t.sit.Service.VMID, status.Status == "running")
	// What the old system has left waits until the machine was seen to be in order, and is no additional disk.
	got.Unused = slices.DeleteFunc(got.Unused, func(d portal.MachineDrive) bool { return t.discarded(d.Volid) })
	want := portal.Wanted(t.sit.Product, t.sit.Service)
	switch {
	case t.op.Work.Scratch:
		want = t.scratchSpec(want)
		if err := t.addLoose(&got, want.Kept); err != nil {
			return err
		}
	case len(t.op.Work.Config) > 0: // the config was replaced: what the product doesn't say stays as it was before
		want = want.Keep(machineOf(pve.ReadGuestConfig(t.op.Work.Config), t.sit.Service.VMID, false))
	}
	want.Kept = slices.DeleteFunc(slices.Clone(want.Kept), func(k portal.Kept) bool { return t.discarded(k.Volid) })
	places, err := t.diskPlaces(want, got)
	if err != nil {
		return err
	}
	t.config, t.running, t.differs = config, got.Running, portal.Reapply(want, got, places)
	return nil
}

// diskPlaces asks for the storages of a machine's disks, and of those that are sold.
func (t *turn) diskPlaces(want portal.Spec, got portal.Machine) (map[string]portal.DiskPlace, error) {
	names := map[string]bool{want.System.Storage: true, want.Data.Storage: true}
	for _, d := range slices.Concat(got.Drives, got.Unused) {
		names[d.Storage] = true
	}
	delete(names, "")
	places := make(map[string]portal.DiskPlace, len(names))
	for _, name := range slices.Sorted(maps.Keys(names)) {
		s, err := t.link.client.StorageStatus(t, t.op.Node, name)
		switch {
		case pve.ClassOf(err) == pve.Gone || pve.ClassOf(err) == pve.Refused:
			continue // not there for us: what needs it is blocked
		case err != nil:
			return nil, err
		}
		places[name] = portal.DiskPlace{Type: s.Type, Active: s.Active && s.Enabled}
	}
	return places, nil
}

// machineOf takes a config apart for the rules.
func machineOf(c pve.GuestConfig, vmid int, running bool) portal.Machine {
	m := portal.Machine{VMID: vmid, Running: running, Values: map[string]string{}, IPs: map[string]portal.Options{}}
	known := map[string]bool{"digest": true}
	for _, d := range c.Disks {
		known[d.Key] = true
		m.Drives = append(m.Drives, driveOf(d))
	}
	for _, n := range c.Nets {
		known[n.Key] = true
		m.Nets = append(m.Nets, portal.MachineNet{Key: n.Key, Model: n.Model, MAC: n.MAC, Raw: n.Raw, Options: optionsOf(n.Raw, "", "model", "macaddr", n.Model)})
	}
	for key, value := range c.Raw {
		switch {
		case known[key]:
		case strings.HasPrefix(key, "unused"):
			volid, _ := pve.ParseProperties(value).Get("")
			m.Unused = append(m.Unused, driveOf(pve.Disk{Key: key, Volid: volid, Storage: storageOf(volid), Raw: value}))
		case strings.HasPrefix(key, "ipconfig"):
			m.IPs[key] = optionsOf(value)
		default:
			m.Values[key] = value
		}
	}
	slices.SortFunc(m.Unused, func(a, b portal.MachineDrive) int {
		return number(strings.TrimPrefix(a.Key, "unused")) - number(strings.TrimPrefix(b.Key, "unused"))
	})
	return m
}

func driveOf(d pve.Disk) portal.MachineDrive {
	return portal.MachineDrive{Key: d.Key, Volid: d.Volid, Storage: d.Storage, Size: d.SizeBytes, CDROM: d.CDROM, Raw: d.Raw, Options: optionsOf(d.Raw, "", "file", "size", "media")}
}

// storageOf gives the storage of a volume; "" for a path.
func storageOf(volid string) string {
	storage, _, ok := strings.Cut(volid, ":")
	if !ok || strings.HasPrefix(volid, "/") {
		return ""
	}
	return storage
}

// optionsOf gives the options of a property string but for those named.
func optionsOf(raw string, but ...string) portal.Options {
	out := portal.Options{}
	for _, p := range pve.ParseProperties(raw) {
		if !slices.Contains(but, p.Key) {
			out[p.Key] = p.Value
		}
	}
	return out
}

// intendReapply takes the first change that is left.
func intendReapply(t *turn) error {
	left := sent(t.differs)
	if len(left) == 0 {
		return errRestarted
	}
	c := left[0]
	task := c.Kind == portal.ChangeResize || c.Kind == portal.ChangeCreate
	t.op.KnownUPIDs, t.op.IntentNode, t.op.LogLines = nil, t.op.Node, 0
	if task {
		tasks, err := t.link.client.Tasks(t, t.op.Node, pve.TaskFilter{Source: "all", VMID: t.sit.Service.VMID, Limit: 500})
		if err != nil {
			return t.over(t.cannotLook(err))
		}
		for _, known := range tasks {
			t.op.KnownUPIDs = append(t.op.KnownUPIDs, known.UPID.String())
		}
	}
	if now := t.op.Work.Now; now == nil || now.Name != c.Name || now.Key != c.Key {
		t.op.Work.Tries = 0
	}
	t.op.Work.Tries++
	t.op.Work.Now = &portal.Applied{Name: c.Name, Key: c.Key, To: c.To, Task: task, Live: c.Live, What: c.What, Before: c.Before, After: c.After}
	t.audit("pve.config", fmt.Sprintf("node %s vmid %d %s %s: %q to %q", t.op.Node, t.sit.Service.VMID, c.Name, c.Key, c.From, c.To))
	return nil
}

// sendReapply sends the change that was chosen, on the condition that the config is as it was read.
func sendReapply(t *turn) (string, error) {
	i := slices.IndexFunc(t.differs, func(c portal.Change) bool {
		return c.Sent() && c.Name == t.op.Work.Now.Name && c.Key == t.op.Work.Now.Key
	})
	if i < 0 {
		return "", fmt.Errorf("no such change: %s", t.op.Work.Now.Name)
	}
	c, node, vmid, client := t.differs[i], t.op.Node, t.sit.Service.VMID, t.link.client
	change := pve.ConfigChange{Digest: t.config.Digest}
	switch c.Kind {
	case portal.ChangeResize:
		disk, ok := t.disk(c.Key)
		if !ok {
			return "", fmt.Errorf("no such disk: %s", c.Key)
		}
		upid, err := client.Resize(t, node, vmid, disk, c.Size, change.Digest)
		return upid.String(), err
	case portal.ChangeCreate:
		value, err := pve.NewDisk{Storage: c.Storage, SizeBytes: c.Size, Format: c.Format, Options: propertiesOf(c.Options)}.Value()
		if err != nil {
			return "", err
		}
		change.Set = map[string]string{c.Key: value}
		upid, err := client.StartSetConfig(t, node, vmid, change)
		if upid == (pve.UPID{}) {
			return "", err
		}
		return upid.String(), err
	case portal.ChangeAttach:
		value, err := pve.AttachDisk(c.Volid, vmid, propertiesOf(c.Options))
		if err != nil {
			return "", err
		}
		change.Set = map[string]string{c.Key: value}
	case portal.ChangeCard:
		change.Set = map[string]string{c.Key: cardOf(c.Options).String()}
	case portal.ChangeSet:
		value, err := t.lineWith(c)
		if err != nil {
			return "", err
		}
		if value == "" {
			change.Delete = []string{c.Key}
		} else {
			change.Set = map[string]string{c.Key: value}
		}
	}
	return "", client.SetConfig(t, node, vmid, change)
}

func (t *turn) disk(key string) (pve.Disk, bool) {
	i := slices.IndexFunc(t.config.Disks, func(d pve.Disk) bool { return d.Key == key })
	if i < 0 {
		return pve.Disk{}, false
	}
	return t.config.Disks[i], true
}

// lineWith gives the config line that a change asks for: every option that it doesn't name stays as it is. "" takes the
// line away.
func (t *turn) lineWith(c portal.Change) (string, error) {
	if c.Option == "" {
		return c.To, nil
	}
	raw := t.config.Raw[c.Key]
	if c.Option == "model" || c.Option == "macaddr" {
		return cardWith(raw, c.Option, c.To), nil
	}
	if c.To == "" {
		return pve.EditProperties(raw, nil, c.Option)
	}
	return pve.EditProperties(raw, pve.Properties{{Key: c.Option, Value: c.To}})
}

// cardWith changes the model or the address of a card's line, "virtio=BC:24:11:00:00:01,bridge=vmbr0".
func cardWith(raw, option, to string) string {
	props := pve.ParseProperties(raw)
	for i, p := range props {
		switch {
		case p.Key == option:
			props[i].Value = to
			return props.String()
		case i == 0 && option == "model" && p.Key != "model":
			props[i].Key = to
			return props.String()
		case i == 0 && option == "macaddr" && p.Key != "model":
			props[i].Value = to
			return props.String()
		}
	}
	return append(props, pve.Property{Key: option, Value: to}).String()
}

func cardOf(o portal.Options) pve.Properties {
	props := pve.Properties{{Key: o["model"], Value: o["macaddr"]}}
	if o["macaddr"] == "" { // Proxmox makes up an address
		props = pve.Properties{{Value: o["model"]}}
	}
	for _, p := range propertiesOf(o) {
		if p.Key != "model" && p.Key != "macaddr" {
			props = append(props, p)
		}
	}
	return props
}

func propertiesOf(o portal.Options) pve.Properties {
	var out pve.Properties
	for _, key := range slices.Sorted(maps.Keys(o)) {
		out = append(out, pve.Property{Key: key, Value: o[key]})
	}
	return out
}

func reapplyFailed(t *turn) error {
	text := portal.Text("A setting of your package could not be applied.")
	if now := t.op.Work.Now; now != nil {
		text = portal.Say("A setting of your package could not be applied: %s.", now.What)
	}
	if t.op.Work.Now != nil && t.op.Work.Now.Key != "" {
		t.failure = t.op.Work.Now.Name + " of " + t.op.Work.Now.Key + ": " + t.failure
	}
	t.clearRequest()
	return t.errandFailed(text, reapplyTries)
}

// afterReapply goes on when nothing is left to change. What can't be mended by us keeps the machine off.
func afterReapply(t *turn) error {
	var blocked, left []string
	for _, c := range t.differs {
		if c.Kind == portal.ChangeBlocked {
			blocked = append(blocked, c.Text().String())
		} else {
			left = append(left, c.Text().String())
		}
	}
	if len(blocked) > 0 {
		t.failure = fmt.Sprint(blocked)
		return t.stop("Your machine could not be brought in step with your package. Our team has been told.", t.failure)
	}
	if len(left) > 0 {
		t.tellStaff("machine.differs", fmt.Sprint(left))
		t.note("note", "Something differs from your package and stays as it is; our team has been told.", fmt.Sprint(left))
	}
	if len(t.op.Work.Changes) == 0 {
		t.note("done", "Your machine is as your package says; nothing had to be changed.", "")
	}
	if seen := identityOf(t.config); t.sit.Service.Identity.Bare && seen.UUID == "" && seen.Made == 0 && seen.MACs != "" {
		if err := t.e.db.BareMachine(t, t.op.ServiceID, seen.MACs, t.op.UID); err != nil { // a card of it may be another now
			return err
		}
	}
	t.op.Work.Broken = false
	return finishMachine(t)
}
