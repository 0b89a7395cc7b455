package handlers

import (
	"slices"
	"time"

	"stowage/portal"
	"stowage/store"
	"stowage/templates"
)

// mayRestore tells whether a copy may be restored now. Where a restore has stopped, it may go on with this one.
func (v *shown) mayRestore(b portal.Backup) templates.Act {
	if held := v.HeldRestore(); held != nil {
		return v.may(portal.RestoreInstead(*held, v.login.Actor(), b.UID))
	}
	return v.may(portal.MayRestore(v.login.Actor(), b.UID))
}

// restorePage asks before a machine is overwritten: what is lost, what stays, what the copy contains.
func (v *shown) restorePage(f templates.Frame, b portal.Backup, contents *portal.Contents, restores []time.Duration) templates.RestorePage {
	f.Crumbs, f.Zone = v.crumbs(templates.Crumb{Text: "Backups", Href: v.path("backups")}, templates.Crumb{Text: "Restore"}), v.Schedule.Zone
	took := restores
	for _, m := range v.Measured {
		if len(restores) == 0 && len(took) < 5 {
			took = append(took, m.Ended.Sub(m.Began)) // a restore moves the same bytes back
		}
	}
	facts := portal.FactsOfRestore(v.Situation, b, contents, took)
	if len(restores) > 0 && len(v.Measured) > 0 {
		facts.SavesIn = portal.FactsOfRestore(v.Situation, b, nil, []time.Duration{v.Measured[0].Ended.Sub(v.Measured[0].Began)}).SavesIn
	}
	p := templates.RestorePage{
		Frame: f, Service: v.head(templates.TabBackups), Backup: b.UID, When: v.ago(startOf(b)), Note: b.Note, Warning: facts.Doubt,
		Confirm: portal.ConfirmName(v.Service.Name), Start: true, Restore: v.mayRestore(b), Reading: contents == nil,
		Inside: diskWords(facts.Inside, false), Kept: diskWords(facts.Kept, false), Resumes: v.HeldRestore() != nil,
	}
	if b.Size > 0 {
		p.Size = templates.Bytes(b.Size)
	}
	for _, h := range facts.Hardware {
		fact := templates.Fact{Name: h.What, Value: h.Now, Hint: portal.Say("in the copy: %s; it stays as it is now", h.Then)}
		if h.Same {
			fact.Hint = "the same as in the copy"
		}
		p.Hardware = append(p.Hardware, fact)
	}
	if p.Resumes {
		p.Lost = []portal.Text{"Nothing more: the machine was overwritten already, and is not whole yet."}
	} else {
		p.Lost = []portal.Text{portal.Say("Everything since (%s).", portal.Duration(facts.Since))}
		if facts.Snapshots > 0 {
			p.Lost = append(p.Lost, portal.Count(facts.Snapshots, "1 snapshot.", "%d snapshots."))
		}
	}
	p.Stays = []portal.Text{"All your backups, this one too.", "What your package says: processor, memory, limits, network and addresses."}
	if len(p.Kept) > 0 {
		p.Stays = append(p.Stays, portal.Say("Disks that were added since: %s. They are attached again, with their data.", templates.Listed(p.Kept...)))
	}
	switch {
	case !facts.Saves:
	case facts.SavesIn != "":
		p.Plan = append(p.Plan, portal.Say("First we save the present state (%s). It is kept for 7 days, outside your places.", facts.SavesIn))
	default:
		p.Plan = append(p.Plan, "First we save the present state. It is kept for 7 days, outside your places.")
	}
	if facts.Off != "" {
		p.Plan = append(p.Plan, portal.Say("Then your machine is off for %s.", facts.Off))
	} else {
		p.Plan = append(p.Plan, "Then your machine is off until it is done.")
	}
	return p
}

// before gives the backup that goes before a restore while it is unfinished.
func (v *shown) before(o portal.Operation) (portal.Operation, bool) {
	i := slices.IndexFunc(v.Operations, func(b portal.Operation) bool { return o.AfterID != 0 && b.ID == o.AfterID })
	if i < 0 {
		return portal.Operation{}, false
	}
	return v.Operations[i], true
}

