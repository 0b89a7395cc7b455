package lang

import "strings"

var accents = strings.NewReplacer(
	"a", "á", "c", "ç", "e", "ë", "g", "ğ", "i", "ï", "k", "ķ", "n", "ñ", "o", "ö", "r", "ř", "u", "ü", "y", "ý",
	"A", "Å", "C", "Ç", "E", "É", "I", "Î", "N", "Ñ", "O", "Ö", "S", "Š", "U", "Û", "Y", "Ý",
)

// pseudo makes a wording look foreign, a third longer and in brackets; its verbs stay.
func pseudo(wording string) string {
	var out strings.Builder
	out.WriteString("⟦")
	rest, letters := wording, 0
	for rest != "" {
		verb := len(rest)
		if i := strings.IndexByte(rest, '%'); i >= 0 {
			verb = i
		}
		out.WriteString(accents.Replace(rest[:verb]))
		letters += verb
		if rest = rest[verb:]; rest == "" {
			break
		}
		end := strings.IndexAny(rest[1:], "dsvqf% ") + 2
		out.WriteString(rest[:end])
		rest = rest[end:]
	}
	for i := range letters / 3 {
		if i > 0 && i%8 == 0 {
			out.WriteRune('\u200b') // where a long text may break
		}
		out.WriteRune('·')
	}
	out.WriteString("⟧")
	return out.String()
}
