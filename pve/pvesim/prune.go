package pvesim

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// keep is a retention: how many to keep by each rule.
type keep map[string]int64

// keepRules in the order in which they are applied.
var keepRules = []struct{ name, layout string }{
	{"keep-last", ""},
	{"keep-hourly", "2006-01-02 15"},
	{"keep-daily", "2006-01-02"},
	{"keep-weekly", "week"},
	{"keep-monthly", "2006-01"},
	{"keep-yearly", "2006"},
}

func parseKeep(text string) (keep, string) {
	if text == "" {
		return nil, ""
	}
	kinds := map[string]string{"keep-all": "boolean"}
	for _, r := range keepRules {
		kinds[r.name] = "integer"
	}
	values, msg := propertyString(text, "", "prune-backups", kinds)
	if msg != "" {
		return nil, msg
	}
	out := keep{}
	for k, v := range values {
		out[k], _ = strconv.ParseInt(v, 10, 64)
	}
	return out, ""
}

// limit is how many archives the rules keep at most; 0 is all.
func (k keep) limit() int64 {
	if k["keep-all"] != 0 {
		return 0
	}
	var n int64
	for _, r := range keepRules {
		n += k[r.name]
	}
	return n
}

func (k keep) String() string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(k)) {
		out = append(out, fmt.Sprintf("%s=%d", name, k[name]))
	}
	return strings.Join(out, ", ")
}

// victims are the archives of one machine that a retention would remove, the
// oldest first. Protected ones neither count nor go (recorded in 06).
func (k keep) victims(archives []*archive, wall *time.Location) []*archive {
	if k.limit() == 0 {
		return nil
	}
	open := slices.DeleteFunc(slices.Clone(archives), func(a *archive) bool { return a.Protected })
	slices.SortStableFunc(open, func(a, b *archive) int { return b.Time.Compare(a.Time) })
	kept := map[*archive]bool{}
	for _, rule := range keepRules {
		seen := map[string]bool{}
		// A period that an earlier rule already keeps one of counts as served.
		for a := range kept {
			seen[period(a, rule.layout, wall)] = true
		}
		left := k[rule.name]
		for _, a := range open {
			if left == 0 {
				break
			}
			id := period(a, rule.layout, wall)
			if kept[a] || seen[id] {
				continue
			}
			seen[id], kept[a] = true, true
			left--
		}
	}
	gone := slices.DeleteFunc(open, func(a *archive) bool { return kept[a] })
	slices.Reverse(gone)
	return gone
}

func period(a *archive, layout string, wall *time.Location) string {
	switch t := a.Time.In(wall); layout {
	case "":
		return a.Volid
	case "week":
		year, week := t.ISOWeek()
		return fmt.Sprintf("%d-%d", year, week)
	default:
		return t.Format(layout)
	}
}
