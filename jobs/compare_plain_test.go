package jobs_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"stowage/portal"
	"stowage/pve/pvesim"
)

// The two plain schedulers of the comparison. Each is what an honest and competent author of a billing system's
// module writes, and no straw man: run by cron every five minutes, one run at a time; it finds the machine through
// the cluster's inventory and leaves a locked one alone; it knows the copies from the storage's listing by vmid; it
// keeps in its own table what it has asked for and for which date it was made; it never deletes a protected copy;
// it switches Proxmox's own pruning off; it writes every failure that it notices into the log that customers and
// staff read; and what was not made today is tried again at the next run. It believes what it is answered.

// cronPace is how often cron runs the module.
const cronPace = 5 * time.Minute

// plain is a module in its cron.
type plain struct {
	w    *walk
	rows map[*tenant]*row // its table: survives the process
	run  func(*plain, *tenant, machineSeen)
}

// row is what the module keeps for a machine.
type row struct {
	doneFor portal.Date // the last date for which a backup is known to be made
	upid    string      // asked for and not yet known to have ended
	node    string
	askedOn portal.Date
}

// machineSeen is a machine as the cluster's inventory shows it.
type machineSeen struct {
	VMID int    `json:"vmid"`
	Node string `json:"node"`
	Lock string `json:"lock"`
}

// processEnds unwinds a process that is killed.
type processEnds struct{}

func newPlain(w *walk, run func(*plain, *tenant, machineSeen)) *plain {
	return &plain{w: w, rows: map[*tenant]*row{}, run: run}
}

// live is the module's life through a walk.
func (p *plain) live() {
	w := p.w
	w.die = func() { panic(processEnds{}) }
	for w.now().Before(w.end) {
		if w.up() {
			func() {
				defer func() {
					if e := recover(); e != nil {
						if _, ends := e.(processEnds); !ends {
							panic(e)
						}
					}
				}()
				p.cron()
			}()
		}
		w.advance(w.now().Truncate(cronPace).Add(cronPace))
	}
}

// sleep waits inside a run. A host that is switched off meanwhile ends it, and so does its end by hand.
func (p *plain) sleep(d time.Duration) {
	p.w.advance(p.w.now().Add(d))
	if !p.w.up() || !p.w.now().Before(p.w.end) {
		panic(processEnds{})
	}
}

// cron is one run.
func (p *plain) cron() {
	var due []*tenant
	for _, t := range p.w.ledger.tenants {
		if !t.to.IsZero() {
			continue
		}
		if t.inBooks.IsZero() {
			t.inBooks = p.w.now()
		}
		if p.rows[t] == nil {
			p.rows[t] = &row{}
		}
		if p.isDue(t) {
			due = append(due, t)
		}
	}
	if len(due) == 0 {
		return
	}
	var all []machineSeen
	err := p.ask("/cluster/resources?type=vm", &all)
	for _, t := range due {
		i := slices.IndexFunc(all, func(m machineSeen) bool { return m.VMID == t.vmid })
		switch {
		case err != nil:
			p.log(t, "Proxmox can't be reached: %v", err)
		case i < 0:
			p.log(t, "the machine was not found")
		case p.isDue(t) && t.to.IsZero(): // a run may have waited for long
			p.run(p, t, all[i])
		}
	}
}

// isDue: the day is enabled, its time is past, and nothing is known to be made for it.
func (p *plain) isDue(t *tenant) bool {
	now := p.today(p.w.own.Now())
	day := t.schedule.Days[now.Weekday()]
	at := portal.TimeOfDay(60*now.Hour() + now.Minute())
	return day.Enabled && at >= day.At && p.rows[t].doneFor != portal.DateOf(now)
}

func (p *plain) today(at time.Time) time.Time {
	loc, err := portal.Zone(walkZone)
	p.w.must(err)
	return at.In(loc)
}

func (p *plain) date() portal.Date { return portal.DateOf(p.today(p.w.own.Now())) }

// log is the module's log, which customers and staff read.
func (p *plain) log(t *tenant, format string, args ...any) {
	t.told = append(t.told, word{p.w.now(), fmt.Sprintf(format, args...)})
}

// fiveSteps is the cron of the documented kind: day enabled, time past, none made today, full? then delete the
// oldest, create.
func fiveSteps(p *plain, t *tenant, m machineSeen) {
	r := p.rows[t]
	if r.upid != "" && !p.ended(t, r) {
		return
	}
	if r.doneFor == p.date() {
		return
	}
	if m.Lock != "" {
		p.log(t, "the machine is locked: %s", m.Lock)
		return
	}
	copies, err := p.copies(t, m)
	if err != nil {
		p.log(t, "the backups can't be listed: %v", err)
		return
	}
	if p.madeToday(copies) {
		r.doneFor = p.date()
		return
	}
	if len(copies) >= t.quota && !p.deleteOldest(t, m, copies) {
		return
	}
	p.create(t, m)
}

