package pvesim

import "slices"

// Pool is a named set of machines and storages. A right on /pool/NAME counts
// nowhere else here: the recordings say nothing of what members inherit.
type Pool struct {
	ID       string
	Comment  string
	VMIDs    []int
	Storages []string
}

func poolEndpoints() []endpoint {
	const one = "/pools/{poolid}"
	id := text("poolid").as("pve-poolid").must()
	kinds := text("type").of("qemu", "lxc", "storage")
	see := need{path: "/pool/{poolid}", any: []string{"Pool.Audit"}}
	change := need{path: "/pool/{poolid}", any: []string{"Pool.Allocate"}}
	edits := []param{
		id, boolean("allow-move"), text("comment"), boolean("delete"), text("storage").as("pve-storage-id-list"), text("vms").as("pve-vmid-list"),
	}
	return []endpoint{
		{method: "GET", path: "/pools", run: getPools, params: []param{text("poolid").as("pve-poolid"), kinds.with("poolid")}},
		{method: "POST", path: "/pools", run: postPool, protected: true, need: change, params: []param{id, text("comment")}},
		{method: "PUT", path: "/pools", run: putPool, protected: true, need: change, params: edits},
		{method: "DELETE", path: "/pools", run: deletePool, protected: true, need: change, params: []param{id}},
		{method: "GET", path: one, run: getPool, need: see, params: []param{id, kinds}},
		{method: "PUT", path: one, run: putPool, protected: true, need: change, params: edits},
		{method: "DELETE", path: one, run: deletePool, protected: true, need: change, params: []param{id}},
	}
}

func (s *Sim) pool(id string) *Pool {
	pools := s.st.World.Pools
	if i := slices.IndexFunc(pools, func(p Pool) bool { return p.ID == id }); i >= 0 {
		return &pools[i]
	}
	return nil
}

// poolOf is the pool that a machine is in; it is never in two.
func (s *Sim) poolOf(vmid int) *Pool {
	pools := s.st.World.Pools
	if i := slices.IndexFunc(pools, func(p Pool) bool { return slices.Contains(p.VMIDs, vmid) }); i >= 0 {
		return &pools[i]
	}
	return nil
}

// poolFor is the pool that a machine which is being made shall be in, or why
// there is none.
func (s *Sim) poolFor(c *call, id string) *answer {
	if s.pool(id) == nil {
		a := forbidden("pool '%s' does not exist", id)
		return &a
	}
	return s.demand(c.who, "/pool/"+id, "VM.Allocate", "Pool.Allocate")
}

func noPool(id string) answer { return fail(500, "pool '%s' does not exist", id) }

func getPools(s *Sim, c *call) answer {
	if c.params.has("poolid") {
		id := c.params.get("poolid")
		if a := s.demand(c.who, "/pool/"+id, "Pool.Audit"); a != nil {
			return *a
		}
		a := getPool(s, c)
		if a.status != 200 {
			return a
		}
		e := a.data.(map[string]any)
		e["poolid"] = id
		return ok([]map[string]any{e})
	}
	out := []map[string]any{}
	for _, p := range s.st.World.Pools {
		if s.may(c.who, "/pool/"+p.ID, "Pool.Audit") {
			out = append(out, p.entry())
		}
	}
	return ok(out)
}

func (p *Pool) entry() map[string]any {
	e := map[string]any{"poolid": p.ID}
	if p.Comment != "" {
		e["comment"] = p.Comment
	}
	return e
}

func getPool(s *Sim, c *call) answer {
	p := s.pool(c.params.get("poolid"))
	if p == nil {
		return noPool(c.params.get("poolid"))
	}
	kind := c.params.get("type")
	members := []map[string]any{}
	for _, vmid := range p.VMIDs {
		if g := s.guests[vmid]; g != nil && kind != "storage" && kind != "lxc" {
			e := s.guestResource(g, c.at)
			delete(e, "pool")
			members = append(members, e)
		}
	}
	for _, name := range p.Storages {
		if st := s.storage(name); st != nil && (kind == "" || kind == "storage") {
			for _, n := range s.st.World.Nodes {
				if st.on(n.Name) {
					members = append(members, s.storageResource(st, n.Name, c.at))
				}
			}
		}
	}
	e := p.entry()
	e["members"] = members
	return ok(e)
}

