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
// ParseUPID, ParseVzdumpLog, ParseProperties, ParseSize and their kin are pure functions over what Proxmox prints.
// The facts behind them were recorded on Proxmox VE 8.4 and 9.2.
package pve
