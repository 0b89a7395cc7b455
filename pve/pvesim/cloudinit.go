package pvesim

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// cloudinitLines are those that GET …/cloudinit lists (recorded in 11).
var cloudinitLines = []string{"cicustom", "cipassword", "citype", "ciuser", "ciupgrade", "nameserver", "searchdomain", "sshkeys"}

func getCloudinit(s *Sim, c *call) answer {
	g, missing := s.here(c)
	if missing != nil {
		return *missing
	}
	out := []map[string]any{}
	now, will := g.config(), g.afterStart()
	for _, key := range cloudinitLines {
		if now[key] == "" && will[key] == "" {
			continue
		}
		e := map[string]any{"key": key}
		if now[key] != "" {
			e["value"] = s.value(key, now[key])
		}
		switch {
		case will[key] == "":
			e["delete"] = 1
		case will[key] != now[key]:
			e["pending"] = s.value(key, will[key])
		}
		out = append(out, e)
	}
	return ok(out)
}

// putCloudinit makes the drive anew, where there is one.
func putCloudinit(s *Sim, c *call) answer {
	g, missing := s.here(c)
	if missing != nil {
		return *missing
	}
	if s.fileHeld(g.VMID, false) {
		return s.heldUp(g.VMID, lockWait)
	}
	if msg := lockedBy(g); msg != "" {
		return fail(500, "%s", msg)
	}
	for i := range g.Disks {
		if d := &g.Disks[i]; d.medium() && !d.Loose {
			d.Content = s.content()
		}
	}
	return ok(nil)
}

func getCloudinitDump(s *Sim, c *call) answer {
	g, missing := s.here(c)
	if missing != nil {
		return *missing
	}
	switch c.params.get("type") {
	case "user":
		return ok(s.userData(g))
	case "network":
		return ok(s.networkData(g))
	}
	sum := sha256.Sum256([]byte(s.userData(g) + s.networkData(g)))
	return ok(fmt.Sprintf("instance-id: %x\n", sum[:20]))
}

// userData is the drive's user-data file.
func (s *Sim) userData(g *guest) string {
	c := g.afterStart()
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	host, domain, dotted := strings.Cut(g.name(), ".")
	say("#cloud-config")
	say("hostname: %s", strings.ReplaceAll(host, " ", "-"))
	say("manage_etc_hosts: true")
	switch {
	case dotted:
		say("fqdn: %s.%s", host, domain)
	case c["searchdomain"] != "":
		say("fqdn: %s.%s", host, strings.Fields(c["searchdomain"])[0])
	}
	if user := c["ciuser"]; user != "" {
		say("user: %s", user)
	}
	if c["ciuser"] == "root" {
		say("disable_root: False")
	}
	if password := c["cipassword"]; password != "" {
		say("password: %s", password)
	}
	if keys, err := url.PathUnescape(c["sshkeys"]); err == nil && strings.TrimSpace(keys) != "" {
		say("ssh_authorized_keys:")
		for line := range strings.SplitSeq(strings.TrimSpace(keys), "\n") {
			say("  - %s", strings.TrimSpace(line))
		}
	}
	say("chpasswd:")
	say("  expire: False")
	if c["ciuser"] != "root" {
		say("users:")
		say("  - default")
	}
	say("package_upgrade: %t", c["ciupgrade"] != "0")
	return b.String()
}

// crypted looks as an encrypted password does.
func crypted(r *chance, password string) string {
	if strings.HasPrefix(password, "$") {
		return password
	}
	salt := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%06x", r.Uint64()&0xffffff))[:8]
	sum := sha256.Sum256([]byte(salt + password))
	return "$5$" + salt + "$" + strings.TrimRight(strings.ReplaceAll(base64.StdEncoding.EncodeToString(sum[:]), "+", "."), "=")
}

// networkData is the drive's network-config file, in version 1.
func (s *Sim) networkData(g *guest) string {
	c := g.afterStart()
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	say("version: 1")
	say("config:")
	for i := range 32 {
		key := "net" + itoa(i)
		if c[key] == "" {
			continue
		}
		card, _ := netShape.parse(c[key], key, s.release)
		say("    - type: physical")
		say("      name: eth%d", i)
		say("      mac_address: '%s'", strings.ToLower(card["macaddr"]))
		say("      subnets:")
		ip, _ := ipconfigShape.parse(c["ipconfig"+itoa(i)], "ipconfig", s.release)
		subnet(say, ip["ip"], ip["gw"], "4")
		subnet(say, ip["ip6"], ip["gw6"], "6")
	}
	if c["nameserver"] == "" && c["searchdomain"] == "" {
		return b.String()
	}
	say("    - type: nameserver")
	for _, list := range []struct{ name, values string }{{"address", c["nameserver"]}, {"search", c["searchdomain"]}} {
		if list.values == "" {
			continue
		}
		say("      %s:", list.name)
		for _, one := range splitList(list.values) {
			say("      - '%s'", one)
		}
	}
	return b.String()
}

func subnet(say func(string, ...any), address, gateway, version string) {
	switch address {
	case "":
		return
	case "dhcp":
		say("      - type: dhcp%s", version)
		return
	case "auto":
		say("      - type: ipv6_slaac")
		return
	}
	p, err := netip.ParsePrefix(address)
	if err != nil {
		return
	}
	if version == "6" {
		say("      - type: static6")
		say("        address: '%s'", address)
	} else {
		say("      - type: static")
		say("        address: '%s'", p.Addr())
		say("        netmask: '%s'", netmask(p.Bits()))
	}
	if gateway != "" {
		say("        gateway: '%s'", gateway)
	}
}

func netmask(bits int) string {
	var parts []string
	for i := range 4 {
		n := min(max(bits-8*i, 0), 8)
		parts = append(parts, itoa(256-1<<(8-n)))
	}
	return strings.Join(parts, ".")
}

// value is a line as the API gives it: numbers as numbers, passwords hidden.
func (s *Sim) value(key, value string) any {
	if key == "cipassword" {
		return "**********"
	}
	if !slices.Contains(s.numbers(), key) {
		return value
	}
	return asNumber(value)
}
