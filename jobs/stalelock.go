package jobs

import (
	"context"
	"fmt"
	"time"

	"stowage/pve"
)

// staleLockAfter is how long a machine has to be locked without any task of it before the lock counts as left behind,
// and how long it rests until the same lock is looked at again.
const staleLockAfter = 10 * time.Minute

// findStaleLocks looks behind the locks that have lasted: one whose machine has no running task anywhere was left by a
// task that is dead. Staff are told of it once, with the command that releases it, for a token can't.
func (e *Engine) findStaleLocks(ctx context.Context, l *link) error {
	locked, err := e.db.LongLocked(ctx, l.server.ID, e.now().Add(-staleLockAfter), 20)
	if err != nil || len(locked) == 0 {
		return err
	}
	running, err := l.client.ClusterRunning(ctx)
	if err != nil {
		return err
	}
	for _, m := range locked {
		busy := false
		for _, t := range running {
			busy = busy || t.Running && t.ID == fmt.Sprint(m.VMID)
		}
		tasks, err := l.client.Tasks(ctx, m.Node, pve.TaskFilter{Source: "all", VMID: m.VMID, Limit: 50})
		if err != nil {
			return err
		}
		last := "no task of it is known"
		for i, t := range tasks {
			busy = busy || t.Running
			if i == 0 {
				last = t.UPID.String()
				if t.Status != "" {
					last += ": " + t.Status
				}
			}
		}
		// A dump of several machines bears no machine's number.
		dumps, err := l.client.Tasks(ctx, m.Node, pve.TaskFilter{Source: "active"})
		if err != nil {
			return err
		}
		for _, t := range dumps {
			busy = busy || t.Running && (t.Type == "vzdump" && t.ID == "" || t.ID == fmt.Sprint(m.VMID))
		}
		if busy {
			last = ""
		}
		if err := e.db.SaveLockLook(ctx, m, last); err != nil {
			return err
		}
	}
	return nil
}
