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
// The suite is a list of chapters (run.go), each a function over the same run. What the portal learns next (snapshots,
// restore, power, configuration) becomes a chapter of its own after the last one: it asks the run for the machine and
// its first state, notes what it made with own or undo, and says what differed.
package pvetest
