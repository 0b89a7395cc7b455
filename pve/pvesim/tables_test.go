package pvesim

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// schemaMethod is one method in Proxmox VE's own description of its API.
type schemaMethod struct {
	Protected   flexible `json:"protected"`
	Permissions struct {
		Check []any `json:"check"`
	} `json:"permissions"`
	Parameters struct {
		Properties map[string]schemaParam `json:"properties"`
	} `json:"parameters"`
}

type schemaParam struct {
	Type      string          `json:"type"`
	Format    json.RawMessage `json:"format"`
	Enum      []string        `json:"enum"`
	Minimum   *limit          `json:"minimum"`
	Maximum   *limit          `json:"maximum"`
	MinLength int             `json:"minLength"`
	MaxLength int             `json:"maxLength"`
	Pattern   string          `json:"pattern"`
	Requires  string          `json:"requires"`
	Optional  flexible        `json:"optional"`
	Items     *schemaParam    `json:"items"`
}

// flexible is a truth that is written as 1, "1" or true.
type flexible bool

func (f *flexible) UnmarshalJSON(b []byte) error {
	*f = flexible(strings.Trim(string(b), `"`) == "1" || string(b) == "true")
	return nil
}

// limit is a number that is sometimes written as a text.
type limit int64

func (l *limit) UnmarshalJSON(b []byte) error {
	n, err := strconv.ParseInt(strings.Trim(string(b), `"`), 10, 64)
	*l = limit(n)
	return err
}

