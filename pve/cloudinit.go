package pve

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// CloudInit is what a machine's system is told at its start. Zero fields are left as they are.
type CloudInit struct {
	User         string
	SSHKeys      []string       // one public key each
	IP           map[int]CardIP // by the card's number
	Nameservers  []netip.Addr
	SearchDomain string
}

// CardIP is a network card's addresses.
type CardIP struct {
	IPv4     netip.Prefix // "192.0.2.50/24"; the zero Prefix with DHCP4 asks for one
	Gateway4 netip.Addr
	DHCP4    bool
	IPv6     netip.Prefix
	Gateway6 netip.Addr
	Auto6    bool // the network announces one
}

// value gives it as ipconfigN holds it.
func (ip CardIP) value() string {
	var p Properties
	switch {
	case ip.IPv4.IsValid():
		p = append(p, Property{"ip", ip.IPv4.String()})
	case ip.DHCP4:
		p = append(p, Property{"ip", "dhcp"})
	}
	if ip.Gateway4.IsValid() {
		p = append(p, Property{"gw", ip.Gateway4.String()})
	}
	switch {
	case ip.IPv6.IsValid():
		p = append(p, Property{"ip6", ip.IPv6.String()})
	case ip.Auto6:
		p = append(p, Property{"ip6", "auto"})
	}
	if ip.Gateway6.IsValid() {
		p = append(p, Property{"gw6", ip.Gateway6.String()})
	}
	return p.String()
}

// Set gives the options for ConfigChange.Set. The password is ConfigChange.Password. Keys are written URL-encoded, as
// Proxmox demands.
func (ci CloudInit) Set() map[string]string {
	set := map[string]string{}
	put := func(key, value string) {
		if value != "" {
			set[key] = value
		}
	}
	put("ciuser", ci.User)
	put("searchdomain", ci.SearchDomain)
	var servers []string
	for _, a := range ci.Nameservers {
		servers = append(servers, a.String())
	}
	put("nameserver", strings.Join(servers, " "))
	for i, ip := range ci.IP {
		put("ipconfig"+strconv.Itoa(i), ip.value())
	}
	var keys strings.Builder
	for _, key := range ci.SSHKeys {
		if key = strings.TrimSpace(key); key != "" {
			keys.WriteString(key + "\n")
		}
	}
	put("sshkeys", strings.ReplaceAll(url.QueryEscape(keys.String()), "+", "%20"))
	return set
}

// RegenerateCloudInit writes the cloud-init drive anew from the configuration as it holds now; on a running machine
// pending values of cloud-init hold by it. Without such a drive it does nothing. The system reads it at its next start.
func (c *Client) RegenerateCloudInit(ctx context.Context, node string, vmid int) error {
	if bad := checkVMID(vmid); bad != nil {
		return bad
	}
	_, err := c.mutate(ctx, http.MethodPut, guestPath("/cloudinit", node, vmid), nil)
	return err
}
