package portal

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var due = time.Date(2026, 11, 20, 3, 0, 0, 0, time.UTC)

// waits reads candidates as "id client node storage [m]"; they were due and queued in the order written.
func waits(t *testing.T, lines ...string) []Candidate {
	t.Helper()
	var out []Candidate
	for i, line := range lines {
		c := Candidate{Server: 1, Kind: KindBackup, Due: due.Add(time.Duration(i) * time.Second), Enqueued: due.Add(time.Duration(i) * time.Second)}
		var flags string
		if n, _ := fmt.Sscanf(line+" -", "%d %d %s %s %s", &c.OperationID, &c.Client, &c.Node, &c.Storage, &flags); n < 5 {
			t.Fatalf("candidate %q", line)
		}
		c.Manual = strings.Contains(flags, "m")
		if strings.Contains(flags, "d") {
			c.Kind = KindDelete
		}
		out = append(out, c)
	}
	return out
}

func TestAdmit(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		story    string
		waiting  []string
		running  []Running
		served   map[int64]int
		start    []int64
		position map[int64]int
		why      map[int64]Text
	}{
		{
			story: "one vzdump on a node", waiting: []string{"1 1 a s", "2 2 a s", "3 3 b s"},
			start: []int64{1, 3}, position: map[int64]int{2: 1}, why: map[int64]Text{2: WaitNode},
		},
		{
			story: "whoever's it is", waiting: []string{"1 1 a s"}, running: []Running{{Server: 1, Node: "a", Foreign: true}},
			position: map[int64]int{1: 1}, why: map[int64]Text{1: WaitForeign},
		},
		{
			story: "a node of the same name on another server is another node", waiting: []string{"1 1 a s"},
			running: []Running{{Server: 2, Node: "a", Kind: KindBackup}}, start: []int64{1},
		},
		{
			story: "four on a storage; those with another go on", waiting: []string{"1 1 a s", "2 2 b s", "3 3 c s", "4 4 d s", "5 5 e s", "6 6 e t"},
			start: []int64{1, 2, 3, 4, 6}, position: map[int64]int{5: 1}, why: map[int64]Text{5: WaitNode},
		},
		{
			story: "eight on a server", waiting: []string{"1 1 a s", "2 1 b s", "3 1 c s", "4 1 d s", "5 1 e t", "6 1 f t", "7 1 g t", "8 1 h t", "9 1 i u"},
			start: []int64{1, 2, 3, 4, 5, 6, 7, 8}, position: map[int64]int{9: 1}, why: map[int64]Text{9: waitServer},
		},
		{
			story: "manual work first, the one asked for first", waiting: []string{"1 1 a s", "2 2 a s m", "3 3 a s m", "4 1 a s"},
			start: []int64{2}, position: map[int64]int{3: 1, 1: 2, 4: 3},
		},
		{
			story: "one of a client in the manual lane", waiting: []string{"1 9 a s", "2 2 a s m", "3 2 a s m", "4 3 a s m"},
			start: []int64{2}, position: map[int64]int{4: 1, 1: 2, 3: 3},
		},
		{
			story: "a client with manual work running waits in the common line", waiting: []string{"1 9 a s", "2 2 a s m"},
			running: []Running{{Client: 2, Server: 1, Node: "z", Manual: true, Kind: KindBackup}},
			start:   []int64{1}, position: map[int64]int{2: 1},
		},
		{
			story: "round robin over clients", waiting: []string{"1 1 a s", "2 1 a s", "3 1 a s", "4 2 a s", "5 3 a s", "6 2 a s"},
			start: []int64{1}, position: map[int64]int{4: 1, 5: 2, 2: 3, 6: 4, 3: 5},
		},
		{
			story: "who was served this night comes later", waiting: []string{"1 1 a s", "2 2 a s"}, served: map[int64]int{1: 3},
			start: []int64{2}, position: map[int64]int{1: 1},
		},
		{
			story: "who has work running comes later", waiting: []string{"1 1 a s", "2 2 a s"},
			running: []Running{{Client: 1, Server: 1, Node: "z", Kind: KindBackup}},
			start:   []int64{2}, position: map[int64]int{1: 1},
		},
		{
			story: "places of a storage are shared over clients, not taken by the first",
			waiting: []string{
				"1 1 a s", "2 1 b s", "3 1 c s", "4 1 d s", "5 2 d s", "6 3 c s", "7 4 b s",
			},
			start: []int64{1, 5, 6, 7}, position: map[int64]int{2: 1, 3: 1, 4: 1},
		},
		{
			story: "removals go one by one for a storage, beside backups", waiting: []string{"1 1 a s d", "2 2 b s d", "3 3 a s", "4 4 b t d"},
			start: []int64{1, 3, 4}, position: map[int64]int{2: 1}, why: map[int64]Text{2: waitDeletion},
		},
		{
			story: "a removal that runs", waiting: []string{"1 1 a s d", "2 1 a s"}, running: []Running{{Client: 9, Server: 1, Node: "a", Storage: "s", Kind: KindDelete}},
			start: []int64{2}, position: map[int64]int{1: 1},
		},
	} {
		got := Admit(waits(t, c.waiting...), c.running, DefaultLimits, c.served)
		if c.position == nil {
			c.position = map[int64]int{}
		}
		slices.Sort(got.Start)
		if diff := cmp.Diff(c.start, got.Start); diff != "" {
			t.Errorf("%s: starts (-want +got):\n%s", c.story, diff)
		}
		if diff := cmp.Diff(c.position, got.Position); diff != "" {
			t.Errorf("%s: positions (-want +got):\n%s", c.story, diff)
		}
		for id, why := range c.why {
			if got.Why[id] != why {
				t.Errorf("%s: %d waits because %q, want %q", c.story, id, got.Why[id], why)
			}
		}
	}
}

