package templates

import (
	"context"
	"strconv"
	"strings"

	"stowage/portal"
)

// The helpers here choose class names and icons for the words of the view-models. Class names are written out in
// full: the build of the style sheet keeps only what it finds in these files.

func alertClass(t Tone) string {
	switch t {
	case ToneGood:
		return "alert-success"
	case ToneWarn:
		return "alert-warning"
	case ToneBad:
		return "alert-danger"
	}
	return "alert-info"
}

func badgeClass(t Tone) string {
	switch t {
	case ToneGood:
		return "bg-green-lt"
	case ToneWarn:
		return "bg-yellow-lt"
	case ToneBad:
		return "bg-red-lt"
	case ToneInfo:
		return "bg-blue-lt"
	}
	return "bg-secondary-lt"
}

func toneIcon(t Tone) string {
	switch t {
	case ToneGood:
		return "check-circle"
	case ToneWarn, ToneBad:
		return "alert"
	}
	return "info"
}

func noticeIcon(n Notice) string {
	switch n.Kind {
	case "unreachable":
		return "unreachable"
	case "paused", "suspended":
		return "pause"
	case "locked":
		return "lock"
	case "tick":
		return "clock"
	}
	return toneIcon(n.Tone)
}

func wayClass(w WayOut) string {
	switch {
	case w.Danger:
		return "btn-danger"
	case w.Primary:
		return "btn-primary"
	}
	return "btn-plain"
}

func statusClass(state string) string {
	switch state {
	case "running":
		return "status-green"
	case "busy":
		return "status-blue"
	case "gone", "replaced":
		return "status-red"
	case "unknown", "suspended":
		return "status-yellow"
	}
	return "status-secondary"
}

func operationTone(state string) Tone {
	switch state {
	case "running":
		return ToneInfo
	case "held":
		return ToneWarn
	case "succeeded":
		return ToneGood
	case "failed":
		return ToneBad
	}
	return ToneNeutral
}

func operationWord(state string) portal.Text {
	switch state {
	case "queued":
		return "Waiting"
	case "running":
		return "Running"
	case "held":
		return "Held"
	case "succeeded":
		return "Done"
	case "failed":
		return "Failed"
	case "cancelled":
		return "Cancelled"
	}
	return portal.Verbatim(state)
}

func originWord(origin string) portal.Text {
	switch origin {
	case "scheduled":
		return "Scheduled"
	case "manual":
		return "Manual"
	case "before-restore":
		return "Before a restore"
	}
	return portal.Verbatim(origin)
}

func dotClass(state string) string {
	switch state {
	case "done":
		return "dot-done"
	case "late":
		return "dot-late"
	case "skipped":
		return "dot-skipped"
	case "failed":
		return "dot-failed"
	case "missed":
		return "dot-missed"
	case "running":
		return "dot-running"
	case "due":
		return "dot-due"
	}
	return "dot-none"
}

// SlotWord says what became of a slot, in the middle of a line.
func SlotWord(state string) portal.Text {
	switch state {
	case "none":
		return "no backup planned"
	case "due":
		return "waiting"
	case "done":
		return "done"
	case "late":
		return "late"
	case "skipped":
		return "skipped"
	case "failed":
		return "failed"
	case "missed":
		return "missed"
	case "running":
		return "running"
	}
	return portal.Verbatim(state)
}

// dotSummary counts the dots in words: "27 done, 1 failed".
func dotSummary(dots []Dot) portal.Text {
	n := map[string]int{}
	for _, d := range dots {
		n[d.State]++
	}
	summary := Listed(
		some(n["done"], portal.Count(n["done"], "%d done", "%d done")),
		some(n["late"], portal.Count(n["late"], "%d late", "%d late")),
		some(n["skipped"], portal.Count(n["skipped"], "%d skipped", "%d skipped")),
		some(n["failed"], portal.Count(n["failed"], "%d failed", "%d failed")),
		some(n["missed"], portal.Count(n["missed"], "%d missed", "%d missed")),
		some(n["running"], portal.Count(n["running"], "%d running", "%d running")),
	)
	if summary == "" {
		return "no backups planned"
	}
	return summary
}

// some says nothing of none.
func some(n int, t portal.Text) portal.Text {
	if n == 0 {
		return ""
	}
	return t
}

func initials(u *User) string {
	name := u.Name
	if name == "" {
		name = u.Email
	}
	var b strings.Builder
	for _, word := range strings.Fields(name) {
		r := []rune(word)
		b.WriteString(strings.ToUpper(string(r[:1])))
		if b.Len() >= 2 {
			break
		}
	}
	return b.String()
}

