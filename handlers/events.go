package handlers

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"stowage/portal"
	"stowage/templates"
	"stowage/web"
)

// calm is the least time between two looks of an open page, so that a burst of changes costs one.
const calm = 250 * time.Millisecond

// events keeps an open page of a service in step: each live piece of it is sent anew when it reads differently.
// page names which page is open (backups, snapshots, service, operation), operation the uid where it is that of one.
//
// The store's bell says that something changed; another process may have written without ringing, so that the page
// is looked at every few seconds as well. The stream ends with the session, the visitor or the portal.
func (s *Site) events(c echo.Context) error {
	l, ok := web.CurrentLogin(c)
	if !ok {
		return c.NoContent(http.StatusUnauthorized)
	}
	pieces, err := s.pieces(c)
	if err != nil {
		return err
	}
	v, err := s.look(c, c.Param("uid"))
	if err != nil {
		return err
	}
	if _, err := pieces(c.Request().Context()); err != nil {
		return err // a foreign operation is not found before the stream begins
	}
	if !s.admit(l) {
		return portal.Refuse(portal.CodeTooOften, "This login has too many pages open at once. Close some of them.")
	}
	defer s.leave(l)
	changed, stop := s.db.Listen(v.Service.ID)
	defer stop()
	if page := c.QueryParam("page"); page == "snapshots" || page == "service" && !v.snaps.Hidden {
		defer s.db.WatchSnapshots(v.Service.ID)()
	}
	stream, err := s.web.OpenStream(c)
	if err != nil {
		return ended(err)
	}
	defer stream.Close()
	err = s.follow(c, stream, changed, pieces)
	if stream.Context().Err() != nil {
		return nil // the visitor has gone, or the portal stops
	}
	return ended(err)
}

// follow sends what changes until the stream ends.
func (s *Site) follow(c echo.Context, stream *web.Stream, changed <-chan struct{}, pieces func(context.Context) ([]templates.Fragment, error)) error {
	recheck, heartbeat := time.NewTicker(s.o.Recheck), time.NewTicker(s.o.Heartbeat)
	defer recheck.Stop()
	defer heartbeat.Stop()
	sent := map[string][]byte{}
	for {
		if err := s.send(stream, pieces, sent); err != nil {
			return err
		}
		if !pause(stream.Context(), calm) {
			return nil
		}
		for again := false; !again; {
			select {
			case <-stream.Context().Done():
				return nil
			case <-heartbeat.C:
				if err := stream.SendText("ping", "ok"); err != nil {
					return err
				}
			case <-changed:
				again = true
			case <-recheck.C:
				still, err := s.web.StillSignedIn(c)
				if err != nil {
					return err
				}
				if !still {
					return errSession
				}
				again = true
			}
		}
	}
}

// send sends the pieces that read differently than what was sent last.
func (s *Site) send(stream *web.Stream, pieces func(context.Context) ([]templates.Fragment, error), sent map[string][]byte) error {
	fragments, err := pieces(stream.Context())
	if err != nil {
		return err
	}
	for _, f := range fragments {
		var html bytes.Buffer
		if err := f.Body.Render(stream.Context(), &html); err != nil {
			return err
		}
		if last, ok := sent[f.Event]; ok && bytes.Equal(last, html.Bytes()) {
			continue
		}
		if err := stream.SendText(f.Event, html.String()); err != nil {
			return err
		}
		sent[f.Event] = html.Bytes()
	}
	return nil
}

// pieces gives what makes the live pieces of the page that is open.
func (s *Site) pieces(c echo.Context) (func(context.Context) ([]templates.Fragment, error), error) {
	clientID, err := clientOf(c)
	if err != nil {
		return nil, err
	}
	uid, l := c.Param("uid"), login(c)
	look := func(ctx context.Context) (*shown, error) { return s.lookAt(ctx, clientID, uid, l) }
	switch c.QueryParam("page") {
	case "", "backups":
		list, _ := strconv.Atoi(c.QueryParam("list")) // what is none is the first
		return func(ctx context.Context) ([]templates.Fragment, error) {
			v, err := look(ctx)
			if err != nil {
				return nil, err
			}
			v.page = list
			return v.backupsPage(templates.Frame{}).Fragments(), nil
		}, nil
	case "snapshots":
		return func(ctx context.Context) ([]templates.Fragment, error) {
			v, err := look(ctx)
			if err != nil {
				return nil, err
			}
			seen, err := s.db.SnapshotsView(ctx, clientID, uid)
			if err != nil {
				return nil, err
			}
			return v.snapshotsPage(templates.Frame{}, seen, true).Fragments(), nil
		}, nil
	case "service":
		return func(ctx context.Context) ([]templates.Fragment, error) {
			v, err := look(ctx)
			if err != nil {
				return nil, err
			}
			return v.servicePage(templates.Frame{}).Fragments(), nil
		}, nil
	case "operation":
		operation := c.QueryParam("operation")
		return func(ctx context.Context) ([]templates.Fragment, error) {
			o, err := s.db.OperationView(ctx, clientID, uid, operation)
			if err != nil {
				return nil, err
			}
			v, err := look(ctx)
			if err != nil {
				return nil, err
			}
			return v.operationPage(templates.Frame{}, o).Fragments(), nil
		}, nil
	}
	return nil, portal.NotFound()
}

// pause waits; false where the context ended meanwhile.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// errSession ends a stream whose session has ended; the page behind it then asks for itself.
var errSession = errors.New("the session has ended")

// ended makes the ordinary ends of a stream no errors: the visitor has gone, the session or the service has ended.
func ended(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, errSession) || portal.CodeOf(err) == portal.CodeNotFound {
		return nil
	}
	return err
}

// admit takes one of a login's places for streams.
func (s *Site) admit(l portal.Login) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams[l.UID] >= s.o.Streams {
		return false
	}
	s.streams[l.UID]++
	return true
}

func (s *Site) leave(l portal.Login) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams[l.UID]--; s.streams[l.UID] <= 0 {
		delete(s.streams, l.UID)
	}
}
