package main

import (
	"stowage/handlers"
	"stowage/portal"
	"stowage/templates"
)

// newSite makes the portal's pages. Those of the demo offer its logins.
func newSite(o portalOptions) *handlers.Site {
	version, _ := buildVersion()
	options := handlers.Options{DB: o.DB, Log: o.Log, Version: version, Demo: o.Demo, Mail: o.Mail != nil, MailKept: o.Mail != nil && o.Mail.Server == nil}
	if o.URL != nil {
		options.URL = o.URL.String()
	}
	if o.Faults != nil {
		options.Faults = o.Faults.panel()
	}
	if o.Demo {
		options.DemoPassword = demoPassword
		for _, c := range demoClients {
			options.DemoLogins = append(options.DemoLogins, templates.DemoLogin{Email: demoEmail(c.key), What: portal.Say("client, %s", c.name)})
		}
		for _, s := range demoStaff {
			options.DemoLogins = append(options.DemoLogins, templates.DemoLogin{Email: demoEmail(s.key), What: portal.Say("staff, %s", templates.RoleWord(string(s.role)))})
		}
	}
	return handlers.New(options)
}
