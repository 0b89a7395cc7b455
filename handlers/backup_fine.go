package handlers

import (
	"github.com/labstack/echo/v4"

	"stowage/portal"
	"stowage/web"
)

// acceptBackup takes a person's word that a much smaller copy is fine.
func (s *Site) acceptBackup(c echo.Context) error {
	uid, backup := c.Param("uid"), c.Param("backup")
	clientID, err := clientOf(c)
	if err != nil {
		return err
	}
	if _, err = web.ReadForm(c); err == nil {
		err = s.db.AcceptSuspect(c.Request().Context(), clientID, uid, backup, login(c).Actor())
	}
	if err != nil {
		return s.backupsAgain(c, err, "", nil)
	}
	return s.done(c, "Good: this copy is relied on from now on.", backToCopy(c))
}

// dismissBackup clears the row of a copy that is no more: the client has seen it.
func (s *Site) dismissBackup(c echo.Context) error {
	uid, backup := c.Param("uid"), c.Param("backup")
	clientID, err := clientOf(c)
	if err != nil {
		return err
	}
	if _, err = web.ReadForm(c); err == nil {
		err = s.dismiss(c, clientID, uid, backup)
	}
	if err != nil {
		return s.backupsAgain(c, err, "", nil)
	}
	return s.done(c, "The row is gone. What happened stays in the history.", path(uid, "backups"))
}

// dismiss refuses while there is still an archive: its row is what makes it ours.
func (s *Site) dismiss(c echo.Context, clientID int64, uid, backup string) error {
	ctx := c.Request().Context()
	b, err := s.db.ClientBackup(ctx, clientID, uid, backup)
	if err != nil {
		return err
	}
	if !dismissable(b) {
		return portal.Refuse(portal.CodeConflict, "This copy still exists. Remove it instead.")
	}
	return s.db.DismissMissing(ctx, clientID, uid, backup, login(c).Actor())
}

// dismissable tells whether a row stands for a copy that is no more.
func dismissable(b portal.Backup) bool {
	return b.Class == portal.ClassMissing || b.Class == portal.ClassFailed && b.Volid == ""
}
