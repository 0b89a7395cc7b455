package templates

import (
	"slices"

	"stowage/portal"
)

// OperationRow is one operation in a list.
type OperationRow struct {
	UID       string
	Kind      string      // backup, delete, …; in data-kind
	State     string      // queued, running, held, succeeded, failed, cancelled
	Title     portal.Text // "Backup", "Removal of Thu 12 Nov 03:00"
	Sentence  portal.Text // how it went: "Done in 6 min", "The storage was full."
	When      Moment      // asked for
	Took      portal.Text
	Who       portal.Text // "Schedule", "ada@demo.test", "Our team"
	Reference string      // short, to quote to support
	Service   string      // name, in staff's lists
	Client    string
	Where     portal.Text // "pve1 (node pve1)", in staff's lists
	Href      string      // "" leads to the client's page of it
}

// OperationsPage is the history of one service.
type OperationsPage struct {
	Frame
	Service ServiceHead
	Rows    []OperationRow
	Paging  Paging
}

// OperationPage is one operation with its steps and log.
type OperationPage struct {
	Frame
	Service   ServiceHead
	Operation OperationView
	Secret    *Secret // shown this once, above what changes by itself
	Live      bool
}

// OperationView is what both the client's and the staff's page show of an operation.
type OperationView struct {
	UID       string
	Kind      string
	State     string
	Version   int64
	Machine   string
	Title     portal.Text
	Sentence  portal.Text // what it does now or how it ended, complete
	Unharmed  portal.Text // after a failure: what is unharmed; may be empty
	Told      portal.Text // "Our team was alerted at 02:14"; may be empty
	Reference string
	Who       portal.Text
	Asked     Moment
	Began     Moment
	Ended     Moment
	Took      portal.Text
	Progress  *Running // while it runs
	Steps     []Step
	Log       []LogLine
	Cancel    Act
	Retry     Act
	Changes   []Fact      // of a restore: what was changed on the machine, before and after
	Proof     []Fact      // of a restore: what was seen of the machine afterwards
	GoBack    portal.Text // of a restore: how to go back
	Ways      []WayOut    // how to go back, or on

	SecretWaits bool // a password can be shown to whoever looks at this page
	Reinstall   Act  // why the machine can't be installed from scratch; empty: it isn't spoken of
	HideCancel  bool
	HideRetry   bool
	RetryOf     string // uid of the operation before
	RetriedBy   string
	CancelTo    string // form actions; "" is the client's
	RetryTo     string
}

// Step is one step of an operation.
type Step struct {
	Number   int // 0: the steps are not numbered
	Title    portal.Text
	State    string      // waiting, running, done, failed, skipped
	Sentence portal.Text // what was seen
	Began    Moment
	Took     portal.Text
}

// LogLine is one line of an operation's own log.
type LogLine struct {
	At   Moment
	Text portal.Text
	Tone Tone
}

// shownState is the state that people see: a restore whose safety copy is being made waits for that, and is under way
// all the same.
func (o OperationView) shownState() string {
	if o.State == "queued" && o.Progress != nil && o.Progress.State == "running" {
		return "running"
	}
	return o.State
}

func operationHref(h ServiceHead, r OperationRow) string {
	if r.Href != "" {
		return r.Href
	}
	return h.operation(r.UID)
}

func operationEvents(v OperationPage) string {
	url := eventsURL(v.Live, v.Service.UID, "operation")
	if url == "" {
		return ""
	}
	return url + "&operation=" + v.Operation.UID
}

func cancelAction(h ServiceHead, o OperationView) string {
	if o.CancelTo != "" {
		return o.CancelTo
	}
	return h.path("/operations/" + o.UID + "/cancel")
}

func retryAction(h ServiceHead, o OperationView) string {
	if o.RetryTo != "" {
		return o.RetryTo
	}
	return h.path("/operations/" + o.UID + "/retry")
}

// withoutCancel leaves the button to the page around the progress.
func withoutCancel(r Running) Running {
	r.HideStop = true
	return r
}

// operationFacts are who asked, and when it went.
func operationFacts(o OperationView) []Fact {
	var list []Fact
	add := func(name portal.Text, m Moment) {
		if !m.IsZero() {
			list = append(list, Fact{Name: name, Value: m.Text(), Hint: m.Ago})
		}
	}
	if o.Who != "" {
		list = append(list, Fact{Name: "Asked by", Value: o.Who})
	}
	add("Asked", o.Asked)
	add("Began", o.Began)
	add("Ended", o.Ended)
	if o.Took != "" {
		list = append(list, Fact{Name: "Took", Value: o.Took})
	}
	return list
}

func operationIcon(state string) string {
	switch state {
	case "succeeded":
		return "check"
	case "failed":
		return "cross"
	case "held":
		return "alert"
	case "running":
		return "retry"
	case "cancelled":
		return "pause"
	}
	return "clock"
}

func operationMark(state string) string {
	switch state {
	case "succeeded":
		return "mark-good"
	case "failed":
		return "mark-bad"
	case "held":
		return "mark-warn"
	case "running":
		return "mark-info"
	}
	return "mark-neutral"
}

func stepClass(state string) string {
	switch state {
	case "done":
		return "mark-good"
	case "failed":
		return "mark-bad"
	case "running":
		return "mark-info"
	}
	return "mark-neutral"
}

func stepIcon(state string) string {
	switch state {
	case "done":
		return "check"
	case "failed":
		return "cross"
	case "running":
		return "retry"
	case "skipped":
		return "right"
	}
	return "clock"
}

func stepWord(state string) portal.Text {
	switch state {
	case "done":
		return ""
	case "waiting":
		return "to come"
	}
	return SlotWord(state)
}

func logClass(t Tone) string {
	switch t {
	case ToneBad:
		return "log-bad"
	case ToneWarn:
		return "log-warn"
	}
	return ""
}

// retryLeads tells whether to try again is the way that most will want: where the page knows a better one, that leads.
func (o OperationView) retryLeads() bool {
	return !slices.ContainsFunc(o.Ways, func(w WayOut) bool { return w.Primary })
}
