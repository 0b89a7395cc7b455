package pvesim

import (
	"fmt"
	"slices"
	"strings"
)

// composite is what a property string is made of, such as a network card's
// "virtio=BC:24:11:00:00:01,bridge=vmbr0".
type composite struct {
	first string            // the part that a value without a name belongs to
	parts []param           //
	alias map[string]string // other names of parts

	// keys are names that are a part's value themselves, with another part's
	// value behind them: virtio=MAC is model=virtio and macaddr=MAC.
	keys       []string
	keyPart    string
	behindPart string
}

// pair is one "name=value" of a property string.
type pair struct{ name, value string }

// pairs splits a property string; a value without a name belongs to first.
func pairs(v, first string) []pair {
	var out []pair
	for part := range strings.SplitSeq(v, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		name, value, named := strings.Cut(part, "=")
		if !named {
			name, value = first, part
		}
		out = append(out, pair{name, value})
	}
	return out
}

// parse reads a property string under an option's name. The message begins as
// the real one's does, without "invalid format - ".
func (sh *composite) parse(v, option string, rel release) (map[string]string, string) {
	out := map[string]string{}
	for _, p := range pairs(v, sh.first) {
		name := p.name
		switch {
		case name == "":
			return nil, "value without key, but schema does not define a default key"
		case slices.Contains(sh.keys, name):
			if _, twice := out[sh.keyPart]; twice {
				return nil, fmt.Sprintf("key '%s' is already defined", sh.keyPart)
			}
			out[sh.keyPart] = name
			name = sh.behindPart
		case sh.alias[name] != "" && sh.knows(name, rel):
			name = sh.alias[name]
			if _, twice := out[name]; twice {
				return nil, fmt.Sprintf("key '%s' is already defined (via alias)", name)
			}
		}
		if _, twice := out[name]; twice {
			return nil, fmt.Sprintf("duplicate key in comma-separated list property: %s", name)
		}
		out[name] = p.value
	}
	var wrong []string
	say := func(name, msg string) { wrong = append(wrong, fmt.Sprintf("%s.%s: %s\n", option, name, msg)) }
	for name, value := range out {
		part, known := sh.part(name, rel)
		if !known {
			say(name, notDefined)
		} else if msg := part.check([]string{value}, rel); msg != "" {
			say(name, msg)
		}
	}
	for _, part := range sh.parts {
		if _, given := out[part.name]; part.required && !given {
			say(part.name, "property is missing and it is not optional")
		}
	}
	if len(wrong) > 0 {
		slices.Sort(wrong)
		return nil, "format error\n" + strings.TrimSuffix(strings.Join(wrong, ""), "\n")
	}
	return out, ""
}

func (sh *composite) part(name string, rel release) (param, bool) {
	for _, p := range sh.parts {
		if p.name == name && (p.only == "" || p.only == rel.name) {
			return p, true
		}
	}
	return param{}, false
}

// knows says whether an alias exists in a release: those of 9 have no parts in 8.
func (sh *composite) knows(alias string, rel release) bool {
	_, known := sh.part(sh.alias[alias], rel)
	return known
}

// joinPairs writes a property string with the first part in front and the
// others by name, as the configuration has them.
func joinPairs(lead string, parts map[string]string) string {
	out := lead
	for _, name := range sortedKeys(parts) {
		if out != "" {
			out += ","
		}
		out += name + "=" + parts[name]
	}
	return out
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
