package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"stowage/jobs"
	"stowage/portal"
	"stowage/pve"
	"stowage/store"
)

type serverCmd struct {
	Add   serverAddCmd   `cmd:"" help:"Connect a Proxmox VE: a cluster or a stand-alone node."`
	List  serverListCmd  `cmd:"" help:"List the servers."`
	Check serverCheckCmd `cmd:"" help:"Check a server: connection, clock, every privilege, foreign pruning."`
}

type serverAddCmd struct {
	data
	output
	Name            string   `required:"" help:"Its name here."`
	Endpoint        []string `required:"" placeholder:"URL" help:"Address of a node, such as https://pve1.example:8006; repeat it for each node."`
	TokenID         string   `name:"token-id" required:"" placeholder:"USER@REALM!NAME" help:"API token, for this portal alone."`
	SecretFile      string   `required:"" placeholder:"FILE" help:"File with the token's secret, - for standard input."`
	Fingerprint     []string `required:"" xor:"trust" placeholder:"SHA256" help:"Fingerprint of the certificate, as pvenode cert info prints it; repeat it for each node."`
	CAFile          string   `name:"ca-file" required:"" xor:"trust" placeholder:"FILE" help:"Certificate of the authority that signs the servers' certificates, such as pve-root-ca.pem."`
	TrustOnFirstUse bool     `required:"" xor:"trust" help:"Take the certificates that are shown now, and no others from now on."`
}

// Run looks whether the server answers with the token, and only then keeps it.
func (c *serverAddCmd) Run(a *app) error {
	text, err := secret(a, c.SecretFile)
	if err != nil {
		return err
	}
	s := portal.Server{Name: c.Name, Endpoints: c.Endpoint, Fingerprints: c.Fingerprint, TokenID: c.TokenID}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return err
		}
		s.CA = string(pem)
	}
	if c.TrustOnFirstUse {
		for _, endpoint := range c.Endpoint {
			print, subject, end, err := pve.FetchFingerprint(a.ctx, endpoint)
			if err != nil {
				return fmt.Errorf("%s: %w", endpoint, err)
			}
			s.Fingerprints = append(s.Fingerprints, print)
			fmt.Fprintf(a.err, "%s shows %s (%s, valid until %s). Compare it with what pvenode cert info prints there.\n",
				endpoint, pve.WithColons(print), subject, end.Format("2006-01-02"))
		}
	}
	return c.with(a, func(db *store.DB) error {
		client, err := jobs.Dial(s, text, jobs.Options{Now: a.now})
		if err != nil {
			return err
		}
		defer client.Close()
		release, err := client.Version(a.ctx)
		if err != nil {
			return fmt.Errorf("nothing was added, for the server can't be used: %w", err)
		}
		added, err := db.AddServer(a.ctx, actor, s, text)
		if err != nil {
			return err
		}
		answer := map[string]any{"uid": added.UID, "name": added.Name, "release": release.Release, "fingerprints": colons(added.Fingerprints)}
		return c.print(a, answer, func(w io.Writer) {
			row(w, "uid", added.UID)
			row(w, "name", added.Name)
			row(w, "release", release.Release)
			row(w, "next", "stowage server check "+added.Name)
		})
	})
}

func colons(fingerprints []string) []string {
	out := make([]string, len(fingerprints))
	for i, f := range fingerprints {
		out[i] = pve.WithColons(f)
		if len(f) != 64 {
			out[i] = f // as it was given
		}
	}
	return out
}

type serverListCmd struct {
	data
	output
}

// Run lists the servers as the portal last saw them.
func (c *serverListCmd) Run(a *app) error {
	type server struct {
		UID              string   `json:"uid"`
		Name             string   `json:"name"`
		Endpoints        []string `json:"endpoints"`
		Token            string   `json:"token"`
		Release          string   `json:"release"`
		SeenAt           string   `json:"seen_at"`
		UnreachableSince string   `json:"unreachable_since"`
		Trouble          string   `json:"trouble"`
		SkewSeconds      int64    `json:"skew_seconds"`
	}
	return c.with(a, func(db *store.DB) error {
		all, err := db.Servers(a.ctx)
		if err != nil {
			return err
		}
		out := make([]server, len(all))
		for i, s := range all {
			out[i] = server{s.UID, s.Name, s.Endpoints, s.TokenID, s.Release, stamp(s.SeenAt), stamp(s.UnreachableSince), s.Trouble, int64(s.Skew.Seconds())}
		}
		return c.print(a, out, func(w io.Writer) {
			row(w, "UID", "NAME", "RELEASE", "LAST SEEN", "TOKEN", "TROUBLE")
			for _, s := range out {
				row(w, s.UID, s.Name, s.Release, s.SeenAt, s.Token, oneLine(s.Trouble))
			}
		})
	})
}

type serverCheckCmd struct {
	data
	output
	Name string `arg:"" help:"Name or uid of the server."`
}

// Run checks the server; it fails where something has to be mended.
func (c *serverCheckCmd) Run(a *app) error {
	return c.with(a, func(db *store.DB) error {
		s, err := serverNamed(a, db, c.Name)
		if err != nil {
			return err
		}
		engine := jobs.New(jobs.Options{DB: db, Now: a.now})
		defer engine.Close()
		ctx, cancel := context.WithTimeout(a.ctx, checkWithin)
		defer cancel()
		found, err := engine.Check(ctx, s)
		if err != nil {
			return err
		}
		findings := shown(found)
		err = c.print(a, findings, func(w io.Writer) { findingsText(w, findings) })
		if n := wrong(findings); n > 0 {
			err = errors.Join(err, fmt.Errorf("%s: %s to mend", s.Name, portal.Plural(n, "thing", "things")))
		}
		return err
	})
}

func serverNamed(a *app, db *store.DB, name string) (portal.Server, error) {
	s, err := db.ServerNamed(a.ctx, name)
	if portal.CodeOf(err) == portal.CodeNotFound {
		return s, fmt.Errorf("there is no server %q; stowage server list shows them", name)
	}
	return s, err
}

// finding is a portal.Finding as commands print it: in English.
type finding struct {
	Level string `json:"level"`
	Text  string `json:"text"`
	Mend  string `json:"mend,omitempty"`
}

func shown(findings []portal.Finding) []finding {
	out := make([]finding, len(findings))
	for i, f := range findings {
		out[i] = finding{f.Level, f.Text.String(), f.Mend.String()}
	}
	return out
}

func findingsText(w io.Writer, findings []finding) {
	for _, f := range findings {
		row(w, f.Level, f.Text)
		if f.Mend != "" && f.Level != "ok" {
			row(w, "", "→ "+f.Mend)
		}
	}
}

// wrong counts what has to be mended before the portal can do its work.
func wrong(findings []finding) (n int) {
	for _, f := range findings {
		if f.Level == "error" {
			n++
		}
	}
	return n
}

// checkWithin bounds the check of one server.
const checkWithin = 2 * time.Minute
