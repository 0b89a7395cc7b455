package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"stowage/jobs"
	"stowage/portal"
	"stowage/static"
	"stowage/store"
)

type doctorCmd struct {
	data
	output
	mailFlags
	Offline bool `help:"Leave the servers out, those for mail too."`
}

// Run looks at everything, says what it found, and fails where something has to be mended.
func (c *doctorCmd) Run(a *app) error {
	d := &doctor{app: a, data: c.data}
	d.files()
	if db := d.database(); db != nil {
		d.contents(db)
		d.scheduler(db)
		d.mail(db, c.mailFlags, c.Offline)
		if !c.Offline {
			d.servers(db)
		}
		if err := db.Close(); err != nil {
			return err
		}
	}
	err := c.print(a, d.findings, func(w io.Writer) { findingsText(w, d.findings) })
	if n := wrong(d.findings); n > 0 {
		err = errors.Join(err, fmt.Errorf("%s to mend", portal.Plural(n, "thing", "things")))
	}
	return err
}

// doctor gathers findings.
type doctor struct {
	*app
	data
	findings []finding
}

func (d *doctor) ok(format string, args ...any) {
	d.findings = append(d.findings, finding{Level: "ok", Text: fmt.Sprintf(format, args...)})
}

func (d *doctor) warn(mend, format string, args ...any) {
	d.findings = append(d.findings, finding{Level: "warning", Text: fmt.Sprintf(format, args...), Mend: mend})
}

func (d *doctor) bad(mend, format string, args ...any) {
	d.findings = append(d.findings, finding{Level: "error", Text: fmt.Sprintf(format, args...), Mend: mend})
}

// leastFree is the free space below which the database is in danger.
const leastFree = 1 << 30

// files looks at the binary, the database's file and the key's.
func (d *doctor) files() {
	if err := static.Check(); err != nil {
		d.bad("Build with make build.", "This binary has no style sheet and scripts.")
	}
	if info, err := os.Stat(d.keyFile()); err != nil {
		d.bad("Put the key file back from where you keep its copy, or name it with --key-file.", "The key file %s can't be read: %v.", d.keyFile(), err)
	} else if info.Mode().Perm()&0o077 != 0 {
		d.bad("chmod 600 "+d.keyFile(), "Others may read the key file %s (%s).", d.keyFile(), info.Mode().Perm())
	} else {
		d.ok("The key file %s is there, and only its owner may read it.", d.keyFile())
	}
	if info, err := os.Stat(d.Database); err == nil && info.Mode().Perm()&0o077 != 0 {
		d.warn("chmod 600 "+d.Database, "Others may read the database %s (%s).", d.Database, info.Mode().Perm())
	}
	var space syscall.Statfs_t
	if err := syscall.Statfs(filepath.Dir(d.Database), &space); err == nil {
		free := int64(space.Bavail) * space.Bsize
		if free < leastFree {
			d.bad("Make room on that disk.", "Only %s are free where the database lies. When it is full, nothing can be saved.", portal.Bytes(free))
		} else {
			d.ok("%s are free where the database lies.", portal.Bytes(free))
		}
	}
}

// database opens the database; nil where that fails.
func (d *doctor) database() *store.DB {
	exists, err := d.exists()
	if err == nil && !exists {
		d.bad("Name it with --database, or make it with: stowage migrate", "There is no database %s.", d.Database)
		return nil
	}
	db, err := d.open(d.ctx, d.now)
	switch {
	case errors.Is(err, store.ErrWrongKey):
		d.bad("Give the key file that was made with this database (--key-file).", "The key file does not belong to this database.")
	case errors.Is(err, store.ErrNotMigrated):
		d.bad("stowage migrate", "The database is of an older version.")
	case errors.Is(err, store.ErrNewer):
		d.bad("Install that version, or put back the copy from before the upgrade.", "The database is of a newer version of stowage.")
	case err != nil:
		d.bad("Look at the file, its folder and who owns them.", "The database can't be opened: %s.", oneLine(err.Error()))
	default:
		d.ok("The database opens with its key and is up to date.")
		return db
	}
	return nil
}

