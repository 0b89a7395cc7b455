package templates

import "stowage/portal"

// ForgotPage asks for the address of a login whose password was forgotten.
type ForgotPage struct {
	Frame
	Email     string
	Sent      bool        // the answer to every address, whether there is such a login or not
	Off       bool        // this portal sends no mail
	Throttled portal.Text // too many requests
}

// ResetPage takes a new password from whoever has the link of a mail.
type ResetPage struct {
	Frame
	Token  string
	Errors AccountErrors
}

// MailSwitch is a kind of mail that a login may switch.
type MailSwitch struct {
	Key    string
	Title  portal.Text
	On     bool
	Always bool // it is about the security of the login
}

// AdminMailPage lists the mails: what was told to whom, and how sending it goes.
type AdminMailPage struct {
	Frame
	Query   string
	Filters []Filter
	Notices []Notice
	Rows    []MailRow
	Paging  Paging
}

// MailRow is one mail.
type MailRow struct {
	UID      string
	When     Moment
	To       string
	Subject  portal.Text
	Machine  string
	Href     string // of the machine
	Status   Badge
	Attempts int
}

// AdminMailOnePage is one mail, as its reader sees it.
type AdminMailOnePage struct {
	Frame
	Mail    MailRow
	Facts   []Fact
	Subject string // in the reader's language
	Lang    string
	Text    string
	Preview string // address of the HTML
	Retry   bool
}
