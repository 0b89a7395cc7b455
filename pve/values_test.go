package pve

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestParseUPID(t *testing.T) {
	t.Parallel()
	got, err := ParseUPID(upidText)
	if err != nil {
		t.Fatal(err)
	}
	want := UPID{Node: "pve1", PID: 0x5B10, PStart: 0xB4F79, Start: time.Date(2026, 11, 20, 11, 1, 40, 0, time.UTC), Type: "vzdump", ID: "110", User: "portal@pve", Token: "api"}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(UPID{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got.String() != upidText || got.Owner() != "portal@pve!api" {
		t.Errorf("%s %s", got, got.Owner())
	}
	del := mustUPID("UPID:pve1:00005FEA:000B7C46:6B002907:imgdel:110@local:root@pam:")
	if vmid, ok := del.VMID(); vmid != 110 || !ok || del.Owner() != "root@pam" {
		t.Errorf("deletion: %d %v %s", vmid, ok, del.Owner())
	}
	if vmid, ok := mustUPID("UPID:pve1:00005FEA:000B7C46F:6B002907:vzdump::root@pam:").VMID(); ok {
		t.Errorf("a job over several machines is no machine's: %d", vmid)
	}
	for _, bad := range []string{
		"", "OK", "UPID:", "UPID:foo", upidText + "x", " " + upidText, upidText[:len(upidText)-1], strings.Replace(upidText, "00005B10", "5B10", 1),
		strings.Replace(upidText, "6B002894", "6B00289G", 1), strings.Replace(upidText, "pve1", "", 1), strings.Replace(upidText, "pve1", "../x", 1),
		strings.Replace(upidText, "vzdump", "vz dump", 1), strings.Replace(upidText, "110", "1/0", 1), upidText + "\n", strings.Replace(upidText, "portal@pve!api", "", 1),
	} {
		if u, err := ParseUPID(bad); err == nil {
			t.Errorf("%q was read as %+v", bad, u)
		}
	}
}

func TestUPIDInJSON(t *testing.T) {
	t.Parallel()
	type row struct{ A, B UPID }
	b, err := json.Marshal(row{A: upid})
	if err != nil || string(b) != `{"A":"`+upidText+`","B":""}` {
		t.Fatalf("%s %v", b, err)
	}
	var back row
	if err := json.Unmarshal(b, &back); err != nil || back.A != upid || !back.B.IsZero() {
		t.Errorf("%+v %v", back, err)
	}
	if json.Unmarshal([]byte(`{"A":"nonsense"}`), &back) == nil {
		t.Error("nonsense was read")
	}
}

func TestParseSize(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]int64{
		"5G": 5 << 30, "1536M": 1536 << 20, "67109K": 67109 << 10, "5368710120": 5368710120, "0T": 0, "2T": 2 << 40, "1.5G": 3 << 29, "0": 0, "1P": 1 << 50, " 8g ": 8 << 30,
		"": -1, "G": -1, "-1G": -1, "+1G": -1, "1e9": -1, "1.2.3G": -1, "9999999999T": -1, "0x10": -1, "5GB": -1, "1_000": -1, ".": -1, "1/2": -1,
	} {
		got, ok := ParseSize(s)
		if !ok {
			got = -1
		}
		if got != want {
			t.Errorf("ParseSize(%q) = %d, want %d", s, got, want)
		}
	}
	for s, want := range map[string]int64{
		"1.0 GiB": 1 << 30, "409.0 MiB": 409 << 20, "0 B": 0, "206KB": 206 << 10, "300MB": 300 << 20, "1.25GB": 5 << 28, "493B": 493, "19.3 MiB/s": 20237516,
		"": -1, "GiB": -1, "1.0 XiB": -1, "1.0 GiBs": -1, "-1 B": -1,
	} {
		got, ok := parseHumanSize(s)
		if !ok {
			got = -1
		}
		if got != want {
			t.Errorf("parseHumanSize(%q) = %d, want %d", s, got, want)
		}
	}
}

func TestProperties(t *testing.T) {
	t.Parallel()
	p := ParseProperties("local:100/vm-100-disk-0.qcow2,iops_wr=300, ,mbps_rd=20,size=1536M,serial=a=b")
	want := Properties{{"", "local:100/vm-100-disk-0.qcow2"}, {"iops_wr", "300"}, {"mbps_rd", "20"}, {"size", "1536M"}, {"serial", "a=b"}}
	if diff := cmp.Diff(want, p); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if s := p.String(); s != "local:100/vm-100-disk-0.qcow2,iops_wr=300,mbps_rd=20,size=1536M,serial=a=b" {
		t.Error(s)
	}
	if v, ok := p.Get("nope"); ok || v != "" {
		t.Error(v)
	}
	if d := parseDisk("scsi0", p.String()); d.Option("iops_wr") != "300" || d.SizeBytes != 1536<<20 || d.Storage != "local" {
		t.Errorf("%+v", d)
	}
	if d := parseDisk("scsi1", "/dev/disk/by-id/ata-x:1,size=1T"); d.Storage != "" || d.Volid != "/dev/disk/by-id/ata-x:1" || !d.Backup {
		t.Errorf("%+v", d)
	}
}

// Perl writes numbers as strings and strings as numbers as it likes.
func TestScalarsOfAnyKind(t *testing.T) {
	t.Parallel()
	var got struct {
		A, B, C, D, E, F whole
		G, H, I, J       truth
		K, L, M          text
		N, O             fraction
		P, Q, R          pairs
	}
	err := json.Unmarshal([]byte(`{"A":"110","B":110.9,"C":null,"D":{"x":1},"E":1e400,"F":"x","G":"0","H":1,"I":true,"J":null,
		"K":8.40,"L":["a"],"M":"é","N":"0.5","O":"NaN","P":{"keep-last":2,"keep-all":"0"},"Q":"keep-all=1","R":[1]}`), &got)
	if err != nil {
		t.Fatal(err)
	}
	if got.A != 110 || got.B != 110 || got.C != 0 || got.D != 0 || got.E != 0 || got.F != 0 {
		t.Errorf("numbers: %+v", got)
	}
	if got.G || !got.H || !got.I || got.J {
		t.Errorf("truths: %+v", got)
	}
	if got.K != "8.40" || got.L != "" || got.M != "é" || got.N != 0.5 || got.O != 0 {
		t.Errorf("texts: %+v", got)
	}
	if got.P != "keep-all=0,keep-last=2" || got.Q != "keep-all=1" || got.R != "" {
		t.Errorf("pairs: %+v", got)
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	good := Config{Endpoints: []string{"https://a", "https://[::1]:8006/", "http://127.0.0.1:1"}, TokenID: "u@pve!t", Secret: "s", Now: func() time.Time { return now },
		Fingerprints: []string{strings.Repeat("AB:", 31) + "AB"}}
	c, err := New(good)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if got := c.endpoints[0].ApiUrl; got != "https://a:8006/api2/json" {
		t.Error(got)
	}
	for name, spoil := range map[string]func(*Config){
		"no endpoint":     func(c *Config) { c.Endpoints = nil },
		"plain http":      func(c *Config) { c.Endpoints = []string{"http://pve.example:8006"} },
		"a path":          func(c *Config) { c.Endpoints = []string{"https://pve.example/api2"} },
		"a password":      func(c *Config) { c.Endpoints = []string{"https://u:p@pve.example"} },
		"no host":         func(c *Config) { c.Endpoints = []string{"https://:8006"} },
		"no scheme":       func(c *Config) { c.Endpoints = []string{"pve.example:8006"} },
		"no clock":        func(c *Config) { c.Now = nil },
		"no token":        func(c *Config) { c.TokenID = "root@pam" },
		"header smuggled": func(c *Config) { c.TokenID = "u@pve!t\r\nX: y" },
		"no secret":       func(c *Config) { c.Secret = "" },
		"secret smuggled": func(c *Config) { c.Secret = "a\r\nb" },
		"SHA-1":           func(c *Config) { c.Fingerprints = []string{"da39a3ee5e6b4b0d3255bfef95601890afd80709"} },
	} {
		bad := good
		spoil(&bad)
		if _, err := New(bad); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func FuzzParseUPID(f *testing.F) {
	for _, text := range seeds(f, "upid") {
		f.Add(text)
	}
	f.Add(upidText)
	f.Add("UPID:pve1:00005FEA:000B7C46F:6B002907:imgdel:110@local:root@pam:")
	f.Fuzz(func(t *testing.T, s string) {
		u, err := ParseUPID(s)
		if err != nil {
			return
		}
		if u.String() != s || u.IsZero() || u.Node == "" || strings.ContainsAny(s, "/ \n") {
			t.Errorf("%q: %+v", s, u)
		}
	})
}

func FuzzParseProperties(f *testing.F) {
	for _, kind := range []string{"property", "disk", "net"} {
		for _, text := range seeds(f, kind) {
			f.Add(text)
		}
	}
	f.Add("local:100/vm-100-disk-0.qcow2,iops_wr=300,size=1536M")
	f.Add("virtio=BC:24:11:5B:55:B9,bridge=vmbr0,rate=5,,=,")
	f.Fuzz(func(t *testing.T, s string) {
		p := ParseProperties(s)
		if diff := cmp.Diff(p, ParseProperties(p.String())); diff != "" {
			t.Errorf("%q isn't stable:\n%s", s, diff)
		}
		_, _ = parseDisk("scsi0", s), parseNet("net0", s)
		if n, ok := ParseSize(s); ok && n < 0 {
			t.Errorf("%q is %d bytes", s, n)
		}
		_, _ = parseHumanSize(s)
		_ = shellWords(s)
	})
}
