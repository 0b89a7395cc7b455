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
}
