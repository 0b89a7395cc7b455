package pvesim

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The endpoints that say who may what: those that a set-up calls. A journal keeps what they change.

var accessEndpoints = []endpoint{
	{method: "GET", path: "/access/ticket", run: getTicket, world: true},
	{method: "POST", path: "/access/ticket", run: postTicket, world: true, protected: true, params: []param{
		text("username").must().upTo(64), text("password").must(), text("realm").as("pve-realm").upTo(32),
		text("otp"), text("tfa-challenge"), boolean("new-format"),
		text("path").upTo(64).with("privs"), text("privs").as("pve-priv-list").upTo(64).with("path"),
	}},
	{method: "POST", path: "/access/roles", run: postRole, protected: true, need: need{path: "/access", any: []string{"Sys.Modify"}}, params: []param{
		text("roleid").must().as("pve-roleid"), text("privs").as("pve-priv-list"),
	}},
	{method: "POST", path: "/access/users", run: postUser, protected: true, params: []param{
		inUser, text("password").atLeastLong(8).upTo(64), text("groups").as("pve-groupid-list"), boolean("enable"),
		number("expire").atLeast(0), text("email").as("email-opt").upTo(254), text("firstname").upTo(1024),
		text("lastname").upTo(1024), text("comment").upTo(2048), text("keys").like(`[0-9a-zA-Z!=]{0,4096}`),
	}},
	{method: "DELETE", path: "/access/users/{userid}", run: deleteUser, protected: true, params: []param{inUser}},
	{method: "POST", path: "/access/users/{userid}/token/{tokenid}", run: postToken, protected: true, params: []param{
		inUser, text("tokenid").must().like(`[A-Za-z][A-Za-z0-9\.\-_]+`),
		boolean("privsep"), number("expire").atLeast(0), text("comment"),
	}},
	{method: "GET", path: "/access/acl", run: getACL},
	{method: "PUT", path: "/access/acl", run: putACL, protected: true, params: []param{
		text("path").must(), text("roles").must().as("pve-roleid-list"), text("users").as("pve-userid-list"),
		text("groups").as("pve-groupid-list"), text("tokens").as("pve-tokenid-list"), boolean("propagate"), boolean("delete"),
	}},
}

var inUser = text("userid").must().as("pve-userid").upTo(64)

func postRole(s *Sim, c *call) answer {
	name := c.params.get("roleid")
	if _, known := s.st.World.Roles[name]; known || s.role(name) != nil {
		return fail(500, "create role failed: role '%s' already exists", name)
	}
	privs := splitList(c.params.get("privs"))
	slices.Sort(privs)
	if s.st.World.Roles == nil {
		s.st.World.Roles = map[string][]string{}
	}
	s.st.World.Roles[name] = slices.Compact(privs)
	s.rightsChanged()
	return ok(nil)
}

func (s *Sim) user(id string) *User {
	for i := range s.st.World.Users {
		if s.st.World.Users[i].ID == id {
			return &s.st.World.Users[i]
		}
	}
	return nil
}

// mayManage is the right to make and remove users.
func (s *Sim) mayManage(who identity, user string) *answer {
	_, realm, _ := strings.Cut(user, "@")
	if a := s.demand(who, "/access/realm/"+realm, "Realm.AllocateUser"); a != nil {
		return a
	}
	return s.demand(who, "/access/groups", "User.Modify")
}

func postUser(s *Sim, c *call) answer {
	id := c.params.get("userid")
	if a := s.mayManage(c.who, id); a != nil {
		return *a
	}
	if id == root || s.user(id) != nil {
		return fail(500, "create user failed: user '%s' already exists", id)
	}
	s.st.World.Users = append(s.st.World.Users, User{
		ID: id, Password: c.params.get("password"), Disabled: !c.params.boolean("enable", true), Expire: c.params.integer("expire", 0),
	})
	s.rightsChanged()
	return ok(nil)
}

// deleteUser takes the tokens and the entries of the access control list along.
func deleteUser(s *Sim, c *call) answer {
	id := c.params.get("userid")
	if a := s.mayManage(c.who, id); a != nil {
		return *a
	}
	if s.user(id) == nil {
		return fail(500, "delete user failed: user '%s' does not exist", id)
	}
	w := &s.st.World
	ofUser := func(name string) bool { return name == id || strings.HasPrefix(name, id+"!") }
	w.Users = slices.DeleteFunc(w.Users, func(u User) bool { return u.ID == id })
	w.Tokens = slices.DeleteFunc(w.Tokens, func(t Token) bool { return ofUser(t.ID) })
	w.ACL = slices.DeleteFunc(w.ACL, func(a ACL) bool { return ofUser(a.Who) })
	s.rightsChanged()
	return ok(nil)
}

