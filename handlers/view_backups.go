package handlers

import (
	"slices"
	"time"

	"stowage/portal"
	"stowage/templates"
)

// backupsPage is the heart of the portal: schedule and copies of one service.
func (v *shown) backupsPage(f templates.Frame) templates.BackupsPage {
	f.Crumbs, f.Zone = v.crumbs(templates.Crumb{Text: "Backups"}), v.Schedule.Zone
	return templates.BackupsPage{
		Frame: f, Service: v.head(templates.TabBackups), Notices: v.notices(), Protection: v.protection(), Counter: v.counterView(),
		BackupNow: v.backupNow(), Running: v.runningCards(), Idle: v.idleBackups(), List: v.list(v.path("backups")), Schedule: v.schedule(), Ledger: v.ledger(), Live: true,
	}
}

// backupNow is the button of a manual backup. With all places used it stays as long as any copy may go: what it
// leads to is the choice of that copy.
func (v *shown) backupNow() templates.BackupNow {
	if why := v.onlyLooks(); why != "" {
		return templates.BackupNow{Act: templates.Denied(why)}
	}
	_, err := portal.ManualBackup(v.login.Actor(), "", "")(v.Situation)
	refusal, ok := asRefusal(err)
	if ok && refusal.Code == portal.CodeQuota && slices.ContainsFunc(refusal.WayOuts, func(w portal.WayOut) bool { return w.Action == "replace_oldest" }) {
		return templates.BackupNow{Act: templates.Allowed(), Warning: portal.Sentences(refusal.Sentence, "You will be asked which one goes afterwards.")}
	}
	b := templates.BackupNow{Act: v.act(err)}
	if err != nil || v.Service.Status == "stopped" {
		return b
	}
	switch v.Service.ModeIn(v.Product) {
	case "stop":
		b.Warning = "Your machine shuts down briefly when the backup begins."
	case "suspend":
		b.Warning = "Your machine stands still briefly when the backup begins."
	}
	return b
}

// list is the list of copies, newest first, on the page at address. A copy that is being made stands above it, with its progress.
func (v *shown) list(address string) templates.BackupList {
	var next string
	if e := v.coming(); e.Victim != nil {
		next = e.Victim.UID
	}
	shownAbove := map[int64]bool{}
	for _, o := range v.Operations {
		if o.Kind == portal.KindBackup {
			shownAbove[o.BackupID] = true
		}
	}
	var list templates.BackupList
	listed := slices.DeleteFunc(slices.Clone(v.Backups), func(b portal.Backup) bool {
		return b.Class == portal.ClassExternal || b.Class == portal.ClassRunning && shownAbove[b.ID]
	})
	first := (v.listPage(len(listed)) - 1) * copiesPerPage
	for _, b := range listed[first:min(first+copiesPerPage, len(listed))] {
		row := v.row(b)
		row.Next, row.Page = next != "" && b.UID == next, v.listPage(len(listed))
		list.Rows = append(list.Rows, row)
	}
	list.Page = v.listPage(len(listed))
	list.Paging = numbered(address, "", list.Page, copiesPerPage, len(list.Rows), len(listed))
	for _, way := range []*string{&list.Paging.Prev, &list.Paging.Next} {
		if *way != "" {
			*way += "#backups"
		}
	}
	if v.Service.QuotaIn(v.Product) == 0 {
		list.Empty = "Your package includes no backups."
	}
	return list
}

// copiesPerPage is how many copies are listed at once.
const copiesPerPage = 30

// listPage is the page of the list that is shown: the last where fewer are left than were asked for.
func (v *shown) listPage(copies int) int {
	return max(1, min(v.page, (copies+copiesPerPage-1)/copiesPerPage))
}

// row is one copy.
func (v *shown) row(b portal.Backup) templates.BackupRow {
	act := v.onlyLooks() == ""
	row := templates.BackupRow{
		UID: b.UID, State: string(b.Class), Origin: string(b.Origin), When: v.ago(startOf(b)), Note: b.Note, Mode: b.Mode,
		Inside: diskWords(b.DisksIn, false), Outside: diskWords(b.DisksOut, true),
		Badges: badges(b), Remark: v.remark(b), Protected: b.Protected, EditNote: act && b.Complete() && !v.off(),
		Remove:     v.may(portal.RemoveBackup(v.login.Actor(), b.UID)),
		HideRemove: b.Volid == "" || b.Class == portal.ClassMissing,
		Restore:    v.mayRestore(b), HideRestore: !b.Complete(),
		Protect: v.may(portal.ProtectBackup(v.login.Actor(), b.UID, !b.Protected)),
	}
	if b.Size > 0 {
		row.Size = templates.Bytes(b.Size)
	}
	row.Operation = b.MadeBy
	if took := b.EndedAt.Sub(b.StartedAt); !b.EndedAt.IsZero() && !b.StartedAt.IsZero() && took >= 0 {
		row.Took = templates.Duration(took)
	}
	row.ShowProtect = act && b.Complete() && (v.Product.Protect > 0 || b.Protected)
	row.ShowFine = act && !v.off() && b.Class == portal.ClassSuspect && b.Verification != "failed"
	row.ShowDismiss = act && !v.off() && dismissable(b)
	if row.Protected && row.Remove.WayOut != nil {
		row.Remove.WayOut = nil // the row has that button already
	}
	return row
}

