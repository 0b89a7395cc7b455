package main

import (
	"context"
	"net/mail"
	"time"

	"stowage/jobs"
	"stowage/portal"
	"stowage/store"
)

// mailFlags say how mail is sent.
type mailFlags struct {
	SMTP             string `name:"smtp" placeholder:"URL" help:"Mail server, smtp://user@mail.example:587 (STARTTLS) or smtps://user@mail.example:465. Without it no mail is sent: messages wait in the outbox."`
	SMTPPasswordFile string `name:"smtp-password-file" placeholder:"FILE" help:"File with the password of the mail server's user, - for standard input."`
	MailFrom         string `placeholder:"ADDRESS" help:"Sender of the mail, such as 'Backups <backups@example.org>'. Without it, what --smtp says after ?from=."`
}

// mail reads the flags; nil where no mail is to be sent.
func (f mailFlags) mail(a *app) (*jobs.Mail, error) {
	if f.SMTP == "" {
		if f.SMTPPasswordFile != "" || f.MailFrom != "" {
			return nil, wrongUse("--mail-from and --smtp-password-file need --smtp")
		}
		return nil, nil
	}
	server, from, err := jobs.ParseSMTP(f.SMTP)
	if err != nil {
		return nil, wrongUse("--smtp: %s", err)
	}
	if f.MailFrom != "" {
		from = f.MailFrom
	}
	if from == "" {
		return nil, wrongUse("--smtp needs a sender: --mail-from backups@example.org")
	}
	sender, err := mail.ParseAddress(from)
	if err != nil {
		return nil, wrongUse("%q is no sender's address, such as backups@example.org", from)
	}
	switch {
	case server.User != "" && f.SMTPPasswordFile == "":
		return nil, wrongUse("--smtp names a user: give the password with --smtp-password-file")
	case server.User == "" && f.SMTPPasswordFile != "":
		return nil, wrongUse("--smtp-password-file needs a user in --smtp: smtp://user@mail.example")
	case f.SMTPPasswordFile != "":
		if server.Password, err = secret(a, f.SMTPPasswordFile); err != nil {
			return nil, err
		}
	}
	return &jobs.Mail{From: *sender, Server: &server}, nil
}

// mailQuiet is how long mail may wait before it counts as stuck.
const mailQuiet = 30 * time.Minute

// mail looks whether mail can be sent, without sending any, and whether some waits.
func (d *doctor) mail(db *store.DB, flags mailFlags, offline bool) {
	state, err := db.MailState(d.ctx)
	if err != nil {
		d.bad("", "The state of mail can't be read: %s.", oneLine(err.Error()))
		return
	}
	m, err := flags.mail(d.app)
	switch {
	case err != nil:
		d.bad("Give doctor the flags of stowage serve.", "Mail is not set up rightly: %s.", oneLine(err.Error()))
		return
	case m == nil:
		d.warn("Give stowage serve, and doctor, --smtp, --mail-from and --smtp-password-file.", "No mail server is named: clients and staff get no mail, and %s in the outbox.",
			portal.Plural(state.Messages, "message waits", "messages wait"))
		return
	case !offline:
		ctx, cancel := context.WithTimeout(d.ctx, checkWithin)
		defer cancel()
		if err := m.Server.Check(ctx); err != nil {
			d.bad("Look at --smtp (name, port, smtp:// or smtps://), the user, and the password's file.", "The mail server %s, port %d: %s.", m.Server.Host, m.Server.Port, oneLine(err.Error()))
		} else {
			d.ok("The mail server %s, port %d, lets the portal in.", m.Server.Host, m.Server.Port)
		}
	}
	if waits := state.Messages + state.Waiting; waits > 0 && d.now().Sub(state.Oldest) > mailQuiet {
		why := ""
		if state.Trouble != "" {
			why = " The last answer: " + oneLine(state.Trouble)
		}
		d.warn("See the mail log on the staff pages (/admin/mail).", "%s since %s.%s", portal.Plural(waits, "mail waits", "mails wait"), stamp(state.Oldest), why)
	}
	if state.Failed > 0 {
		d.warn("See the mail log on the staff pages (/admin/mail?state=failed).", "%s within a week.", portal.Plural(state.Failed, "mail was given up", "mails were given up"))
	}
}
