package portal

import (
	"fmt"
	"slices"
	"time"
)

// BackupResult is what was seen of a backup that has ended.
type BackupResult struct {
	TaskOK           bool  // ended "OK" or with warnings
	Warnings         int   // how many
	Listed           bool  // the archive is in a listing made after the end
	LogTotal         int64 // bytes that the task's log says the disks have; 0 = the log does not say
	DisksTotal       int64 // bytes of the disks that were to be in it
	Size             int64 // of the archive, from the listing
	VerifyFailed     bool
	PreviousComplete int64 // size of the complete copy before this one; 0 = there was none
}

// emptyArchive is the size up to which an archive can hold no disk. A machine whose disks are all left out gives
// one of some 500 bytes with "TASK OK"; on a Proxmox Backup Server an unfinished one shows size 1.
const emptyArchive = 4096

// Empty tells whether an archive of this size, in bytes, can hold no disk.
func Empty(size int64) bool { return size <= emptyArchive }

// Judge tells what a backup is worth, and why. The reason may be shown to the client; it is "" only for a good
// one without warnings.
func Judge(r BackupResult) (Class, Text) {
	switch {
	case !r.TaskOK:
		return ClassFailed, "Your host ended the backup with an error."
	case !r.Listed:
		return ClassFailed, "Your host reported success, but the backup is not on the storage."
	case r.DisksTotal <= 0:
		return ClassPartial, "No disk of the machine is included in backups."
	case Empty(r.Size):
		return ClassPartial, "The backup is empty: it holds no disk."
	case r.LogTotal <= 0:
		return ClassPartial, "Your host's log does not show that every disk is in the backup."
	case r.LogTotal != r.DisksTotal:
		return ClassPartial, Say("The backup covers %s of disks, but the machine has %s.", Size(r.LogTotal), Size(r.DisksTotal))
	case r.VerifyFailed:
		return ClassSuspect, "The backup was made, but its check failed."
	case r.Size < (r.PreviousComplete+9)/10:
		return ClassSuspect, Say("Much smaller than the last one: %s instead of %s.", Size(r.Size), Size(r.PreviousComplete))
	case r.Warnings > 0:
		return ClassGood, Count(r.Warnings, "Complete, with 1 warning from your host.", "Complete, with %d warnings from your host.")
	default:
		return ClassGood, ""
	}
}

// brakeFloor is the number of deletions an hour that counts as usual on a storage with little history, so that
// a new installation isn't stopped by its first nights.
const brakeFloor = 5

// Brake tells whether automatic deletions on a storage have to stop until staff have looked: more than twice
// the usual number within the last hour. usual is the highest ordinary hour of the last weeks, as the caller
// measures it; less than 5 counts as 5.
func Brake(deletionsLastHour, usual int) bool {
	return deletionsLastHour > 2*max(usual, brakeFloor)
}

// Listing is one listing of a storage and what was seen around it.
type Listing struct {
	At           time.Time
	Answered     bool
	ActiveBefore bool // the storage's state, right before and right after the listing
	ActiveAfter  bool
	TotalBefore  int64 // its size in bytes
	TotalAfter   int64
	RightsSeen   bool  // the privilege to see all of ours was there, in this tick
	KnownTotal   int64 // the size when a listing was last trusted; 0 = never
	Confirmed    bool  // staff said that what is absent is really gone
	Volids       []string
}

// ExpectedCopy is an archive of ours that should be in the listing.
type ExpectedCopy struct {
	UID         string
	Volid       string
	AbsentSince time.Time // first listing of the present row that lacked it; zero = was there
	AbsentLooks int       // how many lacked it
	Believed    bool      // missing already
	Removing    bool      // an operation is removing it: its absence is no loss
}

// Absence is an expected archive that the listing lacks, with its row of absences counted on.
type Absence struct {
	UID   string
	Since time.Time
	Looks int
}

// ListingVerdict is what a listing proves.
type ListingVerdict struct {
	Authoritative bool      // every archive expected is there and nothing speaks against the listing: deletions may build on it
	Doubt         string    // for staff: why not
	Confirm       bool      // staff have to confirm before anything is believed missing
	Absent        []Absence // to be remembered
	Missing       []string  // uids now believed missing
	Back          []string  // uids that were absent or believed missing and are here again
	Jumped        bool      // the storage's size is far from the trusted one: something else may be mounted there
	TrustTotal    bool      // TotalAfter is the size to compare with from now on
}

// A missing archive is believed after so many listings over so long.
const (
	missingLooks = 3
	missingAfter = 10 * time.Minute
)

