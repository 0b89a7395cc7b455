package handlers

import (
	"strings"

	"github.com/labstack/echo/v4"

	"stowage/portal"
	"stowage/store"
	"stowage/templates"
	"stowage/web"
)

// showAnyOperation shows staff one operation with its task logs and what they can do with it. It may be named by
// its reference as well.
func (s *Site) showAnyOperation(c echo.Context) error {
	page, err := s.staffOperationPage(c)
	if err != nil {
		return err
	}
	return show(c, page)
}

func (s *Site) staffOperationPage(c echo.Context) (page templates.AdminOperationPage, err error) {
	ctx := c.Request().Context()
	o, err := s.db.OperationView(ctx, 0, "", c.Param("operation"))
	if err != nil {
		return page, err
	}
	v, err := s.lookAt(ctx, 0, o.ServiceUID, login(c))
	if err != nil {
		return page, err
	}
	logs, err := s.db.TaskLogs(ctx, o.ID)
	if err != nil {
		return page, err
	}
	t := teller{now: s.db.Now(), loc: zone(login(c)), staff: true}
	v.loc = t.loc
	f := s.frame(c, t.title(o.OperationLine), templates.AreaAdminOperations)
	f.Crumbs = []templates.Crumb{{Text: "Operations", Href: "/admin/operations"}, {Text: portal.Verbatim(o.Reference)}}
	page = templates.AdminOperationPage{
		Frame: f, Operation: t.operation(o, o.ServiceName), StaffText: o.StaffReason, Facts: t.facts(o),
		Service: templates.ServiceHead{UID: o.ServiceUID, Name: o.ServiceName, Client: o.ClientName, Status: v.status(), Staff: true},
		Actions: v.staffActions(o), Kept: o.Work.Kept(),
	}
	for _, open := range v.Operations {
		if open.ID == o.ID {
			card := v.card(open)
			page.Operation.Progress = &card
		}
	}
	if o.UPID != "" {
		page.UPIDs = append(page.UPIDs, o.UPID)
	}
	for _, l := range logs {
		if l.UPID != o.UPID {
			page.UPIDs = append(page.UPIDs, l.UPID)
		}
		page.TaskLog = append(page.TaskLog, "# "+l.UPID+": "+l.Exit)
		page.TaskLog = append(page.TaskLog, strings.Split(strings.TrimRight(l.Log, "\n"), "\n")...)
	}
	return page, nil
}

// facts are the exact values of an operation.
func (t teller) facts(o store.OperationView) []templates.Fact {
	list := []templates.Fact{
		{Name: "Step", Value: portal.Verbatim(o.Step)}, {Name: "Server", Value: portal.Verbatim(o.ServerName), Hint: portal.Say("vmid %d", o.VMID)}, {Name: "Node", Value: orNone(o.Node)},
		{Name: "Failed attempts", Value: amount(o.Attempt)},
	}
	if o.Scheduled() {
		list = append(list, templates.Fact{Name: "Slot", Value: portal.Verbatim(o.SlotDate)})
	}
	if o.Kind == portal.KindBackup {
		list = append(list, templates.Fact{Name: "Mode", Value: orNone(o.Mode)}, templates.Fact{Name: "Room is made", Value: timingWords(o.Timing), Hint: portal.Verbatim(o.Victim)})
	}
	if !o.IntentAt.IsZero() {
		list = append(list, templates.Fact{Name: "Request sent", Value: templates.At(o.IntentAt, t.now, t.loc).Text(), Hint: portal.Say("to %s", o.IntentNode)})
	}
	if !o.State.Final() {
		list = append(list, templates.Fact{Name: "Looked at again", Value: templates.At(o.RunAfter, t.now, t.loc).Text()},
			templates.Fact{Name: "May start until", Value: templates.At(o.StartBy, t.now, t.loc).Text()}, templates.Fact{Name: "Given up at", Value: templates.At(o.GiveUpAt, t.now, t.loc).Text()})
	}
	if !o.WatchUntil.IsZero() {
		list = append(list, templates.Fact{Name: "Still looked for until", Value: templates.At(o.WatchUntil, t.now, t.loc).Text()})
	}
	return append(list, templates.Fact{Name: "Version", Value: portal.Say("%d, epoch %d", o.Version, o.Epoch)}, templates.Fact{Name: "uid", Value: portal.Verbatim(o.UID)})
}

func timingWords(t portal.Timing) portal.Text {
	switch t {
	case portal.TimingBefore:
		return "before the dump"
	case portal.TimingAfter:
		return "after the dump"
	case portal.TimingNone:
		return "not needed"
	}
	return "not decided yet"
}

// staffActions says what staff can do with an operation now.
func (v *shown) staffActions(o store.OperationView) templates.OperationActions {
	a := templates.OperationActions{Cancel: v.mayCancel(o.Operation)}
	switch {
	case v.onlyLooks() != "":
		a.Retry, a.Release = templates.Denied(v.onlyLooks()), templates.Denied(v.onlyLooks())
		return a
	case o.State.Final():
		a.Cancel = templates.Denied("This has ended already.")
	}
	switch o.State {
	case portal.StateQueued:
		a.Release, a.Retry = templates.Denied("Only a held operation is released."), templates.Denied("It has not begun yet.")
		if o.Scheduled() {
			a.Skip = templates.Allowed()
		}
	case portal.StateHeld:
		a.Retry, a.Release = templates.Allowed(), templates.Allowed()
	case portal.StateFailed, portal.StateCancelled:
		a.Release = templates.Denied("Only a held operation is released.")
		a.Retry = v.may(portal.RetryOperation(v.login.Actor(), o.Operation, o.CopyUID, o.Replace))
		if o.RetriedBy != "" {
			a.Retry = templates.Denied("This has been tried again already.").With(templates.WayOut{Label: "See the retry", Href: "/admin/operations/" + o.RetriedBy})
		} else {
			a.Retry.WayOut = nil // it would lead to the client's page
		}
	default:
		a.Release = templates.Denied("Only a held operation is released.")
		a.Retry = templates.Denied("It is under way.")
		if o.State == portal.StateSucceeded {
			a.Retry = templates.Denied("It ended well.")
		}
	}
	return a
}

// staffAgain answers a refusal with the operation's page.
func (s *Site) staffAgain(c echo.Context, err error, reason string) error {
	return web.Again(unstale(err), func(refusal *portal.Error) (web.Component, error) {
		page, err := s.staffOperationPage(c)
		if err != nil {
			return nil, err
		}
		page.Refusal, page.Actions.Reason = refused(refusal, nil, templates.WayOut{Label: "See how it goes", Href: "/admin/operations/" + page.Operation.UID}), reason
		if refusal.Field == "reason" {
			page.Actions.Wrong = refusal.Sentence
		}
		return page.View(), nil
	})
}
