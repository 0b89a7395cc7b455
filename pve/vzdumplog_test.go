package pve

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type recordedLog struct {
	Origin string   `json:"origin"`
	Step   string   `json:"step"`
	Lines  []string `json:"lines"`
}

func asLines(texts ...string) []LogLine {
	var out []LogLine
	for i, s := range texts {
		out = append(out, LogLine{N: i + 1, Text: s})
	}
	return out
}

// Each kind of log that was recorded, as we read it. The golden file is the table to read.
func TestRecordedVzdumpLogs(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for _, r := range loadLines[recordedLog](t, "testdata/logs.jsonl") {
		l := ParseVzdumpLog(asLines(r.Lines...))
		text, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		var fields map[string]any
		if err := json.Unmarshal(text, &fields); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "== %s: %s\n", r.Origin, r.Step)
		for _, name := range sortedKeys(fields) {
			if v, _ := json.Marshal(fields[name]); !strings.Contains(` "" 0 false null `, " "+string(v)+" ") {
				fmt.Fprintf(&b, "%s: %s\n", name, v)
			}
		}
		fmt.Fprintf(&b, "consistent: %v\n", l.Consistent())
		if reason, ok := Refusal("job errors", l); ok {
			fmt.Fprintf(&b, "merely refused: %s\n", reason)
		}
	}
	golden(t, "logs.golden", b.String())
}

// The whole of one log by hand: 9.2, a running machine, our mark.
func TestVzdumpLogOfAGoodBackup(t *testing.T) {
	t.Parallel()
	lines := asLines(
		"INFO: starting new backup job: vzdump 110 --notes-template stowage:01J:svc:op:abc --storage local --lockwait 720 --node pve1 --remove 0 --compress zstd --mode snapshot",
		"INFO: Starting Backup of VM 110 (qemu)",
		"INFO: Backup started at 2026-11-20 11:01:39",
		"INFO: status = running",
		"INFO: VM Name: data110",
		"INFO: include disk 'scsi0' 'local:110/vm-110-disk-0.qcow2' 1G",
		"INFO: exclude disk 'scsi1' 'local:110/vm-110-disk-1.qcow2' (backup=no)",
		"INFO: include disk 'scsi2' 'ceph:vm-110-disk-2' 67109K",
		"INFO: backup mode: snapshot",
		"INFO: ionice priority: 7",
		"INFO: creating vzdump archive '/var/lib/vz/dump/vzdump-qemu-110-2026_11_20-11_01_39.vma.zst'",
		"INFO: issuing guest-agent 'fs-freeze' command",
		"INFO: issuing guest-agent 'fs-thaw' command",
		"INFO: started backup task '69785825-b726-47cf-be29-f529b82aa822'",
		"INFO: resuming VM again",
		"INFO:  39% (409.0 MiB of 1.0 GiB) in 21s, read: 19.3 MiB/s, write: 0 B/s",
	)
	want := VzdumpLog{
		Mark: "stowage:01J:svc:op:abc", Storage: "local", VMID: 110,
		Archive: "local:backup/vzdump-qemu-110-2026_11_20-11_01_39.vma.zst", Path: "/var/lib/vz/dump/vzdump-qemu-110-2026_11_20-11_01_39.vma.zst",
		Mode: "snapshot", FSFreeze: Frozen,
		Disks: []VzdumpDisk{
			{Key: "scsi0", Volid: "local:110/vm-110-disk-0.qcow2", SizeBytes: 1 << 30, Included: true},
			{Key: "scsi1", Volid: "local:110/vm-110-disk-1.qcow2", Why: "backup=no"},
			{Key: "scsi2", Volid: "ceph:vm-110-disk-2", SizeBytes: 67109 << 10, Included: true},
		},
		Percent: 39, TransferredBytes: 409 << 20, TotalBytes: 1 << 30, ReadRate: 20237516,
	}
	if diff := cmp.Diff(want, ParseVzdumpLog(lines)); diff != "" {
		t.Fatalf("half-way (-want +got):\n%s", diff)
	}
	lines = append(lines, asLines(
		"INFO: 100% (1.0 GiB of 1.0 GiB) in 50s, read: 512.0 MiB/s, write: 150.0 MiB/s",
		"INFO: backup is sparse: 724.00 MiB (70%) total zero data",
		"INFO: transferred 1.00 GiB in 50 seconds (20.5 MiB/s)",
		"INFO: archive file size: 1.25GB",
		"INFO: adding notes to backup",
		"INFO: Finished Backup of VM 110 (00:00:52)",
		"INFO: Backup finished at 2026-11-20 11:02:31",
		"INFO: Backup job finished successfully",
		"ERROR: could not notify via target 'mail'",
		"TASK OK",
	)...)
	want.Percent, want.TransferredBytes, want.ReadRate, want.WriteRate = 100, 1<<30, 512<<20, 150<<20
	want.SizeBytes, want.Finished, want.Ended = 5<<28, true, true
	if diff := cmp.Diff(want, ParseVzdumpLog(lines)); diff != "" {
		t.Errorf("ended (-want +got):\n%s", diff)
	}
}

