package templates

import (
	"slices"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/net/html"

	"stowage/portal/lang"
)

// TestEveryWordIsInTheCatalogue shows every page in the language that is made for it: what is said by the catalogue
// stands in brackets. What stands outside them and isn't data was written into the page itself.
func TestEveryWordIsInTheCatalogue(t *testing.T) {
	t.Parallel()
	for _, p := range gallery() {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			doc := parse(t, renderIn(t, lang.Pseudo, p.page.View()))
			if tag := attr(find(doc, "html", "")[0], "lang"); tag != lang.Pseudo {
				t.Errorf("the page says that its language is %q", tag)
			}
			r := reader{t: t}
			r.read(doc)
			if r.depth != 0 {
				t.Errorf("a bracket stays open")
			}
		})
	}
}

// reader goes through a page in the order in which it is read, and knows whether it is within brackets. A sentence
// may go on over a link or something strong within it, but not over the end of a paragraph.
type reader struct {
	t     *testing.T
	depth int
}

var (
	// spokenAttributes are read by people, or written into the page by a script.
	spokenAttributes = []string{"aria-label", "title", "placeholder", "alt", "data-label", "data-say", "data-ended", "data-sentence"}
	// within are elements that may stand in the middle of a sentence.
	within = []string{"a", "abbr", "b", "code", "em", "i", "span", "strong", "time"}
)

func (r *reader) read(n *html.Node) {
	r.t.Helper()
	switch {
	case n.Type == html.TextNode:
		if out := r.outside(n.Data); out != "" {
			r.t.Errorf("<%s class=%q>: %q is in no catalogue (%q)", n.Parent.Data, attr(n.Parent, "class"), out, strings.TrimSpace(n.Data))
		}
		return
	case n.Type == html.ElementNode:
		if !slices.Contains(within, n.Data) && r.depth != 0 {
			r.t.Errorf("<%s class=%q> begins within brackets", n.Data, attr(n, "class"))
			r.depth = 0
		}
		if attr(n, "translate") == "no" || attr(n, "lang") == lang.English || slices.Contains([]string{"time", "code", "script"}, n.Data) {
			return
		}
		for _, a := range n.Attr {
			if slices.Contains(spokenAttributes, a.Key) || a.Key == "value" && n.Data == "input" && (attr(n, "type") == "submit" || attr(n, "type") == "button") {
				alone := reader{t: r.t}
				if out := alone.outside(a.Val); out != "" || alone.depth != 0 {
					r.t.Errorf("<%s %s=%q>: %q is in no catalogue", n.Data, a.Key, a.Val, out)
				}
			}
		}
	}
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		r.read(c)
	}
}

// outside gives the letters that stand outside brackets.
func (r *reader) outside(text string) string {
	var out strings.Builder
	for _, c := range text {
		switch {
		case c == '⟦':
			r.depth++
		case c == '⟧':
			r.depth--
		case r.depth == 0 && unicode.IsLetter(c):
			out.WriteRune(c)
		}
	}
	return out.String()
}
