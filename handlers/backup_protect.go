package handlers

import (
	"github.com/labstack/echo/v4"

	"stowage/portal"
	"stowage/web"
)

// protectBackup asks for a copy to be protected from every removal (protect=1, or no field), or for that to end
// (protect=0).
func (s *Site) protectBackup(c echo.Context) error {
	uid := c.Param("uid")
	clientID, err := clientOf(c)
	if err != nil {
		return err
	}
	protect := true
	form, err := web.ReadForm(c, "protect", "protected")
	if err == nil {
		protect, err = wantsProtection(form)
	}
	if err == nil {
		_, err = s.db.Enqueue(c.Request().Context(), clientID, uid, portal.ProtectBackup(login(c).Actor(), c.Param("backup"), protect))
	}
	if err != nil {
		return s.backupsAgain(c, err, "", nil)
	}
	text := portal.Text("The copy is being protected: nothing removes it until you end that.")
	if !protect {
		text = "The protection is being ended."
	}
	return s.done(c, text, backToCopy(c))
}

func wantsProtection(form web.Form) (bool, error) {
	value := "1"
	for _, field := range []string{"protected", "protect"} {
		if form.Has(field) {
			value = form[field]
		}
	}
	switch value {
	case "1":
		return true, nil
	case "0":
		return false, nil
	}
	return false, portal.Invalid("protect", "Protect is 1 (protect the copy) or 0 (end its protection).")
}
