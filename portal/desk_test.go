package portal_test

import (
	"strings"
	"testing"
	"time"

	"stowage/portal"
)

// TestNewPassword: 20 letters that can't be misread, each as likely as any other, and none that bytes favour.
func TestNewPassword(t *testing.T) {
	t.Parallel()
	seen := map[rune]int{}
	next := byte(0)
	for range 2000 {
		password := portal.NewPassword(func() byte { next++; return next })
		if len(password) != 20 || strings.ContainsAny(password, "0O1lI") {
			t.Fatalf("%q", password)
		}
		for _, r := range password {
			seen[r]++
		}
	}
	least, most := 1<<30, 0
	for _, n := range seen {
		least, most = min(least, n), max(most, n)
	}
	if len(seen) < 50 || most-least > most/10 {
		t.Errorf("%d letters, between %d and %d times", len(seen), least, most)
	}
}

// TestDeskRequests: who may ask for what with a machine, and what is in the way.
func TestDeskRequests(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	idle := portal.Situation{Now: now, Service: portal.Service{State: portal.ServiceActive, Status: "running"}, Server: portal.Server{Name: "fra"}}
	idle.Product.Spec.Templates = []portal.Template{{Name: "Debian 13", VMID: 900}, {Name: "Elsewhere", VMID: 901, Server: "ams"}}
	with := func(change func(*portal.Situation)) portal.Situation {
		s := idle
		change(&s)
		return s
	}
	anew := portal.RequestReinstall("client:a", "Debian 13", "REINSTALL")
	for name, c := range map[string]struct {
		s    portal.Situation
		ask  portal.Request
		code portal.Code
	}{
		"password":                 {idle, portal.RequestPassword("client:a"), ""},
		"password, suspended":      {with(func(s *portal.Situation) { s.Service.State = portal.ServiceSuspended }), portal.RequestPassword("client:a"), portal.CodeForbidden},
		"password, locked":         {with(func(s *portal.Situation) { s.Service.Lock = "migrate" }), portal.RequestPassword("client:a"), portal.CodeBusy},
		"reinstall":                {idle, anew, ""},
		"reinstall, typed wrongly": {idle, portal.RequestReinstall("client:a", "Debian 13", "REINSTAL"), portal.CodeInvalid},
		"reinstall, elsewhere":     {idle, portal.RequestReinstall("client:a", "Elsewhere", "REINSTALL"), portal.CodeInvalid},
		"reinstall, none sold":     {with(func(s *portal.Situation) { s.Product.Spec.Templates = nil }), anew, portal.CodeConflict},
		"reinstall, suspended":     {with(func(s *portal.Situation) { s.Service.State = portal.ServiceSuspended }), anew, portal.CodeForbidden},
		"reinstall, a backup runs": {with(func(s *portal.Situation) {
			s.Operations = []portal.Operation{{Kind: portal.KindBackup, State: portal.StateRunning}}
		}), anew, portal.CodeBusy},
		"reinstall, a scheduled backup waits": {with(func(s *portal.Situation) {
			s.Operations = []portal.Operation{{Kind: portal.KindBackup, State: portal.StateQueued, SlotDate: "2026-11-20"}}
		}), anew, ""},
		"a retry of a password by staff": {idle, portal.RetryOperation("staff:a", portal.Operation{Kind: portal.KindPassword, State: portal.StateFailed}, "", ""), portal.CodeConflict},
		"a retry of a reinstall":         {idle, portal.RetryOperation("client:a", portal.Operation{Kind: portal.KindReinstall, State: portal.StateFailed, Work: portal.Work{Template: "Debian 13"}}, "", ""), ""},
		"a retry of a power action":      {idle, portal.RetryOperation("cli", portal.Operation{Kind: portal.KindPower, State: portal.StateFailed, Work: portal.Work{Action: "stop"}}, "", ""), ""},
	} {
		if _, err := c.ask(c.s); portal.CodeOf(err) != c.code || (c.code == "") != (err == nil) {
			t.Errorf("%s: %v, want %q", name, err, c.code)
		}
	}
}
