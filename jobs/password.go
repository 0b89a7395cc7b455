package jobs

import (
	"strings"

	"stowage/portal"
	"stowage/pve"
)

// passwordStroke sets the password: by the guest agent at once, or in what cloud-init tells the system at its next start.
var passwordStroke = stroke{
	call:  "pve.password",
	begun: "The new password is set.",
	send:  sendPassword,
	wrong: func(t *turn, failure string) portal.Text {
		if t.op.Work.Way == portal.WayAgent && strings.Contains(strings.ToLower(failure), "agent") {
			return "The system in your machine refused the new password. The one before it holds."
		}
		return plainMachine(failure)
	},
}

// cloudInitStroke writes the drive anew from which the system reads its settings.
var cloudInitStroke = stroke{
	call:  "pve.cloudinit",
	begun: "The settings that the system reads at its start are written.",
	send:  func(t *turn) error { return t.link.client.RegenerateCloudInit(t, t.op.Node, t.sit.Service.VMID) },
	wrong: func(_ *turn, failure string) portal.Text { return plainMachine(failure) },
}

func init() {
	passwordStroke.next = func(t *turn) error {
		if t.op.Work.Way == portal.WayCloudInit {
			return t.onward(portal.StepCloudInit)
		}
		return t.end(portal.StateSucceeded, portal.Say("The new password of %s holds now.", t.op.Work.User), "by the guest agent", portal.SlotDone)
	}
	cloudInitStroke.next = func(t *turn) error {
		switch {
		case t.op.Kind == portal.KindReinstall:
			return t.reinstallStart()
		case t.op.Work.Was == "running":
			return t.end(portal.StateSucceeded, portal.Say("The new password of %s holds from the machine's next start.", t.op.Work.User), "by cloud-init", portal.SlotDone)
		}
		return t.end(portal.StateSucceeded, portal.Say("The new password of %s holds when the machine is started.", t.op.Work.User), "by cloud-init", portal.SlotDone)
	}
}

// passwordPreflight chooses the way. A password that nobody has seen is not set.
func (t *turn) passwordPreflight(config pve.GuestConfig) error {
	if !t.op.Work.Shown {
		return t.fail("Nobody looked at the new password, so it was not set. The one before it holds.", "not shown within "+portal.ShowBy.String())
	}
	t.op.Work.User = administrator(config)
	agent := agentOn(config) && t.op.Work.Was == "running"
	if agent {
		_, err := t.link.client.AgentInterfaces(t, t.op.Node, t.sit.Service.VMID)
		switch {
		case err == nil:
			if ok, err := t.mayDo(pve.Scene{}, pve.UseAgent); !ok {
				return err
			}
			t.op.Work.Way = portal.WayAgent
			return t.onward(portal.StepPassword)
		case pve.ClassOf(err) == pve.Unreachable:
			return t.unanswered(err)
		}
	}
	if !cloudInitDrive(config) {
		why := portal.Text("Your machine's system takes no password from outside: it has neither a guest agent nor cloud-init. Our team can help.")
		if agentOn(config) {
			why = "The guest agent in your machine does not answer, so its password can't be set. Start the machine, and the agent in it, and try again."
		}
		return t.fail(why, "no agent that answers, and no cloud-init drive")
	}
	if ok, err := t.mayDo(pve.Scene{}, pve.SetCloudInit); !ok {
		return err
	}
	t.op.Work.Way = portal.WayCloudInit
	return t.onward(portal.StepPassword)
}

func sendPassword(t *turn) error {
	password, err := t.secret()
	if err != nil {
		return err
	}
	if t.op.Work.Way == portal.WayAgent {
		return t.link.client.SetUserPassword(t, t.op.Node, t.sit.Service.VMID, t.op.Work.User, password)
	}
	return t.link.client.SetConfig(t, t.op.Node, t.sit.Service.VMID, pve.ConfigChange{Password: password})
}

// administrator is the login whose password is set: the one that cloud-init makes, else the system's own.
func administrator(c pve.GuestConfig) string {
	switch {
	case c.Raw["ciuser"] != "":
		return c.Raw["ciuser"]
	case strings.HasPrefix(c.Raw["ostype"], "win"):
		return "Administrator"
	}
	return "root"
}

// agentOn tells whether a machine's config has its guest agent switched on: "1", or "enabled=1,…".
func agentOn(c pve.GuestConfig) bool {
	props := pve.ParseProperties(c.Raw["agent"])
	value, ok := props.Get("enabled")
	if !ok {
		value, _ = props.Get("")
	}
	return value == "1" || value == "on" || value == "yes" || value == "true"
}

// cloudInitDrive tells whether a machine has the drive that cloud-init reads.
func cloudInitDrive(c pve.GuestConfig) bool {
	for _, d := range c.Disks {
		if isCloudInit(d.Volid) {
			return true
		}
	}
	return false
}

// isCloudInit tells whether a volume is such a drive's.
func isCloudInit(volid string) bool {
	return strings.Contains(volid[strings.LastIndex(volid, "/")+1:], "cloudinit")
}
