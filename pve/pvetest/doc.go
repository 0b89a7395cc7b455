// Package pvetest tries on a Proxmox VE everything that the portal does with one, and says what is not as the portal
// expects: each call of pve.Client, and each thing that the engine takes for granted about what those calls lead to
// (where a backup's mark shows and when, what a second backup meets, how a task is found again, what becomes of notes
// and protection, how refusals are worded).
//
// It runs on any server that a Target names. On the simulator that is always, so that the simulator can't drift from
// what the portal relies on; on a real Proxmox VE it is whenever somebody gives it one, so that neither can the portal.
// Each difference is one line for a person to read:
//
//	backup: its notes begin "", expected the mark "pvetest:18a…:1"
//
// It makes one backup of one machine, begins three more that are refused or stopped, and asks for some that are wrong.
// It removes its archives by their volids, only those that its own tasks' logs have named, and stops what it started,
// also when it is given up half-way. It changes nothing else.
//
// Unless Target.Destroy allows it: then the machine is backed up once more, changed in every way that the portal knows
// (configuration, disks, power, snapshots), restored from that backup, also when something went wrong half-way, and
// cloned; the clone is destroyed. Such a machine has no snapshots, no pending changes and no unused volumes at first,
// for a restore would not bring them back.
//
// The suite is a list of chapters (run.go), each a function over the same run; those that change the machine are one
// list of their own (change.go). What the portal learns next becomes a chapter after the last one: it asks the run for
// the machine and its first state, notes the tasks that it starts with own, and says what differed.
package pvetest
