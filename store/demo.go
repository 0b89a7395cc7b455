package store

import "context"

// NoteDemo adds an audit row about what staff did to the simulated world of the demo: action is "demo.break" or
// "demo.heal", subject what it was done to, what how it is now.
func (db *DB) NoteDemo(ctx context.Context, actor, action, subject, what string) error {
	return db.update(ctx, "note demo", func(t *tx) error {
		return t.audit(Entry{Actor: actor, Action: action, Entity: "demo", EntityUID: subject, After: what})
	})
}
