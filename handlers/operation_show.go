package handlers

import (
	"net/url"

	"github.com/labstack/echo/v4"

	"stowage/portal"
	"stowage/templates"
	"stowage/web"
)

// showOperation shows the steps and the log of one operation.
func (s *Site) showOperation(c echo.Context) error {
	clientID, err := clientOf(c)
	if err != nil {
		return err
	}
	o, err := s.db.OperationView(c.Request().Context(), clientID, c.Param("uid"), c.Param("operation"))
	if err != nil {
		return err
	}
	secret, err := s.showSecret(c, o)
	if err != nil {
		return err
	}
	page, err := s.operationPage(c)
	if err != nil {
		return err
	}
	page.Secret = secret
	return show(c, page)
}

func (s *Site) operationPage(c echo.Context) (templates.OperationPage, error) {
	clientID, err := clientOf(c)
	if err != nil {
		return templates.OperationPage{}, err
	}
	o, err := s.db.OperationView(c.Request().Context(), clientID, c.Param("uid"), c.Param("operation"))
	if err != nil {
		return templates.OperationPage{}, err
	}
	v, err := s.look(c, c.Param("uid"))
	if err != nil {
		return templates.OperationPage{}, err
	}
	return v.operationPage(s.frame(c, v.teller().title(o.OperationLine), templates.AreaServices), o), nil
}

// The pages behind addresses that only take a change.

func (s *Site) backToAccount(c echo.Context) error { return web.See(c, "/account") }

func (s *Site) backToBackups(c echo.Context) error {
	return web.See(c, path(c.Param("uid"), "backups"))
}

func (s *Site) backToOperation(c echo.Context) error {
	return web.See(c, path(c.Param("uid"), "operations", c.Param("operation")))
}

func (s *Site) backToAnyOperation(c echo.Context) error {
	return web.See(c, "/admin/operations/"+url.PathEscape(c.Param("operation")))
}

// operationAgain answers a refusal with the operation's page.
func (s *Site) operationAgain(c echo.Context, err error) error {
	return web.Again(err, func(refusal *portal.Error) (web.Component, error) {
		page, err := s.operationPage(c)
		if err != nil {
			return nil, err
		}
		v, err := s.look(c, c.Param("uid"))
		if err != nil {
			return nil, err
		}
		page.Refusal = refused(refusal, v.ways(refusal, ""), templates.WayOut{Label: "See how it goes", Href: v.path("operations", page.Operation.UID)})
		return page.View(), nil
	})
}
