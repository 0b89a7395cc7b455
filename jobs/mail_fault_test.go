package jobs_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stowage/portal"
	"stowage/store"
)

// TestMailFaultEverywhere lets the mail server fail at every word that it is told, in every way that may pass, and the portal
// die while it waits for the answer: every mail arrives in order, and the only one that may come twice is the one whose
// answer was lost, under the same name.
func TestMailFaultEverywhere(t *testing.T) {
	t.Parallel()
	words, _ := mailsWith(t, 0, "")
	if words < 10 {
		t.Fatalf("%d words were said to the server, which is too few", words)
	}
	for _, answer := range []string{"drop", "421 closing", "451 not now", "taken and drop", "dies"} {
		for nth := 1; nth <= words; nth++ {
			if _, wrong := mailsWith(t, nth, answer); wrong != "" {
				t.Errorf("%q at word %d of %d: %s", answer, nth, words, wrong)
			}
		}
	}
}

// mailsWith sends three mails, with an answer of the server at the nth word, and tells how many words were said in the
// first talks, and what is wrong with what arrived.
func mailsWith(t *testing.T, nth int, answer string) (words int, wrong string) {
	b := newBureau(t)
	for i := range 2 {
		b.failed(b.h100, fmt.Sprint("number ", i))
	}
	b.tell(store.ToStaff, b.h101, portal.TopicHeld, portal.Notice{Why: "x"})
	dies := false
	b.office.failing(func(command, _ string) string {
		if words++; words != nth || answer == "taken and drop" && command != "." {
			return ""
		}
		if answer == "dies" {
			dies = true
			return "drop"
		}
		return answer
	})
	b.db.Hook = func(string) {
		b.office.mu.Lock()
		now := dies
		b.office.mu.Unlock()
		if now {
			panic("crash")
		}
	}
	crashed := func() (died bool) {
		defer func() { died = recover() != nil }()
		b.send()
		return false
	}()
	b.db.Hook = nil
	b.office.failing(nil)
	if crashed {
		b.db = b.open()
		b.must(b.db.Ready(t.Context()))
		b.engine = b.newEngine(b.db)
	}
	b.pass(12*time.Minute, time.Minute)
	seen := map[string]bool{}
	var client []string
	for _, l := range b.office.letters() {
		if _, text, _ := l.parts(t); !seen[l.header("Message-Id")] {
			seen[l.header("Message-Id")] = true
			if strings.HasPrefix(l.to, "ada") {
				client = append(client, strings.SplitN(text, "\n", 2)[0])
			}
		}
	}
	if d := cmp.Diff([]string{"Number 0.", "Number 1."}, client); d != "" || len(seen) != 3 {
		return words, fmt.Sprintf("%d different letters, Ada's (-want +got):\n%s", len(seen), d)
	}
	most := 3
	if answer == "taken and drop" || answer == "dies" {
		most++
	}
	if n := len(b.office.letters()); n > most {
		return words, fmt.Sprintf("%d letters", n)
	}
	return words, ""
}
