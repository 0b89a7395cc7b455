package handlers_test

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"stowage/portal"
	"stowage/store"
)

// TestMarks holds the pages to the marks that scripts rely on.
func TestMarks(t *testing.T) {
	t.Parallel()
	s := open(t)
	oldest := s.addCopy(s.h100, 50*time.Hour, "")
	suspect := s.addCopy(s.h100, 26*time.Hour, "", func(b *portal.Backup) {
		b.Class, b.Reason = portal.ClassSuspect, "Much smaller than the last one: 1 KiB instead of 4 GiB."
	})
	torso := s.addCopy(s.h100, 20*time.Hour, "", func(b *portal.Backup) {
		b.Class, b.Reason = portal.ClassPartial, "The backup is empty: it holds no disk."
	})
	failed := s.fail(s.h200, "The backup storage is full.")
	op := s.begin(s.h100, "now")
	running, err := s.db.Backup(t.Context(), op.BackupID)
	s.must(err)

	a := s.as("ada@demo.test").get(backups(s.h100)).want(200)
	if got := a.mark("data-count", "backups"); got != "2/3" {
		t.Errorf("counter: %q", got)
	}
	var rows []string
	for _, n := range a.all("data-backup") {
		rows = append(rows, strings.Join([]string{attr(n, "data-backup"), attr(n, "data-state"), attr(n, "data-origin")}, " "))
	}
	want := []string{running.UID + " running manual", torso.UID + " partial manual", suspect.UID + " suspect manual", oldest.UID + " good manual"}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("rows, newest first: %s", diff)
	}
	if got := operationMarks(a); !slices.Equal(got, []string{op.UID + " backup running"}) {
		t.Errorf("operations: %v", got)
	}
	g := s.as("grace@demo.test").get("/services/" + s.h200.UID + "/operations").want(200)
	if got := operationMarks(g); !slices.Equal(got, []string{failed.UID + " backup failed"}) {
		t.Errorf("operations: %v", got)
	}
	v := s.as("ada@demo.test")
	v.get(backups(s.h100)).want(200, "1 in progress", "A backup of this machine is running already")
	v.get("/services/"+s.h100.UID).want(200, "2/3", "1 in progress")
}

func operationMarks(a answer) (out []string) {
	for _, n := range a.all("data-operation") {
		out = append(out, strings.Join([]string{attr(n, "data-operation"), attr(n, "data-kind"), attr(n, "data-state")}, " "))
	}
	return out
}

func TestBackUpNow(t *testing.T) {
	t.Parallel()
	s := open(t)
	v := s.as("ada@demo.test")
	v.post(backups(s.h100), "note", "before the upgrade").wantTo(backups(s.h100))
	a := v.get(backups(s.h100)).want(200, "The backup is under way.", "before the upgrade", "1st in line")
	if got := a.all("data-operation"); len(got) != 1 || attr(got[0], "data-state") != "queued" || attr(got[0], "data-kind") != "backup" {
		t.Fatalf("operations on the page: %v", operationMarks(a))
	}
	if strings.Contains(v.get(backups(s.h100)).body, "The backup is under way.") {
		t.Error("the message is shown twice")
	}
	a = v.post(backups(s.h100), "note", "once more").want(409)
	if got := a.refusal(); !strings.Contains(got, "A backup of this machine is waiting already") || !strings.Contains(got, "See how it goes") {
		t.Errorf("refusal: %q", got)
	}
	if got := value(a, "note"); got != "once more" {
		t.Errorf("the note that was typed is lost: %q", got)
	}
}

// value gives what stands in the field with the id.
func value(a answer, id string) string {
	for _, n := range a.all("id") {
		if attr(n, "id") == id {
			return attr(n, "value")
		}
	}
	return ""
}

