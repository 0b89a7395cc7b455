package jobs_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

var updateReadme = flag.Bool("update-readme", false, "write the comparison's table into the README")

// comparedSeeds are the walks of TestCompare, 1 up to this.
const comparedSeeds = 8

// comparison lets three schedulers live the same walks and adds up what became of them.
type comparison struct {
	t      testing.TB
	walks  int
	spells int
	sums   [3]figures
	tell   bool // all that is counted, of each of them
}

// schedulers are those that are compared, in the order of the table.
var schedulers = [3]struct {
	name string
	live func(*plan, testing.TB, *walk)
}{
	{"Stowage", func(p *plan, t testing.TB, w *walk) { p.ours(t, w).live() }},
	{"a cron of five steps", func(_ *plan, _ testing.TB, w *walk) { newPlain(w, fiveSteps).live() }},
	{"create first, then rotate", func(_ *plan, _ testing.TB, w *walk) { newPlain(w, createFirst).live() }},
}

// play adds one walk. Of ours, everything that is counted is told with the plan.
func (c *comparison) play(seed uint64) {
	p := draw(seed)
	c.walks++
	c.spells += len(p.spells)
	for i, s := range schedulers {
		w := p.walk(c.t)
		s.live(p, c.t, w)
		var whys []string
		f := w.ledger.judge(func(format string, args ...any) { whys = append(whys, fmt.Sprintf(format, args...)) })
		c.sums[i].add(f)
		if c.tell {
			c.t.Logf("%s, seed %d:\n%s\n%s", s.name, seed, strings.Join(whys, "\n"), p)
		}
		if i == 0 && (f.lost() > 0 || f.missed > 0 || f.duplicates > 0 || f.breaches > 0) {
			c.t.Errorf("%s, seed %d:\n%s\n%s", s.name, seed, strings.Join(whys, "\n"), p)
		}
	}
}

// machineDays is how long all machines together were looked after.
func (c *comparison) machineDays() int { return c.walks * walkDays * walkMachines }

// String is the comparison as the README shows it.
func (c *comparison) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, `%d walks of %d days with %d machines each, seeds 1 to %d: %s machine-days, %d things that went wrong or were done by others.

- A copy is good when it holds the machine's disk. *Lost* is each good copy that the scheduler deleted and that was not its
  own (staff's, another customer's), or was the machine's newest good one, or was not made up for: by the end of the next
  night that could be done, places were empty and no good copy had come in its stead.
- A night could be done when the six hours after its due time held one in which nothing was wrong: no fault, no lock, the
  scheduler's own host up and its clock right. It was *missed in silence* when no good copy came of it and nobody was told why.
- *Twice* is each good copy of a machine beyond the first for one night.
- *Over quota* is each night that could be done at whose end, when the next falls due, a machine had more good copies than
  places.

Per million machine-days, and how often it was seen:

| | good copies lost | nights missed in silence | made twice | nights over quota | nights done |
|---|--:|--:|--:|--:|--:|
`, c.walks, walkDays, walkMachines, comparedSeeds, grouped(c.machineDays()), c.spells)
	for i, s := range schedulers {
		f := c.sums[i]
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %d %% |\n", s.name, c.rate(f.lost()), c.rate(f.missed), c.rate(f.duplicates), c.rate(f.breaches), 100*f.done/max(f.nights, 1))
	}
	b.WriteByte('\n')
	for i, s := range schedulers[1:] {
		f := c.sums[i+1]
		fmt.Fprintf(&b, "Lost by %s: %d were not its own, %d the newest good one (%d of them a machine's only copy for its only place), %d not made up for.\n", s.name, f.foreign, f.newest, f.only, f.unmade)
	}
	fmt.Fprintf(&b, "None seen in so many machine-days means, with 95 %% certainty, fewer than %s per million.\n", grouped(3*1_000_000/c.machineDays()))
	return b.String()
}

// rate says a number per million machine-days, and the number itself.
func (c *comparison) rate(n int) string {
	return fmt.Sprintf("%s (%d)", grouped(n*1_000_000/c.machineDays()), n)
}

// grouped writes a number with its thousands apart.
func grouped(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// TestCompare lets ours and two plain schedulers live the same random walks. Ours loses nothing, misses nothing in
// silence, makes nothing twice and keeps to the quota; the README shows how the others fare, in the figures of this
// very test. COMPARE_SEED plays one walk alone, and tells all that was counted.
func TestCompare(t *testing.T) {
	t.Parallel()
	c := &comparison{t: t}
	if v := os.Getenv("COMPARE_SEED"); v != "" {
		seed, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			t.Fatalf("COMPARE_SEED=%q is not a number", v)
		}
		c.tell = true
		c.play(seed)
		return
	}
	for seed := range uint64(comparedSeeds) {
		c.play(seed + 1)
	}
	t.Log("\n" + c.String())
	for what, seen := range map[string]int{
		"good copies lost": c.sums[1].lost() + c.sums[2].lost(), "nights missed": c.sums[1].missed + c.sums[2].missed,
		"made twice": c.sums[1].duplicates + c.sums[2].duplicates, "nights over quota": c.sums[1].breaches + c.sums[2].breaches,
	} {
		if seen == 0 {
			t.Errorf("%s: none in any plain scheduler: the ledger is blind, or the walks are too tame", what)
		}
	}
	readmeShows(t, "comparison", c.String())
}

// readmeShows holds the README's block of a name against a text, or writes it there.
func readmeShows(t *testing.T, block, text string) {
	t.Helper()
	const path = "../README.md"
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- "+block+":begin -->\n", "<!-- "+block+":end -->"
	before, rest, found := strings.Cut(string(raw), begin)
	shown, after, closed := strings.Cut(rest, end)
	switch {
	case !found || !closed:
		t.Fatalf("the README has no block %s", block)
	case shown == text:
	case *updateReadme:
		if err := os.WriteFile(path, []byte(before+begin+text+end+after), 0o600); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("the README shows other figures; go test ./jobs -run TestCompare -update-readme writes these. It has:\n%s", shown)
	}
}

// TestSoakCompare walks on with other seeds, for as long as SOAK_SECONDS says.
func TestSoakCompare(t *testing.T) {
	if os.Getenv("SOAK_SECONDS") == "" {
		t.Skip("needs SOAK_SECONDS: make soak SECONDS=n")
	}
	t.Parallel()
	end := time.Now().Add(seconds(t, "SOAK_SECONDS", 0))
	r := rand.New(rand.NewPCG(soakSeed(t), 2))
	c := &comparison{t: t}
	for time.Now().Before(end) && !t.Failed() {
		c.play(r.Uint64N(1_000_000_000))
	}
	for i, s := range schedulers {
		f := c.sums[i]
		t.Logf("%s: %s lost, %s missed, %s twice, %s over quota, per million machine-days; %d of %d nights done", s.name,
			c.rate(f.lost()), c.rate(f.missed), c.rate(f.duplicates), c.rate(f.breaches), f.done, f.nights)
	}
	t.Logf("%d walks, %d machine-days", c.walks, c.machineDays())
}
