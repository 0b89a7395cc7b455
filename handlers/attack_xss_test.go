package handlers_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"stowage/portal"
	"stowage/store"
)

// payload is one text that tries to become more than text.
type payload struct{ Group, Text string }

func corpus(t *testing.T) (all []payload) {
	t.Helper()
	f, err := os.Open("testdata/xss.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var p payload
		if err := json.Unmarshal(lines.Bytes(), &p); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if len(all) < 200 {
		t.Fatalf("only %d payloads", len(all))
	}
	return all
}

// chunks are the payloads, some at a time in one text.
func chunks(t *testing.T) (all []string) {
	for some := range slices.Chunk(corpus(t), 36) {
		var texts []string
		for _, p := range some {
			texts = append(texts, p.Text)
		}
		all = append(all, "zq "+strings.Join(texts, " zq ")+" zq")
	}
	return all
}

// Columns that hold no free text: what the portal makes up itself, words of a fixed list, and keys by which rows find
// each other. Every other text column of the schema is filled with payloads, new ones as well.
var fixedColumns = map[string]string{
	"*":                "uid state kind mode zone language role step what local_date slot_date class class_before origin verification removed_how hash seal",
	"clients":          "created_at",
	"sessions":         "token data",
	"settings":         "key",
	"lease":            "holder zones",
	"login_failures":   "key",
	"products":         "compress eviction last_copy hardware",
	"servers":          "endpoints fingerprints rights_missing findings",
	"services":         "hardware own addresses",
	"schedules":        "days",
	"snapshots":        "hardware",
	"snapshot_configs": "machine",
	"machine_configs":  "machine",
	"disk_places":      "node name type",
	"operations":       "reference timing actor known_upids dump_place delete_place work",
	"backups":          "disks_in disks_out contents",
	"pauses":           "scope target created_by",
	"audit":            "actor entity_uid",
	"outbox":           "channel bundle",
	"logins":           "password_hash mail_switches",
	"mails":            "message_uid topic bundle notice",
	"mail_reports":     "date",
	"password_resets":  "token_hash",
	"devices":          "token_hash",
	"goose_db_version": "tstamp",
}

// unusedColumns are columns that nothing fills yet, or that no page shows.
var unusedColumns = map[string]string{
	"outbox":     "topic payload",
	"forgotten":  "email address",
	"tombstones": "entity entity_uid why",
	"services":   "brand",
	"operations": "secret",
	"servers":    "ca",
	"products":   "fleecing",
}

// hiddenColumns are filled, and no page shows them.
var hiddenColumns = map[string]string{
	"backups": "upid encrypted", "nodes": "foreign_dump", "operations": "cancel_by", "operation_steps": "staff", "storages": "content", "snapshots": "parent",
}

func holds(lists map[string]string, table, column string) bool {
	return slices.Contains(strings.Fields(lists[table]+" "+lists["*"]), column)
}

// textColumns gives the columns of the schema that hold free text.
func (a *arena) textColumns() (all [][2]string) {
	a.t.Helper()
	rows, err := a.raw.QueryContext(a.t.Context(), `SELECT m.name, c.name FROM sqlite_master m JOIN pragma_table_info(m.name) c
		WHERE m.type = 'table' AND c.type IN ('TEXT', 'BLOB') AND m.name NOT IN ('sqlite_sequence', 'audit_head', 'installation') ORDER BY 1, 2`)
	a.must(err)
	defer rows.Close()
	for rows.Next() {
		var c [2]string
		a.must(rows.Scan(&c[0], &c[1]))
		if !holds(fixedColumns, c[0], c[1]) && c != [2]string{"servers", "secret"} {
			all = append(all, c)
		}
	}
	a.must(rows.Err())
	return all
}

// fill puts the text of say into every free text that isn't empty, and into the names within JSON.
func (a *arena) fill(say func(table, column string) string) {
	a.t.Helper()
	a.fault.Store(new(say("demo", "fault")))
	for _, c := range a.textColumns() {
		value := `$1`
		if c == [2]string{"logins", "email"} {
			value = `lower($1) || id`
		}
		if slices.Contains([][2]string{{"backups", "volid"}, {"servers", "name"}}, c) {
			value = `$1 || id`
		}
		if c == [2]string{"task_logs", "upid"} {
			value = `$1 || operation_id`
		}
		a.sql(fmt.Sprintf(`UPDATE %s SET %s = %s WHERE COALESCE(%s, '') <> ''`, c[0], c[1], value, c[1]), say(c[0], c[1]))
	}
	// Whether a copy is on its machine's host is no matter of words.
	a.sql(`UPDATE backups SET node = (SELECT s.node FROM services s WHERE s.id = service_id) WHERE service_id IS NOT NULL AND node <> ''`)
	hardware := func(table string) string {
		text, err := json.Marshal(portal.Hardware{
			Sockets: 1, Cores: 2, MemoryMB: 4096, Disks: []portal.Disk{{Key: say(table, "disk"), Size: 32 << 30, Storage: say(table, "disk storage"), Backup: true}},
			Nets: []portal.Net{{Key: say(table, "net"), MAC: say(table, "mac"), Bridge: say(table, "bridge")}},
		})
		a.must(err)
		return string(text)
	}
	list := func(v any) string {
		text, err := json.Marshal(v)
		a.must(err)
		return string(text)
	}
	a.sql(`UPDATE mails SET notice = $1`, list(portal.Notice{
		Machine: say("mails", "machine"), Text: string(portal.Verbatim(say("mails", "text"))), Reference: say("mails", "reference"), Address: say("mails", "from"),
		SnapshotExpiring: portal.SnapshotExpiring{Description: say("mails", "description")}, Why: say("mails", "why"), Title: say("mails", "title"),
	}))
	a.sql(`UPDATE services SET hardware = $1, own = $2, addresses = $3`, hardware("services"),
		list(portal.Spec{Templates: []portal.Template{{Name: say("services", "template"), VMID: 900}}}), list([]string{say("services", "address")}))
	a.sql(`UPDATE operations SET kind = 'reinstall', work = $1 WHERE kind = 'backup' AND state = 'held'`, list(portal.Work{Template: say("operations", "template")}))
	a.sql(`UPDATE backups SET disks_in = $1, disks_out = $2 WHERE class = 'good'`,
		list([]portal.Disk{{Key: say("backups", "disk in"), Size: 1 << 30, Backup: true}}), list([]portal.Disk{{Key: say("backups", "disk out"), Size: 1 << 30}}))
	a.sql(`UPDATE servers SET rights_missing = $1, findings = $2, endpoints = $3`, list([]string{say("servers", "right")}),
		list([]portal.Finding{{Level: "error", Text: portal.Verbatim(say("servers", "finding")), Mend: portal.Verbatim(say("servers", "mend"))}}), list([]string{say("servers", "endpoint")}))
}

// stage makes a world in which every page has something to say, and gives what there is to look at.
func (a *arena) stage() (targets []target) {
	a.t.Helper()
	ctx := a.t.Context()
	other, err := a.db.AddServer(ctx, "cli", portal.Server{Name: "other", Endpoints: []string{"https://127.0.0.1:2"}, TokenID: "portal@pve!api"}, "secret")
	a.must(err)
	a.must(a.db.SaveUnreachable(ctx, other.ID, "connection refused"))
	a.must(a.db.SaveCheck(ctx, a.pve.ID, []portal.Finding{{Level: "ok", Text: "x"}}))

	svc, x := a.service()
	full := func(b *portal.Backup) {
		b.DisksOut, b.Reason, b.Encrypted, b.Verification, b.UPID = []portal.Disk{{Key: "scsi1", Size: 1}}, "a reason", "ab:cd", "ok", "UPID:x"
	}
	for i, change := range []func(*portal.Backup){
		full,
		func(b *portal.Backup) { full(b); b.Class = portal.ClassSuspect },
		func(b *portal.Backup) { full(b); b.Class, b.MissingSince = portal.ClassMissing, b.StartedAt },
		func(b *portal.Backup) { full(b); b.Class = portal.ClassPartial },
	} {
		b := a.addCopy(svc, time.Duration(3+24*i)*time.Hour, "a note", change)
		y := x
		y.backup, y.operation = b.UID, a.operationOf[b.UID].UID
		targets = append(targets, y)
	}
	a.sql(`INSERT INTO backups (uid, server_id, node, storage, volid, vmid, class, origin, started_at) VALUES ('external', $1, 'pve1', 'local', 'local:backup/x', $2, 'external', 'external', 1)`, a.pve.ID, svc.VMID)
	schedule, err := a.db.Schedule(ctx, svc.ID)
	a.must(err)
	for i, state := range []string{"failed", "missed", "skipped", "late", "done"} {
		date := start.AddDate(0, 0, -2-i)
		a.sql(`INSERT INTO slots (service_id, schedule_id, local_date, due_at, start_by, state, reason, ended_at) VALUES ($1, $2, $3, $4, $4, $5, 'a reason', $4)`,
			svc.ID, schedule.ID, date.Format("2006-01-02"), date.Unix(), state)
	}
	a.sql(`INSERT INTO slots (service_id, schedule_id, local_date, due_at, start_by, state, reason, ended_at) VALUES ($1, $2, '2026-11-20', $3, $3, 'failed', 'a reason', $3)`, svc.ID, schedule.ID, start.Unix()-60)

	failed := a.failed()
	a.sql(`UPDATE operations SET warning = 'a warning', upid = 'UPID:1', intent_node = 'pve1', intent_at = 1, mode = 'snapshot', node = 'pve1', waits_for = 'x', cancel_by = 'x', note = 'a note' WHERE uid = $1`, failed.operation)
	a.sql(`INSERT INTO task_logs (operation_id, upid, at, exit, log) SELECT id, 'UPID:0', 1, 'job errors', 'INFO: one' FROM operations`)
	held := a.held()
	a.sql(`UPDATE operations SET staff_reason = 'no line for 2 h', note = 'a note' WHERE uid = $1`, held.operation)
	a.sql(`UPDATE operation_steps SET staff = 'x', text = 'y'`)
	off, replaced, locked, paused := a.suspend(a.copied()), a.copied(), a.copied(), a.copied()
	a.sql(`UPDATE services SET state = 'machine_replaced' WHERE uid = $1`, replaced.service)
	a.sql(`UPDATE services SET lock = 'backup', lock_since = 1, lock_stale_at = 2, lock_task = 'UPID:3: interrupted' WHERE uid = $1`, locked.service)
	_, err = a.db.AddPause(ctx, "cli", portal.Pause{Scope: "service", Target: paused.service, Reason: "new disks", EndsAt: start.Add(time.Hour)})
	a.must(err)
	away := a.copied()
	a.sql(`UPDATE services SET server_id = $1 WHERE uid = $2`, other.ID, away.service)
	away.server = other.UID
	mailed := a.givenUp()
	for key, value := range map[string]string{store.Brand: "Stowage", store.Support: "https://help.example"} {
		a.must(a.db.SetSetting(ctx, "cli", key, value))
	}
	a.sql(`INSERT INTO nodes (server_id, name, online, down_since, seen_at, foreign_dump) VALUES ($1, 'pve2', 0, 1, 1, 'UPID:9')`, other.ID)
	a.sql(`INSERT INTO storages (server_id, node, name, type, content, shared, active, total, used, seen_at, doubt, doubt_since, brake_since, external)
		VALUES ($1, 'pve2', 'local', 'dir', 'backup', 0, 0, 100, 99, 1, '4 of 4', 1, 1, 3)`, other.ID)
	a.doubt(target{})
	a.brake(target{})
	a.sql(`DROP TRIGGER audit_no_update`)
	a.sql(`UPDATE audit SET before = 'x', after = 'y', address = '127.0.0.1'`)
	running := a.idle()
	runs, err := a.db.ServiceByUID(ctx, running.service)
	a.must(err)
	running.operation = a.begin(runs, "a note").UID
	a.sql(`UPDATE operations SET done_bytes = 5, total_bytes = 10, rate = 1, percent = 50, upid = 'UPID:2' WHERE uid = $1`, running.operation)
	waiting := a.waits()
	a.sql(`UPDATE operations SET waits_for = 'the node is paused', note = 'a note', run_after = $1, attempt = 1 WHERE uid = $2`, start.Add(time.Hour).Unix(), waiting.operation)
	a.sql(`UPDATE services SET snapshots_why = 'a reason'`)
	return append(targets, mailed, failed, held, off, replaced, locked, paused, away, running, waiting)
}

// addresses are those of every page of a route about any of the targets.
func addresses(keys []string, targets []target) (all []string) {
	for _, key := range keys {
		path, ok := strings.CutPrefix(key, "GET ")
		if !ok || strings.HasPrefix(path, "/static/") || strings.HasSuffix(path, "/events") {
			continue
		}
		for _, x := range targets {
			all = append(all, x.address(path))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// skeleton is a document without its words: the elements, and the names of their attributes.
func skeleton(n *html.Node) string {
	var out strings.Builder
	var walk func(*html.Node, int)
	walk = func(n *html.Node, depth int) {
		if n.Type == html.ElementNode {
			names := make([]string, 0, len(n.Attr))
			for _, x := range n.Attr {
				names = append(names, x.Namespace+":"+x.Key)
			}
			slices.Sort(names)
			fmt.Fprintf(&out, "%s<%s %s>\n", strings.Repeat(" ", depth), n.Data, strings.Join(names, " "))
		}
		if n.Type == html.CommentNode {
			fmt.Fprintf(&out, "%s<!-->\n", strings.Repeat(" ", depth))
		}
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			walk(c, depth+1)
		}
	}
	walk(n, 0)
	return out.String()
}

// harmless looks for what runs or leads away, whatever the page should look like.
func harmless(n *html.Node) (wrong []string) {
	for d := range n.Descendants() {
		if d.Type != html.ElementNode {
			continue
		}
		switch d.Data {
		case "script":
			if src := attr(d, "src"); !strings.HasPrefix(src, "/static/") || read(d) != "" || d.FirstChild != nil {
				wrong = append(wrong, "a script: "+src)
			}
		case "iframe": // of ours alone, and nothing runs in it
			if src := attr(d, "src"); !strings.HasPrefix(src, "/admin/mail/") || !strings.HasSuffix(src, "/html") || !slices.ContainsFunc(d.Attr, func(x html.Attribute) bool { return x.Key == "sandbox" && x.Val == "" }) {
				wrong = append(wrong, "<iframe src="+src+">")
			}
		case "object", "embed", "base", "style", "applet", "frame", "frameset", "portal", "math", "audio", "video":
			wrong = append(wrong, "<"+d.Data+">")
		}
		for _, x := range d.Attr {
			value := strings.ToLower(strings.Map(func(r rune) rune {
				if r <= ' ' {
					return -1
				}
				return r
			}, x.Val))
			switch key := strings.ToLower(x.Key); {
			case strings.HasPrefix(key, "on"), key == "style", key == "srcdoc", key == "http-equiv", strings.HasPrefix(key, "hx-on"):
				wrong = append(wrong, key+"="+x.Val)
			case slices.Contains([]string{"href", "src", "action", "formaction", "data", "poster", "background", "ping", "manifest"}, key):
				scheme, _, has := strings.Cut(value, ":")
				if has && !strings.ContainsAny(scheme, "/?#") && !slices.Contains([]string{"https", "http", "mailto", "about"}, scheme) {
					wrong = append(wrong, key+"="+x.Val)
				}
				if strings.HasPrefix(value, "//") || strings.HasPrefix(value, `\`) {
					wrong = append(wrong, key+"="+x.Val)
				}
			}
		}
	}
	return wrong
}

// ofMail tells whether what was found is the style of a mail: it brings its own, and is shown in a frame where nothing
// runs.
func ofMail(page, found string) bool {
	return strings.HasPrefix(found, "style=") && strings.Contains(page, "/admin/mail/") && strings.Contains(page+" ", "/html ")
}

// says tells whether the text stands in the document, as text or as the value of an attribute.
func says(n *html.Node, text string) bool {
	text = asRead(text)
	for d := range n.Descendants() {
		if d.Type == html.TextNode && strings.Contains(asRead(d.Data), text) {
			return true
		}
		for _, x := range d.Attr {
			if strings.Contains(asRead(x.Val), text) {
				return true
			}
		}
	}
	return false
}

// asRead is text as a parser of HTML gives it back, with any white space as one space.
func asRead(text string) string {
	text = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\x00", "\ufffd").Replace(text)
	return strings.Join(strings.FieldsFunc(strings.ReplaceAll(text, "\ufffd", ""), func(r rune) bool { return strings.ContainsRune(" \t\n\f", r) }), " ")
}

// word is a plain text that names a column, of letters only, and as long as a note must not be.
func word(table, column string) string {
	return "zq" + strings.NewReplacer("_", "", " ", "").Replace(table+column) + "qz" + strings.Repeat("z", portal.NoteLimit)
}

// joined are columns by which rows find each other: they all say the same.
func joined(column string) string {
	switch column {
	case "node", "intent_node":
		return "node"
	case "storage", "disk storage":
		return "storage"
	}
	return ""
}

func TestNoTextBecomesMarkup(t *testing.T) {
	t.Parallel()
	a := newArena(t)
	targets := a.stage()
	pages := addresses(a.knownRoutes(), targets)
	visitors := map[string]*visitor{"owner": a.as("ada@demo.test"), "admin": a.as("admin@demo.test"), "nobody": a.visitor()}
	look := func(say func(page string, v *visitor, doc *html.Node)) {
		t.Helper()
		for _, who := range slices.Sorted(maps.Keys(visitors)) {
			v := visitors[who]
			for _, page := range pages {
				if who == "nobody" && page != "/login" || who == "admin" != (strings.HasPrefix(page, "/admin") || page == "/account") {
					continue
				}
				r := v.get(page)
				if r.StatusCode >= 500 {
					t.Errorf("%s: %d", page, r.StatusCode)
				}
				if kind := r.Header.Get("Content-Type"); r.StatusCode == 200 && strings.HasPrefix(kind, "text/html") {
					say(who+" at "+page, v, r.doc)
				}
			}
		}
	}

	// With a word of its own in each column, the pages show which columns they show, and what they look like.
	a.fill(func(table, column string) string {
		switch joined(column) {
		case "node":
			return word("nodes", "name")
		case "storage":
			return word("storages", "name")
		}
		return word(table, column)
	})
	plain, texts := map[string]string{}, strings.Builder{}
	look(func(page string, _ *visitor, doc *html.Node) {
		plain[page] = skeleton(doc)
		for d := range doc.Descendants() {
			if d.Type == html.TextNode {
				texts.WriteString(d.Data + " ")
			}
			for _, x := range d.Attr {
				texts.WriteString(x.Val + " ")
			}
		}
	})
	if len(plain) < 60 {
		t.Errorf("only %d pages were looked at", len(plain))
	}
	shown := strings.ToLower(texts.String())
	for _, c := range a.textColumns() {
		if joined(c[1]) != "" {
			continue
		}
		if !strings.Contains(shown, word(c[0], c[1])) && !holds(unusedColumns, c[0], c[1]) && !holds(hiddenColumns, c[0], c[1]) {
			t.Errorf("no page shows %s.%s: fill it in stage, or say that no page shows it", c[0], c[1])
		}
	}

	for i, text := range chunks(t) {
		a.fill(func(string, string) string { return text })
		look(func(page string, v *visitor, doc *html.Node) {
			if diff := cmp.Diff(plain[page], skeleton(doc)); diff != "" {
				t.Errorf("texts %d change the page of %s: %s", i, page, diff)
			}
			for _, w := range harmless(doc) {
				if ofMail(page, w) {
					continue
				}
				t.Errorf("texts %d on the page of %s: %s", i, page, w)
			}
			if !says(doc, text) && !strings.Contains(page, "/account") {
				t.Errorf("texts %d are not on the page of %s", i, page)
			}
		})
	}
}
