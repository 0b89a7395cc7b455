package handlers_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"stowage/handlers"
	"stowage/portal"
	"stowage/store"
)

// event is one server-sent event.
type event struct{ name, data string }

// stream is an open event stream.
type stream struct {
	t      *testing.T
	status int
	events chan event // closed at the stream's end
	stop   context.CancelFunc
}

func (v *visitor) listen(path string) *stream {
	v.s.t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(v.s.t.Context()))
	r, err := http.NewRequestWithContext(ctx, "GET", v.s.server.URL+path, nil)
	v.s.must(err)
	r.Header.Set("Accept", "text/event-stream")
	resp, err := v.Do(r)
	v.s.must(err)
	st := &stream{t: v.s.t, status: resp.StatusCode, events: make(chan event, 1000), stop: cancel}
	v.s.t.Cleanup(cancel)
	if resp.StatusCode == http.StatusOK && (resp.Header.Get("Content-Type") != "text/event-stream" || resp.Header.Get("Content-Encoding") != "") {
		v.s.t.Errorf("headers: %v", resp.Header)
	}
	go func() {
		defer close(st.events)
		defer resp.Body.Close()
		var e event
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			switch line := lines.Text(); {
			case line == "":
				if e.name != "" {
					st.events <- e
				}
				e = event{}
			case strings.HasPrefix(line, "event: "):
				e.name = strings.TrimPrefix(line, "event: ")
			case strings.HasPrefix(line, "data: "):
				e.data += strings.TrimPrefix(line, "data: ") + "\n"
			}
		}
	}()
	return st
}

// until waits for an event of the name whose data contains the text, and gives the names of those before it.
func (st *stream) until(name, text string) (before []string) {
	st.t.Helper()
	enough := time.After(20 * time.Second)
	for {
		select {
		case e, ok := <-st.events:
			if !ok {
				st.t.Fatalf("the stream ended before %s with %q", name, text)
			}
			if e.name == name && strings.Contains(e.data, text) {
				return before
			}
			before = append(before, e.name)
		case <-enough:
			st.t.Fatalf("no event %s with %q; there were %v", name, text, before)
		}
	}
}

// ends waits for the end of the stream.
func (st *stream) ends() {
	st.t.Helper()
	enough := time.After(20 * time.Second)
	for {
		select {
		case _, ok := <-st.events:
			if !ok {
				return
			}
		case <-enough:
			st.t.Fatal("the stream does not end")
		}
	}
}

func TestProgressReachesOpenPages(t *testing.T) {
	t.Parallel()
	s := open(t, func(o *handlers.Options) { o.Recheck = time.Hour }) // only the bell counts
	v := s.as("ada@demo.test")
	page, overview := v.listen("/services/"+s.h100.UID+"/events?page=backups"), v.listen("/services/"+s.h100.UID+"/events?page=service")
	page.until("ledger", "Last 30 days") // the whole page comes once, the ledger last
	overview.until("recent", "Nothing has happened here yet")

	op := s.begin(s.h100, "live")
	page.until("running", "Writing the copy")
	of := v.listen("/services/" + s.h100.UID + "/events?page=operation&operation=" + op.UID)
	of.until("operation", `data-state="running"`)
	for i, percent := range []int{10, 37, 63} {
		op.Percent, op.DoneBytes, op.TotalBytes, op.Rate = percent, int64(percent)<<30, 100<<30, 200<<20
		s.must(s.db.Save(t.Context(), "progress", &op, store.Changes{}))
		for name, st := range map[string]*stream{"running": page, "operation": of} {
			before := st.until(name, fmt.Sprintf("%d %%", percent))
			if i > 0 && len(before) > 0 {
				t.Errorf("progress alone sends %v as well", before)
			}
		}
	}
	b, err := s.db.Backup(t.Context(), op.BackupID)
	s.must(err)
	b.Class, b.Size, b.EndedAt, b.Volid = portal.ClassGood, 4<<30, s.db.Now(), "local:backup/vzdump-qemu-100-x.vma.zst"
	op.State, op.EndedAt, op.Reason, op.DumpPlace = portal.StateSucceeded, s.db.Now(), "The backup is in your list.", ""
	s.must(s.db.Save(t.Context(), "end", &op, store.Changes{Backup: &b}))
	page.until("counter", "1/3")
	page.until("list", `data-backup="`+b.UID+`" data-state="good"`)
	overview.until("recent", "The backup is in your list.")
	of.until("operation", `data-state="succeeded"`)
}

func TestOpenPagesAreLookedAtWithoutTheBell(t *testing.T) {
	t.Parallel()
	s := open(t)
	v := s.as("ada@demo.test")
	st := v.listen("/services/" + s.h100.UID + "/events")
	st.until("ledger", "")
	other := s.second()
	if _, err := other.Enqueue(t.Context(), s.ada.ID, s.h100.UID, portal.ManualBackup("cli", "from a command", "")); err != nil {
		t.Fatal(err)
	}
	st.until("running", "from a command")
	if !s.db.IsWatched(s.h100.ID) {
		t.Error("an open page does not watch its service")
	}
	st.stop()
	for range 1000 {
		if !s.db.IsWatched(s.h100.ID) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("the watch outlives the page")
}

func TestHeartbeat(t *testing.T) {
	t.Parallel()
	s := open(t, func(o *handlers.Options) { o.Heartbeat = 30 * time.Millisecond })
	st := s.as("ada@demo.test").listen("/services/" + s.h100.UID + "/events")
	st.until("ping", "")
	st.until("ping", "")
}

func TestStreamsEndWithTheSession(t *testing.T) {
	t.Parallel()
	s := open(t)
	v := s.as("ada@demo.test")
	events := "/services/" + s.h100.UID + "/events"
	if st := s.visitor().listen(events); st.status != http.StatusUnauthorized {
		t.Errorf("without a session: %d, want 401", st.status)
	}
	st := v.listen(events)
	st.until("ledger", "")
	v.post("/logout").wantTo("/login")
	st.ends()
	if st := v.listen(events); st.status != http.StatusUnauthorized {
		t.Errorf("after signing out: %d, want 401", st.status)
	}

	v = s.as("ada@demo.test")
	st = v.listen(events)
	st.until("ledger", "")
	if _, err := s.db.EndSessions(t.Context(), "cli", "ada@demo.test"); err != nil {
		t.Fatal(err)
	}
	st.ends()

	v = s.as("ada@demo.test")
	st = v.listen(events)
	st.until("ledger", "")
	s.clock.pass(3 * time.Hour) // nobody asked for a page: an open stream keeps no session alive
	st.ends()
}

func TestStreamsPerLoginAreBounded(t *testing.T) {
	t.Parallel()
	s := open(t, func(o *handlers.Options) { o.Streams = 2 })
	v := s.as("ada@demo.test")
	events := "/services/" + s.h100.UID + "/events"
	first, second := v.listen(events), v.listen(events)
	first.until("ledger", "")
	second.until("ledger", "")
	if st := v.listen(events); st.status != http.StatusTooManyRequests {
		t.Errorf("the third: %d, want 429", st.status)
	}
	if st := s.as("reader@demo.test").listen(events); st.status != http.StatusOK {
		t.Errorf("another login's first: %d", st.status)
	}
	first.stop()
	for range 1000 {
		if st := v.listen(events); st.status == http.StatusOK {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("a closed page keeps its place")
}
