package web

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"

	"github.com/labstack/echo/v4"

	"stowage/portal"
)

// BodyLimit is the largest body that a request may have, in bytes.
const BodyLimit = 64 << 10

const referenceKey = "web.reference"

// Reference gives the request's short name: people quote it, the log has it.
func Reference(c echo.Context) string {
	r, _ := c.Get(referenceKey).(string)
	return r
}

// newReference makes a short name for people to read out: no letters or digits that look alike.
func newReference() string {
	const letters = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails
	for i := range b {
		b[i] = letters[int(b[i])%len(letters)]
	}
	return string(b[:3]) + "-" + string(b[3:])
}

// accessLog names the request, runs it, has its error answered, and writes one line. Neither query nor body is
// logged: they may hold what is nobody's business.
func (s *Server) accessLog(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		begun := s.now()
		reference := newReference()
		c.Set(referenceKey, reference)
		c.Response().Header().Set("X-Request-Id", reference)
		if s.o.WithAddress != nil {
			c.SetRequest(c.Request().WithContext(s.o.WithAddress(c.Request().Context(), c.RealIP())))
		}
		if err := next(c); err != nil {
			c.Error(err)
		}
		took := s.now().Sub(begun)
		s.observe(c, took)
		level, path := slog.LevelInfo, logged(c.Request().URL.Path)
		if path == "/healthz" || path == "/readyz" || path == "/metrics" || strings.HasPrefix(path, "/static/") {
			level = slog.LevelDebug
		}
		attrs := []slog.Attr{
			slog.String("method", c.Request().Method), slog.String("path", path), slog.Int("status", c.Response().Status),
			slog.Int64("bytes", c.Response().Size), slog.Duration("took", took), slog.String("address", c.RealIP()), slog.String("reference", reference),
		}
		if l, ok := CurrentLogin(c); ok {
			attrs = append(attrs, slog.String("actor", l.Actor()))
		}
		s.log.LogAttrs(context.WithoutCancel(c.Request().Context()), level, "request", attrs...)
		return nil
	}
}

// logged is a path as logs may hold it: the links that set a password work for whoever knows them.
func logged(path string) string {
	if strings.HasPrefix(path, resetPrefix) {
		return resetPrefix + "…"
	}
	return path
}

const resetPrefix = "/reset/"

// panicked is a panic on its way to the error handler.
type panicked struct {
	value any
	stack []byte
}

func (p *panicked) Error() string { return fmt.Sprintf("panic: %v", p.value) }

// recoverPanics turns a panic into an error, so that it is logged once and answered like any other.
func recoverPanics(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		defer func() {
			switch v := recover(); {
			case v == nil:
			case isAbort(v):
				panic(v) // net/http's own way to drop a connection
			default:
				err = &panicked{v, debug.Stack()}
			}
		}()
		return next(c)
	}
}

func isAbort(v any) bool {
	err, ok := v.(error)
	return ok && errors.Is(err, http.ErrAbortHandler)
}

// headAsGet lets every page be asked for by its head alone; the body is dropped by net/http.
func headAsGet(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			r = r.Clone(r.Context())
			r.Method = http.MethodGet
		}
		next.ServeHTTP(w, r)
	})
}

// endAfterChunks closes the connection after a request that did not announce its length. One that carries a length
// as well ends elsewhere for a careless proxy in front than for us: what follows it may be a request that somebody
// hid in there. Go reads the chunks and doesn't tell that there was a length, so no such connection is used again.
func endAfterChunks(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.TransferEncoding) > 0 {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// policy lets a page load what the portal itself serves, and nothing else. Pictures may be within the page.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; " +
	"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// FramePolicy is policy for a page that shows another of the portal's own in a frame.
const FramePolicy = policy + "; frame-src 'self'"

// FramedPolicy is for a page within such a frame that loads and runs nothing, and brings its style with it.
const FramedPolicy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; sandbox"

// headers sets what every answer carries. Pages are nobody's to keep; assets set a Cache-Control of their own.
func (s *Server) headers(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		h := c.Response().Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store, private")
		if s.secure() {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		return next(c)
	}
}

// sameSite refuses changes that another site asks for in a visitor's name.
func sameSite(cross *http.CrossOriginProtection) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if err := cross.Check(c.Request()); err != nil {
				return &portal.Error{
					Code: portal.CodeForbidden, Err: err,
					Sentence: "This request came from another web site, so nothing was done. Open the portal itself and try again there.",
				}
			}
			return next(c)
		}
	}
}

func tooLarge() *portal.Error {
	return portal.Refuse(portal.CodeTooLarge, "That is more than the portal takes at once. Nothing was done.")
}

// limitBody refuses bodies that are too large, and lets nobody send more than they announced.
func limitBody(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		if r.ContentLength > BodyLimit {
			c.Response().Header().Set("Connection", "close")
			return tooLarge()
		}
		if r.Body != nil && r.Body != http.NoBody {
			r.Body = http.MaxBytesReader(c.Response().Writer, r.Body, BodyLimit)
		}
		return next(c)
	}
}
