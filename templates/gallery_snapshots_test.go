package templates

import (
	"testing"
	"time"

	"stowage/portal"
)

func snapHead() ServiceHead {
	h := head(TabSnapshots)
	h.Snapshots = true
	return h
}

// snapRow is a snapshot that was taken so long ago and has so much time left.
func snapRow(description string, ago, left time.Duration) SnapshotRow {
	row := SnapshotRow{
		UID: "01k8snap" + itoa(int(ago/time.Minute)), State: "there", Name: "stw-01k8snap00000000000000" + itoa(1000+int(ago/time.Minute)%9000), Description: description,
		Title: portal.Verbatim(description), When: on(ago), Expires: galleryNow.Add(left).Unix(), Until: on(-left), Left: portal.Countdown(left), Rollback: Allowed(), Remove: Allowed(), Edit: true, Actions: true,
	}
	if description == "" {
		row.Title = "Snapshot [without a description]"
	}
	return row
}

func snapshotsPage(rows ...SnapshotRow) SnapshotsPage {
	return SnapshotsPage{
		Frame: serviceFrame(portal.Say("Snapshots of %s", "h100")), Service: snapHead(), Days: 3, Backups: true, Live: true, NowMilli: galleryNow.UnixMilli(),
		Counter: Counter{Used: len(rows), Quota: 3, Of: "snapshots"}, Take: TakeSnapshot{Act: Allowed(), ShowMemory: true, Memory: true}, List: SnapshotList{Rows: rows},
		Idle: idleNothing(),
	}
}

