package portal

import (
	"encoding/json"
	"slices"
	"time"
)

// The topics of messages: what each is about. A message goes to the logins of a service's client, to one login, or
// to staff; package store keeps it in the outbox within the change that it tells of.
const (
	TopicRestoreDone      = "restore.done"   // payload RestoreDone
	TopicRestoreFailed    = "restore.failed" // payload RestoreFailed
	TopicBackupFailed     = "backup.failed"  // to staff as well
	TopicBackupMissed     = "backup.missed"  //
	TopicAllProtected     = "backup.all_protected"
	TopicFirstGood        = "backup.first_good"
	TopicCopyVanished     = "backup.vanished" // to staff as well
	TopicCopyDamaged      = "backup.damaged"  // to staff as well
	TopicDeleteFailed     = "backup_delete.failed"
	TopicProtectFailed    = "backup_protect.failed"
	TopicSnapshotExpiring = "snapshot.expiring" // payload SnapshotExpiring
	TopicMachineReady     = "machine.ready"     // payload MachineReady

	TopicPasswordReset   = "login.password_reset"
	TopicPasswordChanged = "login.password_changed"
	TopicNewDevice       = "login.new_device"

	TopicHeld            = "operation.held"
	TopicUnreachable     = "server.unreachable"
	TopicRights          = "server.rights"
	TopicClock           = "server.clock"
	TopicBrake           = "storage.brake"
	TopicDoubt           = "storage.doubt"
	TopicStaleLock       = "lock.stale"
	TopicMachineGone     = "service.machine_gone"
	TopicMachineReplaced = "service.machine_replaced"
	TopicNotEvicted      = "backup.not_evicted"
	TopicRecovery        = "recovery.begin"
	TopicMailGivenUp     = "mail.given_up"
	TopicMorningReport   = "report.morning"
)

// Notice is what a message says, in the form in which the outbox keeps it: every payload is a part of one. Texts are
// kept as they are (string(text)), so that each reader is told in their own language. What the payload leaves open the
// store fills in when the message is addressed: the names, and the instant.
type Notice struct {
	Topic string `json:"topic,omitempty"`
	At    int64  `json:"at,omitempty"` // when it happened, unix seconds

	Service   string `json:"service,omitempty"` // uid
	Machine   string `json:"name,omitempty"`
	Operation string `json:"operation,omitempty"` // uid
	Reference string `json:"reference,omitempty"`
	Slot      string `json:"slot,omitempty"` // local date of a scheduled backup
	Date      string `json:"date,omitempty"` // the same, as some write it
	Text      string `json:"text,omitempty"` // what happened, a Text
	Reason    string `json:"reason,omitempty"`
	Started   int64  `json:"started,omitempty"` // of the copy
	Backup    string `json:"backup,omitempty"`  // uid

	RestoreDone
	RestoreFailed
	SnapshotExpiring

	// For staff alone: exact, in English, and never in a client's mail.
	Why       string `json:"why,omitempty"`
	Title     string `json:"title,omitempty"`
	Server    int64  `json:"server,omitempty"`
	ServerUID string `json:"server_uid,omitempty"`
	Host      string `json:"host,omitempty"` // the server's name
	Storage   string `json:"storage,omitempty"`
	Count     int    `json:"count,omitempty"` // of messages that were gathered into this one
	Since     int64  `json:"since,omitempty"` // the first of them

	// For one login.
	Login   string `json:"login,omitempty"` // uid
	Reset   string `json:"reset,omitempty"` // uid of a password reset; its token is no part of what is kept
	Address string `json:"address,omitempty"`
	Browser string `json:"browser,omitempty"` // BrowserOf
	Token   string `json:"-"`

	Report *Report `json:"report,omitempty"`
}

// RestoreDone is the payload of TopicRestoreDone, beside service, name, operation and reference.
type RestoreDone struct {
	CopyAt     int64 `json:"copy_at,omitempty"`     // when the copy was begun that the machine is as, unix seconds
	Running    bool  `json:"running,omitempty"`     // the machine was started and runs
	SafetyDays int   `json:"safety_days,omitempty"` // the safety copy is kept so long; 0: there is none
}

// RestoreFailed is the payload of TopicRestoreFailed, beside service, name, operation, reference and text (why it
// stopped).
type RestoreFailed struct {
	Step  int  `json:"step,omitempty"` // from 1
	Steps int  `json:"steps,omitempty"`
	Off   bool `json:"off,omitempty"`   // the machine is off
	Whole bool `json:"whole,omitempty"` // nothing of the machine was touched
}

