package templates

import (
	"cmp"
	"slices"
	"strconv"

	"stowage/portal"
)

// BackupsPage is the heart of the portal: the schedule and the copies of one service.
type BackupsPage struct {
	Frame
	Service    ServiceHead
	Notices    []Notice
	Protection Protection
	Counter    Counter
	BackupNow  BackupNow
	Running    []Running
	Idle       Idle
	List       BackupList
	Schedule   Schedule
	Ledger     Ledger
	Live       bool // connect to the event stream
}

// Protection is the sentence that says what would be lost if the machine broke now.
type Protection struct {
	Sentence portal.Text
	Tone     Tone // ToneBad without a schedule or a good copy
	Restore  *WayOut
}

// Counter counts complete copies against the places.
type Counter struct {
	Used    int
	Quota   int
	Running int    // in progress, not in Used
	Of      string // what is counted: snapshots; "" = backups
}

// Text is the counter as the mark data-count shows it: "3/10".
func (c Counter) Text() string { return strconv.Itoa(c.Used) + "/" + strconv.Itoa(c.Quota) }

// Over is how many copies there are too many.
func (c Counter) Over() int { return max(0, c.Used-c.Quota) }

func (c Counter) tone() Tone {
	switch {
	case c.Over() > 0:
		return ToneBad
	case c.Quota > 0 && c.Used == c.Quota:
		return ToneInfo
	}
	return ToneNeutral
}

// NoteLimit is how many characters a note may have.
const NoteLimit = 200

// BackupNow is the form of a manual backup.
type BackupNow struct {
	Act
	Note    string      // as typed, after a refusal
	Error   portal.Text // about the note
	Warning portal.Text // "In this mode your machine shuts down briefly.", or that all places are used; may be empty
}

// Running is an operation under way, with its live progress.
type Running struct {
	Operation string      // uid
	Kind      string      // of the operation: backup, delete, …; in data-kind
	State     string      // queued, running, held
	Backup    string      // uid of the copy being written; "" before there is one
	Origin    string      // scheduled, manual, before-restore
	Version   int64       // grows with every save; an older fragment never replaces a newer one
	Machine   string      // "h100", for the tab's title
	Title     portal.Text // "Backing up h100"
	Step      portal.Text // "Writing the copy", "4th in line. You can close this page."
	Note      string
	Since     Moment
	Percent   int         // 0…100; -1 while there is no figure
	Bytes     portal.Text // "20.1 of 32 GiB"
	Speed     portal.Text // "210 MiB/s"
	Left      portal.Text // "about 2 min left"
	Stale     portal.Text // "We can't reach your host since 02:09.": then no figures are shown
	Cancel    Act
	HideStop  bool // there is nothing to cancel, ever
}

// BackupList is the list of copies, newest first.
type BackupList struct {
	Rows   []BackupRow
	Paging Paging
	Page   int         // from 1; 0 is the first
	Empty  portal.Text // the sentence when there is no copy yet; "" has a good one
}

// BackupRow is one copy.
type BackupRow struct {
	UID         string
	State       string // running, good, suspect, partial, failed, missing
	Origin      string // scheduled, manual, before-restore
	When        Moment // when it began
	Note        string
	NoteWrong   portal.Text   // why the note was refused
	Size        portal.Text   // "41 GiB"
	Mode        string        // snapshot, suspend, stop
	Took        portal.Text   // "6 min"
	Inside      []portal.Text // disks in it: "scsi0 32 GiB"
	Outside     []portal.Text // disks not in it, with the reason: "scsi2 200 GiB (excluded from backups)"
	Badges      []Badge
	Remark      portal.Text // one more sentence: why it failed, since when it is missing, until when it is kept
	Next        bool        // the next run replaces it
	EditNote    bool
	Restore     Act
	HideRestore bool // it can never be restored
	Remove      Act
	HideRemove  bool // nothing to remove, as with a missing copy
	Protected   bool
	ShowProtect bool // the product lets clients protect
	Protect     Act
	ShowFine    bool   // offer "It's fine" on a suspect copy
	ShowDismiss bool   // offer to clear the row of a copy that is no more
	Operation   string // uid of the operation that wrote it, "" leaves the link out
	Page        int    // of the list that it is on, from 1; 0 is the first

	restoreAbove bool   // the reason against restoring stands above the list
	protectAbove bool   // the reason against protecting stands above the list
	removeAbove  string // the id of the line there with the reason against removing
}

// sharedReasons are the reasons for which several copies can't be protected, and can't be removed, all for the same
// one, and why most can't be restored: they are said once above the list. Each is "" when there is none.
type sharedReasons struct{ protect, remove, restore portal.Text }

func sharedOf(list BackupList) (s sharedReasons) {
	var protect, remove, restore []portal.Text
	restorable := 0
	for _, row := range list.Rows {
		if row.ShowProtect && !row.Protect.Can {
			protect = append(protect, row.Protect.WhyNot)
		}
		if !row.HideRemove && !row.Remove.Can && row.Remove.WayOut == nil {
			remove = append(remove, row.Remove.WhyNot)
		}
		if row.HideRestore {
			continue
		}
		if restorable++; !row.Restore.Can {
			restore = append(restore, row.Restore.WhyNot)
		}
	}
	return sharedReasons{common(protect), common(remove), most(restore, restorable)}
}

// common gives what two or more texts all say, or "".
func common(texts []portal.Text) portal.Text {
	if len(texts) < 2 || slices.ContainsFunc(texts, func(t portal.Text) bool { return t != texts[0] }) {
		return ""
	}
	return texts[0]
}

