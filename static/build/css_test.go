package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPrune(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, in, want string }{
		{"a used class stays", `.card { color: red }`, `.card{color: red}`},
		{"an unused class goes", `.carousel { color: red }`, ``},
		{"each selector for itself", `.carousel, .card, a:hover { color: red }`, `.card, a:hover{color: red}`},
		{"every class is demanded", `.card .carousel { color: red } .card.btn { color: blue }`, `.card.btn{color: blue}`},
		{"an excluded class is not demanded", `.card:not(.carousel) { color: red }`, `.card:not(.carousel){color: red}`},
		{"elements stay", `table > tr { color: red }`, `table > tr{color: red}`},
		{"an emptied group goes", `@media print { .carousel { color: red } }`, ``},
		{"groups keep what is used", `@media print { .carousel { color: red } .card { color: blue } }`, `@media print{.card{color: blue}}`},
		{"commas and braces in strings", `.card::after { content: "}, {;"; color: red }`, `.card::after{content: "}, {;"; color: red}`},
		{"data addresses", `.card { background: url("data:image/svg+xml,%3csvg a='b;c}'%3e") }`, `.card{background: url("data:image/svg+xml,%3csvg a='b;c}'%3e")}`},
		{"comments go", `/* } */ .card { color: red }`, `.card{color: red}`},
		{"numbers are no classes", `.card { margin: .5rem } .btn:nth-child(2n+1) { top: 0 }`, `.card{margin: .5rem}.btn:nth-child(2n+1){top: 0}`},
		{"unnamed animations go", `@keyframes spin { to { top: 0 } } @keyframes move { to { top: 0 } } .card { animation: move 1s }`, `@keyframes move{to { top: 0 }}.card{animation: move 1s}`},
		{"unread properties go, to the end", `:root { --a: 1; --b: var(--a); --c: 2 } .card { top: var(--c) }`, `:root{--c: 2}.card{top: var(--c)}`},
		{"the dark theme twice", `[data-bs-theme=dark] .card { color: red }`, `[data-bs-theme=dark] .card{color: red}@media (prefers-color-scheme: dark){[data-bs-theme=auto] .card{color: red}}`},
		{"themes of others go", `[data-theme=dark] .card { color: red } .theme-dark { top: 0 }`, ``},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			rules, err := parseCSS(c.in)
			if err != nil {
				t.Fatal(err)
			}
			got := prune(rules, map[string]bool{"card": true, "btn": true}).String()
			if diff := cmp.Diff(squeeze(c.want), squeeze(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// squeeze makes white space not matter.
func squeeze(s string) string {
	return strings.Join(strings.Fields(strings.NewReplacer("{", " { ", "}", " } ", ";", " ; ").Replace(s)), " ")
}

func TestParseBroken(t *testing.T) {
	t.Parallel()
	for _, in := range []string{`.card { color: red`, `.card`, `@media print { .card { color: red }`} {
		if _, err := parseCSS(in); err == nil {
			t.Errorf("%q was taken", in)
		}
	}
}
