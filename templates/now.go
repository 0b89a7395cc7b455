package templates

import "stowage/portal"

// Idle is what the panel of the present shows while nothing runs: what was last, and what comes next.
type Idle struct {
	Facts []IdleFact
}

// IdleFact is one instant with a few words about it.
type IdleFact struct {
	Name portal.Text // "Last backup"
	At   Moment      // zero: there is none
	None portal.Text // what is said then
	Hint portal.Text // "done in 6 min · 41 GiB"
	Href string      // of the operation; "" is no link
	Tone Tone        // ToneBad: it did not end well
}
