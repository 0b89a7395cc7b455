package pvesim

import (
	"fmt"
	"slices"
	"strings"
)

// progress remembers what the last line of a running backup said.
type progress struct {
	Percent int // -1 before the first
	Second  int64
	Read    int64
	Written int64
}

// line is the progress at a moment. The real loop looks every second and
// speaks when the percentage changed and three seconds went by, and at an end.
func (p *progress) line(tu *turn, at int64, final bool) (string, bool) {
	if tu.Total == 0 {
		return "", false
	}
	second := max(at-tu.ReadAt, 0) / 1000
	read := tu.read(at)
	percent := int(read * 100 / tu.Total)
	since := second - p.Second
	if final && p.Percent >= 100 || !final && (percent == p.Percent || since < 3) {
		return "", false
	}
	written := min(read, tu.Data)
	span := max(since, 1)
	text := fmt.Sprintf("INFO: %3d%% (%s of %s) in %s, read: %s/s, write: %s/s",
		percent, size(read, 1), size(tu.Total, 1), duration(second),
		size((read-p.Read)/span, 1), size((written-p.Written)/span, 1))
	*p = progress{percent, second, read, written}
	return text, true
}

// progressAt is what the log has said of a backup by a moment.
func (tu *turn) progressAt(at int64) progress {
	p := progress{Percent: -1}
	for when := tu.ReadAt; when <= at && when < tu.ReadEnd; when += 1000 {
		p.line(tu, when, false)
	}
	return p
}

// describe writes down all lines of a backup that goes well, as far as they
// are known beforehand.
func (s *Sim) describe(t *task, g *guest, tu *turn, r *chance) {
	var head []string
	say := func(format string, args ...any) { head = append(head, "INFO: "+fmt.Sprintf(format, args...)) }
	mode := func() {
		say("backup mode: %s", tu.Mode)
		if n := t.Dump.Options.BWLimit; n > 0 {
			say("bandwidth limit: %d KiB/s", n)
		}
		say("ionice priority: 7")
	}
	disks := func() {
		if g.Name != "" {
			say("VM Name: %s", g.Name)
		}
		for _, d := range g.sorted() {
			if d.NoBackup {
				say("exclude disk '%s' '%s' (backup=no)", d.Key, d.volid(g.VMID))
			} else {
				say("include disk '%s' '%s' %s", d.Key, d.volid(g.VMID), d.sizeText())
			}
		}
	}
	left := func() {
		for _, k := range g.unused() {
			say("skip unused drive '%s' (not included into backup)", g.Config[k])
		}
		if len(g.Snapshots) > 0 {
			say("snapshots found (not included into backup)")
		}
	}
	if tu.Mode == "snapshot" {
		disks()
		tu.Prepared = slices.Clone(head)
		mode()
	} else {
		mode()
		disks()
		tu.Prepared = slices.Clone(head)
	}
	left()
	switch {
	case tu.Mode == "suspend":
		say("suspending guest")
	case tu.Mode == "stop" && tu.WasRunning:
		say("stopping virtual guest")
	}
	say("creating vzdump archive '%s'", s.archivePath(tu.Archive))
	if tu.Diskless {
		dir := strings.TrimSuffix(s.archivePath(tu.Archive), "."+tu.Archive.Format)
		say("backup contains no disks")
		say("starting diskless backup")
		packer := map[string]string{"vma.zst": "exec:zstd --threads=1 > ", "vma.gz": "exec:gzip --rsyncable > ", "vma.lzo": "exec:lzop > "}[tu.Archive.Format]
		say("/usr/bin/vma create -v -c %s.tmp/qemu-server.conf %s%s.vma.dat", dir, packer, dir)
		tu.Steps = []step{{At: tu.Begin, Lines: head}, {At: tu.Begin + 300}}
		return
	}
	if tu.Mode == "stop" {
		say("starting kvm to execute backup task")
	}
	tu.Steps = []step{{At: tu.Begin, Lines: head}}

	head = nil
	if !tu.WasRunning && slices.ContainsFunc(g.Disks, func(d Disk) bool { return !d.Loose && d.medium() }) {
		head = append(head, "generating cloud-init ISO")
	}
	if storage := t.Dump.Options.Fleecing; storage != "" {
		for i, d := range g.sorted() {
			if !d.NoBackup {
				say("drive-%s: attaching fleecing image %s:%d/vm-%d-fleece-%d.qcow2 to QEMU", d.Key, storage, g.VMID, g.VMID, i)
			}
		}
	}
	if tu.Mode != "stop" {
		s.freezeLines(g, say)
	}
	if s.release.nine {
		say("starting backup via QMP command")
	}
	say("started backup task '%s'", uuid(r))
	switch {
	case tu.Mode == "suspend":
		say("resuming VM again after 1 seconds")
	case tu.Mode == "stop" && tu.WasRunning:
		say("resuming VM again after 2 seconds")
	case tu.WasRunning:
		say("resuming VM again")
	}
	if tu.Empty {
		head = append(head, "INFO: 100% (0.0 B of 0.0 B) in 0s, read: 0 B/s, write: 0 B/s")
	}
	tu.Steps = append(tu.Steps, step{At: tu.ReadAt, Lines: head})

	seen := progress{Percent: -1}
	for at := tu.ReadAt; at < tu.ReadEnd; at += 1000 {
		if text, shown := seen.line(tu, at, false); shown {
			tu.Steps = append(tu.Steps, step{At: at, Lines: []string{text}})
		}
	}
	head = nil
	if text, shown := seen.line(tu, tu.ReadEnd, true); shown {
		head = append(head, text)
	}
	if zero := tu.Total - tu.Data; zero > 0 {
		say("backup is sparse: %s (%d%%) total zero data", size(zero, 2), zero*100/max(tu.Total, 1))
	}
	if seconds := (tu.ReadEnd - tu.ReadAt) / 1000; seconds > 0 {
		say("transferred %s in %d seconds (%s/s)", size(tu.Total, 2), seconds, size(tu.Total/seconds, 1))
	} else {
		say("transferred %s in <1 seconds", size(tu.Total, 2))
	}
	if tu.Empty {
		return // it ends here
	}
	end := tu.ReadEnd + 200
	if !tu.WasRunning {
		say("stopping kvm after backup task")
		end = tu.ReadEnd + 800
	}
	tu.Steps = append(tu.Steps, step{At: tu.ReadEnd, Lines: head}, step{At: end})
}

