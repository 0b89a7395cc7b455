package web_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"stowage/web"
)

// promptly bounds how long an answer to something odd may take: far less than the timeouts of the server, far more
// than a busy machine needs.
const promptly = 12 * time.Second

// raw sends bytes as they are and gives what comes back until the server closes the connection or has answered.
func (s *site) raw(text string) (status int, body string, err error) {
	conn, err := net.Dial("tcp", s.server.Listener.Addr().String())
	if err != nil {
		return 0, "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(promptly)); err != nil {
		return 0, "", err
	}
	wrote := make(chan struct{})
	go func() { // the server may answer and hang up before all is sent
		defer close(wrote)
		_, _ = io.WriteString(conn, text)
	}()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	read, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil {
		_ = conn.Close()
		<-wrote
	}
	return resp.StatusCode, string(read), err
}

const (
	hostLine = "Host: portal.example\r\n"
	formLine = "Content-Type: application/x-www-form-urlencoded\r\n"
)

func TestOddRequests(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	post := func(headers, body string) string {
		return "POST /login HTTP/1.1\r\n" + hostLine + formLine + headers + "\r\n" + body
	}
	get := func(target, headers string) string {
		return "GET " + target + " HTTP/1.1\r\n" + hostLine + headers + "\r\n"
	}
	for name, text := range map[string]string{
		// The request line.
		"nothing but an end":       "\r\n\r\n\r\n\r\n",
		"no version":               "GET /login\r\n\r\n",
		"half a line":              "GET\r\n\r\n",
		"another protocol":         "SSH-2.0-OpenSSH_9.9\r\n\r\n",
		"TLS":                      "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
		"HTTP/2 from the start":    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"HTTP/9":                   "GET /login HTTP/9.9\r\n" + hostLine + "\r\n",
		"HTTP/1.10":                "GET /login HTTP/1.10\r\n" + hostLine + "\r\n",
		"lower-case version":       "GET /login http/1.1\r\n" + hostLine + "\r\n",
		"a space too many":         "GET  /login HTTP/1.1\r\n" + hostLine + "\r\n",
		"a tab":                    "GET\t/login\tHTTP/1.1\r\n" + hostLine + "\r\n",
		"no path":                  "GET  HTTP/1.1\r\n" + hostLine + "\r\n",
		"a path without slash":     get("login", ""),
		"only a query":             get("?x", ""),
		"a zero byte":              get("/lo\x00gin", ""),
		"bytes over 127":           get("/\xff\xfe", ""),
		"a bad escape":             get("/%zz", ""),
		"half an escape":           get("/%2", ""),
		"a method with a space":    "GET POST /login HTTP/1.1\r\n" + hostLine + "\r\n",
		"a method of odd bytes":    "G\x00ET /login HTTP/1.1\r\n" + hostLine + "\r\n",
		"an empty method":          " /login HTTP/1.1\r\n" + hostLine + "\r\n",
		"a very long path":         get("/"+strings.Repeat("x", 40<<10), ""),
		"a very long query":        get("/login?"+strings.Repeat("x=y&", 12<<10), ""),
		"a very long method":       strings.Repeat("X", 40<<10) + " /login HTTP/1.1\r\n" + hostLine + "\r\n",
		"CONNECT":                  "CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n",
		"CONNECT with a path":      "CONNECT /login HTTP/1.1\r\n" + hostLine + "\r\n",
		"TRACE":                    "TRACE /login HTTP/1.1\r\n" + hostLine + "X-Secret: x\r\n\r\n",
		"OPTIONS *":                "OPTIONS * HTTP/1.1\r\n" + hostLine + "\r\n",
		"GET *":                    get("*", ""),
		"PUT":                      "PUT /login HTTP/1.1\r\n" + hostLine + "Content-Length: 1\r\n\r\nx",
		"DELETE":                   "DELETE /login HTTP/1.1\r\n" + hostLine + "\r\n",
		"PROPFIND":                 "PROPFIND / HTTP/1.1\r\n" + hostLine + "\r\n",
		"a method that is no word": "G(T /login HTTP/1.1\r\n" + hostLine + "\r\n",

		// Headers.
		"no host":                      "GET /login HTTP/1.1\r\n\r\n",
		"two hosts":                    "GET /login HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
		"a host with a space":          "GET /login HTTP/1.1\r\nHost: a b\r\n\r\n",
		"a host with a path":           "GET /login HTTP/1.1\r\nHost: a/b\r\n\r\n",
		"a header without colon":       get("/nowhere", "nonsense\r\n"),
		"a header with a space before": get("/nowhere", "X-A : b\r\n"),
		"a header name with odd bytes": get("/nowhere", "X\x00A: b\r\n"),
		"a header value with a zero":   get("/nowhere", "X-A: b\x00c\r\n"),
		"a header in two lines":        get("/nowhere", "X-A: b\r\n c\r\n"),
		"a first header with a space":  "GET /nowhere HTTP/1.1\r\n X-A: b\r\n" + hostLine + "\r\n",
		"an empty header name":         get("/nowhere", ": b\r\n"),
		"a bare CR in a header":        get("/nowhere", "X-A: b\rX-B: c\r\n"),
		"huge headers":                 get("/login", "X-A: "+strings.Repeat("x", 64<<10)+"\r\n"),
		"very many headers":            get("/login", strings.Repeat("X-A: b\r\n", 8<<10)),
		"an unknown expectation":       post("Expect: a miracle\r\nContent-Length: 0\r\n", ""),

		// Bodies.
		"two lengths":                post("Content-Length: 1\r\nContent-Length: 2\r\n", "xx"),
		"two lengths in one line":    post("Content-Length: 1, 2\r\n", "xx"),
		"a negative length":          post("Content-Length: -1\r\n", ""),
		"a length with a plus":       post("Content-Length: +5\r\n", "email"),
		"a length in hex":            post("Content-Length: 0x5\r\n", "email"),
		"a length that is no number": post("Content-Length: five\r\n", "email"),
		"a length beyond numbers":    post("Content-Length: 99999999999999999999999\r\n", ""),
		"a length and chunks":        post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\nGET /x HTTP/1.1\r\n"),
		"an unknown encoding":        post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"),
		"an encoding in disguise":    post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"),
		"an encoding with a tab":     post("Transfer-Encoding:\tchunked\r\nContent-Length: 3\r\n", "0\r\n\r\n"),
		"two encodings":              post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
		"chunked then identity":      post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n"),
		"a chunk that is no number":  post("Transfer-Encoding: chunked\r\n", "zz\r\nxx\r\n0\r\n\r\n"),
		"a negative chunk":           post("Transfer-Encoding: chunked\r\n", "-1\r\nxx\r\n0\r\n\r\n"),
		"a chunk beyond numbers":     post("Transfer-Encoding: chunked\r\n", strings.Repeat("f", 40)+"\r\nxx\r\n0\r\n\r\n"),
		"a chunk that is too short":  post("Transfer-Encoding: chunked\r\n", "2\r\nxxxx\r\n0\r\n\r\n"),
		"chunks with long notes":     post("Transfer-Encoding: chunked\r\n", strings.Repeat("1;"+strings.Repeat("x", 3000)+"\r\nx\r\n", 20)+"0\r\n\r\n"),
		"very many small chunks":     post("Transfer-Encoding: chunked\r\n", strings.Repeat("1\r\nx\r\n", 70<<10)+"0\r\n\r\n"),
		"chunks of another kind":     post("Transfer-Encoding: chunked\r\n", "5\nemail\n0\n\n\r\n\r\n"),
		"too much":                   post(fmt.Sprintf("Content-Length: %d\r\n", web.BodyLimit+1), strings.Repeat("x", web.BodyLimit+1)),
		"too much announced":         post("Content-Length: 999999999999\r\nExpect: 100-continue\r\n", ""),
		"no type":                    "POST /login HTTP/1.1\r\n" + hostLine + "Content-Length: 5\r\n\r\nemail",
		"a type that is none":        "POST /login HTTP/1.1\r\n" + hostLine + "Content-Type: ;;;\r\nContent-Length: 5\r\n\r\nemail",
		"two types":                  "POST /login HTTP/1.1\r\n" + hostLine + "Content-Type: text/plain\r\n" + formLine + "Content-Length: 5\r\n\r\nemail",
		"a packed body":              post("Content-Encoding: gzip\r\nContent-Length: 10\r\n", "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x00"),
		"an unfinished multipart":    "POST /login HTTP/1.1\r\n" + hostLine + "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 3\r\n\r\n--x",

		// Old and other ways.
		"HTTP/1.0, no such page":    "GET /nowhere HTTP/1.0\r\n\r\n",
		"a proxy's request":         "GET http://evil.example/nowhere HTTP/1.1\r\nHost: evil.example\r\n\r\n",
		"an upgrade to nothing":     get("/nowhere", "Connection: Upgrade\r\nUpgrade: websocket\r\n"),
		"HTTP/2 by upgrade":         get("/nowhere", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"),
		"ranges":                    get("/nowhere", "Range: bytes=0-0,1-1,2-2,-1,-2,99999999999999999999-\r\n"),
		"cookies beyond count":      get("/nowhere", "Cookie: "+strings.Repeat("a=b; ", 5000)+"\r\n"),
		"a way up":                  get("/../../../../etc/passwd", ""),
		"a way up in escapes":       get("/%2e%2e/%2e%2e/etc/passwd", ""),
		"a way up in other escapes": get("/..%2f..%2f..%5cetc%5cpasswd", ""),
		"a way up twice escaped":    get("/%252e%252e/etc/passwd", ""),
		"a zero byte in escapes":    get("/login%00.css", ""),
		"double slashes":            get("//login//", ""),
		"a semicolon":               get("/login;jsessionid=1", ""),
		"a dot at the end":          get("/login.", ""),
		"a backslash":               get("/\\login", ""),
		"full-width letters":        get("/%EF%BD%8C%EF%BD%8F%EF%BD%87%EF%BD%89%EF%BD%8E", ""),
		"overlong UTF-8":            get("/%c0%af%c0%ae%c0%ae/", ""),
		"another case":              get("/LOGIN", ""),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			status, body, err := s.raw(text)
			if err != nil && status == 0 { // hung up without a word: as good
				if e, ok := err.(net.Error); ok && e.Timeout() {
					t.Errorf("no answer within %v", promptly)
				}
				return
			}
			if status == 501 || status == 505 { // net/http's own words for what HTTP leaves to the server
				if !strings.Contains(name, "encoding") && !strings.Contains(name, "chunked") && !strings.Contains(name, "HTTP/") {
					t.Errorf("status %d: %q", status, body)
				}
				return
			}
			if status < 400 || status > 499 {
				t.Errorf("status %d, want 4xx or a closed connection: %.200q", status, body)
			}
			if strings.Contains(body, "goroutine") || strings.Contains(body, "root:") {
				t.Errorf("the answer tells what is not for visitors: %.200q", body)
			}
		})
	}
	t.Cleanup(func() {
		if log := s.log.String(); strings.Contains(log, "level=ERROR") || strings.Contains(log, "panic") {
			t.Errorf("an odd request was an error of ours: %s", log)
		}
	})
}