// contents looks at what the database holds.
func (d *doctor) contents(db *store.DB) {
	damage, err := db.Integrity(d.ctx)
	switch {
	case err != nil:
		d.bad("", "The database can't be read: %s.", oneLine(err.Error()))
	case damage != "":
		d.bad("Stop the portal, keep the file, and put back the newest copy (stowage backup-db makes them).", "The database is damaged: %s", damage)
	default:
		d.ok("The database is whole.")
	}
	switch found, err := db.FindAuditBreak(d.ctx); {
	case err != nil:
		d.bad("", "The audit log can't be read: %s.", oneLine(err.Error()))
	case found != nil:
		d.bad("Compare with an older copy of the database: somebody changed or removed rows.", "The audit log's chain breaks at row %d: %s.", found.Row, found.Why)
	default:
		d.ok("The audit log's chain is unbroken.")
	}
	if has, err := db.HasStaff(d.ctx); err == nil && !has {
		d.warn("stowage staff add --email E --role admin", "Nobody can sign in to the staff pages.")
	}
	products, err := db.Products(d.ctx)
	if err == nil && len(products) == 0 {
		d.warn("stowage product add", "There is no product yet.")
	}
}

// scheduler looks whether somebody drives the operations.
func (d *doctor) scheduler(db *store.DB) {
	pulse, err := db.Pulse(d.ctx)
	if err != nil {
		d.bad("", "The scheduler's state can't be read: %s.", oneLine(err.Error()))
		return
	}
	if state := schedulerState(pulse, d.now()); state != fine {
		d.warn("Start stowage serve. Scheduled backups are made only while it runs.", "The scheduler %s.", state)
	} else {
		d.ok("The scheduler ticks.")
	}
	if pulse.Recovering {
		d.warn("Nothing to do: it ends by itself once every storage was listed twice.", "Automatic deletions wait: the database may be an older copy, so the storages are looked at first.")
	}
}

// servers checks each server as stowage server check does.
func (d *doctor) servers(db *store.DB) {
	all, err := db.Servers(d.ctx)
	if err != nil {
		d.bad("", "The servers can't be read: %s.", oneLine(err.Error()))
		return
	}
	if len(all) == 0 {
		d.warn("stowage server add", "No server is connected yet.")
	}
	engine := jobs.New(jobs.Options{DB: db, Now: d.now})
	defer engine.Close()
	for _, s := range all {
		found, err := d.check(engine, s)
		findings := shown(found)
		if err != nil {
			d.bad("", "%s: %s.", s.Name, oneLine(explain(err)))
		}
		if err == nil && wrong(findings) == 0 {
			if err := d.marks(db, engine, s); err != nil {
				d.warn("", "%s: the archives can't be looked at: %s.", s.Name, oneLine(explain(err)))
			}
		}
		for _, f := range findings {
			f.Text = s.Name + ": " + f.Text
			d.findings = append(d.findings, f)
		}
	}
}

func (d *doctor) check(engine *jobs.Engine, s portal.Server) ([]portal.Finding, error) {
	ctx, cancel := context.WithTimeout(d.ctx, checkWithin)
	defer cancel()
	return engine.Check(ctx, s)
}

// marks looks for archives that carry another installation's mark: two portals on one machine would remove each
// other's room.
func (d *doctor) marks(db *store.DB, engine *jobs.Engine, s portal.Server) error {
	ctx, cancel := context.WithTimeout(d.ctx, checkWithin)
	defer cancel()
	services, err := db.ServicesOn(ctx, s.ID)
	if err != nil {
		return err
	}
	names := make(map[int]string, len(services))
	for _, v := range services {
		names[v.VMID] = v.Name
	}
	wanted, err := db.WantedStorages(ctx, s.ID)
	if err != nil {
		return err
	}
	token, err := db.ServerSecret(ctx, s.ID)
	if err != nil {
		return err
	}
	client, err := engine.Dial(s, token)
	if err != nil {
		return err
	}
	defer client.Close()
	resources, err := client.Resources(ctx)
	if err != nil {
		return err
	}
	looked, said := map[string]bool{}, map[int]bool{}
	for _, r := range resources.Storages {
		place := r.Node + "/" + r.Storage
		if r.Shared {
			place = r.Storage
		}
		if !wanted[r.Storage] || looked[place] || r.Status != "available" {
			continue
		}
		looked[place] = true
		archives, err := client.Archives(ctx, r.Node, r.Storage, 0)
		if err != nil {
			return err
		}
		for _, a := range archives {
			name, ours := names[a.VMID]
			mark, marked, _ := portal.ReadMark(a.NotesLine, db.MarkKey())
			if ours && marked && mark.Installation != db.Installation() && !said[a.VMID] {
				said[a.VMID] = true
				d.bad("Let one of the two go: each counts and removes by itself.", "%s: another installation manages the machine %d (%s) too: %s is its backup.", s.Name, a.VMID, name, a.Volid)
			}
		}
	}
	return nil
}
