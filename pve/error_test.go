package pve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each wording of a refusal that was recorded, with what it means for the caller. The golden file is the table to read.
func TestRecordedErrorsMeanSomething(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for _, r := range loadLines[recorded](t, "testdata/errors.jsonl") {
		e := answerError(r.Status, r.Reason, r.bytes(), r.Method != http.MethodGet)
		fmt.Fprintf(&b, "%-11s %-11s %d %-6s %s", e.Class, e.Reason, e.Status, r.Method, clip(e.Message, 150))
		for _, name := range sortedKeys(e.Params) {
			fmt.Fprintf(&b, " | %s: %s", name, clip(e.Params[name], 100))
		}
		b.WriteByte('\n')
	}
	golden(t, "errors.golden", b.String())
}

// What the engine builds upon, said once more by hand.
func TestErrorClasses(t *testing.T) {
	t.Parallel()
	const read, change = false, true
	for _, k := range []struct {
		status   int
		phrase   string
		body     string
		mutation bool
		class    Class
		reason   Reason
	}{
		{500, "VM is locked (backup)", `{"data":null,"message":"VM is locked (backup)\n"}`, change, Refused, Locked},
		{500, "unable to restore VM 130 - VM is locked (suspended)", ``, change, Refused, Locked},
		{500, "can't lock file '/var/lock/qemu-server/lock-102.conf' - got timeout", ``, change, Refused, LockFile},
		{500, "cfs-lock 'storage-nfs' error: got lock request timeout", ``, change, Refused, LockFile},
		{500, "VM 110 is running - destroy failed", ``, change, Refused, Running},
		{500, "unable to restore VM 110 - vm is running", ``, change, Refused, Running},
		{500, "cannot remove protected volume 'backup/x' on 'local'", ``, change, Refused, Protected},
		{500, "can't remove VM 129 - protection mode enabled", ``, change, Refused, Protected},
		{403, "Permission check failed (/vms/100, VM.Backup)", ``, change, Refused, Permission},
		{500, "only root can set 'lock' config", ``, change, Refused, Permission},
		{401, "Authentication failed!", ``, read, Refused, Auth},
		{400, "Parameter verification failed.", `{"data":null,"errors":{"mode":"value 'x' does not"}}`, change, Refused, Parameter},
		{400, "Parameter verification failed.", `{"errors":null}`, change, Refused, Parameter},
		{400, "Parameter verification failed.", `{"errors":{"upid":"no such task"}}`, read, Gone, ""},
		{400, "Parameter verification failed.", `{"errors":{"storage":"No such storage."}}`, read, Gone, ""},
		{500, "Configuration file 'nodes/pve1/qemu-server/999.conf' does not exist", ``, read, Gone, ""},
		{500, "storage 'nope' does not exist", ``, read, Gone, ""},
		{500, "storage 'off' is disabled", ``, read, Refused, Other},
		{500, "unable to activate storage 'n' - directory is expected to be a mount point but is not mounted: '/srv/n'", ``, read, Refused, Other},
		{500, "got no worker upid - start worker failed", ``, change, Ambiguous, ""},
		{500, "hostname lookup 'pve9' failed - failed to get address info for: pve9: Name or service not known", ``, change, Unreachable, ""},
		{500, "command 'x' failed: got timeout", ``, change, Ambiguous, ""},
		{500, "something went wrong", ``, change, Refused, Other},
		{595, "Connection refused", ``, change, Ambiguous, ""},
		{596, "Connection timed out", ``, change, Ambiguous, ""},
		{599, "Too many redirections", ``, change, Ambiguous, ""},
		{595, "Connection refused", ``, read, Unreachable, ""},
		{596, "Broken pipe", ``, read, Unreachable, ""},
		{502, "Bad Gateway", "<html>", change, Ambiguous, ""},
		{503, "Service Unavailable", "<html>", read, Unreachable, ""},
		{504, "", "", change, Ambiguous, ""},
		{301, "Moved", "", change, Ambiguous, ""},
		{501, "for data too large", "for data too large", change, Refused, Other},
	} {
		e := answerError(k.status, k.phrase, []byte(k.body), k.mutation)
		if e.Class != k.class || e.Reason != k.reason {
			t.Errorf("%d %s (change %v): %s %s, want %s %s", k.status, k.phrase, k.mutation, e.Class, e.Reason, k.class, k.reason)
		}
	}
}

