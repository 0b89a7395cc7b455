package main

import (
	"errors"
	"io"
	"time"

	"stowage/portal"
)

type scheduleCmd struct {
	Preview previewCmd `cmd:"" help:"Show when a schedule would run. Needs no database."`
}

type previewCmd struct {
	output
	Zone zoneName `required:"" help:"Time zone, such as Europe/Berlin."`
	Grid string   `required:"" placeholder:"sun=02:30,mon=23:15" help:"Days with their times."`
	From dateFlag `required:"" placeholder:"YYYY-MM-DD" help:"The first date."`
	Days int      `required:"" help:"How many dates, 1 to 3660."`
}

// dateFlag is a flag that holds a date.
type dateFlag struct{ portal.Date }

// UnmarshalText reads YYYY-MM-DD.
func (d *dateFlag) UnmarshalText(text []byte) error {
	date, err := portal.ParseDate(string(text))
	if err != nil {
		return errors.New(explain(err))
	}
	d.Date = date
	return nil
}

// Run prints the slots.
func (c *previewCmd) Run(a *app) error {
	if c.Days < 1 || c.Days > 3660 {
		return wrongUse("--days is a number from 1 to 3660")
	}
	s, err := portal.ParseGrid(string(c.Zone), c.Grid)
	if err != nil {
		return wrongUse("--grid: %s", explain(err))
	}
	type slot struct {
		Date    string `json:"date"`
		Time    string `json:"time"` // asked for
		Instant string `json:"instant"`
	}
	out := []slot{}
	for _, due := range s.Preview(c.From.Date, c.Days) {
		out = append(out, slot{due.Date.String(), due.At.String(), due.Due.UTC().Format(time.RFC3339)})
	}
	return c.print(a, out, func(w io.Writer) {
		row(w, "DATE", "TIME", "INSTANT")
		for _, s := range out {
			row(w, s.Date, s.Time, s.Instant)
		}
	})
}
