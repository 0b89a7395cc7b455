package lang_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"stowage/portal"
	"stowage/portal/lang"
)

var letterSheet = lang.Sheet{Brand: "Stowage", URL: "https://backups.example", Support: "https://help.example/"}

// letterCase is a notice as the store hands it on.
type letterCase struct {
	name   string
	staff  bool
	notice portal.Notice
}

// letters are all mails, with what they would say of a real night.
func letters() []letterCase {
	at := time.Date(2026, 11, 20, 2, 14, 0, 0, time.UTC).Unix()
	night := time.Date(2026, 11, 19, 2, 0, 0, 0, time.UTC).Unix()
	const uid, op = "01m7wjsapbaa7q8h9xvn234td1", "01m7wjsbwvfgsqyztayhq858wf"
	keep := func(t portal.Text) string { return string(t) }
	client := func(name, topic string, n portal.Notice) letterCase {
		n.Topic, n.At, n.Service, n.Machine = topic, at, uid, "h100"
		return letterCase{name, false, n}
	}
	staff := func(name, topic string, n portal.Notice) letterCase {
		n.Topic, n.At, n.Host, n.ServerUID = topic, at, "pve1", uid
		return letterCase{name, true, n}
	}
	machine := func(name, topic, why string) letterCase {
		return staff(name, topic, portal.Notice{Machine: "h100", Service: uid, Operation: op, Reference: "K7Q-42M", Why: why})
	}
	account := func(name, topic string) letterCase {
		return letterCase{name, false, portal.Notice{Topic: topic, At: at, Login: uid, Address: "203.0.113.7", Browser: "Firefox, Linux", Reset: uid, Token: "Zm9yZ290dGVu"}}
	}
	full := portal.Text("The backup storage is full.")
	report := portal.Report{
		From: at - 86400, Until: at, Done: 1841, Late: 12, Skipped: 3, Failed: 1, Missed: 1,
		Bad: []portal.ReportSlot{
			{Machine: "h100", Client: "Ada Lovelace", State: portal.SlotFailed, Reason: keep(full)},
			{Machine: "web-7", Client: "Grace & Söhne", State: portal.SlotMissed, Reason: keep(portal.ReasonPreviousRunning)},
		},
		Needs: []portal.ReportNeed{{Kind: "held", Count: 1}, {Kind: "full", Count: 2}, {Kind: "mails", Count: 4}},
	}
	quiet := portal.Report{From: at - 86400, Until: at, Done: 1857}
	return []letterCase{
		client("restored", portal.TopicRestoreDone, portal.Notice{Operation: op, Reference: "K7Q-42M", RestoreDone: portal.RestoreDone{CopyAt: night, Running: true, SafetyDays: 7}}),
		client("restored-off", portal.TopicRestoreDone, portal.Notice{Operation: op, Reference: "K7Q-42M", RestoreDone: portal.RestoreDone{CopyAt: night}}),
		client("restore-failed", portal.TopicRestoreFailed, portal.Notice{Operation: op, Reference: "K7Q-42M", Text: keep(full), RestoreFailed: portal.RestoreFailed{Step: 3, Steps: 9, Off: true}}),
		client("restore-refused", portal.TopicRestoreFailed, portal.Notice{Operation: op, Reference: "K7Q-42M", Text: keep(full), RestoreFailed: portal.RestoreFailed{Step: 1, Steps: 9, Whole: true}}),
		client("backup-failed", portal.TopicBackupFailed, portal.Notice{Operation: op, Reference: "K7Q-42M", Slot: "2026-11-20", Text: keep(full)}),
		client("backup-failed-by-hand", portal.TopicBackupFailed, portal.Notice{Operation: op, Reference: "K7Q-42M", Text: keep(full)}),
		client("backup-missed", portal.TopicBackupMissed, portal.Notice{Date: "2026-11-20", Reason: keep(portal.ReasonPreviousRunning)}),
		client("all-protected", portal.TopicAllProtected, portal.Notice{Slot: "2026-11-20", Reference: "K7Q-42M", Text: keep("all backups are protected")}),
		client("first-good", portal.TopicFirstGood, portal.Notice{Reference: "K7Q-42M", Text: keep(portal.InYourList)}),
		client("vanished", portal.TopicCopyVanished, portal.Notice{Started: night}),
		client("damaged", portal.TopicCopyDamaged, portal.Notice{Started: night, Text: keep(portal.Say("It was damaged on the storage: %s of %s are left.", portal.Size(4096), portal.Size(44<<30)))}),
		client("delete-failed", portal.TopicDeleteFailed, portal.Notice{Reference: "K7Q-42M", Text: keep(full)}),
		client("protect-failed", portal.TopicProtectFailed, portal.Notice{Reference: "K7Q-42M", Text: keep(full)}),
		client("snapshot-expiring", portal.TopicSnapshotExpiring, portal.Notice{SnapshotExpiring: portal.SnapshotExpiring{Description: "vor dem Update", Expires: at + 86000}}),
		client("machine-ready", portal.TopicMachineReady, portal.Notice{Operation: op, Reference: "K7Q-42M"}),
		account("password-reset", portal.TopicPasswordReset),
		account("password-changed", portal.TopicPasswordChanged),
		account("new-device", portal.TopicNewDevice),
		machine("alert-held", portal.TopicHeld, "no line in the task's log for 2 h"),
		machine("alert-not-evicted", portal.TopicNotEvicted, "403: Permission check failed (/storage/local, Datastore.Allocate)"),
		machine("alert-backup-failed", portal.TopicBackupFailed, "job errors"),
		machine("alert-delete-failed", portal.TopicDeleteFailed, "job errors"),
		machine("alert-protect-failed", portal.TopicProtectFailed, "job errors"),
		machine("alert-restore-failed", portal.TopicRestoreFailed, "job errors"),
		machine("alert-rights", portal.TopicRights, "missing: VM.Backup"),
		machine("alert-lock", portal.TopicStaleLock, "backup, since 00:12"),
		machine("alert-vanished", portal.TopicCopyVanished, ""),
		machine("alert-damaged", portal.TopicCopyDamaged, ""),
		machine("alert-machine-gone", portal.TopicMachineGone, "not in three complete inventories"),
		machine("alert-machine-replaced", portal.TopicMachineReplaced, "smbios1 uuid differs"),
		staff("alert-unreachable", portal.TopicUnreachable, portal.Notice{Why: "connection refused", Count: 4, Since: at - 3600}),
		staff("alert-clock", portal.TopicClock, portal.Notice{Why: "241 s ahead"}),
		staff("alert-brake", portal.TopicBrake, portal.Notice{Storage: "pve1/local", Why: "41 in an hour, usually 12"}),
		staff("alert-doubt", portal.TopicDoubt, portal.Notice{Storage: "vault", Why: "14 of 20 together"}),
		{"alert-recovery", true, portal.Notice{Topic: portal.TopicRecovery, At: at, Why: "the last sign of life of the scheduler is of 2026-11-18T22:01:09Z"}},
		{"alert-mail", true, portal.Notice{Topic: portal.TopicMailGivenUp, At: at, Why: "ada@demo.test: 550 no such user"}},
		{"alert-unknown", true, portal.Notice{Topic: "something.new", At: at, Why: "by a newer version"}},
		{"report", true, portal.Notice{Topic: portal.TopicMorningReport, At: at, Report: &report}},
		{"report-quiet", true, portal.Notice{Topic: portal.TopicMorningReport, At: at, Report: &quiet}},
	}
}

