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
			d = Dot{State: "done", Evidence: "Began 03:00, ended 03:06, 41 GiB.", Operation: "01k8op"}
		}
		d.Date, d.Day = day.Format("2006-01-02"), portal.When{At: day, Layout: "Mon 2 Jan"}
		list = append(list, d)
	}
	return list
}

var mixedDots = map[int]Dot{
	0:  {State: "due", Reason: "Planned for 03:00."},
	4:  {State: "late", Reason: "Began 48 min late: three others were before it on this host.", Evidence: "Began 03:48, ended 03:55, 41 GiB.", Operation: "01k8op"},
	9:  {State: "failed", Reason: "The storage was full.", Evidence: "Tried at 03:00, 03:05, 03:25 and 04:25.", NextTry: "The next night went well.", Operation: "01k8op"},
	10: {State: "missed", Reason: "The previous backup still ran."},
	15: {State: "skipped", Reason: "Maintenance of the storage."},
	16: {State: "skipped", Reason: "Maintenance of the storage."},
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
		Exists: true, Summary: "Every night 03:00, next tonight", Days: week(true, "03:00"), SameTime: "03:00",
		Zone: "Europe/Berlin", Zones: zones, Save: Allowed(),
		Info:     "Scheduled backups replace the oldest when all places are used.",
		Next:     RunAt(night(0), galleryNow, berlin),
		Replaces: "It will replace Thu 12 Nov 03:00, 41 GiB.",
	}
	for i := 1; i <= 7; i++ {
		s.Later = append(s.Later, RunAt(night(-i), galleryNow, berlin))
	}
	return s
}

func noSchedule() Schedule {
	return Schedule{
		Summary: "No automatic backups", Days: week(false, "03:40"), SameTime: "03:40", Zone: "Europe/Berlin", Zones: zones,
		Info:    "Scheduled backups replace the oldest when all places are used.",
		Suggest: &Suggestion{Time: "03:40", Why: "a quiet time on your host"}, Save: Allowed(),
	}
}

