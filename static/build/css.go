package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// rule is one rule of a style sheet: what stands before the brace, then either declarations or further rules.
// A statement without braces (@charset) has only a head.
type rule struct {
	head  string
	body  string
	rules sheet
	group bool // holds rules: @media, @supports
}

type sheet []rule

// grouping at-rules hold rules; every other block (also @keyframes) is kept or dropped as a whole.
var grouping = regexp.MustCompile(`^@(media|supports|layer|container)\b`)

// parseCSS reads a style sheet without nested rules, which is what bundling leaves.
func parseCSS(text string) (sheet, error) {
	var rules sheet
	for rest := text; ; {
		rest = skipSpace(rest)
		if rest == "" {
			return rules, nil
		}
		end := find(rest, "{;")
		if end < 0 {
			return nil, fmt.Errorf("style sheet ends within %.40q", rest)
		}
		r := rule{head: strings.TrimSpace(rest[:end])}
		if rest[end] == ';' {
			rules, rest = append(rules, r), rest[end+1:]
			continue
		}
		rest = rest[end+1:]
		end = find(rest, "}")
		if end < 0 {
			return nil, fmt.Errorf("no end of the block %.40q", r.head)
		}
		r.body, rest = strings.TrimSpace(rest[:end]), rest[end+1:]
		if grouping.MatchString(r.head) {
			var err error
			if r.rules, err = parseCSS(r.body); err != nil {
				return nil, err
			}
			r.group, r.body = true, ""
		}
		rules = append(rules, r)
	}
}

// find gives the place of the first of the wanted bytes that stands outside strings, comments, brackets and blocks.
func find(text, wanted string) int {
	depth := 0
	for i := 0; i < len(text); i++ {
		c := text[i]
		if depth == 0 && strings.IndexByte(wanted, c) >= 0 {
			return i
		}
		switch c {
		case '\\':
			i++
		case '"', '\'':
			for i++; i < len(text) && text[i] != c; i++ {
				if text[i] == '\\' {
					i++
				}
			}
		case '/':
			if strings.HasPrefix(text[i:], "/*") {
				end := strings.Index(text[i+2:], "*/")
				if end < 0 {
					return -1
				}
				i += 2 + end + 1
			}
		case '(', '[', '{':
			depth++
		case ')', ']', '}':
			depth--
		}
	}
	return -1
}

// skipSpace drops white space and comments.
func skipSpace(text string) string {
	for {
		text = strings.TrimLeft(text, " \t\r\n")
		if !strings.HasPrefix(text, "/*") {
			return text
		}
		end := strings.Index(text, "*/")
		if end < 0 {
			return ""
		}
		text = text[end+2:]
	}
}

// splitSelectors parts a list of selectors at its commas.
func splitSelectors(head string) []string {
	var list []string
	for {
		end := find(head, ",")
		if end < 0 {
			return append(list, strings.TrimSpace(head))
		}
		list, head = append(list, strings.TrimSpace(head[:end])), head[end+1:]
	}
}

var word = regexp.MustCompile(`[A-Za-z0-9_-]+`)

// usedWords gathers every word of the templates and scripts: a class that is none of them can't be on a page.
// So a class is written out in full there, never put together from parts.
func usedWords(dirs ...string) (map[string]bool, error) {
	words := map[string]bool{}
	for _, dir := range dirs {
		files, err := os.ReadDir(dir)
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			name := f.Name()
			template := strings.HasSuffix(name, ".templ") || strings.HasSuffix(name, ".js")
			source := strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_templ.go") && !strings.HasSuffix(name, "_test.go")
			if !template && !source {
				continue
			}
			text, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				return nil, err
			}
			for _, w := range word.FindAllString(string(text), -1) {
				words[w] = true
			}
		}
	}
	return words, nil
}

var (
	class      = regexp.MustCompile(`\.((?:[A-Za-z_-]|\\.)(?:[A-Za-z0-9_-]|\\.)*)`)
	functional = regexp.MustCompile(`:(?:not|is|where|has)\([^()]*(?:\([^()]*\)[^()]*)*\)`)
	attribute  = regexp.MustCompile(`\[[^\]]*\]`)
	elsewhere  = regexp.MustCompile(`data-bs-navbar-theme|^body\[data-|\[data-theme=|^\.theme-dark|:host`)
	animation  = regexp.MustCompile(`animation[a-z-]*\s*:\s*([^;]+)`)
	property   = regexp.MustCompile(`--[A-Za-z0-9_-]+`)
)

