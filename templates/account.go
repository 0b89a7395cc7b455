package templates

import (
	"strconv"

	"stowage/portal"
)

// LoginPage signs in.
type LoginPage struct {
	Frame
	Email     string
	Next      string      // the page that was wanted, a path of ours
	Error     portal.Text // "That e-mail or password is not right."
	Throttled portal.Text // "Too many tries. You can try again at 02:20."; then the button is disabled
	Expired   bool        // the session ended; after signing in the wanted page comes back
	Demo      []DemoLogin
	DemoWord  string // the password that all demo logins share
}

// DemoLogin is a login to try.
type DemoLogin struct {
	Email string
	What  portal.Text // "client, 4 machines"
}

// AccountPage is the login's own settings.
type AccountPage struct {
	Frame
	Zone          string
	Zones         []string
	ZoneWrong     portal.Text
	Language      string // tag of the login's own
	LanguageWrong portal.Text
	Errors        AccountErrors
	Mail          []MailSwitch
	Sessions      int  // other places where this login is signed in; -1 where that is not known
	MustChange    bool // the password was given by somebody else
}

// AccountErrors are refusals beside their fields.
type AccountErrors struct {
	Old, New, Again portal.Text
}

// ProblemPage is an error as a page.
type ProblemPage struct {
	Frame
	Status    int
	Heading   portal.Text // "" has one for the status
	Sentence  portal.Text
	Reference string
	Ways      []WayOut
}

func problemNumber(status int) string {
	if status == 0 {
		return ""
	}
	return strconv.Itoa(status)
}

// problemHeading is the page's own heading or the one of its status.
func problemHeading(v ProblemPage) portal.Text {
	if v.Heading != "" {
		return v.Heading
	}
	switch v.Status {
	case 403:
		return "That is not allowed"
	case 404:
		return "We can't find that"
	case 405:
		return "That does not work this way"
	case 409:
		return "Not right now"
	case 413:
		return "That is too large"
	case 422:
		return "Something needs another look"
	case 429:
		return "A little too fast"
	case 503:
		return "Back in a moment"
	}
	return "Something went wrong on our side"
}
