package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"stowage/pve/pvesim"
	"stowage/store"
)

// demoFolder is where a demo lives: its database and key, the simulated worlds, a mark that says whether all of it
// is there, and a lock, because two processes would each have worlds of their own.
type demoFolder string

func (f demoFolder) file(name string) string { return filepath.Join(string(f), name) }
func (f demoFolder) data() data {
	return data{Database: f.file("stowage.db"), KeyFile: f.file("stowage.key"), pseudo: true}
}
func (f demoFolder) worlds() string { return f.file("proxmox") }
func (f demoFolder) mark() string   { return f.file("demo.json") }

const demoLock = "demo.lock"

// demoMark is the content of the mark. The folder counts as filled from the instant at which the mark says so.
type demoMark struct {
	Filled bool      `json:"filled"`
	Began  time.Time `json:"began"`
}

// claim makes the folder and locks it for this process. The lock ends with the process, whatever ends it.
func (f demoFolder) claim() (release func() error, err error) {
	if err := os.MkdirAll(string(f), 0o700); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(f.file(demoLock), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = fmt.Errorf("another demo runs on %s", f)
		}
		return nil, errors.Join(err, lock.Close())
	}
	return lock.Close, nil
}

// ready fills the folder where that has not been done, or not to its end: then from nothing.
func (f demoFolder) ready(ctx context.Context, now func() time.Time, speed float64, log *slog.Logger) error {
	mark, err := f.read()
	if err != nil || mark.Filled {
		return err
	}
	if err := f.clear(); err != nil {
		return err
	}
	mark = demoMark{Began: now().UTC()}
	if err := f.write(mark); err != nil {
		return err
	}
	if err := fill(ctx, f, now(), speed, log); err != nil {
		return err
	}
	if err := f.sync(); err != nil {
		return err
	}
	mark.Filled = true
	return f.write(mark)
}

// read gives the mark. A folder without one has to be empty: what somebody else keeps there is not touched.
func (f demoFolder) read() (mark demoMark, err error) {
	text, err := os.ReadFile(f.mark())
	if err == nil {
		if err := json.Unmarshal(text, &mark); err != nil {
			return mark, fmt.Errorf("%s: %w", f.mark(), err)
		}
		return mark, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return mark, err
	}
	entries, err := os.ReadDir(string(f))
	for _, e := range entries {
		if e.Name() != demoLock {
			return mark, fmt.Errorf("%s holds other things (%s): give the demo a folder of its own", f, e.Name())
		}
	}
	return mark, err
}

// write puts the mark in place as a whole, and on the disk.
func (f demoFolder) write(mark demoMark) error {
	text, err := json.Marshal(mark)
	if err != nil {
		return err
	}
	next := f.mark() + ".new"
	if err := os.WriteFile(next, append(text, '\n'), 0o600); err != nil {
		return err
	}
	if err := syncPath(next); err != nil {
		return err
	}
	if err := os.Rename(next, f.mark()); err != nil {
		return err
	}
	return syncPath(string(f))
}

// clear removes what a filling left behind that did not get to its end.
func (f demoFolder) clear() error {
	left, err := filepath.Glob(f.data().Database + "*")
	if err != nil {
		return err
	}
	for _, path := range append(left, f.data().KeyFile, f.worlds(), f.mark()+".new") {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	return nil
}

// sync makes sure that the database is on the disk: it was filled without waiting for that. The worlds see to
// themselves.
func (f demoFolder) sync() error {
	for _, path := range []string{f.data().Database, f.data().KeyFile, string(f)} {
		if err := syncPath(path); err != nil {
			return err
		}
	}
	return nil
}

func syncPath(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}

// open opens what the folder keeps: the database and, by the server's name, the simulated worlds.
func (f demoFolder) open(ctx context.Context, now func() time.Time, speed float64) (*store.DB, map[string]*pvesim.Sim, error) {
	sims := map[string]*pvesim.Sim{}
	for _, server := range demoServers() {
		sim, err := f.simulator(server, pvesim.World{}, now, sleep, speed)
		if err != nil {
			return nil, nil, err
		}
		sims[server.name] = sim
	}
	db, _, _, err := f.data().openUpToDate(ctx, now)
	return db, sims, err
}

// simulator opens the simulated world of a server that the folder keeps, or begins to keep this one.
func (f demoFolder) simulator(server demoServer, w pvesim.World, now func() time.Time, sleep func(context.Context, time.Duration), speed float64) (*pvesim.Sim, error) {
	sim, err := pvesim.New(w, pvesim.Options{
		Release: server.release, Now: now, Sleep: sleep, Speed: speed, Seed: demoSeed, Journal: filepath.Join(f.worlds(), server.short),
	})
	if err != nil {
		return nil, fmt.Errorf("the simulated %s: %w", server.name, err)
	}
	return sim, nil
}
