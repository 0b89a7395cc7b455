package handlers

import (
	"strings"
	"time"

	"stowage/portal"
	"stowage/templates"
)

// staleTick is how old the scheduler's last sign of life may be before pages say so.
const staleTick = 2 * time.Minute

// head names the service on its pages.
func (v *shown) head(tab string) templates.ServiceHead {
	return templates.ServiceHead{UID: v.Service.UID, Name: v.Service.Name, Tab: tab, Addresses: v.Service.Addresses, Status: v.status(), NoBackups: v.counter.Hidden, Snapshots: !v.snaps.Hidden}
}

// crumbs are the way to a page of the service; the last step is where one is.
func (v *shown) crumbs(further ...templates.Crumb) []templates.Crumb {
	list := []templates.Crumb{{Text: "Services", Href: "/services"}, {Text: portal.Verbatim(v.Service.Name), Href: v.path()}}
	list = append(list, further...)
	list[len(list)-1].Href = ""
	return list
}

// unreachable tells since when the machine's host can't be looked at; zero = it can.
func (v *shown) unreachable() time.Time {
	if !v.Server.UnreachableSince.IsZero() {
		return v.Server.UnreachableSince
	}
	return v.NodeDown
}

// exclusive gives the operation that locks the machine now, or nil.
func (v *shown) exclusive() *portal.Operation {
	for i, o := range v.Operations {
		if o.Kind.Exclusive() && o.State.Active() {
			return &v.Operations[i]
		}
	}
	return nil
}

// status says what the machine does, as it was last seen.
func (v *shown) status() templates.Status {
	switch op := v.exclusive(); {
	case v.Service.State == portal.ServiceMachineGone:
		return templates.Status{State: "gone", Text: "Not found"}
	case v.Service.State == portal.ServiceMachineReplaced:
		return templates.Status{State: "replaced", Text: "Another machine"}
	case !v.unreachable().IsZero():
		return templates.Status{State: "unknown", Text: "Unknown", Detail: portal.Say("Last seen %s", v.since(v.Service.SeenAt))}
	case op != nil && snapshotWork(op.Kind):
		return templates.Status{State: "busy", Text: "Busy", Detail: sinceOf(snapshotBusy(*op), op.StartedAt, v.Now, v.loc)}
	case op != nil && op.Kind == portal.KindRestore && op.State == portal.StateHeld:
		return templates.Status{State: "busy", Text: "Off", Detail: "A restore has stopped; the machine is not whole"}
	case op != nil && op.Kind == portal.KindReinstall && op.State == portal.StateHeld && op.Work.Broken:
		return templates.Status{State: "busy", Text: "Off", Detail: "An installation has stopped; the machine is not whole"}
	case op != nil && op.Kind == portal.KindRestore:
		return templates.Status{State: "busy", Text: "Busy", Detail: portal.Say("Restoring since %s", v.since(op.StartedAt))}
	case op != nil:
		return templates.Status{State: "busy", Text: "Busy", Detail: busyWith(*op, v.since(op.StartedAt))}
	case v.Service.Lock != "":
		return templates.Status{State: "busy", Text: "Busy", Detail: sinceOf(portal.LockWords(v.Service.Lock), v.Service.LockSince, v.Now, v.loc)}
	case v.Service.State == portal.ServiceSuspended:
		return templates.Status{State: "suspended", Text: "Suspended"}
	case v.Service.State != portal.ServiceActive:
		return templates.Status{State: "unknown", Text: "Being closed"}
	}
	return machineStatus(v.Service.Status)
}

func machineStatus(word string) templates.Status {
	switch word {
	case "running":
		return templates.Status{State: "running", Text: "Running"}
	case "stopped":
		return templates.Status{State: "stopped", Text: "Stopped"}
	case "", "unknown":
		return templates.Status{State: "unknown", Text: "Unknown"}
	}
	return templates.Status{State: "stopped", Text: portal.Verbatim(strings.ToUpper(word[:1]) + word[1:])} // "paused", "prelaunch": Proxmox's own
}

// sinceOf says what, and since when where that is known: "moving to another host since 02:09".
func sinceOf(what portal.Text, t, now time.Time, loc *time.Location) portal.Text {
	if t.IsZero() {
		return what
	}
	return portal.Say("%s since %s", what, since(t, now, loc))
}