// Whatever waits and runs: no limit is broken, nothing idles that could run, all that wait have a place in line
// and a reason, and manual work is never overtaken on its node.
func TestAdmitKeepsItsLimits(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		limits := Limits{PerNode: rapid.IntRange(1, 2).Draw(t, "node"), PerStorage: rapid.IntRange(1, 4).Draw(t, "storage"), PerServer: rapid.IntRange(1, 8).Draw(t, "server")}
		kind := rapid.SampledFrom([]Kind{KindBackup, KindBackup, KindBackup, KindDelete})
		name := rapid.SampledFrom([]string{"a", "b", "c", "d"})
		var running []Running
		for range rapid.IntRange(0, 4).Draw(t, "running") {
			running = append(running, Running{Client: rapid.Int64Range(1, 4).Draw(t, "client"), Server: rapid.Int64Range(1, 2).Draw(t, "server"), Node: name.Draw(t, "node"), Storage: name.Draw(t, "storage"), Kind: kind.Draw(t, "kind"), Manual: rapid.Bool().Draw(t, "manual")})
		}
		var waiting []Candidate
		for i := range rapid.IntRange(0, 40).Draw(t, "waiting") {
			waiting = append(waiting, Candidate{
				OperationID: int64(i + 1), Client: rapid.Int64Range(1, 4).Draw(t, "client"), Server: rapid.Int64Range(1, 2).Draw(t, "server"),
				Node: name.Draw(t, "node"), Storage: name.Draw(t, "storage"), Kind: kind.Draw(t, "kind"), Manual: rapid.IntRange(0, 4).Draw(t, "manual") == 0,
				Due: due.Add(time.Duration(rapid.IntRange(0, 5).Draw(t, "due")) * time.Minute), Enqueued: due.Add(time.Duration(i) * time.Second),
			})
		}
		got := Admit(waiting, running, limits, nil)
		now := slices.Clone(running)
		waits := 0
		for _, c := range waiting {
			if slices.Contains(got.Start, c.OperationID) {
				now = append(now, Running{Client: c.Client, Server: c.Server, Node: c.Node, Storage: c.Storage, Kind: c.Kind, Manual: c.Manual})
			} else {
				waits++
				if got.Position[c.OperationID] < 1 || got.Why[c.OperationID] == "" {
					t.Fatalf("%d waits without a place or a reason", c.OperationID)
				}
			}
		}
		if len(got.Position) != waits || len(got.Start)+waits != len(waiting) {
			t.Fatalf("%d start and %d wait of %d", len(got.Start), waits, len(waiting))
		}
		count := func(fits func(Running) bool) (n int) {
			for _, r := range now {
				if fits(r) {
					n++
				}
			}
			return n
		}
		used := func(c Candidate) (node, storage, server, removals int) {
			return count(func(r Running) bool { return r.Kind == KindBackup && r.Server == c.Server && r.Node == c.Node }),
				count(func(r Running) bool { return r.Kind == KindBackup && r.Server == c.Server && r.Storage == c.Storage }),
				count(func(r Running) bool { return r.Kind == KindBackup && r.Server == c.Server }),
				count(func(r Running) bool { return r.Kind == KindDelete && r.Server == c.Server && r.Storage == c.Storage })
		}
		for _, c := range waiting {
			node, storage, server, removals := used(c)
			full := node >= limits.PerNode || storage >= limits.PerStorage || server >= limits.PerServer
			over := node > limits.PerNode || storage > limits.PerStorage || server > limits.PerServer
			if c.Kind == KindDelete {
				full, over = removals >= 1, removals > 1
			}
			if started := slices.Contains(got.Start, c.OperationID); started && over {
				t.Fatalf("%d starts above the limits", c.OperationID)
			} else if !started && !full {
				t.Fatalf("%d waits though it has room", c.OperationID)
			}
		}
	})
}

