package pvesim

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var (
	templateEscape   = regexp.MustCompile(`\\(.)`)
	templateVariable = regexp.MustCompile(`\{\{([^\s{}]+)\}\}`)
)

// checkTemplate words what is wrong with a notes-template. The positions are
// counted as the real one does.
func checkTemplate(template string) string {
	if strings.Contains(template, "\n") {
		return "contains a line feed\n"
	}
	var unknown []string
	for _, m := range templateEscape.FindAllStringSubmatchIndex(template, -1) {
		if ch := template[m[2]:m[3]]; ch != "n" && ch != `\` {
			unknown = append(unknown, fmt.Sprintf(`escape sequence '\%s' at char %d`, ch, m[0]))
		}
	}
	for _, m := range templateVariable.FindAllStringSubmatchIndex(template, -1) {
		name := template[m[2]:m[3]]
		if !slices.Contains([]string{"cluster", "guestname", "node", "vmid"}, name) {
			unknown = append(unknown, fmt.Sprintf("variable '%s' at char %d", name, m[1]-len(name)))
		}
	}
	if len(unknown) == 0 {
		return ""
	}
	return "found unknown: " + strings.Join(unknown, ", ") + "\n"
}

// fillTemplate is the notes that a template gives for one machine.
func (s *Sim) fillTemplate(template string, g *guest, node string) string {
	cluster := s.st.World.Cluster
	if cluster == "" {
		cluster = "standalone node"
	}
	name := g.Name
	if name == "" {
		name = fmt.Sprintf("VM %d", g.VMID)
	}
	out := templateEscape.ReplaceAllStringFunc(template, func(m string) string {
		if m == `\n` {
			return "\n"
		}
		return m[1:]
	})
	return templateVariable.ReplaceAllStringFunc(out, func(m string) string {
		switch strings.Trim(m, "{}") {
		case "cluster":
			return cluster
		case "guestname":
			return name
		case "node":
			return node
		default:
			return strconv.Itoa(g.VMID)
		}
	})
}