// covered tells whether an operation is shown as a step of another.
func (v *shown) covered(o portal.Operation) bool {
	return o.Work.Safety && slices.ContainsFunc(v.Operations, func(r portal.Operation) bool { return r.AfterID == o.ID })
}

// restoreTitle names a restore: "Restoring h100 to Thu 19 Nov 03:00".
func (v *shown) restoreTitle(o portal.Operation) portal.Text {
	if b, ok := v.backup(o.BackupID); ok {
		return portal.Say("Restoring %s to %s", v.Service.Name, v.at(startOf(b)).When)
	}
	return portal.Say("Restoring %s", v.Service.Name)
}

// restoreCard is a restore under way. While the present state is saved first, it shows how far that is.
func (v *shown) restoreCard(o portal.Operation, r templates.Running) templates.Running {
	r.Version *= 1_000_000 // it goes on growing when the safety copy, whose saves are counted in, has ended
	if before, ok := v.before(o); ok && o.State == portal.StateQueued {
		inner := v.card(before)
		r.State, r.Backup, r.Origin = inner.State, inner.Backup, inner.Origin
		r.Percent, r.Bytes, r.Speed, r.Left, r.Stale = inner.Percent, inner.Bytes, inner.Speed, inner.Left, inner.Stale
		r.Version += before.Version
		r.Step = portal.Say("First the present state is saved. %s", inner.Step)
		return r
	}
	if o.State == portal.StateRunning && o.Step == portal.StepRestore && r.Stale == "" && o.TotalBytes > 0 && o.WaitsFor == "" {
		r.Percent, r.Bytes, r.Speed = o.Percent, templates.OfBytes(o.DoneBytes, o.TotalBytes), templates.Speed(o.Rate)
		if left := o.TotalBytes - o.DoneBytes; o.Rate > 0 && left > 0 {
			r.Left = timeLeft(time.Duration(left/o.Rate) * time.Second)
		}
	}
	return r
}

// restoreOperation adds to the page of a restore what is its own: the safety copy as its first step, the proof, and the
// ways out where it has stopped.
func (v *shown) restoreOperation(o store.OperationView, view *templates.OperationView) {
	safety, saved := v.safetyCopy(o)
	for _, c := range o.Work.Changes {
		view.Changes = append(view.Changes, templates.Fact{Name: c.What, Value: portal.Say("%s → %s", c.Before, c.After)})
	}
	if p := o.Work.Proof; p != nil && p.Agent != "" {
		view.Proof = append(view.Proof, templates.Fact{Name: "Runs since", Value: v.at(time.Unix(p.Since, 0)).Text()})
		answer := map[string]portal.Text{portal.AgentAnswered: "answered", portal.AgentSilent: "has not answered within five minutes"}[p.Agent]
		if answer != "" {
			view.Proof = append(view.Proof, templates.Fact{Name: "The system inside", Value: answer})
		}
	}
	back := templates.WayOut{Label: "Restore the state from before", Href: v.path("backups", safety.UID, "restore")}
	switch {
	case o.State == portal.StateSucceeded && saved:
		view.GoBack = portal.Say("How to go back: what your machine was before is kept as a backup until %s.", v.at(safety.KeepUntil).When)
		view.Ways = append(view.Ways, back)
	case o.State == portal.StateHeld && o.Work.Broken:
		view.HideRetry, view.Retry = false, v.may(portal.ResumeRestore(o.Operation, ""))
		if saved && safety.ID != o.BackupID {
			back.Primary = true
			view.Ways = append(view.Ways, back)
		}
		view.Ways = append(view.Ways, templates.WayOut{Label: "Restore another backup", Href: v.path("backups") + "#list"})
		if may, why := portal.MayReinstall(v.Situation, o.Operation); may {
			view.Ways = append(view.Ways, templates.WayOut{Label: "Reinstall from scratch", Href: v.path("reinstall")})
		} else {
			view.Reinstall = templates.Denied(why)
		}
	}
	if o.State == portal.StateFailed || o.State == portal.StateHeld {
		view.Unharmed = v.restoreUnharmed(o.Operation)
	}
}