func TestFiftyClicksOnTheLastPlace(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.addCopy(s.h100, 50*time.Hour, "")
	s.addCopy(s.h100, 26*time.Hour, "")
	v := s.as("ada@demo.test")
	statuses := make([]int, 50)
	var wg sync.WaitGroup
	for i := range statuses {
		wg.Go(func() { statuses[i] = v.post(backups(s.h100)).StatusCode })
	}
	wg.Wait()
	count := map[int]int{}
	for _, status := range statuses {
		count[status]++
	}
	if diff := cmp.Diff(map[int]int{303: 1, 409: 49}, count); diff != "" {
		t.Error(diff)
	}
	lines, _, err := s.db.ClientOperations(t.Context(), s.h100.ID, "", 100)
	s.must(err)
	if open := slices.DeleteFunc(lines, func(l store.OperationLine) bool { return l.State.Final() }); len(open) != 1 {
		t.Errorf("%d operations wait, want 1", len(open))
	}
}

func TestAllPlacesUsed(t *testing.T) {
	t.Parallel()
	s := open(t)
	oldest := s.addCopy(s.h100, 8*24*time.Hour, "")
	middle := s.addCopy(s.h100, 50*time.Hour, "")
	s.addCopy(s.h100, 26*time.Hour, "")
	v := s.as("ada@demo.test")
	a := v.get(backups(s.h100)).want(200, "All 3 places are used")
	if n := button(a, "backup-now"); n == nil || has(n, "disabled") {
		t.Error("with all places used, the button that leads to the choice is gone or disabled")
	}
	a = v.post(backups(s.h100), "note", `a "quoted" note`).want(409)
	refusal := a.refusal()
	for _, want := range []string{"All 3 places are used", "Back up now, then remove the oldest: Thu 12 Nov 13:00, 4.0 GiB", "Choose another to remove"} {
		if !strings.Contains(refusal, want) {
			t.Errorf("the refusal does not say %q: %s", want, refusal)
		}
	}
	fields := formFields(a, "data-refusal")
	if diff := cmp.Diff(map[string]string{"replace": oldest.UID, "note": `a "quoted" note`}, fields); diff != "" {
		t.Errorf("the way out carries: %s", diff)
	}
	var choose string
	for _, n := range a.all("href") {
		if within(n, "section") == nil && strings.Contains(attr(n, "href"), "/backups/replace") {
			choose = attr(n, "href")
		}
	}
	c := v.get(choose).want(200, "Back up now, then remove which copy?")
	if got := value(c, "note"); got != `a "quoted" note` {
		t.Errorf("the note is lost on the way: %q", got)
	}
	var choices []string
	for _, n := range c.all("name") {
		if attr(n, "name") == "replace" {
			choices = append(choices, attr(n, "value"))
		}
	}
	if len(choices) != 3 {
		t.Errorf("choices: %v", choices)
	}
	v.post(backups(s.h100), "replace", middle.UID, "note", "x").wantTo(backups(s.h100))
	v.get(backups(s.h100)).want(200, "It is being removed.")
	v.post(backups(s.h100), "replace", oldest.UID).want(409)
}

func button(a answer, id string) *html.Node {
	for _, n := range a.all("id") {
		if attr(n, "id") == id {
			return n
		}
	}
	return nil
}

// formFields gives the hidden fields of the first form within the element that has the attribute.
func formFields(a answer, attribute string) map[string]string {
	out := map[string]string{}
	for _, n := range a.all("name") {
		for p := n.Parent; p != nil; p = p.Parent {
			if has(p, attribute) && attr(n, "type") == "hidden" {
				out[attr(n, "name")] = attr(n, "value")
			}
		}
	}
	return out
}

