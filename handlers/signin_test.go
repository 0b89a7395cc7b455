package handlers_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSignInLeadsBackToThePage(t *testing.T) {
	t.Parallel()
	s := open(t)
	v := s.visitor()
	page := backups(s.h100)
	v.get(page).wantTo("/login?next=" + url.QueryEscape(page))
	a := v.get("/login?next="+url.QueryEscape(page)).want(200, "Sign in")
	hidden := ""
	for _, n := range a.all("name") {
		if attr(n, "name") == "next" {
			hidden = attr(n, "value")
		}
	}
	if hidden != page {
		t.Errorf("the form carries %q on, want %q", hidden, page)
	}
	v.post("/login", "email", " ADA@demo.test ", "password", password, "next", hidden).wantTo(page)
	v.get(page).want(200, "Backups", "h100")
	v.get("/login").wantTo("/services")
	v.get("/").wantTo("/services")
	v.post("/logout").wantTo("/login")
	v.get("/services").wantTo("/login?next=%2Fservices")
}

func TestSignInNeverLeadsElsewhere(t *testing.T) {
	t.Parallel()
	s := open(t)
	for next, want := range map[string]string{
		"https://evil.example/": "/services", "//evil.example": "/services", "/\\evil.example": "/services", "/admin": "/services", "/admin/audit": "/services",
		"/account": "/account", "": "/services",
	} {
		s.visitor().post("/login", "email", "ada@demo.test", "password", password, "next", next).wantTo(want)
	}
	s.visitor().post("/login", "email", "admin@demo.test", "password", password, "next", "/services/x").wantTo("/admin")
	staff := s.as("operator@demo.test")
	staff.get("/").wantTo("/admin")
	staff.get("/services").wantTo("/admin")
	staff.get("/services/" + s.h100.UID).want(404)
	staff.post(backups(s.h100)).want(404)
}

func TestWrongPasswordSaysTheSameForEverybody(t *testing.T) {
	t.Parallel()
	s := open(t)
	if _, err := s.db.SetDisabled(t.Context(), "cli", "grace@demo.test", true); err != nil {
		t.Fatal(err)
	}
	known := s.visitor().post("/login", "email", "ada@demo.test", "password", "wrong")
	known.want(422, "That e-mail address or password is not right.")
	for name, a := range map[string]answer{
		"an unknown address": s.visitor().post("/login", "email", "nobody@demo.test", "password", "wrong"),
		"a disabled login":   s.visitor().post("/login", "email", "grace@demo.test", "password", password),
	} {
		a.want(422)
		email := "nobody@demo.test"
		if strings.Contains(name, "disabled") {
			email = "grace@demo.test"
		}
		if diff := cmp.Diff(known.body, strings.ReplaceAll(a.body, email, "ada@demo.test")); diff != "" {
			t.Errorf("%s is told apart: %s", name, diff)
		}
	}
	v := s.visitor()
	for range 5 {
		v.post("/login", "email", "ada@demo.test", "password", "wrong")
	}
	a := v.post("/login", "email", "ada@demo.test", "password", password).want(429, "too many tries")
	if a.Header.Get("Retry-After") == "" {
		t.Error("429 without Retry-After")
	}
	v.post("/login", "email", "ada@demo.test", "email", "x@demo.test", "password", "x").want(422, "more than once")
}

func TestAccount(t *testing.T) {
	t.Parallel()
	s := open(t)
	here, there := s.as("ada@demo.test"), s.as("ada@demo.test")
	const fresh = "an even better horse"
	here.post("/account/password", "old", "wrong", "new", fresh, "again", fresh).want(422, "That is not your present password.")
	here.post("/account/password", "old", password, "new", fresh, "again", fresh+"!").want(422, "not the same")
	here.post("/account/password", "old", password, "new", "short", "again", "short").want(422, "at least 8 characters")
	here.post("/account/password", "old", password, "new", password, "again", password).want(422, "the one you have")
	there.get("/services").want(200)

	here.post("/account/password", "old", password, "new", fresh, "again", fresh).wantTo("/account")
	here.get("/account").want(200, "Your password is changed.")
	there.get("/services").wantTo("/login?expired=1&next=%2Fservices")
	s.visitor().post("/login", "email", "ada@demo.test", "password", password).want(422)
	there.post("/login", "email", "ada@demo.test", "password", fresh).wantTo("/services")

	here.post("/account/zone", "zone", "Mars/Olympus").want(422, "no time zone that we know")
	here.post("/account/zone", "zone", "Asia/Tokyo").wantTo("/account")
	here.get("/services").want(200, "Times are in Asia/Tokyo")
	here.get(backups(s.h100)).want(200, "Times are in Europe/Berlin") // a schedule keeps its own

	here.post("/account/sign-out-everywhere").wantTo("/login")
	here.get("/services").wantTo("/login?next=%2Fservices")
	there.get("/services").wantTo("/login?expired=1&next=%2Fservices")
}
