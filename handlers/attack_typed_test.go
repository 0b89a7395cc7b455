package handlers_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"stowage/portal"
	"stowage/store"
)

// fragments reads an event stream up to the event of the name, and gives the pieces of it parsed.
func (v *visitor) fragments(path, last string) map[string]*html.Node {
	v.s.t.Helper()
	ctx, cancel := context.WithTimeout(v.s.t.Context(), 20*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", v.s.server.URL+path, nil)
	v.s.must(err)
	r.Header.Set("Accept", "text/event-stream")
	resp, err := v.Do(r)
	v.s.must(err)
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	lines.Split(splitLines)
	pieces, name, data := map[string]*html.Node{}, "", ""
	for lines.Scan() {
		switch line := lines.Text(); {
		case line == "" && name == "":
		case line == "":
			around := &html.Node{Type: html.ElementNode, Data: "div", DataAtom: atom.Div}
			nodes, err := html.ParseFragment(strings.NewReader(data), around)
			v.s.must(err)
			for _, n := range nodes {
				around.AppendChild(n)
			}
			if pieces[name] != nil {
				v.s.t.Errorf("%s: the event %s comes twice", path, name)
			}
			if pieces[name] = around; name == last {
				return pieces
			}
			name, data = "", ""
		case strings.HasPrefix(line, "event: ") && name == "":
			name = strings.TrimPrefix(line, "event: ")
		case strings.HasPrefix(line, "data: ") && name != "":
			data += strings.TrimPrefix(line, "data: ") + "\n"
		case line == "retry: 2000" && len(pieces) == 0:
		default:
			v.s.t.Errorf("%s: a line that the portal does not send: %.100q", path, line)
		}
	}
	v.s.t.Fatalf("%s: the stream ended before %s: %v", path, last, lines.Err())
	return nil
}

// splitLines splits as a browser does: at CR, LF or both.
func splitLines(data []byte, atEOF bool) (advance int, token []byte, err error) {
	for i, b := range data {
		switch {
		case b == '\n':
			return i + 1, data[:i], nil
		case b == '\r' && i+1 == len(data) && !atEOF:
			return 0, nil, nil
		case b == '\r' && i+1 < len(data) && data[i+1] == '\n':
			return i + 2, data[:i], nil
		case b == '\r':
			return i + 1, data[:i], nil
		}
	}
	if atEOF && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}

func TestNoTextBreaksAnEventStream(t *testing.T) {
	t.Parallel()
	a := newArena(t)
	targets := a.stage()
	v := a.as("ada@demo.test")
	look := func(say func(piece string, n *html.Node)) {
		for _, x := range targets {
			base := "/services/" + x.service + "/events"
			streams := map[string]string{base + "?page=backups": "ledger", base + "?page=service": "recent"}
			if x.operation != "" {
				streams[base+"?page=operation&operation="+x.operation] = "operation"
			}
			for path, last := range streams {
				for name, n := range v.fragments(path, last) {
					say(name+" of "+path, n)
				}
			}
		}
	}
	const inPlace = `UPDATE backups SET node = COALESCE((SELECT s.node FROM services s WHERE s.id = backups.service_id), '')` // what lies elsewhere has other buttons
	a.fill(word)
	a.sql(`UPDATE storages SET name = 'local', node = 'pve1' || id`)
	a.sql(inPlace)
	plain := map[string]string{}
	look(func(piece string, n *html.Node) { plain[piece] = skeleton(n) })
	if len(plain) < 150 {
		t.Errorf("only %d pieces", len(plain))
	}
	for i, text := range chunks(t) {
		a.fill(func(string, string) string { return text })
		a.sql(inPlace)
		shown := false
		look(func(piece string, n *html.Node) {
			if diff := cmp.Diff(plain[piece], skeleton(n)); diff != "" {
				t.Errorf("texts %d change %s: %s", i, piece, diff)
			}
			for _, w := range harmless(n) {
				t.Errorf("texts %d in %s: %s", i, piece, w)
			}
			shown = shown || says(n, text)
		})
		if !shown {
			t.Errorf("texts %d are in no piece", i)
		}
	}
}

// typedIn are the parameters that pages read from their address.
var typedIn = []string{"q", "page", "older", "newer", "state", "kind", "server", "service", "look", "action", "next", "expired", "note", "operation"}

// TestNothingTypedBecomesMarkup puts texts into every field of every form and every parameter of every address.
func TestNothingTypedBecomesMarkup(t *testing.T) {
	t.Parallel()
	a := newArena(t)
	x := a.copied()
	visitors := []*visitor{a.as("ada@demo.test"), a.as("admin@demo.test"), a.visitor()}
	x.operation = a.failed().operation
	held := a.held()
	a.doubt(target{})
	a.brake(target{})
	send := func(text string, say func(what string, r answer)) {
		a.sql(`UPDATE logins SET mail_switches = ''`)
		t.Helper()
		for _, key := range a.knownRoutes() {
			method, path, _ := strings.Cut(key, " ")
			about, r := x, attackedRoutes[key]
			if strings.HasPrefix(path, "/admin/operations/") {
				about.operation = held.operation
			}
			values := url.Values{}
			switch {
			case method == "GET" && !strings.HasPrefix(path, "/static/") && !strings.HasSuffix(path, "/events"):
				for _, name := range typedIn {
					values.Set(name, text)
				}
			case method == "POST" && path != "/account/password" && r.fields != "" || path == "/login":
				fields, err := url.ParseQuery(r.fields + "&email=&next=")
				a.must(err)
				for name := range fields {
					values.Set(name, text)
				}
			default:
				continue
			}
			for who, v := range visitors {
				var got answer
				if method == "GET" {
					got = v.do("GET", about.address(path)+"?"+values.Encode(), nil)
				} else {
					got = v.do("POST", about.address(path), strings.NewReader(values.Encode()))
				}
				say(fmt.Sprintf("%s by %d", key, who), got)
			}
		}
	}
	plain, reflected := map[string]string{}, 0
	send("zq"+strings.Repeat("z", 600), func(what string, r answer) { plain[what] = skeleton(r.doc) })
	for i, text := range chunks(t) {
		text = strings.ReplaceAll(text, "\x00", "") // with it, a form is refused as a whole
		a.sql(`DELETE FROM login_failures`)
		send(text, func(what string, r answer) {
			if r.StatusCode >= 500 {
				t.Errorf("%s with texts %d: %d", what, i, r.StatusCode)
			}
			if to := r.Header.Get("Location"); to != "" && (!strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.ContainsAny(to, "\r\n\\")) {
				t.Errorf("%s with texts %d leads to %q", what, i, to)
			}
			for name, values := range r.Header {
				if name != "Location" && name != "Hx-Redirect" && strings.Contains(strings.Join(values, " "), "zq ") {
					t.Errorf("%s with texts %d: the header %s holds it", what, i, name)
				}
			}
			if kind := r.Header.Get("Content-Type"); r.body != "" && !strings.HasPrefix(kind, "text/html;") && !strings.HasPrefix(kind, "text/plain;") && !strings.HasPrefix(kind, "application/json") {
				t.Errorf("%s: %s", what, kind)
			}
			if diff := cmp.Diff(plain[what], skeleton(r.doc)); diff != "" {
				t.Errorf("%s: texts %d change the page: %s", what, i, diff)
			}
			for _, w := range harmless(r.doc) {
				if ofMail(what, w) {
					continue
				}
				t.Errorf("%s with texts %d: %s", what, i, w)
			}
			if says(r.doc, text) {
				reflected++
			}
		})
	}
	if reflected < 8*len(chunks(t)) {
		t.Errorf("only %d answers repeat what was typed", reflected)
	}
	nobody, ada := visitors[2], visitors[0]
	for _, p := range corpus(t) {
		path := "/services/" + url.PathEscape(p.Text)
		for name, r := range map[string]answer{
			"in the path":                 ada.get(path),
			"as the colours":              nobody.do("GET", "/login", nil, "Cookie", "theme="+url.QueryEscape(p.Text)),
			"as the colours, as it is":    nobody.do("GET", "/login", nil, "Cookie", "theme="+oneLine(p.Text)),
			"as the page that asks":       nobody.do("GET", "/services", nil, "HX-Request", "true", "HX-Current-URL", oneLine(p.Text)),
			"as the page that is wanted":  nobody.get("/login?next=" + url.QueryEscape(p.Text)),
			"as the page to come back to": nobody.get(path),
		} {
			for _, w := range harmless(r.doc) {
				t.Errorf("%q %s: %s", p.Text, name, w)
			}
			if to := r.Header.Get("Location"); r.StatusCode >= 500 || to != "" && !strings.HasPrefix(to, "/login") {
				t.Errorf("%q %s: %d to %q", p.Text, name, r.StatusCode, to)
			}
		}
	}
}

// oneLine is text as a header can hold it.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, text)
}