// SnapshotExpiring is the payload of TopicSnapshotExpiring, beside service and name.
type SnapshotExpiring struct {
	Description string `json:"description,omitempty"` // the customer's
	Expires     int64  `json:"expires,omitempty"`     // unix seconds
}

// Report is what happened in a night, and what needs a person.
type Report struct {
	From    int64        `json:"from"`
	Until   int64        `json:"until"`
	Done    int          `json:"done"`
	Late    int          `json:"late"`
	Skipped int          `json:"skipped"`
	Failed  int          `json:"failed"`
	Missed  int          `json:"missed"`
	Bad     []ReportSlot `json:"bad"`   // the first of those that failed or were missed
	Needs   []ReportNeed `json:"needs"` // kinds of which there is something
}

// ReportSlot is a scheduled backup that was not made.
type ReportSlot struct {
	Machine, Client string
	State           SlotStatus
	Reason          string // a Text
}

// ReportNeed counts things of a kind that need a person.
type ReportNeed struct {
	Kind  string // one of needWords
	Count int
}

// ReadNotice reads a payload. What can't be read says nothing but its topic.
func ReadNotice(topic, payload string) Notice {
	var n Notice
	if err := json.Unmarshal([]byte(payload), &n); err != nil {
		n = Notice{}
	}
	n.Topic = topic
	return n
}

// reason is why it happened, as the message's writer said it.
func (n Notice) reason() Text {
	if n.Text != "" {
		return Text(n.Text)
	}
	return Text(n.Reason)
}

// slot is the local date of the scheduled backup that it is about, as people read it; "" where it is about none.
func (n Notice) slot() Text {
	date := n.Slot
	if date == "" {
		date = n.Date
	}
	day, err := time.Parse(time.DateOnly, date)
	if err != nil {
		return ""
	}
	return When{At: day, Layout: "Mon 2 Jan"}.Text()
}

// MailKind is a kind of mail that a login may switch on and off.
type MailKind struct {
	Key      string
	Title    Text
	Staff    bool     // for staff; else for clients
	Security bool     // always on, for both
	Topics   []string // nil: all else of its side
}

// MailKinds are all kinds, in the order in which people see them.
func MailKinds() []MailKind {
	return []MailKind{
		{Key: "restored", Title: "A backup was restored", Topics: []string{TopicRestoreDone}},
		{Key: "restore_failed", Title: "A restore failed", Topics: []string{TopicRestoreFailed}},
		{Key: "failed", Title: "A backup failed, or could not be removed or protected", Topics: []string{TopicBackupFailed, TopicDeleteFailed, TopicProtectFailed}},
		{Key: "missed", Title: "A scheduled backup was missed", Topics: []string{TopicBackupMissed}},
		{Key: "protected", Title: "No room for a backup, because all are protected", Topics: []string{TopicAllProtected}},
		{Key: "first", Title: "The first good backup of a machine", Topics: []string{TopicFirstGood}},
		{Key: "vanished", Title: "A backup vanished or was damaged", Topics: []string{TopicCopyVanished, TopicCopyDamaged}},
		{Key: "expiring", Title: "A snapshot ends within 24 hours", Topics: []string{TopicSnapshotExpiring}},
		{Key: "ready", Title: "A machine is ready", Topics: []string{TopicMachineReady}},
		{Key: "report", Title: "The morning report", Staff: true, Topics: []string{TopicMorningReport}},
		{Key: "alerts", Title: "Alerts: what needs a person", Staff: true},
		{Key: "security", Title: "Sign-in from a new device, and changes of the password", Security: true, Topics: []string{TopicPasswordReset, TopicPasswordChanged, TopicNewDevice}},
	}
}

// MailKindOf gives the kind of a topic's mail to staff or to clients; false where no mail is written of it.
func MailKindOf(topic string, staff bool) (MailKind, bool) {
	for _, k := range MailKinds() {
		if k.Staff != staff && !k.Security {
			continue
		}
		if slices.Contains(k.Topics, topic) || staff && k.Topics == nil && topic != TopicMorningReport {
			return k, true
		}
	}
	return MailKind{}, false
}

// Wants tells whether the login is to get mail of a kind. Readers and auditors get none unless they say so, others all
// unless they say otherwise; what is about the security of the login goes to everybody.
func (l Login) Wants(k MailKind) bool {
	if k.Security {
		return true
	}
	if k.Staff != l.Staff() {
		return false
	}
	if said, ok := l.Switches()[k.Key]; ok {
		return said
	}
	return l.MayAct()
}

// Switches are the kinds of mail that the login has switched on or off.
func (l Login) Switches() map[string]bool {
	switches := map[string]bool{}
	_ = json.Unmarshal([]byte(l.MailSwitches), &switches) // "" is none
	return switches
}
