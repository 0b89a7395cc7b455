package pve

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// overNetwork makes a client with the real transports.
func overNetwork(t testing.TB, more func(*Config), endpoints ...string) *Client {
	t.Helper()
	return clientOver(t, nil, func(cfg *Config) {
		cfg.Endpoints = endpoints
		cfg.Now = time.Now
		if more != nil {
			more(cfg)
		}
	})
}

func serve(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Start()
	t.Cleanup(s.Close)
	return s.URL
}

// ways in which the answer to a change gets lost after the server has seen the change.
var lostAnswers = map[string]http.HandlerFunc{
	"connection closed": func(w http.ResponseWriter, _ *http.Request) { cut(w, "") },
	"connection reset": func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = conn.Close()
	},
	"half an answer": func(w http.ResponseWriter, _ *http.Request) {
		cut(w, "HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{\"data\":")
	},
	"half a header":     func(w http.ResponseWriter, _ *http.Request) { cut(w, "HTTP/1.1 200 O") },
	"no HTTP":           func(w http.ResponseWriter, _ *http.Request) { cut(w, "SSH-2.0-OpenSSH_9.2\r\n\r\n") },
	"no JSON":           func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") },
	"no answer in time": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	"596 from the proxy": func(w http.ResponseWriter, _ *http.Request) {
		cut(w, "HTTP/1.1 596 Broken pipe\r\nContent-Length: 0\r\n\r\n")
	},
	"595 from the proxy": func(w http.ResponseWriter, _ *http.Request) {
		cut(w, "HTTP/1.1 595 Connection refused\r\nContent-Length: 0\r\n\r\n")
	},
	"502 from a gateway": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "bad gateway", http.StatusBadGateway) },
	"no worker": func(w http.ResponseWriter, _ *http.Request) {
		cut(w, "HTTP/1.1 500 got no worker upid - start worker failed\r\nContent-Length: 0\r\n\r\n")
	},
	"a redirect": func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	},
	"too large an answer": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(bytes.Repeat([]byte(" "), plainAnswer+1)) },
}

func cut(w http.ResponseWriter, said string) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	_, _ = io.WriteString(conn, said)
	_ = conn.Close()
}

// A change is sent once, whatever becomes of its answer, and the caller hears that it may have happened.
func TestEveryChangeIsSentExactlyOnce(t *testing.T) {
	t.Parallel()
	for lost, h := range lostAnswers {
		for _, k := range calls {
			if !k.mutation {
				continue
			}
			t.Run(lost+"/"+k.name, func(t *testing.T) {
				t.Parallel()
				var s seen
				url := serve(t, func(w http.ResponseWriter, r *http.Request) {
					s.add(r)
					_, _ = io.Copy(io.Discard, r.Body)
					h(w, r)
				})
				c := overNetwork(t, nil, url, url) // a second endpoint must not get it either
				ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
				if lost == "no answer in time" {
					ctx, cancel = context.WithTimeout(context.Background(), 50*time.Millisecond)
				}
				defer cancel()
				_, err := k.do(ctx, c)
				if ClassOf(err) != Ambiguous {
					t.Errorf("got %v", err)
				}
				if n := s.count(); n != 1 {
					t.Errorf("%d requests: %v", n, s.all())
				}
			})
		}
	}
}

// A good answer and a refusal are one request as well.
func TestAnsweredChangesAreSentOnce(t *testing.T) {
	t.Parallel()
	for _, k := range calls {
		if !k.mutation {
			continue
		}
		for _, status := range []int{200, 400, 401, 403, 500, 501} {
			var s seen
			url := serve(t, func(w http.ResponseWriter, r *http.Request) {
				s.add(r)
				w.WriteHeader(status)
				_, _ = io.WriteString(w, `{"data":"`+upidText+`","errors":null,"message":null}`)
			})
			_, err := k.do(context.Background(), overNetwork(t, nil, url))
			if (err == nil) != (status == 200) || (err != nil && ClassOf(err) != Refused) {
				t.Errorf("%s, %d: %v", k.name, status, err)
			}
			if n := s.count(); n != 1 {
				t.Errorf("%s, %d: %d requests", k.name, status, n)
			}
		}
	}
}

