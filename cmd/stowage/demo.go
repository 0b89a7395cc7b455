package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"stowage/jobs"
	"stowage/portal"
	"stowage/pve/pvesim"
	"stowage/static"
	"stowage/store"
	"stowage/web"
)

type demoCmd struct {
	Listen   string  `default:"127.0.0.1:8080" help:"Address to listen on (${default})."`
	URL      string  `name:"url" placeholder:"URL" help:"Address that people type; without it, http at the address listened on."`
	Data     string  `placeholder:"DIR" help:"Folder that keeps the demo, to go on with it later; without it, everything is gone afterwards."`
	Speed    float64 `default:"1" help:"Speed of the simulated storages; 1 is about 200 MB/s."`
	Public   bool    `help:"Listen on an address that others reach. Its passwords are known to everybody."`
	LogLevel string  `default:"warn" enum:"debug,info,warn,error" help:"${enum} (${default})."`
}

// Run runs the portal of serve on demo data, with simulated Proxmox VEs in the place of real ones.
func (c *demoCmd) Run(a *app) (err error) {
	if c.Speed <= 0 || c.Speed > 10_000 {
		return wrongUse("--speed is more than 0 and at most 10000")
	}
	if err := loopbackOnly(c.Listen, c.Public); err != nil {
		return err
	}
	public, err := publicURL(c.URL)
	if err != nil {
		return err
	}
	if err := errors.Join(static.Check(), canListen(a.ctx, c.Listen)); err != nil {
		return err
	}
	folder := demoFolder(c.Data)
	if c.Data == "" {
		dir, err := os.MkdirTemp("", "stowage-demo-")
		if err != nil {
			return err
		}
		folder = demoFolder(dir)
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	release, err := folder.claim()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	log := newLog(a.err, "text", c.LogLevel)
	// What goes wrong in the past that is made up is meant to.
	if err := folder.ready(a.ctx, a.now, c.Speed, newLog(a.err, "text", "error")); err != nil {
		if a.ctx.Err() != nil {
			return nil // told to stop while it began; the next start begins anew
		}
		return err
	}
	db, sims, err := folder.open(a.ctx, a.now, c.Speed)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var side sync.WaitGroup
	defer side.Wait() // before the database is closed
	ctx, stop := context.WithCancel(a.ctx)
	defer stop()
	return runPortal(ctx, portalOptions{
		DB: db, Now: a.now, Log: log, Listen: c.Listen, URL: public, Demo: true, Mail: &jobs.Mail{}, MetricsOpen: !c.Public,
		Transport: demoNetwork(sims), Faults: newDemoFaults(a.now, sims),
		Listening: func(at *url.URL) {
			c.welcome(a.out, at, folder)
			side.Go(func() {
				if err := keepOneRunning(ctx, db, sims[demoCluster]); err != nil && ctx.Err() == nil {
					log.Warn("the long backup could not be begun", "error", err)
				}
			})
		},
	})
}

// welcome says where the demo is and how to sign in.
func (c *demoCmd) welcome(w io.Writer, at *url.URL, folder demoFolder) {
	keeps := "in " + string(folder) + ", removed at the end"
	if c.Data != "" {
		keeps = "kept in " + string(folder)
	}
	clients, staff := make([]string, len(demoClients)), make([]string, len(demoStaff))
	for i, p := range demoClients {
		clients[i] = demoEmail(p.key)
	}
	for i, p := range demoStaff {
		staff[i] = demoEmail(p.key)
	}
	fmt.Fprintf(w, `
Stowage demo: %s

  clients   %s
  staff     %s
  password  %s, for each of them
  data      %s

Proxmox VE is simulated. Ctrl-C ends it.
`, at, strings.Join(clients, ", "), strings.Join(staff, ", "), demoPassword, keeps)
}

// canListen tells right away, and not only once the data is there, that the address is taken.
func canListen(ctx context.Context, address string) error {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return l.Close()
}

// demoNetwork leads to the simulators of the demo's servers.
func demoNetwork(sims map[string]*pvesim.Sim) func(portal.Server) http.RoundTripper {
	return func(s portal.Server) http.RoundTripper {
		if sim := sims[s.Name]; sim != nil {
			return demoWire{sim}
		}
		return nowhere{}
	}
}

// demoWire carries requests to a simulator as a network does: to the node whose address it is, and to none that is
// cut off. Another node of the cluster may answer in its place.
type demoWire struct{ sim *pvesim.Sim }

// RoundTrip implements http.RoundTripper.
func (w demoWire) RoundTrip(r *http.Request) (*http.Response, error) {
	if node, _, _ := strings.Cut(r.URL.Hostname(), "."); !w.sim.Reachable(node) {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.EHOSTUNREACH}
	}
	return w.sim.RoundTrip(r)
}

// nowhere stands for servers that were added to the demo and are not part of it: it reaches nobody.
type nowhere struct{}

var errNowhere = errors.New("the demo reaches its simulated servers only")

// RoundTrip implements http.RoundTripper.
func (nowhere) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		_ = r.Body.Close()
	}
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errNowhere}
}

// demoHash is the hash of the one password; whoever steals it learns what is printed at the start.
var demoHash = sync.OnceValues(func() (string, error) { return web.HashPassword(demoPassword) })

// keepOneRunning begins the large machine's backup anew where it has ended since the demo last ran, so that a
// running one is always there to be seen.
func keepOneRunning(ctx context.Context, db *store.DB, sim *pvesim.Sim) error {
	service, login, err := demoService(ctx, db, demoRunning)
	if err != nil || service.State != portal.ServiceActive {
		return err
	}
	for _, g := range sim.Guests() {
		if g.VMID == service.VMID && g.Lock == "backup" {
			return nil // it runs
		}
	}
	for i := 0; i < 120 && ctx.Err() == nil; i++ {
		situation, err := db.Situation(ctx, service.ID)
		if err != nil {
			return err
		}
		if len(situation.Operations) == 0 {
			_, err := db.Enqueue(ctx, service.ClientID, service.UID, anotherBackup(login.Actor()))
			return err
		}
		sleep(ctx, time.Second) // the engine is about to see that the old one has ended
	}
	return nil
}

// anotherBackup is a manual backup that takes the place of the oldest where none is free.
func anotherBackup(actor string) portal.Request {
	return func(s portal.Situation) (portal.Operation, error) {
		op, err := portal.ManualBackup(actor, "", "")(s)
		if portal.CodeOf(err) != portal.CodeQuota {
			return op, err
		}
		for i := len(s.Backups) - 1; i >= 0; i-- { // oldest first
			if b := s.Backups[i]; b.Complete() && !b.Protected {
				return portal.ManualBackup(actor, "", b.UID)(s)
			}
		}
		return op, err
	}
}

// demoService gives a service of the demo by its name, and the first login of its client.
func demoService(ctx context.Context, db *store.DB, name string) (portal.Service, portal.Login, error) {
	servers, err := db.Servers(ctx)
	if err != nil {
		return portal.Service{}, portal.Login{}, err
	}
	for _, server := range servers {
		services, err := db.ServicesOn(ctx, server.ID)
		if err != nil {
			return portal.Service{}, portal.Login{}, err
		}
		for _, s := range services {
			if s.Name != name {
				continue
			}
			logins, err := db.LoginsOf(ctx, s.ClientID)
			if err != nil || len(logins) == 0 {
				return s, portal.Login{}, err
			}
			return s, logins[0], nil
		}
	}
	return portal.Service{}, portal.Login{}, fmt.Errorf("there is no service %s", name)
}
