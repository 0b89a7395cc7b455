package pve

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// seeds gives what a real Proxmox VE answered, by kind. Origins stand beside each.
func seeds(f *testing.F, kind string) (texts []string) {
	f.Helper()
	for _, s := range loadLines[struct{ Origin, Kind, Text string }](f, "testdata/seeds.jsonl") {
		if s.Kind == kind {
			texts = append(texts, s.Text)
		}
	}
	if len(texts) == 0 {
		f.Fatalf("no seeds of the kind %s", kind)
	}
	return texts
}

func FuzzReadGuestConfig(f *testing.F) {
	for _, text := range seeds(f, "config") {
		f.Add(text)
	}
	f.Add("scsi0: none,media=cdrom\nscsi99999999999: x\nunused0: \nnet-1: x\nide2: local:iso/x.iso,media=cdrom\nsmbios1: uuid=,uuid=x\nmeta: ctime=-1")
	f.Fuzz(func(t *testing.T, text string) {
		raw := map[string]string{}
		for line := range strings.SplitSeq(text, "\n") {
			key, value, _ := strings.Cut(line, ": ")
			raw[key] = value
		}
		g := ReadGuestConfig(raw)
		if diff := cmp.Diff(g, ReadGuestConfig(raw)); diff != "" {
			t.Errorf("read twice, it differs: %s", diff)
		}
		seen := map[string]bool{}
		for i, d := range g.Disks {
			if raw[d.Key] != d.Raw || d.SizeBytes < 0 || seen[d.Key] || i > 0 && byKeyNumber(g.Disks[i-1].Key, d.Key) > 0 {
				t.Errorf("disk %d: %+v", i, d)
			}
			seen[d.Key] = true
		}
		for i, n := range g.Nets {
			if raw[n.Key] != n.Raw || n.Rate < 0 || n.MAC != strings.ToUpper(n.MAC) || seen[n.Key] || i > 0 && byKeyNumber(g.Nets[i-1].Key, n.Key) > 0 {
				t.Errorf("network card %d: %+v", i, n)
			}
			seen[n.Key] = true
		}
		for _, d := range g.BackedUpDisks() {
			if !d.Backup || d.CDROM || !slices.ContainsFunc(g.Disks, func(o Disk) bool { return o.Key == d.Key }) {
				t.Errorf("backed up: %+v", d)
			}
		}
		if g.Stump() && (len(g.Disks) > 0 || len(g.Nets) > 0 || g.UUID != "" || g.Name != "") {
			t.Errorf("a stump with something in it: %+v", g)
		}
		if !g.MetaCTime.IsZero() && g.MetaCTime.Unix() <= 0 {
			t.Errorf("made at %v", g.MetaCTime)
		}
	})
}

func FuzzParseDisk(f *testing.F) {
	for _, text := range seeds(f, "disk") {
		f.Add("scsi0", text)
	}
	f.Add("ide2", "none,media=cdrom")
	f.Add("virtio0", "/dev/disk/by-id/x,size=1.5G,backup=no,iops_wr=300")
	f.Fuzz(func(t *testing.T, key, raw string) {
		d := parseDisk(key, raw)
		if d.Key != key || d.Raw != raw || d.SizeBytes < 0 {
			t.Errorf("%+v", d)
		}
		if d.Storage != "" && (!strings.HasPrefix(d.Volid, d.Storage+":") || strings.HasPrefix(d.Volid, "/")) {
			t.Errorf("the volume %q is not on %q", d.Volid, d.Storage)
		}
		if again := parseDisk(key, ParseProperties(raw).String()); again.Volid != d.Volid || again.Storage != d.Storage || again.SizeBytes != d.SizeBytes || again.Backup != d.Backup || again.CDROM != d.CDROM {
			t.Errorf("written and read again: %+v, %+v", d, again)
		}
		if v, ok := ParseProperties(raw).Get("size"); ok && d.Option("size") != v {
			t.Errorf("size %q, option %q", v, d.Option("size"))
		}
	})
}

