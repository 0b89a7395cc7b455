package pvetest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"stowage/pve"
)

// dump starts a backup with a mark of its own and looks at the task's name.
func (r *run) dump(what string, wait time.Duration) (upid pve.UPID, mark string, started bool) {
	r.backups++
	mark = fmt.Sprintf("%s:%d", r.marks, r.backups)
	request := pve.VzdumpRequest{VMID: r.VMID, Storage: r.Storage, Notes: mark, LockWait: wait}
	if r.rights.Has("/", "Sys.Modify") {
		request.BandwidthKiB = r.slowly()
	}
	before := r.Now()
	upid, err := r.pve.Vzdump(r.ctx, r.Node, request)
	if !r.fine(what, err) {
		return upid, mark, false
	}
	r.own(upid)
	r.holds(upid.Node == r.Node && upid.Type == "vzdump" && upid.ID == fmt.Sprint(r.VMID), "%s: its task is %s, expected a vzdump of %d on %s", what, upid, r.VMID, r.Node)
	r.holds(upid.Owner() == r.TokenID, "%s: its task is of %s, expected %s", what, upid.Owner(), r.TokenID)
	r.holds(upid.Start.Sub(before).Abs() < 2*time.Minute, "%s: its task began at %s, expected about %s", what, upid.Start, before)
	again, err := pve.ParseUPID(upid.String())
	r.holds(err == nil && again == upid, "%s: the name %s reads as %+v", what, upid, again)
	return upid, mark, true
}

// slowly is a limit with which a backup takes about a minute, where the token may set one.
func (r *run) slowly() int64 {
	var bytes int64
	for _, d := range r.config.BackedUpDisks() {
		bytes += d.SizeBytes
	}
	return max(bytes/1024/60, 1024)
}

// backup: one that ends well, looked at while it runs and at its end; and what others meet meanwhile.
func backup(r *run) bool {
	upid, mark, started := r.dump("the backup", 0)
	if !started {
		return false
	}
	spoke := r.until(shortWork, func() bool {
		log := r.log(upid)
		return log.VMID != 0 || log.Ended
	})
	log := r.log(upid)
	r.holds(spoke && log.Mark == mark, "the log's first line has the mark %q, expected %q, before any archive is there", log.Mark, mark)
	r.holds(log.Storage == r.Storage && log.VMID == r.VMID, "the log speaks of machine %d and storage %q", log.VMID, log.Storage)
	whileRunning(r, upid)
	secondBackup(r)
	waitingBackup(r)
	if status, err := r.pve.TaskStatus(r.ctx, upid); err == nil && !status.Running {
		r.differs("it was over before all was tried that happens meanwhile: take a machine with more on its disks, or a token with Sys.Modify on /, which lets the backup be slowed")
	}
	watch(r, upid)
	status, log := r.ended("the backup", upid, longWork)
	if !r.holds(status.OK() && status.Known, "the backup ended %q: %q", status.Exit, log.ErrorText) {
		return false
	}
	r.finished(upid, log)
	return r.listed(upid, log, mark)
}

