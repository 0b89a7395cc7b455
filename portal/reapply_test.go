package portal

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestReapplyGolden holds machines against what is sold, one case a file in testdata/reapply. A file has what is sold as
// JSON, the storages, the config as Proxmox shows it, in some cases the config from before a restore, and what Reapply makes of them; -update
// writes the last part anew.
func TestReapplyGolden(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/reapply/*.golden")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d cases, %v", len(files), err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".golden"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			input, _, _ := strings.Cut(string(text), "# changes\n")
			got := input + "# changes\n" + changesOf(t, input)
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(strings.Split(string(text), "\n"), strings.Split(got, "\n")); diff != "" && !*update {
				t.Errorf("%s (-want +got):\n%s", path, diff)
			}
		})
	}
}

// changesOf reads a case and says what changes, and that nothing is left to send afterwards.
func changesOf(t *testing.T, input string) string {
	t.Helper()
	parts := map[string]string{}
	for _, part := range strings.Split(input, "# ")[1:] {
		title, body, _ := strings.Cut(part, "\n")
		parts[title] = body
	}
	var want Spec
	if err := json.Unmarshal([]byte(parts["sold"]), &want); err != nil {
		t.Fatalf("what is sold: %v", err)
	}
	places := map[string]DiskPlace{}
	for _, line := range strings.Split(strings.TrimSpace(parts["storages"]), "\n") {
		words := strings.Fields(line)
		places[words[0]] = DiskPlace{Type: words[1], Active: !slices.Contains(words, "inactive"), NoGrow: slices.Contains(words, "no-grow")}
	}
	if before, ok := parts["config before"]; ok {
		want = want.Keep(readMachine(before))
	}
	m := readMachine(parts["config"])
	changes := Reapply(want, m, places)
	var out strings.Builder
	for _, c := range changes {
		fmt.Fprintf(&out, "%-17s %-8s %s\n", c.Name, c.Kind, c.Text())
		if c.Sent() {
			fmt.Fprintf(&out, "%26s %s\n", "", sentAs(c))
		}
	}
	if out.Len() == 0 {
		out.WriteString("none\n")
	}
	for range 3 {
		m = applied(m, Reapply(want, m, places), places)
	}
	for _, c := range Reapply(want, m, places) {
		if c.Sent() {
			t.Errorf("after all changes there is still %s: %s", c.Name, c.Text())
		}
	}
	return out.String()
}

// sentAs says a change in Proxmox's terms.
func sentAs(c Change) string {
	when := "from the next start"
	if c.Live {
		when = "at once"
	}
	key := c.Key
	if c.Option != "" {
		key += "," + c.Option
	}
	switch c.Kind {
	case ChangeResize:
		return fmt.Sprintf("resize %s to %d, %s", c.Key, c.Size, when)
	case ChangeCreate:
		return fmt.Sprintf("%s = %s:%d format %q, %s", c.Key, c.Storage, c.Size>>30, c.Format, when)
	case ChangeCard:
		return fmt.Sprintf("%s = %v, %s", c.Key, c.Options, when)
	}
	if len(c.Options) > 0 {
		when = fmt.Sprintf("with %v, %s", c.Options, when)
	}
	return fmt.Sprintf("%s: %q -> %q, %s", key, c.From, c.To, when)
}

// readMachine reads the lines of a config, plainly: "scsi0: local:100/vm-100-disk-0.qcow2,size=32G".
func readMachine(text string) Machine {
	m := Machine{VMID: 100, Values: map[string]string{}, IPs: map[string]Options{}}
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		key, value, ok := strings.Cut(line, ": ")
		if !ok {
			continue
		}
		first, rest, _ := strings.Cut(value, ",")
		options := Options{}
		for _, o := range strings.Split(rest, ",") {
			if k, v, ok := strings.Cut(o, "="); ok {
				options[k] = v
			}
		}
		switch bus := strings.TrimRight(key, "0123456789"); {
		case bus == "net":
			model, mac, ok := strings.Cut(first, "=")
			if !ok {
				model = ""
			}
			m.Nets = append(m.Nets, MachineNet{Key: key, Model: model, MAC: mac, Options: options, Raw: value})
		case slices.Contains([]string{"scsi", "virtio", "sata", "ide", "efidisk", "unused"}, bus):
			d := MachineDrive{Key: key, Volid: first, Options: options, CDROM: options["media"] == "cdrom", Raw: value}
			d.Storage, _, _ = strings.Cut(first, ":")
			if !strings.Contains(first, ":") && first != "none" {
				d.Volid, d.Storage = "", ""
			}
			size := options["size"]
			delete(options, "size")
			if n, err := strconv.ParseInt(strings.TrimSuffix(size, "G"), 10, 64); err == nil {
				d.Size = n << 30
			}
			if bus == "unused" {
				m.Unused = append(m.Unused, d)
			} else {
				m.Drives = append(m.Drives, d)
			}
		case bus == "ipconfig":
			for _, o := range strings.Split(value, ",") {
				if k, v, ok := strings.Cut(o, "="); ok {
					options[k] = v
				}
			}
			m.IPs[key] = options
		default:
			m.Values[key] = value
		}
	}
	return m
}

// applied is what Proxmox makes of the changes.
func applied(m Machine, changes []Change, places map[string]DiskPlace) Machine {
	m.Values, m.IPs = maps.Clone(m.Values), maps.Clone(m.IPs)
	m.Drives, m.Nets, m.Unused = slices.Clone(m.Drives), slices.Clone(m.Nets), slices.Clone(m.Unused)
	set := func(o Options, key, value string) Options {
		if o = maps.Clone(o); o == nil {
			o = Options{}
		}
		if o[key] = value; value == "" {
			delete(o, key)
		}
		return o
	}
	drive := func(key string) *MachineDrive {
		i := slices.IndexFunc(m.Drives, func(d MachineDrive) bool { return d.Key == key })
		return &m.Drives[i]
	}
	for _, c := range changes {
		switch c.Kind {
		case ChangeSet:
			switch {
			case c.Key == "net0" && c.Option == "model":
				m.Nets[0].Model = c.To
			case c.Key == "net0" && c.Option == "macaddr":
				m.Nets[0].MAC = c.To
			case c.Key == "net0":
				m.Nets[0].Options = set(m.Nets[0].Options, c.Option, c.To)
			case c.Key == "ipconfig0":
				m.IPs[c.Key] = set(m.IPs[c.Key], c.Option, c.To)
			case c.Option != "":
				drive(c.Key).Options = set(drive(c.Key).Options, c.Option, c.To)
			case c.To == "":
				delete(m.Values, c.Key)
			default:
				m.Values[c.Key] = c.To
			}
		case ChangeResize:
			drive(c.Key).Size = c.Size
		case ChangeAttach:
			i := slices.IndexFunc(m.Unused, func(u MachineDrive) bool { return u.Volid == c.Volid })
			d := m.Unused[i]
			if d.Key, d.Options = c.Key, maps.Clone(c.Options); d.Size == 0 {
				d.Size = 7 << 30 // what the volume has, which Proxmox writes into the config only now
			}
			m.Unused = slices.Delete(m.Unused, i, i+1)
			m.Drives = append(m.Drives, d)
		case ChangeCreate:
			m.Drives = append(m.Drives, MachineDrive{Key: c.Key, Storage: c.Storage, Size: c.Size, Volid: fmt.Sprintf("%s:%d/vm-%d-disk-9", c.Storage, m.VMID, m.VMID) + strings.TrimSuffix("."+places[c.Storage].Format(), ".")})
		case ChangeCard:
			n := MachineNet{Key: c.Key, Model: c.Options["model"], MAC: c.Options["macaddr"], Options: maps.Clone(c.Options)}
			delete(n.Options, "model")
			delete(n.Options, "macaddr")
			m.Nets = append(m.Nets, n)
		}
	}
	return m
}

// TestReapplyProperties holds random machines against random specs: the changes end, no disk shrinks, no volume of the
// machine's is left behind for a new disk, no other machine's is touched, and what may not start is said.
func TestReapplyProperties(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for range 3000 {
		want, m, places := randomSpec(rnd), randomMachine(rnd), randomPlaces(rnd)
		if rnd.IntN(2) == 0 {
			want = want.Keep(randomMachine(rnd))
		}
		first := Reapply(want, m, places)
		fail := func(format string, args ...any) {
			t.Fatalf("%s\nwant %+v\nmachine %+v\nplaces %+v\nchanges %+v", fmt.Sprintf(format, args...), want, m, places, first)
		}
		if again := Reapply(want, m, places); !cmp.Equal(first, again) {
			fail("twice asked, two answers: %s", cmp.Diff(first, again))
		}
		after, passes := m, 0
		for changes := first; slices.ContainsFunc(changes, Change.Sent); changes = Reapply(want, after, places) {
			if passes++; passes > 2 {
				fail("no end: %+v", changes)
			}
			for _, c := range changes {
				if c.Text() == "" || c.Sent() && (c.What == "" || c.Before == "" || c.After == "") {
					fail("%s says nothing", c.Name)
				}
				old := slices.IndexFunc(after.Drives, func(d MachineDrive) bool { return d.Key == c.Key })
				switch {
				case c.Kind == ChangeResize && old >= 0 && c.Size <= after.Drives[old].Size:
					fail("%s shrinks", c.Key)
				case (c.Kind == ChangeAttach || c.Kind == ChangeCreate) && old >= 0:
					fail("%s is taken", c.Key)
				case c.Kind == ChangeAttach && !after.Owns(c.Volid):
					fail("%s is another machine's", c.Volid)
				case c.Kind == ChangeCreate && slices.ContainsFunc(applied(after, changes, places).Unused, func(u MachineDrive) bool { return after.Owns(u.Volid) }):
					fail("a new disk beside an unused one")
				}
			}
			after = applied(after, changes, places)
		}
		left := Reapply(want, after, places)
		if !slices.ContainsFunc(left, func(c Change) bool { return c.Kind == ChangeBlocked }) {
			if want.Cores > 0 && after.Values["cores"] != strconv.Itoa(want.Cores) && (after.Values["cores"] != "" || want.Cores != 1) {
				fail("cores are %s", after.Values["cores"])
			}
			if want.Net.Bridge != "" && (after.Nets[0].Options["bridge"] != want.Net.Bridge || want.Net.MAC != "" && after.Nets[0].MAC != want.Net.MAC) {
				fail("the network is %+v", after.Nets[0])
			}
			if d := slices.IndexFunc(after.Drives, func(d MachineDrive) bool { return d.Key == want.Data.Device }); want.Data.Bytes() > 0 && d >= 0 && after.Drives[d].Size < want.Data.Bytes() {
				fail("the additional disk has %d", after.Drives[d].Size)
			}
		}
	}
}

func pick[T any](rnd *rand.Rand, from ...T) T { return from[rnd.IntN(len(from))] }

func randomSpec(rnd *rand.Rand) Spec {
	yes, no := true, false
	s := Spec{
		Sockets: rnd.IntN(3), Cores: rnd.IntN(4), MemoryMB: pick(rnd, 0, 512, 2048), CPULimit: pick[float64](rnd, 0, NoLimit, 1.5),
		Net: Card{Model: pick(rnd, "", "virtio", "e1000"), MAC: pick(rnd, "", "BC:24:11:00:00:01"), Bridge: pick(rnd, "", "vmbr0", "vmbr1"), VLAN: pick(rnd, 0, NoLimit, 7),
			RateMB: pick[float64](rnd, 0, NoLimit, 12.5), Firewall: pick(rnd, nil, &yes, &no), IP4: pick(rnd, "", "dhcp"), Gateway6: ""},
		Name: pick(rnd, "", "h100"), Boot: pick(rnd, "", "order=scsi0", "order=virtio0;net0", "cdn"), OnBoot: pick(rnd, nil, &yes, &no),
	}
	drive := func(device string) Drive {
		return Drive{Device: device, Storage: pick(rnd, "", "local", "lvm"), SizeGiB: pick[int64](rnd, 0, 5, 40), ReadMB: pick[float64](rnd, 0, NoLimit, 20), WriteMB: pick[float64](rnd, 0, NoLimit, 20),
			ReadIOPS: pick(rnd, 0, NoLimit, 300), WriteIOPS: pick(rnd, 0, NoLimit, 300)}
	}
	s.System = drive(pick(rnd, "", "scsi0", "virtio0"))
	if rnd.IntN(2) == 0 {
		s.Data = drive(pick(rnd, "scsi1", "virtio1", "sata3"))
	}
	return s
}

func randomMachine(rnd *rand.Rand) Machine {
	lines := []string{"name: " + pick(rnd, "old", "h100"), "boot: " + pick(rnd, "order=scsi0;net0", "order=virtio0", "order=ide2"), "ide2: none,media=cdrom"}
	some := func(line string, args ...any) {
		if rnd.IntN(3) > 0 {
			lines = append(lines, fmt.Sprintf(line, args...))
		}
	}
	some("cores: %s", pick(rnd, "1", "2", "two"))
	some("sockets: %d", 1+rnd.IntN(2))
	some("memory: %s", pick(rnd, "512", "current=2048", "4096", "-1"))
	some("vcpus: %d", 1+rnd.IntN(3))
	some("balloon: %d", pick(rnd, 0, 256, 4096))
	some("cpulimit: %s", pick(rnd, "0", "1.5", "2"))
	some("onboot: %d", rnd.IntN(2))
	some("net0: %s", pick(rnd, "virtio=BC:24:11:00:00:02,bridge=vmbr0,tag=7,rate=5", "e1000=BC:24:11:00:00:01,bridge=vmbr1,firewall=1,queues=2", "rubbish"))
	some("ipconfig0: %s", pick(rnd, "ip=dhcp", "ip=192.0.2.50/24,gw=192.0.2.1"))
	limits := func() string {
		return pick(rnd, "", ",mbps_rd=20", ",iops=100,iops_max=200", ",iops_wr=300,iops_wr_max=200,iops_wr_max_length=2", ",bps_rd=1000,discard=on", ",mbps_rd=odd")
	}
	for i, key := range []string{"scsi0", "virtio0", "scsi1", "virtio1"} {
		some("%s: %s:100/vm-100-disk-%d%s,size=%s%s", key, pick(rnd, "local", "lvm", "gone"), i, pick(rnd, "", ".raw", ".qcow2"), pick(rnd, "5G", "10G", "80G", "much"), limits())
	}
	some("%s: not a volume", pick(rnd, "scsi2", "scsi5"))
	some("unused%d: %s", rnd.IntN(3), pick(rnd, "local:100/vm-100-disk-7.qcow2", "local:101/vm-101-disk-0.qcow2", "lvm:vm-100-disk-8", "lvm:vm-1000-disk-8"))
	if rnd.IntN(4) == 0 {
		some("unused%d: %s", 3, "local:100/vm-100-disk-6.qcow2")
	}
	m := readMachine(strings.Join(lines, "\n"))
	m.Running = rnd.IntN(2) == 0
	return m
}

func randomPlaces(rnd *rand.Rand) map[string]DiskPlace {
	out := map[string]DiskPlace{"local": {Type: "dir", Active: rnd.IntN(8) > 0}}
	if rnd.IntN(8) > 0 {
		out["lvm"] = DiskPlace{Type: "lvmthin", Active: true, NoGrow: rnd.IntN(8) == 0}
	}
	return out
}
