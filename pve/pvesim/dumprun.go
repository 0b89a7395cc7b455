package pvesim

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// turn is the backup of one machine, from the lock to the archive.
type turn struct {
	VMID       int
	Begin      int64  // unix milliseconds
	Mode       string // in effect: a stopped machine's is always stop
	WasRunning bool
	Diskless   bool
	Empty      bool // there are disks, of no size
	Shelf      shelfKey
	Archive    Archive // as it will be

	ReadAt   int64 // when data begins to flow
	ReadEnd  int64
	Total    int64   // bytes of the disks
	Data     int64   // those that hold something; read first
	DataRate float64 // bytes per millisecond
	HoleRate float64

	Prepared []string // the lines before its disks are touched
	Steps    []step   // what the log will say, and when
	Done     int      // of Steps
	Warnings int
}

// step is one moment of a running backup.
type step struct {
	At    int64
	Lines []string
}

// Speeds at Options.Speed 1: data as fast as a disk of 200 MB/s, holes as fast
// as they are found. Both share a bandwidth limit.
const (
	dataSpeed = 200_000 // bytes per millisecond
	holeSpeed = 5 * dataSpeed
)

// startDump has the lock: the job begins.
func (s *Sim) startDump(t *task, at int64) {
	d := t.Dump
	d.Running = true
	t.log("INFO: starting new backup job: %s", d.Command)
	if len(d.Skipped) > 0 {
		var ids []string
		for _, vmid := range d.Skipped {
			ids = append(ids, strconv.Itoa(vmid))
		}
		t.log("INFO: skip external VMs: %s", strings.Join(ids, ", "))
	}
	if d.Options.All {
		var allowed []int
		for _, vmid := range d.VMIDs {
			if s.may(d.Options.Owner, fmt.Sprintf("/vms/%d", vmid), "VM.Backup") {
				allowed = append(allowed, vmid)
			}
		}
		d.VMIDs = allowed
	} else {
		for _, vmid := range d.VMIDs {
			if a := s.demand(d.Options.Owner, fmt.Sprintf("/vms/%d", vmid), "VM.Backup"); a != nil {
				s.finish(t, at, "403 "+a.reason)
				return
			}
		}
	}
	s.nextGuest(t, at)
}

// nextGuest begins the next machine's backup, or ends the job.
func (s *Sim) nextGuest(t *task, at int64) {
	d := t.Dump
	for d.Next < len(d.VMIDs) {
		vmid := d.VMIDs[d.Next]
		d.Next++
		why := s.beginTurn(t, vmid, at)
		if why == "" {
			return
		}
		d.Failures++
		t.log("ERROR: Backup of VM %d failed - %s", vmid, why)
		t.log("INFO: Failed at %s", s.stamp(t, at))
	}
	switch {
	case d.Failures > 0:
		t.log("INFO: Backup job finished with errors")
		s.finish(t, at, "job errors")
	case d.Warnings > 0:
		t.log("INFO: Backup job finished successfully")
		s.finish(t, at, fmt.Sprintf("WARNINGS: %d", d.Warnings))
	default:
		t.log("INFO: Backup job finished successfully")
		s.finish(t, at, "OK")
	}
}

func (s *Sim) stamp(t *task, at int64) string {
	return s.local(t.Node, at+t.Skew).Format("2006-01-02 15:04:05")
}

