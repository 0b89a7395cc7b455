package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"stowage/jobs"
	"stowage/portal"
	"stowage/store"
)

type serviceAcceptCmd struct {
	data
	output
	UID    string `arg:"" name:"uid" help:"The service, whose machine is called gone or replaced."`
	Reason string `required:"" help:"Why that machine is the right one; it goes into the audit log."`
}

// Run reads who has the service's vmid now, and takes that machine for the service's own.
func (c *serviceAcceptCmd) Run(a *app) error {
	if strings.TrimSpace(c.Reason) == "" {
		return wrongUse("--reason says why")
	}
	return c.with(a, func(db *store.DB) error {
		before, err := serviceNamed(a, db, c.UID)
		if err != nil {
			return err
		}
		engine := jobs.New(jobs.Options{DB: db, Now: a.now})
		defer engine.Close()
		ctx, cancel := context.WithTimeout(a.ctx, checkWithin)
		defer cancel()
		s, err := engine.AcceptMachine(ctx, actor, before, c.Reason)
		if err != nil {
			return err
		}
		answer := map[string]any{"uid": s.UID, "name": s.Name, "vmid": s.VMID, "node": s.Node, "state": s.State,
			"machine": identityWords(s.Identity), "machine_before": identityWords(before.Identity)}
		return c.print(a, answer, func(w io.Writer) {
			row(w, "uid", s.UID)
			row(w, "name", s.Name)
			row(w, "machine", fmt.Sprintf("%d on %s, %s", s.VMID, s.Node, identityWords(s.Identity)))
			row(w, "before", identityWords(before.Identity))
			row(w, "state", s.State)
		})
	})
}

// identityWords names a machine's identity: its uuid, or what stands in for it.
func identityWords(v portal.Identity) string {
	if v.UUID != "" {
		return v.UUID
	}
	return fmt.Sprintf("made %d, %s", v.Made, v.MACs)
}
