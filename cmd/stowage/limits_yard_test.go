package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"stowage/pve"
	"stowage/pve/pvesim"
)

// yard is a portal's database and the simulated clusters that it works with, each for a process of its own.
type yard struct {
	*night
	worlds *program
	urls   []string
}

// newYard makes the machines of a plan with their copies, and starts the clusters. The portal is still to be launched.
func newYard(t *testing.T, plan nightPlan, speed float64) *yard {
	t.Helper()
	plan.stage, plan.workers = true, 2
	s := &yard{night: newNight(t, plan)}
	var worlds []pvesim.World
	for c, sim := range s.sims {
		w := s.world(c)
		w.Guests, w.Archives = sim.Guests(), sim.Archives()
		worlds = append(worlds, w)
	}
	s.engine.Close()
	var up []yardCluster
	s.worlds, up = playing(t, s.dir, yardWorlds{speed, worlds})
	for c, u := range up {
		s.urls = append(s.urls, u.URL)
		_, err := s.raw.Exec(`UPDATE servers SET endpoints = json_array(?), fingerprints = json_array(?) WHERE name = ?`, u.URL, u.Fingerprint, clusterName(c))
		s.must(err)
	}
	return s
}

// playing starts a process that plays clusters.
func playing(t *testing.T, dir string, in yardWorlds) (*program, []yardCluster) {
	t.Helper()
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "worlds.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	p := launch(t, standInNamed(t, "worlds"), newFast(1), file)
	var up []yardCluster
	if err := json.Unmarshal([]byte(p.says(&p.out, `(?m)^(\[.*\])$`)), &up); err != nil {
		t.Fatal(err)
	}
	return p, up
}

// launch starts the portal.
func (s *yard) launch() *program {
	s.t.Helper()
	return launch(s.t, standInNamed(s.t, "stowage"), newFast(1), "serve", "--listen", "127.0.0.1:0", "--database", filepath.Join(s.dir, "db"), "--key-file", filepath.Join(s.dir, "key"), "--log-format", "json")
}

// number gives what a query counts.
func (s *yard) number(query string, args ...any) (n int64) {
	s.t.Helper()
	var v sql.NullInt64
	s.must(s.raw.QueryRow(query, args...).Scan(&v))
	return v.Int64
}

// yardWorlds is what the process that plays the clusters reads.
type yardWorlds struct {
	Speed  float64
	Worlds []pvesim.World
}

type yardCluster struct{ URL, Fingerprint string }

// playWorlds serves simulated clusters as HTTPS, each on a port of its own.
func playWorlds() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, standInLasts)
	defer cancel()
	go endWithParent()
	if err := playWorldsOf(ctx, os.Args[1], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "worlds:", err)
		return exitFailed
	}
	return exitDone
}

func playWorldsOf(ctx context.Context, file string, out io.Writer) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var in yardWorlds
	if err := json.Unmarshal(text, &in); err != nil {
		return err
	}
	cert, err := certificate("", time.Now())
	if err != nil {
		return err
	}
	var up []yardCluster
	var serving sync.WaitGroup
	failed := make(chan error, len(in.Worlds))
	for i, w := range in.Worlds {
		sim, err := pvesim.New(w, pvesim.Options{Now: time.Now, Sleep: sleep, Speed: in.Speed, Seed: uint64(i)})
		if err != nil {
			return err
		}
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		server := sim.Server()
		server.ErrorLog = log.New(io.Discard, "", 0)
		server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
		up = append(up, yardCluster{"https://" + listener.Addr().String(), pve.WithColons(fmt.Sprintf("%x", sha256.Sum256(cert.Certificate[0])))})
		serving.Go(func() { failed <- serveUntil(ctx, tlsServer{server}, listener) })
	}
	answer, err := json.Marshal(up)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, string(answer))
	serving.Wait()
	close(failed)
	for failure := range failed {
		err = errors.Join(err, failure)
	}
	return err
}

// measureStart starts the portal on a large database.
func measureStart(t *testing.T, l *limits) {
	e := l.large(t).copy(t)
	token := sessionOf(t, e.keepLease(t), 4)
	var first, page []time.Duration
	var rested, used int64
	for range 3 {
		began := time.Now()
		p := launch(t, standInNamed(t, "stowage"), newFast(1), "serve", "--listen", "127.0.0.1:0", "--database", e.path("stowage.db"), "--log-format", "json")
		address := p.says(&p.log, `"msg":"listening","url":"([^"]+)"`)
		fetch(t, address, visit{path: "/login"})
		first = append(first, time.Since(began))
		fetch(t, address, visit{path: "/services/01service00000000000000020/backups", token: token})
		page = append(page, time.Since(began))
		time.Sleep(3 * time.Second)
		rested = p.memory(t)
		for i := range 200 {
			fetch(t, address, visit{path: []string{"/services/01service00000000000000020/backups", "/services"}[i%2], token: token})
		}
		used = p.memory(t)
		p.end()
	}
	l.figure("Start to the first page, 100,000 services and 1,000,000 copies",
		fmt.Sprintf("%s to the sign-in page, %s to a backups page (medians of three)", short(quantile(first, 0.5)), short(quantile(page, 0.5))),
		"the program's own start and the opening of the database; nothing is read beforehand")
	l.figure("Memory of the portal at 100,000 services", fmt.Sprintf("%d MiB at rest, %d MiB after 200 pages", rested>>20, used>>20),
		"SQLite's page caches (64 MiB for the writer) and Go's collector; no table is kept in memory")
}

