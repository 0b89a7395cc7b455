package web

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/alexedwards/argon2id"
	"github.com/labstack/echo/v4"
	"golang.org/x/text/unicode/norm"

	"stowage/portal"
)

// What a password hash costs: 19 MiB of memory, two passes, one thread (docs/adr/0003).
var hashing = &argon2id.Params{Memory: 19 * 1024, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}

const (
	hashAtOnce = 2                // passwords hashed at the same time: bounds memory and processor
	hashWait   = 10 * time.Second // for a place

	shortestPassword = 8
	longestPassword  = 256 // characters
)

// HashPassword checks a new password and gives its argon2id hash. What can't be used is refused on "password".
func HashPassword(password string) (string, error) {
	switch n := utf8.RuneCountInString(password); {
	case !utf8.ValidString(password) || strings.ContainsAny(password, "\x00\r\n"):
		return "", portal.Invalid("password", "A password is one line of text.")
	case n < shortestPassword:
		return "", portal.Invalid("password", "A password has at least %d characters.", shortestPassword)
	case n > longestPassword:
		return "", portal.Invalid("password", "A password has at most %d characters.", longestPassword)
	}
	hash, err := argon2id.CreateHash(norm.NFKC.String(password), hashing)
	if err != nil {
		return "", fmt.Errorf("hash password: %w", err)
	}
	return hash, nil
}

// NewPassword makes a password up: four groups of four letters and digits that don't look alike, 78 bits.
func NewPassword() string {
	const letters = "23456789abcdefghjkmnpqrstvwxyz"
	var out []byte
	for len(out) < 19 {
		if len(out)%5 == 4 {
			out = append(out, '-')
			continue
		}
		var b [1]byte
		_, _ = rand.Read(b[:]) // never fails
		if int(b[0]) < 256/len(letters)*len(letters) {
			out = append(out, letters[int(b[0])%len(letters)])
		}
	}
	return string(out)
}

// checkPassword tells whether the password belongs to the hash. It costs the same for an empty hash.
func (s *Server) checkPassword(password, hash string) (bool, error) {
	known := hash != ""
	if !known {
		hash = decoy()
	}
	if utf8.RuneCountInString(password) > longestPassword {
		password, known = "", false
	}
	match, err := s.compare(norm.NFKC.String(password), hash)
	return match && known && err == nil, err
}

// decoy is a hash that no password is compared with in earnest.
var decoy = sync.OnceValue(func() string {
	hash, err := argon2id.CreateHash(rand.Text(), hashing)
	if err != nil {
		panic(err) // only a failing random source
	}
	return hash
})

// wrongPassword answers alike for an unknown account, a wrong password and a disabled login.
func wrongPassword() *portal.Error {
	return portal.Invalid("password", "That e-mail address or password is not right.")
}

// SignIn checks who is there and begins their session. It gives an Error where it doesn't: on "password" where
// address or password is wrong, too_often (with TryAgain) after too many of those.
func (s *Server) SignIn(c echo.Context, email, password string) (portal.Login, error) {
	ctx, address := c.Request().Context(), c.RealIP()
	l, err := s.check(ctx, email, password, address)
	if err != nil {
		if code := portal.CodeOf(err); code == portal.CodeInvalid || code == portal.CodeTooOften {
			s.log.Info("sign-in refused", "reference", Reference(c), "address", address, "code", string(code))
		}
		return portal.Login{}, err
	}
	if err := errors.Join(s.o.Accounts.LoginSucceeded(ctx, l.Email), s.o.Accounts.SignedIn(ctx, l)); err != nil {
		return portal.Login{}, err
	}
	return l, s.begin(c, l)
}

// CheckPassword tells whether the password is a login's, under the same throttle as the sign-in: for pages that
// ask for it once more. A wrong one is an Error on "password".
func (s *Server) CheckPassword(c echo.Context, l portal.Login, password string) error {
	_, err := s.check(c.Request().Context(), l.Email, password, c.RealIP())
	return err
}

// check looks whether a try is allowed, hashes, and counts a failure, all while it holds one of few places: so
// many tries at once can't outrun the count.
func (s *Server) check(ctx context.Context, email, password, address string) (portal.Login, error) {
	if err := s.allowed(ctx, email, address); err != nil {
		return portal.Login{}, err // takes nobody's place
	}
	release, err := s.hashPlace(ctx)
	if err != nil {
		return portal.Login{}, err
	}
	defer release()
	if err := s.allowed(ctx, email, address); err != nil {
		return portal.Login{}, err
	}
	l, err := s.o.Accounts.LoginByEmail(ctx, email)
	if err != nil && portal.CodeOf(err) != portal.CodeNotFound {
		return portal.Login{}, err
	}
	match, err := s.checkPassword(password, l.PasswordHash)
	if err != nil {
		return portal.Login{}, fmt.Errorf("check password: %w", err)
	}
	if match && !l.Disabled {
		return l, nil
	}
	if _, err = s.o.Accounts.LoginFailed(ctx, email, address); err != nil {
		return portal.Login{}, err
	}
	return portal.Login{}, wrongPassword()
}

func (s *Server) allowed(ctx context.Context, email, address string) error {
	until, err := s.o.Accounts.LoginAllowed(ctx, email, address)
	if err == nil && !until.IsZero() {
		err = s.tooOften(until)
	}
	return err
}

// left says how long it is until then.
func (s *Server) left(until time.Time) portal.Text {
	left := until.Sub(s.now())
	if left >= time.Minute {
		return portal.Duration(left + time.Minute - time.Second)
	}
	return portal.Count(max(1, int(left/time.Second)), "1 second", "%d seconds")
}

func (s *Server) tooOften(until time.Time) error {
	words := s.left(until)
	return &portal.Error{
		Code: portal.CodeTooOften, Err: TryAgain{until},
		Sentence: portal.Say("There were too many tries to sign in. Please wait %s and try again.", words),
	}
}

// hashPlace waits for a place to hash a password in.
func (s *Server) hashPlace(ctx context.Context) (release func(), err error) {
	timer := time.NewTimer(hashWait)
	defer timer.Stop()
	select {
	case s.hashing <- struct{}{}:
		return func() { <-s.hashing }, nil
	case <-timer.C:
		return nil, portal.Refuse(portal.CodeUnavailable, "Many people are signing in right now. Please try again in a moment.")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
