package templates

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/a-h/templ"

	"stowage/portal"
	"stowage/portal/lang"
)

// The gallery is every page in every state that it can be in, with example data. The tests of this package walk over
// it; `go test ./templates -run TestGallery -gallery DIR` writes it out to look at.
var galleryDir = flag.String("gallery", "", "write every page in every state as HTML into this folder")

// picture is one page in one state.
type picture struct {
	name string
	page View
}

var (
	berlin     = mustZone("Europe/Berlin")
	galleryNow = time.Date(2026, 11, 20, 2, 4, 0, 0, berlin)
)

func mustZone(name string) *time.Location {
	zone, err := time.LoadLocation(name)
	if err != nil {
		panic(err)
	}
	return zone
}

// on is a moment d before the gallery's now.
func on(d time.Duration) Moment { return AtAgo(galleryNow.Add(-d), galleryNow, berlin) }

// night is 03:00 n nights ago.
func night(n int) time.Time { return time.Date(2026, 11, 20-n, 3, 0, 0, 0, berlin) }

func nightAt(n int) Moment { return AtAgo(night(n), galleryNow, berlin) }

var zones = []string{
	"Africa/Cairo", "America/New_York", "America/Nuuk", "America/Sao_Paulo", "Asia/Kathmandu", "Asia/Tokyo",
	"Australia/Lord_Howe", "Europe/Berlin", "Europe/London", "Pacific/Apia", "UTC",
}

func clientFrame(title portal.Text) Frame {
	return Frame{
		Title: title, Area: AreaServices, Zone: "Europe/Berlin", Support: "https://help.example.com/",
		User: &User{Name: "Ada Lovelace", Email: "ada@demo.test", Role: "owner"},
	}
}

func staffFrame(title portal.Text, area string) Frame {
	return Frame{
		Title: title, Area: area, Zone: "Europe/Berlin", Version: "0.1.0",
		User: &User{Name: "Admin", Email: "admin@demo.test", Role: "admin", Staff: true},
	}
}

func head(tab string) ServiceHead {
	return ServiceHead{
		UID: "01k8service0000000000000h100", Name: "h100", Addresses: []string{"203.0.113.7", "2001:db8:7::100"}, Tab: tab,
		Status: Status{State: "running", Text: "Running"},
	}
}

func serviceFrame(title portal.Text) Frame {
	f := clientFrame(title)
	f.Crumbs = []Crumb{{"Services", "/services"}, {Text: portal.Verbatim("h100")}}
	return f
}

func dots(states map[int]Dot) []Dot {
	var list []Dot
	for i := 29; i >= 0; i-- {
		day := galleryNow.AddDate(0, 0, -i)
		d, ok := states[i]
		if !ok {
			d = Dot{State: "done", Evidence: evidence, Operation: "01k8op"}
		}
		d.Date, d.Day = day.Format("2006-01-02"), portal.When{At: day, Layout: "Mon 2 Jan"}
		list = append(list, d)
	}
	return list
}

var evidence = portal.Say("%s.", Listed(portal.Say("Due %s", "03:00"), portal.Say("began %s", "03:00"), portal.Say("ended %s", "03:06"), Bytes(41<<30)))

var mixedDots = map[int]Dot{
	0:  {State: "due", Reason: "Waits for its turn."},
	4:  {State: "late", Reason: portal.Say("began %s late", Duration(48*time.Minute)), Evidence: evidence, Operation: "01k8op"},
	9:  {State: "failed", Reason: "There is not enough space on the backup storage. Our team has been told; your backups are untouched.", Evidence: evidence, NextTry: portal.Say("The next run is %s.", portal.Say("tonight %s", "03:00")), Operation: "01k8op"},
	10: {State: "missed", Reason: portal.ReasonPreviousRunning},
	15: {State: "skipped", Reason: portal.ReasonMaintenance},
	16: {State: "skipped", Reason: portal.ReasonMaintenance},
	21: {State: "none"},
	28: {State: "none"}, 29: {State: "none"},
}

func week(enabled bool, clock string) [7]Day {
	var days [7]Day
	for i := range days {
		days[i] = Day{Name: portal.Text(time.Weekday(i).String()), Enabled: enabled, Time: clock}
	}
	return days
}

func nightly() Schedule {
	s := Schedule{
		Exists: true, Summary: portal.Say("%s, next %s", portal.Say("Every night %s", "03:00"), portal.Say("tonight %s", "03:00")), Days: week(true, "03:00"), SameTime: "03:00",
		Zone: "Europe/Berlin", Zones: zones, Save: Allowed(),
		Info:     portal.Say("Scheduled backups replace the oldest when all %d places are used.", 10),
		Next:     RunAt(night(0), galleryNow, berlin),
		Replaces: portal.Say("It will replace %s.", portal.Say("%s, %s", nightAt(8).When, portal.Size(41<<30))),
	}
	for i := 1; i <= 7; i++ {
		s.Later = append(s.Later, RunAt(night(-i), galleryNow, berlin))
	}
	return s
}

func noSchedule() Schedule {
	return Schedule{
		Summary: "No automatic backups", Days: week(false, "03:40"), SameTime: "03:40", Zone: "Europe/Berlin", Zones: zones,
		Info:    portal.Say("Scheduled backups replace the oldest when all %d places are used.", 10),
		Suggest: &Suggestion{Time: "03:40", Why: "a quiet time on your host"}, Save: Allowed(),
	}
}

func goodRow(n int) BackupRow {
	return BackupRow{
		UID: "01k8copy" + itoa(1000-n), State: "good", Origin: "scheduled", When: nightAt(n), Size: Bytes(41 << 30), Mode: "snapshot", Took: Duration(6 * time.Minute),
		Inside: []portal.Text{portal.Say("%s %s", "scsi0", portal.Size(32<<30)), portal.Say("%s %s", "scsi1", portal.Size(100<<30))}, Operation: "01k8op", EditNote: true, Restore: Allowed(), Remove: Allowed(), ShowProtect: true, Protect: Allowed(),
		Badges: []Badge{{Text: "Consistent", Tone: ToneGood, Title: "The machine's file systems were at rest when the copy began."}},
	}
}

func rows(count int) []BackupRow {
	var list []BackupRow
	for n := 1; n <= count; n++ {
		list = append(list, goodRow(n))
	}
	return list
}

