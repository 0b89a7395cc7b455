package pve

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// entry is what lists are made of.
type entry struct {
	Name  text     `json:"name"`
	Count whole    `json:"count"`
	Share fraction `json:"share"`
	On    truth    `json:"on"`
}

// byTheBook reads an answer as encoding/json does.
func byTheBook(body []byte, out any) (int, error) {
	var answer struct {
		Data  json.RawMessage `json:"data"`
		Total whole           `json:"total"`
	}
	err := json.Unmarshal(body, &answer)
	if err == nil && (len(answer.Data) == 0 || string(answer.Data) == "null") {
		err = errNoData
	}
	if err == nil {
		err = json.Unmarshal(answer.Data, out)
	}
	return int(answer.Total), err
}

// FuzzDecode holds our reading of answers against that of encoding/json.
func FuzzDecode(f *testing.F) {
	for _, body := range []string{
		`{"data":[{"name":"a","count":1,"share":0.5,"on":1},{"name":null,"count":"7","other":{"x":[1,"]"]}}],"total":2}`,
		`{"data":[]}`, `{"data":null}`, `{"total":"3"}`, `{}`, ``, `[]`, `null`, `{"data":[null,{}]}`, `{"data":[1]}`, `{"data":{"name":"a"}}`, `{"data":"x"}`,
		`{"data":[{"name":"\u00e4\n\"\ud83d\ude00\ud800","count":-1e3,"on":"0"}]} `, "{\"data\":[{\"name\":\"\xff\"}]}", "{\"data\":[{\"name\":\"a\nb\"}]}",
		`{"data":[{"name":"a",}]}`, `{"data":[{"name":"a"}`, `{"data":[]}x`, `{"data":[01]}`, `{"data":[{"count":1.}]}`, `{"data":[{"on":tru}]}`, `{"data":[{"name":"\x"}]}`,
		`{"\u0064ata":[{"n\u0061me":"a"}]}`, `{"data":[{"name":"a","name":"b"}],"data":[{"count":2}]}`, `{"data":[{"count":99999999999999999999,"share":"NaN"}]}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, out := range []func() any{func() any { return &[]entry{} }, func() any { return new(entry) }} {
			want, got := out(), out()
			wantTotal, wantErr := byTheBook(body, want)
			gotTotal, gotErr := decode(body, got)
			if (wantErr == nil) != (gotErr == nil) {
				if wantErr == nil && inAnotherCase(body) {
					continue // keys in capitals are other keys to us
				}
				t.Fatalf("%q: %v, want %v", body, gotErr, wantErr)
			}
			if wantErr == nil && !inAnotherCase(body) && (wantTotal != gotTotal || !reflect.DeepEqual(want, got)) {
				t.Fatalf("%q: %d, %s", body, gotTotal, cmp.Diff(want, got))
			}
		}
	})
}

// inAnotherCase tells whether the answer may have keys that encoding/json takes for ours although they are written
// otherwise.
func inAnotherCase(body []byte) bool {
	text := strings.ToLower(string(body))
	for _, key := range []string{"data", "total", "name", "count", "share", "on"} {
		if strings.Count(text, key) != strings.Count(string(body), key) {
			return true
		}
	}
	return strings.Contains(text, `\u`) || strings.ContainsAny(text, "ſK") // the long s and the Kelvin sign fold too
}

func BenchmarkDecode(b *testing.B) {
	var body strings.Builder
	body.WriteString(`{"data":[`)
	for i := range 10_000 {
		if i > 0 {
			body.WriteByte(',')
		}
		fmt.Fprintf(&body, `{"volid":"local:backup/vzdump-qemu-%d-2026_11_20-03_00_00.vma.zst","ctime":1795140000,"size":4294967296,"format":"vma.zst","vmid":%d,"content":"backup","subtype":"qemu","notes":"stowage:01m7wjs9z73t13nebqrgjw1873:01m7wjsapbaa7q8h9xvn234td1:01m7wjsbwvfgsqyztayhq858wf:0123456789abcdef0123"}`, i, i)
	}
	body.WriteString(`]}`)
	answer := []byte(body.String())
	b.SetBytes(int64(len(answer)))
	for b.Loop() {
		var got []struct {
			Volid text  `json:"volid"`
			VMID  whole `json:"vmid"`
			CTime whole `json:"ctime"`
			Size  whole `json:"size"`
			Notes text  `json:"notes"`
		}
		if _, err := decode(answer, &got); err != nil || len(got) != 10_000 {
			b.Fatal(len(got), err)
		}
	}
}
