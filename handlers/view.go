package handlers

import (
	"context"
	"errors"
	"net/url"
	"time"

	"github.com/labstack/echo/v4"

	"stowage/portal"
	"stowage/store"
	"stowage/templates"
)

// shown is one service as one login sees it: what the store gave, and what the rules say to it.
type shown struct {
	store.ServiceView
	login   portal.Login
	loc     *time.Location // the schedule's zone, in which all times of the service's pages are said
	copies  []portal.Copy
	counter portal.Counter
	snaps   portal.Counter   // of snapshots
	places  map[int64]place  // of its operations that wait, by id
	evicts  *portal.Eviction // what coming has found
	page    int              // of the list of copies, from 1; 0 = the first
}

// place is where an operation stands in the line of its host.
type place struct {
	position int // 0 = not in the line yet
	why      portal.Text
}

// look reads a service for the pages of the login that asks. What is foreign is not found.
func (s *Site) look(c echo.Context, uid string) (*shown, error) {
	clientID, err := clientOf(c)
	if err != nil {
		return nil, err
	}
	return s.lookAt(c.Request().Context(), clientID, uid, login(c))
}

// lookAt reads a service. clientID 0 is for staff's pages alone.
func (s *Site) lookAt(ctx context.Context, clientID int64, uid string, l portal.Login) (*shown, error) {
	view, err := s.db.ServiceView(ctx, clientID, uid)
	if err != nil {
		return nil, err
	}
	v := &shown{ServiceView: view, login: l, loc: view.Location, copies: view.Copies(), places: map[int64]place{}}
	v.counter = portal.CounterOf(v.copies, v.Service.QuotaIn(v.Product), v.running())
	v.snaps = portal.SnapshotCounter(v.Snapshots, v.Product.Snapshots)
	for _, o := range v.Operations {
		if o.State != portal.StateQueued || o.Kind == portal.KindProtect || o.RunAfter.After(v.Now) {
			continue
		}
		position, why, err := s.db.InLine(ctx, o, s.limits(ctx))
		if err != nil {
			return nil, err
		}
		v.places[o.ID] = place{position, why}
	}
	return v, nil
}

// running counts the backups that are being made.
func (v *shown) running() (n int) {
	for _, o := range v.Operations {
		if o.Kind == portal.KindBackup && o.State.Active() {
			n++
		}
	}
	return n
}

// at says an instant in the service's zone; ago adds how long ago it was, in words that change slowly enough for a
// page that stays open.
func (v *shown) at(t time.Time) templates.Moment { return templates.At(t, v.Now, v.loc) }

func (v *shown) ago(t time.Time) templates.Moment {
	m := v.at(t)
	if !m.IsZero() {
		m.Ago = roughly(t, v.Now)
	}
	return m
}

// roughly says how far away an instant is with its largest unit.
func roughly(t, now time.Time) portal.Text {
	d := now.Sub(t)
	switch {
	case d.Abs() < time.Hour:
	case d.Abs() < 48*time.Hour:
		d = d.Truncate(time.Hour)
	default:
		d = d.Truncate(24 * time.Hour)
	}
	return templates.Ago(now.Add(-d), now)
}

// since says when something began: the time alone where that was today.
func since(t, now time.Time, loc *time.Location) portal.Text {
	if t.IsZero() {
		return "some time ago"
	}
	if portal.DateOf(t.In(loc)) == portal.DateOf(now.In(loc)) {
		return portal.Say("%s", portal.When{At: t.In(loc), Layout: "15:04"})
	}
	return templates.At(t, now, loc).Text()
}

func (v *shown) since(t time.Time) portal.Text { return since(t, v.Now, v.loc) }

// path is an address of the service's pages.
func (v *shown) path(rest ...string) string { return path(v.Service.UID, rest...) }

// onlyLooks is the reason for which a login can't do anything at all, or "".
func (v *shown) onlyLooks() portal.Text {
	if !v.login.MayAct() {
		return "Your login may look at everything, but change nothing."
	}
	return ""
}

// off tells whether the service is suspended for the client who looks; staff still act on it.
func (v *shown) off() bool { return v.Service.State == portal.ServiceSuspended && !v.login.Staff() }

// may tells whether a request would be granted now; where it wouldn't, with the sentence and the way out that the
// refusal would have.
func (v *shown) may(request portal.Request) templates.Act {
	if why := v.onlyLooks(); why != "" {
		return templates.Denied(why)
	}
	_, err := request(v.Situation)
	return v.act(err)
}

func (v *shown) act(err error) templates.Act {
	refusal, ok := asRefusal(err)
	switch {
	case err == nil:
		return templates.Allowed()
	case !ok:
		return templates.Denied("This can't be done right now.")
	}
	a := templates.Denied(refusal.Sentence)
	if ways := v.ways(refusal, ""); len(ways) > 0 {
		a = a.With(ways[0])
	}
	return a
}

// ways turns the ways out of a refusal into buttons. note is what was typed for a new backup, so that it isn't lost.
func (v *shown) ways(refusal *portal.Error, note string) []templates.WayOut {
	var out []templates.WayOut
	for i, w := range refusal.WayOuts {
		way := templates.WayOut{Label: w.Label, Primary: i == 0}
		switch w.Action {
		case "replace_oldest":
			way.Post = v.path("backups")
			way.Fields = []templates.Field{{Name: "replace", Value: w.UID}, {Name: "note", Value: note}}
		case "choose_other":
			way.Href = v.path("backups", "replace")
			if note != "" {
				way.Href += "?" + url.Values{"note": {note}}.Encode()
			}
		case "open_operation":
			way.Href = v.path("operations", w.UID)
		case "cancel_operation":
			way.Post = v.path("operations", w.UID, "cancel")
		case "unprotect":
			way.Post = v.path("backups", w.UID, "protect")
			way.Fields = []templates.Field{{Name: "protect", Value: "0"}}
		case "remove_snapshot":
			way.Href = v.path("snapshots", w.UID, "delete")
		case "open_backups":
			if v.counter.Hidden {
				continue
			}
			way.Href = v.path("backups")
		case "set_schedule":
			way.Href = v.path("backups") + "#schedule"
		default:
			continue
		}
		out = append(out, way)
	}
	return out
}

// backToBackups leads to what holds now.
func (v *shown) backToBackups() templates.WayOut {
	return templates.WayOut{Label: "Back to the backups", Href: v.path("backups")}
}

// asRefusal gives the error with words for people.
func asRefusal(err error) (*portal.Error, bool) {
	var refusal *portal.Error
	ok := errors.As(err, &refusal)
	return refusal, ok
}