type zoneGroup struct {
	name  string
	zones []string
}

// groupZones parts IANA names by what stands before the slash, and keeps the present value even where it is not on
// the list.
func groupZones(zones []string, value string) []zoneGroup {
	var groups []zoneGroup
	index := map[string]int{}
	found := value == ""
	for _, z := range zones {
		found = found || z == value
		name, _, ok := strings.Cut(z, "/")
		if !ok {
			name = ""
		}
		i, ok := index[name]
		if !ok {
			i = len(groups)
			index[name] = i
			groups = append(groups, zoneGroup{name: name})
		}
		groups[i].zones = append(groups[i].zones, z)
	}
	if !found {
		groups = append([]zoneGroup{{zones: []string{value}}}, groups...)
	}
	return groups
}

// zoneLabel writes a zone's name as people do: "New York" for America/New_York.
func zoneLabel(zone string) string {
	_, rest, ok := strings.Cut(zone, "/")
	if !ok {
		rest = zone
	}
	return strings.ReplaceAll(rest, "_", " ")
}

func protectionClass(t Tone) string {
	switch t {
	case ToneBad:
		return "protection-bad"
	case ToneWarn:
		return "protection-warn"
	}
	return "protection-good"
}

func copyClass(state string) string {
	switch state {
	case "failed", "missing":
		return "copy-gone"
	case "suspect", "partial":
		return "copy-doubt"
	}
	return "copy-good"
}

// copyMeta is the line of plain facts of a copy: "Scheduled · mode snapshot · took 6 min".
func copyMeta(ctx context.Context, r BackupRow) string {
	var mode, took portal.Text
	if r.Mode != "" {
		mode = portal.Say("mode %s", r.Mode)
	}
	if r.Took != "" {
		took = portal.Say("took %s", r.Took)
	}
	return joined(ctx, " · ", originWord(r.Origin), mode, took)
}

func hasBadges(r BackupRow) bool {
	return len(r.Badges) > 0 || r.Protected || r.Next || (r.State != "good" && r.State != "running")
}

func dotBadge(state string) string {
	switch state {
	case "done":
		return badgeClass(ToneGood)
	case "late", "missed":
		return badgeClass(ToneWarn)
	case "failed":
		return badgeClass(ToneBad)
	case "running", "due":
		return badgeClass(ToneInfo)
	}
	return badgeClass(ToneNeutral)
}

func ledgerSummary(ctx context.Context, l Ledger) string {
	if l.Summary != "" {
		return tell(ctx, l.Summary)
	}
	return tell(ctx, dotSummary(l.Dots))
}

func scheduleSummary(s Schedule) portal.Text {
	if s.Summary != "" {
		return s.Summary
	}
	return "No automatic backups"
}

// sameTime is what the field for all days starts with.
func sameTime(s Schedule) string {
	switch {
	case s.SameTime != "":
		return s.SameTime
	case s.Suggest != nil:
		return s.Suggest.Time
	}
	return s.Days[0].Time
}

// runKnown says that a figure for the progress may be shown: never one that has stood still since an outage.
func runKnown(r Running) bool { return r.State == "running" && r.Percent >= 0 && r.Stale == "" }

// runTab is the tab's title while an operation runs: "(63 %) h100". It reads alike in all languages.
func runTab(r Running) string {
	if !runKnown(r) {
		return ""
	}
	return "(" + strconv.Itoa(r.Percent) + " %) " + r.Machine
}

// runSay is what the page reads aloud; the script speaks it at each quarter.
func runSay(ctx context.Context, r Running) string {
	if !runKnown(r) {
		return ""
	}
	return say(ctx, "%s: %d percent", r.Title, r.Percent)
}

// machine names a machine with its address: "h100 (203.0.113.7)".
func machine(h ServiceHead) string {
	if len(h.Addresses) == 0 {
		return h.Name
	}
	return h.Name + " (" + h.Addresses[0] + ")"
}

func dayField(i int) string  { return "day_" + strconv.Itoa(i) }
func timeField(i int) string { return "time_" + strconv.Itoa(i) }

func itoa(n int) string     { return strconv.Itoa(n) }
func i64toa(n int64) string { return strconv.FormatInt(n, 10) }

func oneZero(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

func join(list []string) string { return strings.Join(list, ", ") }

func numberWord(n int) portal.Text {
	words := []portal.Text{"none", "one", "two", "three", "four", "five", "six", "seven"}
	if n >= 0 && n < len(words) {
		return words[n]
	}
	return portal.Say("%d", n)
}
