package portal

// The kinds of operation on snapshots.
const (
	KindSnapshot       Kind = "snapshot"        // take a snapshot
	KindSnapshotDelete Kind = "snapshot_delete" // remove one: a person said so, or its time is over
	KindRollback       Kind = "rollback"        // put the machine back to a snapshot, and re-apply the package
)

// Work is what an operation on a machine keeps beside the columns that all have.
type Work struct {
	Start  bool `json:"start,omitempty"`  // start the machine at the end
	Memory bool `json:"memory,omitempty"` // of a snapshot: with the memory's content; of a rollback: back into it
}
