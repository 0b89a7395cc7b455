package main

import (
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"stowage/portal"
	"stowage/pve/pvesim"
	"stowage/store"
)

// hosting is a portal with a service h100 on a simulated Proxmox VE that the test can change.
func hosting(t *testing.T) (b *bench, sim *pvesim.Sim, service string) {
	t.Helper()
	sim, err := pvesim.New(pvesim.ContractWorld(1, 3), pvesim.Options{Now: time.Now, Sleep: sleep, Speed: 20, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewTLSServer(sim)
	t.Cleanup(server.Close)
	b = newBench(t)
	b.must("server", "add", "--name", "pve1", "--endpoint", server.URL, "--token-id", pvesim.PortalToken, "--secret-file", b.secret(), "--trust-on-first-use")
	b.must("product", "add", "--name", "VPS", "--backups", "3", "--backup-storage", "local")
	b.must("client", "add", "--email", "ada@demo.test", "--name", "Ada", "--zone", "Europe/Berlin")
	var s added
	b.answer(&s, "service", "add", "--client", "ada@demo.test", "--product", "VPS", "--server", "pve1", "--vmid", "100")
	return b, sim, s.UID
}

// on runs fn on the bench's database.
func (b *bench) on(fn func(*store.DB) error) {
	b.t.Helper()
	if err := (data{Database: b.path("stowage.db")}).with(&app{ctx: b.t.Context(), now: time.Now}, fn); err != nil {
		b.t.Fatal(err)
	}
}

// call gives the service a state, as the engine or staff do.
func (b *bench) call(uid string, states ...portal.ServiceState) {
	b.t.Helper()
	b.on(func(db *store.DB) error {
		for _, state := range states {
			s, err := db.ServiceByUID(b.t.Context(), uid)
			if err != nil {
				return err
			}
			if err := db.SetServiceState(b.t.Context(), "engine", s, state, "test"); err != nil {
				return err
			}
		}
		return nil
	})
}

func uuidOf(sim *pvesim.Sim, vmid int) string {
	guests := sim.Guests()
	i := slices.IndexFunc(guests, func(g pvesim.Guest) bool { return g.VMID == vmid })
	return guests[i].UUID
}

func TestAcceptMachine(t *testing.T) {
	t.Parallel()
	b, sim, uid := hosting(t)
	accept := []string{"service", "accept-machine", uid, "--reason", "rebuilt after the fire"}
	b.run(accept...).want(t, "a machine that nobody questions", exitFailed, "not in question")
	b.run("service", "accept-machine", "x", "--reason", "r").want(t, "no service", exitFailed, "no service")

	old := uuidOf(sim, 100)
	if err := sim.ReplaceGuest(100); err != nil {
		t.Fatal(err)
	}
	b.call(uid, portal.ServiceMachineReplaced)
	var answer struct {
		UID, Name, Node, State, Machine string
		VMID                            int
		Before                          string `json:"machine_before"`
	}
	b.answer(&answer, accept...)
	fresh := uuidOf(sim, 100)
	if answer.UID != uid || answer.State != "active" || answer.VMID != 100 || answer.Machine != fresh || answer.Before != old || old == fresh {
		t.Errorf("accepted: %+v; the machine was %s and is %s", answer, old, fresh)
	}
	b.on(func(db *store.DB) error {
		s, err := db.ServiceByUID(t.Context(), uid)
		if err != nil {
			return err
		}
		if s.State != portal.ServiceActive || s.Identity.UUID != fresh || s.Node != "pve1" || len(s.Hardware.Disks) == 0 {
			t.Errorf("kept: %+v", s)
		}
		log, err := db.AuditLog(t.Context(), 0, 2)
		if err != nil {
			return err
		}
		if log[0].Action != "service.state" || !strings.Contains(log[0].After, "rebuilt after the fire") || log[0].Actor != "cli" ||
			log[1].Action != "service.accept_machine" || !strings.Contains(log[1].Before, old) || !strings.Contains(log[1].After, fresh) {
			t.Errorf("audit: %+v", log)
		}
		return nil
	})

	// The machine is the service's own from now on: it is backed up.
	b.askForBackup(uid)
	_, _, stop := b.serve()
	b.untilBackedUp()
	stop()
}

func TestAcceptMachineKeepsWhatHeldBefore(t *testing.T) {
	t.Parallel()
	b, sim, uid := hosting(t)
	if err := sim.ReplaceGuest(100); err != nil {
		t.Fatal(err)
	}
	b.call(uid, portal.ServiceSuspended, portal.ServiceMachineReplaced)
	if out := b.must("service", "accept-machine", uid, "--reason", "rebuilt"); !strings.Contains(out, "suspended") {
		t.Errorf("a suspended client was let in: %s", out)
	}
}

func TestAcceptMachineRefusesAnothersMachine(t *testing.T) {
	t.Parallel()
	b, sim, uid := hosting(t)
	b.must("client", "add", "--email", "grace@demo.test", "--name", "Grace", "--zone", "UTC")
	b.must("service", "add", "--client", "grace@demo.test", "--product", "VPS", "--server", "pve1", "--vmid", "101")
	theirs := uuidOf(sim, 101)
	if err := sim.SetGuest(100, func(g *pvesim.Guest) { g.UUID = theirs }); err != nil { // Grace's machine was restored over Ada's
		t.Fatal(err)
	}
	b.call(uid, portal.ServiceMachineReplaced)
	accept := []string{"service", "accept-machine", uid, "--reason", "it looks right"}
	b.run(accept...).want(t, "another client's machine", exitFailed, "belongs to the service h101")
	if err := sim.DestroyGuest(100); err != nil {
		t.Fatal(err)
	}
	b.run(accept...).want(t, "no machine", exitFailed, "There is no machine 100")
	if out := b.must("service", "list"); !strings.Contains(out, "machine_replaced") {
		t.Errorf("a refusal changed something: %s", out)
	}
}