func goodRow(n int) BackupRow {
	return BackupRow{
		UID: "01k8copy" + itoa(1000-n), State: "good", Origin: "scheduled", When: nightAt(n), Size: "41 GiB", Mode: "snapshot", Took: "6 min",
		Inside: []portal.Text{"scsi0 32 GiB", "scsi1 100 GiB"}, Operation: "01k8op", EditNote: true, Remove: Allowed(), ShowProtect: true, Protect: Allowed(),
		Badges: []Badge{{Text: "Consistent", Tone: ToneGood, Title: "The guest agent paused the file systems while the copy began."}},
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
	manual.Protected, manual.Remove = true, Denied("It is protected. Unprotect it first.")
	manual.Badges = []Badge{{Text: "Like after a power cut", Tone: ToneNeutral, Title: "The guest agent did not answer, so programs could not finish their writes first."}}
	suspect := goodRow(2)
	suspect.UID, suspect.State, suspect.Size, suspect.ShowFine, suspect.Badges = "01k8suspect", "suspect", "1.2 GiB", true, nil
	suspect.Remark = "It has less than a tenth of the copy before it. If that is right, say so; until then it is not taken for your newest good copy."
	failed := goodRow(3)
	failed.UID, failed.State, failed.Size, failed.Badges, failed.HideRemove, failed.ShowProtect = "01k8failed", "failed", "", nil, true, false
	failed.Remark = "The storage was full. Your other copies are untouched."
	missing := goodRow(4)
	missing.UID, missing.State, missing.Badges, missing.HideRemove, missing.ShowProtect = "01k8missing", "missing", nil, true, false
	missing.Remark = "Last seen Wed 18 Nov 09:12. Our team has been told."
	before := goodRow(5)
	before.UID, before.Origin, before.Remove = "01k8before", "before-restore", Denied("Kept until Thu 26 Nov, so that you can go back.")
	before.Note = "state before the restore of Tue 17 Nov"
	partial := goodRow(6)
	partial.UID, partial.State, partial.Size, partial.Badges = "01k8partial", "partial", "12 GiB", nil
	list[5].Outside = []portal.Text{"scsi2 200 GiB (left out of backups)"}
	list[5].Badges = []Badge{{Text: "Verified", Tone: ToneGood}, {Text: "Encrypted", Tone: ToneInfo}}
	list[5].Next = true
	return []BackupRow{list[0], manual, suspect, list[1], failed, missing, list[2], before, list[3], partial, list[4], list[5]}
}

func backupsPage() BackupsPage {
	return BackupsPage{
		Frame: serviceFrame("Backups of h100"), Service: head(TabBackups), Live: true,
		Protection: Protection{Sentence: "If it broke now you would lose 23 h 4 min. With this schedule at most about 24 h. A restore takes 4–9 minutes.", Tone: ToneGood},
		Counter:    Counter{Used: 3, Quota: 10},
		BackupNow:  BackupNow{Act: Allowed()},
		List:       BackupList{Rows: rows(3)},
		Schedule:   nightly(),
		Ledger:     Ledger{Dots: dots(mixedDots)},
	}
}

func runningBackup() Running {
	return Running{
		Operation: "01k8running", Kind: "backup", State: "running", Backup: "01k8newcopy", Origin: "manual", Version: 12, Machine: "h100",
		Title: "Backing up h100", Step: "Writing the copy", Since: on(3 * time.Minute), Percent: 63,
		Bytes: OfBytes(20<<30+300<<20, 32<<30), Speed: Speed(210 << 20), Left: "about 2 min left", Note: "before the upgrade", Cancel: Allowed(),
	}
}

func serviceRows() []ServiceRow {
	name := func(n string, state Status, addresses ...string) ServiceHead {
		return ServiceHead{UID: "01k8" + n, Name: n, Addresses: addresses, Status: state}
	}
	up := Status{State: "running", Text: "Running"}
	return []ServiceRow{
		{Head: name("h100", up, "203.0.113.7"), Counter: Counter{Used: 3, Quota: 10, Running: 1}, Newest: nightAt(1), NextRun: nightAt(0), Schedule: "Every night 03:00", Dots: dots(mixedDots)},
		{Head: name("shop", up, "203.0.113.21", "2001:db8:7::21"), Counter: Counter{Used: 10, Quota: 10}, Newest: nightAt(1), NextRun: nightAt(0), Schedule: "Every night 03:00", Dots: dots(nil)},
		{Head: name("mail", Status{State: "busy", Text: "Busy", Detail: "Backing up since 02:01"}, "203.0.113.25"), Counter: Counter{Used: 10, Quota: 3}, Newest: nightAt(1), NextRun: nightAt(0), Alert: Badge{Text: "7 too many", Tone: ToneBad}, Dots: dots(nil)},
		{Head: name("staging", Status{State: "stopped", Text: "Stopped"}, "203.0.113.40"), Counter: Counter{Used: 0, Quota: 5}, Alert: Badge{Text: "No schedule", Tone: ToneBad}},
		{Head: name("db-with-a-very-long-name-that-somebody-chose.example.com", up, "203.0.113.50"), Counter: Counter{Used: 4, Quota: 7}, Newest: nightAt(2), NextRun: nightAt(0), Alert: Badge{Text: "Failed last night", Tone: ToneBad}, Dots: dots(map[int]Dot{1: {State: "failed"}, 0: {State: "due"}})},
		{Head: name("old", Status{State: "gone", Text: "Machine gone"}, "203.0.113.60"), Counter: Counter{Used: 2, Quota: 5}, Newest: nightAt(9), Dots: dots(map[int]Dot{0: {State: "skipped"}, 1: {State: "skipped"}})},
	}
}

func operationRows() []OperationRow {
	return []OperationRow{
		{UID: "01k8o1", Kind: "backup", State: "running", Title: "Backup", Sentence: "Writing the copy, 63 %", When: on(3 * time.Minute), Who: "You", Reference: "K7Q-42M"},
		{UID: "01k8o2", Kind: "backup", State: "succeeded", Title: "Scheduled backup", Sentence: "41 GiB, good.", When: nightAt(1), Took: "6 min", Who: "Schedule", Reference: "K7Q-42N"},
		{UID: "01k8o3", Kind: "delete", State: "succeeded", Title: "Removal of Thu 12 Nov 03:00", When: nightAt(2), Took: "4 s", Who: "Ada Lovelace", Reference: "K7Q-42P"},
		{UID: "01k8o4", Kind: "backup", State: "failed", Title: "Scheduled backup", Sentence: "The storage was full. Your other 9 copies are untouched.", When: nightAt(9), Took: "1 h 26 min", Who: "Schedule", Reference: "K7Q-42Q"},
		{UID: "01k8o5", Kind: "backup", State: "held", Title: "Backup", Sentence: "No progress for two hours. Our team has been told.", When: nightAt(10), Who: "Schedule", Reference: "K7Q-42R"},
		{UID: "01k8o6", Kind: "backup", State: "cancelled", Title: "Backup", Sentence: "Cancelled by you.", When: nightAt(11), Who: "You", Reference: "K7Q-42S"},
		{UID: "01k8o7", Kind: "backup", State: "queued", Title: "Backup", Sentence: "4th in line. You can close this page.", When: on(time.Minute), Who: "You", Reference: "K7Q-42T"},
	}
}

func failedOperation() OperationView {
	return OperationView{
		UID: "01k8o4", Kind: "backup", State: "failed", Version: 31, Machine: "h100", Title: "Scheduled backup of h100",
		Sentence: "Stopped at step 4 of 5: the storage was full.", Unharmed: "Your machine runs on. Your other 9 copies are untouched.",
		Told: "Our team was alerted at 04:26.", Reference: "K7Q-42Q", Who: "Schedule",
		Asked: nightAt(9), Began: nightAt(9), Ended: nightAt(9), Took: "1 h 26 min",
		Steps: []Step{
			{Title: "Wait for a place on the host", State: "done", Began: nightAt(9), Took: "2 s"},
			{Title: "Look that all is well", State: "done", Sentence: "Same machine, no lock, storage active with 4.1 GiB free.", Began: nightAt(9), Took: "1 s"},
			{Title: "Make room", State: "skipped", Sentence: "A place was free."},
			{Title: "Write the copy", State: "failed", Sentence: "No space left on the storage; tried 4 times.", Began: nightAt(9), Took: "1 h 25 min"},
			{Title: "Look at the copy", State: "waiting"},
		},
		Log: []LogLine{
			{At: nightAt(9), Text: "Began."},
			{At: nightAt(9), Text: "Asked the host for a backup (1st try)."},
			{At: nightAt(9), Text: "The backup stopped: no space left on the storage.", Tone: ToneBad},
			{At: nightAt(9), Text: "Next try in 5 min.", Tone: ToneWarn},
		},
		Retry: Allowed(), HideCancel: true,
	}
}

func runningOperation() OperationView {
	o := failedOperation()
	r := runningBackup()
	o.UID, o.State, o.Title, o.Sentence, o.Unharmed, o.Told = r.Operation, "running", "Backup of h100", "Writing the copy, 63 %. You can close this page.", "", ""
	o.Ended, o.Took, o.Progress = Moment{}, "", &r
	o.Steps[2] = Step{Title: "Make room", State: "skipped", Sentence: "A place was free."}
	o.Steps[3] = Step{Title: "Write the copy", State: "running", Sentence: "20 of 32 GiB", Began: on(3 * time.Minute)}
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
		{"ada@demo.test", "client, 5 machines"}, {"grace@demo.test", "client, 4 machines"}, {"linus@demo.test", "client, 3 machines"},
		{"admin@demo.test", "staff, may do everything"}, {"operator@demo.test", "staff, runs the house"}, {"auditor@demo.test", "staff, reads only"},
	}})
	add("login-wrong", LoginPage{Frame: Frame{Title: "Sign in"}, Email: "ada@demo.test", Next: "/services", Error: "That e-mail and password don't fit together."})
	add("login-throttled", LoginPage{Frame: Frame{Title: "Sign in"}, Email: "ada@demo.test", Throttled: "Too many tries. You can try again at 02:20."})
	add("login-expired", LoginPage{Frame: Frame{Title: "Sign in"}, Expired: true, Next: "/services"})

	add("services", ServicesPage{Frame: clientFrame("Services"), Rows: serviceRows(), Total: 6})
	add("services-many", ServicesPage{Frame: clientFrame("Services"), Rows: serviceRows(), Total: 140, Search: true, Paging: Paging{Text: Range(26, 50, 140), Prev: "/services?page=1", Next: "/services?page=3"}})
	add("services-empty", ServicesPage{Frame: clientFrame("Services")})
	add("services-nothing-found", ServicesPage{Frame: clientFrame("Services"), Query: "web-17", Search: true, Total: 140})

	service := ServicePage{
		Frame: serviceFrame("h100"), Service: head(TabOverview), Live: true,
		Protection: backupsPage().Protection, Counter: Counter{Used: 3, Quota: 10}, Newest: nightAt(1), NewestNote: "41 GiB, scheduled",
		NextRun: RunAt(night(0), galleryNow, berlin), Schedule: "Every night 03:00", BackupNow: Allowed(),
		Hardware: []Fact{{Name: "CPU", Value: "2 cores"}, {Name: "RAM", Value: "4 GiB"}, {Name: "Disks", Value: "32 GiB, 100 GiB"}},
		Facts:    []Fact{{Name: "Product", Value: "VM M"}, {Name: "Host", Value: "pve1"}},
		Ledger:   Ledger{Dots: dots(mixedDots)}, Recent: operationRows()[1:5],
	}
	add("service", service)
	busy := service
	busy.Service.Status = Status{State: "busy", Text: "Busy", Detail: "Backing up since 02:01"}
	busy.Running = []Running{runningBackup()}
	busy.Counter.Running = 1
	busy.BackupNow = Denied("A backup has been running since 02:01.")
	add("service-busy", busy)
	without := service
	without.Service.NoBackups, without.Recent = true, nil
	add("service-without-backups", without)

	add("backups", backupsPage())
	varied := backupsPage()
	varied.Frame.Flash = []Flash{{Tone: ToneGood, Sentence: "The schedule is saved. The next backup begins Fri 20 Nov 03:00."}}
	varied.List = BackupList{Rows: variedRows(), Paging: Paging{Text: Range(1, 12, 31), Next: "?before=x"}}
	varied.Counter = Counter{Used: 10, Quota: 10}
	varied.BackupNow.Warning = "All 10 places are used: before it starts, you choose which copy goes afterwards."
	add("backups-varied", varied)
	progress := backupsPage()
	progress.Service.Status = Status{State: "busy", Text: "Busy", Detail: "Backing up since 02:01"}
	progress.Running = []Running{runningBackup()}
	progress.Counter.Running = 1
	progress.BackupNow.Act = Denied("A backup has been running since 02:01.")
	add("backups-running", progress)
	queued := backupsPage()
	q := runningBackup()
	q.State, q.Percent, q.Bytes, q.Speed, q.Left, q.Backup, q.Step, q.Title = "queued", -1, "", "", "", "", "4th in line. You can close this page.", "Backup of h100"
	queued.Running = []Running{q}
	queued.BackupNow.Act = Denied("A backup is waiting already: 4th in line.")
	add("backups-queued", queued)
	stale := backupsPage()
	s := runningBackup()
	s.Stale = "We can't reach your host since 02:02. The backup probably goes on."
	s.Cancel = Denied("We can't reach your host.")
	stale.Running = []Running{s}
	stale.Service.Status = Status{State: "unknown", Text: "Not known", Detail: "Last seen 02:02"}
	stale.Notices = []Notice{NoticeUnreachable("02:02")}
	add("backups-unreachable", stale)
	full := backupsPage()
	full.List.Rows, full.Counter = rows(10), Counter{Used: 10, Quota: 10}
	full.Frame.Refusal = &Refusal{Sentence: "All 10 places are used.", Ways: []WayOut{
		{Label: "Back up now, then remove the oldest: Tue 10 Nov 03:00, 41 GiB", Post: "/services/x/backups", Fields: []Field{{"replace", "01k8copy990"}, {"note", "before the upgrade"}}, Primary: true},
		{Label: "Choose another to remove", Href: "/services/x/backups?choose=1"},
	}}
	full.BackupNow.Note = "before the upgrade"
	add("backups-full-refused", full)
	fresh := backupsPage()
	fresh.List.Rows, fresh.Schedule, fresh.Counter, fresh.Ledger = nil, noSchedule(), Counter{Quota: 5}, Ledger{Dots: dots(noDots())}
	fresh.Protection = Protection{Sentence: "If it broke now everything would be lost: there is no copy and no schedule.", Tone: ToneBad}
	add("backups-never", fresh)
	unscheduled := backupsPage()
	unscheduled.Schedule = noSchedule()
	unscheduled.Protection = Protection{Sentence: "If it broke now you would lose 23 h 4 min, and more with every hour: there is no schedule.", Tone: ToneBad}
	add("backups-no-schedule", unscheduled)
	limited := backupsPage()
	for i := range limited.List.Rows {
		limited.List.Rows[i].Protect = Denied("You can protect 1 backup. End the protection of another one first.")
	}
	limited.List.Rows[2].Protected, limited.List.Rows[2].Protect, limited.List.Rows[2].Remove = true, Allowed(), Denied("It is protected. Unprotect it first.")
	add("backups-protection-used", limited)
	over := backupsPage()
	over.Counter, over.List.Rows = Counter{Used: 10, Quota: 3}, rows(10)
	over.BackupNow.Act = Denied("There are 7 copies more than your 3 places. Remove 8 to take a new one.")
	over.Notices = []Notice{{Kind: "quota", Tone: ToneWarn, Title: "7 copies too many", Sentence: "Your plan now has 3 places. Choose until Fri 4 Dec what stays; the portal removes nothing by itself."}}
	add("backups-over-quota", over)
	zero := backupsPage()
	zero.Counter, zero.Schedule.Save = Counter{Used: 2, Quota: 0}, Denied("Your plan has no places for backups.")
	zero.BackupNow.Act = Denied("Your plan has no places for backups. The copies that exist stay.").With(WayOut{Label: "Ask for more", Href: "https://help.example.com/"})
	zero.Schedule.Next, zero.Schedule.Later, zero.Schedule.Replaces = Run{}, nil, ""
	add("backups-quota-zero", zero)
	stop := backupsPage()
	stop.Schedule.Days[1] = Day{Name: "Monday", Enabled: true, Time: "25:00", Wrong: "This is no time: 25:00."}
	stop.Schedule.Open, stop.Schedule.Error = true, "The schedule is not saved yet: one time needs another look."
	stop.Schedule.Warning = "Your machine shuts down briefly at 02:30."
	stop.Schedule.SameTime = ""
	stop.BackupNow.Warning = "Your machine shuts down briefly when the backup begins."
	stop.Schedule.Days[3].Enabled = false
	add("backups-stop-mode", stop)
	for _, n := range []Notice{
		NoticeTick("01:52"), NoticePaused("maintenance of the storage", "04:00"), NoticeSuspended(), NoticeGone(), NoticeReplaced(),
		NoticeLocked("backup", "02:01"),
	} {
		p := backupsPage()
		p.Notices = []Notice{n}
		p.BackupNow.Act, p.Schedule.Save = Denied(n.Sentence), Denied("Not now.")
		add("backups-"+n.Kind, p)
	}
	refused := backupsPage()
	refused.BackupNow.Note, refused.BackupNow.Error = "a note that is far too long", "A note has at most 200 characters; this one has 212."
	refused.List.Rows[1].NoteWrong = "A note has at most 200 characters; this one has 212."
	add("backups-note-refused", refused)

	add("delete", DeletePage{Frame: serviceFrame("Remove a copy of h100"), Service: head(""), Backup: "01k8copy999", When: nightAt(8), Size: "41 GiB", Note: "before the upgrade",
		Lost: []portal.Text{"The state of h100 at Thu 12 Nov 03:00. It can't be brought back."}, Stays: []portal.Text{"h100 itself, untouched.", "Your other 9 copies; the newest is of Thu 19 Nov 03:00."}, Remove: Allowed()})
	add("delete-newest", DeletePage{Frame: serviceFrame("Remove a copy of h100"), Service: head(""), Backup: "01k8copy999", When: nightAt(1), Size: "41 GiB",
		Lost: []portal.Text{"The state of h100 at Thu 19 Nov 03:00."}, Stays: []portal.Text{"h100 itself, untouched."}, Warning: "This is your only good copy. Without it nothing of h100 could be brought back.", Remove: Denied("It is protected.").With(WayOut{Label: "Back to the list", Href: "/services/x/backups"})})
	add("choose", ChoosePage{Frame: serviceFrame("Choose a copy to remove"), Service: head(""), Note: "before the upgrade", Oldest: "a", Act: Allowed(), Rows: []Choice{
		{UID: "a", When: nightAt(8), Size: "41 GiB", Origin: "scheduled"},
		{UID: "b", When: nightAt(7), Size: "41 GiB", Origin: "manual", Note: "before the move"},
		{UID: "c", When: nightAt(6), Size: "41 GiB", Origin: "scheduled", WhyNot: "It is protected."},
	}})
	add("no-schedule", NoSchedulePage{Frame: serviceFrame("No automatic backups?"), Service: head(""), Newest: nightAt(1), Fields: []Field{{"time_0", "03:00"}, {"zone", "Europe/Berlin"}}})

	add("operations", OperationsPage{Frame: serviceFrame("History of h100"), Service: head(TabOperations), Rows: operationRows(), Paging: Paging{Text: Range(1, 7, 213), Next: "?before=x"}})
	add("operations-empty", OperationsPage{Frame: serviceFrame("History of h100"), Service: head(TabOperations)})
	add("operation-failed", OperationPage{Frame: serviceFrame("Scheduled backup of h100"), Service: head(TabOperations), Operation: failedOperation()})
	add("operation-running", OperationPage{Frame: serviceFrame("Backup of h100"), Service: head(TabOperations), Operation: runningOperation(), Live: true})

	for _, status := range []int{403, 404, 409, 413, 429, 500, 503} {
		add("problem-"+itoa(status), ProblemPage{Frame: clientFrame("Error"), Status: status, Sentence: "Your backups are untouched and go on by themselves.", Reference: "K7Q-42M", Ways: []WayOut{{Label: "Back to the services", Href: "/services", Primary: true}}})
	}
	add("problem-signed-out", ProblemPage{Frame: Frame{Title: "Error"}, Status: 404, Sentence: "It may have been removed, or the address may be mistyped."})
	add("account", AccountPage{Frame: func() Frame { f := clientFrame("Account"); f.Area = AreaAccount; return f }(), Zone: "Europe/Berlin", Zones: zones, Language: lang.English, Sessions: 2, MustChange: true,
		Errors: AccountErrors{Old: "That is not your present password."}})

	return append(list, adminGallery()...)
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
	add("admin", AdminPage{Frame: staffFrame("Dashboard", AreaAdmin),
		Figures: []Figure{
			{Name: "Backups in 24 h", Value: "412", Hint: "98.6 % good", Href: "/admin/operations"},
			{Name: "Failed or missed", Value: "6", Tone: ToneBad, Hint: "in 24 h"},
			{Name: "Running now", Value: "3", Hint: "11 waiting"},
			{Name: "Unprotected", Value: "2", Tone: ToneWarn, Hint: "of 1,204 services"},
		},
		Needs: []Need{
			{Title: "Held operations", Why: "They stopped where only a person can tell what is right. The service stays locked until then.", Tone: ToneBad, Count: 1, Items: []NeedItem{
				{Title: "Backup of h104", Detail: "No progress for two hours; task still listed on pve1.", When: on(2 * time.Hour), Href: "/admin/operations/x", Mark: "01k8held", Kind: "backup", State: "held"}}},
			{Title: "Servers unreachable", Why: "Backups wait and are caught up when they answer again.", Tone: ToneBad, Count: 1, Items: []NeedItem{
				{Title: "pve1", Detail: "connection refused", When: on(12 * time.Minute), Href: "/admin/servers/x"}}},
			{Title: "Failed and missed slots", Why: "Each client has been told by mail.", Tone: ToneWarn, Count: 6, More: "/admin/operations?state=failed", Items: []NeedItem{
				{Title: "shop · ada@demo.test", Detail: "failed: no space left on storage tiny", When: nightAt(1), Href: "/admin/services/x"},
				{Title: "mail · grace@demo.test", Detail: "missed: previous backup still running", When: nightAt(1), Href: "/admin/services/x"}}},
			{Title: "Storages above 85 %", Tone: ToneWarn, Count: 1, Items: []NeedItem{{Title: "tiny on pve1", Detail: "91 %, 7 MB free", Href: "/admin/servers/x"}}},
		}})
	add("admin-quiet", AdminPage{Frame: staffFrame("Dashboard", AreaAdmin), Figures: []Figure{{Name: "Backups in 24 h", Value: "412"}}})

	filters := []Filter{
		{Name: "state", Label: "State", Options: []Option{{"", "Any state"}, {"active", "Active"}, {"suspended", "Suspended"}}},
		{Name: "server", Label: "Server", Value: "pve1", Options: []Option{{"", "Any server"}, {"pve1", "pve1"}, {"cluster", "cluster"}}},
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
	add("admin-service", AdminServicePage{Frame: staffFrame("h100", AreaAdminServices), Service: h, Counter: Counter{Used: 8, Quota: 10}, Schedule: "Every night 03:00",
		NextRun: RunAt(night(0), galleryNow, berlin), Ledger: Ledger{Dots: dots(mixedDots)}, List: BackupList{Rows: variedRows()}, Recent: operationRows(),
		Facts:    []Fact{{Name: "State", Value: "active"}, {Name: "vmid", Value: "100"}, {Name: "Server", Value: "pve1"}, {Name: "Node", Value: "pve1"}, {Name: "Product", Value: "VM M"}, {Name: "Machine", Value: "5d6f1c5e-8b0a-4a5e-9a42-31f6f0f0c101"}},
		External: []ExternalRow{{Volid: "local:backup/vzdump-qemu-100-2026_11_02-11_30_00.vma.zst", When: on(430 * time.Hour), Size: "38 GiB", Reason: "No mark, and older than the machine."}}})
	var operations []OperationRow
	for _, r := range operationRows() {
		r.Service, r.Client, r.Where = "h100", "ada@demo.test", "pve1 (node pve1)"
		operations = append(operations, r)
	}
	add("admin-operations", AdminOperationsPage{Frame: staffFrame("Operations", AreaAdminOperations), Rows: operations, Filters: filters, Paging: Paging{Text: Range(1, 50, 4210), Next: "?before=x"}})
	o := failedOperation()
	add("admin-operation", AdminOperationPage{Frame: staffFrame(o.Title, AreaAdminOperations), Operation: o, Service: h,
		StaffText: "vzdump: job errors\nERROR: Backup of VM 100 failed - vma_queue_write: write error - Broken pipe\nzstd: error 70 : Write error : cannot write block : No space left on device",
		UPIDs:     []string{"UPID:pve1:0002F1A3:00A1B2C3:691E8F20:vzdump:100:portal@pve!api:"},
		Facts:     []Fact{{Name: "Node", Value: "pve1"}, {Name: "Attempt", Value: "4 of 4"}, {Name: "Start by", Value: "Wed 11 Nov 09:00"}, {Name: "Give up at", Value: "Thu 12 Nov 03:00"}},
		TaskLog:   []string{"INFO: starting new backup job: vzdump 100 --mode snapshot --remove 0 --storage tiny", "INFO: Starting Backup of VM 100 (qemu)", "INFO: status = running", "INFO:   3% (1.1 GiB of 32.0 GiB) in 3s, read: 375.2 MiB/s, write: 361.0 MiB/s", "ERROR: Backup of VM 100 failed - no space left on device", "INFO: Backup job finished with errors"},
		Actions:   OperationActions{Retry: Allowed(), Skip: Denied("Nothing is held here."), Cancel: Denied("It has ended."), Release: Denied("It holds nothing.")}})
	held := failedOperation()
	held.State = "held"
	add("admin-operation-held", AdminOperationPage{Frame: staffFrame(held.Title, AreaAdminOperations), Operation: held, Service: h,
		Actions: OperationActions{Retry: Allowed(), Skip: Allowed(), Cancel: Allowed(), Release: Allowed(), Wrong: "Say why, in a few words."}})
	server := ServerRow{UID: "01k8pve1", Name: "pve1", Version: "9.2.1", Nodes: 1, Services: 214, Status: Badge{Text: "Reachable", Tone: ToneGood}, Seen: on(5 * time.Second), Storages: []StorageRow{
		{Name: "local", Type: "directory", Used: "412 GiB of 1.8 TiB", Percent: 22, Tone: ToneGood},
		{Name: "tiny", Type: "directory", Used: "73 MB of 80 MB", Percent: 91, Tone: ToneBad},
		{Name: "keep2", Type: "directory", Used: "610 GiB of 800 GiB", Percent: 76, Tone: ToneWarn, Foreign: "Prunes by itself (keep-last=2): it would delete copies of clients."},
	}}
	away := ServerRow{UID: "01k8cl", Name: "cluster", Nodes: 3, Services: 990, Status: Badge{Text: "Unreachable", Tone: ToneBad}, Seen: on(12 * time.Minute), Sentence: "Unreachable since 01:52: connection refused.", Missing: 2}
	add("admin-servers", AdminServersPage{Frame: staffFrame("Servers", AreaAdminServers), Rows: []ServerRow{server, away}})
	add("admin-servers-none", AdminServersPage{Frame: staffFrame("Servers", AreaAdminServers)})
	add("admin-server", AdminServerPage{Frame: staffFrame("pve1", AreaAdminServers), Server: server, Endpoints: []string{"https://192.0.2.10:8006"}, Checked: on(time.Minute), Check: Allowed(),
		Facts: []Fact{{Name: "Token", Value: "portal@pve!api"}, {Name: "Certificate", Value: "SHA-256 4F:2A:…:91"}, {Name: "Clock", Value: "0.2 s apart"}},
		Checks: []Check{
			{Title: "Connection and certificate", Tone: ToneGood},
			{Title: "VM.Backup on /vms/100", Tone: ToneGood},
			{Title: "Datastore.Allocate on /storage/local", Tone: ToneBad, Sentence: "Missing: copies can be made there but not removed. Give the role to portal@pve!api on /storage/local."},
			{Title: "Storage keep2 prunes by itself", Tone: ToneWarn, Sentence: "keep-last=2 would delete copies of clients. Remove it from the storage."},
			{Title: "Job backup-7a3c of /etc/pve/jobs.cfg", Tone: ToneInfo, Sentence: "Writes to local; its own retention does not reach the portal's copies."},
		}})
	doubt := StorageDoubt{ID: "1", Name: "local", Sentence: "Since 01:52, 4 archives expected on the storage not in the listing; that is 4 of 6 together.", Act: Allowed()}
	confirmed := doubt
	confirmed.ID, confirmed.Name, confirmed.Act = "2", "local on pve2", Denied("This was confirmed. The next listing goes by it.")
	add("admin-server-waits", AdminServerPage{Frame: staffFrame("pve1", AreaAdminServers), Server: server, Check: Allowed(), Asked: true, Checks: []Check{{Title: "Connection and certificate", Tone: ToneGood}},
		Doubts: []StorageDoubt{doubt, confirmed}, Brakes: []StorageBrake{{ID: "3", Name: "tiny", Sentence: "Automatic removals stopped at 01:40: there were far more than usual.", Act: Allowed(), Wrong: "Say why, in a few words."}}})
	add("admin-server-reader", AdminServerPage{Frame: staffFrame("pve1", AreaAdminServers), Server: server, Check: Denied("Your login may look at everything, but change nothing."), Asked: true,
		Brakes: []StorageBrake{{ID: "3", Name: "tiny", Sentence: "Automatic removals stopped at 01:40: there were far more than usual.", Act: Denied("Your login may look at everything, but change nothing.")}}})
	add("admin-confirm-gone", ConfirmGonePage{Frame: staffFrame("Confirm a loss", AreaAdminServers), Server: "01k8pve1", Host: "pve1", Storage: doubt})
	add("admin-confirm-gone-not", ConfirmGonePage{Frame: staffFrame("Confirm a loss", AreaAdminServers), Server: "01k8pve1", Host: "pve1", Storage: confirmed})
	add("admin-service-replaced", AdminServicePage{Frame: staffFrame("h100", AreaAdminServices), Service: h, Notices: []Notice{NoticeReplaced()}, Counter: Counter{Used: 8, Quota: 10}, Ledger: Ledger{Dots: dots(mixedDots)},
		List: BackupList{Rows: variedRows()}, Accept: "stowage service accept-machine 01k8h1003v7d8x2m5q9r4t6w0z --reason \"…\""})
	add("admin-audit", AdminAuditPage{Frame: staffFrame("Audit log", AreaAdminAudit), Chain: Badge{Text: "Chain whole", Tone: ToneGood}, Filters: filters[:1], Rows: []AuditRow{
		{When: on(time.Minute), Who: "ada@demo.test", What: "saved the schedule", Subject: "h100", Href: "/admin/services/x", From: "203.0.113.99", Before: "every night 02:00", After: "every night 03:00"},
		{When: on(time.Hour), Who: "engine", What: "removed a copy", Subject: "h100", From: "", Before: "local:backup/vzdump-qemu-100-2026_11_09-03_00_00.vma.zst"},
		{When: on(3 * time.Hour), Who: "admin@demo.test", What: "released an operation", Subject: "K7Q-42R", From: "198.51.100.4", After: "failed; reason: host rebuilt"},
	}, Paging: Paging{Text: Range(1, 50, 9310), Next: "?before=x"}})
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