// variedRows holds a copy of every kind.
func variedRows() []BackupRow {
	list := rows(6)
	list[0].Badges = append(list[0].Badges, Badge{Text: "Newest good copy", Tone: ToneNeutral})
	manual := goodRow(1)
	manual.UID, manual.Origin, manual.When, manual.Note = "01k8manual", "manual", on(26*time.Hour), "before the upgrade to 14.2"
	manual.Protected, manual.Remove = true, Denied("This backup is protected. End its protection first.")
	manual.Badges = []Badge{{Text: "Like after a power cut", Tone: ToneNeutral, Title: "The machine was writing when the copy began. Its file systems mend that by themselves, as after a power cut."}}
	suspect := goodRow(2)
	suspect.UID, suspect.State, suspect.Size, suspect.ShowFine, suspect.Badges = "01k8suspect", "suspect", Bytes(1234<<20), true, nil
	suspect.Remark = portal.Say("Much smaller than the last one: %s instead of %s.", portal.Size(1234<<20), portal.Size(41<<30))
	failed := goodRow(3)
	failed.UID, failed.State, failed.Size, failed.Badges, failed.HideRemove, failed.ShowProtect = "01k8failed", "failed", "", nil, true, false
	failed.Remark = "There is not enough space on the backup storage. Our team has been told; your backups are untouched."
	missing := goodRow(4)
	missing.UID, missing.State, missing.Badges, missing.HideRemove, missing.ShowProtect = "01k8missing", "missing", nil, true, false
	missing.Remark = portal.Say("It is not on the storage any more since %s. It was not removed by the portal; our team has been told.", on(41*time.Hour).When)
	before := goodRow(5)
	before.UID, before.Origin, before.Remove = "01k8before", "before-restore", Denied("Nothing has to be removed.")
	before.Note = "state before the restore of Tue 17 Nov"
	partial := goodRow(6)
	partial.UID, partial.State, partial.Size, partial.Badges = "01k8partial", "partial", Bytes(12<<30), nil
	list[5].Outside = []portal.Text{portal.Say("%s (left out of backups)", portal.Say("%s %s", "scsi2", portal.Size(200<<30)))}
	list[5].Badges = []Badge{{Text: "Verified", Tone: ToneGood}, {Text: "Encrypted", Tone: ToneInfo}}
	list[5].Next = true
	return []BackupRow{list[0], manual, suspect, list[1], failed, missing, list[2], before, list[3], partial, list[4], list[5]}
}

func backupsPage() BackupsPage {
	return BackupsPage{
		Frame: serviceFrame(portal.Say("Backups of %s", "h100")), Service: head(TabBackups), Live: true,
		Protection: Protection{Sentence: portal.Sentences(portal.Say("If it broke now you would lose %s.", portal.Duration(23*time.Hour+4*time.Minute)), portal.Say("With this schedule at most about %s.", portal.Say("%d h", 24)), portal.Say("A restore takes %s.", portal.Say("%d–%d minutes", 4, 9))), Tone: ToneGood},
		Counter:    Counter{Used: 3, Quota: 10},
		BackupNow:  BackupNow{Act: Allowed()},
		Idle:       idleBackups(),
		List:       BackupList{Rows: rows(3)},
		Schedule:   nightly(),
		Ledger:     Ledger{Dots: dots(mixedDots)},
	}
}

func idleBackups() Idle {
	return Idle{Facts: []IdleFact{
		{Name: "Last backup", At: nightAt(1), Hint: Listed(portal.Say("done in %s", Duration(6*time.Minute)), Bytes(41<<30)), Href: "/x"},
		{Name: "Next run", At: nightAt(0), Hint: nightAt(0).Ago, None: "none planned"},
	}}
}

func idleNothing() Idle {
	return Idle{Facts: []IdleFact{{Name: "Last done", None: "nothing yet"}, {Name: "Ends next", None: "none [snapshot]"}}}
}

func runningBackup() Running {
	return Running{
		Operation: "01k8running", Kind: "backup", State: "running", Backup: "01k8newcopy", Origin: "manual", Version: 12, Machine: "h100",
		Title: portal.Say("Backing up %s", "h100"), Step: "Writing the copy", Since: on(3 * time.Minute), Percent: 63,
		Bytes: OfBytes(20<<30+300<<20, 32<<30), Speed: Speed(210 << 20), Left: portal.Say("about %s left", Duration(2*time.Minute)), Note: "before the upgrade", Cancel: Allowed(),
	}
}

func serviceRows() []ServiceRow {
	name := func(n string, state Status, addresses ...string) ServiceHead {
		return ServiceHead{UID: "01k8" + n, Name: n, Addresses: addresses, Status: state}
	}
	up := Status{State: "running", Text: "Running"}
	return []ServiceRow{
		{Head: name("h100", up, "203.0.113.7"), Counter: Counter{Used: 3, Quota: 10, Running: 1}, Newest: nightAt(1), NextRun: nightAt(0), Schedule: portal.Say("Every night %s", "03:00"), Dots: dots(mixedDots)},
		{Head: name("shop", up, "203.0.113.21", "2001:db8:7::21"), Counter: Counter{Used: 10, Quota: 10}, Newest: nightAt(1), NextRun: nightAt(0), Schedule: portal.Say("Every night %s", "03:00"), Dots: dots(nil)},
		{Head: name("mail", Status{State: "busy", Text: "Busy", Detail: portal.Say("Backing up since %s", "02:01")}, "203.0.113.25"), Counter: Counter{Used: 10, Quota: 3}, Newest: nightAt(1), NextRun: nightAt(0), Alert: Badge{Text: "Over quota", Tone: ToneBad}, Dots: dots(nil)},
		{Head: name("staging", Status{State: "stopped", Text: "Stopped"}, "203.0.113.40"), Counter: Counter{Used: 0, Quota: 5}, Alert: Badge{Text: "No schedule", Tone: ToneBad}},
		{Head: name("db-with-a-very-long-name-that-somebody-chose.example.com", up, "203.0.113.50"), Counter: Counter{Used: 4, Quota: 7}, Newest: nightAt(2), NextRun: nightAt(0), Alert: Badge{Text: "Last backup failed", Tone: ToneBad}, Dots: dots(map[int]Dot{1: {State: "failed"}, 0: {State: "due"}})},
		{Head: name("old", Status{State: "gone", Text: "Machine gone"}, "203.0.113.60"), Counter: Counter{Used: 2, Quota: 5}, Newest: nightAt(9), Dots: dots(map[int]Dot{0: {State: "skipped"}, 1: {State: "skipped"}})},
	}
}

func operationRows() []OperationRow {
	return []OperationRow{
		{UID: "01k8o1", Kind: "backup", State: "running", Title: "Backup", Sentence: portal.Say("Under way since %s.", "02:01"), When: on(3 * time.Minute), Who: portal.Verbatim("Ada Lovelace"), Reference: "K7Q-42M"},
		{UID: "01k8o2", Kind: "backup", State: "succeeded", Title: "Scheduled backup", Sentence: portal.InYourList, When: nightAt(1), Took: Duration(6 * time.Minute), Who: "Schedule", Reference: "K7Q-42N"},
		{UID: "01k8o3", Kind: "delete", State: "succeeded", Title: portal.Say("Removal of the copy of %s", nightAt(8).When), When: nightAt(2), Took: Duration(4 * time.Second), Who: portal.Verbatim("Ada Lovelace"), Reference: "K7Q-42P"},
		{UID: "01k8o4", Kind: "backup", State: "failed", Title: "Scheduled backup", Sentence: "There is not enough space on the backup storage. Our team has been told; your backups are untouched.", When: nightAt(9), Took: Duration(86 * time.Minute), Who: "Schedule", Reference: "K7Q-42Q"},
		{UID: "01k8o5", Kind: "backup", State: "held", Title: "Backup", Sentence: "This takes much longer than usual. Our team has been told and looks at it.", When: nightAt(10), Who: "Schedule", Reference: "K7Q-42R"},
		{UID: "01k8o6", Kind: "backup", State: "cancelled", Title: "Backup", Sentence: portal.Cancelled, When: nightAt(11), Who: portal.Verbatim("Ada Lovelace"), Reference: "K7Q-42S"},
		{UID: "01k8o7", Kind: "backup", State: "queued", Title: "Backup", Sentence: portal.Say("%s. You can close this page.", InLine(4)), When: on(time.Minute), Who: portal.Verbatim("Ada Lovelace"), Reference: "K7Q-42T"},
	}
}

