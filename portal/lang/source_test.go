package lang_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/constant"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// source is all product code of ours that can say something to people, with its types.
type source struct {
	fset  *token.FileSet
	rooms []*room
	roles map[string][]role // of functions, by their full names: which of their parameters are keys

	messages map[string]message // by key
	used     map[string]bool    // functions that were allowed something
	wrong    []string
}

// room is one package.
type room struct {
	path  string
	files []*ast.File
	info  *types.Info
}

// role says which parameters of a function are a key and what fills it.
type role struct {
	key  int // of the key, or of the wording for many
	one  int // of the wording for one; -1 where the key doesn't count
	args int // of the first argument; -1 where it has none
}

// message is what the source says: a key, and for one that counts the wording for one.
type message struct {
	key, one string
	where    string // where it is said first
}

// seeds are the functions that take a key. Whoever passes a parameter of its own on to one of them takes a key, too.
var seeds = map[string][]role{
	"stowage/portal.Say":                {{0, -1, 1}},
	"stowage/portal.Count":              {{2, 1, 3}},
	"stowage/portal.Refuse":             {{1, -1, 2}},
	"stowage/portal.Invalid":            {{1, -1, 2}},
	"(*stowage/portal/lang.Words).T":    {{0, -1, 1}},
	"(*stowage/portal/lang.Words).N":    {{2, 1, 3}},
	"(*stowage/portal/lang.Words).Date": {{1, -1, -1}},
}

// rawAllowed are the functions that may turn strings into Texts and Texts into strings as they are written down, each
// with its reason.
var rawAllowed = map[string]string{
	"stowage/portal.pack":              "writes a Text down",
	"stowage/portal.open":              "reads what is written down",
	"(stowage/portal.Text).Parts":      "reads what is written down",
	"(stowage/portal.Text).Without":    "reads plain words of older versions",
	"stowage/portal.Say":               "a key is a Text of its own",
	"stowage/templates.exact":          "says a Text that was made elsewhere, what is verbatim in it marked",
	"stowage/store.slotViews":          "a column that may be NULL",
	"stowage/store.kept":               "a JSON column: as English it could not be said in another language",
	"(*stowage/store.slotWriter).add":  "the outbox: its reader has a language",
	"(*stowage/store.tx).expire":       "the outbox: its reader has a language",
	"(*stowage/jobs.turn).tell":        "the outbox: its reader has a language",
	"(*stowage/store.DB).Report":       "the outbox: its reader has a language",
	"(stowage/portal.Notice).reason":   "the outbox: a mail says it in its reader's language",
	"(stowage/portal.composer).report": "the outbox: a mail says it in its reader's language",
	"(*stowage/web.Server).AddFlash":   "the session: the next page says it in its language",
	"(*stowage/web.Server).Flashes":    "the session: the next page says it in its language",
	"(*stowage/portal/lang.Words).put": "hands a key on",
}

// computedAllowed are the functions whose keys are not literals, each with its reason.
var computedAllowed = map[string]string{
	"(*stowage/portal/lang.Words).put": "says a Text that was made elsewhere",
	"stowage/portal.readWhen":          "reads a When that was made elsewhere",
	"stowage/templates.date":           "says a When that was made elsewhere",
	"stowage/templates.Listed":         "commas between texts",
	"stowage/templates.exact":          "says a Text that was made elsewhere",
}

// english are the rooms that may say Texts in English: they speak to staff on a terminal, to logs and to programs.
var english = []string{"stowage/portal", "stowage/store", "stowage/jobs", "stowage/cmd/stowage"}

