package store

import (
	"fmt"
	"testing"

	"stowage/portal"
)

// TestReferencesThatAreTaken has the short names run into those of earlier operations, as they do by chance in a
// database of years: another one is taken, and nobody is told that something is busy.
func TestReferencesThatAreTaken(t *testing.T) {
	t.Parallel()
	db, _ := openPeople(t)
	hosting(t, db, 200)
	var taken string
	if err := db.read.QueryRowContext(t.Context(), `SELECT reference FROM operations LIMIT 1`).Scan(&taken); err != nil {
		t.Fatal(err)
	}
	next := 0
	db.reference = func() string {
		if next++; next%4 != 0 {
			return taken
		}
		return fmt.Sprintf("NEW-%03d", next)
	}
	for service := 1; service <= 5; service++ {
		op, err := db.Enqueue(t.Context(), 0, fmt.Sprintf("01service%017d", service), func(s portal.Situation) (portal.Operation, error) {
			return portal.Operation{Kind: portal.KindBackup, Step: portal.StepPreflight, Manual: true, Actor: "cli", StartBy: s.Now, GiveUpAt: s.Now}, nil
		})
		if err != nil || op.Reference != fmt.Sprintf("NEW-%03d", 4*service) {
			t.Errorf("service %d: %q, %v", service, op.Reference, err)
		}
	}

	// Many at once: those that clash among themselves or with what is there are drawn anew.
	ops := make([]*portal.Operation, 9)
	for i := range ops {
		ops[i] = &portal.Operation{Reference: []string{taken, "TWICE", "ONCE" + fmt.Sprint(i)}[i%3]}
	}
	seen := map[string]bool{}
	err := db.update(t.Context(), "test", func(t *tx) error { return (&slotWriter{tx: t}).freeReferences(ops) })
	for _, o := range ops {
		if seen[o.Reference] || o.Reference == taken {
			t.Errorf("%q is not free", o.Reference)
		}
		seen[o.Reference] = true
	}
	if err != nil || !seen["TWICE"] || !seen["ONCE2"] {
		t.Errorf("%v, %v", seen, err)
	}
}