// postToken makes a token and shows its secret, this once.
func postToken(s *Sim, c *call) answer {
	user, name := c.params.get("userid"), c.params.get("tokenid")
	if c.who.User != user {
		if a := s.demand(c.who, "/access/groups", "User.Modify"); a != nil {
			return *a
		}
	}
	if user != root && s.user(user) == nil {
		return fail(500, "no such user ('%s')", user)
	}
	id := user + "!" + name
	if slices.ContainsFunc(s.st.World.Tokens, func(t Token) bool { return t.ID == id }) {
		return wrongParam("tokenid", "Token already exists.")
	}
	s.st.Counter++
	secret := uuid(s.random("secret", strconv.FormatUint(s.st.Counter, 10)+id))
	s.st.World.Tokens = append(s.st.World.Tokens, Token{
		ID: id, Secret: secret, PrivSep: c.params.boolean("privsep", true), Expire: c.params.integer("expire", 0),
	})
	s.rightsChanged()
	info := map[string]any{"privsep": 1}
	for _, k := range []string{"privsep", "expire", "comment"} {
		if c.params.has(k) {
			info[k] = c.params.get(k)
		}
	}
	return ok(map[string]any{"full-tokenid": id, "value": secret, "info": info})
}

// getACL shows the entries on paths whose permissions the caller may change.
func getACL(s *Sim, c *call) answer {
	out := []map[string]any{}
	for _, a := range s.st.World.ACL {
		if s.demand(c.who, a.Path, modifiers(a.Path)...) != nil {
			continue
		}
		kind := "user"
		if strings.Contains(a.Who, "!") {
			kind = "token"
		}
		out = append(out, map[string]any{
			"path": a.Path, "type": kind, "ugid": a.Who, "roleid": a.Role, "propagate": bit(!a.NoPropagate),
		})
	}
	return ok(out)
}

// modifiers are the privileges of which one allows to change the permissions on a path.
func modifiers(path string) []string {
	for prefix, privilege := range map[string]string{"/storage/": "Datastore.Allocate", "/vms/": "VM.Allocate", "/pool/": "Pool.Allocate"} {
		if strings.HasPrefix(path, prefix) {
			return []string{privilege, "Permissions.Modify"}
		}
	}
	return []string{"Permissions.Modify"}
}

var aclPath = regexp.MustCompile(`^/(?:access(?:/groups(?:/[^/]+)?|/realm(?:/[^/]+)?)?|mapping(?:/[a-z]+(?:/[^/]+)?)?|nodes(?:/[^/]+)?|pool(?:/[^/]+){0,3}|sdn(?:/.+)?|storage(?:/[^/]+)?|vms(?:/\d{3,})?)?$`)

// putACL gives a role to users and tokens on a path, or takes it from them.
func putACL(s *Sim, c *call) answer {
	path := c.params.get("path")
	if path != "/" {
		path = strings.TrimRight(path, "/")
	}
	if !aclPath.MatchString(path) {
		return wrongParam("path", "invalid ACL path '"+c.params.get("path")+"'")
	}
	if a := s.demand(c.who, path, modifiers(path)...); a != nil {
		return *a
	}
	if !c.params.has("users") && !c.params.has("groups") && !c.params.has("tokens") {
		return wrongParam("users", "property is missing")
	}
	no := func(format string, args ...any) answer { return fail(500, "ACL update failed: "+format, args...) }
	var whom []string
	for _, user := range splitList(c.params.get("users")) {
		if user != root && s.user(user) == nil {
			return no("no such user ('%s')", user)
		}
		whom = append(whom, user)
	}
	for _, group := range splitList(c.params.get("groups")) {
		return no("no such group ('%s')", group)
	}
	for _, id := range splitList(c.params.get("tokens")) {
		if !slices.ContainsFunc(s.st.World.Tokens, func(t Token) bool { return t.ID == id }) {
			user, name, _ := strings.Cut(id, "!")
			return no("no such token '%s' for user '%s'", name, user)
		}
		whom = append(whom, id)
	}
	for _, role := range splitList(c.params.get("roles")) {
		if _, made := s.st.World.Roles[role]; !made && s.role(role) == nil && role != "NoAccess" {
			return no("role '%s' does not exist", role)
		}
		for _, who := range whom {
			s.grant(ACL{Path: path, Role: role, Who: who, NoPropagate: !c.params.boolean("propagate", true)}, c.params.boolean("delete", false))
		}
	}
	s.rightsChanged()
	return ok(nil)
}

// grant puts one entry in the place of the same one, or takes it away.
func (s *Sim) grant(entry ACL, away bool) {
	w := &s.st.World
	w.ACL = slices.DeleteFunc(w.ACL, func(a ACL) bool {
		return a.Path == entry.Path && a.Role == entry.Role && a.Who == entry.Who
	})
	if !away {
		w.ACL = append(w.ACL, entry)
	}
}
