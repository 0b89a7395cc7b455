package handlers

import (
	"slices"
	"strings"
	"time"

	"stowage/portal"
	"stowage/store"
	"stowage/templates"
)

// teller says times and names of operations: to a client in the service's zone, to staff in their own.
type teller struct {
	now   time.Time
	loc   *time.Location
	staff bool
}

func (v *shown) teller() teller { return teller{now: v.Now, loc: v.loc} }

func (v *shown) operationRow(line store.OperationLine) templates.OperationRow {
	return v.teller().row(line)
}

// row is one operation in a list.
func (t teller) row(line store.OperationLine) templates.OperationRow {
	r := templates.OperationRow{
		UID: line.UID, Kind: string(line.Kind), State: string(line.State), Title: t.title(line), Sentence: t.outcome(line),
		When: templates.At(line.CreatedAt, t.now, t.loc), Took: took(line.Operation), Who: t.who(line), Reference: line.Reference,
	}
	if t.staff {
		r.Service, r.Client, r.Href = line.ServiceName, line.ClientName, "/admin/operations/"+line.UID
		r.Where = portal.Verbatim(line.ServerName)
		if line.Node != "" {
			r.Where = portal.Say("%s (node %s)", line.ServerName, line.Node)
		}
	}
	return r
}

// title names an operation: "Scheduled backup", "Removal of the copy of Thu 12 Nov 03:00".
func (t teller) title(line store.OperationLine) portal.Text {
	of := templates.At(line.CopyBegan, t.now, t.loc)
	switch {
	case snapshotWork(line.Kind):
		return t.snapshotTitle(line)
	case line.Kind == portal.KindDelete && of.IsZero():
		return "Removal of the copy"
	case line.Kind == portal.KindDelete:
		return portal.Say("Removal of the copy of %s", of.When)
	case line.Kind == portal.KindProtect && line.Protect && of.IsZero():
		return "Protection of the copy"
	case line.Kind == portal.KindProtect && line.Protect:
		return portal.Say("Protection of the copy of %s", of.When)
	case line.Kind == portal.KindProtect && of.IsZero():
		return "End of the protection of the copy"
	case line.Kind == portal.KindProtect:
		return portal.Say("End of the protection of the copy of %s", of.When)
	case line.Kind == portal.KindRestore && of.IsZero():
		return "Restore"
	case line.Kind == portal.KindRestore:
		return portal.Say("Restore of the copy of %s", of.When)
	case line.Work.Safety:
		return "Backup before a restore"
	case line.Scheduled():
		return "Scheduled backup"
	case deskWork(line.Kind):
		return machineTitle(line.Operation)
	}
	return "Backup"
}

// outcome says how an operation stands or ended, in one sentence for everybody.
func (t teller) outcome(o store.OperationLine) portal.Text {
	switch o.State {
	case portal.StateQueued:
		if o.WaitsFor != "" {
			return portal.Say("Waits: %s.", o.WaitsFor)
		}
		return "Waits for its turn."
	case portal.StateRunning:
		return portal.Say("Under way since %s.", since(o.StartedAt, t.now, t.loc))
	}
	reason := o.Reason
	if o.Kind == portal.KindBackup && o.State == portal.StateSucceeded && o.CopyGone {
		reason = portal.Sentences("The backup was made, and has been removed since.", reason.Without(portal.InYourList))
	}
	return portal.Sentences(reason, o.Warning)
}

// who says who asked for an operation. To clients, staff are "our team".
func (t teller) who(line store.OperationLine) portal.Text {
	switch {
	case line.Actor == "cron":
		return "Schedule"
	case strings.HasPrefix(line.Actor, "client:") && line.Who != "", t.staff && line.Who != "":
		return portal.Verbatim(line.Who)
	case t.staff:
		return portal.Verbatim(line.Actor)
	}
	return "Our team"
}

func took(o portal.Operation) portal.Text {
	if o.StartedAt.IsZero() || o.EndedAt.IsZero() || o.EndedAt.Before(o.StartedAt) {
		return ""
	}
	return templates.Duration(o.EndedAt.Sub(o.StartedAt))
}

