package handlers

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"stowage/portal"
	"stowage/store"
	"stowage/templates"
)

const (
	servicesPerPage = 50
	searchFrom      = 12 // services from which on a search field helps
)

// listServices shows a client's machines.
func (s *Site) listServices(c echo.Context) error {
	clientID, err := clientOf(c)
	if err != nil {
		return err
	}
	ctx, now, loc := c.Request().Context(), s.db.Now(), zone(login(c))
	query, page := searched(c), pageNumber(c)
	lines, found, all, err := s.db.ClientServices(ctx, clientID, query, (page-1)*servicesPerPage, servicesPerPage)
	if err != nil {
		return err
	}
	pulse, err := s.db.Pulse(ctx)
	if err != nil {
		return err
	}
	v := templates.ServicesPage{
		Frame: s.frame(c, "Services", templates.AreaServices), Query: query, Search: all > searchFrom || query != "", Total: all,
		Paging: numbered("/services", query, page, servicesPerPage, len(lines), found),
	}
	if notice := standstill(pulse.TickAt, now, loc); notice != nil && all > 0 {
		v.Notices = append(v.Notices, *notice)
	}
	for _, line := range lines {
		v.Rows = append(v.Rows, serviceRow(line, now, loc))
	}
	return show(c, v)
}

// searched gives what was typed into a search field.
func searched(c echo.Context) string {
	text := strings.TrimSpace(strings.ToValidUTF8(c.QueryParam("q"), ""))
	if len(text) > 300 {
		text = strings.ToValidUTF8(text[:300], "")
	}
	return text
}

func pageNumber(c echo.Context) int {
	n, err := strconv.Atoi(c.QueryParam("page"))
	if err != nil || n < 1 || n > 1_000_000 {
		return 1
	}
	return n
}

// numbered is the way through a list that is short enough to be counted.
func numbered(address, query string, page, perPage, rows, found int) templates.Paging {
	at := func(n int) string {
		values := url.Values{"page": {strconv.Itoa(n)}}
		if query != "" {
			values.Set("q", query)
		}
		return address + "?" + values.Encode()
	}
	first := (page-1)*perPage + 1
	p := templates.Paging{Text: templates.Range(first, first+rows-1, found)}
	if page > 1 {
		p.Prev = at(page - 1)
	}
	if first+rows-1 < found && rows > 0 {
		p.Next = at(page + 1)
	}
	return p
}

// serviceRow is one machine in a list.
func serviceRow(line store.ServiceLine, now time.Time, loc *time.Location) templates.ServiceRow {
	counter := line.Backups()
	r := templates.ServiceRow{
		Head:    templates.ServiceHead{UID: line.UID, Name: line.Name, NoBackups: counter.Hidden, Status: lineStatus(line, now, loc)},
		Counter: templates.Counter{Used: counter.Count, Quota: counter.Quota, Running: counter.Running}, Dots: miniDots(line, now),
	}
	if newest := portal.Newest(line.Copies); newest != nil {
		r.Newest = templates.At(newest.Start(), now, loc)
		r.Newest.Ago = roughly(newest.Start(), now)
	}
	if line.NextDue.After(now) && counter.Quota > 0 {
		r.NextRun = templates.At(line.NextDue, now, loc)
		r.NextRun.Ago = roughly(line.NextDue, now)
	}
	if line.Schedule.Enabled() {
		r.Schedule = line.Schedule.Describe()
	}
	r.Alert = alert(line, counter, r.Newest.IsZero())
	return r
}

func lineStatus(line store.ServiceLine, now time.Time, loc *time.Location) templates.Status {
	for _, o := range line.Open {
		if o.Kind.Exclusive() && o.State.Active() && line.Unreachable.IsZero() && line.State == portal.ServiceActive {
			return templates.Status{State: "busy", Text: "Busy", Detail: busyWith(o, since(o.StartedAt, now, loc))}
		}
	}
	switch {
	case line.State == portal.ServiceMachineGone:
		return templates.Status{State: "gone", Text: "Not found"}
	case line.State == portal.ServiceMachineReplaced:
		return templates.Status{State: "replaced", Text: "Another machine"}
	case !line.Unreachable.IsZero():
		return templates.Status{State: "unknown", Text: "Unknown", Detail: portal.Say("Last seen %s", since(line.SeenAt, now, loc))}
	case line.Lock != "":
		return templates.Status{State: "busy", Text: "Busy", Detail: sinceOf(portal.LockWords(line.Lock), line.LockSince, now, loc)}
	case line.State == portal.ServiceSuspended:
		return templates.Status{State: "suspended", Text: "Suspended"}
	case line.State != portal.ServiceActive:
		return templates.Status{State: "unknown", Text: "Being closed"}
	}
	return machineStatus(line.Status)
}

// alert is the one thing about a machine that needs a look.
func alert(line store.ServiceLine, counter portal.Counter, nothingGood bool) templates.Badge {
	last := portal.SlotStatus("")
	for _, slot := range line.Slots {
		if slot.State.Ended() {
			last = slot.State
		}
	}
	switch {
	case counter.Hidden || counter.Quota == 0 || line.State != portal.ServiceActive:
		return templates.Badge{}
	case nothingGood && counter.Running > 0:
		return templates.Badge{Text: "First backup under way", Tone: templates.ToneInfo}
	case nothingGood && counter.Count > 0:
		return templates.Badge{Text: "No backup to rely on", Tone: templates.ToneBad}
	case nothingGood:
		return templates.Badge{Text: "No backup yet", Tone: templates.ToneBad}
	case !line.Schedule.Enabled():
		return templates.Badge{Text: "No schedule", Tone: templates.ToneBad}
	case last == portal.SlotFailed:
		return templates.Badge{Text: "Last backup failed", Tone: templates.ToneBad}
	case last == portal.SlotMissed:
		return templates.Badge{Text: "Last backup missed", Tone: templates.ToneWarn}
	case counter.Over > 0:
		return templates.Badge{Text: "Over quota", Tone: templates.ToneWarn}
	}
	return templates.Badge{}
}

// miniDots are the ledger's days in the schedule's own zone, without their story.
func miniDots(line store.ServiceLine, now time.Time) []templates.Dot {
	loc, err := portal.Zone(line.Schedule.Zone)
	if err != nil {
		loc = time.UTC
	}
	states := make(map[string]string, len(line.Slots))
	for _, slot := range line.Slots {
		states[slot.Date] = string(slot.State)
	}
	days := lastDays(now, loc)
	dots := make([]templates.Dot, len(days))
	for i, date := range days {
		dots[i] = templates.Dot{Date: date.String(), Day: dayName(date), State: states[date.String()]}
		if dots[i].State == "" {
			dots[i].State = "none"
		}
	}
	return dots
}
