package main

import (
	"errors"
	"html"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"stowage/jobs"
	"stowage/portal"
	"stowage/pve"
	"stowage/pve/pvesim"
	"stowage/store"
	"stowage/web"
)

// TestSpecification reads as what the portal is for. A customer, by HTTP alone, sets a schedule; a week passes, with a
// host that fails and the night on which the clocks go back; the places fill up and rotate; a larger package arrives; a
// backup from before it is restored, and the machine comes back with the package of today; a snapshot runs out. What is
// asserted is what a person would look at: the machine and its archives on the host, the pages, the ledger, the mails.
func TestSpecification(t *testing.T) {
	t.Parallel()
	s := newSpec(t)

	// Monday, 19 October 2026, noon in Berlin. No schedule yet: the page offers one, and the customer wants another hour.
	s.reads(s.backups, "Backups", `data-count="backups">0/4<`)
	s.post(s.schedule, s.grid("02:30"))
	s.reads(s.backups, "Every night 02:30")

	// Tuesday and Wednesday: one backup each night, at 02:30 in Berlin.
	s.until("2026-10-21 12:00")
	s.ledger("2026-10-20 done", "2026-10-21 done")
	s.archives("2026-10-20 02:30 CEST", "2026-10-21 02:30 CEST")

	// On Thursday the host fails at one and comes back at six: the backup is made then, and the page says that it was late.
	s.until("2026-10-22 01:00")
	s.must(s.sim.SetNodeOnline("pve1", false))
	s.until("2026-10-22 03:00")
	s.reads(s.backups, "reach your host")
	s.until("2026-10-22 06:00")
	s.must(s.sim.SetNodeOnline("pve1", true))
	s.must(s.sim.SetGuestRunning(100, true))
	s.until("2026-10-22 12:00")
	s.ledger("2026-10-20 done", "2026-10-21 done", "2026-10-22 late")

	// Friday fills the last place. Saturday takes the oldest one's.
	s.until("2026-10-23 12:00")
	s.reads(s.backups, `data-count="backups">4/4<`)
	s.until("2026-10-24 12:00")
	s.reads(s.backups, `data-count="backups">4/4<`)
	if got := s.times(); len(got) != 4 || slices.Contains(got, "2026-10-20 02:30 CEST") {
		t.Errorf("after the rotation: %v", got)
	}

	// On Sunday half past two comes twice in Berlin. The backup is made once, at the first.
	s.until("2026-10-25 12:00")
	s.ledger("2026-10-20 done", "2026-10-21 done", "2026-10-22 late", "2026-10-23 done", "2026-10-24 done", "2026-10-25 done")
	if got, want := s.times()[3], "2026-10-25 02:30 CEST"; got != want {
		t.Errorf("the backup of the night with two half past twos was made at %s, want %s", got, want)
	}

	// The package grows on Sunday; the machine gets it, and what needs a new start is said.
	before := s.copies()[0]
	s.must(s.db.ChangeProduct(t.Context(), "staff:test", s.service, s.large))
	s.pass(5 * time.Minute)
	s.post(s.path("power"), url.Values{"action": {"reboot"}})
	s.pass(5 * time.Minute)
	s.machine("cores", "2", "memory", "512")
	s.machine("scsi0 size", "2G", "scsi0 iops_wr", "500", "net0 tag", "7")

	// Monday: yesterday's machine is needed back. The question says what it means, wants the name, and does it.
	s.until("2026-10-26 12:00")
	restore := s.path("backups", before, "restore")
	s.reads(restore, "Restore", "data-confirm", "h100")
	s.refuses(restore, url.Values{"confirm": {"h101"}, "start": {"1"}}, http.StatusUnprocessableEntity)
	s.post(restore, url.Values{"confirm": {" H100 "}, "start": {"1"}})
	s.pass(30 * time.Minute)
	s.machine("cores", "2", "memory", "512")
	s.machine("scsi0 size", "2G", "scsi0 iops_wr", "500", "net0 tag", "7")
	if g := s.guest(); !g.Running || g.UUID != s.uuid {
		t.Errorf("after the restore: running %v, identity %s", g.Running, g.UUID)
	}
	s.reads(s.path("operations"), `data-kind="restore" data-state="succeeded"`)
	s.reads(s.backups, `data-origin="before-restore"`, `data-count="backups">4/4<`)

	// A snapshot lives a day, to the second, and goes by itself.
	s.post(s.path("snapshots"), url.Values{"description": {"before the upgrade"}})
	s.pass(2 * time.Minute)
	page := s.reads(s.path("snapshots"), "before the upgrade", `data-count="snapshots">1/2<`)
	expires := regexp.MustCompile(`data-expires="(\d+)"`).FindStringSubmatch(page)
	if expires == nil {
		t.Fatalf("no end of the snapshot on its page:\n%s", readable(page))
	}
	end := time.Unix(seconds(t, expires[1]), 0)
	s.toInstant(end.Add(-time.Second))
	s.reads(s.path("snapshots"), "before the upgrade", "0 days 00:00:01")
	s.toInstant(end.Add(2 * time.Minute))
	if page := s.reads(s.path("snapshots"), `data-count="snapshots">0/2<`); strings.Contains(page, "before the upgrade") {
		t.Errorf("it is still there:\n%s", readable(page))
	}

	// The mails that came of all this, in the order in which they came.
	s.mails(portal.TopicFirstGood, portal.TopicRestoreDone)
}

