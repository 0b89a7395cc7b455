package pvesim

import (
	"slices"
	"strings"
)

// identity is who a call comes from.
type identity struct {
	Name    string // user@realm!token, as it stands in a UPID
	User    string // user@realm
	Token   string // the part behind "!"
	PrivSep bool
}

const root = "root@pam"

const tokenScheme = "PVEAPIToken="

// authenticate finds out who calls, by API token or by a login's ticket, or
// gives the 401 that is due.
func (s *Sim) authenticate(c *call) *answer {
	c.who = identity{}
	denied := bare(401, "Authentication failed!")
	credentials, isToken := strings.CutPrefix(c.auth, tokenScheme)
	if !isToken {
		user := s.ticketUser(c.cookie, c.at/1000)
		switch {
		case c.cookie == "":
			denied = bare(401, "No ticket")
		case user == "":
		case c.method != "GET" && !s.csrfFits(c.csrf, user, c.at/1000):
			denied = bare(401, "Permission denied - invalid csrf token")
		default:
			c.who = identity{Name: user, User: user}
			return nil
		}
		return &denied
	}
	id, secret, found := strings.Cut(credentials, "=")
	if !found {
		return &denied
	}
	at := c.at / 1000
	for _, t := range s.st.World.Tokens {
		if t.ID != id || !same(t.Secret, secret) {
			continue
		}
		user, name, _ := strings.Cut(t.ID, "!")
		if t.Expire != 0 && t.Expire <= at || !s.userMay(user, at) {
			return &denied
		}
		c.who = identity{Name: t.ID, User: user, Token: name, PrivSep: t.PrivSep}
		return nil
	}
	return &denied
}

// claimed is the token that an Authorization header names, whether true or not.
func claimed(auth string) string {
	id, _, _ := strings.Cut(strings.TrimPrefix(auth, tokenScheme), "=")
	return id
}

func (s *Sim) userMay(user string, at int64) bool {
	if user == root {
		return true
	}
	for _, u := range s.st.World.Users {
		if u.ID == user {
			return !u.Disabled && (u.Expire == 0 || u.Expire > at)
		}
	}
	return false
}

// need is the right that an endpoint demands before it looks at parameters.
type need struct {
	path string   // may hold {vmid}, {node}, {storage}
	any  []string // one of these; none demands nothing
	old  []string // in place of any, in 8.4
}

// privileges are those that a release demands.
func (n need) privileges(rel release) []string {
	if n.old != nil && !rel.nine {
		return n.old
	}
	return n.any
}

// allowed checks the endpoint's own demand.
func (s *Sim) allowed(c *call, inPath map[string]string) *answer {
	n := c.ep.need
	if len(n.any) == 0 {
		return nil
	}
	path := n.path
	for name, v := range inPath {
		path = strings.ReplaceAll(path, "{"+name+"}", v)
	}
	for name := range c.params {
		path = strings.ReplaceAll(path, "{"+name+"}", c.params.get(name))
	}
	return s.demand(c.who, path, n.privileges(s.release)...)
}

// demand is nil when one of the privileges is held on the path.
func (s *Sim) demand(who identity, path string, any ...string) *answer {
	for _, p := range any {
		if s.may(who, path, p) {
			return nil
		}
	}
	a := forbidden("%s, %s", path, strings.Join(any, "|"))
	return &a
}

// may says whether a privilege is held on a path.
func (s *Sim) may(who identity, path, privilege string) bool {
	_, held := slices.BinarySearch(s.privileges(who, path), privilege)
	return held
}

// rightsKey and rightsCache spare the walk through the access control list:
// lists of thousands of machines ask for each of them.
type rightsKey struct {
	who  identity
	path string
}

type rightsCache struct {
	listed map[string]bool // paths of the access control list
	plain  bool            // every entry propagates
	held   map[rightsKey][]string
}

// rightsChanged must follow every change of roles, tokens and entries.
func (s *Sim) rightsChanged() { s.rights = nil }

// privileges are those held on a path, sorted. The caller does not change them.
func (s *Sim) privileges(who identity, path string) []string {
	if s.rights == nil {
		s.rights = &rightsCache{listed: map[string]bool{}, plain: true, held: map[rightsKey][]string{}}
		for _, acl := range s.st.World.ACL {
			s.rights.listed[acl.Path] = true
			s.rights.plain = s.rights.plain && !acl.NoPropagate
		}
	}
	// Below the last path that has entries everything is the same.
	for s.rights.plain && path != "/" && !s.rights.listed[path] {
		if up := strings.LastIndex(path, "/"); up > 0 {
			path = path[:up]
		} else {
			path = "/"
		}
	}
	key := rightsKey{who, path}
	held, known := s.rights.held[key]
	if !known {
		held = s.heldOn(who, path)
		s.rights.held[key] = held
	}
	return held
}