// whileRunning: the machine is locked everywhere at once, the task is found again, and nothing is listed yet.
func whileRunning(r *run, upid pve.UPID) {
	var status pve.GuestStatus
	var err error
	r.until(2*time.Second, func() bool { // between the log's word and the lock is a moment
		status, err = r.pve.GuestStatus(r.ctx, r.Node, r.VMID)
		task, gone := r.pve.TaskStatus(r.ctx, upid)
		return err == nil && status.Lock != "" && status.Status == "running" || gone != nil || !task.Running
	})
	r.fine("the machine's status", err)
	config, err := r.pve.GuestConfig(r.ctx, r.Node, r.VMID)
	r.fine("the machine's configuration", err)
	resources, err := r.pve.Resources(r.ctx)
	r.fine("the cluster's resources", err)
	found, err := r.pve.Tasks(r.ctx, r.Node, pve.TaskFilter{Type: "vzdump", VMID: r.VMID})
	r.fine("the machine's backups", err)
	active, err := r.pve.Tasks(r.ctx, r.Node, pve.TaskFilter{Source: "active"})
	r.fine("the active tasks", err)
	ended, err := r.pve.Tasks(r.ctx, r.Node, pve.TaskFilter{Source: "archive", Type: "vzdump"})
	r.fine("the ended backups", err)
	cluster, err := r.pve.ClusterTasks(r.ctx)
	r.fine("the cluster's tasks", err)
	running, err := r.pve.ClusterRunning(r.ctx)
	r.fine("the cluster's running tasks", err)
	archives, err := r.pve.Archives(r.ctx, r.Node, r.Storage, r.VMID)
	r.fine("the archives", err)
	if now, err := r.pve.TaskStatus(r.ctx, upid); err != nil || !now.Running {
		return // too late to say
	}
	r.holds(status.Lock == "backup", "the machine's status has the lock %q, expected backup", status.Lock)
	r.holds(config.Lock == "backup", "its configuration has the lock %q, expected backup", config.Lock)
	i := slices.IndexFunc(resources.Guests, func(g pve.GuestResource) bool { return g.VMID == r.VMID })
	r.holds(i >= 0 && resources.Guests[i].Lock == "backup", "the cluster's resources don't show the lock backup")
	r.holds(status.Status == "running", "the machine is %s, expected running, be it for the backup alone", status.Status)
	if r.status.Status == "stopped" {
		r.holds(status.QMPStatus == "prelaunch", "the stopped machine's QEMU is %q, expected prelaunch", status.QMPStatus)
	}
	one := func(list []pve.Task) (pve.Task, bool) {
		i := slices.IndexFunc(list, func(t pve.Task) bool { return t.UPID == upid })
		if i < 0 {
			return pve.Task{}, false
		}
		return list[i], true
	}
	t, is := one(found)
	r.holds(is && t.Running && t.Owner == r.TokenID, "its running task is not found by machine and owner: %+v", t)
	t, is = one(active)
	r.holds(is && t.Running, "its running task is not among the active ones")
	_, is = one(ended)
	r.holds(!is, "its running task is among the ended ones")
	t, is = one(cluster)
	r.holds(is && t.Running, "its running task is not among the cluster's")
	_, is = one(running)
	r.holds(is, "its running task is not among the cluster's running ones")
	r.holds(!slices.ContainsFunc(running, func(t pve.Task) bool { return !t.Running }), "an ended task is among the cluster's running ones: %+v", running)
	for _, a := range archives {
		r.holds(slices.ContainsFunc(r.archives, func(b pve.Archive) bool { return a.Volid == b.Volid }), "%s is listed while it is being made", a.Volid)
	}
}

// secondBackup: one more on the same node, that does not wait. The call is taken; its task meets the node's lock.
func secondBackup(r *run) {
	const what = "a second backup that does not wait"
	upid, _, started := r.dump(what, 0)
	if !started {
		return
	}
	status, log := r.ended(what, upid, shortWork)
	reason, refused := pve.Refusal(status.Exit, log)
	r.holds(refused && (reason == pve.LockFile || reason == pve.Locked), "%s: its task ended %q (%q), expected a refusal by a lock", what, status.Exit, log.ErrorText)
	r.holds(log.Archive == "", "%s: it made %s", what, log.Archive)
}

// waitingBackup: one that waits for the node's lock, and is stopped while it does.
func waitingBackup(r *run) {
	const what = "a backup that waits"
	upid, _, started := r.dump(what, time.Hour)
	if !started {
		return
	}
	var log pve.VzdumpLog
	r.until(shortWork, func() bool {
		log = r.log(upid)
		return log.Waiting || log.VMID != 0 || log.Ended
	})
	if log.VMID != 0 {
		return // the first was over already
	}
	r.holds(log.Waiting, "%s: its log does not say so", what)
	status, err := r.pve.TaskStatus(r.ctx, upid)
	r.holds(err == nil && status.Running, "%s: its task is not running: %+v %v", what, status, err)
	r.fine("stopping "+what, r.pve.StopTask(r.ctx, upid))
	status, log = r.ended(what, upid, shortWork)
	_, refused := pve.Refusal(status.Exit, log)
	r.holds(!status.OK() && !refused && log.Archive == "", "%s: stopped, it ended %q (%q), expected neither an archive nor a refusal", what, status.Exit, log.ErrorText)
}

