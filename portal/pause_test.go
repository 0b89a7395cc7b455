package portal_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"stowage/portal"
)

func TestPauseClean(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		change func(*portal.Pause)
		field  string // that is refused; "" = none
	}{
		"a server":                {func(*portal.Pause) {}, ""},
		"a node":                  {func(p *portal.Pause) { p.Scope, p.Target = "node", "pve1" }, ""},
		"a service":               {func(p *portal.Pause) { p.Scope, p.Target, p.ServerID = "service", "01k8", 0 }, ""},
		"from tomorrow":           {func(p *portal.Pause) { p.StartsAt, p.EndsAt = now.Add(24*time.Hour), now.Add(30*time.Hour) }, ""},
		"no scope":                {func(p *portal.Pause) { p.Scope = "" }, "scope"},
		"another scope":           {func(p *portal.Pause) { p.Scope = "client" }, "scope"},
		"no server":               {func(p *portal.Pause) { p.ServerID = 0 }, "server"},
		"a storage of no server":  {func(p *portal.Pause) { p.Scope, p.Target, p.ServerID = "storage", "local", 0 }, "server"},
		"a product of a server":   {func(p *portal.Pause) { p.Scope, p.Target = "product", "01k8" }, "server"},
		"a server with a target":  {func(p *portal.Pause) { p.Target = "pve1" }, "target"},
		"no node":                 {func(p *portal.Pause) { p.Scope, p.Target = "node", "  " }, "target"},
		"no end":                  {func(p *portal.Pause) { p.EndsAt = time.Time{} }, "until"},
		"ends as it starts":       {func(p *portal.Pause) { p.EndsAt = now }, "until"},
		"ends before it starts":   {func(p *portal.Pause) { p.StartsAt = p.EndsAt.Add(time.Second) }, "until"},
		"over before it is known": {func(p *portal.Pause) { p.StartsAt, p.EndsAt = now.Add(-2*time.Hour), now }, "until"},
		"no reason":               {func(p *portal.Pause) { p.Reason = " . " }, "reason"},
		"a long reason":           {func(p *portal.Pause) { p.Reason = strings.Repeat("ä", 201) }, "reason"},
		"two lines":               {func(p *portal.Pause) { p.Reason = "new\ndisks" }, "reason"},
	} {
		p := portal.Pause{Scope: "server", ServerID: 1, Reason: " new disks. ", EndsAt: now.Add(time.Hour)}
		c.change(&p)
		got, err := p.Clean(now)
		var refusal *portal.Error
		switch {
		case c.field == "" && (err != nil || got.Reason != "new disks" || got.StartsAt.IsZero()):
			t.Errorf("%s: %+v, %v", name, got, err)
		case c.field != "" && (!errors.As(err, &refusal) || refusal.Field != c.field):
			t.Errorf("%s: %v, want a refusal of %q", name, err, c.field)
		}
	}
}
