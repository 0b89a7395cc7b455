package pvesim

import (
	"fmt"
	"strings"
	"time"
)

// wipe is the part of a task that deletes a volume, or those that a retention
// doesn't cover.
type wipe struct {
	Storage string
	Volid   string
	Path    string
	At      int64  // when it is done
	Failure string // decided already

	Prune   bool
	Victims []string // volids, the oldest first
}

// Deletions on a shared storage take one cluster-wide lock: 10 s to get it
// (facts, "Backups").
const clusterLockWait = 10_000

// deleteVolume deletes by a task; with delay it waits for the task's end and
// then answers without a UPID.
func deleteVolume(s *Sim, c *call) answer {
	v, refused := s.volume(c)
	if refused != nil {
		return *refused
	}
	if v.backup {
		refused = s.archiveRight(c.who, v.storage.Name, v.vmid)
	} else {
		refused = s.demand(c.who, "/storage/"+v.storage.Name, "Datastore.Allocate")
	}
	if refused != nil {
		return *refused
	}
	if !v.backup {
		return fail(500, "cannot remove '%s' - it is a disk of a machine", v.volid)
	}
	t := s.newTask(c, c.node, "imgdel", fmt.Sprintf("%d@%s", v.vmid, v.storage.Name))
	w := &wipe{Storage: v.storage.Name, Volid: v.volid, Path: v.path()}
	t.Wipe = w
	if d := t.doomed(GotNoWorkerUPID); d != nil && !d.Works {
		s.close(t, c.at, unexpected)
		return ok(t.UPID)
	}
	took := 40 + int64(s.random("wipe", fmt.Sprint(t.Seq)).Uint64()%120)
	begin := c.at
	if v.storage.Shared {
		begin = max(begin, s.st.Wiped[v.storage.Name])
		if begin > c.at+clusterLockWait {
			begin, took = c.at+clusterLockWait, 0
			w.Failure = fmt.Sprintf("cfs-lock 'storage-%s' error: got lock request timeout", v.storage.Name)
		} else {
			s.st.Wiped[v.storage.Name] = begin + took
		}
	}
	w.At = begin + took
	if delay := c.params.integer("delay", 0) * 1000; delay > 0 && w.At-c.at <= delay {
		wait := time.Duration(w.At-c.at) * time.Millisecond
		s.wipeStep(t, c.at)
		a := ok(nil)
		a.wait = wait
		if t.Exit != "OK" {
			a = fail(500, "%s", t.Exit)
		}
		return a
	}
	return ok(t.UPID)
}

// wipeStep is the end of a deletion.
func (s *Sim) wipeStep(t *task, at int64) {
	w := t.Wipe
	if t.doomed(TaskKilled) != nil {
		s.kill(t, at)
		return
	}
	if d := t.doomed(TaskFails); d != nil {
		s.finish(t, at, d.line())
		return
	}
	if w.Failure != "" {
		s.finish(t, at, w.Failure)
		return
	}
	st := s.storage(w.Storage)
	if msg := s.activateError(st, t.Node); msg != "" {
		s.finish(t, at, msg)
		return
	}
	sh := s.shelfOf(s.keyOf(w.Storage, t.Node))
	if w.Prune {
		for _, volid := range w.Victims {
			t.log("removing backup '%s'", volid)
			sh.remove(volid)
		}
		s.finish(t, at, "OK")
		return
	}
	if a := sh.find(w.Volid); a != nil && a.Protected {
		_, name, _ := strings.Cut(w.Volid, ":")
		s.finish(t, at, fmt.Sprintf("cannot remove protected volume '%s' on '%s'", name, w.Storage))
		return
	}
	if !sh.remove(w.Volid) {
		t.log("disk image '%s' does not exist", w.Path)
	}
	t.log("Removed volume '%s'", w.Volid)
	s.finish(t, at, "OK")
}
