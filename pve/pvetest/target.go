package pvetest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"stowage/pve"
)

// Target is a Proxmox VE and what on it may be used.
type Target struct {
	URL         string // https://host:8006
	TokenID     string // user@realm!name
	Secret      string
	Fingerprint string // SHA-256 of the certificate; "" only where URL is plain http

	Node    string // where the machine is
	Storage string // takes backups, and prunes none by itself
	VMID    int    // a machine that may be destroyed; without Destroy it is only backed up
	Destroy bool   // the machine may be changed in every way, and is restored from a backup afterwards; another is made and destroyed

	Now     func() time.Time
	Sleep   func(context.Context, time.Duration) error // between two looks; nil waits as long as it is told
	Observe func(pve.Call)                             // one per request; may be nil
	Log     func(line string)                          // hears what is being tried; may be nil
}

// The environment that FromEnv reads.
const (
	EnvURL         = "PVE_URL"         // https://host:8006; without it there is no target
	EnvToken       = "PVE_TOKEN"       // user@realm!name=secret
	EnvFingerprint = "PVE_FINGERPRINT" // SHA-256, with or without colons
	EnvNode        = "PVE_NODE"
	EnvStorage     = "PVE_STORAGE"
	EnvVMID        = "PVE_VMID"
	EnvDestroy     = "PVE_DESTROY" // 1 where the machine may be changed and restored over as well
)

// ErrNoTarget means that the environment names no Proxmox VE.
var ErrNoTarget = errors.New("no Proxmox VE is named: set " + strings.Join([]string{EnvURL, EnvToken + " (user@realm!name=secret)", EnvFingerprint, EnvNode, EnvStorage}, ", ") +
	" and " + EnvVMID + " (a machine that may be destroyed)")

// FromEnv reads a target from the environment. Now is left to the caller.
func FromEnv(getenv func(string) string) (Target, error) {
	t := Target{URL: getenv(EnvURL), Fingerprint: getenv(EnvFingerprint), Node: getenv(EnvNode), Storage: getenv(EnvStorage)}
	if t.URL == "" {
		return Target{}, ErrNoTarget
	}
	id, secret, found := strings.Cut(getenv(EnvToken), "=")
	if !found {
		return Target{}, errors.New(EnvToken + " reads user@realm!name=secret")
	}
	t.TokenID, t.Secret = id, secret
	vmid, err := strconv.Atoi(getenv(EnvVMID))
	if err != nil {
		return Target{}, errors.New(EnvVMID + " is the number of a machine")
	}
	t.VMID = vmid
	t.Destroy = getenv(EnvDestroy) == "1"
	for name, value := range map[string]string{EnvFingerprint: t.Fingerprint, EnvNode: t.Node, EnvStorage: t.Storage} {
		if value == "" {
			return Target{}, fmt.Errorf("%s is missing", name)
		}
	}
	return t, nil
}

// client connects, with what a chapter wants otherwise.
func (t Target) client(change func(*pve.Config)) (*pve.Client, error) {
	cfg := pve.Config{Endpoints: []string{t.URL}, TokenID: t.TokenID, Secret: t.Secret, Now: t.Now, Observe: t.Observe}
	if t.Fingerprint != "" {
		cfg.Fingerprints = []string{t.Fingerprint}
	}
	if change != nil {
		change(&cfg)
	}
	return pve.New(cfg)
}

func (t Target) sleep(ctx context.Context, d time.Duration) error {
	if t.Sleep != nil {
		return t.Sleep(ctx, d)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
