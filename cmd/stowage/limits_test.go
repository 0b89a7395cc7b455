package main

import (
	"bufio"
	"cmp"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

var (
	limitsFlag   = flag.String("limits", "", "measure the limits: all of them, or those whose names are given, separated by commas")
	limitsReadme = flag.String("limits-readme", "", "write the table of all limits into this file, between <!-- limits --> and <!-- /limits -->")
)

// measures are the limits in the order in which they are measured, which is from the one that wants a quiet machine
// most to the one that wants it least.
var measures = []struct {
	name    string
	measure func(*testing.T, *limits)
}{
	{"tick", measureTick},
	{"plan", measurePlan},
	{"fair", measureFair},
	{"pages", measurePages},
	{"streams", measureStreams},
	{"memory", measureMemory},
	{"start", measureStart},
	{"kill", measureKill},
	{"listing", measureListing},
	{"calls", measureCalls},
	{"expire", measureExpire},
	{"restore", measureRestore},
	{"night", measureNight},
}

// TestLimits measures how far the portal carries, and prints one table: what was measured, the limit that is wanted,
// and what bounds it. It fails where something breaks; a limit that isn't reached is said in the table.
func TestLimits(t *testing.T) {
	if *limitsFlag == "" {
		t.Skip("needs -limits=all: make bench")
	}
	l := &limits{out: os.Stderr}
	wanted := strings.Split(*limitsFlag, ",")
	for _, m := range measures {
		if *limitsFlag != "all" && !slices.Contains(wanted, m.name) {
			continue
		}
		began := time.Now()
		l.say("%s …", m.name)
		if !t.Run(m.name, func(t *testing.T) { m.measure(t, l) }) {
			l.row(m.name, "", "it broke: see above", false, "")
		}
		l.say("%s took %s", m.name, time.Since(began).Round(100*time.Millisecond))
	}
	l.close(t)
	l.print(os.Stdout)
	if *limitsReadme == "" {
		return
	}
	if *limitsFlag != "all" || t.Failed() {
		t.Fatalf("%s keeps its table: only all limits together are written there", *limitsReadme)
	}
	if err := l.publish(*limitsReadme); err != nil {
		t.Fatal(err)
	}
}

// publish puts the table into a file, in the place of the one that is there.
func (l *limits) publish(file string) error {
	const open, shut = "<!-- limits -->\n", "<!-- /limits -->"
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, opened := strings.Cut(string(text), open)
	_, after, closed := strings.Cut(rest, shut)
	if !opened || !closed {
		return fmt.Errorf("%s has no %s … %s", file, strings.TrimSpace(open), shut)
	}
	var table strings.Builder
	l.print(&table)
	return os.WriteFile(file, []byte(before+open+"```\n"+strings.Trim(table.String(), "\n")+"\n```\n"+shut+after), 0o644)
}

// limits collects what was measured, and the data that several measures share.
type limits struct {
	out    io.Writer // progress
	rows   []limitRow
	estate *estate // the large one
}

// limitRow is one line of the table. The verdict is "" where no limit is set.
type limitRow struct{ what, limit, measured, verdict, bound string }

func (l *limits) say(format string, args ...any) {
	fmt.Fprintf(l.out, time.Now().Format("15:04:05 ")+format+"\n", args...)
}

// row adds a line that has a limit.
func (l *limits) row(what, limit, measured string, reached bool, bound string) {
	verdict := "missed"
	if reached {
		verdict = "reached"
	}
	l.add(limitRow{what, limit, measured, verdict, bound})
}

// figure adds a line for which no limit is set.
func (l *limits) figure(what, measured, bound string) {
	l.add(limitRow{what, "", measured, "", bound})
}

func (l *limits) add(r limitRow) {
	l.rows = append(l.rows, r)
	l.say("  %s: %s (%s) %s", r.what, r.measured, cmp.Or(r.limit, "no limit"), r.verdict)
}

// print writes the table, each cell broken into lines of a bearable width.
func (l *limits) print(w io.Writer) {
	fmt.Fprintf(w, "\nLimits, measured on %s\n\n", machine())
	widths := [5]int{38, 22, 46, 8, 52}
	line := func(r limitRow) {
		cells, deep := [5][]string{}, 0
		for i, text := range []string{r.what, r.limit, r.measured, r.verdict, r.bound} {
			cells[i] = broken(text, widths[i])
			deep = max(deep, len(cells[i]))
		}
		for n := range deep {
			var b strings.Builder
			for i, cell := range cells {
				text := ""
				if n < len(cell) {
					text = cell[n]
				}
				b.WriteString(text + strings.Repeat(" ", max(0, widths[i]-utf8.RuneCountInString(text))+2))
			}
			fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
		}
	}
	rule := limitRow{}
	for i, cell := range []*string{&rule.what, &rule.limit, &rule.measured, &rule.verdict, &rule.bound} {
		*cell = strings.Repeat("-", widths[i])
	}
	line(limitRow{"what", "limit", "measured", "verdict", "what bounds it"})
	for _, r := range l.rows {
		line(rule)
		line(r)
	}
	fmt.Fprintln(w)
}

// broken gives a text in lines of at most width characters, cut between words.
func broken(text string, width int) (lines []string) {
	for paragraph := range strings.SplitSeq(text, "\n") {
		line := ""
		for _, word := range strings.Fields(paragraph) {
			switch {
			case line == "":
				line = word
			case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= width:
				line += " " + word
			default:
				lines, line = append(lines, line), word
			}
		}
		lines = append(lines, line)
	}
	return lines
}

// machine names what was measured on.
func machine() string {
	name := runtime.GOARCH
	if f, err := os.Open("/proc/cpuinfo"); err == nil {
		defer f.Close()
		for s := bufio.NewScanner(f); s.Scan(); {
			if key, value, _ := strings.Cut(s.Text(), ":"); strings.TrimSpace(key) == "model name" {
				name = strings.TrimSpace(value)
			}
		}
	}
	n := runtime.NumCPU()
	cores := fmt.Sprintf("%d cores", n)
	if n == 1 {
		cores = "one core"
	}
	return fmt.Sprintf("%s, %s, %s, %s", name, cores, runtime.GOOS, runtime.Version())
}

// quantile gives the value below which a share of the sample lies. It sorts the sample.
func quantile(sample []time.Duration, share float64) time.Duration {
	if len(sample) == 0 {
		return 0
	}
	slices.Sort(sample)
	return sample[min(int(share*float64(len(sample))), len(sample)-1)]
}

// close ends what several measures shared.
func (l *limits) close(t *testing.T) {
	if l.estate == nil || os.Getenv("STOWAGE_ESTATE") != "" {
		return
	}
	if err := os.RemoveAll(l.estate.dir); err != nil {
		t.Error(err)
	}
	l.estate = nil
}
