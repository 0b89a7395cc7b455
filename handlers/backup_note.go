package handlers

import (
	"github.com/labstack/echo/v4"

	"stowage/portal"
	"stowage/templates"
	"stowage/web"
)

// saveNote keeps a customer's note with a copy.
func (s *Site) saveNote(c echo.Context) error {
	uid, backup := c.Param("uid"), c.Param("backup")
	clientID, err := clientOf(c)
	if err != nil {
		return err
	}
	form, err := web.ReadForm(c, "note")
	if err == nil && !form.Has("note") {
		err = portal.Invalid("note", "The note is missing.")
	}
	if err == nil {
		err = s.db.SetNote(c.Request().Context(), clientID, uid, backup, login(c).Actor(), form["note"])
	}
	if err != nil {
		if _, missing := s.db.ClientBackup(c.Request().Context(), clientID, uid, backup); missing != nil {
			return missing
		}
		return s.backupsAgain(c, err, "", func(page *templates.BackupsPage, refusal *portal.Error) {
			page.Live = false // the list would come anew and take away what was typed
			for i, row := range page.List.Rows {
				if row.UID == backup && refusal.Field == "note" {
					page.List.Rows[i].Note, page.List.Rows[i].NoteWrong = form["note"], refusal.Sentence
				}
			}
		})
	}
	return s.done(c, "The note is saved.", backToCopy(c))
}