// Nobody listens: nothing was sent, and that is certain.
func TestAChangeThatNeverLeft(t *testing.T) {
	t.Parallel()
	closed := "http://" + freePort(t)
	for _, k := range calls {
		if k.mutation {
			if _, err := k.do(context.Background(), overNetwork(t, nil, closed)); ClassOf(err) != Unreachable {
				t.Errorf("%s: %v", k.name, err)
			}
		}
	}
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	var s seen
	url := serve(t, func(_ http.ResponseWriter, r *http.Request) { s.add(r) })
	err := overNetwork(t, nil, url).StopTask(gone, upid)
	if ClassOf(err) != Unreachable || !errors.Is(err, context.Canceled) || s.count() != 0 {
		t.Errorf("%v after %d requests", err, s.count())
	}
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// Questions are asked again after a broken connection, at most twice.
func TestQuestionsAreAskedAgain(t *testing.T) {
	t.Parallel()
	for _, k := range []struct {
		lost  string
		times int
	}{
		{"connection closed", 3}, {"connection reset", 3}, {"half an answer", 3}, {"no HTTP", 3},
		{"no JSON", 1}, {"596 from the proxy", 1}, {"595 from the proxy", 1}, {"502 from a gateway", 1}, {"a redirect", 1}, {"too large an answer", 1},
	} {
		t.Run(k.lost, func(t *testing.T) {
			t.Parallel()
			var s seen
			url := serve(t, func(w http.ResponseWriter, r *http.Request) { s.add(r); lostAnswers[k.lost](w, r) })
			_, err := overNetwork(t, nil, url).Version(context.Background())
			if ClassOf(err) != Unreachable {
				t.Errorf("%v", err)
			}
			if n := s.count(); n != k.times {
				t.Errorf("%d requests, want %d", n, k.times)
			}
		})
	}
	t.Run("then it works", func(t *testing.T) {
		t.Parallel()
		var s seen
		url := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if s.add(r) < 3 {
				cut(w, "")
				return
			}
			_, _ = io.WriteString(w, `{"data":{"version":"9.2.11","release":"9.2"}}`)
		})
		v, err := overNetwork(t, nil, url).Version(context.Background())
		if err != nil || v.Major != 9 {
			t.Errorf("%v %v", v, err)
		}
	})
	t.Run("a slow server is asked once", func(t *testing.T) {
		t.Parallel()
		var s seen
		rt := answers(func(r *http.Request) (*http.Response, error) {
			s.add(r)
			return nil, context.DeadlineExceeded
		})
		if _, err := clientOver(t, rt).Version(context.Background()); ClassOf(err) != Unreachable || s.count() != 1 {
			t.Errorf("%v after %d requests", err, s.count())
		}
	})
}

// The first endpoint is dead: questions find the second one and stay with it, and so do changes.
func TestEndpointsTakeOver(t *testing.T) {
	t.Parallel()
	var s seen
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		s.add(r)
		_, _ = io.WriteString(w, `{"data":{"version":"9.2.11"}}`)
	})
	c := overNetwork(t, nil, "http://"+freePort(t), url)
	if err := c.StopTask(context.Background(), upid); ClassOf(err) != Unreachable {
		t.Errorf("a change tries one endpoint only: %v", err)
	}
	for range 2 {
		if _, err := c.Version(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.StopTask(context.Background(), upid); err != nil {
		t.Errorf("a change goes where the last answer came from: %v", err)
	}
	if n := s.count(); n != 3 {
		t.Errorf("%d requests: %v", n, s.all())
	}

	// One whose own daemon is down answers 595 for everything: the other one is asked.
	down := serve(t, lostAnswers["595 from the proxy"])
	if _, err := overNetwork(t, nil, down, url).Version(context.Background()); err != nil {
		t.Error(err)
	}
}

// The caller stops waiting: the call returns at once, and a change may have happened.
func TestCancelReturnsAtOnce(t *testing.T) {
	t.Parallel()
	for _, k := range calls {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(context.Background())
			url := serve(t, func(_ http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				cancel()
				<-r.Context().Done()
			})
			began := time.Now()
			_, err := k.do(ctx, overNetwork(t, nil, url))
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("took %s", took)
			}
			want := Unreachable
			if k.mutation {
				want = Ambiguous
			}
			if ClassOf(err) != want || !errors.Is(err, context.Canceled) {
				t.Errorf("%v", err)
			}
		})
	}
}