// TestLetters holds every mail, in every language, as text and as HTML, against its golden file. -update writes them.
func TestLetters(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range letters() {
		l, ok := portal.Compose(c.notice, c.staff, berlin)
		if !ok {
			t.Errorf("%s: no letter", c.name)
			continue
		}
		for _, tongue := range lang.Languages() {
			m := lang.For(tongue.Tag).Write(l, letterSheet)
			name := filepath.Join("testdata", "letters", c.name+"."+tongue.Tag)
			golden(t, name+".txt", "Subject: "+m.Subject+"\n\n"+m.Text)
			golden(t, name+".html", m.HTML)
			selfContained(t, name, m.HTML)
			if !c.staff {
				for _, inner := range []string{"vzdump", "UPID", "/mnt", "smbios", "Datastore", "local:"} {
					if strings.Contains(m.Text+m.HTML, inner) {
						t.Errorf("%s tells a client of %s", name, inner)
					}
				}
			}
			if strings.Contains(m.Text+m.HTML, "%!") || strings.Contains(m.Text, "\x01") {
				t.Errorf("%s is not filled:\n%s", name, m.Text)
			}
		}
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-file +written; -update writes it):\n%s", name, d)
	}
}

// selfContained tells of all that a mail would load, run or send.
func selfContained(t *testing.T, name, text string) {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		switch n.Data {
		case "html", "head", "meta", "title", "body", "table", "tbody", "tr", "td", "th", "h1", "p", "a", "ul", "li":
		default:
			t.Errorf("%s has <%s>", name, n.Data)
		}
		for _, a := range n.Attr {
			switch {
			case a.Key == "href" && n.Data == "a" && (strings.HasPrefix(a.Val, "https://backups.example/") || a.Val == letterSheet.Support):
			case a.Key == "style" && !strings.Contains(a.Val, "url(") && !strings.Contains(a.Val, "@") && !strings.Contains(a.Val, "ZgotmplZ"):
			case a.Key == "src", a.Key == "href", a.Key == "style", a.Key == "background", strings.HasPrefix(a.Key, "on"), strings.Contains(a.Val, "http") && a.Key != "href":
				t.Errorf("%s: %s=%q on <%s>", name, a.Key, a.Val, n.Data)
			}
		}
	}
}

// TestEveryTopicHasALetter finds a topic that nobody has written a mail for.
func TestEveryTopicHasALetter(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, c := range letters() {
		kind, ok := portal.MailKindOf(c.notice.Topic, c.staff)
		if !ok {
			t.Errorf("%s is of no kind", c.name)
		}
		for _, topic := range kind.Topics {
			if topic == c.notice.Topic {
				seen[topic] = true
			}
		}
	}
	for _, k := range portal.MailKinds() {
		for _, topic := range k.Topics {
			if !seen[topic] {
				t.Errorf("no letter of %s is looked at", topic)
			}
		}
	}
}
