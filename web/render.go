package web

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/labstack/echo/v4"
)

// Component is a piece of a page that can write itself.
type Component interface {
	Render(ctx context.Context, w io.Writer) error
}

// Page writes a page, in the language of whoever asks for it. It is rendered as a whole first, so that one that fails
// half-way is never sent.
func Page(c echo.Context, status int, page Component) error {
	var buf bytes.Buffer
	if err := page.Render(c.Request().Context(), &buf); err != nil {
		return fmt.Errorf("render: %w", err)
	}
	c.Response().Header().Set("Content-Language", Words(c).Tag())
	return c.HTMLBlob(status, buf.Bytes())
}

// See answers a successful change: the browser goes on to a page by GET.
func See(c echo.Context, path string) error { return c.Redirect(http.StatusSeeOther, path) }