// startOf gives the instant by which a copy is known.
func startOf(b portal.Backup) time.Time {
	if b.StartedAt.IsZero() {
		return b.CTime
	}
	return b.StartedAt
}

// diskWords names disks with their sizes; out says that they are left out of backups.
func diskWords(disks []portal.Disk, out bool) []portal.Text {
	var list []portal.Text
	for _, d := range disks {
		text := portal.Verbatim(d.Key)
		if d.Size > 0 {
			text = portal.Say("%s %s", d.Key, portal.Size(d.Size))
		}
		if out {
			text = portal.Say("%s (left out of backups)", text)
		}
		list = append(list, text)
	}
	return list
}

// badges are the plain words about a copy.
func badges(b portal.Backup) []templates.Badge {
	var list []templates.Badge
	switch b.Verification {
	case "ok":
		list = append(list, templates.Badge{Text: "Verified", Tone: templates.ToneGood, Title: "The backup server has read the whole copy again and found it whole."})
	case "failed":
		list = append(list, templates.Badge{Text: "Verification failed", Tone: templates.ToneBad, Title: "The backup server has read the copy again and found it damaged."})
	}
	if b.Encrypted != "" {
		list = append(list, templates.Badge{Text: "Encrypted", Tone: templates.ToneInfo})
	}
	if !b.Complete() || len(b.DisksIn) == 0 {
		return list
	}
	if b.Consistent {
		return append(list, templates.Badge{Text: "Consistent", Tone: templates.ToneGood, Title: "The machine's file systems were at rest when the copy began."})
	}
	return append(list, templates.Badge{Text: "Like after a power cut", Tone: templates.ToneNeutral, Title: "The machine was writing when the copy began. Its file systems mend that by themselves, as after a power cut."})
}

// remark is one more sentence about a copy.
func (v *shown) remark(b portal.Backup) portal.Text {
	switch {
	case b.Class == portal.ClassMissing:
		return portal.Say("It is not on the storage any more since %s. It was not removed by the portal; our team has been told.", v.since(b.MissingSince))
	case b.Removing:
		return "It is being removed."
	case !b.MissingSince.IsZero() && b.Complete():
		return "The last look at the storage did not show it; we are looking again."
	case b.Origin == portal.OriginBeforeRestore && !b.KeepUntil.IsZero():
		return portal.Say("Kept until %s, outside your places.", v.at(b.KeepUntil).When)
	case b.Class == portal.ClassRunning:
		return "It is being made."
	case b.Reference != "":
		return portal.Sentences(b.Reason, portal.Say("The reference is %s.", b.Reference))
	}
	return b.Reason
}

// runningCards are the operations under way or waiting, with their progress.
func (v *shown) runningCards() []templates.Running {
	var list []templates.Running
	for _, o := range v.Operations {
		if !v.covered(o) {
			list = append(list, v.card(o))
		}
	}
	slices.SortStableFunc(list, func(a, b templates.Running) int { return cardOrder(a.State) - cardOrder(b.State) })
	return list
}

func cardOrder(state string) int {
	return map[string]int{"running": 0, "held": 1, "queued": 2}[state]
}

// card is one operation under way or waiting.
func (v *shown) card(o portal.Operation) templates.Running {
	r := templates.Running{
		Operation: o.UID, Kind: string(o.Kind), State: string(o.State), Version: o.Version, Machine: v.Service.Name, Note: o.Note,
		Title: v.cardTitle(o), Since: v.ago(o.StartedAt), Percent: -1, Step: v.stepWords(o), Cancel: v.mayCancel(o), HideStop: o.Kind != portal.KindBackup && o.State != portal.StateQueued,
	}
	if b, ok := v.backup(o.BackupID); ok && o.Kind == portal.KindBackup && b.Class == portal.ClassRunning {
		r.Backup, r.Origin = b.UID, string(b.Origin)
	}
	if o.State == portal.StateRunning {
		r.Stale = v.stale(o)
	}
	if o.Kind == portal.KindRestore {
		return v.restoreCard(o, r)
	}
	if o.State != portal.StateRunning || r.Stale != "" {
		return r
	}
	if o.Step == portal.StepDump && o.WaitsFor == "" && (o.TotalBytes > 0 || o.Percent > 0) {
		r.Percent = o.Percent
		r.Bytes = templates.OfBytes(o.DoneBytes, o.TotalBytes)
		r.Speed = templates.Speed(o.Rate)
		if left := o.TotalBytes - o.DoneBytes; o.Rate > 0 && left > 0 {
			r.Left = timeLeft(time.Duration(left/o.Rate) * time.Second)
		}
	}
	return r
}

