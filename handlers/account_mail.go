package handlers

import (
	"github.com/labstack/echo/v4"

	"stowage/portal"
	"stowage/templates"
	"stowage/web"
)

// mailSwitches gives the kinds of mail that a login gets or may get.
func mailSwitches(l portal.Login) (list []templates.MailSwitch) {
	for _, k := range portal.MailKinds() {
		if k.Staff == l.Staff() || k.Security {
			list = append(list, templates.MailSwitch{Key: k.Key, Title: k.Title, On: l.Wants(k), Always: k.Security})
		}
	}
	return list
}

// changeMail notes which kinds of mail a login wants. One that is not ticked is not sent.
func (s *Site) changeMail(c echo.Context) error {
	l := login(c)
	var fields []string
	for _, k := range portal.MailKinds() {
		fields = append(fields, "mail_"+k.Key)
	}
	form, err := web.ReadForm(c, fields...)
	if err != nil {
		return err
	}
	wanted := map[string]bool{}
	for _, k := range portal.MailKinds() {
		wanted[k.Key] = form.Has("mail_" + k.Key)
	}
	if err := s.db.SetMailSwitches(c.Request().Context(), l.Actor(), l, wanted); err != nil {
		return err
	}
	return s.done(c, "Saved. You get the mails that are ticked.", "/account#mail")
}
