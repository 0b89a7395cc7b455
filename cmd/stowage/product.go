package main

import (
	"io"
	"time"

	"stowage/portal"
	"stowage/store"
)

type productCmd struct {
	Add  productAddCmd  `cmd:"" help:"Add what is sold."`
	Set  productSetCmd  `cmd:"" help:"Change what is sold. No machine changes."`
	List productListCmd `cmd:"" help:"List products."`
}

type productAddCmd struct {
	data
	output
	Name string `required:"" help:"Its name."`

	Backups       int    `required:"" help:"Quota: complete backups that a service may keep. 0 for none."`
	BackupStorage string `placeholder:"STORAGE" help:"The storage that backups go to."`
	Mode          string `default:"snapshot" enum:"snapshot,suspend,stop" help:"How backups are taken: ${enum} (${default})."`
	ModeChoice    bool   `help:"A service may have a mode of its own."`
	Compress      string `default:"zstd" enum:"0,gzip,lzo,zstd" help:"Compression: ${enum} (${default}); 0 for none."`
	Bwlimit       int64  `placeholder:"KIBPS" help:"Limit of reading while a backup is made, in KiB/s; the token needs Sys.Modify for it. 0 for the host's own."`
	Fleecing      string `placeholder:"STORAGE" help:"Storage of the fleecing image; none where it is left out."`
	Eviction      string `default:"before" enum:"before,after" help:"When all places are used, the oldest is removed before or after the new one is made (${default})."`
	LastCopy      string `default:"overlap" enum:"overlap,hold" help:"When only the newest good backup could make room: make the new one first (overlap), or skip (hold)."`
	Spread        int    `placeholder:"MINUTES" help:"Scheduled backups start up to so many minutes after their time, never before."`
	CatchUp       int    `placeholder:"HOURS" help:"Hours after its time within which a scheduled backup may still start; without it, the setting catch_up_hours."`
	Protect       int    `placeholder:"COUNT" help:"Backups that a client may protect from removal."`

	SafetyCopy bool `default:"true" negatable:"" help:"The present state is saved before a restore."`

	Snapshots      int  `placeholder:"COUNT" help:"Quota of snapshots."`
	SnapshotDays   int  `default:"1" placeholder:"DAYS" help:"Days that a snapshot lives, 1 to 10."`
	SnapshotMemory bool `default:"true" negatable:"" help:"Snapshots of a running machine may hold its memory."`

	cloneFlags
	machineFlags
}

// Run adds the product.
func (c *productAddCmd) Run(a *app) error {
	var spec portal.Spec
	c.sold(&spec)
	if err := c.cloneFlags.said(&spec); err != nil {
		return err
	}
	return c.with(a, func(db *store.DB) (err error) {
		hours := c.CatchUp
		if hours == 0 {
			if hours, err = db.SettingInt(a.ctx, store.CatchUpHours); err != nil {
				return err
			}
		}
		added, err := db.AddProduct(a.ctx, actor, portal.Product{
			Name: c.Name, Quota: c.Backups, Storage: c.BackupStorage, Mode: c.Mode, ModeChoice: c.ModeChoice, Compress: c.Compress,
			BWLimit: c.Bwlimit, Fleecing: c.Fleecing, Spread: time.Duration(c.Spread) * time.Minute,
			Policy:      portal.Policy{Eviction: portal.EvictionMode(c.Eviction), LastCopy: portal.LastCopyMode(c.LastCopy)},
			StartWindow: time.Duration(hours) * time.Hour, Protect: c.Protect, SafetyCopy: c.SafetyCopy, Spec: spec,
			Snapshots: c.Snapshots, SnapshotDays: c.SnapshotDays, SnapMemory: c.SnapshotMemory,
		})
		if err != nil {
			return err
		}
		return c.print(a, map[string]string{"uid": added.UID, "name": added.Name}, func(w io.Writer) {
			row(w, "uid", added.UID)
			row(w, "name", added.Name)
		})
	})
}

type productListCmd struct {
	data
	output
}

// Run lists the products.
func (c *productListCmd) Run(a *app) error {
	type product struct {
		UID       string `json:"uid"`
		Name      string `json:"name"`
		Backups   int    `json:"backups"`
		Storage   string `json:"backup_storage"`
		Mode      string `json:"mode"`
		Eviction  string `json:"eviction"`
		LastCopy  string `json:"last_copy"`
		Snapshots int    `json:"snapshots"`
	}
	return c.with(a, func(db *store.DB) error {
		all, err := db.Products(a.ctx)
		if err != nil {
			return err
		}
		out := make([]product, len(all))
		for i, p := range all {
			out[i] = product{p.UID, p.Name, p.Quota, p.Storage, p.Mode, string(p.Policy.Eviction), string(p.Policy.LastCopy), p.Snapshots}
		}
		return c.print(a, out, func(w io.Writer) {
			row(w, "UID", "NAME", "BACKUPS", "STORAGE", "MODE", "EVICTION", "LAST COPY")
			for _, p := range out {
				row(w, p.UID, p.Name, p.Backups, p.Storage, p.Mode, p.Eviction, p.LastCopy)
			}
		})
	})
}
