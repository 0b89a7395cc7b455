package pve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// sent is one request as a server got it.
type sent struct {
	What string // method and path below /api2/json
	Form map[string]string
}

// listening makes a client whose server takes everything, and what it got.
func listening(t *testing.T) (*Client, func() []sent) {
	t.Helper()
	var got []sent
	c := clientOver(t, answers(func(r *http.Request) (*http.Response, error) {
		if err := r.ParseForm(); err != nil {
			return nil, err
		}
		form := map[string]string{}
		for k, v := range r.Form {
			form[k] = strings.Join(v, "&")
		}
		got = append(got, sent{r.Method + " " + strings.TrimPrefix(r.URL.EscapedPath(), "/api2/json"), form})
		return answer(200, "OK", []byte(`{"data":"`+upidText+`"}`)), nil
	}))
	return c, func() []sent { return got }
}

// Each call is one request with these parameters and no other.
func TestWhatIsSent(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	const guest = "/nodes/pve1/qemu/100"
	for name, k := range map[string]struct {
		do   func(*Client) error
		want sent
	}{
		"config": {func(c *Client) error {
			return c.SetConfig(ctx, "pve1", 100, ConfigChange{
				Digest: "abc", Set: map[string]string{"cores": "2", "description": "a\nb"}, Delete: []string{"onboot", "tags"}, Revert: []string{"memory"}, Password: "geheim 1",
			})
		}, sent{"PUT " + guest + "/config", map[string]string{"digest": "abc", "cores": "2", "description": "a\nb", "delete": "onboot,tags", "revert": "memory", "cipassword": "geheim 1"}}},
		"config, asynchronous": {func(c *Client) error {
			_, err := c.StartSetConfig(ctx, "pve1", 100, ConfigChange{Set: map[string]string{"scsi1": "local:1,format=qcow2"}})
			return err
		}, sent{"POST " + guest + "/config", map[string]string{"scsi1": "local:1,format=qcow2"}}},
		"detach":         {func(c *Client) error { return c.DetachDisk(ctx, "pve1", 100, "scsi1", "abc") }, sent{"PUT " + guest + "/config", map[string]string{"delete": "scsi1", "digest": "abc"}}},
		"destroy unused": {func(c *Client) error { return c.DestroyUnused(ctx, "pve1", 100, "unused3", "") }, sent{"PUT " + guest + "/config", map[string]string{"delete": "unused3"}}},
		"resize": {func(c *Client) error {
			_, err := c.Resize(ctx, "pve1", 100, Disk{Key: "scsi0", SizeBytes: 1 << 30}, 5<<30, "abc")
			return err
		}, sent{"PUT " + guest + "/resize", map[string]string{"disk": "scsi0", "size": "5368709120", "digest": "abc"}}},
		"start":           {func(c *Client) error { _, err := c.Start(ctx, "pve1", 100); return err }, sent{"POST " + guest + "/status/start", map[string]string{}}},
		"shutdown":        {func(c *Client) error { _, err := c.Shutdown(ctx, "pve1", 100, 0, false); return err }, sent{"POST " + guest + "/status/shutdown", map[string]string{}}},
		"forced shutdown": {func(c *Client) error { _, err := c.Shutdown(ctx, "pve1", 100, 1500*time.Millisecond, true); return err }, sent{"POST " + guest + "/status/shutdown", map[string]string{"timeout": "2", "forceStop": "1"}}},
		"stop":            {func(c *Client) error { _, err := c.Stop(ctx, "pve1", 100, false); return err }, sent{"POST " + guest + "/status/stop", map[string]string{}}},
		"stop, overruled": {func(c *Client) error { _, err := c.Stop(ctx, "pve1", 100, true); return err }, sent{"POST " + guest + "/status/stop", map[string]string{"overrule-shutdown": "1"}}},
		"reboot":          {func(c *Client) error { _, err := c.Reboot(ctx, "pve1", 100, time.Minute); return err }, sent{"POST " + guest + "/status/reboot", map[string]string{"timeout": "60"}}},
		"reset":           {func(c *Client) error { _, err := c.Reset(ctx, "pve1", 100); return err }, sent{"POST " + guest + "/status/reset", map[string]string{}}},
		"snapshot":        {func(c *Client) error { _, err := c.CreateSnapshot(ctx, "pve1", 100, "ab", "", false); return err }, sent{"POST " + guest + "/snapshot", map[string]string{"snapname": "ab"}}},
		"snapshot with memory": {func(c *Client) error { _, err := c.CreateSnapshot(ctx, "pve1", 100, "a-b_1", "x\ny", true); return err }, sent{"POST " + guest + "/snapshot",
			map[string]string{"snapname": "a-b_1", "description": "x\ny", "vmstate": "1"}}},
		"delete snapshot":         {func(c *Client) error { _, err := c.DeleteSnapshot(ctx, "pve1", 100, "ab", false); return err }, sent{"DELETE " + guest + "/snapshot/ab", map[string]string{}}},
		"delete snapshot, forced": {func(c *Client) error { _, err := c.DeleteSnapshot(ctx, "pve1", 100, "ab", true); return err }, sent{"DELETE " + guest + "/snapshot/ab", map[string]string{"force": "1"}}},
		"rollback":                {func(c *Client) error { _, err := c.Rollback(ctx, "pve1", 100, "ab", false); return err }, sent{"POST " + guest + "/snapshot/ab/rollback", map[string]string{}}},
		"rollback and start":      {func(c *Client) error { _, err := c.Rollback(ctx, "pve1", 100, "ab", true); return err }, sent{"POST " + guest + "/snapshot/ab/rollback", map[string]string{"start": "1"}}},
		"empty description":       {func(c *Client) error { return c.SetSnapshotDescription(ctx, "pve1", 100, "ab", "") }, sent{"PUT " + guest + "/snapshot/ab/config", map[string]string{"description": ""}}},
		"restore": {func(c *Client) error {
			_, err := c.Restore(ctx, "pve1", RestoreRequest{VMID: 110, Archive: volid, Over: true})
			return err
		}, sent{"POST /nodes/pve1/qemu", map[string]string{"vmid": "110", "archive": volid, "force": "1"}}},
		"restore beside": {func(c *Client) error {
			_, err := c.Restore(ctx, "pve1", RestoreRequest{VMID: 200, Archive: volid, Storage: "data", Unique: true, BandwidthKiB: 20000, Start: true})
			return err
		}, sent{"POST /nodes/pve1/qemu", map[string]string{"vmid": "200", "archive": volid, "storage": "data", "unique": "1", "bwlimit": "20000", "start": "1"}}},
		"clone": {func(c *Client) error {
			_, err := c.Clone(ctx, "pve1", CloneRequest{VMID: 100, NewID: 200, Name: "web-1.example", Full: true, Storage: "data", Format: "qcow2", Target: "pve2", Pool: "p"})
			return err
		}, sent{"POST " + guest + "/clone", map[string]string{"newid": "200", "name": "web-1.example", "full": "1", "storage": "data", "format": "qcow2", "target": "pve2", "pool": "p"}}},
		"linked clone": {func(c *Client) error {
			_, err := c.Clone(ctx, "pve1", CloneRequest{VMID: 100, NewID: 200})
			return err
		}, sent{"POST " + guest + "/clone", map[string]string{"newid": "200", "full": "0"}}},
		"destroy":    {func(c *Client) error { _, err := c.Destroy(ctx, "pve1", 100, false); return err }, sent{"DELETE " + guest, map[string]string{"destroy-unreferenced-disks": "0"}}},
		"purge":      {func(c *Client) error { _, err := c.Destroy(ctx, "pve1", 100, true); return err }, sent{"DELETE " + guest, map[string]string{"destroy-unreferenced-disks": "0", "purge": "1"}}},
		"regenerate": {func(c *Client) error { return c.RegenerateCloudInit(ctx, "pve1", 100) }, sent{"PUT " + guest + "/cloudinit", map[string]string{}}},
		"ping":       {func(c *Client) error { return c.AgentPing(ctx, "pve1", 100) }, sent{"POST " + guest + "/agent/ping", map[string]string{}}},
		"password":   {func(c *Client) error { return c.SetUserPassword(ctx, "pve1", 100, "root", "a b&c=ä") }, sent{"POST " + guest + "/agent/set-user-password", map[string]string{"username": "root", "password": "a b&c=ä", "crypted": "0"}}},
		"feature":    {func(c *Client) error { _, _ = c.CanSnapshot(ctx, "pve1", 100); return nil }, sent{"GET " + guest + "/feature", map[string]string{"feature": "snapshot"}}},
		"archived":   {func(c *Client) error { _, _ = c.ArchivedConfig(ctx, "pve1", volid); return nil }, sent{"GET /nodes/pve1/vzdump/extractconfig", map[string]string{"volume": volid}}},
	} {
		c, got := listening(t)
		if err := k.do(c); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff([]sent{k.want}, got()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// What can't be meant, or would destroy something that the call doesn't say, never leaves.
func TestWhatIsNeverSent(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	change := func(ch ConfigChange) func(*Client) error {
		return func(c *Client) error {
			_, err := c.StartSetConfig(ctx, "pve1", 100, ch)
			if again := c.SetConfig(ctx, "pve1", 100, ch); (again == nil) != (err == nil) {
				return nil
			}
			return err
		}
	}
	set := func(key, value string) func(*Client) error {
		return change(ConfigChange{Set: map[string]string{key: value}})
	}
	task := func(do func(*Client) (UPID, error)) func(*Client) error {
		return func(c *Client) error { _, err := do(c); return err }
	}
	for name, do := range map[string]func(*Client) error{
		"nothing": change(ConfigChange{Digest: "abc"}), "an empty value": set("name", ""), "two lines": set("name", "a\nb"), "no key": set("a b", "c"),
		"skiplock": set("skiplock", "1"), "a lock": set("lock", "backup"), "a delete": set("delete", "scsi0"), "force": set("force", "1"), "a password among others": set("cipassword", "x"),
		"destroying by deleting": change(ConfigChange{Delete: []string{"unused0"}}), "unlocking": change(ConfigChange{Delete: []string{"lock"}}), "a list in a key": change(ConfigChange{Delete: []string{"a,unused0"}}),
		"set and deleted":  change(ConfigChange{Set: map[string]string{"cores": "1"}, Delete: []string{"cores"}}),
		"a password's end": change(ConfigChange{Password: "a\nb"}),
		"no such machine":  func(c *Client) error { return c.SetConfig(ctx, "pve1", 7, ConfigChange{Delete: []string{"tags"}}) },
		"detach unused":    func(c *Client) error { return c.DetachDisk(ctx, "pve1", 100, "unused0", "") },
		"detach two":       func(c *Client) error { return c.DetachDisk(ctx, "pve1", 100, "scsi1,unused0", "") },
		"destroy a disk":   func(c *Client) error { return c.DestroyUnused(ctx, "pve1", 100, "scsi0", "") },
		"shrink": task(func(c *Client) (UPID, error) {
			return c.Resize(ctx, "pve1", 100, Disk{Key: "scsi0", SizeBytes: 2 << 30}, 1<<30, "")
		}),
		"odd size": task(func(c *Client) (UPID, error) { return c.Resize(ctx, "pve1", 100, Disk{Key: "scsi0"}, 1<<30+1, "") }),
		"grow a CD": task(func(c *Client) (UPID, error) {
			return c.Resize(ctx, "pve1", 100, Disk{Key: "ide2", CDROM: true}, 1<<30, "")
		}),
		"negative time":  task(func(c *Client) (UPID, error) { return c.Shutdown(ctx, "pve1", 100, -1, false) }),
		"current":        task(func(c *Client) (UPID, error) { return c.CreateSnapshot(ctx, "pve1", 100, "current", "", false) }),
		"delete current": task(func(c *Client) (UPID, error) { return c.DeleteSnapshot(ctx, "pve1", 100, "current", false) }),
		"a long name": task(func(c *Client) (UPID, error) {
			return c.CreateSnapshot(ctx, "pve1", 100, strings.Repeat("n", 41), "", false)
		}),
		"a short name": task(func(c *Client) (UPID, error) { return c.Rollback(ctx, "pve1", 100, "a", false) }),
		"a path": task(func(c *Client) (UPID, error) {
			return c.Restore(ctx, "pve1", RestoreRequest{VMID: 100, Archive: "/var/lib/vz/dump/x"})
		}),
		"no archive": task(func(c *Client) (UPID, error) { return c.Restore(ctx, "pve1", RestoreRequest{VMID: 100, Over: true}) }),
		"negative speed": task(func(c *Client) (UPID, error) {
			return c.Restore(ctx, "pve1", RestoreRequest{VMID: 100, Archive: volid, BandwidthKiB: -1})
		}),
		"a clone's name": task(func(c *Client) (UPID, error) {
			return c.Clone(ctx, "pve1", CloneRequest{VMID: 100, NewID: 200, Name: "a b"})
		}),
		"linked elsewhere": task(func(c *Client) (UPID, error) {
			return c.Clone(ctx, "pve1", CloneRequest{VMID: 100, NewID: 200, Storage: "data"})
		}),
		"no new number":   task(func(c *Client) (UPID, error) { return c.Clone(ctx, "pve1", CloneRequest{VMID: 100, Full: true}) }),
		"destroy nothing": task(func(c *Client) (UPID, error) { return c.Destroy(ctx, "pve1", 0, true) }),
		"short password":  func(c *Client) error { return c.SetUserPassword(ctx, "pve1", 100, "root", "abcd") },
		"no login":        func(c *Client) error { return c.SetUserPassword(ctx, "pve1", 100, "", "abcdef") },
	} {
		c, got := listening(t)
		if err := do(c); ReasonOf(err) != Parameter || ClassOf(err) != Refused {
			t.Errorf("%s: %v", name, err)
		}
		if len(got()) != 0 {
			t.Errorf("%s was sent: %v", name, got())
		}
	}
}

// A password is in no value that is printed or logged, and in no error, however a server repeats it.
func TestPasswordsAreNotRepeated(t *testing.T) {
	t.Parallel()
	change := ConfigChange{Set: map[string]string{"ciuser": "debian"}, Password: password}
	inJSON, _ := json.Marshal(map[string]any{"change": change, "password": password})
	var logged strings.Builder
	slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "password", password, "change", change)
	for _, said := range []string{fmt.Sprintf("%v %+v %#v %s %q %x %d", change, change, change, password, password, password, password), string(inJSON), logged.String()} {
		if strings.Contains(said, string(password[:8])) || strings.Contains(said, fmt.Sprintf("%x", string(password[:8]))) {
			t.Errorf("printed: %s", said)
		}
	}
	quoted, _ := json.Marshal(string(password))
	for name, form := range map[string]string{
		"plain": string(password), "form": url.QueryEscape(string(password)), "path": url.PathEscape(string(password)), "JSON": strings.Trim(string(quoted), `"`),
	} {
		for _, status := range []int{200, 301, 400, 403, 500, 596} {
			for where, body := range map[string]string{
				"text": form, "message": `{"message":"` + form + `","data":null}`, "errors": `{"errors":{"cipassword":"bad ` + form + `","` + form + `":"x"}}`, "data": `{"data":"` + form + `"}`, "phrase": "",
			} {
				var seen []Call
				c := clientOver(t, answers(func(*http.Request) (*http.Response, error) {
					return answer(status, "odd "+form, []byte(body)), nil
				}), func(cfg *Config) { cfg.Observe = func(k Call) { seen = append(seen, k) } })
				for _, k := range []string{"SetConfig", "StartSetConfig", "SetUserPassword"} {
					v, err := call(t, k, c)
					said := told(v, err) + fmt.Sprintf("%+v", seen)
					for _, leak := range []string{"heim", "until an error", "left over"} {
						if strings.Contains(said, leak) {
							t.Fatalf("%s, %s, %d, %s: %s", k, name, status, where, said)
						}
					}
				}
			}
		}
	}
	failing := clientOver(t, answers(func(*http.Request) (*http.Response, error) {
		return nil, fmt.Errorf("malformed HTTP response %q", string(password))
	}))
	for _, k := range []string{"SetConfig", "SetUserPassword"} {
		v, err := call(t, k, failing)
		if said := told(v, err); strings.Contains(said, "heim") || ClassOf(err) != Ambiguous {
			t.Errorf("%s: %s", k, said)
		}
	}
}

// What an error means is read before a password is taken out of it: one that is part of Proxmox' words changes nothing.
func TestAPasswordDoesNotChangeTheMeaning(t *testing.T) {
	t.Parallel()
	for phrase, want := range map[string]string{
		"can't lock file 'x' - got timeout": "refused lock file", "command 'x' failed: got timeout": "ambiguous ", "VM is locked (timeout)": "refused locked",
	} {
		c := clientOver(t, always(500, phrase, ""))
		err := c.SetConfig(context.Background(), "pve1", 100, ConfigChange{Password: "timeout"})
		if got := string(ClassOf(err)) + " " + string(ReasonOf(err)); got != want || strings.Contains(err.Error(), "timeout") {
			t.Errorf("%s: %s (%v)", phrase, got, err)
		}
	}
	c := clientOver(t, always(200, "OK", `{"data":"`+upidText+`"}`))
	if got, err := c.StartSetConfig(context.Background(), "pve1", 100, ConfigChange{Password: "pve1"}); err != nil || got != upid {
		t.Errorf("a task whose name has the password in it: %v %v", got, err)
	}
	dead := clientOver(t, answers(func(*http.Request) (*http.Response, error) { return nil, context.Canceled }))
	if err := dead.SetConfig(context.Background(), "pve1", 100, ConfigChange{Password: "geheim"}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cause that has no password in it is kept: %v", err)
	}
}

func TestReadArchivedConfig(t *testing.T) {
	t.Parallel()
	got := ReadArchivedConfig("#Zeile 1%3A x\n#100%25 — ä\nname: web1\r\nscsi0: local:100/vm-100-disk-0.qcow2,size=1G\nscsi1: local:100/vm-100-disk-1.raw,backup=0,size=2G\n" +
		"cipassword: $5$Tu8K6JO/$AuuX\nargs: -append \"a: b\"\nsmbios1: uuid=5b9f1e9e-0000-4000-8000-000000000000\n#qmdump#map:scsi0:drive-scsi0:local:qcow2:\n#vzdump#x\nnonsense\n: x\n[snap]\nname: other\nmemory: 1\n")
	want := map[string]string{
		"description": "Zeile 1: x\n100% — ä", "name": "web1", "scsi0": "local:100/vm-100-disk-0.qcow2,size=1G", "scsi1": "local:100/vm-100-disk-1.raw,backup=0,size=2G",
		"cipassword": "**********", "args": `-append "a: b"`, "smbios1": "uuid=5b9f1e9e-0000-4000-8000-000000000000",
	}
	if diff := cmp.Diff(want, got.Raw); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"scsi0"}, got.Drives); diff != "" || len(got.Disks) != 2 || got.UUID == "" || got.Name != "web1" {
		t.Errorf("%+v", got)
	}
}