// Over a night on one node, each client's turn comes round, however much another has queued.
func TestAdmitIsFairOverANight(t *testing.T) {
	t.Parallel()
	var waiting []Candidate
	for i := range 60 {
		client := int64(1)
		if i >= 50 {
			client = int64(2 + i%5)
		}
		waiting = append(waiting, Candidate{OperationID: int64(i + 1), Client: client, Server: 1, Node: "a", Storage: "s", Kind: KindBackup, Due: due, Enqueued: due.Add(time.Duration(i))})
	}
	served := map[int64]int{}
	var order []int64
	for len(waiting) > 0 {
		got := Admit(waiting, nil, DefaultLimits, served)
		i := slices.IndexFunc(waiting, func(c Candidate) bool { return c.OperationID == got.Start[0] })
		order = append(order, waiting[i].Client)
		served[waiting[i].Client]++
		waiting = slices.Delete(waiting, i, i+1)
	}
	if diff := cmp.Diff([]int64{1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6}, order[:12]); diff != "" {
		t.Errorf("the first dozen turns (-want +got):\n%s", diff)
	}
}

func TestSpread(t *testing.T) {
	t.Parallel()
	date := Date{2026, 11, 20}
	if Spread("a", date, 0) != 0 || Spread("a", date, -time.Hour) != 0 {
		t.Error("no window, and yet a delay")
	}
	var halves [2]int
	for i := range 1000 {
		uid := fmt.Sprintf("service%d", i)
		got := Spread(uid, date, time.Hour)
		if got < 0 || got > time.Hour || got != Spread(uid, date, time.Hour) {
			t.Fatalf("%s: %s", uid, got)
		}
		halves[got/(30*time.Minute+time.Second)]++
	}
	if halves[0] < 400 || halves[1] < 400 {
		t.Errorf("unevenly spread: %v", halves)
	}
	if Spread("a", date, time.Hour) == Spread("a", date.AddDays(1), time.Hour) && Spread("a", date, time.Hour) == Spread("a", date.AddDays(2), time.Hour) {
		t.Error("the same on every date")
	}
}

