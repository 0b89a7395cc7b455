package pvesim

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAnswersAreWrittenAsByEncodingJSON(t *testing.T) {
	t.Parallel()
	for _, v := range []any{
		nil, "", "text", "a\"b\\c\n\x00\x7f <&> \u2028 ä \xff", 0, -7, int64(1) << 62, true, 0.25, 1e21, -1e-7, 123456789.123, 1e20, float64(0), float64(3), []string{"a"}, []string(nil),
		map[string]any{}, map[string]any(nil), []map[string]any{}, []map[string]any(nil), struct{ A int }{1}, json.Number("12"), []any{1, "x", nil},
		map[string]any{"data": []map[string]any{{"vmid": 100, "b": nil, "a": "x", "ä": 1.5}, nil, {"n": map[string]int{"k": 1}}}, "total": 2},
	} {
		var want bytes.Buffer
		enc := json.NewEncoder(&want)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(v); err != nil {
			t.Fatal(err)
		}
		got, err := appendJSON(nil, v)
		if diff := cmp.Diff(string(bytes.TrimRight(want.Bytes(), "\n")), string(got)); diff != "" || err != nil {
			t.Errorf("%#v: %v %s", v, err, diff)
		}
	}
}
