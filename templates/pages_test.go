package templates

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"
)

// TestPages walks over every page in every state: what holds for all pages holds for each.
func TestPages(t *testing.T) {
	t.Parallel()
	for _, p := range gallery() {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			doc := parse(t, render(t, p.page.View()))
			checkPolicy(t, doc)
			checkIDs(t, doc)
			checkNames(t, doc)
			checkForms(t, doc)
			checkLandmarks(t, doc)
		})
	}
}

// checkPolicy looks for what the content security policy forbids.
func checkPolicy(t *testing.T, doc *html.Node) {
	t.Helper()
	for n := range all(doc) {
		if n.Data == "style" || (n.Data == "script" && attr(n, "src") == "") {
			t.Errorf("inline <%s>", n.Data)
		}
		for _, a := range n.Attr {
			if a.Key == "style" || strings.HasPrefix(a.Key, "on") || strings.HasPrefix(a.Key, "hx-on") {
				t.Errorf("<%s> has the attribute %s", n.Data, a.Key)
			}
			if (a.Key == "src" || a.Key == "href" && n.Data == "link") && !strings.HasPrefix(a.Val, "/static/") {
				t.Errorf("<%s> loads %q, which is not ours", n.Data, a.Val)
			}
			if strings.Contains(a.Val, "about:invalid") || strings.HasPrefix(a.Val, "javascript:") {
				t.Errorf("<%s %s=%q> was not a safe address", n.Data, a.Key, a.Val)
			}
		}
	}
}

// checkIDs wants every id once, and every reference to one answered.
func checkIDs(t *testing.T, doc *html.Node) {
	t.Helper()
	seen := map[string]bool{}
	for n := range all(doc) {
		if id := attr(n, "id"); id != "" {
			if seen[id] {
				t.Errorf("id %q twice", id)
			}
			seen[id] = true
		}
	}
	for n := range all(doc) {
		for _, key := range []string{"for", "aria-describedby", "aria-labelledby"} {
			for id := range strings.FieldsSeq(attr(n, key)) {
				if !seen[id] {
					t.Errorf("<%s %s=%q> names an id that is not there", n.Data, key, id)
				}
			}
		}
	}
}

// checkNames wants a name on every button, link and field.
func checkNames(t *testing.T, doc *html.Node) {
	t.Helper()
	labels := map[string]bool{}
	for n := range all(doc) {
		if n.Data == "label" && text(n) != "" {
			labels[attr(n, "for")] = true
		}
	}
	for n := range all(doc) {
		switch n.Data {
		case "button", "a", "summary":
			if text(n) == "" && attr(n, "aria-label") == "" {
				t.Errorf("<%s class=%q> has no name", n.Data, attr(n, "class"))
			}
		case "input", "select", "textarea":
			if attr(n, "type") == "hidden" {
				continue
			}
			inside := false
			for up := n.Parent; up != nil; up = up.Parent {
				inside = inside || up.Data == "label" && text(up) != ""
			}
			if !inside && attr(n, "aria-label") == "" && (attr(n, "id") == "" || !labels[attr(n, "id")]) {
				t.Errorf("<%s name=%q> has no label", n.Data, attr(n, "name"))
			}
		}
	}
}

// checkForms wants every form to go somewhere of ours, and nothing that changes the world to be a GET.
func checkForms(t *testing.T, doc *html.Node) {
	t.Helper()
	for n := range all(doc) {
		if n.Data != "form" {
			continue
		}
		method, action := attr(n, "method"), attr(n, "action")
		if method != "post" && attr(n, "role") != "search" {
			t.Errorf("form to %q has method %q", action, method)
		}
		if action != "" && !strings.HasPrefix(action, "/") {
			t.Errorf("form goes to %q", action)
		}
		for m := range all(n) {
			if m != n && m.Data == "form" {
				t.Errorf("a form within the form to %q", action)
			}
		}
	}
}

func checkLandmarks(t *testing.T, doc *html.Node) {
	t.Helper()
	if n := len(find(doc, "main", "")); n != 1 {
		t.Errorf("%d <main>", n)
	}
	if n := len(find(doc, "h1", "")); n != 1 {
		t.Errorf("%d <h1>", n)
	}
	titles := find(doc, "title", "")
	if len(titles) != 1 || text(titles[0]) == "" {
		t.Errorf("no title")
	}
}

