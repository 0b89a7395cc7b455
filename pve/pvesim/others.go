package pvesim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// change lets somebody else than the API's caller change the world: whatever
// is due comes first, and the journal has it before the change returns.
func (s *Sim) change(do func(at int64) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	err := do(s.nowMS())
	s.rightsChanged()
	if s.journal != "" {
		if saved := s.save(); err == nil {
			err = saved
		}
	}
	return err
}

func (s *Sim) withGuest(vmid int, do func(g *guest, at int64) error) error {
	return s.change(func(at int64) error {
		g := s.guests[vmid]
		if g == nil {
			return fmt.Errorf("pvesim: no machine %d", vmid)
		}
		return do(g, at)
	})
}

// StartForeignBackup backs a machine up as root@pam would from the console:
// params are those of POST …/vzdump beside vmid and storage. It gives the
// task's UPID, or "" where Proxmox VE would answer "OK".
func (s *Sim) StartForeignBackup(node string, vmid int, storage string, with map[string]string) (upid string, err error) {
	err = s.change(func(at int64) error {
		c := &call{method: "POST", path: "/nodes/" + node + "/vzdump", node: node, at: at, who: identity{Name: root, User: root}}
		c.params = params{"node": {node}, "vmid": {strconv.Itoa(vmid)}}
		if storage != "" {
			c.params["storage"] = []string{storage}
		}
		for k, v := range with {
			c.params[k] = []string{v}
		}
		if s.node(node) == nil {
			return fmt.Errorf("pvesim: no node %q", node)
		}
		if errs := c.params.verify(vzdumpParams, s.release); len(errs) > 0 {
			return fmt.Errorf("pvesim: %v", errs)
		}
		if a := postVzdump(s, c); a.failed() {
			return fmt.Errorf("pvesim: %s %v", a.reason, a.more)
		}
		upid = c.upid
		return nil
	})
	return upid, err
}

// Migrate moves a machine to another node, with its disks; archives on storages
// that are not shared stay behind.
func (s *Sim) Migrate(vmid int, node string) error {
	return s.withGuest(vmid, func(g *guest, _ int64) error {
		if s.node(node) == nil {
			return fmt.Errorf("pvesim: no node %q", node)
		}
		s.moveGuest(g, node)
		return nil
	})
}

func (s *Sim) moveGuest(g *guest, node string) {
	g.Node = node
	s.images = nil
}

// SetLock puts a lock on a machine: backup, snapshot, snapshot-delete,
// rollback, migrate, create, clone, suspending, suspended, disk.
func (s *Sim) SetLock(vmid int, lock string) error {
	return s.withGuest(vmid, func(g *guest, _ int64) error {
		g.Lock = lock
		return nil
	})
}

// Unlock is "qm unlock".
func (s *Sim) Unlock(vmid int) error { return s.SetLock(vmid, "") }

// HoldLockFile has somebody hold a machine's lock file, as a command on its
// node does while it works: who needs the file waits 10 s and gives up.
func (s *Sim) HoldLockFile(vmid int, d time.Duration) error {
	return s.withGuest(vmid, func(_ *guest, at int64) error {
		s.st.Cleanups = append(s.st.Cleanups, &cleanup{VMID: vmid, Arrive: at, Until: at + d.Milliseconds()})
		return nil
	})
}

// SetGuestRunning starts or stops a machine. One that runs for its backup
// alone goes on running when it is started.
func (s *Sim) SetGuestRunning(vmid int, running bool) error {
	return s.withGuest(vmid, func(g *guest, at int64) error {
		if running && g.Prelaunch {
			g.wake(at)
			return nil
		}
		s.setRunning(g, at, running)
		return nil
	})
}

// SetGuest changes a machine's configuration or disks.
func (s *Sim) SetGuest(vmid int, edit func(*Guest)) error {
	return s.withGuest(vmid, func(g *guest, at int64) error {
		running, was := g.Running, g.Guest.clone()
		edit(&g.Guest)
		s.edited(g, was)
		now := g.Running
		g.Running = running
		if now != running {
			s.setRunning(g, at, now)
		}
		g.lived(at)
		s.images = nil
		return nil
	})
}

