package portal

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// SnapshotState is where a snapshot stands.
type SnapshotState string

// The states of a snapshot.
const (
	SnapshotTaking   SnapshotState = "taking"
	SnapshotThere    SnapshotState = "there"
	SnapshotRemoving SnapshotState = "removing"
	SnapshotGone     SnapshotState = "gone"
	SnapshotFailed   SnapshotState = "failed"
)

// Snapshot is a state of a machine that lies on the same storage as the machine itself.
type Snapshot struct {
	ID          int64
	UID         string
	ServiceID   int64
	Name        string // on the machine
	Description string // the customer's
	Memory      bool   // holds the memory of the machine as it ran
	TakenAt     time.Time
	ExpiresAt   time.Time // fixed when it was taken; zero = never
	State       SnapshotState
	External    bool  // not taken by the portal: in no quota, no expiry, no actions
	Growth      int64 // bytes written since; -1 = the storage doesn't tell
	ParentName  string

	Then   *Machine  // what the machine was; nil = not read yet
	Used   int64     // bytes that the machine's disks took right after; -1 = the storage doesn't tell
	SeenAt time.Time // when it was last seen on the machine
	GoneAt time.Time // when it was found to be no more
}

// SnapshotDay is a day of a snapshot's life.
const SnapshotDay = 24 * time.Hour

// SnapshotLastHour is how long before its end a page offers a backup instead.
const SnapshotLastHour = time.Hour

// SnapshotExpiry gives the end of a snapshot that lives so many days.
func SnapshotExpiry(taken time.Time, days int) time.Time {
	return taken.Add(time.Duration(days) * SnapshotDay)
}

// Left gives how long a snapshot lives on, never less than nothing.
func (s Snapshot) Left(now time.Time) time.Duration {
	if s.ExpiresAt.IsZero() {
		return 0
	}
	return max(s.ExpiresAt.Sub(now), 0)
}

// Ours tells whether a snapshot is the portal's and exists on the machine.
func (s Snapshot) Ours() bool {
	return !s.External && (s.State == SnapshotThere || s.State == SnapshotRemoving)
}

// Title is what a snapshot is called in a list.
func (s Snapshot) Title() Text {
	if s.Description == "" {
		return "Snapshot [without a description]"
	}
	return Verbatim(s.Description)
}

// Countdown says a time that is left to the second: "0 days 23:59:54".
func Countdown(left time.Duration) Text {
	seconds := int64(max(left, 0) / time.Second)
	clock := time.Unix(seconds%86400, 0).UTC().Format("15:04:05")
	return Count(int(seconds/86400), "%d day %s", "%d days %s", clock)
}

var snapshotUID = regexp.MustCompile(`^stw-([0-9a-z]{26})$`)

// SnapshotName gives the name on the machine of the snapshot that an operation takes: by it a lost answer is found
// again.
func SnapshotName(uid string) string { return "stw-" + uid }

// SnapshotUID gives the uid in the name of a snapshot that the portal has taken.
func SnapshotUID(name string) (uid string, ours bool) {
	found := snapshotUID.FindStringSubmatch(name)
	if found == nil {
		return "", false
	}
	return found[1], true
}

// CleanDescription gives a snapshot's description trimmed, or an Error.
func CleanDescription(s string) (string, error) {
	s = strings.TrimSpace(s)
	if !utf8.ValidString(s) {
		return "", Invalid("description", "The description holds bytes that are not text.")
	}
	if n := utf8.RuneCountInString(s); n > NoteLimit {
		return "", Invalid("description", "A description has at most %d characters; this one has %d.", NoteLimit, n)
	}
	for _, r := range s {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Bidi_Control, r) {
			return "", Invalid("description", "A description is one line of plain text, without line breaks or invisible marks.")
		}
	}
	return s, nil
}

// SnapshotCounter counts a service's snapshots against its quota.
func SnapshotCounter(all []Snapshot, quota int) Counter {
	c := Counter{Quota: max(quota, 0)}
	for _, s := range all {
		switch {
		case s.Ours():
			c.Count++
		case !s.External && s.State == SnapshotTaking:
			c.Running++
		}
	}
	c.Hidden = c.Quota == 0 && c.Count == 0 && c.Running == 0
	c.ReadOnly = c.Quota == 0 && !c.Hidden
	c.Full = c.Quota > 0 && c.Count >= c.Quota
	c.Over = max(c.Count-c.Quota, 0)
	return c
}

