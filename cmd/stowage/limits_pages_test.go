package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/labstack/echo/v4"

	"stowage/store"
)

// measurePages asks for backups pages with thirty copies, two hundred a second, of a portal that has one core.
func measurePages(t *testing.T, l *limits) {
	const (
		rate  = 200
		lasts = 30 * time.Second
	)
	e := l.large(t).copy(t)
	keeper := e.keepLease(t)
	var pages []visit
	for client := int64(4); client <= 800; client += 4 { // the clients that own a large service
		token := sessionOf(t, keeper, client)
		pages = append(pages, visit{path: fmt.Sprintf("/services/01service%017d/backups", client*5), token: token})
	}
	r := rand.New(rand.NewPCG(1, 6))
	pick := func() visit { return pages[r.IntN(len(pages))] }

	p := onOneCore(t, standInNamed(t, "stowage"), "serve", "--listen", "127.0.0.1:0", "--database", e.path("stowage.db"), "--log-format", "json")
	address := p.says(&p.log, `"msg":"listening","url":"([^"]+)"`)
	body := fetch(t, address, pages[0])
	if n := strings.Count(body, `data-backup="`); n != estateCopies {
		t.Fatalf("%d copies on the page, want %d", n, estateCopies)
	}
	warm(t, address, pages)
	cpu := p.cpu(t)
	served := openLoop(t, address, rate, lasts, pick)
	each := (p.cpu(t) - cpu) / time.Duration(len(served.took))
	memory := p.memory(t)
	p.end()

	h := onOneCore(t, standInNamed(t, "hello"))
	hello := openLoop(t, h.says(&h.out, `listening at (\S+)`), rate, lasts, func() visit { return visit{path: "/"} })
	h.kill()

	p99, bare := quantile(served.took, 0.99), quantile(hello.took, 0.99)
	l.row(fmt.Sprintf("Backups page with %d copies, %d requests a second on one core; 100,000 services, 1,000,000 copies", estateCopies, rate), "p99 ≤ 50 ms",
		fmt.Sprintf("p99 %s, median %s, %d of %d failed; %s of the core for each page (%.0f KB)\na bare echo that says hello: p99 %s, median %s",
			short(p99), short(quantile(served.took, 0.5)), served.failed, len(served.took)+served.failed, short(each), float64(len(body))/1000, short(bare), short(quantile(hello.took, 0.5))),
		p99 <= 50*time.Millisecond && served.failed == 0,
		fmt.Sprintf("the core is %.0f %% busy: queries through the SQLite driver and the page's templates; %d MiB resident", 100*each.Seconds()*rate, memory>>20))
}

// visit is a page of somebody who is signed in; without a token, of nobody.
type visit struct{ path, token string }

func (p visit) request(ctx context.Context, address string) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address+p.path, nil)
	if err == nil && p.token != "" {
		r.AddCookie(&http.Cookie{Name: "stowage_session", Value: p.token})
	}
	return r, err
}

