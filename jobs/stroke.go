package jobs

import (
	"fmt"

	"stowage/portal"
	"stowage/pve"
)

// stroke is a step on a machine whose effect nobody can look at, such as a password that was set: Proxmox does it while
// the call lasts. Its answer counts where it came; where it didn't, the same is sent again, which is harmless.
type stroke struct {
	call  string
	begun portal.Text
	send  func(*turn) error
	next  func(*turn) error
	wrong func(t *turn, failure string) portal.Text
	fail  func(t *turn, text portal.Text) error // after the last try; nil stops the operation there
}

// strokeTries is how often one is sent.
const strokeTries = 3

func (s stroke) step() step {
	return step{look: s.look, intend: s.intend, send: s.dispatch, next: s.done, failed: s.failed}
}

func (s stroke) look(t *turn) (seen portal.Sight, err error) {
	if t.op.IntentAt.IsZero() {
		return seen, nil
	}
	if _, err := t.status(); err != nil { // the host answers
		return seen, err
	}
	return portal.Sight{Done: t.op.Work.Answered, Clean: true, Repeatable: true}, nil
}

func (s stroke) intend(t *turn) error {
	t.op.IntentNode, t.op.KnownUPIDs, t.op.Work.Answered = t.op.Node, nil, false
	t.audit(s.call, fmt.Sprintf("node %s vmid %d", t.op.Node, t.sit.Service.VMID))
	if t.op.Work.Tries == 0 && s.begun != "" {
		t.note("begun", s.begun, s.call+" on "+t.op.Node)
	}
	t.op.Work.Tries++
	return nil
}

func (s stroke) dispatch(t *turn) (string, error) {
	err := s.send(t)
	t.op.Work.Answered = err == nil
	return "", err
}

func (s stroke) done(t *turn) error {
	t.op.Work.Answered = false
	return s.next(t)
}

func (s stroke) failed(t *turn) error {
	text := s.wrong(t, t.failure)
	if s.fail != nil && t.op.Attempt+1 >= strokeTries {
		return s.fail(t, text)
	}
	return t.errandFailed(text, strokeTries)
}

// secret opens the operation's password. It never goes into anything that is kept, said or logged.
func (t *turn) secret() (pve.Secret, error) {
	text, err := t.e.db.OperationSecret(t, t.op.ID)
	return pve.Secret(text), err
}