// prune leaves out selectors with a class that is not used, ways of theming that the portal does not have, animations
// that nothing names and custom properties that nothing reads. Each rule for the dark theme appears a second time for
// the theme "auto" on a screen set to dark, so that the theme follows the system without any script.
func prune(all sheet, used map[string]bool) sheet {
	kept := pruneRules(all, used)
	var animations strings.Builder
	kept.each(func(r *rule) {
		for _, m := range animation.FindAllStringSubmatch(r.body, -1) {
			animations.WriteString(m[1] + " ")
		}
		for _, d := range strings.Split(r.body, ";") {
			if strings.Contains(d, "animation-name") {
				animations.WriteString(d + " ")
			}
		}
	})
	named := map[string]bool{}
	for _, w := range word.FindAllString(animations.String(), -1) {
		named[w] = true
	}
	kept = kept.filter(func(r rule) bool {
		name, ok := strings.CutPrefix(r.head, "@keyframes ")
		return !ok || named[name]
	})
	for dropProperties(kept) {
	}
	return kept.filter(func(r rule) bool { return r.group || r.body != "" || strings.HasPrefix(r.head, "@") })
}

func pruneRules(all sheet, used map[string]bool) sheet {
	var kept sheet
	for _, r := range all {
		if r.group {
			if r.rules = pruneRules(r.rules, used); len(r.rules) > 0 {
				kept = append(kept, r)
			}
			continue
		}
		if strings.HasPrefix(r.head, "@") {
			kept = append(kept, r)
			continue
		}
		var selectors, dark []string
		for _, s := range splitSelectors(r.head) {
			if elsewhere.MatchString(s) || !reachable(s, used) {
				continue
			}
			selectors = append(selectors, s)
			if strings.Contains(s, "[data-bs-theme=dark]") && !strings.Contains(s, ":not([data-bs-theme=dark]") {
				dark = append(dark, strings.ReplaceAll(s, "[data-bs-theme=dark]", "[data-bs-theme=auto]"))
			}
		}
		if len(selectors) > 0 {
			kept = append(kept, rule{head: strings.Join(selectors, ", "), body: r.body})
		}
		if len(dark) > 0 {
			kept = append(kept, rule{
				head: "@media (prefers-color-scheme: dark)", group: true,
				rules: sheet{{head: strings.Join(dark, ", "), body: r.body}},
			})
		}
	}
	return kept
}

// reachable says whether every class that the selector demands is used somewhere.
func reachable(selector string, used map[string]bool) bool {
	demanded := attribute.ReplaceAllString(functional.ReplaceAllString(selector, ""), "")
	for _, m := range class.FindAllStringSubmatch(demanded, -1) {
		if !used[strings.ReplaceAll(m[1], `\`, "")] {
			return false
		}
	}
	return true
}

// dropProperties removes declarations of custom properties that nothing reads, and says whether there were any.
func dropProperties(s sheet) bool {
	read := map[string]bool{}
	s.each(func(r *rule) {
		for _, part := range strings.Split(r.body, "var(")[1:] {
			read[property.FindString(part)] = true
		}
	})
	dropped := false
	s.each(func(r *rule) {
		if !strings.Contains(r.body, "--") || strings.HasPrefix(r.head, "@keyframes") {
			return
		}
		var kept []string
		for rest := r.body; rest != ""; {
			end := find(rest, ";")
			if end < 0 {
				end = len(rest)
			}
			declaration := strings.TrimSpace(skipSpace(rest[:end]))
			rest = rest[min(end+1, len(rest)):]
			name, _, _ := strings.Cut(declaration, ":")
			name = strings.TrimSpace(name)
			if strings.HasPrefix(name, "--") && !read[name] {
				dropped = true
				continue
			}
			if declaration != "" {
				kept = append(kept, declaration)
			}
		}
		r.body = strings.Join(kept, ";\n")
	})
	return dropped
}

// each calls visit for every rule that holds declarations.
func (s sheet) each(visit func(*rule)) {
	for i := range s {
		if s[i].group {
			s[i].rules.each(visit)
		} else {
			visit(&s[i])
		}
	}
}

// filter gives the rules, at any depth, that keep says yes to; a group that is left empty goes too.
func (s sheet) filter(keep func(rule) bool) sheet {
	var kept sheet
	for _, r := range s {
		if r.group {
			if r.rules = r.rules.filter(keep); len(r.rules) > 0 {
				kept = append(kept, r)
			}
		} else if keep(r) {
			kept = append(kept, r)
		}
	}
	return kept
}

// String writes the style sheet out again.
func (s sheet) String() string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r.group:
			b.WriteString(r.head + " {\n" + r.rules.String() + "}\n")
		case r.body == "" && strings.HasPrefix(r.head, "@"):
			b.WriteString(r.head + ";\n")
		default:
			b.WriteString(r.head + " {\n" + r.body + "\n}\n")
		}
	}
	return b.String()
}
