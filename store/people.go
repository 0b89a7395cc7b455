package store

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"time"

	"stowage/portal"
)

// A login's zone falls back on its client's, and a staff login's on UTC.
const loginColumns = `l.id, l.uid, l.client_id, l.email, l.name, l.role, l.password_hash,
	COALESCE(NULLIF(l.zone, ''), c.zone, 'UTC'), l.language, l.generation, l.disabled, l.mail_switches`

const loginTables = ` FROM logins l LEFT JOIN clients c ON c.id = l.client_id `

func scanLogin(s scanner) (v portal.Login, err error) {
	var client sql.NullInt64
	err = s.Scan(&v.ID, &v.UID, &client, &v.Email, &v.Name, &v.Role, &v.PasswordHash, &v.Zone, &v.Language, &v.Generation, &v.Disabled, &v.MailSwitches)
	v.ClientID = client.Int64
	return v, err
}

// AddClient adds a customer with its first login, an owner. An empty language is English. It gives an Error on
// "name", "zone", "language" or "email" where one of them can't be used.
func (db *DB) AddClient(ctx context.Context, actor string, c portal.Client, email, passwordHash string) (portal.Client, portal.Login, error) {
	var l portal.Login
	name, err := portal.CleanName("name", c.Name)
	if err != nil {
		return c, l, err
	}
	if _, err := portal.Zone(c.Zone); err != nil {
		return c, l, err
	}
	if c.Language, err = portal.CleanLanguage(c.Language, db.pseudo); err != nil {
		return c, l, err
	}
	c.Name, c.UID = name, db.UID()
	err = db.update(ctx, "add client", func(t *tx) error {
		c.CreatedAt = t.now.UTC().Truncate(time.Second)
		c.ID, err = t.insert(`INSERT INTO clients (uid, name, zone, language, created_at) VALUES ($1, $2, $3, $4, $5)`,
			c.UID, c.Name, c.Zone, c.Language, t.now.Unix())
		if err != nil {
			return err
		}
		err = t.audit(Entry{Actor: actor, Action: "client.add", Entity: "client", EntityUID: c.UID,
			After: tojson(map[string]any{"name": c.Name, "zone": c.Zone, "language": c.Language})})
		if err != nil {
			return err
		}
		l = portal.Login{ClientID: c.ID, Email: email, Name: c.Name, Role: portal.RoleOwner, PasswordHash: passwordHash, Zone: c.Zone, Language: c.Language}
		return t.addLogin(actor, &l)
	})
	return c, l, err
}

// AddLogin adds one more login to a customer.
func (db *DB) AddLogin(ctx context.Context, actor string, clientID int64, email, name string, role portal.Role, passwordHash string) (portal.Login, error) {
	if !portal.ValidClientRole(role) {
		return portal.Login{}, portal.Invalid("role", "The role is owner, operator or reader.")
	}
	var l portal.Login
	err := db.update(ctx, "add login", func(t *tx) error {
		c, err := client(t.ctx, t, clientID)
		if err != nil {
			return err
		}
		l = portal.Login{ClientID: c.ID, Email: email, Name: name, Role: role, PasswordHash: passwordHash, Zone: c.Zone, Language: c.Language}
		return t.addLogin(actor, &l)
	})
	return l, err
}

// AddStaff adds a login of the hosting company's. It reads English and UTC until it says otherwise.
func (db *DB) AddStaff(ctx context.Context, actor, email, name string, role portal.Role, passwordHash string) (portal.Login, error) {
	if !portal.ValidStaffRole(role) {
		return portal.Login{}, portal.Invalid("role", "The role is admin, operator or auditor.")
	}
	l := portal.Login{Email: email, Name: name, Role: role, PasswordHash: passwordHash, Zone: "UTC", Language: portal.LanguageTags[0]}
	err := db.update(ctx, "add staff", func(t *tx) error { return t.addLogin(actor, &l) })
	return l, err
}