func postPool(s *Sim, c *call) answer {
	id := c.params.get("poolid")
	if s.pool(id) != nil {
		return fail(500, "create pool failed: pool '%s' already exists", id)
	}
	s.st.World.Pools = append(s.st.World.Pools, Pool{ID: id, Comment: c.params.get("comment")})
	return ok(nil)
}

// putPool adds members, or takes them out with delete.
func putPool(s *Sim, c *call) answer {
	p := s.pool(c.params.get("poolid"))
	if p == nil {
		return fail(500, "update pool failed: pool '%s' does not exist", c.params.get("poolid"))
	}
	if c.params.has("comment") {
		p.Comment = c.params.get("comment")
	}
	away := c.params.boolean("delete", false)
	for _, vmid := range vmids(c.params.get("vms")) {
		if a := s.demand(c.who, "/vms/"+itoa(vmid), "VM.Allocate"); a != nil {
			return *a
		}
		in := s.poolOf(vmid)
		switch {
		case away && in != p:
			return fail(500, "update pool failed: VM %d is not a pool member", vmid)
		case away:
			p.VMIDs = slices.DeleteFunc(slices.Clone(p.VMIDs), func(id int) bool { return id == vmid })
			continue
		case in == p:
			return fail(500, "update pool failed: VM %d is already a pool member", vmid)
		case in != nil && !c.params.boolean("allow-move", false):
			return fail(500, "update pool failed: VM %d belongs already to pool '%s' and 'allow-move' is not set", vmid, in.ID)
		case in != nil:
			in.VMIDs = slices.DeleteFunc(slices.Clone(in.VMIDs), func(id int) bool { return id == vmid })
		}
		p.VMIDs = append(slices.Clone(p.VMIDs), vmid)
		slices.Sort(p.VMIDs)
	}
	for _, name := range splitList(c.params.get("storage")) {
		if a := s.demand(c.who, "/storage/"+name, "Datastore.Allocate"); a != nil {
			return *a
		}
		in := slices.Contains(p.Storages, name)
		switch {
		case away && !in:
			return fail(500, "update pool failed: Storage '%s' is not a pool member", name)
		case away:
			p.Storages = slices.DeleteFunc(slices.Clone(p.Storages), func(o string) bool { return o == name })
		case in:
			return fail(500, "update pool failed: Storage '%s' is already a pool member", name)
		default:
			p.Storages = append(slices.Clone(p.Storages), name)
		}
	}
	return ok(nil)
}

func deletePool(s *Sim, c *call) answer {
	id := c.params.get("poolid")
	p := s.pool(id)
	switch {
	case p == nil:
		return fail(500, "delete pool failed: pool '%s' does not exist", id)
	case len(p.VMIDs) > 0:
		return fail(500, "delete pool failed: pool '%s' is not empty (contains VMs)", id)
	case len(p.Storages) > 0:
		return fail(500, "delete pool failed: pool '%s' is not empty (contains storages)", id)
	}
	s.st.World.Pools = slices.DeleteFunc(s.st.World.Pools, func(o Pool) bool { return o.ID == id })
	return ok(nil)
}

// joinPool puts a machine that was made into the pool that was asked for.
func (s *Sim) joinPool(vmid int, id string) {
	if p := s.pool(id); p != nil && s.poolOf(vmid) == nil {
		p.VMIDs = append(slices.Clone(p.VMIDs), vmid)
		slices.Sort(p.VMIDs)
	}
}

// leavePools takes a machine that is gone out of its pool.
func (s *Sim) leavePools(vmid int) {
	if p := s.poolOf(vmid); p != nil {
		p.VMIDs = slices.DeleteFunc(slices.Clone(p.VMIDs), func(id int) bool { return id == vmid })
	}
}
