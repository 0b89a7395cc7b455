package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"stowage/jobs"
	"stowage/portal"
	"stowage/store"
	"stowage/web"
)

// portalOptions say how a portal runs: for serve and for the demo.
type portalOptions struct {
	DB  *store.DB
	Now func() time.Time
	Log *slog.Logger

	Listen  string
	URL     *url.URL // nil: http at the address that is listened on
	Proxies []netip.Prefix

	MetricsListen string // a listener of its own for /metrics
	MetricsToken  string // or a token for /metrics beside the pages
	MetricsOpen   bool   // or /metrics for everybody

	Transport func(portal.Server) http.RoundTripper // instead of the network, to Proxmox VE
	Mail      *jobs.Mail                            // how mail is sent, without the URL; nil: it isn't
	Demo      bool
	Faults    *demoFaults // what staff may break, in the demo

	// Listening is told the portal's address once it answers.
	Listening func(*url.URL)
}

// runPortal runs the web site and the engine until ctx ends. Everything it started has ended when it returns.
func runPortal(ctx context.Context, o portalOptions) error {
	listener, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return err
	}
	if o.URL == nil {
		o.URL = &url.URL{Scheme: "http", Host: listener.Addr().String()}
	}
	if o.Mail != nil {
		o.Mail.URL = o.URL.String()
	}
	m, site := newMetrics(), newSite(o)
	w, err := web.New(web.Options{
		Now: o.Now, Log: o.Log, URL: o.URL, TrustedProxies: o.Proxies, Accounts: o.DB, Sessions: o.DB.Sessions(),
		ErrorPage: site.ErrorPage, WithAddress: store.WithAddress, DeviceKey: o.DB.DeviceKey(), Ready: readiness(o.DB),
		Metrics: m.registry, MetricsToken: o.MetricsToken, MetricsOpen: o.MetricsOpen,
	})
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	site.Register(w)
	engine := jobs.New(jobs.Options{DB: o.DB, Now: o.Now, Log: o.Log, Transport: o.Transport, Observe: m.called, Ticked: m.ticked, Mail: o.Mail})
	defer engine.Close()

	// Whichever part fails takes the others down with it: half a portal would look like a whole one.
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var parts sync.WaitGroup
	failures := make(chan error, 4)
	start := func(part func() error) {
		parts.Go(func() {
			defer stop()
			failures <- part()
		})
	}
	start(func() error {
		run := engine.Run
		if o.Faults != nil {
			run = o.Faults.engine.around(run)
		}
		err := run(ctx)
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			return nil
		}
		return err
	})
	start(func() error { m.watch(ctx, o.DB, o.Log); return nil })
	if o.MetricsListen != "" {
		side, err := net.Listen("tcp", o.MetricsListen)
		if err != nil {
			stop()
			parts.Wait()
			return errors.Join(err, listener.Close())
		}
		mux := http.NewServeMux()
		mux.Handle("GET /metrics", w.MetricsHandler())
		start(func() error {
			return serveUntil(ctx, &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second}, side)
		})
	}
	start(func() error { return serveUntil(ctx, w.HTTP(), listener) })
	o.Log.Info("listening", "url", o.URL.String(), "address", listener.Addr().String())
	if o.Listening != nil {
		o.Listening(o.URL)
	}
	parts.Wait()
	close(failures)
	err = nil
	for failure := range failures {
		err = errors.Join(err, failure)
	}
	o.Log.Info("stopped")
	return err
}
