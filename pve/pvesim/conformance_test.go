package pvesim

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// conformTopics are the recordings that are replayed, each through a simulator of its own.
var conformTopics = []string{
	"00-setup", "01-auth", "02-inventory", "03-config-resize", "04-power", "05-snapshots", "06-backup", "07-restore", "08-tasks",
	"09-locks", "10-concurrency", "11-clone-template-cloudinit-destroy", "12-failures-and-rights",
	"90-nine-only",
}

var (
	ofStorageAccess = regexp.MustCompile(`^/(?:access|storage)(?:/|$)`)
	ofNodeParts     = regexp.MustCompile(`^/nodes/[^/]+/(?:storage|vzdump|tasks)(?:/|$)`)
	ofAPI           = regexp.MustCompile(`^/api2/(?:json|extjs)`)
)

// asked says whether an exchange is replayed and compared. The rule looks at the request alone, never at what is
// simulated: every GET of any path; every call of any method on access, storages, vzdump and tasks; and whatever the
// door itself answers to any call, before it has found an endpoint (401, 501). What remains are the calls of features
// that are not simulated yet (to start a machine, to take its snapshot, to restore it, to change it): their effects on
// the world are told to the simulator (see worldEvents), and so are their tasks.
func (x exchange) asked() bool {
	if x.Method == "" || x.Status == 0 {
		return false // a remark, or a measurement
	}
	if onMachines[x.Topic] {
		return true
	}
	path := ofAPI.ReplaceAllString(x.Path, "")
	return x.Method == "GET" || ofStorageAccess.MatchString(path) || ofNodeParts.MatchString(path) || x.Status == 401 || x.Status == 501
}

// outcome is one exchange that was replayed.
type outcome struct {
	exchange
	diff string // how the answers differ; "" is not at all
	told bool   // it shows a task of a call that is not simulated: what the task said was told to the simulator
	used bool   // the portal makes such calls
}

func (o outcome) name(release string) string {
	return fmt.Sprintf("%s %s %d", release, o.Topic, o.Line)
}

// replayAll takes every topic through a simulator.
func replayAll(t *testing.T, release string, all []exchange, used []shape) []outcome {
	t.Helper()
	var out []outcome
	for _, topic := range conformTopics {
		r := newReplay(t, release, topic, ofTopic(all, topic), nil)
		for _, x := range r.xs {
			if !x.asked() {
				r.event(x)
				continue
			}
			o := outcome{exchange: x, told: r.toldTask(x)}
			o.used = slices.ContainsFunc(used, func(s shape) bool { return s.fits(x) })
			o.diff = r.step(x)
			out = append(out, o)
		}
	}
	return out
}

func ofTopic(all []exchange, topic string) []exchange {
	return slices.DeleteFunc(slices.Clone(all), func(x exchange) bool { return x.Topic != topic })
}

// TestConformance replays what real nodes answered: the recordings beside the checkout where they are, and the
// condensed copy always. The figures stand in the README.
func TestConformance(t *testing.T) {
	t.Parallel()
	used := portalCalls(t)
	results := map[string][]outcome{}
	for _, release := range recordedReleases {
		if haveRecords() {
			all := readRecords(t, release)
			if *condense {
				writeCondensed(t, release, all)
			}
			results[release] = replayAll(t, release, all, used)
			conform(t, release, "recordings", results[release])
		}
		copied := replayAll(t, release, readCondensed(t, release), used)
		if results[release] == nil {
			results[release] = copied
		}
		conform(t, release, "condensed copy", copied)
	}
	compareReadme(t, conformanceBlock(results))
}

// conform holds the outcomes against the table of known differences, and the figures against what is promised.
func conform(t *testing.T, release, source string, outcomes []outcome) {
	t.Helper()
	met := map[string]bool{}
	var matched, used, usedMatched int
	for _, o := range outcomes {
		why, known := deviations[o.name(release)]
		met[o.name(release)] = true
		if o.used {
			used++
		}
		switch {
		case o.diff == "" && known:
			t.Errorf("%s [%s] matches now: remove its excuse", o.name(release), o.Step)
		case o.diff == "":
			matched++
			if o.used {
				usedMatched++
			}
		case known:
			t.Logf("%s [%s]: %s", o.name(release), o.Step, why)
		default:
			t.Errorf("%s [%s] %s %s:\n%s", o.name(release), o.Step, o.Method, o.Path, o.diff)
		}
	}
	for name := range deviations {
		if strings.HasPrefix(name, release) && !met[name] {
			t.Errorf("the excuse for %q names no exchange", name)
		}
	}
	t.Logf("%s, %s: %d of %d exchanges match; of what the portal calls, %d of %d", release, source, matched, len(outcomes), usedMatched, used)
	if matched*100 < len(outcomes)*95 {
		t.Errorf("%s, %s: only %d of %d exchanges match", release, source, matched, len(outcomes))
	}
	if usedMatched < used || used == 0 {
		t.Errorf("%s, %s: of what the portal calls, only %d of %d match", release, source, usedMatched, used)
	}
}
