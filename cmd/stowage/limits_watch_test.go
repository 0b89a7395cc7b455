package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stowage/portal"
	"stowage/pve/pvesim"
)

// byHand is a click on "Back up now".
func byHand() portal.Request { return portal.ManualBackup("client:limits", "", "") }

// address waits until the portal answers.
func (s *yard) address(p *program) string {
	s.t.Helper()
	return p.says(&p.log, `"msg":"listening","url":"([^"]+)"`)
}

// watcher is an open page, and when it has learned of what.
type watcher struct {
	service, backup, token string
	events                 atomic.Int64
	mu                     sync.Mutex
	seen                   map[string]time.Time // by what a note said
}

var watchedNote = regexp.MustCompile(`limits-\d+`)

var watching = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 20, DisableCompression: true}}

// listen opens the event stream of the backups page until ctx ends.
func (w *watcher) listen(t *testing.T, ctx context.Context, address string) {
	t.Helper()
	r, err := visit{path: "/services/" + w.service + "/events?page=backups", token: w.token}.request(ctx, address)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := watching.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("an event stream answers %s", resp.Status)
	}
	go func() {
		defer resp.Body.Close()
		lines := bufio.NewReaderSize(resp.Body, 4096)
		for {
			line, err := lines.ReadSlice('\n')
			now := time.Now()
			if strings.HasPrefix(string(line), "event: ") {
				w.events.Add(1)
			}
			for _, note := range watchedNote.FindAll(line, -1) {
				w.mu.Lock()
				if _, known := w.seen[string(note)]; !known {
					w.seen[string(note)] = now
				}
				w.mu.Unlock()
			}
			if err != nil && err != bufio.ErrBufferFull {
				return
			}
		}
	}()
}

// changeAndSee writes notes, twenty a second, and gives how long each took from the click to the open page, and how many
// never came.
func changeAndSee(t *testing.T, address string, open []*watcher, changes int) (took []time.Duration, lost int) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 7))
	type change struct {
		w    *watcher
		note string
		at   time.Time
	}
	all := make([]change, changes)
	var under sync.WaitGroup
	began := time.Now()
	for i := range all {
		at := began.Add(time.Duration(i) * 50 * time.Millisecond)
		time.Sleep(time.Until(at))
		c := change{open[r.IntN(len(open))], fmt.Sprintf("limits-%d", i), at}
		all[i] = c
		under.Go(func() {
			body := strings.NewReader(url.Values{"note": {c.note}}.Encode())
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address+"/services/"+c.w.service+"/backups/"+c.w.backup+"/note", body)
			if err != nil {
				return
			}
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			req.AddCookie(&http.Cookie{Name: "stowage_session", Value: c.w.token})
			resp, err := watching.Transport.RoundTrip(req)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		})
	}
	under.Wait()
	time.Sleep(6 * time.Second) // a page that wasn't told looks by itself after five
	for _, c := range all {
		c.w.mu.Lock()
		at, seen := c.w.seen[c.note]
		c.w.mu.Unlock()
		if !seen {
			lost++
			continue
		}
		took = append(took, at.Sub(c.at))
	}
	return took, lost
}

// askProxmox asks a simulated cluster as an administrator does.
func askProxmox(t *testing.T, address string, into any) {
	t.Helper()
	c := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "PVEAPIToken="+pvesim.SimToken+"="+pvesim.Secret)
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %v", address, resp.Status, err)
	}
}