// beginTurn checks a machine, locks it and plans its backup. It gives the
// reason of a failure.
func (s *Sim) beginTurn(t *task, vmid int, at int64) string {
	o := t.Dump.Options
	g := s.guests[vmid]
	if g == nil || g.Node != t.Node {
		return fmt.Sprintf("unable to find VM '%d'", vmid)
	}
	key := s.keyOf(o.Storage, t.Node)
	if limit := o.Keep.limit(); limit > 0 && !o.Remove {
		var n int64
		for _, a := range s.shelfOf(key).of(vmid) {
			if !a.Protected {
				n++
			}
		}
		if n >= limit {
			return fmt.Sprintf("There is a max backup limit of %d enforced by the target storage or the vzdump parameters. Either increase the limit or delete old backups.", limit)
		}
	}
	t.log("INFO: Starting Backup of VM %d (qemu)", vmid)
	t.log("INFO: Backup started at %s", s.stamp(t, at))
	t.log("INFO: status = %s", map[bool]string{true: "running", false: "stopped"}[g.Running])
	if g.Lock != "" {
		return fmt.Sprintf("VM is locked (%s)", g.Lock)
	}
	if d := t.doomed(TaskFails); d != nil && d.Share <= 0 {
		return d.line()
	}
	tu := s.plan(t, g, at)
	for _, disk := range g.sorted() {
		if msg := s.activateError(s.storage(disk.Storage), g.Node); msg != "" && !disk.NoBackup {
			t.Lines = append(t.Lines, tu.Prepared...)
			return msg
		}
	}
	if g.Leftover > at {
		t.log("WARN: left-over backup job still running inside QEMU - canceling now")
		tu.Warnings++
	}
	g.Leftover = 0
	t.Dump.Turn = tu
	g.Lock = "backup"
	switch {
	case !g.Running:
		s.setRunning(g, at, true)
		g.Prelaunch = true
		g.lived(at)
	case tu.Mode == "stop":
		// Shut down and started again: another process, from then on.
		g.PID, g.Up, g.Boot = g.PID+137, tu.ReadAt, tu.ReadAt
	}
	s.turnLines(t, 0)
	return ""
}

// turnDue is when the running backup next does something: says a line, meets
// its doom, or fills its storage.
func (s *Sim) turnDue(t *task) int64 {
	tu := t.Dump.Turn
	due := tu.Steps[tu.Done].At
	if at, _ := doomAt(t); at < due {
		due = at
	}
	return min(due, s.fullAt(tu, due))
}

// doomAt is when a fault ends a running backup, and which.
func doomAt(t *task) (int64, *doom) {
	at, which := int64(math.MaxInt64), (*doom)(nil)
	tu := t.Dump.Turn
	for i := range t.Doom {
		d := &t.Doom[i]
		if d.Kind != TaskFails && d.Kind != TaskKilled {
			continue
		}
		share := min(max(d.Share, 0), 1)
		if when := tu.ReadAt + int64(share*float64(tu.ReadEnd-tu.ReadAt)); when < at {
			at, which = when, d
		}
	}
	return at, which
}

// turnStep is one event of the running backup.
func (s *Sim) turnStep(t *task, at int64) {
	tu := t.Dump.Turn
	if when, d := doomAt(t); d != nil && when <= at {
		if d.Kind == TaskKilled {
			s.kill(t, at)
			return
		}
		s.abortTurn(t, at, d.line(), true)
		s.nextGuest(t, at)
		return
	}
	if s.fullAt(tu, at) <= at {
		if line := map[string]string{
			"vma.zst": "zstd: error 70 : Write error : cannot write block : No space left on device ",
			"vma.gz":  "gzip: stdout: No space left on device",
			"vma.lzo": "lzop: No space left on device: <stdout>",
		}[tu.Archive.Format]; line != "" {
			t.log("%s", line)
			s.abortTurn(t, at, "vma_queue_write: write error - Broken pipe", true)
		} else {
			s.abortTurn(t, at, "vma_queue_write: write error - No space left on device", true)
		}
		s.nextGuest(t, at)
		return
	}
	s.turnLines(t, at)
	if tu.Empty && at >= tu.ReadAt {
		s.abortTurn(t, at, "vma_writer_register_stream: got strange size 0", false)
		s.nextGuest(t, at)
		return
	}
	if tu.Done == len(tu.Steps) {
		s.endTurn(t, at)
	}
}

