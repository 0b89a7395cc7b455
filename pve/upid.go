package pve

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// UPID names one task on one node, for as long as the node remembers it (a day to five on a busy one).
// It is written UPID:node:pid:pstart:starttime:type:id:user: with hexadecimal numbers.
type UPID struct {
	Node   string
	PID    int
	PStart uint64    // start of the process in the kernel's ticks: tells two processes with one pid apart
	Start  time.Time // UTC, whole seconds
	Type   string    // vzdump, qmrestore, imgdel …
	ID     string    // what it works on: a vmid, "110@local" for deletions, "" for jobs over several machines
	User   string    // user@realm
	Token  string    // the token's name, "" for a login with a password

	raw string
}

var upidPattern = regexp.MustCompile(`^UPID:([a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?):([0-9A-Fa-f]{8}):([0-9A-Fa-f]{8,9}):([0-9A-Fa-f]{8}):([^:\s/]{1,64}):([^:\s/]{0,128}):([^:\s/]{1,128}):$`)

// ParseUPID reads a UPID strictly: what it takes, Proxmox takes as well, and String gives it back unchanged.
func ParseUPID(s string) (UPID, error) {
	m := upidPattern.FindStringSubmatch(s)
	if m == nil {
		return UPID{}, fmt.Errorf("not a UPID: %q", clip(s, 120))
	}
	pid, err1 := strconv.ParseInt(m[2], 16, 64)
	pstart, err2 := strconv.ParseUint(m[3], 16, 64)
	start, err3 := strconv.ParseInt(m[4], 16, 64)
	if err1 != nil || err2 != nil || err3 != nil {
		return UPID{}, fmt.Errorf("not a UPID: %q", clip(s, 120))
	}
	u := UPID{Node: m[1], PID: int(pid), PStart: pstart, Start: time.Unix(start, 0).UTC(), Type: m[5], ID: m[6], User: m[7], raw: s}
	if user, token, _ := strings.Cut(u.User, "!"); token != "" {
		u.User, u.Token = user, token
	}
	return u, nil
}

// String gives the UPID as Proxmox wrote it, and "" for the zero UPID.
func (u UPID) String() string { return u.raw }

// MarshalText writes the UPID as Proxmox does.
func (u UPID) MarshalText() ([]byte, error) { return []byte(u.raw), nil }

// UnmarshalText reads a UPID strictly; nothing reads as the zero UPID.
func (u *UPID) UnmarshalText(b []byte) (err error) {
	*u = UPID{}
	if len(b) > 0 {
		*u, err = ParseUPID(string(b))
	}
	return err
}

// IsZero tells whether there is no task at all.
func (u UPID) IsZero() bool { return u.raw == "" }

// Owner gives user@realm, with !token where a token started the task.
func (u UPID) Owner() string {
	if u.Token == "" {
		return u.User
	}
	return u.User + "!" + u.Token
}

// VMID gives the machine the task works on: also from "110@local". False for jobs over several machines.
func (u UPID) VMID() (int, bool) {
	id, _, _ := strings.Cut(u.ID, "@")
	n, err := strconv.Atoi(id)
	if err != nil || n <= 0 {
		return 0, false
	}
	return n, true
}

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
