package handlers

import (
	"slices"

	"github.com/labstack/echo/v4"

	"stowage/portal"
	"stowage/templates"
	"stowage/web"
)

// takeSnapshot asks for a snapshot now.
func (s *Site) takeSnapshot(c echo.Context) error {
	uid := c.Param("uid")
	clientID, err := clientOf(c)
	if err != nil {
		return err
	}
	form, err := web.ReadForm(c, "description", "memory")
	if err == nil {
		err = readable(form, "memory")
	}
	if err == nil {
		_, err = s.db.Enqueue(c.Request().Context(), clientID, uid, portal.RequestSnapshot(login(c).Actor(), form["description"], ticked(form["memory"])))
	}
	if err != nil {
		return s.snapshotsAgain(c, err, func(page *templates.SnapshotsPage, refusal *portal.Error) {
			page.Take.Description, page.Take.Memory = form["description"], ticked(form["memory"])
			if refusal.Field == "description" {
				page.Take.Error = refusal.Sentence
			}
		})
	}
	return s.done(c, "The snapshot is being taken. You can close this page.", path(uid, "snapshots"))
}

// ticked reads a checkbox.
func ticked(value string) bool { return slices.Contains(yes, value) }

// yes and no are what a checkbox, or a program in its place, may say.
var (
	yes = []string{"1", "on", "true", "yes"}
	no  = []string{"", "0", "off", "false", "no"}
)

// readable refuses a checkbox that says anything else.
func readable(form web.Form, field string) error {
	if v := form[field]; !slices.Contains(yes, v) && !slices.Contains(no, v) {
		return portal.Invalid(field, "This choice can't be read: it is 1 or 0.")
	}
	return nil
}

// describeSnapshot keeps a customer's words for a snapshot.
func (s *Site) describeSnapshot(c echo.Context) error {
	uid, snapshot := c.Param("uid"), c.Param("snapshot")
	clientID, err := clientOf(c)
	if err != nil {
		return err
	}
	form, err := web.ReadForm(c, "description")
	if err == nil && !form.Has("description") {
		err = portal.Invalid("description", "The description is missing.")
	}
	if err == nil {
		err = s.db.SetDescription(c.Request().Context(), clientID, uid, snapshot, login(c).Actor(), form["description"])
	}
	if err != nil {
		if _, missing := s.db.ClientSnapshot(c.Request().Context(), clientID, uid, snapshot); missing != nil {
			return missing
		}
		return s.snapshotsAgain(c, err, func(page *templates.SnapshotsPage, refusal *portal.Error) {
			page.Live = false // the list would come anew and take away what was typed
			for i, row := range page.List.Rows {
				if row.UID == snapshot && refusal.Field == "description" {
					page.List.Rows[i].Description, page.List.Rows[i].Wrong = form["description"], refusal.Sentence
				}
			}
		})
	}
	return s.done(c, "The description is saved.", path(uid, "snapshots")+"#snapshot-"+snapshot)
}
