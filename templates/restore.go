package templates

import "stowage/portal"

// RestorePage asks before a machine is overwritten by a copy.
type RestorePage struct {
	Frame
	Service  ServiceHead
	Backup   string // uid
	When     Moment
	Size     portal.Text
	Note     string
	Warning  portal.Text   // about the copy; may be empty
	Lost     []portal.Text // sentences: what is lost
	Stays    []portal.Text // sentences: what stays
	Plan     []portal.Text // sentences: what happens
	Inside   []portal.Text // disks in the copy
	Kept     []portal.Text // disks that were added since
	Hardware []Fact        // what the machine is, and was in the copy
	Reading  bool          // what the copy holds was not read yet
	Resumes  bool          // a restore has stopped, and goes on with this copy
	Confirm  string        // what has to be typed
	Typed    string        // as typed, after a refusal
	Wrong    portal.Text   // about what was typed
	Start    bool          // start the machine afterwards
	Restore  Act
}
