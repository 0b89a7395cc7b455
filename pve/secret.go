package pve

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"slices"
	"strings"
)

// Secret is a password on its way to a machine. However it is printed, logged or marshalled, it reads "***", and no
// error of this package repeats it, not even where a server's answer does.
type Secret string

const masked = "***"

// String never gives the password.
func (Secret) String() string { return masked }

// Format keeps every verb of fmt from showing it.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, masked) }

// LogValue keeps it out of logs.
func (Secret) LogValue() slog.Value { return slog.StringValue(masked) }

// MarshalText keeps it out of JSON and the like.
func (Secret) MarshalText() ([]byte, error) { return []byte(masked), nil }

// forms gives the ways in which an answer may repeat a password: as it is, as a form has it, inside JSON, on one line.
// The longest comes first, so that none leaves a part of another.
func (s Secret) forms() []string {
	if s == "" {
		return nil
	}
	inJSON, _ := json.Marshal(string(s)) // a string always marshals
	var unescaped strings.Builder
	inText := json.NewEncoder(&unescaped)
	inText.SetEscapeHTML(false)
	_ = inText.Encode(string(s)) // as above
	var out []string
	for _, f := range []string{
		string(s), url.QueryEscape(string(s)), url.PathEscape(string(s)),
		inside(string(inJSON)), inside(strings.TrimSuffix(unescaped.String(), "\n")),
	} {
		for _, f := range []string{f, oneLine(f)} {
			if f != "" && !slices.Contains(out, f) {
				out = append(out, f)
			}
		}
	}
	slices.SortFunc(out, func(a, b string) int { return len(b) - len(a) })
	return out
}

// hide takes the call's passwords out of a text.
func (x *exchange) hide(said string) string {
	for _, form := range x.hidden {
		said = strings.ReplaceAll(said, form, masked)
	}
	return said
}

// discreet takes the call's passwords out of an error that is ready: what it means was read from the whole text.
func (x *exchange) discreet(e *Error) *Error {
	if e == nil || len(x.hidden) == 0 {
		return e
	}
	e.Message = x.hide(e.Message)
	clean := make(map[string]string, len(e.Params))
	for name, why := range e.Params {
		clean[x.hide(name)] = x.hide(why)
	}
	e.Params = clean
	if e.cause != nil && x.hide(e.cause.Error()) != e.cause.Error() {
		e.cause = fmt.Errorf("%s", x.hide(e.cause.Error()))
	}
	return e
}

// inside takes the quotes off.
func inside(quoted string) string { return quoted[1 : len(quoted)-1] }