// Staff read these lines in the log.
func TestErrorReadsWell(t *testing.T) {
	t.Parallel()
	c := clientOver(t, always(400, "Parameter verification failed.",
		`{"data":null,"message":"Parameter verification failed.\n","errors":{"storage":"missing property required by 'protected'","mode":"bad\nmode"}}`))
	_, err := c.Vzdump(context.Background(), "pve1", VzdumpRequest{VMID: 110, Storage: "x"})
	want := "proxmox: POST /nodes/{node}/vzdump: refused (parameter): Parameter verification failed.: mode: bad mode; storage: missing property required by 'protected'"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	var e *Error
	if !errors.As(err, &e) || e.Params["mode"] != "bad mode" || e.Status != 400 {
		t.Errorf("%+v", e)
	}
	if strings.Contains(err.Error(), "0000") {
		t.Error("the secret shows")
	}
}

// Over all recordings: every lock is Locked, every held lock file LockFile, everything missing Gone, and so on.
func TestAllRecordedErrors(t *testing.T) {
	t.Parallel()
	rules := []struct {
		re     *regexp.Regexp
		class  Class
		reason Reason
	}{
		{regexp.MustCompile(`VM is locked`), Refused, Locked},
		{regexp.MustCompile(`can't lock file`), Refused, LockFile},
		{regexp.MustCompile(`^Permission check failed`), Refused, Permission},
		{regexp.MustCompile(`onfiguration file.* does not exist|unable to find configuration file`), Gone, ""},
		{regexp.MustCompile(`^(storage|volume|snapshot) '.*' does not exist`), Gone, ""},
		{regexp.MustCompile(`is running - `), Refused, Running},
		{regexp.MustCompile(`^VM \d+ not running`), Refused, NotRunning},
		{regexp.MustCompile(`^checksum mismatch`), Refused, Digest},
		{regexp.MustCompile(`^unable to (create|restore) VM .* already exists`), Refused, Exists},
		{regexp.MustCompile(`guest agent`), Refused, Agent},
		{regexp.MustCompile(`feature is not`), Refused, Feature},
		{regexp.MustCompile(`^(no options specified|storage '.*' is disabled)`), Refused, Other},
	}
	n := 0
	for _, file := range recordings(t) {
		for _, r := range loadLines[recordedLine](t, file) {
			if r.Status < 400 {
				continue
			}
			n++
			mutation := r.Method != http.MethodGet
			e := answerError(r.Status, r.Reason, recorded{Body: r.Body}.bytes(), mutation)
			if e.Class == "" || (e.Class == Refused) != (e.Reason != "") {
				t.Fatalf("%s: %+v", file, e)
			}
			for _, rule := range rules {
				if rule.re.MatchString(e.Message) && (e.Class != rule.class || e.Reason != rule.reason) {
					t.Errorf("%s: %s %s for %s", file, e.Class, e.Reason, e.Message)
				}
			}
			if r.Status >= 595 && (e.Class == Ambiguous) != mutation {
				t.Errorf("%s: %d of %s is %s", file, r.Status, r.Method, e.Class)
			}
		}
	}
	if n < 900 {
		t.Errorf("only %d errors in the recordings", n)
	}
}

// recordings lists the files recorded on a real Proxmox VE, which lie beside the checkout.
func recordings(t *testing.T) []string {
	t.Helper()
	files, _ := filepath.Glob("../../shared/pve/records-*/*.jsonl")
	if len(files) == 0 {
		if _, err := os.Stat("../../shared"); err != nil {
			t.Skip("needs the recordings in ../../shared/pve; the condensed ones in testdata ran")
		}
		t.Fatal("no recordings in ../../shared/pve")
	}
	return files
}

// recordedLine is an exchange as the recordings themselves write it.
type recordedLine struct {
	Step   string          `json:"step"`
	Method string          `json:"method"`
	Path   string          `json:"path"`
	Status int             `json:"http_status"`
	Reason string          `json:"http_reason"`
	Body   json.RawMessage `json:"response_body"`
}
