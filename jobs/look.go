package jobs

import (
	"fmt"
	"slices"
	"time"

	"stowage/portal"
	"stowage/pve"
	"stowage/store"
)

// logLimit is how many lines of a task's log are read: vzdump writes one for each percent or few seconds.
const logLimit = 20000

// lookTask observes the operation's task. It gives no task where the row names none.
func (t *turn) lookTask() (portal.TaskSight, bool, error) {
	if t.op.UPID == "" {
		return portal.TaskNone, false, nil
	}
	upid, err := pve.ParseUPID(t.op.UPID)
	if err != nil {
		t.failure = err.Error()
		return portal.TaskLost, false, nil //nolint:nilerr // what has no readable name can't be asked about: it counts as lost
	}
	status, err := t.link.client.TaskStatus(t, upid)
	switch pve.ClassOf(err) {
	case "":
		if err != nil {
			return portal.TaskNone, false, err
		}
	case pve.Gone:
		t.failure = "Proxmox no longer knows the task"
		return portal.TaskLost, false, nil
	case pve.Unreachable:
		t.failure = err.Error()
		return portal.TaskUnreachable, false, nil
	default:
		return portal.TaskNone, false, err
	}
	lines, _, err := t.link.client.TaskLog(t, upid, 0, logLimit)
	if err != nil {
		if pve.ClassOf(err) == pve.Unreachable {
			t.failure = err.Error()
			return portal.TaskUnreachable, false, nil
		}
		return portal.TaskNone, false, err
	}
	grew := len(lines) > t.op.LogLines
	t.op.LogLines, t.taskLog = len(lines), lines
	t.parsed = pve.ParseVzdumpLog(lines)
	if status.Running {
		return portal.TaskRunning, grew, nil
	}
	t.taskExit = status.Exit
	if status.OK() {
		return portal.TaskEnded, grew, nil
	}
	t.failure = status.Exit
	if t.parsed.ErrorText != "" {
		t.failure += ": " + t.parsed.ErrorText
	}
	if t.op.Kind.OnMachine() {
		if class, reason := pve.Meaning(status.Exit); class == pve.Refused && (reason == pve.Locked || reason == pve.LockFile) {
			return portal.TaskRefused, grew, nil
		}
	} else if _, refused := pve.Refusal(status.Exit, t.parsed); refused {
		return portal.TaskRefused, grew, nil
	}
	return portal.TaskFailed, grew, nil
}

// place gives the storage that archives of the machine on this node go to.
func (t *turn) place(node, storage string) (store.StorageRow, error) {
	row, err := t.e.db.StorageAt(t, t.op.ServerID, node, storage)
	if portal.CodeOf(err) != portal.CodeNotFound {
		return row, err
	}
	if err := t.e.syncServer(t, t.link); err != nil {
		return row, err
	}
	return t.e.db.StorageAt(t, t.op.ServerID, node, storage)
}

// list reads the archives of the operation's machine on a storage, keeps what the listing proves, and reads the
// service's copies anew. atNode is the node that is asked.
func (t *turn) list(row store.StorageRow, atNode string) (seen store.Seen, archives []store.Archive, err error) {
	l, err := t.e.listing(t, t.link, row, atNode, t.sit.Service.VMID)
	if err != nil {
		return seen, nil, err
	}
	if seen, err = t.e.db.SaveListing(t, l); err != nil {
		return seen, nil, err
	}
	t.sit.Backups, err = t.e.db.Backups(t, t.op.ServiceID)
	return seen, l.Archives, err
}

// listAll lists every place that has copies of the service: the storage that new ones go to, and where a machine
// that moved has left its older ones. elsewhere says why one of those doesn't vouch for its list, its host being
// down perhaps: nothing may be removed then, but a backup that has a free place needs nothing from there.
func (t *turn) listAll(row store.StorageRow, atNode string) (seen store.Seen, elsewhere string, err error) {
	if seen, _, err = t.list(row, atNode); err != nil {
		return seen, "", err
	}
	listed := map[string]bool{row.Place(): true}
	for _, b := range t.sit.Backups {
		place := b.Node + "/" + b.Storage
		if listed[place] || !b.Complete() {
			continue
		}
		listed[place] = true
		other, err := t.place(b.Node, b.Storage)
		if err != nil {
			return seen, "", err
		}
		there, _, err := t.list(other, t.askNode(b))
		switch {
		case pve.ClassOf(err) != "":
			elsewhere = place + ": " + err.Error()
		case err != nil:
			return seen, "", err
		case !there.Authoritative:
			elsewhere = place + ": " + there.Doubt
		}
	}
	return seen, elsewhere, nil
}

// asMine gives the copies as this operation sees them: what it alone names is free to it.
func (t *turn) asMine() []portal.Copy { return portal.Unpin(t.sit.Copies(), t.op.UID) }

// copyRow gives the row of a copy by id among those that weren't removed.
func (t *turn) copyRow(id int64) (portal.Backup, bool) {
	i := slices.IndexFunc(t.sit.Backups, func(b portal.Backup) bool { return b.ID == id })
	if i < 0 {
		return portal.Backup{}, false
	}
	return t.sit.Backups[i], true
}

// lookRemoval observes whether an archive is gone: not in a listing that the storage vouches for.
func (t *turn) lookRemoval(b portal.Backup) (gone, clean bool, err error) {
	row, err := t.place(b.Node, b.Storage)
	if err != nil {
		return false, false, err
	}
	seen, archives, err := t.list(row, t.askNode(b))
	if err != nil {
		return false, false, err
	}
	if !seen.Authoritative {
		return false, false, nil
	}
	if slices.ContainsFunc(archives, func(a store.Archive) bool { return a.Volid == b.Volid }) {
		return false, true, nil
	}
	if len(archives) == 0 && t.op.CleanLooks == 0 {
		t.op.CleanLooks++ // nothing at all: nothing else bears this listing out, so look once more
		return false, false, nil
	}
	return true, true, nil
}

// askNode is the node to ask about an archive: its own, or for a shared storage the machine's.
func (t *turn) askNode(b portal.Backup) string {
	if b.Node != "" {
		return b.Node
	}
	return t.sit.Service.Node
}

// guard tells why nothing may be deleted by itself now, or "".
func (t *turn) guard(row store.StorageRow) (string, error) {
	server, err := t.e.db.Server(t, t.op.ServerID)
	if err != nil {
		return "", err
	}
	if skew, known := t.link.client.Skew(); known {
		server.Skew = skew
		if err := t.e.db.SaveSkew(t, server.ID, skew); err != nil {
			return "", err
		}
	}
	if !server.ClockTrusted() {
		return fmt.Sprintf("the server's clock and ours differ by %s", server.Skew), nil
	}
	pulse, err := t.e.db.Pulse(t)
	if err != nil {
		return "", err
	}
	if pulse.Recovering {
		return "recovery: the database may be an older copy, storages are listed again first", nil
	}
	if row.Doubt != "" {
		return "storage in doubt: " + row.Doubt, nil
	}
	if !row.BrakeSince.IsZero() {
		return "the brake is on for storage " + row.Place(), nil
	}
	return t.e.brake(t, row)
}

// lockWait is how long vzdump may wait for the host's own lock: what is left of the time to start.
func (t *turn) lockWait() time.Duration {
	left := t.op.StartBy.Sub(t.now).Truncate(time.Minute)
	return min(max(left, time.Minute), 24*time.Hour)
}
