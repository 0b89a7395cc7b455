package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"stowage/portal"
)

// How mail is sent.
const (
	MailBundle    = 15 * time.Minute   // at most one mail of a topic about one thing to staff in so long
	MailGiveUp    = 3 * 24 * time.Hour // after it was written
	mailClaim     = 5 * time.Minute    // whoever sends a mail has it for so long
	mailFirstWait = time.Minute        // after a failed attempt, doubled by each further one
	mailLongWait  = time.Hour
	addressAtOnce = 200
)

// Mail is one mail to one login: what was told to whom, and how sending it goes.
type Mail struct {
	ID         int64
	UID        string // stable: of the Message-ID
	LoginID    int64
	ServiceID  int64
	Topic      string
	Staff      bool
	Address    string
	Language   string
	Zone       string
	Subject    portal.Text
	Notice     portal.Notice // without its token
	CreatedAt  time.Time
	State      string // waiting, sent, failed
	Attempts   int
	RunAfter   time.Time
	GiveUpAt   time.Time
	EndedAt    time.Time
	Trouble    string // of the last attempt, exact
	claimUntil int64
}

const mailColumns = `m.id, m.uid, m.login_id, m.service_id, m.topic, m.staff, m.address, m.language, m.zone, m.subject, m.notice, m.created_at, m.state,
	m.attempts, m.run_after, m.give_up_at, m.ended_at, m.trouble`

func scanMail(s scanner) (m Mail, err error) {
	var service, created, after, giveUp, ended sql.NullInt64
	var notice string
	err = s.Scan(&m.ID, &m.UID, &m.LoginID, &service, &m.Topic, &m.Staff, &m.Address, &m.Language, &m.Zone, &m.Subject, &notice, &created, &m.State,
		&m.Attempts, &after, &giveUp, &ended, &m.Trouble)
	m.ServiceID, m.CreatedAt, m.RunAfter, m.GiveUpAt, m.EndedAt = service.Int64, at(created), at(after), at(giveUp), at(ended)
	m.Notice = portal.ReadNotice(m.Topic, notice)
	return m, err
}

// letter writes the mail's letter in its reader's zone.
func (m Mail) letter() (portal.Letter, bool) {
	zone, err := portal.Zone(m.Zone)
	if err != nil {
		zone = time.UTC
	}
	return portal.Compose(m.Notice, m.Staff, zone)
}

// Letter gives the mail's letter. What only its reader may see, the token of a password reset, is in it only where
// secret says so.
func (db *DB) Letter(m Mail, secret bool) portal.Letter {
	if secret && m.Notice.Reset != "" {
		m.Notice.Token = db.resetToken(m.Notice.Reset)
	}
	l, _ := m.letter() // it was composed when it was addressed
	return l
}

// message is a row of the outbox.
type message struct {
	id, service      int64
	uid, channel     string
	topic, payload   string
	bundle           string
	created, clientN int64
}

func scanMessage(s scanner) (m message, err error) {
	var service, client sql.NullInt64
	err = s.Scan(&m.id, &m.uid, &m.channel, &service, &m.topic, &m.payload, &m.bundle, &m.created, &client)
	m.service, m.clientN = service.Int64, client.Int64
	return m, err
}

const messageColumns = `o.id, o.uid, o.channel, o.service_id, o.topic, o.payload, o.bundle, o.created_at, (SELECT client_id FROM services WHERE id = o.service_id)`

