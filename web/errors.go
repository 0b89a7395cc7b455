package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"stowage/portal"
)

// Problem is an error as a page shows it.
type Problem struct {
	Status    int
	Sentence  string
	Reference string // "" where quoting it would help nobody
	WayOuts   []Way
}

// Way is a way out of a problem, as portal.WayOut is, with its label in the visitor's language.
type Way struct {
	Action, Label, UID string
}

// TryAgain says, wrapped in an error, when the same may be tried again; it becomes the Retry-After header.
type TryAgain struct{ At time.Time }

func (t TryAgain) Error() string { return "not before " + t.At.UTC().Format(time.RFC3339) }

var statusOfCode = map[portal.Code]int{
	portal.CodeBusy:        http.StatusConflict,
	portal.CodeQuota:       http.StatusConflict,
	portal.CodeConflict:    http.StatusConflict,
	portal.CodeInvalid:     http.StatusUnprocessableEntity,
	portal.CodeForbidden:   http.StatusForbidden,
	portal.CodeNotFound:    http.StatusNotFound,
	portal.CodeTooLarge:    http.StatusRequestEntityTooLarge,
	portal.CodeTooOften:    http.StatusTooManyRequests,
	portal.CodeUnavailable: http.StatusServiceUnavailable,
}

// Status gives the HTTP status of an error.
func Status(err error) int {
	var known *portal.Error
	var routed *echo.HTTPError
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &known):
		if status, ok := statusOfCode[known.Code]; ok {
			return status
		}
	case errors.As(err, &large):
		return http.StatusRequestEntityTooLarge
	case errors.As(err, &routed):
		return routed.Code
	}
	return http.StatusInternalServerError
}

// statusGone stands in the access log where the visitor went away before the answer.
const statusGone = 499

// again is a refusal that shows the page it came from.
type again struct {
	err  error
	page Component
}

func (a *again) Error() string { return a.err.Error() }
func (a *again) Unwrap() error { return a.err }

// Again answers a refusal with the page it came from: its status, and the page that make gives for it. What is no
// refusal of what was asked (not found, a failure) goes on as it is.
func Again(err error, make func(*portal.Error) (Component, error)) error {
	var refusal *portal.Error
	if !errors.As(err, &refusal) {
		return err
	}
	switch refusal.Code {
	case portal.CodeNotFound, portal.CodeUnavailable, portal.CodeTooLarge:
		return err
	}
	page, failed := make(refusal)
	if failed != nil {
		return failed
	}
	return &again{err, page}
}

// handleError is the one place where an error becomes an answer. It is called once for each failed request.
func (s *Server) handleError(err error, c echo.Context) {
	ctx := c.Request().Context()
	status := Status(err)
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		c.Response().Status = statusGone
		return // there is nobody to answer
	}
	attrs := []slog.Attr{slog.String("reference", Reference(c)), slog.String("method", c.Request().Method), slog.String("path", logged(c.Request().URL.Path)), slog.Any("error", err)}
	var p *panicked
	if errors.As(err, &p) {
		attrs = append(attrs, slog.String("stack", string(p.stack)))
	}
	level := slog.LevelDebug
	if status >= http.StatusInternalServerError {
		level = slog.LevelError
	}
	s.log.LogAttrs(context.WithoutCancel(ctx), level, "request failed", attrs...)
	if c.Response().Committed {
		return
	}
	var wait TryAgain
	if errors.As(err, &wait) {
		seconds := math.Ceil(wait.At.Sub(s.now()).Seconds())
		c.Response().Header().Set("Retry-After", strconv.Itoa(max(1, int(seconds))))
	}
	var shown *again
	if errors.As(err, &shown) {
		if Page(c, status, shown.page) == nil {
			return
		}
	}
	problem := s.problem(c, err, status)
	if s.o.ErrorPage != nil {
		if page := s.errorPage(c, problem); page != nil && Page(c, status, page) == nil {
			return
		}
	}
	c.Response().Header().Set("Content-Language", Words(c).Tag())
	_ = c.String(status, problem.plain())
}

// errorPage asks for the page of a problem; a panic in there must not hide the first one.
func (s *Server) errorPage(c echo.Context, p Problem) (page Component) {
	defer func() {
		if v := recover(); v != nil {
			s.log.Error("error page failed", "reference", p.Reference, "error", v)
			page = nil
		}
	}()
	return s.o.ErrorPage(c, p)
}

// problem words an error for people, in their language.
func (s *Server) problem(c echo.Context, err error, status int) Problem {
	p := Problem{Status: status, Reference: Reference(c)}
	words := Words(c)
	var sentence portal.Text
	var known *portal.Error
	switch {
	case errors.As(err, &known):
		sentence = known.Sentence
		for _, w := range known.WayOuts {
			p.WayOuts = append(p.WayOuts, Way{w.Action, words.Say(w.Label), w.UID})
		}
		if status < http.StatusInternalServerError {
			p.Reference = ""
		}
	case status == http.StatusNotFound:
		sentence, p.Reference = portal.NotFound().Sentence, ""
	case status == http.StatusMethodNotAllowed:
		sentence, p.Reference = "This page can't be used that way. Go back, reload, and try again there.", ""
	case status == http.StatusRequestEntityTooLarge:
		sentence, p.Reference = tooLarge().Sentence, ""
	case status < http.StatusInternalServerError:
		sentence = "The portal can't make sense of that request. Nothing was done."
	default:
		sentence = "Something went wrong on our side. Your machines and their backups are not affected."
	}
	p.Sentence = words.Say(sentence)
	return p
}

func (p Problem) plain() string {
	if p.Reference == "" {
		return p.Sentence + "\n"
	}
	return fmt.Sprintf("%s\nReference: %s\n", p.Sentence, p.Reference)
}
