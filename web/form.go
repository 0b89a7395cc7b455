package web

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"stowage/portal"
)

// Form is what a visitor sent, reduced to the fields that were asked for.
type Form map[string]string

// Has tells whether the field was sent at all, as a ticked checkbox is.
func (f Form) Has(field string) bool {
	_, ok := f[field]
	return ok
}

// ReadForm reads the body as a form and gives the fields named, each at most once. Others are left unread. What
// can't be read is refused with a sentence, never guessed at. The query is no part of a form.
func ReadForm(c echo.Context, fields ...string) (Form, error) {
	r := c.Request()
	body, err := io.ReadAll(r.Body)
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, tooLarge()
	case err != nil:
		return nil, &portal.Error{Code: portal.CodeInvalid, Sentence: "What you sent did not arrive whole. Please try again.", Err: err}
	case len(body) == 0:
		return Form{}, nil
	}
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != echo.MIMEApplicationForm {
		return nil, portal.Refuse(portal.CodeInvalid, "This page takes a plain form only (application/x-www-form-urlencoded).")
	}
	if charset := params["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
		return nil, portal.Refuse(portal.CodeInvalid, "This page takes text in UTF-8 only.")
	}
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, &portal.Error{Code: portal.CodeInvalid, Sentence: "The form can't be read. Please reload the page and try again.", Err: err}
	}
	form := Form{}
	for _, field := range fields {
		sent, ok := values[field]
		switch {
		case !ok:
			continue
		case len(sent) > 1:
			return nil, portal.Invalid(field, "The field %s was sent more than once.", field)
		case !utf8.ValidString(sent[0]) || strings.ContainsRune(sent[0], 0):
			return nil, portal.Invalid(field, "The field %s holds bytes that are not text.", field)
		}
		form[field] = sent[0]
	}
	return form, nil
}