func failedOperation() OperationView {
	return OperationView{
		UID: "01k8o4", Kind: "backup", State: "failed", Version: 31, Machine: "h100", Title: "Scheduled backup",
		Sentence: "There is not enough space on the backup storage. Our team has been told; your backups are untouched.", Unharmed: "Your machine was not changed.",
		Told: portal.Say("Our team was told at %s; the reference is %s.", "04:26", "K7Q-42Q"), Reference: "K7Q-42Q", Who: "Schedule",
		Asked: nightAt(9), Began: nightAt(9), Ended: nightAt(9), Took: Duration(86 * time.Minute),
		Steps: []Step{
			{Title: "Look at the machine, the storage and the free places", State: "done", Began: nightAt(9), Took: Duration(2 * time.Second)},
			{Title: "Check the copy", State: "done", Sentence: "Checked your machine, the storage and the free places.", Began: nightAt(9), Took: Duration(time.Second)},
			{Title: "Remove the oldest copy to make room", State: "skipped", Sentence: "A place is free, so nothing is removed."},
			{Title: "Write the copy and check it", State: "failed", Sentence: portal.Say("It is tried again in %s.", portal.Duration(5*time.Minute)), Began: nightAt(9), Took: Duration(85 * time.Minute)},
			{Title: "Remove the copy that was to go", State: "waiting"},
		},
		Log: []LogLine{
			{At: nightAt(9), Text: "Your host could not take the request; it is tried again."},
			{At: nightAt(9), Text: "Checked your machine, the storage and the free places."},
			{At: nightAt(9), Text: "Your host ended the backup with an error.", Tone: ToneBad},
			{At: nightAt(9), Text: portal.Say("It is tried again in %s.", portal.Duration(5*time.Minute)), Tone: ToneWarn},
		},
		Retry: Allowed(), HideCancel: true,
	}
}

func runningOperation() OperationView {
	o := failedOperation()
	r := runningBackup()
	o.UID, o.State, o.Title, o.Sentence, o.Unharmed, o.Told = r.Operation, "running", "Backup", portal.Say("Under way since %s.", "02:01"), "", ""
	o.Ended, o.Took, o.Progress = Moment{}, "", &r
	o.Steps[2] = Step{Title: "Remove the oldest copy to make room", State: "skipped", Sentence: "A place is free, so nothing is removed."}
	o.Steps[3] = Step{Title: "Write the copy and check it", State: "running", Sentence: OfBytes(20<<30, 32<<30), Began: on(3 * time.Minute)}
	o.Log = o.Log[:2]
	o.HideRetry, o.HideCancel, o.Cancel = true, false, Allowed()
	return o
}

