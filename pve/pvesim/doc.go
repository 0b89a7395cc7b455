// Package pvesim is Proxmox VE as an http.Handler: a world of nodes, storages,
// machines, archives, tasks and rights that answers the part of the API which a
// backup portal calls, in the words of the real one.
//
// It is no mock. A request changes the world or is refused by the world's own
// rules; a backup is a task that takes (virtual) time, waits for its node's
// vzdump lock, locks its machine while it is its turn, writes a log that grows,
// fills a storage that may run full, and ends as real tasks end. Texts, status
// lines, field names and the differences between the releases 8.4 and 9.2 come
// from recordings of real nodes; conformance_test.go replays those against it.
//
// Time is what Options.Now says. Nothing runs in the background: whatever is
// due is applied in order of time when somebody looks (a request, or Settle).
// All randomness is decided from Options.Seed when a task is created, so two
// simulators with the same seed, clock and requests live the same life, and
// one that is loaded from its journal goes on as if it had never stopped.
//
// The files, in the order to read them:
//
//	world.go       what there is: plain values to build a world from
//	contract.go    the world of "stowage sim"
//	sim.go         Sim: state, settling, the next event
//	serve.go       HTTP in and out; RoundTrip without TCP
//	call.go        one request: authentication, parameters, the note of it
//	tables.go      every endpoint with its parameters; params.go their checks
//	rights.go      roles, tokens, access control lists; ticket.go logins
//	access.go      the endpoints that say who may what
//	task.go        UPIDs and tasks; tasklist.go their endpoints
//	firewall.go    what a machine's firewall is set to
//	vzdump.go      the request for a backup and the node's lock; notes.go its notes
//	dumprun.go     a machine's turn, dumpplan.go its plan, dumplog.go its lines
//	storage.go     space; content.go archives; wipe.go deletions; prune.go retention
//	define.go      storages that are defined and taken away
//	guest.go       a machine; qemu.go, node.go, cluster.go the remaining endpoints
//	fault.go       everything that can go wrong; others.go what others do
//	foreign.go     others' tasks
//	inspect.go     looking inside; journal.go survives the process
package pvesim