func TestNotesThatCannotBe(t *testing.T) {
	t.Parallel()
	s := open(t)
	kept := s.addCopy(s.h100, 26*time.Hour, "as it was")
	v := s.as("ada@demo.test")
	for name, note := range map[string]string{
		"10,000 characters":   strings.Repeat("x", 10_000),
		"201 characters":      strings.Repeat("ü", 201),
		"a line break":        "two\nlines",
		"a control character": "bell\a",
		"an escape":           "\x1b[31mred",
		"bidi":                "safe \u202Egnp.exe",
		"a line separator":    "two\u2028lines",
	} {
		v.post(backups(s.h100), "note", note).want(422)
		a := v.post(backups(s.h100, kept.UID, "note"), "note", note).want(422)
		if a.refusal() == "" {
			t.Errorf("%s: no sentence", name)
		}
		if !strings.ContainsAny(note, "\n\a\x1b") && value(a, "note-"+kept.UID) != note {
			t.Errorf("%s: what was typed is lost", name)
		}
	}
	for name, raw := range map[string]string{"a zero byte": "note=a%00b", "not UTF-8": "note=%ff", "two notes": "note=a&note=b", "no note": "x=y"} {
		if a := v.do("POST", backups(s.h100, kept.UID, "note"), strings.NewReader(raw)); a.StatusCode != 422 {
			t.Errorf("%s: %d", name, a.StatusCode)
		}
	}
	b, err := s.db.Backup(t.Context(), kept.ID)
	s.must(err)
	if b.Note != "as it was" {
		t.Errorf("the note became %q", b.Note)
	}
	v.post(backups(s.h100, kept.UID, "note"), "note", strings.Repeat("ü", 200)).wantTo(backups(s.h100) + "#backup-" + kept.UID)
	v.post(backups(s.h100, kept.UID, "note"), "note", "").wantTo(backups(s.h100) + "#backup-" + kept.UID)
	if entries, err := s.db.AuditLog(t.Context(), 0, 1); err != nil || entries[0].Address != "127.0.0.1" {
		t.Errorf("the audit log does not know from where: %v, %v", entries, err)
	}
}

func TestMarkupIsText(t *testing.T) {
	t.Parallel()
	s := open(t)
	const evil = `"><script>alert(1)</script><img src=x onerror=alert(2)>'{{7*7}}`
	s.addCopy(s.h100, 26*time.Hour, evil)
	svc := s.addService(s.ada, 101, "<b>h101</b>"+evil)
	s.addCopy(svc, 26*time.Hour, "")
	v, staff := s.as("ada@demo.test"), s.as("admin@demo.test")
	pages := []answer{
		v.get("/services"), v.get("/services?q=" + "%22%3E%3Cscript%3Ealert(3)%3C/script%3E"), v.get(backups(s.h100)), v.get("/services/" + svc.UID), v.get(backups(svc)),
		v.post(backups(s.h100), "note", evil+strings.Repeat("x", 200)),
		v.post("/services/"+s.h100.UID+"/schedule", "zone", evil, "day_0", "on", "time_0", evil), v.get(backups(s.h100, "replace") + "?note=%3Cscript%3E"),
		s.visitor().post("/login", "email", evil, "password", "x", "next", "/"+evil), v.get("/login?next=/%22%3E%3Cscript%3E"),
		staff.get("/admin/services?q=%3Cscript%3Ealert(4)%3C/script%3E"), staff.get("/admin/services/" + svc.UID), staff.get("/admin/operations"),
		staff.get("/admin/audit?q=%3Cscript%3E"), staff.get("/admin/audit"), staff.get("/admin"),
	}
	for _, a := range pages {
		for n := range a.doc.Descendants() {
			if n.Type != html.ElementNode {
				continue
			}
			if n.Data == "script" && attr(n, "src") == "" || n.Data == "img" && attr(n, "src") == "x" || n.Data == "b" && read(n) == "h101" {
				t.Errorf("%s: <%s> from what somebody typed", a.what, n.Data)
			}
			for _, x := range n.Attr {
				if strings.HasPrefix(x.Key, "on") || (x.Key == "href" || x.Key == "action") && strings.HasPrefix(strings.ToLower(x.Val), "javascript:") {
					t.Errorf("%s: attribute %s=%q", a.what, x.Key, x.Val)
				}
			}
		}
	}
	v.get(backups(s.h100)).want(200, `"><script>alert(1)</script>`)
}

func TestLargeBodies(t *testing.T) {
	t.Parallel()
	s := open(t)
	v := s.as("ada@demo.test")
	before := s.trace()
	for _, path := range []string{backups(s.h100), "/services/" + s.h100.UID + "/schedule", "/login"} {
		if a := v.do("POST", path, strings.NewReader("note="+strings.Repeat("x", 10<<20))); a.StatusCode != http.StatusRequestEntityTooLarge || !strings.Contains(a.refusal(), "more than the portal takes") {
			t.Errorf("%s: 10 MB answered with %d, %q", path, a.StatusCode, a.refusal())
		}
	}
	if diff := cmp.Diff(before, s.trace()); diff != "" {
		t.Error(diff)
	}
}

