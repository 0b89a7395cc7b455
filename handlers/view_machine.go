package handlers

import (
	"stowage/portal"
	"stowage/templates"
)

// machineActs says what can be done with the machine now.
func (v *shown) machineActs() templates.MachineActs {
	a := templates.MachineActs{
		Off: v.Service.Status == "stopped" && v.exclusive() == nil, Systems: len(v.TemplatesHere()) > 0,
		Start: v.powerAct(portal.PowerStart), Shutdown: v.powerAct(portal.PowerShutdown), Stop: v.powerAct(portal.PowerStop), Reboot: v.powerAct(portal.PowerReboot),
		Password: v.may(portal.RequestPassword(v.login.Actor())),
	}
	if a.Systems {
		here := v.TemplatesHere()[0].Name
		a.Reinstall = v.mayInstall(here)
	}
	shown := []templates.Act{a.Reboot, a.Password}
	if a.Off {
		shown = []templates.Act{a.Start, a.Password}
	}
	for _, one := range shown {
		if !one.Can && a.WhyNot.WhyNot == "" {
			a.WhyNot = one
		}
	}
	return a
}

// mayInstall tells whether a system may be installed now: anew, or from scratch on what a stopped restore has left.
func (v *shown) mayInstall(template string) templates.Act {
	if held := v.HeldRestore(); held != nil {
		return v.may(portal.RequestScratch(*held, v.login.Actor(), template, portal.ReinstallWord))
	}
	return v.may(portal.RequestReinstall(v.login.Actor(), template, portal.ReinstallWord))
}

// powerAct tells whether the machine can be switched now. Where a backup is in the way, the page that asks offers what
// helps.
func (v *shown) powerAct(action string) templates.Act {
	if why := v.onlyLooks(); why != "" {
		return templates.Denied(why)
	}
	_, err := portal.Power(v.login.Actor(), action, false)(v.Situation)
	if refusal, ok := asRefusal(err); ok && action != portal.PowerStart && len(v.powerWays(refusal, action)) > 1 {
		return templates.Allowed()
	}
	return v.act(err)
}

// powerWays turns the ways out of a refused power action into buttons.
func (v *shown) powerWays(refusal *portal.Error, action string) []templates.WayOut {
	var out []templates.WayOut
	for _, w := range refusal.WayOuts {
		how := map[string]string{"power_cancel": "cancel", "power_after": "after"}[w.Action]
		if how == "" {
			out = append(out, v.ways(&portal.Error{WayOuts: []portal.WayOut{w}}, "")...)
			continue
		}
		out = append(out, templates.WayOut{Label: w.Label, Post: v.path("power"), Primary: how == "after",
			Fields: []templates.Field{{Name: "action", Value: action}, {Name: "how", Value: how}}})
	}
	return out
}

// backToMachine leads to what holds now.
func (v *shown) backToMachine() templates.WayOut {
	return templates.WayOut{Label: "Back to the machine", Href: v.path()}
}

// powerPage asks before the machine is switched; false where there is no such action.
func (v *shown) powerPage(action string) (templates.ConfirmPage, bool) {
	name := v.Service.Name
	p := templates.ConfirmPage{Service: v.head(templates.TabOverview), To: v.path("power"), Fields: []templates.Field{{Name: "action", Value: action}}, Back: "Change nothing"}
	switch action {
	case portal.PowerStart:
		p.Title, p.Button, p.Lead = portal.Say("Start %s?", name), "Start", "The machine is switched on."
	case portal.PowerReboot:
		p.Title, p.Button = portal.Say("Reboot %s?", name), "Reboot"
		p.Lead = "The system inside is asked to shut down, and starts anew. It is away for a few minutes at most. Changes that wait for a start hold from then on."
	case portal.PowerShutdown:
		p.Title, p.Button = portal.Say("Shut down %s?", name), "Shut down"
		p.Lead = "The system inside is asked to shut down. The machine stays off until you start it."
	case portal.PowerStop:
		p.Title, p.Button, p.Danger = portal.Say("Stop %s?", name), "Stop", true
		p.Lead = "The machine is switched off at once, like pulling the plug. The system inside is not asked."
		p.Warning = "What it has not written yet is lost. Shut down instead, where the system still answers."
		p.Lost = []portal.Text{"What programs have not saved, and what the system has not written to its disks yet."}
		p.Stays = []portal.Text{"The machine with all that is on its disks, and your backups."}
	default:
		return p, false
	}
	_, err := portal.Power(v.login.Actor(), action, false)(v.Situation)
	p.Act = v.may(portal.Power(v.login.Actor(), action, false))
	if refusal, ok := asRefusal(err); ok && v.onlyLooks() == "" {
		if ways := v.powerWays(refusal, action); len(ways) > 1 {
			p.Ways = ways
		}
	}
	return p, true
}

// passwordPage asks before a new password is made.
func (v *shown) passwordPage() templates.ConfirmPage {
	return templates.ConfirmPage{
		Service: v.head(templates.TabOverview), To: v.path("password"), Title: portal.Say("A new password for %s?", v.Service.Name),
		Lead:    "We make a new password for the administrator of the system in your machine. You see it once, on the next page.",
		Warning: "The password that holds now stops working. Where the machine has a guest agent that happens at once, else at its next start.",
		Button:  "Reset password", Back: "Change nothing", Act: v.may(portal.RequestPassword(v.login.Actor())),
	}
}

// reinstallPage asks before everything on the system disk goes.
func (v *shown) reinstallPage(chosen, typed string) templates.ConfirmPage {
	here := v.TemplatesHere()
	p := templates.ConfirmPage{
		Service: v.head(templates.TabOverview), To: v.path("reinstall"), Title: portal.Say("Install %s anew?", v.Service.Name),
		Lead:   "The machine is switched off, its system disk is replaced by a fresh system, and it is started. That takes some minutes. You get a new password for it.",
		Lost:   []portal.Text{"Everything on the system disk.", "All snapshots of this machine."},
		Stays:  []portal.Text{"All backups: you can go back to each of them.", "Additional disks with what is on them.", "The machine's number, its network card and its addresses."},
		Button: "Install anew", Back: "Change nothing", Danger: true, Word: portal.ReinstallWord, Typed: typed,
		Act: v.mayInstall(here[0].Name),
	}
	if held := v.HeldRestore(); held != nil {
		p.Title, p.Button = portal.Say("Install %s from scratch?", v.Service.Name), "Install from scratch"
		p.Lead = "A fresh system is put in the place of what the restore has left. The machine gets its name, processors, memory, network card and addresses again, and is started. That takes some minutes. You get a new password for it."
		p.Lost = []portal.Text{"Nothing more: the machine was overwritten already, and is not whole yet."}
		p.Stays[1] = "Additional disks that the backup didn't hold, with what is on them."
		if gone := diskWords(held.Work.Overwritten(), false); len(gone) > 0 {
			p.Lost = []portal.Text{portal.Say("Nothing more. What was on these additional disks was overwritten already: %s.", templates.Listed(gone...))}
		}
	}
	if newest := v.newest(); newest == nil {
		p.Warning = "There is no good backup of this machine: what is on its system disk could not be brought back. Back up first."
	}
	for i, t := range here {
		p.Systems = append(p.Systems, templates.System{Name: t.Name, Chosen: t.Name == chosen || chosen == "" && i == 0})
	}
	return p
}