// timeLeft says about how long something will take.
func timeLeft(d time.Duration) portal.Text {
	switch {
	case d < time.Minute:
		return "less than a minute left"
	case d < 2*time.Hour:
		d = d.Round(time.Minute)
	default:
		d = d.Round(time.Hour)
	}
	return portal.Say("about %s left", portal.Duration(d))
}

// stale is the sentence that stands instead of figures where nobody can know them now.
func (v *shown) stale(o portal.Operation) portal.Text {
	since := v.unreachable()
	switch {
	case !since.IsZero():
	case o.WaitsFor == "we can't reach your host":
		since = o.ProgressAt
	case v.standstill() != nil && !v.Pulse.TickAt.IsZero():
		if o.Kind.OnMachine() {
			return portal.Say("The portal has not looked at your host since %s. What has begun goes on there without it.", v.since(v.Pulse.TickAt))
		}
		return portal.Say("The portal has not looked at your host since %s. The backup goes on there without it.", v.since(v.Pulse.TickAt))
	default:
		return ""
	}
	if o.Kind.OnMachine() {
		return portal.Say("We can't reach your host since %s. What has begun goes on there without us.", v.since(since))
	}
	return portal.Say("We can't reach your host since %s. A backup that has begun goes on there without us.", v.since(since))
}

func (v *shown) cardTitle(o portal.Operation) portal.Text {
	b, known := v.backup(o.BackupID)
	switch {
	case snapshotWork(o.Kind):
		return v.snapshotCard(o)
	case o.Kind == portal.KindDelete && known:
		return portal.Say("Removing the copy of %s", v.at(startOf(b)).When)
	case o.Kind == portal.KindDelete:
		return "Removing a copy"
	case o.Kind == portal.KindProtect && o.Protect:
		return "Protecting a copy"
	case o.Kind == portal.KindProtect:
		return "Ending the protection of a copy"
	case o.Kind == portal.KindRestore:
		return v.restoreTitle(o)
	case deskWork(o.Kind) && o.State == portal.StateQueued:
		return machineTitle(o)
	case deskWork(o.Kind):
		return machineCard(o, v.Service.Name)
	case o.State == portal.StateQueued && o.Scheduled():
		return "The scheduled backup waits"
	case o.State == portal.StateQueued:
		return "A backup waits"
	}
	return portal.Say("Backing up %s", v.Service.Name)
}

// stepWords say what an operation does now, or what it waits for.
func (v *shown) stepWords(o portal.Operation) portal.Text {
	switch {
	case o.State == portal.StateHeld:
		return o.Reason
	case o.State == portal.StateQueued:
		return v.waits(o)
	case !o.CancelAt.IsZero():
		return "Being cancelled"
	case o.WaitsFor != "":
		return portal.Say("Waiting: %s", o.WaitsFor)
	}
	if snapshotWork(o.Kind) && snapshotDoing(o.Step) != "" {
		return snapshotDoing(o.Step)
	}
	if words, ok := restoreStepWords[o.Step]; ok && o.Kind == portal.KindRestore {
		return words
	}
	if deskWork(o.Kind) {
		return machineStepTitle(o.Step)
	}
	switch o.Step {
	case portal.StepPreflight:
		return "Looking at the machine and its storage"
	case portal.StepEvict:
		if o.Timing == portal.TimingAfter {
			return "The copy is made; removing the one that was to go"
		}
		return "Making room: removing the oldest copy"
	case portal.StepDump:
		return "Writing the copy"
	case portal.StepVerify:
		return "Checking the copy"
	}
	return "Working"
}

// waits says where an operation stands in the line and what it waits for.
func (v *shown) waits(o portal.Operation) portal.Text {
	place, inLine := v.places[o.ID]
	why := place.why
	if why == "" {
		why = o.WaitsFor
	}
	var text portal.Text
	switch {
	case o.RunAfter.After(v.Now) && o.Attempt > 0:
		text = portal.Say("Tried again at %s", v.since(o.RunAfter))
	case o.RunAfter.After(v.Now) && why == "":
		return portal.Say("Begins at %s.", v.since(o.RunAfter))
	case o.RunAfter.After(v.Now):
		text = portal.Say("Looked at again at %s", v.since(o.RunAfter))
	case inLine && place.position > 0 && o.Kind == portal.KindBackup:
		text = templates.InLine(place.position)
	default:
		text = "Waiting"
	}
	if why != "" {
		text = portal.Say("%s: %s", text, why)
	}
	return portal.Say("%s. You can close this page.", text)
}

