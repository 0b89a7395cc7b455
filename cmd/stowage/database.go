package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"stowage/store"
)

type migrateCmd struct {
	data
	output
}

// Run brings the database up to date; a missing one is made, with its key.
func (c *migrateCmd) Run(a *app) error {
	db, from, to, err := c.openUpToDate(a.ctx, a.now)
	if err != nil {
		return err
	}
	answer := map[string]any{"database": db.Path(), "key_file": c.keyFile(), "from": from, "to": to}
	err = c.print(a, answer, func(w io.Writer) {
		switch from {
		case to:
			row(w, fmt.Sprintf("%s is up to date (version %d).", c.Database, to))
		case 0:
			row(w, fmt.Sprintf("Made %s (version %d). Its secrets are sealed with %s: keep a copy of that file in another place.", c.Database, to, c.keyFile()))
		default:
			row(w, fmt.Sprintf("Brought %s from version %d to %d. The copy from before is %s.before-%d.", c.Database, from, to, c.Database, to))
		}
	})
	return errors.Join(err, db.Close())
}

type backupDBCmd struct {
	data
	output
	File string `arg:"" help:"The new file; it must not exist."`
}

// Run writes the copy.
func (c *backupDBCmd) Run(a *app) error {
	return c.with(a, func(db *store.DB) error {
		path, err := filepath.Abs(c.File)
		if err != nil {
			return err
		}
		if err := db.CopyTo(a.ctx, path); err != nil {
			return err
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		return c.print(a, map[string]any{"file": path, "bytes": info.Size()}, func(w io.Writer) {
			row(w, fmt.Sprintf("Copied the database to %s (%d bytes). The key file %s is not in it: keep that apart.", path, info.Size(), c.keyFile()))
		})
	})
}
