package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"stowage/portal"
	"stowage/store"
)

type pauseCmd struct {
	Add  pauseAddCmd  `cmd:"" help:"Stop scheduled backups for a while. Clients see a banner; what falls due is skipped, not made up for."`
	List pauseListCmd `cmd:"" help:"List the pauses that hold or are to come."`
	End  pauseEndCmd  `cmd:"" help:"End a pause now, or take one back that has not begun."`
}

type pauseAddCmd struct {
	data
	output
	Scope  string        `required:"" enum:"server,node,storage,product,service" help:"What it is over: ${enum}."`
	Server string        `help:"Name or uid of the server, for a server, node or storage."`
	Target string        `help:"The node's or storage's name, the product's name or uid, the service's uid."`
	From   instantFlag   `placeholder:"TIME" help:"When it starts; now where it is left out."`
	Until  instantFlag   `xor:"end" required:"" placeholder:"TIME" help:"When it ends, with its zone, such as 2026-11-21T06:00+01:00 or 2026-11-21T05:00Z."`
	For    time.Duration `xor:"end" required:"" placeholder:"LENGTH" help:"How long it lasts, such as 90m or 8h."`
	Reason string        `required:"" help:"Why, in a few words. Clients read it: Automatic backups pause until …: REASON."`
}

// instantFlag is a flag that holds an instant, in whole minutes or seconds and with its zone.
type instantFlag struct{ time.Time }

// UnmarshalText reads RFC 3339, of which the seconds may be left out.
func (f *instantFlag) UnmarshalText(text []byte) error {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z07:00"} {
		if t, err := time.Parse(layout, strings.Replace(string(text), " ", "T", 1)); err == nil {
			f.Time = t
			return nil
		}
	}
	return errors.New("is a time with its zone, such as 2026-11-21T06:00+01:00 or 2026-11-21T05:00Z")
}

// Run names what the pause is over by its uid, and keeps it.
func (c *pauseAddCmd) Run(a *app) error {
	return c.with(a, func(db *store.DB) error {
		p := portal.Pause{Scope: c.Scope, Target: c.Target, Reason: c.Reason, StartsAt: c.From.Time, EndsAt: c.Until.Time}
		if p.StartsAt.IsZero() {
			p.StartsAt = a.now()
		}
		if c.For != 0 {
			p.EndsAt = p.StartsAt.Add(c.For)
		}
		if c.Server != "" {
			server, err := serverNamed(a, db, c.Server)
			if err != nil {
				return err
			}
			p.ServerID = server.ID
		}
		switch {
		case c.Target == "":
		case c.Scope == portal.PauseProduct:
			product, err := productNamed(a, db, c.Target)
			if err != nil {
				return err
			}
			p.Target = product.UID
		case c.Scope == portal.PauseService:
			service, err := serviceNamed(a, db, c.Target)
			if err != nil {
				return err
			}
			p.Target = service.UID
		}
		p, err := db.AddPause(a.ctx, actor, p)
		if err != nil {
			return err
		}
		return c.print(a, map[string]string{"uid": p.UID, "starts_at": stamp(p.StartsAt), "ends_at": stamp(p.EndsAt)}, func(w io.Writer) {
			row(w, "uid", p.UID)
			row(w, "from", stamp(p.StartsAt))
			row(w, "until", stamp(p.EndsAt))
		})
	})
}

type pauseListCmd struct {
	data
	output
}

// Run lists the pauses.
func (c *pauseListCmd) Run(a *app) error {
	type pause struct {
		UID      string `json:"uid"`
		Scope    string `json:"scope"`
		Server   string `json:"server"`
		Target   string `json:"target"`
		Name     string `json:"target_name"`
		Reason   string `json:"reason"`
		StartsAt string `json:"starts_at"`
		EndsAt   string `json:"ends_at"`
		Holds    bool   `json:"holds"` // now
		By       string `json:"created_by"`
	}
	return c.with(a, func(db *store.DB) error {
		all, err := db.Pauses(a.ctx)
		if err != nil {
			return err
		}
		out := make([]pause, len(all))
		for i, p := range all {
			out[i] = pause{p.UID, p.Scope, p.Server, p.Target, p.TargetName, p.Reason, stamp(p.StartsAt), stamp(p.EndsAt), !p.StartsAt.After(a.now()), p.CreatedBy}
		}
		return c.print(a, out, func(w io.Writer) {
			row(w, "UID", "OVER", "FROM", "UNTIL", "REASON")
			for _, p := range out {
				row(w, p.UID, strings.Join(strings.Fields(fmt.Sprint(p.Scope, " ", p.Name, " ", on(p.Server))), " "), p.StartsAt, p.EndsAt, p.Reason)
			}
		})
	})
}

func on(server string) string {
	if server == "" {
		return ""
	}
	return "on " + server
}

type pauseEndCmd struct {
	data
	output
	UID string `arg:"" name:"uid" help:"The pause, as pause list shows it."`
}

// Run ends the pause.
func (c *pauseEndCmd) Run(a *app) error {
	return c.with(a, func(db *store.DB) error {
		p, err := db.EndPause(a.ctx, actor, strings.ToLower(c.UID))
		if portal.CodeOf(err) == portal.CodeNotFound {
			return fmt.Errorf("there is no pause %q; stowage pause list shows them", c.UID)
		}
		if err != nil {
			return err
		}
		return c.print(a, map[string]string{"uid": p.UID, "ends_at": stamp(p.EndsAt)}, func(w io.Writer) {
			row(w, "uid", p.UID)
			row(w, "ended", stamp(p.EndsAt))
		})
	})
}