// gallery is every page in every state.
func gallery() []picture {
	var list []picture
	add := func(name string, page View) { list = append(list, picture{name, page}) }

	add("login", LoginPage{Frame: Frame{Title: "Sign in", Support: "https://help.example.com/"}})
	add("login-demo", LoginPage{Frame: Frame{Title: "Sign in", Demo: true}, Next: "/services", DemoWord: "stowage-demo", Demo: []DemoLogin{
		{"ada@demo.test", portal.Say("client, %s", "Ada Lovelace")}, {"grace@demo.test", portal.Say("client, %s", "Grace Hopper")}, {"linus@demo.test", portal.Say("client, %s", "Linus")},
		{"admin@demo.test", portal.Say("staff, %s", RoleWord("admin"))}, {"operator@demo.test", portal.Say("staff, %s", RoleWord("operator"))}, {"auditor@demo.test", portal.Say("staff, %s", RoleWord("auditor"))},
	}})
	add("login-wrong", LoginPage{Frame: Frame{Title: "Sign in"}, Email: "ada@demo.test", Next: "/services", Error: "That e-mail address or password is not right."})
	add("login-throttled", LoginPage{Frame: Frame{Title: "Sign in"}, Email: "ada@demo.test", Throttled: portal.Say("There were too many tries to sign in. Please wait %s and try again.", portal.Duration(16*time.Minute))})
	add("login-expired", LoginPage{Frame: Frame{Title: "Sign in"}, Expired: true, Next: "/services"})

	add("forgot", ForgotPage{Frame: Frame{Title: "Forgot your password?", Support: "https://help.example.com/"}, Email: "ada@demo.test"})
	add("forgot-sent", ForgotPage{Frame: Frame{Title: "Forgot your password?"}, Sent: true})
	add("forgot-off", ForgotPage{Frame: Frame{Title: "Forgot your password?", Support: "https://help.example.com/"}, Off: true})
	add("reset", ResetPage{Frame: Frame{Title: "Choose a new password"}, Token: "Zm9yZ290dGVu", Errors: AccountErrors{Again: "This is not the same as the new password above."}})
	add("account-mail", AccountPage{Frame: clientFrame("Account"), Zone: "Europe/Berlin", Zones: zones, Language: "en", Sessions: -1, Mail: []MailSwitch{
		{Key: "failed", Title: "A backup failed, or could not be removed or protected", On: true}, {Key: "first", Title: "The first good backup of a machine"},
		{Key: "security", Title: "Sign-in from a new device, and changes of the password", On: true, Always: true},
	}})

	add("services", ServicesPage{Frame: clientFrame("Services"), Rows: serviceRows(), Total: 6})
	add("services-many", ServicesPage{Frame: clientFrame("Services"), Rows: serviceRows(), Total: 140, Search: true, Paging: Paging{Text: Range(26, 50, 140), Prev: "/services?page=1", Next: "/services?page=3"}})
	add("services-empty", ServicesPage{Frame: clientFrame("Services")})
	add("services-nothing-found", ServicesPage{Frame: clientFrame("Services"), Query: "web-17", Search: true, Total: 140})

	service := ServicePage{
		Frame: serviceFrame(portal.Verbatim("h100")), Service: head(TabOverview), Live: true,
		Protection: backupsPage().Protection, Counter: Counter{Used: 3, Quota: 10}, Newest: nightAt(1), NewestNote: Listed(Bytes(41<<30), "scheduled"),
		NextRun: RunAt(night(0), galleryNow, berlin), Schedule: portal.Say("Every night %s", "03:00"), BackupNow: Allowed(),
		Hardware: []Fact{{Name: "Processor", Value: portal.Count(2, "1 core", "%d cores")}, {Name: "Memory", Value: Bytes(4 << 30)}, {Name: portal.Say("Disk %s", "scsi0"), Value: Bytes(32 << 30), Hint: "not in backups"}},
		Facts:    []Fact{{Name: "Package", Value: portal.Verbatim("VM M")}, {Name: "Host", Value: portal.Verbatim("pve1")}},
		Ledger:   Ledger{Dots: dots(mixedDots)}, Recent: operationRows()[1:5], Idle: Idle{Facts: idleBackups().Facts[:1]},
	}
	service.Service.Snapshots, service.Snapshots, service.SnapshotFacts = true, Counter{Used: 2, Quota: 3, Of: "snapshots"}, idleNothing()
	add("service", service)
	busy := service
	busy.Service.Status = Status{State: "busy", Text: "Busy", Detail: portal.Say("Backing up since %s", "02:01")}
	busy.Running = []Running{runningBackup()}
	busy.Counter.Running = 1
	busy.BackupNow = Denied(portal.Say("A backup of this machine is running already (began %s ago).", Duration(3*time.Minute)))
	add("service-busy", busy)
	acts := MachineActs{Reboot: Allowed(), Shutdown: Allowed(), Stop: Allowed(), Password: Allowed(), Reinstall: Allowed(), Systems: true}
	switched := service
	switched.Acts = acts
	switched.Facts = append(switched.Facts[:2:2], Fact{Name: "Addresses", Value: portal.Verbatim("203.0.113.7, 2001:db8:7::100")})
	add("service-machine", switched)
	switched.Service.Status, switched.Acts = Status{State: "stopped", Text: "Stopped"}, MachineActs{Off: true, Start: Allowed(), Password: Allowed()}
	add("service-machine-off", switched)
	no := Denied(portal.Say("Your machine is busy: %s (began %s ago).", portal.KindReinstall.Doing(), Duration(3*time.Minute))).With(WayOut{Label: "See how it goes", Href: "/services/x/operations/y"})
	switched.Service.Status = Status{State: "busy", Text: "Busy", Detail: portal.Say("Being installed anew since %s", "02:01")}
	switched.Acts = MachineActs{Reboot: no, Shutdown: no, Stop: no, Password: no, Reinstall: no, Systems: true, WhyNot: no}
	switched.Notices = []Notice{NoticeStaleLock(portal.LockWords("backup"), "00:12")}
	switched.Running = []Running{{Operation: "01k8anew", Kind: "reinstall", State: "running", Version: 3, Machine: "h100", Title: portal.Say("Installing %s anew", "h100"), Step: "Put the new system in place", Since: on(3 * time.Minute), Percent: -1, HideStop: true}}
	add("service-machine-busy", switched)
	asks := ConfirmPage{
		Frame: serviceFrame(portal.Say("Stop %s?", "h100")), Service: head(TabOverview), Title: portal.Say("Stop %s?", "h100"), To: "/services/x/power", Back: "Change nothing", Button: "Stop", Danger: true,
		Lead: "The machine is switched off at once, like pulling the plug. The system inside is not asked.", Warning: "What it has not written yet is lost. Shut down instead, where the system still answers.",
		Lost: []portal.Text{"What programs have not saved, and what the system has not written to its disks yet."}, Stays: []portal.Text{"The machine with all that is on its disks, and your backups."}, Act: Allowed(),
	}
	add("power-stop", asks)
	asks.Act = Denied(portal.Say("A backup of this machine is running already (began %s ago).", Duration(3*time.Minute)))
	asks.Ways = []WayOut{{Label: "Cancel it and restart", Post: "/services/x/power", Fields: []Field{{"action", "reboot"}, {"how", "cancel"}}}, {Label: "Restart when it is done", Post: "/services/x/power", Primary: true}}
	add("power-during-a-backup", asks)
	anew := asks
	anew.Title, anew.Button, anew.Ways, anew.Act, anew.Word = portal.Say("Install %s anew?", "h100"), "Install anew", nil, Allowed(), portal.ReinstallWord
	anew.Systems = []System{{Name: "Debian 13", Chosen: true}, {Name: "Ubuntu Server 26.04 LTS, minimal, with a very long name"}}
	add("reinstall", anew)
	anew.Typed, anew.Mistype, anew.Wrong = "REINSTAL", portal.Say("Type %s, so that it doesn't happen by mistake.", portal.ReinstallWord), "Choose the system that is to be installed."
	anew.Frame.Refusal = &Refusal{Sentence: anew.Mistype}
	add("reinstall-refused", anew)
	without := service
	without.Service.NoBackups, without.Recent = true, nil
	add("service-without-backups", without)

	add("backups", backupsPage())
	varied := backupsPage()
	varied.Frame.Flash = []Flash{{Tone: ToneGood, Sentence: portal.Say("Saved: %s (%s).", portal.Say("Every night %s", "03:00"), "Europe/Berlin")}}
	varied.List = BackupList{Rows: variedRows(), Paging: Paging{Text: Range(1, 12, 31), Next: "?before=x"}}
	varied.Counter = Counter{Used: 10, Quota: 10}
	varied.BackupNow.Warning = portal.Sentences(portal.Say("%s, and a manual backup removes nothing by itself.", portal.Say("All %d places are used", 10)), "You will be asked which one goes afterwards.")
	add("backups-varied", varied)
	progress := backupsPage()
	progress.Service.Status = Status{State: "busy", Text: "Busy", Detail: portal.Say("Backing up since %s", "02:01")}
	progress.Running = []Running{runningBackup()}
	progress.Counter.Running = 1
	progress.BackupNow.Act = Denied(portal.Say("A backup of this machine is running already (began %s ago).", Duration(3*time.Minute)))
	add("backups-running", progress)
	queued := backupsPage()
	q := runningBackup()
	q.State, q.Percent, q.Bytes, q.Speed, q.Left, q.Backup, q.Step, q.Title = "queued", -1, "", "", "", "", portal.Say("%s. You can close this page.", InLine(4)), "A backup waits"
	queued.Running = []Running{q}
	queued.BackupNow.Act = Denied("A backup of this machine is waiting already.")
	add("backups-queued", queued)
	stale := backupsPage()
	s := runningBackup()
	s.Stale = portal.Say("We can't reach your host since %s. A backup that has begun goes on there without us.", "02:02")
	s.Cancel = Denied("This can't be done right now.")
	stale.Running = []Running{s}
	stale.Service.Status = Status{State: "unknown", Text: "Unknown", Detail: portal.Say("Last seen %s", "02:02")}
	stale.Notices = []Notice{NoticeUnreachable(portal.Verbatim("02:02"))}
	add("backups-unreachable", stale)
	full := backupsPage()
	full.List.Rows, full.Counter = rows(10), Counter{Used: 10, Quota: 10}
	full.Frame.Refusal = &Refusal{Sentence: portal.Say("%s, and a manual backup removes nothing by itself.", portal.Say("All %d places are used", 10)), Ways: []WayOut{
		{Label: portal.Say("Back up now, then remove the oldest: %s", portal.Say("%s, %s", nightAt(10).When, portal.Size(41<<30))), Post: "/services/x/backups", Fields: []Field{{"replace", "01k8copy990"}, {"note", "before the upgrade"}}, Primary: true},
		{Label: "Choose another to remove", Href: "/services/x/backups?choose=1"},
	}}
	full.BackupNow.Note = "before the upgrade"
	add("backups-full-refused", full)
	fresh := backupsPage()
	fresh.List.Rows, fresh.Schedule, fresh.Counter, fresh.Ledger = nil, noSchedule(), Counter{Quota: 5}, Ledger{Dots: dots(noDots())}
	fresh.Protection = Protection{Sentence: portal.Sentences("There is no backup yet. If it broke now you would lose everything.", "No automatic backup is scheduled."), Tone: ToneBad}
	add("backups-never", fresh)
	unscheduled := backupsPage()
	unscheduled.Schedule = noSchedule()
	unscheduled.Protection = Protection{Sentence: portal.Sentences(portal.Say("If it broke now you would lose %s.", portal.Duration(23*time.Hour+4*time.Minute)), "That grows every day: no automatic backup is scheduled."), Tone: ToneBad}
	add("backups-no-schedule", unscheduled)
	limited := backupsPage()
	for i := range limited.List.Rows {
		limited.List.Rows[i].Protect = Denied(portal.Count(1, "You can protect 1 backup. End the protection of another one first.", "You can protect %d backups. End the protection of another one first."))
	}
	limited.List.Rows[2].Protected, limited.List.Rows[2].Protect, limited.List.Rows[2].Remove = true, Allowed(), Denied("This backup is protected. End its protection first.")
	add("backups-protection-used", limited)
	over := backupsPage()
	over.Counter, over.List.Rows = Counter{Used: 10, Quota: 3}, rows(10)
	over.BackupNow.Act = Denied("There are 7 copies more than your 3 places. Remove 8 to take a new one.")
	over.Notices = []Notice{{Kind: "quota", Tone: ToneWarn, Title: "7 copies too many", Sentence: "Your plan now has 3 places. Choose until Fri 4 Dec what stays; the portal removes nothing by itself."}}
	add("backups-over-quota", over)
	zero := backupsPage()
	zero.Counter, zero.Schedule.Save = Counter{Used: 2, Quota: 0}, Denied("Your package includes no new backups.")
	zero.BackupNow.Act = Denied("Your package includes no new backups. Those you have stay, and you can restore them.").With(WayOut{Label: "Ask for more", Href: "https://help.example.com/"})
	zero.Schedule.Next, zero.Schedule.Later, zero.Schedule.Replaces = Run{}, nil, ""
	add("backups-quota-zero", zero)
	stop := backupsPage()
	stop.Schedule.Days[1] = Day{Name: "Monday", Enabled: true, Time: "25:00", Wrong: portal.Say("%s: %s is not a time of day. Write hours and minutes from 00:00 to 23:59, such as 03:40.", portal.DayName(1), "\"25:00\"")}
	stop.Schedule.Open, stop.Schedule.Error = true, "Something needs another look"
	stop.Schedule.Warning = portal.Say("Your machine shuts down briefly at %s.", "02:30")
	stop.Schedule.SameTime = ""
	stop.BackupNow.Warning = "Your machine shuts down briefly when the backup begins."
	stop.Schedule.Days[3].Enabled = false
	add("backups-stop-mode", stop)
	for _, n := range []Notice{
		NoticeTick(portal.Verbatim("01:52")), NoticePaused(portal.Verbatim("maintenance of the storage"), portal.Verbatim("04:00")), NoticeSuspended(), NoticeGone(), NoticeReplaced(),
		NoticeLocked("backup in progress", portal.Verbatim("02:01")),
	} {
		p := backupsPage()
		p.Notices = []Notice{n}
		p.BackupNow.Act, p.Schedule.Save = Denied(n.Sentence), Denied("This service is being closed.")
		add("backups-"+n.Kind, p)
	}
	refused := backupsPage()
	refused.BackupNow.Note, refused.BackupNow.Error = "a note that is far too long", portal.Say("A note has at most %d characters; this one has %d.", 200, 212)
	refused.List.Rows[1].NoteWrong = portal.Say("A note has at most %d characters; this one has %d.", 200, 212)
	add("backups-note-refused", refused)

	add("delete", DeletePage{Frame: serviceFrame("Remove a copy"), Service: head(""), Backup: "01k8copy999", When: nightAt(8), Size: Bytes(41 << 30), Note: "before the upgrade",
		Lost: []portal.Text{portal.Say("The state of %s of %s. It can't be brought back.", "h100", nightAt(8).When)}, Stays: []portal.Text{"The machine itself, with everything on it.", portal.Count(9, "Your other backup.", "Your other %d backups.")}, Remove: Allowed()})
	add("delete-newest", DeletePage{Frame: serviceFrame("Remove a copy"), Service: head(""), Backup: "01k8copy999", When: nightAt(1), Size: Bytes(41 << 30),
		Lost: []portal.Text{portal.Say("The state of %s of %s. It can't be brought back.", "h100", nightAt(1).When)}, Stays: []portal.Text{"The machine itself, with everything on it."}, Warning: "This is your only good backup. Without it, nothing of this machine could be restored.", Remove: Denied("This backup is protected. End its protection first.").With(WayOut{Label: "Back to the backups", Href: "/services/x/backups"})})
	add("restore", restorePage())
	reading := restorePage()
	reading.Reading, reading.Hardware, reading.Kept = true, nil, nil
	reading.Typed, reading.Wrong, reading.Warning = "h10", portal.Say("Type %s to confirm.", "h100"), "This backup is not known to be good."
	add("restore-refused", reading)
	resumes := restorePage()
	resumes.Resumes, resumes.Plan = true, nil
	resumes.Lost = []portal.Text{"Nothing more: the machine was overwritten already, and is not whole yet."}
	resumes.Restore = Denied("The restore may still run on your host. Try it again first, to see how it stands.")
	add("restore-resumes", resumes)
	add("choose", ChoosePage{Frame: serviceFrame("Choose a copy"), Service: head(""), Note: "before the upgrade", Oldest: "a", Act: Allowed(), Rows: []Choice{
		{UID: "a", When: nightAt(8), Size: Bytes(41 << 30), Origin: "scheduled"},
		{UID: "b", When: nightAt(7), Size: Bytes(41 << 30), Origin: "manual", Note: "before the move"},
		{UID: "c", When: nightAt(6), Size: Bytes(41 << 30), Origin: "scheduled", WhyNot: "This backup is protected. End its protection first."},
	}})
	add("no-schedule", NoSchedulePage{Frame: serviceFrame("No automatic backups?"), Service: head(""), Newest: nightAt(1), Fields: []Field{{"time_0", "03:00"}, {"zone", "Europe/Berlin"}}})

	add("operations", OperationsPage{Frame: serviceFrame(portal.Say("History of %s", "h100")), Service: head(TabOperations), Rows: operationRows(), Paging: Paging{Text: Range(1, 7, 213), Next: "?before=x"}})
	add("operations-empty", OperationsPage{Frame: serviceFrame(portal.Say("History of %s", "h100")), Service: head(TabOperations)})
	add("operation-failed", OperationPage{Frame: serviceFrame("Scheduled backup"), Service: head(TabOperations), Operation: failedOperation()})
	add("operation-restored", OperationPage{Frame: serviceFrame("Restore"), Service: head(TabOperations), Operation: restoredOperation()})
	add("operation-restore-held", OperationPage{Frame: serviceFrame("Restore"), Service: head(TabOperations), Operation: stoppedRestore()})
	add("operation-running", OperationPage{Frame: serviceFrame("Backup"), Service: head(TabOperations), Operation: runningOperation(), Live: true})
	reset := failedOperation()
	reset.Kind, reset.State, reset.Title, reset.Sentence, reset.Unharmed, reset.Told, reset.HideRetry, reset.Log = "password", "succeeded", "New password", portal.Say("The new password of %s holds from the machine's next start.", "debian"), "", "", true, nil
	reset.Steps = []Step{{Title: "Look at the machine and its host", State: "done"}, {Title: "Set the new password", State: "done"}}
	reset.Ways = []WayOut{{Label: "Reboot now", Href: "/services/x/power?action=reboot", Primary: true}}
	add("operation-password", OperationPage{Frame: serviceFrame("New password"), Service: head(TabOperations), Operation: reset, Live: true, Secret: &Secret{
		User: "debian", Text: "kW3vTzQpXy7nRb2MhGdF", Soon: "It is being set now. Below you see when it holds.",
	}})

	for _, status := range []int{403, 404, 409, 413, 429, 500, 503} {
		add("problem-"+itoa(status), ProblemPage{Frame: clientFrame(""), Status: status, Sentence: "Something went wrong on our side. Your machines and their backups are not affected.", Reference: "K7Q-42M", Ways: []WayOut{{Label: "Back to the services", Href: "/services", Primary: true}}})
	}
	add("problem-signed-out", ProblemPage{Frame: Frame{}, Status: 404, Sentence: "We can't find that page. It may have been removed, or the address may be mistyped."})
	add("account", AccountPage{Frame: func() Frame { f := clientFrame("Account"); f.Area = AreaAccount; return f }(), Zone: "Europe/Berlin", Zones: zones, Language: lang.English, Sessions: 2, MustChange: true,
		Errors: AccountErrors{Old: "That is not your present password."}})

	return append(append(list, adminGallery()...), snapshotsGallery()...)
}