// Changes get a connection of their own each; questions share.
func TestConnections(t *testing.T) {
	t.Parallel()
	var conns atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"data":{"version":"9.2.11"}}`)
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	c := overNetwork(t, nil, s.URL)
	for range 5 {
		if _, err := c.Version(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if n := conns.Load(); n != 1 {
		t.Errorf("5 questions over %d connections", n)
	}
	for range 5 {
		if err := c.StopTask(context.Background(), upid); err != nil {
			t.Fatal(err)
		}
	}
	if n := conns.Load(); n != 6 {
		t.Errorf("5 changes over %d connections", n-1)
	}
}

func TestListingsMayBeLarge(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(`{"data":[`)
	for i := range 20000 {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`{"volid":"local:backup/vzdump-qemu-110-2026_11_20-11_01_40.vma.zst","size":1,"content":"backup","vmid":110,"ctime":1795172500}`)
	}
	b.WriteString(`]}`)
	got, err := clientOver(t, always(200, "OK", b.String())).Archives(context.Background(), "pve1", "local", 0)
	if err != nil || len(got) != 20000 {
		t.Fatalf("%d archives, %v", len(got), err)
	}
	_, err = clientOver(t, always(200, "OK", b.String())).StorageStatus(context.Background(), "pve1", "local")
	if ClassOf(err) != Unreachable || !strings.Contains(err.Error(), "larger") {
		t.Errorf("a status of %d bytes: %v", b.Len(), err)
	}
}

// oddBodies are answers that nobody should give.
var oddBodies = []string{
	``, ` `, "\n", `null`, `true`, `7`, `"x"`, `[]`, `[1]`, `{}`, `{"data":null}`, `{"data":[]}`, `{"data":[null]}`, `{"data":[[]]}`, `{"data":{}}`, `{"data":"x"}`,
	`{"data":"UPID:"}`, `{"data":"UPID:pve1:zz:zz:zz:a:b:c:"}`, `{"data":7.5}`, `{"data":[{"vmid":"110","type":"qemu"}]}`, `{"data":[{"vmid":{},"type":[],"node":7}]}`,
	`{"data":[{"vmid":-1,"type":"qemu","node":"x"}]}`, `{"data":[{"upid":7,"starttime":"x"}]}`, `{"data":{"ha":7,"uptime":-5,"pid":"x"}}`, `{"data":{"status":null}}`,
	`{"errors":null}`, `{"errors":[],"message":7}`, `{"errors":{"a":null,"b":{},"c":[1]},"message":{}}`, `{"errors":"x"}`, `{"message":null,"data":null,"errors":null}`,
	`{"data":{"n":"x","t":null},"total":"many"}`, `{"data":[{"n":1e400,"t":7}],"total":-5}`, "{\"data\":\"\xff\xfe\"}", `{"data":`, `<html>`, `{"data":{"scsi0":{},"net0":[],"unused0":7}}`,
	strings.Repeat(`[`, 5000), `{"data":` + strings.Repeat(`[`, 9990) + strings.Repeat(`]`, 9990) + `}`,
}

// No body, however odd, makes a call panic, hang or repeat a change.
func TestOddBodies(t *testing.T) {
	t.Parallel()
	for _, status := range []int{200, 204, 400, 401, 500, 595} {
		for _, body := range oddBodies {
			for _, k := range calls {
				var s seen
				c := clientOver(t, answers(func(r *http.Request) (*http.Response, error) {
					s.add(r)
					return answer(status, "", []byte(body)), nil
				}))
				_, err := k.do(context.Background(), c)
				var e *Error
				if err != nil && (!errors.As(err, &e) || e.Class == "") {
					t.Errorf("%s, %d %s: %v is no error of ours", k.name, status, clip(body, 80), err)
				}
				if status >= 400 && err == nil {
					t.Errorf("%s, %d: no error", k.name, status)
				}
				if n := s.count(); n != 1 {
					t.Errorf("%s, %d %s: %d requests", k.name, status, clip(body, 80), n)
				}
			}
		}
	}
}

func FuzzAnswers(f *testing.F) {
	for _, body := range oddBodies[:34] {
		f.Add(200, "OK", []byte(body))
		f.Add(500, "VM is locked (backup)", []byte(body))
	}
	for _, body := range seeds(f, "error") {
		f.Add(400, "Parameter verification failed.", []byte(body))
	}
	f.Fuzz(func(t *testing.T, status int, phrase string, body []byte) {
		if status < 100 || status > 999 {
			return
		}
		c := clientOver(t, answers(func(*http.Request) (*http.Response, error) { return answer(status, phrase, body), nil }))
		for _, k := range calls {
			_, err := k.do(context.Background(), c)
			if err != nil && ClassOf(err) == "" {
				t.Errorf("%s: %v", k.name, err)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: more than a line: %q", k.name, err)
			}
			if (status < 200 || status > 299) && err == nil {
				t.Errorf("%s: %d is a success", k.name, status)
			}
		}
	})
}

// A transport that breaks its contract is no reason to fall over either.
func TestAPanickingTransport(t *testing.T) {
	t.Parallel()
	rt := answers(func(*http.Request) (*http.Response, error) { panic("no") })
	for _, k := range calls {
		_, err := k.do(context.Background(), clientOver(t, rt))
		if want := map[bool]Class{false: Unreachable, true: Ambiguous}[k.mutation]; ClassOf(err) != want {
			t.Errorf("%s: %v", k.name, err)
		}
	}
}

// What staff read when the server can't be reached.
func TestUnreachableIsExplained(t *testing.T) {
	t.Parallel()
	for want, endpoint := range map[string]string{
		"no connection: connect: connection refused": "https://" + freePort(t),
		"the server does not speak TLS on this port": strings.Replace(serve(t, http.NotFound), "http:", "https:", 1),
		"the server closed the connection":           serve(t, lostAnswers["connection closed"]),
	} {
		_, err := overNetwork(t, nil, endpoint).Version(context.Background())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q in %v", want, err)
		}
	}
}
