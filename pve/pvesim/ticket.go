package pvesim

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A ticket is what a login with a password gives: PVE:user@realm:TIME::SIGNATURE, good for two hours, sent as a
// cookie. With it every change needs a second token against forged forms (recorded in 01).
const (
	ticketLife  = 2 * 3600 // seconds
	ticketAhead = 300      // that a ticket may come from the future
)

// signature binds a text to this simulator: its seed stands for the cluster's key.
func (s *Sim) signature(text string) string {
	key := sha256.Sum256(fmt.Appendf(nil, "%d\x00ticket", s.seed))
	mac := hmac.New(sha256.New, key[:])
	mac.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

func (s *Sim) ticket(user string, at int64) string {
	plain := fmt.Sprintf("PVE:%s:%08X", user, at)
	return plain + "::" + s.signature(plain)
}

func (s *Sim) csrfToken(user string, at int64) string {
	return fmt.Sprintf("%08X:%s", at, s.signature(fmt.Sprintf("csrf %08X:%s", at, user)))
}

// ticketUser is whose good ticket this is, "" for none.
func (s *Sim) ticketUser(ticket string, at int64) string {
	plain, signature, signed := strings.Cut(ticket, "::")
	parts := strings.Split(plain, ":")
	if !signed || len(parts) != 3 || parts[0] != "PVE" || !same(signature, s.signature(plain)) {
		return ""
	}
	made, err := strconv.ParseInt(parts[2], 16, 64)
	if err != nil || at-made > ticketLife || made-at > ticketAhead || !s.userMay(parts[1], at) {
		return ""
	}
	return parts[1]
}

// csrfFits says whether the token against forged forms is the user's, and not too old.
func (s *Sim) csrfFits(token, user string, at int64) bool {
	when, _, _ := strings.Cut(token, ":")
	made, err := strconv.ParseInt(when, 16, 64)
	return err == nil && at-made <= ticketLife && made-at <= ticketAhead && same(token, s.csrfToken(user, made))
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// getTicket is what a login page asks for first: there is nothing to say.
func getTicket(*Sim, *call) answer { return ok(nil) }

// postTicket is a login. All that is wrong with it is told in the same words.
func postTicket(s *Sim, c *call) answer {
	if strings.HasPrefix(c.auth, tokenScheme) {
		if a := s.authenticate(c); a != nil {
			a.wait = wait401
			return *a
		}
		return forbidden("URI '%s' not available with API token, need proper ticket.\n", c.path)
	}
	user, at := c.params.get("username"), c.at/1000
	if realm := c.params.get("realm"); realm != "" && !strings.HasSuffix(user, "@"+realm) {
		user += "@" + realm
	}
	if !s.passwordFits(user, c.params.get("password"), at) {
		a := fail(401, "authentication failure")
		a.wait = wait401
		return a
	}
	return ok(map[string]any{
		"username": user, "ticket": s.ticket(user, at), "CSRFPreventionToken": s.csrfToken(user, at), "cap": s.capabilities(user),
	})
}

// passwordFits takes a password, or an older ticket of the same user in its place.
func (s *Sim) passwordFits(user, password string, at int64) bool {
	if s.ticketUser(password, at) == user && user != "" {
		return true
	}
	i := slices.IndexFunc(s.st.World.Users, func(u User) bool { return u.ID == user })
	if i < 0 || s.st.World.Users[i].Password == "" {
		return false
	}
	return s.userMay(user, at) && same(password, s.st.World.Users[i].Password)
}

// capabilities are the privileges that a login shows for the menus of the web interface.
func (s *Sim) capabilities(user string) map[string]map[string]int {
	who := identity{Name: user, User: user}
	out := map[string]map[string]int{}
	for name, of := range map[string]struct {
		path  string
		kinds []string
	}{
		"vms":     {"/vms", []string{"VM.", "Permissions."}},
		"storage": {"/storage", []string{"Datastore.", "Permissions."}},
		"nodes":   {"/nodes", []string{"Sys.", "Permissions."}},
		"access":  {"/access", []string{"User.", "Group.", "Permissions."}},
		"mapping": {"/mapping", []string{"Mapping.", "Permissions."}},
		"sdn":     {"/sdn", []string{"SDN.", "Permissions."}},
		"dc":      {"/", []string{"SDN.", "Sys.Audit", "Sys.Modify"}},
	} {
		out[name] = map[string]int{}
		for _, p := range s.privileges(who, of.path) {
			if slices.ContainsFunc(of.kinds, func(kind string) bool { return strings.HasPrefix(p, kind) }) {
				out[name][p] = 1
			}
		}
	}
	return out
}
