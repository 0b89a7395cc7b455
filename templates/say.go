package templates

import (
	"context"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/a-h/templ"

	"stowage/portal"
	"stowage/portal/lang"
)

// say says a wording in the page's language, filled with args.
func say(ctx context.Context, key portal.Text, args ...any) string {
	return lang.From(ctx).T(string(key), args...)
}

// tell says a text that a view-model holds.
func tell(ctx context.Context, t portal.Text) string { return lang.From(ctx).Say(t) }

// count says n things: one for exactly one, many for all else.
func count(ctx context.Context, n int, one, many portal.Text, args ...any) string {
	return lang.From(ctx).N(n, string(one), string(many), args...)
}

// number writes a quantity with the language's grouping.
func number(ctx context.Context, n int) string { return lang.From(ctx).Number(int64(n)) }

// date writes an instant as the page's language does.
func date(ctx context.Context, w portal.When) string { return lang.From(ctx).Date(w.At, w.Layout) }

// spoken is the page's language, for the attribute lang.
func spoken(ctx context.Context) string { return lang.From(ctx).Tag() }

// joined says several texts with sep between them, leaving out those that say nothing.
func joined(ctx context.Context, sep string, texts ...portal.Text) string {
	var said []string
	for _, t := range texts {
		if s := tell(ctx, t); s != "" {
			said = append(said, s)
		}
	}
	return strings.Join(said, sep)
}

// sentence says a clause as a sentence: "no free turn on the host in time" becomes "No free turn on the host in time."
func sentence(ctx context.Context, t portal.Text) string {
	s := strings.TrimSpace(tell(ctx, t))
	if s == "" {
		return ""
	}
	first, size := utf8.DecodeRuneInString(s)
	s = string(unicode.ToUpper(first)) + s[size:]
	if !strings.ContainsAny(s[len(s)-1:], ".!?") {
		s += "."
	}
	return s
}

// Listed puts texts after each other with commas, leaving out those that say nothing.
func Listed(texts ...portal.Text) portal.Text {
	var said []any
	for _, t := range texts {
		if t != "" {
			said = append(said, t)
		}
	}
	if len(said) == 0 {
		return ""
	}
	return portal.Say(strings.TrimSuffix(strings.Repeat("%s, ", len(said)), ", "), said...)
}

// named marks data for translators that read along: what a text says verbatim stays as it is.
func named(t portal.Text) templ.Attributes {
	if key, _, args := t.Parts(); key == "%s" && len(args) == 1 {
		if _, ok := args[0].(string); ok {
			return templ.Attributes{"translate": "no"}
		}
	}
	return nil
}

// exact says a text for staff. What is in it verbatim (Proxmox's words, reasons in English, names) is marked as such.
func exact(t portal.Text) templ.Component {
	key, one, args := t.Parts()
	if one != "" || len(args) == 0 {
		return templ.ComponentFunc(func(ctx context.Context, w io.Writer) error {
			_, err := io.WriteString(w, templ.EscapeString(tell(ctx, t)))
			return err
		})
	}
	for i, a := range args {
		if words, ok := a.(string); ok {
			args[i] = english(words)
		}
	}
	return rich(portal.Text(key), args...)
}

// hole stands in a wording where rich draws a piece of the page.
const hole = "\ue000"

// rich says a wording in which pieces of the page stand, links and the like: where an argument is a component it is
// drawn in its place, so that each language puts it where it belongs. Each component has a verb of its own.
func rich(key portal.Text, args ...any) templ.Component {
	return templ.ComponentFunc(func(ctx context.Context, w io.Writer) error {
		var pieces []templ.Component
		filled := make([]any, len(args))
		for i, a := range args {
			filled[i] = a
			if piece, ok := a.(templ.Component); ok {
				filled[i] = hole + string(rune('0'+len(pieces)))
				pieces = append(pieces, piece)
			}
		}
		for i, part := range strings.Split(say(ctx, key, filled...), hole) {
			if i > 0 {
				if err := pieces[part[0]-'0'].Render(ctx, w); err != nil {
					return err
				}
				part = part[1:]
			}
			if _, err := io.WriteString(w, templ.EscapeString(part)); err != nil {
				return err
			}
		}
		return nil
	})
}
