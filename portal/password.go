package portal

import (
	"strings"
	"time"
)

// The ways in which a password reaches a machine.
const (
	WayAgent     = "agent"     // the guest agent sets it, at once
	WayCloudInit = "cloudinit" // the system reads it at its next start
)

// ShowBy is how long a new password waits to be looked at. It is set only when somebody has it.
const ShowBy = 2 * time.Minute

// passwordLetters are those of generated passwords: none of them can be taken for another.
const passwordLetters = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"

// PasswordLength is how many letters a generated password has.
const PasswordLength = 20

// NewPassword makes a password of random bytes, any number of them; more is asked for more. Each letter is as likely as
// any other: bytes that would favour some are left out.
func NewPassword(more func() byte) string {
	var b strings.Builder
	for b.Len() < PasswordLength {
		if n := int(more()); n < 256-256%len(passwordLetters) {
			b.WriteByte(passwordLetters[n%len(passwordLetters)])
		}
	}
	return b.String()
}

// RequestPassword asks for a new password for the administrator of the machine's system. It is made with the operation,
// shown once to whoever asked, and only then set.
func RequestPassword(actor string) Request {
	return func(s Situation) (Operation, error) {
		if err := mayAct(s, "This service is suspended: you can look at everything, but not change its password."); err != nil {
			return Operation{}, err
		}
		if err := s.free(false); err != nil {
			return Operation{}, err
		}
		op := s.errand(KindPassword, actor)
		op.RunAfter = s.Now.Add(ShowBy) // sooner when it was shown
		return op, nil
	}
}