// addLogin checks and adds a login. Its own zone stays empty: it follows the client's until the person says
// otherwise.
func (t *tx) addLogin(actor string, l *portal.Login) (err error) {
	if l.Email, err = portal.CleanEmail(l.Email); err != nil {
		return err
	}
	if l.PasswordHash == "" {
		return portal.Invalid("password", "A password is missing.")
	}
	if l.Name == "" {
		l.Name = l.Email
	}
	if l.Name, err = portal.CleanName("name", l.Name); err != nil {
		return err
	}
	l.UID, l.Generation = t.db.UID(), 1
	l.ID, err = t.insert(`INSERT INTO logins (uid, client_id, email, name, role, password_hash, language, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		l.UID, idOrNull(l.ClientID), l.Email, l.Name, l.Role, l.PasswordHash, l.Language, t.now.Unix())
	if unique(err, "logins.email") {
		return portal.Invalid("email", "There is a login with the e-mail address %s already.", l.Email)
	}
	if err != nil {
		return err
	}
	return t.audit(Entry{Actor: actor, Action: "login.add", Entity: "login", EntityUID: l.UID,
		After: tojson(map[string]any{"email": l.Email, "role": l.Role})})
}

// LoginByEmail gives the login of an e-mail address, in any case of its letters. Disabled ones are given too.
func (db *DB) LoginByEmail(ctx context.Context, email string) (portal.Login, error) {
	v, err := scanLogin(db.read.QueryRowContext(ctx,
		`SELECT `+loginColumns+loginTables+`WHERE l.email = $1`, strings.ToLower(strings.TrimSpace(email))))
	return v, missing(err)
}

// Login gives a login by uid. Disabled ones are given too.
func (db *DB) Login(ctx context.Context, uid string) (portal.Login, error) {
	v, err := scanLogin(db.read.QueryRowContext(ctx, `SELECT `+loginColumns+loginTables+`WHERE l.uid = $1`, uid))
	return v, missing(err)
}

// LoginsOf gives the logins of a client by e-mail address.
func (db *DB) LoginsOf(ctx context.Context, clientID int64) ([]portal.Login, error) {
	return collect(ctx, db.read, scanLogin, `SELECT `+loginColumns+loginTables+`WHERE l.client_id = $1 ORDER BY l.email`, clientID)
}

// Staff gives the hosting company's logins by e-mail address.
func (db *DB) Staff(ctx context.Context) ([]portal.Login, error) {
	return collect(ctx, db.read, scanLogin, `SELECT `+loginColumns+loginTables+`WHERE l.client_id IS NULL ORDER BY l.email`)
}

// HasStaff tells whether anybody could sign in to the staff pages.
func (db *DB) HasStaff(ctx context.Context) (found bool, err error) {
	err = db.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM logins WHERE client_id IS NULL AND disabled = 0)`).Scan(&found)
	return found, err
}

// SetPassword gives a login a new password and ends all its sessions, by raising its generation. It gives the
// login as it is afterwards, so that the session in which the person asked for it may go on.
func (db *DB) SetPassword(ctx context.Context, actor, email, passwordHash string) (portal.Login, error) {
	if passwordHash == "" {
		return portal.Login{}, portal.Invalid("password", "A password is missing.")
	}
	return db.changeLogin(ctx, actor, email, "login.password", "", `password_hash = $1, generation = generation + 1`, passwordHash)
}

// EndSessions ends all sessions of a login.
func (db *DB) EndSessions(ctx context.Context, actor, email string) (portal.Login, error) {
	return db.changeLogin(ctx, actor, email, "login.end_sessions", "", `generation = generation + $1`, 1)
}

// SetDisabled keeps a login out, or lets it in again. Its sessions end in both cases.
func (db *DB) SetDisabled(ctx context.Context, actor, email string, disabled bool) (portal.Login, error) {
	return db.changeLogin(ctx, actor, email, "login.disabled", tojson(disabled), `disabled = $1, generation = generation + 1`, disabled)
}

// changeLogin sets columns of one login, with an audit row.
func (db *DB) changeLogin(ctx context.Context, actor, email, action, after, set string, value any) (l portal.Login, err error) {
	email = strings.ToLower(strings.TrimSpace(email))
	err = db.update(ctx, action, func(t *tx) error {
		if err := t.one(noLogin(email), `UPDATE logins SET `+set+` WHERE email = $2`, value, email); err != nil {
			return err
		}
		l, err = scanLogin(t.QueryRowContext(t.ctx, `SELECT `+loginColumns+loginTables+`WHERE l.email = $1`, email))
		if err != nil {
			return err
		}
		if action == "login.password" {
			address, _ := ctx.Value(addressKey{}).(string)
			if err := t.passwordChanged(l, address); err != nil {
				return err
			}
		}
		return t.audit(Entry{Actor: actor, Action: action, Entity: "login", EntityUID: l.UID, After: after})
	})
	return l, err
}

func noLogin(email string) error {
	return portal.Refuse(portal.CodeNotFound, "There is no login with the e-mail address %s.", email)
}

// SetZone sets the zone in which a login reads times. An owner's is the default of the client's new schedules
// too; schedules that exist keep their own.
func (db *DB) SetZone(ctx context.Context, actor string, l portal.Login, zone string) error {
	if _, err := portal.Zone(zone); err != nil {
		return err
	}
	return db.update(ctx, "set zone", func(t *tx) error {
		if err := t.one(portal.NotFound(), `UPDATE logins SET zone = $1 WHERE id = $2`, zone, l.ID); err != nil {
			return err
		}
		if l.Role == portal.RoleOwner && l.ClientID != 0 {
			if err := t.one(portal.NotFound(), `UPDATE clients SET zone = $1 WHERE id = $2`, zone, l.ClientID); err != nil {
				return err
			}
		}
		return t.audit(Entry{Actor: actor, Action: "login.zone", Entity: "login", EntityUID: l.UID, Before: l.Zone, After: zone})
	})
}

