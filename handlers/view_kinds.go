package handlers

import (
	"stowage/portal"
	"stowage/store"
)

// What each kind of work on a machine is called on pages.

// machineTitle names work on a machine in a list: "Reboot", "Restore".
func machineTitle(o portal.Operation) portal.Text {
	switch o.Kind {
	case portal.KindReinstall:
		return portal.Say("Reinstall with %s", o.Work.Template)
	case portal.KindPassword:
		return "New password"
	case portal.KindReapply:
		return "Change of the package"
	}
	switch o.Work.Action {
	case portal.PowerStart:
		return "Start"
	case portal.PowerShutdown:
		return "Shutdown"
	case portal.PowerStop:
		return "Power off"
	}
	return "Reboot"
}

// machineCard says what is being done with a machine: the title of a card that moves.
func machineCard(o portal.Operation, name string) portal.Text {
	switch o.Kind {
	case portal.KindReinstall:
		return portal.Say("Installing %s anew", name)
	case portal.KindPassword:
		return portal.Say("Setting a new password on %s", name)
	case portal.KindReapply:
		return portal.Say("Applying the package to %s", name)
	}
	switch o.Work.Action {
	case portal.PowerStart:
		return portal.Say("Starting %s", name)
	case portal.PowerReboot:
		return portal.Say("Rebooting %s", name)
	}
	return portal.Say("Switching %s off", name)
}

// busyWith says since when the machine is busy with what, beside its status.
func busyWith(o portal.Operation, since portal.Text) portal.Text {
	if o.State == portal.StateHeld {
		switch o.Kind {
		case portal.KindBackup:
			return portal.Say("Our team is looking at a backup since %s", since)
		}
		return portal.Say("Our team is looking at it since %s", since)
	}
	switch o.Kind {
	case portal.KindSnapshot:
		return portal.Say("Taking a snapshot since %s", since)
	case portal.KindSnapshotDelete:
		return portal.Say("Removing a snapshot since %s", since)
	case portal.KindRollback:
		return portal.Say("Rolling back to a snapshot since %s", since)
	case portal.KindRestore:
		return portal.Say("Being restored since %s", since)
	case portal.KindReinstall:
		return portal.Say("Being installed anew since %s", since)
	case portal.KindPassword:
		return portal.Say("Getting a new password since %s", since)
	case portal.KindReapply:
		return portal.Say("The package is applied since %s", since)
	case portal.KindPower:
		switch o.Work.Action {
		case portal.PowerStart:
			return portal.Say("Starting since %s", since)
		case portal.PowerReboot:
			return portal.Say("Rebooting since %s", since)
		}
		return portal.Say("Being switched off since %s", since)
	}
	return portal.Say("Backing up since %s", since)
}

// machineSteps lists the steps of work on a machine in their order.
func machineSteps(o portal.Operation) []string {
	list := []string{portal.StepPreflight}
	off := func() {
		if o.Work.Was != "stopped" {
			list = append(list, portal.StepPowerOff)
		}
	}
	on := func() {
		if o.Work.Start {
			list = append(list, portal.StepStart, portal.StepProof)
		}
	}
	switch o.Kind {
	case portal.KindReapply:
		return append(list, portal.StepReapply)
	case portal.KindPassword:
		list = append(list, portal.StepPassword)
		if o.Work.Way == portal.WayCloudInit {
			list = append(list, portal.StepCloudInit)
		}
		return list
	case portal.KindReinstall:
		off()
		switch {
		case o.Work.Scratch && o.Work.Way == portal.WayCloudInit:
			list = append(list, portal.StepSettings, portal.StepDrive)
		case o.Work.Scratch:
			list = append(list, portal.StepSettings)
		default:
			list = append(list, portal.StepSnapshotDelete, portal.StepDetach)
		}
		list = append(list, portal.StepInstall, portal.StepReapply)
		if o.Work.Way == portal.WayCloudInit {
			list = append(list, portal.StepPassword, portal.StepCloudInit)
		}
		on()
		if o.Work.Scratch {
			return list
		}
		return append(list, portal.StepTidy)
	}
	return append(list, portal.StepPower)
}

// machineStepTitles are what the steps on machines are called.
var machineStepTitles = map[string]portal.Text{
	portal.StepPreflight:      "Look at the machine and its host",
	portal.StepSnapshotDelete: "Remove the snapshots",
	portal.StepPowerOff:       "Shut the machine down",
	portal.StepReapply:        "Apply your package",
	portal.StepStart:          "Start the machine",
	portal.StepProof:          "See that the system answers",
	portal.StepPower:          "Switch the machine",
	portal.StepPassword:       "Set the new password",
	portal.StepCloudInit:      "Write what the system reads at its start",
	portal.StepDetach:         "Take the old system disk off",
	portal.StepInstall:        "Put the new system in place",
	portal.StepSettings:       "Give the machine its settings back",
	portal.StepDrive:          "Make the drive that tells the system its settings",
	portal.StepTidy:           "Remove the old system disk",
}

// machineStepTitle names one step of work on a machine.
func machineStepTitle(step string) portal.Text {
	if title, ok := machineStepTitles[step]; ok {
		return title
	}
	return portal.Verbatim(step)
}

// kindWords are the kinds of operations as filters name them.
var kindWords = []struct {
	kind portal.Kind
	word portal.Text
}{
	{portal.KindBackup, "Backup"}, {portal.KindDelete, "Removal"}, {portal.KindProtect, "Protection"}, {portal.KindSnapshot, "Snapshot"},
	{portal.KindSnapshotDelete, "Removal of a snapshot"}, {portal.KindRollback, "Rollback to a snapshot"}, {portal.KindRestore, "Restore"},
	{portal.KindReinstall, "Reinstall"}, {portal.KindPower, "Power"}, {portal.KindPassword, "New password"}, {portal.KindReapply, "Change of the package"},
}

// ends tells whether a client may let a held operation go on: what has stopped in the midst of putting the machine
// together.
func mayResume(o store.OperationView) bool {
	return o.State == portal.StateHeld && o.Kind == portal.KindReinstall
}

// deskWork tells whether a kind is named and told by this file; snapshots and restores have words of their own.
func deskWork(k portal.Kind) bool {
	return k == portal.KindPower || k == portal.KindPassword || k == portal.KindReinstall || k == portal.KindReapply
}
