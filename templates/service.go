package templates

import "stowage/portal"

// ServiceHead names the machine on every page of a service.
type ServiceHead struct {
	UID       string
	Name      string
	Addresses []string // IP addresses; none is fine
	Tab       string   // overview, backups, operations
	Status    Status
	Client    string // shown to staff only
	Snapshots bool   // there is a page of snapshots
	NoBackups bool   // quota 0 and no copies: the backups page is hidden
	Staff     bool   // links to operations lead to the staff's pages
}

// Tabs of a service.
const (
	TabOverview   = "overview"
	TabBackups    = "backups"
	TabSnapshots  = "snapshots"
	TabOperations = "operations"
)

func (h ServiceHead) path(rest string) string { return "/services/" + h.UID + rest }

// operation is the address of an operation's page.
func (h ServiceHead) operation(uid string) string {
	if h.Staff {
		return "/admin/operations/" + uid
	}
	return h.path("/operations/" + uid)
}

// Status is what the machine is doing, as last seen.
type Status struct {
	State  string      // running, stopped, busy, unknown, gone, replaced, suspended; in data-status
	Text   portal.Text // "Running", "Busy"
	Detail portal.Text // "Backing up since 03:00", "Last seen 02:09"; may be empty
}

// ServiceRow is one machine in the list of services.
type ServiceRow struct {
	Head     ServiceHead
	Client   string // shown to staff only
	Counter  Counter
	Newest   Moment // the newest good copy
	NextRun  Moment
	Schedule portal.Text // "Every night 03:00"; "" is "No schedule"
	Alert    Badge       // the one thing that needs a look: "No schedule", "Failed last night"; empty Text: nothing
	Dots     []Dot
	Href     string // "" leads to the backups page
}

// ServicesPage is the list of a client's services.
type ServicesPage struct {
	Frame
	Notices []Notice
	Rows    []ServiceRow
	Query   string // what was searched for
	Search  bool   // show the search field (many services, or a query)
	Total   int    // services without the search
	Paging  Paging
}

// ServicePage is one service at a glance.
type ServicePage struct {
	Frame
	Service    ServiceHead
	Notices    []Notice
	Protection Protection
	Counter    Counter
	Newest     Moment
	NewestNote portal.Text // "41 GiB, scheduled"
	NextRun    Run         // zero: none
	Schedule   portal.Text // "Every night 03:00"
	Hardware   []Fact      // "2 cores", "4 GiB RAM", "scsi0 32 GiB"
	Facts      []Fact      // product, server, node, zone …
	Running    []Running
	Idle       Idle
	Ledger     Ledger
	Recent     []OperationRow
	BackupNow  Act
	Acts       MachineActs
	Live       bool // connect to the event stream

	Snapshots     Counter // where Service.Snapshots says that there is a page of them
	SnapshotFacts Idle
}

// Fact is a word and its value.
type Fact struct {
	Name  portal.Text
	Value portal.Text
	Hint  portal.Text
}

func rowHref(r ServiceRow) string {
	switch {
	case r.Href != "":
		return r.Href
	case r.Head.NoBackups:
		return r.Head.path("")
	}
	return r.Head.path("/backups")
}
