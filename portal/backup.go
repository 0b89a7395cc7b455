package portal

import "time"

// Origin says why a copy was made.
type Origin string

// The origins of a copy.
const (
	OriginScheduled     Origin = "scheduled"
	OriginManual        Origin = "manual"
	OriginBeforeRestore Origin = "before-restore"
	OriginExternal      Origin = "external"
)

// Backup is one archive as we know it. That the row exists is the ownership: it was written because the log of
// our own task named the archive, or because its notes carried our valid mark.
type Backup struct {
	ID           int64
	UID          string
	ServiceID    int64 // 0 = external, nobody's
	ServerID     int64
	Node         string // "" when the storage is shared
	Storage      string
	Volid        string
	VMID         int
	Class        Class
	ClassBefore  Class // what a missing or damaged one was
	Reason       Text
	Origin       Origin
	Mode         string
	StartedAt    time.Time // our own start; copies are ordered by it
	CTime        time.Time
	EndedAt      time.Time
	Size         int64
	UPID         string
	OperationID  int64
	DisksIn      []Disk
	DisksOut     []Disk
	Consistent   bool // the guest froze its file systems; else "like after a power cut"
	Note         string
	NoteDue      time.Time // zero = mark and note stand in the archive
	NoteTries    int
	Protected    bool
	Verification string
	Encrypted    string
	KeepUntil    time.Time
	SeenAt       time.Time
	MissingSince time.Time
	MissingLooks int
	RemovedAt    time.Time
	RemovedHow   string
	PinnedBy     string // uid of an unfinished operation that names it
	Removing     bool   // that operation removes it
	MadeBy       string // of one that isn't whole: uid of the operation it came of
	Reference    string // and its reference
}

// Complete tells whether the copy counts as a backup that a customer has.
func (b Backup) Complete() bool {
	return b.RemovedAt.IsZero() && (b.Class == ClassGood || b.Class == ClassSuspect)
}
