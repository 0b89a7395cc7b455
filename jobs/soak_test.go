package jobs_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"

	"testing"
	"time"
)

// seconds reads how long a search runs from the environment.
func seconds(t *testing.T, name string, otherwise int) time.Duration {
	n := otherwise
	if v := os.Getenv(name); v != "" {
		var err error
		if n, err = strconv.Atoi(v); err != nil {
			t.Fatalf("%s=%q is not a number of seconds", name, v)
		}
	}
	return time.Duration(n) * time.Second
}

// soakSeed gives the seed of a search: SOAK_SEED, or one of the clock's, and prints it.
func soakSeed(t *testing.T) uint64 {
	seed := uint64(time.Now().UnixNano())
	if v := os.Getenv("SOAK_SEED"); v != "" {
		var err error
		if seed, err = strconv.ParseUint(v, 10, 64); err != nil {
			t.Fatalf("SOAK_SEED=%q is not a number", v)
		}
	}
	t.Logf("SOAK_SEED=%d", seed)
	return seed
}

// search plays random scenarios for a while with several crashes and faults in each, under a printed seed.
func search(t *testing.T, lasts time.Duration, most int) {
	r := rand.New(rand.NewPCG(soakSeed(t), 1))
	all := scenarios()
	prepared := map[int]snapshot{}
	clean := map[int]*world{}
	end := time.Now().Add(lasts)
	runs := 0
	for time.Now().Before(end) && !t.Failed() {
		i := r.IntN(len(all))
		if _, ok := clean[i]; !ok {
			prepared[i] = all[i].prepare(t)
			w := prepared[i].resume(t, all[i])
			if err := w.play(); err != nil {
				t.Fatalf("%s without any trouble: %v\n%s", all[i].name, err, w.story())
			}
			clean[i] = w
		}
		sc := all[i].afterTrouble()
		w := prepared[i].resume(t, sc)
		w.unlockLater()
		var told []string
		for range 2 + r.IntN(most-1) {
			if r.IntN(3) == 0 {
				at := 1 + r.IntN(2*clean[i].points)
				w.crashAt = append(w.crashAt, at)
				told = append(told, fmt.Sprintf("crash at point %d", at))
				continue
			}
			tr := everyTrouble()[r.IntN(len(everyTrouble()))]
			nth := 1 + r.IntN(len(clean[i].calls)+10)
			w.strike(tr, nth)
			told = append(told, fmt.Sprintf("%s at call %d", tr.name, nth))
		}
		if err := w.play(); err != nil {
			t.Errorf("run %d, %s with %s: %v\n%s", runs, sc.name, strings.Join(told, ", "), err, w.story())
		}
		w.close()
		runs++
	}
	t.Logf("%d runs", runs)
}

// TestPairs samples pairs of crashes and faults for half a minute.
func TestPairs(t *testing.T) {
	t.Parallel()
	search(t, seconds(t, "PAIRS_SECONDS", 30), 2)
}

// TestSoak walks at random with up to five crashes and faults in each run, for as long as SOAK_SECONDS says.
func TestSoak(t *testing.T) {
	if os.Getenv("SOAK_SECONDS") == "" {
		t.Skip("needs SOAK_SECONDS: make soak SECONDS=n")
	}
	t.Parallel()
	search(t, seconds(t, "SOAK_SECONDS", 0), 5)
}