// TestSmuggledRequests hides a second request in the body of the first.
func TestSmuggledRequests(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	const second = "GET /fail/address HTTP/1.1\r\nHost: x\r\n\r\n"
	for name, headers := range map[string]string{
		"length and chunks":         fmt.Sprintf("Content-Length: %d\r\nTransfer-Encoding: chunked\r\n", len(second)+5),
		"chunks and length":         fmt.Sprintf("Transfer-Encoding: chunked\r\nContent-Length: %d\r\n", len(second)+5),
		"chunks with a space":       fmt.Sprintf("Transfer-Encoding : chunked\r\nContent-Length: %d\r\n", len(second)+5),
		"chunks in another case":    fmt.Sprintf("Transfer-Encoding: Chunked\r\nContent-Length: %d\r\n", len(second)+5),
		"chunks after a line break": fmt.Sprintf("Transfer-Encoding:\r\n chunked\r\nContent-Length: %d\r\n", len(second)+5),
	} {
		conn, err := net.Dial("tcp", s.server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(promptly)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, "POST /login HTTP/1.1\r\n"+hostLine+formLine+headers+"\r\n0\r\n\r\n"+second); err != nil {
			t.Fatal(err)
		}
		answers, statuses := bufio.NewReader(conn), []int{}
		for {
			resp, err := http.ReadResponse(answers, nil)
			if err != nil {
				break
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			statuses = append(statuses, resp.StatusCode)
		}
		_ = conn.Close()
		if len(statuses) > 1 {
			t.Errorf("%s: the hidden request was answered: %v", name, statuses)
		}
	}
	if log := s.log.String(); strings.Contains(log, "/fail/address") {
		t.Error("a hidden request was let in")
	}
}

// TestSlowVisitorsCantHoldThePortal opens many connections that never say what they want, and looks whether others
// are served meanwhile and whether all of them are dropped.
func TestSlowVisitorsCantHoldThePortal(t *testing.T) {
	t.Parallel()
	s := open(t, func(o *web.Options) {
		o.HeaderTimeout, o.ReadTimeout, o.WriteTimeout = 400*time.Millisecond, 600*time.Millisecond, 600*time.Millisecond
	})
	begin := []string{
		"", "G", "GET /login HTTP/1.1\r\n", "GET /login HTTP/1.1\r\nHost: x\r\nX-A: ", "POST /login HTTP/1.1\r\nHost: x\r\n" + formLine + "Content-Length: 1000\r\n\r\nemail=",
		"POST /login HTTP/1.1\r\nHost: x\r\n" + formLine + "Transfer-Encoding: chunked\r\n\r\n5\r\nema", "POST /login HTTP/1.1\r\nHost: x\r\n" + formLine + "Transfer-Encoding: chunked\r\n\r\n",
		"POST /login HTTP/1.1\r\nHost: x\r\n" + formLine + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nxx",
		"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n", "POST /login HTTP/1.1\r\nHost: x\r\n" + formLine + "Expect: 100-continue\r\nContent-Length: 1000\r\n\r\n",
	}
	ended := make(chan error, 20*len(begin))
	for i := range cap(ended) {
		conn, err := net.Dial("tcp", s.server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		go func() {
			if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
				ended <- err
				return
			}
			text := begin[i%len(begin)]
			if _, err := io.WriteString(conn, text); err != nil {
				ended <- err
				return
			}
			if strings.HasSuffix(text, "X-A: ") || strings.HasSuffix(text, "email=") {
				go func() { // a byte now and then
					for range 200 {
						if _, err := io.WriteString(conn, "x"); err != nil {
							return
						}
						time.Sleep(20 * time.Millisecond)
					}
				}()
			}
			_, err := io.Copy(io.Discard, conn)
			if e, ok := err.(net.Error); ok && e.Timeout() {
				ended <- fmt.Errorf("%.60q: still open after 20 s", text)
				return
			}
			ended <- nil
		}()
	}
	a := s.get(s.browser(), "/login")
	a.want(t, "somebody else meanwhile", 200, "sign in")
	for range cap(ended) {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if log := s.log.String(); strings.Contains(log, "level=ERROR") || strings.Contains(log, "panic") {
		t.Errorf("a slow visitor was an error of ours: %s", log)
	}
}

// TestLogLinesCantBeForged sends line breaks and terminal codes wherever the access log looks.
func TestLogLinesCantBeForged(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	b := s.browser()
	before := strings.Count(s.log.String(), "\n")
	n := 0
	for _, path := range []string{
		"/%0a", "/%0d%0atime=2026-11-20T02:00:00Z%20level=ERROR%20msg=forged", "/%1b%5b31m", "/%22%20status=200%20x=%22", "/%e2%80%a8", "/%c2%85", "/%e2%80%ae", "/%00", "/%ff%fe",
	} {
		s.get(b, path)
		n++
	}
	s.do(b, "POST", "/login", "email=a%0alevel=ERROR&password=b%0alevel=ERROR")
	lines := strings.Split(strings.TrimSpace(s.log.String()), "\n")[before:]
	if len(lines) != 2*n+3 { // a failed request and an access line each, and the refused sign-in
		t.Errorf("%d lines: %s", len(lines), strings.Join(lines, "\n"))
	}
	for _, line := range lines {
		unquoted := regexp.MustCompile(`"(\\.|[^"\\])*"`).ReplaceAllString(line, "")
		if !strings.HasPrefix(line, "time=") || strings.Contains(unquoted, "ERROR") || strings.ContainsAny(line, "\x1b\x00\r\u2028\u0085\u202e") {
			t.Errorf("forged: %q", line)
		}
	}
}
