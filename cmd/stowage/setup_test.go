package main

import (
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"stowage/portal"
	"stowage/store"
)

// simulated starts a Proxmox VE and gives its address and fingerprint.
func simulated(t *testing.T, args ...string) (url, fingerprint string) {
	t.Helper()
	out, log, _ := start(t, append([]string{"sim", "--listen", "127.0.0.1:0", "--json", "--speed", "20"}, args...)...)
	var answer struct{ URL, Fingerprint string }
	until(t, "the simulator", func() bool {
		if strings.Contains(log.String(), "stowage:") {
			t.Fatal(log.String())
		}
		return json.Unmarshal([]byte(out.String()), &answer) == nil
	})
	return answer.URL, answer.Fingerprint
}

// connect adds a server that the token of least privilege reaches.
func (b *bench) connect(url, fingerprint string) {
	b.t.Helper()
	b.must("server", "add", "--name", "pve1", "--endpoint", url, "--token-id", "portal@pve!api", "--secret-file", b.secret(), "--fingerprint", fingerprint)
}

func (b *bench) secret() string {
	b.t.Helper()
	return b.write("secret", "00000000-0000-4000-8000-000000000001\n")
}

func TestServerIsLookedAtBeforeItIsKept(t *testing.T) {
	t.Parallel()
	url, fingerprint := simulated(t)
	b := newBench(t)
	add := []string{"server", "add", "--name", "pve1", "--endpoint", url, "--token-id", "portal@pve!api"}
	b.run(append(add, "--secret-file", b.secret())...).want(t, "no word on trust", exitUsage, "missing flags")
	b.run(append(add, "--secret-file", b.secret(), "--trust-on-first-use", "--fingerprint", fingerprint)...).want(t, "two words on trust", exitUsage, "can't be used together")
	wrong := strings.Replace(fingerprint, fingerprint[:2], "00", 1)
	if wrong == fingerprint {
		wrong = strings.Replace(fingerprint, fingerprint[:2], "11", 1)
	}
	b.run(append(add, "--secret-file", b.secret(), "--fingerprint", wrong)...).want(t, "a wrong fingerprint", exitFailed, "nothing was added")
	b.run(append(add, "--secret-file", b.secret(), "--fingerprint", "12:34")...).want(t, "no fingerprint", exitFailed, "not a SHA-256 fingerprint")
	b.run(append(add, "--secret-file", b.write("wrong", "11111111-0000-4000-8000-000000000001"), "--fingerprint", fingerprint)...).want(t, "a wrong secret", exitFailed, "nothing was added")
	if out := b.must("server", "list", "--json"); strings.TrimSpace(out) != "[]" {
		t.Errorf("a server that can't be used was kept: %s", out)
	}
	r := b.run(append(add, "--secret-file", b.secret(), "--trust-on-first-use", "--json")...)
	if r.code != exitDone || !strings.Contains(r.err, fingerprint) || !strings.Contains(r.out, fingerprint) {
		t.Errorf("trust on first use: %+v", r)
	}
	b.run(append(add, "--secret-file", b.secret(), "--fingerprint", fingerprint)...).want(t, "the same name again", exitFailed, "already")
	if out := b.must("server", "list"); strings.Contains(out, "00000000-0000") || !strings.Contains(out, "pve1") {
		t.Errorf("server list: %s", out)
	}
	if out := b.must("server", "check", "pve1"); !strings.Contains(out, "every privilege") {
		t.Errorf("server check: %s", out)
	}
	b.run("server", "check", "pve7").want(t, "no such server", exitFailed, "no server")
}

func TestServerCheckNamesPruning(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.connect(simulated(t))
	b.must("product", "add", "--name", "Pruned", "--backups", "3", "--backup-storage", "keep2")
	r := b.run("server", "check", "pve1")
	if r.code != exitFailed || !strings.Contains(r.out, "keep2") || !strings.Contains(r.out, "prunes") || strings.Count(r.err, "\n") != 1 {
		t.Errorf("a storage that prunes by itself: %+v", r)
	}
}