// freezeLines tell about the guest's file systems. 9 says so too when there is
// no agent at all (differences, C1).
func (s *Sim) freezeLines(g *guest, say func(string, ...any)) {
	enabled := strings.HasPrefix(g.Agent, "1") || strings.Contains(g.Agent, "enabled=1")
	switch {
	case enabled && !g.AgentSilent && !g.Blank:
		say("issuing guest-agent 'fs-freeze' command")
		say("issuing guest-agent 'fs-thaw' command")
	case enabled && s.release.nine:
		say("skipping guest filesystem freeze - agent configured but not running?")
	case enabled:
		say("skipping guest-agent 'fs-freeze', agent configured but not running?")
	case s.release.nine:
		say("skipping guest filesystem freeze - disabled in VM options")
	}
}

// tail is what a backup says once its archive is there; it also prunes.
func (s *Sim) tail(t *task, tu *turn, at int64) {
	o := t.Dump.Options
	if n := len(t.Lines); !tu.WasRunning && n > 0 && !tu.Diskless {
		// Somebody may have started the machine meanwhile.
		if g := s.guests[tu.VMID]; g != nil && g.Running && !g.Prelaunch && t.Lines[n-1] == "INFO: stopping kvm after backup task" {
			t.Lines[n-1] = "INFO: kvm status changed after backup ('running') - keep VM running"
		}
	}
	t.log("INFO: archive file size: %s", shortSize(tu.Archive.Size))
	if o.Notes != "" {
		t.log("INFO: adding notes to backup")
	}
	if o.Protected {
		t.log("INFO: marking backup as protected")
	}
	if o.Remove && o.Keep.limit() > 0 {
		t.log("INFO: prune older backups with retention: %s", o.Keep)
		shelf := s.shelfOf(tu.Shelf)
		victims := o.Keep.victims(shelf.of(tu.VMID), s.local(t.Node, at).Location())
		for _, a := range victims {
			t.log("INFO: removing backup '%s'", a.Volid)
			shelf.remove(a.Volid)
		}
		if len(victims) > 0 {
			t.log("INFO: pruned %d backup(s) not covered by keep-retention policy", len(victims))
		} else {
			t.log("INFO: pruned 0 backup(s)")
		}
	}
	if storage := o.Fleecing; storage != "" && !tu.Diskless {
		if g := s.guests[tu.VMID]; g != nil {
			for i, d := range g.sorted() {
				if !d.NoBackup {
					t.log("INFO: removing (old) fleecing image '%s:%d/vm-%d-fleece-%d.qcow2'", storage, g.VMID, g.VMID, i)
				}
			}
		}
	}
	if tu.Mode == "suspend" {
		t.log("INFO: resume vm")
	}
	seconds := (at - tu.Begin) / 1000
	t.log("INFO: Finished Backup of VM %d (%02d:%02d:%02d)", tu.VMID, seconds/3600, seconds/60%60, seconds%60)
	t.log("INFO: Backup finished at %s", s.stamp(t, at))
}

// unused are the keys of disks that belong to no machine's slot.
func (g *guest) unused() []string {
	var out []string
	for k := range g.Config {
		if strings.HasPrefix(k, "unused") {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out
}

// size words bytes as the log does: 0 B, 59.0 MiB, 1.00 GiB.
func size(n int64, digits int) string {
	v := float64(n)
	unit := "B"
	for _, u := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if v < 1024 {
			break
		}
		v, unit = v/1024, u
	}
	if unit == "B" {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.*f %s", digits, v, unit)
}

// shortSize words the size of an archive: 0KB, 300MB, 1.25GB.
func shortSize(n int64) string {
	switch {
	case n < mib:
		return fmt.Sprintf("%dKB", n/kib)
	case n < gib:
		return fmt.Sprintf("%dMB", n/mib)
	default:
		return fmt.Sprintf("%.2fGB", float64(n)/float64(gib))
	}
}

// duration words seconds: 36s, 2m 5s, 1h 2m 5s.
func duration(seconds int64) string {
	var out string
	if seconds >= 3600 {
		out = fmt.Sprintf("%dh ", seconds/3600)
	}
	if seconds >= 60 && seconds/60%60 > 0 {
		out += fmt.Sprintf("%dm ", seconds/60%60)
	}
	if rest := seconds % 60; rest > 0 || out == "" {
		out += fmt.Sprintf("%ds", rest)
	}
	return strings.TrimSpace(out)
}
