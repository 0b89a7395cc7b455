package main

import (
	"bytes"
	"crypto/tls"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stowage/pve/pvesim"
	"stowage/store"
)

// secretive runs a portal in processes of its own, keeps every byte that they write, and knows every secret that they
// were given.
type secretive struct {
	t     *testing.T
	b     *bench
	path  string // of the binary
	clock fast

	mu      sync.Mutex
	said    map[string]string // what was written, by where
	secrets map[string][]byte // by what they are
}

func (s *secretive) note(where, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said[fmt.Sprintf("%s (%d)", where, len(s.said))] = text
}

func (s *secretive) secret(name, text string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secrets[name] = []byte(text)
	return text
}

// run runs a command as a process, keeps what it says, and gives it.
func (s *secretive) run(code int, args ...string) string {
	s.t.Helper()
	cmd := exec.Command(s.path, append(args, "--database", s.b.path("stowage.db"))...)
	cmd.Env = append(os.Environ(), s.clock.variable())
	out, err := cmd.CombinedOutput()
	if got := cmd.ProcessState.ExitCode(); got != code {
		s.t.Errorf("stowage %s: %d (%v), want %d: %s", strings.Join(args, " "), got, err, code, out)
	}
	s.note("stowage "+args[0]+" "+args[1], string(out))
	return string(out)
}

// RoundTrip keeps what the portal answers. The session's token goes to its owner and counts as a secret from then on.
func (s *secretive) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	for _, c := range resp.Cookies() {
		if len(c.Value) > 20 {
			s.secret("session "+c.Value[:4], c.Value)
		}
	}
	headers := resp.Header.Clone()
	headers.Del("Set-Cookie")
	s.note("page "+r.Method+" "+r.URL.Path, fmt.Sprint(resp.Status, headers)+string(body))
	return resp, err
}

// talkative stands before Proxmox VE and, when told to, answers with the whole request, as some proxies do.
type talkative struct {
	*httptest.Server
	how      atomic.Int64 // 0: pass on; changesFail: answer changes of a machine with 500; else the status to answer with
	repeated atomic.Int64 // how often it did
}

func newTalkative(t *testing.T, to string) *talkative {
	t.Helper()
	target, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }, ErrorLog: log.New(io.Discard, "", 0),
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}},
	}
	p := &talkative{}
	p.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status := int(p.how.Load())
		if status == 0 || status == changesFail && r.Method != http.MethodPut {
			proxy.ServeHTTP(w, r)
			return
		}
		if status == changesFail {
			status = 500
		}
		dump, err := httputil.DumpRequest(r, true)
		if err != nil {
			t.Error(err)
		}
		answer, err := json.Marshal(map[string]any{"data": nil, "message": string(dump), "errors": map[string]string{"request": string(dump)}})
		if err != nil {
			t.Error(err)
		}
		w.WriteHeader(status)
		_, _ = w.Write(answer)
		p.repeated.Add(1)
	}))
	p.StartTLS()
	t.Cleanup(p.Close)
	return p
}

// changesFail lets questions pass and repeats changes.
const changesFail = 1

// machinePassword has a new password made for the machine, and gives it, which nothing but the page that shows it once
// may say. The page that shows it is not noted.
func (s *secretive) machinePassword(ada *http.Client, address, service, name string) (page string) {
	s.t.Helper()
	quiet := &http.Client{Jar: ada.Jar, CheckRedirect: ada.CheckRedirect, Timeout: ada.Timeout}
	resp, err := quiet.PostForm(address+"/services/"+service+"/password", url.Values{})
	if err != nil || resp.StatusCode != http.StatusSeeOther {
		s.t.Fatalf("a new password: %v %v", resp, err)
	}
	_ = resp.Body.Close()
	page = address + resp.Header.Get("Location")
	_, body, err := ask(quiet, page, nil)
	shown := between(body, `id="secret">`, "<")
	if err != nil || len(shown) != 1 || len(shown[0]) != 20 {
		s.t.Fatalf("no password is shown: %v %v", shown, err)
	}
	s.secret(name, shown[0])
	return page
}

