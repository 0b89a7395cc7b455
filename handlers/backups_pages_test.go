package handlers_test

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestManyCopies holds that a long list comes by pages, that a form brings back to its page, and that an open page is
// sent the part of the list that it shows.
func TestManyCopies(t *testing.T) {
	t.Parallel()
	s := open(t)
	var uids []string
	for n := range 33 {
		uids = append(uids, s.addCopy(s.h100, time.Duration(n+1)*time.Hour, "").UID)
	}
	v := s.as("ada@demo.test")
	rows := func(a answer) (list []string) {
		for _, n := range a.all("data-backup") {
			list = append(list, attr(n, "data-backup"))
		}
		return list
	}
	links := func(a answer) string {
		var list []string
		for _, n := range a.all("rel") {
			if rel := attr(n, "rel"); rel == "prev" || rel == "next" {
				list = append(list, rel+" "+attr(n, "href"))
			}
		}
		return strings.Join(list, " ")
	}
	first := v.get(backups(s.h100)).want(http.StatusOK, "1–30 of 33")
	if got := rows(first); len(got) != 30 || got[0] != uids[0] || links(first) != "next "+backups(s.h100)+"?page=2#backups" {
		t.Errorf("%d rows on the first page; links %q", len(got), links(first))
	}
	for _, page := range []string{"?page=2", "?page=99"} {
		a := v.get(backups(s.h100)+page).want(http.StatusOK, "31–33 of 33")
		if got := strings.Join(rows(a), " "); got != strings.Join(uids[30:], " ") || links(a) != "prev "+backups(s.h100)+"?page=1#backups" {
			t.Errorf("%s: rows %s; links %q", page, got, links(a))
		}
		if !strings.Contains(a.body, "events?page=backups&amp;list=2") || !strings.Contains(a.body, uids[32]+`/note?page=2"`) {
			t.Errorf("%s: stream and forms don't know the page", page)
		}
	}
	v.post(backups(s.h100, uids[32], "note")+"?page=2", "note", "the oldest").wantTo(backups(s.h100) + "?page=2#backup-" + uids[32])
	a := v.post(backups(s.h100, uids[32], "note")+"?page=2", "note", strings.Repeat("x", 300))
	if got := rows(a); a.StatusCode != http.StatusUnprocessableEntity || len(got) != 3 {
		t.Errorf("a refused note: %d with %d rows", a.StatusCode, len(got))
	}
	if v.get(backups(s.h100) + "?page=nonsense").want(http.StatusOK); len(rows(v.get(backups(s.h100)+"?page=-3"))) != 30 {
		t.Error("what is no page is the first")
	}
}
