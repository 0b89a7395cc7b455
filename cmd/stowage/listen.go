package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"
)

// stopWithin bounds how long requests in hand may take once the process is told to stop. With what comes after
// them, the process ends within 10 s.
const stopWithin = 5 * time.Second

// server is an http.Server with the way it serves.
type server interface {
	Serve(net.Listener) error
	Shutdown(context.Context) error
	Close() error
}

type tlsServer struct{ *http.Server }

// Serve serves HTTPS with the certificate of the TLS configuration.
func (s tlsServer) Serve(l net.Listener) error { return s.ServeTLS(l, "", "") }

// serveUntil serves until ctx ends; then it takes no more requests and lets those in hand finish.
func serveUntil(ctx context.Context, s server, l net.Listener) error {
	failed := make(chan error, 1)
	go func() { failed <- s.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
	defer cancel()
	err := s.Shutdown(bounded)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.Close() // what is still going on has had its time
	}
	if served := <-failed; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
