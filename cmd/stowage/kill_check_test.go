package main

import (
	"crypto/tls"
	"database/sql"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"stowage/portal"
	"stowage/pve/pvesim"
)

// rows gives what a query finds, each row as its columns joined by a space.
func (k *killWorld) rows(query string, args ...any) (out []string) {
	k.t.Helper()
	rows, err := k.db.QueryContext(k.t.Context(), query, args...)
	if err != nil {
		k.t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	names, err := rows.Columns()
	if err != nil {
		k.t.Fatal(err)
	}
	for rows.Next() {
		fields, into := make([]sql.NullString, len(names)), make([]any, len(names))
		for i := range fields {
			into[i] = &fields[i]
		}
		if err := rows.Scan(into...); err != nil {
			k.t.Fatal(err)
		}
		texts := make([]string, len(fields))
		for i, f := range fields {
			texts[i] = f.String
		}
		out = append(out, strings.Join(texts, " "))
	}
	if err := rows.Err(); err != nil {
		k.t.Fatal(err)
	}
	return out
}

const stillOpen = `SELECT 'operation', o.uid, o.kind, o.state, o.step, o.waits_for, o.staff_reason FROM operations o WHERE o.state IN ('queued', 'running')
	UNION ALL SELECT 'slot', s.uid, l.local_date, l.state, '', '', '' FROM slots l JOIN services s ON s.id = l.service_id WHERE l.state IN ('due', 'running')
	UNION ALL SELECT 'note', uid, '', '', '', '', '' FROM backups WHERE note_due IS NOT NULL AND removed_at IS NULL`

// settle waits until all that was asked for has come to its end. Open pages make that quick.
func (k *killWorld) settle(address string) {
	k.t.Helper()
	began := time.Now()
	for {
		open := k.rows(stillOpen)
		if len(open) == 0 {
			break
		}
		if time.Since(began) > 2*time.Minute {
			k.t.Fatalf("stuck after %s of the portal's time:\n%s", portal.Duration(time.Since(began)*killRate), strings.Join(open, "\n"))
		}
		time.Sleep(200 * time.Millisecond)
	}
	if held := k.rows(`SELECT uid, kind, step, staff_reason FROM operations WHERE state = 'held'`); len(held) > 0 {
		k.t.Errorf("held:\n%s", strings.Join(held, "\n"))
	}
	k.t.Logf("settled within %s, %s of the portal's time, at %s", time.Since(began).Round(100*time.Millisecond), portal.Duration(time.Since(began)*killRate), address)
}

// listed is an archive as Proxmox VE lists it.
type listed struct {
	Volid     string `json:"volid"`
	Notes     string `json:"notes"`
	Protected int    `json:"protected"`
	place     string // node/storage, without the node where the storage is shared
	operation string // of its mark
}

// proxmox asks the simulator as an administrator does.
func (k *killWorld) proxmox(path string, into any) {
	k.t.Helper()
	c := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	req, err := http.NewRequestWithContext(k.t.Context(), http.MethodGet, k.sim+"/api2/json"+path, nil)
	if err != nil {
		k.t.Fatal(err)
	}
	req.Header.Set("Authorization", "PVEAPIToken="+pvesim.SimToken+"="+pvesim.Secret)
	resp, err := c.Do(req)
	if err != nil {
		k.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer := struct{ Data any }{into}
	if err := errors.Join(json.NewDecoder(resp.Body).Decode(&answer)); err != nil || resp.StatusCode != http.StatusOK {
		k.t.Fatalf("%s: %s %v", path, resp.Status, err)
	}
}

var markText = regexp.MustCompile(`stowage:[0-9a-zA-Z]+:[0-9a-z]+:([0-9a-z]+):[0-9a-f]+`)

// archives lists every archive there is.
func (k *killWorld) archives() (all []listed) {
	k.t.Helper()
	for i, node := range k.nodes {
		for _, storage := range []string{"local", "shared"} {
			place := node + "/" + storage
			if storage == "shared" {
				if i > 0 {
					continue
				}
				place = "/" + storage
			}
			var found []listed
			k.proxmox("/nodes/"+node+"/storage/"+storage+"/content?content=backup", &found)
			for _, a := range found {
				a.place = place
				m := markText.FindStringSubmatch(a.Notes)
				if m == nil {
					k.t.Errorf("%s carries no mark: %q", a.Volid, a.Notes)
					continue
				}
				a.operation = m[1]
				all = append(all, a)
			}
		}
	}
	return all
}

// dumps counts, by operation, the backups that Proxmox VE has made to their end.
func (k *killWorld) dumps() map[string]int {
	k.t.Helper()
	made := map[string]int{}
	for _, node := range k.nodes {
		var tasks []struct{ UPID, Status string }
		k.proxmox("/nodes/"+node+"/tasks?source=all&typefilter=vzdump&limit=1000", &tasks)
		for _, task := range tasks {
			var lines []struct{ T string }
			k.proxmox("/nodes/"+node+"/tasks/"+url.PathEscape(task.UPID)+"/log?limit=50", &lines)
			for _, line := range lines {
				if m := markText.FindStringSubmatch(line.T); m != nil {
					if task.Status == "OK" {
						made[m[1]]++
					}
					break
				}
			}
		}
	}
	return made
}

// check holds what the portal says against what Proxmox VE holds, and both against what was promised.
func (k *killWorld) check(p *presser, address string) {
	t := k.t
	t.Helper()
	archives := k.archives()

	// Nothing was made twice.
	byOperation, at := map[string][]string{}, map[string]listed{}
	for _, a := range archives {
		byOperation[a.operation] = append(byOperation[a.operation], a.Volid)
		at[a.place+" "+a.Volid] = a
	}
	for operation, volids := range byOperation {
		if len(volids) > 1 {
			t.Errorf("operation %s has made %v", operation, volids)
		}
	}
	dumps := k.dumps()
	for operation, n := range dumps {
		if n > 1 {
			t.Errorf("operation %s was made %d times", operation, n)
		}
	}

	// What the portal lists is there, and what is there the portal lists.
	live := map[string]string{}
	for _, row := range k.rows(`SELECT b.node || '/' || b.storage || ' ' || b.volid, o.uid, b.protected, b.class FROM backups b LEFT JOIN operations o ON o.id = b.operation_id
		WHERE b.removed_at IS NULL AND b.class <> 'failed'`) {
		f := strings.Fields(row) // place, volid, operation, protected, class
		if len(f) != 5 {
			t.Errorf("a copy without a file or an operation: %s", row)
			continue
		}
		live[f[2]] = f[1]
		switch a, ok := at[f[0]+" "+f[1]]; {
		case !ok:
			t.Errorf("lost: the portal lists %s, which is not there", row)
		case a.operation != f[2]:
			t.Errorf("%s carries the mark of %s", row, a.operation)
		case strconv.Itoa(a.Protected) != f[3]:
			t.Errorf("%s: its protection on the storage is %d", row, a.Protected)
		case f[4] != "good":
			t.Errorf("%s is not good", row)
		}
	}
	for _, a := range archives {
		if live[a.operation] != a.Volid {
			t.Errorf("lost: %s of operation %s has no row", a.Volid, a.operation)
		}
	}
	for _, row := range k.rows(`SELECT o.uid FROM operations o WHERE o.kind = 'backup' AND o.state = 'succeeded'
		AND NOT EXISTS (SELECT 1 FROM backups b WHERE b.operation_id = o.id AND (b.removed_at IS NULL OR b.removed_how IN ('evicted', 'by client')))`) {
		t.Errorf("lost: operation %s succeeded and has no copy", row)
	}
	for _, row := range k.rows(`SELECT o.uid FROM operations o WHERE o.kind = 'backup' AND o.state = 'succeeded'`) {
		if dumps[row] != 1 {
			t.Errorf("operation %s succeeded, and Proxmox VE has made %d backups for it", row, dumps[row])
		}
	}
	if over := k.rows(`SELECT s.uid, count(*) FROM backups b JOIN services s ON s.id = b.service_id WHERE b.removed_at IS NULL AND b.class = 'good' GROUP BY s.id HAVING count(*) > $1`, killQuota); len(over) > 0 {
		t.Errorf("over quota: %v", over)
	}

	// What was promised was done or has ended with a reason; what failed, failed because of the kills.
	notes := k.rows(`SELECT note FROM operations WHERE kind = 'backup' AND slot_date IS NULL`)
	for _, note := range p.backups {
		if !slices.Contains(notes, note) {
			t.Errorf("lost: the backup %q that was promised", note)
		}
	}
	if slices.Sort(notes); len(slices.Compact(slices.Clone(notes))) != len(notes) {
		t.Errorf("pressed once, asked for twice: %v", notes)
	}
	acts := k.rows(`SELECT o.kind, b.uid, o.protect FROM operations o JOIN backups b ON b.id = o.backup_id`)
	for _, a := range p.acts {
		if !slices.Contains(acts, a.kind+" "+a.about+" "+a.value) {
			t.Errorf("lost: %v", a)
		}
	}
	for service, want := range p.schedules {
		if want.kind == "" {
			continue
		}
		if got := k.rows(`SELECT c.zone, json_extract(c.days, '$[0]') FROM schedules c JOIN services s ON s.id = c.service_id WHERE s.uid = $1`, service); len(got) != 1 || !strings.HasPrefix(got[0], want.about+" ") {
			t.Errorf("lost: the schedule of %s, %+v: %v", service, want, got)
		}
	}
	if odd := k.rows(`SELECT s.uid, l.local_date, l.state, l.reason FROM slots l JOIN services s ON s.id = l.service_id WHERE l.state NOT IN ('done', 'late')`); len(odd) > 0 {
		t.Errorf("slots that came to nothing:\n%s", strings.Join(odd, "\n"))
	}

	// The pages say the same.
	for _, service := range k.services {
		status, body, err := ask(p.client, address+"/services/"+service+"/backups", nil)
		if err != nil || status != http.StatusOK {
			t.Fatalf("the backups page: %d %v", status, err)
		}
		want := k.rows(`SELECT count(*) FROM backups b JOIN services s ON s.id = b.service_id WHERE s.uid = $1 AND b.removed_at IS NULL AND b.class = 'good'`, service)[0] + "/" + strconv.Itoa(killQuota)
		if !strings.Contains(body, `data-count="backups">`+want+`<`) {
			t.Errorf("the page of %s does not count %s", service, want)
		}
	}
}