func TestRemove(t *testing.T) {
	t.Parallel()
	s := open(t)
	only := s.addCopy(s.h100, 26*time.Hour, "the only one")
	v := s.as("ada@demo.test")
	v.get(backups(s.h100, only.UID, "delete")).want(200, "h100", "Thu 19 Nov 11:00", "the only one", "This is your only good backup.", "The machine itself", "Keep it")
	s.must(setProtected(s, only, true))
	v.post(backups(s.h100, only.UID, "delete")).want(409, "This backup is protected. End its protection first.", "End its protection")
	s.must(setProtected(s, only, false))
	v.post(backups(s.h100, only.UID, "delete")).wantTo(backups(s.h100))
	a := v.get(backups(s.h100)).want(200, "The copy is being removed.", "Removing the copy of Thu 19 Nov 11:00", "It is being removed.")
	if got := a.all("data-operation"); len(got) != 1 || attr(got[0], "data-kind") != "backup_delete" {
		t.Errorf("operations: %v", operationMarks(a))
	}
	v.post(backups(s.h100, only.UID, "delete")).want(409, "being removed already")
}

func TestNothingMayGo(t *testing.T) {
	t.Parallel()
	s := open(t)
	one := 1
	s.must(s.db.SetServiceQuota(t.Context(), "cli", s.h100.UID, &one))
	s.must(setProtected(s, s.addCopy(s.h100, 26*time.Hour, ""), true))
	v := s.as("ada@demo.test")
	a := v.get(backups(s.h100)).want(200, "Your one place is used", "Every one of them is protected")
	if n := button(a, "backup-now"); n == nil || !has(n, "disabled") {
		t.Error("the button leads to a choice of nothing")
	}
	v.post(backups(s.h100)).want(409, "Every one of them is protected")
	v.get(backups(s.h100, "replace")).want(200, "This backup is protected.")
}

// setProtected is what jobs save once the storage shows it.
func setProtected(s *site, b portal.Backup, protect bool) error {
	op, err := s.db.Enqueue(s.t.Context(), 0, s.h100.UID, portal.ProtectBackup("cli", b.UID, protect))
	if err != nil {
		return err
	}
	if _, err := s.db.Claim(s.t.Context(), portal.DefaultLimits); err != nil {
		return err
	}
	if op, err = s.db.Operation(s.t.Context(), op.ID); err != nil {
		return err
	}
	op.State, op.EndedAt = portal.StateSucceeded, s.db.Now()
	return s.db.Save(s.t.Context(), "protect", &op, store.Changes{Protected: &protect})
}

func TestProtect(t *testing.T) {
	t.Parallel()
	s := open(t)
	a1, a2 := s.addCopy(s.h100, 50*time.Hour, ""), s.addCopy(s.h100, 26*time.Hour, "")
	v := s.as("ada@demo.test")
	v.post(backups(s.h100, a1.UID, "protect"), "protect", "2").want(422)
	v.post(backups(s.h100, a1.UID, "protect"), "protect", "0").want(409, "is not protected")
	v.post(backups(s.h100, a1.UID, "protect"), "protected", "1").wantTo(backups(s.h100) + "#backup-" + a1.UID)
	v.post(backups(s.h100, a1.UID, "protect"), "protect", "1").want(409, "being changed already")
	v.post(backups(s.h100, a2.UID, "protect")).want(409, "You can protect 1 backup.")
	v.get(backups(s.h100)).want(200, "Protecting a copy")
}

