package portal

import (
	"slices"
	"strings"
)

// ReinstallWord is what a person types to have a machine installed anew.
const ReinstallWord = "REINSTALL"

// TemplatesHere gives the systems that a service's machine can be installed with.
func (s Situation) TemplatesHere() []Template {
	return slices.DeleteFunc(slices.Clone(Wanted(s.Product, s.Service).Templates), func(t Template) bool {
		return t.Server != "" && t.Server != s.Server.Name
	})
}

// RequestReinstall asks for the machine to be installed anew from the template of that name. Its number, identity,
// addresses, additional disks and backups stay; its system disk and its snapshots don't. confirm is what was typed.
// A machine that a held restore has left in pieces is installed by RequestScratch.
func RequestReinstall(actor, template, confirm string) Request {
	return func(s Situation) (Operation, error) {
		if err := mayAct(s, "This service is suspended: you can look at everything, but not install it anew."); err != nil {
			return Operation{}, err
		}
		op, err := s.installation(actor, template, confirm)
		if err != nil {
			return Operation{}, err
		}
		return op, s.free(false)
	}
}

// installation is the operation that installs a template, where it may be chosen and the word was typed.
func (s Situation) installation(actor, template, confirm string) (Operation, error) {
	here := s.TemplatesHere()
	if len(here) == 0 {
		return Operation{}, Refuse(CodeConflict, "Your package includes no system to install.")
	}
	i := slices.IndexFunc(here, func(t Template) bool { return t.Name == template })
	if i < 0 {
		return Operation{}, Invalid("template", "Choose the system that is to be installed.")
	}
	if !strings.EqualFold(strings.TrimSpace(confirm), ReinstallWord) {
		return Operation{}, Invalid("confirm", "Type %s, so that it doesn't happen by mistake.", ReinstallWord)
	}
	op := s.errand(KindReinstall, actor)
	op.Work.Template, op.Work.From, op.Work.Start = here[i].Name, here[i].VMID, true
	return op, nil
}
