package portal

import "time"

// Letter is a mail before it has a language: what happened, what is unharmed, what comes next, and one link. Package
// lang writes it as text and as HTML.
type Letter struct {
	Subject   Text
	Tone      string // good, warn, bad or info
	Body      []Text
	Facts     []LetterFact
	Items     []Text // a list, where there is one
	Action    Text   // of the link
	Path      string // of the link, within the portal
	Reference string
	Security  bool // can't be switched off
	Zone      string
}

// LetterFact is a line of a letter's table.
type LetterFact struct{ Label, Value Text }

// Compose writes the letter of a notice to a reader in their zone. staff says that the notice is for staff, to whom
// exact words are told; a client is never told those. False: there is no letter of that topic.
func Compose(n Notice, staff bool, zone *time.Location) (Letter, bool) {
	kind, ok := MailKindOf(n.Topic, staff)
	if !ok {
		return Letter{}, false
	}
	c := composer{n, zone}
	var l Letter
	switch {
	case kind.Security:
		l = c.account()
	case n.Topic == TopicMorningReport:
		l = c.report()
	case staff:
		l = c.alert()
	default:
		l = c.client()
	}
	l.Security, l.Zone = kind.Security, zone.String()
	if l.Reference == "" {
		l.Reference = n.Reference
	}
	return l, true
}

type composer struct {
	Notice
	zone *time.Location
}

func (c composer) when(unix int64) Text {
	return When{At: time.Unix(unix, 0).In(c.zone), Layout: "Mon 2 Jan 15:04"}.Text()
}

// facts leaves out the lines that say nothing.
func facts(list ...LetterFact) (said []LetterFact) {
	for _, f := range list {
		if f.Value != "" {
			said = append(said, f)
		}
	}
	return said
}

func body(list ...Text) (said []Text) {
	for _, t := range list {
		if t != "" {
			said = append(said, t)
		}
	}
	return said
}

// client writes to the client of a service.
func (c composer) client() Letter {
	l := Letter{Action: "Open the backups", Path: "/services/" + c.Service + "/backups"}
	happened := LetterFact{"When", c.when(c.At)}
	copyOf := LetterFact{Label: "Backup of"}
	if c.Started > 0 {
		copyOf.Value = c.when(c.Started)
	}
	switch c.Topic {
	case TopicRestoreDone:
		return c.restored(l)
	case TopicRestoreFailed:
		return c.restoreFailed(l)
	case TopicBackupFailed:
		l.Tone, l.Subject = "bad", Say("%s: a backup failed", c.Machine)
		next := Text("You can try again at any time.")
		if c.slot() != "" {
			next = "The next scheduled backup is made as planned. You don't have to do anything; if you want one before that, back up now."
		}
		l.Body = body(c.reason(), "Your machine was not changed. The newest good backup is kept in any case.", next)
		l.Facts = facts(LetterFact{"Scheduled for", c.slot()}, happened)
	case TopicBackupMissed:
		l.Tone, l.Subject = "warn", Say("%s: a scheduled backup was missed", c.Machine)
		l.Body = body(c.reason(), "Your machine and your backups are untouched.",
			"The next scheduled backup is made as planned. You don't have to do anything; if you want one before that, back up now.")
		l.Facts = facts(LetterFact{"Scheduled for", c.slot()}, happened)
	case TopicAllProtected:
		l.Tone, l.Subject = "warn", Say("%s: no backup was made, all places are protected", c.Machine)
		l.Body = body(c.reason(), "Your machine and your backups are untouched.",
			"No scheduled backup can be made until one of them may be replaced: take the protection off one, or remove one.")
		l.Facts = facts(LetterFact{"Scheduled for", c.slot()}, happened)
	case TopicFirstGood:
		l.Tone, l.Subject = "good", Say("%s: the first backup is made", c.Machine)
		l.Body = body(c.reason(), "From now on you can go back to it at any time.")
		l.Facts = facts(happened)
	case TopicCopyVanished:
		l.Tone, l.Subject = "bad", Say("%s: a backup has vanished", c.Machine)
		l.Body = body("A backup is no longer on the storage, and the portal did not remove it.",
			"Your machine is not affected, nor are your other backups.", "Our team has been told and looks into it. If you need it, back up now.")
		l.Facts = facts(copyOf, LetterFact{"Noticed", c.when(c.At)})
	case TopicCopyDamaged:
		l.Tone, l.Subject = "bad", Say("%s: a backup is damaged", c.Machine)
		l.Body = body(c.reason(), "It is no longer counted as a backup, and no good one is removed for it. Your machine is not affected.",
			"Our team has been told and looks into it. If you need it, back up now.")
		l.Facts = facts(copyOf, LetterFact{"Noticed", c.when(c.At)})
	case TopicDeleteFailed:
		l.Tone, l.Subject = "warn", Say("%s: a backup could not be removed", c.Machine)
		l.Body = body(c.reason(), "Your machine and your other backups are untouched.", "You can try again at any time.")
		l.Facts = facts(happened)
	case TopicProtectFailed:
		l.Tone, l.Subject = "warn", Say("%s: the protection of a backup could not be changed", c.Machine)
		l.Body = body(c.reason(), "The backup itself is untouched.", "You can try again at any time.")
		l.Facts = facts(happened)
	case TopicSnapshotExpiring:
		l.Tone, l.Subject = "warn", Say("%s: a snapshot ends soon", c.Machine)
		l.Body = body("A snapshot of your machine comes to its end and is then removed. The machine itself and your backups stay as they are.",
			"If you still need that state, make a backup before then: a snapshot can't be kept longer.")
		l.Facts = facts(LetterFact{"Snapshot", Verbatim(c.Description)}, LetterFact{"Is removed", c.when(c.Expires)})
		l.Action, l.Path = "Open the snapshots", "/services/"+c.Service+"/snapshots"
	case TopicMachineReady:
		l.Tone, l.Subject = "good", Say("%s: your machine is ready", c.Machine)
		l.Body = body(Say("%s was set up anew and runs.", c.Machine), "Its addresses and its backups are the ones it had.", "Make a backup once everything is as you want it.")
		l.Facts = facts(happened)
		l.Action, l.Path = "Open the machine", "/services/"+c.Service
	}
	return l
}

