package jobs

import (
	"context"
	"errors"
	"net/mail"
	"time"

	"stowage/portal/lang"
	"stowage/store"
)

// Mail says how the engine sends mail.
type Mail struct {
	URL    string       // of the portal, without a slash at its end: where links lead
	From   mail.Address // a name that is empty is the brand's
	Server *SMTP        // nil: mails are written and kept to be looked at, and go nowhere
}

const (
	mailsAtOnce = 100              // in one turn
	mailPause   = 30 * time.Second // after the mail server could not be spoken with
)

// SendMail is one turn at mail: requests for new passwords are answered, the morning report is written when it is due,
// messages of the outbox become mails, and mails that are due are sent, each at least once and those about one service
// to one login in their order. Where the mail server can't be spoken with, the turn ends and the next ones wait a
// little. It does nothing where no mail is set up: messages stay in the outbox.
//
// A mail is claimed before it is sent and its end is noted after. Who dies in between has sent it perhaps: after the
// claim's five minutes it is sent again, with the same Message-ID.
func (e *Engine) SendMail(ctx context.Context) error {
	if e.opts.Mail == nil {
		return nil
	}
	if err := errors.Join(e.db.AnswerForgotten(ctx), e.db.MorningReport(ctx)); err != nil {
		return err
	}
	for range mailsAtOnce {
		if n, err := e.db.AddressMail(ctx); err != nil {
			return err
		} else if n == 0 {
			break
		}
	}
	if e.now().Before(e.mailAfter) {
		return nil
	}
	sheet, err := e.sheet(ctx)
	if err != nil {
		return err
	}
	line := &smtpLine{server: e.opts.Mail.Server}
	defer line.close()
	for range mailsAtOnce {
		if ctx.Err() != nil {
			return nil // told to stop: the rest is due still
		}
		m, found, err := e.db.ClaimMail(ctx)
		if err != nil || !found {
			return err
		}
		failed := e.sendOne(ctx, line, m, sheet)
		if failed == nil {
			if err := e.db.MailSent(ctx, m); err != nil {
				return err
			}
			e.log.DebugContext(ctx, "mail sent", "mail", m.UID, "topic", m.Topic)
			continue
		}
		e.log.WarnContext(ctx, "mail not sent", "mail", m.UID, "topic", m.Topic, "attempt", m.Attempts, "for_good", failed.forGood, "error", failed)
		// Told to stop in the middle: that it was tried is noted all the same.
		if err := e.db.MailFailed(context.WithoutCancel(ctx), m, failed.Error(), failed.forGood); err != nil {
			return err
		}
		if failed.server {
			e.mailAfter = e.now().Add(mailPause)
			return nil
		}
	}
	return nil
}

// sheet gives what letters are written on.
func (e *Engine) sheet(ctx context.Context) (lang.Sheet, error) {
	brand, err := e.db.Setting(ctx, store.Brand)
	if err != nil {
		return lang.Sheet{}, err
	}
	support, err := e.db.Setting(ctx, store.Support)
	return lang.Sheet{Brand: brand, URL: e.opts.Mail.URL, Support: support}, err
}

func (e *Engine) sendOne(ctx context.Context, line *smtpLine, m store.Mail, sheet lang.Sheet) *mailFailure {
	if e.opts.Mail.Server == nil {
		return nil
	}
	from := e.opts.Mail.From
	if from.Name == "" {
		from.Name = lang.OneLine(sheet.Brand)
	}
	return line.send(ctx, envelope{
		id: m.UID, from: from, to: m.Address, language: m.Language, at: m.CreatedAt,
		mail: lang.For(m.Language).Write(e.db.Letter(m, true), sheet),
	})
}
