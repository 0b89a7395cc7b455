package portal

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var snapNow = time.Date(2026, 11, 20, 8, 12, 0, 0, time.UTC)

// snapshots reads "t" there, "k" taking, "r" removing, "g" gone, "f" failed, "x" external: the oldest first, an hour apart.
func snapshots(states string) (out []Snapshot) {
	for i, c := range states {
		taken := snapNow.Add(-time.Duration(len(states)-i) * time.Hour)
		v := Snapshot{ID: int64(i + 1), UID: "s" + string(rune('0'+i)), ServiceID: 7, Description: "before update", TakenAt: taken, ExpiresAt: SnapshotExpiry(taken, 1), Growth: -1,
			State: map[rune]SnapshotState{'t': SnapshotThere, 'k': SnapshotTaking, 'r': SnapshotRemoving, 'g': SnapshotGone, 'f': SnapshotFailed, 'x': SnapshotThere}[c]}
		if c == 'x' {
			v.External, v.ExpiresAt = true, time.Time{}
		}
		v.Name = SnapshotName(v.UID)
		out = append(out, v)
	}
	return out
}

func TestSnapshotCounter(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		states string
		quota  int
		want   string
		hidden bool
	}{
		{"", 3, "0/3", false}, {"ttx", 3, "2/3", false}, {"tkgf", 3, "1/3, 1 in progress", false}, {"rt", 2, "2/2", false}, {"ttt", 2, "3/2, remove 1", false}, {"", 0, "0/0", true}, {"x", 0, "0/0", true}, {"t", 0, "1/0, remove 1", false},
	} {
		got := SnapshotCounter(snapshots(c.states), c.quota)
		if got.String() != c.want || got.Hidden != c.hidden {
			t.Errorf("%q of %d: %q hidden %v, want %q", c.states, c.quota, got, got.Hidden, c.want)
		}
	}
}

func TestCountdown(t *testing.T) {
	t.Parallel()
	for left, want := range map[time.Duration]string{
		24*time.Hour - 6*time.Second: "0 days 23:59:54", 24 * time.Hour: "1 day 00:00:00", 10*SnapshotDay - time.Nanosecond: "9 days 23:59:59", 0: "0 days 00:00:00", -time.Hour: "0 days 00:00:00", time.Second - 1: "0 days 00:00:00",
	} {
		if got := Countdown(left).String(); got != want {
			t.Errorf("%v: %q, want %q", left, got, want)
		}
	}
}