func TestQuietTime(t *testing.T) {
	t.Parallel()
	var load [1440]int
	if got := QuietTime(load); got.String() != "03:40" {
		t.Errorf("an idle host: %s", got)
	}
	load[3*60], load[3*60+30] = 5, 5
	if got := QuietTime(load); got < 4*60 && got > 2*60+10 {
		t.Errorf("beside ten backups around three: %s", got)
	}
	load = [1440]int{}
	for range 400 {
		at := QuietTime(load)
		if at < 60 || at > 5*60 {
			t.Fatalf("%s is no time at night", at)
		}
		load[at]++
	}
	for minute := 60; minute <= 5*60; minute += 30 {
		n := 0
		for m := max(minute-15, 60); m < min(minute+15, 301); m++ {
			n += load[m]
		}
		if n > 120 {
			t.Errorf("%d of 400 suggestions around %s", n, TimeOfDay(minute))
		}
	}
	loc, err := Zone("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	if got := LoadByMinute([]time.Time{due, due}, loc); got[4*60] != 2 {
		t.Error("03:00 UTC is not 04:00 in Berlin")
	}
}

func BenchmarkAdmit70000(b *testing.B) {
	waiting := make([]Candidate, 70_000)
	for i := range waiting {
		waiting[i] = Candidate{
			OperationID: int64(i), Client: int64(i*7919) % 9000, Server: int64(i % 20), Node: fmt.Sprintf("node%d", i/20%50),
			Storage: fmt.Sprintf("storage%d", i%3), Kind: KindBackup, Due: due.Add(time.Duration(i%3600) * time.Second), Enqueued: due, Manual: i%100 == 0,
		}
	}
	for b.Loop() {
		if got := Admit(waiting, nil, DefaultLimits, nil); len(got.Start) != 160 {
			b.Fatal(len(got.Start))
		}
	}
}

func BenchmarkAdmit70000OfOneClientToAFullStorage(b *testing.B) {
	waiting := make([]Candidate, 70_000)
	for i := range waiting {
		waiting[i] = Candidate{OperationID: int64(i), Client: 1, Server: 1, Node: fmt.Sprintf("node%d", i%1000), Storage: "s", Kind: KindBackup, Due: due, Enqueued: due}
	}
	for b.Loop() {
		if got := Admit(waiting, nil, DefaultLimits, nil); len(got.Start) != 4 {
			b.Fatal(len(got.Start))
		}
	}
}

// TestAdmitDrawsLots: what is due at the same instant doesn't have the same client last every night.
func TestAdmitDrawsLots(t *testing.T) {
	t.Parallel()
	due := time.Date(2026, 11, 21, 2, 0, 0, 0, time.UTC)
	const clients, nights = 4, 400
	first := map[int64]int{}
	for night := range nights {
		var waiting []Candidate
		for client := int64(1); client <= clients; client++ {
			waiting = append(waiting, Candidate{OperationID: int64(night*clients) + client, Client: client, Server: 1, Node: "a", Storage: "s", Kind: KindBackup, Due: due, Enqueued: due})
		}
		got := Admit(waiting, nil, DefaultLimits, nil)
		again := Admit(waiting, nil, DefaultLimits, nil)
		if diff := cmp.Diff(got, again); diff != "" {
			t.Fatalf("the same asked twice: %s", diff)
		}
		i := slices.IndexFunc(waiting, func(c Candidate) bool { return c.OperationID == got.Start[0] })
		first[waiting[i].Client]++
		next := slices.DeleteFunc(slices.Clone(waiting), func(c Candidate) bool { return c.OperationID == got.Start[0] })
		then := Admit(next, nil, DefaultLimits, map[int64]int{waiting[i].Client: 1}).Start[0]
		if got.Position[then] != 1 {
			t.Fatalf("night %d: the next is shown at place %d of the line", night, got.Position[then])
		}
	}
	for client := int64(1); client <= clients; client++ {
		if n := first[client]; n < nights/clients*3/4 || n > nights/clients*5/4 {
			t.Errorf("client %d goes first in %d of %d nights: %v", client, n, nights, first)
		}
	}
}