func restorePage() RestorePage {
	return RestorePage{
		Frame: serviceFrame("Restore a copy"), Service: head(""), Backup: "01k8copy999", When: nightAt(1), Size: Bytes(41 << 30), Note: "before the upgrade", Confirm: "h100", Start: true,
		Lost:   []portal.Text{portal.Say("Everything since (%s).", Duration(23*time.Hour)), portal.Count(2, "1 snapshot.", "%d snapshots.")},
		Stays:  []portal.Text{"All your backups, this one too.", "What your package says: processor, memory, limits, network and addresses."},
		Plan:   []portal.Text{portal.Say("First we save the present state (%s). It is kept for 7 days, outside your places.", portal.Count(6, "about 1 minute", "about %d minutes")), portal.Say("Then your machine is off for %s.", portal.Say("%d–%d minutes", 4, 9))},
		Inside: []portal.Text{portal.Say("%s %s", "scsi0", portal.Size(32<<30))}, Restore: Allowed(),
		Hardware: []Fact{
			{Name: "Processor", Value: portal.Count(2, "1 core", "%d cores"), Hint: portal.Say("in the copy: %s; it stays as it is now", portal.Count(1, "1 core", "%d cores"))},
			{Name: "Memory", Value: Bytes(4 << 30), Hint: "the same as in the copy"},
			{Name: "MAC address", Value: portal.Verbatim("BC:24:11:00:00:64"), Hint: "the same as in the copy"},
		},
	}
}

