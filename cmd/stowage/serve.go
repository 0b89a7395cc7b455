package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"net/url"
	"os"
	"runtime/debug"
	"strings"

	"stowage/static"
)

type serveCmd struct {
	data
	mailFlags
	Listen           string   `default:"127.0.0.1:8080" help:"Address to listen on (${default})."`
	URL              string   `name:"url" placeholder:"URL" help:"Address that people type, such as https://backups.example. Cookies are Secure exactly when it is https. Without it, http at the address listened on."`
	TrustedProxies   []string `placeholder:"CIDR" help:"Networks of the proxies in front, whose X-Forwarded-For is believed."`
	MetricsListen    string   `placeholder:"ADDRESS" help:"Address that serves /metrics, and nothing else, to everybody who reaches it."`
	MetricsTokenFile string   `placeholder:"FILE" help:"File with the token that /metrics asks for, - for standard input."`
	LogFormat        string   `default:"text" enum:"text,json" help:"${enum} (${default})."`
	LogLevel         string   `default:"info" enum:"debug,info,warn,error" help:"${enum} (${default})."`
}

// Run runs the portal until it is told to stop.
func (c *serveCmd) Run(a *app) error {
	public, err := publicURL(c.URL)
	if err != nil {
		return err
	}
	proxies, err := networks(c.TrustedProxies)
	if err != nil {
		return err
	}
	if err := static.Check(); err != nil {
		return err
	}
	token := ""
	if c.MetricsTokenFile != "" {
		if token, err = secret(a, c.MetricsTokenFile); err != nil {
			return err
		}
	}
	mail, err := c.mail(a)
	if err != nil {
		return err
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	log := newLog(a.err, c.LogFormat, c.LogLevel)
	db, from, to, err := c.openUpToDate(a.ctx, a.now)
	if err != nil {
		return err
	}
	if mail == nil {
		log.Warn("no mail server is set up (--smtp): messages to clients and staff stay in the outbox")
	}
	log.Info("database open", "path", db.Path(), "version", to, "migrated_from", from)
	err = runPortal(a.ctx, portalOptions{
		DB: db, Now: a.now, Log: log, Listen: c.Listen, URL: public, Proxies: proxies,
		MetricsListen: c.MetricsListen, MetricsToken: token, Mail: mail,
	})
	return errors.Join(err, db.Close())
}

// gcPercent lets the heap grow to five times what is in use before it is swept: what is in use is some ten MiB, and pages
// are made of short-lived pieces. GOGC, where it is set, says otherwise.
const gcPercent = 400

// publicURL reads --url; nil where there is none.
func publicURL(text string) (*url.URL, error) {
	if text == "" {
		return nil, nil
	}
	u, err := url.Parse(strings.TrimSuffix(text, "/"))
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.User != nil {
		return nil, wrongUse("--url reads like https://backups.example, without a path")
	}
	return u, nil
}

// networks reads --trusted-proxies: networks, or single addresses.
func networks(texts []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, text := range texts {
		if p, err := netip.ParsePrefix(strings.TrimSpace(text)); err == nil {
			out = append(out, p.Masked())
			continue
		}
		ip, err := netip.ParseAddr(strings.TrimSpace(text))
		if err != nil {
			return nil, wrongUse("--trusted-proxies: %q is no network, such as 192.0.2.0/24", text)
		}
		out = append(out, netip.PrefixFrom(ip, ip.BitLen()))
	}
	return out, nil
}

func newLog(w io.Writer, format, level string) *slog.Logger {
	var at slog.Level
	if err := at.UnmarshalText([]byte(level)); err != nil {
		panic(fmt.Sprintf("log level %q passed the parser", level))
	}
	options := &slog.HandlerOptions{Level: at}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