// spec is a portal with one customer and one machine, before a simulated Proxmox VE, under a clock that the test sets.
type spec struct {
	t       *testing.T
	clock   *leaping
	zone    *time.Location
	sim     *pvesim.Sim
	db      *store.DB
	engine  *jobs.Engine
	service portal.Service
	large   portal.Product
	uuid    string
	address string
	client  *http.Client

	backups, schedule string
}

func newSpec(t *testing.T) *spec {
	t.Helper()
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	s := &spec{t: t, zone: zone, clock: &leaping{t: time.Date(2026, 10, 19, 12, 0, 0, 0, zone)}}
	dir := t.TempDir()
	s.must(store.CreateKey(filepath.Join(dir, "key")))
	keys, err := store.ReadKey(filepath.Join(dir, "key"))
	s.must(err)
	s.db, err = store.Open(store.Options{Path: filepath.Join(dir, "db"), Keys: keys, Now: s.clock.Now, NoSync: true})
	s.must(err)
	t.Cleanup(func() { _ = s.db.Close() })
	_, _, err = s.db.Migrate(t.Context())
	s.must(err)
	s.must(s.db.Ready(t.Context()))
	s.sim, err = pvesim.New(pvesim.ContractWorld(1, 2), pvesim.Options{Now: s.clock.Now, Speed: 1, Seed: 1})
	s.must(err)
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError}))
	s.engine = jobs.New(jobs.Options{DB: s.db, Now: s.clock.Now, Log: log, Workers: 1, RetryPause: time.Millisecond,
		Transport: func(portal.Server) http.RoundTripper { return s.sim },
		Mail:      &jobs.Mail{URL: "https://portal.test", From: mail.Address{Address: "portal@portal.test"}}})
	t.Cleanup(s.engine.Close)
	lease, err := s.db.TakeLease(t.Context(), "test")
	s.must(err)
	t.Cleanup(func() { _ = lease.Release() })

	ctx := t.Context()
	server, err := s.db.AddServer(ctx, "cli", portal.Server{Name: "sim", Endpoints: []string{"https://pve1.test:8006"}, TokenID: pvesim.PortalToken,
		Fingerprints: []string{strings.Repeat("ab", 32)}}, pvesim.Secret)
	s.must(err)
	small := portal.NewProduct("small")
	small.Quota, small.Storage, small.Snapshots, small.SnapshotDays = 4, "local", 2, 1
	small.Spec = portal.Spec{Cores: 1, MemoryMB: 128}
	small, err = s.db.AddProduct(ctx, "cli", small)
	s.must(err)
	s.large = small
	s.large.ID, s.large.UID, s.large.Name = 0, "", "large"
	s.large.Spec = portal.Spec{Cores: 2, MemoryMB: 512, System: portal.Drive{SizeGiB: 2, WriteIOPS: 500}, Net: portal.Card{VLAN: 7}}
	s.large, err = s.db.AddProduct(ctx, "cli", s.large)
	s.must(err)
	hash, err := web.HashPassword("a long password")
	s.must(err)
	ada, _, err := s.db.AddClient(ctx, "cli", portal.Client{Name: "Ada", Zone: "Europe/Berlin"}, "ada@example.test", hash)
	s.must(err)
	s.service, err = s.engine.AdoptMachine(ctx, "cli", server, portal.Service{ClientID: ada.ID, ProductID: small.ID, VMID: 100}, "Europe/Berlin")
	s.must(err)
	s.uuid = s.guest().UUID
	s.address = s.site()
	s.backups, s.schedule = s.path("backups"), s.path("schedule")
	s.pass(time.Minute)
	return s
}

