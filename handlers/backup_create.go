package handlers

import (
	"github.com/labstack/echo/v4"

	"stowage/portal"
	"stowage/templates"
	"stowage/web"
)

// createBackup asks for a backup now; replace is the uid of the copy to remove once it has ended well.
func (s *Site) createBackup(c echo.Context) error {
	uid := c.Param("uid")
	clientID, err := clientOf(c)
	if err != nil {
		return err
	}
	form, err := web.ReadForm(c, "note", "replace")
	if err == nil {
		_, err = s.db.Enqueue(c.Request().Context(), clientID, uid, portal.ManualBackup(login(c).Actor(), form["note"], form["replace"]))
	}
	if err != nil {
		return s.backupsAgain(c, err, form["note"], func(page *templates.BackupsPage, refusal *portal.Error) {
			page.BackupNow.Note = form["note"]
			if refusal.Field == "note" {
				page.BackupNow.Error = refusal.Sentence
			}
		})
	}
	return s.done(c, "The backup is under way. You can close this page.", path(uid, "backups"))
}

// chooseReplace shows which copies could go for a new one.
func (s *Site) chooseReplace(c echo.Context) error {
	v, err := s.look(c, c.Param("uid"))
	if err != nil {
		return err
	}
	note := c.QueryParam("note")
	if _, err := portal.CleanNote(note); err != nil {
		note = ""
	}
	return show(c, v.choosePage(s.frame(c, "Choose a copy", templates.AreaServices), note))
}
