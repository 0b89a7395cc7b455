package portal

import "time"

// alertWords are the titles of alerts and what each means.
var alertWords = map[string]struct{ title, means Text }{
	TopicHeld:            {"an operation is held", "It locks its machine until it goes on or is released."},
	TopicUnreachable:     {"server unreachable", "Its pages show the last known state. Backups that fall due meanwhile are caught up."},
	TopicRights:          {"a right is missing", "Backups that need it wait until the token has it."},
	TopicClock:           {"its clock differs from ours", "Nothing is removed, ended or caught up there until the clocks agree."},
	TopicBrake:           {"automatic removals were stopped", "There were many more of them than usual. They go on when somebody lets them."},
	TopicDoubt:           {"many archives are gone at once", "Nothing there is believed missing, and nothing is removed for room, until somebody confirms it."},
	TopicStaleLock:       {"a stale lock", "Proxmox keeps the machine locked without work of ours. See whether the task behind the lock still runs."},
	TopicMachineGone:     {"the machine is gone", "Nothing is sent to the host for it until somebody has looked."},
	TopicMachineReplaced: {"another machine is in its place", "Nothing is sent to the host for it until somebody has looked."},
	TopicNotEvicted:      {"an old backup could not be removed", "The new backup is made; the removal is tried again by itself."},
	TopicRecovery:        {"this database may be an older copy", "Nothing is removed automatically until every storage was listed twice and its archives are recognised."},
	TopicMailGivenUp:     {"a mail could not be delivered", "It was given up. The mail log says why, and can send it again."},
	TopicBackupFailed:    {"a backup failed", "The client has been told."},
	TopicDeleteFailed:    {"a removal failed", "The client has been told."},
	TopicProtectFailed:   {"a change of protection failed", "The client has been told."},
	TopicRestoreFailed:   {"a restore failed", "The client has been told. The machine may be off and locked."},
	TopicCopyVanished:    {"a backup has vanished", "The portal did not remove it. The client has been told."},
	TopicCopyDamaged:     {"a backup is damaged", "It no longer counts as a backup. The client has been told."},
}

// alert writes to staff about what needs a person.
func (c composer) alert() Letter {
	words, known := alertWords[c.Topic]
	if !known {
		words.title = Verbatim(c.Topic)
	}
	about := Text("the portal")
	switch {
	case c.Machine != "":
		about = Verbatim(c.Machine)
	case c.Host != "" && c.Storage != "":
		about = Say("%s, storage %s", c.Host, c.Storage)
	case c.Host != "":
		about = Verbatim(c.Host)
	}
	l := Letter{Subject: Say("%s: %s", about, words.title), Tone: "bad", Action: "Open the dashboard", Path: "/admin"}
	switch {
	case c.Topic == TopicMailGivenUp:
		l.Action, l.Path = "Open the mail log", "/admin/mail?state=failed"
	case c.Operation != "":
		l.Action, l.Path = "Open the operation", "/admin/operations/"+c.Operation
	case c.ServerUID != "":
		l.Action, l.Path = "Open the server", "/admin/servers/"+c.ServerUID
	case c.Service != "":
		l.Action, l.Path = "Open the service", "/admin/services/"+c.Service
	}
	why := Verbatim(c.Why)
	if why == "" {
		why = c.reason()
	}
	var gathered Text
	if c.Count > 1 {
		gathered = Count(c.Count, "This happened once since %s.", "This happened %d times since %s; this mail is about all of them.", c.when(c.Since))
	}
	l.Body = body(words.means, gathered, "Of one kind about one thing there is at most one mail in 15 minutes.")
	l.Facts = facts(LetterFact{"When", c.when(c.At)}, LetterFact{"Exactly", why})
	return l
}

// needWords name what needs a person, in the morning report.
var needWords = map[string]Text{
	"held": "Held operations", "servers": "Servers in trouble", "nodes": "Nodes offline", "machines": "Machines gone or replaced",
	"doubted": "Storages that lost many archives at once", "braked": "Brakes", "full": "Storages getting full", "locked": "Stale locks",
	"unprotected": "Unprotected services", "external": "External archives", "mails": "Mails that could not be delivered",
}

// report writes the morning report.
func (c composer) report() Letter {
	r := c.Report
	if r == nil {
		r = &Report{}
	}
	amount := func(n int) Text { return Say("%s", Number(n)) }
	l := Letter{Subject: "Morning report: a quiet night", Tone: "good", Action: "Open the dashboard", Path: "/admin"}
	bad := r.Failed + r.Missed
	if bad > 0 {
		l.Tone, l.Subject = "bad", Count(bad, "Morning report: 1 backup is missing", "Morning report: %d backups are missing")
	} else if len(r.Needs) > 0 {
		l.Tone, l.Subject = "warn", "Morning report: something needs a person"
	}
	l.Body = body(Say("Scheduled backups that fell due from %s to %s:", c.when(r.From), c.when(r.Until)))
	l.Facts = []LetterFact{
		{"Done in time", amount(r.Done)}, {"Done late", amount(r.Late)}, {"Skipped", amount(r.Skipped)}, {"Failed", amount(r.Failed)}, {"Missed", amount(r.Missed)},
	}
	for _, need := range r.Needs {
		if words := needWords[need.Kind]; words != "" {
			l.Facts = append(l.Facts, LetterFact{words, amount(need.Count)})
		}
	}
	for _, s := range r.Bad {
		state := Text("failed")
		if s.State == SlotMissed {
			state = "missed"
		}
		l.Items = append(l.Items, Say("%s (%s): %s, %s", s.Machine, s.Client, state, Text(s.Reason)))
	}
	if more := bad - len(r.Bad); more > 0 && len(r.Bad) > 0 {
		l.Items = append(l.Items, Count(more, "and 1 more", "and %d more"))
	}
	return l
}

// ReportDue tells whether the morning report of now's date is due in its zone, and which date that is. last is the
// date of the last one, "" before the first, which comes on the day after: then only the date is to be noted.
func ReportDue(last string, now time.Time, zone *time.Location) (date string, due bool) {
	local := now.In(zone)
	date = DateOf(local).String()
	return date, last < date && (last == "" || local.Hour() >= ReportHour)
}

// ReportHour is when the morning report is written.
const ReportHour = 7