// TestNotesAreKeptAsTyped saves every text as a note: what is plain text is kept to the letter, what only deceives the
// eye or breaks the line is refused.
func TestNotesAreKeptAsTyped(t *testing.T) {
	t.Parallel()
	a := newArena(t)
	x := a.copied()
	held := a.held()
	v, staff := a.as("ada@demo.test"), a.as("operator@demo.test")
	note, release := "/services/"+x.service+"/backups/"+x.backup+"/note", "/admin/operations/"+held.operation+"/release"
	refused := 0
	for _, p := range corpus(t) {
		text := strings.TrimSpace(p.Text)
		bad := !utf8.ValidString(text) || utf8.RuneCountInString(text) > portal.NoteLimit || strings.ContainsFunc(text, func(r rune) bool {
			return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Bidi_Control, r)
		})
		r := v.post(note, "note", p.Text)
		switch {
		case bad:
			refused++
			r.want(422)
			staff.post(release, "reason", p.Text).want(422)
		case r.StatusCode != 303:
			t.Errorf("%q: %d %s", p.Text, r.StatusCode, r.refusal())
		default:
			b, err := a.db.ClientBackup(t.Context(), a.ada.ID, x.service, x.backup)
			a.must(err)
			if b.Note != text {
				t.Errorf("%q is kept as %q", p.Text, b.Note)
			}
		}
	}
	if refused < 20 {
		t.Errorf("only %d texts were refused", refused)
	}
}

// TestHelpLeadsNowhereElse sets the address of help past all checks, as a database from elsewhere could hold it.
func TestHelpLeadsNowhereElse(t *testing.T) {
	t.Parallel()
	a := newArena(t)
	a.must(a.db.SetSetting(t.Context(), "cli", store.Support, "https://help.example"))
	v := a.as("ada@demo.test")
	for _, p := range corpus(t) {
		if p.Group != "addresses" {
			if err := a.db.SetSetting(t.Context(), "cli", store.Support, p.Text); err == nil && strings.TrimSpace(p.Text) != "" {
				t.Errorf("%q passes for the address of help", p.Text)
			}
			continue
		}
		a.sql(`UPDATE settings SET value = $1 WHERE key = 'support'`, p.Text)
		for _, page := range []string{"/login", "/account"} {
			who := v
			if page == "/login" {
				who = a.visitor()
			}
			wrong := harmless(who.get(page).want(200).doc)
			if i := slices.IndexFunc(wrong, func(w string) bool { return !strings.HasPrefix(p.Text, "//") && !strings.HasPrefix(p.Text, `\`) }); i >= 0 {
				t.Errorf("%q on %s: %s", p.Text, page, wrong[i])
			}
		}
	}
}
