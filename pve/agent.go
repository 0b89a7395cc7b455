package pve

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
)

// Calls to the guest agent are refused with Agent where none is configured or none answers (after 3 s), and with
// NotRunning where the machine is off.

// AgentPing asks whether the agent inside a machine answers. It changes nothing, but is a POST and so sent once.
func (c *Client) AgentPing(ctx context.Context, node string, vmid int) error {
	if bad := checkVMID(vmid); bad != nil {
		return bad
	}
	_, err := c.mutate(ctx, http.MethodPost, guestPath("/agent/ping", node, vmid), nil)
	return err
}

// SetUserPassword sets the password of a login inside a machine, at once. Proxmox takes 5 to 1024 characters.
func (c *Client) SetUserPassword(ctx context.Context, node string, vmid int, user string, password Secret) error {
	switch {
	case checkVMID(vmid) != nil:
		return checkVMID(vmid)
	case user == "" || strings.ContainsAny(user, "\r\n\x00"):
		return refusal("username", "no login named")
	case len(password) < 5 || len(password) > 1024 || strings.ContainsAny(string(password), "\r\n\x00"):
		return refusal("password", "a password has 5 to 1024 characters")
	}
	form := map[string]string{"username": user, "password": string(password), "crypted": "0"}
	_, err := c.mutate(ctx, http.MethodPost, guestPath("/agent/set-user-password", node, vmid), form, password)
	return err
}

// Interface is a network interface as the system inside a machine sees it.
type Interface struct {
	Name      string
	MAC       string // upper case; "" where there is none
	Addresses []netip.Prefix
}

// AgentInterfaces asks the agent for the system's network interfaces. What it says is the customer's word.
func (c *Client) AgentInterfaces(ctx context.Context, node string, vmid int) ([]Interface, error) {
	if err := checkVMID(vmid); err != nil {
		return nil, err
	}
	var got struct {
		Result []struct {
			Name      text `json:"name"`
			MAC       text `json:"hardware-address"`
			Addresses []struct {
				Address text  `json:"ip-address"`
				Bits    whole `json:"prefix"`
			} `json:"ip-addresses"`
		} `json:"result"`
	}
	if err := c.read(ctx, guestPath("/agent/network-get-interfaces", node, vmid), nil, &got, false); err != nil {
		return nil, err
	}
	var out []Interface
	for _, g := range got.Result {
		one := Interface{Name: string(g.Name), MAC: strings.ToUpper(string(g.MAC))}
		for _, a := range g.Addresses {
			addr, err := netip.ParseAddr(string(a.Address))
			if err != nil || a.Bits < 0 || int(a.Bits) > addr.BitLen() {
				continue
			}
			one.Addresses = append(one.Addresses, netip.PrefixFrom(addr, int(a.Bits)))
		}
		out = append(out, one)
	}
	return out, nil
}
