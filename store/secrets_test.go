package store

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"stowage/portal"
)

func testServer(name string) portal.Server {
	return portal.Server{Name: name, Endpoints: []string{"https://127.0.0.1:8006"}, Fingerprints: []string{"ab"}, TokenID: "portal@pve!api"}
}

func TestACopyOfTheDatabaseGivesNoSecretAway(t *testing.T) {
	t.Parallel()
	db, clock := openPeople(t)
	const token, cookie = "11111111-2222-4333-8444-555555555555", "the-value-of-a-cookie"
	if _, err := db.AddServer(t.Context(), "cli", testServer("pve1"), token); err != nil {
		t.Fatal(err)
	}
	if err := db.Sessions().CommitCtx(t.Context(), cookie, []byte("x"), clock.now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := db.LoginFailed(t.Context(), "my-password-in-the-wrong-field", "192.0.2.1"); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "copy.db")
	if err := db.CopyTo(t.Context(), copied); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(copied)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{token, cookie, "my-password", string(db.MarkKey())} {
		if bytes.Contains(raw, []byte(secret)) {
			t.Errorf("the copy holds %q", secret)
		}
	}
	if !bytes.Contains(raw, []byte("portal@pve!api")) {
		t.Error("the copy does not even hold what is no secret: this test looks in the wrong place")
	}
}

func TestSealedSecretsOpenInTheirOwnPlaceOnly(t *testing.T) {
	t.Parallel()
	db, _ := openPeople(t)
	one, err := db.AddServer(t.Context(), "cli", testServer("one"), "secret of one")
	if err != nil {
		t.Fatal(err)
	}
	two, err := db.AddServer(t.Context(), "cli", testServer("two"), "secret of two")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := db.ServerSecret(t.Context(), one.ID); err != nil || got != "secret of one" {
		t.Errorf("the secret in its place: %q, %v", got, err)
	}
	if _, err := db.write.ExecContext(t.Context(), `UPDATE servers SET secret = (SELECT secret FROM servers WHERE id = $1) WHERE id = $2`, one.ID, two.ID); err != nil {
		t.Fatal(err)
	}
	if got, err := db.ServerSecret(t.Context(), two.ID); !errors.Is(err, ErrWrongKey) {
		t.Errorf("a secret that was moved opens: %q, %v", got, err)
	}
}

func TestKeyFiles(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "key")
	if _, err := ReadKey(path); !errors.Is(err, ErrNoKey) {
		t.Errorf("no key: %v", err)
	}
	if err := CreateKey(path); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v, %v", info.Mode(), err)
	}
	if err := CreateKey(path); err == nil {
		t.Error("a key file was overwritten")
	}
	if err := os.WriteFile(path, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadKey(path); err == nil || errors.Is(err, ErrNoKey) {
		t.Errorf("garbage: %v", err)
	}
}
