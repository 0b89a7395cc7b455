package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// Keyring seals secrets at rest. Its key file lives outside the database, so that a copy of the database alone
// gives nothing away.
type Keyring struct{ aead tink.AEAD }

// ErrNoKey says that the key file does not exist.
var ErrNoKey = errors.New("the key file is missing")

// CreateKey makes a new key file (0600). It never overwrites one: that would lose every secret.
func CreateKey(path string) error {
	handle, err := keyset.NewHandle(aead.XChaCha20Poly1305KeyTemplate())
	if err != nil {
		return fmt.Errorf("key file: %w", err)
	}
	var buf bytes.Buffer
	if err := insecurecleartextkeyset.Write(handle, keyset.NewJSONWriter(&buf)); err != nil {
		return fmt.Errorf("key file: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("key file: %w", err)
	}
	_, err = f.Write(append(buf.Bytes(), '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("key file: %w", err)
	}
	if dir, err := os.Open(filepath.Dir(path)); err == nil {
		_ = dir.Sync()
		_ = dir.Close()
	}
	return nil
}

// ReadKey opens a key file. It gives ErrNoKey where there is none.
func ReadKey(path string) (*Keyring, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", path, ErrNoKey)
	}
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	handle, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(raw)))
	if err != nil {
		return nil, fmt.Errorf("key file %s is not a key file: %w", path, err)
	}
	a, err := aead.New(handle)
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", path, err)
	}
	return &Keyring{aead: a}, nil
}

// seal encrypts a secret for one place ("servers/secret/<uid>"): moved elsewhere, it can't be opened.
func (k *Keyring) seal(place string, secret []byte) ([]byte, error) {
	if k == nil {
		return nil, errors.New("no key file")
	}
	return k.aead.Encrypt(secret, []byte(place))
}

func (k *Keyring) open(place string, sealed []byte) ([]byte, error) {
	if k == nil {
		return nil, errors.New("no key file")
	}
	return k.aead.Decrypt(sealed, []byte(place))
}
