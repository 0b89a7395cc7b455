package pvesim

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

type field struct {
	key   string
	value any
}

// appendJSON writes what answers are made of, as encoding/json does with its keys in order: a cluster of thousands of
// machines is asked for all of them every ten seconds.
func appendJSON(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...), nil
	case string:
		return appendText(b, v)
	case int:
		return strconv.AppendInt(b, int64(v), 10), nil
	case int64:
		return strconv.AppendInt(b, v, 10), nil
	case bool:
		return strconv.AppendBool(b, v), nil
	case float64:
		if a := math.Abs(v); a != 0 && (a < 1e-6 || a >= 1e21) || a != a {
			return appendOther(b, v) // with an exponent, or no number at all
		}
		return strconv.AppendFloat(b, v, 'f', -1, 64), nil
	case map[string]any:
		if v == nil {
			return append(b, "null"...), nil
		}
		var few [32]field
		fields := few[:0]
		for k, e := range v {
			fields = append(fields, field{k, e})
		}
		slices.SortFunc(fields, func(x, y field) int { return strings.Compare(x.key, y.key) })
		b = append(b, '{')
		for i, f := range fields {
			if i > 0 {
				b = append(b, ',')
			}
			var err error
			if b, err = appendText(b, f.key); err != nil {
				return b, err
			}
			b = append(b, ':')
			if b, err = appendJSON(b, f.value); err != nil {
				return b, err
			}
		}
		return append(b, '}'), nil
	case []map[string]any:
		if v == nil {
			return append(b, "null"...), nil
		}
		b = append(b, '[')
		for i, e := range v {
			if i > 0 {
				b = append(b, ',')
			}
			var err error
			if b, err = appendJSON(b, e); err != nil {
				return b, err
			}
		}
		return append(b, ']'), nil
	}
	return appendOther(b, v)
}

func appendText(b []byte, s string) ([]byte, error) {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return appendOther(b, s)
		}
	}
	return append(append(append(b, '"'), s...), '"'), nil
}

func appendOther(b []byte, v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return append(b, bytes.TrimRight(buf.Bytes(), "\n")...), err
}
