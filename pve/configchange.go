package pve

import (
	"context"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// ConfigChange is one change of a machine's configuration.
type ConfigChange struct {
	// Digest is GuestConfig.Digest of the configuration that the change was made for. When it is another by then,
	// nothing is changed and the refusal's Reason is Digest. "" changes whatever is there.
	Digest string

	Set    map[string]string // by key; the values as Proxmox writes them: "cores": "2", "memory": "2048" (MiB), "net0": …
	Delete []string          // keys; a disk becomes unusedN, and unusedN itself can't be named: see DestroyUnused
	Revert []string          // keys whose pending change is dropped

	Password Secret // cipassword, which doesn't belong into Set; "" leaves it
}

var (
	configKey = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,39}$`)

	// reserved are parameters of the call, and what only root may set.
	reserved = []string{"digest", "delete", "revert", "force", "skiplock", "lock", "background_delay", "import-working-storage", "node", "vmid", "cipassword"}
)

// form checks the change: what can't be meant is refused before anything is sent.
func (ch ConfigChange) form() (map[string]string, *Error) {
	form := map[string]string{}
	for key, value := range ch.Set {
		switch {
		case !configKey.MatchString(key) || slices.Contains(reserved, key):
			return nil, refusal(key, "not an option that can be set here")
		case value == "":
			return nil, refusal(key, "an option is emptied by deleting it")
		case key != "description" && strings.ContainsAny(value, "\r\n\x00"):
			return nil, refusal(key, "a value is one line")
		case slices.Contains(ch.Delete, key) || slices.Contains(ch.Revert, key):
			return nil, refusal(key, "set and deleted at the same time")
		}
		form[key] = value
	}
	for name, keys := range map[string][]string{"delete": ch.Delete, "revert": ch.Revert} {
		for _, key := range keys {
			if !configKey.MatchString(key) || key != "cipassword" && slices.Contains(reserved, key) || unusedKey.MatchString(key) {
				return nil, refusal(name, key+" is not an option that can be taken away here")
			}
		}
		if len(keys) > 0 {
			form[name] = strings.Join(keys, ",")
		}
	}
	if ch.Password != "" {
		if strings.ContainsAny(string(ch.Password), "\r\n\x00") {
			return nil, refusal("cipassword", "a password is one line")
		}
		form["cipassword"] = string(ch.Password)
	}
	if len(form) == 0 {
		return nil, refusal("set", "nothing to change")
	}
	if ch.Digest != "" {
		form["digest"] = ch.Digest
	}
	return form, nil
}

// SetConfig changes a machine's configuration while the call lasts. On a running machine cores and memory become
// pending (see Pending), the limits of disks and cards, names and descriptions hold at once. A locked machine refuses
// with Locked, a held lock file with LockFile after 10 s. What allocates a disk belongs to StartSetConfig: past 30 s the
// answer is lost (596) while the work goes on.
func (c *Client) SetConfig(ctx context.Context, node string, vmid int, ch ConfigChange) error {
	form, bad := ch.form()
	if bad != nil {
		return bad
	}
	return c.putConfig(ctx, node, vmid, form, ch.Password)
}

func (c *Client) putConfig(ctx context.Context, node string, vmid int, form map[string]string, secrets ...Secret) error {
	if bad := checkVMID(vmid); bad != nil {
		return bad
	}
	_, err := c.mutate(ctx, http.MethodPut, guestPath("/config", node, vmid), form, secrets...)
	return err
}

// StartSetConfig changes a machine's configuration in a task (qmconfig), as changes want it that allocate a disk. The
// zero UPID means that Proxmox did it at once. A wrong digest and a locked machine are refused by the answer; a held lock
// file on 9.x by the task's end (8.4: by the answer, after 10 s).
func (c *Client) StartSetConfig(ctx context.Context, node string, vmid int, ch ConfigChange) (UPID, error) {
	form, bad := ch.form()
	if bad == nil {
		bad = checkVMID(vmid)
	}
	if bad != nil {
		return UPID{}, bad
	}
	p := guestPath("/config", node, vmid)
	data, err := c.mutate(ctx, http.MethodPost, p, form, ch.Password)
	if err != nil {
		return UPID{}, err
	}
	upid, err := startedTask(http.MethodPost, p.shape, data, true)
	if err != nil && ch.Password != "" {
		return UPID{}, &Error{Class: Ambiguous, Status: http.StatusOK, Call: "POST " + p.shape, Message: "the answer names no task"}
	}
	return upid, err
}

// DetachDisk takes a disk off a machine: its volume stays and becomes unusedN, from where AttachDisk takes it back. A
// running machine lets go of it while the call lasts (about 2 s recorded); where its system doesn't, the change is
// pending until it is off. A cloud-init drive is destroyed, a CD drive simply gone.
func (c *Client) DetachDisk(ctx context.Context, node string, vmid int, key, digest string) error {
	if !diskKey.MatchString(key) {
		return refusal("disk", key+" is no disk's place")
	}
	return c.deleteKey(ctx, node, vmid, key, digest)
}

// DestroyUnused destroys the volume that an unusedN line names: its data are gone. One that a snapshot needs is kept by
// Proxmox until that snapshot goes.
func (c *Client) DestroyUnused(ctx context.Context, node string, vmid int, key, digest string) error {
	if !unusedKey.MatchString(key) {
		return refusal("disk", key+" is no unused volume's line")
	}
	return c.deleteKey(ctx, node, vmid, key, digest)
}

func (c *Client) deleteKey(ctx context.Context, node string, vmid int, key, digest string) error {
	form := map[string]string{"delete": key}
	if digest != "" {
		form["digest"] = digest
	}
	return c.putConfig(ctx, node, vmid, form)
}

// Resize starts a disk's growth to a size in bytes. Proxmox shrinks none, and nothing smaller than the disk's configured
// size is sent; the same size is a task that does nothing. A wrong digest, a locked machine, a missing disk and a machine
// that isn't there show in the task's end only: see Meaning. The partitions and file systems inside don't grow by it.
func (c *Client) Resize(ctx context.Context, node string, vmid int, disk Disk, sizeBytes int64, digest string) (UPID, error) {
	switch {
	case !diskKey.MatchString(disk.Key) || disk.CDROM:
		return UPID{}, refusal("disk", disk.Key+" is no disk")
	case sizeBytes <= 0 || sizeBytes%512 != 0:
		return UPID{}, refusal("size", "a size is whole sectors of 512 bytes")
	case sizeBytes < disk.SizeBytes:
		return UPID{}, refusal("size", "a disk can't shrink")
	}
	form := map[string]string{"disk": disk.Key, "size": strconv.FormatInt(sizeBytes, 10)}
	if digest != "" {
		form["digest"] = digest
	}
	return c.guestTask(ctx, http.MethodPut, "/resize", node, vmid, form)
}

// PendingChange is one line of a machine's configuration with what waits for the next start.
type PendingChange struct {
	Key    string
	Value  string // what holds now; "" where it comes with the change
	New    string // what will hold; "" where nothing is pending or the line goes
	Delete bool   // the line goes
}

// Pending lists what waits for a machine's next start, in order of key. Lines that only hold are left out; a password
// reads "**********" on both sides.
func (c *Client) Pending(ctx context.Context, node string, vmid int) ([]PendingChange, error) {
	if err := checkVMID(vmid); err != nil {
		return nil, err
	}
	var got []struct {
		Key     text  `json:"key"`
		Value   text  `json:"value"`
		Pending *text `json:"pending"`
		Delete  whole `json:"delete"` // 2 where it is forced
	}
	if err := c.read(ctx, guestPath("/pending", node, vmid), nil, &got, false); err != nil {
		return nil, err
	}
	var out []PendingChange
	for _, g := range got {
		ch := PendingChange{Key: string(g.Key), Value: string(g.Value), Delete: g.Delete != 0}
		if g.Pending != nil {
			ch.New = string(*g.Pending)
		}
		if ch.Key != "" && (g.Pending != nil || ch.Delete) {
			out = append(out, ch)
		}
	}
	slices.SortStableFunc(out, func(a, b PendingChange) int { return byKeyNumber(a.Key, b.Key) })
	return out, nil
}

// guestPath is an address below one machine. tail may have places of its own, filled from ids.
func guestPath(tail, node string, vmid int, ids ...string) path {
	return at("/nodes/{node}/qemu/{vmid}"+tail, append([]string{node, param(vmid)}, ids...)...)
}

// guestTask sends one change of a machine that starts a task.
func (c *Client) guestTask(ctx context.Context, method, tail, node string, vmid int, form map[string]string, ids ...string) (UPID, error) {
	if bad := checkVMID(vmid); bad != nil {
		return UPID{}, bad
	}
	p := guestPath(tail, node, vmid, ids...)
	data, err := c.mutate(ctx, method, p, form)
	if err != nil {
		return UPID{}, err
	}
	return startedTask(method, p.shape, data, false)
}
