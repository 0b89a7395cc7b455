package pvesim

import (
	"fmt"
	"path"
	"strings"
)

// largestFile is what a file on a directory's file system may have at most.
const largestFile = 16 << 40

// putResize grows a disk by a task. All that is wrong shows there.
func putResize(s *Sim, c *call) answer {
	if a := rootOptions(c, "skiplock"); a != nil {
		return *a
	}
	p := c.params
	return s.startWork(c, "resize", &work{Kind: "resize", VMID: int(p.integer("vmid", 0)), Opt: map[string]string{
		"disk": p.get("disk"), "size": p.get("size"), "digest": p.get("digest"), "skiplock": p.get("skiplock"), "who": c.who.Name,
	}})
}

func beginResize(s *Sim, t *task, _ int64) (int64, string) {
	g, missing := s.machine(t)
	if missing != "" {
		return 0, missing
	}
	o := t.Work.Opt
	key := o["disk"]
	if o["digest"] != "" && o["digest"] != g.digest() {
		return 0, wrongDigest
	}
	if msg := lockedBy(g); msg != "" && o["skiplock"] != "1" {
		return 0, msg
	}
	line := g.get(key)
	switch d := g.disk(key); {
	case line == "":
		return 0, fmt.Sprintf("disk '%s' does not exist", key)
	case d == nil || d.medium():
		return 0, "you can't resize a cdrom"
	default:
		if a := s.demand(s.whoIs(t.User), "/storage/"+d.Storage, "Datastore.AllocateSpace"); a != nil {
			return 0, "403 " + a.reason
		}
		if msg := s.activateError(s.storage(d.Storage), g.Node); msg != "" {
			return 0, msg
		}
	}
	return 80, ""
}

func endResize(s *Sim, t *task, _ int64) string {
	g, missing := s.machine(t)
	if missing != "" {
		return missing
	}
	d := g.disk(t.Work.Opt["disk"])
	if d == nil {
		return fmt.Sprintf("disk '%s' does not exist", t.Work.Opt["disk"])
	}
	text := t.Work.Opt["size"]
	more, grow := strings.CutPrefix(text, "+")
	size, _ := parseSize(more)
	if grow {
		size += whole(d.Size)
	}
	switch {
	case size < d.Size && size < whole(d.Size):
		return "shrinking disks is not supported"
	case size == d.Size || size == whole(d.Size):
		return "OK"
	case size > largestFile && d.format() == "raw":
		if g.Running {
			return fmt.Sprintf("VM %d qmp command 'block_resize' failed - Could not resize file: File too large", g.VMID)
		}
		return fmt.Sprintf("command '/usr/bin/qemu-img resize -f raw %s %d' failed: exit code 1", s.imagePath(d.Storage, d.Volume), size)
	}
	d.Size, d.SizeText = size, ""
	if d.owner(g.VMID) != g.VMID {
		if _, theirs := s.anyVolume(g.Node, d.volid(g.VMID)); theirs != nil {
			theirs.Size, theirs.SizeText = size, ""
		}
	}
	if !g.Running && s.storage(d.Storage).files() {
		t.log("Image resized.")
	}
	s.images = nil
	return "OK"
}

// whoIs is the identity behind a task's user.
func (s *Sim) whoIs(name string) identity {
	user, token, _ := strings.Cut(name, "!")
	who := identity{Name: name, User: user, Token: token}
	for _, t := range s.st.World.Tokens {
		if t.ID == name {
			who.PrivSep = t.PrivSep
		}
	}
	return who
}

// shortVolume is a volume's name as texts about snapshots have it.
func shortVolume(volume string) string {
	if strings.Count(volume, "/") > 1 {
		return path.Join(path.Base(path.Dir(volume)), path.Base(volume))
	}
	return volume
}
