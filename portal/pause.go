package portal

import (
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// What a pause is over.
const (
	PauseServer  = "server"
	PauseNode    = "node"
	PauseStorage = "storage"
	PauseProduct = "product"
	PauseService = "service"
)

// PauseScopes are all scopes, the widest first.
var PauseScopes = []string{PauseServer, PauseNode, PauseStorage, PauseProduct, PauseService}

// OnServer tells whether the scope lies on one server, which then has to be named.
func (p Pause) OnServer() bool {
	return p.Scope == PauseServer || p.Scope == PauseNode || p.Scope == PauseStorage
}

// Clean gives the pause as it is kept, or an Error on the field that can't be used: it names what it is over, says
// why in one line that clients read, and ends after its start and after now. Without a start it starts now.
func (p Pause) Clean(now time.Time) (Pause, error) {
	p.Target, p.Reason = strings.TrimSpace(p.Target), strings.TrimSpace(strings.TrimRight(strings.TrimSpace(p.Reason), "."))
	if p.StartsAt.IsZero() {
		p.StartsAt = now
	}
	switch {
	case !slices.Contains(PauseScopes, p.Scope):
		return p, Invalid("scope", "A pause is over a server, a node, a storage, a product or a service.")
	case p.OnServer() && p.ServerID == 0:
		return p, Invalid("server", "A pause over a %s names the server.", p.Scope)
	case !p.OnServer() && p.ServerID != 0:
		return p, Invalid("server", "A pause over a %s holds on all servers: it names none.", p.Scope)
	case p.Scope == PauseServer && p.Target != "":
		return p, Invalid("target", "A pause over a whole server has no other target.")
	case p.Scope != PauseServer && p.Target == "":
		return p, Invalid("target", "A pause over a %s says which one.", p.Scope)
	case !p.EndsAt.After(p.StartsAt):
		return p, Invalid("until", "A pause ends after it starts.")
	case !p.EndsAt.After(now):
		return p, Invalid("until", "That end has passed already.")
	case p.Reason == "":
		return p, Invalid("reason", "Say why, in a few words: clients read it.")
	case utf8.RuneCountInString(p.Reason) > 200 || !utf8.ValidString(p.Reason):
		return p, Invalid("reason", "A reason has at most 200 characters.")
	case strings.ContainsFunc(p.Reason, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }):
		return p, Invalid("reason", "A reason is one line of plain text.")
	}
	return p, nil
}