// AddGuest creates a machine.
func (s *Sim) AddGuest(g Guest) error {
	return s.change(func(at int64) error { return s.addGuest(g.clone(), at) })
}

// DestroyGuest removes a machine, its disks and the rights on its path. Its
// archives stay (recorded in 11).
func (s *Sim) DestroyGuest(vmid int) error {
	return s.withGuest(vmid, func(g *guest, _ int64) error {
		s.removeGuest(g)
		path := fmt.Sprintf("/vms/%d", vmid)
		s.st.World.ACL = slices.DeleteFunc(s.st.World.ACL, func(a ACL) bool { return a.Path == path })
		return nil
	})
}

func (s *Sim) removeGuest(g *guest) {
	delete(s.guests, g.VMID)
	s.st.Guests = slices.DeleteFunc(s.st.Guests, func(o *guest) bool { return o == g })
	s.images = nil
}

// ReplaceGuest destroys a machine and creates another with the same number and
// configuration: only its identity (the uuid of smbios1, the MAC) is new.
func (s *Sim) ReplaceGuest(vmid int) error {
	return s.withGuest(vmid, func(g *guest, at int64) error {
		next := g.Guest.clone()
		next.Lock, next.Running = "", false
		s.removeGuest(g)
		r := s.random("replace", fmt.Sprint(vmid, at))
		next.UUID = uuid(r)
		delete(next.Config, "vmgenid")
		if before, after, found := strings.Cut(next.Config["net0"], "="); found {
			if _, rest, more := strings.Cut(after, ","); more {
				next.Config["net0"] = fmt.Sprintf("%s=BC:24:11:%02X:%02X:%02X,%s", before, byte(r.Uint64()), byte(r.Uint64()), byte(r.Uint64()), rest)
			}
		}
		next.Config["meta"] = fmt.Sprintf("creation-qemu=10.0.2,ctime=%d", at/1000)
		return s.addGuest(next, at)
	})
}

// RemoveArchive removes an archive as "rm" would, whatever protects it. node
// is where it lies; "" removes it wherever it is.
func (s *Sim) RemoveArchive(node, volid string) error {
	return s.change(func(int64) error {
		removed := false
		for _, sh := range s.st.Shelves {
			if node == "" || sh.Key.Node == "" || sh.Key.Node == node {
				removed = sh.remove(volid) || removed
			}
		}
		if !removed {
			return fmt.Errorf("pvesim: no archive %s on %q", volid, node)
		}
		return nil
	})
}

// AddArchive puts an archive there that no task of this world made.
func (s *Sim) AddArchive(a Archive) error {
	return s.change(func(int64) error { return s.addArchive(a, true) })
}

// SetArchive changes what is known of an archive: size, notes, protection.
func (s *Sim) SetArchive(node, volid string, edit func(*Archive)) error {
	return s.change(func(int64) error {
		for _, sh := range s.st.Shelves {
			if node != "" && sh.Key.Node != "" && sh.Key.Node != node {
				continue
			}
			if a := sh.find(volid); a != nil {
				sh.Used -= blocks(a.Size)
				edit(&a.Archive)
				a.Volid = volid
				sh.Used += blocks(a.Size)
				return nil
			}
		}
		return fmt.Errorf("pvesim: no archive %s on %q", volid, node)
	})
}

// KillTask kills a worker without a word: "unexpected status", its lock stays.
func (s *Sim) KillTask(upid string) error {
	return s.change(func(at int64) error {
		t := s.tasks[upid]
		if t == nil || t.End != 0 {
			return fmt.Errorf("pvesim: no running task %s", upid)
		}
		s.kill(t, at)
		return nil
	})
}

