// Package pve is Proxmox VE as a typed client. It knows nothing of who uses it.
//
// Everything runs through two private doors. read asks: it walks over the server's endpoints and, when the
// network fails, asks again at most twice. mutate changes: it sends exactly one request to exactly one endpoint
// over a connection of its own and never repeats it, because a repeated change is a second backup or a second
// deletion. Below both lies Telmate's client, which writes the address, the login header and the form; below that
// lies edge, our own http.RoundTripper, which keeps the real answer and hands the library a harmless one. So no
// odd body makes the library panic, sleep or ask again.
//
// What an error means is said by its Class:
//
//	Refused      Proxmox answered no. Nothing was changed; Reason says why.
//	Gone         What was named does not exist (a machine, a storage, a volume, a task).
//	Ambiguous    A change was sent and its answer is lost. It may have happened: look before acting again.
//	Unreachable  No answer to a question, or a change that provably never left this machine.
//
// An answer without an error proves little: most changes only start a task, named by a UPID, and the task's own
// status and log tell how it went. POST vzdump may even answer OK and start nothing (ErrNothingStarted).
//
// Why Proxmox refused is said by the Reason, in an answer by ReasonOf and at a task's end by Meaning: Locked and LockFile
// mean later, Digest means to read the configuration again, Exists, Running, NotRunning, Feature and Agent mean what the
// machine is or lacks. What can't be meant is refused with Parameter before anything is sent.
//
// Calls for machines, by file:
//
//	configchange.go  SetConfig, StartSetConfig, Pending, DetachDisk, DestroyUnused, Resize
//	drive.go         the strings that drives and cards are set to, with every option kept that isn't meant
//	power.go         Start, Shutdown, Stop, Reboot, Reset
//	snapshot.go      snapshots, and the volumes that say how much room they take
//	restore.go       Restore, and the configuration inside an archive
//	clone.go         Clone, NextID, Destroy, templates
//	cloudinit.go     what a system is told at its start; agent.go what is said to the agent inside it
//	firewall.go      what a machine's firewall is set to
//	privileges.go    what a token needs for which of them, on 8 and on 9
//
// Passwords are of the type Secret, which no print, log or error shows.
//
// ParseUPID, ParseVzdumpLog, ParseProperties, ParseSize and their kin are pure functions over what Proxmox prints.
// The facts behind them were recorded on Proxmox VE 8.4 and 9.2.
package pve