// createFirst is the other usual way: create, wait for the end, and rotate out what is over the quota.
func createFirst(p *plain, t *tenant, m machineSeen) {
	r := p.rows[t]
	if m.Lock != "" {
		p.log(t, "the machine is locked: %s", m.Lock)
		return
	}
	copies, err := p.copies(t, m)
	if err != nil {
		p.log(t, "the backups can't be listed: %v", err)
		return
	}
	if !p.madeToday(copies) { // else an earlier run was cut off before it had rotated
		if !p.create(t, m) {
			return
		}
		for !p.ended(t, r) {
			p.sleep(10 * time.Second)
		}
		if r.doneFor != p.date() {
			return
		}
		if copies, err = p.copies(t, m); err != nil {
			p.log(t, "made, but the backups can't be listed for the rotation: %v", err)
			return
		}
	}
	r.doneFor = p.date()
	for len(copies) > t.quota {
		if !p.deleteOldest(t, m, copies[:len(copies)-1]) { // never the one just made
			return
		}
		if copies, err = p.copies(t, m); err != nil {
			p.log(t, "the backups can't be listed for the rotation: %v", err)
			return
		}
	}
}

// ended asks how what was asked for has ended, and tells whether it has.
func (p *plain) ended(t *tenant, r *row) bool {
	exit, running, err := p.task(r.node, r.upid)
	switch {
	case unreachable(err):
		return false
	case err != nil:
		p.log(t, "the backup's task is lost: %v", err)
	case running:
		return false
	case exit == "OK" || strings.HasPrefix(exit, "WARNINGS"):
		r.doneFor = r.askedOn
	default:
		p.log(t, "the backup failed: %s", exit)
	}
	r.upid = ""
	return true
}

// create asks for a backup.
func (p *plain) create(t *tenant, m machineSeen) bool {
	r := p.rows[t]
	upid, err := p.change(http.MethodPost, "/nodes/"+m.Node+"/vzdump", url.Values{
		"vmid": {fmt.Sprint(t.vmid)}, "storage": {t.storage}, "mode": {"snapshot"}, "compress": {"zstd"}, "remove": {"0"}, "notes-template": {"{{guestname}}, nightly"},
	})
	if err != nil {
		p.log(t, "the backup could not be started: %v", err)
		return false
	}
	if !strings.HasPrefix(upid, "UPID:") {
		p.log(t, "the backup was not started: %s", upid)
		return false
	}
	r.upid, r.node, r.askedOn = upid, m.Node, p.date()
	return true
}

// deleteOldest deletes the oldest copy that is not protected, and waits for that.
func (p *plain) deleteOldest(t *tenant, m machineSeen, copies []copySeen) bool {
	i := slices.IndexFunc(copies, func(c copySeen) bool { return c.Protected == 0 })
	if i < 0 {
		p.log(t, "all backups are protected")
		return false
	}
	upid, err := p.change(http.MethodDelete, "/nodes/"+m.Node+"/storage/"+t.storage+"/content/"+url.PathEscape(copies[i].Volid), nil)
	if err != nil {
		p.log(t, "the oldest backup could not be deleted: %v", err)
		return false
	}
	for range 60 {
		exit, running, err := p.task(m.Node, upid)
		switch {
		case err != nil && !unreachable(err):
			p.log(t, "the deletion's task is lost: %v", err)
			return false
		case err == nil && !running && exit == "OK":
			return true
		case err == nil && !running:
			p.log(t, "the oldest backup could not be deleted: %s", exit)
			return false
		}
		p.sleep(2 * time.Second)
	}
	p.log(t, "the deletion of the oldest backup takes too long")
	return false
}

// copySeen is an archive as the listing shows it.
type copySeen struct {
	Volid     string `json:"volid"`
	CTime     int64  `json:"ctime"`
	Protected int    `json:"protected"`
}

// copies gives a machine's copies, oldest first.
func (p *plain) copies(t *tenant, m machineSeen) (out []copySeen, err error) {
	err = p.ask(fmt.Sprintf("/nodes/%s/storage/%s/content?content=backup&vmid=%d", m.Node, t.storage, t.vmid), &out)
	slices.SortFunc(out, func(a, b copySeen) int { return int(a.CTime - b.CTime) })
	return out, err
}

func (p *plain) madeToday(copies []copySeen) bool {
	return slices.ContainsFunc(copies, func(c copySeen) bool { return portal.DateOf(p.today(time.Unix(c.CTime, 0))) == p.date() })
}

// task asks how a task is.
func (p *plain) task(node, upid string) (exit string, running bool, err error) {
	var status struct {
		Status string `json:"status"`
		Exit   string `json:"exitstatus"`
	}
	err = p.ask("/nodes/"+node+"/tasks/"+url.PathEscape(upid)+"/status", &status)
	return status.Exit, status.Status == "running", err
}

func (p *plain) ask(path string, out any) error {
	data, err := p.send(http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, out)
}

func (p *plain) change(method, path string, form url.Values) (text string, err error) {
	data, err := p.send(method, path, form)
	if err != nil {
		return "", err
	}
	return text, json.Unmarshal(data, &text)
}

// refused is an answer that is an error.
type refused struct {
	status int
	text   string
}

func (r refused) Error() string { return r.text }

// unreachable tells whether an error says that nobody answered, rather than what.
func unreachable(err error) bool {
	r, answered := err.(refused)
	return err != nil && (!answered || r.status >= 595)
}

func (p *plain) send(method, path string, form url.Values) (json.RawMessage, error) {
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequest(method, "https://pve1.test:8006/api2/json"+path, body)
	p.w.must(err)
	req.Header.Set("Authorization", "PVEAPIToken="+pvesim.PortalToken+"="+pvesim.Secret)
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := door{p.w}.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 400 {
		return nil, refused{resp.StatusCode, resp.Status}
	}
	var answer struct {
		Data json.RawMessage `json:"data"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return nil, err
	}
	return answer.Data, nil
}