func snapshotsGallery() []picture {
	var list []picture
	add := func(name string, page View) { list = append(list, picture{name, page}) }

	memory := snapRow("before the update of the shop and of everything that hangs on it", 49*time.Hour, 22*time.Hour+59*time.Minute+54*time.Second)
	memory.Memory, memory.Growth = true, Bytes(1300<<20)
	last := snapRow("", 71*time.Hour+20*time.Minute, 39*time.Minute+12*time.Second)
	last.LastHour, last.BackUp = true, Allowed()
	foreign := SnapshotRow{UID: "01k8foreign", State: "there", Name: "maintenance", Title: portal.Verbatim("maintenance"), When: on(200 * time.Hour), External: true,
		Remark: "It is in no quota, does not end by itself, and only your provider can change it."}
	full := snapshotsPage(snapRow("", 2*time.Hour, 70*time.Hour), memory, last, foreign)
	full.Counter = Counter{Used: 3, Quota: 3, Of: "snapshots"}
	full.Take.Act = Denied(portal.Count(3, "Your one place for a snapshot is used.", "All %d places for snapshots are used.")).With(WayOut{Label: portal.Say("Remove the oldest: %s", on(71*time.Hour).When), Href: "/x"})
	add("snapshots", full)
	add("snapshots-empty", snapshotsPage())

	running := snapshotsPage(snapRow("", 2*time.Hour, 70*time.Hour))
	running.Counter.Running = 1
	running.Take.Act = Denied(portal.Say("Your machine is busy: %s (began %s ago).", portal.KindSnapshot.Doing(), Duration(3*time.Minute))).With(WayOut{Label: "See how it goes", Href: "/x"})
	running.Running = []Running{{Operation: "01k8op", Kind: "snapshot", State: "running", Version: 3, Machine: "h100", Title: portal.Say("Taking a snapshot of %s", "h100"), Step: "Taking the snapshot", Percent: -1, HideStop: true, Note: "before the update"}}
	running.List.Rows[0].Rollback, running.List.Rows[0].Remove = running.Take.Act, running.Take.Act
	add("snapshots-running", running)

	newest := snapshotsPage(snapRow("", 2*time.Hour, 70*time.Hour), snapRow("older", 5*time.Hour, 67*time.Hour))
	newest.List.Note = "The storage of this machine can go back to the newest snapshot only. To reach an older one, remove the newer ones first."
	newest.List.Rows[1].Rollback = Denied(portal.Count(1, "The storage of this machine can go back to the newest snapshot only: remove the newer one first.", "The storage of this machine can go back to the newest snapshot only: remove the %d newer ones first.")).
		With(WayOut{Label: portal.Say("Remove %s", portal.Text("Snapshot [without a description]")), Href: "/x"})
	gone := snapRow("swept away", 30*time.Hour, 0)
	gone.State, gone.Expires, gone.Actions, gone.Edit = "gone", 0, false, false
	gone.Remark = portal.Say("It is not on the machine any more since %s. It was not removed by the portal; our team has been told.", on(time.Hour).When)
	removing := snapRow("", 71*time.Hour, 0)
	removing.State, removing.Actions, removing.Edit = "removing", false, false
	newest.List.Rows = append(newest.List.Rows, gone, removing)
	newest.Recent = []OperationRow{{UID: "01k8op", Kind: "snapshot", State: "failed", Title: "Snapshot [operation]", Sentence: "Your host kept the machine locked.", When: on(time.Hour), Who: portal.Verbatim("ada@demo.test"), Reference: "K7Q-42M"}}
	add("snapshots-newest", newest)

	cannot := snapshotsPage()
	cannot.Take = TakeSnapshot{Act: Denied(portal.Say("This machine can't take snapshots: its disk %s is a plain file, which has no room for them. Backups work.", "scsi1")).With(WayOut{Label: "Back up instead", Href: "/x"})}
	cannot.List.Empty = "This machine can't take snapshots. Backups work."
	add("snapshots-cannot", cannot)

	wrong := snapshotsPage(snapRow("before the update", time.Hour, 71*time.Hour))
	wrong.Live = false
	wrong.Take.Description, wrong.Take.Error = "x", portal.Say("A description has at most %d characters; this one has %d.", 200, 201)
	wrong.List.Rows[0].Wrong = portal.Say("A description has at most %d characters; this one has %d.", 200, 201)
	wrong.Refusal = &Refusal{Sentence: wrong.Take.Error, Ways: []WayOut{{Label: "Back to the snapshots", Href: "/x"}}}
	add("snapshots-wrong", wrong)

	lost := []portal.Text{portal.Say("Everything that was changed on the machine since (%s).", Duration(2*time.Hour)), "What runs on it now: it is interrupted."}
	stays := []portal.Text{"Your snapshots, this one included.", portal.Count(9, "Your backup.", "Your %d backups.")}
	add("rollback", RollbackPage{Frame: serviceFrame("Roll back"), Service: snapHead(), Snapshot: "x", Title: portal.Verbatim("before the update"), When: on(2 * time.Hour), Lost: lost, Stays: stays, Plan: "off",
		Sentence: "The machine is switched off and put back to the snapshot.", StartText: "Start the machine afterwards", Start: true, Rollback: Allowed()})
	add("rollback-lost", RollbackPage{Frame: serviceFrame("Roll back"), Service: snapHead(), Snapshot: "x", Title: "Snapshot [without a description]", When: on(2 * time.Hour), Lost: lost, Stays: stays, Plan: "lost",
		Warning:   "The hardware of this machine, such as CPU or memory, has changed since the snapshot. Its disks are put back, but what was in its memory is lost: the machine starts anew.",
		Changes:   []Fact{{Name: "Memory", Value: portal.Say("%s → %s", portal.Say("%d MB", 2048), portal.Say("%d MB", 4096))}, {Name: "CPU cores", Value: portal.Say("%s → %s", portal.Say("%d", 1), portal.Say("%d", 2))}},
		StartText: "Start the machine afterwards", Start: true, Rollback: Allowed()})
	add("rollback-refused", RollbackPage{Frame: serviceFrame("Roll back"), Service: snapHead(), Snapshot: "x", Title: "Snapshot [without a description]", When: on(2 * time.Hour), Lost: lost, Stays: stays,
		Rollback: Denied("The network of this machine has changed since the snapshot, and the snapshot would start it in the old one.").With(WayOut{Label: "Restore a backup instead", Href: "/x"})})
	add("snapshot-delete", RemoveSnapshotPage{Frame: serviceFrame("Remove a snapshot"), Service: snapHead(), Snapshot: "x", Title: portal.Verbatim("before the update"), When: on(2 * time.Hour), Until: on(-70 * time.Hour),
		Lost: []portal.Text{portal.Say("The way back to %s. It can't be brought back.", on(2*time.Hour).When)}, Stays: []portal.Text{"The machine itself, with everything on it.", "Your other snapshots."}, Remove: Allowed()})
	return list
}

// TestSnapshotMarks holds the marks that scripts and people with other tools rely on.
func TestSnapshotMarks(t *testing.T) {
	t.Parallel()
	row := snapRow("before the update", time.Hour, 23*time.Hour+59*time.Minute+54*time.Second)
	doc := parse(t, render(t, snapshotsPage(row).View()))
	counters := find(doc, "", "data-count")
	if len(counters) != 1 || attr(counters[0], "data-count") != "snapshots" || text(counters[0]) != "1/3" {
		t.Errorf("counter %v", counters)
	}
	times := find(doc, "time", "data-expires")
	if len(times) != 1 || attr(times[0], "data-expires") != i64toa(row.Expires) || text(times[0]) != "0 days 23:59:54" || attr(times[0], "aria-hidden") != "true" {
		t.Errorf("countdown: %q", text(times[0]))
	}
	if rows := find(doc, "", "data-snapshot"); len(rows) != 1 || attr(rows[0], "data-snapshot") != row.UID {
		t.Errorf("rows %v", rows)
	}
}
