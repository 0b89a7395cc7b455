package lang

import (
	"cmp"
	"context"
	"embed"
	"strings"
	"sync"
	"time"

	"github.com/nicksnyder/go-i18n/v2/i18n"
	"golang.org/x/text/feature/plural"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"stowage/portal"
)

// The languages, by their BCP 47 tags.
const (
	English = "en"
	German  = "de"
	Pseudo  = "en-XA" // for tests: see the package's comment
)

// Language is one that a person may choose.
type Language struct {
	Tag  string
	Name string // in itself: "Deutsch"
}

// Languages are those that a person may choose, in the order of the picker.
func Languages() []Language {
	return []Language{{English, "English"}, {German, "Deutsch"}}
}

//go:embed *.json
var files embed.FS

// Words speaks one language. It is safe for use by several goroutines.
type Words struct {
	tag     string
	known   map[string]*i18n.Message // by key
	plurals language.Tag
	numbers *message.Printer
	pseudo  bool
}

var (
	matcher = language.NewMatcher([]language.Tag{language.English, language.German})
	spoken  = map[string]func() *Words{ // read when they are first wanted: most commands say nothing
		English: sync.OnceValue(func() *Words { return words(English, English) }),
		German:  sync.OnceValue(func() *Words { return words(German, German) }),
		Pseudo:  sync.OnceValue(func() *Words { return words(Pseudo, English) }),
	}
)

// words makes the words of a language by the catalogue of one that people speak.
func words(tag, catalogue string) *Words {
	raw, err := files.ReadFile(catalogue + ".json")
	if err != nil {
		panic("lang: " + err.Error()) // embedded: a test of this package would have found it
	}
	file, err := i18n.ParseMessageFileBytes(raw, catalogue+".json", nil)
	if err != nil {
		panic("lang: " + err.Error())
	}
	w := &Words{tag: tag, known: make(map[string]*i18n.Message, len(file.Messages)), pseudo: tag == Pseudo}
	w.plurals = language.Make(catalogue)
	w.numbers = message.NewPrinter(w.plurals)
	for _, m := range file.Messages {
		w.known[m.ID] = m
	}
	return w
}

// For gives the words of a language. One that there is not is English.
func For(tag string) *Words {
	if w, ok := spoken[tag]; ok {
		return w()
	}
	return spoken[English]()
}

// acceptLimit is how much of an Accept-Language header is read: browsers send less, and reading it costs.
const acceptLimit = 200

// Match gives the tag of the language that fits an Accept-Language header best.
func Match(accept string) string {
	if len(accept) > acceptLimit {
		accept = accept[:acceptLimit]
		accept = accept[:max(strings.LastIndexByte(accept, ','), 0)]
	}
	tag, _ := language.MatchStrings(matcher, accept)
	base, _ := tag.Base()
	return base.String()
}

type key struct{}

// With gives a context in which From finds w.
func With(ctx context.Context, w *Words) context.Context { return context.WithValue(ctx, key{}, w) }

// From gives the words of the context, English where it has none.
func From(ctx context.Context) *Words {
	if w, ok := ctx.Value(key{}).(*Words); ok {
		return w
	}
	return spoken[English]()
}

// Tag is the language as the html element's lang attribute wants it.
func (w *Words) Tag() string { return w.tag }

// Say says a text. What is damaged, or holds nothing, says nothing.
func (w *Words) Say(t portal.Text) string {
	if t == "" {
		return ""
	}
	wording, one, args := t.Parts()
	return w.put(wording, one, args)
}

// T says a wording with its arguments, as Say(portal.Say(…)) does.
func (w *Words) T(wording string, args ...any) string { return w.put(wording, "", args) }

// N says n things, as Say(portal.Count(…)) does.
func (w *Words) N(n int, one, many string, args ...any) string {
	return w.put(many, one, append([]any{n}, args...))
}

// Date writes an instant, in its location, as a layout of package time tells: "Mon 2 Jan 15:04" is "Do 12. Nov 03:00"
// in German.
func (w *Words) Date(t time.Time, layout string) string {
	return w.names(t.Format(w.find(layout, "", 0)))
}

// Number writes a quantity with the language's grouping: "4,210".
func (w *Words) Number(n int64) string { return w.numbers.Sprintf("%d", n) }

// Size writes a number of bytes: "1.8 GiB", "1,8 GiB".
func (w *Words) Size(n int64) string { return w.decimal(portal.Bytes(n)) }

// put finds the wording in the language and fills it.
func (w *Words) put(wording, one string, args []any) string {
	n, counts := 0, one != ""
	if counts {
		n, _ = args[0].(int)
	}
	found := w.find(wording, one, n)
	if w.pseudo {
		found = pseudo(found)
	}
	if len(args) == 0 {
		return found
	}
	filled := make([]any, len(args))
	for i, a := range args {
		switch a := a.(type) {
		case portal.Text:
			filled[i] = w.Say(a)
		case portal.When:
			filled[i] = w.Date(a.At, a.Layout)
		case portal.Size:
			filled[i] = w.Size(int64(a))
		case portal.Number:
			filled[i] = w.Number(int64(a))
		default:
			filled[i] = a
		}
	}
	if counts && (n >= 1000 || n <= -1000) { // what is counted is grouped; "%d" stands for n first, or is numbered
		filled[0] = w.Number(int64(n))
		found = strings.Replace(strings.Replace(found, "%[1]d", "%[1]s", 1), "%d", "%s", 1)
	}
	return portal.Fill(found, filled)
}

// find gives the wording of a key in the language, or the key itself.
func (w *Words) find(key, one string, n int) string {
	m := w.known[key]
	switch {
	case m == nil && one != "" && n == 1:
		return portal.Wording(one)
	case m == nil:
		return portal.Wording(key)
	case one == "":
		return m.Other
	}
	form := m.Other
	switch plural.Cardinal.MatchPlural(w.plurals, max(n, -n), 0, 0, 0, 0) {
	case plural.Zero:
		form = m.Zero
	case plural.One:
		form = m.One
	case plural.Two:
		form = m.Two
	case plural.Few:
		form = m.Few
	case plural.Many:
		form = m.Many
	}
	return cmp.Or(form, m.Other)
}

// names puts the language's names of days and months in place of the English ones that package time writes.
func (w *Words) names(date string) string {
	if r, ok := calendars[w.tag]; ok {
		return r.Replace(date)
	}
	return date
}

// decimal writes the point of a decimal figure as the language does.
func (w *Words) decimal(figure string) string {
	if w.tag == German {
		return strings.Replace(figure, ".", ",", 1)
	}
	return figure
}
