// Package handlers is what the portal answers: one file for each action of a page, and routes.go as the list of
// them all.
//
// A handler reads the form strictly, makes one call to the store, and redirects, or builds a view-model and shows
// it. It never waits for Proxmox: pages read what jobs have seen, and actions leave an operation behind. A refusal
// shows the page it came from again, with the sentence, what was typed and the button that helps; the status is
// web's to choose.
//
// What is said is a portal.Text all the way to the page, which says it in the language of the request: nothing here puts
// words together.
//
// The client's id of the session goes into every call, so that what belongs to somebody else looks like what does
// not exist. The files named view_… build the view-models; they decide nothing by themselves but ask the rules of
// portal for the answer and its reason: a button is disabled exactly when the request behind it would be refused.
package handlers
