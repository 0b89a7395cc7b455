package jobs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"

	"stowage/portal/lang"
)

// SMTP is a mail server that takes the portal's mail.
type SMTP struct {
	Host     string
	Port     int
	TLS      bool // from the first byte; else STARTTLS, which only a server on this machine may be without
	User     string
	Password string
	Config   *tls.Config   // nil: the system's authorities
	Timeout  time.Duration // of each step; 0 means 30 s
}

const (
	smtpTimeout = 30 * time.Second
	smtpPort    = 587
	smtpsPort   = 465
)

// ParseSMTP reads the address of a mail server, smtp://user@host:587?from=backups@example.org or smtps://…:465, and
// gives the sender's address that it names, "" where it names none. A password in it is refused: arguments are for
// everybody to see.
func ParseSMTP(text string) (s SMTP, from string, err error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Hostname() == "" || u.Scheme != "smtp" && u.Scheme != "smtps" || strings.Trim(u.Path, "/") != "" || u.Fragment != "" {
		return s, "", errors.New("it reads like smtp://user@mail.example:587 (STARTTLS) or smtps://user@mail.example:465")
	}
	s = SMTP{Host: u.Hostname(), Port: smtpPort, TLS: u.Scheme == "smtps"}
	if s.TLS {
		s.Port = smtpsPort
	}
	if port := u.Port(); port != "" {
		if s.Port, err = strconv.Atoi(port); err != nil || s.Port < 1 || s.Port > 65535 {
			return s, "", fmt.Errorf("%s is no port", port)
		}
	}
	if u.User != nil {
		if _, has := u.User.Password(); has {
			return s, "", errors.New("the password comes from a file (--smtp-password-file), never from an argument")
		}
		s.User = u.User.Username()
	}
	for key, values := range u.Query() {
		if key != "from" || len(values) != 1 {
			return s, "", fmt.Errorf("%q is no part of it", key)
		}
		from = values[0]
	}
	return s, from, nil
}

// loopback tells whether the server is on this machine, so that nobody can listen in between.
func (s *SMTP) loopback() bool {
	if s.Host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(s.Host)
	return err == nil && ip.IsLoopback()
}

// Check connects, says hello, encrypts and signs in, and sends nothing.
func (s *SMTP) Check(ctx context.Context) error {
	line := &smtpLine{server: s}
	defer line.close()
	if failed := line.open(ctx); failed != nil {
		return failed
	}
	return nil
}

// mailFailure is why a mail could not be sent: for good, or because the server can't be spoken with at all.
type mailFailure struct {
	err     error
	forGood bool
	server  bool
}

// Error is exact and one line, for staff.
func (f *mailFailure) Error() string {
	words := lang.OneLine(f.err.Error())
	if len(words) > 500 {
		words = strings.ToValidUTF8(words[:500], "") + "…"
	}
	return words
}

// envelope is one mail on its way.
type envelope struct {
	id, to, language string
	from             mail.Address
	at               time.Time
	mail             lang.Mail
}

// smtpLine is a connection that is made when the first mail needs it and serves for those that follow.
type smtpLine struct {
	server *SMTP
	client *gomail.Client
	conn   net.Conn
}

func (l *smtpLine) close() {
	if l.client != nil {
		_ = l.client.Close() // says goodbye; what was sent is sent
		l.client = nil
	}
	if l.conn != nil {
		_ = l.conn.Close()
		l.conn = nil
	}
}