// Expired gives the snapshots whose time is over, the longest ago first: never before their instant, and none of a
// machine that something holds.
func Expired(all []Snapshot, now time.Time, held func(serviceID int64) bool) []Snapshot {
	var out []Snapshot
	for _, s := range all {
		if !s.External && s.State == SnapshotThere && !s.ExpiresAt.IsZero() && !now.Before(s.ExpiresAt) && !held(s.ServiceID) {
			out = append(out, s)
		}
	}
	slices.SortStableFunc(out, func(a, b Snapshot) int {
		return cmp.Or(a.ExpiresAt.Compare(b.ExpiresAt), cmp.Compare(a.ID, b.ID))
	})
	return out
}

// SnapshotAbility is what the storages of a machine's disks can do.
type SnapshotAbility struct {
	Can        bool
	NewestOnly bool // the machine can be rolled back to its newest snapshot alone
	Why        Text // why it can't, or what NewestOnly means: a sentence for the client
}

// CanSnapshot tells whether a machine with these disks can take snapshots. A storage that isn't known is left to Proxmox
// to judge.
func CanSnapshot(disks []Disk, places map[string]DiskPlace) SnapshotAbility {
	a := SnapshotAbility{Can: true}
	for _, d := range disks {
		p, known := places[d.Storage]
		format := FileFormat(d.Volid)
		switch {
		case p.Format() == "qcow2" && format != "" && format != "qcow2":
			return SnapshotAbility{Why: Say("This machine can't take snapshots: its disk %s is a plain file, which has no room for them. Backups work.", d.Key)}
		case known && (p.Type == "lvm" && format != "qcow2" || p.Type == "iscsi" || p.Type == "iscsidirect"):
			return SnapshotAbility{Why: Say("This machine can't take snapshots: the storage of its disk %s knows none. Backups work.", d.Key)}
		case p.Type == "zfspool" || p.Type == "zfs" || p.Type == "lvm":
			a.NewestOnly = true
			a.Why = "The storage of this machine can go back to the newest snapshot only. To reach an older one, remove the newer ones first."
		}
	}
	return a
}

// RequestSnapshot asks for a snapshot now. memory asks for the memory of a machine that runs; one that is off has
// none.
func RequestSnapshot(actor, description string, memory bool) Request {
	return func(s Situation) (Operation, error) {
		clean, err := CleanDescription(description)
		if err != nil {
			return Operation{}, err
		}
		if err := mayAct(s, "This service is suspended: you can look at everything, but not take a snapshot."); err != nil {
			return Operation{}, err
		}
		if s.Product.Snapshots == 0 {
			return Operation{}, Refuse(CodeQuota, "Your package includes no snapshots.")
		}
		if memory && !s.Product.SnapMemory {
			return Operation{}, Invalid("memory", "Your package takes snapshots without the memory.")
		}
		if a := CanSnapshot(s.Service.Hardware.Disks, s.Places); !a.Can {
			return Operation{}, (&Error{Code: CodeConflict, Sentence: a.Why}).With(WayOut{Action: "open_backups", Label: "Back up instead"})
		}
		if s.NoSnapshot != "" {
			return Operation{}, (&Error{Code: CodeConflict, Sentence: s.NoSnapshot}).With(WayOut{Action: "open_backups", Label: "Back up instead"})
		}
		if err := s.free(false, KindBackup); err != nil {
			return Operation{}, err
		}
		if err := snapshotRoom(s); err != nil {
			return Operation{}, err
		}
		return Operation{
			Kind: KindSnapshot, Step: StepPreflight, Manual: true, Actor: actor, Note: clean,
			Work:    Work{Memory: memory && s.Service.Status == "running"},
			StartBy: s.Now.Add(s.Product.StartWindow), GiveUpAt: s.Now.Add(GiveUpAfter),
		}, nil
	}
}

