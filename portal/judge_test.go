package portal

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestJudge(t *testing.T) {
	t.Parallel()
	good := BackupResult{TaskOK: true, Listed: true, LogTotal: 1 << 30, DisksTotal: 1 << 30, Size: 300 << 20}
	var out strings.Builder
	for _, c := range []struct {
		story  string
		change func(*BackupResult)
		want   Class
	}{
		{"all is well", func(*BackupResult) {}, ClassGood},
		{"with warnings", func(r *BackupResult) { r.Warnings = 2 }, ClassGood},
		{"the task failed, though an archive is listed", func(r *BackupResult) { r.TaskOK = false }, ClassFailed},
		{"OK without an archive", func(r *BackupResult) { r.Listed = false }, ClassFailed},
		{"no disk included: 495 bytes and TASK OK", func(r *BackupResult) { r.Size, r.LogTotal, r.DisksTotal = 495, 0, 0 }, ClassPartial},
		{"4 KiB is nothing", func(r *BackupResult) { r.Size = 4096 }, ClassPartial},
		{"a nearly empty disk is honest", func(r *BackupResult) { r.Size = 35 << 10 }, ClassGood},
		{"a disk is missing", func(r *BackupResult) { r.DisksTotal = 3 << 30 }, ClassPartial},
		{"the log says nothing", func(r *BackupResult) { r.LogTotal = 0 }, ClassPartial},
		{"the check failed", func(r *BackupResult) { r.VerifyFailed = true }, ClassSuspect},
		{"just a tenth of the last one", func(r *BackupResult) { r.PreviousComplete = 3000 << 20 }, ClassGood},
		{"less than a tenth of the last one", func(r *BackupResult) { r.PreviousComplete = 3000<<20 + 1 }, ClassSuspect},
		{"much larger than the last one", func(r *BackupResult) { r.PreviousComplete = 1 << 20 }, ClassGood},
	} {
		r := good
		c.change(&r)
		class, reason := Judge(r)
		if class != c.want {
			t.Errorf("%s: %s, want %s", c.story, class, c.want)
		}
		fmt.Fprintf(&out, "%s: %s. %s\n", c.story, class, reason)
	}
	golden(t, "judge.txt", out.String())
}

func TestJudgeOfAnySizes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := BackupResult{
			TaskOK: true, Listed: true, LogTotal: 1 << 40, DisksTotal: 1 << 40,
			Size: rapid.Int64Range(4097, 1<<60).Draw(t, "size"), PreviousComplete: rapid.Int64Range(0, 1<<62).Draw(t, "previous"),
		}
		class, reason := Judge(r)
		small := float64(r.Size) < 0.0999*float64(r.PreviousComplete)
		large := float64(r.Size) > 0.1001*float64(r.PreviousComplete)
		if small && class != ClassSuspect || large && class != ClassGood || class == ClassSuspect && reason == "" {
			t.Fatalf("%d after %d: %s %s", r.Size, r.PreviousComplete, class, reason)
		}
	})
}

func TestBrake(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		deleted, usual int
		want           bool
	}{{0, 0, false}, {10, 0, false}, {11, 0, true}, {40, 20, false}, {41, 20, true}, {10, 5, false}} {
		if got := Brake(c.deleted, c.usual); got != c.want {
			t.Errorf("%d deleted, %d usual: %v", c.deleted, c.usual, got)
		}
	}
}