// brokenReinstall adds the ways out to the page of an installation that has stopped with the machine in pieces.
func (v *shown) brokenReinstall(o store.OperationView, view *templates.OperationView) {
	if v.onlyLooks() != "" || v.off() {
		return
	}
	if safety, saved := v.safetyCopy(o); saved {
		view.Ways = append(view.Ways, templates.WayOut{Label: "Restore the state from before", Href: v.path("backups", safety.UID, "restore")})
	}
	view.Ways = append(view.Ways, templates.WayOut{Label: "Restore another backup", Href: v.path("backups") + "#list"})
	if may, _ := portal.MayReinstall(v.Situation, o.Operation); may {
		view.Ways = append(view.Ways, templates.WayOut{Label: "Choose another system", Href: v.path("reinstall")})
	}
}

// restoreUnharmed says what a restore that has stopped has left alone.
func (v *shown) restoreUnharmed(o portal.Operation) portal.Text {
	others := 0
	for _, b := range v.Backups {
		if b.Complete() && b.ID != o.BackupID {
			others++
		}
	}
	var off, rest portal.Text
	if o.Work.Broken {
		off = "Your machine is off."
	}
	if others > 0 {
		rest = portal.Count(others, "Your other backup is untouched.", "Your other %d backups are untouched.")
	}
	return portal.Sentences(off, rest)
}

// safetyCopy gives the copy that was made before a restore, where it is still there.
func (v *shown) safetyCopy(o store.OperationView) (portal.Backup, bool) {
	i := slices.IndexFunc(v.Backups, func(b portal.Backup) bool {
		return o.AfterID != 0 && b.OperationID == o.AfterID && b.Complete() && b.Origin == portal.OriginBeforeRestore
	})
	if i < 0 {
		return portal.Backup{}, false
	}
	return v.Backups[i], true
}

// restoreStepTitles are the steps of a restore, in words.
var restoreStepTitles = map[string]portal.Text{
	portal.StepDump:      "Save the present state",
	portal.StepPreflight: "Check the backup, the machine and its storage",
	portal.StepPowerOff:  "Shut the machine down",
	portal.StepRestore:   "Put the backup in the machine's place",
	portal.StepReapply:   "Bring the machine in step with your package",
	portal.StepStart:     "Start the machine",
	portal.StepProof:     "See that the machine answers",
	portal.StepTidy:      "Remove what nobody needs any more",
}

// restoreStepWords say what a restore does now.
var restoreStepWords = map[string]portal.Text{
	portal.StepPreflight: "Checking the backup, the machine and its storage",
	portal.StepPowerOff:  "Shutting the machine down",
	portal.StepRestore:   "Putting the backup in the machine's place",
	portal.StepReapply:   "Bringing the machine in step with your package",
	portal.StepStart:     "Starting the machine",
	portal.StepProof:     "Waiting until the machine answers",
	portal.StepTidy:      "Removing what nobody needs any more",
}

// restoreSteps shows the steps of a restore, the safety copy as the first of them.
func (t teller) restoreSteps(o store.OperationView) []templates.Step {
	names := o.RestoreSteps()
	present := slices.Index(names, o.Step)
	saving := o.AfterID != 0 && o.StartedAt.IsZero()
	if saving {
		present = 0
	}
	began := make([]time.Time, len(names)+1)
	began[len(names)] = o.EndedAt
	out := make([]templates.Step, len(names))
	for i, name := range names {
		s := templates.Step{Number: i + 1, Title: restoreStepTitles[name], State: stepState(o.Operation, i, present)}
		switch {
		case name == portal.StepDump:
			began[i] = o.BeforeBegan
			if i == present && o.State == portal.StateQueued && !o.BeforeBegan.IsZero() {
				s.State = "running"
			}
		case name == portal.StepPreflight:
			began[i] = o.StartedAt
		}
		for _, n := range o.Steps {
			if n.Step != name {
				continue
			}
			if began[i].IsZero() {
				began[i] = n.At
			}
			s.Sentence = n.Text
		}
		if s.State != "waiting" && s.State != "skipped" {
			s.Began = templates.At(began[i], t.now, t.loc)
		}
		out[i] = s
	}
	for i := range out {
		if end := began[i+1]; out[i].State == "done" && !began[i].IsZero() && end.After(began[i]) {
			out[i].Took = templates.Duration(end.Sub(began[i]))
		}
	}
	return out
}
