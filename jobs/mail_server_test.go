package jobs_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/mail"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"stowage/jobs"
)

// postOffice is a mail server on this machine. It keeps what it took, and fails as it is told.
type postOffice struct {
	t        *testing.T
	listener net.Listener
	mu       sync.Mutex
	taken    []letter
	talks    int
	// fault gives the answer to a command instead of its own: "" is none, "drop" ends the connection. After the data
	// of a mail the command is "." with the mail's recipient.
	fault func(command, argument string) string
	lines []string // what clients said
	// starttls is offered where it isn't nil, and nothing but a hello is taken before it.
	starttls *tls.Config
}

// letter is a mail as the server took it.
type letter struct {
	from, to string
	raw      string
	message  *mail.Message
}

func (l letter) header(name string) string { return l.message.Header.Get(name) }

func newPostOffice(t *testing.T) *postOffice {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return openPostOffice(t, listener)
}

func openPostOffice(t *testing.T, listener net.Listener) *postOffice {
	t.Helper()
	p := &postOffice{t: t, listener: listener}
	var talks sync.WaitGroup
	talks.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			talks.Go(func() { p.talk(conn) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		talks.Wait()
	})
	return p
}

// server is the office as the portal is told of it.
func (p *postOffice) server() *jobs.SMTP {
	p.t.Helper()
	s, _, err := jobs.ParseSMTP((&url.URL{Scheme: "smtp", Host: p.listener.Addr().String()}).String())
	if err != nil {
		p.t.Fatal(err)
	}
	s.Timeout = 5 * time.Second
	return &s
}

func (p *postOffice) failing(fault func(command, argument string) string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = fault
}

func (p *postOffice) letters() []letter {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]letter(nil), p.taken...)
}

// to gives the subjects of the letters to an address, in the order in which they came.
func (p *postOffice) ids() (ids []string) {
	for _, l := range p.letters() {
		ids = append(ids, l.header("Message-Id"))
	}
	return ids
}

func (p *postOffice) ask(command, argument string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lines = append(p.lines, command+" "+argument)
	if p.fault == nil {
		return ""
	}
	return p.fault(command, argument)
}

func (p *postOffice) talk(conn net.Conn) {
	defer func(c net.Conn) { _ = c.Close() }(conn)
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	p.mu.Lock()
	p.talks++
	p.mu.Unlock()
	in := bufio.NewReader(conn)
	say := func(text string) { _, _ = io.WriteString(conn, text+"\r\n") }
	say("220 office.test ESMTP")
	open := p.starttls != nil // for everybody to read
	var from, to string
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		command, argument, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		command = strings.ToUpper(command)
		switch said := p.ask(command, argument); said {
		case "":
		case "drop":
			return
		default:
			say(said)
			continue
		}
		switch {
		case open && command == "STARTTLS":
			say("220 go on")
			secret := tls.Server(conn, p.starttls)
			conn, in, open = secret, bufio.NewReader(secret), false
			continue
		case open && command != "EHLO" && command != "QUIT":
			say("530 encrypt first")
			continue
		}
		switch command {
		case "EHLO":
			say("250-office.test")
			if open {
				say("250-STARTTLS")
			} else {
				say("250-AUTH PLAIN")
			}
			say("250 8BITMIME")
		case "HELO", "RSET", "NOOP":
			say("250 ok")
		case "AUTH":
			say("235 welcome")
		case "MAIL":
			from = argument
			say("250 ok")
		case "RCPT":
			to = strings.Trim(strings.TrimPrefix(argument, "TO:"), "<>")
			say("250 ok")
		case "DATA":
			say("354 go on")
			var raw strings.Builder
			for {
				line, err := in.ReadString('\n')
				if err != nil {
					return
				}
				if line == ".\r\n" {
					break
				}
				raw.WriteString(strings.TrimPrefix(line, "."))
			}
			if p.end(say, from, to, raw.String()) {
				return
			}
		case "QUIT":
			say("221 bye")
			return
		default:
			say("502 what?")
		}
	}
}

// end takes the mail, or answers as it is told. "taken and drop" takes it and loses the answer.
func (p *postOffice) end(say func(string), from, to, raw string) (gone bool) {
	said := p.ask(".", to)
	if said == "" || said == "taken and drop" {
		message, err := mail.ReadMessage(strings.NewReader(raw))
		if err != nil {
			p.t.Errorf("no mail: %v\n%s", err, raw)
			return true
		}
		p.mu.Lock()
		p.taken = append(p.taken, letter{from, to, raw, message})
		p.mu.Unlock()
	}
	switch said {
	case "":
		say(fmt.Sprintf("250 taken %d", len(raw)))
	case "drop", "taken and drop":
		return true
	default:
		say(said)
	}
	return false
}