func FuzzParseNet(f *testing.F) {
	for _, text := range seeds(f, "net") {
		f.Add(text)
	}
	f.Add("model=e1000,macaddr=bc:24:11:00:00:01,bridge=vmbr0,tag=99999999999999999999,rate=NaN")
	f.Add("virtio,rate=-1,rate=1e309")
	f.Fuzz(func(t *testing.T, raw string) {
		n := parseNet("net0", raw)
		if n.Raw != raw || !(n.Rate >= 0) || math.IsInf(n.Rate, 0) || n.MAC != strings.ToUpper(n.MAC) {
			t.Errorf("%+v", n)
		}
		again := parseNet("net0", ParseProperties(raw).String())
		if again.Raw = raw; cmp.Diff(n, again) != "" {
			t.Errorf("written and read again: %s", cmp.Diff(n, again))
		}
	})
}

func FuzzSizes(f *testing.F) {
	for _, text := range []string{"5G", "1536M", "67109K", "5368710120", "1.5G", "1.0 GiB", "409.0 MiB", "206KB", "0 B", "1.5 GiB/s", "9223372036854775807", "8P"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if n, ok := ParseSize(text); ok {
			if n < 0 {
				t.Errorf("%q is %d bytes", text, n)
			}
			if again, ok := ParseSize(fmt.Sprint(n)); !ok || again != n {
				t.Errorf("%q: %d bytes, again %d", text, n, again)
			}
			for unit, factor := range map[string]int64{"K": 1 << 10, "M": 1 << 20} {
				if whole, ok := ParseSize(fmt.Sprint(n) + unit); ok && whole != n*factor {
					t.Errorf("%d%s is %d", n, unit, whole)
				}
			}
		}
		if n, ok := parseHumanSize(text); ok && n < 0 {
			t.Errorf("%q is %d bytes", text, n)
		}
	})
}

func FuzzArchives(f *testing.F) {
	for _, body := range seeds(f, "listing") {
		f.Add([]byte(body))
	}
	f.Add([]byte(`{"data":[{"volid":"pbs:backup/vm/110/2026-11-20T09:38:53Z","verification":{"state":"ok"},"encrypted":"ab:cd","content":"backup","notes":"a\r\nb"},{"volid":"local:backup/vzdump-qemu-110-2026_11_20-09_38_53.vma.zst","vmid":"7","ctime":"1795166797","size":1e18}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		c := clientOver(t, always(200, "OK", string(body)))
		got, err := c.Archives(context.Background(), "pve1", "local", 0)
		if err != nil {
			if len(got) > 0 || ClassOf(err) == "" {
				t.Errorf("%d archives and %v", len(got), err)
			}
			return
		}
		for i, a := range got {
			if a.Volid == "" || strings.Contains(a.NotesLine, "\n") || i > 0 && got[i-1].Volid > a.Volid || !a.CTime.IsZero() && a.CTime.Unix() <= 0 {
				t.Errorf("archive %d: %+v", i, a)
			}
		}
	})
}

func FuzzVolidOfPath(f *testing.F) {
	for _, log := range seeds(f, "log") {
		for line := range strings.SplitSeq(log, "\n") {
			if m := logArchive.FindStringSubmatch(strings.TrimPrefix(line, "INFO: ")); m != nil {
				f.Add("local", m[1])
			}
		}
	}
	f.Add("pbs", "vm/110/2026-11-20T09:38:53Z")
	f.Add("pbs", "backup/ct/1/9999-99-99T99:99:99Z")
	f.Fuzz(func(t *testing.T, storage, path string) {
		volid, ok := VolidOfPath(storage, path)
		if !ok {
			if volid != "" {
				t.Errorf("%q without being one", volid)
			}
			return
		}
		name, found := strings.CutPrefix(volid, storage+":backup/")
		if !found || strings.Contains(name, "..") && strings.Contains(name, "/..") || strings.ContainsAny(volid, " \n\x00'\"") || !strings.HasSuffix(path, name) {
			t.Errorf("%q of %q", volid, path)
		}
		a := Archive{Volid: volid}
		a.fromVolid()
		if a.VMID < 0 || a.Subtype != "qemu" && a.Subtype != "lxc" || a.Format == "" {
			t.Errorf("%+v", a)
		}
		if again, ok := VolidOfPath(storage, name); !ok || again != volid {
			t.Errorf("%q, again %q", volid, again)
		}
	})
}

func FuzzShellWords(f *testing.F) {
	for _, log := range seeds(f, "log") {
		first, _, _ := strings.Cut(log, "\n")
		f.Add(first)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if !strings.Contains(line, "\ufffd") && strings.ToValidUTF8(line, "\ufffd") != line {
			return // logs come as JSON: they are text
		}
		words := shellWords(line)
		quoted := make([]string, len(words))
		for i, w := range words {
			quoted[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
		if diff := cmp.Diff(words, shellWords(strings.Join(quoted, " "))); diff != "" {
			t.Errorf("%q quoted and read again: %s", line, diff)
		}
	})
}

func FuzzTaskLog(f *testing.F) {
	f.Add([]byte(`{"data":[{"n":1,"t":"INFO: x"},{"n":"2","t":null}],"total":2}`))
	f.Add([]byte(`{"data":{"n":1,"t":"unable to open file - No such file or directory"},"total":1}`))
	f.Add([]byte(`{"data":[{"n":1,"t":"no content"}],"total":1}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		c := clientOver(t, always(200, "OK", string(body)))
		lines, _, err := c.TaskLog(context.Background(), upid, 0, 100)
		if err != nil && (len(lines) > 0 || ClassOf(err) == "") {
			t.Errorf("%d lines and %v", len(lines), err)
		}
		_ = ParseVzdumpLog(lines)
	})
}