// watch follows the log to the end: its share grows and never falls.
func watch(r *run, upid pve.UPID) {
	var last pve.VzdumpLog
	lines := 0
	r.until(longWork, func() bool {
		status, err := r.pve.TaskStatus(r.ctx, upid)
		log := r.log(upid)
		r.holds(log.Percent >= last.Percent && log.Percent <= 100, "its share fell from %d %% to %d %%", last.Percent, log.Percent)
		r.holds(log.TransferredBytes >= last.TransferredBytes && log.TransferredBytes <= max(log.TotalBytes, 1), "it has read %d bytes of %d, and had read %d", log.TransferredBytes, log.TotalBytes, last.TransferredBytes)
		_, total, err2 := r.pve.TaskLog(r.ctx, upid, 0, 1)
		r.holds(err2 != nil || total >= lines, "its log had %d lines and has %d", lines, total)
		last, lines = log, total
		return err == nil && !status.Running
	})
}

// finished: what the log of a good backup says at its end, and how its task is found then.
func (r *run) finished(upid pve.UPID, log pve.VzdumpLog) {
	r.holds(log.Finished && log.Ended && log.Percent == 100 && log.ErrorText == "", "its log at the end reads %+v", log)
	r.holds(len(log.Warnings) == 0, "it warned: %q", log.Warnings)
	var want int64
	for _, d := range r.config.BackedUpDisks() {
		want += d.SizeBytes
		r.holds(slices.ContainsFunc(log.Disks, func(l pve.VzdumpDisk) bool {
			return l.Key == d.Key && l.Included && l.SizeBytes == d.SizeBytes && l.Volid == d.Volid
		}),
			"its log does not include disk %s (%s): %+v", d.Key, d.Volid, log.Disks)
	}
	r.holds(alike(log.TotalBytes, want, 0.02), "its log speaks of %d bytes, the machine's disks have %d", log.TotalBytes, want)
	r.holds(log.Mode == "stop" || r.status.Status == "running" && log.Mode == "snapshot", "it was made in mode %q", log.Mode)
	r.holds(log.GuestWasStopped == (r.status.Status == "stopped"), "it says that the machine was stopped: %v", log.GuestWasStopped)

	part, total, err := r.pve.TaskLog(r.ctx, upid, 2, 3)
	r.fine("a part of the log", err)
	r.holds(len(part) == 3 && part[0].N == 3 && part[2].N == 5 && total > 5, "lines 3 to 5 of its log are %+v of %d", part, total)
	r.fine("stopping a task that has ended", r.pve.StopTask(r.ctx, upid))
	list, err := r.pve.Tasks(r.ctx, r.Node, pve.TaskFilter{Type: "vzdump", VMID: r.VMID, Limit: 20})
	r.fine("the machine's backups", err)
	i := slices.IndexFunc(list, func(t pve.Task) bool { return t.UPID == upid })
	if r.holds(i >= 0, "its ended task is not found by machine") {
		t := list[i]
		r.holds(!t.Running && t.Status == "OK" && t.Owner == r.TokenID && !t.End.Before(t.Start) && !t.Failed(), "its ended task is listed as %+v", t)
	}
	r.asBefore("the backup")
}