func TestSnapshotNames(t *testing.T) {
	t.Parallel()
	const uid = "01jd3k7w9z8y6x5v4t3s2r1q0p"
	if got, ours := SnapshotUID(SnapshotName(uid)); got != uid || !ours {
		t.Errorf("%q %v", got, ours)
	}
	for _, name := range []string{"", "stw-", "first", "stw-" + uid + "x", "xstw-" + uid, "stw-" + strings.ToUpper(uid), "current"} {
		if _, ours := SnapshotUID(name); ours {
			t.Errorf("%q is taken for ours", name)
		}
	}
	for _, bad := range []string{"a\nb", "a\x00b", "a\u202eb", "a\u2028b", strings.Repeat("ä", NoteLimit+1), "\xff"} {
		if _, err := CleanDescription(bad); CodeOf(err) != CodeInvalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if got, err := CleanDescription("  vor dem Update äöü "); err != nil || got != "vor dem Update äöü" {
		t.Errorf("%q %v", got, err)
	}
}

// Nothing ends before the instant that was shown, nothing of others' ends at all, and what is held waits.
func TestExpired(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	ended := 0
	for range 2000 {
		var all []Snapshot
		for i := range rnd.IntN(8) {
			v := snapshots(pick(rnd, "t", "t", "t", "k", "r", "g", "f", "x"))[0]
			v.ID, v.ServiceID = int64(i), int64(rnd.IntN(3))
			v.ExpiresAt = snapNow.Add(time.Duration(rnd.IntN(5)-2) * pick(rnd, time.Nanosecond, time.Second, time.Hour))
			if rnd.IntN(8) == 0 {
				v.ExpiresAt = time.Time{}
			}
			all = append(all, v)
		}
		held := int64(rnd.IntN(3))
		got := Expired(all, snapNow, func(id int64) bool { return id == held })
		ended += len(got)
		for _, v := range all {
			in := slices.ContainsFunc(got, func(o Snapshot) bool { return o.ID == v.ID })
			want := v.State == SnapshotThere && !v.External && v.ServiceID != held && !v.ExpiresAt.IsZero() && v.Left(snapNow) == 0
			if in != want {
				t.Fatalf("ended %v: %+v held %d", in, v, held)
			}
		}
		if !slices.IsSortedFunc(got, func(a, b Snapshot) int { return a.ExpiresAt.Compare(b.ExpiresAt) }) {
			t.Fatalf("not the longest ago first: %+v", got)
		}
	}
	if ended == 0 {
		t.Error("nothing ever ended")
	}
}

func TestCanSnapshot(t *testing.T) {
	t.Parallel()
	places := map[string]DiskPlace{"local": {Type: "dir"}, "thin": {Type: "lvmthin"}, "thick": {Type: "lvm"}, "tank": {Type: "zfspool"}, "ceph": {Type: "rbd"}, "san": {Type: "iscsi"}}
	for volid, want := range map[string]string{
		"local:100/vm-100-disk-0.qcow2": "can", "local:100/vm-100-disk-0.raw": "can't", "local:100/vm-100-disk-0.vmdk": "can't", "thin:vm-100-disk-0": "can", "ceph:vm-100-disk-0": "can", "tank:vm-100-disk-0": "newest",
		"thick:vm-100-disk-0": "can't", "thick:vm-100-disk-0.qcow2": "newest", "san:0.0.0": "can't", "unknown:100/vm-100-disk-0.raw": "can",
	} {
		storage, _, _ := strings.Cut(volid, ":")
		a := CanSnapshot([]Disk{{Key: "scsi0", Storage: "ceph", Volid: "ceph:vm-100-disk-1"}, {Key: "scsi1", Storage: storage, Volid: volid}}, places)
		got := "can"
		if !a.Can {
			got = "can't"
		} else if a.NewestOnly {
			got = "newest"
		}
		if got != want || (got == "can") != (a.Why == "") {
			t.Errorf("%s: %s (%s), want %s", volid, got, a.Why, want)
		}
	}
}

// snapSituation is a service that may take three snapshots.
func snapSituation(states string) Situation {
	p := NewProduct("VPS")
	p.Snapshots = 3
	return Situation{Service: Service{ID: 7, State: ServiceActive, Status: "running", Hardware: Hardware{Disks: []Disk{{Key: "scsi0", Storage: "local", Volid: "local:100/vm-100-disk-0.qcow2"}}}},
		Product: p, Snapshots: snapshots(states), Now: snapNow, Places: map[string]DiskPlace{"local": {Type: "dir", Active: true}}}
}

func TestSnapshotRequests(t *testing.T) {
	t.Parallel()
	take, remove, expire, back := RequestSnapshot("client:x", " before update ", true), RequestSnapshotRemoval("client:x", "s0"), ExpireSnapshot("s0"), RequestRollback("client:x", "s0", true, RollbackPlan{Memory: true})
	running := func(kind Kind, state State) func(*Situation) {
		return func(s *Situation) {
			s.Operations = append(s.Operations, Operation{UID: "op", Kind: kind, State: state, Manual: true, StartedAt: snapNow.Add(-5 * time.Minute), CreatedAt: snapNow})
		}
	}
	for _, c := range []struct {
		name    string
		request Request
		states  string
		change  func(*Situation)
		code    Code
		says    string
		wayOut  string
	}{
		{name: "take", request: take, states: "tt"},
		{name: "take beside others' snapshots", request: take, states: "ttxxx"},
		{name: "full", request: take, states: "tgtft", code: CodeQuota, says: "All 3 places for snapshots are used.", wayOut: "remove_snapshot Remove the oldest: before update, Fri 20 Nov 03:12"},
		{name: "one is being taken", request: take, states: "ttk", code: CodeQuota, says: "All 3 places", wayOut: "remove_snapshot Remove the oldest: before update, Fri 20 Nov 05:12"},
		{name: "one place", request: take, states: "t", change: func(s *Situation) { s.Product.Snapshots = 1 }, code: CodeQuota, says: "Your one place for a snapshot is used.", wayOut: "remove_snapshot Remove the oldest: before update, Fri 20 Nov 07:12"},
		{name: "none sold", request: take, change: func(s *Situation) { s.Product.Snapshots = 0 }, code: CodeQuota, says: "no snapshots"},
		{name: "no memory sold", request: take, change: func(s *Situation) { s.Product.SnapMemory = false }, code: CodeInvalid, says: "without the memory"},
		{name: "raw file", request: take, change: func(s *Situation) { s.Service.Hardware.Disks[0].Volid = "local:100/vm-100-disk-0.raw" }, code: CodeConflict, says: "disk scsi0 is a plain file", wayOut: "open_backups Back up instead"},
		{name: "suspended", request: take, change: func(s *Situation) { s.Service.State = ServiceSuspended }, code: CodeForbidden, says: "suspended"},
		{name: "locked", request: take, change: func(s *Situation) { s.Service.Lock = "migrate" }, code: CodeBusy, says: "host says"},
		{name: "backup runs", request: take, change: running(KindBackup, StateRunning), code: CodeBusy, says: "A backup of this machine is running already", wayOut: "open_operation See how it goes"},
		{name: "backup waits", request: take, change: running(KindBackup, StateQueued)},
		{name: "rollback is held", request: take, change: running(KindRollback, StateHeld), code: CodeBusy, says: "Our team is looking at your machine: it is rolled back to a snapshot (began 5 min ago).", wayOut: "open_operation See how it goes"},
		{name: "clicked twice", request: take, change: running(KindSnapshot, StateQueued), code: CodeBusy, says: "Your machine is busy: a snapshot is taken", wayOut: "open_operation See how it goes"},
		{name: "a copy is removed", request: take, change: running(KindDelete, StateRunning)},
		{name: "remove", request: remove, states: "t"},
		{name: "remove what is being removed", request: remove, states: "r", code: CodeConflict, says: "removed already"},
		{name: "remove what is gone", request: remove, states: "g", code: CodeNotFound},
		{name: "remove another's", request: remove, states: "x", code: CodeNotFound},
		{name: "expire too early", request: expire, states: "t", code: CodeConflict, says: "not over"},
		{name: "expire", request: expire, states: "t", change: func(s *Situation) { s.Now = s.Snapshots[0].ExpiresAt }},
		{name: "expire of a suspended service", request: expire, states: "t", change: func(s *Situation) { s.Now, s.Service.State = s.Snapshots[0].ExpiresAt, ServiceSuspended }},
		{name: "expire while locked", request: expire, states: "t", change: func(s *Situation) { s.Now, s.Service.Lock = s.Snapshots[0].ExpiresAt, "backup" }, code: CodeBusy},
		{name: "expire with another clock", request: expire, states: "t", change: func(s *Situation) { s.Now, s.Server.Skew = s.Snapshots[0].ExpiresAt, time.Hour }, code: CodeConflict, says: "clock"},
		{name: "expire on another machine", request: expire, states: "t", change: func(s *Situation) { s.Now, s.Service.State = s.Snapshots[0].ExpiresAt, ServiceMachineReplaced }, code: CodeConflict, says: "Another machine"},
		{name: "roll back", request: back, states: "t"},
		{name: "roll back to another's", request: back, states: "x", code: CodeNotFound},
		{name: "roll back while taking", request: back, states: "t", change: running(KindSnapshot, StateRunning), code: CodeBusy, says: "Your machine is busy: a snapshot is taken (began 5 min ago).", wayOut: "open_operation See how it goes"},
		{name: "roll back as planned", request: RequestRollback("client:x", "s0", true, RollbackPlan{Refusal: Refuse(CodeConflict, "no way")}), states: "t", code: CodeConflict, says: "no way"},
	} {
		s := snapSituation(c.states)
		if c.change != nil {
			c.change(&s)
		}
		op, err := c.request(s)
		var refusal *Error
		errors.As(err, &refusal)
		switch {
		case CodeOf(err) != c.code:
			t.Errorf("%s: %v", c.name, err)
		case err != nil:
			wayOut := ""
			for _, w := range refusal.WayOuts {
				wayOut = w.Action + " " + w.Label.String()
			}
			if !strings.Contains(refusal.Sentence.String(), c.says) || wayOut != c.wayOut {
				t.Errorf("%s: %q, %q", c.name, refusal.Sentence, wayOut)
			}
		case op.GiveUpAt.IsZero() || op.Step == "" || op.Kind == KindSnapshot && (op.Note != "before update" || !op.Work.Memory) || op.Kind != KindSnapshot && op.SnapshotID != 1:
			t.Errorf("%s: %+v", c.name, op)
		}
	}
	s := snapSituation("")
	s.Service.Status = "stopped"
	if op, err := take(s); err != nil || op.Work.Memory {
		t.Errorf("a machine that is off has no memory: %+v %v", op.Work, err)
	}
}

const snapConfig = `name: h100
cores: 4
memory: 4096
boot: order=scsi0
scsi0: local:100/vm-100-disk-0.qcow2,iops_rd=300,size=32G
net0: virtio=BC:24:11:00:00:01,bridge=vmbr0,rate=10,tag=7
`

func TestPlanRollback(t *testing.T) {
	t.Parallel()
	places := map[string]DiskPlace{"local": {Type: "dir", Active: true}, "tank": {Type: "zfspool", Active: true}}
	var got strings.Builder
	for _, c := range []struct{ name, then, states string }{
		{"nothing differs", snapConfig, "t"},
		{"rate and limits differ", strings.NewReplacer("rate=10,", "", "iops_rd=300", "iops_rd=100").Replace(snapConfig), "t"},
		{"CPU differs", strings.Replace(snapConfig, "cores: 4", "cores: 1", 1), "t"},
		{"memory differs", strings.Replace(snapConfig, "4096", "512", 1), "t"},
		{"smaller disk", strings.Replace(snapConfig, "32G", "10G", 1), "t"},
		{"bridge differs", strings.Replace(snapConfig, "vmbr0", "vmbr9", 1), "t"},
		{"VLAN and CPU differ", strings.NewReplacer("tag=7", "tag=8", "cores: 4", "cores: 1").Replace(snapConfig), "t"},
		{"MAC differs", strings.Replace(snapConfig, "00:01", "00:02", 1), "t"},
		{"name and boot order differ", strings.NewReplacer("h100", "old", "order=scsi0", "order=scsi0;net0").Replace(snapConfig), "t"},
		{"unreadable", strings.Replace(snapConfig, "32G", "much", 1), "t"},
		{"a newer one on a directory", snapConfig, "tt"},
		{"newer ones on ZFS", strings.ReplaceAll(snapConfig, "local:100/vm-100-disk-0.qcow2", "tank:vm-100-disk-0"), "tttg"},
		{"another's newer one on ZFS", strings.ReplaceAll(snapConfig, "local:100/vm-100-disk-0.qcow2", "tank:vm-100-disk-0"), "tx"},
		{"the newest on ZFS", strings.ReplaceAll(snapConfig, "local:100/vm-100-disk-0.qcow2", "tank:vm-100-disk-0"), "t"},
		{"a disk was added since", snapConfig, "t+"},
	} {
		present := snapConfig
		if strings.Contains(c.then, "tank") {
			present = c.then
		}
		if strings.HasSuffix(c.states, "+") {
			present += "scsi1: local:100/vm-100-disk-1.qcow2,backup=0,size=5G\n"
		}
		all := snapshots(strings.TrimSuffix(c.states, "+"))
		for _, memory := range []bool{false, true} {
			all[0].Memory = memory
			plan := PlanRollback(all[0], all, Spec{Cores: 4, MemoryMB: 4096, Net: Card{Bridge: "vmbr0", VLAN: 7}}, readMachine(c.then), readMachine(present), places)
			how := map[bool]string{true: "with memory", false: "disks only"}[memory]
			got.WriteString(c.name + ", " + how + "\n")
			if plan.Refusal != nil {
				got.WriteString("    refused: " + plan.Refusal.Sentence.String() + "\n")
				for _, w := range plan.Refusal.WayOuts {
					got.WriteString("    way out: " + w.Label.String() + "\n")
				}
				continue
			}
			got.WriteString("    " + plan.Sentence.String() + "\n")
			for _, change := range plan.Changes {
				got.WriteString("    then " + change.Text().String() + "\n")
			}
			if plan.MemoryLost && !memory || plan.Memory && plan.MemoryLost || plan.Memory && !memory {
				t.Errorf("%s: %+v", c.name, plan)
			}
		}
	}
	golden(t, "rollback.txt", got.String())
}

func TestWanted(t *testing.T) {
	t.Parallel()
	on, off := true, false
	p := Product{Spec: Spec{Cores: 2, MemoryMB: 2048, CPULimit: 1, System: Drive{Device: "scsi0", SizeGiB: 20, ReadIOPS: 300}, Net: Card{Bridge: "vmbr0", VLAN: 7, Firewall: &on, IP4: "dhcp"}}}
	s := Service{Own: Spec{Cores: 8, CPULimit: NoLimit, System: Drive{ReadIOPS: 900}, Net: Card{MAC: "BC:24:11:00:00:01", Firewall: &off, IP4: "192.0.2.7/24", Gateway4: "192.0.2.1"}}}
	want := Spec{Cores: 8, MemoryMB: 2048, CPULimit: NoLimit, System: Drive{Device: "scsi0", SizeGiB: 20, ReadIOPS: 900},
		Net: Card{MAC: "BC:24:11:00:00:01", Bridge: "vmbr0", VLAN: 7, Firewall: &off, IP4: "192.0.2.7/24", Gateway4: "192.0.2.1"}}
	if diff := cmp.Diff(want, Wanted(p, s)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(p.Spec, Wanted(p, Service{})); diff != "" {
		t.Error(diff)
	}
}
