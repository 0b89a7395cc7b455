package web

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/labstack/echo/v4"
)

// Component is a piece of a page that can write itself.
type Component interface {
	Render(ctx context.Context, w io.Writer) error
}

// Page writes a page, in the language of whoever asks for it. It is rendered as a whole first, so that one that fails
// half-way is never sent.
func Page(c echo.Context, status int, page Component) error {
	buf := pages.Get().(*bytes.Buffer)
	defer func() {
		if buf.Cap() <= largestKept {
			buf.Reset()
			pages.Put(buf)
		}
	}()
	if err := page.Render(c.Request().Context(), buf); err != nil {
		return fmt.Errorf("render: %w", err)
	}
	c.Response().Header().Set("Content-Language", Words(c).Tag())
	return c.HTMLBlob(status, buf.Bytes())
}

// pages are buffers that pages were rendered into and that were sent: a page of 150 KB grows a new one nine times.
var pages = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// largestKept is the most, in bytes, that a buffer may hold on to.
const largestKept = 1 << 20

// See answers a successful change: the browser goes on to a page by GET.
func See(c echo.Context, path string) error { return c.Redirect(http.StatusSeeOther, path) }