// operation is one operation with its steps and log.
func (t teller) operation(o store.OperationView, machine string) templates.OperationView {
	at := func(i time.Time) templates.Moment { return templates.At(i, t.now, t.loc) }
	v := templates.OperationView{
		UID: o.UID, Kind: string(o.Kind), State: string(o.State), Version: o.Version, Machine: machine, Title: t.title(o.OperationLine),
		Sentence: t.outcome(o.OperationLine), Reference: o.Reference, Who: t.who(o.OperationLine), Asked: at(o.CreatedAt), Began: at(o.StartedAt),
		Ended: at(o.EndedAt), Took: took(o.Operation), Steps: t.steps(o), Log: t.log(o), RetryOf: o.RetryOf, RetriedBy: o.RetriedBy,
		HideCancel: o.State.Final(), HideRetry: o.State != portal.StateFailed && o.State != portal.StateCancelled || o.RetriedBy != "",
	}
	if o.State == portal.StateFailed || o.State == portal.StateHeld {
		v.Unharmed = unharmed(o.Operation)
		if told := toldAt(o); !told.IsZero() {
			v.Told = portal.Say("Our team was told at %s; the reference is %s.", since(told, t.now, t.loc), o.Reference)
		}
	}
	return v
}

// toldAt gives when staff were told of a bad end: in the transaction that wrote the line about it.
func toldAt(o store.OperationView) time.Time {
	for _, n := range slices.Backward(o.Steps) {
		if n.What == "failed" {
			return n.At
		}
	}
	return time.Time{}
}

// unharmed says what a failure has left alone, as far as the outcome does not say so by itself.
func unharmed(o portal.Operation) portal.Text {
	switch {
	case snapshotWork(o.Kind) && (o.Work.Broken || mentions(o.Reason, "untouched")):
		return ""
	case snapshotWork(o.Kind):
		return "Your machine's data and your backups are untouched."
	case o.Kind == portal.KindRestore:
		return ""
	case deskWork(o.Kind) && mentions(o.Reason, "untouched"):
		return ""
	case deskWork(o.Kind):
		return "Your backups are untouched."
	case o.Kind != portal.KindBackup:
		return "Your machine and your other backups were not touched."
	case o.Evicted && o.Timing == portal.TimingBefore:
		return "Your machine was not changed. To make room, the oldest backup had been removed; the others are untouched."
	case mentions(o.Reason, "untouched"):
		return "Your machine was not changed."
	}
	return "Your machine was not changed, and your other backups are untouched."
}

// mentions tells whether a word stands in a text's wording, or in that of a text within it.
func mentions(t portal.Text, word string) bool {
	key, _, args := t.Parts()
	return strings.Contains(key, word) || slices.ContainsFunc(args, func(a any) bool {
		inner, ok := a.(portal.Text)
		return ok && mentions(inner, word)
	})
}

// stepsOf lists the steps of an operation in their order.
func stepsOf(o portal.Operation) []string {
	switch o.Kind {
	case portal.KindDelete:
		return []string{portal.StepDelete}
	case portal.KindProtect:
		return []string{portal.StepProtect}
	}
	if deskWork(o.Kind) {
		return machineSteps(o)
	}
	list := []string{portal.StepPreflight}
	if o.Timing == portal.TimingBefore {
		list = append(list, portal.StepEvict)
	}
	list = append(list, portal.StepDump)
	if o.Timing == portal.TimingAfter {
		list = append(list, portal.StepEvict)
	}
	return list
}

var stepTitles = map[string]portal.Text{
	portal.StepPreflight: "Look at the machine, the storage and the free places",
	portal.StepDump:      "Write the copy and check it",
	portal.StepVerify:    "Check the copy",
	portal.StepDelete:    "Remove the copy",
	portal.StepProtect:   "Change the protection",
}

func stepTitle(o portal.Operation, step string) portal.Text {
	if step == portal.StepEvict {
		if o.Timing == portal.TimingAfter {
			return "Remove the copy that was to go"
		}
		return "Remove the oldest copy to make room"
	}
	if deskWork(o.Kind) {
		return machineStepTitle(step)
	}
	if title, ok := snapshotStepTitles[step]; ok && o.Kind.OnMachine() {
		return title
	}
	if title, ok := stepTitles[step]; ok {
		return title
	}
	return portal.Verbatim(step)
}