// usable tells whether anything can ever be done with the copies here: staff look only.
func (l BackupList) usable() bool {
	return slices.ContainsFunc(l.Rows, func(r BackupRow) bool { return !r.HideRestore || !r.HideRemove })
}

// most gives what more than half of so many rows say, or "".
func most(texts []portal.Text, rows int) portal.Text {
	n := map[portal.Text]int{}
	for _, t := range texts {
		if n[t]++; t != "" && 2*n[t] > rows {
			return t
		}
	}
	return ""
}

// on leaves the reasons of a row to the lines above the list where they stand there.
func (s sharedReasons) on(row BackupRow) BackupRow {
	row.protectAbove = s.protect != "" && row.Protect.WhyNot == s.protect
	row.restoreAbove = s.restore != "" && row.Restore.WhyNot == s.restore
	if row.removeAbove = ""; s.remove != "" && row.Remove.WhyNot == s.remove && row.Remove.WayOut == nil {
		row.removeAbove = "remove-why"
		if s.remove == s.protect {
			row.removeAbove = "protect-why" // one line for both
		}
	}
	return row
}

// form is the address that a form of a copy's row is sent to. It carries the page of the list, to come back to it.
func (r BackupRow) form(h ServiceHead, what string) string {
	address := h.path("/backups/" + r.UID + "/" + what)
	if r.Page > 1 {
		address += "?page=" + strconv.Itoa(r.Page)
	}
	return address
}

// events is the address of the page's stream. It says which page of the list is open.
func (v BackupsPage) events() string {
	url := eventsURL(v.Live, v.Service.UID, "backups")
	if url != "" && v.List.Page > 1 {
		url += "&list=" + strconv.Itoa(v.List.Page)
	}
	return url
}

func protectWhyID(row BackupRow) string {
	if row.protectAbove {
		return "protect-why"
	}
	return "protect-why-" + row.UID
}

func restoreWhyID(row BackupRow) string {
	if row.restoreAbove {
		return "restore-why"
	}
	return "restore-why-" + row.UID
}

func removeWhyID(row BackupRow) string { return cmp.Or(row.removeAbove, "remove-why-"+row.UID) }

// Schedule is the form of the schedule with what it leads to.
type Schedule struct {
	Exists    bool        // at least one day is enabled
	Summary   portal.Text // "Every night 03:00, next tonight"; "No automatic backups"
	Days      [7]Day      // Sunday first
	SameTime  string      // the time that all days share, "" when they differ
	Zone      string
	Zones     []string    // IANA names to choose from
	Info      portal.Text // "Scheduled backups replace the oldest when all places are used."
	Next      Run         // zero: none
	Later     []Run       // the next seven
	Replaces  portal.Text // "It will replace Thu 12 Nov 03:00, 41 GiB."
	Warning   portal.Text // "Your machine shuts down briefly at 02:30." in mode stop
	Suggest   *Suggestion
	Save      Act
	Error     portal.Text // about the whole form
	ZoneWrong portal.Text
	Open      bool // unfold on a phone: after a refusal, or with no schedule
}

// Day is one tile of the schedule.
type Day struct {
	Name    portal.Text // "Sunday"
	Enabled bool
	Time    string      // "03:00"
	Wrong   portal.Text // why the time was refused
}

// Suggestion is the one tap for a service without a schedule.
type Suggestion struct {
	Time string      // "03:40"
	Why  portal.Text // "a quiet time on your host"
}

// Run is a coming slot.
type Run struct {
	At  Moment      // in the schedule's zone
	UTC portal.Text // "02:00 UTC", with the date where it differs
}

// IsZero says that there is no run.
func (r Run) IsZero() bool { return r.At.IsZero() }

// Ledger is the last 30 days of slots, oldest first.
type Ledger struct {
	Dots    []Dot
	Summary portal.Text // "28 done, 1 late, 1 failed"
}

// Dot is one slot. Days without a slot have State "none".
type Dot struct {
	Date      string      // 2026-11-19
	Day       portal.When // "Thu 19 Nov"
	State     string      // done, late, skipped, failed, missed, running, due, none
	Reason    portal.Text // "The storage was full.", or a clause that becomes a sentence
	Evidence  portal.Text // "Began 03:00, ended 03:06, 41 GiB"
	NextTry   portal.Text // "Tried again today 03:00"
	Reference string      // of a failure, to quote to support
	Operation string      // uid, "" leaves the link out
}

// DeletePage asks before a copy is removed.
type DeletePage struct {
	Frame
	Service ServiceHead
	Backup  string // uid
	When    Moment
	Size    portal.Text
	Note    string
	Lost    []portal.Text // sentences: what is lost
	Stays   []portal.Text // sentences: what stays
	Warning portal.Text   // "This is your newest good copy."; may be empty
	Remove  Act
}

// ChoosePage lets the client choose which copy goes after a good manual backup.
type ChoosePage struct {
	Frame
	Service ServiceHead
	Note    string // carried over
	Rows    []Choice
	Oldest  string // uid that is ticked at first
	Act     Act
}

// Choice is a copy that could go.
type Choice struct {
	UID    string
	When   Moment
	Size   portal.Text
	Note   string
	Origin string
	WhyNot portal.Text // it can't go: protected, or the newest good copy; "" it can
}

// NoSchedulePage asks before the last day is unticked. Fields carry the whole form.
type NoSchedulePage struct {
	Frame
	Service ServiceHead
	Fields  []Field // time_0 … time_6, zone
	Newest  Moment  // the newest good copy
}
