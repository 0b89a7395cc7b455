package pvesim

import (
	"context"
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stowage/pve"
	"stowage/pve/pvetest"
)

var updateReadme = flag.Bool("update-readme", false, "write the figures of TestConformance into the README")

// shape is a method and a path with places for names: "GET /nodes/{node}/tasks".
type shape struct{ method, pattern string }

func (s shape) fits(x exchange) bool {
	path := strings.Trim(x.Path, "/")
	return x.Method == s.method && !x.FullPath && matchPath(strings.Split(strings.Trim(s.pattern, "/"), "/"), strings.Split(path, "/"), map[string]string{})
}

// portalCalls are the calls that the portal makes: those that its client sends while pve/pvetest takes it through all
// that the portal does with it, on both releases.
func portalCalls(t *testing.T) []shape {
	t.Helper()
	var mu sync.Mutex
	seen := map[shape]bool{}
	for _, release := range recordedReleases {
		c := &clock{t: noon}
		s, err := New(ContractWorld(1, 2), Options{Release: release, Now: c.now})
		if err != nil {
			t.Fatal(err)
		}
		ts := httptest.NewServer(s)
		defer ts.Close()
		differences, err := pvetest.Target{
			URL: ts.URL, TokenID: PortalToken, Secret: Secret, Node: "pve1", Storage: "local", VMID: 100, Now: c.now,
			Sleep: func(ctx context.Context, d time.Duration) error { c.add(d); return ctx.Err() },
			Observe: func(call pve.Call) {
				mu.Lock()
				defer mu.Unlock()
				seen[shape{call.Method, call.Path}] = true
			},
		}.Run(t.Context())
		if err != nil || len(differences) > 0 {
			t.Fatalf("%v %v", differences, err)
		}
	}
	var out []shape
	for s := range seen {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b shape) int { return strings.Compare(a.pattern+a.method, b.pattern+b.method) })
	if len(out) < 15 {
		t.Fatalf("only %d calls were seen: %v", len(out), out)
	}
	return out
}

var topicNames = map[string]string{
	"00-setup": "setup", "01-auth": "auth", "02-inventory": "inventory", "03-config-resize": "config and resize",
	"04-power": "power", "05-snapshots": "snapshots", "07-restore": "restore", "09-locks": "locks",
	"11-clone-template-cloudinit-destroy": "clone, template, cloud-init, destroy", "90-nine-only": "9.2 alone", "06-backup": "backup", "08-tasks": "tasks",
	"10-concurrency": "concurrency", "12-failures-and-rights": "failures and rights",
}

// tally counts the outcomes of one topic, or of all.
type tally struct{ matched, all, usedMatched, used, told, toldMatched int }

func tallyOf(outcomes []outcome, topic string) (n tally) {
	for _, o := range outcomes {
		if topic != "" && o.Topic != topic {
			continue
		}
		match := 0
		if o.diff == "" {
			match = 1
		}
		n.all++
		n.matched += match
		if o.used {
			n.used++
			n.usedMatched += match
		}
		if o.told {
			n.told++
			n.toldMatched += match
		}
	}
	return n
}

// conformanceBlock is what the README says.
func conformanceBlock(results map[string][]outcome) string {
	var b strings.Builder
	b.WriteString("| recorded exchanges reproduced |")
	for _, release := range recordedReleases {
		fmt.Fprintf(&b, " %s | of what the portal calls |", release)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|---|", len(recordedReleases)) + "\n")
	row := func(name, topic string) {
		fmt.Fprintf(&b, "| %s |", name)
		for _, release := range recordedReleases {
			n := tallyOf(results[release], topic)
			fmt.Fprintf(&b, " %d of %d | %d of %d |", n.matched, n.all, n.usedMatched, n.used)
		}
		b.WriteString("\n")
	}
	for _, topic := range conformTopics {
		row(topicNames[topic], topic)
	}
	row("**all**", "")
	b.WriteString("\nThat is")
	for i, release := range recordedReleases {
		n := tallyOf(results[release], "")
		fmt.Fprintf(&b, "%s %.1f %% for %s", []string{"", " and"}[i], 100*float64(n.matched)/float64(n.all), release)
	}
	b.WriteString(". Of them")
	for i, release := range recordedReleases {
		n := tallyOf(results[release], "")
		fmt.Fprintf(&b, "%s %d (%s)", []string{"", " and"}[i], n.told, release)
	}
	b.WriteString(" show the status or log of a task that a call started which is not simulated yet (a start, a snapshot, a restore …): the simulator is told what such a task said and how it ended, and what is compared is how it is shown. Without these it is")
	for i, release := range recordedReleases {
		n := tallyOf(results[release], "")
		fmt.Fprintf(&b, "%s %d of %d", []string{"", " and"}[i], n.matched-n.toldMatched, n.all-n.told)
	}
	b.WriteString(".\n\nWhat differs, and why:\n\n")
	var whys []string
	lines := map[string][]string{}
	for _, release := range recordedReleases {
		for _, o := range results[release] {
			if o.diff == "" {
				continue
			}
			why := deviations[o.name(release)]
			if lines[why] == nil {
				whys = append(whys, why)
			}
			lines[why] = append(lines[why], o.name(release))
		}
	}
	for _, why := range whys {
		fmt.Fprintf(&b, "- %s (%s)\n", why, strings.Join(lines[why], ", "))
	}
	if len(whys) == 0 {
		b.WriteString("- nothing\n")
	}
	return b.String()
}

const (
	readmeFile  = "../../README.md"
	blockBegins = "<!-- conformance:begin -->\n"
	blockEnds   = "<!-- conformance:end -->"
)

// compareReadme holds the README's block against the figures.
func compareReadme(t *testing.T, want string) {
	t.Helper()
	text, err := os.ReadFile(readmeFile)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begins := strings.Cut(string(text), blockBegins)
	have, after, ends := strings.Cut(rest, blockEnds)
	if !begins || !ends {
		t.Fatalf("the README has no block between %q and %q", blockBegins, blockEnds)
	}
	if have == want {
		return
	}
	if !*updateReadme {
		t.Errorf("the README says otherwise (go test ./pve/pvesim -run TestConformance -update-readme writes it anew; -README +test):\n%s", cmp.Diff(have, want))
		return
	}
	if err := os.WriteFile(readmeFile, []byte(before+blockBegins+want+blockEnds+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