// A Proxmox Backup Server wasn't recorded; the wording is known from the sources.
func TestVzdumpLogOfABackupServer(t *testing.T) {
	t.Parallel()
	l := ParseVzdumpLog(asLines(
		"INFO: starting new backup job: vzdump 110 --storage pbs --notes-template 'a b'\\''c' --node pve1",
		"INFO: Starting Backup of VM 110 (qemu)",
		"INFO: status = running",
		"INFO: backup mode: snapshot",
		"INFO: creating Proxmox Backup Server archive 'vm/110/2026-11-20T09:38:53Z'",
		"INFO: issuing guest-agent 'fs-freeze' command",
		"ERROR: VM 110 qmp command 'guest-fsfreeze-freeze' failed - got timeout",
		"INFO: started backup task '69785825-b726-47cf-be29-f529b82aa822'",
		"INFO:  12% (5.1 GiB of 40.0 GiB) in 3s, read: 1.7 GiB/s, write: 12.0 MiB/s",
	))
	if l.Archive != "pbs:backup/vm/110/2026-11-20T09:38:53Z" || l.Mark != "a b'c" || l.FSFreeze != FreezeFailed || l.ErrorText != "" || l.Consistent() {
		t.Errorf("%+v", l)
	}
	if l.Percent != 12 || l.TotalBytes != 40<<30 {
		t.Errorf("progress: %+v", l)
	}
}

func TestRefusalsAreOnlyLocks(t *testing.T) {
	t.Parallel()
	for _, k := range []struct {
		exit   string
		lines  []string
		reason Reason
		ok     bool
	}{
		{"job errors", []string{"INFO: starting new backup job: vzdump 110", "INFO: Starting Backup of VM 110 (qemu)", "ERROR: Backup of VM 110 failed - VM is locked (backup)", "TASK ERROR: job errors"}, Locked, true},
		{"job errors", []string{"INFO: Starting Backup of VM 110 (qemu)", "ERROR: Backup of VM 110 failed - can't lock file '/var/lock/qemu-server/lock-110.conf' - got timeout", "TASK ERROR: job errors"}, LockFile, true},
		{"unexpected status", []string{"ERROR: can't acquire lock '/var/run/vzdump.lock' (wait = 0)"}, LockFile, true},
		{"can't lock file '/var/lock/qemu-server/lock-200.conf' - got timeout", nil, LockFile, true},
		{"VM is locked (snapshot)", nil, Locked, true},
		{"unexpected status", []string{"INFO: trying to get global lock - waiting...", "ERROR: can't acquire lock '/var/run/vzdump.lock' - interrupted by signal"}, "", false},
		{"unexpected status", nil, "", false},
		{"job errors", []string{"INFO: Starting Backup of VM 110 (qemu)", "ERROR: Backup of VM 110 failed - vma_queue_write: write error - Broken pipe"}, "", false},
		{"job errors", []string{"ERROR: Backup of VM 101 failed - There is a max backup limit of 2 enforced by the target storage or the vzdump parameters."}, "", false},
		{"403 Permission check failed (/vms/100, VM.Backup)", nil, "", false},
		{"OK", []string{"WARN: VM is locked (backup)"}, "", false},
		{"WARNINGS: 1", nil, "", false},
	} {
		reason, ok := Refusal(k.exit, ParseVzdumpLog(asLines(k.lines...)))
		if reason != k.reason || ok != k.ok {
			t.Errorf("%s %q: %q %v, want %q %v", k.exit, k.lines, reason, ok, k.reason, k.ok)
		}
	}
}

