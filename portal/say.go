package portal

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Text is words for people that have no language yet. It is either plain words, or a key with what fills it, as
// Say and Count make it; it keeps through the database, and package lang says it in a person's language. The key is
// the English wording in the manner of fmt, so that a Text reads well in logs and commands without any catalogue.
// The zero Text says nothing.
//
// What came from people or from Proxmox is never a key: it is passed as an argument, or made a Text by Verbatim. Two
// Texts are equal where they say the same of the same. Texts are never put together with +, which would join how they
// are written down: Say takes Texts as arguments, and Sentences puts sentences after each other.
type Text string

// mark begins a Text that has arguments; then come its key, the English wording for one, and each argument behind a
// letter for its kind, all as fields: "28:Removed the backup of %s.". No key and no cleaned input begins with a control
// character.
const mark = "\x01"

// When is an instant inside a Text, written as layout tells in the manner of package time. Layouts are keys of the
// catalogue too ("Mon 2 Jan 15:04"), and the names of days and months are said in the language.
type When struct {
	At     time.Time // its location is the zone in which it is said
	Layout string
}

// Text is the instant alone.
func (w When) Text() Text { return Say("%s", w) }

// Number is a quantity that may be large: it is written with the language's grouping, "4,210", as the n of Count is.
// Plain integers have none.
type Number int64

// String writes the number without a language.
func (n Number) String() string { return strconv.FormatInt(int64(n), 10) }

// Size is a number of bytes: "41 GiB", with the language's decimal point.
type Size int64

// Say gives words: key is the English wording with %s and %d where arguments stand. Arguments are string (said as it
// is), int, int64, Number, Size, When, Text (said in the same language); others are said as fmt prints them. Without
// arguments key is taken as it stands: a percent sign needs no doubling.
func Say(key string, args ...any) Text {
	if len(args) == 0 {
		return Text(key)
	}
	return pack(key, "", args)
}

// Count gives words for n things: one for exactly one ("1 backup"), many for all else ("%d backups"), of which n is
// the first argument. A language may have more forms than two.
func Count(n int, one, many string, args ...any) Text {
	return pack(many, one, append([]any{n}, args...))
}

// Verbatim says words that no catalogue knows: a name, a message of Proxmox.
func Verbatim(words string) Text {
	if words == "" {
		return ""
	}
	return Say("%s", words)
}

// Sentences puts sentences after each other, leaving out those that say nothing.
func Sentences(texts ...Text) Text {
	var said []Text
	for _, t := range texts {
		if t != "" {
			said = append(said, t.sentences()...)
		}
	}
	return join(" ", said)
}

// sentences takes apart what Sentences has put together.
func (t Text) sentences() []Text {
	key, _, args := t.Parts()
	if len(args) < 2 || key != row(" ", len(args)) {
		return []Text{t}
	}
	out := make([]Text, len(args))
	for i, a := range args {
		inner, ok := a.(Text)
		if !ok {
			return []Text{t}
		}
		out[i] = inner
	}
	return out
}

// Without gives what Sentences has put together without one of the sentences. Of plain words, as older versions kept
// them, it leaves out the beginning.
func (t Text) Without(sentence Text) Text {
	if !strings.HasPrefix(string(t), mark) {
		return Text(strings.TrimSpace(strings.TrimPrefix(string(t), string(sentence))))
	}
	return Sentences(slices.DeleteFunc(t.sentences(), func(s Text) bool { return s == sentence })...)
}

// join puts words after each other with a sign between them that every language has: ", ", "; ".
func join(sign string, texts []Text) Text {
	switch len(texts) {
	case 0:
		return ""
	case 1:
		return texts[0]
	}
	args := make([]any, len(texts))
	for i, t := range texts {
		args[i] = t
	}
	return pack(row(sign, len(texts)), "", args)
}

// row is the key of n words with a sign between them.
func row(sign string, n int) string { return strings.TrimSuffix(strings.Repeat("%s"+sign, n), sign) }