// TestSetUp walks the way of a new installation, from an empty folder to a portal that runs.
func TestSetUp(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.connect(simulated(t))
	var p, s added
	b.answer(&p, "product", "add", "--name", "VPS S", "--backups", "3", "--backup-storage", "local", "--mode", "snapshot", "--eviction", "after",
		"--last-copy", "hold", "--spread", "30", "--protect", "2", "--cores", "2", "--memory", "2048", "--disk", "20", "--disk-storage", "local", "--bridge", "vmbr0", "--vlan", "7")
	b.must("product", "add", "--name", "VPS M", "--backups", "7", "--backup-storage", "local", "--catch-up", "3")
	b.run("product", "add", "--name", "VPS S", "--backups", "3", "--backup-storage", "local").want(t, "the same product again", exitFailed, "already")
	b.run("product", "add", "--name", "VPS L", "--backups", "3").want(t, "backups without a storage", exitFailed, "needs a backup storage")
	b.must("client", "add", "--email", "ada@demo.test", "--name", "Ada", "--zone", "Europe/Berlin")

	adopt := func(more ...string) []string {
		return append([]string{"service", "add", "--client", "ada@demo.test", "--product", "VPS S", "--server", "pve1"}, more...)
	}
	b.answer(&s, adopt("--vmid", "100")...)
	b.run(adopt("--vmid", "100")...).want(t, "a machine twice", exitFailed, "belongs to a service already")
	b.run(adopt("--vmid", "4711")...).want(t, "no machine", exitFailed, "There is no machine 4711")
	b.run(adopt("--vmid", "101", "--mode", "stop")...).want(t, "a mode that the product doesn't allow", exitFailed, "allows no backup mode")
	b.run("service", "add", "--client", "x@demo.test", "--product", "VPS S", "--server", "pve1", "--vmid", "101").want(t, "no client", exitFailed, "no client")
	b.run("service", "add", "--client", "ada@demo.test", "--product", "X", "--server", "pve1", "--vmid", "101").want(t, "no product", exitFailed, "no product")
	var services []struct{ UID, Name, Client, Product, Server, Node, State string }
	b.answer(&services, "service", "list", "--client", "ada@demo.test")
	if len(services) != 1 || services[0].Name != "h100" || services[0].Node != "pve1" || services[0].Product != "VPS S" {
		t.Errorf("services: %+v", services)
	}
	b.must("service", "change-product", s.UID, "--product", "VPS M")
	var waiting []operationJSON
	b.answer(&waiting, "operation", "list", "--state", "queued")
	if len(waiting) != 1 || waiting[0].Kind != "reapply" {
		t.Fatalf("the package that was changed is not to be applied: %+v", waiting)
	}
	b.must("operation", "cancel", waiting[0].UID)
	b.run("service", "change-product", "x", "--product", "VPS M").want(t, "no service", exitFailed, "no service")
	b.answer(&services, "service", "list")
	if len(services) != 1 || services[0].Product != "VPS M" {
		t.Errorf("after the change: %+v", services)
	}
	b.must("doctor")
	b.operations(s.UID)
	b.serves()
}

// operations looks at one that waits, ends it, and asks for it again.
func (b *bench) operations(service string) {
	t := b.t
	t.Helper()
	b.askForBackup(service)
	var list []operationJSON
	b.answer(&list, "operation", "list", "--state", "queued")
	if len(list) != 1 || list[0].Kind != "backup" || list[0].ServiceName != "h100" || list[0].Server != "pve1" {
		t.Fatalf("operations: %+v", list)
	}
	op := list[0]
	if text := b.must("operation", "show", strings.ToLower(op.Reference)); !strings.Contains(text, op.UID) || !strings.Contains(text, "queued") {
		t.Errorf("operation show: %s", text)
	}
	b.run("operation", "release", op.UID, "--reason", "because").want(t, "releasing one that waits", exitFailed, "Only a held operation")
	var ended, again operationJSON
	b.answer(&ended, "operation", "cancel", op.Reference)
	if ended.UID != op.UID || ended.State != "cancelled" {
		t.Errorf("cancelled: %+v", ended)
	}
	b.run("operation", "cancel", op.UID).want(t, "cancelling twice", exitFailed, "ended already")
	b.answer(&again, "operation", "retry", op.UID)
	if again.UID == op.UID || again.State != "queued" {
		t.Errorf("again: %+v", again)
	}
	b.answer(&list, "operation", "list", "--service", service)
	if len(list) != 3 || list[0].UID != again.UID || list[2].Kind != "reapply" {
		t.Errorf("operations afterwards: %+v", list)
	}
	b.run("operation", "show", "XXX-XXX").want(t, "no operation", exitFailed, "no operation")
	b.run("operation", "list", "--service", "x").want(t, "operations of no service", exitFailed, "no service")
}

