package main

import (
	"database/sql"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"stowage/pve/pvesim"
)

// environmentInt reads a number from the environment.
func environmentInt(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s=%q is no number", name, text)
	}
	return n
}

// killSeed decides what is pressed and when the process dies; STOWAGE_KILL_SEED repeats those choices.
func killSeed(t *testing.T) uint64 {
	t.Helper()
	seed := environmentInt(t, "STOWAGE_KILL_SEED", uint64(time.Now().UnixNano()))
	t.Logf("STOWAGE_KILL_SEED=%d", seed)
	return seed
}

// TestKilledPortalLosesNothing runs `stowage serve` against a simulated Proxmox VE that lives on, presses buttons as
// a customer, kills the portal with SIGKILL at a random moment, starts it again, and does so fifty times
// (STOWAGE_KILL_ROUNDS). In the end nothing was made twice, nothing is lost, and nothing is stuck.
func TestKilledPortalLosesNothing(t *testing.T) {
	t.Parallel()
	rounds := int(environmentInt(t, "STOWAGE_KILL_ROUNDS", 50))
	seed := killSeed(t)
	r := rand.New(rand.NewPCG(seed, 1))
	began := time.Now()
	k := newKillWorld(t, seed)
	p := &presser{t: t, client: k.customer(), services: k.services, clock: k.clock, r: rand.New(rand.NewPCG(seed, 2)), scheduled: map[string]int{}}
	starts, slowest := 0, time.Duration(0)
	for round := range rounds {
		serve := k.launch()
		starts++
		if r.IntN(8) == 0 { // while it starts
			time.Sleep(time.Duration(r.IntN(150)) * time.Millisecond)
			serve.kill()
			continue
		}
		address := k.address(serve)
		slowest = max(slowest, time.Since(serve.began))
		pressed := make(chan struct{})
		go func() {
			defer close(pressed)
			p.press(address, round)
		}()
		time.Sleep(time.Duration(20+r.IntN(1800)) * time.Millisecond)
		serve.kill()
		<-pressed
	}
	killing := time.Since(began)
	serve := k.launch()
	address := k.address(serve)
	k.settle(address)
	k.check(p, address)
	serve.end()
	k.b.must("doctor")
	t.Logf("%d kills, %d starts (slowest %s), %s of killing, %s in all", rounds, starts+1, slowest.Round(time.Millisecond),
		killing.Round(100*time.Millisecond), time.Since(began).Round(100*time.Millisecond))
	k.figures(p)
}

// killWorld is a portal that was set up by commands, and the simulated Proxmox VE that it works with.
type killWorld struct {
	t        *testing.T
	b        *bench
	path     string // of the binary
	clock    fast
	sim      string // its address
	lag      *lag   // between the two
	nodes    []string
	services []string // uids
	db       *sql.DB  // to look at it from outside
}

const (
	killRate  = 30 // minutes of the portal's clock go by in seconds
	killNodes = 4
	killMany  = 12 // machines
	killQuota = 3
	killEmail = "ada@example.test"
)

func newKillWorld(t *testing.T, seed uint64) *killWorld {
	t.Helper()
	k := &killWorld{t: t, path: standInPath(t), clock: newFast(killRate)}
	k.b = &bench{t: t, dir: t.TempDir(), now: k.clock.now}
	k.b.must("migrate")
	sim := launch(t, k.path, k.clock, "sim", "--listen", "127.0.0.1:0", "--json", "--nodes", strconv.Itoa(killNodes), "--guests", strconv.Itoa(killMany), "--speed", "0.2")
	k.sim = sim.says(&sim.out, `"url": *"([^"]+)"`)
	for n := range killNodes {
		k.nodes = append(k.nodes, fmt.Sprintf("pve%d", n+1))
	}
	k.lag = newLag(t, strings.TrimPrefix(k.sim, "https://"), rand.New(rand.NewPCG(seed, 3)))
	k.b.must("server", "add", "--name", "pve1", "--endpoint", k.lag.url, "--token-id", pvesim.PortalToken, "--secret-file", k.b.secret(), "--trust-on-first-use")
	k.b.must("server", "check", "pve1")
	for name, flags := range map[string][]string{
		"Before": {"--backup-storage", "local", "--eviction", "before"},
		"After":  {"--backup-storage", "shared", "--eviction", "after"},
	} {
		k.b.must(append([]string{"product", "add", "--name", name, "--backups", strconv.Itoa(killQuota), "--protect", "1"}, flags...)...)
	}
	k.b.must("client", "add", "--email", killEmail, "--name", "Ada", "--zone", "Europe/Berlin", "--password-file", k.b.write("password", "correct horse battery"))
	for i := range killMany {
		var s added
		k.b.answer(&s, "service", "add", "--client", killEmail, "--product", []string{"Before", "After"}[i%2], "--server", "pve1", "--vmid", strconv.Itoa(100+i))
		k.services = append(k.services, s.UID)
	}
	var err error
	if k.db, err = sql.Open("sqlite3", "file:"+k.b.path("stowage.db")+"?mode=ro&_busy_timeout=10000"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.db.Close() })
	return k
}