// TestClassesExist looks for class names that no rule of the built style sheet knows: typing errors, mostly.
func TestClassesExist(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	files, err := os.ReadDir("../static/dist")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if strings.HasSuffix(f.Name(), ".css") {
			sheet, err := os.ReadFile("../static/dist/" + f.Name())
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range regexp.MustCompile(`\.(-?[A-Za-z_][A-Za-z0-9_-]*)`).FindAllStringSubmatch(string(sheet), -1) {
				known[m[1]] = true
			}
		}
	}
	if len(known) == 0 {
		t.Fatal("no style sheet in static/dist: run `npm ci --ignore-scripts` in static, then `go run ./static/build`")
	}
	// These carry a meaning for scripts and readers, and no look of their own.
	for _, name := range []string{
		"btn-plain", "copy-good", "copy-doubt", "figure-plain", "head-service", "live-lost", "mark-neutral", "need", "notices",
		"operation-card", "protection-good",
	} {
		known[name] = true
	}
	unknown := map[string]string{}
	for _, p := range gallery() {
		for n := range all(parse(t, render(t, p.page.View()))) {
			for name := range strings.FieldsSeq(attr(n, "class")) {
				if !known[name] {
					unknown[name] = p.name
				}
			}
		}
	}
	for name, page := range unknown {
		t.Errorf("class %q (page %s) has no rule", name, page)
	}
}

// TestBackupMarks holds the marks that the contract promises on the backups page.
func TestBackupMarks(t *testing.T) {
	t.Parallel()
	page := backupsPage()
	page.List.Rows = variedRows()
	page.Running = []Running{runningBackup()}
	page.Counter = Counter{Used: 10, Quota: 3, Running: 1}
	doc := parse(t, render(t, page.View()))

	counters := find(doc, "", "data-count")
	if len(counters) != 1 || attr(counters[0], "data-count") != "backups" || text(counters[0]) != "10/3" {
		t.Fatalf("counter: %d, %q", len(counters), text(counters[0]))
	}
	if whole := text(counters[0].Parent); !strings.Contains(whole, ", remove 7") {
		t.Errorf("over quota the counter says %q", whole)
	}
	states := map[string]string{}
	var order []string
	for _, n := range find(doc, "", "data-backup") {
		states[attr(n, "data-backup")] = attr(n, "data-state") + " " + attr(n, "data-origin")
		order = append(order, attr(n, "data-backup"))
	}
	want := map[string]string{"01k8newcopy": "running manual", "01k8manual": "good manual", "01k8suspect": "suspect scheduled", "01k8failed": "failed scheduled", "01k8missing": "missing scheduled", "01k8before": "good before-restore", "01k8partial": "partial scheduled"}
	for uid, state := range want {
		if states[uid] != state {
			t.Errorf("row %s says %q, want %q", uid, states[uid], state)
		}
	}
	if order[0] != "01k8newcopy" {
		t.Errorf("the running copy is not on top but %s", order[0])
	}
	operations := find(doc, "", "data-operation")
	if len(operations) != 1 || attr(operations[0], "data-kind") != "backup" || attr(operations[0], "data-state") != "running" {
		t.Errorf("%d operations", len(operations))
	}
	slots := map[string]int{}
	for _, n := range find(doc, "", "data-slot") {
		if attr(n, "data-date") == "" {
			t.Error("slot without a date")
		}
		slots[attr(n, "data-state")]++
	}
	if diff := cmp.Diff(map[string]int{"done": 21, "late": 1, "failed": 1, "missed": 1, "skipped": 2, "due": 1}, slots); diff != "" {
		t.Errorf("slots: %s", diff)
	}
}

