package templates

import "stowage/portal"

// MachineActs is what a client can do with the machine itself.
type MachineActs struct {
	Off       bool // the machine is off: it is started, and can't be stopped
	Start     Act
	Shutdown  Act
	Reboot    Act
	Stop      Act
	Password  Act
	Reinstall Act
	Systems   bool // the package has systems to install
	WhyNot    Act  // the reason beside the buttons, where one holds for all of them
}

// ConfirmPage asks before something is done with a machine, naming what is lost and what stays.
type ConfirmPage struct {
	Frame
	Service ServiceHead
	Title   portal.Text // "Reboot h100?"
	Lead    portal.Text // what will happen, a sentence
	Warning portal.Text // may be empty
	Lost    []portal.Text
	Stays   []portal.Text
	To      string // where the form goes
	Fields  []Field
	Systems []System // to choose from; none leaves the choice out
	Wrong   portal.Text
	Word    string // to be typed; "" asks for none
	Typed   string
	Mistype portal.Text
	Button  portal.Text
	Back    portal.Text
	Danger  bool
	Act     Act
	Ways    []WayOut // in place of the button, where something is in the way
}

// System is one that can be installed.
type System struct {
	Name   string
	Chosen bool
}

// Secret is a password that is shown once.
type Secret struct {
	User string // "" while it isn't known
	Text string
	Soon portal.Text // when it holds
}

func confirmClass(danger bool) string {
	if danger {
		return "btn-danger"
	}
	return "btn-primary"
}

func machineState(a MachineActs) string {
	if a.Off {
		return "off"
	}
	return "on"
}

// why is the id of the reason beside the buttons, or "".
func (a MachineActs) why() string {
	if a.WhyNot.Can || a.WhyNot.WhyNot == "" {
		return ""
	}
	return "machine-why-not"
}