// mayCancel tells whether a person may end an operation now: what the store would answer.
func (v *shown) mayCancel(o portal.Operation) templates.Act {
	made := o.State == portal.StateRunning && (o.Step == portal.StepVerify || o.Step == portal.StepEvict && o.Timing == portal.TimingAfter)
	switch {
	case v.onlyLooks() != "":
		return templates.Denied(v.onlyLooks())
	case v.off():
		return templates.Denied("This service is suspended: you can look at everything, but not change it.")
	case o.State == portal.StateHeld:
		return templates.Denied("Our team is looking at this operation. It can't be cancelled now.")
	case !o.CancelAt.IsZero():
		return templates.Denied("It is being cancelled already.")
	case o.State == portal.StateRunning && o.Kind != portal.KindBackup:
		return templates.Denied("This is nearly done and can't be stopped any more.")
	case made:
		return templates.Denied("The backup is made already; it is only being checked.")
	}
	return templates.Allowed()
}

// backup gives one of the service's copies by id.
func (v *shown) backup(id int64) (portal.Backup, bool) {
	i := slices.IndexFunc(v.Backups, func(b portal.Backup) bool { return b.ID == id })
	if id == 0 || i < 0 {
		return portal.Backup{}, false
	}
	return v.Backups[i], true
}

// named gives one of the service's copies by uid.
func (v *shown) named(uid string) (portal.Backup, error) {
	i := slices.IndexFunc(v.Backups, func(b portal.Backup) bool { return b.UID == uid && b.Class != portal.ClassExternal })
	if i < 0 {
		return portal.Backup{}, portal.NotFound()
	}
	return v.Backups[i], nil
}

// deletePage asks before a copy is removed.
func (v *shown) deletePage(f templates.Frame, b portal.Backup) templates.DeletePage {
	f.Crumbs, f.Zone = v.crumbs(templates.Crumb{Text: "Backups", Href: v.path("backups")}, templates.Crumb{Text: "Remove"}), v.Schedule.Zone
	p := templates.DeletePage{
		Frame: f, Service: v.head(templates.TabBackups), Backup: b.UID, When: v.ago(startOf(b)), Note: b.Note,
		Warning: portal.RemovalWarning(v.copies, b.UID), Remove: v.may(portal.RemoveBackup(v.login.Actor(), b.UID)),
	}
	if b.Size > 0 {
		p.Size = templates.Bytes(b.Size)
	}
	p.Lost = []portal.Text{portal.Say("The state of %s of %s. It can't be brought back.", v.Service.Name, p.When.When)}
	p.Stays = []portal.Text{"The machine itself, with everything on it."}
	others := 0
	for _, c := range v.copies {
		if c.UID != b.UID && (c.Class == portal.ClassGood || c.Class == portal.ClassSuspect) && c.Origin != portal.OriginExternal {
			others++
		}
	}
	if others > 0 {
		p.Stays = append(p.Stays, portal.Count(others, "Your other backup.", "Your other %d backups."))
	}
	if v.Schedule.Enabled() {
		p.Stays = append(p.Stays, portal.Say("The schedule: %s.", v.Schedule.Describe()))
	}
	return p
}

// choosePage lets the client choose which copy goes after a good manual backup.
func (v *shown) choosePage(f templates.Frame, note string) templates.ChoosePage {
	f.Crumbs, f.Zone = v.crumbs(templates.Crumb{Text: "Backups", Href: v.path("backups")}, templates.Crumb{Text: "Choose a copy"}), v.Schedule.Zone
	p := templates.ChoosePage{Frame: f, Service: v.head(templates.TabBackups), Note: note, Act: v.backupNow().Act}
	room := portal.ManualRoom(v.copies, v.Service.QuotaIn(v.Product), 0)
	if room.Offer != nil {
		p.Oldest = room.Offer.UID
	}
	for _, b := range v.Backups {
		if !b.Complete() || b.Origin == portal.OriginBeforeRestore || b.Origin == portal.OriginExternal {
			continue
		}
		p.Rows = append(p.Rows, templates.Choice{
			UID: b.UID, When: v.ago(startOf(b)), Size: templates.Bytes(b.Size), Note: b.Note, Origin: string(b.Origin),
			WhyNot: v.may(portal.RemoveBackup(v.login.Actor(), b.UID)).WhyNot,
		})
	}
	if room.Allowed && p.Act.Can {
		p.Act = templates.Denied("A place is free: no copy has to go for a new backup.").With(v.backToBackups())
	}
	return p
}
