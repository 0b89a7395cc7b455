package main

import (
	"errors"
	"fmt"
	"io"

	"stowage/portal"
	"stowage/store"
	"stowage/web"
)

type clientCmd struct {
	Add    clientAddCmd  `cmd:"" help:"Add a customer with a first login."`
	List   clientListCmd `cmd:"" help:"List customers."`
	Passwd passwdCmd     `cmd:"" help:"Give a login a new password. All its sessions end."`
}

type staffCmd struct {
	Add    staffAddCmd  `cmd:"" help:"Add a login of the hosting company's."`
	List   staffListCmd `cmd:"" help:"List the hosting company's logins."`
	Passwd passwdCmd    `cmd:"" help:"Give a login a new password. All its sessions end."`
}

// password is the flag of commands that set one.
type password struct {
	PasswordFile string `placeholder:"FILE" help:"File with the password, - for standard input; without it, one is made up and printed."`
}

// read gives the password's hash, and the password itself where it was made up.
func (p password) read(a *app) (hash, made string, err error) {
	if p.PasswordFile == "" {
		made = web.NewPassword()
		hash, err = web.HashPassword(made)
		return hash, made, err
	}
	text, err := secret(a, p.PasswordFile)
	if err != nil {
		return "", "", err
	}
	hash, err = web.HashPassword(text)
	return hash, "", err
}

// addedLogin is what commands answer about a login.
type addedLogin struct {
	UID      string `json:"uid"`
	Login    string `json:"login,omitempty"` // uid of the login, where uid is the client's
	Email    string `json:"email"`
	Name     string `json:"name,omitempty"`
	Role     string `json:"role"`
	Password string `json:"password,omitempty"`
}

func (l addedLogin) text(w io.Writer) {
	row(w, "uid", l.UID)
	row(w, "email", l.Email)
	row(w, "role", l.Role)
	if l.Password != "" {
		row(w, "password", l.Password)
	}
}

type clientAddCmd struct {
	data
	output
	password
	Email    string   `required:"" help:"E-mail address of the first login, an owner."`
	Name     string   `required:"" help:"The customer's name."`
	Zone     zoneName `required:"" help:"Time zone, such as Europe/Berlin: the default of new schedules."`
	Language language `default:"en" placeholder:"TAG" help:"Language of pages and mail: en, de (${default})."`
}

// Run adds the client.
func (c *clientAddCmd) Run(a *app) error {
	hash, made, err := c.read(a)
	if err != nil {
		return err
	}
	return c.with(a, func(db *store.DB) error {
		added, l, err := db.AddClient(a.ctx, actor, portal.Client{Name: c.Name, Zone: string(c.Zone), Language: string(c.Language)}, c.Email, hash)
		if err != nil {
			return err
		}
		answer := addedLogin{UID: added.UID, Login: l.UID, Email: l.Email, Name: added.Name, Role: string(l.Role), Password: made}
		return c.print(a, answer, answer.text)
	})
}

type clientListCmd struct {
	data
	output
	Query string `arg:"" optional:"" help:"Only those whose name, uid or e-mail address contains this."`
}

// Run lists the clients.
func (c *clientListCmd) Run(a *app) error {
	type client struct {
		UID      string   `json:"uid"`
		Name     string   `json:"name"`
		Zone     string   `json:"zone"`
		Language string   `json:"language"`
		Emails   []string `json:"emails"`
		Services int      `json:"services"`
	}
	return c.with(a, func(db *store.DB) error {
		rows, err := db.Clients(a.ctx, c.Query, 0, 1<<31-1)
		if err != nil {
			return err
		}
		out := make([]client, len(rows))
		for i, r := range rows {
			out[i] = client{r.UID, r.Name, r.Zone, r.Language, r.Emails, r.Services}
		}
		return c.print(a, out, func(w io.Writer) {
			row(w, "UID", "NAME", "ZONE", "LANGUAGE", "SERVICES", "LOGINS")
			for _, r := range out {
				row(w, r.UID, r.Name, r.Zone, r.Language, r.Services, fmt.Sprint(r.Emails))
			}
		})
	})
}

type staffAddCmd struct {
	data
	output
	password
	Email string `required:"" help:"E-mail address."`
	Name  string `help:"The person's name; the e-mail address where it is left out."`
	Role  string `required:"" enum:"admin,operator,auditor" help:"${enum}: everything; all but credentials, products and staff; reads only."`

	Language language `default:"en" placeholder:"TAG" help:"Language of the pages: en, de (${default})."`
}

// Run adds the staff login.
func (c *staffAddCmd) Run(a *app) error {
	hash, made, err := c.read(a)
	if err != nil {
		return err
	}
	return c.with(a, func(db *store.DB) error {
		l, err := db.AddStaff(a.ctx, actor, c.Email, c.Name, portal.Role(c.Role), hash)
		if err != nil {
			return err
		}
		if string(c.Language) != l.Language {
			if err := db.SetLanguage(a.ctx, actor, l, string(c.Language)); err != nil {
				return err
			}
		}
		answer := addedLogin{UID: l.UID, Email: l.Email, Name: l.Name, Role: string(l.Role), Password: made}
		return c.print(a, answer, answer.text)
	})
}

type staffListCmd struct {
	data
	output
}

// Run lists the staff.
func (c *staffListCmd) Run(a *app) error {
	type login struct {
		UID      string `json:"uid"`
		Email    string `json:"email"`
		Name     string `json:"name"`
		Role     string `json:"role"`
		Language string `json:"language"`
		Disabled bool   `json:"disabled"`
	}
	return c.with(a, func(db *store.DB) error {
		staff, err := db.Staff(a.ctx)
		if err != nil {
			return err
		}
		out := make([]login, len(staff))
		for i, l := range staff {
			out[i] = login{l.UID, l.Email, l.Name, string(l.Role), l.Language, l.Disabled}
		}
		return c.print(a, out, func(w io.Writer) {
			row(w, "UID", "E-MAIL", "NAME", "ROLE")
			for _, l := range out {
				row(w, l.UID, l.Email, l.Name, l.Role)
			}
		})
	})
}

type passwdCmd struct {
	data
	output
	password
	Email string `arg:"" help:"E-mail address of the login."`
}

// Run sets the password.
func (c *passwdCmd) Run(a *app) error {
	hash, made, err := c.read(a)
	if err != nil {
		return err
	}
	return c.with(a, func(db *store.DB) error {
		l, err := db.SetPassword(a.ctx, actor, c.Email, hash)
		if portal.CodeOf(err) == portal.CodeNotFound {
			return errors.New(explain(err))
		}
		if err != nil {
			return err
		}
		answer := addedLogin{UID: l.UID, Email: l.Email, Role: string(l.Role), Password: made}
		return c.print(a, answer, answer.text)
	})
}