func readSchema(t *testing.T, release string) map[string]schemaMethod {
	t.Helper()
	f, err := os.Open(filepath.Join(recordsDir, "apidoc-"+release+".json.gz"))
	if err != nil {
		t.Skipf("needs the API schema beside the checkout: %v", err)
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	type branch struct {
		Path     string                     `json:"path"`
		Info     map[string]json.RawMessage `json:"info"`
		Children []json.RawMessage          `json:"children"`
	}
	out := map[string]schemaMethod{}
	var walk func(raw json.RawMessage)
	walk = func(raw json.RawMessage) {
		var b branch
		if err := json.Unmarshal(raw, &b); err != nil {
			t.Fatal(err)
		}
		for method, info := range b.Info {
			if route(method, b.Path, map[string]string{}) == nil {
				continue
			}
			var m schemaMethod
			if err := json.Unmarshal(info, &m); err != nil {
				t.Fatalf("%s %s: %v", method, b.Path, err)
			}
			out[method+" "+b.Path] = m
		}
		for _, c := range b.Children {
			walk(c)
		}
	}
	var roots []json.RawMessage
	if err := json.NewDecoder(z).Decode(&roots); err != nil {
		t.Fatal(err)
	}
	for _, r := range roots {
		walk(r)
	}
	return out
}

// TestTablesMatchSchema holds the tables of parameters and rights against the
// schema of each release.
func TestTablesMatchSchema(t *testing.T) {
	t.Parallel()
	for _, release := range []string{"8.4", "9.2"} {
		t.Run(release, func(t *testing.T) {
			t.Parallel()
			schema := readSchema(t, release)
			for _, ep := range endpoints {
				if ep.path == "/" {
					continue // the root is not described
				}
				name := ep.method + " " + ep.path
				want, described := schema[name]
				if !described {
					t.Errorf("%s is not in the schema", name)
					continue
				}
				if bool(want.Protected) != ep.protected {
					t.Errorf("%s: protected %v, schema %v", name, ep.protected, want.Protected)
				}
				if a, b := rightOf(want), ep.need; a != "" && a != fmt.Sprint(b.path, " ", strings.Join(b.privileges(releases[release]), "|")) {
					t.Errorf("%s: needs %v, schema %s", name, b, a)
				}
				have := map[string]string{}
				for _, p := range ep.params {
					if p.only == "" || p.only == release {
						have[p.name] = describe(p, releases[release])
					}
				}
				wanted := map[string]string{}
				for k, p := range want.Parameters.Properties {
					wanted[k] = p.describe()
				}
				if d := cmp.Diff(wanted, have); d != "" {
					t.Errorf("%s (-schema +table):\n%s", name, d)
				}
			}
		})
	}
}

// rightOf words the schema's check; "" where it has none that a table holds.
func rightOf(m schemaMethod) string {
	if len(m.Permissions.Check) < 3 || m.Permissions.Check[0] != "perm" {
		return ""
	}
	var privs []string
	for _, p := range m.Permissions.Check[2].([]any) {
		privs = append(privs, p.(string))
	}
	return fmt.Sprint(m.Permissions.Check[1], " ", strings.Join(privs, "|"))
}

func describe(p param, rel release) string {
	var parts []string
	if p.shape != nil {
		for _, part := range p.shape.parts {
			if part.only == "" || part.only == rel.name {
				parts = append(parts, part.name+" "+part.kind)
			}
		}
		for alias := range p.shape.alias {
			if _, own := p.shape.part(alias, rel); !own && p.shape.knows(alias, rel) {
				parts = append(parts, alias+" ")
			}
		}
		for _, key := range p.shape.keys {
			parts = append(parts, key+" ")
		}
	}
	for name, kind := range p.parts {
		parts = append(parts, name+" "+kind)
	}
	return words(p.kind, p.format, parts, p.enum, p.minimum, p.maximum, p.minLen, p.maxLen, p.pattern, p.requires, !p.required, p.kind == "array")
}

func (p schemaParam) describe() string {
	var format string
	var parts []string
	if len(p.Format) > 0 && json.Unmarshal(p.Format, &format) != nil {
		var object map[string]schemaParam
		_ = json.Unmarshal(p.Format, &object) // the other form that there is
		for name, part := range object {
			parts = append(parts, name+" "+part.Type)
		}
	}
	// The schema prints an expression with Perl's own wrapping.
	pattern := p.Pattern
	if inner, wrapped := strings.CutPrefix(pattern, "(?^:"); wrapped {
		pattern = strings.NewReplacer("(?^:", "(?:", `\@`, "@").Replace(strings.TrimSuffix(inner, ")"))
	}
	plainItems := p.Items != nil && p.Items.Type == "string" && p.Items.Format == nil
	return words(p.Type, format, parts, p.Enum, (*int64)(p.Minimum), (*int64)(p.Maximum), p.MinLength, p.MaxLength, pattern, p.Requires, bool(p.Optional), plainItems)
}

// words says all of a parameter: what is not said here is not held against the schema.
func words(kind, format string, parts, enum []string, minimum, maximum *int64, shortest, longest int, pattern, requires string, optional, ofTexts bool) string {
	out := kind
	add := func(format string, args ...any) { out += fmt.Sprintf(" "+format, args...) }
	if ofTexts {
		add("of any texts")
	}
	if format != "" {
		add("format %s", format)
	}
	if len(parts) > 0 {
		slices.Sort(parts)
		add("made of %v", parts)
	}
	if len(enum) > 0 {
		add("of %v", enum)
	}
	if minimum != nil {
		add("from %d", *minimum)
	}
	if maximum != nil {
		add("to %d", *maximum)
	}
	if shortest > 0 {
		add("at least %d long", shortest)
	}
	if longest > 0 {
		add("up to %d long", longest)
	}
	if pattern != "" {
		add("like %s", pattern)
	}
	if requires != "" {
		add("requires %s", requires)
	}
	if optional {
		add("optional")
	}
	return out
}

// TestFormatsKnown: every format that a table names is checked somehow.
func TestFormatsKnown(t *testing.T) {
	t.Parallel()
	for _, ep := range endpoints {
		for _, p := range ep.params {
			if p.format != "" && formats[p.format] == nil && shapedFormats[p.format] == nil && p.format != "pve-priv-list" {
				t.Errorf("%s %s: nothing checks the format %s of %s", ep.method, ep.path, p.format, p.name)
			}
		}
	}
}
