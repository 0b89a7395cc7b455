package web

import (
	"net/netip"
	"net/url"

	"github.com/labstack/echo/v4"
)

// OnHash lets a test see each password hash that is computed: with which stored hash, and so at which cost.
func (s *Server) OnHash(see func(stored string)) {
	compare := s.compare
	s.compare = func(password, hash string) (bool, error) {
		see(hash)
		return compare(password, hash)
	}
}

// AddressOf finds a visitor's address.
func AddressOf(trusted []netip.Prefix) echo.IPExtractor { return addressOf(trusted) }

// Encode writes a form as a browser sends it.
func (f Form) Encode() string {
	values := url.Values{}
	for field, value := range f {
		values.Set(field, value)
	}
	return values.Encode()
}
