package lang_test

import (
	"testing"
	"time"

	"stowage/portal"
	"stowage/portal/lang"
)

func BenchmarkSay(b *testing.B) {
	plain := portal.Text("The backup is in your list.")
	filled := portal.Sentences(plain, portal.Say("Much smaller than the last one: %s instead of %s.", portal.Size(1<<30), portal.Size(41<<30)))
	counted := portal.Count(3, "Your other backup is untouched.", "Your other %d backups are untouched.")
	at := portal.When{At: time.Date(2026, 11, 12, 3, 0, 0, 0, time.UTC), Layout: "Mon 2 Jan 15:04"}
	w := lang.For(lang.German)
	for name, text := range map[string]portal.Text{"plain": plain, "filled": filled, "counted": counted, "unknown": "nobody says this"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				w.Say(text)
			}
		})
	}
	b.Run("date", func(b *testing.B) {
		for b.Loop() {
			w.Date(at.At, at.Layout)
		}
	})
}
