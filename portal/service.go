package portal

import "time"

// ServiceState is what a service is to the business, apart from what its machine does.
type ServiceState string

// The states of a service.
const (
	ServiceActive          ServiceState = "active"
	ServiceSuspended       ServiceState = "suspended" // the client may look, not act; slots are skipped, copies kept
	ServiceTerminating     ServiceState = "terminating"
	ServiceTerminated      ServiceState = "terminated"
	ServiceMachineGone     ServiceState = "machine_gone"     // no machine has its vmid any more
	ServiceMachineReplaced ServiceState = "machine_replaced" // another machine has its vmid
)

// Service is one machine of one client on one server: product, vmid and the machine's identity, and how the
// machine was last seen.
type Service struct {
	ID        int64
	UID       string
	ClientID  int64
	ProductID int64
	ServerID  int64
	VMID      int
	Name      string
	Brand     string
	State     ServiceState
	Quota     *int   // nil = the product's
	Mode      string // "" = the product's
	Own       Spec   // what is this machine's alone, and what it has in place of the product's
	Identity  Identity

	Node      string
	Status    string // Proxmox's word: running, stopped, prelaunch, paused, unknown
	Lock      string // Proxmox's word: backup, snapshot, rollback, …
	LockSince time.Time
	// LockStaleAt is since when no task stands behind the lock any more, zero where one does or that isn't known; LockTask
	// is the last one, exact, for staff.
	LockStaleAt time.Time
	LockTask    string
	Uptime      time.Duration
	Hardware    Hardware
	Addresses   []string // where it can be reached
	SeenAt      time.Time
	ConfigAt    time.Time
}

// QuotaIn gives the number of copies the service may keep.
func (s Service) QuotaIn(p Product) int {
	if s.Quota != nil {
		return *s.Quota
	}
	return p.Quota
}

// ModeIn gives the backup mode that holds for the service.
func (s Service) ModeIn(p Product) string {
	if s.Mode != "" && p.ModeChoice {
		return s.Mode
	}
	return p.Mode
}

// Pause is a stop of automatic work for a while: over a server, node, storage, product or service.
type Pause struct {
	ID       int64
	UID      string
	Scope    string
	ServerID int64
	Target   string
	Reason   string
	StartsAt time.Time
	EndsAt   time.Time
}

// Word says the state in the middle of a sentence.
func (s ServiceState) Word() Text {
	words := map[ServiceState]Text{
		ServiceActive: "active [service]", ServiceSuspended: "suspended [service]", ServiceTerminating: "being closed [service]", ServiceTerminated: "closed [service]",
	}
	if w, ok := words[s]; ok {
		return w
	}
	return Verbatim(string(s))
}