func (s *spec) site() string {
	s.t.Helper()
	site := newSite(portalOptions{DB: s.db, Now: s.clock.Now, Log: slog.New(slog.DiscardHandler), URL: &url.URL{Scheme: "https", Host: "portal.test"}})
	w, err := web.New(web.Options{Now: s.clock.Now, Log: slog.New(slog.DiscardHandler), Accounts: s.db, Sessions: s.db.Sessions(),
		ErrorPage: site.ErrorPage, WithAddress: store.WithAddress, DeviceKey: s.db.DeviceKey(), Ready: readiness(s.db)})
	s.must(err)
	site.Register(w)
	server := httptest.NewServer(w.HTTP().Handler)
	s.t.Cleanup(server.Close)
	return server.URL
}

func (s *spec) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *spec) path(parts ...string) string {
	return "/services/" + s.service.UID + "/" + strings.Join(parts, "/")
}

// until lets time pass up to a wall time in Berlin.
func (s *spec) until(at string) {
	s.t.Helper()
	end, err := time.ParseInLocation("2006-01-02 15:04", at, s.zone)
	s.must(err)
	s.toInstant(end)
}

func (s *spec) pass(d time.Duration) { s.toInstant(s.clock.Now().Add(d)) }

// toInstant lets time pass with everything that the engine does in it: by the second while work goes on, else by the
// minute.
func (s *spec) toInstant(end time.Time) {
	s.t.Helper()
	ctx := s.t.Context()
	for s.clock.Now().Before(end) {
		step := time.Minute
		busy, err := s.db.ServiceOperations(ctx, s.service.ID, 0, 3)
		s.must(err)
		if slices.ContainsFunc(busy, func(o portal.Operation) bool {
			return o.State == portal.StateRunning || o.State == portal.StateQueued && o.Manual
		}) {
			step = 2 * time.Second
		}
		s.clock.set(s.clock.Now().Add(min(step, end.Sub(s.clock.Now()))))
		s.must(errors.Join(s.engine.Sync(ctx), s.engine.Tick(ctx)))
		_, err = s.engine.Drive(ctx)
		s.must(errors.Join(err, s.engine.MirrorNotes(ctx), s.engine.SendMail(ctx)))
	}
}

// reads opens a page as the customer, and wants it to hold these words or marks.
func (s *spec) reads(path string, want ...string) string {
	s.t.Helper()
	s.signIn()
	status, body, err := ask(s.client, s.address+path, nil)
	if err != nil || status != http.StatusOK {
		s.t.Fatalf("%s answers %d, %v", path, status, err)
	}
	body = html.UnescapeString(body)
	for _, w := range want {
		if !strings.Contains(body, w) && !strings.Contains(readable(body), w) {
			s.t.Errorf("%s, %s does not say %q:\n%s", s.clock.Now().In(s.zone).Format("Mon 2 Jan 15:04"), path, w, readable(body))
		}
	}
	return body
}

func (s *spec) post(path string, form url.Values) {
	s.t.Helper()
	s.refuses(path, form, http.StatusSeeOther)
}

// refuses sends a form and wants this status.
func (s *spec) refuses(path string, form url.Values, want int) {
	s.t.Helper()
	s.signIn()
	status, body, err := ask(s.client, s.address+path, form)
	if err != nil || status != want {
		s.t.Fatalf("POST %s %v answers %d, %v, want %d:\n%s", path, form, status, err, want, readable(html.UnescapeString(body)))
	}
}

