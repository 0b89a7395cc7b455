package main

import (
	"io"

	"stowage/store"
)

// serviceSetCmd changes what a service has in place of its product's.
type serviceSetCmd struct {
	data
	output
	UID string `arg:"" name:"uid" help:"The service."`
	ownFlags
}

// Run changes the service's own values.
func (c *serviceSetCmd) Run(a *app) error {
	return c.with(a, func(db *store.DB) error {
		s, err := serviceNamed(a, db, c.UID)
		if err != nil {
			return err
		}
		c.said(&s.Own)
		if err := db.SetServiceOwn(a.ctx, actor, s.UID, s.Own); err != nil {
			return err
		}
		return c.print(a, map[string]any{"uid": s.UID, "own": s.Own}, func(w io.Writer) {
			row(w, "uid", s.UID)
			row(w, "name", s.Name)
		})
	})
}
