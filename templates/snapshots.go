package templates

import (
	"strconv"

	"stowage/portal"
)

// SnapshotsPage is the list of a machine's snapshots, and the way to take one.
type SnapshotsPage struct {
	Frame
	Service  ServiceHead
	Notices  []Notice
	Counter  Counter
	Take     TakeSnapshot
	Days     int  // that a snapshot lives
	Backups  bool // the machine has backups to tell snapshots from
	Running  []Running
	Idle     Idle
	List     SnapshotList
	Recent   []OperationRow
	Live     bool  // connect to the event stream
	NowMilli int64 // the server's clock, unix milliseconds: what the countdowns go by
}

// TakeSnapshot is the form of a new snapshot.
type TakeSnapshot struct {
	Act
	Description string      // as typed, after a refusal
	Error       portal.Text // about the description
	ShowMemory  bool        // the machine runs, and its package allows it
	Memory      bool        // ticked
}

// SnapshotList is the list of snapshots, newest first.
type SnapshotList struct {
	Rows  []SnapshotRow
	Note  portal.Text // what holds for all: only the newest can be rolled back to
	Empty portal.Text // the sentence where there is none; "" has a good one
}

// SnapshotRow is one snapshot.
type SnapshotRow struct {
	UID         string
	State       string // taking, there, removing, failed, gone
	Name        string // on the machine
	Title       portal.Text
	Description string
	Wrong       portal.Text // why the description was refused
	When        Moment
	Memory      bool
	Expires     int64       // unix seconds; 0 = never
	Until       Moment      // the same
	Left        portal.Text // "0 days 23:59:54"; "" leaves it to the script
	LastHour    bool
	BackUp      Act         // what the last hour offers instead
	Growth      portal.Text // "1.2 GiB"
	Remark      portal.Text
	External    bool // the provider's: shown, and nothing else
	Rollback    Act
	Remove      Act
	Edit        bool // the description may be changed
	Actions     bool // there is anything to be done with it

	above portal.Text // the reason that stands above the list
}

// RollbackPage asks before a machine is put back.
type RollbackPage struct {
	Frame
	Service   ServiceHead
	Snapshot  string // uid
	Title     portal.Text
	When      Moment
	Sentence  portal.Text // what happens
	Warning   portal.Text // the memory is lost
	Lost      []portal.Text
	Stays     []portal.Text
	Changes   []Fact      // what is brought in step with the package: name, "2048 MB → 4096 MB"
	StartText portal.Text // of the checkbox; "" leaves it out
	Start     bool        // ticked
	Plan      string      // what was read here, said with the confirmation
	Rollback  Act
}

// RemoveSnapshotPage asks before a snapshot is removed.
type RemoveSnapshotPage struct {
	Frame
	Service  ServiceHead
	Snapshot string // uid
	Title    portal.Text
	When     Moment
	Until    Moment
	Lost     []portal.Text
	Stays    []portal.Text
	Remove   Act
}

func unixText(seconds int64) string { return strconv.FormatInt(seconds, 10) }

// snapshotWhyID names the line with the reason against an action: one line where both have the same.
func snapshotWhyID(row SnapshotRow, act Act) string {
	if act.WhyNot == row.above {
		return "snapshots-why"
	}
	if act.WhyNot == row.Remove.WhyNot {
		return "delete-why-" + row.UID
	}
	return "rollback-why-" + row.UID
}

// commonSnapshotReason is why most snapshots can be neither rolled back to nor removed, as while something else runs: it
// is said once above the list.
func commonSnapshotReason(list SnapshotList) portal.Text {
	var why []portal.Text
	rows := 0
	for _, row := range list.Rows {
		if !row.Actions {
			continue
		}
		if rows++; !row.Rollback.Can && row.Rollback.WhyNot == row.Remove.WhyNot {
			why = append(why, row.Rollback.WhyNot)
		}
	}
	return most(why, rows)
}

// under leaves a reason to the line above the list.
func (r SnapshotRow) under(why portal.Text) SnapshotRow {
	r.above = why
	return r
}

func snapshotClass(row SnapshotRow) string {
	if row.State == "gone" || row.State == "failed" {
		return "snap-gone"
	}
	return ""
}

// mark is what a counter counts, for scripts.
func (c Counter) mark() string {
	if c.Of != "" {
		return c.Of
	}
	return "backups"
}
