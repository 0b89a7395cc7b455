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

// pruneParams is what a look at a retention takes, and its carrying out.
var pruneParams = []param{
	inNode, inStorage, text("prune-backups").as("prune-backups"), text("type").of("qemu", "lxc"),
	number("vmid").as("pve-vmid").atLeast(100).atMost(999999999),
}

// retention is the one that a call names, else the storage's own.
func (s *Sim) retention(c *call) (keep, *answer) {
	name := c.params.get("storage")
	st := s.storage(name)
	if st == nil {
		a := fail(500, "storage '%s' does not exist", name)
		return nil, &a
	}
	if c.params.has("prune-backups") {
		k, _ := parseKeep(c.params.get("prune-backups"))
		return k, nil
	}
	if st.PruneBackups == "" {
		a := fail(500, "no prune-backups options configured for storage '%s'", name)
		return nil, &a
	}
	k, _ := parseKeep(st.PruneBackups)
	return k, nil
}

// pruneGroup are the archives that a retention is about, machine by machine.
func (s *Sim) pruneGroup(c *call) [][]*archive {
	if c.params.get("type") == "lxc" {
		return nil
	}
	var out [][]*archive
	of := map[int][]*archive{}
	only := int(c.params.integer("vmid", 0))
	for _, a := range s.shelfOf(s.keyOf(c.params.get("storage"), c.node)).Archives {
		if only == 0 || a.VMID == only {
			of[a.VMID] = append(of[a.VMID], a)
		}
	}
	for _, vmid := range slices.Sorted(maps.Keys(of)) {
		slices.SortStableFunc(of[vmid], func(a, b *archive) int { return a.Time.Compare(b.Time) })
		out = append(out, of[vmid])
	}
	return out
}

// getPrune says what a retention would do.
func getPrune(s *Sim, c *call) answer {
	k, refused := s.retention(c)
	if refused != nil {
		return *refused
	}
	out := []map[string]any{}
	for _, archives := range s.pruneGroup(c) {
		if s.archiveRight(c.who, c.params.get("storage"), archives[0].VMID) != nil {
			continue
		}
		victims := k.victims(archives, s.local(c.node, c.at).Location())
		for _, a := range archives {
			mark := "keep"
			if a.Protected {
				mark = "protected"
			} else if slices.Contains(victims, a) {
				mark = "remove"
			}
			out = append(out, map[string]any{"volid": a.Volid, "ctime": a.Time.Unix(), "mark": mark, "type": "qemu", "vmid": a.VMID})
		}
	}
	return ok(out)
}

// deletePrune carries a retention out in a task. Without a machine it is about
// everybody's archives.
func deletePrune(s *Sim, c *call) answer {
	name, vmid := c.params.get("storage"), int(c.params.integer("vmid", 0))
	id := name
	if vmid == 0 {
		if a := s.demand(c.who, "/storage/"+name, "Datastore.Allocate"); a != nil {
			return *a
		}
	} else {
		if a := s.archiveRight(c.who, name, vmid); a != nil {
			return *a
		}
		id = fmt.Sprintf("%d@%s", vmid, name)
	}
	k, refused := s.retention(c)
	if refused != nil {
		return *refused
	}
	t := s.newTask(c, c.node, "prunebackups", id)
	t.Wipe = &wipe{Storage: name, Prune: true, At: c.at + 40 + int64(s.random("prune", fmt.Sprint(t.Seq)).Uint64()%120)}
	for _, archives := range s.pruneGroup(c) {
		for _, a := range k.victims(archives, s.local(c.node, c.at).Location()) {
			t.Wipe.Victims = append(t.Wipe.Victims, a.Volid)
		}
	}
	return ok(t.UPID)
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
