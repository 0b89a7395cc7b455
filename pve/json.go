package pve

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"time"
)

// Proxmox' answers come out of Perl, where a number may be written as a string and the other way round, and where a
// missing value is null. The types below take whatever scalar comes and never fail: a value that makes no sense
// reads as the zero value.

// whole is an integer: sizes, ids, seconds.
type whole int64

func (n *whole) UnmarshalJSON(b []byte) error {
	s := scalar(b)
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		*n = whole(i)
		return nil
	}
	*n = 0
	if f, err := strconv.ParseFloat(s, 64); err == nil && math.Abs(f) < 1<<63 {
		*n = whole(f)
	}
	return nil
}

func (n whole) time() time.Time {
	if n <= 0 {
		return time.Time{}
	}
	return time.Unix(int64(n), 0).UTC()
}

// fraction is a number with a fraction: shares of CPU.
type fraction float64

func (r *fraction) UnmarshalJSON(b []byte) error {
	*r = 0
	if f, err := strconv.ParseFloat(scalar(b), 64); err == nil && !math.IsNaN(f) && !math.IsInf(f, 0) {
		*r = fraction(f)
	}
	return nil
}

// truth is Perl's boolean: 1, "1", true.
type truth bool

func (f *truth) UnmarshalJSON(b []byte) error {
	switch scalar(b) {
	case "", "0", "false":
		*f = false
	default:
		*f = true
	}
	return nil
}

// text is a string, or a number read as written. Objects and lists read as "".
type text string

func (t *text) UnmarshalJSON(b []byte) error {
	*t = text(scalar(b))
	return nil
}

// scalar gives a JSON scalar's text: strings without quotes, null, objects and lists as "".
func scalar(b []byte) string {
	b = bytes.TrimSpace(b)
	if len(b) == 0 {
		return ""
	}
	switch b[0] {
	case '"':
		if asWritten(b) {
			return string(b[1 : len(b)-1])
		}
		var s string
		if json.Unmarshal(b, &s) != nil {
			return ""
		}
		return s
	case '{', '[', 'n':
		return ""
	}
	return string(b)
}

// asWritten tells whether a JSON string reads as it is written.
func asWritten(b []byte) bool {
	if len(b) < 2 || b[len(b)-1] != '"' {
		return false
	}
	for _, c := range b[1 : len(b)-1] {
		if c < ' ' || c == '"' || c == '\\' || c >= 0x80 {
			return false
		}
	}
	return true
}

// decodeObject decodes only a JSON object, and tells whether it was one.
func decodeObject(b []byte, out any) bool {
	b = bytes.TrimSpace(b)
	return len(b) > 0 && b[0] == '{' && json.Unmarshal(b, out) == nil
}
