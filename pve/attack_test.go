package pve

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

const canary = "00c0ffee-cafe-4bad-8bad-00000000cafe"

func withCanary(c *Config) { c.Secret = canary }

// told is all that an error says to whoever prints it, in whichever way.
func told(v any, err error) string {
	all := fmt.Sprintf("%v %+v %#v", v, v, v)
	for ; err != nil; err = errors.Unwrap(err) {
		all += fmt.Sprintf(" %v %+v %#v", err, err, err)
	}
	return all
}

// TestTheSecretIsNotRepeated lets a server, or a proxy in front of it, put the request into its answer.
func TestTheSecretIsNotRepeated(t *testing.T) {
	t.Parallel()
	for _, status := range []int{200, 301, 400, 401, 403, 404, 500, 501, 595, 599} {
		for name, body := range map[string]string{
			"nothing": "%.0s", "as it is": "%s", "a page": "<pre>%s</pre>", "message": `{"message":"%s","data":null}`, "data": `{"data":"%s"}`, "a list": `{"data":[{"upid":"%s","type":"%[1]s","node":"%[1]s"}]}`,
			"errors": `{"errors":{"vmid":"%s","%[1]s":"x"},"data":null}`, "broken": `{"data":%s`, "a UPID": `{"data":"UPID:pve1:%s:"}`,
		} {
			for _, k := range calls {
				sent := ""
				c := clientOver(t, answers(func(r *http.Request) (*http.Response, error) {
					sent = r.Header.Get("Authorization")
					return answer(status, "no ticket "+sent, []byte(fmt.Sprintf(body, sent))), nil
				}), withCanary)
				v, err := k.do(context.Background(), c)
				if !strings.Contains(sent, canary) {
					t.Fatalf("%s: the secret was not even sent: %q", k.name, sent)
				}
				if said := told(v, err); strings.Contains(said, canary) {
					t.Fatalf("%s, %d, %s: %s", k.name, status, name, said)
				}
			}
		}
	}
}

// TestTheSecretIsNotRepeatedByTheNetwork lets a server answer with the request instead of HTTP.
func TestTheSecretIsNotRepeatedByTheNetwork(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]string{"no HTTP": "", "a status line": "HTTP/1.1 ", "a header": "HTTP/1.1 200 OK\r\n", "a length": "HTTP/1.1 200 OK\r\nContent-Length: ", "an encoding": "HTTP/1.1 200 OK\r\nTransfer-Encoding: "} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				if r, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					_, _ = fmt.Fprintf(conn, "%s%s\r\n\r\n", begin, r.Header.Get("Authorization"))
				}
				_ = conn.Close()
			}
		}()
		for _, call := range []string{"Version", "DeleteArchive"} {
			for _, k := range calls {
				if k.name != call {
					continue
				}
				c, err := New(Config{Endpoints: []string{"http://" + l.Addr().String()}, TokenID: "portal@pve!api", Secret: canary, Now: func() time.Time { return now }, Fingerprints: []string{strings.Repeat("ab", 32)}, RetryPause: 1})
				if err != nil {
					t.Fatal(err)
				}
				v, err := k.do(context.Background(), c)
				c.Close()
				if err == nil {
					t.Errorf("%s, %s: no error", name, call)
				}
				if said := told(v, err); strings.Contains(said, canary) {
					t.Errorf("%s, %s: %s", name, call, said)
				}
			}
		}
		_ = l.Close()
		<-done
	}
}
