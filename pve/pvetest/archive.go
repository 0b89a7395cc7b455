package pvetest

import (
	"slices"
	"strings"

	"stowage/pve"
)

// find is an archive as the listing shows it.
func (r *run) find(volid string) (pve.Archive, bool) {
	list, err := r.pve.Archives(r.ctx, r.Node, r.Storage, r.VMID)
	r.fine("the archives", err)
	i := slices.IndexFunc(list, func(a pve.Archive) bool { return a.Volid == volid })
	if i < 0 {
		return pve.Archive{}, false
	}
	return list[i], true
}

// notes: what is written is read back, whole by itself and with its first line in the listing; and writing to an
// archive that is not there is taken without a word.
func notes(r *run) bool {
	one, err := r.pve.Archive(r.ctx, r.Node, r.Storage, r.made.Volid)
	if !r.fine("the archive by itself", err) {
		return true
	}
	r.holds(one.Notes == r.made.NotesLine, "its notes are %q by themselves, and begin %q in the listing", one.Notes, r.made.NotesLine)
	r.holds(r.storage.Type == "pbs" || one.Size >= r.made.Size && one.Path != "", "by itself it is %+v", one)
	want := r.made.NotesLine + "\nbefore the upgrade — größer"
	if !r.fine("writing notes", r.pve.SetArchiveNotes(r.ctx, r.Node, r.Storage, r.made.Volid, want)) {
		return true
	}
	one, err = r.pve.Archive(r.ctx, r.Node, r.Storage, r.made.Volid)
	r.fine("the archive by itself", err)
	r.holds(one.Notes == want && one.NotesLine == r.made.NotesLine, "its notes read back as %q, written were %q", one.Notes, want)
	listed, _ := r.find(r.made.Volid)
	r.holds(listed.NotesLine == r.made.NotesLine && listed.Notes == "", "in the listing its notes are %q, expected the first line alone", listed.NotesLine+listed.Notes)
	if r.storage.Type != "pbs" {
		ghost := r.ghost()
		r.fine("writing notes to an archive that is not there", r.pve.SetArchiveNotes(r.ctx, r.Node, r.Storage, ghost, "x"))
		_, err = r.pve.Archive(r.ctx, r.Node, r.Storage, ghost)
		r.refused("an archive that is not there, after notes were written to it", err, pve.Gone, "")
	}
	return true
}

// protection: it shows, and it holds against a deletion, whose task fails.
func protection(r *run) bool {
	if !r.fine("protecting", r.pve.SetArchiveProtected(r.ctx, r.Node, r.Storage, r.made.Volid, true)) {
		return true
	}
	listed, _ := r.find(r.made.Volid)
	r.holds(listed.Protected, "it is not protected in the listing")
	one, err := r.pve.Archive(r.ctx, r.Node, r.Storage, r.made.Volid)
	r.fine("the archive by itself", err)
	r.holds(one.Protected && strings.HasPrefix(one.Notes, r.made.NotesLine), "by itself it is %+v", one)
	upid, err := r.pve.DeleteArchive(r.ctx, r.Node, r.Storage, r.made.Volid)
	if err == nil {
		r.own(upid)
		status, _ := r.ended("deleting a protected archive", upid, shortWork)
		_, reason := pve.Meaning(status.Exit)
		r.holds(!status.OK() && reason == pve.Protected, "deleting a protected archive ended %q, expected a word about protection", status.Exit)
	} else {
		r.refused("deleting a protected archive", err, pve.Refused, pve.Protected)
	}
	_, there := r.find(r.made.Volid)
	r.holds(there, "a protected archive was deleted")
	r.fine("unprotecting", r.pve.SetArchiveProtected(r.ctx, r.Node, r.Storage, r.made.Volid, false))
	listed, there = r.find(r.made.Volid)
	r.holds(there && !listed.Protected, "it is still protected in the listing")
	return true
}

// deletion: a task that ends well, after which it is gone; and once more, which changes nothing.
func deletion(r *run) bool {
	upid, err := r.pve.DeleteArchive(r.ctx, r.Node, r.Storage, r.made.Volid)
	if !r.fine("deleting", err) {
		return true
	}
	r.own(upid)
	if !upid.IsZero() {
		vmid, known := upid.VMID()
		r.holds(upid.Type == "imgdel" && upid.Owner() == r.TokenID && (!known || vmid == r.VMID), "its task is %s", upid)
		status, _ := r.ended("deleting", upid, shortWork)
		r.holds(status.OK(), "deleting ended %q", status.Exit)
		list, err := r.pve.Tasks(r.ctx, r.Node, pve.TaskFilter{Type: "imgdel", VMID: r.VMID})
		r.fine("the machine's deletions", err)
		r.holds(!slices.ContainsFunc(list, func(t pve.Task) bool { return t.UPID == upid }), "its task is found by the machine's number, which is exact: the id is %s", upid.ID)
	}
	_, there := r.find(r.made.Volid)
	r.holds(!there, "it is still listed after it was deleted")
	_, err = r.pve.Archive(r.ctx, r.Node, r.Storage, r.made.Volid)
	r.refused("a deleted archive", err, pve.Gone, "")
	if r.storage.Type == "pbs" {
		return true
	}
	upid, err = r.pve.DeleteArchive(r.ctx, r.Node, r.Storage, r.made.Volid)
	if r.fine("deleting it once more", err) && !upid.IsZero() {
		r.own(upid)
		status, _ := r.ended("deleting it once more", upid, shortWork)
		r.holds(status.OK(), "deleting it once more ended %q, expected OK", status.Exit)
	}
	return true
}