func TestJudgeListing(t *testing.T) {
	t.Parallel()
	start := mustTime(t, "2026-11-20 02:00")
	full := Listing{At: start, Answered: true, ActiveBefore: true, ActiveAfter: true, TotalBefore: 1000, TotalAfter: 1000, RightsSeen: true, KnownTotal: 1000}
	with := func(change func(*Listing)) Listing { l := full; change(&l); return l }
	expect := func(n int) (all []ExpectedCopy, volids []string) {
		for i := range n {
			id := fmt.Sprintf("%02d", i)
			all, volids = append(all, ExpectedCopy{UID: id, Volid: "v" + id}), append(volids, "v"+id)
		}
		return all, volids
	}
	ten, volids := expect(10)

	for story, l := range map[string]Listing{
		"no answer":             with(func(l *Listing) { l.Answered = false }),
		"not active before":     with(func(l *Listing) { l.ActiveBefore = false }),
		"not active after":      with(func(l *Listing) { l.ActiveAfter = false }),
		"no size":               with(func(l *Listing) { l.TotalAfter = 0 }),
		"rights not seen":       with(func(l *Listing) { l.RightsSeen = false }),
		"size changed meantime": with(func(l *Listing) { l.TotalAfter = 2000 }),
	} {
		l.Volids = volids[:3]
		if v := JudgeListing(l, ten); v.Authoritative || v.Doubt == "" || v.Absent != nil || v.Missing != nil || v.TrustTotal {
			t.Errorf("%s: %+v", story, v)
		}
	}

	l := with(func(l *Listing) { l.Volids = append([]string{"somebody else's"}, volids...) })
	if v := JudgeListing(l, ten); !v.Authoritative || !v.TrustTotal || v.Doubt != "" {
		t.Errorf("all are there: %+v", v)
	}
	if v := JudgeListing(full, nil); !v.Authoritative {
		t.Errorf("nothing is expected: %+v", v)
	}
	grown := with(func(l *Listing) { l.Volids, l.TotalBefore, l.TotalAfter = volids, 2000, 2000 })
	if v := JudgeListing(grown, ten); !v.Authoritative || !v.TrustTotal {
		t.Errorf("the storage was enlarged and all are there: %+v", v)
	}
	if v := JudgeListing(grown, nil); v.Authoritative || v.TrustTotal || !v.Confirm {
		t.Errorf("its size jumped and nothing vouches for it: %+v", v)
	}
	grown.Confirmed = true
	if v := JudgeListing(grown, nil); !v.TrustTotal || v.Confirm {
		t.Errorf("its size jumped and staff confirm it: %+v", v)
	}

	// One vanishes: believed at the third look, ten minutes after the first.
	copies := append([]ExpectedCopy(nil), ten...)
	var got []string
	for _, minute := range []int{0, 4, 8, 12} {
		l := with(func(l *Listing) { l.At, l.Volids = start.Add(time.Duration(minute)*time.Minute), volids[1:] })
		v := JudgeListing(l, copies)
		got = append(got, fmt.Sprintf("%d min: %v %v", minute, v.Authoritative, v.Missing))
		for _, a := range v.Absent {
			copies[0].AbsentSince, copies[0].AbsentLooks = a.Since, a.Looks
		}
	}
	if diff := cmp.Diff([]string{"0 min: false []", "4 min: false []", "8 min: false []", "12 min: false [00]"}, got); diff != "" {
		t.Error(diff)
	}
	back := with(func(l *Listing) { l.Volids = volids })
	if v := JudgeListing(back, copies); !v.Authoritative || !cmp.Equal(v.Back, []string{"00"}) {
		t.Errorf("it is back: %+v", v)
	}
	copies[0].Believed = true
	if v := JudgeListing(with(func(l *Listing) { l.Volids = volids[1:] }), copies); !v.Authoritative {
		t.Errorf("one that is believed missing is expected no more: %+v", v)
	}
	if v := JudgeListing(back, copies); !cmp.Equal(v.Back, []string{"00"}) {
		t.Errorf("it is back after all: %+v", v)
	}

	for _, c := range []struct {
		story           string
		expected, gone  int
		total           int64
		confirmed       bool
		confirm, counts bool
	}{
		{"three of three", 3, 3, 1000, false, false, true},
		{"four of four", 4, 4, 1000, false, true, false},
		{"four of twenty: no more than 20 %", 20, 4, 1000, false, false, true},
		{"five of twenty", 20, 5, 1000, false, true, false},
		{"five of twenty, confirmed", 20, 5, 1000, true, false, true},
		{"one, and the size jumped", 20, 1, 400, false, true, false},
		{"one, and the size jumped, confirmed", 20, 1, 400, true, false, true},
		{"one, and the size moved a little", 20, 1, 950, false, false, true},
	} {
		expected, volids := expect(c.expected)
		for i := range expected {
			expected[i].AbsentLooks, expected[i].AbsentSince = 2, start.Add(-time.Hour)
		}
		l := with(func(l *Listing) {
			l.Volids, l.TotalBefore, l.TotalAfter, l.Confirmed = volids[c.gone:], c.total, c.total, c.confirmed
		})
		v := JudgeListing(l, expected)
		missing := 0
		if c.counts {
			missing = c.gone
		}
		if v.Authoritative || v.Confirm != c.confirm || len(v.Absent) != missing || len(v.Missing) != missing || v.Doubt == "" {
			t.Errorf("%s: %+v", c.story, v)
		}
	}
}

func TestFreeSpace(t *testing.T) {
	t.Parallel()
	const gib = 1 << 30
	var out strings.Builder
	for _, c := range []struct {
		story string
		space Space
		want  bool
	}{
		{"plenty", Space{Total: 100 * gib, Free: 50 * gib, LastSize: 10 * gib, DisksTotal: 40 * gib}, true},
		{"just enough", Space{Total: 100 * gib, Free: 12 * gib, LastSize: 10 * gib}, true},
		{"a byte too little", Space{Total: 100 * gib, Free: 12*gib - 1, LastSize: 10 * gib}, false},
		{"the copy that goes first makes room", Space{Total: 100 * gib, Free: 2 * gib, Victim: 10 * gib, LastSize: 10 * gib}, true},
		{"others write there", Space{Total: 100 * gib, Free: 20 * gib, BeingWritten: 9 * gib, LastSize: 10 * gib}, false},
		{"the first backup: a tenth of the disks", Space{Total: 100 * gib, Free: 4 * gib, DisksTotal: 40 * gib}, true},
		{"the first backup, too little", Space{Total: 100 * gib, Free: 3 * gib, DisksTotal: 40 * gib}, false},
		{"Proxmox Backup Server", Space{PBS: true, Total: 100 * gib, Free: 5 * gib, LastSize: 40 * gib}, true},
		{"Proxmox Backup Server, nearly full: the copy that goes gives nothing back", Space{PBS: true, Total: 100 * gib, Free: 5*gib - 1, Victim: 40 * gib}, false},
		{"no size", Space{Free: 5 * gib}, false},
	} {
		ok, reason := FreeSpace(c.space)
		if ok != c.want {
			t.Errorf("%s: %v (%s)", c.story, ok, reason)
		}
		fmt.Fprintf(&out, "%s: %v, %s\n", c.story, ok, reason)
	}
	golden(t, "free-space.txt", out.String())
}