func (c composer) restored(l Letter) Letter {
	l.Tone, l.Subject = "good", Say("%s: backup restored", c.Machine)
	state := Text("It is off, as you wanted it.")
	if c.Running {
		state = "It runs again."
	}
	var safety Text
	if c.SafetyDays > 0 {
		safety = Count(c.SafetyDays, "What it was before is kept as a backup for 1 more day, in case you want to go back.",
			"What it was before is kept as a backup for %d more days, in case you want to go back.")
	}
	l.Body = body(Say("%s is again as it was on %s.", c.Machine, c.when(c.CopyAt)), state, safety, "Your other backups are untouched.")
	l.Facts = facts(LetterFact{"Ended", c.when(c.At)})
	l.Action, l.Path = "See what was done", "/services/"+c.Service+"/operations/"+c.Operation
	return l
}

func (c composer) restoreFailed(l Letter) Letter {
	l.Tone, l.Subject = "bad", Say("%s: the restore stopped", c.Machine)
	stopped := c.reason()
	if c.Steps > 0 {
		stopped = Say("Stopped at step %d of %d: %s", c.Step, c.Steps, c.reason())
	}
	state := Text("Your machine is not whole yet and stays locked until it is.")
	switch {
	case c.Whole:
		state = "Your machine is as it was; nothing of it was touched."
	case c.Off:
		state = "Your machine is off, and stays locked until it is whole."
	}
	l.Body = body(stopped, state, "Your other backups are untouched.", "Our team has been told. You can go on right away: try again, or restore another backup.")
	l.Facts = facts(LetterFact{"When", c.when(c.At)})
	l.Action, l.Path = "Choose how to go on", "/services/"+c.Service+"/operations/"+c.Operation
	return l
}

// account writes to one login about itself.
func (c composer) account() Letter {
	switch c.Topic {
	case TopicPasswordReset:
		token := c.Token
		if token == "" {
			token = "…" // it is nobody's to see but the reader's
		}
		return Letter{
			Subject: "Choose a new password", Tone: "info", Action: "Choose a new password", Path: "/reset/" + token,
			Body: body("Somebody, hopefully you, said that they forgot the password of this login.", "The link below works once, within one hour.",
				"If it was not you, you don't have to do anything: your password stays as it is."),
			Facts: facts(LetterFact{"Asked for", c.when(c.At)}, LetterFact{"From the address", Verbatim(c.Address)}),
		}
	case TopicPasswordChanged:
		return Letter{
			Subject: "Your password was changed", Tone: "info", Action: "Choose a new password", Path: "/forgot",
			Body: body("The password of your login was changed, and everybody who was signed in with it is signed out.",
				"If it was not you, choose a new password right away and tell us."),
			Facts: facts(LetterFact{"When", c.when(c.At)}, LetterFact{"From the address", Verbatim(c.Address)}),
		}
	}
	return Letter{
		Subject: "Sign-in from a new device", Tone: "info", Action: "Open your account", Path: "/account",
		Body: body("Somebody signed in with your login, in a browser that we have not seen before.", "If it was you, you don't have to do anything.",
			"If it was not you, change your password: that ends every session."),
		Facts: facts(LetterFact{"When", c.when(c.At)}, LetterFact{"From the address", Verbatim(c.Address)}, LetterFact{"Browser", Verbatim(c.Browser)}),
	}
}
