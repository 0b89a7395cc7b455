package portal

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
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

// mark begins a Text that has arguments. No key and no cleaned input begins with a control character.
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

// body is how a Text with arguments is written down.
type body struct {
	Key  string `json:"k"`
	One  string `json:"o,omitempty"` // the English wording for exactly one; Key is the one for many
	Args []arg  `json:"a,omitempty"`
}

// arg is one argument; exactly one field is set.
type arg struct {
	Text   *string `json:"s,omitempty"` // verbatim
	Int    *int64  `json:"i,omitempty"`
	Number *int64  `json:"n,omitempty"`
	Size   *int64  `json:"b,omitempty"`
	Inner  *body   `json:"t,omitempty"` // another Text
	Unix   *int64  `json:"u,omitempty"` // with Zone (or Offset, in seconds, where the zone has no name) and Layout
	Zone   string  `json:"z,omitempty"`
	Offset int     `json:"f,omitempty"`
	Layout string  `json:"l,omitempty"`
}

// Say gives words: key is the English wording with %s and %d where arguments stand. Arguments are string (said as it
// is), int, int64, Number, Size, When, Text (said in the same language); others are said as fmt prints them. Without
// arguments key is taken as it stands: a percent sign needs no doubling.
func Say(key string, args ...any) Text {
	if len(args) == 0 {
		return Text(key)
	}
	return pack(body{Key: key, Args: wrap(args)})
}

// Count gives words for n things: one for exactly one ("1 backup"), many for all else ("%d backups"), of which n is
// the first argument. A language may have more forms than two.
func Count(n int, one, many string, args ...any) Text {
	return pack(body{Key: many, One: one, Args: wrap(append([]any{n}, args...))})
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
	return pack(body{Key: row(sign, len(texts)), Args: wrap(args)})
}

// row is the key of n words with a sign between them.
func row(sign string, n int) string { return strings.TrimSuffix(strings.Repeat("%s"+sign, n), sign) }

// Parts takes a Text apart for a language to say: its key, the English wording for one ("" unless it counts), and
// its arguments as they were given to Say. A Text without arguments is its own key.
func (t Text) Parts() (key, one string, args []any) {
	b := t.body()
	for _, a := range b.Args {
		args = append(args, a.open())
	}
	return b.Key, b.One, args
}

// body reads how a Text is written down. What can't be read says nothing.
func (t Text) body() (b body) {
	packed, ok := strings.CutPrefix(string(t), mark)
	if !ok {
		return body{Key: string(t)}
	}
	if err := json.Unmarshal([]byte(packed), &b); err != nil {
		return body{}
	}
	return b
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
// %s". A wording that numbers its places ("%[2]s") is taken at its word.
func Fill(wording string, args []any) string {
	if len(args) > 0 && !strings.Contains(wording, "%[") && Places(wording) == len(args)-1 {
		args = args[1:]
	}
	if len(args) == 0 {
		return wording
	}
	return fmt.Sprintf(wording, args...)
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

func pack(b body) Text {
	raw, err := json.Marshal(b)
	if err != nil { // strings and numbers only: it can't be
		return Text(b.Key)
	}
	return Text(mark + string(raw))
}

func wrap(args []any) []arg {
	out := make([]arg, len(args))
	for i, a := range args {
		switch a := a.(type) {
		case int:
			n := int64(a)
			out[i].Int = &n
		case int64:
			out[i].Int = &a
		case Number:
			n := int64(a)
			out[i].Number = &n
		case Size:
			n := int64(a)
			out[i].Size = &n
		case Text:
			inner := a.body()
			out[i].Inner = &inner
		case When:
			n := a.At.Unix()
			out[i] = arg{Unix: &n, Zone: a.At.Location().String(), Layout: a.Layout}
			if _, err := Zone(out[i].Zone); err != nil {
				out[i].Zone = ""
				_, out[i].Offset = a.At.Zone()
			}
		default:
			s := fmt.Sprint(a)
			out[i].Text = &s
		}
	}
	return out
}

func (a arg) open() any {
	switch {
	case a.Int != nil:
		return int(*a.Int)
	case a.Number != nil:
		return Number(*a.Number)
	case a.Size != nil:
		return Size(*a.Size)
	case a.Inner != nil:
		if len(a.Inner.Args) == 0 {
			return Text(a.Inner.Key)
		}
		return pack(*a.Inner)
	case a.Unix != nil:
		at := time.Unix(*a.Unix, 0).UTC()
		if zone, err := Zone(a.Zone); err == nil {
			at = at.In(zone)
		} else if a.Offset != 0 {
			at = at.In(time.FixedZone("", a.Offset))
		}
		return When{At: at, Layout: a.Layout}
	case a.Text != nil:
		return *a.Text
	}
	return ""
}