// ForgetTask makes a task unknown, as the rotation of the task index does.
func (s *Sim) ForgetTask(upid string) error {
	return s.change(func(int64) error {
		t := s.tasks[upid]
		if t == nil {
			return fmt.Errorf("pvesim: no task %s", upid)
		}
		if t.End == 0 {
			return fmt.Errorf("pvesim: task %s is running", upid)
		}
		s.forget(t)
		return nil
	})
}

// SetNodeOnline takes a node's power away, or boots it. Its tasks die, its
// machines stop; a boot clears locks named backup, and no others (facts).
func (s *Sim) SetNodeOnline(node string, online bool) error {
	return s.change(func(at int64) error {
		n := s.node(node)
		switch {
		case n == nil:
			return fmt.Errorf("pvesim: no node %q", node)
		case online == !n.Offline:
			return nil
		}
		n.Offline, n.StatDead = !online, at
		if online {
			n.StatDead = 0
			s.st.Boots[node] = at
			for _, g := range s.guests {
				if g.Node == node && g.Lock == "backup" {
					g.Lock = ""
				}
			}
			return nil
		}
		for _, t := range slices.Clone(s.active) {
			if t.Node == node {
				s.kill(t, at)
			}
		}
		for _, g := range s.guests {
			if g.Node == node && g.Running {
				s.setRunning(g, at, false)
				g.Leftover = 0
			}
		}
		return nil
	})
}

// SetPvestatd ends or starts the daemon that tells how machines are.
func (s *Sim) SetPvestatd(node string, alive bool) error {
	return s.change(func(at int64) error {
		n := s.node(node)
		if n == nil {
			return fmt.Errorf("pvesim: no node %q", node)
		}
		n.StatDead = at
		if alive {
			n.StatDead = 0
		}
		return nil
	})
}

// SetStorage changes a storage's configuration or state.
func (s *Sim) SetStorage(name string, edit func(*Storage)) error {
	return s.change(func(at int64) error {
		st := s.storage(name)
		if st == nil {
			return fmt.Errorf("pvesim: no storage %q", name)
		}
		was := st.Gone
		edit(st)
		if st.Gone != was {
			st.GoneSince = at
		}
		st.Name = name
		return nil
	})
}

// SetPrivileges gives a user or token exactly these privileges on a path, in
// place of what it had there. A token with PrivSep never has more than its user.
func (s *Sim) SetPrivileges(who, path string, privileges ...string) error {
	return s.change(func(int64) error {
		role := "Set:" + who + ":" + path
		s.st.World.Roles[role] = slices.Clone(privileges)
		s.st.World.ACL = slices.DeleteFunc(s.st.World.ACL, func(a ACL) bool { return a.Who == who && a.Path == path })
		s.st.World.ACL = append(s.st.World.ACL, ACL{Path: path, Role: role, Who: who})
		return nil
	})
}

// SetRights replaces the whole access control list, with roles beside the built-in ones.
func (s *Sim) SetRights(roles map[string][]string, entries ...ACL) error {
	return s.change(func(int64) error {
		s.st.World.Roles = map[string][]string{}
		for name, privileges := range roles {
			s.st.World.Roles[name] = slices.Clone(privileges)
		}
		s.st.World.ACL = slices.Clone(entries)
		return nil
	})
}

// RevokeToken makes a token unknown.
func (s *Sim) RevokeToken(id string) error {
	return s.change(func(int64) error {
		s.st.World.Tokens = slices.DeleteFunc(s.st.World.Tokens, func(t Token) bool { return t.ID == id })
		s.st.World.ACL = slices.DeleteFunc(s.st.World.ACL, func(a ACL) bool { return a.Who == id })
		return nil
	})
}

// SetBackupJobs replaces the cluster's own backup jobs.
func (s *Sim) SetBackupJobs(jobs ...BackupJob) error {
	return s.change(func(int64) error {
		s.st.World.BackupJobs = slices.Clone(jobs)
		return nil
	})
}
