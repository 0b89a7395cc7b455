package portal

import (
	"strings"
	"testing"
)

func TestCleanNote(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                             "",
		"   ":                          "",
		"  before the upgrade \n":      "before the upgrade", // what a form's field leaves at its end
		"ünï ☃ 猫 👩‍👩‍👧":                "ünï ☃ 猫 👩‍👩‍👧",
		`{{vmid}} \n "quotes" <b>&`:    `{{vmid}} \n "quotes" <b>&`,
		strings.Repeat("猫", NoteLimit): strings.Repeat("猫", NoteLimit),
		"مرحبا":                        "مرحبا",
	} {
		if got, err := CleanNote(in); err != nil || got != want {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	for _, in := range []string{
		"two\nlines", "a\rb", "tab\tbed", "nul\x00", "bell\a", "esc\x1b[31m", "del\x7f", "c1\u0085x", "line\u2028sep", "par\u2029sep",
		"bad \xff byte", "\u202eevil", "a\u200fb", "a\u2066b", strings.Repeat("x", NoteLimit+1), strings.Repeat("猫", NoteLimit+1),
	} {
		got, err := CleanNote(in)
		if CodeOf(err) != CodeInvalid || got != "" {
			t.Errorf("%q: %q, %v", in, got, err)
			continue
		}
		if r := refusalOf(err); !strings.HasSuffix(r.says, ".") {
			t.Errorf("%q: %q is no sentence", in, r.says)
		}
	}
	if _, err := CleanNote(strings.Repeat("x", 203)); err == nil || !strings.Contains(err.Error(), "this one has 203") {
		t.Errorf("%v", err)
	}
}

func TestCleanEmail(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{" Ada@Example.TEST ": "ada@example.test", "a.b+c@d.test": "a.b+c@d.test"} {
		if got, err := CleanEmail(in); err != nil || got != want {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "ada", "@x.test", "Ada <ada@x.test>", "a@b@c", "a b@c.test", "ada@x.test, bob@x.test", strings.Repeat("a", 250) + "@x.test"} {
		if got, err := CleanEmail(in); CodeOf(err) != CodeInvalid {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
}

func TestCleanName(t *testing.T) {
	t.Parallel()
	if got, err := CleanName("name", "  Müller & Söhne "); err != nil || got != "Müller & Söhne" {
		t.Errorf("%q, %v", got, err)
	}
	for _, in := range []string{"", "  ", "a\nb", "a\u202eb", "bad\xff", strings.Repeat("x", 101)} {
		if _, err := CleanName("name", in); CodeOf(err) != CodeInvalid {
			t.Errorf("%q: %v", in, err)
		}
	}
}

// TestLogins says who may change anything, and as whom they stand in the audit log.
func TestLogins(t *testing.T) {
	t.Parallel()
	for role, may := range map[Role]bool{RoleOwner: true, RoleOperator: true, RoleAdmin: true, RoleReader: false, RoleAuditor: false} {
		if got := (Login{Role: role}).MayAct(); got != may {
			t.Errorf("%s may act: %t", role, got)
		}
	}
	if got := (Login{UID: "u", ClientID: 1}).Actor(); got != "client:u" {
		t.Error(got)
	}
	if got := (Login{UID: "u"}).Actor(); got != "staff:u" {
		t.Error(got)
	}
	for role, want := range map[Role][2]bool{
		RoleOwner: {true, false}, RoleOperator: {true, true}, RoleReader: {true, false}, RoleAdmin: {false, true}, RoleAuditor: {false, true}, "": {false, false},
	} {
		if got := [2]bool{ValidClientRole(role), ValidStaffRole(role)}; got != want {
			t.Errorf("%q: %v", role, got)
		}
	}
}