// TestForms holds the routes and fields that the contract promises.
func TestForms(t *testing.T) {
	t.Parallel()
	page := backupsPage()
	page.Frame.Refusal = &Refusal{Sentence: "All 10 places are used.", Ways: []WayOut{{Label: "Back up now, then remove the oldest", Post: page.Service.path("/backups"), Fields: []Field{{"replace", "01k8copy990"}}}}}
	base := page.Service.path("")
	got := formFields(parse(t, render(t, page.View())))
	week := []string{"day_0", "time_0", "day_1", "time_1", "day_2", "time_2", "day_3", "time_3", "day_4", "time_4", "day_5", "time_5", "day_6", "time_6", "same", "time_all", "zone"}
	uid := page.List.Rows[0].UID
	for action, fields := range map[string][][]string{
		base + "/backups":                     {{"replace"}, {"note"}},
		base + "/schedule":                    {week},
		base + "/backups/" + uid + "/note":    {{"note"}},
		base + "/backups/" + uid + "/protect": {{"protected"}},
		"/logout":                             {nil},
	} {
		if diff := cmp.Diff(fields, got[action]); diff != "" {
			t.Errorf("form to %s: %s", action, diff)
		}
	}
	login := formFields(parse(t, render(t, LoginPage{Next: "/services"}.View())))
	if diff := cmp.Diff(map[string][][]string{"/login": {{"email", "password", "next"}}}, login); diff != "" {
		t.Errorf("login: %s", diff)
	}
	remove := DeletePage{Service: head(""), Backup: "b1", Remove: Allowed()}
	if got := formFields(parse(t, render(t, remove.View()))); len(got[base+"/backups/b1/delete"]) != 1 {
		t.Errorf("no form to remove a copy: %v", got)
	}
}

// TestSuggestionKeepsAllDays holds that the one tap sends a whole week.
func TestSuggestionKeepsAllDays(t *testing.T) {
	t.Parallel()
	page := backupsPage()
	page.Schedule = noSchedule()
	forms := formFields(parse(t, render(t, page.View())))[page.Service.path("/schedule")]
	if len(forms) != 2 {
		t.Fatalf("%d forms to the schedule", len(forms))
	}
	for i := range 7 {
		for _, name := range []string{dayField(i), timeField(i)} {
			if !slices.Contains(forms[0], name) {
				t.Errorf("the one tap does not send %s", name)
			}
		}
	}
}

// TestCannot holds that what can't be done stays in place, disabled, with its reason.
func TestCannot(t *testing.T) {
	t.Parallel()
	page := backupsPage()
	page.BackupNow.Act = Denied("A backup has been running since 02:01.")
	page.Schedule.Save = Denied("The service is suspended.")
	page.List.Rows[0].Remove = Denied("It is protected.")
	doc := parse(t, render(t, page.View()))
	for id, why := range map[string]string{"backup-why-not": "A backup has been running since 02:01.", "schedule-why-not": "The service is suspended.", "remove-why-" + page.List.Rows[0].UID: "It is protected."} {
		var button, reason *html.Node
		for n := range all(doc) {
			if attr(n, "aria-describedby") == id {
				button = n
			}
			if attr(n, "id") == id {
				reason = n
			}
		}
		if button == nil || !has(button, "disabled") {
			t.Errorf("%s: the button is not there, disabled", id)
		}
		if reason == nil || text(reason) != why {
			t.Errorf("%s: the reason is not there", id)
		}
	}
	if links := find(doc, "a", "href"); slices.ContainsFunc(links, func(n *html.Node) bool {
		return attr(n, "href") == page.Service.path("/backups/"+page.List.Rows[0].UID+"/delete")
	}) {
		t.Error("a protected copy still leads to its removal")
	}
}

// TestSharedReasonIsSaidOnce holds that a reason that meets many copies stands above the list, and once.
func TestSharedReasonIsSaidOnce(t *testing.T) {
	t.Parallel()
	const why = "You can protect 1 backup. End the protection of another one first."
	list := BackupList{Rows: rows(3)}
	list.Rows[0].Protect, list.Rows[1].Protect = Denied(why), Denied(why)
	doc := parse(t, "<main>"+render(t, copies(head(""), list))+"</main>")
	if n := strings.Count(text(doc), why); n != 1 {
		t.Errorf("it is said %d times", n)
	}
	checkIDs(t, doc)
}

// TestStaleRunShowsNoFigures holds the promise of no frozen progress.
func TestStaleRunShowsNoFigures(t *testing.T) {
	t.Parallel()
	r := runningBackup()
	r.Stale = "We can't reach your host since 02:02."
	out := render(t, rightNow(head(""), []Running{r}, Idle{}))
	for _, figure := range []string{"63", "20 of 32 GiB", "210 MiB/s", "2 min left"} {
		if strings.Contains(out, figure) {
			t.Errorf("a stale run still shows %q", figure)
		}
	}
	if !strings.Contains(text(parse(t, out)), r.Stale.String()) {
		t.Error("it does not say since when")
	}
}

