package main

import (
	"fmt"
	"io"
	"strings"

	"stowage/jobs"
	"stowage/portal"
	"stowage/store"
)

type serviceCmd struct {
	Add           serviceAddCmd    `cmd:"" help:"Make an existing machine a service. Nothing on it changes."`
	Set           serviceSetCmd    `cmd:"" help:"Change what a service's machine has in place of its product's. Nothing on it changes."`
	List          serviceListCmd   `cmd:"" help:"List the services."`
	ChangeProduct changeProductCmd `cmd:"" help:"Give a service another product. Nothing on its machine changes."`
	AcceptMachine serviceAcceptCmd `cmd:"" help:"Say that the machine which has the service's vmid now is the right one."`
}

type serviceAddCmd struct {
	data
	output
	Client  string `required:"" help:"E-mail address or uid of the client."`
	Product string `required:"" help:"Name or uid of the product."`
	Server  string `required:"" help:"Name or uid of the server."`
	VMID    int    `name:"vmid" required:"" help:"The machine's number."`
	Name    string `help:"Its name in the portal; the machine's own where it is left out."`
	Mode    string `enum:",snapshot,suspend,stop" default:"" help:"A backup mode of its own, where the product allows one."`
	Quota   int    `default:"-1" placeholder:"COUNT" help:"A backup quota of its own, instead of the product's."`
	ownFlags
}

// Run reads who the machine is, and adds the service.
func (c *serviceAddCmd) Run(a *app) error {
	if c.VMID < 100 {
		return wrongUse("--vmid is a number from 100 on")
	}
	return c.with(a, func(db *store.DB) error {
		client, err := db.ClientNamed(a.ctx, c.Client)
		if err != nil {
			return err
		}
		product, err := productNamed(a, db, c.Product)
		if err != nil {
			return err
		}
		if c.Mode != "" && !product.ModeChoice {
			return fmt.Errorf("the product %s allows no backup mode of a service's own", product.Name)
		}
		server, err := serverNamed(a, db, c.Server)
		if err != nil {
			return err
		}
		s := portal.Service{ClientID: client.ID, ProductID: product.ID, VMID: c.VMID, Name: c.Name, Mode: c.Mode}
		c.said(&s.Own)
		if c.Quota >= 0 {
			s.Quota = &c.Quota
		}
		engine := jobs.New(jobs.Options{DB: db, Now: a.now})
		defer engine.Close()
		added, err := engine.AdoptMachine(a.ctx, actor, server, s, client.Zone)
		if err != nil {
			return err
		}
		return c.print(a, map[string]any{"uid": added.UID, "name": added.Name, "vmid": added.VMID, "node": added.Node}, func(w io.Writer) {
			row(w, "uid", added.UID)
			row(w, "name", added.Name)
			row(w, "machine", fmt.Sprintf("%d on %s", added.VMID, added.Node))
		})
	})
}

func productNamed(a *app, db *store.DB, name string) (portal.Product, error) {
	p, err := db.ProductNamed(a.ctx, name)
	if portal.CodeOf(err) == portal.CodeNotFound {
		return p, fmt.Errorf("there is no product %q; stowage product list shows them", name)
	}
	return p, err
}

func serviceNamed(a *app, db *store.DB, uid string) (portal.Service, error) {
	s, err := db.ServiceByUID(a.ctx, strings.ToLower(uid))
	if portal.CodeOf(err) == portal.CodeNotFound {
		return s, fmt.Errorf("there is no service %q; stowage service list shows them", uid)
	}
	return s, err
}

type serviceListCmd struct {
	data
	output
	Client string `help:"Only those of this client (e-mail address or uid)."`
}

// Run lists the services.
func (c *serviceListCmd) Run(a *app) error {
	type service struct {
		UID     string `json:"uid"`
		Name    string `json:"name"`
		Client  string `json:"client"`
		Product string `json:"product"`
		Server  string `json:"server"`
		VMID    int    `json:"vmid"`
		Node    string `json:"node"`
		State   string `json:"state"`
		Status  string `json:"status"`
	}
	return c.with(a, func(db *store.DB) error {
		only := int64(0)
		if c.Client != "" {
			client, err := db.ClientNamed(a.ctx, c.Client)
			if err != nil {
				return err
			}
			only = client.ID
		}
		products, err := db.Products(a.ctx)
		if err != nil {
			return err
		}
		servers, err := db.Servers(a.ctx)
		if err != nil {
			return err
		}
		names := map[int64]string{}
		for _, p := range products {
			names[p.ID] = p.Name
		}
		out := []service{}
		clients := map[int64]portal.Client{}
		for _, s := range servers {
			all, err := db.ServicesOn(a.ctx, s.ID)
			if err != nil {
				return err
			}
			for _, v := range all {
				if only != 0 && v.ClientID != only {
					continue
				}
				if _, ok := clients[v.ClientID]; !ok {
					if clients[v.ClientID], err = db.Client(a.ctx, v.ClientID); err != nil {
						return err
					}
				}
				out = append(out, service{v.UID, v.Name, clients[v.ClientID].Name, names[v.ProductID], s.Name, v.VMID, v.Node, string(v.State), v.Status})
			}
		}
		return c.print(a, out, func(w io.Writer) {
			row(w, "UID", "NAME", "CLIENT", "PRODUCT", "SERVER", "VMID", "NODE", "STATE")
			for _, s := range out {
				row(w, s.UID, s.Name, s.Client, s.Product, s.Server, s.VMID, s.Node, s.State)
			}
		})
	})
}

type changeProductCmd struct {
	data
	output
	UID     string `arg:"" name:"uid" help:"The service."`
	Product string `required:"" help:"Name or uid of its new product."`
}

// Run changes the product.
func (c *changeProductCmd) Run(a *app) error {
	return c.with(a, func(db *store.DB) error {
		s, err := serviceNamed(a, db, c.UID)
		if err != nil {
			return err
		}
		p, err := productNamed(a, db, c.Product)
		if err != nil {
			return err
		}
		if err := db.ChangeProduct(a.ctx, actor, s, p); err != nil {
			return err
		}
		return c.print(a, map[string]string{"uid": s.UID, "product": p.Name}, func(w io.Writer) {
			row(w, "uid", s.UID)
			row(w, "product", p.Name)
			row(w, "applied", "when the machine is free")
		})
	})
}
