// Package templates holds the portal's pages: for each a view-model, a plain struct with what the page shows and
// nothing else, and its component in the .templ file of the same name.
//
// A handler fills a view-model and calls its View method; pages that live have Fragments as well, the pieces that the
// event stream sends anew. View-models hold what is ready to be said: sentences (portal.Text), instants in their zone
// (Moment), sizes. What can't be done now carries its reason and a way out (Act), so that a button is disabled with a
// sentence and never hidden.
//
// A page speaks the language of the context that it is rendered with: say and count say a wording, tell a text that a
// view-model holds, date an instant, and rich a wording in which links or other pieces stand. Data, which no catalogue
// knows (names, addresses, what Proxmox says), is a string, or a Text by portal.Verbatim, and is marked translate="no".
//
// Every page works without JavaScript: forms post and are answered by a redirect, menus and folded parts are
// <details>, each destructive action has a page of its own to confirm it. No page has inline scripts or styles.
package templates

import (
	"time"

	"github.com/a-h/templ"

	"stowage/portal"
)

// View is any page.
type View interface {
	View() templ.Component
}

// Frame is what surrounds every page.
type Frame struct {
	Title   portal.Text // of the page; the tab shows it before the brand's name
	Brand   string      // the portal's name; "" is Stowage
	Theme   string      // auto (also ""), light or dark, from the cookie "theme"
	Area    string      // the current entry of the menu, one of the Area… words
	User    *User       // nil: nobody is signed in
	Crumbs  []Crumb
	Flash   []Flash  // what has just been done, once
	Refusal *Refusal // why the last request was refused
	Zone    string   // the zone of the times on the page, said in the footer
	Support string   // where help is, an address or mailto:; "" leaves it out
	Version string   // of the portal, shown to staff
	Demo    bool     // says on every page that this is a demo
	Faults  bool     // the demo's fault panel is in the menu of staff
}

// Areas of the menu.
const (
	AreaServices        = "services"
	AreaAccount         = "account"
	AreaAdmin           = "admin"
	AreaAdminServices   = "admin-services"
	AreaAdminOperations = "admin-operations"
	AreaAdminServers    = "admin-servers"
	AreaAdminAudit      = "admin-audit"
	AreaAdminMail       = "admin-mail"
)

// User is who is signed in.
type User struct {
	Name  string
	Email string
	Role  string // owner, operator, reader; admin, operator, auditor
	Staff bool
}

// Crumb is one step of the way to a page; the last has no Href.
type Crumb struct {
	Text portal.Text
	Href string
}

// Tone is how a message is meant; it picks colour and icon, never the words.
type Tone string

// Tones.
const (
	ToneGood    Tone = "good"
	ToneInfo    Tone = "info"
	ToneWarn    Tone = "warn"
	ToneBad     Tone = "bad"
	ToneNeutral Tone = "neutral"
)

// Flash is a message about what has just been done.
type Flash struct {
	Tone     Tone
	Sentence portal.Text
	WayOut   *WayOut
}

// Field is a hidden field of a form.
type Field struct {
	Name  string
	Value string
}

// WayOut is the button that solves what is in the way: a link, or a form with hidden fields when Post is set.
type WayOut struct {
	Label   portal.Text
	Href    string
	Post    string // action of a form, instead of Href
	Fields  []Field
	Primary bool
	Danger  bool
}

// Refusal is the sentence above a page that could not do what was asked.
type Refusal struct {
	Sentence  portal.Text
	Reference string // short, to quote to support; "" leaves it out
	Ways      []WayOut
}

// Act says whether something can be done now. When it can't, its button stays in place, disabled, with the reason.
type Act struct {
	Can    bool
	WhyNot portal.Text
	WayOut *WayOut
}

// Allowed is an Act that can be done.
func Allowed() Act { return Act{Can: true} }

// Denied is an Act that can't be done, with the reason.
func Denied(why portal.Text) Act { return Act{WhyNot: why} }

// With gives the same Act with a way out.
func (a Act) With(w WayOut) Act {
	a.WayOut = &w
	return a
}

// Moment is an instant as a page shows it, made by At. The zero Moment is "not known" and shown as a dash.
type Moment struct {
	portal.When             // "Thu 12 Nov 03:00", in the page's zone
	Ago         portal.Text // "5 h 12 min ago", "in 11 h"; empty unless asked for with AtAgo
}

// IsZero says that the moment is not known.
func (m Moment) IsZero() bool { return m.At.IsZero() }

// Text is the moment as a part of a sentence.
func (m Moment) Text() portal.Text {
	if m.IsZero() {
		return ""
	}
	return portal.Say("%s", m.When)
}

// RFC3339 is the instant in UTC for programs.
func (m Moment) RFC3339() string { return m.At.UTC().Format(time.RFC3339) }

// Badge is a few plain words about something.
type Badge struct {
	Text  portal.Text
	Tone  Tone
	Title portal.Text // one more sentence, shown on pointing at it and read aloud
}

// Notice is a banner above a page: something that lasts, unlike a Flash.
type Notice struct {
	Kind     string // unreachable, tick, paused, suspended, gone, replaced, locked, quota, …; in data-notice
	Tone     Tone
	Title    portal.Text
	Sentence portal.Text
	Ways     []WayOut
}

// Paging is the way to the rows before and after.
type Paging struct {
	Text portal.Text // "1–50 of 4,210"
	Prev string      // addresses; "" when there is none
	Next string
}

// Fragment is a live piece of a page: the event's name and what goes into the element that listens to it.
type Fragment struct {
	Event string
	Body  templ.Component
}

// Events of a service's stream. Each fragment replaces the content of one element, and each carries the whole piece:
// to miss one is harmless.
const (
	EventStatus     = "status"     // the machine's state beside its name
	EventNotices    = "notices"    // banners
	EventProtection = "protection" // the protection sentence
	EventCounter    = "counter"    // 3/10
	EventBackupNow  = "backup-now" // the button, with the reason when it is disabled
	EventRunning    = "running"    // operations under way
	EventList       = "list"       // the copies
	EventLedger     = "ledger"     // the dots
	EventOperation  = "operation"  // the page of one operation
	EventRecent     = "recent"     // the recent operations
	EventSummary    = "summary"    // newest copy and next run
	EventMachine    = "machine"    // what can be done with the machine itself
	EventTake       = "take"       // the button of a new snapshot

	EventSnapshots    = "snapshots"     // on a service's own page: 2/3
	EventSnapshotEnds = "snapshot-ends" // on a service's own page: the latest work on snapshots, and which ends next
)