func FuzzTasks(f *testing.F) {
	for _, text := range seeds(f, "upid") {
		f.Add([]byte(`{"data":[{"upid":"` + text + `","status":"OK","endtime":1795166797,"user":"root@pam"},{"upid":"` + text + `"}]}`))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		c := clientOver(t, always(200, "OK", string(body)))
		got, err := c.Tasks(context.Background(), "pve1", TaskFilter{})
		if err != nil && (len(got) > 0 || ClassOf(err) == "") {
			t.Errorf("%d tasks and %v", len(got), err)
		}
		for _, k := range got {
			if k.UPID.IsZero() || k.Node != k.UPID.Node || k.Running && (k.Failed() || !k.End.IsZero()) || k.Start != k.UPID.Start {
				t.Errorf("%+v", k)
			}
		}
	})
}

func FuzzTrust(f *testing.F) {
	f.Add("https://pve1.example:8006", "AB:CD")
	f.Add("http://127.0.0.1", strings.Repeat("ab:", 31)+"ab")
	f.Add("https://[::1]:8006/", strings.Repeat("AB", 32))
	f.Fuzz(func(t *testing.T, endpoint, fingerprint string) {
		if u, err := readEndpoint(endpoint, false); err == nil {
			again, err := readEndpoint(u.String(), false)
			if err != nil || again.String() != u.String() || u.Port() == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Scheme != "https" && u.Scheme != "http" {
				t.Errorf("%q: %q, again %v, %v", endpoint, u, again, err)
			}
		}
		if pins, err := readFingerprints([]string{fingerprint}); err == nil {
			again, err := readFingerprints(pins)
			if err != nil || !slices.Equal(again, pins) {
				t.Errorf("%q: %q, again %q, %v", fingerprint, pins, again, err)
			}
		}
	})
}

// FuzzUPIDParts makes UPIDs out of parts, so that what reads them is reached more often than by chance.
func FuzzUPIDParts(f *testing.F) {
	f.Add("pve1", uint32(24298), uint64(0xB7C46F), uint32(1795166471), "imgdel", "110@local", "root@pam")
	f.Add("n-1", uint32(1), uint64(1), uint32(1), "vzdump", "", "portal@pve!api")
	f.Fuzz(func(t *testing.T, node string, pid uint32, pstart uint64, start uint32, kind, id, user string) {
		text := fmt.Sprintf("UPID:%s:%08X:%08X:%08X:%s:%s:%s:", node, pid, pstart%(1<<36), start, kind, id, user)
		u, err := ParseUPID(text)
		if err != nil {
			return
		}
		if u.String() != text || u.PID != int(pid) || u.PStart != pstart%(1<<36) || !u.Start.Equal(time.Unix(int64(start), 0)) || u.Owner() != user {
			t.Errorf("%q: %+v", text, u)
		}
		if n, ok := u.VMID(); ok && n <= 0 {
			t.Errorf("%q: vmid %d", text, n)
		}
		var again UPID
		if raw, err := u.MarshalText(); err != nil || again.UnmarshalText(raw) != nil || again != u {
			t.Errorf("%q does not come back", text)
		}
	})
}
