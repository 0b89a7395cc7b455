package pve

import (
	"context"
	"encoding/json"
	"net/http"
	"regexp"
	"strconv"
	"time"
)

// VzdumpRequest asks for one backup of one machine. Pruning is always switched off: Proxmox' default would delete
// copies by the storage's own rules.
type VzdumpRequest struct {
	VMID         int
	Storage      string
	Mode         string        // snapshot (the default here), suspend, stop
	Compress     string        // zstd (the default here), gzip, lzo, 0
	Notes        string        // becomes the notes' first line; letters, digits and _ . : - only, for Proxmox interprets {{…}} and backslashes
	Protected    bool          // protected from the first moment
	BandwidthKiB int64         // KiB/s, 0 for the node's default; needs Sys.Modify on /
	LockWait     time.Duration // how long to wait for another backup on the node; rounded up to minutes. 0 doesn't wait at all
	Fleecing     string        // "enabled=1,storage=…", "" for the node's default
}

var plainNotes = regexp.MustCompile(`^[\w:.-]*$`)

func (r VzdumpRequest) form() (map[string]string, *Error) {
	if err := checkVMID(r.VMID); err != nil {
		return nil, err
	}
	if r.Storage == "" {
		return nil, refusal("storage", "no storage named")
	}
	if !plainNotes.MatchString(r.Notes) || len(r.Notes) > 1024 {
		return nil, refusal("notes-template", "only letters, digits and _ . : - go here")
	}
	if r.BandwidthKiB < 0 || r.LockWait < 0 {
		return nil, refusal("bwlimit", "no negative limits")
	}
	form := map[string]string{
		"vmid":     param(r.VMID),
		"storage":  r.Storage,
		"mode":     "snapshot",
		"compress": "zstd",
		"remove":   "0",
		"lockwait": strconv.FormatInt(int64((r.LockWait+time.Minute-1)/time.Minute), 10),
	}
	for name, value := range map[string]string{"mode": r.Mode, "compress": r.Compress, "notes-template": r.Notes, "fleecing": r.Fleecing} {
		if value != "" {
			form[name] = value
		}
	}
	if r.Protected {
		form["protected"] = "1"
	}
	if r.BandwidthKiB > 0 {
		form["bwlimit"] = strconv.FormatInt(r.BandwidthKiB, 10)
	}
	return form, nil
}

// Vzdump starts a backup and gives its task. A UPID proves nothing yet: a locked machine, a missing privilege and a
// full storage all show in the task's log only. The answer OK instead of a UPID is Gone with ErrNothingStarted: the
// machine has moved to another node, and nothing was done.
func (c *Client) Vzdump(ctx context.Context, node string, r VzdumpRequest) (UPID, error) {
	form, bad := r.form()
	if bad != nil {
		return UPID{}, bad
	}
	const shape = "/nodes/{node}/vzdump"
	data, err := c.mutate(ctx, http.MethodPost, at(shape, node), form)
	if err != nil {
		return UPID{}, err
	}
	if scalar(data) == "OK" {
		return UPID{}, &Error{Class: Gone, Status: http.StatusOK, Call: "POST " + shape,
			Message: "Proxmox answered OK without starting anything: the machine lives on another node now", cause: ErrNothingStarted}
	}
	return startedTask(http.MethodPost, shape, data, false)
}

// startedTask reads the UPID out of a change's answer. Anything else leaves open what happened, unless the call may be
// done at once.
func startedTask(method, shape string, data json.RawMessage, mayBeDone bool) (UPID, error) {
	s := scalar(data)
	if s == "" && mayBeDone {
		return UPID{}, nil
	}
	upid, err := ParseUPID(s)
	if err != nil {
		return UPID{}, &Error{Class: Ambiguous, Status: http.StatusOK, Call: method + " " + shape,
			Message: "the answer names no task: " + clip(oneLine(err.Error()), 200), cause: err}
	}
	return upid, nil
}
