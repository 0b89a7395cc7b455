package jobs_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"stowage/portal"
	"stowage/pve/pvesim"
	"stowage/store"
)

// withGuest changes the machine of the world before it begins.
func withGuest(edit func(*pvesim.Guest)) func(*pvesim.World) {
	return func(sw *pvesim.World) { edit(&sw.Guests[0]) }
}

// show looks at the operation's page, as whoever asked does.
func (w *world) show(op portal.Operation) string {
	w.t.Helper()
	text, err := w.db.ShowSecret(context.Background(), w.client, w.service.UID, op.UID, op.Actor)
	w.must(err)
	return text
}

// TestPasswordByTheAgent sets a password in a machine that runs, on both releases: once shown, it is what was shown, and
// nothing of it stays behind.
func TestPasswordByTheAgent(t *testing.T) {
	t.Parallel()
	for _, release := range []string{"8.4", "9.2"} {
		t.Run(release, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, worldOptions{Release: release, World: withGuest(func(g *pvesim.Guest) { g.Agent = "1" })})
			w.run(time.Minute)
			op := w.ask(portal.RequestPassword("client:test"))
			w.run(20 * time.Second)
			if got := w.changes("POST", "/agent/"); len(got) != 0 {
				t.Fatalf("sent before anybody saw it: %v", got)
			}
			password := w.show(op)
			if len(password) != portal.PasswordLength || strings.ContainsAny(password, "0O1lI") {
				t.Errorf("the password %q can be misread", password)
			}
			if _, err := w.db.ShowSecret(context.Background(), w.client, w.service.UID, op.UID, op.Actor); !errors.Is(err, store.ErrNoSecret) {
				t.Errorf("shown a second time: %v", err)
			}
			w.settle(10 * time.Minute)
			if op = w.operation(op.ID); op.State != portal.StateSucceeded || op.Reason.String() != "The new password of root holds now." {
				t.Fatalf("%s %q\n%s", op.State, op.Reason, w.story())
			}
			sent := w.changes("POST", "/agent/set-user-password")
			if len(sent) != 1 {
				t.Errorf("sent %v", sent)
			}
			if _, err := w.db.OperationSecret(context.Background(), op.ID); !errors.Is(err, store.ErrNoSecret) {
				t.Errorf("kept after its end: %v", err)
			}
			w.nowhere(password)
		})
	}
}

// nowhere holds that a secret stands in nothing that is kept or logged.
func (w *world) nowhere(secret string) {
	w.t.Helper()
	if strings.Contains(w.story(), secret) {
		w.t.Error("the password stands in the story or the log")
	}
	for _, table := range []string{"operations", "operation_steps", "audit", "outbox", "task_logs", "services"} {
		for _, row := range w.column(`SELECT quote(t) FROM (SELECT json_array(` + w.columnsOf(table) + `) t FROM ` + table + `)`) {
			if strings.Contains(row, secret) {
				w.t.Errorf("%s holds the password", table)
			}
		}
	}
}

// columnsOf lists the columns of a table, as text.
func (w *world) columnsOf(table string) string {
	var all []string
	for _, name := range w.column(`SELECT name FROM pragma_table_info('` + table + `')`) {
		all = append(all, `quote("`+name+`")`)
	}
	return strings.Join(all, ",")
}

// TestPasswordByCloudInit: a machine without an agent that answers reads it at its next start, running or not.
func TestPasswordByCloudInit(t *testing.T) {
	t.Parallel()
	for _, release := range []string{"8.4", "9.2"} {
		for _, running := range []bool{true, false} {
			t.Run(release, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, worldOptions{Release: release, World: withGuest(func(g *pvesim.Guest) {
					g.Config["ide2"], g.Config["ciuser"], g.Running, g.Agent, g.AgentSilent = "local:cloudinit", "debian", running, "1", true
				})})
				op := w.ask(portal.RequestPassword("client:test"))
				password := w.show(op)
				w.settle(10 * time.Minute)
				says := "The new password of debian holds when the machine is started."
				if running {
					says = "The new password of debian holds from the machine's next start."
				}
				if op = w.operation(op.ID); op.State != portal.StateSucceeded || op.Reason.String() != says {
					t.Fatalf("%s %q\n%s", op.State, op.Reason, w.story())
				}
				if got := w.config().Raw["cipassword"]; got == "" {
					t.Error("the machine has no password")
				}
				if len(w.changes("PUT", "/cloudinit")) != 1 {
					t.Error("the drive was not written anew")
				}
				w.nowhere(password)
			})
		}
	}
}

// TestPasswordRefused: one that nobody saw is not set, one that no system takes is refused with the reason, a retry makes
// another, and a busy machine is left alone.
func TestPasswordRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	op := w.ask(portal.RequestPassword("client:test"))
	w.settle(10 * time.Minute)
	if op = w.operation(op.ID); op.State != portal.StateFailed || !strings.HasPrefix(op.Reason.String(), "Nobody looked at the new password") {
		t.Errorf("unseen: %s %q", op.State, op.Reason)
	}
	op = w.ask(portal.RequestPassword("client:test"))
	first := w.show(op)
	w.settle(10 * time.Minute)
	if op = w.operation(op.ID); op.State != portal.StateFailed || !strings.Contains(op.Reason.String(), "neither a guest agent nor cloud-init") {
		t.Errorf("without a way: %s %q", op.State, op.Reason)
	}
	again := w.ask(portal.RetryOperation("client:test", op, "", ""))
	if second := w.show(again); second == first {
		t.Error("a retry gives the same password")
	}
	w.settle(10 * time.Minute)
	if got := len(w.sim.Calls()); got != 0 {
		t.Errorf("%d changes were sent", got)
	}
	w.backupNow("", "")
	w.run(3 * time.Second)
	if _, err := w.db.Enqueue(context.Background(), w.client, w.service.UID, portal.RequestPassword("client:test")); portal.CodeOf(err) != portal.CodeBusy {
		t.Errorf("during a backup: %v", err)
	}
}

// TestPasswordIsTheirs: nobody but the login that asked is shown the password.
func TestPasswordIsTheirs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	op := w.ask(portal.RequestPassword("client:test"))
	for who, look := range map[string]func() (string, error){
		"another login": func() (string, error) {
			return w.db.ShowSecret(context.Background(), w.client, w.service.UID, op.UID, "client:other")
		},
		"another client": func() (string, error) {
			return w.db.ShowSecret(context.Background(), w.client+1, w.service.UID, op.UID, op.Actor)
		},
		"no client": func() (string, error) {
			return w.db.ShowSecret(context.Background(), 0, w.service.UID, op.UID, op.Actor)
		},
	} {
		if text, err := look(); !errors.Is(err, store.ErrNoSecret) || text != "" {
			t.Errorf("%s is shown %q, %v", who, text, err)
		}
	}
	w.show(op)
}