// TestSecretsStayWhereTheyBelong uses a portal as it is used, with things going wrong, at the most talkative level of
// the log, and then looks for every secret in every byte that was written: logs, answers, the database and its copies.
func TestSecretsStayWhereTheyBelong(t *testing.T) {
	t.Parallel()
	s := &secretive{t: t, path: standInPath(t), clock: newFast(killRate), said: map[string]string{}, secrets: map[string][]byte{}}
	s.b = &bench{t: t, dir: t.TempDir(), now: s.clock.now}
	s.run(exitDone, "migrate", "--json")
	sim := launch(t, s.path, s.clock, "sim", "--listen", "127.0.0.1:0", "--json", "--speed", "20")
	proxy := newTalkative(t, sim.says(&sim.out, `"url": *"([^"]+)"`))
	token := s.secret("token", pvesim.Secret)
	file := func(name, text string) string { return s.b.write(name, text+"\n") }

	add := []string{"server", "add", "--name", "pve1", "--endpoint", proxy.URL, "--token-id", pvesim.PortalToken, "--trust-on-first-use"}
	s.run(exitFailed, append(add, "--secret-file", file("wrong", s.secret("wrong token", "0c0ffee0-cafe-4bad-8bad-00000000cafe")))...)
	proxy.how.Store(500)
	s.run(exitFailed, append(add, "--secret-file", file("secret", token))...)
	proxy.how.Store(0)
	s.run(exitDone, append(add, "--secret-file", file("secret", token))...)
	s.run(exitDone, "product", "add", "--name", "VPS", "--backups", "3", "--backup-storage", "local")
	first := s.secret("first password", "the canary sings alpha")
	s.run(exitDone, "client", "add", "--email", "ada@demo.test", "--name", "Ada", "--zone", "UTC", "--password-file", file("password", first))
	s.run(exitFailed, "client", "passwd", "nobody@demo.test", "--password-file", file("password", s.secret("password of nobody", "the canary sings omega")))
	staffs := s.secret("staff's password", "the canary sings sigma")
	s.run(exitDone, "staff", "add", "--email", "admin@demo.test", "--role", "admin", "--password-file", file("password", staffs))
	out := s.run(exitDone, "service", "add", "--client", "ada@demo.test", "--product", "VPS", "--server", "pve1", "--vmid", "100", "--json")
	var service added
	if err := json.Unmarshal([]byte(out), &service); err != nil {
		t.Fatal(err)
	}

	serve := func(format string) (*program, string) {
		p := launch(t, s.path, s.clock, "serve", "--listen", "127.0.0.1:0", "--database", s.b.path("stowage.db"), "--log-format", format, "--log-level", "debug",
			"--metrics-token-file", file("metrics", s.secret("metrics token", "canary-metrics-token-7d")),
			"--smtp", "smtp://canary@127.0.0.1:9", "--mail-from", "backups@demo.test", "--smtp-password-file", file("smtp", s.secret("password of the mail server", "canary-of-the-mail-server-3f")))
		return p, p.says(&p.log, `url"?[=:]"?(http://[0-9.:]+)`)
	}
	stop := func(p *program, name string) {
		t.Helper()
		p.end()
		s.note("log of "+name, p.out.String()+p.log.String())
	}
	browser := func(email, password, address string) *http.Client {
		t.Helper()
		c := signInOver(t, s, address, email, password)
		return c
	}
	fetch := func(c *http.Client, address string, form url.Values) (int, string) {
		t.Helper()
		status, body, err := ask(c, address, form)
		if err != nil {
			t.Fatal(err)
		}
		return status, body
	}

	portal, address := serve("text")
	nobody := &http.Client{Transport: s, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for email, password := range map[string]string{
		"ada@demo.test": s.secret("wrong password", "the canary sings gamma"), s.secret("a password in the wrong field", "the.canary.sings.delta"): "x",
	} {
		fetch(nobody, address+"/login", url.Values{"email": {email}, "password": {password}})
	}
	fetch(nobody, address+"/login?password="+s.secret("a password in an address", "canary-in-the-address-9")+"&next=/services%3Ftoken=1", nil)
	fetch(nobody, address+"/login", url.Values{"email": {"ada@demo.test"}, "email2": {"x"}, "password": {"a", s.secret("a password sent twice", "the canary sings twice")}})
	metrics, err := http.NewRequest("GET", address+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	metrics.Header.Set("Authorization", "Bearer "+s.secret("a guessed token", "canary-guess-of-metrics"))
	if resp, err := nobody.Do(metrics); err != nil || resp.StatusCode != 401 {
		t.Errorf("metrics: %v", err)
	}
	ada, admin := browser("ada@demo.test", first, address), browser("admin@demo.test", staffs, address)
	backups := address + "/services/" + service.UID + "/backups"
	fetch(ada, backups, url.Values{"note": {"before"}})
	until(t, "the backup", func() bool {
		_, body := fetch(ada, backups, nil)
		return strings.Contains(body, `data-count="backups">1/3`)
	})
	// A machine's own password: by cloud-init, then with an answer that repeats the request.
	machine := address + "/services/" + service.UID
	fetch(ada, machine+"/power", url.Values{"action": {"stop"}})
	until(t, "the machine to be off", func() bool {
		_, body := fetch(ada, machine, nil)
		return strings.Contains(body, `data-machine="off"`)
	})
	s.cloudInit(sim.says(&sim.out, `"url": *"([^"]+)"`))
	for how, want := range map[int64]string{0: `data-state="succeeded"`, changesFail: `data-state="failed"`} {
		proxy.how.Store(how)
		page := s.machinePassword(ada, address, service.UID, fmt.Sprintf("the machine's password (%d)", how))
		until(t, "the machine's password", func() bool {
			_, body := fetch(ada, page, nil)
			fetch(admin, address+"/admin/operations/"+page[strings.LastIndex(page, "/")+1:], nil)
			return strings.Contains(body, want)
		})
	}
	proxy.how.Store(0)
	second := s.secret("second password", "the canary sings beta")
	fetch(ada, address+"/account/password", url.Values{"old": {s.secret("wrong old password", "the canary sings zeta")}, "new": {second}, "again": {second}})
	fetch(ada, address+"/account/password", url.Values{"old": {first}, "new": {second}, "again": {s.secret("mistyped password", "the canary sings betta")}})
	if status, _ := fetch(ada, address+"/account/password", url.Values{"old": {first}, "new": {second}, "again": {second}}); status != 303 {
		t.Errorf("changing the password: %d", status)
	}
	s.run(exitDone, "backup-db", s.b.path("copy-while-running.db"))

	// Everything goes wrong, in words that repeat the request.
	for _, status := range []int64{401, 500, 400, 301} {
		proxy.how.Store(status)
		fetch(ada, backups, url.Values{"note": {"again"}})
		fetch(admin, address+"/admin/servers", nil)
		s.run(exitFailed, "server", "check", "pve1")
		seen := proxy.repeated.Load()
		until(t, fmt.Sprintf("the portal to be answered %d", status), func() bool { return proxy.repeated.Load() > seen })
	}
	sim.kill()
	proxy.how.Store(0)
	s.run(exitFailed, "server", "check", "pve1")
	s.run(exitFailed, "doctor", "--json")
	for _, page := range []string{"/services", "/services/" + service.UID, "/account", "/services/" + service.UID + "/operations"} {
		fetch(ada, address+page, nil)
	}
	for _, page := range []string{"/admin", "/admin/servers", "/admin/services", "/admin/services/" + service.UID, "/admin/operations", "/admin/audit", "/readyz"} {
		_, body := fetch(admin, address+page, nil)
		for _, link := range between(body, `href="/admin/`, `"`) {
			fetch(admin, address+"/admin/"+link, nil)
		}
	}
	metrics.Header.Set("Authorization", "Bearer canary-metrics-token-7d")
	if resp, err := nobody.Do(metrics); err != nil || resp.StatusCode != 200 {
		t.Errorf("metrics: %v", err)
	}
	fetch(ada, address+"/logout", url.Values{})
	stop(portal, "serve as text")
	portal, address = serve("json")
	fetch(browser("ada@demo.test", second, address), address+"/nowhere", nil)
	s.files()
	stop(portal, "serve as JSON")
	s.run(exitDone, "operation", "list", "--json")
	s.run(exitDone, "server", "list", "--json")
	s.run(exitDone, "client", "list", "--json")
	s.run(exitDone, "backup-db", s.b.path("copy.db"))
	s.upgrade()
	s.files()
	s.keys()
	s.search()
}

// cloudInit gives the machine, which is off, the drive from which its system reads a password: an administrator's doing.
func (s *secretive) cloudInit(sim string) {
	s.t.Helper()
	r, err := http.NewRequest(http.MethodPut, sim+"/api2/json/nodes/pve1/qemu/100/config", strings.NewReader(url.Values{"ide2": {"local:cloudinit"}}.Encode()))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Authorization", "PVEAPIToken="+pvesim.SimToken+"="+pvesim.Secret)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	insecure := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}}
	resp, err := insecure.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		s.t.Fatalf("a cloud-init drive: %s", resp.Status)
	}
}

// upgrade makes the database look older and brings it up, which leaves a copy from before.
func (s *secretive) upgrade() {
	s.t.Helper()
	raw, err := sql.Open("sqlite3", s.b.path("stowage.db"))
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := raw.Exec(`DELETE FROM goose_db_version WHERE version_id = 10; ALTER TABLE services DROP COLUMN lock_looked_at;
		ALTER TABLE services DROP COLUMN lock_stale_at; ALTER TABLE services DROP COLUMN lock_task`); err != nil {
		s.t.Fatal(err)
	}
	if err := raw.Close(); err != nil {
		s.t.Fatal(err)
	}
	s.run(exitDone, "migrate", "--json")
	if _, err := os.Stat(s.b.path("stowage.db.before-10")); err != nil {
		s.t.Error(err)
	}
}

// files notes every file that the portal wrote but its key. The files that hold the secrets for the commands are the
// test's own.
func (s *secretive) files() {
	s.t.Helper()
	found, err := filepath.Glob(s.b.path("*.db*"))
	if err != nil || len(found) < 2 {
		s.t.Fatal(found, err)
	}
	for _, name := range found {
		raw, err := os.ReadFile(name)
		if err != nil {
			s.t.Fatal(err)
		}
		s.note("file "+filepath.Base(name), string(raw))
	}
}

// keys adds what seals the secrets, and the key of the marks, to the secrets.
func (s *secretive) keys() {
	s.t.Helper()
	raw, err := os.ReadFile(s.b.path("stowage.key"))
	if err != nil {
		s.t.Fatal(err)
	}
	var ring struct {
		Key []struct{ KeyData struct{ Value string } }
	}
	if err := json.Unmarshal(raw, &ring); err != nil || len(ring.Key) != 1 || len(ring.Key[0].KeyData.Value) < 40 {
		s.t.Fatalf("the key file reads differently: %v", err)
	}
	sealed := ring.Key[0].KeyData.Value
	s.secret("the key as it is written", sealed)
	decoded, err := base64.StdEncoding.DecodeString(sealed)
	if err != nil {
		s.t.Fatal(err)
	}
	s.secret("the key", string(decoded[len(decoded)-32:]))
	err = data{Database: s.b.path("stowage.db")}.with(&app{ctx: s.t.Context(), now: time.Now}, func(db *store.DB) error {
		for name, text := range map[string]string{
			"the key of the marks": string(db.MarkKey()), "the key of the marks in hex": hex.EncodeToString(db.MarkKey()), "the key of the marks in base64": base64.StdEncoding.EncodeToString(db.MarkKey()),
		} {
			s.secret(name, text)
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// search looks for every secret, as it is and as forms and addresses write it, in everything that was written.
func (s *secretive) search() {
	s.t.Helper()
	all := 0
	for where, text := range s.said {
		all += len(text)
		for name, secret := range s.secrets {
			if name == "a password in the wrong field" && strings.HasPrefix(where, "page POST /login") {
				continue // who typed it there may correct it there
			}
			for _, form := range []string{string(secret), url.QueryEscape(string(secret)), url.PathEscape(string(secret)), base64.StdEncoding.EncodeToString(secret), hex.EncodeToString(secret)} {
				if i := strings.Index(text, form); i >= 0 {
					s.t.Errorf("%s holds the %s: …%q", where, name, text[max(0, i-120):i])
				}
			}
		}
	}
	if len(s.secrets) < 18 || len(s.said) < 60 || all < 1<<20 {
		s.t.Errorf("%d secrets, %d places, %d bytes: too few to mean anything", len(s.secrets), len(s.said), all)
	}
	for _, want := range []string{"level=DEBUG", `"level":"DEBUG"`, "sign-in refused", "ada@demo.test", "portal@pve!api", "unreachable", "data-count"} {
		found := false
		for _, text := range s.said {
			found = found || strings.Contains(text, want)
		}
		if !found {
			s.t.Errorf("nothing says %q: the secrets were looked for in the wrong places", want)
		}
	}
}

// between gives what stands between two texts, each time.
func between(text, from, to string) (all []string) {
	for _, part := range strings.Split(text, from)[1:] {
		found, _, _ := strings.Cut(part, to)
		all = append(all, found)
	}
	return all
}