// steps shows which steps are done, which one is under way, and which are to come.
func (t teller) steps(o store.OperationView) []templates.Step {
	if o.Kind == portal.KindRestore {
		return t.restoreSteps(o)
	}
	names := stepsOf(o.Operation)
	if snapshotWork(o.Kind) {
		names = snapshotSteps(o.OperationLine)
	}
	present := slices.Index(names, o.Step)
	if present < 0 {
		names, present = append(names, o.Step), len(names)
	}
	began := make([]time.Time, len(names)+1)
	began[0], began[len(names)] = o.StartedAt, o.EndedAt
	out := make([]templates.Step, len(names))
	for i, name := range names {
		out[i] = templates.Step{Title: stepTitle(o.Operation, name), State: stepState(o.Operation, i, present)}
		for _, n := range o.Steps {
			if n.Step != name {
				continue
			}
			if began[i].IsZero() {
				began[i] = n.At
			}
			out[i].Sentence = n.Text
		}
		if out[i].State != "waiting" && out[i].State != "skipped" {
			out[i].Began = templates.At(began[i], t.now, t.loc)
		}
	}
	for i := range out {
		if end := began[i+1]; out[i].State == "done" && !began[i].IsZero() && end.After(began[i]) {
			out[i].Took = templates.Duration(end.Sub(began[i]))
		}
	}
	return out
}

func stepState(o portal.Operation, i, present int) string {
	switch {
	case o.State == portal.StateSucceeded || i < present:
		return "done"
	case i > present && o.State.Final():
		return "skipped"
	case i > present:
		return "waiting"
	}
	return map[portal.State]string{
		portal.StateQueued: "waiting", portal.StateRunning: "running", portal.StateHeld: "failed", portal.StateFailed: "failed", portal.StateCancelled: "skipped",
	}[o.State]
}

// log is the operation's own story.
func (t teller) log(o store.OperationView) []templates.LogLine {
	var lines []templates.LogLine
	for _, n := range o.Steps {
		line := templates.LogLine{At: templates.At(n.At, t.now, t.loc), Text: n.Text}
		line.At.Layout = "15:04:05"
		switch n.What {
		case "failed":
			line.Tone = templates.ToneBad
			if o.State == portal.StateCancelled {
				line.Tone = templates.ToneNeutral
			}
		case "retry", "waits":
			line.Tone = templates.ToneWarn
		}
		lines = append(lines, line)
	}
	return lines
}

// offers are what comes next after an operation, or what waits for a look.
func (v *shown) offers(o store.OperationView) []templates.WayOut {
	if v.onlyLooks() != "" || v.off() {
		return nil
	}
	var list []templates.WayOut
	if v.secretWaits(o) {
		list = append(list, templates.WayOut{Label: "Show the new password", Href: v.path("operations", o.UID), Primary: true})
	}
	if o.Kind == portal.KindPassword && o.State == portal.StateSucceeded && o.Work.Way == portal.WayCloudInit && v.Service.Status == "running" && v.Service.Uptime > v.Now.Sub(o.EndedAt) {
		list = append(list, templates.WayOut{Label: "Reboot now", Href: v.path("power") + "?action=reboot", Primary: true})
	}
	return list
}

// secretWaits tells whether the password of an installation is there, to be shown to this login, once.
func (v *shown) secretWaits(o store.OperationView) bool {
	return v.onlyLooks() == "" && !v.off() && o.Kind == portal.KindReinstall && o.Work.Way != "" && !o.Work.Shown && !o.State.Final() && o.Actor == v.login.Actor()
}

// operationPage is one operation as a client sees it.
func (v *shown) operationPage(f templates.Frame, o store.OperationView) templates.OperationPage {
	f.Crumbs = v.crumbs(templates.Crumb{Text: "History", Href: v.path("operations")}, templates.Crumb{Text: portal.Verbatim(o.Reference)})
	f.Zone = v.Schedule.Zone
	view := v.teller().operation(o, v.Service.Name)
	view.Cancel = v.mayCancel(o.Operation)
	view.HideCancel = view.HideCancel || o.Kind != portal.KindBackup && o.State != portal.StateQueued
	view.Ways, view.SecretWaits = v.offers(o), v.secretWaits(o)
	if mayResume(o) {
		view.HideRetry, view.Retry = false, templates.Allowed()
		if why := v.onlyLooks(); why != "" || v.off() {
			view.Retry = v.may(portal.RetryOperation(v.login.Actor(), o.Operation, "", ""))
		}
	} else if !view.HideRetry {
		view.Retry = v.may(portal.RetryOperation(v.login.Actor(), o.Operation, o.CopyUID, o.Replace))
	}
	if o.Kind == portal.KindRestore {
		v.restoreOperation(o, &view)
	}
	if mayResume(o) && o.Work.Broken {
		v.brokenReinstall(o, &view)
	}
	for _, open := range v.Operations {
		if open.ID != o.ID || open.State == portal.StateHeld { // what has stopped has no progress
			continue
		}
		card := v.card(open)
		view.Progress, view.Sentence = &card, ""
	}
	return templates.OperationPage{Frame: f, Service: v.head(templates.TabOperations), Operation: view, Live: true}
}