// askForBackup does what the button on the page does.
func (b *bench) askForBackup(service string) {
	b.t.Helper()
	err := data{Database: b.path("stowage.db")}.with(&app{ctx: b.t.Context(), now: time.Now}, func(db *store.DB) error {
		_, err := db.Enqueue(b.t.Context(), 0, service, portal.ManualBackup("cli", "before the upgrade", ""))
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

// serve runs the portal and gives its address, its log, and how to stop it.
func (b *bench) serve(args ...string) (url string, log *buffer, stop func() int) {
	t := b.t
	t.Helper()
	_, log, stop = start(t, append([]string{"serve", "--listen", "127.0.0.1:0", "--database", b.path("stowage.db"), "--log-format", "json"}, args...)...)
	until(t, "the portal", func() bool {
		if strings.Contains(log.String(), "stowage:") {
			t.Fatal(log.String())
		}
		m := regexp.MustCompile(`"msg":"listening","url":"([^"]+)"`).FindStringSubmatch(log.String())
		if m != nil {
			url = m[1]
		}
		return m != nil
	})
	return url, log, stop
}

// untilBackedUp waits until one backup has ended well.
func (b *bench) untilBackedUp() {
	b.t.Helper()
	until(b.t, "the backup that was asked for", func() bool {
		var list []operationJSON
		b.answer(&list, "operation", "list", "--state", "succeeded")
		return len(list) == 1
	})
}

// serves runs the portal on what was set up, and looks whether it does its work: the backup that waits is made.
func (b *bench) serves() {
	t := b.t
	t.Helper()
	url, log, stop := b.serve("--metrics-token-file", b.write("metrics-token", "let-me-see\n"))
	get := func(path, token string) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	if status, _ := get("/healthz", ""); status != 200 {
		t.Errorf("healthz: %d", status)
	}
	until(t, "a portal that is ready", func() bool {
		status, body := get("/readyz", "")
		return status == 200 && strings.Contains(body, `"servers":{"pve1":"ok"}`)
	})
	b.untilBackedUp()
	if status, _ := get("/metrics", "guess"); status != 401 {
		t.Errorf("metrics with a wrong token: %d", status)
	}
	status, body := get("/metrics", "let-me-see")
	for _, name := range []string{"stowage_tick_seconds", "stowage_slots_total", "stowage_slot_lateness_seconds", "stowage_pve_requests_total{", "stowage_pve_request_seconds_count{", "stowage_locks_stale", "stowage_backups_good_age_seconds", "go_goroutines"} {
		if !strings.Contains(body, "\n"+name) {
			t.Errorf("metrics (%d) lack %s", status, name)
		}
	}
	if !regexp.MustCompile(`(?m)^stowage_tick_seconds_count [1-9]`).MatchString(body) {
		t.Error("no tick was measured")
	}
	if code := stop(); code != exitDone {
		t.Errorf("serve ended with %d: %s", code, log.String())
	}
	if !strings.Contains(log.String(), `"msg":"stopped"`) {
		t.Errorf("the log does not say that it stopped: %s", log.String())
	}
}

func TestDoctorSeesAnotherInstallation(t *testing.T) {
	t.Parallel()
	url, fingerprint := simulated(t)
	adopt := func() (*bench, string) {
		b := newBench(t)
		b.connect(url, fingerprint)
		b.must("product", "add", "--name", "VPS", "--backups", "3", "--backup-storage", "local")
		b.must("client", "add", "--email", "ada@demo.test", "--name", "Ada", "--zone", "UTC")
		var s added
		b.answer(&s, "service", "add", "--client", "ada@demo.test", "--product", "VPS", "--server", "pve1", "--vmid", "101")
		return b, s.UID
	}
	first, service := adopt()
	first.askForBackup(service)
	_, _, stop := first.serve()
	first.untilBackedUp()
	stop()
	first.must("doctor")
	second, _ := adopt()
	if r := second.run("doctor"); r.code != exitFailed || !strings.Contains(r.out, "another installation manages the machine 101") {
		t.Errorf("a machine that another installation backs up: %+v", r)
	}
}
