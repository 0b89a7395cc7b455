package handlers

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"stowage/portal"
	"stowage/portal/lang"
	"stowage/templates"
	"stowage/web"
)

// FaultPanel lets staff break the demo's simulated world, and mend it. What cmd puts in here acts on simulators;
// serve has none, and then the page does not exist.
type FaultPanel struct {
	// Kinds gives what can be broken, each with what it can be done to right now.
	Kinds func() []FaultKind
	// Broken gives what is broken now, the oldest first.
	Broken func() []Fault
	// Break breaks a target that Kinds named, and gives how it is then. It refuses what can't be done now.
	Break func(kind, target string) (Fault, error)
	// Heal mends what Broken named, and gives how it was.
	Heal func(kind, target string) (Fault, error)
}

// FaultKind is one thing that can go wrong.
type FaultKind struct {
	Kind    string      // word in the form
	Title   portal.Text // "Take a node down"
	What    portal.Text // what will happen
	Watch   portal.Text // what to watch
	Button  portal.Text // "Take it down"
	Targets []FaultTarget
}

// FaultTarget is something that can be broken now.
type FaultTarget struct {
	Target string
	Name   portal.Text // "" where there is only one, ever
}

// Fault is something that is broken.
type Fault struct {
	Kind, Target string
	Text         portal.Text // "Node ams1 of Amsterdam is cut off."
	Heal         portal.Text // of its button: "Bring it back"
	Since        time.Time   // zero: since before the demo was started
}

// registerFaults puts the fault panel on the staff's pages, where there is one.
func (s *Site) registerFaults(staff, steer *echo.Group) {
	if s.o.Faults == nil {
		return
	}
	staff.GET("/demo", s.showFaults)
	staff.GET("/demo/:action", func(c echo.Context) error { return web.See(c, faultsPath) })
	steer.POST("/demo/break", s.breakDemo)
	steer.POST("/demo/heal", s.healDemo)
}

const faultsPath = "/admin/demo"

// showFaults shows what is broken in the demo's world, and what could be.
func (s *Site) showFaults(c echo.Context) error { return show(c, s.faultsPage(c, "", "")) }

// faultsPage is the panel. kind and target are what was chosen before, after a refusal.
func (s *Site) faultsPage(c echo.Context, kind, target string) templates.AdminDemoPage {
	now, loc := s.db.Now(), zone(login(c))
	page := templates.AdminDemoPage{Frame: s.frame(c, "Demo faults", templates.AreaAdminDemo), Act: staffMay(c)}
	for _, f := range s.o.Faults.Broken() {
		row := templates.DemoFault{Kind: f.Kind, Target: f.Target, Text: f.Text, Heal: f.Heal}
		if !f.Since.IsZero() {
			row.Since = templates.AtAgo(f.Since, now, loc)
		}
		page.Broken = append(page.Broken, row)
	}
	for _, k := range s.o.Faults.Kinds() {
		card := templates.DemoKind{Kind: k.Kind, Title: k.Title, What: k.What, Watch: k.Watch, Button: k.Button}
		for _, t := range k.Targets {
			card.Targets = append(card.Targets, templates.Option{Value: t.Target, Text: t.Name})
		}
		if k.Kind == kind {
			card.Chosen = target
		}
		page.Kinds = append(page.Kinds, card)
	}
	return page
}

// breakDemo breaks one thing. What is so then goes into the audit log.
func (s *Site) breakDemo(c echo.Context) error {
	form, err := web.ReadForm(c, "kind", "target")
	var f Fault
	if err == nil {
		f, err = s.o.Faults.Break(form["kind"], form["target"])
	}
	if err == nil {
		err = s.noteFault(c.Request().Context(), login(c), "demo.break", f, inEnglish(f.Text))
	}
	if err != nil {
		return s.faultsAgain(c, err, form["kind"], form["target"])
	}
	return s.done(c, f.Text, faultsPath)
}

// healDemo mends one thing, or, where none is named, all of them. What can't be mended now is said, and does not
// keep the others broken.
func (s *Site) healDemo(c echo.Context) error {
	form, err := web.ReadForm(c, "kind", "target")
	if err != nil {
		return s.faultsAgain(c, err, "", "")
	}
	wanted := []Fault{{Kind: form["kind"], Target: form["target"]}}
	if form["kind"] == "" {
		wanted = s.o.Faults.Broken()
	}
	var failed error
	healed := 0
	for _, f := range wanted {
		was, err := s.o.Faults.Heal(f.Kind, f.Target)
		if err == nil {
			healed++
			err = s.noteFault(c.Request().Context(), login(c), "demo.heal", was, "no longer: "+inEnglish(was.Text))
		}
		failed = errors.Join(failed, err)
	}
	switch {
	case failed != nil:
		return s.faultsAgain(c, failed, "", "")
	case healed == 0:
		return s.done(c, "Nothing was broken.", faultsPath)
	}
	return s.done(c, "Healed. What waited for it goes on within seconds.", faultsPath)
}

func (s *Site) noteFault(ctx context.Context, l portal.Login, action string, f Fault, what string) error {
	return s.db.NoteDemo(ctx, l.Actor(), action, strings.TrimSuffix(f.Kind+" "+f.Target, " "), what)
}

func (s *Site) faultsAgain(c echo.Context, err error, kind, target string) error {
	return web.Again(err, func(refusal *portal.Error) (web.Component, error) {
		page := s.faultsPage(c, kind, target)
		page.Refusal = refused(refusal, nil, templates.WayOut{Label: "Look again", Href: faultsPath})
		return page.View(), nil
	})
}

// inEnglish says a text for the audit log, which has one language.
func inEnglish(t portal.Text) string { return lang.For(lang.English).Say(t) }