// asBefore: no lock, the same state, the same configuration.
func (r *run) asBefore(after string) {
	var status pve.GuestStatus
	var err error
	r.until(shortWork, func() bool {
		status, err = r.pve.GuestStatus(r.ctx, r.Node, r.VMID)
		return err == nil && status.Status == r.status.Status && status.Lock == ""
	})
	r.fine("the machine's status", err)
	r.holds(status.Lock == "" && status.Status == r.status.Status, "after %s the machine is %s with the lock %q, it was %s", after, status.Status, status.Lock, r.status.Status)
	config, err := r.pve.GuestConfig(r.ctx, r.Node, r.VMID)
	r.fine("the machine's configuration", err)
	for _, list := range []map[string]string{config.Raw, r.config.Raw} {
		for k := range list {
			r.holds(k == "digest" || config.Raw[k] == r.config.Raw[k], "after %s the configuration's line %s is %q, it was %q", after, k, config.Raw[k], r.config.Raw[k])
		}
	}
}

// listed: the archive that the log named is there, whole, with the mark in its notes; those of before are there too.
func (r *run) listed(upid pve.UPID, log pve.VzdumpLog, mark string) bool {
	list, err := r.pve.Archives(r.ctx, r.Node, r.Storage, r.VMID)
	if !r.fine("the archives", err) {
		return false
	}
	i := slices.IndexFunc(list, func(a pve.Archive) bool { return a.Volid == log.Archive })
	if !r.holds(log.Archive != "" && i >= 0, "the archive that the log names (%s) is not listed as %q", log.Path, log.Archive) {
		return false
	}
	r.made = list[i]
	r.holds(r.made.VMID == r.VMID && r.made.Subtype == "qemu", "it is listed as %s of %d", r.made.Subtype, r.made.VMID)
	r.holds(r.made.NotesLine == mark, "its notes begin %q, expected the mark %q", r.made.NotesLine, mark)
	r.holds(!r.made.Protected, "it is protected")
	r.holds(r.made.Size > 4096, "it has %d bytes", r.made.Size)
	r.holds(r.storage.Type == "pbs" || r.made.Format == "vma.zst" && log.SizeBytes <= r.made.Size+r.made.Size/100 && r.made.Size-log.SizeBytes <= unit(r.made.Size),
		"it is listed with %d bytes as %s, the log says %d", r.made.Size, r.made.Format, log.SizeBytes)
	r.holds(!r.made.CTime.Before(upid.Start.Add(-2*time.Second)) && r.made.CTime.Before(r.Now().Add(2*time.Minute)), "it was made %s, its task began %s", r.made.CTime, upid.Start)
	for _, a := range r.archives {
		r.holds(slices.ContainsFunc(list, func(b pve.Archive) bool { return a.Volid == b.Volid }), "%s was there before and is gone", a.Volid)
	}
	r.holds(len(list) == len(r.archives)+1, "there are %d archives, there were %d", len(list), len(r.archives))
	return true
}

// unit is how far a size in the log may be below the real one: it is cut to whole kilobytes and megabytes, and to
// hundredths of a gigabyte.
func unit(size int64) int64 {
	switch {
	case size < 1<<20:
		return 1 << 10
	case size < 1<<30:
		return 1 << 20
	default:
		return size / 100
	}
}

// cancelled: a backup that is stopped half-way leaves neither archive nor lock.
func cancelled(r *run) bool {
	const what = "a backup that is stopped"
	upid, mark, started := r.dump(what, 0)
	if !started {
		return true
	}
	var log pve.VzdumpLog
	r.until(shortWork, func() bool {
		log = r.log(upid)
		return log.Path != "" || log.Ended
	})
	if log.Ended {
		r.differs("%s: it was over before it could be stopped", what)
		return true
	}
	r.fine("stopping it", r.pve.StopTask(r.ctx, upid))
	status, log := r.ended(what, upid, shortWork)
	_, refused := pve.Refusal(status.Exit, log)
	r.holds(!status.OK() && !refused && !log.Finished && strings.Contains(log.ErrorText+status.Exit, "interrupted by signal"),
		"%s: its task ended %q (%q), expected an interruption", what, status.Exit, log.ErrorText)
	list, err := r.pve.Archives(r.ctx, r.Node, r.Storage, r.VMID)
	r.fine("the archives", err)
	for _, a := range list {
		r.holds(a.NotesLine != mark && a.Volid != log.Archive, "%s: it left %s", what, a.Volid)
	}
	r.asBefore(what)
	return true
}