// TestFragmentsFitTheirPages holds that every fragment has its element on the page, once, and is what the page shows.
func TestFragmentsFitTheirPages(t *testing.T) {
	t.Parallel()
	service := gallery()
	for _, p := range service {
		live, ok := p.page.(interface{ Fragments() []Fragment })
		if !ok {
			continue
		}
		doc := parse(t, render(t, p.page.View()))
		elements := map[string]int{}
		for _, n := range find(doc, "", "sse-swap") {
			elements[attr(n, "sse-swap")]++
		}
		page := render(t, p.page.View())
		sent := map[string]int{}
		for _, f := range live.Fragments() {
			sent[f.Event]++
			if body := render(t, f.Body); elements[f.Event] == 1 && !strings.Contains(page, body) {
				t.Errorf("%s: the fragment %s is not what the page shows", p.name, f.Event)
			}
		}
		for event, n := range elements {
			if n != 1 || sent[event] != 1 {
				t.Errorf("%s: event %s has %d elements and %d fragments", p.name, event, n, sent[event])
			}
		}
	}
}

// TestRestoreIsFarFromRemove holds that the two buttons of a copy that must not be mistaken don't stand side by side.
func TestRestoreIsFarFromRemove(t *testing.T) {
	t.Parallel()
	doc := parse(t, render(t, backupsPage().View()))
	found := 0
	for n := range all(doc) {
		if (n.Data != "button" && n.Data != "a") || !strings.HasPrefix(text(n), "Restore the copy") {
			continue
		}
		found++
		for o := range n.Parent.Descendants() {
			if strings.HasPrefix(text(o), "Remove") {
				t.Errorf("%q is beside %q", text(o), text(n))
			}
		}
	}
	if found == 0 {
		t.Error("there is nothing to restore a copy with")
	}
}

// TestTextIsEscaped holds that what people type stays text.
func TestTextIsEscaped(t *testing.T) {
	t.Parallel()
	const evil = `<script>alert(1)</script>"'><img src=x onerror=alert(1)>`
	page := backupsPage()
	page.Service.Name, page.List.Rows[0].Note, page.BackupNow.Note = evil, evil, evil
	page.Running = []Running{runningBackup()}
	page.Running[0].Note, page.Running[0].Machine = evil, evil
	doc := parse(t, render(t, page.View()))
	checkPolicy(t, doc)
	if n := len(find(doc, "img", "onerror")); n > 0 {
		t.Errorf("%d pictures out of a note", n)
	}
}

// The helpers below read HTML.

func parse(t testing.TB, page string) *html.Node {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// all gives every element below and with n, in the order of the document.
func all(n *html.Node) func(yield func(*html.Node) bool) {
	var walk func(*html.Node, func(*html.Node) bool) bool
	walk = func(n *html.Node, yield func(*html.Node) bool) bool {
		if n.Type == html.ElementNode && !yield(n) {
			return false
		}
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			if !walk(c, yield) {
				return false
			}
		}
		return true
	}
	return func(yield func(*html.Node) bool) { walk(n, yield) }
}

// find gives the elements with this name ("" any) that have this attribute ("" any).
func find(doc *html.Node, name, key string) []*html.Node {
	var list []*html.Node
	for n := range all(doc) {
		if (name == "" || n.Data == name) && (key == "" || has(n, key)) {
			list = append(list, n)
		}
	}
	return list
}

func has(n *html.Node, key string) bool {
	return slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == key })
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

// text is what n says, with single spaces.
func text(n *html.Node) string {
	var b strings.Builder
	var walk func(*html.Node)
	walk = func(n *html.Node) {
		if n.Type == html.TextNode {
			b.WriteString(n.Data)
		}
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			walk(c)
		}
	}
	walk(n)
	return strings.Join(strings.Fields(b.String()), " ")
}

// formFields gives for each form's action the names of its fields, form by form.
func formFields(doc *html.Node) map[string][][]string {
	forms := map[string][][]string{}
	for _, f := range find(doc, "form", "action") {
		var names []string
		for n := range all(f) {
			if name := attr(n, "name"); name != "" && (n.Data == "input" || n.Data == "select" || n.Data == "textarea") {
				names = append(names, name)
			}
		}
		action := attr(f, "action")
		forms[action] = append(forms[action], names)
	}
	return forms
}

func ExampleInLine() {
	fmt.Println(InLine(1), "·", InLine(12), "·", InLine(23))
	// Output: 1st in line · 12th in line · 23rd in line
}
