package web

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// ready answers whether the portal can do its work: database, scheduler, clocks and servers.
func (s *Server) ready(c echo.Context) error {
	if s.o.Ready == nil {
		return c.JSON(http.StatusOK, map[string]any{"ready": true})
	}
	ok, details := s.o.Ready(c.Request().Context())
	status := http.StatusOK
	if !ok {
		status = http.StatusServiceUnavailable
	}
	return c.JSON(status, map[string]any{"ready": ok, "checks": details})
}

// measure makes the metrics of the HTTP side.
func (s *Server) measure() error {
	s.seconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "stowage_http_request_seconds", Help: "Time to answer, by route and class of status.",
		Buckets: []float64{.005, .02, .05, .1, .25, .5, 1, 2.5, 10, 60},
	}, []string{"method", "route", "class"})
	if s.o.Metrics == nil {
		return nil
	}
	if err := s.o.Metrics.Register(s.seconds); err != nil {
		return fmt.Errorf("web: metrics: %w", err)
	}
	return nil
}

// observe counts a request. Streams last as long as somebody looks: their time says nothing.
func (s *Server) observe(c echo.Context, took time.Duration) {
	method, route := c.Request().Method, c.Path()
	switch {
	case eventStream(c.Request()):
		return
	case route == "":
		route = "none"
	}
	if method != http.MethodGet && method != http.MethodPost {
		method = "other" // whatever a visitor makes up
	}
	s.seconds.WithLabelValues(method, route, fmt.Sprintf("%dxx", c.Response().Status/100)).Observe(took.Seconds())
}

// metrics answers Prometheus where it knows the token.
func (s *Server) metrics(c echo.Context) error {
	if !s.o.MetricsOpen {
		token, ok := strings.CutPrefix(c.Request().Header.Get("Authorization"), "Bearer ")
		got, want := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(s.o.MetricsToken))
		if !ok || subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			c.Response().Header().Set("WWW-Authenticate", `Bearer realm="metrics"`)
			return c.String(http.StatusUnauthorized, "a token is needed\n")
		}
	}
	s.MetricsHandler().ServeHTTP(c.Response(), c.Request())
	return nil
}

// MetricsHandler serves the metrics without asking who is there: for a listener of its own.
func (s *Server) MetricsHandler() http.Handler {
	return promhttp.HandlerFor(s.o.Metrics, promhttp.HandlerOpts{})
}