// notices are the banners of what lasts.
func (v *shown) notices() []templates.Notice {
	var list []templates.Notice
	switch v.Service.State {
	case portal.ServiceMachineGone:
		list = append(list, templates.NoticeGone())
	case portal.ServiceMachineReplaced:
		list = append(list, templates.NoticeReplaced())
	case portal.ServiceSuspended:
		list = append(list, templates.NoticeSuspended())
	case portal.ServiceTerminating, portal.ServiceTerminated:
		list = append(list, templates.Notice{Kind: "closing", Tone: templates.ToneWarn, Title: "This service is being closed.", Sentence: "No new backups are taken."})
	}
	if since := v.unreachable(); !since.IsZero() {
		list = append(list, templates.NoticeUnreachable(v.since(since)))
	}
	if notice := v.standstill(); notice != nil {
		list = append(list, *notice)
	}
	if p := v.Pause; p != nil {
		list = append(list, templates.NoticePaused(portal.Verbatim(strings.TrimSuffix(p.Reason, ".")), v.at(p.EndsAt).Text()))
	}
	if v.Service.Lock != "" && v.exclusive() == nil && v.unreachable().IsZero() {
		locked := templates.NoticeLocked
		if !v.Service.LockStaleAt.IsZero() {
			locked = templates.NoticeStaleLock
		}
		list = append(list, locked(portal.LockWords(v.Service.Lock), v.since(v.Service.LockSince)))
	}
	if v.Service.QuotaIn(v.Product) == 0 && v.counter.ReadOnly {
		_, text := portal.QuotaZero(v.copies)
		list = append(list, templates.Notice{Kind: "quota", Tone: templates.ToneInfo, Sentence: text})
	}
	return list
}

// standstill is the banner of a scheduler that shows no sign of life, or nil.
func (v *shown) standstill() *templates.Notice { return standstill(v.Pulse.TickAt, v.Now, v.loc) }

func standstill(tick, now time.Time, loc *time.Location) *templates.Notice {
	if !tick.IsZero() && now.Sub(tick) <= staleTick {
		return nil
	}
	notice := templates.NoticeTick(since(tick, now, loc))
	if tick.IsZero() {
		notice.Title = "Automatic backups have not begun on this portal yet."
		notice.Sentence = "What is due will be caught up once they do."
	}
	return &notice
}

// counterView is the quota counter.
func (v *shown) counterView() templates.Counter {
	return templates.Counter{Used: v.counter.Count, Quota: v.counter.Quota, Running: v.counter.Running}
}

// protection is the sentence that says what would be lost if the machine broke now.
func (v *shown) protection() templates.Protection {
	in := portal.ProtectionInput{
		Copies: v.copies, Schedule: v.Schedule.Schedule, Quota: v.Service.QuotaIn(v.Product), Running: v.counter.Running > 0,
		Late: v.Product.Spread, Now: v.Now, Location: v.loc,
	}
	for i, m := range v.Measured {
		took := m.Ended.Sub(m.Began)
		if i < 5 {
			in.Takes = max(in.Takes, took)
			if !m.Due.IsZero() {
				in.Late = max(in.Late, m.Began.Sub(m.Due))
			}
		}
		in.Restores = append(in.Restores, took) // a restore moves the same bytes back
	}
	if next := v.nextRuns(1); len(next) > 0 {
		in.Next = next[0].Due
	}
	p := portal.ProtectionOf(in)
	var restore *templates.WayOut
	if newest := v.newest(); newest != nil {
		if b, ok := v.backup(newest.ID); ok && v.mayRestore(b).Can {
			restore = &templates.WayOut{Label: "Restore the newest", Href: v.path("backups", b.UID, "restore")}
		}
	}
	return templates.Protection{Sentence: p.Sentence, Restore: restore, Tone: map[portal.Level]templates.Tone{
		portal.LevelOK: templates.ToneGood, portal.LevelWarn: templates.ToneWarn, portal.LevelBad: templates.ToneBad,
	}[p.Level]}
}

// nextRuns gives the coming runs that the schedule asks for, without dates that have had theirs.
func (v *shown) nextRuns(n int) []portal.DueSlot {
	if v.Service.QuotaIn(v.Product) == 0 || v.Service.State == portal.ServiceTerminating || v.Service.State == portal.ServiceTerminated {
		return nil
	}
	var used []portal.Date
	for _, s := range v.Slots {
		if d, err := portal.ParseDate(s.Date); err == nil {
			used = append(used, d)
		}
	}
	return v.Schedule.NextExcept(v.Now, n, used)
}