// turnLines writes the lines that are due; at 0 only the first ones.
func (s *Sim) turnLines(t *task, at int64) {
	tu := t.Dump.Turn
	for tu.Done < len(tu.Steps) && (tu.Steps[tu.Done].At <= at || tu.Done == 0) {
		t.Lines = append(t.Lines, tu.Steps[tu.Done].Lines...)
		tu.Done++
	}
}

// endTurn puts the archive in its place and goes on.
func (s *Sim) endTurn(t *task, at int64) {
	tu, d := t.Dump.Turn, t.Dump
	g := s.guests[tu.VMID]
	if msg := s.activateError(s.storage(tu.Archive.Storage), t.Node); msg != "" {
		s.abortTurn(t, at, msg, false)
		s.nextGuest(t, at)
		return
	}
	a := tu.Archive
	if d.Options.Notes != "" {
		a.Notes = s.fillTemplate(d.Options.Notes, s.orStranger(g, tu.VMID), t.Node)
	}
	if s.keyOf(a.Storage, t.Node) != tu.Shelf {
		// A mount went away or came back meanwhile: the unfinished file lies
		// where nobody finds it to give it its name.
		s.shelfOf(tu.Shelf).Stray += tu.occupied(at)
		path := s.archivePath(a)
		s.abortTurn(t, at, fmt.Sprintf("unable to rename '%s' to '%s'", strings.TrimSuffix(path, "."+a.Format)+".vma.dat", path), false)
		s.nextGuest(t, at)
		return
	}
	s.shelfOf(tu.Shelf).put(&archive{Archive: a})
	s.tail(t, tu, at)
	d.Warnings += tu.Warnings
	s.unlock(g, tu, at)
	d.Turn = nil
	s.nextGuest(t, at)
}

// abortTurn gives up the running machine: the unfinished file goes, the lock
// too, the machine is as before.
func (s *Sim) abortTurn(t *task, at int64, why string, withProgress bool) {
	tu := t.Dump.Turn
	if tu == nil {
		return
	}
	g := s.guests[tu.VMID]
	if withProgress {
		said := tu.progressAt(at)
		if line, shown := said.line(tu, at, true); shown {
			t.log("%s", line)
		}
	}
	t.log("ERROR: %s", why)
	t.log("INFO: aborting backup job")
	switch {
	case tu.WasRunning:
		t.log("INFO: resuming VM again")
	case g != nil && g.Running && !g.Prelaunch:
		t.log("INFO: kvm status changed after backup ('running') - keep VM running")
	default:
		t.log("INFO: stopping kvm after backup task")
	}
	t.log("ERROR: Backup of VM %d failed - %s", tu.VMID, why)
	t.log("INFO: Failed at %s", s.stamp(t, at))
	t.Dump.Failures++
	t.Dump.Turn = nil
	s.unlock(g, tu, at)
}

// killDump is what a worker leaves that dies without a word: the lock, the
// job inside QEMU, and a file that nobody removes.
func (s *Sim) killDump(t *task, at int64) {
	tu := t.Dump.Turn
	if tu == nil {
		return
	}
	s.shelfOf(tu.Shelf).Stray += tu.occupied(at)
	if g := s.guests[tu.VMID]; g != nil {
		g.Leftover = tu.ReadEnd
	}
	t.Dump.Turn = nil
}

// unlock takes the lock off a machine and stops it if it ran for its backup.
func (s *Sim) unlock(g *guest, tu *turn, at int64) {
	if g == nil {
		return
	}
	if g.Lock == "backup" {
		g.Lock = ""
	}
	if !tu.WasRunning && g.Prelaunch {
		s.setRunning(g, at, false)
	}
	g.wake(at)
}

// orStranger stands in for a machine that went away during its backup.
func (s *Sim) orStranger(g *guest, vmid int) *guest {
	if g == nil {
		return &guest{Guest: Guest{VMID: vmid}}
	}
	return g
}
