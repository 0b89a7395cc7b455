package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"stowage/portal"
)

// Commands speak English, to people and to programs, whatever the languages of those whom a text is for.
func TestCommandsSpeakEnglish(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 20, 3, 0, 0, 0, time.UTC)
	removed := portal.Say("Removed the backup of %s.", portal.When{At: at, Layout: "Mon 2 Jan 15:04"})
	const want = "Removed the backup of Fri 20 Nov 03:00."
	raw, err := json.Marshal(operationOf(portal.Operation{Reason: removed, Warning: removed}, "", "", ""))
	if err != nil || strings.Count(string(raw), want) != 2 {
		t.Errorf("an operation: %s, %v", raw, err)
	}
	found := shown([]portal.Finding{{Level: "error", Text: removed, Mend: portal.Say("Create it, or grant Datastore.Audit on /storage/%s.", "local")}})
	var text bytes.Buffer
	findingsText(&text, found)
	if text.String() != "error\t"+want+"\n\t→ Create it, or grant Datastore.Audit on /storage/local.\n" {
		t.Errorf("findings: %q", text.String())
	}
	if got := explain(&portal.Error{Code: portal.CodeBusy, Sentence: removed, Staff: "exact"}); got != want+" (exact)" {
		t.Errorf("a refusal: %q", got)
	}
	// What holds a text as it is, and is printed by mistake, is English all the same.
	if raw, err = json.Marshal(map[string]any{"reason": removed}); err != nil || string(raw) != `{"reason":"`+want+`"}` {
		t.Errorf("a text: %s, %v", raw, err)
	}
}
