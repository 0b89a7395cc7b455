package web

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
)

// writeStall is how long a visitor may take to accept one event before the stream is dropped.
const writeStall = 10 * time.Second

// Stream is an answer that goes on: server-sent events.
type Stream struct {
	c      echo.Context
	rc     *http.ResponseController
	ctx    context.Context
	cancel context.CancelFunc
}

// OpenStream begins a stream of events. The bounds on slow visitors don't hold for it: each event has its own.
// Close must follow.
func (s *Server) OpenStream(c echo.Context) (*Stream, error) {
	rc := http.NewResponseController(c.Response())
	for _, clear := range []func(time.Time) error{rc.SetReadDeadline, rc.SetWriteDeadline} {
		if err := clear(time.Time{}); err != nil {
			return nil, fmt.Errorf("event stream: %w", err)
		}
	}
	ctx, cancel := context.WithCancel(c.Request().Context())
	st := &Stream{c: c, rc: rc, ctx: ctx, cancel: cancel}
	go func() {
		select {
		case <-s.stopping:
			cancel()
		case <-ctx.Done():
		}
	}()
	h := c.Response().Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no")
	c.Response().WriteHeader(http.StatusOK)
	return st, st.write([]byte("retry: 2000\n\n"))
}

// Context ends when the visitor has gone, the portal stops, or the stream is closed.
func (st *Stream) Context() context.Context { return st.ctx }

// Close ends the stream.
func (st *Stream) Close() { st.cancel() }

// Send sends a piece of a page as one event.
func (st *Stream) Send(event string, body Component) error {
	var buf bytes.Buffer
	if err := body.Render(st.ctx, &buf); err != nil {
		return fmt.Errorf("event stream: render: %w", err)
	}
	return st.SendText(event, buf.String())
}

// SendText sends text as one event.
func (st *Stream) SendText(event, text string) error {
	var buf bytes.Buffer
	fmt.Fprintf(&buf, "event: %s\n", event)
	text = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text)
	for line := range strings.SplitSeq(text, "\n") {
		fmt.Fprintf(&buf, "data: %s\n", line)
	}
	buf.WriteByte('\n')
	return st.write(buf.Bytes())
}

// Ping sends nothing that shows, so that a connection that has died is noticed on both sides.
func (st *Stream) Ping() error { return st.write([]byte(": still here\n\n")) }

func (st *Stream) write(b []byte) error {
	if err := st.ctx.Err(); err != nil {
		return err
	}
	stall := time.AfterFunc(writeStall, func() { _ = st.rc.SetWriteDeadline(time.Unix(1, 0)) })
	defer stall.Stop()
	if _, err := st.c.Response().Write(b); err != nil {
		return fmt.Errorf("event stream: %w", err)
	}
	if err := st.rc.Flush(); err != nil {
		return fmt.Errorf("event stream: %w", err)
	}
	return nil
}
