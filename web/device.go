package web

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"stowage/portal"
)

// deviceFor is how long a browser is known again after it was last used to sign in: as long as browsers keep a cookie.
const deviceFor = 400 * 24 * time.Hour

// Device gives the token by which the browser of a request is known again, and has the browser keep it for as long as
// it may. One that carries none, or one that the portal has not signed, gets a new one. It says nothing of who signs in.
func (s *Server) Device(c echo.Context) string {
	name := "stowage_device"
	if s.secure() {
		name = "__Host-" + name
	}
	token := ""
	if kept, err := c.Cookie(name); err == nil {
		if t, sign, ok := strings.Cut(kept.Value, "."); ok && hmac.Equal([]byte(sign), []byte(s.signDevice(t))) {
			token = t
		}
	}
	if token == "" {
		token = rand.Text()
	}
	c.SetCookie(&http.Cookie{ //nolint:gosec // Secure exactly when people come over https, as the session's
		Name: name, Value: token + "." + s.signDevice(token), Path: "/", MaxAge: int(deviceFor / time.Second),
		HttpOnly: true, Secure: s.secure(), SameSite: http.SameSiteLaxMode,
	})
	return token
}

func (s *Server) signDevice(token string) string {
	h := hmac.New(sha256.New, s.o.DeviceKey)
	h.Write([]byte(token))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// Browser names a visitor's browser and system in a few words that we know; "" where we know neither. What a browser
// says of itself is never repeated.
func Browser(c echo.Context) string {
	agent := c.Request().UserAgent()
	var words []string
	for _, known := range [][][2]string{
		{{"Edg", "Edge"}, {"OPR/", "Opera"}, {"Firefox/", "Firefox"}, {"FxiOS", "Firefox"}, {"Chrome/", "Chrome"}, {"CriOS", "Chrome"}, {"Safari/", "Safari"}, {"curl/", "curl"}},
		{{"iPhone", "iPhone"}, {"iPad", "iPad"}, {"Android", "Android"}, {"Windows", "Windows"}, {"Mac OS", "macOS"}, {"Linux", "Linux"}},
	} {
		for _, k := range known {
			if strings.Contains(agent, k[0]) {
				words = append(words, k[1])
				break
			}
		}
	}
	return strings.Join(words, ", ")
}

// TooOften is the refusal of something that was asked for too often, and says how long to wait.
func (s *Server) TooOften(until time.Time) *portal.Error {
	return &portal.Error{
		Code: portal.CodeTooOften, Err: TryAgain{until},
		Sentence: portal.Say("There were too many requests. Please wait %s and try again.", s.left(until)),
	}
}
