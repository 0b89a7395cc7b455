package handlers

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"stowage/portal"
	"stowage/web"
)

// staffRetry lets a held operation go on where it stands, or asks for an ended one once more.
func (s *Site) staffRetry(c echo.Context) error {
	return s.steer(c, func(uid, actor, _ string) (portal.Text, string, error) {
		o, err := s.db.OperationView(c.Request().Context(), 0, "", uid)
		if err != nil {
			return "", "", err
		}
		if o.State == portal.StateHeld {
			_, err := s.db.Resume(c.Request().Context(), uid, actor)
			return "It goes on.", o.UID, err
		}
		op, err := s.retry(c.Request().Context(), 0, "", uid, actor)
		return "It is tried again.", op.UID, err
	})
}

// staffResume lets a held operation go on where it stands.
func (s *Site) staffResume(c echo.Context) error {
	return s.steer(c, func(uid, actor, _ string) (portal.Text, string, error) {
		op, err := s.db.Resume(c.Request().Context(), uid, actor)
		return "It goes on.", op.UID, err
	})
}

// staffCancel records that staff want an operation to end.
func (s *Site) staffCancel(c echo.Context) error {
	return s.steer(c, func(uid, actor, _ string) (portal.Text, string, error) {
		op, err := s.db.RequestCancel(c.Request().Context(), 0, "", uid, actor)
		return "It is being cancelled.", op.UID, err
	})
}

// staffSkip skips the date of a scheduled backup that waits; the reason goes into the audit log.
func (s *Site) staffSkip(c echo.Context) error {
	return s.steer(c, func(uid, actor, reason string) (portal.Text, string, error) {
		op, err := s.db.SkipQueued(c.Request().Context(), uid, actor, reason)
		return "Skipped. The next one on the schedule runs as usual.", op.UID, err
	})
}

// staffRelease ends a held operation by a person's word; the reason goes into the audit log.
func (s *Site) staffRelease(c echo.Context) error {
	return s.steer(c, func(uid, actor, reason string) (portal.Text, string, error) {
		op, err := s.db.Release(c.Request().Context(), uid, actor, reason)
		return "Released. The machine is free again.", op.UID, err
	})
}

// steer does one thing with the operation that the address names, and goes on to the page of what came of it.
func (s *Site) steer(c echo.Context, do func(uid, actor, reason string) (text portal.Text, next string, err error)) error {
	var text portal.Text
	var next, reason string
	form, err := web.ReadForm(c, "reason")
	if err == nil {
		reason, err = cleanReason(form["reason"])
	}
	if err == nil {
		text, next, err = do(c.Param("operation"), login(c).Actor(), reason)
	}
	if err != nil {
		return s.staffAgain(c, err, form["reason"])
	}
	return s.done(c, text, "/admin/operations/"+next)
}

// cleanReason gives a reason as the audit log keeps it: like a note, it can't read as something else than it is.
func cleanReason(text string) (string, error) {
	text = strings.TrimSpace(text)
	if utf8.RuneCountInString(text) > 500 {
		return "", portal.Invalid("reason", "A reason has at most 500 characters.")
	}
	for _, r := range text {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Bidi_Control, r) {
			return "", portal.Invalid("reason", "A reason is one line of plain text.")
		}
	}
	return text, nil
}
