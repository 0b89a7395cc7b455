package handlers

import (
	"time"

	"github.com/labstack/echo/v4"

	"stowage/portal"
	"stowage/store"
	"stowage/templates"
)

// listServers shows every server with its storages.
func (s *Site) listServers(c echo.Context) error {
	lines, warn, err := s.serverLines(c)
	if err != nil {
		return err
	}
	d := desk{now: s.db.Now(), loc: zone(login(c))}
	v := templates.AdminServersPage{Frame: s.frame(c, "Servers", templates.AreaAdminServers)}
	for _, line := range lines {
		v.Rows = append(v.Rows, d.server(line, warn))
	}
	return show(c, v)
}

func (s *Site) serverLines(c echo.Context) ([]store.ServerLine, int, error) {
	warn, err := s.db.SettingInt(c.Request().Context(), store.WarnPercent)
	if err != nil {
		return nil, 0, err
	}
	lines, err := s.db.ServerLines(c.Request().Context())
	return lines, warn, err
}

// server is one server as its card shows it.
func (d desk) server(line store.ServerLine, warn int) templates.ServerRow {
	r := templates.ServerRow{
		UID: line.UID, Name: line.Name, Version: line.Release, Nodes: len(line.Nodes), Services: line.Services, Seen: d.at(line.SeenAt),
		Missing: len(line.RightsMissing), Status: templates.Badge{Text: "Reachable", Tone: templates.ToneGood},
	}
	switch {
	case !line.UnreachableSince.IsZero():
		r.Status = templates.Badge{Text: "Unreachable", Tone: templates.ToneBad}
		r.Sentence = portal.Say("Unreachable since %s: %s", since(line.UnreachableSince, d.now, d.loc), line.Trouble)
	case line.SeenAt.IsZero():
		r.Status = templates.Badge{Text: "Never reached", Tone: templates.ToneWarn}
	case !line.ClockTrusted():
		r.Status = templates.Badge{Text: "Clock differs", Tone: templates.ToneBad}
		r.Sentence = portal.Say("Its clock is %s off. Nothing is removed or caught up there until the clocks agree.", portal.Duration(line.Skew.Abs()))
	case down(line) > 0:
		r.Status = templates.Badge{Text: portal.Count(down(line), "1 node offline", "%d nodes offline"), Tone: templates.ToneBad}
	}
	for _, storage := range line.Storages {
		r.Storages = append(r.Storages, d.storage(storage, warn))
	}
	return r
}

func down(line store.ServerLine) (n int) {
	for _, node := range line.Nodes {
		if !node.Online {
			n++
		}
	}
	return n
}

func (d desk) storage(s store.StorageRow, warn int) templates.StorageRow {
	r := templates.StorageRow{Name: placeName(s), Type: s.Type, Used: templates.OfBytes(s.Used, s.Total), Tone: templates.ToneGood}
	if s.Total > 0 {
		r.Percent = int(100 * s.Used / s.Total)
	}
	switch {
	case !s.Active:
		r.Tone, r.Foreign = templates.ToneBad, "Offline."
	case s.Doubt != "":
		r.Tone, r.Foreign = templates.ToneBad, portal.Say("In doubt since %s: %s.", since(s.DoubtSince, d.now, d.loc), s.Doubt)
	case !s.BrakeSince.IsZero():
		r.Tone, r.Foreign = templates.ToneBad, portal.Say("Automatic removals stopped at %s.", since(s.BrakeSince, d.now, d.loc))
	case r.Percent >= 95:
		r.Tone = templates.ToneBad
	case r.Percent >= warn:
		r.Tone = templates.ToneWarn
	}
	if s.External > 0 && r.Foreign == "" {
		r.Foreign = portal.Count(s.External, "1 archive there not made by the portal.", "%d archives there not made by the portal.")
	}
	return r
}

// showServer shows one server with what its last check found.
func (s *Site) showServer(c echo.Context) error {
	page, err := s.serverPage(c)
	if err != nil {
		return err
	}
	return show(c, page)
}

func (s *Site) serverPage(c echo.Context) (page templates.AdminServerPage, err error) {
	ctx := c.Request().Context()
	warn, err := s.db.SettingInt(ctx, store.WarnPercent)
	if err != nil {
		return page, err
	}
	line, err := s.db.ServerLine(ctx, c.Param("uid"))
	if err != nil {
		return page, err
	}
	storages, err := s.db.Storages(ctx, line.ID)
	if err != nil {
		return page, err
	}
	d, act := desk{now: s.db.Now(), loc: zone(login(c))}, staffMay(c)
	f := s.frame(c, portal.Verbatim(line.Name), templates.AreaAdminServers)
	f.Crumbs = []templates.Crumb{{Text: "Servers", Href: "/admin/servers"}, {Text: portal.Verbatim(line.Name)}}
	page = templates.AdminServerPage{
		Frame: f, Server: d.server(line, warn), Endpoints: line.Endpoints, Facts: d.serverFacts(line), Checks: checks(line.Server),
		Check: act, Asked: line.CheckedAt.IsZero(),
	}
	if !line.CheckedAt.IsZero() {
		page.Checked = templates.AtAgo(line.CheckedAt, d.now, d.loc)
	}
	for _, row := range storages { // of all, not of those that products use: the dashboard names them too
		if row.Doubt != "" {
			page.Doubts = append(page.Doubts, d.doubt(row, act))
		}
		if !row.BrakeSince.IsZero() {
			page.Brakes = append(page.Brakes, d.brake(row, act))
		}
	}
	return page, nil
}

func (d desk) serverFacts(line store.ServerLine) []templates.Fact {
	list := []templates.Fact{
		{Name: "Token", Value: portal.Verbatim(line.TokenID)}, {Name: "Clock", Value: skewWords(line.Skew)},
		{Name: "Operations", Value: portal.Count(line.Running, "1 operation running", "%d operations running"), Hint: portal.Count(line.Queued, "1 operation waiting", "%d operations waiting")},
	}
	for _, n := range line.Nodes {
		f := templates.Fact{Name: portal.Say("Node %s", n.Name), Value: "online"}
		if !n.Online {
			f.Value = portal.Say("offline since %s", since(n.DownSince, d.now, d.loc))
		}
		if n.ForeignDump != "" {
			f.Hint = "a backup that is not ours runs"
		}
		list = append(list, f)
	}
	return list
}

func skewWords(skew time.Duration) portal.Text {
	switch {
	case skew == 0:
		return "agrees with ours"
	case skew > 0:
		return portal.Say("%s ahead of ours", skew.Abs())
	}
	return portal.Say("%s behind ours", skew.Abs())
}

// checks are the findings of the last check, and the rights that the last look at the permissions missed.
func checks(v portal.Server) []templates.Check {
	tones := map[string]templates.Tone{"ok": templates.ToneGood, "warning": templates.ToneWarn, "error": templates.ToneBad}
	var list []templates.Check
	for _, f := range v.Findings {
		list = append(list, templates.Check{Title: f.Text, Tone: tones[f.Level], Sentence: f.Mend})
	}
	for _, right := range v.RightsMissing {
		list = append(list, templates.Check{Title: portal.Verbatim(right), Tone: templates.ToneBad, Sentence: "The token lacks this right: backups that need it wait."})
	}
	return list
}
