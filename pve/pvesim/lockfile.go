package pvesim

import "slices"

// Every machine has a lock file on its node. Whoever changes the machine holds
// it: a change of the configuration for a moment, a shutdown or a restore for
// all its time. Others wait 10 s for it and then give up (recorded in 10).
const (
	lockWait    = 10_000 // milliseconds
	restoreWait = 5_000  // for a restore's first look
)

func lockTimeout(vmid int) string {
	return "can't lock file '" + lockFile(vmid) + "' - got timeout"
}

func lockFile(vmid int) string {
	return "/var/lock/qemu-server/lock-" + itoa(vmid) + ".conf"
}

// fileHeld says whether somebody has a machine's lock file; reading is what
// several may do at once.
func (s *Sim) fileHeld(vmid int, reading bool) bool {
	for _, t := range s.active {
		if w := t.Work; w != nil && w.holds(vmid, reading) {
			return true
		}
	}
	return slices.ContainsFunc(s.st.Cleanups, func(c *cleanup) bool { return c.VMID == vmid && c.Until != 0 })
}

// letGo notes when a machine's lock file was last let go.
func (s *Sim) letGo(vmid int, at int64) {
	s.st.Freed[vmid] = max(s.st.Freed[vmid], at)
}

// cleanup is "qm cleanup", which follows the end of every QEMU. When it gets
// the lock file and the machine runs again, the one of 9.1.13 and later waits
// up to 30 s with the file in its hand (differences, A1); that of 8.4 ends.
type cleanup struct {
	VMID   int
	Arrive int64 // unix milliseconds
	Until  int64 // while it waits with the lock file; 0 before
}

const (
	cleanupLoads = 500 // milliseconds until it has loaded, and as many again by chance
	cleanupHolds = 30_000
)

// quit is the end of a machine's QEMU.
func (s *Sim) quit(g *guest, at int64) {
	for _, c := range s.st.Cleanups {
		if c.VMID == g.VMID && c.Until != 0 {
			c.Until = at // what it waited for
		}
	}
	if s.release.nine {
		r := s.random("cleanup", itoa(g.VMID)+" "+itoa(int(at)))
		s.st.Cleanups = append(s.st.Cleanups, &cleanup{VMID: g.VMID, Arrive: at + cleanupLoads + int64(r.Uint64()%cleanupLoads)})
	}
}

// cleanupDue is when one does something next.
func (s *Sim) cleanupDue(c *cleanup) (int64, bool) {
	switch {
	case c.Until != 0:
		return c.Until, true
	case s.fileHeld(c.VMID, false):
		return 0, false
	}
	return max(c.Arrive, s.st.Freed[c.VMID]), true
}

func (s *Sim) cleanupStep(c *cleanup, at int64) {
	g := s.guests[c.VMID]
	if c.Until == 0 && g != nil && g.Running && g.Lock == "" {
		c.Until = at + cleanupHolds
		return
	}
	s.st.Cleanups = slices.DeleteFunc(s.st.Cleanups, func(o *cleanup) bool { return o == c })
	s.letGo(c.VMID, at)
}
