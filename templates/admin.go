package templates

import (
	"strings"

	"stowage/portal"
)

// AdminPage is the dashboard: what needs a person.
type AdminPage struct {
	Frame
	Notices []Notice
	Figures []Figure
	Needs   []Need
	Quiet   portal.Text // the sentence when nothing needs a person; "" has a good one
}

// Figure is a number at the top of the dashboard.
type Figure struct {
	Name  portal.Text // "Backups last night"
	Value portal.Text // "412"
	Hint  portal.Text // "3 failed, 1 missed"
	Tone  Tone
	Href  string
}

// Need is one kind of thing that needs a person.
type Need struct {
	Title portal.Text // "Held operations"
	Why   portal.Text // what it means and what to do, one sentence
	Tone  Tone
	Count int
	Items []NeedItem
	More  string // address of all of them; "" leaves it out
}

// NeedItem is one of them.
type NeedItem struct {
	Title  portal.Text
	Detail portal.Text
	When   Moment
	Href   string
	Mark   string // operation uid, for data-operation; may be empty
	Kind   string
	State  string
}

// AdminServicesPage searches all services.
type AdminServicesPage struct {
	Frame
	Query   string
	Unknown string // a reference was searched for that no operation has
	Filters []Filter
	Rows    []AdminServiceRow
	Paging  Paging
}

// Filter is a choice of a list: a select with a label.
type Filter struct {
	Name    string // of the field
	Label   portal.Text
	Value   string
	Options []Option
}

// Option is one entry of a Filter.
type Option struct {
	Value string
	Text  portal.Text
}

// AdminServiceRow is one service in the staff's list.
type AdminServiceRow struct {
	ServiceRow
	VMID    int
	Server  string
	Node    string
	Product string
	State   string // active, suspended, …
}

// AdminServicePage is what staff see of one service.
type AdminServicePage struct {
	Frame
	Service  ServiceHead
	Notices  []Notice
	Facts    []Fact
	Counter  Counter
	Schedule portal.Text
	NextRun  Run
	Ledger   Ledger
	List     BackupList
	External []ExternalRow
	Recent   []OperationRow
	Accept   string // command that takes the machine in this one's place for the right one; "" where none is in question
}

// ExternalRow is an archive of this vmid that is not ours.
type ExternalRow struct {
	Volid  string
	When   Moment
	Size   portal.Text
	Reason portal.Text // why it is taken for foreign
}

// AdminOperationsPage is the live queue and the history over all services.
type AdminOperationsPage struct {
	Frame
	Query   string
	Unknown string // a reference was searched for that no operation has
	Filters []Filter
	Rows    []OperationRow
	Paging  Paging
}

// AdminOperationPage is one operation as staff see it.
type AdminOperationPage struct {
	Frame
	Operation OperationView
	Service   ServiceHead
	StaffText string // the exact reason
	UPIDs     []string
	Facts     []Fact // node, attempt, intent, run after, start by, give up at, epoch …
	TaskLog   []string
	Kept      []string // the machine's config and firewall before it was overwritten
	Actions   OperationActions
}

// OperationActions is what staff can do with an operation.
type OperationActions struct {
	Retry   Act
	Skip    Act // left out where it is neither possible nor denied with a reason
	Cancel  Act
	Release Act
	Reason  string      // typed reason, after a refusal
	Wrong   portal.Text // why the reason was refused
}

// AdminServersPage lists the servers.
type AdminServersPage struct {
	Frame
	Rows []ServerRow
}

// ServerRow is one server.
type ServerRow struct {
	UID      string
	Name     string
	Version  string // "9.2.1"
	Nodes    int
	Services int
	Status   Badge
	Seen     Moment
	Sentence portal.Text // "Unreachable since 02:09: connection refused"
	Storages []StorageRow
	Missing  int // privileges that the last check missed
}

// StorageRow is a storage that holds backups.
type StorageRow struct {
	Name    portal.Text
	Type    string
	Used    portal.Text // "412 GiB of 1.8 TiB"
	Percent int
	Tone    Tone
	Foreign portal.Text // pruning that is not ours; "" none
}