// Parts takes a Text apart for a language to say: its key, the English wording for one ("" unless it counts), and
// its arguments as they were given to Say. A Text without arguments is its own key. What is damaged says nothing.
func (t Text) Parts() (key, one string, args []any) {
	rest, ok := strings.CutPrefix(string(t), mark)
	if !ok {
		return string(t), "", nil
	}
	if key, rest, ok = cut(rest); !ok {
		return "", "", nil
	}
	if one, rest, ok = cut(rest); !ok {
		return "", "", nil
	}
	for rest != "" {
		kind := rest[0]
		var field string
		if field, rest, ok = cut(rest[1:]); !ok {
			return "", "", nil
		}
		args = append(args, open(kind, field))
	}
	if _, counts := first(args).(int); !counts {
		one = "" // it is nothing that Count has made
	}
	return key, one, args
}

// String says the words in English, without any catalogue.
func (t Text) String() string {
	key, one, args := t.Parts()
	if n, ok := first(args).(int); ok && one != "" && n == 1 {
		key = one
	}
	for i, a := range args {
		switch a := a.(type) {
		case When:
			args[i] = a.At.Format(Wording(a.Layout))
		case Size:
			args[i] = Bytes(int64(a))
		}
	}
	return Fill(Wording(key), args)
}

func first(args []any) any {
	if len(args) == 0 {
		return nil
	}
	return args[0]
}

// MarshalText says the words in English, for logs and for programs. Into the database a Text goes as the string that
// it is.
func (t Text) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// Wording gives the English wording of a key. A key that would mean two things has its context in brackets at its
// end, which nobody is told: "Open [state]".
func Wording(key string) string {
	if !strings.HasSuffix(key, "]") {
		return key
	}
	if i := strings.LastIndex(key, " ["); i > 0 {
		return key[:i]
	}
	return key
}

// Fill puts args into a wording in the manner of fmt. Without args the wording is taken as it stands. One that has a
// place less than there are args belongs to a count and doesn't name the number, which is then left out: "1 backup of
// %s"; and one without a place says all in words: "the next one". A wording that numbers its places ("%[2]s") is taken
// at its word. A wording whose places have a width of three digits or more, or one that an argument gives, is none of
// ours: it is damaged, would fill a page with blanks, and is given as it stands.
func Fill(wording string, args []any) string {
	if len(args) == 0 {
		return wording
	}
	if !strings.Contains(wording, "%[") {
		switch Places(wording) {
		case 0:
			return strings.ReplaceAll(wording, "%%", "%")
		case len(args) - 1:
			args = args[1:]
		}
		if text, ok := fillPlain(wording, args); ok {
			return text
		}
	}
	if tooWide(wording) {
		return wording
	}
	return fmt.Sprintf(wording, args...)
}

// tooWide finds a width that no wording of ours has: three digits, or one that an argument gives.
func tooWide(wording string) bool {
	digits, inside := 0, false
	for i := 0; i < len(wording); i++ {
		switch c := wording[i]; {
		case c == '%':
			inside, digits = !inside, 0
		case !inside:
		case '0' <= c && c <= '9':
			if digits++; digits >= 3 {
				return true
			}
		case c == '*':
			return true
		case 'a' <= c|0x20 && c|0x20 <= 'z' || c >= 0x80:
			inside = false
		}
	}
	return false
}

// fillPlain fills a wording whose places are "%s" for texts and "%d" for ints, as nearly all are: a page has hundreds.
func fillPlain(wording string, args []any) (string, bool) {
	size := len(wording)
	for _, a := range args {
		if s, ok := a.(string); ok {
			size += len(s)
		} else {
			size += 8
		}
	}
	out := make([]byte, 0, size)
	for {
		at := strings.IndexByte(wording, '%')
		if at < 0 {
			return string(append(out, wording...)), len(args) == 0
		}
		if at+1 == len(wording) {
			return "", false
		}
		kind := wording[at+1]
		out, wording = append(out, wording[:at]...), wording[at+2:]
		if kind == '%' {
			out = append(out, '%')
			continue
		}
		if len(args) == 0 {
			return "", false
		}
		switch a := args[0].(type) {
		case string:
			if kind != 's' {
				return "", false
			}
			out = append(out, a...)
		case int:
			if kind != 'd' {
				return "", false
			}
			out = strconv.AppendInt(out, int64(a), 10)
		default:
			return "", false
		}
		args = args[1:]
	}
}