// AddressMail makes mails of the messages that wait, in their order: one for each login that is to have it. Those for
// staff of one kind about one thing are gathered for a while. What is older than mail is tried for is left out and told
// to staff. It gives how many messages were addressed.
func (db *DB) AddressMail(ctx context.Context) (n int, err error) {
	rows, err := collect(ctx, db.read, scanMessage, `SELECT `+messageColumns+` FROM outbox o
		WHERE o.sent_at IS NULL AND o.channel IN ('mail', 'staff') AND o.run_after <= $1 ORDER BY o.id LIMIT +$2`, db.now().Unix(), addressAtOnce)
	if err != nil || len(rows) == 0 {
		return 0, explain("address mail", err)
	}
	for _, m := range rows {
		if err := db.update(ctx, "address mail", func(t *tx) error { return t.address(m) }); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// address makes the mails of one message, once.
func (t *tx) address(m message) error {
	switch err := t.QueryRowContext(t.ctx, `SELECT `+messageColumns+` FROM outbox o WHERE o.id = $1 AND o.sent_at IS NULL`, m.id).Scan(new(int64), new(string), new(string),
		new(sql.NullInt64), new(string), new(string), new(string), new(int64), new(sql.NullInt64)); {
	case errors.Is(err, sql.ErrNoRows):
		return nil // it was gathered with another
	case err != nil:
		return err
	}
	all, notice, wait, err := t.gather(m)
	if err != nil || wait {
		return err
	}
	if err := t.enrich(&notice, m); err != nil {
		return err
	}
	if t.now.Sub(time.Unix(notice.At, 0)) >= MailGiveUp {
		return t.tooOld(m, all)
	}
	readers, err := t.readers(m, notice)
	if err != nil {
		return err
	}
	for _, l := range readers {
		if err := t.addMail(m, notice, l); err != nil {
			return err
		}
	}
	return t.addressed(all)
}

func (t *tx) addressed(ids []int64) error {
	for _, id := range ids {
		if _, err := t.exec(`UPDATE outbox SET sent_at = $1, attempts = attempts + 1 WHERE id = $2`, t.now.Unix(), id); err != nil {
			return err
		}
	}
	return nil
}

// tooOld ends messages that lay here for longer than mail is tried for: nobody wants to read now what happened then.
// Staff are told, unless there was no mail before.
func (t *tx) tooOld(m message, ids []int64) error {
	var before bool
	if err := t.QueryRowContext(t.ctx, `SELECT EXISTS (SELECT 1 FROM mails)`).Scan(&before); err != nil {
		return err
	}
	if before && m.topic != portal.TopicMailGivenUp {
		if err := t.post(Message{Channel: ToStaff, Topic: portal.TopicMailGivenUp, Payload: portal.Notice{
			Why: "messages lay in the outbox for more than three days before mail could be sent; the first is about " + m.topic,
		}}); err != nil {
			return err
		}
	}
	return t.addressed(ids)
}

// gather puts the messages together that a mail is about, or lets them wait.
func (t *tx) gather(m message) (ids []int64, n portal.Notice, wait bool, err error) {
	n = portal.ReadNotice(m.topic, m.payload)
	n.At = cmp.Or(n.At, m.created)
	if m.bundle == "" {
		return []int64{m.id}, n, false, nil
	}
	var last sql.NullInt64
	if err := t.QueryRowContext(t.ctx, `SELECT max(created_at) FROM mails WHERE bundle = $1`, m.bundle).Scan(&last); err != nil {
		return nil, n, false, err
	}
	if next := last.Int64 + int64(MailBundle/time.Second); last.Valid && t.now.Unix() < next {
		_, err := t.exec(`UPDATE outbox SET run_after = $1 WHERE bundle = $2 AND sent_at IS NULL`, next, m.bundle)
		return nil, n, true, err
	}
	rows, err := collect(t.ctx, t, scanMessage, `SELECT `+messageColumns+` FROM outbox o WHERE o.bundle = $1 AND o.sent_at IS NULL ORDER BY o.id`, m.bundle)
	if err != nil {
		return nil, n, false, err
	}
	for _, r := range rows {
		ids = append(ids, r.id)
	}
	newest := rows[len(rows)-1]
	n = portal.ReadNotice(newest.topic, newest.payload)
	n.At = cmp.Or(n.At, newest.created)
	if len(rows) > 1 {
		n.Count, n.Since = len(rows), rows[0].created
	}
	return ids, n, false, nil
}

// enrich fills in the names of what the notice is about.
func (t *tx) enrich(n *portal.Notice, m message) error {
	if m.service != 0 {
		var server int64
		if err := t.QueryRowContext(t.ctx, `SELECT uid, name, server_id FROM services WHERE id = $1`, m.service).Scan(&n.Service, &n.Machine, &server); err != nil {
			return err
		}
		if m.channel == ToStaff {
			n.Server = cmp.Or(n.Server, server)
		}
	}
	if n.Server != 0 && m.channel == ToStaff {
		err := t.QueryRowContext(t.ctx, `SELECT uid, name FROM servers WHERE id = $1`, n.Server).Scan(&n.ServerUID, &n.Host)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
	}
	if n.Operation != "" && n.Reference == "" {
		err := t.QueryRowContext(t.ctx, `SELECT reference FROM operations WHERE uid = $1`, n.Operation).Scan(&n.Reference)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
	}
	if m.channel != ToStaff {
		n.Why, n.Title, n.Storage, n.Server, n.ServerUID, n.Host = "", "", "", 0, "", "" // no client's business
	}
	return nil
}

// readers gives the logins that are to have a mail of it.
func (t *tx) readers(m message, n portal.Notice) ([]portal.Login, error) {
	kind, ok := portal.MailKindOf(m.topic, m.channel == ToStaff)
	if !ok {
		return nil, nil
	}
	where, arg := `WHERE l.client_id = $1`, any(m.clientN)
	switch {
	case kind.Security || m.service == 0 && m.channel == ToClient:
		where, arg = `WHERE l.uid = $1`, n.Login
	case m.channel == ToStaff:
		where, arg = `WHERE l.client_id IS NULL AND $1 = 0`, 0
	}
	all, err := collect(t.ctx, t, scanLogin, `SELECT `+loginColumns+loginTables+where+` AND l.disabled = 0 ORDER BY l.id`, arg)
	if err != nil {
		return nil, err
	}
	var readers []portal.Login
	for _, l := range all {
		if l.Wants(kind) {
			readers = append(readers, l)
		}
	}
	return readers, nil
}

func (t *tx) addMail(m message, n portal.Notice, l portal.Login) error {
	mail := Mail{Topic: m.topic, Staff: m.channel == ToStaff, Zone: l.Zone, Notice: n}
	letter, ok := mail.letter()
	if !ok {
		return nil
	}
	giveUp := time.Unix(n.At, 0).Add(MailGiveUp)
	if m.topic == portal.TopicPasswordReset {
		giveUp = time.Unix(n.At, 0).Add(resetFor)
	}
	_, err := t.exec(`INSERT INTO mails (uid, message_uid, login_id, service_id, topic, staff, bundle, address, language, zone, subject, notice, created_at, state, run_after, give_up_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 'waiting', $14, $15)`,
		t.db.UID(), m.uid, l.ID, idOrNull(m.service), m.topic, mail.Staff, m.bundle, l.Email, l.Language, l.Zone, letter.Subject, tojson(n), t.now.Unix(), t.now.Unix(), giveUp.Unix())
	return err
}

// ClaimMail takes the next mail that is due, for a few minutes: nobody else sends it meanwhile. Of mails to one login
// about one service a later one waits until those before it have ended. False: none is due.
func (db *DB) ClaimMail(ctx context.Context) (m Mail, found bool, err error) {
	now := db.now().Unix()
	const due = `FROM mails m WHERE m.state = 'waiting' AND m.run_after <= $1 AND m.claimed_until <= $1
		AND (m.service_id IS NULL OR NOT EXISTS (SELECT 1 FROM mails e WHERE e.login_id = m.login_id AND e.service_id = m.service_id AND e.state = 'waiting' AND e.id < m.id))
		ORDER BY m.id LIMIT 1`
	var some int64
	if err := db.read.QueryRowContext(ctx, `SELECT m.id `+due, now).Scan(&some); errors.Is(err, sql.ErrNoRows) {
		return m, false, nil // without the lock that writing takes
	} else if err != nil {
		return m, false, explain("claim mail", err)
	}
	err = db.update(ctx, "claim mail", func(t *tx) error {
		m, err = scanMail(t.QueryRowContext(t.ctx, `SELECT `+mailColumns+` `+due, t.now.Unix()))
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		found, m.claimUntil = true, t.now.Add(mailClaim).Unix()
		m.Attempts++
		_, err = t.exec(`UPDATE mails SET claimed_until = $1, attempts = attempts + 1 WHERE id = $2`, m.claimUntil, m.ID)
		return err
	})
	return m, found, err
}

// MailSent notes that a claimed mail was taken over by the mail server. What another has claimed meanwhile is its.
func (db *DB) MailSent(ctx context.Context, m Mail) error {
	return db.update(ctx, "mail sent", func(t *tx) error {
		_, err := t.exec(`UPDATE mails SET state = 'sent', ended_at = $1, claimed_until = 0, trouble = '' WHERE id = $2 AND state = 'waiting' AND claimed_until = $3`,
			t.now.Unix(), m.ID, m.claimUntil)
		return err
	})
}

// MailFailed notes that a claimed mail could not be sent, and why: it is tried again later, or given up, at once where
// that is for good, and staff are told.
func (db *DB) MailFailed(ctx context.Context, m Mail, trouble string, forGood bool) error {
	return db.update(ctx, "mail failed", func(t *tx) error {
		wait := mailLongWait
		if m.Attempts <= 6 {
			wait = min(mailFirstWait<<(max(m.Attempts, 1)-1), mailLongWait)
		}
		after := t.now.Add(wait)
		if !forGood && !after.After(m.GiveUpAt) {
			_, err := t.exec(`UPDATE mails SET run_after = $1, claimed_until = 0, trouble = $2 WHERE id = $3 AND state = 'waiting' AND claimed_until = $4`,
				after.Unix(), trouble, m.ID, m.claimUntil)
			return err
		}
		r, err := t.exec(`UPDATE mails SET state = 'failed', ended_at = $1, claimed_until = 0, trouble = $2 WHERE id = $3 AND state = 'waiting' AND claimed_until = $4`,
			t.now.Unix(), trouble, m.ID, m.claimUntil)
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil || n == 0 || m.Topic == portal.TopicMailGivenUp {
			return err // an alert about itself would have no end
		}
		return t.post(Message{Channel: ToStaff, Topic: portal.TopicMailGivenUp, Payload: portal.Notice{Why: m.Address + ": " + trouble}})
	})
}

// RetryMail sends a mail again that was given up.
func (db *DB) RetryMail(ctx context.Context, actor, uid string) error {
	return db.update(ctx, "retry mail", func(t *tx) error {
		if _, err := mailByUID(t.ctx, t, uid); err != nil {
			return err
		}
		if err := t.one(portal.Refuse(portal.CodeBusy, "This mail was not given up: there is nothing to try again."),
			`UPDATE mails SET state = 'waiting', ended_at = NULL, attempts = 0, run_after = $1, give_up_at = $2, claimed_until = 0 WHERE uid = $3 AND state = 'failed'`,
			t.now.Unix(), t.now.Add(MailGiveUp).Unix(), uid); err != nil {
			return err
		}
		return t.audit(Entry{Actor: actor, Action: "mail.retry", Entity: "mail", EntityUID: uid})
	})
}

// MailByUID gives one mail.
func (db *DB) MailByUID(ctx context.Context, uid string) (Mail, error) {
	return mailByUID(ctx, db.read, uid)
}

func mailByUID(ctx context.Context, q querier, uid string) (Mail, error) {
	m, err := scanMail(q.QueryRowContext(ctx, `SELECT `+mailColumns+` FROM mails m WHERE m.uid = $1`, uid))
	return m, missing(err)
}

// MailFilter narrows the staff's list of mails.
type MailFilter struct {
	Query string // in the address, the machine's name, the topic, or a reference
	State string // waiting, sent, failed; "" = all
}

// MailLines gives mails, newest first.
func (db *DB) MailLines(ctx context.Context, f MailFilter, p Page) (lines []Mail, tn Turn, err error) {
	err = db.view(ctx, "mails", func(q querier) error {
		cond := terms{}
		if f.State != "" {
			cond.and("m.state = " + cond.arg(f.State))
		}
		if f.Query != "" {
			like := cond.arg("%" + escapeLike(f.Query) + "%")
			cond.and(`(m.address LIKE ` + like + ` ESCAPE '!' OR m.topic LIKE ` + like + ` ESCAPE '!' OR m.uid = ` + cond.arg(f.Query) +
				` OR json_extract(m.notice, '$.reference') = ` + cond.arg(f.Query) +
				` OR m.service_id IN (SELECT id FROM services WHERE name LIKE ` + cond.arg("%"+escapeLike(f.Query)+"%") + ` ESCAPE '!'))`)
		}
		where := p.key(&cond, "m.id")
		rows, err := collect(ctx, q, scanMail, `SELECT `+mailColumns+` FROM mails m`+where, cond.args...)
		lines, tn = turn(p, rows, func(m Mail) int64 { return m.ID })
		return err
	})
	return lines, tn, err
}

// MailState says how mail is.
type MailState struct {
	Messages int       // that are not addressed yet
	Waiting  int       // mails
	Oldest   time.Time // of both
	Failed   int       // given up within a week
	Trouble  string    // of the last failed attempt of one that waits
}

// MailState reads it.
func (db *DB) MailState(ctx context.Context) (s MailState, err error) {
	err = db.view(ctx, "mail state", func(q querier) error {
		var message, mail sql.NullInt64
		if err := q.QueryRowContext(ctx, `SELECT COUNT(*), min(created_at) FROM outbox WHERE sent_at IS NULL AND channel IN ('mail', 'staff')`).Scan(&s.Messages, &message); err != nil {
			return err
		}
		if err := q.QueryRowContext(ctx, `SELECT COUNT(*), min(created_at) FROM mails WHERE state = 'waiting'`).Scan(&s.Waiting, &mail); err != nil {
			return err
		}
		s.Oldest = at(message)
		if m := at(mail); s.Oldest.IsZero() || !m.IsZero() && m.Before(s.Oldest) {
			s.Oldest = m
		}
		if err := q.QueryRowContext(ctx, `SELECT COUNT(*) FROM mails WHERE state = 'failed' AND ended_at > $1`, db.now().AddDate(0, 0, -7).Unix()).Scan(&s.Failed); err != nil {
			return err
		}
		err := q.QueryRowContext(ctx, `SELECT trouble FROM mails WHERE state = 'waiting' AND trouble <> '' ORDER BY run_after DESC LIMIT 1`).Scan(&s.Trouble)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	return s, err
}

// SetMailSwitches notes which kinds of mail a login wants, of those that it may choose.
func (db *DB) SetMailSwitches(ctx context.Context, actor string, l portal.Login, wanted map[string]bool) error {
	switches := map[string]bool{}
	for _, k := range portal.MailKinds() {
		if !k.Security && k.Staff == l.Staff() {
			switches[k.Key] = wanted[k.Key]
		}
	}
	text, err := json.Marshal(switches)
	if err != nil {
		return err
	}
	return db.update(ctx, "mail switches", func(t *tx) error {
		if err := t.one(portal.NotFound(), `UPDATE logins SET mail_switches = $1 WHERE id = $2`, string(text), l.ID); err != nil {
			return err
		}
		return t.audit(Entry{Actor: actor, Action: "login.mail", Entity: "login", EntityUID: l.UID, Before: l.MailSwitches, After: string(text)})
	})
}