// read reads the product's source. It takes types of imports from the compiler's own cache.
func read(t *testing.T) *source {
	t.Helper()
	s := &source{fset: token.NewFileSet(), roles: map[string][]role{}, messages: map[string]message{}, used: map[string]bool{}}
	for name, roles := range seeds {
		s.roles[name] = slices.Clone(roles)
	}
	exports := map[string]string{}
	imports := importer.ForCompiler(s.fset, "gc", func(path string) (io.ReadCloser, error) {
		if exports[path] == "" {
			return nil, fmt.Errorf("no export data of %s", path)
		}
		return os.Open(exports[path])
	})
	var ours []listed
	for _, p := range list(t) {
		exports[p.ImportPath] = p.Export
		if p.ImportPath == "stowage/portal" || slices.Contains(p.Imports, "stowage/portal") {
			ours = append(ours, p)
		}
	}
	for _, p := range ours {
		r := &room{path: p.ImportPath, info: &types.Info{
			Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{}, Selections: map[*ast.SelectorExpr]*types.Selection{},
		}}
		if _, err := os.ReadDir(p.Dir); err != nil { // so that a new file makes a kept result of this test old
			t.Fatal(err)
		}
		for _, name := range p.GoFiles {
			f, err := parser.ParseFile(s.fset, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			r.files = append(r.files, f)
		}
		config := types.Config{Importer: imports}
		if _, err := config.Check(p.ImportPath, s.fset, r.files, r.info); err != nil {
			t.Fatal(err)
		}
		s.rooms = append(s.rooms, r)
	}
	for more := true; more; {
		more = false
		for _, r := range s.rooms {
			more = s.learn(r) || more
		}
	}
	for _, r := range s.rooms {
		s.gather(r)
	}
	for _, list := range []map[string]string{rawAllowed, computedAllowed} {
		for name := range list {
			if !s.used[name] {
				s.wrong = append(s.wrong, name+" is allowed what it does not do")
			}
		}
	}
	return s
}

func (s *source) allowed(list map[string]string, name string) bool {
	s.used[name] = s.used[name] || list[name] != ""
	return list[name] != ""
}

type listed struct {
	ImportPath, Dir, Export string
	GoFiles, Imports        []string
}

// list gives the product's packages with all that they import.
func list(t *testing.T) (packages []listed) {
	t.Helper()
	command := func(args ...string) []byte {
		c := exec.CommandContext(t.Context(), "go", args...)
		var failed bytes.Buffer
		c.Stderr = &failed
		out, err := c.Output()
		if err != nil {
			t.Fatalf("go %s: %v: %s", args[0], err, failed.String())
		}
		return out
	}
	names := slices.DeleteFunc(strings.Fields(string(command("list", "stowage/..."))), func(name string) bool { return strings.Contains(name, "node_modules") })
	out := command(append([]string{"list", "-export", "-deps", "-json=ImportPath,Dir,Export,GoFiles,Imports"}, names...)...)
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

// within calls fn for every node of a room with the function declaration that it stands in.
func (r *room) within(fn func(in *ast.FuncDecl, n ast.Node) bool) {
	for _, f := range r.files {
		for _, d := range f.Decls {
			in, _ := d.(*ast.FuncDecl)
			ast.Inspect(d, func(n ast.Node) bool { return n == nil || fn(in, n) })
		}
	}
}

// site is a place at which a key is given.
type site struct {
	key, one ast.Expr
	args     []ast.Expr
	spread   bool // the arguments are somebody else's
	counts   bool
}

// sites gives the places at which a node gives keys.
func (s *source) sites(r *room, n ast.Node) (out []site) {
	switch n := n.(type) {
	case *ast.CallExpr:
		for _, role := range s.roles[r.callee(n)] {
			v := site{key: n.Args[role.key], spread: n.Ellipsis.IsValid(), counts: role.one >= 0}
			if role.one >= 0 {
				v.one = n.Args[role.one]
			}
			if role.args >= 0 && role.args < len(n.Args) {
				v.args = n.Args[role.args:]
			}
			out = append(out, v)
		}
	case *ast.CompositeLit: // When{At: t, Layout: "…"}
		if !is(r.info.TypeOf(n), "When") {
			return nil
		}
		for i, e := range n.Elts {
			if kv, ok := e.(*ast.KeyValueExpr); ok && kv.Key.(*ast.Ident).Name == "Layout" {
				out = append(out, site{key: kv.Value})
			} else if !ok && i == 1 {
				out = append(out, site{key: e})
			}
		}
	case *ast.AssignStmt: // when.Layout = "…"
		for i, left := range n.Lhs {
			if sel, ok := left.(*ast.SelectorExpr); ok && sel.Sel.Name == "Layout" && is(r.info.TypeOf(sel.X), "When") && len(n.Rhs) == len(n.Lhs) {
				out = append(out, site{key: n.Rhs[i]})
			}
		}
	}
	return out
}

// callee gives the full name of the function that is called, "" where it is a value.
func (r *room) callee(call *ast.CallExpr) string {
	fun := ast.Unparen(call.Fun)
	if sel, ok := fun.(*ast.SelectorExpr); ok {
		fun = sel.Sel
	}
	if id, ok := fun.(*ast.Ident); ok {
		if f, ok := r.info.Uses[id].(*types.Func); ok {
			return f.FullName()
		}
	}
	return ""
}

// is tells whether a type is portal's of that name.
func is(t types.Type, name string) bool {
	named, ok := types.Unalias(t).(*types.Named)
	return ok && named.Obj().Name() == name && named.Obj().Pkg() != nil && named.Obj().Pkg().Path() == "stowage/portal"
}

// fullName gives the name of a declared function, as callee does.
func (r *room) fullName(in *ast.FuncDecl) string {
	if in == nil {
		return r.path
	}
	return r.info.Defs[in.Name].(*types.Func).FullName()
}

// parameter gives which parameter of the function an expression is, whatever it is converted to; -1 for none.
func (r *room) parameter(in *ast.FuncDecl, e ast.Expr) int {
	e = ast.Unparen(e)
	if call, ok := e.(*ast.CallExpr); ok && len(call.Args) == 1 && r.info.Types[call.Fun].IsType() {
		return r.parameter(in, call.Args[0])
	}
	id, ok := e.(*ast.Ident)
	if !ok || in == nil {
		return -1
	}
	params := r.info.Defs[in.Name].(*types.Func).Signature().Params()
	for i := range params.Len() {
		if r.info.Uses[id] == params.At(i) {
			return i
		}
	}
	return -1
}

// learn finds functions that pass parameters of their own on as keys.
func (s *source) learn(r *room) (more bool) {
	r.within(func(in *ast.FuncDecl, n ast.Node) bool {
		for _, v := range s.sites(r, n) {
			key := r.parameter(in, v.key)
			if key < 0 {
				continue
			}
			found := role{key: key, one: -1, args: -1}
			if v.counts {
				if found.one = r.parameter(in, v.one); found.one < 0 {
					continue
				}
			}
			if v.spread {
				found.args = r.parameter(in, v.args[len(v.args)-1])
			}
			name := r.fullName(in)
			if !slices.ContainsFunc(s.roles[name], func(known role) bool { return known.key == found.key }) {
				s.roles[name] = append(s.roles[name], found)
				more = true
			}
		}
		return true
	})
	return more
}

// gather notes every key of a room, and what is wrong with how it speaks.
func (s *source) gather(r *room) {
	said := map[ast.Expr]bool{} // keys that are noted with their arguments
	r.within(func(in *ast.FuncDecl, n ast.Node) bool {
		name := r.fullName(in)
		for _, v := range s.sites(r, n) {
			key, ok := r.literal(v.key)
			one, ok2 := "", true
			if v.counts {
				one, ok2 = r.literal(v.one)
				said[v.one] = true
			}
			said[v.key] = true
			switch {
			case ok && ok2:
				s.note(n, key, one)
				if !v.spread {
					s.fits(r, n, key, one, v)
				}
			case r.parameter(in, v.key) >= 0, s.allowed(computedAllowed, name):
			case is(r.info.TypeOf(v.key), "Text") && len(v.args) == 0 && !v.counts: // a Text that was made elsewhere
			default:
				s.complain(n, "a key is not a literal: it can't be translated")
			}
		}
		e, ok := n.(ast.Expr)
		if !ok || said[e] {
			return !ok || r.info.Types[e].Value == nil
		}
		tv := r.info.Types[e]
		switch {
		case tv.Value != nil && is(tv.Type, "Text"):
			if key := constant.StringVal(tv.Value); key != "" {
				s.note(n, key, "")
			}
			return false
		case tv.Value == nil:
			s.raw(r, name, e)
		}
		return true
	})
}

// raw complains of Texts that are joined or converted as they are written down, and of those that pages say in English.
func (s *source) raw(r *room, name string, e ast.Expr) {
	switch e := e.(type) {
	case *ast.BinaryExpr:
		if e.Op == token.ADD && is(r.info.TypeOf(e), "Text") {
			s.complain(e, "Texts are joined with +: use Say or Sentences")
		}
	case *ast.CallExpr:
		speaks := !slices.Contains(english, r.path)
		if r.info.Types[e.Fun].IsType() && len(e.Args) == 1 {
			to, from := r.info.TypeOf(e), r.info.TypeOf(e.Args[0])
			basic, ok := to.Underlying().(*types.Basic)
			if is(to, "Text") != is(from, "Text") && ok && basic.Kind() == types.String && r.info.Types[e.Args[0]].Value == nil && !s.allowed(rawAllowed, name) {
				s.complain(e, "a Text is converted in "+name+": Verbatim makes one of data, and languages say one")
			}
			return
		}
		callee := r.callee(e)
		if speaks && callee == "(stowage/portal.Text).String" {
			s.complain(e, "a Text is said in English: say it in the language of whoever reads it (the audit log's is lang.English)")
		}
		if speaks && (strings.HasPrefix(callee, "fmt.") || strings.HasPrefix(callee, "github.com/a-h/templ.")) {
			for _, a := range e.Args {
				if is(r.info.TypeOf(a), "Text") {
					s.complain(a, callee+" says a Text in English: say it in the language of whoever reads it")
				}
			}
		}
	}
}

// literal gives the value of an expression that is known when it is compiled.
func (r *room) literal(e ast.Expr) (string, bool) {
	v := r.info.Types[e].Value
	if v == nil || v.Kind() != constant.String {
		return "", false
	}
	return constant.StringVal(v), true
}

func (s *source) note(n ast.Node, key, one string) {
	where := s.where(n)
	known, ok := s.messages[key]
	switch {
	case !ok:
		s.messages[key] = message{key, one, where}
	case known.one != one:
		s.wrong = append(s.wrong, fmt.Sprintf("%s: %q has the wording %q for one, and %q at %s", where, key, one, known.one, known.where))
	}
}

func (s *source) complain(n ast.Node, what string) {
	s.wrong = append(s.wrong, s.where(n)+": "+what)
}

func (s *source) where(n ast.Node) string {
	p := s.fset.Position(n.Pos())
	dir, file := filepath.Split(p.Filename)
	return fmt.Sprintf("%s/%s:%d", filepath.Base(dir), file, p.Line)
}

// fits complains where a wording's places are not what fills them.
func (s *source) fits(r *room, n ast.Node, key, one string, v site) {
	if len(v.args) == 0 && !v.counts {
		if strings.Contains(key, "%%") {
			s.complain(n, "without arguments, a percent sign is not doubled")
		}
		return
	}
	var kinds []byte
	if v.counts {
		kinds = append(kinds, 'd')
	}
	for _, a := range v.args {
		kinds = append(kinds, kindOf(r.info.TypeOf(a)))
	}
	if got := places(key, len(kinds), v.counts); !slices.Equal(got, kinds) {
		s.complain(n, fmt.Sprintf("%q has the places %q, and is filled with %q", key, got, kinds))
	}
	if got := places(one, len(kinds), true); v.counts && len(got) > 0 && !slices.Equal(got, kinds) {
		s.complain(n, fmt.Sprintf("%q has the places %q, and is filled with %q", one, got, kinds))
	}
}

// kindOf tells with what verb an argument is said: d for plain integers, s for all else.
func kindOf(t types.Type) byte {
	if basic, ok := types.Unalias(t).(*types.Basic); ok && basic.Info()&types.IsInteger != 0 {
		return 'd'
	}
	return 's'
}