func TestMeaningOfATasksEnd(t *testing.T) {
	t.Parallel()
	for exit, want := range map[string]struct {
		Class  Class
		Reason Reason
	}{
		"OK": {}, "WARNINGS: 2": {}, "job errors": {},
		"cannot remove protected volume 'backup/x' on 'local'":      {Refused, Protected},
		"403 Permission check failed (/vms/100, VM.Backup)":         {Refused, Permission},
		"unable to find configuration file for VM 120 on node 'p1'": {Gone, ""},
		"There is a max backup limit of 2 enforced by the target":   {Refused, Quota},
		"can't lock file '/x' - got timeout":                        {Refused, LockFile},
	} {
		if class, reason := Meaning(exit); class != want.Class || reason != want.Reason {
			t.Errorf("%s: %q %q", exit, class, reason)
		}
	}
}

// Every log in the recordings: what can be seen by looking for a word is seen by the reader.
func TestAllRecordedVzdumpLogs(t *testing.T) {
	t.Parallel()
	size := regexp.MustCompile(`archive file size: [1-9]`)
	n := 0
	for _, file := range recordings(t) {
		for _, r := range loadLines[recordedLine](t, file) {
			if !strings.Contains(r.Path, "Avzdump%3A") || !strings.HasSuffix(r.Path, "/log") {
				continue
			}
			var body struct {
				Data []struct {
					N int
					T string
				}
			}
			if json.Unmarshal(r.Body, &body) != nil {
				continue
			}
			var lines []LogLine
			var all strings.Builder
			for _, d := range body.Data {
				lines = append(lines, LogLine{d.N, d.T})
				all.WriteString(d.T + "\n")
			}
			n++
			text, l := all.String(), ParseVzdumpLog(lines)
			whole := strings.Contains(text, "TASK ") && strings.Count(text, "Starting Backup of VM") <= 1
			check := func(what string, got, want bool) {
				if got != want {
					t.Errorf("%s, %s: %s is %v\n%s", file, r.Step, what, got, text)
				}
			}
			check("Finished", l.Finished, strings.Contains(text, "Finished Backup of VM"))
			check("Ended", l.Ended, strings.Contains(text, "TASK "))
			check("stopped guest", l.GuestWasStopped, strings.Contains(text, "status = stopped"))
			check("a mode", l.Mode != "", strings.Contains(text, "backup mode: "))
			check("a path", l.Path != "", strings.Contains(text, "creating vzdump archive"))
			check("a mark", l.Mark != "", strings.Contains(text, "--notes-template"))
			check("a size", l.SizeBytes != 0, size.MatchString(text))
			check("disks", len(l.Disks) > 0, strings.Contains(text, "clude disk '"))
			if whole {
				check("an error", l.ErrorText != "", strings.Contains(text, "ERROR: "))
				check("warnings", len(l.Warnings) > 0, strings.Contains(text, "TASK WARNINGS"))
				_, refused := Refusal("job errors", l)
				check("a refusal", refused, strings.Contains(text, "VM is locked (") || strings.Contains(text, "(wait = 0)") || strings.Contains(text, "can't lock file"))
			}
			if l.Path != "" {
				check("the archive's storage", strings.HasPrefix(l.Archive, l.Storage+":backup/vzdump-qemu-") && l.Storage != "", !strings.Contains(l.Path, "--dumpdir") && strings.Contains(text, "--storage"))
			}
		}
	}
	if n < 150 {
		t.Errorf("only %d logs in the recordings", n)
	}
}

