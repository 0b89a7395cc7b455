package portal

import (
	"net/mail"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Client is the paying customer. It has one or more logins and any number of services.
type Client struct {
	ID        int64
	UID       string
	Name      string
	Zone      string // IANA name; the default of new schedules
	Language  string
	CreatedAt time.Time
}

// Role says what a login may do.
type Role string

// Roles of clients' logins and of staff. RoleOperator exists on both sides; Login.Staff tells them apart.
const (
	RoleOwner    Role = "owner"    // client: everything
	RoleOperator Role = "operator" // client: everything but logins; staff: everything but credentials, products, staff
	RoleReader   Role = "reader"   // client: looks only
	RoleAdmin    Role = "admin"    // staff: everything
	RoleAuditor  Role = "auditor"  // staff: looks only
)

// Login is one person's way in: of a client (ClientID > 0) or of the hosting company's staff (ClientID 0).
// E-mail addresses are unique over all logins, whoever's they are.
type Login struct {
	ID           int64
	UID          string
	ClientID     int64
	Email        string // lower case
	Name         string
	Role         Role
	PasswordHash string
	Zone         string
	Language     string // one of LanguageTags
	Generation   int64  // sessions of an earlier generation have ended
	Disabled     bool
	MailSwitches string // JSON: which kinds of mail were switched on or off; see Wants
}

// LanguageTags are the languages that people may choose, by their BCP 47 tags; the first is the one of whoever chose
// none. PseudoLanguage is one that no person speaks, for tests of the words themselves.
var LanguageTags = []string{"en", "de"}

// PseudoLanguage is made from English; package lang says how.
const PseudoLanguage = "en-XA"

// CleanLanguage gives the tag of a language as it is kept, or an Error on "language"; "" is English. The pseudo
// language is taken only where pseudo says so.
func CleanLanguage(tag string, pseudo bool) (string, error) {
	switch {
	case tag == "":
		return LanguageTags[0], nil
	case slices.Contains(LanguageTags, tag), pseudo && tag == PseudoLanguage:
		return tag, nil
	}
	return "", Invalid("language", "%s is no language that the portal speaks. Choose one of: %s.", quoted(tag), strings.Join(LanguageTags, ", "))
}

// Staff tells whether the login belongs to the hosting company.
func (l Login) Staff() bool { return l.ClientID == 0 }

// MayAct tells whether the login may change anything: readers and auditors only look.
func (l Login) MayAct() bool { return l.Role != RoleReader && l.Role != RoleAuditor }

// Actor is the login's name in audit rows and operations: "client:<uid>" or "staff:<uid>".
func (l Login) Actor() string {
	if l.Staff() {
		return "staff:" + l.UID
	}
	return "client:" + l.UID
}

// ValidClientRole and ValidStaffRole tell which roles exist on each side.
func ValidClientRole(r Role) bool { return r == RoleOwner || r == RoleOperator || r == RoleReader }

// ValidStaffRole tells whether r is a role of staff.
func ValidStaffRole(r Role) bool { return r == RoleAdmin || r == RoleOperator || r == RoleAuditor }

// CleanEmail gives the address in lower case without a display name, or an Error on "email".
func CleanEmail(s string) (string, error) {
	s = strings.TrimSpace(s)
	a, err := mail.ParseAddress(s)
	if err != nil || a.Address != s || len(s) > 254 {
		return "", Invalid("email", "That is not an e-mail address.")
	}
	return strings.ToLower(s), nil
}

// NoteLimit is the longest note, in characters.
const NoteLimit = 200

// CleanNote gives the note as it is kept: one line, no control characters, at most NoteLimit characters. Marks
// that change the direction of writing are refused because they make a line read as something else.
func CleanNote(s string) (string, error) {
	if !utf8.ValidString(s) {
		return "", Invalid("note", "The note holds bytes that are not text.")
	}
	s = strings.TrimSpace(s)
	if n := utf8.RuneCountInString(s); n > NoteLimit {
		return "", Invalid("note", "A note has at most %d characters; this one has %d.", NoteLimit, n)
	}
	for _, r := range s {
		switch {
		case unicode.IsControl(r) || r == '\u2028' || r == '\u2029':
			return "", Invalid("note", "A note is one line of plain text, without line breaks or control characters.")
		case unicode.Is(unicode.Bidi_Control, r):
			return "", Invalid("note", "A note can't hold invisible marks that change the direction of writing.")
		}
	}
	return s, nil
}

// CleanName gives a name (of a client, product, server or service) trimmed, or an Error on field.
func CleanName(field, s string) (string, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return "", Invalid(field, "A name is missing.")
	}
	if utf8.RuneCountInString(s) > 100 || !utf8.ValidString(s) {
		return "", Invalid(field, "A name has at most 100 characters.")
	}
	for _, r := range s {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return "", Invalid(field, "A name is one line of plain text.")
		}
	}
	return s, nil
}