func (k *killWorld) launch() *program {
	return launch(k.t, k.path, k.clock, "serve", "--listen", "127.0.0.1:0", "--database", k.b.path("stowage.db"), "--log-format", "json")
}

// address waits until the portal answers.
func (k *killWorld) address(serve *program) string {
	k.t.Helper()
	return serve.says(&serve.log, `"msg":"listening","url":"([^"]+)"`)
}

// customer signs in once: the session outlives every kill.
func (k *killWorld) customer() *http.Client {
	k.t.Helper()
	serve := k.launch()
	defer serve.end()
	return signIn(k.t, k.address(serve), killEmail, "correct horse battery")
}

// signIn gives a browser, as it were, in which somebody is signed in.
func signIn(t *testing.T, address, email, password string) *http.Client {
	t.Helper()
	return signInOver(t, &http.Transport{DisableKeepAlives: true}, address, email, password)
}

func signInOver(t *testing.T, network http.RoundTripper, address, email, password string) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &http.Client{
		Jar: jar, Timeout: 20 * time.Second, Transport: network,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	status, _, err := ask(c, address+"/login", url.Values{"email": {email}, "password": {password}})
	if err != nil || status != http.StatusSeeOther {
		t.Fatalf("%s can't sign in: %d %v", email, status, err)
	}
	return c
}

