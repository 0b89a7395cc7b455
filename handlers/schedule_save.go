package handlers

import (
	"fmt"

	"github.com/labstack/echo/v4"

	"stowage/portal"
	"stowage/templates"
	"stowage/web"
)

var scheduleFields = func() []string {
	list := []string{"zone", "same", "time_all", "confirm", "confirm_none"}
	for i := range 7 {
		list = append(list, dayField(i), timeField(i))
	}
	return list
}()

func dayField(i int) string  { return fmt.Sprintf("day_%d", i) }
func timeField(i int) string { return fmt.Sprintf("time_%d", i) }

// saveSchedule replaces a service's schedule. The last day is not taken off without being asked about once.
func (s *Site) saveSchedule(c echo.Context) error {
	uid := c.Param("uid")
	clientID, err := clientOf(c)
	if err != nil {
		return err
	}
	v, err := s.look(c, uid)
	if err != nil {
		return err
	}
	form, err := web.ReadForm(c, scheduleFields...)
	if err != nil {
		return s.backupsAgain(c, err, "", nil)
	}
	next, wrong, err := readSchedule(form, v.Schedule.Schedule)
	if err == nil && !next.Enabled() && v.Schedule.Enabled() && v.maySave().Can && !form.Has("confirm") && !form.Has("confirm_none") {
		return show(c, v.noSchedulePage(s.frame(c, "No automatic backups?", templates.AreaServices), next))
	}
	if err == nil {
		err = s.db.SaveSchedule(c.Request().Context(), clientID, uid, login(c).Actor(), next)
	}
	if err != nil {
		return s.backupsAgain(c, err, "", func(page *templates.BackupsPage, refusal *portal.Error) {
			typed(&page.Schedule, form, wrong, refusal)
		})
	}
	return s.done(c, v.saved(next), path(uid, "backups"))
}

// readSchedule reads the form's seven days and zone. What is not sent stays as it was. Each time that can't be
// read has its sentence in wrong; the error is the first of them.
func readSchedule(form web.Form, old portal.Schedule) (next portal.Schedule, wrong [7]portal.Text, err error) {
	next = old
	if form.Has("zone") {
		next.Zone = form["zone"]
	}
	for i := range next.Days {
		enabled, at := form.Has(dayField(i)), form[timeField(i)]
		if form.Has("same") && form["time_all"] != "" {
			at = form["time_all"]
		}
		if !enabled && at == "" {
			next.Days[i].Enabled = false
			continue
		}
		day, refusal := portal.ParseDay(i, enabled, at)
		if refusal != nil {
			wrong[i] = "This is no time that can be used."
			if r, ok := asRefusal(refusal); ok {
				wrong[i] = r.Sentence
			}
			if err == nil {
				err = refusal
			}
			continue
		}
		next.Days[i] = day
	}
	if err == nil {
		err = next.Validate()
	}
	return next, wrong, err
}

// typed puts what was sent back into the form, with what is wrong beside its field.
func typed(s *templates.Schedule, form web.Form, wrong [7]portal.Text, refusal *portal.Error) {
	s.Open = true
	for i := range s.Days {
		s.Days[i].Enabled, s.Days[i].Wrong = form.Has(dayField(i)), wrong[i]
		if at := form[timeField(i)]; form.Has(timeField(i)) {
			s.Days[i].Time = at
		}
	}
	if form.Has("zone") {
		s.Zone = form["zone"]
	}
	if refusal.Field == "zone" {
		s.ZoneWrong = refusal.Sentence
	}
}

// noSchedulePage asks before automatic backups end.
func (v *shown) noSchedulePage(f templates.Frame, next portal.Schedule) templates.NoSchedulePage {
	f.Crumbs, f.Zone = v.crumbs(templates.Crumb{Text: "Backups", Href: v.path("backups")}, templates.Crumb{Text: "Schedule"}), v.Schedule.Zone
	p := templates.NoSchedulePage{Frame: f, Service: v.head(templates.TabBackups), Fields: []templates.Field{{Name: "zone", Value: next.Zone}}}
	for i, d := range next.Days {
		p.Fields = append(p.Fields, templates.Field{Name: timeField(i), Value: d.At.String()})
	}
	if newest := v.newest(); newest != nil {
		p.Newest = v.ago(newest.Start())
	}
	return p
}

// saved says what a saved schedule means.
func (v *shown) saved(next portal.Schedule) portal.Text {
	if !next.Enabled() {
		return "Saved. There are no automatic backups from now on."
	}
	loc, err := portal.Zone(next.Zone)
	if err != nil {
		return "The schedule is saved."
	}
	return portal.Say("Saved: %s (%s).", next.Describe(), loc.String())
}