// measureKill kills the portal while five hundred backups run, and waits until the next one has found each of them.
func measureKill(t *testing.T, l *limits) {
	const clusters, nodes, running = 10, 50, 500
	s := newYard(t, nightPlan{seed: 3, clusters: clusters, nodes: nodes, machines: nodes, used: 40e9, bare: true}, 0.02)
	for _, m := range s.guests {
		_, err := s.db.Enqueue(t.Context(), m.client, m.service.UID, byHand())
		s.must(err)
	}
	s.must(s.db.Close())
	const going = `SELECT count(*) FROM operations WHERE state = 'running' AND step = 'dump' AND upid <> ''`
	first := s.launch()
	began := time.Now()
	patiently(t, 3*time.Minute, fmt.Sprintf("%d running backups", running), func() bool { return s.number(going) == running })
	up := time.Since(began)
	first.kill()
	epoch := s.number(`SELECT epoch FROM lease`)
	began = time.Now()
	second := s.launch()
	patiently(t, 2*time.Minute, "all of them found again", func() bool {
		return s.number(`SELECT count(*) FROM operations WHERE state = 'running' AND step = 'dump' AND upid <> '' AND epoch > ?`, epoch) == running
	})
	found := time.Since(began)
	if n := s.number(going); n != running {
		t.Errorf("%d run", n)
	}
	tasks := 0
	for _, url := range s.urls {
		tasks += dumpsAt(t, url)
	}
	if tasks != running {
		t.Errorf("Proxmox VE has seen %d dumps, want %d", tasks, running)
	}
	second.kill()
	l.figure(fmt.Sprintf("kill -9 with %d backups under way on %d hosts: until the next process has found all of them again", running, clusters*nodes),
		fmt.Sprintf("%s; none was begun twice (before, all of them were begun within %s)", short(found), short(up)),
		"the pace at which a running backup that nobody watches is looked at: every ten seconds")
}

// patiently waits until something holds.
func patiently(t *testing.T, most time.Duration, what string, holds func() bool) {
	t.Helper()
	for began := time.Now(); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Since(began) > most {
			t.Fatalf("no %s within %s", what, most)
		}
	}
}

// dumpsAt counts the vzdump tasks that a cluster knows.
func dumpsAt(t *testing.T, url string) (n int) {
	t.Helper()
	var answer struct {
		Data []struct{ Type string }
	}
	askProxmox(t, url+"/api2/json/cluster/tasks", &answer)
	for _, task := range answer.Data {
		if task.Type == "vzdump" {
			n++
		}
	}
	return n
}

// measureStreams opens a thousand pages that are kept up to date, and changes what they show.
func measureStreams(t *testing.T, l *limits) {
	const streams, changes = 1000, 400
	s := newYard(t, nightPlan{seed: 4, clusters: 1, nodes: 35, machines: 1190}, 1)
	_, err := s.raw.Exec(`UPDATE servers SET checked_at = ?`, time.Now().Unix())
	s.must(err)
	var open []*watcher
	perClient, tokens := map[int64]int{}, map[int64]string{}
	for _, m := range s.guests {
		if len(open) == streams || perClient[m.client] == 10 || strings.HasPrefix(m.service.Name, "-") {
			continue
		}
		if tokens[m.client] == "" {
			tokens[m.client] = sessionOf(t, s.db, m.client)
		}
		perClient[m.client]++
		w := &watcher{service: m.service.UID, token: tokens[m.client], seen: map[string]time.Time{}}
		s.must(s.raw.QueryRow(`SELECT uid FROM backups WHERE service_id = ? AND removed_at IS NULL LIMIT 1`, m.service.ID).Scan(&w.backup))
		open = append(open, w)
	}
	if len(open) != streams {
		t.Fatalf("%d machines of clients with ten at most", len(open))
	}
	s.must(s.db.Close())
	p := s.launch()
	defer p.kill()
	address := s.address(p)
	for _, w := range open[:50] {
		fetch(t, address, visit{path: "/services/" + w.service + "/backups", token: w.token})
	}
	time.Sleep(3 * time.Second)
	before := p.memory(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, w := range open {
		w.listen(t, ctx, address)
	}
	patiently(t, time.Minute, "stream that has sent its page", func() bool {
		for _, w := range open {
			if w.events.Load() == 0 {
				return false
			}
		}
		return true
	})
	time.Sleep(5 * time.Second)
	cpu, began := p.cpu(t), time.Now()
	time.Sleep(10 * time.Second)
	resting := (p.cpu(t) - cpu).Seconds() / time.Since(began).Seconds()
	cpu, began = p.cpu(t), time.Now()
	took, lost := changeAndSee(t, address, open, changes)
	busy := (p.cpu(t) - cpu).Seconds() / time.Since(began).Seconds()
	after := p.memory(t)
	p99 := quantile(took, 0.99)
	l.row(fmt.Sprintf("%d open pages: from a change to the page", streams), "p99 ≤ 1 s",
		fmt.Sprintf("p99 %s, median %s over %d changes, 20 a second; %d not seen", short(p99), short(quantile(took, 0.5)), len(took), lost), p99 <= time.Second && lost == 0,
		"the quarter of a second that a page rests between two looks")
	l.figure(fmt.Sprintf("%d open pages: memory and processor", streams),
		fmt.Sprintf("%d MiB more than without (%.0f KiB each); %.0f %% of a core while nothing changes, %.0f %% with the changes", (after-before)>>20, float64(after-before)/1024/streams, 100*resting, 100*busy),
		"each page is looked at every five seconds, and its machine every second")
}
