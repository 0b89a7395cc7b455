package pve

import (
	"encoding/json"
	"errors"
	"reflect"
	"strconv"
	"strings"
	"sync"
)

// Lists of a cluster have tens of thousands of entries and are asked for every ten seconds. encoding/json walks over such
// an answer five times and makes a decoder for every string in it; what follows walks over it once.

var (
	errNoData  = errors.New("no data in it")
	errNotJSON = errors.New("it is not JSON")
)

// decode reads an answer's "data" into out, and gives its "total" (0 where there is none).
func decode(body []byte, out any) (total int, err error) {
	s := scanner{b: body}
	var found bool
	var cut whole
	err = s.object(func(key []byte) error {
		switch string(key) {
		case "data":
			found = true
			if s.peek() == 'n' { // nothing at all is no empty list: who asks for a list acts on what is missing from it
				found = false
			}
			return s.into(out)
		case "total":
			raw, err := s.value()
			if err == nil {
				err = cut.UnmarshalJSON(raw)
			}
			return err
		}
		_, err := s.value()
		return err
	})
	if s.space(); err == nil && s.i < len(s.b) {
		err = errNotJSON
	}
	if err == nil && !found {
		err = errNoData
	}
	return int(cut), err
}

// into reads the next value into out: lists of flat entries here, anything else by encoding/json.
func (s *scanner) into(out any) error {
	list := reflect.ValueOf(out)
	if list.Kind() == reflect.Pointer && list.Elem().Kind() == reflect.Slice && s.peek() == '[' {
		if fields := flatFields(list.Elem().Type().Elem()); fields != nil {
			return s.list(list.Elem(), fields)
		}
	}
	raw, err := s.value()
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, out)
}

// flat holds, for types of entries whose fields all read whatever scalar comes, the field of each key; nil for others.
var flat sync.Map // reflect.Type to map[string]int

var unmarshaler = reflect.TypeFor[json.Unmarshaler]()

func flatFields(t reflect.Type) map[string]int {
	if known, ok := flat.Load(t); ok {
		return known.(map[string]int)
	}
	var fields map[string]int
	if t.Kind() == reflect.Struct {
		fields = make(map[string]int, t.NumField())
		for i := range t.NumField() {
			key, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
			if key == "" || !reflect.PointerTo(t.Field(i).Type).Implements(unmarshaler) {
				fields = nil
				break
			}
			fields[key] = i
		}
	}
	flat.Store(t, fields)
	return fields
}

func (s *scanner) list(list reflect.Value, fields map[string]int) error {
	n := 0
	list.SetLen(0)
	err := s.array(func() error {
		list.Grow(1)
		list.SetLen(n + 1)
		entry := list.Index(n)
		entry.SetZero()
		n++
		if s.peek() == 'n' {
			_, err := s.value()
			return err
		}
		return s.object(func(key []byte) error {
			raw, err := s.value()
			if err != nil {
				return err
			}
			if i, wanted := fields[string(key)]; wanted {
				return entry.Field(i).Addr().Interface().(json.Unmarshaler).UnmarshalJSON(raw)
			}
			return nil
		})
	})
	if err == nil && list.IsNil() {
		list.Set(reflect.MakeSlice(list.Type(), 0, 0))
	}
	return err
}

// scanner walks over JSON and accepts no more than JSON.
type scanner struct {
	b     []byte
	i     int
	depth int
}

// deepest is how deep values may be nested, as in encoding/json.
const deepest = 10_000

func (s *scanner) space() {
	for s.i < len(s.b) && (s.b[s.i] == ' ' || s.b[s.i] == '\n' || s.b[s.i] == '\t' || s.b[s.i] == '\r') {
		s.i++
	}
}

// peek gives the first byte of the next value, 0 at the end.
func (s *scanner) peek() byte {
	s.space()
	if s.i == len(s.b) {
		return 0
	}
	return s.b[s.i]
}

