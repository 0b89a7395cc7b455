// Package web is how the portal speaks HTTP: the server's set-up, the middleware that every request passes, the
// sessions, the sign-in, and the one place where an error becomes a status and a page.
//
// A request passes, from the outside in: its reference and the access log, the recovery from panics, the
// security headers, the refusal of cross-site changes, the bound on bodies, and the session, which reads the
// login anew each time so that an ended session ends at once. Then comes the route with RequireClient or
// RequireStaff. A handler returns an error and nothing more; the error handler words it.
//
// The package knows portal only. What it needs of the database and of the pages comes in through Options.
package web