func restoreSteps(states ...string) []Step {
	var list []Step
	for i, title := range []portal.Text{"Save the present state", "Check the backup, the machine and its storage", "Shut the machine down", "Put the backup in the machine's place",
		"Bring the machine in step with your package", "Start the machine", "See that the machine answers"} {
		list = append(list, Step{Number: i + 1, Title: title, State: states[i], Began: on(time.Hour), Took: Duration(time.Minute)})
	}
	return list
}

func restoredOperation() OperationView {
	return OperationView{
		UID: "01k8restore", Kind: "restore", State: "succeeded", Version: 9, Machine: "h100", Title: portal.Say("Restore of the copy of %s", nightAt(1).When), Reference: "K7Q-42M",
		Sentence: portal.Say("Restored: your machine is as it was on %s.", nightAt(1).When), Who: portal.Verbatim("ada@demo.test"), Asked: on(time.Hour), Began: on(time.Hour), Ended: on(50 * time.Minute),
		Took: Duration(10 * time.Minute), Steps: restoreSteps("done", "done", "done", "done", "done", "done", "done"), HideCancel: true, HideRetry: true,
		Proof:   []Fact{{Name: "Runs since", Value: on(50 * time.Minute).Text()}, {Name: "The system inside", Value: "answered"}},
		Changes: []Fact{{Name: "Memory", Value: portal.Say("%s → %s", portal.Say("%d MB", 2048), portal.Say("%d MB", 4096))}},
		GoBack:  portal.Say("How to go back: what your machine was before is kept as a backup until %s.", nightAt(-7).When),
		Ways:    []WayOut{{Label: "Restore the state from before", Href: "/services/x/backups/y/restore"}},
	}
}

func stoppedRestore() OperationView {
	return OperationView{
		UID: "01k8restore", Kind: "restore", State: "held", Version: 9, Machine: "h100", Title: portal.Say("Restore of the copy of %s", nightAt(1).When), Reference: "K7Q-42M",
		Sentence: portal.Say("Stopped at step %d of %d: %s", 4, 7, portal.Text("The backup can't be read: it is damaged.")), Who: portal.Verbatim("ada@demo.test"), Asked: on(time.Hour), Began: on(time.Hour),
		Unharmed: portal.Sentences("Your machine is off.", portal.Count(9, "Your other backup is untouched.", "Your other %d backups are untouched.")),
		Told:     portal.Say("Our team was told at %s; the reference is %s.", portal.Verbatim("02:14"), "K7Q-42M"), HideCancel: true, Retry: Allowed(),
		Steps:     restoreSteps("done", "done", "done", "failed", "waiting", "waiting", "waiting"),
		Ways:      []WayOut{{Label: "Restore the state from before", Href: "/services/x/backups/y/restore"}, {Label: "Restore another backup", Href: "/services/x/backups#list"}},
		Reinstall: Denied("Installing from scratch is done by our team: tell them the reference."),
	}
}

func noDots() map[int]Dot {
	none := map[int]Dot{}
	for i := range 30 {
		none[i] = Dot{State: "none"}
	}
	return none
}

