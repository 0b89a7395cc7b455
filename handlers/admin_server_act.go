package handlers

import (
	"net/url"
	"strconv"

	"github.com/labstack/echo/v4"

	"stowage/portal"
	"stowage/store"
	"stowage/templates"
	"stowage/web"
)

// checkServer asks for a server to be checked. The engine does it: pages never talk to Proxmox themselves.
func (s *Site) checkServer(c echo.Context) error {
	if _, err := web.ReadForm(c); err != nil {
		return err
	}
	if err := s.db.RequestCheck(c.Request().Context(), login(c).Actor(), c.Param("uid")); err != nil {
		return err
	}
	return s.done(c, "The check is under way; its result appears here within seconds.", serverPath(c))
}

// askConfirmGone asks before archives that are absent from a storage are taken for gone.
func (s *Site) askConfirmGone(c echo.Context) error {
	page, err := s.confirmGonePage(c)
	if err != nil {
		return err
	}
	return show(c, page)
}

// confirmGone is a person's word that what is absent from a storage is really gone.
func (s *Site) confirmGone(c echo.Context) error {
	row, err := s.storage(c)
	if err == nil {
		_, err = web.ReadForm(c)
	}
	if err == nil {
		err = s.db.ConfirmDoubt(c.Request().Context(), login(c).Actor(), row.ID)
	}
	if err != nil {
		return web.Again(err, func(refusal *portal.Error) (web.Component, error) {
			page, err := s.confirmGonePage(c)
			if err != nil {
				return nil, err
			}
			page.Refusal = refused(refusal, nil, templates.WayOut{Label: "Back to the server", Href: serverPath(c)})
			return page.View(), nil
		})
	}
	return s.done(c, "Confirmed. What the coming listings lack for ten minutes is believed missing then, and clients are told.", serverPath(c))
}

func (s *Site) confirmGonePage(c echo.Context) (page templates.ConfirmGonePage, err error) {
	row, err := s.storage(c)
	if err != nil {
		return page, err
	}
	server, err := s.db.Server(c.Request().Context(), row.ServerID)
	if err != nil {
		return page, err
	}
	d := desk{now: s.db.Now(), loc: zone(login(c))}
	f := s.frame(c, "Confirm a loss", templates.AreaAdminServers)
	f.Crumbs = []templates.Crumb{{Text: "Servers", Href: "/admin/servers"}, {Text: portal.Verbatim(server.Name), Href: serverPath(c)}, {Text: "Confirm a loss"}}
	return templates.ConfirmGonePage{Frame: f, Server: server.UID, Host: server.Name, Storage: d.doubt(row, staffMay(c))}, nil
}

// letRemovalsGoOn takes the brake off a storage; the reason goes into the audit log.
func (s *Site) letRemovalsGoOn(c echo.Context) error {
	var reason string
	row, err := s.storage(c)
	if err != nil {
		return err
	}
	form, err := web.ReadForm(c, "reason")
	if err == nil {
		reason, err = cleanReason(form["reason"])
	}
	if err == nil && reason == "" {
		err = portal.Invalid("reason", "Say why, in a few words.")
	}
	if err == nil {
		err = s.db.SetBrake(c.Request().Context(), login(c).Actor(), row.Storage, false, reason)
	}
	if err != nil {
		return web.Again(err, func(refusal *portal.Error) (web.Component, error) {
			page, err := s.serverPage(c)
			if err != nil {
				return nil, err
			}
			page.Refusal = refused(refusal, nil, templates.WayOut{Label: "Back to the server", Href: serverPath(c)})
			for i, b := range page.Brakes {
				if b.ID == c.Param("storage") && refusal.Field == "reason" {
					page.Brakes[i].Reason, page.Brakes[i].Wrong = form["reason"], refusal.Sentence
				}
			}
			return page.View(), nil
		})
	}
	return s.done(c, "Automatic removals go on there.", serverPath(c))
}

// storage gives the storage that the address names. One of another server is not found.
func (s *Site) storage(c echo.Context) (store.StorageRow, error) {
	id, err := strconv.ParseInt(c.Param("storage"), 10, 64)
	if err != nil {
		return store.StorageRow{}, portal.NotFound()
	}
	return s.db.StorageOn(c.Request().Context(), c.Param("uid"), id)
}

// backToServer answers whoever loads the address of an action again with the server's page.
func (s *Site) backToServer(c echo.Context) error { return web.See(c, serverPath(c)) }

func serverPath(c echo.Context) string { return "/admin/servers/" + url.PathEscape(c.Param("uid")) }

// staffMay tells whether the login may do what needs no more than being allowed to act.
func staffMay(c echo.Context) templates.Act {
	if !login(c).MayAct() {
		return templates.Denied("Your login may look at everything, but change nothing.")
	}
	return templates.Allowed()
}

func placeName(row store.StorageRow) portal.Text {
	if row.Node == "" {
		return portal.Verbatim(row.Name)
	}
	return portal.Say("%s on %s", row.Name, row.Node)
}

func (d desk) doubt(row store.StorageRow, act templates.Act) templates.StorageDoubt {
	v := templates.StorageDoubt{ID: strconv.FormatInt(row.ID, 10), Name: placeName(row), Act: act}
	switch {
	case row.Doubt == "":
		v.Sentence, v.Act = "Its list is not in doubt any more.", templates.Denied("There is nothing to confirm.")
	case row.Confirmed:
		v.Act = templates.Denied("This was confirmed. The next listing goes by it.")
		fallthrough
	default:
		v.Sentence = portal.Say("Since %s, %s.", since(row.DoubtSince, d.now, d.loc), row.Doubt)
	}
	return v
}

func (d desk) brake(row store.StorageRow, act templates.Act) templates.StorageBrake {
	return templates.StorageBrake{
		ID: strconv.FormatInt(row.ID, 10), Name: placeName(row), Act: act,
		Sentence: portal.Say("Automatic removals stopped at %s: there were far more than usual.", since(row.BrakeSince, d.now, d.loc)),
	}
}