func TestSuspectAndMissing(t *testing.T) {
	t.Parallel()
	s := open(t)
	good := s.addCopy(s.h100, 80*time.Hour, "")
	suspect := s.addCopy(s.h100, 26*time.Hour, "", func(b *portal.Backup) {
		b.Class, b.Reason = portal.ClassSuspect, "Much smaller than the last one: 1 KiB instead of 4 GiB."
	})
	gone := s.addCopy(s.h100, 50*time.Hour, "", func(b *portal.Backup) {
		b.Class, b.ClassBefore, b.MissingSince = portal.ClassMissing, portal.ClassGood, start.Add(-time.Hour)
	})
	v := s.as("ada@demo.test")
	v.get(backups(s.h100)).want(200, "2/3", "Much smaller than the last one", "It's fine", "Removed outside the portal", "since 12:00", "Seen, clear this row")
	v.post(backups(s.h100, good.UID, "fine")).want(409, "not in doubt")
	v.post(backups(s.h100, suspect.UID, "fine")).wantTo(backups(s.h100) + "#backup-" + suspect.UID)
	v.post(backups(s.h100, good.UID, "dismiss")).want(409, "still exists")
	v.post(backups(s.h100, gone.UID, "delete")).want(409, "removed outside the portal")
	v.post(backups(s.h100, gone.UID, "dismiss")).wantTo(backups(s.h100))
	a := v.get(backups(s.h100)).want(200, "2/3")
	if strings.Contains(a.body, gone.UID) || strings.Contains(a.text(), "It's fine") {
		t.Error("the cleared row or the doubt is still there")
	}
}

func TestOperationsPages(t *testing.T) {
	t.Parallel()
	s := open(t)
	copied := s.addCopy(s.h100, 26*time.Hour, "")
	failed := s.fail(s.h100, "The backup storage is full. Your other backup is untouched.")
	running := s.begin(s.h100, "")
	v := s.as("ada@demo.test")
	page := "/services/" + s.h100.UID + "/operations/"
	v.get(page+failed.UID).want(200, "The backup storage is full.", "Your other backup is untouched.", "Your machine was not changed.", "Our team was told at 13:00", failed.Reference, "Write the copy")
	if strings.Contains(v.get(page+failed.UID).body, "exit code 255") {
		t.Error("a client reads what is for staff")
	}
	v.get(page+s.operationOf[copied.UID].UID).want(200, "The backup is in your list.")
	v.post(page+failed.UID+"/retry").want(409, "A backup of this machine is running already", "See how it goes")
	v.post(page+s.operationOf[copied.UID].UID+"/retry").want(409, "Only an operation that failed can be tried again.")
	v.post(page+failed.UID+"/cancel").want(409, "This has ended already.")
	v.post(page + running.UID + "/cancel").wantTo(backups(s.h100))
	v.get(page+running.UID).want(200, "Being cancelled")
	v.post(page+running.UID+"/cancel").want(409, "being cancelled already")

	op, err := s.db.Operation(t.Context(), running.ID)
	s.must(err)
	op.State, op.EndedAt, op.Reason, op.DumpPlace = portal.StateCancelled, s.db.Now(), "Cancelled. Your other backups are untouched.", ""
	b, err := s.db.Backup(t.Context(), op.BackupID)
	s.must(err)
	b.Class = portal.ClassFailed
	s.must(s.db.Save(t.Context(), "end", &op, store.Changes{Backup: &b, RemovedID: b.ID, RemovedHow: "never made"}))
	a := v.post(page + failed.UID + "/retry")
	next := strings.TrimPrefix(a.Header.Get("Location"), page)
	a.wantTo(page + next)
	v.get(page+next).want(200, "Waiting", "See the try before")
	v.get(page+failed.UID).want(200, "See the retry")
	v.post(page+failed.UID+"/retry").want(409, "tried again already")
	v.post(page + next + "/cancel").wantTo(backups(s.h100))
	v.get(backups(s.h100)).want(200, "Cancelled. Nothing was begun.")
}

func TestHistoryGoesOn(t *testing.T) {
	t.Parallel()
	s := open(t)
	for i := range 53 {
		s.fail(s.h100, portal.Say("Number %d failed.", i))
	}
	v := s.as("ada@demo.test")
	a := v.get("/services/"+s.h100.UID+"/operations").want(200, "Number 52 failed.", "Number 3 failed.")
	if len(a.all("data-operation")) != 50 {
		t.Errorf("%d on the first page", len(a.all("data-operation")))
	}
	next := ""
	for _, n := range a.all("rel") {
		if attr(n, "rel") == "next" {
			next = attr(n, "href")
		}
	}
	b := v.get(next).want(200, "Number 2 failed.", "Number 0 failed.")
	if len(b.all("data-operation")) != 3 {
		t.Errorf("%d on the second page", len(b.all("data-operation")))
	}
}
