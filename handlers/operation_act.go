package handlers

import (
	"context"
	"errors"

	"github.com/labstack/echo/v4"

	"stowage/portal"
	"stowage/store"
	"stowage/web"
)

// cancelOperation records that a person wants an operation to end.
func (s *Site) cancelOperation(c echo.Context) error {
	uid := c.Param("uid")
	clientID, err := clientOf(c)
	if err != nil {
		return err
	}
	var op portal.Operation
	if _, err = web.ReadForm(c); err == nil {
		op, err = s.db.RequestCancel(c.Request().Context(), clientID, uid, c.Param("operation"), login(c).Actor())
	}
	if err != nil {
		return s.operationAgain(c, unstale(err))
	}
	text := portal.Text("Cancelled. Nothing was begun.")
	if !op.State.Final() {
		text = "It is being cancelled; your host is told to stop."
	}
	return s.done(c, text, path(uid, "backups"))
}

// retryOperation asks for a failed or cancelled operation once more, as a new one.
func (s *Site) retryOperation(c echo.Context) error {
	uid := c.Param("uid")
	clientID, err := clientOf(c)
	if err != nil {
		return err
	}
	var op portal.Operation
	if _, err = web.ReadForm(c); err == nil {
		op, err = s.retry(c.Request().Context(), clientID, uid, c.Param("operation"), login(c).Actor())
	}
	if err != nil {
		return s.operationAgain(c, unstale(err))
	}
	if op.HasSecret() && op.State == portal.StateQueued {
		return web.See(c, path(uid, "operations", op.UID)) // where the new password is shown
	}
	return s.done(c, "It is tried again.", path(uid, "operations", op.UID))
}

// retry queues an operation like an old one. clientID 0 is for staff.
func (s *Site) retry(ctx context.Context, clientID int64, serviceUID, uid, actor string) (portal.Operation, error) {
	old, err := s.db.OperationView(ctx, clientID, serviceUID, uid)
	if err != nil {
		return portal.Operation{}, err
	}
	if old.Kind == portal.KindRestore && old.State == portal.StateHeld {
		return s.db.ResumeRestore(ctx, clientID, serviceUID, old.UID, "", actor)
	}
	if clientID != 0 && mayResume(old) {
		svc, err := s.db.ClientService(ctx, clientID, serviceUID)
		if err == nil && svc.State == portal.ServiceSuspended {
			err = &portal.Error{Code: portal.CodeForbidden, Sentence: "This service is suspended: you can look at everything, but not change it."}
		}
		if err != nil {
			return portal.Operation{}, err
		}
		return s.db.Resume(ctx, old.UID, actor)
	}
	if old.RetriedBy != "" {
		return portal.Operation{}, portal.Refuse(portal.CodeConflict, "This has been tried again already.").
			With(portal.WayOut{Action: "open_operation", Label: "See the retry", UID: old.RetriedBy})
	}
	return s.db.Enqueue(ctx, clientID, old.ServiceUID, portal.RetryOperation(actor, old.Operation, old.CopyUID, old.Replace))
}

// unstale words the case that the engine moved the operation in the very moment of the click.
func unstale(err error) error {
	if errors.Is(err, store.ErrStale) {
		return &portal.Error{Code: portal.CodeConflict, Sentence: "It moved on in this very moment. Please look again and repeat it if it is still needed.", Err: err}
	}
	return err
}
