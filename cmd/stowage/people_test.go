package main

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"stowage/store"
)

func TestPeople(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var ada, admin, changed added
	b.answer(&ada, "client", "add", "--email", "Ada@demo.test", "--name", "Ada", "--zone", "Europe/Berlin")
	if len(ada.UID) != 26 || !regexp.MustCompile(`^([a-z0-9]{4}-){3}[a-z0-9]{4}$`).MatchString(ada.Password) || ada.Role != "owner" {
		t.Errorf("client add: %+v", ada)
	}
	file := b.write("password", "a password from a file\n")
	b.answer(&admin, "staff", "add", "--email", "admin@demo.test", "--role", "admin", "--password-file", file)
	if admin.Password != "" || admin.Role != "admin" {
		t.Errorf("staff add with a password file: %+v", admin)
	}
	if text := b.must("client", "passwd", "ada@demo.test", "--password-file", file); !strings.Contains(text, "ada@demo.test") || strings.Contains(text, "from a file") {
		t.Errorf("client passwd: %s", text)
	}
	b.answer(&changed, "staff", "passwd", "ADMIN@demo.test")
	if changed.UID != admin.UID || changed.Password == "" {
		t.Errorf("staff passwd: %+v", changed)
	}
	r := stowage(t, "over standard input\n", "client", "passwd", "ada@demo.test", "--password-file", "-", "--database", b.path("stowage.db"))
	if r.code != exitDone || strings.Contains(r.out, "input") {
		t.Errorf("password over standard input: %+v", r)
	}
	if text := b.must("client", "list"); !strings.Contains(text, "ada@demo.test") || !strings.Contains(text, ada.UID) {
		t.Errorf("client list: %s", text)
	}
	if text := b.must("staff", "list"); !strings.Contains(text, "admin@demo.test") || strings.Contains(text, "ada@") {
		t.Errorf("staff list: %s", text)
	}
	var clients []struct{ Emails []string }
	b.answer(&clients, "client", "list", "nobody")
	if len(clients) != 0 {
		t.Errorf("clients that don't match: %+v", clients)
	}

	b.must("client", "add", "--email", "grete@demo.test", "--name", "Grete", "--zone", "Europe/Vienna", "--language", "de")
	b.must("staff", "add", "--email", "helga@demo.test", "--role", "operator", "--language", "de")
	type spoken struct{ Email, Language string }
	var german struct {
		clients []struct{ Name, Language string }
		staff   []spoken
	}
	b.answer(&german.clients, "client", "list", "grete")
	b.answer(&german.staff, "staff", "list")
	if len(german.clients) != 1 || german.clients[0].Language != "de" || !slices.Contains(german.staff, spoken{"helga@demo.test", "de"}) || !slices.Contains(german.staff, spoken{"admin@demo.test", "en"}) {
		t.Errorf("languages: %+v", german)
	}
	for _, tag := range []string{"tlh", "en-XA", "de-AT", "\x01"} {
		b.run("client", "add", "--email", "x@demo.test", "--name", "X", "--zone", "UTC", "--language", tag).want(t, "language "+tag, exitUsage, "no language")
		b.run("staff", "add", "--email", "x@demo.test", "--role", "admin", "--language", tag).want(t, "language "+tag, exitUsage, "no language")
	}

	b.run("client", "add", "--email", "ada@demo.test", "--name", "B", "--zone", "UTC").want(t, "an address twice", exitFailed, "already")
	b.run("client", "add", "--email", "Ada <b@demo.test>", "--name", "B", "--zone", "UTC").want(t, "no address", exitFailed, "not an e-mail address")
	b.run("staff", "passwd", "nobody@demo.test").want(t, "nobody", exitFailed, "no login")
	b.run("staff", "passwd", "admin@demo.test", "--password-file", b.write("short", "short\n")).want(t, "too short", exitFailed, "at least 8")
	b.run("staff", "passwd", "admin@demo.test", "--password-file", b.write("empty", "\n")).want(t, "empty", exitFailed, "no secret")
	b.run("staff", "passwd", "admin@demo.test", "--password-file", b.path("nowhere")).want(t, "no file", exitFailed, "no such file")
}

func TestSettings(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.must("setting", "set", store.PerStorage, "2")
	var all []struct{ Key, Value, Default, Text string }
	b.answer(&all, "setting", "list")
	found := false
	for _, s := range all {
		if s.Text == "" {
			t.Errorf("%s does not say what it does", s.Key)
		}
		found = found || s.Key == store.PerStorage && s.Value == "2" && s.Default == "4"
	}
	if !found {
		t.Errorf("settings: %+v", all)
	}
	b.run("setting", "set", store.PerStorage, "many").want(t, "no number", exitFailed, "whole number")
	b.run("setting", "set", "nonsense", "1").want(t, "no setting", exitFailed, "no setting")
}

func TestErrorsAreOneLine(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	long := strings.Repeat("x\n", 200)
	r := b.run("client", "add", "--email", "x@demo.test", "--name", long, "--zone", "UTC")
	r.want(t, "a name of many lines", exitFailed, "A name")
	if _, err := json.Marshal(r.err); err != nil {
		t.Error(err)
	}
}
