package pve

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// RestoreRequest asks for a machine out of an archive.
type RestoreRequest struct {
	VMID    int
	Archive string // volid

	// Over restores over the machine of that number: its disks, all of its snapshots and what they kept are destroyed
	// first. Without it the number must be free.
	Over bool

	Storage      string // for all disks; "" for each disk's own
	Unique       bool   // a new MAC and a new identity: for a second machine beside the first
	BandwidthKiB int64  // KiB/s, 0 for the storages' own limits
	Start        bool   // afterwards, by a task of its own; on 9.x wants VM.PowerMgmt
}

// Restore starts a restore (qmrestore). Refused by the answer, with nothing touched: a missing archive (Gone), a lock
// (Locked), a held lock file (LockFile, after 5 s), a number in use without Over (Exists), a missing privilege. By the
// task's end, with nothing touched: a running machine, a protected one, a target storage that is missing or takes no
// disks, an archive whose header can't be read. Every other failure, and a task that is stopped, has destroyed the
// machine and leaves a stump: see GuestConfig.Stump. Disks that are not in the archive stay as unusedN.
func (c *Client) Restore(ctx context.Context, node string, r RestoreRequest) (UPID, error) {
	if bad := checkVMID(r.VMID); bad != nil {
		return UPID{}, bad
	}
	// A path instead of a volid is root's.
	if storage, volume, ok := strings.Cut(r.Archive, ":"); !ok || !storageName.MatchString(storage) || volume == "" || len(r.Archive) > 255 {
		return UPID{}, refusal("archive", "no archive named")
	}
	if r.Storage != "" && !storageName.MatchString(r.Storage) {
		return UPID{}, refusal("storage", "not a storage's name")
	}
	if r.BandwidthKiB < 0 {
		return UPID{}, refusal("bwlimit", "no negative limits")
	}
	form := map[string]string{"vmid": param(r.VMID), "archive": r.Archive}
	for name, on := range map[string]bool{"force": r.Over, "unique": r.Unique, "start": r.Start} {
		if on {
			form[name] = "1"
		}
	}
	if r.Storage != "" {
		form["storage"] = r.Storage
	}
	if r.BandwidthKiB > 0 {
		form["bwlimit"] = strconv.FormatInt(r.BandwidthKiB, 10)
	}
	const shape = "/nodes/{node}/qemu"
	data, err := c.mutate(ctx, http.MethodPost, at(shape, node), form)
	if err != nil {
		return UPID{}, err
	}
	return startedTask(http.MethodPost, shape, data, false)
}

// ArchivedConfig is the configuration inside an archive.
type ArchivedConfig struct {
	GuestConfig
	Drives []string // whose data are inside: "scsi0". The configuration may name more
}

// ArchivedConfig asks for the configuration inside an archive, without pending changes and snapshots, which archives
// don't have. Needs VM.Backup on the machine and Datastore.AllocateSpace on the storage. A missing archive is Gone.
func (c *Client) ArchivedConfig(ctx context.Context, node, volid string) (ArchivedConfig, error) {
	var got text
	const shape = "/nodes/{node}/vzdump/extractconfig"
	if err := c.read(ctx, at(shape, node), url.Values{"volume": {volid}}, &got, false); err != nil {
		return ArchivedConfig{}, err
	}
	if got == "" {
		return ArchivedConfig{}, unreadable(shape, "no configuration in it")
	}
	return ReadArchivedConfig(string(got)), nil
}

// ReadArchivedConfig reads a configuration as files write it: "key: value" by line, the description as comments in front,
// sections of snapshots behind, which are left out, as is what holds no line of its own. A password's hash reads
// "**********", as in a machine's configuration.
func ReadArchivedConfig(file string) ArchivedConfig {
	raw := map[string]string{}
	var notes, drives []string
	for line := range strings.SplitSeq(strings.ReplaceAll(file, "\r\n", "\n"), "\n") {
		if strings.HasPrefix(line, "[") {
			break
		}
		if mapped, ok := strings.CutPrefix(line, "#qmdump#map:"); ok {
			drive, _, _ := strings.Cut(mapped, ":")
			if diskKey.MatchString(drive) && !slices.Contains(drives, drive) {
				drives = append(drives, drive)
			}
			continue
		}
		if note, ok := strings.CutPrefix(line, "#"); ok {
			if !strings.HasPrefix(note, "qmdump#") && !strings.HasPrefix(note, "vzdump#") {
				if plain, err := url.PathUnescape(note); err == nil {
					note = plain
				}
				notes = append(notes, note)
			}
			continue
		}
		key, value, ok := strings.Cut(line, ":")
		if ok && configKey.MatchString(key) {
			raw[key] = strings.TrimSpace(value)
		}
	}
	if len(notes) > 0 {
		raw["description"] = strings.Join(notes, "\n")
	}
	if raw["cipassword"] != "" {
		raw["cipassword"] = "**********"
	}
	slices.SortFunc(drives, byKeyNumber)
	return ArchivedConfig{GuestConfig: ReadGuestConfig(raw), Drives: drives}
}
