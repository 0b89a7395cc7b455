package handlers

import (
	"github.com/labstack/echo/v4"

	"stowage/portal"
	"stowage/templates"
	"stowage/web"
)

// confirmDelete asks before a copy is removed.
func (s *Site) confirmDelete(c echo.Context) error {
	page, err := s.deletePage(c)
	if err != nil {
		return err
	}
	return show(c, page)
}

// deleteBackup asks for one copy to be removed.
func (s *Site) deleteBackup(c echo.Context) error {
	uid := c.Param("uid")
	clientID, err := clientOf(c)
	if err != nil {
		return err
	}
	if _, err = web.ReadForm(c); err == nil {
		_, err = s.db.Enqueue(c.Request().Context(), clientID, uid, portal.RemoveBackup(login(c).Actor(), c.Param("backup")))
	}
	if err != nil {
		return web.Again(err, func(refusal *portal.Error) (web.Component, error) {
			page, err := s.deletePage(c)
			if err != nil {
				return nil, err
			}
			v, err := s.look(c, uid)
			if err != nil {
				return nil, err
			}
			page.Refusal = refused(refusal, v.ways(refusal, ""), v.backToBackups())
			return page.View(), nil
		})
	}
	return s.done(c, "The copy is being removed.", path(uid, "backups"))
}

func (s *Site) deletePage(c echo.Context) (templates.DeletePage, error) {
	v, err := s.look(c, c.Param("uid"))
	if err != nil {
		return templates.DeletePage{}, err
	}
	b, err := v.named(c.Param("backup"))
	if err != nil {
		return templates.DeletePage{}, err
	}
	return v.deletePage(s.frame(c, "Remove a copy", templates.AreaServices), b), nil
}
