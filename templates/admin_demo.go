package templates

import "stowage/portal"

// AreaAdminDemo is the menu's entry of the demo's fault panel.
const AreaAdminDemo = "admin-demo"

// AdminDemoPage is the fault panel of the demo: what is broken in its simulated world, and what could be.
type AdminDemoPage struct {
	Frame
	Act    Act // break and heal
	Broken []DemoFault
	Kinds  []DemoKind
}

// DemoFault is something that is broken now.
type DemoFault struct {
	Kind, Target string // as the form sends them
	Text         portal.Text
	Since        Moment
	Heal         portal.Text // label of its button
}

// DemoKind is one thing that can be broken.
type DemoKind struct {
	Kind    string
	Title   portal.Text
	What    portal.Text // what will happen
	Watch   portal.Text // what to watch
	Button  portal.Text
	Targets []Option
	Chosen  string // target, after a refusal
}