// JudgeListing tells what a listing of a storage proves about the archives of ours that are expected on it.
//
// A listing without an answer, from a storage that was not active with a size before and after, or made without
// rights, proves nothing at all. If archives are absent while more than 3 and more than 20 % of ours vanished
// together, or the storage's size jumped by more than a tenth, nothing is counted as absent until staff confirm; nor
// is a size that jumped trusted where no archive of ours vouches for it.
// Otherwise an absence is counted, and believed after three listings over at least ten minutes.
func JudgeListing(l Listing, expected []ExpectedCopy) ListingVerdict {
	var v ListingVerdict
	switch {
	case !l.Answered:
		v.Doubt = "the storage's listing did not answer"
	case !l.ActiveBefore || !l.ActiveAfter:
		v.Doubt = "the storage was not active before and after the listing"
	case l.TotalBefore <= 0 || l.TotalAfter <= 0:
		v.Doubt = "the storage showed no size before or after the listing"
	case !l.RightsSeen:
		v.Doubt = "the right to see the archives was not confirmed"
	case jumped(l.TotalBefore, l.TotalAfter):
		v.Doubt = fmt.Sprintf("the storage's size changed during the listing, from %s to %s", Bytes(l.TotalBefore), Bytes(l.TotalAfter))
	}
	if v.Doubt != "" {
		return v
	}

	here := make(map[string]bool, len(l.Volids))
	for _, volid := range l.Volids {
		here[volid] = true
	}
	var absent []ExpectedCopy
	waited, leaving := 0, 0
	v.Jumped = Jumped(l.KnownTotal, l.TotalAfter)
	for _, c := range expected {
		if c.Removing {
			if !here[c.Volid] {
				leaving++
			}
			continue
		}
		switch {
		case here[c.Volid] && (c.Believed || c.AbsentLooks > 0):
			v.Back = append(v.Back, c.UID)
		case !here[c.Volid] && !c.Believed:
			absent = append(absent, c)
		}
		if !c.Believed {
			waited++
		}
	}
	if len(absent) == 0 {
		// A size that jumped is trusted once everything is seen to be there at the new size. Where nothing is expected,
		// nothing vouches for it: a mount that is away looks the same.
		vouched := waited > 0 && leaving == 0
		v.TrustTotal = !v.Jumped || vouched || l.Confirmed
		v.Authoritative = !v.Jumped || vouched
		v.Confirm = v.Jumped && waited == 0 && leaving == 0 && !l.Confirmed
		if !v.Authoritative {
			v.Doubt = fmt.Sprintf("the storage's size jumped from %s to %s", Bytes(l.KnownTotal), Bytes(l.TotalAfter))
		}
		return v
	}

	v.Doubt = Plural(len(absent), "archive", "archives") + " expected on the storage not in the listing"
	jump := v.Jumped
	mass := len(absent) > 3 && len(absent)*5 > waited
	if !l.Confirmed && (jump || mass) {
		v.Confirm = true
		if jump {
			v.Doubt += fmt.Sprintf("; the storage's size jumped from %s to %s", Bytes(l.KnownTotal), Bytes(l.TotalAfter))
		}
		if mass {
			v.Doubt += fmt.Sprintf("; that is %d of %d together", len(absent), waited)
		}
		return v
	}
	v.TrustTotal = l.Confirmed || !jump
	for _, c := range absent {
		a := Absence{UID: c.UID, Since: c.AbsentSince, Looks: c.AbsentLooks + 1}
		if c.AbsentLooks == 0 || a.Since.IsZero() {
			a.Since, a.Looks = l.At, 1
		}
		v.Absent = append(v.Absent, a)
		if a.Looks >= missingLooks && l.At.Sub(a.Since) >= missingAfter {
			v.Missing = append(v.Missing, c.UID)
		}
	}
	slices.Sort(v.Missing)
	return v
}

// Jumped tells whether a storage's size is so far from what it was when a listing was last trusted that something
// else may be mounted there, or nothing. A known size of 0 means that there was none yet.
func Jumped(known, now int64) bool { return known > 0 && jumped(known, now) }

// jumped tells whether a storage's size changed by more than a tenth.
func jumped(from, to int64) bool {
	change := to - from
	return max(change, -change) > from/10
}

// Space is what preflight knows of the room on a storage, in bytes.
type Space struct {
	PBS          bool // a Proxmox Backup Server: its space comes back only after its own garbage collection
	Total        int64
	Free         int64
	Victim       int64 // of the copy removed before the dump; 0 where it goes after, or none goes
	BeingWritten int64 // still to be written by backups that run there now
	LastSize     int64 // of the last complete copy; 0 = none
	DisksTotal   int64 // of the disks that will be in it
}

// FreeSpace tells whether a backup fits on its storage, with the reason for staff in either case. A directory
// needs 1.2 times the last size, or a tenth of the disks where there is none; a Proxmox Backup Server needs 5 %
// of itself free.
func FreeSpace(s Space) (ok bool, reason string) {
	if s.Total <= 0 {
		return false, "the storage shows no size"
	}
	if s.PBS {
		need := s.Total / 20
		return s.Free >= need, fmt.Sprintf("%s free of %s, %s needed", Bytes(s.Free), Bytes(s.Total), Bytes(need))
	}
	need, from := s.LastSize+(s.LastSize+4)/5, "1.2 times the last backup"
	if s.LastSize <= 0 {
		need, from = (s.DisksTotal+9)/10, "a tenth of the disks"
	}
	have := s.Free + s.Victim - s.BeingWritten
	return have >= need, fmt.Sprintf("%s free + %s of the copy that goes − %s being written = %s; %s needed (%s)",
		Bytes(s.Free), Bytes(s.Victim), Bytes(s.BeingWritten), Bytes(max(have, 0)), Bytes(need), from)
}