func TestVolidOfPath(t *testing.T) {
	t.Parallel()
	for _, k := range []struct{ storage, path, want string }{
		{"local", "/var/lib/vz/dump/vzdump-qemu-110-2026_11_20-09_38_53.vma.zst", "local:backup/vzdump-qemu-110-2026_11_20-09_38_53.vma.zst"},
		{"nfs", "/mnt/pve/nfs/dump/vzdump-lxc-7-2026_11_20-09_38_53.tar.gz", "nfs:backup/vzdump-lxc-7-2026_11_20-09_38_53.tar.gz"},
		{"pbs", "vm/110/2026-11-20T09:38:53Z", "pbs:backup/vm/110/2026-11-20T09:38:53Z"},
		{"pbs", "ct/110/2026-11-20T09:38:53Z", "pbs:backup/ct/110/2026-11-20T09:38:53Z"},
		{"local", "/var/lib/vz/dump/vzdump-qemu-110-2026_11_20-09_38_53.tmp/../../etc/passwd", ""},
		{"local", "/var/lib/vz/dump/foo.vma", ""}, {"", "vm/110/2026-11-20T09:38:53Z", ""}, {"a:b", "vm/110/2026-11-20T09:38:53Z", ""}, {"local", "", ""},
	} {
		got, ok := VolidOfPath(k.storage, k.path)
		if got != k.want || ok != (k.want != "") {
			t.Errorf("VolidOfPath(%q, %q) = %q, %v", k.storage, k.path, got, ok)
		}
	}
}

func FuzzParseVzdumpLog(f *testing.F) {
	for _, text := range seeds(f, "log") {
		f.Add(text)
	}
	if b, err := os.ReadFile("testdata/logs.jsonl"); err == nil {
		for _, line := range strings.SplitN(string(b), "\n", 12)[:11] {
			var r recordedLog
			if json.Unmarshal([]byte(line), &r) == nil {
				f.Add(strings.Join(r.Lines, "\n"))
			}
		}
	}
	f.Add("INFO: starting new backup job: vzdump --notes-template '\\\nERROR: \nTASK ERROR: ")
	f.Fuzz(func(t *testing.T, text string) {
		l := ParseVzdumpLog(asLines(strings.Split(text, "\n")...))
		if last := byLastProgress(strings.Split(text, "\n")); !cmp.Equal(l, last) {
			t.Errorf("lines that were passed over count: %s", cmp.Diff(last, l))
		}
		if l.Percent < 0 || l.Percent > 100 || l.TransferredBytes < 0 || l.TotalBytes < 0 || l.SizeBytes < 0 {
			t.Errorf("%+v", l)
		}
		if reason, ok := Refusal("job errors", l); ok && (l.Finished || reason != Locked && reason != LockFile) {
			t.Errorf("refusal %s of %+v", reason, l)
		}
	})
}

// byLastProgress reads a log with all lines about progress but the last taken out beforehand.
func byLastProgress(lines []string) VzdumpLog {
	last := -1
	for i, text := range lines {
		if strings.HasPrefix(text, "INFO: ") && logProgress.MatchString(text[len("INFO: "):]) {
			last = i
		}
	}
	var kept []string
	for i, text := range lines {
		if i < last && strings.HasPrefix(text, "INFO: ") && logProgress.MatchString(text[len("INFO: "):]) {
			text = "INFO:  "
		}
		kept = append(kept, text)
	}
	return ParseVzdumpLog(asLines(kept...))
}
