package main

import (
	"io"
	"time"

	"stowage/portal"
	"stowage/store"
)

// productSetCmd changes what is sold: each flag that is said, and nothing else.
type productSetCmd struct {
	data
	output
	Product string `arg:"" name:"name" help:"Name or uid of the product."`
	Name    string `placeholder:"NAME" help:"A new name."`

	Backups       *int    `placeholder:"COUNT" help:"Quota: complete backups that a service may keep."`
	BackupStorage *string `placeholder:"STORAGE" help:"The storage that backups go to."`
	Mode          *string `placeholder:"MODE" help:"How backups are taken: snapshot, suspend or stop."`
	ModeChoice    *bool   `negatable:"" help:"A service may have a mode of its own."`
	Compress      *string `placeholder:"HOW" help:"Compression: 0, gzip, lzo or zstd; 0 for none."`
	Bwlimit       *int64  `placeholder:"KIBPS" help:"Limit of reading while a backup is made, in KiB/s. 0 for the host's own."`
	Fleecing      *string `placeholder:"STORAGE" help:"Storage of the fleecing image; empty for none."`
	Eviction      *string `placeholder:"WHEN" help:"When all places are used, the oldest is removed before or after the new one is made."`
	LastCopy      *string `placeholder:"HOW" help:"When only the newest good backup could make room: overlap or hold."`
	Spread        *int    `placeholder:"MINUTES" help:"Scheduled backups start up to so many minutes after their time, never before."`
	CatchUp       *int    `placeholder:"HOURS" help:"Hours after its time within which a scheduled backup may still start."`
	Protect       *int    `placeholder:"COUNT" help:"Backups that a client may protect from removal."`
	SafetyCopy    *bool   `negatable:"" help:"The present state is saved before a restore."`

	Snapshots      *int  `placeholder:"COUNT" help:"Quota of snapshots."`
	SnapshotDays   *int  `placeholder:"DAYS" help:"Days that a snapshot lives, 1 to 10. Those that were taken keep theirs."`
	SnapshotMemory *bool `negatable:"" help:"Snapshots of a running machine may hold its memory."`

	cloneFlags
	machineFlags
}

// Run changes the product.
func (c *productSetCmd) Run(a *app) error {
	return c.with(a, func(db *store.DB) error {
		p, err := productNamed(a, db, c.Product)
		if err != nil {
			return err
		}
		if err := c.said(&p); err != nil {
			return err
		}
		if err := db.SetProduct(a.ctx, actor, p); err != nil {
			return err
		}
		return c.print(a, map[string]string{"uid": p.UID, "name": p.Name}, func(w io.Writer) {
			row(w, "uid", p.UID)
			row(w, "name", p.Name)
		})
	})
}

// said puts what the flags say into the product.
func (c *productSetCmd) said(p *portal.Product) error {
	if c.Name != "" {
		p.Name = c.Name
	}
	take(&p.Quota, c.Backups)
	take(&p.Storage, c.BackupStorage)
	take(&p.Mode, c.Mode)
	take(&p.ModeChoice, c.ModeChoice)
	take(&p.Compress, c.Compress)
	take(&p.BWLimit, c.Bwlimit)
	take(&p.Fleecing, c.Fleecing)
	take((*string)(&p.Policy.Eviction), c.Eviction)
	take((*string)(&p.Policy.LastCopy), c.LastCopy)
	if c.Spread != nil {
		p.Spread = time.Duration(*c.Spread) * time.Minute
	}
	if c.CatchUp != nil {
		p.StartWindow = time.Duration(*c.CatchUp) * time.Hour
	}
	take(&p.Protect, c.Protect)
	take(&p.SafetyCopy, c.SafetyCopy)
	take(&p.Snapshots, c.Snapshots)
	take(&p.SnapshotDays, c.SnapshotDays)
	take(&p.SnapMemory, c.SnapshotMemory)
	c.sold(&p.Spec)
	return c.cloneFlags.said(&p.Spec)
}