// keepLease holds the right to drive operations of the estate, so that the portal under measurement stands by and
// serves pages only: its servers don't exist. The scheduler's sign of life goes on.
func (e *estate) keepLease(t *testing.T) *store.DB {
	t.Helper()
	db := e.open(t, time.Now)
	lease, err := db.TakeLease(t.Context(), "limits")
	if err != nil {
		t.Fatal(err)
	}
	if err := seeServers(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var renewing sync.WaitGroup
	renewing.Go(func() {
		for {
			_ = db.Renew(context.Background(), true) // where it fails, the pages say so, and that is measured
			select {
			case <-done:
				return
			case <-time.After(10 * time.Second):
			}
		}
	})
	t.Cleanup(func() {
		close(done)
		renewing.Wait()
		_ = lease.Release()
		_ = db.Close()
	})
	return db
}

// sessionOf signs a client's first login in, without the half second that its password takes.
func sessionOf(t *testing.T, db *store.DB, client int64) (token string) {
	t.Helper()
	logins, err := db.LoginsOf(t.Context(), client)
	if err != nil || len(logins) == 0 {
		t.Fatalf("logins of client %d: %d, %v", client, len(logins), err)
	}
	now := time.Now()
	data, err := scs.GobCodec{}.Encode(now.Add(time.Hour), map[string]any{
		"login": logins[0].UID, "generation": logins[0].Generation, "began": now.Unix(), "used": now.Unix(),
	})
	if err != nil {
		t.Fatal(err)
	}
	token = fmt.Sprintf("limits-%d-%d", client, now.UnixNano())
	if err := db.Sessions().CommitCtx(t.Context(), token, data, now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	return token
}

func fetch(t *testing.T, address string, p visit) string {
	t.Helper()
	r, err := p.request(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", p.path, resp.Status, err)
	}
	return string(body)
}

// warm asks for each page once.
func warm(t *testing.T, address string, pages []visit) {
	t.Helper()
	for _, p := range pages {
		fetch(t, address, p)
	}
}

// loaded is what came of a load.
type loaded struct {
	took   []time.Duration // from the instant at which each request was to be sent
	failed int
}

// mostAtOnce bounds the requests under way; one more counts as failed.
const mostAtOnce = 500

// openLoop sends requests at random instants, so many a second on average, whether those before were answered or not.
func openLoop(t *testing.T, address string, rate int, lasts time.Duration, next func() visit) loaded {
	t.Helper()
	client := &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: mostAtOnce, MaxConnsPerHost: mostAtOnce}, Timeout: 10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	defer client.CloseIdleConnections()
	r := rand.New(rand.NewPCG(1, 2))
	var out loaded
	var mu sync.Mutex
	var under atomic.Int64
	var all sync.WaitGroup
	began := time.Now()
	for at := time.Duration(0); at < lasts; at += time.Duration(r.ExpFloat64() / float64(rate) * float64(time.Second)) {
		time.Sleep(time.Until(began.Add(at)))
		p := next()
		if under.Add(1) > mostAtOnce {
			under.Add(-1)
			out.failed++
			continue
		}
		all.Go(func() {
			defer under.Add(-1)
			ok := ask200(t, client, address, p)
			took := time.Since(began.Add(at))
			mu.Lock()
			defer mu.Unlock()
			if ok {
				out.took = append(out.took, took)
			} else {
				out.failed++
			}
		})
	}
	all.Wait()
	return out
}

func ask200(t *testing.T, client *http.Client, address string, p visit) bool {
	r, err := p.request(t.Context(), address)
	if err != nil {
		return false
	}
	resp, err := client.Do(r)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err == nil && resp.StatusCode == http.StatusOK
}

// onOneCore starts a program that has one core: the Go scheduler is told so, and where taskset is at hand the kernel too,
// because SQLite runs outside of Go's count.
func onOneCore(t *testing.T, path string, args ...string) *program {
	t.Helper()
	t.Setenv("GOMAXPROCS", "1")
	if pin, err := exec.LookPath("taskset"); err == nil {
		return launch(t, pin, newFast(1), append([]string{"-c", "0", path}, args...)...)
	}
	return launch(t, path, newFast(1), args...)
}

// memory gives the bytes of a process that are in memory.
func (p *program) memory(t *testing.T) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "VmRSS:" {
			kib, err := strconv.ParseInt(fields[1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	return 0
}

// cpu gives the time that a process has spent on processors.
func (p *program) cpu(t *testing.T) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	ticks := int64(0)
	for _, i := range []int{11, 12} {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// standInNamed gives the path at which this test's binary goes by a name: TestMain does what the name says.
func standInNamed(t *testing.T, name string) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.Symlink(exe, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// sayHello is a bare echo that says hello: what the machine and the load generator can do at best.
func sayHello() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, standInLasts)
	defer cancel()
	go endWithParent()
	e := echo.New()
	e.GET("/", func(c echo.Context) error { return c.String(http.StatusOK, "hello") })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitFailed
	}
	fmt.Println("listening at http://" + listener.Addr().String())
	if err := serveUntil(ctx, &http.Server{Handler: e, ReadHeaderTimeout: 5 * time.Second}, listener); err != nil {
		return exitFailed
	}
	return exitDone
}
