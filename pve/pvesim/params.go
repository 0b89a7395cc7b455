package pvesim

import (
	"cmp"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// params are the values of one call by name; a repeated one has several.
type params map[string][]string

func (p params) get(name string) string {
	if v := p[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

func (p params) has(name string) bool { return len(p[name]) > 0 }

func (p params) integer(name string, otherwise int64) int64 {
	if n, err := strconv.ParseInt(p.get(name), 10, 64); err == nil {
		return n
	}
	return otherwise
}

func (p params) boolean(name string, otherwise bool) bool {
	if !p.has(name) {
		return otherwise
	}
	return p.get(name) == "1"
}

// param is what the API's schema says of one parameter: names, types, formats
// and limits. A test holds the tables against the schema.
type param struct {
	name     string
	kind     string // string, integer, boolean, array
	required bool
	format   string
	enum     []string
	minimum  *int64
	maximum  *int64
	minLen   int
	maxLen   int
	pattern  string
	parts    map[string]string // of a property string whose form the schema spells out: names and types
	requires string
	only     string     // the one release that has it; "" is both
	shape    *composite // of a property string whose parts have forms of their own
	count    int        // of a numbered family, whose name ends in [n]
}

func text(name string) param    { return param{name: name, kind: "string"} }
func number(name string) param  { return param{name: name, kind: "integer"} }
func boolean(name string) param { return param{name: name, kind: "boolean"} }
func decimal(name string) param { return param{name: name, kind: "number"} }
func list(name string) param    { return param{name: name, kind: "array"} }

func (p param) must() param               { p.required = true; return p }
func (p param) as(format string) param    { p.format = format; return p }
func (p param) of(values ...string) param { p.enum = values; return p }
func (p param) atLeast(n int64) param     { p.minimum = &n; return p }
func (p param) atMost(n int64) param      { p.maximum = &n; return p }
func (p param) upTo(length int) param     { p.maxLen = length; return p }
func (p param) atLeastLong(length int) param {
	p.minLen = length
	return p
}
func (p param) made(parts map[string]string) param { p.parts = parts; return p }
func (p param) like(pattern string) param          { p.pattern = pattern; return p }
func (p param) with(other string) param            { p.requires = other; return p }
func (p param) onlyIn(release string) param        { p.only = release; return p }
func (p param) shaped(sh *composite) param         { p.shape = sh; return p }
func (p param) times(n int) param                  { p.count = n; return p }

const notDefined = "property is not defined in schema and the schema does not allow additional properties"

var numberLike = regexp.MustCompile(`^[+-]?\d+(\.\d+)?$`)

var integerLike = regexp.MustCompile(`^[+-]?\d+$`)

// verify checks values against a table and returns the errors by name.
func (p params) verify(table []param, rel release) map[string]string {
	errs := map[string]string{}
	known := map[string]bool{}
	for _, d := range table {
		if d.only != "" && d.only != rel.name {
			continue
		}
		if d.count > 0 {
			for _, one := range d.members(p) {
				known[one.name] = true
				if msg := one.check(p[one.name], rel); msg != "" {
					errs[one.name] = msg
				}
			}
			continue
		}
		known[d.name] = true
		values, given := p[d.name]
		if !given {
			if d.required {
				errs[d.name] = "property is missing and it is not optional"
			}
			continue
		}
		if msg := d.check(values, rel); msg != "" {
			errs[d.name] = msg
			continue
		}
		if d.requires != "" && !p.has(d.requires) {
			if rel.nine {
				errs[d.requires] = fmt.Sprintf("missing property required by '%s'", d.name)
			} else {
				errs[d.requires] = fmt.Sprintf("missing property - '%s' requires this property", d.name)
			}
		}
	}
	for name := range p {
		if !known[name] {
			errs[name] = notDefined
		}
	}
	return errs
}

// check words what is wrong with a value; "" is nothing.
func (d param) check(values []string, rel release) string {
	if d.kind == "array" {
		return ""
	}
	if len(values) > 1 {
		return fmt.Sprintf("type check ('%s') failed - got ARRAY", d.kind)
	}
	v := values[0]
	switch d.kind {
	case "integer":
		if !integerLike.MatchString(v) {
			return fmt.Sprintf("type check ('integer') failed - got '%s'", v)
		}
	case "boolean":
		if v != "0" && v != "1" {
			return fmt.Sprintf("type check ('boolean') failed - got '%s'", v)
		}
	case "number":
		if msg := d.checkNumber(v); msg != "" {
			return msg
		}
	}
	if sh := cmp.Or(d.shape, shapedFormats[d.format]); sh != nil {
		if _, msg := sh.parse(v, d.name, rel); msg != "" {
			return "invalid format - " + msg + "\n"
		}
	}
	if msg := d.misformed(v, rel); msg != "" {
		return "invalid format - " + msg + "\n"
	}
	if d.kind == "integer" {
		n, err := strconv.ParseInt(v, 10, 64)
		switch {
		case d.minimum != nil && (err == nil && n < *d.minimum || err != nil && v[0] == '-'):
			return fmt.Sprintf("value must have a minimum value of %d", *d.minimum)
		case d.maximum != nil && (err == nil && n > *d.maximum || err != nil):
			return fmt.Sprintf("value must have a maximum value of %d", *d.maximum)
		}
	}
	if len([]rune(v)) < d.minLen {
		return fmt.Sprintf("value must be at least %d characters long", d.minLen)
	}
	if d.maxLen > 0 && len([]rune(v)) > d.maxLen {
		return fmt.Sprintf("value may only be %d characters long", d.maxLen)
	}
	if d.pattern != "" {
		if matched, err := regexp.MatchString("^(?:"+d.pattern+")$", v); err != nil || !matched {
			return "value does not match the regex pattern"
		}
	}
	if len(d.enum) > 0 && !slices.Contains(d.enum, v) {
		return fmt.Sprintf("value '%s' does not have a value in the enumeration '%s'", v, strings.Join(d.enum, ", "))
	}
	return ""
}

// members are those of a numbered family that are given.
func (d param) members(given params) []param {
	family := strings.TrimSuffix(d.name, "[n]")
	var out []param
	for name := range given {
		n, err := strconv.Atoi(strings.TrimPrefix(name, family))
		if err == nil && n >= 0 && n < d.count && name == family+strconv.Itoa(n) {
			one := d
			one.name, one.count = name, 0
			out = append(out, one)
		}
	}
	return out
}

// checkNumber words what is wrong with a number that may have a fraction.
func (d param) checkNumber(v string) string {
	n, err := strconv.ParseFloat(v, 64)
	switch {
	case err != nil || math.IsNaN(n) || math.IsInf(n, 0):
		return fmt.Sprintf("type check ('number') failed - got '%s'", v)
	case d.minimum != nil && n < float64(*d.minimum):
		return fmt.Sprintf("value must have a minimum value of %d", *d.minimum)
	case d.maximum != nil && n > float64(*d.maximum):
		return fmt.Sprintf("value must have a maximum value of %d", *d.maximum)
	}
	return ""
}

// misformed words what a value's format says against it; "" is nothing.
func (d param) misformed(v string, rel release) string {
	switch {
	case d.format == "pve-priv-list":
		return each(v, func(v string) string {
			if !slices.Contains(rel.privileges(), v) {
				return fmt.Sprintf("invalid privilege '%s'", v)
			}
			return ""
		})
	case d.parts != nil:
		_, msg := propertyString(v, "", d.name, d.parts)
		return msg
	case formats[d.format] != nil:
		return formats[d.format](v)
	}
	return ""
}

var (
	nodeName  = regexp.MustCompile(`^[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?$`)
	storageID = regexp.MustCompile(`(?i)^[a-z][a-z0-9\-_.]*[a-z0-9]$`)
	configID  = regexp.MustCompile(`(?i)^[a-z][a-z0-9_-]+$`)
	mailLike  = regexp.MustCompile(`^[^\s@]+(@[^\s@]+)?$`)
	listSplit = regexp.MustCompile(`[,;\s]+`)
)

const (
	roleName = `^[A-Za-z0-9.\-_]+$`
	userName = `^[^\s:/]+@[A-Za-z][A-Za-z0-9.\-_]+$`
	hostName = `^[A-Za-z0-9](?:[A-Za-z0-9.:\-]*[A-Za-z0-9])?$`
	hostPort = `^(?:[A-Za-z0-9](?:[A-Za-z0-9.\-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(?::\d{1,5})?$`
)

// formats words what is wrong with a value of a named format; "" is nothing.
var formats = map[string]func(string) string{
	"pve-node": func(v string) string {
		if !nodeName.MatchString(v) {
			return "value does not look like a valid node name"
		}
		return ""
	},
	"pve-vmid": vmidFormat,
	"pve-vmid-list": func(v string) string {
		return each(v, vmidFormat)
	},
	"pve-storage-id": func(v string) string {
		if !storageID.MatchString(v) {
			return fmt.Sprintf("storage ID '%s' contains illegal characters", v)
		}
		return ""
	},
	"pve-storage-id-list": func(v string) string {
		return each(v, func(v string) string {
			if !storageID.MatchString(v) {
				return fmt.Sprintf("storage ID '%s' contains illegal characters", v)
			}
			return ""
		})
	},
	"pve-storage-content": contentFormat,
	"pve-storage-content-list": func(v string) string {
		return each(v, contentFormat)
	},
	"pve-configid": func(v string) string {
		if !configID.MatchString(v) {
			return fmt.Sprintf("invalid configuration ID '%s'", v)
		}
		return ""
	},
	"pve-task-status-type-list": func(v string) string {
		return each(v, func(v string) string {
			if !slices.Contains([]string{"ok", "error", "warning", "unknown"}, v) {
				return fmt.Sprintf("invalid status '%s'", v)
			}
			return ""
		})
	},
	"email-or-username-list": func(v string) string {
		return each(v, func(v string) string {
			if !mailLike.MatchString(v) {
				return "value does not look like a valid email address or user name"
			}
			return ""
		})
	},
	"prune-backups": func(v string) string {
		_, msg := parseKeep(v)
		return msg
	},
	"backup-fleecing": func(v string) string {
		_, msg := parseFleecing(v)
		return msg
	},
	"pve-node-list": listOf(matches(`^[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?$`, "value does not look like a valid node name")),

	"pve-realm":        matches(`^[A-Za-z][A-Za-z0-9.\-_]+$`, "value does not look like a valid realm"),
	"pve-roleid":       matches(roleName, "role name '%s' contains invalid characters"),
	"pve-roleid-list":  listOf(matches(roleName, "role name '%s' contains invalid characters")),
	"pve-groupid-list": listOf(matches(`^[A-Za-z0-9.\-_]+$`, "group name '%s' contains invalid characters")),
	"pve-poolid":       matches(`^[A-Za-z0-9.\-_]+(?:/[A-Za-z0-9.\-_]+){0,2}$`, "pool name '%s' contains invalid characters"),
	"pve-userid":       matches(userName, "value '%s' does not look like a valid user name"),
	"pve-userid-list":  listOf(matches(userName, "value '%s' does not look like a valid user name")),
	"pve-tokenid-list": listOf(matches(`^[^\s:/]+@[A-Za-z][A-Za-z0-9.\-_]+![A-Za-z][A-Za-z0-9.\-_]+$`, "value '%s' does not look like a valid token ID")),
	"email-opt":        matches(`^$|^[^\s@]+@[^\s@]+$`, "value does not look like a valid email address"),

	"pve-storage-path":            matches(`^/[^\x00-\x1f]*$|^/$`, "value does not look like a valid absolute path"),
	"pve-storage-server":          matches(hostName, "value does not look like a valid server name or IP address"),
	"pve-storage-portal-dns":      matches(hostPort, "value does not look like a valid portal address"),
	"pve-storage-portal-dns-list": listOf(matches(hostPort, "value does not look like a valid portal address")),
	"pve-storage-vgname":          matches(`(?i)^[a-z0-9][a-z0-9\-_.]*[a-z0-9]$`, "lvm name '%s' contains illegal characters"),
	"pve-storage-options":         matches(`^\S+$`, "value does not look like valid mount options"),
	"pve-storage-zfs-blocksize":   matches(`^\d+[kKmM]?$`, "value does not look like a valid block size"),
	"pve-dir-override-list":       listOf(matches(`^[a-z]+=[^.\s][^\s]*$`, "invalid override '%s'")),
	"pve-volume-id":               matches(`(?i)^[a-z][a-z0-9\-_.]*[a-z0-9]:.+$`, "unable to parse volume ID '%s'"),

	"backup-performance": func(v string) string {
		_, msg := propertyString(v, "", "performance", map[string]string{"max-workers": "integer", "pbs-entries-max": "integer"})
		return msg
	},
}

func vmidFormat(v string) string {
	if n, err := strconv.ParseInt(v, 10, 64); err != nil || n < 100 || n > 999999999 || v[0] < '1' || v[0] > '9' {
		return "value does not look like a valid VM ID"
	}
	return ""
}

func contentFormat(v string) string {
	if !slices.Contains([]string{"images", "rootdir", "vztmpl", "iso", "backup", "snippets", "import", "none"}, v) {
		return fmt.Sprintf("invalid content type '%s'", v)
	}
	return ""
}

func each(v string, check func(string) string) string {
	for _, one := range splitList(v) {
		if msg := check(one); msg != "" {
			return msg
		}
	}
	return ""
}

func splitList(v string) []string {
	return slices.DeleteFunc(listSplit.Split(strings.TrimSpace(v), -1), func(s string) bool { return s == "" })
}

// matches is a format that one expression describes; %s in the words is the value.
func matches(pattern, words string) func(string) string {
	re := regexp.MustCompile(pattern)
	return func(v string) string {
		if re.MatchString(v) {
			return ""
		}
		return strings.ReplaceAll(words, "%s", v)
	}
}

// listOf is a list of values of one format.
func listOf(check func(string) string) func(string) string {
	return func(v string) string { return each(v, check) }
}

// propertyString reads "a=1,b=2"; a value without a name belongs to first.
// The message begins as the real one's does, without "invalid format - ".
func propertyString(v, first, name string, kinds map[string]string) (map[string]string, string) {
	out := map[string]string{}
	var wrong []string
	for _, part := range splitList(v) {
		k, val, named := strings.Cut(part, "=")
		if !named {
			k, val = first, part
		}
		kind, known := kinds[k]
		switch {
		case k == "":
			return nil, "value without key, but schema does not define a default key"
		case !known:
			wrong = append(wrong, fmt.Sprintf("%s.%s: %s", name, k, notDefined))
		case kind == "integer" && !integerLike.MatchString(val):
			wrong = append(wrong, fmt.Sprintf("%s.%s: type check ('integer') failed - got '%s'", name, k, val))
		case kind == "number" && !numberLike.MatchString(val):
			wrong = append(wrong, fmt.Sprintf("%s.%s: type check ('number') failed - got '%s'", name, k, val))
		case kind == "boolean" && val != "0" && val != "1":
			wrong = append(wrong, fmt.Sprintf("%s.%s: type check ('boolean') failed - got '%s'", name, k, val))
		default:
			out[k] = val
		}
	}
	if len(wrong) > 0 {
		return nil, "format error\n" + strings.Join(wrong, "\n")
	}
	return out, ""
}

func parseFleecing(v string) (map[string]string, string) {
	return propertyString(v, "enabled", "fleecing", map[string]string{"enabled": "boolean", "storage": "string"})
}
