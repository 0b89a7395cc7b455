// Package store is the portal's memory, and the only place with SQL. Its schema (schema.golden.sql is the file
// that people read) states the invariants; its exported methods each own one transaction; unexported helpers
// take it.
//
// There is one writer connection and a pool of readers that can't write. A commit survives a power cut
// (synchronous=FULL), because "the intent is written" must be true when a request goes out to Proxmox.
//
// Every change that a person or a job makes writes its audit row in the same transaction. Rows that a client
// may see are read with the client's id in the WHERE: a foreign row and a missing one are the same not-found.
package store
