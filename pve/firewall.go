package pve

import (
	"cmp"
	"context"
	"slices"
	"strconv"
)

// The shapes below are of the API's schema (8.4.21 and 9.2.11), not recorded. Each wants VM.Audit. They say what a
// machine's firewall is set to; whether it is on at all, the cluster's and the node's settings decide as well.

// FirewallOptions asks for the options of a machine's firewall: "enable", "policy_in" … What is not set is left out.
func (c *Client) FirewallOptions(ctx context.Context, node string, vmid int) (map[string]string, error) {
	var got map[string]text
	if err := c.readGuest(ctx, guestPath("/firewall/options", node, vmid), vmid, &got); err != nil {
		return nil, err
	}
	return plain(got), nil
}

// FirewallEntry is a rule, an alias or a set, by the names of the API: a rule has "type", "action", "enable", "source" …
type FirewallEntry map[string]string

// FirewallRules asks for the rules of a machine's firewall, in their order.
func (c *Client) FirewallRules(ctx context.Context, node string, vmid int) ([]FirewallEntry, error) {
	rules, err := c.firewallList(ctx, guestPath("/firewall/rules", node, vmid), vmid)
	slices.SortStableFunc(rules, func(a, b FirewallEntry) int {
		i, _ := strconv.Atoi(a["pos"])
		j, _ := strconv.Atoi(b["pos"])
		return i - j
	})
	return rules, err
}

// FirewallAliases asks for the names that a machine's rules may use for addresses: "name", "cidr".
func (c *Client) FirewallAliases(ctx context.Context, node string, vmid int) ([]FirewallEntry, error) {
	return c.firewallNames(ctx, guestPath("/firewall/aliases", node, vmid), vmid)
}

// FirewallIPSets asks for the names of a machine's sets of addresses.
func (c *Client) FirewallIPSets(ctx context.Context, node string, vmid int) ([]FirewallEntry, error) {
	return c.firewallNames(ctx, guestPath("/firewall/ipset", node, vmid), vmid)
}

// FirewallIPSet asks for what a set of addresses holds: "cidr", "nomatch".
func (c *Client) FirewallIPSet(ctx context.Context, node string, vmid int, name string) ([]FirewallEntry, error) {
	return c.firewallList(ctx, guestPath("/firewall/ipset/{name}", node, vmid, name), vmid)
}

func (c *Client) firewallNames(ctx context.Context, p path, vmid int) ([]FirewallEntry, error) {
	list, err := c.firewallList(ctx, p, vmid)
	slices.SortStableFunc(list, func(a, b FirewallEntry) int { return cmp.Compare(a["name"], b["name"]) })
	return list, err
}

func (c *Client) firewallList(ctx context.Context, p path, vmid int) ([]FirewallEntry, error) {
	var got []map[string]text
	if err := c.readGuest(ctx, p, vmid, &got); err != nil {
		return nil, err
	}
	out := make([]FirewallEntry, 0, len(got))
	for _, g := range got {
		out = append(out, plain(g))
	}
	return out, nil
}

func (c *Client) readGuest(ctx context.Context, p path, vmid int, out any) error {
	if err := checkVMID(vmid); err != nil {
		return err
	}
	return c.read(ctx, p, nil, out, false)
}

func plain(got map[string]text) map[string]string {
	out := make(map[string]string, len(got))
	for k, v := range got {
		out[k] = string(v)
	}
	return out
}
