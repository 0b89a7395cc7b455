package main

import (
	"database/sql"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

// TestKilledDemoGoesOn kills a demo five times while backups are made in it. After each start the sign-in works, the
// session of before still holds, every service is there, and so is every backup that was listed before.
func TestKilledDemoGoesOn(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(killSeed(t), 4))
	began, clock, path := time.Now(), newFast(20), standInPath(t)
	folder := demoFolder(filepath.Join(t.TempDir(), "demo"))
	d := &demoVisit{t: t, known: map[string]map[string]bool{}}
	const rounds = 5
	before := 0
	for round := range rounds + 1 {
		demo := launch(t, path, clock, "demo", "--listen", "127.0.0.1:0", "--data", string(folder), "--speed", "5")
		d.address = demo.says(&demo.out, `Stowage demo: (\S+)`)
		fresh := signIn(t, d.address, demoEmail("ada"), demoPassword)
		if d.client == nil {
			d.client = fresh
		}
		if d.look(); round == 0 {
			before = len(d.known[demoIdleAda])
		}
		if round == rounds {
			d.settle(folder)
			d.look()
			if made := len(d.known[demoIdleAda]) - before; made != rounds {
				t.Errorf("%d backups were promised, and %d are listed", rounds, made)
			}
			demo.end()
			break
		}
		d.press(fmt.Sprintf("round %d", round))
		if round%2 == 0 {
			until(t, "the backup", d.gain)
		}
		time.Sleep(time.Duration(r.IntN(1500)) * time.Millisecond)
		demo.kill()
	}
	d.compare(folder, clock.now)
	t.Logf("%d kills within %s; copies of %s: %d before, %d afterwards", rounds, time.Since(began).Round(100*time.Millisecond), demoIdleAda, before, len(d.known[demoIdleAda]))
}

// demoVisit is Ada, who comes back after every kill.
type demoVisit struct {
	t       *testing.T
	client  *http.Client
	address string
	uids    map[string]string          // of her services, by name
	known   map[string]map[string]bool // by service: the good copies that were listed
}

func (d *demoVisit) get(path string) string {
	d.t.Helper()
	status, body, err := ask(d.client, d.address+path, nil)
	if err != nil || status != http.StatusOK {
		d.t.Fatalf("%s answers %d, %v", path, status, err)
	}
	return body
}

var serviceLink = regexp.MustCompile(`data-service="([^"]+)"[\s\S]*?stretched-link"[^>]*>([^<]+)<`)

// look opens the list of services and every one's backups: what was there is there.
func (d *demoVisit) look() {
	d.t.Helper()
	uids := map[string]string{}
	for _, m := range serviceLink.FindAllStringSubmatch(d.get("/services"), -1) {
		uids[m[2]] = m[1]
	}
	if d.uids == nil {
		d.uids = uids
	}
	if len(uids) < 4 || !maps.Equal(uids, d.uids) {
		d.t.Errorf("services %v, before %v", uids, d.uids)
	}
	for name := range uids {
		good := d.copies(name)
		for uid := range d.known[name] {
			if !good[uid] {
				d.t.Errorf("%s: the copy %s is not listed any more", name, uid)
			}
		}
		d.known[name] = good
	}
}

func (d *demoVisit) backups(name string) string { return "/services/" + d.uids[name] + "/backups" }

// copies gives the good copies that a page lists.
func (d *demoVisit) copies(name string) map[string]bool {
	d.t.Helper()
	good := map[string]bool{}
	for _, m := range backupRow.FindAllStringSubmatch(d.get(d.backups(name)), -1) {
		if m[2] == "good" {
			good[m[1]] = true
		}
	}
	return good
}

// press asks for a backup of the idle machine; where the one before is still being made, once that has ended.
func (d *demoVisit) press(note string) {
	d.t.Helper()
	p := &presser{t: d.t, client: d.client}
	until(d.t, "a promise to back up", func() bool {
		d.gain()
		return p.send(d.address+d.backups(demoIdleAda), url.Values{"note": {note}})
	})
}

// gain tells whether a copy was made since the last look.
func (d *demoVisit) gain() bool {
	d.t.Helper()
	good := d.copies(demoIdleAda)
	more := len(good) > len(d.known[demoIdleAda])
	d.known[demoIdleAda] = good
	return more
}

// settle waits until nothing is under way but the backup that takes hours and what waits behind it.
func (d *demoVisit) settle(folder demoFolder) {
	d.t.Helper()
	db, err := sql.Open("sqlite3", "file:"+folder.data().Database+"?mode=ro&_busy_timeout=10000")
	if err != nil {
		d.t.Fatal(err)
	}
	defer db.Close()
	var n int
	until(d.t, "what was begun to end", func() bool {
		if err := db.QueryRowContext(d.t.Context(), `SELECT count(*) FROM operations o JOIN services s ON s.id = o.service_id
			WHERE o.state IN ('queued', 'running', 'held') AND s.name NOT IN ($1, $2)`, demoRunning, demoWaiting).Scan(&n); err != nil {
			d.t.Fatal(err)
		}
		return n == 0
	})
}

// compare holds the copies in the database against the archives in the simulated worlds, and looks at the audit log.
func (d *demoVisit) compare(folder demoFolder, now func() time.Time) {
	d.t.Helper()
	db, sims, err := folder.open(d.t.Context(), now, 1)
	if err != nil {
		d.t.Fatal(err)
	}
	defer db.Close()
	servers, err := db.Servers(d.t.Context())
	if err != nil {
		d.t.Fatal(err)
	}
	for _, server := range servers {
		there := map[string]bool{}
		if sim := sims[server.Name]; sim != nil {
			for _, a := range sim.Archives() {
				there[a.Node+" "+a.Volid] = true
			}
		}
		services, err := db.ServicesOn(d.t.Context(), server.ID)
		if err != nil {
			d.t.Fatal(err)
		}
		for _, s := range services {
			copies, err := db.Backups(d.t.Context(), s.ID)
			if err != nil {
				d.t.Fatal(err)
			}
			for _, b := range copies {
				if b.Complete() && !there[b.Node+" "+b.Volid] {
					d.t.Errorf("lost: %s of %s is in no simulated world", b.Volid, s.Name)
				}
			}
		}
	}
	if broken, err := db.VerifyAudit(d.t.Context()); err != nil || broken != 0 {
		d.t.Errorf("audit chain: row %d, %v", broken, err)
	}
}
