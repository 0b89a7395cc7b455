// Package portal is what the business is: clients, products, servers, services, schedules, slots, backups and
// operations, and the rules over them as pure functions. Values and the present instant go in; a value with
// its reason comes out, because the page, the log and the mail all need the same sentence. A sentence for people is a
// Text, which package lang says in their language.
//
// It knows the standard library only: no database, no network, no clock.
package portal