func TestCloudInitOptions(t *testing.T) {
	t.Parallel()
	got := CloudInit{
		User: "debian", SSHKeys: []string{" ssh-ed25519 AAAA+/= x@y \n", "", "ssh-rsa B c"}, SearchDomain: "example.com",
		Nameservers: []netip.Addr{netip.MustParseAddr("192.0.2.53"), netip.MustParseAddr("2001:db8::53")},
		IP: map[int]CardIP{
			0: {IPv4: netip.MustParsePrefix("192.0.2.50/24"), Gateway4: netip.MustParseAddr("192.0.2.1"), IPv6: netip.MustParsePrefix("2001:db8::50/64"), Gateway6: netip.MustParseAddr("2001:db8::1")},
			1: {DHCP4: true, Auto6: true}, 2: {},
		},
	}.Set()
	want := map[string]string{
		"ciuser": "debian", "searchdomain": "example.com", "nameserver": "192.0.2.53 2001:db8::53", "sshkeys": "ssh-ed25519%20AAAA%2B%2F%3D%20x%40y%0Assh-rsa%20B%20c%0A",
		"ipconfig0": "ip=192.0.2.50/24,gw=192.0.2.1,ip6=2001:db8::50/64,gw6=2001:db8::1", "ipconfig1": "ip=dhcp,ip6=auto",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(CloudInit{}.Set()) != 0 {
		t.Error("nothing sets something")
	}
}

func TestDiskValues(t *testing.T) {
	t.Parallel()
	for want, d := range map[string]NewDisk{
		"local:32,format=qcow2":           {Storage: "local", SizeBytes: 32 << 30, Format: "qcow2"},
		"data:0.0009765625":               {Storage: "data", SizeBytes: 1 << 20},
		"data:1.5,format=raw,iops_wr=300": {Storage: "data", SizeBytes: 3 << 29, Format: "raw", Options: Properties{{"iops_wr", "300"}}},
		"":                                {Storage: "data", SizeBytes: 1<<30 + 512},
		"data:8192":                       {Storage: "data", SizeBytes: 8 << 40},
	} {
		if got, err := d.Value(); got != want || (err != nil) != (want == "") {
			t.Errorf("%+v: %q %v", d, got, err)
		}
	}
	for volid, own := range map[string]bool{
		"local:102/vm-102-disk-1.qcow2": true, "lvm:vm-102-disk-0": true, "local:160/base-160-disk-0.qcow2/102/vm-102-disk-0.qcow2": true, "ceph:base-102-disk-0": true,
		"local:100/vm-100-disk-0.qcow2": false, "local:102/vm-100-disk-0.qcow2": false, "/dev/sda": false, "none": false, "local:iso/x.iso": false, "": false,
		"local:102/vm-1020-disk-1.qcow2": false, "local:102/vm-102-disk-1.qcow2,backup=0": false, "local:160/base-160-disk-0.qcow2": false,
	} {
		got, err := AttachDisk(volid, 102, Properties{{"backup", "1"}})
		if (err == nil) != own || own && got != volid+",backup=1" {
			t.Errorf("%s: %q %v", volid, got, err)
		}
	}
	g := ReadGuestConfig(map[string]string{"scsi0": "local:100/vm-100-disk-0.qcow2,foo=bar,size=1G", "scsi1": "none,media=cdrom", "net0": "virtio=bc:24:11:00:00:01,bridge=vmbr0,queues=4", "net1": "virtio,bridge=vmbr0"})
	if got, err := g.Disks[0].With(Properties{{"iops_wr", "300"}}); got != "local:100/vm-100-disk-0.qcow2,foo=bar,size=1G,iops_wr=300" || err != nil {
		t.Errorf("%q %v", got, err)
	}
	if got, err := g.Nets[0].With(Properties{{"rate", "12.5"}}, "queues"); got != "virtio=bc:24:11:00:00:01,bridge=vmbr0,rate=12.5" || err != nil {
		t.Errorf("%q %v", got, err)
	}
	for _, bad := range []Properties{{{"size", "2G"}}, {{"file", "x"}}, {{"a,b", "1"}}, {{"a", "1,b=2"}}, {{"", "x"}}, {{"a", ""}}} {
		if got, err := g.Disks[0].With(bad); err == nil {
			t.Errorf("%v: %q", bad, got)
		}
	}
	if _, err := g.Nets[0].With(Properties{{"virtio", "BC:24:11:00:00:02"}}); err == nil {
		t.Error("another MAC")
	}
	if _, err := g.Nets[1].With(Properties{{"rate", "1"}}); err == nil {
		t.Error("a card without a MAC would get a new one")
	}
	if g.FreePlace("scsi") != "scsi2" || g.FreePlace("virtio") != "virtio0" || g.FreePlace("foo") != "" {
		t.Errorf("%s %s %s", g.FreePlace("scsi"), g.FreePlace("virtio"), g.FreePlace("foo"))
	}
}

// What an option is set to reads back, everything else stays byte for byte and in its order, and taking the option away
// again leaves what there was without it.
func FuzzEditProperties(f *testing.F) {
	for _, raw := range slices.Concat(seeds(f, "disk"), seeds(f, "net")) {
		f.Add(raw, "iops_wr", "300", "rate")
	}
	f.Add("virtio=BC:24:11:00:00:01, bridge = vmbr0,,x,rate=1,rate=2,", "rate", "3", "bridge")
	f.Fuzz(func(t *testing.T, raw, key, value, gone string) {
		got, err := EditProperties(raw, Properties{{key, value}}, gone)
		if err != nil {
			if ReasonOf(err) != Parameter {
				t.Errorf("%v", err)
			}
			return
		}
		name := func(part string) string {
			k, _, has := strings.Cut(part, "=")
			if !has {
				return ""
			}
			return strings.TrimSpace(k)
		}
		others := func(s string) []string {
			return slices.DeleteFunc(strings.Split(s, ","), func(part string) bool { return name(part) == key || name(part) == gone && strings.Contains(part, "=") })
		}
		if diff := cmp.Diff(others(raw), others(got)); diff != "" {
			t.Errorf("%q became %q:\n%s", raw, got, diff)
		}
		if read, ok := ParseProperties(got).Get(key); !ok || read != value {
			t.Errorf("%q: %s reads %q", got, key, read)
		}
		for _, part := range strings.Split(got, ",") {
			if gone != "" && name(part) == gone {
				t.Errorf("%q still has %s", got, gone)
			}
		}
		if again, err := EditProperties(got, Properties{{key, value}}, gone); err != nil || again != got {
			t.Errorf("%q becomes %q when it is done twice", got, again)
		}
	})
}

// The table of privileges, for both releases and with everything asked for.
func TestDemands(t *testing.T) {
	t.Parallel()
	scene := Scene{VMID: 100, NewID: 200, Storages: []string{"data"}, Backup: "bk", Networks: []string{"vmbr0/7"}, Start: true}
	var b strings.Builder
	for _, a := range []Action{
		See, BackUp, RestoreOver, RestoreNew, Power, TakeSnapshot, RollBack, SetCPU, SetMemory, SetDisks, SetNetwork, SetOptions, SetCloudInit, CopyMachine, DestroyAll, AskAgent, UseAgent,
	} {
		for major := 8; major <= 9; major++ {
			demands := Demands(a, major, scene)
			if len(demands) == 0 {
				t.Errorf("%s needs nothing", a)
			}
			fmt.Fprintf(&b, "%d %s:", major, a)
			full := Permissions{}
			for _, d := range demands {
				fmt.Fprintf(&b, " %s %s;", d.Path, strings.Join(d.Any, "|"))
				if full[d.Path] == nil {
					full[d.Path] = map[string]bool{}
				}
				full[d.Path][d.Any[len(d.Any)-1]] = false
			}
			b.WriteByte('\n')
			if lacks := full.Lacks(demands); len(lacks) != 0 {
				t.Errorf("%d %s: lacks %v with all of it", major, a, lacks)
			}
			for _, d := range demands {
				less := maps.Clone(full)
				less[d.Path] = map[string]bool{}
				if lacks := less.Lacks(demands); len(lacks) == 0 || !cmp.Equal(lacks[0].Path, d.Path) {
					t.Errorf("%d %s: without %s it lacks %v", major, a, d.Path, lacks)
				}
			}
		}
	}
	golden(t, "demands.golden", b.String())
}