// newest gives the newest good copy, or nil.
func (v *shown) newest() *portal.Copy { return portal.Newest(v.copies) }

// servicePage is the service at a glance.
func (v *shown) servicePage(f templates.Frame) templates.ServicePage {
	f.Crumbs, f.Zone = v.crumbs(), v.Schedule.Zone
	p := templates.ServicePage{
		Frame: f, Service: v.head(templates.TabOverview), Notices: v.notices(), Protection: v.protection(), Counter: v.counterView(),
		Hardware: v.hardware(), Facts: v.facts(), Running: v.runningCards(), Idle: v.idleMachine(), Ledger: v.ledger(), BackupNow: v.backupNow().Act, Acts: v.machineActs(), Live: true,
	}
	if !v.snaps.Hidden {
		p.Snapshots, p.SnapshotFacts = v.snapshotCounter(), v.idleSnapshots()
	}
	if newest := v.newest(); newest != nil {
		p.Newest = v.ago(newest.Start())
		p.NewestNote = templates.Listed(templates.Bytes(newest.Size), originClause(newest.Origin))
	}
	if next := v.nextRuns(1); len(next) > 0 {
		p.NextRun = v.run(next[0].Due)
	}
	if v.Schedule.Enabled() {
		p.Schedule = v.Schedule.Describe()
	}
	for i, line := range v.Recent {
		if i < 5 {
			p.Recent = append(p.Recent, v.operationRow(line))
		}
	}
	return p
}

// originClause says where a copy came from, in the middle of a line.
func originClause(o portal.Origin) portal.Text {
	switch o {
	case portal.OriginScheduled:
		return "scheduled"
	case portal.OriginManual:
		return "manual"
	case portal.OriginBeforeRestore:
		return "before-restore"
	}
	return portal.Verbatim(string(o))
}

// run gives a coming run in the service's zone and in UTC.
func (v *shown) run(t time.Time) templates.Run {
	r := templates.RunAt(t, v.Now, v.loc)
	r.At.Ago = roughly(t, v.Now)
	return r
}

// hardware is what the machine is made of.
func (v *shown) hardware() []templates.Fact {
	h := v.Service.Hardware
	var list []templates.Fact
	if h.Cores > 0 {
		list = append(list, templates.Fact{Name: "Processor", Value: portal.Count(h.Cores*max(h.Sockets, 1), "1 core", "%d cores")})
	}
	if h.MemoryMB > 0 {
		list = append(list, templates.Fact{Name: "Memory", Value: templates.Bytes(int64(h.MemoryMB) << 20)})
	}
	for _, d := range h.Disks {
		f := templates.Fact{Name: portal.Say("Disk %s", d.Key), Value: templates.Bytes(d.Size)}
		if !d.Backup {
			f.Hint = "not in backups"
		}
		list = append(list, f)
	}
	for _, n := range h.Nets {
		list = append(list, templates.Fact{Name: portal.Say("Network %s", n.Key), Value: portal.Verbatim(n.MAC)})
	}
	return list
}

// facts are what else there is to know of a service.
func (v *shown) facts() []templates.Fact {
	list := []templates.Fact{{Name: "Package", Value: portal.Verbatim(v.Product.Name)}, {Name: "Host", Value: portal.Verbatim(v.Service.Node)}}
	if v.Service.Status == "running" && v.Service.Uptime > 0 && v.unreachable().IsZero() {
		list = append(list, templates.Fact{Name: "Running for", Value: roughlyFor(v.Service.Uptime)})
	}
	if len(v.Service.Addresses) > 0 {
		list = append(list, templates.Fact{Name: "Addresses", Value: portal.Verbatim(strings.Join(v.Service.Addresses, ", "))})
	}
	return append(list, templates.Fact{Name: "Time zone", Value: portal.Verbatim(v.Schedule.Zone)})
}

// roughlyFor says a length of time with its largest unit.
func roughlyFor(d time.Duration) portal.Text {
	if d >= time.Hour {
		d = d.Truncate(time.Hour)
	}
	if d >= 48*time.Hour {
		d = d.Truncate(24 * time.Hour)
	}
	return portal.Duration(d)
}
