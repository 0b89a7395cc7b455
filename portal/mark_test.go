package portal

import (
	"strings"
	"testing"
)

var testMark = Mark{Installation: "01jinstallation00000000000", Service: "01jservice0000000000000000", Operation: "01joperation00000000000000"}

// TestMark signs and reads a mark, alone and above a customer's note.
func TestMark(t *testing.T) {
	t.Parallel()
	key := []byte("0123456789abcdef")
	line := testMark.Sign(key)
	if strings.ContainsAny(line, " {}\\\n'\"") || len(line) > 200 {
		t.Errorf("%q isn't fit for notes", line)
	}
	for _, notes := range []string{line, line + "\nbefore the upgrade", "  " + line + " \r\nnote", line + "\nstowage:a:b:c:d"} {
		m, marked, valid := ReadMark(notes, key)
		if m != testMark || !marked || !valid {
			t.Errorf("%q: %+v, marked %t, valid %t", notes, m, marked, valid)
		}
	}
	empty := Mark{Installation: testMark.Installation, Service: testMark.Service}
	if m, _, valid := ReadMark(empty.Sign(key), key); !valid || m != empty {
		t.Error("a mark without an operation isn't read")
	}
}

// TestMarkForged takes nothing for ours that isn't signed with our key, letter by letter.
func TestMarkForged(t *testing.T) {
	t.Parallel()
	key := []byte("0123456789abcdef")
	line := testMark.Sign(key)
	for i := range line {
		if i < len("stowage:") {
			continue
		}
		changed := []byte(line)
		changed[i] ^= 1
		if _, marked, valid := ReadMark(string(changed), key); valid || !marked {
			t.Errorf("letter %d changed: marked %t, valid %t", i, marked, valid)
		}
	}
	for _, notes := range []string{line[:len(line)-1], line + "0", line + ":x", testMark.Sign([]byte("another key")), "stowage:", "stowage:a:b:c:", "stowage::::"} {
		if _, marked, valid := ReadMark(notes, key); valid || !marked {
			t.Errorf("%q: marked %t, valid %t", notes, marked, valid)
		}
	}
	for _, notes := range []string{"", "my own note", "note\n" + line, "Stowage:a:b:c:d", "x " + line} {
		if _, marked, valid := ReadMark(notes, key); marked || valid {
			t.Errorf("%q: marked %t, valid %t", notes, marked, valid)
		}
	}
}

// TestIdentity tells machines apart, and takes nothing for the same where there is nothing to compare.
func TestIdentity(t *testing.T) {
	t.Parallel()
	const a, b = "5fc95a63-f37a-494f-8767-53504cf0cda7", "11111111-f37a-494f-8767-53504cf0cda7"
	for name, c := range map[string]struct {
		remembered, seen Identity
		want             bool
	}{
		"same uuid":               {Identity{UUID: a}, Identity{UUID: a}, true},
		"same uuid, upper case":   {Identity{UUID: a}, Identity{UUID: strings.ToUpper(a)}, true},
		"same uuid, new card":     {Identity{UUID: a, Made: 1, MACs: "X"}, Identity{UUID: a, Made: 2, MACs: "Y"}, true},
		"other uuid":              {Identity{UUID: a}, Identity{UUID: b}, false},
		"other uuid, same card":   {Identity{UUID: a, Made: 1, MACs: "X"}, Identity{UUID: b, Made: 1, MACs: "X"}, false},
		"bare, same cards":        {Identity{UUID: a, Made: 1, MACs: "X", Bare: true}, Identity{MACs: "X"}, true},
		"bare, other cards":       {Identity{UUID: a, Made: 1, MACs: "X", Bare: true}, Identity{MACs: "Y"}, false},
		"bare, no cards":          {Identity{UUID: a, Bare: true}, Identity{}, false},
		"bare, its uuid is back":  {Identity{UUID: a, MACs: "X", Bare: true}, Identity{UUID: a, Made: 1, MACs: "Y"}, true},
		"bare, another uuid":      {Identity{UUID: a, MACs: "X", Bare: true}, Identity{UUID: b, MACs: "X"}, false},
		"bare, a time of its own": {Identity{UUID: a, Made: 1, MACs: "X", Bare: true}, Identity{Made: 1, MACs: "X"}, false},
		"never bare, no uuid":     {Identity{UUID: a, MACs: "X"}, Identity{MACs: "X"}, false},
		"uuid gone":               {Identity{UUID: a, Made: 1, MACs: "X"}, Identity{Made: 1, MACs: "X"}, false},
		"uuid where was none":     {Identity{Made: 1, MACs: "X"}, Identity{UUID: a, Made: 1, MACs: "X"}, false},
		"no uuid, same":           {Identity{Made: 1, MACs: "X"}, Identity{Made: 1, MACs: "X"}, true},
		"no uuid, other card":     {Identity{Made: 1, MACs: "X"}, Identity{Made: 1, MACs: "Y"}, false},
		"no uuid, made again":     {Identity{Made: 1, MACs: "X"}, Identity{Made: 2, MACs: "X"}, false},
		"no uuid, no card":        {Identity{Made: 1}, Identity{Made: 1}, false},
		"no uuid, no time":        {Identity{MACs: "X"}, Identity{MACs: "X"}, false},
		"nothing to compare with": {Identity{}, Identity{}, false},
	} {
		if got := c.remembered.Same(c.seen); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