// signIn signs in where the session is over, as it is after some days.
func (s *spec) signIn() {
	s.t.Helper()
	if s.client != nil {
		if status, _, err := ask(s.client, s.address+"/services", nil); err == nil && status == http.StatusOK {
			return
		}
	}
	s.client = signIn(s.t, s.address, "ada@example.test", "a long password")
}

// grid is the form of a schedule of every night.
func (s *spec) grid(at string) url.Values {
	form := url.Values{"zone": {"Europe/Berlin"}}
	for day := range 7 {
		form.Set("day_"+string(rune('0'+day)), "on")
		form.Set("time_"+string(rune('0'+day)), at)
	}
	return form
}

// ledger wants these nights on the page, and no others.
func (s *spec) ledger(want ...string) {
	s.t.Helper()
	var got []string
	for _, m := range regexp.MustCompile(`data-slot[^>]* data-date="([^"]+)" data-state="([^"]+)"`).FindAllStringSubmatch(s.reads(s.backups), -1) {
		if m[2] != "none" && !slices.Contains(got, m[1]+" "+m[2]) {
			got = append(got, m[1]+" "+m[2])
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		s.t.Errorf("the ledger reads %q, want %q", got, want)
	}
}

// times gives when the archives on the host were made, by the wall clock in Berlin.
func (s *spec) times() (out []string) {
	for _, a := range s.sim.Archives() {
		if a.VMID == 100 {
			out = append(out, a.Time.In(s.zone).Format("2006-01-02 15:04 MST"))
		}
	}
	slices.Sort(out)
	return out
}

func (s *spec) archives(want ...string) {
	s.t.Helper()
	if got := s.times(); !slices.Equal(got, want) {
		s.t.Errorf("archives of %q, want %q", got, want)
	}
}

// copies gives the uids of the copies on the page, newest first.
func (s *spec) copies() (uids []string) {
	s.t.Helper()
	for _, m := range regexp.MustCompile(`data-backup="([^"]+)"`).FindAllStringSubmatch(s.reads(s.backups), -1) {
		uids = append(uids, m[1])
	}
	return uids
}

func (s *spec) guest() pvesim.Guest {
	s.t.Helper()
	for _, g := range s.sim.Guests() {
		if g.VMID == 100 {
			return g
		}
	}
	s.t.Fatal("the machine is gone")
	return pvesim.Guest{}
}

// machine wants values in the machine's config: "cores", or an option of a line, "scsi0 size".
func (s *spec) machine(pairs ...string) {
	s.t.Helper()
	config := s.config()
	for i := 0; i < len(pairs); i += 2 {
		key, option, _ := strings.Cut(pairs[i], " ")
		got := config.Raw[key]
		if option != "" {
			got = ""
			for _, part := range strings.Split(config.Raw[key], ",") {
				if name, value, ok := strings.Cut(part, "="); ok && name == option {
					got = value
				}
			}
		}
		if got != pairs[i+1] {
			s.t.Errorf("%s, the machine's %s is %q, want %q", s.clock.Now().In(s.zone).Format("Mon 2 Jan 15:04"), pairs[i], got, pairs[i+1])
		}
	}
}

// mails wants mails to the customer about these topics, in this order.
func (s *spec) mails(want ...string) {
	s.t.Helper()
	lines, _, err := s.db.MailLines(s.t.Context(), store.MailFilter{}, store.Page{Limit: 200})
	s.must(err)
	var topics []string
	for _, l := range slices.Backward(lines) { // the newest come first
		if l.Address == "ada@example.test" {
			topics = append(topics, l.Topic)
		}
	}
	i := 0
	for _, topic := range topics {
		if i < len(want) && topic == want[i] {
			i++
		}
	}
	if i < len(want) {
		s.t.Errorf("mails of %q, want %q among them in this order", topics, want)
	}
}

// config reads the machine's config as an administrator does.
func (s *spec) config() pve.GuestConfig {
	s.t.Helper()
	c, err := pve.New(pve.Config{Endpoints: []string{"https://pve1.test:8006"}, TokenID: pvesim.SimToken, Secret: pvesim.Secret, Transport: s.sim, Now: s.clock.Now})
	s.must(err)
	config, err := c.GuestConfig(s.t.Context(), s.guest().Node, 100)
	s.must(err)
	return config
}

func seconds(t *testing.T, s string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