func (s *Sim) heldOn(who identity, path string) []string {
	ofUser := s.granted(who.User, path)
	if who.Token == "" || !who.PrivSep {
		return ofUser
	}
	ofToken := s.granted(who.Name, path)
	return slices.DeleteFunc(slices.Clone(ofToken), func(p string) bool {
		_, both := slices.BinarySearch(ofUser, p)
		return !both
	})
}

// granted follows the access control list from / down to the path: the roles
// on a deeper path take the place of those above it.
func (s *Sim) granted(who, path string) []string {
	if who == root {
		return s.release.privileges()
	}
	var roles []string
	for _, level := range levels(path) {
		var here []string
		for _, acl := range s.st.World.ACL {
			if acl.Who == who && acl.Path == level && (level == path || !acl.NoPropagate) {
				here = append(here, acl.Role)
			}
		}
		if len(here) > 0 {
			roles = here
		}
	}
	if slices.Contains(roles, "NoAccess") {
		return nil
	}
	var held []string
	for _, r := range roles {
		held = append(held, s.role(r)...)
	}
	slices.Sort(held)
	return slices.Compact(held)
}

// levels are the paths from / down to one: /, /vms, /vms/100.
func levels(path string) []string {
	out := []string{"/"}
	at := ""
	for part := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		if part == "" {
			continue
		}
		at += "/" + part
		out = append(out, at)
	}
	return out
}

// role gives a role's privileges: the world's own first, then built-in ones.
func (s *Sim) role(name string) []string {
	if privs, known := s.st.World.Roles[name]; known {
		return privs
	}
	switch name {
	case "Administrator":
		return s.release.privileges()
	case "PVEAuditor":
		return slices.DeleteFunc(s.release.privileges(), func(p string) bool {
			return !strings.HasSuffix(p, ".Audit")
		})
	}
	return nil
}

// privileges are all that a release knows, sorted.
func (r release) privileges() []string {
	out := []string{
		"Datastore.Allocate", "Datastore.AllocateSpace", "Datastore.AllocateTemplate", "Datastore.Audit",
		"Group.Allocate", "Mapping.Audit", "Mapping.Modify", "Mapping.Use", "Permissions.Modify",
		"Pool.Allocate", "Pool.Audit", "Realm.Allocate", "Realm.AllocateUser",
		"SDN.Allocate", "SDN.Audit", "SDN.Use",
		"Sys.AccessNetwork", "Sys.Audit", "Sys.Console", "Sys.Incoming", "Sys.Modify", "Sys.PowerMgmt", "Sys.Syslog",
		"User.Modify", "VM.Allocate", "VM.Audit", "VM.Backup", "VM.Clone", "VM.Config.CDROM", "VM.Config.CPU",
		"VM.Config.Cloudinit", "VM.Config.Disk", "VM.Config.HWType", "VM.Config.Memory", "VM.Config.Network",
		"VM.Config.Options", "VM.Console", "VM.Migrate", "VM.PowerMgmt", "VM.Snapshot", "VM.Snapshot.Rollback",
	}
	if r.nine {
		out = append(out, "VM.GuestAgent.Audit", "VM.GuestAgent.FileRead", "VM.GuestAgent.FileSystemMgmt",
			"VM.GuestAgent.FileWrite", "VM.GuestAgent.Unrestricted", "VM.Replicate")
	} else {
		out = append(out, "VM.Monitor")
	}
	slices.Sort(out)
	return out
}

// getPermissions is GET /access/permissions: what the caller holds, on the
// usual paths and on every path that the access control list names.
func getPermissions(s *Sim, c *call) answer {
	paths := []string{"/", "/access", "/access/groups", "/nodes", "/pool", "/sdn", "/storage", "/vms"}
	if c.params.has("path") {
		paths = []string{c.params.get("path")}
	} else {
		for _, acl := range s.st.World.ACL {
			paths = append(paths, acl.Path)
		}
	}
	who := c.who
	if id := c.params.get("userid"); id != "" && id != who.Name {
		if a := s.demand(c.who, "/access", "Sys.Audit"); a != nil {
			return *a
		}
		user, token, _ := strings.Cut(id, "!")
		who = identity{Name: id, User: user, Token: token}
		for _, t := range s.st.World.Tokens {
			if t.ID == id {
				who.PrivSep = t.PrivSep
			}
		}
	}
	out := map[string]map[string]int{}
	for _, p := range paths {
		held := s.privileges(who, p)
		if len(held) == 0 {
			continue
		}
		out[p] = map[string]int{}
		for _, priv := range held {
			out[p][priv] = s.propagates(who, p)
		}
	}
	return ok(out)
}

// propagates is 1 where what is held on a path is held below it too.
func (s *Sim) propagates(who identity, path string) int {
	for _, acl := range s.st.World.ACL {
		if acl.Path == path && acl.NoPropagate && (acl.Who == who.Name || acl.Who == who.User && !who.PrivSep) {
			return 0
		}
	}
	return 1
}