// Places counts the places for arguments in a wording that does not number them. "%%" is none.
func Places(wording string) (n int) {
	for i := 0; i < len(wording); i++ {
		if wording[i] != '%' {
			continue
		}
		if i++; i < len(wording) && wording[i] != '%' {
			n++
		}
	}
	return n
}

// The kinds of arguments.
const (
	kindString = 's'
	kindInt    = 'i'
	kindNumber = 'n'
	kindSize   = 'b'
	kindText   = 't'
	kindWhen   = 'w'
)

// pack writes a Text down.
func pack(key, one string, args []any) Text {
	out := make([]byte, 0, len(mark)+len(key)+len(one)+8+32*len(args))
	out = append(out, mark...)
	out = field(field(out, key), one)
	var scratch [64]byte
	for _, a := range args {
		number := func(kind byte, n int64) { out = field(append(out, kind), strconv.AppendInt(scratch[:0], n, 10)) }
		switch a := a.(type) {
		case int:
			number(kindInt, int64(a))
		case int64:
			number(kindInt, a)
		case Number:
			number(kindNumber, int64(a))
		case Size:
			number(kindSize, int64(a))
		case Text:
			out = field(append(out, kindText), string(a))
		case When:
			out = field(append(out, kindWhen), a.kept(scratch[:0]))
		case string:
			out = field(append(out, kindString), clean(a))
		default:
			out = field(append(out, kindString), clean(fmt.Sprint(a)))
		}
	}
	return Text(out)
}

// field writes a text down behind its length.
func field[S string | []byte](out []byte, s S) []byte {
	out = strconv.AppendInt(out, int64(len(s)), 10)
	return append(append(out, ':'), s...)
}

// cut reads what field has written.
func cut(s string) (field, rest string, ok bool) {
	length, rest, found := strings.Cut(s, ":")
	n, err := strconv.Atoi(length)
	if !found || err != nil || n < 0 || n > len(rest) {
		return "", "", false
	}
	return rest[:n], rest[n:], true
}

// clean makes data fit for a column of text, which takes neither broken characters nor zeroes.
func clean(s string) string {
	if !utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0 {
		s = strings.ReplaceAll(strings.ToValidUTF8(s, "\ufffd"), "\x00", "\ufffd")
	}
	return s
}

// open reads an argument.
func open(kind byte, field string) any {
	switch kind {
	case kindString:
		return field
	case kindText:
		return Text(field)
	case kindWhen:
		return readWhen(field)
	}
	n, err := strconv.ParseInt(field, 10, 64)
	switch {
	case err != nil:
		return field
	case kind == kindNumber:
		return Number(n)
	case kind == kindSize:
		return Size(n)
	}
	return int(n)
}

// kept writes an instant down: its second, its layout, and its zone by name, or by offset where the name is of no zone
// that every host knows.
func (w When) kept(out []byte) []byte {
	out = field(out, strconv.FormatInt(w.At.Unix(), 10))
	out = field(out, w.Layout)
	name := w.At.Location().String()
	if _, err := Zone(name); err != nil {
		_, offset := w.At.Zone()
		return field(out, strconv.Itoa(offset))
	}
	return field(out, name)
}

func readWhen(s string) (w When) {
	second, s, _ := cut(s)
	layout, s, _ := cut(s)
	name, _, _ := cut(s)
	unix, _ := strconv.ParseInt(second, 10, 64) // what is damaged is no instant
	w = When{At: time.Unix(unix, 0).UTC(), Layout: layout}
	if zone, err := Zone(name); err == nil {
		w.At = w.At.In(zone)
	} else if offset, err := strconv.Atoi(name); err == nil {
		w.At = w.At.In(time.FixedZone("", offset))
	}
	return w
}