// AdminServerPage is one server with its check.
type AdminServerPage struct {
	Frame
	Server    ServerRow
	Endpoints []string
	Facts     []Fact
	Checked   Moment
	Checks    []Check
	Check     Act  // run it (again)
	Asked     bool // a check was asked for and has not come back yet
	Doubts    []StorageDoubt
	Brakes    []StorageBrake
}

// StorageDoubt is a storage from which so many archives are absent that a person's word is needed.
type StorageDoubt struct {
	ID       string
	Name     portal.Text
	Sentence portal.Text // what is absent, and since when
	Act      Act         // say that it is really gone
}

// StorageBrake is a storage on which automatic removals stopped.
type StorageBrake struct {
	ID       string
	Name     portal.Text
	Sentence portal.Text // since when
	Act      Act         // let them go on
	Reason   string      // typed, after a refusal
	Wrong    portal.Text // why the reason was refused
}

// ConfirmGonePage asks before absent archives are taken for gone.
type ConfirmGonePage struct {
	Frame
	Server  string // uid
	Storage StorageDoubt
	Host    string // the server's name
}

// Check is one line of a server's check.
type Check struct {
	Title    portal.Text // "Datastore.AllocateSpace on /storage/local"
	Tone     Tone
	Sentence portal.Text // what it means and how to mend it
}

// AdminAuditPage lists the audit log.
type AdminAuditPage struct {
	Frame
	Query   string
	Filters []Filter
	Rows    []AuditRow
	Paging  Paging
	Chain   Badge // "Chain whole" or where it breaks
}

// AuditRow is one entry: who did what, from where, before → after.
type AuditRow struct {
	When    Moment
	Who     string
	What    string
	Subject string
	Href    string
	From    string // IP address
	Before  string
	After   string
}

func adminServiceHref(r AdminServiceRow) string {
	if r.Href != "" {
		return r.Href
	}
	return "/admin/services/" + r.Head.UID
}

// readOnly takes the actions out of a list of copies: staff look at a client's copies here and change nothing.
func readOnly(list BackupList) BackupList {
	rows := make([]BackupRow, len(list.Rows))
	for i, r := range list.Rows {
		r.EditNote, r.HideRemove, r.HideRestore, r.ShowProtect, r.ShowFine, r.ShowDismiss = false, true, true, false, false, false
		r.Operation = "" // its address is the client's; staff reach it by its reference
		rows[i] = r
	}
	list.Rows = rows
	return list
}

func joinLines(lines []string) string { return strings.Join(lines, "\n") }

func serverVersion(r ServerRow) portal.Text {
	if r.Version == "" {
		return ""
	}
	return portal.Verbatim("Proxmox VE " + r.Version)
}

func figureClass(t Tone) string {
	switch t {
	case ToneBad:
		return "figure-bad"
	case ToneWarn:
		return "figure-warn"
	}
	return "figure-plain"
}

func needClass(t Tone) string {
	switch t {
	case ToneBad:
		return "need-bad"
	case ToneWarn:
		return "need-warn"
	}
	return "need-info"
}

func meterClass(t Tone) string {
	switch t {
	case ToneBad:
		return "meter-bad"
	case ToneWarn:
		return "meter-warn"
	}
	return "meter-good"
}

func checkClass(t Tone) string {
	switch t {
	case ToneGood:
		return "mark-good"
	case ToneBad:
		return "mark-bad"
	case ToneWarn:
		return "mark-warn"
	}
	return "mark-info"
}

func checkIcon(t Tone) string {
	switch t {
	case ToneGood:
		return "check"
	case ToneBad:
		return "cross"
	case ToneWarn:
		return "alert"
	}
	return "info"
}

func storagePath(server, storage, action string) string {
	return "/admin/servers/" + server + "/storages/" + storage + "/" + action
}

// staffHead leads to the staff's pages of operations.
func staffHead(h ServiceHead) ServiceHead {
	h.Staff = true
	return h
}
