package main

import (
	"strings"
	"testing"
	"time"
)

type pauseJSON struct {
	UID, Scope, Server, Target, Reason string
	Name                               string `json:"target_name"`
	StartsAt                           string `json:"starts_at"`
	EndsAt                             string `json:"ends_at"`
	Holds                              bool
}

func TestPauses(t *testing.T) {
	t.Parallel()
	b, _, service := hosting(t)
	b.now = func() time.Time { return time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC) }
	pause := func(more ...string) []string {
		return append([]string{"pause", "add", "--reason", "new disks."}, more...)
	}
	for what, c := range map[string]struct {
		args []string
		why  string
	}{
		"no server named":       {pause("--scope", "server", "--for", "8h"), "names the server"},
		"no such server":        {pause("--scope", "server", "--server", "pve9", "--for", "8h"), "no server"},
		"no node named":         {pause("--scope", "node", "--server", "pve1", "--for", "8h"), "which one"},
		"a misspelt node":       {pause("--scope", "node", "--server", "pve1", "--target", "pve9", "--for", "8h"), "There is no node"},
		"a misspelt storage":    {pause("--scope", "storage", "--server", "pve1", "--target", "lokal", "--for", "8h"), "There is no storage"},
		"no such product":       {pause("--scope", "product", "--target", "X", "--for", "8h"), "no product"},
		"a product of a server": {pause("--scope", "product", "--server", "pve1", "--target", "VPS", "--for", "8h"), "names none"},
		"no such service":       {pause("--scope", "service", "--target", "x", "--for", "8h"), "no service"},
		"an end that is past":   {pause("--scope", "server", "--server", "pve1", "--until", "2026-11-20T11:00Z"), "after it starts"},
		"an end before it":      {pause("--scope", "server", "--server", "pve1", "--from", "2026-11-22T00:00Z", "--until", "2026-11-21T00:00Z"), "after it starts"},
		"a length backwards":    {pause("--scope", "server", "--server", "pve1", "--for=-1h"), "after it starts"},
	} {
		b.run(c.args...).want(t, what, exitFailed, c.why)
	}

	var now, later, product pauseJSON
	b.answer(&now, pause("--scope", "service", "--target", strings.ToUpper(service), "--for", "8h")...)
	b.answer(&later, pause("--scope", "server", "--server", "pve1", "--from", "2026-11-21 01:00+01:00", "--until", "2026-11-21T06:00:00+01:00")...)
	b.answer(&product, pause("--scope", "product", "--target", "VPS", "--for", "1h")...)
	if now.EndsAt != "2026-11-20T20:00:00Z" || later.StartsAt != "2026-11-21T00:00:00Z" || later.EndsAt != "2026-11-21T05:00:00Z" {
		t.Errorf("added: %+v %+v", now, later)
	}
	var list []pauseJSON
	b.answer(&list, "pause", "list")
	if len(list) != 3 || list[0].UID != now.UID || !list[0].Holds || list[0].Target != service || list[0].Name != "h100" || list[0].Reason != "new disks" ||
		list[1].Name != "VPS" || list[2].UID != later.UID || list[2].Holds || list[2].Server != "pve1" {
		t.Errorf("list: %+v", list)
	}
	if out := b.must("pause", "list"); !strings.Contains(out, "server on pve1") || !strings.Contains(out, "service h100") {
		t.Errorf("list: %s", out)
	}
	b.must("pause", "end", later.UID)
	b.now = func() time.Time { return time.Date(2026, 11, 20, 12, 30, 0, 0, time.UTC) }
	b.must("pause", "end", strings.ToUpper(now.UID))
	b.run("pause", "end", now.UID).want(t, "ending it twice", exitFailed, "ended already")
	b.run("pause", "end", later.UID).want(t, "one that was taken back", exitFailed, "no pause")
	b.answer(&list, "pause", "list")
	if len(list) != 1 || list[0].UID != product.UID {
		t.Errorf("afterwards: %+v", list)
	}
}