func (s *scanner) take(c byte) error {
	if s.peek() != c {
		return errNotJSON
	}
	s.i++
	return nil
}

// object calls member for each key; member reads the value. Keys with escapes come as they are written, but for that.
func (s *scanner) object(member func(key []byte) error) error {
	return s.nested('{', '}', func() error {
		if s.peek() != '"' {
			return errNotJSON
		}
		key, err := s.value()
		if err == nil {
			err = s.take(':')
		}
		if err != nil {
			return err
		}
		return member(unquoted(key))
	})
}

// array calls element for each element, which reads it.
func (s *scanner) array(element func() error) error { return s.nested('[', ']', element) }

func (s *scanner) nested(open, shut byte, item func() error) error {
	if err := s.take(open); err != nil {
		return err
	}
	if s.depth++; s.depth > deepest {
		return errNotJSON
	}
	defer func() { s.depth-- }()
	if s.peek() == shut {
		s.i++
		return nil
	}
	for {
		if err := item(); err != nil {
			return err
		}
		switch s.peek() {
		case ',':
			s.i++
		case shut:
			s.i++
			return nil
		default:
			return errNotJSON
		}
	}
}

// value steps over the next value and gives it as it is written.
func (s *scanner) value() (raw []byte, err error) {
	c := s.peek()
	from := s.i
	switch c {
	case '{':
		err = s.object(func([]byte) error { _, err := s.value(); return err })
	case '[':
		err = s.array(func() error { _, err := s.value(); return err })
	case '"':
		err = s.text()
	case 't':
		err = s.word("true")
	case 'f':
		err = s.word("false")
	case 'n':
		err = s.word("null")
	default:
		err = s.number()
	}
	return s.b[from:s.i], err
}

func (s *scanner) word(w string) error {
	if len(s.b)-s.i < len(w) || string(s.b[s.i:s.i+len(w)]) != w {
		return errNotJSON
	}
	s.i += len(w)
	return nil
}

func (s *scanner) text() error {
	for s.i++; s.i < len(s.b); s.i++ {
		switch c := s.b[s.i]; {
		case c == '"':
			s.i++
			return nil
		case c < ' ':
			return errNotJSON
		case c == '\\':
			s.i++
			if s.i == len(s.b) {
				return errNotJSON
			}
			switch s.b[s.i] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				if s.i+4 >= len(s.b) {
					return errNotJSON
				}
				if _, err := strconv.ParseUint(string(s.b[s.i+1:s.i+5]), 16, 16); err != nil {
					return errNotJSON
				}
				s.i += 4
			default:
				return errNotJSON
			}
		}
	}
	return errNotJSON
}

func (s *scanner) number() error {
	if s.i < len(s.b) && s.b[s.i] == '-' {
		s.i++
	}
	if s.i < len(s.b) && s.b[s.i] == '0' {
		s.i++
	} else if !s.digits() {
		return errNotJSON
	}
	if s.i < len(s.b) && s.b[s.i] == '.' {
		if s.i++; !s.digits() {
			return errNotJSON
		}
	}
	if s.i < len(s.b) && (s.b[s.i] == 'e' || s.b[s.i] == 'E') {
		s.i++
		if s.i < len(s.b) && (s.b[s.i] == '+' || s.b[s.i] == '-') {
			s.i++
		}
		if !s.digits() {
			return errNotJSON
		}
	}
	return nil
}

func (s *scanner) digits() bool {
	from := s.i
	for s.i < len(s.b) && s.b[s.i] >= '0' && s.b[s.i] <= '9' {
		s.i++
	}
	return s.i > from
}

// unquoted gives the bytes of a JSON string.
func unquoted(raw []byte) []byte {
	inner := raw[1 : len(raw)-1]
	for _, c := range inner {
		if c == '\\' || c >= 0x80 {
			var text string
			if json.Unmarshal(raw, &text) != nil {
				return nil
			}
			return []byte(text)
		}
	}
	return inner
}