// ask makes a request: POST where there is a form.
func ask(c *http.Client, address string, form url.Values) (status int, body string, err error) {
	var resp *http.Response
	if form == nil {
		resp, err = c.Get(address)
	} else {
		resp, err = c.PostForm(address, form)
	}
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

// presser is a customer who presses buttons, whether the portal is there or not, and remembers what was promised.
type presser struct {
	t         *testing.T
	client    *http.Client
	services  []string
	clock     fast
	r         *rand.Rand
	scheduled map[string]int // by service: how often a schedule was saved

	asked, refused, cut int
	backups             []string           // notes of backups that were promised
	acts                []promise          // removals and protections that were promised
	schedules           map[string]promise // by service: the schedule saved last; without a value where that is unknown
}

type promise struct{ kind, about, value string }

var backupRow = regexp.MustCompile(`<li [^>]*data-backup="([^"]+)" data-state="([^"]+)"`)

// press does some things in a row at the portal of one round.
func (p *presser) press(address string, round int) {
	for n := range 2 + p.r.IntN(4) {
		service := p.services[p.r.IntN(len(p.services))]
		page := address + "/services/" + service + "/backups"
		var copies []string
		if p.r.IntN(3) > 0 {
			status, body, err := ask(p.client, page, nil)
			if err != nil {
				p.cut++
				return
			}
			if status != http.StatusOK {
				p.t.Errorf("round %d: %s answers %d", round, page, status)
			}
			for _, m := range backupRow.FindAllStringSubmatch(body, -1) {
				if m[2] == "good" {
					copies = append(copies, m[1])
				}
			}
		}
		switch do := p.r.IntN(10); {
		case do < 2 && p.scheduled[service] < 2:
			p.schedule(address, service)
		case do == 2 && len(copies) > 1:
			id := copies[p.r.IntN(len(copies))]
			if p.send(page+"/"+id+"/delete", url.Values{}) {
				p.acts = append(p.acts, promise{"backup_delete", id, "0"})
			}
		case do < 5 && len(copies) > 0:
			id, want := copies[p.r.IntN(len(copies))], strconv.Itoa(p.r.IntN(2))
			if p.send(page+"/"+id+"/protect", url.Values{"protect": {want}}) {
				p.acts = append(p.acts, promise{"backup_protect", id, want})
			}
		default:
			form := url.Values{"note": {fmt.Sprintf("round %d, press %d", round, n)}}
			if len(copies) > 1 {
				form.Set("replace", copies[len(copies)-1])
			}
			if p.send(page, form) {
				p.backups = append(p.backups, form.Get("note"))
			}
		}
		time.Sleep(time.Duration(p.r.IntN(120)) * time.Millisecond)
	}
}

// schedule lets every day fall due within minutes. Each of a service's schedules is in a zone of its own, a date
// apart from the other's, so that each has a slot.
func (p *presser) schedule(address, service string) {
	zone := []string{"Pacific/Kiritimati", "Pacific/Pago_Pago"}[p.scheduled[service]]
	p.scheduled[service]++
	loc, err := time.LoadLocation(zone)
	if err != nil {
		p.t.Error(err)
		return
	}
	at := p.clock.now().In(loc).Add(time.Duration(90+p.r.IntN(120)) * time.Second).Format("15:04")
	form := url.Values{"zone": {zone}}
	for i := range 7 {
		form.Set(dayOf(i), "on")
		form.Set(timeOf(i), at)
	}
	if p.schedules == nil {
		p.schedules = map[string]promise{}
	}
	p.schedules[service] = promise{} // until the answer is there
	if p.send(address+"/services/"+service+"/schedule", form) {
		p.schedules[service] = promise{"schedule", zone, at}
	}
}

func dayOf(i int) string  { return fmt.Sprintf("day_%d", i) }
func timeOf(i int) string { return fmt.Sprintf("time_%d", i) }

// send presses a button and tells whether the portal promised to do it.
func (p *presser) send(to string, form url.Values) bool {
	p.asked++
	status, body, err := ask(p.client, to, form)
	switch {
	case err != nil:
		p.cut++
	case status == http.StatusSeeOther:
		return true
	case status == http.StatusConflict || status == http.StatusUnprocessableEntity || status == http.StatusNotFound:
		p.refused++
	default:
		p.t.Errorf("%s %v answers %d: %s", to, form, status, body)
	}
	return false
}

// figures tells what came of it all.
func (k *killWorld) figures(p *presser) {
	k.t.Helper()
	k.t.Logf("%d presses: %d promised, %d refused, %d cut off", p.asked, len(p.backups)+len(p.acts)+len(p.schedules), p.refused, p.cut)
	k.t.Logf("operations: %v", k.rows(`SELECT kind, state, count(*) FROM operations GROUP BY kind, state ORDER BY 1, 2`))
	k.t.Logf("unhappy: %q", k.rows(`SELECT count(*), kind, state, reason FROM operations WHERE state IN ('failed', 'cancelled') GROUP BY 2, 3, 4`))
	k.t.Logf("changes sent to Proxmox VE: %d, of which %d never arrived and %d answers were lost", k.lag.changes.Load(), k.lag.dropped.Load(), k.lag.unheard.Load())
	k.t.Logf("slots: %v, interrupted and found again: %v, requests that never arrived: %v",
		k.rows(`SELECT state, count(*) FROM slots GROUP BY state`), k.rows(`SELECT count(*) FROM operation_steps WHERE staff LIKE 'adopted %'`),
		k.rows(`SELECT count(*) FROM operation_steps WHERE staff = 'the request never arrived'`))
	k.t.Logf("archives: %d; copies: %v; audit rows: %v", len(k.archives()),
		k.rows(`SELECT class, removed_how, count(*) FROM backups GROUP BY 1, 2`), k.rows(`SELECT count(*) FROM audit`))
}
