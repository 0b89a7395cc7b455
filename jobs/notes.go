package jobs

import (
	"context"
	"strings"
	"time"

	"stowage/portal"
)

// noteTries is how often writing a note is tried within the first hour; after that it is tried every noteRest.
const (
	noteTries = 10
	noteRest  = 6 * time.Hour
)

// MirrorNotes writes marks and notes to archives where they are due: the mark on the first line, the customer's
// note on the second. Proxmox answers 200 even for a volume that isn't there, so each is read back. The row
// that says a note is due is the committed intent; writing it twice does no harm.
func (e *Engine) MirrorNotes(ctx context.Context) error {
	due, err := e.db.DueNotes(ctx, e.now(), 50)
	if err != nil {
		return err
	}
	for _, b := range due {
		if err := e.mirrorNote(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) mirrorNote(ctx context.Context, b portal.Backup) error {
	l, err := e.link(ctx, b.ServerID)
	if err != nil {
		return err
	}
	s, err := e.db.Service(ctx, b.ServiceID)
	if err != nil {
		return err
	}
	op := ""
	if b.OperationID != 0 {
		o, err := e.db.Operation(ctx, b.OperationID)
		if err != nil {
			return err
		}
		op = o.UID
	}
	node := b.Node
	if node == "" {
		node = s.Node
	}
	want := portal.Mark{Installation: e.db.Installation(), Service: s.UID, Operation: op}.Sign(e.db.MarkKey())
	if b.Note != "" {
		want += "\n" + b.Note
	}
	later := e.now().Add(time.Duration(b.NoteTries+1) * time.Minute)
	have, err := l.client.Archive(ctx, node, b.Storage, b.Volid)
	if err == nil && strings.TrimRight(have.Notes, "\n") == want {
		return e.db.SaveNoteWritten(ctx, b, time.Time{})
	}
	if b.NoteTries >= noteTries {
		e.log.WarnContext(ctx, "a note could not be written", "backup", b.UID, "service_id", s.UID, "error", err)
		later = e.now().Add(noteRest)
	}
	if err != nil {
		return e.db.SaveNoteWritten(ctx, b, later)
	}
	if err := l.client.SetArchiveNotes(ctx, node, b.Storage, b.Volid, want); err != nil {
		e.log.WarnContext(ctx, "writing a note was not answered well", "backup", b.UID, "service_id", s.UID, "error", err)
		return e.db.SaveNoteWritten(ctx, b, later)
	}
	have, err = l.client.Archive(ctx, node, b.Storage, b.Volid)
	if err == nil && strings.TrimRight(have.Notes, "\n") == want {
		return e.db.SaveNoteWritten(ctx, b, time.Time{})
	}
	return e.db.SaveNoteWritten(ctx, b, later)
}