// open connects unless there is a connection.
func (l *smtpLine) open(ctx context.Context) *mailFailure {
	if l.client != nil {
		return nil
	}
	s := l.server
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.Config != nil {
		config = s.Config.Clone()
	}
	if config.ServerName == "" {
		config.ServerName = s.Host
	}
	timeout := s.Timeout
	if timeout == 0 {
		timeout = smtpTimeout
	}
	policy := gomail.TLSMandatory
	if s.TLS || s.loopback() {
		policy = gomail.NoTLS // it is encrypted already, or never leaves this machine
	}
	options := []gomail.Option{
		gomail.WithPort(s.Port), gomail.WithTimeout(timeout), gomail.WithTLSConfig(config), gomail.WithTLSPolicy(policy), gomail.WithoutNoop(),
		gomail.WithDialContextFunc(func(ctx context.Context, network, address string) (_ net.Conn, err error) {
			dialer := &net.Dialer{Timeout: timeout}
			if s.TLS {
				l.conn, err = (&tls.Dialer{NetDialer: dialer, Config: config}).DialContext(ctx, network, address)
			} else {
				l.conn, err = dialer.DialContext(ctx, network, address)
			}
			return l.conn, err
		}),
	}
	if host, err := os.Hostname(); err == nil && strings.Contains(host, ".") {
		options = append(options, gomail.WithHELO(host))
	}
	if s.User != "" {
		// Without encryption only on this machine: to others the policy above lets none through.
		options = append(options, gomail.WithUsername(s.User), gomail.WithPassword(s.Password),
			gomail.WithOpportunisticSMTPAuth(gomail.SMTPAuthSCRAMSHA256, gomail.SMTPAuthPlainNoEnc, gomail.SMTPAuthLoginNoEnc))
	}
	client, err := gomail.NewClient(s.Host, options...)
	if err == nil {
		err = client.DialWithContext(ctx)
	}
	if err != nil {
		l.close()
		return &mailFailure{err: err, server: true}
	}
	l.client = client
	return nil
}

// send hands one mail over. A server that refuses the recipient or the mail for good (5xx) has it given up; what it
// refuses for now (4xx), or refuses the portal itself, is tried again.
func (l *smtpLine) send(ctx context.Context, e envelope) *mailFailure {
	m, err := e.message()
	if err != nil {
		return &mailFailure{err: err, forGood: true} // an address that no server takes
	}
	if failed := l.open(ctx); failed != nil {
		return failed
	}
	conn := l.conn
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	err = l.client.Send(m)
	if err == nil || m.IsDelivered() {
		if err != nil {
			l.close() // it was taken; the connection is of no more use
		}
		return nil
	}
	var refused *gomail.SendError
	code := 0
	if errors.As(err, &refused) {
		code = refused.ErrorCode()
	}
	failed := &mailFailure{err: err}
	switch {
	case code == 0 || code == 421:
		failed.server = true
		l.close()
	case refused.Reason == gomail.ErrSMTPMailFrom:
		failed.server = code >= 500 // the sender is refused, whoever the mail is for
	case code >= 500:
		failed.forGood = true
	}
	return failed
}

// message puts the mail together.
func (e envelope) message() (*gomail.Msg, error) {
	m := gomail.NewMsg(gomail.WithCharset(gomail.CharsetUTF8), gomail.WithEncoding(gomail.EncodingQP))
	m.FromMailAddress(&mail.Address{Name: lang.OneLine(e.from.Name), Address: e.from.Address}) // quotes and encodes the name
	if err := m.To(e.to); err != nil {
		return nil, err
	}
	domain := "stowage.invalid"
	if i := strings.LastIndexByte(e.from.Address, '@'); i >= 0 {
		domain = e.from.Address[i+1:]
	}
	m.Subject(lang.OneLine(e.mail.Subject))
	m.SetMessageIDWithValue(e.id + "@" + domain)
	m.SetDateWithValue(e.at)
	m.SetGenHeader(gomail.Header("Auto-Submitted"), "auto-generated")
	m.SetGenHeader(gomail.Header("X-Auto-Response-Suppress"), "All")
	m.SetGenHeader(gomail.Header("Content-Language"), e.language)
	m.SetBodyString(gomail.TypeTextPlain, e.mail.Text)
	m.AddAlternativeString(gomail.TypeTextHTML, e.mail.HTML)
	return m, nil
}