// SetLanguage sets the language in which a login reads pages and mail. An owner's is the client's too: that of further
// logins.
func (db *DB) SetLanguage(ctx context.Context, actor string, l portal.Login, tag string) error {
	tag, err := portal.CleanLanguage(tag, db.pseudo)
	if err != nil {
		return err
	}
	return db.update(ctx, "set language", func(t *tx) error {
		if err := t.one(portal.NotFound(), `UPDATE logins SET language = $1 WHERE id = $2`, tag, l.ID); err != nil {
			return err
		}
		if l.Role == portal.RoleOwner && l.ClientID != 0 {
			if err := t.one(portal.NotFound(), `UPDATE clients SET language = $1 WHERE id = $2`, tag, l.ClientID); err != nil {
				return err
			}
		}
		return t.audit(Entry{Actor: actor, Action: "login.language", Entity: "login", EntityUID: l.UID, Before: l.Language, After: tag})
	})
}

// SignedIn notes that a login has just signed in.
func (db *DB) SignedIn(ctx context.Context, l portal.Login) error {
	return db.update(ctx, "signed in", func(t *tx) error {
		if err := t.one(portal.NotFound(), `UPDATE logins SET signed_in_at = $1 WHERE id = $2`, t.now.Unix(), l.ID); err != nil {
			return err
		}
		return t.audit(Entry{Actor: l.Actor(), Action: "login.sign_in", Entity: "login", EntityUID: l.UID})
	})
}

const clientColumns = `c.id, c.uid, c.name, c.zone, c.language, c.created_at`

func scanClient(s scanner) (v portal.Client, err error) {
	var created sql.NullInt64
	err = s.Scan(&v.ID, &v.UID, &v.Name, &v.Zone, &v.Language, &created)
	v.CreatedAt = at(created)
	return v, err
}

// Client gives one client by id.
func (db *DB) Client(ctx context.Context, id int64) (portal.Client, error) {
	return client(ctx, db.read, id)
}

func client(ctx context.Context, q querier, id int64) (portal.Client, error) {
	v, err := scanClient(q.QueryRowContext(ctx, `SELECT `+clientColumns+` FROM clients c WHERE c.id = $1`, id))
	return v, missing(err)
}

// ClientNamed gives one client by its uid or by the e-mail address of one of its logins.
func (db *DB) ClientNamed(ctx context.Context, name string) (portal.Client, error) {
	name = strings.ToLower(strings.TrimSpace(name))
	v, err := scanClient(db.read.QueryRowContext(ctx, `SELECT `+clientColumns+` FROM clients c
		WHERE c.uid = $1 OR c.id = (SELECT client_id FROM logins WHERE email = $2)`, name, name))
	if errors.Is(err, sql.ErrNoRows) {
		return v, portal.Refuse(portal.CodeNotFound, "There is no client %s. Name it by the e-mail address of a login, or by its uid.", name)
	}
	return v, err
}

// ClientRow is a client as lists show it.
type ClientRow struct {
	portal.Client
	Emails   []string // of its logins
	Services int      // that are not terminated
}

// Clients gives clients by name, from the offset on, whose name, uid or e-mail addresses contain the query ("" = all).
func (db *DB) Clients(ctx context.Context, query string, offset, limit int) ([]ClientRow, error) {
	like := "%" + escapeLike(strings.ToLower(strings.TrimSpace(query))) + "%"
	return collect(ctx, db.read, scanClientRow, `SELECT `+clientColumns+`,
			COALESCE((SELECT string_agg(l.email, ' ') FROM logins l WHERE l.client_id = c.id), ''),
			(SELECT COUNT(*) FROM services s WHERE s.client_id = c.id AND s.state <> 'terminated')
		FROM clients c
		WHERE lower(c.name) LIKE $1 ESCAPE '!' OR c.uid LIKE $1 ESCAPE '!'
			OR EXISTS (SELECT 1 FROM logins m WHERE m.client_id = c.id AND m.email LIKE $1 ESCAPE '!')
		ORDER BY c.name, c.id LIMIT +$2 OFFSET +$3`, like, limit, offset)
}

func scanClientRow(s scanner) (v ClientRow, err error) {
	var created sql.NullInt64
	var emails string
	err = s.Scan(&v.ID, &v.UID, &v.Name, &v.Zone, &v.Language, &created, &emails, &v.Services)
	if err != nil {
		return v, err
	}
	v.CreatedAt, v.Emails = at(created), strings.Fields(emails)
	slices.Sort(v.Emails)
	return v, nil
}

// escapeLike makes a text match itself in a LIKE with ESCAPE '!'.
func escapeLike(s string) string {
	return strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(s)
}