// snapshotRoom refuses where all places are used.
func snapshotRoom(s Situation) error {
	c := SnapshotCounter(s.Snapshots, s.Product.Snapshots)
	if c.Count+c.Running < c.Quota {
		return nil
	}
	refusal := &Error{Code: CodeQuota, Sentence: Count(c.Quota, "Your one place for a snapshot is used.", "All %d places for snapshots are used.")}
	var oldest *Snapshot
	for i, o := range s.Snapshots {
		if o.Ours() && o.State == SnapshotThere && (oldest == nil || o.TakenAt.Before(oldest.TakenAt)) {
			oldest = &s.Snapshots[i]
		}
	}
	if oldest != nil {
		refusal.With(WayOut{Action: "remove_snapshot", UID: oldest.UID, Label: Say("Remove the oldest: %s", s.nameSnapshot(*oldest))})
	}
	return refusal
}

// nameSnapshot names a snapshot in a sentence: "before the update, Thu 12 Nov 03:00".
func (s Situation) nameSnapshot(v Snapshot) Text {
	at := v.TakenAt
	if s.Location != nil {
		at = at.In(s.Location)
	}
	return Say("%s, %s", v.Title(), When{At: at, Layout: "Mon 2 Jan 15:04"})
}

// RequestSnapshotRemoval asks for one snapshot to be removed because a person said so.
func RequestSnapshotRemoval(actor, uid string) Request {
	return func(s Situation) (Operation, error) {
		if err := mayAct(s, "This service is suspended: you can look at everything, but not remove a snapshot."); err != nil {
			return Operation{}, err
		}
		v, err := s.snapshot(uid)
		if err != nil {
			return Operation{}, err
		}
		if err := s.free(false, KindBackup); err != nil {
			return Operation{}, err
		}
		return Operation{
			Kind: KindSnapshotDelete, Step: StepPreflight, Manual: true, Actor: actor, SnapshotID: v.ID,
			StartBy: s.Now.Add(GiveUpAfter), GiveUpAt: s.Now.Add(GiveUpAfter),
		}, nil
	}
}

// ExpireSnapshot asks for a snapshot to be removed because its time is over. What holds the machine is waited for: the
// request is made again at the next tick. A suspended service's snapshots end as all do.
func ExpireSnapshot(uid string) Request {
	return func(s Situation) (Operation, error) {
		if s.Service.State != ServiceSuspended {
			if err := mayAct(s, ""); err != nil {
				return Operation{}, err
			}
		}
		v, err := s.snapshot(uid)
		if err != nil {
			return Operation{}, err
		}
		if len(Expired([]Snapshot{v}, s.Now, func(int64) bool { return false })) == 0 {
			return Operation{}, Refuse(CodeConflict, "The time of this snapshot is not over.")
		}
		if !s.Server.ClockTrusted() {
			return Operation{}, Refuse(CodeConflict, "The clock of the host and ours differ: nothing is removed by its age until they agree.")
		}
		if err := s.free(false, KindBackup); err != nil {
			return Operation{}, err
		}
		return Operation{
			Kind: KindSnapshotDelete, Step: StepPreflight, Actor: "cron", SnapshotID: v.ID,
			StartBy: s.Now.Add(GiveUpAfter), GiveUpAt: s.Now.Add(GiveUpAfter),
		}, nil
	}
}

// snapshot gives the snapshot with this uid where it may be acted upon.
func (s Situation) snapshot(uid string) (Snapshot, error) {
	i := slices.IndexFunc(s.Snapshots, func(v Snapshot) bool { return v.UID == uid && !v.External })
	if i < 0 {
		return Snapshot{}, NotFound()
	}
	switch s.Snapshots[i].State {
	case SnapshotThere:
		return s.Snapshots[i], nil
	case SnapshotTaking:
		return Snapshot{}, Refuse(CodeBusy, "This snapshot is being taken right now.")
	case SnapshotRemoving:
		return Snapshot{}, Refuse(CodeConflict, "This snapshot is being removed already.")
	}
	return Snapshot{}, NotFound()
}

// snapshotByID gives the uid of a snapshot; "" where it is gone.
func (s Situation) snapshotByID(id int64) string {
	for _, v := range s.Snapshots {
		if v.ID == id && !v.External {
			return v.UID
		}
	}
	return ""
}
