package portal

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Text is words for people that have no language yet. It is either plain words, or a key with what fills it, as
// Say and Count make it; it keeps through the database, and package lang says it in a person's language. The key is
// the English wording in the manner of fmt, so that a Text reads well in logs and commands without any catalogue.
// The zero Text says nothing.
//
// What came from people or from Proxmox is never a key: it is passed as an argument, or made a Text by Verbatim.
type Text string

// mark begins a Text that has arguments. No key and no cleaned input begins with a control character.
const mark = "\x01"

// When is an instant inside a Text, written as layout tells in the manner of package time. Layouts are keys of the
// catalogue too ("Mon 2 Jan 15:04"), and the names of days and months are said in the language.
type When struct {
	At     time.Time // its location is the zone in which it is said
	Layout string
}

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
	Inner  *string `json:"t,omitempty"` // a Text as it is written down
	Unix   *int64  `json:"u,omitempty"` // with Zone and Layout
	Zone   string  `json:"z,omitempty"`
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
	var said []any
	for _, t := range texts {
		if t != "" {
			said = append(said, t)
		}
	}
	switch len(said) {
	case 0:
		return ""
	case 1:
		return said[0].(Text)
	}
	return pack(body{Key: strings.TrimSuffix(strings.Repeat("%s ", len(said)), " "), Args: wrap(said)})
}

// Parts takes a Text apart for a language to say: its key, the English wording for one ("" unless it counts), and
// its arguments as they were given to Say. A Text without arguments is its own key.
func (t Text) Parts() (key, one string, args []any) {
	packed, ok := strings.CutPrefix(string(t), mark)
	if !ok {
		return string(t), "", nil
	}
	var b body
	if err := json.Unmarshal([]byte(packed), &b); err != nil {
		return "", "", nil
	}
	for _, a := range b.Args {
		args = append(args, a.open())
	}
	if b.One != "" && !counted(args) {
		b.One = "" // nothing that Count has made
	}
	return b.Key, b.One, args
}

// counted tells whether a number comes first, as it does in what Count makes.
func counted(args []any) bool {
	if len(args) == 0 {
		return false
	}
	_, ok := args[0].(int)
	return ok
}

// String says the words in English.
func (t Text) String() string {
	key, one, args := t.Parts()
	if len(args) == 0 {
		return key
	}
	if n, ok := args[0].(int); ok && one != "" && n == 1 {
		key = one
	}
	for i, a := range args {
		switch a := a.(type) {
		case When:
			args[i] = a.At.Format(a.Layout)
		case Size:
			args[i] = Bytes(int64(a))
		}
	}
	return Fill(key, one != "", args)
}

// MarshalText says the words in English, for logs and for programs.
func (t Text) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// Fill puts args into a wording. Where the wording belongs to a count and doesn't name the number ("1 backup of
// %s"), the number is left out of args.
func Fill(wording string, counts bool, args []any) string {
	if counts && !numbered.MatchString(wording) {
		args = args[1:]
	}
	if len(args) == 0 {
		return wording
	}
	return fmt.Sprintf(wording, args...)
}

var numbered = regexp.MustCompile(`%(\[1\])?d`)

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
			inner := string(a)
			out[i].Inner = &inner
		case When:
			n := a.At.Unix()
			out[i] = arg{Unix: &n, Zone: a.At.Location().String(), Layout: a.Layout}
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
		return Text(*a.Inner)
	case a.Unix != nil:
		at := time.Unix(*a.Unix, 0).UTC()
		if zone, err := Zone(a.Zone); err == nil {
			at = at.In(zone)
		}
		return When{At: at, Layout: a.Layout}
	case a.Text != nil:
		return *a.Text
	}
	return ""
}