func adminGallery() []picture {
	var list []picture
	add := func(name string, page View) { list = append(list, picture{name, page}) }
	add("admin", AdminPage{Frame: staffFrame("What needs a person", AreaAdmin),
		Figures: []Figure{
			{Name: "Scheduled backups in 24 h", Value: portal.Say("%d", 412), Tone: ToneBad, Hint: portal.Say("%d failed or missed, %d skipped", 6, 1)},
			{Name: "Running now", Value: portal.Say("%d", 3), Hint: portal.Say("%d waiting", 11), Href: "/admin/operations"},
			{Name: "Services", Value: portal.Say("%d", 1204), Tone: ToneWarn},
		},
		Needs: []Need{
			{Title: "Held operations", Why: "They lock their machine until they go on or are released.", Tone: ToneBad, Count: 1, Items: []NeedItem{
				{Title: portal.Say("%s: %s", "h104", portal.Text("Backup")), Detail: portal.Verbatim("no progress for two hours; task still listed on pve1"), When: on(2 * time.Hour), Href: "/admin/operations/x", Mark: "01k8held", Kind: "backup", State: "held"}}},
			{Title: "Servers in trouble", Why: "Unreachable, with a clock that differs from ours, or without a right that backups need.", Tone: ToneBad, Count: 1, Items: []NeedItem{
				{Title: portal.Verbatim("pve1"), Detail: portal.Say("Unreachable: %s", "connection refused"), When: on(12 * time.Minute), Href: "/admin/servers/x"}}},
			{Title: "Failed and missed slots in 24 h", Why: "Scheduled backups that did not happen.", Tone: ToneWarn, Count: 6, More: "/admin/operations?state=failed", Items: []NeedItem{
				{Title: portal.Verbatim("shop"), Detail: portal.Say("%s: %s, %s", "ada@demo.test", SlotWord("failed"), portal.Text("there is not enough space on the backup storage. Our team has been told; your backups are untouched")), When: nightAt(1), Href: "/admin/services/x"},
				{Title: portal.Verbatim("mail"), Detail: portal.Say("%s: %s, %s", "grace@demo.test", SlotWord("missed"), portal.ReasonPreviousRunning), When: nightAt(1), Href: "/admin/services/x"}}},
			{Title: "Storages getting full", Why: portal.Say("Fuller than %d %%: backups will soon be refused.", 85), Tone: ToneWarn, Count: 1, Items: []NeedItem{{Title: portal.Say("%s, storage %s on %s", "cluster", "tiny", "pve1"), Detail: portal.Say("%s used", OfBytes(73<<20, 80<<20)), Href: "/admin/servers/x"}}},
		}})
	add("admin-quiet", AdminPage{Frame: staffFrame("What needs a person", AreaAdmin), Figures: []Figure{{Name: "Scheduled backups in 24 h", Value: portal.Say("%d", 412)}}})

	filters := []Filter{
		{Name: "state", Label: "State", Options: []Option{{"", "Any state"}, {"active", "Active"}, {"suspended", "Suspended"}}},
		{Name: "server", Label: "Server", Value: "pve1", Options: []Option{{"", "All servers"}, {"pve1", portal.Verbatim("pve1")}, {"cluster", portal.Verbatim("cluster")}}},
	}
	var services []AdminServiceRow
	for i, r := range serviceRows() {
		r.Client = "ada@demo.test"
		services = append(services, AdminServiceRow{ServiceRow: r, VMID: 100 + i, Server: "pve1", Node: "pve1", Product: "VM M", State: "active"})
	}
	add("admin-services", AdminServicesPage{Frame: staffFrame("Services", AreaAdminServices), Query: "203.0.113", Filters: filters, Rows: services, Paging: Paging{Text: Range(1, 50, 4210), Next: "?after=x"}})
	add("admin-services-empty", AdminServicesPage{Frame: staffFrame("Services", AreaAdminServices), Query: "nothing", Filters: filters})
	h := head("")
	h.Client = "Ada Lovelace, ada@demo.test"
	add("admin-service", AdminServicePage{Frame: staffFrame(portal.Verbatim("h100"), AreaAdminServices), Service: h, Counter: Counter{Used: 8, Quota: 10}, Schedule: portal.Say("Every night %s", "03:00"),
		NextRun: RunAt(night(0), galleryNow, berlin), Ledger: Ledger{Dots: dots(mixedDots)}, List: BackupList{Rows: variedRows()}, Recent: operationRows(),
		Facts:    []Fact{{Name: "State", Value: portal.ServiceActive.Word()}, {Name: "vmid", Value: portal.Say("%d", 100)}, {Name: "Server", Value: portal.Verbatim("pve1"), Hint: portal.Say("node %s", "pve1")}, {Name: "Product", Value: portal.Verbatim("VM M"), Hint: portal.Say("storage %s, mode %s", "local", "snapshot")}, {Name: "Machine", Value: portal.Verbatim("5d6f1c5e-8b0a-4a5e-9a42-31f6f0f0c101")}},
		External: []ExternalRow{{Volid: "local:backup/vzdump-qemu-100-2026_11_02-11_30_00.vma.zst", When: on(430 * time.Hour), Size: Bytes(38 << 30), Reason: "It carries no mark of this installation."}}})
	var operations []OperationRow
	for _, r := range operationRows() {
		r.Service, r.Client, r.Where = "h100", "ada@demo.test", portal.Say("%s (node %s)", "pve1", "pve1")
		operations = append(operations, r)
	}
	add("admin-operations", AdminOperationsPage{Frame: staffFrame("Operations", AreaAdminOperations), Rows: operations, Filters: filters, Paging: Paging{Text: Range(1, 50, 4210), Next: "?before=x"}})
	o := failedOperation()
	add("admin-operation", AdminOperationPage{Frame: staffFrame(o.Title, AreaAdminOperations), Operation: o, Service: h,
		StaffText: "vzdump: job errors\nERROR: Backup of VM 100 failed - vma_queue_write: write error - Broken pipe\nzstd: error 70 : Write error : cannot write block : No space left on device",
		UPIDs:     []string{"UPID:pve1:0002F1A3:00A1B2C3:691E8F20:vzdump:100:portal@pve!api:"},
		Facts:     []Fact{{Name: "Node", Value: portal.Verbatim("pve1")}, {Name: "Failed attempts", Value: portal.Say("%d", 4)}, {Name: "May start until", Value: nightAt(9).Text()}, {Name: "Given up at", Value: nightAt(8).Text()}},
		TaskLog:   []string{"INFO: starting new backup job: vzdump 100 --mode snapshot --remove 0 --storage tiny", "INFO: Starting Backup of VM 100 (qemu)", "INFO: status = running", "INFO:   3% (1.1 GiB of 32.0 GiB) in 3s, read: 375.2 MiB/s, write: 361.0 MiB/s", "ERROR: Backup of VM 100 failed - no space left on device", "INFO: Backup job finished with errors"},
		Actions:   OperationActions{Retry: Allowed(), Skip: Denied("Only a scheduled backup that waits can be skipped."), Cancel: Denied("This has ended already."), Release: Denied("Only a held operation is released.")}})
	held := failedOperation()
	held.State = "held"
	add("admin-operation-held", AdminOperationPage{Frame: staffFrame(held.Title, AreaAdminOperations), Operation: held, Service: h,
		Kept:    []string{"boot: order=scsi0", "cores: 2", "net0: virtio=BC:24:11:03:1D:44,bridge=vmbr0,tag=7,rate=50,firewall=1", "firewall: {", `  "rules": []`, "}"},
		Actions: OperationActions{Retry: Allowed(), Skip: Allowed(), Cancel: Allowed(), Release: Allowed(), Wrong: "Say why, in a few words."}})
	server := ServerRow{UID: "01k8pve1", Name: "pve1", Version: "9.2.1", Nodes: 1, Services: 214, Status: Badge{Text: "Reachable", Tone: ToneGood}, Seen: on(5 * time.Second), Storages: []StorageRow{
		{Name: portal.Verbatim("local"), Type: "directory", Used: OfBytes(412<<30, 1843<<30), Percent: 22, Tone: ToneGood},
		{Name: portal.Verbatim("tiny"), Type: "directory", Used: OfBytes(73<<20, 80<<20), Percent: 91, Tone: ToneBad},
		{Name: portal.Verbatim("keep2"), Type: "directory", Used: OfBytes(610<<30, 800<<30), Percent: 76, Tone: ToneWarn, Foreign: portal.Count(2, "1 archive there not made by the portal.", "%d archives there not made by the portal.")},
	}}
	away := ServerRow{UID: "01k8cl", Name: "cluster", Nodes: 3, Services: 990, Status: Badge{Text: "Unreachable", Tone: ToneBad}, Seen: on(12 * time.Minute), Sentence: portal.Say("Unreachable since %s: %s", "01:52", "connection refused"), Missing: 2}
	add("admin-servers", AdminServersPage{Frame: staffFrame("Servers", AreaAdminServers), Rows: []ServerRow{server, away}})
	add("admin-servers-none", AdminServersPage{Frame: staffFrame("Servers", AreaAdminServers)})
	add("admin-server", AdminServerPage{Frame: staffFrame(portal.Verbatim("pve1"), AreaAdminServers), Server: server, Endpoints: []string{"https://192.0.2.10:8006"}, Checked: on(time.Minute), Check: Allowed(),
		Facts: []Fact{{Name: "Token", Value: portal.Verbatim("portal@pve!api")}, {Name: "Clock", Value: portal.Say("%s ahead of ours", "200ms")}, {Name: portal.Say("Node %s", "pve1"), Value: "online", Hint: "a backup that is not ours runs"}},
		Checks: []Check{
			{Title: portal.Say("Proxmox VE %s answers.", "9.2.1"), Tone: ToneGood},
			{Title: portal.Verbatim("VM.Backup on /vms/100"), Tone: ToneGood},
			{Title: portal.Say("Missing privilege: %s.", "Datastore.Allocate on /storage/local"), Tone: ToneBad, Sentence: "The token lacks this right: backups that need it wait."},
			{Title: portal.Say("Backup job %s prunes storage %s (%s): it deletes customers' copies of the machines it backs up.", "backup-7a3c", "keep2", "keep-last=2"), Tone: ToneWarn, Sentence: "Give the job another storage, or keep-all=1."},
		}})
	doubt := StorageDoubt{ID: "1", Name: portal.Verbatim("local"), Sentence: portal.Say("Since %s, %s.", "01:52", "4 archives expected on the storage not in the listing; that is 4 of 6 together"), Act: Allowed()}
	confirmed := doubt
	confirmed.ID, confirmed.Name, confirmed.Act = "2", portal.Say("%s on %s", "local", "pve2"), Denied("This was confirmed. The next listing goes by it.")
	add("admin-server-waits", AdminServerPage{Frame: staffFrame(portal.Verbatim("pve1"), AreaAdminServers), Server: server, Check: Allowed(), Asked: true, Checks: []Check{{Title: portal.Say("Proxmox VE %s answers.", "9.2.1"), Tone: ToneGood}},
		Doubts: []StorageDoubt{doubt, confirmed}, Brakes: []StorageBrake{{ID: "3", Name: portal.Verbatim("tiny"), Sentence: portal.Say("Automatic removals stopped at %s: there were far more than usual.", "01:40"), Act: Allowed(), Wrong: "Say why, in a few words."}}})
	add("admin-server-reader", AdminServerPage{Frame: staffFrame(portal.Verbatim("pve1"), AreaAdminServers), Server: server, Check: Denied("Your login may look at everything, but change nothing."), Asked: true,
		Brakes: []StorageBrake{{ID: "3", Name: portal.Verbatim("tiny"), Sentence: portal.Say("Automatic removals stopped at %s: there were far more than usual.", "01:40"), Act: Denied("Your login may look at everything, but change nothing.")}}})
	add("admin-confirm-gone", ConfirmGonePage{Frame: staffFrame("Confirm a loss", AreaAdminServers), Server: "01k8pve1", Host: "pve1", Storage: doubt})
	add("admin-confirm-gone-not", ConfirmGonePage{Frame: staffFrame("Confirm a loss", AreaAdminServers), Server: "01k8pve1", Host: "pve1", Storage: confirmed})
	add("admin-service-replaced", AdminServicePage{Frame: staffFrame(portal.Verbatim("h100"), AreaAdminServices), Service: h, Notices: []Notice{NoticeReplaced()}, Counter: Counter{Used: 8, Quota: 10}, Ledger: Ledger{Dots: dots(mixedDots)},
		List: BackupList{Rows: variedRows()}, Accept: "stowage service accept-machine 01k8h1003v7d8x2m5q9r4t6w0z --reason \"…\""})
	demo := AdminDemoPage{Frame: staffFrame("Demo faults", AreaAdminDemo), Act: Allowed(), Kinds: []DemoKind{
		{Kind: "node", Title: "Take a node down", Button: "Take it down", Chosen: "b", Targets: []Option{{"a", portal.Say("%s of %s", "ams1", "Amsterdam")}, {"b", portal.Say("%s of %s", "ams2", "Amsterdam")}},
			What:  "Its network is cut. What runs there goes on; nobody can ask it how.",
			Watch: "Within seconds the pages of machines there say “We can't reach your host since …” and show no percentage. A backup that you ask for waits. When the node is back it is made, once."},
		{Kind: "clock", Title: "Set a server's clock wrong", Button: "Set it wrong", What: portal.Say("Its clock runs %s ahead of the portal's.", portal.Duration(7*time.Minute)),
			Watch: "Servers says by how much. Until the clocks agree nothing is removed there by itself: a backup that needs a place for itself waits."},
	}}
	add("admin-demo", demo)
	demo.Broken = []DemoFault{
		{Kind: "node", Target: "a", Text: portal.Say("Node %s of %s is cut off.", "ams1", "Amsterdam"), Heal: "Bring it back", Since: on(3 * time.Minute)},
		{Kind: "storage", Target: "b", Text: portal.Say("Storage %s of %s is full.", "local", "Amsterdam"), Heal: "Heal everything"},
	}
	demo.Act = Denied("Your login may look at everything, but change nothing.")
	add("admin-demo-broken", demo)
	add("admin-audit", AdminAuditPage{Frame: staffFrame("Audit log", AreaAdminAudit), Chain: Badge{Text: "Chain whole", Tone: ToneGood}, Filters: filters[:1], Rows: []AuditRow{
		{When: on(time.Minute), Who: "ada@demo.test", What: "saved the schedule", Subject: "h100", Href: "/admin/services/x", From: "203.0.113.99", Before: "every night 02:00", After: "every night 03:00"},
		{When: on(time.Hour), Who: "engine", What: "removed a copy", Subject: "h100", From: "", Before: "local:backup/vzdump-qemu-100-2026_11_09-03_00_00.vma.zst"},
		{When: on(3 * time.Hour), Who: "admin@demo.test", What: "released an operation", Subject: "K7Q-42R", From: "198.51.100.4", After: "failed; reason: host rebuilt"},
	}, Paging: Paging{Text: Range(1, 50, 9310), Next: "?before=x"}})
	mails := []MailRow{
		{UID: "x", When: on(time.Minute), To: "ada@demo.test", Subject: portal.Say("%s: a backup failed", "h100"), Status: Badge{Text: "Given up", Tone: ToneBad}, Attempts: 1},
		{UID: "y", When: on(time.Hour), To: "grace@demo.test", Subject: portal.Say("%s: the first backup is made", "web-7"), Status: Badge{Text: "Sent", Tone: ToneGood}, Attempts: 1},
	}
	add("admin-mail", AdminMailPage{Frame: staffFrame("Mail", AreaAdminMail), Filters: filters[:1], Rows: mails, Paging: Paging{Text: Range(1, 50, 9310), Next: "?older=3"}, Notices: []Notice{
		{Kind: "no-mail", Tone: ToneWarn, Title: "No mail is sent.", Sentence: "No mail server is set up: give stowage serve its address with --smtp."},
	}})
	add("admin-mail-none", AdminMailPage{Frame: staffFrame("Mail", AreaAdminMail), Filters: filters[:1]})
	add("admin-mail-one", AdminMailOnePage{
		Frame: staffFrame(mails[0].Subject, AreaAdminMail), Mail: mails[0], Facts: []Fact{{Name: "To", Value: portal.Verbatim("ada@demo.test")}, {Name: "Attempts", Value: portal.Say("%d", 1)}},
		Subject: "h100: Ein Backup ist fehlgeschlagen", Lang: "de", Text: "Der Backup-Speicher ist voll.\n\nIhre Maschine wurde nicht verändert.\n", Retry: true,
	})
	return list
}

// render gives a page's HTML.
func render(t testing.TB, c templ.Component) string {
	t.Helper()
	return renderIn(t, lang.English, c)
}

// renderIn gives a page's HTML in a language.
func renderIn(t testing.TB, tag string, c templ.Component) string {
	t.Helper()
	var b bytes.Buffer
	if err := c.Render(lang.With(t.Context(), lang.For(tag)), &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestGallery(t *testing.T) {
	t.Parallel()
	for _, p := range gallery() {
		html := render(t, p.page.View())
		if *galleryDir != "" {
			if err := os.MkdirAll(*galleryDir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(*galleryDir, p.name+".html"), []byte(html), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}
