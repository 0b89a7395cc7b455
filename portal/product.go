package portal

import (
	"slices"
	"time"
)

// Product is what is sold: quotas, storage and the policy by which copies are made and removed. Changing a
// product changes no machine.
type Product struct {
	ID           int64
	UID          string
	Name         string
	Quota        int    // complete copies kept; 0 = no backups
	Storage      string // where archives go
	Mode         string // snapshot, suspend, stop
	ModeChoice   bool   // a service may have its own
	Compress     string // 0, gzip, lzo, zstd
	BWLimit      int64  // KiB/s; 0 = the host's own; needs Sys.Modify on /
	Fleecing     string // storage of the fleecing image; "" = none
	Policy       Policy
	Spread       time.Duration // scheduled backups start up to this long after due, never before
	StartWindow  time.Duration // how long after due a backup may still start
	Protect      int           // copies that a client may protect; Proxmox allows 5 per guest at most
	SafetyCopy   bool          // the present state is saved before a restore
	Spec         Spec          // the machine that is sold
	Snapshots    int           // snapshots at a time; 0 = none
	SnapshotDays int           // days of 24 hours that one lives
	SnapMemory   bool          // snapshots of a running machine may hold its memory
}

// ProtectLimit is what Proxmox allows per guest without Datastore.Allocate (pve/facts: Backups).
const ProtectLimit = 5

// Validate gives the first thing that is wrong with the product.
func (p Product) Validate() error {
	if _, err := CleanName("name", p.Name); err != nil {
		return err
	}
	switch {
	case p.Quota < 0 || p.Quota > 1000:
		return Invalid("backups", "The backup quota is a number from 0 to 1000.")
	case p.Quota > 0 && p.Storage == "":
		return Invalid("backup-storage", "A product with backups needs a backup storage.")
	case !slices.Contains([]string{"snapshot", "suspend", "stop"}, p.Mode):
		return Invalid("mode", "The backup mode is snapshot, suspend or stop.")
	case !slices.Contains([]string{"0", "gzip", "lzo", "zstd"}, p.Compress):
		return Invalid("compress", "The compression is 0, gzip, lzo or zstd.")
	case p.BWLimit < 0:
		return Invalid("bwlimit", "The bandwidth limit is a number of KiB/s, or 0 for the host's own.")
	case p.Policy.Eviction != EvictBefore && p.Policy.Eviction != EvictAfter:
		return Invalid("eviction", "The eviction is before or after.")
	case p.Policy.LastCopy != LastOverlap && p.Policy.LastCopy != LastHold:
		return Invalid("last-copy", "What happens to the last copy is overlap or hold.")
	case p.Spread < 0 || p.Spread > 12*time.Hour:
		return Invalid("spread", "The spread is 0 to 720 minutes.")
	case p.StartWindow < time.Hour || p.StartWindow > 24*time.Hour:
		return Invalid("catch-up", "The catch-up window is 1 to 24 hours.")
	case p.Protect < 0 || p.Protect > ProtectLimit:
		return Invalid("protect", "Clients may protect 0 to %d copies; Proxmox allows no more.", ProtectLimit)
	case p.Snapshots < 0 || p.Snapshots > 100:
		return Invalid("snapshots", "The snapshot quota is a number from 0 to 100.")
	case p.SnapshotDays < 1 || p.SnapshotDays > 10:
		return Invalid("snapshot-days", "Snapshots live 1 to 10 days.")
	}
	return p.Spec.Validate(false)
}

// NewProduct gives the settings that hold where nothing is said.
func NewProduct(name string) Product {
	return Product{
		Name: name, Mode: "snapshot", Compress: "zstd",
		Policy:      Policy{Eviction: EvictBefore, LastCopy: LastOverlap},
		StartWindow: 6 * time.Hour, SafetyCopy: true, SnapshotDays: 1, SnapMemory: true,
	}
}
